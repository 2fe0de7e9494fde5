/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Erasing the medium as a whole
 *
 *   requester              home worker                every worker (home too)
 *   request        ------> one at a time
 *                          BEGIN_ERASE        ------> refuse new commands and new I/O of old ones,
 *                                                     wait for what is in flight
 *                          count              <------ ERASE_BEGUN
 *                          record             ------> (the thread that stores)
 *   has begun      <------ answer
 *                          write, piece by piece
 *                          ERASE_PROGRESS     ------> for sense data
 *                          no record          ------> (the thread that stores)
 *                          END_ERASE          ------> the new state; commands that wait for the end
 *                          count              <------ ERASE_ENDED
 *
 * ERASE_BEGUN waits for the backstore only. A shard has one node for these,
 * and the next message waits until all are back; progress is sent when that
 * costs nothing. Pieces follow each other through a deferred function, so that
 * a store that answers at once cannot keep the worker, and so that the worker
 * serves other units in between.
 *
 * A shard that refuses counts one conflict, so a command on the way to the
 * store pays nothing for this while nothing is erased.
 */

#include "scsi/lu-erase.h"

#include <errno.h>
#include <sys/random.h>

#include "scsi/erase-record.h"
#include "scsi/lu-shard.h"
#include "scsi/operation.h"
#include "scsi/range-lock.h"
#include "util/bytes.h"

#define PIECE_WRITE ((gsize)256 << 10)
#define PIECE_ZERO  ((guint64)64 << 20)

static void run_step(Lu *lu);
static void finish(Lu *lu);
static void on_end(Message *message);

static void
give_back(Lu *lu)
{
    LuErase *erase = &lu->erase;

    pool_give(lu->workers[lu->home]->pool, g_steal_pointer(&erase->buffer));
}

static Worker *
home_worker(const Lu *lu)
{
    return lu->workers[lu->home];
}

/*
 * On every worker
 */

gboolean
lu_erase_is_running(const LuShard *shard)
{
    return shard->erase_state == ERASE_SANITIZING || shard->erase_state == ERASE_FORMATTING;
}

gboolean
lu_erase_get_sense(const LuShard *shard, Sense *sense)
{
    switch (shard->erase_state) {
    case ERASE_NONE:
        sense->code = SENSE_NONE;
        return FALSE;
    case ERASE_SANITIZE_FAILED:
        sense->code = SENSE_SANITIZE_FAILED;
        return FALSE;
    case ERASE_FORMAT_FAILED:
        sense->code = SENSE_FORMAT_FAILED;
        return FALSE;
    case ERASE_SANITIZING:
        sense->code = SENSE_SANITIZE_IN_PROGRESS;
        break;
    case ERASE_FORMATTING:
        sense->code = SENSE_FORMAT_IN_PROGRESS;
        break;
    }

    sense->has_progress = TRUE;
    sense->progress = shard->erase_progress;
    return TRUE;
}

/* Errands to the home worker do not touch the medium, and might wait for what waits for us */
static gboolean
has_medium_io(const LuShard *shard)
{
    list_foreach(link, &shard->nexus_luns) {
        const NexusLun *nexus_lun = list_entry(link, NexusLun, shard_link);

        list_foreach(iter, &nexus_lun->tasks) {
            const ScsiCommand *command = list_entry(iter, ScsiCommand, link);

            if (command->state == SCSI_STATE_IO && (command->op->flags & OP_MEDIUM) &&
                !(command->op->flags & OP_ERASES))
                return TRUE;
        }
    }

    return FALSE;
}

static void
broadcast(Lu *lu, MessageFn deliver)
{
    lu->erase.n_answers = lu->n_workers;
    for (guint i = 0; i < lu->n_workers; i++)
        worker_send(lu->workers[i], &lu->shards[i].erase_message, deliver);
}

static void
answer_home(LuShard *shard, MessageFn deliver)
{
    worker_send(home_worker(shard->lu), &shard->erase_message, deliver);
}

static LuShard *
shard_of(Message *message)
{
    return list_entry(message, LuShard, erase_message);
}

/*
 * What outlives a restart of the service
 */

/* Home */
static void
on_persisted(Message *message)
{
    LuPersist *persist = list_entry(message, LuPersist, message);

    g_clear_pointer(&persist->text, g_free);
    persist->lu->erase.stored(persist->lu, persist->success);
}

