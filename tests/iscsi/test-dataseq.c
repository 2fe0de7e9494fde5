/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Data of writes, sent by hand: R2Ts, their order and limits, and everything an
 * initiator can do wrong.
 */

#include "initiator.h"

#include <string.h>

#define BLOCK 512

/* Of each of the writers that share a small pool */
#define WRITE_BLOCKS 2000
#define SOLICITED                                                                                  \
    "InitialR2T=Yes\nImmediateData=No\nMaxBurstLength=4096\nFirstBurstLength=4096\n"               \
    "MaxOutstandingR2T=3"
#define UNSOLICITED                                                                                \
    "InitialR2T=No\nImmediateData=Yes\nMaxBurstLength=4096\nFirstBurstLength=4096\n"               \
    "MaxOutstandingR2T=1"

typedef struct {
    Rig *rig;
    Initiator *initiator;
    guint32 itt;
    guint8 data[64 * BLOCK];
} Bed;

static Bed *
bed_new(const char *keys)
{
    Bed *bed = g_new0(Bed, 1);

    bed->rig = rig_new(NULL);
    bed->initiator = initiator_new(bed->rig);
    g_assert_cmphex(initiator_login(bed->initiator, keys), ==, 0);
    initiator_settle(bed->initiator);
    for (gsize i = 0; i < sizeof(bed->data); i++)
        bed->data[i] = (guint8)(i + i / 509);
    return bed;
}

static void
bed_free(Bed *bed)
{
    initiator_free(bed->initiator);
    rig_free(bed->rig);
    g_free(bed);
}

/* WRITE(10) of @n_blocks at block 0 */
static void
send_write(Bed *bed, guint16 n_blocks, gboolean is_final, gsize immediate)
{
    guint8 bhs[PDU_BHS_SIZE], cdb[10];

    initiator_cdb10(cdb, 0x2a, 0, n_blocks);
    initiator_command(bed->initiator, bhs, (guint8)(0x20 | (is_final ? 0x80 : 0)), cdb, sizeof(cdb),
                      (guint32)n_blocks * BLOCK);
    bed->itt = pdu_itt(bhs);
    initiator_send(bed->initiator, bhs, bed->data, immediate);
}

static void
send_data(Bed *bed, guint32 ttt, guint32 data_sn, guint32 offset, guint32 size, gboolean is_final)
{
    guint8 bhs[PDU_BHS_SIZE] = { PDU_DATA_OUT, is_final ? 0x80 : 0 };

    put_be32(bhs + 16, bed->itt);
    put_be32(bhs + 20, ttt);
    put_be32(bhs + 36, data_sn);
    put_be32(bhs + 40, offset);
    initiator_send(bed->initiator, bhs, bed->data + offset % sizeof(bed->data), size);
}

static guint32
expect_r2t(Bed *bed, guint32 offset, guint32 length)
{
    g_assert_true(initiator_receive(bed->initiator));
    g_assert_cmphex(pdu_opcode(bed->initiator->bhs), ==, PDU_R2T);
    g_assert_cmphex(pdu_itt(bed->initiator->bhs), ==, bed->itt);
    g_assert_cmpuint(pdu_data_offset(bed->initiator->bhs), ==, offset);
    g_assert_cmpuint(pdu_r2t_length(bed->initiator->bhs), ==, length);
    g_assert_cmphex(pdu_ttt(bed->initiator->bhs), !=, PDU_TAG_RESERVED);
    return pdu_ttt(bed->initiator->bhs);
}

static void
expect_good(Bed *bed)
{
    g_assert_true(initiator_receive(bed->initiator));
    g_assert_cmphex(pdu_opcode(bed->initiator->bhs), ==, PDU_SCSI_RESPONSE);
    g_assert_cmphex(bed->initiator->bhs[3], ==, 0);
}

