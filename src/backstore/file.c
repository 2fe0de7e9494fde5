/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * A regular file as a disk
 *
 * backstore/disk.c does the I/O; here the file is found or made, locked, and
 * its cache mode settled. O_DIRECT is set on the open descriptor (F_SETFL), so
 * that a descriptor that was passed to us goes the same way as a path.
 *
 * Unmapping punches holes and zeroing asks for zeroed extents, both to the
 * byte: the file system writes the zeros of partial blocks itself. Holes read
 * as zeros, so LBPRZ is a promise that always holds.
 *
 * A file that is made has no name before it has its size and its blocks
 * (O_TMPFILE), so a crash meanwhile leaves nothing behind. Where the file system
 * cannot do that it has its name from the beginning.
 *
 * Copying shares extents where the file system can (FICLONERANGE): it writes
 * back what is dirty in the source and drops what the page cache has of the
 * destination, so that both ways to a file see the same. Where it cannot, the
 * kernel copies from one page cache to the other (copy_file_range()). That is
 * not for files without a cache: it would go in small pieces one after the
 * other, and READ and WRITE commands are faster.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "backstore/disk.h"
#include "backstore/medium.h"
#include "util/bytes.h"
#include "util/error.h"
#include "util/fd.h"

#define PHYSICAL_BLOCK_SIZE_MAX 4096 /* mkfs programs trip over more */
#define GRANULARITY_MAX         (1 << 20)

#define CREATE_MODE 0600

typedef struct {
    Disk disk;
    gboolean preallocate; /* grow with blocks, as it was created */
    gboolean has_name;    /* it is made, and there is something under its path */
    gboolean is_whole;    /* the store has all of the file, not the size that it was given */
} File;

static inline File *
file_of(Backstore *store)
{
    return (File *)(void *)store;
}

static gint64
file_allocate(int fd, int mode, guint64 offset, guint64 length)
{
    int r;

    do {
        r = fallocate(fd, mode, (off_t)offset, (off_t)length);
    } while (r < 0 && errno == EINTR);

    return r < 0 ? -errno : 0;
}

static gint64
file_unmap(Disk *disk, guint64 offset, guint64 length)
{
    return file_allocate(disk->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
}

static gint64
file_zero(Disk *disk, guint64 offset, guint64 length, gboolean may_unmap)
{
    gint64 r = may_unmap ? file_unmap(disk, offset, length) : -EOPNOTSUPP;

    if (r == -EOPNOTSUPP)
        r = file_allocate(disk->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, length);
    if (r == -EOPNOTSUPP)
        r = disk_write_zeros(disk, offset, length);
    return r;
}

/* Data that is really copied, at most so much in one call */
#define COPY_MAX ((gsize)1 << 30)

static gint64
file_copy_cached(const Disk *disk, const Disk *source, guint64 source_offset, guint64 offset,
                 guint64 length)
{
    off_t from = (off_t)source_offset, to = (off_t)offset;

    while (length > 0) {
        gssize n = copy_file_range(source->fd, &from, disk->fd, &to, MIN(length, COPY_MAX), 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO; /* the source has become shorter */
        length -= (guint64)n;
    }

    return 0;
}

static gint64
file_copy(Disk *disk, const Disk *source, guint64 source_offset, guint64 offset, guint64 length)
{
    struct file_clone_range range = {
        .src_fd = source->fd,
        .src_offset = source_offset,
        .src_length = length,
        .dest_offset = offset,
    };
    int r;

    do {
        r = ioctl(disk->fd, FICLONERANGE, &range);
    } while (r < 0 && errno == EINTR);

    if (r == 0)
        return 0;
    if (disk->is_direct || source->is_direct)
        return -errno;
    return file_copy_cached(disk, source, source_offset, offset, length);
}

static gboolean
file_set_error(const Disk *disk, const char *what, GError **ret_error)
{
    int saved_errno = errno;

    error_set_errno(ret_error, error_code_from_storage_errno(saved_errno), saved_errno,
                    "Failed to %s the file of backstore “%s”", what, disk->store.name);
    return FALSE;
}

static gboolean
file_check_type(const char *name, const struct stat *st, GError **ret_error)
{
    if (S_ISREG(st->st_mode))
        return TRUE;

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                S_ISBLK(st->st_mode) ? "“%s” is a block device: use the type “block”"
                                     : "“%s” is not a regular file",
                name);
    return FALSE;
}

static gboolean
file_create(File *file, const char *path)
{
    g_autofree char *directory = g_path_get_dirname(path);
    int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_RDWR;
    struct stat st;

    /* Before its blocks are allocated, which may take its time */
    if (lstat(path, &st) == 0) {
        errno = EEXIST;
        return FALSE;
    }

    file->disk.fd = open(directory, flags | O_TMPFILE, CREATE_MODE);
    if (file->disk.fd >= 0)
        return TRUE;

    file->disk.fd = open(path, flags | O_CREAT | O_EXCL, CREATE_MODE);
    file->has_name = file->disk.fd >= 0;
    return file->has_name;
}

static gboolean
file_give_name(File *file, const char *path, GError **ret_error)
{
    char number[32];

    if (file->has_name)
        return TRUE;

    (void)g_snprintf(number, sizeof(number), "/proc/self/fd/%d", file->disk.fd);
    file->has_name = linkat(AT_FDCWD, number, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0;
    if (!file->has_name)
        medium_set_open_error(ret_error, errno, path, FALSE);
    return file->has_name;
}

/* Take over the descriptor's open file; the number in @config is closed when all went well */
static gboolean
file_open_fd(Disk *disk, const BackstoreConfig *config, GError **ret_error)
{
    int flags = fcntl(config->fd, F_GETFL);

    if (flags >= 0)
        disk->fd = fcntl(config->fd, F_DUPFD_CLOEXEC, 3);
    if (disk->fd < 0)
        return file_set_error(disk, "take", ret_error);

    if ((flags & O_ACCMODE) == O_WRONLY || (!config->read_only && (flags & O_ACCMODE) != O_RDWR)) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_PERMISSION,
                    "The descriptor for backstore “%s” is not open for %s", config->name,
                    config->read_only ? "reading" : "reading and writing");
        return FALSE;
    }

    return TRUE;
}

