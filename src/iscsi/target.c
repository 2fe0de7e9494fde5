/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "iscsi/target.h"

#include <string.h>

#include "iscsi/chap.h"

#define DEFAULT_QUEUE_DEPTH  128
#define DEFAULT_NOP_INTERVAL 15
#define DEFAULT_NOP_TIMEOUT  15

static void
target_free(Snapshot *snapshot)
{
    IscsiTarget *target = list_entry(snapshot, IscsiTarget, snapshot);

    g_free(target->name);
    g_free(target->alias);
    g_free(target->redirect.address);
    for (guint i = 0; i < target->n_redirects; i++)
        g_free(target->redirects[i].address);
    g_free(target->redirects);
    for (guint i = 0; i < target->n_rules; i++)
        access_rule_clear(&target->rules[i]);
    g_free(target->rules);
    credentials_unref(target->credentials);
    g_free(target->tags);
    g_free(target->announces);
    if (target->map != NULL)
        snapshot_unref(&target->map->snapshot);
    g_free(target);
}

IscsiTarget *
iscsi_target_new(void)
{
    IscsiTarget *target = g_new0(IscsiTarget, 1);

    snapshot_init(&target->snapshot, target_free);
    iscsi_params_init_offer(&target->params);
    target->queue_depth = DEFAULT_QUEUE_DEPTH;
    target->nop_interval = DEFAULT_NOP_INTERVAL;
    target->nop_timeout = DEFAULT_NOP_TIMEOUT;
    return target;
}

const IscsiRedirect *
iscsi_target_redirect(const IscsiTarget *target, guint16 tag)
{
    for (guint i = 0; i < target->n_redirects; i++) {
        if (target->redirects[i].tag == tag)
            return &target->redirects[i];
    }
    return target->redirect.address != NULL ? &target->redirect : NULL;
}

guint16
iscsi_target_relative_port(const IscsiTarget *target, guint16 tag)
{
    const LunMap *map = target->map;

    for (guint i = 0; map != NULL && i < map->n_groups; i++) {
        if (map->groups[i].tag == tag && map->groups[i].relative_port != 0)
            return map->groups[i].relative_port;
    }
    return target->relative_port;
}

/* What a rule says of the proof, or leaves to the target */
static void
judge_auth(const IscsiTarget *target, IscsiVerdict *verdict)
{
    AccessAuth auth = verdict->rule != NULL ? verdict->rule->auth : ACCESS_AUTH_TARGET;

    switch (auth) {
    case ACCESS_AUTH_TARGET:
        verdict->wants_chap = target->wants_chap;
        verdict->credentials = target->credentials;
        return;
    case ACCESS_AUTH_NONE:
        return;
    case ACCESS_AUTH_CHAP:
        verdict->wants_chap = TRUE;
        verdict->credentials = verdict->rule->credentials;
        return;
    }

    g_assert_not_reached();
}

IscsiVerdict
iscsi_target_judge(const IscsiTarget *target, const AccessRequest *request)
{
    IscsiVerdict verdict = { .map = target->map };
    AccessResult result = access_find(target->rules, target->n_rules, request, &verdict.rule);

    verdict.is_allowed = result == ACCESS_ALLOWED ||
                         (result == ACCESS_NO_RULE && target->access == ISCSI_ACCESS_OPEN);
    if (!verdict.is_allowed)
        return verdict;

    if (verdict.rule != NULL && verdict.rule->map != NULL)
        verdict.map = verdict.rule->map;
    judge_auth(target, &verdict);
    return verdict;
}

gboolean
iscsi_target_admits(const IscsiTarget *target, const IscsiHolder *holder, IscsiVerdict *ret_verdict)
{
    *ret_verdict = iscsi_target_judge(target, &holder->request);

    if (!ret_verdict->is_allowed)
        return FALSE;
    if (!ret_verdict->wants_chap)
        return TRUE;
    return holder->chap_user != NULL &&
           credentials_find(ret_verdict->credentials, holder->chap_user) != NULL;
}

static void
security_free(Snapshot *snapshot)
{
    IscsiSecurity *security = list_entry(snapshot, IscsiSecurity, snapshot);

    credentials_unref(security->discovery_credentials);
    g_free(security);
}

IscsiSecurity *
iscsi_security_new(void)
{
    IscsiSecurity *security = g_new0(IscsiSecurity, 1);

    snapshot_init(&security->snapshot, security_free);
    security->chap_algorithms = CHAP_ALL;
    return security;
}
