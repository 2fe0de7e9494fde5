/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The thread that registers targets with an iSNS server, against sockets of the test
 *
 * What a real server makes of it is tests/conformance/test-isns.py.
 */

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/isns-attribute.h"
#include "control/isns-call.h"
#include "control/isns-portals.h"
#include "util/bytes.h"
#include "util/fd.h"

typedef struct {
    Mailbox mailbox;
    Isns *isns;
    int listener;
    char *server;
    ModelIsns state;
    char error[256];
    guint n_told;
} Fixture;

static void
on_state(ModelIsns state, const char *error, gpointer data)
{
    Fixture *fixture = data;

    g_assert_true((error[0] != '\0') == (state == ISNS_UNAVAILABLE));
    /* Nothing is told twice */
    g_assert_true(fixture->n_told == 0 || state != fixture->state ||
                  strcmp(error, fixture->error) != 0);
    (void)g_strlcpy(fixture->error, error, sizeof(fixture->error));
    fixture->state = state;
    fixture->n_told++;
}

static void
set_up(Fixture *fixture, gconstpointer unused)
{
    Address address;

    g_assert_true(mailbox_init(&fixture->mailbox, NULL));
    fixture->isns = isns_new(&fixture->mailbox, on_state, fixture, NULL);
    g_assert_nonnull(fixture->isns);

    fixture->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_true(address_parse("127.0.0.1:0", 0, &address, NULL));
    g_assert_cmpint(bind(fixture->listener, &address.sa, address.size), ==, 0);
    g_assert_cmpint(listen(fixture->listener, 8), ==, 0);
    g_assert_true(address_of_socket(fixture->listener, &address));
    fixture->server = g_strdup_printf("127.0.0.1:%u", address_port(&address));
}

static void
tear_down(Fixture *fixture, gconstpointer unused)
{
    isns_free(fixture->isns);
    mailbox_deinit(&fixture->mailbox);
    fd_close(&fixture->listener);
    g_free(fixture->server);
}

static void
add_portal(GArray *portals, const char *text, gboolean is_announced)
{
    IsnsPlanPortal portal = { .tag = (guint16)(portals->len + 1), .is_announced = is_announced };

    g_assert_true(address_parse(text, 3260, &portal.address, NULL));
    g_array_append_val(portals, portal);
}

/* @second: or NULL */
static void
post_at(Fixture *fixture, const char *portal, const char *name, const char *second)
{
    static const guint16 tag = 1;
    IsnsPlan *plan = isns_plan_new(fixture->server, "entity");

    add_portal(plan->portals, portal, FALSE);
    isns_plan_add_node(plan, name, "alias", &tag, 1);
    if (second != NULL)
        isns_plan_add_node(plan, second, "alias", &tag, 1);
    isns_post(fixture->isns, plan);
}

/* The server cannot find us by this address */
static void
post(Fixture *fixture, const char *name)
{
    post_at(fixture, "192.0.2.1", name, NULL);
}

static void
wait_for_state(Fixture *fixture, ModelIsns state)
{
    GPollFD fd = { .fd = fixture->mailbox.event_fd, .events = G_IO_IN };

    while (fixture->state != state) {
        (void)g_poll(&fd, 1, -1);
        (void)mailbox_drain(&fixture->mailbox);
    }
}

static void
read_all(int fd, guint8 *data, gsize size)
{
    while (size > 0) {
        gssize n = read(fd, data, size);

        g_assert_cmpint(n, >, 0);
        data += n;
        size -= (gsize)n;
    }
}

/* One message: its function; @ret_payload is what is in it */
static guint
receive(int fd, guint8 *header, GByteArray *ret_payload)
{
    read_all(fd, header, ISNS_HEADER_SIZE);
    g_byte_array_set_size(ret_payload, get_be16(header + 4));
    read_all(fd, ret_payload->data, ret_payload->len);
    return get_be16(header + 2);
}

static void
answer(int fd, guint8 *header, guint32 status)
{
    guint8 payload[4];

    put_be16(header + 2, get_be16(header + 2) | ISNS_ANSWER);
    put_be16(header + 4, sizeof(payload));
    put_be32(payload, status);
    g_assert_cmpint(write(fd, header, ISNS_HEADER_SIZE), ==, ISNS_HEADER_SIZE);
    g_assert_cmpint(write(fd, payload, sizeof(payload)), ==, sizeof(payload));
}

