/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Text from the wire: gathered in pieces, split into pairs, each value given to
 * each parser, each pair negotiated. The first byte is the size of a piece.
 */

#include <string.h>

#include "iscsi/negotiate.h"
#include "iscsi/text.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

static void
parse(const char *value)
{
    guint8 binary[64];
    guint64 first, last;
    gboolean boolean;
    const char *item;
    gsize n;

    (void)text_parse_number(value, &first);
    (void)text_parse_boolean(value, &boolean);
    if (text_parse_range(value, &first, &last))
        g_assert_cmpuint(first, <=, last);
    if (text_parse_binary(value, binary, sizeof binary, &n))
        g_assert_cmpuint(n, <=, sizeof binary);
    for (const char *list = value; text_list_next(&list, &item, &n);)
        g_assert_true(item >= value && item + n <= value + strlen(value));
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autofree char *buffer = g_malloc(TEXT_TOTAL_MAX);
    char answers[1024];
    IscsiParams local;
    Negotiation negotiation;
    TextReader reader;
    TextWriter writer;
    const char *key, *value;
    gsize piece = size == 0 ? 1 : (gsize)data[0] + 1;
    guint n = 0;

    iscsi_params_init_offer(&local);
    negotiate_init(&negotiation, &local, ISCSI_SESSION_NORMAL, NULL);
    negotiation.use = KEY_USE_OPERATIONAL;
    text_reader_init(&reader, buffer, TEXT_TOTAL_MAX);
    text_writer_init(&writer, answers, sizeof answers);

    for (gsize i = 1; i < size; i += piece) {
        if (text_reader_add(&reader, data + i, MIN(piece, size - i)) != TEXT_OK)
            return 0;
    }
    while (text_reader_next(&reader, &key, &value) == TEXT_OK) {
        g_assert_cmpuint(++n, <=, TEXT_PAIRS_MAX);
        g_assert_cmpuint(strlen(key), <=, TEXT_KEY_MAX);
        parse(value);
        if (negotiate_receive(&negotiation, key, value, &writer) != NEGOTIATE_OK)
            break;
    }
    (void)negotiate_end_request(&negotiation, &writer);
    g_assert_cmpuint(writer.size, <=, sizeof answers);
    g_assert_cmpuint(negotiation.params.first_burst_length, <=,
                     negotiation.params.max_burst_length);
    return 0;
}
