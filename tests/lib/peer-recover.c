/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Waiting, and what an initiator does when nothing comes
 *
 * A NOP-Out asks each connection how far it is: the answer has the next StatSN,
 * so lost answers at the end show, and ExpCmdSN, so a lost command shows. Only
 * the command that the target waits for is sent again, as it is sure not to
 * have arrived (RFC 7143 7.2.1). Probes are of two lengths, without a pattern.
 *
 * At level 2 a connection that failed is replaced, either by one with the same
 * CID, whose login logs the old one out, or by another and a logout for
 * recovery. Then, after Time2Wait, commands that the target did not acknowledge
 * are sent again and the others are reassigned (RFC 7143 7.2.2, 6.3.4, 11.14).
 */

#include "peer-private.h"

#include <poll.h>

#define IDLE_USEC  (50 * USEC_PER_MSEC)
#define PROBE_IDLE 10   /* idle rounds from one probe to the next */
#define PATIENCE   2400 /* idle rounds: two minutes */

gboolean
peer_turn(Peer *peer)
{
    gboolean has_any = FALSE;

    if (!peer->rig->is_threaded)
        rig_settle(peer->rig);
    for (guint i = 0; i < peer->n_links; i++)
        has_any |= peer_link_turn(&peer->links[i]);
    return has_any;
}

/* Time passes; with threads, at most until something comes */
static void
pass_time(Peer *peer)
{
    struct pollfd fds[PEER_LINKS_MAX];
    guint n = 0;

    if (!peer->rig->is_threaded) {
        clock_advance(&peer->rig->clock, IDLE_USEC);
        rig_settle(peer->rig);
        return;
    }

    for (guint i = 0; i < peer->n_links; i++) {
        if (peer->links[i].is_alive)
            fds[n++] = (struct pollfd){ .fd = peer->links[i].initiator->fd, .events = POLLIN };
    }
    (void)poll(fds, n, (int)(IDLE_USEC / USEC_PER_MSEC));
}

static void
pass_seconds(Peer *peer, guint seconds)
{
    for (gint64 left = seconds * USEC_PER_SEC; left > 0; left -= IDLE_USEC) {
        pass_time(peer);
        (void)peer_turn(peer);
    }
}

static gboolean
has_failed(const Peer *peer)
{
    for (guint i = 0; i < peer->n_links; i++) {
        if (!peer->links[i].is_alive && !peer->links[i].is_leaving)
            return TRUE;
    }
    return FALSE;
}

/* One round of waiting. FALSE: the session is lost. */
static gboolean
wait_round(Peer *peer, guint *idle)
{
    gboolean has_any = peer_turn(peer);

    if (has_failed(peer) && !peer->is_recovering && !peer->is_lost)
        peer_recover(peer);
    if (peer->is_lost)
        return FALSE;
    if (has_any) {
        *idle = 0;
        return TRUE;
    }

    pass_time(peer);
    g_assert_cmpuint(++*idle, <, PATIENCE);
    if (*idle % PROBE_IDLE == 0)
        peer_probe(peer);
    return TRUE;
}

gboolean
peer_wait(PeerCommand *command)
{
    guint idle = 0;

    while (!command->is_done) {
        /* What recovers a session does not wait for another recovery */
        if (command->peer->is_recovering && !command->link->is_alive)
            return FALSE;
        if (!wait_round(command->peer, &idle))
            return command->is_done;
    }
    return TRUE;
}

/* Probing */

static void
ping(PeerLink *link)
{
    Peer *peer = link->peer;
    PeerCommand *command;

    for (guint i = 0; i < PEER_COMMANDS; i++) {
        if (peer->commands[i].is_used && peer->commands[i].kind == PEER_PING &&
            peer->commands[i].link == link)
            peer_release(&peer->commands[i]);
    }
    command = peer_take(peer, PEER_PING, link);
    peer_header(peer, command->bhs, PDU_NOP_OUT | PDU_IMMEDIATE, PDU_FINAL, pdu_itt(command->bhs));
    peer_link_send(link, command->bhs, NULL, 0);
}

/* If all probes were alike, a fault that comes periodically could hit the same PDU always */
static gboolean
toss(Peer *peer)
{
    peer->noise = peer->noise * 1103515245u + 12345u;
    return (peer->noise >> 16 & 1) != 0;
}

/* Whether the target has not heard of the acknowledgement, or what it sent then is lost, shows in nothing */
static gboolean
must_acknowledge_again(const PeerCommand *command)
{
    return command->acked_sn != 0 && command->acked_sn == command->next_sn &&
           !peer_has_gap(command) && toss(command->peer);
}

static void
probe_command(PeerCommand *command)
{
    Peer *peer = command->peer;

    if (pdu_cmd_sn(command->bhs) == peer->exp_cmd_sn) {
        peer->n_retries++;
        peer_send(command);
        return;
    }
    /* Of what the target does not have nothing can be asked for */
    if (peer->level == 0 || !peer_sn_less(pdu_cmd_sn(command->bhs), peer->exp_cmd_sn))
        return;
    command->asked_sn = command->next_sn;
    if (command->has_status) {
        peer_ask_data(command, command->n_expected);
    } else if (must_acknowledge_again(command)) {
        command->ack_sn = command->acked_sn;
        peer_acknowledge_data(command);
        command->ack_sn = 0;
    } else if (command->in_size != 0) {
        peer_ask_rest(command);
    }
}

void
peer_probe(Peer *peer)
{
    for (guint i = 0; i < peer->n_links; i++) {
        PeerLink *link = &peer->links[i];

        if (!link->is_alive)
            continue;
        link->asked_stat_sn = link->exp_stat_sn;
        ping(link);
        if (toss(peer))
            ping(link);
    }
    for (guint i = 0; i < PEER_COMMANDS; i++) {
        PeerCommand *command = &peer->commands[i];

        if (command->is_used && command->kind == PEER_SCSI && command->is_sent &&
            !command->is_done && command->link != NULL && command->link->is_alive)
            probe_command(command);
    }
}

