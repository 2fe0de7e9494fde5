/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Task: between the session and a SCSI command
 *
 * A command is begun at its header when it is its turn, so that immediate data
 * can be received into the command's own buffer; it runs when all unsolicited
 * data is in. Nothing is answered before the initiator has ended the sequences
 * it has begun: only then may its task tag be used again without doubt.
 *
 * A session has a share of the worker's pool. A command that will need a buffer
 * runs while the share lasts and while the connection has not too much unsent;
 * the others wait in a line, one for each task attribute. Buffers reserved for
 * unsolicited data have a share of their own; beyond it commands end in TASK
 * SET FULL.
 *
 * What scsi gives back (data, status) is remembered in the task, and the
 * transmitter asks for PDUs one by one when it has room: task_emit().
 */

#include "iscsi/task.h"

#include "iscsi/connection.h"
#include "iscsi/dataseq.h"
#include "iscsi/server.h"
#include "iscsi/session.h"

/* Callbacks of the command */

static void
on_data_out(ScsiCommand *command)
{
    dataseq_segment(task_of_command(command));
}

/* How much of the current segment the initiator takes */
static guint32
wanted_size(const ScsiCommand *command)
{
    if (command->data == NULL || command->data_offset >= command->expected_in)
        return 0;
    return (guint32)MIN((guint64)command->data_length, command->expected_in - command->data_offset);
}

static void
queue_segment(Task *task, gboolean is_last)
{
    TaskDataIn *in = &task->command.in;

    in->has_segment = TRUE;
    in->is_last_segment = is_last;
    in->segment_size = wanted_size(&task->command.scsi);
    in->segment_sent = 0;
    task->connection->tx.unsent += in->segment_size;
    tx_queue(task);
}

static void
on_data_in(ScsiCommand *command)
{
    Task *task = task_of_command(command);

    if (task->connection == NULL || task->is_aborted)
        return;

    /* What the initiator does not take is as good as sent */
    if (wanted_size(command) == 0)
        scsi_command_data_in_sent(command);
    else
        queue_segment(task, FALSE);
}

static void
count(const Task *task)
{
    IscsiSessionStatistics *statistics = &task->session->statistics;
    const ScsiCommand *command = &task->command.scsi;

    statistics->n_commands++;
    if (command->expected_in != 0) {
        statistics->n_reads++;
        statistics->bytes_read += MIN(command->transfer_length, command->expected_in);
    } else if (command->expected_out != 0) {
        statistics->n_writes++;
        statistics->bytes_written += MIN(command->transfer_length, command->expected_out);
    }
}

/* What has not been put into PDUs of a read that was aborted stays unsent */
static void
drop_segment(Task *task)
{
    TaskDataIn *in = &task->command.in;
    Tx *tx = &task->connection->tx;

    if (!in->has_segment)
        return;
    tx->unsent -= MIN(tx->unsent, in->segment_size - in->segment_sent);
    in->has_segment = FALSE;
}

void
task_command_drained(Task *task)
{
    task->command.out.is_draining = FALSE;
    task->command.in.has_status = TRUE;
    tx_queue(task);
}

/* Another nexus has aborted it, and the initiator shall hear of that */
static void
answer_aborted(Task *task)
{
    drop_segment(task);
    count(task);
    if (dataseq_drain(task))
        task_command_drained(task);
}

static void
on_done(ScsiCommand *command)
{
    Task *task = task_of_command(command);
    TaskCommand *part = &task->command;

    part->is_done = TRUE;
    list_unlink(&task->link);
    if (command->aborted && command->aborted_by_other && !task->is_aborted &&
        task->connection != NULL) {
        answer_aborted(task);
        return;
    }
    if (command->aborted || task->is_aborted || task->connection == NULL) {
        task->is_aborted = TRUE;
        task_finish(task);
        return;
    }

    count(task);
    part->in.has_status = TRUE;
    if (wanted_size(command) != 0)
        queue_segment(task, TRUE);
    else
        tx_queue(task);
}

