/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Which block it was
 *
 * A store says that a read failed, not where. Initiators want to know: what
 * lies before the bad block is good, and only that one has to be written anew.
 * So the read is repeated by halves: if the left one fails the bad block is
 * there, else it is in the right one. That takes at most eleven reads of a
 * 1 MiB segment, on a path where a disk has just spent seconds on its own
 * retries, and each of them can be aborted as the first one.
 *
 * At the end the one block that is left is read once more. If it can be read
 * the error has gone away meanwhile; the first block of the read is reported
 * then, as it is for other errors and for writes: those are not repeated,
 * since a second try could hide that the first one was lost.
 */

#include <errno.h>

#include "scsi/operation.h"
#include "scsi/sbc.h"
#include "scsi/sense.h"

static gboolean
is_medium_error(gint64 result)
{
    return result < 0 && sense_from_errno((int)-result, FALSE) == SENSE_READ_ERROR;
}

static void
fail_at(ScsiCommand *command, gint64 result, guint64 offset)
{
    scsi_command_fail_io(command, result, FALSE, offset >> scsi_command_lu(command)->block_shift);
}

static void narrow_next(ScsiCommand *command);

static void
on_part_read(ScsiCommand *command)
{
    guint64 length = scsi_command_io_length(command);
    gint64 result = command->io.result;

    if (result < 0 && !is_medium_error(result)) {
        fail_at(command, result, command->narrow.low);
    } else if (command->narrow.high - command->narrow.low == length) {
        fail_at(command, -EIO, result < 0 ? command->narrow.low : command->narrow.first);
    } else {
        if (result < 0)
            command->narrow.high = command->narrow.low + length;
        else
            command->narrow.low += length;
        scsi_command_yield(command, narrow_next);
    }
}

static void
narrow_next(ScsiCommand *command)
{
    guint32 block = lu_block_size(scsi_command_lu(command));
    guint64 left = command->narrow.high - command->narrow.low;
    guint64 half = left > block ? left / 2 / block * block : left;

    scsi_command_io(command, IO_READ, (IoFlags)0, command->narrow.low, half, command->io.buffer,
                    on_part_read);
}

void
sbc_fail_read(ScsiCommand *command)
{
    guint64 offset = command->io.offset;
    guint64 length = scsi_command_io_length(command);

    if (!is_medium_error(command->io.result) || length <= lu_block_size(scsi_command_lu(command))) {
        fail_at(command, command->io.result, offset);
        return;
    }

    command->narrow.first = offset;
    command->narrow.low = offset;
    command->narrow.high = offset + length;
    scsi_command_yield(command, narrow_next);
}
