/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Admission
 *
 * The last step of a login. A connection that leads a new session is given its
 * nexus by the registry, and with it the session comes to life on this worker.
 * One that joins a session is told where that lives, goes there if need be
 * (handover.c), and is answered there, because only that worker knows whether
 * the session is still there and has room.
 *
 * Who joins must have got in the same way as the session: by the same access
 * rule and as the same CHAP user. Otherwise a name alone would be enough to use
 * what another had to prove.
 *
 * A login with the CID of a connection that is there replaces it (RFC 7143
 * 6.3.4). Its answer waits until what the old connection had begun has ended
 * (remnant.c), for as long as a login may take.
 */

#include "iscsi/admission.h"

#include <sys/epoll.h>

#include "iscsi/connection.h"
#include "iscsi/handover.h"
#include "iscsi/remnant.h"
#include "iscsi/server.h"
#include "iscsi/session.h"

/* The account by which it has proved itself is there as it was: a new login needs the new secret */
static gboolean
is_proved(const Connection *connection, const IscsiVerdict *verdict)
{
    const Login *login = &connection->login->login;

    return !verdict->wants_chap ||
           credentials_agree(login->chap_accounts, verdict->credentials, login->chap_user);
}

/* The target may have changed since the login began */
static guint16
judge_again(const Connection *connection, const IscsiTarget *target, IscsiVerdict *ret_verdict)
{
    IscsiHolder holder = server_login_holder(connection, &connection->login->login);

    if (target == NULL)
        return LOGIN_STATUS_TARGET_REMOVED;
    if (!target->enabled || !server_target_is_visible(target, connection->tag))
        return LOGIN_STATUS_SERVICE_UNAVAILABLE;
    if (iscsi_target_admits(target, &holder, ret_verdict) && is_proved(connection, ret_verdict))
        return LOGIN_STATUS_SUCCESS;
    return ret_verdict->is_allowed ? LOGIN_STATUS_AUTHENTICATION_FAILURE
                                   : LOGIN_STATUS_AUTHORIZATION_FAILURE;
}

static void
enter(Connection *connection, Session *session)
{
    /* The numbers are the session's from here on, also of a new one */
    LoginClaim answer = { .tsih = session->tsih,
                          .joined = TRUE,
                          .exp_cmd_sn = session->exp_cmd_sn,
                          .max_cmd_sn = session->max_cmd_sn };

    connection->type = session->type;
    session_add_connection(session, connection);
    connection_act(connection, login_claimed(&connection->login->login, &answer));
}

/* Joining */

static gboolean
is_same_user(const char *a, const char *b)
{
    return g_strcmp0(a, b) == 0;
}

/* It would be let in alone; may it be part of @session? RFC 7143 9.2 */
static guint16
judge_holder(const Connection *connection, const Session *session, const IscsiVerdict *verdict,
             const char **ret_reason)
{
    IscsiHolder holder = server_login_holder(connection, &connection->login->login);
    guint32 rule_id = verdict->rule != NULL ? verdict->rule->id : 0;

    if (rule_id != session->rule_id) {
        *ret_reason = "the session it wants to join was let in by another access rule";
        return LOGIN_STATUS_AUTHORIZATION_FAILURE;
    }
    if (!is_same_user(holder.chap_user, session->chap_user)) {
        *ret_reason = "the session it wants to join was let in as another CHAP user";
        return LOGIN_STATUS_AUTHENTICATION_FAILURE;
    }
    return LOGIN_STATUS_SUCCESS;
}

/*
 * TSIHs come round: the one that was named may have gone, and another may have its number. One that
 * is about to end counts as gone (RFC 7143 6.3.1: the target determines what exists): to be told to
 * come again later, by a status of class 3, would not help.
 */
static Session *
find_session(const Connection *connection, guint16 tsih)
{
    const Login *login = &connection->login->login;

    list_foreach(link, &connection->server->sessions) {
        Session *session = list_entry(link, Session, link);

        if (session->tsih == tsih && session->type == ISCSI_SESSION_NORMAL &&
            !session->is_closing && session->logout == NULL && session->tag == connection->tag &&
            memcmp(session->isid, login->isid, sizeof(session->isid)) == 0 &&
            strcmp(session->initiator_name, login->initiator_name) == 0 &&
            strcmp(session->target->name, login->target_name) == 0)
            return session;
    }
    return NULL;
}

