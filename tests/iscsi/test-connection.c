/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Connections: who may log in, discovery, text, pings, time limits, peers that
 * do not read or do not write. The clock stands still until a test moves it.
 */

#include "chap-peer.h"

#include <string.h>
#include <sys/socket.h>

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

/* What a target has become by the time a login is complete counts */
static void
test_changes_during_login(void)
{
    static const struct {
        void (*adjust)(IscsiTarget *target);
        guint16 status;
    } cases[] = { { make_disabled, 0x0301 }, { make_elsewhere, 0x0301 }, { make_closed, 0x0202 } };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        Rig *rig = rig_new(NULL);
        Initiator *initiator = initiator_new(rig);

        g_assert_cmphex(chap_peer_exchange(initiator, 0x81,
                                           "InitiatorName=" RIG_INITIATOR "\nTargetName=" RIG_TARGET
                                           "\nSessionType=Normal\nAuthMethod=None"),
                        ==, 0);
        rig_set_target(rig, cases[i].adjust);
        g_assert_cmphex(initiator_login_text(initiator, "X-test=1"), ==, cases[i].status);
        g_assert_true(initiator_is_closed(initiator));
        g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_OPENED), ==, 0);
        initiator_free(initiator);
        rig_free(rig);
    }
}

/* Of the group of this connection only; others are sent nowhere */
static void
redirect_group(IscsiTarget *target, guint16 tag)
{
    target->redirects = g_new0(IscsiRedirect, 1);
    target->n_redirects = 1;
    target->redirects[0] = (IscsiRedirect){ .tag = tag,
                                            .address = g_strdup("[2001:db8::7]:3260"),
                                            .is_permanent = TRUE };
}

static void
redirect_this_group(IscsiTarget *target)
{
    redirect_group(target, RIG_TAG);
}

static void
redirect_another_group(IscsiTarget *target)
{
    redirect_group(target, RIG_TAG + 1);
}

static void
test_redirect_of_a_group(void)
{
    static const char address[] = "TargetAddress=[2001:db8::7]:3260";
    Rig *rig = rig_new(&(RigConfig){ .adjust = redirect_this_group });
    Initiator *initiator = initiator_new(rig);

    /* RFC 7143 13.8: without a portal group tag */
    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0x0102);
    g_assert_cmpmem(initiator->data, (int)initiator->data_size, address, sizeof(address));
    g_assert_true(initiator_is_closed(initiator));
    initiator_free(initiator);

    rig_set_target(rig, redirect_another_group);
    initiator = initiator_new(rig);
    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_free(initiator);
    rig_free(rig);
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

/* Who waits for the end of the session it replaces goes: the nexus is free when that has ended */
static void
test_reinstatement_is_given_up(void)
{
    static const guint8 write[10] = { 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0 };
    static const guint8 block[512];
    Rig *rig = rig_new(&(RigConfig){ .n_workers = 2, .type = "held" });
    Initiator *old = initiator_new(rig), *again = initiator_new(rig), *last;
    guint8 bhs[PDU_BHS_SIZE];

    g_assert_cmphex(initiator_login(old, NULL), ==, 0);
    initiator_settle(old);
    rig_hold(rig);
    initiator_command(old, bhs, 0xa0, write, sizeof(write), sizeof(block));
    initiator_send(old, bhs, block, sizeof(block));
    rig_settle(rig);
    g_assert_cmpuint(rig_n_held(rig), ==, 1);

    g_assert_cmphex(chap_peer_exchange(again, 0x81,
                                       "InitiatorName=" RIG_INITIATOR "\nTargetName=" RIG_TARGET
                                       "\nSessionType=Normal\nAuthMethod=None"),
                    ==, 0);
    initiator_header(again, bhs, PDU_LOGIN_REQUEST | PDU_IMMEDIATE, 0x87);
    memcpy(bhs + 8, again->isid, sizeof(again->isid));
    put_be16(bhs + 20, again->cid);
    initiator_send(again, bhs, NULL, 0);
    g_assert_true(initiator_is_closed(old));
    g_assert_false(initiator_poll(again));
    clock_advance(&rig->clock, 16 * USEC_PER_SEC);
    g_assert_true(initiator_is_closed(again));

    rig_release(rig);
    rig_settle(rig);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_OPENED), ==, 1);
    last = initiator_new(rig);
    g_assert_cmphex(initiator_login(last, NULL), ==, 0);
    initiator_settle(last);
    initiator_free(old);
    initiator_free(again);
    initiator_free(last);
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
    Rig *rig = rig_new(NULL);
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
    const RigEvent *event;
    guint8 bhs[PDU_BHS_SIZE];

    initiator_command(initiator, bhs, 0x80, (const guint8[6]){ 0 }, 6, 0);
    initiator_send(initiator, bhs, NULL, 0);
    /* RFC 7143 4.2.4: at once, and without a word */
    g_assert_true(initiator_is_closed(initiator));
    rig_settle(rig);
    event = rig_last_event(rig, ISCSI_EVENT_LOGIN_REFUSED);
    g_assert_cmphex(event->status, ==, 0);
    g_assert_cmpstr(event->reason, ==, "The first PDU is no Login Request");
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_OPENED), ==, 0);
    g_assert_cmpuint(iscsi_service_n_logins(rig->service), ==, 0);
    g_assert_cmpuint(iscsi_service_n_connections(rig->service), ==, 0);
    initiator_free(initiator);
    rig_free(rig);
}

