/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * I/O on a descriptor
 *
 * The worker must never sleep, and the kernel may make it sleep in any call on
 * a file. So each transfer first tries a way that cannot:
 *
 *   O_DIRECT    libaio with RWF_NOWAIT
 *   page cache  preadv2() and pwritev2() with RWF_NOWAIT, at once on the worker
 *   tmpfs       pread() and pwrite() at once: it refuses NOWAIT and sleeps for
 *               swap only
 *
 * and what that way refuses (EAGAIN, short results, everything without a
 * NOWAIT form) is finished by a blocking loop on the offload pool, from where
 * it stopped. Where the kernel answers that it has no NOWAIT (EOPNOTSUPP; some
 * file systems say EINVAL), the flag is left away from then on: a fact that
 * each worker learns for itself, so that nothing is shared.
 *
 * Buffered writes that must be offloaded go in batches, one hop to the pool
 * for what a worker collected in a turn, since copying into the page cache
 * costs less than the hop.
 */

#include "backstore/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "util/bytes.h"
#include "util/error.h"
#include "util/fd.h"

#define BATCH_MAX 16 /* writes a hop: a longer batch is cut, so that more threads share it */

/* Of the stack, for reads that are not aligned as O_DIRECT needs it */
#define BOUNCE_SIZE  ((gsize)64 << 10)
#define BOUNCE_ALIGN 4096

static inline Disk *
disk_of(Backstore *store)
{
    return (Disk *)(void *)store;
}

static void
end(Io *io, gint64 result)
{
    backstore_io_done(io, result);
}

static gboolean
is_aligned(const Disk *disk, const Io *io)
{
    return ((io->offset | io->length | io->progress) & (disk->store.info.offset_align - 1)) == 0;
}

/*
 * Blocking transfers, on the pool
 */

static int
write_flags(const Disk *disk, const Io *io)
{
    if (io->kind != IO_WRITE)
        return 0;

    return io->flags & IO_FUA || disk->store.info.cache == CACHE_WRITETHROUGH ? RWF_DSYNC : 0;
}

/* One call for what is left of @io. Bytes, or -errno */
static gssize
transfer_once(const Disk *disk, const Io *io, int flags)
{
    struct iovec iov = { (char *)io->buffer + io->progress, io->length - io->progress };
    off_t offset = (off_t)(io->offset + io->progress);
    gssize n;

    do {
        n = io->kind == IO_READ ? preadv2(disk->fd, &iov, 1, offset, flags)
                                : pwritev2(disk->fd, &iov, 1, offset, flags);
    } while (n < 0 && errno == EINTR);

    return n < 0 ? -errno : n;
}

static gint64
transfer(const Disk *disk, Io *io)
{
    int flags = write_flags(disk, io);

    while (io->progress < io->length) {
        gssize n = transfer_once(disk, io, flags);

        if (n < 0)
            return n;
        if (n == 0)
            return -EIO; /* the file has become shorter, or the device takes no more */
        io->progress += (guint64)n;
    }

    return 0;
}

/* O_DIRECT, but logical blocks are smaller than what it can read: read more and copy */
static gint64
read_unaligned(const Disk *disk, Io *io)
{
    char bounce[BOUNCE_SIZE] __attribute__((aligned(BOUNCE_ALIGN)));
    guint32 align = disk->store.info.offset_align;

    while (io->progress < io->length) {
        guint64 offset = io->offset + io->progress;
        guint64 start = round_down(offset, align);
        guint64 left = io->length - io->progress;
        gsize size = MIN(round_up(offset + left, align) - start, BOUNCE_SIZE);
        gssize n = pread(disk->fd, bounce, size, (off_t)start);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if ((guint64)n <= offset - start)
            return -EIO;

        n = MIN((gssize)left, n - (gssize)(offset - start));
        memcpy((char *)io->buffer + io->progress, bounce + (offset - start), (gsize)n);
        io->progress += (guint64)n;
    }

    return 0;
}

static void
run_transfer(OffloadJob *job)
{
    Io *io = io_of_job(job);
    const Disk *disk = disk_of(io->store);

    io->result = disk->is_direct && !is_aligned(disk, io) && io->kind == IO_READ
                     ? read_unaligned(disk, io)
                     : transfer(disk, io);
}