static gboolean
contains(const GByteArray *payload, const char *text)
{
    return memmem(payload->data, payload->len, text, strlen(text)) != NULL;
}

static void
test_only_the_newest_plan_counts(Fixture *fixture, gconstpointer unused)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    guint8 header[ISNS_HEADER_SIZE];
    autofd int fd = -1;

    post(fixture, "iqn.2026-11.org.example:first");
    fd = accept(fixture->listener, NULL, NULL);
    g_assert_cmpuint(receive(fd, header, payload), ==, ISNS_REGISTER);
    g_assert_true(contains(payload, ":first"));

    /* It waits for the answer: these are not begun */
    for (guint i = 0; i < 20; i++)
        post(fixture, "iqn.2026-11.org.example:between");
    post(fixture, "iqn.2026-11.org.example:last");
    answer(fd, header, 0);
    g_assert_cmpuint(receive(fd, header, payload), ==, ISNS_REGISTER);
    g_assert_true(contains(payload, ":last"));
    g_assert_false(contains(payload, ":between"));
    answer(fd, header, 0);
    wait_for_state(fixture, ISNS_REGISTERED);
}

/* What a server asks by itself; one attribute of 4 bytes and one of 8 are in it */
static void
send_request(int fd, guint function)
{
    guint8 message[ISNS_HEADER_SIZE + 28] = { 0 };
    guint8 *payload = message + ISNS_HEADER_SIZE;

    put_be16(message, 1);
    put_be16(message + 2, (guint16)function);
    put_be16(message + 4, 28);
    put_be16(message + 6, 0x4c00);
    put_be16(message + 8, 0x1234);
    put_be32(payload, 32);
    put_be32(payload + 4, 4);
    put_be32(payload + 8, 0x6e6f6465);
    put_be32(payload + 12, 4);
    put_be32(payload + 16, 8);
    g_assert_cmpint(write(fd, message, sizeof(message)), ==, sizeof(message));
}

/*
 * A server forgets who does not answer its inquiries. All that it sends also makes us look whether we
 * are still registered, and register again if not.
 */
static void
test_inquiries_and_notifications(Fixture *fixture, gconstpointer unused)
{
    static const struct {
        guint function;
        guint size; /* of the answer, with its status */
    } cases[] = { { 0x000d, 4 + 28 }, { 0x0008, 4 + 12 } };
    g_autoptr(GByteArray) payload = g_byte_array_new();
    guint8 header[ISNS_HEADER_SIZE];
    autofd int fd = -1;

    post(fixture, "iqn.2026-11.org.example:disk");
    fd = accept(fixture->listener, NULL, NULL);
    (void)receive(fd, header, payload);
    answer(fd, header, 0);
    wait_for_state(fixture, ISNS_REGISTERED);
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        send_request(fd, cases[i].function);
        g_assert_cmphex(receive(fd, header, payload), ==, cases[i].function | ISNS_ANSWER);
        g_assert_cmphex(get_be16(header + 8), ==, 0x1234);
        g_assert_cmpuint(payload->len, ==, cases[i].size);
        g_assert_cmpuint(get_be32(payload->data), ==, 0);
        g_assert_true(contains(payload, "node"));

        g_assert_cmphex(receive(fd, header, payload), ==, ISNS_QUERY);
        answer(fd, header, 9);
        g_assert_cmphex(receive(fd, header, payload), ==, ISNS_REGISTER);
        answer(fd, header, 0);
    }
}

/* One that comes while an answer is waited for */
static void
test_inquiry_in_between(Fixture *fixture, gconstpointer unused)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    guint8 question[ISNS_HEADER_SIZE];
    guint8 header[ISNS_HEADER_SIZE];
    autofd int fd = -1;

    post(fixture, "iqn.2026-11.org.example:disk");
    fd = accept(fixture->listener, NULL, NULL);
    (void)receive(fd, question, payload);
    send_request(fd, 0x000d);
    g_assert_cmphex(receive(fd, header, payload), ==, 0x800d);
    answer(fd, question, 0);
    wait_for_state(fixture, ISNS_REGISTERED);
}

static void
test_end_deregisters(Fixture *fixture, gconstpointer unused)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    guint8 header[ISNS_HEADER_SIZE];
    autofd int fd = -1;

    post(fixture, "iqn.2026-11.org.example:disk");
    fd = accept(fixture->listener, NULL, NULL);
    (void)receive(fd, header, payload);
    answer(fd, header, 0);
    wait_for_state(fixture, ISNS_REGISTERED);
    isns_stop(fixture->isns);
    g_assert_cmpuint(receive(fd, header, payload), ==, ISNS_DEREGISTER);
    g_assert_true(contains(payload, "entity"));
    answer(fd, header, 0);
}

