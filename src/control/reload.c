/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Reload: making the running service equal to the files
 *
 * All files are read first; when one cannot be used nothing is changed. Then
 * what is new is made, what changed is changed, and what has no file any more
 * is removed, in an order in which nothing is removed that something else
 * still refers to. Objects that were never in a file are left alone.
 *
 * Initiators are not cut off by a file that went away: a target that has
 * sessions stays, and so does what it is made of. A backstore whose file says
 * something else keeps running as it was opened. Both are reported, and take
 * effect when the service starts again.
 */

#include <string.h>

#include "control/secrets.h"
#include "control/service-private.h"
#include "model/keyfile.h"
#include "model/schema.h"
#include "util/error.h"

typedef struct Reload Reload;

struct Reload {
    Operation *operation;
    GPtrArray *entries;           /* of StoreEntry */
    guint n_left;                 /* removals under way */
    void (*next)(Reload *reload); /* when there are none any more */
};

/* One target on its way out */
typedef struct {
    Reload *reload;
    char *name;
} ReloadLeave;

static const GError *
find_problem(const GPtrArray *entries, const GError *error)
{
    const GError *first = error;

    for (guint i = 0; i < entries->len; i++) {
        const StoreEntry *entry = g_ptr_array_index(entries, i);

        if (entry->error == NULL)
            continue;
        configure_report(entry->path, entry->error->message);
        if (first == NULL)
            first = entry->error;
    }
    return first;
}

static StoreEntry *
find_entry(const Reload *reload, ModelKind kind, const char *name)
{
    for (guint i = 0; i < reload->entries->len; i++) {
        StoreEntry *entry = g_ptr_array_index(reload->entries, i);

        if (entry->object.kind == kind && strcmp(entry->name, name) == 0)
            return entry;
    }
    return NULL;
}

static StoreEntry *
find_group_entry(const Reload *reload, const ModelPortalGroup *group)
{
    g_autofree char *name = g_strdup_printf("%u", group->spec->tag);

    return find_entry(reload, MODEL_PORTAL_GROUP, name);
}

static void
report_stays(const char *name, const char *why)
{
    g_autofree char *reason =
        g_strdup_printf("%s; it stays as it is until the service starts again", why);

    configure_report(name, reason);
}

/*
 * Changes
 */

/* A portal that the file still has, with the same interface; else it is closed, and perhaps opened anew */
static gboolean
follow_portal(Service *service, ModelPortal *portal, const PortalSpec *spec)
{
    if (spec == NULL || strcmp(spec->interface, portal->interface) != 0)
        return FALSE;
    if (strcmp(spec->announce, portal->announce) == 0)
        return TRUE;

    g_free(portal->announce);
    portal->announce = g_strdup(spec->announce);
    model_changed(service->model, MODEL_PORTAL, portal);
    return TRUE;
}

static void
change_group(Service *service, ModelPortalGroup *group, StoreEntry *entry)
{
    PortalGroupSpec *saved = g_steal_pointer(&entry->object.portal_group);

    for (guint i = group->portals->len; i > 0; i--) {
        ModelPortal *portal = g_ptr_array_index(group->portals, i - 1);

        if (portal->origin != group->origin ||
            follow_portal(service, portal,
                          portal_group_spec_find(saved, portal->address, portal->port)))
            continue;
        listener_close(portal);
        model_remove_portal(service->model, portal);
    }
    for (guint i = 0; i < saved->portals->len; i++) {
        const PortalSpec *spec = g_ptr_array_index(saved->portals, i);

        if (model_find_portal(service->model, spec->address, spec->port) == NULL)
            (void)model_add_portal(service->model, group, spec, group->origin);
    }

    portal_group_spec_free(group->spec);
    portal_group_spec_free(group->saved);
    group->spec = portal_group_spec_dup(saved);
    group->saved = saved;
}

