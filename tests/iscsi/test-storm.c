/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Storm: initiators that send PDUs with random fields, right often enough to
 * get far, while the store holds requests back, units come and go and sessions
 * are closed. What is checked is what must always hold: no assertion fails, the
 * session of a well-behaved neighbour works, and the service stops with nothing
 * left over. The seed is the number of the round, so a failure repeats.
 */

#include "initiator.h"

#include <string.h>
#include <sys/socket.h>

#define BLOCK      512
#define N_ROUNDS   150
#define N_PDUS     60
#define N_TOGETHER 20

typedef struct {
    Rig *rig;
    Initiator *initiator;
    GRand *random;
    guint32 ttt; /* of the last R2T */
    guint32 itt;
    gboolean is_holding;
} Storm;

static guint
pick(Storm *storm, guint n)
{
    return (guint)g_rand_int_range(storm->random, 0, (gint32)n);
}

static guint8
random_opcode(Storm *storm)
{
    static const guint8 opcodes[] = {
        PDU_SCSI_COMMAND,  PDU_SCSI_COMMAND, PDU_SCSI_COMMAND,  PDU_SCSI_COMMAND,
        PDU_DATA_OUT,      PDU_DATA_OUT,     PDU_DATA_OUT,      PDU_TASK_MANAGEMENT_REQUEST,
        PDU_NOP_OUT,       PDU_TEXT_REQUEST, PDU_SNACK_REQUEST, PDU_LOGIN_REQUEST,
        PDU_LOGOUT_REQUEST
    };
    guint8 opcode = opcodes[pick(storm, G_N_ELEMENTS(opcodes))];

    /* Rare ones end the session too soon */
    if (opcode >= PDU_SNACK_REQUEST || opcode == PDU_LOGIN_REQUEST || opcode == PDU_LOGOUT_REQUEST)
        opcode = pick(storm, 8) == 0 ? opcode : PDU_SCSI_COMMAND;
    return (guint8)(opcode | (pick(storm, 6) == 0 ? PDU_IMMEDIATE : 0));
}

static void
random_cdb(Storm *storm, guint8 *cdb)
{
    static const guint8 opcodes[] = { 0x00, 0x12, 0x25, 0x28, 0x28, 0x2a, 0x2a, 0x2a,
                                      0x35, 0x41, 0x42, 0x5e, 0x9e, 0xa0, 0x2f, 0xff };

    cdb[0] = opcodes[pick(storm, G_N_ELEMENTS(opcodes))];
    cdb[5] = (guint8)pick(storm, 64);
    cdb[8] = (guint8)pick(storm, 40);
    if (pick(storm, 10) == 0)
        cdb[7] = (guint8)pick(storm, 8);
}

static void
random_pdu(Storm *storm)
{
    Initiator *initiator = storm->initiator;
    guint8 bhs[PDU_BHS_SIZE];
    guint8 data[4096] = { 0 };
    guint8 opcode = random_opcode(storm);
    gsize size = pick(storm, 3) == 0 ? pick(storm, sizeof(data)) : 0;

    initiator_header(initiator, bhs, opcode, (guint8)pick(storm, 256));
    if ((opcode & 0x3f) == PDU_SCSI_COMMAND) {
        bhs[1] = (guint8)((pick(storm, 4) != 0 ? 0x80 : 0) | pick(storm, 8) |
                          (pick(storm, 2) != 0 ? 0x40 : 0x20));
        put_be32(bhs + 20, pick(storm, 64) * BLOCK);
        random_cdb(storm, bhs + 32);
        storm->itt = pdu_itt(bhs);
        size &= ~(gsize)3;
    } else if (opcode == PDU_DATA_OUT) {
        bhs[1] = pick(storm, 2) != 0 ? 0x80 : 0;
        put_be32(bhs + 16, storm->itt - pick(storm, 3));
        put_be32(bhs + 20, pick(storm, 3) != 0 ? storm->ttt : PDU_TAG_RESERVED);
        put_be32(bhs + 36, pick(storm, 3) / 2);
        put_be32(bhs + 40, pick(storm, 4) * 1024);
    } else {
        put_be32(bhs + 20, pick(storm, 2) != 0 ? PDU_TAG_RESERVED : storm->itt);
        put_be32(bhs + 32, initiator->cmd_sn - pick(storm, 4));
    }
    if ((opcode & 0x3f) == PDU_TASK_MANAGEMENT_REQUEST)
        bhs[1] = (guint8)(0x80 | pick(storm, 10));
    /* It would end the neighbour's session, as it should */
    if (bhs[1] == (0x80 | PDU_TMF_TARGET_COLD_RESET))
        bhs[1] = 0x80 | PDU_TMF_LOGICAL_UNIT_RESET;
    if (pick(storm, 12) == 0)
        put_be32(bhs + 24, initiator->cmd_sn + pick(storm, 8) - 2);
    if (pick(storm, 40) == 0)
        bhs[pick(storm, 4) + 1] = (guint8)pick(storm, 256);
    initiator_send(initiator, bhs, data, size);
}

/* What comes back is looked at only for tags */
static void
drain(Storm *storm)
{
    Initiator *initiator = storm->initiator;

    while (!initiator_is_closed(initiator) && initiator_poll(initiator)) {
        if (pdu_opcode(initiator->bhs) == PDU_R2T) {
            storm->ttt = pdu_ttt(initiator->bhs);
            storm->itt = pdu_itt(initiator->bhs);
        }
    }
}

