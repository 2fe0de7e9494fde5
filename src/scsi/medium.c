/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The medium in the unit: start, stop, eject, load, prevent its removal
 *
 * There is nothing to spin up or down. A disk that was stopped is nevertheless
 * stopped, for all nexuses, as SBC has it: what wants the medium ends in NOT
 * READY, initializing command required, until somebody starts it or the unit is
 * reset. Initiators that share a unit must therefore not stop it on their way
 * out (Linux does so only with manage_start_stop); one that finds it stopped
 * when it attaches starts it again. Commands under way have ended before the
 * stop is answered, and what was acknowledged is durable then. A drive for
 * compact discs would spin up by itself: there a stop makes sure of the data
 * and no more, and so it does on a lenient unit, which takes reserved power
 * conditions too. Idle and standby are only remembered, for REQUEST SENSE.
 *
 * With IMMED the status comes as soon as the CDB was judged. A command of our
 * own with the same CDB is then in the task set and does the rest, and what
 * goes wrong is told with the next command of the nexus as a deferred error. There is one of
 * them at a time for a nexus: the next one is answered at its end. So are those
 * that move the medium: whether its removal is prevented is what they ask, and
 * who ejects may have it taken away at once, so its data is safe first.
 *
 * Where the medium is removable it can be ejected: from then on it is hidden
 * from everybody until it is loaded again. Each nexus has a flag that prevents
 * that, which ends with the nexus or with a reset. The flags stay with their
 * shards; the home worker asks all shards before it lets the medium go.
 */

#include <string.h>

#include "scsi/handlers.h"
#include "scsi/lu-change.h"
#include "scsi/operation.h"

#define IMMED    0x01 /* in byte 1; the others in byte 4 */
#define START    0x01
#define LOEJ     0x02
#define NO_FLUSH 0x04

/* Values of POWER CONDITION; beside all but the first START and LOEJ mean nothing. The others are
 * reserved or obsolete, and there is only one idle and one standby condition. */
enum {
    CONDITION_START_VALID = 0x0,
    CONDITION_ACTIVE = 0x1,
    CONDITION_IDLE = 0x2,
    CONDITION_STANDBY = 0x3,
    CONDITION_LU_CONTROL = 0x7,
    CONDITION_FORCE_IDLE = 0xa,
    CONDITION_FORCE_STANDBY = 0xb,
};

static void
on_changed(ScsiCommand *command)
{
    SenseCode result = lu_change_of(command)->result;

    if (result != SENSE_NONE)
        scsi_command_fail(command, result);
    else
        scsi_command_finish(command, SCSI_GOOD);
}

static void
run_change(ScsiCommand *command, void (*ask)(LuShard *), gboolean (*update)(Lu *, LuChange *))
{
    LuChange *change = lu_change_new(command);

    if (change == NULL)
        return;

    change->ask = ask;
    change->update = update;
    lu_change_run(change, on_changed);
}

/*
 * Power conditions
 */

/* FALSE: there is no such condition */
static gboolean
get_condition(const ScsiCommand *command, PowerCondition *ret_condition)
{
    switch (command->cdb[4] >> 4) {
    case CONDITION_START_VALID:
        *ret_condition = command->cdb[4] & START ? POWER_ACTIVE : POWER_STOPPED;
        return TRUE;
    case CONDITION_ACTIVE:
    case CONDITION_LU_CONTROL:
        *ret_condition = POWER_ACTIVE;
        return TRUE;
    case CONDITION_IDLE:
    case CONDITION_FORCE_IDLE:
        *ret_condition = POWER_IDLE;
        return TRUE;
    case CONDITION_STANDBY:
    case CONDITION_FORCE_STANDBY:
        *ret_condition = POWER_STANDBY;
        return TRUE;
    default:
        return FALSE;
    }
}

static gboolean
update_condition(Lu *lu, LuChange *change)
{
    PowerCondition before = (PowerCondition)lu->state.power_condition;
    PowerCondition condition = before;

    (void)get_condition(change->command, &condition);
    lu->state.power_condition = (guint8)condition;
    return condition != before;
}

