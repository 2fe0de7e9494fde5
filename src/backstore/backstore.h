/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "backstore/io.h"

/*
 * Backstore: where blocks live
 *
 * backstore_open() and backstore_close() may block and are called on a thread
 * that may; all else is called on workers and never blocks. A store has no
 * thread of its own and no lock: each request is carried by the worker that
 * submitted it.
 */

typedef enum {
    CACHE_DEFAULT,   /* none where the file system opens O_DIRECT, else (and on tmpfs) writeback */
    CACHE_NONE,      /* O_DIRECT */
    CACHE_WRITEBACK, /* page cache, volatile until flushed */
    CACHE_WRITETHROUGH, /* page cache, each write on stable storage before done */
} CacheMode;

/* "default", "none", "writeback", "writethrough" */
const char *cache_mode_to_string(CacheMode mode);
gboolean cache_mode_from_string(const char *text, CacheMode *ret_mode);

/* What the administrator asked for; borrowed during backstore_open() */
typedef struct {
    const char *type;     /* "file", "block", "ram", "null" */
    const char *name;     /* for messages */
    const char *path;     /* file, block */
    guint64 size;         /* bytes; file: 0 takes the file's size; block: 0 takes the device's */
    gboolean create;      /* file: create it with @size; it is there whole or not at all */
    gboolean preallocate; /* file: allocate blocks at creation, and when it grows */
    guint32 block_size;   /* logical: 512 to 4096, power of two; 0 is 512, for block the device's */
    guint32 physical_block_size; /* 0: ask the store */
    CacheMode cache;
    gboolean read_only;
    int fd; /* -1, or an open descriptor that replaces @path (taken on success) */
} BackstoreConfig;

/* Facts that hold while the store is open, but for @size, which belongs to who calls backstore_resize():
 * workers that know of a resize have the size from elsewhere */
typedef struct {
    guint64 size; /* bytes, a multiple of @block_size */
    guint32 block_size;
    guint32 physical_block_size; /* a power-of-two multiple of @block_size */
    guint32 memory_align;        /* of Io.buffer */
    guint32 offset_align; /* WRITE, ZERO: what is not aligned to it the caller reads and modifies */
    CacheMode cache;      /* what is really done; never CACHE_DEFAULT */
    gboolean read_only;
    gboolean write_cache;  /* acknowledged writes need IO_FLUSH to be durable: WCE */
    gboolean can_unmap;    /* IO_UNMAP frees something */
    gboolean unmap_zeroes; /* unmapped blocks read as zeros: LBPRZ */
    gboolean rotational;
    guint32 unmap_granularity; /* bytes */
    guint64 unmap_max;         /* bytes a request, 0 no limit */
    guint32 copy_align;        /* bytes: see backstore_copy_align(); 0: it cannot copy */
} BackstoreInfo;

typedef struct {
    guint64 n_reads, n_writes, n_flushes, n_unmaps;
    guint64 bytes_read, bytes_written;
    guint64 n_errors;
} BackstoreStatistics;

/**
 * backstore_open() - open or create a store
 * @offload: pool for its blocking calls, outlives the store
 * @n_workers: how many workers will submit to it
 *
 * May block. Errors are of LUNPORT_ERROR: STORAGE_NOT_FOUND, STORAGE_PERMISSION (with the cure in
 * the message), STORAGE_IN_USE, STORAGE_ERROR, ALREADY_EXISTS (@create and the file is there),
 * INVALID_ARGUMENT.
 */
Backstore *backstore_open(const BackstoreConfig *config, Offload *offload, guint n_workers,
                          GError **ret_error);

/**
 * backstore_open_absent() - a store that stands for one that cannot be opened
 * @facts: those of when it was open last, or NULL: made up from @config
 *
 * It has facts and no data: all requests but empty ones end in -ENODEV. Does not block.
 */
Backstore *backstore_open_absent(const BackstoreConfig *config, const BackstoreInfo *facts,
                                 Offload *offload, guint n_workers, GError **ret_error);

/* May block. Nothing is in flight. Flushes, closes, frees. NULL is ignored. */
void backstore_close(Backstore *store);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Backstore, backstore_close)

const BackstoreInfo *backstore_info(const Backstore *store);
const char *backstore_name(const Backstore *store);

/* Check the preconditions of Io and start it. On @worker's thread. */
void backstore_submit(Backstore *store, Worker *worker, Io *io);

/**
 * backstore_resize() - change the size of a file or ram store, or learn the new size of a device
 *
 * May block; requests may be under way, but none beyond @size. Returns the new size in BackstoreInfo.
 * Workers go on with the size that they know until backstore_take_size().
 */
gboolean backstore_resize(Backstore *store, guint64 size, GError **ret_error);

/* From now on @worker may use the store up to @size. On its thread. A smaller size changes nothing:
 * that nobody uses more is then the caller's care. */
void backstore_take_size(Backstore *store, const Worker *worker, guint64 size);

/* Bytes really used on the medium below, 0 where that is unknown. May block. */
guint64 backstore_allocated_size(Backstore *store);

/**
 * backstore_copy_align() - whether IO_COPY may be tried from @source to @destination
 *
 * Returns: what both offsets and the length must be multiples of, a power of two, or 0
 */
guint32 backstore_copy_align(const Backstore *source, const Backstore *destination);

/* @result of IO_COPY is an error which says that the stores have not done it, rather than that the
 * blocks cannot be written: read and write instead */
gboolean backstore_copy_is_refused(gint64 result);

/* From now on every write, copy, zeroing and unmapping of @worker is on stable storage before it is done, as
 * with IO_FUA; also those that are under way. On @worker's thread. */
void backstore_set_write_through(Backstore *store, const Worker *worker, gboolean write_through);

/**
 * backstore_measure() - the same without blocking
 *
 * On @worker's thread. Of @io only @done is set; io->n_mapped is then the answer, or io->result is
 * -EOPNOTSUPP where that is unknown.
 */
void backstore_measure(Backstore *store, Worker *worker, Io *io);

/* What one worker has counted; on its thread. The sum over all is the caller's to make. */
void backstore_get_statistics(const Backstore *store, guint worker_index,
                              BackstoreStatistics *ret_statistics);

/* TRUE after a flush failed: all further writes and flushes end in -EIO until the store is opened anew */
gboolean backstore_is_failed(const Backstore *store);
