/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * org.lunport1.Manager: the face of the Model as a whole
 *
 * Creates objects, changes what holds for all of them, and says what a caller
 * may do. What it tells of many objects at once is in manager-list.c.
 */

#include "bus/account.h"
#include "bus/call.h"
#include "bus/generated.h"
#include "bus/get.h"
#include "bus/initiator-group.h"
#include "bus/isns.h"
#include "bus/manager-list.h"
#include "bus/path.h"
#include "bus/settings.h"
#include "bus/text.h"
#include "model/limits-spec.h"
#include "util/error.h"
#include "util/name.h"

static gpointer
find(Service *service, const Key *key)
{
    return service_get_model(service);
}

static GVariant *
get_version(Service *service, gconstpointer object)
{
    return g_variant_new_string(LUNPORT_VERSION);
}

static GVariant *
get_features(Service *service, gconstpointer object)
{
    return g_variant_new_strv(service_get_features(), -1);
}

static GVariant *
get_backstore_types(Service *service, gconstpointer object)
{
    return g_variant_new_strv(service_get_backstore_types(), -1);
}

static GVariant *
get_state(Service *service, gconstpointer object)
{
    const Model *model = object;

    return g_variant_new_string(model_state_to_string(model->state));
}

static GVariant *
get_started_at(Service *service, gconstpointer object)
{
    const Model *model = object;

    return g_variant_new_uint64((guint64)model->started_at);
}

static GVariant *
get_generation(Service *service, gconstpointer object)
{
    const Model *model = object;

    return g_variant_new_uint64(model->generation);
}

static GVariant *
get_target_count(Service *service, gconstpointer object)
{
    const Model *model = object;

    return g_variant_new_uint32(model->targets->len);
}

static char *
to_backstore_path(gconstpointer backstore)
{
    return path_of_backstore(backstore);
}

static GVariant *
get_faulty(Service *service, gconstpointer object)
{
    const Model *model = object;
    g_autoptr(GPtrArray) faulty = g_ptr_array_new();

    for (guint i = 0; i < model->backstores->len; i++) {
        ModelBackstore *backstore = g_ptr_array_index(model->backstores, i);

        if (backstore->faults != NULL)
            g_ptr_array_add(faulty, backstore);
    }
    return get_paths(faulty, to_backstore_path);
}

static GVariant *
get_limits(Service *service, gconstpointer object)
{
    const Model *model = object;
    GVariantBuilder builder;
    guint n;
    const SchemaOption *rows = schema_options(&n);

    g_variant_builder_init(&builder, G_VARIANT_TYPE("a{st}"));
    for (guint i = 0; i < n; i++) {
        if (limits_spec_has_row(&rows[i]))
            g_variant_builder_add(&builder, "{st}", rows[i].option,
                                  schema_get_number(&rows[i], model->settings));
    }
    return g_variant_builder_end(&builder);
}

static GVariant *
get_session_count(Service *service, gconstpointer object)
{
    const Model *model = object;

    return g_variant_new_uint32(model->sessions->len);
}

static GVariant *
get_name_prefix(Service *service, gconstpointer object)
{
    g_autofree char *prefix = name_default_target_prefix();

    return text_variant(prefix);
}

/* The name of a call, in lower case and judged */
static char *
dup_target_name(const char *name, GError **ret_error)
{
    g_autofree char *normal = name_normalize_iscsi(name);

    if (normal == NULL) {
        g_set_error_literal(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_NAME,
                            "The name is not valid UTF-8");
        return NULL;
    }

    return name_check_iscsi(normal, ret_error) ? g_steal_pointer(&normal) : NULL;
}

/* clang-format off */
static const OptionRow create_target_rows[] = {
    { "portal-groups", "ao" },
    { "parameters",    "a{sv}" },
    { NULL,            NULL },
};

static const OptionTable create_target_options = {
    .rows = create_target_rows,
    .with_common = TRUE,
    .with_schema = TRUE,
    .schema = SCHEMA_TARGET,
};

static const OptionTable create_backstore_options = {
    .with_common = TRUE,
    .with_schema = TRUE,
    .schema = SCHEMA_BACKSTORE,
};
/* clang-format on */

