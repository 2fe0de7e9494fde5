/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * org.lunport1.Acl: the face of ModelAcl
 *
 * Secrets come in with options and go to control, which copies them; what came
 * in is wiped with the options of the call. Nothing here ever has one to give
 * out: the model does not know them.
 */

#include "bus/acl.h"

#include <string.h>

#include "bus/account.h"
#include "bus/call.h"
#include "bus/generated.h"
#include "bus/get.h"
#include "bus/path.h"
#include "bus/text.h"
#include "model/schema.h"
#include "util/error.h"
#include "util/name.h"
#include "util/network.h"

static gpointer
find(Service *service, const Key *key)
{
    const ModelTarget *target = model_find_target(service_get_model(service), key->name);

    return target != NULL ? model_find_acl_by_id(target, key->number) : NULL;
}

static void
describe(Call *call, gconstpointer object)
{
    const ModelAcl *acl = object;

    call_detail(call, "target", acl->target->spec->name);
    call_detail(call, "initiator", acl->name);
}

static GVariant *
get_target(Service *service, gconstpointer object)
{
    const ModelAcl *acl = object;

    return get_path(path_of_target(acl->target));
}

static GVariant *
get_initiator(Service *service, gconstpointer object)
{
    return text_variant(model_acl_spec(object)->initiator);
}

static GVariant *
get_group(Service *service, gconstpointer object)
{
    const char *group = model_acl_spec(object)->group;

    return get_path(group[0] != '\0' ? path_of_initiator_group_name(group) : g_strdup(PATH_NONE));
}

static GVariant *
get_action(Service *service, gconstpointer object)
{
    return text_variant(model_acl_spec(object)->action);
}

static GVariant *
words_variant(const char *text)
{
    g_auto(GStrv) words = acl_words_split(text);

    return g_variant_new_strv((const char *const *)words, -1);
}

static GVariant *
get_networks(Service *service, gconstpointer object)
{
    return words_variant(model_acl_spec(object)->networks);
}

/* Numbers, none for “every one” */
static char **
dup_tags(const AclSpec *spec)
{
    return strcmp(spec->portal_groups, "*") == 0 ? g_new0(char *, 1)
                                                 : acl_words_split(spec->portal_groups);
}

static GVariant *
get_portal_groups(Service *service, gconstpointer object)
{
    g_auto(GStrv) tags = dup_tags(model_acl_spec(object));
    GVariantBuilder builder;

    g_variant_builder_init(&builder, G_VARIANT_TYPE_OBJECT_PATH_ARRAY);
    for (guint i = 0; tags[i] != NULL; i++)
        g_variant_builder_add_value(&builder, get_path(path_of_portal_group_tag(
                                                  (guint16)g_ascii_strtoull(tags[i], NULL, 10))));
    return g_variant_builder_end(&builder);
}

static GVariant *
get_authentication(Service *service, gconstpointer object)
{
    return text_variant(model_acl_spec(object)->authentication);
}

static GVariant *
get_read_only(Service *service, gconstpointer object)
{
    return g_variant_new_boolean(model_acl_spec(object)->read_only);
}

static GVariant *
luns_variant(const AclSpec *spec)
{
    g_autoptr(GArray) luns = acl_luns_parse(spec->lun_map);
    GVariantBuilder builder;

    g_variant_builder_init(&builder, G_VARIANT_TYPE("a(qqb)"));
    for (guint i = 0; luns != NULL && i < luns->len; i++) {
        const AclLun *lun = &g_array_index(luns, AclLun, i);

        g_variant_builder_add(&builder, "(qqb)", lun->lun, lun->target_lun, lun->read_only);
    }
    return g_variant_builder_end(&builder);
}

static GVariant *
get_lun_map(Service *service, gconstpointer object)
{
    return luns_variant(model_acl_spec(object));
}

static GVariant *
get_chap_user(Service *service, gconstpointer object)
{
    return text_variant(((const ModelAcl *)object)->account.user);
}

static GVariant *
get_has_secret(Service *service, gconstpointer object)
{
    return g_variant_new_boolean(((const ModelAcl *)object)->account.user[0] != '\0');
}

static GVariant *
get_mutual_user(Service *service, gconstpointer object)
{
    return text_variant(((const ModelAcl *)object)->account.mutual_user);
}

