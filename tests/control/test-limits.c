/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Limits as administrators set them: kept, in effect at once, and counted when reached */

#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client.h"
#include "control/service-private.h"
#include "fixture.h"
#include "util/error.h"

static void
set_limit(Fixture *fixture, const char *key, const char *text)
{
    const SettingsChange changes[] = { { key, text }, { NULL, NULL } };

    service_change_settings(fixture->service, changes, &fixture->options, fixture_on_done, fixture);
}

static guint64
count_hits(Fixture *fixture, const char *name)
{
    const GArray *hits = service_get_model(fixture->service)->limit_hits;

    for (guint i = 0; i < hits->len; i++) {
        const ModelLimitHit *hit = &g_array_index(hits, ModelLimitHit, i);

        if (strcmp(hit->name, name) == 0)
            return hit->n;
    }
    return 0;
}

static void
add_disk(Fixture *fixture)
{
    fixture_add_ram(fixture, "d");
    fixture_add_target(fixture);
    fixture_add_lun(fixture, "d", 0);
}

typedef struct {
    guint16 port;
    guint16 status[2];
    gint is_done; /* atomic */
} Logins;

static gpointer
log_in_twice(gpointer data)
{
    Logins *logins = data;
    g_autoptr(Client) first = client_new(logins->port);
    g_autoptr(Client) second = NULL;

    logins->status[0] = client_login(first, TARGET);
    second = client_new(logins->port);
    logins->status[1] = client_login(second, TARGET);
    g_atomic_int_set(&logins->is_done, 1);
    return NULL;
}

static Logins
log_in(Fixture *fixture)
{
    Logins logins = { .port = fixture->port };
    GThread *thread = g_thread_new("client", log_in_twice, &logins);

    while (g_atomic_int_get(&logins.is_done) == 0)
        (void)g_main_context_iteration(NULL, FALSE);
    (void)g_thread_join(thread);
    return logins;
}

/* Another connection of one more session than there may be: refused, counted, and with whom */
static void
test_in_effect_at_once(Fixture *fixture, gconstpointer data)
{
    Logins logins;

    add_disk(fixture);
    set_limit(fixture, "MaxConnections", "1");
    fixture_finish(fixture);
    logins = log_in(fixture);
    g_assert_cmphex(logins.status[0], ==, 0);
    g_assert_cmphex(logins.status[1], ==, 0xffff);
    g_assert_cmpuint(count_hits(fixture, "max-connections"), ==, 1);
}

static void
test_survives_a_restart(Fixture *fixture, gconstpointer data)
{
    Logins logins;

    add_disk(fixture);
    set_limit(fixture, "MaxConnections", "1");
    fixture_finish(fixture);
    fixture_restart(fixture);
    g_assert_cmpuint(service_get_model(fixture->service)->settings->limits.max_connections, ==, 1);
    logins = log_in(fixture);
    g_assert_cmphex(logins.status[1], ==, 0xffff);
}

static void
test_out_of_range(Fixture *fixture, gconstpointer data)
{
    set_limit(fixture, "LoginTimeout", "0");
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
    g_assert_cmpuint(service_get_model(fixture->service)->settings->limits.login_timeout, ==, 15);
}

/* Whoever it is, and however often: the count is right, and the rest has an end */
static void
test_counting(Fixture *fixture, gconstpointer data)
{
    IscsiEvent event = {
        .type = ISCSI_EVENT_LIMIT, .limit = ISCSI_LIMIT_SESSION_BYTES, .count = 5, .wall_time = 77
    };

    for (guint i = 0; i < 20; i++) {
        event.remote.in.sin_family = AF_INET;
        event.remote.in.sin_addr.s_addr = g_htonl(0x0a000000 + i);
        event.remote.size = sizeof(event.remote.in);
        g_assert_true(limits_observe(fixture->service, &event));
    }
    g_assert_cmpuint(count_hits(fixture, "max-session-bytes"), ==, 100);
    g_assert_cmpuint(service_get_model(fixture->service)->limit_hits->len, ==, 1);
    event.limit = ISCSI_LIMIT_NONE;
    g_assert_false(limits_observe(fixture->service, &event));
}

static gboolean
lacks_descriptors(Fixture *fixture)
{
    return count_hits(fixture, "descriptors") > 0;
}

static guint64
count_accepted(Fixture *fixture)
{
    return model_find_portal(service_get_model(fixture->service), "127.0.0.1", fixture->port)
        ->n_accepted;
}

static gboolean
has_accepted(Fixture *fixture)
{
    return count_accepted(fixture) > 0;
}

/* Nobody gets a descriptor any more, until the limit is what @before says */
static void
use_up_descriptors(struct rlimit *ret_before)
{
    struct rlimit none;
    int next = dup(STDIN_FILENO);

    g_assert_cmpint(next, >=, 0);
    (void)close(next);
    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, ret_before), ==, 0);
    none = *ret_before;
    none.rlim_cur = (rlim_t)next;
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
}

/*
 * A connection for which there is no descriptor stays in the queue of the socket, which is readable all
 * the time. It is not looked at for a while then, and accepted when there are some again.
 */
static void
test_no_descriptors(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    struct rlimit before;

    fixture_add_target(fixture);
    client = client_new(fixture->port);
    use_up_descriptors(&before);
    fixture_wait(fixture, lacks_descriptors);
    for (guint i = 0; i < 100; i++)
        (void)g_main_context_iteration(NULL, FALSE);
    g_assert_cmpuint(count_hits(fixture, "descriptors"), <, 10);
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &before), ==, 0);
    fixture_wait(fixture, has_accepted);
    g_assert_cmphex(client_login(client, TARGET), ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    fixture_add("/control/limits/in-effect-at-once", test_in_effect_at_once);
    fixture_add("/control/limits/survives-a-restart", test_survives_a_restart);
    fixture_add("/control/limits/out-of-range", test_out_of_range);
    fixture_add("/control/limits/counting", test_counting);
    fixture_add("/control/limits/no-descriptors", test_no_descriptors);
    return g_test_run();
}
