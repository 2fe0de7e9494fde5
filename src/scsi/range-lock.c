/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Range locks
 *
 * A write that covers part of a physical block has to read, merge and write,
 * and no other write of the block may come in between, from any session on any
 * worker. The same holds for COMPARE AND WRITE, ORWRITE and WRITE ATOMIC, of
 * which the first and the last keep out reads as well: nobody sees half of
 * them. So the home worker of the logical unit does it:
 *
 *   requester                home worker              every worker (home too)
 *   request         ------>  queue, first come first
 *                            served where ranges meet
 *                            RANGE_LOCK      ------>  park new overlapping I/O,
 *                                                     wait for own ones in flight
 *                            count           <------  RANGE_LOCKED
 *                            read, compare, merge, write
 *   result          <------  RANGE_UNLOCK    ------>  let parked ones go
 *                            slot is free    <------  node back
 *
 * RANGE_LOCKED waits for the backstore only. The home works from a buffer of
 * its pool's reserve and answers -EAGAIN when there is none, rather than hold
 * a lock while it waits for memory that parked writers may have.
 *
 * The same list parks commands that touch blocks of an aborted write which is
 * still in flight. A command without conflict pays one compare of
 * LuShard.n_conflicts with zero. There are LU_RANGE_LOCKS slots, so that far
 * apart writes go on side by side.
 */

#include "scsi/range-lock.h"

#include <errno.h>
#include <string.h>

#include "util/bytes.h"

#define WINDOW_SIZE ((guint64)64 << 10)

static void lock_next(Lu *lu);

static Worker *
home_worker(const Lu *lu)
{
    return lu->workers[lu->home];
}

static gboolean
overlaps(guint64 a_offset, guint64 a_end, guint64 b_offset, guint64 b_end)
{
    return a_offset < b_end && b_offset < a_end;
}

/*
 * On every worker
 */

/* Aborted writes that may still have an effect */
static gboolean
has_aborted_write(const LuShard *shard, guint64 offset, guint64 end)
{
    list_foreach(link, &shard->nexus_luns) {
        const NexusLun *nexus_lun = list_entry(link, NexusLun, shard_link);

        list_foreach(iter, &nexus_lun->tasks) {
            const ScsiCommand *command = list_entry(iter, ScsiCommand, link);

            if (command->state == SCSI_STATE_IO && command->io_writes && command->aborted &&
                overlaps(offset, end, command->io_offset, command->io_end))
                return TRUE;
        }
    }

    return FALSE;
}

/* What @lock has to wait for; what is at home waits itself */
static gboolean
has_io_in_flight(const LuShard *shard, const RangeLock *lock)
{
    list_foreach(link, &shard->nexus_luns) {
        const NexusLun *nexus_lun = list_entry(link, NexusLun, shard_link);

        list_foreach(iter, &nexus_lun->tasks) {
            const ScsiCommand *command = list_entry(iter, ScsiCommand, link);

            if (command->state == SCSI_STATE_IO && !command->is_at_home &&
                (command->io_writes || lock->excludes_reads) &&
                overlaps(lock->offset, lock->end, command->io_offset, command->io_end))
                return TRUE;
        }
    }

    return FALSE;
}

gboolean
range_lock_is_conflict(const LuShard *shard, const ScsiCommand *command)
{
    list_foreach(link, &shard->ranges) {
        const RangeLock *lock = list_entry(link, RangeMember, link)->lock;

        if ((command->io_writes || lock->excludes_reads) &&
            overlaps(lock->offset, lock->end, command->io_offset, command->io_end))
            return TRUE;
    }

    return shard->n_aborting > 0 && has_aborted_write(shard, command->io_offset, command->io_end);
}

void
range_lock_unpark(LuShard *shard)
{
    ListLink *link;

    /* They look for conflicts again when they run */
    while ((link = list_pop(&shard->parked)) != NULL)
        scsi_worker_make_runnable(shard->scsi, list_entry(link, ScsiCommand, wait_link));
}