static void
set_condition(ScsiCommand *command)
{
    run_change(command, NULL, update_condition);
}

/*
 * Eject and load
 */

void
lu_ask_preventing(LuShard *shard)
{
    shard->asked.is_preventing = shard->n_preventing > 0;
}

gboolean
lu_is_prevented(const Lu *lu)
{
    for (guint i = 0; i < lu->n_workers; i++) {
        if (lu->shards[i].asked.is_preventing)
            return TRUE;
    }
    return FALSE;
}

/* A drive without a medium moves its tray only. Of a disk the flag holds loading too, as initiators
 * that test it expect; a drive lets its tray be closed. */
static gboolean
update_medium(Lu *lu, LuChange *change)
{
    gboolean load = (change->command->cdb[4] & START) != 0;
    gboolean has_medium = lu->not_ready == SENSE_NONE;

    if ((!load || lu->device == LU_DISK) && lu_is_prevented(lu)) {
        change->result = SENSE_REMOVAL_PREVENTED;
        return FALSE;
    }

    if (lu->state.is_ejected != load)
        return FALSE;

    lu->state.is_ejected = !load;
    if (has_medium) {
        change->media_event = load ? MEDIA_NEW : MEDIA_REMOVED;
        if (load)
            change->attention = SENSE_NOT_READY_TO_READY;
    }
    lu_tell_medium(lu);
    return TRUE;
}

static void
move_medium(ScsiCommand *command)
{
    run_change(command, lu_ask_preventing, update_medium);
}

/*
 * START STOP UNIT
 */

static void
on_stopped_flushed(ScsiCommand *command)
{
    if (command->io.result < 0)
        scsi_command_fail_io(command, command->io.result, TRUE, 0);
    else
        scsi_command_finish(command, SCSI_GOOD);
}

static gboolean
starts_by_itself(const Lu *lu)
{
    return lu->device == LU_CDROM || lu->lenient_cdb;
}

static gboolean
is_flush_wanted(const ScsiCommand *command)
{
    return !(command->cdb[4] & NO_FLUSH) && !scsi_command_lu(command)->info->read_only;
}

/* Everything that was under way has ended: nothing can be acknowledged after the flush */
static void
on_stopped(ScsiCommand *command)
{
    if (is_flush_wanted(command))
        scsi_command_io(command, IO_FLUSH, (IoFlags)0, 0, 0, NULL, on_stopped_flushed);
    else
        scsi_command_finish(command, SCSI_GOOD);
}

static void
stop(ScsiCommand *command)
{
    LuChange *change = lu_change_new(command);

    if (change == NULL)
        return;

    change->update = update_condition;
    lu_change_run(change, on_stopped);
}

/* What follows the flush, or comes without one */
static void
carry_out(ScsiCommand *command)
{
    if (command->cdb[4] >> 4 != CONDITION_START_VALID)
        set_condition(command);
    else if (command->cdb[4] & LOEJ)
        move_medium(command);
    else if (command->cdb[4] & START)
        set_condition(command);
    else if (starts_by_itself(scsi_command_lu(command)))
        scsi_command_finish(command, SCSI_GOOD);
    else
        stop(command);
}

static void
on_flushed(ScsiCommand *command)
{
    if (command->io.result < 0)
        scsi_command_fail_io(command, command->io.result, TRUE, 0);
    else
        carry_out(command);
}

static gboolean
wants_flush(const ScsiCommand *command)
{
    guint condition = command->cdb[4] >> 4;

    if (!is_flush_wanted(command))
        return FALSE;

    /* A stop of a disk flushes when nothing else is under way any more */
    if (condition == CONDITION_START_VALID)
        return !(command->cdb[4] & START) &&
               (command->cdb[4] & LOEJ || starts_by_itself(scsi_command_lu(command)));
    return condition == CONDITION_STANDBY || condition == CONDITION_FORCE_STANDBY;
}

