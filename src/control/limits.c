/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Limits of what peers may use
 *
 * They are settings; here they become those of the data plane, and what peers
 * run into is counted for the administrator: how often, when and by whom last.
 * Who runs into a limit does so again and again, so the journal hears of an
 * address once a minute.
 *
 * A connection needs a descriptor, and so do backstores, the bus and the key
 * files. Whatever the administrator allows, some are kept for those, so that
 * peers cannot take the last one.
 */

#include <sys/resource.h>

#include "control/service-private.h"
#include "util/log.h"

#define DESCRIPTORS_KEPT 128

/* clang-format off */
static const char *const names[ISCSI_LIMIT_N] = {
    [ISCSI_LIMIT_CONNECTIONS]         = "max-connections",
    [ISCSI_LIMIT_LOGINS]              = "max-logins",
    [ISCSI_LIMIT_LOGINS_PER_ADDRESS]  = "max-logins-per-address",
    [ISCSI_LIMIT_LOGIN_TIMEOUT]       = "login-timeout",
    [ISCSI_LIMIT_SILENCE_TIMEOUT]     = "silence-timeout",
    [ISCSI_LIMIT_PDU_TIMEOUT]         = "pdu-timeout",
    [ISCSI_LIMIT_SESSIONS]            = "max-sessions",
    [ISCSI_LIMIT_SESSIONS_PER_TARGET] = "max-sessions-per-target",
    [ISCSI_LIMIT_TEXT_SIZE]           = "max-text-size",
    [ISCSI_LIMIT_AHS_SIZE]            = "max-ahs-size",
    [ISCSI_LIMIT_SESSION_BYTES]       = "max-session-bytes",
    [ISCSI_LIMIT_BYTES]               = "max-bytes",
    [ISCSI_LIMIT_DESCRIPTORS]         = "descriptors",
};
/* clang-format on */

static guint32
bound_connections(guint32 wanted)
{
    struct rlimit limit;
    guint64 room;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return wanted;

    room = limit.rlim_cur > 2 * DESCRIPTORS_KEPT ? limit.rlim_cur - DESCRIPTORS_KEPT
                                                 : limit.rlim_cur / 2;
    return (guint32)MIN(room, wanted);
}

void
limits_apply(Service *service)
{
    const LimitsSpec *spec = &service->model->settings->limits;
    const IscsiLimits limits = {
        .max_connections = bound_connections(spec->max_connections),
        .max_logins = spec->max_logins,
        .max_logins_per_address = spec->max_logins_per_address,
        .login_timeout = spec->login_timeout,
        .silence_timeout = spec->silence_timeout,
        .pdu_timeout = spec->pdu_timeout,
        .peer_timeout = spec->peer_timeout,
        .max_sessions = spec->max_sessions,
        .max_sessions_per_target = spec->max_sessions_per_target,
        .max_text_size = spec->max_text_size,
        .max_ahs_size = spec->max_ahs_size,
        .max_session_bytes = spec->max_session_bytes,
        .max_bytes = spec->max_bytes,
    };

    iscsi_service_set_limits(service->iscsi, &limits);
}

static void
log_hit(const IscsiEvent *event, const char *remote)
{
    g_autofree char *times =
        event->count > 1 ? g_strdup_printf("refused %u times", event->count) : g_strdup("refused");
    const LogField fields[] = { { "LIMIT", names[event->limit] },
                                { "ISCSI_REMOTE", remote },
                                { "ISCSI_TARGET", event->target_name },
                                { "ISCSI_INITIATOR", event->initiator_name },
                                { "REASON", event->reason != NULL ? event->reason : times },
                                { NULL, NULL } };

    log_event(EVENT_LIMIT_REACHED, fields);
}

gboolean
limits_observe(Service *service, const IscsiEvent *event)
{
    char remote[ADDRESS_TEXT_MAX] = "-";

    if (event->limit == ISCSI_LIMIT_NONE)
        return FALSE;

    if (event->remote.size != 0)
        address_format(&event->remote, remote, sizeof(remote));
    model_count_limit(service->model, names[event->limit], MAX(event->count, 1), event->wall_time,
                      remote);
    if (peer_log_admit(service->limit_log, &event->remote))
        log_hit(event, remote);
    return TRUE;
}

void
limits_report_descriptors(Service *service)
{
    const IscsiEvent event = {
        .type = ISCSI_EVENT_LIMIT,
        .limit = ISCSI_LIMIT_DESCRIPTORS,
        .wall_time = g_get_real_time(),
    };

    (void)limits_observe(service, &event);
}