static void
run_flush(OffloadJob *job)
{
    Io *io = io_of_job(job);
    const Disk *disk = disk_of(io->store);

    /* The flush before this one may have failed after this one was submitted */
    if (backstore_is_failed(io->store))
        io->result = -EIO;
    else if (fdatasync(disk->sync_fd) == 0)
        io->result = 0;
    else
        io->result = -errno;

    /* Here and not on the worker: the next flush starts as soon as this function returns */
    if (io->result < 0)
        backstore_set_failed(io->store);
}

static void
run_zero(OffloadJob *job)
{
    Io *io = io_of_job(job);
    Disk *disk = disk_of(io->store);

    io->result = disk->zero(disk, io->offset, io->length, (io->flags & IO_MAY_UNMAP) != 0);
}

static void
run_map(OffloadJob *job)
{
    Io *io = io_of_job(job);

    io->result = backstore_find_extent(disk_of(io->store)->fd, io);
}

/* Has the kernel read ahead; it answers when the requests are queued */
static void
run_prefetch(OffloadJob *job)
{
    Io *io = io_of_job(job);

    io->result = -posix_fadvise(disk_of(io->store)->fd, (off_t)io->offset, (off_t)io->length,
                                POSIX_FADV_WILLNEED);
}

static void
run_copy(OffloadJob *job)
{
    Io *io = io_of_job(job);
    Disk *disk = disk_of(io->store);

    io->result = disk->copy(disk, disk_of(io->source), io->source_offset, io->offset, io->length);
}

static void
run_unmap(OffloadJob *job)
{
    Io *io = io_of_job(job);
    Disk *disk = disk_of(io->store);

    io->result = disk->unmap(disk, io->offset, io->length);
}

