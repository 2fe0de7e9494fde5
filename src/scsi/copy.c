/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * EXTENDED COPY
 *
 * The copy manager is an initiator inside: a segment is copied by READ(16) and
 * WRITE(16) commands of at most one buffer each, which it gives to the units
 * on the nexus that asked. These inner commands are in the task sets of their
 * units and pass all gates but that of unit attentions, which stay for the
 * initiator, and task ordering, in which EXTENDED COPY has its place already.
 * So everything that holds for a READ or WRITE of this initiator, from LUN
 * masking over reservations and write protection to range locks, holds for
 * them, and task management on their unit ends the copy.
 *
 * One inner command of a copy runs at a time, and each begins in a later round
 * of the loop, so that other commands get their turn. EXTENDED COPY itself is
 * meanwhile in the state of a command with I/O in flight: an abort waits until
 * the inner command has ended, and then no other follows.
 *
 * The job outlives its command by a few others, for RECEIVE COPY RESULTS.
 */

#include "scsi/copy.h"

#include <string.h>

#include "scsi/handlers.h"
#include "scsi/operation.h"
#include "scsi/spc.h"
#include "util/bytes.h"

#define READ_16  0x88
#define WRITE_16 0x8a

#define PARAMETER_LIST_MAX 4096
G_STATIC_ASSERT(COPY_LID4_HEADER + COPY_MAX_LIST <= PARAMETER_LIST_MAX);

static void copy_next(CopyJob *job);

/*
 * Jobs
 */

CopyJob *
copy_find(const NexusLun *nexus_lun, guint32 list_id)
{
    CopyJob *found = NULL;

    list_foreach(link, &nexus_lun->copies) {
        CopyJob *job = list_entry(link, CopyJob, link);

        if (job->list.has_id && job->list.list_id == list_id)
            found = job;
    }

    return found;
}

static void
forget(CopyJob *job)
{
    g_assert(job->command == NULL);

    list_unlink(&job->link);
    g_free(job);
}

void
copy_lun_deinit(NexusLun *nexus_lun)
{
    ListLink *link;

    while ((link = list_first(&nexus_lun->copies)) != NULL)
        forget(list_entry(link, CopyJob, link));
}

static guint
count_running(const NexusLun *nexus_lun)
{
    guint n = 0;

    list_foreach(link, &nexus_lun->copies)
        n += list_entry(link, CopyJob, link)->command != NULL;
    return n;
}

/* Of those that have ended, the newest few are kept */
static void
forget_oldest(NexusLun *nexus_lun)
{
    CopyJob *oldest = NULL;
    guint n = 0;

    list_foreach(link, &nexus_lun->copies) {
        CopyJob *job = list_entry(link, CopyJob, link);

        if (job->command != NULL)
            continue;
        if (n++ == 0)
            oldest = job;
    }

    if (n > COPY_MAX_KEPT)
        forget(oldest);
}

/*
 * The end
 */

/* command->step is the outcome, command->lba the segment, command->n_blocks the sense code */
static void
finish_copy(ScsiCommand *command)
{
    if (command->step == COPY_GOOD) {
        command->transfer_length = command->data_out_length;
        scsi_command_finish(command, SCSI_GOOD);
    } else if (command->step == COPY_FAILED) {
        scsi_command_fail_sense(command, &(Sense){ .code = (SenseCode)command->n_blocks,
                                                   .has_segment = TRUE,
                                                   .segment = (guint16)command->lba });
    } else {
        scsi_command_finish(command, SCSI_TASK_ABORTED);
    }
}

/* Not on the spot: it may be inside of task management, which is going to abort it too */
static void
on_copy_ended(ScsiCommand *command)
{
    scsi_command_yield(command, finish_copy);
}

static void
on_stopped(ScsiCommand *command)
{
    scsi_command_finish(command, SCSI_GOOD);
}

static void
end_copy(CopyJob *job, CopyOutcome outcome, SenseCode code)
{
    ScsiCommand *command = g_steal_pointer(&job->command);
    NexusLun *nexus_lun = command->nexus_lun;
    List stoppers;
    ListLink *link;

    command->step = outcome;
    command->lba = job->segment;
    command->n_blocks = code;
    job->outcome = command->aborted ? COPY_ABORTED : outcome;
    if (outcome == COPY_FAILED)
        job->sense_length = sense_encode(
            &(Sense){ .code = code, .has_segment = TRUE, .segment = (guint16)job->segment }, FALSE,
            job->sense);

    list_init(&stoppers);
    list_splice(&stoppers, &job->stoppers);
    if (!job->list.has_id)
        forget(job);
    forget_oldest(nexus_lun);

    scsi_command_errand_ended(command, on_copy_ended);
    while ((link = list_pop(&stoppers)) != NULL)
        scsi_command_errand_ended(list_entry(link, ScsiCommand, wait_link), on_stopped);
}

/*
 * Inner commands
 */

static void on_inner_done(ScsiCommand *inner);

static void
on_inner_data_out(ScsiCommand *inner)
{
    scsi_command_data_out_ready(inner); /* it is in the buffer already */
}

static void
on_inner_data_in(ScsiCommand *inner)
{
    g_assert_not_reached(); /* the only segment comes with the status */
}

static const ScsiTransport inner_transport = {
    .data_out = on_inner_data_out,
    .data_in = on_inner_data_in,
    .done = on_inner_done,
};

