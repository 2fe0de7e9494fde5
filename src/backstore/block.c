/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * A block device as a disk
 *
 * backstore/disk.c does the I/O. The device is opened with O_EXCL, which
 * refuses what is mounted or part of a volume. Its size, sectors and limits are
 * asked from the kernel; what /sys does not show is taken to be absent.
 *
 * A discard is only a hint to the device and says nothing of what is read
 * afterwards, so unmapped blocks are not promised to be zeros. Zeroing that
 * may unmap asks the device for zeros that also free (fallocate() on the
 * device, which never writes them one by one), else BLKZEROOUT.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backstore/disk.h"
#include "backstore/medium.h"
#include "util/bytes.h"
#include "util/error.h"
#include "util/fd.h"

#define BLOCK_SIZE_MAX 4096

static inline Disk *
block_of(Backstore *store)
{
    return (Disk *)(void *)store;
}

static gint64
block_control(int fd, unsigned long request, guint64 offset, guint64 length)
{
    guint64 range[2] = { offset, length };
    int r;

    do {
        r = ioctl(fd, request, range);
    } while (r < 0 && errno == EINTR);

    return r < 0 ? -errno : 0;
}

/* What is left of a range when its ends are moved inwards to whole sectors */
static gint64
block_unmap(Disk *disk, guint64 offset, guint64 length)
{
    guint32 align = disk->store.info.offset_align;
    guint64 start = round_up(offset, align);
    guint64 end = round_down(offset + length, align);
    gint64 r = start < end ? block_control(disk->fd, BLKDISCARD, start, end - start) : 0;

    return r == -EOPNOTSUPP ? 0 : r;
}

static gint64
block_zero(Disk *disk, guint64 offset, guint64 length, gboolean may_unmap)
{
    gint64 r = -EOPNOTSUPP;

    if (may_unmap && fallocate(disk->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                               (off_t)length) == 0)
        return 0;

    r = block_control(disk->fd, BLKZEROOUT, offset, length);
    if (r == -EOPNOTSUPP || r == -ENOTTY)
        r = disk_write_zeros(disk, offset, length);
    return r;
}

static gboolean
block_set_error(const Disk *disk, const char *what, GError **ret_error)
{
    int saved_errno = errno;

    error_set_errno(ret_error, error_code_from_storage_errno(saved_errno), saved_errno,
                    "Failed to %s the device of backstore “%s”", what, disk->store.name);
    return FALSE;
}

static gboolean
block_check_type(const char *name, const struct stat *st, GError **ret_error)
{
    if (S_ISBLK(st->st_mode))
        return TRUE;

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                S_ISREG(st->st_mode) ? "“%s” is a regular file: use the type “file”"
                                     : "“%s” is not a block device",
                name);
    return FALSE;
}

static int
block_flags(const BackstoreConfig *config)
{
    gboolean is_direct = config->cache == CACHE_DEFAULT || config->cache == CACHE_NONE;

    return O_CLOEXEC | O_NOCTTY | O_EXCL | (config->read_only ? O_RDONLY : O_RDWR) |
           (is_direct ? O_DIRECT : 0);
}

static gboolean
block_open_path(Disk *disk, const BackstoreConfig *config, GError **ret_error)
{
    struct stat st;

    if (stat(config->path, &st) == 0 && !block_check_type(config->path, &st, ret_error))
        return FALSE;

    disk->fd = open(config->path, block_flags(config));
    if (disk->fd >= 0)
        return TRUE;

    medium_set_open_error(ret_error, errno, config->path, TRUE);
    return FALSE;
}

/*
 * A descriptor cannot be made exclusive, but a second one of the same device
 * can, where we may open it. Where we may not, the one that was passed serves.
 */
static gboolean
block_open_fd(Disk *disk, const BackstoreConfig *config, GError **ret_error)
{
    g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", config->fd);
    int flags = fcntl(config->fd, F_GETFL);
    struct stat st;

    if (flags < 0 || fstat(config->fd, &st) < 0)
        return block_set_error(disk, "examine", ret_error);
    if (!block_check_type(config->name, &st, ret_error))
        return FALSE;

    disk->fd = open(link, block_flags(config));
    if (disk->fd >= 0)
        return TRUE;
    if (errno == EBUSY) {
        medium_set_open_error(ret_error, errno, config->name, TRUE);
        return FALSE;
    }

    disk->fd = fcntl(config->fd, F_DUPFD_CLOEXEC, 3);
    if (disk->fd < 0 ||
        fcntl(disk->fd, F_SETFL, (flags & ~O_DIRECT) | (block_flags(config) & O_DIRECT)) < 0)
        return block_set_error(disk, "take", ret_error);

    if ((flags & O_ACCMODE) == O_WRONLY || (!config->read_only && (flags & O_ACCMODE) != O_RDWR)) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_PERMISSION,
                    "The descriptor for backstore “%s” is not open for %s", config->name,
                    config->read_only ? "reading" : "reading and writing");
        return FALSE;
    }

    return TRUE;
}

