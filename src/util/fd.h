/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <unistd.h>

#include <glib.h>

/* Scoped descriptors: `autofd int fd = -1;` closes @fd at the end of the block. */

static inline void
fd_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static inline int
fd_take(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

#define autofd __attribute__((cleanup(fd_close)))
