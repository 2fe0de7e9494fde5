/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "model/keyfile.h"

#include <string.h>

#include "model/schema.h"
#include "util/error.h"

#define UUID   "0d4f3a52-6f0e-4c5b-9d3e-5b8f8c1f2a34"
#define TARGET "iqn.2026-11.org.lunport:host.disk1"

static void
parse(const char *text, KeyfileObject *object)
{
    g_autoptr(GError) error = NULL;
    gboolean parsed = keyfile_parse(text, strlen(text), object, &error);

    g_assert_no_error(error);
    g_assert_true(parsed);
}

static void
assert_refused(const char *text, int code, const char *part)
{
    g_auto(KeyfileObject) object = { 0 };
    g_autoptr(GError) error = NULL;

    g_assert_false(keyfile_parse(text, strlen(text), &object, &error));
    g_assert_error(error, LUNPORT_ERROR, code);
    if (part != NULL)
        g_assert_nonnull(strstr(error->message, part));
    g_assert_null(object.backstore);
    g_assert_null(object.target);
    g_assert_null(object.portal_group);
}

static void
test_backstore_round_trip(void)
{
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("file", "disk1");
    g_auto(KeyfileObject) object = { 0 };
    g_autofree char *text = NULL;

    g_free(spec->path);
    spec->path = g_strdup("/srv/a \\ strange\tname; with = signs");
    g_free(spec->uuid);
    spec->uuid = g_strdup(UUID);
    spec->size = 4096 * 3;
    spec->block_size = 4096;
    spec->read_only = TRUE;
    g_free(spec->product);
    spec->product = g_strdup("  padded ");

    text = keyfile_format_backstore(spec);
    parse(text, &object);
    g_assert_cmpint(object.kind, ==, MODEL_BACKSTORE);
    g_assert_true(schema_is_equal(SCHEMA_BACKSTORE, spec, object.backstore));
}

static void
test_target_round_trip(void)
{
    g_autoptr(TargetSpec) spec = target_spec_new(TARGET);
    g_auto(KeyfileObject) object = { 0 };
    g_autofree char *text = NULL;
    g_autofree char *again = NULL;

    g_free(spec->alias);
    spec->alias = g_strdup("Größe ✓");
    spec->enabled = TRUE;
    g_free(spec->redirect);
    spec->redirect = g_strdup("[2001:db8::7]:3261");
    spec->redirect_permanent = TRUE;
    spec->relative_port = 7;
    spec->parameters.max_burst_length = 262144;
    spec->parameters.initial_r2t = TRUE;
    target_spec_take_lun(spec, lun_spec_new(16383, "last"));
    target_spec_take_lun(spec, lun_spec_new(0, "disk1"));

    text = keyfile_format_target(spec);
    parse(text, &object);
    g_assert_true(schema_is_equal(SCHEMA_TARGET, spec, object.target));
    g_assert_true(schema_is_equal(SCHEMA_PARAMETER, &spec->parameters, &object.target->parameters));
    g_assert_cmpuint(object.target->luns->len, ==, 2);
    again = keyfile_format_target(object.target);
    g_assert_cmpstr(again, ==, text);
}

static void
test_portal_group_round_trip(void)
{
    g_autoptr(PortalGroupSpec) spec = portal_group_spec_new(7);
    g_auto(KeyfileObject) object = { 0 };
    g_autofree char *text = NULL;
    g_autofree char *again = NULL;

    g_ptr_array_add(spec->portals, portal_spec_new("2001:db8::1", 3260));
    g_ptr_array_add(spec->portals, portal_spec_new("192.0.2.1", 3261));
    text = keyfile_format_portal_group(spec);
    parse(text, &object);
    again = keyfile_format_portal_group(object.portal_group);
    g_assert_cmpstr(again, ==, text);
    g_assert_nonnull(portal_group_spec_find(object.portal_group, "2001:db8::1", 3260));
}

static void
test_by_hand(void)
{
    g_auto(KeyfileObject) object = { 0 };

    parse("# made by hand\n"
          "[Target]\nName=" TARGET "\nEnabled = true\n\n"
          "[Lun 0]\nBackstore=disk1\n# [Lun 1]\n# Backstore=disk2\n",
          &object);
    g_assert_true(object.target->enabled);
    g_assert_cmpstr(object.target->access_mode, ==, "closed");
    g_assert_cmpuint(object.target->luns->len, ==, 1);
}

static void
test_unknown_words(void)
{
    assert_refused("[Backstore]\nName=d\nType=ram\nSize=1M\nUuid=" UUID "\nReadOlny=yes\n",
                   LUNPORT_ERROR_INVALID_ARGUMENT, "ReadOlny");
    assert_refused("[Backstore]\nName=d\nType=ram\nSize=1M\nUuid=" UUID "\n[Extra]\nA=b\n",
                   LUNPORT_ERROR_INVALID_ARGUMENT, "Extra");
    assert_refused("[Target]\nName=" TARGET "\n[Lun x]\nBackstore=d\n",
                   LUNPORT_ERROR_INVALID_ARGUMENT, "Lun x");
    assert_refused("[Target]\nName=" TARGET "\n[Lun 00]\nBackstore=d\n",
                   LUNPORT_ERROR_INVALID_ARGUMENT, "Lun 00");
    assert_refused("[Target]\nName=" TARGET "\n[Lun 16384]\nBackstore=d\n",
                   LUNPORT_ERROR_INVALID_ARGUMENT, NULL);
}

