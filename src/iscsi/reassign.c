/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * TASK REASSIGN
 *
 * RFC 7143 7.2.2 and 11.5. A suspended task has gone on without a connection:
 * it has read or written what it could, and its R2Ts, data and status wait. It
 * becomes the task of the connection on which the request came, and says what
 * the initiator does not have: a read goes on from ExpDataSN with Data-Ins as
 * the new connection takes them, a write asks anew for what has not come, and a
 * status gets a StatSN of the new connection. All of that is sent after the
 * answer to the request, since it is queued after it.
 *
 * What a task management function has ended cannot be reassigned, also while the
 * answer to that is held by the fence (fence.c): it would come behind it.
 */

#include "iscsi/reassign.h"

#include "iscsi/connection.h"
#include "iscsi/datain.h"
#include "iscsi/dataseq.h"
#include "iscsi/manage.h"
#include "iscsi/recovery.h"
#include "iscsi/session.h"
#include "iscsi/tx.h"

/* What is wrong with the request, or PDU_TMF_RESPONSE_COMPLETE */
static PduTmfResponse
judge(const Task *task, const Task *other)
{
    const Session *session = task->session;

    if (!recovery_keeps_tasks(session))
        return PDU_TMF_RESPONSE_REASSIGN_NOT_SUPPORTED;
    if (!task->is_immediate)
        return PDU_TMF_RESPONSE_REJECTED;
    if (other == NULL || other == task)
        return PDU_TMF_RESPONSE_NO_TASK;
    if (other->kind != TASK_COMMAND && other->kind != TASK_NOP)
        return PDU_TMF_RESPONSE_REJECTED;
    if (other->is_aborted || (other->connection == NULL && !other->is_suspended))
        return PDU_TMF_RESPONSE_NO_TASK;
    if (other->is_suspended && manage_has_ended(other))
        return PDU_TMF_RESPONSE_NO_TASK;
    if (!other->is_suspended || !session_cid_is_recoverable(session, other->suspended_cid))
        return PDU_TMF_RESPONSE_TASK_STILL_ALLEGIANT;
    return PDU_TMF_RESPONSE_COMPLETE;
}

static void
go_on(Task *task, Connection *connection, guint32 exp_data_sn)
{
    TaskCommand *part = &task->command;

    recovery_resume(task, connection);
    if (part->is_done) {
        part->in.has_status = TRUE;
        task->is_active = TRUE;
    }
    if (part->scsi.expected_out != 0)
        dataseq_reassign(task, exp_data_sn);
    else
        datain_reassign(task, exp_data_sn);
    tx_queue(task);
}

void
reassign_start(Task *task)
{
    Task *other = session_find_task(task->session, pdu_tmf_rtt(task->bhs));

    task->tmf_response = judge(task, other);
    tx_queue(task);
    if (task->tmf_response == PDU_TMF_RESPONSE_COMPLETE)
        go_on(other, task->connection, pdu_tmf_exp_data_sn(task->bhs));
}

void
reassign_answer(const Task *task, Task *other)
{
    if (other->is_suspended && other->command.is_done && !manage_has_ended(other) &&
        session_cid_is_recoverable(task->session, other->suspended_cid))
        go_on(other, task->connection, 0);
}
