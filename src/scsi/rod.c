/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * POPULATE TOKEN and WRITE USING TOKEN
 *
 * POPULATE TOKEN makes a token for blocks of the unit that it is sent to
 * (rod-token.c); WRITE USING TOKEN, sent to the unit that is written, copies
 * what a token represents (rod-write.c). The source is found by its name in the
 * token among the units that the nexus reaches, those of other targets (sibling.h)
 * included: a token proves that somebody could read the blocks, it does not
 * replace that its user may. So a unit that
 * is hidden from, or reserved against, the user stays so, and the token of a
 * unit that went and came again is unknown.
 *
 * Each operation is a job, known by its list identifier to the nexus that asked,
 * on the unit that was asked, while it runs and for some time after. With IMMED
 * the command is answered at once and an inner command without any CDB takes
 * its place: it is in the task set, so that task management on the unit ends
 * the operation, as it does for the commands that the work consists of.
 * POPULATE TOKEN does no work that would be worth it: it is answered when the
 * token is there, also with IMMED.
 */

#include "scsi/rod.h"

#include <string.h>

#include "scsi/copy.h"
#include "scsi/handlers.h"
#include "scsi/lu-change.h"
#include "scsi/operation.h"
#include "scsi/optable.h"
#include "scsi/sibling.h"
#include "scsi/spc.h"
#include "util/bytes.h"

/*
 * Jobs
 */

RodJob *
rod_find(const NexusLun *nexus_lun, guint32 list_id)
{
    RodJob *found = NULL;

    list_foreach(link, &nexus_lun->rods) {
        RodJob *job = list_entry(link, RodJob, link);

        if (job->list_id == list_id)
            found = job;
    }

    return found;
}

void
rod_forget(RodJob *job)
{
    if (job == NULL)
        return;

    g_assert(job->command == NULL && job->work == NULL);

    rod_token_unref(job->token);
    list_unlink(&job->link);
    g_free(job);
}

void
rod_lun_deinit(NexusLun *nexus_lun)
{
    ListLink *link;

    while ((link = list_first(&nexus_lun->rods)) != NULL)
        rod_forget(list_entry(link, RodJob, link));
}

/* Of those that have ended, the newest few are kept */
static void
forget_oldest(NexusLun *nexus_lun)
{
    RodJob *oldest = NULL;
    guint n = 0;

    list_foreach(link, &nexus_lun->rods) {
        RodJob *job = list_entry(link, RodJob, link);

        if (job->command != NULL)
            continue;
        if (n++ == 0)
            oldest = job;
    }

    if (n > ROD_MAX_KEPT)
        rod_forget(oldest);
}

static guint
count_running(const NexusLun *nexus_lun)
{
    guint n = 0;

    list_foreach(link, &nexus_lun->rods)
        n += list_entry(link, RodJob, link)->command != NULL;
    return n;
}

/* Those of EXTENDED COPY count too: what runs in the background is held by no window */
static gboolean
may_start(const NexusLun *nexus_lun)
{
    return count_running(nexus_lun) < ROD_MAX_CONCURRENT &&
           nexus_lun->nexus->n_copies < COPY_MAX_OF_NEXUS &&
           nexus_lun->nexus->scsi->n_copies < COPY_MAX_OF_WORKER;
}

/* Before the command is answered: the nexus may be gone after that, and with it a sibling */
static RodJob *
refuse(ScsiCommand *command, RodWork *work, SenseCode code)
{
    rod_work_free(work);
    if (code == SENSE_NONE)
        scsi_command_finish(command, SCSI_BUSY);
    else
        scsi_command_fail(command, code);
    return NULL;
}

