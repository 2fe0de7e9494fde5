/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The iSCSI layer as the control thread sees it
 *
 * Everything here runs on the control thread and only sends: a connection to
 * the worker with the fewest, an order to all workers. The numbers that the
 * choice and the limits rest on are kept here and follow from what the workers
 * tell, so they are never read across threads.
 */

#include "iscsi/service.h"

#include <string.h>

#include "iscsi/server.h"
#include "util/fd.h"

#define DEFAULT_MAX_SESSIONS 4096
#define DEFAULT_MAX_LOGINS   256

struct IscsiService {
    IscsiServiceConfig config;
    Server *servers[WORKERS_MAX];
    guint n_connections[WORKERS_MAX];
    guint n_logins;
    guint next; /* worker that is looked at first, so that ties go round */
    gboolean is_stopping;
    gboolean is_stopped;
};

/* Broadcasts */

static Broadcast *
broadcast_new(IscsiService *service, OrderKind kind, void (*done)(Broadcast *broadcast))
{
    guint n = service->config.n_workers;
    Broadcast *broadcast = g_malloc0(sizeof(Broadcast) + n * sizeof(Order));

    broadcast->kind = kind;
    broadcast->done = done;
    broadcast->service = service;
    broadcast->control = service->config.control;
    broadcast->n_orders = n;
    return broadcast;
}

static void
broadcast_send(Broadcast *broadcast)
{
    broadcast->n_pending = broadcast->n_orders;
    for (guint i = 0; i < broadcast->n_orders; i++) {
        broadcast->orders[i].broadcast = broadcast;
        server_order(broadcast->service->servers[i], &broadcast->orders[i]);
    }
}

static void
broadcast_free(Broadcast *broadcast)
{
    for (guint i = 0; i < broadcast->n_orders; i++) {
        g_free(broadcast->orders[i].sessions);
        g_free(broadcast->orders[i].lus);
    }
    if (broadcast->target != NULL)
        snapshot_unref(&broadcast->target->snapshot);
    g_free(broadcast->name);
    g_free(broadcast->reason);
    g_free(broadcast->lus);
    g_strfreev(broadcast->lu_names);
    g_free(broadcast);
}

static void
on_done(Broadcast *broadcast)
{
    if (broadcast->done_fn != NULL)
        broadcast->done_fn(broadcast->user_data);
    broadcast_free(broadcast);
}

/* Life */

IscsiService *
iscsi_service_new(const IscsiServiceConfig *config)
{
    IscsiService *service = g_new0(IscsiService, 1);
    guint max_sessions = config->max_sessions != 0 ? config->max_sessions : DEFAULT_MAX_SESSIONS;

    g_assert(config->n_workers >= 1 && config->n_workers <= WORKERS_MAX);

    service->config = *config;
    if (service->config.max_logins == 0)
        service->config.max_logins = DEFAULT_MAX_LOGINS;

    for (guint i = 0; i < config->n_workers; i++) {
        service->servers[i] = server_new(config->workers[i], config, service);
        service->servers[i]->servers = service->servers;
        service->servers[i]->n_servers = config->n_workers;
    }
    service->servers[0]->registry = registry_new(&config->workers[0]->inbox, max_sessions);

    broadcast_send(broadcast_new(service, SERVER_START, on_done));
    return service;
}

static void
on_stopped(Broadcast *broadcast)
{
    broadcast->service->is_stopped = TRUE;
    on_done(broadcast);
}

void
iscsi_service_stop(IscsiService *service, IscsiDoneFn done, gpointer user_data)
{
    Broadcast *broadcast = broadcast_new(service, SERVER_STOP, on_stopped);

    g_assert(!service->is_stopping);

    service->is_stopping = TRUE;
    broadcast->done_fn = done;
    broadcast->user_data = user_data;
    broadcast_send(broadcast);
}

void
iscsi_service_free(IscsiService *service)
{
    if (service == NULL)
        return;

    g_assert(service->is_stopped);
    for (guint i = service->config.n_workers; i-- > 0;)
        server_free(service->servers[i]);
    g_free(service);
}

/* Connections */

static guint
least_loaded(IscsiService *service)
{
    guint n = service->config.n_workers;
    guint best = service->next % n;

    for (guint i = 1; i < n; i++) {
        guint j = (service->next + i) % n;

        if (service->n_connections[j] < service->n_connections[best])
            best = j;
    }
    service->next = best + 1;
    return best;
}

static void
refuse_connection(IscsiService *service, int fd, guint16 tag, guint32 portal_id)
{
    IscsiEvent event = {
        .type = ISCSI_EVENT_LOGIN_REFUSED,
        .status = LOGIN_STATUS_OUT_OF_RESOURCES,
        .reason = "too many logins in progress",
        .tag = tag,
        .portal_id = portal_id,
        .wall_time = g_get_real_time(),
    };

    (void)address_of_socket(fd, &event.local);
    (void)address_of_peer(fd, &event.remote);
    fd_close(&fd);
    if (!service->is_stopping && service->config.event_fn != NULL)
        service->config.event_fn(&event, service->config.user_data);
}

void
iscsi_service_add_connection(IscsiService *service, int fd, guint16 tag, guint32 portal_id)
{
    Placement *placement;
    guint i;

    if (service->is_stopping || service->n_logins >= service->config.max_logins) {
        refuse_connection(service, fd, tag, portal_id);
        return;
    }

    placement = g_new0(Placement, 1);
    placement->fd = fd;
    placement->tag = tag;
    placement->portal_id = portal_id;

    i = least_loaded(service);
    service->n_connections[i]++;
    service->n_logins++;
    server_place(service->servers[i], placement);
}

