/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What is told about copies: RECEIVE COPY RESULTS and the page of vital product
 * data
 *
 * A copy is known by its list identifier to the nexus that asked for it, on the
 * unit that was asked, while it runs and for some time after.
 */

#include <string.h>

#include "scsi/copy.h"
#include "scsi/handlers.h"
#include "scsi/operation.h"
#include "scsi/rod.h"
#include "util/bytes.h"

#define UNITS_BYTES 0x00
#define UNITS_KIB   0x01

/* COPY MANAGER STATUS and COPY OPERATION STATUS have these in common */
#define STATUS_GOOD   0x01
#define STATUS_FAILED 0x02

#define STATUS_LID1_RUNNING    0x00
#define STATUS_LID4_FOREGROUND 0x11
#define STATUS_LID4_BACKGROUND 0x12
#define STATUS_LID4_ABORTED    0x60

static guint64
allocation_length(const ScsiCommand *command)
{
    return get_be32(command->cdb + 10);
}

/* FALSE when the command was ended or waits for a buffer */
static gboolean
begin(ScsiCommand *command, guint32 list_id, void (*self)(ScsiCommand *), const CopyJob **ret_job)
{
    *ret_job = copy_find(command->nexus_lun, list_id);
    if (*ret_job == NULL) {
        scsi_command_fail_field(command, 2, 7);
        return FALSE;
    }

    return scsi_command_take_zeroed(command, POOL_BUFFER_MIN, self);
}

void
copy_status_lid1(ScsiCommand *command)
{
    const CopyJob *job;
    guint8 *data;
    guint segments;
    guint64 n_bytes;

    if (!begin(command, command->cdb[2], copy_status_lid1, &job))
        return;

    copy_job_get_progress(job, &segments, &n_bytes);
    data = command->data;
    put_be32(data, 8);
    if (job->outcome == COPY_RUNNING)
        data[4] = STATUS_LID1_RUNNING;
    else
        data[4] = job->outcome == COPY_GOOD ? STATUS_GOOD : STATUS_FAILED;
    put_be16(data + 5, (guint16)segments);
    if (n_bytes <= G_MAXUINT32) {
        data[7] = UNITS_BYTES;
        put_be32(data + 8, (guint32)n_bytes);
    } else {
        data[7] = UNITS_KIB;
        put_be32(data + 8, (guint32)(n_bytes >> 10));
    }
    scsi_command_reply(command, 12, allocation_length(command));
}

void
copy_operating_parameters(ScsiCommand *command)
{
    guint8 *data;

    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, copy_operating_parameters))
        return;

    data = command->data;
    put_be32(data, 42);
    data[4] = 0x01; /* SNLID */
    put_be16(data + 8, COPY_MAX_CSCDS);
    put_be16(data + 10, COPY_MAX_SEGMENTS);
    put_be32(data + 12, COPY_MAX_LIST);
    put_be32(data + 16, COPY_MAX_SEGMENT_BYTES);
    put_be16(data + 34, COPY_MAX_CONCURRENT);
    data[36] = COPY_MAX_CONCURRENT;
    data[37] = COPY_GRANULARITY;
    data[43] = 2; /* descriptor types, in ascending order */
    data[44] = COPY_TYPE_BLOCK_TO_BLOCK;
    data[45] = COPY_TYPE_IDENTIFICATION;
    scsi_command_reply(command, 46, allocation_length(command));
}

void
copy_failed_segment_details(ScsiCommand *command)
{
    const CopyJob *job;
    guint8 *data;

    if (!begin(command, command->cdb[2], copy_failed_segment_details, &job))
        return;

    /* Nothing but its length, zero, when no segment has failed */
    data = command->data;
    if (job->outcome != COPY_FAILED) {
        scsi_command_reply(command, 4, allocation_length(command));
        return;
    }

    put_be32(data, 56U + job->sense_length);
    data[56] = SCSI_CHECK_CONDITION;
    put_be16(data + 58, job->sense_length);
    memcpy(data + 60, job->sense, job->sense_length);
    scsi_command_reply(command, 60U + job->sense_length, allocation_length(command));
}

