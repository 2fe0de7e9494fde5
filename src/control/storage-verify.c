/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Storage: jobs that flush a store, or read all of it
 *
 * A request to a store is carried by a worker, so a job is a message that goes
 * to and fro: the worker reads for a while, one piece after the other, and the
 * control thread looks at how far it has come, tells of it, and sends it on or
 * ends the job. A store that answers at once must not keep the worker from
 * initiators, so after some pieces of that kind the message goes back too.
 *
 * A piece that cannot be read is read again in small steps, to learn which
 * blocks it is. These are the result; the job goes on behind them.
 *
 * The job holds no operation up, so the store may leave while it is read. Its
 * closing waits then until the message is back, which is soon: what a fault
 * holds up is let go before.
 */

#include <errno.h>
#include <stdlib.h>

#include "control/jobs.h"
#include "control/storage-private.h"
#include "util/error.h"

#define PIECE_SIZE    ((gsize)1 << 20)
#define STEP_SIZE     ((gsize)4096) /* a multiple of all block sizes */
#define SPAN_USEC     (200 * 1000)
#define AT_ONCE_MAX   4 /* pieces of a span that the store reads without waiting */
#define RANGES_MAX    1000
#define PROGRESS_USEC (250 * 1000)

typedef struct {
    guint64 offset;
    guint64 length;
} Range;

typedef struct {
    Message message;
    ListLink link; /* of Storage.verifies, while it runs */
    Storage *storage;
    ModelJob *job;
    const char *operation; /* static */
    Worker *worker;
    Backstore *store;
    StorageLeave *leave; /* the closing of @store that waits for this one */
    GError *reason;      /* why it is to end early */
    guint64 size;
    gint64 began_us;
    gint64 told_us;

    /* the worker's while the message is there */
    Io io;
    void *buffer;
    guint64 place; /* all before it was read, or cannot be */
    guint64 small_end;
    gint64 span_end;
    guint n_at_once;
    gboolean is_pumping;
    gboolean is_reading;
    GArray *unreadable; /* of Range */
    guint64 n_unreadable;
    gboolean is_cut; /* there are more ranges than @unreadable holds */
    int error;       /* the store does not answer any more */
} Verify;

static const char flush_operation[] = "Backstore.Flush";
static const char verify_operation[] = "Backstore.Verify";

static void
verify_free(gpointer data)
{
    Verify *verify = data;

    g_array_unref(verify->unreadable);
    g_clear_error(&verify->reason);
    free(verify->buffer);
    g_free(verify);
}

/*
 * On the worker
 */

static void on_span_over(Message *message);

static void
go_back(Verify *verify)
{
    mailbox_send(&verify->storage->service->mailbox, &verify->message, on_span_over);
}

static void
note_unreadable(Verify *verify, guint64 offset, guint64 length)
{
    Range range = { offset, length };
    guint n = verify->unreadable->len;
    Range *last = n > 0 ? &g_array_index(verify->unreadable, Range, n - 1) : NULL;

    verify->n_unreadable += length;
    if (last != NULL && last->offset + last->length == offset)
        last->length += length;
    else if (n < RANGES_MAX)
        g_array_append_val(verify->unreadable, range);
    else
        verify->is_cut = TRUE;
}

static void
judge_piece(Verify *verify)
{
    const Io *io = &verify->io;

    if (io->result == -ENODEV || io->result == -ENXIO) {
        verify->error = (int)-io->result;
    } else if (io->result != 0 && io->length > STEP_SIZE) {
        verify->small_end = io->offset + io->length;
    } else {
        if (io->result != 0)
            note_unreadable(verify, io->offset, io->length);
        verify->place = io->offset + io->length;
    }
}

static gboolean
span_is_over(const Verify *verify)
{
    return verify->place >= verify->size || verify->error != 0 ||
           verify->n_at_once >= AT_ONCE_MAX || worker_now(verify->worker) >= verify->span_end;
}

static void pump(Verify *verify);

static void
on_read(Io *io)
{
    Verify *verify = list_entry(io, Verify, io);

    verify->is_reading = FALSE;
    judge_piece(verify);
    if (!verify->is_pumping)
        pump(verify);
}

static void
read_piece(Verify *verify)
{
    gsize most = verify->place < verify->small_end ? STEP_SIZE : PIECE_SIZE;

    verify->is_reading = TRUE;
    verify->io = (Io){ .kind = IO_READ,
                       .offset = verify->place,
                       .length = MIN(most, verify->size - verify->place),
                       .buffer = verify->buffer,
                       .done = on_read };
    backstore_submit(verify->store, verify->worker, &verify->io);
    if (!verify->is_reading)
        verify->n_at_once++;
}

static void
pump(Verify *verify)
{
    verify->is_pumping = TRUE;
    while (!verify->is_reading && !span_is_over(verify))
        read_piece(verify);
    verify->is_pumping = FALSE;
    if (!verify->is_reading)
        go_back(verify);
}

