/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The proof: rounds of a few seconds
 *
 * Each round builds the engine and all that sim.h names, logs every nexus in,
 * moves and reinstates sessions at random, and then stops everything in the
 * middle of it. After the threads have ended the books must balance: each
 * command was answered, each request got its reply, each addition is on the
 * medium, each nexus heard of each reset, each buffer came back (the engine
 * asserts that). Over the whole run every nexus must have got writes through,
 * although a worker's pool has two bursts for its sixteen writers.
 *
 * --seconds N   for how long (10)
 * --seed N      repeat the decisions of a run; its timing is not repeatable
 */

#include "sim.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define POOL_SIZE    ((gsize)3 << 20)
#define POOL_RESERVE ((gsize)1 << 20)

#define ORDER_EVERY_USEC 1000
#define PHASE_USEC       (1000 * USEC_PER_MSEC)
#define PROGRESS_SECONDS 10 /* a run at least this long must show progress of all */

/* clang-format off */
static const char *const message_names[MSG_N] = {
    [MSG_RANGE_LOCK] = "RANGE_LOCK",
    [MSG_RANGE_UNLOCK] = "RANGE_UNLOCK",
    [MSG_RUN_ATOMIC] = "RUN_ATOMIC",
    [MSG_LU_CHANGE] = "LU_CHANGE",
    [MSG_ABORT_TASKS] = "ABORT_TASKS",
    [MSG_RAISE_UA] = "RAISE_UA",
    [MSG_MANAGE_LU] = "MANAGE_LU",
    [MSG_ATTACH_LU] = "ATTACH_LU",
    [MSG_DETACH_LU] = "DETACH_LU",
    [MSG_MOVE_SESSION] = "MOVE_SESSION",
    [MSG_END_SESSION] = "END_SESSION",
    [MSG_AWAIT_OLD] = "AWAIT_OLD",
    [MSG_CLAIM_NEXUS] = "CLAIM_NEXUS",
};

static const char *const outcome_names[OUTCOME_N] = {
    [OUTCOME_GOOD] = "good",
    [OUTCOME_CONFLICT] = "reservation conflict",
    [OUTCOME_UNIT_ATTENTION] = "unit attention",
    [OUTCOME_ABORTED] = "aborted",
};
/* clang-format on */

typedef struct {
    guint64 n_messages[MSG_N];
    guint64 n_ended[OUTCOME_N];
    guint64 n_done_of[N_NEXUSES];
    guint64 n_parked;
    guint64 n_pool_waits;
    guint64 n_moves;
    guint n_rounds;
} Totals;

SimWorker *
sim_worker_current(void)
{
    return worker_current()->layers[WORKER_LAYER_SCSI];
}

void
sim_request(SimWorker *from, SimWorker *to, MessageKind kind, Message *message, MessageFn fn)
{
    g_assert_true(worker_current() == from->worker);
    from->n_requests[kind]++;
    worker_send(to->worker, message, fn);
}

void
sim_reply(SimWorker *from, SimWorker *to, MessageKind kind, Message *message, MessageFn fn)
{
    g_assert_true(worker_current() == from->worker);
    from->n_replies[kind]++;
    worker_send(to->worker, message, fn);
}

/* Now and then a handler takes its time */
void
sim_jitter(SimWorker *worker)
{
    if (g_rand_int_range(worker->rand, 0, 64) == 0)
        g_usleep((gulong)g_rand_int_range(worker->rand, 0, 500));
}

/* What workers report to the control thread */

static void
on_order_done(Message *message)
{
    Order *order = list_entry(message, Order, message);

    order->in_use = FALSE;
    order->sim->n_orders--;
}

void
sim_order_done(Order *order)
{
    mailbox_send(&order->sim->control, &order->message, on_order_done);
}

static void
on_reported(Message *message)
{
    list_entry(message, SimWorker, order)->sim->n_reported++;
}

static void
report(SimWorker *worker)
{
    mailbox_send(&worker->sim->control, &worker->order, on_reported);
}

static guint
count_outstanding(const SimWorker *worker)
{
    guint n = 0;

    list_foreach(link, &worker->sessions)
        n += list_entry(link, Session, link)->n_outstanding;
    return n;
}

