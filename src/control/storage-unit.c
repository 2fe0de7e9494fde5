/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Storage: logical units
 *
 * Every backstore that a target uses has a logical unit. While the storage is
 * not open that is one over a store that is not there: initiators see it and
 * are told that it is not ready. Becoming ready, and the reverse, is a new Lu
 * in place of the old one in the maps of the targets that use it; nothing of a
 * Lu that initiators have ever changes under a worker. The old one leaves when
 * its last command has ended, and its store is closed then.
 */

#include "control/storage-private.h"
#include "util/error.h"

static void
leave_free(StorageLeave *leave)
{
    g_free(leave->delete_path);
    g_free(leave);
}

static void
on_store_left(gpointer data)
{
    StorageLeave *leave = data;
    Storage *storage = leave->storage;
    IscsiDoneFn left_done = storage->left_done;

    if (leave->runtime != NULL)
        leave->runtime->leave = NULL;
    if (leave->done != NULL)
        leave->done(leave->user_data);
    leave_free(leave);
    storage_arm(storage);

    if (--storage->n_leaving > 0 || left_done == NULL)
        return;
    storage->left_done = NULL;
    left_done(storage->left_data);
}

void
storage_close_left(StorageLeave *leave)
{
    StorageMeasure *measure = storage_find_measure(leave->storage, leave->store);

    if (measure != NULL)
        storage_measure_delay(measure, leave);
    else if (!storage_verify_delay(leave))
        storage_close(leave->storage, leave->store, leave->delete_path, on_store_left, leave);
}

static void
on_lu_released(Lu *lu, gpointer data)
{
    lu_free(lu);
    storage_close_left(data);
}

static gboolean
on_nothing_to_leave(gpointer data)
{
    on_store_left(data);
    return G_SOURCE_REMOVE;
}

void
storage_leave_start(StorageLeave *leave)
{
    if (leave->lu == NULL)
        (void)g_idle_add_full(G_PRIORITY_DEFAULT, on_nothing_to_leave, leave, NULL);
    else
        lu_release(leave->lu, &leave->storage->service->mailbox, on_lu_released, leave);
}

static StorageLeave *
leave_new(Storage *storage, const StorageRuntime *runtime)
{
    StorageLeave *leave = g_new0(StorageLeave, 1);

    leave->storage = storage;
    if (runtime != NULL) {
        leave->lu = runtime->lu;
        leave->store = runtime->store;
    }
    storage->n_leaving++;
    return leave;
}

static void
run_leave(Operation *operation)
{
    storage_leave_start(operation->user_data);
    operation_finish(operation, NULL);
}

void
storage_leave_later(Storage *storage, StorageLeave *leave)
{
    Operation *operation = operation_new(storage->service, NULL, run_leave, NULL, leave);

    operation->internal = TRUE;
    operation_hold(operation, MODEL_TARGET, "*");
    operation_submit(operation, "ReleaseLogicalUnit", NULL);
}

void
storage_wait_left(Storage *storage, IscsiDoneFn done, gpointer user_data)
{
    if (storage->n_leaving == 0) {
        done(user_data);
        return;
    }
    storage->left_done = done;
    storage->left_data = user_data;
}

BackstoreMedium
storage_get_medium(const ModelBackstore *backstore)
{
    const StorageRuntime *runtime = backstore->runtime;

    if (!backstore_spec_is_removable(backstore->spec))
        return MEDIUM_FIXED;
    if (backstore_spec_is_empty(backstore->spec))
        return MEDIUM_NONE;
    return runtime != NULL && runtime->tray_open ? MEDIUM_EJECTED : MEDIUM_LOADED;
}

/* An initiator has ejected or loaded; of a unit that was replaced meanwhile it does not matter */
static void
on_medium(Lu *lu, gboolean is_ejected, gpointer data)
{
    Service *service = data;
    ModelBackstore *backstore = model_find_backstore(service->model, lu_name(lu));
    StorageRuntime *runtime = backstore != NULL ? backstore->runtime : NULL;

    if (runtime == NULL || runtime->lu != lu)
        return;

    runtime->tray_open = is_ejected;
    backstore->medium = storage_get_medium(backstore);
    model_changed(service->model, MODEL_BACKSTORE, backstore);
}

/* Until the start is through nothing is published; then all is. While the service stops, sessions
 * are there still. */
static void
publish_unit(Service *service, const ModelBackstore *backstore)
{
    if (service->started || service->stopping)
        publish_users(service, backstore);
}

static void
make_unit(Storage *storage, ModelBackstore *backstore, Backstore *store, SenseCode not_ready)
{
    Service *service = storage->service;
    StorageRuntime *runtime = backstore->runtime;
    LuConfig config;

    storage_make_lu_config(backstore->spec, &config);
    reservations_fill(service, backstore, &config);
    records_fill(service, backstore, &config);
    config.not_ready = not_ready;
    config.is_ejected = runtime->tray_open;
    config.medium_fn = on_medium;
    config.medium_data = service;
    config.medium_to = &service->mailbox;
    config.known_size = runtime->has_facts ? runtime->facts.size : 0;
    runtime->store = store;
    runtime->is_open = not_ready == SENSE_NONE;
    runtime->not_ready = not_ready;
    runtime->lu = lu_new(&config, store, service->workers, service->n_workers,
                         service->next_home++ % service->n_workers);
    if (config.reservations != NULL)
        reservations_ask(service, runtime->lu);
}

