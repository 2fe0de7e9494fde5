/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What peers may use of us, and what happens to those who want more
 *
 * Time stands still until a test moves it, so each limit of time is met from
 * both sides. Limits are changed while the service runs, as administrators do.
 */

#include "initiator.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BLOCK 512

/* Events under way above which those that a peer can cause are left out */
#define EVENTS_MAX 512

static void
set_limits(Rig *rig, void (*adjust)(IscsiLimits *limits))
{
    IscsiLimits limits;

    iscsi_limits_init(&limits);
    adjust(&limits);
    iscsi_service_set_limits(rig->service, &limits);
    rig_settle(rig);
}

static guint
count_limit(const Rig *rig, IscsiLimit limit)
{
    guint n = 0;

    for (guint i = 0; i < rig->events->len; i++) {
        const RigEvent *event = g_ptr_array_index(rig->events, i);

        n += event->limit == limit ? MAX(event->count, 1) : 0;
    }
    return n;
}

static void
test_clamp(void)
{
    IscsiLimits limits = { 0 };

    iscsi_limits_clamp(&limits);
    g_assert_cmpuint(limits.max_connections, >, 0);
    g_assert_cmpuint(limits.max_logins, >, 0);
    g_assert_cmpuint(limits.login_timeout, >, 0);
    g_assert_cmpuint(limits.silence_timeout, >, 0);
    g_assert_cmpuint(limits.max_text_size, >, 0);
    memset(&limits, 0xff, sizeof(limits));
    iscsi_limits_clamp(&limits);
    g_assert_cmpuint(limits.max_sessions, <, 65535);
    g_assert_cmpuint(limits.max_ahs_size, <=, PDU_AHS_SIZE_MAX);
}

static void
one_connection(IscsiLimits *limits)
{
    limits->max_connections = 1;
}

static void
test_connections(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *a = initiator_new(rig);
    Initiator *b;

    g_assert_cmphex(initiator_login(a, NULL), ==, 0);
    set_limits(rig, one_connection);
    b = initiator_new(rig);
    g_assert_true(initiator_is_closed(b));
    g_assert_cmpuint(count_limit(rig, ISCSI_LIMIT_CONNECTIONS), ==, 1);
    initiator_free(b);

    /* One that is there stays, and when it goes there is room */
    initiator_settle(a);
    initiator_free(a);
    rig_settle(rig);
    b = initiator_new(rig);
    g_assert_cmphex(initiator_login(b, NULL), ==, 0);
    initiator_free(b);
    rig_free(rig);
}

static void
two_logins_an_address(IscsiLimits *limits)
{
    limits->max_logins_per_address = 2;
}

static void
test_logins_of_an_address(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiators[3];
    Initiator *other;

    set_limits(rig, two_logins_an_address);
    for (guint i = 0; i < G_N_ELEMENTS(initiators); i++) {
        initiators[i] = initiator_new_tcp(rig);
        initiators[i]->isid[5] = (guint8)i;
    }
    g_assert_false(initiator_receive(initiators[2]));
    rig_settle(rig);
    g_assert_cmpuint(count_limit(rig, ISCSI_LIMIT_LOGINS_PER_ADDRESS), ==, 1);

    /* Another address is not concerned */
    other = initiator_new(rig);
    other->isid[5] = 9;
    g_assert_cmphex(initiator_login(other, NULL), ==, 0);

    /* Whether a login comes to its end or the peer goes: both make room */
    g_assert_cmphex(initiator_login(initiators[0], NULL), ==, 0);
    initiator_drop(initiators[1]);
    /* What TCP has to tell may take a while */
    while (iscsi_service_n_logins(rig->service) > 0)
        rig_pump(rig);
    initiator_free(initiators[2]);
    for (guint i = 1; i < G_N_ELEMENTS(initiators); i++) {
        Initiator *late = initiator_new_tcp(rig);

        late->isid[5] = (guint8)(16 + i);
        g_assert_cmphex(initiator_login(late, NULL), ==, 0);
        initiator_free(late);
    }
    initiator_free(initiators[0]);
    initiator_free(initiators[1]);
    initiator_free(other);
    rig_settle(rig);
    g_assert_cmpuint(iscsi_service_n_logins(rig->service), ==, 0);
    rig_free(rig);
}