static guint16
judge_join(const Connection *connection, const Session *session, const char **ret_reason)
{
    const Login *login = &connection->login->login;
    const IscsiTarget *target = server_find_target(connection->server, login->target_name);
    const Connection *old;
    IscsiVerdict verdict;
    guint16 status = judge_again(connection, target, &verdict);

    *ret_reason = "the target was changed during the login";
    if (status != LOGIN_STATUS_SUCCESS)
        return status;
    status = judge_holder(connection, session, &verdict, ret_reason);
    if (status != LOGIN_STATUS_SUCCESS)
        return status;

    old = session_find_connection(session, login->cid);
    if (session->n_connections + session->n_joining - (old != NULL) >=
        session->params.max_connections) {
        *ret_reason = "the session has as many connections as were agreed on";
        return LOGIN_STATUS_TOO_MANY_CONNECTIONS;
    }
    return LOGIN_STATUS_SUCCESS;
}

static void
refuse(Connection *connection, guint16 status, const char *reason)
{
    connection_act(connection, login_refuse(&connection->login->login, status, reason));
}

void
admission_join(Connection *connection, guint16 tsih)
{
    Session *session = find_session(connection, tsih);
    const char *reason;
    guint16 status;

    if (session == NULL) {
        refuse(connection, LOGIN_STATUS_NO_SESSION, "there is no session of this TSIH any more");
        return;
    }
    status = judge_join(connection, session, &reason);
    if (status != LOGIN_STATUS_SUCCESS) {
        refuse(connection, status, reason);
        return;
    }

    /* The session must not go with the connection that is replaced */
    session->n_joining++;
    if (!remnant_replace(session, connection))
        admission_go_on(connection, session);
}

void
admission_go_on(Connection *connection, Session *session)
{
    session->n_joining--;
    enter(connection, session);
}

void
admission_refuse(Connection *connection)
{
    refuse(connection, LOGIN_STATUS_NO_SESSION, "the session ended during the login");
}

/* Leading */

static void
claim_free(SessionClaim *claim)
{
    Server *server = claim->server;

    if (claim->connection != NULL)
        claim->connection->claim = NULL;
    list_unlink(&claim->link);
    g_free(claim->claim.initiator_name);
    g_free(claim->claim.target_name);
    g_free(claim->claim.discovered);
    g_free(claim);
    server_check_orders(server);
}

static void
on_released(Claim *claim)
{
    claim_free(claim->user_data);
}

static void
on_evict(Claim *claim)
{
    SessionClaim *holder = claim->user_data;

    if (holder->session != NULL)
        session_close(holder->session, "reinstated by a new login of the same initiator");
    registry_evicted(claim);
}

/* The nexus is ours: make the session. NULL: @login was refused. */
static Session *
make_session(Connection *connection, SessionClaim *claim, LoginAction *ret_action)
{
    Server *server = connection->server;
    Login *login = &connection->login->login;
    IscsiTarget *target = NULL;
    IscsiVerdict verdict;
    Session *session;
    guint16 status;

    if (login->type == ISCSI_SESSION_NORMAL) {
        target = server_find_target(server, login->target_name);
        status = judge_again(connection, target, &verdict);
    } else {
        status = server_admits_discovery(server, login) ? LOGIN_STATUS_SUCCESS
                                                        : LOGIN_STATUS_AUTHENTICATION_FAILURE;
    }
    if (status != LOGIN_STATUS_SUCCESS) {
        *ret_action = login_refuse(login, status, "the target was changed during the login");
        return NULL;
    }

    session = session_new(claim, connection, target, &verdict);
    if (session == NULL)
        *ret_action = login_refuse(login, LOGIN_STATUS_OUT_OF_RESOURCES, "out of memory");
    return session;
}

static void
lead(Connection *connection, SessionClaim *claim)
{
    LoginAction action = LOGIN_CLOSE;
    Session *session = make_session(connection, claim, &action);

    connection->claim = NULL;
    claim->connection = NULL;
    if (session != NULL) {
        enter(connection, session);
        return;
    }
    registry_release(&claim->claim);
    connection_act(connection, action);
}

