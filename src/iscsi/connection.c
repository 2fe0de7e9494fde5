/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Connection
 *
 * A socket is served by one worker from its first byte to its last. It begins
 * in the login phase, which a Login object judges; the final response waits for
 * the registry (CONNECTION_CLAIMING), and with it the session comes to life. A
 * connection that ends in order (refused login, logout) sends what it has,
 * shuts down its side and waits a little for the peer, because a close with
 * unread bytes would make the kernel throw away what was sent last. One that
 * ends otherwise is closed at once.
 *
 * One timer serves all states: the time limit of the login, the interval and
 * the time limit of pings, the wait for the peer at the end. It is not moved
 * when something arrives; when it fires it looks how long that was ago.
 *
 * A closed connection keeps its memory until the turn ends, so no caller up the
 * stack is left with a dangling pointer.
 */

#include "iscsi/connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "iscsi/admission.h"
#include "iscsi/fence.h"
#include "iscsi/server.h"
#include "iscsi/session.h"
#include "util/fd.h"

#define DRAIN_USEC (2 * USEC_PER_SEC)

/* Interval and time limit of pings in discovery sessions */
#define DISCOVERY_NOP_SECONDS 30

/* Events about odd PDUs that one connection may cause */
#define REPORTS_MAX 8

static gint64
now_of(const Connection *connection)
{
    return connection->server->worker->loop.now;
}

static void
start_timer(Connection *connection, gint64 usec)
{
    timer_set(&connection->timer, &connection->server->worker->loop, now_of(connection) + usec);
}

/* Ending */

static void
drop_login(Connection *connection)
{
    if (connection->login == NULL)
        return;

    login_deinit(&connection->login->login);
    g_free(connection->login);
    connection->login = NULL;
}

void
connection_free(Connection *connection)
{
    g_assert(connection->state == CONNECTION_CLOSED && connection->session == NULL);

    g_free(connection->text);
    g_free(connection->async.luns);
    tx_deinit(connection);
    g_free(connection);
}

/* Mutual CHAP fails at the initiator, which says nothing but goes */
static void
post_distrust(const Connection *connection)
{
    if (connection->state == CONNECTION_LOGIN && connection->login != NULL &&
        connection->login->login.awaits_trust)
        server_post(connection->server, ISCSI_EVENT_LOGIN_REFUSED, connection, NULL, 0,
                    "the initiator left when the target had proved itself: it expects another "
                    "mutual CHAP user or secret, set the same on both sides");
}

/* What the journal hears of a connection that goes without a logout */
static void
post_loss(Connection *connection, const char *reason)
{
    Server *server = connection->server;

    if (connection->state == CONNECTION_FULL_FEATURE && connection->session != NULL &&
        !connection->session->is_closing && !connection->is_leaving && !connection->is_replaced &&
        connection->type == ISCSI_SESSION_NORMAL)
        server_post(server, ISCSI_EVENT_CONNECTION_LOST, connection, connection->session, 0,
                    reason);
}

void
connection_close(Connection *connection, const char *reason)
{
    Session *session = connection->session;
    gboolean was_login =
        connection->state == CONNECTION_LOGIN || connection->state == CONNECTION_CLAIMING;

    if (connection->state == CONNECTION_CLOSED)
        return;

    post_loss(connection, reason);
    post_distrust(connection);
    connection->state = CONNECTION_CLOSED;
    watch_stop(&connection->watch);
    timer_cancel(&connection->timer);
    deferred_cancel(&connection->flush);
    fd_close(&connection->fd);
    tx_drop(connection);
    admission_abandon(connection);
    if (session != NULL)
        session_connection_closed(session, connection, reason);

    list_unlink(&connection->link);
    server_post_closed(connection->server, connection, was_login);
    drop_login(connection);
    server_bury_connection(connection->server, connection);
}