gint64
disk_write_zeros(Disk *disk, guint64 offset, guint64 length)
{
    while (length > 0) {
        gssize n = pwrite(disk->fd, disk->store.zeros, MIN(length, BACKSTORE_ZEROS), (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO;
        offset += (guint64)n;
        length -= (guint64)n;
    }

    return 0;
}

static void
offload_transfer(Disk *disk, Io *io)
{
    backstore_io_offload(io, disk->store.queue, run_transfer);
}

/*
 * O_DIRECT through libaio
 */

static gboolean *
nowait_refused(const Io *io)
{
    BackstoreLane *lane = io_lane(io);

    return io->kind == IO_READ ? &lane->is_nowait_read_refused : &lane->is_nowait_write_refused;
}

static void
on_aio_done(AioRequest *request, gint64 result)
{
    Io *io = list_entry(request, Io, aio);
    Disk *disk = disk_of(io->store);

    if (G_LIKELY(result == (gint64)io->length)) {
        end(io, 0);
    } else if (result >= 0) {
        io->progress = (guint64)result;
        offload_transfer(disk, io);
    } else if (!(request->iocb.aio_rw_flags & RWF_NOWAIT)) {
        end(io, result);
    } else if (result == -EAGAIN) {
        offload_transfer(disk, io);
    } else if (result == -EOPNOTSUPP || result == -EINVAL) {
        *nowait_refused(io) = TRUE;
        request->iocb.aio_rw_flags &= ~RWF_NOWAIT;
        aio_submit(io->worker->aio, request);
    } else {
        end(io, result);
    }
}

static void
direct_submit(Disk *disk, Io *io)
{
    Aio *aio = io->worker->aio;
    struct iocb *iocb = &io->aio.iocb;

    if (G_UNLIKELY(!is_aligned(disk, io)) || !aio_is_usable(aio)) {
        offload_transfer(disk, io);
        return;
    }

    if (io->kind == IO_READ)
        io_prep_pread(iocb, disk->fd, io->buffer, io->length, (long long)io->offset);
    else
        io_prep_pwrite(iocb, disk->fd, io->buffer, io->length, (long long)io->offset);

    iocb->aio_rw_flags = write_flags(disk, io) | (*nowait_refused(io) ? 0 : RWF_NOWAIT);
    io->aio.done = on_aio_done;
    aio_submit(aio, &io->aio);
}

/*
 * The page cache
 */

/* What a batch is made of: the first write carries the others to the pool and back */
static void
run_batch(OffloadJob *job)
{
    Io *io = io_of_job(job);
    const Disk *disk = disk_of(io->store);

    io->result = transfer(disk, io);
    list_foreach(link, &io->batch) {
        Io *other = list_entry(link, Io, link);

        other->result = transfer(disk, other);
    }
}

static void
on_batch_done(OffloadJob *job)
{
    Io *io = io_of_job(job);
    ListLink *link;
    List others;

    list_init(&others);
    list_splice(&others, &io->batch);

    end(io, io->result);
    while ((link = list_pop(&others)) != NULL) {
        Io *other = list_entry(link, Io, link);

        end(other, other->result);
    }
}

static void
on_batch_end(Deferred *deferred)
{
    BackstoreLane *lane = list_entry(deferred, BackstoreLane, batch_end);
    ListLink *link;

    while ((link = list_pop(&lane->batch)) != NULL) {
        Io *io = list_entry(link, Io, link);

        list_init(&io->batch);
        for (guint n = 1; n < BATCH_MAX && (link = list_pop(&lane->batch)) != NULL; n++)
            list_append(&io->batch, link);

        io->job.run = run_batch;
        io->job.done = on_batch_done;
        io->job.home = &io->worker->inbox;
        offload_submit(io->store->queue, &io->job);
    }
}

static void
batch_add(Io *io)
{
    BackstoreLane *lane = io_lane(io);

    list_append(&lane->batch, &io->link);
    deferred_run(&lane->batch_end, &io->worker->loop);
}

/* TRUE when @io has ended; else the pool has to finish it */
static gboolean
try_at_once(const Disk *disk, Io *io, int flags)
{
    gssize n = transfer_once(disk, io, flags);

    if (G_LIKELY(n == (gssize)io->length)) {
        end(io, 0);
        return TRUE;
    }

    if (n >= 0) {
        io->progress = (guint64)n;
    } else if (flags & RWF_NOWAIT && (n == -EOPNOTSUPP || n == -EINVAL)) {
        *nowait_refused(io) = TRUE;
    } else if (n != -EAGAIN) {
        end(io, n);
        return TRUE;
    }

    return FALSE;
}

static void
buffered_submit(Disk *disk, Io *io)
{
    int sync = write_flags(disk, io);

    if (disk->is_memory) {
        end(io, transfer(disk, io));
        return;
    }

    /* With RWF_DSYNC the call waits for the disk, whatever RWF_NOWAIT says */
    if (sync == 0 && !*nowait_refused(io) && try_at_once(disk, io, RWF_NOWAIT))
        return;

    if (io->kind == IO_WRITE && sync == 0)
        batch_add(io);
    else
        offload_transfer(disk, io);
}

void
disk_submit(Backstore *store, Io *io)
{
    Disk *disk = disk_of(store);

    switch (io->kind) {
    case IO_READ:
    case IO_WRITE:
        if (disk->is_direct)
            direct_submit(disk, io);
        else
            buffered_submit(disk, io);
        break;
    case IO_FLUSH:
        if (disk->is_memory)
            end(io, 0);
        else
            backstore_io_offload(io, store->flush_queue, run_flush);
        break;
    case IO_UNMAP:
        backstore_io_offload(io, store->queue, run_unmap);
        break;
    case IO_ZERO:
        backstore_io_offload(io, store->queue, run_zero);
        break;
    case IO_MAP:
        backstore_io_offload(io, store->queue, run_map);
        break;
    case IO_PREFETCH:
        backstore_io_offload(io, store->queue, run_prefetch);
        break;
    case IO_COPY:
        backstore_io_offload(io, store->copy_queue, run_copy);
        break;
    }
}

/*
 * Opening and closing
 */

void
disk_init(Disk *disk)
{
    disk->fd = -1;
    disk->sync_fd = -1;
    for (guint i = 0; i < disk->store.n_workers; i++)
        deferred_init(&disk->store.lanes[i].batch_end, on_batch_end);
}

gboolean
disk_open_sync(Disk *disk, GError **ret_error)
{
    g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", disk->fd);
    int access = fcntl(disk->fd, F_GETFL) & O_ACCMODE;

    /* A descriptor that was passed to us may be of a file that we may not open */
    disk->sync_fd = open(link, access | O_CLOEXEC | O_NOCTTY);
    if (disk->sync_fd < 0)
        disk->sync_fd = fcntl(disk->fd, F_DUPFD_CLOEXEC, 3);
    if (disk->sync_fd < 0) {
        error_set_errno(ret_error, LUNPORT_ERROR_STORAGE_ERROR, errno,
                        "Failed to open “%s” for flushing", disk->store.name);
        return FALSE;
    }

    return TRUE;
}

void
disk_close(Disk *disk)
{
    if (disk->sync_fd >= 0 && !disk->store.info.read_only)
        (void)fdatasync(disk->sync_fd);

    fd_close(&disk->sync_fd);
    fd_close(&disk->fd);
}
