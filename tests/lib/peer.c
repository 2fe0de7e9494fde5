/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * A session of several connections: logins, commands and what is sent
 *
 * Commands are in a table, and the lower byte of a task tag is the place in it.
 * Numbers that belong to the session (CmdSN, ExpCmdSN, MaxCmdSN) are kept here;
 * those of a connection in its PeerLink. What comes back is taken apart in
 * peer-receive.c, and what to do when something does not come is in
 * peer-recover.c.
 */

#include "peer-private.h"

#include <string.h>

#include "chap-peer.h"

G_STATIC_ASSERT(PEER_COMMANDS == 256);

#define RECEIVE_SIZE 262144

/* Logins */

static char *
make_login_text(const Peer *peer, gboolean is_leading)
{
    const PeerConfig *config = &peer->config;
    GString *text = g_string_new(NULL);

    g_string_printf(text,
                    "InitiatorName=%s\nTargetName=%s\nSessionType=Normal\n"
                    "MaxRecvDataSegmentLength=%u",
                    RIG_INITIATOR, RIG_TARGET,
                    config->receive != 0 ? config->receive : RECEIVE_SIZE);
    if (config->digests)
        g_string_append(text, "\nHeaderDigest=CRC32C\nDataDigest=CRC32C");
    if (is_leading)
        g_string_append_printf(text, "\nMaxConnections=%u\nErrorRecoveryLevel=%u", PEER_LINKS_MAX,
                               config->level);
    if (is_leading && config->keys != NULL)
        g_string_append_printf(text, "\n%s", config->keys);
    return g_string_free(text, FALSE);
}

static guint
answered_number(const Initiator *initiator, const char *key, guint number)
{
    const char *value = chap_peer_answer(initiator, key);

    return value != NULL ? (guint)g_ascii_strtoull(value, NULL, 10) : number;
}

/* What the leading login has settled for the session */
static void
take_parameters(Peer *peer, const Initiator *initiator)
{
    peer->tsih = initiator->tsih;
    peer->first_burst = initiator->first_burst;
    peer->max_burst = initiator->max_burst;
    peer->initial_r2t = initiator->initial_r2t;
    peer->immediate_data = initiator->immediate_data;
    peer->level = answered_number(initiator, "ErrorRecoveryLevel", 0);
    peer->time2wait = answered_number(initiator, "DefaultTime2Wait", 2);
    peer->exp_cmd_sn = pdu_exp_cmd_sn(initiator->bhs);
    peer->max_cmd_sn = pdu_max_cmd_sn(initiator->bhs);
}

static void
take_window(Peer *peer, const guint8 *bhs)
{
    if (peer_sn_less(peer->exp_cmd_sn, pdu_exp_cmd_sn(bhs)))
        peer->exp_cmd_sn = pdu_exp_cmd_sn(bhs);
    if (peer_sn_less(peer->max_cmd_sn, pdu_max_cmd_sn(bhs)))
        peer->max_cmd_sn = pdu_max_cmd_sn(bhs);
}

guint16
peer_connect(Peer *peer, guint i, guint16 cid)
{
    PeerLink *link = &peer->links[i];
    gboolean is_leading = peer->tsih == 0;
    g_autofree char *text = make_login_text(peer, is_leading);
    Initiator *initiator;
    guint16 status;

    peer_link_fail(link);
    if (link->initiator != NULL)
        initiator_free(link->initiator);
    initiator = peer->config.is_tcp ? initiator_new_tcp(peer->rig) : initiator_new(peer->rig);
    *link = (PeerLink){ .peer = peer, .initiator = initiator, .cid = cid };

    initiator->isid[5] = peer->config.isid;
    initiator->cid = cid;
    initiator->tsih = peer->tsih;
    initiator->cmd_sn = peer->cmd_sn;
    status = initiator_login_text(initiator, text);
    if (status != 0)
        return status;

    if (is_leading)
        take_parameters(peer, initiator);
    else
        take_window(peer, initiator->bhs);
    link->exp_stat_sn = link->asked_stat_sn = link->told_stat_sn = initiator->exp_stat_sn;
    link->is_alive = TRUE;
    peer->last_cid = MAX(peer->last_cid, cid);
    return 0;
}

