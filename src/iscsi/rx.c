/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Receiving
 *
 * A ready socket is asked once a turn for at most RX_TURN_MAX bytes, into a
 * buffer that all connections of the worker share, and the PDUs are parsed in
 * place. Only the rest of a data segment that was begun in an earlier turn goes
 * straight to where it belongs, in the same call. The shared buffer is empty
 * again when the turn ends: data has been copied to its place and an incomplete
 * header into the connection's stash.
 *
 * What a header asks for is decided in this file once; the data segment is
 * then either stored where the handler of the header said, or discarded. A PDU
 * counts as received when its last byte is here and its digests are right, not
 * before: that is when CmdSN advances.
 */

#include "iscsi/rx.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "iscsi/connection.h"
#include "iscsi/dataseq.h"
#include "iscsi/fence.h"
#include "iscsi/gap.h"
#include "iscsi/server.h"
#include "iscsi/session.h"
#include "util/crc32c.h"

static gboolean
has_header_digest(const Connection *connection)
{
    return connection->params.header_digest == ISCSI_DIGEST_CRC32C;
}

static gboolean
has_data_digest(const Connection *connection)
{
    return connection->params.data_digest == ISCSI_DIGEST_CRC32C;
}

static gboolean
digest_is_right(const guint8 *digest, guint32 crc)
{
    guint32 value = crc32c_final(crc);

    return digest[0] == (guint8)value && digest[1] == (guint8)(value >> 8) &&
           digest[2] == (guint8)(value >> 16) && digest[3] == (guint8)(value >> 24);
}

static void
discard(Rx *rx)
{
    rx->data = NULL;
    rx->data_keep = 0;
    rx->task = NULL;
    rx->r2t = NULL;
    rx->is_discarded = TRUE;
}

void
rx_forget(Connection *connection, const Task *task)
{
    if (connection->rx.task == task)
        discard(&connection->rx);
}

/* Headers of the full feature phase */

static TaskClass
class_of(TaskKind kind, gboolean is_immediate)
{
    if (!is_immediate)
        return TASK_CLASS_WINDOW;
    if (kind == TASK_MANAGEMENT || kind == TASK_LOGOUT)
        return TASK_CLASS_RESERVE;
    return TASK_CLASS_IMMEDIATE;
}

/* The request in the header is rejected: its CmdSN does not count as received (RFC 7143 7.3) */
static void
reject(Connection *connection, PduRejectReason reason)
{
    gap_note(connection->session, connection->rx.bhs);
    connection_reject(connection, connection->rx.bhs, reason);
}

/* A slot for a request that has a CmdSN, or NULL: it is ignored or was rejected */
static Task *
take_request(Connection *connection, TaskKind kind)
{
    Session *session = connection->session;
    const guint8 *bhs = connection->rx.bhs;
    gboolean is_immediate = pdu_is_immediate(bhs);
    Task *task, *other;

    /* Outside of the window: silently ignored, RFC 7143 4.2.2.1 */
    if (!is_immediate && session_order(session, bhs) == SESSION_IGNORE)
        return NULL;

    if (pdu_itt(bhs) == PDU_TAG_RESERVED) {
        reject(connection, PDU_REJECT_INVALID_FIELD);
        return NULL;
    }
    other = session_find_task(session, pdu_itt(bhs));
    if (other != NULL && other->is_kept && !other->is_active) {
        /* Who uses the tag again has the answer, if not all answers before it */
        session_forget_tag(session, other);
    } else if (other != NULL) {
        reject(connection, PDU_REJECT_TASK_IN_PROGRESS);
        return NULL;
    }

    task = session_take_task(session, connection, kind, class_of(kind, is_immediate), bhs);
    if (task == NULL && is_immediate) {
        /* Those whose answers are ready make room */
        tx_flush(connection);
        if (connection_is_full_feature(connection))
            task = session_take_task(session, connection, kind, class_of(kind, is_immediate), bhs);
    }
    if (task == NULL)
        reject(connection, PDU_REJECT_IMMEDIATE);
    return task;
}

