/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * lunctl target
 *
 * All verbs but the lists name one target, look it up and call one of its methods. “set” takes the
 * type of each parameter from the property that shows it, so that no key is written here.
 */

#include <string.h>

#include "ctl/verbs.h"
#include "util/size.h"

/* clang-format off */
static const Column list_columns[] = {
    { "Name", "NAME", SHOW_PLAIN },
    { "State", "STATE", SHOW_PLAIN },
    { "AccessMode", "ACCESS", SHOW_PLAIN },
    { "LunCount", "LUNS", SHOW_PLAIN },
    { "SessionCount", "SESSIONS", SHOW_PLAIN },
    { "Alias", "ALIAS", SHOW_PLAIN },
};

static const Column show_columns[] = {
    { "Name", "Name", SHOW_PLAIN },
    { "Alias", "Alias", SHOW_PLAIN },
    { "Enabled", "Enabled", SHOW_BOOL },
    { "State", "State", SHOW_PLAIN },
    { "LastError", "Problem", SHOW_ERROR },
    { "AccessMode", "Access", SHOW_PLAIN },
    { "AuthenticationMethod", "Authentication", SHOW_PLAIN },
    { "ChapUser", "CHAP user", SHOW_PLAIN },
    { "MutualChapUser", "Mutual user", SHOW_PLAIN },
    { "Redirect", "Redirected to", SHOW_PLAIN },
    { "GroupRedirects", "By portal group", SHOW_LINES },
    { "SessionCount", "Sessions", SHOW_PLAIN },
    { "PortalGroups", "Portal groups", SHOW_PLAIN },
    { "Parameters", "Parameters", SHOW_LINES },
    { "Persistent", "Persistent", SHOW_BOOL },
};
/* clang-format on */

/* Call a method of the target named by the first argument */
static gboolean
call_target(Ctl *ctl, const char *method, GVariant *arguments, GError **ret_error)
{
    g_autofree char *path = client_find_target(&ctl->client, ctl->argv[0], ret_error);

    return client_change(&ctl->client, path, "Target", method, arguments, ret_error);
}

gboolean
target_verb_create(Ctl *ctl, GError **ret_error)
{
    GVariantDict dict;
    const char *text;

    g_variant_dict_init(&dict, ctl->options);
    if (g_variant_lookup(ctl->options, "portal-groups", "&s", &text)) {
        GVariant *groups = verbs_parse_portal_groups(text, ret_error);

        if (groups == NULL) {
            g_variant_dict_clear(&dict);
            return FALSE;
        }
        g_variant_dict_insert_value(&dict, "portal-groups", groups);
    }
    return client_change(&ctl->client, MANAGER_PATH, "Manager", "CreateTarget",
                         g_variant_new("(s@a{sv})", ctl->argv[0],
                                       client_options(&ctl->client, g_variant_dict_end(&dict))),
                         ret_error);
}

gboolean
target_verb_portal_groups(Ctl *ctl, GError **ret_error)
{
    gboolean every = strcmp(ctl->argv[1], "all") == 0;
    GVariant *groups =
        every ? g_variant_new("ao", NULL) : verbs_parse_portal_groups(ctl->argv[1], ret_error);
    GVariantDict dict;

    if (groups == NULL)
        return FALSE;
    g_variant_dict_init(&dict, ctl->options);
    if (every)
        g_variant_dict_insert(&dict, "every", "b", TRUE);
    return call_target(ctl, "SetPortalGroups",
                       g_variant_new("(@ao@a{sv})", groups,
                                     client_options(&ctl->client, g_variant_dict_end(&dict))),
                       ret_error);
}

gboolean
target_verb_delete(Ctl *ctl, GError **ret_error)
{
    return call_target(ctl, "Delete",
                       g_variant_new("(@a{sv})", client_options(&ctl->client, ctl->options)),
                       ret_error);
}

gboolean
target_verb_enable(Ctl *ctl, GError **ret_error)
{
    return call_target(ctl, "Enable", g_variant_new("(@a{sv})", client_options(&ctl->client, NULL)),
                       ret_error);
}

