/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "iscsi/pressure.h"

#include "iscsi/connection.h"
#include "iscsi/session.h"

#define INTERVAL       USEC_PER_SEC
#define PATIENCE       (5 * USEC_PER_SEC)
#define SHORT_PATIENCE (2 * USEC_PER_SEC)

/* It was asked for data, or has said that some will come, and has a buffer for that */
static gboolean
owes_data(const Session *session, const Connection *connection)
{
    for (guint i = 0; i < session->n_touched; i++) {
        const Task *task = &session->tasks[i];

        if (task->is_used && task->is_active && task->kind == TASK_COMMAND &&
            task->connection == connection &&
            (task->command.out.n_r2ts != 0 || task->command.out.unsolicited_open))
            return TRUE;
    }
    return FALSE;
}

static gboolean
is_stuck(const Connection *connection, gint64 before)
{
    gint64 sent_at = connection->tx.progress_at;

    if (!connection_is_full_feature(connection) || connection->session == NULL)
        return FALSE;
    if (connection->tx.is_blocked)
        return sent_at <= before;
    if (MAX(sent_at, connection->received_at) > before)
        return FALSE;
    /* What was not acknowledged is kept, buffers and all */
    return !list_is_empty(&connection->recovery.kept) || owes_data(connection->session, connection);
}

/* From the beginning each time: with a connection others of its session may go */
static Connection *
find_stuck(const Server *server, gint64 before)
{
    list_foreach(link, &server->connections) {
        Connection *connection = list_entry(link, Connection, link);

        if (is_stuck(connection, before))
            return connection;
    }
    return NULL;
}

static void
arm(Server *server)
{
    timer_set(&server->pressure_timer, &server->worker->loop, server->worker->loop.now + INTERVAL);
}

static void
on_timer(Timer *timer)
{
    Server *server = list_entry(timer, Server, pressure_timer);
    gint64 before =
        server->worker->loop.now - (server->pressure_has_closed ? SHORT_PATIENCE : PATIENCE);
    Connection *connection;

    if (!pool_is_wanted(server->worker->pool)) {
        server->pressure_has_closed = FALSE;
        return;
    }

    while ((connection = find_stuck(server, before)) != NULL) {
        server->pressure_has_closed = TRUE;
        connection_close(connection, "buffers are short and nothing has moved on the connection");
    }
    arm(server);
}

void
pressure_init(Server *server)
{
    timer_init(&server->pressure_timer, on_timer);
}

void
pressure_deinit(Server *server)
{
    timer_cancel(&server->pressure_timer);
}

void
pressure_check(Server *server)
{
    if (G_UNLIKELY(pool_is_wanted(server->worker->pool)) && !timer_is_set(&server->pressure_timer))
        arm(server);
}

gsize
pressure_share(const Server *server, gsize max)
{
    return MIN(max, pool_available(server->worker->pool) / 2);
}
