/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Jobs, and what there is one for: initiators that are asked to log out
 *
 * The initiator of these tests never logs out by itself, so a job ends by its deadline, by cancelling,
 * or because the initiator goes.
 */

#include <string.h>

#include "client.h"
#include "control/jobs.h"
#include "control/service-private.h"
#include "fixture.h"
#include "util/error.h"

#define MOVED_TEMPORARILY   0x0101
#define MOVED_PERMANENTLY   0x0102
#define REFUSED_UNAVAILABLE 0x0301
#define LONG                600
#define SHORT               1

static Model *
get_model(Fixture *fixture)
{
    return service_get_model(fixture->service);
}

static guint16
get_tsih(Fixture *fixture)
{
    return ((const ModelSession *)get_model(fixture)->sessions->pdata[0])->tsih;
}

static ModelJob *
drain(Fixture *fixture, guint seconds)
{
    service_drain_target(fixture->service, TARGET, seconds, &fixture->options, fixture_on_done,
                         fixture);
    fixture_finish(fixture);
    g_assert_nonnull(fixture->object);
    return fixture->object;
}

static ModelJob *
get_job(Fixture *fixture)
{
    return get_model(fixture)->jobs->pdata[0];
}

static gboolean
job_has_ended(Fixture *fixture)
{
    return get_job(fixture)->state != JOB_RUNNING;
}

static void
assert_sessions(const ModelJob *job, guint expected)
{
    guint32 n;

    g_assert_true(g_variant_lookup(job->result, "sessions", "u", &n));
    g_assert_cmpuint(n, ==, expected);
}

static void
test_drain_drops_at_the_deadline(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    g_autoptr(Client) late = NULL;
    const ModelJob *job;

    fixture_add_target(fixture);
    client = fixture_log_in(fixture);
    fixture->options.caller_uid = 77;
    job = drain(fixture, SHORT);
    g_assert_cmpint(job->state, ==, JOB_RUNNING);
    g_assert_cmpstr(job->operation, ==, "Target.Disable");
    g_assert_cmpint(job->kind, ==, MODEL_TARGET);
    g_assert_cmpstr(job->object_name, ==, TARGET);
    g_assert_cmpuint(job->caller_uid, ==, 77);
    g_assert_true(job->is_cancelable);
    g_assert_cmpint(job->expected_end, ==, job->started_at + SHORT * G_USEC_PER_SEC);
    g_assert_false(fixture_get_target(fixture)->spec->enabled);

    /* Nobody comes back while the others go */
    late = fixture_connect(fixture);
    g_assert_cmphex(client_login(late, TARGET), ==, REFUSED_UNAVAILABLE);

    fixture_wait(fixture, job_has_ended);
    g_assert_cmpint(job->state, ==, JOB_DONE);
    g_assert_no_error(job->error);
    g_assert_cmpfloat(job->progress, ==, 1);
    assert_sessions(job, 1);
    g_assert_cmpuint(get_model(fixture)->sessions->len, ==, 0);
    g_assert_true(client_wait_closed(client));
}

static void
test_drain_ends_when_they_have_gone(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;

    fixture_add_target(fixture);
    client = fixture_log_in(fixture);
    (void)drain(fixture, LONG);
    g_clear_pointer(&client, client_free);
    fixture_wait(fixture, job_has_ended);
    g_assert_cmpint(get_job(fixture)->state, ==, JOB_DONE);
}

static void
test_drain_without_sessions(Fixture *fixture, gconstpointer data)
{
    fixture_add_target(fixture);
    (void)drain(fixture, LONG);
    fixture_wait(fixture, job_has_ended);
    g_assert_cmpint(get_job(fixture)->state, ==, JOB_DONE);
    assert_sessions(get_job(fixture), 0);
}

