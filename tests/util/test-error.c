/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "util/error.h"

#include <errno.h>

static void
test_errno_has_a_reason(void)
{
    g_autoptr(GError) error = NULL;

    error_set_errno(&error, LUNPORT_ERROR_STORAGE_NOT_FOUND, ENOENT, "Failed to open “%s”", "/x");
    g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_NOT_FOUND);
    g_assert_true(g_str_has_prefix(error->message, "Failed to open “/x”: "));
    g_assert_true(g_str_has_suffix(error->message, g_strerror(ENOENT)));
}

static void
test_nobody_asked(void)
{
    error_set_errno(NULL, LUNPORT_ERROR_FAILED, EIO, "Failed to open “%s”", "/x");
}

static void
test_storage_codes(void)
{
    g_assert_cmpint(error_code_from_storage_errno(ENOENT), ==, LUNPORT_ERROR_STORAGE_NOT_FOUND);
    g_assert_cmpint(error_code_from_storage_errno(EACCES), ==, LUNPORT_ERROR_STORAGE_PERMISSION);
    g_assert_cmpint(error_code_from_storage_errno(EBUSY), ==, LUNPORT_ERROR_STORAGE_IN_USE);
    g_assert_cmpint(error_code_from_storage_errno(EIO), ==, LUNPORT_ERROR_STORAGE_ERROR);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/util/error/errno-has-a-reason", test_errno_has_a_reason);
    g_test_add_func("/util/error/nobody-asked", test_nobody_asked);
    g_test_add_func("/util/error/storage-codes", test_storage_codes);
    return g_test_run();
}
