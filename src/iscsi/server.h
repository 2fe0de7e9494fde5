/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <sys/uio.h>

#include <glib.h>

#include "engine/worker.h"
#include "iscsi/connection.h"
#include "iscsi/registry.h"
#include "iscsi/service.h"
#include "iscsi/session.h"
#include "iscsi/target.h"
#include "util/list.h"

/*
 * Server: the iSCSI layer on one worker
 *
 * Owned by the worker's thread from SERVER_START to the answer to SERVER_STOP;
 * made and freed by the control thread, which talks to it in orders. An order
 * is a message that every worker answers, some at once, some when what it asks
 * for has come to pass.
 *
 * Messages: HAND_CONNECTION and TAKEN (handover.c), PLACE_CONNECTION (Placement; answered by the events that count it),
 * the orders SERVER_START to SERVER_PING (each answered by the same node), EVENT
 * (ServerEvent; comes back to be freed), and those of registry.h.
 */

typedef struct Server Server;
typedef struct Order Order;
typedef struct Broadcast Broadcast;

#define SERVER_SCRATCH_SIZE ((gsize)256 << 10)
#define SERVER_IOVECS       1024

struct Server {
    Worker *worker;
    Server *const *servers; /* of all workers */
    guint n_servers;
    Mailbox *control;
    IscsiService *service; /* for messages; never looked into */
    IscsiLimits limits;
    Registry *registry; /* on its worker that of servers[0]; elsewhere to be sent to */

    guint8 *scratch; /* what a socket gives goes through here: SERVER_SCRATCH_SIZE */
    struct iovec *iovecs;
    GPtrArray *targets; /* IscsiTarget, by name */
    IscsiSecurity *security;
    LoginPolicy policy;
    List connections;
    List sessions;
    List claims; /* of this worker, from registry_claim() to their end */
    List orders; /* that wait */
    List dead_connections;
    List dead_sessions;
    Deferred reaper;
    Timer pressure_timer; /* buffers are short: pressure.c */
    gboolean pressure_has_closed;
    gboolean pressure_has_refused;
    gint64 pressure_looked_at;
    guint64 last_serial; /* of the newest session */
    guint n_events;      /* on their way to the control thread and back */
    guint n_handed;      /* connections on their way to other workers */
    gboolean is_started;
    gboolean is_stopping;
};

/* Control thread */

typedef enum {
    SERVER_START,
    SERVER_STOP,
    SERVER_SET_TARGET,
    SERVER_REMOVE_TARGET,
    SERVER_SET_SECURITY,
    SERVER_SET_LIMITS,
    SERVER_CLOSE_SESSIONS,
    SERVER_CLOSE_CONNECTION,
    SERVER_REQUEST_LOGOUT,
    SERVER_CANCEL_LOGOUT,
    SERVER_STATISTICS,
    SERVER_PING,
} OrderKind;

struct Order {
    Message message;
    Broadcast *broadcast;
    Server *server;
    ListLink link;
    /* SERVER_STATISTICS: this worker's part */
    IscsiSessionReport *sessions;
    guint n_sessions;
    IscsiLuReport *lus;
    PoolStatistics pool;
    guint64 n_stalls;
    /* SERVER_REQUEST_LOGOUT: see drain.c */
    Timer timer;
    guint64 last_serial;
    gboolean is_cancelled;
};

/* One request to all workers. The workers read it, the control thread owns it. */
struct Broadcast {
    OrderKind kind;
    void (*done)(Broadcast *broadcast); /* control thread: all orders were answered */
    IscsiService *service;
    Mailbox *control;
    guint n_pending;

    IscsiTarget *target;
    IscsiSecurity *security;
    IscsiLimits limits;
    char *name;   /* of a target, or NULL */
    guint16 tsih; /* of a session, or 0 */
    guint16 cid;  /* SERVER_CLOSE_CONNECTION */
    char *reason;
    guint32 request; /* SERVER_REQUEST_LOGOUT and SERVER_CANCEL_LOGOUT: its number */
    guint seconds;
    Lu **lus;
    char **lu_names; /* NULL-terminated */
    guint n_lus;

    IscsiDoneFn done_fn;
    IscsiStatisticsFn statistics_fn;
    gpointer user_data;

    guint n_orders;
    Order orders[];
};

/* A connection on its way to its worker */
typedef struct {
    Message message;
    Server *server;
    int fd;
    guint16 tag;
    guint32 portal_id;
    Address remote; /* comes back in the events that count */
} Placement;

Server *server_new(Worker *worker, const IscsiServiceConfig *config, IscsiService *service);
void server_free(Server *server); /* stopped, or never started */

void server_order(Server *server, Order *order);
void server_place(Server *server, Placement *placement_take);

/* What a worker tells: an IscsiEvent and what only the service counts */
typedef struct {
    Message message;
    Server *server;
    gboolean is_counted; /* of @n_events */
    gboolean login_ended;
    gboolean connection_closed;
    gboolean close_target; /* TARGET COLD RESET: all its sessions are to be closed */
    Server *taken_from;    /* a connection has come from there; or NULL */
    IscsiEvent event;
    IscsiParams params;
    char *strings[6];
} ServerEvent;

/* The control thread's: called for each event */
void service_event(IscsiService *service, ServerEvent *event);

/* Worker's thread */

/* The target of that name as it is now, or NULL */
IscsiTarget *server_find_target(const Server *server, const char *name);
gboolean server_next_target(const Connection *connection, const char *after,
                            IscsiTarget **ret_target);
/* Whether initiators get to see @target on this connection's portal */
gboolean server_target_is_visible(const IscsiTarget *target, guint16 tag);

/* Whether the session's initiator could log in to @target from its address through a portal group */
gboolean server_target_may_be_told(const Connection *connection, const IscsiTarget *target,
                                   guint16 tag);

/* What is known of who has logged in with @login on @connection; refers to both */
IscsiHolder server_login_holder(const Connection *connection, const Login *login);

/* Whether a discovery session may begin after @login, as security is now */
gboolean server_admits_discovery(const Server *server, const Login *login);

/* What judges the login of @connection; refers to it */
void server_init_policy(Connection *connection, LoginPolicy *ret_policy);

/* What the target offers, bounded by what this layer can do */
void server_offer(const IscsiTarget *target, IscsiParams *ret_params);

/* Post @type about @connection or @session or both (or neither); @reason is copied */
void server_post(Server *server, IscsiEventType type, const Connection *connection,
                 const Session *session, guint16 status, const char *reason);
void server_post_closed(Server *server, const Connection *connection, gboolean login_ended);
void server_post_taken(Server *server, const Connection *connection, Server *from);
void server_post_not_taken(Server *server, const Address *remote); /* a placement came to nothing */

/* @session was kept from using more than @limit; told at most every few seconds, with how often */
void server_post_limit(Server *server, Session *session, IscsiLimit limit);
void server_post_login_ended(Server *server, const Connection *connection);
void server_post_cold_reset(Server *server, const Session *session);

/* Something is gone: orders that wait may have come true */
void server_check_orders(Server *server);
void server_bury_connection(Server *server, Connection *connection);
void server_bury_session(Server *server, Session *session);

/* Zeroed memory that costs nothing until it is touched, or NULL */
void *server_map(gsize size);
void server_unmap(void *memory, gsize size);
