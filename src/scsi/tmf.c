/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Task management
 *
 * What concerns commands of this nexus is done here, on its worker: abort,
 * then wait until those whose I/O was in flight have ended. What concerns
 * others goes to the home worker of each logical unit as a LuReset. What concerns
 * all units of the map takes them one after the other.
 *
 * A unit whose store comes or goes is replaced, and what it was doing is not over
 * with that. So each function takes the units with it that were at the LUN
 * before, as long as this nexus has commands there.
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

    if (tmf->function == TMF_ABORT_TASK)
        finish(tmf, TMF_COMPLETE);
    else
        abort_next(tmf);
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

static gboolean
is_spared(const ScsiCommand *command)
{
    return command->is_spared || (command->owner != NULL && command->owner->is_spared);
}

static ScsiCommand *
find_concerned(const NexusLun *nexus_lun)
{
    list_foreach(link, &nexus_lun->tasks) {
        ScsiCommand *command = list_entry(link, ScsiCommand, link);

        if (!command->aborted && !is_spared(command) && command->state != SCSI_STATE_DONE)
            return command;
    }

    return NULL;
}

static void
abort_all_of(const NexusLun *nexus_lun)
{
    ScsiCommand *command;

    /* From the start each time: the end of one may end others */
    while ((command = find_concerned(nexus_lun)) != NULL)
        scsi_command_abort(command);
}

/* FALSE: all that @tmf has aborted there has ended */
static gboolean
await_unit(ScsiTmf *tmf, const NexusLun *nexus_lun)
{
    gboolean is_concerned = FALSE;
    guint n_waiting = 0;

    list_foreach(link, &nexus_lun->tasks) {
        const ScsiCommand *command = list_entry(link, ScsiCommand, link);

        if (!command->aborted || command->state != SCSI_STATE_IO)
            continue;
        n_waiting++;
        is_concerned |= command->abort_sequence <= tmf->sequence;
    }
    if (is_concerned)
        scsi_abort_wait_start(tmf->nexus->scsi, &tmf->wait, nexus_lun, n_waiting);
    return is_concerned;
}

static gboolean
is_meant(const ScsiTmf *tmf, const NexusLun *nexus_lun)
{
    guint16 lun;

    return tmf->function == TMF_I_T_NEXUS_RESET ||
           (lun_decode(tmf->lun, &lun) == LUN_UNIT && lun == nexus_lun->lun);
}

/* Wait for units one after the other; also for those that are not in the map any more, or were
 * replaced there */
static void
abort_next(ScsiTmf *tmf)
{
    const Nexus *nexus = tmf->nexus;

    for (guint i = 0; i < nexus->map->n_entries; i++) {
        if (is_meant(tmf, nexus->luns[i]) && await_unit(tmf, nexus->luns[i]))
            return;
    }
    list_foreach(link, &nexus->leaving) {
        const NexusLun *nexus_lun = list_entry(link, NexusLun, leaving_link);

        if (is_meant(tmf, nexus_lun) && await_unit(tmf, nexus_lun))
            return;
    }

    finish(tmf, TMF_COMPLETE);
}

/* One that is empty frees itself */
static void
abort_leaving(const ScsiTmf *tmf)
{
    gboolean again = TRUE;

    while (again) {
        again = FALSE;
        list_foreach(link, &tmf->nexus->leaving) {
            const NexusLun *nexus_lun = list_entry(link, NexusLun, leaving_link);
            ScsiCommand *command = is_meant(tmf, nexus_lun) ? find_concerned(nexus_lun) : NULL;

            if (command == NULL)
                continue;
            scsi_command_abort(command);
            again = TRUE;
            break;
        }
    }
}

static void
abort_task_set(ScsiTmf *tmf, const NexusLun *nexus_lun)
{
    abort_all_of(nexus_lun);
    abort_leaving(tmf);
    tmf->sequence = tmf->nexus->scsi->abort_sequence;
    abort_next(tmf);
}

static void reset_next(ScsiTmf *tmf);
static gboolean reset_replaced(ScsiTmf *tmf);

static void
on_reset_done(LuReset *reset)
{
    ScsiTmf *tmf = list_entry(reset, ScsiTmf, reset);
    LuShard *shard = lu_shard(reset->lu, tmf->nexus->worker);

    shard->n_requests--;
    lu_shard_check_released(shard);

    if (reset_replaced(tmf))
        return;
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

/* Of the units that were where one is now that is to be reset, the next one that was not yet */
static const NexusLun *
find_replaced(const ScsiTmf *tmf)
{
    const NexusLun *found = NULL;

    list_foreach(link, &tmf->nexus->leaving) {
        const NexusLun *nexus_lun = list_entry(link, NexusLun, leaving_link);
        const NexusLun *now = nexus_find_lun(tmf->nexus, nexus_lun->lun);

        if (nexus_lun->serial >= tmf->next_serial && now != NULL &&
            lu_is_same_unit(now->lu, nexus_lun->lu) &&
            (tmf->function != TMF_LOGICAL_UNIT_RESET || is_meant(tmf, nexus_lun)) &&
            (found == NULL || nexus_lun->serial < found->serial))
            found = nexus_lun;
    }

    return found;
}

/* The unit that was there before its store came or went: its commands have not ended */
static gboolean
reset_replaced(ScsiTmf *tmf)
{
    const NexusLun *nexus_lun = find_replaced(tmf);

    if (nexus_lun == NULL)
        return FALSE;

    give_up_tasks(nexus_lun);
    tmf->next_serial = nexus_lun->serial + 1;
    reset_unit(tmf, nexus_lun->lu,
               tmf->function == TMF_LOGICAL_UNIT_RESET ? SENSE_LU_RESET : SENSE_POWER_ON);
    return TRUE;
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
    tmf->next_serial = 0;
    tmf->information = 0;

    if (tmf->function == TMF_TARGET_WARM_RESET || tmf->function == TMF_TARGET_COLD_RESET) {
        for (guint i = 0; i < tmf->nexus->map->n_entries; i++)
            give_up_tasks(tmf->nexus->luns[i]);
        reset_next(tmf);
        return;
    }
    if (tmf->function == TMF_I_T_NEXUS_RESET) {
        nexus_abort_all(tmf->nexus);
        tmf->sequence = tmf->nexus->scsi->abort_sequence;
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