static void
store(Lu *lu, EraseState state, void (*stored)(Lu *lu, gboolean success))
{
    LuPersist *persist = &lu->erase.persist;

    if (persist->fn == NULL) {
        stored(lu, TRUE);
        return;
    }

    lu->erase.stored = stored;
    persist->text = state == ERASE_NONE ? NULL : erase_record_format(state, &lu->erase.request);
    persist->keep = persist->text != NULL && lu->erase.can_keep;
    lu_persist_send(persist);
}

static EraseState
failure_of(EraseState state)
{
    return state == ERASE_SANITIZING || state == ERASE_SANITIZE_FAILED ? ERASE_SANITIZE_FAILED
                                                                       : ERASE_FORMAT_FAILED;
}

/* Every shard is told of lu->erase.state */
static void
end_all(Lu *lu)
{
    lu->erase.is_ending = TRUE;
    broadcast(lu, on_end);
}

/* Without a record a restart would end it half done: it does not begin, or is as before */
static void
on_begin_stored(Lu *lu, gboolean success)
{
    LuErase *erase = &lu->erase;

    if (success) {
        scsi_command_answer(g_steal_pointer(&erase->starter), 0);
        run_step(lu);
        return;
    }

    scsi_command_answer(g_steal_pointer(&erase->starter), -EIO);
    give_back(lu);
    erase->state = erase->state_before;
    end_all(lu);
}

/* With an old record a restart would erase what was written since: no use of the medium then */
static void
on_end_stored(Lu *lu, gboolean success)
{
    LuErase *erase = &lu->erase;

    erase->state = success ? erase->state_after : failure_of(erase->state);
    end_all(lu);
}

/* Home: ERASE_BEGUN */
static void
on_begun(Message *message)
{
    Lu *lu = shard_of(message)->lu;
    LuErase *erase = &lu->erase;

    if (--erase->n_answers > 0)
        return;

    store(lu, erase->state, on_begin_stored);
}

void
lu_erase_io_ended(LuShard *shard)
{
    if (!shard->erase_is_waiting || has_medium_io(shard))
        return;

    shard->erase_is_waiting = FALSE;
    answer_home(shard, on_begun);
}

/* Shard: BEGIN_ERASE. What home wrote before it sent the message does not change meanwhile. */
static void
on_begin(Message *message)
{
    LuShard *shard = shard_of(message);

    shard->erase_state = shard->lu->erase.state;
    shard->erase_progress = 0;
    shard->n_conflicts++;
    shard->erase_is_waiting = TRUE;
    if (shard->n_rods != 0)
        rod_shard_cancel(shard);

    /* Who is parked is refused when it tries again */
    if (shard->scsi != NULL)
        range_lock_unpark(shard);
    lu_erase_io_ended(shard);
}

/* Home: the nodes are back */
static void
on_progress_taken(Message *message)
{
    LuErase *erase = &shard_of(message)->lu->erase;

    if (--erase->n_answers == 0 && erase->is_at_end)
        finish(shard_of(message)->lu);
}

/* Shard: ERASE_PROGRESS */
static void
on_progress(Message *message)
{
    LuShard *shard = shard_of(message);

    shard->erase_progress = shard->erase_progress_next;
    answer_home(shard, on_progress_taken);
}

static void
end_waiter(ScsiCommand *command)
{
    Sense sense = { 0 };

    (void)lu_erase_get_sense(command->nexus_lun->shard, &sense);
    if (sense.code == SENSE_NONE)
        scsi_command_finish(command, SCSI_GOOD);
    else
        scsi_command_fail_sense(command, &sense);
}

/*
 * Home: who has been told of the end may ask for the next one before all others have been told. Such
 * a request waits for them; FALSE when there is nothing to wait for.
 */
static gboolean
waits_for_end(Lu *lu, ScsiCommand *command)
{
    if (!lu->erase.is_ending)
        return FALSE;

    list_append(&lu->erase.waiting, &command->wait_link);
    return TRUE;
}

