/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Backstores: the wrapper around every class
 *
 * The functions of a class are called from here, those that may block from
 * open.c, and none from anywhere else. On the way in a request is checked (by
 * assertion: the caller has judged what came from the wire) and what the class
 * cannot do is broken into what it can: ZERO into writes from one shared page
 * of zeros, FUA into a write and a flush. On the way out it is counted, and a
 * failed flush is remembered.
 *
 * An emulated request is the same Io, whose upper part is rewritten for each
 * part and put back at the end, so nothing is allocated. Parts that a class
 * ends at once run in a loop, not by recursion.
 *
 * A failed flush. When the kernel could not write back dirty pages it says so
 * once to each open file and then treats the pages as clean: a second flush
 * would succeed although acknowledged data is lost. Hence (a) the store is
 * failed for ever, until it is opened anew; (b) flushes of one store run one
 * after the other, since of two that run together only one would be told;
 * (c) the stores flush through an open file of their own, so that a write with
 * FUA cannot take the news away from the flush that needs it. The mark is one
 * atomic flag rather than a message to all workers because it must be seen by
 * the next flush, wherever that runs, before the failed one is answered. It is
 * set only once and read once a write, from a cache line that never changes.
 */

#include "backstore/backstore.h"

#include <errno.h>
#include <unistd.h>

#include "backstore/class.h"
#include "util/bytes.h"

const BackstoreInfo *
backstore_info(const Backstore *store)
{
    return &store->info;
}

const char *
backstore_name(const Backstore *store)
{
    return store->name;
}

gboolean
backstore_is_failed(const Backstore *store)
{
    return __atomic_load_n(&store->is_failed, __ATOMIC_ACQUIRE) != 0;
}

void
backstore_set_failed(Backstore *store)
{
    __atomic_store_n(&store->is_failed, 1, __ATOMIC_RELEASE);
}

/* One that was not done is done again by others */
static void
count_copy(const Io *io, gint64 result)
{
    BackstoreStatistics *to = &io_lane(io)->statistics;
    BackstoreStatistics *from = &io->source->lanes[io->worker->index].statistics;

    if (result < 0)
        return;

    from->n_reads++;
    from->bytes_read += io->length;
    to->n_writes++;
    to->bytes_written += io->length;
}

static void
count(Io *io, gint64 result)
{
    BackstoreStatistics *statistics = &io_lane(io)->statistics;

    if (result < 0 && io->kind != IO_PREFETCH &&
        !(io->kind == IO_COPY && backstore_copy_is_refused(result)))
        statistics->n_errors++;

    switch (io->kind) {
    case IO_READ:
        statistics->n_reads++;
        statistics->bytes_read += result == 0 ? io->length : 0;
        break;
    case IO_WRITE:
        statistics->n_writes++;
        statistics->bytes_written += result == 0 ? io->length : 0;
        break;
    case IO_FLUSH:
        statistics->n_flushes++;
        break;
    case IO_UNMAP:
    case IO_ZERO:
        statistics->n_unmaps++;
        break;
    case IO_COPY:
        count_copy(io, result);
        break;
    case IO_MAP:
    case IO_PREFETCH:
        break;
    }
}

static void
finish(Io *io, gint64 result)
{
    count(io, result);
    io->result = result;
    io->done(io);
}

/*
 * Whether this failure means that data acknowledged earlier may be gone. A
 * write with FUA that failed for want of space never came to its flush.
 */
static gboolean
loses_data(const Io *io, gint64 result)
{
    if (io->kind == IO_FLUSH)
        return TRUE;

    return io->kind == IO_WRITE && io->flags & IO_FUA && io->store->info.write_cache &&
           io->store->info.cache == CACHE_WRITEBACK && result != -ENOSPC && result != -EDQUOT;
}

