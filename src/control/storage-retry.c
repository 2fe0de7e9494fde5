/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Storage: attempts to open
 *
 * A backstore that cannot be opened stays in the model with its error; it is
 * tried again every ten seconds, and at once when something appears in the
 * directory where its path would be. The timer exists only while something is
 * not open that should be.
 */

#include <glib-unix.h>
#include <unistd.h>

#include "control/storage-private.h"
#include "util/error.h"

#define RETRY_SECONDS       10
#define APPEARED_DELAY_MSEC 500

void
storage_end_attempt(Operation *operation, Backstore *store, guint64 allocated_size,
                    const GError *error)
{
    Storage *storage = operation->service->storage;
    ModelBackstore *backstore = operation_get_backstore(operation);

    storage_get_runtime(backstore)->trying = FALSE;

    if (store != NULL) {
        storage_attach(storage, backstore, store, allocated_size);
        return;
    }

    storage_set_state(storage, backstore,
                      error->code == LUNPORT_ERROR_STORAGE_NOT_FOUND ? BACKSTORE_OFFLINE
                                                                     : BACKSTORE_FAILED,
                      error);
    storage_update_absent(storage, backstore);
}

static gboolean
wants_attempt(const ModelBackstore *backstore)
{
    const StorageRuntime *runtime = backstore->runtime;

    return runtime == NULL || (!runtime->is_open && runtime->leave == NULL && !runtime->trying &&
                               !runtime->broken && !runtime->taken && !runtime->is_empty);
}

static gboolean
on_retry_time(gpointer data)
{
    Storage *storage = data;

    storage->retry_source = 0;
    storage_retry(storage);
    return G_SOURCE_REMOVE;
}

static gboolean
on_appeared(gint fd, GIOCondition condition, gpointer data)
{
    Storage *storage = data;
    char buffer[4096] __attribute__((aligned(8)));

    /* What happened is of no interest. Soon, not now: a busy directory must not keep us busy too. */
    while (read(fd, buffer, sizeof(buffer)) > 0)
        continue;

    if (storage->retry_source != 0) {
        (void)g_source_remove(storage->retry_source);
        storage->retry_source = g_timeout_add(APPEARED_DELAY_MSEC, on_retry_time, storage);
    }
    return G_SOURCE_CONTINUE;
}

void
storage_arm(Storage *storage)
{
    const Model *model = storage->service->model;
    gboolean wanted = FALSE;

    if (!storage->running || storage->retry_source != 0)
        return;

    for (guint i = 0; i < model->backstores->len && !wanted; i++)
        wanted = wants_attempt(g_ptr_array_index(model->backstores, i));
    if (wanted)
        storage->retry_source = g_timeout_add_seconds(RETRY_SECONDS, on_retry_time, storage);
}

static void
count_first(Storage *storage)
{
    IscsiDoneFn done = storage->first_done;

    if (storage->n_first == 0 || --storage->n_first > 0 || done == NULL)
        return;

    storage->first_done = NULL;
    done(storage->first_data);
}

static void
attempt_end(Operation *operation)
{
    Storage *storage = operation->service->storage;

    operation_finish(operation, NULL);
    storage_arm(storage);
    if (operation->flag)
        count_first(storage);
}

static void
on_attempted(Backstore *store, guint64 allocated_size, const GError *error, gpointer data)
{
    storage_end_attempt(data, store, allocated_size, error);
    attempt_end(data);
}

static void
run_attempt(Operation *operation)
{
    Service *service = operation->service;
    ModelBackstore *backstore = model_find_backstore(service->model, operation->name);

    if (backstore == NULL || !wants_attempt(backstore) || service->stopping) {
        attempt_end(operation);
        return;
    }

    if (backstore_spec_is_empty(backstore->spec)) {
        storage_set_empty(service->storage, backstore);
        attempt_end(operation);
        return;
    }

    storage_get_runtime(backstore)->trying = TRUE;
    storage_open_watched(service->storage, backstore->spec, on_attempted, operation);
}

static void
attempt(Storage *storage, const ModelBackstore *backstore, gboolean first)
{
    Operation *operation = operation_new(storage->service, NULL, run_attempt, NULL, NULL);

    operation->internal = TRUE;
    operation->name = g_strdup(backstore->spec->name);
    operation->flag = first;
    operation_hold(operation, MODEL_BACKSTORE, operation->name);
    operation_submit(operation, "OpenBackstore", operation->name);
}

void
storage_retry(Storage *storage)
{
    const Model *model = storage->service->model;

    if (!storage->running)
        return;

    for (guint i = 0; i < model->backstores->len; i++) {
        const ModelBackstore *backstore = g_ptr_array_index(model->backstores, i);

        if (wants_attempt(backstore))
            attempt(storage, backstore, FALSE);
    }
}

void
storage_start(Storage *storage, IscsiDoneFn done, gpointer user_data)
{
    const Model *model = storage->service->model;

    storage->running = TRUE;
    if (storage->inotify_fd >= 0)
        storage->inotify_source = g_unix_fd_add(storage->inotify_fd, G_IO_IN, on_appeared, storage);
    storage->first_done = done;
    storage->first_data = user_data;
    storage->n_first = model->backstores->len + 1;
    for (guint i = 0; i < model->backstores->len; i++)
        attempt(storage, g_ptr_array_index(model->backstores, i), TRUE);
    count_first(storage);
}
