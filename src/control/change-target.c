/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Operations on targets
 *
 * All changes of a target but its deletion are edits: a small function that
 * changes a spec. It is applied to a copy of the effective spec and, when the
 * change is to be kept, to a copy of what the file says; the latter is saved,
 * then both replace the old ones and the target is published. So an earlier
 * change that was not to be kept never slips into the file with a later one.
 */

#include <string.h>

#include "control/secrets.h"
#include "control/service-private.h"
#include "model/schema.h"
#include "util/error.h"
#include "util/name.h"

static gboolean
fail_no_target(const char *name, GError **ret_error)
{
    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_TARGET, "There is no target “%s”",
                name);
    return FALSE;
}

gboolean
change_target_fail_busy(const ModelTarget *target, const char *cure, GError **ret_error)
{
    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_BUSY, "Target “%s” has %u session%s; %s",
                target->spec->name, target->n_sessions, target->n_sessions == 1 ? "" : "s", cure);
    return FALSE;
}

/* @name as objects are found by it; never NULL */
static char *
normalize(const char *name)
{
    char *normal = name_normalize_iscsi(name);

    return normal != NULL ? normal : g_utf8_make_valid(name, -1);
}

Operation *
change_target_operation_new(Service *service, const char *name, const ChangeOptions *options,
                            OperationFn run, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = operation_new(service, options, run, done, user_data);

    operation->name = normalize(name);
    operation_hold(operation, MODEL_TARGET, operation->name);
    return operation;
}

/*
 * Edits
 */

static gboolean
prepare_edit(Operation *operation, const ModelTarget *target, GError **ret_error)
{
    if (!operation_may_change(operation, target->origin, "The target", ret_error))
        return FALSE;

    operation->new_spec = target_spec_dup(target->spec);
    if (!operation->edit(operation, operation->new_spec, ret_error) ||
        !target_spec_check(operation->new_spec, ret_error))
        return FALSE;
    if (!operation->keeps)
        return TRUE;

    operation->new_saved = target_spec_dup(target->saved != NULL ? target->saved : target->spec);
    return operation->edit(operation, operation->new_saved, ret_error) &&
           target_spec_check(operation->new_saved, ret_error);
}

static void
on_edit_published(gpointer data)
{
    Operation *operation = data;

    if (operation->next != NULL)
        operation->next(operation);
    else
        operation_finish(operation, NULL);
}

static void
commit_edit(Operation *operation)
{
    Service *service = operation->service;
    ModelTarget *target = model_find_target(service->model, operation->name);

    model_set_target(service->model, target, g_steal_pointer(&operation->new_spec),
                     g_steal_pointer(&operation->new_saved));
    operation_record(operation);
    operation->next = operation->after;
    publish_target(service, target, on_edit_published, operation);
}

void
change_target(Operation *operation)
{
    ModelTarget *target = model_find_target(operation->service->model, operation->name);
    GError *error = NULL;

    if (target == NULL)
        (void)fail_no_target(operation->name, &error);
    if (error != NULL || !prepare_edit(operation, target, &error))
        operation_fail(operation, error);
    else if (operation->options.dry_run)
        operation_finish(operation, NULL);
    else if (operation->keeps)
        operation_save(operation, MODEL_TARGET, operation->name,
                       keyfile_format_target(operation->new_saved), commit_edit);
    else
        commit_edit(operation);
}

Operation *
change_target_new(Service *service, const char *name, const ChangeOptions *options,
                  TargetEditFn edit, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation =
        change_target_operation_new(service, name, options, change_target, done, user_data);

    operation->edit = edit;
    return operation;
}

static gboolean
edit_enable(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    spec->enabled = TRUE;
    return TRUE;
}

static void
after_enable(Operation *operation)
{
    logout_end_drain(operation->service, operation->name);
    operation_finish(operation, NULL);
}

void
service_enable_target(Service *service, const char *name, const ChangeOptions *options,
                      ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = change_target_new(service, name, options, edit_enable, done, user_data);

    operation->after = after_enable;
    operation_submit(operation, "EnableTarget", name);
}

