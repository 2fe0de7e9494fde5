/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Opening backstores, and what else may block
 *
 * A configuration is judged here once for all classes, by what the class says
 * of itself; a class sees only what it can have. What it leaves open in its
 * facts is settled afterwards, so that everybody above finds them complete.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backstore/class.h"
#include "util/bytes.h"
#include "util/error.h"

#define BLOCK_SIZE_MIN          512
#define BLOCK_SIZE_MAX          4096
#define PHYSICAL_BLOCK_SIZE_MAX (1U << 24) /* 2^15 blocks of 512: what READ CAPACITY(16) can say */

/* clang-format off */
static const char *const cache_mode_names[] = {
    [CACHE_DEFAULT]      = "default",
    [CACHE_NONE]         = "none",
    [CACHE_WRITEBACK]    = "writeback",
    [CACHE_WRITETHROUGH] = "writethrough",
};

static const BackstoreClass *const classes[] = {
    &block_class,
    &file_class,
    &null_class,
    &ram_class,
};
/* clang-format on */

const char *
cache_mode_to_string(CacheMode mode)
{
    g_assert((gsize)mode < G_N_ELEMENTS(cache_mode_names));
    return cache_mode_names[mode];
}

gboolean
cache_mode_from_string(const char *text, CacheMode *ret_mode)
{
    for (gsize i = 0; i < G_N_ELEMENTS(cache_mode_names); i++) {
        if (strcmp(text, cache_mode_names[i]) == 0) {
            *ret_mode = (CacheMode)i;
            return TRUE;
        }
    }

    return FALSE;
}

static const BackstoreClass *
class_find(const char *type)
{
    for (gsize i = 0; i < G_N_ELEMENTS(classes); i++) {
        if (g_strcmp0(type, classes[i]->type) == 0)
            return classes[i];
    }

    return NULL;
}

static gboolean
config_check_block_sizes(const BackstoreConfig *config, GError **ret_error)
{
    guint32 block = config->block_size != 0 ? config->block_size : BLOCK_SIZE_MIN;
    guint32 physical = config->physical_block_size;

    if (!is_power_of_two(block) || block < BLOCK_SIZE_MIN || block > BLOCK_SIZE_MAX) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "The block size of backstore “%s” must be 512, 1024, 2048 or 4096, not %u",
                    config->name, block);
        return FALSE;
    }

    if (physical != 0 &&
        (!is_power_of_two(physical) || physical < block || physical > PHYSICAL_BLOCK_SIZE_MAX)) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "The physical block size of backstore “%s” must be a power of two from %u to "
                    "%u, not %u",
                    config->name, block, PHYSICAL_BLOCK_SIZE_MAX, physical);
        return FALSE;
    }

    return TRUE;
}

static gboolean
size_check(const char *name, guint64 size, guint32 block_size, GError **ret_error)
{
    if (size > G_MAXINT64 || size % block_size != 0) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "The size of backstore “%s” must be a multiple of its block size %u below "
                    "8 EiB, not %" G_GUINT64_FORMAT,
                    name, block_size, size);
        return FALSE;
    }

    return TRUE;
}

static gboolean
config_check_place(const BackstoreClass *class, const BackstoreConfig *config, GError **ret_error)
{
    const char *wrong = NULL;

    if (class->takes_path && config->path == NULL && config->fd < 0)
        wrong = "needs a path";
    else if (!class->takes_path && config->path != NULL)
        wrong = "takes no path";
    else if (!class->takes_fd && config->fd >= 0)
        wrong = "takes no descriptor";
    else if (config->create && config->fd >= 0)
        wrong = "is either created or given as a descriptor";
    else if (config->create && config->read_only)
        wrong = "cannot be created read-only";
    else if (config->size == 0 && (config->create || !class->takes_size_zero) && config->fd < 0)
        wrong = "needs a size";
    else if (config->path != NULL && config->path[0] != '/')
        wrong = "needs an absolute path";

    if (wrong == NULL)
        return TRUE;

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                "Backstore “%s” of type “%s” %s", config->name, class->type, wrong);
    return FALSE;
}

static gboolean
config_check(const BackstoreClass *class, const BackstoreConfig *config, GError **ret_error)
{
    guint32 block_size = config->block_size != 0 ? config->block_size : BLOCK_SIZE_MIN;

    return config_check_place(class, config, ret_error) &&
           config_check_block_sizes(config, ret_error) &&
           size_check(config->name, config->size, block_size, ret_error);
}

/*
 * The last blocks of a store must be writable: where the medium takes whole units only, what does
 * not fill one at the end is left out, or the size that was asked for is refused.
 */
static gboolean
size_settle(Backstore *store, guint64 wanted, GError **ret_error)
{
    BackstoreInfo *info = &store->info;
    guint64 size = round_down(info->size, info->offset_align);

    if (info->read_only || size == info->size)
        return TRUE;

    if (wanted != 0 || size == 0) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "The size of backstore “%s” must be a multiple of %u, what its medium is "
                    "written in, not %" G_GUINT64_FORMAT,
                    store->name, info->offset_align, info->size);
        return FALSE;
    }

    info->size = size;
    return TRUE;
}

