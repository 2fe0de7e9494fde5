/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * lunctl access: who may log in to a target
 *
 * A rule is named by its initiator, or by @ and its group. The list shows the
 * rules in the order in which they are asked, and last what holds for all
 * others.
 */

#include "ctl/access.h"

#include <string.h>

#include "ctl/secret.h"

#define LUN_MAX 16383

/* clang-format off */
static const Column columns[] = {
    { "Target", "TARGET", SHOW_PLAIN },
    { "Who", "INITIATOR", SHOW_PLAIN },
    { "Action", "ACTION", SHOW_PLAIN },
    { "AuthenticationMethod", "AUTH", SHOW_PLAIN },
    { "ChapUser", "CHAP USER", SHOW_PLAIN },
    { "Networks", "FROM", SHOW_PLAIN },
    { "PortalGroups", "GROUPS", SHOW_PLAIN },
    { "Luns", "LUNS", SHOW_PLAIN },
};

static const char *const row_keys[] = { "Path", "Initiator", "Group", "Action", "AuthenticationMethod", "Networks", "PortalGroups", "ChapUser", "ReadOnly", "LunMap", "HasSecret" };
/* clang-format on */

static gboolean
fail(GError **ret_error, const char *text, const char *what)
{
    g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "“%s” is not %s", text, what);
    return FALSE;
}

static gboolean
set_mode(Ctl *ctl, const char *mode, GError **ret_error)
{
    g_autofree char *path = client_find_target(&ctl->client, ctl->argv[0], ret_error);
    g_autoptr(GVariant) reply = NULL;

    if (path == NULL)
        return FALSE;
    reply = client_call(&ctl->client, path, "Target", "SetAccessMode",
                        g_variant_new("(s@a{sv})", mode, client_options(&ctl->client, NULL)),
                        ret_error);
    return reply != NULL;
}

gboolean
access_verb_open(Ctl *ctl, GError **ret_error)
{
    return set_mode(ctl, "open", ret_error);
}

gboolean
access_verb_close(Ctl *ctl, GError **ret_error)
{
    return set_mode(ctl, "closed", ret_error);
}

/* "0:3,1:5:ro" as a(qqb), floating; "all" as an empty one, which nothing else is: a variable of a script that
 * is not set must not show all */
static GVariant *
parse_luns(const char *text, GError **ret_error)
{
    g_auto(GStrv) words = g_strsplit(strcmp(text, "all") == 0 ? "" : text, ",", -1);
    g_auto(GVariantBuilder) builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(qqb)"));

    if (text[0] == '\0') {
        (void)fail(ret_error, text, "LUN[:TARGETLUN][:ro] or all");
        return NULL;
    }
    for (guint i = 0; words[i] != NULL; i++) {
        g_auto(GStrv) parts = g_strsplit(words[i], ":", -1);
        guint n = g_strv_length(parts);
        gboolean read_only =
            n > 1 && (strcmp(parts[n - 1], "ro") == 0 || strcmp(parts[n - 1], "read-only") == 0);
        guint64 lun;
        guint64 target_lun;

        n -= read_only ? 1 : 0;
        if (n < 1 || n > 2 || !g_ascii_string_to_unsigned(parts[0], 10, 0, LUN_MAX, &lun, NULL) ||
            !g_ascii_string_to_unsigned(parts[n - 1], 10, 0, LUN_MAX, &target_lun, NULL)) {
            (void)fail(ret_error, words[i], "LUN[:TARGETLUN][:ro]");
            return NULL;
        }
        g_variant_builder_add(&builder, "(qqb)", (guint16)lun, (guint16)target_lun, read_only);
    }
    return g_variant_builder_end(&builder);
}

static gboolean
add_portal_groups(GVariantDict *dict, const char *text, GError **ret_error)
{
    GVariant *groups = verbs_parse_portal_groups(text, ret_error);

    if (groups != NULL)
        g_variant_dict_insert_value(dict, "portal-groups", groups);
    return groups != NULL;
}

/* Without the option it is everywhere, so an empty one is none */
static gboolean
add_networks(GVariantDict *dict, const char *text, GError **ret_error)
{
    g_auto(GStrv) networks = g_strsplit(text, ",", -1);

    if (text[0] == '\0')
        return fail(ret_error, text, "a network: write it as 192.0.2.0/24 or 2001:db8::/32");

    g_variant_dict_insert(dict, "networks", "^as", networks);
    return TRUE;
}