void
service_event(IscsiService *service, ServerEvent *event)
{
    guint i = event->server->worker->index;

    if (event->login_ended)
        service->n_logins--;
    if (event->connection_closed)
        service->n_connections[i]--;
    if (service->config.event_fn != NULL)
        service->config.event_fn(&event->event, service->config.user_data);
    if (event->close_target && !service->is_stopping)
        iscsi_service_close_sessions(service, event->event.target_name, "target cold reset");
}

/* Targets and sessions */

void
iscsi_service_set_target(IscsiService *service, IscsiTarget *target, IscsiDoneFn done,
                         gpointer user_data)
{
    Broadcast *broadcast = broadcast_new(service, SERVER_SET_TARGET, on_done);

    broadcast->target = target;
    broadcast->done_fn = done;
    broadcast->user_data = user_data;
    broadcast_send(broadcast);
}

void
iscsi_service_remove_target(IscsiService *service, const char *name, IscsiDoneFn done,
                            gpointer user_data)
{
    Broadcast *broadcast = broadcast_new(service, SERVER_REMOVE_TARGET, on_done);

    broadcast->name = g_strdup(name);
    broadcast->reason = g_strdup("the target was removed");
    broadcast->done_fn = done;
    broadcast->user_data = user_data;
    broadcast_send(broadcast);
}

void
iscsi_service_close_session(IscsiService *service, guint16 tsih, const char *reason)
{
    Broadcast *broadcast = broadcast_new(service, SERVER_CLOSE_SESSIONS, on_done);

    broadcast->tsih = tsih;
    broadcast->reason = g_strdup(reason);
    broadcast_send(broadcast);
}

void
iscsi_service_close_sessions(IscsiService *service, const char *target_name, const char *reason)
{
    Broadcast *broadcast = broadcast_new(service, SERVER_CLOSE_SESSIONS, on_done);

    broadcast->name = g_strdup(target_name);
    broadcast->reason = g_strdup(reason);
    broadcast_send(broadcast);
}

/* Statistics */

static void
add_lu(IscsiLuReport *sum, const IscsiLuReport *part)
{
    sum->lu.n_commands += part->lu.n_commands;
    sum->lu.n_reads += part->lu.n_reads;
    sum->lu.n_writes += part->lu.n_writes;
    sum->lu.bytes_read += part->lu.bytes_read;
    sum->lu.bytes_written += part->lu.bytes_written;
    sum->lu.n_errors += part->lu.n_errors;
    sum->lu.n_resets += part->lu.n_resets;
    sum->lu.n_aborts += part->lu.n_aborts;
    for (gsize i = 0; i < G_N_ELEMENTS(sum->lu.latency); i++)
        sum->lu.latency[i] += part->lu.latency[i];
    sum->store.n_reads += part->store.n_reads;
    sum->store.n_writes += part->store.n_writes;
    sum->store.n_flushes += part->store.n_flushes;
    sum->store.n_unmaps += part->store.n_unmaps;
    sum->store.bytes_read += part->store.bytes_read;
    sum->store.bytes_written += part->store.bytes_written;
    sum->store.n_errors += part->store.n_errors;
}

static void
on_statistics(Broadcast *broadcast)
{
    IscsiStatistics sum = { .n_lus = broadcast->n_lus, .n_logins = broadcast->service->n_logins };
    g_autofree IscsiLuReport *lus = g_new0(IscsiLuReport, broadcast->n_lus);
    g_autofree IscsiSessionReport *sessions = NULL;
    guint n = 0;

    for (guint i = 0; i < broadcast->n_orders; i++)
        n += broadcast->orders[i].n_sessions;
    sessions = g_new0(IscsiSessionReport, n);

    for (guint i = 0; i < broadcast->n_orders; i++) {
        const Order *order = &broadcast->orders[i];

        for (guint j = 0; j < order->n_sessions; j++)
            sessions[sum.n_sessions++] = order->sessions[j];
        for (guint j = 0; j < broadcast->n_lus; j++)
            add_lu(&lus[j], &order->lus[j]);
        sum.pool_size += order->pool.size;
        sum.pool_used += order->pool.used;
        sum.n_stalls += order->n_stalls;
    }
    for (guint j = 0; j < broadcast->n_lus; j++)
        lus[j].name = broadcast->lu_names[j];

    sum.sessions = sessions;
    sum.lus = lus;
    broadcast->statistics_fn(&sum, broadcast->user_data);
    on_done(broadcast);
}

void
iscsi_service_get_statistics(IscsiService *service, Lu *const *lus, guint n_lus,
                             IscsiStatisticsFn done, gpointer user_data)
{
    Broadcast *broadcast = broadcast_new(service, SERVER_STATISTICS, on_statistics);

    /* Names are copied: a unit may be gone when the answer is put together */
    broadcast->lus = g_new(Lu *, n_lus);
    broadcast->lu_names = g_new0(char *, n_lus + 1);
    broadcast->n_lus = n_lus;
    for (guint i = 0; i < n_lus; i++) {
        broadcast->lus[i] = lus[i];
        broadcast->lu_names[i] = g_strdup(lu_name(lus[i]));
    }
    broadcast->statistics_fn = done;
    broadcast->user_data = user_data;
    broadcast_send(broadcast);
}

void
iscsi_service_ping(IscsiService *service, IscsiDoneFn done, gpointer user_data)
{
    Broadcast *broadcast = broadcast_new(service, SERVER_PING, on_done);

    broadcast->done_fn = done;
    broadcast->user_data = user_data;
    broadcast_send(broadcast);
}
