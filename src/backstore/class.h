/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "backstore/backstore.h"
#include "backstore/io.h"
#include "engine/offload.h"
#include "util/list.h"

/*
 * What a kind of store provides, and what it may rely on
 *
 * Only backstore.c and open.c call the functions below, and only with what they
 * have checked: ranges are inside the store and aligned, nothing is written to a
 * read-only store or to a failed one. What a store cannot do natively (see
 * BackstoreNative) never reaches it.
 */

typedef struct BackstoreClass BackstoreClass;
typedef struct BackstoreLane BackstoreLane;

typedef enum {
    NATIVE_FUA = 1 << 0,  /* IO_WRITE with IO_FUA; else a flush follows the write */
    NATIVE_ZERO = 1 << 1, /* IO_ZERO; else zeros are written */
    NATIVE_ZERO_FUA =
        1 << 2,            /* IO_ZERO, with IO_FUA or not, and IO_UNMAP need no flush after them */
    NATIVE_UNMAP = 1 << 3, /* IO_UNMAP; else it succeeds and does nothing */
    NATIVE_MAP = 1 << 4,   /* IO_MAP; else all is mapped */
    NATIVE_PREFETCH = 1 << 5, /* IO_PREFETCH; else -EOPNOTSUPP */
    NATIVE_COPY = 1 << 6,     /* IO_COPY from a store of the same class; else -EOPNOTSUPP */
} BackstoreNative;

/* What one worker keeps for itself about one store; a cache line of its own */
struct BackstoreLane {
    BackstoreStatistics statistics;
    gboolean is_nowait_read_refused; /* RWF_NOWAIT was answered by EOPNOTSUPP */
    gboolean is_nowait_write_refused;
    gboolean is_write_through; /* all that changes the medium is made durable */
    guint64 size;              /* the largest that this worker was told of */
    List batch; /* writes that go to the offload pool together at the end of the turn */
    Deferred batch_end;
    struct FaultSet *faults; /* NULL: none */
    List held;               /* requests that a fault delays or stalls */
} __attribute__((aligned(128)));

struct Backstore {
    const BackstoreClass *class;
    char *name;
    BackstoreInfo info;     /* filled by open() */
    BackstoreNative native; /* filled by open() */
    OffloadQueue *queue;
    OffloadQueue *flush_queue; /* serial: see backstore.c */
    OffloadQueue *copy_queue;  /* of the low class */
    guint n_workers;
    BackstoreLane *lanes;
    gint is_failed; /* atomic, never reset */
    void *zeros;    /* BACKSTORE_ZEROS bytes of zeros, read-only */
};

#define BACKSTORE_ZEROS ((gsize)1 << 20)

struct BackstoreClass {
    const char *type;
    gsize instance_size; /* begins with Backstore */
    gboolean takes_path;
    gboolean takes_fd;
    gboolean takes_size_zero; /* it knows its size itself */

    /* May block. @config is checked as far as the columns above go, block_size is not 0 */
    gboolean (*open)(Backstore *store, const BackstoreConfig *config, GError **ret_error);

    /* May block; also called after open() failed, on whatever it left */
    void (*close)(Backstore *store);

    /* On the worker: start @io and end it with backstore_io_done(), now or later */
    void (*submit)(Backstore *store, Io *io);

    /* May block, sets info.size; NULL: the size is fixed */
    gboolean (*resize)(Backstore *store, guint64 size, GError **ret_error);

    /* May block; NULL: unknown */
    guint64 (*allocated_size)(Backstore *store);
};

extern const BackstoreClass file_class;
extern const BackstoreClass block_class;
extern const BackstoreClass ram_class;
extern const BackstoreClass null_class;

/* backstore_open() with the class given; for tests, and for stores that live elsewhere */
Backstore *backstore_open_class(const BackstoreClass *class, const BackstoreConfig *config,
                                Offload *offload, guint n_workers, GError **ret_error);

/* @io has ended with 0 or -errno; on its worker's thread. It is gone for the store. */
void backstore_io_done(Io *io, gint64 result);

/* The same for one that was never handed to the store: of acknowledged data nothing is lost, unless it
 * was a flush */
void backstore_io_fail(Io *io, gint64 result);

/* Hand to the store what a fault has held */
void backstore_io_go_on(Io *io);

/* fault.c, for the wrapper: TRUE when a rule has taken @io, which ends later or has ended */
gboolean fault_intercept(Io *io);

/* The same: the store is closed, nothing is held any more */
void fault_lane_deinit(BackstoreLane *lane);

/* What was acknowledged may be lost; from any thread */
void backstore_set_failed(Backstore *store);

/**
 * backstore_find_extent() - answer IO_MAP for a store in a descriptor
 *
 * May block: it asks the file system where data and holes are. Sets io->n_mapped and is_mapped.
 *
 * Returns: 0 or -errno
 */
gint64 backstore_find_extent(int fd, Io *io);

/* Run @run on the pool, then end @io with the io->result that it left */
void backstore_io_offload(Io *io, OffloadQueue *queue, void (*run)(OffloadJob *job));

static inline Io *
io_of_job(OffloadJob *job)
{
    return list_entry(job, Io, job);
}

static inline BackstoreLane *
io_lane(const Io *io)
{
    return &io->store->lanes[io->worker->index];
}
