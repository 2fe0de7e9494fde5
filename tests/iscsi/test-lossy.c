/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Every PDU is lost once
 *
 * A workload of writes, reads and a failing command is carried out again and again. In the n-th round
 * something happens to the n-th PDU in one direction: it is dropped, damaged, delayed, or its
 * connection dies behind it; rounds go on until the workload has no n-th PDU. Each time all commands
 * have to come to the right end, the data has to be right, read by the same session and afterwards by
 * another, and the session must be the one that was logged in at the beginning (RFC 7143 7.1.4: the
 * recovery classes within a command, within a connection, and of connections).
 *
 * In some cases it happens again and again, down to every second PDU: recovery has to recover from what
 * happens to itself, and come to an end. In others it happens in both directions at once, so that what
 * asks for something is lost as well as what is asked for. Those whose connection dies need some PDUs
 * more in between, because a login and a reassignment are not lost in parts.
 *
 * Time is the rig's: it moves when nothing else does, so what waits for a timeout costs nothing.
 * LUNPORT_LOSSY_NTH plays one round alone, and with --verbose each round is told.
 */

#include "peer.h"

#include <string.h>

#define BLOCK 512

typedef struct {
    const char *name;
    const char *keys;
    guint32 receive, send;
    guint n_blocks[2]; /* of the two writes that run at the same time */
} Load;

/* clang-format off */
static const Load loads[] = {
    { "asked",     "InitialR2T=Yes\nImmediateData=No\nMaxBurstLength=1024\nFirstBurstLength=512\nMaxOutstandingR2T=2", 512, 512, { 6, 4 } },
    { "unasked",   "InitialR2T=No\nImmediateData=Yes\nMaxBurstLength=1024\nFirstBurstLength=1536\nMaxOutstandingR2T=1", 512, 512, { 8, 2 } },
    { "immediate", "InitialR2T=Yes\nImmediateData=Yes\nMaxBurstLength=2048\nFirstBurstLength=1024\nMaxOutstandingR2T=2", 1024, 512, { 6, 1 } },
    { "long",      "InitialR2T=No\nImmediateData=Yes\nMaxBurstLength=524288\nFirstBurstLength=65536\nMaxOutstandingR2T=2", 262144, 262144, { 5000, 2100 } },
};
/* clang-format on */

typedef struct {
    const char *name;
    const char *clause;
    WireFaultKind kind;
    WireDirection direction;
    guint level;
    guint n_links;
    gboolean renews;
    guint period;
} Trouble;