/* tear_down() must end although nobody ever answers */
static void
test_end_while_a_server_is_silent(Fixture *fixture, gconstpointer unused)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    guint8 header[ISNS_HEADER_SIZE];
    autofd int fd = -1;

    post(fixture, "iqn.2026-11.org.example:disk");
    fd = accept(fixture->listener, NULL, NULL);
    (void)receive(fd, header, payload);
    g_clear_pointer(&fixture->isns, isns_free);
}

static void
test_a_refusal_is_told(Fixture *fixture, gconstpointer unused)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    guint8 header[ISNS_HEADER_SIZE];
    autofd int fd = -1;

    post(fixture, "iqn.2026-11.org.example:disk");
    fd = accept(fixture->listener, NULL, NULL);
    (void)receive(fd, header, payload);
    answer(fd, header, 8);
    wait_for_state(fixture, ISNS_UNAVAILABLE);
}

/* An answer to a query of one node: the entity that it belongs to */
static void
answer_entity(int fd, guint8 *header, const char *entity)
{
    gsize size = strlen(entity) + 1;
    guint8 payload[128] = { 0 };

    g_assert_cmpuint(20 + size, <=, sizeof(payload));
    put_be16(header + 2, get_be16(header + 2) | ISNS_ANSWER);
    put_be16(header + 4, (guint16)(20 + size));
    /* status, no key, delimiter, tag and length */
    put_be32(payload + 12, ISNS_TAG_ENTITY);
    put_be32(payload + 16, (guint32)size);
    memcpy(payload + 20, entity, size);
    g_assert_cmpint(write(fd, header, ISNS_HEADER_SIZE), ==, ISNS_HEADER_SIZE);
    g_assert_cmpint(write(fd, payload, 20 + size), ==, 20 + size);
}

static void
post_marked(Fixture *fixture)
{
    static const guint16 tag = 1;
    IsnsPlan *plan = isns_plan_new(fixture->server, "latter.mark");

    g_free(plan->mark);
    plan->mark = g_strdup(".mark");
    add_portal(plan->portals, "192.0.2.1", FALSE);
    isns_plan_add_node(plan, "iqn.2026-11.org.example:one", "", &tag, 1);
    isns_plan_add_node(plan, "iqn.2026-11.org.example:two", "", &tag, 1);
    isns_post(fixture->isns, plan);
}

/* The entity of a service that was killed when the host had another name makes room first; that of
 * somebody else, whose the node may be, is left alone */
static void
test_former_entity(Fixture *fixture, gconstpointer unused)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    guint8 header[ISNS_HEADER_SIZE];
    autofd int fd = -1;

    post_marked(fixture);
    fd = accept(fixture->listener, NULL, NULL);
    g_assert_cmpuint(receive(fd, header, payload), ==, ISNS_QUERY);
    answer_entity(fd, header, "somebody.else");
    g_assert_cmpuint(receive(fd, header, payload), ==, ISNS_QUERY);
    answer_entity(fd, header, "former.mark");
    g_assert_cmpuint(receive(fd, header, payload), ==, ISNS_DEREGISTER);
    g_assert_nonnull(memmem(payload->data, payload->len, "former.mark", sizeof("former.mark")));
    answer(fd, header, 0);
    for (guint i = 0; i < 2; i++) {
        g_assert_cmpuint(receive(fd, header, payload), ==, ISNS_REGISTER);
        g_assert_nonnull(memmem(payload->data, payload->len, "latter.mark", sizeof("latter.mark")));
        answer(fd, header, 0);
    }
    wait_for_state(fixture, ISNS_REGISTERED);

    /* Once is enough */
    post_marked(fixture);
    g_assert_cmpuint(receive(fd, header, payload), ==, ISNS_REGISTER);
}

