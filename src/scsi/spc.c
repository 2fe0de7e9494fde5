/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "scsi/spc.h"

#include <string.h>

#include "scsi/handlers.h"
#include "scsi/operation.h"

void
spc_receive_list(ScsiCommand *command, guint32 min, guint32 max, void (*self)(ScsiCommand *),
                 void (*on_list)(ScsiCommand *))
{
    guint64 length = MIN(command->data_out_length, command->expected_out);

    if (command->data_out_length == 0) {
        scsi_command_finish(command, SCSI_GOOD);
        return;
    }
    if (length < min || command->data_out_length > max) {
        scsi_command_fail(command, SENSE_PARAMETER_LIST_LENGTH);
        return;
    }

    if (scsi_command_take_buffer(command, length, self))
        scsi_command_receive(command, (guint32)length, on_list);
}

void
spc_finish_list(ScsiCommand *command)
{
    command->done_bytes = command->data_length;
    command->transfer_length = command->data_out_length;
    scsi_command_finish(command, SCSI_GOOD);
}

void
spc_test_unit_ready(ScsiCommand *command)
{
    scsi_command_finish(command, SCSI_GOOD);
}

static SenseCode
state_sense(const LuShard *shard)
{
    const LuState *state = &shard->state;

    if (state->is_ejected)
        return lu_ejected_sense(shard->lu);
    if (shard->lu->not_ready != SENSE_NONE)
        return shard->lu->not_ready;
    switch ((PowerCondition)state->power_condition) {
    case POWER_ACTIVE:
        break;
    case POWER_IDLE:
        return SENSE_IDLE_BY_COMMAND;
    case POWER_STANDBY:
        return SENSE_STANDBY_BY_COMMAND;
    case POWER_STOPPED:
        return SENSE_NOT_READY_INITIALIZING;
    }
    return SENSE_NONE;
}

/* What REQUEST SENSE has to tell; a unit attention or a deferred error told here is not told again */
static Sense
pending_sense(ScsiCommand *command)
{
    NexusLun *nexus_lun = command->nexus_lun;
    Sense sense = { 0 };

    if (nexus_lun == NULL) {
        if (command->lun_kind != LUN_REPORT_LUNS)
            sense.code = SENSE_LU_NOT_SUPPORTED;
        return sense;
    }

    if (nexus_lun_take(nexus_lun, &sense.code))
        return sense;
    if (nexus_lun->deferred != SENSE_NONE) {
        sense.code = nexus_lun->deferred;
        sense.is_deferred = TRUE;
        nexus_lun->deferred = SENSE_NONE;
        return sense;
    }

    sense.code = state_sense(nexus_lun->shard);
    return sense;
}

void
spc_request_sense(ScsiCommand *command)
{
    gboolean descriptor = (command->cdb[1] & 0x01) != 0;
    Sense sense;

    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, spc_request_sense))
        return;

    sense = pending_sense(command);
    if (sense.code == SENSE_NONE && command->nexus_lun != NULL)
        (void)lu_erase_get_sense(command->nexus_lun->shard, &sense);
    scsi_command_reply(command, sense_encode(&sense, descriptor, command->data), command->cdb[4]);
}
