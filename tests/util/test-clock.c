/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "util/clock.h"

static void
test_manual_stands_still(void)
{
    Clock clock;

    clock_init_manual(&clock, 1000);
    g_assert_cmpint(clock_now(&clock), ==, 1000);
    g_assert_cmpint(clock_now(&clock), ==, 1000);

    clock_advance(&clock, USEC_PER_SEC);
    g_assert_cmpint(clock_now(&clock), ==, 1001000);
}

static void
test_system_is_monotonic(void)
{
    gint64 before = g_get_monotonic_time();
    gint64 now = clock_now(&clock_system);
    gint64 after = g_get_monotonic_time();

    g_assert_cmpint(before, <=, now);
    g_assert_cmpint(now, <=, after);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/util/clock/manual-stands-still", test_manual_stands_still);
    g_test_add_func("/util/clock/system-is-monotonic", test_system_is_monotonic);
    return g_test_run();
}