/* Set up the next part of an emulated request; FALSE when it is complete */
static gboolean
emulation_next(Io *io)
{
    guint64 end = io->emulation.offset + io->emulation.length;
    guint64 next = io->offset + io->length;

    if (io->kind == IO_WRITE && io->emulation.kind == IO_ZERO && next < end) {
        io->offset = next;
        io->length = MIN(end - next, BACKSTORE_ZEROS);
        return TRUE;
    }

    if (!io->emulation.is_flush_due)
        return FALSE;

    io->emulation.is_flush_due = FALSE;
    io->kind = IO_FLUSH;
    io->flags = 0;
    io->offset = 0;
    io->length = 0;
    io->buffer = NULL;
    return TRUE;
}

/* Hand the part that is set up to the store; TRUE when it ended at once, with io->result */
static gboolean
emulation_submit(Io *io)
{
    io->emulation.is_inside = TRUE;
    io->emulation.is_part_done = FALSE;
    io->progress = 0;
    /* Whoever asked for a write-through write gets the trouble of flushes too */
    if (G_LIKELY(io_lane(io)->faults == NULL) || io->kind != IO_FLUSH || !fault_intercept(io))
        io->store->class->submit(io->store, io);
    io->emulation.is_inside = FALSE;
    return io->emulation.is_part_done;
}

static void emulation_begin(Io *io, gboolean is_flush_due);
static void emulation_continue(Io *io, gint64 result);

static gboolean
changes_medium(const Io *io)
{
    return io->kind == IO_WRITE || io->kind == IO_ZERO || io->kind == IO_UNMAP ||
           io->kind == IO_COPY;
}

/* The whole request has ended. One that was under way when write-through was turned on gets the
 * flush that it did not know of. */
static void
complete(Io *io, gint64 result)
{
    if (G_LIKELY(!io_lane(io)->is_write_through) || result < 0 || io->flags & IO_FUA ||
        !changes_medium(io)) {
        finish(io, result);
        return;
    }

    io->flags |= IO_FUA;
    emulation_begin(io, TRUE);
    emulation_continue(io, 0);
}

/* A part has ended with @result: run the rest, as far as parts end at once */
static void
emulation_continue(Io *io, gint64 result)
{
    while (result == 0 && emulation_next(io)) {
        if (!emulation_submit(io))
            return;
        result = io->result;
    }

    io->emulation.is_active = FALSE;
    io->kind = io->emulation.kind;
    io->flags = io->emulation.flags;
    io->offset = io->emulation.offset;
    io->length = io->emulation.length;
    io->buffer = io->emulation.buffer;
    complete(io, result);
}

static void
emulation_begin(Io *io, gboolean is_flush_due)
{
    io->emulation.is_active = TRUE;
    io->emulation.is_flush_due = is_flush_due;
    io->emulation.kind = io->kind;
    io->emulation.flags = io->flags;
    io->emulation.offset = io->offset;
    io->emulation.length = io->length;
    io->emulation.buffer = io->buffer;
}

static void
emulation_start(Io *io, gboolean is_flush_due)
{
    Backstore *store = io->store;

    emulation_begin(io, is_flush_due);

    io->flags &= (IoFlags)~IO_FUA;
    if (io->kind == IO_ZERO && !(store->native & NATIVE_ZERO)) {
        io->kind = IO_WRITE;
        io->flags = 0;
        io->length = MIN(io->length, BACKSTORE_ZEROS);
        io->buffer = store->zeros;
    }

    if (emulation_submit(io))
        emulation_continue(io, io->result);
}

/*
 * Whether the store needs a flush after this request to make it durable. What
 * write-through promises for writes holds for blocks that are deallocated too.
 */
static gboolean
needs_flush(const Io *io)
{
    const Backstore *store = io->store;

    switch (io->kind) {
    case IO_WRITE:
        return io->flags & IO_FUA && !(store->native & NATIVE_FUA);
    case IO_ZERO:
    case IO_UNMAP:
        return (io->flags & IO_FUA || store->info.cache == CACHE_WRITETHROUGH) &&
               !(store->native & NATIVE_ZERO_FUA);
    case IO_COPY:
        return io->flags & IO_FUA || store->info.cache == CACHE_WRITETHROUGH;
    case IO_READ:
    case IO_FLUSH:
    case IO_MAP:
    case IO_PREFETCH:
        break;
    }

    return FALSE;
}