static void
test_silence(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);

    rig_settle(rig);
    clock_advance(&rig->clock, 4 * USEC_PER_SEC);
    g_assert_false(initiator_is_closed(initiator));
    clock_advance(&rig->clock, 2 * USEC_PER_SEC);
    g_assert_true(initiator_is_closed(initiator));
    g_assert_cmpuint(count_limit(rig, ISCSI_LIMIT_SILENCE_TIMEOUT), ==, 1);
    initiator_free(initiator);
    rig_free(rig);
}

/* A byte a second does not move the deadline */
static void
test_byte_a_second(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    static const guint8 login[PDU_BHS_SIZE] = { 0x43, 0x87 };

    rig_settle(rig);
    for (guint i = 0; i < 15; i++) {
        g_assert_false(initiator_is_closed(initiator));
        initiator_send_bytes(initiator, login + i, 1);
        rig_settle(rig);
        clock_advance(&rig->clock, USEC_PER_SEC);
    }
    rig_settle(rig);
    g_assert_true(initiator_is_closed(initiator));
    g_assert_cmpuint(count_limit(rig, ISCSI_LIMIT_LOGIN_TIMEOUT), ==, 1);
    initiator_free(initiator);
    rig_free(rig);
}

static void
short_login(IscsiLimits *limits)
{
    limits->login_timeout = 2;
}

/* A limit that changes holds for the next connection, not for the one that has begun */
static void
test_change_while_a_login_waits(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *old = initiator_new(rig);
    Initiator *new;

    rig_settle(rig);
    initiator_send_bytes(old, "C", 1);
    rig_settle(rig);
    set_limits(rig, short_login);
    new = initiator_new(rig);
    initiator_send_bytes(new, "C", 1);
    rig_settle(rig);
    clock_advance(&rig->clock, 3 * USEC_PER_SEC);
    g_assert_true(initiator_is_closed(new));
    initiator_free(old);
    initiator_free(new);
    rig_free(rig);
}

static void
never_ping(IscsiTarget *target)
{
    target->nop_interval = 20;
    target->nop_timeout = 10;
}

/* In a session too: what was begun has to come to an end */
static void
test_pdu_that_does_not_end(void)
{
    Rig *rig = rig_new(&(RigConfig){ .adjust = never_ping });
    Initiator *initiator = initiator_new(rig);
    guint8 bhs[PDU_BHS_SIZE] = { 0 };
    gboolean is_closed = FALSE;
    guint i;

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    for (i = 0; i < PDU_BHS_SIZE - 1 && !is_closed; i++) {
        initiator_send_bytes(initiator, bhs + i, 1);
        rig_settle(rig);
        clock_advance(&rig->clock, 5 * USEC_PER_SEC);
        rig_settle(rig);
        is_closed = rig_count_events(rig, ISCSI_EVENT_CONNECTION_LOST) > 0;
    }
    g_assert_true(is_closed);
    g_assert_cmpuint(i, >, 60 / 5);
    g_assert_cmpuint(count_limit(rig, ISCSI_LIMIT_PDU_TIMEOUT), ==, 1);
    initiator_free(initiator);
    rig_free(rig);
}

static void
one_session_a_target(IscsiLimits *limits)
{
    limits->max_sessions_per_target = 1;
}

static void
one_session(IscsiLimits *limits)
{
    limits->max_sessions = 1;
}

static void
check_second_session(void (*adjust)(IscsiLimits *limits), IscsiLimit limit)
{
    Rig *rig = rig_new(&(RigConfig){ .n_workers = 2 });
    Initiator *a = initiator_new(rig);
    Initiator *b = initiator_new(rig);

    set_limits(rig, adjust);
    b->isid[5] = 2;
    g_assert_cmphex(initiator_login(a, NULL), ==, 0);
    g_assert_cmphex(initiator_login(b, NULL), ==, 0x0302);
    g_assert_cmpuint(count_limit(rig, limit), ==, 1);
    initiator_settle(a);
    initiator_free(a);
    initiator_free(b);
    rig_free(rig);
}

static void
test_sessions(void)
{
    check_second_session(one_session, ISCSI_LIMIT_SESSIONS);
    check_second_session(one_session_a_target, ISCSI_LIMIT_SESSIONS_PER_TARGET);
}

