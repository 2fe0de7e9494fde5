/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * A backstore gets another size
 *
 * At no time may an initiator use blocks that are not there. So a store that
 * grows does so first, and initiators are told after; one that shrinks is first
 * made smaller for initiators, and cut when nothing beyond its new end is under
 * way. When the second step fails the first is taken back.
 *
 * The size that a file or device has by itself is learned by the first step of
 * growing. If it turns out to have become smaller there is nothing left to cut,
 * and initiators are told only if that was allowed.
 *
 * In the configuration only a size that was written there changes: a file knows
 * its own.
 */

#include <string.h>

#include "control/service-private.h"
#include "util/error.h"

static gboolean
check_smaller(const Operation *operation, const ModelBackstore *backstore, guint64 size,
              GError **ret_error)
{
    if (operation->flag || size >= backstore->size)
        return TRUE;

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                "Backstore “%s” would shrink from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT
                " bytes and lose data; use allow-shrink if that is meant",
                backstore->spec->name, backstore->size, size);
    return FALSE;
}

static gboolean
check_resize(Operation *operation, const ModelBackstore *backstore, GError **ret_error)
{
    if (backstore->state != BACKSTORE_ONLINE || storage_get_store(backstore) == NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR,
                    "Backstore “%s” is not online", operation->name);
        return FALSE;
    }
    if (operation->size % backstore->block_size != 0 || operation->size > G_MAXINT64) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "The size of backstore “%s” must be a multiple of its block size %u below "
                    "8 EiB, not %" G_GUINT64_FORMAT,
                    operation->name, backstore->block_size, operation->size);
        return FALSE;
    }
    if (operation->size != 0 && !check_smaller(operation, backstore, operation->size, ret_error))
        return FALSE;
    return operation_may_change(operation, backstore->origin, "The backstore", ret_error);
}

/* What the configuration says from now on */
static guint64
get_spec_size(const Operation *operation, const BackstoreSpec *spec)
{
    gboolean is_own = strcmp(spec->type, "file") == 0 && spec->size == 0 && !spec->read_only;

    return operation->size == 0 || is_own ? 0 : operation->new_size;
}

static void
end(Operation *operation)
{
    operation_finish(operation, NULL);
}

/* It is in effect */
static void
commit(Operation *operation)
{
    ModelBackstore *backstore = operation_get_backstore(operation);
    guint64 spec_size = get_spec_size(operation, backstore->spec);
    gboolean differs = backstore->spec->size != spec_size;

    backstore->spec->size = spec_size;
    storage_set_size(operation->service->storage, backstore, operation->new_size);
    operation_record(operation);
    if (!differs || !operation->keeps || backstore->saved == NULL) {
        operation_finish(operation, NULL);
        return;
    }

    backstore->saved->size = spec_size;
    operation_save(operation, MODEL_BACKSTORE, operation->name,
                   keyfile_format_backstore(backstore->saved), end);
}

static void
fail_erasing(Operation *operation)
{
    operation_fail(operation,
                   g_error_new(LUNPORT_ERROR, LUNPORT_ERROR_BUSY,
                               "The medium of backstore “%s” is being erased", operation->name));
}

/*
 * Growing
 */

static void
on_grown_back(const GError *error, gpointer data)
{
    (void)error;
    fail_erasing(data);
}

static void
on_grown_told(Lu *lu, gboolean success, gpointer data)
{
    Operation *operation = data;
    const ModelBackstore *backstore = operation_get_backstore(operation);

    (void)lu;
    if (success)
        commit(operation);
    else if (operation->size != 0)
        storage_resize(operation->service->storage, backstore, backstore->size, on_grown_back,
                       operation);
    else
        fail_erasing(operation);
}

static void
on_grown(const GError *error, gpointer data)
{
    Operation *operation = data;
    Service *service = operation->service;
    const ModelBackstore *backstore = operation_get_backstore(operation);
    GError *smaller = NULL;

    if (error != NULL) {
        operation_fail(operation, g_error_copy(error));
        return;
    }

    operation->new_size = backstore_info(storage_get_store(backstore))->size;
    if (!check_smaller(operation, backstore, operation->new_size, &smaller))
        operation_fail(operation, smaller);
    else
        lu_set_size(storage_get_lu(backstore), operation->new_size, &service->mailbox,
                    on_grown_told, operation);
}

/*
 * Shrinking
 */

static void
on_cut_undone(Lu *lu, gboolean success, gpointer data)
{
    Operation *operation = data;

    (void)lu;
    (void)success; /* an erasing that has begun meanwhile covers what initiators see */
    operation_finish(operation, NULL);
}

static void
on_cut(const GError *error, gpointer data)
{
    Operation *operation = data;
    const ModelBackstore *backstore = operation_get_backstore(operation);

    if (error == NULL) {
        commit(operation);
        return;
    }

    operation->error = g_error_copy(error);
    lu_set_size(storage_get_lu(backstore), backstore->size, &operation->service->mailbox,
                on_cut_undone, operation);
}

static void
on_cut_told(Lu *lu, gboolean success, gpointer data)
{
    Operation *operation = data;

    (void)lu;
    if (success)
        storage_resize(operation->service->storage, operation_get_backstore(operation),
                       operation->new_size, on_cut, operation);
    else
        fail_erasing(operation);
}

static void
run_resize(Operation *operation)
{
    Service *service = operation->service;
    GError *error = NULL;
    const ModelBackstore *backstore = operation_find_backstore(operation, &error);

    if (backstore == NULL || !check_resize(operation, backstore, &error)) {
        operation_fail(operation, error);
    } else if (operation->options.dry_run) {
        operation_finish(operation, NULL);
    } else if (operation->size == 0 || operation->size >= backstore->size) {
        storage_resize(service->storage, backstore, operation->size, on_grown, operation);
    } else {
        operation->new_size = operation->size;
        lu_set_size(storage_get_lu(backstore), operation->size, &service->mailbox, on_cut_told,
                    operation);
    }
}

void
service_resize_backstore(Service *service, const char *name, guint64 size, gboolean allow_shrink,
                         const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = operation_new(service, options, run_resize, done, user_data);

    operation->name = g_strdup(name);
    operation->size = size;
    operation->flag = allow_shrink;
    operation_hold(operation, MODEL_BACKSTORE, name);
    operation_submit(operation, "ResizeBackstore", name);
}
