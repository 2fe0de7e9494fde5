/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Error recovery at level 1, one mechanism at a time, with PDUs made by hand:
 * what is kept, what comes again and what is refused. The initiator acknowledges
 * nothing unless a test says so.
 */

#include "initiator.h"

#include <string.h>

#define BLOCK  512
#define SECOND USEC_PER_SEC
#define MIB    ((guint32)1 << 20)
#define ALL    0

/* Eight Data-Ins or R2Ts for 4 KiB */
#define SMALL                                                                                      \
    "ErrorRecoveryLevel=1\nInitialR2T=Yes\nImmediateData=No\nMaxRecvDataSegmentLength=512\n"       \
    "MaxBurstLength=4096\nFirstBurstLength=4096\nMaxOutstandingR2T=4"
#define LARGE                                                                                      \
    "ErrorRecoveryLevel=1\nInitialR2T=No\nImmediateData=Yes\nMaxRecvDataSegmentLength=262144\n"    \
    "MaxBurstLength=1048576\nFirstBurstLength=262144\nMaxOutstandingR2T=4"
#define UNSOLICITED                                                                                \
    "ErrorRecoveryLevel=1\nInitialR2T=No\nImmediateData=Yes\nMaxBurstLength=4096\n"                \
    "FirstBurstLength=4096\nMaxOutstandingR2T=1\nHeaderDigest=CRC32C\nDataDigest=CRC32C"
#define DIGESTS SMALL "\nHeaderDigest=CRC32C\nDataDigest=CRC32C"

typedef struct {
    Rig *rig;
    Initiator *initiator;
    guint32 first_sn; /* StatSN of the first answer */
    guint32 itt;      /* of the last command */
    guint8 data[64 * BLOCK];
} Bed;

static void
adjust(IscsiTarget *target)
{
    target->params.error_recovery_level = 1;
    target->nop_interval = 0;
    target->queue_depth = 16;
}

static void
send_nop_out(Bed *bed, guint32 ttt)
{
    guint8 bhs[PDU_BHS_SIZE];

    initiator_header(bed->initiator, bhs, PDU_NOP_OUT | PDU_IMMEDIATE, PDU_FINAL);
    put_be32(bhs + 16, PDU_TAG_RESERVED);
    put_be32(bhs + 20, ttt);
    initiator_send(bed->initiator, bhs, NULL, 0);
}

static Bed *
bed_with(const RigConfig *config, const char *keys)
{
    Bed *bed = g_new0(Bed, 1);

    bed->rig = rig_new(config);
    bed->initiator = initiator_new(bed->rig);
    g_assert_cmphex(initiator_login(bed->initiator, keys), ==, 0);
    initiator_settle(bed->initiator);
    for (gsize i = 0; i < sizeof(bed->data); i++)
        bed->data[i] = (guint8)(i + i / 509);
    bed->first_sn = bed->initiator->exp_stat_sn;
    send_nop_out(bed, PDU_TAG_RESERVED);
    rig_settle(bed->rig);
    return bed;
}

static Bed *
bed_new(const char *keys)
{
    return bed_with(&(RigConfig){ .adjust = adjust }, keys);
}

static void
bed_free(Bed *bed)
{
    initiator_free(bed->initiator);
    rig_free(bed->rig);
    g_free(bed);
}

static void
expect_nothing(Bed *bed)
{
    if (initiator_poll_any(bed->initiator))
        g_error("unexpected PDU %02x", bed->initiator->bhs[0]);
}

static const guint8 *
expect(Bed *bed, PduOpcode opcode)
{
    g_assert_true(initiator_receive_any(bed->initiator));
    g_assert_cmphex(pdu_opcode(bed->initiator->bhs), ==, opcode);
    return bed->initiator->bhs;
}

static void
advance(Bed *bed, gint64 usec)
{
    clock_advance(&bed->rig->clock, usec);
    rig_settle(bed->rig);
}

/* Everything up to the @n-th answer has come */
static void
acknowledge_in(Bed *bed, guint32 n)
{
    bed->initiator->exp_stat_sn = bed->first_sn + n;
}

static void
acknowledge(Bed *bed, guint32 n)
{
    acknowledge_in(bed, n);
    send_nop_out(bed, PDU_TAG_RESERVED);
}

static void
send_snack(Bed *bed, PduSnack type, guint32 itt, guint32 ttt, guint32 first, guint32 n)
{
    guint8 bhs[PDU_BHS_SIZE] = { PDU_SNACK_REQUEST, (guint8)(PDU_FINAL | type) };

    put_be32(bhs + 16, itt);
    put_be32(bhs + 20, ttt);
    put_be32(bhs + 28, bed->initiator->exp_stat_sn);
    put_be32(bhs + 40, first);
    put_be32(bhs + 44, n);
    initiator_send(bed->initiator, bhs, NULL, 0);
}

static void
send_status_snack(Bed *bed, guint32 first, guint32 n)
{
    send_snack(bed, PDU_SNACK_STATUS, PDU_TAG_RESERVED, PDU_TAG_RESERVED, first, n);
}

static void
send_data_snack(Bed *bed, guint32 first, guint32 n)
{
    send_snack(bed, PDU_SNACK_DATA_R2T, bed->itt, PDU_TAG_RESERVED, first, n);
}

static void
expect_reject(Bed *bed, PduRejectReason reason)
{
    g_assert_cmphex(expect(bed, PDU_REJECT)[2], ==, reason);
}

static void
send_ready(Bed *bed)
{
    guint8 bhs[PDU_BHS_SIZE], cdb[6] = { 0 };

    initiator_command(bed->initiator, bhs, PDU_FINAL, cdb, sizeof(cdb), 0);
    bed->itt = pdu_itt(bhs);
    initiator_send(bed->initiator, bhs, NULL, 0);
}

static void
send_read(Bed *bed, guint16 n_blocks)
{
    guint8 bhs[PDU_BHS_SIZE], cdb[10];

    initiator_cdb10(cdb, 0x28, 0, n_blocks);
    initiator_command(bed->initiator, bhs, PDU_FINAL | PDU_COMMAND_READ, cdb, sizeof(cdb),
                      (guint32)n_blocks * BLOCK);
    bed->itt = pdu_itt(bhs);
    initiator_send(bed->initiator, bhs, NULL, 0);
}

static void
make_write(Bed *bed, guint8 *bhs, guint16 n_blocks, gboolean is_final)
{
    guint8 cdb[10];

    initiator_cdb10(cdb, 0x2a, 0, n_blocks);
    initiator_command(bed->initiator, bhs, (guint8)(PDU_COMMAND_WRITE | (is_final ? 0x80 : 0)), cdb,
                      sizeof(cdb), (guint32)n_blocks * BLOCK);
    bed->itt = pdu_itt(bhs);
}

static void
send_write(Bed *bed, guint16 n_blocks)
{
    guint8 bhs[PDU_BHS_SIZE];

    make_write(bed, bhs, n_blocks, TRUE);
    initiator_send(bed->initiator, bhs, NULL, 0);
}

static void
send_flawed_data(Bed *bed, guint32 ttt, guint32 data_sn, guint32 offset, guint32 size,
                 gboolean is_final, InitiatorFlaw flaw)
{
    guint8 bhs[PDU_BHS_SIZE] = { PDU_DATA_OUT, is_final ? PDU_FINAL : 0 };

    put_be32(bhs + 16, bed->itt);
    put_be32(bhs + 20, ttt);
    put_be32(bhs + 28, bed->initiator->exp_stat_sn);
    put_be32(bhs + 36, data_sn);
    put_be32(bhs + 40, offset);
    initiator_send_flawed(bed->initiator, bhs, bed->data + offset, size, flaw);
}

