/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Sessions end to end: login, data in both directions, CmdSN, task management,
 * logout, reinstatement. One worker without a thread, an initiator on a socket
 * pair, a ram disk.
 */

#include "initiator.h"
#include "scsi/command.h"

#include <string.h>

#define BLOCK 512

static void
fill(guint8 *data, gsize size, guint32 seed)
{
    for (gsize i = 0; i < size; i++)
        data[i] = (guint8)((i * 2654435761u + seed) >> 13);
}

static void
test_login_and_logout(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    g_assert_cmpuint(initiator->tsih, !=, 0);
    initiator_settle(initiator);
    g_assert_cmpuint(initiator_logout(initiator), ==, PDU_LOGOUT_RESPONSE_CLOSED);
    rig_settle(rig);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_OPENED), ==, 1);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_CONNECTION_LOST), ==, 0);
    g_assert_cmpstr(rig_last_event(rig, ISCSI_EVENT_SESSION_CLOSED)->reason, ==, "logout");
    initiator_free(initiator);
    rig_free(rig);
}

static void
check_sizes(const char *keys)
{
    static const guint16 sizes[] = { 1, 2, 7, 8, 127, 128, 129, 511, 512, 513, 2048, 2049, 5000 };
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    g_autofree guint8 *out = g_malloc(5000 * BLOCK);
    g_autofree guint8 *in = g_malloc(5000 * BLOCK);

    g_assert_cmphex(initiator_login(initiator, keys), ==, 0);
    initiator_settle(initiator);
    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
        gsize size = (gsize)sizes[i] * BLOCK;

        fill(out, size, (guint32)i);
        memset(in, 0xee, size);
        initiator_write(initiator, (guint32)(i * 3), sizes[i], out);
        initiator_read(initiator, (guint32)(i * 3), sizes[i], in);
        g_assert_true(memcmp(in, out, size) == 0);
    }
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_sizes(gconstpointer keys)
{
    check_sizes(keys);
}

/* A session whose commands the test sends by hand, on a store that can hold requests back */

typedef struct {
    Rig *rig;
    Initiator *initiator;
} Bed;

static Bed
bed_open(const char *keys)
{
    Bed bed = { .rig = rig_new(&(RigConfig){ .type = "held" }) };

    bed.initiator = initiator_new(bed.rig);
    g_assert_cmphex(initiator_login(bed.initiator, keys), ==, 0);
    initiator_settle(bed.initiator);
    return bed;
}

static void
bed_close(Bed *bed)
{
    initiator_free(bed->initiator);
    rig_free(bed->rig);
}

static guint32
send_read(Initiator *initiator, guint32 lba, guint16 n_blocks)
{
    guint8 bhs[PDU_BHS_SIZE], cdb[10];

    initiator_cdb10(cdb, 0x28, lba, n_blocks);
    initiator_command(initiator, bhs, 0xc0, cdb, sizeof(cdb), (guint32)n_blocks * BLOCK);
    initiator_send(initiator, bhs, NULL, 0);
    return pdu_itt(bhs);
}

