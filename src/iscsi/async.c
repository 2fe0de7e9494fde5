/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Asynchronous messages
 *
 * RFC 7143 11.9. The one idea: nothing is queued. That something is to be told
 * is a bit of the connection, and what it is, is looked up when the PDU is put
 * into the transmit ring: SCSI events come from the nexus, which remembers them
 * as bits of its logical units. However much happens while an initiator does
 * not read, the memory is the same, and it learns each thing once.
 *
 * Each message uses up a StatSN. It comes before answers that are not in the
 * ring yet. After a logout nothing is told any more.
 *
 * SCSI events are told only if the target's parameters say so: asynchronous
 * event reporting has gone from SPC-3, and not all initiators expect it. The
 * unit attention stays pending all the same. What initiators make of the
 * messages differs: that of Linux scans for logical units at 3F/0E and ignores
 * other SCSI events, logs out when asked to and then logs in again, and takes
 * Time2Wait from the announcement of a drop.
 *
 * Negotiation requests are told under the same condition, because iscsid of
 * open-iscsi does not answer one: it takes it for an error of the connection
 * ("dropping session" in its log) and logs in again. They say only that there
 * is something to declare; what it is, the answer to the initiator's Text
 * Request says. An initiator with a Text Request pending need not send another
 * (RFC 7143 11.9.1), so none is told while an exchange is under way.
 */

#include "iscsi/async.h"

#include "iscsi/connection.h"
#include "iscsi/remnant.h"
#include "iscsi/server.h"
#include "iscsi/session.h"
#include "iscsi/tx.h"
#include "scsi/nexus.h"
#include "util/bytes.h"

#define EVENT_BIT(event) ((guint8)(1u << (event)))

/* Event 2, of other connections: those of the session's remnants that were not told */
#define ASYNC_REMNANTS ((guint8)0x80)

/* How long the initiator has to answer a negotiation request; nothing happens when it does not */
#define NEGOTIATION_SECONDS 10

static gboolean
may_tell(const Connection *connection)
{
    const Session *session = connection->session;

    return connection_is_full_feature(connection) && session != NULL && !session->is_closing &&
           !connection->is_leaving;
}

static void
want(Connection *connection, PduAsyncEvent event)
{
    connection->async.wanted |= EVENT_BIT(event);
    tx_schedule(connection);
}

void
async_request_logout(Connection *connection, guint seconds)
{
    if (!may_tell(connection))
        return;

    connection->async.logout_seconds = (guint16)MIN(seconds, G_MAXUINT16);
    want(connection, PDU_ASYNC_LOGOUT_REQUEST);
}

void
async_announce_drop(Connection *connection, PduAsyncEvent event)
{
    if (!may_tell(connection))
        return;

    /* Whatever else there was to be told does not matter any more */
    connection->async.wanted = EVENT_BIT(event);
    tx_flush(connection);
}

/* Any connection of the session may tell; it is the first that is there */
static Connection *
find_teller(const Session *session)
{
    list_foreach(link, &session->connections) {
        Connection *connection = list_entry(link, Connection, session_link);

        if (may_tell(connection))
            return connection;
    }
    return NULL;
}

gboolean
async_scsi_event(Session *session)
{
    Connection *connection;

    if (session->target == NULL || !session->target->async_events)
        return FALSE;

    connection = find_teller(session);
    if (connection != NULL)
        want(connection, PDU_ASYNC_SCSI);
    return connection != NULL;
}

void
async_tell_remnant(Session *session)
{
    Connection *connection = find_teller(session);

    if (connection == NULL)
        return;
    connection->async.wanted |= ASYNC_REMNANTS;
    tx_schedule(connection);
}

static gboolean
emit_remnant(Connection *connection, guint8 *bhs)
{
    const Session *session = connection->session;

    if ((connection->async.wanted & ASYNC_REMNANTS) == 0)
        return FALSE;

    list_foreach(link, &session->remnants) {
        Remnant *remnant = list_entry(link, Remnant, link);

        if (remnant->is_told)
            continue;
        remnant->is_told = TRUE;
        pdu_encode_async_message(bhs, 0, PDU_ASYNC_CONNECTION_DROP, 0, remnant->cid,
                                 (guint16)session->params.default_time2wait,
                                 remnant_time2retain(session), 0);
        return TRUE;
    }
    connection->async.wanted &= (guint8)~ASYNC_REMNANTS;
    return FALSE;
}

/* The announcement is said first: behind it nothing is certain to arrive */
static gboolean
emit_notice(Connection *connection, guint8 *bhs)
{
    const IscsiParams *params = &connection->session->params;
    Async *async = &connection->async;

    if (async->wanted & EVENT_BIT(PDU_ASYNC_SESSION_DROP)) {
        async->wanted = 0;
        pdu_encode_async_message(bhs, 0, PDU_ASYNC_SESSION_DROP, 0, 0,
                                 (guint16)params->default_time2wait, 0, 0);
    } else if (async->wanted & EVENT_BIT(PDU_ASYNC_CONNECTION_DROP)) {
        async->wanted = 0;
        pdu_encode_async_message(
            bhs, 0, PDU_ASYNC_CONNECTION_DROP, 0, connection->cid,
            (guint16)params->default_time2wait,
            connection->is_replaced ? remnant_time2retain(connection->session) : 0, 0);
    } else if (async->wanted & EVENT_BIT(PDU_ASYNC_LOGOUT_REQUEST)) {
        async->wanted &= (guint8)~EVENT_BIT(PDU_ASYNC_LOGOUT_REQUEST);
        pdu_encode_async_message(bhs, 0, PDU_ASYNC_LOGOUT_REQUEST, 0, 0, 0, async->logout_seconds,
                                 0);
    } else {
        return FALSE;
    }
    return TRUE;
}

