/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * key=value text of login and text PDUs, RFC 7143 6.1
 *
 * Reader and writer work on a buffer of the caller, allocate nothing, and can
 * be told any bytes. A reader gathers the data segments of one request, which
 * may be several PDUs, and then hands out the pairs.
 */

#define TEXT_KEY_MAX   63    /* bytes of a key */
#define TEXT_VALUE_MAX 255   /* bytes of a value, unless its key may have more */
#define TEXT_LONG_MAX  4096  /* bytes of the encoded value of a key that may have more */
#define TEXT_PAIRS_MAX 128   /* pairs in one request */
#define TEXT_TOTAL_MAX 16384 /* bytes of one request, unless the caller wants otherwise */

typedef enum {
    TEXT_OK,
    TEXT_END,       /* no further pair */
    TEXT_TOO_LONG,  /* more bytes than the buffer takes */
    TEXT_TOO_MANY,  /* more pairs than TEXT_PAIRS_MAX */
    TEXT_MALFORMED, /* not key=value, a byte that no key may have, no NUL at the end */
} TextResult;

typedef struct {
    char *buffer;
    gsize capacity;
    gsize size;   /* bytes gathered */
    gsize offset; /* of the next pair */
    guint n_pairs;
} TextReader;

void text_reader_init(TextReader *reader, char *buffer, gsize capacity);

/* Forget all text */
void text_reader_clear(TextReader *reader);

/* Take in the data segment of one PDU: TEXT_OK or TEXT_TOO_LONG */
TextResult text_reader_add(TextReader *reader, const guint8 *data, gsize size);

/**
 * text_reader_next() - the next pair of a complete request
 * @ret_key, @ret_value: strings inside the reader's buffer
 *
 * Returns: TEXT_OK, TEXT_END, TEXT_TOO_MANY or TEXT_MALFORMED
 */
TextResult text_reader_next(TextReader *reader, const char **ret_key, const char **ret_value);

typedef struct {
    char *buffer;
    gsize capacity;
    gsize size;   /* bytes written */
    gsize offset; /* bytes handed out */
    gboolean overflow;
} TextWriter;

void text_writer_init(TextWriter *writer, char *buffer, gsize capacity);

/* Forget all text, ready for the next answer */
void text_writer_clear(TextWriter *writer);

/*
 * Append key=value and NUL. A pair that does not fit is left out whole and
 * makes the writer overflow; the return value says so too.
 */
gboolean text_write(TextWriter *writer, const char *key, const char *value);
gboolean text_write_number(TextWriter *writer, const char *key, guint64 value);
gboolean text_write_boolean(TextWriter *writer, const char *key, gboolean value);
gboolean text_write_format(TextWriter *writer, const char *key, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/* Whether everything was handed out */
gboolean text_writer_is_empty(const TextWriter *writer);

/**
 * text_writer_take() - the next data segment
 * @max_size: the receiver's MaxRecvDataSegmentLength
 * @ret_data: points into the writer's buffer
 *
 * A pair may be cut anywhere: the C bit of the PDU says that it goes on. After
 * the last segment text_writer_is_empty().
 *
 * Returns: the size of the segment, 0 when there is nothing
 */
gsize text_writer_take(TextWriter *writer, gsize max_size, const guint8 **ret_data);

/* Values, RFC 7143 6.1. Each parser takes the whole string or returns FALSE. */

/* decimal, or hexadecimal after 0x */
gboolean text_parse_number(const char *value, guint64 *ret_number);

/* Yes or No */
gboolean text_parse_boolean(const char *value, gboolean *ret_boolean);

/* two numbers around a tilde, the first not above the second; or one number */
gboolean text_parse_range(const char *value, guint64 *ret_min, guint64 *ret_max);

/* hexadecimal after 0x, base64 after 0b; an odd hexadecimal digit count has a leading zero */
gboolean text_parse_binary(const char *value, guint8 *buffer, gsize capacity, gsize *ret_size);

/* 0x and two digits a byte; FALSE when @capacity (with NUL) does not do */
gboolean text_format_hex(const guint8 *data, gsize size, char *text, gsize capacity);

/**
 * text_list_next() - walk over a comma-separated list
 * @list: where the walk is; NULL after the last
 * @ret_item, @ret_size: the item, not NUL-terminated
 *
 * An empty item is handed out as such, so that the caller can refuse it.
 */
gboolean text_list_next(const char **list, const char **ret_item, gsize *ret_size);

/* Whether @item of @size bytes is @name; case matters, as the RFC has it */
gboolean text_item_is(const char *item, gsize size, const char *name);