static void
expect_answer(Initiator *initiator, guint8 opcode, guint32 itt)
{
    g_assert_true(initiator_receive(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, opcode);
    g_assert_cmphex(pdu_itt(initiator->bhs), ==, itt);
}

/* Data-In */

static void
test_status_comes_with_data(void)
{
    Bed bed = bed_open(NULL);
    guint8 cdb[10], in[8 * BLOCK];
    Outcome outcome;

    initiator_cdb10(cdb, 0x28, 0, 8);
    g_assert_true(initiator_run(bed.initiator, cdb, 10, NULL, 0, in, sizeof(in), &outcome));
    g_assert_true(outcome.has_collapsed);
    g_assert_cmpuint(outcome.n_data_in, ==, 1);
    bed_close(&bed);
}

static void
test_data_in_is_cut(void)
{
    Bed bed = bed_open("MaxRecvDataSegmentLength=1024\nMaxBurstLength=4096\n"
                       "FirstBurstLength=4096");
    guint8 cdb[10], in[20 * BLOCK];
    Outcome outcome;

    initiator_cdb10(cdb, 0x28, 0, 20);
    g_assert_true(initiator_run(bed.initiator, cdb, 10, NULL, 0, in, sizeof(in), &outcome));
    g_assert_cmpuint(outcome.n_data_in, ==, 10);
    g_assert_cmpuint(outcome.n_sequences, ==, 3);
    bed_close(&bed);
}

static void
test_long_read_in_segments(void)
{
    Bed bed = bed_open(NULL);
    guint8 cdb[10];
    Outcome outcome;
    g_autofree guint8 *in = g_malloc(6000 * BLOCK);

    initiator_cdb10(cdb, 0x28, 0, 6000);
    g_assert_true(initiator_run(bed.initiator, cdb, 10, NULL, 0, in, 6000 * BLOCK, &outcome));
    g_assert_cmpuint(outcome.received, ==, 6000 * BLOCK);
    g_assert_cmpuint(outcome.n_sequences, ==, 3);
    g_assert_true(outcome.has_collapsed);
    bed_close(&bed);
}

/* Residuals */

static void
check_residual(guint16 n_blocks, guint32 edtl, gboolean is_write, guint8 flags, guint32 residual)
{
    Bed bed = bed_open(NULL);
    guint8 cdb[10];
    g_autofree guint8 *data = g_malloc0(16 * BLOCK);
    Outcome outcome;

    initiator_cdb10(cdb, is_write ? 0x2a : 0x28, 0, n_blocks);
    g_assert_true(initiator_run(bed.initiator, cdb, 10, data, is_write ? edtl : 0, data,
                                is_write ? 0 : edtl, &outcome));
    g_assert_cmphex(outcome.status, ==, 0);
    g_assert_cmphex(outcome.residual_flags, ==, flags);
    g_assert_cmpuint(outcome.residual, ==, residual);
    if (!is_write)
        g_assert_cmpuint(outcome.received, ==, MIN((guint32)n_blocks * BLOCK, edtl));
    bed_close(&bed);
}

static void
test_read_underflow(void)
{
    check_residual(2, 8 * BLOCK, FALSE, PDU_RESIDUAL_UNDERFLOW, 6 * BLOCK);
}

static void
test_read_overflow(void)
{
    check_residual(8, 2 * BLOCK, FALSE, PDU_RESIDUAL_OVERFLOW, 6 * BLOCK);
}

static void
test_write_underflow(void)
{
    check_residual(2, 8 * BLOCK, TRUE, PDU_RESIDUAL_UNDERFLOW, 6 * BLOCK);
}

static void
test_write_overflow(void)
{
    check_residual(8, 2 * BLOCK, TRUE, PDU_RESIDUAL_OVERFLOW, 6 * BLOCK);
}

/* CmdSN */

static void
test_out_of_order(void)
{
    Bed bed = bed_open(NULL);
    Initiator *initiator = bed.initiator;
    guint32 first = initiator->cmd_sn;
    guint32 a, b, c;

    initiator->cmd_sn = first + 2;
    c = send_read(initiator, 0, 1);
    initiator->cmd_sn = first + 1;
    b = send_read(initiator, 0, 1);
    g_assert_false(initiator_poll(initiator));
    initiator->cmd_sn = first;
    a = send_read(initiator, 0, 1);
    expect_answer(initiator, PDU_DATA_IN, a);
    expect_answer(initiator, PDU_DATA_IN, b);
    expect_answer(initiator, PDU_DATA_IN, c);
    g_assert_cmphex(pdu_exp_cmd_sn(initiator->bhs), ==, first + 3);
    initiator->cmd_sn = first + 3;
    initiator_settle(initiator);
    bed_close(&bed);
}

static void
test_out_of_order_with_data(void)
{
    Bed bed = bed_open(NULL);
    Initiator *initiator = bed.initiator;
    guint32 first = initiator->cmd_sn;
    guint8 bhs[PDU_BHS_SIZE], cdb[10], data[BLOCK], in[BLOCK];
    guint32 itt;

    memset(data, 0x42, sizeof(data));
    initiator_cdb10(cdb, 0x2a, 9, 1);
    initiator->cmd_sn = first + 1;
    initiator_command(initiator, bhs, 0xa0, cdb, sizeof(cdb), BLOCK);
    initiator_send(initiator, bhs, data, sizeof(data));
    g_assert_false(initiator_poll(initiator));
    initiator->cmd_sn = first;
    itt = send_read(initiator, 0, 1);
    expect_answer(initiator, PDU_DATA_IN, itt);
    expect_answer(initiator, PDU_SCSI_RESPONSE, pdu_itt(bhs));
    g_assert_cmphex(initiator->bhs[3], ==, 0);
    initiator->cmd_sn = first + 2;
    initiator_read(initiator, 9, 1, in);
    g_assert_true(memcmp(in, data, BLOCK) == 0);
    bed_close(&bed);
}

static void
test_outside_of_the_window(void)
{
    Bed bed = bed_open(NULL);
    Initiator *initiator = bed.initiator;
    guint32 first = initiator->cmd_sn;

    initiator->cmd_sn = first - 1;
    (void)send_read(initiator, 0, 1);
    initiator->cmd_sn = initiator->max_cmd_sn + 1;
    (void)send_read(initiator, 0, 1);
    g_assert_false(initiator_poll(initiator));
    initiator->cmd_sn = first;
    initiator_settle(initiator);
    bed_close(&bed);
}

static void
test_window_grows_and_never_shrinks(void)
{
    Bed bed = bed_open(NULL);
    Initiator *initiator = bed.initiator;
    guint32 width = 0;

    for (guint round = 0; round < 8; round++) {
        guint32 n = initiator->max_cmd_sn - initiator->cmd_sn + 1;
        guint32 max = initiator->max_cmd_sn;

        g_assert_cmpuint(n, >=, width);
        g_assert_cmpuint(n, <=, 128);
        width = n;
        for (guint i = 0; i < n; i++)
            (void)send_read(initiator, 0, 1);
        for (guint i = 0; i < n; i++) {
            g_assert_true(initiator_receive(initiator));
            g_assert_cmpint((gint32)(pdu_max_cmd_sn(initiator->bhs) - max), >=, 0);
            max = pdu_max_cmd_sn(initiator->bhs);
        }
    }
    g_assert_cmpuint(width, ==, 128);
    bed_close(&bed);
}

static void
make_narrow(IscsiTarget *target)
{
    target->queue_depth = 2;
}

static void
test_narrow_window(void)
{
    Rig *rig = rig_new(&(RigConfig){ .adjust = make_narrow });
    Initiator *initiator = initiator_new(rig);

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    for (guint i = 0; i < 20; i++) {
        g_assert_cmpuint(initiator->max_cmd_sn - initiator->cmd_sn + 1, ==, 2);
        (void)send_read(initiator, 0, 1);
        (void)send_read(initiator, 0, 1);
        g_assert_true(initiator_receive(initiator));
        g_assert_true(initiator_receive(initiator));
    }
    initiator_free(initiator);
    rig_free(rig);
}

/* A window that was closed for the initiator is reopened by a NOP-In when no answer does it */
static void
test_window_is_told(void)
{
    Bed bed = bed_open(NULL);
    Initiator *initiator = bed.initiator;
    guint8 bhs[PDU_BHS_SIZE];
    guint n = initiator->max_cmd_sn - initiator->cmd_sn + 1;

    rig_hold(bed.rig);
    for (guint i = 0; i < n; i++)
        (void)send_read(initiator, i, 1);
    rig_settle(bed.rig);
    initiator_header(initiator, bhs, PDU_TASK_MANAGEMENT_REQUEST | PDU_IMMEDIATE,
                     0x80 | PDU_TMF_ABORT_TASK_SET);
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    initiator_send(initiator, bhs, NULL, 0);
    rig_settle(bed.rig);
    rig_release(bed.rig);
    while (pdu_sn_less(initiator->max_cmd_sn, initiator->cmd_sn))
        g_assert_true(initiator_receive(initiator));
    rig_settle(bed.rig);
    while (initiator_poll(initiator))
        continue;
    initiator_settle(initiator);
    bed_close(&bed);
}

static void
test_task_in_progress(void)
{
    Bed bed = bed_open(NULL);
    Initiator *initiator = bed.initiator;
    guint32 itt;

    rig_hold(bed.rig);
    itt = send_read(initiator, 0, 1);
    initiator->itt--;
    (void)send_read(initiator, 0, 1);
    expect_answer(initiator, PDU_REJECT, PDU_TAG_RESERVED);
    g_assert_cmphex(initiator->bhs[2], ==, PDU_REJECT_TASK_IN_PROGRESS);
    rig_release(bed.rig);
    expect_answer(initiator, PDU_DATA_IN, itt);
    /* The rejected PDU counts as not received */
    initiator->cmd_sn--;
    initiator_settle(initiator);
    bed_close(&bed);
}

/* Commands that wait for one another by their attributes do not also wait for each other's room */
static void
test_task_attributes_under_pressure(void)
{
    static const guint8 attributes[] = { PDU_ATTR_ORDERED,      PDU_ATTR_SIMPLE,  PDU_ATTR_SIMPLE,
                                         PDU_ATTR_SIMPLE,       PDU_ATTR_ORDERED, PDU_ATTR_SIMPLE,
                                         PDU_ATTR_HEAD_OF_QUEUE };
    Rig *rig = rig_new(&(RigConfig){ .type = "held", .pool_size = (gsize)16 << 20 });
    Initiator *initiator = initiator_new(rig);
    guint n_done = 0;

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    rig_hold(rig);
    for (guint i = 0; i < G_N_ELEMENTS(attributes); i++) {
        guint8 bhs[PDU_BHS_SIZE], cdb[10];

        initiator_cdb10(cdb, 0x28, i, 2048);
        initiator_command(initiator, bhs, 0xc0, cdb, sizeof(cdb), 1 << 20);
        bhs[1] = (guint8)(0xc0 | attributes[i]);
        initiator_send(initiator, bhs, NULL, 0);
    }
    rig_settle(rig);
    rig_release(rig);
    while (n_done < G_N_ELEMENTS(attributes)) {
        g_assert_true(initiator_receive(initiator));
        g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_DATA_IN);
        n_done += initiator->bhs[1] & PDU_DATA_IN_STATUS;
    }
    initiator_settle(initiator);
    initiator_free(initiator);
    rig_free(rig);
}