void
connection_end(Connection *connection)
{
    if (connection->state == CONNECTION_CLAIMING)
        watch_select(&connection->watch, EPOLLIN);
    if (connection->state == CONNECTION_LOGIN || connection->state == CONNECTION_CLAIMING)
        server_post_login_ended(connection->server, connection);
    connection->state = CONNECTION_ENDING;
    start_timer(connection, DRAIN_USEC);
    tx_schedule(connection);
}

void
connection_report(Connection *connection, const char *text)
{
    if (connection->n_reports++ < REPORTS_MAX)
        server_post(connection->server, ISCSI_EVENT_PROTOCOL_ERROR, connection, connection->session,
                    0, text);
    /* It was told */
    connection->limit = ISCSI_LIMIT_NONE;
}

void
connection_reject_data(Connection *connection, const guint8 *bhs, PduRejectReason reason,
                       guint32 data_sn)
{
    Session *session = connection->session;
    Task *task;

    if (!connection_is_full_feature(connection) || session->is_closing)
        return;

    task = session_take_task(session, connection, TASK_REJECT, TASK_CLASS_REJECT, bhs);
    if (task == NULL) {
        tx_flush(connection);
        if (!connection_is_full_feature(connection) || session->is_closing)
            return;
        task = session_take_task(session, connection, TASK_REJECT, TASK_CLASS_REJECT, bhs);
    }
    if (task == NULL) {
        connection_close(connection, "too many rejected PDUs");
        return;
    }
    task->reject_reason = reason;
    task->reject_data_sn = data_sn;
    tx_queue(task);
}

void
connection_reject(Connection *connection, const guint8 *bhs, PduRejectReason reason)
{
    connection_reject_data(connection, bhs, reason, 0);
}

/* Let the session go, and say what is left to say */
static void
leave_session(Connection *connection, const char *reason)
{
    post_loss(connection, reason);
    connection_end(connection);
    tx_drop(connection);
    session_connection_closed(connection->session, connection, reason);
}

void
connection_leave(Connection *connection, const char *reason)
{
    tx_flush(connection);
    if (connection_is_full_feature(connection) && connection->session != NULL)
        leave_session(connection, reason);
}

void
connection_fail(Connection *connection, const guint8 *bhs, PduRejectReason reason, const char *text)
{
    if (!connection_is_open(connection))
        return;

    connection_report(connection, text);
    if (reason == PDU_REJECT_NONE || !connection_is_full_feature(connection)) {
        connection_close(connection, text);
        return;
    }

    connection_reject(connection, bhs, reason);
    tx_flush(connection);
    if (connection_is_full_feature(connection) && connection->session != NULL)
        leave_session(connection, text);
}

/* Login */

static void
refuse(Connection *connection)
{
    Login *login = &connection->login->login;

    if (login->limit != ISCSI_LIMIT_NONE)
        connection->limit = login->limit;
    server_post(connection->server, ISCSI_EVENT_LOGIN_REFUSED, connection, NULL, login->status,
                login->reason);
}

/* What is the session's was agreed on by the connection that led it */
static void
take_params(Connection *connection, const IscsiParams *params)
{
    connection->params = connection->session->params;
    connection->params.header_digest = params->header_digest;
    connection->params.data_digest = params->data_digest;
    connection->params.max_recv_data_segment_length = params->max_recv_data_segment_length;
    connection->recv_limit = params->max_recv_data_segment_length;
    connection->params.max_xmit_data_segment_length = params->max_xmit_data_segment_length;
}

static void
enter_full_feature(Connection *connection)
{
    Login *login = &connection->login->login;

    tx_put(connection, login->response, login->response_data, login->response_size);
    connection->state = CONNECTION_FULL_FEATURE;
    connection->cid = login->cid;
    connection->stat_sn = connection->exp_stat_sn = login->stat_sn;
    take_params(connection, login_params(login));
    watch_select(&connection->watch, EPOLLIN);
    server_post(connection->server,
                login->joins ? ISCSI_EVENT_CONNECTION_OPENED : ISCSI_EVENT_SESSION_OPENED,
                connection, connection->session, 0, NULL);
    server_post_login_ended(connection->server, connection);
    connection->received_at = now_of(connection);
    connection->bytes_received = connection->bytes_sent = 0;
    timer_cancel(&connection->timer);
    connection_set_timer(connection);
}

