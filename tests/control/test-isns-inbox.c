/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The port at which an iSNS server finds us, against peers that are the server, or pretend to be
 *
 * The test polls for the inbox itself, so that nothing happens but in its order. When the thread of
 * iSNS has an inbox, and what follows from what comes there, is test-isns.c.
 */

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/isns-inbox.h"
#include "util/bytes.h"
#include "util/fd.h"

#define INQUIRY      0x000d
#define NOTIFICATION 0x0008
#define WHOLE        0x4c00 /* from a server, the first PDU and the last */

typedef struct {
    IsnsInbox inbox;
    IsnsEars ears;
    int listener; /* of the server, and the connection to it */
    int link;
    guint n_inquiries;
    GString *removed; /* a space behind each */
} Fixture;

static void
on_inquiry(gpointer data)
{
    Fixture *fixture = data;

    fixture->n_inquiries++;
}

static void
on_removed(const char *name, gsize length, gpointer data)
{
    Fixture *fixture = data;

    g_string_append_len(fixture->removed, name, (gssize)length);
    g_string_append_c(fixture->removed, ' ');
}

static int
connect_from(const char *local, const Address *to)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    Address address;

    g_assert_true(address_parse(local, 0, &address, NULL));
    g_assert_cmpint(bind(fd, &address.sa, address.size), ==, 0);
    g_assert_cmpint(connect(fd, &to->sa, to->size), ==, 0);
    return fd;
}

static void
set_up(Fixture *fixture, gconstpointer unused)
{
    Address address;

    fixture->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_true(address_parse("127.0.0.1:0", 0, &address, NULL));
    g_assert_cmpint(bind(fixture->listener, &address.sa, address.size), ==, 0);
    g_assert_cmpint(listen(fixture->listener, 8), ==, 0);
    g_assert_true(address_of_socket(fixture->listener, &address));
    fixture->link = connect_from("127.0.0.1", &address);
    fixture->removed = g_string_new("");
    fixture->ears = (IsnsEars){
        .entity = "entity", .on_inquiry = on_inquiry, .on_removed = on_removed, .data = fixture
    };
    isns_inbox_init(&fixture->inbox);
    g_assert_true(isns_inbox_open(&fixture->inbox, fixture->link));
}

static void
tear_down(Fixture *fixture, gconstpointer unused)
{
    isns_inbox_close(&fixture->inbox);
    fd_close(&fixture->link);
    fd_close(&fixture->listener);
    (void)g_string_free(fixture->removed, TRUE);
}

static guint
n_peers(const Fixture *fixture)
{
    guint n = 0;

    for (guint i = 0; i < ISNS_INBOX_PEERS; i++)
        n += fixture->inbox.peers[i].fd >= 0 ? 1 : 0;
    return n;
}

/* The next second, as far as the inbox knows */
static void
pass_a_second(Fixture *fixture)
{
    fixture->inbox.window -= G_TIME_SPAN_SECOND;
}

/* Nobody's time is up because this program was held up; test_time() is about those whose is */
static void
forgive_delays(Fixture *fixture)
{
    gint64 now = g_get_monotonic_time();

    for (guint i = 0; i < ISNS_INBOX_PEERS; i++) {
        IsnsInboxPeer *peer = &fixture->inbox.peers[i];

        if (peer->fd >= 0 && peer->due <= now)
            peer->due = now + G_TIME_SPAN_HOUR;
    }
}

/* One turn of the owner, which waits for the inbox or @fd. Returns whether @fd is ready. */
static gboolean
turn(Fixture *fixture, int fd)
{
    struct pollfd fds[ISNS_INBOX_FDS + 1];
    gint64 due;

    pass_a_second(fixture);
    isns_inbox_poll(&fixture->inbox, fds, &due);
    fds[ISNS_INBOX_FDS] = (struct pollfd){ .fd = fd, .events = POLLIN };
    g_assert_cmpint(poll(fds, G_N_ELEMENTS(fds), 60000), >, 0);
    forgive_delays(fixture);
    isns_inbox_serve(&fixture->inbox, fds, &fixture->ears);
    return fds[ISNS_INBOX_FDS].revents != 0;
}

