/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "iscsi/session.h"

/*
 * A gap in CmdSN at error recovery level 0
 *
 * A request that is rejected counts as not received (RFC 7143 7.3, and 7.8 for
 * one with a wrong data digest): those behind it wait for its CmdSN, which the
 * initiator has to use again, be it for something else. Many do not, among them
 * Linux and libiscsi, whose commands would all wait for their timeouts; for
 * these the session ends, and a new one begins without gap.
 */

void gap_init(Session *session);

/* The request in @bhs came damaged, and was rejected: it has to come again soon */
void gap_begin(Session *session, const guint8 *bhs);

/* The same for one that is wrong: what comes behind it must not wait long */
void gap_note(Session *session, const guint8 *bhs);

void gap_cancel(Session *session); /* idempotent */
