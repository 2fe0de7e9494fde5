/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * lunctl portal
 *
 * Addresses are read here, so that every spelling of one names the same portal. A portal belongs to a
 * group, and there is no verb for groups: one that is named and not there is made with its first
 * portal.
 */

#include <string.h>

#include "ctl/verbs.h"
#include "util/address.h"

/* clang-format off */
static const Column columns[] = {
    { "Address", "ADDRESS", SHOW_PLAIN },
    { "Port", "PORT", SHOW_PLAIN },
    { "Tag", "GROUP", SHOW_PLAIN },
    { "State", "STATE", SHOW_PLAIN },
    { "Origin", "ORIGIN", SHOW_PLAIN },
    { "ConnectionCount", "CONNECTIONS", SHOW_PLAIN },
    { "AnnounceAddress", "ANNOUNCED AS", SHOW_PLAIN },
};

static const Column show_columns[] = {
    { "Address", "Address", SHOW_PLAIN },
    { "Port", "Port", SHOW_PLAIN },
    { "Interface", "Interface", SHOW_PLAIN },
    { "AnnounceAddress", "Announced as", SHOW_PLAIN },
    { "Tag", "Portal group", SHOW_PLAIN },
    { "State", "State", SHOW_PLAIN },
    { "LastError", "Problem", SHOW_ERROR },
    { "Origin", "Origin", SHOW_PLAIN },
    { "ConnectionCount", "Connections", SHOW_PLAIN },
};
/* clang-format on */

static gboolean
parse_portal(const char *text, char *host, gsize size, guint16 *ret_port, GError **ret_error)
{
    Address address;

    if (!address_parse(text, ISCSI_PORT, &address, ret_error))
        return FALSE;
    if (text[0] == '*')
        (void)g_strlcpy(host, "*", size);
    else
        address_format_host(&address, host, size);
    *ret_port = address_port(&address);
    if (*ret_port != 0)
        return TRUE;

    /* On the bus it is the default, here it was written, and means another one everywhere else */
    g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "“%s” is not a portal: its port is 0", text);
    return FALSE;
}

static gboolean
get_tag(Ctl *ctl, guint32 *ret_tag, GError **ret_error)
{
    *ret_tag = 1;
    (void)g_variant_lookup(ctl->options, "group", "u", ret_tag);
    if (*ret_tag >= 1 && *ret_tag <= G_MAXUINT16)
        return TRUE;

    g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "Option “--group”: a target portal group tag is 1 to 65535");
    return FALSE;
}

/* Without the options that are not of this method */
static GVariant *
portal_options(Ctl *ctl)
{
    GVariantDict dict;

    g_variant_dict_init(&dict, ctl->options);
    g_variant_dict_remove(&dict, "group");
    return client_options(&ctl->client, g_variant_dict_end(&dict));
}

static GVariant *
group_options(Ctl *ctl)
{
    GVariantDict dict;

    g_variant_dict_init(&dict, ctl->options);
    g_variant_dict_remove(&dict, "group");
    g_variant_dict_remove(&dict, "announce-address");
    g_variant_dict_remove(&dict, "interface");
    return client_options(&ctl->client, g_variant_dict_end(&dict));
}

/* FALSE without an error: there is no such group */
static gboolean
add_portal(Ctl *ctl, const char *group, const char *host, guint16 port, GError **ret_error)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) reply =
        client_call(&ctl->client, group, "PortalGroup", "AddPortal",
                    g_variant_new("(sq@a{sv})", host, port, portal_options(ctl)), &error);

    if (reply == NULL && !g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_METHOD) &&
        !g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_OBJECT))
        g_propagate_error(ret_error, g_steal_pointer(&error));
    return reply != NULL;
}

/* The group with its first portal, or neither */
static gboolean
add_portal_and_group(Ctl *ctl, guint32 tag, const char *host, guint16 port, GError **ret_error)
{
    g_autofree char *path = NULL;
    GVariant *undone;
    g_autoptr(GVariant) reply =
        client_call(&ctl->client, MANAGER_PATH, "Manager", "CreatePortalGroup",
                    g_variant_new("(q@a{sv})", (guint16)tag, group_options(ctl)), ret_error);

    if (reply == NULL || ctl->client.dry_run)
        return reply != NULL;
    g_variant_get(reply, "(o)", &path);
    if (add_portal(ctl, path, host, port, ret_error))
        return TRUE;

    undone = client_call(&ctl->client, path, "PortalGroup", "Delete",
                         g_variant_new("(a{sv})", NULL), NULL);
    g_clear_pointer(&undone, g_variant_unref);
    return FALSE;
}

gboolean
portal_verb_add(Ctl *ctl, GError **ret_error)
{
    char host[ADDRESS_TEXT_MAX];
    g_autofree char *group = NULL;
    g_autoptr(GError) error = NULL;
    guint16 port;
    guint32 tag;

    if (!parse_portal(ctl->argv[0], host, sizeof(host), &port, ret_error) ||
        !get_tag(ctl, &tag, ret_error))
        return FALSE;

    group = g_strdup_printf("/org/lunport1/portal_groups/%u", tag);
    if (add_portal(ctl, group, host, port, &error))
        return TRUE;
    if (error == NULL)
        return add_portal_and_group(ctl, tag, host, port, ret_error);
    g_propagate_error(ret_error, g_steal_pointer(&error));
    return FALSE;
}