/* Task management */

static void
send_tmf(Initiator *initiator, guint8 function, guint32 rtt, guint32 ref_cmd_sn)
{
    guint8 bhs[PDU_BHS_SIZE];

    initiator_header(initiator, bhs, PDU_TASK_MANAGEMENT_REQUEST | PDU_IMMEDIATE,
                     (guint8)(0x80 | function));
    put_be32(bhs + 20, rtt);
    put_be32(bhs + 32, ref_cmd_sn);
    initiator_send(initiator, bhs, NULL, 0);
}

static void
expect_tmf(Initiator *initiator, guint8 response)
{
    do
        g_assert_true(initiator_receive(initiator));
    while (pdu_opcode(initiator->bhs) == PDU_NOP_IN);
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_TASK_MANAGEMENT_RESPONSE);
    g_assert_cmphex(initiator->bhs[2], ==, response);
}

static void
test_abort_waits_for_the_store(void)
{
    Bed bed = bed_open(NULL);
    guint32 itt;

    rig_hold(bed.rig);
    itt = send_read(bed.initiator, 0, 1);
    send_tmf(bed.initiator, PDU_TMF_ABORT_TASK, itt, bed.initiator->cmd_sn - 1);
    g_assert_false(initiator_poll(bed.initiator));
    g_assert_cmpuint(rig_n_held(bed.rig), ==, 1);
    rig_release(bed.rig);
    expect_tmf(bed.initiator, PDU_TMF_RESPONSE_COMPLETE);
    g_assert_false(initiator_poll(bed.initiator));
    initiator_settle(bed.initiator);
    bed_close(&bed);
}

