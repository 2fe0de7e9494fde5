/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Data of writes
 *
 * Three ways lead into a command's buffer: immediate data in the command's own
 * PDU, an unsolicited sequence of Data-Outs behind it, and Data-Outs that
 * answer R2Ts. The first two need a buffer before the command runs
 * (scsi_command_reserve()); R2Ts are sent only for a segment that scsi has given
 * a buffer for, so every byte that is asked for has its place.
 *
 * A mistake of the initiator does not end the command at once. It is noted,
 * what still comes is discarded, and the command ends when the initiator has
 * sent the F bit of every sequence it was allowed to send: after that its task
 * tag cannot come up any more (RFC 7143 7.8 asks for this too).
 *
 * A Data-Out whose task is unknown belongs to a command that was aborted; it is
 * discarded in silence.
 */

#include "iscsi/dataseq.h"

#include "iscsi/connection.h"
#include "iscsi/server.h"
#include "iscsi/session.h"
#include "iscsi/tx.h"

static guint32
first_burst(const Task *task)
{
    return MIN(task->session->params.first_burst_length, pdu_command_edtl(task->bhs));
}

/* Bytes of the reserved segment */
static guint32
reserved_size(const Task *task)
{
    const ScsiCommand *command = &task->command.scsi;

    if (!task->command.out.is_reserved || command->data == NULL)
        return 0;
    return (guint32)MIN(MIN(command->data_out_length, (guint64)command->expected_out),
                        (guint64)command->data_size);
}

/* Judge what the command's header says about data that comes without being asked for */
static void
check_unsolicited(Task *task, gsize immediate)
{
    const IscsiParams *params = &task->session->params;
    TaskDataOut *out = &task->command.out;

    if (immediate != 0 && (!pdu_command_is_write(task->bhs) || !params->immediate_data ||
                           immediate > first_burst(task)))
        task_command_set_failure(task, SENSE_UNEXPECTED_UNSOLICITED_DATA);

    out->unsolicited_open = !pdu_is_final(task->bhs);
    if (!out->unsolicited_open)
        return;

    if (!pdu_command_is_write(task->bhs) || immediate >= first_burst(task)) {
        /* Nothing can follow, so nothing is waited for */
        task_command_set_failure(task, SENSE_UNEXPECTED_UNSOLICITED_DATA);
        out->unsolicited_open = FALSE;
    } else if (params->initial_r2t) {
        task_command_set_failure(task, SENSE_UNEXPECTED_UNSOLICITED_DATA);
    }
}

/* A buffer for what comes unasked; no session may hold too much of the pool this way */
static void
reserve(Task *task)
{
    Session *session = task->session;
    ScsiCommand *command = &task->command.scsi;
    TaskDataOut *out = &task->command.out;
    guint32 size = (guint32)MIN(MIN(command->data_out_length, (guint64)command->expected_out),
                                POOL_BUFFER_MAX);

    if (session->reserved + size > session->reserve_max) {
        server_post_limit(session->server, session, ISCSI_LIMIT_SESSION_BYTES);
        out->is_refused = TRUE;
        return;
    }
    if (!scsi_command_reserve(command)) {
        server_post_limit(session->server, session, ISCSI_LIMIT_BYTES);
        out->is_refused = TRUE;
        return;
    }

    out->is_reserved = TRUE;
    task->command.reserved = size;
    session->reserved += size;
}

void
dataseq_begin(Task *task)
{
    TaskDataOut *out = &task->command.out;
    gsize immediate = pdu_data_size(task->bhs);

    if (!task->command.is_checked) {
        task->command.is_checked = TRUE;
        check_unsolicited(task, immediate);
    }
    if ((immediate == 0 && !out->unsolicited_open) || out->has_failed || out->is_refused)
        return;

    reserve(task);
}

void
dataseq_command_header(Task *task, Rx *rx)
{
    TaskCommand *part = &task->command;

    if (!part->is_checked) {
        part->is_checked = TRUE;
        check_unsolicited(task, rx->data_size);
    }
    if (rx->data_size == 0 || part->out.has_failed)
        return;

    if (part->is_begun) {
        rx->data_keep = MIN(rx->data_size, reserved_size(task));
        rx->data = rx->data_keep != 0 ? part->scsi.data : NULL;
        return;
    }

    /* Commands before this one are missing: the data waits in a buffer of its own */
    part->early_data =
        pool_take(task->connection->server->worker->pool, MIN(rx->data_size, POOL_BUFFER_MAX));
    if (part->early_data == NULL) {
        part->out.is_refused = TRUE;
        return;
    }
    part->early_size = (guint32)MIN(rx->data_size, POOL_BUFFER_MAX);
    rx->data = part->early_data;
    rx->data_keep = part->early_size;
}

/* Nothing of a command that was aborted is under way any more */
static gboolean
is_drained(const Task *task)
{
    const TaskDataOut *out = &task->command.out;

    return out->n_r2ts == 0 && !out->unsolicited_open && task->is_delivered;
}