/* Home: the node of a shard is back, the slot may be free */
static void
on_range_unlocked(Message *message)
{
    RangeLock *lock = list_entry(message, RangeMember, message)->lock;
    Lu *lu = lock->lu;

    if (--lock->n_waiting > 0)
        return;

    lock->holder = NULL;
    lock_next(lu);
    lu_shard_check_released(&lu->shards[lu->home]);
}

/* Shard: RANGE_UNLOCK */
static void
on_range_unlock(Message *message)
{
    RangeMember *member = list_entry(message, RangeMember, message);
    LuShard *shard = member->shard;

    list_unlink(&member->link);
    shard->n_conflicts--;
    range_lock_unpark(shard);
    worker_send(home_worker(shard->lu), &member->message, on_range_unlocked);
}

/*
 * On the home worker
 */

/* Requester: the write is done */
static void
on_write_done(Message *message)
{
    ScsiCommand *command = list_entry(message, ScsiCommand, message);

    command->io.done(&command->io);
}

static void
end_write(RangeLock *lock, gint64 result)
{
    Lu *lu = lock->lu;
    ScsiCommand *command = lock->holder;

    pool_give(home_worker(lu)->pool, g_steal_pointer(&lock->window));

    lock->n_waiting = lu->n_workers;
    for (guint i = 0; i < lu->n_workers; i++)
        worker_send(lu->workers[i], &lock->members[i].message, on_range_unlock);

    command->io.result = result;
    command->io.done = lock->done;
    worker_send(command->nexus->worker, &command->message, on_write_done);
}

static guint64
window_end(const RangeLock *lock)
{
    return MIN(lock->position + WINDOW_SIZE, lock->end);
}

static RangeLock *
lock_of(Io *io)
{
    const ScsiCommand *command = list_entry(io, ScsiCommand, io);
    Lu *lu = command->nexus_lun->lu;

    for (guint i = 0; i < LU_RANGE_LOCKS; i++) {
        if (lu->range_locks[i].holder == command)
            return &lu->range_locks[i];
    }
    g_assert_not_reached();
}

static void run_window(RangeLock *lock);

static void
submit(RangeLock *lock, IoKind kind, guint64 offset, guint64 length, guint8 *buffer,
       void (*done)(Io *io))
{
    Io *io = &lock->holder->io;

    io->kind = kind;
    io->flags = kind == IO_WRITE ? lock->flags : (IoFlags)0;
    io->offset = offset;
    io->length = length;
    io->buffer = buffer;
    io->result = 0;
    io->done = done;
    backstore_submit(lock->lu->store, home_worker(lock->lu), io);
}

static void
submit_window(RangeLock *lock, IoKind kind, void (*done)(Io *io))
{
    submit(lock, kind, lock->position, window_end(lock) - lock->position, lock->window, done);
}

static void
on_window_written(Io *io)
{
    RangeLock *lock = lock_of(io);

    if (io->result < 0) {
        end_write(lock, io->result);
        return;
    }

    lock->position = window_end(lock);
    if (lock->position < lock->end)
        run_window(lock);
    else
        end_write(lock, 0);
}

/* The part of the write that lies in the window */
static guint64
start_in_window(const RangeLock *lock)
{
    return MAX(lock->position, lock->write_offset);
}

static guint64
end_in_window(const RangeLock *lock)
{
    return MIN(window_end(lock), lock->write_end);
}

static void
merge_window(RangeLock *lock)
{
    guint64 start = start_in_window(lock);
    guint64 size = end_in_window(lock) - start;
    guint8 *to = lock->window + (start - lock->position);
    const guint8 *from = lock->data + (start - lock->write_offset);

    if (lock->op == RANGE_OR) {
        for (guint64 i = 0; i < size; i++)
            to[i] |= from[i];
    } else {
        memcpy(to, from, size);
    }
    submit_window(lock, IO_WRITE, on_window_written);
}

