/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "engine/mailbox.h"
#include "iscsi/param.h"
#include "iscsi/peer-limits.h"
#include "util/list.h"

/*
 * Nexus registry: which session there is, and where
 *
 * Lives on one worker. A session to be asks for its I_T nexus with a Claim and
 * keeps it until the session is gone:
 *
 *     registry_claim()    CLAIM_NEXUS    answered by  claim->claimed   (CLAIMED)
 *     claim->evict        EVICT          answered by  registry_evicted() (EVICTED)
 *     registry_release()  RELEASE_NEXUS  answered by  claim->released  (RELEASED)
 *
 * The same initiator port at the same target portal group has one session
 * (RFC 7143 6.3.5): a second claim evicts the first and is answered when that
 * was released, that is when none of its commands can have an effect any more.
 * For discovery sessions the address that they came to stands for the target
 * (7.4.2.1), or the name that they gave; they and normal sessions leave each
 * other alone.
 *
 * A connection that joins a session (RFC 7143 6.3.6) claims with its TSIH and is
 * told where it lives. Such a claim ends with its answer: it is not released.
 */

typedef struct Registry Registry;
typedef struct Claim Claim;

/* Claims that may wait for one nexus; more are refused */
#define REGISTRY_WAITERS_MAX 8

struct Claim {
    /* Set by the claimant; not changed until claimed */
    Registry *registry;
    Mailbox *home; /* where the callbacks run */
    IscsiSessionType type;
    guint8 isid[6];
    guint16 tag;            /* target portal group */
    guint16 requested_tsih; /* not 0: the initiator names an existing session */
    char *initiator_name;
    char *target_name;  /* NULL in discovery sessions */
    char *discovered;   /* of a discovery session: the address it came to, or the target it named */
    guint target_limit; /* sessions of the target; 0: no limit */
    void (*claimed)(Claim *claim);
    void (*evict)(Claim *claim); /* close the session; call registry_evicted() at once */
    void (*released)(Claim *claim);
    gpointer user_data;
    gpointer place; /* where the session will live; never looked into by the registry */

    /* The answer */
    guint16 status; /* of a login: 0 or class << 8 | detail; refused claims are not released */
    guint16 tsih;
    const char *reason; /* static; NULL when granted */
    IscsiLimit limit;   /* why it was refused, if that is why */
    gpointer joined;    /* @place of the session of @requested_tsih; such a claim holds nothing */

    /* private */
    Message message;
    Message eviction;
    ListLink link;
    gpointer entry;
    gboolean was_evicted;
    gboolean is_evicting; /* the eviction was not acknowledged yet */
    gboolean is_released;
};

/**
 * registry_new() - an empty registry
 * @mailbox: of the worker it lives on
 * @max_sessions: of the service, discovery sessions included
 */
Registry *registry_new(Mailbox *mailbox, guint max_sessions);
void registry_set_max_sessions(Registry *registry, guint max_sessions);
void registry_free(Registry *registry); /* asserts that nothing is claimed */

/* From the claimant's thread; @claim belongs to the registry until claimed, then until released */
void registry_claim(Claim *claim);
void registry_release(Claim *claim);
void registry_evicted(Claim *claim);

/* On the registry's thread */
guint registry_n_sessions(const Registry *registry);
