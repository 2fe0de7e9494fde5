/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The medium in the unit: start, stop, eject, load, prevent its removal
 *
 * There is nothing to spin up or down, and other nexuses may be using the unit:
 * a stop makes sure of the data, as it would on a disk, and the unit stays
 * ready. A power condition is only remembered, for REQUEST SENSE.
 *
 * Where the medium is removable it can be ejected: from then on it is hidden
 * from everybody until it is loaded again. Each nexus has a flag that prevents
 * that, which ends with the nexus or with a reset. The flags stay with their
 * shards; the home worker asks all shards before it lets the medium go.
 */

#include "scsi/handlers.h"
#include "scsi/lu-change.h"
#include "scsi/operation.h"

#define START    0x01
#define LOEJ     0x02
#define NO_FLUSH 0x04

/* Values of POWER CONDITION; what is not here is taken and has no effect, as START and LOEJ with it */
enum {
    CONDITION_START_VALID = 0x0,
    CONDITION_ACTIVE = 0x1,
    CONDITION_IDLE = 0x2,
    CONDITION_STANDBY = 0x3,
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

static PowerCondition
wanted_condition(const ScsiCommand *command, PowerCondition now)
{
    switch (command->cdb[4] >> 4) {
    case CONDITION_START_VALID:
    case CONDITION_ACTIVE:
        return POWER_ACTIVE;
    case CONDITION_IDLE:
    case CONDITION_FORCE_IDLE:
        return POWER_IDLE;
    case CONDITION_STANDBY:
    case CONDITION_FORCE_STANDBY:
        return POWER_STANDBY;
    default:
        return now;
    }
}

static gboolean
update_condition(Lu *lu, LuChange *change)
{
    PowerCondition before = (PowerCondition)lu->state.power_condition;

    lu->state.power_condition = (guint8)wanted_condition(change->command, before);
    return lu->state.power_condition != before;
}

static void
set_condition(ScsiCommand *command)
{
    run_change(command, NULL, update_condition);
}

/*
 * Eject and load
 */

static void
ask_preventing(LuShard *shard)
{
    shard->asked.is_preventing = shard->n_preventing > 0;
}

static gboolean
update_medium(Lu *lu, LuChange *change)
{
    gboolean load = (change->command->cdb[4] & START) != 0;

    for (guint i = 0; i < lu->n_workers; i++) {
        if (lu->shards[i].asked.is_preventing) {
            change->result = SENSE_REMOVAL_PREVENTED;
            return FALSE;
        }
    }

    if (lu->state.is_ejected != load)
        return FALSE;

    lu->state.is_ejected = !load;
    if (load)
        change->attention = SENSE_NOT_READY_TO_READY;
    return TRUE;
}

static void
move_medium(ScsiCommand *command)
{
    run_change(command, ask_preventing, update_medium);
}

/*
 * START STOP UNIT
 */

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
    else
        scsi_command_finish(command, SCSI_GOOD);
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

    if (command->cdb[4] & NO_FLUSH || scsi_command_lu(command)->info->read_only)
        return FALSE;

    return condition == CONDITION_START_VALID
               ? !(command->cdb[4] & START)
               : condition == CONDITION_STANDBY || condition == CONDITION_FORCE_STANDBY;
}

void
sbc_start_stop_unit(ScsiCommand *command)
{
    gboolean has_condition = command->cdb[4] >> 4 != CONDITION_START_VALID;
    gboolean moves = !has_condition && command->cdb[4] & LOEJ;

    if (moves && !scsi_command_lu(command)->is_removable)
        scsi_command_fail_field(command, 4, 1);
    else if (!moves && !has_condition && command->nexus_lun->shard->state.is_ejected)
        scsi_command_fail(command, SENSE_MEDIUM_NOT_PRESENT);
    else if (wants_flush(command))
        scsi_command_io(command, IO_FLUSH, (IoFlags)0, 0, 0, NULL, on_flushed);
    else
        carry_out(command);
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
