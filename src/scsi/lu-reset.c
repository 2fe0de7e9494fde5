/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Messages about a logical unit as a whole: reset and release
 *
 *   requester             home worker             every worker (home too)
 *   LuReset      ------>  queue, one at a time
 *                         ABORT_TASKS    ------>  abort all, wait for I/O in flight
 *                         count          <------  TASKS_ABORTED
 *                         RAISE_UA       ------>  raise for each nexus
 *                         count          <------  UA_RAISED
 *   done         <------  next one
 *
 * A shard has one node for this, since there is one reset at a time. Its
 * TASKS_ABORTED waits for the backstore only, never for a message of another
 * worker's reset, so there is no cycle.
 *
 * Release: the control thread sends RELEASE to every worker after the unit has
 * left all maps; a shard answers when its last nexus has gone and no reset is
 * under way. The control thread's messages arrive in order, so no nexus can
 * come after the first answer.
 */

#include "scsi/lu-reset.h"

#include "scsi/lu-shard.h"
#include "scsi/range-lock.h"
#include "scsi/reservation.h"

static void reset_next(Lu *lu);

void
lu_broadcast(Lu *lu, MessageFn deliver)
{
    lu->n_reset_answers = lu->n_workers;
    for (guint i = 0; i < lu->n_workers; i++)
        worker_send(lu->workers[i], &lu->shards[i].reset_message, deliver);
}

void
lu_answer_home(LuShard *shard, MessageFn deliver)
{
    worker_send(shard->lu->workers[shard->lu->home], &shard->reset_message, deliver);
}

gboolean
lu_count_answer(Lu *lu)
{
    return --lu->n_reset_answers == 0;
}

/* Requester's thread */
static void
on_reset_done(Message *message)
{
    LuReset *reset = list_entry(message, LuReset, message);

    reset->done(reset);
}

void
lu_manage_end(Lu *lu)
{
    ListLink *link = list_pop(&lu->resets);
    LuReset *reset;

    g_assert(link != NULL);
    reset = list_entry(link, LuReset, link);
    mailbox_send(reset->reply_to, &reset->message, on_reset_done);
    if (lu->is_starting)
        return;

    reset_next(lu);
    lu_shard_check_released(&lu->shards[lu->home]);
}

static void
return_stale(LuReset *reset)
{
    reset->is_stale = TRUE;
    mailbox_send(reset->reply_to, &reset->message, on_reset_done);
}

/* All but the first one, which is what aborts */
void
lu_return_stale(Lu *lu)
{
    const ListLink *first = list_first(&lu->resets);

    lu->abort_generation++;
    list_foreach_safe(link, &lu->resets) {
        LuReset *reset = list_entry(link, LuReset, link);

        if (link != first && reset->is_command) {
            list_unlink(link);
            return_stale(reset);
        }
    }
}

/* Home: UA_RAISED */
static void
on_ua_raised(Message *message)
{
    Lu *lu = list_entry(message, LuShard, reset_message)->lu;

    if (!lu_count_answer(lu))
        return;

    reservation_reset_done(lu);
    lu_manage_end(lu);
}

/* Shard: RAISE_UA */
static void
on_raise_ua(Message *message)
{
    LuShard *shard = list_entry(message, LuShard, reset_message);

    /* Home changes neither the head of its queue nor what is read here before all have answered */
    lu_shard_set_state(shard, &shard->lu->state);
    reservation_shard_take(shard);
    list_foreach(link, &shard->nexus_luns) {
        NexusLun *nexus_lun = list_entry(link, NexusLun, shard_link);

        unit_attention_raise(&nexus_lun->attentions, shard->reset_attention);
    }

    lu_answer_home(shard, on_ua_raised);
}

/* Home: TASKS_ABORTED */
static void
on_tasks_aborted(Message *message)
{
    Lu *lu = list_entry(message, LuShard, reset_message)->lu;

    if (lu_count_answer(lu))
        lu_broadcast(lu, on_raise_ua);
}

static void
on_abort_wait_ended(ScsiAbortWait *wait)
{
    lu_answer_home(list_entry(wait, LuShard, reset_wait), on_tasks_aborted);
}

static ScsiCommand *
shard_find_live(LuShard *shard)
{
    list_foreach(link, &shard->nexus_luns) {
        ScsiCommand *command = nexus_lun_find_live(list_entry(link, NexusLun, shard_link));

        if (command != NULL)
            return command;
    }

    return NULL;
}

