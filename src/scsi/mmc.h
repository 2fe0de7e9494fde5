/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "scsi/lu-shard.h"
#include "scsi/operation.h"

/*
 * What the files of the CD/DVD drive share
 *
 * The medium is always one that is complete: one session with one data track,
 * of 2048-byte blocks. Whether it is a CD or a DVD is told from its size.
 */

/* More than any CD holds; real drives read discs a little above 80 minutes too */
#define MMC_CD_MAX_BLOCKS ((guint64)409600)

enum {
    MMC_PROFILE_NONE = 0x0000, /* no medium */
    MMC_PROFILE_CD_ROM = 0x0008,
    MMC_PROFILE_DVD_ROM = 0x0010,
};

static inline guint16
mmc_profile(const LuShard *shard)
{
    if (!lu_shard_has_medium(shard))
        return MMC_PROFILE_NONE;
    return lu_shard_n_blocks(shard) > MMC_CD_MAX_BLOCKS ? MMC_PROFILE_DVD_ROM : MMC_PROFILE_CD_ROM;
}

/* End with the first bytes of the buffer that the initiator has room for */
static inline void
mmc_reply(ScsiCommand *command, guint32 length)
{
    scsi_command_reply(command, length, operation_get_length(command->op, command->cdb));
}

/* The mode page of the drive's capabilities; @page is zeroed */
void mmc_encode_capabilities(const Lu *lu, guint8 *page);
