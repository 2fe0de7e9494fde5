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
 *
 * Above error recovery level 0 a Data-Out that is lost (a digest error, a gap in
 * DataSN, or nothing comes for a while) does not end the command. What came
 * before it counts, and so does the last run without a gap behind it if it goes
 * on to the end of the sequence; what is missing between the two is asked for by
 * a recovery R2T (RFC 7143 7.8, 7.9, 11.8, D.2.3). Of an unsolicited sequence all
 * that comes behind a gap is thrown away, and R2Ts ask for what did not come. An
 * R2T that nobody answers may itself have been lost: it is sent once more as it
 * was, which an initiator that has it ignores (7.9), before another takes its
 * place. From the third timeout on a copy follows at once.
 *
 * This comes to an end when not more than every second PDU is lost. Of a sequence
 * the first or the last PDU arrives, which makes the next one shorter, unless
 * both are lost; then the one after it begins with a PDU that is not. Of two
 * copies of an R2T one arrives. What makes no progress all the same, for
 * TRIES_MAX recovery R2Ts or TIMEOUTS_MAX timeouts, ends the connection: the
 * initiator has not ended its sequences, so the command cannot be answered (7.8),
 * and connection or session recovery take over (7.1.4).
 */

#include "iscsi/dataseq.h"

#include "iscsi/connection.h"
#include "iscsi/pressure.h"
#include "iscsi/recovery.h"
#include "iscsi/server.h"
#include "iscsi/session.h"
#include "iscsi/tx.h"

/* A sequence that does not go on for this time has lost something */
#define SEQUENCE_USEC (5 * USEC_PER_SEC)

/* The same while other data comes on the connection */
#define BUSY_SEQUENCE_USEC (20 * USEC_PER_SEC)

/* How often it is asked for, with and without an answer, before the connection is given up */
#define TIMEOUTS_MAX 8
#define TRIES_MAX    16

static gboolean
has_recovery(const Task *task)
{
    return task->session->params.error_recovery_level > 0;
}

/* The initiator owes data from now on, or has sent some */
static void
note_progress(Task *task)
{
    TaskDataOut *out = &task->command.out;

    out->progress_at = task->session->server->worker->loop.now;
    out->n_timeouts = 0;
    if (task->connection != NULL)
        recovery_watch(task->connection);
}

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

    if (has_recovery(task))
        note_progress(task);
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

    if (session->reserved != 0 &&
        session->reserved + size > pressure_share(session->server, session->reserve_max)) {
        server_post_limit(session->server, session, ISCSI_LIMIT_SESSION_BYTES);
        out->is_refused = TRUE;
        return;
    }
    if (!scsi_command_reserve(command)) {
        server_post_limit(session->server, session, ISCSI_LIMIT_BYTES);
        pressure_refused(session->server);
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
        pressure_refused(task->session->server);
        part->out.is_refused = TRUE;
        return;
    }
    part->early_size = (guint32)MIN(rx->data_size, POOL_BUFFER_MAX);
    rx->data = part->early_data;
    rx->data_keep = part->early_size;
}

gboolean
dataseq_is_fast_abort(const Task *task)
{
    return task->session->params.task_reporting == ISCSI_TASK_REPORTING_FAST_ABORT;
}

/*
 * Nothing of a command that was aborted is under way any more. With FastAbort the initiator does not
 * send what it was asked for.
 */
static gboolean
is_drained(const Task *task)
{
    const TaskDataOut *out = &task->command.out;

    return task->is_delivered &&
           (dataseq_is_fast_abort(task) || (out->n_r2ts == 0 && !out->unsolicited_open));
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

guint32
dataseq_make_ttt(Task *task)
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
            .ttt = dataseq_make_ttt(task),
            .offset = out->asked,
            .length = MIN(params->max_burst_length, out->segment_end - out->asked),
        };
        out->asked += r2t->length;
        if (task->connection != NULL)
            tx_queue(task);
    }
}

