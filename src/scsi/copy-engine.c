/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Copy engine
 *
 * The engine is an initiator inside: all that it does to a unit is a command
 * in the task set of that unit on the nexus that asked, or on its sibling where
 * the unit is another target's (sibling.h). These inner commands
 * pass all gates but that of unit attentions, which stay for the initiator,
 * and task ordering, in which the copy has its place already. So everything
 * that holds for a READ or WRITE of this initiator, from LUN masking over
 * reservations and write protection to range locks, holds for them, and task
 * management on their unit ends the copy.
 *
 * An extent is cut into pieces (copy-cut.c). A piece goes one of two ways:
 *
 *   the store  where both backstores can (IO_COPY: a reflink, or the kernel
 *              copies), by a pair of commands, one on either unit, that are in
 *              flight together: the one on the source says that its range is
 *              being read, the one on the destination has the request. Its
 *              length follows the time that the one before has taken, so that
 *              a copy gives way and can be aborted whatever the store needs.
 *   plain      READ(16), then WRITE(16) with the same buffer.
 *
 * The first piece of a pair of units finds out whether the stores can: when
 * they cannot it goes back and the pair is plain from then on. A piece that
 * fails in the store is done again plainly, which finds out what is wrong with
 * which of the units.
 *
 * Pieces begin in order, each in a later round of the loop. Up to
 * COPY_MAX_LANES plain ones are under way together, more than one of them only
 * while half of the pool is free: a lane holds one buffer, which its WRITE takes
 * over from its READ, so that nothing that waits for a buffer holds one. A
 * piece that touches what another one under way writes, or writes what it
 * reads, waits for its end; that keeps up the order where it matters.
 *
 * A copy has ended when its last inner command has; @done is then called from
 * a deferred function, since the end may come from inside task management.
 */

#include "scsi/copy-engine.h"

#include <errno.h>
#include <string.h>

#include "scsi/copy-cut.h"
#include "scsi/operation.h"
#include "scsi/optable.h"
#include "util/bytes.h"

#define READ_16  0x88
#define WRITE_16 0x8a

/* Pieces that the store copies: the kernel keeps others out of both files meanwhile */
#define STORE_BYTES_FIRST ((guint64)8 << 20)
#define STORE_BYTES_MIN   ((guint64)1 << 20)
#define STORE_BYTES_MAX   ((guint64)256 << 20)
#define STORE_USEC_SHORT  (10 * 1000)
#define STORE_USEC_LONG   (40 * 1000)

static void move(CopyRun *run);

/*
 * Units
 */

void
copy_unit_init(CopyUnit *unit, const NexusLun *nexus_lun)
{
    *unit = (CopyUnit){
        .nexus = nexus_lun->nexus,
        .lun = nexus_lun->lun,
        .block_shift = (guint8)nexus_lun->lu->block_shift,
        .serial = nexus_lun->serial,
    };
}

NexusLun *
copy_unit_find(const CopyUnit *unit)
{
    NexusLun *nexus_lun = nexus_find_lun(unit->nexus, unit->lun);

    if (nexus_lun == NULL || nexus_lun->serial != unit->serial ||
        nexus_lun->lu->not_ready != SENSE_NONE)
        return NULL;
    return nexus_lun;
}

/*
 * The end
 */

static guint
count_active(const CopyRun *run)
{
    guint n = 0;

    for (guint i = 0; i < COPY_MAX_LANES; i++)
        n += copy_lane_is_active(&run->lanes[i]);
    return n;
}

/* All extents before it are copied */
static guint
first_unfinished(const CopyRun *run)
{
    guint extent = run->next_extent;

    for (guint i = 0; i < COPY_MAX_LANES; i++) {
        if (copy_lane_is_active(&run->lanes[i]))
            extent = MIN(extent, run->lanes[i].extent);
    }
    return extent;
}

static void
abort_lanes(CopyRun *run)
{
    for (guint i = 0; i < COPY_MAX_LANES; i++) {
        CopyLane *lane = &run->lanes[i];

        if (lane->read.state != SCSI_STATE_NEW)
            scsi_command_abort(&lane->read);
        if (lane->write.state != SCSI_STATE_NEW)
            scsi_command_abort(&lane->write);
    }
}

