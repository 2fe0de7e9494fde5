/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * lunctl status
 *
 * The service at a glance, and what needs attention: a table says which states of an object are as
 * they should be, and everything in another state is a sentence at the end.
 */

#include "ctl/verbs.h"

/* clang-format off */
static const Column service_columns[] = {
    { "State", "Service", SHOW_PLAIN },
    { "Version", "Version", SHOW_PLAIN },
    { "StartedAt", "Since", SHOW_TIME },
    { "TargetCount", "Targets", SHOW_PLAIN },
    { "SessionCount", "Sessions", SHOW_PLAIN },
    { "IsnsServer", "iSNS server", SHOW_PLAIN },
};

static const Column portal_columns[] = {
    { "Address", "PORTAL", SHOW_PLAIN },
    { "Port", "PORT", SHOW_PLAIN },
    { "State", "STATE", SHOW_PLAIN },
    { "ConnectionCount", "CONNECTIONS", SHOW_PLAIN },
};

static const Column target_columns[] = {
    { "Name", "TARGET", SHOW_PLAIN },
    { "State", "STATE", SHOW_PLAIN },
    { "AccessMode", "ACCESS", SHOW_PLAIN },
    { "LunCount", "LUNS", SHOW_PLAIN },
    { "SessionCount", "SESSIONS", SHOW_PLAIN },
};

/* What needs attention: state of a backstore, portal or target that is not as it should be */
static const struct {
    const char *method;
    const char *noun;
    const char *name_key;
    const char *const good[5];
} checks[] = {
    { "ListBackstores", "Backstore", "Name", { "online", "opening" } },
    { "ListPortals", "Portal", "Address", { "listening", "online", "paused" } },
    { "ListTargets", "Target", "Name", { "online", "disabled" } },
};
/* clang-format on */

/* Rows whose state is not among the good ones, as sentences */
static gboolean
collect_problems(Ctl *ctl, GVariantBuilder *problems, GError **ret_error)
{
    for (gsize c = 0; c < G_N_ELEMENTS(checks); c++) {
        g_autoptr(GVariant) rows = verbs_list_rows(ctl, checks[c].method, ret_error);

        if (rows == NULL)
            return FALSE;
        (void)g_variant_ref_sink(rows);
        for (gsize i = 0; i < g_variant_n_children(rows); i++) {
            g_autoptr(GVariant) row = g_variant_get_child_value(rows, i);
            g_autofree char *sentence = NULL;
            const char *state = "", *name = "";

            (void)g_variant_lookup(row, "State", "&s", &state);
            (void)g_variant_lookup(row, checks[c].name_key, "&s", &name);
            if (g_strv_contains(checks[c].good, state))
                continue;
            sentence = g_strdup_printf("%s %s is %s", checks[c].noun, name, state);
            g_variant_builder_add(problems, "s", sentence);
        }
    }
    return TRUE;
}

/* Trouble that was made on purpose and must not be forgotten */
static void
collect_faults(Ctl *ctl, GVariant *service, GVariantBuilder *problems)
{
    g_autofree const char **paths = NULL;

    if (!g_variant_lookup(service, "FaultyBackstores", "^a&o", &paths))
        return;
    for (gsize i = 0; paths[i] != NULL; i++) {
        g_autoptr(GVariant) object = client_get_all(&ctl->client, paths[i], "Backstore", NULL);
        g_autofree char *sentence = NULL;
        const char *name = paths[i];

        if (object != NULL)
            (void)g_variant_lookup(object, "Name", "&s", &name);
        sentence = g_strdup_printf("Backstore %s has faults set on purpose", name);
        g_variant_builder_add(problems, "s", sentence);
    }
}

/* What somebody wanted more of than he may have */
static gboolean
collect_hits(Ctl *ctl, GVariantBuilder *problems, GError **ret_error)
{
    g_autoptr(GVariant) hits = limits_get_hits(ctl, ret_error);

    if (hits == NULL)
        return FALSE;
    for (gsize i = 0; i < g_variant_n_children(hits); i++) {
        g_autoptr(GDateTime) time = NULL;
        g_autofree char *when = NULL;
        g_autofree char *sentence = NULL;
        const char *name;
        const char *peer;
        guint64 n;
        guint64 last;

        g_variant_get_child(hits, i, "(&stt&s)", &name, &n, &last, &peer);
        time = g_date_time_new_from_unix_local((gint64)(last / G_USEC_PER_SEC));
        when = time != NULL ? g_date_time_format(time, "%F %T") : NULL;
        sentence = n == 1 ? g_strdup_printf("Limit %s was reached once, at %s by %s", name,
                                            when != NULL ? when : "an unknown time", peer)
                          : g_strdup_printf("Limit %s was reached %" G_GUINT64_FORMAT
                                            " times, last at %s by %s",
                                            name, n, when != NULL ? when : "an unknown time", peer);
        g_variant_builder_add(problems, "s", sentence);
    }
    return TRUE;
}

