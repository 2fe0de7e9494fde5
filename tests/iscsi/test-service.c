/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The service as the control thread uses it: targets that change and go,
 * sessions that are closed, statistics, several workers with threads.
 */

#include "initiator.h"

#include <string.h>

#define BLOCK 512

static guint32
send_read(Initiator *initiator, guint32 lba)
{
    guint8 bhs[PDU_BHS_SIZE], cdb[10];

    initiator_cdb10(cdb, 0x28, lba, 1);
    initiator_command(initiator, bhs, 0xc0, cdb, sizeof(cdb), BLOCK);
    initiator_send(initiator, bhs, NULL, 0);
    return pdu_itt(bhs);
}

static void
test_stop_without_connections(void)
{
    rig_free(rig_new(&(RigConfig){ .n_workers = 4 }));
}

static void
test_stop_with_sessions_and_logins(void)
{
    Rig *rig = rig_new(&(RigConfig){ .n_workers = 2 });
    Initiator *initiators[6];

    for (guint i = 0; i < G_N_ELEMENTS(initiators); i++) {
        initiators[i] = initiator_new(rig);
        initiators[i]->isid[5] = (guint8)i;
        if (i % 2 == 0)
            g_assert_cmphex(initiator_login(initiators[i], NULL), ==, 0);
    }
    rig_free(rig);
    for (guint i = 0; i < G_N_ELEMENTS(initiators); i++) {
        initiators[i]->rig = NULL;
        initiator_free(initiators[i]);
    }
}

static void
test_ping(void)
{
    Rig *rig = rig_new(&(RigConfig){ .n_workers = 3 });
    gboolean is_done = FALSE;

    iscsi_service_ping(rig->service, rig_set_flag, &is_done);
    g_assert_false(is_done);
    rig_wait(rig, &is_done);
    rig_free(rig);
}

static void
rename_alias(IscsiTarget *target)
{
    g_free(target->alias);
    target->alias = g_strdup("other");
}

static void
remove_lun(IscsiTarget *target)
{
    snapshot_unref(&target->map->snapshot);
    target->map = lun_map_new(NULL, 0);
}

