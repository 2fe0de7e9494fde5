/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Operations on groups of initiators, and on what holds for all targets
 *
 * A group is in no snapshot: its names become those of each rule that is for
 * it. So when it changes, all targets that have such a rule are published
 * again, and the operation ends when the last of them is in effect.
 *
 * What holds for all targets (algorithms of CHAP, discovery) is one object with
 * one file, SettingsSpec, and one snapshot, IscsiSecurity.
 */

#include <string.h>

#include "control/access-change.h"
#include "control/secrets.h"
#include "iscsi/chap.h"
#include "model/schema.h"
#include "util/error.h"
#include "util/name.h"
#include "util/pattern.h"

#define INITIATOR_GROUPS_MAX 4096

/*
 * Groups
 */

static void
on_published(gpointer data)
{
    Operation *operation = data;

    if (--operation->access->n_left == 0)
        operation_finish(operation, NULL);
}

/* Targets that leave need no rules any more */
static void
publish_group_users(Operation *operation)
{
    Service *service = operation->service;
    const GPtrArray *targets = service->model->targets;

    operation->access->n_left = 1;
    for (guint i = 0; i < targets->len; i++) {
        ModelTarget *target = g_ptr_array_index(targets, i);

        if (target->is_leaving || !model_acl_uses_group(target, operation->name))
            continue;
        operation->access->n_left++;
        publish_target(service, target, on_published, operation);
    }
    on_published(operation);
}

static Operation *
new_operation(Service *service, const char *name, OperationFn run, const ChangeOptions *options,
              ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = operation_new(service, options, run, done, user_data);

    operation->name = g_utf8_make_valid(name, -1);
    operation->access = access_change_new(SECRETS_OWN, NULL, NULL);
    operation_hold(operation, MODEL_INITIATOR_GROUP, operation->name);
    return operation;
}

static gboolean
fail_no_group(const char *name, GError **ret_error)
{
    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                "There is no initiator group “%s”", name);
    return FALSE;
}

static gboolean
check_new_group(const Operation *operation, GError **ret_error)
{
    const Model *model = operation->service->model;
    const InitiatorGroupSpec *spec = operation->access->group;
    const char *reserved = model_find_reserved(model, MODEL_INITIATOR_GROUP, spec->name);

    if (!name_check_object(spec->name, ret_error) ||
        !acl_check_initiators(spec->initiators, ret_error))
        return FALSE;
    if (model_find_initiator_group(model, spec->name) != NULL || reserved != NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_ALREADY_EXISTS,
                    "There is an initiator group “%s” already%s%s", spec->name,
                    reserved != NULL ? ": " : "", reserved != NULL ? reserved : "");
        return FALSE;
    }
    if (model->initiator_groups->len >= INITIATOR_GROUPS_MAX) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_LIMIT_EXCEEDED,
                    "There are %d initiator groups already, which is the most",
                    INITIATOR_GROUPS_MAX);
        return FALSE;
    }
    return TRUE;
}

static void
commit_create(Operation *operation)
{
    InitiatorGroupSpec *spec = g_steal_pointer(&operation->access->group);
    gboolean keeps = operation->options.persist;
    ModelInitiatorGroup *group = model_add_initiator_group(
        operation->service->model, spec, keeps ? initiator_group_spec_dup(spec) : NULL,
        keeps ? MODEL_ORIGIN_STATE : MODEL_ORIGIN_RUNTIME);

    operation_record(operation);
    operation_finish(operation, group);
}

static void
run_create(Operation *operation)
{
    GError *error = NULL;

    if (!check_new_group(operation, &error))
        operation_fail(operation, error);
    else if (operation->options.dry_run)
        operation_finish(operation, NULL);
    else if (operation->options.persist)
        operation_save(operation, MODEL_INITIATOR_GROUP, operation->name,
                       keyfile_format_initiator_group(operation->access->group), commit_create);
    else
        commit_create(operation);
}

void
service_create_initiator_group(Service *service, const InitiatorGroupSpec *spec,
                               const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = new_operation(service, spec->name, run_create, options, done, user_data);

    operation->access->group = initiator_group_spec_dup(spec);
    operation_submit(operation, "CreateInitiatorGroup", operation->name);
}

/* Invalid UTF-8 is for the check of names to refuse */
static char *
normalize(const char *name)
{
    char *normal = name_normalize_iscsi(name);

    return normal != NULL ? normal : g_utf8_make_valid(name, -1);
}

