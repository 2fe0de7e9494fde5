/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include <stdio.h>

#include "ctl/output.h"

/*
 * What is printed is looked at in a child of the test: g_test_trap_subprocess()
 * runs the same test again and keeps its output.
 */

/* clang-format off */
static const Column columns[] = {
    { "Name", "NAME", SHOW_PLAIN },
    { "Size", "SIZE", SHOW_SIZE },
    { "Ready", "READY", SHOW_BOOL },
};
/* clang-format on */

static GVariant *
sample(void)
{
    return g_variant_new_parsed(
        "[{'Name': <'a\\u001bb\\u009b'>, 'Size': <uint64 1073741824>, 'Ready': <true>}, "
        "{'Name': <'long name'>, 'Size': <uint64 512>, 'Ready': <false>}]");
}

static void
print(OutputMode mode)
{
    Output output = { .mode = mode, .legend = TRUE };

    output_rows(&output, columns, G_N_ELEMENTS(columns), sample(), "things");
    (void)fflush(stdout);
}

static void
test_table(void)
{
    if (g_test_subprocess()) {
        print(OUTPUT_TABLE);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stdout("*NAME       SIZE  READY\n"
                              "a?b?       1.0G  yes\n"
                              "long name  512B  no\n"
                              "\n"
                              "2 things listed.\n*");
}

static void
test_json(void)
{
    if (g_test_subprocess()) {
        print(OUTPUT_JSON_SHORT);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stdout("*\"Size\":1073741824*\"Ready\":false*");
    g_test_trap_assert_stdout_unmatched("*listed*");
}

static void
test_object(void)
{
    if (g_test_subprocess()) {
        Output output = { .mode = OUTPUT_TABLE, .legend = TRUE };

        output_object(&output, columns, G_N_ELEMENTS(columns),
                      g_variant_new_parsed("{'Name': <'disk'>, 'Size': <uint64 4096>}"));
        (void)fflush(stdout);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stdout("* NAME: disk\n SIZE: 4.0K\n*");
    g_test_trap_assert_stdout_unmatched("*READY*");
}

static void
test_modes(void)
{
    OutputMode mode;

    g_assert_true(output_mode_parse("pretty", &mode));
    g_assert_cmpint(mode, ==, OUTPUT_JSON_PRETTY);
    g_assert_true(output_mode_parse("off", &mode));
    g_assert_cmpint(mode, ==, OUTPUT_TABLE);
    g_assert_false(output_mode_parse("yes", &mode));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ctl/output/table", test_table);
    g_test_add_func("/ctl/output/json", test_json);
    g_test_add_func("/ctl/output/object", test_object);
    g_test_add_func("/ctl/output/modes", test_modes);
    return g_test_run();
}
