/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Operations on logical units
 *
 * Which there are and how they are shown are edits of their target (see
 * change-target.c). What concerns the unit behind one, such as reservations, is
 * asked of its home worker.
 */

#include "control/service-private.h"
#include "util/error.h"

static gboolean
fail_no_lun(const Operation *operation, GError **ret_error)
{
    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                "The target has no logical unit %d", operation->number);
    return FALSE;
}

static gboolean
check_lun_backstore(const Operation *operation, GError **ret_error)
{
    const ModelBackstore *backstore =
        model_find_backstore(operation->service->model, operation->text);

    if (backstore == NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                    "There is no backstore “%s”", operation->text);
        return FALSE;
    }
    if (operation->keeps && !model_origin_is_persistent(backstore->origin)) {
        g_set_error(
            ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
            "Backstore “%s” is gone when the service stops, so the logical unit cannot be kept; make "
            "it for this run only too",
            operation->text);
        return FALSE;
    }
    return TRUE;
}

static gint32
lowest_free_number(const Operation *operation, const TargetSpec *spec)
{
    const ModelTarget *target = model_find_target(operation->service->model, operation->name);
    gint32 number = 0;

    /* Free in the effective spec and in the file */
    while (number < 16384 && (target_spec_find_lun(spec, (guint16)number, NULL) != NULL ||
                              (target->saved != NULL &&
                               target_spec_find_lun(target->saved, (guint16)number, NULL) != NULL)))
        number++;
    return number;
}

static gboolean
edit_add_lun(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    LunSpec *lun;

    if (!check_lun_backstore(operation, ret_error))
        return FALSE;
    if (target_spec_find_lun(spec, (guint16)operation->number, NULL) != NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_ALREADY_EXISTS,
                    "The target has a logical unit %d already", operation->number);
        return FALSE;
    }

    lun = lun_spec_new((guint16)operation->number, operation->text);
    lun->read_only = operation->flag;
    target_spec_take_lun(spec, lun);
    return TRUE;
}

static void
run_add_lun(Operation *operation)
{
    const ModelTarget *target = model_find_target(operation->service->model, operation->name);

    if (target != NULL && operation->number < 0)
        operation->number = lowest_free_number(operation, target->spec);
    if (operation->number > 16383 || operation->number < -1)
        operation_fail(operation, g_error_new(LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                                              "Logical unit numbers go from 0 to 16383"));
    else
        change_target(operation);
}

static void
after_add_lun(Operation *operation)
{
    const ModelTarget *target = model_find_target(operation->service->model, operation->name);

    operation_finish(operation, model_find_lun(target, (guint16)operation->number));
}

void
service_add_lun(Service *service, const char *target_name, const char *backstore_name,
                gint32 number, gboolean read_only, const ChangeOptions *options, ServiceDoneFn done,
                gpointer user_data)
{
    Operation *operation =
        change_target_new(service, target_name, options, edit_add_lun, done, user_data);

    operation->run = run_add_lun;
    operation->after = after_add_lun;
    operation->text = g_strdup(backstore_name);
    operation->number = number;
    operation->flag = read_only;
    operation_hold(operation, MODEL_BACKSTORE, backstore_name);
    operation_submit(operation, "AddLun", target_name);
}

static gboolean
edit_delete_lun(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    const ModelTarget *target = model_find_target(operation->service->model, operation->name);

    if (model_find_lun(target, (guint16)operation->number) == NULL)
        return fail_no_lun(operation, ret_error);
    if (target->n_sessions > 0 && !operation->flag)
        return change_target_fail_busy(
            target, "use force to take the logical unit away nevertheless", ret_error);

    target_spec_remove_lun(spec, (guint16)operation->number);
    return TRUE;
}

void
service_delete_lun(Service *service, const char *target_name, guint16 number, gboolean force,
                   const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation =
        change_target_new(service, target_name, options, edit_delete_lun, done, user_data);

    operation->number = number;
    operation->flag = force;
    operation_submit(operation, "DeleteLun", target_name);
}

static gboolean
edit_read_only(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    LunSpec *lun = target_spec_find_lun(spec, (guint16)operation->number, NULL);

    if (lun == NULL)
        return fail_no_lun(operation, ret_error);

    lun->read_only = operation->flag;
    return TRUE;
}

