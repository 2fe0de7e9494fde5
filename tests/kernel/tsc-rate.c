/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Prints the rate of this machine's time stamp counter in kHz: a guest under emulation sees the same
 * counter, and fails at random to measure it while the host is busy. */

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

static double
now(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int
main(void)
{
    double begin = now();
    uint64_t first = __rdtsc();
    double end;
    uint64_t last;

    do {
        end = now();
        last = __rdtsc();
    } while (end - begin < 0.2);

    (void)printf("%.0f\n", (double)(last - first) / (end - begin) / 1000.0);
    return 0;
}
