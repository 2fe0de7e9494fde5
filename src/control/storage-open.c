/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Storage: opening, closing and resizing in threads
 *
 * Each may block for as long as a device likes, so they run in a small pool of
 * their own, each job in its own queue.
 */

#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "control/storage-private.h"

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

void
storage_make_store_config(const BackstoreSpec *spec, BackstoreConfig *config)
{
    *config = (BackstoreConfig){ .type = spec->type,
                                 .name = spec->name,
                                 .path = spec->path[0] != '\0' ? spec->path : NULL,
                                 .size = spec->size,
                                 .create = spec->create,
                                 .preallocate = !spec->sparse,
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

    storage_make_store_config(job->spec, &config);
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

void
storage_open_watched(Storage *storage, const BackstoreSpec *spec, StorageOpenedFn done,
                     gpointer user_data)
{
    open_in_thread(storage, spec, TRUE, done, user_data);
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
