/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* A drive whose medium the administrator changes, and an initiator sees and ejects */

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"
#include "fixture.h"
#include "util/error.h"

#define NO_MEDIUM         0x023a01
#define NO_MEDIUM_OPEN    0x023a02
#define NO_MEDIUM_ON_DISK 0x023a00
#define POWER_ON          0x062900
#define MEDIUM_CHANGED    0x062800

#define BLOCK 2048

static char *
make_image(const Fixture *fixture, const char *name, gsize n_blocks)
{
    char *path = g_build_filename(fixture->base, name, NULL);
    g_autofree char *data = g_malloc0(n_blocks * BLOCK);

    g_assert_true(g_file_set_contents(path, data, (gssize)(n_blocks * BLOCK), NULL));
    return path;
}

static void
create_unit(Fixture *fixture, const char *device_type, const char *path)
{
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("file", "cd");

    g_free(spec->device_type);
    spec->device_type = g_strdup(device_type);
    g_free(spec->path);
    spec->path = g_strdup(path);
    spec->removable = strcmp(device_type, "disk") == 0;
    service_create_backstore(fixture->service, spec, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    fixture_add_target(fixture);
    fixture_add_lun(fixture, "cd", 0);
}

static void
create_drive(Fixture *fixture, const char *path)
{
    create_unit(fixture, "cdrom", path);
}

static const ModelBackstore *
get_drive(Fixture *fixture)
{
    return fixture_get_backstore(fixture, "cd");
}

static void
load(Fixture *fixture, const char *path, gboolean force)
{
    service_load_medium(fixture->service, "cd", path, force, &fixture->options, fixture_on_done,
                        fixture);
}

static void
eject(Fixture *fixture, gboolean force)
{
    service_eject_medium(fixture->service, "cd", force, &fixture->options, fixture_on_done,
                         fixture);
}

static Client *
log_in(Fixture *fixture)
{
    Client *client = fixture_log_in(fixture);

    (void)client_settle(client, 0);
    return client;
}

static void
log_out(Fixture *fixture, Client *client)
{
    client_free(client);
    fixture_wait(fixture, fixture_has_no_session);
}

static void
assert_ready(Client *client, guint32 sense)
{
    int status = client_test_unit_ready(client, 0);

    g_assert_cmpint(status, ==, sense == 0 ? 0 : 2);
    g_assert_cmphex(client->sense, ==, sense);
}

static void
assert_path_is_saved(Fixture *fixture, const char *path)
{
    g_autofree char *text = fixture_read(fixture, "backstores", "cd.conf");
    g_autofree char *line = g_strdup_printf("\nPath=%s\n", path);

    g_assert_nonnull(text);
    if (path != NULL)
        g_assert_nonnull(strstr(text, line));
    else
        g_assert_null(strstr(text, "\nPath="));
}

static void
test_empty_drive(Fixture *fixture, gconstpointer data)
{
    Client *client;

    create_drive(fixture, "");
    g_assert_cmpint(get_drive(fixture)->state, ==, BACKSTORE_ONLINE);
    g_assert_cmpint(get_drive(fixture)->medium, ==, MEDIUM_NONE);
    g_assert_true(get_drive(fixture)->read_only);
    service_set_backstore_read_only(fixture->service, "cd", FALSE, &fixture->options,
                                    fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_NOT_SUPPORTED);
    g_assert_cmpuint(get_drive(fixture)->block_size, ==, BLOCK);
    client = log_in(fixture);
    assert_ready(client, NO_MEDIUM);
    log_out(fixture, client);

    fixture_restart(fixture);
    g_assert_cmpint(get_drive(fixture)->state, ==, BACKSTORE_ONLINE);
    g_assert_cmpint(get_drive(fixture)->medium, ==, MEDIUM_NONE);
    client = log_in(fixture);
    assert_ready(client, NO_MEDIUM);
    log_out(fixture, client);
}

static void
test_load(Fixture *fixture, gconstpointer data)
{
    g_autofree char *small = make_image(fixture, "small.iso", 10);
    g_autofree char *large = make_image(fixture, "large.iso", 20);
    Client *client;

    create_drive(fixture, "");
    client = log_in(fixture);
    load(fixture, small, FALSE);
    fixture_finish(fixture);
    g_assert_cmpint(get_drive(fixture)->medium, ==, MEDIUM_LOADED);
    g_assert_cmpuint(get_drive(fixture)->size, ==, 10 * BLOCK);
    g_assert_true(get_drive(fixture)->read_only);
    assert_path_is_saved(fixture, small);
    assert_ready(client, MEDIUM_CHANGED);
    assert_ready(client, 0);
    g_assert_cmpint(client_read_block(client, 0, 9), ==, 0);
    g_assert_cmpint(client_read_block(client, 0, 10), ==, 2);

    load(fixture, large, FALSE);
    fixture_finish(fixture);
    g_assert_cmpuint(get_drive(fixture)->size, ==, 20 * BLOCK);
    assert_ready(client, MEDIUM_CHANGED);
    assert_ready(client, 0);
    g_assert_cmpint(client_read_block(client, 0, 19), ==, 0);

    /* The same once more: it may be another file of that name */
    load(fixture, large, FALSE);
    fixture_finish(fixture);
    assert_ready(client, MEDIUM_CHANGED);
    log_out(fixture, client);

    fixture_restart(fixture);
    g_assert_cmpuint(get_drive(fixture)->size, ==, 20 * BLOCK);
}

static void
test_load_in_vain(Fixture *fixture, gconstpointer data)
{
    g_autofree char *image = make_image(fixture, "image.iso", 10);
    Client *client;

    create_drive(fixture, image);
    client = log_in(fixture);
    load(fixture, "/nowhere/image.iso", FALSE);
    fixture_finish_with(fixture, LUNPORT_ERROR_STORAGE_NOT_FOUND);
    load(fixture, "image.iso", FALSE);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
    load(fixture, "", FALSE);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
    assert_path_is_saved(fixture, image);
    assert_ready(client, 0);
    log_out(fixture, client);
}

static void
test_eject(Fixture *fixture, gconstpointer data)
{
    g_autofree char *image = make_image(fixture, "image.iso", 10);
    Client *client;

    create_drive(fixture, image);
    client = log_in(fixture);
    assert_ready(client, 0);
    eject(fixture, FALSE);
    fixture_finish(fixture);
    g_assert_cmpint(get_drive(fixture)->medium, ==, MEDIUM_NONE);
    g_assert_cmpint(get_drive(fixture)->state, ==, BACKSTORE_ONLINE);
    g_assert_cmpstr(get_drive(fixture)->spec->path, ==, "");
    g_assert_cmpuint(get_drive(fixture)->size, ==, 0);
    assert_path_is_saved(fixture, NULL);
    assert_ready(client, NO_MEDIUM_OPEN);
    eject(fixture, FALSE); /* there is nothing to do */
    fixture_finish(fixture);

    load(fixture, image, FALSE);
    fixture_finish(fixture);
    assert_ready(client, MEDIUM_CHANGED);
    assert_ready(client, 0);
    log_out(fixture, client);
}

static void
test_prevented(Fixture *fixture, gconstpointer data)
{
    g_autofree char *image = make_image(fixture, "image.iso", 10);
    g_autofree char *other = make_image(fixture, "other.iso", 20);
    Client *client;

    create_drive(fixture, image);
    client = log_in(fixture);
    g_assert_cmpint(client_prevent_removal(client, 0, TRUE), ==, 0);
    eject(fixture, FALSE);
    fixture_finish_with(fixture, LUNPORT_ERROR_BUSY);
    load(fixture, other, FALSE);
    fixture_finish_with(fixture, LUNPORT_ERROR_BUSY);
    assert_path_is_saved(fixture, image);
    assert_ready(client, 0);
    load(fixture, other, TRUE);
    fixture_finish(fixture);
    assert_ready(client, MEDIUM_CHANGED);
    eject(fixture, FALSE); /* the nexus prevents it still */
    fixture_finish_with(fixture, LUNPORT_ERROR_BUSY);
    eject(fixture, TRUE);
    fixture_finish(fixture);
    assert_ready(client, NO_MEDIUM_OPEN);
    log_out(fixture, client);
}

static gboolean
is_ejected(Fixture *fixture)
{
    return get_drive(fixture)->medium == MEDIUM_EJECTED;
}

static gboolean
is_loaded(Fixture *fixture)
{
    return get_drive(fixture)->medium == MEDIUM_LOADED;
}

static void
test_initiator_ejects(Fixture *fixture, gconstpointer data)
{
    g_autofree char *image = make_image(fixture, "image.iso", 10);
    Client *client;

    create_drive(fixture, image);
    client = log_in(fixture);
    g_assert_cmpint(client_move_medium(client, 0, FALSE), ==, 0);
    fixture_wait(fixture, is_ejected);
    assert_ready(client, NO_MEDIUM_OPEN);
    g_assert_cmpint(client_move_medium(client, 0, TRUE), ==, 0);
    fixture_wait(fixture, is_loaded);
    assert_ready(client, 0);

    /* The administrator can load it too */
    g_assert_cmpint(client_move_medium(client, 0, FALSE), ==, 0);
    fixture_wait(fixture, is_ejected);
    load(fixture, image, FALSE);
    fixture_finish(fixture);
    g_assert_true(is_loaded(fixture));
    assert_ready(client, MEDIUM_CHANGED);

    /* It is in again after a start */
    g_assert_cmpint(client_move_medium(client, 0, FALSE), ==, 0);
    fixture_wait(fixture, is_ejected);
    log_out(fixture, client);
    fixture_restart(fixture);
    g_assert_true(is_loaded(fixture));
}

static void
test_not_kept(Fixture *fixture, gconstpointer data)
{
    g_autofree char *image = make_image(fixture, "image.iso", 10);
    g_autofree char *other = make_image(fixture, "other.iso", 20);

    create_drive(fixture, image);
    fixture->options.persist = FALSE;
    load(fixture, other, FALSE);
    fixture_finish(fixture);
    fixture->options.persist = TRUE;
    g_assert_cmpstr(get_drive(fixture)->spec->path, ==, other);
    assert_path_is_saved(fixture, image);
    fixture_restart(fixture);
    g_assert_cmpstr(get_drive(fixture)->spec->path, ==, image);
}

/* When the configuration cannot be written the old medium comes back */
static void
test_save_fails(Fixture *fixture, gconstpointer data)
{
    g_autofree char *image = make_image(fixture, "image.iso", 10);
    g_autofree char *other = make_image(fixture, "other.iso", 20);
    g_autofree char *file = g_build_filename(fixture->state_dir, "backstores", "cd.conf", NULL);
    Client *client;

    create_drive(fixture, image);
    client = log_in(fixture);
    /* A directory in place of the file makes rename() fail, for root too */
    g_assert_cmpint(unlink(file), ==, 0);
    g_assert_cmpint(mkdir(file, 0700), ==, 0);
    load(fixture, other, FALSE);
    fixture_finish_with(fixture, LUNPORT_ERROR_STORAGE_ERROR);
    g_assert_cmpstr(get_drive(fixture)->spec->path, ==, image);
    g_assert_true(is_loaded(fixture));
    assert_ready(client, MEDIUM_CHANGED);
    assert_ready(client, 0);
    eject(fixture, FALSE);
    fixture_finish_with(fixture, LUNPORT_ERROR_STORAGE_ERROR);
    assert_ready(client, MEDIUM_CHANGED);
    g_assert_cmpint(rmdir(file), ==, 0);
    log_out(fixture, client);
}

static void
test_removable_disk(Fixture *fixture, gconstpointer data)
{
    g_autofree char *image = make_image(fixture, "image.img", 10);
    g_autofree char *other = make_image(fixture, "other.img", 20);
    Client *client;

    create_unit(fixture, "disk", image);
    g_assert_true(is_loaded(fixture));
    client = log_in(fixture);
    eject(fixture, FALSE);
    fixture_finish(fixture);
    g_assert_cmpint(get_drive(fixture)->medium, ==, MEDIUM_NONE);
    assert_ready(client, POWER_ON);
    assert_ready(client, NO_MEDIUM_ON_DISK);
    load(fixture, other, FALSE);
    fixture_finish(fixture);
    assert_ready(client, MEDIUM_CHANGED);
    assert_ready(client, 0);
    g_assert_cmpuint(get_drive(fixture)->size, ==, 20 * BLOCK);
    log_out(fixture, client);
}

static void
test_not_removable(Fixture *fixture, gconstpointer data)
{
    fixture_add_ram(fixture, "cd");
    eject(fixture, FALSE);
    fixture_finish_with(fixture, LUNPORT_ERROR_NOT_SUPPORTED);
    load(fixture, "/image.iso", FALSE);
    fixture_finish_with(fixture, LUNPORT_ERROR_NOT_SUPPORTED);
}

static void
test_offline(Fixture *fixture, gconstpointer data)
{
    g_autofree char *image = make_image(fixture, "image.iso", 10);

    create_drive(fixture, "");
    service_set_backstore_offline(fixture->service, "cd", TRUE, &fixture->options, fixture_on_done,
                                  fixture);
    fixture_finish(fixture);
    g_assert_cmpint(get_drive(fixture)->state, ==, BACKSTORE_OFFLINE);
    load(fixture, image, FALSE);
    fixture_finish_with(fixture, LUNPORT_ERROR_STORAGE_ERROR);
    service_set_backstore_offline(fixture->service, "cd", FALSE, &fixture->options, fixture_on_done,
                                  fixture);
    fixture_finish(fixture);
    g_assert_cmpint(get_drive(fixture)->state, ==, BACKSTORE_ONLINE);
    load(fixture, image, FALSE);
    fixture_finish(fixture);
    g_assert_true(is_loaded(fixture));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_add("/control/medium/empty-drive", test_empty_drive);
    fixture_add("/control/medium/load", test_load);
    fixture_add("/control/medium/load-in-vain", test_load_in_vain);
    fixture_add("/control/medium/eject", test_eject);
    fixture_add("/control/medium/prevented", test_prevented);
    fixture_add("/control/medium/initiator-ejects", test_initiator_ejects);
    fixture_add("/control/medium/not-kept", test_not_kept);
    fixture_add("/control/medium/save-fails", test_save_fails);
    fixture_add("/control/medium/removable-disk", test_removable_disk);
    fixture_add("/control/medium/not-removable", test_not_removable);
    fixture_add("/control/medium/offline", test_offline);
    return g_test_run();
}
