/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What may be wrong on the wire at error recovery level 0, as tables: one row is one mistake, names
 * the clause of RFC 7143 that says what has to become of it, and is played in a session of its own.
 * Whatever the mistake was, blocks that were not written rightly keep what they had, and the service
 * goes on working: with the same session where the clause lets it live, with a new one otherwise.
 */

#include "initiator.h"

#include <string.h>

#define BLOCK    512
#define WRITE_10 0x2a

/* What an initiator may see of a mistake */
typedef enum {
    NOTHING, /* it is as if the PDU had not come */
    GOOD,
    CHECK, /* CHECK CONDITION with a sense */
    REJECT,
    REJECT_THEN_GOOD, /* of the command, if the rest is done rightly */
    REJECT_THEN_CHECK,
    CLOSE,
} Verdict;

static void
fill(guint8 *data, gsize size, guint32 seed)
{
    for (gsize i = 0; i < size; i++)
        data[i] = (guint8)((i * 2654435761u + seed) >> 13);
}

typedef struct {
    Rig *rig;
    Initiator *initiator;
    guint8 old[16 * BLOCK]; /* what is in the blocks before */
    guint8 new[16 * BLOCK]; /* what the row's command writes */
} Bed;

static Bed *
bed_new(const char *keys, guint32 cmd_sn)
{
    Bed *bed = g_new0(Bed, 1);

    bed->rig = rig_new(&(RigConfig){ .type = "held", .size = 1 << 20 });
    bed->initiator = initiator_new(bed->rig);
    bed->initiator->cmd_sn = cmd_sn;
    g_assert_cmphex(initiator_login(bed->initiator, keys), ==, 0);
    initiator_settle(bed->initiator);
    fill(bed->old, sizeof(bed->old), 1);
    fill(bed->new, sizeof(bed->new), 2);
    initiator_write(bed->initiator, 0, 16, bed->old);
    return bed;
}

static void
check_blocks(Initiator *initiator, const guint8 *expected)
{
    guint8 in[16 * BLOCK];

    initiator_read(initiator, 0, 16, in);
    g_assert_true(memcmp(in, expected, sizeof(in)) == 0);
}

/* The blocks are as they should be, seen by the same session or, where it has gone, another */
static void
bed_free(Bed *bed, gboolean is_written, gboolean is_closed)
{
    Initiator *other = NULL;

    if (is_closed) {
        other = initiator_new(bed->rig);
        other->isid[5] = 9;
        g_assert_cmphex(initiator_login(other, NULL), ==, 0);
        initiator_settle(other);
    }
    check_blocks(is_closed ? other : bed->initiator, is_written ? bed->new : bed->old);
    if (other != NULL)
        initiator_free(other);
    initiator_free(bed->initiator);
    rig_free(bed->rig);
    g_free(bed);
}

/* NOP-Ins of the target's own, and the like, are not what a row waits for */
static gboolean
next_answer(Initiator *initiator)
{
    do {
        if (!initiator_poll(initiator))
            return FALSE;
    } while (pdu_opcode(initiator->bhs) == PDU_NOP_IN &&
             pdu_itt(initiator->bhs) == PDU_TAG_RESERVED);
    return TRUE;
}

