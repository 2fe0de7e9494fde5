/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Command pipeline
 *
 * A command enters the task set of its nexus on the logical unit with
 * scsi_command_begin(). scsi_command_run() takes it through the gates below,
 * in this order; each lets it pass or ends it. No gate blocks and no gate
 * touches the medium; only the operation does, and it ends the command later,
 * on the same worker, through scsi_command_finish().
 *
 * What a command can wait for is a state: an older command (task ordering), a
 * buffer, a range (SCSI_STATE_BLOCKED), the transport (DATA_OUT, DATA_IN), the
 * backstore (IO). When the wait is over, commands go through the worker's run
 * queue rather than being called on the spot, so that one ending command that
 * sets many free costs no stack.
 *
 * An abort ends a command at once in all states but IO. There only @aborted is
 * set; the command keeps its place until the backstore has answered, since
 * until then it may have an effect, and others that touch the same blocks are
 * parked.
 *
 * Nothing here allocates. scsi_command_finish() calls the transport last, after
 * all of the logical unit that it needs: the transport may use the command anew
 * or tear the nexus down from its callback.
 */

#include "scsi/command.h"

#include <errno.h>
#include <string.h>

#include "scsi/alua.h"
#include "scsi/lu-change.h"
#include "scsi/lu-erase.h"
#include "scsi/operation.h"
#include "scsi/range-lock.h"
#include "scsi/reservation.h"
#include "scsi/sbc.h"
#include "util/bytes.h"

typedef enum {
    GATE_PASS,
    GATE_DONE,
} GateResult;

typedef GateResult (*Gate)(ScsiCommand *command);

/*
 * Leaving
 */

static void
count(ScsiCommand *command, LuShard *shard)
{
    LuStatistics *s = &shard->statistics;
    gint64 usec = worker_now(shard->worker) - command->started_at;
    guint bucket = usec > 0 ? g_bit_storage((gulong)usec) - 1 : 0;

    s->n_commands++;
    s->latency[MIN(bucket, G_N_ELEMENTS(s->latency) - 1)]++;

    if (command->status == SCSI_CHECK_CONDITION)
        s->n_errors += sense_key_of(command->sense) != SENSE_KEY_UNIT_ATTENTION;

    if (command->op == NULL || !(command->op->flags & OP_MEDIUM))
        return;

    if (command->op->direction == OPERATION_IN) {
        if (command->op->lba.size == 0)
            return;
        s->n_reads++;
        s->read_usec += (guint64)MAX(usec, 0);
        s->bytes_read += MIN(command->transfer_length, command->expected_in);
    } else if (command->op->out == OPERATION_OUT_VERIFY) {
        s->bytes_verified += command->n_blocks << shard->lu->block_shift;
    } else if (command->op->flags & OP_WRITES) {
        s->n_writes++;
        s->write_usec += (guint64)MAX(usec, 0);
        s->bytes_written += command->done_bytes;
    }
}

static gboolean
is_special(const ScsiCommand *command)
{
    return command->attribute == SCSI_ORDERED || command->attribute == SCSI_HEAD_OF_QUEUE;
}

/*
 * Task ordering (SAM): a SIMPLE command waits for every HEAD OF QUEUE and for
 * older ORDERED ones, an ORDERED one for every HEAD OF QUEUE and for all that
 * are older, a HEAD OF QUEUE one for nothing.
 */
static gboolean
must_wait(const ScsiCommand *command)
{
    const NexusLun *nexus_lun = command->nexus_lun;
    gboolean is_older = TRUE;

    if (nexus_lun->n_special == 0 || command->attribute == SCSI_HEAD_OF_QUEUE)
        return FALSE;

    list_foreach(link, &nexus_lun->tasks) {
        const ScsiCommand *other = list_entry(link, ScsiCommand, link);

        if (other == command) {
            is_older = FALSE;
            continue;
        }
        if (other->is_inner)
            continue; /* what it belongs to has its own place, or none */
        if (other->attribute == SCSI_HEAD_OF_QUEUE)
            return TRUE;
        if (is_older && (command->attribute == SCSI_ORDERED || other->attribute == SCSI_ORDERED))
            return TRUE;
    }

    return FALSE;
}

static void
wake_ordered(NexusLun *nexus_lun)
{
    list_foreach_safe(link, &nexus_lun->waiting) {
        ScsiCommand *command = list_entry(link, ScsiCommand, wait_link);

        if (!must_wait(command)) {
            list_unlink(&command->wait_link);
            scsi_worker_make_runnable(nexus_lun->nexus->scsi, command);
        }
    }
}

static void
leave_task_set(ScsiCommand *command)
{
    NexusLun *nexus_lun = command->nexus_lun;

    list_unlink(&command->link);
    list_unlink(&command->wait_link);
    if (nexus_lun == NULL)
        return;

    count(command, nexus_lun->shard);
    if (is_special(command))
        nexus_lun->n_special--;
    if (G_UNLIKELY(!list_is_empty(&nexus_lun->waiting)))
        wake_ordered(nexus_lun);

    command->nexus_lun = NULL;
    if (G_UNLIKELY(list_is_empty(&nexus_lun->tasks)))
        nexus_lun_idle(nexus_lun);
}

