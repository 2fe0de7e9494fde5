/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * ROD tokens
 *
 * A token promises that the blocks it represents are what they were when it was
 * made, or else cannot be used: "point in time copy - change vulnerable". No
 * data is kept for it. Instead every worker has all tokens of a logical unit in
 * its shard, and looks whether a write that it is about to submit touches one:
 * then the token is cancelled, before the write can have any effect. While
 * there is no token, that costs a write one compare with zero.
 *
 * Tokens come by message (POPULATE TOKEN is an errand to the home worker, see
 * lu-change.c), so that there is one order and one who counts; a worker answers
 * when no write of these blocks is in flight any more. That a token has ended
 * is told by one atomic word in it, which all can set and which never goes
 * back: a worker that has read blocks and then finds the token live has read
 * what it represents, since whoever writes sets the word first. A message could
 * not be as early. The other atomic words are about its use.
 *
 * Why the word is enough. Take any write of a block of the token, on worker W,
 * and the moment when W puts the token into its table.
 *
 *   submitted before  it is in flight, and W answers the home worker when it has
 *                     ended; or it had ended. POPULATE TOKEN is answered after all
 *                     answers, and only then is the token known to anybody who
 *                     could use it: every use reads what the write has left.
 *   submitted after   may_submit() (command.c) looks at the table in the same turn
 *                     in which it hands the write to the store, so the word is set
 *                     before the store knows of the write. A read that saw any of
 *                     it came after, through the store; the word is looked at
 *                     after the last read: it is set then, and the use has failed.
 *
 * Between the two there is nothing, as the table and the submission belong to one
 * thread. A parked write looks again when it goes on. Parts of physical blocks
 * that the home worker writes along are what they were. What erases, ejects or
 * cuts the medium is judged at home before the token comes, and finds it in the
 * tables after. The word is set and read with full barriers, and what a store
 * has between a write and the read that sees it is one as well.
 *
 * What has ended is swept out of a table when the table is next looked at, so
 * neither a timer nor a message is needed for it; why it ended is remembered
 * for a while, for an initiator that tries to use it.
 *
 * A token is 512 bytes, of which 256 bits are random: it cannot be guessed. Who
 * uses it has to reach the unit it is of nevertheless.
 */

#include "scsi/rod-token.h"

#include <string.h>
#include <sys/random.h>

#include "scsi/lu-change.h"
#include "scsi/operation.h"
#include "util/bytes.h"

#define TOKEN_ID       8
#define TOKEN_BYTES    56 /* the low half of NUMBER OF BYTES REPRESENTED */
#define TOKEN_CAPACITY 96 /* READ CAPACITY(16) data from its byte 8 */
#define TOKEN_TARGET   128
#define TOKEN_RANDOM   480
#define N_RANDOM       32

#define N_ENDED 32

struct RodShard {
    RodToken *tokens[ROD_MAX_TOKENS]; /* by age */
    RodToken *settling;               /* of @tokens */
    guint next_ended;
    struct {
        guint64 id;
        RodState state; /* ROD_LIVE: the entry is free */
    } ended[N_ENDED];
};

G_STATIC_ASSERT(sizeof(RodToken *) <= LU_CHANGE_ROOM);

/*
 * Tokens
 */

static void
token_free(Snapshot *snapshot)
{
    RodToken *token = list_entry(snapshot, RodToken, snapshot);

    g_free(token->creator);
    g_free(token);
}

void
rod_token_end(RodToken *token, RodState state)
{
    (void)g_atomic_int_compare_and_exchange(&token->state, ROD_LIVE, (gint)state);
}

void
rod_token_begin_use(RodToken *token)
{
    (void)g_atomic_int_add(&token->n_users, 1);
}

void
rod_token_end_use(RodToken *token, gint64 now)
{
    g_atomic_int_set(&token->used_at, (gint)(now / USEC_PER_SEC));
    (void)g_atomic_int_add(&token->n_users, -1);
}

SenseCode
rod_state_sense(RodState state)
{
    switch (state) {
    case ROD_LIVE:
        return SENSE_NONE;
    case ROD_CANCELLED:
        return SENSE_TOKEN_CANCELLED;
    case ROD_EXPIRED:
        return SENSE_TOKEN_EXPIRED;
    case ROD_DELETED:
        return SENSE_TOKEN_DELETED;
    }
    g_assert_not_reached();
}

void
rod_token_put_unit(const Lu *lu, guint8 p[32])
{
    const guint8 *designator = lu->identity.designators; /* the first one is NAA */

    memset(p, 0, 32);
    p[0] = 0xe4; /* identification CSCD descriptor */
    memcpy(p + 4, designator, MIN(4U + designator[3], 24U));
    put_be24(p + 29, lu_block_size(lu));
}

static void
put_target(const Nexus *nexus, guint8 *p)
{
    guint8 designators[IDENTITY_DESIGNATORS_MAX];
    guint16 length =
        identity_put_port_name(nexus->target_name, nexus->target_port_group, designators);

    memcpy(p, designators, MIN(length, (gsize)(TOKEN_RANDOM - TOKEN_TARGET)));
}