/* The least that there may be, RFC 7143 6.1 */
static void
little_text(IscsiLimits *limits)
{
    limits->max_text_size = 1;
}

#define LEAST_TEXT 8192

static GByteArray *
make_text(gsize size)
{
    GByteArray *text = g_byte_array_new();

    for (guint i = 0; text->len < size; i++) {
        g_autofree char *key = g_strdup_printf("X-%03u=", i);
        gsize rest = size - text->len;
        gsize pair = rest < 200 ? rest : 100;
        g_autofree char *value = g_strnfill(pair - strlen(key) - 1, 'x');

        g_byte_array_append(text, (const guint8 *)key, (guint)strlen(key));
        g_byte_array_append(text, (const guint8 *)value, (guint)strlen(value) + 1);
    }
    return text;
}

/* Two login requests of one negotiation step; returns the status of the second */
static guint16
log_in_with(Rig *rig, gsize size)
{
    static const char names[] =
        "InitiatorName=iqn.2026-11.org.example:host\0TargetName=" RIG_TARGET "\0SessionType=Normal";
    Initiator *initiator = initiator_new(rig);
    g_autoptr(GByteArray) text = g_byte_array_new();
    g_autoptr(GByteArray) filler = make_text(size - sizeof(names));
    guint8 bhs[PDU_BHS_SIZE];
    guint16 status;

    g_byte_array_append(text, (const guint8 *)names, sizeof(names));
    g_byte_array_append(text, filler->data, filler->len);
    g_assert_cmpuint(text->len, ==, size);

    initiator_header(initiator, bhs, PDU_LOGIN_REQUEST | PDU_IMMEDIATE, 0x44);
    memcpy(bhs + 8, initiator->isid, 6);
    initiator_send(initiator, bhs, text->data, 6000);
    g_assert_true(initiator_receive(initiator));
    g_assert_cmphex(pdu_login_status(initiator->bhs), ==, 0);
    bhs[1] = 0x87;
    initiator_send(initiator, bhs, text->data + 6000, text->len - 6000);
    g_assert_true(initiator_receive(initiator));
    status = pdu_login_status(initiator->bhs);
    initiator_free(initiator);
    return status;
}

static void
test_text_of_a_login(void)
{
    Rig *rig = rig_new(NULL);

    set_limits(rig, little_text);
    g_assert_cmphex(log_in_with(rig, LEAST_TEXT), ==, 0);
    g_assert_cmpuint(count_limit(rig, ISCSI_LIMIT_TEXT_SIZE), ==, 0);
    g_assert_cmphex(log_in_with(rig, LEAST_TEXT + 1), ==, 0x0200);
    g_assert_cmpuint(count_limit(rig, ISCSI_LIMIT_TEXT_SIZE), ==, 1);
    rig_free(rig);
}

static void
test_text_request(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    g_autofree guint8 *text = g_malloc0(LEAST_TEXT + 4);
    guint8 bhs[PDU_BHS_SIZE];

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    set_limits(rig, little_text);
    initiator_header(initiator, bhs, PDU_TEXT_REQUEST, 0x80);
    memset(bhs + 20, 0xff, 4);
    initiator_send(initiator, bhs, text, LEAST_TEXT + 4);
    g_assert_true(initiator_receive(initiator));
    g_assert_cmpint(pdu_opcode(initiator->bhs), ==, PDU_REJECT);
    g_assert_cmpuint(count_limit(rig, ISCSI_LIMIT_TEXT_SIZE), ==, 1);
    initiator_free(initiator);
    rig_free(rig);
}

static void
no_ahs(IscsiLimits *limits)
{
    limits->max_ahs_size = 0;
}

static void
test_ahs(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    guint8 bytes[PDU_BHS_SIZE + 8] = { 0 };

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    set_limits(rig, no_ahs);
    initiator_command(initiator, bytes, 0x80, (const guint8[6]){ 0 }, 6, 0);
    bytes[4] = 2;
    initiator_send_bytes(initiator, bytes, sizeof(bytes));
    rig_settle(rig);
    g_assert_cmpuint(count_limit(rig, ISCSI_LIMIT_AHS_SIZE), >=, 1);
    initiator_free(initiator);
    rig_free(rig);
}