/* What a class left open in its facts */
static void
info_complete(Backstore *store)
{
    BackstoreInfo *info = &store->info;

    info->physical_block_size = MAX(info->physical_block_size, info->block_size);
    info->memory_align = MAX(info->memory_align, 1);
    if (info->read_only) {
        info->write_cache = FALSE;
        info->can_unmap = FALSE;
    }

    g_assert(info->cache != CACHE_DEFAULT);
    g_assert(info->size > 0 && info->size % info->block_size == 0);
    g_assert(is_power_of_two(info->physical_block_size));
    g_assert(!info->can_unmap || store->native & NATIVE_UNMAP);
}

static BackstoreLane *
lanes_new(guint n_workers)
{
    gsize size = n_workers * sizeof(BackstoreLane);
    BackstoreLane *lanes = aligned_alloc(G_ALIGNOF(BackstoreLane), size);

    g_assert(lanes != NULL);
    memset(lanes, 0, size);
    for (guint i = 0; i < n_workers; i++) {
        list_init(&lanes[i].batch);
        list_init(&lanes[i].held);
    }
    return lanes;
}

static void
store_free(Backstore *store)
{
    store->class->close(store);

    offload_queue_free(store->queue);
    offload_queue_free(store->flush_queue);
    offload_queue_free(store->copy_queue);
    if (store->zeros != NULL)
        (void)munmap(store->zeros, BACKSTORE_ZEROS);
    for (guint i = 0; i < store->n_workers; i++)
        fault_lane_deinit(&store->lanes[i]);
    free(store->lanes);
    g_free(store->name);
    g_free(store);
}

Backstore *
backstore_open_class(const BackstoreClass *class, const BackstoreConfig *config, Offload *offload,
                     guint n_workers, GError **ret_error)
{
    Backstore *store;
    void *zeros;

    g_assert(class->instance_size >= sizeof(Backstore));
    g_assert(n_workers > 0 && n_workers <= WORKERS_MAX);

    if (!config_check(class, config, ret_error))
        return NULL;

    /* Never written, so all its pages are the one page of zeros of the kernel */
    zeros = mmap(NULL, BACKSTORE_ZEROS, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (zeros == MAP_FAILED) {
        error_set_errno(ret_error, LUNPORT_ERROR_STORAGE_ERROR, errno,
                        "Failed to open backstore “%s”", config->name);
        return NULL;
    }

    store = g_malloc0(class->instance_size);
    store->class = class;
    store->name = g_strdup(config->name);
    store->zeros = zeros;
    store->queue = offload_queue_new(offload, OFFLOAD_NORMAL);
    store->flush_queue = offload_queue_new(offload, OFFLOAD_NORMAL);
    offload_queue_set_serial(store->flush_queue);
    store->copy_queue = offload_queue_new(offload, OFFLOAD_LOW);
    store->n_workers = n_workers;
    store->lanes = lanes_new(n_workers);

    store->info.block_size = config->block_size != 0 ? config->block_size : BLOCK_SIZE_MIN;
    store->info.physical_block_size = config->physical_block_size;
    store->info.read_only = config->read_only;

    if (!class->open(store, config, ret_error)) {
        store_free(store);
        return NULL;
    }

    store->info.offset_align = MAX(store->info.offset_align, store->info.block_size);
    if (!size_settle(store, config->size, ret_error)) {
        if (config->create)
            (void)unlink(config->path);
        store_free(store);
        return NULL;
    }

    info_complete(store);
    for (guint i = 0; i < n_workers; i++)
        store->lanes[i].size = store->info.size;
    return store;
}

Backstore *
backstore_open(const BackstoreConfig *config, Offload *offload, guint n_workers, GError **ret_error)
{
    const BackstoreClass *class = class_find(config->type);

    if (class == NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "There is no backstore type “%s”", config->type);
        return NULL;
    }

    return backstore_open_class(class, config, offload, n_workers, ret_error);
}

void
backstore_close(Backstore *store)
{
    if (store != NULL)
        store_free(store);
}

gboolean
backstore_resize(Backstore *store, guint64 size, GError **ret_error)
{
    guint32 align;

    if (store->class->resize == NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NOT_SUPPORTED,
                    "Backstores of type “%s” cannot be resized", store->class->type);
        return FALSE;
    }

    if (store->info.read_only && size != 0 && size > store->info.size) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "Backstore “%s” is read-only and cannot grow", store->name);
        return FALSE;
    }

    if (size == 0 && !store->class->takes_size_zero) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "Backstore “%s” cannot have a size of 0", store->name);
        return FALSE;
    }

    align = store->info.read_only ? store->info.block_size : store->info.offset_align;
    if (!size_check(store->name, size, align, ret_error) ||
        !store->class->resize(store, size, ret_error))
        return FALSE;

    store->info.size = round_down(store->info.size, align);
    return TRUE;
}

guint64
backstore_allocated_size(Backstore *store)
{
    return store->class->allocated_size != NULL ? store->class->allocated_size(store) : 0;
}