gboolean
target_verb_disable(Ctl *ctl, GError **ret_error)
{
    g_autofree char *path = client_find_target(&ctl->client, ctl->argv[0], ret_error);
    g_autoptr(GVariant) reply = NULL;
    GVariantDict dict;
    gboolean drains = FALSE;
    gboolean end_sessions = FALSE;

    if (path == NULL)
        return FALSE;
    (void)g_variant_lookup(ctl->options, "drain", "b", &drains);
    (void)g_variant_lookup(ctl->options, "abort", "b", &end_sessions);
    if (drains && end_sessions) {
        g_set_error_literal(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                            "--drain and --abort do not go together");
        return FALSE;
    }

    g_variant_dict_init(&dict, ctl->options);
    (void)g_variant_dict_remove(&dict, "drain");
    (void)g_variant_dict_remove(&dict, "abort");
    (void)g_variant_dict_remove(&dict, JOB_WAIT_KEY);
    g_variant_dict_insert(&dict, "mode", "s", drains ? "drain" : end_sessions ? "abort" : "refuse");
    reply = client_call(
        &ctl->client, path, "Target", "Disable",
        g_variant_new("(@a{sv})", client_options(&ctl->client, g_variant_dict_end(&dict))),
        ret_error);
    return reply != NULL && job_follow(ctl, reply, ret_error);
}

gboolean
target_verb_redirect(Ctl *ctl, GError **ret_error)
{
    GVariantDict dict;
    gboolean clears = FALSE;
    gboolean permanent = FALSE;
    guint32 tag;

    (void)g_variant_lookup(ctl->options, "clear", "b", &clears);
    (void)g_variant_lookup(ctl->options, "permanent", "b", &permanent);
    if (clears ? ctl->argc > 1 || permanent : ctl->argc < 2) {
        g_set_error_literal(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                            "Say either where initiators are sent or --clear");
        return FALSE;
    }

    g_variant_dict_init(&dict, ctl->options);
    (void)g_variant_dict_remove(&dict, "clear");
    (void)g_variant_dict_remove(&dict, "permanent");
    if (g_variant_lookup(ctl->options, "portal-group", "u", &tag)) {
        g_autofree char *path = g_strdup_printf("/org/lunport1/portal_groups/%u", tag);

        g_variant_dict_insert(&dict, "portal-group", "o", path);
    }
    return call_target(ctl, "SetRedirect",
                       g_variant_new("(sb@a{sv})", clears ? "" : ctl->argv[1], permanent,
                                     client_options(&ctl->client, g_variant_dict_end(&dict))),
                       ret_error);
}

gboolean
target_verb_list(Ctl *ctl, GError **ret_error)
{
    GVariant *rows = verbs_list_rows(ctl, "ListTargets", ret_error);

    if (rows == NULL)
        return FALSE;
    output_rows(&ctl->output, list_columns, G_N_ELEMENTS(list_columns), rows, "targets");
    return TRUE;
}

/* "2: 192.0.2.1, permanently"; as, floating */
static GVariant *
describe_group_redirects(GVariant *redirects)
{
    GVariantBuilder builder;
    GVariantIter iter;
    const char *address;
    gboolean permanent;
    guint16 tag;

    g_variant_builder_init(&builder, G_VARIANT_TYPE_STRING_ARRAY);
    g_variant_iter_init(&iter, redirects);
    while (g_variant_iter_next(&iter, "(q&sb)", &tag, &address, &permanent)) {
        g_autofree char *text =
            g_strdup_printf("%u: %s%s", tag, address, permanent ? ", permanently" : "");

        g_variant_builder_add(&builder, "s", text);
    }
    return g_variant_builder_end(&builder);
}

/* For people portal groups by their tags and a redirection in words; programs get what the bus has */
static GVariant *
with_tags(Ctl *ctl, GVariant *object)
{
    g_autofree const char **paths = NULL;
    g_autoptr(GPtrArray) tags = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GVariant) redirects = NULL;
    GVariantDict dict;
    const char *address;
    gboolean permanent;

    if (ctl->output.mode != OUTPUT_TABLE ||
        !g_variant_lookup(object, "PortalGroups", "^a&o", &paths))
        return g_variant_ref(object);

    for (gsize i = 0; paths[i] != NULL; i++) {
        g_autoptr(GVariant) group = client_get_all(&ctl->client, paths[i], "PortalGroup", NULL);
        guint16 tag;

        if (group != NULL && g_variant_lookup(group, "Tag", "q", &tag))
            g_ptr_array_add(tags, g_strdup_printf("%u", tag));
    }
    g_ptr_array_add(tags, NULL);
    g_variant_dict_init(&dict, object);
    g_variant_dict_insert(&dict, "PortalGroups", "^as", tags->pdata);
    redirects = g_variant_lookup_value(object, "GroupRedirects", G_VARIANT_TYPE("a(qsb)"));
    if (redirects != NULL)
        g_variant_dict_insert_value(&dict, "GroupRedirects", describe_group_redirects(redirects));
    if (g_variant_lookup(object, "Redirect", "(&sb)", &address, &permanent))
        g_variant_dict_insert_value(&dict, "Redirect",
                                    g_variant_new_take_string(g_strconcat(
                                        address, permanent ? ", permanently" : "", NULL)));
    return g_variant_ref_sink(g_variant_dict_end(&dict));
}

