/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Refused logins
 *
 * The initiator is told a number; the administrator is told who, from where,
 * why, by which rule, and which command would let this initiator in. A name
 * from the wire becomes part of a command line only when it is a valid iSCSI
 * name: those have no character that a shell knows.
 */

#include <string.h>

#include "control/secrets.h"
#include "control/service-private.h"
#include "iscsi/login.h"
#include "util/log.h"
#include "util/name.h"

static gboolean
is_name(const char *text)
{
    return text != NULL && name_check_iscsi(text, NULL);
}

static char *
cure_authentication(const IscsiEvent *event, const ModelTarget *target, const ModelAcl *rule)
{
    const char *more = event->remedy == LOGIN_REMEDY_MUTUAL ? " --mutual-user=USER" : "";

    if (event->remedy == LOGIN_REMEDY_INITIATOR)
        return NULL;
    if (event->remedy == LOGIN_REMEDY_ALGORITHM)
        return g_strdup("lunctl chap algorithms ALGORITHM...");
    if (event->discovery)
        return g_strdup_printf("lunctl discovery auth chap --chap-user=USER%s", more);
    if (target == NULL)
        return NULL;
    if (rule != NULL && strcmp(model_acl_spec(rule)->authentication, "CHAP") == 0)
        return g_strdup_printf("lunctl access secret %s '%s'%s", target->spec->name, rule->name,
                               more);
    return g_strdup_printf("lunctl target auth %s chap --chap-user=USER%s", target->spec->name,
                           more);
}

static char *
make_cure(const IscsiEvent *event, const ModelTarget *target, const ModelAcl *rule)
{
    switch (event->status) {
    case LOGIN_STATUS_AUTHENTICATION_FAILURE:
        return cure_authentication(event, target, rule);
    case LOGIN_STATUS_AUTHORIZATION_FAILURE:
        if (target != NULL && rule != NULL)
            return g_strdup_printf("lunctl access remove %s '%s'", target->spec->name, rule->name);
        if (target != NULL && is_name(event->initiator_name))
            return g_strdup_printf("lunctl access allow %s %s", target->spec->name,
                                   event->initiator_name);
        return NULL;
    case LOGIN_STATUS_NOT_FOUND:
        return target == NULL ? g_strdup("lunctl target list") : NULL;
    case LOGIN_STATUS_SERVICE_UNAVAILABLE:
        return target != NULL && !target->spec->enabled
                   ? g_strdup_printf("lunctl target enable %s", target->spec->name)
                   : NULL;
    default:
        return NULL;
    }
}

static void
log_rejection(const IscsiEvent *event, const ServiceRejection *rejection)
{
    g_autofree char *status = g_strdup_printf("%04x", event->status);
    g_autofree char *reason = rejection->cure != NULL
                                  ? g_strdup_printf("%s (%s)", rejection->reason, rejection->cure)
                                  : g_strdup(rejection->reason);
    const LogField fields[] = { { "ISCSI_TARGET", event->discovery && event->target_name == NULL
                                                      ? "discovery"
                                                      : event->target_name },
                                { "ISCSI_INITIATOR", event->initiator_name },
                                { "ISCSI_REMOTE", rejection->address },
                                { "ISCSI_STATUS", event->status != 0 ? status : NULL },
                                { "ISCSI_RULE", rejection->rule },
                                { "REASON", reason },
                                { "CURE", rejection->cure },
                                { NULL, NULL } };

    log_event(EVENT_LOGIN_REFUSED, fields);
}

void
rejection_report(Service *service, const IscsiEvent *event)
{
    const ModelTarget *target =
        event->target_name != NULL ? model_find_target(service->model, event->target_name) : NULL;
    const ModelAcl *rule =
        target != NULL && event->rule_id != 0 ? model_find_acl_by_id(target, event->rule_id) : NULL;
    g_autofree char *cure = make_cure(event, target, rule);
    char remote[ADDRESS_TEXT_MAX];
    ServiceRejection rejection;

    if (!peer_log_admit(service->peer_log, &event->remote))
        return;

    address_format(&event->remote, remote, sizeof(remote));
    rejection = (ServiceRejection){
        .target = event->target_name,
        .initiator = event->initiator_name,
        .address = remote,
        .status = event->status,
        .reason = event->reason != NULL ? event->reason : "no reason is known",
        .rule = rule != NULL ? rule->name : NULL,
        .cure = cure,
    };
    log_rejection(event, &rejection);
    if (service->rejection_fn != NULL)
        service->rejection_fn(&rejection, service->rejection_data);
}

void
service_set_rejection_fn(Service *service, ServiceRejectionFn fn, gpointer user_data)
{
    service->rejection_fn = fn;
    service->rejection_data = user_data;
}
