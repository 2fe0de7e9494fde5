/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Jobs that wait for initiators to log out: one session, or all of a target that is being drained
 *
 * The workers ask the initiators, watch the deadline and drop who is still there then. A target is
 * disabled before they ask, so nobody comes back while the others go, and it stays disabled when the
 * job is canceled: sessions that are left then go on. Enabling the target ends the job, or its
 * deadline would hit sessions that are wanted again.
 *
 * A job ends when the sessions are gone from the model too, so that who waited for it does not see
 * them any more.
 */

#include <string.h>

#include "control/jobs.h"
#include "control/service-private.h"
#include "util/error.h"

typedef struct {
    Service *service;
    ModelJob *job;
    guint32 request;       /* of the workers */
    gboolean is_answered;  /* they have done what they can */
    GError *error;         /* why it is to end early */
    guint n_asked;         /* sessions when it began */
    gint64 established_at; /* of the one session: its TSIH may come back */
} Logout;

static void
free_logout(gpointer data)
{
    Logout *logout = data;

    g_clear_error(&logout->error);
    g_free(logout);
}

static guint
count_left(const Logout *logout)
{
    const Model *model = logout->service->model;
    const ModelTarget *target;
    const ModelSession *session;

    if (logout->job->kind == MODEL_TARGET) {
        target = model_find_target(model, logout->job->object_name);
        return target != NULL ? target->n_sessions : 0;
    }

    session = model_find_session(model, (guint16)logout->job->object_number);
    return session != NULL && session->established_at == logout->established_at ? 1 : 0;
}

static gboolean
is_wanted_again(const Logout *logout)
{
    const ModelTarget *target =
        logout->job->kind == MODEL_TARGET
            ? model_find_target(logout->service->model, logout->job->object_name)
            : NULL;

    return target != NULL && target->spec->enabled;
}

static void
give_up(Logout *logout, const char *reason)
{
    if (logout->error != NULL)
        return;

    logout->error = g_error_new_literal(LUNPORT_ERROR, LUNPORT_ERROR_CANCELED, reason);
    if (!logout->is_answered)
        iscsi_service_cancel_logout(logout->service->iscsi, logout->request);
}

static void
end(Logout *logout)
{
    GVariantDict result;

    g_variant_dict_init(&result, NULL);
    g_variant_dict_insert(&result, "sessions", "u", logout->n_asked);
    jobs_end(logout->service->jobs, logout->job, g_steal_pointer(&logout->error),
             g_variant_dict_end(&result));
}

static void
poll_logout(ModelJob *job)
{
    Logout *logout = jobs_get_data(job);
    guint n_left = count_left(logout);

    if (is_wanted_again(logout))
        give_up(logout, "The target was enabled again");
    if (n_left < logout->n_asked)
        jobs_set_progress(logout->service->jobs, job,
                          (double)(logout->n_asked - n_left) / logout->n_asked);
    if (logout->is_answered && (n_left == 0 || logout->error != NULL))
        end(logout);
}

static void
cancel_logout(ModelJob *job)
{
    Logout *logout = jobs_get_data(job);

    give_up(logout, "The job was canceled");
    poll_logout(job);
}

static const JobClass logout_class = {
    .cancel = cancel_logout,
    .poll = poll_logout,
    .free = free_logout,
};

/* The workers have done what they can: a login that was under way may have made one session more */
static void
on_answered(gpointer data)
{
    Logout *logout = data;
    Service *service = logout->service;

    logout->is_answered = TRUE;
    if (service->stopping && logout->error == NULL)
        logout->error = g_error_new_literal(LUNPORT_ERROR, LUNPORT_ERROR_SHUTTING_DOWN,
                                            "The service is stopping");
    if (logout->error == NULL && logout->job->kind == MODEL_TARGET && !is_wanted_again(logout))
        iscsi_service_close_sessions(service->iscsi, logout->job->object_name,
                                     "the target was disabled by the administrator");
    poll_logout(logout->job);
}

