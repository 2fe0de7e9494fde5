/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Memory
 *
 * A memfd, so that the contents can outlive the process that hands it on, and
 * one shared mapping of it, so that a transfer is a memcpy(). The mapping is
 * far longer than the file: what lies behind the end of the file costs address
 * space only, and the store grows by ftruncate() alone, while workers use the
 * mapping. It is never moved.
 *
 * Reading a hole through a mapping would allocate it. To keep a sparse store
 * sparse, one byte per CHUNK remembers whether anything was ever written there;
 * a chunk without reads as zeros. The bytes only ever go from 0 to 1, set
 * before the data is copied. Workers set and read them by relaxed accesses
 * without order among themselves: who reads a block after its write was
 * acknowledged learned of that by a message or over a socket, and those order
 * more than is needed.
 *
 * Clearing goes back to the kernel by punching holes, on the pool where the
 * range is large. The store then reads zeros because the hole does.
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backstore/class.h"
#include "util/bytes.h"
#include "util/error.h"
#include "util/fd.h"

#define CHUNK       ((guint64)64 << 10)
#define RESERVE_MIN ((guint64)64 << 30)

/* Above this a range is cleared on the pool */
#define CLEAR_AT_ONCE ((guint64)256 << 10)

typedef struct {
    Backstore store;
    int fd;
    guint8 *memory;  /* MAP_FAILED while there is none */
    guint8 *written; /* a byte a chunk of the reserve */
    guint64 reserve; /* bytes that are mapped: the size can grow to this */
} Ram;

static inline Ram *
ram_of(Backstore *store)
{
    return (Ram *)(void *)store;
}

static inline gboolean
is_written(const Ram *ram, guint64 chunk)
{
    return __atomic_load_n(&ram->written[chunk], __ATOMIC_RELAXED) != 0;
}

static inline void
set_written(Ram *ram, guint64 chunk)
{
    if (!is_written(ram, chunk))
        __atomic_store_n(&ram->written[chunk], 1, __ATOMIC_RELAXED);
}

static void
ram_read(const Ram *ram, guint64 offset, guint64 length, guint8 *buffer)
{
    while (length > 0) {
        guint64 n = MIN(length, CHUNK - offset % CHUNK);

        if (is_written(ram, offset / CHUNK))
            memcpy(buffer, ram->memory + offset, n);
        else
            memset(buffer, 0, n);
        buffer += n;
        offset += n;
        length -= n;
    }
}

static void
set_all_written(Ram *ram, guint64 offset, guint64 length)
{
    for (guint64 chunk = offset / CHUNK; chunk <= (offset + length - 1) / CHUNK; chunk++)
        set_written(ram, chunk);
}

static void
ram_write(Ram *ram, guint64 offset, guint64 length, const void *buffer)
{
    set_all_written(ram, offset, length);
    memcpy(ram->memory + offset, buffer, length);
    /* Again: another worker may just be unmapping, and what was written must not come back later */
    set_all_written(ram, offset, length);
}

/* Zeros, without giving memory back; chunks never written are zeros already */
static void
ram_clear(Ram *ram, guint64 offset, guint64 length)
{
    while (length > 0) {
        guint64 n = MIN(length, CHUNK - offset % CHUNK);

        if (is_written(ram, offset / CHUNK))
            memset(ram->memory + offset, 0, n);
        offset += n;
        length -= n;
    }
}

/* A read of a hole that is mapped would fill it: whole chunks are not looked into any more */
static void
forget_written(Ram *ram, guint64 offset, guint64 length)
{
    guint64 end = (offset + length) / CHUNK;

    for (guint64 chunk = (offset + CHUNK - 1) / CHUNK; chunk < end; chunk++)
        __atomic_store_n(&ram->written[chunk], 0, __ATOMIC_RELAXED);
}

static gint64
ram_punch(Ram *ram, guint64 offset, guint64 length)
{
    int r;

    forget_written(ram, offset, length);

    do {
        r = fallocate(ram->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                      (off_t)length);
    } while (r < 0 && errno == EINTR);

    if (r < 0) {
        set_all_written(ram, offset, length);
        ram_clear(ram, offset, length);
    }
    return 0;
}

static gint64
ram_zero(Ram *ram, const Io *io)
{
    if (io->kind == IO_UNMAP || io->flags & IO_MAY_UNMAP)
        return ram_punch(ram, io->offset, io->length);

    ram_clear(ram, io->offset, io->length);
    return 0;
}

static void
run_zero(OffloadJob *job)
{
    Io *io = io_of_job(job);

    io->result = ram_zero(ram_of(io->store), io);
}

static void
run_map(OffloadJob *job)
{
    Io *io = io_of_job(job);

    io->result = backstore_find_extent(ram_of(io->store)->fd, io);
}

static void
ram_submit(Backstore *store, Io *io)
{
    Ram *ram = ram_of(store);

    switch (io->kind) {
    case IO_READ:
        ram_read(ram, io->offset, io->length, io->buffer);
        break;
    case IO_WRITE:
        ram_write(ram, io->offset, io->length, io->buffer);
        break;
    case IO_UNMAP:
    case IO_ZERO:
        if (io->length > CLEAR_AT_ONCE) {
            backstore_io_offload(io, store->queue, run_zero);
            return;
        }
        (void)ram_zero(ram, io);
        break;
    case IO_MAP:
        backstore_io_offload(io, store->queue, run_map);
        return;
    case IO_COPY:
        g_assert_not_reached(); /* not native */
    case IO_FLUSH:
    case IO_PREFETCH:
        break;
    }

    backstore_io_done(io, 0);
}

