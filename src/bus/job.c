/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * org.lunport1.Job: the face of ModelJob
 *
 * Who started a job may cancel it without being asked for more: the noun names that user as the owner.
 */

#include "bus/job.h"

#include "bus/call.h"
#include "bus/errors.h"
#include "bus/generated.h"
#include "bus/get.h"
#include "bus/path.h"
#include "util/error.h"

#define DEFAULT_TIMEOUT_S 60U

static gpointer
find(Service *service, const Key *key)
{
    return model_find_job(service_get_model(service), key->number);
}

static void
describe(Call *call, gconstpointer object)
{
    const ModelJob *job = object;

    call_detail_number(call, "job", job->id);
    call_detail(call, "job-operation", job->operation);
}

static uid_t
get_owner(gconstpointer object)
{
    return ((const ModelJob *)object)->caller_uid;
}

static char *
dup_object_path(const ModelJob *job)
{
    if (job->kind == MODEL_TARGET)
        return path_of_target_name(job->object_name);
    if (job->kind == MODEL_BACKSTORE)
        return path_of_backstore_name(job->object_name);

    g_assert(job->kind == MODEL_SESSION);
    return path_of_session_tsih((guint16)job->object_number);
}

static GVariant *
get_objects(Service *service, gconstpointer object)
{
    GVariantBuilder builder;

    g_variant_builder_init(&builder, G_VARIANT_TYPE_OBJECT_PATH_ARRAY);
    g_variant_builder_add_value(&builder, get_path(dup_object_path(object)));
    return g_variant_builder_end(&builder);
}

static GVariant *
get_state(Service *service, gconstpointer object)
{
    return g_variant_new_string(job_state_to_string(((const ModelJob *)object)->state));
}

static GVariant *
get_result(Service *service, gconstpointer object)
{
    g_auto(GVariantDict) copy = G_VARIANT_DICT_INIT(((const ModelJob *)object)->result);

    return g_variant_dict_end(&copy);
}

static void
run_cancel(Call *call, gpointer object)
{
    const ModelJob *job = object;
    ChangeOptions change = call_change(call);

    service_cancel_job(call->context->service, job->id, &change, call_on_done, call);
}

gboolean
job_get_timeout(const Call *call, guint *ret_seconds, GError **ret_error)
{
    guint64 timeout_us = DEFAULT_TIMEOUT_S * (guint64)G_USEC_PER_SEC;

    (void)options_get(&call->options, "timeout", "t", &timeout_us);
    if (timeout_us == 0 || timeout_us > SERVICE_LOGOUT_SECONDS_MAX * (guint64)G_USEC_PER_SEC) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "Option “timeout” must be above 0 and at most %u s, in µs",
                    SERVICE_LOGOUT_SECONDS_MAX);
        return FALSE;
    }

    *ret_seconds = (guint)((timeout_us + G_USEC_PER_SEC - 1) / G_USEC_PER_SEC);
    return TRUE;
}

GVariant *
job_row(const ModelJob *job)
{
    return g_variant_new("(@oussdtu)", get_path(path_of_job(job)), job->id, job->operation,
                         job_state_to_string(job->state), job->progress, (guint64)job->started_at,
                         job->caller_uid);
}

void
job_announce_end(GDBusConnection *connection, const ModelJob *job)
{
    g_autofree char *path = path_of_job(job);
    g_autoptr(GVariant) error = g_variant_ref_sink(errors_variant(job->error));
    const char *name;
    const char *message;

    /* It fails only when the connection has been closed, and then nobody listens */
    g_variant_get(error, "(&s&s)", &name, &message);
    (void)g_dbus_connection_emit_signal(
        connection, NULL, path, org_lunport1_job_interface.name, "Finished",
        g_variant_new("(sss)", job_state_to_string(job->state), name, message), NULL);
}

/* clang-format off */
static const PropertyRow properties[] = {
    { "Operation",    MEMBER(ModelJob, operation) },
    { "Objects",      .get = get_objects },
    { "State",        .get = get_state },
    { "Progress",     MEMBER(ModelJob, progress) },
    { "Bytes",        MEMBER(ModelJob, bytes) },
    { "Rate",         MEMBER(ModelJob, rate) },
    { "StartedAt",    MEMBER(ModelJob, started_at) },
    { "ExpectedEnd",  MEMBER(ModelJob, expected_end) },
    { "StartedByUid", MEMBER(ModelJob, caller_uid) },
    { "Cancelable",   MEMBER(ModelJob, is_cancelable) },
    { "Error",        MEMBER(ModelJob, error) },
    { "Result",       .get = get_result },
    { 0 },
};

static const MethodRow methods[] = {
    { "Cancel", NULL, NULL, run_cancel },
    { NULL,     NULL, NULL, NULL },
};
/* clang-format on */

const Noun job_noun = {
    .kind = "job",
    .info = &org_lunport1_job_interface,
    .properties = properties,
    .methods = methods,
    .find = find,
    .describe = describe,
    .owner = get_owner,
    .missing = LUNPORT_ERROR_NO_SUCH_OBJECT,
};
