/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "scsi/operation.h"

/*
 * Limits of block commands: told in VPD B0 and checked by the operations
 */

#define SBC_MAX_UNMAP_DESCRIPTORS 256
#define SBC_MAX_UNMAP_BYTES       ((guint64)4 << 30)
#define SBC_MAX_UNMAP_BLOCKS      ((guint64)1 << 20)
#define SBC_MAX_WRITE_SAME_BYTES  ((guint64)128 << 20)

static inline guint32
sbc_max_unmap_blocks(const Lu *lu)
{
    return (guint32)MIN(SBC_MAX_UNMAP_BYTES >> lu->block_shift, SBC_MAX_UNMAP_BLOCKS);
}

static inline guint32
sbc_max_write_same_blocks(const Lu *lu)
{
    return (guint32)(SBC_MAX_WRITE_SAME_BYTES >> lu->block_shift);
}

/* End a command whose read from the store failed; the first bad block is looked for before */
void sbc_fail_read(ScsiCommand *command);

/* COMPARE AND WRITE: all that its field can say, which with blocks of 4096 bytes fits two buffers */
#define SBC_MAX_COMPARE_BLOCKS 255

/* WRITE ATOMIC: one buffer, one request to the store where that is aligned */
static inline guint32
sbc_max_atomic_blocks(const Lu *lu)
{
    return (guint32)(POOL_BUFFER_MAX >> lu->block_shift);
}

/* The longest header, a pattern descriptor and a pattern of one block */
#define SBC_MAX_FORMAT_LIST (8 + 4 + 4096)

/* The unit of counts of mapping resources is 1 MiB; as an exponent to 2, in blocks */
static inline guint
sbc_threshold_exponent(const Lu *lu)
{
    return 20 - lu->block_shift;
}

/* WRITE SAME repeats its block in a buffer of this size */
#define SBC_PATTERN_BYTES ((guint64)64 << 10)

static inline gsize
sbc_pattern_size(const ScsiCommand *command)
{
    return MIN(command->n_blocks << scsi_command_lu(command)->block_shift, SBC_PATTERN_BYTES);
}
