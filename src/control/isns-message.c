/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Messages of iSNS, with libisns
 *
 * The library knows the attributes and how they are encoded. Its sockets, timers and configuration,
 * which are global to the process and cannot be interrupted, are not used: isns-call.c has its own.
 *
 * A payload is (RFC 4171 5.6) the source attribute, the message key, a delimiter and the operating
 * attributes. A node is registered together with its portal groups: the tag and then the addresses
 * that belong to the node by it (5.6.5.1). Addresses that do not are listed behind a tag of no
 * length, else the server would make up a group with the tag 1.
 */

#include "control/isns-message.h"

#include <string.h>

#include <libisns/attrs.h>
#include <libisns/buffer.h>
#include <libisns/isns-proto.h>
#include <libisns/isns.h>

typedef struct {
    isns_attr_list_t keys; /* with the source in front */
    isns_attr_list_t values;
} Payload;

static void
payload_init(Payload *payload, const char *source)
{
    isns_attr_list_init(&payload->keys);
    isns_attr_list_init(&payload->values);
    isns_attr_list_append_string(&payload->keys, ISNS_TAG_ISCSI_NAME, source);
}

static void
put_16(guint8 *where, guint16 value)
{
    where[0] = (guint8)(value >> 8);
    where[1] = (guint8)value;
}

/* The message; the payload is gone */
static GByteArray *
payload_finish(Payload *payload, guint16 xid, IsnsFunction function, guint16 flags)
{
    g_autoptr(GByteArray) message = g_byte_array_sized_new(256);
    buf_t *buffer = buf_alloc(ISNS_MESSAGE_MAX);
    gboolean fits = buffer != NULL &&
                    isns_attr_list_encode(buffer, &payload->keys) == ISNS_SUCCESS &&
                    isns_encode_delimiter(buffer) == ISNS_SUCCESS &&
                    isns_attr_list_encode(buffer, &payload->values) == ISNS_SUCCESS;
    guint8 header[ISNS_HEADER_SIZE];

    isns_attr_list_destroy(&payload->keys);
    isns_attr_list_destroy(&payload->values);
    if (fits) {
        put_16(header, ISNS_VERSION);
        put_16(header + 2, (guint16)function);
        put_16(header + 4, (guint16)buf_avail(buffer));
        put_16(header + 6, flags | ISNS_F_CLIENT | ISNS_F_FIRST_PDU | ISNS_F_LAST_PDU);
        put_16(header + 8, xid);
        put_16(header + 10, 0);
        g_byte_array_append(message, header, sizeof(header));
        g_byte_array_append(message, buf_head(buffer), (guint)buf_avail(buffer));
    }
    if (buffer != NULL)
        buf_free(buffer);
    return fits ? g_steal_pointer(&message) : NULL;
}

/* IPv4 addresses are told as mapped ones (RFC 4171 6.3.1) */
static void
append_address(isns_attr_list_t *list, guint32 address_tag, guint32 port_tag,
               const Address *address)
{
    struct in6_addr in6 = IN6ADDR_ANY_INIT;

    if (address->sa.sa_family == AF_INET6) {
        in6 = address->in6.sin6_addr;
    } else {
        in6.s6_addr[10] = 0xff;
        in6.s6_addr[11] = 0xff;
        memcpy(&in6.s6_addr[12], &address->in.sin_addr, sizeof(address->in.sin_addr));
    }
    isns_attr_list_append_ipaddr(list, address_tag, &in6);
    isns_attr_list_append_uint32(list, port_tag, address_port(address));
}

/* The inbox is at TCP ports (6.3.5, 6.3.7) */
static void
append_portal(isns_attr_list_t *list, const IsnsPortal *portal)
{
    append_address(list, ISNS_TAG_PORTAL_IP_ADDRESS, ISNS_TAG_PORTAL_TCP_UDP_PORT,
                   &portal->address);
    if (portal->inbox == 0)
        return;

    isns_attr_list_append_uint32(list, ISNS_TAG_ESI_INTERVAL, ISNS_INQUIRY_SECONDS);
    isns_attr_list_append_uint32(list, ISNS_TAG_ESI_PORT, portal->inbox);
    isns_attr_list_append_uint32(list, ISNS_TAG_SCN_PORT, portal->inbox);
}

static gboolean
node_has_tag(const IsnsNode *node, guint16 tag)
{
    for (guint i = 0; i < node->n_tags; i++) {
        if (node->tags[i] == tag)
            return TRUE;
    }
    return FALSE;
}

