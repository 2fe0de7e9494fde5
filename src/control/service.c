/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The service: making its parts, starting and stopping them
 *
 * Starting is a chain: load the files, listen, open the storage (for at most
 * so long: what is not open by then comes later), publish the targets, accept.
 * Stopping is the chain in reverse: end operations, stop accepting, end
 * sessions, take the logical units from the workers, close the storage. Each
 * link is a callback, so the main loop runs all the time and answers the bus.
 */

#include "control/service.h"

#include <glib-unix.h>

#include "control/isns-plan.h"
#include "control/isns.h"
#include "control/jobs.h"
#include "control/secrets.h"
#include "control/service-private.h"
#include "util/error.h"
#include "util/log.h"

#define WORKERS_DEFAULT_MAX 8
#define OFFLOAD_THREADS_MAX 32
#define OPEN_THREADS_MAX    8
#define PEER_ENTRIES        10 /* in the journal, of one address in a minute */
#define OPEN_WAIT_SECONDS   30 /* the start does not wait longer for storage */

typedef struct {
    ServiceDoneFn done;
    gpointer user_data;
} StopWaiter;

static gboolean
on_mail(gint fd, GIOCondition condition, gpointer data)
{
    Service *service = data;

    (void)mailbox_drain(&service->mailbox);
    return G_SOURCE_CONTINUE;
}

static gboolean
on_store(gint fd, GIOCondition condition, gpointer data)
{
    Service *service = data;

    store_dispatch(service->store);
    return G_SOURCE_CONTINUE;
}

static gboolean
start_workers(Service *service, GError **ret_error)
{
    const WorkerConfig config = { .pool_size = WORKER_POOL_SIZE,
                                  .pool_reserve = WORKER_POOL_RESERVE,
                                  .clock = &clock_system };
    guint wanted = service->config.n_workers;

    if (wanted == 0)
        wanted = MIN(g_get_num_processors(), WORKERS_DEFAULT_MAX);
    wanted = MIN(wanted, WORKERS_MAX);

    while (service->n_workers < wanted) {
        Worker *worker = worker_new(service->n_workers, &config, service->offload, ret_error);

        if (worker == NULL)
            return FALSE;
        service->workers[service->n_workers++] = worker;
    }
    for (guint i = 0; i < service->n_workers; i++)
        worker_start(service->workers[i]);
    return TRUE;
}

static void
make_data_plane(Service *service)
{
    const IscsiServiceConfig config = {
        .workers = service->workers,
        .n_workers = service->n_workers,
        .control = &service->mailbox,
        .event_fn = observe_event,
        .user_data = service,
    };

    service->iscsi = iscsi_service_new(&config);
}

/* When it cannot be made, creating a file there says why */
static void
make_disks_folder(const ServiceConfig *config)
{
    g_autofree char *path = NULL;

    if (config->state_dir == NULL)
        return;
    path = g_build_filename(config->state_dir, SERVICE_DISKS_DIR, NULL);
    (void)g_mkdir_with_parents(path, 0700);
}

static gboolean
service_init(Service *service, GError **ret_error)
{
    if (!mailbox_init(&service->mailbox, ret_error))
        return FALSE;

    service->mailbox_watch = g_unix_fd_add(service->mailbox.event_fd, G_IO_IN, on_mail, service);
    service->store = store_new(service->state_dir, service->config_dir, ret_error);
    if (service->store == NULL)
        return FALSE;

    make_disks_folder(&service->config);
    service->store_watch = g_unix_fd_add(store_get_fd(service->store), G_IO_IN, on_store, service);
    service->offload = offload_new(OFFLOAD_THREADS_MAX);
    service->opens = offload_new(OPEN_THREADS_MAX);
    if (!start_workers(service, ret_error))
        return FALSE;

    make_data_plane(service);
    return TRUE;
}

static char **
copy_strings(const char *const *strings)
{
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();

    for (guint i = 0; strings != NULL && strings[i] != NULL; i++)
        g_strv_builder_add(builder, strings[i]);
    return g_strv_builder_end(builder);
}

