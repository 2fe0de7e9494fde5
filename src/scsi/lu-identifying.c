/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "scsi/lu-notes.h"

#include <string.h>

#include "scsi/lu.h"
#include "scsi/record.h"

/*
 * The stored form of identifying information: a line each (record.h), in
 * hexadecimal digits behind a letter, for both may be empty and hold any byte
 */

#define KIND    "identifying"
#define VERSION 1

#define PREFIX 'x'

static void
put(GString *record, const char *name, const guint8 *bytes, guint16 length)
{
    g_string_append_printf(record, "%s %c", name, PREFIX);
    for (guint i = 0; i < length; i++)
        g_string_append_printf(record, "%02x", bytes[i]);
    g_string_append_c(record, '\n');
}

char *
lu_identifying_format(const LuIdentifying *identifying)
{
    GString *record;

    if (identifying->identifier_length == 0 && identifying->label_length == 0)
        return NULL;

    record = record_new(KIND, VERSION);
    put(record, "identifier", identifying->identifier, identifying->identifier_length);
    put(record, "label", identifying->label, identifying->label_length);
    return record_finish(record);
}

static gboolean
take(RecordReader *reader, const char *name, guint8 *bytes, guint16 max, guint16 *ret_length)
{
    g_autofree char *text = record_take(reader, name);
    gsize n_digits;

    if (text == NULL || text[0] != PREFIX)
        return FALSE;

    n_digits = strlen(text + 1);
    if (n_digits % 2 != 0 || n_digits / 2 > max)
        return FALSE;

    for (gsize i = 0; i < n_digits / 2; i++) {
        gint high = g_ascii_xdigit_value(text[1 + 2 * i]);
        gint low = g_ascii_xdigit_value(text[2 + 2 * i]);

        if (high < 0 || low < 0)
            return FALSE;
        bytes[i] = (guint8)(high << 4 | low);
    }
    *ret_length = (guint16)(n_digits / 2);
    return TRUE;
}

/* A label is text that ends with a zero byte */
static gboolean
is_right(const LuIdentifying *identifying)
{
    return identifying->label_length == 0 || identifying->label[identifying->label_length - 1] == 0;
}

gboolean
lu_identifying_parse(const char *text, gsize size, LuIdentifying *ret_identifying,
                     GError **ret_error)
{
    LuIdentifying read = { 0 };
    RecordReader reader;
    gboolean success;

    if (!record_open(&reader, KIND, VERSION, text, size, ret_error))
        return FALSE;

    success = take(&reader, "identifier", read.identifier, sizeof(read.identifier),
                   &read.identifier_length) &&
              take(&reader, "label", read.label, sizeof(read.label), &read.label_length) &&
              record_is_at_end(&reader) && is_right(&read);
    record_close(&reader);
    if (!success)
        return record_fail_form(KIND, ret_error);

    *ret_identifying = read;
    return TRUE;
}

gboolean
lu_check_identifying(const char *text, gsize size, GError **ret_error)
{
    LuIdentifying identifying;

    return lu_identifying_parse(text, size, &identifying, ret_error);
}
