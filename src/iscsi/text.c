/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * key=value text, RFC 7143 6.1
 *
 * Text arrives in data segments that may cut it anywhere (the C bit says that
 * more follows), and leaves the same way. So a reader first gathers bytes and
 * only when a request is complete looks at them, splitting the buffer in place
 * into C strings; a writer first takes whole pairs and then hands out slices.
 *
 * The reader is the one place where text from the wire is judged: characters
 * and length of keys, length of values, number of pairs. What a value means is
 * the business of its key.
 */

#include "iscsi/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "iscsi/keytable.h"

void
text_reader_init(TextReader *reader, char *buffer, gsize capacity)
{
    *reader = (TextReader){ .buffer = buffer, .capacity = capacity };
}

void
text_reader_clear(TextReader *reader)
{
    text_reader_init(reader, reader->buffer, reader->capacity);
}

TextResult
text_reader_add(TextReader *reader, const guint8 *data, gsize size)
{
    g_assert(reader->offset == 0);

    if (size > reader->capacity - reader->size)
        return TEXT_TOO_LONG;
    if (size != 0)
        memcpy(reader->buffer + reader->size, data, size);
    reader->size += size;
    return TEXT_OK;
}

/* The characters of a standard-label; # is in the names of public extensions (X#) */
static gboolean
is_key_character(char c)
{
    return g_ascii_isalnum(c) || (c != '\0' && strchr(".-+@_#", c) != NULL);
}

static gboolean
is_key(const char *key, gsize size)
{
    if (size == 0 || size > TEXT_KEY_MAX)
        return FALSE;
    for (gsize i = 0; i < size; i++) {
        if (!is_key_character(key[i]))
            return FALSE;
    }

    return TRUE;
}

static gsize
value_max(const char *key)
{
    const KeyRow *row = key_find(key);

    return row != NULL && row->long_value ? TEXT_LONG_MAX : TEXT_VALUE_MAX;
}

TextResult
text_reader_next(TextReader *reader, const char **ret_key, const char **ret_value)
{
    char *pair, *end, *equals;

    /* Padding that was counted as data, or a pair of nothing: some initiators send it */
    while (reader->offset < reader->size && reader->buffer[reader->offset] == '\0')
        reader->offset++;
    if (reader->offset == reader->size)
        return TEXT_END;

    pair = reader->buffer + reader->offset;
    end = memchr(pair, '\0', reader->size - reader->offset);
    if (end == NULL)
        return TEXT_MALFORMED;
    equals = memchr(pair, '=', (gsize)(end - pair));
    if (equals == NULL || !is_key(pair, (gsize)(equals - pair)))
        return TEXT_MALFORMED;
    if (++reader->n_pairs > TEXT_PAIRS_MAX)
        return TEXT_TOO_MANY;

    *equals = '\0';
    if ((gsize)(end - equals - 1) > value_max(pair))
        return TEXT_MALFORMED;

    reader->offset = (gsize)(end + 1 - reader->buffer);
    *ret_key = pair;
    *ret_value = equals + 1;
    return TEXT_OK;
}

void
text_writer_init(TextWriter *writer, char *buffer, gsize capacity)
{
    *writer = (TextWriter){ .buffer = buffer, .capacity = capacity };
}

void
text_writer_clear(TextWriter *writer)
{
    text_writer_init(writer, writer->buffer, writer->capacity);
}

gboolean
text_write(TextWriter *writer, const char *key, const char *value)
{
    gsize key_size = strlen(key), value_size = strlen(value);

    if (key_size + value_size + 2 > writer->capacity - writer->size) {
        writer->overflow = TRUE;
        return FALSE;
    }

    memcpy(writer->buffer + writer->size, key, key_size);
    writer->buffer[writer->size + key_size] = '=';
    memcpy(writer->buffer + writer->size + key_size + 1, value, value_size + 1);
    writer->size += key_size + value_size + 2;
    return TRUE;
}

gboolean
text_write_number(TextWriter *writer, const char *key, guint64 value)
{
    return text_write_format(writer, key, "%" G_GUINT64_FORMAT, value);
}

gboolean
text_write_boolean(TextWriter *writer, const char *key, gboolean value)
{
    return text_write(writer, key, value ? "Yes" : "No");
}

gboolean
text_write_format(TextWriter *writer, const char *key, const char *format, ...)
{
    char value[TEXT_LONG_MAX + 1];
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(value, sizeof value, format, args);
    va_end(args);

    if (size < 0 || (gsize)size >= sizeof value) {
        writer->overflow = TRUE;
        return FALSE;
    }
    return text_write(writer, key, value);
}

gboolean
text_writer_is_empty(const TextWriter *writer)
{
    return writer->offset == writer->size;
}

gsize
text_writer_take(TextWriter *writer, gsize max_size, const guint8 **ret_data)
{
    gsize size = MIN(max_size, writer->size - writer->offset);

    *ret_data = (const guint8 *)writer->buffer + writer->offset;
    writer->offset += size;
    return size;
}

