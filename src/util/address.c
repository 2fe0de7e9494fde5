/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Socket addresses as text and back
 *
 * One type for both families. A dual-stack listener reports IPv4 peers as
 * mapped IPv6 addresses; here those are shown as, and are equal to, the IPv4
 * address they stand for, so that nobody above needs to know which kind of
 * socket a connection came through.
 */

#include "util/address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <string.h>

#include "util/error.h"

static gboolean
fail(GError **ret_error, const char *text, const char *why)
{
    g_autofree char *shown = g_utf8_make_valid(text, -1);

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                "“%s” is not an address: %s", shown, why);
    return FALSE;
}

static void
address_init_in6(Address *address, const struct in6_addr *in6, guint32 scope)
{
    *address =
        (Address){ .in6 = { .sin6_family = AF_INET6, .sin6_addr = *in6, .sin6_scope_id = scope },
                   .size = sizeof(struct sockaddr_in6) };
}

static void
address_init_in(Address *address, struct in_addr in)
{
    *address = (Address){ .in = { .sin_family = AF_INET, .sin_addr = in },
                          .size = sizeof(struct sockaddr_in) };
}

static gboolean
parse_scope(const char *text, guint32 *ret_scope)
{
    guint64 number;
    guint index = if_nametoindex(text);

    if (index == 0 && g_ascii_string_to_unsigned(text, 10, 1, G_MAXUINT32, &number, NULL))
        index = (guint)number;
    if (index == 0)
        return FALSE;

    *ret_scope = index;
    return TRUE;
}

static gboolean
parse_host6(const char *text, const char *host, Address *ret_address, GError **ret_error)
{
    const char *percent = strchrnul(host, '%');
    g_autofree char *plain = g_strndup(host, (gsize)(percent - host));
    struct in6_addr in6;
    guint32 scope = 0;

    if (inet_pton(AF_INET6, plain, &in6) != 1)
        return fail(ret_error, text, "it is neither IPv4 nor IPv6");
    if (*percent != '\0' && !parse_scope(percent + 1, &scope))
        return fail(ret_error, text, "there is no such network interface");

    address_init_in6(ret_address, &in6, scope);
    return TRUE;
}

static gboolean
parse_host(const char *text, const char *host, Address *ret_address, GError **ret_error)
{
    struct in_addr in;

    if (strcmp(host, "*") == 0) {
        address_init_in6(ret_address, &in6addr_any, 0);
        return TRUE;
    }
    if (inet_pton(AF_INET, host, &in) == 1) {
        address_init_in(ret_address, in);
        return TRUE;
    }
    return parse_host6(text, host, ret_address, ret_error);
}

/* Splits @text in place; @ret_port is NULL where the text names none */
static gboolean
split(char *text, char **ret_host, char **ret_port)
{
    char *colon = strchr(text, ':');
    char *bracket;

    *ret_host = text;
    *ret_port = NULL;

    if (text[0] == '[') {
        bracket = strchr(text, ']');
        if (bracket == NULL || (bracket[1] != '\0' && bracket[1] != ':'))
            return FALSE;

        *ret_host = text + 1;
        *ret_port = bracket[1] == ':' ? bracket + 2 : NULL;
        *bracket = '\0';
    } else if (colon != NULL && strchr(colon + 1, ':') == NULL) {
        *colon = '\0';
        *ret_port = colon + 1;
    }
    return TRUE;
}

gboolean
address_parse(const char *text, guint16 default_port, Address *ret_address, GError **ret_error)
{
    g_autofree char *copy = g_strdup(text);
    guint64 port = default_port;
    char *host_text;
    char *port_text;
    Address address;

    if (!split(copy, &host_text, &port_text))
        return fail(ret_error, text, "its brackets do not match");
    if (!parse_host(text, host_text, &address, ret_error))
        return FALSE;
    if (port_text != NULL &&
        !g_ascii_string_to_unsigned(port_text, 10, 0, G_MAXUINT16, &port, NULL))
        return fail(ret_error, text, "its port is not a number from 0 to 65535");

    address_set_port(&address, (guint16)port);
    *ret_address = address;
    return TRUE;
}

static gboolean
address_is_mapped(const Address *address)
{
    return address->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&address->in6.sin6_addr);
}

/* The IPv4 address that a mapped one stands for, any other as it is */
static void
address_unmap(const Address *address, Address *ret_plain)
{
    struct in_addr in;

    if (!address_is_mapped(address)) {
        *ret_plain = *address;
        return;
    }

    memcpy(&in, &address->in6.sin6_addr.s6_addr[12], sizeof(in));
    address_init_in(ret_plain, in);
    address_set_port(ret_plain, address_port(address));
}

