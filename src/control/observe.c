/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What the workers report, made into model objects and log entries
 *
 * The model's sessions are a picture of what the workers said; nothing here
 * changes a worker. Every entry that a peer can cause passes the rate limit of
 * its address.
 */

#include <errno.h>
#include <string.h>

#include "control/jobs.h"
#include "control/service-private.h"
#include "util/log.h"

static const char *
text_or_empty(const char *text)
{
    return text != NULL ? text : "";
}

static const char *
digest_name(guint32 digest)
{
    return digest == ISCSI_DIGEST_CRC32C ? "CRC32C" : "None";
}

static const char *
status_text(guint16 status, char *text, gsize size)
{
    (void)g_snprintf(text, size, "%04x", status);
    return status != 0 ? text : NULL;
}

static void
log_from_peer(Service *service, EventId id, const IscsiEvent *event)
{
    char remote[ADDRESS_TEXT_MAX];
    char session[8];
    char status[8];
    const LogField fields[] = { { "ISCSI_TARGET", event->target_name },
                                { "ISCSI_INITIATOR", event->initiator_name },
                                { "ISCSI_REMOTE", event->remote.size != 0 ? remote : NULL },
                                { "ISCSI_SESSION", event->tsih != 0 ? session : NULL },
                                { "ISCSI_BACKSTORE", event->lu_name },
                                { "ISCSI_STATUS",
                                  status_text(event->status, status, sizeof(status)) },
                                { "REASON", event->reason },
                                { "DIGEST", event->reason },
                                { "FUNCTION", event->reason },
                                { NULL, NULL } };

    if (!peer_log_admit(service->peer_log, &event->remote))
        return;

    address_format(&event->remote, remote, sizeof(remote));
    (void)g_snprintf(session, sizeof(session), "%u", event->tsih);
    log_event(id, fields);
}

static GVariant *
describe_params(const IscsiParams *params)
{
    GVariantDict dict;

    g_variant_dict_init(&dict, NULL);
    if (params != NULL) {
        g_variant_dict_insert(&dict, "HeaderDigest", "s", digest_name(params->header_digest));
        g_variant_dict_insert(&dict, "DataDigest", "s", digest_name(params->data_digest));
        g_variant_dict_insert(&dict, "MaxRecvDataSegmentLength", "u",
                              params->max_recv_data_segment_length);
        g_variant_dict_insert(&dict, "MaxXmitDataSegmentLength", "u",
                              params->max_xmit_data_segment_length);
        g_variant_dict_insert(&dict, "MaxConnections", "u", params->max_connections);
        g_variant_dict_insert(&dict, "InitialR2T", "b", params->initial_r2t != 0);
        g_variant_dict_insert(&dict, "ImmediateData", "b", params->immediate_data != 0);
        g_variant_dict_insert(&dict, "MaxBurstLength", "u", params->max_burst_length);
        g_variant_dict_insert(&dict, "FirstBurstLength", "u", params->first_burst_length);
        g_variant_dict_insert(&dict, "DefaultTime2Wait", "u", params->default_time2wait);
        g_variant_dict_insert(&dict, "DefaultTime2Retain", "u", params->default_time2retain);
        g_variant_dict_insert(&dict, "MaxOutstandingR2T", "u", params->max_outstanding_r2t);
        g_variant_dict_insert(&dict, "ErrorRecoveryLevel", "u", params->error_recovery_level);
    }
    return g_variant_ref_sink(g_variant_dict_end(&dict));
}

static ModelConnection *
make_connection(const Service *service, ModelSession *session, const IscsiEvent *event)
{
    ModelConnection *connection = g_new0(ModelConnection, 1);
    const IscsiParams *params = event->params;

    connection->session = session;
    connection->cid = event->cid;
    connection->portal = model_find_portal_by_id(service->model, event->portal_id);
    connection->local = event->local;
    connection->remote = event->remote;
    connection->header_digest = g_strdup(digest_name(params != NULL ? params->header_digest : 0));
    connection->data_digest = g_strdup(digest_name(params != NULL ? params->data_digest : 0));
    connection->established_at = event->wall_time;
    return connection;
}

