/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "model/model.h"

/*
 * Jobs: work that goes on after the answer to who asked for it
 *
 * A job is an object of the model from its beginning until some seconds after its end. It ends once:
 * the first change that the observer is told with a state other than JOB_RUNNING is also the last.
 */

typedef enum {
    JOB_RUNNING,
    JOB_DONE,
    JOB_FAILED,   /* @error says why */
    JOB_CANCELED, /* the same */
} JobState;

typedef struct ModelJob {
    guint32 id;            /* never reused, from 1 */
    const char *operation; /* "Target.Disable": the method that began it; static */

    /* What it works on; it may have gone */
    ModelKind kind;      /* MODEL_TARGET, MODEL_SESSION or MODEL_BACKSTORE */
    char *object_name;   /* of a target or backstore, else NULL */
    guint object_number; /* of a session */

    JobState state;
    GError *error;
    double progress;     /* 0 to 1 */
    guint64 bytes;       /* all that there is to do; 0 where bytes are not what is done */
    guint64 rate;        /* bytes per second */
    gint64 started_at;   /* µs, CLOCK_REALTIME */
    gint64 expected_end; /* the same; 0: not known */
    guint32 caller_uid;
    gboolean is_cancelable;
    GVariant *result; /* a{sv}, never NULL */

    gpointer runtime; /* of control */
} ModelJob;

/* Running, without error and result; @object_name is copied */
ModelJob *model_job_new(const char *operation, ModelKind kind, const char *object_name,
                        guint object_number);
void model_job_free(gpointer job);

/* Gives it its id; taken */
void model_take_job(Model *model, ModelJob *job);
void model_remove_job(Model *model, ModelJob *job);

ModelJob *model_find_job(const Model *model, guint32 id);

const char *job_state_to_string(JobState state); /* "running", "done", "failed", "canceled" */