static void
give_buffers(ScsiCommand *command)
{
    Pool *pool = command->nexus->worker->pool;

    if (G_UNLIKELY(command->scratch != NULL))
        pool_give(pool, g_steal_pointer(&command->scratch));
    if (command->buffer != NULL)
        pool_give(pool, g_steal_pointer(&command->buffer));
    command->data = NULL;
    command->data_size = 0;
}

static gboolean
has_data_in(const ScsiCommand *command)
{
    return command->status == SCSI_GOOD && !command->aborted && command->data_length > 0 &&
           command->op->direction == OPERATION_IN;
}

/* Whether the transport can have no more use for the buffer. While it may still receive into it,
 * or send from it, the buffer stays until scsi_command_end(). */
static gboolean
is_buffer_idle(const ScsiCommand *command)
{
    if (command->op == NULL || command->aborted)
        return FALSE;
    if (command->op->direction == OPERATION_OUT)
        return command->status == SCSI_GOOD && command->done_bytes > 0;
    return !has_data_in(command);
}

/*
 * QERR: with a task set for each nexus, both values mean the other commands of this nexus. They end
 * without a status, as what their own nexus aborts does. Those of a copy end with the copy.
 *
 * The transport may run commands from inside, which may fail too and come here again. So @command
 * is done already and nobody can end it; it is still in the task set, so the unit stays.
 */
static void
abort_others(const ScsiCommand *command)
{
    NexusLun *nexus_lun = command->nexus_lun;
    gboolean again = TRUE;

    /* From the start each time: more may end when a command ends */
    while (again) {
        again = FALSE;
        list_foreach(link, &nexus_lun->tasks) {
            ScsiCommand *other = list_entry(link, ScsiCommand, link);

            if (other->state == SCSI_STATE_DONE || other->aborted || other->is_inner)
                continue;
            scsi_command_abort(other);
            again = TRUE;
            break;
        }
    }
}

static gboolean
aborts_others(const ScsiCommand *command)
{
    const NexusLun *nexus_lun = command->nexus_lun;

    return nexus_lun != NULL && !command->is_inner &&
           lu_state_has(&nexus_lun->shard->state, MODE_QERR_ABORT);
}

void
scsi_command_finish(ScsiCommand *command, ScsiStatus status)
{
    g_assert(command->state != SCSI_STATE_DONE && command->state != SCSI_STATE_NEW);

    pool_wait_cancel(command->nexus->worker->pool, &command->waiter);
    command->state = SCSI_STATE_DONE;
    command->status = status;
    if (!has_data_in(command))
        command->data_length = 0;
    if (G_UNLIKELY(status == SCSI_CHECK_CONDITION) && aborts_others(command))
        abort_others(command);
    leave_task_set(command);
    if (is_buffer_idle(command))
        give_buffers(command);

    command->transport->done(command);
}

void
scsi_command_fail_sense(ScsiCommand *command, const Sense *sense)
{
    const NexusLun *nexus_lun = command->nexus_lun;
    gboolean descriptor = nexus_lun != NULL && lu_state_has(&nexus_lun->shard->state, MODE_D_SENSE);

    command->sense_length = sense_encode(sense, descriptor, command->sense);
    if (command->state != SCSI_STATE_BEGUN)
        command->transfer_length = command->done_bytes;
    scsi_command_finish(command, SCSI_CHECK_CONDITION);
}

void
scsi_command_fail(ScsiCommand *command, SenseCode code)
{
    scsi_command_fail_sense(command, &(Sense){ .code = code });
}

void
scsi_command_fail_information(ScsiCommand *command, SenseCode code, guint64 information)
{
    scsi_command_fail_sense(
        command, &(Sense){ .code = code, .has_information = TRUE, .information = information });
}

void
scsi_command_fail_field(ScsiCommand *command, guint byte, gint bit)
{
    SenseField field = { .valid = TRUE, .in_cdb = TRUE, .byte = (guint16)byte, .bit = (gint8)bit };

    scsi_command_fail_sense(command,
                            &(Sense){ .code = SENSE_INVALID_FIELD_IN_CDB, .field = field });
}

void
scsi_command_fail_parameter(ScsiCommand *command, guint byte, gint bit)
{
    SenseField field = { .valid = TRUE, .byte = (guint16)byte, .bit = (gint8)bit };

    scsi_command_fail_sense(command,
                            &(Sense){ .code = SENSE_INVALID_FIELD_IN_PARAMETERS, .field = field });
}

static void
count_failure(const ScsiCommand *command)
{
    LuStatistics *s = &command->nexus_lun->shard->statistics;

    if (command->op->out == OPERATION_OUT_VERIFY)
        s->n_verify_failures++;
    else if (command->op->direction == OPERATION_IN)
        s->n_read_failures++;
    else
        s->n_write_failures++;
}

