/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <gio/gio.h>

/* @is_stop: systemd stops the service for good. FALSE: it restarts it, or nobody knows. */
typedef void (*StopJobDone)(gpointer data, gboolean is_stop);

/* The service that is to end does not wait longer for the answer */
#define STOP_JOB_ANSWER_MS 1000

/* Ask systemd, on the bus of @connection, why this process is to end. @done follows within @msec, never
 * from within the call. */
void stop_job_ask(GDBusConnection *connection, guint msec, StopJobDone done, gpointer data);
