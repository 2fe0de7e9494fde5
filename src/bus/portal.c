/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* org.lunport1.Portal: the face of ModelPortal */

#include "bus/call.h"
#include "bus/errors.h"
#include "bus/generated.h"
#include "bus/get.h"
#include "bus/path.h"
#include "bus/text.h"
#include "util/error.h"

static gpointer
find(Service *service, const Key *key)
{
    return model_find_portal_by_id(service_get_model(service), key->number);
}

static void
describe(Call *call, gconstpointer object)
{
    const ModelPortal *portal = object;
    g_autofree char *name = g_strdup_printf("%s:%u", portal->address, portal->port);

    call_detail(call, "portal", name);
    call_detail_number(call, "portal-group", portal->group->spec->tag);
}

static GVariant *
get_address(Service *service, gconstpointer object)
{
    const ModelPortal *portal = object;

    return text_variant(portal->address);
}

static GVariant *
get_port(Service *service, gconstpointer object)
{
    const ModelPortal *portal = object;

    return g_variant_new_uint16(portal->port);
}

static GVariant *
get_interface(Service *service, gconstpointer object)
{
    const ModelPortal *portal = object;

    return text_variant(portal->interface);
}

static GVariant *
get_announce(Service *service, gconstpointer object)
{
    const ModelPortal *portal = object;

    return text_variant(portal->announce);
}

static GVariant *
get_group(Service *service, gconstpointer object)
{
    const ModelPortal *portal = object;

    return get_path(path_of_portal_group(portal->group));
}

static GVariant *
get_origin(Service *service, gconstpointer object)
{
    const ModelPortal *portal = object;

    return g_variant_new_string(model_origin_to_string(portal->origin));
}

static GVariant *
get_state(Service *service, gconstpointer object)
{
    const ModelPortal *portal = object;

    return g_variant_new_string(portal_state_to_string(portal->state));
}

static GVariant *
get_last_error(Service *service, gconstpointer object)
{
    const ModelPortal *portal = object;

    return errors_variant(portal->error);
}

static GVariant *
get_connection_count(Service *service, gconstpointer object)
{
    const ModelPortal *portal = object;

    return g_variant_new_uint32(portal->n_connections);
}

static void
run_pause(Call *call, gpointer object)
{
    const ModelPortal *portal = object;
    ChangeOptions change = call_change(call);

    service_pause_portal(call->context->service, portal->id, &change, call_on_done, call);
}

static void
run_resume(Call *call, gpointer object)
{
    const ModelPortal *portal = object;
    ChangeOptions change = call_change(call);

    service_resume_portal(call->context->service, portal->id, &change, call_on_done, call);
}

static void
run_delete(Call *call, gpointer object)
{
    const ModelPortal *portal = object;
    ChangeOptions change = call_change(call);

    service_delete_portal(call->context->service, portal->id, &change, call_on_done, call);
}

/* clang-format off */
static const PropertyRow properties[] = {
    { "Address",         get_address,          FALSE },
    { "Port",            get_port,             FALSE },
    { "Interface",       get_interface,        FALSE },
    { "AnnounceAddress", get_announce,         FALSE },
    { "Group",           get_group,            FALSE },
    { "Origin",          get_origin,           FALSE },
    { "State",           get_state,            FALSE },
    { "LastError",       get_last_error,       FALSE },
    { "ConnectionCount", get_connection_count, TRUE },
    { NULL,              NULL,                 FALSE },
};

static const MethodRow methods[] = {
    { "Pause",  NULL, NULL, run_pause },
    { "Resume", NULL, NULL, run_resume },
    { "Delete", NULL, NULL, run_delete },
    { NULL,     NULL, NULL, NULL },
};
/* clang-format on */

const Noun portal_noun = {
    .kind = "portal",
    .info = &org_lunport1_portal_interface,
    .properties = properties,
    .methods = methods,
    .find = find,
    .describe = describe,
    .missing = LUNPORT_ERROR_NO_SUCH_OBJECT,
};
