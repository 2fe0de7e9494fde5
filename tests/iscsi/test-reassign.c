/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * TASK REASSIGN, by hand: a connection ends at some point of a command, another
 * one takes its place, and the command goes on there.
 */

#include "initiator.h"

#include <string.h>

#define BLOCK  512
#define SECOND USEC_PER_SEC

#define KEYS                                                                                       \
    "ErrorRecoveryLevel=2\nInitialR2T=No\nImmediateData=Yes\nMaxRecvDataSegmentLength=512\n"       \
    "MaxBurstLength=4096\nFirstBurstLength=4096\nMaxOutstandingR2T=2\nDefaultTime2Wait=1\n"        \
    "DefaultTime2Retain=20\nMaxConnections=4"

typedef struct {
    Rig *rig;
    Initiator *old; /* CID 0 */
    Initiator *initiator;
    guint32 itt; /* of the last command */
    guint8 data[64 * BLOCK];
} Bed;

static void
adjust(IscsiTarget *target)
{
    target->params.error_recovery_level = 2;
    target->params.max_connections = 4;
    target->params.default_time2wait = 1;
    target->nop_interval = 0;
}

static Bed *
bed_new(void)
{
    Bed *bed = g_new0(Bed, 1);

    bed->rig = rig_new(&(RigConfig){ .adjust = adjust, .type = "held" });
    bed->old = bed->initiator = initiator_new(bed->rig);
    g_assert_cmphex(initiator_login(bed->initiator, KEYS), ==, 0);
    initiator_settle(bed->initiator);
    for (gsize i = 0; i < sizeof(bed->data); i++)
        bed->data[i] = (guint8)(i + i / 509);
    initiator_write(bed->initiator, 0, 64, bed->data);
    return bed;
}

static void
bed_free(Bed *bed)
{
    if (bed->old != bed->initiator)
        initiator_free(bed->old);
    initiator_free(bed->initiator);
    rig_free(bed->rig);
    g_free(bed);
}

static const guint8 *
expect(Bed *bed, PduOpcode opcode)
{
    g_assert_true(initiator_receive_any(bed->initiator));
    g_assert_cmphex(pdu_opcode(bed->initiator->bhs), ==, opcode);
    return bed->initiator->bhs;
}

static void
expect_data_in(Bed *bed, guint32 data_sn, guint32 offset, guint32 size, gboolean has_status)
{
    const guint8 *bhs = expect(bed, PDU_DATA_IN);

    g_assert_cmphex(pdu_itt(bhs), ==, bed->itt);
    g_assert_cmpuint(pdu_data_sn(bhs), ==, data_sn);
    g_assert_cmpuint(pdu_data_offset(bhs), ==, offset);
    g_assert_cmpuint(bed->initiator->data_size, ==, size);
    g_assert_true(memcmp(bed->initiator->data, bed->data + offset, size) == 0);
    g_assert_cmpint((bhs[1] & PDU_DATA_IN_STATUS) != 0, ==, has_status);
}

static void
expect_response(Bed *bed, guint8 status)
{
    const guint8 *bhs = expect(bed, PDU_SCSI_RESPONSE);

    g_assert_cmphex(pdu_itt(bhs), ==, bed->itt);
    g_assert_cmphex(bhs[3], ==, status);
}

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
send_write(Bed *bed, guint16 n_blocks, gboolean is_final, gsize immediate)
{
    guint8 bhs[PDU_BHS_SIZE], cdb[10];

    initiator_cdb10(cdb, 0x2a, 64, n_blocks);
    initiator_command(bed->initiator, bhs, (guint8)(PDU_COMMAND_WRITE | (is_final ? 0x80 : 0)), cdb,
                      sizeof(cdb), (guint32)n_blocks * BLOCK);
    bed->itt = pdu_itt(bhs);
    initiator_send(bed->initiator, bhs, bed->data, immediate);
}

static void
send_data_out(Bed *bed, guint32 ttt, guint32 data_sn, guint32 offset, guint32 size,
              gboolean is_final)
{
    guint8 bhs[PDU_BHS_SIZE] = { PDU_DATA_OUT, is_final ? PDU_FINAL : 0 };

    put_be32(bhs + 16, bed->itt);
    put_be32(bhs + 20, ttt);
    put_be32(bhs + 28, bed->initiator->exp_stat_sn);
    put_be32(bhs + 36, data_sn);
    put_be32(bhs + 40, offset);
    initiator_send(bed->initiator, bhs, bed->data + offset, size);
}

