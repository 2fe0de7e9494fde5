/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Slots of a session
 *
 * Its tasks are one array, mapped memory whose pages cost nothing before a
 * command has touched them; the slot given back last is taken first. A slot is
 * charged to a class, found by its task tag, and goes back when nothing refers
 * to the task any more. The window follows: see session.c.
 */

#include "iscsi/session.h"

#include <string.h>

#include "iscsi/async.h"
#include "iscsi/discovery.h"
#include "iscsi/logout.h"
#include "iscsi/server.h"

/* Task tags */

static Task **
bucket_of(Session *session, guint32 itt)
{
    return &session->buckets[itt * 2654435761u >> 24];
}

Task *
session_find_task(const Session *session, guint32 itt)
{
    Task *task = session->buckets[itt * 2654435761u >> 24];

    while (task != NULL && task->itt != itt)
        task = task->hash_next;
    return task;
}

static void
hash_add(Session *session, Task *task)
{
    Task **bucket = bucket_of(session, task->itt);

    task->hash_next = *bucket;
    *bucket = task;
    task->is_hashed = TRUE;
}

static void
hash_remove(Session *session, Task *task)
{
    Task **place = bucket_of(session, task->itt);

    if (!task->is_hashed)
        return;
    while (*place != task)
        place = &(*place)->hash_next;
    *place = task->hash_next;
    task->is_hashed = FALSE;
}

/* Slots */

static gboolean
class_has_room(const Session *session, TaskClass class)
{
    switch (class) {
    case TASK_CLASS_WINDOW:
        return session->n_class[class] < session->depth;
    case TASK_CLASS_IMMEDIATE:
        return session->n_class[class] < TASKS_IMMEDIATE;
    case TASK_CLASS_RESERVE:
        return session->n_class[class] < TASKS_RESERVE;
    case TASK_CLASS_REJECT:
        return session->n_class[class] < TASKS_REJECT;
    case TASK_CLASS_N:
        break;
    }
    g_assert_not_reached();
}

static Task *
take_slot(Session *session)
{
    ListLink *link = list_pop(&session->free_tasks);

    if (link != NULL)
        return list_entry(link, Task, link);
    if (session->n_touched < session->n_tasks)
        return &session->tasks[session->n_touched++];
    return NULL;
}

static void
init_command(TaskCommand *part)
{
    /* The request to the store is filled by who makes it; the R2Ts when they are asked for */
    memset(&part->scsi, 0, G_STRUCT_OFFSET(ScsiCommand, io));
    memset((char *)part + sizeof(part->scsi), 0,
           G_STRUCT_OFFSET(TaskCommand, out.r2ts) - sizeof(part->scsi));
    memset(&part->in, 0, sizeof(part->in));
    part->bidirectional_length = 0;
}

/* Let the window grow while it is used and there is memory for what may come */
static void
grow(Session *session)
{
    const Pool *pool = session->server->worker->pool;

    if (session->limit >= session->depth ||
        session->n_class[TASK_CLASS_WINDOW] * 2 < session->limit ||
        pool_available(pool) < session->grow_min)
        return;

    session->limit = MIN(session->limit * 2, session->depth);
    session_update_window(session);
}