static int
connect_server(Fixture *fixture)
{
    int fd = connect_from("127.0.0.1", &fixture->inbox.local);

    (void)turn(fixture, -1);
    return fd;
}

/* As much as comes, which with @size 0 is the end of the connection */
static void
expect(Fixture *fixture, int fd, guint8 *data, gsize size)
{
    gsize at = 0;

    while (at < MAX(size, 1)) {
        guint8 byte;
        gssize n;

        while (!turn(fixture, fd))
            continue;
        n = recv(fd, size != 0 ? data + at : &byte, size != 0 ? size - at : 1, 0);
        if (size == 0) {
            g_assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
            return;
        }
        g_assert_cmpint(n, >, 0);
        at += (gsize)n;
    }
}

static void
send_all(int fd, const GByteArray *message)
{
    g_assert_cmpint(send(fd, message->data, message->len, MSG_NOSIGNAL), ==, message->len);
}

static GByteArray *
begin(guint16 function, guint16 flags)
{
    GByteArray *message = g_byte_array_new();
    guint8 header[ISNS_HEADER_SIZE] = { 0, 1 };

    put_be16(header + 2, function);
    put_be16(header + 6, flags);
    put_be16(header + 8, 0x1234);
    return g_byte_array_append(message, header, sizeof(header));
}

static void
add(GByteArray *message, guint32 tag, const void *value, gsize size)
{
    guint8 head[8];

    put_be32(head, tag);
    put_be32(head + 4, (guint32)size);
    g_byte_array_append(message, head, sizeof(head));
    g_byte_array_append(message, value, (guint)size);
    put_be16(message->data + 4, (guint16)(message->len - ISNS_HEADER_SIZE));
}

/* RFC 4171 5.6.5.13 */
static GByteArray *
make_inquiry(const char *entity)
{
    static const guint8 zeros[16] = { 0 };
    GByteArray *message = begin(INQUIRY, WHOLE);

    add(message, 4, zeros, 8);
    add(message, 1, entity, strlen(entity) + 1);
    add(message, 16, zeros, 16);
    add(message, 17, zeros, 4);
    return message;
}

/* RFC 4171 5.6.5.8: of two that were updated and removed */
static GByteArray *
make_notification(void)
{
    static const guint8 updated[4] = { 0, 0, 0, 0x04 };
    static const guint8 removed[4] = { 0, 0, 0, 0x10 };
    static const guint8 time[8] = { 0 };
    GByteArray *message = begin(NOTIFICATION, WHOLE);

    add(message, 32, "iqn.a:to\0\0\0", 12);
    add(message, 4, time, sizeof(time));
    add(message, 35, updated, sizeof(updated));
    add(message, 32, "iqn.a:up", 8);
    add(message, 35, removed, sizeof(removed));
    add(message, 32, "iqn.a:gone\0", 12);
    return message;
}

static void
expect_answer(Fixture *fixture, int fd, const GByteArray *message, gsize echo)
{
    g_autofree guint8 *answer = g_malloc(ISNS_HEADER_SIZE + 4 + echo);

    expect(fixture, fd, answer, ISNS_HEADER_SIZE + 4 + echo);
    g_assert_cmphex(get_be16(answer), ==, 1);
    g_assert_cmphex(get_be16(answer + 2), ==, get_be16(message->data + 2) | ISNS_ANSWER);
    g_assert_cmpuint(get_be16(answer + 4), ==, 4 + echo);
    g_assert_cmphex(get_be16(answer + 6), ==, 0x8c00);
    g_assert_cmphex(get_be16(answer + 8), ==, 0x1234);
    g_assert_cmphex(get_be32(answer + 12), ==, 0);
    g_assert_true(memcmp(answer + 16, message->data + ISNS_HEADER_SIZE, echo) == 0);
}

static void
test_inquiry(Fixture *fixture, gconstpointer unused)
{
    g_autoptr(GByteArray) message = make_inquiry("entity");
    autofd int fd = connect_server(fixture);

    /* A connection may be kept */
    for (guint i = 1; i <= 3; i++) {
        send_all(fd, message);
        expect_answer(fixture, fd, message, message->len - ISNS_HEADER_SIZE);
        g_assert_cmpuint(fixture->n_inquiries, ==, i);
    }
    g_assert_cmpstr(fixture->removed->str, ==, "");
}

