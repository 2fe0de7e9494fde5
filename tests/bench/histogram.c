/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "histogram.h"

/* The lower edge of a bucket in ns */
static guint64
bucket_edge(guint bucket)
{
    guint shift = bucket / HISTOGRAM_SUB;
    guint64 rest = bucket % HISTOGRAM_SUB;

    if (shift == 0)
        return rest << 6;
    return ((rest + HISTOGRAM_SUB) << (shift - 1)) << 6;
}

double
histogram_percentile(const Histogram *histogram, double share)
{
    guint64 wanted = (guint64)((double)histogram->n * share);
    guint64 seen = 0;

    for (guint i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen > wanted)
            return (double)bucket_edge(i) / 1000;
    }
    return (double)histogram->max / 1000;
}