/* Of a memfd that was handed to us: which chunks have data */
static void
ram_find_written(Ram *ram)
{
    off_t data = 0;
    off_t hole;

    while ((data = lseek(ram->fd, data, SEEK_DATA)) >= 0) {
        hole = lseek(ram->fd, data, SEEK_HOLE);
        if (hole < 0)
            break;
        for (guint64 chunk = (guint64)data / CHUNK; chunk <= (guint64)(hole - 1) / CHUNK; chunk++)
            set_written(ram, chunk);
        data = hole;
    }
}

static gboolean
ram_map(Ram *ram, GError **ret_error)
{
    guint64 size = ram->store.info.size;
    guint64 n_chunks;

    ram->reserve = round_up(MAX(size, RESERVE_MIN), CHUNK);
    ram->memory =
        mmap(NULL, ram->reserve, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, ram->fd, 0);
    if (ram->memory == MAP_FAILED) {
        /* A limit on address space, perhaps: do without room to grow */
        ram->reserve = round_up(size, CHUNK);
        ram->memory = mmap(NULL, ram->reserve, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                           ram->fd, 0);
    }

    n_chunks = ram->reserve / CHUNK;
    if (ram->memory != MAP_FAILED)
        ram->written = mmap(NULL, n_chunks, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (ram->memory == MAP_FAILED || ram->written == MAP_FAILED) {
        error_set_errno(ret_error, LUNPORT_ERROR_STORAGE_ERROR, errno,
                        "Failed to map %" G_GUINT64_FORMAT " bytes of memory for backstore “%s”",
                        size, ram->store.name);
        return FALSE;
    }

    (void)madvise(ram->memory, ram->reserve, MADV_DONTDUMP);
    return TRUE;
}

/* Open or make the memfd and settle the size; the descriptor of @config is only borrowed here */
static gboolean
ram_open_memory(Ram *ram, const BackstoreConfig *config, GError **ret_error)
{
    BackstoreInfo *info = &ram->store.info;
    struct stat st;

    ram->fd = config->fd >= 0 ? fcntl(config->fd, F_DUPFD_CLOEXEC, 3)
                              : memfd_create(config->name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (ram->fd < 0 || fstat(ram->fd, &st) < 0) {
        error_set_errno(ret_error, LUNPORT_ERROR_STORAGE_ERROR, errno,
                        "Failed to get memory for backstore “%s”", config->name);
        return FALSE;
    }

    info->size =
        config->size != 0 ? config->size : round_down((guint64)st.st_size, info->block_size);
    if (info->size == 0) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "The descriptor for backstore “%s” is empty", config->name);
        return FALSE;
    }

    if ((guint64)st.st_size < info->size && ftruncate(ram->fd, (off_t)info->size) < 0) {
        error_set_errno(ret_error, LUNPORT_ERROR_STORAGE_ERROR, errno,
                        "Failed to make backstore “%s” %" G_GUINT64_FORMAT " bytes long",
                        config->name, info->size);
        return FALSE;
    }

    return TRUE;
}

static gboolean
ram_open(Backstore *store, const BackstoreConfig *config, GError **ret_error)
{
    Ram *ram = ram_of(store);
    BackstoreInfo *info = &store->info;

    ram->fd = -1;
    ram->memory = MAP_FAILED;
    ram->written = MAP_FAILED;

    if (!ram_open_memory(ram, config, ret_error) || !ram_map(ram, ret_error))
        return FALSE;

    if (config->fd >= 0) {
        ram_find_written(ram);
        (void)close(config->fd);
    }

    store->native =
        NATIVE_FUA | NATIVE_ZERO | NATIVE_ZERO_FUA | NATIVE_UNMAP | NATIVE_MAP | NATIVE_PREFETCH;
    info->cache = CACHE_NONE;
    info->can_unmap = TRUE;
    info->unmap_zeroes = TRUE;
    info->unmap_granularity = (guint32)sysconf(_SC_PAGESIZE);
    return TRUE;
}

static void
ram_close(Backstore *store)
{
    Ram *ram = ram_of(store);

    if (ram->written != MAP_FAILED)
        (void)munmap(ram->written, ram->reserve / CHUNK);
    if (ram->memory != MAP_FAILED)
        (void)munmap(ram->memory, ram->reserve);
    fd_close(&ram->fd);
}

/* Blocks that go are freed: they are zeros when they come back */
static gboolean
ram_resize(Backstore *store, guint64 size, GError **ret_error)
{
    Ram *ram = ram_of(store);

    if (size > ram->reserve) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "Backstore “%s” can have at most %" G_GUINT64_FORMAT " bytes without being "
                    "opened anew, not %" G_GUINT64_FORMAT,
                    store->name, ram->reserve, size);
        return FALSE;
    }

    if (ftruncate(ram->fd, (off_t)size) < 0) {
        error_set_errno(ret_error, LUNPORT_ERROR_STORAGE_ERROR, errno,
                        "Failed to resize backstore “%s”", store->name);
        return FALSE;
    }

    store->info.size = size;
    return TRUE;
}

static guint64
ram_allocated_size(Backstore *store)
{
    struct stat st;

    return fstat(ram_of(store)->fd, &st) == 0 ? (guint64)st.st_blocks * 512 : 0;
}

const BackstoreClass ram_class = {
    .type = "ram",
    .instance_size = sizeof(Ram),
    .takes_fd = TRUE,
    .open = ram_open,
    .close = ram_close,
    .submit = ram_submit,
    .resize = ram_resize,
    .allocated_size = ram_allocated_size,
};
