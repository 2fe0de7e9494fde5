/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "peer.h"

/* What the files of the peer have of each other: peer.c, peer-receive.c, peer-recover.c */

/* States of a StatSN that is not below PeerLink.exp_stat_sn */
typedef enum {
    PEER_STATUS_MISSING,
    PEER_STATUS_HERE,    /* but what it ends lacks data */
    PEER_STATUS_SETTLED, /* may be acknowledged */
} PeerStatus;

/* Sends with the current ExpStatSN, through the rule of faults */
void peer_link_send(PeerLink *link, guint8 *bhs, const void *data, gsize size);

/* What the rules of faults say of a PDU that passes */
WireFaultKind peer_judge(Peer *peer, WireDirection direction, const guint8 *bhs);

/* PDUs that were put aside go now. FALSE: there was none. */
gboolean peer_link_flush(PeerLink *link);

/* The socket is of no use any more */
void peer_link_fail(PeerLink *link);

/* A header with the session's numbers */
void peer_header(Peer *peer, guint8 *bhs, guint8 opcode, guint8 flags, guint32 itt);

void peer_send_data_out(PeerCommand *command, guint32 ttt, guint32 offset, guint32 size);
PeerCommand *peer_find(Peer *peer, guint32 itt);

/* A place in the table, with a tag; the caller fills the rest */
PeerCommand *peer_take(Peer *peer, PeerKind kind, PeerLink *link);

/* Receiving (peer-receive.c) */

/* FALSE: there was nothing */
gboolean peer_link_turn(PeerLink *link);

/* Ask for what is missing of the StatSNs below @end, unless it was asked for */
void peer_ask_statuses(PeerLink *link, guint32 end);

/* The same for the Data-Ins or R2Ts of a command */
void peer_ask_data(PeerCommand *command, guint32 end);

/* Nothing has come for a while, RFC 7143 7.1.4.1: all that was sent and is not here */
void peer_ask_rest(PeerCommand *command);

/* Something is here behind what is missing */
gboolean peer_has_gap(const PeerCommand *command);

/* The target wants to know that a read has come so far */
void peer_acknowledge_data(PeerCommand *command);

static inline gboolean
peer_sn_less(guint32 a, guint32 b)
{
    return (gint32)(a - b) < 0;
}
