/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * org.lunport1.Target: the face of ModelTarget
 *
 * Object paths in arguments are looked up in the tree, so they name what is on
 * the bus and nothing else; from there on the model's names are used.
 */

#include "bus/account.h"
#include "bus/acl.h"
#include "bus/call.h"
#include "bus/generated.h"
#include "bus/get.h"
#include "bus/job.h"
#include "bus/path.h"
#include "bus/text.h"
#include "model/access-state.h"
#include "model/group-redirect.h"
#include "util/error.h"

#define LUN_NUMBER_MAX 16383

static gpointer
find(Service *service, const Key *key)
{
    return model_find_target(service_get_model(service), key->name);
}

static void
describe(Call *call, gconstpointer object)
{
    const ModelTarget *target = object;

    call_detail(call, "target", target->spec->name);
}

static GVariant *
get_state(Service *service, gconstpointer object)
{
    const ModelTarget *target = object;

    return g_variant_new_string(target_state_to_string(target->state));
}

static GVariant *
get_portal_groups(Service *service, gconstpointer object)
{
    const ModelTarget *target = object;
    const GPtrArray *groups = service_get_model(service)->portal_groups;
    GVariantBuilder builder;

    g_variant_builder_init(&builder, G_VARIANT_TYPE_OBJECT_PATH_ARRAY);
    for (guint i = 0; i < groups->len; i++) {
        const ModelPortalGroup *group = groups->pdata[i];

        if (target_spec_has_group(target->spec, group->spec->tag))
            g_variant_builder_add_value(&builder, get_path(path_of_portal_group(group)));
    }

    return g_variant_builder_end(&builder);
}

static GVariant *
get_alua_states(Service *service, gconstpointer object)
{
    const ModelTarget *target = object;
    const GPtrArray *groups = service_get_model(service)->portal_groups;
    g_autoptr(GArray) states = target_spec_dup_access_states(target->spec);
    GVariantBuilder builder;

    g_variant_builder_init(&builder, G_VARIANT_TYPE("a(qsb)"));
    for (guint i = 0; i < groups->len; i++) {
        const ModelPortalGroup *group = groups->pdata[i];
        const AccessState *state = access_states_find(states, group->spec->tag);

        if (target_spec_has_group(target->spec, group->spec->tag))
            g_variant_builder_add(&builder, "(qsb)", group->spec->tag,
                                  access_state_to_string(state != NULL ? state->state : 0),
                                  state != NULL && state->preferred);
    }

    return g_variant_builder_end(&builder);
}

static GVariant *
get_chap_user(Service *service, gconstpointer object)
{
    const ModelTarget *target = object;

    return text_variant(target->account.user);
}

static GVariant *
get_has_secret(Service *service, gconstpointer object)
{
    const ModelTarget *target = object;

    return g_variant_new_boolean(target->account.user[0] != '\0');
}

static GVariant *
get_mutual_user(Service *service, gconstpointer object)
{
    const ModelTarget *target = object;

    return text_variant(target->account.mutual_user);
}

static GVariant *
get_has_mutual_secret(Service *service, gconstpointer object)
{
    const ModelTarget *target = object;

    return g_variant_new_boolean(target->account.mutual_user[0] != '\0');
}

static GVariant *
get_accounts(Service *service, gconstpointer object)
{
    return account_list(&((const ModelTarget *)object)->account);
}

static GVariant *
get_parameters(Service *service, gconstpointer object)
{
    const ModelTarget *target = object;
    GVariantBuilder builder;
    guint n;
    const SchemaOption *rows = schema_options(&n);

    g_variant_builder_init(&builder, G_VARIANT_TYPE_VARDICT);
    for (guint i = 0; i < n; i++) {
        if (rows[i].scope == SCHEMA_PARAMETER)
            g_variant_builder_add(&builder, "{sv}", rows[i].key,
                                  schema_get_variant(&rows[i], &target->spec->parameters));
    }

    return g_variant_builder_end(&builder);
}