void
scsi_command_fail_io(ScsiCommand *command, gint64 result, gboolean write, guint64 lba)
{
    int error = (int)-result;
    SenseCode code = sense_from_errno(error, write);
    const Lu *lu = scsi_command_lu(command);
    ScsiEventType type = write && backstore_is_failed(lu->store) ? SCSI_EVENT_STORE_FAILED
                                                                 : SCSI_EVENT_BACKSTORE_ERROR;

    /* Nothing is wrong with the medium, the initiator may simply try again. Not so after a flush, which
     * nothing makes good, whatever it failed with. */
    if (code == SENSE_NONE && type == SCSI_EVENT_STORE_FAILED)
        code = SENSE_WRITE_ERROR;
    if (code == SENSE_NONE) {
        scsi_command_finish(command, SCSI_BUSY);
        return;
    }

    count_failure(command);
    scsi_worker_post(command->nexus->scsi, type, lu, error, lba);
    if (sense_info(code)->key == SENSE_KEY_MEDIUM_ERROR)
        scsi_command_fail_information(command, code, lba);
    else
        scsi_command_fail(command, code);
}

void
scsi_command_reply(ScsiCommand *command, guint64 length, guint64 allocation_length)
{
    command->transfer_length = MIN(length, allocation_length);
    command->data_offset = 0;
    command->data_length = (guint32)MIN(command->transfer_length, command->expected_in);
    command->done_bytes = command->data_length;
    scsi_command_finish(command, SCSI_GOOD);
}

/*
 * Waiting
 */

void
scsi_command_yield(ScsiCommand *command, void (*resume)(ScsiCommand *))
{
    command->state = SCSI_STATE_BLOCKED;
    command->resume = resume;
    scsi_worker_make_runnable(command->nexus->scsi, command);
}

static void
set_buffer(ScsiCommand *command, void *buffer, gsize size)
{
    command->buffer = buffer;
    command->data = buffer;
    command->data_size = size;
}

static void
on_buffer(PoolWaiter *waiter, void *buffer)
{
    ScsiCommand *command = list_entry(waiter, ScsiCommand, waiter);

    set_buffer(command, buffer, waiter->size);
    scsi_worker_make_runnable(command->nexus->scsi, command);
}

gboolean
scsi_command_take_buffer(ScsiCommand *command, gsize size, void (*resume)(ScsiCommand *))
{
    Pool *pool = command->nexus->worker->pool;
    void *buffer;

    if (command->buffer != NULL && command->data_size >= size)
        return TRUE;

    g_assert(command->buffer == NULL);

    buffer = pool_take(pool, size);
    if (G_LIKELY(buffer != NULL)) {
        set_buffer(command, buffer, size);
        return TRUE;
    }

    command->state = SCSI_STATE_BLOCKED;
    command->resume = resume;
    pool_waiter_init(&command->waiter, on_buffer);
    pool_wait(pool, &command->waiter, size);
    return FALSE;
}

void
scsi_command_drop_buffer(ScsiCommand *command)
{
    give_buffers(command);
}

gboolean
scsi_command_take_zeroed(ScsiCommand *command, gsize size, void (*resume)(ScsiCommand *))
{
    if (!scsi_command_take_buffer(command, size, resume))
        return FALSE;

    memset(command->data, 0, size);
    return TRUE;
}

gboolean
scsi_command_take_scratch(ScsiCommand *command, gsize size)
{
    Pool *pool = command->nexus->worker->pool;

    if (command->scratch == NULL)
        command->scratch = pool_take(pool, size);
    if (command->scratch == NULL)
        command->scratch = pool_take_reserved(pool, size);
    return command->scratch != NULL;
}

void
scsi_command_receive(ScsiCommand *command, guint32 length, void (*resume)(ScsiCommand *))
{
    /* Of a unit that was replaced: an initiator that sends nothing would keep its store open */
    if (command->nexus_lun != NULL && command->nexus_lun->is_leaving) {
        scsi_command_fail(command, SENSE_NOT_READY_BECOMING_READY);
        return;
    }
    command->state = SCSI_STATE_DATA_OUT;
    command->data_offset = command->done_bytes;
    command->data_length = length;
    command->resume = resume;
    command->transport->data_out(command);
}

void
scsi_command_data_out_ready(ScsiCommand *command)
{
    g_assert(command->state == SCSI_STATE_DATA_OUT);

    command->state = SCSI_STATE_BLOCKED;
    if (G_UNLIKELY(command->nexus_lun->denied != 0) && reservation_refuses(command)) {
        scsi_command_finish(command, SCSI_RESERVATION_CONFLICT);
        return;
    }
    command->resume(command);
}

void
scsi_command_send(ScsiCommand *command, guint32 length, void (*resume)(ScsiCommand *))
{
    command->state = SCSI_STATE_DATA_IN;
    command->data_offset = command->done_bytes;
    command->data_length = length;
    command->resume = resume;
    command->transport->data_in(command);
}

void
scsi_command_data_in_sent(ScsiCommand *command)
{
    /* Sent, but the command was aborted meanwhile */
    if (command->state == SCSI_STATE_DONE)
        return;

    g_assert(command->state == SCSI_STATE_DATA_IN);

    command->state = SCSI_STATE_BLOCKED;
    command->resume(command);
}

/*
 * The backstore
 */