static void
test_cancel(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    guint32 id;

    fixture_add_target(fixture);
    client = fixture_log_in(fixture);
    id = drain(fixture, LONG)->id;
    service_cancel_job(fixture->service, id, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    fixture_wait(fixture, job_has_ended);
    g_assert_cmpint(get_job(fixture)->state, ==, JOB_CANCELED);
    g_assert_error(get_job(fixture)->error, LUNPORT_ERROR, LUNPORT_ERROR_CANCELED);
    g_assert_cmpuint(get_model(fixture)->sessions->len, ==, 1);
    g_assert_false(fixture_get_target(fixture)->spec->enabled);

    /* One that has ended stays as it is */
    service_cancel_job(fixture->service, id, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    service_cancel_job(fixture->service, id + 1, &fixture->options, fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_NO_SUCH_OBJECT);
}

static void
test_enable_ends_the_drain(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;

    fixture_add_target(fixture);
    client = fixture_log_in(fixture);
    (void)drain(fixture, LONG);
    service_enable_target(fixture->service, TARGET, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    fixture_wait(fixture, job_has_ended);
    g_assert_cmpint(get_job(fixture)->state, ==, JOB_CANCELED);
    g_assert_cmpuint(get_model(fixture)->sessions->len, ==, 1);
}

static void
test_one_drain_at_a_time(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;

    fixture_add_target(fixture);
    client = fixture_log_in(fixture);
    (void)drain(fixture, LONG);
    service_drain_target(fixture->service, TARGET, LONG, &fixture->options, fixture_on_done,
                         fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_BUSY);
    g_assert_cmpuint(get_model(fixture)->jobs->len, ==, 1);

    /* Who has no patience may abort */
    service_disable_target(fixture->service, TARGET, TRUE, &fixture->options, fixture_on_done,
                           fixture);
    fixture_finish(fixture);
    fixture_wait(fixture, job_has_ended);
    g_assert_cmpint(get_job(fixture)->state, ==, JOB_DONE);
}

static void
test_drain_is_checked_first(Fixture *fixture, gconstpointer data)
{
    fixture_add_target(fixture);
    service_drain_target(fixture->service, TARGET, 0, &fixture->options, fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
    service_drain_target(fixture->service, TARGET, SERVICE_LOGOUT_SECONDS_MAX + 1,
                         &fixture->options, fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
    fixture->options.dry_run = TRUE;
    service_drain_target(fixture->service, TARGET, LONG, &fixture->options, fixture_on_done,
                         fixture);
    fixture_finish(fixture);
    g_assert_null(fixture->object);
    g_assert_cmpuint(get_model(fixture)->jobs->len, ==, 0);
    g_assert_true(fixture_get_target(fixture)->spec->enabled);
}

static void
test_deleted_target_ends_the_drain(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;

    fixture_add_target(fixture);
    client = fixture_log_in(fixture);
    (void)drain(fixture, LONG);
    service_delete_target(fixture->service, TARGET, TRUE, &fixture->options, fixture_on_done,
                          fixture);
    fixture_finish(fixture);
    fixture_wait(fixture, job_has_ended);
    g_assert_cmpint(get_job(fixture)->state, ==, JOB_DONE);
}

static gboolean
jobs_have_ended(Fixture *fixture)
{
    const GPtrArray *jobs = get_model(fixture)->jobs;

    for (guint i = 0; i < jobs->len; i++) {
        if (((const ModelJob *)jobs->pdata[i])->state == JOB_RUNNING)
            return FALSE;
    }
    return TRUE;
}

static void
request_logout(Fixture *fixture, guint seconds)
{
    service_request_logout(fixture->service, get_tsih(fixture), seconds, &fixture->options,
                           fixture_on_done, fixture);
}

static void
test_session_logout(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    g_autoptr(Client) other = NULL;
    const ModelJob *job;
    guint16 tsih;

    fixture_add_target(fixture);
    client = fixture_log_in(fixture);
    tsih = get_tsih(fixture);
    request_logout(fixture, LONG);
    fixture_finish(fixture);
    job = fixture->object;
    g_assert_cmpstr(job->operation, ==, "Session.RequestLogout");
    g_assert_cmpuint(job->object_number, ==, tsih);
    request_logout(fixture, LONG);
    fixture_finish_with(fixture, LUNPORT_ERROR_BUSY);
    service_cancel_job(fixture->service, job->id, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    fixture_wait(fixture, jobs_have_ended);

    request_logout(fixture, SHORT);
    fixture_finish(fixture);
    job = fixture->object;
    fixture_wait(fixture, jobs_have_ended);
    g_assert_cmpint(job->state, ==, JOB_DONE);
    g_assert_null(model_find_session(get_model(fixture), tsih));
    g_assert_true(client_wait_closed(client));

    /* Others may come */
    other = fixture_connect(fixture);
    g_assert_cmphex(client_login(other, TARGET), ==, 0);
    service_request_logout(fixture->service, (guint16)(tsih + 100), LONG, &fixture->options,
                           fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_NO_SUCH_OBJECT);
}

static void
test_canceled_logout_leaves_the_session(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;

    fixture_add_target(fixture);
    client = fixture_log_in(fixture);
    service_request_logout(fixture->service, get_tsih(fixture), LONG, &fixture->options,
                           fixture_on_done, fixture);
    fixture_finish(fixture);
    service_cancel_job(fixture->service, get_job(fixture)->id, &fixture->options, fixture_on_done,
                       fixture);
    fixture_finish(fixture);
    fixture_wait(fixture, job_has_ended);
    g_assert_cmpint(get_job(fixture)->state, ==, JOB_CANCELED);
    g_assert_cmpuint(get_model(fixture)->sessions->len, ==, 1);
}

static void
test_old_jobs_go(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    gint64 now_us;

    fixture_add_target(fixture);
    client = fixture_log_in(fixture);
    (void)drain(fixture, LONG);
    now_us = g_get_monotonic_time();
    jobs_tick(fixture->service->jobs, now_us + LONG * G_USEC_PER_SEC);
    g_assert_cmpuint(get_model(fixture)->jobs->len, ==, 1);
    service_cancel_job(fixture->service, get_job(fixture)->id, &fixture->options, fixture_on_done,
                       fixture);
    fixture_finish(fixture);
    fixture_wait(fixture, job_has_ended);
    jobs_tick(fixture->service->jobs, now_us + JOB_LINGER_US - 1);
    g_assert_cmpuint(get_model(fixture)->jobs->len, ==, 1);
    jobs_tick(fixture->service->jobs, g_get_monotonic_time() + JOB_LINGER_US);
    g_assert_cmpuint(get_model(fixture)->jobs->len, ==, 0);
}

static void
test_there_is_a_most(Fixture *fixture, gconstpointer data)
{
    static const JobClass class = { 0 };

    fixture_add_target(fixture);
    for (guint i = 0; i < JOBS_MAX; i++)
        jobs_begin(fixture->service->jobs, model_job_new("Test", MODEL_TARGET, TARGET, 0), &class,
                   NULL);
    service_drain_target(fixture->service, TARGET, LONG, &fixture->options, fixture_on_done,
                         fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_LIMIT_EXCEEDED);
    g_assert_true(fixture_get_target(fixture)->spec->enabled);
    service_cancel_job(fixture->service, get_job(fixture)->id, &fixture->options, fixture_on_done,
                       fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_NOT_SUPPORTED);
}

static void
test_stop_while_draining(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;

    fixture_add_target(fixture);
    client = fixture_log_in(fixture);
    (void)drain(fixture, LONG);
    fixture_restart(fixture);
    g_assert_cmpuint(get_model(fixture)->jobs->len, ==, 0);
    g_assert_false(fixture_get_target(fixture)->spec->enabled);
}

static void
redirect(Fixture *fixture, const char *address, gboolean permanent)
{
    service_set_target_redirect(fixture->service, TARGET, 0, address, permanent, &fixture->options,
                                fixture_on_done, fixture);
}

static void
assert_login(Fixture *fixture, guint16 status)
{
    g_autoptr(Client) client = fixture_connect(fixture);

    g_assert_cmphex(client_login(client, TARGET), ==, status);
}

static void
test_redirect(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;

    fixture_add_target(fixture);
    client = fixture_log_in(fixture);
    redirect(fixture, "192.0.2.7", FALSE);
    fixture_finish(fixture);
    assert_login(fixture, MOVED_TEMPORARILY);
    redirect(fixture, "[2001:db8::7]:3261", TRUE);
    fixture_finish(fixture);
    assert_login(fixture, MOVED_PERMANENTLY);

    /* Who is in stays */
    g_assert_cmpuint(get_model(fixture)->sessions->len, ==, 1);
    fixture_restart(fixture);
    assert_login(fixture, MOVED_PERMANENTLY);
    redirect(fixture, "", TRUE);
    fixture_finish(fixture);
    g_assert_false(fixture_get_target(fixture)->spec->redirect_permanent);
    assert_login(fixture, 0);
}

static void
redirect_group(Fixture *fixture, guint16 tag, const char *address, gboolean permanent)
{
    service_set_target_redirect(fixture->service, TARGET, tag, address, permanent,
                                &fixture->options, fixture_on_done, fixture);
}

/* What is said for a portal group goes before what is said for the target; here all come through 1 */
static void
test_group_redirect(Fixture *fixture, gconstpointer data)
{
    fixture_add_target(fixture);
    redirect_group(fixture, 1, "192.0.2.7", FALSE);
    fixture_finish(fixture);
    assert_login(fixture, MOVED_TEMPORARILY);
    redirect(fixture, "192.0.2.8", TRUE);
    fixture_finish(fixture);
    assert_login(fixture, MOVED_TEMPORARILY);
    fixture_restart(fixture);
    assert_login(fixture, MOVED_TEMPORARILY);
    redirect_group(fixture, 1, "", FALSE);
    fixture_finish(fixture);
    assert_login(fixture, MOVED_PERMANENTLY);
}

static void
test_redirect_of_another_group(Fixture *fixture, gconstpointer data)
{
    ModelPortalGroup *group;

    fixture_add_target(fixture);
    redirect_group(fixture, 2, "192.0.2.7", FALSE);
    fixture_finish_with(fixture, LUNPORT_ERROR_NO_SUCH_OBJECT);
    service_create_portal_group(fixture->service, 2, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    group = fixture->object;
    g_assert_nonnull(group);
    redirect_group(fixture, 2, "192.0.2.7=permanent 3=192.0.2.8", FALSE);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
    redirect_group(fixture, 2, "here", FALSE);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
    redirect_group(fixture, 2, "[2001:db8::7]:3261", TRUE);
    fixture_finish(fixture);
    g_assert_cmpstr(fixture_get_target(fixture)->spec->group_redirects, ==,
                    "2=[2001:db8::7]:3261=permanent");
    assert_login(fixture, 0);
}

static void
test_redirect_refusals(Fixture *fixture, gconstpointer data)
{
    static const char *const wrong[] = { "here", "*", "0.0.0.0", "192.0.2.1:0", "fe80::1%eth0" };

    fixture_add_target(fixture);
    for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
        redirect(fixture, wrong[i], FALSE);
        fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
    }
    assert_login(fixture, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_add("/control/jobs/drain-drops-at-the-deadline", test_drain_drops_at_the_deadline);
    fixture_add("/control/jobs/drain-ends-when-they-have-gone",
                test_drain_ends_when_they_have_gone);
    fixture_add("/control/jobs/drain-without-sessions", test_drain_without_sessions);
    fixture_add("/control/jobs/cancel", test_cancel);
    fixture_add("/control/jobs/enable-ends-the-drain", test_enable_ends_the_drain);
    fixture_add("/control/jobs/one-drain-at-a-time", test_one_drain_at_a_time);
    fixture_add("/control/jobs/drain-is-checked-first", test_drain_is_checked_first);
    fixture_add("/control/jobs/deleted-target-ends-the-drain", test_deleted_target_ends_the_drain);
    fixture_add("/control/jobs/session-logout", test_session_logout);
    fixture_add("/control/jobs/canceled-logout-leaves-the-session",
                test_canceled_logout_leaves_the_session);
    fixture_add("/control/jobs/old-jobs-go", test_old_jobs_go);
    fixture_add("/control/jobs/there-is-a-most", test_there_is_a_most);
    fixture_add("/control/jobs/stop-while-draining", test_stop_while_draining);
    fixture_add("/control/jobs/redirect", test_redirect);
    fixture_add("/control/jobs/group-redirect", test_group_redirect);
    fixture_add("/control/jobs/redirect-of-another-group", test_redirect_of_another_group);
    fixture_add("/control/jobs/redirect-refusals", test_redirect_refusals);
    return g_test_run();
}
