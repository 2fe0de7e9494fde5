/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Operations: changes that take their time
 *
 * An operation names the objects it touches. It begins when no operation that
 * was asked for before holds one of them, so changes of one object happen one
 * after the other in the order of asking, and a store that takes a minute to
 * open holds up nobody else. All objects are taken at once and in the order of
 * asking, so there is no deadlock.
 *
 * From its beginning an operation goes from step to step by callbacks: check,
 * save, change the model, publish. It ends in operation_finish() or
 * operation_fail(), which tell the asker from an idle source: never from inside
 * the asking function, and after all that the last step still had to do.
 */

#include <string.h>
#include <unistd.h>

#include "control/service-private.h"
#include "util/error.h"
#include "util/log.h"

void
change_options_init(ChangeOptions *options)
{
    *options = (ChangeOptions){ .persist = TRUE, .caller_uid = (guint32)getuid() };
}

Operation *
operation_new(Service *service, const ChangeOptions *options, OperationFn run, ServiceDoneFn done,
              gpointer user_data)
{
    Operation *operation = g_new0(Operation, 1);

    list_init(&operation->link);
    operation->service = service;
    if (options != NULL)
        operation->options = *options;
    else
        change_options_init(&operation->options);
    operation->what = g_strdup(operation->options.operation);
    operation->run = run;
    operation->done = done;
    operation->user_data = user_data;
    return operation;
}

static void
operation_free(Operation *operation)
{
    list_unlink(&operation->link);
    for (guint i = 0; i < OPERATION_KEYS_MAX; i++)
        g_free(operation->keys[i]);
    g_free(operation->what);
    g_clear_error(&operation->error);
    g_free(operation->name);
    g_free(operation->text);
    g_clear_pointer(&operation->parameters, g_variant_unref);
    backstore_spec_free(operation->backstore_spec);
    target_spec_free(operation->target_spec);
    portal_spec_free(operation->portal_spec);
    target_spec_free(operation->new_spec);
    target_spec_free(operation->new_saved);
    portal_group_spec_free(operation->group_spec);
    settings_spec_free(operation->settings_spec);
    settings_spec_free(operation->settings_saved);
    access_change_free(operation->access);
    g_free(operation->wait_target);
    g_free(operation);
}

void
operation_hold(Operation *operation, ModelKind kind, const char *name)
{
    guint i = 0;

    while (operation->keys[i] != NULL) {
        i++;
        g_assert(i < OPERATION_KEYS_MAX);
    }
    operation->keys[i] = g_strdup_printf("%u/%s", (guint)kind, name);
}

void
operation_hold_number(Operation *operation, ModelKind kind, guint number)
{
    g_autofree char *name = g_strdup_printf("%u", number);

    operation_hold(operation, kind, name);
}

/* Equal, or one is every object of the kind of the other */
static gboolean
keys_conflict(const char *a, const char *b)
{
    gsize kind_size = strcspn(a, "/") + 1;

    if (strcmp(a, b) == 0)
        return TRUE;
    return strncmp(a, b, kind_size) == 0 &&
           (strcmp(a + kind_size, "*") == 0 || strcmp(b + kind_size, "*") == 0);
}

static gboolean
operations_conflict(const Operation *a, const Operation *b)
{
    for (guint i = 0; i < OPERATION_KEYS_MAX && a->keys[i] != NULL; i++) {
        for (guint j = 0; j < OPERATION_KEYS_MAX && b->keys[j] != NULL; j++) {
            if (keys_conflict(a->keys[i], b->keys[j]))
                return TRUE;
        }
    }
    return FALSE;
}

static gboolean
operation_is_free(const Operation *operation)
{
    list_foreach(i, &operation->service->operations) {
        const Operation *before = list_entry(i, Operation, link);

        if (before == operation)
            return TRUE;
        if (operations_conflict(before, operation))
            return FALSE;
    }
    return TRUE;
}

static gboolean
check_generation(const Operation *operation, GError **ret_error)
{
    const ChangeOptions *options = &operation->options;
    guint64 generation = operation->service->model->generation;

    if (!options->has_expected_generation || options->expected_generation == generation)
        return TRUE;

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_CONFLICT,
                "The configuration has changed meanwhile: its generation is %" G_GUINT64_FORMAT
                ", not %" G_GUINT64_FORMAT,
                generation, options->expected_generation);
    return FALSE;
}

