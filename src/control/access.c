/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Asymmetric access states
 *
 * Target and portal group together have one, in the target's spec. Changing it
 * is an edit of the target like any other, asked for by the administrator or,
 * with SET TARGET PORT GROUPS, by an initiator. The latter does not queue: what
 * comes before it may wait for sessions to end, and its session cannot end
 * before it is answered.
 */

#include "control/service-private.h"
#include "model/access-state.h"
#include "model/schema.h"
#include "util/error.h"
#include "util/name.h"

static gboolean
check_group(const Operation *operation, const TargetSpec *spec, guint16 tag, GError **ret_error)
{
    if (model_find_portal_group(operation->service->model, tag) != NULL &&
        target_spec_has_group(spec, tag))
        return TRUE;

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                "The target is not reached through a portal group %u", tag);
    return FALSE;
}

static gboolean
set_states(TargetSpec *spec, const GArray *states, GError **ret_error)
{
    g_autofree char *text = access_states_format(states);

    return schema_set_text(schema_find_key(SCHEMA_TARGET, "AccessStates"), spec, text, ret_error);
}

static gboolean
edit_access_state(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    g_autoptr(GArray) states = target_spec_dup_access_states(spec);
    gint code = access_state_from_string(operation->text);
    AccessState state = { .tag = (guint16)operation->number, .preferred = operation->flag };

    if (code < 0) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "“%.100s” is not an access state: active-optimized, active-non-optimized, "
                    "standby, unavailable, offline or transitioning",
                    operation->text);
        return FALSE;
    }
    if (!check_group(operation, spec, state.tag, ret_error))
        return FALSE;

    state.state = (guint8)code;
    access_states_set(states, &state);
    return set_states(spec, states, ret_error);
}

static Operation *
new_access_operation(Service *service, const char *name, const ChangeOptions *options,
                     TargetEditFn edit, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = operation_new(service, options, change_target, done, user_data);
    g_autofree char *normal = name_normalize_iscsi(name);

    operation->name = normal != NULL ? g_steal_pointer(&normal) : g_utf8_make_valid(name, -1);
    operation->edit = edit;
    operation_hold(operation, MODEL_TARGET, operation->name);
    return operation;
}

void
service_set_access_state(Service *service, const char *target_name, guint16 tag, const char *state,
                         gboolean preferred, const ChangeOptions *options, ServiceDoneFn done,
                         gpointer user_data)
{
    Operation *operation =
        new_access_operation(service, target_name, options, edit_access_state, done, user_data);

    operation->number = tag;
    operation->text = g_utf8_make_valid(state, -1);
    operation->flag = preferred;
    operation_hold_number(operation, MODEL_PORTAL_GROUP, tag);
    operation_submit(operation, "SetAluaState", operation->name);
}

/*
 * For initiators
 */

/* operation->parameters: what is asked for, a(qy); the preference stays with the administrator */
static gboolean
edit_explicit(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    g_autoptr(GArray) states = target_spec_dup_access_states(spec);
    GVariantIter iter;
    guint16 tag;
    guint8 code;

    g_variant_iter_init(&iter, operation->parameters);
    while (g_variant_iter_next(&iter, "(qy)", &tag, &code)) {
        const AccessState *before = access_states_find(states, tag);
        AccessState state = { .tag = tag, .state = code, .is_explicit = TRUE };

        if (!check_group(operation, spec, tag, ret_error))
            return FALSE;
        state.preferred = before != NULL && before->preferred;
        access_states_set(states, &state);
    }
    return set_states(spec, states, ret_error);
}

static void
on_explicit_done(gpointer object, const GError *error, gpointer data)
{
    alua_answer(data, error == NULL ? ALUA_SET : ALUA_FAILED);
}

static GVariant *
make_changes(const AluaRequest *request)
{
    GVariantBuilder builder;

    g_variant_builder_init(&builder, G_VARIANT_TYPE("a(qy)"));
    for (guint i = 0; i < request->n_changes; i++)
        g_variant_builder_add(&builder, "(qy)", request->changes[i].tag,
                              (guint8)request->changes[i].state);
    return g_variant_ref_sink(g_variant_builder_end(&builder));
}

static void
on_request(AluaRequest *request, gpointer data)
{
    Service *service = data;
    const ModelTarget *target = model_find_target(service->model, request->target_name);
    ChangeOptions options;
    Operation *operation;

    if (target == NULL || target->is_leaving) {
        alua_answer(request, ALUA_FAILED);
        return;
    }

    change_options_init(&options);
    options.persist = target->origin == MODEL_ORIGIN_STATE;
    operation = new_access_operation(service, request->target_name, &options, edit_explicit,
                                     on_explicit_done, request);
    operation->parameters = make_changes(request);
    operation->of_initiator = TRUE;
    if (operation_submit_now(operation, "SET TARGET PORT GROUPS", operation->name))
        return;

    alua_answer(request, ALUA_BUSY);
}

/*
 * For publish.c
 */

static AluaGroup
describe_group(const TargetSpec *spec, const GArray *states, guint16 tag)
{
    const AccessState *state = access_states_find(states, tag);
    guint16 port = target_spec_relative_port(spec, tag);

    if (state == NULL)
        return (AluaGroup){ .tag = tag, .relative_port = port };

    return (AluaGroup){
        .tag = tag,
        .relative_port = port,
        .state = (AluaState)state->state,
        .status = state->is_explicit ? ALUA_STATUS_EXPLICIT : ALUA_STATUS_IMPLICIT,
        .preferred = state->preferred,
    };
}

void
access_fill_map(Service *service, const ModelTarget *target, LunMap *map)
{
    const AluaControl control = { &service->mailbox, on_request, service };
    const GPtrArray *groups = service->model->portal_groups;
    g_autoptr(GArray) states = target_spec_dup_access_states(target->spec);
    g_autofree AluaGroup *filled = g_new0(AluaGroup, groups->len + 1);
    guint n = 0;

    G_STATIC_ASSERT(PORTAL_GROUPS_MAX <= ALUA_GROUPS_MAX);

    for (guint i = 0; i < groups->len && n < ALUA_GROUPS_MAX; i++) {
        const ModelPortalGroup *group = g_ptr_array_index(groups, i);

        if (target_spec_has_group(target->spec, group->spec->tag))
            filled[n++] = describe_group(target->spec, states, group->spec->tag);
    }
    lun_map_set_alua(map, filled, n, &control);
}