static gboolean
add_names(GPtrArray *names, char *const *add, GError **ret_error)
{
    for (guint i = 0; add != NULL && add[i] != NULL; i++) {
        g_autofree char *name = normalize(add[i]);

        if (!pattern_check_name(name, ret_error))
            return FALSE;
        if (g_ptr_array_find_with_equal_func(names, name, g_str_equal, NULL)) {
            g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_ALREADY_EXISTS,
                        "“%s” is in the group already", name);
            return FALSE;
        }
        g_ptr_array_add(names, g_steal_pointer(&name));
    }
    return TRUE;
}

static gboolean
remove_names(GPtrArray *names, char *const *remove, GError **ret_error)
{
    for (guint i = 0; remove != NULL && remove[i] != NULL; i++) {
        g_autofree char *name = normalize(remove[i]);
        guint index;

        if (!g_ptr_array_find_with_equal_func(names, name, g_str_equal, &index)) {
            g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                        "“%s” is not in the group", name);
            return FALSE;
        }
        g_ptr_array_remove_index(names, index);
    }
    return TRUE;
}

/* NULL with an error */
static InitiatorGroupSpec *
edit_group(const Operation *operation, const InitiatorGroupSpec *from, GError **ret_error)
{
    const AccessChange *change = operation->access;
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_auto(GStrv) before = acl_words_split(from->initiators);
    g_autoptr(InitiatorGroupSpec) spec = initiator_group_spec_dup(from);

    for (guint i = 0; before[i] != NULL; i++)
        g_ptr_array_add(names, g_strdup(before[i]));
    if (!remove_names(names, change->remove, ret_error) ||
        !add_names(names, change->add, ret_error))
        return NULL;

    g_ptr_array_add(names, NULL);
    g_free(spec->initiators);
    spec->initiators = g_strjoinv(" ", (char **)names->pdata);
    return acl_check_initiators(spec->initiators, ret_error) ? g_steal_pointer(&spec) : NULL;
}

static gboolean
prepare_change(Operation *operation, const ModelInitiatorGroup *group, GError **ret_error)
{
    AccessChange *change = operation->access;

    if (group == NULL)
        return fail_no_group(operation->name, ret_error);
    if (!operation_may_change(operation, group->origin, "The initiator group", ret_error))
        return FALSE;

    change->group = edit_group(operation, group->spec, ret_error);
    if (change->group != NULL && operation->keeps)
        change->saved_group =
            edit_group(operation, group->saved != NULL ? group->saved : group->spec, ret_error);
    return change->group != NULL && (!operation->keeps || change->saved_group != NULL);
}

static void
commit_change(Operation *operation)
{
    Model *model = operation->service->model;
    AccessChange *change = operation->access;

    model_set_initiator_group(model, model_find_initiator_group(model, operation->name),
                              g_steal_pointer(&change->group),
                              g_steal_pointer(&change->saved_group));
    operation_record(operation);
    publish_group_users(operation);
}

static void
run_change(Operation *operation)
{
    const ModelInitiatorGroup *group =
        model_find_initiator_group(operation->service->model, operation->name);
    GError *error = NULL;

    if (!prepare_change(operation, group, &error))
        operation_fail(operation, error);
    else if (operation->options.dry_run)
        operation_finish(operation, NULL);
    else if (operation->keeps)
        operation_save(operation, MODEL_INITIATOR_GROUP, operation->name,
                       keyfile_format_initiator_group(operation->access->saved_group),
                       commit_change);
    else
        commit_change(operation);
}

void
service_change_initiator_group(Service *service, const char *name, const char *const *add,
                               const char *const *remove, const ChangeOptions *options,
                               ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = new_operation(service, name, run_change, options, done, user_data);

    operation->access->add = g_strdupv((char **)(gsize)add);
    operation->access->remove = g_strdupv((char **)(gsize)remove);
    operation_submit(operation, "ChangeInitiatorGroup", operation->name);
}

static const ModelTarget *
find_user(const Model *model, const char *name)
{
    for (guint i = 0; i < model->targets->len; i++) {
        const ModelTarget *target = g_ptr_array_index(model->targets, i);

        if (model_acl_uses_group(target, name))
            return target;
    }
    return NULL;
}

static gboolean
check_delete(Operation *operation, const ModelInitiatorGroup *group, GError **ret_error)
{
    const ModelTarget *user = find_user(operation->service->model, operation->name);

    if (group == NULL)
        return fail_no_group(operation->name, ret_error);
    if (user != NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_IN_USE,
                    "Target “%s” has an access rule for initiator group “%s”", user->spec->name,
                    operation->name);
        return FALSE;
    }
    return operation_check_saved_users(operation, MODEL_INITIATOR_GROUP, ret_error) &&
           operation_may_change(operation, group->origin, "The initiator group", ret_error);
}

static void
commit_delete(Operation *operation)
{
    Model *model = operation->service->model;
    ModelInitiatorGroup *group = model_find_initiator_group(model, operation->name);

    operation_reserve_if_kept(operation, MODEL_INITIATOR_GROUP, group->saved != NULL);
    model_remove_initiator_group(model, group);
    operation_record(operation);
    operation_finish(operation, NULL);
}