static void
aborted_io_ended(ScsiCommand *command)
{
    ScsiWorker *scsi = command->nexus->scsi;
    NexusLun *nexus_lun = command->nexus_lun;
    LuShard *shard = nexus_lun->shard;
    guint64 sequence = command->abort_sequence;

    shard->n_conflicts--;
    if (--shard->n_aborting == 0)
        scsi_worker_shard_calm(shard);
    range_lock_unpark(shard);

    /* What went wrong before it had ended, in a copy say, is not told any more */
    command->sense_length = 0;
    command->transfer_length = command->done_bytes;
    scsi_command_finish(command, SCSI_TASK_ABORTED);

    /* From here on the pointers are only compared */
    scsi_abort_wait_command_ended(scsi, sequence, command, nexus_lun, shard);
}

static void
on_io_done(Io *io)
{
    ScsiCommand *command = list_entry(io, ScsiCommand, io);
    LuShard *shard = command->nexus_lun->shard;

    command->state = SCSI_STATE_BLOCKED;
    command->is_at_home = FALSE;
    command->is_at_control = FALSE;
    if (G_UNLIKELY(shard->n_conflicts != 0)) {
        range_lock_io_ended(shard);
        lu_erase_io_ended(shard);
        reservation_io_ended(shard);
        lu_change_io_ended(shard);
    }

    if (G_UNLIKELY(command->aborted))
        aborted_io_ended(command);
    else
        command->after_io(command);
}

static gboolean
is_partial_write(const Lu *lu, const Io *io)
{
    return io->kind == IO_WRITE &&
           ((io->offset | io->length) & ((guint64)lu->info->offset_align - 1)) != 0;
}

/* It passed the gates before the medium began to be erased */
static void
fail_erasing(ScsiCommand *command)
{
    Sense sense = { 0 };

    (void)lu_erase_get_sense(command->nexus_lun->shard, &sense);
    scsi_command_fail_sense(command, &sense);
}

/* FALSE: it was ended, or is parked and @resume is called when it may try again */
static inline gboolean
may_submit(ScsiCommand *command, void (*resume)(ScsiCommand *))
{
    NexusLun *nexus_lun = command->nexus_lun;
    LuShard *shard = nexus_lun->shard;

    /* It passed the gates before the reservation was there */
    if (G_UNLIKELY(nexus_lun->denied != 0) && reservation_refuses(command)) {
        scsi_command_finish(command, SCSI_RESERVATION_CONFLICT);
        return FALSE;
    }

    if (G_UNLIKELY(lu_state_is_restricted(&shard->state) || nexus_lun->read_only ||
                   command->io_end > shard->state.size) &&
        lu_state_refuses(shard, command) != SENSE_NONE) {
        scsi_command_fail(command, lu_state_refuses(shard, command));
        return FALSE;
    }

    if (G_UNLIKELY(shard->n_conflicts != 0) && lu_erase_is_running(shard)) {
        fail_erasing(command);
        return FALSE;
    }

    if (G_UNLIKELY(shard->n_conflicts != 0) && range_lock_is_conflict(shard, command)) {
        command->state = SCSI_STATE_BLOCKED;
        command->resume = resume;
        list_append(&shard->parked, &command->wait_link);
        return FALSE;
    }

    if (G_UNLIKELY(shard->n_rods != 0) && command->io_writes)
        rod_shard_written(shard, command->io_offset, command->io_end);
    return TRUE;
}

static void
submit_io(ScsiCommand *command)
{
    Lu *lu = command->nexus_lun->lu;
    LuShard *shard = command->nexus_lun->shard;

    if (!may_submit(command, submit_io))
        return;

    command->state = SCSI_STATE_IO;
    if (G_UNLIKELY(command->range_op != RANGE_WRITE || is_partial_write(lu, &command->io))) {
        command->is_at_home = TRUE;
        range_lock_run(command, on_io_done);
        return;
    }

    command->io.done = on_io_done;
    backstore_submit(lu->store, shard->worker, &command->io);
}

void
scsi_command_io(ScsiCommand *command, IoKind kind, IoFlags flags, guint64 offset, guint64 length,
                void *buffer, void (*resume)(ScsiCommand *))
{
    Io *io = &command->io;

    io->kind = kind;
    io->flags = flags;
    io->offset = offset;
    io->length = length;
    io->buffer = buffer;
    io->result = 0;
    command->io_offset = offset;
    command->io_end = offset + length;
    command->io_writes = kind != IO_READ && kind != IO_MAP && kind != IO_PREFETCH;
    command->range_op = RANGE_WRITE;
    command->after_io = resume;
    submit_io(command);
}

/*
 * Two commands with one request
 */

static void
on_copied(Io *io)
{
    ScsiCommand *destination = list_entry(io, ScsiCommand, io);
    ScsiCommand *source = destination->peer;

    source->io.result = io->result;
    on_io_done(&source->io);
    on_io_done(io);
}

/* Both or none: were one of them in flight while the other is parked, the lock that parks the
 * other could wait for the one */
static void
submit_copy(ScsiCommand *either)
{
    ScsiCommand *destination = either->io_writes ? either : either->peer;
    ScsiCommand *source = destination->peer;

    if (!may_submit(source, submit_copy) || !may_submit(destination, submit_copy))
        return;

    source->state = SCSI_STATE_IO;
    destination->state = SCSI_STATE_IO;
    destination->io.done = on_copied;
    backstore_submit(destination->nexus_lun->lu->store, destination->nexus->worker,
                     &destination->io);
}

