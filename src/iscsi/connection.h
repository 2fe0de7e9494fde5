/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "engine/loop.h"
#include "iscsi/async.h"
#include "iscsi/discovery.h"
#include "iscsi/login.h"
#include "iscsi/pace.h"
#include "iscsi/param.h"
#include "iscsi/recovery.h"
#include "iscsi/registry.h"
#include "iscsi/rx.h"
#include "iscsi/service.h"
#include "iscsi/tx.h"
#include "util/address.h"
#include "util/list.h"

/*
 * Connection: one socket, from accept to close
 */

typedef struct Remnant Remnant;
typedef struct Server Server;
typedef struct SessionClaim SessionClaim;

typedef enum {
    CONNECTION_LOGIN,
    CONNECTION_CLAIMING, /* the registry was asked; nothing is read */
    CONNECTION_FULL_FEATURE,
    CONNECTION_ENDING,   /* the last PDU is on its way; what comes in is discarded */
    CONNECTION_DRAINING, /* shut down for writing; waits for the peer to close */
    CONNECTION_CLOSED,
    CONNECTION_STATE_N,
} ConnectionState;

/* What only the login needs */
typedef struct {
    LoginPolicy policy;
    Login login;
    guint8 data[PDU_LOGIN_DATA_MAX];
} ConnectionLogin;

/* What only an exchange of text needs */
typedef struct {
    Discovery discovery;
    gboolean is_busy; /* a request is being received or answered */
    gboolean has_ended;
    IscsiParams offer;
    guint8 data[TEXT_TOTAL_MAX];
} ConnectionText;

struct Connection {
    Server *server;
    ListLink link;         /* of the server */
    ListLink session_link; /* of the session */
    Session *session;      /* NULL before the full feature phase and after the logout */
    ConnectionState state;
    int fd;
    Watch watch;
    Deferred flush;
    Timer timer; /* login timeout; NOP interval and timeout; drain timeout */
    guint16 tag;
    guint32 portal_id;
    guint16 cid;
    Address local;
    Address remote;
    IscsiSessionType type;
    IscsiParams params;
    guint32 recv_limit; /* the largest MaxRecvDataSegmentLength that we have declared */
    guint32 stat_sn;    /* of the next PDU that has one */
    guint32 exp_stat_sn;
    ConnectionLogin *login;
    SessionClaim *claim; /* while the login waits for it */
    Remnant *awaited;    /* the same: what a connection that it replaces has begun */
    ConnectionText *text;
    Rx rx;
    Tx tx;
    Async async;
    Recovery recovery;
    Pace taken; /* while buffers are short: see pressure.c */
    Pace given;
    gint64 behind_since; /* if is_slow */
    gboolean is_slow;

    /* target's pings */
    gint64 received_at;
    gint64 pinged_at;
    guint32 ping_ttt;
    gboolean is_pinged;

    /* how it ends, see logout.c */
    Task *logout;           /* of this connection or of the session, that came on it */
    gboolean is_leaving;    /* nothing that still comes counts */
    gboolean is_logged_out; /* the answer has left */
    gboolean is_removed;    /* logged out for recovery */
    gboolean is_replaced;   /* by another connection, or logged out on one */
    gboolean peer_has_gone; /* it need not be told */

    gint64 accepted_at;
    IscsiLimit limit; /* what it has run into, for the event about that */
    guint n_reports;  /* protocol error events posted */
    guint64 bytes_received, bytes_sent;
    guint64 n_pdus_received, n_pdus_sent;
    guint64 n_header_digest_errors, n_data_digest_errors;
};

/* Serve @fd, which is owned from now on */
void connection_new(Server *server, int fd, guint16 tag, guint32 portal_id, const Address *remote);

/* Memory only; the connection is closed */
void connection_free(Connection *connection);

/**
 * connection_close() - end at once, drop what is unsent
 * @reason: for the journal
 *
 * Memory stays until the end of the turn. Its session goes with its last connection, unless that can
 * be recovered.
 */
void connection_close(Connection *connection, const char *reason);

/* Send what is queued, then shut down and wait a little for the peer to close */
void connection_end(Connection *connection);

/* The same, for one whose session has been logged out on another connection */
void connection_leave(Connection *connection, const char *reason);

/* Between two workers, while the login waits: stop all that belongs to this one's loop, or start it */
void connection_detach(Connection *connection);
gboolean connection_attach(Connection *connection, Server *server); /* FALSE: it was closed */

/* Do what the login says */
void connection_act(Connection *connection, LoginAction action);

/* Send a Reject of the PDU in @bhs */
void connection_reject(Connection *connection, const guint8 *bhs, PduRejectReason reason);

/* The same, of a Data/R2T SNACK: @data_sn is the next number that would be sent for the task */
void connection_reject_data(Connection *connection, const guint8 *bhs, PduRejectReason reason,
                            guint32 data_sn);

/* The peer broke the protocol: report it, and when @reason is not NONE tell it; then close */
void connection_fail(Connection *connection, const guint8 *bhs, PduRejectReason reason,
                     const char *text);

/* Report something odd that the connection survives; at most a few times a connection */
void connection_report(Connection *connection, const char *text);

static inline gboolean
connection_is_open(const Connection *connection)
{
    return connection->state != CONNECTION_CLOSED;
}

static inline gboolean
connection_is_full_feature(const Connection *connection)
{
    return connection->state == CONNECTION_FULL_FEATURE;
}

/* rx: a PDU of the login phase is complete */
void connection_login_pdu(Connection *connection, const guint8 *bhs, const guint8 *data,
                          gsize size);

/* rx: an answer to our ping, or any other NOP-Out without a tag */
void connection_pong(Connection *connection, const guint8 *bhs);

/* Ask the initiator for an answer; who gives none in time is closed */
void connection_ping(Connection *connection);

/* rx: the socket gave something */
void connection_received(Connection *connection);

/* tx: all that was queued has been sent */
void connection_sent(Connection *connection);

/* A Text Request begins an exchange: set up connection->text */
void connection_begin_text(Connection *connection);

/* The settings of the session's target changed */
void connection_set_timer(Connection *connection);
