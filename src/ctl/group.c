/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* lunctl group: named sets of initiators */

#include <string.h>

#include "ctl/access.h"

/* clang-format off */
static const Column columns[] = {
    { "Name", "NAME", SHOW_PLAIN },
    { "Initiators", "INITIATORS", SHOW_PLAIN },
};
/* clang-format on */

char *
access_find_group(Ctl *ctl, const char *name, GError **ret_error)
{
    g_autoptr(GVariant) list = verbs_list(ctl, "ListInitiatorGroups", ret_error);

    for (gsize i = 0; list != NULL && i < g_variant_n_children(list); i++) {
        const char *path, *found;

        g_variant_get_child(list, i, "(&o&s@as)", &path, &found, NULL);
        if (strcmp(found, name) == 0)
            return g_strdup(path);
    }
    if (list != NULL)
        g_set_error(ret_error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_OBJECT, "No group “%s”", name);
    return NULL;
}

static GVariant *
initiators(const Ctl *ctl)
{
    return g_variant_new_strv((const char *const *)ctl->argv + 1, ctl->argc - 1);
}

gboolean
group_verb_create(Ctl *ctl, GError **ret_error)
{
    return client_change(&ctl->client, MANAGER_PATH, "Manager", "CreateInitiatorGroup",
                         g_variant_new("(s@as@a{sv})", ctl->argv[0], initiators(ctl),
                                       client_options(&ctl->client, ctl->options)),
                         ret_error);
}

/* @arguments: floating, of a method of the group that is the first argument */
static gboolean
call_group(Ctl *ctl, const char *method, GVariant *arguments, GError **ret_error)
{
    g_autofree char *path = access_find_group(ctl, ctl->argv[0], ret_error);

    return client_change(&ctl->client, path, "InitiatorGroup", method, arguments, ret_error);
}

gboolean
group_verb_add(Ctl *ctl, GError **ret_error)
{
    return call_group(
        ctl, "AddInitiators",
        g_variant_new("(@as@a{sv})", initiators(ctl), client_options(&ctl->client, ctl->options)),
        ret_error);
}

gboolean
group_verb_remove(Ctl *ctl, GError **ret_error)
{
    return call_group(
        ctl, "RemoveInitiators",
        g_variant_new("(@as@a{sv})", initiators(ctl), client_options(&ctl->client, ctl->options)),
        ret_error);
}

gboolean
group_verb_delete(Ctl *ctl, GError **ret_error)
{
    return call_group(ctl, "Delete",
                      g_variant_new("(@a{sv})", client_options(&ctl->client, ctl->options)),
                      ret_error);
}

gboolean
group_verb_list(Ctl *ctl, GError **ret_error)
{
    GVariant *rows = verbs_list_rows(ctl, "ListInitiatorGroups", ret_error);

    if (rows == NULL)
        return FALSE;
    output_rows(&ctl->output, columns, G_N_ELEMENTS(columns), rows, "groups");
    return TRUE;
}
