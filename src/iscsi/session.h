/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "iscsi/connection.h"
#include "iscsi/fence.h"
#include "iscsi/registry.h"
#include "iscsi/service.h"
#include "iscsi/target.h"
#include "iscsi/task.h"
#include "scsi/nexus.h"
#include "util/list.h"

/*
 * Session: the I_T nexus, its CmdSN window and its tasks
 *
 * Lives on one worker with all its connections.
 */

#define SESSION_WINDOW_START 8
#define SESSION_DEPTH_MAX    128
#define SESSION_PARKED       256 /* a power of two above every window */
#define SESSION_BUCKETS      256

/* The session's place in the registry, from the claim to the release */
struct SessionClaim {
    Claim claim;
    ListLink link; /* of the server */
    Server *server;
    Connection *connection; /* whose login waits, or NULL */
    Session *session;       /* NULL before and after it lives */
};

/* Commands that wait to run, by task attribute */
typedef enum {
    SESSION_LINE_SIMPLE,
    SESSION_LINE_ORDERED,
    SESSION_LINE_HEAD,
    SESSION_LINE_N,
} SessionLineKind;

typedef struct {
    List waiting;
    gsize charged;
    gsize charge_max;
} SessionLine;

struct Session {
    Server *server;
    ListLink link;
    List connections;
    guint n_connections;
    guint n_joining; /* logins that are about to be added */
    List remnants;   /* of connections that have ended */
    guint n_awaited; /* of these, those whose tasks are waited for */
    Deferred review; /* a task without a connection has ended: look whether it was the last */
    SessionClaim *claim;
    IscsiTarget *target; /* a reference; NULL in discovery sessions */
    Nexus *nexus;        /* NULL in discovery sessions and after the logout */
    IscsiSessionType type;
    IscsiParams params;
    guint16 tsih;
    guint64 serial; /* they count up on a worker */
    guint8 isid[6];
    guint16 tag;
    char *initiator_name;
    char *initiator_alias;      /* or NULL */
    Address remote;             /* where the login came from */
    char *chap_user;            /* who proved itself at the login; NULL: nobody */
    Credentials *chap_accounts; /* a reference: by which of them, as they were then; or NULL */
    guint32 rule_id;            /* the access rule that let it in, 0: none */

    /* CmdSN, RFC 7143 4.2.2.1 */
    guint32 exp_cmd_sn;
    guint32 max_cmd_sn;
    guint limit;                          /* places of the window now */
    guint depth;                          /* places it may come to */
    Task *parked[SESSION_PARKED];         /* by CmdSN: complete, but not their turn */
    guint32 skipped[SESSION_PARKED / 32]; /* CmdSNs that count as received */
    guint n_parked;
    List held;    /* task management that waits for commands before it */
    List answers; /* task management that is done, and waits for data of what it has ended */
    Timer answer_timer;
    Fence fence;
    List suspended;         /* Task.kept_link: of failed connections, see recovery.c */
    guint n_ignored_acks;   /* A bits in a row that the initiator did not answer */
    gboolean recovers_data; /* it has acknowledged data, or asked for some again */
    guint n_extra;          /* kept without a place of their class */

    /* Slots */
    Task *tasks;
    guint n_tasks;
    guint n_touched;
    List free_tasks;
    guint n_used;
    guint n_class[TASK_CLASS_N];
    Task *buckets[SESSION_BUCKETS];
    guint16 ttt_count;

    /* Room: shares of the worker's pool */
    SessionLine lines[SESSION_LINE_N];
    gsize reserved; /* for data that comes unasked */
    gsize reserve_max;
    guint n_limited;   /* refusals that were not told yet */
    gint64 limited_at; /* when some were told last; 0: never */
    gsize grow_min;    /* what must be free for the window to grow */

    guint n_holds; /* while not 0, the session does not finish */
    gboolean is_closing;
    gboolean is_finished;
    gboolean has_left; /* the nexus has given up what it had */
    Task *logout;      /* whose answer waits for the others */
    Timer logout_timer;
    Timer gap_timer; /* a rejected request has to come again: gap.c */
    guint32 gap_cmd_sn;
    gboolean gap_is_idle; /* nothing is missed until something comes behind it */
    Deferred reset;       /* I_T NEXUS RESET was answered: drop it */
    char *reason;         /* why it closes */