static gboolean
apply_portal_groups(const Call *call, TargetSpec *spec, GError **ret_error)
{
    g_autofree const char **paths = NULL;
    g_autoptr(GArray) tags = NULL;

    if (!options_get(&call->options, "portal-groups", "^a&o", &paths))
        return TRUE;

    tags = call_find_portal_groups(call, paths, ret_error);
    if (tags == NULL)
        return FALSE;

    target_spec_set_groups(spec, (const guint16 *)(gconstpointer)tags->data, tags->len);
    return TRUE;
}

static TargetSpec *
make_target(const Call *call, GError **ret_error)
{
    const char *given;
    g_autofree char *name = NULL;
    g_autoptr(TargetSpec) spec = NULL;
    g_autoptr(GVariant) parameters = NULL;

    g_variant_get(call->parameters, "(&s@a{sv})", &given, NULL);
    name = dup_target_name(given, ret_error);
    if (name == NULL)
        return NULL;

    spec = target_spec_new(name);
    if (!options_apply(&call->options, &create_target_options, spec, ret_error) ||
        !apply_portal_groups(call, spec, ret_error))
        return NULL;

    if (options_get(&call->options, "parameters", "@a{sv}", &parameters) &&
        !options_apply_parameters(parameters, &spec->parameters, ret_error))
        return NULL;

    return target_spec_check(spec, ret_error) ? g_steal_pointer(&spec) : NULL;
}

static gboolean
check_create_target(Call *call, gconstpointer object, GError **ret_error)
{
    g_autoptr(TargetSpec) spec = make_target(call, ret_error);

    if (spec == NULL)
        return FALSE;

    call_detail(call, "target", spec->name);
    return TRUE;
}

static void
run_create_target(Call *call, gpointer object)
{
    ChangeOptions change = call_change(call);
    GError *error = NULL;
    g_autoptr(TargetSpec) spec = make_target(call, &error);

    if (spec == NULL) {
        call_fail(call, error);
        return;
    }

    call->planned = path_of_target_name(spec->name);
    service_create_target(call->context->service, spec, &change, call_on_target, call);
}

static void
run_get_target_by_name(Call *call, gpointer object)
{
    const char *given;
    g_autofree char *name = NULL;
    const ModelTarget *target;

    g_variant_get(call->parameters, "(&s)", &given);
    name = dup_target_name(given, NULL);
    target = name != NULL ? model_find_target(object, name) : NULL;
    if (target == NULL) {
        call_fail(call, g_error_new(LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_TARGET,
                                    "There is no target “%s”", given));
        return;
    }

    call_return(call, g_variant_new("(@o)", get_path(path_of_target(target))));
}

static BackstoreSpec *
make_backstore(const Call *call, GError **ret_error)
{
    const char *type;
    const char *name;
    g_autoptr(BackstoreSpec) spec = NULL;

    g_variant_get(call->parameters, "(&s&s@a{sv})", &type, &name, NULL);
    if (!name_check_object(name, ret_error))
        return NULL;

    if (!g_strv_contains(service_get_backstore_types(), type)) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NOT_SUPPORTED,
                    "Backstores of type “%.100s” are not supported", type);
        return NULL;
    }

    spec = backstore_spec_new(type, name);
    if (!options_apply(&call->options, &create_backstore_options, spec, ret_error) ||
        !backstore_spec_check(spec, ret_error))
        return NULL;

    return g_steal_pointer(&spec);
}

static gboolean
check_create_backstore(Call *call, gconstpointer object, GError **ret_error)
{
    g_autoptr(BackstoreSpec) spec = make_backstore(call, ret_error);

    if (spec == NULL)
        return FALSE;

    call_detail(call, "backstore", spec->name);
    call_detail_path(call, "path", spec->path);
    return TRUE;
}

static void
run_create_backstore(Call *call, gpointer object)
{
    ChangeOptions change = call_change(call);
    GError *error = NULL;
    g_autoptr(BackstoreSpec) spec = make_backstore(call, &error);

    if (spec == NULL) {
        call_fail(call, error);
        return;
    }

    call->planned = path_of_backstore_name(spec->name);
    service_create_backstore(call->context->service, spec, &change, call_on_backstore, call);
}