/* The first reason counts, but for failures the first extent */
static void
end_run(CopyRun *run, CopyOutcome outcome, SenseCode code, ScsiStatus status, guint extent)
{
    if (!run->is_ending ||
        (outcome == COPY_FAILED && run->next_outcome == COPY_FAILED && extent < run->extent)) {
        run->is_ending = TRUE;
        run->next_outcome = outcome;
        run->code = code;
        run->status = status;
        run->extent = extent;
    }
    deferred_run(&run->end, &run->nexus->worker->loop);
}

static void
on_end(Deferred *deferred)
{
    CopyRun *run = list_entry(deferred, CopyRun, end);

    /* Also the news that the command was aborted: what waits need not be waited for */
    if (!run->is_ending && run->command->aborted)
        end_run(run, COPY_ABORTED, SENSE_NONE, SCSI_GOOD, run->extent);
    if (run->is_ending &&
        (run->next_outcome != COPY_FAILED || run->is_stopping || run->command->aborted))
        abort_lanes(run);
    if (!run->is_ending || count_active(run) > 0)
        return;

    deferred_cancel(deferred);
    run->command->on_abort = NULL;
    run->outcome = run->command->aborted ? COPY_ABORTED : run->next_outcome;
    run->done(run);
}

/* What is left of its piece is not copied any more */
static void
drop_lane(CopyLane *lane)
{
    lane->state = COPY_LANE_IDLE;
    lane->run->extent = MIN(lane->run->extent, lane->extent);
}

static void
fail_lane(CopyLane *lane, SenseCode code, ScsiStatus status)
{
    lane->state = COPY_LANE_IDLE;
    end_run(lane->run, COPY_FAILED, code, status, lane->extent);
}

/*
 * Inner commands
 */

static void on_source_ready(ScsiCommand *command);
static void on_destination_ready(ScsiCommand *command);

/* clang-format off */
/* What the store copies, as seen from either unit. No CDB leads here. */
static const Operation source_operation = {
    .direction = OPERATION_IN, .pr_class = PR_READ, .flags = OP_MEDIUM, .lba = { 2, 8 },
    .devices = ON_DISK | ON_CDROM, .exec = on_source_ready, .name = "copy from",
};
static const Operation destination_operation = {
    .direction = OPERATION_OUT, .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES, .lba = { 2, 8 },
    .devices = ON_DISK | ON_CDROM, .exec = on_destination_ready, .name = "copy to",
};
/* clang-format on */

static void
on_inner_data_out(ScsiCommand *inner)
{
    scsi_command_data_out_ready(inner); /* it is in the buffer already */
}

static void on_read(ScsiCommand *inner);
static void on_written(ScsiCommand *inner);
static void on_source_ended(ScsiCommand *inner);
static void on_destination_ended(ScsiCommand *inner);

/* The only segment of a READ comes with its status, and what the store copies has none */
/* clang-format off */
static const ScsiTransport read_transport = { .done = on_read };
static const ScsiTransport write_transport = { .data_out = on_inner_data_out, .done = on_written };
static const ScsiTransport source_transport = { .done = on_source_ended };
static const ScsiTransport destination_transport = { .done = on_destination_ended };
/* clang-format on */

static const CopyExtent *
extent_of(const CopyLane *lane)
{
    return &lane->run->extents[lane->extent];
}

static guint64
source_lba(const CopyLane *lane)
{
    const CopyExtent *extent = extent_of(lane);

    return extent->source_lba + (lane->offset >> copy_source_unit(lane->run, extent)->block_shift);
}

static guint64
destination_lba(const CopyLane *lane)
{
    const CopyExtent *extent = extent_of(lane);

    return extent->destination_lba +
           (lane->offset >> copy_destination_unit(lane->run, extent)->block_shift);
}

static void
init_inner(CopyLane *lane, ScsiCommand *inner, const ScsiTransport *transport, const CopyUnit *unit)
{
    memset(inner, 0, sizeof(*inner));
    inner->transport = transport;
    inner->nexus = unit->nexus;
    inner->is_inner = TRUE;
    inner->owner = lane->run->command;
    lun_encode(unit->lun, inner->lun);
}

