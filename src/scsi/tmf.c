/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Task management
 *
 * What concerns commands of this nexus is done here, on its worker: abort,
 * then wait until those whose I/O was in flight have ended. What concerns
 * others goes to the home worker of each logical unit as a LuReset. What concerns
 * all units of the map takes them one after the other.
 */

#include "scsi/tmf.h"

#include "scsi/lu-shard.h"

static void
finish(ScsiTmf *tmf, TmfResponse response)
{
    tmf->response = response;
    tmf->done(tmf);
}

static void abort_next(ScsiTmf *tmf);

static void
on_wait_ended(ScsiAbortWait *wait)
{
    ScsiTmf *tmf = list_entry(wait, ScsiTmf, wait);

    if (tmf->function == TMF_I_T_NEXUS_RESET)
        abort_next(tmf);
    else
        finish(tmf, TMF_COMPLETE);
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
    /* Another nexus may have ended it; its own does not want to hear of that any more */
    command->aborted_by_other = FALSE;
    scsi_command_abort(command);
    scsi_abort_wait_start(scsi, &tmf->wait, command, n_waiting);
}

/* A command that was aborted is no task any more, even if its I/O has not ended */
static void
query_task(ScsiTmf *tmf)
{
    const ScsiCommand *command = tmf->command;
    gboolean is_there = command != NULL && command->state != SCSI_STATE_NEW &&
                        command->state != SCSI_STATE_DONE && !command->aborted;

    finish(tmf, is_there ? TMF_SUCCEEDED : TMF_COMPLETE);
}

/* SAM: number of conditions (one, or more), and sense key and codes of the first to be reported */
static void
query_async_event(ScsiTmf *tmf, const NexusLun *nexus_lun)
{
    const UnitAttentions *attentions = &nexus_lun->attentions;
    const SenseInfo *info;

    if (attentions->n == 0) {
        finish(tmf, TMF_COMPLETE);
        return;
    }

    info = sense_info((SenseCode)attentions->codes[0]);
    tmf->information = (attentions->n == 1 ? 0x100000u : 0x200000u) | (guint32)info->key << 16 |
                       (guint32)info->asc << 8 | info->ascq;
    finish(tmf, TMF_SUCCEEDED);
}

static ScsiCommand *
find_concerned(const NexusLun *nexus_lun)
{
    list_foreach(link, &nexus_lun->tasks) {
        ScsiCommand *command = list_entry(link, ScsiCommand, link);

        if (!command->aborted && !command->is_spared && command->state != SCSI_STATE_DONE)
            return command;
    }

    return NULL;
}

/* Returns: how many aborted commands have not ended yet */
static guint
abort_all_of(const NexusLun *nexus_lun)
{
    ScsiCommand *command;
    guint n_waiting = 0;

    /* From the start each time: the end of one may end others */
    while ((command = find_concerned(nexus_lun)) != NULL)
        scsi_command_abort(command);

    list_foreach(link, &nexus_lun->tasks) {
        command = list_entry(link, ScsiCommand, link);
        n_waiting += command->aborted && command->state == SCSI_STATE_IO;
    }
    return n_waiting;
}

static void
abort_task_set(ScsiTmf *tmf, const NexusLun *nexus_lun)
{
    guint n_waiting = abort_all_of(nexus_lun);

    scsi_abort_wait_start(tmf->nexus->scsi, &tmf->wait, nexus_lun, n_waiting);
}

/* I_T NEXUS RESET: all are aborted before the first is waited for */
static void
abort_next(ScsiTmf *tmf)
{
    const LunMap *map = tmf->nexus->map;

    for (guint i = 0; i < map->n_entries; i++) {
        NexusLun *nexus_lun = tmf->nexus->luns[i];
        guint n_waiting;

        if (map->entries[i].lun < tmf->next_lun)
            continue;
        n_waiting = abort_all_of(nexus_lun);
        if (n_waiting == 0)
            continue;
        tmf->next_lun = (guint32)map->entries[i].lun + 1;
        scsi_abort_wait_start(tmf->nexus->scsi, &tmf->wait, nexus_lun, n_waiting);
        return;
    }

    finish(tmf, TMF_COMPLETE);
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

/*
 * What the nexus had sent before is what its reset concerns. A command that was sent after it, or
 * that comes before the home worker has passed the reset on, is ended too, but its initiator has to
 * hear of that.
 */
static void
give_up_tasks(const NexusLun *nexus_lun)
{
    list_foreach(link, &nexus_lun->tasks) {
        ScsiCommand *command = list_entry(link, ScsiCommand, link);

        command->is_given_up |= !command->is_spared;
    }
}

static void
reset_unit(ScsiTmf *tmf, Lu *lu, SenseCode attention)
{
    lu_shard(lu, tmf->nexus->worker)->n_requests++;
    tmf->reset = (LuReset){
        .lu = lu,
        .attention = attention,
        .nexus = tmf->nexus,
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
    tmf->information = 0;

    if (tmf->function == TMF_TARGET_WARM_RESET || tmf->function == TMF_TARGET_COLD_RESET) {
        for (guint i = 0; i < tmf->nexus->map->n_entries; i++)
            give_up_tasks(tmf->nexus->luns[i]);
        reset_next(tmf);
        return;
    }
    if (tmf->function == TMF_I_T_NEXUS_RESET) {
        nexus_abort_all(tmf->nexus);
        abort_next(tmf);
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
        give_up_tasks(nexus_lun);
        reset_unit(tmf, nexus_lun->lu, SENSE_LU_RESET);
        return;
    case TMF_CLEAR_ACA:
        finish(tmf, TMF_NOT_SUPPORTED);
        return;
    case TMF_QUERY_TASK:
        query_task(tmf);
        return;
    case TMF_QUERY_TASK_SET:
        finish(tmf, nexus_lun_find_live(nexus_lun) != NULL ? TMF_SUCCEEDED : TMF_COMPLETE);
        return;
    case TMF_QUERY_ASYNC_EVENT:
        query_async_event(tmf, nexus_lun);
        return;
    case TMF_TARGET_WARM_RESET:
    case TMF_TARGET_COLD_RESET:
    case TMF_I_T_NEXUS_RESET:
        break;
    }
    g_assert_not_reached();
}