static gboolean
edit_disable(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    const ModelTarget *target = model_find_target(operation->service->model, operation->name);

    if (target->n_sessions > 0 && !operation->flag)
        return change_target_fail_busy(target, "mode “abort” ends them", ret_error);

    spec->enabled = FALSE;
    return TRUE;
}

static void
finish_nothing(Operation *operation)
{
    operation_finish(operation, NULL);
}

/* No new session can come any more; those that exist must go */
static void
after_disable(Operation *operation)
{
    if (!operation->flag) {
        operation_finish(operation, NULL);
        return;
    }

    iscsi_service_close_sessions(operation->service->iscsi, operation->name,
                                 "the target was disabled by the administrator");
    operation_wait_for_target(operation, operation->name, finish_nothing);
}

void
service_disable_target(Service *service, const char *name, gboolean abort,
                       const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = change_target_new(service, name, options, edit_disable, done, user_data);

    operation->flag = abort;
    operation->after = after_disable;
    operation_submit(operation, "DisableTarget", name);
}

static gboolean
edit_alias(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    return schema_set_text(schema_find_key(SCHEMA_TARGET, "Alias"), spec, operation->text,
                           ret_error);
}

void
service_set_target_alias(Service *service, const char *name, const char *alias,
                         const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = change_target_new(service, name, options, edit_alias, done, user_data);

    operation->text = g_strdup(alias);
    operation_submit(operation, "SetTargetAlias", name);
}

static gboolean
edit_parameters(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    GVariantIter iter;
    const char *key;
    GVariant *value;

    g_variant_iter_init(&iter, operation->parameters);
    while (g_variant_iter_next(&iter, "{&sv}", &key, &value)) {
        g_autoptr(GVariant) owned = value;
        const SchemaOption *option = schema_find_key(SCHEMA_PARAMETER, key);

        if (option == NULL) {
            g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                        "There is no target parameter “%s”", key);
            return FALSE;
        }
        if (!schema_set_variant(option, &spec->parameters, owned, ret_error))
            return FALSE;
    }
    return TRUE;
}

void
service_set_target_parameters(Service *service, const char *name, GVariant *parameters,
                              const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation =
        change_target_new(service, name, options, edit_parameters, done, user_data);

    operation->parameters = g_variant_ref_sink(parameters);
    operation_submit(operation, "SetTargetParameters", name);
}

static gboolean
edit_access_mode(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    return schema_set_text(schema_find_key(SCHEMA_TARGET, "AccessMode"), spec, operation->text,
                           ret_error);
}

void
service_set_target_access_mode(Service *service, const char *name, const char *mode,
                               const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation =
        change_target_new(service, name, options, edit_access_mode, done, user_data);

    operation->text = g_strdup(mode);
    operation_submit(operation, "SetTargetAccessMode", name);
}

static gboolean
edit_add_group(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    guint16 tag = (guint16)operation->number;
    g_autofree guint16 *tags = NULL;
    g_autofree guint16 *more = NULL;
    guint n;

    if (model_find_portal_group(operation->service->model, tag) == NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                    "There is no portal group %u", tag);
        return FALSE;
    }
    if (target_spec_has_group(spec, tag)) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_ALREADY_EXISTS,
                    "The target is reached through portal group %u already", tag);
        return FALSE;
    }

    tags = target_spec_dup_groups(spec, &n);
    more = g_new0(guint16, n + 1);
    for (guint i = 0; i < n; i++)
        more[i] = tags[i];
    more[n] = tag;
    target_spec_set_groups(spec, more, n + 1);
    return TRUE;
}

void
service_add_target_portal_group(Service *service, const char *name, guint16 tag,
                                const ChangeOptions *options, ServiceDoneFn done,
                                gpointer user_data)
{
    Operation *operation =
        change_target_new(service, name, options, edit_add_group, done, user_data);

    operation->number = tag;
    operation_hold_number(operation, MODEL_PORTAL_GROUP, tag);
    operation_submit(operation, "AddTargetPortalGroup", name);
}

