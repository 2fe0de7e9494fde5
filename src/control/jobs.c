/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Jobs: beginning, progress, end, and their disappearance some time after
 *
 * Jobs stay for a while after their end so that who began one can read how it
 * ended, also when the signal came before the answer was looked at. The timer
 * exists while jobs do. How many there may be is limited, or a caller could
 * fill the memory with them.
 */

#include "control/jobs.h"

#include "control/service-private.h"
#include "util/error.h"

#define TICK_SECONDS 1

struct Jobs {
    Service *service;
    guint timer;
};

typedef struct {
    const JobClass *class;
    gpointer data;
    gboolean is_canceled; /* cancel() was called */
    gint64 ended_us;      /* CLOCK_MONOTONIC */
} JobRuntime;

Jobs *
jobs_new(Service *service)
{
    Jobs *jobs = g_new0(Jobs, 1);

    jobs->service = service;
    return jobs;
}

static void
free_runtime(ModelJob *job)
{
    JobRuntime *runtime = g_steal_pointer(&job->runtime);

    if (runtime->class->free != NULL)
        runtime->class->free(runtime->data);
    g_free(runtime);
}

void
jobs_free(Jobs *jobs)
{
    const GPtrArray *all;

    if (jobs == NULL)
        return;

    g_clear_handle_id(&jobs->timer, g_source_remove);
    all = jobs->service->model->jobs;
    for (guint i = 0; i < all->len; i++)
        free_runtime(g_ptr_array_index(all, i));
    g_free(jobs);
}

gboolean
jobs_check_room(const Jobs *jobs, GError **ret_error)
{
    if (jobs->service->model->jobs->len < JOBS_MAX)
        return TRUE;

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_LIMIT_EXCEEDED,
                "There are %u jobs already, which is the most; those that have ended go after %u s",
                JOBS_MAX, (guint)(JOB_LINGER_US / G_USEC_PER_SEC));
    return FALSE;
}

static gboolean
on_timer(gpointer data)
{
    Jobs *jobs = data;

    jobs_tick(jobs, g_get_monotonic_time());
    if (jobs->service->model->jobs->len > 0)
        return G_SOURCE_CONTINUE;

    jobs->timer = 0;
    return G_SOURCE_REMOVE;
}

void
jobs_begin(Jobs *jobs, ModelJob *job, const JobClass *class, gpointer data)
{
    JobRuntime *runtime = g_new0(JobRuntime, 1);

    runtime->class = class;
    runtime->data = data;
    job->runtime = runtime;
    job->is_cancelable = class->cancel != NULL;
    model_take_job(jobs->service->model, job);
    if (jobs->timer == 0)
        jobs->timer = g_timeout_add_seconds(TICK_SECONDS, on_timer, jobs);
}

gpointer
jobs_get_data(const ModelJob *job)
{
    return ((const JobRuntime *)job->runtime)->data;
}

gpointer
jobs_cast_data(const ModelJob *job, const JobClass *class)
{
    const JobRuntime *runtime = job->runtime;

    return runtime->class == class ? runtime->data : NULL;
}

void
jobs_set_progress(Jobs *jobs, ModelJob *job, double progress)
{
    /* It never goes back, so a nearer goal is no news */
    if (job->state != JOB_RUNNING || progress <= job->progress)
        return;

    job->progress = MIN(progress, 1);
    model_changed(jobs->service->model, MODEL_JOB, job);
}

void
jobs_end(Jobs *jobs, ModelJob *job, GError *error, GVariant *result)
{
    JobRuntime *runtime = job->runtime;

    g_assert(job->state == JOB_RUNNING);

    if (error == NULL)
        job->state = JOB_DONE;
    else if (g_error_matches(error, LUNPORT_ERROR, LUNPORT_ERROR_CANCELED))
        job->state = JOB_CANCELED;
    else
        job->state = JOB_FAILED;
    if (job->state == JOB_DONE)
        job->progress = 1;
    job->error = error;
    job->rate = 0;
    if (result != NULL) {
        g_variant_unref(job->result);
        job->result = g_variant_ref_sink(result);
    }
    runtime->ended_us = g_get_monotonic_time();
    model_changed(jobs->service->model, MODEL_JOB, job);
}

void
jobs_poll(Jobs *jobs)
{
    const GPtrArray *all = jobs->service->model->jobs;

    for (guint i = 0; i < all->len; i++) {
        ModelJob *job = g_ptr_array_index(all, i);
        const JobRuntime *runtime = job->runtime;

        if (job->state == JOB_RUNNING && runtime->class->poll != NULL)
            runtime->class->poll(job);
    }
}

void
jobs_tick(Jobs *jobs, gint64 now_us)
{
    Model *model = jobs->service->model;

    jobs_poll(jobs);
    for (guint i = model->jobs->len; i > 0; i--) {
        ModelJob *job = g_ptr_array_index(model->jobs, i - 1);
        const JobRuntime *runtime = job->runtime;

        if (job->state == JOB_RUNNING || now_us - runtime->ended_us < JOB_LINGER_US)
            continue;
        free_runtime(job);
        model_remove_job(model, job);
    }
}

/* operation->id: the job */
static void
run_cancel(Operation *operation)
{
    ModelJob *job = model_find_job(operation->service->model, operation->id);
    JobRuntime *runtime = job != NULL ? job->runtime : NULL;

    if (job == NULL) {
        operation_fail(operation, g_error_new(LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                                              "There is no job %u", operation->id));
        return;
    }
    if (!job->is_cancelable) {
        operation_fail(operation, g_error_new(LUNPORT_ERROR, LUNPORT_ERROR_NOT_SUPPORTED,
                                              "Job %u cannot be canceled", operation->id));
        return;
    }

    if (!operation->options.dry_run && job->state == JOB_RUNNING && !runtime->is_canceled) {
        runtime->is_canceled = TRUE;
        runtime->class->cancel(job);
    }
    operation_finish(operation, NULL);
}

void
service_cancel_job(Service *service, guint32 id, const ChangeOptions *options, ServiceDoneFn done,
                   gpointer user_data)
{
    Operation *operation = operation_new(service, options, run_cancel, done, user_data);

    operation->id = id;
    operation_submit(operation, "CancelJob", NULL);
}