void
connection_detach(Connection *connection)
{
    watch_stop(&connection->watch);
    timer_cancel(&connection->timer);
    deferred_cancel(&connection->flush);
    list_unlink(&connection->link);
}

gboolean
connection_attach(Connection *connection, Server *server)
{
    gint64 deadline = connection->accepted_at + server->limits.login_timeout * USEC_PER_SEC;

    connection->server = server;
    list_append(&server->connections, &connection->link);
    server_init_policy(connection, &connection->login->policy);
    if (watch_start(&connection->watch, &server->worker->loop, connection->fd) != 0) {
        connection_close(connection, "out of memory or descriptors");
        return FALSE;
    }
    timer_set(&connection->timer, &server->worker->loop, deadline);
    return TRUE;
}

void
connection_act(Connection *connection, LoginAction action)
{
    Login *login = &connection->login->login;

    switch (action) {
    case LOGIN_SEND:
        tx_put(connection, login->response, login->response_data, login->response_size);
        break;
    case LOGIN_CLAIM:
        admission_begin(connection);
        break;
    case LOGIN_DONE:
        enter_full_feature(connection);
        break;
    case LOGIN_REFUSE:
        refuse(connection);
        tx_put(connection, login->response, login->response_data, login->response_size);
        connection_end(connection);
        break;
    case LOGIN_CLOSE:
        refuse(connection);
        connection_close(connection, login->reason);
        break;
    }
}

void
connection_login_pdu(Connection *connection, const guint8 *bhs, const guint8 *data, gsize size)
{
    connection_act(connection, login_receive(&connection->login->login, bhs, data, size));
}

/* Text */

static void
describe_target(const IscsiTarget *target, DiscoveryTarget *ret_target)
{
    ret_target->name = target->name;
    ret_target->announces = target->announces;
    ret_target->n_announces = target->n_announces;
}

static gboolean
find_target(gpointer user_data, const char *name, DiscoveryTarget *ret_target)
{
    const Connection *connection = user_data;
    const IscsiTarget *target = server_find_target(connection->server, name);

    if (target == NULL || !server_target_may_be_told(connection, target, connection->tag))
        return FALSE;

    describe_target(target, ret_target);
    return TRUE;
}

static gboolean
next_target(gpointer user_data, const char *after, DiscoveryTarget *ret_target)
{
    const Connection *connection = user_data;
    IscsiTarget *target;

    if (!server_next_target(connection, after, &target))
        return FALSE;

    describe_target(target, ret_target);
    return TRUE;
}

static gboolean
reaches_target(gpointer user_data, const char *name, guint16 tag)
{
    const Connection *connection = user_data;
    const IscsiTarget *target = server_find_target(connection->server, name);

    return target != NULL && server_target_may_be_told(connection, target, tag);
}

void
connection_begin_text(Connection *connection)
{
    ConnectionText *text = connection->text;
    const Session *session = connection->session;
    DiscoveryConfig config = {
        .type = connection->type,
        .local = connection->local,
        .find = find_target,
        .next = next_target,
        .reaches = reaches_target,
        .user_data = connection,
        .offer = &text->offer,
        .params = &connection->params,
        .max_text_size = connection->server->limits.max_text_size,
        .is_asked = connection->async.asked_size != 0,
    };

    if (session->target != NULL) {
        config.target_name = session->target->name;
        server_offer(session->target, &text->offer);
    } else {
        text->offer = connection->server->policy.discovery_params;
    }
    discovery_init(&text->discovery, &config);
}

/* Pings */