static const ScsiTransport transport = {
    .data_out = on_data_out,
    .data_in = on_data_in,
    .done = on_done,
};

/* The life of a command */

static ScsiTaskAttribute
attribute_of(const guint8 *bhs)
{
    switch (pdu_command_attr(bhs)) {
    case PDU_ATTR_ORDERED:
        return SCSI_ORDERED;
    case PDU_ATTR_HEAD_OF_QUEUE:
        return SCSI_HEAD_OF_QUEUE;
    case PDU_ATTR_ACA:
        return SCSI_ACA;
    case PDU_ATTR_UNTAGGED:
    case PDU_ATTR_SIMPLE:
        break;
    }
    return SCSI_SIMPLE;
}

static gboolean
is_bidirectional(const Task *task)
{
    return pdu_command_is_read(task->bhs) && pdu_command_is_write(task->bhs);
}

void
task_command_begin(Task *task)
{
    TaskCommand *part = &task->command;
    ScsiCommand *command = &part->scsi;
    const guint8 *bhs = task->bhs;
    guint32 edtl = pdu_command_edtl(bhs);

    command->transport = &transport;
    command->nexus = task->session->nexus;
    memcpy(command->lun, bhs + 8, sizeof(command->lun));
    memcpy(command->cdb, pdu_command_cdb(bhs), SCSI_CDB_MAX);
    command->attribute = attribute_of(bhs);
    command->expected_out = pdu_command_is_write(bhs) ? edtl : 0;
    command->expected_in = pdu_command_is_read(bhs) && !is_bidirectional(task) ? edtl : 0;
    part->is_begun = TRUE;
    scsi_command_begin(command);
    dataseq_begin(task);
}

void
task_command_set_failure(Task *task, SenseCode code)
{
    TaskDataOut *out = &task->command.out;

    /* The first one counts */
    if (out->has_failed)
        return;

    out->has_failed = TRUE;
    out->failure = code;
}

/* Bytes of the pool that the command will take when it runs */
static guint32
charge_of(const Task *task)
{
    const ScsiCommand *command = &task->command.scsi;
    guint64 size = MAX((guint64)command->expected_in,
                       MIN((guint64)command->expected_out, command->data_out_length));

    return task->command.out.is_reserved ? 0 : (guint32)MIN(size, POOL_BUFFER_MAX);
}

/*
 * Each task attribute has its own line and its own share of the pool. In one line, a command could
 * wait for room that is held by others which, by the ordering rules of the task set, wait for it.
 */
static SessionLine *
line_of(const Task *task)
{
    SessionLine *lines = task->session->lines;

    switch (task->command.scsi.attribute) {
    case SCSI_ORDERED:
        return &lines[SESSION_LINE_ORDERED];
    case SCSI_HEAD_OF_QUEUE:
        return &lines[SESSION_LINE_HEAD];
    case SCSI_SIMPLE:
    case SCSI_ACA:
        break;
    }
    return &lines[SESSION_LINE_SIMPLE];
}

/* DESIGN 12, rule 14: neither more unsent data than fits, nor more than the session's share */
gboolean
task_command_has_room(const Task *task)
{
    const SessionLine *line = line_of(task);

    if (line->charged == 0)
        return TRUE;
    if (task->command.scsi.expected_in != 0 && task->connection->tx.unsent > TX_UNSENT_MAX)
        return FALSE;
    return line->charged + charge_of(task) <= line->charge_max;
}

void
task_command_run(Task *task)
{
    TaskCommand *part = &task->command;

    part->charge = charge_of(task);
    line_of(task)->charged += part->charge;
    scsi_command_run(&part->scsi);
}

void
task_command_discharge(Task *task)
{
    line_of(task)->charged -= task->command.charge;
    task->command.charge = 0;
}

