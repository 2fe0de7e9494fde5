/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The parameter lists of POPULATE TOKEN and WRITE USING TOKEN
 *
 * Judged as a whole before anything happens, so that a list that is refused
 * has no effect. Both have a header, with the length of what follows twice: of
 * all data in the first two bytes, of the range descriptors in the last two.
 *
 * No block may be in two ranges: for a source it would be no error, but SBC
 * asks for it in both commands.
 */

#include <string.h>

#include "scsi/rod.h"
#include "util/bytes.h"

#define RANGES_LENGTH(header) ((header)-2)

typedef struct {
    const guint8 *data;
    gsize length;
    guint header;
    guint64 capacity;
    guint block_shift;
    RodList *list;
    Sense *sense;
} Judge;

static gboolean
refuse(const Judge *judge, SenseCode code)
{
    *judge->sense = (Sense){ .code = code };
    return FALSE;
}

static gboolean
refuse_field(const Judge *judge, guint byte, gint bit)
{
    *judge->sense = (Sense){
        .code = SENSE_INVALID_FIELD_IN_PARAMETERS,
        .field = { .valid = TRUE, .byte = (guint16)byte, .bit = (gint8)bit },
    };
    return FALSE;
}

static guint
range_at(const Judge *judge, guint i)
{
    return judge->header + i * ROD_RANGE_LENGTH;
}

static gboolean
judge_lengths(const Judge *judge)
{
    guint data_length, ranges_length;

    if (judge->length < judge->header)
        return refuse(judge, SENSE_PARAMETER_LIST_LENGTH);

    data_length = get_be16(judge->data) + 2U;
    ranges_length = get_be16(judge->data + RANGES_LENGTH(judge->header));
    if (data_length < judge->header + ROD_RANGE_LENGTH)
        return refuse_field(judge, 0, 7);
    if (ranges_length < ROD_RANGE_LENGTH || ranges_length % ROD_RANGE_LENGTH != 0 ||
        judge->header + ranges_length > data_length)
        return refuse_field(judge, RANGES_LENGTH(judge->header), 7);
    if (ranges_length / ROD_RANGE_LENGTH > ROD_MAX_RANGES)
        return refuse(judge, SENSE_TOO_MANY_SEGMENTS);
    if (judge->header + ranges_length > judge->length)
        return refuse(judge, SENSE_PARAMETER_LIST_LENGTH);

    judge->list->n_ranges = ranges_length / ROD_RANGE_LENGTH;
    return TRUE;
}

static gboolean
overlaps(const RodRange *a, const RodRange *b)
{
    return a->lba < b->lba + b->n_blocks && b->lba < a->lba + a->n_blocks;
}

static gboolean
judge_range(const Judge *judge, guint i)
{
    const guint8 *p = judge->data + range_at(judge, i);
    RodRange *range = &judge->list->ranges[i];

    range->lba = get_be64(p);
    range->n_blocks = get_be32(p + 8);
    if (range->lba > judge->capacity || range->n_blocks > judge->capacity - range->lba)
        return refuse(judge, SENSE_LBA_OUT_OF_RANGE);

    for (guint j = 0; j < i; j++) {
        if (range->n_blocks > 0 && judge->list->ranges[j].n_blocks > 0 &&
            overlaps(range, &judge->list->ranges[j]))
            return refuse_field(judge, range_at(judge, i), 7);
    }

    judge->list->n_blocks += range->n_blocks;
    return TRUE;
}

static gboolean
judge_ranges(const Judge *judge)
{
    for (guint i = 0; i < judge->list->n_ranges; i++) {
        if (!judge_range(judge, i))
            return FALSE;
    }

    if (judge->list->n_blocks << judge->block_shift > ROD_MAX_BYTES)
        return refuse_field(judge, RANGES_LENGTH(judge->header), 7);
    return TRUE;
}

/* Byte 2 of both: IMMED, and a bit that differs; the others are reserved */
static gboolean
judge_flags(const Judge *judge)
{
    guint8 flags = judge->data[2];

    if ((flags & 0xfc) != 0)
        return refuse_field(judge, 2, (gint)g_bit_nth_msf(flags, -1));

    judge->list->is_immediate = (flags & 0x01) != 0;
    return TRUE;
}

/* Any point in time copy will do: there is one kind */
static gboolean
judge_type(const Judge *judge)
{
    guint32 type = get_be32(judge->data + 8);

    if ((judge->data[2] & 0x02) == 0) /* RTV: the type is up to us */
        return TRUE;
    if (type != ROD_TYPE_CHANGE_VULNERABLE && type != ROD_TYPE_ANY_POINT_IN_TIME)
        return refuse_field(judge, 8, 7);
    return TRUE;
}

static gboolean
judge_timeout(const Judge *judge)
{
    guint32 timeout = get_be32(judge->data + 4);

    if (timeout > ROD_TIMEOUT_MAX)
        return refuse_field(judge, 4, 7);

    judge->list->timeout = timeout != 0 ? timeout : ROD_TIMEOUT_DEFAULT;
    return TRUE;
}

