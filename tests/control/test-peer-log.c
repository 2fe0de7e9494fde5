/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "control/service-private.h"

static Address
make_address(guint32 host, guint16 port)
{
    return (Address){ .in = { .sin_family = AF_INET,
                              .sin_port = g_htons(port),
                              .sin_addr.s_addr = g_htonl(host) },
                      .size = sizeof(struct sockaddr_in) };
}

static guint
count_admitted(PeerLog *log, guint32 host, guint n)
{
    guint admitted = 0;

    for (guint i = 0; i < n; i++) {
        /* Each connection has another port; the address is what counts */
        Address address = make_address(host, (guint16)(1024 + i));

        admitted += peer_log_admit(log, &address) ? 1 : 0;
    }
    return admitted;
}

static void
test_an_address_has_its_share(void)
{
    PeerLog *log = peer_log_new(10);

    g_assert_cmpuint(count_admitted(log, 0x7f000001, 1000), ==, 10);
    peer_log_free(log);
}

static void
test_others_are_not_affected(void)
{
    PeerLog *log = peer_log_new(10);

    (void)count_admitted(log, 0x7f000001, 1000);
    g_assert_cmpuint(count_admitted(log, 0x7f000002, 5), ==, 5);
    peer_log_free(log);
}

/* However many addresses there are, the table has an end, and what is logged has one too */
static void
test_a_flood_of_addresses(void)
{
    PeerLog *log = peer_log_new(10);
    guint admitted = 0;

    for (guint32 i = 0; i < 100000; i++)
        admitted += count_admitted(log, 0x0a000000 + i, 1);
    g_assert_cmpuint(admitted, ==, 1024 + 10);
    peer_log_free(log);
}

/* One host may have all addresses of an IPv6 network, so they have one share together */
static void
test_a_network_has_the_share_of_an_address(void)
{
    PeerLog *log = peer_log_new(10);
    guint admitted = 0;
    Address address;

    g_assert_true(address_parse("2001:db8::1", 3260, &address, NULL));
    for (guint i = 0; i < 1000; i++) {
        address.in6.sin6_addr.s6_addr[14] = (guint8)(i >> 8);
        address.in6.sin6_addr.s6_addr[15] = (guint8)i;
        admitted += peer_log_admit(log, &address) ? 1 : 0;
    }
    g_assert_cmpuint(admitted, ==, 10);
    address.in6.sin6_addr.s6_addr[7] = 1;
    g_assert_true(peer_log_admit(log, &address));
    peer_log_free(log);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/control/peer-log/an-address-has-its-share", test_an_address_has_its_share);
    g_test_add_func("/control/peer-log/others-are-not-affected", test_others_are_not_affected);
    g_test_add_func("/control/peer-log/a-network-has-the-share-of-an-address",
                    test_a_network_has_the_share_of_an_address);
    g_test_add_func("/control/peer-log/a-flood-of-addresses", test_a_flood_of_addresses);
    return g_test_run();
}