static gboolean
has_nothing_left(const SimWorker *worker)
{
    for (guint i = 0; i < N_LUS; i++) {
        const HomeLu *home = &worker->sim->homes[i];

        if (worker->local[i].state != LU_DETACHED)
            return FALSE;
        if (home->worker == worker && !home_is_quiet(home))
            return FALSE;
    }
    return TRUE;
}

static void
on_worker_check(Deferred *deferred)
{
    SimWorker *worker = list_entry(deferred, SimWorker, check);

    if (worker->draining && count_outstanding(worker) == 0) {
        worker->draining = FALSE;
        report(worker);
    } else if (worker->finishing && has_nothing_left(worker)) {
        worker->finishing = FALSE;
        report(worker);
    }
}

static void
on_stop_thinking(Message *message)
{
    SimWorker *worker = list_entry(message, SimWorker, order);

    worker->stopping = TRUE;
    report(worker);
}

static void
on_drain(Message *message)
{
    SimWorker *worker = list_entry(message, SimWorker, order);

    worker->draining = TRUE;
    deferred_run(&worker->check, &worker->worker->loop);
}

static void
on_finish(Message *message)
{
    SimWorker *worker = list_entry(message, SimWorker, order);
    ListLink *link;

    g_assert_true(list_is_empty(&worker->arriving));
    while ((link = list_first(&worker->sessions)) != NULL) {
        Session *session = list_entry(link, Session, link);

        worker->was_here[session->nexus] = TRUE;
        worker->last_ua_generation[session->nexus] = session->ua_generation;
        session_leave(session);
        session_free(session);
    }
    worker->finishing = TRUE;
    deferred_run(&worker->check, &worker->worker->loop);
}

/* The control thread */

static void
wait_for_reports(Sim *sim, int timeout_msec)
{
    struct pollfd pollfd = { .fd = sim->control.event_fd, .events = POLLIN };

    if (poll(&pollfd, 1, timeout_msec) == 1)
        (void)mailbox_drain(&sim->control);
}

/* Tell all workers, and wait until all have answered and no order is out */
static void
tell_all(Sim *sim, MessageFn fn)
{
    sim->n_reported = 0;
    for (guint i = 0; i < N_WORKERS; i++)
        worker_send(sim->workers[i].worker, &sim->workers[i].order, fn);
    while (sim->n_reported < N_WORKERS || sim->n_orders > 0)
        wait_for_reports(sim, -1);
}

static Order *
find_free_order(Sim *sim)
{
    for (gsize i = 0; i < G_N_ELEMENTS(sim->orders); i++) {
        if (!sim->orders[i].in_use)
            return &sim->orders[i];
    }
    return NULL;
}

static void
give_order(Sim *sim, Order *order, guint nexus, guint to, gboolean is_move)
{
    order->in_use = TRUE;
    order->nexus = nexus;
    order->to = to;
    sim->n_orders++;
    if (is_move)
        worker_send(sim->registry[nexus].registry->worker, &order->message, on_order_move);
    else
        worker_send(sim->workers[to].worker, &order->message, on_order_login);
}

static void
log_all_in(Sim *sim)
{
    for (guint i = 0; i < N_NEXUSES; i++) {
        Order *order;

        while ((order = find_free_order(sim)) == NULL)
            wait_for_reports(sim, -1);
        give_order(sim, order, i, i % N_WORKERS, FALSE);
    }
}

/* Sometimes one worker is left alone until it has no session */
static guint
choose_worker(GRand *rand, gint64 now)
{
    guint deserted = (guint)(now / PHASE_USEC % (N_WORKERS + 1));
    guint to;

    do {
        to = (guint)g_rand_int_range(rand, 0, N_WORKERS);
    } while (to == deserted);
    return to;
}

static void
disturb(Sim *sim, GRand *rand, gint64 until)
{
    gint64 now = clock_now(&clock_system);

    while (now < until) {
        gint64 next = now + g_rand_int_range(rand, 0, 2 * ORDER_EVERY_USEC);
        Order *order = find_free_order(sim);

        if (order != NULL)
            give_order(sim, order, (guint)g_rand_int_range(rand, 0, N_NEXUSES),
                       choose_worker(rand, now), g_rand_int_range(rand, 0, 10) < 7);
        do {
            wait_for_reports(sim, 1);
            now = clock_now(&clock_system);
        } while (now < next);
    }
}