/* Every group becomes a list when one is taken out of it */
static guint16 *
list_groups(const Model *model, const TargetSpec *spec, guint *ret_n)
{
    guint16 *tags = target_spec_dup_groups(spec, ret_n);

    if (tags != NULL)
        return tags;

    *ret_n = model->portal_groups->len;
    tags = g_new0(guint16, *ret_n + 1);
    for (guint i = 0; i < *ret_n; i++) {
        const ModelPortalGroup *group = g_ptr_array_index(model->portal_groups, i);

        tags[i] = group->spec->tag;
    }
    return tags;
}

static gboolean
edit_remove_group(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    guint16 tag = (guint16)operation->number;
    g_autofree guint16 *tags = NULL;
    guint n;
    guint n_kept = 0;

    if (!target_spec_has_group(spec, tag)) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                    "The target is not reached through portal group %u", tag);
        return FALSE;
    }

    tags = list_groups(operation->service->model, spec, &n);
    for (guint i = 0; i < n; i++) {
        if (tags[i] != tag)
            tags[n_kept++] = tags[i];
    }
    target_spec_set_groups(spec, tags, n_kept);
    return TRUE;
}

void
service_remove_target_portal_group(Service *service, const char *name, guint16 tag,
                                   const ChangeOptions *options, ServiceDoneFn done,
                                   gpointer user_data)
{
    Operation *operation =
        change_target_new(service, name, options, edit_remove_group, done, user_data);

    operation->number = tag;
    operation_hold_number(operation, MODEL_PORTAL_GROUP, tag);
    operation_submit(operation, "RemoveTargetPortalGroup", name);
}

static gboolean
check_new_groups(const Model *model, const TargetSpec *spec, GError **ret_error)
{
    guint n;
    g_autofree guint16 *tags = target_spec_dup_groups(spec, &n);

    for (guint i = 0; i < n; i++) {
        if (model_find_portal_group(model, tags[i]) != NULL)
            continue;
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                    "There is no portal group %u", tags[i]);
        return FALSE;
    }
    return TRUE;
}

/* The groups come as the value of PortalGroups= */
static gboolean
edit_groups(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    return schema_set_text(schema_find_key(SCHEMA_TARGET, "PortalGroups"), spec, operation->text,
                           ret_error) &&
           check_new_groups(operation->service->model, spec, ret_error);
}

void
service_set_target_portal_groups(Service *service, const char *name, const guint16 *tags,
                                 guint n_tags, gboolean every, const ChangeOptions *options,
                                 ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = change_target_new(service, name, options, edit_groups, done, user_data);
    g_autoptr(GString) text = g_string_new(every ? "*" : NULL);

    for (guint i = 0; i < n_tags; i++)
        g_string_append_printf(text, "%s%u", i > 0 ? " " : "", tags[i]);
    operation->text = g_string_free(g_steal_pointer(&text), FALSE);
    operation_hold(operation, MODEL_PORTAL_GROUP, "*");
    operation_submit(operation, "SetTargetPortalGroups", name);
}

/*
 * Creating and deleting
 */

static gboolean
check_new_lun(const Model *model, const LunSpec *lun, gboolean persist, GError **ret_error)
{
    const ModelBackstore *backstore = model_find_backstore(model, lun->backstore);

    if (backstore == NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                    "There is no backstore “%s”", lun->backstore);
        return FALSE;
    }
    if (persist && !model_origin_is_persistent(backstore->origin)) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "Backstore “%s” is gone when the service stops", lun->backstore);
        return FALSE;
    }
    return TRUE;
}

static gboolean
check_new_target(const Operation *operation, GError **ret_error)
{
    const Model *model = operation->service->model;
    const TargetSpec *spec = operation->target_spec;
    const char *reserved = model_find_reserved(model, MODEL_TARGET, spec->name);

    if (!name_check_iscsi(spec->name, ret_error) || !target_spec_check(spec, ret_error) ||
        !check_new_groups(model, spec, ret_error))
        return FALSE;
    if (model_find_target(model, spec->name) != NULL || reserved != NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_ALREADY_EXISTS,
                    "There is a target “%s” already%s%s", spec->name, reserved != NULL ? ": " : "",
                    reserved != NULL ? reserved : "");
        return FALSE;
    }
    if (model->targets->len >= TARGETS_MAX) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_LIMIT_EXCEEDED,
                    "There are %u targets already, which is the most", TARGETS_MAX);
        return FALSE;
    }
    for (guint i = 0; i < spec->luns->len; i++) {
        if (!check_new_lun(model, g_ptr_array_index(spec->luns, i), operation->options.persist,
                           ret_error))
            return FALSE;
    }
    return TRUE;
}

