/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "util/address.h"

/* Addresses with a common prefix */
typedef struct {
    Address address; /* all bits after the prefix are 0; without a port; never IPv4-mapped */
    guint8 prefix;   /* bits */
} Network;

#define NETWORK_TEXT_MAX (ADDRESS_TEXT_MAX + 4)

/**
 * network_parse() - read ADDR/BITS, or ADDR for that address alone
 *
 * IPv6 may have a scope: fe80::%eth0/10. Without one addresses of every interface are meant. IPv4-mapped networks are taken as IPv4. Bits that
 * are set after the prefix are an error, for who writes 192.0.2.17/24 may mean either.
 */
gboolean network_parse(const char *text, Network *ret_network, GError **ret_error);

/* "192.0.2.0/24"; an address alone has no prefix in it */
void network_format(const Network *network, char *text, gsize size);

/* Whether @address, of any family, is one of the network's; a mapped one is an IPv4 address */
gboolean network_contains(const Network *network, const Address *address);
