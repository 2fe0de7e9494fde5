/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "util/crc32c.h"

#include <isa-l/crc.h>

/* ISA-L counts in int */
#define STEP ((gsize)1 << 30)

guint32
crc32c_update(guint32 crc, const void *data, gsize size)
{
    /* ISA-L forgot the const; it neither inverts the start value nor the result */
    guintptr p = (guintptr)data;

    while (size > 0) {
        gsize n = MIN(size, STEP);

        crc = crc32_iscsi((unsigned char *)p, (int)n, crc);
        p += n;
        size -= n;
    }
    return crc;
}
