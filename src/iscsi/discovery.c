/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Text exchanges and SendTargets, RFC 7143 11.10, 11.11 and 13.3
 *
 * A Text Request begins an exchange (its Target Transfer Tag is reserved) or
 * goes on with one (it returns the tag of our last response). The exchange ends
 * when the initiator has said its last (F bit) and so have we.
 *
 * A list of targets may be longer than any buffer. So it is not made and then
 * sent, but made while it is sent: the writer is filled with as many records as
 * fit, handed out in pieces that the initiator takes, and filled again from
 * where the list was, which is the name of the last target and the number of
 * its next address. Nothing is held of the targets between two requests.
 *
 * What SendTargets asks for: in a discovery session all targets, or the one
 * named. In a normal session its own target, by name or by nothing; another one
 * is not told, and All is refused there (RFC 7143 appendix C).
 */

#include "iscsi/discovery.h"

#include <string.h>

/* Any value but the reserved one: there is one exchange at a time */
#define EXCHANGE_TTT 1

void
discovery_init(Discovery *discovery, const DiscoveryConfig *config)
{
    memset(discovery, 0, G_STRUCT_OFFSET(Discovery, reader_buffer));
    discovery->config = *config;
    discovery->ttt = EXCHANGE_TTT;
    text_reader_init(&discovery->reader, discovery->reader_buffer,
                     config->max_text_size != 0
                         ? MIN(config->max_text_size, sizeof discovery->reader_buffer)
                         : sizeof discovery->reader_buffer);
    text_writer_init(&discovery->writer, discovery->writer_buffer, sizeof discovery->writer_buffer);
}

/*
 * The list
 */

static gboolean
is_link_local(const Address *address)
{
    return address->sa.sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&address->in6.sin6_addr);
}

/* Whether a link-local address, which says nothing elsewhere, is of the link of this connection */
static gboolean
is_on_link(const Discovery *discovery, const Address *address)
{
    const Address *local = &discovery->config.local;

    return !is_link_local(address) ||
           (is_link_local(local) && (address->in6.sin6_scope_id == 0 ||
                                     address->in6.sin6_scope_id == local->in6.sin6_scope_id));
}

/*
 * Where this connection reaches what is announced; FALSE when it does not. A zone is told nobody: it
 * is a name of this machine, and RFC 3986, by which RFC 7143 13.8 goes, has no place for it. The
 * initiator adds its own.
 */
static gboolean
resolve(const Discovery *discovery, const Address *announced, char *text, gsize size)
{
    Address address = *announced;

    if (address_is_wildcard(announced)) {
        /* a wildcard of IPv6 listens for IPv4 too */
        if (announced->sa.sa_family == AF_INET &&
            discovery->config.local.sa.sa_family == AF_INET6 &&
            !IN6_IS_ADDR_V4MAPPED(&discovery->config.local.in6.sin6_addr))
            return FALSE;
        address = discovery->config.local;
        address_set_port(&address, address_port(announced));
    }

    if (!is_on_link(discovery, &address))
        return FALSE;
    if (address.sa.sa_family == AF_INET6)
        address.in6.sin6_scope_id = 0;
    address_format(&address, text, size);
    return TRUE;
}

/* A wildcard may name the same address as a portal beside it */
static gboolean
was_announced(const Discovery *discovery, const DiscoveryTarget *target, guint i, const char *text)
{
    char other[ADDRESS_TEXT_MAX];

    for (guint j = 0; j < i; j++) {
        if (target->announces[j].tag == target->announces[i].tag &&
            resolve(discovery, &target->announces[j].address, other, sizeof other) &&
            strcmp(other, text) == 0)
            return TRUE;
    }

    return FALSE;
}

static gboolean
is_reached(const Discovery *discovery, const char *name, guint16 tag)
{
    const DiscoveryConfig *config = &discovery->config;

    return config->reaches == NULL || config->reaches(config->user_data, name, tag);
}

