/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Task management requests
 *
 * What this file adds to scsi/tmf.h is the part of the rules that knows of
 * CmdSN: commands that have arrived but whose turn has not come are ended here
 * at once; ABORT TASK of a command that never came marks its CmdSN as received
 * (RFC 7143 11.5 and 11.6.1); functions on several tasks wait until every
 * command sent before them has come (RFC 7143 4.2.3.3), and do not concern what
 * was sent after them. The functions of RFC 7144 are there for sessions that
 * have negotiated its protocol level; for others they do not exist.
 *
 * The answer to such a function also waits until all R2Ts of what it has ended on
 * its own session have been answered (4.2.3.3, a). These tasks stay as they are,
 * silent, and what comes for them is thrown away. Not longer than DATA_WAIT_USEC:
 * Linux does not send such data unless told to (FastAbort = No in iscsid.conf,
 * which is not what this key of the RFC means), and it is not the only one. With
 * FastAbort (4.2.3.4) nothing is waited for, and with ABORT TASK neither, which is
 * no function on several tasks: what comes then is thrown away since its task is
 * not known any more. The other tags that a target gives away are not of SCSI
 * tasks, or need no answer (DataACK, 11.16.2).
 *
 * The answers of functions that end several tasks are fenced (fence.c).
 */

#include "iscsi/manage.h"

#include "iscsi/async.h"
#include "iscsi/connection.h"
#include "iscsi/fence.h"
#include "iscsi/reassign.h"
#include "iscsi/server.h"
#include "iscsi/session.h"
#include "iscsi/tx.h"

/* How long data is waited for that tasks were asked for before they were ended */
#define DATA_WAIT_USEC (2 * USEC_PER_SEC)

typedef struct {
    guint8 function; /* PduTmf */
    TmfFunction scsi;
    gboolean is_single; /* concerns one task */
    gboolean is_target; /* concerns all logical units */
    guint8 level;       /* least iSCSIProtocolLevel */
    const char *name;
} ManageRow;

/* clang-format off */
static const ManageRow rows[] = {
    { PDU_TMF_ABORT_TASK,         TMF_ABORT_TASK,         TRUE,  FALSE, 0, "ABORT TASK" },
    { PDU_TMF_ABORT_TASK_SET,     TMF_ABORT_TASK_SET,     FALSE, FALSE, 0, "ABORT TASK SET" },
    { PDU_TMF_CLEAR_ACA,          TMF_CLEAR_ACA,          TRUE,  FALSE, 0, "CLEAR ACA" },
    { PDU_TMF_CLEAR_TASK_SET,     TMF_CLEAR_TASK_SET,     FALSE, FALSE, 0, "CLEAR TASK SET" },
    { PDU_TMF_LOGICAL_UNIT_RESET, TMF_LOGICAL_UNIT_RESET, FALSE, FALSE, 0, "LOGICAL UNIT RESET" },
    { PDU_TMF_TARGET_WARM_RESET,  TMF_TARGET_WARM_RESET,  FALSE, TRUE,  1, "TARGET WARM RESET" },
    { PDU_TMF_TARGET_COLD_RESET,  TMF_TARGET_COLD_RESET,  FALSE, TRUE,  1, "TARGET COLD RESET" },
    { PDU_TMF_QUERY_TASK,         TMF_QUERY_TASK,         TRUE,  FALSE, 2, "QUERY TASK" },
    { PDU_TMF_QUERY_TASK_SET,     TMF_QUERY_TASK_SET,     FALSE, FALSE, 2, "QUERY TASK SET" },
    { PDU_TMF_I_T_NEXUS_RESET,    TMF_I_T_NEXUS_RESET,    FALSE, TRUE,  2, "I_T NEXUS RESET" },
    { PDU_TMF_QUERY_ASYNC_EVENT,  TMF_QUERY_ASYNC_EVENT,  TRUE,  FALSE, 2, "QUERY ASYNCHRONOUS EVENT" },
};
/* clang-format on */

