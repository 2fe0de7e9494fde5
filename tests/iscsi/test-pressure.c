/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Buffers are short because initiators do not read what they asked for, or do
 * not send what they were asked for: those who have done nothing wrong wait for
 * a while and no longer, and only those go on whose connections nothing moves,
 * or next to nothing. Who is slow but steady stays.
 */

#include "initiator.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "util/bytes.h"

#define BLOCK   512
#define MANY    2048 /* blocks: 1 MiB */
#define N_STUCK 12   /* more than the pool has buffers */
#define SLOW    "buffers are short and too little has moved on the connection"

static const RigConfig manual = { .pool_size = (gsize)10 << 20 };

typedef struct {
    Rig *rig;
    Initiator *stuck[N_STUCK];
    Initiator *idle;
    Initiator *innocent;
} Bed;

static Initiator *
log_in(Rig *rig, guint8 number)
{
    Initiator *initiator = initiator_new(rig);

    initiator->isid[5] = number;
    g_assert_cmphex(initiator_login(initiator, "InitialR2T=Yes\nImmediateData=No"), ==, 0);
    initiator_settle(initiator);
    return initiator;
}

/* Returns: the task tag */
static guint32
send_command(Initiator *initiator, guint8 flags, guint8 opcode, guint16 n_blocks)
{
    guint8 bhs[PDU_BHS_SIZE], cdb[10];

    initiator_cdb10(cdb, opcode, 0, n_blocks);
    initiator_command(initiator, bhs, flags, cdb, sizeof(cdb), (guint32)n_blocks * BLOCK);
    initiator_send(initiator, bhs, NULL, 0);
    rig_settle(initiator->rig);
    return pdu_itt(bhs);
}

/* @flags, @opcode: of the command that each of the stuck sends and then leaves alone */
static void
bed_make(Bed *bed, guint n_stuck, guint8 flags, guint8 opcode)
{
    memset(bed, 0, sizeof(*bed));
    bed->rig = rig_new(&manual);
    bed->idle = log_in(bed->rig, 1);
    bed->innocent = log_in(bed->rig, 2);
    for (guint i = 0; i < n_stuck; i++)
        bed->stuck[i] = log_in(bed->rig, (guint8)(3 + i));
    for (guint i = 0; i < n_stuck; i++)
        (void)send_command(bed->stuck[i], flags, opcode, MANY);
}

static void
bed_free(Bed *bed)
{
    for (guint i = 0; i < N_STUCK; i++) {
        if (bed->stuck[i] != NULL)
            initiator_free(bed->stuck[i]);
    }
    initiator_free(bed->innocent);
    if (bed->idle != NULL)
        initiator_free(bed->idle);
    rig_free(bed->rig);
}

typedef void (*EachSecond)(Bed *bed);

/* @each: what the initiators do once a second; or NULL */
static void
pass_doing(Bed *bed, guint seconds, EachSecond each)
{
    for (guint i = 0; i < seconds; i++) {
        if (each != NULL)
            each(bed);
        clock_advance(&bed->rig->clock, USEC_PER_SEC);
        rig_settle(bed->rig);
    }
}

static void
pass(Bed *bed, guint seconds)
{
    pass_doing(bed, seconds, NULL);
}

static void
take_bytes(const Initiator *initiator, gsize n)
{
    guint8 bytes[65536];

    (void)recv(initiator->fd, bytes, n, MSG_DONTWAIT);
}

/* What has come is taken and forgotten */
static gboolean
is_there(const Initiator *initiator)
{
    guint8 bytes[65536];
    gssize got;

    do {
        got = recv(initiator->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    } while (got > 0);
    return got < 0 && errno == EAGAIN;
}

static void
send_data_out(Initiator *initiator, guint8 flags, guint32 itt, guint32 ttt, guint32 data_sn,
              guint32 offset, guint32 size)
{
    static const guint8 zeros[32768];
    guint8 bhs[PDU_BHS_SIZE] = { PDU_DATA_OUT, flags };

    put_be32(bhs + 16, itt);
    put_be32(bhs + 20, ttt);
    put_be32(bhs + 36, data_sn);
    put_be32(bhs + 40, offset);
    initiator_send(initiator, bhs, zeros, size);
}

static void
send_data(Initiator *initiator, guint32 itt, guint32 ttt, guint32 data_sn, guint32 offset,
          guint32 size)
{
    send_data_out(initiator, 0, itt, ttt, data_sn, offset, size);
}

/* The tag of the R2T that is next */
static guint32
take_r2t(Initiator *initiator)
{
    g_assert_true(initiator_poll(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_R2T);
    return pdu_ttt(initiator->bhs);
}

static void
check_relief(guint8 flags, guint8 opcode, EachSecond each)
{
    guint8 in[BLOCK];
    Bed bed;

    bed_make(&bed, N_STUCK, flags, opcode);
    (void)send_command(bed.innocent, 0xc0, 0x28, 1);
    pass_doing(&bed, 4, each);
    g_assert_false(initiator_poll(bed.innocent));
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_CONNECTION_LOST), ==, 0);

    pass_doing(&bed, 5, each);
    g_assert_true(initiator_poll(bed.innocent));
    g_assert_cmphex(pdu_opcode(bed.innocent->bhs), ==, PDU_DATA_IN);
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_CONNECTION_LOST), >, 0);
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_CONNECTION_LOST), <=, N_STUCK);
    g_assert_cmpstr(rig_last_event(bed.rig, ISCSI_EVENT_CONNECTION_LOST)->reason, ==, SLOW);
    initiator_read(bed.idle, 0, 1, in);
    initiator_read(bed.innocent, 0, 1, in);
    bed_free(&bed);
}