/* Requests that change nothing: a store may be read-only or failed */
static gboolean
only_looks(const Io *io)
{
    return io->kind == IO_READ || io->kind == IO_MAP || io->kind == IO_PREFETCH;
}

static void
check_source(const Worker *worker, const Io *io)
{
    const Backstore *source = io->source;

    g_assert(worker->index < source->n_workers);
    g_assert(io->source_offset <= source->lanes[worker->index].size);
    g_assert(io->length <= source->lanes[worker->index].size - io->source_offset);
}

static void
check(const Backstore *store, const Worker *worker, const Io *io)
{
    const BackstoreInfo *info = &store->info;
    const BackstoreLane *lane;

    g_assert(worker->index < store->n_workers);
    g_assert(io->done != NULL);
    lane = &store->lanes[worker->index];

    if (io->kind == IO_FLUSH)
        return;

    g_assert(io->offset <= lane->size && io->length <= lane->size - io->offset);
    g_assert(((io->offset | io->length) & (info->block_size - 1)) == 0);

    if (!only_looks(io))
        g_assert(!info->read_only);
    if (io->kind == IO_COPY)
        check_source(worker, io);
    if (io->kind == IO_READ || io->kind == IO_WRITE)
        g_assert(io->length == 0 ||
                 (io->buffer != NULL && ((gsize)io->buffer & (info->memory_align - 1)) == 0));
}

static void
end_mapped(Io *io)
{
    io->is_mapped = TRUE;
    io->n_mapped = io->length;
    finish(io, 0);
}

/* A source with faults is read by requests of its own, which its rules may strike */
static gboolean
can_copy(const Backstore *store, const Io *io)
{
    guint32 align = backstore_copy_align(io->source, store);

    return align != 0 && io->source->lanes[io->worker->index].faults == NULL &&
           ((io->source_offset | io->offset | io->length) & (align - 1)) == 0;
}

/* Requests that end here, without the store; FALSE when it has to work */
static gboolean
end_early(const Backstore *store, Io *io)
{
    const BackstoreInfo *info = &store->info;
    gboolean changes = io->kind == IO_WRITE || io->kind == IO_ZERO;

    if (!only_looks(io) && backstore_is_failed(store))
        finish(io, -EIO);
    else if (changes && ((io->offset | io->length) & (info->offset_align - 1)) != 0)
        finish(io, -EINVAL);
    else if (io->kind == IO_FLUSH ? info->read_only : io->length == 0)
        finish(io, 0);
    else if (io->kind == IO_UNMAP && !(store->native & NATIVE_UNMAP))
        finish(io, 0);
    else if (io->kind == IO_PREFETCH && !(store->native & NATIVE_PREFETCH))
        finish(io, -EOPNOTSUPP);
    else if (io->kind == IO_MAP && !(store->native & NATIVE_MAP))
        end_mapped(io);
    else if (io->kind == IO_COPY && !can_copy(store, io))
        finish(io, -EOPNOTSUPP);
    else
        return FALSE;

    return TRUE;
}

static void
start(Io *io)
{
    Backstore *store = io->store;
    gboolean is_flush_due;

    if (end_early(store, io))
        return;

    if (G_UNLIKELY(io_lane(io)->is_write_through) && changes_medium(io))
        io->flags |= IO_FUA;

    is_flush_due = needs_flush(io);
    if (is_flush_due || (io->kind == IO_ZERO && !(store->native & NATIVE_ZERO)))
        emulation_start(io, is_flush_due);
    else
        store->class->submit(store, io);
}

void
backstore_submit(Backstore *store, Worker *worker, Io *io)
{
    check(store, worker, io);

    io->store = store;
    io->worker = worker;
    io->progress = 0;
    io->emulation.is_active = FALSE;

    if (G_LIKELY(io_lane(io)->faults == NULL) || !fault_intercept(io))
        start(io);
}

void
backstore_io_go_on(Io *io)
{
    if (io->emulation.is_active)
        io->store->class->submit(io->store, io);
    else
        start(io);
}