static const ManageRow *
find_row(guint8 function)
{
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].function == function)
            return &rows[i];
    }
    return NULL;
}

static gboolean
is_query(const ManageRow *row)
{
    return row->scsi == TMF_QUERY_TASK || row->scsi == TMF_QUERY_TASK_SET ||
           row->scsi == TMF_QUERY_ASYNC_EVENT;
}

/* Whether it is a function on several tasks that ends them */
static gboolean
ends_many(const ManageRow *row)
{
    return row != NULL && !row->is_single && !is_query(row);
}

/* RFC 7143 4.2.3.2, of the same session: what was sent before @task */
static gboolean
covers(const Task *task, const ManageRow *row, const Task *other)
{
    return (other->is_immediate || pdu_sn_less(other->cmd_sn, task->cmd_sn)) &&
           (row->is_target || pdu_lun(other->bhs) == pdu_lun(task->bhs));
}

/* A command that scsi has given back but that has not said so: it says nothing any more */
static gboolean
is_mute(const Task *other)
{
    return other->is_used && other->kind == TASK_COMMAND && other->command.is_done &&
           (other->command.out.is_draining || other->is_suspended);
}

static void
end_mute(Task *other)
{
    other->is_aborted = TRUE;
    other->command.out.is_draining = FALSE;
    task_finish(other);
}

/*
 * RFC 7143 11.5.1: behind the answer there are none of tasks that it covers. What is queued goes
 * before it. What waits for data of the initiator, since another nexus has ended it, or for another
 * connection, is ended. If the function was not carried out that is only what says nothing anyway.
 */
static void
end_covered(const Task *task, const ManageRow *row)
{
    const Session *session = task->session;
    gboolean is_complete = task->tmf_response == PDU_TMF_RESPONSE_COMPLETE;

    for (guint i = 0; i < session->n_touched; i++) {
        Task *other = &session->tasks[i];

        if (is_mute(other) && (is_complete || other->command.out.is_silent) &&
            covers(task, row, other))
            end_mute(other);
    }
}

/* While the session logs out there is no fence any more: see fence_lift() */
static void
answer_many(Task *task, const ManageRow *row)
{
    const Session *session = task->session;

    end_covered(task, row);
    if (session->logout != NULL && session->params.max_connections > 1)
        task_finish(task);
    else
        fence_answer(task);
}

/* Something that @task has ended was asked for data, and has not got it */
static gboolean
is_owed(const Task *task, const ManageRow *row)
{
    const Session *session = task->session;

    if (session->params.task_reporting == ISCSI_TASK_REPORTING_FAST_ABORT)
        return FALSE;

    for (guint i = 0; i < session->n_touched; i++) {
        const Task *other = &session->tasks[i];

        if (is_mute(other) && other->connection != NULL && other->command.out.n_r2ts != 0 &&
            covers(task, row, other))
            return TRUE;
    }
    return FALSE;
}

static void
await_data(Task *task)
{
    Session *session = task->session;
    Loop *loop = &session->server->worker->loop;

    task->wait_until = loop->now + DATA_WAIT_USEC;
    list_append(&session->answers, &task->link);
    if (!timer_is_set(&session->answer_timer))
        timer_set(&session->answer_timer, loop, task->wait_until);
}

static void
answer_waiting(Task *task)
{
    list_unlink(&task->link);
    answer_many(task, find_row(pdu_tmf_function(task->bhs)));
}

static Task *
find_answer(const Session *session)
{
    list_foreach(link, &session->answers) {
        Task *task = list_entry(link, Task, link);

        if (task->connection != NULL && !is_owed(task, find_row(pdu_tmf_function(task->bhs))))
            return task;
    }
    return NULL;
}

/* From the start each time: what ends makes room for others, of which some may end too */
void
manage_check_answers(Session *session)
{
    Task *task;

    while (!session->is_closing && (task = find_answer(session)) != NULL)
        answer_waiting(task);
}