/* The connection ends without a word, and another one of the session is there, under CID 1 */
static void
fail_over(Bed *bed)
{
    g_autofree char *text = g_strdup_printf("InitiatorName=%s\nTargetName=%s\nSessionType=Normal\n"
                                            "MaxRecvDataSegmentLength=1024",
                                            bed->old->name, RIG_TARGET);
    Initiator *initiator = initiator_new(bed->rig);

    initiator_drop(bed->old);
    rig_settle(bed->rig);
    memcpy(initiator->isid, bed->old->isid, sizeof(initiator->isid));
    initiator->tsih = bed->old->tsih;
    initiator->cid = 1;
    initiator->cmd_sn = bed->old->cmd_sn;
    initiator->itt = bed->old->itt + 100;
    g_assert_cmphex(initiator_login_text(initiator, text), ==, 0);
    bed->initiator = initiator;
}

/* Returns: the response */
static guint8
log_out(Bed *bed, PduLogoutReason reason)
{
    guint8 bhs[PDU_BHS_SIZE];

    initiator_header(bed->initiator, bhs, PDU_LOGOUT_REQUEST | PDU_IMMEDIATE,
                     (guint8)(PDU_FINAL | reason));
    put_be16(bhs + 20, 0);
    initiator_send(bed->initiator, bhs, NULL, 0);
    bed->initiator->exp_stat_sn++;
    return expect(bed, PDU_LOGOUT_RESPONSE)[2];
}

static void
wait_to_retry(Bed *bed)
{
    clock_advance(&bed->rig->clock, SECOND);
    rig_settle(bed->rig);
}

/* Returns: the response */
static guint8
reassign(Bed *bed, guint32 itt, guint32 exp_data_sn)
{
    guint8 bhs[PDU_BHS_SIZE];

    initiator_header(bed->initiator, bhs, PDU_TASK_MANAGEMENT_REQUEST | PDU_IMMEDIATE,
                     PDU_FINAL | PDU_TMF_TASK_REASSIGN);
    put_be32(bhs + 20, itt);
    put_be32(bhs + 36, exp_data_sn);
    initiator_send(bed->initiator, bhs, NULL, 0);
    bed->initiator->exp_stat_sn++;
    return expect(bed, PDU_TASK_MANAGEMENT_RESPONSE)[2];
}

static void
recover(Bed *bed, guint32 exp_data_sn)
{
    fail_over(bed);
    g_assert_cmphex(log_out(bed, PDU_LOGOUT_RECOVERY), ==, PDU_LOGOUT_RESPONSE_CLOSED);
    wait_to_retry(bed);
    g_assert_cmphex(reassign(bed, bed->itt, exp_data_sn), ==, PDU_TMF_RESPONSE_COMPLETE);
}

/* What send_write() has written */
static void
expect_written(Bed *bed, guint16 n_blocks)
{
    g_autofree guint8 *in = g_malloc0((gsize)n_blocks * BLOCK);
    guint8 cdb[10];
    Outcome outcome;

    bed->initiator->exp_stat_sn++;
    initiator_cdb10(cdb, 0x28, 64, n_blocks);
    g_assert_true(initiator_run(bed->initiator, cdb, sizeof(cdb), NULL, 0, in,
                                (guint32)n_blocks * BLOCK, &outcome));
    g_assert_cmphex(outcome.status, ==, 0);
    g_assert_true(memcmp(in, bed->data, (gsize)n_blocks * BLOCK) == 0);
}

static void
test_read_goes_on(void)
{
    Bed *bed = bed_new();

    /* All was sent, three were seen; the new connection takes twice as much in a PDU */
    send_read(bed, 8);
    for (guint32 i = 0; i < 8; i++)
        expect_data_in(bed, i, i * BLOCK, BLOCK, i == 7);
    recover(bed, 3);
    expect_data_in(bed, 3, 1536, 1024, FALSE);
    expect_data_in(bed, 4, 2560, 1024, FALSE);
    expect_data_in(bed, 5, 3584, 512, TRUE);
    g_assert_cmphex(pdu_stat_sn(bed->initiator->bhs), ==, bed->initiator->exp_stat_sn);
    g_assert_false(initiator_poll_any(bed->initiator));
    bed_free(bed);
}

