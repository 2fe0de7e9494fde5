/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What is told about operations with tokens: RECEIVE ROD TOKEN INFORMATION, and
 * the descriptors in VPD 8F
 */

#include <string.h>

#include "scsi/handlers.h"
#include "scsi/operation.h"
#include "scsi/rod.h"
#include "util/bytes.h"

#define UNITS_BLOCKS 0xf1

/* COPY OPERATION STATUS */
#define STATUS_GOOD               0x01
#define STATUS_FAILED             0x02
#define STATUS_RUNNING            0x11 /* in the foreground */
#define STATUS_RUNNING_BACKGROUND 0x12
#define STATUS_TERMINATED         0x60

#define DELAY_MS 100 /* until it is worth to ask again */

static guint8
operation_status(const RodJob *job)
{
    switch (job->outcome) {
    case COPY_RUNNING:
        return job->is_immediate ? STATUS_RUNNING_BACKGROUND : STATUS_RUNNING;
    case COPY_GOOD:
        return STATUS_GOOD;
    case COPY_FAILED:
        return STATUS_FAILED;
    case COPY_STOPPED:
    case COPY_ABORTED:
        return STATUS_TERMINATED;
    }
    g_assert_not_reached();
}

/* What both commands return first. The sense data has as many bytes as there are. */
static guint32
put_status(const RodJob *job, guint8 *data)
{
    gboolean has_ended = job->outcome != COPY_RUNNING;

    data[4] = job->service_action;
    data[5] = operation_status(job);
    put_be16(data + 6, has_ended ? 1 : 0); /* OPERATION COUNTER */
    put_be32(data + 8, has_ended ? 0 : DELAY_MS);
    data[12] = (guint8)job->status;
    data[13] = job->sense_length;
    data[14] = job->sense_length;
    data[15] = UNITS_BLOCKS;
    put_be64(data + 16, rod_job_n_blocks(job));
    memcpy(data + 32, job->sense, job->sense_length);
    return 32U + job->sense_length;
}

void
rod_status(ScsiCommand *command, const RodJob *job)
{
    guint32 length = put_status(job, command->data);

    put_be32(command->data, length - 4);
    scsi_command_reply(command, length, get_be32(command->cdb + 10));
}

void
rod_receive_information(ScsiCommand *command)
{
    const RodJob *job = rod_find(command->nexus_lun, get_be32(command->cdb + 2));
    guint32 length;
    guint8 *p;

    if (job == NULL) {
        scsi_command_fail_field(command, 2, 7);
        return;
    }
    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, rod_receive_information))
        return;

    length = put_status(job, command->data);
    p = command->data + length;
    length += 4;
    if (job->service_action == ROD_POPULATE && job->outcome == COPY_GOOD) {
        put_be32(p, 2 + ROD_TOKEN_LENGTH); /* ROD TOKEN DESCRIPTORS LENGTH */
        memcpy(p + 6, job->token->bytes, ROD_TOKEN_LENGTH);
        length += 2 + ROD_TOKEN_LENGTH;
    }
    put_be32(command->data, length - 4);
    scsi_command_reply(command, length, get_be32(command->cdb + 10));
}

/*
 * Vital product data
 */

guint32
rod_encode_limits(const Lu *lu, guint8 *p)
{
    put_be16(p, 0x0000); /* block device ROD token limits */
    put_be16(p + 2, 0x20);
    put_be16(p + 10, ROD_MAX_RANGES);
    put_be32(p + 12, ROD_TIMEOUT_MAX);
    put_be32(p + 16, ROD_TIMEOUT_DEFAULT);
    put_be64(p + 20, ROD_MAX_BYTES >> lu->block_shift);
    put_be64(p + 28, ROD_OPTIMAL_BYTES >> lu->block_shift);
    return 36;
}

static guint32
encode_token_features(guint8 *p)
{
    put_be16(p, 0x0106); /* ROD token features */
    put_be16(p + 2, 0x2c + 0x30);
    put_be32(p + 16, 0);           /* MINIMUM TOKEN LIFETIME: a write ends it */
    put_be32(p + 20, G_MAXUINT32); /* MAXIMUM TOKEN LIFETIME: while it is used */
    put_be32(p + 24, ROD_TIMEOUT_MAX);
    put_be16(p + 46, 0x30); /* the features of block devices follow */
    p += 48;

    put_be16(p + 2, 0x2c);
    put_be64(p + 8, ROD_MAX_BYTES);
    put_be64(p + 16, ROD_OPTIMAL_BYTES);
    put_be64(p + 24, ROD_OPTIMAL_BYTES); /* to a token */
    put_be64(p + 32, ROD_OPTIMAL_BYTES); /* from a token */
    return 96;
}

static guint32
encode_types(guint8 *p)
{
    put_be16(p, 0x0108); /* supported ROD types */
    put_be16(p + 2, 4 + 2 * 64);
    put_be16(p + 6, 2 * 64);
    p += 8;

    put_be32(p, ROD_TYPE_CHANGE_VULNERABLE);
    p[4] = 0x03;           /* TOKEN_OUT, TOKEN_IN */
    put_be16(p + 6, 0x01); /* PREFERENCE INDICATOR */
    p += 64;

    put_be32(p, ROD_TYPE_ZERO);
    p[4] = 0x02; /* TOKEN_IN */
    return 8 + 2 * 64;
}

guint32
rod_encode_features(guint8 *p)
{
    guint32 length = encode_token_features(p);

    return length + encode_types(p + length);
}
