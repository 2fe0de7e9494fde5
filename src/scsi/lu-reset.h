/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "engine/mailbox.h"
#include "scsi/sense.h"
#include "util/list.h"

/*
 * Logical unit reset
 *
 * The requester's node goes to the home worker, which takes one reset after
 * the other: ABORT_TASKS to every worker, and when all have answered
 * TASKS_ABORTED (no aborted command can have an effect any more) RAISE_UA to
 * every worker, and when all have answered UA_RAISED the node goes back. A mere
 * unit attention for everybody takes the same way without the first half.
 */

typedef struct Lu Lu;
typedef struct LuReset LuReset;

struct LuReset {
    Message message;
    ListLink link;
    Lu *lu;
    SenseCode attention;     /* raised for every nexus */
    gboolean attention_only; /* nothing is aborted */
    Mailbox *reply_to;
    void (*done)(LuReset *reset); /* on the thread that drains @reply_to */
};

/* @reset->lu, attention, reply_to and done are set */
void lu_reset_start(LuReset *reset);
