/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Operations on portal groups and portals
 *
 * A portal is bound before it is saved: an address that cannot be listened on
 * is not configured. Every change of portals changes what targets announce, so
 * all targets are published before the operation ends.
 */

#include <string.h>

#include "control/service-private.h"
#include "model/schema.h"
#include "util/error.h"

static void
fail_no_portal(Operation *operation)
{
    operation_fail(operation, g_error_new_literal(LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                                                  "There is no such portal"));
}

static void
fail_no_group(Operation *operation)
{
    operation_fail(operation, g_error_new(LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                                          "There is no portal group %d", operation->number));
}

static void
on_published(gpointer data)
{
    Operation *operation = data;
    ModelPortal *portal = model_find_portal_by_id(operation->service->model, operation->id);

    operation_finish(operation, operation->id != 0 ? portal : NULL);
}

static void
on_group_published(gpointer data)
{
    Operation *operation = data;

    operation_finish(
        operation, model_find_portal_group(operation->service->model, (guint16)operation->number));
}

static Operation *
new_group_operation(Service *service, guint16 tag, const ChangeOptions *options, OperationFn run,
                    ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = operation_new(service, options, run, done, user_data);

    operation->number = tag;
    operation->name = g_strdup_printf("%u", tag);
    operation_hold(operation, MODEL_PORTAL_GROUP, operation->name);
    return operation;
}

/*
 * Groups
 */

static void
commit_create_group(Operation *operation)
{
    Service *service = operation->service;
    gboolean keeps = operation->options.persist;
    guint16 tag = (guint16)operation->number;

    (void)model_add_portal_group(service->model, portal_group_spec_new(tag),
                                 keeps ? portal_group_spec_new(tag) : NULL,
                                 keeps ? MODEL_ORIGIN_STATE : MODEL_ORIGIN_RUNTIME);
    operation_record(operation);
    publish_all(service, on_group_published, operation);
}

static gboolean
check_new_group(const Operation *operation, GError **ret_error)
{
    const Model *model = operation->service->model;
    const char *reserved = model_find_reserved(model, MODEL_PORTAL_GROUP, operation->name);

    if (operation->number == 0) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "Portal group tags go from 1 to 65535");
        return FALSE;
    }
    if (reserved != NULL || model_find_portal_group(model, (guint16)operation->number) != NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_ALREADY_EXISTS,
                    "There is a portal group %d already%s%s", operation->number,
                    reserved != NULL ? ": " : "", reserved != NULL ? reserved : "");
        return FALSE;
    }
    if (model->portal_groups->len >= PORTAL_GROUPS_MAX) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_LIMIT_EXCEEDED,
                    "There are %u portal groups already, which is the most", PORTAL_GROUPS_MAX);
        return FALSE;
    }
    return TRUE;
}

static void
run_create_group(Operation *operation)
{
    g_autoptr(PortalGroupSpec) spec = portal_group_spec_new((guint16)operation->number);
    GError *error = NULL;

    if (!check_new_group(operation, &error))
        operation_fail(operation, error);
    else if (operation->options.dry_run)
        operation_finish(operation, NULL);
    else if (operation->options.persist)
        operation_save(operation, MODEL_PORTAL_GROUP, operation->name,
                       keyfile_format_portal_group(spec), commit_create_group);
    else
        commit_create_group(operation);
}

void
service_create_portal_group(Service *service, guint16 tag, const ChangeOptions *options,
                            ServiceDoneFn done, gpointer user_data)
{
    Operation *operation =
        new_group_operation(service, tag, options, run_create_group, done, user_data);

    operation_submit(operation, "CreatePortalGroup", operation->name);
}

static gboolean
portal_is_ours(const ModelPortal *portal)
{
    return portal->origin != MODEL_ORIGIN_SOCKET_UNIT &&
           portal->origin != MODEL_ORIGIN_COMMAND_LINE;
}

static gboolean
fail_not_ours(const ModelPortal *portal, GError **ret_error)
{
    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_READ_ONLY_CONFIGURATION,
                "The portal %s port %u comes from %s and is deleted there", portal->address,
                portal->port,
                portal->origin == MODEL_ORIGIN_SOCKET_UNIT ? "the socket unit of systemd"
                                                           : "the command line of the service");
    return FALSE;
}

static gboolean
check_delete_group(Operation *operation, const ModelPortalGroup *group, GError **ret_error)
{
    const GPtrArray *targets = operation->service->model->targets;

    for (guint i = 0; i < group->portals->len; i++) {
        const ModelPortal *portal = g_ptr_array_index(group->portals, i);

        if (!portal_is_ours(portal))
            return fail_not_ours(portal, ret_error);
    }
    for (guint i = 0; i < targets->len; i++) {
        const ModelTarget *target = g_ptr_array_index(targets, i);

        if (strcmp(target->spec->portal_groups, "*") == 0 ||
            !target_spec_has_group(target->spec, group->spec->tag))
            continue;
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_IN_USE,
                    "Target “%s” is reached through portal group %u", target->spec->name,
                    group->spec->tag);
        return FALSE;
    }
    return operation_check_saved_users(operation, MODEL_PORTAL_GROUP, ret_error) &&
           operation_may_change(operation, group->origin, "The portal group", ret_error);
}

