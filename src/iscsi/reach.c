/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "iscsi/reach.h"

#include <string.h>

#include "iscsi/server.h"

/* Could it log in there? */
static gboolean
may_use(const Session *session, const IscsiTarget *target, IscsiVerdict *ret_verdict)
{
    if (!target->enabled || !server_target_is_visible(target, session->tag) ||
        iscsi_target_redirect(target, session->tag) != NULL ||
        !session_is_admitted(session, target, ret_verdict))
        return FALSE;

    return session_is_proved(session, ret_verdict);
}

static const LunEntry *
find_unit(const LunMap *map, LuMatchFn is_wanted, gconstpointer wanted)
{
    for (guint i = 0; i < map->n_entries; i++) {
        if (is_wanted(map->entries[i].lu, wanted))
            return &map->entries[i];
    }

    return NULL;
}

static gboolean
find_at(const Session *session, const IscsiTarget *target, LuMatchFn is_wanted,
        gconstpointer wanted, NexusReach *ret_reach)
{
    const LunEntry *entry;
    IscsiVerdict verdict = { 0 };

    /* What the target does not have no rule of it shows */
    if (find_unit(target->map, is_wanted, wanted) == NULL || !may_use(session, target, &verdict))
        return FALSE;
    entry = find_unit(verdict.map, is_wanted, wanted);
    if (entry == NULL)
        return FALSE;

    *ret_reach = (NexusReach){
        .target_name = target->name,
        .relative_target_port = iscsi_target_relative_port(target, session->tag),
        .target_port_group = session->tag,
        .map = access_map_new(verdict.map, &(AccessLun){ entry->lun, entry->lun, FALSE }, 1, FALSE),
    };
    return TRUE;
}

gboolean
reach_find(gpointer session, const char *target_name, LuMatchFn is_wanted, gconstpointer wanted,
           NexusReach *ret_reach)
{
    const Session *asker = session;
    const GPtrArray *targets = asker->server->targets;

    if (target_name != NULL) {
        const IscsiTarget *target = server_find_target(asker->server, target_name);

        return target != NULL && find_at(asker, target, is_wanted, wanted, ret_reach);
    }

    for (guint i = 0; i < targets->len; i++) {
        const IscsiTarget *target = targets->pdata[i];

        if (strcmp(target->name, asker->target->name) != 0 &&
            find_at(asker, target, is_wanted, wanted, ret_reach))
            return TRUE;
    }

    return FALSE;
}

void
reach_review_session(Session *session, const char *target_name)
{
    if (session->nexus == NULL)
        return;

    session->n_holds++;
    nexus_review_reach(session->nexus, target_name);
    session->n_holds--;
    session_check(session);
}

void
reach_review(Server *server, const char *target_name)
{
    list_foreach_safe(link, &server->sessions)
        reach_review_session(list_entry(link, Session, link), target_name);
}
