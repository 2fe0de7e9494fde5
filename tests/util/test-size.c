/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "util/size.h"

#include "util/error.h"

static void
test_parse(void)
{
    static const struct {
        const char *text;
        guint64 size;
    } cases[] = {
        { "0", 0 },
        { "4096", 4096 },
        { "9007199254740993", 9007199254740993U }, /* more digits than a double has */
        { "1K", 1024 },
        { "512M", 512U << 20 },
        { "1.5G", 3U << 29 },
        { "64KiB", 65536 },
        { "64kb", 65536 },
        { "12B", 12 },
        { "7E", (guint64)7 << 60 },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        guint64 size;

        g_assert_true(size_parse(cases[i].text, &size, &error));
        g_assert_no_error(error);
        g_assert_cmpuint(size, ==, cases[i].size);
    }
}

static void
test_refused(void)
{
    static const char *const cases[] = { "",   "G",  "-1",  "1X", "1GG", "1G x",
                                         "8E", "+1", "nan", " 1", "0x10" };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        guint64 size = 77;

        g_assert_false(size_parse(cases[i], &size, &error));
        g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
        g_assert_cmpuint(size, ==, 77);
    }
}

static void
test_format(void)
{
    static const struct {
        guint64 size;
        const char *text;
    } cases[] = {
        { 0, "0B" },
        { 1023, "1023B" },
        { 1024, "1.0K" },
        { 3U << 29, "1.5G" },
        { (guint64)16 << 40, "16.0T" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = size_format(cases[i].size);

        g_assert_cmpstr(text, ==, cases[i].text);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/util/size/parse", test_parse);
    g_test_add_func("/util/size/refused", test_refused);
    g_test_add_func("/util/size/format", test_format);
    return g_test_run();
}
