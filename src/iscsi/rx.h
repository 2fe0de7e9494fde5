/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "iscsi/pdu.h"
#include "iscsi/task.h"

/*
 * Receiving: a byte stream is cut into PDUs
 */

/* Bytes a connection takes from its socket in one turn */
#define RX_TURN_MAX ((gsize)256 << 10)

#define RX_HEADER_MAX (PDU_BHS_SIZE + PDU_AHS_SIZE_MAX + PDU_DIGEST_SIZE)

typedef enum {
    RX_HEADER,  /* BHS, AHS, header digest */
    RX_DATA,    /* data segment */
    RX_TRAILER, /* padding and data digest */
} RxState;

typedef struct {
    gint64 began_at; /* the PDU whose bytes come in */
    RxState state;
    guint stash_size; /* bytes of an incomplete header, or of a trailer */
    guint8 *data;     /* where the data segment goes, or NULL: it is discarded */
    gsize data_keep;  /* bytes of it that @data takes; the rest is discarded */
    gsize data_size;
    gsize data_received;
    guint64 n_kept; /* bytes that @data has taken, of all PDUs */
    gsize trailer_size;
    guint32 crc;
    gboolean is_discarded; /* nobody wants this PDU any more */
    gboolean is_doubtful;  /* its header digest is wrong */
    gboolean was_doubtful; /* that of the one before was, and nothing confirms its length */
    Task *task;            /* what the PDU belongs to, or NULL */
    TaskR2t *r2t;          /* Data-Out: what it answers, or NULL */
    guint8 bhs[PDU_BHS_SIZE];
    guint8 stash[RX_HEADER_MAX];
} Rx;

/* The socket is readable: take what it has */
void rx_turn(Connection *connection);

/* @task is going: what still comes for it is discarded */
void rx_forget(Connection *connection, const Task *task);
