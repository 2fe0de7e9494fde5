/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "scsi/handlers.h"
#include "scsi/operation.h"
#include "util/bytes.h"

#define LENGTH_10 8
#define LENGTH_16 32

void
sbc_read_capacity_10(ScsiCommand *command)
{
    const Lu *lu = scsi_command_lu(command);
    guint64 last;

    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, sbc_read_capacity_10))
        return;

    /* FFFFFFFFh sends the initiator to READ CAPACITY(16) */
    last = lu_shard_n_blocks(command->nexus_lun->shard) - 1;
    put_be32(command->data, (guint32)MIN(last, G_MAXUINT32));
    put_be32(command->data + 4, lu_block_size(lu));
    scsi_command_reply(command, LENGTH_10, LENGTH_10);
}

void
sbc_read_capacity_16(ScsiCommand *command)
{
    const Lu *lu = scsi_command_lu(command);
    guint32 ratio = lu->info->physical_block_size / lu_block_size(lu);

    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, sbc_read_capacity_16))
        return;

    put_be64(command->data, lu_shard_n_blocks(command->nexus_lun->shard) - 1);
    put_be32(command->data + 8, lu_block_size(lu));
    command->data[13] = (guint8)g_bit_nth_lsf(ratio, -1); /* physical block exponent */
    if (lu->can_unmap)
        command->data[14] = (guint8)(0x80 | (lu->info->unmap_zeroes ? 0x40 : 0)); /* LBPME, LBPRZ */
    scsi_command_reply(command, LENGTH_16, get_be32(command->cdb + 10));
}