/* The first one may begin, then the others are told that they came too late */
static void
deliver_waiting(Lu *lu)
{
    List waiting;
    ListLink *link;

    list_init(&waiting);
    list_splice(&waiting, &lu->erase.waiting);
    while ((link = list_pop(&waiting)) != NULL) {
        Message *message = &list_entry(link, ScsiCommand, wait_link)->message;

        message->deliver(message);
    }
}

/* Home: ERASE_ENDED */
static void
on_ended(Message *message)
{
    Lu *lu = shard_of(message)->lu;
    LuErase *erase = &lu->erase;

    if (--erase->n_answers > 0)
        return;

    erase->is_running = FALSE;
    erase->is_ending = FALSE;
    /* Who wanted to leave the failure: it stays while its record cannot be removed */
    if (erase->starter != NULL)
        scsi_command_answer(g_steal_pointer(&erase->starter),
                            erase->state == ERASE_NONE ? 0 : -EIO);
    deliver_waiting(lu);
    lu_shard_check_released(&lu->shards[lu->home]);
}

/* Shard: END_ERASE */
static void
on_end(Message *message)
{
    LuShard *shard = shard_of(message);
    ListLink *link;

    if (lu_erase_is_running(shard))
        shard->n_conflicts--;
    shard->erase_state = shard->lu->erase.state;

    while ((link = list_pop(&shard->erase_waiters)) != NULL)
        end_waiter(list_entry(link, ScsiCommand, wait_link));

    answer_home(shard, on_ended);
}

/* Home: it has stopped, and nobody waits for it any more */
static void
on_stopped(Message *message)
{
    Lu *lu = shard_of(message)->lu;

    if (--lu->erase.n_answers > 0)
        return;

    lu->erase.is_running = FALSE;
    lu_shard_check_released(&lu->shards[lu->home]);
}

/* Shard: its unit goes, the erasing goes on with the next one */
static void
on_stop(Message *message)
{
    LuShard *shard = shard_of(message);
    ListLink *link;

    while ((link = list_pop(&shard->erase_waiters)) != NULL)
        scsi_command_fail(list_entry(link, ScsiCommand, wait_link), SENSE_NOT_READY_BECOMING_READY);
    answer_home(shard, on_stopped);
}

/*
 * On the home worker
 */

static void
finish(Lu *lu)
{
    LuErase *erase = &lu->erase;

    give_back(lu);

    /* The state of the shards and the record stay: it goes on when the unit comes back */
    if (erase->is_stopping && !erase->has_failed && erase->pass < erase->request.n_passes) {
        broadcast(lu, on_stop);
        return;
    }

    erase->state_after = erase->has_failed ? failure_of(erase->state) : ERASE_NONE;
    store(lu, erase->state_after, on_end_stored);
}

static void
on_step(Deferred *deferred)
{
    run_step(list_entry(deferred, Lu, erase.step));
}

static Lu *
lu_of_io(Io *io)
{
    return list_entry(io, Lu, erase.io);
}

static void
tell_progress(Lu *lu)
{
    LuErase *erase = &lu->erase;
    guint64 size = lu->state.size;
    guint64 scale = (size >> 16) + 1;
    guint64 part = MIN(erase->position / scale, G_MAXUINT16);
    guint16 progress = (guint16)((erase->pass * ((guint64)G_MAXUINT16 + 1) + part) /
                                 MAX(erase->request.n_passes, 1));

    if (erase->n_answers > 0 || progress == erase->progress)
        return;

    erase->progress = progress;
    for (guint i = 0; i < lu->n_workers; i++)
        lu->shards[i].erase_progress_next = progress;
    broadcast(lu, on_progress);
}

static void
on_piece_done(Io *io)
{
    Lu *lu = lu_of_io(io);
    LuErase *erase = &lu->erase;

    if (io->result < 0) {
        scsi_worker_post(scsi_worker_of(home_worker(lu)), SCSI_EVENT_BACKSTORE_ERROR, lu,
                         (int)-io->result, io->offset >> lu->block_shift);
        erase->has_failed = TRUE;
    }

    erase->position += io->length;
    tell_progress(lu);
    deferred_run(&erase->step, &home_worker(lu)->loop);
}

static void
invert(LuErase *erase)
{
    for (gsize i = 0; i < erase->buffer_size; i++)
        erase->buffer[i] = (guint8)~erase->buffer[i];
}

