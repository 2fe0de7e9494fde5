/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The parameter list of EXTENDED COPY
 *
 * Judged as a whole before the first block moves, so that a list that is
 * refused has no effect. What is wrong with the list itself is ILLEGAL REQUEST
 * with a pointer to the field; what is wrong with the units that it names is
 * COPY ABORTED, with the number of the segment where one is concerned.
 *
 * A unit is looked for by the designators of VPD 83 that belong to the unit and
 * fit into the descriptor, first among those of the nexus, then among those of
 * other targets that the initiator may use (sibling.h): a unit that is hidden
 * from the initiator cannot be told from one that does not exist.
 *
 * In the list of LID4 the header stands where the first CSCD descriptor was
 * and takes its number (SPC-4, 6.4.2): the first real one is number 1.
 */

#include <string.h>

#include "scsi/copy.h"
#include "scsi/sibling.h"
#include "util/bytes.h"

/* A designator, as the descriptor has it */
typedef struct {
    guint8 code_set;
    guint8 type;
    guint8 length;
    const guint8 *bytes;
} Name;

typedef struct {
    Nexus *nexus;
    const guint8 *data;
    gsize length;
    guint first_id; /* of the CSCD descriptors */
    guint cscds_at;
    guint cscds_length;
    guint segments_at;
    guint segments_length;
    CopyList *list;
    Sense *sense;
} Judge;

static gboolean
refuse(const Judge *judge, SenseCode code)
{
    *judge->sense = (Sense){ .code = code };
    return FALSE;
}

static gboolean
refuse_field(const Judge *judge, SenseCode code, guint byte, gint bit)
{
    *judge->sense = (Sense){
        .code = code,
        .field = { .valid = TRUE, .byte = (guint16)byte, .bit = (gint8)bit },
    };
    return FALSE;
}

static gboolean
refuse_segment(const Judge *judge, SenseCode code, guint segment, guint byte)
{
    (void)refuse_field(judge, code, judge->segments_at + segment * COPY_SEGMENT_LENGTH + byte, -1);
    judge->sense->has_segment = TRUE;
    judge->sense->segment = (guint16)segment;
    return FALSE;
}

/*
 * Units
 */

static gboolean
has_name(const Lu *lu, gconstpointer wanted)
{
    const Name *name = wanted;
    const guint8 *p = lu->identity.designators;
    const guint8 *end = p + lu->identity.designators_length;

    for (; p < end; p += 4 + p[3]) {
        if ((p[0] & 0x0f) == name->code_set && (p[1] & 0x0f) == name->type &&
            p[3] == name->length && memcmp(p + 4, name->bytes, name->length) == 0)
            return TRUE;
    }

    return FALSE;
}

static const NexusLun *
search(Nexus *nexus, const Name *name)
{
    for (guint i = 0; i < nexus->map->n_entries; i++) {
        if (has_name(nexus->luns[i]->lu, name))
            return nexus->luns[i];
    }

    return sibling_take(nexus, has_name, name);
}

/* LU ID TYPE means nothing for this type of descriptor */
static gboolean
judge_cscd_fields(const Judge *judge, const guint8 *p, guint at)
{
    if ((p[1] & 0x20) != 0) /* NUL, obsolete: nothing to reach */
        return refuse_field(judge, SENSE_UNREACHABLE_COPY_TARGET, at + 1, 5);
    if ((p[1] & 0x1f) != 0)
        return refuse_field(judge, SENSE_COPY_TARGET_TYPE, at + 1, 4);
    if ((p[5] & 0x30) != 0) /* ASSOCIATION: the name of a unit, not of its port */
        return refuse_field(judge, SENSE_INVALID_FIELD_IN_PARAMETERS, at + 5, 5);
    if (p[7] > 20)
        return refuse_field(judge, SENSE_INVALID_FIELD_IN_PARAMETERS, at + 7, 7);

    return TRUE;
}

static gboolean
judge_cscd(const Judge *judge, guint i)
{
    guint at = judge->cscds_at + i * COPY_CSCD_LENGTH;
    const guint8 *p = judge->data + at;
    const Name name = {
        .code_set = p[4] & 0x0f, .type = p[5] & 0x0f, .length = p[7], .bytes = p + 8
    };
    const NexusLun *nexus_lun;
    guint32 block_size;

    if (!judge_cscd_fields(judge, p, at))
        return FALSE;

    nexus_lun = search(judge->nexus, &name);
    if (nexus_lun == NULL)
        return refuse_field(judge, SENSE_UNREACHABLE_COPY_TARGET, at + 8, -1);
    copy_unit_init(&judge->list->units[i], nexus_lun);
    if (nexus_lun->lu->not_ready != SENSE_NONE)
        return refuse_field(judge, SENSE_UNREACHABLE_COPY_TARGET, at + 8, -1);

    /* Zero: the initiator leaves it to us */
    block_size = get_be24(p + 29);
    if (block_size != 0 && block_size != lu_block_size(nexus_lun->lu))
        return refuse_field(judge, SENSE_INVALID_FIELD_IN_PARAMETERS, at + 29, 7);

    return TRUE;
}