gboolean
rod_list_judge_populate(const guint8 *data, gsize length, guint64 capacity, guint block_shift,
                        RodList *list, Sense *ret_sense)
{
    Judge judge = { data, length, ROD_POPULATE_HEADER, capacity, block_shift, list, ret_sense };

    memset(list, 0, sizeof(*list));
    return judge_lengths(&judge) && judge_flags(&judge) && judge_timeout(&judge) &&
           judge_type(&judge) && judge_ranges(&judge);
}

/* What every token has; whether there is one with these bytes is asked later */
static gboolean
judge_token(const Judge *judge)
{
    const guint8 *token = judge->data + 16;
    guint32 type = get_be32(token);

    if (type != ROD_TYPE_CHANGE_VULNERABLE && type != ROD_TYPE_ZERO)
        return refuse(judge, SENSE_TOKEN_TYPE);
    if (get_be16(token + 6) != ROD_TOKEN_LENGTH - 8)
        return refuse(judge, SENSE_TOKEN_LENGTH);

    judge->list->token = token;
    judge->list->is_zero = type == ROD_TYPE_ZERO;
    return TRUE;
}

gboolean
rod_list_judge_write(const guint8 *data, gsize length, guint64 capacity, guint block_shift,
                     RodList *list, Sense *ret_sense)
{
    Judge judge = { data, length, ROD_WRITE_HEADER, capacity, block_shift, list, ret_sense };

    memset(list, 0, sizeof(*list));
    if (!judge_lengths(&judge) || !judge_flags(&judge) || !judge_token(&judge) ||
        !judge_ranges(&judge))
        return FALSE;

    list->delete_token = (data[2] & 0x02) != 0;
    list->offset = get_be64(data + 8);
    return TRUE;
}

/*
 * From where to where
 */

typedef struct {
    const RodToken *token;
    guint range;
    guint64 done; /* bytes of the range */
} Cursor;

static guint64
source_left(const Cursor *cursor)
{
    const RodRange *range = &cursor->token->ranges[cursor->range];

    return (range->n_blocks << cursor->token->block_shift) - cursor->done;
}

/* To the next range that has bytes */
static void
advance(Cursor *cursor, guint64 n_bytes)
{
    cursor->done += n_bytes;
    while (cursor->range < cursor->token->n_ranges && source_left(cursor) == 0) {
        cursor->range++;
        cursor->done = 0;
    }
}

static void
skip(Cursor *cursor, guint64 n_bytes)
{
    advance(cursor, 0);
    while (n_bytes > 0) {
        guint64 n = MIN(n_bytes, source_left(cursor));

        advance(cursor, n);
        n_bytes -= n;
    }
}

/* A write of its own blocks would end the token in the middle */
static gboolean
writes_source(const RodList *list, const RodToken *token, guint *ret_range)
{
    for (guint i = 0; i < list->n_ranges; i++) {
        for (guint j = 0; j < token->n_ranges; j++) {
            *ret_range = i;
            if (list->ranges[i].n_blocks > 0 && token->ranges[j].n_blocks > 0 &&
                overlaps(&list->ranges[i], &token->ranges[j]))
                return TRUE;
        }
    }

    return FALSE;
}

gboolean
rod_list_map(const RodList *list, const RodToken *token, guint block_shift, gboolean is_same_unit,
             CopyExtent *extents, guint *ret_n_extents, Sense *ret_sense)
{
    const Judge judge = { .header = ROD_WRITE_HEADER, .sense = ret_sense };
    guint64 size = token->n_blocks << token->block_shift;
    guint64 source_mask = (1U << token->block_shift) - 1;
    guint64 mask = source_mask | ((1U << block_shift) - 1);
    Cursor cursor = { .token = token };
    guint n = 0, range;

    if (list->offset > size >> block_shift)
        return refuse_field(&judge, 8, 7);
    if (list->n_blocks > (size >> block_shift) - list->offset)
        return refuse_field(&judge, RANGES_LENGTH(ROD_WRITE_HEADER), 7);
    if (is_same_unit && writes_source(list, token, &range))
        return refuse_field(&judge, range_at(&judge, range), 7);

    skip(&cursor, list->offset << block_shift);
    for (guint i = 0; i < list->n_ranges; i++) {
        guint64 left = list->ranges[i].n_blocks << block_shift;
        guint64 lba = list->ranges[i].lba;

        while (left > 0) {
            guint64 n_bytes = MIN(left, source_left(&cursor));

            if ((n_bytes & mask) != 0 || (cursor.done & source_mask) != 0)
                return refuse(&judge, SENSE_INEXACT_SEGMENT);
            extents[n++] = (CopyExtent){
                .source_lba = token->ranges[cursor.range].lba + (cursor.done >> token->block_shift),
                .destination_lba = lba,
                .n_bytes = n_bytes,
                .destination = 1,
            };
            advance(&cursor, n_bytes);
            lba += n_bytes >> block_shift;
            left -= n_bytes;
        }
    }

    *ret_n_extents = n;
    return TRUE;
}