Peer *
peer_new(Rig *rig, const PeerConfig *config, guint16 *ret_status)
{
    Peer *peer = g_new0(Peer, 1);
    guint16 status = 0;

    peer->rig = rig;
    peer->config = *config;
    peer->n_links = MAX(config->n_links, 1);
    peer->cmd_sn = 0x1000;
    peer->commands = g_new0(PeerCommand, PEER_COMMANDS);
    for (guint i = 0; i < peer->n_links && status == 0; i++)
        status = peer_connect(peer, i, (guint16)i);

    if (ret_status != NULL)
        *ret_status = status;
    if (status == 0)
        return peer;
    peer_free(peer);
    return NULL;
}

void
peer_free(Peer *peer)
{
    for (guint i = 0; i < peer->n_links; i++) {
        peer_link_fail(&peer->links[i]);
        if (peer->links[i].initiator != NULL)
            initiator_free(peer->links[i].initiator);
    }
    g_free(peer->commands);
    g_free(peer);
}

void
peer_link_fail(PeerLink *link)
{
    GBytes *bytes;

    while ((bytes = g_queue_pop_head(&link->sending)) != NULL)
        g_bytes_unref(bytes);
    while ((bytes = g_queue_pop_head(&link->receiving)) != NULL)
        g_bytes_unref(bytes);
    link->is_alive = FALSE;
    if (link->initiator != NULL)
        initiator_drop(link->initiator);
}

void
peer_kill(Peer *peer, guint link)
{
    peer_link_fail(&peer->links[link]);
}

/* Sending */

static GBytes *
pack(const guint8 *bhs, const void *data, gsize size)
{
    guint8 *bytes = g_malloc(PDU_BHS_SIZE + size);

    memcpy(bytes, bhs, PDU_BHS_SIZE);
    if (size != 0)
        memcpy(bytes + PDU_BHS_SIZE, data, size);
    return g_bytes_new_take(bytes, PDU_BHS_SIZE + size);
}

gboolean
peer_link_flush(PeerLink *link)
{
    gboolean has_any = !g_queue_is_empty(&link->sending);
    GBytes *bytes;

    while (link->is_alive && (bytes = g_queue_pop_head(&link->sending)) != NULL) {
        gsize size;
        const guint8 *p = g_bytes_get_data(bytes, &size);
        guint8 bhs[PDU_BHS_SIZE];

        memcpy(bhs, p, PDU_BHS_SIZE);
        initiator_send(link->initiator, bhs, p + PDU_BHS_SIZE, size - PDU_BHS_SIZE);
        g_bytes_unref(bytes);
    }
    return has_any;
}

WireFaultKind
peer_judge(Peer *peer, WireDirection direction, const guint8 *bhs)
{
    WireFaultKind kind = wire_fault_judge(peer->config.fault, direction, bhs);
    WireFaultKind other = wire_fault_judge(peer->config.other, direction, bhs);

    return kind != WIRE_FAULT_NONE ? kind : other;
}

