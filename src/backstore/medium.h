/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <sys/types.h>

#include <glib.h>

/* Questions to the kernel about the file or device below a store. All may block. */

/**
 * medium_find_alignment() - what transfers with O_DIRECT have to be aligned to
 * @fd: open with O_DIRECT
 *
 * Asks the kernel where it knows (statx(), BLKSSZGET), else tries. FALSE: O_DIRECT cannot be used.
 */
gboolean medium_find_alignment(int fd, guint32 *ret_memory_align, guint32 *ret_offset_align);

/**
 * medium_lock() - keep other services away by an advisory lock
 * @name: for the message
 *
 * Exclusive for a writer, shared for readers, held until @fd and what was duplicated from it are
 * closed. A file system without locks is taken as it is.
 */
gboolean medium_lock(int fd, gboolean read_only, const char *name, GError **ret_error);

/* Say why @path could not be opened, and what the administrator can do */
void medium_set_open_error(GError **ret_error, int saved_errno, const char *path,
                           gboolean is_device);

/* A file below the queue directory of a disk in /sys, as a number or text; partitions have their
 * disk's. FALSE or NULL where that cannot be read. */
gboolean medium_read_queue_number(dev_t device, const char *name, guint64 *ret_value);
char *medium_read_queue_text(dev_t device, const char *name);