static void
commit_delete_group(Operation *operation)
{
    Service *service = operation->service;
    ModelPortalGroup *group = model_find_portal_group(service->model, (guint16)operation->number);

    operation_reserve_if_kept(operation, MODEL_PORTAL_GROUP, group->saved != NULL);
    for (guint i = 0; i < group->portals->len; i++)
        listener_close(g_ptr_array_index(group->portals, i));
    model_remove_portal_group(service->model, group);
    operation_record(operation);
    publish_all(service, on_group_published, operation);
}

static void
run_delete_group(Operation *operation)
{
    const ModelPortalGroup *group =
        model_find_portal_group(operation->service->model, (guint16)operation->number);
    GError *error = NULL;

    if (group == NULL)
        fail_no_group(operation);
    else if (!check_delete_group(operation, group, &error))
        operation_fail(operation, error);
    else if (operation->options.dry_run)
        operation_finish(operation, NULL);
    else if (operation->keeps)
        operation_save(operation, MODEL_PORTAL_GROUP, operation->name, NULL, commit_delete_group);
    else
        commit_delete_group(operation);
}

void
service_delete_portal_group(Service *service, guint16 tag, const ChangeOptions *options,
                            ServiceDoneFn done, gpointer user_data)
{
    Operation *operation =
        new_group_operation(service, tag, options, run_delete_group, done, user_data);

    operation_hold(operation, MODEL_TARGET, "*");
    operation_submit(operation, "DeletePortalGroup", operation->name);
}

/*
 * Portals
 */

static void
set_group_specs(ModelPortalGroup *group, PortalGroupSpec *spec, PortalGroupSpec *saved)
{
    portal_group_spec_free(group->spec);
    group->spec = spec;
    if (saved == NULL)
        return;

    portal_group_spec_free(group->saved);
    group->saved = saved;
}

static void
remove_from_spec(PortalGroupSpec *spec, const char *address, guint16 port)
{
    PortalSpec *portal = portal_group_spec_find(spec, address, port);

    if (portal != NULL)
        (void)g_ptr_array_remove(spec->portals, portal);
}

/* What the file of @group says, to be changed */
static PortalGroupSpec *
dup_saved(const ModelPortalGroup *group)
{
    return group->saved != NULL ? portal_group_spec_dup(group->saved)
                                : portal_group_spec_new(group->spec->tag);
}

static void
commit_add_portal(Operation *operation)
{
    Service *service = operation->service;
    ModelPortal *portal = model_find_portal_by_id(service->model, operation->id);
    PortalGroupSpec *spec = portal_group_spec_dup(portal->group->spec);

    g_ptr_array_add(spec->portals, portal_spec_dup(operation->portal_spec));
    set_group_specs(portal->group, spec, g_steal_pointer(&operation->group_spec));
    listener_accept(service, portal, TRUE);
    operation_record(operation);
    publish_all(service, on_published, operation);
}

static void
undo_add_portal(Operation *operation, GError *error)
{
    ModelPortal *portal = model_find_portal_by_id(operation->service->model, operation->id);

    listener_close(portal);
    model_remove_portal(operation->service->model, portal);
    operation_fail(operation, error);
}

static void
on_portal_saved(const GError *error, gpointer data)
{
    Operation *operation = data;

    if (error == NULL) {
        commit_add_portal(operation);
        return;
    }

    operation_report_save_failure(error);
    undo_add_portal(operation, g_error_copy(error));
}

static void
open_portal(Operation *operation, ModelPortalGroup *group)
{
    Service *service = operation->service;
    ModelPortal *portal = model_add_portal(service->model, group, operation->portal_spec,
                                           operation->keeps ? group->origin : MODEL_ORIGIN_RUNTIME);
    GError *error = NULL;

    operation->id = portal->id;
    if (!listener_open(service, portal, &error)) {
        undo_add_portal(operation, error);
        return;
    }
    operation->portal_spec->port = portal->port;
    if (!operation->keeps) {
        commit_add_portal(operation);
        return;
    }

    operation->group_spec = dup_saved(group);
    g_ptr_array_add(operation->group_spec->portals, portal_spec_dup(operation->portal_spec));
    store_save(service->store, MODEL_PORTAL_GROUP, operation->name,
               keyfile_format_portal_group(operation->group_spec), on_portal_saved, operation);
}