/* CHECK CONDITION, ABORTED COMMAND */
static void
expect_failure(Bed *bed, guint8 asc, guint8 ascq)
{
    g_assert_true(initiator_receive(bed->initiator));
    g_assert_cmphex(pdu_opcode(bed->initiator->bhs), ==, PDU_SCSI_RESPONSE);
    g_assert_cmphex(pdu_itt(bed->initiator->bhs), ==, bed->itt);
    g_assert_cmphex(bed->initiator->bhs[3], ==, 0x02);
    g_assert_cmphex(bed->initiator->data[2 + 2] & 0x0f, ==, 0x0b);
    g_assert_cmphex(bed->initiator->data[2 + 12], ==, asc);
    g_assert_cmphex(bed->initiator->data[2 + 13], ==, ascq);
    /* The session lives on */
    initiator_settle(bed->initiator);
}

static void
expect_nothing(Bed *bed)
{
    g_assert_false(initiator_poll(bed->initiator));
}

static void
test_r2ts_in_flight(void)
{
    Bed *bed = bed_new(SOLICITED);
    guint8 in[64 * BLOCK];
    guint32 ttt[3];

    send_write(bed, 64, TRUE, 0);
    for (guint i = 0; i < 3; i++)
        ttt[i] = expect_r2t(bed, i * 4096, 4096);
    expect_nothing(bed);

    /* One ends, the next is asked for */
    send_data(bed, ttt[0], 0, 0, 4096, TRUE);
    ttt[0] = expect_r2t(bed, 3 * 4096, 4096);
    expect_nothing(bed);
    send_data(bed, ttt[1], 0, 4096, 2048, FALSE);
    expect_nothing(bed);
    send_data(bed, ttt[1], 1, 6144, 2048, TRUE);
    ttt[1] = expect_r2t(bed, 4 * 4096, 4096);
    send_data(bed, ttt[2], 0, 2 * 4096, 4096, TRUE);
    ttt[2] = expect_r2t(bed, 5 * 4096, 4096);
    send_data(bed, ttt[0], 0, 3 * 4096, 4096, TRUE);
    ttt[0] = expect_r2t(bed, 6 * 4096, 4096);
    send_data(bed, ttt[1], 0, 4 * 4096, 4096, TRUE);
    ttt[1] = expect_r2t(bed, 7 * 4096, 4096);
    send_data(bed, ttt[2], 0, 5 * 4096, 4096, TRUE);
    send_data(bed, ttt[0], 0, 6 * 4096, 4096, TRUE);
    send_data(bed, ttt[1], 0, 7 * 4096, 4096, TRUE);
    expect_good(bed);
    g_assert_cmpuint(get_be32(bed->initiator->bhs + 36), ==, 0);

    initiator_read(bed->initiator, 0, 64, in);
    g_assert_true(memcmp(in, bed->data, sizeof(in)) == 0);
    bed_free(bed);
}

static void
test_wrong_data_sn(void)
{
    Bed *bed = bed_new(SOLICITED);
    guint32 ttt;

    send_write(bed, 8, TRUE, 0);
    ttt = expect_r2t(bed, 0, 4096);
    send_data(bed, ttt, 1, 0, 4096, TRUE);
    expect_failure(bed, 0x47, 0x05);
    bed_free(bed);
}

static void
test_wrong_data_sn_unsolicited(void)
{
    Bed *bed = bed_new(UNSOLICITED);

    send_write(bed, 8, FALSE, 2048);
    send_data(bed, PDU_TAG_RESERVED, 5, 2048, 2048, TRUE);
    expect_failure(bed, 0x47, 0x05);
    bed_free(bed);
}

/* The command fails when all that was asked for has been answered, not before */
static void
test_failure_waits_for_the_end(void)
{
    Bed *bed = bed_new(SOLICITED);
    guint32 ttt[2];

    send_write(bed, 16, TRUE, 0);
    ttt[0] = expect_r2t(bed, 0, 4096);
    ttt[1] = expect_r2t(bed, 4096, 4096);
    send_data(bed, ttt[0], 7, 0, 2048, FALSE);
    expect_nothing(bed);
    send_data(bed, ttt[0], 8, 2048, 2048, TRUE);
    expect_nothing(bed);
    send_data(bed, ttt[1], 0, 4096, 4096, TRUE);
    expect_failure(bed, 0x47, 0x05);
    bed_free(bed);
}

