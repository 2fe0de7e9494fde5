/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "scsi/copy-engine.h"
#include "util/bytes.h"

/*
 * Copy engine: what its two files share
 *
 * copy-engine.c moves pieces, copy-cut.c says which is the next one.
 */

typedef struct {
    guint extent;
    guint64 offset; /* in the extent */
    guint64 n_bytes;
    gboolean is_store; /* the stores copy it; else by READ and WRITE, the first step of it */
} CopyPiece;

typedef enum {
    COPY_CUT_PIECE,
    COPY_CUT_WAIT, /* for the end of one that is under way */
    COPY_CUT_GONE, /* one of the units is not there any more */
} CopyCut;

/* The piece after those that have begun; run->next_extent is not the last one's end */
CopyCut copy_cut(CopyRun *run, CopyPiece *ret_piece);

static inline gboolean
copy_lane_is_active(const CopyLane *lane)
{
    return lane->state != COPY_LANE_IDLE;
}

/* At most in one READ or WRITE */
static inline guint64
copy_plain_bytes(const CopyRun *run)
{
    guint64 max = round_down((guint64)run->nexus->scsi->max_transfer, POOL_BUFFER_MIN);

    return MIN(max, POOL_BUFFER_MAX);
}

static inline CopyMode *
copy_mode_of(CopyRun *run, const CopyExtent *extent)
{
    return &run->modes[extent->source * COPY_MAX_UNITS + extent->destination];
}

static inline const CopyUnit *
copy_source_unit(const CopyRun *run, const CopyExtent *extent)
{
    return &run->units[extent->source];
}

static inline const CopyUnit *
copy_destination_unit(const CopyRun *run, const CopyExtent *extent)
{
    return &run->units[extent->destination];
}