static void
expect_reject(Initiator *initiator, PduRejectReason reason, const guint8 *bhs)
{
    g_assert_true(next_answer(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_REJECT);
    g_assert_cmphex(initiator->bhs[2], ==, reason);
    /* RFC 7143 11.17.4 */
    g_assert_cmpuint(initiator->data_size, >=, PDU_BHS_SIZE);
    g_assert_true(memcmp(initiator->data, bhs, PDU_BHS_SIZE) == 0);
}

static void
expect_status(Initiator *initiator, guint32 itt, guint8 status, guint16 asc)
{
    g_assert_true(next_answer(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_SCSI_RESPONSE);
    g_assert_cmphex(pdu_itt(initiator->bhs), ==, itt);
    g_assert_cmphex(initiator->bhs[3], ==, status);
    if (status == 2)
        g_assert_cmphex(get_be16(initiator->data + 2 + 12), ==, asc);
}

/* CmdSN. Each row is played across the wrap-around of the numbers too. */

#define PLAIN                                                                                      \
    "InitialR2T=No\nImmediateData=Yes\nMaxBurstLength=65536\nFirstBurstLength=65536\n"             \
    "MaxRecvDataSegmentLength=65536"

/* Whether a command with the same CmdSN is there already */
typedef enum {
    ALONE,
    TWIN_PARKED,  /* waits for commands before it */
    TWIN_RUNNING, /* its writing is under way */
    TWIN_DONE,    /* was answered */
} Twin;

typedef struct {
    const char *name;
    const char *clause;
    gboolean from_max; /* @distance counts from MaxCmdSN instead of ExpCmdSN */
    guint32 distance;
    Twin twin;
    gboolean same_tag; /* as the twin: a retry */
    gboolean is_immediate;
    Verdict verdict;
} NumberRow;

/* clang-format off */
static const NumberRow number_rows[] = {
    { "expected",                "4.2.2.1", FALSE, 0,           ALONE,        FALSE, FALSE, GOOD },
    { "ahead",                   "4.2.2.1", FALSE, 1,           ALONE,        FALSE, FALSE, GOOD },
    { "last-of-the-window",      "4.2.2.1", TRUE,  0,           ALONE,        FALSE, FALSE, GOOD },
    { "one-below",               "4.2.2.1", FALSE, -1u,         ALONE,        FALSE, FALSE, NOTHING },
    { "far-below",               "4.2.2.1", FALSE, 0x80000001u, ALONE,        FALSE, FALSE, NOTHING },
    { "opposite",                "4.2.2.1", FALSE, 0x80000000u, ALONE,        FALSE, FALSE, NOTHING },
    { "far-above",               "4.2.2.1", FALSE, 0x7fffffffu, ALONE,        FALSE, FALSE, NOTHING },
    { "one-above",               "4.2.2.1", TRUE,  1,           ALONE,        FALSE, FALSE, NOTHING },
    { "256-above",               "4.2.2.1", TRUE,  256,         ALONE,        FALSE, FALSE, NOTHING },
    { "duplicate-of-parked",     "4.2.2.1", FALSE, 1,           TWIN_PARKED,  FALSE, FALSE, NOTHING },
    { "duplicate-of-running",    "4.2.2.1", FALSE, 0,           TWIN_RUNNING, FALSE, FALSE, NOTHING },
    { "duplicate-of-answered",   "4.2.2.1", FALSE, 0,           TWIN_DONE,    FALSE, FALSE, NOTHING },
    { "retry-of-parked",         "7.2.1",   FALSE, 1,           TWIN_PARKED,  TRUE,  FALSE, NOTHING },
    { "retry-of-running",        "7.2.1",   FALSE, 0,           TWIN_RUNNING, TRUE,  FALSE, NOTHING },
    { "retry-of-answered",       "7.2.1",   FALSE, 0,           TWIN_DONE,    TRUE,  FALSE, NOTHING },
    { "immediate-expected",      "4.2.2.1", FALSE, 0,           ALONE,        FALSE, TRUE,  GOOD },
    { "immediate-one-below",     "4.2.2.1", FALSE, -1u,         ALONE,        FALSE, TRUE,  GOOD },
    { "immediate-one-above",     "4.2.2.1", TRUE,  1,           ALONE,        FALSE, TRUE,  GOOD },
};
/* clang-format on */

/* A write of one block with immediate data; the twin writes what is there already */
static guint32
send_block(Initiator *initiator, guint32 cmd_sn, guint32 lba, const guint8 *data,
           gboolean is_immediate, guint32 itt)
{
    guint8 bhs[PDU_BHS_SIZE], cdb[10];
    guint32 kept = initiator->cmd_sn;

    initiator_cdb10(cdb, WRITE_10, lba, 1);
    initiator_command(initiator, bhs, PDU_FINAL | PDU_COMMAND_WRITE, cdb, sizeof(cdb), BLOCK);
    bhs[0] |= is_immediate ? PDU_IMMEDIATE : 0;
    put_be32(bhs + 24, cmd_sn);
    if (itt != PDU_TAG_RESERVED)
        put_be32(bhs + 16, itt);
    initiator_send(initiator, bhs, data, BLOCK);
    initiator->cmd_sn = kept;
    return pdu_itt(bhs);
}

static guint
count_answers(Initiator *initiator, guint32 itt)
{
    guint n = 0;

    while (next_answer(initiator)) {
        g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_SCSI_RESPONSE);
        g_assert_cmphex(initiator->bhs[3], ==, 0);
        n += pdu_itt(initiator->bhs) == itt;
    }
    return n;
}

/* Send the commands up to that with @cmd_sn, and go on behind it */
static void
bridge(Bed *bed, guint32 cmd_sn)
{
    while (bed->initiator->cmd_sn != cmd_sn) {
        (void)send_block(bed->initiator, bed->initiator->cmd_sn, 15, bed->old + (gsize)15 * BLOCK,
                         FALSE, PDU_TAG_RESERVED);
        bed->initiator->cmd_sn++;
    }
    bed->initiator->cmd_sn++;
}

static void
play_number(const NumberRow *row, guint32 start)
{
    Bed *bed = bed_new(PLAIN, start);
    Initiator *initiator = bed->initiator;
    guint32 first = row->from_max ? initiator->max_cmd_sn : initiator->cmd_sn;
    guint32 cmd_sn = first + row->distance;
    guint32 twin = PDU_TAG_RESERVED, itt;
    guint n = 0;

    if (row->twin == TWIN_RUNNING)
        rig_hold(bed->rig);
    if (row->twin != ALONE)
        twin = send_block(initiator, cmd_sn, 0, bed->old, FALSE, PDU_TAG_RESERVED);
    if (row->twin == TWIN_DONE)
        g_assert_cmpuint(count_answers(initiator, twin), ==, 1);
    itt = send_block(initiator, cmd_sn, 0, bed->new, row->is_immediate,
                     row->same_tag ? twin : PDU_TAG_RESERVED);
    n = count_answers(initiator, itt);
    rig_release(bed->rig);

    if (!row->is_immediate && (row->verdict == GOOD || row->twin != ALONE))
        bridge(bed, cmd_sn);
    n += count_answers(initiator, itt);
    /* Under the tag of the twin its own answer comes, unless it was seen before */
    g_assert_cmpuint(n, ==, row->same_tag ? row->twin != TWIN_DONE : row->verdict == GOOD);
    memcpy(bed->new + BLOCK, bed->old + BLOCK, sizeof(bed->old) - BLOCK);
    bed_free(bed, row->verdict == GOOD, FALSE);
}

static void
test_number(gconstpointer data)
{
    const NumberRow *row = data;

    play_number(row, 0x1000);
    for (guint32 i = 1; i < 8; i++)
        play_number(row, 0u - i);
}

/* Data-Out: a write of 16 blocks, whose first sequence is sent as the row says */

#define N_PIECES 5

typedef enum {
    TAG_RIGHT,
    TAG_WRONG_TTT,
    TAG_NO_TTT,
    TAG_WRONG_ITT,
} PieceTag;

typedef struct {
    guint32 data_sn;
    guint32 offset;
    guint32 size;
    gboolean is_final;
    PieceTag tag;
} Piece;

typedef struct {
    const char *name;
    const char *clause;
    gboolean is_unsolicited; /* the sequence behind the command; otherwise that of the first R2T */
    Piece pieces[N_PIECES];  /* the last one has the F bit */
    Verdict verdict;
    guint16 asc;
} DataRow;

#define SOLICITED   "InitialR2T=Yes\nImmediateData=No\nMaxBurstLength=4096\nFirstBurstLength=4096"
#define UNSOLICITED "InitialR2T=No\nImmediateData=No\nMaxBurstLength=4096\nFirstBurstLength=4096"

#define ASC_UNSOLICITED 0x0c0c
#define ASC_AMOUNT      0x0c0d
#define ASC_CRC         0x4705

/* clang-format off */
#define F TRUE
static const DataRow data_rows[] = {
    { "one-pdu",            "11.8",     FALSE, { { 0, 0, 4096, F, 0 } }, GOOD, 0 },
    { "four-pdus",          "11.8",     FALSE, { { 0, 0, 1024, 0, 0 }, { 1, 1024, 1024, 0, 0 }, { 2, 2048, 1024, 0, 0 }, { 3, 3072, 1024, F, 0 } }, GOOD, 0 },
    { "empty-pdu",          "11.7.7",   FALSE, { { 0, 0, 2048, 0, 0 }, { 1, 2048, 0, 0, 0 }, { 2, 2048, 2048, F, 0 } }, GOOD, 0 },
    { "odd-sizes",          "11.7.7",   FALSE, { { 0, 0, 1001, 0, 0 }, { 1, 1001, 3, 0, 0 }, { 2, 1004, 3092, F, 0 } }, GOOD, 0 },
    { "first-is-not-0",     "7.9",      FALSE, { { 1, 0, 4096, F, 0 } }, CHECK, ASC_CRC },
    { "gap",                "7.9",      FALSE, { { 0, 0, 1024, 0, 0 }, { 2, 2048, 2048, F, 0 } }, CHECK, ASC_CRC },
    { "gap-at-the-end",     "7.9",      FALSE, { { 0, 0, 1024, 0, 0 }, { 1, 1024, 1024, 0, 0 }, { 3, 3072, 1024, F, 0 } }, CHECK, ASC_CRC },
    { "only-the-last",      "7.9",      FALSE, { { 3, 3072, 1024, F, 0 } }, CHECK, ASC_CRC },
    { "same-number-twice",  "7.9",      FALSE, { { 0, 0, 2048, 0, 0 }, { 0, 2048, 2048, F, 0 } }, CHECK, ASC_CRC },
    { "swapped",            "7.9",      FALSE, { { 1, 2048, 2048, 0, 0 }, { 0, 0, 2048, F, 0 } }, CHECK, ASC_CRC },
    { "swapped-offsets",    "13.18",    FALSE, { { 0, 2048, 2048, 0, 0 }, { 1, 0, 2048, F, 0 } }, CHECK, 0 },
    { "offset-repeats",     "11.7.6",   FALSE, { { 0, 0, 2048, 0, 0 }, { 1, 1024, 3072, F, 0 } }, CHECK, 0 },
    { "offset-skips",       "11.8",     FALSE, { { 0, 0, 2048, 0, 0 }, { 1, 3072, 1024, F, 0 } }, CHECK, 0 },
    { "outside-of-burst",   "11.8",     FALSE, { { 0, 4096, 4096, F, 0 } }, CHECK, 0 },
    { "outside-of-command", "11.7.6",   FALSE, { { 0, 0xfffff000u, 4096, F, 0 } }, CHECK, 0 },
    { "too-short",          "11.4.7.2", FALSE, { { 0, 0, 2048, F, 0 } }, CHECK, ASC_AMOUNT },
    { "nothing-at-all",     "11.4.7.2", FALSE, { { 0, 0, 0, F, 0 } }, CHECK, ASC_AMOUNT },
    { "too-long",           "11.8",     FALSE, { { 0, 0, 5120, F, 0 } }, CHECK, 0 },
    { "unknown-ttt",        "11.17.1",  FALSE, { { 0, 0, 4096, F, TAG_WRONG_TTT }, { 0, 0, 4096, F, 0 } }, REJECT_THEN_GOOD, PDU_REJECT_INVALID_FIELD },
    { "no-ttt",             "13.10",    FALSE, { { 0, 0, 4096, 0, TAG_NO_TTT }, { 0, 0, 4096, F, 0 } }, CHECK, ASC_UNSOLICITED },
    { "unknown-itt",        "7.10",     FALSE, { { 0, 0, 4096, F, TAG_WRONG_ITT }, { 0, 0, 4096, F, 0 } }, GOOD, 0 },
    { "unsolicited",        "13.14",    TRUE,  { { 0, 0, 4096, F, 0 } }, GOOD, 0 },
    { "unsolicited-pieces", "13.14",    TRUE,  { { 0, 0, 2048, 0, 0 }, { 1, 2048, 2048, F, 0 } }, GOOD, 0 },
    { "unsolicited-gap",    "7.9",      TRUE,  { { 0, 0, 1024, 0, 0 }, { 2, 2048, 2048, F, 0 } }, CHECK, ASC_CRC },
    { "unsolicited-first",  "7.9",      TRUE,  { { 1, 2048, 2048, F, 0 } }, CHECK, ASC_CRC },
    { "unsolicited-short",  "11.4.7.2", TRUE,  { { 0, 0, 1024, F, 0 } }, CHECK, ASC_AMOUNT },
    { "unsolicited-long",   "11.7.1",   TRUE,  { { 0, 0, 5120, F, 0 } }, CHECK, 0 },
    { "unsolicited-offset", "11.7.6",   TRUE,  { { 0, 512, 4096, F, 0 } }, CHECK, 0 },
};
#undef F
/* clang-format on */

static void
send_piece(Bed *bed, const Piece *piece, guint8 *bhs, guint32 itt, guint32 ttt)
{
    memset(bhs, 0, PDU_BHS_SIZE);
    bhs[0] = PDU_DATA_OUT;
    bhs[1] = piece->is_final ? PDU_FINAL : 0;
    put_be32(bhs + 16, piece->tag == TAG_WRONG_ITT ? itt ^ 0x5000 : itt);
    put_be32(bhs + 20, piece->tag == TAG_WRONG_TTT ? ttt ^ 0x50
                       : piece->tag == TAG_NO_TTT  ? PDU_TAG_RESERVED
                                                   : ttt);
    put_be32(bhs + 28, bed->initiator->exp_stat_sn);
    put_be32(bhs + 36, piece->data_sn);
    put_be32(bhs + 40, piece->offset);
    initiator_send(bed->initiator, bhs, bed->new + piece->offset % 4096, piece->size);
}

/* Answers the R2T that was received with what it asks for */
static void
answer_r2t(Bed *bed)
{
    const guint8 *r2t = bed->initiator->bhs;
    Piece piece = { .offset = pdu_data_offset(r2t), .size = pdu_r2t_length(r2t), .is_final = TRUE };
    guint8 bhs[PDU_BHS_SIZE] = { PDU_DATA_OUT, PDU_FINAL };

    put_be32(bhs + 16, pdu_itt(r2t));
    put_be32(bhs + 20, pdu_ttt(r2t));
    put_be32(bhs + 28, bed->initiator->exp_stat_sn);
    put_be32(bhs + 40, piece.offset);
    initiator_send(bed->initiator, bhs, bed->new + piece.offset, piece.size);
}

/* WRITE(10) of 16 blocks at block 0 */
static guint32
send_write(Initiator *initiator, gboolean is_final)
{
    guint8 bhs[PDU_BHS_SIZE], cdb[10];

    initiator_cdb10(cdb, WRITE_10, 0, 16);
    initiator_command(initiator, bhs, (guint8)(PDU_COMMAND_WRITE | (is_final ? PDU_FINAL : 0)), cdb,
                      sizeof(cdb), 16 * BLOCK);
    initiator_send(initiator, bhs, NULL, 0);
    return pdu_itt(bhs);
}

static void
test_data(gconstpointer data)
{
    const DataRow *row = data;
    Bed *bed = bed_new(row->is_unsolicited ? UNSOLICITED : SOLICITED, 0x1000);
    Initiator *initiator = bed->initiator;
    guint32 ttt = PDU_TAG_RESERVED;
    gboolean is_good = row->verdict != CHECK;
    guint32 itt = send_write(initiator, !row->is_unsolicited);
    guint8 bhs[PDU_BHS_SIZE];

    if (!row->is_unsolicited) {
        g_assert_true(next_answer(initiator));
        g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_R2T);
        ttt = pdu_ttt(initiator->bhs);
    }
    for (guint i = 0; i < N_PIECES; i++) {
        if (row->pieces[i].size == 0 && !row->pieces[i].is_final && row->pieces[i].data_sn == 0)
            break;
        send_piece(bed, &row->pieces[i], bhs, itt, ttt);
        if (row->verdict == REJECT_THEN_GOOD && i == 0)
            expect_reject(initiator, (PduRejectReason)row->asc, bhs);
    }

    while (is_good) {
        g_assert_true(next_answer(initiator));
        if (pdu_opcode(initiator->bhs) != PDU_R2T)
            break;
        answer_r2t(bed);
    }
    if (is_good) {
        g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_SCSI_RESPONSE);
        g_assert_cmphex(initiator->bhs[3], ==, 0);
        /* Of a write it is 0, however many R2Ts there were: RFC 7143 11.4.8, A.3.1 */
        g_assert_cmpuint(get_be32(initiator->bhs + 36), ==, 0);
    } else {
        g_assert_true(next_answer(initiator));
        g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_SCSI_RESPONSE);
        g_assert_cmphex(pdu_itt(initiator->bhs), ==, itt);
        g_assert_cmphex(initiator->bhs[3], ==, 2);
        g_assert_cmphex(initiator->data[4] & 0x0f, ==, 0x0b); /* ABORTED COMMAND */
        if (row->asc != 0)
            g_assert_cmphex(get_be16(initiator->data + 2 + 12), ==, row->asc);
    }
    g_assert_false(next_answer(initiator));
    bed_free(bed, is_good, FALSE);
}