/* @work is given away. NULL: the command was ended. */
static RodJob *
make_job(ScsiCommand *command, RodWork *work)
{
    NexusLun *nexus_lun = command->nexus_lun;
    guint32 list_id = get_be32(command->cdb + 6);
    RodJob *other = rod_find(nexus_lun, list_id);
    CopyJob *copy = copy_find(nexus_lun, list_id);
    RodJob *job;

    /* What begins now needs the unit to be in the map: it may have left while data was received */
    if (nexus_find_lun(command->nexus, nexus_lun->lun) != nexus_lun)
        return refuse(command, work, SENSE_NOT_READY_BECOMING_READY);
    if (!may_start(nexus_lun))
        return refuse(command, work, SENSE_NONE);
    if ((other != NULL && other->command != NULL) || (copy != NULL && copy->command != NULL))
        return refuse(command, work, SENSE_OPERATION_IN_PROGRESS);
    rod_forget(other);
    copy_forget(copy);

    job = g_new0(RodJob, 1);
    job->nexus_lun = nexus_lun;
    job->command = command;
    job->list_id = list_id;
    job->service_action = command->op->service_action;
    job->work = work;
    job->work->job = job;
    list_init(&job->stoppers);
    list_append(&nexus_lun->rods, &job->link);
    nexus_lun->nexus->n_copies++;
    nexus_lun->nexus->scsi->n_copies++;
    return job;
}

/*
 * The end
 */

/* command->step is the outcome, command->n_blocks the sense code, command->lba the status: with
 * CHECK CONDITION the sense data is there already */
static void
finish(ScsiCommand *command)
{
    ScsiStatus status = (ScsiStatus)command->lba;

    command->transfer_length = command->data_out_length;
    if (status != SCSI_GOOD)
        scsi_command_finish(command, status);
    else if (command->step == COPY_FAILED)
        scsi_command_fail(command, (SenseCode)command->n_blocks);
    else if (command->step == COPY_GOOD)
        scsi_command_finish(command, SCSI_GOOD);
    else
        scsi_command_finish(command, SCSI_TASK_ABORTED);
}

/* Not on the spot: it may be inside of task management, which is going to abort it too */
static void
on_ended(ScsiCommand *command)
{
    scsi_command_yield(command, finish);
}

static void
on_stopped(ScsiCommand *stopper)
{
    scsi_command_finish(stopper, SCSI_GOOD);
}

static void
set_outcome(RodJob *job, const ScsiCommand *command, CopyOutcome outcome, SenseCode code,
            ScsiStatus status)
{
    job->outcome = command->aborted ? COPY_ABORTED : outcome;
    job->status = status;
    if (job->outcome == COPY_FAILED && code != SENSE_NONE) {
        gboolean descriptor = lu_state_has(&job->nexus_lun->shard->state, MODE_D_SENSE);

        job->sense_length = sense_encode(&(Sense){ .code = code }, descriptor, job->sense);
        job->status = SCSI_CHECK_CONDITION;
    }
    if (job->outcome == COPY_GOOD && job->delete_token && job->token != NULL)
        rod_token_end(job->token, ROD_DELETED);
}

/* Of a token that is used no more is needed, and one that was not handed out is for nobody */
static void
drop_token(RodJob *job, const ScsiCommand *command)
{
    if (job->token == NULL)
        return;

    if (job->service_action == ROD_WRITE)
        rod_token_end_use(job->token, worker_now(command->nexus->worker));
    else if (job->outcome == COPY_GOOD)
        return;
    else
        rod_token_end(job->token, ROD_CANCELLED);
    rod_token_unref(g_steal_pointer(&job->token));
}

void
rod_job_end(RodJob *job, CopyOutcome outcome, SenseCode code, ScsiStatus status)
{
    ScsiCommand *command = g_steal_pointer(&job->command);
    List stoppers;
    ListLink *link;

    command->nexus->n_copies--;
    command->nexus->scsi->n_copies--;
    command->step = outcome;
    command->n_blocks = code;
    command->lba = status;
    set_outcome(job, command, outcome, code, status);
    drop_token(job, command);
    if (command->on_abort != NULL)
        deferred_cancel(command->on_abort);
    command->on_abort = NULL;
    g_clear_pointer(&job->work, rod_work_free);

    list_init(&stoppers);
    list_splice(&stoppers, &job->stoppers);
    forget_oldest(job->nexus_lun);

    /* The job may go with its unit now */
    scsi_command_errand_ended(command, on_ended);
    while ((link = list_pop(&stoppers)) != NULL)
        scsi_command_errand_ended(list_entry(link, ScsiCommand, wait_link), on_stopped);
}

