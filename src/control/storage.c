/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Storage: what becomes of a backstore
 *
 * Its states, and how the administrator and the storage itself change them:
 * offline and online, another medium, lost. Each change is an operation that
 * holds the backstore. How a store is opened (storage-open.c) and when it is
 * tried (storage-retry.c), and what initiators see of it (storage-unit.c), are
 * in files of their own.
 */

#include <sys/inotify.h>

#include "control/storage-private.h"
#include "util/error.h"
#include "util/fd.h"
#include "util/log.h"

Storage *
storage_new(Service *service)
{
    Storage *storage = g_new0(Storage, 1);

    storage->service = service;
    storage->measures = g_ptr_array_new();
    list_init(&storage->verifies);
    storage->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    return storage;
}

void
storage_stop(Storage *storage)
{
    storage->running = FALSE;
    g_clear_handle_id(&storage->retry_source, g_source_remove);
    g_clear_handle_id(&storage->inotify_source, g_source_remove);
}

void
storage_free(Storage *storage)
{
    if (storage == NULL)
        return;

    storage_stop(storage);
    g_assert(storage->measures->len == 0 && list_is_empty(&storage->verifies));
    g_ptr_array_unref(storage->measures);
    fd_close(&storage->inotify_fd);
    g_free(storage);
}

StorageRuntime *
storage_get_runtime(ModelBackstore *backstore)
{
    if (backstore->runtime == NULL)
        backstore->runtime = g_new0(StorageRuntime, 1);
    return backstore->runtime;
}

Lu *
storage_get_lu(const ModelBackstore *backstore)
{
    const StorageRuntime *runtime = backstore->runtime;

    return runtime != NULL ? runtime->lu : NULL;
}

Backstore *
storage_get_store(const ModelBackstore *backstore)
{
    const StorageRuntime *runtime = backstore->runtime;

    return runtime != NULL && runtime->is_open ? runtime->store : NULL;
}

void
storage_set_size(Storage *storage, ModelBackstore *backstore, guint64 size)
{
    storage_get_runtime(backstore)->facts.size = size;
    backstore->size = size;
    model_changed(storage->service->model, MODEL_BACKSTORE, backstore);
}

void
storage_set_state(Storage *storage, ModelBackstore *backstore, BackstoreState state,
                  const GError *error)
{
    Model *model = storage->service->model;
    gboolean changed = model_set_error(&backstore->error, error) || backstore->state != state;
    const LogField fields[] = { { "ISCSI_BACKSTORE", backstore->spec->name },
                                { "REASON", error != NULL ? error->message : NULL },
                                { NULL, NULL } };

    if (!changed)
        return;

    backstore->state = state;
    model_changed(model, MODEL_BACKSTORE, backstore);
    for (guint i = 0; i < backstore->luns->len; i++) {
        ModelLun *lun = g_ptr_array_index(backstore->luns, i);

        lun->is_online = state == BACKSTORE_ONLINE;
        lun->read_only = lun->read_only || backstore->read_only;
        model_changed(model, MODEL_LUN, lun);
    }
    if (state == BACKSTORE_ONLINE)
        log_event(EVENT_BACKSTORE_OPENED, fields);
    else if (error != NULL)
        log_event(EVENT_BACKSTORE_FAILED, fields);
    systemd_update(storage->service->systemd);
}

void
storage_check_failed(Storage *storage, ModelBackstore *backstore, const char *reason)
{
    StorageRuntime *runtime = backstore->runtime;
    g_autoptr(GError) error = NULL;

    if (runtime == NULL || !runtime->is_open || !backstore_is_failed(runtime->store))
        return;

    runtime->broken = TRUE;
    g_set_error(&error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR,
                "Data could not be written to stable storage (%s); check the storage, then open it "
                "again with “lunctl backstore online %s”",
                reason != NULL ? reason : "flush failed", backstore->spec->name);
    storage_set_state(storage, backstore, BACKSTORE_FAILED, error);
}

/*
 * Storage that goes while the service runs
 */

static void
run_lose(Operation *operation)
{
    Storage *storage = operation->service->storage;
    ModelBackstore *backstore = model_find_backstore(operation->service->model, operation->name);
    g_autoptr(GError) error = NULL;

    if (backstore != NULL)
        storage_get_runtime(backstore)->losing = FALSE;
    if (backstore != NULL && storage_get_store(backstore) != NULL &&
        !operation->service->stopping) {
        g_set_error_literal(&error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_NOT_FOUND,
                            operation->text);
        storage_set_state(storage, backstore, BACKSTORE_OFFLINE, error);
        storage_leave_start(storage_replace_by_absent(storage, backstore));
    }
    operation_finish(operation, NULL);
}

void
storage_lose(Storage *storage, const ModelBackstore *backstore, const char *reason)
{
    StorageRuntime *runtime = backstore->runtime;
    Operation *operation;

    if (storage_get_store(backstore) == NULL || backstore->state != BACKSTORE_ONLINE ||
        runtime->losing)
        return;

    runtime->losing = TRUE;

    operation = operation_new(storage->service, NULL, run_lose, NULL, NULL);
    operation->internal = TRUE;
    operation->name = g_strdup(backstore->spec->name);
    operation->text = g_strdup(reason != NULL ? reason : "The device has gone");
    operation_hold(operation, MODEL_BACKSTORE, operation->name);
    operation_hold(operation, MODEL_TARGET, "*");
    operation_submit(operation, "LoseBackstore", operation->name);
}

/*
 * Offline and online by the administrator
 */