/* @job is taken */
static ModelJob *
begin(Service *service, ModelJob *job, const Operation *operation)
{
    Logout *logout = g_new0(Logout, 1);
    guint seconds = (guint)operation->size;

    logout->service = service;
    logout->job = job;
    job->caller_uid = operation->options.caller_uid;
    job->expected_end = job->started_at + (gint64)seconds * G_USEC_PER_SEC;
    if (job->kind == MODEL_SESSION)
        logout->established_at =
            model_find_session(service->model, (guint16)job->object_number)->established_at;
    logout->n_asked = count_left(logout);
    jobs_begin(service->jobs, job, &logout_class, logout);
    logout->request =
        iscsi_service_request_logout(service->iscsi, job->object_name, (guint16)job->object_number,
                                     seconds, on_answered, logout);
    return job;
}

/* Somebody waits for it already */
static gboolean
check_not_asked(const Service *service, ModelKind kind, const char *name, guint number,
                GError **ret_error)
{
    for (guint i = 0; i < service->model->jobs->len; i++) {
        const ModelJob *job = g_ptr_array_index(service->model->jobs, i);

        if (job->state != JOB_RUNNING || jobs_cast_data(job, &logout_class) == NULL ||
            job->kind != kind || job->object_number != number ||
            g_strcmp0(job->object_name, name) != 0)
            continue;
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_BUSY,
                    "Job %u waits for the logout already", job->id);
        return FALSE;
    }
    return jobs_check_room(service->jobs, ret_error);
}

static gboolean
check_seconds(const Operation *operation, GError **ret_error)
{
    if (operation->size >= 1 && operation->size <= SERVICE_LOGOUT_SECONDS_MAX)
        return TRUE;

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                "The timeout must be from 1 to %u seconds", SERVICE_LOGOUT_SECONDS_MAX);
    return FALSE;
}

/*
 * Targets
 */

static gboolean
edit_drain(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    if (!check_seconds(operation, ret_error) ||
        !check_not_asked(operation->service, MODEL_TARGET, operation->name, 0, ret_error))
        return FALSE;

    spec->enabled = FALSE;
    return TRUE;
}

/* No new session can come any more */
static void
after_drain(Operation *operation)
{
    ModelJob *job = model_job_new("Target.Disable", MODEL_TARGET, operation->name, 0);

    operation_finish(operation, begin(operation->service, job, operation));
}

void
service_drain_target(Service *service, const char *name, guint seconds,
                     const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = change_target_new(service, name, options, edit_drain, done, user_data);

    operation->size = seconds;
    operation->after = after_drain;
    operation_submit(operation, "DrainTarget", name);
}

void
logout_end_drain(Service *service, const char *target_name)
{
    const GPtrArray *jobs = service->model->jobs;

    for (guint i = 0; i < jobs->len; i++) {
        ModelJob *job = g_ptr_array_index(jobs, i);

        if (job->state == JOB_RUNNING && jobs_cast_data(job, &logout_class) != NULL &&
            job->kind == MODEL_TARGET && strcmp(job->object_name, target_name) == 0)
            poll_logout(job);
    }
}

/*
 * Sessions
 */

static void
run_request(Operation *operation)
{
    Service *service = operation->service;
    const ModelSession *session = model_find_session(service->model, (guint16)operation->number);
    g_autoptr(GError) error = NULL;

    if (session == NULL)
        g_set_error_literal(&error, LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                            "There is no such session");
    else if (check_seconds(operation, &error))
        (void)check_not_asked(service, MODEL_SESSION, NULL, session->tsih, &error);

    if (error != NULL)
        operation_fail(operation, g_steal_pointer(&error));
    else if (operation->options.dry_run)
        operation_finish(operation, NULL);
    else
        operation_finish(operation, begin(service,
                                          model_job_new("Session.RequestLogout", MODEL_SESSION,
                                                        NULL, session->tsih),
                                          operation));
}

void
service_request_logout(Service *service, guint16 tsih, guint seconds, const ChangeOptions *options,
                       ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = operation_new(service, options, run_request, done, user_data);

    operation->number = tsih;
    operation->size = seconds;
    operation_hold_number(operation, MODEL_SESSION, tsih);
    operation_submit(operation, "RequestLogout", NULL);
}