static void
run_delete(Operation *operation)
{
    const ModelInitiatorGroup *group =
        model_find_initiator_group(operation->service->model, operation->name);
    GError *error = NULL;

    if (!check_delete(operation, group, &error))
        operation_fail(operation, error);
    else if (operation->options.dry_run)
        operation_finish(operation, NULL);
    else if (operation->keeps)
        operation_save(operation, MODEL_INITIATOR_GROUP, operation->name, NULL, commit_delete);
    else
        commit_delete(operation);
}

void
service_delete_initiator_group(Service *service, const char *name, const ChangeOptions *options,
                               ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = new_operation(service, name, run_delete, options, done, user_data);

    operation_submit(operation, "DeleteInitiatorGroup", operation->name);
}

/*
 * Discovery and algorithms
 */

static void
finish_settings(Operation *operation)
{
    operation_finish(operation, NULL);
}

/* The end of an account is written when nobody gets in by it any more */
static void
on_settings_published(gpointer data)
{
    Operation *operation = data;

    if (operation == NULL)
        return;
    if (operation->access->drops_stored)
        secrets_save(operation, SECRETS_DISCOVERY, SECRETS_OWN, NULL, finish_settings);
    else
        operation_finish(operation, NULL);
}

static guint32
algorithm_mask(const char *text)
{
    g_auto(GStrv) words = acl_words_split(text);
    guint32 mask = 0;

    for (guint i = 0; words[i] != NULL; i++) {
        ChapAlgorithm algorithm;

        if (chap_algorithm_parse(words[i], &algorithm))
            mask |= 1u << algorithm;
    }
    return mask;
}

static void
publish_settings(Service *service, Operation *operation)
{
    const SettingsSpec *spec = service->model->settings;
    IscsiSecurity *security = iscsi_security_new();

    security->chap_algorithms = algorithm_mask(spec->chap_algorithms);
    security->discovery_wants_chap = strcmp(spec->discovery_authentication, "CHAP") == 0;
    if (security->discovery_wants_chap)
        security->discovery_credentials =
            credentials_ref(secrets_find(service, SECRETS_DISCOVERY, SECRETS_OWN));
    iscsi_service_set_security(service->iscsi, security, on_settings_published, operation);
}

void
settings_publish(Service *service)
{
    publish_settings(service, NULL);
}

static void
commit_settings(Operation *operation)
{
    Service *service = operation->service;
    AccessChange *change = operation->access;
    ModelOrigin origin = service->model->settings_origin;

    change->drops_stored = access_change_drops_stored(operation, SECRETS_DISCOVERY);
    model_set_settings(service->model, g_steal_pointer(&change->settings),
                       g_steal_pointer(&change->saved_settings), origin);
    access_change_commit(operation, SECRETS_DISCOVERY);
    secrets_describe(service);
    operation_record(operation);
    publish_settings(service, operation);
}

static void
save_settings(Operation *operation)
{
    if (operation->keeps)
        operation_save(operation, MODEL_SETTINGS, SETTINGS_NAME,
                       keyfile_format_settings(operation->access->saved_settings), commit_settings);
    else
        commit_settings(operation);
}

static gboolean
edit_settings(const Operation *operation, SettingsSpec *spec, GError **ret_error)
{
    const char *method = operation->access->method;

    if (method != NULL)
        return schema_set_text(schema_find_key(SCHEMA_SETTINGS, "DiscoveryAuthentication"), spec,
                               method, ret_error);
    if (operation->text == NULL)
        return TRUE;
    return schema_set_text(schema_find_key(SCHEMA_SETTINGS, "ChapAlgorithms"), spec,
                           operation->text, ret_error);
}

static gboolean
check_algorithms(const Operation *operation, GError **ret_error)
{
    guint32 available = iscsi_service_get_chap_algorithms(operation->service->iscsi);

    if (operation->text == NULL || (algorithm_mask(operation->text) & available) != 0)
        return TRUE;

    g_set_error_literal(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NOT_SUPPORTED,
                        "libcrypto has none of these algorithms here");
    return FALSE;
}

