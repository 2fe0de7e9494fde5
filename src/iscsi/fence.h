/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "scsi/command.h"
#include "util/list.h"

/*
 * Response fence: answers that the initiator must see after all answers before
 * them, and before all after them, whichever connection these come on
 */

typedef struct Connection Connection;
typedef struct Session Session;
typedef struct Task Task;

typedef struct {
    Task *task;             /* its answer waits for those before it; or NULL */
    Connection *connection; /* it was sent there and is not acknowledged; or NULL */
    List waiting;           /* Task.link: fenced answers behind it */
} Fence;

void fence_init(Session *session);

/* The answer of @task is ready and is to be fenced; with one connection that is tx_queue() */
void fence_answer(Task *task);

/* Whether the status of @command is one of those to be fenced */
gboolean fence_concerns(const ScsiCommand *command);

/* Something of a connection that is held was acknowledged, or has left */
void fence_check(Session *session);

/* @connection goes; its tasks have left it */
void fence_connection_gone(Session *session, const Connection *connection);

/* The session logs out or closes: nothing is held any more */
void fence_lift(Session *session);
