/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Storage: opening, retrying and closing backstores
 *
 * Opening and closing may block for as long as a device likes, so they run in
 * a small pool of their own, each store in its own queue. A backstore that
 * cannot be opened stays in the model with its error; it is tried again every
 * ten seconds, and at once when something appears in the directory where its
 * path would be.
 *
 * Every backstore that a target uses has a logical unit. While the storage is
 * not open that is one over a store that is not there: initiators see it and
 * are told that it is not ready. Becoming ready, and the reverse, is a new Lu
 * in place of the old one in the maps of the targets that use it; nothing of a
 * Lu that initiators have ever changes under a worker. The old one leaves when
 * its last command has ended, and its store is closed then.
 *
 * The retry timer exists only while something is not open that should be.
 */

#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "control/service-private.h"
#include "util/error.h"
#include "util/fd.h"
#include "util/log.h"

#define RETRY_SECONDS       10
#define APPEARED_DELAY_MSEC 500
#define MEASURE_MSEC        200 /* statistics do not wait longer for file systems */

struct Storage {
    Service *service;
    guint retry_source;
    int inotify_fd; /* its watches are added by threads of the pool: looking up a path may block */
    guint inotify_source;
    gboolean running; /* attempts are made */

    /* the first round */
    guint n_first;
    IscsiDoneFn first_done;
    gpointer first_data;

    GPtrArray *measures; /* of StorageMeasure under way */

    /* logical units that were replaced and have not left yet */
    guint n_leaving;
    IscsiDoneFn left_done;
    gpointer left_data;
};

typedef struct StorageLeave StorageLeave;

/* What ModelBackstore.runtime points at */
typedef struct {
    Backstore *store; /* under @lu; NULL: there is none yet */
    Lu *lu;
    gboolean is_open;    /* @store is the real one */
    SenseCode not_ready; /* of @lu */
    StorageLeave *leave; /* the real store of before is being closed */
    gboolean trying;     /* an attempt is under way */
    gboolean broken;     /* a flush failed: not to be opened again by itself */
    gboolean taken;      /* the administrator took it offline */
    gboolean is_empty;   /* there is no medium */
    gboolean tray_open;  /* the medium, or nothing, lies in it; as initiators see it */
    gboolean losing;     /* its device has gone, and will be taken from initiators */
    gboolean has_facts;
    BackstoreInfo facts; /* of when it was open last */
} StorageRuntime;

typedef struct {
    OffloadJob job;
    OffloadQueue *queue;
    Storage *storage;

    /* of an opening */
    BackstoreSpec *spec;
    gboolean watches; /* when it fails, be told when the path may have appeared */
    guint64 allocated_size;
    GError *error;
    StorageOpenedFn opened;

    /* of a change of size */
    guint64 size;
    StorageResizedFn resized;

    /* of a closing */
    char *delete_path;
    IscsiDoneFn closed;

    Backstore *store;
    gpointer user_data;
} StorageJob;

/* A logical unit on its way out */
struct StorageLeave {
    Storage *storage;
    Lu *lu;
    Backstore *store;
    StorageRuntime *runtime; /* whose store this was, and which waits for the closing; or NULL */
    char *delete_path;
    IscsiDoneFn done; /* or NULL */
    gpointer user_data;
};

/* Somebody wants to know how much space stores really take */
typedef struct {
    guint n_left;
    guint timer; /* 0: @done was called */
    IscsiDoneFn done;
    gpointer user_data;
} StorageQuestion;

/* One store of a question. It is not closed before this has ended. */
typedef struct {
    OffloadJob job;
    OffloadQueue *queue;
    Storage *storage;
    Backstore *store;
    char *name;
    guint64 allocated_size;
    StorageQuestion *question;
    StorageLeave *leave; /* waits for this one */
} StorageMeasure;

