/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "model/schema.h"

/*
 * The argument options (a{sv}) that methods end in. What a method understands
 * is a table; what is not in it is refused, so that a misspelt option is never
 * silently without effect. Options that describe an object come from the rows
 * of model/schema.c, which also judge their values.
 */

typedef struct {
    const char *name; /* NULL ends the table */
    const char *type; /* as in a D-Bus signature */
} OptionRow;

/* What a method understands */
typedef struct {
    const OptionRow *rows; /* or NULL */
    gboolean with_common;  /* persist, expected-generation and dry-run too */
    gboolean with_schema;  /* the rows of @schema that objects may be created with, too */
    SchemaScope schema;
} OptionTable;

typedef struct {
    GVariant *values; /* a{sv}, judged; NULL where the method has no options */
    gboolean persist;
    gboolean dry_run;
    gboolean has_expected_generation;
    guint64 expected_generation;
} Options;

/**
 * options_parse() - judge the options of one call
 * @values: the argument, a{sv}
 * @ret_options: zeroed memory; to be cleared with options_clear()
 *
 * Returns: FALSE with LUNPORT_ERROR_INVALID_ARGUMENT for a key that is not in
 * the table, is there twice, or has another type. The values of options of the
 * schema are judged by options_apply().
 */
gboolean options_parse(GVariant *values, const OptionTable *table, Options *ret_options,
                       GError **ret_error);

/* Secrets among the values are wiped: the message is ours, and the caller of the method has its own */
void options_clear(Options *options);

/**
 * options_get() - read one option
 * @format: as for g_variant_get(), with the type of the option's row; what it borrows lives as
 *     long as @options
 *
 * Returns: FALSE, and nothing is touched, when the caller did not give it
 */
gboolean options_get(const Options *options, const char *name, const char *format, ...);

/**
 * options_apply() - set the members of a spec from the options that the schema has
 * @table: as given to options_parse()
 *
 * Returns: FALSE with the error of schema_set_variant()
 */
gboolean options_apply(const Options *options, const OptionTable *table, gpointer spec,
                       GError **ret_error);

/* The same from parameters, a{sv} by the keys of files: unknown ones are INVALID_ARGUMENT */
gboolean options_apply_parameters(GVariant *values, gpointer parameters, GError **ret_error);