static void
test_who_does_not_read(void)
{
    check_relief(0xc0, 0x28, NULL);
}

static void
test_who_does_not_send(void)
{
    check_relief(0xa0, 0x2a, NULL);
}

static void
read_a_byte(Bed *bed)
{
    for (guint i = 0; i < N_STUCK; i++)
        take_bytes(bed->stuck[i], 1);
}

static void
test_who_reads_a_byte_a_second(void)
{
    check_relief(0xc0, 0x28, read_a_byte);
}

/* Of a Data-Out that is announced as longer; its header is as good as none of it */
static void
send_a_byte(Bed *bed)
{
    for (guint i = 0; i < N_STUCK; i++)
        (void)send(bed->stuck[i]->fd, "\x05", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void
test_who_sends_a_byte_a_second(void)
{
    check_relief(0xa0, 0x2a, send_a_byte);
}

/* Pings are answered, and prove nothing */
static void
ping(Bed *bed)
{
    for (guint i = 0; i < N_STUCK; i++) {
        guint8 bhs[PDU_BHS_SIZE];

        initiator_header(bed->stuck[i], bhs, PDU_NOP_OUT | PDU_IMMEDIATE, 0x80);
        put_be32(bhs + 20, PDU_TAG_RESERVED);
        if (is_there(bed->stuck[i]))
            initiator_send(bed->stuck[i], bhs, NULL, 0);
    }
}

static void
test_who_only_pings(void)
{
    check_relief(0xa0, 0x2a, ping);
}

/* The first of the stuck takes or gives some, the others nothing */

static void
read_steadily(Bed *bed)
{
    take_bytes(bed->stuck[0], 32768);
}

static void
test_steady_reader_stays(void)
{
    Bed bed;

    bed_make(&bed, N_STUCK, 0xc0, 0x28);
    (void)send_command(bed.innocent, 0xc0, 0x28, 1);
    pass_doing(&bed, 12, read_steadily);
    g_assert_true(initiator_poll(bed.innocent));
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_CONNECTION_LOST), >, 0);
    g_assert_true(is_there(bed.stuck[0]));
    bed_free(&bed);
}

typedef struct {
    guint32 itt, ttt, data_sn, offset;
} Flow;

/* 4 KiB, which is more than is asked of anybody */
static void
flow_on(Initiator *initiator, Flow *flow)
{
    send_data(initiator, flow->itt, flow->ttt, flow->data_sn++, flow->offset, 4096);
    flow->offset += 4096;
    rig_settle(initiator->rig);
}

static void
test_steady_writer_stays(void)
{
    Flow flow = { 0 };
    Bed bed;

    bed_make(&bed, N_STUCK, 0xa0, 0x2a);
    flow.ttt = take_r2t(bed.stuck[0]);
    flow.itt = pdu_itt(bed.stuck[0]->bhs);
    (void)send_command(bed.innocent, 0xc0, 0x28, 1);
    for (guint i = 0; i < 30; i++) {
        flow_on(bed.stuck[0], &flow);
        pass(&bed, 1);
    }
    g_assert_true(initiator_poll(bed.innocent));
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_CONNECTION_LOST), >, 0);
    g_assert_true(is_there(bed.stuck[0]));
    bed_free(&bed);
}

static Flow
flow_begin(Initiator *initiator, guint16 n_blocks)
{
    Flow flow = { .itt = send_command(initiator, 0xa0, 0x2a, n_blocks) };

    flow.ttt = take_r2t(initiator);
    return flow;
}

