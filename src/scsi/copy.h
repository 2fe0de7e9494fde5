/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "scsi/copy-engine.h"
#include "scsi/lu-shard.h"

/*
 * EXTENDED COPY: what its files share
 *
 * The limits are what RECEIVE COPY RESULTS and VPD 8F report. With as many
 * segments as there may be, one command copies 32 GiB of blocks of 512 bytes.
 */

#define COPY_MAX_CSCDS           COPY_MAX_UNITS
#define COPY_MAX_SEGMENTS        1024
#define COPY_CSCD_LENGTH         32
#define COPY_SEGMENT_LENGTH      28
#define COPY_MAX_LIST            (COPY_MAX_CSCDS * COPY_CSCD_LENGTH + COPY_MAX_SEGMENTS * COPY_SEGMENT_LENGTH)
#define COPY_MAX_SEGMENT_BYTES   ((guint32)0xffff * 4096)
#define COPY_MAX_CONCURRENT      16 /* of one nexus on one logical unit */
#define COPY_MAX_OF_NEXUS        32 /* all its logical units together, which bounds memory */
#define COPY_MAX_OF_WORKER       512
#define COPY_MAX_KEPT            4 /* results of copies that have ended, likewise */
#define COPY_GRANULARITY         9 /* of the data, as an exponent to 2 */
#define COPY_TYPE_IDENTIFICATION 0xe4
#define COPY_TYPE_BLOCK_TO_BLOCK 0x02

/* Length of the parameter list before its first descriptor */
#define COPY_LID1_HEADER 16
#define COPY_LID4_HEADER 48

/* A parameter list that was judged good */
typedef struct {
    guint32 list_id;
    gboolean has_id;       /* else the list identifier is not used */
    gboolean is_immediate; /* IMMED: the copy runs on in the background */
    gboolean wants_sense;  /* G_SENSE: GOOD status comes with sense data */
    guint n_units;
    guint n_segments;
    CopyUnit units[COPY_MAX_CSCDS];
    CopyExtent segments[COPY_MAX_SEGMENTS];
} CopyList;

typedef struct CopyJob CopyJob;

/* What a copy needs while it runs */
typedef struct {
    CopyJob *job;
    CopyList list;
    CopyRun run;
    ScsiCommand holder; /* stands in the task set for a copy in the background */
} CopyWork;

struct CopyJob {
    ListLink link;        /* in NexusLun.copies, by age */
    ScsiCommand *command; /* EXTENDED COPY, or its holder; NULL when it has ended */
    CopyWork *work;       /* likewise */
    guint32 list_id;
    gboolean has_id;
    gboolean is_background;
    guint8 service_action;
    CopyOutcome outcome;
    List stoppers;       /* COPY OPERATION ABORT commands that wait for the end */
    guint segment;       /* when it has ended: those that were copied */
    guint64 total_bytes; /* likewise */
    guint8 sense_length; /* of COPY_FAILED */
    guint8 sense[SCSI_SENSE_MAX];
};

/**
 * copy_list_judge() - the one judgement of a parameter list
 * @data: @length bytes; not kept
 *
 * Returns: TRUE and all of @list, or FALSE and what is wrong. Either way copy_list_clear() has to
 * follow, when nothing is done with the units any more.
 */
gboolean copy_list_judge(Nexus *nexus, const guint8 *data, gsize length, gboolean is_lid4,
                         CopyList *list, Sense *ret_sense);

/* Give back what leads to its units; zeroed, it is left as it is */
void copy_list_clear(CopyList *list);

/* The newest copy with @list_id, running or ended, or NULL */
CopyJob *copy_find(const NexusLun *nexus_lun, guint32 list_id);

/* What is kept of @job, which has ended or is NULL: its list identifier is used anew */
void copy_forget(CopyJob *job);

/* Segments and bytes that are copied, now or at the end */
void copy_job_get_progress(const CopyJob *job, guint *ret_segments, guint64 *ret_bytes);

/* What is kept of copies that have ended goes with the NexusLun */
void copy_lun_deinit(NexusLun *nexus_lun);

/* VPD 8F; the bytes after the header of the zeroed @page */
guint32 copy_encode_vpd(const ScsiCommand *command, guint8 *page);