static GVariant *
get_has_mutual_secret(Service *service, gconstpointer object)
{
    return g_variant_new_boolean(((const ModelAcl *)object)->account.mutual_user[0] != '\0');
}

static GVariant *
get_accounts(Service *service, gconstpointer object)
{
    return account_list(&((const ModelAcl *)object)->account);
}

static int
compare_luns(gconstpointer a, gconstpointer b)
{
    return (int)((const AclLun *)a)->lun - (int)((const AclLun *)b)->lun;
}

/* a(qqb) in any order as the text of the spec */
static char *
format_luns(GVariant *map)
{
    g_autoptr(GArray) luns = g_array_new(FALSE, FALSE, sizeof(AclLun));
    GVariantIter iter;
    AclLun lun;

    g_variant_iter_init(&iter, map);
    while (g_variant_iter_next(&iter, "(qqb)", &lun.lun, &lun.target_lun, &lun.read_only))
        g_array_append_val(luns, lun);
    g_array_sort(luns, compare_luns);
    return acl_luns_format(luns);
}

static char *
dup_lun_argument(const Call *call)
{
    g_autoptr(GVariant) map = g_variant_get_child_value(call->parameters, 0);

    return format_luns(map);
}

static gboolean
check_lun_map(Call *call, gconstpointer object, GError **ret_error)
{
    g_autofree char *text = dup_lun_argument(call);

    return text[0] == '\0' || acl_check_luns(text, ret_error);
}

static void
run_set_lun_map(Call *call, gpointer object)
{
    const ModelAcl *acl = object;
    ChangeOptions change = call_change(call);
    g_autofree char *text = dup_lun_argument(call);

    service_set_acl_luns(call->context->service, acl->target->spec->name, acl->name, text, &change,
                         call_on_done, call);
}

static void
run_set_secret(Call *call, gpointer object)
{
    const ModelAcl *acl = object;
    ChangeOptions change = call_change(call);
    ServiceAccount account = account_from_options(&call->options, "user");

    service_set_acl_authentication(call->context->service, acl->target->spec->name, acl->name, NULL,
                                   &account, &change, call_on_done, call);
}

static void
run_set_authentication(Call *call, gpointer object)
{
    const ModelAcl *acl = object;
    ChangeOptions change = call_change(call);
    ServiceAccount account = account_from_options(&call->options, "user");
    const char *method;

    g_variant_get(call->parameters, "(&s@a{sv})", &method, NULL);
    service_set_acl_authentication(call->context->service, acl->target->spec->name, acl->name,
                                   method, &account, &change, call_on_done, call);
}