/* The registry's answer */

static void
on_joined(SessionClaim *holder)
{
    Connection *connection = holder->connection;
    Server *place = holder->claim.joined;
    guint16 tsih = holder->claim.tsih;

    claim_free(holder);
    if (connection == NULL)
        return;
    if (place == connection->server)
        admission_join(connection, tsih);
    else
        handover_send(connection, place, tsih);
}

static void
on_refused(SessionClaim *holder)
{
    Connection *connection = holder->connection;
    LoginClaim answer = { .status = holder->claim.status, .reason = holder->claim.reason };

    if (connection != NULL) {
        connection->claim = NULL;
        connection->limit = holder->claim.limit;
        holder->connection = NULL;
        connection_act(connection, login_claimed(&connection->login->login, &answer));
    }
    claim_free(holder);
}

static void
on_claimed(Claim *claim)
{
    SessionClaim *holder = claim->user_data;

    if (claim->status != LOGIN_STATUS_SUCCESS)
        on_refused(holder);
    else if (claim->requested_tsih != 0)
        on_joined(holder);
    else if (holder->connection == NULL)
        registry_release(claim);
    else
        lead(holder->connection, holder);
}

static guint
target_limit(const Server *server, const IscsiTarget *target)
{
    if (target == NULL)
        return 0;
    return target->max_sessions != 0 ? target->max_sessions
                                     : server->limits.max_sessions_per_target;
}

/* What stands for the target in the nexus of a discovery session */
static char *
name_discovered(const Connection *connection)
{
    const Login *login = &connection->login->login;
    char text[ADDRESS_TEXT_MAX];

    if (login->discovered_name[0] != '\0')
        return g_strdup(login->discovered_name);

    address_format(&connection->local, text, sizeof(text));
    return g_strdup(text);
}

static guint16
judge_before(const Connection *connection)
{
    const Server *server = connection->server;
    const Login *login = &connection->login->login;
    IscsiVerdict verdict;

    if (login->type == ISCSI_SESSION_NORMAL)
        return judge_again(connection, server_find_target(server, login->target_name), &verdict);
    return server_admits_discovery(server, login) ? LOGIN_STATUS_SUCCESS
                                                  : LOGIN_STATUS_AUTHENTICATION_FAILURE;
}

/* The claim ends the session that has the nexus: who would not be let in after it may not claim */
void
admission_begin(Connection *connection)
{
    Server *server = connection->server;
    const Login *login = &connection->login->login;
    guint16 status = judge_before(connection);
    const IscsiTarget *target = NULL;
    SessionClaim *holder;
    Claim *claim;

    if (status != LOGIN_STATUS_SUCCESS) {
        refuse(connection, status, "the target was changed during the login");
        return;
    }
    holder = g_try_new0(SessionClaim, 1);
    if (holder == NULL) {
        refuse(connection, LOGIN_STATUS_OUT_OF_RESOURCES, "out of memory");
        return;
    }
    claim = &holder->claim;

    connection->state = CONNECTION_CLAIMING;
    watch_deselect(&connection->watch, EPOLLIN);

    if (login->type == ISCSI_SESSION_NORMAL) {
        target = server_find_target(server, login->target_name);
        claim->target_name = g_strdup(login->target_name);
    } else {
        claim->discovered = name_discovered(connection);
    }
    claim->registry = server->servers[0]->registry;
    claim->home = &server->worker->inbox;
    claim->type = login->type;
    memcpy(claim->isid, login->isid, sizeof(claim->isid));
    claim->tag = connection->tag;
    claim->requested_tsih = login->tsih;
    claim->initiator_name = g_strdup(login->initiator_name);
    claim->target_limit = target_limit(server, target);
    claim->claimed = on_claimed;
    claim->evict = on_evict;
    claim->released = on_released;
    claim->user_data = holder;
    claim->place = server;
    holder->server = server;
    holder->connection = connection;
    connection->claim = holder;
    list_append(&server->claims, &holder->link);
    registry_claim(claim);
}

void
admission_abandon(Connection *connection)
{
    if (connection->claim != NULL) {
        connection->claim->connection = NULL;
        connection->claim = NULL;
    }
    if (connection->awaited != NULL)
        remnant_login_gone(connection);
}