static gboolean
file_open_path(Disk *disk, const BackstoreConfig *config, GError **ret_error)
{
    int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (config->read_only ? O_RDONLY : O_RDWR);
    struct stat st;

    /* Opening a device or a pipe can have effects: look before */
    if (!config->create && stat(config->path, &st) == 0 &&
        !file_check_type(config->path, &st, ret_error))
        return FALSE;

    if (config->create ? file_create(file_of(&disk->store), config->path)
                       : (disk->fd = open(config->path, flags)) >= 0)
        return TRUE;

    medium_set_open_error(ret_error, errno, config->path, FALSE);
    return FALSE;
}

static gboolean
sync_directory(const char *path)
{
    g_autofree char *directory = g_path_get_dirname(path);
    autofd int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    /* A directory may be searchable and writable but not readable: then nothing can sync it */
    return fd < 0 ? errno == EACCES : fsync(fd) == 0 || errno == EINVAL;
}

static gboolean
file_fill(Disk *disk, const BackstoreConfig *config, GError **ret_error)
{
    gint64 r = 0;

    if (ftruncate(disk->fd, (off_t)config->size) < 0)
        return file_set_error(disk, "set the size of", ret_error);

    if (config->preallocate)
        r = file_allocate(disk->fd, 0, 0, config->size);
    if (r < 0) {
        errno = (int)-r;
        return file_set_error(disk, "allocate blocks for", ret_error);
    }

    if (fsync(disk->fd) < 0)
        return file_set_error(disk, "store", ret_error);

    return file_give_name(file_of(&disk->store), config->path, ret_error) &&
           (sync_directory(config->path) || file_set_error(disk, "store", ret_error));
}

static gboolean
file_settle_size(Disk *disk, const BackstoreConfig *config, guint64 file_size, GError **ret_error)
{
    guint64 size =
        config->size != 0 ? config->size : round_down(file_size, disk->store.info.block_size);

    if (size == 0 || size > file_size) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR,
                    "The file of backstore “%s” has %" G_GUINT64_FORMAT " bytes, less than %s",
                    config->name, file_size, size == 0 ? "a block" : "its size");
        return FALSE;
    }

    disk->store.info.size = size;
    return TRUE;
}

