/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Networks as text, and which addresses are in them
 *
 * A listener for both families reports IPv4 peers as mapped IPv6 addresses. The
 * two are one here: a mapped network is turned into IPv4 when it is read, a
 * mapped address when it is compared, so ::/0 does not mean IPv4 and
 * 192.0.2.0/24 holds through whichever socket somebody comes.
 */

#include "util/network.h"

#include <string.h>

#include "util/error.h"

#define BITS4       32
#define BITS6       128
#define MAPPED_BITS 96

static gboolean
fail(GError **ret_error, const char *text, const char *why)
{
    g_autofree char *shown = g_utf8_make_valid(text, -1);

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                "“%s” is not a network: %s", shown, why);
    return FALSE;
}

/* The bytes of an IP address without the mapping; NULL for any other family */
static const guint8 *
bytes_of(const Address *address, guint *ret_bits)
{
    if (address->sa.sa_family == AF_INET) {
        *ret_bits = BITS4;
        return (const guint8 *)&address->in.sin_addr;
    }
    if (address->sa.sa_family != AF_INET6)
        return NULL;
    if (IN6_IS_ADDR_V4MAPPED(&address->in6.sin6_addr)) {
        *ret_bits = BITS4;
        return address->in6.sin6_addr.s6_addr + MAPPED_BITS / 8;
    }
    *ret_bits = BITS6;
    return address->in6.sin6_addr.s6_addr;
}

static gboolean
has_bits_after(const guint8 *bytes, guint prefix, guint n_bits)
{
    for (guint i = prefix; i < n_bits; i++) {
        if (bytes[i / 8] & 0x80 >> i % 8)
            return TRUE;
    }
    return FALSE;
}

/* A mapped address as the IPv4 address it stands for */
static void
unmap(Address *address)
{
    struct sockaddr_in in = { .sin_family = AF_INET };

    if (address->sa.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&address->in6.sin6_addr))
        return;

    memcpy(&in.sin_addr, address->in6.sin6_addr.s6_addr + MAPPED_BITS / 8, sizeof(in.sin_addr));
    *address = (Address){ .in = in, .size = sizeof(in) };
}

/* The prefix may have been written of the mapped form */
static gboolean
parse_prefix(const char *text, const char *digits, const Address *address, guint *ret_prefix,
             GError **ret_error)
{
    guint n_bits = 0;
    gboolean is_mapped;
    guint64 prefix;

    if (bytes_of(address, &n_bits) == NULL)
        return fail(ret_error, text, "it is neither IPv4 nor IPv6");

    is_mapped = address->sa.sa_family == AF_INET6 && n_bits == BITS4;
    if (digits == NULL) {
        *ret_prefix = n_bits;
        return TRUE;
    }
    if (!g_ascii_string_to_unsigned(digits, 10, is_mapped ? MAPPED_BITS : 0,
                                    is_mapped ? BITS6 : n_bits, &prefix, NULL))
        return fail(ret_error, text,
                    n_bits == BITS6 || is_mapped
                        ? "after the slash comes a number of bits up to 128"
                        : "after the slash comes a number of bits from 0 to 32");
    *ret_prefix = (guint)prefix - (is_mapped ? MAPPED_BITS : 0);
    return TRUE;
}

gboolean
network_parse(const char *text, Network *ret_network, GError **ret_error)
{
    const char *slash = strchr(text, '/');
    g_autofree char *host = slash != NULL ? g_strndup(text, (gsize)(slash - text)) : g_strdup(text);
    g_autofree char *bracketed = g_strdup_printf("[%s]", host);
    const guint8 *bytes;
    guint prefix, n_bits = 0;
    Address address;

    /* In brackets no port can follow; an IPv4 address has none of them */
    if (host[0] == '*' || strpbrk(host, "[]") != NULL ||
        !address_parse(strchr(host, ':') != NULL ? bracketed : host, 0, &address, NULL) ||
        address_port(&address) != 0)
        return fail(ret_error, text, "write it as 192.0.2.0/24 or 2001:db8::/32");
    if (!parse_prefix(text, slash != NULL ? slash + 1 : NULL, &address, &prefix, ret_error))
        return FALSE;

    unmap(&address);
    bytes = bytes_of(&address, &n_bits);
    if (bytes == NULL || has_bits_after(bytes, prefix, n_bits))
        return fail(ret_error, text, "the address has bits set after the prefix");

    ret_network->address = address;
    ret_network->prefix = (guint8)prefix;
    return TRUE;
}

void
network_format(const Network *network, char *text, gsize size)
{
    char host[ADDRESS_TEXT_MAX];
    guint n_bits = 0;

    address_format_host(&network->address, host, sizeof(host));
    (void)bytes_of(&network->address, &n_bits);
    if (network->prefix == n_bits)
        (void)g_strlcpy(text, host, size);
    else
        (void)g_snprintf(text, size, "%s/%u", host, network->prefix);
}

gboolean
network_contains(const Network *network, const Address *address)
{
    guint network_bits = 0, n_bits = 0, whole = network->prefix / 8, rest = network->prefix % 8;
    const guint8 *ours = bytes_of(&network->address, &network_bits);
    const guint8 *theirs = bytes_of(address, &n_bits);
    guint8 mask = (guint8)(0xff << (8 - rest));

    if (ours == NULL || theirs == NULL || network_bits != n_bits)
        return FALSE;
    if (n_bits == BITS6 && network->address.in6.sin6_scope_id != 0 &&
        network->address.in6.sin6_scope_id != address->in6.sin6_scope_id)
        return FALSE;
    if (memcmp(ours, theirs, whole) != 0)
        return FALSE;
    return rest == 0 || (ours[whole] & mask) == (theirs[whole] & mask);
}
