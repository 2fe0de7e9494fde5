/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "scsi/command.h"
#include "scsi/lu-shard.h"
#include "scsi/optable.h"

/*
 * What an operation may do with its command
 *
 * An operation ends its command exactly once, with one of the first group, and
 * does not touch it afterwards: the transport may have used it again. What can
 * wait takes the function to go on with; it is called when the wait is over,
 * never from inside, except by scsi_command_io(), scsi_command_send() and
 * scsi_command_receive(), which may call it before they return. An abort means
 * that it is never called.
 */

void scsi_command_finish(ScsiCommand *command, ScsiStatus status);
void scsi_command_fail(ScsiCommand *command, SenseCode code);
void scsi_command_fail_sense(ScsiCommand *command, const Sense *sense);
void scsi_command_fail_information(ScsiCommand *command, SenseCode code, guint64 information);
void scsi_command_fail_field(ScsiCommand *command, guint byte, gint bit); /* of the CDB */
void scsi_command_fail_parameter(ScsiCommand *command, guint byte,
                                 gint bit); /* of the parameter list */

/* End with what -errno @result means; @lba goes into INFORMATION */
void scsi_command_fail_io(ScsiCommand *command, gint64 result, gboolean write, guint64 lba);

/* End with GOOD and the first min(@length, @allocation_length) bytes of the buffer */
void scsi_command_reply(ScsiCommand *command, guint64 length, guint64 allocation_length);

/**
 * scsi_command_take_buffer() - a buffer of at least @size bytes
 *
 * Returns: TRUE, and command->data is it, or FALSE: @resume is called when it has come
 */
gboolean scsi_command_take_buffer(ScsiCommand *command, gsize size, void (*resume)(ScsiCommand *));

/* Give the buffer back before the end, when all data that it was for has been received */
void scsi_command_drop_buffer(ScsiCommand *command);

/* The same, all bytes zero */
gboolean scsi_command_take_zeroed(ScsiCommand *command, gsize size, void (*resume)(ScsiCommand *));

/* A second buffer: never waits, for a waiter that holds one already could wait for ever */
gboolean scsi_command_take_scratch(ScsiCommand *command, gsize size);

/* Have @length bytes at command->done_bytes of the data filled into the buffer */
void scsi_command_receive(ScsiCommand *command, guint32 length, void (*resume)(ScsiCommand *));

/* Send @length bytes at command->done_bytes; not for the last segment */
void scsi_command_send(ScsiCommand *command, guint32 length, void (*resume)(ScsiCommand *));

/* One request to the backstore; then look at command->io.result */
void scsi_command_io(ScsiCommand *command, IoKind kind, IoFlags flags, guint64 offset,
                     guint64 length, void *buffer, void (*resume)(ScsiCommand *));

/**
 * scsi_command_copy() - one request that reads a range of @source's unit and writes one of @destination's
 *
 * Both are inner commands of one worker that have passed the gates. They are in flight together;
 * @resume is called for each, with the result in its own io. What keeps out either keeps out both.
 * When one is ended before, the other is left alone: it waits for nothing and can be aborted.
 */
void scsi_command_copy(ScsiCommand *source, guint64 source_offset, ScsiCommand *destination,
                       guint64 destination_offset, guint64 length, void (*resume)(ScsiCommand *));

/**
 * scsi_command_atomic() - have the home worker change a range as one action
 * @compare: @length bytes, for RANGE_COMPARE_AND_WRITE
 * @buffer: @length bytes to write, or to merge by OR
 *
 * No other write, and but for RANGE_OR no read, of any session on any worker comes in between.
 * Then look at command->io.result: besides -errno it may be RANGE_MISCOMPARE, nothing was written,
 * and command->step is the offset of the first byte that differs.
 */
void scsi_command_atomic(ScsiCommand *command, RangeOp op, IoFlags flags, guint64 offset,
                         guint64 length, const guint8 *compare, guint8 *buffer,
                         void (*resume)(ScsiCommand *));

/**
 * scsi_command_ask_home() - send the command to the home worker of its logical unit
 *
 * It is the home's until scsi_command_answer(); then @resume sees command->io.result. For requests
 * whose answer does not wait for anything but I/O: an abort waits for it.
 */
void scsi_command_ask_home(ScsiCommand *command, MessageFn deliver, void (*resume)(ScsiCommand *));
void scsi_command_answer(ScsiCommand *command, gint64 result); /* on the home worker */

static inline ScsiCommand *
scsi_command_of_message(Message *message)
{
    return list_entry(message, ScsiCommand, message);
}

/* For scsi/lu-change.c: the command is on an errand to the home worker, an abort has to wait; and is
 * back */
void scsi_command_errand_started(ScsiCommand *command);
void scsi_command_errand_ended(ScsiCommand *command, void (*resume)(ScsiCommand *));

/* Go on in a later round of the loop, for long operations on stores that answer at once */
void scsi_command_yield(ScsiCommand *command, void (*resume)(ScsiCommand *));

/* Begin an inner command of an operation that is in no table; its CDB says nothing */
void scsi_command_begin_inner(ScsiCommand *command, const Operation *op, guint64 lba,
                              guint64 n_blocks);

/* A begun command that is not the initiator's, in a later round: past the gate of unit attentions and
 * task ordering */
void scsi_command_run_inner(ScsiCommand *command);

static inline Lu *
scsi_command_lu(const ScsiCommand *command)
{
    return command->nexus_lun->lu;
}

/* What a unit must have for the operation to exist on it */
static inline gboolean
operation_is_supported(const Operation *operation, const Lu *lu)
{
    return operation->devices & 1U << lu->device &&
           (!(operation->flags & OP_NEEDS_UNMAP) || lu->can_unmap) &&
           (!(operation->flags & OP_REMOVABLE) || lu->is_removable);
}

/* Bytes of the request that has just ended */
static inline guint64
scsi_command_io_length(const ScsiCommand *command)
{
    return command->io_end - command->io_offset;
}
