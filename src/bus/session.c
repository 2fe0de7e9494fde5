/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * org.lunport1.Session: the face of ModelSession
 *
 * What an initiator said of itself is text from the wire: it passes
 * text_variant().
 */

#include "bus/call.h"
#include "bus/generated.h"
#include "bus/get.h"
#include "bus/job.h"
#include "bus/path.h"
#include "bus/text.h"
#include "util/error.h"

static gpointer
find(Service *service, const Key *key)
{
    return model_find_session(service_get_model(service), (guint16)key->number);
}

static void
describe(Call *call, gconstpointer object)
{
    const ModelSession *session = object;

    call_detail(call, "target", session->discovery ? "discovery" : session->target_name);
    call_detail(call, "initiator", session->initiator_name);
}

static GVariant *
get_isid(Service *service, gconstpointer object)
{
    const ModelSession *session = object;

    return text_variant(session->isid);
}

static GVariant *
get_type(Service *service, gconstpointer object)
{
    const ModelSession *session = object;

    return g_variant_new_string(session->discovery ? "discovery" : "normal");
}

static GVariant *
get_target(Service *service, gconstpointer object)
{
    const ModelSession *session = object;

    return get_path(session->discovery ? g_strdup(PATH_NONE)
                                       : path_of_target_name(session->target_name));
}

static GVariant *
get_authentication_method(Service *service, gconstpointer object)
{
    const ModelSession *session = object;

    return g_variant_new_string(session->chap_user != NULL ? "CHAP" : "None");
}

static GVariant *
get_state(Service *service, gconstpointer object)
{
    const ModelSession *session = object;

    return g_variant_new_string(session_state_to_string(session->state));
}

static char *
to_connection_path(gconstpointer connection)
{
    return path_of_connection(connection);
}

static GVariant *
get_connections(Service *service, gconstpointer object)
{
    const ModelSession *session = object;

    return get_paths(session->connections, to_connection_path);
}

static GVariant *
get_error_recovery_level(Service *service, gconstpointer object)
{
    const ModelSession *session = object;
    guint32 level = 0;

    if (session->parameters != NULL)
        (void)g_variant_lookup(session->parameters, "ErrorRecoveryLevel", "u", &level);

    return g_variant_new_uint16((guint16)level);
}

static GVariant *
get_parameters(Service *service, gconstpointer object)
{
    const ModelSession *session = object;
    g_auto(GVariantDict) copy = G_VARIANT_DICT_INIT(session->parameters);

    return g_variant_dict_end(&copy);
}

static void
run_terminate(Call *call, gpointer object)
{
    const ModelSession *session = object;
    ChangeOptions change = call_change(call);

    service_terminate_session(call->context->service, session->tsih, &change, call_on_done, call);
}

static gboolean
check_request_logout(Call *call, gconstpointer object, GError **ret_error)
{
    guint seconds;

    return job_get_timeout(call, &seconds, ret_error);
}

static void
run_request_logout(Call *call, gpointer object)
{
    const ModelSession *session = object;
    ChangeOptions change = call_change(call);
    guint seconds;

    (void)job_get_timeout(call, &seconds, NULL);
    call->planned = g_strdup(PATH_NONE);
    service_request_logout(call->context->service, session->tsih, seconds, &change, call_on_job,
                           call);
}

/* clang-format off */
static const PropertyRow properties[] = {
    { "Tsih",                 MEMBER(ModelSession, tsih) },
    { "Isid",                 .get = get_isid },
    { "Type",                 .get = get_type },
    { "Target",               .get = get_target },
    { "InitiatorName",        MEMBER(ModelSession, initiator_name) },
    { "InitiatorAlias",       MEMBER(ModelSession, initiator_alias) },
    { "AuthenticationMethod", .get = get_authentication_method },
    { "ChapUser",             MEMBER(ModelSession, chap_user) },
    { "State",                .get = get_state },
    { "EstablishedAt",        MEMBER(ModelSession, established_at) },
    { "Connections",          .get = get_connections },
    { "RemoteAddress",        MEMBER(ModelSession, remote_address) },
    { "ErrorRecoveryLevel",   .get = get_error_recovery_level },
    { "Parameters",           .get = get_parameters },
    { 0 },
};

static const OptionRow logout_rows[] = {
    { "timeout", "t" },
    { NULL,      NULL },
};

static const OptionTable logout_options = { .rows = logout_rows, .with_common = TRUE };

static const MethodRow methods[] = {
    { "RequestLogout", &logout_options, check_request_logout, run_request_logout },
    { "Terminate",     NULL,            NULL,                 run_terminate },
    { "GetStatistics", NULL,            get_statistics_check, get_statistics_run },
    { NULL,            NULL,            NULL,                 NULL },
};
/* clang-format on */

const Noun session_noun = {
    .kind = "session",
    .info = &org_lunport1_session_interface,
    .properties = properties,
    .methods = methods,
    .find = find,
    .describe = describe,
    .missing = LUNPORT_ERROR_NO_SUCH_OBJECT,
};