static gboolean
file_set_direct(const Disk *disk, gboolean on)
{
    int flags = fcntl(disk->fd, F_GETFL) & ~(O_DIRECT | O_NONBLOCK);

    return fcntl(disk->fd, F_SETFL, flags | (on ? O_DIRECT : 0)) == 0;
}

static gboolean
file_try_direct(Disk *disk)
{
    BackstoreInfo *info = &disk->store.info;

    if (file_set_direct(disk, TRUE) &&
        medium_find_alignment(disk->fd, &info->memory_align, &info->offset_align))
        return TRUE;

    (void)file_set_direct(disk, FALSE);
    return FALSE;
}

/*
 * The default on tmpfs is the page cache, where the data is anyway; whether
 * tmpfs takes O_DIRECT depends on the kernel.
 */
static gboolean
file_settle_cache(Disk *disk, const BackstoreConfig *config, GError **ret_error)
{
    BackstoreInfo *info = &disk->store.info;
    struct statfs fs;
    gboolean is_tmpfs;

    if (fstatfs(disk->fd, &fs) < 0)
        return file_set_error(disk, "learn the file system of", ret_error);

    is_tmpfs = fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC;
    if (config->cache == CACHE_NONE || (config->cache == CACHE_DEFAULT && !is_tmpfs))
        disk->is_direct = file_try_direct(disk);
    else if (!file_set_direct(disk, FALSE))
        return file_set_error(disk, "set the cache mode of", ret_error);

    if (config->cache == CACHE_NONE && !disk->is_direct) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR,
                    "The file system of backstore “%s” cannot do without a cache (O_DIRECT): use "
                    "the cache mode “writeback” or “writethrough”",
                    config->name);
        return FALSE;
    }

    info->cache = config->cache != CACHE_DEFAULT ? config->cache
                  : disk->is_direct              ? CACHE_NONE
                                                 : CACHE_WRITEBACK;
    disk->is_memory = is_tmpfs && !disk->is_direct;
    info->write_cache = info->cache != CACHE_WRITETHROUGH;
    return TRUE;
}

/*
 * Whether the file system punches holes. Behind the end of the file there is
 * nothing to lose, and the answer is the same. A file as large as the file
 * system allows has nothing behind its end; then a hole that is there can be
 * punched once more.
 */
static gboolean
file_can_punch(const Disk *disk, guint64 size, guint64 block)
{
    int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    gint64 r = file_allocate(disk->fd, mode, round_up(size, block), block);
    off_t hole, data;

    if (r != -EFBIG)
        return r == 0;

    hole = lseek(disk->fd, 0, SEEK_HOLE);
    if (hole < 0)
        return FALSE;
    data = lseek(disk->fd, hole, SEEK_DATA);
    if (data < 0)
        data = (off_t)size; /* no data behind the hole */
    hole = (off_t)round_up((guint64)hole, block);

    return hole + (off_t)block <= data && file_allocate(disk->fd, mode, (guint64)hole, block) == 0;
}

static void
file_learn(Disk *disk, const struct stat *st)
{
    BackstoreInfo *info = &disk->store.info;
    guint64 block = is_power_of_two((guint64)st->st_blksize) ? (guint64)st->st_blksize : 4096;
    guint64 rotational = 0;

    if (info->physical_block_size == 0)
        info->physical_block_size = (guint32)MIN(block, PHYSICAL_BLOCK_SIZE_MAX);

    info->can_unmap = !info->read_only && file_can_punch(disk, (guint64)st->st_size, block);
    info->unmap_zeroes = info->can_unmap;
    info->unmap_granularity = (guint32)MIN(block, GRANULARITY_MAX);
    info->copy_align = (guint32)MIN(block, GRANULARITY_MAX);
    info->rotational =
        medium_read_queue_number(st->st_dev, "rotational", &rotational) && rotational != 0;
}

