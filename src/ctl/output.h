/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * What a verb found, shown to a person or to a program
 *
 * A verb hands over rows (aa{sv}) or one object (a{sv}) with raw values; a
 * table of columns says which of them a person sees, under which heading and
 * how. JSON shows all values as they are.
 */

typedef enum {
    OUTPUT_TABLE,
    OUTPUT_JSON_SHORT,
    OUTPUT_JSON_PRETTY,
} OutputMode;

typedef struct {
    OutputMode mode;
    gboolean legend; /* headings and the closing line */
    gboolean pager;
} Output;

typedef enum {
    SHOW_PLAIN,
    SHOW_SIZE,  /* bytes as "1.0G" */
    SHOW_BOOL,  /* "yes", "no" */
    SHOW_TIME,  /* µs since the epoch, as local time */
    SHOW_ERROR, /* (ss): name and message; nothing when empty */
    SHOW_LINES, /* an array or dictionary, an element a line; only of single objects */
} Show;

typedef struct {
    const char *key;
    const char *heading;
    Show show;
} Column;

gboolean output_mode_parse(const char *text, OutputMode *ret_mode); /* "short", "pretty", "off" */

/**
 * output_rows() - print a table or a JSON array
 * @rows: aa{sv}; floating is consumed
 * @noun: what the rows are, for the closing line: a plural that ends in s
 */
void output_rows(const Output *output, const Column *columns, gsize n_columns, GVariant *rows,
                 const char *noun);

/* Print one object as "Heading: value" lines or a JSON object; @object: a{sv}, floating is consumed */
void output_object(const Output *output, const Column *columns, gsize n_columns, GVariant *object);

/* Print a sentence for people; nothing in JSON mode */
void output_say(const Output *output, const char *format, ...) G_GNUC_PRINTF(2, 3);