/* Digests that are wrong, and segments that are too long: each kind of PDU */

#define DIGESTS PLAIN "\nHeaderDigest=CRC32C\nDataDigest=CRC32C"
#define TEXT    "SendTargets="

typedef enum {
    KIND_COMMAND, /* without data */
    KIND_COMMAND_WITH_DATA,
    KIND_DATA_OUT,
    KIND_NOP_OUT,
    KIND_TEXT,
    KIND_MANAGEMENT,
    KIND_LOGOUT,
} Kind;

typedef struct {
    const char *name;
    const char *clause;
    Kind kind;
    InitiatorFlaw flaw;
    Verdict verdict;
} DigestRow;

/* clang-format off */
static const DigestRow digest_rows[] = {
    { "command",              "7.8", KIND_COMMAND,           INITIATOR_FLAW_NONE,          GOOD },
    { "command-with-data",    "7.8", KIND_COMMAND_WITH_DATA, INITIATOR_FLAW_NONE,          GOOD },
    { "data-out",             "7.8", KIND_DATA_OUT,          INITIATOR_FLAW_NONE,          GOOD },
    { "command-header",       "7.8", KIND_COMMAND,           INITIATOR_FLAW_HEADER_DIGEST, CLOSE },
    { "command-data-header",  "7.8", KIND_COMMAND_WITH_DATA, INITIATOR_FLAW_HEADER_DIGEST, CLOSE },
    { "data-out-header",      "7.8", KIND_DATA_OUT,          INITIATOR_FLAW_HEADER_DIGEST, CLOSE },
    { "nop-out-header",       "7.8", KIND_NOP_OUT,           INITIATOR_FLAW_HEADER_DIGEST, CLOSE },
    { "text-header",          "7.8", KIND_TEXT,              INITIATOR_FLAW_HEADER_DIGEST, CLOSE },
    { "management-header",    "7.8", KIND_MANAGEMENT,        INITIATOR_FLAW_HEADER_DIGEST, CLOSE },
    { "logout-header",        "7.8", KIND_LOGOUT,            INITIATOR_FLAW_HEADER_DIGEST, CLOSE },
    { "immediate-data",       "7.8", KIND_COMMAND_WITH_DATA, INITIATOR_FLAW_DATA_DIGEST,   REJECT_THEN_GOOD },
    { "data-out-data",        "7.8", KIND_DATA_OUT,          INITIATOR_FLAW_DATA_DIGEST,   REJECT_THEN_CHECK },
    { "nop-out-data",         "7.8", KIND_NOP_OUT,           INITIATOR_FLAW_DATA_DIGEST,   REJECT_THEN_GOOD },
    { "text-data",            "7.8", KIND_TEXT,              INITIATOR_FLAW_DATA_DIGEST,   REJECT_THEN_GOOD },
    { "nop-out-padding",      "11.2.3", KIND_NOP_OUT,        INITIATOR_FLAW_PADDING,       REJECT_THEN_GOOD },
    { "text-padding",         "11.2.3", KIND_TEXT,           INITIATOR_FLAW_PADDING,       REJECT_THEN_GOOD },
};

