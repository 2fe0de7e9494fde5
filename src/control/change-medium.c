/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Another medium in a removable unit
 *
 * A medium is a path. Loading opens the new one first, so that one which cannot
 * be used changes nothing; then initiators lose the old one, the configuration
 * is written, and they get the new one. Ejecting is the same with no new one.
 * Whatever fails on the way gives them the old one back.
 *
 * An initiator that prevents the removal is asked instead, by an event that it
 * fetches: a system that has the medium in use ejects it itself when it is done.
 */

#include <string.h>

#include "control/service-private.h"
#include "model/keyfile.h"
#include "model/schema.h"
#include "util/error.h"

static gboolean
check_change(Operation *operation, const ModelBackstore *backstore, GError **ret_error)
{
    if (!backstore_spec_can_change_medium(backstore->spec)) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NOT_SUPPORTED,
                    "Backstore “%s” is not a removable file or device", operation->name);
        return FALSE;
    }
    if (storage_is_offline(backstore)) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR,
                    "Backstore “%s” is offline", operation->name);
        return FALSE;
    }
    return operation_may_change(operation, backstore->origin, "The backstore", ret_error);
}

/* The medium of before is hidden from initiators: operation->after goes on */
static void
on_ejected(Lu *lu, LuEjectResult result, gpointer data)
{
    Operation *operation = data;

    (void)lu;
    switch (result) {
    case LU_EJECTED:
        operation->after(operation);
        return;
    case LU_EJECT_PREVENTED:
        g_set_error(
            &operation->error, LUNPORT_ERROR, LUNPORT_ERROR_BUSY,
            "An initiator prevents the removal of the medium of backstore “%s”; it has been "
            "asked to eject it, and force does not wait for that",
            operation->name);
        break;
    case LU_EJECT_ERASING:
        g_set_error(&operation->error, LUNPORT_ERROR, LUNPORT_ERROR_BUSY,
                    "The medium of backstore “%s” is being erased", operation->name);
        break;
    }
    operation->next(operation);
}

/* Take the medium from initiators, then @after; or @failed with operation->error */
static void
hide_medium(Operation *operation, OperationFn after, OperationFn failed)
{
    const ModelBackstore *backstore = operation_get_backstore(operation);

    operation->after = after;
    operation->next = failed;
    if (storage_get_store(backstore) == NULL)
        after(operation);
    else
        lu_eject(storage_get_lu(backstore), operation->flag, &operation->service->mailbox,
                 on_ejected, operation);
}

static void
set_path(BackstoreSpec *spec, const char *path)
{
    g_free(spec->path);
    spec->path = g_strdup(path);
    spec->created = FALSE; /* the file that the service made is out; this one is not its own */
    spec->size = 0;
}

/* What the model and the file say from now on */
static void
take_path(const Operation *operation, ModelBackstore *backstore)
{
    set_path(backstore->spec, operation->backstore_spec->path);
    if (operation->keeps && backstore->saved != NULL)
        set_path(backstore->saved, operation->backstore_spec->path);
}

static void
end(gpointer data)
{
    operation_finish(data, NULL);
}

static void
on_old_loaded(Lu *lu, gpointer data)
{
    Operation *operation = data;

    (void)lu;
    if (operation->store != NULL)
        storage_close(operation->service->storage, operation->store, NULL, end, operation);
    else
        end(operation);
}

/* operation->error says why. A medium that an initiator had ejected comes back too: it is not known
 * which of the two had come first. */
static void
give_back(Operation *operation)
{
    const ModelBackstore *backstore = operation_get_backstore(operation);

    if (storage_get_store(backstore) == NULL)
        on_old_loaded(NULL, operation);
    else
        lu_load(storage_get_lu(backstore), &operation->service->mailbox, on_old_loaded, operation);
}

static void
on_path_saved(const GError *error, gpointer data)
{
    Operation *operation = data;

    if (error == NULL) {
        operation->after(operation);
        return;
    }

    operation_report_save_failure(error);
    operation->error = g_error_copy(error);
    give_back(operation);
}

