/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "engine/mailbox.h"
#include "util/list.h"

/*
 * Offload pool: threads for what can block
 *
 * A job belongs to a queue, usually one per backstore. At most a quarter of the
 * threads (at least one) work for one queue at once, the rest of its jobs wait
 * in order; all low-class queues together get at most a quarter. @run is
 * called on a pool thread, then @done through the mailbox named in the job.
 */

typedef struct Offload Offload;
typedef struct OffloadQueue OffloadQueue;
typedef struct OffloadJob OffloadJob;

typedef enum {
    OFFLOAD_NORMAL, /* I/O of commands */
    OFFLOAD_LOW,    /* copy, verify */
} OffloadClass;

struct OffloadJob {
    Message message; /* carries @done home */
    ListLink link;
    OffloadQueue *queue;
    Mailbox *home;
    void (*run)(OffloadJob *job);  /* pool thread: may block */
    void (*done)(OffloadJob *job); /* thread that drains @home */
};

/* Threads start when they are first needed and end after ten idle seconds */
Offload *offload_new(guint n_threads_max);
void
offload_free(Offload *offload); /* waits for running jobs; asserts that no queue has jobs left */

OffloadQueue *offload_queue_new(Offload *offload, OffloadClass class);
void offload_queue_set_serial(OffloadQueue *queue); /* one job at a time; before the first */
void offload_queue_free(OffloadQueue *queue);       /* asserts that it is empty */

/* From any thread. @job->run, @done and @home are set; the job is gone until @done. */
void offload_submit(OffloadQueue *queue, OffloadJob *job);
