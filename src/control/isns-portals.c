/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Addresses that an iSNS server is told
 *
 * Portals as they are configured stand for addresses: a wildcard for those that the machine has just
 * now. Loopback and link-local ones lead initiators nowhere and are told only where there is nothing
 * else, as on a machine for tests, or where an administrator announces one as such.
 */

#include "control/isns-portals.h"

#include <ifaddrs.h>
#include <string.h>

static gboolean
is_local(const Address *address)
{
    if (address->sa.sa_family == AF_INET)
        return (g_ntohl(address->in.sin_addr.s_addr) >> 24) == 127 ||
               (g_ntohl(address->in.sin_addr.s_addr) >> 16) == 0xa9fe;
    return IN6_IS_ADDR_LOOPBACK(&address->in6.sin6_addr) ||
           IN6_IS_ADDR_LINKLOCAL(&address->in6.sin6_addr);
}

static void
add_portal(GArray *portals, const Address *address, guint16 tag)
{
    IsnsPortal portal = { .address = *address, .tag = tag };

    if (portal.address.sa.sa_family == AF_INET6)
        portal.address.in6.sin6_scope_id = 0;
    for (guint i = 0; i < portals->len; i++) {
        if (address_is_equal(&g_array_index(portals, IsnsPortal, i).address, &portal.address))
            return;
    }
    if (portals->len < ISNS_PORTALS_MAX)
        g_array_append_val(portals, portal);
}

/* One for each address of the machine that the wildcard @portal stands for */
static void
add_wildcard(GArray *portals, const IsnsPlanPortal *portal, const struct ifaddrs *interfaces,
             gboolean local)
{
    for (const struct ifaddrs *i = interfaces; i != NULL; i = i->ifa_next) {
        Address address = { 0 };

        if (i->ifa_addr == NULL || (i->ifa_flags & IFF_UP) == 0 ||
            (portal->interface[0] != '\0' && strcmp(portal->interface, i->ifa_name) != 0))
            continue;
        if (i->ifa_addr->sa_family == AF_INET) {
            memcpy(&address.in, i->ifa_addr, sizeof(address.in));
            address.size = sizeof(address.in);
        } else if (i->ifa_addr->sa_family == AF_INET6 && portal->address.sa.sa_family == AF_INET6) {
            memcpy(&address.in6, i->ifa_addr, sizeof(address.in6));
            address.size = sizeof(address.in6);
        } else {
            continue;
        }
        if (is_local(&address) != local)
            continue;
        address_set_port(&address, address_port(&portal->address));
        add_portal(portals, &address, portal->tag);
    }
}

static void
expand(GArray *portals, const GArray *wanted, const struct ifaddrs *interfaces, gboolean local)
{
    for (guint i = 0; i < wanted->len; i++) {
        const IsnsPlanPortal *portal = &g_array_index(wanted, IsnsPlanPortal, i);

        if (address_is_wildcard(&portal->address))
            add_wildcard(portals, portal, interfaces, local);
        else if ((!portal->is_announced && is_local(&portal->address)) == local)
            add_portal(portals, &portal->address, portal->tag);
    }
}

GArray *
isns_portals_expand(const GArray *wanted)
{
    GArray *portals = g_array_new(FALSE, TRUE, sizeof(IsnsPortal));
    struct ifaddrs *interfaces = NULL;

    (void)getifaddrs(&interfaces);
    expand(portals, wanted, interfaces, FALSE);
    if (portals->len == 0)
        expand(portals, wanted, interfaces, TRUE);
    if (interfaces != NULL)
        freeifaddrs(interfaces);
    return portals;
}

gboolean
isns_portals_are_equal(const GArray *a, const GArray *b)
{
    if (a == NULL || a->len != b->len)
        return FALSE;

    for (guint i = 0; i < a->len; i++) {
        const IsnsPortal *left = &g_array_index(a, IsnsPortal, i);
        const IsnsPortal *right = &g_array_index(b, IsnsPortal, i);

        if (left->tag != right->tag || left->inbox != right->inbox ||
            !address_is_equal(&left->address, &right->address))
            return FALSE;
    }
    return TRUE;
}

IsnsPortal *
isns_portals_find(GArray *portals, const Address *host)
{
    for (guint i = 0; i < portals->len; i++) {
        IsnsPortal *portal = &g_array_index(portals, IsnsPortal, i);

        if (address_is_same_host(&portal->address, host))
            return portal;
    }
    return NULL;
}