static void
end_part(Io *io, gint64 result)
{
    if (G_LIKELY(!io->emulation.is_active)) {
        complete(io, result);
    } else if (io->emulation.is_inside) {
        io->emulation.is_part_done = TRUE;
        io->result = result;
    } else {
        emulation_continue(io, result);
    }
}

void
backstore_io_done(Io *io, gint64 result)
{
    g_assert(result <= 0);

    if (G_UNLIKELY(result < 0) && loses_data(io, result))
        backstore_set_failed(io->store);

    end_part(io, result);
}

void
backstore_io_fail(Io *io, gint64 result)
{
    g_assert(result < 0);

    if (io->kind == IO_FLUSH)
        backstore_set_failed(io->store);

    end_part(io, result);
}

/* Blocks that are partly data are data; a file system without the question has data only */
gint64
backstore_find_extent(int fd, Io *io)
{
    guint32 block_size = io->store->info.block_size;
    guint64 end = io->offset + io->length;
    off_t data = lseek(fd, (off_t)io->offset, SEEK_DATA);
    off_t hole;

    io->is_mapped = FALSE;
    io->n_mapped = io->length;
    if (data < 0 && errno == ENXIO)
        return 0;

    if (data >= 0 && round_down((guint64)data, block_size) > io->offset) {
        io->n_mapped = MIN(round_down((guint64)data, block_size), end) - io->offset;
        return 0;
    }

    io->is_mapped = TRUE;
    hole = data >= 0 ? lseek(fd, data, SEEK_HOLE) : -1;
    /* Who punches a hole there now may make it one of no length: a block it was */
    if (hole >= 0)
        io->n_mapped =
            CLAMP(round_up((guint64)hole, block_size), io->offset + block_size, end) - io->offset;
    return 0;
}

static void
on_offload_done(OffloadJob *job)
{
    Io *io = io_of_job(job);

    backstore_io_done(io, io->result);
}

void
backstore_io_offload(Io *io, OffloadQueue *queue, void (*run)(OffloadJob *job))
{
    io->job.run = run;
    io->job.done = on_offload_done;
    io->job.home = &io->worker->inbox;
    offload_submit(queue, &io->job);
}

guint32
backstore_copy_align(const Backstore *source, const Backstore *destination)
{
    if (source->class != destination->class || !(source->native & NATIVE_COPY) ||
        !(destination->native & NATIVE_COPY))
        return 0;

    return MAX(MAX(source->info.copy_align, destination->info.copy_align),
               MAX(source->info.block_size, destination->info.offset_align));
}

gboolean
backstore_copy_is_refused(gint64 result)
{
    return result < 0 && result != -ENOSPC && result != -EDQUOT;
}

static void
run_measure(OffloadJob *job)
{
    Io *io = io_of_job(job);

    io->n_mapped = io->store->class->allocated_size(io->store);
    io->result = 0;
}

void
backstore_measure(Backstore *store, Worker *worker, Io *io)
{
    g_assert(worker->index < store->n_workers);

    io->kind = IO_MAP;
    io->flags = (IoFlags)0;
    io->store = store;
    io->worker = worker;
    io->emulation.is_active = FALSE;
    if (store->class->allocated_size == NULL)
        finish(io, -EOPNOTSUPP);
    else
        backstore_io_offload(io, store->queue, run_measure);
}

void
backstore_set_write_through(Backstore *store, const Worker *worker, gboolean write_through)
{
    g_assert(worker->index < store->n_workers);
    store->lanes[worker->index].is_write_through = write_through;
}

void
backstore_take_size(Backstore *store, const Worker *worker, guint64 size)
{
    BackstoreLane *lane = &store->lanes[worker->index];

    g_assert(worker->index < store->n_workers);
    lane->size = MAX(lane->size, size);
}

void
backstore_get_statistics(const Backstore *store, guint worker_index,
                         BackstoreStatistics *ret_statistics)
{
    g_assert(worker_index < store->n_workers);
    *ret_statistics = store->lanes[worker_index].statistics;
}
