/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * A worker's side of a logical unit
 *
 * What the home asks is noted at once and answered when what it has to wait
 * for has ended: for RANGE_LOCK overlapping writes that were submitted, for
 * LU_CHANGE those that passed the gate under the old view and conflict with
 * the new one, for ABORT_TASKS what was submitted here or is at the home. All
 * three look at one list, in_flight, at the end of the turn.
 *
 * From ABORT_TASKS to RAISE_UA new commands are parked, so that nothing of a
 * command that follows a reset can be overtaken by one that precedes it.
 */

#include "sim.h"

static LocalLu *
local_of_notice(const Notice *notice)
{
    return &notice->worker->local[notice->home->index];
}

static LocalLu *
local_of_lock(const RangeLock *lock)
{
    return &lock->worker->local[lock->op->home->index];
}

static void
changed(LocalLu *local)
{
    deferred_run(&local->check, &local->worker->worker->loop);
}

/* Is a write on its way to the medium in this range? */
static gboolean
is_written(const LocalLu *local, guint first, guint n)
{
    list_foreach(link, &local->in_flight) {
        const Command *command = list_entry(link, Command, link);

        if (command->state == COMMAND_IO && command->kind == COMMAND_WRITE &&
            ranges_overlap(command->first, command->n, first, n))
            return TRUE;
    }
    return FALSE;
}

static gboolean
has_conflict(const LocalLu *local)
{
    gint holder = local->view->holder;

    list_foreach(link, &local->in_flight) {
        const Command *command = list_entry(link, Command, link);

        if (holder != NO_HOLDER && command->kind != COMMAND_READ && holder != (gint)command->nexus)
            return TRUE;
    }
    return FALSE;
}

static gboolean
has_aborted(const LocalLu *local)
{
    list_foreach(link, &local->in_flight) {
        if (list_entry(link, Command, link)->aborted)
            return TRUE;
    }
    return FALSE;
}

static void
answer_home(LocalLu *local)
{
    SimWorker *home = local->worker->sim->homes[local->index].worker;

    list_foreach_safe(link, &local->locks) {
        RangeLock *lock = list_entry(link, RangeLock, link);

        if (lock->answered || is_written(local, lock->first, lock->n))
            continue;
        lock->answered = TRUE;
        sim_reply(local->worker, home, MSG_RANGE_LOCK, &lock->message, on_range_locked);
    }

    if (local->change != NULL && !has_conflict(local))
        sim_reply(local->worker, home, MSG_LU_CHANGE, &g_steal_pointer(&local->change)->message,
                  on_lu_changed);
    if (local->abort != NULL && !has_aborted(local))
        sim_reply(local->worker, home, MSG_ABORT_TASKS, &g_steal_pointer(&local->abort)->message,
                  on_tasks_aborted);
}

static void
on_check(Deferred *deferred)
{
    answer_home(list_entry(deferred, LocalLu, check));
}

gboolean
local_is_locked(const LocalLu *local, guint first, guint n)
{
    list_foreach(link, &local->locks) {
        const RangeLock *lock = list_entry(link, RangeLock, link);

        if (ranges_overlap(lock->first, lock->n, first, n))
            return TRUE;
    }
    return FALSE;
}

void
local_park(LocalLu *local, Command *command)
{
    command->state = COMMAND_PARKED;
    list_append(&local->parked, &command->link);
    local->worker->n_parked++;
}

static void
unpark(LocalLu *local)
{
    List parked;
    ListLink *link;

    list_init(&parked);
    list_splice(&parked, &local->parked);
    while ((link = list_pop(&parked)) != NULL)
        command_resume(list_entry(link, Command, link));
}

void
on_range_lock(Message *message)
{
    RangeLock *lock = list_entry(message, RangeLock, message);
    LocalLu *local = local_of_lock(lock);

    sim_jitter(local->worker);
    list_append(&local->locks, &lock->link);
    changed(local);
}

void
on_range_unlock(Message *message)
{
    RangeLock *lock = list_entry(message, RangeLock, message);
    LocalLu *local = local_of_lock(lock);
    SimWorker *home = lock->op->home->worker;

    sim_jitter(local->worker);
    list_unlink(&lock->link);
    sim_reply(local->worker, home, MSG_RANGE_UNLOCK, message, on_range_unlocked);
    unpark(local);
}

static void
take_view(LocalLu *local, LuView *view)
{
    if (local->view != NULL)
        snapshot_unref(&local->view->snapshot);
    local->view = view;
}

void
on_lu_change(Message *message)
{
    Notice *notice = list_entry(message, Notice, message);
    LocalLu *local = local_of_notice(notice);

    sim_jitter(local->worker);
    g_assert_null(local->change);
    take_view(local, g_steal_pointer(&notice->view));
    local->change = notice;
    changed(local);
}

static void
abort_session(Session *session, guint generation)
{
    session->abort_generation = generation;
    for (guint i = 0; i < N_SLOTS; i++) {
        Command *command = &session->commands[i];

        if (command->state != COMMAND_FREE && command->kind != COMMAND_RESET)
            command_abort(command);
    }
}

