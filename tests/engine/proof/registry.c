/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The registry of nexuses, moves and reinstatement
 *
 * One worker knows where each nexus is logged in. A move and a login are
 * handled one at a time for a nexus; logins that come meanwhile queue.
 *
 * Move: registry -> MOVE_SESSION -> old worker, which lets the commands end
 * that run and hands the session with its backlog to the new worker; that one
 * attaches the LU and tells the registry SESSION_MOVED. One node travels.
 *
 * Login: CLAIM_NEXUS is answered at once, the old session is told to end
 * (END_SESSION), and the new one runs nothing before AWAIT_OLD was answered.
 */

#include "sim.h"

static RegistryEntry *
entry_of(Order *order)
{
    return &order->sim->registry[order->nexus];
}

static SimWorker *
registry_of(Order *order)
{
    return entry_of(order)->registry;
}

static void on_claimed(Message *message);
static void on_end_session(Message *message);

static void
serve_claims(RegistryEntry *entry)
{
    SimWorker *registry = entry->registry;
    SimWorker *old;
    ListLink *link;
    Order *order;

    if (entry->busy || (link = list_pop(&entry->claims)) == NULL)
        return;

    order = list_entry(link, Order, link);
    old = entry->at >= 0 ? &registry->sim->workers[entry->at] : NULL;
    entry->busy = TRUE;
    entry->old_ended = old == NULL;
    entry->old_incarnation = entry->incarnation;
    entry->at = (gint)order->to;
    order->incarnation = ++entry->incarnation;

    sim_reply(registry, &registry->sim->workers[order->to], MSG_CLAIM_NEXUS, &order->message,
              on_claimed);
    if (old != NULL)
        sim_request(registry, old, MSG_END_SESSION, &entry->message, on_end_session);
}

/* Moves */

static void
on_session_moved(Message *message)
{
    Order *order = list_entry(message, Order, message);
    RegistryEntry *entry = entry_of(order);

    sim_jitter(entry->registry);
    entry->at = (gint)order->to;
    entry->busy = FALSE;
    sim_order_done(order);
    serve_claims(entry);
}

static void
on_hand_session(Message *message)
{
    Order *order = list_entry(message, Order, message);
    SimWorker *worker = &order->sim->workers[order->to];

    sim_jitter(worker);
    worker->n_moves++;
    session_arrive(order->session, worker);
}

static void
on_move_session(Message *message)
{
    Order *order = list_entry(message, Order, message);
    SimWorker *worker = sim_worker_current();
    Session *session = session_find(worker, order->nexus, order->incarnation);

    sim_jitter(worker);
    g_assert_null(session->order);
    session->order = order;
    session->blocked = TRUE;
    deferred_run(&session->check, &worker->worker->loop);
}

static void
hand_session(Session *session)
{
    SimWorker *worker = session->worker;
    Order *order = session->order;

    session_leave(session);
    order->session = session;
    mailbox_send(&worker->sim->workers[order->to].worker->inbox, &order->message, on_hand_session);
}

void
on_order_move(Message *message)
{
    Order *order = list_entry(message, Order, message);
    RegistryEntry *entry = entry_of(order);

    sim_jitter(entry->registry);
    if (entry->busy || entry->at < 0 || entry->at == (gint)order->to) {
        sim_order_done(order);
        return;
    }

    entry->busy = TRUE;
    order->incarnation = entry->incarnation;
    sim_request(entry->registry, &order->sim->workers[entry->at], MSG_MOVE_SESSION, message,
                on_move_session);
}

/* The end of a session */

static void answer_await(RegistryEntry *entry);

static void
on_session_ended(Message *message)
{
    RegistryEntry *entry = list_entry(message, RegistryEntry, message);

    sim_jitter(entry->registry);
    entry->old_ended = TRUE;
    answer_await(entry);
}

static void
on_end_session(Message *message)
{
    RegistryEntry *entry = list_entry(message, RegistryEntry, message);
    SimWorker *worker = sim_worker_current();
    Session *session = session_find(worker, entry->nexus, entry->old_incarnation);

    sim_jitter(worker);
    session->end = entry;
    session_stop(session);
}

static void
end_session(Session *session)
{
    SimWorker *worker = session->worker;
    RegistryEntry *entry = session->end;

    session_leave(session);
    session_free(session);
    sim_reply(worker, entry->registry, MSG_END_SESSION, &entry->message, on_session_ended);
}

void
session_is_idle(Session *session)
{
    if (session->end != NULL && session->n_outstanding == 0)
        end_session(session);
    else if (session->order != NULL && session->end == NULL)
        hand_session(session);
}

/* Logins */

static void
on_old_ended(Message *message)
{
    Order *order = list_entry(message, Order, message);
    Session *session = order->session;

    sim_jitter(session->worker);
    session_start(session);
    sim_order_done(order);
}

static void
answer_await(RegistryEntry *entry)
{
    Order *order = entry->awaiting;

    if (order == NULL || !entry->old_ended)
        return;

    entry->awaiting = NULL;
    entry->busy = FALSE;
    sim_reply(entry->registry, &order->sim->workers[order->to], MSG_AWAIT_OLD, &order->message,
              on_old_ended);
    serve_claims(entry);
}

static void
on_await_old(Message *message)
{
    Order *order = list_entry(message, Order, message);
    RegistryEntry *entry = entry_of(order);

    sim_jitter(entry->registry);
    entry->awaiting = order;
    answer_await(entry);
}

static void
on_claimed(Message *message)
{
    Order *order = list_entry(message, Order, message);
    SimWorker *worker = &order->sim->workers[order->to];

    sim_jitter(worker);
    order->session = session_new(worker, order->nexus, order->incarnation);
    order->session->order = order;
    session_arrive(order->session, worker);
}

/* After a move or a login: its LU is there */
void
session_is_attached(Session *session)
{
    SimWorker *worker = session->worker;
    Order *order = g_steal_pointer(&session->order);

    list_unlink(&session->link);
    list_append(&worker->sessions, &session->link);
    session_catch_up(session);

    if (session->is_new) {
        session->is_new = FALSE;
        sim_request(worker, registry_of(order), MSG_AWAIT_OLD, &order->message, on_await_old);
    } else {
        session_start(session);
        sim_reply(worker, registry_of(order), MSG_MOVE_SESSION, &order->message, on_session_moved);
    }
}

static void
on_claim_nexus(Message *message)
{
    Order *order = list_entry(message, Order, message);
    RegistryEntry *entry = entry_of(order);

    sim_jitter(entry->registry);
    list_append(&entry->claims, &order->link);
    serve_claims(entry);
}

void
on_order_login(Message *message)
{
    Order *order = list_entry(message, Order, message);
    SimWorker *worker = &order->sim->workers[order->to];

    sim_jitter(worker);
    sim_request(worker, registry_of(order), MSG_CLAIM_NEXUS, message, on_claim_nexus);
}