/* clang-format off */
static const Trouble troubles[] = {
    { "1/drop-out",        "7.9", WIRE_FAULT_DROP,    WIRE_TO_TARGET,    1, 1, FALSE, 0 },
    { "1/drop-in",         "7.9", WIRE_FAULT_DROP,    WIRE_TO_INITIATOR, 1, 1, FALSE, 0 },
    { "1/corrupt-out",     "7.8", WIRE_FAULT_CORRUPT, WIRE_TO_TARGET,    1, 1, FALSE, 0 },
    { "1/corrupt-in",      "7.8", WIRE_FAULT_CORRUPT, WIRE_TO_INITIATOR, 1, 1, FALSE, 0 },
    { "1/header-out",      "7.8", WIRE_FAULT_HEADER,  WIRE_TO_TARGET,    1, 1, FALSE, 0 },
    { "1/delay-out",       "7.9", WIRE_FAULT_DELAY,   WIRE_TO_TARGET,    1, 1, FALSE, 0 },
    { "1/delay-in",        "7.9", WIRE_FAULT_DELAY,   WIRE_TO_INITIATOR, 1, 1, FALSE, 0 },
    { "1/drop-out-two",    "7.9", WIRE_FAULT_DROP,    WIRE_TO_TARGET,    1, 2, FALSE, 0 },
    { "1/drop-in-two",     "7.9", WIRE_FAULT_DROP,    WIRE_TO_INITIATOR, 1, 2, FALSE, 0 },
    { "1/drop-out-often",  "7.9", WIRE_FAULT_DROP,    WIRE_TO_TARGET,    1, 1, FALSE, 7 },
    { "1/drop-in-often",   "7.9", WIRE_FAULT_DROP,    WIRE_TO_INITIATOR, 1, 1, FALSE, 7 },
    { "2/drop-out",        "7.9", WIRE_FAULT_DROP,    WIRE_TO_TARGET,    2, 1, FALSE, 0 },
    { "2/drop-in",         "7.9", WIRE_FAULT_DROP,    WIRE_TO_INITIATOR, 2, 1, FALSE, 0 },
    { "2/corrupt-out",     "7.8", WIRE_FAULT_CORRUPT, WIRE_TO_TARGET,    2, 1, FALSE, 0 },
    { "2/corrupt-in",      "7.8", WIRE_FAULT_CORRUPT, WIRE_TO_INITIATOR, 2, 1, FALSE, 0 },
    { "2/header-out",      "7.8", WIRE_FAULT_HEADER,  WIRE_TO_TARGET,    2, 1, FALSE, 0 },
    { "2/delay-out",       "7.9", WIRE_FAULT_DELAY,   WIRE_TO_TARGET,    2, 1, FALSE, 0 },
    { "2/delay-in",        "7.9", WIRE_FAULT_DELAY,   WIRE_TO_INITIATOR, 2, 1, FALSE, 0 },
    { "2/kill-out",        "7.2.2", WIRE_FAULT_KILL,    WIRE_TO_TARGET,    2, 1, FALSE, 0 },
    { "2/kill-in",         "7.2.2", WIRE_FAULT_KILL,    WIRE_TO_INITIATOR, 2, 1, FALSE, 0 },
    { "2/kill-out-renew",  "6.3.4", WIRE_FAULT_KILL,    WIRE_TO_TARGET,    2, 1, TRUE,  0 },
    { "2/kill-in-renew",   "6.3.4", WIRE_FAULT_KILL,    WIRE_TO_INITIATOR, 2, 1, TRUE,  0 },
    { "2/kill-out-two",    "7.2.2", WIRE_FAULT_KILL,    WIRE_TO_TARGET,    2, 2, FALSE, 0 },
    { "2/kill-in-two",     "7.2.2", WIRE_FAULT_KILL,    WIRE_TO_INITIATOR, 2, 2, FALSE, 0 },
    { "2/kill-out-often",  "6.3.4", WIRE_FAULT_KILL,    WIRE_TO_TARGET,    2, 1, TRUE,  11 },
    { "2/kill-in-often",   "6.3.4", WIRE_FAULT_KILL,    WIRE_TO_INITIATOR, 2, 1, TRUE,  11 },
    { "1/drop-out/3",      "7.9", WIRE_FAULT_DROP,    WIRE_TO_TARGET,    1, 1, FALSE, 3 },
    { "1/drop-in/3",       "7.9", WIRE_FAULT_DROP,    WIRE_TO_INITIATOR, 1, 1, FALSE, 3 },
    { "1/corrupt-out/3",   "7.8", WIRE_FAULT_CORRUPT, WIRE_TO_TARGET,    1, 1, FALSE, 3 },
    { "1/corrupt-in/3",    "7.8", WIRE_FAULT_CORRUPT, WIRE_TO_INITIATOR, 1, 1, FALSE, 3 },
    { "1/delay-out/3",     "7.9", WIRE_FAULT_DELAY,   WIRE_TO_TARGET,    1, 1, FALSE, 3 },
    { "1/delay-in/3",      "7.9", WIRE_FAULT_DELAY,   WIRE_TO_INITIATOR, 1, 1, FALSE, 3 },
    { "1/drop-out/2",      "7.9", WIRE_FAULT_DROP,    WIRE_TO_TARGET,    1, 1, FALSE, 2 },
    { "1/drop-in/2",       "7.9", WIRE_FAULT_DROP,    WIRE_TO_INITIATOR, 1, 1, FALSE, 2 },
    { "1/corrupt-out/2",   "7.8", WIRE_FAULT_CORRUPT, WIRE_TO_TARGET,    1, 1, FALSE, 2 },
    { "1/corrupt-in/2",    "7.8", WIRE_FAULT_CORRUPT, WIRE_TO_INITIATOR, 1, 1, FALSE, 2 },
    { "1/delay-out/2",     "7.9", WIRE_FAULT_DELAY,   WIRE_TO_TARGET,    1, 1, FALSE, 2 },
    { "1/delay-in/2",      "7.9", WIRE_FAULT_DELAY,   WIRE_TO_INITIATOR, 1, 1, FALSE, 2 },
    { "2/drop-out/3",      "7.9", WIRE_FAULT_DROP,    WIRE_TO_TARGET,    2, 1, FALSE, 3 },
    { "2/drop-in/3",       "7.9", WIRE_FAULT_DROP,    WIRE_TO_INITIATOR, 2, 1, FALSE, 3 },
    { "2/corrupt-out/3",   "7.8", WIRE_FAULT_CORRUPT, WIRE_TO_TARGET,    2, 1, FALSE, 3 },
    { "2/corrupt-in/3",    "7.8", WIRE_FAULT_CORRUPT, WIRE_TO_INITIATOR, 2, 1, FALSE, 3 },
    { "2/delay-out/3",     "7.9", WIRE_FAULT_DELAY,   WIRE_TO_TARGET,    2, 1, FALSE, 3 },
    { "2/delay-in/3",      "7.9", WIRE_FAULT_DELAY,   WIRE_TO_INITIATOR, 2, 1, FALSE, 3 },
    { "2/drop-out/2",      "7.9", WIRE_FAULT_DROP,    WIRE_TO_TARGET,    2, 1, FALSE, 2 },
    { "2/drop-in/2",       "7.9", WIRE_FAULT_DROP,    WIRE_TO_INITIATOR, 2, 1, FALSE, 2 },
    { "2/corrupt-out/2",   "7.8", WIRE_FAULT_CORRUPT, WIRE_TO_TARGET,    2, 1, FALSE, 2 },
    { "2/corrupt-in/2",    "7.8", WIRE_FAULT_CORRUPT, WIRE_TO_INITIATOR, 2, 1, FALSE, 2 },
    { "2/delay-out/2",     "7.9", WIRE_FAULT_DELAY,   WIRE_TO_TARGET,    2, 1, FALSE, 2 },
    { "2/delay-in/2",      "7.9", WIRE_FAULT_DELAY,   WIRE_TO_INITIATOR, 2, 1, FALSE, 2 },
    { "1/header-out/3",    "7.8", WIRE_FAULT_HEADER,  WIRE_TO_TARGET,    1, 1, FALSE, 3 },
    { "1/header-out/2",    "7.8", WIRE_FAULT_HEADER,  WIRE_TO_TARGET,    1, 1, FALSE, 2 },
    { "2/header-out/3",    "7.8", WIRE_FAULT_HEADER,  WIRE_TO_TARGET,    2, 1, FALSE, 3 },
    { "2/header-out/2",    "7.8", WIRE_FAULT_HEADER,  WIRE_TO_TARGET,    2, 1, FALSE, 2 },
};
/* clang-format on */