static gboolean
is_in_text(const Connection *connection)
{
    const ConnectionText *text = connection->text;

    return text != NULL && (text->is_busy || text->discovery.is_active);
}

/* What a Text Response would declare now, if that is something else than what was declared */
static gboolean
has_changed(const Connection *connection, guint32 *ret_size)
{
    const IscsiTarget *target = connection->session->target;
    IscsiParams offer;

    if (target == NULL)
        return FALSE;
    server_offer(target, &offer);
    *ret_size = offer.max_recv_data_segment_length;
    return *ret_size != connection->params.max_recv_data_segment_length;
}

void
async_request_negotiation(Connection *connection)
{
    guint32 size;

    if (!may_tell(connection))
        return;

    if (!has_changed(connection, &size))
        connection->async.asked_size = 0;
    else if (connection->session->target->async_events && size != connection->async.asked_size &&
             !is_in_text(connection))
        want(connection, PDU_ASYNC_RENEGOTIATE);
}

void
async_text_ended(Connection *connection)
{
    connection->async.asked_size = 0;
    async_request_negotiation(connection);
}

static gboolean
emit_negotiation(Connection *connection, guint8 *bhs)
{
    Async *async = &connection->async;
    guint32 size;

    if ((async->wanted & EVENT_BIT(PDU_ASYNC_RENEGOTIATE)) == 0)
        return FALSE;

    async->wanted &= (guint8)~EVENT_BIT(PDU_ASYNC_RENEGOTIATE);
    if (!has_changed(connection, &size) || !connection->session->target->async_events ||
        is_in_text(connection))
        return FALSE;
    async->asked_size = size;
    pdu_encode_async_message(bhs, 0, PDU_ASYNC_RENEGOTIATE, 0, 0, 0, NEGOTIATION_SECONDS, 0);
    return TRUE;
}

/* Each unit once: there are no more than the session has tasks */
void
async_terminate_tasks(Connection *connection, guint64 lun)
{
    Async *async = &connection->async;

    if (!may_tell(connection))
        return;

    for (guint i = 0; i < async->n_luns; i++) {
        if (async->luns[i] == lun)
            return;
    }
    async->luns = g_realloc_n(async->luns, async->n_luns + 1, sizeof(*async->luns));
    async->luns[async->n_luns++] = lun;
    want(connection, PDU_ASYNC_TASKS_TERMINATED);
}

static gboolean
emit_termination(Connection *connection, guint8 *bhs)
{
    Async *async = &connection->async;

    if ((async->wanted & EVENT_BIT(PDU_ASYNC_TASKS_TERMINATED)) == 0)
        return FALSE;

    pdu_encode_async_message(bhs, async->luns[--async->n_luns], PDU_ASYNC_TASKS_TERMINATED, 0, 0, 0,
                             0, 0);
    if (async->n_luns == 0)
        async->wanted &= (guint8)~EVENT_BIT(PDU_ASYNC_TASKS_TERMINATED);
    return TRUE;
}

static gboolean
emit_scsi_event(Connection *connection, TxSlot *slot)
{
    Async *async = &connection->async;
    guint8 lun[8];
    guint8 size;

    if (async->is_busy || !(async->wanted & EVENT_BIT(PDU_ASYNC_SCSI)))
        return FALSE;

    size = nexus_take_event(connection->session->nexus, lun, async->data + 2);
    if (size == 0) {
        async->wanted &= (guint8)~EVENT_BIT(PDU_ASYNC_SCSI);
        return FALSE;
    }

    put_be16(async->data, size);
    slot->data = async->data;
    slot->data_size = 2 + (guint32)size;
    slot->is_async = TRUE;
    async->is_busy = TRUE;
    pdu_encode_async_message(slot->head, get_be64(lun), PDU_ASYNC_SCSI, 0, 0, 0, 0,
                             slot->data_size);
    return TRUE;
}

gboolean
async_emit(Connection *connection, TxSlot *slot)
{
    Session *session = connection->session;

    if (!may_tell(connection)) {
        connection->async.wanted = 0;
        return FALSE;
    }
    if (!emit_notice(connection, slot->head) && !emit_remnant(connection, slot->head) &&
        !emit_termination(connection, slot->head) && !emit_negotiation(connection, slot->head) &&
        !emit_scsi_event(connection, slot))
        return FALSE;

    pdu_set_sequence(slot->head, connection->stat_sn++, session->exp_cmd_sn, session->max_cmd_sn);
    connection->tx.told_max_cmd_sn = session->max_cmd_sn;
    if (session->params.error_recovery_level > 0)
        recovery_keep_message(connection, slot);
    return TRUE;
}

void
async_sent(Connection *connection)
{
    connection->async.is_busy = FALSE;
}