void
rod_stop(RodJob *job, ScsiCommand *stopper)
{
    job->is_stopping = TRUE;
    scsi_command_errand_started(stopper);
    list_append(&job->stoppers, &stopper->wait_link);
    rod_work_stop(job);
}

/*
 * Inner commands without a CDB
 */

static void
begin_inner(const RodJob *job, ScsiCommand *inner, const ScsiTransport *transport,
            const Operation *op)
{
    inner->transport = transport;
    inner->nexus = job->nexus_lun->nexus;
    inner->is_inner = TRUE;
    lun_encode(job->nexus_lun->lun, inner->lun);
    scsi_command_begin_inner(inner, op, 0, 0);
}

/*
 * POPULATE TOKEN
 */

static void
on_token_ended(ScsiCommand *inner)
{
    RodWork *work = list_entry(inner, RodWork, inner);
    RodJob *job = work->job;
    ScsiStatus status = inner->status;
    gboolean aborted = inner->aborted;

    /* What a gate has said to the inner command is for the initiator */
    if (!aborted && status == SCSI_CHECK_CONDITION) {
        job->sense_length = job->command->sense_length = inner->sense_length;
        memcpy(job->sense, inner->sense, inner->sense_length);
        memcpy(job->command->sense, inner->sense, inner->sense_length);
    }

    scsi_command_end(inner);
    if (aborted || job->is_stopping) {
        job->sense_length = job->command->sense_length = 0;
        rod_job_end(job, COPY_STOPPED, SENSE_NONE, SCSI_GOOD);
    } else if (status != SCSI_GOOD) {
        rod_job_end(job, COPY_FAILED, SENSE_NONE, status);
    } else if (work->code != SENSE_NONE) {
        rod_job_end(job, COPY_FAILED, work->code, SCSI_GOOD);
    } else {
        job->n_blocks = job->token->n_blocks;
        rod_job_end(job, COPY_GOOD, SENSE_NONE, SCSI_GOOD);
    }
}

static void
on_published(ScsiCommand *inner)
{
    list_entry(inner, RodWork, inner)->code = lu_change_of(inner)->result;
    scsi_command_finish(inner, SCSI_GOOD);
}

static void
publish(ScsiCommand *inner)
{
    rod_token_publish(inner, list_entry(inner, RodWork, inner)->job->token, on_published);
}

/* clang-format off */
static const ScsiTransport publish_transport = { .done = on_token_ended };
static const Operation publish_operation = {
    .direction = OPERATION_NO_DATA, .pr_class = PR_READ, .flags = OP_READY, .devices = ON_DISK,
    .exec = publish, .name = "publish token",
};
/* clang-format on */

static void
on_populate_list(ScsiCommand *command)
{
    const LuShard *shard = command->nexus_lun->shard;
    RodList list;
    Sense sense = { 0 };
    RodJob *job;

    command->done_bytes = command->data_length;
    if (!rod_list_judge_populate(command->data, command->data_length, lu_shard_n_blocks(shard),
                                 shard->lu->block_shift, &list, &sense)) {
        scsi_command_fail_sense(command, &sense);
        return;
    }

    job = make_job(command, g_new0(RodWork, 1));
    if (job == NULL)
        return;

    scsi_command_drop_buffer(command);
    scsi_command_errand_started(command);
    job->token = rod_token_new(command->nexus, shard->lu, list.ranges, list.n_ranges, list.timeout);
    if (job->token == NULL) {
        rod_job_end(job, COPY_FAILED, SENSE_NONE, SCSI_BUSY);
        return;
    }

    begin_inner(job, &job->work->inner, &publish_transport, &publish_operation);
    job->work->inner.owner = command;
    scsi_command_run_inner(&job->work->inner);
}

void
rod_populate_token(ScsiCommand *command)
{
    spc_receive_list(command, ROD_POPULATE_HEADER, ROD_MAX_LIST, rod_populate_token,
                     on_populate_list);
}

/*
 * WRITE USING TOKEN
 */

static void
on_holder_done(ScsiCommand *holder)
{
    scsi_command_end(holder);
    g_free(holder);
}

