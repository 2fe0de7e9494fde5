/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * lunctl session
 *
 * A session is named by its TSIH, the number that the target gave it. Paths that a session refers to
 * are shown to people as what they stand for.
 */

#include <string.h>

#include "ctl/verbs.h"

/* clang-format off */
static const Column list_columns[] = {
    { "Tsih", "TSIH", SHOW_PLAIN },
    { "InitiatorName", "INITIATOR", SHOW_PLAIN },
    { "Target", "TARGET", SHOW_PLAIN },
    { "RemoteAddress", "FROM", SHOW_PLAIN },
    { "State", "STATE", SHOW_PLAIN },
    { "EstablishedAt", "SINCE", SHOW_TIME },
};

static const Column show_columns[] = {
    { "Tsih", "TSIH", SHOW_PLAIN },
    { "Isid", "ISID", SHOW_PLAIN },
    { "Type", "Type", SHOW_PLAIN },
    { "State", "State", SHOW_PLAIN },
    { "InitiatorName", "Initiator", SHOW_PLAIN },
    { "InitiatorAlias", "Alias", SHOW_PLAIN },
    { "Target", "Target", SHOW_PLAIN },
    { "RemoteAddress", "From", SHOW_PLAIN },
    { "EstablishedAt", "Since", SHOW_TIME },
    { "AuthenticationMethod", "Authentication", SHOW_PLAIN },
    { "ErrorRecoveryLevel", "Error recovery level", SHOW_PLAIN },
    { "Parameters", "Negotiated", SHOW_LINES },
    { "Connections", "Connections", SHOW_LINES },
};
/* clang-format on */

static gboolean
matches(GVariant *row, const char *key, GVariant *options, const char *option)
{
    const char *wanted = NULL, *value = NULL;

    if (!g_variant_lookup(options, option, "&s", &wanted))
        return TRUE;
    return g_variant_lookup(row, key, "&s", &value) && g_ascii_strcasecmp(wanted, value) == 0;
}

gboolean
session_verb_list(Ctl *ctl, GError **ret_error)
{
    GVariantBuilder kept;
    g_autoptr(GVariant) rows = verbs_list_rows(ctl, "ListSessions", ret_error);

    if (rows == NULL)
        return FALSE;

    (void)g_variant_ref_sink(rows);
    g_variant_builder_init(&kept, G_VARIANT_TYPE("aa{sv}"));
    for (gsize i = 0; i < g_variant_n_children(rows); i++) {
        g_autoptr(GVariant) row = g_variant_get_child_value(rows, i);

        if (matches(row, "Target", ctl->options, "target") &&
            matches(row, "InitiatorName", ctl->options, "initiator"))
            g_variant_builder_add_value(&kept, row);
    }
    output_rows(&ctl->output, list_columns, G_N_ELEMENTS(list_columns),
                g_variant_builder_end(&kept), "sessions");
    return TRUE;
}

/* @ret_target: the name of its target, empty for a discovery session */
static char *
find_session(Ctl *ctl, char **ret_target, GError **ret_error)
{
    g_autoptr(GVariant) list = NULL;
    guint64 number;

    if (!g_ascii_string_to_unsigned(ctl->argv[0], 10, 1, G_MAXUINT16, &number, NULL)) {
        g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "“%s” is not the TSIH of a session, a number from 1 to 65535", ctl->argv[0]);
        return NULL;
    }

    list = verbs_list(ctl, "ListSessions", ret_error);
    if (list == NULL)
        return NULL;
    for (gsize i = 0; i < g_variant_n_children(list); i++) {
        g_autoptr(GVariant) row = g_variant_get_child_value(list, i);
        char *path;
        guint16 tsih;

        g_variant_get_child(row, 3, "q", &tsih);
        if (tsih != number)
            continue;
        g_variant_get_child(row, 0, "o", &path);
        if (ret_target != NULL)
            g_variant_get_child(row, 1, "s", ret_target);
        return path;
    }
    g_set_error(ret_error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_OBJECT, "No session %s",
                ctl->argv[0]);
    return NULL;
}

/* A line for each connection, for people */
static char *
describe_connection(Ctl *ctl, const char *path)
{
    g_autoptr(GVariant) object = client_get_all(&ctl->client, path, "Connection", NULL);
    const char *local, *remote, *header, *data;
    guint16 local_port, remote_port, cid;

    if (object == NULL || !g_variant_lookup(object, "Cid", "q", &cid) ||
        !g_variant_lookup(object, "LocalAddress", "&s", &local) ||
        !g_variant_lookup(object, "LocalPort", "q", &local_port) ||
        !g_variant_lookup(object, "RemoteAddress", "&s", &remote) ||
        !g_variant_lookup(object, "RemotePort", "q", &remote_port) ||
        !g_variant_lookup(object, "HeaderDigest", "&s", &header) ||
        !g_variant_lookup(object, "DataDigest", "&s", &data))
        return g_strdup(path);
    return g_strdup_printf("CID %u from %s port %u to %s port %u, digests %s and %s", cid, remote,
                           remote_port, local, local_port, header, data);
}

/* For people the target and the connections as they know them; programs get paths */
static GVariant *
with_names(Ctl *ctl, GVariant *object, const char *target)
{
    g_autofree const char **paths = NULL;
    g_auto(GStrv) texts = NULL;
    GVariantDict dict;
    gsize n;

    if (ctl->output.mode != OUTPUT_TABLE ||
        !g_variant_lookup(object, "Connections", "^a&o", &paths))
        return g_variant_ref(object);

    n = g_strv_length((char **)(gsize)paths);
    texts = g_new0(char *, n + 1);
    for (gsize i = 0; i < n; i++)
        texts[i] = describe_connection(ctl, paths[i]);
    g_variant_dict_init(&dict, object);
    g_variant_dict_insert(&dict, "Connections", "^as", texts);
    g_variant_dict_insert(&dict, "Target", "s", target);
    return g_variant_ref_sink(g_variant_dict_end(&dict));
}

gboolean
session_verb_show(Ctl *ctl, GError **ret_error)
{
    g_autofree char *target = NULL;
    g_autofree char *path = find_session(ctl, &target, ret_error);
    g_autoptr(GVariant) object = NULL;
    g_autoptr(GVariant) shown = NULL;

    if (path == NULL)
        return FALSE;
    object = client_get_all(&ctl->client, path, "Session", ret_error);
    if (object == NULL)
        return FALSE;
    shown = with_names(ctl, object, target);
    output_object(&ctl->output, show_columns, G_N_ELEMENTS(show_columns), shown);
    return TRUE;
}

gboolean
session_verb_logout(Ctl *ctl, GError **ret_error)
{
    g_autofree char *path = find_session(ctl, NULL, ret_error);
    g_autoptr(GVariant) reply = NULL;
    GVariantDict dict;

    if (path == NULL)
        return FALSE;
    g_variant_dict_init(&dict, ctl->options);
    (void)g_variant_dict_remove(&dict, JOB_WAIT_KEY);
    reply = client_call(
        &ctl->client, path, "Session", "RequestLogout",
        g_variant_new("(@a{sv})", client_options(&ctl->client, g_variant_dict_end(&dict))),
        ret_error);
    return reply != NULL && job_follow(ctl, reply, ret_error);
}

gboolean
session_verb_terminate(Ctl *ctl, GError **ret_error)
{
    g_autofree char *path = find_session(ctl, NULL, ret_error);

    return client_change(&ctl->client, path, "Session", "Terminate",
                         g_variant_new("(@a{sv})", client_options(&ctl->client, NULL)), ret_error);
}
