/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * lunctl limits: what peers may use of the service, and who has wanted more
 */

#include "ctl/verbs.h"

#include <string.h>

#include "util/size.h"

/* clang-format off */
static const Column columns[] = {
    { "Limit", "LIMIT", SHOW_PLAIN },
    { "Value", "VALUE", SHOW_PLAIN },
    { "Hits", "HITS", SHOW_PLAIN },
    { "LastHit", "LAST", SHOW_TIME },
    { "Peer", "BY", SHOW_PLAIN },
};
/* clang-format on */

GVariant *
limits_get_hits(Ctl *ctl, GError **ret_error)
{
    g_autoptr(GVariant) reply =
        client_call(&ctl->client, MANAGER_PATH, "Manager", "ListLimitHits", NULL, ret_error);

    return reply != NULL ? g_variant_get_child_value(reply, 0) : NULL;
}

/* The hits of one limit are added to its row */
static void
add_hits(GVariantBuilder *row, GVariant *hits, const char *name)
{
    for (gsize i = 0; i < g_variant_n_children(hits); i++) {
        const char *hit;
        const char *peer;
        guint64 n;
        guint64 last;

        g_variant_get_child(hits, i, "(&stt&s)", &hit, &n, &last, &peer);
        if (strcmp(hit, name) != 0)
            continue;
        g_variant_builder_add(row, "{sv}", "Hits", g_variant_new_uint64(n));
        g_variant_builder_add(row, "{sv}", "LastHit", g_variant_new_uint64(last));
        g_variant_builder_add(row, "{sv}", "Peer", g_variant_new_string(peer));
    }
}

static GVariant *
make_rows(GVariant *limits, GVariant *hits)
{
    GVariantBuilder rows;
    GVariantIter iter;
    const char *name;
    guint64 value;

    g_variant_builder_init(&rows, G_VARIANT_TYPE("aa{sv}"));
    g_variant_iter_init(&iter, limits);
    while (g_variant_iter_next(&iter, "{&st}", &name, &value)) {
        g_variant_builder_open(&rows, G_VARIANT_TYPE_VARDICT);
        g_variant_builder_add(&rows, "{sv}", "Limit", g_variant_new_string(name));
        g_variant_builder_add(&rows, "{sv}", "Value", g_variant_new_uint64(value));
        add_hits(&rows, hits, name);
        g_variant_builder_close(&rows);
    }
    return g_variant_builder_end(&rows);
}

gboolean
limits_verb_list(Ctl *ctl, GError **ret_error)
{
    g_autoptr(GVariant) manager = client_get_all(&ctl->client, MANAGER_PATH, "Manager", ret_error);
    g_autoptr(GVariant) limits = NULL;
    g_autoptr(GVariant) hits = NULL;

    if (manager == NULL)
        return FALSE;
    hits = limits_get_hits(ctl, ret_error);
    if (hits == NULL)
        return FALSE;

    limits = g_variant_lookup_value(manager, "Limits", G_VARIANT_TYPE("a{st}"));
    if (limits == NULL) {
        g_set_error_literal(ret_error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                            "The service has no limits that can be set");
        return FALSE;
    }
    output_rows(&ctl->output, columns, G_N_ELEMENTS(columns), make_rows(limits, hits), "limits");
    return TRUE;
}

gboolean
limits_verb_set(Ctl *ctl, GError **ret_error)
{
    g_auto(GVariantBuilder) limits = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a{st}"));
    g_autoptr(GVariant) reply = NULL;

    for (int i = 0; i < ctl->argc; i++) {
        const char *equals = strchr(ctl->argv[i], '=');
        g_autofree char *name = NULL;
        guint64 value;

        if (equals == NULL) {
            g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "“%s” is not KEY=VALUE", ctl->argv[i]);
            return FALSE;
        }
        name = g_strndup(ctl->argv[i], (gsize)(equals - ctl->argv[i]));
        if (!g_utf8_validate(name, -1, NULL) || !size_parse(equals + 1, &value, NULL)) {
            g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "“%s” is not KEY=NUMBER", ctl->argv[i]);
            return FALSE;
        }
        g_variant_builder_add(&limits, "{st}", name, value);
    }

    reply = client_call(
        &ctl->client, MANAGER_PATH, "Manager", "SetLimits",
        g_variant_new("(a{st}@a{sv})", &limits, client_options(&ctl->client, ctl->options)),
        ret_error);
    return reply != NULL;
}