Storage *
storage_new(Service *service)
{
    Storage *storage = g_new0(Storage, 1);

    storage->service = service;
    storage->measures = g_ptr_array_new();
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
    g_assert(storage->measures->len == 0);
    g_ptr_array_unref(storage->measures);
    fd_close(&storage->inotify_fd);
    g_free(storage);
}

static StorageRuntime *
get_runtime(ModelBackstore *backstore)
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

/* "0d4f…-…" as bytes; the schema has checked the form */
static void
uuid_to_bytes(const char *text, guint8 bytes[16])
{
    guint n = 0;

    memset(bytes, 0, 16);
    for (const char *p = text; *p != '\0' && n < 32; p++) {
        if (!g_ascii_isxdigit(*p))
            continue;
        bytes[n / 2] = (guint8)(bytes[n / 2] << 4 | g_ascii_xdigit_value(*p));
        n++;
    }
}

static const char *
text_or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

static void
make_lu_config(const BackstoreSpec *spec, LuConfig *config)
{
    *config = (LuConfig){ .name = spec->name,
                          .serial = text_or_null(spec->serial),
                          .vendor = text_or_null(spec->vendor),
                          .product = text_or_null(spec->product),
                          .thin = spec->thin,
                          .device = backstore_spec_is_cdrom(spec) ? LU_CDROM : LU_DISK,
                          .removable = spec->removable,
                          .lenient_cdb = spec->lenient_cdb };
    uuid_to_bytes(spec->uuid, config->uuid);
    if (strlen(spec->naa) == 16)
        config->naa = g_ascii_strtoull(spec->naa, NULL, 16);
    else if (spec->naa[0] != '\0')
        uuid_to_bytes(spec->naa, config->naa6);
}

void
storage_describe(ModelBackstore *backstore)
{
    LuConfig config;
    char text[128];

    make_lu_config(backstore->spec, &config);
    lu_format_serial(&config, text, sizeof(text));
    g_free(backstore->serial);
    backstore->serial = g_strdup(text);
    lu_format_wwn(&config, text, sizeof(text));
    g_free(backstore->wwn);
    backstore->wwn = g_strdup(text);
}

static gboolean
fail_identity(const BackstoreSpec *other, const char *what, GError **ret_error)
{
    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_ALREADY_EXISTS,
                "Backstore “%s” has the same %s; initiators would take both for one disk",
                other->name, what);
    return FALSE;
}

gboolean
storage_check_identity(const Model *model, const BackstoreSpec *spec, GError **ret_error)
{
    for (guint i = 0; i < model->backstores->len; i++) {
        const ModelBackstore *backstore = g_ptr_array_index(model->backstores, i);
        const BackstoreSpec *other = backstore->spec;

        if (strcmp(other->name, spec->name) == 0)
            continue;
        if (g_ascii_strcasecmp(other->uuid, spec->uuid) == 0)
            return fail_identity(other, "UUID", ret_error);
        if (spec->naa[0] != '\0' && g_ascii_strcasecmp(other->naa, spec->naa) == 0)
            return fail_identity(other, "NAA identifier", ret_error);
        if (spec->serial[0] != '\0' && strcmp(other->serial, spec->serial) == 0)
            return fail_identity(other, "serial number", ret_error);
        if (spec->path[0] != '\0' && strcmp(other->path, spec->path) == 0 &&
            !(backstore_spec_is_read_only(other) && backstore_spec_is_read_only(spec))) {
            g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_IN_USE,
                        "Backstore “%s” uses “%s” already", other->name, spec->path);
            return FALSE;
        }
    }
    return TRUE;
}

static StorageJob *
job_new(Storage *storage, void (*run)(OffloadJob *job), void (*done)(OffloadJob *job),
        gpointer user_data)
{
    StorageJob *job = g_new0(StorageJob, 1);

    job->storage = storage;
    job->queue = offload_queue_new(storage->service->opens, OFFLOAD_NORMAL);
    job->job.home = &storage->service->mailbox;
    job->job.run = run;
    job->job.done = done;
    job->user_data = user_data;
    list_init(&job->job.link);
    return job;
}

