/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "util/bytes.h"

/* The attributes of a payload, one after the other: tag, length, value (RFC 4171 5.3) */

typedef struct {
    guint32 tag;
    guint32 length;
    const guint8 *value;
} IsnsAttribute;

/* FALSE at the end; with something left in @left there is one that does not fit */
static inline gboolean
isns_attribute_next(const guint8 **at, gsize *left, IsnsAttribute *ret_attribute)
{
    IsnsAttribute attribute;

    if (*left < 8)
        return FALSE;

    attribute = (IsnsAttribute){ get_be32(*at), get_be32(*at + 4), *at + 8 };
    if (attribute.length > *left - 8)
        return FALSE;

    *at += 8 + attribute.length;
    *left -= 8 + attribute.length;
    *ret_attribute = attribute;
    return TRUE;
}
