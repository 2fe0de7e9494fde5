/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Workers: by hand on a manual clock, and as threads that talk to each other.
 */

#include "engine/worker.h"

#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>

#include "util/error.h"

#define MIB ((gsize)1 << 20)

static const WorkerConfig config_small = {
    .pool_size = 4 * MIB,
    .pool_reserve = MIB,
    .clock = &clock_system,
};

static Worker *
make_worker(guint index, const WorkerConfig *config)
{
    g_autoptr(GError) error = NULL;
    Worker *worker = worker_new(index, config, NULL, &error);

    g_assert_no_error(error);
    return worker;
}

typedef struct {
    Message message;
    Worker *expected;
    guint n_hops;
} Probe;

static void
on_probe(Message *message)
{
    Probe *probe = list_entry(message, Probe, message);

    g_assert_true(worker_current() == probe->expected);
    probe->n_hops++;
}

static void
test_by_hand(void)
{
    Worker *a = make_worker(0, &config_small);
    Worker *b = make_worker(1, &config_small);
    Probe to_a = { .expected = a };
    Probe to_b = { .expected = b };

    worker_send(a, &to_a.message, on_probe);
    worker_send(b, &to_b.message, on_probe);
    worker_turn(a, -1);
    worker_turn(b, -1);
    g_assert_cmpuint(to_a.n_hops, ==, 1);
    g_assert_cmpuint(to_b.n_hops, ==, 1);
    g_assert_null(worker_current());
    worker_free(a);
    worker_free(b);
}

static void
test_draining_does_not_wake_again(void)
{
    Worker *worker = make_worker(0, &config_small);
    Probe probe = { .expected = worker };
    struct epoll_event event;

    worker_send(worker, &probe.message, on_probe);
    worker_turn(worker, -1);
    g_assert_true(list_is_empty(&worker->loop.ready));
    g_assert_cmpint(epoll_wait(worker->loop.epoll_fd, &event, 1, 0), ==, 0);
    worker_free(worker);
}

static void
test_idle_trims_once(void)
{
    Clock clock;
    WorkerConfig config = config_small;
    Worker *worker;
    void *buffer;

    clock_init_manual(&clock, 0);
    config.clock = &clock;
    worker = make_worker(0, &config);
    worker_turn(worker, 0);
    g_assert_false(timer_is_set(&worker->idle_timer)); /* nothing to trim: sleeps for ever */

    buffer = pool_take(worker->pool, MIB);
    memset(buffer, 1, MIB);
    pool_give(worker->pool, buffer);
    worker_turn(worker, 0);
    g_assert_true(timer_is_set(&worker->idle_timer));

    /* Used again meanwhile: not idle */
    pool_give(worker->pool, pool_take(worker->pool, MIB));
    clock_advance(&clock, 10 * USEC_PER_SEC);
    worker_turn(worker, 0);
    g_assert_true(pool_has_trimmable(worker->pool));
    g_assert_true(timer_is_set(&worker->idle_timer));

    clock_advance(&clock, 10 * USEC_PER_SEC);
    worker_turn(worker, 0);
    g_assert_false(pool_has_trimmable(worker->pool));
    g_assert_false(timer_is_set(&worker->idle_timer));
    worker_free(worker);
}

static void
test_impossible_pool(void)
{
    g_autoptr(GError) error = NULL;
    WorkerConfig config = config_small;

    config.pool_reserve = config.pool_size;
    g_assert_null(worker_new(0, &config, NULL, &error));
    g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
}

enum { N_WORKERS = 4, N_HOPS = 4000 };

typedef struct {
    Worker *workers[N_WORKERS];
    Mailbox home;
    guint n_back;
} Ring;

typedef struct {
    Message message;
    Ring *ring;
    guint at;
    guint n_hops;
} Token;

static void
on_home(Message *message)
{
    list_entry(message, Token, message)->ring->n_back++;
}

static void
on_hop(Message *message)
{
    Token *token = list_entry(message, Token, message);
    Ring *ring = token->ring;

    g_assert_true(worker_current() == ring->workers[token->at]);
    token->at = (token->at + 1) % N_WORKERS;
    if (++token->n_hops < N_HOPS)
        worker_send(ring->workers[token->at], message, on_hop);
    else
        mailbox_send(&ring->home, message, on_home);
}

static void
test_ring_of_threads(void)
{
    Ring ring = { 0 };
    Token tokens[3] = { 0 };
    struct pollfd pollfd = { .events = POLLIN };

    g_assert_true(mailbox_init(&ring.home, NULL));
    for (guint i = 0; i < N_WORKERS; i++) {
        ring.workers[i] = make_worker(i, &config_small);
        worker_start(ring.workers[i]);
    }
    for (guint i = 0; i < G_N_ELEMENTS(tokens); i++) {
        tokens[i].ring = &ring;
        worker_send(ring.workers[0], &tokens[i].message, on_hop);
    }

    pollfd.fd = ring.home.event_fd;
    while (ring.n_back < G_N_ELEMENTS(tokens)) {
        (void)poll(&pollfd, 1, -1);
        (void)mailbox_drain(&ring.home);
    }

    for (guint i = 0; i < N_WORKERS; i++) {
        worker_stop(ring.workers[i]);
        worker_stop(ring.workers[i]);
        worker_free(ring.workers[i]);
    }
    mailbox_deinit(&ring.home);
}

static void
on_name(Message *message)
{
    char name[16] = "";

    (void)pthread_getname_np(pthread_self(), name, sizeof(name));
    g_assert_cmpstr(name, ==, "lunport/7");
}

static void
test_thread_name(void)
{
    Worker *worker = make_worker(7, &config_small);
    Message message;

    worker_start(worker);
    worker_send(worker, &message, on_name);
    worker_stop(worker);
    worker_free(worker);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine/worker/by-hand", test_by_hand);
    g_test_add_func("/engine/worker/draining-does-not-wake-again",
                    test_draining_does_not_wake_again);
    g_test_add_func("/engine/worker/idle-trims-once", test_idle_trims_once);
    g_test_add_func("/engine/worker/impossible-pool", test_impossible_pool);
    g_test_add_func("/engine/worker/ring-of-threads", test_ring_of_threads);
    g_test_add_func("/engine/worker/thread-name", test_thread_name);
    return g_test_run();
}