typedef struct {
    const Load *load;
    const Trouble *trouble;
} Case;

/* Both ways at once: every n-th PDU of each direction, with phases of their own */
typedef struct {
    const char *name;
    const char *clause;
    WireFaultKind out, in;
    guint level;
    guint n_links;
    gboolean renews;
} Pair;

/* clang-format off */
static const Pair pairs[] = {
    { "1/drop-drop",       "7.9",   WIRE_FAULT_DROP,    WIRE_FAULT_DROP,    1, 1, FALSE },
    { "1/corrupt-corrupt", "7.8",   WIRE_FAULT_CORRUPT, WIRE_FAULT_CORRUPT, 1, 1, FALSE },
    { "1/delay-delay",     "7.9",   WIRE_FAULT_DELAY,   WIRE_FAULT_DELAY,   1, 1, FALSE },
    { "1/corrupt-drop",    "7.8",   WIRE_FAULT_CORRUPT, WIRE_FAULT_DROP,    1, 1, FALSE },
    { "1/drop-delay",      "7.9",   WIRE_FAULT_DROP,    WIRE_FAULT_DELAY,   1, 1, FALSE },
    { "1/header-drop",     "7.8",   WIRE_FAULT_HEADER,  WIRE_FAULT_DROP,    1, 1, FALSE },
    { "1/drop-drop-two",   "7.9",   WIRE_FAULT_DROP,    WIRE_FAULT_DROP,    1, 2, FALSE },
    { "2/drop-drop",       "7.9",   WIRE_FAULT_DROP,    WIRE_FAULT_DROP,    2, 1, FALSE },
    { "2/corrupt-corrupt", "7.8",   WIRE_FAULT_CORRUPT, WIRE_FAULT_CORRUPT, 2, 1, FALSE },
    { "2/delay-delay",     "7.9",   WIRE_FAULT_DELAY,   WIRE_FAULT_DELAY,   2, 1, FALSE },
    { "2/drop-drop-two",   "7.9",   WIRE_FAULT_DROP,    WIRE_FAULT_DROP,    2, 2, FALSE },
};
/* clang-format on */

