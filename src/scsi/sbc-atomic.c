/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * COMPARE AND WRITE, WRITE ATOMIC and ORWRITE
 *
 * The data is received here; the home worker of the logical unit does the rest
 * under a range lock (scsi/range-lock.c), so that no other write, and but for
 * ORWRITE no read either, sees or makes a state in between.
 *
 * The data of COMPARE AND WRITE, first what to compare and then what to write,
 * can be longer than a buffer when blocks have 4096 bytes. What is to be
 * compared always fits the first buffer; what is to be written is then
 * collected in a second one. ORWRITE may be as long as a WRITE and runs in
 * segments, each of which is atomic.
 *
 * "Atomic" is about other commands and about errors that the store reports. A
 * power failure may leave what the medium below leaves.
 */

#include <string.h>

#include "scsi/handlers.h"
#include "scsi/operation.h"
#include "scsi/sbc.h"
#include "util/bytes.h"

#define FUA_BIT 0x08

static IoFlags
write_flags(const ScsiCommand *command)
{
    return command->cdb[1] & FUA_BIT ? IO_FUA : (IoFlags)0;
}

static guint64
cdb_bytes(const ScsiCommand *command)
{
    return command->n_blocks << scsi_command_lu(command)->block_shift;
}

static guint64
start_of(const ScsiCommand *command)
{
    return command->lba << scsi_command_lu(command)->block_shift;
}

static void
finish_good(ScsiCommand *command)
{
    command->transfer_length = command->data_out_length;
    scsi_command_finish(command, SCSI_GOOD);
}

/* Half of an atomic action is none: the initiator has to send what the CDB says */
static gboolean
check_data_length(ScsiCommand *command)
{
    if (command->expected_out == command->data_out_length)
        return TRUE;

    scsi_command_fail_field(command, command->op->length.offset, 7);
    return FALSE;
}

/* The home worker has left in the Io what it was doing last: reading or writing, and where. That may
 * begin before the first block of the command, in its physical block. */
static void
fail_io(ScsiCommand *command)
{
    guint64 offset = MAX(command->io.offset, command->io_offset);

    scsi_command_fail_io(command, command->io.result, command->io.kind != IO_READ,
                         offset >> scsi_command_lu(command)->block_shift);
}

/*
 * COMPARE AND WRITE
 */

static void
on_compared(ScsiCommand *command)
{
    if (command->io.result == RANGE_MISCOMPARE)
        scsi_command_fail_information(command, SENSE_MISCOMPARE_DURING_VERIFY, command->step);
    else if (command->io.result < 0)
        fail_io(command);
    else
        finish_good(command);
}

static void
compare_and_write(ScsiCommand *command, guint8 *to_write)
{
    scsi_command_atomic(command, RANGE_COMPARE_AND_WRITE, write_flags(command), start_of(command),
                        cdb_bytes(command), command->buffer, to_write, on_compared);
}

static void
on_second_segment(ScsiCommand *command)
{
    guint64 half = cdb_bytes(command);

    command->done_bytes += command->data_length;
    command->data = command->buffer;
    memcpy(command->scratch, command->buffer + half, command->data_offset - half);
    compare_and_write(command, command->scratch);
}

/* The rest of what is to be written goes behind the place for what has come of it already */
static void
receive_second_segment(ScsiCommand *command)
{
    guint64 half = cdb_bytes(command);
    guint64 head = command->done_bytes - half;

    if (!scsi_command_take_scratch(command, half)) {
        scsi_command_finish(command, SCSI_BUSY);
        return;
    }

    command->data = command->scratch + head;
    scsi_command_receive(command, (guint32)(half - head), on_second_segment);
}

static void
on_first_segment(ScsiCommand *command)
{
    command->done_bytes = command->data_length;
    if (command->done_bytes < command->data_out_length)
        receive_second_segment(command);
    else
        compare_and_write(command, command->buffer + cdb_bytes(command));
}

void
sbc_compare_and_write(ScsiCommand *command)
{
    guint64 segment = MIN(command->data_out_length, POOL_BUFFER_MAX);

    /* No length is above what VPD B0 tells, as the field ends there; 256 blocks look like none */
    G_STATIC_ASSERT(SBC_MAX_COMPARE_BLOCKS == 0xff);
    if (!check_data_length(command))
        return;
    if (command->n_blocks == 0) {
        finish_good(command);
        return;
    }

    if (scsi_command_take_buffer(command, segment, sbc_compare_and_write))
        scsi_command_receive(command, (guint32)segment, on_first_segment);
}

/*
 * WRITE ATOMIC
 */

static void
on_atomic_written(ScsiCommand *command)
{
    if (command->io.result < 0)
        fail_io(command);
    else
        finish_good(command);
}

static void
on_atomic_data(ScsiCommand *command)
{
    command->done_bytes = command->data_length;
    scsi_command_atomic(command, RANGE_WRITE_ATOMIC, write_flags(command), start_of(command),
                        command->data_length, NULL, command->data, on_atomic_written);
}

void
sbc_write_atomic(ScsiCommand *command)
{
    if (command->n_blocks > sbc_max_atomic_blocks(scsi_command_lu(command))) {
        scsi_command_fail_field(command, command->op->length.offset, 7);
        return;
    }
    if (command->n_blocks == 0) {
        finish_good(command);
        return;
    }

    if (check_data_length(command) &&
        scsi_command_take_buffer(command, command->data_out_length, sbc_write_atomic))
        scsi_command_receive(command, (guint32)command->data_out_length, on_atomic_data);
}

/*
 * ORWRITE
 */

static void or_next(ScsiCommand *command);

static void
on_ored(ScsiCommand *command)
{
    if (command->io.result < 0) {
        fail_io(command);
        return;
    }

    command->done_bytes += command->data_length;
    or_next(command);
}

static void
on_or_data(ScsiCommand *command)
{
    scsi_command_atomic(command, RANGE_OR, write_flags(command),
                        start_of(command) + command->data_offset, command->data_length, NULL,
                        command->data, on_ored);
}

static void
or_next(ScsiCommand *command)
{
    guint32 segment = (guint32)MIN(command->total_bytes - command->done_bytes, POOL_BUFFER_MAX);

    if (segment == 0)
        finish_good(command);
    else if (scsi_command_take_buffer(command, segment, or_next))
        scsi_command_receive(command, segment, on_or_data);
}

void
sbc_or_write(ScsiCommand *command)
{
    command->total_bytes = round_down(MIN(command->data_out_length, command->expected_out),
                                      lu_block_size(scsi_command_lu(command)));
    or_next(command);
}
