/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * CmdSN order across connections, seen by the data
 *
 * Two sessions of four connections each, on two workers with threads, work on one logical unit. A
 * connection is accepted wherever there is room, so some of them are handed to the worker of their
 * session. Each session has a block with a counter. Its commands are ordered ones: COMPARE AND WRITE
 * from one value to the next, which fails if anything is out of order, READ, which has to find the
 * value of its place in the order, and WRITE and READ of another block. They are dealt to the
 * connections at random, and which connection sends next is random too; on each connection CmdSN
 * increases, as RFC 7143 4.2.2.1 wants it.
 *
 * 20,000 commands; with -m slow a million. LUNPORT_ORDER_COMMANDS sets another number.
 */

#include "peer.h"

#include <string.h>

#define BLOCK             512
#define N_SESSIONS        2
#define N_LINKS           4
#define BATCH_MAX         64
#define COMPARE_AND_WRITE 0x89

typedef struct {
    PeerCommand *command;
    gboolean is_read;
    guint64 value; /* that the read has to find */
    guint8 data[2 * BLOCK];
} Step;

typedef struct {
    Peer *peer;
    guint index;
    GRand *random;
    guint64 n_wanted;
    guint64 n_done;
    guint64 counter; /* of the counter's block, behind all that was sent */
    guint64 mark;    /* of the other one */
    Step steps[BATCH_MAX];
    guint n_steps;
    GThread *thread;
    gint *n_playing; /* atomic */
} Player;

static guint
pick(Player *player, guint n)
{
    return (guint)g_rand_int_range(player->random, 0, (gint32)n);
}

static void
fill_block(guint8 *block, guint64 value)
{
    for (gsize i = 0; i < BLOCK; i += 8)
        put_be64(block + i, value);
}

/* One more command of the batch: numbered, not sent */
static void
add_step(Player *player)
{
    Step *step = &player->steps[player->n_steps++];
    guint32 counter_lba = player->index * 2, mark_lba = counter_lba + 1;
    guint link = pick(player, N_LINKS);
    guint8 cdb[16] = { COMPARE_AND_WRITE };
    gsize cdb_size = 10;
    guint32 out_size = 0;

    step->is_read = FALSE;
    switch (pick(player, 4)) {
    case 0:
    case 1:
        put_be64(cdb + 2, counter_lba);
        cdb[13] = 1;
        cdb_size = 16;
        out_size = 2 * BLOCK;
        fill_block(step->data, player->counter++);
        fill_block(step->data + BLOCK, player->counter);
        break;
    case 2:
        initiator_cdb10(cdb, 0x2a, mark_lba, 1);
        out_size = BLOCK;
        fill_block(step->data, ++player->mark);
        break;
    default:
        step->is_read = TRUE;
        step->value = pick(player, 2) != 0 ? player->counter : player->mark;
        initiator_cdb10(cdb, 0x28, step->value == player->counter ? counter_lba : mark_lba, 1);
        break;
    }
    step->command = peer_command(player->peer, link, PDU_ATTR_ORDERED, cdb, cdb_size,
                                 out_size != 0 ? step->data : NULL, out_size,
                                 step->is_read ? step->data : NULL, step->is_read ? BLOCK : 0);
}

/* The connections send what is theirs in turns that are random */
static void
send_batch(Player *player)
{
    guint next[N_LINKS] = { 0 };

    for (guint n = player->n_steps; n > 0;) {
        guint link = pick(player, N_LINKS);
        guint i = next[link];

        while (i < player->n_steps && player->steps[i].command->link != &player->peer->links[link])
            i++;
        next[link] = i + 1;
        if (i >= player->n_steps)
            continue;
        peer_send(player->steps[i].command);
        n--;
    }
}

