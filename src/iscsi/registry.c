/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Nexus registry
 *
 * The one idea: whoever holds a nexus holds a Claim, and a Claim is at one
 * place at a time. It travels as a message to the registry, is kept there as
 * the owner of its nexus or in the queue behind the owner, and travels back
 * when it is granted, refused or released. An eviction has a message node of
 * its own, since the owner may send its release at the same moment; a released
 * claim stays until its eviction was acknowledged.
 *
 * TSIHs are handed out round robin over 1 to 65535, so the one that has been
 * free the longest comes next.
 */

#include "iscsi/registry.h"

#include "iscsi/login.h"

struct Registry {
    Mailbox *mailbox;
    guint max_sessions;
    guint n_sessions;
    guint16 last_tsih;
    GHashTable *entries; /* key: one nexus -> Entry */
    GHashTable *tsihs;   /* TSIH -> Claim */
    GHashTable *targets; /* name -> number of sessions */
};

typedef struct {
    char *key;
    Claim *owner;
    List waiters;
    guint n_waiters;
} Entry;

static void
entry_free(gpointer data)
{
    Entry *entry = data;

    g_assert(list_is_empty(&entry->waiters));
    g_free(entry->key);
    g_free(entry);
}

Registry *
registry_new(Mailbox *mailbox, guint max_sessions)
{
    Registry *registry = g_new0(Registry, 1);

    registry->mailbox = mailbox;
    registry_set_max_sessions(registry, max_sessions);
    registry->entries = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, entry_free);
    registry->tsihs = g_hash_table_new(NULL, NULL);
    registry->targets = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    return registry;
}

void
registry_set_max_sessions(Registry *registry, guint max_sessions)
{
    registry->max_sessions = MIN(max_sessions, G_MAXUINT16 - 1);
}

void
registry_free(Registry *registry)
{
    if (registry == NULL)
        return;

    g_assert(registry->n_sessions == 0);
    g_hash_table_destroy(registry->entries);
    g_hash_table_destroy(registry->tsihs);
    g_hash_table_destroy(registry->targets);
    g_free(registry);
}

guint
registry_n_sessions(const Registry *registry)
{
    return registry->n_sessions;
}

static char *
claim_key(const Claim *claim)
{
    gboolean is_normal = claim->type == ISCSI_SESSION_NORMAL;

    /* None of the names has a space in it */
    return g_strdup_printf("%02x%02x%02x%02x%02x%02x %u %s %s %s", claim->isid[0], claim->isid[1],
                           claim->isid[2], claim->isid[3], claim->isid[4], claim->isid[5],
                           claim->tag, is_normal ? "normal" : "discovery",
                           is_normal ? claim->target_name : claim->discovered,
                           claim->initiator_name);
}

static void
on_claimed(Message *message)
{
    Claim *claim = list_entry(message, Claim, message);

    claim->claimed(claim);
}

static void
claim_answer(Claim *claim, guint16 status, const char *reason)
{
    claim->status = status;
    claim->reason = reason;
    mailbox_send(claim->home, &claim->message, on_claimed);
}

static guint
target_count(const Registry *registry, const char *name)
{
    return GPOINTER_TO_UINT(g_hash_table_lookup(registry->targets, name));
}

static void
target_add(Registry *registry, const char *name, gint n)
{
    guint count = (guint)((gint)target_count(registry, name) + n);

    if (count == 0)
        g_hash_table_remove(registry->targets, name);
    else
        g_hash_table_insert(registry->targets, g_strdup(name), GUINT_TO_POINTER(count));
}

static guint16
tsih_take(Registry *registry)
{
    /* There is a free one: max_sessions is below their number */
    do
        registry->last_tsih = registry->last_tsih == G_MAXUINT16 ? 1 : registry->last_tsih + 1;
    while (g_hash_table_contains(registry->tsihs, GUINT_TO_POINTER(registry->last_tsih)));

    return registry->last_tsih;
}

static void
claim_grant(Registry *registry, Claim *claim)
{
    claim->tsih = tsih_take(registry);
    g_hash_table_insert(registry->tsihs, GUINT_TO_POINTER(claim->tsih), claim);
    registry->n_sessions++;
    if (claim->target_name != NULL)
        target_add(registry, claim->target_name, 1);
    claim_answer(claim, LOGIN_STATUS_SUCCESS, NULL);
}

static void
on_evict(Message *message)
{
    Claim *claim = list_entry(message, Claim, eviction);

    claim->evict(claim);
}

static void
entry_evict_owner(Entry *entry)
{
    Claim *owner = entry->owner;

    if (owner->was_evicted || owner->is_released)
        return;

    owner->was_evicted = TRUE;
    owner->is_evicting = TRUE;
    mailbox_send(owner->home, &owner->eviction, on_evict);
}

