/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "backstore/io.h"
#include "engine/loop.h"
#include "engine/mailbox.h"
#include "scsi/lu.h"

/*
 * Erasing the medium as a whole: SANITIZE and FORMAT UNIT
 *
 * The home worker carries it out, for itself and not as part of the command
 * that asked for it: task management ends that command, not the erasing.
 * Meanwhile, and after a failure until it has been tried again, all other use
 * of the medium is refused on every worker.
 */

typedef struct LuShard LuShard;
typedef struct ScsiCommand ScsiCommand;

typedef enum {
    ERASE_NONE,
    ERASE_SANITIZING,
    ERASE_FORMATTING,
    ERASE_SANITIZE_FAILED,
    ERASE_FORMAT_FAILED,
} EraseState;

typedef enum {
    ERASE_ZERO,    /* zeros, however the store makes them */
    ERASE_UNMAP,   /* zeros, deallocated where the store can */
    ERASE_PATTERN, /* a pattern that begins anew in each block */
    ERASE_NOISE,   /* random bytes that nobody knows */
} EraseMethod;

/* What is asked for; lies in the buffer of the command that asks until its answer is there */
typedef struct EraseRequest {
    EraseState state; /* ERASE_SANITIZING or ERASE_FORMATTING */
    EraseMethod method;
    gboolean may_exit; /* AUSE: a failure can be left without another try */
    gboolean invert;   /* between passes */
    guint n_passes;
    const guint8 *pattern;
    gsize pattern_length;
} EraseRequest;

/* The part of the home worker */
typedef struct {
    ScsiCommand *starter; /* waits for its answer */
    EraseState state;
    EraseState state_before;
    EraseState state_after;
    EraseRequest request;
    gboolean is_running; /* from the request until the last shard knows of the end */
    gboolean is_at_end;  /* waits for the nodes to tell it */
    gboolean is_ending;  /* the shards are being told */
    List waiting;        /* commands that came meanwhile */
    gboolean is_stopping;
    gboolean has_failed;
    guint pass;
    guint64 position;
    guint n_answers; /* of shards, to the message that is out */
    guint16 progress;
    guint8 *pattern; /* request.pattern points here */
    guint8 *buffer;
    gsize buffer_size;
    Io io;
    LuPersist persist;
    gboolean can_keep;
    void (*stored)(Lu *lu, gboolean success);
    Message resume_message;
    Deferred step;
} LuErase;

/* An erasing that @config->erase tells of goes on; the unit has then to be released in any case */
void lu_erase_init(Lu *lu, const LuConfig *config);
void lu_erase_deinit(Lu *lu);

/**
 * lu_erase_start() - begin
 * @request: in memory that stays until @resume
 *
 * @resume sees command->io.result: 0, it has begun; -EAGAIN, there is no memory; -EBUSY, another
 * one was first.
 */
void lu_erase_start(ScsiCommand *command, EraseRequest *request, void (*resume)(ScsiCommand *));

/* Wait for the end of what this command began: GOOD, or the sense of the failure */
void lu_erase_await(ScsiCommand *command);

/* Leave the failure of a sanitize operation; result -EPERM when its request did not allow that */
void lu_erase_exit_failure(ScsiCommand *command, void (*resume)(ScsiCommand *));

/* On a shard's worker */
gboolean lu_erase_is_running(const LuShard *shard);
void lu_erase_io_ended(LuShard *shard); /* I/O of a command has ended */

/* What there is to say to a command: TRUE, erasing is under way; FALSE, it failed, or nothing */
gboolean lu_erase_get_sense(const LuShard *shard, Sense *sense);

/* On the home worker: end it at the next step, for the unit is released */
void lu_erase_stop(Lu *lu);
gboolean lu_erase_is_busy(const Lu *lu);    /* from the request until all shards know of the end */
gboolean lu_erase_is_at_work(const Lu *lu); /* the medium is being erased, or is about to be */