/* Write what does not fit later: the writer forgets that it was asked */
static gboolean
postpone(TextWriter *writer)
{
    writer->overflow = FALSE;
    return FALSE;
}

/* FALSE when the writer is full and the record is not complete */
static gboolean
write_target(Discovery *discovery, const DiscoveryTarget *target)
{
    TextWriter *writer = &discovery->writer;
    char text[ADDRESS_TEXT_MAX];

    if (!discovery->is_inside) {
        if (!text_write(writer, "TargetName", target->name))
            return postpone(writer);
        g_strlcpy(discovery->cursor, target->name, sizeof discovery->cursor);
        discovery->is_inside = TRUE;
        discovery->next_announce = 0;
    }

    for (; discovery->next_announce < target->n_announces; discovery->next_announce++) {
        const IscsiAnnounce *announce = &target->announces[discovery->next_announce];

        if (!is_reached(discovery, target->name, announce->tag) ||
            !resolve(discovery, &announce->address, text, sizeof text) ||
            was_announced(discovery, target, discovery->next_announce, text))
            continue;
        if (!text_write_format(writer, "TargetAddress", "%s,%u", text, announce->tag))
            return postpone(writer);
    }

    discovery->is_inside = FALSE;
    return TRUE;
}

static gboolean
find_next(const Discovery *discovery, DiscoveryTarget *ret_target)
{
    const DiscoveryConfig *config = &discovery->config;

    /* in the middle of a target that has gone, the list goes on with the one behind it */
    if ((discovery->is_inside || discovery->list == DISCOVERY_LIST_ONE) &&
        config->find(config->user_data, discovery->cursor, ret_target))
        return TRUE;
    return discovery->list == DISCOVERY_LIST_ALL &&
           config->next(config->user_data, discovery->cursor, ret_target);
}

static void
fill(Discovery *discovery)
{
    DiscoveryTarget target;

    while (discovery->list != DISCOVERY_LIST_NONE) {
        if (!find_next(discovery, &target)) {
            discovery->list = DISCOVERY_LIST_NONE;
            break;
        }
        if (discovery->is_inside && strcmp(target.name, discovery->cursor) != 0)
            discovery->is_inside = FALSE;
        if (!write_target(discovery, &target))
            break;
        if (discovery->list == DISCOVERY_LIST_ONE)
            discovery->list = DISCOVERY_LIST_NONE;
    }
}

/*
 * Keys
 */

static gboolean
begin_list(Discovery *discovery, const char *value)
{
    const DiscoveryConfig *config = &discovery->config;
    gboolean is_normal = config->type == ISCSI_SESSION_NORMAL;
    gboolean is_all = strcmp(value, "All") == 0;
    g_autofree char *name = NULL;

    discovery->is_inside = FALSE;
    discovery->cursor[0] = '\0';
    if (is_normal && value[0] == '\0') {
        value = config->target_name;
    } else if (is_all && !is_normal) {
        discovery->list = DISCOVERY_LIST_ALL;
        return TRUE;
    }

    name = name_normalize_iscsi(value);
    if (name == NULL || !name_check_iscsi(name, NULL))
        return text_write(&discovery->writer, "SendTargets", "Reject");
    if (is_normal && strcmp(name, config->target_name) != 0)
        return TRUE;
    g_strlcpy(discovery->cursor, name, sizeof discovery->cursor);
    discovery->list = DISCOVERY_LIST_ONE;
    return TRUE;
}

static gboolean
receive_key(Discovery *discovery, const char *key, const char *value)
{
    guint64 bit = (guint64)1 << KEY_SEND_TARGETS;

    if (strcmp(key, key_get(KEY_SEND_TARGETS)->name) != 0)
        return negotiate_receive(&discovery->negotiation, key, value, &discovery->writer) ==
               NEGOTIATE_OK;

    if ((discovery->negotiation.received & bit) != 0)
        return FALSE;
    discovery->negotiation.received |= bit;
    return begin_list(discovery, value);
}

