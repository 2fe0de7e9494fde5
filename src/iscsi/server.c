/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Server
 *
 * Executes the orders of the control thread on one worker and tells it what
 * happens there. The one idea: every order is answered, some when it has been
 * carried out, some (stop, remove a target) when the last thing that stands in
 * the way is gone. Whoever ends such a thing calls server_check_orders().
 *
 * Events travel to the control thread and come back to be freed, so the server
 * knows how many are on their way. A peer can cause some kinds at will; these
 * are left out while too many are under way, which bounds their memory.
 *
 * Connections and sessions that have ended are freed at the end of the turn.
 */

#include "iscsi/server.h"

#include <string.h>
#include <sys/mman.h>

#include "iscsi/drain.h"
#include "iscsi/pressure.h"
#include "iscsi/reach.h"
#include "util/fd.h"

/* However little memory all may use, a worker has this: a few commands of any size get on */
#define POOL_MIN (8 * POOL_BUFFER_MAX)

/* Events under way above which those that a peer can cause are left out */
#define EVENTS_MAX 512

/* What a session runs into again and again is told so often */
#define LIMIT_INTERVAL (10 * USEC_PER_SEC)

void *
server_map(gsize size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

void
server_unmap(void *memory, gsize size)
{
    if (memory != NULL)
        (void)munmap(memory, size);
}

/* Events */

static void
on_event_returned(Message *message)
{
    ServerEvent *event = list_entry(message, ServerEvent, message);
    Server *server = event->server;

    for (gsize i = 0; i < G_N_ELEMENTS(event->strings); i++)
        g_free(event->strings[i]);
    g_free(event);
    server->n_events--;
    server_check_orders(server);
}

static void
on_event(Message *message)
{
    ServerEvent *event = list_entry(message, ServerEvent, message);

    service_event(event->server->service, event);
    worker_send(event->server->worker, &event->message, on_event_returned);
}

static void
send_event(ServerEvent *event)
{
    event->server->n_events++;
    mailbox_send(event->server->control, &event->message, on_event);
}

/* A copy that is valid UTF-8, whatever the peer sent */
static char *
copy_text(const char *text)
{
    if (text == NULL || text[0] == '\0')
        return NULL;
    if (g_utf8_validate(text, -1, NULL))
        return g_strdup(text);
    return g_strescape(text, NULL);
}

static void
describe_session(ServerEvent *event, const Session *session)
{
    event->event.tsih = session->tsih;
    event->event.discovery = session->type == ISCSI_SESSION_DISCOVERY;
    event->event.tag = session->tag;
    memcpy(event->event.isid, session->isid, sizeof(event->event.isid));
    event->strings[0] = session->target != NULL ? copy_text(session->target->name) : NULL;
    event->strings[1] = copy_text(session->initiator_name);
    event->strings[2] = copy_text(session->initiator_alias);
    event->strings[5] = copy_text(session->chap_user);
    event->event.rule_id = session->rule_id;
    event->params = session->params;
}

static void
describe_login(ServerEvent *event, const Login *login)
{
    event->event.discovery = login->type == ISCSI_SESSION_DISCOVERY;
    event->event.cid = login->cid;
    event->event.rule_id = login->target.rule_id;
    event->event.remedy = login->remedy;
    memcpy(event->event.isid, login->isid, sizeof(event->event.isid));
    event->strings[0] = copy_text(login->target_name);
    event->strings[1] = copy_text(login->initiator_name);
    event->strings[2] = copy_text(login->initiator_alias);
}

static void
describe_connection(ServerEvent *event, const Connection *connection)
{
    event->event.cid = connection->cid;
    event->event.tag = connection->tag;
    event->event.portal_id = connection->portal_id;
    event->event.local = connection->local;
    event->event.remote = connection->remote;
}

static ServerEvent *
event_new(Server *server, IscsiEventType type, const Connection *connection, const Session *session)
{
    ServerEvent *event = g_new0(ServerEvent, 1);

    event->server = server;
    event->event.type = type;
    event->event.wall_time = g_get_real_time();
    if (connection != NULL)
        describe_connection(event, connection);
    else if (session != NULL)
        event->event.remote = session->remote;
    /* Those that only count do not tell of it a second time */
    if (connection != NULL && type != ISCSI_EVENT_CONNECTIONS)
        event->event.limit = connection->limit;
    if (session != NULL)
        describe_session(event, session);
    else if (connection != NULL && connection->login != NULL)
        describe_login(event, &connection->login->login);
    event->event.target_name = event->strings[0];
    event->event.initiator_name = event->strings[1];
    event->event.initiator_alias = event->strings[2];
    event->event.chap_user = event->strings[5];
    event->event.params = &event->params;
    return event;
}

/* Kinds that must not be lost: what others count rests on them */
static gboolean
is_essential(IscsiEventType type)
{
    return type == ISCSI_EVENT_SESSION_OPENED || type == ISCSI_EVENT_SESSION_CLOSED ||
           type == ISCSI_EVENT_CONNECTION_OPENED || type == ISCSI_EVENT_CONNECTION_CLOSED ||
           type == ISCSI_EVENT_CONNECTIONS;
}

void
server_post(Server *server, IscsiEventType type, const Connection *connection,
            const Session *session, guint16 status, const char *reason)
{
    ServerEvent *event;

    if (server->n_events >= EVENTS_MAX && !is_essential(type))
        return;

    event = event_new(server, type, connection, session);
    event->event.status = status;
    event->strings[4] = copy_text(reason);
    event->event.reason = event->strings[4];
    send_event(event);
}

void
server_post_login_ended(Server *server, const Connection *connection)
{
    ServerEvent *event = event_new(server, ISCSI_EVENT_CONNECTIONS, connection, NULL);

    event->login_ended = TRUE;
    send_event(event);
}

void
server_post_closed(Server *server, const Connection *connection, gboolean login_ended)
{
    ServerEvent *event = event_new(server, ISCSI_EVENT_CONNECTIONS, connection, NULL);

    event->login_ended = login_ended;
    event->connection_closed = TRUE;
    send_event(event);
}

void
server_post_taken(Server *server, const Connection *connection, Server *from)
{
    ServerEvent *event = event_new(server, ISCSI_EVENT_CONNECTIONS, connection, NULL);

    event->taken_from = from;
    send_event(event);
}

void
server_post_not_taken(Server *server, const Address *remote)
{
    ServerEvent *event = event_new(server, ISCSI_EVENT_CONNECTIONS, NULL, NULL);

    event->event.remote = *remote;
    event->login_ended = TRUE;
    event->connection_closed = TRUE;
    send_event(event);
}

void
server_post_limit(Server *server, Session *session, IscsiLimit limit)
{
    gint64 now = server->worker->loop.now;
    ServerEvent *event;

    session->n_limited++;
    if ((session->limited_at != 0 && now - session->limited_at < LIMIT_INTERVAL) ||
        server->n_events >= EVENTS_MAX)
        return;

    event = event_new(server, ISCSI_EVENT_LIMIT, NULL, session);
    event->event.limit = limit;
    event->event.count = session->n_limited;
    session->n_limited = 0;
    session->limited_at = now;
    send_event(event);
}

void
server_post_cold_reset(Server *server, const Session *session)
{
    ServerEvent *event = event_new(server, ISCSI_EVENT_CONNECTIONS, NULL, session);

    event->close_target = TRUE;
    send_event(event);
}

static void
on_scsi_event(const ScsiEvent *scsi_event, gpointer user_data)
{
    Server *server = user_data;
    ServerEvent *event;

    if (server->n_events >= EVENTS_MAX)
        return;

    event = event_new(server, ISCSI_EVENT_BACKSTORE_ERROR, NULL, NULL);
    event->strings[3] = g_strdup(lu_name(scsi_event->lu));
    event->event.lu_name = event->strings[3];
    event->event.error = scsi_event->error;
    switch (scsi_event->type) {
    case SCSI_EVENT_BACKSTORE_ERROR:
        event->strings[4] = g_strdup_printf("I/O error at block %" G_GUINT64_FORMAT ": %s",
                                            scsi_event->lba, g_strerror(scsi_event->error));
        break;
    case SCSI_EVENT_STORE_FAILED:
        event->strings[4] = g_strdup_printf("a flush failed (%s): writes are refused until the "
                                            "backstore is opened anew",
                                            g_strerror(scsi_event->error));
        break;
    case SCSI_EVENT_LU_STALLED:
        event->strings[4] = g_strdup("task management waits for I/O that does not end");
        break;
    }
    event->event.reason = event->strings[4];
    send_event(event);
}

/* Targets, sorted by name */

/* The first place whose name is not below @name */
static guint
target_place(const Server *server, const char *name)
{
    guint low = 0, high = server->targets->len;

    while (low < high) {
        guint middle = (low + high) / 2;
        const IscsiTarget *target = server->targets->pdata[middle];

        if (strcmp(target->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

IscsiTarget *
server_find_target(const Server *server, const char *name)
{
    guint i = target_place(server, name);
    IscsiTarget *target;

    if (i == server->targets->len)
        return NULL;

    target = server->targets->pdata[i];
    return strcmp(target->name, name) == 0 ? target : NULL;
}

gboolean
server_target_is_visible(const IscsiTarget *target, guint16 tag)
{
    for (guint i = 0; i < target->n_tags; i++) {
        if (target->tags[i] == tag)
            return TRUE;
    }
    return FALSE;
}

gboolean
server_target_may_be_told(const Connection *connection, const IscsiTarget *target, guint16 tag)
{
    AccessRequest request = {
        .initiator_name = connection->session->initiator_name,
        .address = &connection->remote,
        .tag = tag,
    };

    return target->enabled && server_target_is_visible(target, tag) &&
           iscsi_target_judge(target, &request).is_allowed;
}

gboolean
server_next_target(const Connection *connection, const char *after, IscsiTarget **ret_target)
{
    const Server *server = connection->server;

    for (guint i = target_place(server, after); i < server->targets->len; i++) {
        IscsiTarget *target = server->targets->pdata[i];

        if (strcmp(target->name, after) == 0 ||
            !server_target_may_be_told(connection, target, connection->tag))
            continue;
        *ret_target = target;
        return TRUE;
    }
    return FALSE;
}

/* Whatever the administrator set, what this layer cannot do is not offered */
static void
bound_offer(IscsiParams *params)
{
    params->max_recv_data_segment_length =
        CLAMP(params->max_recv_data_segment_length, 512, POOL_BUFFER_MAX);
    params->max_burst_length = CLAMP(params->max_burst_length, 512, 0xffffff);
    /* What comes unasked must fit the first segment of a command */
    params->first_burst_length =
        CLAMP(params->first_burst_length, 512, MIN(params->max_burst_length, POOL_BUFFER_MAX));
    params->max_outstanding_r2t = CLAMP(params->max_outstanding_r2t, 1, TASK_R2TS_MAX);
    params->max_connections = CLAMP(params->max_connections, 1, ISCSI_CONNECTIONS_MAX);
    params->error_recovery_level = MIN(params->error_recovery_level, RECOVERY_LEVEL_MAX);
    /* A segment that is to be acknowledged ends its sequence, not more often than once a burst */
    if (params->error_recovery_level > 0)
        params->max_burst_length = MIN(params->max_burst_length, POOL_BUFFER_MAX);
    params->data_pdu_in_order = 1;
    params->data_sequence_in_order = 1;
}

void
server_offer(const IscsiTarget *target, IscsiParams *ret_params)
{
    *ret_params = target->params;
    bound_offer(ret_params);
}

static void
set_target(Server *server, IscsiTarget *target)
{
    guint i = target_place(server, target->name);

    snapshot_ref(&target->snapshot);
    if (i < server->targets->len &&
        strcmp(((IscsiTarget *)server->targets->pdata[i])->name, target->name) == 0) {
        snapshot_unref(server->targets->pdata[i]);
        server->targets->pdata[i] = target;
    } else {
        g_ptr_array_insert(server->targets, (gint)i, target);
    }

    list_foreach_safe(link, &server->sessions) {
        Session *session = list_entry(link, Session, link);

        if (session->target != NULL && !session->is_closing &&
            strcmp(session->target->name, target->name) == 0)
            session_set_target(session, target);
    }
    reach_review(server, target->name);
}

static void
forget_target(Server *server, const char *name)
{
    guint i = target_place(server, name);

    if (server_find_target(server, name) == NULL)
        return;

    g_ptr_array_remove_index(server->targets, i); /* drops the reference too */
    reach_review(server, name);
}

static void
set_security(Server *server, IscsiSecurity *security)
{
    snapshot_ref(&security->snapshot);
    snapshot_unref(&server->security->snapshot);
    server->security = security;
}

static void
set_limits(Server *server, const IscsiLimits *limits)
{
    gsize share = MAX(limits->max_bytes / server->n_servers, POOL_MIN);

    server->limits = *limits;
    pool_set_limit(server->worker->pool, limits->max_bytes == 0 ? 0 : share);
    if (server->servers[0] == server)
        registry_set_max_sessions(server->registry, limits->max_sessions);
    list_foreach(link, &server->sessions)
        session_limit_room(list_entry(link, Session, link));
}

/* Logins */

static IscsiVerdict
judge_login(const Connection *connection, const IscsiTarget *target, const char *initiator_name)
{
    AccessRequest request = {
        .initiator_name = initiator_name,
        .address = &connection->remote,
        .tag = connection->tag,
    };

    return iscsi_target_judge(target, &request);
}

IscsiHolder
server_login_holder(const Connection *connection, const Login *login)
{
    return (IscsiHolder){
        .request = { .initiator_name = login->initiator_name,
                     .address = &connection->remote,
                     .tag = connection->tag },
        .chap_user = login->chap_user[0] != '\0' ? login->chap_user : NULL,
    };
}

gboolean
server_admits_discovery(const Server *server, const Login *login)
{
    const IscsiSecurity *security = server->security;

    return !security->discovery_wants_chap ||
           (login->chap_user[0] != '\0' &&
            credentials_agree(login->chap_accounts, security->discovery_credentials,
                              login->chap_user));
}

static LoginLookup
find_login_target(gpointer user_data, const char *initiator_name, const char *target_name,
                  LoginTarget *ret_target)
{
    const Connection *connection = user_data;
    const IscsiTarget *target = server_find_target(connection->server, target_name);
    const IscsiRedirect *redirect;
    IscsiVerdict verdict;

    ret_target->tag = connection->tag;
    if (target == NULL || !server_target_is_visible(target, connection->tag))
        return target == NULL ? LOGIN_NOT_FOUND : LOGIN_HIDDEN;
    if (!target->enabled)
        return LOGIN_UNAVAILABLE;

    verdict = judge_login(connection, target, initiator_name);
    if (verdict.rule != NULL) {
        ret_target->rule_id = verdict.rule->id;
        g_strlcpy(ret_target->rule, verdict.rule->label, sizeof(ret_target->rule));
    }
    if (!verdict.is_allowed)
        return LOGIN_FORBIDDEN;

    redirect = iscsi_target_redirect(target, connection->tag);
    ret_target->id = target->id;
    ret_target->auth_methods = verdict.wants_chap ? LOGIN_AUTH_CHAP : LOGIN_AUTH_NONE;
    if (target->alias != NULL)
        g_strlcpy(ret_target->alias, target->alias, sizeof(ret_target->alias));
    if (redirect != NULL) {
        g_strlcpy(ret_target->redirect, redirect->address, sizeof(ret_target->redirect));
        ret_target->redirect_is_permanent = redirect->is_permanent;
    }
    server_offer(target, &ret_target->params);
    return LOGIN_FOUND;
}

static Credentials *
find_login_credentials(gpointer user_data, const char *initiator_name, const char *target_name)
{
    const Connection *connection = user_data;
    const Server *server = connection->server;
    const IscsiTarget *target;

    if (target_name[0] == '\0')
        return server->security->discovery_credentials;

    target = server_find_target(server, target_name);
    return target != NULL ? judge_login(connection, target, initiator_name).credentials : NULL;
}

void
server_init_policy(Connection *connection, LoginPolicy *ret_policy)
{
    const Server *server = connection->server;

    *ret_policy = server->policy;
    ret_policy->max_text_size = server->limits.max_text_size;
    ret_policy->tag = connection->tag;
    ret_policy->chap_algorithms = server->security->chap_algorithms;
    ret_policy->discovery_auth_methods =
        server->security->discovery_wants_chap ? LOGIN_AUTH_CHAP : LOGIN_AUTH_NONE;
    ret_policy->find_target = find_login_target;
    ret_policy->find_credentials = find_login_credentials;
    ret_policy->user_data = connection;
}

/* Orders */

static void
on_order_done(Message *message)
{
    Order *order = list_entry(message, Order, message);
    Broadcast *broadcast = order->broadcast;

    if (--broadcast->n_pending == 0)
        broadcast->done(broadcast);
}

static void
answer(Order *order)
{
    mailbox_send(order->broadcast->control, &order->message, on_order_done);
}

static gboolean
has_sessions_of(const Server *server, const char *name)
{
    list_foreach(link, &server->claims) {
        const SessionClaim *holder = list_entry(link, SessionClaim, link);

        if (holder->claim.target_name != NULL && strcmp(holder->claim.target_name, name) == 0)
            return TRUE;
    }
    return FALSE;
}

static gboolean
is_empty(const Server *server)
{
    return list_is_empty(&server->connections) && list_is_empty(&server->sessions) &&
           list_is_empty(&server->claims) && list_is_empty(&server->dead_connections) &&
           list_is_empty(&server->dead_sessions) && server->n_events == 0 && server->n_handed == 0;
}

static void
stop_finally(Server *server)
{
    deferred_cancel(&server->reaper);
    pressure_stop(server);
    scsi_worker_deinit(server->worker);
    server->worker->layers[WORKER_LAYER_ISCSI] = NULL;
    g_clear_pointer(&server->scratch, g_free);
    g_clear_pointer(&server->iovecs, g_free);
    server->is_started = FALSE;
}

/* Answer the order if what it asks for has come true */
static gboolean
check_order(Order *order)
{
    Server *server = order->server;

    if (order->broadcast->kind == SERVER_REMOVE_TARGET) {
        if (has_sessions_of(server, order->broadcast->name))
            return FALSE;
    } else if (order->broadcast->kind == SERVER_STOP) {
        if (!is_empty(server))
            return FALSE;
        stop_finally(server);
    } else if (order->broadcast->kind == SERVER_REQUEST_LOGOUT) {
        if (!drain_is_over(order))
            return FALSE;
        drain_end(order);
    }

    list_unlink(&order->link);
    answer(order);
    return TRUE;
}

void
server_check_orders(Server *server)
{
    list_foreach_safe(link, &server->orders) {
        Order *order = list_entry(link, Order, link);
        gboolean is_stop = order->broadcast->kind == SERVER_STOP;

        /* Once that is answered the control thread may free the server */
        if (check_order(order) && is_stop)
            return;
    }
}

static void
close_sessions(Server *server, const Broadcast *broadcast)
{
    list_foreach_safe(link, &server->sessions) {
        Session *session = list_entry(link, Session, link);
        gboolean is_meant =
            broadcast->name != NULL
                ? session->target != NULL && strcmp(session->target->name, broadcast->name) == 0
                : session->tsih == broadcast->tsih;

        if (is_meant)
            session_drop(session, PDU_ASYNC_SESSION_DROP, broadcast->reason);
    }
}

static void
close_connection(Server *server, const Broadcast *broadcast)
{
    list_foreach(link, &server->sessions) {
        Session *session = list_entry(link, Session, link);

        if (session->tsih != broadcast->tsih)
            continue;
        session_drop_connection(session, broadcast->cid, broadcast->reason);
        return;
    }
}

static void
start(Server *server)
{
    server->scratch = g_malloc(SERVER_SCRATCH_SIZE);
    server->iovecs = g_new(struct iovec, SERVER_IOVECS);
    server->worker->layers[WORKER_LAYER_ISCSI] = server;
    scsi_worker_init(server->worker, on_scsi_event, server);
    pressure_start(server);
    server->is_started = TRUE;
}

static void
stop(Server *server)
{
    ListLink *link;

    server->is_stopping = TRUE;
    list_foreach_safe(session, &server->sessions)
        session_drop(list_entry(session, Session, link), PDU_ASYNC_SESSION_DROP,
                     "the service stops");
    while ((link = list_first(&server->connections)) != NULL)
        connection_close(list_entry(link, Connection, link), "the service stops");
    g_ptr_array_set_size(server->targets, 0);
}

static void
collect(Order *order)
{
    Server *server = order->server;
    const Broadcast *broadcast = order->broadcast;
    guint n = 0;

    list_foreach(link, &server->sessions)
        n++;
    order->sessions = g_new0(IscsiSessionReport, n);
    list_foreach(link, &server->sessions) {
        const Session *session = list_entry(link, Session, link);
        IscsiSessionReport *report = &order->sessions[order->n_sessions++];

        session_report(session, report);
    }

    order->lus = g_new0(IscsiLuReport, broadcast->n_lus);
    for (guint i = 0; i < broadcast->n_lus; i++) {
        lu_get_statistics(broadcast->lus[i], server->worker->index, &order->lus[i].lu);
        lu_get_store_statistics(broadcast->lus[i], server->worker->index, &order->lus[i].store);
    }
    pool_get_statistics(server->worker->pool, &order->pool);
    order->n_stalls = server->worker->loop.n_stalls;
}

static void
on_order(Message *message)
{
    Order *order = list_entry(message, Order, message);
    Server *server = order->server;
    const Broadcast *broadcast = order->broadcast;

    list_init(&order->link);
    list_append(&server->orders, &order->link);
    switch (broadcast->kind) {
    case SERVER_START:
        start(server);
        break;
    case SERVER_STOP:
        stop(server);
        break;
    case SERVER_SET_TARGET:
        set_target(server, broadcast->target);
        break;
    case SERVER_REMOVE_TARGET:
        forget_target(server, broadcast->name);
        close_sessions(server, broadcast);
        break;
    case SERVER_SET_SECURITY:
        set_security(server, broadcast->security);
        break;
    case SERVER_SET_LIMITS:
        set_limits(server, &broadcast->limits);
        break;
    case SERVER_CLOSE_SESSIONS:
        close_sessions(server, broadcast);
        break;
    case SERVER_CLOSE_CONNECTION:
        close_connection(server, broadcast);
        break;
    case SERVER_REQUEST_LOGOUT:
        drain_start(order);
        break;
    case SERVER_CANCEL_LOGOUT:
        /* Two orders may be answered now: this one, and what it ends */
        drain_cancel(server, broadcast->request);
        server_check_orders(server);
        return;
    case SERVER_STATISTICS:
        collect(order);
        break;
    case SERVER_PING:
        break;
    }
    (void)check_order(order);
}

void
server_order(Server *server, Order *order)
{
    order->server = server;
    worker_send(server->worker, &order->message, on_order);
}

static void
on_placement(Message *message)
{
    Placement *placement = list_entry(message, Placement, message);

    connection_new(placement->server, placement->fd, placement->tag, placement->portal_id,
                   &placement->remote);
    g_free(placement);
}

void
server_place(Server *server, Placement *placement_take)
{
    placement_take->server = server;
    worker_send(server->worker, &placement_take->message, on_placement);
}

/* The dead */

static void
on_reaper(Deferred *deferred)
{
    Server *server = list_entry(deferred, Server, reaper);
    ListLink *link;

    while ((link = list_pop(&server->dead_connections)) != NULL)
        connection_free(list_entry(link, Connection, link));
    while ((link = list_pop(&server->dead_sessions)) != NULL)
        session_free(list_entry(link, Session, link));
    server_check_orders(server);
}

void
server_bury_connection(Server *server, Connection *connection)
{
    list_append(&server->dead_connections, &connection->link);
    deferred_run(&server->reaper, &server->worker->loop);
}

void
server_bury_session(Server *server, Session *session)
{
    list_append(&server->dead_sessions, &session->link);
    deferred_run(&server->reaper, &server->worker->loop);
}

/* Made and freed by the control thread */

static void
free_target(gpointer data)
{
    snapshot_unref(data);
}

Server *
server_new(Worker *worker, const IscsiServiceConfig *config, IscsiService *service)
{
    Server *server = g_new0(Server, 1);

    server->worker = worker;
    server->control = config->control;
    server->service = service;
    iscsi_limits_init(&server->limits);
    server->targets = g_ptr_array_new_with_free_func(free_target);
    iscsi_params_init_offer(&server->policy.discovery_params);
    bound_offer(&server->policy.discovery_params);
    server->security = iscsi_security_new();
    /* Until the session says how wide its window is, with the last response */
    server->policy.window = 1;
    list_init(&server->connections);
    list_init(&server->sessions);
    list_init(&server->claims);
    list_init(&server->orders);
    list_init(&server->dead_connections);
    list_init(&server->dead_sessions);
    deferred_init(&server->reaper, on_reaper);
    return server;
}

void
server_free(Server *server)
{
    if (server == NULL)
        return;

    g_assert(!server->is_started && is_empty(server));
    g_ptr_array_free(server->targets, TRUE);
    snapshot_unref(&server->security->snapshot);
    registry_free(server->registry);
    g_free(server);
}
