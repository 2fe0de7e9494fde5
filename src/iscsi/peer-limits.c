/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "iscsi/peer-limits.h"

#include "engine/pool.h"
#include "iscsi/pdu.h"
#include "iscsi/text.h"

void
iscsi_limits_init(IscsiLimits *limits)
{
    *limits = (IscsiLimits){
        .max_connections = 8192,
        .max_logins = 256,
        .max_logins_per_address = 64,
        .login_timeout = 15,
        .silence_timeout = 5,
        .pdu_timeout = 60,
        .peer_timeout = 60,
        .max_sessions = 4096,
        .max_sessions_per_target = 0,
        .max_text_size = TEXT_TOTAL_MAX,
        .max_ahs_size = PDU_AHS_SIZE_MAX,
        .max_session_bytes = 0,
        .max_bytes = 0,
    };
}

void
iscsi_limits_clamp(IscsiLimits *limits)
{
    limits->max_connections = MAX(limits->max_connections, 1);
    limits->max_logins = MAX(limits->max_logins, 1);
    limits->max_logins_per_address = MAX(limits->max_logins_per_address, 1);
    limits->login_timeout = CLAMP(limits->login_timeout, 1, 3600);
    limits->silence_timeout = CLAMP(limits->silence_timeout, 1, 3600);
    limits->pdu_timeout = CLAMP(limits->pdu_timeout, 1, 3600);
    limits->peer_timeout = MIN(limits->peer_timeout, 3600);
    limits->max_sessions = CLAMP(limits->max_sessions, 1, G_MAXUINT16 - 1);
    /* RFC 7143 6.1 */
    limits->max_text_size = CLAMP(limits->max_text_size, 8192, TEXT_TOTAL_MAX);
    limits->max_ahs_size = MIN(limits->max_ahs_size, PDU_AHS_SIZE_MAX);
    if (limits->max_session_bytes != 0)
        limits->max_session_bytes = MAX(limits->max_session_bytes, POOL_BUFFER_MAX);
}
