/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include <string.h>

#include "ctl/verbs.h"

static GVariant *
parse(const char *noun, const char *verb, const char *const *words, int *ret_argc, char ***ret_argv,
      GError **ret_error)
{
    const Verb *row = verbs_find(noun, verb);
    GVariant *options = NULL;

    g_assert_nonnull(row);
    *ret_argv = g_strdupv((char **)(guintptr)words);
    *ret_argc = (int)g_strv_length(*ret_argv);
    /* Words that are taken out stay allocated: a copy of the array keeps them for g_strfreev() */
    {
        g_autofree char **copy = g_new(char *, (gsize)*ret_argc + 1);

        memcpy(copy, *ret_argv, sizeof(char *) * ((gsize)*ret_argc + 1));
        if (!verbs_parse_options(row, ret_argc, copy, &options, ret_error))
            return NULL;
        for (int i = 0; i < *ret_argc; i++)
            g_assert_nonnull(copy[i]);
    }
    return options;
}

static void
test_options_by_key(void)
{
    const char *const words[] = { "disk1", "--path=/srv/d", "--size", "1G", "--preallocate", NULL };
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) argv = NULL;
    int argc;
    g_autoptr(GVariant) options = parse("backstore", "create", words, &argc, &argv, &error);
    const char *path;
    guint64 size;
    gboolean sparse;

    g_assert_no_error(error);
    g_assert_cmpint(argc, ==, 1);
    g_assert_true(g_variant_lookup(options, "path", "&s", &path));
    g_assert_cmpstr(path, ==, "/srv/d");
    g_assert_true(g_variant_lookup(options, "size", "t", &size));
    g_assert_cmpuint(size, ==, 1U << 30);
    g_assert_true(g_variant_lookup(options, "sparse", "b", &sparse));
    g_assert_false(sparse);
}

static void
test_options_refused(void)
{
    static const char *const cases[][3] = {
        { "disk1", "--nonsense", NULL }, { "disk1", "--size=many", NULL },
        { "disk1", "--size", NULL },     { "disk1", "--read-only=yes", NULL },
        { "disk1", "disk2", NULL },      { "--read-only", NULL, NULL },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_auto(GStrv) argv = NULL;
        int argc;
        GVariant *options = parse("backstore", "create", cases[i], &argc, &argv, &error);

        g_assert_null(options);
        g_assert_nonnull(error);
        g_assert_cmpint(client_exit_code(error), ==, EXIT_USAGE);
    }
}

static void
test_double_dash(void)
{
    const char *const words[] = { "--", "--strange", NULL };
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) argv = NULL;
    int argc;
    g_autoptr(GVariant) options = parse("backstore", "show", words, &argc, &argv, &error);

    g_assert_no_error(error);
    g_assert_cmpuint(g_variant_n_children(options), ==, 0);
    g_assert_cmpint(argc, ==, 1);
}

/* Each row can be found by its words, has help, and its options are written once */
static void
test_table(void)
{
    gsize n_verbs;
    const Verb *verbs = verbs_get(&n_verbs);

    for (gsize i = 0; i < n_verbs; i++) {
        g_assert_true(verbs_find(verbs[i].noun, verbs[i].verb) == &verbs[i]);
        g_assert_nonnull(verbs[i].run);
        g_assert_cmpuint(strlen(verbs[i].help), >, 0);
        for (const VerbOption *a = verbs[i].options; a != NULL && a->name != NULL; a++) {
            for (const VerbOption *b = a + 1; b->name != NULL; b++)
                g_assert_cmpstr(a->name, !=, b->name);
        }
    }
    g_assert_null(verbs_find("target", NULL));
    g_assert_null(verbs_find("target", "explode"));
}

static void
test_exit_codes(void)
{
    static const struct {
        const char *name;
        ExitCode code;
    } cases[] = {
        { "org.lunport1.Error.NoSuchTarget", EXIT_NOT_FOUND },
        { "org.lunport1.Error.NoSuchObject", EXIT_NOT_FOUND },
        { "org.lunport1.Error.Busy", EXIT_FAILED },
        { "org.freedesktop.DBus.Error.AccessDenied", EXIT_NOT_AUTHORIZED },
        { "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", EXIT_NOT_AUTHORIZED },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = g_dbus_error_new_for_dbus_error(cases[i].name, "text");

        g_assert_cmpint(client_exit_code(error), ==, cases[i].code);
    }
}

static void
test_dry_run_is_passed_on(void)
{
    Client client = { .dry_run = TRUE };
    g_autoptr(GVariant) options = g_variant_ref_sink(client_options(&client, NULL));
    gboolean dry_run = FALSE;

    g_assert_true(g_variant_lookup(options, "dry-run", "b", &dry_run));
    g_assert_true(dry_run);
}

static void
test_rows(void)
{
    static const char *const keys[] = { "Name", "Size" };
    g_autoptr(GVariant) list = g_variant_ref_sink(g_variant_new_parsed("[('a', uint64 7)]"));
    g_autoptr(GVariant) rows = g_variant_ref_sink(verbs_rows(list, keys, G_N_ELEMENTS(keys)));
    g_autofree char *text = g_variant_print(rows, FALSE);

    g_assert_cmpstr(text, ==, "[{'Name': <'a'>, 'Size': <uint64 7>}]");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ctl/verbs/options-by-key", test_options_by_key);
    g_test_add_func("/ctl/verbs/options-refused", test_options_refused);
    g_test_add_func("/ctl/verbs/double-dash", test_double_dash);
    g_test_add_func("/ctl/verbs/table", test_table);
    g_test_add_func("/ctl/verbs/exit-codes", test_exit_codes);
    g_test_add_func("/ctl/verbs/dry-run", test_dry_run_is_passed_on);
    g_test_add_func("/ctl/verbs/rows", test_rows);
    return g_test_run();
}
