/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Persistent reservations over restarts of the service and of a backstore */

#include <string.h>

#include "client.h"
#include "fixture.h"
#include "util/error.h"

#define KEY      0x1234U
#define CONFLICT 0x18

enum {
    REGISTER = 0,
    RESERVE = 1,
    CLEAR = 3,
};

static Client *
log_in(Fixture *fixture)
{
    Client *client = fixture_log_in(fixture);

    g_assert_cmpint(client_settle(client, 0), ==, 0);
    return client;
}

/* The answer waits for the control thread, which is ours */
typedef struct {
    Client *client;
    guint8 action;
    guint8 type;
    guint64 key;
    guint64 action_key;
    guint8 flags;
    gint is_done; /* atomic */
    int status;
} Request;

static gpointer
run_request(gpointer data)
{
    Request *r = data;

    r->status =
        client_reserve_out(r->client, 0, r->action, r->type, r->key, r->action_key, r->flags);
    g_atomic_int_set(&r->is_done, 1);
    g_main_context_wakeup(NULL);
    return NULL;
}

static int
out(Client *client, guint8 action, guint8 type, guint64 key, guint64 action_key, guint8 flags)
{
    Request request = { .client = client,
                        .action = action,
                        .type = type,
                        .key = key,
                        .action_key = action_key,
                        .flags = flags };
    GThread *thread = g_thread_new("initiator", run_request, &request);

    while (!g_atomic_int_get(&request.is_done))
        (void)g_main_context_iteration(NULL, TRUE);
    (void)g_thread_join(thread);
    return request.status;
}

static void
test_restart(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    g_autofree char *stored = NULL;
    g_autofree char *after = NULL;

    fixture_add_disk(fixture);
    client = log_in(fixture);
    g_assert_cmphex(out(client, REGISTER, 0, 0, KEY, 1), ==, 0);
    g_assert_cmphex(out(client, RESERVE, 3, KEY, 0, 0), ==, 0);
    stored = fixture_read(fixture, "reservations", "d");
    g_assert_nonnull(stored);
    g_assert_nonnull(strstr(stored, "\ntype 3\n"));

    client_free(g_steal_pointer(&client));
    fixture_restart(fixture);
    client = log_in(fixture);
    g_assert_cmphex(out(client, REGISTER, 0, 0, KEY, 1), ==, CONFLICT);
    g_assert_cmphex(out(client, RESERVE, 3, KEY, 0, 0), ==, 0);
    g_assert_cmphex(out(client, RESERVE, 1, KEY, 0, 0), ==, CONFLICT);

    g_assert_cmphex(out(client, CLEAR, 0, KEY, 0, 0), ==, 0);
    after = fixture_read(fixture, "reservations", "d");
    g_assert_null(after);
}

static void
test_not_asked_for(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    g_autofree char *stored = NULL;

    fixture_add_disk(fixture);
    client = log_in(fixture);
    g_assert_cmphex(out(client, REGISTER, 0, 0, KEY, 0), ==, 0);
    stored = fixture_read(fixture, "reservations", "d");
    g_assert_null(stored);
    client_free(g_steal_pointer(&client));
    fixture_restart(fixture);
    client = log_in(fixture);
    g_assert_cmphex(out(client, RESERVE, 3, KEY, 0, 0), ==, CONFLICT);
}

