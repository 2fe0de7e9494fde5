/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "control/service.h"
#include "model/job.h"

/*
 * Jobs: what they have in common
 *
 * An operation begins a job and ends with it as its object; the job goes on without holding anything
 * that other operations need. Whatever does the work calls jobs_end() once.
 */

typedef struct Jobs Jobs;

#define JOBS_MAX      1024U /* with those that have ended and are still to be seen */
#define JOB_LINGER_US (10 * G_USEC_PER_SEC)

/* One kind of work */
typedef struct {
    void (*cancel)(ModelJob *job); /* jobs_end() is to follow soon; once, or NULL: it cannot be */
    void (*poll)(ModelJob *job);   /* what it waits for may be there, or its progress has changed */
    void (*free)(gpointer data);
} JobClass;

Jobs *jobs_new(Service *service);
void jobs_free(Jobs *jobs); /* NULL is ignored */

/* LIMIT_EXCEEDED when there are too many. To be asked before the first effect. */
gboolean jobs_check_room(const Jobs *jobs, GError **ret_error);

/**
 * jobs_begin() - show a job
 * @job: taken; a running one
 * @data: of @class, which frees it when the job is no longer to be seen
 */
void jobs_begin(Jobs *jobs, ModelJob *job, const JobClass *class, gpointer data);

gpointer jobs_get_data(const ModelJob *job);

/* NULL unless @job is of @class */
gpointer jobs_cast_data(const ModelJob *job, const JobClass *class);

void jobs_set_progress(Jobs *jobs, ModelJob *job, double progress);

/* @error: taken; NULL: all is done; CANCELED: somebody wanted so. @result: a{sv}, floating, or NULL. */
void jobs_end(Jobs *jobs, ModelJob *job, GError *error, GVariant *result);

void jobs_poll(Jobs *jobs); /* all that run */

/* What happens once a second, with the time of CLOCK_MONOTONIC: jobs are polled, old ones go */
void jobs_tick(Jobs *jobs, gint64 now_us);
