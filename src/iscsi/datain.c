/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Data of reads
 *
 * A segment of a command becomes a run of Data-Ins, each as long as the
 * initiator's MaxRecvDataSegmentLength and MaxBurstLength allow. Nothing is
 * remembered of a PDU that was sent: where its data begins follows from its
 * DataSN, by counting from a place that is known (TaskDataIn.base). So above
 * error recovery level 0 any of them can be made again, exactly as it was (RFC
 * 7143 11.16), as long as the segment's buffer is there.
 *
 * The buffer of the last segment stays until the status is acknowledged. The
 * others are asked for by the A bit (RFC 7143 11.7.2): the segment ends its
 * sequence, and the next one is read when the DataACK has come. An initiator
 * may ignore the bit (11.16.2), so the wait has an end, which is near for one
 * that has shown no sign of recovery in the session: neither a DataACK nor a
 * SNACK for data. It costs such a session one pause, after which it is not asked
 * any more; a SNACK for data that is gone is rejected and ends its command
 * (RFC 7143 7.8).
 */

#include "iscsi/datain.h"

#include "iscsi/connection.h"
#include "iscsi/dataseq.h"
#include "iscsi/server.h"
#include "iscsi/session.h"
#include "iscsi/tx.h"

/* How long a DataACK is waited for, from who may not send any and from who recovers */
#define FIRST_ACK_USEC (2 * USEC_PER_SEC)
#define DATA_ACK_USEC  (10 * USEC_PER_SEC)

/* After so many in vain no more are waited for; the first of a session counts for all */
#define IGNORED_ACKS_MAX 2

static gint64
now_of(const Task *task)
{
    return task->session->server->worker->loop.now;
}

guint32
datain_wanted(const ScsiCommand *command)
{
    if (command->data == NULL || command->data_offset >= command->expected_in)
        return 0;
    return (guint32)MIN((guint64)command->data_length, command->expected_in - command->data_offset);
}

/* Nothing is to be sent again any more */
static void
stop_again(TaskDataIn *in)
{
    in->again_end = in->again.data_sn;
}

void
datain_begin(Task *task, gboolean is_last)
{
    TaskDataIn *in = &task->command.in;

    in->has_segment = TRUE;
    in->is_last_segment = is_last;
    in->segment_size = datain_wanted(&task->command.scsi);
    in->next.sent = 0;
    in->begin = in->base = in->next;
    stop_again(in);
    if (task->connection == NULL)
        return;

    in->pdu_max = task->connection->params.max_xmit_data_segment_length;
    task->connection->tx.unsent += in->segment_size;
}

void
datain_queue(Task *task, gboolean is_last)
{
    datain_begin(task, is_last);
    if (task->connection != NULL)
        tx_queue(task);
}

void
datain_drop(Task *task)
{
    TaskDataIn *in = &task->command.in;

    in->has_asked = FALSE;
    stop_again(in);
    if (!in->has_segment)
        return;

    in->has_segment = FALSE;
    if (task->connection != NULL) {
        Tx *tx = &task->connection->tx;

        tx->unsent -= MIN(tx->unsent, in->segment_size - in->next.sent);
    }
}

/* PDUs */

static guint32
size_at(const Task *task, const TaskPlace *at)
{
    const TaskDataIn *in = &task->command.in;
    guint32 size = MIN(in->segment_size - at->sent, in->pdu_max);

    return MIN(size, task->session->params.max_burst_length - at->burst);
}

static gboolean
ends_sequence(const Task *task, const TaskPlace *at, guint32 size)
{
    const TaskDataIn *in = &task->command.in;
    const ScsiCommand *command = &task->command.scsi;
    guint32 sent = at->sent + size;

    if (at->burst + size == task->session->params.max_burst_length)
        return TRUE;
    return sent == in->segment_size && (in->is_last_segment || in->has_asked ||
                                        command->data_offset + sent == command->expected_in);
}

/* Returns: the size of the PDU that was at @at */
static guint32
move_on(const Task *task, TaskPlace *at)
{
    guint32 size = size_at(task, at);
    gboolean is_end = ends_sequence(task, at, size);

    at->data_sn++;
    at->sent += size;
    at->burst = is_end ? 0 : at->burst + size;
    return size;
}

/* All but the numbers of the PDU at @at, which moves on */
static void
encode(Task *task, TxSlot *slot, TaskPlace *at)
{
    const TaskDataIn *in = &task->command.in;
    const ScsiCommand *command = &task->command.scsi;
    TaskPlace place = *at;
    guint32 size = move_on(task, at);
    gboolean asks = in->has_asked && at->sent == in->segment_size;
    guint8 flags = at->burst == 0 ? PDU_FINAL : 0;

    if (G_UNLIKELY(asks))
        flags |= PDU_DATA_IN_ACKNOWLEDGE;
    pdu_encode_data_in(slot->head, task->itt, flags, asks ? pdu_lun(task->bhs) : 0,
                       asks ? in->ack_ttt : PDU_TAG_RESERVED, place.data_sn,
                       (guint32)command->data_offset + place.sent, size);
    slot->data = command->data + place.sent;
    slot->data_size = size;
}

