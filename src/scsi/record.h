/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * The stored form of what a logical unit keeps
 *
 *     lunport-KIND VERSION
 *     NAME VALUE              as many as KIND wants, in its order
 *     crc32c 1a2b3c4d         of everything before it
 */

/* Begin one; lines are added with g_string_append_printf() */
GString *record_new(const char *kind, guint version);

/* Add the checksum; frees @record */
char *record_finish(GString *record);

typedef struct {
    char *text;
    const char *position; /* of the line that comes next */
} RecordReader;

/* FALSE with an error when it is damaged, of another kind or of another version */
gboolean record_open(RecordReader *reader, const char *kind, guint version, const char *text,
                     gsize size, GError **ret_error);
void record_close(RecordReader *reader);

gboolean record_is_at(const RecordReader *reader, const char *name);
gboolean record_is_at_end(const RecordReader *reader);

/* The value of the next line, NULL when that has another name */
char *record_take(RecordReader *reader, const char *name);
gboolean record_take_number(RecordReader *reader, const char *name, guint64 max, guint *ret_number);

/* What to say of a record with a right checksum that cannot be used; returns FALSE */
gboolean record_fail_form(const char *kind, GError **ret_error);