/* What the list does not have of a portal; one that has gone meanwhile is shown without */
static GVariant *
complete_row(Ctl *ctl, GVariant *row)
{
    g_autoptr(GVariant) object = NULL;
    const char *path = "";
    const char *announced = "";
    GVariantDict dict;

    (void)g_variant_lookup(row, "Path", "&o", &path);
    object = client_get_all(&ctl->client, path, "Portal", NULL);
    if (object != NULL)
        (void)g_variant_lookup(object, "AnnounceAddress", "&s", &announced);
    g_variant_dict_init(&dict, row);
    g_variant_dict_insert(&dict, "AnnounceAddress", "s", announced);
    return g_variant_dict_end(&dict);
}

gboolean
portal_verb_list(Ctl *ctl, GError **ret_error)
{
    g_auto(GVariantBuilder) builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("aa{sv}"));
    g_autoptr(GVariant) rows = verbs_list_rows(ctl, "ListPortals", ret_error);

    if (rows == NULL)
        return FALSE;
    (void)g_variant_ref_sink(rows);
    for (gsize i = 0; i < g_variant_n_children(rows); i++) {
        g_autoptr(GVariant) row = g_variant_get_child_value(rows, i);

        g_variant_builder_add_value(&builder, complete_row(ctl, row));
    }
    output_rows(&ctl->output, columns, G_N_ELEMENTS(columns), g_variant_builder_end(&builder),
                "portals");
    return TRUE;
}

/* The path of the portal that the first argument names, or NULL with an error; its group's tag too */
static char *
find_portal(Ctl *ctl, guint16 *ret_tag, GError **ret_error)
{
    char host[ADDRESS_TEXT_MAX];
    guint16 port;
    g_autoptr(GVariant) list = NULL;

    if (!parse_portal(ctl->argv[0], host, sizeof(host), &port, ret_error))
        return NULL;
    list = verbs_list(ctl, "ListPortals", ret_error);
    for (gsize i = 0; list != NULL && i < g_variant_n_children(list); i++) {
        const char *path, *address;
        guint16 row_port;

        g_variant_get_child(list, i, "(&oq&sq&s&s&su)", &path, ret_tag, &address, &row_port, NULL,
                            NULL, NULL, NULL);
        if (row_port == port && strcmp(address, host) == 0)
            return g_strdup(path);
    }

    if (list != NULL)
        g_set_error(ret_error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_OBJECT, "No portal “%s”",
                    ctl->argv[0]);
    return NULL;
}

gboolean
portal_verb_show(Ctl *ctl, GError **ret_error)
{
    guint16 tag = 0;
    g_autofree char *path = find_portal(ctl, &tag, ret_error);
    g_autoptr(GVariant) object = NULL;
    GVariantDict dict;

    if (path == NULL)
        return FALSE;
    object = client_get_all(&ctl->client, path, "Portal", ret_error);
    if (object == NULL)
        return FALSE;
    g_variant_dict_init(&dict, object);
    g_variant_dict_insert(&dict, "Tag", "q", tag);
    output_object(&ctl->output, show_columns, G_N_ELEMENTS(show_columns),
                  g_variant_dict_end(&dict));
    return TRUE;
}

static gboolean
call_portal(Ctl *ctl, const char *method, GError **ret_error)
{
    guint16 tag;
    g_autofree char *path = find_portal(ctl, &tag, ret_error);

    return client_change(&ctl->client, path, "Portal", method,
                         g_variant_new("(@a{sv})", client_options(&ctl->client, NULL)), ret_error);
}

gboolean
portal_verb_pause(Ctl *ctl, GError **ret_error)
{
    return call_portal(ctl, "Pause", ret_error);
}

gboolean
portal_verb_resume(Ctl *ctl, GError **ret_error)
{
    return call_portal(ctl, "Resume", ret_error);
}

gboolean
portal_verb_remove(Ctl *ctl, GError **ret_error)
{
    return call_portal(ctl, "Delete", ret_error);
}

gboolean
portal_verb_alua(Ctl *ctl, GError **ret_error)
{
    g_autofree char *target = NULL;
    g_autofree char *group = NULL;
    g_autoptr(GVariant) reply = NULL;
    gboolean preferred = FALSE;
    GVariantDict dict;
    guint64 tag;

    if (!g_ascii_string_to_unsigned(ctl->argv[1], 10, 1, G_MAXUINT16, &tag, NULL)) {
        g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "“%s” is not a target portal group tag", ctl->argv[1]);
        return FALSE;
    }
    target = client_find_target(&ctl->client, ctl->argv[0], ret_error);
    if (target == NULL)
        return FALSE;

    group = g_strdup_printf("/org/lunport1/portal_groups/%u", (guint)tag);
    (void)g_variant_lookup(ctl->options, "preferred", "b", &preferred);
    g_variant_dict_init(&dict, ctl->options);
    g_variant_dict_remove(&dict, "preferred");
    reply = client_call(&ctl->client, group, "PortalGroup", "SetAluaState",
                        g_variant_new("(osb@a{sv})", target, ctl->argv[2], preferred,
                                      client_options(&ctl->client, g_variant_dict_end(&dict))),
                        ret_error);
    return reply != NULL;
}
