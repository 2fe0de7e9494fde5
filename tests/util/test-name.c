/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "util/name.h"

#include <string.h>

#include "util/error.h"

static void
assert_valid(const char *name)
{
    g_autoptr(GError) error = NULL;
    gboolean valid = name_check_iscsi(name, &error);

    g_assert_no_error(error);
    g_assert_true(valid);
}

static void
assert_invalid(const char *name)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(name_check_iscsi(name, &error));
    g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_NAME);
}

static void
test_iqn(void)
{
    assert_valid("iqn.2001-04.com.example:storage:diskarrays-sn-a8675309");
    assert_valid("iqn.2001-04.com.example");
    assert_valid("iqn.1993-08.org.debian:01:abcdef");
    assert_valid("iqn.2001-04.com.example:grün");

    assert_invalid("iqn.");
    assert_invalid("iqn.2001-04");
    assert_invalid("iqn.2001-04.");
    assert_invalid("iqn.2001-04.:disk");
    assert_invalid("iqn.2001-13.com.example");
    assert_invalid("iqn.2001-00.com.example");
    assert_invalid("iqn.200-104.com.example");
}

static void
test_eui(void)
{
    assert_valid("eui.02004567a425678d");
    assert_invalid("eui.02004567a425678");
    assert_invalid("eui.02004567a425678dd");
    assert_invalid("eui.02004567a425678g");
}

static void
test_naa(void)
{
    assert_valid("naa.52004567ba64678d");
    assert_valid("naa.62004567ba64678d0123456789abcdef");
    assert_invalid("naa.52004567ba64678d01");
    assert_invalid("naa.52004567ba64678x");
}

static void
test_other_types(void)
{
    assert_invalid("");
    assert_invalid("disk");
    assert_invalid("abc.2001-04.com.example");
}

static void
test_characters(void)
{
    assert_invalid("iqn.2001-04.com.example:UPPER");
    assert_invalid("iqn.2001-04.com.example:a b");
    assert_invalid("iqn.2001-04.com.example:a_b");
    assert_invalid("iqn.2001-04.com.example:a/b");
    assert_invalid("iqn.2001-04.com.example:a\nb");
    assert_invalid("iqn.2001-04.com.example:a\x7f");
    assert_invalid("iqn.2001-04.com.example:\xff");
    assert_invalid("iqn.2001-04.com.example:GR\xc3\x9cN");
    assert_invalid("iqn.2001-04.com.example:a\xe3\x80\x82"); /* U+3002 */
    assert_invalid("iqn.2001-04.com.example:a\xc2\xa0");     /* no-break space */
    assert_invalid("iqn.2001-04.com.example:u\xcc\x88");     /* not composed */
}

static void
test_length(void)
{
    g_autofree char *fits = g_strnfill(ISCSI_NAME_MAX, 'a');
    g_autofree char *too_long = g_strnfill(ISCSI_NAME_MAX + 1, 'a');

    memcpy(fits, "iqn.2001-04.", 12);
    memcpy(too_long, "iqn.2001-04.", 12);
    assert_valid(fits);
    assert_invalid(too_long);
}

static void
test_message_is_bounded(void)
{
    g_autofree char *huge = g_strnfill(1 << 20, 'X');
    g_autoptr(GError) error = NULL;

    g_assert_false(name_check_iscsi(huge, &error));
    g_assert_cmpuint(strlen(error->message), <, 1024);
}

static void
test_normalize(void)
{
    static const char *const pairs[][2] = {
        { "IQN.2001-04.COM.Example:Disk", "iqn.2001-04.com.example:disk" },
        { "iqn.2001-04.com.example:GR\xc3\x9cN", "iqn.2001-04.com.example:gr\xc3\xbcn" },
        { "iqn.2001-04.com.example:u\xcc\x88", "iqn.2001-04.com.example:\xc3\xbc" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(pairs); i++) {
        g_autofree char *normal = name_normalize_iscsi(pairs[i][0]);

        g_assert_cmpstr(normal, ==, pairs[i][1]);
        assert_valid(normal);
    }
    g_assert_null(name_normalize_iscsi("iqn.\xff"));
}

static void
test_object(void)
{
    static const char *const good[] = { "a", "Disk-1", "_x.y", "9" };
    static const char *const bad[] = { "", ".hidden", "a/b", "a b", "ü", "a\n" };
    g_autofree char *too_long = g_strnfill(65, 'a');
    g_autofree char *fits = g_strnfill(64, 'a');

    for (gsize i = 0; i < G_N_ELEMENTS(good); i++)
        g_assert_true(name_check_object(good[i], NULL));
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_false(name_check_object(bad[i], NULL));
    g_assert_true(name_check_object(fits, NULL));
    g_assert_false(name_check_object(too_long, NULL));
}

static void
test_default_prefix(void)
{
    g_autofree char *prefix = name_default_target_prefix();

    g_assert_true(g_str_has_prefix(prefix, "iqn.2026-11.org.lunport:"));
    assert_valid(prefix);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/util/name/iqn", test_iqn);
    g_test_add_func("/util/name/eui", test_eui);
    g_test_add_func("/util/name/naa", test_naa);
    g_test_add_func("/util/name/other-types", test_other_types);
    g_test_add_func("/util/name/characters", test_characters);
    g_test_add_func("/util/name/length", test_length);
    g_test_add_func("/util/name/message-is-bounded", test_message_is_bounded);
    g_test_add_func("/util/name/normalize", test_normalize);
    g_test_add_func("/util/name/object", test_object);
    g_test_add_func("/util/name/default-prefix", test_default_prefix);
    return g_test_run();
}