static void
encode(RodToken *token, const Nexus *nexus, const Lu *lu)
{
    guint32 ratio = lu->info->physical_block_size / lu_block_size(lu);
    guint8 *p = token->bytes;

    put_be32(p, ROD_TYPE_CHANGE_VULNERABLE);
    put_be16(p + 6, ROD_TOKEN_LENGTH - 8);
    put_be64(p + TOKEN_ID, token->id);
    rod_token_put_unit(lu, p + ROD_TOKEN_UNIT);
    put_be64(p + TOKEN_BYTES, token->n_blocks << lu->block_shift);
    put_be32(p + TOKEN_CAPACITY, lu_block_size(lu));
    p[TOKEN_CAPACITY + 5] = (guint8)g_bit_nth_lsf(ratio, -1);
    if (lu->can_unmap)
        p[TOKEN_CAPACITY + 6] = (guint8)(0x80 | (lu->info->unmap_zeroes ? 0x40 : 0));
    put_target(nexus, p + TOKEN_TARGET);
}

RodToken *
rod_token_new(const Nexus *nexus, const Lu *lu, const RodRange *ranges, guint n_ranges,
              guint32 timeout)
{
    RodToken *token = g_new0(RodToken, 1);

    snapshot_init(&token->snapshot, token_free);
    token->creator = g_strdup(nexus->initiator_port_name);
    token->timeout = timeout;
    token->block_shift = lu->block_shift;
    token->n_ranges = n_ranges;
    memcpy(token->ranges, ranges, n_ranges * sizeof(*ranges));
    for (guint i = 0; i < n_ranges; i++)
        token->n_blocks += ranges[i].n_blocks;
    token->used_at = (gint)(worker_now(nexus->worker) / USEC_PER_SEC);

    if (getrandom(&token->id, sizeof(token->id), GRND_NONBLOCK) != sizeof(token->id) ||
        getrandom(token->bytes + TOKEN_RANDOM, N_RANDOM, GRND_NONBLOCK) != N_RANDOM) {
        rod_token_unref(token);
        return NULL;
    }

    encode(token, nexus, lu);
    return token;
}

/*
 * The table of a shard
 */

static void
remember(RodShard *rods, RodToken *token)
{
    rods->ended[rods->next_ended].id = token->id;
    rods->ended[rods->next_ended].state = rod_token_state(token);
    rods->next_ended = (rods->next_ended + 1) % N_ENDED;
}

static gboolean
is_expired(RodToken *token, gint64 now)
{
    return g_atomic_int_get(&token->n_users) == 0 &&
           now / USEC_PER_SEC - g_atomic_int_get(&token->used_at) > (gint64)token->timeout;
}

/* The table without what has ended */
static void
sweep(LuShard *shard)
{
    RodShard *rods = shard->rods;
    gint64 now = worker_now(shard->worker);
    guint n = 0;

    for (guint i = 0; i < shard->n_rods; i++) {
        RodToken *token = rods->tokens[i];

        if (is_expired(token, now))
            rod_token_end(token, ROD_EXPIRED);
        if (rod_token_state(token) == ROD_LIVE || token == rods->settling) {
            rods->tokens[n++] = token;
            continue;
        }
        remember(rods, token);
        rod_token_unref(token);
    }
    shard->n_rods = n;
}

static gboolean
touches(const RodToken *token, guint64 offset, guint64 end)
{
    for (guint i = 0; i < token->n_ranges; i++) {
        const RodRange *range = &token->ranges[i];

        if (offset < (range->lba + range->n_blocks) << token->block_shift &&
            range->lba << token->block_shift < end)
            return TRUE;
    }

    return FALSE;
}

void
rod_shard_written(LuShard *shard, guint64 offset, guint64 end)
{
    for (guint i = 0; i < shard->n_rods; i++) {
        if (touches(shard->rods->tokens[i], offset, end))
            rod_token_end(shard->rods->tokens[i], ROD_CANCELLED);
    }
    sweep(shard);
}

void
rod_shard_cancel(LuShard *shard)
{
    rod_shard_written(shard, 0, G_MAXUINT64);
}

void
rod_shard_state_changed(LuShard *shard)
{
    if (shard->state.is_ejected)
        rod_shard_cancel(shard);
    else
        rod_shard_written(shard, shard->state.size, G_MAXUINT64);
}

gboolean
rod_shard_has(const LuShard *shard, const RodToken *token)
{
    for (guint i = 0; i < shard->n_rods; i++) {
        if (shard->rods->tokens[i] == token)
            return TRUE;
    }

    return FALSE;
}

void
rod_shard_deinit(LuShard *shard)
{
    for (guint i = 0; i < shard->n_rods; i++)
        rod_token_unref(shard->rods->tokens[i]);
    shard->n_rods = 0;
    g_clear_pointer(&shard->rods, g_free);
}

