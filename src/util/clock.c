/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "util/clock.h"

#include <time.h>

const Clock clock_system = { .manual = FALSE, .now = 0 };

gint64
clock_now(const Clock *clock)
{
    struct timespec ts = { 0 };

    if (clock->manual)
        return __atomic_load_n(&clock->now, __ATOMIC_RELAXED);

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (gint64)ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / 1000;
}

void
clock_init_manual(Clock *clock, gint64 now)
{
    *clock = (Clock){ .manual = TRUE, .now = now };
}

void
clock_advance(Clock *clock, gint64 usec)
{
    g_assert(clock->manual);
    g_assert(usec >= 0);

    (void)__atomic_add_fetch(&clock->now, usec, __ATOMIC_RELAXED);
}
