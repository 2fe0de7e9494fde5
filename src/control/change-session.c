/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Operations on sessions and connections: they change no configuration, so nothing is saved or counted */

#include "control/service-private.h"
#include "util/error.h"

static void
finish_nothing(Operation *operation)
{
    operation_finish(operation, NULL);
}

/* operation->number: the session; operation->id: the connection, if operation->flag */
static void
run_close(Operation *operation)
{
    Service *service = operation->service;
    guint16 tsih = (guint16)operation->number;
    ModelSession *session = model_find_session(service->model, tsih);

    if (session == NULL ||
        (operation->flag && model_find_connection(session, (guint16)operation->id) == NULL)) {
        operation_fail(operation, g_error_new(LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                                              "There is no such %s",
                                              operation->flag ? "connection" : "session"));
        return;
    }
    if (operation->options.dry_run) {
        operation_finish(operation, NULL);
        return;
    }

    /* The last one takes the session with it */
    if (operation->flag && session->connections->len > 1) {
        iscsi_service_close_connection(service->iscsi, tsih, (guint16)operation->id,
                                       "it was closed by the administrator");
        operation_wait_for_connection(operation, tsih, (guint16)operation->id, finish_nothing);
        return;
    }

    session->state = SESSION_CLOSING;
    model_changed(service->model, MODEL_SESSION, session);
    iscsi_service_close_session(service->iscsi, tsih, "it was ended by the administrator");
    operation_wait_for_session(operation, tsih, finish_nothing);
}

static Operation *
new_session_operation(Service *service, guint16 tsih, const ChangeOptions *options,
                      ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = operation_new(service, options, run_close, done, user_data);

    operation->number = tsih;
    operation_hold_number(operation, MODEL_SESSION, tsih);
    return operation;
}

void
service_terminate_session(Service *service, guint16 tsih, const ChangeOptions *options,
                          ServiceDoneFn done, gpointer user_data)
{
    operation_submit(new_session_operation(service, tsih, options, done, user_data),
                     "TerminateSession", NULL);
}

void
service_close_connection(Service *service, guint16 tsih, guint16 cid, const ChangeOptions *options,
                         ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = new_session_operation(service, tsih, options, done, user_data);

    operation->flag = TRUE;
    operation->id = cid;
    operation_submit(operation, "CloseConnection", NULL);
}