static gboolean
block_check_writable(const Disk *disk, const BackstoreConfig *config, GError **ret_error)
{
    int is_read_only = 0;

    if (config->read_only || ioctl(disk->fd, BLKROGET, &is_read_only) < 0 || is_read_only == 0)
        return TRUE;

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_PERMISSION,
                "The device of backstore “%s” is read-only: make the backstore read-only, or the "
                "device writable with “blockdev --setrw”",
                config->name);
    return FALSE;
}

/* The size that is asked for, or all that the device has */
static gboolean
block_settle_size(Disk *disk, guint64 size, GError **ret_error)
{
    guint64 device_size = 0;

    if (ioctl(disk->fd, BLKGETSIZE64, &device_size) < 0)
        return block_set_error(disk, "learn the size of", ret_error);

    if (size == 0)
        size = round_down(device_size, disk->store.info.block_size);
    if (size == 0 || size > device_size) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR,
                    "The device of backstore “%s” has %" G_GUINT64_FORMAT " bytes, less than %s",
                    disk->store.name, device_size, size == 0 ? "a block" : "its size");
        return FALSE;
    }

    disk->store.info.size = size;
    return TRUE;
}

/* Sectors, as the device has them; before the size, which is counted in them */
static gboolean
block_settle_sectors(Disk *disk, const BackstoreConfig *config, GError **ret_error)
{
    BackstoreInfo *info = &disk->store.info;
    int logical = 0;
    guint physical = 0;

    if (ioctl(disk->fd, BLKSSZGET, &logical) < 0)
        return block_set_error(disk, "learn the sector size of", ret_error);

    if (config->block_size == 0 && is_power_of_two((guint64)logical) && logical <= BLOCK_SIZE_MAX)
        info->block_size = (guint32)logical;
    if (info->physical_block_size == 0 && ioctl(disk->fd, BLKPBSZGET, &physical) == 0 &&
        is_power_of_two(physical))
        info->physical_block_size = physical;

    if (disk->is_direct &&
        !medium_find_alignment(disk->fd, &info->memory_align, &info->offset_align)) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR,
                    "The device of backstore “%s” cannot be used without a cache (O_DIRECT): use "
                    "the cache mode “writeback” or “writethrough”",
                    config->name);
        return FALSE;
    }

    /* Discards count in sectors in every cache mode */
    info->offset_align = MAX(info->offset_align, (guint32)logical);
    return TRUE;
}

static void
block_learn(Disk *disk, dev_t device)
{
    BackstoreInfo *info = &disk->store.info;
    g_autofree char *cache = medium_read_queue_text(device, "write_cache");
    guint64 value;

    info->rotational = medium_read_queue_number(device, "rotational", &value) && value != 0;
    info->write_cache = info->cache == CACHE_WRITEBACK ||
                        (info->cache == CACHE_NONE && g_strcmp0(cache, "write through") != 0);

    info->can_unmap = !info->read_only &&
                      medium_read_queue_number(device, "discard_max_bytes", &value) && value != 0;
    info->unmap_zeroes = FALSE;
    info->unmap_granularity = info->block_size;
    if (medium_read_queue_number(device, "discard_granularity", &value) && value != 0 &&
        value <= G_MAXUINT32)
        info->unmap_granularity = (guint32)value;
}

static gboolean
block_open(Backstore *store, const BackstoreConfig *config, GError **ret_error)
{
    Disk *disk = block_of(store);
    struct stat st;

    disk_init(disk);
    disk->zero = block_zero;
    disk->unmap = block_unmap;
    disk->is_direct = (block_flags(config) & O_DIRECT) != 0;
    store->info.cache = disk->is_direct ? CACHE_NONE : config->cache;

    if (config->create) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "Backstore “%s” of type “block” cannot be created", config->name);
        return FALSE;
    }

    if (!(config->fd >= 0 ? block_open_fd(disk, config, ret_error)
                          : block_open_path(disk, config, ret_error)))
        return FALSE;
    if (fstat(disk->fd, &st) < 0)
        return block_set_error(disk, "examine", ret_error);

    if (!block_check_type(config->name, &st, ret_error) ||
        !block_check_writable(disk, config, ret_error) ||
        !medium_lock(disk->fd, config->read_only,
                     config->path != NULL ? config->path : config->name, ret_error) ||
        !block_settle_sectors(disk, config, ret_error) ||
        !block_settle_size(disk, config->size, ret_error) || !disk_open_sync(disk, ret_error))
        return FALSE;

    block_learn(disk, st.st_rdev);
    store->native = NATIVE_FUA | NATIVE_ZERO | (store->info.can_unmap ? NATIVE_UNMAP : 0) |
                    (disk->is_direct ? 0 : NATIVE_PREFETCH);
    if (config->fd >= 0)
        (void)close(config->fd);
    return TRUE;
}

static void
block_close(Backstore *store)
{
    disk_close(block_of(store));
}

static gboolean
block_resize(Backstore *store, guint64 size, GError **ret_error)
{
    return block_settle_size(block_of(store), size, ret_error);
}

const BackstoreClass block_class = {
    .type = "block",
    .instance_size = sizeof(Disk),
    .takes_path = TRUE,
    .takes_fd = TRUE,
    .takes_size_zero = TRUE,
    .open = block_open,
    .close = block_close,
    .submit = disk_submit,
    .resize = block_resize,
};