static gboolean
judge_cscds(const Judge *judge)
{
    for (guint i = 0; i < judge->list->n_units; i++) {
        guint at = judge->cscds_at + i * COPY_CSCD_LENGTH;

        if (judge->data[at] != COPY_TYPE_IDENTIFICATION)
            return refuse_field(judge, SENSE_COPY_CSCD_TYPE, at, 7);
    }

    for (guint i = 0; i < judge->list->n_units; i++) {
        if (!judge_cscd(judge, i))
            return FALSE;
    }

    return TRUE;
}

/*
 * Segments
 */

/* The index of a CSCD in the list, or -1 */
static gint
get_cscd(const Judge *judge, const guint8 *p)
{
    guint id = get_be16(p);

    if (id < judge->first_id || id - judge->first_id >= judge->list->n_units)
        return -1;
    return (gint)(id - judge->first_id);
}

static gboolean
is_inside(const CopyUnit *unit, guint64 lba, guint64 n_bytes)
{
    const NexusLun *nexus_lun = copy_unit_find(unit);
    guint64 capacity = lu_shard_n_blocks(nexus_lun->shard);

    return lba <= capacity && n_bytes >> unit->block_shift <= capacity - lba;
}

static gboolean
judge_segment(const Judge *judge, guint i)
{
    const guint8 *p = judge->data + judge->segments_at + i * COPY_SEGMENT_LENGTH;
    CopyExtent *segment = &judge->list->segments[i];
    gint source = get_cscd(judge, p + 4), destination = get_cscd(judge, p + 6);
    const CopyUnit *from, *to;
    gboolean by_destination = (p[1] & 0x02) != 0; /* DC */

    if (source < 0)
        return refuse_segment(judge, SENSE_UNREACHABLE_COPY_TARGET, i, 4);
    if (destination < 0)
        return refuse_segment(judge, SENSE_UNREACHABLE_COPY_TARGET, i, 6);

    from = &judge->list->units[source];
    to = &judge->list->units[destination];
    segment->source = (guint8)source;
    segment->destination = (guint8)destination;
    segment->n_bytes = (guint64)get_be16(p + 10)
                       << (by_destination ? to->block_shift : from->block_shift);
    segment->source_lba = get_be64(p + 12);
    segment->destination_lba = get_be64(p + 20);

    /* Part of a block would be left over: PAD and CAT would say what becomes of it */
    if ((segment->n_bytes & ((1U << MAX(from->block_shift, to->block_shift)) - 1)) != 0)
        return refuse_segment(judge, SENSE_INEXACT_SEGMENT, i, 10);

    if (!is_inside(from, segment->source_lba, segment->n_bytes))
        return refuse_segment(judge, SENSE_COPY_TARGET_NOT_REACHABLE, i, 12);
    if (!is_inside(to, segment->destination_lba, segment->n_bytes))
        return refuse_segment(judge, SENSE_COPY_TARGET_NOT_REACHABLE, i, 20);

    return TRUE;
}

static gboolean
judge_segments(const Judge *judge)
{
    for (guint i = 0; i < judge->list->n_segments; i++) {
        if (!judge_segment(judge, i))
            return FALSE;
    }

    return TRUE;
}

/* Types and lengths: all of one kind, so that they can be counted */
static gboolean
walk_segments(const Judge *judge)
{
    guint at = judge->segments_at, end = at + judge->segments_length, n = 0;

    for (; at < end; n++) {
        const guint8 *p = judge->data + at;

        if (n == COPY_MAX_SEGMENTS)
            return refuse(judge, SENSE_TOO_MANY_SEGMENTS);
        if (p[0] != COPY_TYPE_BLOCK_TO_BLOCK)
            return refuse_field(judge, SENSE_COPY_SEGMENT_TYPE, at, 7);
        if (end - at < COPY_SEGMENT_LENGTH)
            return refuse(judge, SENSE_PARAMETER_LIST_LENGTH);
        if (get_be16(p + 2) != COPY_SEGMENT_LENGTH - 4)
            return refuse_field(judge, SENSE_INVALID_FIELD_IN_PARAMETERS, at + 2, 7);
        if ((p[1] & 0xfc) != 0)
            return refuse_field(judge, SENSE_INVALID_FIELD_IN_PARAMETERS, at + 1,
                                (gint)g_bit_nth_msf(p[1], -1));
        at += COPY_SEGMENT_LENGTH;
    }

    judge->list->n_segments = n;
    return TRUE;
}