static const guint periods[] = { 5, 7, 11 };

typedef struct {
    const Load *load;
    const Pair *pair;
    guint period;
} PairCase;

static void
fill(guint8 *data, gsize size, guint32 seed)
{
    for (gsize i = 0; i < size; i++)
        data[i] = (guint8)((i * 2654435761u + seed) >> 13);
}

static void
adjust(IscsiTarget *target)
{
    target->params.error_recovery_level = 2;
}

/* The workload */

typedef struct {
    const Load *load;
    Rig *rig;
    Peer *peer;
    WireFault fault;
    WireFault other;
    guint8 *out[2];
    guint8 *in[2];
} Round;

static guint32
size_of(const Load *load, guint i)
{
    return load->n_blocks[i] * BLOCK;
}

static guint32
lba_of(const Load *load, guint i)
{
    return i * (load->n_blocks[0] + 1);
}

static PeerCommand *
start(Round *round, guint i, gboolean is_write)
{
    guint8 cdb[10];
    guint32 size = size_of(round->load, i);
    PeerCommand *command;

    initiator_cdb10(cdb, is_write ? 0x2a : 0x28, lba_of(round->load, i),
                    (guint16)round->load->n_blocks[i]);
    command = peer_command(round->peer, i % round->peer->n_links, PDU_ATTR_SIMPLE, cdb, sizeof(cdb),
                           is_write ? round->out[i] : NULL, is_write ? size : 0,
                           is_write ? NULL : round->in[i], is_write ? 0 : size);
    peer_send(command);
    return command;
}

static void
finish(PeerCommand *command, guint8 status)
{
    if (!peer_wait(command)) {
        const RigEvent *event = rig_last_event(command->peer->rig, ISCSI_EVENT_CONNECTION_LOST);

        g_test_message("the session was lost: %s", event != NULL ? event->reason : "refused");
        g_assert_not_reached();
    }
    g_assert_false(command->is_given_up);
    if (command->status != status)
        g_test_message("sense %x %04x", command->sense_key, command->asc);
    g_assert_cmphex(command->status, ==, status);
    peer_release(command);
}

/* A read behind the end of the medium: its sense comes in a SCSI Response */
static PeerCommand *
start_failing(Round *round)
{
    static const guint8 cdb[10] = { 0x28, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 1, 0 };
    PeerCommand *command = peer_command(round->peer, 0, PDU_ATTR_SIMPLE, cdb, sizeof(cdb), NULL, 0,
                                        round->in[0], BLOCK);

    peer_send(command);
    return command;
}