/* The rest of a command that was answered */
typedef struct {
    ScsiCommand command;
    guint16 lun;
    guint64 serial; /* of the NexusLun */
} Behind;

static void
on_behind_done(ScsiCommand *command)
{
    Behind *behind = list_entry(command, Behind, command);
    NexusLun *nexus_lun = nexus_find_lun(command->nexus, behind->lun);

    /* Another reservation may have come in between; then it is not ours to stop any more */
    if (nexus_lun != NULL && nexus_lun->serial == behind->serial) {
        nexus_lun->stops_behind = FALSE;
        if (!command->aborted && command->status == SCSI_CHECK_CONDITION)
            nexus_lun->deferred = sense_code_of(command->sense);
        else if (!command->aborted && command->status == SCSI_BUSY)
            nexus_lun->deferred = SENSE_INTERNAL_TARGET_FAILURE;
    }
    scsi_command_end(command);
    g_free(behind);
}

/* clang-format off */
static const ScsiTransport behind_transport = { .done = on_behind_done };
/* clang-format on */

/* TRUE: it will be carried out, and @command can be answered */
static gboolean
carry_out_behind(const ScsiCommand *command)
{
    NexusLun *nexus_lun = command->nexus_lun;
    Behind *behind = NULL;

    if (!nexus_lun->stops_behind && nexus_find_lun(command->nexus, nexus_lun->lun) == nexus_lun)
        behind = g_try_new0(Behind, 1);
    if (behind == NULL)
        return FALSE;

    nexus_lun->stops_behind = TRUE;
    behind->lun = nexus_lun->lun;
    behind->serial = nexus_lun->serial;
    behind->command.transport = &behind_transport;
    behind->command.nexus = command->nexus;
    behind->command.is_inner = TRUE;
    memcpy(behind->command.lun, command->lun, sizeof(command->lun));
    memcpy(behind->command.cdb, command->cdb, sizeof(command->cdb));
    scsi_command_begin(&behind->command);
    scsi_command_run_inner(&behind->command);
    return TRUE;
}

static void
start_stop(ScsiCommand *command, gboolean moves)
{
    if (command->cdb[1] & IMMED && !moves && !command->is_inner && carry_out_behind(command))
        scsi_command_finish(command, SCSI_GOOD);
    else if (wants_flush(command))
        scsi_command_io(command, IO_FLUSH, (IoFlags)0, 0, 0, NULL, on_flushed);
    else
        carry_out(command);
}

void
sbc_start_stop_unit(ScsiCommand *command)
{
    gboolean has_condition = command->cdb[4] >> 4 != CONDITION_START_VALID;
    gboolean moves = !has_condition && command->cdb[4] & LOEJ;
    const LuShard *shard = command->nexus_lun->shard;
    PowerCondition condition;

    if (!get_condition(command, &condition) && shard->lu->lenient_cdb)
        scsi_command_finish(command, SCSI_GOOD);
    else if (!get_condition(command, &condition))
        scsi_command_fail_field(command, 4, 7);
    else if (command->cdb[3] != 0)
        scsi_command_fail_field(command, 3, 3); /* POWER CONDITION MODIFIER */
    else if (moves && !scsi_command_lu(command)->is_removable)
        scsi_command_fail_field(command, 4, 1);
    else if (!moves && !has_condition && shard->state.is_ejected)
        scsi_command_fail(command, lu_ejected_sense(shard->lu));
    else if (!moves && !has_condition && shard->lu->not_ready != SENSE_NONE)
        scsi_command_fail(command, shard->lu->not_ready);
    else
        start_stop(command, moves);
}

/*
 * PREVENT ALLOW MEDIUM REMOVAL
 */

void
sbc_prevent_allow(ScsiCommand *command)
{
    nexus_lun_set_preventing(command->nexus_lun, (command->cdb[4] & 0x01) != 0);
    scsi_command_finish(command, SCSI_GOOD);
}
