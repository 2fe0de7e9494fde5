/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The home's side of a logical unit
 *
 * Three kinds of work, which wait for each other in one direction only:
 *
 * - atomic commands: queued behind overlapping ones that came first, then
 *   RANGE_LOCK to all members, execution from a reserved buffer, RANGE_UNLOCK;
 * - management (reset, preempt, clear): one after the other; never in the way
 *   of an atomic command, because members answer LU_CHANGE and ABORT_TASKS
 *   only after their atomic commands have come back;
 * - members that come and go: a new member is told of everything that begins
 *   from now on at once, and is let in when the atomic commands that began
 *   without it have ended.
 *
 * A request that was sent before its sender heard of the last reset carries an
 * older generation and is answered as aborted.
 */

#include "sim.h"

static void
on_view_free(Snapshot *snapshot)
{
    g_free(snapshot);
}

static LuView *
view_new(gint holder)
{
    LuView *view = g_new0(LuView, 1);

    snapshot_init(&view->snapshot, on_view_free);
    view->holder = holder;
    return view;
}

static SimWorker *
peer(HomeLu *home, guint i)
{
    return &home->worker->sim->workers[i];
}

/* Atomic commands */

static void
answer_atomic(HomeLu *home, Command *command, Outcome outcome)
{
    command->outcome = outcome;
    sim_reply(home->worker, command->from, MSG_RUN_ATOMIC, &command->message, on_atomic_done);
}

static gboolean
op_holds(const HomeOp *op)
{
    return op->state == OP_LOCKING || op->state == OP_EXECUTING;
}

static void
answer_attaches(HomeLu *home)
{
    list_foreach_safe(link, &home->attaches) {
        LocalLu *local = list_entry(link, LocalLu, home_link);
        gboolean waits = FALSE;

        for (guint i = 0; i < N_HOME_OPS; i++)
            waits = waits || (op_holds(&home->ops[i]) && home->ops[i].serial <= local->ops_before);
        if (waits)
            continue;

        list_unlink(link);
        (void)snapshot_ref(&home->view->snapshot);
        local->given_view = home->view;
        local->given_ua_generation = home->ua_generation;
        local->given_abort_generation = home->abort_generation;
        local->given_resetting = home->resetting;
        sim_reply(home->worker, local->worker, MSG_ATTACH_LU, &local->message, on_lu_attached);
    }
}

static void start_atomics(HomeLu *home);

static void
op_release(HomeOp *op, Outcome outcome)
{
    HomeLu *home = op->home;

    op->state = OP_UNLOCKING;
    op->n_waiting = 0;
    for (guint i = 0; i < N_WORKERS; i++) {
        RangeLock *lock = &op->locks[i];

        if (lock->worker == NULL)
            continue;
        op->n_waiting++;
        sim_request(home->worker, lock->worker, MSG_RANGE_UNLOCK, &lock->message, on_range_unlock);
    }
    if (op->n_waiting == 0)
        op->state = OP_FREE;

    pool_give(home->worker->worker->pool, g_steal_pointer(&op->buffer));
    answer_atomic(home, g_steal_pointer(&op->command), outcome);
    answer_attaches(home);
    start_atomics(home);
}

static void
on_executed(Timer *timer)
{
    HomeOp *op = list_entry(timer, HomeOp, timer);

    medium_end_exclusive(&op->home->worker->sim->medium, op);
    op_release(op, OUTCOME_GOOD);
}

/* Mostly short; sometimes long enough for a session to arrive meanwhile */
static gint64
execution_usec(HomeLu *home)
{
    GRand *rand = home->worker->rand;

    return g_rand_int_range(rand, 0, g_rand_int_range(rand, 0, 8) == 0 ? 20000 : 1000);
}

static void
op_execute(HomeOp *op)
{
    HomeLu *home = op->home;
    Command *command = op->command;
    Worker *worker = home->worker->worker;

    if (command->abort_generation != home->abort_generation) {
        op_release(op, OUTCOME_ABORTED);
    } else if (home->view->holder != NO_HOLDER && home->view->holder != (gint)command->nexus) {
        op_release(op, OUTCOME_CONFLICT);
    } else {
        op->state = OP_EXECUTING;
        medium_begin_exclusive(&home->worker->sim->medium, op);
        timer_set(&op->timer, &worker->loop, worker_now(worker) + execution_usec(home));
    }
}

void
on_range_locked(Message *message)
{
    HomeOp *op = list_entry(message, RangeLock, message)->op;

    sim_jitter(op->home->worker);
    if (--op->n_waiting == 0)
        op_execute(op);
}