static void
test_notification(Fixture *fixture, gconstpointer unused)
{
    g_autoptr(GByteArray) message = make_notification();
    autofd int fd = connect_server(fixture);

    send_all(fd, message);
    expect_answer(fixture, fd, message, 8 + 12);
    g_assert_cmpstr(fixture->removed->str, ==, "iqn.a:gone ");
    g_assert_cmpuint(fixture->n_inquiries, ==, 0);
}

/* The last attribute is cut off: it ends the connection */
static void
test_half_a_notification(Fixture *fixture, gconstpointer unused)
{
    g_autoptr(GByteArray) message = make_notification();
    autofd int fd = connect_server(fixture);

    g_byte_array_set_size(message, message->len - 4);
    put_be16(message->data + 4, (guint16)(message->len - ISNS_HEADER_SIZE));
    send_all(fd, message);
    expect(fixture, fd, NULL, 0);
    g_assert_cmpstr(fixture->removed->str, ==, "");
}

static void
test_byte_by_byte(Fixture *fixture, gconstpointer unused)
{
    g_autoptr(GByteArray) message = make_inquiry("entity");
    autofd int fd = connect_server(fixture);

    for (guint i = 0; i < message->len; i++) {
        g_assert_cmpuint(fixture->n_inquiries, ==, 0);
        g_assert_cmpint(send(fd, message->data + i, 1, MSG_NOSIGNAL), ==, 1);
        (void)turn(fixture, -1);
    }
    expect_answer(fixture, fd, message, message->len - ISNS_HEADER_SIZE);
}

/* Two at once: the second is there when the first is answered */
static void
test_one_behind_the_other(Fixture *fixture, gconstpointer unused)
{
    g_autoptr(GByteArray) first = make_notification();
    g_autoptr(GByteArray) second = make_inquiry("entity");
    g_autoptr(GByteArray) both = g_byte_array_new();
    autofd int fd = connect_server(fixture);

    g_byte_array_append(both, first->data, first->len);
    g_byte_array_append(both, second->data, second->len);
    send_all(fd, both);
    expect_answer(fixture, fd, first, 8 + 12);
    expect_answer(fixture, fd, second, second->len - ISNS_HEADER_SIZE);
}

/* What ends the connection, without an answer and without being heard */
static void
test_garbage(Fixture *fixture, gconstpointer unused)
{
    static const struct {
        const char *what;
        guint at; /* where there is something else in a good inquiry */
        guint16 is;
    } cases[] = {
        { "another version", 0, 2 },
        { "a function that is a client's", 2, 1 },
        { "an answer", 2, INQUIRY | ISNS_ANSWER },
        { "the first PDU only", 6, 0x4400 },
        { "the last PDU only", 6, 0x4800 },
        { "a time that is longer than the message", ISNS_HEADER_SIZE + 4, 0xffff },
        { "an entity that is longer than the message", ISNS_HEADER_SIZE + 22, 0x1000 },
        { "half an attribute", 4, 20 },
        { "the entity of somebody else", ISNS_HEADER_SIZE + 24, 0x4141 },
        { "a notification to nobody", 2, NOTIFICATION },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GByteArray) message = make_inquiry("entity");
        autofd int fd = connect_server(fixture);

        g_test_message("%s", cases[i].what);
        put_be16(message->data + cases[i].at, cases[i].is);
        if (get_be16(message->data + 2) == NOTIFICATION)
            put_be16(message->data + 4, 0);
        send_all(fd, message);
        expect(fixture, fd, NULL, 0);
        g_assert_cmpuint(fixture->n_inquiries, ==, 0);
        g_assert_cmpuint(n_peers(fixture), ==, 0);
    }
}

/* Nor is anybody heard when we have told the server nothing */
static void
test_no_entity(Fixture *fixture, gconstpointer unused)
{
    g_autoptr(GByteArray) message = make_inquiry("entity");
    autofd int fd = connect_server(fixture);

    fixture->ears.entity = NULL;
    send_all(fd, message);
    expect(fixture, fd, NULL, 0);
    g_assert_cmpuint(fixture->n_inquiries, ==, 0);
}

