/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Storage and portals that are not there, go and come back, as initiators and administrators see it */

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backstore/class.h"
#include "client.h"
#include "control/service-private.h"
#include "fixture.h"
#include "free-port.h"
#include "util/error.h"
#include "util/fd.h"

#define NOT_READY              0x020400
#define NOT_READY_MANUAL       0x020403
#define POWER_ON               0x062900
#define READY_CHANGED          0x062800
#define CAPACITY_CHANGED       0x062a09
#define LOGICAL_UNIT_NOT_FOUND 0x052500

#define MIB ((gsize)1 << 20)

static ModelBackstore *
get_late(Fixture *fixture)
{
    return fixture_get_backstore(fixture, "late");
}

static char *
late_path(const Fixture *fixture)
{
    return g_build_filename(fixture->base, "late.img", NULL);
}

static void
make_file(const Fixture *fixture, gsize size)
{
    g_autofree char *path = late_path(fixture);
    g_autofree char *temporary = g_strconcat(path, ".new", NULL);
    g_autofree char *zeros = g_malloc0(size);

    /* Moved into place, so that it is not found half written */
    g_assert_true(g_file_set_contents(temporary, zeros, (gssize)size, NULL));
    g_assert_cmpint(g_rename(temporary, path), ==, 0);
}

/* A target whose LUN 0 is a file that is not there, and LUN 1 memory */
static void
set_up_late(Fixture *fixture)
{
    g_autofree char *directory = g_build_filename(fixture->state_dir, "backstores", NULL);
    g_autofree char *path = late_path(fixture);
    g_autofree char *text = g_strdup_printf("[Backstore]\nName=late\nType=file\nPath=%s\n"
                                            "Uuid=0d4f3a52-6f0e-4c5b-9d3e-5b8f8c1f2a34\n",
                                            path);

    fixture_add_ram(fixture, "d");
    fixture_add_target(fixture);
    fixture_write(directory, "late.conf", text);
    fixture_restart(fixture);
    fixture_add_lun(fixture, "late", 0);
    fixture_add_lun(fixture, "d", 1);
}

static void
assert_sense(Client *client, guint16 lun, guint32 sense)
{
    int status = client_test_unit_ready(client, lun);

    g_assert_cmpint(status, ==, sense == 0 ? 0 : 2);
    g_assert_cmphex(client->sense, ==, sense);
}

static gboolean
late_is_online(Fixture *fixture)
{
    return get_late(fixture)->state == BACKSTORE_ONLINE;
}

static gboolean
late_is_offline(Fixture *fixture)
{
    return get_late(fixture)->state == BACKSTORE_OFFLINE;
}

static void
set_offline(Fixture *fixture, gboolean offline)
{
    service_set_backstore_offline(fixture->service, "late", offline, &fixture->options,
                                  fixture_on_done, fixture);
}

static void
test_file_comes_later(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;

    set_up_late(fixture);
    client = fixture_log_in(fixture);
    g_assert_cmpint(get_late(fixture)->state, ==, BACKSTORE_OFFLINE);
    (void)client_settle(client, 0);
    (void)client_settle(client, 1);
    assert_sense(client, 0, NOT_READY);
    g_assert_cmpint(client_read_block(client, 0, 0), ==, 2);
    g_assert_cmphex(client->sense, ==, NOT_READY);
    assert_sense(client, 1, 0);
    assert_sense(client, 2, LOGICAL_UNIT_NOT_FOUND);

    make_file(fixture, MIB);
    fixture_wait(fixture, late_is_online);
    assert_sense(client, 0, READY_CHANGED);
    assert_sense(client, 0, 0);
    g_assert_cmpint(client_read_block(client, 0, 0), ==, 0);
    assert_sense(client, 1, 0);
}

static void
test_offline_and_online(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;

    make_file(fixture, MIB);
    set_up_late(fixture);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    g_assert_cmpint(client_settle(client, 1), ==, 0);

    set_offline(fixture, TRUE);
    fixture_finish(fixture);
    g_assert_cmpint(get_late(fixture)->state, ==, BACKSTORE_OFFLINE);
    g_assert_false(model_find_lun(fixture_get_target(fixture), 0)->is_online);
    assert_sense(client, 0, POWER_ON);
    assert_sense(client, 0, NOT_READY_MANUAL);
    assert_sense(client, 1, 0);
    set_offline(fixture, TRUE);
    fixture_finish(fixture);

    /* A change of the target does not bring it back */
    service_set_target_alias(fixture->service, TARGET, "a", &fixture->options, fixture_on_done,
                             fixture);
    fixture_finish(fixture);
    assert_sense(client, 0, NOT_READY_MANUAL);

    make_file(fixture, 2 * MIB);
    set_offline(fixture, FALSE);
    fixture_finish(fixture);
    g_assert_cmpuint(get_late(fixture)->size, ==, 2 * MIB);
    assert_sense(client, 0, READY_CHANGED);
    assert_sense(client, 0, CAPACITY_CHANGED);
    assert_sense(client, 0, 0);
    assert_sense(client, 1, 0);
    set_offline(fixture, FALSE);
    fixture_finish(fixture);
}