static void
collect_isns(GVariant *service, GVariantBuilder *problems)
{
    g_autofree char *sentence = NULL;
    const char *server = "", *state = "", *error = "";

    (void)g_variant_lookup(service, "IsnsServer", "&s", &server);
    (void)g_variant_lookup(service, "IsnsState", "&s", &state);
    (void)g_variant_lookup(service, "IsnsError", "&s", &error);
    if (!g_str_equal(state, "unavailable"))
        return;
    sentence = g_strdup_printf("iSNS server %s is unavailable: %s", server, error);
    g_variant_builder_add(problems, "s", sentence);
}

/* What the service says itself */
static void
collect_sentences(GVariant *service, GVariantBuilder *problems)
{
    g_autofree const char **sentences = NULL;

    if (!g_variant_lookup(service, "Problems", "^a&s", &sentences))
        return;
    for (gsize i = 0; sentences[i] != NULL; i++)
        g_variant_builder_add(problems, "s", sentences[i]);
}

static gboolean
status_json(Ctl *ctl, GVariant *service, GVariant *problems, GError **ret_error)
{
    GVariantDict dict;
    GVariant *portals, *targets, *sessions;

    portals = verbs_list_rows(ctl, "ListPortals", ret_error);
    if (portals == NULL)
        return FALSE;
    g_variant_dict_init(&dict, service);
    g_variant_dict_insert_value(&dict, "Portals", portals);
    targets = verbs_list_rows(ctl, "ListTargets", ret_error);
    if (targets != NULL)
        g_variant_dict_insert_value(&dict, "Targets", targets);
    sessions = targets != NULL ? verbs_list_rows(ctl, "ListSessions", ret_error) : NULL;
    if (sessions == NULL) {
        g_variant_dict_clear(&dict);
        return FALSE;
    }
    g_variant_dict_insert_value(&dict, "Sessions", sessions);
    g_variant_dict_insert_value(&dict, "Problems", problems);
    output_object(&ctl->output, service_columns, G_N_ELEMENTS(service_columns),
                  g_variant_dict_end(&dict));
    return TRUE;
}

gboolean
status_verb(Ctl *ctl, GError **ret_error)
{
    g_autoptr(GVariant) service = client_get_all(&ctl->client, MANAGER_PATH, "Manager", ret_error);
    g_autoptr(GVariant) problems = NULL;
    g_auto(GVariantBuilder) builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE_STRING_ARRAY);
    GVariant *portals, *targets;

    if (service == NULL || !collect_problems(ctl, &builder, ret_error))
        return FALSE;
    collect_faults(ctl, service, &builder);
    collect_sentences(service, &builder);
    collect_isns(service, &builder);
    if (!collect_hits(ctl, &builder, ret_error))
        return FALSE;
    problems = g_variant_ref_sink(g_variant_builder_end(&builder));
    if (ctl->output.mode != OUTPUT_TABLE)
        return status_json(ctl, service, problems, ret_error);

    portals = verbs_list_rows(ctl, "ListPortals", ret_error);
    if (portals == NULL)
        return FALSE;
    output_object(&ctl->output, service_columns, G_N_ELEMENTS(service_columns), service);
    output_say(&ctl->output, "\n");
    output_rows(&ctl->output, portal_columns, G_N_ELEMENTS(portal_columns), portals, "portals");
    targets = verbs_list_rows(ctl, "ListTargets", ret_error);
    if (targets == NULL)
        return FALSE;
    output_say(&ctl->output, "\n");
    output_rows(&ctl->output, target_columns, G_N_ELEMENTS(target_columns), targets, "targets");

    for (gsize i = 0; i < g_variant_n_children(problems); i++) {
        const char *sentence;

        g_variant_get_child(problems, i, "&s", &sentence);
        output_say(&ctl->output, "%sProblem: %s\n", i == 0 ? "\n" : "", sentence);
    }
    return TRUE;
}