Service *
service_new(const ServiceConfig *config, GError **ret_error)
{
    Service *service = g_new0(Service, 1);

    service->config = *config;
    service->state_dir = g_strdup(config->state_dir);
    service->config_dir = g_strdup(config->config_dir);
    service->listen = copy_strings(config->listen);
    service->config.state_dir = service->state_dir;
    service->config.config_dir = service->config_dir;
    service->config.listen = NULL;
    list_init(&service->operations);
    service->mailbox.event_fd = -1;
    service->model = model_new();
    service->waiters = g_array_new(FALSE, FALSE, sizeof(StopWaiter));
    service->jobs = jobs_new(service);
    service->peer_log = peer_log_new(PEER_ENTRIES);
    service->limit_log = peer_log_new(1);
    service->systemd = systemd_new(service, config->use_systemd);
    reservations_init(service);
    records_init(service);
    service->secrets = secrets_new(config->credentials_dir);
    service->config.credentials_dir = NULL;
    service->storage = storage_new(service);
    if (!service_init(service, ret_error)) {
        service_free(service);
        return NULL;
    }
    return service;
}

static void
free_workers(Service *service)
{
    for (guint i = 0; i < service->n_workers; i++) {
        worker_stop(service->workers[i]);
        worker_free(service->workers[i]);
    }
}

void
service_free(Service *service)
{
    if (service == NULL)
        return;

    g_assert(list_is_empty(&service->operations));

    isns_free(service->isns);
    if (service->iscsi != NULL)
        iscsi_service_free(service->iscsi);
    free_workers(service);
    g_clear_pointer(&service->offload, offload_free);
    g_clear_pointer(&service->opens, offload_free);
    storage_free(service->storage);
    listener_stop_retry(service);
    g_clear_handle_id(&service->store_watch, g_source_remove);
    store_free(service->store);
    g_clear_handle_id(&service->mailbox_watch, g_source_remove);
    if (service->mailbox.event_fd >= 0)
        mailbox_deinit(&service->mailbox);
    systemd_free(service->systemd);
    g_clear_pointer(&service->reservations, g_hash_table_unref);
    records_deinit(service);
    secrets_free(service->secrets);
    jobs_free(service->jobs);
    peer_log_free(service->peer_log);
    g_free(service->isns_plan);
    peer_log_free(service->limit_log);
    memory_stop(service);
    model_free(service->model);
    g_array_unref(service->waiters);
    g_free(service->state_dir);
    g_free(service->config_dir);
    g_strfreev(service->listen);
    g_free(service);
}

Model *
service_get_model(Service *service)
{
    return service->model;
}

const char *const *
service_get_features(void)
{
    static const char *const features[] = { "discovery", "digests", "session-reinstatement",
                                            "unmap",     "chap",    "access-rules",
                                            "isns",      NULL };
    static const char *const without_isns[] = { "discovery", "digests", "session-reinstatement",
                                                "unmap",     "chap",    "access-rules",
                                                NULL };

    return isns_message_is_supported() ? features : without_isns;
}

/*
 * Start
 */

static void
for_each_portal(Service *service, void (*fn)(Service *service, ModelPortal *portal))
{
    for (guint i = 0; i < service->model->portal_groups->len; i++) {
        const ModelPortalGroup *group = g_ptr_array_index(service->model->portal_groups, i);

        for (guint j = 0; j < group->portals->len; j++)
            fn(service, g_ptr_array_index(group->portals, j));
    }
}

static void
open_portal(Service *service, ModelPortal *portal)
{
    if (portal->runtime == NULL)
        (void)listener_open(service, portal, NULL);
}

static void
accept_portal(Service *service, ModelPortal *portal)
{
    listener_accept(service, portal, TRUE);
}

static void
close_portal(Service *service, ModelPortal *portal)
{
    listener_accept(service, portal, FALSE);
    listener_close(portal);
}

static ModelPortalGroup *
get_default_group(Service *service)
{
    ModelPortalGroup *group = model_find_portal_group(service->model, DEFAULT_GROUP_TAG);

    if (group == NULL)
        group = model_add_portal_group(service->model, portal_group_spec_new(DEFAULT_GROUP_TAG),
                                       NULL, MODEL_ORIGIN_STATE);
    return group;
}

