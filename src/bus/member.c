/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "bus/member.h"

#include "bus/errors.h"
#include "bus/text.h"

static gconstpointer
find(const Member *member, gconstpointer object)
{
    const guint8 *whole = object;

    if (member->in_spec)
        whole = *(const guint8 *const *)(gconstpointer)(whole + member->spec);
    return whole + member->offset;
}

GVariant *
member_get(const Member *member, gconstpointer object)
{
    gconstpointer value = find(member, object);

    switch (member->type) {
    case MEMBER_TEXT:
        return text_variant(*(const char *const *)value);
    case MEMBER_BOOLEAN:
        return g_variant_new_boolean(*(const gboolean *)value);
    case MEMBER_UINT16:
        return g_variant_new_uint16(*(const guint16 *)value);
    case MEMBER_UINT32:
        return g_variant_new_uint32(*(const guint32 *)value);
    case MEMBER_UINT64:
        return g_variant_new_uint64(*(const guint64 *)value);
    case MEMBER_DOUBLE:
        return g_variant_new_double(*(const gdouble *)value);
    case MEMBER_ERROR:
        return errors_variant(*(const GError *const *)value);
    case MEMBER_NONE:
    default:
        g_assert_not_reached();
    }
}

const char *
member_signature(const Member *member)
{
    static const char *const signatures[] = {
        [MEMBER_TEXT] = "s",     [MEMBER_BOOLEAN] = "b", [MEMBER_UINT16] = "q",
        [MEMBER_UINT32] = "u",   [MEMBER_UINT64] = "t",  [MEMBER_DOUBLE] = "d",
        [MEMBER_ERROR] = "(ss)",
    };

    g_assert(member->type != MEMBER_NONE && member->type < G_N_ELEMENTS(signatures));
    return signatures[member->type];
}
