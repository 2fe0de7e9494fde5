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
 * Step a) of RFC 7143 4.2.3.3, to wait for data that aborted tasks were asked
 * for, is not done: initiators that stop sending it would be waited for in
 * vain. What comes is thrown away, since its task is not known any more. With
 * FastAbort (4.2.3.4) that is how it is meant.
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
 * connection, is ended.
 */
static void
end_covered(const Task *task, const ManageRow *row)
{
    const Session *session = task->session;

    for (guint i = 0; i < session->n_touched; i++) {
        Task *other = &session->tasks[i];

        if (is_mute(other) && (other->is_immediate || pdu_sn_less(other->cmd_sn, task->cmd_sn)) &&
            (row->is_target || pdu_lun(other->bhs) == pdu_lun(task->bhs)))
            end_mute(other);
    }
}

/* While the session logs out there is no fence any more: see fence_lift() */
static void
answer_many(Task *task, const ManageRow *row)
{
    const Session *session = task->session;

    if (task->tmf_response == PDU_TMF_RESPONSE_COMPLETE)
        end_covered(task, row);
    if (session->logout != NULL && session->params.max_connections > 1)
        task_finish(task);
    else
        fence_answer(task);
}

static void
answer(Task *task, PduTmfResponse response)
{
    const ManageRow *row = find_row(pdu_tmf_function(task->bhs));

    task->tmf_response = response;
    if (task->is_aborted || task->connection == NULL)
        task_finish(task);
    else if (row != NULL && !row->is_single && !is_query(row))
        answer_many(task, row);
    else
        tx_queue(task);
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