void
scsi_command_copy(ScsiCommand *source, guint64 source_offset, ScsiCommand *destination,
                  guint64 destination_offset, guint64 length, void (*resume)(ScsiCommand *))
{
    Io *io = &destination->io;

    io->kind = IO_COPY;
    io->flags = (IoFlags)0;
    io->offset = destination_offset;
    io->length = length;
    io->buffer = NULL;
    io->source = source->nexus_lun->lu->store;
    io->source_offset = source_offset;
    io->result = 0;

    source->peer = destination;
    source->io_offset = source_offset;
    source->io_end = source_offset + length;
    source->io_writes = FALSE;
    source->range_op = RANGE_WRITE;
    source->after_io = resume;

    destination->peer = source;
    destination->io_offset = destination_offset;
    destination->io_end = destination_offset + length;
    destination->io_writes = TRUE;
    destination->range_op = RANGE_WRITE;
    destination->after_io = resume;
    submit_copy(destination);
}

void
scsi_command_atomic(ScsiCommand *command, RangeOp op, IoFlags flags, guint64 offset, guint64 length,
                    const guint8 *compare, guint8 *buffer, void (*resume)(ScsiCommand *))
{
    Io *io = &command->io;

    io->kind = IO_WRITE;
    io->flags = flags;
    io->offset = offset;
    io->length = length;
    io->buffer = buffer;
    io->result = 0;
    command->io_offset = offset;
    command->io_end = offset + length;
    command->io_writes = TRUE;
    command->range_op = op;
    command->range_compare = compare;
    command->after_io = resume;
    submit_io(command);
}

void
scsi_command_ask_home(ScsiCommand *command, MessageFn deliver, void (*resume)(ScsiCommand *))
{
    const Lu *lu = scsi_command_lu(command);

    command->state = SCSI_STATE_IO;
    command->is_at_home = TRUE;
    command->io_offset = 0;
    command->io_end = 0;
    command->io_writes = FALSE;
    command->io.result = 0;
    command->after_io = resume;
    worker_send(lu->workers[lu->home], &command->message, deliver);
}

static void
on_answer(Message *message)
{
    on_io_done(&scsi_command_of_message(message)->io);
}

void
scsi_command_answer(ScsiCommand *command, gint64 result)
{
    command->io.result = result;
    worker_send(command->nexus->worker, &command->message, on_answer);
}

void
scsi_command_errand_started(ScsiCommand *command)
{
    command->state = SCSI_STATE_IO;
    command->is_at_home = TRUE;
    command->io_offset = 0;
    command->io_end = 0;
    command->io_writes = FALSE;
}

void
scsi_command_errand_ended(ScsiCommand *command, void (*resume)(ScsiCommand *))
{
    command->after_io = resume;
    on_io_done(&command->io);
}

/*
 * Gates
 */

static GateResult
fail(ScsiCommand *command, SenseCode code)
{
    scsi_command_fail(command, code);
    return GATE_DONE;
}

static GateResult
fail_field(ScsiCommand *command, guint byte, gint bit)
{
    scsi_command_fail_field(command, byte, bit);
    return GATE_DONE;
}

/* There is no auto contingent allegiance here, so nothing can belong to one */
static GateResult
gate_attribute(ScsiCommand *command)
{
    return command->attribute == SCSI_ACA ? fail(command, SENSE_INVALID_MESSAGE) : GATE_PASS;
}

/* Some other service action of the operation code exists on the unit; the well-known one has none */
static gboolean
is_opcode_supported(const ScsiCommand *command)
{
    guint n_rows;
    const Operation *rows = optable_rows(&n_rows);
    const guint8 opcode = command->cdb[0];

    if (command->nexus_lun == NULL)
        return FALSE;

    for (guint i = command->nexus->scsi->op_index[opcode] - 1U;
         i < n_rows && rows[i].opcode == opcode; i++) {
        if (operation_is_supported(&rows[i], command->nexus_lun->lu))
            return TRUE;
    }
    return FALSE;
}

static GateResult
gate_known(ScsiCommand *command)
{
    const NexusLun *nexus_lun = command->nexus_lun;

    if (G_LIKELY(command->op != NULL &&
                 (nexus_lun == NULL || operation_is_supported(command->op, nexus_lun->lu))))
        return GATE_PASS;

    /* Where there is no unit that is what there is to say */
    if (nexus_lun == NULL && command->lun_kind != LUN_REPORT_LUNS)
        return fail(command, SENSE_LU_NOT_SUPPORTED);

    return command->known_opcode && is_opcode_supported(command)
               ? fail_field(command, 1, 4)
               : fail(command, SENSE_INVALID_OPCODE);
}

static GateResult
gate_unit(ScsiCommand *command)
{
    guint flags = command->op->flags;

    if (G_LIKELY(command->nexus_lun != NULL) || (flags & OP_NO_UNIT))
        return GATE_PASS;

    if (command->lun_kind == LUN_REPORT_LUNS)
        return (flags & OP_WELL_KNOWN) ? GATE_PASS : fail(command, SENSE_INVALID_OPCODE);

    return fail(command, SENSE_LU_NOT_SUPPORTED);
}

