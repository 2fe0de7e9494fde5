/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* The end of the service, with initiators that are asked to log out before */

#include "client.h"
#include "control/service-private.h"
#include "fixture.h"

#define LOGOUT_REQUEST  1
#define CONNECTION_DROP 2
#define SESSION_DROP    3

static Client *
log_in(Fixture *fixture)
{
    fixture_add_target(fixture);
    return fixture_log_in(fixture);
}

static void
stop(Fixture *fixture, guint seconds)
{
    service_stop_asking(fixture->service, seconds, fixture_on_done, fixture);
}

static void
test_logout(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = log_in(fixture);

    stop(fixture, SERVICE_LOGOUT_SECONDS_MAX);
    g_assert_cmpint(client_wait_event(client), ==, LOGOUT_REQUEST);
    g_assert_true(client_log_out(client));
    fixture_finish(fixture);
    g_assert_cmpuint(service_get_model(fixture->service)->sessions->len, ==, 0);
}

static void
test_deadline(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = log_in(fixture);

    stop(fixture, 1);
    g_assert_cmpint(client_wait_event(client), ==, LOGOUT_REQUEST);
    fixture_finish(fixture);
    g_assert_cmpint(client_wait_event(client), ==, CONNECTION_DROP);
    g_assert_true(client_wait_closed(client));
}

static void
on_stopped_too(gpointer object, const GError *error, gpointer data)
{
    (*(guint *)data)++;
}

/* Who stops it again does not want to wait */
static void
test_cut_short(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = log_in(fixture);
    guint n_told = 0;

    stop(fixture, SERVICE_LOGOUT_SECONDS_MAX);
    g_assert_cmpint(client_wait_event(client), ==, LOGOUT_REQUEST);
    service_stop(fixture->service, on_stopped_too, &n_told);
    fixture_finish(fixture);
    while (n_told == 0)
        (void)g_main_context_iteration(NULL, TRUE);
    g_assert_cmpint(client_wait_event(client), ==, SESSION_DROP);
    g_assert_true(client_wait_closed(client));
}

/* A restart does not ask: the initiator is told when it may come back */
static void
test_not_asked(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = log_in(fixture);

    stop(fixture, 0);
    fixture_finish(fixture);
    g_assert_cmpint(client_wait_event(client), ==, SESSION_DROP);
    g_assert_true(client_wait_closed(client));
}

static void
test_nobody_there(Fixture *fixture, gconstpointer data)
{
    stop(fixture, SERVICE_LOGOUT_SECONDS_MAX);
    fixture_finish(fixture);
    g_assert_true(fixture->service->stopped);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_add("/control/stop/logout", test_logout);
    fixture_add("/control/stop/deadline", test_deadline);
    fixture_add("/control/stop/cut-short", test_cut_short);
    fixture_add("/control/stop/not-asked", test_not_asked);
    fixture_add("/control/stop/nobody-there", test_nobody_there);
    return g_test_run();
}
