/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Configure: from key files to the model
 *
 * The store reads and judges files one by one; here they meet each other.
 * What contradicts something that was there before is a problem of its file
 * like a syntax error: it is reported, the name stays reserved so that nothing
 * can be made that would write over the file, and everything else goes on.
 * Objects are added in the order in which they refer to each other: portal
 * groups, backstores, targets; files of the administrator come before ours.
 */

#include <string.h>

#include "control/service-private.h"
#include "model/keyfile.h"
#include "util/error.h"
#include "util/log.h"

typedef struct {
    Service *service;
    IscsiDoneFn done;
    gpointer user_data;
} ConfigureLoad;

/* The order of adding */
static const ModelKind kinds[] = { MODEL_SETTINGS, MODEL_PORTAL_GROUP, MODEL_INITIATOR_GROUP,
                                   MODEL_BACKSTORE, MODEL_TARGET };

void
configure_report(const char *path, const char *reason)
{
    const LogField fields[] = { { "FILE", path }, { "REASON", reason }, { NULL, NULL } };

    log_event(EVENT_CONFIGURATION_ERROR, fields);
}

/* Where the place of a file does not tell what kind it would have been, the name is kept for all */
static void
reserve(Model *model, const StoreEntry *entry, const GError *error)
{
    g_autofree char *why = g_strdup_printf("the file “%s” has this name and cannot be used: %s",
                                           entry->path, error->message);

    configure_report(entry->path, error->message);
    if (entry->name == NULL)
        return;

    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (entry->object.kind == MODEL_SERVICE || entry->object.kind == kinds[i])
            model_reserve(model, kinds[i], entry->name, why);
    }
}

static gboolean
fail_exists(const char *name, GError **ret_error)
{
    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_ALREADY_EXISTS,
                "Another file defines “%s” already", name);
    return FALSE;
}

static gboolean
add_group(Model *model, StoreEntry *entry, GError **ret_error)
{
    PortalGroupSpec *spec = entry->object.portal_group;

    if (model_find_portal_group(model, spec->tag) != NULL)
        return fail_exists(entry->name, ret_error);

    entry->object.portal_group = NULL;
    (void)model_add_portal_group(model, portal_group_spec_dup(spec), spec, entry->origin);
    return TRUE;
}

static gboolean
add_backstore(Model *model, StoreEntry *entry, GError **ret_error)
{
    BackstoreSpec *spec = entry->object.backstore;

    if (model_find_backstore(model, spec->name) != NULL)
        return fail_exists(entry->name, ret_error);
    if (!storage_check_identity(model, spec, ret_error))
        return FALSE;

    entry->object.backstore = NULL;
    storage_describe(model_add_backstore(model, backstore_spec_dup(spec), spec, entry->origin));
    return TRUE;
}

static gboolean
check_relative_port(const Model *model, const TargetSpec *spec, GError **ret_error)
{
    for (guint i = 0; i < model->targets->len && spec->relative_port != 0; i++) {
        const ModelTarget *other = g_ptr_array_index(model->targets, i);

        if (other->spec->relative_port != spec->relative_port ||
            strcmp(other->spec->name, spec->name) == 0)
            continue;
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_ALREADY_EXISTS,
                    "RelativePort=%u is that of target “%s”", spec->relative_port,
                    other->spec->name);
        return FALSE;
    }
    return TRUE;
}

void
configure_report_missing(const Model *model, const StoreEntry *entry, const TargetSpec *spec)
{
    for (guint i = 0; i < spec->luns->len; i++) {
        const LunSpec *lun = g_ptr_array_index(spec->luns, i);
        g_autofree char *reason = NULL;

        if (model_find_backstore(model, lun->backstore) != NULL)
            continue;
        reason = g_strdup_printf("Logical unit %u is made of backstore “%s”, which does not exist",
                                 lun->number, lun->backstore);
        configure_report(entry->path, reason);
    }
    for (guint i = 0; i < spec->acls->len; i++) {
        const AclSpec *acl = g_ptr_array_index(spec->acls, i);
        g_autofree char *reason = NULL;

        if (acl->group[0] == '\0' || model_find_initiator_group(model, acl->group) != NULL)
            continue;
        reason = g_strdup_printf("An access rule is for initiator group “%s”, which does not exist",
                                 acl->group);
        configure_report(entry->path, reason);
    }
}