/* The first pass of COMPARE AND WRITE */
static void
compare_window(RangeLock *lock)
{
    guint64 start = start_in_window(lock);
    guint64 at = start - lock->write_offset;
    guint64 size = end_in_window(lock) - start;
    const guint8 *have = lock->window + (start - lock->position);
    const guint8 *want = lock->compare + at;

    if (memcmp(have, want, size) != 0) {
        while (*have++ == *want++)
            at++;
        lock->holder->step = at;
        end_write(lock, RANGE_MISCOMPARE);
        return;
    }

    lock->position = window_end(lock);
    if (lock->position == lock->end) {
        lock->is_comparing = FALSE;
        lock->position = lock->offset;
    }
    run_window(lock);
}

static void
on_window_read(Io *io)
{
    RangeLock *lock = lock_of(io);

    if (io->result < 0)
        end_write(lock, io->result);
    else if (lock->is_comparing)
        compare_window(lock);
    else
        merge_window(lock);
}

static void
run_window(RangeLock *lock)
{
    gboolean is_partial = lock->position < lock->write_offset || window_end(lock) > lock->write_end;

    /* Of a plain write only the windows at the two ends can hold blocks that must be read first */
    if (lock->is_comparing || lock->op == RANGE_OR || is_partial)
        submit_window(lock, IO_READ, on_window_read);
    else
        merge_window(lock);
}

static void
on_all_written(Io *io)
{
    end_write(lock_of(io), io->result);
}

static void
start_write(RangeLock *lock)
{
    /* All or nothing for the store, too, where it can be one request */
    if (lock->op == RANGE_WRITE_ATOMIC && lock->offset == lock->write_offset &&
        lock->end == lock->write_end) {
        submit(lock, IO_WRITE, lock->offset, lock->end - lock->offset, lock->data, on_all_written);
        return;
    }

    lock->window = pool_take_reserved(home_worker(lock->lu)->pool, WINDOW_SIZE);
    if (lock->window == NULL) {
        end_write(lock, -EAGAIN);
        return;
    }

    lock->is_comparing = lock->op == RANGE_COMPARE_AND_WRITE;
    lock->position = lock->offset;
    run_window(lock);
}

/* Home: RANGE_LOCKED */
static void
on_range_locked(Message *message)
{
    RangeLock *lock = list_entry(message, RangeMember, message)->lock;

    if (--lock->n_waiting == 0)
        start_write(lock);
}

/* Shard: answer those locks that do not wait for own I/O any more */
void
range_lock_io_ended(LuShard *shard)
{
    list_foreach(link, &shard->ranges) {
        RangeMember *member = list_entry(link, RangeMember, link);
        const RangeLock *lock = member->lock;

        if (member->is_waiting && !has_io_in_flight(shard, lock)) {
            member->is_waiting = FALSE;
            worker_send(home_worker(shard->lu), &member->message, on_range_locked);
        }
    }
}

/* Shard: RANGE_LOCK */
static void
on_range_lock(Message *message)
{
    RangeMember *member = list_entry(message, RangeMember, message);
    LuShard *shard = member->shard;

    list_append(&shard->ranges, &member->link);
    shard->n_conflicts++;
    member->is_waiting = TRUE;
    range_lock_io_ended(shard);
}

static RangeLock *
find_free(Lu *lu)
{
    for (guint i = 0; i < LU_RANGE_LOCKS; i++) {
        if (lu->range_locks[i].holder == NULL)
            return &lu->range_locks[i];
    }

    return NULL;
}

static guint64
align_end(const Lu *lu, guint64 end)
{
    return MIN(round_up(end, lu->info->offset_align), MAX(end, lu->state.size));
}

static guint64
align_offset(const Lu *lu, guint64 offset)
{
    return round_down(offset, lu->info->offset_align);
}

