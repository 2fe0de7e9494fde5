/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "scsi/copy-engine.h"
#include "scsi/lu-shard.h"
#include "scsi/rod-token.h"

/*
 * Representations of data: what the files behind POPULATE TOKEN, WRITE USING
 * TOKEN and RECEIVE ROD TOKEN INFORMATION share
 *
 * The limits are what VPD 8F reports.
 */

#define ROD_POPULATE       0x10 /* service actions of EXTENDED COPY */
#define ROD_WRITE          0x11
#define ROD_MAX_CONCURRENT 16                 /* operations of one nexus on one logical unit */
#define ROD_MAX_KEPT       16                 /* results of operations that have ended, likewise */
#define ROD_MAX_BYTES      ((guint64)4 << 30) /* of one operation */
#define ROD_OPTIMAL_BYTES  ((guint64)64 << 20)

/* Length of the parameter list before its first range descriptor */
#define ROD_POPULATE_HEADER 16
#define ROD_WRITE_HEADER    536
#define ROD_RANGE_LENGTH    16
#define ROD_MAX_LIST        (ROD_WRITE_HEADER + ROD_MAX_RANGES * ROD_RANGE_LENGTH)

/* A parameter list that was judged good */
typedef struct {
    gboolean is_immediate;
    gboolean delete_token;
    guint32 timeout;     /* seconds: POPULATE TOKEN */
    guint64 offset;      /* blocks into the ROD: WRITE USING TOKEN */
    const guint8 *token; /* in the list that was judged */
    gboolean is_zero;    /* it is the block device zero ROD token */
    guint64 n_blocks;    /* of all ranges */
    guint n_ranges;
    RodRange ranges[ROD_MAX_RANGES];
} RodList;

typedef struct RodJob RodJob;

/* What an operation needs while it runs */
typedef struct {
    RodJob *job;
    guint n_extents;
    CopyExtent extents[2 * ROD_MAX_RANGES];
    CopyRun run; /* unit 0 is the source, and set when it is known */

    /* Of the block device zero ROD token */
    RodList list;
    guint range;
    guint64 n_zeroed; /* of that range */
    guint32 n_step;

    Deferred abort;    /* of the same: the command was aborted */
    ScsiCommand inner; /* what makes the token known, or writes zeros */
    SenseCode code;    /* of the former */
} RodWork;

/* One operation: while it runs, and what is told of it afterwards */
struct RodJob {
    ListLink link; /* in NexusLun.rods, by age */
    NexusLun *nexus_lun;
    guint32 list_id;
    guint8 service_action;
    gboolean is_immediate;
    ScsiCommand *command; /* in whose name it runs; NULL: it has ended */
    CopyOutcome outcome;
    gboolean is_stopping;
    List stoppers;    /* COPY OPERATION ABORT commands that wait for the end */
    guint64 n_blocks; /* transferred, of the unit of the command */
    RodToken *token;  /* created, or being used */
    gboolean delete_token;
    RodWork *work;
    ScsiStatus status;   /* that the command has, or would have had */
    guint8 sense_length; /* of COPY_FAILED */
    guint8 sense[SCSI_SENSE_MAX];
};

/**
 * rod_list_judge_populate() - the one judgement of a parameter list
 * @capacity: of the unit, in blocks
 *
 * Returns: TRUE and all of @list, or FALSE and what is wrong
 */
gboolean rod_list_judge_populate(const guint8 *data, gsize length, guint64 capacity,
                                 guint block_shift, RodList *list, Sense *ret_sense);
gboolean rod_list_judge_write(const guint8 *data, gsize length, guint64 capacity, guint block_shift,
                              RodList *list, Sense *ret_sense);

/**
 * rod_list_map() - which blocks of the source go where
 * @extents: room for twice ROD_MAX_RANGES
 *
 * Returns: TRUE, or FALSE and what is wrong with @list
 */
gboolean rod_list_map(const RodList *list, const RodToken *token, guint block_shift,
                      gboolean is_same_unit, CopyExtent *extents, guint *ret_n_extents,
                      Sense *ret_sense);

/* @work, also with a source that leads to another target */
void rod_work_free(RodWork *work);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RodWork, rod_work_free)

/* Write what @job->work says: either the extents or zeros to the ranges; rod_job_end() is called once,
 * later */
void rod_work_copy(RodJob *job);
void rod_work_zero(RodJob *job);
void rod_work_stop(RodJob *job);

/* @job->work is freed, the command goes on to its end */
void rod_job_end(RodJob *job, CopyOutcome outcome, SenseCode code, ScsiStatus status);

/* Blocks that were transferred so far */
guint64 rod_job_n_blocks(const RodJob *job);

/* The newest operation with @list_id, running or ended, or NULL */
RodJob *rod_find(const NexusLun *nexus_lun, guint32 list_id);

/* What is kept of @job, which has ended or is NULL: its list identifier is used anew */
void rod_forget(RodJob *job);

/* What is kept of operations that have ended goes with the NexusLun */
void rod_lun_deinit(NexusLun *nexus_lun);

/* For COPY OPERATION ABORT: @stopper ends when @job has ended */
void rod_stop(RodJob *job, ScsiCommand *stopper);

/* RECEIVE COPY STATUS(LID4) of an operation with a token */
void rod_status(ScsiCommand *command, const RodJob *job);

/* The descriptors of VPD 8F that are about tokens, up to where and after those of EXTENDED COPY;
 * returns the bytes written */
guint32 rod_encode_limits(const Lu *lu, guint8 *p);
guint32 rod_encode_features(guint8 *p);