static void
test_parse(void)
{
    static const guint8 good[] = { 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 'a', 0, 0, 0, 0, 0,
                                   0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0,   4, 0, 0, 2, 88 };
    IsnsAnswer answer;

    g_assert_true(isns_call_parse(good, sizeof(good), &answer));
    g_assert_cmpuint(answer.status, ==, 0);
    g_assert_cmpuint(answer.period, ==, 600);
    g_assert_cmpuint(answer.n_values, ==, 1);
    g_assert_true(isns_call_parse(good, 4, &answer));
    /* Cut anywhere else it is none, but for the ends of its attributes */
    for (gsize size = 0; size < sizeof(good); size++)
        g_assert_true(isns_call_parse(good, size, &answer) ==
                      (size == 4 || size == 16 || size == 24));
}

static GArray *
expand(GArray *portals)
{
    g_autoptr(GArray) owned = portals;

    return isns_portals_expand(owned);
}

static void
test_loopback_only_where_there_is_no_other(void)
{
    GArray *wanted = g_array_new(FALSE, FALSE, sizeof(IsnsPlanPortal));
    g_autoptr(GArray) portals = NULL;

    add_portal(wanted, "127.0.0.1", FALSE);
    add_portal(wanted, "[fe80::1%lo]", FALSE);
    portals = isns_portals_expand(wanted);
    g_assert_cmpuint(portals->len, ==, 2);
    g_assert_cmpuint(g_array_index(portals, IsnsPortal, 1).address.in6.sin6_scope_id, ==, 0);
    g_clear_pointer(&portals, g_array_unref);

    add_portal(wanted, "127.0.0.9", TRUE);
    add_portal(wanted, "192.0.2.1", FALSE);
    portals = expand(wanted);
    g_assert_cmpuint(portals->len, ==, 2);
    g_assert_cmpuint(g_array_index(portals, IsnsPortal, 0).tag, ==, 3);
    g_assert_cmpuint(g_array_index(portals, IsnsPortal, 1).tag, ==, 4);
}

static void
test_a_wildcard_is_never_registered(void)
{
    GArray *wanted = g_array_new(FALSE, FALSE, sizeof(IsnsPlanPortal));
    g_autoptr(GArray) portals = NULL;

    add_portal(wanted, "*:3270", FALSE);
    portals = expand(wanted);
    if (portals->len == 0)
        g_test_skip("no interface has an address here");
    for (guint i = 0; i < portals->len; i++) {
        const Address *address = &g_array_index(portals, IsnsPortal, i).address;

        g_assert_false(address_is_wildcard(address));
        g_assert_cmpuint(address_port(address), ==, 3270);
    }
}

/*
 * With an inbox
 */

/* The value of 4 bytes of the attribute, or 0 where it is not there */
static guint32
find(const GByteArray *payload, guint32 tag)
{
    const guint8 *at = payload->data;
    gsize left = payload->len;
    IsnsAttribute attribute;
    guint32 value = 0;

    while (isns_attribute_next(&at, &left, &attribute)) {
        if (attribute.tag == tag && attribute.length == 4)
            value = get_be32(attribute.value);
    }
    g_assert_cmpuint(left, ==, 0);
    return value;
}

/* On our own connection, while the answer of the server is waited for */
static void
inquire(int fd)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    guint8 header[ISNS_HEADER_SIZE];

    send_request(fd, 0x000d);
    g_assert_cmphex(receive(fd, header, payload), ==, 0x800d);
}

/* A success, with the interval that the server chooses */
static void
answer_interval(int fd, guint8 *header, guint32 interval)
{
    guint8 payload[4 + 8 + 12] = { 0 };

    put_be16(header + 2, get_be16(header + 2) | ISNS_ANSWER);
    put_be16(header + 4, sizeof(payload));
    put_be32(payload + 12, ISNS_TAG_INQUIRY);
    put_be32(payload + 16, 4);
    put_be32(payload + 20, interval);
    g_assert_cmpint(write(fd, header, ISNS_HEADER_SIZE), ==, ISNS_HEADER_SIZE);
    g_assert_cmpint(write(fd, payload, sizeof(payload)), ==, sizeof(payload));
}

/* The whole registration of @n_nodes; the port of the inbox, or 0. @inquires: before it is answered, by
 * which it cannot be later than the thread waits for it. */
static guint16
let_register_and(Fixture *fixture, int fd, guint32 interval, guint n_nodes, gboolean inquires)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    guint8 header[ISNS_HEADER_SIZE];
    guint16 port = 0;

    for (guint i = 0; i < n_nodes; i++) {
        g_assert_cmphex(receive(fd, header, payload), ==, ISNS_REGISTER);
        if (i == 0)
            port = (guint16)find(payload, 20);
        if (inquires)
            inquire(fd);
        answer_interval(fd, header, interval);
    }
    for (guint i = 0; i < n_nodes && port != 0; i++) {
        g_assert_cmphex(receive(fd, header, payload), ==, ISNS_NOTIFY);
        answer(fd, header, 0);
    }
    wait_for_state(fixture, ISNS_REGISTERED);
    return port;
}

