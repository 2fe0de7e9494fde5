/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "backstore/fault.h"
#include "iscsi/service.h"

/*
 * A target to test against: workers, a service, one LU, one target
 *
 * Without threads the test turns the workers' loops itself, so that everything
 * happens in the order it says and time stands still until it is moved. With
 * threads time passes while they run: when all of the program is held up, as on
 * a machine that is busy, nothing runs into a timeout because of that.
 */

#define RIG_TARGET    "iqn.2026-11.org.lunport:test"
#define RIG_INITIATOR "iqn.2026-11.org.lunport:initiator"
#define RIG_TAG       1

typedef struct {
    guint n_workers; /* 0 is 1 */
    gboolean is_threaded;
    const char *type;   /* of the backstore; NULL is "ram"; "held" can keep requests back */
    guint64 size;       /* of the backstore; 0 is 64 MiB */
    gsize pool_size;    /* 0 is 64 MiB */
    guint max_sessions; /* 0: the default */
    guint max_logins;   /* 0: the default */
    FaultSet *faults;   /* of the backstore, or NULL; a reference is taken */
    void (*adjust)(IscsiTarget *target); /* before it is published; or NULL */
} RigConfig;

typedef struct {
    IscsiEventType type;
    guint16 tsih;
    guint16 status;
    gboolean discovery;
    guint32 rule_id;
    char *initiator_name;
    char *target_name;
    char *chap_user;
    char *reason;
    IscsiLimit limit;
    guint count;
    Address remote;
} RigEvent;

typedef struct {
    Clock clock;
    gboolean is_threaded;
    GThread *ticker; /* moves the clock; NULL without threads */
    gint is_ticking; /* atomic */
    Offload *offload;
    Worker *workers[8];
    guint n_workers;
    Mailbox control;
    IscsiService *service;
    Backstore *store;
    Lu *lu;
    LunMap *map;
    GPtrArray *events; /* RigEvent */
    gboolean is_deaf;  /* the control thread takes no messages (without threads) */
} Rig;

Rig *rig_new(const RigConfig *config); /* NULL: defaults */

/* Stop the service, which must go through, and free all */
void rig_free(Rig *rig);

/* One turn of each worker (without threads), and the control thread's messages */
void rig_pump(Rig *rig);

/* Until nothing happens any more (without threads) */
void rig_settle(Rig *rig);

/* Until @flag is set by something that rig_pump() runs; fails the test after a while */
void rig_wait(Rig *rig, const gboolean *flag);

/* A connection to the service: our end of a socket pair, non-blocking */
int rig_connect(Rig *rig);

/* The same over loopback TCP */
int rig_connect_tcp(Rig *rig);

/* A new version of the target: @adjust changes it before it is published; waits until it is taken */
void rig_set_target(Rig *rig, void (*adjust)(IscsiTarget *target));

guint rig_count_events(const Rig *rig, IscsiEventType type);
const RigEvent *rig_last_event(const Rig *rig, IscsiEventType type); /* or NULL */

/* The held store keeps all requests back from now on; rig_release() executes them and stops that */
void rig_hold(Rig *rig);
void rig_release(Rig *rig);
guint rig_n_held(const Rig *rig);

/* For done callbacks: sets the gboolean */
void rig_set_flag(gpointer flag);