static void
end_silent(Session *session)
{
    for (guint i = 0; i < session->n_touched; i++) {
        Task *other = &session->tasks[i];

        if (is_mute(other) && other->command.out.is_silent)
            end_mute(other);
    }
}

static void
on_answer_timer(Timer *timer)
{
    Session *session = list_entry(timer, Session, answer_timer);
    Loop *loop = &session->server->worker->loop;
    ListLink *link;

    if (session->is_closing)
        return;

    while ((link = list_first(&session->answers)) != NULL) {
        Task *task = list_entry(link, Task, link);

        if (loop->now < task->wait_until) {
            timer_set(timer, loop, task->wait_until);
            return;
        }
        answer_waiting(task);
    }
    /* The connection of a request may have ended while it waited */
    end_silent(session);
}

void
manage_init(Session *session)
{
    list_init(&session->held);
    list_init(&session->answers);
    timer_init(&session->answer_timer, on_answer_timer);
}

static void
finish_all(List *list)
{
    ListLink *link;

    while ((link = list_pop(list)) != NULL) {
        Task *task = list_entry(link, Task, link);

        task->is_aborted = TRUE;
        task_finish(task);
    }
}

/* The tasks of a session that logs out need no answer, and neither does what has ended them */
void
manage_forget(Session *session)
{
    timer_cancel(&session->answer_timer);
    finish_all(&session->held);
    finish_all(&session->answers);
    end_silent(session);
}

gboolean
manage_is_ending(const Task *task)
{
    const Session *session = task->session;

    for (guint i = 0; i < session->n_touched; i++) {
        const Task *other = &session->tasks[i];
        const ManageRow *row;

        if (!other->is_used || other->kind != TASK_MANAGEMENT || !other->is_managing)
            continue;
        row = find_row(pdu_tmf_function(other->bhs));
        if (ends_many(row) && covers(other, row, task))
            return TRUE;
    }
    return FALSE;
}

gboolean
manage_has_ended(const Task *task)
{
    const Session *session = task->session;

    for (guint i = 0; i < session->n_touched; i++) {
        const Task *other = &session->tasks[i];
        const ManageRow *row;

        if (!other->is_used || other->kind != TASK_MANAGEMENT || !other->is_active ||
            !other->is_fenced || other->has_answered ||
            other->tmf_response != PDU_TMF_RESPONSE_COMPLETE)
            continue;
        row = find_row(pdu_tmf_function(other->bhs));
        if (ends_many(row) && covers(other, row, task))
            return TRUE;
    }
    return FALSE;
}

void
manage_end_covered(const Task *task)
{
    const ManageRow *row = find_row(pdu_tmf_function(task->bhs));

    if (ends_many(row))
        end_covered(task, row);
}

static void
answer(Task *task, PduTmfResponse response)
{
    const ManageRow *row = find_row(pdu_tmf_function(task->bhs));

    task->tmf_response = response;
    if (task->is_aborted || task->connection == NULL) {
        if (ends_many(row))
            end_silent(task->session);
        task_finish(task);
    } else if (!ends_many(row)) {
        tx_queue(task);
    } else if (response == PDU_TMF_RESPONSE_COMPLETE && task->session->logout == NULL &&
               is_owed(task, row)) {
        await_data(task);
    } else {
        answer_many(task, row);
    }
}

static PduTmfResponse
response_of(TmfResponse response)
{
    switch (response) {
    case TMF_COMPLETE:
        return PDU_TMF_RESPONSE_COMPLETE;
    case TMF_SUCCEEDED:
        return PDU_TMF_RESPONSE_SUCCEEDED;
    case TMF_NO_SUCH_TASK:
        return PDU_TMF_RESPONSE_NO_TASK;
    case TMF_NO_SUCH_LUN:
        return PDU_TMF_RESPONSE_NO_LUN;
    case TMF_NOT_SUPPORTED:
        return PDU_TMF_RESPONSE_NOT_SUPPORTED;
    case TMF_REJECTED:
        break;
    }
    return PDU_TMF_RESPONSE_REJECTED;
}