static void
test_sizes(Fixture *fixture, gconstpointer unused)
{
    static const struct {
        guint16 function;
        guint value; /* of the one attribute */
        gsize echo;  /* 0: the connection ends */
    } cases[] = {
        { INQUIRY, 65528 - 8, 65528 },
        /* With the status in front it would be too long */
        { INQUIRY, 65532 - 8, 0 },
        { NOTIFICATION, 65532 - 8, 0 },
        { NOTIFICATION, 65535 - 8, 0 },
        { NOTIFICATION, 224, 232 },
    };
    g_autofree guint8 *zeros = g_malloc0(G_MAXUINT16);

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GByteArray) message = begin(cases[i].function, WHOLE);
        autofd int fd = connect_server(fixture);

        add(message, 32, zeros, cases[i].value);
        send_all(fd, message);
        if (cases[i].echo != 0)
            expect_answer(fixture, fd, message, cases[i].echo);
        else
            expect(fixture, fd, NULL, 0);
    }
}

/* Who does not read has an answer of one message waiting, and is not heard again before */
static void
test_a_peer_that_does_not_read(Fixture *fixture, gconstpointer unused)
{
    g_autofree guint8 *zeros = g_malloc0(G_MAXUINT16);
    g_autoptr(GByteArray) message = begin(INQUIRY, WHOLE);
    autofd int fd = connect_server(fixture);
    const int small = 4096, large = 1 << 20;
    guint n = 0;

    g_assert_cmpint(
        setsockopt(fixture->inbox.peers[0].fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), ==,
        0);
    /* Whole messages fit, also when the kernel has not heard yet that the one before has arrived */
    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &large, sizeof(large)), ==, 0);
    add(message, 4, zeros, 65528 - 8);
    while (fixture->inbox.peers[0].out == NULL) {
        g_assert_cmpint(send(fd, message->data, message->len, MSG_NOSIGNAL | MSG_DONTWAIT), ==,
                        message->len);
        while (fixture->n_inquiries == n)
            (void)turn(fixture, -1);
        n++;
    }
    send_all(fd, message);
    for (guint i = 0; i <= n; i++)
        expect_answer(fixture, fd, message, 65528);
    g_assert_cmpuint(fixture->n_inquiries, ==, n + 1);
}

/* A message that stays incomplete, an answer that is not read, and silence have their time */
static void
test_time(Fixture *fixture, gconstpointer unused)
{
    g_autoptr(GByteArray) message = make_inquiry("entity");
    autofd int fd = connect_server(fixture);
    IsnsInboxPeer *peer = &fixture->inbox.peers[0];
    gint64 idle = peer->due;
    struct pollfd fds[ISNS_INBOX_FDS];
    gint64 due;

    g_assert_cmpint(send(fd, message->data, 5, MSG_NOSIGNAL), ==, 5);
    (void)turn(fixture, -1);
    g_assert_cmpint(peer->due, <, idle);
    idle = peer->due;
    g_assert_cmpint(send(fd, message->data + 5, 5, MSG_NOSIGNAL), ==, 5);
    (void)turn(fixture, -1);
    /* It is the time for the message, not for each piece of it */
    g_assert_cmpint(peer->due, ==, idle);
    isns_inbox_poll(&fixture->inbox, fds, &due);
    g_assert_cmpint(due, ==, idle);

    peer->due = g_get_monotonic_time();
    g_assert_cmpint(poll(fds, G_N_ELEMENTS(fds), 0), ==, 0);
    isns_inbox_serve(&fixture->inbox, fds, &fixture->ears);
    g_assert_cmpuint(n_peers(fixture), ==, 0);
    expect(fixture, fd, NULL, 0);
}

/* The place of who was silent for longest is for the next one */
static void
test_crowd(Fixture *fixture, gconstpointer unused)
{
    g_autoptr(GByteArray) message = make_inquiry("entity");
    int fds[ISNS_INBOX_PEERS + 1];

    for (guint i = 0; i < G_N_ELEMENTS(fds); i++) {
        fds[i] = connect_server(fixture);
        if (i == 0) {
            send_all(fds[0], message);
            expect_answer(fixture, fds[0], message, message->len - ISNS_HEADER_SIZE);
            fixture->inbox.peers[0].since = G_MAXINT64;
        }
    }
    g_assert_cmpuint(n_peers(fixture), ==, ISNS_INBOX_PEERS);
    expect(fixture, fds[1], NULL, 0);
    for (guint i = 0; i < G_N_ELEMENTS(fds); i++) {
        if (i != 1) {
            send_all(fds[i], message);
            expect_answer(fixture, fds[i], message, message->len - ISNS_HEADER_SIZE);
        }
        fd_close(&fds[i]);
    }
}

