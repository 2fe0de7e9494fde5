/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What is kept of erasings under way, of saved mode parameters and of
 * identifying information, over restarts of the service and of a backstore
 */

#include <string.h>

#include "client.h"
#include "fixture.h"
#include "scsi/record.h"
#include "util/error.h"

#define CHECK_CONDITION 0x02
#define WRITE_PROTECTED 0x072700
#define SANITIZE_FAILED 0x033103

static void
add_file(Fixture *fixture)
{
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("file", "d");

    spec->size = 1 << 20;
    spec->create = TRUE;
    service_create_backstore(fixture->service, spec, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
}

static void
set_up_disk(Fixture *fixture)
{
    add_file(fixture);
    fixture_add_target(fixture);
    fixture_add_lun(fixture, "d", 0);
}

/* The answer waits for the control thread, which is ours */
typedef struct {
    Client *client;
    gboolean protect;
    const char *identifier; /* of eight bytes: set that instead */
    gint is_done;           /* atomic */
    int status;
} Request;

static gpointer
run_request(gpointer data)
{
    Request *r = data;

    r->status = r->identifier != NULL ? client_set_identifier(r->client, 0, r->identifier, 8)
                                      : client_save_protection(r->client, 0, r->protect);
    g_atomic_int_set(&r->is_done, 1);
    g_main_context_wakeup(NULL);
    return NULL;
}

static int
run(Request *request)
{
    GThread *thread = g_thread_new("initiator", run_request, request);

    while (!g_atomic_int_get(&request->is_done))
        (void)g_main_context_iteration(NULL, TRUE);
    (void)g_thread_join(thread);
    return request->status;
}

static int
save_protection(Client *client, gboolean protect)
{
    return run(&(Request){ .client = client, .protect = protect });
}

static void
assert_protected(Client *client, gboolean protected)
{
    g_assert_cmphex(client_write_nothing(client, 0), ==, protected ? CHECK_CONDITION : 0);
    if (protected)
        g_assert_cmphex(client->sense, ==, WRITE_PROTECTED);
}

static void
delete_disk(Fixture *fixture)
{
    service_delete_target(fixture->service, TARGET, TRUE, &fixture->options, fixture_on_done,
                          fixture);
    fixture_finish(fixture);
    service_delete_backstore(fixture->service, "d", TRUE, &fixture->options, fixture_on_done,
                             fixture);
    fixture_finish(fixture);
}

static void
test_modes_restart(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    g_autofree char *stored = NULL;

    set_up_disk(fixture);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    assert_protected(client, FALSE);
    g_assert_cmphex(save_protection(client, TRUE), ==, 0);
    stored = fixture_read(fixture, "modes", "d");
    g_assert_nonnull(strstr(stored, "\nswp 1\n"));
    client_free(g_steal_pointer(&client));

    fixture_restart(fixture);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    assert_protected(client, TRUE);
    g_assert_cmphex(save_protection(client, FALSE), ==, 0);
    client_free(g_steal_pointer(&client));

    fixture_restart(fixture);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    assert_protected(client, FALSE);
}

static void
test_modes_backstore_comes_again(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;

    set_up_disk(fixture);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    g_assert_cmphex(save_protection(client, TRUE), ==, 0);
    for (guint i = 0; i < 2; i++) {
        service_set_backstore_offline(fixture->service, "d", i == 0, &fixture->options,
                                      fixture_on_done, fixture);
        fixture_finish(fixture);
    }
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    assert_protected(client, TRUE);
}

/* No matter of safety: the defaults are used, and the file is left for who wants to look at it */
static void
test_modes_damaged(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    g_autofree char *directory = g_build_filename(fixture->state_dir, "modes", NULL);
    g_autofree char *stored = NULL;
    g_autofree char *after = NULL;
    g_autofree char *again = NULL;

    set_up_disk(fixture);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    g_assert_cmphex(save_protection(client, TRUE), ==, 0);
    client_free(g_steal_pointer(&client));
    stored = fixture_read(fixture, "modes", "d");
    fixture_stop(fixture);
    stored[strlen(stored) / 2] ^= 1;
    fixture_write(directory, "d", stored);

    fixture_start(fixture);
    g_assert_cmpint(fixture_get_backstore(fixture, "d")->state, ==, BACKSTORE_ONLINE);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    assert_protected(client, FALSE);
    after = fixture_read(fixture, "modes", "d");
    g_assert_cmpstr(after, ==, stored);

    g_assert_cmphex(save_protection(client, TRUE), ==, 0);
    again = fixture_read(fixture, "modes", "d");
    g_assert_nonnull(strstr(again, "\nswp 1\n"));
}

static void
test_modes_deleted_with_the_backstore(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    g_autofree char *stored = NULL;

    set_up_disk(fixture);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    g_assert_cmphex(save_protection(client, TRUE), ==, 0);
    client_free(g_steal_pointer(&client));
    delete_disk(fixture);

    set_up_disk(fixture);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    assert_protected(client, FALSE);
    stored = fixture_read(fixture, "modes", "d");
    g_assert_null(stored);
}

static gboolean
is_forgotten(Fixture *fixture)
{
    g_autofree char *stored = fixture_read(fixture, "identifying", "d");

    return stored == NULL;
}

/* What SET IDENTIFYING INFORMATION has set is there after a restart, and while there is no storage */
static void
test_identifying_restart(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    g_autofree char *stored = NULL;

    set_up_disk(fixture);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    g_assert_cmpint(client_get_identifier_length(client, 0), ==, 0);
    g_assert_cmphex(run(&(Request){ .client = client, .identifier = "abcdefgh" }), ==, 0);
    stored = fixture_read(fixture, "identifying", "d");
    g_assert_nonnull(strstr(stored, "\nidentifier x6162636465666768\nlabel x\n"));
    client_free(g_steal_pointer(&client));

    fixture_restart(fixture);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    g_assert_cmpint(client_get_identifier_length(client, 0), ==, 8);

    service_set_backstore_offline(fixture->service, "d", TRUE, &fixture->options, fixture_on_done,
                                  fixture);
    fixture_finish(fixture);
    g_assert_cmpint(client_settle(client, 0), !=, 0);
    g_assert_cmpint(client_get_identifier_length(client, 0), ==, 8);
    client_free(g_steal_pointer(&client));

    delete_disk(fixture);
    fixture_wait(fixture, is_forgotten);
}

static void
test_identifying_damaged(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    g_autofree char *directory = g_build_filename(fixture->state_dir, "identifying", NULL);
    g_autofree char *after = NULL;

    set_up_disk(fixture);
    fixture_stop(fixture);
    fixture_write(directory, "d", "lunport-identifying 1\nidentifier x\ncrc32c 00000000\n");
    fixture_start(fixture);
    g_assert_cmpint(fixture_get_backstore(fixture, "d")->state, ==, BACKSTORE_ONLINE);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    g_assert_cmpint(client_get_identifier_length(client, 0), ==, 0);
    after = fixture_read(fixture, "identifying", "d");
    g_assert_nonnull(after);
}

/* As a service that was killed has left it */
static void
leave_erasure(Fixture *fixture, const char *state)
{
    g_autofree char *directory = g_build_filename(fixture->state_dir, "erasures", NULL);
    GString *record = record_new("erasure", 1);
    g_autofree char *text = NULL;

    g_string_append_printf(record, "state %s\nmethod zero\nmay-exit 0\ninvert 0\npasses 1\n",
                           state);
    text = record_finish(record);
    fixture_write(directory, "d", text);
}

static gboolean
is_erased(Fixture *fixture)
{
    g_autofree char *stored = fixture_read(fixture, "erasures", "d");

    return stored == NULL;
}

static void
test_erasure_goes_on(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;

    set_up_disk(fixture);
    fixture_stop(fixture);
    leave_erasure(fixture, "sanitizing");
    fixture_start(fixture);
    fixture_wait(fixture, is_erased);
    client = fixture_log_in(fixture);
    while (client_settle(client, 0) != 0)
        (void)g_main_context_iteration(NULL, FALSE);
}

static void
test_erasure_stays_failed(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    g_autofree char *stored = NULL;

    set_up_disk(fixture);
    fixture_stop(fixture);
    leave_erasure(fixture, "sanitize-failed");
    for (guint i = 0; i < 2; i++) {
        fixture_start(fixture);
        client = fixture_log_in(fixture);
        g_assert_cmpint(client_settle(client, 0), ==, CHECK_CONDITION);
        g_assert_cmphex(client->sense, ==, SANITIZE_FAILED);
        client_free(g_steal_pointer(&client));
        fixture_stop(fixture);
    }
    fixture_start(fixture);
    stored = fixture_read(fixture, "erasures", "d");
    g_assert_nonnull(stored);
}

/* What was to be erased must not be readable again */
static void
test_erasure_damaged(Fixture *fixture, gconstpointer data)
{
    g_autofree char *directory = g_build_filename(fixture->state_dir, "erasures", NULL);
    const ModelBackstore *backstore;

    set_up_disk(fixture);
    fixture_stop(fixture);
    fixture_write(directory, "d", "lunport-erasure 1\nstate none\ncrc32c 00000000\n");
    fixture_start(fixture);
    backstore = fixture_get_backstore(fixture, "d");
    g_assert_cmpint(backstore->state, ==, BACKSTORE_FAILED);
    g_assert_error(backstore->error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
    g_assert_false(is_erased(fixture));
}

static void
hide_erasures(Fixture *fixture)
{
    fixture_hide(fixture, "erasures");
}

/* As long as nobody knows what was to be erased, nobody reads it */
static void
test_erasures_unreadable(Fixture *fixture, gconstpointer data)
{
    set_up_disk(fixture);
    fixture->before_start = hide_erasures;
    fixture_restart(fixture);
    fixture->before_start = NULL;
    g_assert_cmpint(fixture_get_backstore(fixture, "d")->state, ==, BACKSTORE_FAILED);
    fixture_show(fixture, "erasures");
    fixture_restart(fixture);
    g_assert_cmpint(fixture_get_backstore(fixture, "d")->state, ==, BACKSTORE_ONLINE);
}

static void
test_erasure_deleted_with_the_backstore(Fixture *fixture, gconstpointer data)
{
    set_up_disk(fixture);
    fixture_stop(fixture);
    leave_erasure(fixture, "format-failed");
    fixture_start(fixture);
    delete_disk(fixture);
    fixture_wait(fixture, is_erased);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_add("/control/records/modes-restart", test_modes_restart);
    fixture_add("/control/records/modes-backstore-comes-again", test_modes_backstore_comes_again);
    fixture_add("/control/records/modes-damaged", test_modes_damaged);
    fixture_add("/control/records/modes-deleted-with-the-backstore",
                test_modes_deleted_with_the_backstore);
    fixture_add("/control/records/identifying-restart", test_identifying_restart);
    fixture_add("/control/records/identifying-damaged", test_identifying_damaged);
    fixture_add("/control/records/erasure-goes-on", test_erasure_goes_on);
    fixture_add("/control/records/erasure-stays-failed", test_erasure_stays_failed);
    fixture_add("/control/records/erasure-damaged", test_erasure_damaged);
    fixture_add("/control/records/erasures-unreadable", test_erasures_unreadable);
    fixture_add("/control/records/erasure-deleted-with-the-backstore",
                test_erasure_deleted_with_the_backstore);
    return g_test_run();
}
