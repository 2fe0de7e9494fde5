/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* org.lunport1.Portal: the face of ModelPortal */

#include "bus/call.h"
#include "bus/generated.h"
#include "bus/get.h"
#include "bus/path.h"
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
    { "Address",         MEMBER(ModelPortal, address) },
    { "Port",            MEMBER(ModelPortal, port) },
    { "Interface",       MEMBER(ModelPortal, interface) },
    { "AnnounceAddress", MEMBER(ModelPortal, announce) },
    { "Group",           .get = get_group },
    { "Origin",          .get = get_origin },
    { "State",           .get = get_state },
    { "LastError",       MEMBER(ModelPortal, error) },
    { "ConnectionCount", MEMBER(ModelPortal, n_connections), .counted = TRUE },
    { 0 },
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