/* A session that is about to end for a new one of the same name is as good as gone */
static gboolean
may_be_joined(const Claim *owner, const Claim *claim)
{
    return owner != NULL && !owner->is_released && !owner->was_evicted &&
           owner->target_name != NULL && claim->target_name != NULL && owner->tag == claim->tag &&
           memcmp(owner->isid, claim->isid, sizeof(claim->isid)) == 0 &&
           strcmp(owner->initiator_name, claim->initiator_name) == 0 &&
           strcmp(owner->target_name, claim->target_name) == 0;
}

/* The initiator wants to add a connection to, or replace one of, an existing session */
static void
claim_existing(Registry *registry, Claim *claim)
{
    const Claim *owner =
        g_hash_table_lookup(registry->tsihs, GUINT_TO_POINTER(claim->requested_tsih));

    if (!may_be_joined(owner, claim)) {
        claim_answer(claim, LOGIN_STATUS_NO_SESSION, "there is no session of this TSIH");
        return;
    }

    claim->tsih = owner->tsih;
    claim->joined = owner->place;
    claim_answer(claim, LOGIN_STATUS_SUCCESS, NULL);
}

static Entry *
entry_new(Registry *registry, char *key_take)
{
    Entry *entry = g_new0(Entry, 1);

    entry->key = key_take;
    list_init(&entry->waiters);
    g_hash_table_insert(registry->entries, entry->key, entry);
    return entry;
}

static void
claim_nexus(Registry *registry, Claim *claim)
{
    g_autofree char *key = claim_key(claim);
    Entry *entry = g_hash_table_lookup(registry->entries, key);

    if (entry == NULL) {
        if (claim->target_limit != 0 &&
            target_count(registry, claim->target_name) >= claim->target_limit) {
            claim->limit = ISCSI_LIMIT_SESSIONS_PER_TARGET;
            claim_answer(claim, LOGIN_STATUS_OUT_OF_RESOURCES,
                         "the target has as many sessions as it may have");
            return;
        }

        entry = entry_new(registry, g_steal_pointer(&key));
        entry->owner = claim;
        claim->entry = entry;
        claim_grant(registry, claim);
        return;
    }

    if (entry->n_waiters >= REGISTRY_WAITERS_MAX) {
        claim_answer(claim, LOGIN_STATUS_OUT_OF_RESOURCES,
                     "too many logins wait for the end of the same session");
        return;
    }

    /* Session reinstatement, RFC 7143 6.3.5 */
    claim->entry = entry;
    entry->n_waiters++;
    list_append(&entry->waiters, &claim->link);
    entry_evict_owner(entry);
}

static void
on_claim(Message *message)
{
    Claim *claim = list_entry(message, Claim, message);
    Registry *registry = claim->registry;
    g_autofree char *key = NULL;

    if (claim->requested_tsih != 0) {
        claim_existing(registry, claim);
        return;
    }

    /* A reinstatement takes the place of another session, so the limit is not its concern */
    key = claim_key(claim);
    if (registry->n_sessions < registry->max_sessions ||
        g_hash_table_contains(registry->entries, key)) {
        claim_nexus(registry, claim);
        return;
    }

    claim->limit = ISCSI_LIMIT_SESSIONS;
    claim_answer(claim, LOGIN_STATUS_OUT_OF_RESOURCES,
                 "the service has as many sessions as it may have");
}

static void
on_released(Message *message)
{
    Claim *claim = list_entry(message, Claim, message);

    claim->released(claim);
}

/* The nexus of @entry is free: the next in the queue has it, and yields it to who waits behind */
static void
entry_pass_on(Registry *registry, Entry *entry)
{
    ListLink *link = list_pop(&entry->waiters);

    if (link == NULL) {
        g_hash_table_remove(registry->entries, entry->key);
        return;
    }

    entry->n_waiters--;
    entry->owner = list_entry(link, Claim, link);
    claim_grant(registry, entry->owner);
    if (!list_is_empty(&entry->waiters))
        entry_evict_owner(entry);
}

static void
claim_finish(Claim *claim)
{
    Registry *registry = claim->registry;

    if (!claim->is_released || claim->is_evicting)
        return;

    g_hash_table_remove(registry->tsihs, GUINT_TO_POINTER(claim->tsih));
    registry->n_sessions--;
    if (claim->target_name != NULL)
        target_add(registry, claim->target_name, -1);
    entry_pass_on(registry, claim->entry);

    mailbox_send(claim->home, &claim->message, on_released);
}

static void
on_release(Message *message)
{
    Claim *claim = list_entry(message, Claim, message);

    claim->is_released = TRUE;
    claim_finish(claim);
}

static void
on_evicted(Message *message)
{
    Claim *claim = list_entry(message, Claim, eviction);

    claim->is_evicting = FALSE;
    claim_finish(claim);
}

void
registry_claim(Claim *claim)
{
    list_init(&claim->link);
    mailbox_send(claim->registry->mailbox, &claim->message, on_claim);
}

void
registry_release(Claim *claim)
{
    mailbox_send(claim->registry->mailbox, &claim->message, on_release);
}

void
registry_evicted(Claim *claim)
{
    mailbox_send(claim->registry->mailbox, &claim->eviction, on_evicted);
}
