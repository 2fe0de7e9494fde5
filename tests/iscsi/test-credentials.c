/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "iscsi/credentials.h"

#include <stdio.h>
#include <string.h>

#include "util/error.h"

/* Tell which case it is and go on with the others */
#define FAIL(...) (g_test_message(__VA_ARGS__), g_test_fail())

#define SECRET "correct horse battery"
#define OTHER  "quite another secret"

static void
test_check_secret(void)
{
    g_autofree char *longest = g_strnfill(CREDENTIALS_SECRET_MAX, 's');
    g_autofree char *too_long = g_strnfill(CREDENTIALS_SECRET_MAX + 1, 's');
    const struct {
        const char *secret;
        gboolean is_right;
    } cases[] = {
        { "123456789012", TRUE },
        { "with space in it", TRUE },
        { "\303\251t\303\251 \303\240 la mer", TRUE },
        { "0x0123456789ab", TRUE },
        { longest, TRUE },
        { "", FALSE },
        { "12345678901", FALSE },
        { too_long, FALSE },
        { " leading space", FALSE },
        { "trailing space ", FALSE },
        { "line break at the end\n", FALSE },
        { "tabulator\tin it", FALSE },
        { "no UTF-8 \377\377", FALSE },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        if (credentials_check_secret(cases[i].secret, &error) != cases[i].is_right)
            FAIL("case %zu", i);
        g_assert_true((error == NULL) == cases[i].is_right);
        if (error == NULL)
            continue;
        g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
        if (cases[i].secret[0] != '\0')
            g_assert_null(strstr(error->message, cases[i].secret)); /* it is not shown */
    }
}

static void
test_check_user(void)
{
    g_autofree char *longest = g_strnfill(CREDENTIALS_USER_MAX, 'u');
    g_autofree char *too_long = g_strnfill(CREDENTIALS_USER_MAX + 1, 'u');
    const struct {
        const char *user;
        gboolean is_right;
    } cases[] = {
        { "u", TRUE },       { "iqn.2026-11.org.example:host", TRUE },
        { "0x12", TRUE },    { "0bAQ==", TRUE },
        { longest, TRUE },   { "", FALSE },
        { too_long, FALSE }, { " u", FALSE },
        { "u ", FALSE },     { "a\nb", FALSE },
        { "\377", FALSE },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        if (credentials_check_user(cases[i].user, &error) != cases[i].is_right)
            FAIL("case %zu", i);
        g_assert_true((error == NULL) == cases[i].is_right);
    }
}

static void
test_refused_sets(void)
{
    static const struct {
        CredentialsAccount accounts[2];
        guint n_accounts;
    } cases[] = {
        { { { "", SECRET, NULL, NULL } }, 1 },
        { { { "a", "short", NULL, NULL } }, 1 },
        { { { "a", SECRET, "t", NULL } }, 1 },
        { { { "a", SECRET, NULL, OTHER } }, 1 },
        { { { "a", SECRET, "t", "short" } }, 1 },
        { { { "a", SECRET, "", OTHER } }, 1 },
        { { { "a", SECRET, "t", SECRET } }, 1 },                             /* both directions */
        { { { "a", SECRET, NULL, NULL }, { "a", OTHER, NULL, NULL } }, 2 },  /* twice */
        { { { "a", SECRET, NULL, NULL }, { "b", OTHER, "t", SECRET } }, 2 }, /* crosswise */
        { { { "a", OTHER, "t", SECRET }, { "b", SECRET, NULL, NULL } }, 2 },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(credentials_new(cases[i].accounts, cases[i].n_accounts, &error));
        g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
        g_assert_null(strstr(error->message, SECRET));
        g_assert_null(strstr(error->message, OTHER));
    }
}

static void
test_find(void)
{
    static const CredentialsAccount accounts[] = {
        { "anne", SECRET, NULL, NULL },
        { "bob", SECRET, "target", OTHER }, /* initiators may share one, if their owner wants */
        { "bobby", OTHER "!", NULL, NULL },
    };
    g_autoptr(Credentials) credentials = credentials_new(accounts, G_N_ELEMENTS(accounts), NULL);
    const CredentialsAccount *bob;

    g_assert_nonnull(credentials);
    bob = credentials_find(credentials, "bob");
    g_assert_cmpstr(bob->user, ==, "bob");
    g_assert_cmpstr(bob->secret, ==, SECRET);
    g_assert_cmpstr(bob->mutual_user, ==, "target");
    g_assert_cmpstr(bob->mutual_secret, ==, OTHER);
    g_assert_true(bob->secret != accounts[1].secret); /* a copy */
    g_assert_cmpstr(credentials_find(credentials, "bobby")->secret, ==, OTHER "!");
    g_assert_null(credentials_find(credentials, "anne")->mutual_user);
    g_assert_null(credentials_find(credentials, "Bob"));
    g_assert_null(credentials_find(credentials, "bo"));
    g_assert_null(credentials_find(credentials, ""));
    g_assert_null(credentials_find(NULL, "bob"));
}

