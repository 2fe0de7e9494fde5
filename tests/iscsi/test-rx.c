/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The byte stream: every way to cut it, digests, PDUs that are not right.
 */

#include "initiator.h"

#include <string.h>

#define BLOCK 512

/* A write of 9 blocks with data in each of the three ways, and its read */
static void
exchange(Initiator *initiator)
{
    guint8 out[9 * BLOCK], in[9 * BLOCK];

    for (gsize i = 0; i < sizeof(out); i++)
        out[i] = (guint8)(i * 7 + i / 256);
    initiator_write(initiator, 5, 9, out);
    initiator_read(initiator, 5, 9, in);
    g_assert_true(memcmp(in, out, sizeof(out)) == 0);
}

static void
check_chunks(const char *keys, gsize from, gsize to, gsize step)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);

    g_assert_cmphex(initiator_login(initiator, keys), ==, 0);
    initiator_settle(initiator);
    initiator->max_xmit = 1024;
    for (gsize chunk = from; chunk <= to; chunk += step) {
        initiator->chunk = chunk;
        exchange(initiator);
    }
    initiator_free(initiator);
    rig_free(rig);
}

#define SMALL_BURSTS                                                                               \
    "InitialR2T=No\nImmediateData=Yes\nFirstBurstLength=2048\nMaxBurstLength=2048\n"               \
    "MaxRecvDataSegmentLength=1536\nMaxOutstandingR2T=2"

static void
test_chunks(void)
{
    check_chunks(SMALL_BURSTS, 1, 260, 1);
}

static void
test_chunks_with_digests(void)
{
    check_chunks(SMALL_BURSTS "\nHeaderDigest=CRC32C\nDataDigest=CRC32C", 1, 260, 3);
}

static void
test_login_in_single_bytes(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);

    initiator->chunk = 1;
    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_free(initiator);
    rig_free(rig);
}

/* Lengths that need padding */
static void
test_padding(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);

    g_assert_cmphex(
        initiator_login(initiator, "HeaderDigest=CRC32C\nDataDigest=CRC32C\nInitialR2T=No"), ==, 0);
    for (guint size = 0; size < 40; size++) {
        guint8 bhs[PDU_BHS_SIZE];
        guint8 data[40];

        memset(data, (int)size + 1, sizeof(data));
        initiator_header(initiator, bhs, PDU_NOP_OUT | PDU_IMMEDIATE, 0x80);
        put_be32(bhs + 20, PDU_TAG_RESERVED);
        initiator_send(initiator, bhs, data, size);
        g_assert_true(initiator_receive(initiator));
        g_assert_cmpuint(initiator->data_size, ==, size);
        g_assert_true(memcmp(initiator->data, data, size) == 0);
    }
    initiator_free(initiator);
    rig_free(rig);
}

/* Send a PDU with digests, with one bit of byte @at turned over */
static void
send_damaged(Initiator *initiator, guint8 *bhs, const guint8 *data, gsize size, gsize at)
{
    guint8 bytes[4096] = { 0 };
    gsize n = PDU_BHS_SIZE;
    guint32 crc;

    pdu_set_data_size(bhs, size);
    memcpy(bytes, bhs, n);
    crc = ~0u;
    for (gsize i = 0; i < n; i++) {
        crc ^= bytes[i];
        for (guint bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
    }
    for (guint i = 0; i < 4; i++)
        bytes[n++] = (guint8)(~crc >> 8 * i);

    if (size > 0) {
        memcpy(bytes + n, data, size);
        crc = ~0u;
        for (gsize i = 0; i < size; i++) {
            crc ^= data[i];
            for (guint bit = 0; bit < 8; bit++)
                crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
        }
        n += size;
        for (guint i = 0; i < 4; i++)
            bytes[n++] = (guint8)(~crc >> 8 * i);
    }
    g_assert_cmpuint(at, <, n);
    bytes[at] ^= 0x10;
    initiator_send_bytes(initiator, bytes, n);
}

#define DIGESTS "HeaderDigest=CRC32C\nDataDigest=CRC32C\nInitialR2T=No\nImmediateData=Yes"

static void
test_header_digest_error(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    guint8 bhs[PDU_BHS_SIZE];

    g_assert_cmphex(initiator_login(initiator, DIGESTS), ==, 0);
    initiator_header(initiator, bhs, PDU_NOP_OUT | PDU_IMMEDIATE, 0x80);
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    send_damaged(initiator, bhs, NULL, 0, 20);
    g_assert_true(initiator_is_closed(initiator));
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_DIGEST_ERROR), ==, 1);
    g_assert_cmpstr(rig_last_event(rig, ISCSI_EVENT_DIGEST_ERROR)->reason, ==, "header");
    initiator_free(initiator);
    rig_free(rig);
}

