/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What all logical units of one worker share
 *
 * The run queue: commands whose wait is over, called at the end of the loop's
 * turn in the order in which they became free. The abort waits: who wants to
 * know when aborted commands can have no effect any more. The stall timer: a
 * logical unit whose aborted commands stay in flight is an event after five
 * seconds, once, until they have ended.
 */

#include "scsi/lu-shard.h"
#include "scsi/optable.h"

#define MAX_TRANSFER ((gsize)8 << 20)

void
scsi_worker_make_runnable(ScsiWorker *scsi, ScsiCommand *command)
{
    list_append(&scsi->runnable, &command->wait_link);
    deferred_run(&scsi->run, &scsi->worker->loop);
}

static void
on_run(Deferred *deferred)
{
    ScsiWorker *scsi = list_entry(deferred, ScsiWorker, run);
    List batch;
    ListLink *link;

    list_init(&batch);
    list_splice(&batch, &scsi->runnable);
    while ((link = list_pop(&batch)) != NULL) {
        ScsiCommand *command = list_entry(link, ScsiCommand, wait_link);

        command->resume(command);
    }
}

void
scsi_worker_post(ScsiWorker *scsi, ScsiEventType type, const Lu *lu, int error, guint64 lba)
{
    ScsiEvent event = { .type = type, .lu = lu, .error = error, .lba = lba };

    if (scsi->event_fn != NULL)
        scsi->event_fn(&event, scsi->user_data);
}

/*
 * Stalls
 */

static void
set_stall_timer(ScsiWorker *scsi)
{
    gint64 first = G_MAXINT64;

    list_foreach(link, &scsi->stalled) {
        const LuShard *shard = list_entry(link, LuShard, stall_link);

        if (!shard->stall_reported)
            first = MIN(first, shard->aborting_since);
    }

    if (first != G_MAXINT64)
        timer_set(&scsi->stall_timer, &scsi->worker->loop, first + SCSI_STALL_USEC);
}

static void
on_stall_timer(Timer *timer)
{
    ScsiWorker *scsi = list_entry(timer, ScsiWorker, stall_timer);
    gint64 now = worker_now(scsi->worker);

    list_foreach(link, &scsi->stalled) {
        LuShard *shard = list_entry(link, LuShard, stall_link);

        if (!shard->stall_reported && now >= shard->aborting_since + SCSI_STALL_USEC) {
            shard->stall_reported = TRUE;
            scsi_worker_post(scsi, SCSI_EVENT_LU_STALLED, shard->lu, 0, 0);
        }
    }

    set_stall_timer(scsi);
}

void
scsi_worker_shard_aborting(ScsiWorker *scsi, LuShard *shard)
{
    shard->aborting_since = worker_now(scsi->worker);
    shard->stall_reported = FALSE;
    list_append(&scsi->stalled, &shard->stall_link);
    if (!timer_is_set(&scsi->stall_timer))
        set_stall_timer(scsi);
}

void
scsi_worker_shard_calm(LuShard *shard)
{
    list_unlink(&shard->stall_link);
    if (list_is_empty(&shard->scsi->stalled))
        timer_cancel(&shard->scsi->stall_timer);
}

/*
 * Abort waits
 */

void
scsi_abort_wait_start(ScsiWorker *scsi, ScsiAbortWait *wait, gconstpointer scope, guint n_waiting)
{
    if (n_waiting == 0) {
        wait->ended(wait);
        return;
    }

    wait->scope = scope;
    wait->sequence = scsi->abort_sequence;
    wait->n_waiting = n_waiting;
    list_init(&wait->link);
    list_append(&scsi->abort_waits, &wait->link);
}

void
scsi_abort_wait_command_ended(ScsiWorker *scsi, guint64 sequence, const ScsiCommand *command,
                              const NexusLun *nexus_lun, const LuShard *shard)
{
    List ended;
    ListLink *link;

    list_init(&ended);
    list_foreach_safe(iter, &scsi->abort_waits) {
        ScsiAbortWait *wait = list_entry(iter, ScsiAbortWait, link);
        gboolean is_covered =
            wait->scope == command || wait->scope == nexus_lun || wait->scope == shard;

        if (is_covered && sequence <= wait->sequence && --wait->n_waiting == 0) {
            list_unlink(&wait->link);
            list_append(&ended, &wait->link);
        }
    }

    while ((link = list_pop(&ended)) != NULL) {
        ScsiAbortWait *wait = list_entry(link, ScsiAbortWait, link);

        wait->ended(wait);
    }
}

/*
 * Life
 */

void
scsi_worker_init(Worker *worker, ScsiEventFn event_fn, gpointer user_data)
{
    ScsiWorker *scsi = g_new0(ScsiWorker, 1);
    PoolStatistics pool;

    g_assert(worker->layers[WORKER_LAYER_SCSI] == NULL);

    pool_get_statistics(worker->pool, &pool);
    scsi->worker = worker;
    scsi->event_fn = event_fn;
    scsi->user_data = user_data;
    scsi->max_transfer = (guint32)MIN(MAX_TRANSFER, pool.size / 4);
    optable_build_index(scsi->op_index);
    list_init(&scsi->runnable);
    list_init(&scsi->abort_waits);
    list_init(&scsi->stalled);
    deferred_init(&scsi->run, on_run);
    timer_init(&scsi->stall_timer, on_stall_timer);
    worker->layers[WORKER_LAYER_SCSI] = scsi;
}

void
scsi_worker_deinit(Worker *worker)
{
    ScsiWorker *scsi = worker->layers[WORKER_LAYER_SCSI];

    if (scsi == NULL)
        return;

    g_assert(list_is_empty(&scsi->runnable));
    g_assert(list_is_empty(&scsi->abort_waits));
    g_assert(list_is_empty(&scsi->stalled));

    deferred_cancel(&scsi->run);
    timer_cancel(&scsi->stall_timer);
    worker->layers[WORKER_LAYER_SCSI] = NULL;
    g_free(scsi);
}
