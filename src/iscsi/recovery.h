/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "engine/loop.h"
#include "iscsi/task.h"
#include "util/list.h"

/*
 * Error recovery of tasks and PDUs, levels 1 and 2 (RFC 7143 7)
 *
 * At level 0 a task is over when its answer has left. Above it is kept until
 * the initiator has acknowledged the answer, so that what was lost can be sent
 * again; see recovery.c. TASK REASSIGN is in reassign.c.
 */

/* The highest level that is offered */
#define RECOVERY_LEVEL_MAX 2u

/* What a connection has for it; at level 0 none of it is used */
typedef struct {
    List kept;              /* Task.kept_link: answers that are not acknowledged, by StatSN */
    Timer timer;            /* set while there is anything to wait for */
    gint64 data_out_at;     /* when a Data-Out was complete last */
    guint64 n_acknowledged; /* of those that were kept */
    guint32 solicited_sn;   /* an acknowledgement up to this one was asked for, if is_solicited */
    gboolean is_solicited;
    gboolean wants_ack; /* ask for it when all that is ready has been sent */
} Recovery;

/* Session */

/* Error recovery level 2 was negotiated: tasks survive their connection */
gboolean recovery_keeps_tasks(const Session *session);

/**
 * recovery_suspend() - @connection has failed, at level 2
 *
 * Nothing of it is in the transmit ring any more (tx_drop()). Its tasks lose it and become
 * suspended under its CID: they go on running and keep what they have to say, answers that were not
 * acknowledged too, until TASK REASSIGN brings them to another connection or recovery_abandon()
 * ends them.
 */
void recovery_suspend(Connection *connection);

/* The suspended tasks of that connection will not be reassigned any more: they end, RFC 7143 7.6 */
void recovery_abandon(Session *session, const Remnant *remnant);

/* The session is logged out: all that are suspended end */
void recovery_abandon_all(Session *session);

/* @connection goes, at level 0 or 1, or without recovery: what is kept for it is freed */
void recovery_connection_closed(Connection *connection);

/* Connection */

void recovery_init(Connection *connection);

/* The initiator has everything below @exp_stat_sn */
void recovery_acknowledge(Connection *connection, guint32 exp_stat_sn);

/* The next text request is in: the answer to the last one is not needed any more, if it has left */
void recovery_forget_text(Connection *connection);

/* The header of a SNACK is in */
void recovery_snack(Connection *connection, const guint8 *bhs);

/* Something begins that could be lost and is to be looked after */
void recovery_watch(Connection *connection);

/* For tx.c, when all has been sent: TRUE if a NOP-In is to ask for an acknowledgement now */
gboolean recovery_wants_ping(Connection *connection);

/* An asynchronous message with that header and data has been numbered: keep it */
void recovery_keep_message(Connection *connection, const TxSlot *slot);

/* The session is short of room: ask for acknowledgements, which make room */
void recovery_press(Connection *connection);

/* Task */

/* Number the answer in @bhs, again as the first time, and keep the task from now on */
void recovery_number(Task *task, guint8 *bhs);

/* Encode the next PDU that is to be sent again; FALSE: there is none */
gboolean recovery_emit(Task *task, TxSlot *slot);

/* A suspended task belongs to @connection from now on; its answer, if it was made, gets a new StatSN */
void recovery_resume(Task *task, Connection *connection);

/* It ends, whether it was acknowledged or not */
void recovery_forget(Task *task);
