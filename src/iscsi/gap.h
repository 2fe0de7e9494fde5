/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "iscsi/session.h"

/*
 * A gap in CmdSN at error recovery level 0
 *
 * A request with a wrong data digest is answered with a Reject and counts as
 * not received (RFC 7143 7.8): those behind it wait for its CmdSN. An initiator
 * that sends it again (7.2.1) fills the gap. Many do not recover within a
 * connection at level 0, among them Linux, whose commands would all wait for
 * their timeouts; for these the session ends, and a new one begins without gap.
 */

void gap_init(Session *session);

/* The request of @cmd_sn was rejected: it has to come again soon */
void gap_begin(Session *session, guint32 cmd_sn);

void gap_cancel(Session *session); /* idempotent */