void
dataseq_command_complete(Task *task)
{
    TaskCommand *part = &task->command;
    TaskDataOut *out = &part->out;
    guint32 immediate = (guint32)pdu_data_size(task->bhs);

    if (part->early_data != NULL) {
        if (part->out.is_reserved)
            memcpy(part->scsi.data, part->early_data, MIN(part->early_size, reserved_size(task)));
        pool_give(task->session->server->worker->pool, part->early_data);
        part->early_data = NULL;
    }

    out->unsolicited_received += immediate;
    out->usable = MIN(out->unsolicited_received, reserved_size(task));
    if (out->is_draining && is_drained(task))
        task_command_drained(task);
    else if (!out->is_draining && !out->unsolicited_open)
        task_command_ready(task);
}

/* Solicited data */

static guint32
make_ttt(Task *task)
{
    guint32 slot = (guint32)(task - task->session->tasks);

    /* The slot's number is below 0xffff, so the tag is never the reserved one */
    return slot << 16 | task->session->ttt_count++;
}

/* Ask for what is left of the segment, as far as R2Ts may be outstanding */
static void
ask(Task *task)
{
    const IscsiParams *params = &task->session->params;
    TaskDataOut *out = &task->command.out;

    if (out->has_failed)
        return;

    while (out->asked < out->segment_end && out->n_r2ts < params->max_outstanding_r2t &&
           out->n_r2ts < TASK_R2TS_MAX) {
        TaskR2t *r2t = &out->r2ts[out->n_r2ts++];

        *r2t = (TaskR2t){
            .ttt = make_ttt(task),
            .offset = out->asked,
            .length = MIN(params->max_burst_length, out->segment_end - out->asked),
        };
        out->asked += r2t->length;
        tx_queue(task);
    }
}

void
dataseq_segment(Task *task)
{
    TaskDataOut *out = &task->command.out;
    ScsiCommand *command = &task->command.scsi;
    guint64 end = command->data_offset + command->data_length;

    if (task->connection == NULL || task->is_aborted)
        return;

    if (out->has_failed) {
        scsi_command_fail_transport(command, out->failure);
        return;
    }

    out->in_segment = TRUE;
    out->segment_end = (guint32)MIN(end, (guint64)command->expected_out);
    out->asked = MAX((guint32)command->data_offset, out->usable);
    if (out->asked >= out->segment_end) {
        out->in_segment = FALSE;
        scsi_command_data_out_ready(command);
        return;
    }
    ask(task);
}

gboolean
dataseq_emit_r2t(Task *task, TxSlot *slot)
{
    TaskDataOut *out = &task->command.out;
    Connection *connection = task->connection;

    for (guint i = 0; i < out->n_r2ts; i++) {
        TaskR2t *r2t = &out->r2ts[i];

        if (r2t->is_sent)
            continue;

        r2t->is_sent = TRUE;
        pdu_encode_r2t(slot->head, task->itt, pdu_lun(task->bhs), r2t->ttt, out->r2t_sn++,
                       r2t->offset, r2t->length);
        pdu_set_sequence(slot->head, connection->stat_sn, task->session->exp_cmd_sn,
                         task->session->max_cmd_sn);
        connection->tx.told_max_cmd_sn = task->session->max_cmd_sn;
        return TRUE;
    }
    return FALSE;
}

static void
remove_r2t(TaskDataOut *out, TaskR2t *r2t)
{
    guint i = (guint)(r2t - out->r2ts);

    out->n_r2ts--;
    memmove(&out->r2ts[i], &out->r2ts[i + 1], (out->n_r2ts - i) * sizeof(*r2t));
}

static TaskR2t *
find_r2t(TaskDataOut *out, guint32 ttt)
{
    for (guint i = 0; i < out->n_r2ts; i++) {
        if (out->r2ts[i].ttt == ttt && out->r2ts[i].is_sent)
            return &out->r2ts[i];
    }
    return NULL;
}

/* Data-Out headers */

/* Give the data its place: @limit is where the valid bytes of the buffer end */
static void
place(Task *task, Rx *rx, guint32 offset, guint64 limit)
{
    ScsiCommand *command = &task->command.scsi;

    if (command->data == NULL || offset < command->data_offset || offset >= limit)
        return;

    rx->data = command->data + (offset - command->data_offset);
    rx->data_keep = MIN(rx->data_size, limit - offset);
}

static void
unsolicited_header(Task *task, Rx *rx)
{
    TaskDataOut *out = &task->command.out;
    guint32 offset = pdu_data_offset(rx->bhs);

    if (!out->unsolicited_open) {
        task_command_set_failure(task, SENSE_UNEXPECTED_UNSOLICITED_DATA);
        return;
    }

    if (pdu_data_sn(rx->bhs) != out->unsolicited_sn || offset != out->unsolicited_received)
        task_command_set_failure(task, SENSE_DATA_PHASE_ERROR);
    else if (rx->data_size > first_burst(task) - offset)
        task_command_set_failure(task, SENSE_UNEXPECTED_UNSOLICITED_DATA);

    if (!task->command.is_begun)
        out->is_refused = TRUE;
    else if (!out->has_failed && out->is_reserved)
        place(task, rx, offset, reserved_size(task));
}