static gboolean
listen_on(Service *service, ModelPortalGroup *group, const char *text, GError **ret_error)
{
    g_autoptr(PortalSpec) spec = NULL;
    char host[ADDRESS_TEXT_MAX];
    Address address;

    if (!address_parse(text, ISCSI_PORT, &address, ret_error))
        return FALSE;

    address_format_host(&address, host, sizeof(host));
    spec = portal_spec_new(text[0] == '*' ? "*" : host, address_port(&address));
    return listener_open(service,
                         model_add_portal(service->model, group, spec, MODEL_ORIGIN_COMMAND_LINE),
                         ret_error);
}

/* All sockets listen from here on; connections wait until accepting begins */
static gboolean
start_listening(Service *service, GError **ret_error)
{
    ModelPortalGroup *group = get_default_group(service);
    char **listen = service->listen;
    g_autoptr(GError) error = NULL;

    if (service->config.use_sockets)
        (void)listener_take_sockets(service, group);
    for_each_portal(service, open_portal);
    for (guint i = 0; listen[i] != NULL; i++) {
        g_clear_error(&error);
        (void)listen_on(service, group, listen[i], &error);
    }

    if (listener_count(service) == 0 && error == NULL && service->config.use_default_portal)
        (void)listen_on(service, group, "*", &error);
    if (listener_count(service) > 0 || (error == NULL && !service->config.use_default_portal))
        return TRUE;

    if (error != NULL)
        g_propagate_error(ret_error, g_steal_pointer(&error));
    else
        g_set_error_literal(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_FAILED,
                            "No portal could be opened");
    return FALSE;
}

static void
report_started(const Service *service)
{
    g_autofree char *targets = g_strdup_printf("%u", service->model->targets->len);
    g_autofree char *portals = g_strdup_printf("%u", listener_count(service));
    const LogField fields[] = { { "TARGETS", targets }, { "PORTALS", portals }, { NULL, NULL } };

    log_event(EVENT_SERVICE_STARTED, fields);
}

static void
on_all_published(gpointer data)
{
    Operation *operation = data;
    Service *service = operation->service;

    if (!service->stopping) {
        service->started = TRUE;
        for_each_portal(service, accept_portal);
        model_set_state(service->model, MODEL_STATE_RUNNING);
        report_started(service);
        systemd_ready(service->systemd);
    }
    operation_finish(operation, NULL);
}

/* Storage is open, or has had its time: operation->id is the timer of the latter */
static void
on_storage_tried(gpointer data)
{
    Service *service = data;
    Operation *operation = g_steal_pointer(&service->start);

    if (operation == NULL)
        return;

    g_clear_handle_id(&operation->id, g_source_remove);
    /* What came open until now may have been published with the logical units of before */
    service->started = !service->stopping;
    publish_all(service, on_all_published, operation);
}

static gboolean
on_storage_timeout(gpointer data)
{
    Service *service = data;

    service->start->id = 0;
    on_storage_tried(service);
    return G_SOURCE_REMOVE;
}

static void
on_configured(gpointer data)
{
    Operation *operation = data;
    Service *service = operation->service;
    GError *error = NULL;

    if (service->stopping)
        g_set_error_literal(&error, LUNPORT_ERROR, LUNPORT_ERROR_SHUTTING_DOWN,
                            "The service is stopping");
    if (error != NULL || !start_listening(service, &error)) {
        operation_fail(operation, error);
        return;
    }

    secrets_describe(service);
    settings_publish(service);
    limits_apply(service);
    model_bump_generation(service->model);
    service->start = operation;
    operation->id = g_timeout_add_seconds(OPEN_WAIT_SECONDS, on_storage_timeout, service);
    storage_start(service->storage, on_storage_tried, service);
}

static void
run_start(Operation *operation)
{
    systemd_loading(operation->service->systemd);
    reservations_load(operation->service);
    records_load(operation->service);
    secrets_load(operation->service);
    configure_load(operation->service, on_configured, operation);
}

void
service_start(Service *service, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = operation_new(service, NULL, run_start, done, user_data);

    operation->internal = TRUE;
    /* Not backstores: they are opened meanwhile, by operations of their own */
    operation_hold(operation, MODEL_TARGET, "*");
    operation_hold(operation, MODEL_PORTAL_GROUP, "*");
    operation_hold(operation, MODEL_INITIATOR_GROUP, "*");
    operation_hold(operation, MODEL_SETTINGS, "*");
    operation_submit(operation, "Start", NULL);
}

