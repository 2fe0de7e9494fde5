/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "scsi/lu-reset.h"
#include "scsi/lu-shard.h"

/*
 * A command's errand to the home worker
 *
 * What concerns the logical unit as a whole is read and changed by its home
 * worker alone, one errand after the other and in one queue with resets. An
 * errand has up to four steps:
 *
 *   ask      every worker, with its shard: collect what only it may read (may be missing)
 *   record   the home worker: what has to be on stable storage before the update (may be missing);
 *            when it cannot be stored there is no update, and the result says so
 *   update   the home worker: look at all and change what it owns. TRUE: tell everybody
 *   tell     every worker: it takes over the new LuState, and each nexus but the requester's gets
 *            the unit attention; there may be more to do
 *
 * The struct lies in the command's scratch buffer. While the errand is out the
 * command is in SCSI_STATE_IO: an abort waits for its end.
 */

typedef struct LuChange LuChange;

struct LuChange {
    LuReset reset;
    ScsiCommand *command;
    gboolean is_refused; /* because of a reservation */
    void (*resume)(ScsiCommand *command);
    const Nexus *nexus;     /* of the command; only compared */
    SenseCode attention;    /* SENSE_NONE: there is none */
    gboolean is_protection; /* none for who could not write before nor can after */
    MediaEvent media_event; /* for every nexus, also the requester's */
    void (*ask)(LuShard *shard);
    LuRecordKind kind;
    char *(*record)(const Lu *lu, const LuChange *change); /* of @kind; NULL: nothing to keep */
    gboolean (*update)(Lu *lu, LuChange *change); /* may read command->data: its owner waits */
    void (*tell)(LuShard *shard); /* when the new state is in force; LuShard.change is the errand */
    SenseCode result;             /* by @update, for @resume: SENSE_NONE is good */
    guint8 room[];                /* LU_CHANGE_ROOM bytes, zeroed, for what the steps hand over */
};

#define LU_CHANGE_ROOM ((gsize)2048)

/**
 * lu_change_new() - an errand of @command, without any step yet
 *
 * Returns: NULL when there was no memory for it: the command has been ended
 */
LuChange *lu_change_new(ScsiCommand *command);

/* Set before: @update, and @ask, @record and @attention where wanted.
 * @resume runs when all is done. */
void lu_change_run(LuChange *change, void (*resume)(ScsiCommand *command));

/* What the state in force says to a command that passed the gates before; SENSE_NONE: nothing */
SenseCode lu_state_refuses(const LuShard *shard, const ScsiCommand *command);

/* For @ask and @update: whether any nexus prevents the removal of the medium */
void lu_ask_preventing(LuShard *shard);
gboolean lu_is_prevented(const Lu *lu);

/* I/O of a command has ended: LU_CHANGED may have waited for it */
void lu_change_io_ended(LuShard *shard);

/* lu.c */
void lu_change_lu_init(Lu *lu, const LuConfig *config);

/* For @resume */
static inline LuChange *
lu_change_of(const ScsiCommand *command)
{
    return (LuChange *)(gpointer)command->scratch;
}