/* Each pass reaches the medium, not only a cache that the next one overwrites */
static void
on_flushed(Io *io)
{
    Lu *lu = lu_of_io(io);
    LuErase *erase = &lu->erase;

    if (io->result < 0)
        erase->has_failed = TRUE;
    erase->pass++;
    erase->position = 0;
    if (erase->request.invert)
        invert(erase);
    deferred_run(&erase->step, &home_worker(lu)->loop);
}

static void
submit(Lu *lu, IoKind kind, guint64 length, void (*done)(Io *io))
{
    LuErase *erase = &lu->erase;

    erase->io.kind = kind;
    erase->io.flags = kind == IO_ZERO && erase->request.method == ERASE_UNMAP ? IO_MAY_UNMAP : 0;
    erase->io.offset = kind == IO_FLUSH ? 0 : erase->position;
    erase->io.length = length;
    erase->io.buffer = kind == IO_WRITE ? erase->buffer : NULL;
    erase->io.result = 0;
    erase->io.done = done;
    backstore_submit(lu->store, home_worker(lu), &erase->io);
}

static gboolean
is_writing(const LuErase *erase)
{
    return erase->request.method == ERASE_PATTERN || erase->request.method == ERASE_NOISE;
}

static void
run_step(Lu *lu)
{
    LuErase *erase = &lu->erase;
    guint64 size = lu->state.size;
    guint64 left = size - MIN(erase->position, size);

    if (erase->is_stopping || erase->has_failed || erase->pass == erase->request.n_passes) {
        erase->is_at_end = TRUE;
        if (erase->n_answers == 0)
            finish(lu);
    } else if (left == 0) {
        submit(lu, IO_FLUSH, 0, on_flushed);
    } else if (is_writing(erase)) {
        submit(lu, IO_WRITE, MIN(left, PIECE_WRITE), on_piece_done);
    } else {
        submit(lu, IO_ZERO, MIN(left, PIECE_ZERO), on_piece_done);
    }
}

static void
fill_with_pattern(LuErase *erase, guint32 block_size)
{
    const EraseRequest *request = &erase->request;

    for (gsize block = 0; block < erase->buffer_size; block += block_size) {
        for (gsize i = 0; i < block_size; i++)
            erase->buffer[block + i] = request->pattern[i % request->pattern_length];
    }

    /* The last pass writes the pattern as it was given */
    if (request->invert && request->n_passes % 2 == 0)
        invert(erase);
}

static gboolean
fill_with_noise(LuErase *erase)
{
    gsize n = 0;

    while (n < erase->buffer_size) {
        gssize r = getrandom(erase->buffer + n, erase->buffer_size - n, 0);

        if (r < 0 && errno != EINTR)
            return FALSE;
        n += r > 0 ? (gsize)r : 0;
    }

    return TRUE;
}

static gboolean
take_buffer(Lu *lu)
{
    LuErase *erase = &lu->erase;
    Pool *pool = home_worker(lu)->pool;

    if (!is_writing(erase))
        return TRUE;

    erase->buffer_size = PIECE_WRITE;
    erase->buffer = pool_take(pool, erase->buffer_size);
    if (erase->buffer == NULL)
        return FALSE;

    if (erase->request.method == ERASE_PATTERN) {
        fill_with_pattern(erase, lu_block_size(lu));
        return TRUE;
    }

    if (fill_with_noise(erase))
        return TRUE;

    pool_give(pool, g_steal_pointer(&erase->buffer));
    return FALSE;
}

static gint64
prepare(Lu *lu, const EraseRequest *request)
{
    LuErase *erase = &lu->erase;

    if (erase->is_running || erase->is_stopping)
        return -EBUSY;

    g_free(erase->pattern);
    erase->pattern = g_memdup2(request->pattern, request->pattern_length);
    erase->request = *request;
    erase->request.pattern = erase->pattern;
    if (!take_buffer(lu))
        return -EAGAIN;

    erase->state_before = erase->state;
    erase->state = request->state;
    erase->is_running = TRUE;
    erase->is_at_end = FALSE;
    erase->has_failed = FALSE;
    erase->pass = 0;
    erase->position = 0;
    erase->progress = 0;
    return 0;
}