gboolean
text_parse_number(const char *value, guint64 *ret_number)
{
    gboolean is_hex = g_str_has_prefix(value, "0x") || g_str_has_prefix(value, "0X");
    guint base = is_hex ? 16 : 10;
    const char *digits = is_hex ? value + 2 : value;
    guint64 number = 0;

    if (*digits == '\0')
        return FALSE;
    for (const char *p = digits; *p != '\0'; p++) {
        int digit = is_hex ? g_ascii_xdigit_value(*p) : g_ascii_digit_value(*p);

        if (digit < 0 || number > (G_MAXUINT64 - (guint64)digit) / base)
            return FALSE;
        number = number * base + (guint64)digit;
    }

    *ret_number = number;
    return TRUE;
}

gboolean
text_parse_boolean(const char *value, gboolean *ret_boolean)
{
    gboolean is_yes = strcmp(value, "Yes") == 0;

    if (!is_yes && strcmp(value, "No") != 0)
        return FALSE;
    *ret_boolean = is_yes;
    return TRUE;
}

gboolean
text_parse_range(const char *value, guint64 *ret_min, guint64 *ret_max)
{
    const char *tilde = strchr(value, '~');
    char first[32];
    guint64 min, max;

    if (tilde == NULL) {
        if (!text_parse_number(value, &min))
            return FALSE;
        *ret_min = *ret_max = min;
        return TRUE;
    }

    if ((gsize)(tilde - value) >= sizeof first)
        return FALSE;
    memcpy(first, value, (gsize)(tilde - value));
    first[tilde - value] = '\0';
    if (!text_parse_number(first, &min) || !text_parse_number(tilde + 1, &max) || min > max)
        return FALSE;

    *ret_min = min;
    *ret_max = max;
    return TRUE;
}

static gboolean
parse_hex(const char *digits, guint8 *buffer, gsize capacity, gsize *ret_size)
{
    gsize n_digits = strlen(digits), size = (n_digits + 1) / 2, nibble = n_digits % 2;

    if (n_digits == 0 || size > capacity)
        return FALSE;

    memset(buffer, 0, size);
    for (gsize i = 0; i < n_digits; i++, nibble++) {
        int digit = g_ascii_xdigit_value(digits[i]);

        if (digit < 0)
            return FALSE;
        buffer[nibble / 2] = (guint8)(buffer[nibble / 2] << 4 | digit);
    }

    *ret_size = size;
    return TRUE;
}

static int
base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static gboolean
parse_base64(const char *text, guint8 *buffer, gsize capacity, gsize *ret_size)
{
    gsize length = strlen(text), n_pad = 0, size;

    while (n_pad < 2 && n_pad < length && text[length - 1 - n_pad] == '=')
        n_pad++;
    if (length == 0 || length % 4 != 0 || n_pad == length)
        return FALSE;
    size = length / 4 * 3 - n_pad;
    if (size > capacity)
        return FALSE;

    for (gsize i = 0, bits = 0, n_bits = 0, n = 0; i < length - n_pad; i++) {
        int value = base64_value(text[i]);

        if (value < 0)
            return FALSE;
        bits = bits << 6 | (gsize)value;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            buffer[n++] = (guint8)(bits >> n_bits);
        }
        bits &= 0xff;
    }

    *ret_size = size;
    return TRUE;
}

gboolean
text_parse_binary(const char *value, guint8 *buffer, gsize capacity, gsize *ret_size)
{
    if (g_str_has_prefix(value, "0x") || g_str_has_prefix(value, "0X"))
        return parse_hex(value + 2, buffer, capacity, ret_size);
    if (g_str_has_prefix(value, "0b") || g_str_has_prefix(value, "0B"))
        return parse_base64(value + 2, buffer, capacity, ret_size);
    return FALSE;
}

gboolean
text_format_hex(const guint8 *data, gsize size, char *text, gsize capacity)
{
    static const char digits[] = "0123456789abcdef";

    if (capacity < 3 || size > (capacity - 3) / 2)
        return FALSE;

    *text++ = '0';
    *text++ = 'x';
    for (gsize i = 0; i < size; i++) {
        *text++ = digits[data[i] >> 4];
        *text++ = digits[data[i] & 0x0f];
    }
    *text = '\0';
    return TRUE;
}

gboolean
text_list_next(const char **list, const char **ret_item, gsize *ret_size)
{
    const char *item = *list, *comma;

    if (item == NULL)
        return FALSE;

    comma = strchr(item, ',');
    *ret_item = item;
    *ret_size = comma != NULL ? (gsize)(comma - item) : strlen(item);
    *list = comma != NULL ? comma + 1 : NULL;
    return TRUE;
}

gboolean
text_item_is(const char *item, gsize size, const char *name)
{
    return strlen(name) == size && memcmp(item, name, size) == 0;
}
