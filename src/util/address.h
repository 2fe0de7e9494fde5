/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <glib.h>

#define ISCSI_PORT 3260

typedef struct {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_storage storage;
    };
    socklen_t size;
} Address;

#define ADDRESS_TEXT_MAX 80

/**
 * address_parse() - read ADDR, ADDR:PORT, [V6], [V6]:PORT, V6%scope or *:PORT
 * @default_port: used where the text names none
 *
 * "*" is all addresses of both families (the IPv6 wildcard with V6ONLY off).
 */
gboolean address_parse(const char *text, guint16 default_port, Address *ret_address,
                       GError **ret_error);

/* "192.0.2.1" or "fe80::1%eth0", without brackets; IPv4-mapped addresses are shown as IPv4 */
void address_format_host(const Address *address, char *text, gsize size);

/* "192.0.2.1:3260" or "[2001:db8::1]:3260", as TargetAddress has it (RFC 7143 13.8) */
void address_format(const Address *address, char *text, gsize size);

guint16 address_port(const Address *address);
void address_set_port(Address *address, guint16 port);
gboolean address_is_wildcard(const Address *address);
gboolean address_is_equal(const Address *a, const Address *b);
/* Whatever their ports, and where only one has a zone whatever it is */
gboolean address_is_same_host(const Address *a, const Address *b);
/**
 * address_format_source() - whom an address is counted as where peers have limits
 *
 * An IPv4 address is itself, "192.0.2.1". Of IPv6 it is the network of 64 bits, which one host may
 * have all of: "2001:db8::/64", or "fe80::%2/64" on a link, by its number because interfaces are renamed.
 * The same address always gives the same text.
 *
 * Returns: FALSE for an address of neither family, as of a socket pair; @text is "-"
 */
gboolean address_format_source(const Address *address, char *text, gsize size);

gboolean address_of_socket(int fd, Address *ret_address);
gboolean address_of_peer(int fd, Address *ret_address);