static void
little_room(IscsiLimits *limits)
{
    limits->max_session_bytes = POOL_BUFFER_MAX;
}

static void
send_write(Initiator *initiator, guint32 lba, guint16 n_blocks, const void *data)
{
    guint8 bhs[PDU_BHS_SIZE], cdb[10];

    initiator_cdb10(cdb, 0x2a, lba, n_blocks);
    initiator_command(initiator, bhs, 0xa0, cdb, sizeof(cdb), n_blocks * BLOCK);
    initiator_send(initiator, bhs, data, n_blocks * BLOCK);
}

/* What comes unasked and finds the session's share used up: TASK SET FULL, told once with how often */
static void
test_session_bytes(void)
{
    Rig *rig = rig_new(&(RigConfig){ .type = "held" });
    Initiator *initiator = initiator_new(rig);
    g_autofree guint8 *data = g_malloc0(512 * BLOCK);
    guint n_full = 0;

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    set_limits(rig, little_room);
    rig_hold(rig);
    for (guint i = 0; i < 8; i++) {
        send_write(initiator, i * 512, 512, data);
        rig_settle(rig);
    }
    rig_release(rig);
    for (guint i = 0; i < 8; i++) {
        g_assert_true(initiator_receive(initiator));
        g_assert_cmpint(pdu_opcode(initiator->bhs), ==, PDU_SCSI_RESPONSE);
        n_full += initiator->bhs[3] == 0x28 ? 1 : 0;
    }
    g_assert_cmpuint(n_full, ==, 4);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_LIMIT), ==, 1);
    g_assert_cmpint(rig_last_event(rig, ISCSI_EVENT_LIMIT)->limit, ==, ISCSI_LIMIT_SESSION_BYTES);
    initiator_free(initiator);
    rig_free(rig);
}

static void
peer_of_ten_seconds(IscsiLimits *limits)
{
    limits->peer_timeout = 10;
}

/* Half-open connections are the kernel's to find: it has to be told to */
static void
test_socket_options(void)
{
    Rig *rig = rig_new(NULL);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = g_htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(address);
    guint value = 0;
    int served, ours;

    set_limits(rig, peer_of_ten_seconds);
    g_assert_cmpint(bind(listener, (struct sockaddr *)&address, size), ==, 0);
    g_assert_cmpint(listen(listener, 1), ==, 0);
    g_assert_cmpint(getsockname(listener, (struct sockaddr *)&address, &size), ==, 0);
    g_assert_cmpint(connect(client, (struct sockaddr *)&address, size), ==, 0);
    served = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    ours = dup(served);
    iscsi_service_add_connection(rig->service, served, RIG_TAG, 1);
    rig_settle(rig);

    size = sizeof(value);
    g_assert_cmpint(getsockopt(ours, IPPROTO_TCP, TCP_USER_TIMEOUT, &value, &size), ==, 0);
    g_assert_cmpuint(value, ==, 10000);
    g_assert_cmpint(getsockopt(ours, SOL_SOCKET, SO_KEEPALIVE, &value, &size), ==, 0);
    g_assert_cmpuint(value, ==, 1);
    g_assert_cmpint(getsockopt(ours, IPPROTO_TCP, TCP_KEEPIDLE, &value, &size), ==, 0);
    g_assert_cmpuint(value, ==, 5);
    (void)close(ours);
    (void)close(client);
    (void)close(listener);
    rig_free(rig);
}

/* As the limit that was reached the journal tells which, and not merely of a wrong PDU */
static void
test_ahs_is_named(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    guint8 bytes[PDU_BHS_SIZE + 8] = { 0 };
    const RigEvent *event;

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    set_limits(rig, no_ahs);
    initiator_command(initiator, bytes, 0x80, (const guint8[6]){ 0 }, 6, 0);
    bytes[4] = 2;
    initiator_send_bytes(initiator, bytes, sizeof(bytes));
    rig_settle(rig);
    event = rig_last_event(rig, ISCSI_EVENT_PROTOCOL_ERROR);
    g_assert_nonnull(event);
    g_assert_cmpint(event->limit, ==, ISCSI_LIMIT_AHS_SIZE);
    g_assert_nonnull(strstr(event->reason, "additional header segments"));
    initiator_free(initiator);
    rig_free(rig);
}