void
on_range_unlocked(Message *message)
{
    HomeOp *op = list_entry(message, RangeLock, message)->op;

    sim_jitter(op->home->worker);
    if (--op->n_waiting > 0)
        return;

    op->state = OP_FREE;
    start_atomics(op->home);
    deferred_run(&op->home->worker->check, &op->home->worker->worker->loop);
}

static void
op_start(HomeOp *op, Command *command)
{
    HomeLu *home = op->home;

    op->state = OP_LOCKING;
    op->command = command;
    op->serial = ++home->op_serial;
    op->first = command->first;
    op->n = command->n;
    op->n_waiting = 0;

    /* What must never wait has its own memory */
    op->buffer = pool_take_reserved(home->worker->worker->pool, ATOMIC_BUFFER);
    g_assert_nonnull(op->buffer);

    for (guint i = 0; i < N_WORKERS; i++) {
        RangeLock *lock = &op->locks[i];

        lock->worker = home->member[i] ? peer(home, i) : NULL;
        if (lock->worker == NULL)
            continue;
        lock->first = op->first;
        lock->n = op->n;
        lock->answered = FALSE;
        op->n_waiting++;
        sim_request(home->worker, lock->worker, MSG_RANGE_LOCK, &lock->message, on_range_lock);
    }
    g_assert_cmpuint(op->n_waiting, >, 0); /* who sent the command is a member */
}

static gboolean
must_queue(HomeLu *home, const Command *command)
{
    for (guint i = 0; i < N_HOME_OPS; i++) {
        const HomeOp *op = &home->ops[i];

        if (op_holds(op) && ranges_overlap(op->first, op->n, command->first, command->n))
            return TRUE;
    }
    list_foreach(link, &home->atomics) {
        const Command *before = list_entry(link, Command, home_link);

        if (before == command)
            return FALSE;
        if (ranges_overlap(before->first, before->n, command->first, command->n))
            return TRUE;
    }
    return FALSE;
}

static HomeOp *
find_free_op(HomeLu *home)
{
    for (guint i = 0; i < N_HOME_OPS; i++) {
        if (home->ops[i].state == OP_FREE)
            return &home->ops[i];
    }
    return NULL;
}

/* First come, first served, where ranges overlap */
static void
start_atomics(HomeLu *home)
{
    list_foreach_safe(link, &home->atomics) {
        Command *command = list_entry(link, Command, home_link);
        HomeOp *op = find_free_op(home);

        if (command->abort_generation != home->abort_generation) {
            list_unlink(link);
            answer_atomic(home, command, OUTCOME_ABORTED);
        } else if (op != NULL && !must_queue(home, command)) {
            list_unlink(link);
            op_start(op, command);
        }
    }
}

void
on_run_atomic(Message *message)
{
    Command *command = list_entry(message, Command, message);
    HomeLu *home = home_of(command->from, command->lu);

    sim_jitter(home->worker);
    list_append(&home->atomics, &command->home_link);
    start_atomics(home);
}

/* Management */

static void start_management(HomeLu *home);

static void
answer_management(HomeLu *home, Outcome outcome)
{
    Command *command = g_steal_pointer(&home->managing);

    command->outcome = outcome;
    sim_reply(home->worker, command->from, MSG_MANAGE_LU, &command->message, on_lu_managed);
    start_management(home);
}

/* To all who are members now */
static void
broadcast(HomeLu *home, MessageKind kind, MessageFn fn, guint generation)
{
    home->n_waiting = 0;
    for (guint i = 0; i < N_WORKERS; i++) {
        Notice *notice = &home->notices[i];

        if (!home->member[i])
            continue;
        home->n_waiting++;
        notice->worker = peer(home, i);
        notice->generation = generation;
        notice->view = NULL;
        if (kind == MSG_LU_CHANGE) {
            (void)snapshot_ref(&home->view->snapshot);
            notice->view = home->view;
        }
        sim_request(home->worker, notice->worker, kind, &notice->message, fn);
    }
}

static void
finish_change(HomeLu *home)
{
    medium_enforce(&home->worker->sim->medium, home->index, home->view->holder);
    answer_management(home, OUTCOME_GOOD);
}

void
on_lu_changed(Message *message)
{
    HomeLu *home = list_entry(message, Notice, message)->home;

    sim_jitter(home->worker);
    if (--home->n_waiting == 0)
        finish_change(home);
}

