/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Remnants
 *
 * The tasks of a connection belong to it (RFC 7143 4.2.2.1: connection
 * allegiance), so when it ends and the session goes on, somebody has to own
 * them: the remnant. Below error recovery level 2 they are ended at once (7.6),
 * with a unit attention for each logical unit concerned, and the remnant is
 * there to tell when none of them can have an effect any more. That is what a
 * logout of the connection, and a login that replaces it, wait for: a command
 * that the initiator sends again must not be overtaken by its first copy. At
 * level 2 they stay until they are reassigned or their time is over.
 *
 * Nothing is counted. A task without a connection names its remnant, and when
 * one ends somebody looks once, at the end of the turn, whether there are
 * others. All of this happens only when connections of a session come and go.
 */

#include "iscsi/remnant.h"

#include "iscsi/admission.h"
#include "iscsi/async.h"
#include "iscsi/connection.h"
#include "iscsi/fence.h"
#include "iscsi/logout.h"
#include "iscsi/manage.h"
#include "iscsi/recovery.h"
#include "iscsi/server.h"
#include "iscsi/session.h"

/* CIDs of failed connections that a session remembers; the oldest is forgotten for one more */
#define REMNANTS_MAX 16

guint16
remnant_time2wait(const Session *session)
{
    return recovery_keeps_tasks(session) ? (guint16)session->params.default_time2wait : 0;
}

guint16
remnant_time2retain(const Session *session)
{
    return recovery_keeps_tasks(session) ? (guint16)session->params.default_time2retain : 0;
}

static Loop *
loop_of(const Remnant *remnant)
{
    return &remnant->session->server->worker->loop;
}

static gboolean
has_tasks(const Remnant *remnant)
{
    const Session *session = remnant->session;

    for (guint i = 0; i < session->n_touched; i++) {
        const Task *task = &session->tasks[i];

        if (task->is_used && task->connection == NULL && task->remnant == remnant)
            return TRUE;
    }
    return FALSE;
}

static void
remnant_free(Remnant *remnant)
{
    timer_cancel(&remnant->timer);
    if (remnant->state == REMNANT_ENDING)
        remnant->session->n_awaited--;
    list_unlink(&remnant->link);
    g_free(remnant);
}

/* Its tasks */

static gboolean
may_go_on(const Session *session, const Task *task)
{
    return task->kind == TASK_COMMAND && task->is_delivered && !task->is_immediate &&
           !task->is_aborted && session->parked[task->cmd_sn % SESSION_PARKED] != task;
}

/* RFC 7143 7.6, 11.14: what has not been delivered is discarded, and leaves a hole in the CmdSNs */
static void
end_task(Session *session, Task *task)
{
    if (session->parked[task->cmd_sn % SESSION_PARKED] == task) {
        session->parked[task->cmd_sn % SESSION_PARKED] = NULL;
        session->n_parked--;
    }

    task->is_aborted = TRUE;
    /* What was answered is over, even if nobody has acknowledged that */
    if (task->kind == TASK_COMMAND && task->command.is_begun && task->is_active &&
        !task->command.out.is_silent)
        scsi_command_tell_cleared(&task->command.scsi);
    if (task->kind == TASK_COMMAND && task->command.is_begun && !task->command.is_done)
        scsi_command_abort(&task->command.scsi);
    else if (task->kind != TASK_MANAGEMENT || !task->is_managing)
        task_finish(task);
}

static void
take_over(Remnant *remnant, Connection *connection, const Task *except)
{
    Session *session = remnant->session;
    gboolean keeps = remnant->state != REMNANT_ENDING && recovery_keeps_tasks(session);

    session->n_holds++;
    if (!keeps && except == NULL)
        recovery_connection_closed(connection);
    for (guint i = 0; i < session->n_touched; i++) {
        Task *task = &session->tasks[i];

        if (!task->is_used || task->connection != connection || task == except)
            continue;
        task->remnant = remnant;
        if (keeps && may_go_on(session, task))
            continue;
        rx_forget(connection, task);
        end_task(session, task);
        /* What is in the transmit ring, or with the store, still has its slot */
        task->connection = NULL;
    }
    if (keeps)
        recovery_suspend(connection);
    fence_connection_gone(session, connection);
    manage_check_answers(session);
    session->n_holds--;
}

/* Its life */

static void
set_ending(Remnant *remnant)
{
    if (remnant->state == REMNANT_ENDING)
        return;
    remnant->state = REMNANT_ENDING;
    remnant->session->n_awaited++;
    timer_cancel(&remnant->timer);
}

static void
finish(Remnant *remnant)
{
    Session *session = remnant->session;
    Connection *login = remnant->login;
    Task *logout = remnant->logout;

    remnant_free(remnant);
    if (logout != NULL && logout->connection != NULL)
        tx_queue(logout);
    if (login != NULL) {
        login->awaited = NULL;
        admission_go_on(login, session);
    }
}

static void
on_timer(Timer *timer)
{
    Remnant *remnant = list_entry(timer, Remnant, timer);
    Session *session = remnant->session;

    if (remnant->state == REMNANT_ENDING) {
        /* A logout does not wait for a store that does not answer (DESIGN 12, rule 9) */
        if (remnant->logout != NULL && remnant->logout->connection != NULL)
            tx_queue(g_steal_pointer(&remnant->logout));
        return;
    }

    (void)remnant_end(remnant);
    session_check_kept(session, "the time to recover its connections is over");
}

static void
start_time(Remnant *remnant)
{
    const IscsiParams *params = &remnant->session->params;
    gint64 now = loop_of(remnant)->now;

    remnant->since = now;
    remnant->wait_until = now + params->default_time2wait * USEC_PER_SEC;
    timer_set(&remnant->timer, loop_of(remnant),
              remnant->wait_until + params->default_time2retain * USEC_PER_SEC);
}

