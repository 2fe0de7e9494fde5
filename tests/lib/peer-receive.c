/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What comes back to a session of several connections
 *
 * Every PDU is judged by its numbers first. A StatSN is seen once and no more;
 * one that is ahead tells that others are missing, and so do R2Ts and NOP-Ins
 * that carry the next one. DataSN and R2TSN tell the same of a command. What is
 * missing is asked for once by a SNACK; peer_probe() lets it be asked for again.
 * A status is acknowledged when the command has all its data, not before (RFC
 * 7143 7.9).
 */

#include "peer-private.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

typedef struct {
    PeerLink *link;
    const guint8 *bhs;
    const guint8 *data;
    gsize size;
} Arrival;

/* Asking */

static void
send_snack(PeerLink *link, PduSnack type, guint32 itt, guint32 ttt, guint32 begin, guint32 length)
{
    guint8 bhs[PDU_BHS_SIZE] = { PDU_SNACK_REQUEST, (guint8)(PDU_FINAL | type) };

    put_be32(bhs + 16, itt);
    put_be32(bhs + 20, ttt);
    put_be32(bhs + 40, begin);
    put_be32(bhs + 44, length);
    link->peer->n_snacks += type != PDU_SNACK_DATA_ACK;
    peer_link_send(link, bhs, NULL, 0);
}

void
peer_ask_statuses(PeerLink *link, guint32 end)
{
    guint32 sn = peer_sn_less(link->asked_stat_sn, link->exp_stat_sn) ? link->exp_stat_sn
                                                                      : link->asked_stat_sn;

    if (link->peer->level == 0) {
        g_assert_cmphex(end, ==, sn);
        return;
    }
    while (peer_sn_less(sn, end)) {
        guint32 begin = sn;

        while (peer_sn_less(sn, end) && link->statuses[sn % 256] == PEER_STATUS_MISSING)
            sn++;
        if (sn != begin)
            send_snack(link, PDU_SNACK_STATUS, PDU_TAG_RESERVED, PDU_TAG_RESERVED, begin,
                       sn - begin);
        else
            sn++;
        link->asked_stat_sn = sn;
    }
}

static gboolean
is_seen(const PeerCommand *command, guint32 sn)
{
    g_assert_cmpuint(sn, <, PEER_DATA_PDUS);
    return (command->seen[sn / 64] >> sn % 64 & 1) != 0;
}

gboolean
peer_has_gap(const PeerCommand *command)
{
    for (guint32 sn = command->next_sn; sn < PEER_DATA_PDUS; sn++) {
        if (is_seen(command, sn))
            return TRUE;
    }
    return FALSE;
}

void
peer_ask_data(PeerCommand *command, guint32 end)
{
    guint32 sn = MAX(command->asked_sn, command->next_sn);

    g_assert_cmpuint(command->peer->level, >, 0);
    while (sn < end) {
        guint32 begin = sn;

        while (sn < end && !is_seen(command, sn))
            sn++;
        if (sn != begin && command->link != NULL)
            send_snack(command->link, PDU_SNACK_DATA_R2T, pdu_itt(command->bhs), PDU_TAG_RESERVED,
                       begin, sn - begin);
        while (sn < end && is_seen(command, sn))
            sn++;
    }
    command->asked_sn = MAX(command->asked_sn, end);
}

void
peer_ask_rest(PeerCommand *command)
{
    if (command->link != NULL)
        send_snack(command->link, PDU_SNACK_DATA_R2T, pdu_itt(command->bhs), PDU_TAG_RESERVED,
                   command->next_sn, 0);
}

void
peer_acknowledge_data(PeerCommand *command)
{
    if (command->peer->level > 0 && command->link != NULL)
        send_snack(command->link, PDU_SNACK_DATA_ACK, PDU_TAG_RESERVED, command->ack_ttt,
                   command->ack_sn, 0);
    command->acked_sn = command->ack_sn;
}

/* Numbers */