static void
on_tmf_done(ScsiTmf *tmf)
{
    Task *task = list_entry(tmf, Task, tmf);

    task->is_managing = FALSE;
    task->tmf_information = tmf->information;
    task->is_nexus_reset = tmf->function == TMF_I_T_NEXUS_RESET;
    task->is_cold_reset = tmf->function == TMF_TARGET_COLD_RESET && tmf->response == TMF_COMPLETE;
    answer(task, response_of(tmf->response));
}

static void
start_scsi(Task *task, const ManageRow *row, ScsiCommand *command)
{
    ScsiTmf *tmf = &task->tmf;

    memset(tmf, 0, sizeof(*tmf));
    tmf->function = row->scsi;
    tmf->nexus = task->session->nexus;
    memcpy(tmf->lun, task->bhs + 8, sizeof(tmf->lun));
    tmf->command = command;
    tmf->done = on_tmf_done;
    task->is_managing = TRUE;
    scsi_tmf_start(tmf);
}

/* Whether the task that @task names, and that is not here, may still come: RFC 7143 11.6.1 */
static gboolean
is_missing(const Task *task)
{
    const Session *session = task->session;
    guint32 cmd_sn = pdu_tmf_ref_cmd_sn(task->bhs);

    return pdu_sn_in_window(cmd_sn, session->exp_cmd_sn, session->max_cmd_sn) &&
           pdu_sn_less(cmd_sn, task->cmd_sn);
}

static void
abort_missing(Task *task)
{
    if (!is_missing(task)) {
        answer(task, PDU_TMF_RESPONSE_NO_TASK);
        return;
    }

    answer(task, PDU_TMF_RESPONSE_COMPLETE);
    session_skip(task->session, pdu_tmf_ref_cmd_sn(task->bhs));
}

static void
abort_task(Task *task, const ManageRow *row)
{
    Task *other = session_find_task(task->session, pdu_tmf_rtt(task->bhs));

    if (other != NULL && other->is_suspended)
        reassign_answer(task, other);
    if (other == NULL || !other->is_active) {
        abort_missing(task);
        return;
    }
    if (other->kind == TASK_MANAGEMENT) {
        answer(task, PDU_TMF_RESPONSE_REJECTED);
        return;
    }
    if (other->kind != TASK_COMMAND || pdu_lun(other->bhs) != pdu_lun(task->bhs)) {
        answer(task, PDU_TMF_RESPONSE_NO_TASK);
        return;
    }
    if (!other->command.is_begun) {
        /* It ends when its turn comes */
        other->is_aborted = TRUE;
        answer(task, PDU_TMF_RESPONSE_COMPLETE);
        return;
    }
    if (is_mute(other)) {
        end_mute(other);
        manage_check_answers(task->session);
        answer(task, PDU_TMF_RESPONSE_COMPLETE);
        return;
    }

    start_scsi(task, row, &other->command.scsi);
}

/* A command whose turn has not come, or whose data is still coming, is a task too */
static void
query_task(Task *task, const ManageRow *row)
{
    Task *other = session_find_task(task->session, pdu_tmf_rtt(task->bhs));
    ScsiCommand *command = NULL;

    if (other != NULL && other->is_active && other->kind == TASK_MANAGEMENT) {
        answer(task, PDU_TMF_RESPONSE_REJECTED);
        return;
    }
    if (other == NULL && is_missing(task)) {
        /* Who is told that it is not there must not find it carried out later */
        answer(task, PDU_TMF_RESPONSE_COMPLETE);
        session_skip(task->session, pdu_tmf_ref_cmd_sn(task->bhs));
        return;
    }
    if (other != NULL && other->is_active && !other->is_aborted && other->kind == TASK_COMMAND &&
        pdu_lun(other->bhs) == pdu_lun(task->bhs)) {
        if (!other->command.is_begun) {
            answer(task, PDU_TMF_RESPONSE_SUCCEEDED);
            return;
        }
        command = &other->command.scsi;
    }
    start_scsi(task, row, command);
}

