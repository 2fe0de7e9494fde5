/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The offload pool. Jobs that must overlap wait at a gate until the test opens
 * it; what must not overlap is counted by the jobs themselves.
 */

#include "engine/offload.h"

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>

typedef struct {
    sem_t started;  /* posted by each job that begins */
    sem_t gate;     /* each job takes one */
    gint n_running; /* atomic */
    gint most;      /* atomic */
    Mailbox mailbox;
    guint n_done;
    GString *trace; /* of the jobs, in the order they were done */
} Stage;

typedef struct {
    OffloadJob job;
    Stage *stage;
    char name;
} TestJob;

static void
stage_init(Stage *stage)
{
    *stage = (Stage){ .trace = g_string_new(NULL) };
    g_assert_cmpint(sem_init(&stage->started, 0, 0), ==, 0);
    g_assert_cmpint(sem_init(&stage->gate, 0, 0), ==, 0);
    g_assert_true(mailbox_init(&stage->mailbox, NULL));
}

static void
stage_deinit(Stage *stage)
{
    mailbox_deinit(&stage->mailbox);
    (void)sem_destroy(&stage->started);
    (void)sem_destroy(&stage->gate);
    g_string_free(stage->trace, TRUE);
}

static void
run_at_gate(OffloadJob *job)
{
    Stage *stage = ((TestJob *)(void *)job)->stage;
    gint n = g_atomic_int_add(&stage->n_running, 1) + 1;
    gint most = g_atomic_int_get(&stage->most);

    while (n > most && !g_atomic_int_compare_and_exchange(&stage->most, most, n))
        most = g_atomic_int_get(&stage->most);

    (void)sem_post(&stage->started);
    while (sem_wait(&stage->gate) != 0)
        continue;
    (void)g_atomic_int_add(&stage->n_running, -1);
}

static void
run_at_once(OffloadJob *job)
{
}

static void
on_done(OffloadJob *job)
{
    TestJob *self = (TestJob *)(void *)job;

    self->stage->n_done++;
    g_string_append_c(self->stage->trace, self->name);
}

static void
submit(Stage *stage, OffloadQueue *queue, TestJob *self, char name, void (*run)(OffloadJob *job))
{
    *self = (TestJob){ .stage = stage, .name = name };
    list_init(&self->job.link);
    self->job.home = &stage->mailbox;
    self->job.run = run;
    self->job.done = on_done;
    offload_submit(queue, &self->job);
}

static void
wait_started(Stage *stage, guint n)
{
    while (n-- > 0) {
        while (sem_wait(&stage->started) != 0)
            continue;
    }
}

static void
open_gate(Stage *stage, guint n)
{
    while (n-- > 0)
        (void)sem_post(&stage->gate);
}

static void
wait_done(Stage *stage, guint n)
{
    struct pollfd pollfd = { .fd = stage->mailbox.event_fd, .events = POLLIN };

    while (stage->n_done < n) {
        (void)poll(&pollfd, 1, -1);
        (void)mailbox_drain(&stage->mailbox);
    }
}

static void
test_done_comes_home(void)
{
    Stage stage;
    Offload *offload = offload_new(4);
    OffloadQueue *queue = offload_queue_new(offload, OFFLOAD_NORMAL);
    TestJob job;

    stage_init(&stage);
    submit(&stage, queue, &job, 'a', run_at_once);
    wait_done(&stage, 1);
    g_assert_cmpstr(stage.trace->str, ==, "a");
    offload_queue_free(queue);
    offload_free(offload);
    stage_deinit(&stage);
}

static void
test_queue_gets_a_quarter(void)
{
    Stage stage;
    Offload *offload = offload_new(8);
    OffloadQueue *queue = offload_queue_new(offload, OFFLOAD_NORMAL);
    TestJob jobs[20];

    stage_init(&stage);
    for (guint i = 0; i < G_N_ELEMENTS(jobs); i++)
        submit(&stage, queue, &jobs[i], (char)('a' + i), run_at_gate);
    wait_started(&stage, 2);
    g_assert_cmpint(g_atomic_int_get(&stage.n_running), ==, 2);

    open_gate(&stage, G_N_ELEMENTS(jobs));
    wait_done(&stage, G_N_ELEMENTS(jobs));
    g_assert_cmpint(g_atomic_int_get(&stage.most), ==, 2);
    offload_queue_free(queue);
    offload_free(offload);
    stage_deinit(&stage);
}

