/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Error recovery of tasks and PDUs
 *
 * Level 1 of RFC 7143 7.1.5. The one idea: nothing is stored for the case that
 * it must be sent again, but the task that made it. Whatever has a StatSN
 * belongs to a task; when it is numbered the task goes to the end of its
 * connection's list of kept ones, which therefore is in the order of StatSN, and
 * it leaves the list when ExpStatSN has passed it. So the list has no gaps, but
 * where a text response was followed by the next request. A task can make its
 * answer again at any time, a read its Data-Ins (datain.c), a write its R2Ts
 * (dataseq.c).
 *
 * Kept tasks are bounded like all others. As many as the window is deep are
 * kept beside the window; those that come then keep their places in it, so it
 * closes when the initiator does not acknowledge. It is asked to, by a NOP-In,
 * when that happens, when what is kept is in the way of commands that wait for
 * room, and when an answer was not acknowledged for a while (7.1.4.2). A kept
 * read keeps its buffer and its share of the pool, a write has none any more.
 *
 * Level 2 lets commands outlive their connection. When it has failed they move to
 * a list of the session, suspended: they run on as far as they can without an
 * initiator, and what they have to say waits in them as it always does. TASK
 * REASSIGN takes them from there (reassign.c), or their time ends.
 *
 * One timer a connection looks after all that takes too long; it is set only
 * while there is something that could.
 */

#include "iscsi/recovery.h"

#include "iscsi/connection.h"
#include "iscsi/datain.h"
#include "iscsi/dataseq.h"
#include "iscsi/server.h"
#include "iscsi/session.h"
#include "iscsi/tx.h"

/* How often the timer looks */
#define TICK_USEC USEC_PER_SEC

/* After this time without acknowledgement it is asked for */
#define ACKNOWLEDGE_USEC (2 * USEC_PER_SEC)

static gint64
now_of(const Connection *connection)
{
    return connection->server->worker->loop.now;
}

static gboolean
is_on(const Connection *connection)
{
    return connection->session != NULL && connection->session->params.error_recovery_level > 0;
}

static Task *
first_kept(const Connection *connection)
{
    ListLink *link = list_first(&connection->recovery.kept);

    return link != NULL ? list_entry(link, Task, kept_link) : NULL;
}

/* Time */

/* Returns: TRUE while something is to be looked after */
static gboolean
check_kept(Connection *connection)
{
    Recovery *recovery = &connection->recovery;
    Task *task = first_kept(connection);

    if (task == NULL)
        return FALSE;

    if (now_of(connection) - task->answered_at >= ACKNOWLEDGE_USEC) {
        task->answered_at = now_of(connection);
        recovery->is_solicited = FALSE;
        recovery_press(connection);
    }
    return TRUE;
}

static gboolean
check_tasks(Connection *connection)
{
    Session *session = connection->session;
    gboolean is_waiting = FALSE;

    for (guint i = 0; i < session->n_touched && connection_is_open(connection); i++) {
        Task *task = &session->tasks[i];

        if (!task->is_used || !task->is_active || task->kind != TASK_COMMAND ||
            task->connection != connection)
            continue;
        is_waiting |= datain_check(task);
        if (task->is_used && task->is_active)
            is_waiting |= dataseq_check(task);
    }
    return is_waiting;
}

static void
on_timer(Timer *timer)
{
    Connection *connection = list_entry(timer, Connection, recovery.timer);
    gboolean is_waiting;

    if (!connection_is_full_feature(connection) || connection->session == NULL)
        return;

    is_waiting = check_kept(connection);
    is_waiting |= check_tasks(connection);
    if (is_waiting && connection_is_full_feature(connection))
        recovery_watch(connection);
}

void
recovery_init(Connection *connection)
{
    Recovery *recovery = &connection->recovery;

    list_init(&recovery->kept);
    timer_init(&recovery->timer, on_timer);
}

void
recovery_watch(Connection *connection)
{
    Timer *timer = &connection->recovery.timer;

    if (!timer_is_set(timer))
        timer_set(timer, &connection->server->worker->loop, now_of(connection) + TICK_USEC);
}

/* Asking for acknowledgements */

void
recovery_press(Connection *connection)
{
    Recovery *recovery = &connection->recovery;

    if (recovery->is_solicited || list_is_empty(&recovery->kept))
        return;

    recovery->wants_ack = TRUE;
    tx_schedule(connection);
}

