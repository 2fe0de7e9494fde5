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

#include "iscsi/chap.h"
#include "iscsi/server.h"
#include "util/fd.h"

struct IscsiService {
    IscsiServiceConfig config;
    Server *servers[WORKERS_MAX];
    ChapDigests *digests; /* used by all workers */
    guint n_connections[WORKERS_MAX];
    guint n_logins;
    GHashTable *logins; /* address_format_source() to the number of logins in progress */
    IscsiLimits limits;
    guint next;           /* worker that is looked at first, so that ties go round */
    guint32 last_request; /* for logouts */
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
    if (broadcast->security != NULL)
        snapshot_unref(&broadcast->security->snapshot);
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

/* Logins in progress, by where they come from; of an address of neither family, as of the socket pairs of
 * tests, only how many there are in all */

static guint
count_logins(const IscsiService *service, const Address *remote)
{
    char source[ADDRESS_TEXT_MAX];

    if (!address_format_source(remote, source, sizeof(source)))
        return 0;
    return GPOINTER_TO_UINT(g_hash_table_lookup(service->logins, source));
}

static void
login_began(IscsiService *service, const Address *remote)
{
    char source[ADDRESS_TEXT_MAX];
    guint n;

    service->n_logins++;
    if (!address_format_source(remote, source, sizeof(source)))
        return;
    n = GPOINTER_TO_UINT(g_hash_table_lookup(service->logins, source));
    (void)g_hash_table_insert(service->logins, g_strdup(source), GUINT_TO_POINTER(n + 1));
}

static void
login_ended(IscsiService *service, const Address *remote)
{
    char source[ADDRESS_TEXT_MAX];
    guint n;

    service->n_logins--;
    if (!address_format_source(remote, source, sizeof(source)))
        return;
    n = GPOINTER_TO_UINT(g_hash_table_lookup(service->logins, source));
    g_assert(n > 0);
    if (n == 1)
        (void)g_hash_table_remove(service->logins, source);
    else
        (void)g_hash_table_insert(service->logins, g_strdup(source), GUINT_TO_POINTER(n - 1));
}

/* Limits */

static void
send_limits(IscsiService *service)
{
    Broadcast *broadcast = broadcast_new(service, SERVER_SET_LIMITS, on_done);

    broadcast->limits = service->limits;
    broadcast_send(broadcast);
}

void
iscsi_service_set_limits(IscsiService *service, const IscsiLimits *limits)
{
    service->limits = *limits;
    iscsi_limits_clamp(&service->limits);
    if (!service->is_stopping)
        send_limits(service);
}

guint
iscsi_service_n_connections(const IscsiService *service)
{
    guint n = 0;

    for (guint i = 0; i < service->config.n_workers; i++)
        n += service->n_connections[i];
    return n;
}

guint
iscsi_service_n_connections_of(const IscsiService *service, guint worker)
{
    g_assert(worker < service->config.n_workers);

    return service->n_connections[worker];
}

guint
iscsi_service_n_logins(const IscsiService *service)
{
    return service->n_logins;
}

/* Life */

IscsiService *
iscsi_service_new(const IscsiServiceConfig *config)
{
    IscsiService *service = g_new0(IscsiService, 1);

    g_assert(config->n_workers >= 1 && config->n_workers <= WORKERS_MAX);

    service->config = *config;
    service->config.limits = NULL;
    iscsi_limits_init(&service->limits);
    if (config->limits != NULL)
        service->limits = *config->limits;
    iscsi_limits_clamp(&service->limits);
    service->logins = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    service->digests = chap_digests_new();
    for (guint i = 0; i < config->n_workers; i++) {
        service->servers[i] = server_new(config->workers[i], config, service);
        service->servers[i]->servers = service->servers;
        service->servers[i]->n_servers = config->n_workers;
        service->servers[i]->policy.digests = service->digests;
    }
    service->servers[0]->registry =
        registry_new(&config->workers[0]->inbox, service->limits.max_sessions);

    broadcast_send(broadcast_new(service, SERVER_START, on_done));
    send_limits(service);
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
    chap_digests_free(service->digests);
    g_hash_table_unref(service->logins);
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
refuse_connection(IscsiService *service, int fd, guint16 tag, guint32 portal_id,
                  const Address *remote, IscsiLimit limit)
{
    IscsiEvent event = {
        .type = ISCSI_EVENT_LOGIN_REFUSED,
        .status = LOGIN_STATUS_OUT_OF_RESOURCES,
        .reason = limit == ISCSI_LIMIT_CONNECTIONS ? "too many connections"
                  : limit == ISCSI_LIMIT_LOGINS    ? "too many logins in progress"
                                                   : "too many logins in progress from its address",
        .limit = limit,
        .remote = *remote,
        .tag = tag,
        .portal_id = portal_id,
        .wall_time = g_get_real_time(),
    };

    (void)address_of_socket(fd, &event.local);
    fd_close(&fd);
    if (!service->is_stopping && service->config.event_fn != NULL)
        service->config.event_fn(&event, service->config.user_data);
}

/* Without a word to the peer: an answer to each would cost more than what is refused */
static IscsiLimit
limit_of_connection(const IscsiService *service, const Address *remote)
{
    const IscsiLimits *limits = &service->limits;

    if (iscsi_service_n_connections(service) >= limits->max_connections)
        return ISCSI_LIMIT_CONNECTIONS;
    if (service->n_logins >= limits->max_logins)
        return ISCSI_LIMIT_LOGINS;
    if (count_logins(service, remote) >= limits->max_logins_per_address)
        return ISCSI_LIMIT_LOGINS_PER_ADDRESS;
    return ISCSI_LIMIT_NONE;
}

void
iscsi_service_add_connection(IscsiService *service, int fd, guint16 tag, guint32 portal_id)
{
    IscsiLimit limit;
    Placement *placement;
    Address remote = { 0 };
    guint i;

    (void)address_of_peer(fd, &remote);
    limit = limit_of_connection(service, &remote);
    if (service->is_stopping || limit != ISCSI_LIMIT_NONE) {
        refuse_connection(service, fd, tag, portal_id, &remote, limit);
        return;
    }

    placement = g_new0(Placement, 1);
    placement->remote = remote;
    placement->fd = fd;
    placement->tag = tag;
    placement->portal_id = portal_id;

    i = least_loaded(service);
    service->n_connections[i]++;
    login_began(service, &remote);
    server_place(service->servers[i], placement);
}

void
service_event(IscsiService *service, ServerEvent *event)
{
    guint i = event->server->worker->index;

    if (event->login_ended)
        login_ended(service, &event->event.remote);
    if (event->taken_from != NULL) {
        service->n_connections[event->taken_from->worker->index]--;
        service->n_connections[i]++;
    }
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
iscsi_service_set_security(IscsiService *service, IscsiSecurity *security, IscsiDoneFn done,
                           gpointer user_data)
{
    Broadcast *broadcast = broadcast_new(service, SERVER_SET_SECURITY, on_done);

    broadcast->security = security;
    broadcast->done_fn = done;
    broadcast->user_data = user_data;
    broadcast_send(broadcast);
}

guint32
iscsi_service_get_chap_algorithms(const IscsiService *service)
{
    return chap_digests_mask(service->digests);
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
iscsi_service_close_connection(IscsiService *service, guint16 tsih, guint16 cid, const char *reason)
{
    Broadcast *broadcast = broadcast_new(service, SERVER_CLOSE_CONNECTION, on_done);

    broadcast->tsih = tsih;
    broadcast->cid = cid;
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

guint32
iscsi_service_request_logout(IscsiService *service, const char *target_name, guint16 tsih,
                             guint seconds, IscsiDoneFn done, gpointer user_data)
{
    Broadcast *broadcast = broadcast_new(service, SERVER_REQUEST_LOGOUT, on_done);

    if (++service->last_request == 0)
        service->last_request = 1;
    broadcast->request = service->last_request;
    broadcast->name = g_strdup(target_name);
    broadcast->tsih = tsih;
    broadcast->seconds = CLAMP(seconds, 1, ISCSI_LOGOUT_SECONDS_MAX);
    broadcast->done_fn = done;
    broadcast->user_data = user_data;
    broadcast_send(broadcast);
    return service->last_request;
}

void
iscsi_service_cancel_logout(IscsiService *service, guint32 request)
{
    Broadcast *broadcast = broadcast_new(service, SERVER_CANCEL_LOGOUT, on_done);

    broadcast->request = request;
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
