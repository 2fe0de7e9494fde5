/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "scsi/record.h"

#include <string.h>

#include "util/crc32c.h"
#include "util/error.h"

#define SUM_LENGTH (sizeof("crc32c 12345678\n") - 1)

static guint32
checksum(const char *text, gsize size)
{
    return crc32c_final(crc32c_update(CRC32C_INIT, text, size));
}

GString *
record_new(const char *kind, guint version)
{
    GString *record = g_string_new(NULL);

    g_string_append_printf(record, "lunport-%s %u\n", kind, version);
    return record;
}

char *
record_finish(GString *record)
{
    g_string_append_printf(record, "crc32c %08x\n", checksum(record->str, record->len));
    return g_string_free(record, FALSE);
}

static gboolean
fail(const char *kind, const char *what, GError **ret_error)
{
    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                "The stored %s cannot be used: %s", kind, what);
    return FALSE;
}

gboolean
record_fail_form(const char *kind, GError **ret_error)
{
    return fail(kind, "the file does not have the right form", ret_error);
}

gboolean
record_open(RecordReader *reader, const char *kind, guint version, const char *text, gsize size,
            GError **ret_error)
{
    g_autofree char *copy = g_strndup(text, size);
    g_autofree char *sum = NULL;
    g_autofree char *magic = g_strdup_printf("lunport-%s %u\n", kind, version);

    *reader = (RecordReader){ NULL, NULL };
    if (strlen(copy) != size || size < SUM_LENGTH)
        return fail(kind, "the file is not complete", ret_error);

    sum = g_strdup_printf("crc32c %08x\n", checksum(copy, size - SUM_LENGTH));
    if (strcmp(copy + size - SUM_LENGTH, sum) != 0)
        return fail(kind, "the checksum is wrong", ret_error);

    copy[size - SUM_LENGTH] = '\0';
    if (!g_str_has_prefix(copy, magic))
        return fail(kind, "the file is of another version", ret_error);

    reader->position = copy + strlen(magic);
    reader->text = g_steal_pointer(&copy);
    return TRUE;
}

void
record_close(RecordReader *reader)
{
    g_clear_pointer(&reader->text, g_free);
}

gboolean
record_is_at(const RecordReader *reader, const char *name)
{
    gsize length = strlen(name);

    return strncmp(reader->position, name, length) == 0 && reader->position[length] == ' ';
}

gboolean
record_is_at_end(const RecordReader *reader)
{
    return reader->position[0] == '\0';
}

char *
record_take(RecordReader *reader, const char *name)
{
    const char *end = strchr(reader->position, '\n');
    const char *start;

    if (end == NULL || !record_is_at(reader, name))
        return NULL;

    start = reader->position + strlen(name) + 1;
    if (start > end)
        return NULL;
    reader->position = end + 1;
    return g_strndup(start, (gsize)(end - start));
}

gboolean
record_take_number(RecordReader *reader, const char *name, guint64 max, guint *ret_number)
{
    g_autofree char *value = record_take(reader, name);
    guint64 number;

    if (value == NULL || !g_ascii_string_to_unsigned(value, 10, 0, max, &number, NULL))
        return FALSE;

    *ret_number = (guint)number;
    return TRUE;
}
