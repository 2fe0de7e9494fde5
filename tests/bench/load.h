/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#pragma once

#include <netinet/in.h>

#include <glib.h>

#include "histogram.h"

/*
 * A load generator that speaks the protocol on raw sockets and costs little
 *
 * One thread, one epoll loop, N sessions with Q commands outstanding each.
 * Everything is allocated before the clock starts. It receives many PDUs with
 * one recv() and sends what one turn produced with one send(). It checks
 * status and sequence numbers but not data: conformance has its own tests.
 */

typedef struct {
    struct sockaddr_storage address;
    socklen_t address_size;
    const char *target; /* IQN; NULL: the bare echo */
    guint lun;
    guint n_sessions;
    guint depth;
    guint32 block; /* bytes a command */
    guint read_percent;
    gboolean sequential;
    gboolean header_digest;
    gboolean data_digest;
    double seconds;
    double warmup;
    guint n_idle; /* further sessions that only stay logged in */
} LoadConfig;

typedef struct {
    guint64 n_operations;
    guint64 n_bytes;
    guint64 n_errors; /* status other than GOOD */
    double seconds;
    Histogram latency;
} LoadResult;

/* Called when the measured part begins and ends */
typedef void (*LoadMarkFn)(gboolean end, gpointer user_data);

/* FALSE with a message on standard error when the target cannot be used */
gboolean load_run(const LoadConfig *config, LoadMarkFn mark, gpointer user_data,
                  LoadResult *ret_result);
