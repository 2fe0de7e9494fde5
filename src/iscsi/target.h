/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "engine/snapshot.h"
#include "iscsi/access.h"
#include "iscsi/param.h"
#include "scsi/lu.h"
#include "util/address.h"

/*
 * What the workers know of a target: an immutable snapshot
 *
 * The control thread builds a new one at each change and sends it to every
 * worker; sessions refer to it until they have taken the new one.
 */

typedef enum {
    ISCSI_ACCESS_CLOSED, /* nobody whom no rule lets in: the default */
    ISCSI_ACCESS_OPEN,   /* everybody whom no rule denies */
} IscsiAccess;

/* A portal as SendTargets tells it: a wildcard is answered with the address of the connection */
typedef struct {
    guint16 tag; /* target portal group tag */
    Address address;
} IscsiAnnounce;

/* Where logins are sent */
typedef struct {
    guint16 tag;   /* of the portal group, where it is one of several */
    char *address; /* as TargetAddress has it */
    gboolean is_permanent;
} IscsiRedirect;

typedef struct {
    Snapshot snapshot;
    char *name;               /* normalised */
    char *alias;              /* or NULL */
    IscsiRedirect redirect;   /* without address: nowhere */
    IscsiRedirect *redirects; /* of portal groups that have one of their own; by g_malloc() */
    guint n_redirects;
    guint32 id;            /* for messages; never reused */
    guint16 relative_port; /* relative target port identifier, 1 and up, where a group has none */
    gboolean
        enabled; /* a disabled target is as if it were not there, but logins get 0301 (Service Unavailable) */
    IscsiAccess access;
    AccessRule *rules; /* by g_malloc(); in order, see access.h */
    guint n_rules;
    gboolean wants_chap;      /* where no rule says otherwise: by an account of @credentials */
    Credentials *credentials; /* a reference, or NULL */
    gboolean closes_denied; /* sessions that would not be let in any more end when this is taken */
    guint16 *tags;          /* portal groups through which it is reached */
    guint n_tags;
    IscsiAnnounce *announces; /* of those groups */
    guint n_announces;
    IscsiParams params;    /* what we offer */
    guint queue_depth;     /* most commands in flight a session, 1 to 128 */
    guint nop_interval;    /* s, 0: never */
    guint nop_timeout;     /* s */
    guint max_sessions;    /* 0: no limit */
    gboolean async_events; /* SCSI events are told by asynchronous messages too */
    LunMap *map;
} IscsiTarget;

/* Where logins through portal group @tag are sent, or NULL */
const IscsiRedirect *iscsi_target_redirect(const IscsiTarget *target, guint16 tag);

/* The relative identifier of the target port in portal group @tag; with map */
guint16 iscsi_target_relative_port(const IscsiTarget *target, guint16 tag);

/* Zeroed, with defaults; one reference; freed with all it owns (strings by g_free(), map by unref) */
IscsiTarget *iscsi_target_new(void);

/* What @target says to who wants in; valid as long as @target is */
typedef struct {
    gboolean is_allowed;
    const AccessRule *rule; /* that decided; NULL: the access mode did */
    gboolean wants_chap;
    Credentials *credentials; /* with @wants_chap; borrowed; NULL: nobody can pass */
    LunMap *map;
} IscsiVerdict;

/**
 * iscsi_target_judge() - may this initiator log in through this portal group, and as what?
 *
 * Looks at names, networks, portal groups and rules, not at whether the target is enabled.
 */
IscsiVerdict iscsi_target_judge(const IscsiTarget *target, const AccessRequest *request);

/* Who is in already: with what it proved itself */
typedef struct {
    AccessRequest request;
    const char *chap_user; /* NULL: without proof */
} IscsiHolder;

/**
 * iscsi_target_admits() - would this session still be let in?
 *
 * TRUE when it would be, with what it proved itself at its login: asked for CHAP, by an account that
 * is still there. A changed secret does not matter.
 */
gboolean iscsi_target_admits(const IscsiTarget *target, const IscsiHolder *holder,
                             IscsiVerdict *ret_verdict);

/*
 * What holds for all targets, and for discovery: an immutable snapshot too
 */
typedef struct {
    Snapshot snapshot;
    guint32 chap_algorithms; /* bit per ChapAlgorithm; what libcrypto does not have is left out */
    gboolean discovery_wants_chap;
    Credentials *discovery_credentials; /* a reference, or NULL */
} IscsiSecurity;

/* All algorithms, discovery without proof; one reference */
IscsiSecurity *iscsi_security_new(void);