static GVariant *
get_redirect(Service *service, gconstpointer object)
{
    const ModelTarget *target = object;

    return g_variant_new("(sb)", target->spec->redirect, target->spec->redirect_permanent);
}

static GVariant *
get_group_redirects(Service *service, gconstpointer object)
{
    const ModelTarget *target = object;
    g_autoptr(GPtrArray) redirects = group_redirects_parse(target->spec->group_redirects);
    GVariantBuilder builder;

    g_variant_builder_init(&builder, G_VARIANT_TYPE("a(qsb)"));
    for (guint i = 0; redirects != NULL && i < redirects->len; i++) {
        const GroupRedirect *redirect = g_ptr_array_index(redirects, i);

        g_variant_builder_add(&builder, "(qsb)", redirect->tag, redirect->address,
                              redirect->is_permanent);
    }
    return g_variant_builder_end(&builder);
}

static GVariant *
get_persistent(Service *service, gconstpointer object)
{
    const ModelTarget *target = object;

    return g_variant_new_boolean(model_origin_is_persistent(target->origin));
}

static void
run_enable(Call *call, gpointer object)
{
    const ModelTarget *target = object;
    ChangeOptions change = call_change(call);

    service_enable_target(call->context->service, target->spec->name, &change, call_on_done, call);
}

static gboolean
check_disable(Call *call, gconstpointer object, GError **ret_error)
{
    const char *mode = "refuse";
    guint64 timeout_us;
    guint seconds;

    (void)options_get(&call->options, "mode", "&s", &mode);
    if (g_str_equal(mode, "drain"))
        return job_get_timeout(call, &seconds, ret_error);
    if (!g_str_equal(mode, "refuse") && !g_str_equal(mode, "abort")) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "Mode “%.100s” is not known, it must be “refuse”, “drain” or “abort”", mode);
        return FALSE;
    }
    if (options_get(&call->options, "timeout", "t", &timeout_us)) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "Option “timeout” only goes with mode “drain”");
        return FALSE;
    }
    return TRUE;
}

static void
run_disable(Call *call, gpointer object)
{
    const ModelTarget *target = object;
    ChangeOptions change = call_change(call);
    const char *mode = "refuse";
    guint seconds;

    (void)options_get(&call->options, "mode", "&s", &mode);
    if (g_str_equal(mode, "drain")) {
        (void)job_get_timeout(call, &seconds, NULL);
        call->planned = g_strdup(PATH_NONE);
        service_drain_target(call->context->service, target->spec->name, seconds, &change,
                             call_on_job, call);
        return;
    }

    service_disable_target(call->context->service, target->spec->name, g_str_equal(mode, "abort"),
                           &change, call_on_done_without_job, call);
}

/* The portal group that is given, 0 where none is; FALSE: it is not there */
static gboolean
find_redirect_tag(const Call *call, guint16 *ret_tag, GError **ret_error)
{
    const char *path;
    const Key *group;

    *ret_tag = 0;
    if (!options_get(&call->options, "portal-group", "&o", &path))
        return TRUE;

    group = tree_find_key(call->context->tree, &portal_group_noun, path, ret_error);
    if (group != NULL)
        *ret_tag = (guint16)group->number;
    return group != NULL;
}

static gboolean
check_set_redirect(Call *call, gconstpointer object, GError **ret_error)
{
    guint16 tag;

    if (!find_redirect_tag(call, &tag, ret_error))
        return FALSE;

    if (tag != 0)
        call_detail_number(call, "portal-group", tag);
    return TRUE;
}

static void
run_set_redirect(Call *call, gpointer object)
{
    const ModelTarget *target = object;
    ChangeOptions change = call_change(call);
    const char *address;
    gboolean permanent;
    guint16 tag;

    (void)find_redirect_tag(call, &tag, NULL);
    g_variant_get(call->parameters, "(&sb@a{sv})", &address, &permanent, NULL);
    service_set_target_redirect(call->context->service, target->spec->name, tag, address, permanent,
                                &change, call_on_done, call);
}

