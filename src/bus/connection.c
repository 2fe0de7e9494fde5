/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* org.lunport1.Connection: the face of ModelConnection, which exists while it is in full feature phase */

#include "bus/call.h"
#include "bus/generated.h"
#include "bus/get.h"
#include "bus/path.h"
#include "bus/text.h"
#include "util/error.h"

static gpointer
find(Service *service, const Key *key)
{
    const ModelSession *session =
        model_find_session(service_get_model(service), (guint16)key->number);

    return session != NULL ? model_find_connection(session, key->part) : NULL;
}

static void
describe(Call *call, gconstpointer object)
{
    const ModelConnection *connection = object;

    session_noun.describe(call, connection->session);
}

static GVariant *
get_session(Service *service, gconstpointer object)
{
    const ModelConnection *connection = object;

    return get_path(path_of_session(connection->session));
}

static GVariant *
get_portal(Service *service, gconstpointer object)
{
    const ModelConnection *connection = object;

    return get_path(connection->portal != NULL ? path_of_portal(connection->portal)
                                               : g_strdup(PATH_NONE));
}

static GVariant *
get_host(const Address *address)
{
    char text[ADDRESS_TEXT_MAX];

    address_format_host(address, text, sizeof(text));
    return text_variant(text);
}

static GVariant *
get_local_address(Service *service, gconstpointer object)
{
    const ModelConnection *connection = object;

    return get_host(&connection->local);
}

static GVariant *
get_local_port(Service *service, gconstpointer object)
{
    const ModelConnection *connection = object;

    return g_variant_new_uint16(address_port(&connection->local));
}

static GVariant *
get_remote_address(Service *service, gconstpointer object)
{
    const ModelConnection *connection = object;

    return get_host(&connection->remote);
}

static GVariant *
get_remote_port(Service *service, gconstpointer object)
{
    const ModelConnection *connection = object;

    return g_variant_new_uint16(address_port(&connection->remote));
}

static GVariant *
get_state(Service *service, gconstpointer object)
{
    const ModelConnection *connection = object;
    gboolean is_active = connection->session->state == SESSION_ACTIVE;

    return g_variant_new_string(is_active ? "full-feature" : "closing");
}

static void
run_close(Call *call, gpointer object)
{
    const ModelConnection *connection = object;
    ChangeOptions change = call_change(call);

    service_close_connection(call->context->service, connection->session->tsih, connection->cid,
                             &change, call_on_done, call);
}

/* clang-format off */
static const PropertyRow properties[] = {
    { "Cid",           MEMBER(ModelConnection, cid) },
    { "Session",       .get = get_session },
    { "Portal",        .get = get_portal },
    { "LocalAddress",  .get = get_local_address },
    { "LocalPort",     .get = get_local_port },
    { "RemoteAddress", .get = get_remote_address },
    { "RemotePort",    .get = get_remote_port },
    { "HeaderDigest",  MEMBER(ModelConnection, header_digest) },
    { "DataDigest",    MEMBER(ModelConnection, data_digest) },
    { "State",         .get = get_state },
    { "EstablishedAt", MEMBER(ModelConnection, established_at) },
    { 0 },
};

static const MethodRow methods[] = {
    { "GetStatistics", NULL, get_statistics_check, get_statistics_run },
    { "Close",         NULL, NULL,                 run_close },
    { NULL,            NULL, NULL,                 NULL },
};
/* clang-format on */

const Noun connection_noun = {
    .kind = "connection",
    .info = &org_lunport1_connection_interface,
    .properties = properties,
    .methods = methods,
    .find = find,
    .describe = describe,
    .missing = LUNPORT_ERROR_NO_SUCH_OBJECT,
};