static void
on_opened(Service *service, const IscsiEvent *event)
{
    Model *model = service->model;
    ModelSession *session = model_find_session(model, event->tsih);
    char host[ADDRESS_TEXT_MAX];

    if (session != NULL)
        model_remove_session(model, session);

    session = model_session_new(event->tsih);
    for (guint i = 0; i < 6; i++)
        (void)g_snprintf(session->isid + 2 * i, 3, "%02x", event->isid[i]);
    address_format_host(&event->remote, host, sizeof(host));
    session->discovery = event->discovery;
    session->target_name = g_strdup(text_or_empty(event->target_name));
    session->target = event->discovery ? NULL : model_find_target(model, session->target_name);
    session->initiator_name = g_strdup(text_or_empty(event->initiator_name));
    session->initiator_alias = g_strdup(text_or_empty(event->initiator_alias));
    session->established_at = event->wall_time;
    session->chap_user = g_strdup(event->chap_user);
    session->remote_address = g_strdup(host);
    session->parameters = describe_params(event->params);
    g_ptr_array_add(session->connections, make_connection(service, session, event));
    if (session->target != NULL)
        session->target->n_logins++;
    model_take_session(model, session);

    if (!event->discovery)
        log_from_peer(service, EVENT_SESSION_OPENED, event);
    systemd_update(service->systemd);
}

/* Another connection of a session */
static void
on_connection_opened(Service *service, const IscsiEvent *event)
{
    ModelSession *session = model_find_session(service->model, event->tsih);

    if (session != NULL)
        model_take_connection(service->model, make_connection(service, session, event));
}

/* The session goes on */
static void
on_connection_closed(Service *service, const IscsiEvent *event)
{
    ModelSession *session = model_find_session(service->model, event->tsih);
    ModelConnection *connection =
        session != NULL ? model_find_connection(session, event->cid) : NULL;

    if (connection != NULL)
        model_remove_connection(service->model, connection);
    operation_check_waits(service);
}

static void
on_closed(Service *service, const IscsiEvent *event)
{
    ModelSession *session = model_find_session(service->model, event->tsih);
    gboolean discovery = event->discovery || (session != NULL && session->discovery);

    if (session != NULL)
        model_remove_session(service->model, session);
    if (!discovery)
        log_from_peer(service, EVENT_SESSION_CLOSED, event);
    memory_note_end(service);
    operation_check_waits(service);
    jobs_poll(service->jobs);
    systemd_update(service->systemd);
}

static void
on_backstore_error(Service *service, const IscsiEvent *event)
{
    ModelBackstore *backstore = model_find_backstore(service->model, text_or_empty(event->lu_name));

    log_from_peer(service, EVENT_BACKSTORE_ERROR, event);
    if (backstore != NULL)
        storage_check_failed(service->storage, backstore, event->reason);
    if (backstore != NULL &&
        (event->error == ENODEV || event->error == ENXIO || event->error == ENOMEDIUM))
        storage_lose(service->storage, backstore, event->reason);
}

static void
count_refused(Service *service, const IscsiEvent *event)
{
    ModelTarget *target = model_find_target(service->model, text_or_empty(event->target_name));

    if (target != NULL)
        target->n_refused++;
}

void
observe_event(const IscsiEvent *event, gpointer data)
{
    Service *service = data;

    switch (event->type) {
    case ISCSI_EVENT_SESSION_OPENED:
        on_opened(service, event);
        break;
    case ISCSI_EVENT_SESSION_CLOSED:
        on_closed(service, event);
        break;
    case ISCSI_EVENT_CONNECTION_OPENED:
        on_connection_opened(service, event);
        break;
    case ISCSI_EVENT_CONNECTION_CLOSED:
        on_connection_closed(service, event);
        break;
    case ISCSI_EVENT_LOGIN_REFUSED:
        count_refused(service, event);
        if (!limits_observe(service, event))
            rejection_report(service, event);
        break;
    case ISCSI_EVENT_CONNECTION_LOST:
        (void)limits_observe(service, event);
        log_from_peer(service, EVENT_CONNECTION_LOST, event);
        break;
    case ISCSI_EVENT_PROTOCOL_ERROR:
        if (!limits_observe(service, event))
            log_from_peer(service, EVENT_PROTOCOL_ERROR, event);
        break;
    case ISCSI_EVENT_DIGEST_ERROR:
        log_from_peer(service, EVENT_DIGEST_ERROR, event);
        break;
    case ISCSI_EVENT_TASK_MANAGEMENT:
        log_from_peer(service, EVENT_TASK_MANAGEMENT, event);
        break;
    case ISCSI_EVENT_BACKSTORE_ERROR:
        on_backstore_error(service, event);
        break;
    case ISCSI_EVENT_LIMIT:
        (void)limits_observe(service, event);
        break;
    case ISCSI_EVENT_CONNECTIONS:
        break;
    default:
        g_assert_not_reached();
    }
}
