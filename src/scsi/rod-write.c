/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The work of WRITE USING TOKEN
 *
 * What a token represents is copied by the copy engine. Nothing is locked
 * meanwhile: when the copy is done the token is looked at, and when somebody
 * has written a block of it in between the operation has failed, and no block
 * counts as transferred.
 *
 * The block device zero ROD token has no source: WRITE SAME commands of our
 * own, without data, do it, one at a time. They pass the gates as the
 * initiator's would.
 */

#include <string.h>

#include "scsi/operation.h"
#include "scsi/rod.h"
#include "scsi/sbc.h"
#include "scsi/sibling.h"
#include "util/bytes.h"

#define WRITE_SAME_16 0x93
#define NDOB          0x01

#define ZERO_BYTES_MAX ((guint64)64 << 20) /* of one command, so that others get their turn */

static void zero_next(RodJob *job);

void
rod_work_free(RodWork *work)
{
    if (work->run.units[0].nexus != NULL)
        sibling_give(work->run.units[0].nexus);
    g_free(work);
}

static guint
block_shift(const RodJob *job)
{
    return scsi_command_lu(job->command)->block_shift;
}

/*
 * Copies
 */

/* Another one that took the place of the source does not know the token */
static SenseCode
judge_copy(const CopyRun *run, RodToken *token)
{
    const NexusLun *there = nexus_find_lun(run->units[0].nexus, run->units[0].lun);
    RodState state = rod_token_state(token);

    if (state != ROD_LIVE)
        return rod_state_sense(state);
    if (there == NULL || there->lu->not_ready != SENSE_NONE)
        return SENSE_COPY_TARGET_NOT_REACHABLE;
    if (copy_unit_find(&run->units[0]) == NULL)
        return SENSE_TOKEN_UNKNOWN;
    return rod_shard_has(there->shard, token) ? SENSE_NONE : SENSE_TOKEN_UNKNOWN;
}

static void
on_copied(CopyRun *run)
{
    RodJob *job = list_entry(run, RodWork, run)->job;
    SenseCode code = judge_copy(run, job->token);

    if (code != SENSE_NONE) {
        rod_job_end(job, COPY_FAILED, code, SCSI_GOOD);
        return;
    }

    job->n_blocks = run->copied_bytes >> block_shift(job);
    rod_job_end(job, run->outcome, run->code, SCSI_GOOD);
}

void
rod_work_copy(RodJob *job)
{
    RodWork *work = job->work;
    CopyRun *run = &work->run;

    run->nexus = job->command->nexus;
    run->command = job->command;
    copy_unit_init(&run->units[1], job->nexus_lun);
    run->n_units = 2;
    run->extents = work->extents;
    run->n_extents = work->n_extents;
    run->done = on_copied;
    copy_run_start(run);
}

/*
 * Zeros
 */

static void
on_zeroed(ScsiCommand *inner)
{
    RodWork *work = list_entry(inner, RodWork, inner);
    RodJob *job = work->job;
    gboolean is_good = inner->status == SCSI_GOOD && !inner->aborted;

    scsi_command_end(inner);
    if (job->is_stopping || job->command->aborted) {
        rod_job_end(job, COPY_STOPPED, SENSE_NONE, SCSI_GOOD);
    } else if (!is_good) {
        rod_job_end(job, COPY_FAILED, SENSE_THIRD_PARTY_DEVICE_FAILURE, SCSI_GOOD);
    } else {
        work->n_zeroed += work->n_step;
        job->n_blocks += work->n_step;
        zero_next(job);
    }
}

/* NDOB: there is no data */
static const ScsiTransport zero_transport = { .done = on_zeroed };

static void
start_zero(RodJob *job, guint64 lba, guint32 n_blocks)
{
    ScsiCommand *inner = &job->work->inner;

    memset(inner, 0, sizeof(*inner));
    inner->transport = &zero_transport;
    inner->nexus = job->command->nexus;
    inner->is_inner = TRUE;
    inner->owner = job->command;
    lun_encode(job->nexus_lun->lun, inner->lun);
    inner->cdb[0] = WRITE_SAME_16;
    inner->cdb[1] = NDOB;
    put_be64(inner->cdb + 2, lba);
    put_be32(inner->cdb + 10, n_blocks);
    scsi_command_begin(inner);
    scsi_command_run_inner(inner);
}

/* The unit may have left the LUN, or another one may be there now */
static gboolean
is_there(const RodJob *job)
{
    return nexus_find_lun(job->command->nexus, job->nexus_lun->lun) == job->nexus_lun;
}

static void
zero_next(RodJob *job)
{
    RodWork *work = job->work;
    const Lu *lu = job->nexus_lun->lu;
    guint64 max = MIN(sbc_max_write_same_blocks(lu), ZERO_BYTES_MAX >> lu->block_shift);
    const RodRange *range;

    while (work->range < work->list.n_ranges &&
           work->n_zeroed == work->list.ranges[work->range].n_blocks) {
        work->range++;
        work->n_zeroed = 0;
    }

    if (work->range == work->list.n_ranges) {
        rod_job_end(job, COPY_GOOD, SENSE_NONE, SCSI_GOOD);
        return;
    }
    if (!is_there(job)) {
        rod_job_end(job, COPY_FAILED, SENSE_COPY_TARGET_NOT_REACHABLE, SCSI_GOOD);
        return;
    }

    range = &work->list.ranges[work->range];
    work->n_step = (guint32)MIN(range->n_blocks - work->n_zeroed, max);
    start_zero(job, range->lba + work->n_zeroed, work->n_step);
}

static void
on_zero_abort(Deferred *deferred)
{
    scsi_command_abort(&list_entry(deferred, RodWork, abort)->inner);
}

void
rod_work_zero(RodJob *job)
{
    deferred_init(&job->work->abort, on_zero_abort);
    job->command->on_abort = &job->work->abort;
    zero_next(job);
}

void
rod_work_stop(RodJob *job)
{
    if (job->work->n_extents > 0)
        copy_run_stop(&job->work->run);
    else
        scsi_command_abort(&job->work->inner);
}

guint64
rod_job_n_blocks(const RodJob *job)
{
    if (job->command == NULL || job->work->n_extents == 0)
        return job->n_blocks;
    return job->work->run.copied_bytes >> block_shift(job);
}
