/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "engine/snapshot.h"
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
    ISCSI_ACCESS_CLOSED, /* nobody: the default of a target without rules */
    ISCSI_ACCESS_OPEN,   /* everybody */
} IscsiAccess;

/* A portal as SendTargets tells it: a wildcard is answered with the address of the connection */
typedef struct {
    guint16 tag; /* target portal group tag */
    Address address;
} IscsiAnnounce;

typedef struct {
    Snapshot snapshot;
    char *name;            /* normalised */
    char *alias;           /* or NULL */
    guint32 id;            /* for messages; never reused */
    guint16 relative_port; /* relative target port identifier, 1 and up */
    gboolean
        enabled; /* a disabled target is as if it were not there, but logins get 0301 (Service Unavailable) */
    IscsiAccess access;
    guint16 *tags; /* portal groups through which it is reached */
    guint n_tags;
    IscsiAnnounce *announces; /* of those groups */
    guint n_announces;
    IscsiParams params; /* what we offer */
    guint queue_depth;  /* most commands in flight a session, 1 to 128 */
    guint nop_interval; /* s, 0: never */
    guint nop_timeout;  /* s */
    guint max_sessions; /* 0: no limit */
    LunMap *map;
} IscsiTarget;

/* Zeroed, with defaults; one reference; freed with all it owns (strings by g_free(), map by unref) */
IscsiTarget *iscsi_target_new(void);
