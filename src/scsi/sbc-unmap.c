/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * UNMAP
 *
 * The whole parameter list is judged before the first block goes: a refused
 * list has no effect. The descriptors stay in the buffer and are carried out
 * one after the other; "step" counts them, and lba and n_blocks are what is
 * left of the current one.
 */

#include "scsi/handlers.h"
#include "scsi/operation.h"
#include "scsi/sbc.h"
#include "util/bytes.h"

#define HEADER_LENGTH     8
#define DESCRIPTOR_LENGTH 16
#define LIST_LENGTH_MAX   (HEADER_LENGTH + SBC_MAX_UNMAP_DESCRIPTORS * DESCRIPTOR_LENGTH)

static const guint8 *
descriptor_at(const ScsiCommand *command, guint64 i)
{
    return command->data + HEADER_LENGTH + i * DESCRIPTOR_LENGTH;
}

static guint
n_descriptors(const ScsiCommand *command)
{
    return get_be16(command->data + 2) / DESCRIPTOR_LENGTH;
}

static void unmap_next(ScsiCommand *command);

static void
on_unmapped(ScsiCommand *command)
{
    guint64 n_blocks = scsi_command_io_length(command) >> scsi_command_lu(command)->block_shift;

    if (command->io.result < 0) {
        scsi_command_fail_io(command, command->io.result, TRUE, command->lba);
        return;
    }

    command->lba += n_blocks;
    command->n_blocks -= n_blocks;
    scsi_command_yield(command, unmap_next);
}

/* Load the next descriptor that names blocks; FALSE after the last one */
static gboolean
load_descriptor(ScsiCommand *command)
{
    while (command->n_blocks == 0) {
        const guint8 *descriptor;

        if (command->step == n_descriptors(command))
            return FALSE;

        descriptor = descriptor_at(command, command->step++);
        command->lba = get_be64(descriptor);
        command->n_blocks = get_be32(descriptor + 8);
    }

    return TRUE;
}

static void
unmap_next(ScsiCommand *command)
{
    const Lu *lu = scsi_command_lu(command);
    guint64 max = lu->info->unmap_max > 0 ? lu->info->unmap_max : G_MAXUINT64;
    guint64 size;

    if (!load_descriptor(command)) {
        command->transfer_length = command->data_out_length;
        scsi_command_finish(command, SCSI_GOOD);
        return;
    }

    size = MIN(command->n_blocks << lu->block_shift, round_down(max, lu_block_size(lu)));
    scsi_command_io(command, IO_UNMAP, (IoFlags)0, command->lba << lu->block_shift, size, NULL,
                    on_unmapped);
}

/* FALSE when it failed the command */
static gboolean
check_descriptors(ScsiCommand *command)
{
    const Lu *lu = scsi_command_lu(command);
    guint64 capacity = lu_shard_n_blocks(command->nexus_lun->shard), sum = 0;
    guint n = n_descriptors(command);

    if (n > SBC_MAX_UNMAP_DESCRIPTORS) {
        scsi_command_fail_parameter(command, 2, 7);
        return FALSE;
    }

    for (guint i = 0; i < n; i++) {
        guint64 lba = get_be64(descriptor_at(command, i));
        guint32 n_blocks = get_be32(descriptor_at(command, i) + 8);

        if (lba > capacity || n_blocks > capacity - lba) {
            scsi_command_fail(command, SENSE_LBA_OUT_OF_RANGE);
            return FALSE;
        }

        sum += n_blocks;
        if (sum > sbc_max_unmap_blocks(lu)) {
            scsi_command_fail_parameter(command, HEADER_LENGTH + i * DESCRIPTOR_LENGTH + 8, 7);
            return FALSE;
        }
    }

    return TRUE;
}

static void
on_list(ScsiCommand *command)
{
    command->done_bytes = command->data_length;

    /* Descriptors that are announced but not there would be read from old memory */
    if (command->data_length < HEADER_LENGTH ||
        get_be16(command->data + 2) > command->data_length - HEADER_LENGTH) {
        scsi_command_fail(command, SENSE_PARAMETER_LIST_LENGTH);
        return;
    }

    if (check_descriptors(command))
        unmap_next(command);
}

void
sbc_unmap(ScsiCommand *command)
{
    guint64 length = MIN(command->data_out_length, command->expected_out);

    if (command->data_out_length == 0) {
        scsi_command_finish(command, SCSI_GOOD);
        return;
    }
    if (length < HEADER_LENGTH) {
        scsi_command_fail(command, SENSE_PARAMETER_LIST_LENGTH);
        return;
    }

    /* More than the descriptors we take is received for politeness only: not at all */
    if (command->data_out_length > LIST_LENGTH_MAX) {
        scsi_command_fail_field(command, command->op->length.offset, 7);
        return;
    }

    if (scsi_command_take_buffer(command, length, sbc_unmap))
        scsi_command_receive(command, (guint32)length, on_list);
}