static void
operation_begin(Operation *operation)
{
    g_autoptr(GError) error = NULL;

    operation->running = TRUE;
    if (operation->service->stopping && !operation->internal)
        g_set_error_literal(&error, LUNPORT_ERROR, LUNPORT_ERROR_SHUTTING_DOWN,
                            "The service is stopping");
    else
        (void)check_generation(operation, &error);

    if (error != NULL)
        operation_fail(operation, g_steal_pointer(&error));
    else
        operation->run(operation);
}

/* Begin what nothing holds up any more. Beginning may end an operation at once, so start over. */
static void
run_queue(Service *service)
{
    gboolean again = TRUE;

    while (again) {
        again = FALSE;
        list_foreach(i, &service->operations) {
            Operation *operation = list_entry(i, Operation, link);

            if (operation->running || !operation_is_free(operation))
                continue;
            operation_begin(operation);
            again = TRUE;
            break;
        }
    }
}

void
operation_submit(Operation *operation, const char *what, const char *name)
{
    Service *service = operation->service;

    if (operation->what == NULL)
        operation->what = g_strjoin(" ", what, name, NULL);
    operation->options.operation = operation->what;
    list_append(&service->operations, &operation->link);
    run_queue(service);
}

gboolean
operation_submit_now(Operation *operation, const char *what, const char *name)
{
    list_foreach(link, &operation->service->operations) {
        if (operations_conflict(list_entry(link, Operation, link), operation)) {
            operation_free(operation);
            return FALSE;
        }
    }

    operation_submit(operation, what, name);
    return TRUE;
}

static gboolean
on_released(gpointer data)
{
    run_queue(data);
    return G_SOURCE_REMOVE;
}

void
operation_release_last(Operation *operation)
{
    guint i = OPERATION_KEYS_MAX;

    while (i > 0 && operation->keys[i - 1] == NULL)
        i--;
    g_assert(i > 0);
    g_clear_pointer(&operation->keys[i - 1], g_free);

    /* Not from inside: the queue may be running just now */
    (void)g_idle_add_full(G_PRIORITY_DEFAULT, on_released, operation->service, NULL);
}

static gboolean
on_told(gpointer data)
{
    Operation *operation = data;
    Service *service = operation->service;

    /* Out of the list first: the asker may look at the state of the service or ask for more */
    list_unlink(&operation->link);
    if (operation->done != NULL)
        operation->done(operation->error == NULL ? operation->object : NULL, operation->error,
                        operation->user_data);
    operation_free(operation);
    run_queue(service);
    service_go_on_stopping(service);
    return G_SOURCE_REMOVE;
}

void
operation_finish(Operation *operation, gpointer object)
{
    g_assert(operation->idle_source == 0);

    operation->object = object;
    operation->idle_source = g_idle_add_full(G_PRIORITY_DEFAULT, on_told, operation, NULL);
}

void
operation_fail(Operation *operation, GError *error)
{
    g_assert(error != NULL);

    operation->error = error;
    operation_finish(operation, NULL);
}

void
operation_report_save_failure(const GError *error)
{
    const LogField fields[] = { { "REASON", error->message }, { NULL, NULL } };

    log_event(EVENT_SAVE_FAILED, fields);
}

/* What initiators can do again and again is not logged each time */
static gboolean
may_log(const Operation *operation)
{
    return !operation->of_initiator || peer_log_admit_unknown(operation->service->peer_log);
}

static void
on_saved(const GError *error, gpointer data)
{
    Operation *operation = data;

    if (error == NULL) {
        operation->next(operation);
        return;
    }

    if (may_log(operation))
        operation_report_save_failure(error);
    operation_fail(operation, g_error_copy(error));
}

void
operation_save(Operation *operation, ModelKind kind, const char *name, char *text, OperationFn next)
{
    operation->next = next;
    store_save(operation->service->store, kind, name, text, on_saved, operation);
}

void
operation_save_record(Operation *operation, StoreRecord record, const char *name, char *text,
                      OperationFn next)
{
    operation->next = next;
    store_save_record(operation->service->store, record, name, text, on_saved, operation);
}

void
operation_record(Operation *operation)
{
    g_autofree char *uid = g_strdup_printf("%u", operation->options.caller_uid);
    const LogField fields[] = { { "OPERATION", operation->options.operation },
                                { "CALLER_UID", uid },
                                { NULL, NULL } };

    model_bump_generation(operation->service->model);
    if (!operation->internal && may_log(operation))
        log_event(EVENT_CONFIGURATION_CHANGED, fields);
    systemd_update(operation->service->systemd);
}