static void
test_another_address(Fixture *fixture, gconstpointer unused)
{
    autofd int fd = connect_from("127.0.0.2", &fixture->inbox.local);

    expect(fixture, fd, NULL, 0);
    g_assert_cmpuint(n_peers(fixture), ==, 0);
}

/* Nobody keeps us busy */
static void
test_rate(Fixture *fixture, gconstpointer unused)
{
    struct pollfd fds[ISNS_INBOX_FDS];
    gint64 begin_of_all = g_get_monotonic_time();
    autofd int fd = connect_server(fixture);
    gint64 due;

    g_assert_cmpint(send(fd, "", 1, MSG_NOSIGNAL), ==, 1);
    fixture->inbox.n_events = ISNS_INBOX_RATE - 1;
    fixture->inbox.window = G_MAXINT64 - G_TIME_SPAN_HOUR;
    isns_inbox_poll(&fixture->inbox, fds, &due);
    g_assert_cmpint(poll(fds, G_N_ELEMENTS(fds), 60000), ==, 1);
    isns_inbox_serve(&fixture->inbox, fds, &fixture->ears);
    fixture->inbox.window = g_get_monotonic_time() + G_TIME_SPAN_HOUR;
    isns_inbox_poll(&fixture->inbox, fds, &due);
    for (guint i = 0; i < G_N_ELEMENTS(fds); i++)
        g_assert_cmpint(fds[i].fd, ==, -1);
    g_assert_cmpint(due, ==, fixture->inbox.window + G_TIME_SPAN_SECOND);

    fixture->inbox.window = begin_of_all - G_TIME_SPAN_SECOND;
    isns_inbox_poll(&fixture->inbox, fds, &due);
    g_assert_cmpint(fds[0].fd, ==, fixture->inbox.fd);
    g_assert_cmpuint(fixture->inbox.n_events, ==, 0);
}

static void
test_open_again(Fixture *fixture, gconstpointer unused)
{
    guint16 port = address_port(&fixture->inbox.local);
    int peer = connect_server(fixture);
    autofd int other = -1;
    Address address;

    /* The same server by another connection */
    g_assert_true(address_of_socket(fixture->listener, &address));
    other = connect_from("127.0.0.1", &address);
    g_assert_true(isns_inbox_open(&fixture->inbox, other));
    g_assert_cmpuint(address_port(&fixture->inbox.local), ==, port);
    g_assert_cmpuint(n_peers(fixture), ==, 1);

    /* We are at another address */
    fd_close(&other);
    other = connect_from("127.0.0.3", &address);
    g_assert_true(isns_inbox_open(&fixture->inbox, other));
    g_assert_cmpuint(n_peers(fixture), ==, 0);
    g_assert_true(address_of_socket(other, &address));
    g_assert_true(address_is_same_host(&fixture->inbox.local, &address));

    /* No connection at all */
    g_assert_false(isns_inbox_open(&fixture->inbox, -1));
    g_assert_cmpint(fixture->inbox.fd, ==, -1);
    fd_close(&peer);
}

#define ADD(path, test)                                                                            \
    g_test_add("/control/isns-inbox/" path, Fixture, NULL, set_up, test, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("inquiry", test_inquiry);
    ADD("notification", test_notification);
    ADD("half-a-notification", test_half_a_notification);
    ADD("byte-by-byte", test_byte_by_byte);
    ADD("one-behind-the-other", test_one_behind_the_other);
    ADD("garbage", test_garbage);
    ADD("no-entity", test_no_entity);
    ADD("sizes", test_sizes);
    ADD("a-peer-that-does-not-read", test_a_peer_that_does_not_read);
    ADD("time", test_time);
    ADD("crowd", test_crowd);
    ADD("another-address", test_another_address);
    ADD("rate", test_rate);
    ADD("open-again", test_open_again);
    return g_test_run();
}
