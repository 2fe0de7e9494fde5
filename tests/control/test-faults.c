/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Storage that fails on purpose, and storage that becomes read-only, under a session */

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "backstore/fault.h"
#include "client.h"
#include "control/service-private.h"
#include "fixture.h"
#include "util/error.h"

#define MIB ((gsize)1 << 20)

#define READ_ERROR    0x031100
#define WRITE_ERROR   0x030c00
#define WRITE_PROTECT 0x072700
#define MODE_CHANGED  0x062a01
#define NOT_READY     0x020400
#define READY_CHANGED 0x062800
#define POWER_ON      0x062900
#define TIMED_OUT     0x0b0801
#define STATUS_GOOD   0
#define STATUS_CHECK  2
#define STATUS_BUSY   8

static ModelBackstore *
get_disk(Fixture *fixture)
{
    return fixture_get_backstore(fixture, "disk");
}

static char *
disk_path(const Fixture *fixture)
{
    return g_build_filename(fixture->base, "disk.img", NULL);
}

static void
make_disk(Fixture *fixture, gboolean read_only)
{
    g_autofree char *path = disk_path(fixture);
    g_autofree char *zeros = g_malloc0(MIB);
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("file", "disk");

    g_assert_true(g_file_set_contents(path, zeros, MIB, NULL));
    g_free(spec->path);
    spec->path = g_strdup(path);
    spec->read_only = read_only;
    service_create_backstore(fixture->service, spec, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
}

/* LUN 0 is a file, and somebody is there */
static Client *
set_up_read_only(Fixture *fixture, gboolean read_only)
{
    Client *client;

    make_disk(fixture, read_only);
    fixture_add_target(fixture);
    fixture_add_lun(fixture, "disk", 0);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, STATUS_GOOD);
    return client;
}

static Client *
set_up(Fixture *fixture)
{
    return set_up_read_only(fixture, FALSE);
}

static void
begin_faults(Fixture *fixture, const char *rules)
{
    fixture_begin_faults(fixture, "disk", rules);
}

static void
set_faults(Fixture *fixture, const char *rules)
{
    fixture_set_faults(fixture, "disk", rules);
}

static void
set_read_only(Fixture *fixture, gboolean read_only)
{
    service_set_backstore_read_only(fixture->service, "disk", read_only, &fixture->options,
                                    fixture_on_done, fixture);
}

static void
set_offline(Fixture *fixture, gboolean offline)
{
    service_set_backstore_offline(fixture->service, "disk", offline, &fixture->options,
                                  fixture_on_done, fixture);
}

static void
assert_read(Client *client, guint32 sense)
{
    g_assert_cmpint(client_read_block(client, 0, 0), ==, sense == 0 ? STATUS_GOOD : STATUS_CHECK);
    g_assert_cmphex(client->sense, ==, sense);
}

static void
assert_ready(Client *client, guint32 sense)
{
    g_assert_cmpint(client_test_unit_ready(client, 0), ==, sense == 0 ? STATUS_GOOD : STATUS_CHECK);
    g_assert_cmphex(client->sense, ==, sense);
}

static void
assert_write(Client *client, guint32 sense)
{
    g_assert_cmpint(client_write_nothing(client, 0), ==, sense == 0 ? STATUS_GOOD : STATUS_CHECK);
    g_assert_cmphex(client->sense, ==, sense);
}

/*
 * Faults
 */

static void
test_errors(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = set_up(fixture);

    set_faults(fixture, "[{'on':<'read'>, 'count':<uint64 1>}]");
    g_assert_nonnull(get_disk(fixture)->faults);
    assert_read(client, READ_ERROR);
    assert_read(client, 0);
    set_faults(fixture, "[{'on':<'write,read'>, 'error':<'ETIMEDOUT'>}]");
    assert_read(client, TIMED_OUT);
    set_faults(fixture, "[{'error':<'EAGAIN'>}]");
    g_assert_cmpint(client_read_block(client, 0, 0), ==, STATUS_BUSY);
    g_assert_cmpuint(fault_set_n_struck(get_disk(fixture)->fault_set), ==, 1);
    set_faults(fixture, "[]");
    g_assert_null(get_disk(fixture)->faults);
    assert_read(client, 0);
}

static void
test_wrong_rules(Fixture *fixture, gconstpointer data)
{
    static const char *const wrong[] = {
        "[{'on':<'reads'>}]",
        "[{'on':<''>}]",
        "[{'error':<'EPERM'>}]",
        "[{'error':<'none'>}]",
        "[{'error':<5>}]",
        "[{'speed':<5>}]",
        "[{'delay':<uint64 3600000001>}]",
        "[{'stall':<true>, 'error':<'EIO'>}]",
        "[{'probability':<0.0>}]",
        "[{'probability':<1.5>}]",
        "[{'offset':<uint64 0xffffffffffffffff>}]",
    };
    g_autoptr(GString) many = g_string_new("[");

    make_disk(fixture, FALSE);
    for (gsize i = 0; i < G_N_ELEMENTS(wrong); i++) {
        begin_faults(fixture, wrong[i]);
        fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
    }
    for (guint i = 0; i < FAULT_RULES_MAX; i++)
        g_string_append(many, "{'on':<'read'>},");
    g_string_append(many, "{'on':<'read'>}]");
    begin_faults(fixture, many->str);
    fixture_finish_with(fixture, LUNPORT_ERROR_LIMIT_EXCEEDED);
    g_assert_null(get_disk(fixture)->faults);

    fixture->options.dry_run = TRUE;
    set_faults(fixture, "[{'on':<'read'>}]");
    g_assert_null(get_disk(fixture)->faults);
}

