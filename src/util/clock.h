/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * Time is CLOCK_MONOTONIC in microseconds, everywhere. A loop reads its clock
 * once a turn; a test hands the loop a manual clock and moves it.
 */

#define USEC_PER_MSEC ((gint64)1000)
#define USEC_PER_SEC  ((gint64)1000000)

typedef struct {
    gboolean manual;
    gint64 now; /* only when manual */
} Clock;

/* The clock of the system; may be shared by all threads */
extern const Clock clock_system;

gint64 clock_now(const Clock *clock);

/* For tests: a clock that stands still until it is told. Any thread may move it and look at it. */
void clock_init_manual(Clock *clock, gint64 now);
void clock_advance(Clock *clock, gint64 usec);
