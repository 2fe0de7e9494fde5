/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "iscsi/rx.h"
#include "iscsi/task.h"

/*
 * Data of writes: immediate, unsolicited, solicited
 */

/* The header of a command is in: say where its immediate data goes */
void dataseq_command_header(Task *task, Rx *rx);

/* The command begins: take a buffer if data comes before it runs */
void dataseq_begin(Task *task);

/* The PDU of the command is complete and it has begun */
void dataseq_command_complete(Task *task);

/* The header of a Data-Out is in: find its task and where the data goes */
void dataseq_header(Connection *connection, Rx *rx);

/* The Data-Out is complete; @digest_error: its data is not to be used */
void dataseq_complete(Connection *connection, Rx *rx, gboolean digest_error);

/* scsi wants the command's segment filled */
void dataseq_segment(Task *task);

/* Whether FastAbort (RFC 7143 4.2.3.4) was agreed on */
gboolean dataseq_is_fast_abort(const Task *task);

/**
 * dataseq_drain() - the command has ended by an abort that is to be answered
 *
 * Returns: TRUE when nothing of the initiator is under way; else task_command_drained() is called
 *     when the last sequence has ended. What still comes is discarded.
 */
gboolean dataseq_drain(Task *task);

/**
 * dataseq_linger() - the same for an abort by its own session, of which nothing is said
 *
 * Returns: FALSE: it has no R2Ts to be answered; else task_command_drained() is called when it has
 *     none any more.
 */
gboolean dataseq_linger(Task *task);

/* It is answered: it is owed nothing, and what still comes is discarded */
void dataseq_close(Task *task);

/* Encode the next R2T that is to be sent; FALSE: there is none */
gboolean dataseq_emit_r2t(Task *task, TxSlot *slot);

/* A Target Transfer Tag that is new to the initiator */
guint32 dataseq_make_ttt(Task *task);

/**
 * dataseq_resend() - R2T SNACK, RFC 7143 11.16
 * @first, @n: BegRun and RunLength
 */
PduRejectReason dataseq_resend(Task *task, guint32 first, guint32 n);

/* Its connection has failed: what comes unasked does not come any more */
void dataseq_suspend(Task *task);

/* It has got another connection: ask for what has not come; the initiator has the R2Ts below @exp_sn */
void dataseq_reassign(Task *task, guint32 exp_sn);

/* The connection's timer: ask again for what does not come; TRUE while the initiator owes data */
gboolean dataseq_check(Task *task);