static gboolean
check_new_portal(Operation *operation, const ModelPortalGroup *group, GError **ret_error)
{
    PortalSpec *spec = operation->portal_spec;
    g_autofree char *address = g_strdup(spec->address);

    if (!schema_set_text(schema_find_key(SCHEMA_PORTAL, "Address"), spec, address, ret_error))
        return FALSE;
    if (model_find_portal(operation->service->model, spec->address, spec->port) != NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_ALREADY_EXISTS,
                    "There is a portal %s port %u already", spec->address, spec->port);
        return FALSE;
    }
    return operation_may_change(operation, group->origin, "The portal group", ret_error);
}

static void
run_add_portal(Operation *operation)
{
    ModelPortalGroup *group =
        model_find_portal_group(operation->service->model, (guint16)operation->number);
    GError *error = NULL;

    if (operation->portal_spec->port == 0)
        operation->portal_spec->port = ISCSI_PORT;
    if (group == NULL)
        fail_no_group(operation);
    else if (!check_new_portal(operation, group, &error))
        operation_fail(operation, error);
    else if (operation->options.dry_run)
        operation_finish(operation, NULL);
    else
        open_portal(operation, group);
}

void
service_add_portal(Service *service, guint16 tag, const PortalSpec *spec,
                   const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation =
        new_group_operation(service, tag, options, run_add_portal, done, user_data);

    operation->portal_spec = portal_spec_dup(spec);
    operation_submit(operation, "AddPortal", spec->address);
}

static Operation *
new_portal_operation(Service *service, guint32 id, const ChangeOptions *options, OperationFn run,
                     ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = operation_new(service, options, run, done, user_data);
    const ModelPortal *portal = model_find_portal_by_id(service->model, id);

    operation->id = id;
    if (portal != NULL) {
        operation->number = portal->group->spec->tag;
        operation->name = g_strdup_printf("%u", portal->group->spec->tag);
        operation_hold(operation, MODEL_PORTAL_GROUP, operation->name);
    }
    return operation;
}

static void
commit_delete_portal(Operation *operation)
{
    Service *service = operation->service;
    ModelPortal *portal = model_find_portal_by_id(service->model, operation->id);
    PortalGroupSpec *spec = portal_group_spec_dup(portal->group->spec);

    remove_from_spec(spec, portal->address, portal->port);
    set_group_specs(portal->group, spec, g_steal_pointer(&operation->group_spec));
    listener_close(portal);
    model_remove_portal(service->model, portal);
    operation->id = 0;
    operation_record(operation);
    publish_all(service, on_published, operation);
}

static void
run_delete_portal(Operation *operation)
{
    const ModelPortal *portal = model_find_portal_by_id(operation->service->model, operation->id);
    GError *error = NULL;

    if (portal == NULL) {
        fail_no_portal(operation);
        return;
    }
    if (!portal_is_ours(portal))
        (void)fail_not_ours(portal, &error);
    if (error != NULL || !operation_may_change(operation, portal->origin, "The portal", &error)) {
        operation_fail(operation, error);
    } else if (operation->options.dry_run) {
        operation_finish(operation, NULL);
    } else if (operation->keeps) {
        operation->group_spec = dup_saved(portal->group);
        remove_from_spec(operation->group_spec, portal->address, portal->port);
        operation_save(operation, MODEL_PORTAL_GROUP, operation->name,
                       keyfile_format_portal_group(operation->group_spec), commit_delete_portal);
    } else {
        commit_delete_portal(operation);
    }
}

void
service_delete_portal(Service *service, guint32 id, const ChangeOptions *options,
                      ServiceDoneFn done, gpointer user_data)
{
    operation_submit(new_portal_operation(service, id, options, run_delete_portal, done, user_data),
                     "DeletePortal", NULL);
}

/* operation->flag: accept */
static void
run_accept(Operation *operation)
{
    Service *service = operation->service;
    ModelPortal *portal = model_find_portal_by_id(service->model, operation->id);
    GError *error = NULL;

    if (portal == NULL) {
        fail_no_portal(operation);
        return;
    }
    if (operation->options.dry_run) {
        operation_finish(operation, NULL);
        return;
    }
    if (operation->flag && portal->runtime == NULL && !listener_open(service, portal, &error)) {
        operation_fail(operation, error);
        return;
    }

    listener_accept(service, portal, operation->flag);
    operation->id = 0;
    publish_all(service, on_published, operation);
}

void
service_pause_portal(Service *service, guint32 id, const ChangeOptions *options, ServiceDoneFn done,
                     gpointer user_data)
{
    operation_submit(new_portal_operation(service, id, options, run_accept, done, user_data),
                     "PausePortal", NULL);
}

void
service_resume_portal(Service *service, guint32 id, const ChangeOptions *options,
                      ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = new_portal_operation(service, id, options, run_accept, done, user_data);

    operation->flag = TRUE;
    operation_submit(operation, "ResumePortal", NULL);
}