static void
test_small_pool_still_works(void)
{
    Stage stage;
    Offload *offload = offload_new(1);
    OffloadQueue *queue = offload_queue_new(offload, OFFLOAD_NORMAL);
    TestJob jobs[5];

    /* One thread, so in order */
    stage_init(&stage);
    for (guint i = 0; i < G_N_ELEMENTS(jobs); i++)
        submit(&stage, queue, &jobs[i], (char)('a' + i), run_at_once);
    wait_done(&stage, G_N_ELEMENTS(jobs));
    g_assert_cmpstr(stage.trace->str, ==, "abcde");
    offload_queue_free(queue);
    offload_free(offload);
    stage_deinit(&stage);
}

static void
test_stuck_queue_leaves_others_alone(void)
{
    Stage stuck;
    Stage free_stage;
    Offload *offload = offload_new(8);
    OffloadQueue *queue = offload_queue_new(offload, OFFLOAD_NORMAL);
    OffloadQueue *other = offload_queue_new(offload, OFFLOAD_NORMAL);
    TestJob jobs[10];
    TestJob more[10];

    stage_init(&stuck);
    stage_init(&free_stage);
    for (guint i = 0; i < G_N_ELEMENTS(jobs); i++)
        submit(&stuck, queue, &jobs[i], 'x', run_at_gate);
    wait_started(&stuck, 2);

    for (guint i = 0; i < G_N_ELEMENTS(more); i++)
        submit(&free_stage, other, &more[i], 'y', run_at_once);
    wait_done(&free_stage, G_N_ELEMENTS(more));
    g_assert_cmpuint(stuck.n_done, ==, 0);

    open_gate(&stuck, G_N_ELEMENTS(jobs));
    wait_done(&stuck, G_N_ELEMENTS(jobs));
    offload_queue_free(queue);
    offload_queue_free(other);
    offload_free(offload);
    stage_deinit(&stuck);
    stage_deinit(&free_stage);
}

static void
test_low_class_shares_a_quarter(void)
{
    Stage stage;
    Offload *offload = offload_new(8);
    OffloadQueue *queues[4];
    TestJob jobs[16];

    stage_init(&stage);
    for (guint i = 0; i < G_N_ELEMENTS(queues); i++)
        queues[i] = offload_queue_new(offload, OFFLOAD_LOW);
    for (guint i = 0; i < G_N_ELEMENTS(jobs); i++)
        submit(&stage, queues[i % G_N_ELEMENTS(queues)], &jobs[i], 'x', run_at_gate);
    wait_started(&stage, 2);
    open_gate(&stage, G_N_ELEMENTS(jobs));
    wait_done(&stage, G_N_ELEMENTS(jobs));
    g_assert_cmpint(g_atomic_int_get(&stage.most), ==, 2);

    for (guint i = 0; i < G_N_ELEMENTS(queues); i++)
        offload_queue_free(queues[i]);
    offload_free(offload);
    stage_deinit(&stage);
}

/* Four queues of two threads each: all eight must be there at once */
static void
test_burst_gets_all_threads(void)
{
    Stage stage;
    Offload *offload = offload_new(8);
    OffloadQueue *queues[4];
    TestJob jobs[8];

    stage_init(&stage);
    for (guint i = 0; i < G_N_ELEMENTS(queues); i++)
        queues[i] = offload_queue_new(offload, OFFLOAD_NORMAL);
    for (guint i = 0; i < G_N_ELEMENTS(jobs); i++)
        submit(&stage, queues[i % G_N_ELEMENTS(queues)], &jobs[i], 'x', run_at_gate);

    wait_started(&stage, 8);
    open_gate(&stage, 8);
    wait_done(&stage, 8);
    for (guint i = 0; i < G_N_ELEMENTS(queues); i++)
        offload_queue_free(queues[i]);
    offload_free(offload);
    stage_deinit(&stage);
}