static void
send_data_out(Bed *bed, guint32 ttt, guint32 data_sn, guint32 offset, guint32 size,
              gboolean is_final)
{
    send_flawed_data(bed, ttt, data_sn, offset, size, is_final, INITIATOR_FLAW_NONE);
}

/* Returns: its Target Transfer Tag */
static guint32
expect_r2t(Bed *bed, guint32 r2t_sn, guint32 offset, guint32 length)
{
    const guint8 *bhs = expect(bed, PDU_R2T);

    g_assert_cmphex(pdu_itt(bhs), ==, bed->itt);
    g_assert_cmpuint(pdu_data_sn(bhs), ==, r2t_sn);
    g_assert_cmpuint(pdu_data_offset(bhs), ==, offset);
    g_assert_cmpuint(pdu_r2t_length(bhs), ==, length);
    return pdu_ttt(bhs);
}

/* The @n-th answer since the login: a SCSI Response with that status */
static void
expect_response(Bed *bed, guint32 n, guint8 status)
{
    const guint8 *bhs = expect(bed, PDU_SCSI_RESPONSE);

    g_assert_cmphex(pdu_itt(bhs), ==, bed->itt);
    g_assert_cmphex(pdu_stat_sn(bhs), ==, bed->first_sn + n);
    g_assert_cmphex(bhs[3], ==, status);
}

static void
expect_sense(Bed *bed, guint8 key, guint8 asc, guint8 ascq)
{
    g_assert_cmphex(bed->initiator->data[2 + 2] & 0x0f, ==, key);
    g_assert_cmphex(bed->initiator->data[2 + 12], ==, asc);
    g_assert_cmphex(bed->initiator->data[2 + 13], ==, ascq);
}

/* What is on the medium from block 0 on; all answers so far are acknowledged */
static void
expect_written(Bed *bed, guint32 n_answers, guint16 n_blocks)
{
    g_autofree guint8 *in = g_malloc0((gsize)n_blocks * BLOCK);

    acknowledge_in(bed, n_answers);
    initiator_read(bed->initiator, 0, n_blocks, in);
    g_assert_true(memcmp(in, bed->data, (gsize)n_blocks * BLOCK) == 0);
}

static void
fill_medium(Bed *bed)
{
    initiator_write(bed->initiator, 0, 64, bed->data);
    bed->first_sn = bed->initiator->exp_stat_sn;
}

/* The same header but for what must be current: ExpCmdSN and MaxCmdSN, and in R2Ts StatSN */
static void
assert_replica(const guint8 *one, const guint8 *other)
{
    int size = pdu_opcode(one) == PDU_R2T ? 24 : 28;

    g_assert_cmpmem(one, size, other, size);
    g_assert_cmpmem(one + 36, PDU_BHS_SIZE - 36, other + 36, PDU_BHS_SIZE - 36);
}

/*
 * Status, RFC 7143 11.16
 */

static void
test_status_run(void)
{
    Bed *bed = bed_new(SMALL);
    guint8 seen[4][PDU_BHS_SIZE];

    for (guint i = 0; i < 4; i++) {
        send_ready(bed);
        expect_response(bed, i, 0);
        memcpy(seen[i], bed->initiator->bhs, PDU_BHS_SIZE);
    }
    send_status_snack(bed, bed->first_sn + 1, 2);
    assert_replica(expect(bed, PDU_SCSI_RESPONSE), seen[1]);
    assert_replica(expect(bed, PDU_SCSI_RESPONSE), seen[2]);
    expect_nothing(bed);

    /* From there on; all; and again */
    send_status_snack(bed, bed->first_sn + 2, ALL);
    assert_replica(expect(bed, PDU_SCSI_RESPONSE), seen[2]);
    assert_replica(expect(bed, PDU_SCSI_RESPONSE), seen[3]);
    for (guint n = 0; n < 2; n++) {
        send_status_snack(bed, 0, ALL);
        for (guint i = 0; i < 4; i++)
            assert_replica(expect(bed, PDU_SCSI_RESPONSE), seen[i]);
    }
    expect_nothing(bed);
    bed_free(bed);
}

static void
test_status_refused(void)
{
    Bed *bed = bed_new(SMALL);

    for (guint i = 0; i < 2; i++) {
        send_ready(bed);
        expect_response(bed, i, 0);
    }
    acknowledge(bed, 1);
    expect_nothing(bed);

    /* Acknowledged; never sent, alone and as the end of a run */
    send_status_snack(bed, bed->first_sn, 1);
    expect_reject(bed, PDU_REJECT_PROTOCOL_ERROR);
    send_status_snack(bed, bed->first_sn + 3, 1);
    expect_reject(bed, PDU_REJECT_PROTOCOL_ERROR);
    send_status_snack(bed, bed->first_sn + 1, 9);
    expect_reject(bed, PDU_REJECT_PROTOCOL_ERROR);
    /* Type 4 is reserved */
    send_snack(bed, (PduSnack)4, PDU_TAG_RESERVED, PDU_TAG_RESERVED, 0, 0);
    expect_reject(bed, PDU_REJECT_INVALID_FIELD);

    /* The one that is left, and the rejects themselves */
    send_status_snack(bed, bed->first_sn + 1, 2);
    expect_response(bed, 1, 0);
    expect_reject(bed, PDU_REJECT_PROTOCOL_ERROR);
    g_assert_cmphex(pdu_stat_sn(bed->initiator->bhs), ==, bed->first_sn + 2);
    bed_free(bed);
}

/* All that has a StatSN */
static void
test_status_of_every_kind(void)
{
    Bed *bed = bed_new(SMALL);
    Initiator *initiator = bed->initiator;
    guint8 seen[4][PDU_BHS_SIZE], bhs[PDU_BHS_SIZE], cdb[6] = { 0x1f };

    /* Sense data; echoed data; task management; text */
    initiator_command(initiator, bhs, PDU_FINAL, cdb, sizeof(cdb), 0);
    initiator_send(initiator, bhs, NULL, 0);
    memcpy(seen[0], expect(bed, PDU_SCSI_RESPONSE), PDU_BHS_SIZE);
    g_assert_cmphex(seen[0][3], ==, 2);
    initiator_header(initiator, bhs, PDU_NOP_OUT | PDU_IMMEDIATE, PDU_FINAL);
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    initiator_send(initiator, bhs, "echo", 4);
    memcpy(seen[1], expect(bed, PDU_NOP_IN), PDU_BHS_SIZE);
    initiator_header(initiator, bhs, PDU_TASK_MANAGEMENT_REQUEST | PDU_IMMEDIATE,
                     PDU_FINAL | PDU_TMF_ABORT_TASK_SET);
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    initiator_send(initiator, bhs, NULL, 0);
    memcpy(seen[2], expect(bed, PDU_TASK_MANAGEMENT_RESPONSE), PDU_BHS_SIZE);
    initiator_header(initiator, bhs, PDU_TEXT_REQUEST, PDU_FINAL);
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    initiator_send(initiator, bhs, "SendTargets=", 13);
    memcpy(seen[3], expect(bed, PDU_TEXT_RESPONSE), PDU_BHS_SIZE);

    send_status_snack(bed, 0, ALL);
    assert_replica(expect(bed, PDU_SCSI_RESPONSE), seen[0]);
    expect_sense(bed, 0x05, 0x20, 0x00);
    assert_replica(expect(bed, PDU_NOP_IN), seen[1]);
    g_assert_cmpuint(initiator->data_size, ==, 4);
    g_assert_cmpmem(initiator->data, 4, "echo", 4);
    assert_replica(expect(bed, PDU_TASK_MANAGEMENT_RESPONSE), seen[2]);
    assert_replica(expect(bed, PDU_TEXT_RESPONSE), seen[3]);
    g_assert_cmpuint(initiator->data_size, >, 10);
    g_assert_cmpmem(initiator->data, 10, "TargetName", 10);
    expect_nothing(bed);
    bed_free(bed);
}