static void
number_data(Task *task, guint8 *bhs)
{
    Session *session = task->session;

    pdu_set_sequence(bhs, 0, session->exp_cmd_sn, session->max_cmd_sn);
    task->connection->tx.told_max_cmd_sn = session->max_cmd_sn;
}

static void
put_status(Task *task, TxSlot *slot)
{
    guint32 residual;
    guint8 flags = task_command_residual(task, &residual);

    pdu_set_data_in_status(slot->head, (guint8)task->command.scsi.status, flags, residual);
    task_number_status(task, slot->head);
}

/* With the answer to an R-Data SNACK comes a tag, which only a SCSI Response has room for */
static gboolean
may_collapse(const Task *task)
{
    const ScsiCommand *command = &task->command.scsi;
    const TaskDataIn *in = &task->command.in;

    return command->status == SCSI_GOOD && command->sense_length == 0 && in->snack_tag == 0 &&
           !in->is_refused;
}

/* The PDU that ends a segment: the initiator shall say when it has it all */
static void
ask(Task *task)
{
    TaskDataIn *in = &task->command.in;

    in->has_asked = TRUE;
    in->ack_ttt = dataseq_make_ttt(task);
    in->asked_at = now_of(task);
    recovery_watch(task->connection);
}

static gboolean
must_ask(const Task *task)
{
    const Session *session = task->session;

    return session->params.error_recovery_level > 0 && session->n_ignored_acks < IGNORED_ACKS_MAX &&
           !task->command.in.is_last_segment;
}

void
datain_emit(Task *task, TxSlot *slot)
{
    TaskDataIn *in = &task->command.in;
    guint32 pdu_max = task->connection->params.max_xmit_data_segment_length;
    TaskPlace place = in->next;

    /* It was negotiated anew: what was sent before can be counted no more */
    if (G_UNLIKELY(in->pdu_max != pdu_max)) {
        in->pdu_max = pdu_max;
        in->base = in->next;
        stop_again(in);
    }

    if (must_ask(task) && place.sent + size_at(task, &place) == in->segment_size)
        ask(task);
    encode(task, slot, &in->next);

    if (in->next.sent != in->segment_size) {
        number_data(task, slot->head);
        return;
    }
    in->has_segment = FALSE;
    if (in->is_last_segment && may_collapse(task)) {
        in->has_status = FALSE;
        in->is_collapsed = TRUE;
        in->last = place;
        slot->ends_task = TRUE;
        put_status(task, slot);
        return;
    }

    number_data(task, slot->head);
    slot->ends_segment = !in->is_last_segment && !in->has_asked;
}

void
datain_emit_last(Task *task, TxSlot *slot)
{
    TaskPlace place = task->command.in.last;

    encode(task, slot, &place);
    put_status(task, slot);
    task->connection->tx.unsent += slot->data_size;
}

gboolean
datain_emit_again(Task *task, TxSlot *slot)
{
    TaskDataIn *in = &task->command.in;

    if (in->again.data_sn == in->again_end)
        return FALSE;

    if (in->is_collapsed && in->again.data_sn == in->last.data_sn) {
        stop_again(in);
        datain_emit_last(task, slot);
        return TRUE;
    }
    encode(task, slot, &in->again);
    number_data(task, slot->head);
    task->connection->tx.unsent += slot->data_size;
    return TRUE;
}

/* What the initiator asks for */

/* Whether the buffer has, and goes on to have, what was sent of the current segment */
static gboolean
is_gone(const Task *task)
{
    const TaskDataIn *in = &task->command.in;

    return task->command.scsi.data == NULL || in->segment_size == 0 ||
           !(in->has_segment || in->has_asked || in->is_last_segment);
}

/* RFC 7143 7.8: if the status was not sent, it will say so */
static PduRejectReason
refuse(Task *task)
{
    if (!task->is_numbered)
        task->command.in.is_refused = TRUE;
    return PDU_REJECT_SNACK;
}

static TaskPlace
find_place(const Task *task, guint32 data_sn)
{
    TaskPlace place = task->command.in.base;

    while (place.data_sn != data_sn)
        (void)move_on(task, &place);
    return place;
}

PduRejectReason
datain_resend(Task *task, guint32 first, guint32 n)
{
    TaskDataIn *in = &task->command.in;
    guint32 end = in->next.data_sn;
    gboolean is_all = first == 0 && n == 0;

    if (is_all)
        first = in->acked_sn;
    if (is_all && first == end)
        return PDU_REJECT_NONE;
    if (first < in->acked_sn || first >= end || n > end - first)
        return PDU_REJECT_PROTOCOL_ERROR;
    if (first < in->base.data_sn || is_gone(task))
        return refuse(task);

    if (n != 0)
        end = first + n;
    if (in->again.data_sn == in->again_end) {
        in->again = find_place(task, first);
        in->again_end = end;
    } else {
        /* What is asked for already comes first: it is sent in order */
        if (first < in->again.data_sn)
            in->again = find_place(task, first);
        in->again_end = MAX(in->again_end, end);
    }
    in->asked_at = now_of(task);
    task->session->recovers_data = TRUE;
    task->is_resending = TRUE;
    tx_queue(task);
    return PDU_REJECT_NONE;
}