static void
test_wrong_offset(void)
{
    Bed *bed = bed_new(SOLICITED);
    guint32 ttt;

    send_write(bed, 8, TRUE, 0);
    ttt = expect_r2t(bed, 0, 4096);
    send_data(bed, ttt, 0, 512, 3584, TRUE);
    expect_failure(bed, 0x4b, 0x00);
    bed_free(bed);
}

static void
test_too_much_data(void)
{
    Bed *bed = bed_new(SOLICITED);
    guint32 ttt;

    send_write(bed, 4, TRUE, 0);
    ttt = expect_r2t(bed, 0, 2048);
    send_data(bed, ttt, 0, 0, 4096, TRUE);
    expect_failure(bed, 0x4b, 0x00);
    bed_free(bed);
}

static void
test_too_little_data(void)
{
    Bed *bed = bed_new(SOLICITED);
    guint32 ttt;

    send_write(bed, 8, TRUE, 0);
    ttt = expect_r2t(bed, 0, 4096);
    send_data(bed, ttt, 0, 0, 2048, TRUE);
    expect_failure(bed, 0x0c, 0x0d);
    bed_free(bed);
}

static void
test_wrong_tag(void)
{
    Bed *bed = bed_new(SOLICITED);
    guint32 ttt;

    send_write(bed, 8, TRUE, 0);
    ttt = expect_r2t(bed, 0, 4096);
    send_data(bed, ttt + 1, 0, 0, 4096, TRUE);
    g_assert_true(initiator_receive(bed->initiator));
    g_assert_cmphex(pdu_opcode(bed->initiator->bhs), ==, PDU_REJECT);
    g_assert_cmphex(bed->initiator->bhs[2], ==, PDU_REJECT_INVALID_FIELD);
    send_data(bed, ttt, 0, 0, 4096, TRUE);
    expect_good(bed);
    bed_free(bed);
}

static void
test_unknown_task(void)
{
    Bed *bed = bed_new(SOLICITED);

    bed->itt = 0xdead;
    send_data(bed, 0x1234, 0, 0, 4096, TRUE);
    expect_nothing(bed);
    initiator_settle(bed->initiator);
    bed_free(bed);
}

static void
test_unsolicited_data_in_r2t_mode(void)
{
    Bed *bed = bed_new(SOLICITED);

    send_write(bed, 8, FALSE, 0);
    send_data(bed, PDU_TAG_RESERVED, 0, 0, 4096, TRUE);
    expect_failure(bed, 0x0c, 0x0c);
    bed_free(bed);
}

static void
test_immediate_data_not_negotiated(void)
{
    Bed *bed = bed_new(SOLICITED);

    send_write(bed, 8, TRUE, 512);
    expect_failure(bed, 0x0c, 0x0c);
    bed_free(bed);
}

static void
test_unsolicited_data_too_short(void)
{
    Bed *bed = bed_new(UNSOLICITED);

    send_write(bed, 8, FALSE, 1024);
    send_data(bed, PDU_TAG_RESERVED, 0, 1024, 1024, TRUE);
    expect_failure(bed, 0x0c, 0x0d);
    bed_free(bed);
}

static void
test_unsolicited_data_too_long(void)
{
    Bed *bed = bed_new(UNSOLICITED);

    send_write(bed, 16, FALSE, 1024);
    send_data(bed, PDU_TAG_RESERVED, 0, 1024, 4096, TRUE);
    expect_failure(bed, 0x0c, 0x0c);
    bed_free(bed);
}

/* A command that fails at once is answered when its unsolicited data has ended */
static void
test_error_waits_for_unsolicited_data(void)
{
    Bed *bed = bed_new(UNSOLICITED);
    guint8 bhs[PDU_BHS_SIZE], cdb[10];

    initiator_cdb10(cdb, 0x2a, 0xfffffff0, 8);
    initiator_command(bed->initiator, bhs, 0x20, cdb, sizeof(cdb), 4096);
    bed->itt = pdu_itt(bhs);
    initiator_send(bed->initiator, bhs, bed->data, 1024);
    expect_nothing(bed);
    send_data(bed, PDU_TAG_RESERVED, 0, 1024, 1024, FALSE);
    expect_nothing(bed);
    send_data(bed, PDU_TAG_RESERVED, 1, 2048, 2048, TRUE);
    g_assert_true(initiator_receive(bed->initiator));
    g_assert_cmphex(pdu_opcode(bed->initiator->bhs), ==, PDU_SCSI_RESPONSE);
    g_assert_cmphex(bed->initiator->bhs[3], ==, 0x02);
    g_assert_cmphex(bed->initiator->data[2 + 12], ==, 0x21);
    bed_free(bed);
}

