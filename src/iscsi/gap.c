/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "iscsi/gap.h"

#include "iscsi/server.h"

#define GAP_WAIT_USEC (2 * USEC_PER_SEC)

static void
start(Session *session)
{
    Loop *loop = &session->server->worker->loop;

    timer_set(&session->gap_timer, loop, loop->now + GAP_WAIT_USEC);
}

static void
on_timer(Timer *timer)
{
    Session *session = list_entry(timer, Session, gap_timer);

    if (pdu_sn_less(session->gap_cmd_sn, session->exp_cmd_sn))
        return;

    if (session->gap_is_idle) {
        /* What waits behind it has as much time as it would have had at the beginning */
        session->gap_is_idle = session->n_parked == 0;
        start(session);
        return;
    }
    session_close(session, "the CmdSN of a request that was rejected was not used again");
}

void
gap_init(Session *session)
{
    timer_init(&session->gap_timer, on_timer);
}

static gboolean
has_cmd_sn(const guint8 *bhs)
{
    switch ((guint)pdu_opcode(bhs)) {
    case PDU_SCSI_COMMAND:
    case PDU_NOP_OUT:
    case PDU_TASK_MANAGEMENT_REQUEST:
    case PDU_TEXT_REQUEST:
    case PDU_LOGOUT_REQUEST:
        return !pdu_is_immediate(bhs);
    default:
        return FALSE;
    }
}

static gboolean
makes_gap(const Session *session, const guint8 *bhs)
{
    return !session->is_closing && session->params.error_recovery_level == 0 && has_cmd_sn(bhs) &&
           pdu_sn_in_window(pdu_cmd_sn(bhs), session->exp_cmd_sn, session->max_cmd_sn);
}

void
gap_begin(Session *session, const guint8 *bhs)
{
    if (!makes_gap(session, bhs))
        return;

    session->gap_cmd_sn = pdu_cmd_sn(bhs);
    session->gap_is_idle = FALSE;
    start(session);
}

void
gap_note(Session *session, const guint8 *bhs)
{
    if (!makes_gap(session, bhs))
        return;

    /* Of several gaps the last counts: it is closed when none is left */
    if (!timer_is_set(&session->gap_timer))
        start(session);
    else if (pdu_sn_less(pdu_cmd_sn(bhs), session->gap_cmd_sn))
        return;
    session->gap_cmd_sn = pdu_cmd_sn(bhs);
    session->gap_is_idle = TRUE;
}

void
gap_cancel(Session *session)
{
    timer_cancel(&session->gap_timer);
}