static gboolean
prepare_settings(Operation *operation, GError **ret_error)
{
    const Model *model = operation->service->model;
    AccessChange *change = operation->access;
    const char *reserved = model_find_reserved(model, MODEL_SETTINGS, SETTINGS_NAME);
    const SettingsSpec *saved =
        model->saved_settings != NULL ? model->saved_settings : model->settings;

    if (reserved != NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR,
                    "The settings cannot be written: %s", reserved);
        return FALSE;
    }
    change->settings = settings_spec_dup(model->settings);
    if ((operation->text == NULL &&
         !access_change_judge(operation, SECRETS_DISCOVERY, ret_error)) ||
        !edit_settings(operation, change->settings, ret_error) ||
        !check_algorithms(operation, ret_error) ||
        !operation_may_change(operation, model->settings_origin, "The service", ret_error))
        return FALSE;

    change->keeps_account = operation->keeps;
    change->saved_settings = operation->keeps ? settings_spec_dup(saved) : NULL;
    return !operation->keeps || edit_settings(operation, change->saved_settings, ret_error);
}

static void
run_settings(Operation *operation)
{
    const AccessChange *change = operation->access;
    GError *error = NULL;

    if (!prepare_settings(operation, &error))
        operation_fail(operation, error);
    else if (operation->options.dry_run)
        operation_finish(operation, NULL);
    else if (change->stored != NULL && change->keeps_account)
        secrets_save(operation, SECRETS_DISCOVERY, SECRETS_OWN, change->stored, save_settings);
    else
        save_settings(operation);
}

void
service_set_discovery_authentication(Service *service, const char *method,
                                     const ServiceAccount *account, const ChangeOptions *options,
                                     ServiceDoneFn done, gpointer user_data)
{
    AccessChange *change = access_change_new(SECRETS_OWN, method, account);

    settings_change_accounts(service, change, "SetDiscoveryAuthentication", options, done,
                             user_data);
}

void
settings_change_accounts(Service *service, AccessChange *change, const char *what,
                         const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = operation_new(service, options, run_settings, done, user_data);

    operation->access = change;
    operation_hold(operation, MODEL_SETTINGS, SETTINGS_NAME);
    operation_submit(operation, what, change->method);
}

void
service_set_chap_algorithms(Service *service, const char *algorithms, const ChangeOptions *options,
                            ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = operation_new(service, options, run_settings, done, user_data);

    operation->access = access_change_new(SECRETS_OWN, NULL, NULL);
    operation->text = g_strdup(algorithms);
    operation_hold(operation, MODEL_SETTINGS, SETTINGS_NAME);
    operation_submit(operation, "SetChapAlgorithms", algorithms);
}

/*
 * Reload
 */

static StoreEntry *
find_file(const GPtrArray *entries, ModelKind kind, const char *name)
{
    for (guint i = 0; i < entries->len; i++) {
        StoreEntry *entry = g_ptr_array_index(entries, i);

        if (entry->error == NULL && entry->object.kind == kind && strcmp(entry->name, name) == 0)
            return entry;
    }
    return NULL;
}

/* The targets that use a group are published with all others at the end of a reload */
static void
follow_group(Model *model, ModelInitiatorGroup *group, StoreEntry *entry)
{
    InitiatorGroupSpec *saved = entry->object.initiator_group;

    if (schema_is_equal(SCHEMA_INITIATOR_GROUP, group->saved, saved))
        return;

    entry->object.initiator_group = NULL;
    model_set_initiator_group(model, group, initiator_group_spec_dup(saved), saved);
}

void
initiator_groups_follow(Service *service, const GPtrArray *entries)
{
    Model *model = service->model;
    StoreEntry *settings = find_file(entries, MODEL_SETTINGS, SETTINGS_NAME);

    for (guint i = 0; i < model->initiator_groups->len; i++) {
        ModelInitiatorGroup *group = g_ptr_array_index(model->initiator_groups, i);
        StoreEntry *entry = find_file(entries, MODEL_INITIATOR_GROUP, group->spec->name);

        if (group->saved != NULL && entry != NULL)
            follow_group(model, group, entry);
    }

    if (model->saved_settings != NULL && settings != NULL &&
        !schema_is_equal(SCHEMA_SETTINGS, model->saved_settings, settings->object.settings)) {
        SettingsSpec *saved = g_steal_pointer(&settings->object.settings);

        model_set_settings(model, settings_spec_dup(saved), saved, settings->origin);
    } else if (model->saved_settings != NULL && settings == NULL) {
        g_clear_pointer(&model->saved_settings, settings_spec_free);
        model_set_settings(model, settings_spec_new(), NULL, MODEL_ORIGIN_STATE);
    }
}

void
initiator_groups_drop(Service *service, const GPtrArray *entries)
{
    Model *model = service->model;

    for (guint i = model->initiator_groups->len; i > 0; i--) {
        ModelInitiatorGroup *group = g_ptr_array_index(model->initiator_groups, i - 1);
        const char *name = group->spec->name;

        if (group->saved != NULL && find_file(entries, MODEL_INITIATOR_GROUP, name) == NULL &&
            find_user(model, name) == NULL)
            model_remove_initiator_group(model, group);
    }
}