void
peer_link_send(PeerLink *link, guint8 *bhs, const void *data, gsize size)
{
    WireFaultKind fault;

    if (!link->is_alive)
        return;

    if (!link->withholds)
        link->told_stat_sn = link->exp_stat_sn;
    /* For recovery it is that of the connection to be closed, RFC 7143 11.14.4 */
    if (pdu_opcode(bhs) == PDU_LOGOUT_REQUEST && pdu_logout_reason(bhs) == PDU_LOGOUT_RECOVERY)
        put_be32(bhs + 28, link->peer->closed_stat_sn);
    else
        put_be32(bhs + 28, link->told_stat_sn);
    fault = peer_judge(link->peer, WIRE_TO_TARGET, bhs);
    switch (fault) {
    case WIRE_FAULT_DROP:
        return;
    case WIRE_FAULT_DELAY:
        g_queue_push_tail(&link->sending, pack(bhs, data, size));
        return;
    case WIRE_FAULT_CORRUPT:
        initiator_send_flawed(link->initiator, bhs, data, size,
                              size != 0 ? INITIATOR_FLAW_DATA_DIGEST
                                        : INITIATOR_FLAW_HEADER_DIGEST);
        break;
    case WIRE_FAULT_HEADER:
        initiator_send_flawed(link->initiator, bhs, data, size, INITIATOR_FLAW_HEADER_DIGEST);
        break;
    case WIRE_FAULT_NONE:
    case WIRE_FAULT_KILL:
        initiator_send(link->initiator, bhs, data, size);
        break;
    }
    (void)peer_link_flush(link);
    if (fault == WIRE_FAULT_KILL)
        peer_link_fail(link);
}

void
peer_header(Peer *peer, guint8 *bhs, guint8 opcode, guint8 flags, guint32 itt)
{
    memset(bhs, 0, PDU_BHS_SIZE);
    bhs[0] = opcode;
    bhs[1] = flags;
    put_be32(bhs + 16, itt);
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    put_be32(bhs + 24, peer->cmd_sn);
}

static guint32
segment_max(const PeerLink *link)
{
    guint32 max = link->initiator->max_xmit;

    return link->peer->config.send != 0 ? MIN(max, link->peer->config.send) : max;
}

void
peer_send_data_out(PeerCommand *command, guint32 ttt, guint32 offset, guint32 size)
{
    guint32 max = segment_max(command->link);
    guint32 data_sn = 0;

    while (size > 0) {
        guint32 n = MIN(size, max);
        guint8 bhs[PDU_BHS_SIZE] = { PDU_DATA_OUT, n == size ? PDU_FINAL : 0 };

        put_be32(bhs + 16, pdu_itt(command->bhs));
        put_be32(bhs + 20, ttt);
        put_be32(bhs + 36, data_sn++);
        put_be32(bhs + 40, offset);
        peer_link_send(command->link, bhs, command->out + offset, n);
        offset += n;
        size -= n;
    }
}

/* Commands */

PeerCommand *
peer_find(Peer *peer, guint32 itt)
{
    PeerCommand *command = &peer->commands[itt % PEER_COMMANDS];

    return command->is_used && pdu_itt(command->bhs) == itt ? command : NULL;
}

PeerCommand *
peer_take(Peer *peer, PeerKind kind, PeerLink *link)
{
    PeerCommand *command;
    guint32 itt;

    g_assert_cmpuint(peer->n_used, <, PEER_COMMANDS);
    while (peer->commands[peer->next_slot].is_used)
        peer->next_slot = (peer->next_slot + 1) % PEER_COMMANDS;

    itt = (++peer->generation % 0xffffff) << 8 | peer->next_slot;
    command = &peer->commands[peer->next_slot];
    peer->next_slot = (peer->next_slot + 1) % PEER_COMMANDS;
    peer->n_used++;
    *command = (PeerCommand){ .kind = kind, .peer = peer, .link = link, .is_used = TRUE };
    put_be32(command->bhs + 16, itt);
    return command;
}

void
peer_release(PeerCommand *command)
{
    g_assert_true(command->is_used);
    command->is_used = FALSE;
    command->peer->n_used--;
}

void
peer_give_up(PeerCommand *command)
{
    command->is_done = TRUE;
    command->is_given_up = TRUE;
}

gboolean
peer_has_room(const Peer *peer)
{
    /* Some places are kept for what is sent immediately */
    return !peer_sn_less(peer->max_cmd_sn, peer->cmd_sn) && peer->n_used < PEER_COMMANDS - 32;
}

