/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Sealed texts: what comes back, and what does not */

#include <string.h>

#include "control/seal.h"
#include "util/error.h"

#define NAME   "iqn.2026-11.org.lunport:t"
#define SECRET "not for everybody"

static SealKey *
make_key(char fill)
{
    char bytes[SEAL_KEY_MIN];
    g_autoptr(GError) error = NULL;
    SealKey *key;

    memset(bytes, fill, sizeof(bytes));
    key = seal_key_new(bytes, sizeof(bytes), &error);
    g_assert_no_error(error);
    return key;
}

static char *
close_secret(const SealKey *key)
{
    g_autoptr(GError) error = NULL;
    char *text = seal_close(key, NAME, (const guint8 *)SECRET, strlen(SECRET), &error);

    g_assert_no_error(error);
    return text;
}

static void
assert_opens(const SealKey *key, const char *text, gboolean plain)
{
    g_autoptr(GError) error = NULL;
    gboolean was_plain = !plain;
    gsize size = 0;
    guint8 *data = seal_open(key, NAME, text, &size, &was_plain, &error);

    g_assert_no_error(error);
    g_assert_cmpuint(size, ==, strlen(SECRET));
    g_assert_cmpint(memcmp(data, SECRET, size), ==, 0);
    g_assert_true(was_plain == plain);
    seal_free_data(data, size);
}

static void
assert_stays_closed(const SealKey *key, const char *name, const char *text)
{
    g_autoptr(GError) error = NULL;
    gboolean was_plain;
    gsize size = 0;

    g_assert_null(seal_open(key, name, text, &size, &was_plain, &error));
    g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
}

static void
test_round(void)
{
    g_autoptr(SealKey) key = make_key('k');
    char *sealed = close_secret(key);
    char *again = close_secret(key);
    char *plain = close_secret(NULL);

    assert_opens(key, sealed, FALSE);
    assert_opens(NULL, plain, TRUE);
    assert_opens(key, plain, TRUE);
    g_assert_cmpstr(sealed, !=, again);
    g_assert_null(strstr(sealed, SECRET));
    seal_free_text(sealed);
    seal_free_text(again);
    seal_free_text(plain);
}

static void
test_wrong_key(void)
{
    g_autoptr(SealKey) key = make_key('k');
    g_autoptr(SealKey) other = make_key('o');
    char *sealed = close_secret(key);

    assert_stays_closed(other, NAME, sealed);
    assert_stays_closed(NULL, NAME, sealed);
    seal_free_text(sealed);
}

static void
test_other_name(void)
{
    g_autoptr(SealKey) key = make_key('k');
    char *sealed = close_secret(key);
    char *plain = close_secret(NULL);

    assert_stays_closed(key, NAME "2", sealed);
    assert_stays_closed(key, NAME "2", plain);
    seal_free_text(sealed);
    seal_free_text(plain);
}

/* Every single bit of the body, and of a text that is cut off anywhere */
static void
test_changed(void)
{
    g_autoptr(SealKey) key = make_key('k');
    char *sealed = close_secret(key);
    gsize header = (gsize)(strchr(sealed, '\n') - sealed) + 1;
    gsize size = strlen(sealed);

    for (gsize i = header; i < size - 1; i++) {
        g_autofree char *changed = g_strdup(sealed);

        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        if (changed[i] != sealed[i] && sealed[i] != '=')
            assert_stays_closed(key, NAME, changed);
    }
    for (gsize i = 0; i < size; i++) {
        g_autofree char *cut = g_strndup(sealed, i);

        assert_stays_closed(key, NAME, cut);
    }
    seal_free_text(sealed);
}

static void
test_short_key(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(seal_key_new("short", 5, &error));
    g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/control/seal/round", test_round);
    g_test_add_func("/control/seal/wrong-key", test_wrong_key);
    g_test_add_func("/control/seal/other-name", test_other_name);
    g_test_add_func("/control/seal/changed", test_changed);
    g_test_add_func("/control/seal/short-key", test_short_key);
    return g_test_run();
}