static ServiceAccountOwner
account_owner(const ModelAcl *acl)
{
    return (ServiceAccountOwner){ .target_name = acl->target->spec->name, .acl_name = acl->name };
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

static void
run_set_read_only(Call *call, gpointer object)
{
    const ModelAcl *acl = object;
    ChangeOptions change = call_change(call);
    gboolean read_only;

    g_variant_get(call->parameters, "(b@a{sv})", &read_only, NULL);
    service_set_acl_read_only(call->context->service, acl->target->spec->name, acl->name, read_only,
                              &change, call_on_done, call);
}

static void
run_delete(Call *call, gpointer object)
{
    const ModelAcl *acl = object;
    ChangeOptions change = call_change(call);
    gboolean terminate = FALSE;

    (void)options_get(&call->options, "terminate-sessions", "b", &terminate);
    service_delete_acl(call->context->service, acl->target->spec->name, acl->name, terminate,
                       &change, call_on_done, call);
}

/* clang-format off */
static const PropertyRow properties[] = {
    { "Target",               .get = get_target },
    { "Initiator",            .get = get_initiator },
    { "Group",                .get = get_group },
    { "Action",               .get = get_action },
    { "Networks",             .get = get_networks },
    { "PortalGroups",         .get = get_portal_groups },
    { "AuthenticationMethod", .get = get_authentication },
    { "ReadOnly",             .get = get_read_only },
    { "LunMap",               .get = get_lun_map },
    { "ChapUser",             .get = get_chap_user },
    { "HasSecret",            .get = get_has_secret },
    { "MutualChapUser",       .get = get_mutual_user },
    { "HasMutualSecret",      .get = get_has_mutual_secret },
    { "ChapAccounts",         .get = get_accounts },
    { 0 },
};

static const OptionRow delete_rows[] = {
    { "terminate-sessions", "b" },
    { NULL,                 NULL },
};

static const OptionTable delete_options = { .rows = delete_rows, .with_common = TRUE };

static const MethodRow methods[] = {
    { "SetLunMap",         NULL,             check_lun_map, run_set_lun_map },
    { "SetSecret",         &account_options, NULL,          run_set_secret },
    { "SetAuthentication", &account_options, NULL,          run_set_authentication },
    { "SetAccount",        &account_set_options, NULL,      run_set_account },
    { "RemoveAccount",     NULL,             NULL,          run_remove_account },
    { "SetReadOnly",       NULL,             NULL,          run_set_read_only },
    { "Delete",            &delete_options,  NULL,          run_delete },
    { NULL,                NULL,             NULL,          NULL },
};
/* clang-format on */

const Noun acl_noun = {
    .kind = "access rule",
    .info = &org_lunport1_acl_interface,
    .properties = properties,
    .methods = methods,
    .find = find,
    .describe = describe,
    .missing = LUNPORT_ERROR_NO_SUCH_OBJECT,
};

/*
 * Methods of Target
 */

/* clang-format off */
static const OptionRow add_rows[] = {
    { "group",              "o" },
    { "networks",           "as" },
    { "portal-groups",      "ao" },
    { "chap-user",          "s" },
    { "secret",             "s" },
    { "mutual-user",        "s" },
    { "mutual-secret",      "s" },
    { "lun-map",            "a(qqb)" },
    { "replace",            "b" },
    { "terminate-sessions", "b" },
    { NULL,                 NULL },
};
/* clang-format on */

const OptionTable acl_add_options = {
    .rows = add_rows,
    .with_common = TRUE,
    .with_schema = TRUE,
    .schema = SCHEMA_ACL,
};

static gboolean
set_option(AclSpec *spec, const char *key, const char *text, GError **ret_error)
{
    return schema_set_text(schema_find_key(SCHEMA_ACL, key), spec, text, ret_error);
}

static gboolean
apply_initiator(const Call *call, AclSpec *spec, GError **ret_error)
{
    const char *given;
    const char *path = NULL;
    const Key *group;
    g_autofree char *normal = NULL;

    g_variant_get(call->parameters, "(&s@a{sv})", &given, NULL);
    if (options_get(&call->options, "group", "&o", &path)) {
        group = tree_find_key(call->context->tree, &initiator_group_noun, path, ret_error);
        if (group == NULL || !set_option(spec, "Group", group->name, ret_error))
            return FALSE;
    }
    normal = name_normalize_iscsi(given);
    return set_option(spec, "Initiator", normal != NULL ? normal : given, ret_error);
}

/* Each network as it is written by us, so that one is always the same text */
static gboolean
apply_networks(const Call *call, AclSpec *spec, GError **ret_error)
{
    g_autofree const char **given = NULL;
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *text = NULL;

    if (!options_get(&call->options, "networks", "^a&s", &given))
        return TRUE;

    for (gsize i = 0; given[i] != NULL; i++) {
        char shown[NETWORK_TEXT_MAX];
        Network network;

        if (!network_parse(given[i], &network, ret_error))
            return FALSE;
        network_format(&network, shown, sizeof(shown));
        g_ptr_array_add(words, g_strdup(shown));
    }
    g_ptr_array_add(words, NULL);
    text = g_strjoinv(" ", (char **)words->pdata);
    return set_option(spec, "Networks", text, ret_error);
}

static gboolean
apply_portal_groups(const Call *call, AclSpec *spec, GError **ret_error)
{
    g_autofree const char **paths = NULL;
    g_autoptr(GArray) tags = NULL;
    g_autoptr(GString) text = g_string_new(NULL);

    if (!options_get(&call->options, "portal-groups", "^a&o", &paths) || paths[0] == NULL)
        return TRUE;

    tags = call_find_portal_groups(call, paths, ret_error);
    if (tags == NULL)
        return FALSE;

    for (guint i = 0; i < tags->len; i++)
        g_string_append_printf(text, "%s%u", i > 0 ? " " : "", g_array_index(tags, guint16, i));
    return set_option(spec, "PortalGroups", text->str, ret_error);
}

static gboolean
apply_lun_map(const Call *call, AclSpec *spec, GError **ret_error)
{
    g_autoptr(GVariant) map = NULL;
    g_autofree char *text = NULL;

    if (!options_get(&call->options, "lun-map", "@a(qqb)", &map))
        return TRUE;

    text = format_luns(map);
    return set_option(spec, "LunMap", text, ret_error);
}

static AclSpec *
make_spec(const Call *call, GError **ret_error)
{
    g_autoptr(AclSpec) spec = acl_spec_new();

    if (!options_apply(&call->options, &acl_add_options, spec, ret_error) ||
        !apply_initiator(call, spec, ret_error) || !apply_networks(call, spec, ret_error) ||
        !apply_portal_groups(call, spec, ret_error) || !apply_lun_map(call, spec, ret_error) ||
        !acl_spec_check(spec, ret_error))
        return NULL;
    return g_steal_pointer(&spec);
}

gboolean
acl_check_add(Call *call, gconstpointer target, GError **ret_error)
{
    g_autoptr(AclSpec) spec = make_spec(call, ret_error);
    g_autofree char *name = spec != NULL ? acl_spec_dup_name(spec) : NULL;

    if (spec == NULL)
        return FALSE;

    call_detail(call, "initiator", name);
    return TRUE;
}

void
acl_run_add(Call *call, gpointer object)
{
    const ModelTarget *target = object;
    ChangeOptions change = call_change(call);
    ServiceAccount account = account_from_options(&call->options, "chap-user");
    GError *error = NULL;
    g_autoptr(AclSpec) spec = make_spec(call, &error);
    g_autofree char *name = NULL;
    gboolean replaces = FALSE;
    gboolean terminates = FALSE;

    if (spec == NULL) {
        call_fail(call, error);
        return;
    }

    (void)options_get(&call->options, "replace", "b", &replaces);
    (void)options_get(&call->options, "terminate-sessions", "b", &terminates);
    name = acl_spec_dup_name(spec);
    call->planned = path_of_acl_name(target->spec->name, name);
    service_add_acl(call->context->service, target->spec->name, spec,
                    (replaces ? SERVICE_ACL_REPLACE : 0) | (terminates ? SERVICE_ACL_TERMINATE : 0),
                    &account, &change, call_on_acl, call);
}

static void
add_row(GVariantBuilder *builder, const ModelAcl *acl)
{
    const AclSpec *spec = model_acl_spec(acl);
    g_auto(GStrv) tags = dup_tags(spec);

    g_variant_builder_open(builder, G_VARIANT_TYPE("(ossssasaqsba(qqb)b)"));
    g_variant_builder_add_value(builder, get_path(path_of_acl(acl)));
    g_variant_builder_add_value(builder, text_variant(spec->initiator));
    g_variant_builder_add_value(builder, text_variant(spec->group));
    g_variant_builder_add_value(builder, text_variant(spec->action));
    g_variant_builder_add_value(builder, text_variant(spec->authentication));
    g_variant_builder_add_value(builder, words_variant(spec->networks));
    g_variant_builder_open(builder, G_VARIANT_TYPE("aq"));
    for (guint i = 0; tags[i] != NULL; i++)
        g_variant_builder_add(builder, "q", (guint16)g_ascii_strtoull(tags[i], NULL, 10));
    g_variant_builder_close(builder);
    g_variant_builder_add_value(builder, text_variant(acl->account.user));
    g_variant_builder_add(builder, "b", spec->read_only);
    g_variant_builder_add_value(builder, luns_variant(spec));
    g_variant_builder_add(builder, "b", acl->account.user[0] != '\0');
    g_variant_builder_close(builder);
}

void
acl_run_list(Call *call, gpointer object)
{
    const ModelTarget *target = object;
    GVariantBuilder builder;
    guint end;
    guint i;

    g_variant_builder_init(&builder, G_VARIANT_TYPE("a(ossssasaqsba(qqb)b)"));
    for (get_window(call, target->acls->len, &i, &end); i < end; i++)
        add_row(&builder, target->acls->pdata[i]);
    call_return(call, g_variant_new("(a(ossssasaqsba(qqb)b))", &builder));
}