static void
expect_reject(Initiator *initiator, guint8 reason, guint32 itt)
{
    g_assert_true(initiator_receive(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_REJECT);
    g_assert_cmphex(initiator->bhs[2], ==, reason);
    g_assert_cmpuint(initiator->data_size, ==, PDU_BHS_SIZE);
    g_assert_cmphex(pdu_itt(initiator->data), ==, itt);
}

/* A command whose immediate data is damaged counts as not received: its CmdSN comes again */
static void
test_immediate_data_digest_error(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    guint8 bhs[PDU_BHS_SIZE], cdb[10], data[BLOCK], in[BLOCK];

    g_assert_cmphex(initiator_login(initiator, DIGESTS), ==, 0);
    initiator_settle(initiator);
    memset(data, 0x77, sizeof(data));
    initiator_cdb10(cdb, 0x2a, 3, 1);
    initiator_command(initiator, bhs, 0xa0, cdb, sizeof(cdb), BLOCK);
    send_damaged(initiator, bhs, data, sizeof(data), 52 + 100);
    expect_reject(initiator, PDU_REJECT_DATA_DIGEST, pdu_itt(bhs));
    g_assert_false(initiator_poll(initiator));

    initiator_send(initiator, bhs, data, sizeof(data));
    g_assert_true(initiator_receive(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_SCSI_RESPONSE);
    g_assert_cmphex(initiator->bhs[3], ==, 0);
    initiator_read(initiator, 3, 1, in);
    g_assert_true(memcmp(in, data, BLOCK) == 0);
    initiator_free(initiator);
    rig_free(rig);
}

/* A write at block 3 whose immediate data comes damaged; @bhs is its header */
static void
send_rejected_write(Initiator *initiator, guint8 *bhs, const guint8 *data)
{
    guint8 cdb[10];

    initiator_cdb10(cdb, 0x2a, 3, 1);
    initiator_command(initiator, bhs, 0xa0, cdb, sizeof(cdb), BLOCK);
    send_damaged(initiator, bhs, data, BLOCK, 52 + 100);
    expect_reject(initiator, PDU_REJECT_DATA_DIGEST, pdu_itt(bhs));
}

/* Nobody sends it again: what comes behind it would wait for ever, so the initiator begins anew */
static void
test_gap_that_stays(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    guint8 bhs[PDU_BHS_SIZE], cdb[6] = { 0 }, data[BLOCK] = { 0 };

    g_assert_cmphex(initiator_login(initiator, DIGESTS), ==, 0);
    initiator_settle(initiator);
    send_rejected_write(initiator, bhs, data);
    initiator_command(initiator, bhs, 0x80, cdb, sizeof(cdb), 0);
    initiator_send(initiator, bhs, NULL, 0);
    clock_advance(&rig->clock, USEC_PER_SEC);
    g_assert_false(initiator_poll(initiator));

    clock_advance(&rig->clock, USEC_PER_SEC);
    g_assert_true(initiator_is_closed(initiator));
    g_assert_cmpstr(rig_last_event(rig, ISCSI_EVENT_SESSION_CLOSED)->reason, ==,
                    "the CmdSN of a request that was rejected was not used again");
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_gap_that_is_filled(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    guint8 bhs[PDU_BHS_SIZE], data[BLOCK] = { 1 }, in[BLOCK];

    g_assert_cmphex(initiator_login(initiator, DIGESTS), ==, 0);
    initiator_settle(initiator);
    send_rejected_write(initiator, bhs, data);
    initiator_send(initiator, bhs, data, sizeof(data));
    g_assert_true(initiator_receive(initiator));
    clock_advance(&rig->clock, 3 * USEC_PER_SEC);
    initiator_read(initiator, 3, 1, in);
    g_assert_true(memcmp(in, data, BLOCK) == 0);
    initiator_free(initiator);
    rig_free(rig);
}

/* What is rejected for another reason does not count as received either: RFC 7143 7.3 */

typedef struct {
    const char *name;
    guint8 opcode, flags;
    guint32 itt, ttt; /* 0: as it should be */
    PduRejectReason reason;
} Wrong;

/* clang-format off */
static const Wrong wrongs[] = {
    { "command",       PDU_SCSI_COMMAND,            PDU_FINAL | 7,             0,                0,          PDU_REJECT_INVALID_FIELD },
    { "ping",          PDU_NOP_OUT,                 PDU_FINAL,                 PDU_TAG_RESERVED, 0,          PDU_REJECT_INVALID_FIELD },
    { "function",      PDU_TASK_MANAGEMENT_REQUEST, PDU_FINAL | 1,             PDU_TAG_RESERVED, 0,          PDU_REJECT_INVALID_FIELD },
    { "text",          PDU_TEXT_REQUEST,            PDU_FINAL | PDU_CONTINUE,  0,                0,          PDU_REJECT_INVALID_FIELD },
    { "text-delivered", PDU_TEXT_REQUEST,           PDU_FINAL,                 0,                0x12345678, PDU_REJECT_INVALID_FIELD },
};
/* clang-format on */

static void
send_wrong(Initiator *initiator, const Wrong *wrong)
{
    guint8 bhs[PDU_BHS_SIZE];

    initiator_header(initiator, bhs, wrong->opcode, wrong->flags);
    put_be32(bhs + 20, wrong->opcode == PDU_SCSI_COMMAND ? 0 : PDU_TAG_RESERVED);
    if (wrong->itt != 0)
        put_be32(bhs + 16, wrong->itt);
    if (wrong->ttt != 0)
        put_be32(bhs + 20, wrong->ttt);
    initiator_send(initiator, bhs, NULL, 0);
    g_assert_true(initiator_poll(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_REJECT);
    g_assert_cmphex(initiator->bhs[2], ==, wrong->reason);
    g_assert_cmphex(pdu_exp_cmd_sn(initiator->bhs), ==, pdu_cmd_sn(bhs));
}

static void
send_ready(Initiator *initiator)
{
    guint8 bhs[PDU_BHS_SIZE], cdb[6] = { 0 };

    initiator_command(initiator, bhs, PDU_FINAL, cdb, sizeof(cdb), 0);
    initiator_send(initiator, bhs, NULL, 0);
}

/* However late, and by whatever: those behind it wait for its CmdSN */
static void
test_wrong_is_made_up_for(gconstpointer data)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    guint32 cmd_sn;

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    cmd_sn = initiator->cmd_sn;
    send_wrong(initiator, data);
    for (guint i = 0; i < 10; i++) {
        clock_advance(&rig->clock, USEC_PER_SEC);
        g_assert_false(initiator_is_closed(initiator));
    }

    send_ready(initiator);
    g_assert_false(initiator_poll(initiator));
    initiator->cmd_sn = cmd_sn;
    send_ready(initiator);
    for (guint i = 0; i < 2; i++) {
        g_assert_true(initiator_poll(initiator));
        g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_SCSI_RESPONSE);
        g_assert_cmphex(initiator->bhs[3], ==, 0);
    }
    initiator->cmd_sn = cmd_sn + 2;
    for (guint i = 0; i < 10; i++) {
        clock_advance(&rig->clock, USEC_PER_SEC);
        g_assert_false(initiator_is_closed(initiator));
    }
    initiator_settle(initiator);
    initiator_free(initiator);
    rig_free(rig);
}

/* Linux and libiscsi go on with the next CmdSN, and would wait for their timeouts */
static void
test_wrong_is_not_made_up_for(gconstpointer data)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    send_wrong(initiator, data);
    send_ready(initiator);
    rig_settle(rig);
    clock_advance(&rig->clock, 2 * USEC_PER_SEC);
    g_assert_false(initiator_is_closed(initiator));
    clock_advance(&rig->clock, 2 * USEC_PER_SEC);
    g_assert_true(initiator_is_closed(initiator));
    g_assert_cmpstr(rig_last_event(rig, ISCSI_EVENT_SESSION_CLOSED)->reason, ==,
                    "the CmdSN of a request that was rejected was not used again");
    initiator_free(initiator);
    rig_free(rig);
}

static void
with_recovery(IscsiTarget *target)
{
    target->params.error_recovery_level = 1;
}

/* Above error recovery level 0 the initiator knows how to close gaps, and has the time for it */
static void
test_wrong_with_recovery(gconstpointer data)
{
    Rig *rig = rig_new(&(RigConfig){ .adjust = with_recovery });
    Initiator *initiator = initiator_new(rig);
    guint32 cmd_sn;

    g_assert_cmphex(initiator_login(initiator, "ErrorRecoveryLevel=1"), ==, 0);
    initiator_settle(initiator);
    cmd_sn = initiator->cmd_sn;
    send_wrong(initiator, data);
    send_ready(initiator);
    rig_settle(rig);
    for (guint i = 0; i < 4; i++) {
        clock_advance(&rig->clock, 2 * USEC_PER_SEC);
        while (initiator_poll(initiator))
            initiator_answer_ping(initiator);
        g_assert_false(initiator_is_closed(initiator));
    }
    initiator->cmd_sn = cmd_sn;
    send_ready(initiator);
    for (guint i = 0; i < 2; i++) {
        g_assert_true(initiator_poll(initiator));
        g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_SCSI_RESPONSE);
    }
    initiator_free(initiator);
    rig_free(rig);
}

