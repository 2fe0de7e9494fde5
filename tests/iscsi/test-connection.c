/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Connections: who may log in, discovery, text, pings, time limits, peers that
 * do not read or do not write. The clock stands still until a test moves it.
 */

#include "initiator.h"

#include <string.h>
#include <sys/socket.h>

static const RigConfig manual = { .is_manual = TRUE };

/* Login */

static void
make_disabled(IscsiTarget *target)
{
    target->enabled = FALSE;
}

static void
make_closed(IscsiTarget *target)
{
    target->access = ISCSI_ACCESS_CLOSED;
}

static void
make_elsewhere(IscsiTarget *target)
{
    target->tags[0] = RIG_TAG + 1;
}

static void
make_limited(IscsiTarget *target)
{
    target->max_sessions = 1;
}

static void
check_refusal(void (*adjust)(IscsiTarget *target), guint16 status)
{
    Rig *rig = rig_new(&(RigConfig){ .adjust = adjust });
    Initiator *initiator = initiator_new(rig);

    g_assert_cmphex(initiator_login(initiator, NULL), ==, status);
    g_assert_true(initiator_is_closed(initiator));
    rig_settle(rig);
    g_assert_cmphex(rig_last_event(rig, ISCSI_EVENT_LOGIN_REFUSED)->status, ==, status);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_OPENED), ==, 0);
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_disabled(void)
{
    check_refusal(make_disabled, 0x0301);
}

static void
test_closed_access(void)
{
    check_refusal(make_closed, 0x0202);
}

static void
test_not_on_this_portal(void)
{
    check_refusal(make_elsewhere, 0x0203);
}

static void
test_unknown_target(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);

    g_assert_cmphex(initiator_login_text(initiator, "InitiatorName=" RIG_INITIATOR
                                                    "\nTargetName=iqn.2026-11.org.lunport:none"
                                                    "\nSessionType=Normal"),
                    ==, 0x0203);
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_target_limit(void)
{
    Rig *rig = rig_new(&(RigConfig){ .adjust = make_limited });
    Initiator *a = initiator_new(rig);
    Initiator *b = initiator_new(rig);

    b->isid[5] = 2;
    g_assert_cmphex(initiator_login(a, NULL), ==, 0);
    g_assert_cmphex(initiator_login(b, NULL), ==, 0x0302);
    initiator_free(a);
    initiator_free(b);
    rig_free(rig);
}

static void
test_login_limit(void)
{
    Rig *rig = rig_new(&(RigConfig){ .max_logins = 2 });
    Initiator *a = initiator_new(rig);
    Initiator *b = initiator_new(rig);
    Initiator *c = initiator_new(rig);

    g_assert_true(initiator_is_closed(c));
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_LOGIN_REFUSED), ==, 1);
    /* A login that ends makes room */
    g_assert_cmphex(initiator_login(a, NULL), ==, 0);
    rig_settle(rig);
    initiator_free(c);
    c = initiator_new(rig);
    c->isid[5] = 3;
    g_assert_cmphex(initiator_login(c, NULL), ==, 0);
    initiator_free(a);
    initiator_free(b);
    initiator_free(c);
    rig_free(rig);
}