static void
test_abort_of_a_write_that_wants_data(void)
{
    Bed bed = bed_open("InitialR2T=Yes\nImmediateData=No");
    guint8 bhs[PDU_BHS_SIZE], cdb[10];
    guint8 data[BLOCK] = { 0 };

    initiator_cdb10(cdb, 0x2a, 0, 1);
    initiator_command(bed.initiator, bhs, 0xa0, cdb, sizeof(cdb), BLOCK);
    initiator_send(bed.initiator, bhs, NULL, 0);
    expect_answer(bed.initiator, PDU_R2T, pdu_itt(bhs));
    send_tmf(bed.initiator, PDU_TMF_ABORT_TASK, pdu_itt(bhs), bed.initiator->cmd_sn - 1);
    expect_tmf(bed.initiator, PDU_TMF_RESPONSE_COMPLETE);

    /* Data that was on its way is dropped */
    put_be32(bhs + 20, pdu_ttt(bed.initiator->bhs));
    bhs[0] = PDU_DATA_OUT;
    put_be32(bhs + 36, 0);
    put_be32(bhs + 40, 0);
    initiator_send(bed.initiator, bhs, data, sizeof(data));
    g_assert_false(initiator_poll(bed.initiator));
    initiator_settle(bed.initiator);
    bed_close(&bed);
}

static void
test_abort_of_nothing(void)
{
    Bed bed = bed_open(NULL);

    send_tmf(bed.initiator, PDU_TMF_ABORT_TASK, 0xdead, bed.initiator->cmd_sn - 1);
    expect_tmf(bed.initiator, PDU_TMF_RESPONSE_NO_TASK);
    bed_close(&bed);
}

/* RFC 7143 11.6.1: the CmdSN of a command that never came counts as received */
static void
test_abort_of_a_command_that_never_came(void)
{
    Bed bed = bed_open(NULL);
    Initiator *initiator = bed.initiator;
    guint32 lost = initiator->cmd_sn;
    guint32 itt;

    initiator->cmd_sn++;
    itt = send_read(initiator, 0, 1);
    g_assert_false(initiator_poll(initiator));
    send_tmf(initiator, PDU_TMF_ABORT_TASK, 0xdead, lost);
    for (guint i = 0; i < 2; i++) {
        g_assert_true(initiator_receive(initiator));
        if (pdu_opcode(initiator->bhs) == PDU_DATA_IN)
            g_assert_cmphex(pdu_itt(initiator->bhs), ==, itt);
        else
            g_assert_cmphex(initiator->bhs[2], ==, PDU_TMF_RESPONSE_COMPLETE);
    }
    initiator_settle(initiator);
    bed_close(&bed);
}

static void
test_abort_of_a_parked_command(void)
{
    Bed bed = bed_open(NULL);
    Initiator *initiator = bed.initiator;
    guint32 first = initiator->cmd_sn;
    guint32 parked, itt;

    initiator->cmd_sn = first + 1;
    parked = send_read(initiator, 0, 1);
    send_tmf(initiator, PDU_TMF_ABORT_TASK, parked, first + 1);
    expect_tmf(initiator, PDU_TMF_RESPONSE_COMPLETE);
    initiator->cmd_sn = first;
    itt = send_read(initiator, 0, 1);
    expect_answer(initiator, PDU_DATA_IN, itt);
    g_assert_false(initiator_poll(initiator));
    initiator->cmd_sn = first + 2;
    initiator_settle(initiator);
    bed_close(&bed);
}

static void
test_abort_task_set_and_lun_reset(void)
{
    static const guint8 functions[] = { PDU_TMF_ABORT_TASK_SET, PDU_TMF_CLEAR_TASK_SET,
                                        PDU_TMF_LOGICAL_UNIT_RESET, PDU_TMF_TARGET_WARM_RESET };
    Bed bed = bed_open(NULL);

    for (gsize i = 0; i < G_N_ELEMENTS(functions); i++) {
        rig_hold(bed.rig);
        for (guint j = 0; j < 4; j++)
            (void)send_read(bed.initiator, j, 1);
        rig_settle(bed.rig);
        send_tmf(bed.initiator, functions[i], PDU_TAG_RESERVED, 0);
        g_assert_false(initiator_poll(bed.initiator));
        rig_release(bed.rig);
        expect_tmf(bed.initiator, PDU_TMF_RESPONSE_COMPLETE);
        initiator_settle(bed.initiator);
    }
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_TASK_MANAGEMENT), ==,
                     G_N_ELEMENTS(functions));
    bed_close(&bed);
}

static void
set_task_aborted_status(Initiator *initiator)
{
    static const guint8 cdb[6] = { 0x15, 0x10, [4] = 16 };
    static const guint8 list[16] = { [4] = 0x0a, 0x0a, 0x20, 0x10, 0, 0x40 };
    Outcome outcome;

    g_assert_true(
        initiator_run(initiator, cdb, sizeof(cdb), list, sizeof(list), NULL, 0, &outcome));
    g_assert_cmphex(outcome.status, ==, 0);
}

/* With TAS, commands that another nexus aborts are answered: when their data sequences have ended */
static void
test_task_aborted(void)
{
    Bed bed = bed_open(NULL);
    Initiator *other = initiator_new(bed.rig);
    guint8 bhs[PDU_BHS_SIZE], cdb[10];
    guint8 data[BLOCK] = { 0 };
    guint32 itt;

    other->isid[5] ^= 0x55;
    g_assert_cmphex(initiator_login(other, "InitialR2T=Yes\nImmediateData=No"), ==, 0);
    set_task_aborted_status(bed.initiator);
    initiator_settle(other);

    rig_hold(bed.rig);
    itt = send_read(other, 0, 1);
    rig_settle(bed.rig);
    initiator_cdb10(cdb, 0x2a, 0, 1);
    initiator_command(other, bhs, 0xa0, cdb, sizeof(cdb), BLOCK);
    initiator_send(other, bhs, NULL, 0);
    expect_answer(other, PDU_R2T, pdu_itt(bhs));
    put_be32(bhs + 20, pdu_ttt(other->bhs));
    send_tmf(bed.initiator, PDU_TMF_LOGICAL_UNIT_RESET, PDU_TAG_RESERVED, 0);
    rig_settle(bed.rig);
    rig_release(bed.rig);
    expect_tmf(bed.initiator, PDU_TMF_RESPONSE_COMPLETE);

    expect_answer(other, PDU_SCSI_RESPONSE, itt);
    g_assert_cmphex(other->bhs[3], ==, SCSI_TASK_ABORTED);
    g_assert_cmphex(other->bhs[1] & PDU_RESIDUAL_UNDERFLOW, ==, PDU_RESIDUAL_UNDERFLOW);
    g_assert_false(initiator_poll(other));

    bhs[0] = PDU_DATA_OUT;
    bhs[1] = PDU_FINAL;
    put_be32(bhs + 36, 0);
    put_be32(bhs + 40, 0);
    initiator_send(other, bhs, data, sizeof(data));
    expect_answer(other, PDU_SCSI_RESPONSE, pdu_itt(bhs));
    g_assert_cmphex(other->bhs[3], ==, SCSI_TASK_ABORTED);
    g_assert_cmpuint(other->data_size, ==, 0);

    initiator_settle(other);
    initiator_free(other);
    bed_close(&bed);
}