gboolean
target_verb_show(Ctl *ctl, GError **ret_error)
{
    g_autofree char *path = client_find_target(&ctl->client, ctl->argv[0], ret_error);
    g_autoptr(GVariant) object = NULL;
    g_autoptr(GVariant) shown = NULL;

    if (path == NULL)
        return FALSE;
    object = client_get_all(&ctl->client, path, "Target", ret_error);
    if (object == NULL)
        return FALSE;
    shown = with_tags(ctl, object);
    output_object(&ctl->output, show_columns, G_N_ELEMENTS(show_columns), shown);
    return TRUE;
}

static GVariant *
parse_yes_no(const char *text)
{
    static const char *const words[][2] = {
        { "yes", "no" }, { "true", "false" }, { "on", "off" }, { "1", "0" }
    };

    for (gsize i = 0; i < G_N_ELEMENTS(words); i++) {
        if (g_ascii_strcasecmp(text, words[i][0]) == 0)
            return g_variant_new_boolean(TRUE);
        if (g_ascii_strcasecmp(text, words[i][1]) == 0)
            return g_variant_new_boolean(FALSE);
    }
    return NULL;
}

/* Of the type that the property Parameters has for @key; a key that it does not have is for the service to refuse */
static GVariant *
parameter_value(GVariant *known, const char *key, const char *text, GError **ret_error)
{
    g_autoptr(GVariant) old = g_variant_lookup_value(known, key, NULL);
    GVariant *value = NULL;
    guint64 number;

    if (old != NULL && g_variant_is_of_type(old, G_VARIANT_TYPE_BOOLEAN)) {
        value = parse_yes_no(text);
        if (value == NULL)
            g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "%s is yes or no and not “%s”", key, text);
        return value;
    }
    if (old != NULL && g_variant_is_of_type(old, G_VARIANT_TYPE_UINT32)) {
        if (size_parse(text, &number, NULL) && number <= G_MAXUINT32)
            return g_variant_new_uint32((guint32)number);
        g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "%s is a number and not “%s”", key, text);
        return NULL;
    }
    return g_variant_new_string(text);
}

/* What “target set” was given: @ret_alias stays NULL when it is not among it */
static gboolean
parse_settings(Ctl *ctl, GVariant *known, GVariantDict *parameters, guint *ret_n_parameters,
               char **ret_alias, GError **ret_error)
{
    for (int i = 1; i < ctl->argc; i++) {
        g_auto(GStrv) parts = g_strsplit(ctl->argv[i], "=", 2);
        GVariant *value;

        if (g_strv_length(parts) != 2 || !g_utf8_validate(ctl->argv[i], -1, NULL)) {
            g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "“%s” is not KEY=VALUE", ctl->argv[i]);
            return FALSE;
        }
        if (g_ascii_strcasecmp(parts[0], "alias") == 0) {
            g_free(*ret_alias);
            *ret_alias = g_strdup(parts[1]);
            continue;
        }
        value = parameter_value(known, parts[0], parts[1], ret_error);
        if (value == NULL)
            return FALSE;
        g_variant_dict_insert_value(parameters, parts[0], value);
        *ret_n_parameters += 1;
    }
    return TRUE;
}

gboolean
target_verb_set(Ctl *ctl, GError **ret_error)
{
    g_autofree char *path = client_find_target(&ctl->client, ctl->argv[0], ret_error);
    g_autoptr(GVariant) object = NULL;
    g_autoptr(GVariant) known = NULL;
    g_autofree char *alias = NULL;
    g_auto(GVariantDict) parameters = G_VARIANT_DICT_INIT(NULL);
    guint n_parameters = 0;

    if (path == NULL)
        return FALSE;
    object = client_get_all(&ctl->client, path, "Target", ret_error);
    if (object == NULL)
        return FALSE;
    known = g_variant_lookup_value(object, "Parameters", G_VARIANT_TYPE_VARDICT);
    if (known == NULL)
        known = g_variant_ref_sink(g_variant_new("a{sv}", NULL));
    if (!parse_settings(ctl, known, &parameters, &n_parameters, &alias, ret_error))
        return FALSE;

    if (n_parameters > 0 &&
        !call_target(ctl, "SetParameters",
                     g_variant_new("(@a{sv}@a{sv})", g_variant_dict_end(&parameters),
                                   client_options(&ctl->client, NULL)),
                     ret_error))
        return FALSE;
    return alias == NULL ||
           call_target(ctl, "SetAlias",
                       g_variant_new("(s@a{sv})", alias, client_options(&ctl->client, NULL)),
                       ret_error);
}
