/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "model/job.h"

#include "model/model-private.h"

static const char *const state_names[] = {
    [JOB_RUNNING] = "running",
    [JOB_DONE] = "done",
    [JOB_FAILED] = "failed",
    [JOB_CANCELED] = "canceled",
};

ModelJob *
model_job_new(const char *operation, ModelKind kind, const char *object_name, guint object_number)
{
    ModelJob *job = g_new0(ModelJob, 1);

    job->operation = operation;
    job->kind = kind;
    job->object_name = g_strdup(object_name);
    job->object_number = object_number;
    job->started_at = g_get_real_time();
    job->result = g_variant_ref_sink(g_variant_new("a{sv}", NULL));
    return job;
}

void
model_job_free(gpointer data)
{
    ModelJob *job = data;

    g_free(job->object_name);
    g_clear_error(&job->error);
    g_variant_unref(job->result);
    g_free(job);
}

void
model_take_job(Model *model, ModelJob *job)
{
    job->id = ++model->last_job_id;
    g_ptr_array_add(model->jobs, job);
    model_tell_added(model, MODEL_JOB, job);
}

void
model_remove_job(Model *model, ModelJob *job)
{
    model_tell_removed(model, MODEL_JOB, job);
    (void)g_ptr_array_remove(model->jobs, job);
}

ModelJob *
model_find_job(const Model *model, guint32 id)
{
    for (guint i = 0; i < model->jobs->len; i++) {
        ModelJob *job = g_ptr_array_index(model->jobs, i);

        if (job->id == id)
            return job;
    }
    return NULL;
}

const char *
job_state_to_string(JobState state)
{
    g_assert(state < G_N_ELEMENTS(state_names));
    return state_names[state];
}
