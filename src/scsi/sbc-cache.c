/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What ends in a flush
 *
 * GOOD means that all writes acknowledged before are on stable storage. The
 * range of SYNCHRONIZE CACHE is checked and then widened to the whole unit, and
 * IMMED is answered after the flush too: whoever flushes wants to know whether
 * it has failed, and a deferred error would tell him too late.
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
