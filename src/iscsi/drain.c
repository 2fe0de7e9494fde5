/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Sessions that are asked to log out
 *
 * A request means the sessions that are there when it arrives: those whose
 * serial number is not above the last one given out by then. So sessions keep
 * nothing of it, requests may overlap, and who logs in later is left alone.
 * Each worker answers when all of its own are gone.
 */

#include "iscsi/drain.h"

#include <string.h>

#include "iscsi/async.h"
#include "iscsi/connection.h"
#include "iscsi/session.h"

static gboolean
is_meant(const Order *order, const Session *session)
{
    const Broadcast *broadcast = order->broadcast;

    if (session->serial > order->last_serial)
        return FALSE;
    if (broadcast->tsih != 0 && session->tsih != broadcast->tsih)
        return FALSE;
    if (session->target == NULL)
        return broadcast->tsih != 0 && broadcast->name == NULL;
    return broadcast->name == NULL || strcmp(session->target->name, broadcast->name) == 0;
}

/* The time is over */
static void
on_timer(Timer *timer)
{
    const Order *order = list_entry(timer, Order, timer);

    list_foreach_safe(link, &order->server->sessions) {
        Session *session = list_entry(link, Session, link);

        if (is_meant(order, session))
            session_drop(session, PDU_ASYNC_CONNECTION_DROP,
                         "the initiator did not log out in time");
    }
}

void
drain_start(Order *order)
{
    Server *server = order->server;
    guint seconds = order->broadcast->seconds;

    order->last_serial = server->last_serial;
    timer_init(&order->timer, on_timer);
    timer_set(&order->timer, &server->worker->loop,
              server->worker->loop.now + seconds * USEC_PER_SEC);

    list_foreach(link, &server->sessions) {
        Session *session = list_entry(link, Session, link);

        if (!is_meant(order, session))
            continue;
        list_foreach(place, &session->connections)
            async_request_logout(list_entry(place, Connection, session_link), seconds);
    }
}

gboolean
drain_is_over(const Order *order)
{
    if (order->is_cancelled)
        return TRUE;

    list_foreach(link, &order->server->sessions) {
        if (is_meant(order, list_entry(link, Session, link)))
            return FALSE;
    }
    return TRUE;
}

void
drain_end(Order *order)
{
    timer_cancel(&order->timer);
}

void
drain_cancel(Server *server, guint32 request)
{
    list_foreach(link, &server->orders) {
        Order *order = list_entry(link, Order, link);

        if (order->broadcast->kind == SERVER_REQUEST_LOGOUT && order->broadcast->request == request)
            order->is_cancelled = TRUE;
    }
}
