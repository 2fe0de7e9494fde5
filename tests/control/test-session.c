/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Initiators: what they may, what they see when the administrator changes things under them */

#include <string.h>

#include "client.h"
#include "fixture.h"
#include "util/error.h"

#define REFUSED_UNAVAILABLE 0x0301
#define REFUSED_FORBIDDEN   0x0202
#define REFUSED_NOT_FOUND   0x0203

static Model *
get_model(Fixture *fixture)
{
    return service_get_model(fixture->service);
}

static void
test_session_in_the_model(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    const ModelSession *session;
    const ModelConnection *connection;

    fixture_add_disk(fixture);
    client = fixture_log_in(fixture);
    session = get_model(fixture)->sessions->pdata[0];
    connection = session->connections->pdata[0];
    g_assert_true(session->target == fixture_get_target(fixture));
    g_assert_cmpuint(session->target->n_sessions, ==, 1);
    g_assert_cmpstr(session->initiator_name, ==, "iqn.2026-11.org.lunport:client");
    g_assert_cmpstr(session->remote_address, ==, "127.0.0.1");
    g_assert_true(connection->portal ==
                  model_find_portal(get_model(fixture), "127.0.0.1", fixture->port));
    g_assert_cmpstr(connection->header_digest, ==, "None");
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    g_assert_cmpint(client_read_block(client, 0, 0), ==, 0);

    g_clear_pointer(&client, client_free);
    fixture_wait(fixture, fixture_has_no_session);
    g_assert_cmpuint(fixture_get_target(fixture)->n_sessions, ==, 0);
}

static gboolean
has_two_connections(Fixture *fixture)
{
    const ModelSession *session = get_model(fixture)->sessions->pdata[0];

    return session->connections->len == 2;
}

static gboolean
has_one_connection(Fixture *fixture)
{
    const ModelSession *session = get_model(fixture)->sessions->pdata[0];

    return session->connections->len == 1;
}

/* Connections of one session come and go; closing one leaves the others, closing the last one none */
static void
test_several_connections(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    g_autoptr(Client) more = NULL;
    const ModelPortal *portal;

    fixture_add_disk(fixture);
    client = fixture_log_in(fixture);
    more = fixture_connect(fixture);
    more->tsih = client->tsih;
    more->cid = 7;
    g_assert_cmphex(client_login(more, TARGET), ==, 0);
    fixture_wait(fixture, has_two_connections);
    portal = model_find_portal(get_model(fixture), "127.0.0.1", fixture->port);
    g_assert_cmpuint(get_model(fixture)->sessions->len, ==, 1);
    g_assert_cmpuint(portal->n_connections, ==, 2);

    service_close_connection(fixture->service, client->tsih, 7, &fixture->options, fixture_on_done,
                             fixture);
    fixture_finish(fixture);
    g_assert_true(has_one_connection(fixture));
    g_assert_cmpuint(portal->n_connections, ==, 1);
    g_assert_cmpint(client_settle(client, 0), ==, 0);

    service_close_connection(fixture->service, client->tsih, 0, &fixture->options, fixture_on_done,
                             fixture);
    fixture_finish(fixture);
    g_assert_true(fixture_has_no_session(fixture));
}

static void
test_refusals(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) closed = NULL;
    g_autoptr(Client) disabled = NULL;
    g_autoptr(Client) missing = NULL;

    fixture_add_disk(fixture);
    service_set_target_access_mode(fixture->service, TARGET, "closed", &fixture->options,
                                   fixture_on_done, fixture);
    fixture_finish(fixture);
    closed = fixture_connect(fixture);
    g_assert_cmphex(client_login(closed, TARGET), ==, REFUSED_FORBIDDEN);

    service_disable_target(fixture->service, TARGET, FALSE, &fixture->options, fixture_on_done,
                           fixture);
    fixture_finish(fixture);
    disabled = fixture_connect(fixture);
    g_assert_cmphex(client_login(disabled, TARGET), ==, REFUSED_UNAVAILABLE);

    missing = fixture_connect(fixture);
    g_assert_cmphex(client_login(missing, "iqn.2026-11.org.lunport:none"), ==, REFUSED_NOT_FOUND);
}