static void
test_what_is_missing(void)
{
    assert_refused("", LUNPORT_ERROR_INVALID_ARGUMENT, NULL);
    assert_refused("[Backstore]\nType=ram\nSize=1M\nUuid=" UUID "\n",
                   LUNPORT_ERROR_INVALID_ARGUMENT, "Name=");
    assert_refused("[Backstore]\nName=d\nType=ram\nUuid=" UUID "\n", LUNPORT_ERROR_INVALID_ARGUMENT,
                   "size");
    assert_refused("[Target]\nName=" TARGET "\n[Lun 0]\nReadOnly=yes\n",
                   LUNPORT_ERROR_INVALID_ARGUMENT, "Backstore=");
    assert_refused("[PortalGroup]\nTag=1\n[Portal 1]\nPort=3260\n", LUNPORT_ERROR_INVALID_ARGUMENT,
                   "Address=");
}

/* The identity is never made up silently, but a new one is offered */
static void
test_missing_uuid(void)
{
    assert_refused("[Backstore]\nName=d\nType=ram\nSize=1M\n", LUNPORT_ERROR_INVALID_ARGUMENT,
                   "A new one is Uuid=");
}

static void
test_newer_format(void)
{
    assert_refused("[Backstore]\nFormat=2\nName=d\nType=ram\nSize=1M\nUuid=" UUID "\n",
                   LUNPORT_ERROR_NOT_SUPPORTED, "newer");
    assert_refused("[Backstore]\nFormat=x\nName=d\nType=ram\nSize=1M\nUuid=" UUID "\n",
                   LUNPORT_ERROR_INVALID_ARGUMENT, NULL);
}

static void
test_rubbish(void)
{
    assert_refused("\xff\xfe\x00", LUNPORT_ERROR_INVALID_ARGUMENT, NULL);
    assert_refused("[Backstore", LUNPORT_ERROR_INVALID_ARGUMENT, NULL);
    assert_refused("Name=d\n", LUNPORT_ERROR_INVALID_ARGUMENT, NULL);
    assert_refused("[Backstore]\nName=\xff\n", LUNPORT_ERROR_INVALID_ARGUMENT, NULL);
    assert_refused("[Target]\nName=IQN.2026-11.org.lunport:t\n", LUNPORT_ERROR_INVALID_NAME, NULL);
    assert_refused("[Backstore]\nName=../etc\nType=ram\n", LUNPORT_ERROR_INVALID_NAME, NULL);
}

/* A truncated file is refused or means less, but never makes the program fail */
static void
test_truncated(void)
{
    g_autoptr(TargetSpec) spec = target_spec_new(TARGET);
    g_autofree char *text = NULL;

    target_spec_take_lun(spec, lun_spec_new(0, "disk1"));
    text = keyfile_format_target(spec);
    for (gsize size = 0; size < strlen(text); size++) {
        g_auto(KeyfileObject) object = { 0 };

        if (keyfile_parse(text, size, &object, NULL))
            g_assert_nonnull(object.target);
        else
            g_assert_null(object.target);
    }
}

static void
test_escaping(void)
{
    static const char *const names[] = { "disk1", TARGET, ".hidden", "a/b",
                                         "..",    "100%", "a b\n",   "größe" };

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *stem = keyfile_escape_name(names[i]);
        g_autofree char *back = keyfile_unescape_name(stem);

        g_assert_null(strchr(stem, '/'));
        g_assert_cmpint(stem[0], !=, '.');
        g_assert_cmpstr(back, ==, names[i]);
    }
}

static void
test_stems_that_are_not_ours(void)
{
    g_assert_null(keyfile_unescape_name("%"));
    g_assert_null(keyfile_unescape_name("%4"));
    g_assert_null(keyfile_unescape_name("%00"));
    g_assert_null(keyfile_unescape_name("%41")); /* A stays A */
    g_assert_null(keyfile_unescape_name("%2f")); /* upper case only */
    g_assert_null(keyfile_unescape_name("a b"));
}

static void
test_longest_name_fits(void)
{
    g_autofree char *name = g_strnfill(223, 'x');
    g_autofree char *stem = NULL;

    memcpy(name, "iqn.2026-11.", 12);
    stem = keyfile_escape_name(name);
    g_assert_cmpuint(strlen(stem), ==, 223);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/model/keyfile/backstore-round-trip", test_backstore_round_trip);
    g_test_add_func("/model/keyfile/target-round-trip", test_target_round_trip);
    g_test_add_func("/model/keyfile/portal-group-round-trip", test_portal_group_round_trip);
    g_test_add_func("/model/keyfile/by-hand", test_by_hand);
    g_test_add_func("/model/keyfile/unknown-words", test_unknown_words);
    g_test_add_func("/model/keyfile/what-is-missing", test_what_is_missing);
    g_test_add_func("/model/keyfile/missing-uuid", test_missing_uuid);
    g_test_add_func("/model/keyfile/newer-format", test_newer_format);
    g_test_add_func("/model/keyfile/rubbish", test_rubbish);
    g_test_add_func("/model/keyfile/truncated", test_truncated);
    g_test_add_func("/model/keyfile/escaping", test_escaping);
    g_test_add_func("/model/keyfile/stems-that-are-not-ours", test_stems_that_are_not_ours);
    g_test_add_func("/model/keyfile/longest-name-fits", test_longest_name_fits);
    return g_test_run();
}