void
service_reload(Service *service, const ChangeOptions *options, ServiceDoneFn done,
               gpointer user_data)
{
    Operation *operation = operation_new(service, options, reload_run, done, user_data);

    operation_hold(operation, MODEL_BACKSTORE, "*");
    operation_hold(operation, MODEL_TARGET, "*");
    operation_hold(operation, MODEL_PORTAL_GROUP, "*");
    operation_hold(operation, MODEL_INITIATOR_GROUP, "*");
    operation_hold(operation, MODEL_SETTINGS, "*");
    operation_submit(operation, "Reload", NULL);
}

/*
 * Stop
 */

static gboolean
on_stopped(gpointer data)
{
    Service *service = data;
    g_autoptr(GArray) waiters = g_steal_pointer(&service->waiters);

    service->waiters = g_array_new(FALSE, FALSE, sizeof(StopWaiter));
    for (guint i = 0; i < waiters->len; i++) {
        const StopWaiter *waiter = &g_array_index(waiters, StopWaiter, i);

        waiter->done(NULL, NULL, waiter->user_data);
    }
    return G_SOURCE_REMOVE;
}

static void
on_backstore_closed(gpointer data)
{
    Service *service = data;

    if (--service->n_closing > 0)
        return;

    service->stopped = TRUE;
    (void)g_idle_add_full(G_PRIORITY_DEFAULT, on_stopped, service, NULL);
}

static void
on_sessions_ended(gpointer data)
{
    Service *service = data;
    const GPtrArray *backstores = service->model->backstores;

    service->n_closing = backstores->len + 1;
    for (guint i = 0; i < backstores->len; i++)
        storage_detach(service->storage, g_ptr_array_index(backstores, i), NULL,
                       on_backstore_closed, service);
    storage_wait_left(service->storage, on_backstore_closed, service);
}

/* Who was asked to log out has gone, or was dropped */
static void
on_logged_out(gpointer data)
{
    Service *service = data;

    service->logout_request = 0;
    iscsi_service_stop(service->iscsi, on_sessions_ended, service);
}

void
service_go_on_stopping(Service *service)
{
    if (!service->stopping || service->closing || !list_is_empty(&service->operations))
        return;

    service->closing = TRUE;
    if (service->logout_seconds > 0 && service->model->sessions->len > 0)
        service->logout_request = iscsi_service_request_logout(
            service->iscsi, NULL, 0, service->logout_seconds, on_logged_out, service);
    else
        iscsi_service_stop(service->iscsi, on_sessions_ended, service);
}

/* It was to wait for initiators and is told to stop again: those that are left are dropped */
static void
cut_short(Service *service)
{
    service->logout_seconds = 0;
    if (service->logout_request != 0)
        iscsi_service_cancel_logout(service->iscsi, service->logout_request);
}

void
service_stop(Service *service, ServiceDoneFn done, gpointer user_data)
{
    service_stop_asking(service, 0, done, user_data);
}

void
service_stop_asking(Service *service, guint seconds, ServiceDoneFn done, gpointer user_data)
{
    const StopWaiter waiter = { .done = done, .user_data = user_data };

    g_array_append_val(service->waiters, waiter);
    if (service->stopped)
        (void)g_idle_add_full(G_PRIORITY_DEFAULT, on_stopped, service, NULL);
    if (service->stopping) {
        cut_short(service);
        return;
    }

    service->logout_seconds = MIN(seconds, SERVICE_LOGOUT_SECONDS_MAX);
    log_event(EVENT_SERVICE_STOPPING, NULL);
    service->stopping = TRUE;
    service->started = FALSE;
    systemd_stopping(service->systemd, service->logout_seconds);
    model_set_state(service->model, MODEL_STATE_STOPPING);
    storage_stop(service->storage);
    faults_stop(service);
    listener_stop_retry(service);
    if (service->isns != NULL)
        isns_stop(service->isns);
    for_each_portal(service, close_portal);
    operation_fail_waiting(service);
    service_go_on_stopping(service);
}