typedef struct {
    const char *name;
    const char *clause;
    Kind kind;
    guint32 beyond; /* bytes more than the target's MaxRecvDataSegmentLength */
} SizeRow;

static const SizeRow size_rows[] = {
    { "command-by-1",       "13.12",  KIND_COMMAND_WITH_DATA, 1 },
    { "command-by-64k",     "13.12",  KIND_COMMAND_WITH_DATA, 65536 },
    { "data-out-by-1",      "11.7.1", KIND_DATA_OUT,          1 },
    { "data-out-by-64k",    "11.7.1", KIND_DATA_OUT,          65536 },
    { "nop-out-by-1",       "13.12",  KIND_NOP_OUT,           1 },
    { "text-by-1",          "13.12",  KIND_TEXT,              1 },
};
/* clang-format on */

/* The header of a PDU of this kind; Data-Out: the R2T was received */
static void
make_header(Initiator *initiator, Kind kind, guint8 *bhs)
{
    guint8 cdb[10];

    switch (kind) {
    case KIND_COMMAND:
        initiator_cdb10(cdb, 0, 0, 0);
        initiator_command(initiator, bhs, PDU_FINAL, cdb, 6, 0);
        break;
    case KIND_COMMAND_WITH_DATA:
        initiator_cdb10(cdb, WRITE_10, 0, 16);
        initiator_command(initiator, bhs, PDU_FINAL | PDU_COMMAND_WRITE, cdb, sizeof(cdb),
                          16 * BLOCK);
        break;
    case KIND_DATA_OUT:
        memset(bhs, 0, PDU_BHS_SIZE);
        bhs[0] = PDU_DATA_OUT;
        bhs[1] = PDU_FINAL;
        put_be32(bhs + 16, pdu_itt(initiator->bhs));
        put_be32(bhs + 20, pdu_ttt(initiator->bhs));
        put_be32(bhs + 28, initiator->exp_stat_sn);
        break;
    case KIND_NOP_OUT:
        initiator_header(initiator, bhs, PDU_NOP_OUT, PDU_FINAL);
        put_be32(bhs + 20, PDU_TAG_RESERVED);
        break;
    case KIND_TEXT:
        initiator_header(initiator, bhs, PDU_TEXT_REQUEST, PDU_FINAL);
        put_be32(bhs + 20, PDU_TAG_RESERVED);
        break;
    case KIND_MANAGEMENT:
        initiator_header(initiator, bhs, PDU_TASK_MANAGEMENT_REQUEST,
                         PDU_FINAL | PDU_TMF_LOGICAL_UNIT_RESET);
        put_be32(bhs + 20, PDU_TAG_RESERVED);
        break;
    case KIND_LOGOUT:
        initiator_header(initiator, bhs, PDU_LOGOUT_REQUEST, PDU_FINAL);
        break;
    }
}

