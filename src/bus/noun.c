/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "bus/noun.h"

/* clang-format off */
const Noun *const nouns[] = {
    &acl_noun,
    &backstore_noun,
    &connection_noun,
    &initiator_group_noun,
    &job_noun,
    &lun_noun,
    &manager_noun,
    &portal_group_noun,
    &portal_noun,
    &session_noun,
    &target_noun,
    NULL,
};
/* clang-format on */

const MethodRow *
noun_find_method(const Noun *noun, const char *name)
{
    for (const MethodRow *row = noun->methods; row->name != NULL; row++) {
        if (g_str_equal(row->name, name))
            return row;
    }

    return NULL;
}

const PropertyRow *
noun_find_property(const Noun *noun, const char *name)
{
    for (const PropertyRow *row = noun->properties; row->name != NULL; row++) {
        if (g_str_equal(row->name, name))
            return row;
    }

    return NULL;
}

GVariant *
noun_get_property(const PropertyRow *row, Service *service, gconstpointer object)
{
    return row->get != NULL ? row->get(service, object) : member_get(&row->member, object);
}

static void
check_row(const Noun *noun, const PropertyRow *row)
{
    const GDBusPropertyInfo *info =
        g_dbus_interface_info_lookup_property((GDBusInterfaceInfo *)(gsize)noun->info, row->name);

    g_assert(info != NULL);
    g_assert((row->get != NULL) == (row->member.type == MEMBER_NONE));
    g_assert(row->get != NULL || g_str_equal(info->signature, member_signature(&row->member)));
}

void
noun_check(const Noun *noun)
{
    gsize n = 0;

    for (GDBusMethodInfo **method = noun->info->methods; method && *method; method++, n++)
        g_assert(noun_find_method(noun, (*method)->name) != NULL);
    for (const MethodRow *row = noun->methods; row->name != NULL; row++, n--)
        g_assert(row->run != NULL);
    g_assert(n == 0);

    for (GDBusPropertyInfo **property = noun->info->properties; property && *property;
         property++, n++) {
        g_assert(noun_find_property(noun, (*property)->name) != NULL);
        g_assert((*property)->flags == G_DBUS_PROPERTY_INFO_FLAGS_READABLE);
    }
    for (const PropertyRow *row = noun->properties; row->name != NULL; row++, n--)
        check_row(noun, row);
    g_assert(n == 0);
}