/* Immediate data of a command that is aborted is still coming */
static void
test_task_aborted_in_its_pdu(void)
{
    Bed bed = bed_open(NULL);
    Initiator *other = initiator_new(bed.rig);
    guint8 bhs[PDU_BHS_SIZE], cdb[10];
    guint8 data[BLOCK] = { 0 };

    other->isid[5] ^= 0x55;
    g_assert_cmphex(initiator_login(other, NULL), ==, 0);
    set_task_aborted_status(bed.initiator);
    initiator_settle(other);

    initiator_cdb10(cdb, 0x2a, 0, 1);
    initiator_command(other, bhs, 0xa0, cdb, sizeof(cdb), BLOCK);
    put_be24(bhs + 5, BLOCK);
    initiator_send_bytes(other, bhs, sizeof(bhs));
    rig_settle(bed.rig);
    send_tmf(bed.initiator, PDU_TMF_LOGICAL_UNIT_RESET, PDU_TAG_RESERVED, 0);
    expect_tmf(bed.initiator, PDU_TMF_RESPONSE_COMPLETE);
    g_assert_false(initiator_poll(other));
    initiator_send_bytes(other, data, sizeof(data));
    expect_answer(other, PDU_SCSI_RESPONSE, pdu_itt(bhs));
    g_assert_cmphex(other->bhs[3], ==, SCSI_TASK_ABORTED);

    initiator_settle(other);
    initiator_free(other);
    bed_close(&bed);
}

static void
test_reset_waits_for_commands_before_it(void)
{
    Bed bed = bed_open(NULL);
    Initiator *initiator = bed.initiator;
    guint32 lost = initiator->cmd_sn;

    initiator->cmd_sn++;
    send_tmf(initiator, PDU_TMF_LOGICAL_UNIT_RESET, PDU_TAG_RESERVED, 0);
    g_assert_false(initiator_poll(initiator));
    initiator->cmd_sn = lost;
    (void)send_read(initiator, 0, 1);
    g_assert_true(initiator_receive(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_DATA_IN);
    expect_tmf(initiator, PDU_TMF_RESPONSE_COMPLETE);
    initiator_settle(initiator);
    bed_close(&bed);
}

/* RFC 7143 11.5.1: it acts on commands with a lower CmdSN, however late those come */
static void
test_abort_task_set_spares_what_comes_after(void)
{
    Bed bed = bed_open(NULL);
    Initiator *initiator = bed.initiator;
    guint32 lost = initiator->cmd_sn;
    guint32 after;

    rig_hold(bed.rig);
    initiator->cmd_sn = lost + 1;
    send_tmf(initiator, PDU_TMF_ABORT_TASK_SET, PDU_TAG_RESERVED, 0);
    after = send_read(initiator, 1, 1);
    initiator->cmd_sn = lost;
    (void)send_read(initiator, 0, 1);
    g_assert_false(initiator_poll(initiator));
    rig_release(bed.rig);

    for (guint i = 0; i < 2; i++) {
        g_assert_true(initiator_receive(initiator));
        if (pdu_opcode(initiator->bhs) == PDU_DATA_IN)
            g_assert_cmphex(pdu_itt(initiator->bhs), ==, after);
        else
            g_assert_cmphex(initiator->bhs[2], ==, PDU_TMF_RESPONSE_COMPLETE);
    }
    initiator->cmd_sn = lost + 2;
    initiator_settle(initiator);
    bed_close(&bed);
}

/* A command behind a reset is not what that concerns; where it is caught by it, this is told */
static void
test_reset_tells_what_comes_after(void)
{
    Bed bed = bed_open(NULL);
    Initiator *initiator = bed.initiator;
    guint32 before, after;
    guint n_after = 0;

    rig_hold(bed.rig);
    before = send_read(initiator, 0, 1);
    g_assert_false(initiator_poll(initiator));
    send_tmf(initiator, PDU_TMF_LOGICAL_UNIT_RESET, PDU_TAG_RESERVED, 0);
    after = send_read(initiator, 1, 1);
    rig_settle(bed.rig);
    rig_release(bed.rig);

    while (initiator_poll(initiator)) {
        g_assert_cmphex(pdu_itt(initiator->bhs), !=, before);
        n_after += pdu_itt(initiator->bhs) == after;
    }
    g_assert_cmpuint(n_after, ==, 1);
    initiator_settle(initiator);
    bed_close(&bed);
}

/* RFC 7144 6.3: its tasks end, it is answered, and then the session goes, and no other */
static void
test_nexus_reset(void)
{
    Bed bed = bed_open("iSCSIProtocolLevel=2");
    Initiator *other = initiator_new(bed.rig);

    other->isid[5] = 2;
    g_assert_cmphex(initiator_login(other, NULL), ==, 0);
    initiator_settle(other);

    rig_hold(bed.rig);
    for (guint i = 0; i < 3; i++)
        (void)send_read(bed.initiator, i, 1);
    rig_settle(bed.rig);
    send_tmf(bed.initiator, PDU_TMF_I_T_NEXUS_RESET, PDU_TAG_RESERVED, 0);
    g_assert_false(initiator_poll(bed.initiator));
    rig_release(bed.rig);
    expect_tmf(bed.initiator, PDU_TMF_RESPONSE_COMPLETE);
    g_assert_true(initiator_is_closed(bed.initiator));
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    g_assert_cmpstr(rig_last_event(bed.rig, ISCSI_EVENT_SESSION_CLOSED)->reason, ==,
                    "I_T NEXUS RESET");
    initiator_settle(other);
    initiator_free(other);
    bed_close(&bed);
}

static void
test_unsupported_functions(void)
{
    Bed bed = bed_open(NULL);

    send_tmf(bed.initiator, PDU_TMF_TASK_REASSIGN, 1, 0);
    expect_tmf(bed.initiator, PDU_TMF_RESPONSE_REASSIGN_NOT_SUPPORTED);
    send_tmf(bed.initiator, 77, 1, 0);
    expect_tmf(bed.initiator, PDU_TMF_RESPONSE_NOT_SUPPORTED);
    bed_close(&bed);
}

static void
test_cold_reset_ends_the_sessions(void)
{
    Bed bed = bed_open(NULL);

    send_tmf(bed.initiator, PDU_TMF_TARGET_COLD_RESET, PDU_TAG_RESERVED, 0);
    rig_settle(bed.rig);
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    bed_close(&bed);
}

/* The answer leaves before the sessions end, however slowly the initiator takes it */
static void
test_cold_reset_is_answered_first(void)
{
    Bed bed = bed_open(NULL);
    guint n_reads = 0;

    /* Answers that nobody takes fill the socket */
    while (n_reads < 8) {
        (void)send_read(bed.initiator, 0, 1024);
        rig_settle(bed.rig);
        n_reads++;
    }
    send_tmf(bed.initiator, PDU_TMF_TARGET_COLD_RESET, PDU_TAG_RESERVED, 0);
    rig_settle(bed.rig);
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_SESSION_CLOSED), ==, 0);

    do
        g_assert_true(initiator_receive(bed.initiator));
    while (pdu_opcode(bed.initiator->bhs) != PDU_TASK_MANAGEMENT_RESPONSE);
    g_assert_cmphex(bed.initiator->bhs[2], ==, PDU_TMF_RESPONSE_COMPLETE);
    rig_settle(bed.rig);
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    bed_close(&bed);
}

