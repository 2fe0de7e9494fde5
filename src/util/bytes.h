/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * Big-endian fields, as iSCSI and SCSI write them. The names carry the width
 * in bits; the pointer may have any alignment.
 */

static inline guint16
get_be16(const guint8 *p)
{
    return (guint16)(p[0] << 8 | p[1]);
}

static inline guint32
get_be24(const guint8 *p)
{
    return (guint32)p[0] << 16 | (guint32)p[1] << 8 | p[2];
}

static inline guint32
get_be32(const guint8 *p)
{
    return (guint32)p[0] << 24 | (guint32)p[1] << 16 | (guint32)p[2] << 8 | p[3];
}

static inline guint64
get_be64(const guint8 *p)
{
    return (guint64)get_be32(p) << 32 | get_be32(p + 4);
}

static inline void
put_be16(guint8 *p, guint16 v)
{
    p[0] = (guint8)(v >> 8);
    p[1] = (guint8)v;
}

static inline void
put_be24(guint8 *p, guint32 v)
{
    p[0] = (guint8)(v >> 16);
    p[1] = (guint8)(v >> 8);
    p[2] = (guint8)v;
}

static inline void
put_be32(guint8 *p, guint32 v)
{
    p[0] = (guint8)(v >> 24);
    p[1] = (guint8)(v >> 16);
    p[2] = (guint8)(v >> 8);
    p[3] = (guint8)v;
}

static inline void
put_be64(guint8 *p, guint64 v)
{
    put_be32(p, (guint32)(v >> 32));
    put_be32(p + 4, (guint32)v);
}

/* Rounding to a power of two */

static inline guint64
round_up(guint64 value, guint64 power)
{
    return (value + power - 1) & ~(power - 1);
}

static inline guint64
round_down(guint64 value, guint64 power)
{
    return value & ~(power - 1);
}

static inline gboolean
is_power_of_two(guint64 value)
{
    return value != 0 && (value & (value - 1)) == 0;
}
