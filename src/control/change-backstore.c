/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Operations on backstores
 *
 * Creating opens the storage first: what cannot be opened is not configured.
 * When the file cannot be written after that, the storage is closed again, and
 * a file that was made for it is removed, so that a failure leaves nothing.
 */

#include <string.h>

#include "control/service-private.h"
#include "model/schema.h"
#include "util/error.h"

static const char *const backstore_types[] = { "block", "file", "null", "ram", NULL };

const char *const *
service_get_backstore_types(void)
{
    return backstore_types;
}

static gboolean
check_free_name(const Model *model, const char *name, GError **ret_error)
{
    const char *reserved = model_find_reserved(model, MODEL_BACKSTORE, name);

    if (model_find_backstore(model, name) == NULL && reserved == NULL)
        return TRUE;

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_ALREADY_EXISTS,
                "There is a backstore “%s” already%s%s", name, reserved != NULL ? ": " : "",
                reserved != NULL ? reserved : "");
    return FALSE;
}

/* Name and type do not come through the schema */
static gboolean
check_identity_rows(BackstoreSpec *spec, GError **ret_error)
{
    g_autofree char *name = g_strdup(spec->name);
    g_autofree char *type = g_strdup(spec->type);

    return schema_set_text(schema_find_key(SCHEMA_BACKSTORE, "Name"), spec, name, ret_error) &&
           schema_set_text(schema_find_key(SCHEMA_BACKSTORE, "Type"), spec, type, ret_error);
}

/* A file that is made without a path lies in the service's own folder for disks */
static gboolean
choose_path(const Service *service, BackstoreSpec *spec, GError **ret_error)
{
    g_autofree char *leaf = g_strconcat(spec->name, ".img", NULL);
    g_autofree char *state_dir = NULL;

    if (!spec->create || spec->path[0] != '\0')
        return TRUE;
    if (service->config.state_dir == NULL) {
        g_set_error_literal(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                            "path is missing, and the service has no folder for disks");
        return FALSE;
    }

    state_dir = g_canonicalize_filename(service->config.state_dir, NULL);
    g_free(spec->path);
    spec->path = g_build_filename(state_dir, SERVICE_DISKS_DIR, leaf, NULL);
    return TRUE;
}

static gboolean
check_new_backstore(const Operation *operation, GError **ret_error)
{
    const Model *model = operation->service->model;
    BackstoreSpec *spec = operation->backstore_spec;

    if (!check_identity_rows(spec, ret_error) || !backstore_spec_check(spec, ret_error) ||
        !check_free_name(model, spec->name, ret_error) ||
        !choose_path(operation->service, spec, ret_error))
        return FALSE;
    if (model->backstores->len >= BACKSTORES_MAX) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_LIMIT_EXCEEDED,
                    "There are %u backstores already, which is the most", BACKSTORES_MAX);
        return FALSE;
    }
    if (spec->uuid[0] == '\0') {
        g_free(spec->uuid);
        spec->uuid = g_uuid_string_random();
    }
    return storage_check_identity(model, spec, ret_error);
}

static void
on_undone(gpointer data)
{
    Operation *operation = data;

    operation_finish(operation, NULL);
}

/* The storage was opened in vain; operation->error says why */
static void
undo_create(Operation *operation)
{
    const BackstoreSpec *spec = operation->backstore_spec;

    storage_close(operation->service->storage, operation->store, spec->create ? spec->path : NULL,
                  on_undone, operation);
}

/* What was about creation is over; the size of a file that was made is that of the file */
static void
settle_creation(BackstoreSpec *spec)
{
    spec->created = spec->create;
    if (spec->create)
        spec->size = 0;
    spec->create = FALSE;
}

static void
commit_create(Operation *operation)
{
    Service *service = operation->service;
    BackstoreSpec *spec = backstore_spec_dup(operation->backstore_spec);
    gboolean keeps = operation->options.persist;
    ModelBackstore *backstore;

    settle_creation(spec);

    backstore = model_add_backstore(service->model, spec, keeps ? backstore_spec_dup(spec) : NULL,
                                    keeps ? MODEL_ORIGIN_STATE : MODEL_ORIGIN_RUNTIME);
    storage_describe(backstore);
    if (operation->store != NULL)
        storage_attach(service->storage, backstore, operation->store, operation->allocated_size);
    else
        storage_set_empty(service->storage, backstore);
    operation_record(operation);
    operation_finish(operation, backstore);
}

static void
on_create_saved(const GError *error, gpointer data)
{
    Operation *operation = data;

    if (error != NULL) {
        operation->error = g_error_copy(error);
        operation_report_save_failure(error);
        undo_create(operation);
        return;
    }
    commit_create(operation);
}

/* The storage is open, or there is none to be opened */
static void
save_create(Operation *operation)
{
    g_autoptr(BackstoreSpec) spec = NULL;

    if (!operation->options.persist) {
        commit_create(operation);
        return;
    }

    spec = backstore_spec_dup(operation->backstore_spec);
    settle_creation(spec);
    store_save(operation->service->store, MODEL_BACKSTORE, spec->name,
               keyfile_format_backstore(spec), on_create_saved, operation);
}