    IscsiSessionStatistics statistics; /* of the commands, and of connections that are gone */
};

/**
 * session_new() - for a session whose claim was granted
 * @connection: whose login it was
 * @target, @verdict: NULL in discovery sessions
 *
 * Returns: NULL: no memory
 */
Session *session_new(SessionClaim *claim, const Connection *connection, IscsiTarget *target,
                     const IscsiVerdict *verdict);
void session_free(Session *session); /* finished */
void session_add_connection(Session *session, Connection *connection);
Connection *session_find_connection(const Session *session, guint16 cid); /* or NULL */

/* @connection is closed; with the last one the session goes, unless it can be recovered */
void session_connection_closed(Session *session, Connection *connection, const char *reason);

/* Something that kept a session without connections alive is gone */
void session_check_kept(Session *session, const char *reason);

/* Connection @cid has been logged out for recovery, and Time2Wait is over */
gboolean session_cid_is_recoverable(const Session *session, guint16 cid);

/* The limits of the server changed: how much of the pool its commands may hold */
void session_limit_room(Session *session);

/* Drop it: connections, tasks, nexus; SESSION_CLOSED is posted when all is gone */
void session_close(Session *session, const char *reason);

/* The same, but the initiator is told before: @event is PDU_ASYNC_CONNECTION_DROP or ..SESSION_DROP */
void session_drop(Session *session, PduAsyncEvent event, const char *reason);

/* The same for one connection; with the last one the session goes */
void session_drop_connection(Session *session, guint16 cid, const char *reason);

/* I_T NEXUS RESET was answered: drop it at the end of the turn */
void session_reset(Session *session);

/* Whether @target lets in from everywhere where the session has a connection, and by one rule; without
 * any from where it came */
gboolean session_is_admitted(const Session *session, const IscsiTarget *target,
                             IscsiVerdict *ret_verdict);

/* Whether the session has given the proof that @verdict asks for, by an account of that secret; users
 * of one name need not be one */
gboolean session_is_proved(const Session *session, const IscsiVerdict *verdict);

/* There is a new version of the target; it may not let this session in any more */
void session_set_target(Session *session, IscsiTarget *target);
void session_report(const Session *session, IscsiSessionReport *ret_report);

/* Tasks */
Task *session_find_task(const Session *session, guint32 itt);

/* NULL: no slot of that class is left */
Task *session_take_task(Session *session, Connection *connection, TaskKind kind, TaskClass class,
                        const guint8 *bhs);
void session_give_task(Session *session, Task *task);

/* The tag of an answered task that is kept may mean another one from now on */
void session_forget_tag(Session *session, Task *task);

/* The place that @task has is free, but not the task itself */
void session_release_place(Session *session, Task *task);

/* The answer of @task was made: its place of the window is free for a new command */
void session_release_window(Session *session, Task *task);

typedef enum {
    SESSION_NOW,    /* it is this one's turn */
    SESSION_LATER,  /* in the window, but others come first */
    SESSION_IGNORE, /* outside of the window, or a second one of the same number */
} SessionOrder;

SessionOrder session_order(const Session *session, const guint8 *bhs);

/* The PDU of @task is complete: deliver it, or park it until its turn; and those it kept waiting */
void session_deliver(Session *session, Task *task);

/* Task management: the command of that CmdSN never came and need not come any more */
void session_skip(Session *session, guint32 cmd_sn);

/* Bring MaxCmdSN up to what slots allow; it never moves back */
void session_update_window(Session *session);

/* There is room again: let waiting commands run */
void session_run_waiting(Session *session);

/* Something ended: a session that closes or logs out may be done */
void session_check(Session *session);

/* A logout of the session: what waits for its turn will not have it, what runs is aborted */
void session_drop_parked(Session *session);
void session_abort_all(Session *session);

/* FALSE while the nexus has something that ends with it; session_check() is called again then */
gboolean session_drop_nexus(Session *session);