/* Addresses of @tag, or with @tag 0 those that do not lead to the node */
static void
append_group(isns_attr_list_t *list, const IsnsEntity *entity, const IsnsNode *node, guint16 tag)
{
    gboolean has_tag = FALSE;

    for (guint i = 0; i < entity->n_portals; i++) {
        const IsnsPortal *portal = &entity->portals[i];

        if (tag != 0 ? portal->tag != tag : node_has_tag(node, portal->tag))
            continue;
        if (!has_tag && tag != 0)
            isns_attr_list_append_uint32(list, ISNS_TAG_PG_TAG, tag);
        else if (!has_tag)
            isns_attr_list_append_nil(list, ISNS_TAG_PG_TAG);
        has_tag = TRUE;
        append_address(list, ISNS_TAG_PG_PORTAL_IP_ADDR, ISNS_TAG_PG_PORTAL_TCP_UDP_PORT,
                       &portal->address);
    }
}

gboolean
isns_message_is_supported(void)
{
    return TRUE;
}

GByteArray *
isns_message_register(guint16 xid, const IsnsEntity *entity, const IsnsNode *node,
                      gboolean is_first)
{
    Payload payload;

    payload_init(&payload, entity->source);
    isns_attr_list_append_string(&payload.keys, ISNS_TAG_ENTITY_IDENTIFIER, entity->entity);
    isns_attr_list_append_string(&payload.values, ISNS_TAG_ENTITY_IDENTIFIER, entity->entity);
    isns_attr_list_append_uint32(&payload.values, ISNS_TAG_ENTITY_PROTOCOL,
                                 ISNS_ENTITY_PROTOCOL_ISCSI);
    isns_attr_list_append_uint32(&payload.values, ISNS_TAG_REGISTRATION_PERIOD, ISNS_PERIOD);
    for (guint i = 0; i < entity->n_portals && is_first; i++)
        append_portal(&payload.values, &entity->portals[i]);

    isns_attr_list_append_string(&payload.values, ISNS_TAG_ISCSI_NAME, node->name);
    isns_attr_list_append_uint32(&payload.values, ISNS_TAG_ISCSI_NODE_TYPE, ISNS_ISCSI_TARGET_MASK);
    if (node->alias[0] != '\0')
        isns_attr_list_append_string(&payload.values, ISNS_TAG_ISCSI_ALIAS, node->alias);
    for (guint i = 0; i < node->n_tags; i++)
        append_group(&payload.values, entity, node, node->tags[i]);
    append_group(&payload.values, entity, node, 0);
    return payload_finish(&payload, xid, ISNS_REGISTER, is_first ? ISNS_F_REPLACE : 0);
}

GByteArray *
isns_message_deregister(guint16 xid, const IsnsEntity *entity)
{
    Payload payload;

    payload_init(&payload, entity->source);
    isns_attr_list_append_string(&payload.values, ISNS_TAG_ENTITY_IDENTIFIER, entity->entity);
    return payload_finish(&payload, xid, ISNS_DEREGISTER, 0);
}

static GByteArray *
query(guint16 xid, const char *node, guint32 wanted_tag)
{
    Payload payload;

    payload_init(&payload, node);
    isns_attr_list_append_string(&payload.keys, ISNS_TAG_ISCSI_NAME, node);
    isns_attr_list_append_nil(&payload.values, wanted_tag);
    return payload_finish(&payload, xid, ISNS_QUERY, 0);
}

GByteArray *
isns_message_query(guint16 xid, const char *node)
{
    return query(xid, node, ISNS_TAG_ISCSI_NODE_TYPE);
}

GByteArray *
isns_message_query_entity(guint16 xid, const char *node)
{
    return query(xid, node, ISNS_TAG_ENTITY_IDENTIFIER);
}

/*
 * Nothing else is of use to a target (6.4.4). Those of initiators are left out by asking for targets
 * and ourselves; the other bit, initiators and ourselves, makes open-isns keep what happens to
 * us from the initiators, because it looks at the bits of the node that has changed.
 */
GByteArray *
isns_message_notify(guint16 xid, const char *node)
{
    Payload payload;

    payload_init(&payload, node);
    isns_attr_list_append_string(&payload.keys, ISNS_TAG_ISCSI_NAME, node);
    isns_attr_list_append_uint32(&payload.values, ISNS_TAG_ISCSI_SCN_BITMAP,
                                 ISNS_SCN_OBJECT_REMOVED_MASK | ISNS_SCN_TARGET_AND_SELF_ONLY_MASK);
    return payload_finish(&payload, xid, ISNS_NOTIFY, 0);
}
