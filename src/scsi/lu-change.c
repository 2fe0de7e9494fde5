/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * A command's errand to the home worker
 *
 *   command's worker         home worker              every worker (home too)
 *   LuChange        ------>  queue (see lu-reset.c)
 *                            ASK             ------>  collect
 *                            update          <------  ASKED
 *                            LU_CHANGE       ------>  take the new state, raise for each nexus
 *   resume          <------  next one        <------  LU_CHANGED
 *
 * LU_CHANGED waits for I/O of commands that passed the gates before and would
 * not pass them now: after a software write protect nothing is written any
 * more. What they have not submitted yet is refused. That the write cache was
 * turned off, the backstore tells writes under way itself (see
 * backstore_set_write_through()). It also waits for writes of blocks that a
 * token which is being published represents (see rod-token.c).
 */

#include "scsi/lu-change.h"

#include <string.h>

#include "scsi/operation.h"
#include "scsi/reservation.h"

static LuChange *
change_of_reset(LuReset *reset)
{
    return list_entry(reset, LuChange, reset);
}

static LuShard *
shard_of_message(Message *message)
{
    return list_entry(message, LuShard, reset_message);
}

/* Home: LU_CHANGED */
static void
on_changed(Message *message)
{
    Lu *lu = shard_of_message(message)->lu;

    if (lu_count_answer(lu))
        lu_manage_end(lu);
}

SenseCode
lu_state_refuses(const LuShard *shard, const ScsiCommand *command)
{
    const LuState *state = &shard->state;

    if (state->is_ejected && command->op->flags & (OP_MEDIUM | OP_READY))
        return lu_ejected_sense(shard->lu);
    if (state->power_condition == POWER_STOPPED && command->op->flags & (OP_MEDIUM | OP_READY))
        return SENSE_NOT_READY_INITIALIZING;
    if (command->io_end > state->size)
        return SENSE_LBA_OUT_OF_RANGE;
    if ((lu_state_has(state, MODE_SWP) || state->read_only || command->nexus_lun->read_only) &&
        command->op->flags & OP_WRITES)
        return SENSE_WRITE_PROTECTED;
    return SENSE_NONE;
}

/* A request that touches no block stands in nobody's way */
static gboolean
has_pending(const LuShard *shard)
{
    list_foreach(link, &shard->nexus_luns) {
        const NexusLun *nexus_lun = list_entry(link, NexusLun, shard_link);

        list_foreach(iter, &nexus_lun->tasks) {
            const ScsiCommand *command = list_entry(iter, ScsiCommand, link);

            if (command->state == SCSI_STATE_IO && command->io_end != 0 &&
                lu_state_refuses(shard, command) != SENSE_NONE)
                return TRUE;
        }
    }

    return shard->n_rods != 0 && rod_shard_is_settling(shard);
}

void
lu_change_io_ended(LuShard *shard)
{
    if (!shard->state_waits || has_pending(shard))
        return;

    shard->state_waits = FALSE;
    shard->n_conflicts--;
    lu_answer_home(shard, on_changed);
}

/* Shard: LU_CHANGE. The command and so its nexus are there until the errand is back. */
static void
on_change(Message *message)
{
    LuShard *shard = shard_of_message(message);
    const LuChange *change = shard->change;
    LuState before = shard->state;

    lu_shard_set_state(shard, &shard->lu->state);
    list_foreach(link, &shard->nexus_luns) {
        NexusLun *nexus_lun = list_entry(link, NexusLun, shard_link);
        gboolean was_protected = nexus_lun->read_only || shard->lu->info->read_only ||
                                 before.read_only || lu_state_has(&before, MODE_SWP);

        if (change->attention != SENSE_NONE && nexus_lun->nexus != change->nexus &&
            (!change->is_protection || was_protected != nexus_lun_is_protected(nexus_lun)))
            nexus_lun_raise(nexus_lun, change->attention);
        if (change->media_event != MEDIA_NO_EVENT)
            nexus_lun_set_media_event(nexus_lun, change->media_event);
    }
    if (change->tell != NULL)
        change->tell(shard);

    if (has_pending(shard)) {
        shard->state_waits = TRUE;
        shard->n_conflicts++;
        return;
    }
    lu_answer_home(shard, on_changed);
}

static void
broadcast(LuChange *change, MessageFn deliver)
{
    Lu *lu = change->reset.lu;

    for (guint i = 0; i < lu->n_workers; i++)
        lu->shards[i].change = change;
    lu_broadcast(lu, deliver);
}

static void
update(LuChange *change)
{
    Lu *lu = change->reset.lu;

    if (change->update(lu, change))
        broadcast(change, on_change);
    else
        lu_manage_end(lu);
}

/* Home: the record is on stable storage, or could not be written. Its change is first in the queue. */
static void
on_recorded(Message *message)
{
    LuPersist *persist = list_entry(message, LuPersist, message);
    Lu *lu = persist->lu;
    LuChange *change = change_of_reset(list_entry(list_first(&lu->resets), LuReset, link));

    g_clear_pointer(&persist->text, g_free);
    if (persist->success) {
        update(change);
        return;
    }

    change->result = SENSE_INTERNAL_TARGET_FAILURE;
    lu_manage_end(lu);
}

