/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "iscsi/pdu.h"
#include "scsi/sense.h"

/*
 * Asynchronous messages: what a connection has to tell without having been asked
 */

typedef struct Connection Connection;
typedef struct Session Session;
typedef struct TxSlot TxSlot;

/* What is to be told; a bit of an event, so that nothing queues up */
typedef struct {
    guint8 wanted;    /* 1 << PduAsyncEvent, and ASYNC_REMNANTS */
    gboolean is_busy; /* a PDU in the transmit ring points to @data */
    guint16 logout_seconds;
    guint32 asked_size; /* the MaxRecvDataSegmentLength that event 4 was about; 0: not asked */
    guint8 data[2 + SCSI_SENSE_MAX];
    guint64 *luns; /* units whose tasks on this connection were ended, or NULL */
    guint n_luns;
} Async;

/* Event 1: the initiator shall log out; told at the end of the turn */
void async_request_logout(Connection *connection, guint seconds);

/**
 * async_announce_drop() - event 2 or 3: @connection, or all of its session, is about to be closed
 *
 * Sent at once as far as the socket takes it; the caller closes. May close the connection itself when
 * the socket fails.
 */
void async_announce_drop(Connection *connection, PduAsyncEvent event);

/* A connection of @session has ended that the initiator does not know of: event 2 on another one */
void async_tell_remnant(Session *session);

/**
 * async_request_negotiation() - event 4, when what the target offers is not what was declared
 *
 * Nothing is told twice, and nothing while a text exchange is under way: it is looked at again when
 * that has ended.
 */
void async_request_negotiation(Connection *connection);

/* A text exchange has ended, in order or not */
void async_text_ended(Connection *connection);

/* Event 5: all tasks for @lun, as on the wire, end; only where FastAbort was agreed on */
void async_terminate_tasks(Connection *connection, guint64 lun);

/**
 * async_scsi_event() - the nexus of @session has something to tell: event 0
 *
 * Returns: TRUE: it will be fetched with nexus_take_event(); FALSE: the target does not tell such
 */
gboolean async_scsi_event(Session *session);

/* For tx.c: put the next message into @slot, if there is one */
gboolean async_emit(Connection *connection, TxSlot *slot);

/* For tx.c: the PDU with data has left, or was dropped */
void async_sent(Connection *connection);

static inline gboolean
async_is_idle(const Async *async)
{
    return async->wanted == 0;
}
