/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What ends in a flush
 *
 * GOOD means that all writes acknowledged before are on stable storage. The
 * range of SYNCHRONIZE CACHE is checked and then widened to the whole unit, and
 * IMMED is answered after the flush too: an earlier answer would promise what
 * may still fail, and no later command could tell.
 */

#include "scsi/handlers.h"
#include "scsi/operation.h"

static void
on_flushed(ScsiCommand *command)
{
    if (command->io.result < 0)
        scsi_command_fail_io(command, command->io.result, TRUE, command->lba);
    else
        scsi_command_finish(command, SCSI_GOOD);
}

void
sbc_synchronize_cache(ScsiCommand *command)
{
    scsi_command_io(command, IO_FLUSH, (IoFlags)0, 0, 0, NULL, on_flushed);
}

/* There is nothing to spin up or down, and other nexuses may be using the unit: a stop makes sure
 * of the data, as it would on a disk, and the unit stays ready. */
void
sbc_start_stop_unit(ScsiCommand *command)
{
    gboolean start = (command->cdb[4] & 0x01) != 0;
    gboolean no_flush = (command->cdb[4] & 0x04) != 0;

    if (start || no_flush || scsi_command_lu(command)->info->read_only)
        scsi_command_finish(command, SCSI_GOOD);
    else
        scsi_command_io(command, IO_FLUSH, (IoFlags)0, 0, 0, NULL, on_flushed);
}