/* ExpDataSN 0 is "unchanged": nothing was acknowledged */
static void
test_read_from_the_start(void)
{
    Bed *bed = bed_new();

    send_read(bed, 8);
    for (guint32 i = 0; i < 8; i++)
        expect_data_in(bed, i, i * BLOCK, BLOCK, i == 7);
    recover(bed, 0);
    for (guint32 i = 0; i < 4; i++)
        expect_data_in(bed, i, i * 1024, 1024, i == 3);
    bed_free(bed);
}

static void
test_status_only(void)
{
    Bed *bed = bed_new();

    send_read(bed, 8);
    for (guint32 i = 0; i < 8; i++)
        expect_data_in(bed, i, i * BLOCK, BLOCK, i == 7);
    recover(bed, 8);
    expect_response(bed, 0);
    g_assert_cmpuint(get_be32(bed->initiator->bhs + 36), ==, 8);
    g_assert_false(initiator_poll_any(bed->initiator));
    bed_free(bed);
}

/* The store answers while nobody is there, or when the task has a connection again */
static void
test_read_with_the_store(gconstpointer data)
{
    gboolean is_late = GPOINTER_TO_INT(data);
    Bed *bed = bed_new();

    rig_hold(bed->rig);
    send_read(bed, 4);
    rig_settle(bed->rig);
    g_assert_cmpuint(rig_n_held(bed->rig), ==, 1);
    fail_over(bed);
    g_assert_cmphex(log_out(bed, PDU_LOGOUT_RECOVERY), ==, PDU_LOGOUT_RESPONSE_CLOSED);
    wait_to_retry(bed);
    if (!is_late)
        rig_release(bed->rig);
    rig_settle(bed->rig);
    g_assert_cmphex(reassign(bed, bed->itt, 0), ==, PDU_TMF_RESPONSE_COMPLETE);
    if (is_late)
        rig_release(bed->rig);
    expect_data_in(bed, 0, 0, 1024, FALSE);
    expect_data_in(bed, 1, 1024, 1024, TRUE);
    bed_free(bed);
}

static void
test_write_goes_on(void)
{
    Bed *bed = bed_new();
    guint32 ttt;

    send_write(bed, 24, TRUE, 4096);
    ttt = expect_r2t(bed, 0, 4096, 4096);
    send_data_out(bed, ttt, 0, 4096, 1024, FALSE);
    rig_settle(bed->rig);

    /* Of what it asks for a part has come */
    recover(bed, 1);
    ttt = expect_r2t(bed, 1, 5120, 3072);
    send_data_out(bed, ttt, 0, 5120, 3072, TRUE);
    ttt = expect_r2t(bed, 2, 8192, 4096);
    send_data_out(bed, ttt, 0, 8192, 4096, TRUE);
    expect_response(bed, 0);
    expect_written(bed, 24);
    bed_free(bed);
}

/* The R2T was lost with the connection: its number is used again */
static void
test_write_goes_on_without_r2t(void)
{
    Bed *bed = bed_new();
    guint32 ttt;

    send_write(bed, 24, TRUE, 4096);
    ttt = expect_r2t(bed, 0, 4096, 4096);
    send_data_out(bed, ttt, 0, 4096, 4096, TRUE);
    (void)expect_r2t(bed, 1, 8192, 4096);
    recover(bed, 1);
    ttt = expect_r2t(bed, 1, 8192, 4096);
    send_data_out(bed, ttt, 0, 8192, 4096, TRUE);
    expect_response(bed, 0);
    expect_written(bed, 24);
    bed_free(bed);
}

static void
test_unsolicited_data_is_asked_for(void)
{
    Bed *bed = bed_new();
    guint32 ttt;

    send_write(bed, 8, FALSE, 1024);
    send_data_out(bed, PDU_TAG_RESERVED, 0, 1024, 1024, FALSE);
    rig_settle(bed->rig);
    recover(bed, 0);
    ttt = expect_r2t(bed, 0, 2048, 2048);
    send_data_out(bed, ttt, 0, 2048, 2048, TRUE);
    expect_response(bed, 0);
    expect_written(bed, 8);
    bed_free(bed);
}

