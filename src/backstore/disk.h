/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "backstore/class.h"

/* What files and block devices share: an open descriptor and how its I/O is done */

typedef struct Disk Disk;

struct Disk {
    Backstore store;
    int fd;             /* -1 when closed */
    int sync_fd;        /* another open file of the same inode, for flushes: see backstore.c */
    gboolean is_direct; /* O_DIRECT, libaio; else the page cache */
    gboolean is_memory; /* tmpfs: all is done at once, on the worker */

    /* On the pool; 0 or -errno */
    gint64 (*zero)(Disk *disk, guint64 offset, guint64 length, gboolean may_unmap);
    gint64 (*unmap)(Disk *disk, guint64 offset, guint64 length);
    gint64 (*copy)(Disk *disk, const Disk *source, guint64 source_offset, guint64 offset,
                   guint64 length); /* with NATIVE_COPY */
};

/* No descriptors yet: the first thing in open() */
void disk_init(Disk *disk);

/* Open sync_fd; after fd is there */
gboolean disk_open_sync(Disk *disk, GError **ret_error);

/* Flush and close, as far as it was open */
void disk_close(Disk *disk);

/* BackstoreClass.submit */
void disk_submit(Backstore *store, Io *io);

/* Write zeros; on the pool. 0 or -errno */
gint64 disk_write_zeros(Disk *disk, guint64 offset, guint64 length);