/* From the first byte of the segment on, in PDUs as the initiator takes them now */
static void
rewind_segment(Task *task)
{
    TaskDataIn *in = &task->command.in;

    task->connection->tx.unsent +=
        (in->has_segment ? in->next.sent : in->segment_size) - in->begin.sent;
    in->has_segment = TRUE;
    in->has_asked = FALSE;
    in->next = in->base = in->begin;
    in->pdu_max = task->connection->params.max_xmit_data_segment_length;
    stop_again(in);
}

PduRejectReason
datain_resegment(Task *task, guint32 tag)
{
    TaskDataIn *in = &task->command.in;

    if (in->next.data_sn != in->acked_sn) {
        if (in->acked_sn != in->begin.data_sn || is_gone(task))
            return refuse(task);
        rewind_segment(task);
    }

    in->snack_tag = tag;
    in->is_collapsed = FALSE;
    if (task->is_numbered) {
        in->has_status = TRUE;
        task->is_active = TRUE;
    }
    /* What was numbered is not acknowledged without it: a fence would wait for both */
    if (task->is_numbered)
        tx_queue_now(task);
    else if (in->has_segment || in->has_status)
        tx_queue(task);
    return PDU_REJECT_NONE;
}

/* The buffer may take the next segment when nothing in the ring points into it */
static void
release_segment(Task *task)
{
    TaskDataIn *in = &task->command.in;

    in->has_asked = FALSE;
    stop_again(in);
    if (task->n_slots == 0)
        scsi_command_data_in_sent(&task->command.scsi);
    else
        tx_end_segment(task);
}

PduRejectReason
datain_acknowledge(Task *task, guint32 ttt, guint32 data_sn)
{
    TaskDataIn *in = &task->command.in;

    /* Late, perhaps, but it does answer */
    if (ttt == in->ack_ttt) {
        task->session->n_ignored_acks = 0;
        task->session->recovers_data = TRUE;
    }
    if (!in->has_asked || ttt != in->ack_ttt || data_sn != in->next.data_sn)
        return PDU_REJECT_DATA_ACK;

    in->acked_sn = data_sn;
    release_segment(task);
    return PDU_REJECT_NONE;
}

/* Its last byte was on its way when the connection failed, or the initiator has it all */
static void
reassign_between(Task *task)
{
    TaskDataIn *in = &task->command.in;

    if (in->has_asked || task->command.scsi.state == SCSI_STATE_DATA_IN)
        release_segment(task);
}

/* RFC 7143 11.5.6 */
void
datain_reassign(Task *task, guint32 exp_data_sn)
{
    TaskDataIn *in = &task->command.in;
    TaskPlace place;

    stop_again(in);
    in->is_collapsed = FALSE;
    in->snack_tag = 0;
    if (exp_data_sn < in->acked_sn || exp_data_sn > in->next.data_sn)
        exp_data_sn = in->acked_sn;
    /* It has failed: nobody wants the data */
    if (task->command.is_done && task->command.scsi.status != SCSI_GOOD) {
        datain_drop(task);
        in->next.data_sn = in->acked_sn = exp_data_sn;
        return;
    }
    if (exp_data_sn == in->next.data_sn && !in->has_segment) {
        in->acked_sn = exp_data_sn;
        reassign_between(task);
        return;
    }
    if (exp_data_sn < in->base.data_sn || is_gone(task)) {
        datain_drop(task);
        in->is_refused = TRUE;
        reassign_between(task);
        return;
    }

    place = find_place(task, exp_data_sn);
    place.burst = 0;
    in->acked_sn = exp_data_sn;
    in->next = in->base = in->begin = place;
    in->pdu_max = task->connection->params.max_xmit_data_segment_length;
    in->has_asked = FALSE;
    in->has_segment = TRUE;
    stop_again(in);
    task->connection->tx.unsent += in->segment_size - place.sent;
}

gboolean
datain_check(Task *task)
{
    TaskDataIn *in = &task->command.in;
    Session *session = task->session;
    gint64 wait = session->recovers_data ? DATA_ACK_USEC : FIRST_ACK_USEC;

    if (!in->has_asked)
        return FALSE;
    /* What has not left cannot be acknowledged */
    if (task->n_slots != 0)
        in->asked_at = now_of(task);
    if (now_of(task) - in->asked_at < wait)
        return TRUE;

    session->n_ignored_acks += session->recovers_data ? 1 : IGNORED_ACKS_MAX;
    release_segment(task);
    return FALSE;
}