static void
without_lun(IscsiTarget *target)
{
    snapshot_unref(&target->map->snapshot);
    target->map = lun_map_new(NULL, 0);
}

static void
disturb(Storm *storm)
{
    switch (pick(storm, 12)) {
    case 0:
        rig_hold(storm->rig);
        storm->is_holding = TRUE;
        break;
    case 1:
    case 2:
        rig_release(storm->rig);
        storm->is_holding = FALSE;
        break;
    case 3:
        rig_set_target(storm->rig, without_lun);
        break;
    case 4:
    case 5:
        rig_set_target(storm->rig, NULL);
        break;
    case 6:
        drain(storm);
        break;
    case 7:
        rig_settle(storm->rig);
        break;
    default:
        break;
    }
}

static void
play_round(Rig *rig, guint seed)
{
    static const char *const keys[] = {
        "InitialR2T=Yes\nImmediateData=No\nMaxBurstLength=4096\nFirstBurstLength=4096",
        "InitialR2T=No\nImmediateData=Yes\nFirstBurstLength=8192\nMaxOutstandingR2T=4",
        "InitialR2T=No\nImmediateData=Yes\nHeaderDigest=CRC32C\nDataDigest=CRC32C",
    };
    Storm storm = { .rig = rig, .random = g_rand_new_with_seed(seed), .ttt = 1 };

    storm.initiator = initiator_new(rig);
    storm.initiator->isid[5] = 1;
    g_assert_cmphex(initiator_login(storm.initiator, keys[seed % G_N_ELEMENTS(keys)]), ==, 0);
    for (guint i = 0; i < N_PDUS; i++) {
        random_pdu(&storm);
        disturb(&storm);
    }
    if (pick(&storm, 2) == 0)
        drain(&storm);
    if (pick(&storm, 3) == 0)
        iscsi_service_close_session(rig->service, storm.initiator->tsih, "storm");
    initiator_drop(storm.initiator);
    rig_release(rig);
    rig_set_target(rig, NULL);
    initiator_free(storm.initiator);
    g_rand_free(storm.random);
}

static void
test_storm(void)
{
    Rig *rig = rig_new(&(RigConfig){ .type = "held", .size = 1 << 20 });
    Initiator *neighbour = initiator_new(rig);
    guint8 data[8 * BLOCK], in[8 * BLOCK];

    neighbour->isid[5] = 2;
    g_assert_cmphex(initiator_login(neighbour, NULL), ==, 0);
    for (guint i = 0; i < N_ROUNDS; i++) {
        play_round(rig, i);
        memset(data, (int)i, sizeof(data));
        initiator_settle(neighbour);
        initiator_write(neighbour, 100, 8, data);
        initiator_read(neighbour, 100, 8, in);
        g_assert_true(memcmp(in, data, sizeof(data)) == 0);
    }
    initiator_free(neighbour);
    rig_free(rig);
}

/* The same from several threads at once against two workers with threads */

typedef struct {
    Storm storm;
    GThread *thread;
    gint *n_playing; /* atomic */
} Player;

static gpointer
play(gpointer data)
{
    Player *player = data;
    Initiator *initiator = player->storm.initiator;
    g_autofree guint8 *trash = g_malloc(1 << 20);

    if (initiator_login(initiator, NULL) == 0) {
        for (guint i = 0; i < N_PDUS; i++) {
            random_pdu(&player->storm);
            while (recv(initiator->fd, trash, 1 << 20, 0) > 0)
                continue;
        }
    }
    initiator_drop(initiator);
    g_atomic_int_add(player->n_playing, -1);
    return NULL;
}

static void
play_together(Rig *rig, guint round)
{
    Player players[4] = { 0 };
    gint n_playing = G_N_ELEMENTS(players);

    for (guint i = 0; i < G_N_ELEMENTS(players); i++) {
        Initiator *initiator = initiator_new_tcp(rig);

        /* Two of them reinstate each other's session */
        initiator->isid[5] = (guint8)(i / 2);
        players[i].storm.rig = rig;
        players[i].storm.initiator = initiator;
        players[i].storm.random = g_rand_new_with_seed(round * 4 + i);
        players[i].n_playing = &n_playing;
        players[i].thread = g_thread_new("player", play, &players[i]);
    }
    for (guint i = 0; g_atomic_int_get(&n_playing) != 0; i++) {
        rig_set_target(rig, i % 4 == 3 ? without_lun : NULL);
        if (i % 16 == 15)
            iscsi_service_close_sessions(rig->service, RIG_TARGET, "storm");
    }
    for (guint i = 0; i < G_N_ELEMENTS(players); i++) {
        (void)g_thread_join(players[i].thread);
        g_rand_free(players[i].storm.random);
        initiator_free(players[i].storm.initiator);
    }
}

static void
test_storm_with_threads(void)
{
    Rig *rig = rig_new(&(RigConfig){ .n_workers = 2, .is_threaded = TRUE, .size = 1 << 20 });

    for (guint i = 0; i < N_TOGETHER; i++)
        play_together(rig, i);
    rig_free(rig);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/iscsi/storm/one-by-one", test_storm);
    g_test_add_func("/iscsi/storm/threads", test_storm_with_threads);
    return g_test_run();
}
