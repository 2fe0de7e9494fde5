/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "backstore/backstore.h"
#include "engine/snapshot.h"
#include "scsi/sense.h"

/*
 * Logical unit
 *
 * One Lu serves one backstore to any number of nexuses of any number of
 * targets. It is split into shards, one a worker, each owned by its worker:
 * the nexuses of sessions there, their commands, local range locks. The home
 * worker alone decides what concerns all: resets, and later reservations, mode
 * pages, ALUA; it tells the shards by message.
 *
 * Created and destroyed by the control thread.
 */

typedef struct Lu Lu;

typedef struct {
    const char *name;     /* of the backstore, for messages */
    guint8 uuid[16];      /* the identity from which NAA, serial and designators are made */
    const char *serial;   /* NULL: from the UUID */
    const char *vendor;   /* NULL: "LUNPORT" */
    const char *product;  /* NULL: from the type */
    const char *revision; /* NULL: the program's version */
    guint64 naa; /* 0: locally assigned (NAA 3h) from the UUID; else this NAA 2h/3h/5h identifier */
    guint8 naa6[16];      /* first byte 0: none; else an NAA 6h identifier */
    gboolean thin;        /* report logical block provisioning */
    gboolean lenient_cdb; /* reserved bits of CDBs are not checked */
} LuConfig;

typedef struct {
    guint64 n_commands;
    guint64 n_reads, n_writes;
    guint64 bytes_read, bytes_written;
    guint64 n_errors; /* commands that ended in CHECK CONDITION but for unit attentions */
    guint64 n_resets, n_aborts;
    guint64 latency[32]; /* histogram: bucket i counts commands of 2^i to 2^(i+1)-1 µs */
} LuStatistics;

/**
 * lu_new() - make a logical unit
 * @store: open; outlives the LU
 * @workers: all workers; the array outlives the LU
 * @home: index of the home worker
 */
Lu *lu_new(const LuConfig *config, Backstore *store, Worker **workers, guint n_workers, guint home);

typedef void (*LuReleasedFn)(Lu *lu, gpointer user_data);

/**
 * lu_release() - wait until no worker uses the LU any more, then say so
 *
 * Called by the control thread after the LU has left every LunMap. @done runs on the thread that
 * drains @reply_to; then the LU may be freed with lu_free().
 */
void lu_release(Lu *lu, Mailbox *reply_to, LuReleasedFn done, gpointer user_data);
void lu_free(Lu *lu); /* released, or never used */

/* Administrative logical unit reset; @done as above, may be called with reset in progress (BUSY is not an outcome) */
void lu_reset(Lu *lu, Mailbox *reply_to, LuReleasedFn done, gpointer user_data);

/* Raise a unit attention for all nexuses, such as CAPACITY_CHANGED after a resize; @done when they have it */
void lu_raise_attention(Lu *lu, SenseCode code, Mailbox *reply_to, LuReleasedFn done,
                        gpointer user_data);

/* On the worker @worker_index: its part of the counters */
void lu_get_statistics(const Lu *lu, guint worker_index, LuStatistics *ret_statistics);

/* The same of the backstore under it */
void lu_get_store_statistics(const Lu *lu, guint worker_index, BackstoreStatistics *ret_statistics);

const char *lu_name(const Lu *lu);
void lu_format_serial(const LuConfig *config, char *text, gsize size); /* what VPD 80 shows */
void lu_format_wwn(const LuConfig *config, char *text,
                   gsize size); /* "naa.3…": what VPD 83 shows */

/*
 * The logical units of a target as its initiators see them
 */

typedef struct {
    guint16 lun; /* 0 to 16383 */
    Lu *lu;
    gboolean read_only;
} LunEntry;

typedef struct {
    Snapshot snapshot;
    guint n_entries;
    LunEntry entries[]; /* by ascending LUN */
} LunMap;

/* A copy of @entries, which must be sorted; one reference */
LunMap *lun_map_new(const LunEntry *entries, guint n_entries);
