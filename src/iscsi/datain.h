/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "iscsi/task.h"

/*
 * Data of reads: Data-In PDUs, and sending them again
 */

/* How much of the current segment the initiator takes */
guint32 datain_wanted(const ScsiCommand *command);

/* The current segment is to be sent; it goes when the task is queued */
void datain_begin(Task *task, gboolean is_last);

/* The same, and now */
void datain_queue(Task *task, gboolean is_last);

/* What has not been put into PDUs will not be sent */
void datain_drop(Task *task);

/* Encode the next Data-In; there is one */
void datain_emit(Task *task, TxSlot *slot);

/* Encode the next Data-In that is to be sent again; FALSE: there is none */
gboolean datain_emit_again(Task *task, TxSlot *slot);

/* Encode the last one, which carried the status, again */
void datain_emit_last(Task *task, TxSlot *slot);

/**
 * datain_resend() - Data SNACK, RFC 7143 11.16
 * @first, @n: BegRun and RunLength
 *
 * Returns: PDU_REJECT_NONE, or what is wrong with it: PDU_REJECT_SNACK when the data is gone
 */
PduRejectReason datain_resend(Task *task, guint32 first, guint32 n);

/* R-Data SNACK, RFC 7143 11.16.3: all that is not acknowledged comes again, then a SCSI Response with @tag */
PduRejectReason datain_resegment(Task *task, guint32 tag);

/* It has got another connection: go on from @exp_data_sn, or from what was acknowledged */
void datain_reassign(Task *task, guint32 exp_data_sn);

/* DataACK: the initiator has all below @data_sn */
PduRejectReason datain_acknowledge(Task *task, guint32 ttt, guint32 data_sn);

/* The connection's timer: TRUE while an acknowledgement is waited for */
gboolean datain_check(Task *task);