/* What moves for one command does not pay for the others for ever */
static void
test_each_write_must_move(void)
{
    Bed bed = { .rig = rig_new(&manual) };
    Flow flows[5];

    bed.innocent = log_in(bed.rig, 2);
    for (guint i = 0; i < 5; i++) {
        bed.stuck[i] = log_in(bed.rig, (guint8)(3 + i));
        flows[i] = flow_begin(bed.stuck[i], i == 0 ? MANY / 4 : MANY);
        if (i == 0)
            (void)flow_begin(bed.stuck[i], MANY / 2);
    }
    (void)send_command(bed.innocent, 0xc0, 0x28, 1);
    for (guint i = 0; i < 25; i++) {
        g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_CONNECTION_LOST), ==,
                         i < 20 ? 0 : 1);
        for (guint j = i < 20 ? 0 : 1; j < 5; j++)
            flow_on(bed.stuck[j], &flows[j]);
        pass(&bed, 1);
    }
    g_assert_false(is_there(bed.stuck[0]));
    g_assert_true(initiator_poll(bed.innocent));
    bed_free(&bed);
}

/* One buffer is enough: one goes, the one that gives nothing */
static void
test_slowest_goes_first(void)
{
    Flow flows[5] = { 0 };
    guint8 in[BLOCK];
    Bed bed;

    bed_make(&bed, 6, 0xa0, 0x2a);
    for (guint i = 0; i < 5; i++) {
        flows[i].ttt = take_r2t(bed.stuck[i]);
        flows[i].itt = pdu_itt(bed.stuck[i]->bhs);
    }
    (void)send_command(bed.innocent, 0xc0, 0x28, 1);
    for (guint i = 0; i < 7; i++) {
        /* Patience begins with the shortage */
        g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_CONNECTION_LOST), ==, i < 5 ? 0 : 1);
        for (guint j = 0; j < 5; j++) {
            send_data(bed.stuck[j], flows[j].itt, flows[j].ttt, flows[j].data_sn++, flows[j].offset,
                      1024);
            flows[j].offset += 1024;
        }
        rig_settle(bed.rig);
        pass(&bed, 1);
    }
    g_assert_true(initiator_poll(bed.innocent));
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_CONNECTION_LOST), ==, 1);
    g_assert_false(is_there(bed.stuck[5]));
    initiator_read(bed.idle, 0, 1, in);
    bed_free(&bed);
}

/* What cannot wait for a buffer is refused; those who hold them go all the same */
static void
test_refusals_count(void)
{
    guint8 out[BLOCK] = { 0 }, cdb[10], bhs[PDU_BHS_SIZE];
    Outcome outcome;
    Bed bed = { .rig = rig_new(&manual) };

    bed.innocent = initiator_new(bed.rig);
    g_assert_cmphex(initiator_login(bed.innocent, "InitialR2T=Yes\nImmediateData=Yes"), ==, 0);
    initiator_settle(bed.innocent);
    for (guint i = 0; i < 8; i++) {
        bed.stuck[i] = initiator_new(bed.rig);
        bed.stuck[i]->isid[5] = (guint8)(3 + i);
        g_assert_cmphex(initiator_login(bed.stuck[i],
                                        "InitialR2T=No\nImmediateData=No\nFirstBurstLength=65536"),
                        ==, 0);
        initiator_settle(bed.stuck[i]);
        initiator_cdb10(cdb, 0x2a, 0, MANY);
        initiator_command(bed.stuck[i], bhs, 0x20, cdb, sizeof(cdb), MANY * BLOCK);
        initiator_send(bed.stuck[i], bhs, NULL, 0);
        rig_settle(bed.rig);
    }

    initiator_cdb10(cdb, 0x2a, 0, 1);
    for (guint i = 0; i < 9; i++) {
        g_assert_true(initiator_run(bed.innocent, cdb, sizeof(cdb), out, BLOCK, NULL, 0, &outcome));
        if (i == 0)
            g_assert_cmphex(outcome.status, ==, 0x28);
        pass(&bed, 1);
    }
    g_assert_cmphex(outcome.status, ==, 0);
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_CONNECTION_LOST), >, 0);
    bed_free(&bed);
}