/* Shard: ABORT_TASKS */
static void
on_abort_tasks(Message *message)
{
    LuShard *shard = list_entry(message, LuShard, reset_message);
    ScsiCommand *command;

    shard->statistics.n_resets++;
    shard->abort_generation++;
    if (shard->n_rods != 0)
        rod_shard_cancel(shard);
    list_foreach(link, &shard->nexus_luns)
        nexus_lun_set_preventing(list_entry(link, NexusLun, shard_link), FALSE);

    /* From the start each time: a transport may take its nexus away when a command ends */
    while ((command = shard_find_live(shard)) != NULL) {
        if (command->nexus == shard->reset_nexus)
            scsi_command_abort_by_reset(command);
        else
            scsi_command_abort_by_other(command);
    }

    shard->reset_wait.ended = on_abort_wait_ended;
    if (shard->n_aborting == 0)
        on_abort_wait_ended(&shard->reset_wait);
    else
        scsi_abort_wait_start(shard->scsi, &shard->reset_wait, shard, shard->n_aborting);
}

static void
start(Lu *lu, LuReset *reset)
{
    if (reset->run != NULL) {
        reset->run(reset);
        return;
    }

    for (guint i = 0; i < lu->n_workers; i++) {
        lu->shards[i].reset_attention = reset->attention;
        lu->shards[i].reset_nexus = reset->nexus;
    }
    if (reset->attention_only) {
        lu_broadcast(lu, on_raise_ua);
        return;
    }

    lu_state_reset(lu);
    reservation_reset(lu);
    lu_broadcast(lu, on_abort_tasks);
    lu_return_stale(lu);
}

/* A loop, for what has nothing to wait for ends from inside */
static void
reset_next(Lu *lu)
{
    const ListLink *started = NULL;
    ListLink *link;

    lu->is_starting = TRUE;
    while ((link = list_first(&lu->resets)) != NULL && link != started) {
        started = link;
        start(lu, list_entry(link, LuReset, link));
    }
    lu->is_starting = FALSE;
}

/* Home */
static void
on_reset_request(Message *message)
{
    LuReset *reset = list_entry(message, LuReset, message);
    Lu *lu = reset->lu;
    gboolean is_first = list_is_empty(&lu->resets);

    if (reset->is_command && reset->abort_generation != lu->abort_generation) {
        return_stale(reset);
        return;
    }

    list_init(&reset->link);
    list_append(&lu->resets, &reset->link);
    if (is_first)
        reset_next(lu);
}

void
lu_reset_start(LuReset *reset)
{
    worker_send(reset->lu->workers[reset->lu->home], &reset->message, on_reset_request);
}

/*
 * For the administrator
 */

typedef struct {
    LuReset reset;
    LuReleasedFn done;
    gpointer user_data;
} AdminReset;

static void
on_admin_reset_done(LuReset *reset)
{
    AdminReset *admin = list_entry(reset, AdminReset, reset);

    admin->done(reset->lu, admin->user_data);
    g_free(admin);
}

static void
start_admin(Lu *lu, SenseCode attention, gboolean attention_only, Mailbox *reply_to,
            LuReleasedFn done, gpointer user_data)
{
    AdminReset *admin = g_new0(AdminReset, 1);

    admin->reset.lu = lu;
    admin->reset.attention = attention;
    admin->reset.attention_only = attention_only;
    admin->reset.reply_to = reply_to;
    admin->reset.done = on_admin_reset_done;
    admin->done = done;
    admin->user_data = user_data;
    lu_reset_start(&admin->reset);
}

void
lu_reset(Lu *lu, Mailbox *reply_to, LuReleasedFn done, gpointer user_data)
{
    start_admin(lu, SENSE_LU_RESET, FALSE, reply_to, done, user_data);
}

void
lu_raise_attention(Lu *lu, SenseCode code, Mailbox *reply_to, LuReleasedFn done, gpointer user_data)
{
    start_admin(lu, code, TRUE, reply_to, done, user_data);
}

/*
 * Release
 */

/* Control thread */
static void
on_released(Message *message)
{
    Lu *lu = list_entry(message, LuShard, release_message)->lu;

    if (--lu->n_unreleased == 0)
        lu->released(lu, lu->released_data);
}

void
lu_shard_check_released(LuShard *shard)
{
    const Lu *lu = shard->lu;

    if (!shard->release_wanted || !list_is_empty(&shard->nexus_luns) || shard->n_requests > 0)
        return;
    if (shard->worker->index == lu->home &&
        (!list_is_empty(&lu->resets) || range_lock_is_busy(lu) || lu_erase_is_busy(lu) ||
         lu->medium_note.is_out))
        return;

    shard->release_wanted = FALSE;
    mailbox_send(lu->release_to, &shard->release_message, on_released);
}

static void
on_release(Message *message)
{
    LuShard *shard = list_entry(message, LuShard, release_message);

    if (shard->worker->index == shard->lu->home)
        lu_erase_stop(shard->lu);
    shard->release_wanted = TRUE;
    lu_shard_check_released(shard);
}

void
lu_release(Lu *lu, Mailbox *reply_to, LuReleasedFn done, gpointer user_data)
{
    lu->release_to = reply_to;
    lu->released = done;
    lu->released_data = user_data;
    lu->n_unreleased = lu->n_workers;
    for (guint i = 0; i < lu->n_workers; i++)
        worker_send(lu->workers[i], &lu->shards[i].release_message, on_release);
}