/* Once the login has begun it is told, and then it is over: RFC 7143 4.2.4 */
static void
test_command_during_login(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    guint8 bhs[PDU_BHS_SIZE];

    g_assert_cmphex(chap_peer_exchange(initiator, 0x00,
                                       "InitiatorName=" RIG_INITIATOR "\nTargetName=" RIG_TARGET
                                       "\nSessionType=Normal\nAuthMethod=None"),
                    ==, 0);
    initiator_command(initiator, bhs, 0x80, (const guint8[6]){ 0 }, 6, 0);
    initiator_send(initiator, bhs, NULL, 0);
    g_assert_true(initiator_receive_any(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_LOGIN_RESPONSE);
    g_assert_cmphex(pdu_login_status(initiator->bhs), ==, 0x020b);
    g_assert_cmpuint(initiator->data_size, ==, 0);
    g_assert_true(initiator_is_closed(initiator));
    g_assert_cmphex(rig_last_event(rig, ISCSI_EVENT_LOGIN_REFUSED)->status, ==, 0x020b);
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

/* RFC 7143 7.4.2.1: the same initiator port at the same portal has one discovery session */
static void
test_discovery_is_reinstated(void)
{
    Rig *rig = rig_new(&(RigConfig){ .n_workers = 2 });
    Initiator *old = initiator_new(rig), *other = initiator_new(rig), *new = initiator_new(rig);
    Initiator *normal = initiator_new(rig);

    other->isid[5]++;
    g_assert_cmphex(initiator_login_discovery(old), ==, 0);
    g_assert_cmphex(initiator_login_discovery(other), ==, 0);
    g_assert_cmphex(initiator_login(normal, NULL), ==, 0);
    g_assert_cmphex(initiator_login_discovery(new), ==, 0);
    g_assert_true(initiator_is_closed(old));
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    send_text(other, "SendTargets=All", 16);
    g_assert_true(has_text(other, "TargetName=" RIG_TARGET));
    send_text(new, "SendTargets=All", 16);
    g_assert_true(has_text(new, "TargetName=" RIG_TARGET));
    initiator_settle(normal);
    initiator_free(old);
    initiator_free(other);
    initiator_free(new);
    initiator_free(normal);
    rig_free(rig);
}

static void
test_discovery_hides(void)
{
    void (*const adjust[])(IscsiTarget * target) = { make_closed, make_disabled, make_elsewhere };

    for (gsize i = 0; i < G_N_ELEMENTS(adjust); i++) {
        Rig *rig = rig_new(&(RigConfig){ .adjust = adjust[i] });
        Initiator *initiator = initiator_new(rig);

        g_assert_cmphex(initiator_login_discovery(initiator), ==, 0);
        send_text(initiator, "SendTargets=All", 16);
        g_assert_cmpuint(initiator->data_size, ==, 0);
        send_text(initiator, "SendTargets=" RIG_TARGET, sizeof("SendTargets=" RIG_TARGET));
        g_assert_cmpuint(initiator->data_size, ==, 0);
        initiator_free(initiator);
        rig_free(rig);
    }
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
    Rig *rig = rig_new(NULL);
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
    Rig *rig = rig_new(NULL);
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
    Rig *rig = rig_new(NULL);
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
    Rig *rig = rig_new(NULL);
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
    g_test_add_func("/iscsi/connection/login/command-during", test_command_during_login);
    g_test_add_func("/iscsi/connection/login/changes-during", test_changes_during_login);
    g_test_add_func("/iscsi/connection/login/redirect-of-a-group", test_redirect_of_a_group);
    g_test_add_func("/iscsi/connection/login/reinstatement-is-given-up",
                    test_reinstatement_is_given_up);
    g_test_add_func("/iscsi/connection/login/garbage", test_garbage);
    g_test_add_func("/iscsi/connection/login/unknown-session", test_unknown_session);
    g_test_add_func("/iscsi/connection/login/second-connection", test_second_connection);
    g_test_add_func("/iscsi/connection/text/discovery", test_discovery);
    g_test_add_func("/iscsi/connection/text/discovery-is-reinstated", test_discovery_is_reinstated);
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
