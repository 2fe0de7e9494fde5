/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Runs a fuzz target on each file of a corpus folder, as a test. What a fuzzer
 * once found is kept there and can not come back unseen.
 */

#include <glib.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

static void
test_file(gconstpointer path)
{
    g_autofree char *data = NULL;
    g_autoptr(GError) error = NULL;
    gsize size;

    g_assert_true(g_file_get_contents(path, &data, &size, &error));
    g_assert_no_error(error);
    g_assert_cmpint(LLVMFuzzerTestOneInput((const guint8 *)data, size), ==, 0);
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GDir) folder = NULL;
    const char *name;

    g_test_init(&argc, &argv, NULL);
    g_assert_cmpint(argc, ==, 3); /* the fuzz target's name, its corpus */
    folder = g_dir_open(argv[2], 0, &error);
    g_assert_no_error(error);

    while ((name = g_dir_read_name(folder)) != NULL) {
        g_autofree char *test = g_strdup_printf("/fuzz/%s/%s", argv[1], name);

        g_test_add_data_func_full(test, g_build_filename(argv[2], name, NULL), test_file, g_free);
    }

    return g_test_run();
}
