/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Worker
 *
 * Binds the parts of the engine to one thread: the mailbox is a watch of the
 * loop, the pool is trimmed by a timer that exists only while there is
 * something to trim. A worker with nothing to do has no timer set and sleeps
 * without limit.
 *
 * The trim timer looks whether the pool was used since it was set. If so it
 * waits once more, else it gives the unused pages back and stays off until
 * buffers have been out again.
 */

#include "engine/worker.h"

#include <sys/epoll.h>

#include "engine/thread.h"

#define TRIM_AFTER_USEC (2 * USEC_PER_SEC)

/* Which worker the calling thread is turning; for assertions */
static Worker **
current_slot(void)
{
    static _Thread_local Worker *current;

    return &current;
}

static void
on_inbox(Watch *watch, guint32 ready)
{
    Worker *worker = list_entry(watch, Worker, inbox_watch);

    /* Before draining: what is sent from here on is a new edge */
    watch_clear(watch, EPOLLIN);
    (void)mailbox_drain(&worker->inbox);
}

static guint64
pool_n_takes(const Pool *pool)
{
    PoolStatistics statistics;

    pool_get_statistics(pool, &statistics);
    return statistics.n_takes;
}

static void
set_idle_timer(Worker *worker)
{
    worker->idle_n_takes = pool_n_takes(worker->pool);
    timer_set(&worker->idle_timer, &worker->loop, worker->loop.now + TRIM_AFTER_USEC);
}

static void
on_idle_timer(Timer *timer)
{
    Worker *worker = list_entry(timer, Worker, idle_timer);

    if (pool_n_takes(worker->pool) != worker->idle_n_takes)
        set_idle_timer(worker);
    else
        pool_trim(worker->pool);
}

Worker *
worker_new(guint index, const WorkerConfig *config, Offload *offload, GError **ret_error)
{
    Worker *worker = g_new0(Worker, 1);
    int r;

    g_assert(index < WORKERS_MAX);

    worker->index = index;
    worker->offload = offload;
    worker->inbox.event_fd = -1;
    watch_init(&worker->inbox_watch, on_inbox);
    worker->inbox_watch.asked = EPOLLIN;
    timer_init(&worker->idle_timer, on_idle_timer);

    if (!loop_init(&worker->loop, config->clock, ret_error) ||
        !mailbox_init(&worker->inbox, ret_error) ||
        (worker->pool = pool_new(config->pool_size, config->pool_reserve, ret_error)) == NULL ||
        (worker->aio = aio_new(&worker->loop, ret_error)) == NULL) {
        worker_free(worker);
        return NULL;
    }

    r = watch_start(&worker->inbox_watch, &worker->loop, worker->inbox.event_fd);
    g_assert(r == 0);
    watch_select(&worker->inbox_watch, EPOLLIN);
    return worker;
}

void
worker_free(Worker *worker)
{
    if (worker == NULL)
        return;

    g_assert(worker->thread == NULL);

    aio_free(worker->aio);
    watch_stop(&worker->inbox_watch);
    timer_cancel(&worker->idle_timer);
    mailbox_deinit(&worker->inbox);
    pool_free(worker->pool);
    loop_deinit(&worker->loop);
    g_free(worker);
}

void
worker_turn(Worker *worker, gint64 timeout_usec)
{
    Worker **current = current_slot();
    Worker *before = *current;

    *current = worker;
    loop_turn(&worker->loop, timeout_usec);
    if (!timer_is_set(&worker->idle_timer) && pool_has_trimmable(worker->pool))
        set_idle_timer(worker);
    *current = before;
}

static gpointer
worker_thread(gpointer data)
{
    Worker *worker = data;

    while (!worker->loop.quit)
        worker_turn(worker, -1);
    return NULL;
}

void
worker_start(Worker *worker)
{
    g_autofree char *name = g_strdup_printf("lunport/%u", worker->index);
    g_autoptr(GError) error = NULL;

    g_assert(worker->thread == NULL);

    worker->loop.quit = FALSE;
    worker->thread = thread_start(name, worker_thread, worker, &error);
    if (worker->thread == NULL)
        g_error("Failed to start a worker thread: %s", error->message);
}

static void
on_stop(Message *message)
{
    loop_quit(&list_entry(message, Worker, stop)->loop);
}

void
worker_stop(Worker *worker)
{
    if (worker->thread == NULL)
        return;

    worker_send(worker, &worker->stop, on_stop);
    (void)g_thread_join(g_steal_pointer(&worker->thread));
}

Worker *
worker_current(void)
{
    return *current_slot();
}
