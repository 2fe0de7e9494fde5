/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Rate limit of what peers can make us log
 *
 * Each address, or network of 64 bits, may cause so many entries a minute; what is above is counted
 * and told in one entry when the minute is over. The number of addresses that
 * are remembered is bounded too: when the table is full, all strangers share
 * one entry. So a peer, or ten thousand of them, can neither fill the journal
 * nor our memory.
 *
 * The timer exists only while something was held back.
 */

#include <string.h>

#include "control/service-private.h"
#include "util/log.h"

#define WINDOW     (60 * G_USEC_PER_SEC)
#define PEERS_MAX  1024
#define STRANGERS  "other addresses"
#define INITIATORS "initiators"

typedef struct {
    const char *address; /* the key, as address_format_source() has it */
    gint64 begin;        /* of the minute */
    guint n_logged;
    guint n_held;
} Peer;

struct PeerLog {
    GHashTable *peers; /* address to Peer */
    guint entries_a_minute;
    guint timer;
};

PeerLog *
peer_log_new(guint entries_a_minute)
{
    PeerLog *log = g_new0(PeerLog, 1);

    log->entries_a_minute = entries_a_minute;
    log->peers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return log;
}

void
peer_log_free(PeerLog *log)
{
    if (log == NULL)
        return;

    g_clear_handle_id(&log->timer, g_source_remove);
    g_hash_table_unref(log->peers);
    g_free(log);
}

static gboolean
is_over(const Peer *peer, gint64 now)
{
    return now - peer->begin >= WINDOW;
}

static void
summarize(Peer *peer)
{
    g_autofree char *count = g_strdup_printf("%u", peer->n_held);
    const LogField fields[] = { { "ISCSI_REMOTE", peer->address },
                                { "COUNT", count },
                                { NULL, NULL } };

    if (peer->n_held > 0)
        log_event(EVENT_PEER_SUPPRESSED, fields);
    peer->n_held = 0;
}

/* Tell what was held back, forget who has been quiet; returns how many wait for their minute to end */
static guint
sweep(PeerLog *log, gint64 now)
{
    GHashTableIter iter;
    gpointer value;
    guint n_waiting = 0;

    g_hash_table_iter_init(&iter, log->peers);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Peer *peer = value;

        if (is_over(peer, now)) {
            summarize(peer);
            g_hash_table_iter_remove(&iter);
        } else if (peer->n_held > 0) {
            n_waiting++;
        }
    }
    return n_waiting;
}

static gboolean
on_minute(gpointer data)
{
    PeerLog *log = data;

    if (sweep(log, g_get_monotonic_time()) > 0)
        return G_SOURCE_CONTINUE;

    log->timer = 0;
    return G_SOURCE_REMOVE;
}

static Peer *
find_peer(PeerLog *log, const char *address, gint64 now)
{
    Peer *peer = g_hash_table_lookup(log->peers, address);
    char *key;

    if (peer != NULL)
        return peer;
    if (g_hash_table_size(log->peers) >= PEERS_MAX)
        (void)sweep(log, now);
    if (g_hash_table_size(log->peers) >= PEERS_MAX && strcmp(address, STRANGERS) != 0)
        return find_peer(log, STRANGERS, now);

    key = g_strdup(address);
    peer = g_new0(Peer, 1);
    *peer = (Peer){ .address = key, .begin = now };
    (void)g_hash_table_insert(log->peers, key, peer);
    return peer;
}

static gboolean
admit(PeerLog *log, const char *address)
{
    gint64 now = g_get_monotonic_time();
    Peer *peer = find_peer(log, address, now);

    if (is_over(peer, now)) {
        summarize(peer);
        *peer = (Peer){ .address = peer->address, .begin = now };
    }
    if (peer->n_logged < log->entries_a_minute) {
        peer->n_logged++;
        return TRUE;
    }

    peer->n_held++;
    if (log->timer == 0)
        log->timer = g_timeout_add_seconds(60, on_minute, log);
    return FALSE;
}

gboolean
peer_log_admit(PeerLog *log, const Address *remote)
{
    char address[ADDRESS_TEXT_MAX];

    (void)address_format_source(remote, address, sizeof(address));
    return admit(log, address);
}

gboolean
peer_log_admit_unknown(PeerLog *log)
{
    return admit(log, INITIATORS);
}