void
service_set_lun_read_only(Service *service, const char *target_name, guint16 number,
                          gboolean read_only, const ChangeOptions *options, ServiceDoneFn done,
                          gpointer user_data)
{
    Operation *operation =
        change_target_new(service, target_name, options, edit_read_only, done, user_data);

    operation->number = number;
    operation->flag = read_only;
    operation_submit(operation, "SetReadOnly", target_name);
}

/*
 * What is done to a unit as it runs
 */

/* The unit of the operation's logical unit; NULL when it has none, or the operation has failed */
static Lu *
find_lu(Operation *operation, gboolean *ret_failed)
{
    const ModelTarget *target = model_find_target(operation->service->model, operation->name);
    const ModelLun *lun =
        target != NULL ? model_find_lun(target, (guint16)operation->number) : NULL;
    GError *error = NULL;

    *ret_failed = lun == NULL;
    if (lun == NULL) {
        (void)fail_no_lun(operation, &error);
        operation_fail(operation, error);
    }
    return lun != NULL && lun->backstore != NULL ? storage_get_lu(lun->backstore) : NULL;
}

/* The same where the operation changes it; NULL: the operation has ended */
static Lu *
find_lu_to_change(Operation *operation)
{
    gboolean failed;
    Lu *lu = find_lu(operation, &failed);

    if (lu != NULL && !operation->options.dry_run)
        return lu;

    if (!failed)
        operation_finish(operation, NULL);
    return NULL;
}

static GVariant *
list_registrations(const LuReservation *reservation)
{
    GVariantBuilder builder;

    g_variant_builder_init(&builder, G_VARIANT_TYPE("a(sqtb)"));
    for (guint i = 0; reservation != NULL && i < reservation->n_registrations; i++) {
        const LuRegistration *registration = &reservation->registrations[i];

        g_variant_builder_add(&builder, "(sqtb)", registration->initiator_port,
                              registration->relative_target_port, registration->key,
                              registration->is_holder);
    }
    return g_variant_ref_sink(g_variant_builder_end(&builder));
}

static void
on_registrations(Lu *lu, const LuReservation *reservation, gpointer data)
{
    Operation *operation = data;

    operation->parameters = list_registrations(reservation);
    operation_finish(operation, operation->parameters);
}

static void
run_list_registrations(Operation *operation)
{
    gboolean failed;
    Lu *lu = find_lu(operation, &failed);

    if (lu != NULL)
        lu_get_reservation(lu, &operation->service->mailbox, on_registrations, operation);
    else if (!failed)
        on_registrations(NULL, NULL, operation);
}

void
service_list_registrations(Service *service, const char *target_name, guint16 number,
                           const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = change_target_operation_new(service, target_name, options,
                                                       run_list_registrations, done, user_data);

    operation->number = number;
    operation_submit(operation, "ListRegistrations", target_name);
}

static void
on_reservations_cleared(Lu *lu, gboolean success, gpointer data)
{
    Operation *operation = data;

    if (success) {
        operation_record(operation);
        operation_finish(operation, NULL);
    } else {
        operation_fail(operation,
                       g_error_new_literal(LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR,
                                           "The reservations could not be removed from the disk"));
    }
}

static void
run_clear_reservations(Operation *operation)
{
    Lu *lu = find_lu_to_change(operation);

    if (lu != NULL)
        lu_clear_reservations(lu, &operation->service->mailbox, on_reservations_cleared, operation);
}

void
service_clear_reservations(Service *service, const char *target_name, guint16 number,
                           const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = change_target_operation_new(service, target_name, options,
                                                       run_clear_reservations, done, user_data);

    operation->number = number;
    operation_submit(operation, "ClearReservations", target_name);
}

static void
on_reset(Lu *lu, gpointer data)
{
    operation_finish(data, NULL);
}

static void
run_reset(Operation *operation)
{
    Lu *lu = find_lu_to_change(operation);

    if (lu != NULL)
        lu_reset(lu, &operation->service->mailbox, on_reset, operation);
}

void
service_reset_lun(Service *service, const char *target_name, guint16 number,
                  const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation =
        change_target_operation_new(service, target_name, options, run_reset, done, user_data);

    operation->number = number;
    operation_submit(operation, "ResetLun", target_name);
}