static void
test_empty_and_full(void)
{
    CredentialsAccount accounts[CREDENTIALS_ACCOUNTS_MAX + 1];
    char users[CREDENTIALS_ACCOUNTS_MAX + 1][8];
    g_autoptr(Credentials) empty = credentials_new(NULL, 0, NULL);
    g_autoptr(Credentials) full = NULL;

    for (guint i = 0; i <= CREDENTIALS_ACCOUNTS_MAX; i++) {
        (void)g_snprintf(users[i], sizeof(users[i]), "u%u", i);
        accounts[i] = (CredentialsAccount){ users[i], SECRET, "target", OTHER };
    }
    full = credentials_new(accounts, CREDENTIALS_ACCOUNTS_MAX, NULL);
    g_assert_nonnull(full);
    g_assert_cmpstr(credentials_find(full, "u63")->mutual_secret, ==, OTHER);
    g_assert_null(credentials_new(accounts, CREDENTIALS_ACCOUNTS_MAX + 1, NULL));
    g_assert_nonnull(empty);
    g_assert_null(credentials_find(empty, "u0"));
}

/* Sets are made of others: an account in the place of the one of its user, and one less */
static void
test_with_and_without(void)
{
    static const CredentialsAccount anne = { "anne", SECRET, NULL, NULL };
    static const CredentialsAccount bert = { "bert", "the secret of bert", NULL, NULL };
    static const CredentialsAccount again = { "anne", "the next one of anne", "target", OTHER };
    static const CredentialsAccount mirror = { "carl", OTHER, NULL, NULL };
    g_autoptr(Credentials) one = credentials_with(NULL, &anne, NULL);
    g_autoptr(Credentials) two = credentials_with(one, &bert, NULL);
    g_autoptr(Credentials) changed = credentials_with(two, &again, NULL);
    g_autoptr(Credentials) less = NULL;
    Credentials *none = one;
    g_autoptr(GError) error = NULL;

    g_assert_cmpuint(changed->n_accounts, ==, 2);
    g_assert_cmpstr(changed->accounts[0].user, ==, "anne");
    g_assert_cmpstr(credentials_find(changed, "anne")->secret, ==, again.secret);
    g_assert_cmpstr(credentials_find(changed, "bert")->secret, ==, bert.secret);
    g_assert_null(credentials_with(changed, &mirror, &error));
    g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);

    g_assert_true(credentials_without(changed, "anne", &less, NULL));
    g_assert_cmpuint(less->n_accounts, ==, 1);
    g_assert_cmpstr(less->accounts[0].user, ==, "bert");
    g_assert_true(credentials_without(less, "bert", &none, NULL));
    g_assert_null(none);
}

/* Whether the mapping that holds @address has @flag among its VmFlags */
static gboolean
has_vm_flag(gconstpointer address, const char *flag)
{
    g_autofree char *maps = NULL;
    g_auto(GStrv) lines = NULL;
    gboolean is_inside = FALSE;

    g_assert_true(g_file_get_contents("/proc/self/smaps", &maps, NULL, NULL));
    lines = g_strsplit(maps, "\n", -1);
    for (guint i = 0; lines[i] != NULL; i++) {
        gsize begin, end;

        if (sscanf(lines[i], "%zx-%zx ", &begin, &end) == 2 &&
            strchr(lines[i], '-') < lines[i] + 17)
            is_inside = begin <= (gsize)address && (gsize)address < end;
        else if (is_inside && g_str_has_prefix(lines[i], "VmFlags:"))
            return strstr(lines[i], flag) != NULL;
    }
    return FALSE;
}

static void
test_not_in_core_dumps(void)
{
    static const CredentialsAccount account = { "anne", SECRET, NULL, NULL };
    g_autoptr(Credentials) credentials = credentials_new(&account, 1, NULL);

    g_assert_true(has_vm_flag(credentials_find(credentials, "anne")->secret, " dd"));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/iscsi/credentials/check-secret", test_check_secret);
    g_test_add_func("/iscsi/credentials/check-user", test_check_user);
    g_test_add_func("/iscsi/credentials/refused-sets", test_refused_sets);
    g_test_add_func("/iscsi/credentials/find", test_find);
    g_test_add_func("/iscsi/credentials/empty-and-full", test_empty_and_full);
    g_test_add_func("/iscsi/credentials/with-and-without", test_with_and_without);
    g_test_add_func("/iscsi/credentials/not-in-core-dumps", test_not_in_core_dumps);
    return g_test_run();
}
