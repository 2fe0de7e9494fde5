/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What lies below a store
 *
 * The answers differ by kernel and file system, and a sandbox may hide some of
 * the places to ask: each function has a next best way, and says so when there
 * is none.
 */

#include "backstore/medium.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "util/bytes.h"
#include "util/error.h"

#define ALIGN_MIN 512
#define ALIGN_MAX 4096

static gboolean
is_usable_alignment(guint64 align)
{
    return is_power_of_two(align) && align <= ALIGN_MAX;
}

#ifdef STATX_DIOALIGN
/* FALSE: the kernel does not know. Alignments of 0: it knows that O_DIRECT does not work. */
static gboolean
ask_statx(int fd, guint32 *ret_memory_align, guint32 *ret_offset_align)
{
    struct statx stx;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) < 0 || !(stx.stx_mask & STATX_DIOALIGN))
        return FALSE;

    *ret_memory_align = stx.stx_dio_mem_align;
    *ret_offset_align = stx.stx_dio_offset_align;
    return TRUE;
}
#else
static gboolean
ask_statx(int fd, guint32 *ret_memory_align, guint32 *ret_offset_align)
{
    return FALSE;
}
#endif

/* Does a read work that is aligned to @align and to nothing more? */
static gboolean
try_alignment(int fd, void *buffer, gsize align)
{
    gssize n;

    do {
        n = pread(fd, (char *)buffer + align, align, (off_t)align);
    } while (n < 0 && errno == EINTR);

    return n >= 0;
}

gboolean
medium_find_alignment(int fd, guint32 *ret_memory_align, guint32 *ret_offset_align)
{
    guint32 memory_align = 0;
    guint32 offset_align = 0;
    int sector_size = 0;
    void *buffer;

    if (ask_statx(fd, &memory_align, &offset_align)) {
        if (!is_usable_alignment(memory_align) || !is_usable_alignment(offset_align))
            return FALSE;
        *ret_memory_align = memory_align;
        *ret_offset_align = offset_align;
        return TRUE;
    }

    if (ioctl(fd, BLKSSZGET, &sector_size) == 0) {
        *ret_memory_align = *ret_offset_align = (guint32)sector_size;
        return is_usable_alignment((guint64)sector_size);
    }

    if (posix_memalign(&buffer, 2 * ALIGN_MAX, 2 * ALIGN_MAX) != 0)
        return FALSE;
    for (guint32 align = ALIGN_MIN; align <= ALIGN_MAX && offset_align == 0; align *= 2) {
        if (try_alignment(fd, buffer, align))
            offset_align = align;
    }
    free(buffer);

    if (offset_align == 0)
        return FALSE;
    *ret_memory_align = *ret_offset_align = offset_align;
    return TRUE;
}

gboolean
medium_lock(int fd, gboolean read_only, const char *name, GError **ret_error)
{
    struct flock lock = {
        .l_type = read_only ? F_RDLCK : F_WRLCK,
        .l_whence = SEEK_SET,
    };

    /* Of the open file, not of the process: closing another descriptor does not drop it */
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return TRUE;

    switch (errno) {
    case EAGAIN:
    case EACCES:
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_IN_USE,
                    "“%s” is locked by another process: close what else uses it, or export it "
                    "read-only everywhere",
                    name);
        return FALSE;
    case ENOLCK:
    case ENOSYS:
    case EOPNOTSUPP:
    case EINVAL:
    case EBADF: /* a lock that the mode of a passed descriptor does not allow */
        return TRUE;
    default:
        error_set_errno(ret_error, LUNPORT_ERROR_STORAGE_ERROR, errno, "Failed to lock “%s”", name);
        return FALSE;
    }
}

static char *
user_name(void)
{
    struct passwd entry;
    struct passwd *found = NULL;
    char buffer[4096];

    if (getpwuid_r(geteuid(), &entry, buffer, sizeof(buffer), &found) == 0 && found != NULL)
        return g_strdup(found->pw_name);

    return g_strdup_printf("%u", (guint)geteuid());
}

void
medium_set_open_error(GError **ret_error, int saved_errno, const char *path, gboolean is_device)
{
    LunportError code = error_code_from_storage_errno(saved_errno);
    g_autofree char *user = user_name();

    if (saved_errno == EROFS)
        g_set_error(ret_error, LUNPORT_ERROR, (gint)code,
                    "Failed to open “%s”: %s. The file system is read-only to the service: add its "
                    "directory to ReadWritePaths= of the unit, or use the backstore read-only",
                    path, g_strerror(saved_errno));
    else if (code == LUNPORT_ERROR_STORAGE_PERMISSION && is_device)
        g_set_error(ret_error, LUNPORT_ERROR, (gint)code,
                    "Failed to open “%s”: %s. The service runs as user “%s”: add that user to the "
                    "group that owns the device, allow the device by DeviceAllow= of the unit, or "
                    "pass an open descriptor",
                    path, g_strerror(saved_errno), user);
    else if (code == LUNPORT_ERROR_STORAGE_PERMISSION)
        g_set_error(ret_error, LUNPORT_ERROR, (gint)code,
                    "Failed to open “%s”: %s. The service runs as user “%s”: allow it with "
                    "“setfacl -m u:%s:rw” on the file (“rwx” on the directory to create one, “x” "
                    "on those above it)",
                    path, g_strerror(saved_errno), user, user);
    else if (code == LUNPORT_ERROR_STORAGE_IN_USE)
        g_set_error(ret_error, LUNPORT_ERROR, (gint)code,
                    "Failed to open “%s”: %s. Unmount it and stop what else uses it", path,
                    g_strerror(saved_errno));
    else
        error_set_errno(ret_error, code, saved_errno, "Failed to open “%s”", path);
}

char *
medium_read_queue_text(dev_t device, const char *name)
{
    /* A partition's directory lies in its disk's, which has the queue */
    static const char *const places[] = { "", "../" };

    for (gsize i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autofree char *path = g_strdup_printf("/sys/dev/block/%u:%u/%squeue/%s", major(device),
                                                minor(device), places[i], name);
        g_autofree char *text = NULL;

        if (g_file_get_contents(path, &text, NULL, NULL))
            return g_strdup(g_strstrip(text));
    }

    return NULL;
}

gboolean
medium_read_queue_number(dev_t device, const char *name, guint64 *ret_value)
{
    g_autofree char *text = medium_read_queue_text(device, name);

    return text != NULL && g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, ret_value, NULL);
}