/* Ends and new beginnings */

static void
test_logout_aborts(void)
{
    Bed bed = bed_open(NULL);

    rig_hold(bed.rig);
    (void)send_read(bed.initiator, 0, 1);
    rig_settle(bed.rig);
    rig_release(bed.rig);
    (void)initiator_receive(bed.initiator);
    g_assert_cmpuint(initiator_logout(bed.initiator), ==, 0);
    bed_close(&bed);
}

static void
test_logout_drops_what_waits_behind_it(void)
{
    Bed bed = bed_open(NULL);
    guint32 first = bed.initiator->cmd_sn;

    bed.initiator->cmd_sn = first + 2;
    (void)send_read(bed.initiator, 0, 1);
    bed.initiator->cmd_sn = first;
    g_assert_cmpuint(initiator_logout(bed.initiator), ==, 0);
    bed_close(&bed);
}

/* All in one piece, so that the target sees the commands before it has answered */
static void
test_commands_behind_a_logout(void)
{
    Bed bed = bed_open(NULL);
    guint8 bytes[3 * PDU_BHS_SIZE], cdb[10];

    initiator_cdb10(cdb, 0x28, 0, 1);
    initiator_header(bed.initiator, bytes, PDU_LOGOUT_REQUEST, 0x80);
    initiator_command(bed.initiator, bytes + PDU_BHS_SIZE, 0xc0, cdb, sizeof(cdb), BLOCK);
    initiator_header(bed.initiator, bytes + 2 * PDU_BHS_SIZE,
                     PDU_TASK_MANAGEMENT_REQUEST | PDU_IMMEDIATE,
                     0x80 | PDU_TMF_LOGICAL_UNIT_RESET);
    initiator_send_bytes(bed.initiator, bytes, sizeof(bytes));
    expect_answer(bed.initiator, PDU_LOGOUT_RESPONSE, pdu_itt(bytes));
    g_assert_false(initiator_receive(bed.initiator));
    bed_close(&bed);
}