void
on_abort_tasks(Message *message)
{
    Notice *notice = list_entry(message, Notice, message);
    LocalLu *local = local_of_notice(notice);

    sim_jitter(local->worker);
    g_assert_null(local->abort);
    local->resetting = TRUE;
    local->abort_generation = notice->generation;
    local->abort = notice;
    list_foreach(link, &local->worker->sessions) {
        Session *session = list_entry(link, Session, link);

        if (session->lu != local->index)
            continue;
        g_assert_cmpuint(session->abort_generation + 1, >=, notice->generation); /* none missed */
        abort_session(session, notice->generation);
    }
    changed(local);
}

static void
raise_ua(Session *session, guint generation)
{
    if (session->ua_generation >= generation)
        return;

    session->ua_generation = generation;
    session->ua_pending = TRUE;
}

void
on_raise_ua(Message *message)
{
    Notice *notice = list_entry(message, Notice, message);
    LocalLu *local = local_of_notice(notice);

    sim_jitter(local->worker);
    local->resetting = FALSE;
    local->ua_generation = notice->generation;
    list_foreach(link, &local->worker->sessions) {
        Session *session = list_entry(link, Session, link);

        if (session->lu != local->index)
            continue;
        g_assert_cmpuint(session->ua_generation + 1, >=, notice->generation); /* none missed */
        raise_ua(session, notice->generation);
    }
    sim_reply(local->worker, notice->home->worker, MSG_RAISE_UA, message, on_ua_raised);
    unpark(local);
}

void
session_catch_up(Session *session)
{
    const LocalLu *local = &session->worker->local[session->lu];

    if (session->is_new) {
        session->abort_generation = local->abort_generation;
        session->ua_generation = local->ua_generation;
        return;
    }

    if (session->abort_generation < local->abort_generation)
        abort_session(session, local->abort_generation);
    raise_ua(session, local->ua_generation);
}

/* Joining and leaving the home's members */

static void
ask_home(LocalLu *local, AttachState state)
{
    SimWorker *home = local->worker->sim->homes[local->index].worker;

    local->state = state;
    if (state == LU_ATTACHING)
        sim_request(local->worker, home, MSG_ATTACH_LU, &local->message, on_attach_lu);
    else
        sim_request(local->worker, home, MSG_DETACH_LU, &local->message, on_detach_lu);
}

void
local_attach(LocalLu *local)
{
    local->n_users++;
    if (local->state == LU_DETACHED)
        ask_home(local, LU_ATTACHING);
}

void
local_release(LocalLu *local)
{
    g_assert_cmpint(local->state, ==, LU_ATTACHED);
    g_assert_cmpuint(local->n_users, >, 0);
    if (--local->n_users == 0)
        ask_home(local, LU_DETACHING);
}

void
session_arrive(Session *session, SimWorker *worker)
{
    session->worker = worker;
    for (guint i = 0; i < N_SLOTS; i++)
        session->commands[i].from = worker;
    list_append(&worker->arriving, &session->link);
    local_attach(&worker->local[session->lu]);
    if (worker->local[session->lu].state == LU_ATTACHED)
        session_is_attached(session);
}

void
on_lu_attached(Message *message)
{
    LocalLu *local = list_entry(message, LocalLu, message);

    sim_jitter(local->worker);
    local->state = LU_ATTACHED;
    take_view(local, g_steal_pointer(&local->given_view));
    local->ua_generation = local->given_ua_generation;
    local->abort_generation = local->given_abort_generation;
    local->resetting = local->given_resetting;

    list_foreach_safe(link, &local->worker->arriving) {
        Session *session = list_entry(link, Session, link);

        if (session->lu == local->index)
            session_is_attached(session);
    }
}

void
on_lu_detached(Message *message)
{
    LocalLu *local = list_entry(message, LocalLu, message);

    sim_jitter(local->worker);
    g_assert_true(list_is_empty(&local->parked));
    g_assert_true(list_is_empty(&local->in_flight));
    answer_home(local); /* what came in this very turn; nothing here can hold it up */
    g_assert_null(local->change);
    g_assert_null(local->abort);
    take_view(local, NULL);
    local->state = LU_DETACHED;
    if (local->n_users > 0)
        ask_home(local, LU_ATTACHING);
    deferred_run(&local->worker->check, &local->worker->worker->loop);
}

/* Answers to commands */

void
on_atomic_done(Message *message)
{
    Command *command = list_entry(message, Command, message);
    LocalLu *local = &command->from->local[command->lu];

    sim_jitter(local->worker);
    g_assert_cmpint(command->state, ==, COMMAND_AT_HOME);
    list_unlink(&command->link);
    changed(local);
    command_finish(command, command->aborted ? OUTCOME_ABORTED : command->outcome);
}

void
on_lu_managed(Message *message)
{
    Command *command = list_entry(message, Command, message);

    sim_jitter(command->from);
    g_assert_cmpint(command->state, ==, COMMAND_MANAGING);
    command_finish(command, command->aborted ? OUTCOME_ABORTED : command->outcome);
}

void
local_init(LocalLu *local, SimWorker *worker, guint index)
{
    *local = (LocalLu){ .worker = worker, .index = index };
    list_init(&local->parked);
    list_init(&local->in_flight);
    list_init(&local->locks);
    list_init(&local->home_link);
    deferred_init(&local->check, on_check);
}

void
local_deinit(LocalLu *local)
{
    g_assert_cmpint(local->state, ==, LU_DETACHED);
    g_assert_true(list_is_empty(&local->locks));
    g_assert_null(local->view);
}