static void
take_window(Peer *peer, const guint8 *bhs)
{
    guint32 exp = pdu_exp_cmd_sn(bhs), max = pdu_max_cmd_sn(bhs);

    g_assert_false(peer_sn_less(max, exp - 1));
    if (peer_sn_less(peer->exp_cmd_sn, exp))
        peer->exp_cmd_sn = exp;
    if (peer_sn_less(peer->max_cmd_sn, max))
        peer->max_cmd_sn = max;
    /* It cannot have received what was not sent */
    g_assert_false(peer_sn_less(peer->cmd_sn, peer->exp_cmd_sn));
}

/* FALSE: it was seen before */
static gboolean
take_stat_sn(PeerLink *link, guint32 sn)
{
    if (peer_sn_less(sn, link->exp_stat_sn) || link->statuses[sn % 256] != PEER_STATUS_MISSING) {
        g_assert_cmpuint(link->peer->level, >, 0);
        return FALSE;
    }
    g_assert_cmpuint(sn - link->exp_stat_sn, <, 256);
    peer_ask_statuses(link, sn);
    if (link->asked_stat_sn == sn)
        link->asked_stat_sn++;
    link->statuses[sn % 256] = PEER_STATUS_HERE;
    return TRUE;
}

static void
settle(PeerLink *link, guint32 sn)
{
    link->statuses[sn % 256] = PEER_STATUS_SETTLED;
    while (link->statuses[link->exp_stat_sn % 256] == PEER_STATUS_SETTLED)
        link->statuses[link->exp_stat_sn++ % 256] = PEER_STATUS_MISSING;
}

/* What has its status and all its data is done */
static void
try_to_finish(PeerCommand *command)
{
    if (!command->has_status || command->is_done)
        return;
    if (command->in_size != 0 && command->next_sn < command->n_expected) {
        peer_ask_data(command, command->n_expected);
        return;
    }
    command->is_done = TRUE;
    settle(command->link, command->stat_sn);
}

static void
see(PeerCommand *command, guint32 sn)
{
    command->seen[sn / 64] |= (guint64)1 << sn % 64;
    while (command->next_sn < PEER_DATA_PDUS && is_seen(command, command->next_sn))
        command->next_sn++;
    if (sn > command->next_sn)
        peer_ask_data(command, sn);
}

/* PDUs */

/* The command that a PDU belongs to; one that was given up has its status settled and that is all */
static PeerCommand *
find_open(const Arrival *arrival)
{
    PeerCommand *command = peer_find(arrival->link->peer, pdu_itt(arrival->bhs));

    return command != NULL && !command->is_done && command->link == arrival->link ? command : NULL;
}

/*
 * RFC 7143 11.5.1: nothing of a command comes behind the answer of what has ended it, nor behind its
 * own. With error recovery and on wires with faults PDUs come again, and late.
 */
static void
check_open(const Arrival *arrival, const PeerCommand *command)
{
    const Peer *peer = arrival->link->peer;

    if (peer->level == 0 && peer->config.fault == NULL && (command == NULL || command->is_covered))
        g_error("%s of a command that had ended, task tag %x, on connection %u",
                pdu_name((guint8)pdu_opcode(arrival->bhs)), pdu_itt(arrival->bhs),
                arrival->link->cid);
}

static void
take_data_in(const Arrival *arrival)
{
    const guint8 *bhs = arrival->bhs;
    PeerCommand *command = find_open(arrival);
    guint32 sn = pdu_data_sn(bhs), offset = pdu_data_offset(bhs);
    gboolean is_new =
        (bhs[1] & PDU_DATA_IN_STATUS) != 0 && take_stat_sn(arrival->link, pdu_stat_sn(bhs));

    check_open(arrival, command);
    if (command == NULL) {
        if (is_new)
            settle(arrival->link, pdu_stat_sn(bhs));
        return;
    }

    g_assert_cmpuint(offset + arrival->size, <=, command->in_size);
    memcpy(command->in + offset, arrival->data, arrival->size);
    if (!is_seen(command, sn))
        see(command, sn);
    if (bhs[1] & PDU_DATA_IN_ACKNOWLEDGE) {
        g_assert_cmpuint(command->peer->level, >, 0);
        command->ack_sn = sn + 1;
        command->ack_ttt = pdu_ttt(bhs);
    }
    if (is_new) {
        command->has_status = TRUE;
        command->status = bhs[3];
        command->stat_sn = pdu_stat_sn(bhs);
        command->n_expected = sn + 1;
    }
    /* Not while something before is missing, RFC 7143 11.16.2; the status is as good */
    if (command->ack_sn != 0 && command->ack_sn <= command->next_sn && !command->has_status) {
        peer_acknowledge_data(command);
        command->ack_sn = 0;
    }
    try_to_finish(command);
}