static gboolean
check_create_portal_group(Call *call, gconstpointer object, GError **ret_error)
{
    guint16 tag;

    g_variant_get(call->parameters, "(q@a{sv})", &tag, NULL);
    if (tag == 0) {
        g_set_error_literal(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                            "The tag of a portal group is 1 to 65535");
        return FALSE;
    }

    call_detail_number(call, "portal-group", tag);
    return TRUE;
}

static void
run_create_portal_group(Call *call, gpointer object)
{
    ChangeOptions change = call_change(call);
    guint16 tag;

    g_variant_get(call->parameters, "(q@a{sv})", &tag, NULL);
    call->planned = path_of_portal_group_tag(tag);
    service_create_portal_group(call->context->service, tag, &change, call_on_portal_group, call);
}

/* The details of the object that a caller of GetPermissions asks about; none for “/” */
static gboolean
check_get_permissions(Call *call, gconstpointer manager, GError **ret_error)
{
    const char *path;
    Face *face;
    gpointer object;

    g_variant_get(call->parameters, "(&o)", &path);
    if (g_str_equal(path, PATH_NONE))
        return TRUE;

    face = tree_find(call->context->tree, path);
    object = face != NULL ? face_find_object(face) : NULL;
    if (object == NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                    "There is no object at “%.300s”", path);
        return FALSE;
    }

    if (face_get_noun(face)->describe != NULL)
        face_get_noun(face)->describe(call, object);
    return TRUE;
}

static int
compare_names(gconstpointer a, gconstpointer b)
{
    return g_strcmp0(*(const char *const *)a, *(const char *const *)b);
}

/* All actions that the XML names, sorted; ends with NULL */
static GPtrArray *
collect_actions(void)
{
    GPtrArray *actions = g_ptr_array_new();

    for (gsize i = 0; nouns[i] != NULL; i++) {
        for (const MethodRow *row = nouns[i]->methods; row->name != NULL; row++) {
            const char *action = call_action_of(nouns[i], row->name);

            if (!g_str_equal(action, AUTHORITY_ACTION_NONE) &&
                !g_ptr_array_find_with_equal_func(actions, action, g_str_equal, NULL))
                g_ptr_array_add(actions, (gpointer)(gsize)action);
        }
    }

    g_ptr_array_sort(actions, compare_names);
    g_ptr_array_add(actions, NULL);
    return actions;
}

static void
on_probed(gpointer data, GVariant *permissions, GError *error)
{
    if (error != NULL)
        call_fail(data, error);
    else
        call_return(data, g_variant_new("(@a{ss})", permissions));
}

static void
run_get_permissions(Call *call, gpointer object)
{
    g_autoptr(GPtrArray) actions = collect_actions();

    authority_probe(call->context->authority,
                    g_dbus_method_invocation_get_message(call->invocation),
                    (const char *const *)actions->pdata, call->asked, on_probed, call);
}

static void
run_reload(Call *call, gpointer object)
{
    ChangeOptions change = call_change(call);

    service_reload(call->context->service, &change, call_on_done, call);
}

/* Each is judged here; that all are kept together is up to the operation */
static gboolean
check_set_limits(Call *call, gconstpointer object, GError **ret_error)
{
    const Model *model = object;
    g_autoptr(SettingsSpec) spec = settings_spec_dup(model->settings);
    g_autoptr(GVariantIter) iter = NULL;
    const char *name;
    guint64 value;

    g_variant_get(call->parameters, "(a{st}@a{sv})", &iter, NULL);
    while (g_variant_iter_loop(iter, "{&st}", &name, &value)) {
        const SchemaOption *option = limits_spec_find(name);
        g_autoptr(GVariant) number = g_variant_ref_sink(g_variant_new_uint64(value));
        g_autofree char *shown = NULL;

        if (option != NULL && schema_set_variant(option, spec, number, ret_error))
            continue;
        if (option == NULL) {
            shown = text_escape(name);
            g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                        "There is no limit “%.100s”", shown);
        }
        return FALSE;
    }
    return TRUE;
}