/* What cannot be opened says why, and is tried again by itself */
static void
test_online_in_vain(Fixture *fixture, gconstpointer data)
{
    g_autofree char *path = late_path(fixture);

    make_file(fixture, MIB);
    set_up_late(fixture);
    set_offline(fixture, TRUE);
    fixture_finish(fixture);
    g_assert_cmpint(g_unlink(path), ==, 0);
    set_offline(fixture, FALSE);
    fixture_finish_with(fixture, LUNPORT_ERROR_STORAGE_NOT_FOUND);
    g_assert_cmpint(get_late(fixture)->state, ==, BACKSTORE_OFFLINE);
    make_file(fixture, MIB);
    fixture_wait(fixture, late_is_online);
}

static void
test_offline_is_refused(Fixture *fixture, gconstpointer data)
{
    set_offline(fixture, TRUE);
    fixture_finish_with(fixture, LUNPORT_ERROR_NO_SUCH_OBJECT);
    fixture_add_ram(fixture, "late");
    set_offline(fixture, TRUE);
    fixture_finish_with(fixture, LUNPORT_ERROR_NOT_SUPPORTED);
}

/* Writes and flushes are refused from the failure on, until the storage is opened again */
static void
test_failed_flush(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    const IscsiEvent event = {
        .type = ISCSI_EVENT_BACKSTORE_ERROR, .lu_name = "late", .reason = "flush", .error = EIO
    };

    make_file(fixture, MIB);
    set_up_late(fixture);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    backstore_set_failed(storage_get_store(get_late(fixture)));
    observe_event(&event, fixture->service);
    g_assert_cmpint(get_late(fixture)->state, ==, BACKSTORE_FAILED);
    g_assert_nonnull(strstr(get_late(fixture)->error->message, "lunctl backstore online late"));

    set_offline(fixture, FALSE);
    fixture_finish(fixture);
    g_assert_cmpint(get_late(fixture)->state, ==, BACKSTORE_ONLINE);
    g_assert_null(get_late(fixture)->error);
    assert_sense(client, 0, POWER_ON);
    assert_sense(client, 0, READY_CHANGED);
    assert_sense(client, 0, 0);
}

/* The device under a store goes: its unit is not ready, and ready again when it can be opened */
static void
test_device_goes(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;
    const IscsiEvent event = {
        .type = ISCSI_EVENT_BACKSTORE_ERROR, .lu_name = "late", .reason = "gone", .error = ENODEV
    };

    make_file(fixture, MIB);
    set_up_late(fixture);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    g_assert_cmpint(client_settle(client, 1), ==, 0);
    observe_event(&event, fixture->service);
    observe_event(&event, fixture->service);
    fixture_wait(fixture, late_is_offline);
    assert_sense(client, 0, POWER_ON);
    assert_sense(client, 0, NOT_READY);
    assert_sense(client, 1, 0);

    set_offline(fixture, FALSE);
    fixture_finish(fixture);
    assert_sense(client, 0, READY_CHANGED);
    assert_sense(client, 0, 0);
}

typedef struct {
    Client *client;
    gint is_ready; /* the unit is there to stay: the next good read is the last */
    guint n_answers;
} Reader;

static gpointer
read_in_thread(gpointer data)
{
    Reader *reader = data;
    gboolean is_last = FALSE;
    int status = 0;

    while (!is_last || status != 0) {
        is_last = g_atomic_int_get(&reader->is_ready) != 0;
        status = client_read_block(reader->client, 0, 0);
        g_assert_cmpint(status, >=, 0);
        reader->n_answers++;
    }
    return NULL;
}

/* While the unit comes and goes every read is answered; one that was not would never let this end */
static void
test_comes_and_goes_under_load(Fixture *fixture, gconstpointer data)
{
    Reader reader = { 0 };
    GThread *thread;

    make_file(fixture, MIB);
    set_up_late(fixture);
    reader.client = fixture_log_in(fixture);
    thread = g_thread_new("reader", read_in_thread, &reader);
    for (guint i = 0; i < 40; i++) {
        set_offline(fixture, i % 2 == 0);
        fixture_finish(fixture);
    }
    g_atomic_int_set(&reader.is_ready, 1);
    g_thread_join(thread);
    g_assert_cmpuint(reader.n_answers, >, 1);
    client_free(reader.client);
}

static void
test_stop_while_offline(Fixture *fixture, gconstpointer data)
{
    make_file(fixture, MIB);
    set_up_late(fixture);
    set_offline(fixture, TRUE);
    fixture_finish(fixture);
    fixture_restart(fixture);
    g_assert_cmpint(get_late(fixture)->state, ==, BACKSTORE_ONLINE);
}

static void
on_statistics(const ServiceStatistics *statistics, gpointer data)
{
    *(gboolean *)data = TRUE;
}

