/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "bus/options.h"

#include "model/spec.h"
#include "util/error.h"

static const OptionRow rows[] = {
    { "mode", "s" },
    { "count", "u" },
    { NULL, NULL },
};

static const OptionTable table = { .rows = rows, .with_common = TRUE };

static const OptionTable backstore_table = {
    .with_common = TRUE,
    .with_schema = TRUE,
    .schema = SCHEMA_BACKSTORE,
};

static gboolean
parse(const char *text, const OptionTable *with, Options *ret_options, GError **ret_error)
{
    g_autoptr(GVariant) values =
        g_variant_ref_sink(g_variant_parse(G_VARIANT_TYPE_VARDICT, text, NULL, NULL, NULL));

    return options_parse(values, with, ret_options, ret_error);
}

static void
assert_refused(const char *text, const OptionTable *with)
{
    Options options = { 0 };
    g_autoptr(GError) error = NULL;

    g_assert_false(parse(text, with, &options, &error));
    g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
    options_clear(&options);
}

static void
test_defaults(void)
{
    Options options = { 0 };
    g_autoptr(GError) error = NULL;

    g_assert_true(parse("@a{sv} {}", &table, &options, &error));
    g_assert_no_error(error);
    g_assert_true(options.persist);
    g_assert_false(options.dry_run);
    g_assert_false(options.has_expected_generation);
    options_clear(&options);
}

static void
test_common(void)
{
    Options options = { 0 };

    g_assert_true(
        parse("{'persist': <false>, 'dry-run': <true>, 'expected-generation': <uint64 7>}", &table,
              &options, NULL));
    g_assert_false(options.persist);
    g_assert_true(options.dry_run);
    g_assert_true(options.has_expected_generation);
    g_assert_cmpuint(options.expected_generation, ==, 7);
    options_clear(&options);
}

static void
test_own(void)
{
    Options options = { 0 };
    const char *mode = NULL;
    guint32 count = 5;

    g_assert_true(parse("{'mode': <'abort'>}", &table, &options, NULL));
    g_assert_true(options_get(&options, "mode", "&s", &mode));
    g_assert_cmpstr(mode, ==, "abort");
    g_assert_false(options_get(&options, "count", "u", &count));
    g_assert_cmpuint(count, ==, 5);
    options_clear(&options);
}

static void
test_unknown(void)
{
    assert_refused("{'mood': <'abort'>}", &table);
    assert_refused("{'': <1>}", &table);
}

static void
test_wrong_type(void)
{
    assert_refused("{'mode': <uint32 1>}", &table);
    assert_refused("{'persist': <'no'>}", &table);
    assert_refused("{'expected-generation': <7>}", &table);
}

static void
test_twice(void)
{
    assert_refused("{'mode': <'a'>, 'mode': <'b'>}", &table);
}

static void
test_common_only_where_changes_are_made(void)
{
    static const OptionTable reading = { .rows = rows };

    assert_refused("{'dry-run': <true>}", &reading);
}

static void
test_schema(void)
{
    Options options = { 0 };
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("ram", "disk");
    g_autoptr(GError) error = NULL;

    g_assert_true(parse("{'size': <uint64 1048576>, 'block-size': <uint32 4096>}", &backstore_table,
                        &options, &error));
    g_assert_true(options_apply(&options, &backstore_table, spec, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(spec->size, ==, 1048576);
    g_assert_cmpuint(spec->block_size, ==, 4096);
    options_clear(&options);
}

static void
test_schema_refuses_identity(void)
{
    assert_refused("{'name': <'other'>}", &backstore_table);
}

static void
test_schema_judges_values(void)
{
    Options options = { 0 };
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("ram", "disk");
    g_autoptr(GError) error = NULL;

    g_assert_true(parse("{'block-size': <'big'>}", &backstore_table, &options, NULL));
    g_assert_false(options_apply(&options, &backstore_table, spec, &error));
    g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
    options_clear(&options);
}

static void
test_parameters(void)
{
    g_autoptr(TargetSpec) spec = target_spec_new("iqn.2024-01.com.example:a");
    g_autoptr(GVariant) good =
        g_variant_ref_sink(g_variant_new_parsed("{'MaxBurstLength': <uint32 65536>}"));
    g_autoptr(GVariant) bad = g_variant_ref_sink(g_variant_new_parsed("{'MaxBurst': <uint32 1>}"));
    g_autoptr(GError) error = NULL;

    g_assert_true(options_apply_parameters(good, &spec->parameters, &error));
    g_assert_cmpuint(spec->parameters.max_burst_length, ==, 65536);
    g_assert_false(options_apply_parameters(bad, &spec->parameters, &error));
    g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
}

/* In the message that came in, whether the options are good or not */
static void
test_secrets_are_wiped(void)
{
    static const OptionRow secret_rows[] = { { "mutual-secret", "s" }, { NULL, NULL } };
    static const OptionTable secret_table = { .rows = secret_rows };
    static const char *const texts[] = { "{'mutual-secret': <'hidden'>}",
                                         "{'mutual-secret': <'hidden'>, 'other': <1>}" };

    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GVariant) values =
            g_variant_ref_sink(g_variant_parse(G_VARIANT_TYPE_VARDICT, texts[i], NULL, NULL, NULL));
        Options options = { 0 };
        const char *secret;

        g_assert_cmpint(options_parse(values, &secret_table, &options, NULL), ==, i == 0);
        options_clear(&options);
        g_assert_true(g_variant_lookup(values, "mutual-secret", "&s", &secret));
        g_assert_cmpstr(secret, ==, "");
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bus/options/defaults", test_defaults);
    g_test_add_func("/bus/options/common", test_common);
    g_test_add_func("/bus/options/own", test_own);
    g_test_add_func("/bus/options/unknown", test_unknown);
    g_test_add_func("/bus/options/wrong-type", test_wrong_type);
    g_test_add_func("/bus/options/twice", test_twice);
    g_test_add_func("/bus/options/common-only-where-changes-are-made",
                    test_common_only_where_changes_are_made);
    g_test_add_func("/bus/options/schema", test_schema);
    g_test_add_func("/bus/options/schema-refuses-identity", test_schema_refuses_identity);
    g_test_add_func("/bus/options/schema-judges-values", test_schema_judges_values);
    g_test_add_func("/bus/options/parameters", test_parameters);
    g_test_add_func("/bus/options/secrets-are-wiped", test_secrets_are_wiped);
    return g_test_run();
}
