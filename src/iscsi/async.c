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
 */

#include "iscsi/async.h"

#include "iscsi/connection.h"
#include "iscsi/session.h"
#include "iscsi/tx.h"
#include "scsi/nexus.h"
#include "util/bytes.h"

#define EVENT_BIT(event) ((guint8)(1u << (event)))

static gboolean
may_tell(const Connection *connection)
{
    const Session *session = connection->session;

    return connection_is_full_feature(connection) && session != NULL && !session->is_closing &&
           session->logout == NULL && !session->is_logged_out;
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
gboolean
async_scsi_event(Session *session)
{
    if (session->target == NULL || !session->target->async_events)
        return FALSE;

    list_foreach(link, &session->connections) {
        Connection *connection = list_entry(link, Connection, session_link);

        if (may_tell(connection)) {
            want(connection, PDU_ASYNC_SCSI);
            return TRUE;
        }
    }
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
        pdu_encode_async_message(bhs, 0, PDU_ASYNC_CONNECTION_DROP, 0, connection->cid,
                                 (guint16)params->default_time2wait, 0, 0);
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
    if (!emit_notice(connection, slot->head) && !emit_scsi_event(connection, slot))
        return FALSE;

    pdu_set_sequence(slot->head, connection->stat_sn++, session->exp_cmd_sn, session->max_cmd_sn);
    connection->tx.told_max_cmd_sn = session->max_cmd_sn;
    return TRUE;
}

void
async_sent(Connection *connection)
{
    connection->async.is_busy = FALSE;
}