static gboolean
add_target(Model *model, StoreEntry *entry, GError **ret_error)
{
    TargetSpec *saved = entry->object.target;
    TargetSpec *spec;

    if (model_find_target(model, saved->name) != NULL)
        return fail_exists(entry->name, ret_error);
    if (!check_relative_port(model, saved, ret_error))
        return FALSE;

    entry->object.target = NULL;
    spec = target_spec_dup(saved);
    if (spec->relative_port == 0)
        spec->relative_port = model_make_relative_port(model, spec->name);
    configure_report_missing(model, entry, spec);
    (void)model_add_target(model, spec, saved, entry->origin);
    return TRUE;
}

static gboolean
add_initiator_group(Model *model, StoreEntry *entry, GError **ret_error)
{
    InitiatorGroupSpec *spec = entry->object.initiator_group;

    if (model_find_initiator_group(model, spec->name) != NULL)
        return fail_exists(entry->name, ret_error);

    entry->object.initiator_group = NULL;
    (void)model_add_initiator_group(model, initiator_group_spec_dup(spec), spec, entry->origin);
    return TRUE;
}

static gboolean
add_settings(Model *model, StoreEntry *entry, GError **ret_error)
{
    SettingsSpec *spec = entry->object.settings;

    if (model->saved_settings != NULL)
        return fail_exists(entry->name, ret_error);

    entry->object.settings = NULL;
    model_set_settings(model, settings_spec_dup(spec), spec, entry->origin);
    return TRUE;
}

static gboolean
add_entry(Model *model, StoreEntry *entry, GError **ret_error)
{
    if (entry->object.kind == MODEL_SETTINGS)
        return add_settings(model, entry, ret_error);
    if (entry->object.kind == MODEL_INITIATOR_GROUP)
        return add_initiator_group(model, entry, ret_error);
    if (entry->object.kind == MODEL_PORTAL_GROUP)
        return add_group(model, entry, ret_error);
    if (entry->object.kind == MODEL_BACKSTORE)
        return add_backstore(model, entry, ret_error);
    return add_target(model, entry, ret_error);
}

static gboolean
is_known(const Model *model, const StoreEntry *entry)
{
    if (entry->object.kind == MODEL_SETTINGS)
        return model->saved_settings != NULL;
    if (entry->object.kind == MODEL_INITIATOR_GROUP)
        return model_find_initiator_group(model, entry->name) != NULL;
    if (entry->object.kind == MODEL_PORTAL_GROUP)
        return model_find_portal_group(model, (guint16)g_ascii_strtoull(entry->name, NULL, 10)) !=
               NULL;
    if (entry->object.kind == MODEL_BACKSTORE)
        return model_find_backstore(model, entry->name) != NULL;
    return model_find_target(model, entry->name) != NULL;
}

void
configure_add(Model *model, const GPtrArray *entries, ModelKind kind, gboolean only_new)
{
    for (guint i = 0; i < entries->len; i++) {
        StoreEntry *entry = g_ptr_array_index(entries, i);
        g_autoptr(GError) error = NULL;

        if (entry->error != NULL || entry->object.kind != kind ||
            (only_new && is_known(model, entry)))
            continue;
        if (!add_entry(model, entry, &error))
            reserve(model, entry, error);
    }
}

static void
on_loaded(GPtrArray *entries, const GError *error, gpointer data)
{
    g_autofree ConfigureLoad *load = data;
    Service *service = load->service;

    if (error != NULL)
        configure_report(service->state_dir, error->message);
    for (guint i = 0; i < entries->len; i++) {
        const StoreEntry *entry = g_ptr_array_index(entries, i);

        if (entry->error != NULL)
            reserve(service->model, entry, entry->error);
    }
    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++)
        configure_add(service->model, entries, kinds[i], FALSE);

    load->done(load->user_data);
}

void
configure_load(Service *service, IscsiDoneFn done, gpointer user_data)
{
    ConfigureLoad *load = g_new0(ConfigureLoad, 1);

    *load = (ConfigureLoad){ .service = service, .done = done, .user_data = user_data };
    store_load(service->store, on_loaded, load);
}