static void
test_login_timeout(void)
{
    Rig *rig = rig_new(&manual);
    Initiator *initiator = initiator_new(rig);

    rig_settle(rig);
    initiator_send_bytes(initiator, "C", 1);
    rig_settle(rig);
    clock_advance(&rig->clock, 14 * USEC_PER_SEC);
    g_assert_false(initiator_is_closed(initiator));
    clock_advance(&rig->clock, 2 * USEC_PER_SEC);
    g_assert_true(initiator_is_closed(initiator));
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_LOGIN_REFUSED), ==, 1);
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_command_before_login(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    guint8 bhs[PDU_BHS_SIZE];

    initiator_command(initiator, bhs, 0x80, (const guint8[6]){ 0 }, 6, 0);
    initiator_send(initiator, bhs, NULL, 0);
    while (!initiator_is_closed(initiator))
        (void)initiator_receive(initiator);
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_garbage(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    guint8 garbage[4096];

    memset(garbage, 0xa5, sizeof(garbage));
    initiator_send_bytes(initiator, garbage, sizeof(garbage));
    g_assert_true(initiator_is_closed(initiator));
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_unknown_session(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);

    initiator->tsih = 77;
    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0x020a);
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_second_connection(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *a = initiator_new(rig);
    Initiator *b = initiator_new(rig);

    g_assert_cmphex(initiator_login(a, NULL), ==, 0);
    b->tsih = a->tsih;
    b->cid = 1;
    g_assert_cmphex(initiator_login(b, NULL), ==, 0x0206);
    initiator_settle(a);
    initiator_free(a);
    initiator_free(b);
    rig_free(rig);
}

/* Text */

static void
send_text(Initiator *initiator, const char *text, gsize size)
{
    guint8 bhs[PDU_BHS_SIZE];

    initiator_header(initiator, bhs, PDU_TEXT_REQUEST, 0x80);
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    initiator_send(initiator, bhs, text, size);
    g_assert_true(initiator_receive(initiator));
    initiator->data[initiator->data_size] = '\0';
}

static gboolean
has_text(const Initiator *initiator, const char *pair)
{
    const char *end = (const char *)initiator->data + initiator->data_size;

    for (const char *p = (const char *)initiator->data; p < end; p += strlen(p) + 1) {
        if (strcmp(p, pair) == 0)
            return TRUE;
    }
    return FALSE;
}

static void
test_discovery(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);

    g_assert_cmphex(initiator_login_discovery(initiator), ==, 0);
    send_text(initiator, "SendTargets=All", 16);
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_TEXT_RESPONSE);
    g_assert_true(pdu_is_final(initiator->bhs));
    g_assert_true(has_text(initiator, "TargetName=" RIG_TARGET));
    g_assert_true(has_text(initiator, "TargetAddress=192.0.2.1:3260,1"));
    g_assert_cmpuint(initiator_logout(initiator), ==, 0);
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_discovery_hides(void)
{
    Rig *rig = rig_new(&(RigConfig){ .adjust = make_closed });
    Initiator *initiator = initiator_new(rig);

    g_assert_cmphex(initiator_login_discovery(initiator), ==, 0);
    send_text(initiator, "SendTargets=All", 16);
    g_assert_cmpuint(initiator->data_size, ==, 0);
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_text_in_normal_session(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    send_text(initiator, "SendTargets=", 13);
    g_assert_true(has_text(initiator, "TargetName=" RIG_TARGET));
    send_text(initiator, "X-nothing=1", 12);
    g_assert_true(has_text(initiator, "X-nothing=NotUnderstood"));
    initiator_settle(initiator);
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_no_commands_in_discovery(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    guint8 bhs[PDU_BHS_SIZE];

    g_assert_cmphex(initiator_login_discovery(initiator), ==, 0);
    initiator_command(initiator, bhs, 0x80, (const guint8[6]){ 0 }, 6, 0);
    initiator_send(initiator, bhs, NULL, 0);
    g_assert_true(initiator_receive(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_REJECT);
    initiator_free(initiator);
    rig_free(rig);
}

/* Pings */

static void
test_initiator_ping(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    guint8 bhs[PDU_BHS_SIZE];
    guint32 itt;

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_header(initiator, bhs, PDU_NOP_OUT | PDU_IMMEDIATE, 0x80);
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    itt = pdu_itt(bhs);
    initiator_send(initiator, bhs, "hello", 5);
    g_assert_true(initiator_receive(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_NOP_IN);
    g_assert_cmphex(pdu_itt(initiator->bhs), ==, itt);
    g_assert_cmphex(pdu_ttt(initiator->bhs), ==, PDU_TAG_RESERVED);
    g_assert_cmpuint(initiator->data_size, ==, 5);
    g_assert_true(memcmp(initiator->data, "hello", 5) == 0);
    initiator_free(initiator);
    rig_free(rig);
}

static void
answer_ping(Initiator *initiator)
{
    guint8 bhs[PDU_BHS_SIZE];

    g_assert_true(initiator_poll(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_NOP_IN);
    g_assert_cmphex(pdu_itt(initiator->bhs), ==, PDU_TAG_RESERVED);
    g_assert_cmphex(pdu_ttt(initiator->bhs), !=, PDU_TAG_RESERVED);
    initiator_header(initiator, bhs, PDU_NOP_OUT | PDU_IMMEDIATE, 0x80);
    put_be32(bhs + 16, PDU_TAG_RESERVED);
    put_be32(bhs + 20, pdu_ttt(initiator->bhs));
    initiator_send(initiator, bhs, NULL, 0);
    rig_settle(initiator->rig);
}

static void
test_target_ping(void)
{
    Rig *rig = rig_new(&manual);
    Initiator *initiator = initiator_new(rig);

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    for (guint i = 0; i < 3; i++) {
        g_assert_false(initiator_poll(initiator));
        clock_advance(&rig->clock, 16 * USEC_PER_SEC);
        answer_ping(initiator);
        clock_advance(&rig->clock, 10 * USEC_PER_SEC);
    }
    g_assert_false(initiator_is_closed(initiator));
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_traffic_is_as_good_as_a_ping(void)
{
    Rig *rig = rig_new(&manual);
    Initiator *initiator = initiator_new(rig);

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    for (guint i = 0; i < 10; i++) {
        clock_advance(&rig->clock, 10 * USEC_PER_SEC);
        initiator_settle(initiator);
        g_assert_false(initiator_poll(initiator));
    }
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_ping_timeout(void)
{
    Rig *rig = rig_new(&manual);
    Initiator *initiator = initiator_new(rig);

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    clock_advance(&rig->clock, 16 * USEC_PER_SEC);
    rig_settle(rig);
    clock_advance(&rig->clock, 16 * USEC_PER_SEC);
    rig_settle(rig);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_CONNECTION_LOST), ==, 1);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    initiator_free(initiator);
    rig_free(rig);
}

/* Peers that do not do their part */

static void
test_half_open(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_drop(initiator);
    rig_settle(rig);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_CONNECTION_LOST), ==, 1);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    initiator_free(initiator);
    rig_free(rig);
}

static void
on_statistics(const IscsiStatistics *statistics, gpointer user_data)
{
    *(guint64 *)user_data = statistics->pool_used;
}

static guint64
pool_used(Rig *rig)
{
    guint64 used = G_MAXUINT64;

    iscsi_service_get_statistics(rig->service, NULL, 0, on_statistics, &used);
    rig_settle(rig);
    g_assert_cmpuint(used, !=, G_MAXUINT64);
    return used;
}

static void
test_stuck_reader(void)
{
    Rig *rig = rig_new(&manual);
    Initiator *initiator = initiator_new(rig);
    guint8 cdb[10];

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    initiator_cdb10(cdb, 0x28, 0, 2048);
    /* It asks for all it may, and for more, and reads nothing */
    for (guint i = 0; i < 200; i++) {
        guint8 bhs[PDU_BHS_SIZE];

        initiator_command(initiator, bhs, 0xc0, cdb, sizeof(cdb), 1 << 20);
        initiator_send(initiator, bhs, NULL, 0);
        rig_pump(rig);
    }
    rig_settle(rig);
    g_assert_cmpuint(pool_used(rig), >, 0);
    g_assert_cmpuint(pool_used(rig), <=, 9 << 20);

    clock_advance(&rig->clock, 16 * USEC_PER_SEC);
    rig_settle(rig);
    clock_advance(&rig->clock, 16 * USEC_PER_SEC);
    rig_settle(rig);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    g_assert_cmpuint(pool_used(rig), ==, 0);
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_slow_reader_gets_all(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    guint8 cdb[10];
    gsize received = 0;
    guint n_status = 0;

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    initiator_cdb10(cdb, 0x28, 0, 2048);
    for (guint i = 0; i < 8; i++) {
        guint8 bhs[PDU_BHS_SIZE];

        initiator_command(initiator, bhs, 0xc0, cdb, sizeof(cdb), 1 << 20);
        initiator_send(initiator, bhs, NULL, 0);
    }
    rig_settle(rig);
    while (n_status < 8) {
        g_assert_true(initiator_receive(initiator));
        g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_DATA_IN);
        received += initiator->data_size;
        n_status += initiator->bhs[1] & PDU_DATA_IN_STATUS;
    }
    g_assert_cmpuint(received, ==, 8 << 20);
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_flood_of_bad_pdus(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    for (guint i = 0; i < 1000; i++) {
        guint8 bhs[PDU_BHS_SIZE];

        initiator_header(initiator, bhs, PDU_SNACK_REQUEST, 0x80);
        initiator_send(initiator, bhs, NULL, 0);
    }
    rig_settle(rig);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_PROTOCOL_ERROR), <=, 8);
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_too_many_immediate(void)
{
    Rig *rig = rig_new(&(RigConfig){ .type = "held" });
    Initiator *initiator = initiator_new(rig);
    guint8 cdb[10];
    guint n_rejected = 0;

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    rig_hold(rig);
    initiator_cdb10(cdb, 0x28, 0, 1);
    for (guint i = 0; i < 12; i++) {
        guint8 bhs[PDU_BHS_SIZE];

        initiator_header(initiator, bhs, PDU_SCSI_COMMAND | PDU_IMMEDIATE, 0xc1);
        put_be32(bhs + 20, 512);
        memcpy(bhs + 32, cdb, sizeof(cdb));
        initiator_send(initiator, bhs, NULL, 0);
    }
    while (initiator_poll(initiator)) {
        g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_REJECT);
        g_assert_cmphex(initiator->bhs[2], ==, PDU_REJECT_IMMEDIATE);
        n_rejected++;
    }
    g_assert_cmpuint(n_rejected, ==, 4);
    rig_release(rig);
    for (guint i = 0; i < 8; i++) {
        g_assert_true(initiator_receive(initiator));
        g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_DATA_IN);
    }
    initiator_free(initiator);
    rig_free(rig);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/iscsi/connection/login/disabled", test_disabled);
    g_test_add_func("/iscsi/connection/login/closed-access", test_closed_access);
    g_test_add_func("/iscsi/connection/login/not-on-this-portal", test_not_on_this_portal);
    g_test_add_func("/iscsi/connection/login/unknown-target", test_unknown_target);
    g_test_add_func("/iscsi/connection/login/target-limit", test_target_limit);
    g_test_add_func("/iscsi/connection/login/login-limit", test_login_limit);
    g_test_add_func("/iscsi/connection/login/timeout", test_login_timeout);
    g_test_add_func("/iscsi/connection/login/command-before", test_command_before_login);
    g_test_add_func("/iscsi/connection/login/garbage", test_garbage);
    g_test_add_func("/iscsi/connection/login/unknown-session", test_unknown_session);
    g_test_add_func("/iscsi/connection/login/second-connection", test_second_connection);
    g_test_add_func("/iscsi/connection/text/discovery", test_discovery);
    g_test_add_func("/iscsi/connection/text/discovery-hides", test_discovery_hides);
    g_test_add_func("/iscsi/connection/text/normal-session", test_text_in_normal_session);
    g_test_add_func("/iscsi/connection/text/no-commands-in-discovery",
                    test_no_commands_in_discovery);
    g_test_add_func("/iscsi/connection/ping/initiator", test_initiator_ping);
    g_test_add_func("/iscsi/connection/ping/target", test_target_ping);
    g_test_add_func("/iscsi/connection/ping/traffic-is-as-good", test_traffic_is_as_good_as_a_ping);
    g_test_add_func("/iscsi/connection/ping/timeout", test_ping_timeout);
    g_test_add_func("/iscsi/connection/peer/half-open", test_half_open);
    g_test_add_func("/iscsi/connection/peer/stuck-reader", test_stuck_reader);
    g_test_add_func("/iscsi/connection/peer/slow-reader-gets-all", test_slow_reader_gets_all);
    g_test_add_func("/iscsi/connection/peer/flood-of-bad-pdus", test_flood_of_bad_pdus);
    g_test_add_func("/iscsi/connection/peer/too-many-immediate", test_too_many_immediate);
    return g_test_run();
}
