/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "scsi/lu-shard.h"

/*
 * Copy engine: moves extents of blocks between the logical units that an initiator may use
 *
 * The caller, a command of the copy manager, judges what it was asked for and
 * fills a CopyRun; the engine moves the data with commands of its own, as this
 * initiator could (see copy-engine.c), and calls @done once. All on the nexus'
 * worker. A unit is named by where it is and since when, so that it is found
 * again, or missed, after a change of the map: one that has taken its place may
 * have another medium, whatever its name. Siblings that lead to units are the
 * caller's to take and to give back.
 *
 *     copy_unit_init(&run->units[0], source);
 *     copy_unit_init(&run->units[1], destination);
 *     run->n_units = 2;
 *     run->extents = extents; run->n_extents = n;
 *     run->command = command; run->done = on_copied;
 *     scsi_command_errand_started(command);
 *     copy_run_start(run);
 *     ...
 *     on_copied(): look at run->outcome; scsi_command_errand_ended(command, finish);
 *
 * Extents are copied as if one after the other in order. Where the source and
 * the destination of one extent overlap on one unit, the destination then has
 * what the source had before.
 */

#define COPY_MAX_UNITS 16
#define COPY_MAX_LANES 4

typedef struct CopyRun CopyRun;

/* A logical unit */
typedef struct {
    Nexus *nexus; /* that asked, or a sibling of it */
    guint16 lun;
    guint8 block_shift;
    guint64 serial; /* of the NexusLun */
} CopyUnit;

/* Both ranges were inside their units when the caller looked, and are whole blocks of both */
typedef struct {
    guint64 source_lba;
    guint64 destination_lba;
    guint64 n_bytes;
    guint8 source; /* in CopyRun.units */
    guint8 destination;
} CopyExtent;

typedef enum {
    COPY_RUNNING,
    COPY_GOOD,
    COPY_FAILED,  /* CopyRun.code says why, @extent where */
    COPY_STOPPED, /* by copy_run_stop() */
    COPY_ABORTED, /* CopyRun.command was aborted */
} CopyOutcome;

/* How the blocks of a pair of units get from one to the other */
typedef enum {
    COPY_MODE_UNKNOWN,
    COPY_MODE_STORE, /* by the backstores, IO_COPY */
    COPY_MODE_PLAIN, /* by READ and WRITE */
} CopyMode;

typedef enum {
    COPY_LANE_IDLE,
    COPY_LANE_READ,
    COPY_LANE_WRITE,
    COPY_LANE_STORE, /* @read holds the source, @write has the request */
} CopyLaneState;

/* One piece on its way */
typedef struct {
    CopyRun *run;
    CopyLaneState state;
    guint extent;
    guint64 offset;  /* of the piece in the extent */
    guint64 n_bytes; /* of the piece, less what is done */
    guint32 n_step;  /* of the READ or WRITE that is under way */
    guint n_inner;   /* of STORE: commands that have not ended */
    gboolean is_failed;
    ScsiStatus status; /* of the first that has failed */
    gint64 result;     /* of the store */
    gint64 started_at;
    ScsiCommand read;
    ScsiCommand write;
} CopyLane;

struct CopyRun {
    /* Set by the caller, and kept until @done */
    Nexus *nexus;
    ScsiCommand *command; /* on an errand: the copy ends when it is aborted */
    CopyUnit units[COPY_MAX_UNITS];
    guint n_units;
    const CopyExtent *extents;
    guint n_extents;
    void (*done)(CopyRun *run); /* nothing is under way any more; may free the run */

    /* To be looked at any time */
    CopyOutcome outcome;  /* RUNNING until @done */
    SenseCode code;       /* of FAILED */
    ScsiStatus status;    /* of FAILED: of the inner command that has failed, or GOOD */
    guint extent;         /* all before it are copied: the first that is not, or that has failed */
    guint64 copied_bytes; /* in total */

    /* private */
    gboolean is_ending;
    gboolean is_stopping;
    CopyOutcome next_outcome;
    guint next_extent; /* where the next piece begins */
    guint64 next_offset;
    guint64 store_bytes; /* length of a piece that the store copies */
    CopyMode modes[COPY_MAX_UNITS * COPY_MAX_UNITS];
    Deferred end;
    CopyLane lanes[COPY_MAX_LANES];
};

/* @nexus_lun as it is now */
void copy_unit_init(CopyUnit *unit, const NexusLun *nexus_lun);

/* The unit where it was and ready; NULL: it is not, or was replaced */
NexusLun *copy_unit_find(const CopyUnit *unit);

/**
 * copy_run_start() - begin; @run->done is called later, never from inside
 *
 * The run is zeroed but for what the caller sets. It is of some KiB: not on the stack.
 */
void copy_run_start(CopyRun *run);

/* Abort what is under way; @done is called when that has ended, with COPY_STOPPED unless the copy was
 * complete or has failed */
void copy_run_stop(CopyRun *run);

static inline gboolean
copy_run_is_running(const CopyRun *run)
{
    return run->outcome == COPY_RUNNING;
}