/* What allow and deny have in common: who and where */
static gboolean
add_place(Ctl *ctl, GVariantDict *dict, GError **ret_error)
{
    static const char *const flags[] = { "persist", "replace", "terminate-sessions", "read-only" };
    g_autofree char *group = NULL;
    const char *text;
    gboolean flag;

    if (g_variant_lookup(ctl->options, "group", "&s", &text)) {
        group = access_find_group(ctl, text, ret_error);
        if (group == NULL)
            return FALSE;
        g_variant_dict_insert(dict, "group", "o", group);
    }
    if (ctl->argc < 2 && group == NULL) {
        g_set_error_literal(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                            "Name an initiator (* is everyone), or a group with --group=");
        return FALSE;
    }
    if (g_variant_lookup(ctl->options, "from", "&s", &text) && !add_networks(dict, text, ret_error))
        return FALSE;
    for (gsize i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (g_variant_lookup(ctl->options, flags[i], "b", &flag))
            g_variant_dict_insert(dict, flags[i], "b", flag);
    }
    return !g_variant_lookup(ctl->options, "portal-group", "&s", &text) ||
           add_portal_groups(dict, text, ret_error);
}

static gboolean
add_rule(Ctl *ctl, GVariantDict *dict, GError **ret_error)
{
    g_autofree char *path = client_find_target(&ctl->client, ctl->argv[0], ret_error);
    g_autoptr(GVariant) reply = NULL;

    if (path == NULL)
        return FALSE;
    reply = client_call(&ctl->client, path, "Target", "AddAcl",
                        g_variant_new("(s@a{sv})", ctl->argc > 1 ? ctl->argv[1] : "",
                                      client_options(&ctl->client, g_variant_dict_end(dict))),
                        ret_error);
    return reply != NULL;
}

gboolean
access_verb_allow(Ctl *ctl, GError **ret_error)
{
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
    const char *text;
    gboolean flag;

    if (!add_place(ctl, &dict, ret_error))
        return FALSE;
    if (g_variant_lookup(ctl->options, "lun-map", "&s", &text)) {
        GVariant *map = parse_luns(text, ret_error);

        if (map == NULL)
            return FALSE;
        g_variant_dict_insert_value(&dict, "lun-map", map);
    }
    if (g_variant_lookup(ctl->options, "no-auth", "b", &flag))
        g_variant_dict_insert(&dict, "authentication", "s", "None");
    return secret_add(ctl, &dict, "chap-user", FALSE, ret_error) && add_rule(ctl, &dict, ret_error);
}

gboolean
access_verb_deny(Ctl *ctl, GError **ret_error)
{
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);

    g_variant_dict_insert(&dict, "action", "s", "deny");
    return add_place(ctl, &dict, ret_error) && add_rule(ctl, &dict, ret_error);
}

GVariant *
access_list_rules(Ctl *ctl, const char *target_path, GError **ret_error)
{
    g_autoptr(GVariant) reply = client_call(&ctl->client, target_path, "Target", "ListAcls",
                                            g_variant_new("(a{sv})", NULL), ret_error);
    g_autoptr(GVariant) list = NULL;

    if (reply == NULL)
        return NULL;
    list = g_variant_get_child_value(reply, 0);
    return g_variant_ref_sink(verbs_rows(list, row_keys, G_N_ELEMENTS(row_keys)));
}

char *
access_rule_name(GVariant *row)
{
    const char *initiator = "";
    const char *group = "";

    (void)g_variant_lookup(row, "Initiator", "&s", &initiator);
    (void)g_variant_lookup(row, "Group", "&s", &group);
    return group[0] != '\0' ? g_strconcat("@", group, NULL) : g_strdup(initiator);
}

