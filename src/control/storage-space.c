/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Storage: how much space stores really take
 *
 * Asked for with the statistics, of the file systems in the threads that open
 * stores: those for the I/O of initiators are never started from here, since they
 * would give way to the workers as this thread does (main.c). One that does not
 * answer in time keeps nobody from the other numbers, and is not asked again
 * before it does.
 */

#include "control/storage-private.h"

#define MEASURE_MSEC 200 /* statistics do not wait longer for file systems */

/* Somebody wants to know how much space stores really take */
typedef struct {
    guint n_left;
    guint timer; /* 0: @done was called */
    IscsiDoneFn done;
    gpointer user_data;
} StorageQuestion;

/* One store of a question. It is not closed before this has ended. */
struct StorageMeasure {
    OffloadJob job;
    OffloadQueue *queue;
    Storage *storage;
    Backstore *store;
    char *name;
    guint64 allocated_size;
    StorageQuestion *question;
    StorageLeave *leave; /* waits for this one */
};

StorageMeasure *
storage_find_measure(const Storage *storage, const Backstore *store)
{
    for (guint i = 0; i < storage->measures->len; i++) {
        StorageMeasure *measure = g_ptr_array_index(storage->measures, i);

        if (measure->store == store)
            return measure;
    }
    return NULL;
}

void
storage_measure_delay(StorageMeasure *measure, StorageLeave *leave)
{
    measure->leave = leave;
}

static void
question_answer(StorageQuestion *question)
{
    if (question->timer == 0)
        return;

    g_clear_handle_id(&question->timer, g_source_remove);
    question->done(question->user_data);
}

static void
question_unref(StorageQuestion *question)
{
    if (--question->n_left > 0)
        return;

    question_answer(question);
    g_free(question);
}

/* A file system that does not answer keeps nobody from the other numbers */
static gboolean
on_question_timeout(gpointer data)
{
    StorageQuestion *question = data;

    question->timer = 0;
    question->done(question->user_data);
    return G_SOURCE_REMOVE;
}

/* In a thread of the pool */
static void
run_measure(OffloadJob *job)
{
    StorageMeasure *measure = list_entry(job, StorageMeasure, job);

    measure->allocated_size = backstore_allocated_size(measure->store);
}

static void
on_measured(OffloadJob *job)
{
    StorageMeasure *measure = list_entry(job, StorageMeasure, job);
    Storage *storage = measure->storage;
    ModelBackstore *backstore = model_find_backstore(storage->service->model, measure->name);
    const StorageRuntime *runtime = backstore != NULL ? backstore->runtime : NULL;

    if (runtime != NULL && runtime->store == measure->store)
        backstore->allocated_size = measure->allocated_size;
    (void)g_ptr_array_remove_fast(storage->measures, measure);
    if (measure->leave != NULL)
        storage_close_left(measure->leave);
    question_unref(measure->question);
    offload_queue_free(measure->queue);
    g_free(measure->name);
    g_free(measure);
}

static void
start_measure(Storage *storage, const ModelBackstore *backstore, StorageQuestion *question)
{
    const StorageRuntime *runtime = backstore->runtime;
    StorageMeasure *measure;

    /* One that does not come back is not asked again */
    if (runtime == NULL || !runtime->is_open ||
        storage_find_measure(storage, runtime->store) != NULL)
        return;

    measure = g_new0(StorageMeasure, 1);
    measure->storage = storage;
    measure->store = runtime->store;
    measure->name = g_strdup(backstore->spec->name);
    measure->question = question;
    measure->queue = offload_queue_new(storage->service->opens, OFFLOAD_LOW);
    measure->job.home = &storage->service->mailbox;
    measure->job.run = run_measure;
    measure->job.done = on_measured;
    list_init(&measure->job.link);
    g_ptr_array_add(storage->measures, measure);
    question->n_left++;
    offload_submit(measure->queue, &measure->job);
}

void
storage_measure(Storage *storage, IscsiDoneFn done, gpointer user_data)
{
    const GPtrArray *backstores = storage->service->model->backstores;
    StorageQuestion *question = g_new0(StorageQuestion, 1);

    *question = (StorageQuestion){ .n_left = 1, .done = done, .user_data = user_data };
    question->timer = g_timeout_add(MEASURE_MSEC, on_question_timeout, question);
    for (guint i = 0; i < backstores->len; i++)
        start_measure(storage, g_ptr_array_index(backstores, i), question);
    question_unref(question);
}