static void
on_command(Connection *connection, const guint8 *ahs, gsize ahs_size)
{
    Rx *rx = &connection->rx;
    PduAhs parsed = { 0 };
    SessionOrder order = SESSION_NOW;

    if (ahs_size != 0 && !pdu_ahs_parse(ahs, ahs_size, &parsed)) {
        reject(connection, PDU_REJECT_INVALID_FIELD);
        discard(rx);
        return;
    }
    if (!pdu_is_immediate(rx->bhs))
        order = session_order(connection->session, rx->bhs);

    rx->task = take_request(connection, TASK_COMMAND);
    if (rx->task == NULL) {
        discard(rx);
        return;
    }

    rx->task->command.bidirectional_length = parsed.has_read_length ? parsed.read_length : 0;
    if (order == SESSION_NOW)
        task_command_begin(rx->task);
    dataseq_command_header(rx->task, rx);
}

static void
on_nop_out(Connection *connection)
{
    Session *session = connection->session;
    Rx *rx = &connection->rx;
    gsize size;

    if (pdu_itt(rx->bhs) == PDU_TAG_RESERVED) {
        connection_pong(connection, rx->bhs);
        discard(rx);
        return;
    }

    rx->task = take_request(connection, TASK_NOP);
    if (rx->task == NULL) {
        discard(rx);
        return;
    }

    /* The answer repeats as much as the initiator takes in one PDU, RFC 7143 11.19 */
    size =
        MIN(MIN(rx->data_size, connection->params.max_xmit_data_segment_length), POOL_BUFFER_MAX);
    if (size == 0 || session->reserved + size > session->reserve_max)
        return;

    rx->task->nop.data = pool_take(connection->server->worker->pool, size);
    /* The reserve is for what leaves soon */
    if (rx->task->nop.data == NULL && session->params.error_recovery_level == 0)
        rx->task->nop.data = pool_take_reserved(connection->server->worker->pool, size);
    if (rx->task->nop.data == NULL)
        return;

    rx->task->nop.size = (guint32)size;
    session->reserved += size;
    rx->data = rx->task->nop.data;
    rx->data_keep = size;
}

static void
report_limit(Connection *connection, IscsiLimit limit, const char *text)
{
    connection->limit = limit;
    connection_report(connection, text);
}

/*
 * RFC 7143 11.10: one at a time. Who sends the next has the answer to the last, whether it is
 * acknowledged or not: ExpStatSN stays behind when another answer was lost.
 */
static gboolean
is_text_outstanding(Connection *connection)
{
    if (connection->text != NULL && connection->text->is_busy)
        recovery_forget_text(connection);
    return connection->text != NULL && connection->text->is_busy;
}

static void
on_text_request(Connection *connection)
{
    Rx *rx = &connection->rx;

    if (rx->data_size > connection->server->limits.max_text_size) {
        report_limit(connection, ISCSI_LIMIT_TEXT_SIZE, "a text request is longer than allowed");
        reject(connection, PDU_REJECT_PROTOCOL_ERROR);
        discard(rx);
        return;
    }
    /* One that comes a second time must not cost the answer to the first */
    if (!pdu_is_immediate(rx->bhs) &&
        session_order(connection->session, rx->bhs) == SESSION_IGNORE) {
        discard(rx);
        return;
    }
    if (is_text_outstanding(connection)) {
        reject(connection, PDU_REJECT_PROTOCOL_ERROR);
        discard(rx);
        return;
    }
    if (connection->text == NULL)
        connection->text = g_try_new0(ConnectionText, 1);
    if (connection->text == NULL) {
        reject(connection, PDU_REJECT_LONG_OPERATION);
        discard(rx);
        return;
    }

    rx->task = take_request(connection, TASK_TEXT);
    if (rx->task == NULL) {
        discard(rx);
        return;
    }

    connection->text->is_busy = TRUE;
    rx->data = connection->text->data;
    rx->data_keep = rx->data_size;
}

static void
on_request(Connection *connection, TaskKind kind)
{
    Rx *rx = &connection->rx;

    rx->task = take_request(connection, kind);
    if (rx->task == NULL)
        discard(rx);
}