/*
 * Headers
 */

/* The descriptors and inline data, by the lengths in the header */
static gboolean
judge_lengths(Judge *judge, guint header, guint cscds_field, guint32 segments_length,
              guint32 inline_length)
{
    guint cscds_length = get_be16(judge->data + cscds_field);

    if (inline_length != 0)
        return refuse(judge, SENSE_INLINE_DATA_LENGTH);
    if ((guint64)cscds_length + segments_length > COPY_MAX_LIST ||
        header + cscds_length + segments_length > judge->length)
        return refuse(judge, SENSE_PARAMETER_LIST_LENGTH);
    if (cscds_length % COPY_CSCD_LENGTH != 0)
        return refuse_field(judge, SENSE_INVALID_FIELD_IN_PARAMETERS, cscds_field, 7);

    judge->cscds_at = header;
    judge->cscds_length = cscds_length;
    judge->segments_at = header + cscds_length;
    judge->segments_length = segments_length;
    if (cscds_length / COPY_CSCD_LENGTH > COPY_MAX_CSCDS)
        return refuse(judge, SENSE_TOO_MANY_CSCDS);

    judge->list->n_units = cscds_length / COPY_CSCD_LENGTH;
    return TRUE;
}

/* Byte 1 of both headers. STR and PRIORITY are hints. */
static gboolean
judge_usage(const Judge *judge, guint32 list_id, guint id_field)
{
    guint usage = judge->data[1] >> 3 & 0x03;

    if (usage == 1)
        return refuse_field(judge, SENSE_INVALID_FIELD_IN_PARAMETERS, 1, 4);
    if (usage == 3 && list_id != 0)
        return refuse_field(judge, SENSE_INVALID_FIELD_IN_PARAMETERS, id_field, 7);

    judge->list->list_id = list_id;
    judge->list->has_id = usage != 3;
    return TRUE;
}

static gboolean
judge_lid1(Judge *judge)
{
    const guint8 *data = judge->data;

    return judge_usage(judge, data[0], 0) &&
           judge_lengths(judge, COPY_LID1_HEADER, 2, get_be32(data + 8), get_be32(data + 12));
}

static gboolean
judge_lid4(Judge *judge)
{
    const guint8 *data = judge->data;

    if (data[0] != 0x01) /* PARAMETER LIST FORMAT */
        return refuse_field(judge, SENSE_INVALID_FIELD_IN_PARAMETERS, 0, 7);
    if (get_be16(data + 2) != COPY_CSCD_LENGTH)
        return refuse_field(judge, SENSE_INVALID_FIELD_IN_PARAMETERS, 2, 7);
    if (data[16] != 0xff) /* HEADER CSCD DESCRIPTOR TYPE CODE */
        return refuse_field(judge, SENSE_INVALID_FIELD_IN_PARAMETERS, 16, 7);

    judge->list->is_immediate = (data[15] & 0x01) != 0;
    judge->list->wants_sense = (data[15] & 0x02) != 0;
    judge->first_id = 1;
    return judge_usage(judge, get_be32(data + 20), 20) &&
           judge_lengths(judge, COPY_LID4_HEADER, 42, get_be16(data + 44), get_be16(data + 46));
}

void
copy_list_clear(CopyList *list)
{
    for (guint i = 0; i < list->n_units; i++) {
        if (list->units[i].nexus != NULL)
            sibling_give(list->units[i].nexus);
    }
    list->n_units = 0;
}

gboolean
copy_list_judge(Nexus *nexus, const guint8 *data, gsize length, gboolean is_lid4, CopyList *list,
                Sense *ret_sense)
{
    Judge judge = {
        .nexus = nexus, .data = data, .length = length, .list = list, .sense = ret_sense
    };

    if (length < (is_lid4 ? COPY_LID4_HEADER : COPY_LID1_HEADER))
        return refuse(&judge, SENSE_PARAMETER_LIST_LENGTH);

    return (is_lid4 ? judge_lid4(&judge) : judge_lid1(&judge)) && walk_segments(&judge) &&
           judge_cscds(&judge) && judge_segments(&judge);
}