static void
on_closed(gpointer data)
{
    operation_finish(data, NULL);
}

/* @done when the store of before is closed. Changes of targets need not wait for that. */
static void
take_away(Operation *operation, ModelBackstore *backstore, IscsiDoneFn done)
{
    StorageLeave *leave = storage_replace_by_absent(operation->service->storage, backstore);

    leave->done = done;
    leave->user_data = operation;
    storage_leave_start(leave);
    operation_release_last(operation);
}

/* The store of before is being closed already */
static void
await_leave(Operation *operation, StorageLeave *leave, IscsiDoneFn done)
{
    g_assert(leave->done == NULL);

    leave->done = done;
    leave->user_data = operation;
    operation_release_last(operation);
}

/* @operation ends when the store is closed, whoever closes it */
static void
close_and_finish(Operation *operation, ModelBackstore *backstore)
{
    const StorageRuntime *runtime = storage_get_runtime(backstore);
    Storage *storage = operation->service->storage;

    if (runtime->leave == NULL) {
        take_away(operation, backstore, on_closed);
    } else {
        storage_leave_start(storage_replace_by_absent(storage, backstore));
        await_leave(operation, runtime->leave, on_closed);
    }
}

void
storage_take_offline(Operation *operation, ModelBackstore *backstore)
{
    Storage *storage = operation->service->storage;
    StorageRuntime *runtime = storage_get_runtime(backstore);

    if (runtime->taken) {
        operation_finish(operation, NULL);
        return;
    }

    runtime->taken = TRUE;
    storage_set_state(storage, backstore, BACKSTORE_OFFLINE, NULL);
    close_and_finish(operation, backstore);
}

static void
on_reopened(Backstore *store, guint64 allocated_size, const GError *error, gpointer data)
{
    Operation *operation = data;

    storage_end_attempt(operation, store, allocated_size, error);
    if (store == NULL)
        operation->error = g_error_copy(error);
    if (operation->after != NULL)
        operation->after(operation);
    else
        operation_finish(operation, NULL);
    storage_arm(operation->service->storage);
}

static void
reopen(gpointer data)
{
    Operation *operation = data;
    ModelBackstore *backstore = operation_get_backstore(operation);

    storage_get_runtime(backstore)->trying = TRUE;
    storage_open_watched(operation->service->storage, backstore->spec, on_reopened, operation);
}

void
storage_bring_online(Operation *operation, ModelBackstore *backstore)
{
    Storage *storage = operation->service->storage;
    StorageRuntime *runtime = storage_get_runtime(backstore);

    if (runtime->is_open && !runtime->broken) {
        operation_finish(operation, NULL);
        return;
    }

    runtime->taken = FALSE;
    runtime->broken = FALSE;
    if (backstore_spec_is_empty(backstore->spec)) {
        storage_set_empty(storage, backstore);
        operation_finish(operation, NULL);
        return;
    }
    storage_set_state(storage, backstore, BACKSTORE_OPENING, NULL);
    if (runtime->leave != NULL) {
        await_leave(operation, runtime->leave, reopen);
    } else if (runtime->is_open) {
        take_away(operation, backstore, reopen);
    } else {
        operation_release_last(operation);
        reopen(operation);
    }
}

void
storage_reopen(Operation *operation, ModelBackstore *backstore)
{
    storage_set_state(operation->service->storage, backstore, BACKSTORE_OPENING, NULL);
    take_away(operation, backstore, reopen);
}

/*
 * Change of medium
 */

static void
forget_medium(Storage *storage, ModelBackstore *backstore)
{
    StorageRuntime *runtime = storage_get_runtime(backstore);

    runtime->is_empty = TRUE;
    runtime->broken = FALSE;
    runtime->has_facts = FALSE;
    backstore->medium = storage_get_medium(backstore);
    backstore->size = 0;
    backstore->allocated_size = 0;
    backstore->block_size = backstore_spec_block_size(backstore->spec);
    backstore->read_only = backstore_spec_is_read_only(backstore->spec);
    storage_set_state(storage, backstore, BACKSTORE_ONLINE, NULL);
    model_changed(storage->service->model, MODEL_BACKSTORE, backstore);
}

void
storage_set_empty(Storage *storage, ModelBackstore *backstore)
{
    forget_medium(storage, backstore);
    storage_update_absent(storage, backstore);
}

gboolean
storage_is_offline(const ModelBackstore *backstore)
{
    const StorageRuntime *runtime = backstore->runtime;

    return runtime != NULL && runtime->taken;
}

void
storage_eject(Operation *operation, ModelBackstore *backstore)
{
    Storage *storage = operation->service->storage;
    StorageRuntime *runtime = storage_get_runtime(backstore);

    runtime->tray_open = TRUE;
    forget_medium(storage, backstore);
    close_and_finish(operation, backstore);
}

void
storage_load(Storage *storage, ModelBackstore *backstore, Backstore *store, guint64 allocated_size)
{
    StorageRuntime *runtime = storage_get_runtime(backstore);

    /* Initiators see the drive without a medium in between. Nothing waits until the old one is closed. */
    if (runtime->is_open) {
        StorageLeave *leave;

        runtime->is_empty = TRUE;
        leave = storage_replace_by_absent(storage, backstore);
        leave->runtime = NULL;
        runtime->leave = NULL;
        storage_leave_later(storage, leave);
    }

    runtime->tray_open = FALSE;
    runtime->broken = FALSE;
    storage_attach(storage, backstore, store, allocated_size);
    model_changed(storage->service->model, MODEL_BACKSTORE, backstore);
}