gboolean
recovery_wants_ping(Connection *connection)
{
    Recovery *recovery = &connection->recovery;

    if (!recovery->wants_ack)
        return FALSE;

    recovery->wants_ack = FALSE;
    recovery->is_solicited = TRUE;
    recovery->solicited_sn = connection->stat_sn;
    return TRUE;
}

/* Keeping */

static void
take_from_list(Task *task)
{
    list_unlink(&task->kept_link);
    task->is_kept = FALSE;
    task->is_suspended = FALSE;
    task->is_resending = FALSE;
    task->resends_answer = FALSE;
}

void
recovery_forget(Task *task)
{
    if (list_is_linked(&task->kept_link))
        take_from_list(task);
}

/* It was acknowledged, or nobody will ask for it any more */
static void
release(Task *task)
{
    take_from_list(task);
    session_forget_tag(task->session, task);
    /* Its last byte may still be on its way */
    if (task->is_active)
        return;

    if (task->kind == TASK_COMMAND)
        datain_drop(task);
    list_unlink(&task->out_link);
    if (task->n_slots == 0)
        session_give_task(task->session, task);
}

/* What nobody needs of a command whose answer is made, the buffer of a read excepted */
static void
trim(Task *task)
{
    TaskCommand *part = &task->command;

    if (part->scsi.data != NULL)
        return;
    if (part->charge != 0)
        task_command_discharge(task);
    task->session->reserved -= part->reserved;
    part->reserved = 0;
}

/* Commands wait for room, or soon will, and what is kept takes it */
static gboolean
is_short_of_room(const Session *session)
{
    for (guint i = 0; i < SESSION_LINE_N; i++) {
        if (!list_is_empty(&session->lines[i].waiting))
            return TRUE;
    }
    return pool_available(session->server->worker->pool) < session->grow_min;
}

static void
keep(Task *task)
{
    Session *session = task->session;
    Connection *connection = task->connection;

    task->is_kept = TRUE;
    task->answered_at = now_of(connection);
    list_append(&connection->recovery.kept, &task->kept_link);
    if (task->kind == TASK_COMMAND)
        trim(task);

    if (!task->is_extra && session->n_extra < session->depth) {
        task->is_extra = TRUE;
        session->n_extra++;
        session_release_place(session, task);
    } else if (!task->is_extra) {
        recovery_press(connection);
    }
    if (is_short_of_room(session))
        recovery_press(connection);
    recovery_watch(connection);
}

/* An answer after which the connection or the session ends is not waited for */
static gboolean
is_to_be_kept(const Task *task)
{
    const Session *session = task->session;

    if (session->is_closing || task->connection->is_leaving || task->is_cold_reset ||
        task->is_nexus_reset)
        return FALSE;
    return task->kind != TASK_LOGOUT || (pdu_logout_reason(task->bhs) != PDU_LOGOUT_CLOSE_SESSION &&
                                         pdu_logout_cid(task->bhs) != task->connection->cid);
}

void
recovery_number(Task *task, guint8 *bhs)
{
    Connection *connection = task->connection;
    Session *session = task->session;

    if (!task->is_numbered) {
        task->is_numbered = TRUE;
        task->stat_sn = connection->stat_sn++;
        if (is_to_be_kept(task))
            keep(task);
        else
            session_release_window(session, task);
    }
    pdu_set_sequence(bhs, task->stat_sn, session->exp_cmd_sn, session->max_cmd_sn);
    connection->tx.told_max_cmd_sn = session->max_cmd_sn;
}

/* Without a slot for it, it cannot be asked for again: the SNACK is rejected */
void
recovery_keep_message(Connection *connection, const TxSlot *slot)
{
    Task *task = session_take_task(connection->session, connection, TASK_ASYNC, TASK_CLASS_REJECT,
                                   slot->head);

    if (task == NULL)
        return;

    task->is_active = FALSE;
    task->is_numbered = TRUE;
    task->stat_sn = pdu_stat_sn(slot->head);
    task->async.size = slot->data_size;
    g_assert(slot->data_size <= sizeof(task->async.data));
    if (slot->data_size != 0)
        memcpy(task->async.data, slot->data, slot->data_size);
    keep(task);
}

void
recovery_acknowledge(Connection *connection, guint32 exp_stat_sn)
{
    Recovery *recovery = &connection->recovery;
    Session *session = connection->session;
    gboolean has_released = FALSE;
    Task *task;

    /* Of what was never sent nothing can be acknowledged */
    if (!pdu_sn_less_equal(exp_stat_sn, connection->stat_sn))
        return;

    connection->exp_stat_sn = exp_stat_sn;
    if (recovery->is_solicited && pdu_sn_less_equal(recovery->solicited_sn, exp_stat_sn))
        recovery->is_solicited = FALSE;

    while ((task = first_kept(connection)) != NULL && pdu_sn_less(task->stat_sn, exp_stat_sn)) {
        has_released = TRUE;
        recovery->n_acknowledged++;
        release(task);
    }
    if (!has_released)
        return;

    if (is_short_of_room(session))
        recovery_press(connection);
    /* The window may be open again, which nothing else tells */
    tx_schedule(connection);
}