void
connection_pong(Connection *connection, const guint8 *bhs)
{
    if (!connection->is_pinged || pdu_ttt(bhs) != connection->ping_ttt)
        return;

    connection->is_pinged = FALSE;
    if (connection->tx.is_ping_last)
        connection->tx.proof_sn = connection->exp_stat_sn;
}

void
connection_received(Connection *connection)
{
    connection->received_at = now_of(connection);
}

/* Since when nothing moved: what the peer sends does not count while it does not read */
static gint64
quiet_since(const Connection *connection)
{
    if (tx_is_idle(connection))
        return connection->received_at;
    return MIN(connection->received_at, MAX(connection->tx.progress_at, connection->pinged_at));
}

/* What the target says; discovery sessions have none */
static gint64
nop_interval(const Connection *connection)
{
    const IscsiTarget *target = connection->session->target;

    return (target != NULL ? target->nop_interval : DISCOVERY_NOP_SECONDS) * USEC_PER_SEC;
}

static gint64
nop_timeout(const Connection *connection)
{
    const IscsiTarget *target = connection->session->target;

    return (target != NULL ? MAX(target->nop_timeout, 1) : DISCOVERY_NOP_SECONDS) * USEC_PER_SEC;
}

void
connection_ping(Connection *connection)
{
    connection->ping_ttt =
        connection->ping_ttt == PDU_TAG_RESERVED - 1 ? 0 : connection->ping_ttt + 1;
    connection->is_pinged = TRUE;
    connection->pinged_at = now_of(connection);
    connection->tx.wants_ping = TRUE;
    connection->tx.is_ping_new = TRUE;
    tx_schedule(connection);
    start_timer(connection, nop_timeout(connection));
}

/* A PDU that does not end keeps what it needs: memory, and the connection busy */
static gboolean
is_dawdling(const Connection *connection)
{
    const Rx *rx = &connection->rx;

    return (rx->state != RX_HEADER || rx->stash_size > 0) &&
           now_of(connection) - rx->began_at >
               connection->server->limits.pdu_timeout * USEC_PER_SEC;
}

static void
on_nop_timer(Connection *connection)
{
    gint64 interval = nop_interval(connection);
    gint64 since = quiet_since(connection);

    if (is_dawdling(connection)) {
        connection->limit = ISCSI_LIMIT_PDU_TIMEOUT;
        connection_close(connection, "a PDU of the initiator did not end in time");
        return;
    }

    if (connection->is_pinged && since <= connection->pinged_at) {
        connection_close(connection, "the initiator did not answer a NOP-In in time");
        return;
    }

    connection->is_pinged = FALSE;
    if (interval == 0)
        return;
    if (since + interval <= now_of(connection))
        connection_ping(connection);
    else
        timer_set(&connection->timer, &connection->server->worker->loop, since + interval);
}

void
connection_set_timer(Connection *connection)
{
    const Session *session = connection->session;

    if (!connection_is_full_feature(connection) || session == NULL)
        return;

    if (nop_interval(connection) == 0)
        timer_cancel(&connection->timer);
    else if (!connection->is_pinged)
        start_timer(connection, nop_interval(connection));
}

/* The deadline is that of the accept, whatever comes meanwhile */
static void
on_login_timer(Connection *connection)
{
    const IscsiLimits *limits = &connection->server->limits;
    gint64 deadline = connection->accepted_at + limits->login_timeout * USEC_PER_SEC;
    gboolean is_silent = connection->bytes_received == 0;
    const char *reason =
        is_silent ? "nothing came after the connection was made" : "the login took too long";

    if (!is_silent && now_of(connection) < deadline) {
        timer_set(&connection->timer, &connection->server->worker->loop, deadline);
        return;
    }

    connection->limit = is_silent ? ISCSI_LIMIT_SILENCE_TIMEOUT : ISCSI_LIMIT_LOGIN_TIMEOUT;
    server_post(connection->server, ISCSI_EVENT_LOGIN_REFUSED, connection, NULL, 0, reason);
    connection_close(connection, reason);
}

