/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * lunctl backstore fault
 *
 * The service takes all faults of a backstore at once. Here one is added to
 * those that are there, which is what somebody who rehearses wants; --clear
 * removes them first. What is typed is translated to the types of the bus; the
 * service judges it.
 */

#include <string.h>

#include "ctl/verbs.h"

/* clang-format off */
static const Column columns[] = {
    { "on", "ON", SHOW_PLAIN },
    { "error", "ERROR", SHOW_PLAIN },
    { "delay", "DELAY-US", SHOW_PLAIN },
    { "stall", "STALL", SHOW_BOOL },
    { "offset", "OFFSET", SHOW_PLAIN },
    { "length", "LENGTH", SHOW_PLAIN },
    { "count", "COUNT", SHOW_PLAIN },
    { "probability", "PROBABILITY", SHOW_PLAIN },
    { "seed", "SEED", SHOW_PLAIN },
};
/* clang-format on */

static gboolean
parse_probability(const char *text, double *ret_probability, GError **ret_error)
{
    char *end;

    *ret_probability = g_ascii_strtod(text, &end);
    if (end != text && *end == '\0')
        return TRUE;

    g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "“%s” is not a number", text);
    return FALSE;
}

/* Numbers that were typed as 32 bits have 64 on the bus */
static void
widen(GVariantDict *rule, const char *key)
{
    guint32 number;

    if (g_variant_dict_lookup(rule, key, "u", &number))
        g_variant_dict_insert(rule, key, "t", (guint64)number);
}

/* The rule of the options; NULL when there is none, which is no error unless @ret_error is set */
static GVariant *
make_rule(const Ctl *ctl, GError **ret_error)
{
    g_auto(GVariantDict) rule = G_VARIANT_DICT_INIT(ctl->options);
    g_autoptr(GVariant) made = NULL;
    const char *text;
    double probability;
    guint64 usec;

    (void)g_variant_dict_remove(&rule, "clear");
    widen(&rule, "count");
    widen(&rule, "seed");
    if (g_variant_lookup(ctl->options, "delay", "&s", &text)) {
        if (!verbs_parse_time(text, &usec, ret_error))
            return NULL;
        g_variant_dict_insert(&rule, "delay", "t", usec);
    }
    if (g_variant_lookup(ctl->options, "probability", "&s", &text)) {
        if (!parse_probability(text, &probability, ret_error))
            return NULL;
        g_variant_dict_insert(&rule, "probability", "d", probability);
    }

    made = g_variant_ref_sink(g_variant_dict_end(&rule));
    return g_variant_n_children(made) > 0 ? g_steal_pointer(&made) : NULL;
}

static GVariant *
get_faults(Ctl *ctl, const char *path, GError **ret_error)
{
    g_autoptr(GVariant) object = client_get_all(&ctl->client, path, "Backstore", ret_error);
    GVariant *faults;

    if (object == NULL)
        return NULL;
    faults = g_variant_lookup_value(object, "Faults", G_VARIANT_TYPE("aa{sv}"));
    return faults != NULL
               ? faults
               : g_variant_ref_sink(g_variant_new_array(G_VARIANT_TYPE_VARDICT, NULL, 0));
}

static gboolean
set_faults(Ctl *ctl, const char *path, GVariant *before, GVariant *rule, GError **ret_error)
{
    g_auto(GVariantBuilder) builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("aa{sv}"));
    g_autoptr(GVariant) reply = NULL;

    for (gsize i = 0; before != NULL && i < g_variant_n_children(before); i++) {
        g_autoptr(GVariant) one = g_variant_get_child_value(before, i);

        g_variant_builder_add_value(&builder, one);
    }
    if (rule != NULL)
        g_variant_builder_add_value(&builder, rule);
    reply = client_call(&ctl->client, path, "Backstore", "SetFaults",
                        g_variant_new("(@aa{sv}@a{sv})", g_variant_builder_end(&builder),
                                      client_options(&ctl->client, NULL)),
                        ret_error);
    return reply != NULL;
}

gboolean
backstore_verb_fault(Ctl *ctl, GError **ret_error)
{
    g_autofree char *path = NULL;
    g_autoptr(GVariant) rule = NULL;
    g_autoptr(GVariant) before = NULL;
    g_autoptr(GError) error = NULL;
    gboolean clear = FALSE;

    (void)g_variant_lookup(ctl->options, "clear", "b", &clear);
    rule = make_rule(ctl, &error);
    if (error != NULL) {
        g_propagate_error(ret_error, g_steal_pointer(&error));
        return FALSE;
    }
    path = client_find_backstore(&ctl->client, ctl->argv[0], ret_error);
    if (path == NULL)
        return FALSE;
    if (!clear) {
        before = get_faults(ctl, path, ret_error);
        if (before == NULL)
            return FALSE;
    }

    if (clear || rule != NULL)
        return set_faults(ctl, path, before, rule, ret_error);
    output_rows(&ctl->output, columns, G_N_ELEMENTS(columns), before, "faults");
    return TRUE;
}

GVariant *
fault_describe_all(GVariant *faults)
{
    GVariantBuilder builder;

    g_variant_builder_init(&builder, G_VARIANT_TYPE_STRING_ARRAY);
    for (gsize i = 0; i < g_variant_n_children(faults); i++) {
        g_autoptr(GVariant) fault = g_variant_get_child_value(faults, i);
        g_autoptr(GString) text = g_string_new(NULL);

        for (gsize k = 0; k < G_N_ELEMENTS(columns); k++) {
            g_autoptr(GVariant) value = g_variant_lookup_value(fault, columns[k].key, NULL);
            g_autofree char *word = NULL;

            if (value == NULL)
                continue;
            word = g_variant_is_of_type(value, G_VARIANT_TYPE_STRING)
                       ? g_variant_dup_string(value, NULL)
                       : g_variant_print(value, FALSE);
            g_string_append_printf(text, "%s%s=%s", text->len > 0 ? " " : "", columns[k].key, word);
        }
        g_variant_builder_add(&builder, "s", text->len > 0 ? text->str : "on=all");
    }
    return g_variant_builder_end(&builder);
}
