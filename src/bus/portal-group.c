/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* org.lunport1.PortalGroup: the face of ModelPortalGroup */

#include "bus/call.h"
#include "bus/generated.h"
#include "bus/get.h"
#include "bus/path.h"
#include "bus/tree.h"
#include "model/access-state.h"
#include "util/error.h"

static gpointer
find(Service *service, const Key *key)
{
    return model_find_portal_group(service_get_model(service), (guint16)key->number);
}

static void
describe(Call *call, gconstpointer object)
{
    const ModelPortalGroup *group = object;

    call_detail_number(call, "portal-group", group->spec->tag);
}

static GVariant *
get_targets(Service *service, gconstpointer object)
{
    const ModelPortalGroup *group = object;
    const GPtrArray *targets = service_get_model(service)->targets;
    GVariantBuilder builder;

    g_variant_builder_init(&builder, G_VARIANT_TYPE_OBJECT_PATH_ARRAY);
    for (guint i = 0; i < targets->len; i++) {
        const ModelTarget *target = targets->pdata[i];

        if (target_spec_has_group(target->spec, group->spec->tag))
            g_variant_builder_add_value(&builder, get_path(path_of_target(target)));
    }

    return g_variant_builder_end(&builder);
}

static GVariant *
get_persistent(Service *service, gconstpointer object)
{
    const ModelPortalGroup *group = object;

    return g_variant_new_boolean(model_origin_is_persistent(group->origin));
}

static const OptionTable add_portal_options = {
    .with_common = TRUE,
    .with_schema = TRUE,
    .schema = SCHEMA_PORTAL,
};

static PortalSpec *
make_portal(const Call *call, GError **ret_error)
{
    const char *address;
    guint16 port;
    g_autoptr(PortalSpec) spec = NULL;

    g_variant_get(call->parameters, "(&sq@a{sv})", &address, &port, NULL);
    spec = portal_spec_new("", port != 0 ? port : ISCSI_PORT);
    if (!schema_set_text(schema_find_key(SCHEMA_PORTAL, "Address"), spec, address, ret_error) ||
        !options_apply(&call->options, &add_portal_options, spec, ret_error))
        return NULL;

    return g_steal_pointer(&spec);
}

static gboolean
check_add_portal(Call *call, gconstpointer object, GError **ret_error)
{
    g_autoptr(PortalSpec) spec = make_portal(call, ret_error);
    g_autofree char *name = NULL;

    if (spec == NULL)
        return FALSE;

    name = g_strdup_printf("%s:%u", spec->address, spec->port);
    call_detail(call, "portal", name);
    return TRUE;
}

static void
run_add_portal(Call *call, gpointer object)
{
    const ModelPortalGroup *group = object;
    ChangeOptions change = call_change(call);
    GError *error = NULL;
    g_autoptr(PortalSpec) spec = make_portal(call, &error);

    if (spec == NULL) {
        call_fail(call, error);
        return;
    }

    call->planned = path_of_portal_address(spec->address, spec->port, spec->interface);
    service_add_portal(call->context->service, group->spec->tag, spec, &change, call_on_portal,
                       call);
}

static void
run_delete(Call *call, gpointer object)
{
    const ModelPortalGroup *group = object;
    ChangeOptions change = call_change(call);

    service_delete_portal_group(call->context->service, group->spec->tag, &change, call_on_done,
                                call);
}

static const Key *
find_target(const Call *call, GError **ret_error)
{
    const char *path;

    g_variant_get(call->parameters, "(&o&sb@a{sv})", &path, NULL, NULL, NULL);
    return tree_find_key(call->context->tree, &target_noun, path, ret_error);
}

static gboolean
check_set_alua_state(Call *call, gconstpointer object, GError **ret_error)
{
    const Key *key = find_target(call, ret_error);
    const char *state;

    if (key == NULL)
        return FALSE;

    g_variant_get(call->parameters, "(&o&sb@a{sv})", NULL, &state, NULL, NULL);
    if (access_state_from_string(state) < 0) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "“%.100s” is not an access state", state);
        return FALSE;
    }

    target_noun.describe(call, target_noun.find(call->context->service, key));
    return TRUE;
}

static void
run_set_alua_state(Call *call, gpointer object)
{
    const ModelPortalGroup *group = object;
    ChangeOptions change = call_change(call);
    const Key *key = find_target(call, NULL);
    const ModelTarget *target = target_noun.find(call->context->service, key);
    const char *state;
    gboolean preferred;

    g_variant_get(call->parameters, "(&o&sb@a{sv})", NULL, &state, &preferred, NULL);
    service_set_access_state(call->context->service, target->spec->name, group->spec->tag, state,
                             preferred, &change, call_on_done, call);
}

/* clang-format off */
static const PropertyRow properties[] = {
    { "Tag",        SPEC_MEMBER(ModelPortalGroup, tag) },
    { "Targets",    .get = get_targets, .counted = TRUE },
    { "Persistent", .get = get_persistent },
    { 0 },
};

static const MethodRow methods[] = {
    { "AddPortal",    &add_portal_options, check_add_portal,     run_add_portal },
    { "SetAluaState", NULL,                check_set_alua_state, run_set_alua_state },
    { "Delete",       NULL,                NULL,                 run_delete },
    { NULL,           NULL,                NULL,                 NULL },
};
/* clang-format on */

const Noun portal_group_noun = {
    .kind = "portal group",
    .info = &org_lunport1_portal_group_interface,
    .properties = properties,
    .methods = methods,
    .find = find,
    .describe = describe,
    .missing = LUNPORT_ERROR_NO_SUCH_OBJECT,
};