static void
job_free(StorageJob *job)
{
    offload_queue_free(job->queue);
    backstore_spec_free(job->spec);
    g_clear_error(&job->error);
    g_free(job->delete_path);
    g_free(job);
}

static CacheMode
get_cache_mode(const BackstoreSpec *spec)
{
    CacheMode mode = CACHE_DEFAULT;

    if (!spec->write_cache)
        return CACHE_WRITETHROUGH;
    if (!cache_mode_from_string(spec->cache, &mode))
        g_assert_not_reached(); /* the schema has checked it */
    /* Many guests may read one image, and reading ahead pays */
    if (mode == CACHE_DEFAULT && backstore_spec_is_cdrom(spec))
        return CACHE_WRITEBACK;
    return mode;
}

/* The nearest directory above @path that exists; once, because the next attempt asks again */
static void
watch_parent(int inotify_fd, const char *path)
{
    g_autofree char *directory = g_path_get_dirname(path);

    while (inotify_add_watch(inotify_fd, directory,
                             IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_ONLYDIR | IN_ONESHOT) < 0 &&
           (errno == ENOENT || errno == ENOTDIR) && strcmp(directory, "/") != 0) {
        g_autofree char *above = g_path_get_dirname(directory);

        g_free(directory);
        directory = g_steal_pointer(&above);
    }
}

static void
make_store_config(const BackstoreSpec *spec, BackstoreConfig *config)
{
    *config = (BackstoreConfig){ .type = spec->type,
                                 .name = spec->name,
                                 .path = text_or_null(spec->path),
                                 .size = spec->size,
                                 .create = spec->create,
                                 .preallocate = spec->create && !spec->sparse,
                                 .block_size = backstore_spec_block_size(spec),
                                 .physical_block_size = spec->physical_block_size,
                                 .cache = get_cache_mode(spec),
                                 .read_only = backstore_spec_is_read_only(spec),
                                 .fd = -1 };
}

/* In a thread of the pool */
static void
run_open(OffloadJob *offload_job)
{
    StorageJob *job = list_entry(offload_job, StorageJob, job);
    Service *service = job->storage->service;
    BackstoreConfig config;

    if (job->error != NULL)
        return;

    make_store_config(job->spec, &config);
    job->store = backstore_open(&config, service->offload, service->n_workers, &job->error);
    if (job->store != NULL)
        job->allocated_size = backstore_allocated_size(job->store);
    else if (job->watches && config.path != NULL)
        watch_parent(job->storage->inotify_fd, config.path);
}

static void
on_opened(OffloadJob *offload_job)
{
    StorageJob *job = list_entry(offload_job, StorageJob, job);

    job->opened(job->store, job->allocated_size, job->error, job->user_data);
    job_free(job);
}

static void
open_in_thread(Storage *storage, const BackstoreSpec *spec, gboolean watches, StorageOpenedFn done,
               gpointer user_data)
{
    StorageJob *job = job_new(storage, run_open, on_opened, user_data);

    job->spec = backstore_spec_dup(spec);
    job->watches = watches;
    job->opened = done;
    if (reservations_check(storage->service, spec->name, &job->error))
        (void)records_check(storage->service, spec->name, &job->error);
    offload_submit(job->queue, &job->job);
}

void
storage_open(Storage *storage, const BackstoreSpec *spec, StorageOpenedFn done, gpointer user_data)
{
    open_in_thread(storage, spec, FALSE, done, user_data);
}

static void
run_close(OffloadJob *offload_job)
{
    StorageJob *job = list_entry(offload_job, StorageJob, job);

    backstore_close(job->store);
    if (job->delete_path != NULL)
        (void)unlink(job->delete_path);
}

static void
on_closed(OffloadJob *offload_job)
{
    StorageJob *job = list_entry(offload_job, StorageJob, job);

    job->closed(job->user_data);
    job_free(job);
}

