/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "engine/mailbox.h"
#include "engine/worker.h"
#include "iscsi/login.h"
#include "iscsi/peer-limits.h"
#include "iscsi/target.h"

/*
 * The iSCSI layer as the control thread sees it
 *
 * All functions here are called on the control thread. What they cause on
 * workers travels by message; completions and events come back through the
 * control thread's mailbox, so every callback below runs there too. No call
 * blocks.
 */

typedef struct IscsiService IscsiService;

typedef enum {
    ISCSI_EVENT_SESSION_OPENED,
    ISCSI_EVENT_SESSION_CLOSED,    /* @reason */
    ISCSI_EVENT_CONNECTION_OPENED, /* another one of a session: @cid, @params */
    ISCSI_EVENT_CONNECTION_CLOSED, /* one of a session that goes on: @cid, @reason */
    ISCSI_EVENT_LOGIN_REFUSED,     /* @status, @reason */
    ISCSI_EVENT_CONNECTION_LOST,   /* an open session's connection ended without logout: @reason */
    ISCSI_EVENT_PROTOCOL_ERROR,    /* @reason */
    ISCSI_EVENT_DIGEST_ERROR,      /* @reason is "header" or "data" */
    ISCSI_EVENT_TASK_MANAGEMENT,   /* @reason is the function's name */
    ISCSI_EVENT_BACKSTORE_ERROR,   /* @lu_name, @reason */
    ISCSI_EVENT_LIMIT,             /* @limit, @count; of those that have no event of another kind */
    ISCSI_EVENT_CONNECTIONS, /* a login ended or a connection closed: only the counters below changed */
} IscsiEventType;

/* Valid during the callback. Strings from the wire are valid UTF-8 (escaped where they were not). NULL: not known. */
typedef struct {
    IscsiEventType type;
    guint16 tsih; /* 0: none */
    gboolean discovery;
    guint8 isid[6];
    guint16 cid;
    const char *target_name;
    const char *initiator_name;
    const char *initiator_alias;
    const char *lu_name;
    const char *reason;
    int error;         /* BACKSTORE_ERROR: errno of the I/O, or 0 */
    guint16 status;    /* login status class << 8 | detail */
    IscsiLimit limit;  /* the limit that was the cause, of any type of event */
    guint count;       /* LIMIT: how often since the last such event; else 0, which is once */
    guint16 tag;       /* portal group of the connection */
    guint32 portal_id; /* as given to iscsi_service_add_connection() */
    Address local;
    Address remote;
    guint32 rule_id;    /* SESSION_OPENED, LOGIN_REFUSED: the access rule that decided, 0: none */
    LoginRemedy remedy; /* LOGIN_REFUSED: who can do something about it */
    const char *chap_user;     /* SESSION_OPENED: NULL: without authentication */
    const IscsiParams *params; /* SESSION_OPENED: what was negotiated */
    gint64 wall_time;          /* µs since the epoch */
} IscsiEvent;

typedef void (*IscsiEventFn)(const IscsiEvent *event, gpointer user_data);
typedef void (*IscsiDoneFn)(gpointer user_data);

typedef struct {
    Worker **workers; /* all; started; outlive the service */
    guint n_workers;
    Mailbox *control; /* drained by the control thread */
    IscsiEventFn event_fn;
    gpointer user_data;
    const IscsiLimits *limits; /* NULL: the defaults; only read by iscsi_service_new() */
} IscsiServiceConfig;

IscsiService *iscsi_service_new(const IscsiServiceConfig *config);

/* Closes every connection and forgets every target; @done when no worker holds anything any more */
void iscsi_service_stop(IscsiService *service, IscsiDoneFn done, gpointer user_data);
void iscsi_service_free(IscsiService *service); /* stopped */

/**
 * iscsi_service_add_connection() - serve an accepted socket
 * @fd: non-blocking, owned by the service from now on
 * @tag: target portal group tag of the portal it came in on
 * @portal_id: comes back in events
 */
void iscsi_service_add_connection(IscsiService *service, int fd, guint16 tag, guint32 portal_id);

/**
 * iscsi_service_set_target() - publish a new or changed target
 * @target: the caller's reference is taken
 * @done: every worker has taken it and nothing uses the version before any more (its LunMap
 *     included: LUs that left can be released now)
 */
void iscsi_service_set_target(IscsiService *service, IscsiTarget *target, IscsiDoneFn done,
                              gpointer user_data);

/**
 * iscsi_service_set_security() - publish algorithms and what discovery asks for
 * @security: the caller's reference is taken
 */