/* Home: a request */
static void
on_start(Message *message)
{
    ScsiCommand *command = scsi_command_of_message(message);
    Lu *lu = scsi_command_lu(command);
    gint64 result;

    if (waits_for_end(lu, command))
        return;

    result = prepare(lu, command->erase_request);
    if (result < 0) {
        scsi_command_answer(command, result);
        return;
    }

    lu->erase.starter = command;
    broadcast(lu, on_begin);
}

void
lu_erase_start(ScsiCommand *command, EraseRequest *request, void (*resume)(ScsiCommand *))
{
    command->erase_request = request;
    scsi_command_ask_home(command, on_start, resume);
}

void
lu_erase_await(ScsiCommand *command)
{
    command->state = SCSI_STATE_BLOCKED;
    list_append(&command->nexus_lun->shard->erase_waiters, &command->wait_link);
}

/* Home: a request to leave the failure */
static void
on_exit_failure(Message *message)
{
    ScsiCommand *command = scsi_command_of_message(message);
    Lu *lu = scsi_command_lu(command);
    LuErase *erase = &lu->erase;

    if (waits_for_end(lu, command))
        return;

    if (erase->is_running || erase->is_stopping) {
        scsi_command_answer(command, -EBUSY);
    } else if (erase->state != ERASE_SANITIZE_FAILED) {
        scsi_command_answer(command, 0);
    } else if (!erase->request.may_exit) {
        scsi_command_answer(command, -EPERM);
    } else {
        erase->is_running = TRUE;
        erase->starter = command;
        erase->state_after = ERASE_NONE;
        store(lu, ERASE_NONE, on_end_stored);
    }
}

void
lu_erase_exit_failure(ScsiCommand *command, void (*resume)(ScsiCommand *))
{
    scsi_command_ask_home(command, on_exit_failure, resume);
}

gboolean
lu_erase_is_busy(const Lu *lu)
{
    return lu->erase.is_running;
}

gboolean
lu_erase_is_at_work(const Lu *lu)
{
    return lu->erase.is_running && !lu->erase.is_ending;
}

void
lu_erase_stop(Lu *lu)
{
    lu->erase.is_stopping = TRUE;
}

/* Home: after a restart */
static void
on_resume(Message *message)
{
    Lu *lu = list_entry(message, Lu, erase.resume_message);
    EraseRequest request = lu->erase.request;
    guint8 *pattern = g_steal_pointer(&lu->erase.pattern);

    lu->erase.is_running = FALSE;
    lu->erase.has_failed = prepare(lu, &request) < 0;
    lu->erase.is_running = TRUE;
    g_free(pattern);
    run_step(lu);
}

static void
restore(Lu *lu, const LuConfig *config)
{
    LuErase *erase = &lu->erase;

    if (!erase_record_parse(config->erase, config->erase_size, &erase->state, &erase->request,
                            &erase->pattern, NULL))
        return;

    for (guint i = 0; i < lu->n_workers; i++) {
        lu->shards[i].erase_state = erase->state;
        lu->shards[i].n_conflicts += lu_erase_is_running(&lu->shards[i]);
    }

    /* Without its store it waits for another start */
    if (lu_erase_is_running(&lu->shards[0]) && config->not_ready == SENSE_NONE) {
        erase->is_running = TRUE;
        worker_send(home_worker(lu), &erase->resume_message, on_resume);
    }
}

gboolean
lu_check_erase(const char *text, gsize size, GError **ret_error)
{
    g_autofree guint8 *pattern = NULL;
    EraseRequest request;
    EraseState state;

    return erase_record_parse(text, size, &state, &request, &pattern, ret_error);
}

void
lu_erase_init(Lu *lu, const LuConfig *config)
{
    LuPersist *persist = &lu->erase.persist;

    deferred_init(&lu->erase.step, on_step);
    list_init(&lu->erase.waiting);
    for (guint i = 0; i < lu->n_workers; i++)
        list_init(&lu->shards[i].erase_waiters);

    lu_persist_init(persist, lu, config, config->persist_erase, on_persisted);
    lu->erase.can_keep = config->can_keep;
    if (config->erase != NULL)
        restore(lu, config);
}

void
lu_erase_deinit(Lu *lu)
{
    g_assert(!lu->erase.is_running);
    g_free(lu->erase.pattern);
}