static GateResult
gate_unit_attention(ScsiCommand *command)
{
    NexusLun *nexus_lun = command->nexus_lun;
    SenseCode code;

    if (nexus_lun == NULL ||
        G_LIKELY(nexus_lun->attentions.n == 0 && nexus_lun->deferred == SENSE_NONE) ||
        (command->op->flags & OP_UA_EXEMPT) || command->is_inner)
        return GATE_PASS;

    if (nexus_lun_take(nexus_lun, &code))
        return fail(command, code);

    code = nexus_lun->deferred;
    nexus_lun->deferred = SENSE_NONE;
    scsi_command_fail_sense(command, &(Sense){ .code = code, .is_deferred = TRUE });
    return GATE_DONE;
}

/* The target port group may lead to the unit, but not to its medium */
static GateResult
gate_access(ScsiCommand *command)
{
    SenseCode code;

    if (command->nexus_lun == NULL || G_LIKELY(command->nexus->access <= ALUA_ACTIVE_NON_OPTIMIZED))
        return GATE_PASS;

    code = alua_refuses(command);
    return code == SENSE_NONE ? GATE_PASS : fail(command, code);
}

/* What another nexus has reserved */
static GateResult
gate_reservation(ScsiCommand *command)
{
    const NexusLun *nexus_lun = command->nexus_lun;

    if (nexus_lun == NULL || G_LIKELY(nexus_lun->denied == 0) || !reservation_refuses(command))
        return GATE_PASS;

    scsi_command_finish(command, SCSI_RESERVATION_CONFLICT);
    return GATE_DONE;
}

/* SBC lists what runs while a unit is sanitized, and after that failed; much of it only for some pages */
static gboolean
is_allowed_in_sanitize(const ScsiCommand *command)
{
    const guint8 *cdb = command->cdb;
    guint page = cdb[2] & 0x3f;

    switch (cdb[0]) {
    case 0x1a: /* MODE SENSE of the pages caching, control, informational exceptions */
    case 0x5a:
        return cdb[3] == 0 && (page == 0x08 || page == 0x0a || page == 0x1c);
    case 0x25: /* READ CAPACITY */
        return TRUE;
    case 0x4d: /* LOG SENSE of the page temperature */
        return page == 0x0d && cdb[3] == 0;
    case 0x9e:
        return (cdb[1] & 0x1f) == 0x10;
    default:
        return FALSE;
    }
}

static gboolean
is_sanitize(EraseState state)
{
    return state == ERASE_SANITIZING || state == ERASE_SANITIZE_FAILED;
}

/* While the medium is erased as a whole, and after that failed */
static GateResult
gate_erase(ScsiCommand *command)
{
    const NexusLun *nexus_lun = command->nexus_lun;
    Sense sense = { 0 };

    if (nexus_lun == NULL || G_LIKELY(nexus_lun->shard->erase_state == ERASE_NONE) ||
        (command->op->flags & OP_ERASE_EXEMPT))
        return GATE_PASS;

    if (is_sanitize(nexus_lun->shard->erase_state) && is_allowed_in_sanitize(command))
        return GATE_PASS;

    /* What erases is the way out of a failure */
    if (!lu_erase_get_sense(nexus_lun->shard, &sense) && (command->op->flags & OP_ERASES))
        return GATE_PASS;

    scsi_command_fail_sense(command, &sense);
    return GATE_DONE;
}

/* What tells about the unit and not about its medium. What changes the state of a disk would be
 * forgotten when the store comes back; a drive is there also without a medium. */
static gboolean
runs_without_store(const Operation *op, const Lu *lu)
{
    if (op->flags & (OP_MEDIUM | OP_READY))
        return FALSE;
    return lu->device == LU_CDROM || op->flags & OP_UA_EXEMPT || op->direction == OPERATION_IN;
}

/* An ejected medium is as good as none, and so is a store that is not there */
static GateResult
gate_ready(ScsiCommand *command)
{
    const NexusLun *nexus_lun = command->nexus_lun;

    if (nexus_lun == NULL)
        return GATE_PASS;

    if (G_UNLIKELY(nexus_lun->shard->state.is_ejected) &&
        command->op->flags & (OP_MEDIUM | OP_READY))
        return fail(command, lu_ejected_sense(nexus_lun->lu));

    if (G_UNLIKELY(nexus_lun->lu->not_ready != SENSE_NONE) &&
        !runs_without_store(command->op, nexus_lun->lu))
        return fail(command, nexus_lun->lu->not_ready);

    if (G_UNLIKELY(nexus_lun->shard->state.power_condition == POWER_STOPPED) &&
        command->op->flags & (OP_MEDIUM | OP_READY))
        return fail(command, SENSE_NOT_READY_INITIALIZING);

    return GATE_PASS;
}

static GateResult
gate_cdb(ScsiCommand *command)
{
    gboolean lenient = command->nexus_lun != NULL && command->nexus_lun->lu->lenient_cdb;
    guint16 byte;
    gint8 bit;

    if (G_LIKELY(operation_check_cdb(command->op, command->cdb, lenient, &byte, &bit)))
        return GATE_PASS;

    return fail_field(command, byte, bit);
}