static void
abort_task_set(Initiator *initiator)
{
    guint8 bhs[PDU_BHS_SIZE];

    initiator_header(initiator, bhs, PDU_IMMEDIATE | PDU_TASK_MANAGEMENT_REQUEST, 0x82);
    memset(bhs + 20, 0xff, 4);
    initiator_send(initiator, bhs, NULL, 0);
    g_assert_true(initiator_receive(initiator));
    g_assert_cmphex(initiator->bhs[0], ==, PDU_TASK_MANAGEMENT_RESPONSE);
}

/* While the control thread is held up peers can do what is told of them again and again. What is told has an
 * end, and what others count is told all the same. */
static void
test_queued_events(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *a = initiator_new(rig);
    Initiator *b = initiator_new(rig);

    b->isid[5] = 2;
    g_assert_cmphex(initiator_login(a, NULL), ==, 0);
    initiator_settle(a);
    rig_settle(rig);
    rig->is_deaf = TRUE;
    for (guint i = 0; i < EVENTS_MAX + 100; i++)
        abort_task_set(a);
    g_assert_cmphex(initiator_login(b, NULL), ==, 0);
    initiator_drop(a);
    rig_settle(rig);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_TASK_MANAGEMENT), ==, 0);

    rig->is_deaf = FALSE;
    rig_settle(rig);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_TASK_MANAGEMENT), ==, EVENTS_MAX);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_OPENED), ==, 2);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    g_assert_cmpuint(iscsi_service_n_connections(rig->service), ==, 1);
    g_assert_cmpuint(iscsi_service_n_logins(rig->service), ==, 0);

    /* They have come back, so there is room for more */
    abort_task_set(b);
    rig_settle(rig);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_TASK_MANAGEMENT), ==, EVENTS_MAX + 1);
    initiator_free(a);
    initiator_free(b);
    rig_free(rig);
}

/* Whose end it was is told too, so that one host cannot keep those of others out of the journal */
static void
test_end_of_a_session_has_an_address(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new_tcp(rig);
    const RigEvent *opened, *closed;

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_drop(initiator);
    /* What TCP has to tell may take a while */
    while (rig_last_event(rig, ISCSI_EVENT_SESSION_CLOSED) == NULL)
        rig_pump(rig);
    opened = rig_last_event(rig, ISCSI_EVENT_SESSION_OPENED);
    closed = rig_last_event(rig, ISCSI_EVENT_SESSION_CLOSED);
    g_assert_true(opened != NULL && closed != NULL);
    g_assert_cmpint(closed->remote.sa.sa_family, ==, AF_INET);
    g_assert_true(address_is_equal(&opened->remote, &closed->remote));
    initiator_free(initiator);
    rig_free(rig);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/iscsi/limits/clamp", test_clamp);
    g_test_add_func("/iscsi/limits/connections", test_connections);
    g_test_add_func("/iscsi/limits/logins-of-an-address", test_logins_of_an_address);
    g_test_add_func("/iscsi/limits/silence", test_silence);
    g_test_add_func("/iscsi/limits/byte-a-second", test_byte_a_second);
    g_test_add_func("/iscsi/limits/change-while-a-login-waits", test_change_while_a_login_waits);
    g_test_add_func("/iscsi/limits/pdu-that-does-not-end", test_pdu_that_does_not_end);
    g_test_add_func("/iscsi/limits/sessions", test_sessions);
    g_test_add_func("/iscsi/limits/text-of-a-login", test_text_of_a_login);
    g_test_add_func("/iscsi/limits/text-request", test_text_request);
    g_test_add_func("/iscsi/limits/ahs", test_ahs);
    g_test_add_func("/iscsi/limits/ahs-is-named", test_ahs_is_named);
    g_test_add_func("/iscsi/limits/queued-events", test_queued_events);
    g_test_add_func("/iscsi/limits/end-of-a-session-has-an-address",
                    test_end_of_a_session_has_an_address);
    g_test_add_func("/iscsi/limits/session-bytes", test_session_bytes);
    g_test_add_func("/iscsi/limits/socket-options", test_socket_options);
    return g_test_run();
}