static void
change_groups(const Reload *reload)
{
    Service *service = reload->operation->service;

    for (guint i = 0; i < service->model->portal_groups->len; i++) {
        ModelPortalGroup *group = g_ptr_array_index(service->model->portal_groups, i);
        StoreEntry *entry = find_group_entry(reload, group);
        g_autofree char *before = NULL;
        g_autofree char *now = NULL;

        if (group->saved == NULL || entry == NULL)
            continue;
        before = keyfile_format_portal_group(group->saved);
        now = keyfile_format_portal_group(entry->object.portal_group);
        if (strcmp(before, now) != 0)
            change_group(service, group, entry);
    }
}

static void
check_backstores(const Reload *reload)
{
    const Model *model = reload->operation->service->model;

    for (guint i = 0; i < model->backstores->len; i++) {
        const ModelBackstore *backstore = g_ptr_array_index(model->backstores, i);
        const StoreEntry *entry = find_entry(reload, MODEL_BACKSTORE, backstore->spec->name);

        if (backstore->saved != NULL && entry != NULL &&
            !schema_is_equal(SCHEMA_BACKSTORE, backstore->saved, entry->object.backstore))
            report_stays(entry->path, "The file of an open backstore has changed");
    }
}

static void
change_target_spec(Service *service, ModelTarget *target, StoreEntry *entry)
{
    g_autofree char *before = keyfile_format_target(target->saved);
    g_autofree char *now = keyfile_format_target(entry->object.target);
    TargetSpec *spec;

    if (strcmp(before, now) == 0)
        return;

    spec = target_spec_dup(entry->object.target);
    spec->relative_port = target->spec->relative_port;
    configure_report_missing(service->model, entry, spec);
    model_set_target(service->model, target, spec, g_steal_pointer(&entry->object.target));
}

static void
change_targets(const Reload *reload)
{
    Service *service = reload->operation->service;

    for (guint i = 0; i < service->model->targets->len; i++) {
        ModelTarget *target = g_ptr_array_index(service->model->targets, i);
        StoreEntry *entry = find_entry(reload, MODEL_TARGET, target->spec->name);

        if (target->saved != NULL && entry != NULL)
            change_target_spec(service, target, entry);
    }
}

static void
open_new_portals(Service *service)
{
    for (guint i = 0; i < service->model->portal_groups->len; i++) {
        const ModelPortalGroup *group = g_ptr_array_index(service->model->portal_groups, i);

        for (guint j = 0; j < group->portals->len; j++) {
            ModelPortal *portal = g_ptr_array_index(group->portals, j);

            if (portal->runtime == NULL && listener_open(service, portal, NULL))
                listener_accept(service, portal, TRUE);
        }
    }
}

/*
 * Removals, from the end of the chain
 */

static void
finish(Reload *reload)
{
    Operation *operation = reload->operation;

    operation_record(operation);
    operation_finish(operation, NULL);
    g_ptr_array_unref(reload->entries);
    g_free(reload);
}

static void
count_down(gpointer data)
{
    Reload *reload = data;

    if (--reload->n_left == 0)
        reload->next(reload);
}

static gboolean
group_is_used(const Model *model, const ModelPortalGroup *group)
{
    for (guint i = 0; i < group->portals->len; i++) {
        const ModelPortal *portal = g_ptr_array_index(group->portals, i);

        if (portal->origin != group->origin)
            return TRUE;
    }
    for (guint i = 0; i < model->targets->len; i++) {
        const ModelTarget *target = g_ptr_array_index(model->targets, i);

        if (strcmp(target->spec->portal_groups, "*") != 0 &&
            target_spec_has_group(target->spec, group->spec->tag))
            return TRUE;
    }
    return FALSE;
}

static void
remove_groups(Reload *reload)
{
    Service *service = reload->operation->service;
    const GPtrArray *groups = service->model->portal_groups;

    for (guint i = groups->len; i > 0; i--) {
        ModelPortalGroup *group = g_ptr_array_index(groups, i - 1);

        if (group->saved == NULL || find_group_entry(reload, group) != NULL ||
            group_is_used(service->model, group))
            continue;
        for (guint j = 0; j < group->portals->len; j++)
            listener_close(g_ptr_array_index(group->portals, j));
        model_remove_portal_group(service->model, group);
    }
    initiator_groups_drop(service, reload->entries);

    reload->n_left = 1;
    reload->next = finish;
    publish_all(service, count_down, reload);
}