static void
take_r2t(const Arrival *arrival)
{
    const guint8 *bhs = arrival->bhs;
    PeerCommand *command = find_open(arrival);
    guint32 sn = get_be32(bhs + 36);

    check_open(arrival, command);
    peer_ask_statuses(arrival->link, pdu_stat_sn(bhs));
    if (command == NULL || is_seen(command, sn))
        return;

    g_assert_cmpuint(pdu_data_offset(bhs) + pdu_r2t_length(bhs), <=, command->out_size);
    g_assert_cmpuint(pdu_r2t_length(bhs), <=, command->peer->max_burst);
    see(command, sn);
    peer_send_data_out(command, pdu_ttt(bhs), pdu_data_offset(bhs), pdu_r2t_length(bhs));
}

static void
take_sense(PeerCommand *command, const Arrival *arrival)
{
    if (arrival->size >= 2 + 14) {
        command->sense_key = arrival->data[2 + 2] & 0x0f;
        command->asc = get_be16(arrival->data + 2 + 12);
    }
}

static void
take_response(const Arrival *arrival)
{
    const guint8 *bhs = arrival->bhs;
    PeerCommand *command = find_open(arrival);

    check_open(arrival, command);
    if (!take_stat_sn(arrival->link, pdu_stat_sn(bhs)))
        return;
    if (command == NULL) {
        settle(arrival->link, pdu_stat_sn(bhs));
        return;
    }

    command->has_status = TRUE;
    command->status = bhs[3];
    command->stat_sn = pdu_stat_sn(bhs);
    command->n_expected = get_be32(bhs + 36);
    take_sense(command, arrival);
    try_to_finish(command);
}

static gboolean
is_covered(const PeerCommand *function, const PeerCommand *command)
{
    if (!command->is_used || command->is_done || !command->is_sent || command->kind != PEER_SCSI)
        return FALSE;

    switch ((guint)pdu_tmf_function(function->bhs)) {
    case PDU_TMF_ABORT_TASK:
        /* It belongs on the connection of the task; from another nothing is certain */
        return pdu_itt(command->bhs) == pdu_tmf_rtt(function->bhs) &&
               command->link == function->link;
    case PDU_TMF_ABORT_TASK_SET:
    case PDU_TMF_CLEAR_TASK_SET:
    case PDU_TMF_LOGICAL_UNIT_RESET:
    case PDU_TMF_TARGET_WARM_RESET:
    case PDU_TMF_TARGET_COLD_RESET:
    case PDU_TMF_I_T_NEXUS_RESET:
        return peer_sn_less(pdu_cmd_sn(command->bhs), pdu_cmd_sn(function->bhs));
    default:
        return FALSE;
    }
}

/* From this PDU on, on all connections */
static void
cover(Peer *peer, const PeerCommand *function)
{
    for (guint i = 0; i < PEER_COMMANDS; i++)
        peer->commands[i].is_covered |= is_covered(function, &peer->commands[i]);
}

