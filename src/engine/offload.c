/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Offload pool
 *
 * The one place of the data plane with a mutex, because its threads do what
 * the workers must not: wait. A queue is on the list of runnable queues of its
 * class exactly while it has jobs and is below its share of the threads; a
 * thread takes the first queue's first job and moves the queue to the back, so
 * queues take turns. Normal queues go before low ones, but every eighth pick
 * tries the low ones first, so that they move even under full load.
 *
 * Threads are started one at a time when a job could run and none is idle,
 * and end after IDLE_SEC without work. An ending thread joins the one that
 * ended before it and leaves itself to be joined, so at most one finished
 * thread is lying about.
 *
 * POSIX mutexes and conditions rather than GLib's: ThreadSanitizer knows them.
 */

#include "engine/offload.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "engine/thread.h"

#define IDLE_SEC  10
#define LOW_EVERY 8

#define N_CLASSES 2

struct Offload {
    pthread_mutex_t mutex; /* guards all below and the queues */
    pthread_cond_t work;   /* to idle threads */
    pthread_cond_t ended;  /* to offload_free() */
    guint n_threads_max;
    guint share; /* threads that one queue, or all low queues together, may have */
    guint n_threads;
    guint n_idle;
    guint n_low_running;
    guint n_queues;
    guint n_picks;
    gboolean ending;
    GThread *last_ended;
    List runnable[N_CLASSES];
};

struct OffloadQueue {
    Offload *offload;
    OffloadClass class;
    ListLink link; /* on Offload.runnable */
    List jobs;
    guint n_running;
    gboolean is_serial;
};

static void
offload_lock(Offload *offload)
{
    int r = pthread_mutex_lock(&offload->mutex);

    g_assert(r == 0);
}

static void
offload_unlock(Offload *offload)
{
    int r = pthread_mutex_unlock(&offload->mutex);

    g_assert(r == 0);
}

/* Put the queue on its list, or take it off, as its jobs and its share say */
static void
queue_update(OffloadQueue *queue)
{
    Offload *offload = queue->offload;
    guint share = queue->is_serial ? 1 : offload->share;
    gboolean can_run = !list_is_empty(&queue->jobs) && queue->n_running < share;

    if (can_run && !list_is_linked(&queue->link))
        list_append(&offload->runnable[queue->class], &queue->link);
    else if (!can_run)
        list_unlink(&queue->link);
}

static gboolean
low_can_run(const Offload *offload)
{
    return offload->n_low_running < offload->share &&
           !list_is_empty(&offload->runnable[OFFLOAD_LOW]);
}

static gboolean
offload_has_work(const Offload *offload)
{
    return !list_is_empty(&offload->runnable[OFFLOAD_NORMAL]) || low_can_run(offload);
}

static OffloadQueue *
offload_pick(Offload *offload)
{
    gboolean low_first = ++offload->n_picks % LOW_EVERY == 0;
    ListLink *normal = list_first(&offload->runnable[OFFLOAD_NORMAL]);

    if (low_can_run(offload) && (normal == NULL || low_first))
        return list_entry(list_first(&offload->runnable[OFFLOAD_LOW]), OffloadQueue, link);
    return normal != NULL ? list_entry(normal, OffloadQueue, link) : NULL;
}

static OffloadJob *
offload_start_job(Offload *offload)
{
    OffloadQueue *queue = offload_pick(offload);
    ListLink *link;

    if (queue == NULL)
        return NULL;

    link = list_pop(&queue->jobs);
    queue->n_running++;
    offload->n_low_running += queue->class == OFFLOAD_LOW ? 1 : 0;
    list_unlink(&queue->link); /* to the back */
    queue_update(queue);
    return list_entry(link, OffloadJob, link);
}

static void
offload_end_job(Offload *offload, OffloadQueue *queue)
{
    queue->n_running--;
    offload->n_low_running -= queue->class == OFFLOAD_LOW ? 1 : 0;
    queue_update(queue);
}

static void
on_done(Message *message)
{
    OffloadJob *job = list_entry(message, OffloadJob, message);

    job->done(job);
}

/* Called and returns with the lock held */
static void
run_job(Offload *offload, OffloadJob *job)
{
    OffloadQueue *queue = job->queue;
    Mailbox *home = job->home;

    offload_unlock(offload);
    job->run(job);
    offload_lock(offload);

    /* The job counts until here, and no longer: @done may free the queue */
    offload_end_job(offload, queue);

    offload_unlock(offload);
    mailbox_send(home, &job->message, on_done);
    offload_lock(offload);
}

