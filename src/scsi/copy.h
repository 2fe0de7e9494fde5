/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "scsi/lu-shard.h"

/*
 * Third-party copy: what its files share
 *
 * The limits are what RECEIVE COPY RESULTS and VPD 8F report.
 */

#define COPY_MAX_CSCDS           16
#define COPY_MAX_SEGMENTS        64
#define COPY_CSCD_LENGTH         32
#define COPY_SEGMENT_LENGTH      28
#define COPY_MAX_LIST            (COPY_MAX_CSCDS * COPY_CSCD_LENGTH + COPY_MAX_SEGMENTS * COPY_SEGMENT_LENGTH)
#define COPY_MAX_SEGMENT_BYTES   ((guint32)0xffff * 4096)
#define COPY_MAX_CONCURRENT      16 /* of one nexus on one logical unit */
#define COPY_MAX_KEPT            4  /* results of copies that have ended, likewise */
#define COPY_GRANULARITY         9  /* of the data, as an exponent to 2 */
#define COPY_TYPE_IDENTIFICATION 0xe4
#define COPY_TYPE_BLOCK_TO_BLOCK 0x02

/* Length of the parameter list before its first descriptor */
#define COPY_LID1_HEADER 16
#define COPY_LID4_HEADER 48

/* Copy source or destination: a logical unit by one of its names in VPD 83 */
typedef struct {
    guint8 code_set;
    guint8 type;
    guint8 length;
    guint8 designator[20];
    guint8 block_shift;
    guint16 lun; /* where it was found */
} CopyCscd;

typedef struct {
    guint64 source_lba;
    guint64 destination_lba;
    guint64 n_bytes;
    guint8 source; /* in CopyList.cscds */
    guint8 destination;
} CopySegment;

/* A parameter list that was judged good */
typedef struct {
    guint32 list_id;
    guint8 service_action; /* of the command */
    gboolean has_id;       /* else the list identifier is not used */
    guint n_cscds;
    guint n_segments;
    CopyCscd cscds[COPY_MAX_CSCDS];
    CopySegment segments[COPY_MAX_SEGMENTS];
} CopyList;

typedef enum {
    COPY_RUNNING,
    COPY_GOOD,
    COPY_FAILED,
    COPY_STOPPED, /* by COPY OPERATION ABORT */
    COPY_ABORTED, /* by task management */
} CopyOutcome;

typedef struct {
    ListLink link;        /* in NexusLun.copies, by age */
    ScsiCommand *command; /* EXTENDED COPY; NULL when it has ended */
    CopyList list;
    CopyOutcome outcome;
    List stoppers; /* COPY OPERATION ABORT commands that wait for the end */
    gboolean is_stopping;
    guint segment;      /* being copied; when it has ended, those that were copied */
    guint64 done_bytes; /* of this segment */
    guint64 total_bytes;
    guint8 sense_length; /* of COPY_FAILED */
    guint8 sense[SCSI_SENSE_MAX];

    /* The READ or WRITE that is under way */
    gboolean is_writing;
    guint32 n_bytes;
    ScsiCommand inner;
} CopyJob;

/**
 * copy_list_judge() - the one judgement of a parameter list
 * @data: @length bytes; not kept
 *
 * Returns: TRUE and all of @list, or FALSE and what is wrong
 */
gboolean copy_list_judge(const Nexus *nexus, const guint8 *data, gsize length, gboolean is_lid4,
                         CopyList *list, Sense *ret_sense);

/* The logical unit is still where it was, with the name it had; NULL: it is not */
NexusLun *copy_find_lun(const Nexus *nexus, const CopyCscd *cscd);

/* The newest copy with @list_id, running or ended, or NULL */
CopyJob *copy_find(const NexusLun *nexus_lun, guint32 list_id);

/* What is kept of copies that have ended goes with the NexusLun */
void copy_lun_deinit(NexusLun *nexus_lun);

/* VPD 8F; the bytes after the header of the zeroed @page */
guint32 copy_encode_vpd(const ScsiCommand *command, guint8 *page);