/* Commands that wait for their turn and that @task ends too */
static void
abort_parked(Task *task, const ManageRow *row)
{
    Session *session = task->session;

    for (guint i = 0; i < SESSION_PARKED && session->n_parked != 0; i++) {
        Task *other = session->parked[i];

        if (other != NULL && other->kind == TASK_COMMAND &&
            pdu_sn_less(other->cmd_sn, task->cmd_sn) &&
            (row->is_target || pdu_lun(other->bhs) == pdu_lun(task->bhs)))
            other->is_aborted = TRUE;
    }
}

/*
 * FastAbort: the other connections hear of it before the answer, which waits for them behind its
 * fence (RFC 7143 4.2.3.4, d) 2) and e). Data that they are still sending is thrown away.
 */
static void
tell_others(const Task *task, const ManageRow *row)
{
    const Session *session = task->session;

    if (session->params.task_reporting != ISCSI_TASK_REPORTING_FAST_ABORT)
        return;

    for (guint i = 0; i < session->n_touched; i++) {
        const Task *other = &session->tasks[i];

        if (other->is_used && other->is_active && other->kind == TASK_COMMAND &&
            other->connection != NULL && other->connection != task->connection &&
            !other->command.is_done && pdu_sn_less(other->cmd_sn, task->cmd_sn) &&
            (row->is_target || pdu_lun(other->bhs) == pdu_lun(task->bhs)))
            async_terminate_tasks(other->connection, pdu_lun(other->bhs));
    }
}

/*
 * What was sent after @task on another connection may have come before it. That is none of its
 * concern, and its initiator waits for the answers.
 */
static void
spare_later(const Task *task)
{
    const Session *session = task->session;

    for (guint i = 0; i < session->n_touched; i++) {
        Task *other = &session->tasks[i];

        if (other->is_used && other->kind == TASK_COMMAND && other->command.is_begun)
            other->command.scsi.is_spared =
                !other->is_immediate && !pdu_sn_less(other->cmd_sn, task->cmd_sn);
    }
}

/* Commands before this one are missing, and will come: CmdSN is at most one past the window */
static gboolean
must_wait(const Task *task)
{
    const Session *session = task->session;

    return task->is_immediate &&
           pdu_sn_in_window(task->cmd_sn, session->exp_cmd_sn + 1, session->max_cmd_sn + 1);
}

static void
start_row(Task *task, const ManageRow *row)
{
    g_assert(row != NULL);

    if (row->scsi == TMF_ABORT_TASK) {
        abort_task(task, row);
        return;
    }

    if (row->scsi == TMF_QUERY_TASK) {
        query_task(task, row);
        return;
    }

    if (!is_query(row)) {
        abort_parked(task, row);
        spare_later(task);
        tell_others(task, row);
    }
    start_scsi(task, row, NULL);
}

void
manage_start(Task *task)
{
    guint8 function = pdu_tmf_function(task->bhs);
    const ManageRow *row = find_row(function);

    task->session->statistics.n_task_management++;
    if (function == PDU_TMF_TASK_REASSIGN) {
        reassign_start(task);
        return;
    }
    if (row == NULL || task->session->params.protocol_level < row->level) {
        answer(task, PDU_TMF_RESPONSE_NOT_SUPPORTED);
        return;
    }

    if (!is_query(row))
        server_post(task->session->server, ISCSI_EVENT_TASK_MANAGEMENT, task->connection,
                    task->session, 0, row->name);
    if (!row->is_single && must_wait(task)) {
        list_append(&task->session->held, &task->link);
        return;
    }
    start_row(task, row);
}

void
manage_run_held(Session *session)
{
    list_foreach_safe(link, &session->held) {
        Task *task = list_entry(link, Task, link);

        if (must_wait(task))
            continue;
        list_unlink(link);
        start_row(task, find_row(pdu_tmf_function(task->bhs)));
    }
}