static gboolean
is_failed(Fixture *fixture)
{
    return get_disk(fixture)->state == BACKSTORE_FAILED;
}

/* A flush that fails, from the fault to the cure */
static void
test_failed_flush(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = set_up(fixture);

    set_faults(fixture, "[{'on':<'flush'>, 'count':<uint64 1>}]");
    g_assert_cmpint(client_flush(client, 0), ==, STATUS_CHECK);
    g_assert_cmphex(client->sense, ==, WRITE_ERROR);
    fixture_wait(fixture, is_failed);
    assert_read(client, 0);
    g_assert_cmpint(client_flush(client, 0), ==, STATUS_CHECK);

    set_offline(fixture, FALSE);
    fixture_finish(fixture);
    assert_ready(client, POWER_ON);
    assert_ready(client, READY_CHANGED);
    g_assert_cmpint(client_flush(client, 0), ==, STATUS_GOOD);
}

static gboolean
is_offline(Fixture *fixture)
{
    return get_disk(fixture)->state == BACKSTORE_OFFLINE;
}

static gboolean
is_online(Fixture *fixture)
{
    return get_disk(fixture)->state == BACKSTORE_ONLINE;
}

/* A device that goes, and comes back by itself */
static void
test_device_goes(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = set_up(fixture);

    set_faults(fixture, "[{'on':<'read'>, 'error':<'ENODEV'>, 'count':<uint64 1>}]");
    assert_read(client, NOT_READY);
    fixture_wait(fixture, is_offline);
    assert_ready(client, POWER_ON);
    fixture_wait(fixture, is_online);
    while (client_test_unit_ready(client, 0) != STATUS_GOOD)
        (void)g_main_context_iteration(NULL, FALSE);
    assert_read(client, 0);
}

/* The last block, in a thread of its own; it is stalled when this returns */
static gpointer
run_read(gpointer data)
{
    return GINT_TO_POINTER(client_read_block(data, 0, MIB / 512 - 1));
}

static gboolean
has_struck(Fixture *fixture)
{
    return fault_set_n_struck(get_disk(fixture)->fault_set) > 0;
}

static GThread *
start_stalled(Fixture *fixture, Client *client)
{
    GThread *thread;

    set_faults(fixture, "[{'on':<'read'>, 'stall':<true>}]");
    thread = g_thread_new("read", run_read, client);
    while (!has_struck(fixture))
        g_thread_yield();
    return thread;
}

/* What waits for the stalled read does not keep the fault from being removed */
static void
test_stall_ends(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = set_up(fixture);
    GThread *thread = start_stalled(fixture, client);
    Fixture resize = { 0 };

    service_resize_backstore(fixture->service, "disk", MIB / 2, TRUE, &fixture->options,
                             fixture_on_done, &resize);
    set_faults(fixture, "[]");
    fixture_finish(&resize);
    g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(thread)), ==, STATUS_GOOD);
}

/* Closing the storage does not wait for ever */
static void
test_stall_and_offline(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = set_up(fixture);
    GThread *thread = start_stalled(fixture, client);

    set_offline(fixture, TRUE);
    fixture_finish(fixture);
    g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(thread)), ==, STATUS_GOOD);

    /* The rule is still there for the storage that is opened next */
    g_assert_nonnull(get_disk(fixture)->faults);
    set_faults(fixture, "[{'on':<'read'>}]");
    set_offline(fixture, FALSE);
    fixture_finish(fixture);
    (void)client_settle(client, 0);
    assert_read(client, READ_ERROR);
}

/* Nor does the end of the service */
static void
test_stall_and_stop(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = set_up(fixture);
    GThread *thread = start_stalled(fixture, client);

    fixture_restart(fixture);
    (void)g_thread_join(thread);
    g_assert_null(get_disk(fixture)->faults);
}

/*
 * Read-only
 */

static gboolean
lun_is_read_only(Fixture *fixture)
{
    return model_find_lun(fixture_get_target(fixture), 0)->read_only;
}

static void
test_read_only(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = set_up(fixture);

    assert_write(client, 0);
    set_read_only(fixture, TRUE);
    fixture_finish(fixture);
    g_assert_true(get_disk(fixture)->read_only && lun_is_read_only(fixture));
    assert_ready(client, MODE_CHANGED);
    assert_ready(client, 0);
    assert_write(client, WRITE_PROTECT);
    assert_read(client, 0);

    /* A change of the target tells nothing new */
    service_set_target_alias(fixture->service, TARGET, "a", &fixture->options, fixture_on_done,
                             fixture);
    fixture_finish(fixture);
    assert_ready(client, 0);

    set_read_only(fixture, FALSE);
    fixture_finish(fixture);
    g_assert_false(get_disk(fixture)->read_only || lun_is_read_only(fixture));
    assert_ready(client, MODE_CHANGED);
    assert_ready(client, 0);
    assert_write(client, 0);
}

