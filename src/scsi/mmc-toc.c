/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What is on the disc: READ TOC/PMA/ATIP, READ DISC INFORMATION, READ TRACK INFORMATION
 *
 * Everything follows from one fact, the number of blocks: track 1 of session 1
 * begins at block 0 and ends where the lead-out begins, behind the last block.
 * An address is a block number or, as on audio discs, minute, second and frame
 * of 1/75 s; block 0 is at 00:02:00.
 */

#include <string.h>

#include "scsi/handlers.h"
#include "scsi/mmc.h"
#include "util/bytes.h"

#define TRACK    1
#define LEAD_OUT 0xaa

#define ADR_CONTROL 0x14 /* position in Q, data track that must not be copied by ear */

#define FRAMES_PER_SECOND 75
#define FRAMES_PER_MINUTE (60 * FRAMES_PER_SECOND)
#define MSF_OFFSET        150
#define MSF_LENGTH        4

enum {
    FORMAT_TOC = 0,
    FORMAT_SESSIONS = 1,
    FORMAT_RAW_TOC = 2,
};

/* Reserved byte, minute, second, frame; what does not fit is the largest there is */
static void
put_msf(guint8 *p, guint64 lba)
{
    guint64 frame = lba + MSF_OFFSET;

    frame = MIN(frame, (guint64)G_MAXUINT8 * FRAMES_PER_MINUTE + FRAMES_PER_MINUTE - 1);
    p[0] = 0;
    p[1] = (guint8)(frame / FRAMES_PER_MINUTE);
    p[2] = (guint8)(frame % FRAMES_PER_MINUTE / FRAMES_PER_SECOND);
    p[3] = (guint8)(frame % FRAMES_PER_SECOND);
}

static void
put_address(const ScsiCommand *command, guint8 *p, guint64 lba)
{
    if (command->cdb[1] & 0x02)
        put_msf(p, lba);
    else
        put_be32(p, (guint32)MIN(lba, G_MAXUINT32));
}

static guint64
lead_out(const ScsiCommand *command)
{
    return lu_shard_n_blocks(command->nexus_lun->shard);
}

/*
 * READ TOC/PMA/ATIP
 */

static guint32
put_track(const ScsiCommand *command, guint8 *p, guint8 number, guint64 lba)
{
    p[1] = ADR_CONTROL;
    p[2] = number;
    put_address(command, p + 4, lba);
    return 8;
}

/* From the track in the CDB on; returns 0 when there is no such track */
static guint32
encode_toc(const ScsiCommand *command, guint8 *data)
{
    guint8 first = command->cdb[6];
    guint32 n = 4;

    if (first > TRACK && first != LEAD_OUT)
        return 0;

    data[2] = TRACK;
    data[3] = TRACK;
    if (first <= TRACK)
        n += put_track(command, data + n, TRACK, 0);
    n += put_track(command, data + n, LEAD_OUT, lead_out(command));
    return n;
}

static guint32
encode_sessions(const ScsiCommand *command, guint8 *data)
{
    data[2] = 1;
    data[3] = 1;
    return 4 + put_track(command, data + 4, TRACK, 0);
}

/* An entry of the lead-in; the place is always in minutes, seconds and frames */
static guint32
put_point(guint8 *p, guint8 point, const guint8 place[3])
{
    p[0] = 1; /* session */
    p[1] = ADR_CONTROL;
    p[3] = point;
    memcpy(p + 8, place, 3);
    return 11;
}

static guint32
encode_raw_toc(const ScsiCommand *command, guint8 *data)
{
    guint8 start[MSF_LENGTH], end[MSF_LENGTH];
    guint32 n = 4;

    if (command->cdb[6] > 1)
        return 0;

    put_msf(start, 0);
    put_msf(end, lead_out(command));
    data[2] = 1;
    data[3] = 1;
    n += put_point(data + n, 0xa0, (const guint8[]){ TRACK, 0, 0 }); /* first track, CD-ROM */
    n += put_point(data + n, 0xa1, (const guint8[]){ TRACK, 0, 0 }); /* last track */
    n += put_point(data + n, 0xa2, end + 1);
    n += put_point(data + n, TRACK, start + 1);
    return n;
}

void
mmc_read_toc(ScsiCommand *command)
{
    guint8 old_format = command->cdb[9] >> 6;
    guint8 format = command->cdb[2] & 0x0f;
    guint32 length;

    if (format == FORMAT_TOC)
        format = old_format;
    if (format > FORMAT_RAW_TOC) {
        scsi_command_fail_field(command, old_format == format ? 9 : 2,
                                old_format == format ? 7 : 3);
        return;
    }

    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, mmc_read_toc))
        return;

    if (format == FORMAT_TOC)
        length = encode_toc(command, command->data);
    else if (format == FORMAT_SESSIONS)
        length = encode_sessions(command, command->data);
    else
        length = encode_raw_toc(command, command->data);

    if (length == 0) {
        scsi_command_fail_field(command, 6, 7);
        return;
    }
    put_be16(command->data, (guint16)(length - 2));
    mmc_reply(command, length);
}

/*
 * READ DISC INFORMATION
 */

#define DISC_INFORMATION_LENGTH 34

void
mmc_read_disc_information(ScsiCommand *command)
{
    guint8 *data;

    /* Only the standard information: the others are about track and pseudo-overwrite resources */
    if ((command->cdb[1] & 0x07) != 0) {
        scsi_command_fail_field(command, 1, 2);
        return;
    }

    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, mmc_read_disc_information))
        return;

    data = command->data;
    put_be16(data, DISC_INFORMATION_LENGTH - 2);
    data[2] = 0x0e; /* last session and disc complete, not erasable */
    data[3] = TRACK;
    data[4] = 1; /* sessions */
    data[5] = TRACK;
    data[6] = TRACK;
    data[7] = 0x20;             /* URU: use is not restricted */
    memset(data + 16, 0xff, 8); /* no further session can begin */
    mmc_reply(command, DISC_INFORMATION_LENGTH);
}

/*
 * READ TRACK INFORMATION
 */

#define TRACK_INFORMATION_LENGTH 36

enum {
    ADDRESS_LBA = 0,
    ADDRESS_TRACK = 1,
    ADDRESS_SESSION = 2,
};

/* FALSE when it has failed the command */
static gboolean
check_track_address(ScsiCommand *command)
{
    guint32 address = get_be32(command->cdb + 2);

    switch (command->cdb[1] & 0x03) {
    case ADDRESS_LBA:
        if (address < lead_out(command))
            return TRUE;
        scsi_command_fail(command, SENSE_LBA_OUT_OF_RANGE);
        return FALSE;
    case ADDRESS_TRACK:
    case ADDRESS_SESSION:
        if (address == TRACK)
            return TRUE;
        scsi_command_fail_field(command, 2, 7);
        return FALSE;
    default:
        scsi_command_fail_field(command, 1, 1);
        return FALSE;
    }
}

void
mmc_read_track_information(ScsiCommand *command)
{
    guint8 *data;

    if (!check_track_address(command))
        return;
    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, mmc_read_track_information))
        return;

    data = command->data;
    put_be16(data, TRACK_INFORMATION_LENGTH - 2);
    data[2] = TRACK;
    data[3] = 1;    /* session */
    data[5] = 0x04; /* track mode: data */
    data[6] = 0x01; /* data mode 1 */
    put_be32(data + 24, (guint32)MIN(lead_out(command), G_MAXUINT32));
    mmc_reply(command, TRACK_INFORMATION_LENGTH);
}