static void
test_allocated_size(Fixture *fixture, gconstpointer data)
{
    g_autofree char *path = late_path(fixture);
    g_autofree char *zeros = g_malloc0(8 * MIB);
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("file", "late");
    autofd int fd = -1;
    gboolean told = FALSE;

    g_free(spec->path);
    spec->path = g_strdup(path);
    spec->create = TRUE;
    spec->size = 8 * MIB;
    service_create_backstore(fixture->service, spec, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_cmpuint(get_late(fixture)->allocated_size, <, 8 * MIB);

    fd = open(path, O_WRONLY | O_CLOEXEC);
    g_assert_cmpint(write(fd, zeros, 8 * MIB), ==, 8 * MIB);
    g_assert_cmpint(fsync(fd), ==, 0);
    /* Statistics do not wait long for file systems: what comes too late is there the next time */
    while (get_late(fixture)->allocated_size < 8 * MIB) {
        told = FALSE;
        service_get_statistics(fixture->service, on_statistics, &told);
        while (!told)
            (void)g_main_context_iteration(NULL, TRUE);
    }
}

static void
delete_with_file(Fixture *fixture)
{
    service_delete_backstore(fixture->service, "late", TRUE, &fixture->options, fixture_on_done,
                             fixture);
}

/* A file of somebody else is not deleted, one of our own is, also after a restart */
static void
test_delete_file(Fixture *fixture, gconstpointer data)
{
    g_autofree char *path = late_path(fixture);
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("file", "late");

    make_file(fixture, MIB);
    g_free(spec->path);
    spec->path = g_strdup(path);
    spec->created = TRUE; /* has no effect */
    service_create_backstore(fixture->service, spec, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    delete_with_file(fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
    g_assert_true(g_file_test(path, G_FILE_TEST_EXISTS));
    service_delete_backstore(fixture->service, "late", FALSE, &fixture->options, fixture_on_done,
                             fixture);
    fixture_finish(fixture);
    g_assert_cmpint(g_unlink(path), ==, 0);

    spec->create = TRUE;
    spec->size = MIB;
    service_create_backstore(fixture->service, spec, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    fixture_restart(fixture);
    g_assert_true(get_late(fixture)->spec->created);
    delete_with_file(fixture);
    fixture_finish(fixture);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
}

static gboolean
has_failed_portal(Fixture *fixture)
{
    const ModelPortalGroup *group = model_find_portal_group(service_get_model(fixture->service), 1);

    for (guint i = 0; i < group->portals->len; i++) {
        const ModelPortal *portal = g_ptr_array_index(group->portals, i);

        if (portal->state == PORTAL_FAILED)
            return TRUE;
    }
    return FALSE;
}

static gboolean
all_portals_listen(Fixture *fixture)
{
    return !has_failed_portal(fixture);
}

static void
test_portal_is_retried(Fixture *fixture, gconstpointer data)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    g_autofree char *directory = g_build_filename(fixture->state_dir, "portal-groups", NULL);
    g_autofree char *text = NULL;
    guint16 port = free_port_reserve();
    autofd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    text = g_strdup_printf("[PortalGroup]\nTag=1\n[Portal 1]\nAddress=127.0.0.1\nPort=%u\n", port);
    fixture_write(directory, "1.conf", text);
    fixture_restart(fixture);
    g_assert_true(has_failed_portal(fixture));
    g_assert_cmpuint(fixture->service->portal_retry, !=, 0);

    listener_retry(fixture->service);
    g_assert_true(has_failed_portal(fixture));
    fd_close(&fd);
    listener_retry(fixture->service);
    fixture_wait(fixture, all_portals_listen);
}

static void
test_resize(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;

    make_file(fixture, MIB);
    set_up_late(fixture);
    client = fixture_log_in(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    service_resize_backstore(fixture->service, "late", 2 * MIB, FALSE, &fixture->options,
                             fixture_on_done, fixture);
    fixture_finish(fixture);
    assert_sense(client, 0, CAPACITY_CHANGED);
    assert_sense(client, 0, 0);
    g_assert_cmpint(client_read_block(client, 0, 4095), ==, 0);

    /* What opens it again has nothing new to tell about its size */
    set_offline(fixture, TRUE);
    fixture_finish(fixture);
    service_resize_backstore(fixture->service, "late", 3 * MIB, FALSE, &fixture->options,
                             fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_STORAGE_ERROR);
    set_offline(fixture, FALSE);
    fixture_finish(fixture);
    assert_sense(client, 0, POWER_ON);
    assert_sense(client, 0, READY_CHANGED);
    assert_sense(client, 0, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_add("/control/absent/file-comes-later", test_file_comes_later);
    fixture_add("/control/absent/offline-and-online", test_offline_and_online);
    fixture_add("/control/absent/online-in-vain", test_online_in_vain);
    fixture_add("/control/absent/offline-is-refused", test_offline_is_refused);
    fixture_add("/control/absent/failed-flush", test_failed_flush);
    fixture_add("/control/absent/device-goes", test_device_goes);
    fixture_add("/control/absent/comes-and-goes-under-load", test_comes_and_goes_under_load);
    fixture_add("/control/absent/stop-while-offline", test_stop_while_offline);
    fixture_add("/control/absent/allocated-size", test_allocated_size);
    fixture_add("/control/absent/delete-file", test_delete_file);
    fixture_add("/control/absent/portal-is-retried", test_portal_is_retried);
    fixture_add("/control/absent/resize", test_resize);
    return g_test_run();
}
