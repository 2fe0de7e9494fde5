/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "util/crc32c.h"

#include <string.h>

static guint32
digest(const void *data, gsize size)
{
    return crc32c_final(crc32c_update(CRC32C_INIT, data, size));
}

/* One bit at a time, from the polynomial */
static guint32
digest_bitwise(const guint8 *data, gsize size)
{
    guint32 crc = 0xffffffffU;

    for (gsize i = 0; i < size; i++) {
        crc ^= data[i];
        for (guint bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0);
    }
    return ~crc;
}

static void
test_check_value(void)
{
    g_assert_cmphex(digest("123456789", 9), ==, 0xe3069283);
}

/* The CRC examples of RFC 7143: 32 bytes of zeros, ones, counting up and down */
static void
test_rfc_examples(void)
{
    guint8 bytes[32];

    memset(bytes, 0, sizeof(bytes));
    g_assert_cmphex(digest(bytes, sizeof(bytes)), ==, 0x8a9136aa);

    memset(bytes, 0xff, sizeof(bytes));
    g_assert_cmphex(digest(bytes, sizeof(bytes)), ==, 0x62a8ab43);

    for (guint8 i = 0; i < sizeof(bytes); i++)
        bytes[i] = i;
    g_assert_cmphex(digest(bytes, sizeof(bytes)), ==, 0x46dd794e);

    for (guint8 i = 0; i < sizeof(bytes); i++)
        bytes[i] = (guint8)(31 - i);
    g_assert_cmphex(digest(bytes, sizeof(bytes)), ==, 0x113fdb5c);
}

static void
test_any_length_and_alignment(void)
{
    guint8 bytes[600];

    for (gsize i = 0; i < sizeof(bytes); i++)
        bytes[i] = (guint8)(i * 167 + 13);

    for (gsize start = 0; start < 16; start++) {
        for (gsize size = 0; size < 560; size += 7)
            g_assert_cmphex(digest(bytes + start, size), ==, digest_bitwise(bytes + start, size));
    }
}

static void
test_in_pieces(void)
{
    guint8 bytes[100];
    guint32 crc;

    for (guint8 i = 0; i < sizeof(bytes); i++)
        bytes[i] = i;

    for (gsize cut = 0; cut <= sizeof(bytes); cut++) {
        crc = crc32c_update(CRC32C_INIT, bytes, cut);
        crc = crc32c_update(crc, bytes + cut, sizeof(bytes) - cut);
        g_assert_cmphex(crc32c_final(crc), ==, digest(bytes, sizeof(bytes)));
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/util/crc32c/check-value", test_check_value);
    g_test_add_func("/util/crc32c/rfc-examples", test_rfc_examples);
    g_test_add_func("/util/crc32c/any-length-and-alignment", test_any_length_and_alignment);
    g_test_add_func("/util/crc32c/in-pieces", test_in_pieces);
    return g_test_run();
}
