/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "util/network.h"

#include <string.h>
#include <sys/un.h>

#include "util/error.h"

/* Tell which case it is and go on with the others */
#define FAIL(...) (g_test_message(__VA_ARGS__), g_test_fail())

static void
test_parse(void)
{
    static const struct {
        const char *text;
        const char *shown;
    } cases[] = {
        { "192.0.2.0/24", "192.0.2.0/24" },   { "192.0.2.17", "192.0.2.17" },
        { "192.0.2.17/32", "192.0.2.17" },    { "192.0.2.16/28", "192.0.2.16/28" },
        { "0.0.0.0/0", "0.0.0.0/0" },         { "128.0.0.0/1", "128.0.0.0/1" },
        { "2001:db8::/32", "2001:db8::/32" }, { "2001:DB8::1", "2001:db8::1" },
        { "2001:db8::1/128", "2001:db8::1" }, { "::/0", "::/0" },
        { "fe80::/10", "fe80::/10" },         { "fe80::%lo/10", "fe80::%lo/10" },
        { "fe80::1%lo", "fe80::1%lo" },       { "::ffff:192.0.2.0/120", "192.0.2.0/24" },
        { "::ffff:192.0.2.1", "192.0.2.1" },  { "::ffff:0.0.0.0/96", "0.0.0.0/0" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        char text[NETWORK_TEXT_MAX];
        Network network;

        g_assert_true(network_parse(cases[i].text, &network, &error));
        g_assert_no_error(error);
        network_format(&network, text, sizeof(text));
        g_assert_cmpstr(text, ==, cases[i].shown);
    }
}

static void
test_refused(void)
{
    static const char *const cases[] = {
        "",
        "/",
        "/24",
        "*",
        "*/0",
        "192.0.2.0/",
        "192.0.2.0/33",
        "192.0.2.0/-1",
        "192.0.2.0/+8",
        "192.0.2.0/ 24",
        "192.0.2.0/24x",
        "192.0.2.0/24/24",
        "192.0.2.17/24", /* bits after the prefix */
        "192.0.2.0:3260/24",
        "192.0.2/24",
        "192.0.2.0/255.255.255.0",
        "2001:db8::/129",
        "2001:db8::1/32",
        "[2001:db8::]/32",
        "[2001:db8::1]:3260",
        "::ffff:192.0.2.0/24", /* less than the mapping */
        "fe80::%none/10",
        "host.example/24",
        "192.0.2.0/24\n",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        Network network;

        if (network_parse(cases[i], &network, &error))
            FAIL("“%s” is taken", cases[i]);
        else
            g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
    }
}

static void
test_contains(void)
{
    static const struct {
        const char *network;
        const char *address;
        gboolean is_inside;
    } cases[] = {
        { "192.0.2.0/24", "192.0.2.0", TRUE },
        { "192.0.2.0/24", "192.0.2.255:3260", TRUE }, /* the port does not matter */
        { "192.0.2.0/24", "192.0.3.0", FALSE },
        { "192.0.2.0/24", "192.0.1.255", FALSE },
        { "192.0.2.128/25", "192.0.2.127", FALSE },
        { "192.0.2.128/25", "192.0.2.128", TRUE },
        { "192.0.2.16/30", "192.0.2.19", TRUE },
        { "192.0.2.16/30", "192.0.2.20", FALSE },
        { "192.0.2.17", "192.0.2.17", TRUE },
        { "192.0.2.17", "192.0.2.16", FALSE },
        { "0.0.0.0/0", "203.0.113.1", TRUE },
        { "0.0.0.0/0", "2001:db8::1", FALSE },
        { "::/0", "2001:db8::1", TRUE },
        { "::/0", "192.0.2.1", FALSE },
        { "::/0", "::ffff:192.0.2.1", FALSE }, /* that is IPv4 */
        { "192.0.2.0/24", "::ffff:192.0.2.1", TRUE },
        { "::ffff:192.0.2.0/120", "192.0.2.1", TRUE },
        { "2001:db8::/32", "2001:db8:ffff::1", TRUE },
        { "2001:db8::/32", "2001:db9::1", FALSE },
        { "2001:db8::/33", "2001:db8:8000::1", FALSE },
        { "fe80::/10", "fe80::1%lo", TRUE }, /* on any interface */
        { "fe80::%lo/10", "fe80::1%lo", TRUE },
        { "fe80::%lo/10", "fe80::1%4711", FALSE },
        { "fe80::%lo/10", "fec0::1%lo", FALSE },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        Network network;
        Address address;

        g_assert_true(network_parse(cases[i].network, &network, NULL));
        g_assert_true(address_parse(cases[i].address, 0, &address, NULL));
        if (network_contains(&network, &address) != cases[i].is_inside)
            FAIL("%s and %s", cases[i].network, cases[i].address);
    }
}

static void
test_other_families(void)
{
    Address address = { .size = sizeof(struct sockaddr_un) };
    Network everything4, everything6;

    address.sa.sa_family = AF_UNIX;
    g_assert_true(network_parse("0.0.0.0/0", &everything4, NULL));
    g_assert_true(network_parse("::/0", &everything6, NULL));
    g_assert_false(network_contains(&everything4, &address));
    g_assert_false(network_contains(&everything6, &address));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/util/network/parse", test_parse);
    g_test_add_func("/util/network/refused", test_refused);
    g_test_add_func("/util/network/contains", test_contains);
    g_test_add_func("/util/network/other-families", test_other_families);
    return g_test_run();
}