static void
on_timer(Timer *timer)
{
    Connection *connection = list_entry(timer, Connection, timer);

    switch (connection->state) {
    case CONNECTION_LOGIN:
    case CONNECTION_CLAIMING:
        on_login_timer(connection);
        break;
    case CONNECTION_FULL_FEATURE:
        on_nop_timer(connection);
        break;
    case CONNECTION_ENDING:
    case CONNECTION_DRAINING:
        connection_close(connection, "the initiator did not close the connection");
        break;
    case CONNECTION_CLOSED:
    case CONNECTION_STATE_N:
        g_assert_not_reached();
    }
}

/* The socket */

void
connection_sent(Connection *connection)
{
    Session *session = connection->session;

    if (connection->state == CONNECTION_FULL_FEATURE && connection->login != NULL)
        drop_login(connection);

    if (session != NULL && connection->is_logged_out) {
        connection_end(connection);
        session_connection_closed(session, connection, "logout");
    }
    if (connection->tx.is_held && connection->session != NULL)
        fence_check(connection->session);
    if (connection->state == CONNECTION_ENDING) {
        drop_login(connection);
        connection->state = CONNECTION_DRAINING;
        (void)shutdown(connection->fd, SHUT_WR);
    }
}

static void
on_flush(Deferred *deferred)
{
    tx_flush(list_entry(deferred, Connection, flush));
}

static void
on_ready(Watch *watch, guint32 ready)
{
    Connection *connection = list_entry(watch, Connection, watch);

    if (ready & EPOLLOUT) {
        watch_deselect(watch, EPOLLOUT);
        connection->tx.is_blocked = FALSE;
        tx_schedule(connection);
    }
    if (ready & EPOLLIN)
        rx_turn(connection);
}

/* A host that has gone without a word is found out by the kernel; all of it fails on what is not TCP */
static void
set_socket_options(const Connection *connection)
{
    const int on = 1;
    const guint seconds = connection->server->limits.peer_timeout;
    const guint usec = seconds * 1000;
    const int idle = (int)MAX(seconds / 2, 1);
    const int interval = (int)MAX(seconds / 8, 1);
    int fd = connection->fd;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    if (seconds == 0)
        return;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &usec, sizeof(usec));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
}

static gboolean
start(Connection *connection)
{
    Server *server = connection->server;

    connection->login = g_try_new(ConnectionLogin, 1);
    if (connection->login == NULL)
        return FALSE;
    server_init_policy(connection, &connection->login->policy);
    login_init(&connection->login->login, &connection->login->policy);

    set_socket_options(connection);
    (void)address_of_socket(connection->fd, &connection->local);

    connection->watch.asked |= EPOLLRDHUP;
    if (!tx_init(connection) ||
        watch_start(&connection->watch, &server->worker->loop, connection->fd) != 0)
        return FALSE;

    watch_select(&connection->watch, EPOLLIN);
    connection->accepted_at = now_of(connection);
    start_timer(connection,
                MIN(server->limits.silence_timeout, server->limits.login_timeout) * USEC_PER_SEC);
    return TRUE;
}

void
connection_new(Server *server, int fd, guint16 tag, guint32 portal_id, const Address *remote)
{
    Connection *connection = g_try_new0(Connection, 1);

    if (connection == NULL) {
        fd_close(&fd);
        server_post_not_taken(server, remote);
        return;
    }

    connection->server = server;
    connection->fd = fd;
    connection->tag = tag;
    connection->portal_id = portal_id;
    connection->remote = *remote;
    list_init(&connection->session_link);
    list_init(&connection->link);
    list_init(&connection->tx.queue);
    recovery_init(connection);
    watch_init(&connection->watch, on_ready);
    deferred_init(&connection->flush, on_flush);
    timer_init(&connection->timer, on_timer);
    list_append(&server->connections, &connection->link);

    if (!start(connection))
        connection_close(connection, "out of memory or descriptors");
}
