/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * What peers may use of us
 *
 * The control thread has one copy, each worker has its own; a change travels as an order and holds
 * for what comes next. Times are seconds, sizes bytes.
 */

typedef struct {
    guint32 max_connections;        /* in all */
    guint32 max_logins;             /* connections in the login phase, in all */
    guint32 max_logins_per_address; /* of an IPv4 address or an IPv6 network of 64 bits */
    guint32 login_timeout;          /* from accept to the full feature phase */
    guint32 silence_timeout;        /* from accept to the first byte */
    guint32 pdu_timeout;            /* from the first to the last byte of a PDU */
    guint32 peer_timeout; /* of a host that acknowledges nothing; 0: as the system has it */
    guint32 max_sessions; /* in all, discovery sessions included */
    guint32 max_sessions_per_target; /* of targets that say nothing themselves; 0: no limit */
    guint32 max_text_size;           /* of one request */
    guint32 max_ahs_size;            /* of one command */
    guint64
        max_session_bytes; /* of buffers that the commands of a session hold; 0: a quarter of a pool */
    guint64 max_bytes;     /* the same of all sessions; 0: what the pools have */
} IscsiLimits;

/* Which one somebody has run into */
typedef enum {
    ISCSI_LIMIT_NONE,
    ISCSI_LIMIT_CONNECTIONS,
    ISCSI_LIMIT_LOGINS,
    ISCSI_LIMIT_LOGINS_PER_ADDRESS,
    ISCSI_LIMIT_LOGIN_TIMEOUT,
    ISCSI_LIMIT_SILENCE_TIMEOUT,
    ISCSI_LIMIT_PDU_TIMEOUT,
    ISCSI_LIMIT_SESSIONS,
    ISCSI_LIMIT_SESSIONS_PER_TARGET,
    ISCSI_LIMIT_TEXT_SIZE,
    ISCSI_LIMIT_AHS_SIZE,
    ISCSI_LIMIT_SESSION_BYTES,
    ISCSI_LIMIT_BYTES,
    ISCSI_LIMIT_DESCRIPTORS, /* of the process: accept(2) failed */
    ISCSI_LIMIT_N,
} IscsiLimit;

/* The defaults */
void iscsi_limits_init(IscsiLimits *limits);

/* Put members that are out of range to the nearest that is not: callers need not judge */
void iscsi_limits_clamp(IscsiLimits *limits);
