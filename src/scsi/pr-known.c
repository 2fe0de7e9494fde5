/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Which ports a TransportID without an ISID means: the search
 *
 * Who is logged in is known to each worker for its own sessions. The home
 * worker asks all of them with the node that each shard has for the request at
 * the head of the queue (see lu-reset.c), each answers at once with a copy of
 * the names that the list asks for, and the answers are put together at home.
 * The list lies in the buffer of the command, whose owner waits.
 *
 * A worker answers with at most one name more than there may be registrations,
 * so what an initiator with many sessions can have us allocate has an end, and
 * whoever is left out could not have been registered anyway.
 */

#include "scsi/pr-known.h"

#include <string.h>

#include "scsi/lu-shard.h"
#include "scsi/sibling.h"
#include "scsi/transport-id.h"

#define ANSWER_MAX (REGISTRATIONS_MAX + 1)

/* Whether the list names, without an ISID, the initiator that has this port */
static gboolean
is_listed(const PrRequest *request, const char *port_name)
{
    char name[PORT_NAME_MAX + 1];
    guint32 length;

    for (guint32 at = 0; at < request->n_id_bytes; at += length) {
        const guint8 *id = request->ids + at;
        guint byte;

        length = transport_id_parse(id, request->n_id_bytes - at, name, &byte);
        g_assert(length > 0);
        if (transport_id_is_initiator(id) && transport_id_is_port_of(port_name, name))
            return TRUE;
    }

    return FALSE;
}

static gboolean
names_initiators(const PrRequest *request)
{
    char name[PORT_NAME_MAX + 1];
    guint32 length;

    for (guint32 at = 0; at < request->n_id_bytes; at += length) {
        const guint8 *id = request->ids + at;
        guint byte;

        if (transport_id_is_initiator(id))
            return TRUE;
        length = transport_id_parse(id, request->n_id_bytes - at, name, &byte);
        g_assert(length > 0);
    }

    return FALSE;
}

static void
merge(PrRequest *request, const Lu *lu)
{
    gsize n = 0;

    for (guint i = 0; i < lu->n_workers; i++)
        n += lu->shards[i].asked.known.n;

    request->known = g_new(NexusName, n);
    for (guint i = 0; i < lu->n_workers; i++) {
        LuShard *shard = &lu->shards[i];

        for (guint j = 0; j < shard->asked.known.n; j++)
            request->known[request->n_known++] = shard->asked.known.names[j];
        g_free(shard->asked.known.names);
    }
}

/* Home: ASKED */
static void
on_asked(Message *message)
{
    const LuShard *shard = list_entry(message, LuShard, reset_message);
    PrRequest *request = shard->asked.known.request;

    if (!lu_count_answer(shard->lu))
        return;

    merge(request, shard->lu);
    request->found(request);
}

/* Shard: ASK */
static void
on_ask(Message *message)
{
    LuShard *shard = list_entry(message, LuShard, reset_message);
    const PrRequest *request = shard->asked.known.request;
    NexusName *names = NULL;
    guint n = 0;

    list_foreach(link, &shard->nexus_luns) {
        const NexusLun *nexus_lun = list_entry(link, NexusLun, shard_link);

        if (n == ANSWER_MAX || nexus_lun->is_leaving || nexus_is_sibling(nexus_lun->nexus) ||
            !is_listed(request, nexus_lun->nexus->initiator_port_name))
            continue;
        names = g_renew(NexusName, names, n + 1);
        nexus_name_init(&names[n++], nexus_lun->nexus);
    }

    shard->asked.known.names = names;
    shard->asked.known.n = n;
    lu_answer_home(shard, on_asked);
}

void
pr_known_find(PrRequest *request, const guint8 *ids, guint32 size,
              void (*found)(PrRequest *request))
{
    Lu *lu = request->reset.lu;

    request->ids = ids;
    request->n_id_bytes = size;
    request->found = found;
    if (!names_initiators(request)) {
        found(request);
        return;
    }

    for (guint i = 0; i < lu->n_workers; i++)
        lu->shards[i].asked.known.request = request;
    lu_broadcast(lu, on_ask);
}

void
pr_known_clear(PrRequest *request)
{
    g_clear_pointer(&request->known, g_free);
    request->n_known = 0;
}

static gboolean
is_candidate(const NexusName *name, const char *initiator, const NexusName *to)
{
    return name->port == to->port &&
           (name->target == to->target || name->target == 0 || to->target == 0) &&
           transport_id_is_port_of(name->name, initiator);
}

gboolean
pr_known_one(const PrRequest *request, const Reservations *now, const char *initiator,
             NexusName *to)
{
    const NexusName *one = NULL;
    gboolean is_unknown;
    guint n = 0;

    for (guint i = 0; i < request->n_known; i++) {
        if (is_candidate(&request->known[i], initiator, to)) {
            one = &request->known[i];
            n++;
        }
    }
    is_unknown = n == 0;
    for (guint i = 0; i < now->n && is_unknown; i++) {
        if (is_candidate(&now->entries[i].nexus, initiator, to)) {
            one = &now->entries[i].nexus;
            n++;
        }
    }

    if (n == 1)
        g_strlcpy(to->name, one->name, sizeof(to->name));
    return n == 1;
}