static void
start_read(CopyLane *lane)
{
    const CopyUnit *unit = copy_source_unit(lane->run, extent_of(lane));
    ScsiCommand *inner = &lane->read;

    lane->state = COPY_LANE_READ;
    lane->n_step = (guint32)MIN(lane->n_bytes, copy_plain_bytes(lane->run));
    init_inner(lane, inner, &read_transport, unit);
    inner->cdb[0] = READ_16;
    put_be64(inner->cdb + 2, source_lba(lane));
    put_be32(inner->cdb + 10, lane->n_step >> unit->block_shift);
    inner->expected_in = lane->n_step;
    scsi_command_begin(inner);
    scsi_command_run_inner(inner);
}

/* @buffer is given away */
static void
start_write(CopyLane *lane, guint8 *buffer)
{
    const CopyUnit *unit = copy_destination_unit(lane->run, extent_of(lane));
    ScsiCommand *inner = &lane->write;

    lane->state = COPY_LANE_WRITE;
    init_inner(lane, inner, &write_transport, unit);
    inner->cdb[0] = WRITE_16;
    put_be64(inner->cdb + 2, destination_lba(lane));
    put_be32(inner->cdb + 10, lane->n_step >> unit->block_shift);
    inner->expected_out = lane->n_step;
    scsi_command_begin(inner);
    inner->buffer = buffer;
    inner->data = buffer;
    inner->data_size = lane->n_step;
    scsi_command_run_inner(inner);
}

/* The two commands run one after the other in the same round of the loop */
static void
start_store(CopyLane *lane)
{
    CopyRun *run = lane->run;
    const CopyUnit *from = copy_source_unit(run, extent_of(lane));
    const CopyUnit *to = copy_destination_unit(run, extent_of(lane));

    lane->state = COPY_LANE_STORE;
    lane->n_inner = 2;
    lane->is_failed = FALSE;
    lane->status = SCSI_GOOD;
    lane->result = 0;
    lane->started_at = worker_now(run->nexus->worker);

    init_inner(lane, &lane->read, &source_transport, from);
    init_inner(lane, &lane->write, &destination_transport, to);
    lane->read.expected_in = (guint32)lane->n_bytes;
    scsi_command_begin_inner(&lane->read, &source_operation, source_lba(lane),
                             lane->n_bytes >> from->block_shift);
    scsi_command_begin_inner(&lane->write, &destination_operation, destination_lba(lane),
                             lane->n_bytes >> to->block_shift);
    scsi_command_run_inner(&lane->read);
    scsi_command_run_inner(&lane->write);
}

/*
 * Lanes
 */

/* Both units of the lane's extent are where they were */
static gboolean
are_there(const CopyLane *lane)
{
    const CopyRun *run = lane->run;
    const CopyExtent *extent = extent_of(lane);

    return copy_unit_find(copy_source_unit(run, extent)) != NULL &&
           copy_unit_find(copy_destination_unit(run, extent)) != NULL;
}

/* The inner command has ended as @inner->status says; TRUE when all is well and may go on */
static gboolean
end_inner(CopyLane *lane, ScsiCommand *inner)
{
    gboolean is_good = inner->status == SCSI_GOOD && !inner->aborted;
    ScsiStatus status = inner->status;

    scsi_command_end(inner);
    if (!is_good)
        fail_lane(lane, SENSE_THIRD_PARTY_DEVICE_FAILURE, status);
    else if (!are_there(lane))
        fail_lane(lane, SENSE_COPY_TARGET_NOT_REACHABLE, SCSI_GOOD);
    return lane->state != COPY_LANE_IDLE;
}

static void
on_read(ScsiCommand *inner)
{
    CopyLane *lane = list_entry(inner, CopyLane, read);
    CopyRun *run = lane->run;
    Pool *pool = run->nexus->worker->pool;
    guint8 *buffer = NULL;

    if (inner->status == SCSI_GOOD && !inner->aborted)
        buffer = g_steal_pointer(&inner->buffer);

    if (end_inner(lane, inner) && !run->is_ending) {
        start_write(lane, buffer);
        return;
    }

    drop_lane(lane);
    pool_give(pool, buffer);
    move(run);
}