static gboolean
writes(Kind kind)
{
    return kind == KIND_COMMAND_WITH_DATA || kind == KIND_DATA_OUT;
}

/* Data-Outs are sent in answer to an R2T */
static guint32
prepare(Initiator *initiator, Kind kind)
{
    guint32 itt;

    if (kind != KIND_DATA_OUT)
        return PDU_TAG_RESERVED;

    itt = send_write(initiator, TRUE);
    g_assert_true(next_answer(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_R2T);
    return itt;
}

static void
expect_good(Initiator *initiator, Kind kind, const guint8 *bhs)
{
    static const PduOpcode answers[] = {
        [KIND_COMMAND] = PDU_SCSI_RESPONSE,  [KIND_COMMAND_WITH_DATA] = PDU_SCSI_RESPONSE,
        [KIND_DATA_OUT] = PDU_SCSI_RESPONSE, [KIND_NOP_OUT] = PDU_NOP_IN,
        [KIND_TEXT] = PDU_TEXT_RESPONSE,
    };

    g_assert_true(next_answer(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, answers[kind]);
    g_assert_cmphex(pdu_itt(initiator->bhs), ==, pdu_itt(bhs));
    if (answers[kind] == PDU_SCSI_RESPONSE)
        g_assert_cmphex(initiator->bhs[3], ==, 0);
}

static void
test_digest(gconstpointer data)
{
    const DigestRow *row = data;
    Bed *bed = bed_new(DIGESTS, 0x1000);
    Initiator *initiator = bed->initiator;
    guint32 itt = prepare(initiator, row->kind);
    const void *payload = writes(row->kind) ? (const void *)bed->new : TEXT;
    gsize size = writes(row->kind)                                     ? 16 * BLOCK
                 : row->kind == KIND_NOP_OUT || row->kind == KIND_TEXT ? strlen(TEXT) + 1
                                                                       : 0;
    guint8 bhs[PDU_BHS_SIZE];

    make_header(initiator, row->kind, bhs);
    initiator_send_flawed(initiator, bhs, payload, size, row->flaw);
    switch (row->verdict) {
    case GOOD:
        expect_good(initiator, row->kind, bhs);
        break;
    case REJECT_THEN_GOOD:
        /* Its CmdSN was not received: it is sent again as it was (RFC 7143 7.2.1, 7.3) */
        expect_reject(initiator, PDU_REJECT_DATA_DIGEST, bhs);
        g_assert_false(next_answer(initiator));
        initiator_send(initiator, bhs, payload, size);
        expect_good(initiator, row->kind, bhs);
        break;
    case REJECT_THEN_CHECK:
        expect_reject(initiator, PDU_REJECT_DATA_DIGEST, bhs);
        expect_status(initiator, itt, 2, ASC_CRC);
        break;
    case CLOSE:
        g_assert_true(initiator_is_closed(initiator));
        break;
    case NOTHING:
    case CHECK:
    case REJECT:
        g_assert_not_reached();
    }
    bed_free(bed, writes(row->kind) && (row->verdict == GOOD || row->verdict == REJECT_THEN_GOOD),
             row->verdict == CLOSE);
}

/* What follows such a PDU cannot be believed: at most a Reject, then the connection is closed */
static void
test_size(gconstpointer data)
{
    const SizeRow *row = data;
    Bed *bed = bed_new(row->kind == KIND_DATA_OUT ? SOLICITED : PLAIN, 0x1000);
    Initiator *initiator = bed->initiator;
    gsize size = initiator->max_xmit + row->beyond;
    g_autofree guint8 *payload = g_malloc0(size);
    guint8 bhs[PDU_BHS_SIZE];

    (void)prepare(initiator, row->kind);
    make_header(initiator, row->kind, bhs);
    initiator_send(initiator, bhs, payload, size);
    while (!initiator_is_closed(initiator)) {
        g_assert_true(initiator_receive(initiator));
        g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_REJECT);
    }
    bed_free(bed, FALSE, TRUE);
}

/* The stream may be cut anywhere */

static void
check_split(Rig *rig, const char *keys, gsize split, gboolean *ret_is_cut)
{
    Initiator *initiator = initiator_new(rig);
    guint8 out[3 * BLOCK], in[3 * BLOCK];

    fill(out, sizeof(out), (guint32)split);
    initiator->split = split;
    g_assert_cmphex(initiator_login(initiator, keys), ==, 0);
    initiator_settle(initiator);
    initiator_write(initiator, 0, 3, out);
    initiator_read(initiator, 0, 3, in);
    g_assert_true(memcmp(in, out, sizeof(in)) == 0);
    *ret_is_cut = initiator->split == 0;
    initiator_free(initiator);
    rig_settle(rig);
}

/* Immediate data, an unsolicited sequence and an R2T of a block each */
#define PIECEWISE                                                                                  \
    "InitialR2T=No\nImmediateData=Yes\nMaxBurstLength=512\nFirstBurstLength=512\n"                 \
    "MaxRecvDataSegmentLength=512"

static void
test_split(gconstpointer keys)
{
    Rig *rig = rig_new(&(RigConfig){ .size = 1 << 20 });
    gboolean is_cut = TRUE;
    gsize split = 0;

    while (is_cut)
        check_split(rig, keys, ++split, &is_cut);
    /* Login, TEST UNIT READY, write with its data, read */
    g_assert_cmpuint(split, >, 5 * PDU_BHS_SIZE + 3 * BLOCK);
    rig_free(rig);
}

/* Who reads slowly gets everything, and who does not read harms nobody else */

static void
test_slow_reading(gconstpointer keys)
{
    Rig *rig = rig_new(&(RigConfig){ .size = 1 << 20 });
    Initiator *initiator = initiator_new(rig);
    g_autofree guint8 *out = g_malloc(100 * BLOCK);
    g_autofree guint8 *in = g_malloc(100 * BLOCK);

    fill(out, (gsize)100 * BLOCK, 3);
    initiator->receive_chunk = 1;
    g_assert_cmphex(initiator_login(initiator, keys), ==, 0);
    initiator_settle(initiator);
    initiator_write(initiator, 7, 100, out);
    initiator_read(initiator, 7, 100, in);
    g_assert_true(memcmp(in, out, (gsize)100 * BLOCK) == 0);
    initiator_free(initiator);
    rig_free(rig);
}

#define N_STUCK     8
#define STUCK_WRITE 1024

static void
test_stuck_reading(void)
{
    Rig *rig = rig_new(&(RigConfig){ .pool_size = 8 << 20 });
    Initiator *stuck = initiator_new(rig);
    Initiator *other = initiator_new(rig);
    g_autofree guint8 *out = g_malloc(STUCK_WRITE * BLOCK);
    g_autofree guint8 *in = g_malloc(STUCK_WRITE * BLOCK);
    guint8 bhs[PDU_BHS_SIZE], cdb[10];

    fill(out, STUCK_WRITE * BLOCK, 4);
    other->isid[5] = 9;
    g_assert_cmphex(initiator_login(stuck, NULL), ==, 0);
    g_assert_cmphex(initiator_login(other, NULL), ==, 0);
    initiator_settle(stuck);
    initiator_settle(other);
    initiator_write(stuck, 0, STUCK_WRITE, out);
    for (guint i = 0; i < N_STUCK; i++) {
        initiator_cdb10(cdb, 0x28, 0, STUCK_WRITE);
        initiator_command(stuck, bhs, PDU_FINAL | PDU_COMMAND_READ, cdb, sizeof(cdb),
                          STUCK_WRITE * BLOCK);
        initiator_send(stuck, bhs, NULL, 0);
    }
    rig_settle(rig);
    for (guint i = 0; i < 16; i++) {
        initiator_write(other, STUCK_WRITE, STUCK_WRITE, out);
        initiator_read(other, STUCK_WRITE, STUCK_WRITE, in);
        g_assert_true(memcmp(in, out, STUCK_WRITE * BLOCK) == 0);
    }

    for (guint n = 0; n < N_STUCK;) {
        g_assert_true(initiator_receive(stuck));
        if (pdu_opcode(stuck->bhs) != PDU_DATA_IN)
            continue;
        g_assert_true(memcmp(stuck->data, out + pdu_data_offset(stuck->bhs), stuck->data_size) ==
                      0);
        n += (stuck->bhs[1] & PDU_DATA_IN_STATUS) != 0;
    }
    initiator_free(stuck);
    initiator_free(other);
    rig_free(rig);
}

#define ADD_ROWS(group, rows, fn)                                                                  \
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {                                               \
        g_autofree char *path =                                                                    \
            g_strdup_printf("/iscsi/wire/" group "/%s:%s", rows[i].name, rows[i].clause);          \
                                                                                                   \
        g_test_add_data_func(path, &rows[i], fn);                                                  \
    }

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    ADD_ROWS("cmd-sn", number_rows, test_number);
    ADD_ROWS("data-out", data_rows, test_data);
    ADD_ROWS("digest", digest_rows, test_digest);
    ADD_ROWS("size", size_rows, test_size);
    g_test_add_data_func("/iscsi/wire/split/plain", PIECEWISE, test_split);
    g_test_add_data_func("/iscsi/wire/split/digests",
                         PIECEWISE "\nHeaderDigest=CRC32C\nDataDigest=CRC32C", test_split);
    g_test_add_data_func("/iscsi/wire/slow-reading/plain", PLAIN, test_slow_reading);
    g_test_add_data_func("/iscsi/wire/slow-reading/digests", DIGESTS, test_slow_reading);
    g_test_add_func("/iscsi/wire/stuck-reading", test_stuck_reading);
    return g_test_run();
}
