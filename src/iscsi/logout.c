/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Logout requests, RFC 7143 11.14
 *
 * A logout ends the session, the connection that it comes on, or another one of
 * the session. The answer waits until nothing that was begun there can have an
 * effect any more, but not for a store that does not answer. A logout of the
 * last connection is one of the session (6.3.5).
 *
 * The one exception is "remove the connection for recovery": at error recovery
 * level 2 its tasks go on, and the answer says how long they will.
 */

#include "iscsi/logout.h"

#include "iscsi/connection.h"
#include "iscsi/fence.h"
#include "iscsi/manage.h"
#include "iscsi/recovery.h"
#include "iscsi/remnant.h"
#include "iscsi/server.h"
#include "iscsi/tx.h"

static void
answer(Task *task, PduLogoutResponse response)
{
    task->logout_response = response;
    tx_queue(task);
}

/* A logout does not wait for a store that does not answer (DESIGN 12, rule 9) */
static void
on_timer(Timer *timer)
{
    Session *session = list_entry(timer, Session, logout_timer);

    if (session->logout != NULL && session->logout->connection != NULL)
        tx_queue(session->logout);
}

void
logout_init(Session *session)
{
    timer_init(&session->logout_timer, on_timer);
}

/* The session */

static void
end_others(Session *session, const Connection *connection)
{
    list_foreach_safe(link, &session->connections) {
        Connection *other = list_entry(link, Connection, session_link);

        other->is_leaving = TRUE;
        if (other != connection)
            connection_leave(other, "logout of the session");
    }
}

/* The answer waits until the nexus is gone: reservations have ended when it is seen */
static void
end_session(Task *task)
{
    Session *session = task->session;
    Loop *loop = &session->server->worker->loop;

    session->logout = task;
    task->connection->logout = task;
    timer_set(&session->logout_timer, loop, loop->now + LOGOUT_WAIT_USEC);
    session->n_holds++;
    fence_lift(session);
    remnant_drop_all(session);
    recovery_abandon_all(session);
    end_others(session, task->connection);
    recovery_connection_closed(task->connection);
    session_drop_parked(session);
    manage_forget(session);
    session_abort_all(session);
    session->n_holds--;
    session_check(session);
}

/* All tasks but the logout itself have left: answer it */
void
logout_check(Session *session)
{
    Task *task = session->logout;

    if (session->n_used > 1 || task->connection == NULL || task->has_answered)
        return;
    if (!session_drop_nexus(session))
        return;

    timer_cancel(&session->logout_timer);
    tx_queue(task);
}

/* One connection of several */

static gboolean
is_last(const Session *session)
{
    return session->n_connections == 1 && session->n_joining == 0 && !remnant_may_recover(session);
}

static void
await(Remnant *remnant, Task *task)
{
    if (remnant == NULL)
        answer(task, PDU_LOGOUT_RESPONSE_CLOSED);
    else
        remnant_set_logout(remnant, task);
}

/* The connection that it came on; what is answered already goes first */
static void
end_own(Task *task, guint8 reason)
{
    Session *session = task->session;
    Connection *connection = task->connection;

    connection->is_leaving = TRUE;
    connection->logout = task;
    tx_flush(connection);
    if (!connection_is_full_feature(connection))
        return;

    if (reason == PDU_LOGOUT_CLOSE_CONNECTION) {
        await(remnant_new(session, connection, REMNANT_ENDING, task), task);
        return;
    }
    /* Its tasks stay with it until it has been closed */
    connection->is_removed = TRUE;
    answer(task, PDU_LOGOUT_RESPONSE_CLOSED);
}

static void
end_other(Task *task, guint8 reason, guint16 cid)
{
    Session *session = task->session;
    Connection *other = session_find_connection(session, cid);
    Remnant *remnant;

    if (other != NULL) {
        other->is_replaced = TRUE;
        connection_close(other, "logged out on another connection");
    }
    remnant = remnant_find(session, cid);
    if (remnant == NULL)
        answer(task, PDU_LOGOUT_RESPONSE_NO_CID);
    else if (reason == PDU_LOGOUT_CLOSE_CONNECTION)
        await(remnant_end(remnant), task);
    else {
        remnant_remove(remnant);
        answer(task, PDU_LOGOUT_RESPONSE_CLOSED);
    }
}

void
logout_deliver(Task *task)
{
    Session *session = task->session;
    guint8 reason = pdu_logout_reason(task->bhs);
    guint16 cid = pdu_logout_cid(task->bhs);
    gboolean is_own = cid == task->connection->cid;

    task->logout_response = PDU_LOGOUT_RESPONSE_CLOSED;
    if (session->logout != NULL)
        answer(task, PDU_LOGOUT_RESPONSE_CLOSED);
    else if (reason == PDU_LOGOUT_CLOSE_SESSION ||
             (reason == PDU_LOGOUT_CLOSE_CONNECTION && is_own && is_last(session)))
        end_session(task);
    else if (reason != PDU_LOGOUT_CLOSE_CONNECTION &&
             (reason != PDU_LOGOUT_RECOVERY || !recovery_keeps_tasks(session)))
        answer(task, PDU_LOGOUT_RESPONSE_NO_RECOVERY);
    else if (is_own)
        end_own(task, reason);
    else
        end_other(task, reason, cid);
}

void
logout_given(Task *task)
{
    Session *session = task->session;
    Connection *connection = task->connection;

    if (session->logout == task)
        session->logout = NULL;
    if (!list_is_empty(&session->remnants))
        remnant_forget_logout(session, task);
    if (connection != NULL && connection->logout == task) {
        connection->logout = NULL;
        connection->is_logged_out = task->has_answered;
    }
}