void iscsi_service_set_security(IscsiService *service, IscsiSecurity *security, IscsiDoneFn done,
                                gpointer user_data);

/**
 * iscsi_service_set_limits() - change what peers may use
 *
 * Holds for what comes next: connections and sessions that are there stay. What is out of range is
 * put to the nearest value that is not.
 */
void iscsi_service_set_limits(IscsiService *service, const IscsiLimits *limits);

/* Connections in all, and in the login phase */
guint iscsi_service_n_connections(const IscsiService *service);
/* Of one worker, which is what the choice for the next connection rests on */
guint iscsi_service_n_connections_of(const IscsiService *service, guint worker);
guint iscsi_service_n_logins(const IscsiService *service);

/* Bit per ChapAlgorithm: what can be had here (FIPS mode leaves MD5 and SHA1 out) */
guint32 iscsi_service_get_chap_algorithms(const IscsiService *service);

/* Close the target's sessions and forget it */
void iscsi_service_remove_target(IscsiService *service, const char *name, IscsiDoneFn done,
                                 gpointer user_data);

/* Drop one session (SESSION_CLOSED follows), one of its connections (CONNECTION_CLOSED, with the last
 * one SESSION_CLOSED), or all sessions of a target; initiators are told before, if they
 * read. Unknown is not an error. */
void iscsi_service_close_session(IscsiService *service, guint16 tsih, const char *reason);
void iscsi_service_close_connection(IscsiService *service, guint16 tsih, guint16 cid,
                                    const char *reason);
void iscsi_service_close_sessions(IscsiService *service, const char *target_name,
                                  const char *reason);

#define ISCSI_LOGOUT_SECONDS_MAX 600

/**
 * iscsi_service_request_logout() - ask initiators to log out
 * @target_name: NULL: of all targets
 * @tsih: 0: all sessions of the target
 * @seconds: how long they have; who is still there then is dropped. At least 1, at most
 *     ISCSI_LOGOUT_SECONDS_MAX.
 * @done: may be NULL. Called once, from a later turn of the loop: every session that was asked has
 *     gone, or the request was cancelled, or the service stops.
 *
 * Sends the asynchronous message that requests a logout. New logins meanwhile are the caller's
 * affair: a target that drains has a version that is not enabled.
 *
 * Returns: the number of the request, for iscsi_service_cancel_logout(); never 0
 */
guint32 iscsi_service_request_logout(IscsiService *service, const char *target_name, guint16 tsih,
                                     guint seconds, IscsiDoneFn done, gpointer user_data);

/* Sessions that are still there may stay. Its done function follows, unless it has been called. */
void iscsi_service_cancel_logout(IscsiService *service, guint32 request);

/*
 * Statistics are asked for, not read
 */

typedef struct {
    guint64 n_commands, n_reads, n_writes;
    guint64 bytes_read, bytes_written;  /* data of commands */
    guint64 bytes_received, bytes_sent; /* on the wire, after login */
    guint64 n_pdus_received, n_pdus_sent;
    guint64 n_header_digest_errors, n_data_digest_errors;
    guint64 n_task_management;
    guint32 n_active; /* commands in flight */
    guint32 window;   /* CmdSN window now */
} IscsiSessionStatistics;

/* What passes on one connection: the other counters are the session's */
typedef struct {
    guint16 cid;
    IscsiSessionStatistics statistics;
} IscsiConnectionReport;

typedef struct {
    guint16 tsih;
    IscsiSessionStatistics statistics;
    IscsiConnectionReport connections[ISCSI_CONNECTIONS_MAX];
    guint n_connections;
} IscsiSessionReport;

typedef struct {
    char *name; /* of the LU = of its backstore */
    LuStatistics lu;
    BackstoreStatistics store;
} IscsiLuReport;

typedef struct {
    IscsiSessionReport *sessions;
    guint n_sessions;
    IscsiLuReport *lus;
    guint n_lus;
    guint n_logins;               /* connections in the login phase */
    guint64 pool_size, pool_used; /* bytes, all workers */
    guint64 n_stalls;             /* loop turns above 10 ms */
} IscsiStatistics;

/* @statistics is valid during the callback */
typedef void (*IscsiStatisticsFn)(const IscsiStatistics *statistics, gpointer user_data);

/* @lus: the LUs to report on, borrowed for the call */
void iscsi_service_get_statistics(IscsiService *service, Lu *const *lus, guint n_lus,
                                  IscsiStatisticsFn done, gpointer user_data);

/* Each worker answers: for the watchdog */
void iscsi_service_ping(IscsiService *service, IscsiDoneFn done, gpointer user_data);
