/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Asymmetric access states: of the administrator, of initiators, over restarts */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "fixture.h"
#include "util/error.h"

#define GROUP 1

#define CHANGED     0x062a06U
#define STANDBY     0x02040bU
#define UNAVAILABLE 0x02040cU

static void
set_state(Fixture *fixture, const char *state, gboolean preferred)
{
    service_set_access_state(fixture->service, TARGET, GROUP, state, preferred, &fixture->options,
                             fixture_on_done, fixture);
}

static void
assert_sense(Client *client, guint32 sense)
{
    g_assert_cmphex(client_test_unit_ready(client, 0), ==, sense != 0 ? 0x02 : 0x00);
    g_assert_cmphex(client->sense, ==, sense);
}

static void
assert_states(Fixture *fixture, const char *states)
{
    g_assert_cmpstr(fixture_get_target(fixture)->spec->access_states, ==, states);
}

/* In effect when the operation is done, and after a restart */
static void
test_implicit(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    g_autoptr(Client) again = NULL;

    fixture_add_disk(fixture);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    set_state(fixture, "standby", TRUE);
    fixture_finish(fixture);
    assert_sense(client, CHANGED);
    assert_sense(client, STANDBY);
    assert_states(fixture, "1:standby:preferred");

    fixture_restart(fixture);
    assert_states(fixture, "1:standby:preferred");
    again = fixture_log_in(fixture);
    (void)client_test_unit_ready(again, 0); /* power on */
    assert_sense(again, STANDBY);
}

static void
test_not_persistent(Fixture *fixture, gconstpointer data)
{
    fixture_add_target(fixture);
    fixture->options.persist = FALSE;
    set_state(fixture, "unavailable", FALSE);
    fixture_finish(fixture);
    assert_states(fixture, "1:unavailable");
    fixture_restart(fixture);
    assert_states(fixture, "");
}

static void
test_refusals(Fixture *fixture, gconstpointer data)
{
    fixture_add_target(fixture);
    set_state(fixture, "asleep", FALSE);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
    service_set_access_state(fixture->service, TARGET, 9, "standby", FALSE, &fixture->options,
                             fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_NO_SUCH_OBJECT);
    service_set_access_state(fixture->service, TARGET "none", GROUP, "standby", FALSE,
                             &fixture->options, fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_NO_SUCH_TARGET);
    assert_states(fixture, "");
}

/* The answer waits for the control thread, which is ours */
typedef struct {
    Client *client;
    guint16 tag;
    guint8 state;
    gint is_done; /* atomic */
    int status;
} Request;

static gpointer
run_request(gpointer data)
{
    Request *r = data;

    r->status = client_set_target_port_group(r->client, 0, r->tag, r->state);
    g_atomic_int_set(&r->is_done, 1);
    g_main_context_wakeup(NULL);
    return NULL;
}

static int
set_group(Client *client, guint8 state)
{
    Request request = { .client = client, .tag = GROUP, .state = state };
    GThread *thread = g_thread_new("initiator", run_request, &request);

    while (!g_atomic_int_get(&request.is_done))
        (void)g_main_context_iteration(NULL, TRUE);
    (void)g_thread_join(thread);
    return request.status;
}

static void
test_explicit(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    g_autofree char *text = NULL;

    fixture_add_disk(fixture);
    set_state(fixture, "active-optimized", TRUE);
    fixture_finish(fixture);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);

    g_assert_cmphex(set_group(client, 0x3), ==, 0);
    assert_sense(client, UNAVAILABLE);
    assert_states(fixture, "1:unavailable:preferred:explicit");
    text = fixture_read(fixture, "targets", TARGET ".conf");
    g_assert_nonnull(strstr(text, "AccessStates=1:unavailable:preferred:explicit\n"));

    g_assert_cmphex(set_group(client, 0x0), ==, 0);
    assert_sense(client, 0);
}

/* An initiator changes states as often as it likes, and the journal hears of some of it */
static void
test_explicit_is_logged_with_measure(Fixture *fixture, gconstpointer data)
{
    g_autofree char *log = g_build_filename(fixture->base, "log", NULL);
    g_autofree char *text = NULL;
    g_autoptr(Client) client = NULL;
    int before = dup(STDERR_FILENO);
    FILE *file = fopen(log, "w");
    guint n = 0;

    fixture_add_disk(fixture);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    g_assert_cmpint(dup2(fileno(file), STDERR_FILENO), ==, STDERR_FILENO);
    for (guint i = 0; i < 30; i++)
        g_assert_cmphex(set_group(client, i % 2), ==, 0);
    g_assert_cmpint(dup2(before, STDERR_FILENO), ==, STDERR_FILENO);
    (void)close(before);
    (void)fclose(file);

    g_assert_true(g_file_get_contents(log, &text, NULL, NULL));
    for (const char *p = text; (p = strstr(p, "SET TARGET PORT GROUPS")) != NULL; p++)
        n++;
    g_assert_cmpuint(n, >, 0);
    g_assert_cmpuint(n, <=, 10);
}

/* What would have to wait for a change that waits for its session is sent away */
static void
test_explicit_while_sessions_end(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;

    fixture_add_disk(fixture);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    service_disable_target(fixture->service, TARGET, TRUE, &fixture->options, fixture_on_done,
                           fixture);
    (void)set_group(client, 0x2);
    fixture_wait(fixture, fixture_has_no_session);
    fixture_finish(fixture);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_add("/control/access/implicit", test_implicit);
    fixture_add("/control/access/not-persistent", test_not_persistent);
    fixture_add("/control/access/refusals", test_refusals);
    fixture_add("/control/access/explicit", test_explicit);
    fixture_add("/control/access/explicit-is-logged-with-measure",
                test_explicit_is_logged_with_measure);
    fixture_add("/control/access/explicit-while-sessions-end", test_explicit_while_sessions_end);
    return g_test_run();
}
