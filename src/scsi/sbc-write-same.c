/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * WRITE SAME
 *
 * One block is received and written over and over. A block of zeros, or none
 * (NDOB), becomes a request to zero the range, which most stores do without
 * moving data; with UNMAP they may deallocate it, since it reads as zeros all
 * the same. Any other block fills a buffer once, which is then written as often
 * as needed. What does not begin or end at a physical block is always written,
 * so that the backstore sees whole ones in requests to zero.
 *
 * "step" counts the bytes done, "scratch" is not used: the pattern lies at the
 * start of the buffer and is repeated behind itself.
 */

#include <string.h>

#include "scsi/handlers.h"
#include "scsi/operation.h"
#include "scsi/sbc.h"
#include "util/bytes.h"

#define UNMAP_BIT 0x08
#define NDOB_BIT  0x01

static gboolean
has_no_data(const ScsiCommand *command)
{
    return command->op->cdb_length == 16 && (command->cdb[1] & NDOB_BIT);
}

static gboolean
is_zero(const guint8 *block, gsize size)
{
    return block[0] == 0 && memcmp(block, block + 1, size - 1) == 0;
}

static guint64
total_bytes(const ScsiCommand *command)
{
    return command->n_blocks << scsi_command_lu(command)->block_shift;
}

static void write_next(ScsiCommand *command);

static void
on_written(ScsiCommand *command)
{
    if (command->io.result < 0) {
        guint shift = scsi_command_lu(command)->block_shift;

        scsi_command_fail_io(command, command->io.result, TRUE,
                             command->lba + (command->step >> shift));
        return;
    }

    command->step += scsi_command_io_length(command);
    scsi_command_yield(command, write_next);
}

static void
write_next(ScsiCommand *command)
{
    const Lu *lu = scsi_command_lu(command);
    guint64 align = lu->info->offset_align;
    guint64 offset = (command->lba << lu->block_shift) + command->step;
    guint64 left = total_bytes(command) - command->step;
    guint64 size = MIN(left, sbc_pattern_size(command));

    if (left == 0) {
        command->transfer_length = command->data_out_length;
        scsi_command_finish(command, SCSI_GOOD);
        return;
    }

    if (is_zero(command->data, lu_block_size(lu))) {
        gboolean may_unmap = lu->can_unmap && (command->cdb[1] & UNMAP_BIT);

        if ((offset & (align - 1)) == 0 && left >= align) {
            scsi_command_io(command, IO_ZERO, may_unmap ? IO_MAY_UNMAP : (IoFlags)0, offset,
                            round_down(left, align), NULL, on_written);
            return;
        }
        size = MIN(left, round_up(offset + 1, align) - offset);
    }

    scsi_command_io(command, IO_WRITE, (IoFlags)0, offset, size, command->data, on_written);
}

/* Double what is there until the buffer is full */
static void
repeat_pattern(guint8 *data, gsize have, gsize size)
{
    while (have < size) {
        gsize n = MIN(have, size - have);

        memcpy(data + have, data, n);
        have += n;
    }
}

static void
start_writing(ScsiCommand *command)
{
    repeat_pattern(command->data, lu_block_size(scsi_command_lu(command)),
                   sbc_pattern_size(command));
    write_next(command);
}

static void
on_data(ScsiCommand *command)
{
    command->done_bytes = command->data_length;
    start_writing(command);
}

static void
fetch_pattern(ScsiCommand *command)
{
    guint32 block_size = lu_block_size(scsi_command_lu(command));

    if (!scsi_command_take_buffer(command, sbc_pattern_size(command), fetch_pattern))
        return;

    if (!has_no_data(command)) {
        scsi_command_receive(command, block_size, on_data);
        return;
    }

    memset(command->data, 0, block_size);
    start_writing(command);
}

void
sbc_write_same(ScsiCommand *command)
{
    const Lu *lu = scsi_command_lu(command);

    if ((command->cdb[1] & UNMAP_BIT) && !lu->can_unmap) {
        scsi_command_fail_field(command, 1, 3);
        return;
    }

    /* WSNZ: no length does not mean the rest of the medium */
    if (command->n_blocks == 0 || command->n_blocks > sbc_max_write_same_blocks(lu)) {
        scsi_command_fail_field(command, command->op->length.offset, 7);
        return;
    }

    /* Neither half a block nor more than one can be meant */
    if (!has_no_data(command) && command->expected_out != lu_block_size(lu)) {
        scsi_command_fail_field(command, command->op->length.offset, 7);
        return;
    }

    fetch_pattern(command);
}
