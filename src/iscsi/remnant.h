/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "engine/loop.h"
#include "util/list.h"

/*
 * Remnant: what is left in a session of a connection that has ended
 *
 * Its CID, until somebody logs it out or its time is over, and its tasks, until
 * they have ended or have gone to another connection.
 */

typedef struct Connection Connection;
typedef struct Session Session;
typedef struct Task Task;
typedef struct Remnant Remnant;

typedef enum {
    REMNANT_FAILED,  /* nobody has logged it out: CLEANUP_WAIT of RFC 7143 8.2 */
    REMNANT_REMOVED, /* logged out for recovery: its tasks may go to other connections */
    REMNANT_ENDING,  /* its CID is free, but something that it has begun has not ended yet */
} RemnantState;

struct Remnant {
    ListLink link; /* of the session */
    Session *session;
    guint16 cid;
    RemnantState state;
    gint64 since;      /* its time began; REMNANT_ENDING: 0 */
    gint64 wait_until; /* REMNANT_REMOVED: no reassignment before */
    Timer timer;       /* the end of its time, or of the time that a logout waits */
    Connection *login; /* that replaces it and waits for its tasks, or NULL */
    Task *logout;      /* the same, or NULL */
    gboolean is_told;  /* the initiator knows, or need not know */
};

/**
 * remnant_new() - take over what @connection of @session has begun
 * @state: what a connection that has failed, is removed or has been closed leaves
 * @except: the logout that is the cause, if it came on this connection; or NULL
 *
 * At error recovery level 2 tasks of connections that have failed or are removed keep running;
 * else they are ended.
 *
 * Returns: NULL: nothing is left
 */
Remnant *remnant_new(Session *session, Connection *connection, RemnantState state, Task *except);

/* A connection of that CID that has failed or was removed, and was not replaced; or NULL */
Remnant *remnant_find(const Session *session, guint16 cid);

/* End its tasks and forget its CID. Returns: NULL: nothing had to be waited for, it has gone */
Remnant *remnant_end(Remnant *remnant);

/* The initiator has logged it out for recovery: its time begins */
void remnant_remove(Remnant *remnant);

/* @logout is answered when its tasks have ended, or have taken too long */
void remnant_set_logout(Remnant *remnant, Task *logout);
void remnant_forget_logout(Session *session, const Task *logout); /* it goes unanswered */

/**
 * remnant_replace() - the login of @connection takes the place of the connection of its CID
 *
 * Returns: FALSE: there is nothing to wait for; else admission_go_on() follows
 */
gboolean remnant_replace(Session *session, Connection *connection);

/* @connection, whose login waits, has closed */
void remnant_login_gone(Connection *connection);

/* Deferred function of the session: tasks without a connection have ended */
void remnant_review(Session *session);

/* Whether any keeps a session alive that has no connection */
gboolean remnant_may_recover(const Session *session);

/* The session closes: forget all, refuse logins that wait */
void remnant_drop_all(Session *session);

/* Seconds from now, as the initiator is told: of tasks that can be reassigned; 0 where they cannot */
guint16 remnant_time2wait(const Session *session);
guint16 remnant_time2retain(const Session *session);