static gboolean
file_set_up(Disk *disk, const BackstoreConfig *config, GError **ret_error)
{
    struct stat st;

    if (fstat(disk->fd, &st) < 0)
        return file_set_error(disk, "examine", ret_error);

    if (!file_check_type(config->name, &st, ret_error) ||
        !medium_lock(disk->fd, config->read_only,
                     config->path != NULL ? config->path : config->name, ret_error))
        return FALSE;

    if (config->create && !file_fill(disk, config, ret_error))
        return FALSE;
    if (fstat(disk->fd, &st) < 0)
        return file_set_error(disk, "examine", ret_error);

    if (!file_settle_size(disk, config, (guint64)st.st_size, ret_error) ||
        !file_settle_cache(disk, config, ret_error) || !disk_open_sync(disk, ret_error))
        return FALSE;

    file_learn(disk, &st);
    return TRUE;
}

static gboolean
file_open(Backstore *store, const BackstoreConfig *config, GError **ret_error)
{
    Disk *disk = &file_of(store)->disk;

    disk_init(disk);
    disk->zero = file_zero;
    disk->unmap = file_unmap;
    disk->copy = file_copy;
    file_of(store)->preallocate = config->preallocate;
    file_of(store)->is_whole = config->size == 0;

    if (!(config->fd >= 0 ? file_open_fd(disk, config, ret_error)
                          : file_open_path(disk, config, ret_error)))
        return FALSE;

    if (!file_set_up(disk, config, ret_error)) {
        if (file_of(store)->has_name)
            (void)unlink(config->path);
        return FALSE;
    }

    if (config->fd >= 0)
        (void)close(config->fd);
    store->native = NATIVE_FUA | NATIVE_ZERO | (store->info.can_unmap ? NATIVE_UNMAP : 0) |
                    NATIVE_MAP | NATIVE_COPY | (disk->is_direct ? 0 : NATIVE_PREFETCH);
    return TRUE;
}

static void
file_close(Backstore *store)
{
    disk_close(&file_of(store)->disk);
}

/* What the file has behind the store, but for a rest that makes no block, is nobody's to cut */
static gboolean
must_set_length(const File *file, guint64 size, guint64 file_size)
{
    const BackstoreInfo *info = &file->disk.store.info;

    if (info->read_only || size >= file_size)
        return !info->read_only && size > file_size;
    return size < info->size && (file->is_whole || file_size < info->size + info->offset_align);
}

/* A size of 0 takes what the file has now, and changes nothing of it */
static gboolean
file_resize(Backstore *store, guint64 size, GError **ret_error)
{
    File *file = file_of(store);
    Disk *disk = &file->disk;
    struct stat st;
    guint64 file_size;
    gboolean sets_length;
    gint64 r = 0;

    if (fstat(disk->fd, &st) < 0)
        return file_set_error(disk, "examine", ret_error);

    file_size = (guint64)st.st_size;
    sets_length = size != 0 && must_set_length(file, size, file_size);
    if (size == 0) {
        size = round_down(file_size, store->info.block_size);
        file->is_whole = TRUE;
    }
    if (size == 0) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR,
                    "The file of backstore “%s” is empty", store->name);
        return FALSE;
    }

    if (sets_length && ftruncate(disk->fd, (off_t)size) < 0)
        return file_set_error(disk, "resize", ret_error);
    if (file->preallocate && size > file_size)
        r = file_allocate(disk->fd, 0, file_size, size - file_size);
    if (r < 0) {
        (void)ftruncate(disk->fd, (off_t)file_size);
        errno = (int)-r;
        return file_set_error(disk, "allocate blocks for", ret_error);
    }
    if (!store->info.read_only && fsync(disk->sync_fd) < 0)
        return file_set_error(disk, "store", ret_error);

    store->info.size = size;
    return TRUE;
}

static guint64
file_allocated_size(Backstore *store)
{
    struct stat st;

    return fstat(file_of(store)->disk.fd, &st) == 0 ? (guint64)st.st_blocks * 512 : 0;
}

const BackstoreClass file_class = {
    .type = "file",
    .instance_size = sizeof(File),
    .takes_path = TRUE,
    .takes_fd = TRUE,
    .takes_size_zero = TRUE,
    .open = file_open,
    .close = file_close,
    .submit = disk_submit,
    .resize = file_resize,
    .allocated_size = file_allocated_size,
};