static guint8
lid4_status(const CopyJob *job)
{
    switch (job->outcome) {
    case COPY_RUNNING:
        return job->is_background ? STATUS_LID4_BACKGROUND : STATUS_LID4_FOREGROUND;
    case COPY_GOOD:
        return STATUS_GOOD;
    case COPY_FAILED:
        return STATUS_FAILED;
    case COPY_STOPPED:
    case COPY_ABORTED:
        return STATUS_LID4_ABORTED;
    }
    g_assert_not_reached();
}

void
copy_status_lid4(ScsiCommand *command)
{
    const RodJob *rod = rod_find(command->nexus_lun, get_be32(command->cdb + 2));
    const CopyJob *job;
    guint8 *data;
    guint segments;
    guint64 n_bytes;

    if (rod != NULL) {
        if (scsi_command_take_zeroed(command, POOL_BUFFER_MIN, copy_status_lid4))
            rod_status(command, rod);
        return;
    }
    if (!begin(command, get_be32(command->cdb + 2), copy_status_lid4, &job))
        return;

    copy_job_get_progress(job, &segments, &n_bytes);
    data = command->data;
    put_be32(data, 28U + job->sense_length);
    data[4] = job->service_action; /* of EXTENDED COPY */
    data[5] = lid4_status(job);
    put_be32(data + 8, job->outcome == COPY_RUNNING ? 1000 : 0); /* ms */
    data[12] = job->outcome == COPY_FAILED ? SCSI_CHECK_CONDITION : SCSI_GOOD;
    data[13] = job->sense_length;
    data[14] = job->sense_length;
    data[15] = UNITS_BYTES;
    put_be64(data + 16, n_bytes);
    put_be16(data + 24, (guint16)segments);
    memcpy(data + 32, job->sense, job->sense_length);
    scsi_command_reply(command, 32U + job->sense_length, allocation_length(command));
}

guint32
copy_encode_vpd(const ScsiCommand *command, guint8 *page)
{
    /* Supported commands: operation code, number of service actions, service actions */
    static const guint8 commands[] = { 0x00, 0x01, 0x00, 0x10, 14, /* length of the list */
                                       0x83, 5,    0x00, 0x01, 0x10, 0x11, 0x1c, 0x84,
                                       5,    0x00, 0x03, 0x04, 0x05, 0x07, 0 };
    static const guint8 descriptors[] = {
        0x00, 0x08, 0x00, 0x04, 2, COPY_TYPE_BLOCK_TO_BLOCK, COPY_TYPE_IDENTIFICATION, 0
    };
    const Lu *lu = scsi_command_lu(command);
    guint8 *p = page + 4;

    p += rod_encode_limits(lu, p);
    memcpy(p, commands, sizeof(commands));
    p += sizeof(commands);

    put_be16(p, 0x0004); /* parameter data */
    put_be16(p + 2, 0x1c);
    put_be16(p + 8, COPY_MAX_CSCDS);
    put_be16(p + 10, COPY_MAX_SEGMENTS);
    put_be32(p + 12, COPY_MAX_LIST);
    p += 32;

    memcpy(p, descriptors, sizeof(descriptors));
    p += sizeof(descriptors);
    p += rod_encode_features(p);

    put_be16(p, 0x8001); /* general copy operations */
    put_be16(p + 2, 0x20);
    put_be32(p + 4, COPY_MAX_CONCURRENT);
    put_be32(p + 8, COPY_MAX_CONCURRENT);
    put_be32(p + 12, COPY_MAX_SEGMENT_BYTES);
    p[16] = COPY_GRANULARITY;
    p += 36;

    return (guint32)(p - page - 4);
}