static void
add_wrongs(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(wrongs); i++) {
        g_autofree char *filled = g_strdup_printf("/iscsi/rx/gap/filled/%s:7.3", wrongs[i].name);
        g_autofree char *stays = g_strdup_printf("/iscsi/rx/gap/stays/%s", wrongs[i].name);
        g_autofree char *recovery = g_strdup_printf("/iscsi/rx/gap/recovery/%s", wrongs[i].name);

        g_test_add_data_func(filled, &wrongs[i], test_wrong_is_made_up_for);
        g_test_add_data_func(stays, &wrongs[i], test_wrong_is_not_made_up_for);
        g_test_add_data_func(recovery, &wrongs[i], test_wrong_with_recovery);
    }
}

/* Damaged Data-Out: Reject, then the command fails when the sequence has ended (RFC 7143 7.8) */
static void
test_data_out_digest_error(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    guint8 bhs[PDU_BHS_SIZE], cdb[10], data[BLOCK];
    guint32 itt;

    g_assert_cmphex(initiator_login(initiator, DIGESTS "\nFirstBurstLength=1024"), ==, 0);
    initiator_settle(initiator);
    memset(data, 0x77, sizeof(data));
    initiator_cdb10(cdb, 0x2a, 3, 2);
    initiator_command(initiator, bhs, 0x20, cdb, sizeof(cdb), 2 * BLOCK);
    itt = pdu_itt(bhs);
    initiator_send(initiator, bhs, NULL, 0);

    for (guint32 i = 0; i < 2; i++) {
        memset(bhs, 0, sizeof(bhs));
        bhs[0] = PDU_DATA_OUT;
        bhs[1] = i == 1 ? 0x80 : 0;
        put_be32(bhs + 16, itt);
        put_be32(bhs + 20, PDU_TAG_RESERVED);
        put_be32(bhs + 36, i);
        put_be32(bhs + 40, i * BLOCK);
        if (i == 0) {
            send_damaged(initiator, bhs, data, sizeof(data), 52 + 7);
            expect_reject(initiator, PDU_REJECT_DATA_DIGEST, itt);
            g_assert_false(initiator_poll(initiator));
        } else {
            initiator_send(initiator, bhs, data, sizeof(data));
        }
    }
    g_assert_true(initiator_receive(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_SCSI_RESPONSE);
    g_assert_cmphex(initiator->bhs[3], ==, 0x02);
    g_assert_cmphex(initiator->data[2 + 2] & 0x0f, ==, 0x0b);
    g_assert_cmphex(initiator->data[2 + 12], ==, 0x47);
    g_assert_cmphex(initiator->data[2 + 13], ==, 0x05);
    initiator_settle(initiator);
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_segment_too_long(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new_tcp(rig);
    guint8 bhs[PDU_BHS_SIZE];
    guint8 data[8192] = { 0 };

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_header(initiator, bhs, PDU_NOP_OUT | PDU_IMMEDIATE, 0x80);
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    pdu_set_data_size(bhs, 0xffffff);
    initiator_send_bytes(initiator, bhs, sizeof(bhs));
    initiator_send_bytes(initiator, data, sizeof(data));
    /* The Reject arrives although the target leaves bytes unread */
    g_assert_true(initiator_receive(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_REJECT);
    g_assert_false(initiator_receive(initiator));
    rig_settle(rig);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_CONNECTION_LOST), ==, 1);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_unknown_opcode(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    guint8 bhs[PDU_BHS_SIZE];

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_header(initiator, bhs, 0x1c | PDU_IMMEDIATE, 0x80);
    initiator_send(initiator, bhs, NULL, 0);
    g_assert_true(initiator_receive(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_REJECT);
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_snack_is_rejected(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    guint8 bhs[PDU_BHS_SIZE] = { PDU_SNACK_REQUEST, 0x80 | PDU_SNACK_STATUS };

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    put_be32(bhs + 16, PDU_TAG_RESERVED);
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    initiator_send(initiator, bhs, NULL, 0);
    g_assert_true(initiator_receive(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_REJECT);
    initiator_settle(initiator);
    initiator_free(initiator);
    rig_free(rig);
}

/* An additional header segment in front of immediate data */
static void
test_additional_header(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    guint8 bytes[PDU_BHS_SIZE + 20 + BLOCK] = { 0 };
    guint8 cdb[10];

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    initiator_cdb10(cdb, 0x2a, 3, 1);
    initiator_command(initiator, bytes, 0xa0, cdb, sizeof(cdb), BLOCK);
    bytes[4] = 5;
    pdu_set_data_size(bytes, BLOCK);
    /* Extended CDB: 16 bytes behind those of the header, which no operation of ours looks at */
    put_be16(bytes + PDU_BHS_SIZE, 17);
    bytes[PDU_BHS_SIZE + 2] = 0x01;
    initiator_send_bytes(initiator, bytes, sizeof(bytes));
    g_assert_true(initiator_receive(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_SCSI_RESPONSE);
    initiator_settle(initiator);
    initiator_free(initiator);
    rig_free(rig);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/iscsi/rx/chunks", test_chunks);
    g_test_add_func("/iscsi/rx/chunks-with-digests", test_chunks_with_digests);
    g_test_add_func("/iscsi/rx/login-in-single-bytes", test_login_in_single_bytes);
    g_test_add_func("/iscsi/rx/padding", test_padding);
    g_test_add_func("/iscsi/rx/header-digest-error", test_header_digest_error);
    g_test_add_func("/iscsi/rx/immediate-data-digest-error", test_immediate_data_digest_error);
    g_test_add_func("/iscsi/rx/gap-that-stays", test_gap_that_stays);
    g_test_add_func("/iscsi/rx/gap-that-is-filled", test_gap_that_is_filled);
    add_wrongs();
    g_test_add_func("/iscsi/rx/data-out-digest-error", test_data_out_digest_error);
    g_test_add_func("/iscsi/rx/segment-too-long", test_segment_too_long);
    g_test_add_func("/iscsi/rx/unknown-opcode", test_unknown_opcode);
    g_test_add_func("/iscsi/rx/snack-is-rejected", test_snack_is_rejected);
    g_test_add_func("/iscsi/rx/additional-header", test_additional_header);
    return g_test_run();
}
