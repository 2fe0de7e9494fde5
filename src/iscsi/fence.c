/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Response fence, RFC 7143 4.2.2.3
 *
 * A session of one connection needs none: its answers arrive in the order in
 * which they are sent. With several, an answer that others must not overtake
 * goes in three steps. All connections are held: what is queued then is still
 * sent, and what was lost is sent again; what comes later stays back. When all that was sent has been
 * acknowledged, the answer goes. When it was acknowledged too, the connections
 * go on. Who has nothing to send and has not acknowledged is asked by a ping, so
 * a peer that does not answer is given up in the time of those.
 *
 * What stays back is one queue of the session, in the order in which scsi gave
 * it away, with other fenced answers in their places: what came before the next
 * one goes before it.
 *
 * Data-Ins and R2Ts have no StatSN to be acknowledged by. On the connection of
 * the fenced answer they come before it. From others a ping proves that they
 * have arrived, if nothing acknowledged since has: an initiator that has
 * forgotten a task need not know what to do with data for it.
 *
 * It is the nexus that is held and not one logical unit of it: that is more than
 * is asked for, costs nothing per command, and happens only after something was
 * aborted.
 *
 * It is used whatever TaskReporting is: sessions with the semantics of RFC 3720
 * are not promised it, but it does them no harm.
 */

#include "iscsi/fence.h"

#include "iscsi/connection.h"
#include "iscsi/manage.h"
#include "iscsi/session.h"
#include "iscsi/tx.h"

#define ASC_RESET                 0x29
#define ASC_COMMANDS_CLEARED      0x2f
#define REQUEST_SENSE             0x03
#define PERSISTENT_RESERVE_OUT    0x5f
#define PR_PREEMPT_AND_ABORT      0x05
#define SENSE_RESPONSE_DESCRIPTOR 0x72

void
fence_init(Session *session)
{
    list_init(&session->fence.waiting);
}

static gboolean
is_attention(const guint8 *sense, gsize size)
{
    gboolean is_descriptor = size > 0 && (sense[0] & 0x7f) == SENSE_RESPONSE_DESCRIPTOR;
    gsize key_at = is_descriptor ? 1 : 2;
    gsize asc_at = is_descriptor ? 2 : 12;

    if (size <= key_at || (sense[key_at] & 0x0f) != SENSE_KEY_UNIT_ATTENTION)
        return FALSE;
    /* REQUEST SENSE with a short allocation length does not say which */
    if (size <= asc_at)
        return TRUE;
    /* 29/00 is that of a target reset, and that of a new nexus, where there is little to wait for */
    return sense[asc_at] == ASC_RESET || sense[asc_at] == ASC_COMMANDS_CLEARED;
}

FenceKind
fence_kind(const ScsiCommand *command)
{
    if (command->status == SCSI_CHECK_CONDITION &&
        is_attention(command->sense, command->sense_length))
        return FENCE_ATTENTION;
    if (command->status == SCSI_GOOD && command->cdb[0] == REQUEST_SENSE && command->data != NULL &&
        is_attention(command->data, command->data_length))
        return FENCE_ATTENTION;
    if (command->status == SCSI_GOOD && command->cdb[0] == PERSISTENT_RESERVE_OUT &&
        (command->cdb[1] & 0x1f) == PR_PREEMPT_AND_ABORT)
        return FENCE_PREEMPTION;
    return FENCE_NONE;
}

static void
hold(Session *session)
{
    list_foreach(link, &session->connections)
        list_entry(link, Connection, session_link)->tx.is_held = TRUE;
}

static void
let_go(Session *session)
{
    list_foreach(link, &session->connections)
        list_entry(link, Connection, session_link)->tx.is_held = FALSE;
}

/* All that was sent on it has arrived; if not, see to it that we get to know */
static gboolean
is_quiet(Connection *connection, gboolean needs_proof)
{
    if (!tx_is_idle(connection))
        return FALSE;
    if (!pdu_sn_less(connection->exp_stat_sn, connection->stat_sn) &&
        !(needs_proof && pdu_sn_less(connection->exp_stat_sn, connection->tx.proof_sn)))
        return TRUE;
    if (!connection->is_pinged)
        connection_ping(connection);
    return FALSE;
}

static gboolean
are_quiet(Session *session)
{
    const Connection *own = session->fence.task->connection;
    gboolean all = TRUE;

    /* All are asked at once */
    list_foreach(link, &session->connections) {
        Connection *connection = list_entry(link, Connection, session_link);

        all &= connection->is_leaving || is_quiet(connection, connection != own);
    }
    return all;
}

/* What stayed back goes on, up to the next answer that is fenced. NULL: that was all. */
static Task *
take_next(Session *session)
{
    ListLink *link;

    while ((link = list_pop(&session->fence.waiting)) != NULL) {
        Task *task = list_entry(link, Task, out_link);

        if (task->connection == NULL)
            continue;
        if (task->is_fenced)
            return task;
        tx_queue_now(task);
    }
    return NULL;
}

/* Returns: FALSE: something has to be waited for, or all is over */
static gboolean
step(Session *session)
{
    Fence *fence = &session->fence;

    if (fence->connection != NULL) {
        if (!is_quiet(fence->connection, FALSE))
            return FALSE;
        fence->connection = NULL;
    } else if (fence->task != NULL) {
        if (!are_quiet(session))
            return FALSE;
        fence->connection = fence->task->connection;
        /* Connections may have failed since, and what had been sent on them may be reassigned */
        if (fence->task->kind == TASK_MANAGEMENT)
            manage_end_covered(fence->task);
        tx_queue_now(g_steal_pointer(&fence->task));
        return FALSE;
    }

    fence->task = take_next(session);
    if (fence->task != NULL)
        return TRUE;
    let_go(session);
    return FALSE;
}

void
fence_check(Session *session)
{
    if (session->is_closing)
        return;
    while (step(session))
        continue;
}

void
fence_answer(Task *task)
{
    Session *session = task->session;
    gboolean is_first = session->fence.task == NULL && session->fence.connection == NULL;

    if (session->n_connections <= 1) {
        tx_queue(task);
        return;
    }

    task->is_fenced = TRUE;
    list_unlink(&task->out_link);
    list_append(&session->fence.waiting, &task->out_link);
    if (is_first) {
        hold(session);
        fence_check(session);
    }
}

void
fence_forget(Session *session, const Connection *connection)
{
    list_foreach_safe(link, &session->fence.waiting) {
        if (list_entry(link, Task, out_link)->connection == connection)
            list_unlink(link);
    }
}

void
fence_connection_gone(Session *session, const Connection *connection)
{
    Fence *fence = &session->fence;
    gboolean is_up = fence->task != NULL || fence->connection != NULL;

    if (!is_up)
        return;
    if (fence->connection == connection)
        fence->connection = NULL;
    if (fence->task != NULL && fence->task->connection == NULL)
        fence->task = NULL;
    fence_check(session);
}

/* What could not be fenced is not told: the initiator has ended all of its tasks by a logout */
void
fence_lift(Session *session)
{
    Fence *fence = &session->fence;
    Task *task = fence->task;

    if (task == NULL && fence->connection == NULL)
        return;

    fence->task = NULL;
    fence->connection = NULL;
    let_go(session);
    do {
        if (task != NULL && task->connection != NULL) {
            task->is_aborted = TRUE;
            task_finish(task);
        }
    } while ((task = take_next(session)) != NULL);
}