void
address_format_host(const Address *address, char *text, gsize size)
{
    char host[INET6_ADDRSTRLEN] = "";
    char scope[IF_NAMESIZE] = "";
    Address plain;

    address_unmap(address, &plain);

    if (plain.sa.sa_family == AF_INET) {
        (void)inet_ntop(AF_INET, &plain.in.sin_addr, host, sizeof(host));
        (void)g_strlcpy(text, host, size);
    } else if (plain.sa.sa_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &plain.in6.sin6_addr, host, sizeof(host));
        if (plain.in6.sin6_scope_id == 0)
            (void)g_strlcpy(text, host, size);
        else if (if_indextoname(plain.in6.sin6_scope_id, scope) != NULL)
            (void)g_snprintf(text, size, "%s%%%s", host, scope);
        else
            (void)g_snprintf(text, size, "%s%%%u", host, plain.in6.sin6_scope_id);
    } else {
        (void)g_strlcpy(text, "-", size);
    }
}

void
address_format(const Address *address, char *text, gsize size)
{
    char host[ADDRESS_TEXT_MAX];

    address_format_host(address, host, sizeof(host));
    if (strchr(host, ':') != NULL)
        (void)g_snprintf(text, size, "[%s]:%u", host, address_port(address));
    else
        (void)g_snprintf(text, size, "%s:%u", host, address_port(address));
}

gboolean
address_format_source(const Address *address, char *text, gsize size)
{
    char host[INET6_ADDRSTRLEN] = "";
    Address plain;

    address_unmap(address, &plain);
    if (plain.sa.sa_family != AF_INET6) {
        address_format_host(&plain, text, size);
        return plain.sa.sa_family == AF_INET;
    }

    memset(&plain.in6.sin6_addr.s6_addr[8], 0, 8);
    (void)inet_ntop(AF_INET6, &plain.in6.sin6_addr, host, sizeof(host));
    if (plain.in6.sin6_scope_id == 0)
        (void)g_snprintf(text, size, "%s/64", host);
    else
        (void)g_snprintf(text, size, "%s%%%u/64", host, plain.in6.sin6_scope_id);
    return TRUE;
}

guint16
address_port(const Address *address)
{
    if (address->sa.sa_family == AF_INET)
        return g_ntohs(address->in.sin_port);
    if (address->sa.sa_family == AF_INET6)
        return g_ntohs(address->in6.sin6_port);
    return 0;
}

void
address_set_port(Address *address, guint16 port)
{
    if (address->sa.sa_family == AF_INET)
        address->in.sin_port = g_htons(port);
    else if (address->sa.sa_family == AF_INET6)
        address->in6.sin6_port = g_htons(port);
}

gboolean
address_is_wildcard(const Address *address)
{
    Address plain;

    address_unmap(address, &plain);
    if (plain.sa.sa_family == AF_INET)
        return plain.in.sin_addr.s_addr == g_htonl(INADDR_ANY);
    return plain.sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&plain.in6.sin6_addr);
}

gboolean
address_is_equal(const Address *a, const Address *b)
{
    Address plain_a;
    Address plain_b;

    address_unmap(a, &plain_a);
    address_unmap(b, &plain_b);

    if (plain_a.sa.sa_family != plain_b.sa.sa_family || address_port(a) != address_port(b))
        return FALSE;
    if (plain_a.sa.sa_family == AF_INET)
        return plain_a.in.sin_addr.s_addr == plain_b.in.sin_addr.s_addr;
    if (plain_a.sa.sa_family == AF_INET6)
        return IN6_ARE_ADDR_EQUAL(&plain_a.in6.sin6_addr, &plain_b.in6.sin6_addr) &&
               plain_a.in6.sin6_scope_id == plain_b.in6.sin6_scope_id;
    return TRUE;
}

gboolean
address_is_same_host(const Address *a, const Address *b)
{
    Address left = *a;
    Address right = *b;

    address_set_port(&left, 0);
    address_set_port(&right, 0);
    if (left.sa.sa_family == AF_INET6 && right.sa.sa_family == AF_INET6 &&
        (left.in6.sin6_scope_id == 0 || right.in6.sin6_scope_id == 0))
        left.in6.sin6_scope_id = right.in6.sin6_scope_id = 0;
    return address_is_equal(&left, &right);
}

gboolean
address_of_socket(int fd, Address *ret_address)
{
    Address address = { .size = sizeof(struct sockaddr_storage) };

    if (getsockname(fd, &address.sa, &address.size) != 0)
        return FALSE;

    *ret_address = address;
    return TRUE;
}

gboolean
address_of_peer(int fd, Address *ret_address)
{
    Address address = { .size = sizeof(struct sockaddr_storage) };

    if (getpeername(fd, &address.sa, &address.size) != 0)
        return FALSE;

    *ret_address = address;
    return TRUE;
}
