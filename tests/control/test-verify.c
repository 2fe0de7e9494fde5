/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Jobs that read all of a backstore or flush it, also while that fails, stalls or goes away */

#include <string.h>

#include "control/jobs.h"
#include "control/service-private.h"
#include "fixture.h"
#include "util/error.h"

#define SIZE ((guint64)8 << 20)
#define LONG ((guint64)256 << 30) /* of holes; it takes a while to read them */

/* A disk with @faults */
static void
set_up_disk(Fixture *fixture, const char *type, guint64 size, const char *faults)
{
    g_autoptr(BackstoreSpec) spec = backstore_spec_new(type, "disk");

    spec->size = size;
    spec->create = strcmp(type, "file") == 0;
    service_create_backstore(fixture->service, spec, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    if (faults != NULL)
        fixture_set_faults(fixture, "disk", faults);
}

static void
set_up(Fixture *fixture, const char *faults)
{
    set_up_disk(fixture, "file", SIZE, faults);
}

static ModelJob *
verify(Fixture *fixture)
{
    service_verify_backstore(fixture->service, "disk", &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_nonnull(fixture->object);
    return fixture->object;
}

static ModelJob *
flush(Fixture *fixture)
{
    service_flush_backstore(fixture->service, "disk", &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_nonnull(fixture->object);
    return fixture->object;
}

static ModelJob *
get_last_job(Fixture *fixture)
{
    const GPtrArray *jobs = service_get_model(fixture->service)->jobs;

    return jobs->pdata[jobs->len - 1];
}

static gboolean
job_has_ended(Fixture *fixture)
{
    return get_last_job(fixture)->state != JOB_RUNNING;
}

static void
assert_result(const ModelJob *job, const char *wanted)
{
    g_autofree char *printed = g_variant_print(job->result, FALSE);
    g_autoptr(GVariant) expected =
        g_variant_parse(G_VARIANT_TYPE_VARDICT, wanted, NULL, NULL, NULL);

    g_assert_nonnull(expected);
    if (!g_variant_equal(job->result, expected))
        g_test_message("%s", printed);
    g_assert_true(g_variant_equal(job->result, expected));
}

static void
test_readable(Fixture *fixture, gconstpointer data)
{
    const ModelJob *job;

    set_up(fixture, NULL);
    fixture->options.caller_uid = 77;
    job = verify(fixture);
    g_assert_cmpstr(job->operation, ==, "Backstore.Verify");
    g_assert_cmpint(job->kind, ==, MODEL_BACKSTORE);
    g_assert_cmpstr(job->object_name, ==, "disk");
    g_assert_cmpuint(job->bytes, ==, SIZE);
    g_assert_cmpuint(job->caller_uid, ==, 77);
    g_assert_true(job->is_cancelable);
    fixture_wait(fixture, job_has_ended);
    g_assert_no_error(job->error);
    g_assert_cmpint(job->state, ==, JOB_DONE);
    assert_result(job, "{'bytes': <uint64 8388608>, 'unreadable-bytes': <uint64 0>,"
                       " 'unreadable': <@a(tt) []>, 'truncated': <false>}");
}

/* Reads that never wait */
static void
test_memory(Fixture *fixture, gconstpointer data)
{
    const ModelJob *job;

    set_up_disk(fixture, "ram", SIZE, NULL);
    job = verify(fixture);
    fixture_wait(fixture, job_has_ended);
    g_assert_no_error(job->error);
    assert_result(job, "{'bytes': <uint64 8388608>, 'unreadable-bytes': <uint64 0>,"
                       " 'unreadable': <@a(tt) []>, 'truncated': <false>}");
}

/* The blocks that cannot be read, to 4 KiB, and what is beside each other as one */
static void
test_unreadable(Fixture *fixture, gconstpointer data)
{
    const ModelJob *job;

    set_up(fixture, "[{'on': <'read'>, 'offset': <uint64 1060864>, 'length': <uint64 8192>},"
                    " {'on': <'read'>, 'offset': <uint64 8388096>, 'length': <uint64 512>}]");
    job = verify(fixture);
    fixture_wait(fixture, job_has_ended);
    g_assert_error(job->error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR);
    g_assert_cmpint(job->state, ==, JOB_FAILED);
    assert_result(job, "{'bytes': <uint64 8376320>, 'unreadable-bytes': <uint64 12288>,"
                       " 'unreadable': <[(uint64 1060864, uint64 8192), (8384512, 4096)]>,"
                       " 'truncated': <false>}");
}

/* A device that has gone is not asked for each block */
static void
test_gone(Fixture *fixture, gconstpointer data)
{
    const ModelJob *job;

    set_up(fixture, "[{'on': <'read'>, 'error': <'ENODEV'>, 'offset': <uint64 4194304>}]");
    job = verify(fixture);
    fixture_wait(fixture, job_has_ended);
    g_assert_error(job->error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR);
    assert_result(job, "{'bytes': <uint64 4194304>, 'unreadable-bytes': <uint64 0>,"
                       " 'unreadable': <@a(tt) []>, 'truncated': <false>}");
}

static void
test_cancel(Fixture *fixture, gconstpointer data)
{
    const ModelJob *job;

    set_up_disk(fixture, "file", LONG, NULL);
    job = verify(fixture);
    service_cancel_job(fixture->service, job->id, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    fixture_wait(fixture, job_has_ended);
    g_assert_cmpint(job->state, ==, JOB_CANCELED);
    g_assert_cmpfloat(job->progress, <, 1);
}

static void
test_busy(Fixture *fixture, gconstpointer data)
{
    set_up(fixture, "[{'on': <'read'>, 'stall': <true>}]");
    (void)verify(fixture);
    service_verify_backstore(fixture->service, "disk", &fixture->options, fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_BUSY);

    /* A flush is something else */
    g_assert_cmpstr(flush(fixture)->operation, ==, "Backstore.Flush");
    fixture_wait(fixture, job_has_ended);
    g_assert_cmpint(get_last_job(fixture)->state, ==, JOB_DONE);
}

/* Closing waits for what is being read, and the job ends */
static void
test_offline(Fixture *fixture, gconstpointer data)
{
    const ModelJob *job;

    set_up_disk(fixture, "file", LONG, "[{'on': <'read'>, 'stall': <true>}]");
    job = verify(fixture);
    service_set_backstore_offline(fixture->service, "disk", TRUE, &fixture->options,
                                  fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_cmpint(job->state, ==, JOB_FAILED);
    g_assert_error(job->error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR);
    service_verify_backstore(fixture->service, "disk", &fixture->options, fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_STORAGE_ERROR);
}

static void
test_delete(Fixture *fixture, gconstpointer data)
{
    const ModelJob *job;

    set_up_disk(fixture, "file", LONG, "[{'on': <'read'>, 'stall': <true>}]");
    job = verify(fixture);
    service_delete_backstore(fixture->service, "disk", FALSE, &fixture->options, fixture_on_done,
                             fixture);
    fixture_finish(fixture);
    g_assert_cmpint(job->state, ==, JOB_FAILED);
    service_verify_backstore(fixture->service, "disk", &fixture->options, fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_NO_SUCH_OBJECT);
}

/* The end of the service does not wait for the rest of the disk */
static void
test_stop(Fixture *fixture, gconstpointer data)
{
    set_up_disk(fixture, "file", LONG, NULL);
    (void)verify(fixture);
    service_stop(fixture->service, fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_error(get_last_job(fixture)->error, LUNPORT_ERROR, LUNPORT_ERROR_SHUTTING_DOWN);
}

static void
test_shrunk(Fixture *fixture, gconstpointer data)
{
    const ModelJob *job;

    set_up(fixture, "[{'on': <'read'>, 'stall': <true>}]");
    job = verify(fixture);
    service_resize_backstore(fixture->service, "disk", SIZE / 4, TRUE, &fixture->options,
                             fixture_on_done, fixture);
    fixture_finish(fixture);
    fixture_set_faults(fixture, "disk", "[]");
    fixture_wait(fixture, job_has_ended);
    g_assert_no_error(job->error);
    assert_result(job, "{'bytes': <uint64 2097152>, 'unreadable-bytes': <uint64 0>,"
                       " 'unreadable': <@a(tt) []>, 'truncated': <false>}");
}

static gboolean
is_beyond_new_end(Fixture *fixture)
{
    return get_last_job(fixture)->progress > 0.5;
}

/* Of blocks that cannot be read, those before the new end still count */
static void
test_shrunk_in_the_middle(Fixture *fixture, gconstpointer data)
{
    const ModelJob *job;

    set_up(fixture, "[{'on': <'read'>, 'offset': <uint64 2088960>, 'length': <uint64 16384>},"
                    " {'on': <'read'>, 'error': <'none'>, 'delay': <uint64 300000>,"
                    "  'offset': <uint64 4194304>, 'length': <uint64 3145728>},"
                    " {'on': <'read'>, 'stall': <true>,"
                    "  'offset': <uint64 7340032>, 'length': <uint64 1048576>}]");
    job = verify(fixture);
    fixture_wait(fixture, is_beyond_new_end);
    service_resize_backstore(fixture->service, "disk", SIZE / 4, TRUE, &fixture->options,
                             fixture_on_done, fixture);
    fixture_finish(fixture);
    fixture_set_faults(fixture, "disk", "[]");
    fixture_wait(fixture, job_has_ended);
    g_assert_error(job->error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR);
    assert_result(job, "{'bytes': <uint64 2088960>, 'unreadable-bytes': <uint64 8192>,"
                       " 'unreadable': <[(uint64 2088960, uint64 8192)]>,"
                       " 'truncated': <false>}");
}

static void
test_flush(Fixture *fixture, gconstpointer data)
{
    const ModelJob *job;

    set_up(fixture, NULL);
    job = flush(fixture);
    g_assert_false(job->is_cancelable);
    fixture_wait(fixture, job_has_ended);
    g_assert_no_error(job->error);
    assert_result(job, "@a{sv} {}");
}

/* After a flush that failed nobody knows what was written, so the backstore has failed */
static void
test_flush_fails(Fixture *fixture, gconstpointer data)
{
    const ModelJob *job;

    set_up(fixture, "[{'on': <'flush'>, 'error': <'EIO'>}]");
    job = flush(fixture);
    fixture_wait(fixture, job_has_ended);
    g_assert_error(job->error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR);
    g_assert_cmpint(fixture_get_backstore(fixture, "disk")->state, ==, BACKSTORE_FAILED);
}

static void
test_dry_run(Fixture *fixture, gconstpointer data)
{
    set_up(fixture, NULL);
    fixture->options.dry_run = TRUE;
    service_verify_backstore(fixture->service, "disk", &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_cmpuint(service_get_model(fixture->service)->jobs->len, ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_add("/control/verify/readable", test_readable);
    fixture_add("/control/verify/memory", test_memory);
    fixture_add("/control/verify/unreadable", test_unreadable);
    fixture_add("/control/verify/gone", test_gone);
    fixture_add("/control/verify/cancel", test_cancel);
    fixture_add("/control/verify/busy", test_busy);
    fixture_add("/control/verify/offline", test_offline);
    fixture_add("/control/verify/delete", test_delete);
    fixture_add("/control/verify/stop", test_stop);
    fixture_add("/control/verify/shrunk", test_shrunk);
    fixture_add("/control/verify/shrunk-in-the-middle", test_shrunk_in_the_middle);
    fixture_add("/control/verify/flush", test_flush);
    fixture_add("/control/verify/flush-fails", test_flush_fails);
    fixture_add("/control/verify/dry-run", test_dry_run);
    return g_test_run();
}
