/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "model/schema.h"

#include <string.h>

#include "model/access-state.h"
#include "model/spec.h"
#include "util/error.h"

static void
assert_set(SchemaScope scope, const char *key, gpointer spec, const char *text)
{
    g_autoptr(GError) error = NULL;
    gboolean set = schema_set_text(schema_find_key(scope, key), spec, text, &error);

    g_assert_no_error(error);
    g_assert_true(set);
}

static void
assert_refused(SchemaScope scope, const char *key, gpointer spec, const char *text)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(schema_set_text(schema_find_key(scope, key), spec, text, &error));
    g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
}

static void
assert_variant_refused(const char *option, GVariant *value)
{
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("file", "d");
    g_autoptr(BackstoreSpec) before = backstore_spec_dup(spec);
    g_autoptr(GVariant) owned = g_variant_ref_sink(value);
    g_autoptr(GError) error = NULL;

    g_assert_false(
        schema_set_variant(schema_find_option(SCHEMA_BACKSTORE, option), spec, owned, &error));
    g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
    g_assert_true(schema_is_equal(SCHEMA_BACKSTORE, spec, before));
}

static void
test_names_are_unique(void)
{
    guint n;
    const SchemaOption *rows = schema_options(&n);

    for (guint i = 0; i < n; i++) {
        for (guint j = i + 1; j < n; j++) {
            if (rows[i].scope != rows[j].scope)
                continue;
            g_assert_cmpstr(rows[i].key, !=, rows[j].key);
            g_assert_cmpstr(rows[i].option, !=, rows[j].option);
            g_assert_cmpuint(rows[i].offset, !=, rows[j].offset);
        }
    }
}

/* What a file need not say must be something it could say */
static void
test_defaults_are_valid(void)
{
    g_autoptr(BackstoreSpec) backstore = backstore_spec_new("file", "d");
    g_autoptr(TargetSpec) target = target_spec_new("iqn.2026-11.org.lunport:t");
    g_autoptr(PortalSpec) portal = portal_spec_new("*", 3260);
    gpointer specs[SCHEMA_N] = { [SCHEMA_BACKSTORE] = backstore,
                                 [SCHEMA_TARGET] = target,
                                 [SCHEMA_PARAMETER] = &target->parameters,
                                 [SCHEMA_PORTAL] = portal };
    guint n;
    const SchemaOption *rows = schema_options(&n);

    for (guint i = 0; i < n; i++) {
        g_autoptr(GError) error = NULL;

        if (specs[rows[i].scope] == NULL || (rows[i].flags & SCHEMA_IDENTITY) != 0)
            continue;
        g_assert_true(schema_is_default(&rows[i], specs[rows[i].scope]));
        (void)schema_set_text(&rows[i], specs[rows[i].scope], rows[i].preset, &error);
        g_assert_no_error(error);
    }
}

static void
test_text_round_trip(void)
{
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("file", "d");
    g_autofree char *size = NULL;
    g_autofree char *odd = NULL;

    assert_set(SCHEMA_BACKSTORE, "Size", spec, "3G");
    g_assert_cmpuint(spec->size, ==, G_GUINT64_CONSTANT(3) << 30);
    size = schema_format_text(schema_find_key(SCHEMA_BACKSTORE, "Size"), spec);
    g_assert_cmpstr(size, ==, "3G");

    assert_set(SCHEMA_BACKSTORE, "Size", spec, "1537");
    odd = schema_format_text(schema_find_key(SCHEMA_BACKSTORE, "Size"), spec);
    g_assert_cmpstr(odd, ==, "1537");
}

static void
test_booleans(void)
{
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("file", "d");

    assert_set(SCHEMA_BACKSTORE, "ReadOnly", spec, "Yes");
    g_assert_true(spec->read_only);
    assert_set(SCHEMA_BACKSTORE, "ReadOnly", spec, "off");
    g_assert_false(spec->read_only);
    assert_refused(SCHEMA_BACKSTORE, "ReadOnly", spec, "maybe");
    assert_refused(SCHEMA_BACKSTORE, "ReadOnly", spec, "");
}

static void
test_ranges(void)
{
    g_autoptr(TargetSpec) target = target_spec_new("iqn.2026-11.org.lunport:t");
    gpointer parameters = &target->parameters;

    assert_set(SCHEMA_PARAMETER, "QueueDepth", parameters, "128");
    assert_refused(SCHEMA_PARAMETER, "QueueDepth", parameters, "129");
    assert_refused(SCHEMA_PARAMETER, "QueueDepth", parameters, "0");
    assert_refused(SCHEMA_PARAMETER, "QueueDepth", parameters, "-1");
    assert_refused(SCHEMA_PARAMETER, "QueueDepth", parameters, "18446744073709551616");
    assert_refused(SCHEMA_PARAMETER, "QueueDepth", parameters, "12x");
    g_assert_cmpuint(target->parameters.queue_depth, ==, 128);
}