static guint16
let_register(Fixture *fixture, int fd, guint32 interval, guint n_nodes)
{
    return let_register_and(fixture, fd, interval, n_nodes, FALSE);
}

static int
connect_inbox(guint16 port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    Address address;

    g_assert_true(address_parse("127.0.0.1", port, &address, NULL));
    g_assert_cmpint(connect(fd, &address.sa, address.size), ==, 0);
    return fd;
}

static void
send_removal(int fd, const char *name)
{
    guint8 message[ISNS_HEADER_SIZE + 12 + 12 + 8 + 64] = { 0 };
    guint8 *payload = message + ISNS_HEADER_SIZE;

    put_be16(message, 1);
    put_be16(message + 2, 0x0008);
    put_be16(message + 4, sizeof(message) - ISNS_HEADER_SIZE);
    put_be16(message + 6, 0x4c00);
    put_be32(payload, 32);
    put_be32(payload + 4, 4);
    memcpy(payload + 8, "node", 4);
    put_be32(payload + 12, 35);
    put_be32(payload + 16, 4);
    put_be32(payload + 20, 0x10);
    put_be32(payload + 24, 32);
    put_be32(payload + 28, 64);
    memcpy(payload + 32, name, strlen(name));
    g_assert_cmpint(write(fd, message, sizeof(message)), ==, sizeof(message));
}

static void
test_an_inbox_is_registered(Fixture *fixture, gconstpointer unused)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    guint8 header[ISNS_HEADER_SIZE];
    autofd int inquirer = -1;
    autofd int fd = -1;
    guint32 port;

    post_at(fixture, "127.0.0.1:3999", "iqn.2026-11.org.example:disk", NULL);
    fd = accept(fixture->listener, NULL, NULL);
    g_assert_cmphex(receive(fd, header, payload), ==, ISNS_REGISTER);
    port = find(payload, 20);
    g_assert_cmpuint(port, !=, 0);
    g_assert_cmpuint(port, <=, G_MAXUINT16); /* above it would be UDP */
    g_assert_cmpuint(find(payload, 23), ==, port);
    g_assert_cmpuint(find(payload, 19), ==, ISNS_INQUIRY_SECONDS);
    answer(fd, header, 0);
    g_assert_cmphex(receive(fd, header, payload), ==, ISNS_NOTIFY);
    /* Removals of targets and of itself; RFC 4171 6.4.4 leaves the rest to control nodes */
    g_assert_cmphex(find(payload, 35), ==, 0x50);
    answer(fd, header, 0);
    wait_for_state(fixture, ISNS_REGISTERED);

    inquirer = connect_inbox((guint16)port);
    send_request(inquirer, 0x000d);
    g_assert_cmphex(receive(inquirer, header, payload), ==, 0x800d);
    g_assert_cmpuint(payload->len, ==, 4 + 28);
}

static void
test_no_inbox_where_the_server_cannot_find_it(Fixture *fixture, gconstpointer unused)
{
    autofd int fd = -1;

    post(fixture, "iqn.2026-11.org.example:disk");
    fd = accept(fixture->listener, NULL, NULL);
    g_assert_cmpuint(let_register(fixture, fd, 1, 1), ==, 0);
}

/* Whatever it says, as there is more than one status for that */
static void
test_a_server_that_refuses_the_inbox(Fixture *fixture, gconstpointer unused)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    guint8 header[ISNS_HEADER_SIZE];
    autofd int fd = -1;

    post_at(fixture, "127.0.0.1", "iqn.2026-11.org.example:disk", NULL);
    fd = accept(fixture->listener, NULL, NULL);
    g_assert_cmphex(receive(fd, header, payload), ==, ISNS_REGISTER);
    g_assert_cmpuint(find(payload, 20), !=, 0);
    answer(fd, header, 21);
    g_assert_cmpuint(let_register(fixture, fd, 0, 1), ==, 0);

    /* It is not asked again with the next plan */
    post_at(fixture, "127.0.0.1", "iqn.2026-11.org.example:other", NULL);
    g_assert_cmpuint(let_register(fixture, fd, 0, 1), ==, 0);
}