char *
access_find_rule(Ctl *ctl, const char *target, const char *rule, GError **ret_error)
{
    g_autofree char *target_path = client_find_target(&ctl->client, target, ret_error);
    g_autofree char *wanted = g_utf8_strdown(rule, -1);
    g_autoptr(GVariant) rules =
        target_path != NULL ? access_list_rules(ctl, target_path, ret_error) : NULL;

    for (gsize i = 0; rules != NULL && i < g_variant_n_children(rules); i++) {
        g_autoptr(GVariant) row = g_variant_get_child_value(rules, i);
        g_autofree char *name = access_rule_name(row);
        char *path;

        if (strcmp(name, rule) == 0 || strcmp(name, wanted) == 0) {
            (void)g_variant_lookup(row, "Path", "o", &path);
            return path;
        }
    }
    if (rules != NULL)
        g_set_error(ret_error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_OBJECT,
                    "Target “%s” has no access rule for “%s”", target, rule);
    return NULL;
}

/* @arguments: floating, of a method of the rule that the second argument names */
static gboolean
call_rule(Ctl *ctl, const char *method, GVariant *arguments, GError **ret_error)
{
    g_autoptr(GVariant) owned = g_variant_ref_sink(arguments);
    g_autofree char *path = access_find_rule(ctl, ctl->argv[0], ctl->argv[1], ret_error);
    g_autoptr(GVariant) reply = NULL;

    if (path == NULL)
        return FALSE;
    reply = client_call(&ctl->client, path, "Acl", method, owned, ret_error);
    return reply != NULL;
}

gboolean
access_verb_remove(Ctl *ctl, GError **ret_error)
{
    return call_rule(ctl, "Delete",
                     g_variant_new("(@a{sv})", client_options(&ctl->client, ctl->options)),
                     ret_error);
}

gboolean
access_verb_secret(Ctl *ctl, GError **ret_error)
{
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
    gboolean flag;
    gboolean removes = g_variant_lookup(ctl->options, "remove", "b", &flag);
    const char *user;

    if (g_variant_lookup(ctl->options, "persist", "b", &flag))
        g_variant_dict_insert(&dict, "persist", "b", flag);
    if (removes && g_variant_lookup(ctl->options, "user", "&s", &user))
        g_variant_dict_insert(&dict, "user", "s", user);
    if (removes)
        g_variant_dict_insert(&dict, "secret", "s", "");
    else if (!secret_add(ctl, &dict, "user", !secret_has_mutual(ctl), ret_error))
        return FALSE;
    return call_rule(
        ctl, "SetSecret",
        g_variant_new("(@a{sv})", client_options(&ctl->client, g_variant_dict_end(&dict))),
        ret_error);
}

gboolean
access_verb_luns(Ctl *ctl, GError **ret_error)
{
    GVariant *map = parse_luns(ctl->argv[2], ret_error);

    return map != NULL && call_rule(ctl, "SetLunMap",
                                    g_variant_new("(@a(qqb)@a{sv})", map,
                                                  client_options(&ctl->client, ctl->options)),
                                    ret_error);
}

static gboolean
set_read_only(Ctl *ctl, gboolean read_only, GError **ret_error)
{
    return call_rule(
        ctl, "SetReadOnly",
        g_variant_new("(b@a{sv})", read_only, client_options(&ctl->client, ctl->options)),
        ret_error);
}

gboolean
access_verb_read_only(Ctl *ctl, GError **ret_error)
{
    return set_read_only(ctl, TRUE, ret_error);
}

gboolean
access_verb_writable(Ctl *ctl, GError **ret_error)
{
    return set_read_only(ctl, FALSE, ret_error);
}

/* "all", "all read-only", or the map as it is typed */
static char *
show_luns(GVariant *row)
{
    g_autoptr(GVariant) map = g_variant_lookup_value(row, "LunMap", G_VARIANT_TYPE("a(qqb)"));
    g_autoptr(GString) text = g_string_new(NULL);
    gboolean read_only = FALSE;

    (void)g_variant_lookup(row, "ReadOnly", "b", &read_only);
    for (gsize i = 0; map != NULL && i < g_variant_n_children(map); i++) {
        guint16 lun;
        guint16 target_lun;
        gboolean is_read_only;

        g_variant_get_child(map, i, "(qqb)", &lun, &target_lun, &is_read_only);
        g_string_append_printf(text, "%s%u:%u%s", i > 0 ? "," : "", lun, target_lun,
                               is_read_only ? ":ro" : "");
    }
    if (text->len == 0)
        g_string_append(text, "all");
    if (read_only)
        g_string_append(text, " read-only");
    return g_string_free(g_steal_pointer(&text), FALSE);
}