static void
full_feature_header(Connection *connection, const guint8 *ahs, gsize ahs_size)
{
    Rx *rx = &connection->rx;
    PduLimits limits = { .phase = connection->type == ISCSI_SESSION_NORMAL ? PDU_PHASE_NORMAL
                                                                           : PDU_PHASE_DISCOVERY,
                         .max_data_size = connection->recv_limit,
                         .max_ahs_size = connection->server->limits.max_ahs_size };
    gboolean is_fatal = FALSE;
    PduRejectReason reason = pdu_check(rx->bhs, &limits, &is_fatal);

    connection->n_pdus_received++;
    if (reason != PDU_REJECT_NONE) {
        if (is_fatal) {
            gboolean is_ahs = pdu_ahs_size(rx->bhs) > limits.max_ahs_size;

            if (is_ahs)
                connection->limit = ISCSI_LIMIT_AHS_SIZE;
            connection_fail(connection, rx->bhs, reason,
                            is_ahs ? "a PDU has more additional header segments than it may have"
                                   : pdu_reject_name(reason));
            return;
        }
        connection_report(connection, pdu_reject_name(reason));
        reject(connection, reason);
        discard(rx);
        return;
    }

    if (G_UNLIKELY(connection->session->params.error_recovery_level > 0))
        recovery_acknowledge(connection, pdu_exp_stat_sn(rx->bhs));
    else
        connection->exp_stat_sn = pdu_exp_stat_sn(rx->bhs);

    /* Nothing counts any more after a logout, and the nexus may be gone */
    if (connection->is_leaving) {
        discard(rx);
        return;
    }

    switch ((guint)pdu_opcode(rx->bhs)) {
    case PDU_SCSI_COMMAND:
        on_command(connection, ahs, ahs_size);
        break;
    case PDU_DATA_OUT:
        dataseq_header(connection, rx);
        break;
    case PDU_NOP_OUT:
        on_nop_out(connection);
        break;
    case PDU_TASK_MANAGEMENT_REQUEST:
        on_request(connection, TASK_MANAGEMENT);
        break;
    case PDU_TEXT_REQUEST:
        on_text_request(connection);
        break;
    case PDU_LOGOUT_REQUEST:
        on_request(connection, TASK_LOGOUT);
        break;
    case PDU_SNACK_REQUEST:
        recovery_snack(connection, rx->bhs);
        discard(rx);
        break;
    default:
        connection_fail(connection, rx->bhs, PDU_REJECT_PROTOCOL_ERROR, "unexpected PDU");
        break;
    }
}

static void
login_header(Connection *connection)
{
    Rx *rx = &connection->rx;

    if (rx->data_size > PDU_LOGIN_DATA_MAX || connection->login == NULL ||
        !tx_is_idle(connection)) {
        connection_fail(connection, rx->bhs, PDU_REJECT_NONE,
                        rx->data_size > PDU_LOGIN_DATA_MAX
                            ? "data segment too long for the login phase"
                            : "PDU out of turn in the login phase");
        return;
    }

    rx->data = connection->login->data;
    rx->data_keep = rx->data_size;
}

/* A PDU is complete */

/* Another copy of it has come meanwhile, on another connection, or its CmdSN was skipped. What is next
 * has not been. */
static gboolean
is_overtaken(const Task *task)
{
    const Session *session = task->session;

    return !task->is_immediate && task->cmd_sn != session->exp_cmd_sn &&
           session_order(session, task->bhs) == SESSION_IGNORE;
}

static void
complete_request(Connection *connection, gboolean digest_error)
{
    Rx *rx = &connection->rx;
    Task *task = rx->task;

    rx->task = NULL;
    if (task == NULL)
        return;

    if (!digest_error && !is_overtaken(task)) {
        session_deliver(connection->session, task);
        return;
    }

    /* The PDU counts as not received; for a digest error the Reject says so (RFC 7143 7.8) */
    if (task->kind == TASK_TEXT && connection->text != NULL)
        connection->text->is_busy = FALSE;
    task->is_aborted = TRUE;
    if (task->kind == TASK_COMMAND && task->command.is_begun && !task->command.is_done)
        scsi_command_abort(&task->command.scsi);
    else
        task_finish(task);
}

/* What follows a doubtful header is in */
static void
complete_doubtful(Connection *connection, gboolean digest_error)
{
    Rx *rx = &connection->rx;

    rx->state = RX_HEADER;
    rx->stash_size = 0;
    /* A data digest that is right leaves no doubt about the length */
    rx->was_doubtful = rx->data_size == 0;
    if (digest_error)
        connection_close(connection, "header digest error");
}