void
task_command_ready(Task *task)
{
    TaskCommand *part = &task->command;
    SessionLine *line = line_of(task);

    if (is_bidirectional(task))
        scsi_command_fail_transport(&part->scsi, SENSE_INVALID_FIELD_IN_CDB);
    else if (part->out.has_failed)
        scsi_command_fail_transport(&part->scsi, part->out.failure);
    else if (part->out.is_refused)
        scsi_command_refuse(&part->scsi, SCSI_TASK_SET_FULL);
    else if (charge_of(task) == 0 || (list_is_empty(&line->waiting) && task_command_has_room(task)))
        task_command_run(task);
    else
        list_append(&line->waiting, &task->link);
}

void
task_finish(Task *task)
{
    if (!task->is_delivered && task->connection != NULL && task->connection->rx.task == task) {
        task->is_aborted = TRUE;
        return;
    }

    task->is_active = FALSE;
    if (task->kind == TASK_COMMAND && task->connection != NULL)
        drop_segment(task);
    if (list_is_linked(&task->out_link))
        list_unlink(&task->out_link);
    if (task->n_slots == 0)
        session_give_task(task->session, task);
}

void
task_slot_done(Task *task, gboolean ends_segment, gboolean ends_task)
{
    task->n_slots--;

    if (ends_segment && task->is_active && !task->is_aborted && task->connection != NULL &&
        connection_is_open(task->connection)) {
        scsi_command_data_in_sent(&task->command.scsi);
        return;
    }
    if (ends_task)
        task->is_active = FALSE;
    if (!task->is_active && task->n_slots == 0)
        session_give_task(task->session, task);
}

/* Answers */

guint8
task_command_residual(const Task *task, guint32 *ret_residual)
{
    const ScsiCommand *command = &task->command.scsi;
    guint64 expected = MAX(command->expected_in, command->expected_out);
    guint64 moved = command->transfer_length;

    if (moved == expected) {
        *ret_residual = 0;
        return 0;
    }
    if (moved < expected) {
        *ret_residual = (guint32)(expected - moved);
        return PDU_RESIDUAL_UNDERFLOW;
    }

    *ret_residual = (guint32)MIN(moved - expected, G_MAXUINT32);
    return PDU_RESIDUAL_OVERFLOW;
}

/* Number a PDU that carries a StatSN of its own */
static void
number_status(Task *task, guint8 *bhs)
{
    Connection *connection = task->connection;
    Session *session = task->session;

    session_release_window(session, task);
    pdu_set_sequence(bhs, connection->stat_sn++, session->exp_cmd_sn, session->max_cmd_sn);
    connection->tx.told_max_cmd_sn = session->max_cmd_sn;
}

static void
number_data(Task *task, guint8 *bhs)
{
    Session *session = task->session;

    pdu_set_sequence(bhs, 0, session->exp_cmd_sn, session->max_cmd_sn);
    task->connection->tx.told_max_cmd_sn = session->max_cmd_sn;
}

static gboolean
may_collapse(const ScsiCommand *command)
{
    return command->status == SCSI_GOOD && command->sense_length == 0;
}

static void
emit_data_in(Task *task, TxSlot *slot)
{
    const IscsiParams *params = &task->connection->params;
    TaskDataIn *in = &task->command.in;
    ScsiCommand *command = &task->command.scsi;
    guint32 offset = (guint32)command->data_offset + in->segment_sent;
    guint32 size = MIN(in->segment_size - in->segment_sent, params->max_xmit_data_segment_length);
    gboolean ends_segment, ends_data, ends_burst;

    size = MIN(size, task->session->params.max_burst_length - in->burst_sent);
    in->segment_sent += size;
    in->burst_sent += size;

    ends_segment = in->segment_sent == in->segment_size;
    ends_data = ends_segment && (in->is_last_segment || offset + size == command->expected_in);
    ends_burst = ends_data || in->burst_sent == task->session->params.max_burst_length;
    if (ends_burst)
        in->burst_sent = 0;

    pdu_encode_data_in(slot->head, task->itt, ends_burst ? PDU_FINAL : 0, 0, PDU_TAG_RESERVED,
                       in->data_sn++, offset, size);
    slot->data = command->data + (offset - command->data_offset);
    slot->data_size = size;

    if (ends_segment)
        in->has_segment = FALSE;
    if (ends_segment && in->is_last_segment && may_collapse(command)) {
        guint32 residual;
        guint8 flags = task_command_residual(task, &residual);

        in->has_status = FALSE;
        pdu_set_data_in_status(slot->head, (guint8)command->status, flags, residual);
        number_status(task, slot->head);
        slot->ends_task = TRUE;
        return;
    }

    number_data(task, slot->head);
    slot->ends_segment = ends_segment && !in->is_last_segment;
}