static void
test_change_with_session(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    guint8 in[BLOCK];

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    rig_set_target(rig, rename_alias);
    initiator_read(initiator, 0, 1, in);
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_lun_goes_with_commands_in_flight(void)
{
    Rig *rig = rig_new(&(RigConfig){ .type = "held" });
    Initiator *initiator = initiator_new(rig);
    static const guint8 test_unit_ready[6];
    Outcome outcome;

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    rig_hold(rig);
    (void)send_read(initiator, 0);
    rig_settle(rig);
    rig_set_target(rig, remove_lun);
    rig_release(rig);
    rig_settle(rig);
    g_assert_true(initiator_run(initiator, test_unit_ready, 6, NULL, 0, NULL, 0, &outcome));
    g_assert_cmphex(outcome.status, ==, 0x02);
    g_assert_cmphex(outcome.sense[12], ==, 0x25);
    initiator_free(initiator);
    rig_free(rig);
}

/* The unit goes while the immediate data of a command comes in: the CmdSN must count all the same */
static void
test_lun_goes_while_data_comes_in(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    guint8 bytes[PDU_BHS_SIZE + 8 * BLOCK] = { 0 };
    guint8 cdb[10];
    static const guint8 test_unit_ready[6];
    Outcome outcome;

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    initiator_cdb10(cdb, 0x2a, 0, 8);
    initiator_command(initiator, bytes, 0xa0, cdb, sizeof(cdb), 8 * BLOCK);
    pdu_set_data_size(bytes, 8 * BLOCK);
    initiator_send_bytes(initiator, bytes, 1000);
    rig_settle(rig);
    rig_set_target(rig, remove_lun);
    initiator_send_bytes(initiator, bytes + 1000, sizeof(bytes) - 1000);
    g_assert_false(initiator_poll(initiator));
    g_assert_true(initiator_run(initiator, test_unit_ready, 6, NULL, 0, NULL, 0, &outcome));
    g_assert_cmphex(outcome.status, ==, 0x02);
    initiator_free(initiator);
    rig_free(rig);
}

static void
make_disabled(IscsiTarget *target)
{
    target->enabled = FALSE;
}

/* A target that is disabled refuses new logins; sessions are closed by whoever disables it */
static void
test_disable_with_session(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    Initiator *late = initiator_new(rig);
    guint8 in[BLOCK];

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    rig_set_target(rig, make_disabled);
    initiator_read(initiator, 0, 1, in);
    late->isid[5] = 2;
    g_assert_cmphex(initiator_login(late, NULL), ==, 0x0301);
    iscsi_service_close_sessions(rig->service, RIG_TARGET, "disabled");
    g_assert_true(initiator_is_closed(initiator));
    g_assert_cmpstr(rig_last_event(rig, ISCSI_EVENT_SESSION_CLOSED)->reason, ==, "disabled");
    initiator_free(initiator);
    initiator_free(late);
    rig_free(rig);
}

static void
test_close_session(void)
{
    Rig *rig = rig_new(&(RigConfig){ .n_workers = 2 });
    Initiator *a = initiator_new(rig);
    Initiator *b = initiator_new(rig);

    b->isid[5] = 2;
    g_assert_cmphex(initiator_login(a, NULL), ==, 0);
    g_assert_cmphex(initiator_login(b, NULL), ==, 0);
    iscsi_service_close_session(rig->service, a->tsih, "wanted");
    iscsi_service_close_session(rig->service, 0x7777, "nobody");
    g_assert_true(initiator_is_closed(a));
    initiator_settle(b);
    initiator_free(a);
    initiator_free(b);
    rig_free(rig);
}

static void
test_remove_with_commands_in_flight(void)
{
    Rig *rig = rig_new(&(RigConfig){ .type = "held" });
    Initiator *initiator = initiator_new(rig);
    gboolean is_done = FALSE;

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    rig_hold(rig);
    for (guint i = 0; i < 4; i++)
        (void)send_read(initiator, i);
    rig_settle(rig);
    iscsi_service_remove_target(rig->service, RIG_TARGET, rig_set_flag, &is_done);
    g_assert_true(initiator_is_closed(initiator));
    g_assert_false(is_done);
    rig_release(rig);
    rig_wait(rig, &is_done);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    initiator_free(initiator);

    initiator = initiator_new(rig);
    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0x0203);
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_session_limit(void)
{
    Rig *rig = rig_new(&(RigConfig){ .max_sessions = 1 });
    Initiator *a = initiator_new(rig);
    Initiator *b = initiator_new(rig);

    b->isid[5] = 2;
    g_assert_cmphex(initiator_login(a, NULL), ==, 0);
    g_assert_cmphex(initiator_login(b, NULL), ==, 0x0302);
    initiator_free(a);
    initiator_free(b);
    rig_free(rig);
}

typedef struct {
    gboolean is_done;
    IscsiSessionStatistics session;
    guint n_sessions;
    LuStatistics lu;
    BackstoreStatistics store;
} Figures;

static void
on_statistics(const IscsiStatistics *statistics, gpointer user_data)
{
    Figures *figures = user_data;

    figures->is_done = TRUE;
    figures->n_sessions = statistics->n_sessions;
    if (statistics->n_sessions > 0)
        figures->session = statistics->sessions[0].statistics;
    g_assert_cmpuint(statistics->n_lus, ==, 1);
    g_assert_cmpstr(statistics->lus[0].name, ==, "disk");
    figures->lu = statistics->lus[0].lu;
    figures->store = statistics->lus[0].store;
}

static void
test_statistics(void)
{
    Rig *rig = rig_new(&(RigConfig){ .n_workers = 2 });
    Initiator *initiator = initiator_new(rig);
    Figures figures = { 0 };
    guint8 data[4 * BLOCK] = { 0 };

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    initiator_write(initiator, 0, 4, data);
    initiator_read(initiator, 0, 2, data);
    initiator_read(initiator, 0, 1, data);
    iscsi_service_get_statistics(rig->service, &rig->lu, 1, on_statistics, &figures);
    rig_wait(rig, &figures.is_done);
    g_assert_cmpuint(figures.n_sessions, ==, 1);
    g_assert_cmpuint(figures.session.n_reads, ==, 2);
    g_assert_cmpuint(figures.session.n_writes, ==, 1);
    g_assert_cmpuint(figures.session.bytes_read, ==, 3 * BLOCK);
    g_assert_cmpuint(figures.session.bytes_written, ==, 4 * BLOCK);
    g_assert_cmpuint(figures.session.n_active, ==, 0);
    g_assert_cmpuint(figures.session.bytes_received, >, 4 * BLOCK);
    g_assert_cmpuint(figures.lu.n_reads, ==, 2);
    g_assert_cmpuint(figures.store.n_writes, ==, 1);
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_connections_go_to_the_least_loaded(void)
{
    Rig *rig = rig_new(&(RigConfig){ .n_workers = 4 });
    Initiator *initiators[8];

    for (guint i = 0; i < G_N_ELEMENTS(initiators); i++) {
        initiators[i] = initiator_new(rig);
        initiators[i]->isid[5] = (guint8)i;
        g_assert_cmphex(initiator_login(initiators[i], NULL), ==, 0);
        initiator_settle(initiators[i]);
    }
    for (guint i = 0; i < rig->n_workers; i++)
        g_assert_cmpuint(iscsi_service_n_connections_of(rig->service, i), ==, 2);

    /* Where two have gone there is room for the next two, whoever's turn it is */
    initiator_drop(initiators[2]);
    initiator_drop(initiators[6]);
    rig_settle(rig);
    g_assert_cmpuint(iscsi_service_n_connections_of(rig->service, 2), ==, 0);
    for (guint i = 2; i < G_N_ELEMENTS(initiators); i += 4) {
        initiator_free(initiators[i]);
        initiators[i] = initiator_new(rig);
    }
    g_assert_cmpuint(iscsi_service_n_connections_of(rig->service, 2), ==, 2);

    for (guint i = 0; i < G_N_ELEMENTS(initiators); i++)
        initiator_free(initiators[i]);
    rig_settle(rig);
    for (guint i = 0; i < rig->n_workers; i++)
        g_assert_cmpuint(iscsi_service_n_connections_of(rig->service, i), ==, 0);
    rig_free(rig);
}

/* With threads: several sessions on several workers, by TCP, while the target changes under them */

typedef struct {
    Initiator *initiator;
    guint n;
    gint *n_playing; /* atomic */
} Player;

static gpointer
play(gpointer data)
{
    Player *player = data;
    Initiator *initiator = player->initiator;
    g_autofree guint8 *out = g_malloc(300 * BLOCK);
    g_autofree guint8 *in = g_malloc(300 * BLOCK);

    initiator->isid[5] = (guint8)(player->n + 1);
    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    for (guint i = 0; i < 30; i++) {
        memset(out, (int)(player->n * 16 + i), 300 * BLOCK);
        initiator_write(initiator, player->n * 300, 300, out);
        initiator_read(initiator, player->n * 300, 300, in);
        g_assert_true(memcmp(in, out, 300 * BLOCK) == 0);
    }
    g_assert_cmpuint(initiator_logout(initiator), ==, 0);
    g_atomic_int_add(player->n_playing, -1);
    return NULL;
}

static void
test_threads(void)
{
    Rig *rig = rig_new(&(RigConfig){ .n_workers = 2, .is_threaded = TRUE });
    Player players[4];
    GThread *threads[4];
    gint n_playing = G_N_ELEMENTS(players);

    for (guint i = 0; i < G_N_ELEMENTS(players); i++) {
        players[i] = (Player){ .initiator = initiator_new_tcp(rig), .n = i, &n_playing };
        threads[i] = g_thread_new("player", play, &players[i]);
    }
    while (g_atomic_int_get(&n_playing) != 0)
        rig_set_target(rig, rename_alias);
    for (guint i = 0; i < G_N_ELEMENTS(players); i++) {
        (void)g_thread_join(threads[i]);
        initiator_free(players[i].initiator);
    }
    rig_free(rig);
}

/* Reinstatement between workers: each login evicts the session of the one before */
static void
test_threads_reinstatement(void)
{
    Rig *rig = rig_new(&(RigConfig){ .n_workers = 2, .is_threaded = TRUE });
    Initiator *last = NULL;

    for (guint i = 0; i < 20; i++) {
        Initiator *initiator = initiator_new_tcp(rig);

        g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
        (void)send_read(initiator, i);
        if (last != NULL)
            initiator_free(last);
        last = initiator;
    }
    g_assert_true(initiator_receive(last));
    initiator_settle(last);
    initiator_free(last);
    rig_free(rig);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/iscsi/service/stop-without-connections", test_stop_without_connections);
    g_test_add_func("/iscsi/service/stop-with-sessions-and-logins",
                    test_stop_with_sessions_and_logins);
    g_test_add_func("/iscsi/service/ping", test_ping);
    g_test_add_func("/iscsi/service/change-with-session", test_change_with_session);
    g_test_add_func("/iscsi/service/lun-goes-with-commands-in-flight",
                    test_lun_goes_with_commands_in_flight);
    g_test_add_func("/iscsi/service/lun-goes-while-data-comes-in",
                    test_lun_goes_while_data_comes_in);
    g_test_add_func("/iscsi/service/disable-with-session", test_disable_with_session);
    g_test_add_func("/iscsi/service/close-session", test_close_session);
    g_test_add_func("/iscsi/service/remove-with-commands-in-flight",
                    test_remove_with_commands_in_flight);
    g_test_add_func("/iscsi/service/session-limit", test_session_limit);
    g_test_add_func("/iscsi/service/statistics", test_statistics);
    g_test_add_func("/iscsi/service/connections-go-to-the-least-loaded",
                    test_connections_go_to_the_least_loaded);
    g_test_add_func("/iscsi/service/threads", test_threads);
    g_test_add_func("/iscsi/service/threads-reinstatement", test_threads_reinstatement);
    return g_test_run();
}
