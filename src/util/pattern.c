/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "util/pattern.h"

#include <string.h>

#include "util/error.h"
#include "util/name.h"

gboolean
pattern_has_wildcards(const char *pattern)
{
    return strpbrk(pattern, "*?") != NULL;
}

/* Only the last star need be tried anew: what an earlier one took more would be missing there */
gboolean
pattern_match(const char *pattern, const char *text)
{
    const char *after_star = NULL;
    const char *tried = NULL;

    while (*text != '\0') {
        if (*pattern == '*') {
            after_star = ++pattern;
            tried = text;
        } else if (*pattern == '?') {
            pattern++;
            text = g_utf8_find_next_char(text, NULL);
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (after_star != NULL) {
            pattern = after_star;
            tried = g_utf8_find_next_char(tried, NULL);
            text = tried;
        } else {
            return FALSE;
        }
    }

    return pattern[strspn(pattern, "*")] == '\0';
}

static gboolean
fail(GError **ret_error, const char *pattern, const char *why)
{
    g_autofree char *shown =
        g_utf8_make_valid(pattern, (gssize)MIN(strlen(pattern), 2 * ISCSI_NAME_MAX));
    g_autofree char *quoted = g_strescape(shown, NULL);

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_NAME,
                "“%s” is not a valid pattern of names: %s", quoted, why);
    return FALSE;
}

/* What no name has, no pattern need have */
static gboolean
check_characters(const char *pattern, GError **ret_error)
{
    for (const char *p = pattern; *p != '\0'; p = g_utf8_find_next_char(p, NULL)) {
        gunichar c = g_utf8_get_char(p);
        gboolean is_allowed = c < 0x80 ? g_ascii_islower((char)c) || g_ascii_isdigit((char)c) ||
                                             strchr("-.:*?", (int)c) != NULL
                                       : g_unichar_isgraph(c);

        if (!is_allowed)
            return fail(ret_error, pattern,
                        "only lower-case letters, digits, dash, dot, colon, * and ? are allowed");
    }
    return TRUE;
}

gboolean
pattern_check_name(const char *pattern, GError **ret_error)
{
    gsize size = strlen(pattern);

    if (!pattern_has_wildcards(pattern))
        return name_check_iscsi(pattern, ret_error);
    if (size > ISCSI_NAME_MAX)
        return fail(ret_error, pattern, "it is longer than 223 bytes");
    if (!g_utf8_validate(pattern, -1, NULL))
        return fail(ret_error, pattern, "it is not UTF-8");
    return check_characters(pattern, ret_error);
}