static void
test_low_moves_under_load(void)
{
    Stage stage;
    Offload *offload = offload_new(1);
    OffloadQueue *normal = offload_queue_new(offload, OFFLOAD_NORMAL);
    OffloadQueue *low = offload_queue_new(offload, OFFLOAD_LOW);
    TestJob blocker;
    TestJob jobs[40];
    TestJob low_job;
    const char *place;

    stage_init(&stage);
    submit(&stage, normal, &blocker, '-', run_at_gate);
    wait_started(&stage, 1);
    for (guint i = 0; i < G_N_ELEMENTS(jobs); i++)
        submit(&stage, normal, &jobs[i], 'n', run_at_once);
    submit(&stage, low, &low_job, 'l', run_at_once);
    open_gate(&stage, 1);
    wait_done(&stage, G_N_ELEMENTS(jobs) + 2);

    place = strchr(stage.trace->str, 'l');
    g_assert_nonnull(place);
    g_assert_cmpint(place - stage.trace->str, >, 1);
    g_assert_cmpint(place - stage.trace->str, <=, 8);
    offload_queue_free(normal);
    offload_queue_free(low);
    offload_free(offload);
    stage_deinit(&stage);
}

/* When done runs, the queue may go: the job no longer counts */
static void
test_queue_can_be_freed_in_done(void)
{
    Stage stage;
    Offload *offload = offload_new(2);

    stage_init(&stage);
    for (guint i = 0; i < 200; i++) {
        OffloadQueue *queue = offload_queue_new(offload, OFFLOAD_NORMAL);
        TestJob job;

        submit(&stage, queue, &job, 'a', run_at_once);
        wait_done(&stage, i + 1);
        offload_queue_free(queue);
    }
    offload_free(offload);
    stage_deinit(&stage);
}

static void
run_check_signals(OffloadJob *job)
{
    sigset_t mask;

    (void)pthread_sigmask(SIG_SETMASK, NULL, &mask);
    g_assert_cmpint(sigismember(&mask, SIGTERM), ==, 1);
    g_assert_cmpint(sigismember(&mask, SIGCHLD), ==, 1);
}

static void
test_signals_are_blocked(void)
{
    Stage stage;
    Offload *offload = offload_new(1);
    OffloadQueue *queue = offload_queue_new(offload, OFFLOAD_NORMAL);
    TestJob job;
    sigset_t mask;

    stage_init(&stage);
    submit(&stage, queue, &job, 'a', run_check_signals);
    wait_done(&stage, 1);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &mask);
    g_assert_cmpint(sigismember(&mask, SIGTERM), ==, 0); /* ours are as before */
    offload_queue_free(queue);
    offload_free(offload);
    stage_deinit(&stage);
}

static void
test_free_unused(void)
{
    offload_free(offload_new(4));
    offload_free(NULL);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine/offload/done-comes-home", test_done_comes_home);
    g_test_add_func("/engine/offload/queue-gets-a-quarter", test_queue_gets_a_quarter);
    g_test_add_func("/engine/offload/small-pool-still-works", test_small_pool_still_works);
    g_test_add_func("/engine/offload/stuck-queue-leaves-others-alone",
                    test_stuck_queue_leaves_others_alone);
    g_test_add_func("/engine/offload/low-class-shares-a-quarter", test_low_class_shares_a_quarter);
    g_test_add_func("/engine/offload/burst-gets-all-threads", test_burst_gets_all_threads);
    g_test_add_func("/engine/offload/low-moves-under-load", test_low_moves_under_load);
    g_test_add_func("/engine/offload/queue-can-be-freed-in-done", test_queue_can_be_freed_in_done);
    g_test_add_func("/engine/offload/signals-are-blocked", test_signals_are_blocked);
    g_test_add_func("/engine/offload/free-unused", test_free_unused);
    return g_test_run();
}