/* A store that does not answer does not keep the initiator from leaving */
static void
test_logout_does_not_wait_for_the_store(void)
{
    Rig *rig = rig_new(&(RigConfig){ .type = "held" });
    Initiator *initiator = initiator_new(rig);
    guint8 bhs[PDU_BHS_SIZE];

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    rig_hold(rig);
    (void)send_read(initiator, 0, 1);
    initiator_header(initiator, bhs, PDU_LOGOUT_REQUEST, 0x80);
    initiator_send(initiator, bhs, NULL, 0);
    g_assert_false(initiator_poll(initiator));
    clock_advance(&rig->clock, 3 * USEC_PER_SEC);
    expect_answer(initiator, PDU_LOGOUT_RESPONSE, pdu_itt(bhs));
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_CLOSED), ==, 0);
    rig_release(rig);
    rig_settle(rig);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_logout_of_another_connection(void)
{
    Bed bed = bed_open(NULL);
    guint8 bhs[PDU_BHS_SIZE];

    initiator_header(bed.initiator, bhs, PDU_LOGOUT_REQUEST, 0x80 | PDU_LOGOUT_CLOSE_CONNECTION);
    put_be16(bhs + 20, 9);
    initiator_send(bed.initiator, bhs, NULL, 0);
    expect_answer(bed.initiator, PDU_LOGOUT_RESPONSE, pdu_itt(bhs));
    g_assert_cmphex(bed.initiator->bhs[2], ==, PDU_LOGOUT_RESPONSE_NO_CID);
    initiator_settle(bed.initiator);
    bed_close(&bed);
}

static void
test_reinstatement(void)
{
    Bed bed = bed_open(NULL);
    Initiator *again = initiator_new(bed.rig);

    g_assert_cmphex(initiator_login(again, NULL), ==, 0);
    g_assert_true(initiator_is_closed(bed.initiator));
    g_assert_cmpuint(again->tsih, !=, bed.initiator->tsih);
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    initiator_settle(again);
    initiator_free(again);
    bed_close(&bed);
}

/* The new session begins when no command of the old one can have an effect any more */
static void
test_reinstatement_waits_for_the_store(void)
{
    Bed bed = bed_open(NULL);
    Initiator *again = initiator_new(bed.rig);
    guint8 bhs[PDU_BHS_SIZE];
    static const char text[] =
        "InitiatorName=" RIG_INITIATOR "\0TargetName=" RIG_TARGET "\0SessionType=Normal";

    rig_hold(bed.rig);
    (void)send_read(bed.initiator, 0, 1);
    rig_settle(bed.rig);
    initiator_header(again, bhs, PDU_LOGIN_REQUEST | PDU_IMMEDIATE, 0x87);
    memcpy(bhs + 8, again->isid, 6);
    initiator_send(again, bhs, text, sizeof(text));
    g_assert_false(initiator_poll(again));
    g_assert_true(initiator_is_closed(bed.initiator));
    rig_release(bed.rig);
    g_assert_true(initiator_receive(again));
    g_assert_cmphex(pdu_login_status(again->bhs), ==, 0);
    initiator_free(again);
    bed_close(&bed);
}

/* The login that waits gives up */
static void
test_reinstatement_is_given_up(void)
{
    Bed bed = bed_open(NULL);
    Initiator *again = initiator_new(bed.rig);
    guint8 bhs[PDU_BHS_SIZE];
    static const char text[] =
        "InitiatorName=" RIG_INITIATOR "\0TargetName=" RIG_TARGET "\0SessionType=Normal";

    rig_hold(bed.rig);
    (void)send_read(bed.initiator, 0, 1);
    rig_settle(bed.rig);
    initiator_header(again, bhs, PDU_LOGIN_REQUEST | PDU_IMMEDIATE, 0x87);
    memcpy(bhs + 8, again->isid, 6);
    initiator_send(again, bhs, text, sizeof(text));
    rig_settle(bed.rig);
    initiator_drop(again);
    rig_settle(bed.rig);
    rig_release(bed.rig);
    rig_settle(bed.rig);
    initiator_free(again);
    again = initiator_new(bed.rig);
    g_assert_cmphex(initiator_login(again, NULL), ==, 0);
    initiator_settle(again);
    initiator_free(again);
    bed_close(&bed);
}

static void
test_other_isid_is_another_session(void)
{
    Bed bed = bed_open(NULL);
    Initiator *other = initiator_new(bed.rig);

    other->isid[5] = 9;
    g_assert_cmphex(initiator_login(other, NULL), ==, 0);
    initiator_settle(other);
    initiator_settle(bed.initiator);
    initiator_free(other);
    bed_close(&bed);
}

static void
test_loss_with_commands_in_flight(void)
{
    Bed bed = bed_open(NULL);

    rig_hold(bed.rig);
    for (guint i = 0; i < 8; i++)
        (void)send_read(bed.initiator, i, 1);
    rig_settle(bed.rig);
    initiator_drop(bed.initiator);
    rig_settle(bed.rig);
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_SESSION_CLOSED), ==, 0);
    rig_release(bed.rig);
    rig_settle(bed.rig);
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    bed_close(&bed);
}

static void
set_depth_of_one(IscsiTarget *target)
{
    target->queue_depth = 1;
}

