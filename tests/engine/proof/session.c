/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Sessions and their commands
 *
 * A session thinks up commands by its timer and runs them on its worker. A
 * command passes the same stations as a real one: a buffer, the gates, the
 * range locks, the medium. Whenever it had to wait it starts again at the
 * first station, so that no gate's answer survives a return to the loop.
 */

#include "sim.h"

/* In the offload pool: what took a thread */
static void
on_offload_run(OffloadJob *job)
{
    Command *command = list_entry(job, Command, job);
    Medium *medium = &command->from->sim->medium;

    medium_begin(medium, command);
    g_usleep(command->birth % 7 * 50);
    medium_end(medium, command);
}

static void
io_finish(Command *command)
{
    LocalLu *local = &command->from->local[command->lu];

    list_unlink(&command->link);
    deferred_run(&local->check, &local->worker->worker->loop);
    command_finish(command, command->aborted ? OUTCOME_ABORTED : OUTCOME_GOOD);
}

static void
on_offload_done(OffloadJob *job)
{
    io_finish(list_entry(job, Command, job));
}

static void
on_io_timer(Timer *timer)
{
    Command *command = list_entry(timer, Command, timer);

    medium_end(&command->from->sim->medium, command);
    io_finish(command);
}

static void
io_start(Command *command)
{
    SimWorker *worker = command->from;

    command->state = COMMAND_IO;
    list_append(&worker->local[command->lu].in_flight, &command->link);

    if (g_rand_int_range(worker->rand, 0, 10) < 3) {
        command->job.home = &worker->worker->inbox;
        command->job.run = on_offload_run;
        command->job.done = on_offload_done;
        offload_submit(worker->queue, &command->job);
    } else {
        medium_begin(&worker->sim->medium, command);
        timer_set(&command->timer, &worker->worker->loop,
                  worker_now(worker->worker) + g_rand_int_range(worker->rand, 0, 3000));
    }
}

static void
ask_home(Command *command, MessageKind kind, CommandState state, MessageFn fn)
{
    SimWorker *worker = command->from;

    command->state = state;
    command->abort_generation = worker->local[command->lu].abort_generation;
    sim_request(worker, worker->sim->homes[command->lu].worker, kind, &command->message, fn);
}

static void
on_buffer(PoolWaiter *waiter, void *buffer)
{
    Command *command = list_entry(waiter, Command, waiter);

    command->buffer = buffer;
    command_resume(command);
}

/* FALSE when it has to wait */
static gboolean
get_buffer(Command *command)
{
    Pool *pool = command->from->worker->pool;

    if (command->size == 0 || command->buffer != NULL)
        return TRUE;

    command->buffer = pool_take(pool, command->size);
    if (command->buffer != NULL)
        return TRUE;

    command->state = COMMAND_POOL;
    command->from->n_pool_waits++;
    pool_wait(pool, &command->waiter, command->size);
    return FALSE;
}

static gboolean
is_medium_write(const Command *command)
{
    return command->kind == COMMAND_WRITE || command->kind == COMMAND_ATOMIC;
}

static void
run_past_gates(Command *command)
{
    LocalLu *local = &command->from->local[command->lu];

    switch (command->kind) {
    case COMMAND_WRITE:
        if (local_is_locked(local, command->first, command->n))
            local_park(local, command);
        else
            io_start(command);
        break;
    case COMMAND_READ:
        io_start(command);
        break;
    case COMMAND_ATOMIC:
        list_append(&local->in_flight, &command->link);
        ask_home(command, MSG_RUN_ATOMIC, COMMAND_AT_HOME, on_run_atomic);
        break;
    case COMMAND_PREEMPT:
    case COMMAND_CLEAR:
    case COMMAND_RESET:
        ask_home(command, MSG_MANAGE_LU, COMMAND_MANAGING, on_manage_lu);
        break;
    }
}

void
command_resume(Command *command)
{
    Session *session = command->session;
    LocalLu *local = &command->from->local[command->lu];
    gint holder = local->view->holder;

    if (command->kind == COMMAND_RESET) {
        run_past_gates(command);
    } else if (local->resetting) {
        local_park(local, command);
    } else if (!get_buffer(command)) {
        return;
    } else if (session->ua_pending) {
        session->ua_pending = FALSE;
        command_finish(command, OUTCOME_UNIT_ATTENTION);
    } else if (is_medium_write(command) && holder != NO_HOLDER && holder != (gint)session->nexus) {
        command_finish(command, OUTCOME_CONFLICT);
    } else {
        run_past_gates(command);
    }
}

void
command_finish(Command *command, Outcome outcome)
{
    Session *session = command->session;
    SimWorker *worker = command->from;
    void *buffer = g_steal_pointer(&command->buffer);

    g_assert_cmpint(command->state, !=, COMMAND_FREE);
    g_assert_false(list_is_linked(&command->link));
    command->state = COMMAND_FREE;
    session->n_outstanding--;

    worker->n_ended[outcome]++;
    if (outcome == OUTCOME_GOOD && command->kind == COMMAND_WRITE)
        worker->n_done_of[session->nexus]++;

    deferred_run(&session->check, &worker->worker->loop);
    deferred_run(&worker->check, &worker->worker->loop);
    pool_give(worker->worker->pool, buffer); /* last: others may run from inside */
}