static void
check_batch(Player *player)
{
    for (guint i = 0; i < player->n_steps; i++) {
        Step *step = &player->steps[i];

        g_assert_true(peer_wait(step->command));
        g_assert_cmphex(step->command->status, ==, 0);
        if (step->is_read)
            g_assert_cmpuint(get_be64(step->data), ==, step->value);
        peer_release(step->command);
    }
    player->n_done += player->n_steps;
    player->n_steps = 0;
}

static gpointer
play(gpointer data)
{
    Player *player = data;

    while (player->n_done < player->n_wanted) {
        guint n = 1 + pick(player, BATCH_MAX);

        while (player->n_steps < n && peer_has_room(player->peer))
            add_step(player);
        send_batch(player);
        check_batch(player);
    }
    g_atomic_int_add(player->n_playing, -1);
    return NULL;
}

static void
prepare(Player *player, Rig *rig, guint index)
{
    static const guint8 ready[6];
    PeerConfig config = {
        .n_links = N_LINKS,
        .isid = (guint8)(index + 1),
        /* without threads time passes when nothing comes, which TCP may bring late */
        .is_tcp = rig->is_threaded,
        .keys = "InitialR2T=No\nImmediateData=Yes"
    };
    guint16 status;

    player->peer = peer_new(rig, &config, &status);
    g_assert_cmphex(status, ==, 0);
    player->index = index;
    player->random = g_rand_new_with_seed((guint32)g_test_rand_int());
    /* Different values in the two blocks, whatever happens */
    player->mark = (guint64)1 << 40;
    g_assert_cmphex(peer_run(player->peer, 0, ready, 6, NULL, 0, NULL, 0), ==, 0);
}

/* The mark's block begins as it is counted */
static void
write_mark(Player *player)
{
    guint8 cdb[10], data[BLOCK];

    fill_block(data, player->mark);
    initiator_cdb10(cdb, 0x2a, player->index * 2 + 1, 1);
    g_assert_cmphex(peer_run(player->peer, 0, cdb, 10, data, BLOCK, NULL, 0), ==, 0);
}

static guint64
commands_wanted(void)
{
    const char *text = g_getenv("LUNPORT_ORDER_COMMANDS");

    if (text != NULL)
        return g_ascii_strtoull(text, NULL, 10);
    return g_test_slow() ? 1000000 : 20000;
}

static void
check_order(guint n_workers, gboolean is_threaded, guint64 n_commands)
{
    Rig *rig = rig_new(
        &(RigConfig){ .n_workers = n_workers, .is_threaded = is_threaded, .size = 1 << 20 });
    Player *players = g_new0(Player, N_SESSIONS);
    gint n_playing = N_SESSIONS;

    for (guint i = 0; i < N_SESSIONS; i++) {
        prepare(&players[i], rig, i);
        write_mark(&players[i]);
        players[i].n_playing = &n_playing;
        players[i].n_wanted = n_commands / N_SESSIONS;
    }
    for (guint i = 0; i < N_SESSIONS; i++) {
        if (is_threaded)
            players[i].thread = g_thread_new("player", play, &players[i]);
        else
            (void)play(&players[i]);
    }
    while (g_atomic_int_get(&n_playing) != 0)
        rig_pump(rig);
    for (guint i = 0; i < N_SESSIONS; i++) {
        if (is_threaded)
            (void)g_thread_join(players[i].thread);
        g_test_message("session %u: %" G_GUINT64_FORMAT " commands, counter %" G_GUINT64_FORMAT, i,
                       players[i].n_done, players[i].counter);
        g_rand_free(players[i].random);
        peer_free(players[i].peer);
    }
    g_free(players);
    rig_free(rig);
}

static void
test_one_worker(void)
{
    check_order(1, FALSE, 400);
}

static void
test_handed_over(void)
{
    check_order(2, FALSE, 400);
}

static void
test_threads(void)
{
    check_order(2, TRUE, commands_wanted());
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/iscsi/order/one-worker", test_one_worker);
    g_test_add_func("/iscsi/order/handed-over", test_handed_over);
    g_test_add_func("/iscsi/order/threads", test_threads);
    return g_test_run();
}