static void
on_create_opened(Backstore *store, guint64 allocated_size, const GError *error, gpointer data)
{
    Operation *operation = data;

    if (store == NULL) {
        operation_fail(operation, g_error_copy(error));
        return;
    }

    operation->store = store;
    operation->allocated_size = allocated_size;
    /* Again: another one may have been made while this one was opened */
    if (!storage_check_identity(operation->service->model, operation->backstore_spec,
                                &operation->error)) {
        undo_create(operation);
        return;
    }
    save_create(operation);
}

static void
run_create(Operation *operation)
{
    GError *error = NULL;

    if (!check_new_backstore(operation, &error))
        operation_fail(operation, error);
    else if (operation->options.dry_run)
        operation_finish(operation, NULL);
    else if (backstore_spec_is_empty(operation->backstore_spec))
        save_create(operation);
    else
        storage_open(operation->service->storage, operation->backstore_spec, on_create_opened,
                     operation);
}

void
service_create_backstore(Service *service, const BackstoreSpec *spec, const ChangeOptions *options,
                         ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = operation_new(service, options, run_create, done, user_data);

    operation->backstore_spec = backstore_spec_dup(spec);
    operation_hold(operation, MODEL_BACKSTORE, spec->name);
    operation_submit(operation, "CreateBackstore", spec->name);
}

/* A file of the administrator may say anything */
static gboolean
owns_file(const ModelBackstore *backstore)
{
    return backstore->origin != MODEL_ORIGIN_CONFIG && backstore->spec->created &&
           strcmp(backstore->spec->type, "file") == 0;
}

static gboolean
check_delete(Operation *operation, const ModelBackstore *backstore, GError **ret_error)
{
    if (backstore->luns->len > 0) {
        const ModelLun *lun = g_ptr_array_index(backstore->luns, 0);

        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_IN_USE,
                    "Backstore “%s” is logical unit %u of target “%s”", operation->name,
                    lun->number, lun->target->spec->name);
        return FALSE;
    }
    if (operation->flag && !owns_file(backstore)) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "The service did not make the storage of backstore “%s” and does not delete it",
                    operation->name);
        return FALSE;
    }
    return operation_check_saved_users(operation, MODEL_BACKSTORE, ret_error) &&
           operation_may_change(operation, backstore->origin, "The backstore", ret_error);
}

static void
on_detached(gpointer data)
{
    operation_finish(data, NULL);
}

static void
commit_delete(Operation *operation)
{
    Service *service = operation->service;
    ModelBackstore *backstore = model_find_backstore(service->model, operation->name);
    g_autofree char *path = operation->flag ? g_strdup(backstore->spec->path) : NULL;

    operation_reserve_if_kept(operation, MODEL_BACKSTORE, backstore->saved != NULL);
    storage_detach(service->storage, backstore, path, on_detached, operation);
    model_remove_backstore(service->model, backstore);
    reservations_forget(service, operation->name);
    records_forget(service, operation->name);
    operation_record(operation);
}

static void
run_delete(Operation *operation)
{
    GError *error = NULL;
    const ModelBackstore *backstore = operation_find_backstore(operation, &error);

    if (backstore == NULL || !check_delete(operation, backstore, &error))
        operation_fail(operation, error);
    else if (operation->options.dry_run)
        operation_finish(operation, NULL);
    else if (operation->keeps)
        operation_save(operation, MODEL_BACKSTORE, operation->name, NULL, commit_delete);
    else
        commit_delete(operation);
}

void
service_delete_backstore(Service *service, const char *name, gboolean delete_file,
                         const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = operation_new(service, options, run_delete, done, user_data);

    operation->name = g_strdup(name);
    operation->flag = delete_file;
    /* Every target too: a change of one may still be on its way to the workers with the LU in it */
    operation_hold(operation, MODEL_BACKSTORE, name);
    operation_hold(operation, MODEL_TARGET, "*");
    operation_submit(operation, "DeleteBackstore", name);
}

/*
 * Offline and online
 */

static gboolean
check_set_offline(const Operation *operation, const ModelBackstore *backstore, GError **ret_error)
{
    if (operation->flag && strcmp(backstore->spec->type, "ram") == 0) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NOT_SUPPORTED,
                    "Backstore “%s” is memory, which would be lost when it is closed",
                    operation->name);
        return FALSE;
    }
    return TRUE;
}

static void
run_set_offline(Operation *operation)
{
    GError *error = NULL;
    ModelBackstore *backstore = operation_find_backstore(operation, &error);

    if (backstore == NULL || !check_set_offline(operation, backstore, &error)) {
        operation_fail(operation, error);
        return;
    }
    if (operation->options.dry_run) {
        operation_finish(operation, NULL);
        return;
    }

    operation_record(operation);
    if (operation->flag)
        storage_take_offline(operation, backstore);
    else
        storage_bring_online(operation, backstore);
}

void
service_set_backstore_offline(Service *service, const char *name, gboolean offline,
                              const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = operation_new(service, options, run_set_offline, done, user_data);

    operation->name = g_strdup(name);
    operation->flag = offline;
    operation_hold(operation, MODEL_BACKSTORE, name);
    operation_hold(operation, MODEL_TARGET, "*");
    operation_submit(operation, "SetOffline", name);
}