/* Recovery of connections */

/* Commands of a failed connection have none; what was sent immediately is given up */
static void
detach_commands(Peer *peer, const PeerLink *link)
{
    for (guint i = 0; i < PEER_COMMANDS; i++) {
        PeerCommand *command = &peer->commands[i];

        if (!command->is_used || command->link != link)
            continue;
        command->link = NULL;
        if (command->is_done)
            continue;
        if (command->kind == PEER_PING)
            peer_release(command);
        else if (command->kind != PEER_SCSI)
            peer_give_up(command);
    }
}

/* Returns: FALSE */
static gboolean
lose(Peer *peer, const char *why, guint code)
{
    peer->is_lost = TRUE;
    g_snprintf(peer->loss, sizeof(peer->loss), "%s %x", why, code);
    return FALSE;
}

/* Log in again in the place of a connection, and log it out unless that has done it */
static void
replace(Peer *peer, guint i)
{
    PeerLink *link = &peer->links[i];
    guint16 old_cid = link->cid;
    guint32 old_stat_sn = link->exp_stat_sn;
    guint16 cid = peer->config.renews ? old_cid : (guint16)(peer->last_cid + 1);
    PeerCommand *logout;
    guint16 status = 0;

    detach_commands(peer, link);
    for (guint n = 0; n < 10; n++) {
        status = peer_connect(peer, i, cid);
        if (status == 0)
            break;
        pass_time(peer);
    }
    if (status != 0)
        (void)lose(peer, "login refused with", status);
    if (status != 0 || peer->config.renews)
        return;

    peer->closed_stat_sn = old_stat_sn;
    logout = peer_logout(peer, i, PDU_LOGOUT_RECOVERY, old_cid);
    if (peer_wait(logout) && logout->status != PDU_LOGOUT_RESPONSE_CLOSED)
        (void)lose(peer, "logout for recovery answered with", logout->status);
    peer_release(logout);
}

static guint
find_alive(const Peer *peer)
{
    guint i = 0;

    while (i < peer->n_links && !peer->links[i].is_alive)
        i++;
    return i;
}

/* FALSE: the target does not have it any more, or the connection failed again */
static gboolean
reassign(PeerCommand *command, guint link)
{
    Peer *peer = command->peer;
    guint8 response = PDU_TMF_RESPONSE_TASK_STILL_ALLEGIANT;

    /* What was not acknowledged comes again, RFC 7143 11.5.6 */
    command->has_status = FALSE;
    command->asked_sn = command->next_sn;
    command->ack_sn = 0;
    for (guint32 sn = command->next_sn; sn < PEER_DATA_PDUS; sn++)
        command->seen[sn / 64] &= ~((guint64)1 << sn % 64);

    for (guint n = 0; n < 10 && response == PDU_TMF_RESPONSE_TASK_STILL_ALLEGIANT; n++) {
        PeerCommand *request = peer_manage(peer, link, PDU_TMF_TASK_REASSIGN, command);
        gboolean is_answered = peer_wait(request) && !request->is_given_up;

        response = request->status;
        peer_release(request);
        if (!is_answered)
            return FALSE;
        if (response != 0)
            pass_seconds(peer, 1);
    }
    return response == 0 || lose(peer, "TASK REASSIGN answered with", response);
}

static void
bring_back(Peer *peer)
{
    for (guint i = 0; i < PEER_COMMANDS; i++) {
        PeerCommand *command = &peer->commands[i];
        guint link = find_alive(peer);

        if (!command->is_used || command->is_done || command->link != NULL)
            continue;
        if (link == peer->n_links)
            return;
        if (!command->is_sent || !peer_sn_less(pdu_cmd_sn(command->bhs), peer->exp_cmd_sn)) {
            command->link = &peer->links[link];
            peer->n_retries += command->is_sent;
            if (command->is_sent)
                peer_send(command);
        } else if (!reassign(command, link)) {
            return;
        }
    }
}

void
peer_recover(Peer *peer)
{
    if (peer->level < 2) {
        (void)lose(peer, "a connection failed at level", peer->level);
        return;
    }

    peer->is_recovering = TRUE;
    while (!peer->is_lost && has_failed(peer)) {
        g_assert_cmpuint(++peer->n_recoveries, <, 10000);
        for (guint i = 0; i < peer->n_links && !peer->is_lost; i++) {
            if (!peer->links[i].is_alive && !peer->links[i].is_leaving)
                replace(peer, i);
        }
        if (peer->is_lost || has_failed(peer))
            continue;
        pass_seconds(peer, peer->time2wait);
        bring_back(peer);
    }
    peer->is_recovering = FALSE;
}

guint8
peer_run(Peer *peer, guint link, const guint8 *cdb, gsize cdb_size, const void *out,
         guint32 out_size, void *in, guint32 in_size)
{
    PeerCommand *command;
    guint8 status;
    guint idle = 0, n_attentions = 0;

    do {
        gboolean is_there;

        while (!peer_has_room(peer))
            g_assert_true(wait_round(peer, &idle));
        command =
            peer_command(peer, link, PDU_ATTR_SIMPLE, cdb, cdb_size, out, out_size, in, in_size);
        peer_send(command);
        is_there = peer_wait(command);
        g_assert_true(is_there);
        status = command->status;
        if (status == 2 && command->sense_key == 6)
            g_assert_cmpuint(++n_attentions, <, 10);
        else
            n_attentions = 0;
        peer_release(command);
    } while (n_attentions != 0);
    return status;
}