static void
run_set_alias(Call *call, gpointer object)
{
    const ModelTarget *target = object;
    ChangeOptions change = call_change(call);
    const char *alias;

    g_variant_get(call->parameters, "(&s@a{sv})", &alias, NULL);
    service_set_target_alias(call->context->service, target->spec->name, alias, &change,
                             call_on_done, call);
}

static void
run_set_parameters(Call *call, gpointer object)
{
    const ModelTarget *target = object;
    ChangeOptions change = call_change(call);
    g_autoptr(GVariant) parameters = g_variant_get_child_value(call->parameters, 0);

    service_set_target_parameters(call->context->service, target->spec->name, parameters, &change,
                                  call_on_done, call);
}

static void
run_set_access_mode(Call *call, gpointer object)
{
    const ModelTarget *target = object;
    ChangeOptions change = call_change(call);
    const char *mode;

    g_variant_get(call->parameters, "(&s@a{sv})", &mode, NULL);
    service_set_target_access_mode(call->context->service, target->spec->name, mode, &change,
                                   call_on_done, call);
}

static void
run_set_authentication(Call *call, gpointer object)
{
    const ModelTarget *target = object;
    ChangeOptions change = call_change(call);
    ServiceAccount account = account_from_options(&call->options, "user");
    const char *method;

    g_variant_get(call->parameters, "(&s@a{sv})", &method, NULL);
    service_set_target_authentication(call->context->service, target->spec->name, method, &account,
                                      &change, call_on_done, call);
}

static ServiceAccountOwner
account_owner(const ModelTarget *target)
{
    return (ServiceAccountOwner){ .target_name = target->spec->name };
}

static void
run_set_account(Call *call, gpointer object)
{
    const ServiceAccountOwner owner = account_owner(object);

    account_run_set(call, &owner);
}

static void
run_remove_account(Call *call, gpointer object)
{
    const ServiceAccountOwner owner = account_owner(object);

    account_run_remove(call, &owner);
}

static const Key *
find_group(const Call *call, GError **ret_error)
{
    const char *path;

    g_variant_get(call->parameters, "(&o@a{sv})", &path, NULL);
    return tree_find_key(call->context->tree, &portal_group_noun, path, ret_error);
}

static gboolean
check_group(Call *call, gconstpointer object, GError **ret_error)
{
    const Key *group = find_group(call, ret_error);

    if (group == NULL)
        return FALSE;

    call_detail_number(call, "portal-group", group->number);
    return TRUE;
}

static void
run_add_portal_group(Call *call, gpointer object)
{
    const ModelTarget *target = object;
    ChangeOptions change = call_change(call);
    const Key *group = find_group(call, NULL);

    service_add_target_portal_group(call->context->service, target->spec->name,
                                    (guint16)group->number, &change, call_on_done, call);
}

static void
run_remove_portal_group(Call *call, gpointer object)
{
    const ModelTarget *target = object;
    ChangeOptions change = call_change(call);
    const Key *group = find_group(call, NULL);

    service_remove_target_portal_group(call->context->service, target->spec->name,
                                       (guint16)group->number, &change, call_on_done, call);
}

/* What SetPortalGroups was given. NULL without an error: every group. */
static GArray *
find_groups(const Call *call, GError **ret_error)
{
    g_autofree const char **paths = NULL;
    gboolean every = FALSE;

    g_variant_get(call->parameters, "(^a&o@a{sv})", &paths, NULL);
    (void)options_get(&call->options, "every", "b", &every);
    if (!every)
        return call_find_portal_groups(call, paths, ret_error);
    if (paths[0] != NULL)
        g_set_error_literal(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                            "With the option every there are no groups to be named");
    return NULL;
}

static gboolean
check_groups(Call *call, gconstpointer object, GError **ret_error)
{
    g_autoptr(GError) error = NULL;
    GArray *tags = find_groups(call, &error);

    g_clear_pointer(&tags, g_array_unref);
    if (error == NULL)
        return TRUE;

    g_propagate_error(ret_error, g_steal_pointer(&error));
    return FALSE;
}