static void
complete(Connection *connection, gboolean digest_error)
{
    Rx *rx = &connection->rx;

    if (G_UNLIKELY(rx->is_doubtful)) {
        complete_doubtful(connection, digest_error);
        return;
    }
    rx->state = RX_HEADER;
    rx->stash_size = 0;

    if (connection->state == CONNECTION_LOGIN) {
        connection_login_pdu(connection, rx->bhs, rx->data, rx->data_size);
        return;
    }
    if (connection->state != CONNECTION_FULL_FEATURE)
        return;

    if (digest_error) {
        connection->n_data_digest_errors++;
        server_post(connection->server, ISCSI_EVENT_DIGEST_ERROR, connection, connection->session,
                    0, "data");
        connection_reject(connection, rx->bhs, PDU_REJECT_DATA_DIGEST);
        if (!connection_is_full_feature(connection))
            return;
        gap_begin(connection->session, rx->bhs);
    }

    if (rx->is_discarded)
        return;
    if (pdu_opcode(rx->bhs) == PDU_DATA_OUT)
        dataseq_complete(connection, rx, digest_error);
    else
        complete_request(connection, digest_error);
}

/*
 * A header that is not what was sent. Its length is all that tells where the next one begins, so the
 * connection goes on only where something else says that this is right (RFC 7143 7.8): the data
 * digest of the segment of that length, or for none the header digest of what follows.
 */
static gboolean
survives_header_digest(Connection *connection, const guint8 *header)
{
    const Session *session = connection->session;
    gsize data_size = pdu_data_size(header);

    connection->n_header_digest_errors++;
    server_post(connection->server, ISCSI_EVENT_DIGEST_ERROR, connection, connection->session, 0,
                "header");
    if (connection_is_full_feature(connection) && session != NULL &&
        session->params.error_recovery_level > 0 && !connection->rx.was_doubtful &&
        data_size <= connection->recv_limit && (data_size == 0 || has_data_digest(connection)))
        return TRUE;

    connection_close(connection, "header digest error");
    return FALSE;
}

/* The parser. Each function returns how many bytes it used. */

static void
on_header(Connection *connection, const guint8 *header)
{
    Rx *rx = &connection->rx;
    gsize ahs_size = pdu_ahs_size(header);
    gsize size = PDU_BHS_SIZE + ahs_size;
    gboolean is_wrong = has_header_digest(connection) &&
                        !digest_is_right(header + size, crc32c_update(CRC32C_INIT, header, size));

    if (G_UNLIKELY(is_wrong) && !survives_header_digest(connection, header))
        return;

    memcpy(rx->bhs, header, PDU_BHS_SIZE);
    rx->data = NULL;
    rx->data_keep = 0;
    rx->data_size = pdu_data_size(header);
    rx->data_received = 0;
    rx->trailer_size = rx->data_size == 0 ? 0
                                          : pdu_pad(rx->data_size) +
                                                (has_data_digest(connection) ? PDU_DIGEST_SIZE : 0);
    rx->crc = CRC32C_INIT;
    rx->is_discarded = is_wrong;
    rx->is_doubtful = is_wrong;
    rx->task = NULL;
    rx->r2t = NULL;
    rx->stash_size = 0;

    if (G_UNLIKELY(is_wrong)) {
        rx->state = RX_DATA;
        if (rx->data_size == 0)
            complete_doubtful(connection, FALSE);
        return;
    }
    rx->was_doubtful = FALSE;

    if (connection->state == CONNECTION_LOGIN)
        login_header(connection);
    else if (connection->state == CONNECTION_FULL_FEATURE)
        full_feature_header(connection, header + PDU_BHS_SIZE, ahs_size);
    if (!connection_is_open(connection))
        return;

    rx->state = RX_DATA;
    if (rx->data_size == 0)
        complete(connection, FALSE);
}

static gsize
header_size(const Connection *connection, const guint8 *bhs)
{
    return PDU_BHS_SIZE + pdu_ahs_size(bhs) + (has_header_digest(connection) ? PDU_DIGEST_SIZE : 0);
}

static gsize
take_header(Connection *connection, const guint8 *p, gsize n)
{
    Rx *rx = &connection->rx;
    gsize wanted, used;

    if (rx->stash_size == 0)
        rx->began_at = connection->server->worker->loop.now;

    if (rx->stash_size == 0 && n >= PDU_BHS_SIZE) {
        gsize size = header_size(connection, p);

        if (n >= size) {
            on_header(connection, p);
            return size;
        }
    }

    wanted = rx->stash_size < PDU_BHS_SIZE ? PDU_BHS_SIZE : header_size(connection, rx->stash);
    used = MIN(n, wanted - rx->stash_size);
    memcpy(rx->stash + rx->stash_size, p, used);
    rx->stash_size += (guint)used;

    if (rx->stash_size >= PDU_BHS_SIZE && rx->stash_size == header_size(connection, rx->stash))
        on_header(connection, rx->stash);
    return used;
}

