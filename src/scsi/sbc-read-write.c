/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * READ and WRITE of all lengths
 *
 * A command runs in segments of at most one pool buffer, one after the other
 * in the same buffer, so that none holds more than that however long it is.
 * Only what both sides want is moved: blocks that the initiator has no room
 * for are not read, blocks that it does not send are not written. The
 * transport makes a residual of the difference to transfer_length.
 */

#include "scsi/handlers.h"
#include "scsi/operation.h"
#include "scsi/sbc.h"

#include "util/bytes.h"

#define FUA_BIT 0x08

static guint32
next_segment(const ScsiCommand *command)
{
    return (guint32)MIN(command->total_bytes - command->done_bytes, POOL_BUFFER_MAX);
}

static guint64
segment_offset(const ScsiCommand *command)
{
    return (command->lba << scsi_command_lu(command)->block_shift) + command->done_bytes;
}

static guint64
segment_lba(const ScsiCommand *command)
{
    return segment_offset(command) >> scsi_command_lu(command)->block_shift;
}

static guint64
cdb_bytes(const ScsiCommand *command)
{
    return command->n_blocks << scsi_command_lu(command)->block_shift;
}

/*
 * READ
 */

static void read_next(ScsiCommand *command);

static void
on_read_sent(ScsiCommand *command)
{
    command->done_bytes += command->data_length;
    read_next(command);
}

static void
on_read(ScsiCommand *command)
{
    guint32 segment = next_segment(command);

    if (G_UNLIKELY(command->io.result < 0)) {
        sbc_fail_read(command);
        return;
    }

    if (command->done_bytes + segment < command->total_bytes) {
        scsi_command_send(command, segment, on_read_sent);
        return;
    }

    command->transfer_length = cdb_bytes(command);
    command->data_offset = command->done_bytes;
    command->data_length = segment;
    command->done_bytes += segment;
    scsi_command_finish(command, SCSI_GOOD);
}

static void
read_next(ScsiCommand *command)
{
    /* The initiator may want less than whole blocks, the backstore never */
    guint64 size = round_up(next_segment(command), lu_block_size(scsi_command_lu(command)));

    if (scsi_command_take_buffer(command, size, read_next))
        scsi_command_io(command, IO_READ, (IoFlags)0, segment_offset(command), size, command->data,
                        on_read);
}

void
sbc_read(ScsiCommand *command)
{
    command->total_bytes = MIN(cdb_bytes(command), command->expected_in);
    if (command->total_bytes > 0) {
        read_next(command);
        return;
    }

    command->transfer_length = cdb_bytes(command);
    scsi_command_finish(command, SCSI_GOOD);
}

/*
 * WRITE
 */

static gboolean
has_fua(const ScsiCommand *command)
{
    return command->op->cdb_length > 6 && (command->cdb[1] & FUA_BIT);
}

static void write_next(ScsiCommand *command);

static void
on_written(ScsiCommand *command)
{
    if (G_UNLIKELY(command->io.result < 0)) {
        scsi_command_fail_io(command, command->io.result, TRUE, segment_lba(command));
        return;
    }

    command->done_bytes += command->data_length;
    write_next(command);
}

static void
on_write_data(ScsiCommand *command)
{
    scsi_command_io(command, IO_WRITE, has_fua(command) ? IO_FUA : (IoFlags)0,
                    segment_offset(command), command->data_length, command->data, on_written);
}

static void
write_next(ScsiCommand *command)
{
    guint32 segment = next_segment(command);

    if (segment == 0) {
        command->transfer_length = cdb_bytes(command);
        scsi_command_finish(command, SCSI_GOOD);
        return;
    }

    if (scsi_command_take_buffer(command, segment, write_next))
        scsi_command_receive(command, segment, on_write_data);
}

void
sbc_write(ScsiCommand *command)
{
    command->total_bytes = round_down(MIN(command->data_out_length, command->expected_out),
                                      lu_block_size(scsi_command_lu(command)));
    write_next(command);
}