void
recovery_forget_text(Connection *connection)
{
    list_foreach(link, &connection->recovery.kept) {
        Task *task = list_entry(link, Task, kept_link);

        if (task->kind == TASK_TEXT && !task->is_active && task->n_slots == 0) {
            release(task);
            return;
        }
    }
}

void
recovery_connection_closed(Connection *connection)
{
    Session *session = connection->session;
    Task *task;

    timer_cancel(&connection->recovery.timer);
    connection->recovery.wants_ack = FALSE;
    session->n_holds++;
    while ((task = first_kept(connection)) != NULL)
        release(task);
    session->n_holds--;
}

/* Sending again */

gboolean
recovery_emit(Task *task, TxSlot *slot)
{
    if (task->kind == TASK_COMMAND && datain_emit_again(task, slot))
        return TRUE;

    task->is_resending = FALSE;
    if (!task->resends_answer)
        return FALSE;

    task->resends_answer = FALSE;
    if (task->kind == TASK_COMMAND && task->command.in.is_collapsed)
        datain_emit_last(task, slot);
    else
        task_emit_answer(task, slot);
    return TRUE;
}

/* SNACK, RFC 7143 11.16 */

static void
resend_answer(Task *task)
{
    /* Its first one is still on its way */
    if (task->is_active)
        return;

    task->is_resending = TRUE;
    task->resends_answer = TRUE;
    tx_queue(task);
}

/* What can be asked for is what is kept, from the first to the newest */
static PduRejectReason
check_status_run(const Connection *connection, guint32 first, guint32 n)
{
    const Task *task = first_kept(connection);
    guint32 oldest = task != NULL ? task->stat_sn : connection->stat_sn;

    if (pdu_sn_less(first, connection->exp_stat_sn) ||
        pdu_sn_less_equal(connection->stat_sn, first) || n > connection->stat_sn - first)
        return PDU_REJECT_PROTOCOL_ERROR;
    return pdu_sn_less(first, oldest) ? PDU_REJECT_SNACK : PDU_REJECT_NONE;
}

static PduRejectReason
status_snack(Connection *connection, const guint8 *bhs)
{
    guint32 first = pdu_snack_beg_run(bhs);
    guint32 n = pdu_snack_run_length(bhs);
    gboolean is_all = first == 0 && n == 0;
    guint32 n_found = 0;
    PduRejectReason reason = is_all ? PDU_REJECT_NONE : check_status_run(connection, first, n);

    if (reason != PDU_REJECT_NONE)
        return reason;

    list_foreach(link, &connection->recovery.kept) {
        Task *task = list_entry(link, Task, kept_link);

        if (is_all ||
            (pdu_sn_less_equal(first, task->stat_sn) && (n == 0 || task->stat_sn - first < n))) {
            resend_answer(task);
            n_found++;
        }
    }
    return n_found < n ? PDU_REJECT_SNACK : PDU_REJECT_NONE;
}

/* The command of @connection that a SNACK means, or NULL */
static Task *
find_command(const Connection *connection, const guint8 *bhs)
{
    Task *task = session_find_task(connection->session, pdu_itt(bhs));

    if (task == NULL || task->kind != TASK_COMMAND || task->connection != connection ||
        task->is_aborted || !task->command.is_begun || !(task->is_active || task->is_kept))
        return NULL;
    return task;
}

static PduRejectReason
data_snack(Connection *connection, const guint8 *bhs, guint32 *ret_next)
{
    Task *task = find_command(connection, bhs);
    guint32 first = pdu_snack_beg_run(bhs);
    guint32 n = pdu_snack_run_length(bhs);

    if (task == NULL)
        return PDU_REJECT_PROTOCOL_ERROR;

    if (task->command.scsi.expected_out != 0) {
        *ret_next = task->command.out.r2t_sn;
        return dataseq_resend(task, first, n);
    }
    *ret_next = task->command.in.next.data_sn;
    return datain_resend(task, first, n);
}

