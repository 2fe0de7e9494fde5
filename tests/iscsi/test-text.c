/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "iscsi/text.h"

#include <string.h>

typedef struct {
    char buffer[TEXT_TOTAL_MAX];
    TextReader reader;
} Fixture;

static void
set_up(Fixture *fixture, gconstpointer unused)
{
    text_reader_init(&fixture->reader, fixture->buffer, sizeof fixture->buffer);
}

/* @text is a literal: its own NUL ends the last pair */
#define ADD(fixture, text)                                                                         \
    g_assert_cmpint(text_reader_add(&(fixture)->reader, (const guint8 *)(text), sizeof(text)), ==, \
                    TEXT_OK)

static void
expect(Fixture *fixture, const char *key, const char *value)
{
    const char *actual_key, *actual_value;

    g_assert_cmpint(text_reader_next(&fixture->reader, &actual_key, &actual_value), ==, TEXT_OK);
    g_assert_cmpstr(actual_key, ==, key);
    g_assert_cmpstr(actual_value, ==, value);
}

static void
expect_result(Fixture *fixture, TextResult result)
{
    const char *key, *value;

    g_assert_cmpint(text_reader_next(&fixture->reader, &key, &value), ==, result);
}

static void
test_pairs(Fixture *fixture, gconstpointer unused)
{
    ADD(fixture, "InitiatorName=iqn.2026-11.org.example:a\0SessionType=Discovery\0X-y=");
    expect(fixture, "InitiatorName", "iqn.2026-11.org.example:a");
    expect(fixture, "SessionType", "Discovery");
    expect(fixture, "X-y", "");
    expect_result(fixture, TEXT_END);
}

static void
test_empty(Fixture *fixture, gconstpointer unused)
{
    expect_result(fixture, TEXT_END);
    ADD(fixture, "\0\0");
    expect_result(fixture, TEXT_END);
}

static void
test_value_with_equals(Fixture *fixture, gconstpointer unused)
{
    ADD(fixture, "CHAP_R=0bAQI=");
    expect(fixture, "CHAP_R", "0bAQI=");
}

static void
test_across_pdus(Fixture *fixture, gconstpointer unused)
{
    static const char text[] = "HeaderDigest=CRC32C,None\0DataDigest=None";

    for (gsize i = 0; i < sizeof text; i++)
        g_assert_cmpint(text_reader_add(&fixture->reader, (const guint8 *)text + i, 1), ==,
                        TEXT_OK);
    expect(fixture, "HeaderDigest", "CRC32C,None");
    expect(fixture, "DataDigest", "None");
    expect_result(fixture, TEXT_END);
}

static void
test_no_nul_at_end(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(text_reader_add(&fixture->reader, (const guint8 *)"A=b", 3), ==, TEXT_OK);
    expect_result(fixture, TEXT_MALFORMED);
}

static void
test_malformed(void)
{
    static const char *const texts[] = { "novalue", "=value", "A b=c", "A\xff=c", "A/=c" };

    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autofree Fixture *fixture = g_new(Fixture, 1);

        set_up(fixture, NULL);
        g_assert_cmpint(
            text_reader_add(&fixture->reader, (const guint8 *)texts[i], strlen(texts[i]) + 1), ==,
            TEXT_OK);
        expect_result(fixture, TEXT_MALFORMED);
    }
}

static void
test_total_is_bounded(Fixture *fixture, gconstpointer unused)
{
    guint8 data[1024] = { 0 };

    for (gsize i = 0; i < TEXT_TOTAL_MAX / sizeof data; i++)
        g_assert_cmpint(text_reader_add(&fixture->reader, data, sizeof data), ==, TEXT_OK);
    g_assert_cmpint(text_reader_add(&fixture->reader, data, 1), ==, TEXT_TOO_LONG);
    text_reader_clear(&fixture->reader);
    g_assert_cmpint(text_reader_add(&fixture->reader, data, 1), ==, TEXT_OK);
}

static void
test_pairs_are_bounded(Fixture *fixture, gconstpointer unused)
{
    for (guint i = 0; i <= TEXT_PAIRS_MAX; i++)
        ADD(fixture, "A=b");
    for (guint i = 0; i < TEXT_PAIRS_MAX; i++)
        expect(fixture, "A", "b");
    expect_result(fixture, TEXT_TOO_MANY);
}

/* Add a pair whose key and value have so many bytes */
static void
add_long(Fixture *fixture, gsize key_size, const char *key, gsize value_size)
{
    g_autofree char *long_key = key != NULL ? g_strdup(key) : g_strnfill(key_size, 'K');
    g_autofree char *value = g_strnfill(value_size, 'v');
    g_autofree char *pair = g_strconcat(long_key, "=", value, NULL);

    g_assert_cmpint(text_reader_add(&fixture->reader, (const guint8 *)pair, strlen(pair) + 1), ==,
                    TEXT_OK);
}