/* Building and taking down */

static void
sim_worker_init(SimWorker *worker, Sim *sim, guint index, guint32 seed)
{
    static const WorkerConfig config = { POOL_SIZE, POOL_RESERVE, &clock_system };
    g_autoptr(GError) error = NULL;

    worker->sim = sim;
    worker->index = index;
    worker->rand = g_rand_new_with_seed(seed);
    worker->worker = worker_new(index, &config, sim->offload, &error);
    g_assert_no_error(error);
    worker->worker->layers[WORKER_LAYER_SCSI] = worker;
    worker->queue = offload_queue_new(sim->offload, OFFLOAD_NORMAL);
    list_init(&worker->sessions);
    list_init(&worker->arriving);
    deferred_init(&worker->check, on_worker_check);
    for (guint i = 0; i < N_LUS; i++)
        local_init(&worker->local[i], worker, i);
}

static Sim *
sim_new(guint32 seed)
{
    Sim *sim = g_new0(Sim, 1);

    sim->offload = offload_new(8);
    g_assert_true(mailbox_init(&sim->control, NULL));
    for (guint i = 0; i < N_WORKERS; i++)
        sim_worker_init(&sim->workers[i], sim, i, seed + i);

    /* The registry lives on the first worker, the homes on the others */
    for (guint i = 0; i < N_LUS; i++) {
        home_init(&sim->homes[i], &sim->workers[1 + i % (N_WORKERS - 1)], i);
        medium_enforce(&sim->medium, i, NO_HOLDER);
    }
    for (guint i = 0; i < N_NEXUSES; i++) {
        sim->registry[i] = (RegistryEntry){ .registry = &sim->workers[0], .nexus = i, .at = -1 };
        list_init(&sim->registry[i].claims);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(sim->orders); i++) {
        sim->orders[i].sim = sim;
        list_init(&sim->orders[i].link);
    }
    for (guint i = 0; i < N_WORKERS; i++)
        worker_start(sim->workers[i].worker);
    return sim;
}

static void
sim_free(Sim *sim)
{
    for (guint i = 0; i < N_LUS; i++)
        home_deinit(&sim->homes[i]);
    for (guint i = 0; i < N_WORKERS; i++) {
        SimWorker *worker = &sim->workers[i];

        for (guint j = 0; j < N_LUS; j++)
            local_deinit(&worker->local[j]);
        offload_queue_free(worker->queue);
        worker_free(worker->worker);
        g_rand_free(worker->rand);
    }
    offload_free(sim->offload);
    mailbox_deinit(&sim->control);
    g_free(sim);
}

/* The books */

static void
check_messages(const Sim *sim, Totals *totals)
{
    for (guint kind = 0; kind < MSG_N; kind++) {
        guint64 n_requests = 0;
        guint64 n_replies = 0;

        for (guint i = 0; i < N_WORKERS; i++) {
            n_requests += sim->workers[i].n_requests[kind];
            n_replies += sim->workers[i].n_replies[kind];
        }
        g_assert_cmpuint(n_requests, ==, n_replies);
        totals->n_messages[kind] += n_requests;
    }
}

static void
check_commands(const Sim *sim, Totals *totals)
{
    guint64 n_born = 0;
    guint64 n_ended = 0;

    for (guint i = 0; i < N_WORKERS; i++) {
        const SimWorker *worker = &sim->workers[i];

        n_born += worker->n_born;
        for (guint j = 0; j < OUTCOME_N; j++) {
            n_ended += worker->n_ended[j];
            totals->n_ended[j] += worker->n_ended[j];
        }
        for (guint j = 0; j < N_NEXUSES; j++)
            totals->n_done_of[j] += worker->n_done_of[j];
        totals->n_parked += worker->n_parked;
        totals->n_pool_waits += worker->n_pool_waits;
        totals->n_moves += worker->n_moves;
    }
    g_assert_cmpuint(n_born, ==, n_ended);
}