static void
test_strings(void)
{
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("file", "d");

    assert_set(SCHEMA_BACKSTORE, "Naa", spec, "50014380186b35c0");
    assert_set(SCHEMA_BACKSTORE, "Naa", spec, "6001405A7e4f1cd5c3d4a5a9a3f3e6b1");
    assert_set(SCHEMA_BACKSTORE, "Naa", spec, "");
    assert_refused(SCHEMA_BACKSTORE, "Naa", spec, "90014380186b35c0");
    assert_refused(SCHEMA_BACKSTORE, "Naa", spec, "5001");
    assert_refused(SCHEMA_BACKSTORE, "Cache", spec, "turbo");
    assert_refused(SCHEMA_BACKSTORE, "Path", spec, "relative/path");
    assert_refused(SCHEMA_BACKSTORE, "Uuid", spec, "not-a-uuid");
    assert_refused(SCHEMA_BACKSTORE, "Vendor", spec, "NINECHARS");
    assert_refused(SCHEMA_BACKSTORE, "Vendor", spec, "\x01");
    assert_refused(SCHEMA_BACKSTORE, "Product", spec, "\xff\xfe");
}

static void
test_addresses(void)
{
    g_autoptr(PortalSpec) spec = portal_spec_new("*", 3260);

    assert_set(SCHEMA_PORTAL, "Address", spec, "192.0.2.1");
    assert_set(SCHEMA_PORTAL, "Address", spec, "2001:db8::1");
    assert_set(SCHEMA_PORTAL, "Address", spec, "fe80::1%eth77");
    assert_set(SCHEMA_PORTAL, "Address", spec, "*");
    assert_refused(SCHEMA_PORTAL, "Address", spec, "192.0.2.1:3260");
    assert_refused(SCHEMA_PORTAL, "Address", spec, "[2001:db8::1]");
    assert_refused(SCHEMA_PORTAL, "Address", spec, "example.org");
    assert_refused(SCHEMA_PORTAL, "Address", spec, "");
}

static void
test_portal_group_lists(void)
{
    g_autoptr(TargetSpec) spec = target_spec_new("iqn.2026-11.org.lunport:t");

    assert_set(SCHEMA_TARGET, "PortalGroups", spec, "1 7 65535");
    g_assert_true(target_spec_has_group(spec, 7));
    g_assert_false(target_spec_has_group(spec, 2));
    assert_set(SCHEMA_TARGET, "PortalGroups", spec, "");
    g_assert_false(target_spec_has_group(spec, 1));
    assert_set(SCHEMA_TARGET, "PortalGroups", spec, "*");
    g_assert_true(target_spec_has_group(spec, 2));
    assert_refused(SCHEMA_TARGET, "PortalGroups", spec, "7 1");
    assert_refused(SCHEMA_TARGET, "PortalGroups", spec, "0");
    assert_refused(SCHEMA_TARGET, "PortalGroups", spec, "65536");
}

static void
test_access_states(void)
{
    g_autoptr(TargetSpec) spec = target_spec_new("iqn.2026-11.org.lunport:t");
    g_autoptr(GArray) states = NULL;
    const AccessState *state;

    assert_set(SCHEMA_TARGET, "AccessStates", spec, "");
    assert_set(SCHEMA_TARGET, "AccessStates", spec,
               "1:standby 2:active-non-optimized:preferred 65535:offline:preferred:explicit");
    states = target_spec_dup_access_states(spec);
    g_assert_cmpuint(states->len, ==, 3);
    g_assert_null(access_states_find(states, 3));
    state = access_states_find(states, 65535);
    g_assert_cmpuint(state->state, ==, 0xe);
    g_assert_true(state->preferred && state->is_explicit);

    access_states_set(states, &(AccessState){ .tag = 2, .state = 0x3 });
    access_states_set(states, &(AccessState){ .tag = 7, .preferred = TRUE });
    target_spec_set_access_states(spec, states);
    g_assert_cmpstr(spec->access_states, ==,
                    "1:standby 2:unavailable 7:active-optimized:preferred "
                    "65535:offline:preferred:explicit");

    assert_refused(SCHEMA_TARGET, "AccessStates", spec, "2:standby 1:standby");
    assert_refused(SCHEMA_TARGET, "AccessStates", spec, "1:standby 1:offline");
    assert_refused(SCHEMA_TARGET, "AccessStates", spec, "1:asleep");
    assert_refused(SCHEMA_TARGET, "AccessStates", spec, "1");
    assert_refused(SCHEMA_TARGET, "AccessStates", spec, "0:standby");
    assert_refused(SCHEMA_TARGET, "AccessStates", spec, "1:standby:explicit:preferred");
    assert_refused(SCHEMA_TARGET, "AccessStates", spec, "1:standby ");
}