static void
test_longest(Fixture *fixture, gconstpointer unused)
{
    g_autofree char *key = g_strnfill(TEXT_KEY_MAX, 'K');
    g_autofree char *value = g_strnfill(TEXT_VALUE_MAX, 'v');
    g_autofree char *long_value = g_strnfill(TEXT_LONG_MAX, 'v');

    add_long(fixture, TEXT_KEY_MAX, NULL, TEXT_VALUE_MAX);
    add_long(fixture, 0, "CHAP_R", TEXT_LONG_MAX);
    expect(fixture, key, value);
    expect(fixture, "CHAP_R", long_value);
}

static void
test_key_too_long(Fixture *fixture, gconstpointer unused)
{
    add_long(fixture, TEXT_KEY_MAX + 1, NULL, 1);
    expect_result(fixture, TEXT_MALFORMED);
}

static void
test_value_too_long(Fixture *fixture, gconstpointer unused)
{
    add_long(fixture, 0, "InitiatorName", TEXT_VALUE_MAX + 1);
    expect_result(fixture, TEXT_MALFORMED);
}

static void
test_long_value_too_long(Fixture *fixture, gconstpointer unused)
{
    add_long(fixture, 0, "CHAP_C", TEXT_LONG_MAX + 1);
    expect_result(fixture, TEXT_MALFORMED);
}

static void
test_write(void)
{
    static const char expected[] = "A=b\0N=4096\0Y=No\0T=1.2.3.4:3260,1";
    char buffer[64];
    TextWriter writer;

    text_writer_init(&writer, buffer, sizeof buffer);
    g_assert_true(text_writer_is_empty(&writer));
    g_assert_true(text_write(&writer, "A", "b"));
    g_assert_true(text_write_number(&writer, "N", 4096));
    g_assert_true(text_write_boolean(&writer, "Y", FALSE));
    g_assert_true(text_write_format(&writer, "T", "%s,%u", "1.2.3.4:3260", 1u));
    g_assert_cmpmem(writer.buffer, (int)writer.size, expected, sizeof expected);
}

static void
test_write_overflow(void)
{
    char buffer[8];
    TextWriter writer;

    text_writer_init(&writer, buffer, sizeof buffer);
    g_assert_true(text_write(&writer, "AB", "cd"));
    g_assert_cmpuint(writer.size, ==, 6);
    g_assert_false(text_write(&writer, "A", "b"));
    g_assert_true(writer.overflow);
    g_assert_cmpuint(writer.size, ==, 6); /* nothing was written in part */
    text_writer_clear(&writer);
    g_assert_true(text_write(&writer, "ABC", "def"));
    g_assert_false(writer.overflow);
}

static void
test_take_in_pieces(void)
{
    char buffer[64], joined[64];
    const guint8 *data;
    TextWriter writer;
    gsize n = 0, size;

    text_writer_init(&writer, buffer, sizeof buffer);
    g_assert_true(text_write(&writer, "TargetName", "iqn.2026-11.org.example:disk"));
    while ((size = text_writer_take(&writer, 16, &data)) != 0) {
        g_assert_cmpuint(size, <=, 16);
        memcpy(joined + n, data, size);
        n += size;
    }
    g_assert_true(text_writer_is_empty(&writer));
    g_assert_cmpmem(joined, (int)n, buffer, (int)writer.size);
}

static void
test_number(void)
{
    static const struct {
        const char *text;
        gboolean good;
        guint64 number;
    } cases[] = {
        { "0", TRUE, 0 },
        { "65536", TRUE, 65536 },
        { "0x1F", TRUE, 31 },
        { "0Xff", TRUE, 255 },
        { "18446744073709551615", TRUE, G_MAXUINT64 },
        { "0xffffffffffffffff", TRUE, G_MAXUINT64 },
        { "18446744073709551616", FALSE, 0 },
        { "0x10000000000000000", FALSE, 0 },
        { "", FALSE, 0 },
        { "0x", FALSE, 0 },
        { "-1", FALSE, 0 },
        { "+1", FALSE, 0 },
        { " 1", FALSE, 0 },
        { "1 ", FALSE, 0 },
        { "12k", FALSE, 0 },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        guint64 number = 0;

        g_assert_cmpint(text_parse_number(cases[i].text, &number), ==, cases[i].good);
        g_assert_cmpuint(number, ==, cases[i].number);
    }
}

static void
test_boolean(void)
{
    gboolean boolean = FALSE;

    g_assert_true(text_parse_boolean("Yes", &boolean) && boolean);
    g_assert_true(text_parse_boolean("No", &boolean) && !boolean);
    g_assert_false(text_parse_boolean("yes", &boolean));
    g_assert_false(text_parse_boolean("", &boolean));
    g_assert_false(text_parse_boolean("1", &boolean));
}

static void
test_range(void)
{
    guint64 min, max;

    g_assert_true(text_parse_range("2048~8192", &min, &max));
    g_assert_cmpuint(min, ==, 2048);
    g_assert_cmpuint(max, ==, 8192);
    g_assert_true(text_parse_range("7", &min, &max));
    g_assert_cmpuint(min, ==, max);
    g_assert_false(text_parse_range("2~1", &min, &max));
    g_assert_false(text_parse_range("1~", &min, &max));
    g_assert_false(text_parse_range("~1", &min, &max));
    g_assert_false(text_parse_range("000000000000000000000000000000000001~2", &min, &max));
}