ModelBackstore *
operation_find_backstore(const Operation *operation, GError **ret_error)
{
    ModelBackstore *backstore = model_find_backstore(operation->service->model, operation->name);

    if (backstore == NULL)
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                    "There is no backstore “%s”", operation->name);
    return backstore;
}

ModelBackstore *
operation_get_backstore(const Operation *operation)
{
    ModelBackstore *backstore = model_find_backstore(operation->service->model, operation->name);

    g_assert(backstore != NULL);
    return backstore;
}

gboolean
operation_may_change(Operation *operation, ModelOrigin origin, const char *what, GError **ret_error)
{
    if (origin == MODEL_ORIGIN_CONFIG && operation->options.persist) {
        g_set_error(
            ret_error, LUNPORT_ERROR, LUNPORT_ERROR_READ_ONLY_CONFIGURATION,
            "%s is defined in a file in the configuration directory; change that file and reload, "
            "or change it for this run only",
            what);
        return FALSE;
    }

    operation->keeps = operation->options.persist && origin == MODEL_ORIGIN_STATE;
    return TRUE;
}

gboolean
operation_check_saved_users(const Operation *operation, ModelKind kind, GError **ret_error)
{
    const TargetSpec *user;

    if (!operation->options.persist)
        return TRUE;

    user = model_find_saved_user(operation->service->model, kind, operation->name);
    if (user == NULL)
        return TRUE;

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_IN_USE,
                "The file of target “%s” refers to %s “%s”: what was changed for this run only "
                "is undone when the service starts again",
                user->name, model_kind_to_string(kind), operation->name);
    return FALSE;
}

void
operation_reserve_if_kept(Operation *operation, ModelKind kind, gboolean has_file)
{
    if (has_file && !operation->keeps)
        model_reserve(operation->service->model, kind, operation->name,
                      "it was deleted until the service starts again");
}

static gboolean
wait_is_over(const Operation *operation)
{
    const Model *model = operation->service->model;
    const ModelSession *session;
    const ModelTarget *target;

    if (operation->wait_tsih != 0) {
        session = model_find_session(model, operation->wait_tsih);
        return session == NULL || (operation->wait_is_connection &&
                                   model_find_connection(session, operation->wait_cid) == NULL);
    }
    if (operation->wait_target == NULL)
        return FALSE;

    target = model_find_target(model, operation->wait_target);
    return target == NULL || target->n_sessions == 0;
}

static gboolean
end_wait(Operation *operation)
{
    if (!wait_is_over(operation))
        return FALSE;

    operation->wait_tsih = 0;
    g_clear_pointer(&operation->wait_target, g_free);
    operation->next(operation);
    return TRUE;
}

void
operation_wait_for_session(Operation *operation, guint16 tsih, OperationFn next)
{
    operation->wait_tsih = tsih;
    operation->next = next;
    (void)end_wait(operation);
}

void
operation_wait_for_connection(Operation *operation, guint16 tsih, guint16 cid, OperationFn next)
{
    operation->wait_is_connection = TRUE;
    operation->wait_cid = cid;
    operation_wait_for_session(operation, tsih, next);
}

void
operation_wait_for_target(Operation *operation, const char *target_name, OperationFn next)
{
    operation->wait_target = g_strdup(target_name);
    operation->next = next;
    (void)end_wait(operation);
}

void
operation_check_waits(Service *service)
{
    gboolean again = TRUE;

    while (again) {
        again = FALSE;
        list_foreach(i, &service->operations) {
            Operation *operation = list_entry(i, Operation, link);

            if (!operation->running || operation->idle_source != 0)
                continue;
            again = end_wait(operation);
            if (again)
                break;
        }
    }
}

void
operation_fail_waiting(Service *service)
{
    list_foreach(i, &service->operations) {
        Operation *operation = list_entry(i, Operation, link);

        if (operation->running || operation->internal)
            continue;
        operation->running = TRUE;
        operation_fail(operation, g_error_new_literal(LUNPORT_ERROR, LUNPORT_ERROR_SHUTTING_DOWN,
                                                      "The service is stopping"));
    }
}

gboolean
operation_is_any_running(const Service *service)
{
    return !list_is_empty(&service->operations);
}
