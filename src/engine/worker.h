/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "engine/aio.h"
#include "engine/loop.h"
#include "engine/mailbox.h"
#include "engine/offload.h"
#include "engine/pool.h"

/*
 * Worker: a thread of the data plane with all it needs
 *
 * A worker owns a loop, an inbox, a buffer pool and an aio context; nothing of
 * these is shared. The layers above hang their per-worker state into @layers.
 * A test makes a worker without a thread and turns its loop by hand.
 */

#define WORKERS_MAX 64

typedef enum {
    WORKER_LAYER_SCSI,
    WORKER_LAYER_ISCSI,
    WORKER_LAYER_N,
} WorkerLayer;

typedef struct Worker Worker;

struct Worker {
    guint index; /* 0 to n_workers - 1 */
    Loop loop;
    Mailbox inbox;
    Pool *pool;
    Aio *aio;
    Offload *offload; /* shared, borrowed */
    void *layers[WORKER_LAYER_N];

    /* private */
    Watch inbox_watch;
    Timer idle_timer;
    guint64 idle_n_takes; /* of the pool when idle_timer was set */
    Message stop;
    GThread *thread;
};

typedef struct {
    gsize pool_size; /* bytes a worker, 64 MiB by default */
    gsize pool_reserve;
    const Clock *clock;
} WorkerConfig;

#define WORKER_POOL_SIZE    ((gsize)64 << 20)
#define WORKER_POOL_RESERVE ((gsize)4 << 20)

Worker *worker_new(guint index, const WorkerConfig *config, Offload *offload, GError **ret_error);
void worker_free(Worker *worker); /* stopped before */

/* Start the thread (named lunport/INDEX, all signals blocked) */
void worker_start(Worker *worker);

/* Ask the loop to end and join the thread. What the layers own must be gone already. */
void worker_stop(Worker *worker);

/* On the worker's own thread, for tests without one: one turn of at most @timeout_usec */
void worker_turn(Worker *worker, gint64 timeout_usec);

static inline gint64
worker_now(const Worker *worker)
{
    return worker->loop.now;
}

/* The worker whose thread this is, NULL elsewhere: for assertions only */
Worker *worker_current(void);

static inline void
worker_send(Worker *worker, Message *message, MessageFn deliver)
{
    mailbox_send(&worker->inbox, message, deliver);
}