static void
test_variants(void)
{
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("file", "d");
    g_autoptr(GVariant) size = g_variant_ref_sink(g_variant_new_int32(4096));
    g_autoptr(GVariant) got = NULL;
    g_autoptr(GError) error = NULL;

    /* Shells send small integers for 64-bit options */
    (void)schema_set_variant(schema_find_option(SCHEMA_BACKSTORE, "size"), spec, size, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(spec->size, ==, 4096);

    got =
        g_variant_ref_sink(schema_get_variant(schema_find_option(SCHEMA_BACKSTORE, "size"), spec));
    g_assert_true(g_variant_is_of_type(got, G_VARIANT_TYPE_UINT64));
    g_assert_cmpuint(g_variant_get_uint64(got), ==, 4096);
}

static void
test_variants_of_wrong_type(void)
{
    assert_variant_refused("size", g_variant_new_string("1G"));
    assert_variant_refused("size", g_variant_new_int64(-1));
    assert_variant_refused("size", g_variant_new_uint64(G_MAXUINT64));
    assert_variant_refused("block-size", g_variant_new_uint32(8192));
    assert_variant_refused("read-only", g_variant_new_uint32(1));
    assert_variant_refused("path", g_variant_new_object_path("/x"));
    assert_variant_refused("cache", g_variant_new_strv(NULL, 0));
}

static void
test_identities_are_no_options(void)
{
    g_assert_null(schema_find_option(SCHEMA_BACKSTORE, "name"));
    g_assert_null(schema_find_option(SCHEMA_BACKSTORE, "no-such-option"));
    g_assert_null(schema_find_key(SCHEMA_BACKSTORE, "Create"));
    g_assert_nonnull(schema_find_option(SCHEMA_BACKSTORE, "create"));
}

static void
test_backstores_that_contradict_themselves(void)
{
    g_autoptr(BackstoreSpec) file = backstore_spec_new("file", "d");
    g_autoptr(BackstoreSpec) ram = backstore_spec_new("ram", "d");

    g_assert_false(backstore_spec_check(file, NULL)); /* no path */
    assert_set(SCHEMA_BACKSTORE, "Path", file, "/srv/d");
    g_assert_true(backstore_spec_check(file, NULL));
    file->create = TRUE;
    g_assert_false(backstore_spec_check(file, NULL)); /* no size */
    file->size = 1 << 20;
    g_assert_true(backstore_spec_check(file, NULL));
    file->size = 1000;
    g_assert_false(backstore_spec_check(file, NULL)); /* not whole blocks */

    g_assert_false(backstore_spec_check(ram, NULL)); /* no size */
    ram->size = 1 << 20;
    g_assert_true(backstore_spec_check(ram, NULL));
    ram->block_size = 1000;
    g_assert_false(backstore_spec_check(ram, NULL));
}

static void
test_table_lists_every_key(void)
{
    g_autofree char *table = schema_format_table();
    guint n;
    const SchemaOption *rows = schema_options(&n);

    for (guint i = 0; i < n; i++) {
        g_autofree char *line = g_strdup_printf("\n%s=%s\n", rows[i].key, rows[i].preset);

        if ((rows[i].flags & SCHEMA_IN_FILE) != 0)
            g_assert_nonnull(strstr(table, line));
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/model/schema/names-are-unique", test_names_are_unique);
    g_test_add_func("/model/schema/defaults-are-valid", test_defaults_are_valid);
    g_test_add_func("/model/schema/text-round-trip", test_text_round_trip);
    g_test_add_func("/model/schema/booleans", test_booleans);
    g_test_add_func("/model/schema/ranges", test_ranges);
    g_test_add_func("/model/schema/strings", test_strings);
    g_test_add_func("/model/schema/addresses", test_addresses);
    g_test_add_func("/model/schema/portal-group-lists", test_portal_group_lists);
    g_test_add_func("/model/schema/access-states", test_access_states);
    g_test_add_func("/model/schema/variants", test_variants);
    g_test_add_func("/model/schema/variants-of-wrong-type", test_variants_of_wrong_type);
    g_test_add_func("/model/schema/identities-are-no-options", test_identities_are_no_options);
    g_test_add_func("/model/schema/contradictions", test_backstores_that_contradict_themselves);
    g_test_add_func("/model/schema/table-lists-every-key", test_table_lists_every_key);
    return g_test_run();
}
