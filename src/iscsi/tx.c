/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Sending
 *
 * The one idea: nothing is sent when it becomes ready, everything is sent when
 * the turn ends. Tasks that have something to say are in a queue; tx_flush()
 * lets each put its PDUs into the slots of a ring, in order, and hands all of
 * them to the kernel with one sendmsg(). Many answers thus cost one system
 * call, and none is delayed, since the turn ends before the loop sleeps.
 *
 * A slot holds the header with its digest, the padding with the data digest,
 * and a pointer to the data, which stays in the command's buffer. The numbers
 * (StatSN, ExpCmdSN, MaxCmdSN) are put in when the slot is filled, so they are
 * current. When the kernel takes no more, what is left stays in the ring until
 * the socket is writable; the rest stays in the tasks.
 */

#include "iscsi/tx.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "iscsi/async.h"
#include "iscsi/connection.h"
#include "iscsi/fence.h"
#include "iscsi/server.h"
#include "iscsi/session.h"
#include "util/crc32c.h"

G_STATIC_ASSERT((TX_SLOTS & (TX_SLOTS - 1)) == 0);
G_STATIC_ASSERT(TX_SLOTS * 3 <= SERVER_IOVECS);

static TxSlot *
slot_at(Tx *tx, guint i)
{
    return &tx->slots[i & (TX_SLOTS - 1)];
}

gboolean
tx_init(Connection *connection)
{
    Tx *tx = &connection->tx;

    list_init(&tx->queue);
    tx->slots = server_map(TX_SLOTS * sizeof(TxSlot));
    return tx->slots != NULL;
}

void
tx_deinit(Connection *connection)
{
    server_unmap(connection->tx.slots, TX_SLOTS * sizeof(TxSlot));
    connection->tx.slots = NULL;
}

gboolean
tx_is_idle(const Connection *connection)
{
    const Tx *tx = &connection->tx;

    return tx->first == tx->end && list_is_empty(&tx->queue) && !tx->wants_ping &&
           !tx->wants_window && async_is_idle(&connection->async);
}

void
tx_schedule(Connection *connection)
{
    if (connection_is_open(connection) && !connection->tx.is_flushing)
        deferred_run(&connection->flush, &connection->server->worker->loop);
}

void
tx_queue(Task *task)
{
    Connection *connection = task->connection;

    g_assert(connection != NULL);
    if (!list_is_linked(&task->out_link)) {
        gboolean is_held = connection->tx.is_held;

        task->is_passing = is_held && task->is_resending;
        list_append(is_held && !task->is_passing ? &connection->session->fence.waiting
                                                 : &connection->tx.queue,
                    &task->out_link);
    }
    tx_schedule(connection);
}

void
tx_queue_now(Task *task)
{
    Connection *connection = task->connection;

    task->is_passing = FALSE;
    list_unlink(&task->out_link);
    list_append(&connection->tx.queue, &task->out_link);
    tx_schedule(connection);
}

/* Filling the ring */

static void
put_digest(guint8 *p, guint32 crc)
{
    guint32 value = crc32c_final(crc);

    p[0] = (guint8)value;
    p[1] = (guint8)(value >> 8);
    p[2] = (guint8)(value >> 16);
    p[3] = (guint8)(value >> 24);
}

/* The header and data are final: add what the wire wants around them */
static void
slot_seal(const Connection *connection, TxSlot *slot)
{
    gsize pad = pdu_pad(slot->data_size);

    slot->head_size = PDU_BHS_SIZE;
    slot->tail_size = (guint8)pad;
    memset(slot->tail, 0, pad);

    if (connection->params.header_digest == ISCSI_DIGEST_CRC32C) {
        put_digest(slot->head + PDU_BHS_SIZE, crc32c_update(CRC32C_INIT, slot->head, PDU_BHS_SIZE));
        slot->head_size += PDU_DIGEST_SIZE;
    }
    if (connection->params.data_digest == ISCSI_DIGEST_CRC32C && slot->data_size != 0) {
        guint32 crc = crc32c_update(CRC32C_INIT, slot->data, slot->data_size);

        put_digest(slot->tail + pad, crc32c_update(crc, slot->tail, pad));
        slot->tail_size += PDU_DIGEST_SIZE;
    }
}

static void
slot_clear(TxSlot *slot)
{
    slot->data = NULL;
    slot->data_size = 0;
    slot->task = NULL;
    slot->ends_segment = FALSE;
    slot->ends_task = FALSE;
    slot->is_async = FALSE;
}