static void
forget_oldest(Session *session)
{
    guint n = 0;
    Remnant *oldest = NULL;

    list_foreach(link, &session->remnants) {
        Remnant *remnant = list_entry(link, Remnant, link);

        if (remnant->state == REMNANT_ENDING)
            continue;
        if (oldest == NULL)
            oldest = remnant;
        n++;
    }
    if (n > REMNANTS_MAX)
        (void)remnant_end(oldest);
}

Remnant *
remnant_new(Session *session, Connection *connection, RemnantState state, Task *except)
{
    Remnant *remnant = g_new0(Remnant, 1);

    remnant->session = session;
    remnant->cid = connection->cid;
    remnant->state = state;
    timer_init(&remnant->timer, on_timer);
    list_init(&remnant->link);
    list_append(&session->remnants, &remnant->link);
    if (state == REMNANT_ENDING)
        session->n_awaited++;

    take_over(remnant, connection, except);
    if (state == REMNANT_ENDING) {
        if (has_tasks(remnant))
            return remnant;
        remnant_free(remnant);
        return NULL;
    }

    start_time(remnant);
    forget_oldest(session);
    return remnant;
}

/* The last of that CID: another one may have come back under it and failed before */
Remnant *
remnant_find(const Session *session, guint16 cid)
{
    Remnant *found = NULL;

    list_foreach(link, &session->remnants) {
        Remnant *remnant = list_entry(link, Remnant, link);

        if (remnant->cid == cid && remnant->state != REMNANT_ENDING)
            found = remnant;
    }
    return found;
}

Remnant *
remnant_end(Remnant *remnant)
{
    Session *session = remnant->session;

    set_ending(remnant);
    if (recovery_keeps_tasks(session)) {
        session->n_holds++;
        recovery_abandon(session, remnant);
        session->n_holds--;
    }
    if (has_tasks(remnant))
        return remnant;
    remnant_free(remnant);
    return NULL;
}

void
remnant_remove(Remnant *remnant)
{
    remnant->state = REMNANT_REMOVED;
    remnant->is_told = TRUE;
    start_time(remnant);
}

void
remnant_set_logout(Remnant *remnant, Task *logout)
{
    remnant->logout = logout;
    timer_set(&remnant->timer, loop_of(remnant), loop_of(remnant)->now + LOGOUT_WAIT_USEC);
}

void
remnant_forget_logout(Session *session, const Task *logout)
{
    list_foreach(link, &session->remnants) {
        Remnant *remnant = list_entry(link, Remnant, link);

        if (remnant->logout == logout)
            remnant->logout = NULL;
    }
}

/* Any of that CID: two are possible when one has taken too long to end */
static Remnant *
find_ending(const Session *session, guint16 cid)
{
    list_foreach(link, &session->remnants) {
        Remnant *remnant = list_entry(link, Remnant, link);

        if (remnant->cid == cid && remnant->state == REMNANT_ENDING)
            return remnant;
    }
    return NULL;
}

/* RFC 7143 6.3.4, 11.14: an implicit logout, with reason 2 at error recovery level 2, else 1 */
gboolean
remnant_replace(Session *session, Connection *connection)
{
    guint16 cid = connection->login->login.cid;
    Connection *old = session_find_connection(session, cid);
    Remnant *remnant;

    if (old != NULL) {
        old->is_replaced = TRUE;
        connection_close(old, "replaced by a new login with its CID");
    }
    remnant = remnant_find(session, cid);
    if (remnant != NULL && recovery_keeps_tasks(session))
        remnant_remove(remnant);
    else if (remnant != NULL)
        (void)remnant_end(remnant);

    remnant = find_ending(session, cid);
    if (remnant == NULL)
        return FALSE;

    if (remnant->login != NULL)
        connection_close(remnant->login, "replaced by a new login with its CID");
    remnant->login = connection;
    connection->awaited = remnant;
    return TRUE;
}

void
remnant_login_gone(Connection *connection)
{
    Remnant *remnant = g_steal_pointer(&connection->awaited);
    Session *session = remnant->session;

    remnant->login = NULL;
    session->n_joining--;
    session_check_kept(session, "its connection was replaced by a login that did not end");
}

void
remnant_review(Session *session)
{
    list_foreach_safe(link, &session->remnants) {
        Remnant *remnant = list_entry(link, Remnant, link);

        if (remnant->state == REMNANT_ENDING && !has_tasks(remnant))
            finish(remnant);
        if (session->is_closing)
            return;
    }
}

gboolean
session_cid_is_recoverable(const Session *session, guint16 cid)
{
    const Remnant *remnant = remnant_find(session, cid);

    return remnant != NULL && remnant->state == REMNANT_REMOVED &&
           loop_of(remnant)->now >= remnant->wait_until;
}

gboolean
remnant_may_recover(const Session *session)
{
    list_foreach(link, &session->remnants) {
        const Remnant *remnant = list_entry(link, Remnant, link);

        if (remnant->state != REMNANT_ENDING && recovery_keeps_tasks(session))
            return TRUE;
    }
    return FALSE;
}

void
remnant_drop_all(Session *session)
{
    ListLink *link;

    session->n_holds++;
    recovery_abandon_all(session);
    session->n_holds--;
    while ((link = list_first(&session->remnants)) != NULL) {
        Remnant *remnant = list_entry(link, Remnant, link);
        Connection *login = remnant->login;

        remnant_free(remnant);
        if (login == NULL)
            continue;
        login->awaited = NULL;
        session->n_joining--;
        admission_refuse(login);
    }
}