static SenseCode
get_no_medium(const BackstoreSpec *spec)
{
    return backstore_spec_is_cdrom(spec) ? SENSE_MEDIUM_NOT_PRESENT_CLOSED
                                         : SENSE_MEDIUM_NOT_PRESENT;
}

/* Why the medium cannot be had, in the words of SCSI */
static SenseCode
get_not_ready(const ModelBackstore *backstore)
{
    const StorageRuntime *runtime = backstore->runtime;

    if (runtime->taken || runtime->broken)
        return SENSE_NOT_READY_MANUAL;
    if (runtime->is_empty)
        return get_no_medium(backstore->spec);
    if (backstore->state == BACKSTORE_OPENING)
        return SENSE_NOT_READY_BECOMING_READY;
    if (backstore->error == NULL)
        return SENSE_NOT_READY;

    switch (backstore->error->code) {
    case LUNPORT_ERROR_STORAGE_PERMISSION:
    case LUNPORT_ERROR_STORAGE_IN_USE:
    case LUNPORT_ERROR_INVALID_ARGUMENT:
        return SENSE_NOT_READY_MANUAL;
    default:
        break;
    }
    /* A drive whose image is missing is an empty one */
    return backstore_spec_is_cdrom(backstore->spec) ? SENSE_MEDIUM_NOT_PRESENT_CLOSED
                                                    : SENSE_NOT_READY;
}

static gboolean
make_absent_unit(Storage *storage, ModelBackstore *backstore)
{
    const Service *service = storage->service;
    StorageRuntime *runtime = storage_get_runtime(backstore);
    g_autoptr(GError) error = NULL;
    BackstoreConfig config;
    Backstore *store;

    storage_make_store_config(backstore->spec, &config);
    store = backstore_open_absent(&config, runtime->has_facts ? &runtime->facts : NULL,
                                  service->offload, service->n_workers, &error);
    if (store == NULL) {
        g_warning("%s", error->message);
        return FALSE;
    }
    make_unit(storage, backstore, store, get_not_ready(backstore));
    return TRUE;
}

Lu *
storage_need_lu(Storage *storage, ModelBackstore *backstore)
{
    StorageRuntime *runtime = storage_get_runtime(backstore);

    return runtime->lu != NULL || make_absent_unit(storage, backstore) ? runtime->lu : NULL;
}

StorageLeave *
storage_replace_by_absent(Storage *storage, ModelBackstore *backstore)
{
    StorageRuntime *runtime = storage_get_runtime(backstore);
    StorageLeave *leave = leave_new(storage, runtime);
    gboolean was_open = runtime->is_open;

    if (was_open) {
        faults_end(storage->service, runtime->store);
        leave->runtime = runtime;
        runtime->leave = leave;
    }
    runtime->lu = NULL;
    runtime->store = NULL;
    runtime->is_open = FALSE;
    (void)make_absent_unit(storage, backstore);
    publish_unit(storage->service, backstore);
    return leave;
}

void
storage_update_absent(Storage *storage, ModelBackstore *backstore)
{
    const StorageRuntime *runtime = storage_get_runtime(backstore);

    if (runtime->lu != NULL && runtime->not_ready != get_not_ready(backstore))
        storage_leave_later(storage, storage_replace_by_absent(storage, backstore));
}

void
storage_attach(Storage *storage, ModelBackstore *backstore, Backstore *store,
               guint64 allocated_size)
{
    StorageRuntime *runtime = storage_get_runtime(backstore);
    const BackstoreInfo *info = backstore_info(store);
    StorageLeave *leave = runtime->lu != NULL ? leave_new(storage, runtime) : NULL;

    g_assert(!runtime->is_open);

    faults_begin(backstore, store);
    runtime->is_empty = FALSE;
    make_unit(storage, backstore, store, SENSE_NONE);
    runtime->facts = *info;
    runtime->has_facts = TRUE;

    backstore->medium = storage_get_medium(backstore);
    backstore->size = info->size;
    backstore->allocated_size = allocated_size;
    backstore->block_size = info->block_size;
    backstore->physical_block_size = info->physical_block_size;
    backstore->cache = cache_mode_to_string(info->cache);
    backstore->read_only = info->read_only;
    backstore->write_cache = info->write_cache;
    backstore->can_unmap = info->can_unmap;
    storage_set_state(storage, backstore, BACKSTORE_ONLINE, NULL);
    publish_unit(storage->service, backstore);
    if (leave != NULL)
        storage_leave_later(storage, leave);
}

void
storage_detach(Storage *storage, ModelBackstore *backstore, const char *delete_path,
               IscsiDoneFn done, gpointer user_data)
{
    StorageRuntime *runtime = g_steal_pointer(&backstore->runtime);
    StorageLeave *leave = leave_new(storage, runtime);

    if (runtime != NULL && runtime->is_open)
        faults_end(storage->service, runtime->store);
    faults_forget(backstore);
    leave->delete_path = g_strdup(delete_path);
    leave->done = done;
    leave->user_data = user_data;
    if (runtime != NULL && runtime->leave != NULL)
        runtime->leave->runtime = NULL;
    storage_leave_start(leave);
    g_free(runtime);
}
