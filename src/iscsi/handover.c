/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Hand-over
 *
 * HAND_CONNECTION is answered by TAKEN at once. The connection travels as it
 * is: its watch, timer and deferred function are stopped on the old worker and
 * started on the new one. Between the two it is on no list, so the old worker
 * counts it until the answer is there, and does not end before.
 *
 * A worker that is told to stop, or that has stopped, does not take it; then it
 * comes back with the answer and is closed where it came from.
 */

#include "iscsi/handover.h"

#include <sys/epoll.h>

#include "iscsi/admission.h"
#include "iscsi/connection.h"
#include "iscsi/server.h"

typedef struct {
    Message message;
    Server *from;
    Server *to;
    Connection *connection; /* in the answer: NULL when it was taken */
    guint16 tsih;
} Handover;

static void
on_taken(Message *message)
{
    Handover *handover = list_entry(message, Handover, message);
    Server *from = handover->from;

    from->n_handed--;
    if (handover->connection != NULL) {
        list_append(&from->connections, &handover->connection->link);
        connection_close(handover->connection, "the service stops");
    }
    g_free(handover);
    server_check_orders(from);
}

static void
on_hand_connection(Message *message)
{
    Handover *handover = list_entry(message, Handover, message);
    Server *to = handover->to;
    Connection *connection = handover->connection;
    guint16 tsih = handover->tsih;
    Server *from = handover->from;

    if (!to->is_stopping) {
        handover->connection = NULL;
        server_post_taken(to, connection, from);
    }
    worker_send(from->worker, &handover->message, on_taken);
    if (!to->is_stopping && connection_attach(connection, to))
        admission_join(connection, tsih);
}

void
handover_send(Connection *connection, Server *to, guint16 tsih)
{
    Handover *handover = g_new0(Handover, 1);
    Server *from = connection->server;

    connection_detach(connection);
    from->n_handed++;
    handover->from = from;
    handover->to = to;
    handover->connection = connection;
    handover->tsih = tsih;
    worker_send(to->worker, &handover->message, on_hand_connection);
}