static PduRejectReason
resegmenting_snack(Connection *connection, const guint8 *bhs)
{
    Task *task = find_command(connection, bhs);
    guint32 tag = pdu_ttt(bhs);

    if (tag == 0 || tag == PDU_TAG_RESERVED || pdu_snack_beg_run(bhs) != 0 ||
        pdu_snack_run_length(bhs) != 0)
        return PDU_REJECT_INVALID_FIELD;
    if (task == NULL || task->command.scsi.expected_in == 0)
        return PDU_REJECT_PROTOCOL_ERROR;
    return datain_resegment(task, tag);
}

/* The tag alone tells the task: the slot is in its upper half */
static PduRejectReason
data_acknowledgement(Connection *connection, const guint8 *bhs)
{
    Session *session = connection->session;
    guint32 i = pdu_ttt(bhs) >> 16;
    Task *task;

    if (i >= session->n_touched)
        return PDU_REJECT_DATA_ACK;
    task = &session->tasks[i];
    if (!task->is_used || task->kind != TASK_COMMAND || task->connection != connection ||
        pdu_lun(task->bhs) != pdu_lun(bhs))
        return PDU_REJECT_DATA_ACK;
    return datain_acknowledge(task, pdu_ttt(bhs), pdu_snack_beg_run(bhs));
}

void
recovery_snack(Connection *connection, const guint8 *bhs)
{
    PduRejectReason reason = PDU_REJECT_SNACK;
    guint32 next = 0;

    if (is_on(connection)) {
        switch ((PduSnack)pdu_snack_type(bhs)) {
        case PDU_SNACK_DATA_R2T:
            reason = data_snack(connection, bhs, &next);
            break;
        case PDU_SNACK_STATUS:
            reason = status_snack(connection, bhs);
            break;
        case PDU_SNACK_DATA_ACK:
            reason = data_acknowledgement(connection, bhs);
            break;
        case PDU_SNACK_R_DATA:
            reason = resegmenting_snack(connection, bhs);
            break;
        default:
            reason = PDU_REJECT_INVALID_FIELD;
            break;
        }
    }
    if (reason == PDU_REJECT_NONE)
        return;

    /* The DataSN is that of a protocol error, RFC 7143 11.17.2 */
    connection_reject_data(connection, bhs, reason, reason == PDU_REJECT_PROTOCOL_ERROR ? next : 0);
}

/* Level 2 */

gboolean
recovery_keeps_tasks(const Session *session)
{
    return session->params.error_recovery_level >= 2;
}

static void
suspend(Task *task, Connection *connection)
{
    list_unlink(&task->kept_link);
    list_unlink(&task->out_link);
    list_append(&task->session->suspended, &task->kept_link);
    rx_forget(connection, task);
    task->is_suspended = TRUE;
    task->suspended_cid = connection->cid;
    task->is_resending = FALSE;
    task->resends_answer = FALSE;
    task->connection = NULL;
}

void
recovery_suspend(Connection *connection)
{
    Session *session = connection->session;

    timer_cancel(&connection->recovery.timer);
    connection->recovery.wants_ack = FALSE;
    for (guint i = 0; i < session->n_touched; i++) {
        Task *task = &session->tasks[i];

        if (!task->is_used || task->connection != connection || task->kind != TASK_COMMAND)
            continue;
        suspend(task, connection);
        if (task->is_active)
            dataseq_suspend(task);
    }
}

void
recovery_resume(Task *task, Connection *connection)
{
    take_from_list(task);
    task->is_numbered = FALSE;
    task->connection = connection;
}

/* RFC 7143 7.6, 11.14.5: that it ends is told unless it was answered, be it before it was suspended */
static void
end_suspended(Task *task)
{
    TaskCommand *part = &task->command;

    take_from_list(task);
    task->is_aborted = TRUE;
    if (task->is_active)
        scsi_command_tell_cleared(&part->scsi);
    if (part->is_done)
        task_finish(task);
    else
        scsi_command_abort(&part->scsi);
}

/* From the start each time: more may end when a command ends */
void
recovery_abandon(Session *session, const Remnant *remnant)
{
    gboolean again = TRUE;

    while (again) {
        again = FALSE;
        list_foreach(link, &session->suspended) {
            Task *task = list_entry(link, Task, kept_link);

            /* Not by CID: a connection that came back under it may have failed since */
            if (task->remnant != remnant)
                continue;
            end_suspended(task);
            again = TRUE;
            break;
        }
    }
}

void
recovery_abandon_all(Session *session)
{
    ListLink *link;

    while ((link = list_first(&session->suspended)) != NULL)
        end_suspended(list_entry(link, Task, kept_link));
}