static void
work(Round *round)
{
    static const guint8 ready[6];
    PeerCommand *commands[3];

    g_assert_cmphex(peer_run(round->peer, 0, ready, 6, NULL, 0, NULL, 0), ==, 0);
    commands[0] = start(round, 0, TRUE);
    commands[1] = start(round, 1, TRUE);
    finish(commands[0], 0);
    finish(commands[1], 0);

    commands[2] = start_failing(round);
    finish(commands[2], 2);
    commands[0] = start(round, 0, FALSE);
    commands[1] = start(round, 1, FALSE);
    finish(commands[1], 0);
    finish(commands[0], 0);
    for (guint i = 0; i < 2; i++)
        g_assert_true(memcmp(round->in[i], round->out[i], size_of(round->load, i)) == 0);

    /* Once more, so that what came last above is not the end */
    finish(start(round, 1, FALSE), 0);
    g_assert_true(memcmp(round->in[1], round->out[1], size_of(round->load, 1)) == 0);
}

static void
check_by_another(Round *round)
{
    Initiator *initiator = initiator_new(round->rig);

    initiator->isid[5] = 0x77;
    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    for (guint i = 0; i < 2; i++) {
        memset(round->in[i], 0, size_of(round->load, i));
        initiator_read(initiator, lba_of(round->load, i), (guint16)round->load->n_blocks[i],
                       round->in[i]);
        g_assert_true(memcmp(round->in[i], round->out[i], size_of(round->load, i)) == 0);
    }
    initiator_free(initiator);
}

/* With the faults of @round */
static void
play_round(Round *round, PeerConfig *config, const char *name)
{
    const Load *load = round->load;

    config->keys = load->keys;
    config->receive = load->receive;
    config->send = load->send;
    config->digests = TRUE;
    config->fault = &round->fault;
    config->other = &round->other;

    round->rig = rig_new(&(RigConfig){ .size = 8 << 20, .adjust = adjust });
    for (guint i = 0; i < 2; i++) {
        round->out[i] = g_malloc(size_of(load, i));
        round->in[i] = g_malloc0(size_of(load, i));
        fill(round->out[i], size_of(load, i), round->fault.nth * 2 + i);
    }
    round->peer = peer_new(round->rig, config, NULL);
    g_assert_nonnull(round->peer);
    g_assert_cmpuint(round->peer->level, ==, config->level);
    work(round);
    g_assert_cmpuint(rig_count_events(round->rig, ISCSI_EVENT_SESSION_CLOSED), ==, 0);
    if (g_test_verbose())
        g_test_message("%s %s %u %u: SNACKs %u, retries %u, reassigned %u, rejects %u (last %x)",
                       load->name, name, round->fault.nth, round->other.nth, round->peer->n_snacks,
                       round->peer->n_retries, round->peer->n_reassigned, round->peer->n_rejects,
                       round->peer->last_reject);
    peer_free(round->peer);
    check_by_another(round);
    rig_free(round->rig);
    for (guint i = 0; i < 2; i++) {
        g_free(round->out[i]);
        g_free(round->in[i]);
    }
}

/* FALSE: the workload has no n-th PDU */
static gboolean
play(const Case *test, guint nth)
{
    const Trouble *trouble = test->trouble;
    Round round = { .load = test->load,
                    .fault = { trouble->kind, trouble->direction, WIRE_ANY_OPCODE, nth,
                               trouble->period, 0, 0 } };
    PeerConfig config = { .n_links = trouble->n_links,
                          .level = trouble->level,
                          .renews = trouble->renews };

    play_round(&round, &config, trouble->name);
    return round.fault.n_struck != 0;
}

static void
play_pair(const PairCase *test, guint nth_out, guint nth_in)
{
    const Pair *pair = test->pair;
    Round round = {
        .load = test->load,
        .fault = { pair->out, WIRE_TO_TARGET, WIRE_ANY_OPCODE, nth_out, test->period, 0, 0 },
        .other = { pair->in, WIRE_TO_INITIATOR, WIRE_ANY_OPCODE, nth_in, test->period, 0, 0 },
    };
    PeerConfig config = { .n_links = pair->n_links, .level = pair->level, .renews = pair->renews };

    play_round(&round, &config, pair->name);
    g_assert_cmpuint(round.fault.n_struck, !=, 0);
    g_assert_cmpuint(round.other.n_struck, !=, 0);
}

