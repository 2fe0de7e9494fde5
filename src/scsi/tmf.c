/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Task management
 *
 * What concerns commands of this nexus is done here, on its worker: abort,
 * then wait until those whose I/O was in flight have ended. What concerns
 * others goes to the home worker of each logical unit as a LuReset; a target
 * reset takes the units of the map one after the other.
 */

#include "scsi/tmf.h"

#include "scsi/lu-shard.h"

static void
finish(ScsiTmf *tmf, TmfResponse response)
{
    tmf->response = response;
    tmf->done(tmf);
}

static void
on_wait_ended(ScsiAbortWait *wait)
{
    finish(list_entry(wait, ScsiTmf, wait), TMF_COMPLETE);
}

static void
abort_task(ScsiTmf *tmf)
{
    ScsiCommand *command = tmf->command;
    ScsiWorker *scsi = tmf->nexus->scsi;
    guint n_waiting;

    if (command == NULL || command->state == SCSI_STATE_NEW || command->state == SCSI_STATE_DONE) {
        finish(tmf, TMF_NO_SUCH_TASK);
        return;
    }

    n_waiting = command->state == SCSI_STATE_IO;
    scsi_command_abort(command);
    scsi_abort_wait_start(scsi, &tmf->wait, command, n_waiting);
}

static void
abort_task_set(ScsiTmf *tmf, NexusLun *nexus_lun)
{
    ScsiCommand *command;
    guint n_waiting = 0;

    while ((command = nexus_lun_find_live(nexus_lun)) != NULL)
        scsi_command_abort(command);

    list_foreach(link, &nexus_lun->tasks)
        n_waiting++;
    scsi_abort_wait_start(tmf->nexus->scsi, &tmf->wait, nexus_lun, n_waiting);
}

static void reset_next(ScsiTmf *tmf);

static void
on_reset_done(LuReset *reset)
{
    ScsiTmf *tmf = list_entry(reset, ScsiTmf, reset);
    LuShard *shard = lu_shard(reset->lu, tmf->nexus->worker);

    shard->n_requests--;
    lu_shard_check_released(shard);

    if (tmf->function == TMF_LOGICAL_UNIT_RESET)
        finish(tmf, TMF_COMPLETE);
    else
        reset_next(tmf);
}

static void
reset_unit(ScsiTmf *tmf, Lu *lu, SenseCode attention)
{
    lu_shard(lu, tmf->nexus->worker)->n_requests++;
    tmf->reset = (LuReset){
        .lu = lu,
        .attention = attention,
        .reply_to = &tmf->nexus->worker->inbox,
        .done = on_reset_done,
    };
    lu_reset_start(&tmf->reset);
}

/* The map may change between two units, so it is looked at anew by number */
static void
reset_next(ScsiTmf *tmf)
{
    const LunMap *map = tmf->nexus->map;

    for (guint i = 0; i < map->n_entries; i++) {
        if (map->entries[i].lun >= tmf->next_lun) {
            tmf->next_lun = (guint32)map->entries[i].lun + 1;
            reset_unit(tmf, map->entries[i].lu, SENSE_POWER_ON);
            return;
        }
    }

    finish(tmf, TMF_COMPLETE);
}

void
scsi_tmf_start(ScsiTmf *tmf)
{
    NexusLun *nexus_lun = NULL;
    guint16 lun;

    list_init(&tmf->wait.link);
    tmf->wait.ended = on_wait_ended;
    tmf->next_lun = 0;

    if (tmf->function == TMF_TARGET_WARM_RESET || tmf->function == TMF_TARGET_COLD_RESET) {
        reset_next(tmf);
        return;
    }

    if (lun_decode(tmf->lun, &lun) == LUN_UNIT)
        nexus_lun = nexus_find_lun(tmf->nexus, lun);
    if (nexus_lun == NULL) {
        finish(tmf, TMF_NO_SUCH_LUN);
        return;
    }

    switch (tmf->function) {
    case TMF_ABORT_TASK:
        abort_task(tmf);
        return;
    case TMF_ABORT_TASK_SET:
    case TMF_CLEAR_TASK_SET:
        abort_task_set(tmf, nexus_lun);
        return;
    case TMF_LOGICAL_UNIT_RESET:
        reset_unit(tmf, nexus_lun->lu, SENSE_LU_RESET);
        return;
    case TMF_CLEAR_ACA:
        finish(tmf, TMF_NOT_SUPPORTED);
        return;
    case TMF_TARGET_WARM_RESET:
    case TMF_TARGET_COLD_RESET:
        break;
    }
    g_assert_not_reached();
}