void
lu_change_lu_init(Lu *lu, const LuConfig *config)
{
    lu_persist_init(&lu->records[LU_RECORD_MODES], lu, config, config->persist_modes, on_recorded);
    lu_persist_init(&lu->records[LU_RECORD_IDENTIFYING], lu, config, config->persist_identifying,
                    on_recorded);
}

static void
record(LuChange *change)
{
    Lu *lu = change->reset.lu;
    LuPersist *persist = &lu->records[change->kind];

    if (change->record == NULL || persist->fn == NULL) {
        update(change);
        return;
    }

    persist->text = change->record(lu, change);
    persist->keep = lu->can_keep && persist->text != NULL;
    lu_persist_send(persist);
}

/* Home: ASKED */
static void
on_asked(Message *message)
{
    const LuShard *shard = shard_of_message(message);

    if (lu_count_answer(shard->lu))
        record(shard->change);
}

/* Shard: ASK */
static void
on_ask(Message *message)
{
    LuShard *shard = shard_of_message(message);

    shard->change->ask(shard);
    lu_answer_home(shard, on_asked);
}

/* Home: its turn has come */
static void
on_run(LuReset *reset)
{
    LuChange *change = change_of_reset(reset);

    /* It passed the gate, but a reservation was before it in the queue */
    change->is_refused = reservation_refuses_at_home(change->command);
    if (change->is_refused)
        lu_manage_end(reset->lu);
    else if (change->ask != NULL)
        broadcast(change, on_ask);
    else
        record(change);
}

static void
send(LuChange *change)
{
    const ScsiCommand *command = change->command;

    change->reset.is_stale = FALSE;
    change->reset.abort_generation = command->nexus_lun->shard->abort_generation;
    lu_reset_start(&change->reset);
}

static void
finish_refused(ScsiCommand *command)
{
    scsi_command_finish(command, SCSI_RESERVATION_CONFLICT);
}

/* On the worker of the command again */
static void
on_done(LuReset *reset)
{
    LuChange *change = change_of_reset(reset);

    if (reset->is_stale && !change->command->aborted)
        send(change);
    else
        scsi_command_errand_ended(change->command,
                                  change->is_refused ? finish_refused : change->resume);
}

LuChange *
lu_change_new(ScsiCommand *command)
{
    LuChange *change;

    G_STATIC_ASSERT(sizeof(LuChange) + LU_CHANGE_ROOM <= POOL_BUFFER_MIN);

    if (!scsi_command_take_scratch(command, POOL_BUFFER_MIN)) {
        scsi_command_finish(command, SCSI_BUSY);
        return NULL;
    }

    change = lu_change_of(command);
    memset(change, 0, sizeof(*change) + LU_CHANGE_ROOM);
    change->command = command;
    return change;
}

void
lu_change_run(LuChange *change, void (*resume)(ScsiCommand *command))
{
    ScsiCommand *command = change->command;

    change->resume = resume;
    change->nexus = command->nexus;
    change->reset.lu = scsi_command_lu(command);
    change->reset.run = on_run;
    change->reset.is_command = TRUE;
    change->reset.reply_to = &command->nexus->worker->inbox;
    change->reset.done = on_done;
    scsi_command_errand_started(command);
    send(change);
}

/*
 * For the administrator: another size
 */

typedef struct {
    guint64 size;
    gboolean success;
    LuResizedFn done;
    gpointer user_data;
} AdminResize;

/* It lies behind the LuChange, which needs no room */
static AdminResize *
resize_of_change(LuChange *change)
{
    return (AdminResize *)(change + 1);
}

/* Home. What is being erased keeps its size: the erasing would leave something out. */
static void
resize_run(LuReset *reset)
{
    LuChange *change = change_of_reset(reset);
    AdminResize *admin = resize_of_change(change);
    Lu *lu = reset->lu;

    admin->success = !lu_erase_is_at_work(lu);
    if (!admin->success || lu->state.size == admin->size) {
        lu_manage_end(lu);
        return;
    }

    lu->state.size = admin->size;
    broadcast(change, on_change);
}

static void
on_resized(LuReset *reset)
{
    LuChange *change = change_of_reset(reset);
    const AdminResize *admin = resize_of_change(change);

    admin->done(reset->lu, admin->success, admin->user_data);
    g_free(change);
}

void
lu_set_size(Lu *lu, guint64 size, Mailbox *reply_to, LuResizedFn done, gpointer user_data)
{
    LuChange *change = g_malloc0(sizeof(LuChange) + sizeof(AdminResize));
    AdminResize *admin = resize_of_change(change);

    change->reset.lu = lu;
    change->reset.run = resize_run;
    change->reset.reply_to = reply_to;
    change->reset.done = on_resized;
    change->attention = SENSE_CAPACITY_CHANGED;
    admin->size = size;
    admin->done = done;
    admin->user_data = user_data;
    lu_reset_start(&change->reset);
}