static void
begin_span(Message *message)
{
    Verify *verify = list_entry(message, Verify, message);

    verify->span_end = worker_now(verify->worker) + SPAN_USEC;
    verify->n_at_once = 0;
    pump(verify);
}

static void
on_flushed(Io *io)
{
    Verify *verify = list_entry(io, Verify, io);

    verify->error = (int)-io->result;
    go_back(verify);
}

static void
begin_flush(Message *message)
{
    Verify *verify = list_entry(message, Verify, message);

    verify->place = verify->size;
    verify->io = (Io){ .kind = IO_FLUSH, .done = on_flushed };
    backstore_submit(verify->store, verify->worker, &verify->io);
}

/*
 * On the control thread
 */

static gboolean
is_flush(const Verify *verify)
{
    return verify->operation == flush_operation;
}

/* The backstore, if it still has this store */
static ModelBackstore *
find_backstore(const Verify *verify)
{
    ModelBackstore *backstore =
        model_find_backstore(verify->storage->service->model, verify->job->object_name);

    return backstore != NULL && storage_get_store(backstore) == verify->store ? backstore : NULL;
}

/* What is beyond a new end was not unreadable, it is not there any more */
static void
follow_size(Verify *verify)
{
    const ModelBackstore *backstore = find_backstore(verify);

    if (backstore == NULL || backstore->size >= verify->size)
        return;

    verify->size = backstore->size;
    verify->place = MIN(verify->place, verify->size);
    for (guint i = verify->unreadable->len; i > 0; i--) {
        Range *range = &g_array_index(verify->unreadable, Range, i - 1);
        guint64 kept =
            range->offset < verify->size ? MIN(range->length, verify->size - range->offset) : 0;

        verify->n_unreadable -= range->length - kept;
        range->length = kept;
        if (kept > 0)
            break;
        g_array_set_size(verify->unreadable, i - 1);
    }
}

static void
tell_progress(Verify *verify)
{
    gint64 now = g_get_monotonic_time();
    double seconds = (double)(now - verify->began_us) / G_USEC_PER_SEC;
    ModelJob *job = verify->job;

    if (now - verify->told_us < PROGRESS_USEC || verify->size == 0 || verify->place == 0)
        return;

    verify->told_us = now;
    job->rate = (guint64)((double)verify->place / seconds);
    job->expected_end =
        g_get_real_time() + (gint64)((double)(verify->size - verify->place) * seconds /
                                     (double)verify->place * G_USEC_PER_SEC);
    jobs_set_progress(verify->storage->service->jobs, job,
                      (double)verify->place / (double)verify->size);
}

static GVariant *
list_unreadable(const Verify *verify)
{
    GVariantBuilder ranges;

    g_variant_builder_init(&ranges, G_VARIANT_TYPE("a(tt)"));
    for (guint i = 0; i < verify->unreadable->len; i++) {
        const Range *range = &g_array_index(verify->unreadable, Range, i);

        g_variant_builder_add(&ranges, "(tt)", range->offset, range->length);
    }
    return g_variant_builder_end(&ranges);
}

/* In the order in which it is shown */
static GVariant *
make_result(const Verify *verify)
{
    GVariantBuilder result;

    g_variant_builder_init(&result, G_VARIANT_TYPE_VARDICT);
    if (is_flush(verify))
        return g_variant_builder_end(&result);

    g_variant_builder_add(&result, "{sv}", "bytes",
                          g_variant_new_uint64(verify->place - verify->n_unreadable));
    g_variant_builder_add(&result, "{sv}", "unreadable-bytes",
                          g_variant_new_uint64(verify->n_unreadable));
    g_variant_builder_add(&result, "{sv}", "unreadable", list_unreadable(verify));
    g_variant_builder_add(&result, "{sv}", "truncated", g_variant_new_boolean(verify->is_cut));
    return g_variant_builder_end(&result);
}

static GError *
take_outcome(Verify *verify)
{
    if (verify->error != 0)
        return g_error_new(LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR,
                           is_flush(verify) ? "Data could not be written to stable storage: %s"
                                            : "The storage does not answer any more: %s",
                           g_strerror(verify->error));
    if (verify->reason != NULL && verify->place < verify->size)
        return g_steal_pointer(&verify->reason);
    if (verify->n_unreadable > 0)
        return g_error_new(LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR,
                           "%" G_GUINT64_FORMAT " bytes in %s%u places cannot be read",
                           verify->n_unreadable, verify->is_cut ? "more than " : "",
                           verify->unreadable->len);
    return NULL;
}

static void
end(Verify *verify)
{
    Storage *storage = verify->storage;
    ModelBackstore *backstore = find_backstore(verify);
    StorageLeave *leave = verify->leave;

    if (is_flush(verify) && verify->error != 0 && backstore != NULL)
        storage_check_failed(storage, backstore, g_strerror(verify->error));
    list_unlink(&verify->link);
    if (verify->size > 0)
        jobs_set_progress(storage->service->jobs, verify->job,
                          (double)verify->place / (double)verify->size);
    jobs_end(storage->service->jobs, verify->job, take_outcome(verify), make_result(verify));
    if (leave != NULL)
        storage_close_left(leave);
}