/* Of task management, logout or ping */
static void
take_answer(const Arrival *arrival)
{
    const guint8 *bhs = arrival->bhs;
    PeerCommand *command = find_open(arrival);
    Peer *peer = arrival->link->peer;

    if (!take_stat_sn(arrival->link, pdu_stat_sn(bhs)))
        return;
    settle(arrival->link, pdu_stat_sn(bhs));
    if (command == NULL)
        return;

    command->status = bhs[2];
    command->is_done = TRUE;
    if (command->kind == PEER_MANAGEMENT && command->status == PDU_TMF_RESPONSE_COMPLETE)
        cover(peer, command);
    if (command->kind == PEER_PING) {
        peer_release(command);
    } else if (command->kind == PEER_LOGOUT && command->status == 0) {
        peer->time2wait = get_be16(bhs + 40);
        arrival->link->is_leaving = pdu_logout_reason(command->bhs) == PDU_LOGOUT_CLOSE_SESSION ||
                                    pdu_logout_cid(command->bhs) == arrival->link->cid;
    } else if (command->subject != NULL &&
               pdu_tmf_function(command->bhs) == PDU_TMF_TASK_REASSIGN && command->status == 0) {
        command->subject->link = arrival->link;
        peer->n_reassigned++;
    }
}

/* A ping of the target is answered; both kinds tell the next StatSN */
static void
take_nop_in(const Arrival *arrival)
{
    const guint8 *bhs = arrival->bhs;
    guint8 answer[PDU_BHS_SIZE];

    if (pdu_itt(bhs) != PDU_TAG_RESERVED) {
        take_answer(arrival);
        return;
    }

    peer_ask_statuses(arrival->link, pdu_stat_sn(bhs));
    if (pdu_ttt(bhs) == PDU_TAG_RESERVED)
        return;
    peer_header(arrival->link->peer, answer, PDU_NOP_OUT | PDU_IMMEDIATE, PDU_FINAL,
                PDU_TAG_RESERVED);
    memcpy(answer + 8, bhs + 8, 8);
    put_be32(answer + 20, pdu_ttt(bhs));
    peer_link_send(arrival->link, answer, NULL, 0);
}

/*
 * A command whose data came in damaged was not received: it is sent again, RFC 7143 7.8. At once only
 * the first time: whatever has damaged it may go on doing so, and a probe finds it, too.
 */
static void
take_reject(const Arrival *arrival)
{
    Peer *peer = arrival->link->peer;
    PeerCommand *command;

    if (!take_stat_sn(arrival->link, pdu_stat_sn(arrival->bhs)))
        return;
    settle(arrival->link, pdu_stat_sn(arrival->bhs));
    peer->n_rejects++;
    peer->last_reject = arrival->bhs[2];
    g_assert_cmpuint(arrival->size, >=, PDU_BHS_SIZE);
    command = peer_find(peer, pdu_itt(arrival->data));
    if (arrival->bhs[2] == PDU_REJECT_DATA_DIGEST && command != NULL &&
        pdu_opcode(arrival->data) == PDU_SCSI_COMMAND && command->link == arrival->link &&
        !command->was_damaged) {
        command->was_damaged = TRUE;
        peer->n_retries++;
        peer_send(command);
    } else if (arrival->bhs[2] == PDU_REJECT_IMMEDIATE && command != NULL) {
        command->is_rejected = TRUE;
        command->is_done = TRUE;
    }
}

/* RFC 7143 4.2.3.4: that tasks end is acknowledged, with the unit and no tag */
static void
answer_termination(const Arrival *arrival)
{
    guint8 answer[PDU_BHS_SIZE];

    peer_header(arrival->link->peer, answer, PDU_NOP_OUT | PDU_IMMEDIATE, PDU_FINAL,
                PDU_TAG_RESERVED);
    memcpy(answer + 8, arrival->bhs + 8, 8);
    peer_link_send(arrival->link, answer, NULL, 0);
}

static void
take_async(const Arrival *arrival)
{
    Peer *peer = arrival->link->peer;

    if (!take_stat_sn(arrival->link, pdu_stat_sn(arrival->bhs)))
        return;
    settle(arrival->link, pdu_stat_sn(arrival->bhs));
    peer->n_async++;
    peer->last_async = arrival->bhs[36];
    if (peer->last_async == PDU_ASYNC_TASKS_TERMINATED)
        answer_termination(arrival);
}