/* Bytes of blocks that go over the wire: what MAXIMUM TRANSFER LENGTH limits */
static guint64
wire_bytes(const ScsiCommand *command)
{
    if (command->op->direction == OPERATION_IN)
        return command->n_blocks << scsi_command_lu(command)->block_shift;

    return command->data_out_length;
}

static GateResult
gate_medium(ScsiCommand *command)
{
    const Operation *op = command->op;
    const NexusLun *nexus_lun = command->nexus_lun;
    guint64 capacity;

    if (!(op->flags & OP_MEDIUM))
        return GATE_PASS;

    if ((op->flags & OP_WRITES) && nexus_lun_is_protected(nexus_lun))
        return fail(command, SENSE_WRITE_PROTECTED);

    if (op->lba.size == 0)
        return GATE_PASS;

    /* What a copy gives to the stores goes over no wire */
    if (!command->is_inner && wire_bytes(command) > nexus_lun->nexus->scsi->max_transfer)
        return fail_field(command, op->length.offset, 7);

    capacity = lu_shard_n_blocks(nexus_lun->shard);
    if (command->lba > capacity || command->n_blocks > capacity - command->lba)
        return fail(command, SENSE_LBA_OUT_OF_RANGE);

    return GATE_PASS;
}

/* The order follows SAM: what concerns the unit as a whole comes before what concerns the CDB */
/* clang-format off */
static const Gate gates[] = {
    gate_attribute,      /* the task attribute exists here */
    gate_known,          /* the operation is in the table and this unit supports it */
    gate_unit,           /* the LUN names a logical unit, or the operation needs none */
    gate_unit_attention, /* a pending unit attention is reported first, then a deferred error */
    gate_access,         /* the target port group is in a state in which the operation runs */
    gate_reservation,    /* no other nexus has reserved the unit against it */
    gate_erase,          /* the medium is not being erased */
    gate_ready,          /* there is a medium where one is needed */
    gate_cdb,            /* no reserved or unsupported bit is set */
    gate_medium,         /* writable where needed, blocks inside the medium */
};
/* clang-format on */

static void
pass_gates(ScsiCommand *command)
{
    for (gsize i = 0; i < G_N_ELEMENTS(gates); i++) {
        if (gates[i](command) == GATE_DONE)
            return;
    }

    command->op->exec(command);
}

/*
 * For the transport
 */

static guint64
data_out_length(const ScsiCommand *command)
{
    const Lu *lu = command->nexus_lun->lu;
    guint64 one_block = lu_block_size(lu);

    switch (command->op->out) {
    case OPERATION_OUT_NONE:
        return 0;
    case OPERATION_OUT_BYTES:
        return operation_get_length(command->op, command->cdb);
    case OPERATION_OUT_BLOCKS:
        return command->n_blocks << lu->block_shift;
    case OPERATION_OUT_DOUBLE:
        return command->n_blocks << lu->block_shift << 1;
    case OPERATION_OUT_FORMAT:
        return command->cdb[1] & 0x10 ? MIN(command->expected_out, SBC_MAX_FORMAT_LIST) : 0;
    case OPERATION_OUT_PATTERN:
        return command->op->cdb_length == 16 && (command->cdb[1] & 0x01) ? 0 : one_block;
    case OPERATION_OUT_VERIFY:
        switch (command->cdb[1] >> 1 & 0x03) {
        case 1:
            return command->n_blocks << lu->block_shift;
        case 3:
            return command->n_blocks > 0 ? one_block : 0;
        default:
            return 0;
        }
    }
    g_assert_not_reached();
}

static void
reset_outcome(ScsiCommand *command)
{
    command->data = NULL;
    command->data_size = 0;
    command->data_offset = 0;
    command->data_length = 0;
    command->data_out_length = 0;
    command->status = SCSI_GOOD;
    command->aborted = FALSE;
    command->aborted_by_other = FALSE;
    command->is_others_doing = FALSE;
    command->is_given_up = FALSE;
    command->sense_length = 0;
    command->transfer_length = 0;
    command->lba = 0;
    command->n_blocks = 0;
    command->total_bytes = 0;
    command->done_bytes = 0;
    command->step = 0;
    command->abort_sequence = 0;
    command->is_at_home = FALSE;
    command->is_at_control = FALSE;
    command->on_abort = NULL;
    command->buffer = NULL;
    command->scratch = NULL;
    list_init(&command->wait_link);
    pool_waiter_init(&command->waiter, on_buffer);
}

/* Into the task set of its logical unit */
static void
enter(ScsiCommand *command)
{
    Nexus *nexus = command->nexus;
    NexusLun *nexus_lun = NULL;
    guint16 lun;

    reset_outcome(command);
    command->state = SCSI_STATE_BEGUN;
    command->started_at = worker_now(nexus->worker);

    command->lun_kind = (guint8)lun_decode(command->lun, &lun);
    if (command->lun_kind == LUN_UNIT)
        nexus_lun = nexus_find_lun(nexus, lun);
    command->nexus_lun = nexus_lun;
    nexus->n_commands++;

    if (nexus_lun == NULL) {
        list_append(&nexus->tasks, &command->link);
        return;
    }

    list_append(&nexus_lun->tasks, &command->link);
    nexus_lun->n_special += is_special(command);
}