void
dataseq_segment(Task *task)
{
    TaskDataOut *out = &task->command.out;
    ScsiCommand *command = &task->command.scsi;
    guint64 end = command->data_offset + command->data_length;

    if (task->is_aborted || (task->connection == NULL && !task->is_suspended))
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

/* The one that @r2t has taken the place of, or the one it is */
static void
encode_r2t(Task *task, TaskR2t *r2t, guint8 *bhs)
{
    if (r2t->resends_old) {
        r2t->resends_old = FALSE;
        pdu_encode_r2t(bhs, task->itt, pdu_lun(task->bhs), r2t->old_ttt, r2t->old_sn,
                       r2t->old_offset, r2t->old_length);
        return;
    }

    if (!r2t->is_sent)
        r2t->r2t_sn = task->command.out.r2t_sn++;
    r2t->is_sent = TRUE;
    r2t->resends = r2t->is_doubled;
    r2t->is_doubled = FALSE;
    pdu_encode_r2t(bhs, task->itt, pdu_lun(task->bhs), r2t->ttt, r2t->r2t_sn, r2t->offset,
                   r2t->length);
}

gboolean
dataseq_emit_r2t(Task *task, TxSlot *slot)
{
    TaskDataOut *out = &task->command.out;
    Connection *connection = task->connection;

    for (guint i = 0; i < out->n_r2ts; i++) {
        TaskR2t *r2t = &out->r2ts[i];

        if (r2t->is_sent && !r2t->resends && !r2t->resends_old)
            continue;

        encode_r2t(task, r2t, slot->head);
        pdu_set_sequence(slot->head, connection->stat_sn, task->session->exp_cmd_sn,
                         task->session->max_cmd_sn);
        connection->tx.told_max_cmd_sn = task->session->max_cmd_sn;
        if (has_recovery(task) && out->n_timeouts == 0)
            note_progress(task);
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

    /* It was given up, and comes after all; or it comes with a retry of its command (7.2.1, 7.8) */
    if (!out->unsolicited_open &&
        (out->is_broken || (has_recovery(task) && !pdu_is_final(task->bhs))))
        return;
    if (!out->unsolicited_open) {
        task_command_set_failure(task, SENSE_UNEXPECTED_UNSOLICITED_DATA);
        return;
    }

    /* There is no buffer for it before its command has its turn */
    if (!task->command.is_begun) {
        out->is_broken = has_recovery(task);
        out->is_refused |= !out->is_broken;
        return;
    }

    /* Something before it is missing, as if by a digest error: RFC 7143 7.9 */
    if (pdu_data_sn(rx->bhs) != out->unsolicited_sn && has_recovery(task))
        out->is_broken = TRUE;
    if (out->is_broken)
        return;

    if (pdu_data_sn(rx->bhs) != out->unsolicited_sn)
        task_command_set_failure(task, SENSE_PROTOCOL_CRC_ERROR);
    else if (offset != out->unsolicited_received)
        task_command_set_failure(task, SENSE_DATA_PHASE_ERROR);
    else if (rx->data_size > first_burst(task) - offset)
        task_command_set_failure(task, SENSE_UNEXPECTED_UNSOLICITED_DATA);

    if (!out->has_failed && out->is_reserved)
        place(task, rx, offset, reserved_size(task));
}

/* It goes on where the sequence has its first gap */
static gboolean
fills_gap(const TaskR2t *r2t, const Rx *rx)
{
    return pdu_data_sn(rx->bhs) == r2t->data_sn &&
           pdu_data_offset(rx->bhs) == r2t->offset + r2t->received;
}

static gboolean
is_behind_gap(const TaskR2t *r2t, const Rx *rx)
{
    guint32 offset = pdu_data_offset(rx->bhs), end = r2t->offset + r2t->length;

    return offset >= r2t->offset + r2t->received && offset <= end && rx->data_size <= end - offset;
}

static void
solicited_header(Task *task, Rx *rx)
{
    TaskDataOut *out = &task->command.out;
    TaskR2t *r2t = rx->r2t;
    guint32 offset = pdu_data_offset(rx->bhs);

    if (pdu_data_sn(rx->bhs) != r2t->data_sn && has_recovery(task))
        r2t->is_broken = TRUE;
    if (r2t->is_broken) {
        if (!out->has_failed && is_behind_gap(r2t, rx))
            place(task, rx, offset, (guint64)r2t->offset + r2t->length);
        return;
    }

    if (pdu_data_sn(rx->bhs) != r2t->data_sn) {
        task_command_set_failure(task, SENSE_PROTOCOL_CRC_ERROR);
        return;
    }
    if (offset != r2t->offset + r2t->received || rx->data_size > r2t->length - r2t->received) {
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

/* Another R2T has taken the place of the one with that tag, but there may still be an answer to it */
static gboolean
was_used(const Task *task, guint32 ttt)
{
    guint32 slot = (guint32)(task - task->session->tasks);

    return ttt >> 16 == slot && (guint16)(task->session->ttt_count - 1 - ttt) < G_MAXINT16;
}

/*
 * Its command is on another connection. What answers none of its R2Ts belongs to an older task, which
 * was ended and whose tag came up again while this was on its way: with FastAbort that is as it should
 * be (RFC 7143 4.2.3.4, c).
 */
static void
take_elsewhere(Connection *connection, Task *task, Rx *rx)
{
    rx->is_discarded = TRUE;
    if (find_r2t(&task->command.out, pdu_ttt(rx->bhs)) == NULL)
        return;

    connection_report(connection, "Data-Out on another connection than its command");
    connection_reject(connection, rx->bhs, PDU_REJECT_PROTOCOL_ERROR);
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
    if (task->connection != connection) {
        take_elsewhere(connection, task, rx);
        return;
    }

    if (ttt == PDU_TAG_RESERVED) {
        rx->task = task;
        unsolicited_header(task, rx);
        return;
    }

    rx->r2t = find_r2t(&task->command.out, ttt);
    if (rx->r2t == NULL && has_recovery(task) && was_used(task, ttt)) {
        rx->is_discarded = TRUE;
        return;
    }
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

/* No more comes unasked */
static void
end_unsolicited(Task *task)
{
    TaskDataOut *out = &task->command.out;

    out->unsolicited_open = FALSE;
    if (task->command.is_begun && task->is_delivered && !out->is_draining)
        task_command_ready(task);
}

static void
unsolicited_complete(Task *task, const Rx *rx)
{
    TaskDataOut *out = &task->command.out;

    if (!out->unsolicited_open)
        return;

    if (!out->is_broken) {
        out->unsolicited_sn++;
        out->unsolicited_received += (guint32)rx->data_size;
        out->usable = MIN(out->unsolicited_received, reserved_size(task));
    }
    if (!pdu_is_final(rx->bhs))
        return;

    /* Before its turn the command has not counted its immediate data, and is refused anyway */
    if (!out->is_broken && task->command.is_begun && out->unsolicited_received != first_burst(task))
        task_command_set_failure(task, SENSE_NOT_ENOUGH_UNSOLICITED_DATA);
    end_unsolicited(task);
}

/* What is missing of @r2t: up to the run that goes on to its end */
static guint32
missing(const TaskR2t *r2t)
{
    guint32 end = r2t->offset + r2t->length;

    if (r2t->tail_size != 0 && r2t->tail + r2t->tail_size == end)
        end = r2t->tail;
    return end - r2t->offset - r2t->received;
}

static void
count_try(TaskDataOut *out)
{
    if (++out->n_tries > TRIES_MAX)
        out->is_lost = TRUE;
}

/* What has not come of @r2t is asked for by another one, RFC 7143 11.8 */
static void
recover(Task *task, TaskR2t *r2t)
{
    TaskDataOut *out = &task->command.out;
    guint32 length = missing(r2t);

    if (length < r2t->length)
        out->n_tries = 0;
    count_try(out);

    r2t->old_ttt = r2t->ttt;
    r2t->old_sn = r2t->r2t_sn;
    r2t->old_offset = r2t->offset;
    r2t->old_length = r2t->length;
    r2t->has_old = TRUE;
    r2t->resends_old = FALSE;

    r2t->ttt = dataseq_make_ttt(task);
    r2t->offset += r2t->received;
    r2t->length = length;
    r2t->received = 0;
    r2t->data_sn = 0;
    r2t->tail_size = 0;
    r2t->is_sent = FALSE;
    r2t->is_broken = FALSE;
    r2t->is_doubled = FALSE;
    r2t->resends = FALSE;
    if (task->connection != NULL)
        tx_queue(task);
}

/* A Data-Out of a sequence that has a gap */
static void
take_behind_gap(TaskR2t *r2t, const Rx *rx)
{
    guint32 sn = pdu_data_sn(rx->bhs), offset = pdu_data_offset(rx->bhs);

    if (fills_gap(r2t, rx)) {
        r2t->data_sn++;
        r2t->received += (guint32)rx->data_size;
    } else {
        if (sn != r2t->tail_sn || offset != r2t->tail + r2t->tail_size || r2t->tail_size == 0) {
            r2t->tail = offset;
            r2t->tail_size = 0;
        }
        r2t->tail_size += (guint32)rx->data_size;
        r2t->tail_sn = sn + 1;
    }

    /* It came late, and there is no gap any more; an initiator may let the two overlap */
    if (r2t->tail_size != 0 && r2t->tail <= r2t->offset + r2t->received) {
        r2t->received = MAX(r2t->received, r2t->tail + r2t->tail_size - r2t->offset);
        r2t->data_sn = r2t->tail_sn;
        r2t->tail_size = 0;
        r2t->is_broken = FALSE;
    }
}

static void
solicited_complete(Task *task, Rx *rx, gboolean digest_error)
{
    TaskDataOut *out = &task->command.out;
    TaskR2t *r2t = rx->r2t;
    gboolean is_full;

    if (!r2t->is_broken) {
        r2t->data_sn++;
        r2t->received += (guint32)MIN(rx->data_size, r2t->length - r2t->received);
    } else if (!digest_error && !out->has_failed && is_behind_gap(r2t, rx)) {
        take_behind_gap(r2t, rx);
    }
    is_full = r2t->received == r2t->length;
    if (!pdu_is_final(rx->bhs) && !(is_full && !out->has_failed))
        return;

    if (r2t->is_broken && !is_full && !out->has_failed) {
        recover(task, r2t);
        return;
    }
    if (is_full)
        out->n_tries = 0;
    else
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
    if (task->is_suspended)
        out->n_r2ts = 0;
    out->has_failed = TRUE;
    out->is_draining = !is_drained(task);
    return !out->is_draining;
}

gboolean
dataseq_linger(Task *task)
{
    TaskDataOut *out = &task->command.out;

    if (dataseq_is_fast_abort(task))
        return FALSE;
    withdraw_r2ts(out);
    if (out->n_r2ts == 0)
        return FALSE;

    out->has_failed = TRUE;
    out->is_draining = TRUE;
    out->is_silent = TRUE;
    return TRUE;
}

void
dataseq_close(Task *task)
{
    TaskDataOut *out = &task->command.out;

    out->n_r2ts = 0;
    out->unsolicited_open = FALSE;
    out->is_draining = FALSE;
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

/* The last resort: what is left for the task is on another connection, or in another session */
static void
give_up_connection(Task *task)
{
    task->command.out.is_lost = FALSE;
    connection_close(task->connection,
                     "data of a write did not come, however often it was asked for");
}

void
dataseq_complete(Connection *connection, Rx *rx, gboolean digest_error)
{
    Task *task = rx->task;

    rx->task = NULL;
    if (task == NULL || !may_have_data(task))
        return;

    if (digest_error && !has_recovery(task))
        task_command_set_failure(task, SENSE_PROTOCOL_CRC_ERROR);
    else if (digest_error && rx->r2t != NULL)
        rx->r2t->is_broken = TRUE;
    else if (digest_error)
        task->command.out.is_broken = TRUE;
    if (has_recovery(task)) {
        note_progress(task);
        connection->recovery.data_out_at = task->command.out.progress_at;
    }
    if (rx->r2t != NULL)
        solicited_complete(task, rx, digest_error);
    else
        unsolicited_complete(task, rx);
    if (task->command.out.is_lost)
        give_up_connection(task);
    else if (may_have_data(task))
        go_on(task);
}

/* Error recovery */

/* TRUE: it is one that may be asked for, and will be sent */
static gboolean
resend_r2t(TaskDataOut *out, guint32 r2t_sn)
{
    for (guint i = 0; i < out->n_r2ts; i++) {
        TaskR2t *r2t = &out->r2ts[i];

        if (r2t->is_sent && r2t->r2t_sn == r2t_sn) {
            r2t->resends = TRUE;
            return TRUE;
        }
        if (r2t->has_old && r2t->old_sn == r2t_sn) {
            r2t->resends_old = TRUE;
            return TRUE;
        }
    }
    return FALSE;
}

/* The lowest R2TSN that was not answered */
static guint32
first_open_sn(const TaskDataOut *out)
{
    guint32 sn = out->r2t_sn;

    for (guint i = 0; i < out->n_r2ts; i++) {
        const TaskR2t *r2t = &out->r2ts[i];

        if (r2t->has_old)
            sn = MIN(sn, r2t->old_sn);
        else if (r2t->is_sent)
            sn = MIN(sn, r2t->r2t_sn);
    }
    return sn;
}

PduRejectReason
dataseq_resend(Task *task, guint32 first, guint32 n)
{
    TaskDataOut *out = &task->command.out;
    guint32 end = out->r2t_sn;
    gboolean is_open = n == 0; /* all that are, from @first on */
    gboolean has_any = FALSE;

    if (first >= end ? first != 0 || n != 0 : n > end - first)
        return PDU_REJECT_PROTOCOL_ERROR;

    if (n != 0)
        end = first + n;
    else
        first = MAX(first, first_open_sn(out)); /* a long write has had millions */
    for (guint32 sn = first; sn < end; sn++) {
        /* Who has answered it has it */
        if (resend_r2t(out, sn))
            has_any = TRUE;
        else if (!is_open)
            return PDU_REJECT_PROTOCOL_ERROR;
    }
    if (has_any)
        tx_queue(task);
    return PDU_REJECT_NONE;
}

static gboolean
is_overdue(const Task *task)
{
    const TaskDataOut *out = &task->command.out;
    gint64 now = task->session->server->worker->loop.now;

    if (now - out->progress_at >= BUSY_SEQUENCE_USEC)
        return TRUE;
    return now - MAX(out->progress_at, task->connection->recovery.data_out_at) >= SEQUENCE_USEC;
}

/* The R2Ts have not left */
static gboolean
is_unasked(const Task *task)
{
    const TaskDataOut *out = &task->command.out;

    return task->connection->tx.is_blocked || (out->n_r2ts > 0 && !out->r2ts[0].is_sent);
}

/* The initiator will not end its sequences: the command ends without that */
static void
give_up(Task *task)
{
    TaskDataOut *out = &task->command.out;

    task_command_set_failure(task, SENSE_PROTOCOL_CRC_ERROR);
    out->n_r2ts = 0;
    if (out->unsolicited_open)
        end_unsolicited(task);
    if (may_have_data(task))
        go_on(task);
}

static void
ask_again(Task *task)
{
    TaskDataOut *out = &task->command.out;
    TaskR2t *r2t = &out->r2ts[0];

    if (out->has_failed || out->is_draining) {
        give_up(task);
        return;
    }
    if (out->unsolicited_open) {
        out->is_broken = TRUE;
        end_unsolicited(task);
        return;
    }

    if (out->n_timeouts == 1 && r2t->received == 0 && !r2t->is_broken) {
        count_try(out);
        r2t->resends = TRUE;
        tx_queue(task);
    } else {
        recover(task, r2t);
        r2t->is_doubled = out->n_timeouts > 2;
    }
    if (out->is_lost || out->n_timeouts >= TIMEOUTS_MAX)
        give_up_connection(task);
}

gboolean
dataseq_check(Task *task)
{
    TaskDataOut *out = &task->command.out;

    if (!out->unsolicited_open && out->n_r2ts == 0)
        return FALSE;

    /* What is just being received has a time limit of its own; what the initiator did not read, too */
    if (task->connection->rx.task == task || is_unasked(task)) {
        out->progress_at = task->session->server->worker->loop.now;
        return TRUE;
    }
    if (!is_overdue(task))
        return TRUE;

    out->n_timeouts++;
    out->progress_at = task->session->server->worker->loop.now;
    ask_again(task);
    return TRUE;
}

void
dataseq_suspend(Task *task)
{
    TaskDataOut *out = &task->command.out;

    if (!out->unsolicited_open && out->n_r2ts == 0)
        return;

    if (out->has_failed || out->is_draining) {
        give_up(task);
    } else if (out->unsolicited_open) {
        out->is_broken = TRUE;
        end_unsolicited(task);
    }
}

void
dataseq_reassign(Task *task, guint32 exp_sn)
{
    TaskDataOut *out = &task->command.out;

    if (!out->in_segment)
        return;

    out->r2t_sn = exp_sn != 0 && exp_sn <= out->r2t_sn ? exp_sn : first_open_sn(out);
    for (guint i = 0; i < out->n_r2ts; i++) {
        TaskR2t *r2t = &out->r2ts[i];

        if (r2t->is_sent || r2t->has_old)
            recover(task, r2t);
        r2t->has_old = FALSE;
    }
    out->n_tries = 0;
    out->is_lost = FALSE;
    note_progress(task);
}