/* After the next start, too; and then it has to be opened anew to be written again */
static void
test_read_only_is_kept(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;

    client_free(set_up(fixture));
    set_read_only(fixture, TRUE);
    fixture_finish(fixture);
    fixture_restart(fixture);
    g_assert_true(get_disk(fixture)->read_only);
    g_assert_true(backstore_info(storage_get_store(get_disk(fixture)))->read_only);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, STATUS_GOOD);
    assert_write(client, WRITE_PROTECT);

    set_read_only(fixture, FALSE);
    fixture_finish(fixture);
    g_assert_false(get_disk(fixture)->read_only || lun_is_read_only(fixture));
    g_assert_false(backstore_info(storage_get_store(get_disk(fixture)))->read_only);
    assert_ready(client, POWER_ON);
    assert_ready(client, READY_CHANGED);
    assert_write(client, 0);
    client_free(g_steal_pointer(&client));
    fixture_restart(fixture);
    g_assert_false(get_disk(fixture)->read_only);
}

static void
test_read_only_for_this_run(Fixture *fixture, gconstpointer data)
{
    make_disk(fixture, FALSE);
    fixture->options.persist = FALSE;
    set_read_only(fixture, TRUE);
    fixture_finish(fixture);
    g_assert_true(get_disk(fixture)->read_only);
    fixture_restart(fixture);
    g_assert_false(get_disk(fixture)->read_only);
}

static void
test_read_only_while_offline(Fixture *fixture, gconstpointer data)
{
    make_disk(fixture, FALSE);
    set_offline(fixture, TRUE);
    fixture_finish(fixture);
    set_read_only(fixture, TRUE);
    fixture_finish(fixture);
    set_offline(fixture, FALSE);
    fixture_finish(fixture);
    g_assert_true(backstore_info(storage_get_store(get_disk(fixture)))->read_only);
}

/* What cannot be opened for writing stays as it was */
static void
test_writable_in_vain(Fixture *fixture, gconstpointer data)
{
    g_autofree char *path = disk_path(fixture);
    Client *client = set_up_read_only(fixture, TRUE);

    g_assert_cmpint(g_unlink(path), ==, 0);
    set_read_only(fixture, FALSE);
    fixture_finish_with(fixture, LUNPORT_ERROR_STORAGE_NOT_FOUND);
    g_assert_true(get_disk(fixture)->spec->read_only);
    g_assert_true(get_disk(fixture)->saved->read_only);
    client_free(client);
}

/* Two may read one file; neither of them may write it then */
static void
test_writable_beside_a_reader(Fixture *fixture, gconstpointer data)
{
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("file", "twin");

    make_disk(fixture, TRUE);
    g_free(spec->path);
    spec->path = disk_path(fixture);
    spec->read_only = TRUE;
    service_create_backstore(fixture->service, spec, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    set_read_only(fixture, FALSE);
    fixture_finish_with(fixture, LUNPORT_ERROR_STORAGE_IN_USE);
    g_assert_true(get_disk(fixture)->read_only);
}

/* What writes no blocks stands in nobody's way */
static gpointer
run_flush(gpointer data)
{
    return GINT_TO_POINTER(client_flush(data, 0));
}

static void
test_read_only_does_not_wait_for_flushes(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = set_up(fixture);
    GThread *thread;

    set_faults(fixture, "[{'on':<'flush'>, 'stall':<true>}]");
    thread = g_thread_new("flush", run_flush, client);
    while (!has_struck(fixture))
        g_thread_yield();
    set_read_only(fixture, TRUE);
    fixture_finish(fixture);
    set_faults(fixture, "[]");
    g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(thread)), ==, STATUS_GOOD);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    fixture_add("/control/faults/errors", test_errors);
    fixture_add("/control/faults/wrong-rules", test_wrong_rules);
    fixture_add("/control/faults/failed-flush", test_failed_flush);
    fixture_add("/control/faults/device-goes", test_device_goes);
    fixture_add("/control/faults/stall-ends", test_stall_ends);
    fixture_add("/control/faults/stall-and-offline", test_stall_and_offline);
    fixture_add("/control/faults/stall-and-stop", test_stall_and_stop);
    fixture_add("/control/read-only/switch", test_read_only);
    fixture_add("/control/read-only/is-kept", test_read_only_is_kept);
    fixture_add("/control/read-only/for-this-run", test_read_only_for_this_run);
    fixture_add("/control/read-only/while-offline", test_read_only_while_offline);
    fixture_add("/control/read-only/writable-in-vain", test_writable_in_vain);
    fixture_add("/control/read-only/writable-beside-a-reader", test_writable_beside_a_reader);
    fixture_add("/control/read-only/does-not-wait-for-flushes",
                test_read_only_does_not_wait_for_flushes);
    return g_test_run();
}