static gsize
take_data(Connection *connection, const guint8 *p, gsize n)
{
    Rx *rx = &connection->rx;
    gsize used = MIN(n, rx->data_size - rx->data_received);

    if (rx->data != NULL && rx->data_received < rx->data_keep) {
        guint8 *place = rx->data + rx->data_received;
        gsize kept = MIN(used, rx->data_keep - rx->data_received);

        if (place != p)
            memcpy(place, p, kept);
        rx->n_kept += kept;
    }
    if (has_data_digest(connection))
        rx->crc = crc32c_update(rx->crc, p, used);
    rx->data_received += used;

    if (rx->data_received == rx->data_size) {
        if (rx->trailer_size == 0)
            complete(connection, FALSE);
        else
            rx->state = RX_TRAILER;
    }
    return used;
}

static gsize
take_trailer(Connection *connection, const guint8 *p, gsize n)
{
    Rx *rx = &connection->rx;
    gsize used = MIN(n, rx->trailer_size - rx->stash_size);
    gboolean digest_error = FALSE;

    memcpy(rx->stash + rx->stash_size, p, used);
    rx->stash_size += (guint)used;
    if (rx->stash_size < rx->trailer_size)
        return used;

    if (has_data_digest(connection)) {
        gsize pad = rx->trailer_size - PDU_DIGEST_SIZE;

        rx->crc = crc32c_update(rx->crc, rx->stash, pad);
        digest_error = !digest_is_right(rx->stash + pad, rx->crc);
    }
    complete(connection, digest_error);
    return used;
}

static gboolean
takes_input(const Connection *connection)
{
    return connection->state == CONNECTION_LOGIN || connection->state == CONNECTION_FULL_FEATURE;
}

static void
consume(Connection *connection, const guint8 *p, gsize n)
{
    while (n > 0 && takes_input(connection)) {
        gsize used = 0;

        switch (connection->rx.state) {
        case RX_HEADER:
            used = take_header(connection, p, n);
            break;
        case RX_DATA:
            used = take_data(connection, p, n);
            break;
        case RX_TRAILER:
            used = take_trailer(connection, p, n);
            break;
        }
        p += used;
        n -= used;
    }

    if (n > 0 && connection->state == CONNECTION_CLAIMING)
        connection_fail(connection, NULL, PDU_REJECT_NONE,
                        "the initiator did not wait for the login response");
}

static void
on_end(Connection *connection, gssize result)
{
    if (result < 0 && errno == EINTR)
        return;
    if (result < 0 && errno == EAGAIN) {
        watch_clear(&connection->watch, EPOLLIN);
        return;
    }

    connection->peer_has_gone = TRUE;
    connection_close(connection,
                     result == 0 ? "connection closed by the initiator" : g_strerror(errno));
}

void
rx_turn(Connection *connection)
{
    Rx *rx = &connection->rx;
    guint8 *scratch = connection->server->scratch;
    struct iovec iov[2];
    int n_iov = 0;
    gsize direct = 0;
    gssize n;

    if (takes_input(connection) && rx->state == RX_DATA && rx->data_received < rx->data_keep) {
        direct = MIN(rx->data_keep - rx->data_received, RX_TURN_MAX);
        iov[n_iov++] = (struct iovec){ rx->data + rx->data_received, direct };
    }
    if (direct < RX_TURN_MAX)
        iov[n_iov++] = (struct iovec){ scratch, RX_TURN_MAX - direct };

    if (n_iov == 1)
        n = recv(connection->fd, iov[0].iov_base, iov[0].iov_len, MSG_DONTWAIT);
    else
        n = readv(connection->fd, iov, n_iov);
    if (n <= 0) {
        on_end(connection, n);
        return;
    }

    /* Less than was asked for: the socket is empty, and what comes next is a new edge (epoll(7)) */
    if ((gsize)n < RX_TURN_MAX && !(connection->watch.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
        watch_clear(&connection->watch, EPOLLIN);

    connection->bytes_received += (guint64)n;
    connection_received(connection);

    if (direct > 0) {
        gsize used = MIN((gsize)n, direct);

        (void)take_data(connection, iov[0].iov_base, used);
        n -= (gssize)used;
    }
    consume(connection, scratch, (gsize)n);
    if (G_UNLIKELY(connection->tx.is_held) && connection->session != NULL)
        fence_check(connection->session);
}