static void
test_a_server_that_tells_of_nothing(Fixture *fixture, gconstpointer unused)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    guint8 header[ISNS_HEADER_SIZE];
    autofd int fd = -1;

    post_at(fixture, "127.0.0.1", "iqn.2026-11.org.example:disk", NULL);
    fd = accept(fixture->listener, NULL, NULL);
    g_assert_cmphex(receive(fd, header, payload), ==, ISNS_REGISTER);
    answer(fd, header, 0);
    g_assert_cmphex(receive(fd, header, payload), ==, ISNS_NOTIFY);
    answer(fd, header, 17);
    wait_for_state(fixture, ISNS_REGISTERED);
}

/* As behind a packet filter: before the server forgets us it is told not to inquire */
static void
test_a_server_that_never_inquires(Fixture *fixture, gconstpointer unused)
{
    autofd int fd = -1;

    post_at(fixture, "127.0.0.1", "iqn.2026-11.org.example:disk", NULL);
    fd = accept(fixture->listener, NULL, NULL);
    g_assert_cmpuint(let_register(fixture, fd, 1, 1), !=, 0);
    g_assert_cmpuint(let_register(fixture, fd, 0, 1), ==, 0);
}

/* One that forgets us meanwhile may have inquired in vain, unless it was restarted */
static void
test_a_server_that_forgets(Fixture *fixture, gconstpointer unused)
{
    static const struct {
        gboolean is_heard;
        gboolean is_restarted;
        gboolean has_inbox; /* afterwards */
    } cases[] = {
        { TRUE, FALSE, TRUE },
        { FALSE, TRUE, TRUE },
        { FALSE, FALSE, FALSE },
        { FALSE, FALSE, TRUE }, /* without an inbox it must have been something else */
    };
    g_autoptr(GByteArray) payload = g_byte_array_new();
    guint8 header[ISNS_HEADER_SIZE];
    autofd int fd = -1;
    guint16 port;

    post_at(fixture, "127.0.0.1", "iqn.2026-11.org.example:disk", NULL);
    fd = accept(fixture->listener, NULL, NULL);
    port = let_register(fixture, fd, ISNS_INQUIRY_SECONDS, 1);
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        autofd int inquirer = -1;

        g_test_message("case %zu", i);
        if (cases[i].is_heard) {
            inquirer = connect_inbox(port);
            send_request(inquirer, 0x000d);
            g_assert_cmphex(receive(inquirer, header, payload), ==, 0x800d);
        }
        if (cases[i].is_restarted) {
            fd_close(&fd);
            fd = accept(fixture->listener, NULL, NULL);
        } else {
            send_request(fd, 0x0008);
            g_assert_cmphex(receive(fd, header, payload), ==, 0x8008);
        }
        g_assert_cmphex(receive(fd, header, payload), ==, ISNS_QUERY);
        answer(fd, header, 9);
        port = let_register(fixture, fd, ISNS_INQUIRY_SECONDS, 1);
        g_assert_cmpint(port != 0, ==, cases[i].has_inbox);
    }
}

/* One that has inquired is asked for it once more */
static void
test_a_server_that_ceases_to_inquire(Fixture *fixture, gconstpointer unused)
{
    autofd int fd = -1;

    post_at(fixture, "127.0.0.1", "iqn.2026-11.org.example:disk", NULL);
    fd = accept(fixture->listener, NULL, NULL);
    g_assert_cmpuint(let_register_and(fixture, fd, 1, 1, TRUE), !=, 0);
    g_assert_cmpuint(let_register(fixture, fd, 1, 1), !=, 0);
    g_assert_cmpuint(let_register(fixture, fd, 0, 1), ==, 0);
}

/* Only a node of ours is looked after, and all is registered again only if it has gone */
static void
test_removals(Fixture *fixture, gconstpointer unused)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    guint8 header[ISNS_HEADER_SIZE];
    autofd int notifier = -1;
    autofd int fd = -1;

    post_at(fixture, "127.0.0.1", "iqn.2026-11.org.example:first",
            "iqn.2026-11.org.example:second");
    fd = accept(fixture->listener, NULL, NULL);
    notifier = connect_inbox(let_register(fixture, fd, ISNS_INQUIRY_SECONDS, 2));
    for (guint i = 0; i < 2; i++) {
        send_removal(notifier, "iqn.2026-11.org.example:of-another");
        g_assert_cmphex(receive(notifier, header, payload), ==, 0x8008);
        send_removal(notifier, "iqn.2026-11.org.example:second");
        g_assert_cmphex(receive(notifier, header, payload), ==, 0x8008);
        g_assert_cmphex(receive(fd, header, payload), ==, ISNS_QUERY);
        g_assert_true(contains(payload, ":second"));
        if (i == 0)
            answer_interval(fd, header, 0); /* it has values, so the node is there */
        else
            answer(fd, header, 0);
    }
    (void)let_register(fixture, fd, ISNS_INQUIRY_SECONDS, 2);
}

