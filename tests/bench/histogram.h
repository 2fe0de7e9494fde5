/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#pragma once

#include <glib.h>

/*
 * Latencies in a log-linear histogram: 32 buckets for each power of two of
 * microseconds/16, so a percentile is right within about 3 %. Recording is a
 * few instructions and never allocates.
 */

#define HISTOGRAM_SUB     32
#define HISTOGRAM_BUCKETS (40 * HISTOGRAM_SUB)

typedef struct {
    guint64 counts[HISTOGRAM_BUCKETS];
    guint64 n;
    guint64 sum; /* ns */
    guint64 max; /* ns */
} Histogram;

static inline guint
histogram_bucket(guint64 nsec)
{
    guint64 v = nsec >> 6; /* 64 ns is fine enough */
    guint shift;

    if (v < HISTOGRAM_SUB)
        return (guint)v;
    shift = (guint)(63 - __builtin_clzll(v)) - 5;
    return MIN((shift + 1) * HISTOGRAM_SUB + (guint)((v >> shift) - HISTOGRAM_SUB),
               HISTOGRAM_BUCKETS - 1);
}

static inline void
histogram_add(Histogram *histogram, guint64 nsec)
{
    histogram->counts[histogram_bucket(nsec)]++;
    histogram->n++;
    histogram->sum += nsec;
    if (nsec > histogram->max)
        histogram->max = nsec;
}

/* In µs; @share 0.99 for p99 */
double histogram_percentile(const Histogram *histogram, double share);