/* RFC 7143 7.2.2, 11.6.1 */
static void
test_refusals(void)
{
    Bed *bed = bed_new();

    rig_hold(bed->rig);
    send_read(bed, 4);
    rig_settle(bed->rig);
    g_assert_cmphex(reassign(bed, bed->itt, 0), ==, PDU_TMF_RESPONSE_TASK_STILL_ALLEGIANT);
    fail_over(bed);
    /* Not logged out; logged out, but too early; another task */
    g_assert_cmphex(reassign(bed, bed->itt, 0), ==, PDU_TMF_RESPONSE_TASK_STILL_ALLEGIANT);
    g_assert_cmphex(log_out(bed, PDU_LOGOUT_RECOVERY), ==, PDU_LOGOUT_RESPONSE_CLOSED);
    g_assert_cmphex(reassign(bed, bed->itt, 0), ==, PDU_TMF_RESPONSE_TASK_STILL_ALLEGIANT);
    wait_to_retry(bed);
    g_assert_cmphex(reassign(bed, bed->itt + 5000, 0), ==, PDU_TMF_RESPONSE_NO_TASK);
    g_assert_cmphex(reassign(bed, bed->itt, 0), ==, PDU_TMF_RESPONSE_COMPLETE);
    rig_release(bed->rig);
    expect_data_in(bed, 0, 0, 1024, FALSE);
    bed_free(bed);
}

static void
send_ready(Bed *bed)
{
    guint8 bhs[PDU_BHS_SIZE], cdb[6] = { 0 };

    initiator_command(bed->initiator, bhs, PDU_FINAL, cdb, sizeof(cdb), 0);
    bed->itt = pdu_itt(bhs);
    initiator_send(bed->initiator, bhs, NULL, 0);
}

/* RFC 7143 7.6: without reassignment the tasks end, and the initiator is told by a unit attention */
static void
test_time_is_over(void)
{
    Bed *bed = bed_new();
    guint32 itt;

    rig_hold(bed->rig);
    send_read(bed, 4);
    rig_settle(bed->rig);
    itt = bed->itt;
    fail_over(bed);
    g_assert_cmphex(log_out(bed, PDU_LOGOUT_RECOVERY), ==, PDU_LOGOUT_RESPONSE_CLOSED);
    for (guint i = 0; i < 25; i++)
        wait_to_retry(bed);
    rig_release(bed->rig);
    rig_settle(bed->rig);
    while (initiator_poll_any(bed->initiator))
        continue;
    g_assert_cmphex(reassign(bed, itt, 0), ==, PDU_TMF_RESPONSE_NO_TASK);
    send_ready(bed);
    expect_response(bed, 0x02);
    g_assert_cmphex(bed->initiator->data[2 + 2] & 0x0f, ==, 0x06);
    g_assert_cmphex(bed->initiator->data[2 + 12], ==, 0x47);
    g_assert_cmphex(bed->initiator->data[2 + 13], ==, 0x7f);
    bed_free(bed);
}