/* A NOP-In of our own: a ping, or one that only tells the window (RFC 7143 11.19) */
static gboolean
emit_nop_in(Connection *connection, TxSlot *slot)
{
    Tx *tx = &connection->tx;
    Session *session = connection->session;
    guint32 ttt = PDU_TAG_RESERVED;

    if (session == NULL || !(tx->wants_ping || tx->wants_window))
        return FALSE;

    if (tx->wants_ping) {
        ttt = connection->ping_ttt;
        tx->is_ping_last |= tx->is_ping_new;
        tx->is_ping_new = FALSE;
    }
    tx->wants_ping = FALSE;
    tx->wants_window = FALSE;

    pdu_encode_nop_in(slot->head, PDU_TAG_RESERVED, 0, ttt, 0);
    /* StatSN is told, not used up */
    pdu_set_sequence(slot->head, connection->stat_sn, session->exp_cmd_sn, session->max_cmd_sn);
    tx->told_max_cmd_sn = session->max_cmd_sn;
    return TRUE;
}

/* What answers no request */
static gboolean
emit_own(Connection *connection, TxSlot *slot)
{
    if (!async_is_idle(&connection->async) && async_emit(connection, slot))
        return TRUE;
    return emit_nop_in(connection, slot);
}

/* FALSE: nothing more for now */
static gboolean
emit_task(Connection *connection, Task *task, TxSlot *slot)
{
    Tx *tx = &connection->tx;
    guint32 stat_sn = connection->stat_sn;

    if (!task_emit(task, slot))
        return FALSE;

    slot->task = task;
    task->n_slots++;
    if (connection->stat_sn == stat_sn) {
        tx->proof_sn = stat_sn + 1;
        tx->is_ping_last = FALSE;
    }
    return TRUE;
}

/* It has nothing more, or what it has waits behind a fence */
static void
leave_queue(Task *task)
{
    list_unlink(&task->out_link);
    if (G_UNLIKELY(task->is_passing)) {
        task->is_passing = FALSE;
        if (task->is_active)
            tx_queue(task);
    }
}

static void
fill(Connection *connection)
{
    Tx *tx = &connection->tx;

    while (tx->end - tx->first < TX_SLOTS) {
        TxSlot *slot = slot_at(tx, tx->end);
        ListLink *link;

        slot_clear(slot);
        if (!emit_own(connection, slot)) {
            link = list_first(&tx->queue);
            if (link == NULL)
                return;

            if (!emit_task(connection, list_entry(link, Task, out_link), slot)) {
                leave_queue(list_entry(link, Task, out_link));
                continue;
            }
        }

        slot_seal(connection, slot);
        connection->n_pdus_sent++;
        tx->end++;
    }
}

void
tx_put(Connection *connection, const guint8 *bhs, const guint8 *data, gsize size)
{
    Tx *tx = &connection->tx;
    TxSlot *slot = slot_at(tx, tx->end);

    g_assert(tx->end - tx->first < TX_SLOTS);

    slot_clear(slot);
    memcpy(slot->head, bhs, PDU_BHS_SIZE);
    slot->data = data;
    slot->data_size = (guint32)size;
    slot_seal(connection, slot);
    tx->end++;
    tx_schedule(connection);
}

/* Sending the ring */

static gsize
slot_size(const TxSlot *slot)
{
    return (gsize)slot->head_size + slot->data_size + slot->tail_size;
}

/* The next free element of @iov, for what is left of a piece after skipping @skip bytes */
static guint
add_piece(struct iovec *iov, guint n, const void *base, gsize size, gsize *skip)
{
    gsize skipped = MIN(*skip, size);

    *skip -= skipped;
    if (skipped == size)
        return n;

    /* sendmsg() does not write to it */
    iov[n].iov_base = (void *)((guintptr)base + skipped);
    iov[n].iov_len = size - skipped;
    return n + 1;
}

static guint
gather(Connection *connection, struct iovec *iov, gsize *ret_size)
{
    Tx *tx = &connection->tx;
    gsize skip = tx->first_sent;
    gsize size = 0;
    guint n = 0;

    for (guint i = tx->first; i != tx->end; i++) {
        const TxSlot *slot = slot_at(tx, i);

        size += slot_size(slot);
        n = add_piece(iov, n, slot->head, slot->head_size, &skip);
        n = add_piece(iov, n, slot->data, slot->data_size, &skip);
        n = add_piece(iov, n, slot->tail, slot->tail_size, &skip);
    }

    *ret_size = size - tx->first_sent;
    return n;
}