/* Each beginning of one way with one of the other, all with all if there is time */
static void
test_pair(gconstpointer data)
{
    const PairCase *test = data;
    guint n = g_test_slow() ? test->period : 1;

    for (guint i = 1; i <= test->period; i++) {
        for (guint j = 0; j < n; j++)
            play_pair(test, i, 1 + (i * 3 + j) % test->period);
    }
}

static gboolean
is_frequent(const Trouble *trouble)
{
    return trouble->period == 2 || trouble->period == 3;
}

static void
test_case(gconstpointer data)
{
    const Case *test = data;
    const char *only = g_getenv("LUNPORT_LOSSY_NTH");
    guint nth = 1;

    if (only != NULL) {
        (void)play(test, (guint)g_ascii_strtoull(only, NULL, 10));
        return;
    }
    /* What happens to every second or third PDU has no more beginnings than that */
    if (is_frequent(test->trouble) && !g_test_slow()) {
        for (nth = 1; nth <= test->trouble->period; nth++)
            g_assert_true(play(test, nth));
        return;
    }
    while (play(test, nth))
        nth++;
    g_assert_cmpuint(nth, >, 10);
}

/* Who does not acknowledge answers is not served without end, and goes on when it does (4.2.2.2) */
static void
test_withheld(void)
{
    static const guint8 ready[6];
    Rig *rig = rig_new(&(RigConfig){ .adjust = adjust });
    PeerConfig config = { .level = 1 };
    Peer *peer = peer_new(rig, &config, NULL);
    guint n = 0;

    g_assert_nonnull(peer);
    g_assert_cmphex(peer_run(peer, 0, ready, 6, NULL, 0, NULL, 0), ==, 0);
    peer->links[0].withholds = TRUE;
    while (peer_has_room(peer) && n < 1000) {
        PeerCommand *command = peer_command(peer, 0, PDU_ATTR_SIMPLE, ready, 6, NULL, 0, NULL, 0);

        peer_send(command);
        finish(command, 0);
        n++;
    }
    g_assert_cmpuint(n, <, 1000);

    peer->links[0].withholds = FALSE;
    peer_probe(peer);
    for (guint i = 0; i < n; i++)
        g_assert_cmphex(peer_run(peer, 0, ready, 6, NULL, 0, NULL, 0), ==, 0);
    peer_free(peer);
    rig_free(rig);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/iscsi/lossy/withheld:4.2.2.2", test_withheld);
    for (gsize i = 0; i < G_N_ELEMENTS(loads); i++) {
        for (gsize j = 0; j < G_N_ELEMENTS(troubles); j++) {
            g_autofree char *path = g_strdup_printf("/iscsi/lossy/%s/%s:%s", loads[i].name,
                                                    troubles[j].name, troubles[j].clause);
            Case *test = g_new(Case, 1);

            *test = (Case){ &loads[i], &troubles[j] };
            g_test_add_data_func_full(path, test, test_case, g_free);
        }
    }
    for (gsize i = 0; i < G_N_ELEMENTS(loads); i++) {
        for (gsize j = 0; j < G_N_ELEMENTS(pairs) * G_N_ELEMENTS(periods); j++) {
            const Pair *pair = &pairs[j / G_N_ELEMENTS(periods)];
            guint period = periods[j % G_N_ELEMENTS(periods)];
            g_autofree char *path = g_strdup_printf("/iscsi/lossy/%s/both/%s/%u:%s", loads[i].name,
                                                    pair->name, period, pair->clause);
            PairCase *test = g_new(PairCase, 1);

            *test = (PairCase){ &loads[i], pair, period };
            g_test_add_data_func_full(path, test, test_pair, g_free);
        }
    }
    return g_test_run();
}
