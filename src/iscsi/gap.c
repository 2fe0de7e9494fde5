/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "iscsi/gap.h"

#include "iscsi/server.h"

#define GAP_WAIT_USEC (2 * USEC_PER_SEC)

static void
on_timer(Timer *timer)
{
    Session *session = list_entry(timer, Session, gap_timer);

    if (!pdu_sn_less(session->gap_cmd_sn, session->exp_cmd_sn))
        session_close(session, "a request that came damaged was not sent again");
}

void
gap_init(Session *session)
{
    timer_init(&session->gap_timer, on_timer);
}

void
gap_begin(Session *session, guint32 cmd_sn)
{
    Loop *loop = &session->server->worker->loop;

    if (session->is_closing || session->params.error_recovery_level != 0)
        return;

    session->gap_cmd_sn = cmd_sn;
    timer_set(&session->gap_timer, loop, loop->now + GAP_WAIT_USEC);
}

void
gap_cancel(Session *session)
{
    timer_cancel(&session->gap_timer);
}
