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

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/control/peer-log/an-address-has-its-share", test_an_address_has_its_share);
    g_test_add_func("/control/peer-log/others-are-not-affected", test_others_are_not_affected);
    g_test_add_func("/control/peer-log/a-flood-of-addresses", test_a_flood_of_addresses);
    return g_test_run();
}
