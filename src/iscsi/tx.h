/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "iscsi/task.h"

/*
 * Sending
 *
 * Tasks with something to say queue up in Tx.queue. At the end of the turn
 * their PDUs are put into the slots of a ring and all that is in the ring goes
 * out with one sendmsg().
 */

/* PDUs that can be made ready at once; with three pieces each they fit one sendmsg() */
#define TX_SLOTS 128

/* A connection with more unsent data than this starts no read (DESIGN 12, rule 14) */
#define TX_UNSENT_MAX ((gsize)2 << 20)

/* Bytes a connection may send in one turn */
#define TX_TURN_MAX ((gsize)1 << 20)

struct TxSlot {
    guint8 head[PDU_BHS_SIZE + PDU_DIGEST_SIZE];
    guint8 tail[4 + PDU_DIGEST_SIZE]; /* padding and data digest */
    guint8 head_size;
    guint8 tail_size;
    guint8 ends_segment; /* the buffer of the command's segment is free after this */
    guint8 ends_task;    /* the task has nothing more to say after this */
    guint8 is_async;     /* @data is the connection's, for asynchronous messages */
    guint32 data_size;
    const guint8 *data;
    Task *task; /* or NULL */
};

typedef struct {
    TxSlot *slots;         /* TX_SLOTS of them */
    guint first;           /* oldest that is not sent; counts up, modulo TX_SLOTS */
    guint end;             /* behind the newest */
    gsize first_sent;      /* bytes of the oldest that are gone */
    List queue;            /* Task.out_link */
    gboolean is_held;      /* behind a fence: what is queued goes to that, see fence.c */
    gsize unsent;          /* bytes of data in the queue and the ring */
    gboolean is_blocked;   /* the kernel takes no more */
    gboolean wants_ping;   /* a NOP-In that asks for an answer */
    gboolean wants_window; /* a NOP-In that tells the window */
    gboolean is_flushing;
    /* Data-Ins and R2Ts use up no StatSN: all of them have come when ExpStatSN is @proof_sn */
    guint32 proof_sn;
    gboolean is_ping_last; /* or when the newest ping is answered, which was sent after them */
    gboolean is_ping_new;  /* it was not sent yet: only its first copy proves that */
    gint64 progress_at;    /* when the kernel last took something */
    guint32 told_max_cmd_sn;
} Tx;

gboolean tx_init(Connection *connection); /* FALSE: no memory */
void tx_deinit(Connection *connection);

/* @task has something to send: what is told by its kind and state */
void tx_queue(Task *task);

/* The same, though the connection is held: it is what the others wait for */
void tx_queue_now(Task *task);

/* At the end of the turn, tx_flush() is called */
void tx_schedule(Connection *connection);
void tx_flush(Connection *connection);

/* The segment of @task, which has PDUs in the ring, is free after the last of these */
void tx_end_segment(Task *task);

/* A PDU of the login, made elsewhere; @data stays until the ring is empty */
void tx_put(Connection *connection, const guint8 *bhs, const guint8 *data, gsize size);

gboolean tx_is_idle(const Connection *connection);

/* The connection is closed: nothing more will be sent */
void tx_drop(Connection *connection);
