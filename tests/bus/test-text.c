/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "bus/text.h"

#include "bus/errors.h"
#include "bus/noun.h"
#include "util/error.h"

static void
assert_escaped(const char *text, const char *expected)
{
    g_autofree char *escaped = text_escape(text);

    g_assert_cmpstr(escaped, ==, expected);
    g_assert_true(g_utf8_validate(escaped, -1, NULL));
}

static void
test_escape(void)
{
    assert_escaped(NULL, "");
    assert_escaped("", "");
    assert_escaped("iqn.2024-01.com.example:ä", "iqn.2024-01.com.example:ä");
    assert_escaped("a\xff", "a\\xff");
    assert_escaped("\xc3", "\\xc3");
    assert_escaped("\xe2\x82", "\\xe2\\x82");
    assert_escaped("a\nb\x7f", "a\\x0ab\\x7f");
    assert_escaped("\xc2\x85", "\\xc2\\x85");
}

static void
test_error_names(void)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

    for (int code = 0; code < LUNPORT_ERROR_N; code++) {
        const char *name = errors_name(code);

        g_assert_nonnull(name);
        g_assert_true(g_str_has_prefix(name, "org.lunport1.Error."));
        g_assert_true(g_hash_table_add(seen, (gpointer)(gsize)name));
    }

    g_assert_cmpstr(errors_name(LUNPORT_ERROR_N), ==, "org.lunport1.Error.Failed");
    g_assert_cmpstr(errors_name(-1), ==, "org.lunport1.Error.Failed");
}

static void
assert_variant(const GError *error, const char *name, const char *message)
{
    g_autoptr(GVariant) value = g_variant_ref_sink(errors_variant(error));
    const char *seen_name;
    const char *seen_message;

    g_variant_get(value, "(&s&s)", &seen_name, &seen_message);
    g_assert_cmpstr(seen_name, ==, name);
    g_assert_cmpstr(seen_message, ==, message);
}

static void
test_error_property(void)
{
    g_autoptr(GError) busy = g_error_new_literal(LUNPORT_ERROR, LUNPORT_ERROR_BUSY, "In\x01use");
    g_autoptr(GError) other = g_error_new_literal(G_FILE_ERROR, 1, "Odd");

    assert_variant(NULL, "", "");
    assert_variant(busy, "org.lunport1.Error.Busy", "In\\x01use");
    assert_variant(other, "org.lunport1.Error.Failed", "Odd");
}

/* The tables of the nouns and the XML have the same members. */
static void
test_nouns_match_xml(void)
{
    for (gsize i = 0; nouns[i] != NULL; i++)
        noun_check(nouns[i]);
}

/* Every method has an action, and is marked as privileged exactly when that is not “none”. */
static void
test_methods_have_actions(void)
{
    for (gsize i = 0; nouns[i] != NULL; i++) {
        for (GDBusMethodInfo **method = nouns[i]->info->methods; *method != NULL; method++) {
            const char *action =
                g_dbus_annotation_info_lookup((*method)->annotations, "org.lunport1.Action");
            const char *privileged = g_dbus_annotation_info_lookup(
                (*method)->annotations, "org.freedesktop.systemd1.Privileged");

            g_assert_nonnull(action);
            g_assert_true(g_str_equal(action, "none") || g_str_has_prefix(action, "org.lunport1."));
            g_assert_cmpstr(privileged, ==, g_str_equal(action, "none") ? NULL : "true");
        }
    }
}

/* A method that changes something ends in options. */
static void
test_changes_have_options(void)
{
    for (gsize i = 0; nouns[i] != NULL; i++) {
        for (GDBusMethodInfo **method = nouns[i]->info->methods; *method != NULL; method++) {
            GDBusArgInfo *last = NULL;

            if (g_str_equal(
                    g_dbus_annotation_info_lookup((*method)->annotations, "org.lunport1.Action"),
                    "none"))
                continue;

            for (GDBusArgInfo **arg = (*method)->in_args; arg != NULL && *arg != NULL; arg++)
                last = *arg;
            g_assert_nonnull(last);
            g_assert_cmpstr(last->name, ==, "options");
            g_assert_cmpstr(last->signature, ==, "a{sv}");
        }
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bus/text/escape", test_escape);
    g_test_add_func("/bus/errors/names", test_error_names);
    g_test_add_func("/bus/errors/property", test_error_property);
    g_test_add_func("/bus/nouns/match-xml", test_nouns_match_xml);
    g_test_add_func("/bus/nouns/methods-have-actions", test_methods_have_actions);
    g_test_add_func("/bus/nouns/changes-have-options", test_changes_have_options);
    return g_test_run();
}