/* What else the columns show of a rule; one that denies neither shows units nor asks for a proof */
static GVariant *
complete_row(GVariant *row, const char *target)
{
    g_autofree char *who = access_rule_name(row);
    g_autofree char *luns = NULL;
    const char *action = "";
    GVariantDict dict;

    g_variant_dict_init(&dict, row);
    (void)g_variant_lookup(row, "Action", "&s", &action);
    if (strcmp(action, "deny") == 0) {
        luns = g_strdup("");
        g_variant_dict_insert(&dict, "AuthenticationMethod", "s", "");
    } else {
        luns = show_luns(row);
    }
    g_variant_dict_insert(&dict, "Target", "s", target);
    g_variant_dict_insert(&dict, "Who", "s", who);
    g_variant_dict_insert(&dict, "Luns", "s", luns);
    return g_variant_dict_end(&dict);
}

/* What holds for those whom no rule is for */
static GVariant *
last_row(Ctl *ctl, const char *path, const char *target, const char *mode)
{
    g_autoptr(GVariant) object = client_get_all(&ctl->client, path, "Target", NULL);
    gboolean is_open = strcmp(mode, "open") == 0;
    const char *method = "";
    const char *user = "";
    GVariantDict dict;

    if (object != NULL) {
        (void)g_variant_lookup(object, "AuthenticationMethod", "&s", &method);
        (void)g_variant_lookup(object, "ChapUser", "&s", &user);
    }
    g_variant_dict_init(&dict, NULL);
    g_variant_dict_insert(&dict, "Target", "s", target);
    g_variant_dict_insert(&dict, "Who", "s", "(others)");
    g_variant_dict_insert(&dict, "Action", "s", is_open ? "allow" : "deny");
    g_variant_dict_insert(&dict, "AccessMode", "s", mode);
    g_variant_dict_insert(&dict, "AuthenticationMethod", "s", method);
    g_variant_dict_insert(&dict, "ChapUser", "s", user);
    g_variant_dict_insert(&dict, "Luns", "s", is_open ? "all" : "");
    return g_variant_dict_end(&dict);
}

static gboolean
add_target(Ctl *ctl, GVariantBuilder *rows, GVariant *target, GError **ret_error)
{
    const char *path = "";
    const char *name = "";
    const char *mode = "";
    g_autoptr(GVariant) rules = NULL;

    (void)g_variant_lookup(target, "Path", "&o", &path);
    (void)g_variant_lookup(target, "Name", "&s", &name);
    (void)g_variant_lookup(target, "AccessMode", "&s", &mode);
    if (ctl->argc > 0 && g_ascii_strcasecmp(ctl->argv[0], name) != 0)
        return TRUE;

    rules = access_list_rules(ctl, path, ret_error);
    if (rules == NULL)
        return FALSE;
    for (gsize i = 0; i < g_variant_n_children(rules); i++) {
        g_autoptr(GVariant) row = g_variant_get_child_value(rules, i);

        g_variant_builder_add_value(rows, complete_row(row, name));
    }
    g_variant_builder_add_value(rows, last_row(ctl, path, name, mode));
    return TRUE;
}

gboolean
access_verb_list(Ctl *ctl, GError **ret_error)
{
    g_auto(GVariantBuilder) rows = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("aa{sv}"));
    g_autofree char *path = NULL;
    g_autoptr(GVariant) targets = NULL;

    if (ctl->argc > 0) {
        path = client_find_target(&ctl->client, ctl->argv[0], ret_error);
        if (path == NULL)
            return FALSE;
    }
    targets = verbs_list_rows(ctl, "ListTargets", ret_error);
    if (targets == NULL)
        return FALSE;
    (void)g_variant_ref_sink(targets);
    for (gsize i = 0; i < g_variant_n_children(targets); i++) {
        g_autoptr(GVariant) target = g_variant_get_child_value(targets, i);

        if (!add_target(ctl, &rows, target, ret_error))
            return FALSE;
    }
    output_rows(&ctl->output, columns, G_N_ELEMENTS(columns), g_variant_builder_end(&rows),
                "rules");
    return TRUE;
}
