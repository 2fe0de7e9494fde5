/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "util/address.h"

/*
 * Messages of iSNS (RFC 4171) that a target sends
 *
 * isns-message.c makes them with libisns; a build without it has isns-none.c instead.
 */

#define ISNS_PORT        3205
#define ISNS_HEADER_SIZE 12
#define ISNS_MESSAGE_MAX 65532 /* payload of one PDU */
#define ISNS_PERIOD      300   /* s: the server forgets us after so long without a word */
#define ISNS_PORTALS_MAX 256
#define ISNS_ENTITY_MAX  256 /* an identifier with its NUL (RFC 4171 6.2.1) */
#define ISNS_TAG_ENTITY  1   /* attribute: Entity Identifier */
#define ISNS_TAG_PERIOD  6   /* attribute: Registration Period */
#define ISNS_TAG_INQUIRY 19  /* attribute: Entity Status Inquiry Interval */

/* Wanted between two inquiries of the server; it says what it makes of that. One that misses three
 * forgets us, which is earlier than the end of the period. */
#define ISNS_INQUIRY_SECONDS 60

/* The function in the header of a message; the answer has ISNS_ANSWER besides */
typedef enum {
    ISNS_REGISTER = 1,
    ISNS_QUERY = 2,
    ISNS_DEREGISTER = 4,
    ISNS_NOTIFY = 5,
} IsnsFunction;

#define ISNS_ANSWER 0x8000

/* An address as it is registered: no wildcard, no zone */
typedef struct {
    Address address;
    guint16 tag;   /* portal group */
    guint16 inbox; /* port for inquiries and notifications; 0: none */
} IsnsPortal;

typedef struct {
    const char *name;
    const char *alias; /* or empty */
    const guint16 *tags;
    guint n_tags;
} IsnsNode;

typedef struct {
    const char *entity; /* its identifier */
    const char *source; /* name of a node of it, in whose name is spoken */
    const IsnsPortal *portals;
    guint n_portals;
} IsnsEntity;

gboolean isns_message_is_supported(void);

/**
 * isns_message_register() - Device Attribute Registration of one node
 * @is_first: the entity and its portals too, in place of what the server has of them
 *
 * Returns: the message with its header, or NULL when it would not fit
 */
GByteArray *isns_message_register(guint16 xid, const IsnsEntity *entity, const IsnsNode *node,
                                  gboolean is_first);

/* Device Deregistration of the entity with all that belongs to it */
GByteArray *isns_message_deregister(guint16 xid, const IsnsEntity *entity);

/* Device Attribute Query of a node: whether the server still knows it. Refreshes the registration. */
GByteArray *isns_message_query(guint16 xid, const char *node);

/* Device Attribute Query of a node: the entity that the server has it in */
GByteArray *isns_message_query_entity(guint16 xid, const char *node);

/* SCN Register of a node: the server shall tell of the removal of targets that the node can see, its
 * own included. A portal of its entity has an inbox. */
GByteArray *isns_message_notify(guint16 xid, const char *node);
