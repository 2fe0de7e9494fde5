/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Buffers are short because initiators do not read what they asked for, or do
 * not send what they were asked for: those who have done nothing wrong wait for
 * a while and no longer, and only those go on whose connections nothing moves.
 */

#include "initiator.h"

#include <string.h>

#define BLOCK   512
#define MANY    2048 /* blocks: 1 MiB */
#define N_STUCK 12   /* more than the pool has buffers */

static const RigConfig manual = { .is_manual = TRUE, .pool_size = (gsize)10 << 20 };

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

static void
send_command(Initiator *initiator, guint8 flags, guint8 opcode, guint16 n_blocks)
{
    guint8 bhs[PDU_BHS_SIZE], cdb[10];

    initiator_cdb10(cdb, opcode, 0, n_blocks);
    initiator_command(initiator, bhs, flags, cdb, sizeof(cdb), (guint32)n_blocks * BLOCK);
    initiator_send(initiator, bhs, NULL, 0);
    rig_settle(initiator->rig);
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
        send_command(bed->stuck[i], flags, opcode, MANY);
}

static void
bed_free(Bed *bed)
{
    for (guint i = 0; i < N_STUCK; i++) {
        if (bed->stuck[i] != NULL)
            initiator_free(bed->stuck[i]);
    }
    initiator_free(bed->innocent);
    initiator_free(bed->idle);
    rig_free(bed->rig);
}

static void
pass(Bed *bed, guint seconds)
{
    for (guint i = 0; i < seconds; i++) {
        clock_advance(&bed->rig->clock, USEC_PER_SEC);
        rig_settle(bed->rig);
    }
}

static void
check_relief(guint8 flags, guint8 opcode)
{
    guint8 in[BLOCK];
    Bed bed;

    bed_make(&bed, N_STUCK, flags, opcode);
    send_command(bed.innocent, 0xc0, 0x28, 1);
    pass(&bed, 4);
    g_assert_false(initiator_poll(bed.innocent));
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_CONNECTION_LOST), ==, 0);

    pass(&bed, 5);
    g_assert_true(initiator_poll(bed.innocent));
    g_assert_cmphex(pdu_opcode(bed.innocent->bhs), ==, PDU_DATA_IN);
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_CONNECTION_LOST), >, 0);
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_CONNECTION_LOST), <=, N_STUCK);
    g_assert_cmpstr(rig_last_event(bed.rig, ISCSI_EVENT_CONNECTION_LOST)->reason, ==,
                    "buffers are short and nothing has moved on the connection");
    initiator_read(bed.idle, 0, 1, in);
    initiator_read(bed.innocent, 0, 1, in);
    bed_free(&bed);
}

static void
test_who_does_not_read(void)
{
    check_relief(0xc0, 0x28);
}

static void
test_who_does_not_send(void)
{
    check_relief(0xa0, 0x2a);
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

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/iscsi/pressure/who-does-not-read", test_who_does_not_read);
    g_test_add_func("/iscsi/pressure/who-does-not-send", test_who_does_not_send);
    g_test_add_func("/iscsi/pressure/nobody-waits", test_nobody_waits);
    return g_test_run();
}
