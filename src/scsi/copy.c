/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * EXTENDED COPY
 *
 * A parameter list that was judged good becomes a CopyRun, and the copy engine
 * does the rest. EXTENDED COPY itself is meanwhile in the state of a command
 * with I/O in flight: an abort waits until the run has ended.
 *
 * With IMMED the command is answered when its list is good. The copy then
 * belongs to a command of our own, the holder, which is in the task set in the
 * place of EXTENDED COPY: so what would end the copy in the foreground ends it
 * in the background too, a reset of the unit, the loss of the nexus, the unit's
 * removal, and nobody can take away what the copy stands on. The holder keeps
 * no place in task ordering.
 *
 * SPC-4 (5.17.5) would have a copy outlive its nexus. Not so here: a session
 * that comes back, perhaps on another worker, could neither ask for the copy
 * nor stop it, and what it writes then would be overwritten by it.
 *
 * The job outlives its copy by a few others, for RECEIVE COPY RESULTS.
 */

#include "scsi/copy.h"

#include <string.h>

#include "scsi/handlers.h"
#include "scsi/operation.h"
#include "scsi/rod.h"
#include "scsi/spc.h"
#include "util/bytes.h"

#define PARAMETER_LIST_MAX (32 * 1024)
G_STATIC_ASSERT(COPY_LID4_HEADER + COPY_MAX_LIST <= PARAMETER_LIST_MAX);
G_STATIC_ASSERT(PARAMETER_LIST_MAX <= POOL_BUFFER_MAX);