static void
emit_scsi_response(Task *task, TxSlot *slot)
{
    TaskCommand *part = &task->command;
    ScsiCommand *command = &part->scsi;
    gsize size = 0;
    guint32 residual;
    guint8 flags = task_command_residual(task, &residual);

    if (command->sense_length != 0) {
        put_be16(part->response_data, command->sense_length);
        memcpy(part->response_data + 2, command->sense, command->sense_length);
        size = 2 + (gsize)command->sense_length;
    }
    pdu_encode_scsi_response(slot->head, task->itt, flags, PDU_RESPONSE_COMPLETED,
                             (guint8)command->status, residual, part->in.data_sn + part->out.r2t_sn,
                             size);
    if (is_bidirectional(task)) {
        /* Nothing was moved either way, RFC 7143 11.4.5 */
        slot->head[1] |= PDU_RESIDUAL_READ_UNDERFLOW;
        put_be32(slot->head + 40, part->bidirectional_length);
    }
    part->in.has_status = FALSE;
    slot->data = part->response_data;
    slot->data_size = (guint32)size;
    slot->ends_task = TRUE;
    number_status(task, slot->head);
    task->connection->tx.unsent += size;
}

static gboolean
emit_command(Task *task, TxSlot *slot)
{
    TaskDataIn *in = &task->command.in;

    if (dataseq_emit_r2t(task, slot))
        return TRUE;
    if (in->has_segment) {
        emit_data_in(task, slot);
        return TRUE;
    }
    if (in->has_status) {
        emit_scsi_response(task, slot);
        return TRUE;
    }
    return FALSE;
}

static void
emit_nop_in(Task *task, TxSlot *slot)
{
    pdu_encode_nop_in(slot->head, task->itt, pdu_lun(task->bhs), PDU_TAG_RESERVED, task->nop.size);
    slot->data = task->nop.data;
    slot->data_size = task->nop.size;
    task->connection->tx.unsent += task->nop.size;
}

static void
emit_text_response(Task *task, TxSlot *slot)
{
    const Discovery *discovery = &task->connection->text->discovery;

    memcpy(slot->head, discovery->response, PDU_BHS_SIZE);
    slot->data = discovery->response_data;
    slot->data_size = (guint32)discovery->response_size;
    task->connection->tx.unsent += discovery->response_size;
}

static void
emit_reject(Task *task, TxSlot *slot)
{
    pdu_encode_reject(slot->head, task->reject_reason, 0, PDU_BHS_SIZE);
    slot->data = task->bhs;
    slot->data_size = PDU_BHS_SIZE;
    task->connection->tx.unsent += PDU_BHS_SIZE;
}

gboolean
task_emit(Task *task, TxSlot *slot)
{
    if (!task->is_active)
        return FALSE;
    if (task->kind == TASK_COMMAND)
        return emit_command(task, slot);
    /* The others say one thing */
    if (task->has_answered)
        return FALSE;

    switch (task->kind) {
    case TASK_MANAGEMENT:
        pdu_encode_tmf_response(slot->head, task->itt, task->tmf_response, task->tmf_information);
        break;
    case TASK_NOP:
        emit_nop_in(task, slot);
        break;
    case TASK_TEXT:
        emit_text_response(task, slot);
        break;
    case TASK_LOGOUT:
        pdu_encode_logout_response(slot->head, task->itt, task->logout_response, 0, 0);
        break;
    case TASK_REJECT:
        emit_reject(task, slot);
        break;
    case TASK_COMMAND:
        break;
    }

    task->has_answered = TRUE;
    slot->ends_task = TRUE;
    number_status(task, slot->head);
    return TRUE;
}