static void
test_asynchronous_message(void)
{
    Bed *bed = bed_new(SMALL);
    guint8 seen[PDU_BHS_SIZE];
    gboolean is_over = FALSE;

    (void)iscsi_service_request_logout(bed->rig->service, RIG_TARGET, 0, 5, rig_set_flag, &is_over);
    memcpy(seen, expect(bed, PDU_ASYNC_MESSAGE), PDU_BHS_SIZE);
    send_status_snack(bed, pdu_stat_sn(seen), 1);
    assert_replica(expect(bed, PDU_ASYNC_MESSAGE), seen);
    expect_nothing(bed);

    initiator_drop(bed->initiator);
    rig_wait(bed->rig, &is_over);
    bed_free(bed);
}

static void
send_targets(Bed *bed, guint8 *bhs)
{
    initiator_header(bed->initiator, bhs, PDU_TEXT_REQUEST, PDU_FINAL);
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    initiator_send(bed->initiator, bhs, "SendTargets=", 13);
}

/* The next text request says that the last was answered, if ExpStatSN does not; RFC 7143 11.10 */
static void
test_text_before_acknowledgement(void)
{
    Bed *bed = bed_new(SMALL);
    guint8 first[PDU_BHS_SIZE], second[PDU_BHS_SIZE], seen[PDU_BHS_SIZE];

    send_targets(bed, first);
    expect(bed, PDU_TEXT_RESPONSE);
    send_targets(bed, second);
    memcpy(seen, expect(bed, PDU_TEXT_RESPONSE), PDU_BHS_SIZE);
    g_assert_cmphex(pdu_itt(seen), ==, pdu_itt(second));
    g_assert_cmphex(pdu_stat_sn(seen), ==, bed->first_sn + 1);

    /* A retry of what was received counts for nothing */
    initiator_send(bed->initiator, second, "SendTargets=", 13);
    expect_nothing(bed);
    send_status_snack(bed, bed->first_sn + 1, 1);
    assert_replica(expect(bed, PDU_TEXT_RESPONSE), seen);
    send_status_snack(bed, bed->first_sn, 1);
    expect_reject(bed, PDU_REJECT_SNACK);
    acknowledge(bed, 3);
    send_targets(bed, first);
    expect(bed, PDU_TEXT_RESPONSE);
    expect_nothing(bed);
    bed_free(bed);
}

/* A tag comes back with an answer before it still missing */
static void
test_tag_is_used_again(void)
{
    Bed *bed = bed_new(SMALL);

    send_ready(bed);
    expect_response(bed, 0, 0);
    send_ready(bed);
    expect_response(bed, 1, 0);
    bed->initiator->itt--;
    send_ready(bed);
    expect_response(bed, 2, 0);
    send_status_snack(bed, bed->first_sn + 1, 2);
    expect_response(bed, 1, 0);
    expect_response(bed, 2, 0);
    bed_free(bed);
}

/*
 * The window and the acknowledgements
 */

static gboolean
is_window_closed(const guint8 *bhs)
{
    return pdu_sn_less(pdu_max_cmd_sn(bhs), pdu_exp_cmd_sn(bhs));
}

static void
test_window_closes(void)
{
    Bed *bed = bed_new(SMALL);
    guint32 n = 0, asked_at = 0, ttt = PDU_TAG_RESERVED;
    gboolean is_closed = FALSE;

    while (!is_closed) {
        send_ready(bed);
        expect_response(bed, n++, 0);
        is_closed = is_window_closed(bed->initiator->bhs);
        g_assert_cmpuint(n, <, 100);
        if (!initiator_poll_any(bed->initiator))
            continue;

        /* It is asked for once, before it is too late */
        g_assert_cmphex(pdu_opcode(bed->initiator->bhs), ==, PDU_NOP_IN);
        g_assert_cmpuint(asked_at, ==, 0);
        asked_at = n;
        ttt = pdu_ttt(bed->initiator->bhs);
        g_assert_cmphex(pdu_stat_sn(bed->initiator->bhs), ==, bed->first_sn + n);
    }
    /* As many as the window is deep are kept beside it */
    g_assert_cmpuint(asked_at, ==, 16 + 1);
    g_assert_cmpuint(n, >=, 16 + 8);
    g_assert_cmpuint(n, <=, 16 + 16);
    g_assert_cmphex(ttt, !=, PDU_TAG_RESERVED);

    acknowledge_in(bed, n);
    send_nop_out(bed, ttt);
    g_assert_false(is_window_closed(expect(bed, PDU_NOP_IN)));
    g_assert_cmphex(pdu_ttt(bed->initiator->bhs), ==, PDU_TAG_RESERVED);
    expect_nothing(bed);
    send_ready(bed);
    expect_response(bed, n, 0);
    bed_free(bed);
}

static void
test_silence_is_asked(void)
{
    Bed *bed = bed_new(SMALL);

    advance(bed, 10 * SECOND);
    expect_nothing(bed);
    send_ready(bed);
    expect_response(bed, 0, 0);
    advance(bed, SECOND);
    expect_nothing(bed);
    for (guint i = 0; i < 3; i++) {
        advance(bed, 2 * SECOND);
        g_assert_cmphex(pdu_ttt(expect(bed, PDU_NOP_IN)), !=, PDU_TAG_RESERVED);
        while (initiator_poll_any(bed->initiator))
            continue;
    }
    acknowledge(bed, 1);
    expect_nothing(bed);
    for (guint i = 0; i < 5; i++)
        advance(bed, 2 * SECOND);
    expect_nothing(bed);
    bed_free(bed);
}

/* What is kept takes the room that the next command waits for */
static void
test_room_is_asked_for(void)
{
    Bed *bed = bed_with(&(RigConfig){ .adjust = adjust, .pool_size = 8 * MIB }, LARGE);
    guint n = 0;

    for (guint i = 0; i < 8; i++)
        send_read(bed, 2048);
    while (n < 8) {
        g_assert_true(initiator_receive_any(bed->initiator));
        if (pdu_opcode(bed->initiator->bhs) == PDU_DATA_IN &&
            (bed->initiator->bhs[1] & PDU_DATA_IN_STATUS))
            acknowledge_in(bed, ++n);
        else if (pdu_opcode(bed->initiator->bhs) == PDU_NOP_IN &&
                 pdu_ttt(bed->initiator->bhs) != PDU_TAG_RESERVED)
            send_nop_out(bed, pdu_ttt(bed->initiator->bhs));
    }
    bed_free(bed);
}