/* @buffer: the data of a WRITE, given away; NULL for a READ */
static void
start_inner(CopyJob *job, const CopyCscd *cscd, guint64 lba, guint8 *buffer)
{
    ScsiCommand *inner = &job->inner;

    memset(inner, 0, sizeof(*inner));
    inner->transport = &inner_transport;
    inner->nexus = job->command->nexus;
    inner->is_inner = TRUE;
    lun_encode(cscd->lun, inner->lun);
    inner->cdb[0] = buffer != NULL ? WRITE_16 : READ_16;
    put_be64(inner->cdb + 2, lba);
    put_be32(inner->cdb + 10, job->n_bytes >> cscd->block_shift);
    if (buffer != NULL)
        inner->expected_out = job->n_bytes;
    else
        inner->expected_in = job->n_bytes;

    scsi_command_begin(inner);
    inner->buffer = buffer;
    inner->data = buffer;
    inner->data_size = buffer != NULL ? job->n_bytes : 0;
    scsi_command_run_inner(inner);
}

static const CopySegment *
this_segment(const CopyJob *job)
{
    return &job->list.segments[job->segment];
}

static void
start_read(CopyJob *job)
{
    const CopySegment *segment = this_segment(job);
    const CopyCscd *cscd = &job->list.cscds[segment->source];

    job->is_writing = FALSE;
    start_inner(job, cscd, segment->source_lba + (job->done_bytes >> cscd->block_shift), NULL);
}

static void
start_write(CopyJob *job, guint8 *buffer)
{
    const CopySegment *segment = this_segment(job);
    const CopyCscd *cscd = &job->list.cscds[segment->destination];

    job->is_writing = TRUE;
    start_inner(job, cscd, segment->destination_lba + (job->done_bytes >> cscd->block_shift),
                buffer);
}

/* Whether unit @index of the list can still be used */
static gboolean
is_there(const CopyJob *job, guint8 index)
{
    return copy_find_lun(job->command->nexus, &job->list.cscds[index]) != NULL;
}

static void
on_inner_done(ScsiCommand *inner)
{
    CopyJob *job = list_entry(inner, CopyJob, inner);
    Pool *pool = inner->nexus->worker->pool;
    gboolean is_good = inner->status == SCSI_GOOD && !inner->aborted;
    guint8 *buffer = NULL;

    if (is_good && !job->is_writing)
        buffer = g_steal_pointer(&inner->buffer);
    scsi_command_end(inner);

    if (job->is_stopping || job->command->aborted) {
        pool_give(pool, buffer);
        end_copy(job, COPY_STOPPED, SENSE_NONE);
    } else if (!is_good) {
        end_copy(job, COPY_FAILED, SENSE_THIRD_PARTY_DEVICE_FAILURE);
    } else if (job->is_writing) {
        job->done_bytes += job->n_bytes;
        job->total_bytes += job->n_bytes;
        copy_next(job);
    } else if (!is_there(job, this_segment(job)->destination)) {
        pool_give(pool, buffer);
        end_copy(job, COPY_FAILED, SENSE_COPY_TARGET_NOT_REACHABLE);
    } else {
        start_write(job, buffer);
    }
}

static void
copy_next(CopyJob *job)
{
    gsize max = round_down(job->command->nexus->scsi->max_transfer, POOL_BUFFER_MIN);

    while (job->segment < job->list.n_segments && job->done_bytes == this_segment(job)->n_bytes) {
        job->segment++;
        job->done_bytes = 0;
    }

    if (job->segment == job->list.n_segments) {
        end_copy(job, COPY_GOOD, SENSE_NONE);
        return;
    }
    if (!is_there(job, this_segment(job)->source)) {
        end_copy(job, COPY_FAILED, SENSE_COPY_TARGET_NOT_REACHABLE);
        return;
    }

    max = MIN(max, POOL_BUFFER_MAX);
    job->n_bytes = (guint32)MIN(this_segment(job)->n_bytes - job->done_bytes, max);
    start_read(job);
}

/*
 * The commands
 */

/* The job of a list that is good, or NULL: the command was ended */
static CopyJob *
make_job(ScsiCommand *command)
{
    g_autofree CopyJob *job = g_new0(CopyJob, 1);
    CopyJob *other;
    Sense sense = { 0 };

    if (!copy_list_judge(command->nexus, command->data, command->data_length,
                         command->op->service_action == 0x01, &job->list, &sense)) {
        scsi_command_fail_sense(command, &sense);
        return NULL;
    }

    other = job->list.has_id ? copy_find(command->nexus_lun, job->list.list_id) : NULL;
    if (other != NULL && other->command != NULL) {
        scsi_command_fail(command, SENSE_OPERATION_IN_PROGRESS);
        return NULL;
    }
    if (other != NULL)
        forget(other);

    return g_steal_pointer(&job);
}

static void
on_list(ScsiCommand *command)
{
    CopyJob *job;

    command->done_bytes = command->data_length;
    if (count_running(command->nexus_lun) == COPY_MAX_CONCURRENT) {
        scsi_command_finish(command, SCSI_BUSY);
        return;
    }

    job = make_job(command);
    if (job == NULL)
        return;

    job->command = command;
    list_init(&job->stoppers);
    list_append(&command->nexus_lun->copies, &job->link);

    /* Who waits for the buffer of a READ must not hold another one */
    scsi_command_drop_buffer(command);
    scsi_command_errand_started(command);
    copy_next(job);
}

void
copy_extended_copy(ScsiCommand *command)
{
    guint header = command->op->service_action == 0x01 ? COPY_LID4_HEADER : COPY_LID1_HEADER;

    spc_receive_list(command, header, PARAMETER_LIST_MAX, copy_extended_copy, on_list);
}

void
copy_operation_abort(ScsiCommand *command)
{
    CopyJob *job = copy_find(command->nexus_lun, get_be32(command->cdb + 2));

    if (job == NULL || job->command == NULL) {
        scsi_command_fail_field(command, 2, 7);
        return;
    }

    job->is_stopping = TRUE;
    scsi_command_errand_started(command);
    list_append(&job->stoppers, &command->wait_link);
    scsi_command_abort(&job->inner);
}