static void
start_change(HomeLu *home, gint holder)
{
    medium_check_effect(&home->worker->sim->medium, home->managing);
    medium_enforce(&home->worker->sim->medium, home->index, NO_HOLDER);

    snapshot_unref(&home->view->snapshot);
    home->view = view_new(holder);
    broadcast(home, MSG_LU_CHANGE, on_lu_change, 0);
    if (home->n_waiting == 0)
        finish_change(home);
}

void
on_ua_raised(Message *message)
{
    HomeLu *home = list_entry(message, Notice, message)->home;

    sim_jitter(home->worker);
    if (--home->n_waiting == 0)
        answer_management(home, OUTCOME_GOOD);
}

static void
finish_abort(HomeLu *home)
{
    medium_bury(&home->worker->sim->medium, home->index, home->reset_birth);
    home->resetting = FALSE;
    broadcast(home, MSG_RAISE_UA, on_raise_ua, ++home->ua_generation);
    if (home->n_waiting == 0)
        answer_management(home, OUTCOME_GOOD);
}

void
on_tasks_aborted(Message *message)
{
    HomeLu *home = list_entry(message, Notice, message)->home;

    sim_jitter(home->worker);
    if (--home->n_waiting == 0)
        finish_abort(home);
}

static void
start_reset(HomeLu *home)
{
    home->reset_birth = medium_births(&home->worker->sim->medium);
    home->resetting = TRUE;
    home->abort_generation++;
    start_atomics(home); /* those that queue end here */
    broadcast(home, MSG_ABORT_TASKS, on_abort_tasks, home->abort_generation);
    if (home->n_waiting == 0)
        finish_abort(home);
}

static void
start_management(HomeLu *home)
{
    ListLink *link;

    if (home->managing != NULL || (link = list_pop(&home->manage)) == NULL)
        return;

    home->managing = list_entry(link, Command, home_link);
    if (home->managing->kind == COMMAND_RESET)
        start_reset(home);
    else if (home->managing->abort_generation != home->abort_generation)
        answer_management(home, OUTCOME_ABORTED);
    else if (home->managing->kind == COMMAND_PREEMPT)
        start_change(home, (gint)home->managing->nexus);
    else
        start_change(home, NO_HOLDER);
}

void
on_manage_lu(Message *message)
{
    Command *command = list_entry(message, Command, message);
    HomeLu *home = home_of(command->from, command->lu);

    sim_jitter(home->worker);
    list_append(&home->manage, &command->home_link);
    start_management(home);
}

/* Members */

void
on_attach_lu(Message *message)
{
    LocalLu *local = list_entry(message, LocalLu, message);
    HomeLu *home = home_of(local->worker, local->index);

    sim_jitter(home->worker);
    g_assert_false(home->member[local->worker->index]);
    home->member[local->worker->index] = TRUE;
    local->ops_before = home->op_serial;
    list_append(&home->attaches, &local->home_link);
    answer_attaches(home);
}

void
on_detach_lu(Message *message)
{
    LocalLu *local = list_entry(message, LocalLu, message);
    HomeLu *home = home_of(local->worker, local->index);

    sim_jitter(home->worker);
    g_assert_true(home->member[local->worker->index]);
    home->member[local->worker->index] = FALSE;
    sim_reply(home->worker, local->worker, MSG_DETACH_LU, &local->message, on_lu_detached);
}

void
home_init(HomeLu *home, SimWorker *worker, guint index)
{
    *home = (HomeLu){ .worker = worker, .index = index, .view = view_new(NO_HOLDER) };
    list_init(&home->atomics);
    list_init(&home->manage);
    list_init(&home->attaches);
    for (guint i = 0; i < N_WORKERS; i++)
        home->notices[i].home = home;
    for (guint i = 0; i < N_HOME_OPS; i++) {
        home->ops[i].home = home;
        timer_init(&home->ops[i].timer, on_executed);
        for (guint j = 0; j < N_WORKERS; j++) {
            home->ops[i].locks[j].op = &home->ops[i];
            list_init(&home->ops[i].locks[j].link);
        }
    }
}

gboolean
home_is_quiet(const HomeLu *home)
{
    for (guint i = 0; i < N_HOME_OPS; i++) {
        if (home->ops[i].state != OP_FREE)
            return FALSE;
    }
    return home->managing == NULL && list_is_empty(&home->atomics) &&
           list_is_empty(&home->manage) && list_is_empty(&home->attaches);
}

void
home_deinit(HomeLu *home)
{
    g_assert_true(home_is_quiet(home));
    snapshot_unref(&home->view->snapshot);
}