static gboolean
requests_overlap(const Lu *lu, const Io *a, guint64 offset, guint64 end)
{
    return overlaps(align_offset(lu, a->offset), align_end(lu, a->offset + a->length), offset, end);
}

/* Whether a lock that is held, or a request before @command, stands in its way */
static gboolean
must_queue(const Lu *lu, const ScsiCommand *command)
{
    guint64 offset = align_offset(lu, command->io.offset);
    guint64 end = align_end(lu, command->io.offset + command->io.length);

    for (guint i = 0; i < LU_RANGE_LOCKS; i++) {
        const RangeLock *lock = &lu->range_locks[i];

        if (lock->holder != NULL && overlaps(lock->offset, lock->end, offset, end))
            return TRUE;
    }

    list_foreach(link, &lu->range_queue) {
        const ScsiCommand *other = list_entry(link, ScsiCommand, wait_link);

        if (other == command)
            return FALSE;
        if (requests_overlap(lu, &other->io, offset, end))
            return TRUE;
    }
    g_assert_not_reached();
}

static void
activate(RangeLock *lock, ScsiCommand *command)
{
    Lu *lu = lock->lu;
    const Io *io = &command->io;

    lock->holder = command;
    lock->offset = align_offset(lu, io->offset);
    lock->end = align_end(lu, io->offset + io->length);
    lock->write_offset = io->offset;
    lock->write_end = io->offset + io->length;
    lock->op = command->range_op;
    lock->compare = command->range_compare;
    lock->excludes_reads = lock->op == RANGE_WRITE_ATOMIC || lock->op == RANGE_COMPARE_AND_WRITE;
    lock->data = io->buffer;
    lock->flags = io->flags;
    lock->done = io->done;

    lock->n_waiting = lu->n_workers;
    for (guint i = 0; i < lu->n_workers; i++)
        worker_send(lu->workers[i], &lock->members[i].message, on_range_lock);
}

static void
lock_next(Lu *lu)
{
    list_foreach_safe(link, &lu->range_queue) {
        ScsiCommand *command = list_entry(link, ScsiCommand, wait_link);
        RangeLock *lock = find_free(lu);

        if (lock == NULL)
            return;
        if (must_queue(lu, command))
            continue;

        list_unlink(&command->wait_link);
        activate(lock, command);
    }
}

/* Home: a request */
static void
on_request(Message *message)
{
    ScsiCommand *command = list_entry(message, ScsiCommand, message);
    Lu *lu = command->nexus_lun->lu;

    list_append(&lu->range_queue, &command->wait_link);
    lock_next(lu);
}

void
range_lock_run(ScsiCommand *command, void (*done)(Io *io))
{
    command->io.done = done;
    worker_send(home_worker(command->nexus_lun->lu), &command->message, on_request);
}

gboolean
range_lock_is_busy(const Lu *lu)
{
    for (guint i = 0; i < LU_RANGE_LOCKS; i++) {
        if (lu->range_locks[i].holder != NULL)
            return TRUE;
    }

    return !list_is_empty(&lu->range_queue);
}

void
range_lock_init(Lu *lu)
{
    list_init(&lu->range_queue);
    for (guint i = 0; i < LU_RANGE_LOCKS; i++) {
        RangeLock *lock = &lu->range_locks[i];

        lock->lu = lu;
        lock->members = g_new0(RangeMember, lu->n_workers);
        for (guint j = 0; j < lu->n_workers; j++) {
            list_init(&lock->members[j].link);
            lock->members[j].lock = lock;
            lock->members[j].shard = &lu->shards[j];
        }
    }
}

void
range_lock_deinit(Lu *lu)
{
    g_assert(!range_lock_is_busy(lu));

    for (guint i = 0; i < LU_RANGE_LOCKS; i++)
        g_clear_pointer(&lu->range_locks[i].members, g_free);
}