/*
 * For the administrator: write protection
 */

typedef struct {
    gboolean read_only;
    gboolean success;
    LuResizedFn done;
    gpointer user_data;
} AdminProtection;

static AdminProtection *
protection_of_change(LuChange *change)
{
    return (AdminProtection *)(change + 1);
}

/* Home. What is being erased is written to the end. */
static void
protection_run(LuReset *reset)
{
    LuChange *change = change_of_reset(reset);
    AdminProtection *admin = protection_of_change(change);
    Lu *lu = reset->lu;

    admin->success = !lu_erase_is_at_work(lu);
    if (!admin->success || lu->state.read_only == admin->read_only) {
        lu_manage_end(lu);
        return;
    }

    lu->state.read_only = admin->read_only;
    broadcast(change, on_change);
}

static void
on_protected(LuReset *reset)
{
    LuChange *change = change_of_reset(reset);
    const AdminProtection *admin = protection_of_change(change);

    admin->done(reset->lu, admin->success, admin->user_data);
    g_free(change);
}

void
lu_set_read_only(Lu *lu, gboolean read_only, Mailbox *reply_to, LuResizedFn done,
                 gpointer user_data)
{
    LuChange *change = g_malloc0(sizeof(LuChange) + sizeof(AdminProtection));
    AdminProtection *admin = protection_of_change(change);

    change->reset.lu = lu;
    change->reset.run = protection_run;
    change->reset.reply_to = reply_to;
    change->reset.done = on_protected;
    change->attention = SENSE_MODE_PARAMETERS_CHANGED;
    change->is_protection = TRUE;
    admin->read_only = read_only;
    admin->done = done;
    admin->user_data = user_data;
    lu_reset_start(&change->reset);
}

/*
 * For the administrator: the medium
 */

typedef struct {
    LuEjectResult result;
    gboolean force;
    LuEjectedFn ejected;
    LuReleasedFn loaded;
    gpointer user_data;
} AdminMedium;

static AdminMedium *
medium_of_change(LuChange *change)
{
    return (AdminMedium *)(change + 1);
}

static gboolean
update_eject(Lu *lu, LuChange *change)
{
    AdminMedium *admin = medium_of_change(change);

    admin->result = LU_EJECTED;
    if (lu->state.is_ejected)
        return FALSE;
    if (lu_erase_is_at_work(lu)) {
        admin->result = LU_EJECT_ERASING;
        return FALSE;
    }

    if (lu_is_prevented(lu) && !admin->force) {
        admin->result = LU_EJECT_PREVENTED;
        change->media_event = MEDIA_EJECT_REQUEST;
        return TRUE;
    }

    /* Who asks knows it: only what initiators do is told */
    lu->state.is_ejected = TRUE;
    lu->medium_note.told = TRUE;
    change->media_event = MEDIA_REMOVED;
    return TRUE;
}

static gboolean
update_load(Lu *lu, LuChange *change)
{
    if (!lu->state.is_ejected)
        return FALSE;

    lu->state.is_ejected = FALSE;
    lu->medium_note.told = FALSE;
    change->media_event = MEDIA_NEW;
    change->attention = SENSE_NOT_READY_TO_READY;
    return TRUE;
}

static void
run_medium(LuReset *reset)
{
    LuChange *change = change_of_reset(reset);

    if (change->ask != NULL)
        broadcast(change, on_ask);
    else
        update(change);
}

static void
on_medium_done(LuReset *reset)
{
    LuChange *change = change_of_reset(reset);
    const AdminMedium *admin = medium_of_change(change);

    if (admin->ejected != NULL)
        admin->ejected(reset->lu, admin->result, admin->user_data);
    else
        admin->loaded(reset->lu, admin->user_data);
    g_free(change);
}

static LuChange *
medium_change_new(Lu *lu, gboolean (*step)(Lu *, LuChange *), Mailbox *reply_to, gpointer user_data)
{
    LuChange *change = g_malloc0(sizeof(LuChange) + sizeof(AdminMedium));

    change->reset.lu = lu;
    change->reset.run = run_medium;
    change->reset.reply_to = reply_to;
    change->reset.done = on_medium_done;
    change->update = step;
    medium_of_change(change)->user_data = user_data;
    return change;
}

void
lu_eject(Lu *lu, gboolean force, Mailbox *reply_to, LuEjectedFn done, gpointer user_data)
{
    LuChange *change = medium_change_new(lu, update_eject, reply_to, user_data);

    change->ask = lu_ask_preventing;
    medium_of_change(change)->force = force;
    medium_of_change(change)->ejected = done;
    lu_reset_start(&change->reset);
}

void
lu_load(Lu *lu, Mailbox *reply_to, LuReleasedFn done, gpointer user_data)
{
    LuChange *change = medium_change_new(lu, update_load, reply_to, user_data);

    medium_of_change(change)->loaded = done;
    lu_reset_start(&change->reset);
}