/* A CmdSN half way round is as far from a window as can be, also where that has one place only */
static void
test_cmd_sn_half_way_round(void)
{
    static const guint8 test_unit_ready[6];
    Rig *rig = rig_new(&(RigConfig){ .adjust = set_depth_of_one });
    Initiator *initiator = initiator_new(rig);
    guint8 bhs[PDU_BHS_SIZE];
    guint32 cmd_sn;

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    cmd_sn = initiator->cmd_sn;
    initiator->cmd_sn += 0x80000000u;
    initiator_command(initiator, bhs, 0x80, test_unit_ready, sizeof(test_unit_ready), 0);
    initiator_send(initiator, bhs, NULL, 0);
    rig_settle(rig);
    initiator->cmd_sn = cmd_sn;
    initiator_settle(initiator);
    initiator_free(initiator);
    rig_free(rig);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/iscsi/session/cmd-sn-half-way-round", test_cmd_sn_half_way_round);
    g_test_add_func("/iscsi/session/login-and-logout", test_login_and_logout);
    g_test_add_data_func("/iscsi/session/sizes/usual", NULL, test_sizes);
    g_test_add_data_func("/iscsi/session/sizes/r2t-only",
                         "InitialR2T=Yes\nImmediateData=No\nMaxRecvDataSegmentLength=8192\n"
                         "MaxBurstLength=16384\nFirstBurstLength=8192\nMaxOutstandingR2T=1",
                         test_sizes);
    g_test_add_data_func("/iscsi/session/sizes/immediate-only",
                         "InitialR2T=Yes\nImmediateData=Yes\nMaxRecvDataSegmentLength=4096\n"
                         "MaxBurstLength=65536\nFirstBurstLength=4096\nMaxOutstandingR2T=8",
                         test_sizes);
    g_test_add_data_func("/iscsi/session/sizes/unsolicited-only",
                         "InitialR2T=No\nImmediateData=No\nMaxRecvDataSegmentLength=65536\n"
                         "MaxBurstLength=1048576\nFirstBurstLength=1048576\nMaxOutstandingR2T=2",
                         test_sizes);
    g_test_add_data_func("/iscsi/session/sizes/digests",
                         "InitialR2T=No\nImmediateData=Yes\nMaxRecvDataSegmentLength=65536\n"
                         "HeaderDigest=CRC32C\nDataDigest=CRC32C",
                         test_sizes);
    g_test_add_func("/iscsi/session/status-comes-with-data", test_status_comes_with_data);
    g_test_add_func("/iscsi/session/data-in-is-cut", test_data_in_is_cut);
    g_test_add_func("/iscsi/session/long-read-in-segments", test_long_read_in_segments);
    g_test_add_func("/iscsi/session/read-underflow", test_read_underflow);
    g_test_add_func("/iscsi/session/read-overflow", test_read_overflow);
    g_test_add_func("/iscsi/session/write-underflow", test_write_underflow);
    g_test_add_func("/iscsi/session/write-overflow", test_write_overflow);
    g_test_add_func("/iscsi/session/out-of-order", test_out_of_order);
    g_test_add_func("/iscsi/session/out-of-order-with-data", test_out_of_order_with_data);
    g_test_add_func("/iscsi/session/outside-of-the-window", test_outside_of_the_window);
    g_test_add_func("/iscsi/session/window-grows-and-never-shrinks",
                    test_window_grows_and_never_shrinks);
    g_test_add_func("/iscsi/session/narrow-window", test_narrow_window);
    g_test_add_func("/iscsi/session/window-is-told", test_window_is_told);
    g_test_add_func("/iscsi/session/task-in-progress", test_task_in_progress);
    g_test_add_func("/iscsi/session/task-attributes-under-pressure",
                    test_task_attributes_under_pressure);
    g_test_add_func("/iscsi/session/abort-waits-for-the-store", test_abort_waits_for_the_store);
    g_test_add_func("/iscsi/session/abort-of-a-write-that-wants-data",
                    test_abort_of_a_write_that_wants_data);
    g_test_add_func("/iscsi/session/abort-of-nothing", test_abort_of_nothing);
    g_test_add_func("/iscsi/session/abort-of-a-command-that-never-came",
                    test_abort_of_a_command_that_never_came);
    g_test_add_func("/iscsi/session/abort-of-a-parked-command", test_abort_of_a_parked_command);
    g_test_add_func("/iscsi/session/abort-task-set-and-lun-reset",
                    test_abort_task_set_and_lun_reset);
    g_test_add_func("/iscsi/session/task-aborted", test_task_aborted);
    g_test_add_func("/iscsi/session/task-aborted-in-its-pdu", test_task_aborted_in_its_pdu);
    g_test_add_func("/iscsi/session/reset-waits-for-commands-before-it",
                    test_reset_waits_for_commands_before_it);
    g_test_add_func("/iscsi/session/spares-what-comes-after",
                    test_abort_task_set_spares_what_comes_after);
    g_test_add_func("/iscsi/session/reset-tells-what-comes-after",
                    test_reset_tells_what_comes_after);
    g_test_add_func("/iscsi/session/nexus-reset", test_nexus_reset);
    g_test_add_func("/iscsi/session/unsupported-functions", test_unsupported_functions);
    g_test_add_func("/iscsi/session/cold-reset-ends-the-sessions",
                    test_cold_reset_ends_the_sessions);
    g_test_add_func("/iscsi/session/cold-reset-is-answered-first",
                    test_cold_reset_is_answered_first);
    g_test_add_func("/iscsi/session/logout-aborts", test_logout_aborts);
    g_test_add_func("/iscsi/session/logout-drops-what-waits-behind-it",
                    test_logout_drops_what_waits_behind_it);
    g_test_add_func("/iscsi/session/commands-behind-a-logout", test_commands_behind_a_logout);
    g_test_add_func("/iscsi/session/logout-does-not-wait-for-the-store",
                    test_logout_does_not_wait_for_the_store);
    g_test_add_func("/iscsi/session/logout-of-another-connection",
                    test_logout_of_another_connection);
    g_test_add_func("/iscsi/session/reinstatement", test_reinstatement);
    g_test_add_func("/iscsi/session/reinstatement-waits-for-the-store",
                    test_reinstatement_waits_for_the_store);
    g_test_add_func("/iscsi/session/reinstatement-is-given-up", test_reinstatement_is_given_up);
    g_test_add_func("/iscsi/session/other-isid-is-another-session",
                    test_other_isid_is_another_session);
    g_test_add_func("/iscsi/session/loss-with-commands-in-flight",
                    test_loss_with_commands_in_flight);
    return g_test_run();
}