static void
check_medium(const Sim *sim)
{
    for (guint i = 0; i < N_LUS; i++) {
        for (guint j = 0; j < N_BLOCKS; j++) {
            g_assert_cmphex(sim->medium.owner[i][j], ==, 0);
            g_assert_cmpuint(sim->medium.value[i][j], ==, sim->homes[i].n_increments[j]);
        }
    }
    for (guint i = 0; i < N_NEXUSES; i++) {
        g_assert_cmpuint(sim->medium.running[i][0], ==, 0);
        g_assert_cmpuint(sim->medium.running[i][1], ==, 0);
    }
}

/* Each nexus is somewhere, once, and heard of the last reset of its LU */
static void
check_nexuses(const Sim *sim)
{
    for (guint i = 0; i < N_NEXUSES; i++) {
        guint n = 0;

        for (guint j = 0; j < N_WORKERS; j++) {
            const SimWorker *worker = &sim->workers[j];

            if (!worker->was_here[i])
                continue;
            n++;
            g_assert_cmpint(sim->registry[i].at, ==, (gint)j);
            g_assert_cmpuint(worker->last_ua_generation[i], ==,
                             sim->homes[i % N_LUS].ua_generation);
        }
        g_assert_cmpuint(n, ==, 1);
    }
}

static void
run_round(GRand *rand, gint64 usec, Totals *totals)
{
    Sim *sim = sim_new(g_rand_int(rand));

    log_all_in(sim);
    disturb(sim, rand, clock_now(&clock_system) + usec);

    /* In the middle of everything: no new commands; orders end; then what runs ends */
    tell_all(sim, on_stop_thinking);
    tell_all(sim, on_drain);
    tell_all(sim, on_finish);
    for (guint i = 0; i < N_WORKERS; i++)
        worker_stop(sim->workers[i].worker);

    check_messages(sim, totals);
    check_commands(sim, totals);
    check_medium(sim);
    check_nexuses(sim);
    totals->n_rounds++;
    sim_free(sim);
}

static void
print_totals(const Totals *totals)
{
    (void)printf("%u rounds, %" G_GUINT64_FORMAT " moves, %" G_GUINT64_FORMAT
                 " waits for a buffer, %" G_GUINT64_FORMAT " commands parked\n",
                 totals->n_rounds, totals->n_moves, totals->n_pool_waits, totals->n_parked);
    for (guint i = 0; i < OUTCOME_N; i++)
        (void)printf("  %-20s %10" G_GUINT64_FORMAT " commands\n", outcome_names[i],
                     totals->n_ended[i]);
    for (guint i = 0; i < MSG_N; i++)
        (void)printf("  %-20s %10" G_GUINT64_FORMAT " requests, all answered\n", message_names[i],
                     totals->n_messages[i]);
}

int
main(int argc, char **argv)
{
    gint seconds = 10;
    gint64 seed = g_random_int();
    GOptionEntry entries[] = {
        { "seconds", 0, 0, G_OPTION_ARG_INT, &seconds, "Run for N seconds", "N" },
        { "seed", 0, 0, G_OPTION_ARG_INT64, &seed, "Begin the random decisions with N", "N" },
        { NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL },
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(GRand) rand = NULL;
    Totals totals = { 0 };
    gint64 until;

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        (void)fprintf(stderr, "%s\n", error->message);
        return EXIT_FAILURE;
    }

    (void)printf("seed %" G_GINT64_FORMAT "\n", seed);
    (void)fflush(stdout);
    rand = g_rand_new_with_seed((guint32)seed);

    until = clock_now(&clock_system) + seconds * USEC_PER_SEC;
    do {
        gint64 left = MAX(until - clock_now(&clock_system), 0);
        gint64 usec = g_rand_int_range(rand, 500, 3000) * USEC_PER_MSEC;

        run_round(rand, MIN(usec, left), &totals);
    } while (clock_now(&clock_system) < until);

    print_totals(&totals);
    for (guint i = 0; i < N_NEXUSES && seconds >= PROGRESS_SECONDS; i++)
        g_assert_cmpuint(totals.n_done_of[i], >, 0);
    return EXIT_SUCCESS;
}