/* A fenced node must not have access again because a device was away for a moment */
static void
test_backstore_comes_again(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("file", "d");

    spec->size = 1 << 20;
    spec->create = TRUE;
    service_create_backstore(fixture->service, spec, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    fixture_add_target(fixture);
    fixture_add_lun(fixture, "d", 0);
    client = log_in(fixture);
    g_assert_cmphex(out(client, REGISTER, 0, 0, KEY, 0), ==, 0);
    g_assert_cmphex(out(client, RESERVE, 3, KEY, 0, 0), ==, 0);
    for (guint i = 0; i < 2; i++) {
        service_set_backstore_offline(fixture->service, "d", i == 0, &fixture->options,
                                      fixture_on_done, fixture);
        fixture_finish(fixture);
    }
    (void)client_settle(client, 0);
    g_assert_cmphex(out(client, REGISTER, 0, 0, KEY, 0), ==, CONFLICT);
    g_assert_cmphex(out(client, RESERVE, 3, KEY, 0, 0), ==, 0);
}

static void
test_damaged(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    g_autofree char *directory = g_build_filename(fixture->state_dir, "reservations", NULL);
    g_autofree char *stored = NULL;
    g_autofree char *after = NULL;
    const ModelBackstore *backstore;

    fixture_add_disk(fixture);
    client = log_in(fixture);
    g_assert_cmphex(out(client, REGISTER, 0, 0, KEY, 1), ==, 0);
    client_free(g_steal_pointer(&client));
    stored = fixture_read(fixture, "reservations", "d");
    fixture_stop(fixture);
    stored[strlen(stored) / 2] ^= 1;
    fixture_write(directory, "d", stored);

    fixture_start(fixture);
    backstore = fixture_get_backstore(fixture, "d");
    g_assert_cmpint(backstore->state, ==, BACKSTORE_FAILED);
    g_assert_error(backstore->error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
    after = fixture_read(fixture, "reservations", "d");
    g_assert_cmpstr(after, ==, stored);
}

static void
hide_reservations(Fixture *fixture)
{
    fixture_hide(fixture, "reservations");
}

/* As long as nobody knows who was fenced, nobody gets at the disk */
static void
test_unreadable_folder(Fixture *fixture, gconstpointer data)
{
    fixture_add_disk(fixture);
    fixture->before_start = hide_reservations;
    fixture_restart(fixture);
    fixture->before_start = NULL;
    g_assert_cmpint(fixture_get_backstore(fixture, "d")->state, ==, BACKSTORE_FAILED);
    fixture_show(fixture, "reservations");
    fixture_restart(fixture);
    g_assert_cmpint(fixture_get_backstore(fixture, "d")->state, ==, BACKSTORE_ONLINE);
}

/* What an editor leaves behind is of no backstore */
static void
test_strange_file(Fixture *fixture, gconstpointer data)
{
    static const char *const directories[] = { "reservations", "erasures", "modes", "secrets" };

    fixture_add_disk(fixture);
    for (gsize i = 0; i < G_N_ELEMENTS(directories); i++) {
        g_autofree char *directory = g_build_filename(fixture->state_dir, directories[i], NULL);

        fixture_write(directory, "d~", "left behind");
    }
    fixture_restart(fixture);
    g_assert_cmpint(fixture_get_backstore(fixture, "d")->state, ==, BACKSTORE_ONLINE);
}

static void
test_deleted_with_the_backstore(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    g_autofree char *stored = NULL;

    fixture_add_disk(fixture);
    client = log_in(fixture);
    g_assert_cmphex(out(client, REGISTER, 0, 0, KEY, 1), ==, 0);
    client_free(g_steal_pointer(&client));
    service_delete_target(fixture->service, TARGET, TRUE, &fixture->options, fixture_on_done,
                          fixture);
    fixture_finish(fixture);
    service_delete_backstore(fixture->service, "d", FALSE, &fixture->options, fixture_on_done,
                             fixture);
    fixture_finish(fixture);

    /* The next one of that name has nothing to do with it */
    fixture_add_disk(fixture);
    client = log_in(fixture);
    g_assert_cmphex(out(client, RESERVE, 3, KEY, 0, 0), ==, CONFLICT);
    stored = fixture_read(fixture, "reservations", "d");
    g_assert_null(stored);
}

static gboolean
is_reserved(Fixture *fixture)
{
    return fixture_get_backstore(fixture, "d")->reservation_type == 3;
}

static gboolean
is_free(Fixture *fixture)
{
    return fixture_get_backstore(fixture, "d")->reservation_type == 0;
}

static void
on_list(gpointer object, const GError *error, gpointer data)
{
    GVariant **list = data;

    g_assert_no_error(error);
    *list = g_variant_ref(object);
}

static gsize
count_registrations(Fixture *fixture, guint64 *ret_key, gboolean *ret_is_holder)
{
    g_autoptr(GVariant) list = NULL;

    service_list_registrations(fixture->service, TARGET, 0, NULL, on_list, &list);
    while (list == NULL)
        (void)g_main_context_iteration(NULL, TRUE);
    if (g_variant_n_children(list) > 0)
        g_variant_get_child(list, 0, "(sqtb)", NULL, NULL, ret_key, ret_is_holder);
    return g_variant_n_children(list);
}

static void
test_administrator_sees_and_clears(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    g_autofree char *after = NULL;
    const ModelBackstore *backstore;
    gboolean is_holder = FALSE;
    guint64 key = 0;

    fixture_add_disk(fixture);
    client = log_in(fixture);
    g_assert_cmphex(out(client, REGISTER, 0, 0, KEY, 1), ==, 0);
    g_assert_cmphex(out(client, RESERVE, 3, KEY, 0, 0), ==, 0);
    fixture_wait(fixture, is_reserved);
    backstore = fixture_get_backstore(fixture, "d");
    g_assert_cmpuint(backstore->reservation_generation, ==, 1);
    g_assert_nonnull(strstr(backstore->reservation_holder, ",i,0x"));
    g_assert_cmpuint(count_registrations(fixture, &key, &is_holder), ==, 1);
    g_assert_cmphex(key, ==, KEY);
    g_assert_true(is_holder);

    /* The model knows it again after a start */
    client_free(g_steal_pointer(&client));
    fixture_restart(fixture);
    fixture_wait(fixture, is_reserved);

    service_clear_reservations(fixture->service, TARGET, 0, &fixture->options, fixture_on_done,
                               fixture);
    fixture_finish(fixture);
    fixture_wait(fixture, is_free);
    g_assert_null(fixture_get_backstore(fixture, "d")->reservation_holder);
    after = fixture_read(fixture, "reservations", "d");
    g_assert_null(after);
    client = log_in(fixture);
    g_assert_cmphex(out(client, RESERVE, 3, KEY, 0, 0), ==, CONFLICT);
}

static void
test_no_unit_to_clear(Fixture *fixture, gconstpointer data)
{
    fixture_add_disk(fixture);
    service_clear_reservations(fixture->service, TARGET, 7, &fixture->options, fixture_on_done,
                               fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_NO_SUCH_OBJECT);
    service_list_registrations(fixture->service, TARGET, 7, NULL, fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_NO_SUCH_OBJECT);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_add("/control/reservations/restart", test_restart);
    fixture_add("/control/reservations/not-asked-for", test_not_asked_for);
    fixture_add("/control/reservations/backstore-comes-again", test_backstore_comes_again);
    fixture_add("/control/reservations/damaged", test_damaged);
    fixture_add("/control/reservations/unreadable-folder", test_unreadable_folder);
    fixture_add("/control/reservations/strange-file", test_strange_file);
    fixture_add("/control/reservations/deleted-with-the-backstore",
                test_deleted_with_the_backstore);
    fixture_add("/control/reservations/administrator-sees-and-clears",
                test_administrator_sees_and_clears);
    fixture_add("/control/reservations/no-unit-to-clear", test_no_unit_to_clear);
    return g_test_run();
}
