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

#include "iscsi/async.h"
#include "iscsi/connection.h"
#include "iscsi/datain.h"
#include "iscsi/dataseq.h"
#include "iscsi/fence.h"
#include "iscsi/manage.h"
#include "iscsi/pressure.h"
#include "iscsi/recovery.h"
#include "iscsi/remnant.h"
#include "iscsi/server.h"
#include "iscsi/session.h"

/* Callbacks of the command */

static void
on_data_out(ScsiCommand *command)
{
    dataseq_segment(task_of_command(command));
}

static void
on_data_in(ScsiCommand *command)
{
    Task *task = task_of_command(command);

    if (task->is_aborted || (task->connection == NULL && !task->is_suspended))
        return;

    /* What the initiator does not take is as good as sent */
    if (datain_wanted(command) == 0 || task->command.in.is_refused)
        scsi_command_data_in_sent(command);
    else
        datain_queue(task, FALSE);
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

/* A task without a connection says what it has when it gets one */
static void
task_queue(Task *task)
{
    if (task->connection != NULL)
        tx_queue(task);
}

void
task_command_drained(Task *task)
{
    Session *session = task->session;

    dataseq_close(task);
    if (task->command.out.is_silent) {
        task->is_aborted = TRUE;
        task_finish(task);
    } else {
        task->command.in.has_status = TRUE;
        task_queue(task);
    }
    if (!list_is_empty(&session->answers))
        manage_check_answers(session);
}

/* Another nexus has aborted it, and the initiator shall hear of that */
static void
answer_aborted(Task *task)
{
    datain_drop(task);
    count(task);
    if (dataseq_drain(task))
        task_command_drained(task);
}

/*
 * The initiator forgets what was ended when it hears of that by a unit attention (RFC 7143 4.2.3.6,
 * b), so what such tasks have to say is said before, even if data for them is still to come.
 */
static void
answer_drains(const Task *task)
{
    const Session *session = task->session;

    for (guint i = 0; i < session->n_touched; i++) {
        Task *other = &session->tasks[i];

        if (other->is_used && other->kind == TASK_COMMAND && other->is_delivered &&
            other->command.out.is_draining && pdu_lun(other->bhs) == pdu_lun(task->bhs))
            task_command_drained(other);
    }
}

static void
answer_fenced(Task *task, FenceKind kind)
{
    if (kind == FENCE_ATTENTION)
        answer_drains(task);
    fence_answer(task);
}

/* What others have ended: RFC 7143 4.2.3.4, d) 1) */
static void
tell_termination(Task *task)
{
    if (task->command.scsi.is_others_doing && task->connection != NULL && !task->is_aborted &&
        dataseq_is_fast_abort(task))
        async_terminate_tasks(task->connection, pdu_lun(task->bhs));
}

/* RFC 7143 4.2.3.3, a): it has been asked for data, which the answer to what has ended it waits for */
static gboolean
stays_owed(Task *task)
{
    return !task->is_aborted && task->connection != NULL && manage_is_ending(task) &&
           dataseq_linger(task);
}

static void
on_done(ScsiCommand *command)
{
    Task *task = task_of_command(command);
    TaskCommand *part = &task->command;
    FenceKind kind;

    part->is_done = TRUE;
    list_unlink(&task->link);
    if (G_UNLIKELY(command->aborted))
        tell_termination(task);
    if (command->aborted && command->aborted_by_other && !task->is_aborted &&
        (task->connection != NULL || task->is_suspended)) {
        answer_aborted(task);
        return;
    }
    if (G_UNLIKELY(command->aborted) && stays_owed(task))
        return;
    if (command->aborted || task->is_aborted || (task->connection == NULL && !task->is_suspended)) {
        task->is_aborted = TRUE;
        task_finish(task);
        return;
    }

    count(task);
    part->in.has_status = TRUE;
    if (datain_wanted(command) != 0 && !part->in.is_refused)
        datain_begin(task, TRUE);
    if (task->connection != NULL && G_UNLIKELY((kind = fence_kind(command)) != FENCE_NONE))
        answer_fenced(task, kind);
    else
        task_queue(task);
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
    if (task->command.scsi.expected_in != 0 && task->connection != NULL &&
        task->connection->tx.unsent > TX_UNSENT_MAX)
        return FALSE;
    return line->charged + charge_of(task) <=
           pressure_share(task->session->server, line->charge_max);
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

/* What the initiator has, but did not acknowledge, may be what there is no room for */
static void
wait_in_line(Task *task, SessionLine *line)
{
    list_append(&line->waiting, &task->link);
    if (task->connection != NULL)
        recovery_press(task->connection);
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
        wait_in_line(task, line);
}

void
task_finish(Task *task)
{
    if (!task->is_delivered && task->connection != NULL && task->connection->rx.task == task) {
        task->is_aborted = TRUE;
        return;
    }

    task->is_active = FALSE;
    recovery_forget(task);
    if (task->kind == TASK_COMMAND)
        datain_drop(task);
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
    if (!task->is_active && task->n_slots == 0 && !task->is_kept)
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

void
task_number_status(Task *task, guint8 *bhs)
{
    Connection *connection = task->connection;
    Session *session = task->session;

    if (G_UNLIKELY(session->params.error_recovery_level > 0)) {
        recovery_number(task, bhs);
        return;
    }

    session_release_window(session, task);
    pdu_set_sequence(bhs, connection->stat_sn++, session->exp_cmd_sn, session->max_cmd_sn);
    connection->tx.told_max_cmd_sn = session->max_cmd_sn;
}

/* Data was asked for again that is gone: RFC 7143 11.4.7.2 */
static void
refuse_snack(const Session *session, ScsiCommand *command)
{
    command->status = SCSI_CHECK_CONDITION;
    if (session->nexus != NULL)
        command->sense_length =
            nexus_encode_sense(session->nexus, command->lun, SENSE_SNACK_REJECTED, command->sense);
}

static void
emit_scsi_response(Task *task, TxSlot *slot)
{
    TaskCommand *part = &task->command;
    ScsiCommand *command = &part->scsi;
    gsize size = 0;
    guint32 residual;
    guint8 flags = task_command_residual(task, &residual);

    if (G_UNLIKELY(part->in.is_refused))
        refuse_snack(task->session, command);
    if (command->sense_length != 0) {
        put_be16(part->response_data, command->sense_length);
        memcpy(part->response_data + 2, command->sense, command->sense_length);
        size = 2 + (gsize)command->sense_length;
    }
    pdu_encode_scsi_response(slot->head, task->itt, flags, PDU_RESPONSE_COMPLETED,
                             (guint8)command->status, residual, part->in.next.data_sn, size);
    if (is_bidirectional(task)) {
        /* Nothing was moved either way, RFC 7143 11.4.5 */
        slot->head[1] |= PDU_RESIDUAL_READ_UNDERFLOW;
        put_be32(slot->head + 40, part->bidirectional_length);
    }
    put_be32(slot->head + 20, part->in.snack_tag);
    part->in.has_status = FALSE;
    slot->data = part->response_data;
    slot->data_size = (guint32)size;
    slot->ends_task = TRUE;
    task_number_status(task, slot->head);
    task->connection->tx.unsent += size;
}

static gboolean
emit_command(Task *task, TxSlot *slot)
{
    TaskDataIn *in = &task->command.in;

    if (dataseq_emit_r2t(task, slot))
        return TRUE;
    if (in->has_segment) {
        datain_emit(task, slot);
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
    pdu_encode_reject(slot->head, task->reject_reason, task->reject_data_sn, PDU_BHS_SIZE);
    slot->data = task->bhs;
    slot->data_size = PDU_BHS_SIZE;
    task->connection->tx.unsent += PDU_BHS_SIZE;
}

static void
emit_async(Task *task, TxSlot *slot)
{
    memcpy(slot->head, task->bhs, PDU_BHS_SIZE);
    slot->data = task->async.data;
    slot->data_size = task->async.size;
    task->connection->tx.unsent += task->async.size;
}

/* RFC 7143 11.15.3: how long what was removed can be recovered */
static void
emit_logout_response(Task *task, TxSlot *slot)
{
    const Session *session = task->session;
    gboolean is_removed = task->logout_response == PDU_LOGOUT_RESPONSE_CLOSED &&
                          pdu_logout_reason(task->bhs) == PDU_LOGOUT_RECOVERY;

    pdu_encode_logout_response(slot->head, task->itt, task->logout_response,
                               is_removed ? remnant_time2wait(session) : 0,
                               is_removed ? remnant_time2retain(session) : 0);
}

void
task_emit_answer(Task *task, TxSlot *slot)
{
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
        emit_logout_response(task, slot);
        break;
    case TASK_REJECT:
        emit_reject(task, slot);
        break;
    case TASK_ASYNC:
        emit_async(task, slot);
        break;
    case TASK_COMMAND:
        emit_scsi_response(task, slot);
        return;
    }

    task->has_answered = TRUE;
    slot->ends_task = TRUE;
    task_number_status(task, slot->head);
}

gboolean
task_emit(Task *task, TxSlot *slot)
{
    if (G_UNLIKELY(task->is_resending) && recovery_emit(task, slot))
        return TRUE;
    if (!task->is_active || G_UNLIKELY(task->is_passing))
        return FALSE;
    if (task->kind == TASK_COMMAND)
        return emit_command(task, slot);
    /* The others say one thing */
    if (task->has_answered)
        return FALSE;

    task_emit_answer(task, slot);
    return TRUE;
}