/* It is being taken away, or has been already, and will be closed */
static void
set_closed(Verify *verify)
{
    if (verify->reason != NULL)
        return;

    verify->reason = verify->storage->service->stopping
                         ? g_error_new_literal(LUNPORT_ERROR, LUNPORT_ERROR_SHUTTING_DOWN,
                                               "The service is stopping")
                         : g_error_new_literal(LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR,
                                               "The storage was closed");
}

static void
on_span_over(Message *message)
{
    Verify *verify = list_entry(message, Verify, message);

    if (find_backstore(verify) == NULL || verify->storage->service->stopping)
        set_closed(verify);
    follow_size(verify);
    tell_progress(verify);
    if (verify->reason == NULL && verify->error == 0 && verify->place < verify->size)
        worker_send(verify->worker, &verify->message, begin_span);
    else
        end(verify);
}

static void
cancel_verify(ModelJob *job)
{
    Verify *verify = jobs_get_data(job);

    if (verify->reason == NULL)
        verify->reason =
            g_error_new_literal(LUNPORT_ERROR, LUNPORT_ERROR_CANCELED, "The job was canceled");
}

/* A flush cannot be taken back */
static const JobClass flush_class = { .free = verify_free };
static const JobClass verify_class = { .cancel = cancel_verify, .free = verify_free };

gboolean
storage_verify_delay(StorageLeave *leave)
{
    Storage *storage = leave->storage;

    list_foreach(link, &storage->verifies) {
        Verify *verify = list_entry(link, Verify, link);

        if (verify->store != leave->store)
            continue;
        verify->leave = leave;
        set_closed(verify);
        return TRUE;
    }
    return FALSE;
}

static ModelJob *
begin(Storage *storage, const ModelBackstore *backstore, const Operation *operation)
{
    const Service *service = storage->service;
    const char *what = operation->flag ? flush_operation : verify_operation;
    Verify *verify = g_new0(Verify, 1);

    verify->storage = storage;
    verify->operation = what;
    verify->store = storage_get_store(backstore);
    verify->worker = service->workers[storage->n_verifies++ % service->n_workers];
    verify->size = backstore->size;
    verify->buffer = aligned_alloc(STEP_SIZE, PIECE_SIZE);
    verify->unreadable = g_array_new(FALSE, FALSE, sizeof(Range));
    verify->began_us = g_get_monotonic_time();
    verify->job = model_job_new(what, MODEL_BACKSTORE, backstore->spec->name, 0);
    verify->job->caller_uid = operation->options.caller_uid;
    verify->job->bytes = operation->flag ? 0 : verify->size;
    list_append(&storage->verifies, &verify->link);
    jobs_begin(service->jobs, verify->job, operation->flag ? &flush_class : &verify_class, verify);
    worker_send(verify->worker, &verify->message, operation->flag ? begin_flush : begin_span);
    return verify->job;
}

static gboolean
check(const Operation *operation, const ModelBackstore *backstore, GError **ret_error)
{
    const Service *service = operation->service;
    const char *what = operation->flag ? flush_operation : verify_operation;

    if (backstore == NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                    "There is no backstore “%s”", operation->name);
        return FALSE;
    }
    if (storage_get_store(backstore) == NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR,
                    "Backstore “%s” is not online", operation->name);
        return FALSE;
    }
    list_foreach(link, &service->storage->verifies) {
        const Verify *verify = list_entry(link, Verify, link);

        if (verify->store != storage_get_store(backstore) || verify->operation != what)
            continue;
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_BUSY, "Job %u does that already",
                    verify->job->id);
        return FALSE;
    }
    return jobs_check_room(service->jobs, ret_error);
}

/* operation->flag: to flush it */
static void
run(Operation *operation)
{
    const ModelBackstore *backstore =
        model_find_backstore(operation->service->model, operation->name);
    GError *error = NULL;

    if (!check(operation, backstore, &error))
        operation_fail(operation, error);
    else if (operation->options.dry_run)
        operation_finish(operation, NULL);
    else
        operation_finish(operation, begin(operation->service->storage, backstore, operation));
}

static void
submit(Service *service, const char *name, gboolean flush, const ChangeOptions *options,
       ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = operation_new(service, options, run, done, user_data);

    operation->name = g_utf8_make_valid(name, -1);
    operation->flag = flush;
    operation_hold(operation, MODEL_BACKSTORE, operation->name);
    operation_submit(operation, flush ? "FlushBackstore" : "VerifyBackstore", operation->name);
}

void
service_flush_backstore(Service *service, const char *name, const ChangeOptions *options,
                        ServiceDoneFn done, gpointer user_data)
{
    submit(service, name, TRUE, options, done, user_data);
}

void
service_verify_backstore(Service *service, const char *name, const ChangeOptions *options,
                         ServiceDoneFn done, gpointer user_data)
{
    submit(service, name, FALSE, options, done, user_data);
}