void
storage_close(Storage *storage, Backstore *store, const char *path, IscsiDoneFn done,
              gpointer user_data)
{
    StorageJob *job = job_new(storage, run_close, on_closed, user_data);

    job->store = store;
    job->delete_path = g_strdup(path);
    job->closed = done;
    offload_submit(job->queue, &job->job);
}

static void
run_resize(OffloadJob *offload_job)
{
    StorageJob *job = list_entry(offload_job, StorageJob, job);

    (void)backstore_resize(job->store, job->size, &job->error);
}

static void
on_resized(OffloadJob *offload_job)
{
    StorageJob *job = list_entry(offload_job, StorageJob, job);

    job->resized(job->error, job->user_data);
    job_free(job);
}

void
storage_resize(Storage *storage, const ModelBackstore *backstore, guint64 size,
               StorageResizedFn done, gpointer user_data)
{
    StorageJob *job = job_new(storage, run_resize, on_resized, user_data);

    job->store = storage_get_store(backstore);
    job->size = size;
    job->resized = done;
    offload_submit(job->queue, &job->job);
}

void
storage_set_size(Storage *storage, ModelBackstore *backstore, guint64 size)
{
    get_runtime(backstore)->facts.size = size;
    backstore->size = size;
    model_changed(storage->service->model, MODEL_BACKSTORE, backstore);
}

static void
set_state(Storage *storage, ModelBackstore *backstore, BackstoreState state, const GError *error)
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

/*
 * Logical units
 */

static void
leave_free(StorageLeave *leave)
{
    g_free(leave->delete_path);
    g_free(leave);
}

static void arm(Storage *storage);

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
    arm(storage);

    if (--storage->n_leaving > 0 || left_done == NULL)
        return;
    storage->left_done = NULL;
    left_done(storage->left_data);
}

static StorageMeasure *
find_measure(const Storage *storage, const Backstore *store)
{
    for (guint i = 0; i < storage->measures->len; i++) {
        StorageMeasure *measure = g_ptr_array_index(storage->measures, i);

        if (measure->store == store)
            return measure;
    }
    return NULL;
}

static void
close_left(StorageLeave *leave)
{
    StorageMeasure *measure = find_measure(leave->storage, leave->store);

    if (measure != NULL)
        measure->leave = leave;
    else
        storage_close(leave->storage, leave->store, leave->delete_path, on_store_left, leave);
}

static void
on_lu_released(Lu *lu, gpointer data)
{
    lu_free(lu);
    close_left(data);
}

static gboolean
on_nothing_to_leave(gpointer data)
{
    on_store_left(data);
    return G_SOURCE_REMOVE;
}

/* The unit is in no map any more that is on its way to the workers, or that a worker will take */
static void
leave_start(StorageLeave *leave)
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
    leave_start(operation->user_data);
    operation_finish(operation, NULL);
}

/* The same, when no change of a target is under way: a map with the unit may be on its way still */
static void
leave_later(Storage *storage, StorageLeave *leave)
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

static BackstoreMedium
get_medium(const ModelBackstore *backstore)
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
    backstore->medium = get_medium(backstore);
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

    make_lu_config(backstore->spec, &config);
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
    StorageRuntime *runtime = get_runtime(backstore);
    g_autoptr(GError) error = NULL;
    BackstoreConfig config;
    Backstore *store;

    make_store_config(backstore->spec, &config);
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
    StorageRuntime *runtime = get_runtime(backstore);

    return runtime->lu != NULL || make_absent_unit(storage, backstore) ? runtime->lu : NULL;
}