static void
after_create(Operation *operation)
{
    operation_finish(operation, model_find_target(operation->service->model, operation->name));
}

static void
commit_create(Operation *operation)
{
    Service *service = operation->service;
    TargetSpec *spec = g_steal_pointer(&operation->target_spec);
    gboolean keeps = operation->options.persist;
    ModelTarget *target =
        model_add_target(service->model, spec, keeps ? target_spec_dup(spec) : NULL,
                         keeps ? MODEL_ORIGIN_STATE : MODEL_ORIGIN_RUNTIME);

    /* Of a target of this name that was here before */
    secrets_forget(service, spec->name, FALSE);
    operation_record(operation);
    operation->next = after_create;
    publish_target(service, target, on_edit_published, operation);
}

static void
run_create(Operation *operation)
{
    TargetSpec *spec = operation->target_spec;
    GError *error = NULL;

    if (!check_new_target(operation, &error)) {
        operation_fail(operation, error);
        return;
    }
    if (operation->options.dry_run) {
        operation_finish(operation, NULL);
        return;
    }

    spec->relative_port = model_make_relative_port(operation->service->model, spec->name);
    if (operation->options.persist)
        operation_save(operation, MODEL_TARGET, operation->name, keyfile_format_target(spec),
                       commit_create);
    else
        commit_create(operation);
}

void
service_create_target(Service *service, const TargetSpec *spec, const ChangeOptions *options,
                      ServiceDoneFn done, gpointer user_data)
{
    Operation *operation =
        change_target_operation_new(service, spec->name, options, run_create, done, user_data);

    operation->target_spec = target_spec_dup(spec);
    g_free(operation->target_spec->name);
    operation->target_spec->name = g_strdup(operation->name);
    /* What it refers to must stay until it is there */
    if (spec->luns->len > 0)
        operation_hold(operation, MODEL_BACKSTORE, "*");
    if (strcmp(spec->portal_groups, "*") != 0)
        operation_hold(operation, MODEL_PORTAL_GROUP, "*");
    operation_submit(operation, "CreateTarget", operation->name);
}

static gboolean
check_delete(Operation *operation, const ModelTarget *target, GError **ret_error)
{
    if (target == NULL)
        return fail_no_target(operation->name, ret_error);
    if (target->n_sessions > 0 && !operation->flag)
        return change_target_fail_busy(target, "use force to end them", ret_error);
    return operation_may_change(operation, target->origin, "The target", ret_error);
}

/* The workers have forgotten it */
static void
on_removed(gpointer data)
{
    Operation *operation = data;
    Model *model = operation->service->model;
    ModelTarget *target = model_find_target(model, operation->name);

    operation_reserve_if_kept(operation, MODEL_TARGET, target->saved != NULL);
    if (target->saved != NULL && !operation->keeps)
        model_put_aside(model, target->saved);
    secrets_forget(operation->service, operation->name, target->saved != NULL && !operation->keeps);
    model_remove_target(model, target);
    secrets_describe(operation->service);
    operation_record(operation);
    operation_finish(operation, NULL);
}

static void
commit_delete(Operation *operation)
{
    model_find_target(operation->service->model, operation->name)->is_leaving = TRUE;
    iscsi_service_remove_target(operation->service->iscsi, operation->name, on_removed, operation);
}

static void
run_delete(Operation *operation)
{
    const ModelTarget *target = model_find_target(operation->service->model, operation->name);
    GError *error = NULL;

    if (!check_delete(operation, target, &error))
        operation_fail(operation, error);
    else if (operation->options.dry_run)
        operation_finish(operation, NULL);
    else if (operation->keeps)
        operation_save(operation, MODEL_TARGET, operation->name, NULL, commit_delete);
    else
        commit_delete(operation);
}

void
service_delete_target(Service *service, const char *name, gboolean force,
                      const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation =
        change_target_operation_new(service, name, options, run_delete, done, user_data);

    operation->flag = force;
    operation_submit(operation, "DeleteTarget", name);
}