/* Data of commands before which one is missing waits in buffers, and the missing one never comes */
static void
test_who_leaves_a_gap(void)
{
    static guint8 data[65536];
    guint8 cdb[10], bhs[PDU_BHS_SIZE];
    Bed bed = { .rig = rig_new(&manual) };

    bed.innocent = log_in(bed.rig, 1);
    for (guint i = 0; i < N_STUCK; i++) {
        bed.stuck[i] = initiator_new(bed.rig);
        bed.stuck[i]->isid[5] = (guint8)(3 + i);
        g_assert_cmphex(initiator_login(bed.stuck[i], "InitialR2T=Yes\nImmediateData=Yes"), ==, 0);
        initiator_settle(bed.stuck[i]);
        bed.stuck[i]->cmd_sn++;
        initiator_cdb10(cdb, 0x2a, 0, 128);
        for (guint j = 0; j < 7; j++) {
            initiator_command(bed.stuck[i], bhs, 0xa0, cdb, sizeof(cdb), sizeof(data));
            initiator_send(bed.stuck[i], bhs, data, MIN(sizeof(data), bed.stuck[i]->first_burst));
            rig_settle(bed.rig);
        }
    }
    (void)send_command(bed.innocent, 0xc0, 0x28, MANY);
    g_assert_false(initiator_poll(bed.innocent));
    pass(&bed, 9);
    g_assert_true(initiator_poll(bed.innocent));
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_CONNECTION_LOST), >, 0);
    bed_free(&bed);
}

/* What is to be echoed waits in buffers, too */
static void
test_who_leaves_a_gap_before_pings(void)
{
    static guint8 data[262144];
    guint8 bhs[PDU_BHS_SIZE];
    Bed bed = { .rig = rig_new(&manual) };

    bed.innocent = log_in(bed.rig, 1);
    for (guint i = 0; i < N_STUCK; i++) {
        bed.stuck[i] = initiator_new(bed.rig);
        bed.stuck[i]->isid[5] = (guint8)(3 + i);
        g_assert_cmphex(initiator_login(bed.stuck[i], "MaxRecvDataSegmentLength=262144"), ==, 0);
        initiator_settle(bed.stuck[i]);
        bed.stuck[i]->cmd_sn++;
        for (guint j = 0; j < 7; j++) {
            initiator_header(bed.stuck[i], bhs, PDU_NOP_OUT, 0x80);
            put_be32(bhs + 20, PDU_TAG_RESERVED);
            initiator_send(bed.stuck[i], bhs, data, sizeof(data));
            rig_settle(bed.rig);
        }
    }
    (void)send_command(bed.innocent, 0xc0, 0x28, MANY);
    g_assert_false(initiator_poll(bed.innocent));
    pass(&bed, 4);
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_CONNECTION_LOST), ==, 0);
    pass(&bed, 5);
    g_assert_true(initiator_poll(bed.innocent));
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_CONNECTION_LOST), >, 0);
    bed_free(&bed);
}

/* A command that waits for its buffer since it was let go by another one, and none begins since */
static void
test_wait_of_a_blocked_command(void)
{
    guint8 bhs[PDU_BHS_SIZE], cdb[10];
    Bed bed = { .rig = rig_new(&manual) };
    const Pool *pool = bed.rig->workers[0]->pool;
    Flow flow;

    bed.innocent = log_in(bed.rig, 1);
    flow = flow_begin(bed.innocent, 1);
    initiator_cdb10(cdb, 0x28, 0, MANY);
    initiator_command(bed.innocent, bhs, 0xc0, cdb, sizeof(cdb), MANY * BLOCK);
    bhs[1] = 0xc0 | PDU_ATTR_ORDERED;
    initiator_send(bed.innocent, bhs, NULL, 0);
    rig_settle(bed.rig);
    for (guint i = 0; i < N_STUCK && pool_available(pool) >= POOL_BUFFER_MAX; i++) {
        bed.stuck[i] = log_in(bed.rig, (guint8)(3 + i));
        /* The first shares the buffers of the innocent one */
        (void)send_command(bed.stuck[i], 0xa0, 0x2a, i == 0 ? 1 : MANY);
    }
    g_assert_cmpuint(pool_available(pool), >, 0);
    g_assert_cmpuint(pool_available(pool), <, POOL_BUFFER_MAX);

    send_data_out(bed.innocent, 0x80, flow.itt, flow.ttt, 0, 0, BLOCK);
    rig_settle(bed.rig);
    g_assert_true(initiator_poll(bed.innocent));
    g_assert_cmphex(pdu_opcode(bed.innocent->bhs), ==, PDU_SCSI_RESPONSE);
    g_assert_false(initiator_poll(bed.innocent));
    pass(&bed, 9);
    g_assert_true(initiator_poll(bed.innocent));
    g_assert_cmphex(pdu_opcode(bed.innocent->bhs), ==, PDU_DATA_IN);
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_CONNECTION_LOST), >, 0);
    bed_free(&bed);
}

