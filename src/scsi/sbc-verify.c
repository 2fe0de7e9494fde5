/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * VERIFY and WRITE AND VERIFY
 *
 * BYTCHK=00b reads the blocks and looks for errors only; 01b compares them with
 * as many blocks of data; 11b compares each with the same one block. The medium
 * is read in windows into a second buffer, while the data stays in the first.
 * Comparing stops at the first difference, whose byte offset in the data goes
 * into INFORMATION.
 *
 * WRITE AND VERIFY writes each segment to stable storage first and then
 * compares it in the same way, also with BYTCHK=0: that finds more than
 * reading alone, at the same price.
 */

#include <string.h>

#include "scsi/handlers.h"
#include "scsi/operation.h"
#include "scsi/sbc.h"
#include "util/bytes.h"

#define WINDOW ((guint64)64 << 10)

enum {
    BYTCHK_MEDIUM = 0,
    BYTCHK_BLOCKS = 1,
    BYTCHK_ONE_BLOCK = 3,
};

static guint
bytchk(const ScsiCommand *command)
{
    return command->cdb[1] >> 1 & 0x03;
}

static guint64
start_of(const ScsiCommand *command)
{
    return command->lba << scsi_command_lu(command)->block_shift;
}

/* step: bytes of the medium that are verified */

static void
finish_good(ScsiCommand *command)
{
    command->transfer_length = command->data_out_length;
    scsi_command_finish(command, SCSI_GOOD);
}

/*
 * The medium alone
 */

static void medium_next(ScsiCommand *command);

static void
on_medium_read(ScsiCommand *command)
{
    if (command->io.result < 0) {
        sbc_fail_read(command);
        return;
    }

    command->step += scsi_command_io_length(command);
    if (command->step >= command->n_blocks << scsi_command_lu(command)->block_shift)
        finish_good(command);
    else
        scsi_command_yield(command, medium_next);
}

static void
medium_next(ScsiCommand *command)
{
    guint64 total = command->n_blocks << scsi_command_lu(command)->block_shift;
    guint64 size = MIN(total - command->step, POOL_BUFFER_MAX);

    if (scsi_command_take_buffer(command, MIN(total, POOL_BUFFER_MAX), medium_next))
        scsi_command_io(command, IO_READ, (IoFlags)0, start_of(command) + command->step, size,
                        command->data, on_medium_read);
}

/*
 * Comparing
 */

static gsize
first_difference(const guint8 *a, const guint8 *b, gsize size)
{
    gsize i = 0;

    while (i < size && a[i] == b[i])
        i++;
    return i;
}

/* Both compare the window in scratch; FALSE when they failed the command */

static gboolean
compare_blocks(ScsiCommand *command, guint64 size)
{
    const guint8 *data = command->data + (command->step - command->data_offset);
    gsize i;

    if (memcmp(data, command->scratch, size) == 0)
        return TRUE;

    i = first_difference(data, command->scratch, size);
    scsi_command_fail_information(command, SENSE_MISCOMPARE_DURING_VERIFY, command->step + i);
    return FALSE;
}

static gboolean
compare_one_block(ScsiCommand *command, guint64 size)
{
    guint32 block_size = lu_block_size(scsi_command_lu(command));

    for (guint64 at = 0; at < size; at += block_size) {
        const guint8 *block = command->scratch + at;

        if (memcmp(command->data, block, block_size) == 0)
            continue;

        scsi_command_fail_information(command, SENSE_MISCOMPARE_DURING_VERIFY,
                                      first_difference(command->data, block, block_size));
        return FALSE;
    }

    return TRUE;
}

static void receive_next(ScsiCommand *command);
static void window_next(ScsiCommand *command);

/* Bytes of the medium that the data at hand covers */
static guint64
covered_end(const ScsiCommand *command)
{
    if (bytchk(command) == BYTCHK_ONE_BLOCK)
        return command->n_blocks << scsi_command_lu(command)->block_shift;

    return command->data_offset + command->data_length;
}

static void
on_window_read(ScsiCommand *command)
{
    guint64 size = scsi_command_io_length(command);

    if (command->io.result < 0) {
        sbc_fail_read(command);
        return;
    }

    if (!(bytchk(command) == BYTCHK_ONE_BLOCK ? compare_one_block : compare_blocks)(command, size))
        return;

    command->step += size;
    if (command->step < covered_end(command))
        scsi_command_yield(command, window_next);
    else
        receive_next(command);
}

static void
window_next(ScsiCommand *command)
{
    guint64 size = MIN(covered_end(command) - command->step, WINDOW);

    if (!scsi_command_take_scratch(command, WINDOW)) {
        scsi_command_finish(command, SCSI_BUSY);
        return;
    }

    scsi_command_io(command, IO_READ, (IoFlags)0, start_of(command) + command->step, size,
                    command->scratch, on_window_read);
}

static void
on_written(ScsiCommand *command)
{
    guint shift = scsi_command_lu(command)->block_shift;

    if (command->io.result < 0)
        scsi_command_fail_io(command, command->io.result, TRUE,
                             command->lba + (command->data_offset >> shift));
    else
        window_next(command);
}

static void
on_data(ScsiCommand *command)
{
    command->done_bytes += command->data_length;
    if (command->op->flags & OP_WRITES)
        scsi_command_io(command, IO_WRITE, IO_FUA, start_of(command) + command->data_offset,
                        command->data_length, command->data, on_written);
    else
        window_next(command);
}

static void
receive_next(ScsiCommand *command)
{
    guint32 segment = (guint32)MIN(command->total_bytes - command->done_bytes, POOL_BUFFER_MAX);

    if (segment == 0) {
        finish_good(command);
        return;
    }

    if (scsi_command_take_buffer(command, segment, receive_next))
        scsi_command_receive(command, segment, on_data);
}

static void
receive_all(ScsiCommand *command)
{
    command->total_bytes = round_down(MIN(command->data_out_length, command->expected_out),
                                      lu_block_size(scsi_command_lu(command)));
    receive_next(command);
}

void
sbc_write_and_verify(ScsiCommand *command)
{
    receive_all(command);
}

void
sbc_verify(ScsiCommand *command)
{
    if (command->n_blocks == 0) {
        finish_good(command);
        return;
    }

    switch (bytchk(command)) {
    case BYTCHK_MEDIUM:
        medium_next(command);
        return;
    case BYTCHK_BLOCKS:
    case BYTCHK_ONE_BLOCK:
        /* GOOD would say that all of it was compared */
        if (command->expected_out < command->data_out_length)
            scsi_command_fail_field(command, command->op->length.offset, 7);
        else
            receive_all(command);
        return;
    default:
        scsi_command_fail_field(command, 1, 2);
        return;
    }
}