static void
run_set_limits(Call *call, gpointer object)
{
    ChangeOptions change = call_change(call);
    g_autoptr(GArray) changes = g_array_new(TRUE, FALSE, sizeof(SettingsChange));
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GVariantIter) iter = NULL;
    const char *name;
    guint64 value;

    g_variant_get(call->parameters, "(a{st}@a{sv})", &iter, NULL);
    while (g_variant_iter_loop(iter, "{&st}", &name, &value)) {
        char *text = g_strdup_printf("%" G_GUINT64_FORMAT, value);
        const SettingsChange entry = { .key = limits_spec_find(name)->key, .text = text };

        g_ptr_array_add(texts, text);
        g_array_append_val(changes, entry);
    }
    service_change_settings(call->context->service,
                            (const SettingsChange *)(gconstpointer)changes->data, &change,
                            call_on_done, call);
}

/* clang-format off */
static const PropertyRow properties[] = {
    { "Version",                 .get = get_version },
    { "Features",                .get = get_features },
    { "BackstoreTypes",          .get = get_backstore_types },
    { "State",                   .get = get_state },
    { "StartedAt",               .get = get_started_at },
    { "ConfigurationGeneration", .get = get_generation },
    { "TargetCount",             .get = get_target_count },
    { "SessionCount",            .get = get_session_count, .counted = TRUE },
    { "FaultyBackstores",        .get = get_faulty },
    { "Limits",                  .get = get_limits },
    { "IsnsServer",              .get = isns_get_server },
    { "IsnsState",               .get = isns_get_state },
    { "IsnsError",               .get = isns_get_error },
    { "DefaultTargetNamePrefix", .get = get_name_prefix },
    { "Problems",                .get = settings_get_problems },
    { "DiscoveryAuthentication", .get = settings_get_discovery_authentication },
    { "DiscoveryChapUser",       .get = settings_get_discovery_user },
    { "DiscoveryMutualChapUser", .get = settings_get_discovery_mutual_user },
    { "DiscoveryAccounts",       .get = settings_get_discovery_accounts },
    { "ChapAlgorithms",          .get = settings_get_chap_algorithms },
    { 0 },
};

static const MethodRow methods[] = {
    { "CreateTarget",               &create_target_options,         check_create_target,          run_create_target },
    { "GetTargetByName",            NULL,                           NULL,                         run_get_target_by_name },
    { "CreateBackstore",            &create_backstore_options,      check_create_backstore,       run_create_backstore },
    { "CreatePortalGroup",          NULL,                           check_create_portal_group,    run_create_portal_group },
    { "CreateInitiatorGroup",       NULL,                           initiator_group_check_create, initiator_group_run_create },
    { "ListInitiatorGroups",        &get_window_options,            NULL,                         initiator_group_run_list },
    { "SetDiscoveryAuthentication", &account_options,               NULL,                         settings_run_set_discovery_authentication },
    { "SetDiscoveryAccount",        &account_set_options,           NULL,                         settings_run_set_discovery_account },
    { "RemoveDiscoveryAccount",     NULL,                           NULL,                         settings_run_remove_discovery_account },
    { "SetChapAlgorithms",          NULL,                           NULL,                         settings_run_set_chap_algorithms },
    { "GetStatistics",              NULL,                           manager_check_get_statistics, manager_run_get_statistics },
    { "ListTargets",                &get_window_options,            NULL,                         manager_run_list_targets },
    { "ListBackstores",             &get_window_options,            NULL,                         manager_run_list_backstores },
    { "ListPortals",                &get_window_options,            NULL,                         manager_run_list_portals },
    { "ListSessions",               &manager_list_sessions_options, manager_check_list_sessions,  manager_run_list_sessions },
    { "ListJobs",                   &get_window_options,            NULL,                         manager_run_list_jobs },
    { "ListLimitHits",              NULL,                           NULL,                         manager_run_list_limit_hits },
    { "SetLimits",                  NULL,                           check_set_limits,             run_set_limits },
    { "SetIsnsServer",              NULL,                           isns_check_set_server,        isns_run_set_server },
    { "GetPermissions",             NULL,                           check_get_permissions,        run_get_permissions },
    { "Reload",                     NULL,                           NULL,                         run_reload },
    { NULL,                         NULL,                           NULL,                         NULL },
};
/* clang-format on */

const Noun manager_noun = {
    .kind = "manager",
    .info = &org_lunport1_manager_interface,
    .properties = properties,
    .methods = methods,
    .find = find,
    .missing = LUNPORT_ERROR_SHUTTING_DOWN,
};
