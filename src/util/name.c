/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Names
 *
 * An iSCSI name is compared byte by byte after it was normalised, so all of
 * the program keeps only normalised names: whoever reads one from outside
 * calls name_normalize_iscsi() and then name_check_iscsi(). Normalising is
 * what the stringprep profile of RFC 3722 asks for, as far as GLib goes: case
 * folding and form KC. In ASCII, which all names in the field are, that is
 * lower case and nothing else.
 *
 * Checking refuses what the profile prohibits: all of ASCII but letters,
 * digits, dash, dot and colon; beyond ASCII controls, spaces, and code points
 * that are not assigned to a character.
 */

#include "util/name.h"

#include <string.h>
#include <unistd.h>

#include "util/error.h"

#define OBJECT_NAME_MAX    64
#define TARGET_PREFIX      "iqn.2026-11.org.lunport:"
#define IDEOGRAPHIC_STOP   0x3002
#define DATE_SIZE          8 /* yyyy-mm. */
#define NAA_SHORT_DIGITS   16
#define NAA_LONG_DIGITS    32
#define EUI_DIGITS         16
#define HOST_NAME_BUF_SIZE 256

static gboolean
fail(GError **ret_error, const char *name, const char *why)
{
    g_autofree char *shown = g_utf8_make_valid(name, (gssize)MIN(strlen(name), 2 * ISCSI_NAME_MAX));
    g_autofree char *quoted = g_strescape(shown, NULL);

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_NAME,
                "“%s” is not a valid name: %s", quoted, why);
    return FALSE;
}

static gboolean
ascii_is_allowed(char c)
{
    return g_ascii_islower(c) || g_ascii_isdigit(c) || c == '-' || c == '.' || c == ':';
}

static gboolean
unichar_is_allowed(gunichar c)
{
    if (c < 0x80)
        return ascii_is_allowed((char)c);

    return c != IDEOGRAPHIC_STOP && g_unichar_isgraph(c) && !g_unichar_isspace(c);
}

static gboolean
name_is_ascii(const char *name)
{
    for (const char *p = name; *p != '\0'; p++) {
        if ((guchar)*p >= 0x80)
            return FALSE;
    }
    return TRUE;
}

static gboolean
check_characters(const char *name, GError **ret_error)
{
    g_autofree char *normal = NULL;

    if (strlen(name) > ISCSI_NAME_MAX)
        return fail(ret_error, name, "it is longer than 223 bytes");
    if (!g_utf8_validate(name, -1, NULL))
        return fail(ret_error, name, "it is not UTF-8");

    for (const char *p = name; *p != '\0'; p = g_utf8_find_next_char(p, NULL)) {
        if (!unichar_is_allowed(g_utf8_get_char(p)))
            return fail(ret_error, name,
                        "only lower-case letters, digits, dash, dot and colon are allowed");
    }

    if (name_is_ascii(name))
        return TRUE;

    normal = name_normalize_iscsi(name);
    if (g_strcmp0(normal, name) != 0)
        return fail(ret_error, name, "it is not normalised");
    return TRUE;
}

/* yyyy-mm.naming-authority[:anything] */
static gboolean
check_iqn(const char *name, const char *rest, GError **ret_error)
{
    static const char form[] = "dddd-dd.";
    guint month;
    gsize authority;

    for (gsize i = 0; i < DATE_SIZE; i++) {
        gboolean right = form[i] == 'd' ? g_ascii_isdigit(rest[i]) : rest[i] == form[i];

        if (!right)
            return fail(ret_error, name, "after “iqn.” comes a date and a dot, as “2026-11.”");
    }

    month = (guint)((rest[5] - '0') * 10 + (rest[6] - '0'));
    if (month < 1 || month > 12)
        return fail(ret_error, name, "its date has no such month");

    authority = strcspn(rest + DATE_SIZE, ":");
    if (authority == 0)
        return fail(ret_error, name,
                    "after the date comes a reversed domain name, as “org.example”");
    return TRUE;
}

static gboolean
is_hex(const char *text)
{
    return text[strspn(text, "0123456789abcdef")] == '\0';
}

/* An EUI-64 */
static gboolean
check_eui(const char *name, const char *rest, GError **ret_error)
{
    if (strlen(rest) != EUI_DIGITS || !is_hex(rest))
        return fail(ret_error, name, "after “eui.” come 16 hexadecimal digits");
    return TRUE;
}

/* An NAA identifier of 64 or 128 bits */
static gboolean
check_naa(const char *name, const char *rest, GError **ret_error)
{
    gsize size = strlen(rest);

    if ((size != NAA_SHORT_DIGITS && size != NAA_LONG_DIGITS) || !is_hex(rest))
        return fail(ret_error, name, "after “naa.” come 16 or 32 hexadecimal digits");
    return TRUE;
}

/* clang-format off */
static const struct {
    const char *prefix;
    gboolean (*check)(const char *name, const char *rest, GError **ret_error);
} types[] = {
    { "iqn.", check_iqn },
    { "eui.", check_eui },
    { "naa.", check_naa },
};
/* clang-format on */

gboolean
name_check_iscsi(const char *name, GError **ret_error)
{
    if (!check_characters(name, ret_error))
        return FALSE;

    for (gsize i = 0; i < G_N_ELEMENTS(types); i++) {
        if (g_str_has_prefix(name, types[i].prefix))
            return types[i].check(name, name + strlen(types[i].prefix), ret_error);
    }
    return fail(ret_error, name, "it does not begin with “iqn.”, “eui.” or “naa.”");
}

char *
name_normalize_iscsi(const char *name)
{
    g_autofree char *composed = NULL;
    g_autofree char *folded = NULL;

    if (!g_utf8_validate(name, -1, NULL))
        return NULL;
    if (name_is_ascii(name))
        return g_ascii_strdown(name, -1);

    composed = g_utf8_normalize(name, -1, G_NORMALIZE_NFKC);
    folded = g_utf8_casefold(composed, -1);
    return g_utf8_normalize(folded, -1, G_NORMALIZE_NFKC);
}

gboolean
name_check_object(const char *name, GError **ret_error)
{
    gsize size = strlen(name);

    if (size == 0)
        return fail(ret_error, name, "it is empty");
    if (size > OBJECT_NAME_MAX)
        return fail(ret_error, name, "it is longer than 64 characters");
    if (name[0] == '.')
        return fail(ret_error, name, "it begins with a dot");

    for (const char *p = name; *p != '\0'; p++) {
        if (!g_ascii_isalnum(*p) && strchr("._-", *p) == NULL)
            return fail(ret_error, name,
                        "only letters, digits, dot, dash and underscore are allowed");
    }
    return TRUE;
}

char *
name_default_target_prefix(void)
{
    char host[HOST_NAME_BUF_SIZE] = "";
    g_autofree char *lower = NULL;

    if (gethostname(host, sizeof(host) - 1) != 0)
        host[0] = '\0';
    host[strcspn(host, ".")] = '\0';

    lower = g_ascii_strdown(host, -1);
    for (char *p = lower; *p != '\0'; p++) {
        if (!ascii_is_allowed(*p) || *p == ':')
            *p = '-';
    }
    return g_strconcat(TARGET_PREFIX, lower[0] != '\0' ? lower : "localhost", NULL);
}
