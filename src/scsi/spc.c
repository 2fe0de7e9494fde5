/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include <string.h>

#include "scsi/handlers.h"
#include "scsi/operation.h"

void
spc_test_unit_ready(ScsiCommand *command)
{
    scsi_command_finish(command, SCSI_GOOD);
}

/* What REQUEST SENSE has to tell; a unit attention told here is not told again */
static SenseCode
pending_sense(ScsiCommand *command)
{
    SenseCode code = SENSE_NONE;

    if (command->nexus_lun != NULL)
        (void)unit_attention_take(&command->nexus_lun->attentions, &code);
    else if (command->lun_kind != LUN_REPORT_LUNS)
        code = SENSE_LU_NOT_SUPPORTED;

    return code;
}

void
spc_request_sense(ScsiCommand *command)
{
    gboolean descriptor = (command->cdb[1] & 0x01) != 0;
    Sense sense = { 0 };

    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, spc_request_sense))
        return;

    sense.code = pending_sense(command);
    scsi_command_reply(command, sense_encode(&sense, descriptor, command->data), command->cdb[4]);
}
