/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "engine/aio.h"
#include "engine/offload.h"
#include "engine/worker.h"

/*
 * One request to a backstore
 *
 * The requester fills the upper part, hands it to backstore_submit() and gets
 * it back in @done on the same worker, possibly before backstore_submit()
 * returns. Nothing is allocated on the way: what a store needs to carry the
 * request through libaio or the offload pool lies in the lower part.
 *
 * Offsets and lengths are bytes, multiples of the logical block and inside the
 * store: the caller has checked, the store asserts. WRITE and ZERO are also
 * multiples of BackstoreInfo.offset_align, or end in -EINVAL. FLUSH covers the
 * whole store whatever the range.
 */

typedef enum {
    IO_READ,
    IO_WRITE,
    IO_FLUSH,    /* all that was acknowledged before is on stable storage after */
    IO_UNMAP,    /* hint: the range may read as zeros from now on, see BackstoreInfo.unmap_zeroes */
    IO_ZERO,     /* the range reads as zeros from now on */
    IO_MAP,      /* whether blocks are there: Io.is_mapped of the first @n_mapped bytes */
    IO_PREFETCH, /* hint: the range will be read soon; -EOPNOTSUPP where nothing is kept */
    IO_COPY,     /* the range gets the blocks at @source_offset of @source */
} IoKind;

typedef enum {
    IO_FUA = 1 << 0,       /* WRITE, ZERO, COPY: on stable storage before done */
    IO_MAY_UNMAP = 1 << 1, /* ZERO: deallocating is welcome */
} IoFlags;

typedef struct Backstore Backstore;
typedef struct Io Io;

struct Io {
    IoKind kind;
    IoFlags flags;
    guint64 offset;
    guint64 length;
    Backstore *source; /* COPY: may be the same store, but the ranges do not overlap */
    guint64 source_offset;
    void *buffer; /* READ, WRITE: @length bytes, aligned to BackstoreInfo.memory_align; else NULL */
    void (*done)(Io *io);
    gint64 result; /* 0, or -errno; short transfers are errors */

    /* The answer to MAP: a run of blocks at @offset, at least one and at most @length bytes. What
     * is not mapped reads as zeros where BackstoreInfo.unmap_zeroes says so. */
    guint64 n_mapped;
    gboolean is_mapped;

    /* private to the store */
    Backstore *store;
    Worker *worker;
    ListLink link;
    List batch;       /* of a batch of writes: those that travel with this one */
    guint64 progress; /* bytes done of a transfer that came short */
    AioRequest aio;
    OffloadJob job;
    struct {
        Timer timer;
        int error;
    } fault; /* while a rule of backstore/fault.h holds it */

    /* The request as it came, while the wrapper carries it out in parts that the store can do */
    struct {
        gboolean is_active;
        gboolean is_inside; /* the store's submit function is on the stack */
        gboolean is_part_done;
        gboolean is_flush_due;
        IoKind kind;
        IoFlags flags;
        guint64 offset;
        guint64 length;
        void *buffer;
    } emulation;
};