static void
expect_binary(const char *text, const guint8 *bytes, gsize n_bytes)
{
    guint8 buffer[16];
    gsize size;

    g_assert_true(text_parse_binary(text, buffer, sizeof buffer, &size));
    g_assert_cmpmem(buffer, (int)size, bytes, (int)n_bytes);
}

static void
test_binary(void)
{
    expect_binary("0x0102fF", (const guint8[]){ 1, 2, 0xff }, 3);
    expect_binary("0x123", (const guint8[]){ 0x01, 0x23 }, 2);
    expect_binary("0bAQI=", (const guint8[]){ 1, 2 }, 2);
    expect_binary("0bAQID", (const guint8[]){ 1, 2, 3 }, 3);
    expect_binary("0B/w==", (const guint8[]){ 0xff }, 1);
}

static void
test_binary_broken(void)
{
    static const char *const texts[] = {
        "",       "0x",     "0b",     "1234",   "0xg0",   "0bAQI",
        "0bA===", "0b====", "0bAQ=I", "0b=AQI", "0bAQ-_", "0x0102030405060708090a0b0c0d0e0f1011"
    };
    guint8 buffer[16];
    gsize size;

    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++)
        g_assert_false(text_parse_binary(texts[i], buffer, sizeof buffer, &size));
}

/* Nothing is written behind the end */
static void
test_binary_too_long(void)
{
    static const char *const texts[] = { "0x01020304", "0x1020304", "0bAQIDBA==", "0bAQIDBAUG" };
    guint8 buffer[4] = { 0, 0, 0, 0xa5 };
    gsize size;

    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_assert_false(text_parse_binary(texts[i], buffer, 3, &size));
        g_assert_cmphex(buffer[3], ==, 0xa5);
    }
    g_assert_true(text_parse_binary("0bAQID", buffer, 3, &size));
    g_assert_cmpuint(size, ==, 3);
}

static void
test_format_hex(void)
{
    static const guint8 bytes[] = { 0x00, 0xab, 0x7f };
    char text[9];

    g_assert_true(text_format_hex(bytes, sizeof bytes, text, sizeof text));
    g_assert_cmpstr(text, ==, "0x00ab7f");
    g_assert_false(text_format_hex(bytes, sizeof bytes, text, sizeof text - 1));
    g_assert_true(text_format_hex(bytes, 0, text, 3));
    g_assert_false(text_format_hex(bytes, 0, text, 2));
}

static void
test_list(void)
{
    const char *list = "CRC32C,,None", *item;
    gsize size;

    g_assert_true(text_list_next(&list, &item, &size));
    g_assert_true(text_item_is(item, size, "CRC32C"));
    g_assert_true(text_list_next(&list, &item, &size));
    g_assert_cmpuint(size, ==, 0);
    g_assert_true(text_list_next(&list, &item, &size));
    g_assert_true(text_item_is(item, size, "None"));
    g_assert_false(text_item_is(item, size, "Non"));
    g_assert_false(text_list_next(&list, &item, &size));
}

#define ADD_TEST(name, function)                                                                   \
    g_test_add("/iscsi/text/" name, Fixture, NULL, set_up, function, NULL)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    ADD_TEST("read/pairs", test_pairs);
    ADD_TEST("read/empty", test_empty);
    ADD_TEST("read/value-with-equals", test_value_with_equals);
    ADD_TEST("read/across-pdus", test_across_pdus);
    ADD_TEST("read/no-nul-at-end", test_no_nul_at_end);
    ADD_TEST("read/total-is-bounded", test_total_is_bounded);
    ADD_TEST("read/pairs-are-bounded", test_pairs_are_bounded);
    ADD_TEST("read/longest", test_longest);
    ADD_TEST("read/key-too-long", test_key_too_long);
    ADD_TEST("read/value-too-long", test_value_too_long);
    ADD_TEST("read/long-value-too-long", test_long_value_too_long);
    g_test_add_func("/iscsi/text/read/malformed", test_malformed);
    g_test_add_func("/iscsi/text/write/pairs", test_write);
    g_test_add_func("/iscsi/text/write/overflow", test_write_overflow);
    g_test_add_func("/iscsi/text/write/take-in-pieces", test_take_in_pieces);
    g_test_add_func("/iscsi/text/value/number", test_number);
    g_test_add_func("/iscsi/text/value/boolean", test_boolean);
    g_test_add_func("/iscsi/text/value/range", test_range);
    g_test_add_func("/iscsi/text/value/binary", test_binary);
    g_test_add_func("/iscsi/text/value/binary-broken", test_binary_broken);
    g_test_add_func("/iscsi/text/value/binary-too-long", test_binary_too_long);
    g_test_add_func("/iscsi/text/value/format-hex", test_format_hex);
    g_test_add_func("/iscsi/text/value/list", test_list);

    return g_test_run();
}