Task *
session_take_task(Session *session, Connection *connection, TaskKind kind, TaskClass class,
                  const guint8 *bhs)
{
    Task *task;

    if (!class_has_room(session, class) || (task = take_slot(session)) == NULL)
        return NULL;

    list_init(&task->link);
    list_init(&task->out_link);
    list_init(&task->kept_link);
    task->session = session;
    task->connection = connection;
    task->kind = kind;
    task->class = class;
    task->itt = pdu_itt(bhs);
    task->cmd_sn = pdu_cmd_sn(bhs);
    task->n_slots = 0;
    task->is_used = TRUE;
    task->is_active = TRUE;
    task->is_immediate = pdu_is_immediate(bhs);
    task->is_delivered = FALSE;
    task->is_aborted = FALSE;
    task->has_answered = FALSE;
    task->is_released_early = FALSE;
    task->is_numbered = FALSE;
    task->is_kept = FALSE;
    task->is_extra = FALSE;
    task->is_fenced = FALSE;
    task->is_resending = FALSE;
    task->is_passing = FALSE;
    task->resends_answer = FALSE;
    task->is_suspended = FALSE;
    task->is_managing = FALSE;
    task->tmf_information = 0;
    task->is_cold_reset = FALSE;
    task->is_nexus_reset = FALSE;
    memcpy(task->bhs, bhs, PDU_BHS_SIZE);
    task->pace = (Pace){ 0 };

    if (kind == TASK_COMMAND) {
        init_command(&task->command);
    } else if (kind == TASK_NOP) {
        task->nop.data = NULL;
        task->nop.size = 0;
    }

    session->n_used++;
    session->n_class[class]++;
    if (kind != TASK_REJECT && kind != TASK_ASYNC)
        hash_add(session, task);
    if (class == TASK_CLASS_WINDOW)
        grow(session);
    return task;
}

void
session_forget_tag(Session *session, Task *task)
{
    hash_remove(session, task);
}

void
session_release_place(Session *session, Task *task)
{
    if (task->is_released_early)
        return;

    task->is_released_early = TRUE;
    session->n_class[task->class]--;
    if (task->class == TASK_CLASS_WINDOW)
        session_update_window(session);
}

void
session_release_window(Session *session, Task *task)
{
    session_release_place(session, task);
    /* The answer is made; the initiator may use the tag again when it has it */
    hash_remove(session, task);
}

static void
give_command(Session *session, Task *task)
{
    TaskCommand *part = &task->command;

    pool_give(session->server->worker->pool, part->early_data);
    part->early_data = NULL;
    if (part->is_done && !part->is_ended) {
        part->is_ended = TRUE;
        scsi_command_end(&part->scsi);
    }
    session->reserved -= part->reserved;
    part->reserved = 0;
    if (part->charge != 0)
        task_command_discharge(task);
}

static void
give_nop(Session *session, Task *task)
{
    session->reserved -= task->nop.size;
    pool_give(session->server->worker->pool, task->nop.data);
}

/* The answer of an exchange of text has left */
static void
give_text(Task *task)
{
    Connection *connection = task->connection;

    if (connection == NULL || connection->text == NULL)
        return;

    connection->text->is_busy = FALSE;
    if (connection->text->has_ended) {
        g_free(connection->text);
        connection->text = NULL;
        async_text_ended(connection);
    } else {
        async_request_negotiation(connection);
    }
}

void
session_give_task(Session *session, Task *task)
{
    g_assert(task->is_used && task->n_slots == 0);

    list_unlink(&task->link);
    if (task->connection != NULL)
        rx_forget(task->connection, task);
    if (task->kind == TASK_COMMAND)
        give_command(session, task);
    else if (task->kind == TASK_NOP)
        give_nop(session, task);
    else if (task->kind == TASK_TEXT)
        give_text(task);
    else if (task->is_cold_reset)
        server_post_cold_reset(session->server, session);
    else if (task->is_nexus_reset)
        session_reset(session);

    session_release_window(session, task);
    session->n_extra -= task->is_extra ? 1 : 0;
    if (task->kind == TASK_LOGOUT)
        logout_given(task);
    task->is_used = FALSE;
    session->n_used--;
    list_prepend(&session->free_tasks, &task->link);

    if (session->is_closing || session->logout != NULL) {
        session_check(session);
        return;
    }
    if (session->n_awaited != 0)
        deferred_run(&session->review, &session->server->worker->loop);
    session_run_waiting(session);
}

static void
run_line(SessionLine *line)
{
    ListLink *link;

    while ((link = list_first(&line->waiting)) != NULL) {
        Task *task = list_entry(link, Task, link);

        if (!task_command_has_room(task))
            return;
        list_unlink(link);
        task_command_run(task);
    }
}

void
session_run_waiting(Session *session)
{
    for (guint i = 0; i < SESSION_LINE_N; i++)
        run_line(&session->lines[i]);
}
