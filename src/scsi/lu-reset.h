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
 *
 * Whatever else changes the unit as a whole, such as a reservation, queues
 * here too, with a function of its own in @run. A request that stands for a
 * command of an initiator (@is_command) must not wait behind what aborts that
 * command: it comes back with @is_stale set and without effect, and the
 * requester sends it again if the command lives.
 */

typedef struct Lu Lu;
typedef struct LuReset LuReset;
typedef struct LuShard LuShard;
typedef struct Nexus Nexus;

struct LuReset {
    Message message;
    ListLink link;
    Lu *lu;
    SenseCode attention;         /* raised for every nexus */
    const Nexus *nexus;          /* that asked for it; only compared; NULL: none did */
    gboolean attention_only;     /* nothing is aborted */
    void (*run)(LuReset *reset); /* at home, instead of a reset; ends in lu_manage_end() */
    gboolean is_command;
    guint64 abort_generation; /* of commands: what the sender's shard has seen */
    gboolean is_stale;
    Mailbox *reply_to;
    void (*done)(LuReset *reset); /* on the thread that drains @reply_to */
};

/* @reset->lu, attention, reply_to and done are set */
void lu_reset_start(LuReset *reset);

/* Home: what is first in the queue is done, the next one follows */
void lu_manage_end(Lu *lu);

/* Home: send the node that every shard has for this to all workers; lu_answer_home() sends it back,
 * and lu_count_answer() there says whether it was the last one */
void lu_broadcast(Lu *lu, MessageFn deliver);
gboolean lu_count_answer(Lu *lu);

/* Home: after the broadcast that aborts commands, end requests of commands that wait here */
void lu_return_stale(Lu *lu);