/* The step is done; the rest of the piece, if there is one, goes the plain way */
static void
end_step(CopyLane *lane, guint64 n_bytes)
{
    CopyRun *run = lane->run;

    run->copied_bytes += n_bytes;
    lane->offset += n_bytes;
    lane->n_bytes -= n_bytes;
    if (lane->n_bytes > 0 && !run->is_ending && !run->command->aborted) {
        start_read(lane);
        return;
    }

    if (lane->n_bytes > 0)
        drop_lane(lane);
    lane->state = COPY_LANE_IDLE;
    move(run);
}

static void
on_written(ScsiCommand *inner)
{
    CopyLane *lane = list_entry(inner, CopyLane, write);

    if (end_inner(lane, inner))
        end_step(lane, lane->n_step);
    else
        move(lane->run);
}

/*
 * Pieces that the store copies
 */

static void
on_source_copied(ScsiCommand *command)
{
    if (command->io.result == 0)
        command->done_bytes = command->transfer_length = scsi_command_io_length(command);
    scsi_command_finish(command, SCSI_GOOD);
}

static void
on_destination_copied(ScsiCommand *command)
{
    CopyLane *lane = list_entry(command, CopyLane, write);
    gint64 result = command->io.result;

    if (result < 0 && !backstore_copy_is_refused(result)) {
        scsi_command_fail_io(command, result, TRUE, command->lba);
        return;
    }

    lane->result = result;
    if (result == 0)
        command->done_bytes = command->transfer_length = scsi_command_io_length(command);
    scsi_command_finish(command, SCSI_GOOD);
}

static void
on_copied(ScsiCommand *command)
{
    if (command->io_writes)
        on_destination_copied(command);
    else
        on_source_copied(command);
}

/* The source has passed its gates and waits for the destination, which is the next to run */
static void
on_source_ready(ScsiCommand *command)
{
    command->state = SCSI_STATE_BLOCKED;
}

static void
on_destination_ready(ScsiCommand *command)
{
    CopyLane *lane = list_entry(command, CopyLane, write);
    const CopyExtent *extent = extent_of(lane);

    command->state = SCSI_STATE_BLOCKED;
    scsi_command_copy(
        &lane->read, source_lba(lane) << copy_source_unit(lane->run, extent)->block_shift, command,
        destination_lba(lane) << copy_destination_unit(lane->run, extent)->block_shift,
        lane->n_bytes, on_copied);
}

/* Longer or shorter pieces, so that one takes some ten milliseconds */
static void
adapt(CopyRun *run, gint64 usec)
{
    if (usec < STORE_USEC_SHORT)
        run->store_bytes = MIN(run->store_bytes * 2, STORE_BYTES_MAX);
    else if (usec > STORE_USEC_LONG)
        run->store_bytes = MAX(run->store_bytes / 2, STORE_BYTES_MIN);
}

/* The stores did not do it: this piece goes the plain way, and all that follow unless it was an
 * error of this piece */
static void
fall_back(CopyLane *lane)
{
    CopyRun *run = lane->run;

    if (lane->result == -EIO) {
        start_read(lane);
        return;
    }

    /* Nothing has begun after it */
    *copy_mode_of(run, extent_of(lane)) = COPY_MODE_PLAIN;
    run->next_extent = lane->extent;
    run->next_offset = lane->offset;
    lane->state = COPY_LANE_IDLE;
    move(run);
}

static void
end_store(CopyLane *lane)
{
    CopyRun *run = lane->run;

    if (lane->is_failed) {
        fail_lane(lane, SENSE_THIRD_PARTY_DEVICE_FAILURE, lane->status);
        move(run);
    } else if (!are_there(lane)) {
        fail_lane(lane, SENSE_COPY_TARGET_NOT_REACHABLE, SCSI_GOOD);
        move(run);
    } else if (lane->result == 0) {
        *copy_mode_of(run, extent_of(lane)) = COPY_MODE_STORE;
        adapt(run, worker_now(run->nexus->worker) - lane->started_at);
        end_step(lane, lane->n_bytes);
    } else if (run->is_ending || run->command->aborted) {
        drop_lane(lane);
        move(run);
    } else {
        fall_back(lane);
    }
}