static void
take(PeerLink *link, const guint8 *bhs, const guint8 *data, gsize size)
{
    Arrival arrival = { link, bhs, data, size };

    take_window(link->peer, bhs);
    switch ((guint)pdu_opcode(bhs)) {
    case PDU_DATA_IN:
        take_data_in(&arrival);
        break;
    case PDU_R2T:
        take_r2t(&arrival);
        break;
    case PDU_SCSI_RESPONSE:
        take_response(&arrival);
        break;
    case PDU_TASK_MANAGEMENT_RESPONSE:
    case PDU_LOGOUT_RESPONSE:
        take_answer(&arrival);
        break;
    case PDU_NOP_IN:
        take_nop_in(&arrival);
        break;
    case PDU_REJECT:
        take_reject(&arrival);
        break;
    case PDU_ASYNC_MESSAGE:
        take_async(&arrival);
        break;
    default:
        g_assert_not_reached();
    }
}

/* Of a Data-In with a wrong data digest the header can be believed: RFC 7143 7.8 */
static void
take_damaged(PeerLink *link, const guint8 *bhs, gsize size)
{
    Arrival arrival = { link, bhs, NULL, size };
    PeerCommand *command = find_open(&arrival);

    if (size != 0 && pdu_opcode(bhs) == PDU_DATA_IN && command != NULL &&
        !is_seen(command, pdu_data_sn(bhs)))
        peer_ask_data(command, pdu_data_sn(bhs) + 1);
}

/* What was put aside is looked at when nothing else comes, or something did */
static gboolean
take_delayed(PeerLink *link)
{
    gboolean has_any = !g_queue_is_empty(&link->receiving);
    GBytes *bytes;

    while (link->is_alive && (bytes = g_queue_pop_head(&link->receiving)) != NULL) {
        gsize size;
        const guint8 *p = g_bytes_get_data(bytes, &size);

        take(link, p, p + PDU_BHS_SIZE, size - PDU_BHS_SIZE);
        g_bytes_unref(bytes);
    }
    return has_any;
}

static void
put_aside(PeerLink *link)
{
    const Initiator *initiator = link->initiator;
    guint8 *bytes = g_malloc(PDU_BHS_SIZE + initiator->data_size);

    memcpy(bytes, initiator->bhs, PDU_BHS_SIZE);
    memcpy(bytes + PDU_BHS_SIZE, initiator->data, initiator->data_size);
    g_queue_push_tail(&link->receiving,
                      g_bytes_new_take(bytes, PDU_BHS_SIZE + initiator->data_size));
}

/* One PDU through the rule of faults */
static void
receive(PeerLink *link)
{
    Initiator *initiator = link->initiator;
    WireFaultKind fault;

    if (!initiator_receive_any(initiator)) {
        peer_link_fail(link);
        return;
    }
    g_assert_false(initiator->digest_error);
    fault = peer_judge(link->peer, WIRE_TO_INITIATOR, initiator->bhs);
    switch (fault) {
    case WIRE_FAULT_DROP:
    case WIRE_FAULT_HEADER:
        return;
    case WIRE_FAULT_DELAY:
        put_aside(link);
        return;
    case WIRE_FAULT_CORRUPT:
        take_damaged(link, initiator->bhs, initiator->data_size);
        return;
    case WIRE_FAULT_NONE:
    case WIRE_FAULT_KILL:
        take(link, initiator->bhs, initiator->data, initiator->data_size);
        break;
    }
    if (fault == WIRE_FAULT_KILL)
        peer_link_fail(link);
    else
        (void)take_delayed(link);
}

static gboolean
has_input(PeerLink *link)
{
    guint8 byte;
    gssize r = recv(link->initiator->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    if (r == 0 || (r < 0 && errno != EAGAIN))
        peer_link_fail(link);
    return r == 1;
}

gboolean
peer_link_turn(PeerLink *link)
{
    gboolean has_any = FALSE;

    while (link->is_alive && has_input(link)) {
        receive(link);
        has_any = TRUE;
    }
    if (!has_any && link->is_alive)
        has_any = take_delayed(link) || peer_link_flush(link);
    return has_any;
}