/* clang-format off */
static const ScsiTransport holder_transport = { .done = on_holder_done };
static const Operation holder_operation = {
    .direction = OPERATION_NO_DATA, .pr_class = PR_ALLOW, .devices = ON_DISK, .name = "write using token",
};
/* clang-format on */

/* Another one takes the place of the command, which is answered when the work has begun */
static void
go_on_without(RodJob *job)
{
    ScsiCommand *holder = g_new0(ScsiCommand, 1);

    begin_inner(job, holder, &holder_transport, &holder_operation);
    job->command = holder;
    job->is_immediate = TRUE;
    scsi_command_errand_started(holder);
}

static gboolean
is_source(const Lu *lu, gconstpointer wanted)
{
    const guint8 *token = wanted;
    guint8 unit[32];

    rod_token_put_unit(lu, unit);
    return lu->not_ready == SENSE_NONE && memcmp(unit, token + ROD_TOKEN_UNIT, sizeof(unit)) == 0;
}

/* The unit that a token is of; a sibling may lead to it */
static NexusLun *
take_source(Nexus *nexus, const guint8 *token)
{
    for (guint i = 0; i < nexus->map->n_entries; i++) {
        if (is_source(nexus->luns[i]->lu, token))
            return nexus->luns[i];
    }

    return sibling_take(nexus, is_source, token);
}

/* TRUE: @work says what to copy and @ret_token is referred to, or NULL for zeros */
static gboolean
resolve(const ScsiCommand *command, const RodList *list, RodWork *work, RodToken **ret_token,
        Sense *ret_sense)
{
    const NexusLun *nexus_lun = command->nexus_lun, *source;
    RodToken *token;

    *ret_token = NULL;
    if (list->is_zero) {
        work->list = *list;
        return TRUE;
    }

    *ret_sense = (Sense){ .code = SENSE_TOKEN_UNKNOWN };
    source = take_source(command->nexus, list->token);
    if (source == NULL)
        return FALSE;
    copy_unit_init(&work->run.units[0], source);
    token = rod_token_find(source->shard, list->token, &ret_sense->code);
    if (token == NULL)
        return FALSE;
    if (!rod_list_map(list, token, nexus_lun->lu->block_shift,
                      lu_is_same_unit(source->lu, nexus_lun->lu), work->extents, &work->n_extents,
                      ret_sense)) {
        rod_token_unref(token);
        return FALSE;
    }

    *ret_token = token;
    return TRUE;
}

static void
start(RodJob *job, ScsiCommand *command, gboolean is_immediate)
{
    scsi_command_drop_buffer(command);
    if (is_immediate)
        go_on_without(job);
    else
        scsi_command_errand_started(command);

    if (job->work->n_extents > 0)
        rod_work_copy(job);
    else
        rod_work_zero(job);

    if (is_immediate) {
        command->transfer_length = command->data_out_length;
        scsi_command_finish(command, SCSI_GOOD);
    }
}

static void
on_write_list(ScsiCommand *command)
{
    const LuShard *shard = command->nexus_lun->shard;
    g_autoptr(RodWork) work = g_new0(RodWork, 1);
    RodList list;
    Sense sense = { 0 };
    RodToken *token = NULL;
    RodJob *job;

    command->done_bytes = command->data_length;
    if (!rod_list_judge_write(command->data, command->data_length, lu_shard_n_blocks(shard),
                              shard->lu->block_shift, &list, &sense) ||
        !resolve(command, &list, work, &token, &sense)) {
        g_clear_pointer(&work, rod_work_free);
        scsi_command_fail_sense(command, &sense);
        return;
    }

    job = make_job(command, g_steal_pointer(&work));
    if (job == NULL) {
        rod_token_unref(token);
        return;
    }

    job->token = token;
    job->delete_token = list.delete_token;
    if (token != NULL)
        rod_token_begin_use(token);
    start(job, command, list.is_immediate);
}

void
rod_write_using_token(ScsiCommand *command)
{
    if (nexus_lun_is_protected(command->nexus_lun)) {
        scsi_command_fail(command, SENSE_WRITE_PROTECTED);
        return;
    }

    spc_receive_list(command, ROD_WRITE_HEADER, ROD_MAX_LIST, rod_write_using_token, on_write_list);
}