/* One of the two has ended. Without it the other one has nothing to do, unless it is ending too */
static void
on_either_ended(CopyLane *lane, ScsiCommand *inner, ScsiCommand *other)
{
    gboolean is_good = inner->status == SCSI_GOOD && !inner->aborted;

    if (!is_good && !lane->is_failed) {
        lane->is_failed = TRUE;
        lane->status = inner->status;
    }

    scsi_command_end(inner);
    if (--lane->n_inner == 0)
        end_store(lane);
    else if (!is_good)
        scsi_command_abort(other);
}

static void
on_source_ended(ScsiCommand *inner)
{
    CopyLane *lane = list_entry(inner, CopyLane, read);

    on_either_ended(lane, inner, &lane->write);
}

static void
on_destination_ended(ScsiCommand *inner)
{
    CopyLane *lane = list_entry(inner, CopyLane, write);

    on_either_ended(lane, inner, &lane->read);
}

/*
 * Beginning pieces
 */

static CopyLane *
find_idle(CopyRun *run)
{
    for (guint i = 0; i < COPY_MAX_LANES; i++) {
        if (!copy_lane_is_active(&run->lanes[i]))
            return &run->lanes[i];
    }

    return NULL;
}

/* One lane always; more of them while others find buffers, and while the store is not at work */
static gboolean
may_begin(const CopyRun *run)
{
    PoolStatistics pool;

    if (count_active(run) == 0)
        return TRUE;

    for (guint i = 0; i < COPY_MAX_LANES; i++) {
        if (run->lanes[i].state == COPY_LANE_STORE)
            return FALSE;
    }

    pool_get_statistics(run->nexus->worker->pool, &pool);
    return pool_available(run->nexus->worker->pool) >= pool.size / 2;
}

static void
begin_piece(CopyRun *run, CopyLane *lane, const CopyPiece *piece)
{
    lane->run = run;
    lane->extent = piece->extent;
    lane->offset = piece->offset;
    lane->n_bytes = piece->n_bytes;
    run->next_offset += piece->n_bytes;
    if (piece->is_store)
        start_store(lane);
    else
        start_read(lane);
}

/* FALSE: nothing more can begin now */
static gboolean
begin_next(CopyRun *run)
{
    CopyLane *lane = find_idle(run);
    CopyPiece piece;

    if (lane == NULL || !may_begin(run))
        return FALSE;

    switch (copy_cut(run, &piece)) {
    case COPY_CUT_PIECE:
        begin_piece(run, lane, &piece);
        return TRUE;
    case COPY_CUT_WAIT:
        return FALSE;
    case COPY_CUT_GONE:
        end_run(run, COPY_FAILED, SENSE_COPY_TARGET_NOT_REACHABLE, SCSI_GOOD, run->next_extent);
        return FALSE;
    }
    g_assert_not_reached();
}

/* Begin what can begin. Each inner command runs in a later round of the loop. */
static void
move(CopyRun *run)
{
    gboolean may_go_on = TRUE;

    if (!run->is_ending && run->command->aborted)
        end_run(run, COPY_ABORTED, SENSE_NONE, SCSI_GOOD, run->extent);

    while (!run->is_ending && may_go_on) {
        while (run->next_extent < run->n_extents &&
               run->next_offset == run->extents[run->next_extent].n_bytes) {
            run->next_extent++;
            run->next_offset = 0;
        }
        may_go_on = run->next_extent < run->n_extents && begin_next(run);
    }

    if (!run->is_ending)
        run->extent = first_unfinished(run);
    if (count_active(run) > 0)
        return;
    if (!run->is_ending)
        end_run(run, COPY_GOOD, SENSE_NONE, SCSI_GOOD, run->n_extents);
    else
        deferred_run(&run->end, &run->nexus->worker->loop);
}

void
copy_run_start(CopyRun *run)
{
    g_assert(run->n_units <= COPY_MAX_UNITS);

    run->outcome = COPY_RUNNING;
    run->store_bytes = STORE_BYTES_FIRST;
    deferred_init(&run->end, on_end);
    run->command->on_abort = &run->end;
    move(run);
}

void
copy_run_stop(CopyRun *run)
{
    run->is_stopping = TRUE;
    if (run->outcome == COPY_RUNNING)
        end_run(run, COPY_STOPPED, SENSE_NONE, SCSI_GOOD, run->extent);
}