/* Bytes that go with the command, and behind it without being asked for */
static guint32
immediate_size(const PeerCommand *command)
{
    const Peer *peer = command->peer;

    if (!peer->immediate_data)
        return 0;
    return MIN(MIN(command->out_size, peer->first_burst), segment_max(command->link));
}

static guint32
unsolicited_size(const PeerCommand *command)
{
    const Peer *peer = command->peer;

    if (peer->initial_r2t)
        return 0;
    return MIN(command->out_size, peer->first_burst) - immediate_size(command);
}

PeerCommand *
peer_command(Peer *peer, guint link, PduAttr attribute, const guint8 *cdb, gsize cdb_size,
             const void *out, guint32 out_size, void *in, guint32 in_size)
{
    PeerCommand *command = peer_take(peer, PEER_SCSI, &peer->links[link]);
    guint8 flags = (guint8)attribute;

    g_assert_true(peer_has_room(peer));
    command->out = out;
    command->out_size = out_size;
    command->in = in;
    command->in_size = in_size;
    flags |= out_size != 0 ? PDU_COMMAND_WRITE : 0;
    flags |= in_size != 0 ? PDU_COMMAND_READ : 0;
    flags |= unsolicited_size(command) == 0 ? PDU_FINAL : 0;
    peer_header(peer, command->bhs, PDU_SCSI_COMMAND, flags, pdu_itt(command->bhs));
    peer->cmd_sn++;
    put_be32(command->bhs + 20, MAX(out_size, in_size));
    memcpy(command->bhs + 32, cdb, cdb_size);
    return command;
}

void
peer_send(PeerCommand *command)
{
    guint32 immediate = immediate_size(command);

    command->is_sent = TRUE;
    peer_link_send(command->link, command->bhs, command->out, immediate);
    peer_send_data_out(command, PDU_TAG_RESERVED, immediate, unsolicited_size(command));
}

static PeerCommand *
send_immediate(Peer *peer, PeerCommand *command, guint8 opcode, guint8 flags)
{
    peer_header(peer, command->bhs, opcode | PDU_IMMEDIATE, flags | PDU_FINAL,
                pdu_itt(command->bhs));
    command->is_sent = TRUE;
    return command;
}

PeerCommand *
peer_manage(Peer *peer, guint link, PduTmf function, PeerCommand *subject)
{
    PeerCommand *command = peer_take(peer, PEER_MANAGEMENT, &peer->links[link]);

    command->subject = subject;
    (void)send_immediate(peer, command, PDU_TASK_MANAGEMENT_REQUEST, (guint8)function);
    if (subject != NULL)
        put_be32(command->bhs + 20, pdu_itt(subject->bhs));
    if (subject != NULL && function != PDU_TMF_TASK_REASSIGN)
        put_be32(command->bhs + 32, pdu_cmd_sn(subject->bhs));
    if (subject != NULL && function == PDU_TMF_TASK_REASSIGN)
        put_be32(command->bhs + 36, subject->next_sn);
    peer_link_send(command->link, command->bhs, NULL, 0);
    return command;
}

PeerCommand *
peer_logout(Peer *peer, guint link, PduLogoutReason reason, guint16 cid)
{
    PeerCommand *command = peer_take(peer, PEER_LOGOUT, &peer->links[link]);

    (void)send_immediate(peer, command, PDU_LOGOUT_REQUEST, (guint8)reason);
    put_be16(command->bhs + 20, reason == PDU_LOGOUT_CLOSE_SESSION ? 0 : cid);
    put_be16(command->bhs + 22, 0);
    /* The others may be closed before the answer comes */
    for (guint i = 0; reason == PDU_LOGOUT_CLOSE_SESSION && i < peer->n_links; i++)
        peer->links[i].is_leaving = TRUE;
    peer_link_send(command->link, command->bhs, NULL, 0);
    return command;
}
