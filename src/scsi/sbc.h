/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "scsi/operation.h"

/*
 * Limits of block commands: told in VPD B0 and checked by the operations
 */

#define SBC_MAX_UNMAP_DESCRIPTORS 256
#define SBC_MAX_UNMAP_BYTES       ((guint64)4 << 30)
#define SBC_MAX_WRITE_SAME_BYTES  ((guint64)256 << 20)

static inline guint32
sbc_max_unmap_blocks(const Lu *lu)
{
    return (guint32)(SBC_MAX_UNMAP_BYTES >> lu->block_shift);
}

static inline guint32
sbc_max_write_same_blocks(const Lu *lu)
{
    return (guint32)(SBC_MAX_WRITE_SAME_BYTES >> lu->block_shift);
}

/* WRITE SAME repeats its block in a buffer of this size */
#define SBC_PATTERN_BYTES ((guint64)64 << 10)

static inline gsize
sbc_pattern_size(const ScsiCommand *command)
{
    return MIN(command->n_blocks << scsi_command_lu(command)->block_shift, SBC_PATTERN_BYTES);
}
