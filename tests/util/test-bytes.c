/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "util/bytes.h"

#include <string.h>

static void
test_big_endian(void)
{
    static const guint8 expected[] = { 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08 };
    guint8 bytes[8] = { 0 };

    put_be64(bytes, G_GUINT64_CONSTANT(0x0102030405060708));
    g_assert_cmpmem(bytes, sizeof(bytes), expected, sizeof(expected));
    g_assert_cmphex(get_be64(bytes), ==, G_GUINT64_CONSTANT(0x0102030405060708));
    g_assert_cmphex(get_be32(bytes), ==, 0x01020304);
    g_assert_cmphex(get_be24(bytes), ==, 0x010203);
    g_assert_cmphex(get_be16(bytes), ==, 0x0102);
}

static void
test_high_bits(void)
{
    guint8 bytes[8];

    memset(bytes, 0xff, sizeof(bytes));
    g_assert_cmphex(get_be16(bytes), ==, 0xffff);
    g_assert_cmphex(get_be24(bytes), ==, 0xffffff);
    g_assert_cmphex(get_be32(bytes), ==, 0xffffffff);
    g_assert_cmphex(get_be64(bytes), ==, G_MAXUINT64);
}

static void
test_put_is_exact(void)
{
    static const guint8 expected[] = { 0xaa, 0x00, 0x12, 0x34, 0xaa };
    guint8 bytes[5];

    memset(bytes, 0xaa, sizeof(bytes));
    put_be24(bytes + 1, 0x1234);
    g_assert_cmpmem(bytes, sizeof(bytes), expected, sizeof(expected));

    put_be16(bytes + 2, 0xbeef);
    g_assert_cmphex(get_be16(bytes + 2), ==, 0xbeef);
    g_assert_cmphex(bytes[4], ==, 0xaa);
}

static void
test_rounding(void)
{
    g_assert_cmpuint(round_up(0, 4096), ==, 0);
    g_assert_cmpuint(round_up(1, 4096), ==, 4096);
    g_assert_cmpuint(round_up(4096, 4096), ==, 4096);
    g_assert_cmpuint(round_down(4095, 4096), ==, 0);
    g_assert_cmpuint(round_down(8191, 4096), ==, 4096);
}

static void
test_power_of_two(void)
{
    g_assert_false(is_power_of_two(0));
    g_assert_true(is_power_of_two(1));
    g_assert_true(is_power_of_two((guint64)1 << 63));
    g_assert_false(is_power_of_two(6));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/util/bytes/big-endian", test_big_endian);
    g_test_add_func("/util/bytes/high-bits", test_high_bits);
    g_test_add_func("/util/bytes/put-is-exact", test_put_is_exact);
    g_test_add_func("/util/bytes/rounding", test_rounding);
    g_test_add_func("/util/bytes/power-of-two", test_power_of_two);
    return g_test_run();
}
