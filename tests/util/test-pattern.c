/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "util/pattern.h"

#include "util/error.h"
#include "util/name.h"

/* Tell which case it is and go on with the others */
#define FAIL(...) (g_test_message(__VA_ARGS__), g_test_fail())

static void
test_match(void)
{
    static const struct {
        const char *pattern;
        const char *text;
        gboolean matches;
    } cases[] = {
        { "", "", TRUE },
        { "", "a", FALSE },
        { "*", "", TRUE },
        { "*", "iqn.2026-11.org.example:a", TRUE },
        { "**", "a", TRUE },
        { "?", "", FALSE },
        { "?", "a", TRUE },
        { "?", "ab", FALSE },
        { "??", "ab", TRUE },
        { "abc", "abc", TRUE },
        { "abc", "abcd", FALSE },
        { "abcd", "abc", FALSE },
        { "abc", "Abc", FALSE },
        { "a*", "a", TRUE },
        { "a*", "ba", FALSE },
        { "*a", "bca", TRUE },
        { "*a", "bcab", FALSE },
        { "a*c", "abbbc", TRUE },
        { "a*c", "abbbcb", FALSE },
        { "a*b*c", "a-b-b-c", TRUE },
        { "a*b*c", "a-c-b", FALSE },
        { "*ab", "aab", TRUE }, /* the first a is no beginning of it */
        { "*aab", "aaaab", TRUE },
        { "a?c", "abc", TRUE },
        { "a?c", "ac", FALSE },
        { "a*?c", "ac", FALSE },
        { "a*?c", "abc", TRUE },
        { "?*?", "a", FALSE },
        { "?*?", "ab", TRUE },
        { "a.c", "abc", FALSE }, /* nothing else is special */
        { "[ab]", "a", FALSE },
        { "a?c", "a\303\251c", TRUE }, /* one character, not one byte */
        { "*\303\251", "caf\303\251", TRUE },
        { "iqn.2026-11.org.example:*", "iqn.2026-11.org.example:node1", TRUE },
        { "iqn.2026-11.org.example:*", "iqn.2026-11.org.example.evil:node1", FALSE },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        if (pattern_match(cases[i].pattern, cases[i].text) != cases[i].matches)
            FAIL("“%s” and “%s”", cases[i].pattern, cases[i].text);
    }
}

/* With one try per star this would take longer than the universe has */
static void
test_time_is_bounded(void)
{
    g_autoptr(GString) pattern = g_string_new(NULL);
    g_autofree char *text = g_strnfill(ISCSI_NAME_MAX, 'a');

    for (guint i = 0; i < ISCSI_NAME_MAX / 2; i++)
        g_string_append(pattern, "*a");
    g_assert_true(pattern_match(pattern->str, text));
    g_string_append(pattern, "*b");
    g_assert_false(pattern_match(pattern->str, text));
}

static void
test_check(void)
{
    static const struct {
        const char *pattern;
        gboolean is_valid;
    } cases[] = {
        { "*", TRUE },
        { "iqn.2026-11.org.example:*", TRUE },
        { "iqn.*:node?", TRUE },
        { "iqn.2026-11.org.example:node", TRUE },
        { "eui.02004567a425678d", TRUE },
        { "*\303\251*", TRUE },
        { "", FALSE },
        { "node", FALSE }, /* a name, and no valid one */
        { "iqn.2026-13.org.example:node", FALSE },
        { "IQN.*", FALSE },
        { "iqn.2026-11.org example*", FALSE },
        { "iqn.*[ab]", FALSE },
        { "iqn.*\n", FALSE },
        { "iqn.*\377", FALSE },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        if (pattern_check_name(cases[i].pattern, &error) != cases[i].is_valid)
            FAIL("case %zu", i);
        g_assert_true((error == NULL) == cases[i].is_valid);
        if (error != NULL)
            g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_NAME);
    }
}

static void
test_check_length(void)
{
    g_autofree char *right = g_strnfill(ISCSI_NAME_MAX, '*');
    g_autofree char *wrong = g_strnfill(ISCSI_NAME_MAX + 1, '*');

    g_assert_true(pattern_check_name(right, NULL));
    g_assert_false(pattern_check_name(wrong, NULL));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/util/pattern/match", test_match);
    g_test_add_func("/util/pattern/time-is-bounded", test_time_is_bounded);
    g_test_add_func("/util/pattern/check", test_check);
    g_test_add_func("/util/pattern/check-length", test_check_length);
    return g_test_run();
}