/* The medium of before is hidden; write the new path, then @commit */
static void
save_path(Operation *operation, OperationFn commit)
{
    const ModelBackstore *backstore = operation_get_backstore(operation);
    g_autoptr(BackstoreSpec) spec = NULL;

    operation->after = commit;
    if (!operation->keeps || backstore->saved == NULL) {
        commit(operation);
        return;
    }

    spec = backstore_spec_dup(backstore->saved);
    set_path(spec, operation->backstore_spec->path);
    store_save(operation->service->store, MODEL_BACKSTORE, operation->name,
               keyfile_format_backstore(spec), on_path_saved, operation);
}

/*
 * Load
 */

static void
close_new(Operation *operation)
{
    storage_close(operation->service->storage, operation->store, NULL, end, operation);
}

static void
commit_load(Operation *operation)
{
    ModelBackstore *backstore = operation_get_backstore(operation);

    take_path(operation, backstore);
    storage_load(operation->service->storage, backstore, operation->store,
                 operation->allocated_size);
    operation_record(operation);
    operation_finish(operation, NULL);
}

static void
save_load(Operation *operation)
{
    save_path(operation, commit_load);
}

static void
on_new_opened(Backstore *store, guint64 allocated_size, const GError *error, gpointer data)
{
    Operation *operation = data;

    if (store == NULL) {
        operation_fail(operation, g_error_copy(error));
        return;
    }

    operation->store = store;
    operation->allocated_size = allocated_size;
    /* Again: another backstore may have come meanwhile */
    if (storage_check_identity(operation->service->model, operation->backstore_spec,
                               &operation->error))
        hide_medium(operation, save_load, close_new);
    else
        close_new(operation);
}

static gboolean
prepare_load(Operation *operation, GError **ret_error)
{
    const ModelBackstore *backstore = operation_find_backstore(operation, ret_error);
    const SchemaOption *path = schema_find_key(SCHEMA_BACKSTORE, "Path");

    if (backstore == NULL || !check_change(operation, backstore, ret_error))
        return FALSE;

    operation->backstore_spec = backstore_spec_dup(backstore->spec);
    set_path(operation->backstore_spec, "");
    if (operation->text[0] == '\0') {
        g_set_error_literal(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                            "path is missing");
        return FALSE;
    }
    return schema_set_text(path, operation->backstore_spec, operation->text, ret_error) &&
           storage_check_identity(operation->service->model, operation->backstore_spec, ret_error);
}

static void
run_load(Operation *operation)
{
    GError *error = NULL;

    if (!prepare_load(operation, &error))
        operation_fail(operation, error);
    else if (operation->options.dry_run)
        operation_finish(operation, NULL);
    else
        storage_open(operation->service->storage, operation->backstore_spec, on_new_opened,
                     operation);
}

void
service_load_medium(Service *service, const char *name, const char *path, gboolean force,
                    const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = operation_new(service, options, run_load, done, user_data);

    operation->name = g_strdup(name);
    operation->text = g_strdup(path);
    operation->flag = force;
    operation_hold(operation, MODEL_BACKSTORE, name);
    operation_submit(operation, "LoadMedium", name);
}

/*
 * Eject
 */

static void
commit_eject(Operation *operation)
{
    ModelBackstore *backstore = operation_get_backstore(operation);

    take_path(operation, backstore);
    operation_record(operation);
    storage_eject(operation, backstore);
}

static void
end_failed(Operation *operation)
{
    operation_finish(operation, NULL);
}

static void
save_eject(Operation *operation)
{
    save_path(operation, commit_eject);
}

static void
run_eject(Operation *operation)
{
    GError *error = NULL;
    const ModelBackstore *backstore = operation_find_backstore(operation, &error);

    if (backstore == NULL || !check_change(operation, backstore, &error)) {
        operation_fail(operation, error);
        return;
    }
    if (operation->options.dry_run || backstore_spec_is_empty(backstore->spec)) {
        operation_finish(operation, NULL);
        return;
    }

    operation->backstore_spec = backstore_spec_dup(backstore->spec);
    set_path(operation->backstore_spec, "");
    hide_medium(operation, save_eject, end_failed);
}

void
service_eject_medium(Service *service, const char *name, gboolean force,
                     const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = operation_new(service, options, run_eject, done, user_data);

    operation->name = g_strdup(name);
    operation->flag = force;
    operation_hold(operation, MODEL_BACKSTORE, name);
    operation_hold(operation, MODEL_TARGET, "*");
    operation_submit(operation, "EjectMedium", name);
}
