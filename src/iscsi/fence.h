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
    List waiting;           /* Task.out_link: all that has something to say since, in that order */
} Fence;

typedef enum {
    FENCE_NONE,
    FENCE_ATTENTION, /* a unit attention that tells that tasks were ended; REQUEST SENSE takes it too */
    FENCE_PREEMPTION, /* PREEMPT AND ABORT */
} FenceKind;

void fence_init(Session *session);

/* The answer of @task is ready and is to be fenced; with one connection that is tx_queue() */
void fence_answer(Task *task);

/* Whether the status of @command is one of those to be fenced, and why */
FenceKind fence_kind(const ScsiCommand *command);

/* Something of a connection that is held was acknowledged, or has left */
void fence_check(Session *session);

/* Nothing more is sent on @connection: what waits for that waits no more */
void fence_forget(Session *session, const Connection *connection);

/* @connection goes; its tasks have left it */
void fence_connection_gone(Session *session, const Connection *connection);

/* The session logs out or closes: nothing is held any more */
void fence_lift(Session *session);