/* FALSE when there was nothing to do for IDLE_SEC, or never will be */
static gboolean
wait_for_work(Offload *offload)
{
    struct timespec until;
    int r = 0;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_SEC;

    offload->n_idle++;
    while (!offload_has_work(offload) && !offload->ending && r == 0)
        r = pthread_cond_timedwait(&offload->work, &offload->mutex, &until);
    offload->n_idle--;
    g_assert(r == 0 || r == ETIMEDOUT);

    return offload_has_work(offload);
}

static void offload_call_thread(Offload *offload);

static gpointer
offload_thread(gpointer data)
{
    Offload *offload = data;
    OffloadJob *job;
    GThread *before;

    offload_lock(offload);
    do {
        while ((job = offload_start_job(offload)) != NULL) {
            offload_call_thread(offload);
            run_job(offload, job);
        }
    } while (wait_for_work(offload));

    before = offload->last_ended;
    offload->last_ended = g_thread_self();
    offload->n_threads--;
    (void)pthread_cond_signal(&offload->ended);
    offload_unlock(offload);

    if (before != NULL)
        (void)g_thread_join(before);
    return NULL;
}

/*
 * Get a thread for what can run: wake one or start one. Who takes a job calls
 * for the next, so that a burst of jobs raises threads one after the other.
 */
static void
offload_call_thread(Offload *offload)
{
    if (!offload_has_work(offload))
        return;

    if (offload->n_idle > 0)
        (void)pthread_cond_signal(&offload->work);
    else if (offload->n_threads < offload->n_threads_max &&
             thread_start("lunport/io", offload_thread, offload, NULL) != NULL)
        offload->n_threads++; /* the new thread cannot look before we unlock; it is joined later */
}

Offload *
offload_new(guint n_threads_max)
{
    Offload *offload = g_new0(Offload, 1);
    pthread_condattr_t attributes;

    g_assert(n_threads_max > 0);

    offload->n_threads_max = n_threads_max;
    offload->share = MAX(n_threads_max / 4, 1);
    for (guint i = 0; i < N_CLASSES; i++)
        list_init(&offload->runnable[i]);

    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&offload->mutex, NULL);
    (void)pthread_cond_init(&offload->work, &attributes);
    (void)pthread_cond_init(&offload->ended, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    return offload;
}

void
offload_free(Offload *offload)
{
    if (offload == NULL)
        return;

    offload_lock(offload);
    g_assert(offload->n_queues == 0);
    offload->ending = TRUE;
    (void)pthread_cond_broadcast(&offload->work);
    while (offload->n_threads > 0)
        (void)pthread_cond_wait(&offload->ended, &offload->mutex);
    offload_unlock(offload);

    if (offload->last_ended != NULL)
        (void)g_thread_join(offload->last_ended);

    (void)pthread_cond_destroy(&offload->ended);
    (void)pthread_cond_destroy(&offload->work);
    (void)pthread_mutex_destroy(&offload->mutex);
    g_free(offload);
}

OffloadQueue *
offload_queue_new(Offload *offload, OffloadClass class)
{
    OffloadQueue *queue = g_new0(OffloadQueue, 1);

    queue->offload = offload;
    queue->class = class;
    list_init(&queue->link);
    list_init(&queue->jobs);

    offload_lock(offload);
    offload->n_queues++;
    offload_unlock(offload);
    return queue;
}

void
offload_queue_set_serial(OffloadQueue *queue)
{
    queue->is_serial = TRUE;
}

void
offload_queue_free(OffloadQueue *queue)
{
    Offload *offload;

    if (queue == NULL)
        return;

    offload = queue->offload;
    offload_lock(offload);
    g_assert(list_is_empty(&queue->jobs));
    g_assert(queue->n_running == 0);
    offload->n_queues--;
    offload_unlock(offload);
    g_free(queue);
}

void
offload_submit(OffloadQueue *queue, OffloadJob *job)
{
    Offload *offload = queue->offload;
    OffloadJob *inline_job;

    job->queue = queue;

    offload_lock(offload);
    list_append(&queue->jobs, &job->link);
    queue_update(queue);
    offload_call_thread(offload);

    /* Not one thread is to be had: slow is better than never */
    while (offload->n_threads == 0 && (inline_job = offload_start_job(offload)) != NULL)
        run_job(offload, inline_job);
    offload_unlock(offload);
}