/* What has not been submitted ends at once, the rest is waited for */
void
command_abort(Command *command)
{
    switch (command->state) {
    case COMMAND_FREE:
        break;
    case COMMAND_BACKLOG:
    case COMMAND_PARKED:
        list_unlink(&command->link);
        command_finish(command, OUTCOME_ABORTED);
        break;
    case COMMAND_POOL:
        /* Others run from inside; this one must look ended by then */
        command->state = COMMAND_BACKLOG;
        pool_wait_cancel(command->from->worker->pool, &command->waiter);
        command_finish(command, OUTCOME_ABORTED);
        break;
    case COMMAND_IO:
    case COMMAND_AT_HOME:
    case COMMAND_MANAGING:
        command->aborted = TRUE;
        break;
    }
}

static CommandKind
think_of_kind(GRand *rand)
{
    gint dice = g_rand_int_range(rand, 0, 1000);

    if (dice < 650)
        return COMMAND_WRITE;
    if (dice < 750)
        return COMMAND_READ;
    if (dice < 960)
        return COMMAND_ATOMIC;
    if (dice < 970)
        return COMMAND_PREEMPT;
    return dice < 994 ? COMMAND_CLEAR : COMMAND_RESET;
}

static void
command_issue(Session *session, Command *command)
{
    SimWorker *worker = session->worker;
    GRand *rand = worker->rand;

    command->kind = think_of_kind(rand);
    command->aborted = FALSE;
    command->lu = session->lu;
    command->n = (guint)g_rand_int_range(rand, 1, 16);
    command->first = (guint)g_rand_int_range(rand, 0, (gint)(N_BLOCKS - command->n));
    command->birth = medium_birth(&worker->sim->medium);
    command->from = worker;
    command->size = 0;
    if (command->kind == COMMAND_WRITE || command->kind == COMMAND_READ)
        command->size = g_rand_boolean(rand) ? POOL_BUFFER_MAX : POOL_BUFFER_MAX / 16;

    session->n_outstanding++;
    worker->n_born++;
    command->state = COMMAND_BACKLOG;
    if (!session->blocked)
        command_resume(command);
}

static void
think_later(Session *session)
{
    SimWorker *worker = session->worker;

    timer_set(&session->think, &worker->worker->loop,
              worker_now(worker->worker) + g_rand_int_range(worker->rand, 0, 20000));
}

static void
on_think(Timer *timer)
{
    Session *session = list_entry(timer, Session, think);

    if (session->worker->stopping || session->ending)
        return;

    for (guint i = 0; i < N_SLOTS; i++) {
        if (session->commands[i].state == COMMAND_FREE) {
            command_issue(session, &session->commands[i]);
            break;
        }
    }
    think_later(session);
}

static void
on_check(Deferred *deferred)
{
    Session *session = list_entry(deferred, Session, check);
    guint n_running = 0;

    for (guint i = 0; i < N_SLOTS; i++) {
        CommandState state = session->commands[i].state;

        n_running += state != COMMAND_FREE && state != COMMAND_BACKLOG ? 1 : 0;
    }
    if (n_running == 0)
        session_is_idle(session);
}

Session *
session_new(SimWorker *worker, guint nexus, guint incarnation)
{
    Session *session = g_new0(Session, 1);

    session->worker = worker;
    session->nexus = nexus;
    session->incarnation = incarnation;
    session->lu = nexus % N_LUS;
    session->blocked = TRUE;
    session->is_new = TRUE;
    list_init(&session->link);
    timer_init(&session->think, on_think);
    deferred_init(&session->check, on_check);
    for (guint i = 0; i < N_SLOTS; i++) {
        Command *command = &session->commands[i];

        command->session = session;
        command->nexus = nexus;
        command->incarnation = incarnation;
        pool_waiter_init(&command->waiter, on_buffer);
        list_init(&command->link);
        list_init(&command->home_link);
        list_init(&command->job.link);
        timer_init(&command->timer, on_io_timer);
    }
    return session;
}

void
session_free(Session *session)
{
    g_assert_cmpuint(session->n_outstanding, ==, 0);
    for (guint i = 0; i < N_SLOTS; i++) {
        g_assert_cmpint(session->commands[i].state, ==, COMMAND_FREE);
        g_assert_null(session->commands[i].buffer);
    }
    g_assert_false(list_is_linked(&session->link));
    g_free(session);
}

Session *
session_find(SimWorker *worker, guint nexus, guint incarnation)
{
    list_foreach(link, &worker->sessions) {
        Session *session = list_entry(link, Session, link);

        if (session->nexus == nexus && session->incarnation == incarnation)
            return session;
    }
    g_assert_not_reached();
}

void
session_start(Session *session)
{
    session->blocked = FALSE;
    think_later(session);
    for (guint i = 0; i < N_SLOTS; i++) {
        if (session->commands[i].state == COMMAND_BACKLOG)
            command_resume(&session->commands[i]);
    }
}

void
session_stop(Session *session)
{
    session->ending = TRUE;
    timer_cancel(&session->think);
    for (guint i = 0; i < N_SLOTS; i++)
        command_abort(&session->commands[i]);
    deferred_run(&session->check, &session->worker->worker->loop);
}

void
session_leave(Session *session)
{
    SimWorker *worker = session->worker;

    list_unlink(&session->link);
    timer_cancel(&session->think);
    deferred_cancel(&session->check);
    local_release(&worker->local[session->lu]);
    deferred_run(&worker->check, &worker->worker->loop);
}