static void
run_set_portal_groups(Call *call, gpointer object)
{
    const ModelTarget *target = object;
    ChangeOptions change = call_change(call);
    g_autoptr(GArray) tags = find_groups(call, NULL);

    service_set_target_portal_groups(
        call->context->service, target->spec->name,
        tags != NULL ? (const guint16 *)(gconstpointer)tags->data : NULL,
        tags != NULL ? tags->len : 0, tags == NULL, &change, call_on_done, call);
}

/* clang-format off */
static const OptionTable add_lun_options = {
    .with_common = TRUE,
    .with_schema = TRUE,
    .schema = SCHEMA_LUN,
};
/* clang-format on */

static const ModelBackstore *
find_backstore(const Call *call, GError **ret_error)
{
    const char *path;
    const Key *key;

    g_variant_get(call->parameters, "(&oi@a{sv})", &path, NULL, NULL);
    key = tree_find_key(call->context->tree, &backstore_noun, path, ret_error);
    return key != NULL ? backstore_noun.find(call->context->service, key) : NULL;
}

static gboolean
check_add_lun(Call *call, gconstpointer object, GError **ret_error)
{
    const ModelBackstore *backstore = find_backstore(call, ret_error);
    gint32 number;

    if (backstore == NULL)
        return FALSE;

    g_variant_get(call->parameters, "(&oi@a{sv})", NULL, &number, NULL);
    if (number < -1 || number > LUN_NUMBER_MAX) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "Logical unit number %d is not in the range -1 to %d", number, LUN_NUMBER_MAX);
        return FALSE;
    }

    backstore_noun.describe(call, backstore);
    if (number >= 0)
        call_detail_number(call, "lun", (guint64)number);
    return TRUE;
}

static guint16
find_free_number(const ModelTarget *target)
{
    guint16 number = 0;

    while (number < LUN_NUMBER_MAX && model_find_lun(target, number) != NULL)
        number++;
    return number;
}

static void
run_add_lun(Call *call, gpointer object)
{
    const ModelTarget *target = object;
    const ModelBackstore *backstore = find_backstore(call, NULL);
    ChangeOptions change = call_change(call);
    g_autoptr(LunSpec) spec = NULL;
    GError *error = NULL;
    gint32 number;

    /* check_add_lun() has just found it */
    g_assert(backstore != NULL);
    spec = lun_spec_new(0, backstore->spec->name);

    if (!options_apply(&call->options, &add_lun_options, spec, &error)) {
        call_fail(call, error);
        return;
    }

    g_variant_get(call->parameters, "(&oi@a{sv})", NULL, &number, NULL);
    call->planned = path_of_lun_number(target->spec->name,
                                       number >= 0 ? (guint16)number : find_free_number(target));
    service_add_lun(call->context->service, target->spec->name, spec->backstore, number,
                    spec->read_only, &change, call_on_lun, call);
}

static void
run_list_luns(Call *call, gpointer object)
{
    const ModelTarget *target = object;
    GVariantBuilder builder;
    guint end;
    guint i;

    g_variant_builder_init(&builder, G_VARIANT_TYPE("a(oqosbs)"));
    for (get_window(call, target->luns->len, &i, &end); i < end; i++) {
        const ModelLun *lun = target->luns->pdata[i];

        g_variant_builder_open(&builder, G_VARIANT_TYPE("(oqosbs)"));
        g_variant_builder_add_value(&builder, get_path(path_of_lun(lun)));
        g_variant_builder_add(&builder, "q", lun->number);
        g_variant_builder_add_value(&builder,
                                    get_path(path_of_backstore_name(lun->backstore_name)));
        g_variant_builder_add_value(&builder, text_variant(lun->backstore_name));
        g_variant_builder_add(&builder, "b", lun->read_only);
        g_variant_builder_add(&builder, "s", lun->is_online ? "online" : "offline");
        g_variant_builder_close(&builder);
    }

    call_return(call, g_variant_new("(a(oqosbs))", &builder));
}