/* The oldest slot is gone */
static void
slot_done(Connection *connection)
{
    Tx *tx = &connection->tx;
    TxSlot *slot = slot_at(tx, tx->first);
    Task *task = slot->task;

    tx->first++;
    tx->first_sent = 0;
    if (slot->is_async)
        async_sent(connection);
    if (task != NULL) {
        slot->task = NULL;
        task_slot_done(task, slot->ends_segment, slot->ends_task);
    }
}

static void
account(Connection *connection, gsize n)
{
    Tx *tx = &connection->tx;

    connection->bytes_sent += n;
    tx->progress_at = connection->server->worker->loop.now;
    while (n > 0 && tx->first != tx->end) {
        TxSlot *slot = slot_at(tx, tx->first);
        gsize rest = slot_size(slot) - tx->first_sent;

        if (n < rest) {
            tx->first_sent += n;
            return;
        }

        n -= rest;
        if (slot->task != NULL)
            tx->unsent -= MIN(tx->unsent, slot->data_size);
        slot_done(connection);
    }
}

/* Returns: the bytes that were sent, or -1: blocked, or closed */
static gssize
send_ring(Connection *connection)
{
    Tx *tx = &connection->tx;
    struct msghdr message = { .msg_iov = connection->server->iovecs };
    gsize size;
    gssize n;

    message.msg_iovlen = gather(connection, message.msg_iov, &size);
    n = sendmsg(connection->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR)
        return 0;
    if (n < 0 && errno != EAGAIN) {
        connection->peer_has_gone = TRUE;
        connection_close(connection, g_strerror(errno));
        return -1;
    }

    /* A partial write means that the kernel's buffer is full, and that it owes us an edge */
    if (n < 0 || (gsize)n < size) {
        tx->is_blocked = TRUE;
        watch_clear(&connection->watch, EPOLLOUT);
        watch_select(&connection->watch, EPOLLOUT);
    }
    if (n > 0)
        account(connection, (gsize)n);
    return n;
}

/* The window was closed as far as the initiator knows, and nothing tells it that it is open */
static gboolean
must_tell_window(const Connection *connection)
{
    const Session *session = connection->session;
    const Tx *tx = &connection->tx;

    return session != NULL && connection_is_full_feature(connection) &&
           pdu_sn_less(tx->told_max_cmd_sn, session->exp_cmd_sn) &&
           pdu_sn_less(tx->told_max_cmd_sn, session->max_cmd_sn);
}

static void
flush_loop(Connection *connection)
{
    Tx *tx = &connection->tx;
    gsize total = 0;

    while (connection_is_open(connection) && !tx->is_blocked) {
        gssize n;

        fill(connection);
        if (tx->first == tx->end && must_tell_window(connection)) {
            tx->wants_window = TRUE;
            fill(connection);
        }
        if (tx->first == tx->end && recovery_wants_ping(connection)) {
            tx->wants_ping = TRUE;
            fill(connection);
        }
        if (tx->first == tx->end)
            return;

        n = send_ring(connection);
        if (n < 0)
            return;

        total += (gsize)n;
        if (total >= TX_TURN_MAX && !tx->is_blocked) {
            /* The others first; the socket is still writable, so the next turn goes on */
            watch_select(&connection->watch, EPOLLOUT);
            return;
        }
    }
}

void
tx_end_segment(Task *task)
{
    Tx *tx = &task->connection->tx;

    for (guint i = tx->end; i != tx->first; i--) {
        TxSlot *slot = slot_at(tx, i - 1);

        if (slot->task == task) {
            slot->ends_segment = TRUE;
            return;
        }
    }
    g_assert_not_reached();
}

void
tx_flush(Connection *connection)
{
    Tx *tx = &connection->tx;

    if (tx->is_flushing || !connection_is_open(connection))
        return;

    tx->is_flushing = TRUE;
    flush_loop(connection);
    tx->is_flushing = FALSE;

    if (!connection_is_open(connection))
        return;
    if (connection->session != NULL && tx->unsent <= TX_UNSENT_MAX)
        session_run_waiting(connection->session);
    if (tx_is_idle(connection))
        connection_sent(connection);
}

void
tx_drop(Connection *connection)
{
    Tx *tx = &connection->tx;

    while (list_pop(&tx->queue) != NULL)
        continue;
    if (connection->session != NULL)
        fence_forget(connection->session, connection);
    while (tx->first != tx->end)
        slot_done(connection);
    tx->unsent = 0;
    connection->async.wanted = 0;
    tx->wants_ping = FALSE;
    tx->wants_window = FALSE;
}