/* Neither peers that begin a message and go on never nor a crowd of them keep it from its work, nor
 * from the end in tear_down() */
static void
test_peers_that_hang(Fixture *fixture, gconstpointer unused)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    guint8 header[ISNS_HEADER_SIZE];
    int peers[20];
    autofd int inquirer = -1;
    autofd int fd = -1;
    guint16 port;

    post_at(fixture, "127.0.0.1", "iqn.2026-11.org.example:disk", NULL);
    fd = accept(fixture->listener, NULL, NULL);
    port = let_register(fixture, fd, ISNS_INQUIRY_SECONDS, 1);
    for (guint i = 0; i < G_N_ELEMENTS(peers); i++) {
        peers[i] = connect_inbox(port);
        (void)!send(peers[i], "", 1, MSG_NOSIGNAL);
    }
    post_at(fixture, "127.0.0.1", "iqn.2026-11.org.example:other", NULL);
    g_assert_cmpuint(let_register(fixture, fd, ISNS_INQUIRY_SECONDS, 1), ==, port);
    inquirer = connect_inbox(port);
    send_request(inquirer, 0x000d);
    g_assert_cmphex(receive(inquirer, header, payload), ==, 0x800d);
    for (guint i = 0; i < G_N_ELEMENTS(peers); i++)
        fd_close(&peers[i]);
}

/* The first retry is after a second; that it fails as before is not told again. The reason comes from a
 * thread of GLib. The name has an empty label, so nobody is asked for it. */
static void
test_the_same_failure_is_told_once(Fixture *fixture, gconstpointer unused)
{
    GPollFD fd = { .fd = fixture->mailbox.event_fd, .events = G_IO_IN };

    g_free(fixture->server);
    fixture->server = g_strdup("a..b");
    post(fixture, "iqn.2024-01.com.example:a");
    wait_for_state(fixture, ISNS_UNAVAILABLE);

    /* See on_state() */
    (void)g_poll(&fd, 1, 1500);
    (void)mailbox_drain(&fixture->mailbox);
}

#define ADD(path, test) g_test_add("/control/isns/" path, Fixture, NULL, set_up, test, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/control/isns/parse", test_parse);
    g_test_add_func("/control/isns/loopback-only-where-there-is-no-other",
                    test_loopback_only_where_there_is_no_other);
    g_test_add_func("/control/isns/a-wildcard-is-never-registered",
                    test_a_wildcard_is_never_registered);
    if (isns_message_is_supported()) {
        ADD("former-entity", test_former_entity);
        ADD("only-the-newest-plan-counts", test_only_the_newest_plan_counts);
        ADD("end-deregisters", test_end_deregisters);
        ADD("end-while-a-server-is-silent", test_end_while_a_server_is_silent);
        ADD("inquiries-and-notifications", test_inquiries_and_notifications);
        ADD("inquiry-in-between", test_inquiry_in_between);
        ADD("a-refusal-is-told", test_a_refusal_is_told);
        ADD("an-inbox-is-registered", test_an_inbox_is_registered);
        ADD("no-inbox-where-the-server-cannot-find-it",
            test_no_inbox_where_the_server_cannot_find_it);
        ADD("a-server-that-refuses-the-inbox", test_a_server_that_refuses_the_inbox);
        ADD("a-server-that-tells-of-nothing", test_a_server_that_tells_of_nothing);
        ADD("a-server-that-never-inquires", test_a_server_that_never_inquires);
        ADD("a-server-that-ceases-to-inquire", test_a_server_that_ceases_to_inquire);
        ADD("a-server-that-forgets", test_a_server_that_forgets);
        ADD("removals", test_removals);
        ADD("peers-that-hang", test_peers_that_hang);
        ADD("the-same-failure-is-told-once", test_the_same_failure_is_told_once);
    }
    return g_test_run();
}