static void
test_bidirectional(void)
{
    Bed *bed = bed_new(SOLICITED);
    guint8 bhs[PDU_BHS_SIZE], cdb[10];

    initiator_cdb10(cdb, 0x2a, 0, 1);
    initiator_command(bed->initiator, bhs, 0xe0, cdb, sizeof(cdb), 512);
    initiator_send(bed->initiator, bhs, NULL, 0);
    g_assert_true(initiator_receive(bed->initiator));
    /* Refused one way or the other, and the session lives */
    g_assert_true(pdu_opcode(bed->initiator->bhs) == PDU_SCSI_RESPONSE);
    g_assert_cmphex(bed->initiator->bhs[3], ==, 0x02);
    initiator_settle(bed->initiator);
    bed_free(bed);
}

static void
allow_long_bursts(IscsiTarget *target)
{
    target->params.first_burst_length = 1 << 20;
}

/* No session may hold too much of the pool for data that it may send unasked, but does not send */
static void
test_reservations_are_bounded(void)
{
    Rig *rig = rig_new(&(RigConfig){ .pool_size = (gsize)8 << 20, .adjust = allow_long_bursts });
    Initiator *initiator = initiator_new(rig);
    guint8 bhs[PDU_BHS_SIZE], cdb[10];
    g_autofree guint8 *data = g_malloc0(1 << 20);

    g_assert_cmphex(initiator_login(initiator, "InitialR2T=No\nImmediateData=Yes\n"
                                               "MaxBurstLength=1048576\n"
                                               "FirstBurstLength=1048576"),
                    ==, 0);
    initiator_settle(initiator);
    initiator_cdb10(cdb, 0x2a, 0, 2048);
    for (guint i = 0; i < 3; i++) {
        initiator_command(initiator, bhs, 0x20, cdb, sizeof(cdb), 1 << 20);
        initiator_send(initiator, bhs, data, BLOCK);
    }
    g_assert_false(initiator_poll(initiator));

    /* The third one is told when it has sent what it was allowed to */
    bhs[0] = PDU_DATA_OUT;
    bhs[1] = 0x80;
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    put_be32(bhs + 36, 0);
    put_be32(bhs + 40, BLOCK);
    initiator_send(initiator, bhs, data, (1 << 20) - BLOCK);
    g_assert_true(initiator_receive(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_SCSI_RESPONSE);
    g_assert_cmphex(initiator->bhs[3], ==, 0x28);
    initiator_free(initiator);
    rig_free(rig);
}

/* Many writers and a pool that has room for two segments at a time (DESIGN 12, rule 11) */
static void
test_small_pool(void)
{
    Rig *rig = rig_new(&(RigConfig){ .pool_size = (gsize)6 << 20, .size = 1 << 27 });
    Initiator *initiators[64];
    g_autofree guint8 *data = g_malloc(WRITE_BLOCKS * BLOCK);
    g_autofree guint8 *in = g_malloc(WRITE_BLOCKS * BLOCK);
    guint8 cdb[10];

    memset(data, 0x3c, (gsize)WRITE_BLOCKS * BLOCK);
    for (guint i = 0; i < G_N_ELEMENTS(initiators); i++) {
        initiators[i] = initiator_new(rig);
        initiators[i]->isid[5] = (guint8)(i + 1);
        g_assert_cmphex(initiator_login(initiators[i], "InitialR2T=Yes\nImmediateData=No\n"
                                                       "MaxBurstLength=1048576"),
                        ==, 0);
        initiator_settle(initiators[i]);
    }
    /* All ask at once; each is then answered to its end */
    initiator_cdb10(cdb, 0x2a, 0, WRITE_BLOCKS);
    for (guint i = 0; i < G_N_ELEMENTS(initiators); i++) {
        guint8 bhs[PDU_BHS_SIZE];

        put_be32(cdb + 2, i * WRITE_BLOCKS);
        initiator_command(initiators[i], bhs, 0xa0, cdb, sizeof(cdb), WRITE_BLOCKS * BLOCK);
        initiator_send(initiators[i], bhs, NULL, 0);
    }
    rig_settle(rig);
    for (guint i = 0; i < G_N_ELEMENTS(initiators); i++) {
        for (;;) {
            guint8 bhs[PDU_BHS_SIZE] = { PDU_DATA_OUT, 0x80 };

            g_assert_true(initiator_receive(initiators[i]));
            if (pdu_opcode(initiators[i]->bhs) != PDU_R2T)
                break;
            memcpy(bhs + 16, initiators[i]->bhs + 16, 8);
            put_be32(bhs + 40, pdu_data_offset(initiators[i]->bhs));
            initiator_send(initiators[i], bhs, data, pdu_r2t_length(initiators[i]->bhs));
        }
        g_assert_cmphex(initiators[i]->bhs[3], ==, 0);
    }
    for (guint i = 0; i < G_N_ELEMENTS(initiators); i++) {
        initiator_read(initiators[i], i * WRITE_BLOCKS, WRITE_BLOCKS, in);
        g_assert_true(memcmp(in, data, (gsize)WRITE_BLOCKS * BLOCK) == 0);
        initiator_free(initiators[i]);
    }
    rig_free(rig);
}

/* Data that comes before the turn of its command has no place: that, and nothing else, is told */
static void
test_data_before_its_turn(void)
{
    Bed *bed = bed_new(UNSOLICITED);
    guint8 first[PDU_BHS_SIZE], cdb[6] = { 0 };

    initiator_command(bed->initiator, first, 0x80, cdb, sizeof(cdb), 0);
    send_write(bed, 8, FALSE, 1024);
    send_data(bed, PDU_TAG_RESERVED, 0, 1024, 3072, TRUE);
    expect_nothing(bed);
    initiator_send(bed->initiator, first, NULL, 0);
    expect_good(bed);
    g_assert_true(initiator_receive(bed->initiator));
    g_assert_cmphex(pdu_itt(bed->initiator->bhs), ==, bed->itt);
    g_assert_cmphex(bed->initiator->bhs[3], ==, 0x28);
    bed_free(bed);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/iscsi/dataseq/r2ts-in-flight", test_r2ts_in_flight);
    g_test_add_func("/iscsi/dataseq/wrong-data-sn", test_wrong_data_sn);
    g_test_add_func("/iscsi/dataseq/wrong-data-sn-unsolicited", test_wrong_data_sn_unsolicited);
    g_test_add_func("/iscsi/dataseq/failure-waits-for-the-end", test_failure_waits_for_the_end);
    g_test_add_func("/iscsi/dataseq/wrong-offset", test_wrong_offset);
    g_test_add_func("/iscsi/dataseq/too-much-data", test_too_much_data);
    g_test_add_func("/iscsi/dataseq/too-little-data", test_too_little_data);
    g_test_add_func("/iscsi/dataseq/wrong-tag", test_wrong_tag);
    g_test_add_func("/iscsi/dataseq/unknown-task", test_unknown_task);
    g_test_add_func("/iscsi/dataseq/unsolicited-in-r2t-mode", test_unsolicited_data_in_r2t_mode);
    g_test_add_func("/iscsi/dataseq/immediate-not-negotiated", test_immediate_data_not_negotiated);
    g_test_add_func("/iscsi/dataseq/unsolicited-too-short", test_unsolicited_data_too_short);
    g_test_add_func("/iscsi/dataseq/unsolicited-too-long", test_unsolicited_data_too_long);
    g_test_add_func("/iscsi/dataseq/error-waits-for-unsolicited",
                    test_error_waits_for_unsolicited_data);
    g_test_add_func("/iscsi/dataseq/bidirectional", test_bidirectional);
    g_test_add_func("/iscsi/dataseq/reservations-are-bounded", test_reservations_are_bounded);
    g_test_add_func("/iscsi/dataseq/small-pool", test_small_pool);
    g_test_add_func("/iscsi/dataseq/data-before-its-turn", test_data_before_its_turn);
    return g_test_run();
}
