/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * Digests, as the key table numbers the values of HeaderDigest and DataDigest.
 * A mask has bit 1 << ISCSI_DIGEST_x for each digest that may be chosen: both
 * bits is "as the initiator prefers", one bit alone requires or forbids.
 */
typedef enum {
    ISCSI_DIGEST_NONE,
    ISCSI_DIGEST_CRC32C,
    ISCSI_DIGEST_N,
} IscsiDigest;

#define ISCSI_DIGEST_MASK_NONE   (1u << ISCSI_DIGEST_NONE)
#define ISCSI_DIGEST_MASK_CRC32C (1u << ISCSI_DIGEST_CRC32C)
#define ISCSI_DIGEST_MASK_ANY    (ISCSI_DIGEST_MASK_NONE | ISCSI_DIGEST_MASK_CRC32C)

typedef enum {
    ISCSI_SESSION_NORMAL,
    ISCSI_SESSION_DISCOVERY,
    ISCSI_SESSION_N,
} IscsiSessionType;

/* Values of TaskReporting: which task management semantics the session has */
typedef enum {
    ISCSI_TASK_REPORTING_RFC3720,
    ISCSI_TASK_REPORTING_RESPONSE_FENCE,
    ISCSI_TASK_REPORTING_FAST_ABORT,
    ISCSI_TASK_REPORTING_N,
} IscsiTaskReporting;

/* Connections of one session */
#define ISCSI_CONNECTIONS_MAX 8

/*
 * The values of the negotiable keys, for a target's limits (what we offer) as
 * well as for a session and its connection (what was agreed on).
 *
 * As limits, header_digest, data_digest and task_reporting are masks of what
 * may be chosen; as results they are one value of their enum. All sizes are
 * bytes, all times seconds. The key table addresses the members by offset, so
 * each is a guint32.
 */
typedef struct {
    /* of a connection */
    guint32 header_digest;
    guint32 data_digest;
    guint32 max_recv_data_segment_length; /* ours: the most that the peer may send in one PDU */
    guint32 max_xmit_data_segment_length; /* the peer's: the most that we may send in one PDU */

    /* of the session */
    guint32 max_connections;
    guint32 initial_r2t; /* 0 is No, 1 is Yes; so too the booleans below */
    guint32 immediate_data;
    guint32 max_burst_length;
    guint32 first_burst_length;
    guint32 default_time2wait;
    guint32 default_time2retain;
    guint32 max_outstanding_r2t;
    guint32 data_pdu_in_order;
    guint32 data_sequence_in_order;
    guint32 error_recovery_level;
    guint32 task_reporting;
    guint32 protocol_level; /* iSCSIProtocolLevel, RFC 7144 */
} IscsiParams;

/* Set @params to what this target offers unless the administrator says otherwise */
void iscsi_params_init_offer(IscsiParams *params);

/* Set @params to the defaults of RFC 7143 section 13: what holds when nothing is negotiated */
void iscsi_params_init_rfc(IscsiParams *params);