/* The text of a request is complete */
static gboolean
receive_text(Discovery *discovery)
{
    const char *key, *value;
    TextResult result;

    text_writer_clear(&discovery->writer);
    while ((result = text_reader_next(&discovery->reader, &key, &value)) == TEXT_OK) {
        if (!receive_key(discovery, key, value))
            return FALSE;
    }
    text_reader_clear(&discovery->reader);

    return result == TEXT_END &&
           negotiate_end_request(&discovery->negotiation, &discovery->writer) == NEGOTIATE_OK;
}

/*
 * Requests
 */

static DiscoveryAction
reject(Discovery *discovery, PduRejectReason reason)
{
    discovery->is_active = FALSE;
    discovery->reason = reason;
    return DISCOVERY_REJECT;
}

static DiscoveryAction
respond(Discovery *discovery, guint8 flags)
{
    gboolean is_final = (flags & PDU_FINAL) != 0;

    pdu_encode_text_response(discovery->response, discovery->itt, flags, discovery->lun,
                             is_final ? PDU_TAG_RESERVED : discovery->ttt,
                             discovery->response_size);
    if (!is_final)
        return DISCOVERY_SEND;

    /* what was negotiated holds from here: RFC 7143 6 */
    *discovery->config.params = discovery->negotiation.params;
    discovery->is_active = FALSE;
    return DISCOVERY_DONE;
}

static gboolean
has_more(const Discovery *discovery)
{
    return discovery->list != DISCOVERY_LIST_NONE || !text_writer_is_empty(&discovery->writer);
}

static DiscoveryAction
send_next(Discovery *discovery, gboolean is_final)
{
    gsize max_size = discovery->config.params->max_xmit_data_segment_length;

    if (text_writer_is_empty(&discovery->writer))
        text_writer_clear(&discovery->writer);
    if (discovery->writer.offset == 0)
        fill(discovery);
    discovery->response_size =
        text_writer_take(&discovery->writer, max_size, &discovery->response_data);

    if (has_more(discovery))
        return respond(discovery, PDU_CONTINUE);
    return respond(discovery, is_final ? PDU_FINAL : 0);
}

static void
begin(Discovery *discovery, const guint8 *bhs)
{
    discovery->is_active = TRUE;
    discovery->itt = pdu_itt(bhs);
    discovery->lun = pdu_lun(bhs);
    discovery->n_pdus = 0;
    discovery->list = DISCOVERY_LIST_NONE;
    text_reader_clear(&discovery->reader);
    text_writer_clear(&discovery->writer);
    negotiate_init_full_feature(&discovery->negotiation, discovery->config.offer,
                                discovery->config.type, discovery->config.params);
    discovery->negotiation.is_asked = discovery->config.is_asked;
}

DiscoveryAction
discovery_receive(Discovery *discovery, const guint8 *bhs, const guint8 *data, gsize size)
{
    if (pdu_ttt(bhs) == PDU_TAG_RESERVED)
        begin(discovery, bhs);
    else if (!discovery->is_active || pdu_ttt(bhs) != discovery->ttt ||
             pdu_itt(bhs) != discovery->itt)
        return reject(discovery, PDU_REJECT_INVALID_FIELD);

    if (has_more(discovery)) {
        if (size != 0 || pdu_is_continued(bhs))
            return reject(discovery, PDU_REJECT_PROTOCOL_ERROR);
        return send_next(discovery, pdu_is_final(bhs));
    }

    if (++discovery->n_pdus > DISCOVERY_PDUS_MAX ||
        text_reader_add(&discovery->reader, data, size) != TEXT_OK)
        return reject(discovery, PDU_REJECT_PROTOCOL_ERROR);
    if (pdu_is_continued(bhs)) {
        discovery->response_size = 0;
        return respond(discovery, 0);
    }

    if (!receive_text(discovery))
        return reject(discovery, PDU_REJECT_PROTOCOL_ERROR);
    return send_next(discovery, pdu_is_final(bhs));
}