static void
run_delete(Call *call, gpointer object)
{
    const ModelTarget *target = object;
    ChangeOptions change = call_change(call);
    gboolean force = FALSE;

    (void)options_get(&call->options, "force", "b", &force);
    service_delete_target(call->context->service, target->spec->name, force, &change, call_on_done,
                          call);
}

/* clang-format off */
static const PropertyRow properties[] = {
    { "Name",                 SPEC_MEMBER(ModelTarget, name) },
    { "Alias",                SPEC_MEMBER(ModelTarget, alias) },
    { "Enabled",              SPEC_MEMBER(ModelTarget, enabled) },
    { "State",                .get = get_state },
    { "LastError",            MEMBER(ModelTarget, error) },
    { "PortalGroups",         .get = get_portal_groups },
    { "AluaStates",           .get = get_alua_states },
    { "AccessMode",           SPEC_MEMBER(ModelTarget, access_mode) },
    { "AuthenticationMethod", SPEC_MEMBER(ModelTarget, authentication) },
    { "HasSecret",            .get = get_has_secret },
    { "ChapUser",             .get = get_chap_user },
    { "HasMutualSecret",      .get = get_has_mutual_secret },
    { "MutualChapUser",       .get = get_mutual_user },
    { "ChapAccounts",         .get = get_accounts },
    { "Parameters",           .get = get_parameters },
    { "Redirect",             .get = get_redirect },
    { "GroupRedirects",       .get = get_group_redirects },
    { "SessionCount",         MEMBER(ModelTarget, n_sessions), .counted = TRUE },
    { "Persistent",           .get = get_persistent },
    { 0 },
};

static const OptionRow disable_rows[] = {
    { "mode",    "s" },
    { "timeout", "t" },
    { NULL,      NULL },
};

static const OptionRow delete_rows[] = {
    { "force", "b" },
    { NULL,    NULL },
};

static const OptionRow redirect_rows[] = {
    { "portal-group", "o" },
    { NULL,           NULL },
};

static const OptionRow portal_groups_rows[] = {
    { "every", "b" },
    { NULL,    NULL },
};

static const OptionTable portal_groups_options = { .rows = portal_groups_rows, .with_common = TRUE };
static const OptionTable redirect_options = { .rows = redirect_rows, .with_common = TRUE };
static const OptionTable disable_options = { .rows = disable_rows, .with_common = TRUE };
static const OptionTable delete_options = { .rows = delete_rows, .with_common = TRUE };

static const MethodRow methods[] = {
    { "Enable",            NULL,                NULL,          run_enable },
    { "Disable",           &disable_options,    check_disable, run_disable },
    { "SetAlias",          NULL,                NULL,          run_set_alias },
    { "SetRedirect",       &redirect_options,   check_set_redirect, run_set_redirect },
    { "SetParameters",     NULL,                NULL,          run_set_parameters },
    { "SetAccessMode",     NULL,                NULL,          run_set_access_mode },
    { "SetAuthentication", &account_options,    NULL,          run_set_authentication },
    { "SetAccount",        &account_set_options, NULL,         run_set_account },
    { "RemoveAccount",     NULL,                NULL,          run_remove_account },
    { "AddAcl",            &acl_add_options,    acl_check_add, acl_run_add },
    { "ListAcls",          &get_window_options, NULL,          acl_run_list },
    { "AddPortalGroup",    NULL,                check_group,   run_add_portal_group },
    { "RemovePortalGroup", NULL,                check_group,   run_remove_portal_group },
    { "SetPortalGroups",   &portal_groups_options, check_groups, run_set_portal_groups },
    { "AddLun",            &add_lun_options,    check_add_lun, run_add_lun },
    { "ListLuns",          &get_window_options, NULL,          run_list_luns },
    { "Delete",            &delete_options,     NULL,          run_delete },
    { NULL,                NULL,                NULL,          NULL },
};
/* clang-format on */

const Noun target_noun = {
    .kind = "target",
    .info = &org_lunport1_target_interface,
    .properties = properties,
    .methods = methods,
    .find = find,
    .describe = describe,
    .missing = LUNPORT_ERROR_NO_SUCH_TARGET,
};