static void
solicited_header(Task *task, Rx *rx)
{
    TaskDataOut *out = &task->command.out;
    const TaskR2t *r2t = rx->r2t;
    guint32 offset = pdu_data_offset(rx->bhs);

    if (pdu_data_sn(rx->bhs) != r2t->data_sn || offset != r2t->offset + r2t->received ||
        rx->data_size > r2t->length - r2t->received) {
        task_command_set_failure(task, SENSE_DATA_PHASE_ERROR);
        return;
    }

    if (!out->has_failed)
        place(task, rx, offset, (guint64)r2t->offset + r2t->length);
}

static gboolean
may_have_data(const Task *task)
{
    return task->kind == TASK_COMMAND && task->is_active && !task->is_aborted &&
           (!task->command.is_done || task->command.out.is_draining);
}

void
dataseq_header(Connection *connection, Rx *rx)
{
    Task *task = session_find_task(connection->session, pdu_itt(rx->bhs));
    guint32 ttt = pdu_ttt(rx->bhs);

    if (task == NULL || !may_have_data(task)) {
        rx->is_discarded = TRUE;
        return;
    }

    if (ttt == PDU_TAG_RESERVED) {
        rx->task = task;
        unsolicited_header(task, rx);
        return;
    }

    rx->r2t = find_r2t(&task->command.out, ttt);
    if (rx->r2t == NULL) {
        connection_report(connection, "Data-Out with a target transfer tag that is not in use");
        connection_reject(connection, rx->bhs, PDU_REJECT_INVALID_FIELD);
        rx->is_discarded = TRUE;
        return;
    }
    rx->task = task;
    solicited_header(task, rx);
}

/* Data-Outs that are complete */

static void
unsolicited_complete(Task *task, const Rx *rx)
{
    TaskDataOut *out = &task->command.out;

    if (!out->unsolicited_open)
        return;

    out->unsolicited_sn++;
    out->unsolicited_received += (guint32)rx->data_size;
    out->usable = MIN(out->unsolicited_received, reserved_size(task));
    if (!pdu_is_final(rx->bhs))
        return;

    out->unsolicited_open = FALSE;
    if (out->unsolicited_received != first_burst(task))
        task_command_set_failure(task, SENSE_NOT_ENOUGH_UNSOLICITED_DATA);
    if (task->command.is_begun && !out->is_draining)
        task_command_ready(task);
}

static void
solicited_complete(Task *task, Rx *rx)
{
    TaskDataOut *out = &task->command.out;
    TaskR2t *r2t = rx->r2t;
    gboolean is_full;

    r2t->data_sn++;
    r2t->received += (guint32)MIN(rx->data_size, r2t->length - r2t->received);
    is_full = r2t->received == r2t->length;
    if (!pdu_is_final(rx->bhs) && !(is_full && !out->has_failed))
        return;

    if (!is_full)
        task_command_set_failure(task, SENSE_NOT_ENOUGH_UNSOLICITED_DATA);
    remove_r2t(out, r2t);
}

/* R2Ts that were not sent yet need no answer */
static void
withdraw_r2ts(TaskDataOut *out)
{
    while (out->n_r2ts > 0 && !out->r2ts[out->n_r2ts - 1].is_sent)
        out->n_r2ts--;
}

gboolean
dataseq_drain(Task *task)
{
    TaskDataOut *out = &task->command.out;

    withdraw_r2ts(out);
    out->has_failed = TRUE;
    out->is_draining = !is_drained(task);
    return !out->is_draining;
}

static void
go_on(Task *task)
{
    TaskDataOut *out = &task->command.out;

    if (out->is_draining) {
        if (is_drained(task))
            task_command_drained(task);
        return;
    }
    if (!out->in_segment)
        return;

    if (out->has_failed) {
        withdraw_r2ts(out);
        if (out->n_r2ts == 0) {
            out->in_segment = FALSE;
            scsi_command_fail_transport(&task->command.scsi, out->failure);
        }
        return;
    }

    ask(task);
    if (out->n_r2ts == 0) {
        out->in_segment = FALSE;
        scsi_command_data_out_ready(&task->command.scsi);
    }
}

void
dataseq_complete(Connection *connection, Rx *rx, gboolean digest_error)
{
    Task *task = rx->task;

    rx->task = NULL;
    if (task == NULL || !may_have_data(task))
        return;

    if (digest_error)
        task_command_set_failure(task, SENSE_PROTOCOL_CRC_ERROR);
    if (rx->r2t != NULL)
        solicited_complete(task, rx);
    else
        unsolicited_complete(task, rx);
    if (may_have_data(task))
        go_on(task);
}
