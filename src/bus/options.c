/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "bus/options.h"

#include <string.h>

#include "bus/text.h"
#include "util/error.h"

/* clang-format off */
static const OptionRow common_rows[] = {
    { "persist",             "b" },
    { "expected-generation", "t" },
    { "dry-run",             "b" },
    { NULL,                  NULL },
};
/* clang-format on */

static const OptionRow *
find_row(const OptionRow *rows, const char *name)
{
    for (; rows != NULL && rows->name != NULL; rows++) {
        if (g_str_equal(rows->name, name))
            return rows;
    }

    return NULL;
}

static const SchemaOption *
find_schema(const OptionTable *table, const char *name)
{
    if (!table->with_schema || find_row(table->rows, name) != NULL)
        return NULL;

    return schema_find_option(table->schema, name);
}

static gboolean
refuse_unknown(const char *name, GError **ret_error)
{
    g_autofree char *shown = text_escape(name);

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                "Option “%.100s” is not known", shown);
    return FALSE;
}

static gboolean
check_option(const OptionTable *table, const char *name, GVariant *value, GError **ret_error)
{
    const OptionRow *row = find_row(table->rows, name);

    if (row == NULL && find_schema(table, name) != NULL)
        return TRUE;

    if (row == NULL && table->with_common)
        row = find_row(common_rows, name);
    if (row == NULL)
        return refuse_unknown(name, ret_error);

    if (!g_variant_is_of_type(value, G_VARIANT_TYPE(row->type))) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "Option “%s” has type “%.100s”, it must be “%s”", name,
                    g_variant_get_type_string(value), row->type);
        return FALSE;
    }

    return TRUE;
}

gboolean
options_parse(GVariant *values, const OptionTable *table, Options *ret_options, GError **ret_error)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    GVariantIter iter;
    const char *name;
    GVariant *child;

    /* Also when they are refused: options_clear() wipes the secrets among them */
    ret_options->values = g_variant_ref_sink(values);
    g_variant_iter_init(&iter, values);
    while (g_variant_iter_next(&iter, "{&sv}", &name, &child)) {
        g_autoptr(GVariant) value = child;

        if (!check_option(table, name, value, ret_error))
            return FALSE;

        if (!g_hash_table_add(seen, (gpointer)(gsize)name)) {
            g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                        "Option “%s” is given twice", name);
            return FALSE;
        }
    }

    ret_options->persist = TRUE;
    (void)options_get(ret_options, "persist", "b", &ret_options->persist);
    (void)options_get(ret_options, "dry-run", "b", &ret_options->dry_run);
    ret_options->has_expected_generation =
        options_get(ret_options, "expected-generation", "t", &ret_options->expected_generation);
    return TRUE;
}

/* The bytes of a string, in the message or, in place of it, where they are stored now */
static void
wipe_string(GVariant *value)
{
    gsize size;
    const char *text = g_variant_get_string(value, &size);

    explicit_bzero((char *)(gsize)text, size);
}

static void
wipe_secrets(GVariant *values)
{
    GVariantIter iter;
    const char *name;
    GVariant *child;

    g_variant_iter_init(&iter, values);
    while (g_variant_iter_next(&iter, "{&sv}", &name, &child)) {
        g_autoptr(GVariant) value = child;

        if (g_str_has_suffix(name, "secret") && g_variant_is_of_type(value, G_VARIANT_TYPE_STRING))
            wipe_string(value);
    }
}

void
options_clear(Options *options)
{
    if (options->values != NULL)
        wipe_secrets(options->values);
    g_clear_pointer(&options->values, g_variant_unref);
}

gboolean
options_get(const Options *options, const char *name, const char *format, ...)
{
    g_autoptr(GVariant) value = NULL;
    va_list arguments;

    if (options->values == NULL)
        return FALSE;

    value = g_variant_lookup_value(options->values, name, NULL);
    if (value == NULL)
        return FALSE;

    va_start(arguments, format);
    g_variant_get_va(value, format, NULL, &arguments);
    va_end(arguments);
    return TRUE;
}

gboolean
options_apply(const Options *options, const OptionTable *table, gpointer spec, GError **ret_error)
{
    GVariantIter iter;
    const char *name;
    GVariant *child;

    g_variant_iter_init(&iter, options->values);
    while (g_variant_iter_next(&iter, "{&sv}", &name, &child)) {
        g_autoptr(GVariant) value = child;
        const SchemaOption *row = find_schema(table, name);

        if (row != NULL && !schema_set_variant(row, spec, value, ret_error))
            return FALSE;
    }

    return TRUE;
}

gboolean
options_apply_parameters(GVariant *values, gpointer parameters, GError **ret_error)
{
    GVariantIter iter;
    const char *name;
    GVariant *child;

    g_variant_iter_init(&iter, values);
    while (g_variant_iter_next(&iter, "{&sv}", &name, &child)) {
        g_autoptr(GVariant) value = child;
        const SchemaOption *row = schema_find_key(SCHEMA_PARAMETER, name);

        if (row == NULL)
            return refuse_unknown(name, ret_error);
        if (!schema_set_variant(row, parameters, value, ret_error))
            return FALSE;
    }

    return TRUE;
}
