/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "util/address.h"

#include "util/error.h"
#include "util/fd.h"

static void
assert_parsed(const char *text, const char *expected)
{
    g_autoptr(GError) error = NULL;
    char shown[ADDRESS_TEXT_MAX];
    Address address;
    gboolean parsed = address_parse(text, ISCSI_PORT, &address, &error);

    g_assert_no_error(error);
    g_assert_true(parsed);
    address_format(&address, shown, sizeof(shown));
    g_assert_cmpstr(shown, ==, expected);
}

static void
test_parse(void)
{
    assert_parsed("192.0.2.1", "192.0.2.1:3260");
    assert_parsed("192.0.2.1:80", "192.0.2.1:80");
    assert_parsed("2001:db8::1", "[2001:db8::1]:3260");
    assert_parsed("[2001:db8::1]", "[2001:db8::1]:3260");
    assert_parsed("[2001:DB8::1]:80", "[2001:db8::1]:80");
    assert_parsed("*", "[::]:3260");
    assert_parsed("*:80", "[::]:80");
    assert_parsed("127.0.0.1:0", "127.0.0.1:0");
}

static void
test_scope(void)
{
    assert_parsed("fe80::1%lo", "[fe80::1%lo]:3260");
    assert_parsed("[fe80::1%1]:80", "[fe80::1%lo]:80");
}

static void
test_refuse(void)
{
    static const char *const bad[] = {
        "",
        "192.0.2",
        "192.0.2.1:",
        "192.0.2.1:65536",
        "192.0.2.1:-1",
        "192.0.2.1:x",
        "[::1",
        "[::1]80",
        "host.example",
        "::1%none-such",
        "[::1]:",
        "1.2.3.4:5:6",
        "192.0.2.1 ",
        "[*]:\xff\xff",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        Address address = { .size = 4711 };

        g_assert_false(address_parse(bad[i], ISCSI_PORT, &address, &error));
        g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
        g_assert_cmpuint(address.size, ==, 4711);
    }
}

static void
test_mapped_is_ipv4(void)
{
    char shown[ADDRESS_TEXT_MAX];
    Address mapped;
    Address plain;
    Address other;

    g_assert_true(address_parse("::ffff:192.0.2.1", 80, &mapped, NULL));
    g_assert_true(address_parse("192.0.2.1", 80, &plain, NULL));
    g_assert_true(address_parse("192.0.2.1", 81, &other, NULL));

    address_format(&mapped, shown, sizeof(shown));
    g_assert_cmpstr(shown, ==, "192.0.2.1:80");
    g_assert_true(address_is_equal(&mapped, &plain));
    g_assert_false(address_is_equal(&mapped, &other));
}

static void
test_wildcard(void)
{
    static const char *const wild[] = { "*", "0.0.0.0", "::", "::ffff:0.0.0.0" };
    Address address;

    for (gsize i = 0; i < G_N_ELEMENTS(wild); i++) {
        g_assert_true(address_parse(wild[i], ISCSI_PORT, &address, NULL));
        g_assert_true(address_is_wildcard(&address));
    }
    g_assert_true(address_parse("127.0.0.1", ISCSI_PORT, &address, NULL));
    g_assert_false(address_is_wildcard(&address));
}

static void
test_of_socket(void)
{
    autofd int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    autofd int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    Address address;
    Address bound;
    Address peer;

    g_assert_true(address_parse("127.0.0.1:0", ISCSI_PORT, &address, NULL));
    g_assert_cmpint(bind(listener, &address.sa, address.size), ==, 0);
    g_assert_cmpint(listen(listener, 1), ==, 0);
    g_assert_true(address_of_socket(listener, &bound));
    g_assert_cmpuint(address_port(&bound), !=, 0);

    g_assert_cmpint(connect(client, &bound.sa, bound.size), ==, 0);
    g_assert_true(address_of_peer(client, &peer));
    g_assert_true(address_is_equal(&bound, &peer));
    g_assert_false(address_of_peer(listener, &peer));
}

static void
test_same_host(void)
{
    static const struct {
        const char *a;
        const char *b;
        gboolean is_same;
    } cases[] = {
        { "192.0.2.1:1", "192.0.2.1:2", TRUE },
        { "192.0.2.1", "192.0.2.2", FALSE },
        { "[::ffff:192.0.2.1]:5", "192.0.2.1:6", TRUE },
        { "192.0.2.1", "[2001:db8::1]", FALSE },
        { "fe80::1%lo", "fe80::1", TRUE },
        { "fe80::1%lo", "fe80::2", FALSE },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        Address a;
        Address b;

        g_assert_true(address_parse(cases[i].a, 0, &a, NULL));
        g_assert_true(address_parse(cases[i].b, 0, &b, NULL));
        g_assert_cmpint(address_is_same_host(&a, &b), ==, cases[i].is_same);
        g_assert_cmpint(address_is_same_host(&b, &a), ==, cases[i].is_same);
    }
}

/* Whoever can choose among the addresses of a network has no more than one address has */
static void
test_source(void)
{
    static const struct {
        const char *address;
        const char *source;
    } cases[] = {
        { "192.0.2.1:1", "192.0.2.1" },
        { "[::ffff:192.0.2.1]:5", "192.0.2.1" },
        { "[2001:db8:1:2:3:4:5:6]:7", "2001:db8:1:2::/64" },
        { "[2001:db8:1:2::]:8", "2001:db8:1:2::/64" },
        { "[2001:db8:1:3::]:8", "2001:db8:1:3::/64" },
        { "::1", "::/64" },
    };
    Address address;
    char text[ADDRESS_TEXT_MAX];

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_assert_true(address_parse(cases[i].address, 0, &address, NULL));
        g_assert_true(address_format_source(&address, text, sizeof(text)));
        g_assert_cmpstr(text, ==, cases[i].source);
    }

    /* Links are told apart, also those that are not there any more */
    g_assert_true(address_parse("fe80::1:2", 0, &address, NULL));
    address.in6.sin6_scope_id = 123456;
    g_assert_true(address_format_source(&address, text, sizeof(text)));
    g_assert_cmpstr(text, ==, "fe80::%123456/64");

    address = (Address){ .sa.sa_family = AF_UNIX, .size = sizeof(sa_family_t) };
    g_assert_false(address_format_source(&address, text, sizeof(text)));
    g_assert_cmpstr(text, ==, "-");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/util/address/parse", test_parse);
    g_test_add_func("/util/address/scope", test_scope);
    g_test_add_func("/util/address/refuse", test_refuse);
    g_test_add_func("/util/address/mapped-is-ipv4", test_mapped_is_ipv4);
    g_test_add_func("/util/address/wildcard", test_wildcard);
    g_test_add_func("/util/address/same-host", test_same_host);
    g_test_add_func("/util/address/source", test_source);
    g_test_add_func("/util/address/of-socket", test_of_socket);
    return g_test_run();
}
