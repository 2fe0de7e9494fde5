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
    guint8 wanted;    /* 1 << PduAsyncEvent */
    gboolean is_busy; /* a PDU in the transmit ring points to @data */
    guint16 logout_seconds;
    guint8 data[2 + SCSI_SENSE_MAX];
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
