/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Copy engine: cutting extents into pieces
 *
 * Looks at where a run is and says which piece comes next, and which way. It
 * begins nothing and keeps nothing. A piece that touches what another one under
 * way writes, or writes what it reads, has to wait for its end; that keeps up
 * the order where it matters. Offsets are compared in bytes of the unit, for
 * units may differ in the size of their blocks.
 */

#include "scsi/copy-cut.h"

#include "scsi/lu-shard.h"

/* Bytes from one unit to another */
typedef struct {
    const Lu *source;
    const Lu *destination;
    guint64 source_offset;
    guint64 destination_offset;
    guint64 n_bytes;
} Span;

static gboolean
overlaps(const Lu *a, guint64 a_offset, guint64 a_bytes, const Lu *b, guint64 b_offset,
         guint64 b_bytes)
{
    return a == b && a_offset < b_offset + b_bytes && b_offset < a_offset + a_bytes;
}

/* FALSE: one of the units has gone */
static gboolean
span_init(const CopyRun *run, guint index, guint64 offset, guint64 n_bytes, Span *span)
{
    const CopyExtent *extent = &run->extents[index];
    const NexusLun *from = copy_unit_find(copy_source_unit(run, extent));
    const NexusLun *to = copy_unit_find(copy_destination_unit(run, extent));

    if (from == NULL || to == NULL)
        return FALSE;

    *span = (Span){
        .source = from->lu,
        .destination = to->lu,
        .source_offset = (extent->source_lba << from->lu->block_shift) + offset,
        .destination_offset = (extent->destination_lba << to->lu->block_shift) + offset,
        .n_bytes = n_bytes,
    };
    return TRUE;
}

static gboolean
is_overlapping(const Span *span)
{
    return overlaps(span->source, span->source_offset, span->n_bytes, span->destination,
                    span->destination_offset, span->n_bytes);
}

static gboolean
spans_conflict(const Span *a, const Span *b)
{
    return overlaps(a->source, a->source_offset, a->n_bytes, b->destination, b->destination_offset,
                    b->n_bytes) ||
           overlaps(a->destination, a->destination_offset, a->n_bytes, b->source, b->source_offset,
                    b->n_bytes) ||
           overlaps(a->destination, a->destination_offset, a->n_bytes, b->destination,
                    b->destination_offset, b->n_bytes);
}

/* A lane whose unit has gone touches nothing that is there */
static gboolean
must_wait(const CopyRun *run, const Span *span)
{
    for (guint i = 0; i < COPY_MAX_LANES; i++) {
        const CopyLane *lane = &run->lanes[i];
        Span other;

        if (copy_lane_is_active(lane) &&
            span_init(run, lane->extent, lane->offset, lane->n_bytes, &other) &&
            spans_conflict(span, &other))
            return TRUE;
    }

    return FALSE;
}

/*
 * As much of what is left as may go one way. What the stores are given is aligned; what is before
 * and after goes the plain way.
 */
static void
cut_aligned(CopyRun *run, const Span *left, CopyPiece *piece)
{
    guint64 align = backstore_copy_align(left->source->store, left->destination->store);
    CopyMode mode = *copy_mode_of(run, &run->extents[piece->extent]);
    guint64 head, middle;

    piece->n_bytes = MIN(left->n_bytes, copy_plain_bytes(run));
    piece->is_store = FALSE;
    if (align == 0 || mode == COPY_MODE_PLAIN || is_overlapping(left) ||
        ((left->source_offset ^ left->destination_offset) & (align - 1)) != 0)
        return;

    head = round_up(left->source_offset, align) - left->source_offset;
    middle = head < left->n_bytes ? round_down(left->n_bytes - head, align) : 0;
    if (middle == 0)
        return;

    piece->is_store = head == 0;
    piece->n_bytes = head != 0 ? MIN(head, piece->n_bytes) : MIN(middle, run->store_bytes);
}

/* Where the destination overlaps the end of the source, the end is copied first */
static gboolean
is_backwards(const Span *whole)
{
    return is_overlapping(whole) && whole->destination_offset > whole->source_offset;
}

CopyCut
copy_cut(CopyRun *run, CopyPiece *ret_piece)
{
    const CopyExtent *extent = &run->extents[run->next_extent];
    CopyPiece piece = { .extent = run->next_extent, .offset = run->next_offset };
    Span whole, left, span;

    if (!span_init(run, piece.extent, 0, extent->n_bytes, &whole))
        return COPY_CUT_GONE;

    left = whole;
    left.source_offset += run->next_offset;
    left.destination_offset += run->next_offset;
    left.n_bytes -= run->next_offset;
    if (is_overlapping(&whole)) {
        piece.n_bytes = MIN(left.n_bytes, copy_plain_bytes(run));
        if (is_backwards(&whole))
            piece.offset = left.n_bytes - piece.n_bytes;
    } else {
        cut_aligned(run, &left, &piece);
    }

    if (!span_init(run, piece.extent, piece.offset, piece.n_bytes, &span) || must_wait(run, &span))
        return COPY_CUT_WAIT;

    *ret_piece = piece;
    return COPY_CUT_PIECE;
}
