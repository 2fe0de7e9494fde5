/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Connections die at random, and no command is lost
 *
 * Error recovery level 2 with threads: two sessions of three connections on two workers, whose sockets
 * are closed at any time, also while tasks are reassigned. New connections are accepted by either
 * worker and handed to that of the session. Each session keeps many writes and reads under way; all of
 * them have to end in GOOD, reads find what was written, and at the end both sessions are still those
 * that were logged in (RFC 7143 7.1.4.3, 7.2.2).
 *
 * LUNPORT_STORM_SECONDS sets the time (default 3, with -m slow 60). The seed is GLib's (--seed).
 */

#include "peer.h"

#include <string.h>

#define BLOCK       512
#define N_SESSIONS  2
#define N_LINKS     3
#define N_SLOTS     16
#define SLOT_BLOCKS 48
#define SLOT_SIZE   (SLOT_BLOCKS * BLOCK)

typedef struct {
    PeerCommand *command;
    gboolean is_read;
    guint64 tag; /* of what was written last */
    guint8 data[SLOT_SIZE];
} Slot;

typedef struct {
    Peer *peer;
    guint index;
    Slot slots[N_SLOTS];
    guint64 n_done;
} Player;

static guint
pick(guint n)
{
    return (guint)g_test_rand_int_range(0, (gint32)n);
}

static void
adjust(IscsiTarget *target)
{
    target->params.error_recovery_level = 2;
    target->params.default_time2wait = 0;
}

static void
fill(Slot *slot)
{
    slot->tag++;
    for (gsize i = 0; i < SLOT_SIZE; i += 8)
        put_be64(slot->data + i, slot->tag << 16 | i / BLOCK);
}

static void
start(Player *player, guint i)
{
    Slot *slot = &player->slots[i];
    guint32 lba = (player->index * N_SLOTS + i) * SLOT_BLOCKS;
    guint8 cdb[10];

    slot->is_read = slot->tag != 0 && pick(2) != 0;
    if (slot->is_read)
        memset(slot->data, 0, SLOT_SIZE);
    else
        fill(slot);
    initiator_cdb10(cdb, slot->is_read ? 0x28 : 0x2a, lba, SLOT_BLOCKS);
    slot->command = peer_command(player->peer, pick(N_LINKS), PDU_ATTR_SIMPLE, cdb, sizeof(cdb),
                                 slot->is_read ? NULL : slot->data, slot->is_read ? 0 : SLOT_SIZE,
                                 slot->is_read ? slot->data : NULL, slot->is_read ? SLOT_SIZE : 0);
    peer_send(slot->command);
}

static void
finish(Player *player, Slot *slot)
{
    if (!peer_wait(slot->command))
        g_error("session %u is lost: %s", player->index, player->peer->loss);
    g_assert_false(slot->command->is_given_up);
    g_assert_cmphex(slot->command->status, ==, 0);
    peer_release(slot->command);
    slot->command = NULL;
    player->n_done++;
    for (gsize i = 0; slot->is_read && i < SLOT_SIZE; i += 8)
        g_assert_cmphex(get_be64(slot->data + i), ==, slot->tag << 16 | i / BLOCK);
}

static void
act(Player *player)
{
    Slot *slot = &player->slots[pick(N_SLOTS)];

    if (slot->command == NULL && peer_has_room(player->peer))
        start(player, (guint)(slot - player->slots));
    else if (slot->command != NULL && (slot->command->is_done || pick(4) == 0))
        finish(player, slot);
    if (pick(32) == 0)
        peer_kill(player->peer, pick(N_LINKS));
    if (pick(4) == 0)
        (void)peer_turn(player->peer);
}

static void
open_player(Player *player, Rig *rig, guint index)
{
    static const guint8 ready[6];
    PeerConfig config = {
        .n_links = N_LINKS,
        .level = 2,
        .keys = "InitialR2T=No\nImmediateData=Yes\nMaxBurstLength=8192\nFirstBurstLength=4096\n"
                "MaxOutstandingR2T=2\nDefaultTime2Wait=0",
        .receive = 4096,
        .send = 4096,
        .isid = (guint8)(index + 1),
        .renews = index == 0,
    };

    player->index = index;
    player->peer = peer_new(rig, &config, NULL);
    g_assert_nonnull(player->peer);
    g_assert_cmpuint(player->peer->level, ==, 2);
    g_assert_cmpuint(player->peer->time2wait, ==, 0);
    g_assert_cmphex(peer_run(player->peer, 0, ready, 6, NULL, 0, NULL, 0), ==, 0);
}

static void
close_player(Player *player)
{
    for (guint i = 0; i < N_SLOTS; i++) {
        if (player->slots[i].command != NULL)
            finish(player, &player->slots[i]);
    }
    g_test_message("session %u: commands %" G_GUINT64_FORMAT
                   ", recoveries %u, reassigned %u, sent again %u",
                   player->index, player->n_done, player->peer->n_recoveries,
                   player->peer->n_reassigned, player->peer->n_retries);
}

static gboolean
were_all_reassigned(const Player *players)
{
    for (guint i = 0; i < N_SESSIONS; i++) {
        if (players[i].peer->n_reassigned == 0)
            return FALSE;
    }
    return TRUE;
}

static gint64
seconds_wanted(void)
{
    const char *text = g_getenv("LUNPORT_STORM_SECONDS");

    if (text != NULL)
        return (gint64)g_ascii_strtoull(text, NULL, 10);
    return g_test_slow() ? 60 : 3;
}

static void
test_kill(gconstpointer is_threaded)
{
    Rig *rig = rig_new(&(RigConfig){
        .n_workers = 2, .is_threaded = is_threaded != NULL, .size = 4 << 20, .adjust = adjust });
    Player *players = g_new0(Player, N_SESSIONS);
    gint64 end = g_get_monotonic_time() + seconds_wanted() * G_USEC_PER_SEC;

    for (guint i = 0; i < N_SESSIONS; i++)
        open_player(&players[i], rig, i);
    /* So long, and until something has come of it: the machine may be slow */
    while (g_get_monotonic_time() < end || !were_all_reassigned(players)) {
        act(&players[pick(N_SESSIONS)]);
        (void)mailbox_drain(&rig->control);
    }
    for (guint i = 0; i < N_SESSIONS; i++)
        close_player(&players[i]);

    (void)mailbox_drain(&rig->control);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_OPENED), >=, N_SESSIONS);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_CLOSED), ==, 0);
    for (guint i = 0; i < N_SESSIONS; i++)
        peer_free(players[i].peer);
    g_free(players);
    rig_free(rig);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_data_func("/iscsi/kill/one-by-one", NULL, test_kill);
    g_test_add_data_func("/iscsi/kill/threads", GINT_TO_POINTER(TRUE), test_kill);
    return g_test_run();
}