/* The storage is not open, or no longer: initiators are told so, and why. What was there leaves. */
static StorageLeave *
replace_by_absent(Storage *storage, ModelBackstore *backstore)
{
    StorageRuntime *runtime = get_runtime(backstore);
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
storage_attach(Storage *storage, ModelBackstore *backstore, Backstore *store,
               guint64 allocated_size)
{
    StorageRuntime *runtime = get_runtime(backstore);
    const BackstoreInfo *info = backstore_info(store);
    StorageLeave *leave = runtime->lu != NULL ? leave_new(storage, runtime) : NULL;

    g_assert(!runtime->is_open);

    faults_begin(backstore, store);
    runtime->is_empty = FALSE;
    make_unit(storage, backstore, store, SENSE_NONE);
    runtime->facts = *info;
    runtime->has_facts = TRUE;

    backstore->medium = get_medium(backstore);
    backstore->size = info->size;
    backstore->allocated_size = allocated_size;
    backstore->block_size = info->block_size;
    backstore->physical_block_size = info->physical_block_size;
    backstore->cache = cache_mode_to_string(info->cache);
    backstore->read_only = info->read_only;
    backstore->write_cache = info->write_cache;
    backstore->can_unmap = info->can_unmap;
    set_state(storage, backstore, BACKSTORE_ONLINE, NULL);
    publish_unit(storage->service, backstore);
    if (leave != NULL)
        leave_later(storage, leave);
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
    leave_start(leave);
    g_free(runtime);
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
    set_state(storage, backstore, BACKSTORE_FAILED, error);
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
        get_runtime(backstore)->losing = FALSE;
    if (backstore != NULL && storage_get_store(backstore) != NULL &&
        !operation->service->stopping) {
        g_set_error_literal(&error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_NOT_FOUND,
                            operation->text);
        set_state(storage, backstore, BACKSTORE_OFFLINE, error);
        leave_start(replace_by_absent(storage, backstore));
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

/* What @operation has tried to open is open in @store, or could not be opened */
static void
end_attempt(Operation *operation, Backstore *store, guint64 allocated_size, const GError *error)
{
    Service *service = operation->service;
    Storage *storage = service->storage;
    ModelBackstore *backstore = model_find_backstore(service->model, operation->name);
    StorageRuntime *runtime;

    /* The operation holds it, so it is still there */
    g_assert(backstore != NULL);
    runtime = get_runtime(backstore);
    runtime->trying = FALSE;

    if (store != NULL) {
        storage_attach(storage, backstore, store, allocated_size);
        return;
    }

    set_state(storage, backstore,
              error->code == LUNPORT_ERROR_STORAGE_NOT_FOUND ? BACKSTORE_OFFLINE : BACKSTORE_FAILED,
              error);
    if (runtime->lu != NULL && runtime->not_ready != get_not_ready(backstore))
        leave_later(storage, replace_by_absent(storage, backstore));
}

/*
 * Offline and online by the administrator
 */

static void
on_taken_closed(gpointer data)
{
    operation_finish(data, NULL);
}

/* @done when the store of before is closed. Changes of targets need not wait for that. */
static void
take_away(Operation *operation, ModelBackstore *backstore, IscsiDoneFn done)
{
    StorageLeave *leave = replace_by_absent(operation->service->storage, backstore);

    leave->done = done;
    leave->user_data = operation;
    leave_start(leave);
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

void
storage_take_offline(Operation *operation, ModelBackstore *backstore)
{
    Storage *storage = operation->service->storage;
    StorageRuntime *runtime = get_runtime(backstore);

    if (runtime->taken) {
        operation_finish(operation, NULL);
        return;
    }

    runtime->taken = TRUE;
    set_state(storage, backstore, BACKSTORE_OFFLINE, NULL);
    if (runtime->leave == NULL) {
        take_away(operation, backstore, on_taken_closed);
    } else {
        leave_start(replace_by_absent(storage, backstore));
        await_leave(operation, runtime->leave, on_taken_closed);
    }
}

static void
on_reopened(Backstore *store, guint64 allocated_size, const GError *error, gpointer data)
{
    Operation *operation = data;

    end_attempt(operation, store, allocated_size, error);
    if (store == NULL)
        operation->error = g_error_copy(error);
    if (operation->after != NULL)
        operation->after(operation);
    else
        operation_finish(operation, NULL);
    arm(operation->service->storage);
}

static void
reopen(gpointer data)
{
    Operation *operation = data;
    Service *service = operation->service;
    ModelBackstore *backstore = model_find_backstore(service->model, operation->name);

    get_runtime(backstore)->trying = TRUE;
    open_in_thread(service->storage, backstore->spec, TRUE, on_reopened, operation);
}

void
storage_bring_online(Operation *operation, ModelBackstore *backstore)
{
    Storage *storage = operation->service->storage;
    StorageRuntime *runtime = get_runtime(backstore);

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
    set_state(storage, backstore, BACKSTORE_OPENING, NULL);
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
    set_state(operation->service->storage, backstore, BACKSTORE_OPENING, NULL);
    take_away(operation, backstore, reopen);
}

/*
 * Change of medium
 */

static void
forget_medium(Storage *storage, ModelBackstore *backstore)
{
    StorageRuntime *runtime = get_runtime(backstore);

    runtime->is_empty = TRUE;
    runtime->broken = FALSE;
    runtime->has_facts = FALSE;
    backstore->medium = get_medium(backstore);
    backstore->size = 0;
    backstore->allocated_size = 0;
    backstore->block_size = backstore_spec_block_size(backstore->spec);
    backstore->read_only = backstore_spec_is_read_only(backstore->spec);
    set_state(storage, backstore, BACKSTORE_ONLINE, NULL);
    model_changed(storage->service->model, MODEL_BACKSTORE, backstore);
}

void
storage_set_empty(Storage *storage, ModelBackstore *backstore)
{
    const StorageRuntime *runtime = get_runtime(backstore);

    forget_medium(storage, backstore);
    if (runtime->lu != NULL && runtime->not_ready != get_not_ready(backstore))
        leave_later(storage, replace_by_absent(storage, backstore));
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
    StorageRuntime *runtime = get_runtime(backstore);

    runtime->tray_open = TRUE;
    forget_medium(storage, backstore);
    if (runtime->leave == NULL) {
        take_away(operation, backstore, on_taken_closed);
    } else {
        leave_start(replace_by_absent(storage, backstore));
        await_leave(operation, runtime->leave, on_taken_closed);
    }
}

void
storage_load(Storage *storage, ModelBackstore *backstore, Backstore *store, guint64 allocated_size)
{
    StorageRuntime *runtime = get_runtime(backstore);

    /* Initiators see the drive without a medium in between. Nothing waits until the old one is closed. */
    if (runtime->is_open) {
        StorageLeave *leave;

        runtime->is_empty = TRUE;
        leave = replace_by_absent(storage, backstore);
        leave->runtime = NULL;
        runtime->leave = NULL;
        leave_later(storage, leave);
    }

    runtime->tray_open = FALSE;
    runtime->broken = FALSE;
    storage_attach(storage, backstore, store, allocated_size);
    model_changed(storage->service->model, MODEL_BACKSTORE, backstore);
}

/*
 * Space
 */

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
        close_left(measure->leave);
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
    if (runtime == NULL || !runtime->is_open || find_measure(storage, runtime->store) != NULL)
        return;

    measure = g_new0(StorageMeasure, 1);
    measure->storage = storage;
    measure->store = runtime->store;
    measure->name = g_strdup(backstore->spec->name);
    measure->question = question;
    measure->queue = offload_queue_new(storage->service->offload, OFFLOAD_LOW);
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

/*
 * Attempts
 */

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

/* Try again in a while as long as something is not open */
static void
arm(Storage *storage)
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
    arm(storage);
    if (operation->flag)
        count_first(storage);
}

static void
on_attempted(Backstore *store, guint64 allocated_size, const GError *error, gpointer data)
{
    end_attempt(data, store, allocated_size, error);
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

    get_runtime(backstore)->trying = TRUE;
    open_in_thread(service->storage, backstore->spec, TRUE, on_attempted, operation);
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
