/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "engine/worker.h"
#include "scsi/command.h"
#include "scsi/lu.h"

/*
 * I_T nexus: one initiator port talking to one target port
 *
 * Lives on the worker of its session. For each logical unit it holds a
 * NexusLun: the task set, the pending unit attentions.
 */

/* Is @lu the one that is looked for? */
typedef gboolean (*LuMatchFn)(const Lu *lu, gconstpointer wanted);

/* A unit of another target, as an initiator would find it there */
typedef struct {
    const char *target_name; /* borrowed until the caller returns to the event loop */
    guint16 relative_target_port;
    guint16 target_port_group;
    LunMap *map; /* with this unit alone; a reference */
} NexusReach;

/**
 * NexusReachFn - where else an initiator finds a unit for which @is_wanted says so
 * @target_name: there, or NULL: at any target but its own to which it could log in as it is
 *
 * Returns: FALSE: nowhere
 */
typedef gboolean (*NexusReachFn)(gpointer user_data, const char *target_name, LuMatchFn is_wanted,
                                 gconstpointer wanted, NexusReach *ret_reach);

typedef struct {
    const char *initiator_port_name; /* "NAME,i,0xISID" */
    const char *target_name;
    guint16 relative_target_port; /* relative target port identifier */
    guint16 target_port_group;
    gboolean has_queries;       /* the transport has the functions of RFC 7144: see report.c */
    guint16 version_descriptor; /* of the transport, for INQUIRY; 0: iSCSI without a version */

    /* There is something for nexus_take_event(); TRUE: it will be fetched. On the worker, from
     * anywhere: it must not do more than remember that. NULL: the transport tells nothing. */
    gboolean (*tell)(gpointer user_data);

    NexusReachFn reach; /* NULL: there are no other targets */
    gpointer user_data;
} NexusConfig;

/* @map: a reference is taken. Pending on each LU: 29/00. */
Nexus *nexus_new(Worker *worker, const NexusConfig *config, LunMap *map);

/**
 * nexus_leave() - give up what ends with the nexus: what goes on in the background for it, and what
 *     it has by RESERVE
 *
 * All commands of the transport have ended. The nexus is not freed and no command begins before
 * @left was called.
 *
 * Returns: TRUE when there is nothing to wait for: @left is not called
 */
gboolean nexus_leave(Nexus *nexus, void (*left)(gpointer user_data), gpointer user_data);

/* Asserts that all commands have ended */
void nexus_free(Nexus *nexus);

/**
 * nexus_set_map() - the administrator changed the target's logical units
 *
 * Units that stay keep their state; the rest are left when their commands in flight have ended
 * (these are aborted). REPORTED LUNS DATA HAS CHANGED is raised on all. The old map is dropped.
 */
void nexus_set_map(Nexus *nexus, LunMap *map);

/* Another target was changed or removed, or its access rules; NULL: what the initiator may use of
 * any. Copies from and to its units go on as far as the initiator may still use these. Calls
 * NexusConfig.reach. */
void nexus_review_reach(Nexus *nexus, const char *target_name);

/**
 * nexus_take_event() - the next asynchronous event that the transport shall tell
 * @lun: of the logical unit
 * @sense: what has happened, SCSI_SENSE_MAX bytes
 *
 * An event is told once, however often it happened since it was told last. The unit attention that
 * came with it stays pending.
 *
 * Returns: the length of @sense; 0: there is nothing more
 */
guint8 nexus_take_event(Nexus *nexus, guint8 lun[8], guint8 *sense);

/**
 * nexus_encode_sense() - sense data of the transport's own
 * @lun: of the unit that it is about, as on the wire
 * @sense: SCSI_SENSE_MAX bytes, in the format that the unit's D_SENSE asks for; fixed without a unit
 *
 * Returns: the length of @sense
 */
guint8 nexus_encode_sense(const Nexus *nexus, const guint8 lun[8], SenseCode code, guint8 *sense);

/* The units that it sees now; borrowed */
const LunMap *nexus_get_map(const Nexus *nexus);

/* Commands begun and not ended, on all logical units */
guint nexus_n_commands(const Nexus *nexus);

/* Abort all, as for a lost nexus: each command is given back through its transport's done. The nexus
 * must not be freed from inside. */
void nexus_abort_all(Nexus *nexus);

/* Per worker: called once before the first nexus, and after the last */
typedef enum {
    SCSI_EVENT_BACKSTORE_ERROR, /* I/O error that became NOT READY, MEDIUM or HARDWARE ERROR */
    SCSI_EVENT_STORE_FAILED,    /* after a failed flush */
    SCSI_EVENT_LU_STALLED,      /* a task management function waits for I/O above 5 s */
} ScsiEventType;

typedef struct {
    ScsiEventType type;
    const Lu *lu;
    int error; /* errno */
    guint64 lba;
} ScsiEvent;

typedef void (*ScsiEventFn)(const ScsiEvent *event,
                            gpointer user_data); /* on the worker: posts, never blocks */

void scsi_worker_init(Worker *worker, ScsiEventFn event_fn, gpointer user_data);
void scsi_worker_deinit(Worker *worker);
