/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "engine/snapshot.h"
#include "scsi/sense.h"

/*
 * ROD token: the promise that some blocks are still what they were
 *
 * The type is "point in time copy - change vulnerable": whoever writes one of
 * the blocks ends it. See rod-token.c.
 */

typedef struct Lu Lu;
typedef struct LuShard LuShard;
typedef struct Nexus Nexus;
typedef struct ScsiCommand ScsiCommand;

#define ROD_TOKEN_LENGTH           512
#define ROD_TYPE_CHANGE_VULNERABLE 0x00800001
#define ROD_TYPE_ANY_POINT_IN_TIME 0x0080ffff
#define ROD_TYPE_ZERO              0xffff0001
#define ROD_MAX_RANGES             64
#define ROD_MAX_TOKENS             128 /* of a logical unit */
#define ROD_MAX_OWN_TOKENS         32  /* of these by one initiator port */
#define ROD_TIMEOUT_DEFAULT        60  /* seconds without use */
#define ROD_TIMEOUT_MAX            600

typedef struct {
    guint64 lba;
    guint64 n_blocks;
} RodRange;

/* Why a token cannot be used any more */
typedef enum {
    ROD_LIVE,
    ROD_CANCELLED, /* a block was written, or is gone, or there was no room */
    ROD_EXPIRED,
    ROD_DELETED,
} RodState;

/* Immutable but for the atomic words */
typedef struct {
    Snapshot snapshot;
    gint state;   /* atomic: RodState; leaves ROD_LIVE once */
    gint used_at; /* atomic: seconds of the clock */
    gint n_users; /* atomic: while there are any it does not expire */
    guint32 timeout;
    char *creator; /* initiator port */
    guint64 id;
    guint block_shift;
    guint64 n_blocks;
    guint n_ranges;
    RodRange ranges[ROD_MAX_RANGES];
    guint8 bytes[ROD_TOKEN_LENGTH];
} RodToken;

typedef struct RodShard RodShard;

/**
 * rod_token_new() - a token for blocks of the unit of @nexus, in no table yet
 *
 * Returns: one reference, or NULL: there is no entropy
 */
RodToken *rod_token_new(const Nexus *nexus, const Lu *lu, const RodRange *ranges, guint n_ranges,
                        guint32 timeout);

static inline void
rod_token_unref(RodToken *token)
{
    if (token != NULL)
        snapshot_unref(&token->snapshot);
}

static inline RodState
rod_token_state(RodToken *token)
{
    return (RodState)g_atomic_int_get(&token->state);
}

/* Nothing happens when it is not live any more */
void rod_token_end(RodToken *token, RodState state);
void rod_token_begin_use(RodToken *token);
void rod_token_end_use(RodToken *token, gint64 now);

/* ILLEGAL REQUEST and why a token in @state cannot be used */
SenseCode rod_state_sense(RodState state);

/**
 * rod_token_publish() - put @token into the tables of all workers
 *
 * @resume sees @command's LuChange.result: SENSE_NONE, and every write of a block that the token
 * represents has either ended before or ends the token. The caller's reference has to last until
 * @command has ended, also when it is aborted.
 */
void rod_token_publish(ScsiCommand *command, RodToken *token, void (*resume)(ScsiCommand *));

/**
 * rod_token_find() - the token with these bytes, on the worker of @shard
 *
 * Returns: a reference, or NULL and why not
 */
RodToken *rod_token_find(LuShard *shard, const guint8 bytes[ROD_TOKEN_LENGTH], SenseCode *ret_code);

/* The first field of a token that says which unit it is of: the CSCD descriptor of @lu */
void rod_token_put_unit(const Lu *lu, guint8 p[32]);
#define ROD_TOKEN_UNIT 16

/*
 * On the worker of @shard, while LuShard.n_rods is not zero
 */

void rod_shard_written(LuShard *shard, guint64 offset, guint64 end); /* is about to be, in bytes */
void rod_shard_cancel(LuShard *shard);                               /* all of them */
void rod_shard_state_changed(LuShard *shard);                        /* size, medium */

/* On its worker at any time: @token was made for the unit and has not been swept out */
gboolean rod_shard_has(const LuShard *shard, const RodToken *token);

/* Whether a write of blocks of the token that is being published is in flight */
gboolean rod_shard_is_settling(const LuShard *shard);

void rod_shard_deinit(LuShard *shard);