void
scsi_command_begin(ScsiCommand *command)
{
    command->op =
        optable_find(command->nexus->scsi->op_index, command->cdb, &command->known_opcode);
    enter(command);

    if (command->nexus_lun != NULL && command->op != NULL &&
        ((command->op->flags & OP_MEDIUM) || command->op->out == OPERATION_OUT_BYTES)) {
        command->lba = operation_get_lba(command->op, command->cdb);
        if (command->op->lba.size > 0)
            command->n_blocks = operation_get_length(command->op, command->cdb);
        command->data_out_length = data_out_length(command);
    }
}

void
scsi_command_begin_inner(ScsiCommand *command, const Operation *op, guint64 lba, guint64 n_blocks)
{
    g_assert(command->is_inner);

    command->op = op;
    command->known_opcode = TRUE;
    enter(command);
    command->lba = lba;
    command->n_blocks = n_blocks;
}

gboolean
scsi_command_reserve(ScsiCommand *command)
{
    guint64 wanted = MIN(command->data_out_length, command->expected_out);
    gsize length = MIN(wanted, POOL_BUFFER_MAX);
    gsize size = length;
    void *buffer;

    g_assert(command->state == SCSI_STATE_BEGUN);

    if (length == 0)
        return TRUE;

    if (command->op->out == OPERATION_OUT_PATTERN)
        size = MAX(length, sbc_pattern_size(command));

    buffer = pool_take(command->nexus->worker->pool, size);
    if (buffer == NULL)
        return FALSE;

    set_buffer(command, buffer, size);
    command->data_length = (guint32)length;
    return TRUE;
}

void
scsi_command_refuse(ScsiCommand *command, ScsiStatus status)
{
    g_assert(command->state == SCSI_STATE_BEGUN);

    scsi_command_finish(command, status);
}

void
scsi_command_fail_transport(ScsiCommand *command, SenseCode code)
{
    g_assert(command->state == SCSI_STATE_BEGUN || command->state == SCSI_STATE_BLOCKED ||
             command->state == SCSI_STATE_DATA_OUT);

    scsi_command_fail(command, code);
}

void
scsi_command_run(ScsiCommand *command)
{
    g_assert(command->state == SCSI_STATE_BEGUN);

    if (command->nexus_lun != NULL && must_wait(command)) {
        command->state = SCSI_STATE_BLOCKED;
        command->resume = pass_gates;
        list_append(&command->nexus_lun->waiting, &command->wait_link);
        return;
    }

    pass_gates(command);
}

void
scsi_command_run_inner(ScsiCommand *command)
{
    g_assert(command->state == SCSI_STATE_BEGUN && command->nexus_lun != NULL);

    scsi_command_yield(command, pass_gates);
}

void
scsi_command_end(ScsiCommand *command)
{
    Nexus *nexus = command->nexus;

    g_assert(command->state == SCSI_STATE_DONE);

    give_buffers(command);
    command->state = SCSI_STATE_NEW;
    nexus->n_commands--;
    if (G_UNLIKELY(nexus->awaits_commands) && nexus->n_commands == 0)
        deferred_run(&nexus->commands_ended, &nexus->worker->loop);
}

void
scsi_command_abort(ScsiCommand *command)
{
    NexusLun *nexus_lun = command->nexus_lun;
    LuShard *shard;

    g_assert(command->state != SCSI_STATE_NEW);

    if (command->state == SCSI_STATE_DONE || command->aborted)
        return;

    command->aborted = TRUE;
    if (nexus_lun != NULL)
        nexus_lun->shard->statistics.n_aborts++;

    if (command->state != SCSI_STATE_IO) {
        command->transfer_length = command->done_bytes;
        scsi_command_finish(command, SCSI_TASK_ABORTED);
        return;
    }

    shard = nexus_lun->shard;
    command->abort_sequence = ++shard->scsi->abort_sequence;
    shard->n_conflicts++;
    if (shard->n_aborting++ == 0)
        scsi_worker_shard_aborting(shard->scsi, shard);
    if (command->on_abort != NULL)
        deferred_run(command->on_abort, &shard->worker->loop);
}

void
scsi_command_tell_cleared(ScsiCommand *command)
{
    NexusLun *nexus_lun = command->nexus_lun;
    guint16 lun;

    /* It has ended by itself, and that was not told */
    if (nexus_lun == NULL && lun_decode(command->lun, &lun) == LUN_UNIT)
        nexus_lun = nexus_find_lun(command->nexus, lun);
    if (nexus_lun != NULL)
        nexus_lun_raise(nexus_lun, SENSE_CLEARED_BY_PROTOCOL);
}

void
scsi_command_abort_by_other(ScsiCommand *command)
{
    if (!command->aborted && command->nexus_lun != NULL) {
        command->is_others_doing = TRUE;
        command->aborted_by_other = lu_state_has(&command->nexus_lun->shard->state, MODE_TAS);
    }
    scsi_command_abort(command);
}

void
scsi_command_abort_by_reset(ScsiCommand *command)
{
    if (!command->aborted)
        command->aborted_by_other = !command->is_given_up;
    scsi_command_abort(command);
}
