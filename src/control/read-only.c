/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * A backstore becomes read-only, or writable
 *
 * Its logical unit refuses writes from one message to the next, and says so
 * when those that were under way have ended. The store itself stays open as it
 * is: everything that writes passes the gates of the unit, and opening it anew
 * would take the disk from initiators for a moment. When it is opened the next
 * time, it is opened for reading only.
 *
 * A store that was opened so cannot become writable otherwise than by opening
 * it anew. Initiators are told that the unit is not ready meanwhile. When it
 * cannot be opened for writing it is opened as it was before.
 */

#include "control/service-private.h"
#include "util/error.h"

static void
end(Operation *operation)
{
    operation_finish(operation, NULL);
}

/* It is in effect */
static void
commit(Operation *operation)
{
    Service *service = operation->service;
    ModelBackstore *backstore = operation_get_backstore(operation);

    backstore->spec->read_only = operation->flag;
    backstore->read_only = operation->flag;
    model_changed(service->model, MODEL_BACKSTORE, backstore);
    publish_update_states(service);
    operation_record(operation);
    if (!operation->keeps || backstore->saved == NULL ||
        backstore->saved->read_only == operation->flag) {
        operation_finish(operation, NULL);
        return;
    }

    backstore->saved->read_only = operation->flag;
    operation_save(operation, MODEL_BACKSTORE, operation->name,
                   keyfile_format_backstore(backstore->saved), end);
}

static void
on_told(Lu *lu, gboolean success, gpointer data)
{
    Operation *operation = data;

    (void)lu;
    if (success)
        commit(operation);
    else
        operation_fail(operation, g_error_new(LUNPORT_ERROR, LUNPORT_ERROR_BUSY,
                                              "The medium of backstore “%s” is being erased",
                                              operation->name));
}

static void
on_reopened(Operation *operation)
{
    ModelBackstore *backstore = operation_get_backstore(operation);

    if (operation->error == NULL) {
        commit(operation);
        return;
    }

    backstore->spec->read_only = TRUE;
    operation_finish(operation, NULL);
    storage_retry(operation->service->storage);
}

static gboolean
check(Operation *operation, const ModelBackstore *backstore, GError **ret_error)
{
    g_autoptr(BackstoreSpec) spec = NULL;

    if (!operation->flag && backstore_spec_is_cdrom(backstore->spec)) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NOT_SUPPORTED,
                    "Backstore “%s” is a CD/DVD drive, which only reads", operation->name);
        return FALSE;
    }

    if (backstore_spec_is_cdrom(backstore->spec)) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NOT_SUPPORTED,
                    "Backstore “%s” is a CD/DVD drive, which is always read-only", operation->name);
        return FALSE;
    }

    /* Another one may use the same path while both only read it */
    spec = backstore_spec_dup(backstore->spec);
    spec->read_only = operation->flag;
    return backstore_spec_check(spec, ret_error) &&
           storage_check_identity(operation->service->model, spec, ret_error) &&
           operation_may_change(operation, backstore->origin, "The backstore", ret_error);
}

static void
change(Operation *operation, ModelBackstore *backstore)
{
    Service *service = operation->service;
    const Backstore *store = storage_get_store(backstore);

    if (store != NULL && !operation->flag && backstore_info(store)->read_only) {
        backstore->spec->read_only = FALSE;
        operation->after = on_reopened;
        storage_reopen(operation, backstore);
        return;
    }

    operation_release_last(operation);
    if (store != NULL)
        lu_set_read_only(storage_get_lu(backstore), operation->flag, &service->mailbox, on_told,
                         operation);
    else
        commit(operation);
}

static void
run_set_read_only(Operation *operation)
{
    GError *error = NULL;
    ModelBackstore *backstore = operation_find_backstore(operation, &error);

    if (backstore == NULL || !check(operation, backstore, &error))
        operation_fail(operation, error);
    else if (operation->options.dry_run)
        operation_finish(operation, NULL);
    else
        change(operation, backstore);
}

void
service_set_backstore_read_only(Service *service, const char *name, gboolean read_only,
                                const ChangeOptions *options, ServiceDoneFn done,
                                gpointer user_data)
{
    Operation *operation = operation_new(service, options, run_set_read_only, done, user_data);

    operation->name = g_strdup(name);
    operation->flag = read_only;
    operation_hold(operation, MODEL_BACKSTORE, name);
    operation_hold(operation, MODEL_TARGET, "*");
    operation_submit(operation, "SetReadOnly", name);
}