/* With enough buffers for all nobody is hurried: the ping decides, much later */
static void
test_nobody_waits(void)
{
    guint8 in[BLOCK];
    Bed bed;

    bed_make(&bed, 2, 0xc0, 0x28);
    initiator_read(bed.innocent, 0, 1, in);
    pass(&bed, 10);
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_CONNECTION_LOST), ==, 0);
    bed_free(&bed);
}

static void
recover_tasks(IscsiTarget *target)
{
    target->params.error_recovery_level = 2;
}

static void
send_long_read(Initiator *initiator)
{
    guint8 bhs[PDU_BHS_SIZE], cdb[10];

    initiator_cdb10(cdb, 0x28, 0, 2048);
    initiator_command(initiator, bhs, 0x80 | 0x40 | 1, cdb, sizeof(cdb), 2048 * 512);
    initiator_send(initiator, bhs, NULL, 0);
    rig_settle(initiator->rig);
}

static gboolean
is_answered(Initiator *initiator)
{
    while (initiator_poll_any(initiator)) {
        if (pdu_opcode(initiator->bhs) != PDU_NOP_IN)
            return TRUE;
        initiator_answer_ping(initiator);
    }
    return FALSE;
}

#define N_LOST 12

/* Connections that fail and leave tasks with buffers, to be kept for two hours: others get them before */
static void
test_who_does_not_come_back(void)
{
    Rig *rig = rig_new(&(RigConfig){ .pool_size = (gsize)10 << 20, .adjust = recover_tasks });
    Initiator *innocent = initiator_new(rig), *lost[N_LOST];
    guint seconds = 0;

    g_assert_cmphex(initiator_login(innocent, NULL), ==, 0);
    initiator_settle(innocent);
    for (guint i = 0; i < N_LOST; i++) {
        lost[i] = initiator_new(rig);
        lost[i]->isid[5] = (guint8)(3 + i);
        g_assert_cmphex(initiator_login(lost[i], "ErrorRecoveryLevel=2\nInitialR2T=Yes\n"
                                                 "ImmediateData=No\nDefaultTime2Wait=3600\n"
                                                 "DefaultTime2Retain=3600"),
                        ==, 0);
        initiator_settle(lost[i]);
        send_long_read(lost[i]);
    }
    for (guint i = 0; i < N_LOST; i++)
        initiator_drop(lost[i]);
    rig_settle(rig);

    send_long_read(innocent);
    g_assert_false(is_answered(innocent));
    do {
        clock_advance(&rig->clock, USEC_PER_SEC);
        rig_settle(rig);
        seconds++;
    } while (!is_answered(innocent) && seconds < 120);
    g_assert_cmpuint(seconds, <=, 30);

    for (guint i = 0; i < N_LOST; i++)
        initiator_free(lost[i]);
    initiator_free(innocent);
    rig_free(rig);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/iscsi/pressure/who-does-not-read", test_who_does_not_read);
    g_test_add_func("/iscsi/pressure/who-does-not-send", test_who_does_not_send);
    g_test_add_func("/iscsi/pressure/who-reads-a-byte-a-second", test_who_reads_a_byte_a_second);
    g_test_add_func("/iscsi/pressure/who-sends-a-byte-a-second", test_who_sends_a_byte_a_second);
    g_test_add_func("/iscsi/pressure/who-only-pings", test_who_only_pings);
    g_test_add_func("/iscsi/pressure/who-leaves-a-gap", test_who_leaves_a_gap);
    g_test_add_func("/iscsi/pressure/who-leaves-a-gap-before-pings",
                    test_who_leaves_a_gap_before_pings);
    g_test_add_func("/iscsi/pressure/wait-of-a-blocked-command", test_wait_of_a_blocked_command);
    g_test_add_func("/iscsi/pressure/steady-reader-stays", test_steady_reader_stays);
    g_test_add_func("/iscsi/pressure/steady-writer-stays", test_steady_writer_stays);
    g_test_add_func("/iscsi/pressure/each-write-must-move", test_each_write_must_move);
    g_test_add_func("/iscsi/pressure/slowest-goes-first", test_slowest_goes_first);
    g_test_add_func("/iscsi/pressure/refusals-count", test_refusals_count);
    g_test_add_func("/iscsi/pressure/who-does-not-come-back", test_who_does_not_come_back);
    g_test_add_func("/iscsi/pressure/nobody-waits", test_nobody_waits);
    return g_test_run();
}
