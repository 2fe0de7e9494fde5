/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <gio/gio.h>

#include "bus/call.h"
#include "model/job.h"

/* What others say of jobs */

/**
 * job_get_timeout() - the option “timeout” of a call that begins a job
 *
 * Part of a second counts as one. Returns: FALSE with INVALID_ARGUMENT where it is out of range
 */
gboolean job_get_timeout(const Call *call, guint *ret_seconds, GError **ret_error);

/* (oussdtu) of Manager.ListJobs, floating */
GVariant *job_row(const ModelJob *job);

/* The signal Finished */
void job_announce_end(GDBusConnection *connection, const ModelJob *job);