static void
work_free(CopyWork *work)
{
    copy_list_clear(&work->list);
    g_free(work);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(CopyWork, work_free)

/*
 * Jobs
 */

CopyJob *
copy_find(const NexusLun *nexus_lun, guint32 list_id)
{
    CopyJob *found = NULL;

    list_foreach(link, &nexus_lun->copies) {
        CopyJob *job = list_entry(link, CopyJob, link);

        if (job->has_id && job->list_id == list_id)
            found = job;
    }

    return found;
}

void
copy_job_get_progress(const CopyJob *job, guint *ret_segments, guint64 *ret_bytes)
{
    *ret_segments = job->work != NULL ? job->work->run.extent : job->segment;
    *ret_bytes = job->work != NULL ? job->work->run.copied_bytes : job->total_bytes;
}

void
copy_forget(CopyJob *job)
{
    if (job == NULL)
        return;

    g_assert(job->command == NULL);

    list_unlink(&job->link);
    g_free(job);
}

void
copy_lun_deinit(NexusLun *nexus_lun)
{
    ListLink *link;

    while ((link = list_first(&nexus_lun->copies)) != NULL)
        copy_forget(list_entry(link, CopyJob, link));
}

static guint
count_running(const NexusLun *nexus_lun)
{
    guint n = 0;

    list_foreach(link, &nexus_lun->copies)
        n += list_entry(link, CopyJob, link)->command != NULL;
    return n;
}

static gboolean
may_start(const NexusLun *nexus_lun)
{
    return count_running(nexus_lun) < COPY_MAX_CONCURRENT &&
           nexus_lun->nexus->n_copies < COPY_MAX_OF_NEXUS &&
           nexus_lun->nexus->scsi->n_copies < COPY_MAX_OF_WORKER;
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
        copy_forget(oldest);
}

/*
 * The end
 */

/* Of a list that was carried out as far as @n_segments: with G_SENSE, GOOD status says so */
static void
finish_good(ScsiCommand *command, gboolean wants_sense, guint n_segments)
{
    gboolean descriptor = lu_state_has(&command->nexus_lun->shard->state, MODE_D_SENSE);
    Sense sense = { .code = SENSE_EXTENDED_COPY_INFORMATION,
                    .has_segment_count = TRUE,
                    .segment_count = n_segments };

    if (wants_sense)
        command->sense_length = sense_encode(&sense, descriptor, command->sense);
    command->transfer_length = command->data_out_length;
    scsi_command_finish(command, SCSI_GOOD);
}

/* command->step is the outcome, command->lba the segment, command->n_blocks the sense code,
 * command->total_bytes whether GOOD status comes with sense data */
static void
finish_copy(ScsiCommand *command)
{
    if (command->step == COPY_GOOD) {
        finish_good(command, command->total_bytes != 0, (guint)command->lba);
    } else if (command->step == COPY_FAILED) {
        scsi_command_fail_sense(command, &(Sense){ .code = (SenseCode)command->n_blocks,
                                                   .has_segment = TRUE,
                                                   .segment = (guint16)command->lba });
    } else {
        scsi_command_fail(command, SENSE_COPY_CLEARED);
    }
}

static void
finish_holder(ScsiCommand *holder)
{
    scsi_command_finish(holder, SCSI_GOOD);
}

static void
on_holder_done(ScsiCommand *holder)
{
    CopyWork *work = list_entry(holder, CopyWork, holder);

    scsi_command_end(holder);
    work_free(work);
}

static void
on_stopped(ScsiCommand *command)
{
    scsi_command_finish(command, SCSI_GOOD);
}

static void
keep_outcome(CopyJob *job)
{
    const CopyRun *run = &job->work->run;
    gboolean descriptor = lu_state_has(&run->command->nexus_lun->shard->state, MODE_D_SENSE);

    copy_job_get_progress(job, &job->segment, &job->total_bytes);
    job->outcome = run->outcome;
    if (run->outcome == COPY_FAILED)
        job->sense_length = sense_encode(
            &(Sense){ .code = run->code, .has_segment = TRUE, .segment = (guint16)run->extent },
            descriptor, job->sense);
}

static void
end_command(ScsiCommand *command, CopyWork *work)
{
    const CopyRun *run = &work->run;

    command->step = run->outcome;
    command->lba = run->extent;
    command->n_blocks = run->code;
    command->total_bytes = work->list.wants_sense;
    if (command == &work->holder) {
        scsi_command_errand_ended(command, finish_holder);
        return;
    }

    work_free(work);
    scsi_command_errand_ended(command, finish_copy);
}

static void
on_copied(CopyRun *run)
{
    CopyWork *work = list_entry(run, CopyWork, run);
    ScsiCommand *command = run->command;
    NexusLun *nexus_lun = command->nexus_lun;
    CopyJob *job = work->job;
    List stoppers;
    ListLink *link;

    nexus_lun->nexus->n_copies--;
    nexus_lun->nexus->scsi->n_copies--;
    keep_outcome(job);
    job->command = NULL;
    job->work = NULL;
    list_init(&stoppers);
    list_splice(&stoppers, &job->stoppers);
    if (!job->has_id)
        copy_forget(job);
    forget_oldest(nexus_lun);

    end_command(command, work);
    while ((link = list_pop(&stoppers)) != NULL)
        scsi_command_errand_ended(list_entry(link, ScsiCommand, wait_link), on_stopped);
}

/*
 * The commands
 */

/* clang-format off */
static const ScsiTransport holder_transport = { .done = on_holder_done };

/* No CDB leads here, and it is never run */
static const Operation holder_operation = {
    .direction = OPERATION_NO_DATA, .pr_class = PR_ALLOW, .name = "copy in the background",
};
/* clang-format on */

static void
start(NexusLun *nexus_lun, CopyJob *job, ScsiCommand *command, CopyWork *work)
{
    CopyRun *run = &work->run;

    nexus_lun->nexus->n_copies++;
    nexus_lun->nexus->scsi->n_copies++;
    job->command = command;
    job->work = work;
    work->job = job;
    list_append(&nexus_lun->copies, &job->link);

    run->nexus = nexus_lun->nexus;
    run->command = command;
    memcpy(run->units, work->list.units, sizeof(run->units));
    run->n_units = work->list.n_units;
    run->extents = work->list.segments;
    run->n_extents = work->list.n_segments;
    run->done = on_copied;

    scsi_command_errand_started(command);
    copy_run_start(run);
}

static void
start_in_background(ScsiCommand *command, CopyJob *job, CopyWork *work)
{
    ScsiCommand *holder = &work->holder;

    holder->transport = &holder_transport;
    holder->nexus = command->nexus;
    holder->is_inner = TRUE;
    lun_encode(command->nexus_lun->lun, holder->lun);
    scsi_command_begin_inner(holder, &holder_operation, 0, 0);
    g_assert(holder->nexus_lun == command->nexus_lun); /* see on_list() */

    start(command->nexus_lun, job, holder, work);
    finish_good(command, work->list.wants_sense, 0);
}

/* The job of a list that is good, or NULL and what is wrong */
static CopyJob *
make_job(ScsiCommand *command, CopyWork *work, Sense *ret_sense)
{
    CopyJob *job, *other;
    RodJob *rod;

    if (!copy_list_judge(command->nexus, command->data, command->data_length,
                         command->op->service_action == 0x01, &work->list, ret_sense))
        return NULL;

    other = work->list.has_id ? copy_find(command->nexus_lun, work->list.list_id) : NULL;
    rod = work->list.has_id ? rod_find(command->nexus_lun, work->list.list_id) : NULL;
    *ret_sense = (Sense){ .code = SENSE_INVALID_FIELD_IN_PARAMETERS };
    if (other != NULL && other->command != NULL) {
        if (other->service_action == command->op->service_action)
            ret_sense->code = SENSE_OPERATION_IN_PROGRESS;
        return NULL;
    }
    if (rod != NULL && rod->command != NULL)
        return NULL;
    copy_forget(other);
    rod_forget(rod);

    job = g_new0(CopyJob, 1);
    job->list_id = work->list.list_id;
    job->has_id = work->list.has_id;
    job->is_background = work->list.is_immediate;
    job->service_action = command->op->service_action;
    list_init(&job->stoppers);
    return job;
}

static void
on_list(ScsiCommand *command)
{
    g_autoptr(CopyWork) work = NULL;
    Sense sense = { 0 };
    CopyJob *job;

    command->done_bytes = command->data_length;

    /* What begins now needs the unit to be in the map: it may have left while data was received */
    if (nexus_find_lun(command->nexus, command->nexus_lun->lun) != command->nexus_lun) {
        scsi_command_fail(command, SENSE_NOT_READY_BECOMING_READY);
        return;
    }
    if (may_start(command->nexus_lun))
        work = g_try_new0(CopyWork, 1);
    if (work == NULL) {
        scsi_command_finish(command, SCSI_BUSY);
        return;
    }

    /* The nexus may be gone when the command has been answered, and with it what the list has taken */
    job = make_job(command, work, &sense);
    if (job == NULL) {
        g_clear_pointer(&work, work_free);
        scsi_command_fail_sense(command, &sense);
        return;
    }

    if (job->is_background) {
        start_in_background(command, job, g_steal_pointer(&work));
        return;
    }

    /* Who waits for the buffer of a READ must not hold another one */
    scsi_command_drop_buffer(command);
    start(command->nexus_lun, job, command, g_steal_pointer(&work));
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
    guint32 list_id = get_be32(command->cdb + 2);
    CopyJob *job = copy_find(command->nexus_lun, list_id);
    RodJob *rod = rod_find(command->nexus_lun, list_id);

    if (rod != NULL && rod->command != NULL) {
        rod_stop(rod, command);
        return;
    }
    if (job == NULL || job->command == NULL) {
        scsi_command_fail_field(command, 2, 7);
        return;
    }

    scsi_command_errand_started(command);
    list_append(&job->stoppers, &command->wait_link);
    copy_run_stop(&job->work->run);
}