/* Differences do not show in the time that it takes */
static gboolean
is_equal(const guint8 *a, const guint8 *b, gsize size)
{
    guint8 difference = 0;

    for (gsize i = 0; i < size; i++)
        difference |= a[i] ^ b[i];
    return difference == 0;
}

static SenseCode
why_not(const RodShard *rods, guint64 id)
{
    for (guint i = 0; i < N_ENDED; i++) {
        if (rods->ended[i].state != ROD_LIVE && rods->ended[i].id == id)
            return rod_state_sense(rods->ended[i].state);
    }

    return SENSE_TOKEN_UNKNOWN;
}

RodToken *
rod_token_find(LuShard *shard, const guint8 bytes[ROD_TOKEN_LENGTH], SenseCode *ret_code)
{
    guint64 id = get_be64(bytes + TOKEN_ID);

    *ret_code = SENSE_TOKEN_UNKNOWN;
    if (shard->rods == NULL)
        return NULL;

    sweep(shard);
    for (guint i = 0; i < shard->n_rods; i++) {
        RodToken *token = shard->rods->tokens[i];

        if (token->id != id)
            continue;
        if (!is_equal(token->bytes, bytes, ROD_TOKEN_LENGTH)) {
            *ret_code = SENSE_TOKEN_CORRUPT;
            return NULL;
        }
        (void)snapshot_ref(&token->snapshot);
        return token;
    }

    *ret_code = why_not(shard->rods, id);
    return NULL;
}

/*
 * Publication
 */

/* The room is of any alignment */
static RodToken *
token_of_change(const LuChange *change)
{
    RodToken *token;

    memcpy(&token, change->room, sizeof(gpointer));
    return token;
}

/* Home: of too many tokens of one initiator port the one that was not used for the longest time goes */
static void
make_room(LuShard *shard, const RodToken *token)
{
    RodToken *oldest = NULL;
    guint n = 0;

    for (guint i = 0; i < shard->n_rods; i++) {
        RodToken *other = shard->rods->tokens[i];

        if (g_strcmp0(other->creator, token->creator) != 0)
            continue;
        n++;
        if (oldest == NULL ||
            g_atomic_int_get(&other->used_at) < g_atomic_int_get(&oldest->used_at))
            oldest = other;
    }

    if (oldest != NULL && (n >= ROD_MAX_OWN_TOKENS || shard->n_rods >= ROD_MAX_TOKENS)) {
        rod_token_end(oldest, ROD_CANCELLED);
        sweep(shard);
    }
}

/* Home. What was right at the gates may not be any more: later changes find the token in the tables. */
static SenseCode
judge(const Lu *lu, const RodToken *token)
{
    if (lu_erase_is_at_work(lu))
        return SENSE_NOT_READY;
    if (lu->state.is_ejected)
        return lu_ejected_sense(lu);

    for (guint i = 0; i < token->n_ranges; i++) {
        const RodRange *range = &token->ranges[i];

        if ((range->lba + range->n_blocks) << token->block_shift > lu->state.size)
            return SENSE_LBA_OUT_OF_RANGE;
    }
    return SENSE_NONE;
}

/* Home */
static gboolean
update(Lu *lu, LuChange *change)
{
    LuShard *shard = &lu->shards[lu->home];

    change->result = judge(lu, token_of_change(change));
    if (change->result != SENSE_NONE)
        return FALSE;

    if (shard->rods != NULL)
        sweep(shard);
    make_room(shard, token_of_change(change));
    if (shard->n_rods >= ROD_MAX_TOKENS) {
        change->result = SENSE_NO_ROOM_FOR_TOKEN;
        return FALSE;
    }

    return TRUE;
}

/* Shard. What home has swept out has ended for all, so there is room. */
static void
tell(LuShard *shard)
{
    RodToken *token = token_of_change(shard->change);

    if (shard->rods == NULL)
        shard->rods = g_new0(RodShard, 1);
    sweep(shard);
    g_assert(shard->n_rods < ROD_MAX_TOKENS);

    (void)snapshot_ref(&token->snapshot);
    shard->rods->tokens[shard->n_rods++] = token;
    shard->rods->settling = token;
}

gboolean
rod_shard_is_settling(const LuShard *shard)
{
    const RodToken *token = shard->rods->settling;

    if (token == NULL)
        return FALSE;

    list_foreach(link, &shard->nexus_luns) {
        const NexusLun *nexus_lun = list_entry(link, NexusLun, shard_link);

        list_foreach(iter, &nexus_lun->tasks) {
            const ScsiCommand *command = list_entry(iter, ScsiCommand, link);

            if (command->state == SCSI_STATE_IO && command->io_writes &&
                touches(token, command->io_offset, command->io_end))
                return TRUE;
        }
    }

    shard->rods->settling = NULL;
    return FALSE;
}

void
rod_token_publish(ScsiCommand *command, RodToken *token, void (*resume)(ScsiCommand *))
{
    LuChange *change = lu_change_new(command);

    if (change == NULL)
        return;

    memcpy(change->room, &token, sizeof(gpointer));
    change->update = update;
    change->tell = tell;
    lu_change_run(change, resume);
}
