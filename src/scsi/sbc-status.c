/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What there is to know and to prepare about blocks
 *
 * GET LBA STATUS asks the store for one run of blocks after the other, until
 * the parameter data is full or the medium ends; runs of the same kind that
 * follow each other are one descriptor. "step" counts descriptors, lba is where
 * the next run begins.
 *
 * PRE-FETCH is a hint to the store. Its answer is CONDITION MET where the store
 * keeps in memory what it reads, and GOOD where there is no such place.
 *
 * READ DEFECT DATA: the blocks of a store have no defects to list.
 */

#include <errno.h>

#include "scsi/handlers.h"
#include "scsi/operation.h"
#include "util/bytes.h"

/*
 * GET LBA STATUS
 */

#define STATUS_HEADER      8
#define STATUS_DESCRIPTOR  16
#define STATUS_MAX         ((guint)((POOL_BUFFER_MIN - STATUS_HEADER) / STATUS_DESCRIPTOR))
#define STATUS_MAPPED      0
#define STATUS_DEALLOCATED 1

static guint8 *
descriptor_at(const ScsiCommand *command, guint64 i)
{
    return command->data + STATUS_HEADER + i * STATUS_DESCRIPTOR;
}

static guint64
allocation_length(const ScsiCommand *command)
{
    return get_be32(command->cdb + 10);
}

static void
reply_status(ScsiCommand *command)
{
    guint32 length = (guint32)(STATUS_HEADER + command->step * STATUS_DESCRIPTOR);

    put_be32(command->data, length - 4);
    scsi_command_reply(command, length, allocation_length(command));
}

/* Returns FALSE when all descriptors are in use */
static gboolean
add_run(ScsiCommand *command, guint64 n_blocks, guint8 status)
{
    guint64 room = allocation_length(command) > STATUS_HEADER
                       ? (allocation_length(command) - STATUS_HEADER) / STATUS_DESCRIPTOR
                       : 0;
    guint8 *last = command->step > 0 ? descriptor_at(command, command->step - 1) : NULL;

    if (last != NULL && last[12] == status && n_blocks <= G_MAXUINT32 - get_be32(last + 8)) {
        put_be32(last + 8, (guint32)(get_be32(last + 8) + n_blocks));
    } else if (command->step < MIN(MAX(room, 1), STATUS_MAX)) {
        guint8 *next = descriptor_at(command, command->step++);

        put_be64(next, command->lba);
        put_be32(next + 8, (guint32)n_blocks);
        next[12] = status;
    } else {
        return FALSE;
    }

    command->lba += n_blocks;
    return TRUE;
}

static void status_next(ScsiCommand *command);

static void
on_run(ScsiCommand *command)
{
    const Lu *lu = scsi_command_lu(command);

    if (command->io.result < 0) {
        scsi_command_fail_io(command, command->io.result, FALSE, command->lba);
        return;
    }

    if (add_run(command, command->io.n_mapped >> lu->block_shift,
                command->io.is_mapped || !lu->can_unmap ? STATUS_MAPPED : STATUS_DEALLOCATED) &&
        command->lba < lu_shard_n_blocks(command->nexus_lun->shard))
        scsi_command_yield(command, status_next);
    else
        reply_status(command);
}

static void
status_next(ScsiCommand *command)
{
    const Lu *lu = scsi_command_lu(command);
    guint64 capacity = lu_shard_n_blocks(command->nexus_lun->shard);
    guint64 n_blocks = MIN(capacity - MIN(command->lba, capacity), G_MAXUINT32);

    /* It has shrunk since the last run */
    if (n_blocks == 0) {
        reply_status(command);
        return;
    }

    scsi_command_io(command, IO_MAP, (IoFlags)0, command->lba << lu->block_shift,
                    n_blocks << lu->block_shift, NULL, on_run);
}

void
sbc_get_lba_status(ScsiCommand *command)
{
    /* The table's length is that of the parameter data, so the gates cannot judge the range */
    command->lba = get_be64(command->cdb + 2);
    if (command->lba >= lu_shard_n_blocks(command->nexus_lun->shard))
        scsi_command_fail(command, SENSE_LBA_OUT_OF_RANGE);
    else if (scsi_command_take_zeroed(command, POOL_BUFFER_MIN, sbc_get_lba_status))
        status_next(command);
}

/*
 * PRE-FETCH
 */

static void
on_prefetched(ScsiCommand *command)
{
    if (command->io.result == -EOPNOTSUPP)
        scsi_command_finish(command, SCSI_GOOD);
    else if (command->io.result < 0)
        scsi_command_fail_io(command, command->io.result, FALSE, command->lba);
    else
        scsi_command_finish(command, SCSI_CONDITION_MET);
}

/* No length means all the rest */
void
sbc_pre_fetch(ScsiCommand *command)
{
    const Lu *lu = scsi_command_lu(command);
    guint64 capacity = lu_shard_n_blocks(command->nexus_lun->shard);
    guint64 n_blocks = command->n_blocks > 0 ? command->n_blocks : capacity - command->lba;

    scsi_command_io(command, IO_PREFETCH, (IoFlags)0, command->lba << lu->block_shift,
                    n_blocks << lu->block_shift, NULL, on_prefetched);
}

/*
 * READ DEFECT DATA
 */

#define DEFECT_LISTS_AND_FORMAT 0x1f /* the lists asked for and their format come back */

void
sbc_read_defect_data_10(ScsiCommand *command)
{
    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, sbc_read_defect_data_10))
        return;

    command->data[1] = command->cdb[2] & DEFECT_LISTS_AND_FORMAT;
    scsi_command_reply(command, 4, get_be16(command->cdb + 7));
}

void
sbc_read_defect_data_12(ScsiCommand *command)
{
    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, sbc_read_defect_data_12))
        return;

    command->data[1] = command->cdb[1] & DEFECT_LISTS_AND_FORMAT;
    scsi_command_reply(command, 8, get_be32(command->cdb + 6));
}