static void
test_logout_leaves_nothing(void)
{
    Bed *bed = bed_new(SMALL);
    guint8 bhs[PDU_BHS_SIZE];

    send_read(bed, 8);
    for (guint i = 0; i < 8; i++)
        expect(bed, PDU_DATA_IN);
    initiator_header(bed->initiator, bhs, PDU_LOGOUT_REQUEST | PDU_IMMEDIATE, PDU_FINAL);
    initiator_send(bed->initiator, bhs, NULL, 0);
    g_assert_cmphex(expect(bed, PDU_LOGOUT_RESPONSE)[2], ==, 0);
    g_assert_true(initiator_is_closed(bed->initiator));
    g_assert_cmpuint(rig_count_events(bed->rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    bed_free(bed);
}

/*
 * Data-In
 */

static void
test_data_run(void)
{
    Bed *bed = bed_new(SMALL);
    guint8 seen[8][PDU_BHS_SIZE];

    fill_medium(bed);
    send_read(bed, 8);
    for (guint i = 0; i < 8; i++)
        memcpy(seen[i], expect(bed, PDU_DATA_IN), PDU_BHS_SIZE);
    g_assert_cmphex(seen[7][1], ==, PDU_FINAL | PDU_DATA_IN_STATUS);

    send_data_snack(bed, 3, 2);
    for (guint i = 3; i < 5; i++) {
        assert_replica(expect(bed, PDU_DATA_IN), seen[i]);
        g_assert_cmpmem(bed->initiator->data, BLOCK, bed->data + i * BLOCK, BLOCK);
    }
    expect_nothing(bed);
    /* The last one has the status, with its StatSN; so has it for who asks for the status */
    send_data_snack(bed, 6, ALL);
    for (guint i = 6; i < 8; i++)
        assert_replica(expect(bed, PDU_DATA_IN), seen[i]);
    send_status_snack(bed, bed->first_sn, 1);
    assert_replica(expect(bed, PDU_DATA_IN), seen[7]);
    send_data_snack(bed, 0, ALL);
    for (guint i = 0; i < 8; i++)
        assert_replica(expect(bed, PDU_DATA_IN), seen[i]);
    expect_nothing(bed);
    bed_free(bed);
}

static void
test_data_refused(void)
{
    Bed *bed = bed_new(SMALL);

    send_read(bed, 8);
    for (guint i = 0; i < 8; i++)
        expect(bed, PDU_DATA_IN);
    send_data_snack(bed, 8, 1);
    expect_reject(bed, PDU_REJECT_PROTOCOL_ERROR);
    g_assert_cmpuint(pdu_data_sn(bed->initiator->bhs), ==, 8);
    send_data_snack(bed, 7, 2);
    expect_reject(bed, PDU_REJECT_PROTOCOL_ERROR);
    acknowledge(bed, 3);
    send_data_snack(bed, 1, 1);
    expect_reject(bed, PDU_REJECT_PROTOCOL_ERROR);
    expect_nothing(bed);
    bed_free(bed);
}

/* The Data-Ins of one segment of 1 MiB, the last one with the A bit. Returns: its tag */
static guint32
expect_segment(Bed *bed, guint32 first_sn)
{
    for (guint32 i = 0; i < 4; i++) {
        const guint8 *bhs = expect(bed, PDU_DATA_IN);

        g_assert_cmpuint(pdu_data_sn(bhs), ==, first_sn + i);
        g_assert_cmpuint(pdu_data_offset(bhs), ==, (first_sn + i) * (MIB / 4));
        g_assert_cmphex(bhs[1], ==, i == 3 ? PDU_FINAL | PDU_DATA_IN_ACKNOWLEDGE : 0);
    }
    return pdu_ttt(bed->initiator->bhs);
}

static void
send_data_ack(Bed *bed, guint32 ttt, guint32 data_sn)
{
    send_snack(bed, PDU_SNACK_DATA_ACK, PDU_TAG_RESERVED, ttt, data_sn, 0);
}

static void
test_data_acknowledgement(void)
{
    Bed *bed = bed_new(LARGE);
    guint32 ttt;

    send_read(bed, 3 * 2048);
    ttt = expect_segment(bed, 0);
    expect_nothing(bed);

    /* Wrong tags and numbers do not count; what is not acknowledged comes again */
    send_data_ack(bed, ttt + 1, 4);
    expect_reject(bed, PDU_REJECT_DATA_ACK);
    send_data_ack(bed, 0xfffffffe, 4);
    expect_reject(bed, PDU_REJECT_DATA_ACK);
    send_data_ack(bed, ttt, 3);
    expect_reject(bed, PDU_REJECT_DATA_ACK);
    send_data_snack(bed, 3, 1);
    g_assert_cmphex(expect(bed, PDU_DATA_IN)[1], ==, PDU_FINAL | PDU_DATA_IN_ACKNOWLEDGE);
    g_assert_cmphex(pdu_ttt(bed->initiator->bhs), ==, ttt);
    expect_nothing(bed);

    send_data_ack(bed, ttt, 4);
    ttt = expect_segment(bed, 4);
    send_data_snack(bed, 3, 1);
    expect_reject(bed, PDU_REJECT_PROTOCOL_ERROR);
    g_assert_cmpuint(pdu_data_sn(bed->initiator->bhs), ==, 8);
    send_data_snack(bed, 0, ALL);
    g_assert_cmphex(expect_segment(bed, 4), ==, ttt);
    send_data_ack(bed, ttt, 8);
    for (guint32 i = 8; i < 12; i++)
        g_assert_cmpuint(pdu_data_sn(expect(bed, PDU_DATA_IN)), ==, i);
    g_assert_cmphex(bed->initiator->bhs[1], ==, PDU_FINAL | PDU_DATA_IN_STATUS);
    expect_nothing(bed);
    bed_free(bed);
}

/* RFC 7143 11.16.2: an initiator may ignore the A bit; that costs it one pause, and a short one */
static void
test_data_acknowledgement_ignored(void)
{
    Bed *bed = bed_new(LARGE);

    send_read(bed, 4 * 2048);
    (void)expect_segment(bed, 0);
    advance(bed, SECOND);
    expect_nothing(bed);
    advance(bed, SECOND);
    advance(bed, SECOND);
    for (guint32 i = 4; i < 16; i++) {
        g_assert_cmpuint(pdu_data_sn(expect(bed, PDU_DATA_IN)), ==, i);
        g_assert_cmphex(bed->initiator->bhs[1] & PDU_DATA_IN_ACKNOWLEDGE, ==, 0);
    }

    /* The status was sent: the reject is all, RFC 7143 7.8 */
    send_data_snack(bed, 1, 1);
    expect_reject(bed, PDU_REJECT_SNACK);
    expect_nothing(bed);
    bed_free(bed);
}

/* Who has answered one gets more time, and is asked again once */
static void
test_data_acknowledgement_late(void)
{
    Bed *bed = bed_new(LARGE);
    guint32 ttt;

    send_read(bed, 4 * 2048);
    ttt = expect_segment(bed, 0);
    send_snack(bed, PDU_SNACK_DATA_ACK, PDU_TAG_RESERVED, ttt, 4, 0);
    for (guint32 n = 1; n < 3; n++) {
        (void)expect_segment(bed, 4 * n);
        for (guint i = 0; i < 8; i++)
            advance(bed, SECOND);
        expect_nothing(bed);
        for (guint i = 0; i < 3; i++)
            advance(bed, SECOND);
    }
    for (guint32 i = 12; i < 16; i++)
        g_assert_cmpuint(pdu_data_sn(expect(bed, PDU_DATA_IN)), ==, i);
    bed_free(bed);
}

/* MODE SELECT(6), control page: sense data in descriptor format from now on */
static void
set_descriptor_format(Bed *bed)
{
    static const guint8 sense[6] = { 0x1a, 0x08, 0x0a, 0, 16, 0 };
    static const guint8 select[6] = { 0x15, 0x10, 0, 0, 16, 0 };
    guint8 page[16];
    Outcome outcome;

    g_assert_true(initiator_run(bed->initiator, sense, 6, NULL, 0, page, sizeof(page), &outcome));
    g_assert_cmphex(outcome.status, ==, 0);
    page[0] = page[2] = 0;
    page[4] &= 0x3f;
    page[6] |= 0x04;
    g_assert_true(initiator_run(bed->initiator, select, 6, page, sizeof(page), NULL, 0, &outcome));
    g_assert_cmphex(outcome.status, ==, 0);
}

/* The same before the status was sent: the command fails, in the format that the unit is set to */
static void
test_data_is_gone(gconstpointer has_descriptors)
{
    Bed *bed = bed_with(&(RigConfig){ .adjust = adjust, .type = "held" }, LARGE);
    const guint8 *sense = bed->initiator->data + 2;

    if (has_descriptors != NULL)
        set_descriptor_format(bed);
    send_read(bed, 2 * 2048);
    (void)expect_segment(bed, 0);
    rig_hold(bed->rig);
    for (guint i = 0; i < 3; i++)
        advance(bed, SECOND);
    g_assert_cmpuint(rig_n_held(bed->rig), ==, 1);
    send_data_snack(bed, 1, 1);
    expect_reject(bed, PDU_REJECT_SNACK);
    rig_release(bed->rig);
    expect(bed, PDU_SCSI_RESPONSE);
    g_assert_cmphex(bed->initiator->bhs[3], ==, 0x02);
    if (has_descriptors == NULL) {
        g_assert_cmphex(sense[0], ==, 0x70);
        expect_sense(bed, 0x0b, 0x11, 0x13);
    } else {
        g_assert_cmpmem(sense, 4, "\x72\x0b\x11\x13", 4);
    }
    bed_free(bed);
}

static void
test_resegmentation(void)
{
    Bed *bed = bed_new(SMALL);
    guint8 bhs[PDU_BHS_SIZE];

    fill_medium(bed);
    send_read(bed, 8);
    for (guint i = 0; i < 8; i++)
        expect(bed, PDU_DATA_IN);

    initiator_header(bed->initiator, bhs, PDU_TEXT_REQUEST | PDU_IMMEDIATE, PDU_FINAL);
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    initiator_send(bed->initiator, bhs, "MaxRecvDataSegmentLength=1024", 30);
    expect(bed, PDU_TEXT_RESPONSE);

    /* Without a tag it is nothing */
    send_snack(bed, PDU_SNACK_R_DATA, bed->itt, 0, 0, 0);
    expect_reject(bed, PDU_REJECT_INVALID_FIELD);
    for (guint tag = 7; tag < 9; tag++) {
        send_snack(bed, PDU_SNACK_R_DATA, bed->itt, tag, 0, 0);
        for (guint i = 0; i < 4; i++) {
            const guint8 *data_in = expect(bed, PDU_DATA_IN);

            g_assert_cmpuint(pdu_data_sn(data_in), ==, i);
            g_assert_cmpuint(pdu_data_offset(data_in), ==, i * 1024);
            g_assert_cmphex(data_in[1], ==, i == 3 ? PDU_FINAL : 0);
            g_assert_cmpmem(bed->initiator->data, 1024, bed->data + i * 1024, 1024);
        }
        expect_response(bed, 0, 0);
        g_assert_cmphex(pdu_ttt(bed->initiator->bhs), ==, tag);
        g_assert_cmpuint(get_be32(bed->initiator->bhs + 36), ==, 4);
    }
    /* The latest content of the status is what comes again */
    send_status_snack(bed, bed->first_sn, 1);
    expect_response(bed, 0, 0);
    g_assert_cmphex(pdu_ttt(bed->initiator->bhs), ==, 8);
    send_data_snack(bed, 2, 1);
    g_assert_cmpuint(pdu_data_offset(expect(bed, PDU_DATA_IN)), ==, 2048);
    expect_nothing(bed);
    acknowledge(bed, 1);
    expect_nothing(bed);
    bed_free(bed);
}

/*
 * Data-Out and R2T
 */

static void
test_digest_error_in_data_out(void)
{
    Bed *bed = bed_new(DIGESTS);
    guint32 ttt;

    send_write(bed, 8);
    ttt = expect_r2t(bed, 0, 0, 4096);
    send_data_out(bed, ttt, 0, 0, 1024, FALSE);
    send_flawed_data(bed, ttt, 1, 1024, 1024, FALSE, INITIATOR_FLAW_DATA_DIGEST);
    expect_reject(bed, PDU_REJECT_DATA_DIGEST);
    send_data_out(bed, ttt, 2, 2048, 1024, FALSE);
    expect_nothing(bed);
    send_data_out(bed, ttt, 3, 3072, 1024, TRUE);
    /* The next R2TSN, and what is missing */
    ttt = expect_r2t(bed, 1, 1024, 1024);
    send_data_out(bed, ttt, 0, 1024, 1024, TRUE);
    expect_response(bed, 1, 0);
    expect_written(bed, 2, 8);
    bed_free(bed);
}

static void
test_last_data_out_is_wrong(void)
{
    Bed *bed = bed_new(DIGESTS);
    guint32 ttt;

    send_write(bed, 8);
    ttt = expect_r2t(bed, 0, 0, 4096);
    send_flawed_data(bed, ttt, 0, 0, 4096, TRUE, INITIATOR_FLAW_DATA_DIGEST);
    expect_reject(bed, PDU_REJECT_DATA_DIGEST);
    ttt = expect_r2t(bed, 1, 0, 4096);
    send_data_out(bed, ttt, 0, 0, 4096, TRUE);
    expect_response(bed, 1, 0);
    expect_written(bed, 2, 8);
    bed_free(bed);
}

/* A header digest error, and the gap in DataSN behind it */
static void
test_data_out_is_lost(void)
{
    Bed *bed = bed_new(DIGESTS);
    guint32 ttt;

    send_write(bed, 8);
    ttt = expect_r2t(bed, 0, 0, 4096);
    send_flawed_data(bed, ttt, 0, 0, 1024, FALSE, INITIATOR_FLAW_HEADER_DIGEST);
    send_data_out(bed, ttt, 1, 1024, 3072, TRUE);
    ttt = expect_r2t(bed, 1, 0, 1024);
    send_data_out(bed, ttt, 0, 0, 1024, TRUE);
    expect_response(bed, 0, 0);
    expect_written(bed, 1, 8);
    bed_free(bed);
}

/* Of two gaps one recovery R2T takes both, with what is between them; RFC 7143 11.8 */
static void
test_two_gaps(void)
{
    Bed *bed = bed_new(SMALL);
    guint32 ttt;

    send_write(bed, 8);
    ttt = expect_r2t(bed, 0, 0, 4096);
    send_data_out(bed, ttt, 1, 512, 512, FALSE);
    send_data_out(bed, ttt, 2, 1024, 512, FALSE);
    send_data_out(bed, ttt, 4, 2048, 1024, FALSE);
    send_data_out(bed, ttt, 5, 3072, 1024, TRUE);
    ttt = expect_r2t(bed, 1, 0, 2048);
    send_data_out(bed, ttt, 0, 0, 512, FALSE);
    send_data_out(bed, ttt, 2, 1024, 1024, TRUE);
    ttt = expect_r2t(bed, 2, 512, 512);
    send_data_out(bed, ttt, 0, 512, 512, TRUE);
    expect_response(bed, 0, 0);
    expect_written(bed, 1, 8);
    bed_free(bed);
}

/* What comes late, but before the sequence ends, is not asked for */
static void
test_gap_is_filled(void)
{
    Bed *bed = bed_new(SMALL);
    guint32 ttt;

    send_write(bed, 8);
    ttt = expect_r2t(bed, 0, 0, 4096);
    send_data_out(bed, ttt, 1, 1024, 1024, FALSE);
    send_data_out(bed, ttt, 2, 2048, 1024, FALSE);
    send_data_out(bed, ttt, 0, 0, 1024, FALSE);
    expect_nothing(bed);
    send_data_out(bed, ttt, 3, 3072, 1024, TRUE);
    expect_response(bed, 0, 0);
    expect_written(bed, 1, 8);
    bed_free(bed);
}

/* Behind a gap nothing is taken that does not belong to what the R2T asks for */
static void
test_gap_and_wrong_offsets(void)
{
    static const guint32 places[][2] = {
        { 0, 1024 }, { 3584, 1024 }, { 4096, 1024 }, { 0xfffffe00, 1024 }, { 2047, 4096 },
    };
    Bed *bed = bed_new(SMALL);
    guint32 ttt;

    send_write(bed, 16);
    ttt = expect_r2t(bed, 0, 0, 4096);
    send_data_out(bed, ttt, 0, 0, 512, FALSE);
    for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
        guint8 bhs[PDU_BHS_SIZE] = { PDU_DATA_OUT };

        put_be32(bhs + 16, bed->itt);
        put_be32(bhs + 20, ttt);
        put_be32(bhs + 28, bed->initiator->exp_stat_sn);
        put_be32(bhs + 36, 7 + 2 * i);
        put_be32(bhs + 40, places[i][0]);
        initiator_send(bed->initiator, bhs, bed->data + 17, places[i][1]);
    }
    send_data_out(bed, ttt, 99, 3584, 512, TRUE);
    ttt = expect_r2t(bed, 1, 512, 3072);
    send_data_out(bed, ttt, 0, 512, 3072, TRUE);
    ttt = expect_r2t(bed, 2, 4096, 4096);
    send_data_out(bed, ttt, 0, 4096, 4096, TRUE);
    expect_response(bed, 0, 0);
    expect_written(bed, 1, 16);
    bed_free(bed);
}

/* No more is asked for than was before, and never nothing, whatever overlaps */
static void
test_gap_and_overlap(void)
{
    Bed *bed = bed_new(SMALL);
    guint32 ttt;

    send_write(bed, 24);
    ttt = expect_r2t(bed, 0, 0, 4096);
    send_data_out(bed, ttt, 1, 3072, 1024, FALSE);
    send_data_out(bed, ttt, 0, 0, 3584, FALSE);
    ttt = expect_r2t(bed, 1, 4096, 4096);
    send_data_out(bed, ttt, 1, 5120, 1024, FALSE);
    send_data_out(bed, ttt, 0, 4096, 3072, FALSE);
    expect_nothing(bed);
    send_data_out(bed, ttt, 2, 7168, 1024, TRUE);

    ttt = expect_r2t(bed, 2, 8192, 4096);
    send_data_out(bed, ttt, 7, 0, 1024, FALSE);
    send_data_out(bed, ttt, 0, 8192, 2048, FALSE);
    send_data_out(bed, ttt, 1, 10240, 2048, TRUE);
    expect_response(bed, 0, 0);
    expect_written(bed, 1, 24);
    bed_free(bed);
}

static void
expect_given_up(Bed *bed)
{
    const RigEvent *event;

    g_assert_false(initiator_receive_any(bed->initiator));
    event = rig_last_event(bed->rig, ISCSI_EVENT_CONNECTION_LOST);
    g_assert_nonnull(event);
    g_assert_nonnull(strstr(event->reason, "data of a write did not come"));
}

/* Sequences that end and never have what was asked for: this does not go on for ever */
static void
test_sequences_in_vain(void)
{
    Bed *bed = bed_new(SMALL);
    guint n = 0;

    send_write(bed, 8);
    while (initiator_receive_any(bed->initiator)) {
        g_assert_cmphex(pdu_opcode(bed->initiator->bhs), ==, PDU_R2T);
        g_assert_cmpuint(++n, <, 100);
        send_data_out(bed, pdu_ttt(bed->initiator->bhs), 1, 1024, 1024, TRUE);
    }
    g_assert_cmpuint(n, >, 8);
    expect_given_up(bed);
    bed_free(bed);
}

static void
wait_for_timeout(Bed *bed)
{
    for (guint i = 0; i < 3; i++)
        advance(bed, SECOND);
    expect_nothing(bed);
    for (guint i = 0; i < 3; i++)
        advance(bed, SECOND);
}

static void
test_end_of_sequence_is_lost(void)
{
    Bed *bed = bed_new(SMALL);
    guint32 old, ttt;

    send_write(bed, 8);
    old = expect_r2t(bed, 0, 0, 4096);
    send_data_out(bed, old, 0, 0, 1024, FALSE);
    wait_for_timeout(bed);
    ttt = expect_r2t(bed, 1, 1024, 3072);
    g_assert_cmphex(ttt, !=, old);
    /* What comes late for the old one does no harm */
    send_data_out(bed, old, 1, 1024, 3072, TRUE);
    expect_nothing(bed);
    send_data_out(bed, ttt, 0, 1024, 3072, TRUE);
    expect_response(bed, 0, 0);
    expect_written(bed, 1, 8);
    bed_free(bed);
}

/* It may be the R2T that was lost, or all data: RFC 7143 7.9 and 11.8 */
static void
test_no_data_comes(void)
{
    Bed *bed = bed_new(SMALL);
    guint32 old, ttt;

    send_write(bed, 8);
    old = expect_r2t(bed, 0, 0, 4096);
    wait_for_timeout(bed);
    g_assert_cmphex(expect_r2t(bed, 0, 0, 4096), ==, old);
    wait_for_timeout(bed);
    ttt = expect_r2t(bed, 1, 0, 4096);
    g_assert_cmphex(ttt, !=, old);
    send_data_out(bed, ttt, 0, 0, 4096, TRUE);
    expect_response(bed, 0, 0);
    expect_written(bed, 1, 8);
    bed_free(bed);
}

/* Nor is it asked for without end; what was asked for must come, so no response ends it (7.8) */
static void
test_data_is_given_up(void)
{
    Bed *bed = bed_new(SMALL);
    guint n = 0;

    send_write(bed, 8);
    (void)expect_r2t(bed, 0, 0, 4096);
    for (guint i = 0; i < 60; i++)
        advance(bed, SECOND);
    while (initiator_receive_any(bed->initiator)) {
        g_assert_cmphex(pdu_opcode(bed->initiator->bhs), ==, PDU_R2T);
        n++;
    }
    g_assert_cmpuint(n, >=, 8);
    g_assert_cmpuint(n, <, 20);
    expect_given_up(bed);
    bed_free(bed);
}

/* Two of the same, one behind the other, when one alone has not arrived: 7.9 */
static void
test_r2t_is_doubled(void)
{
    static const guint32 numbers[] = { 0, 0, 1, 2, 2, 3, 3 };
    Bed *bed = bed_new(SMALL);
    guint32 ttt = 0;

    send_write(bed, 8);
    for (guint i = 0; i < 23; i++)
        advance(bed, SECOND);
    for (guint i = 0; i < G_N_ELEMENTS(numbers); i++)
        ttt = expect_r2t(bed, numbers[i], 0, 4096);
    expect_nothing(bed);
    send_data_out(bed, ttt, 0, 0, 4096, TRUE);
    expect_response(bed, 0, 0);
    expect_written(bed, 1, 8);
    bed_free(bed);
}

static void
test_r2t_run(void)
{
    Bed *bed = bed_new(SMALL);
    guint8 seen[PDU_BHS_SIZE];

    /* One at a time, although four were offered: RFC 7143 13.19 */
    send_write(bed, 64);
    (void)expect_r2t(bed, 0, 0, 4096);
    memcpy(seen, bed->initiator->bhs, PDU_BHS_SIZE);
    expect_nothing(bed);
    send_data_snack(bed, 0, 1);
    assert_replica(expect(bed, PDU_R2T), seen);
    send_data_snack(bed, 0, ALL);
    assert_replica(expect(bed, PDU_R2T), seen);
    expect_nothing(bed);

    /* One that was not sent; one that was answered */
    send_data_snack(bed, 1, 1);
    expect_reject(bed, PDU_REJECT_PROTOCOL_ERROR);
    g_assert_cmpuint(pdu_data_sn(bed->initiator->bhs), ==, 1);
    send_data_out(bed, pdu_ttt(seen), 0, 0, 4096, TRUE);
    (void)expect_r2t(bed, 1, 4096, 4096);
    memcpy(seen, bed->initiator->bhs, PDU_BHS_SIZE);
    send_data_snack(bed, 0, 1);
    expect_reject(bed, PDU_REJECT_PROTOCOL_ERROR);
    send_data_snack(bed, 0, ALL);
    assert_replica(expect(bed, PDU_R2T), seen);
    expect_nothing(bed);
    bed_free(bed);
}

/* The initiator finds out about an R2T that was lost when the recovery R2T comes */
static void
test_r2t_that_was_replaced(void)
{
    Bed *bed = bed_new(SMALL);
    guint8 seen[PDU_BHS_SIZE];
    guint32 ttt;

    send_write(bed, 8);
    (void)expect_r2t(bed, 0, 0, 4096);
    memcpy(seen, bed->initiator->bhs, PDU_BHS_SIZE);
    send_data_out(bed, pdu_ttt(seen), 0, 0, 512, FALSE);
    wait_for_timeout(bed);
    ttt = expect_r2t(bed, 1, 512, 3584);
    send_data_snack(bed, 0, 1);
    assert_replica(expect(bed, PDU_R2T), seen);
    send_data_out(bed, pdu_ttt(seen), 0, 0, 4096, TRUE);
    expect_nothing(bed);
    send_data_out(bed, ttt, 0, 512, 3584, TRUE);
    expect_response(bed, 0, 0);
    expect_written(bed, 1, 8);
    bed_free(bed);
}

/* Sequences of which a part is missing; R2Ts ask for the rest */
static void
test_unsolicited_data_is_lost(void)
{
    static const InitiatorFlaw flaws[] = { INITIATOR_FLAW_DATA_DIGEST,
                                           INITIATOR_FLAW_HEADER_DIGEST };

    for (guint i = 0; i < G_N_ELEMENTS(flaws); i++) {
        Bed *bed = bed_new(UNSOLICITED);
        guint8 bhs[PDU_BHS_SIZE];
        guint32 n = 0, ttt;

        make_write(bed, bhs, 16, FALSE);
        initiator_send(bed->initiator, bhs, bed->data, 1024);
        send_flawed_data(bed, PDU_TAG_RESERVED, 0, 1024, 1024, FALSE, flaws[i]);
        if (flaws[i] == INITIATOR_FLAW_DATA_DIGEST) {
            expect_reject(bed, PDU_REJECT_DATA_DIGEST);
            n++;
        }
        send_data_out(bed, PDU_TAG_RESERVED, 1, 2048, 2048, TRUE);
        ttt = expect_r2t(bed, 0, 1024, 4096);
        send_data_out(bed, ttt, 0, 1024, 4096, TRUE);
        ttt = expect_r2t(bed, 1, 5120, 3072);
        send_data_out(bed, ttt, 0, 5120, 3072, TRUE);
        expect_response(bed, n, 0);
        expect_written(bed, n + 1, 16);
        bed_free(bed);
    }
}

static void
test_unsolicited_end_is_lost(void)
{
    Bed *bed = bed_new(UNSOLICITED);
    guint8 bhs[PDU_BHS_SIZE];
    guint32 ttt;

    make_write(bed, bhs, 8, FALSE);
    initiator_send(bed->initiator, bhs, bed->data, 1024);
    send_data_out(bed, PDU_TAG_RESERVED, 0, 1024, 1024, FALSE);
    wait_for_timeout(bed);
    ttt = expect_r2t(bed, 0, 2048, 2048);
    send_data_out(bed, PDU_TAG_RESERVED, 1, 2048, 2048, TRUE);
    expect_nothing(bed);
    send_data_out(bed, ttt, 0, 2048, 2048, TRUE);
    expect_response(bed, 0, 0);
    expect_written(bed, 1, 8);
    bed_free(bed);
}

/* A command that is lost holds up the next one, whose data comes before its turn */
static void
test_command_is_lost(void)
{
    Bed *bed = bed_new(UNSOLICITED);
    guint8 lost[PDU_BHS_SIZE], bhs[PDU_BHS_SIZE], cdb[6] = { 0 };
    guint32 ttt;

    initiator_command(bed->initiator, lost, PDU_FINAL, cdb, sizeof(cdb), 0);
    initiator_send_flawed(bed->initiator, lost, NULL, 0, INITIATOR_FLAW_HEADER_DIGEST);
    make_write(bed, bhs, 8, FALSE);
    initiator_send(bed->initiator, bhs, bed->data, 1024);
    send_data_out(bed, PDU_TAG_RESERVED, 0, 1024, 3072, TRUE);
    expect_nothing(bed);

    /* RFC 7143 7.2.1: the same PDU once more; and once too often */
    initiator_send(bed->initiator, lost, NULL, 0);
    g_assert_cmphex(pdu_itt(expect(bed, PDU_SCSI_RESPONSE)), ==, pdu_itt(lost));
    ttt = expect_r2t(bed, 0, 1024, 3072);
    initiator_send(bed->initiator, lost, NULL, 0);
    initiator_send(bed->initiator, bhs, bed->data, 1024);
    expect_nothing(bed);
    send_data_out(bed, ttt, 0, 1024, 3072, TRUE);
    expect_response(bed, 1, 0);
    expect_written(bed, 2, 8);
    bed_free(bed);
}

/* It had come, but the initiator did not see that: with the retry the data comes again, too */
static void
test_retry_with_unsolicited_data(void)
{
    Bed *bed = bed_new(UNSOLICITED);
    guint8 bhs[PDU_BHS_SIZE];
    guint32 ttt;

    make_write(bed, bhs, 16, FALSE);
    initiator_send(bed->initiator, bhs, bed->data, 1024);
    send_data_out(bed, PDU_TAG_RESERVED, 0, 1024, 1024, FALSE);
    send_data_out(bed, PDU_TAG_RESERVED, 1, 2048, 2048, TRUE);
    ttt = expect_r2t(bed, 0, 4096, 4096);

    initiator_send(bed->initiator, bhs, bed->data, 1024);
    send_data_out(bed, PDU_TAG_RESERVED, 0, 1024, 1024, FALSE);
    send_data_out(bed, PDU_TAG_RESERVED, 1, 2048, 2048, TRUE);
    expect_nothing(bed);
    send_data_out(bed, ttt, 0, 4096, 4096, TRUE);
    expect_response(bed, 0, 0);
    expect_written(bed, 1, 16);
    bed_free(bed);
}

/* RFC 7143 7.8: the command is discarded, and comes again with all its data */
static void
test_immediate_data_is_wrong(void)
{
    Bed *bed = bed_new(UNSOLICITED);
    guint8 bhs[PDU_BHS_SIZE];

    make_write(bed, bhs, 8, TRUE);
    initiator_send_flawed(bed->initiator, bhs, bed->data, 4096, INITIATOR_FLAW_DATA_DIGEST);
    expect_reject(bed, PDU_REJECT_DATA_DIGEST);
    expect_nothing(bed);
    initiator_send(bed->initiator, bhs, bed->data, 4096);
    expect_response(bed, 1, 0);
    expect_written(bed, 2, 8);
    bed_free(bed);
}

/*
 * Headers
 */

static void
test_header_digest_errors(void)
{
    Bed *bed = bed_new(DIGESTS);
    guint8 lost[PDU_BHS_SIZE], cdb[6] = { 0 };

    for (guint i = 0; i < 3; i++) {
        initiator_command(bed->initiator, lost, PDU_FINAL, cdb, sizeof(cdb), 0);
        initiator_send_flawed(bed->initiator, lost, NULL, 0, INITIATOR_FLAW_HEADER_DIGEST);
        expect_nothing(bed);
        initiator_send(bed->initiator, lost, NULL, 0);
        expect(bed, PDU_SCSI_RESPONSE);
    }
    g_assert_cmpuint(rig_count_events(bed->rig, ISCSI_EVENT_DIGEST_ERROR), ==, 3);

    /* The second in a row: nothing tells where the next header begins */
    initiator_send_flawed(bed->initiator, lost, NULL, 0, INITIATOR_FLAW_HEADER_DIGEST);
    initiator_send_flawed(bed->initiator, lost, NULL, 0, INITIATOR_FLAW_HEADER_DIGEST);
    g_assert_true(initiator_is_closed(bed->initiator));
    bed_free(bed);
}

/* Nothing confirms the length of a data segment without a digest */
static void
test_header_digest_error_with_data(void)
{
    Bed *bed = bed_new(SMALL "\nHeaderDigest=CRC32C");
    guint8 bhs[PDU_BHS_SIZE];

    initiator_header(bed->initiator, bhs, PDU_NOP_OUT | PDU_IMMEDIATE, PDU_FINAL);
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    initiator_send_flawed(bed->initiator, bhs, "data", 4, INITIATOR_FLAW_HEADER_DIGEST);
    g_assert_true(initiator_is_closed(bed->initiator));
    bed_free(bed);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/iscsi/recovery/status-run", test_status_run);
    g_test_add_func("/iscsi/recovery/status-refused", test_status_refused);
    g_test_add_func("/iscsi/recovery/status-of-every-kind", test_status_of_every_kind);
    g_test_add_func("/iscsi/recovery/asynchronous-message", test_asynchronous_message);
    g_test_add_func("/iscsi/recovery/text-before-acknowledgement",
                    test_text_before_acknowledgement);
    g_test_add_func("/iscsi/recovery/tag-is-used-again", test_tag_is_used_again);
    g_test_add_func("/iscsi/recovery/window-closes", test_window_closes);
    g_test_add_func("/iscsi/recovery/silence-is-asked", test_silence_is_asked);
    g_test_add_func("/iscsi/recovery/room-is-asked-for", test_room_is_asked_for);
    g_test_add_func("/iscsi/recovery/logout-leaves-nothing", test_logout_leaves_nothing);
    g_test_add_func("/iscsi/recovery/data-run", test_data_run);
    g_test_add_func("/iscsi/recovery/data-refused", test_data_refused);
    g_test_add_func("/iscsi/recovery/data-acknowledgement", test_data_acknowledgement);
    g_test_add_func("/iscsi/recovery/data-acknowledgement-ignored",
                    test_data_acknowledgement_ignored);
    g_test_add_func("/iscsi/recovery/data-acknowledgement-late", test_data_acknowledgement_late);
    g_test_add_data_func("/iscsi/recovery/data-is-gone", NULL, test_data_is_gone);
    g_test_add_data_func("/iscsi/recovery/data-is-gone/descriptors", GINT_TO_POINTER(TRUE),
                         test_data_is_gone);
    g_test_add_func("/iscsi/recovery/resegmentation", test_resegmentation);
    g_test_add_func("/iscsi/recovery/digest-error-in-data-out", test_digest_error_in_data_out);
    g_test_add_func("/iscsi/recovery/last-data-out-is-wrong", test_last_data_out_is_wrong);
    g_test_add_func("/iscsi/recovery/data-out-is-lost", test_data_out_is_lost);
    g_test_add_func("/iscsi/recovery/two-gaps", test_two_gaps);
    g_test_add_func("/iscsi/recovery/gap-is-filled", test_gap_is_filled);
    g_test_add_func("/iscsi/recovery/gap-and-wrong-offsets", test_gap_and_wrong_offsets);
    g_test_add_func("/iscsi/recovery/gap-and-overlap", test_gap_and_overlap);
    g_test_add_func("/iscsi/recovery/sequences-in-vain", test_sequences_in_vain);
    g_test_add_func("/iscsi/recovery/end-of-sequence-is-lost", test_end_of_sequence_is_lost);
    g_test_add_func("/iscsi/recovery/no-data-comes", test_no_data_comes);
    g_test_add_func("/iscsi/recovery/data-is-given-up", test_data_is_given_up);
    g_test_add_func("/iscsi/recovery/r2t-is-doubled", test_r2t_is_doubled);
    g_test_add_func("/iscsi/recovery/r2t-run", test_r2t_run);
    g_test_add_func("/iscsi/recovery/r2t-that-was-replaced", test_r2t_that_was_replaced);
    g_test_add_func("/iscsi/recovery/unsolicited-data-is-lost", test_unsolicited_data_is_lost);
    g_test_add_func("/iscsi/recovery/unsolicited-end-is-lost", test_unsolicited_end_is_lost);
    g_test_add_func("/iscsi/recovery/command-is-lost", test_command_is_lost);
    g_test_add_func("/iscsi/recovery/retry-with-unsolicited-data",
                    test_retry_with_unsolicited_data);
    g_test_add_func("/iscsi/recovery/immediate-data-is-wrong", test_immediate_data_is_wrong);
    g_test_add_func("/iscsi/recovery/header-digest-errors", test_header_digest_errors);
    g_test_add_func("/iscsi/recovery/header-digest-error-with-data",
                    test_header_digest_error_with_data);
    return g_test_run();
}