static void
remove_backstores(Reload *reload)
{
    Service *service = reload->operation->service;
    const GPtrArray *backstores = service->model->backstores;

    reload->n_left = 1;
    reload->next = remove_groups;
    for (guint i = backstores->len; i > 0; i--) {
        ModelBackstore *backstore = g_ptr_array_index(backstores, i - 1);
        const char *name = backstore->spec->name;

        if (backstore->saved == NULL || find_entry(reload, MODEL_BACKSTORE, name) != NULL)
            continue;
        if (backstore->luns->len > 0) {
            report_stays(name, "The file of a backstore that is in use has gone");
            continue;
        }
        reload->n_left++;
        storage_detach(service->storage, backstore, NULL, count_down, reload);
        model_remove_backstore(service->model, backstore);
    }
    count_down(reload);
}

static void
on_target_left(gpointer data)
{
    ReloadLeave *leave = data;
    Reload *reload = leave->reload;
    Model *model = reload->operation->service->model;

    model_remove_target(model, model_find_target(model, leave->name));
    g_free(leave->name);
    g_free(leave);
    count_down(reload);
}

static void
remove_targets(Reload *reload)
{
    Service *service = reload->operation->service;
    const GPtrArray *targets = service->model->targets;

    reload->n_left = 1;
    reload->next = remove_backstores;
    for (guint i = 0; i < targets->len; i++) {
        ModelTarget *target = g_ptr_array_index(targets, i);
        const char *name = target->spec->name;
        ReloadLeave *leave;

        if (target->saved == NULL || find_entry(reload, MODEL_TARGET, name) != NULL)
            continue;
        if (target->n_sessions > 0) {
            report_stays(name, "The file of a target that has sessions has gone");
            continue;
        }
        leave = g_new0(ReloadLeave, 1);
        leave->reload = reload;
        leave->name = g_strdup(name);
        reload->n_left++;
        target->is_leaving = TRUE;
        iscsi_service_remove_target(service->iscsi, name, on_target_left, leave);
    }
    count_down(reload);
}

static void
apply(Operation *operation, GPtrArray *entries)
{
    Service *service = operation->service;
    Reload *reload = g_new0(Reload, 1);

    reload->operation = operation;
    reload->entries = g_ptr_array_ref(entries);
    reload->n_left = 1;
    reload->next = remove_targets;

    model_unreserve_all(service->model);
    change_groups(reload);
    check_backstores(reload);
    initiator_groups_follow(service, entries);
    configure_add(service->model, entries, MODEL_SETTINGS, TRUE);
    configure_add(service->model, entries, MODEL_PORTAL_GROUP, TRUE);
    configure_add(service->model, entries, MODEL_INITIATOR_GROUP, TRUE);
    configure_add(service->model, entries, MODEL_BACKSTORE, TRUE);
    change_targets(reload);
    configure_add(service->model, entries, MODEL_TARGET, TRUE);
    secrets_seal(service);
    secrets_describe(service);
    settings_publish(service);
    limits_apply(service);
    open_new_portals(service);
    storage_retry(service->storage);
    publish_all(service, count_down, reload);
}

static void
on_loaded(GPtrArray *entries, const GError *error, gpointer data)
{
    Operation *operation = data;
    const GError *problem = find_problem(entries, error);

    if (problem != NULL)
        operation_fail(operation, g_error_new(LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                                              "Nothing was changed, a file cannot be used: %s",
                                              problem->message));
    else if (operation->options.dry_run)
        operation_finish(operation, NULL);
    else
        apply(operation, entries);
}

void
reload_run(Operation *operation)
{
    store_load(operation->service->store, on_loaded, operation);
}
