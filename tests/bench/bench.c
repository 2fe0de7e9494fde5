/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * bench: operations, bytes, latencies and the target's CPU time per operation
 *
 * What compares across machines and hours is the CPU time of the target's
 * process per operation (--pid), and ratios within one run.
 */

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "util/address.h"

typedef struct {
    int pid;
    guint64 before; /* ns */
    guint64 used;
} Cpu;

/* CPU time of all threads of a process, in ns, from schedstat */
static guint64
cpu_of(int pid)
{
    g_autofree char *folder = g_strdup_printf("/proc/%d/task", pid);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;
    guint64 sum = 0;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_strdup_printf("%s/%s/schedstat", folder, name);
        g_autofree char *text = NULL;

        if (g_file_get_contents(path, &text, NULL, NULL))
            sum += g_ascii_strtoull(text, NULL, 10);
    }
    return sum;
}

static void
on_mark(gboolean end, gpointer user_data)
{
    Cpu *cpu = user_data;

    if (cpu->pid <= 0)
        return;
    if (end)
        cpu->used = cpu_of(cpu->pid) - cpu->before;
    else
        cpu->before = cpu_of(cpu->pid);
}

static void
report(const LoadResult *result, const Cpu *cpu, gboolean json)
{
    const Histogram *latency = &result->latency;
    double n = (double)MAX(result->n_operations, 1U);
    double rate = n / result->seconds;
    double mb_rate = (double)result->n_bytes / 1e6 / result->seconds;
    double mean = latency->n > 0 ? (double)latency->sum / 1000 / (double)latency->n : 0;
    double p50 = histogram_percentile(latency, 0.5);
    double p99 = histogram_percentile(latency, 0.99);
    double p999 = histogram_percentile(latency, 0.999);
    double max = (double)latency->max / 1000;
    double cpu_each = cpu->pid > 0 ? (double)cpu->used / 1000 / n : 0;

    if (json) {
        (void)printf("{\"operations\": %.0f, \"per_second\": %.0f, \"mb_per_second\": %.1f, ", n,
                     rate, mb_rate);
        (void)printf("\"errors\": %" G_GUINT64_FORMAT ", \"mean_us\": %.1f, \"p50_us\": %.1f, ",
                     result->n_errors, mean, p50);
        (void)printf("\"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f, \"cpu_us\": %.3f}\n",
                     p99, p999, max, cpu_each);
        return;
    }
    (void)printf("%.0f operations, %.0f/s, %.1f MB/s, %" G_GUINT64_FORMAT " errors\n", n, rate,
                 mb_rate, result->n_errors);
    (void)printf("latency µs: mean %.1f, p50 %.1f, p99 %.1f, p99.9 %.1f, max %.1f\n", mean, p50,
                 p99, p999, max);
    (void)printf("target CPU: %.3f µs an operation\n", cpu_each);
}

int
main(int argc, char **argv)
{
    g_autofree char *address = NULL, *target = NULL, *digests = NULL;
    int lun = 0, sessions = 1, depth = 32, block = 4096, reads = 100, idle = 0;
    double seconds = 3, warmup = 0.5;
    gboolean sequential = FALSE, json = FALSE, echo = FALSE;
    Cpu cpu = { 0 };
    const GOptionEntry entries[] = {
        { "address", 0, 0, G_OPTION_ARG_STRING, &address, "Portal (127.0.0.1:3260)", "ADDR:PORT" },
        { "target", 0, 0, G_OPTION_ARG_STRING, &target, "Target name", "IQN" },
        { "echo", 0, 0, G_OPTION_ARG_NONE, &echo, "The server is the bare echo", NULL },
        { "lun", 0, 0, G_OPTION_ARG_INT, &lun, "Logical unit", "N" },
        { "sessions", 0, 0, G_OPTION_ARG_INT, &sessions, "Sessions with load (1)", "N" },
        { "idle", 0, 0, G_OPTION_ARG_INT, &idle, "Further idle sessions", "N" },
        { "depth", 0, 0, G_OPTION_ARG_INT, &depth, "Commands outstanding a session (32)", "Q" },
        { "block", 0, 0, G_OPTION_ARG_INT, &block, "Bytes a command (4096)", "BYTES" },
        { "reads", 0, 0, G_OPTION_ARG_INT, &reads, "Share of reads in per cent (100)", "P" },
        { "sequential", 0, 0, G_OPTION_ARG_NONE, &sequential, "Not random", NULL },
        { "digests", 0, 0, G_OPTION_ARG_STRING, &digests, "header, data or both", "WHICH" },
        { "seconds", 0, 0, G_OPTION_ARG_DOUBLE, &seconds, "Measured time (3)", "S" },
        { "warmup", 0, 0, G_OPTION_ARG_DOUBLE, &warmup, "Time before it (0.5)", "S" },
        { "pid", 0, 0, G_OPTION_ARG_INT, &cpu.pid, "Process whose CPU time counts", "PID" },
        { "json", 0, 0, G_OPTION_ARG_NONE, &json, "One line of JSON", NULL },
        { .long_name = NULL },
    };
    g_autoptr(GOptionContext) context = g_option_context_new("- load an iSCSI target");
    g_autoptr(GError) error = NULL;
    g_autofree LoadResult *result = g_new0(LoadResult, 1);
    Address parsed;
    LoadConfig config;

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) ||
        !address_parse(address != NULL ? address : "127.0.0.1", ISCSI_PORT, &parsed, &error)) {
        g_printerr("bench: %s\n", error->message);
        return 2;
    }
    if (!echo && target == NULL) {
        g_printerr("bench: --target or --echo is needed\n");
        return 2;
    }

    config = (LoadConfig){
        .address = parsed.storage,
        .address_size = parsed.size,
        .target = echo ? NULL : target,
        .lun = (guint)CLAMP(lun, 0, 255),
        .n_sessions = (guint)CLAMP(sessions, 1, 10000),
        .n_idle = (guint)CLAMP(idle, 0, 20000),
        .depth = (guint)CLAMP(depth, 1, 1024),
        .block = (guint32)CLAMP(block, 512, 16 << 20) & ~511U,
        .read_percent = (guint)CLAMP(reads, 0, 100),
        .sequential = sequential,
        .header_digest = g_strcmp0(digests, "header") == 0 || g_strcmp0(digests, "both") == 0,
        .data_digest = g_strcmp0(digests, "data") == 0 || g_strcmp0(digests, "both") == 0,
        .seconds = CLAMP(seconds, 0.1, 3600),
        .warmup = CLAMP(warmup, 0, 60),
    };
    if (!load_run(&config, on_mark, &cpu, result))
        return 1;
    report(result, &cpu, json);
    return result->n_errors > 0 ? 1 : 0;
}