/* Answers that were not acknowledged do not hold up the end of the session */
static void
test_logout_with_suspended_tasks(void)
{
    Bed *bed = bed_new();
    guint8 bhs[PDU_BHS_SIZE];

    send_read(bed, 8);
    for (guint32 i = 0; i < 8; i++)
        expect_data_in(bed, i, i * BLOCK, BLOCK, i == 7);
    send_write(bed, 24, TRUE, 4096);
    (void)expect_r2t(bed, 0, 4096, 4096);
    fail_over(bed);
    initiator_header(bed->initiator, bhs, PDU_LOGOUT_REQUEST | PDU_IMMEDIATE, PDU_FINAL);
    initiator_send(bed->initiator, bhs, NULL, 0);
    g_assert_cmphex(expect(bed, PDU_LOGOUT_RESPONSE)[2], ==, PDU_LOGOUT_RESPONSE_CLOSED);
    g_assert_true(initiator_is_closed(bed->initiator));
    g_assert_cmpuint(rig_count_events(bed->rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    bed_free(bed);
}

/* RFC 7143 11.5.1: an answer that was not acknowledged comes again, then that there is no such task */
static void
test_abort_of_an_answered_task(void)
{
    Bed *bed = bed_new();
    guint8 bhs[PDU_BHS_SIZE];

    send_read(bed, 1);
    expect_data_in(bed, 0, 0, BLOCK, TRUE);
    fail_over(bed);
    g_assert_cmphex(log_out(bed, PDU_LOGOUT_RECOVERY), ==, PDU_LOGOUT_RESPONSE_CLOSED);
    wait_to_retry(bed);

    initiator_header(bed->initiator, bhs, PDU_TASK_MANAGEMENT_REQUEST | PDU_IMMEDIATE,
                     PDU_FINAL | PDU_TMF_ABORT_TASK);
    put_be32(bhs + 20, bed->itt);
    put_be32(bhs + 32, bed->initiator->cmd_sn - 1);
    initiator_send(bed->initiator, bhs, NULL, 0);
    expect_data_in(bed, 0, 0, BLOCK, TRUE);
    g_assert_cmphex(expect(bed, PDU_TASK_MANAGEMENT_RESPONSE)[2], ==, PDU_TMF_RESPONSE_NO_TASK);
    bed_free(bed);
}

/* A second failure, with a SNACK in between: PDUs as the third connection takes them */
static void
test_two_failures(void)
{
    Bed *bed = bed_new();
    Initiator *first = bed->old;
    guint8 bhs[PDU_BHS_SIZE] = { PDU_SNACK_REQUEST, PDU_FINAL | PDU_SNACK_DATA_R2T };

    send_read(bed, 8);
    for (guint32 i = 0; i < 8; i++)
        expect_data_in(bed, i, i * BLOCK, BLOCK, i == 7);
    recover(bed, 2);
    for (guint32 i = 2; i < 5; i++)
        expect_data_in(bed, i, 1024 * (i - 1), 1024, i == 4);
    put_be32(bhs + 16, bed->itt);
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    put_be32(bhs + 28, bed->initiator->exp_stat_sn);
    put_be32(bhs + 40, 3);
    put_be32(bhs + 44, 1);
    initiator_send(bed->initiator, bhs, NULL, 0);
    expect_data_in(bed, 3, 2048, 1024, FALSE);

    /* Under CID 1 again, which is an implicit logout for recovery: RFC 7143 6.3.4 */
    bed->old = bed->initiator;
    fail_over(bed);
    wait_to_retry(bed);
    g_assert_cmphex(reassign(bed, bed->itt, 4), ==, PDU_TMF_RESPONSE_COMPLETE);
    expect_data_in(bed, 4, 3072, 1024, TRUE);
    initiator_free(first);
    bed_free(bed);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/iscsi/reassign/read-goes-on", test_read_goes_on);
    g_test_add_func("/iscsi/reassign/read-from-the-start", test_read_from_the_start);
    g_test_add_func("/iscsi/reassign/status-only", test_status_only);
    g_test_add_data_func("/iscsi/reassign/read-ends-alone", GINT_TO_POINTER(FALSE),
                         test_read_with_the_store);
    g_test_add_data_func("/iscsi/reassign/read-ends-later", GINT_TO_POINTER(TRUE),
                         test_read_with_the_store);
    g_test_add_func("/iscsi/reassign/write-goes-on", test_write_goes_on);
    g_test_add_func("/iscsi/reassign/write-goes-on-without-r2t", test_write_goes_on_without_r2t);
    g_test_add_func("/iscsi/reassign/unsolicited-data-is-asked-for",
                    test_unsolicited_data_is_asked_for);
    g_test_add_func("/iscsi/reassign/refusals", test_refusals);
    g_test_add_func("/iscsi/reassign/time-is-over", test_time_is_over);
    g_test_add_func("/iscsi/reassign/logout-with-suspended-tasks",
                    test_logout_with_suspended_tasks);
    g_test_add_func("/iscsi/reassign/abort-of-an-answered-task", test_abort_of_an_answered_task);
    g_test_add_func("/iscsi/reassign/two-failures", test_two_failures);
    return g_test_run();
}