static void
test_busy(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;

    fixture_add_disk(fixture);
    client = fixture_log_in(fixture);
    service_delete_target(fixture->service, TARGET, FALSE, &fixture->options, fixture_on_done,
                          fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_BUSY);
    service_disable_target(fixture->service, TARGET, FALSE, &fixture->options, fixture_on_done,
                           fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_BUSY);
    service_delete_lun(fixture->service, TARGET, 0, FALSE, &fixture->options, fixture_on_done,
                       fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_BUSY);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
}

static void
test_disable_ends_sessions(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;

    fixture_add_disk(fixture);
    client = fixture_log_in(fixture);
    service_disable_target(fixture->service, TARGET, TRUE, &fixture->options, fixture_on_done,
                           fixture);
    fixture_finish(fixture);
    g_assert_cmpuint(get_model(fixture)->sessions->len, ==, 0);
    g_assert_true(client_wait_closed(client));
}

static void
test_terminate(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    guint16 tsih;

    fixture_add_disk(fixture);
    client = fixture_log_in(fixture);
    tsih = ((const ModelSession *)get_model(fixture)->sessions->pdata[0])->tsih;
    service_terminate_session(fixture->service, tsih, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_true(client_wait_closed(client));
    service_terminate_session(fixture->service, tsih, &fixture->options, fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_NO_SUCH_OBJECT);
}

static void
test_new_lun_is_seen(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;

    fixture_add_disk(fixture);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    g_assert_cmpint(client_settle(client, 1), ==, 2);
    fixture_add_ram(fixture, "e");
    fixture_add_lun(fixture, "e", 1);
    g_assert_cmpint(client_settle(client, 1), ==, 0);
    g_assert_cmpint(client_read_block(client, 1, 0), ==, 0);
}

/* Reads until the connection is closed; the number of those that ended well */
static gpointer
read_in_thread(gpointer data)
{
    Client *client = data;
    gsize n = 0;
    int status;

    while ((status = client_read_block(client, 0, (guint32)(n % 2048))) >= 0)
        n += status == 0 ? 1 : 0;
    return GSIZE_TO_POINTER(n);
}

static void
on_statistics(const ServiceStatistics *statistics, gpointer data)
{
    guint64 *n_commands = data;

    for (guint i = 0; i < statistics->n_objects; i++) {
        const ServiceCounters *object = &statistics->objects[i];

        for (guint j = 0; object->kind == MODEL_LUN && j < object->n_counters; j++) {
            if (strcmp(object->counters[j].name, "reads") == 0)
                *n_commands = object->counters[j].value;
        }
    }
}

/* Wait until the reader is at work */
static void
wait_for_load(Fixture *fixture)
{
    guint64 n = 0;

    while (n < 20) {
        n = G_MAXUINT64;
        service_get_statistics(fixture->service, on_statistics, &n);
        while (n == G_MAXUINT64)
            (void)g_main_context_iteration(NULL, TRUE);
    }
}

static void
test_delete_under_load(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    GThread *reader;

    fixture_add_disk(fixture);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    reader = g_thread_new("reader", read_in_thread, client);
    wait_for_load(fixture);
    service_delete_target(fixture->service, TARGET, TRUE, &fixture->options, fixture_on_done,
                          fixture);
    fixture_finish(fixture);
    g_assert_cmpuint(GPOINTER_TO_SIZE(g_thread_join(reader)), >=, 20);

    service_delete_backstore(fixture->service, "d", FALSE, &fixture->options, fixture_on_done,
                             fixture);
    fixture_finish(fixture);
    g_assert_cmpuint(get_model(fixture)->backstores->len, ==, 0);
}

static void
test_lun_goes_under_load(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    GThread *reader;
    guint16 tsih;

    fixture_add_disk(fixture);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    reader = g_thread_new("reader", read_in_thread, client);
    wait_for_load(fixture);
    service_delete_lun(fixture->service, TARGET, 0, TRUE, &fixture->options, fixture_on_done,
                       fixture);
    fixture_finish(fixture);
    service_delete_backstore(fixture->service, "d", FALSE, &fixture->options, fixture_on_done,
                             fixture);
    fixture_finish(fixture);

    /* The session itself goes on */
    g_assert_cmpuint(get_model(fixture)->sessions->len, ==, 1);
    tsih = ((const ModelSession *)get_model(fixture)->sessions->pdata[0])->tsih;
    service_terminate_session(fixture->service, tsih, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    (void)g_thread_join(reader);
}

static void
test_reset_under_load(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    GThread *reader;

    fixture_add_disk(fixture);
    client = fixture_log_in(fixture);
    reader = g_thread_new("reader", read_in_thread, client);
    wait_for_load(fixture);
    for (guint i = 0; i < 5; i++) {
        service_reset_lun(fixture->service, TARGET, 0, &fixture->options, fixture_on_done, fixture);
        fixture_finish(fixture);
    }
    service_delete_target(fixture->service, TARGET, TRUE, &fixture->options, fixture_on_done,
                          fixture);
    fixture_finish(fixture);
    (void)g_thread_join(reader);
}

static void
test_stop_under_load(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    GThread *reader;

    fixture_add_disk(fixture);
    client = fixture_log_in(fixture);
    reader = g_thread_new("reader", read_in_thread, client);
    wait_for_load(fixture);
    fixture_stop(fixture);
    (void)g_thread_join(reader);
    fixture_start(fixture);
}

/* What comes while nobody accepts waits in the kernel */
static void
test_pause_and_resume(Fixture *fixture, gconstpointer data)
{
    const ModelPortal *portal = model_find_portal(get_model(fixture), "127.0.0.1", fixture->port);
    g_autoptr(Client) client = NULL;

    fixture_add_disk(fixture);
    service_pause_portal(fixture->service, portal->id, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_cmpint(fixture_get_target(fixture)->state, ==, TARGET_OFFLINE);
    client = client_new(fixture->port);
    service_resume_portal(fixture->service, portal->id, &fixture->options, fixture_on_done,
                          fixture);
    fixture_finish(fixture);
    while (portal->n_accepted == 0)
        (void)g_main_context_iteration(NULL, TRUE);
    g_assert_cmphex(client_login(client, TARGET), ==, 0);
}

static void
test_statistics(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    guint64 n = G_MAXUINT64;

    fixture_add_disk(fixture);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    for (guint i = 0; i < 7; i++)
        g_assert_cmpint(client_read_block(client, 0, i), ==, 0);
    service_get_statistics(fixture->service, on_statistics, &n);
    while (n == G_MAXUINT64)
        (void)g_main_context_iteration(NULL, TRUE);
    g_assert_cmpuint(n, ==, 7);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_add("/control/session/in-the-model", test_session_in_the_model);
    fixture_add("/control/session/several-connections", test_several_connections);
    fixture_add("/control/session/refusals", test_refusals);
    fixture_add("/control/session/busy", test_busy);
    fixture_add("/control/session/disable-ends-sessions", test_disable_ends_sessions);
    fixture_add("/control/session/terminate", test_terminate);
    fixture_add("/control/session/new-lun-is-seen", test_new_lun_is_seen);
    fixture_add("/control/session/delete-under-load", test_delete_under_load);
    fixture_add("/control/session/lun-goes-under-load", test_lun_goes_under_load);
    fixture_add("/control/session/reset-under-load", test_reset_under_load);
    fixture_add("/control/session/stop-under-load", test_stop_under_load);
    fixture_add("/control/session/pause-and-resume", test_pause_and_resume);
    fixture_add("/control/session/statistics", test_statistics);
    return g_test_run();
}
