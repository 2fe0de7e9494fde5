/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Key files as they are found at start and at reload, and storage that is not there */

#include <glib/gstdio.h>
#include <string.h>

#include "client.h"
#include "fixture.h"
#include "free-port.h"
#include "iscsi/keytable.h"
#include "model/schema.h"
#include "util/error.h"

#define UUID  "0d4f3a52-6f0e-4c5b-9d3e-5b8f8c1f2a34"
#define UUID2 "0d4f3a52-6f0e-4c5b-9d3e-5b8f8c1f2a35"
#define RAM   "[Backstore]\nName=hand\nType=ram\nSize=1M\nUuid=" UUID "\n"

static void
reload(Fixture *fixture)
{
    service_reload(fixture->service, &fixture->options, fixture_on_done, fixture);
}

static void
write_state(Fixture *fixture, const char *directory, const char *leaf, const char *text)
{
    g_autofree char *path = g_build_filename(fixture->state_dir, directory, NULL);

    fixture_write(path, leaf, text);
}

static void
test_bad_file_hurts_nobody_else(Fixture *fixture, gconstpointer data)
{
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("ram", "bad");
    g_autofree char *text = NULL;

    fixture_add_ram(fixture, "d");
    fixture_add_target(fixture);
    fixture_add_lun(fixture, "d", 0);
    write_state(fixture, "backstores", "bad.conf", "rubbish");
    fixture_restart(fixture);
    g_assert_true(model_find_lun(fixture_get_target(fixture), 0)->is_online);

    /* Its name is taken, so that it is not written over */
    spec->size = 1 << 20;
    service_create_backstore(fixture->service, spec, &fixture->options, fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_ALREADY_EXISTS);
    g_assert_nonnull(strstr(fixture->error->message, "bad.conf"));
    text = fixture_read(fixture, "backstores", "bad.conf");
    g_assert_cmpstr(text, ==, "rubbish");
}

static void
test_files_by_hand(Fixture *fixture, gconstpointer data)
{
    fixture_write(fixture->config_dir, "any-name.conf", RAM);
    fixture_write(fixture->config_dir, "t.conf",
                  "[Target]\nName=" TARGET
                  "\nEnabled=yes\nAccessMode=open\n[Lun 0]\nBackstore=hand\n");
    fixture_restart(fixture);
    g_assert_true(model_find_lun(fixture_get_target(fixture), 0)->is_online);

    service_set_target_alias(fixture->service, TARGET, "a", &fixture->options, fixture_on_done,
                             fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_READ_ONLY_CONFIGURATION);
    service_delete_target(fixture->service, TARGET, FALSE, &fixture->options, fixture_on_done,
                          fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_READ_ONLY_CONFIGURATION);
    fixture->options.persist = FALSE;
    service_set_target_alias(fixture->service, TARGET, "a", &fixture->options, fixture_on_done,
                             fixture);
    fixture_finish(fixture);
}

static void
test_same_name_in_both_places(Fixture *fixture, gconstpointer data)
{
    fixture_add_ram(fixture, "hand");
    fixture_write(fixture->config_dir, "hand.conf", RAM);
    fixture_restart(fixture);
    g_assert_cmpstr(fixture_get_backstore(fixture, "hand")->spec->uuid, ==, UUID);
    g_assert_cmpint(fixture_get_backstore(fixture, "hand")->origin, ==, MODEL_ORIGIN_CONFIG);
}

static void
test_same_identity_in_two_files(Fixture *fixture, gconstpointer data)
{
    fixture_write(fixture->config_dir, "1.conf", RAM);
    fixture_write(fixture->config_dir, "2.conf",
                  "[Backstore]\nName=copy\nType=ram\nSize=1M\nUuid=" UUID "\n");
    fixture_restart(fixture);
    g_assert_cmpuint(service_get_model(fixture->service)->backstores->len, ==, 1);
    g_assert_nonnull(
        model_find_reserved(service_get_model(fixture->service), MODEL_BACKSTORE, "copy"));
}

static void
test_lun_without_backstore(Fixture *fixture, gconstpointer data)
{
    fixture_write(fixture->config_dir, "t.conf",
                  "[Target]\nName=" TARGET "\nEnabled=yes\n[Lun 0]\nBackstore=hand\n");
    fixture_restart(fixture);
    g_assert_false(model_find_lun(fixture_get_target(fixture), 0)->is_online);

    fixture_write(fixture->config_dir, "hand.conf", RAM);
    reload(fixture);
    fixture_finish(fixture);
    g_assert_nonnull(model_find_lun(fixture_get_target(fixture), 0)->backstore);
}

static void
test_reload_adds_and_changes(Fixture *fixture, gconstpointer data)
{
    guint64 generation = service_get_model(fixture->service)->generation;

    fixture_write(fixture->config_dir, "t.conf", "[Target]\nName=" TARGET "\nEnabled=yes\n");
    reload(fixture);
    fixture_finish(fixture);
    g_assert_cmpint(fixture_get_target(fixture)->state, ==, TARGET_ONLINE);
    g_assert_cmpuint(service_get_model(fixture->service)->generation, >, generation);

    fixture_write(fixture->config_dir, "t.conf", "[Target]\nName=" TARGET "\nAlias=now\n");
    reload(fixture);
    fixture_finish(fixture);
    g_assert_cmpstr(fixture_get_target(fixture)->spec->alias, ==, "now");
    g_assert_cmpint(fixture_get_target(fixture)->state, ==, TARGET_DISABLED);
}

/* A portal that stays is told by another address; the socket is the same */
static void
test_reload_changes_the_announced_address(Fixture *fixture, gconstpointer data)
{
    static const char text[] = "[PortalGroup]\nTag=7\n"
                               "[Portal 1]\nAddress=127.0.0.1\nPort=%u\n%s";
    guint16 port = free_port_reserve();
    g_autofree char *before = g_strdup_printf(text, port, "AnnounceAddress=192.0.2.7\n");
    g_autofree char *after = g_strdup_printf(text, port, "AnnounceAddress=192.0.2.8:3261\n");
    g_autofree char *without = g_strdup_printf(text, port, "");
    const ModelPortal *portal;

    fixture_write(fixture->config_dir, "g.conf", before);
    reload(fixture);
    fixture_finish(fixture);
    portal = model_find_portal(service_get_model(fixture->service), "127.0.0.1", port);
    g_assert_nonnull(portal);
    g_assert_cmpstr(portal->announce, ==, "192.0.2.7");
    fixture_write(fixture->config_dir, "g.conf", after);
    reload(fixture);
    fixture_finish(fixture);
    g_assert_true(portal ==
                  model_find_portal(service_get_model(fixture->service), "127.0.0.1", port));
    g_assert_cmpstr(portal->announce, ==, "192.0.2.8:3261");
    g_assert_cmpint(portal->state, ==, PORTAL_LISTENING);
    fixture_write(fixture->config_dir, "g.conf", without);
    reload(fixture);
    fixture_finish(fixture);
    g_assert_cmpstr(portal->announce, ==, "");
}

static void
test_reload_with_a_bad_file_changes_nothing(Fixture *fixture, gconstpointer data)
{
    fixture_write(fixture->config_dir, "a.conf", RAM);
    fixture_write(fixture->config_dir, "b.conf", "[Target]\nName=disk\n");
    reload(fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
    g_assert_cmpuint(service_get_model(fixture->service)->backstores->len, ==, 0);
}

static void
remove_config(Fixture *fixture, const char *leaf)
{
    g_autofree char *path = g_build_filename(fixture->config_dir, leaf, NULL);

    g_assert_cmpint(g_unlink(path), ==, 0);
}

static void
test_reload_removes(Fixture *fixture, gconstpointer data)
{
    const Model *model = service_get_model(fixture->service);
    g_autofree char *group = g_strdup_printf(
        "[PortalGroup]\nTag=9\n[Portal 1]\nAddress=127.0.0.1\nPort=%u\n", free_port_reserve());

    fixture_write(fixture->config_dir, "a.conf", RAM);
    fixture_write(fixture->config_dir, "g.conf", group);
    fixture_write(fixture->config_dir, "t.conf",
                  "[Target]\nName=" TARGET "\nPortalGroups=9\n[Lun 0]\nBackstore=hand\n");
    reload(fixture);
    fixture_finish(fixture);
    g_assert_cmpuint(fixture_get_target(fixture)->luns->len, ==, 1);
    g_assert_nonnull(model_find_portal_group(model, 9));
    fixture->options.persist = FALSE;
    fixture_add_ram(fixture, "passing");

    remove_config(fixture, "a.conf");
    remove_config(fixture, "g.conf");
    remove_config(fixture, "t.conf");
    reload(fixture);
    fixture_finish(fixture);
    g_assert_cmpuint(model->targets->len, ==, 0);
    g_assert_null(model_find_portal_group(model, 9));
    g_assert_null(model_find_backstore(model, "hand"));
    g_assert_nonnull(model_find_backstore(model, "passing"));
}

static void
test_reload_keeps_what_is_in_use(Fixture *fixture, gconstpointer data)
{
    fixture_write(fixture->config_dir, "a.conf", RAM);
    reload(fixture);
    fixture_finish(fixture);
    fixture_add_target(fixture);
    fixture_add_lun(fixture, "hand", 0);
    remove_config(fixture, "a.conf");
    reload(fixture);
    fixture_finish(fixture);
    g_assert_cmpint(fixture_get_backstore(fixture, "hand")->state, ==, BACKSTORE_ONLINE);
}

static gboolean
is_online(Fixture *fixture)
{
    return fixture_get_backstore(fixture, "d")->state == BACKSTORE_ONLINE;
}

static gboolean
is_accepted(Fixture *fixture)
{
    return service_get_model(fixture->service)->sessions->len > 0;
}

/* A disk that is not there: its logical unit waits, the other one works, and it comes back by itself */
static void
test_missing_file_comes_back(Fixture *fixture, gconstpointer data)
{
    g_autofree char *path = g_build_filename(fixture->base, "sub", "disk", NULL);
    g_autofree char *directory = g_path_get_dirname(path);
    g_autofree char *text =
        g_strdup_printf("[Backstore]\nName=d\nType=file\nPath=%s\nUuid=" UUID2 "\n", path);
    g_autofree char *zeros = g_malloc0(1 << 20);
    g_autoptr(Client) client = NULL;

    fixture_add_ram(fixture, "other");
    fixture_add_target(fixture);
    fixture_add_lun(fixture, "other", 1);
    write_state(fixture, "backstores", "d.conf", text);
    fixture_restart(fixture);
    fixture_add_lun(fixture, "d", 0);
    g_assert_cmpint(fixture_get_backstore(fixture, "d")->state, ==, BACKSTORE_OFFLINE);
    g_assert_error(fixture_get_backstore(fixture, "d")->error, LUNPORT_ERROR,
                   LUNPORT_ERROR_STORAGE_NOT_FOUND);
    g_assert_false(model_find_lun(fixture_get_target(fixture), 0)->is_online);

    client = fixture_connect(fixture);
    g_assert_cmphex(client_login(client, TARGET), ==, 0);
    fixture_wait(fixture, is_accepted);
    g_assert_cmpint(client_settle(client, 1), ==, 0);
    g_assert_cmpint(client_settle(client, 0), ==, 2);

    g_assert_cmpint(g_mkdir(directory, 0700), ==, 0);
    g_assert_true(g_file_set_contents(path, zeros, 1 << 20, NULL));
    fixture_wait(fixture, is_online);
    g_assert_true(model_find_lun(fixture_get_target(fixture), 0)->is_online);
    g_assert_null(fixture_get_backstore(fixture, "d")->error);
}

/* The two tables are of two layers; where both have a key they must agree */
static void
test_parameters_fit_the_key_table(void)
{
    guint n;
    const SchemaOption *rows = schema_options(&n);
    guint n_shared = 0;

    for (guint i = 0; i < n; i++) {
        const KeyRow *row = rows[i].scope == SCHEMA_PARAMETER ? key_find(rows[i].key) : NULL;
        const char *preset = rows[i].preset;
        guint32 value;

        if (row == NULL || !row->settable)
            continue;
        n_shared++;
        if (rows[i].type == SCHEMA_BOOLEAN)
            preset = strcmp(preset, "yes") == 0 ? "Yes" : "No";
        g_assert_true(key_value_parse(row, preset, &value, NULL));
        g_assert_cmpuint(value, ==, row->our_default);
        if (rows[i].type == SCHEMA_UINT32)
            g_assert_cmpuint(rows[i].min, ==, row->min);
        if (rows[i].type == SCHEMA_UINT32)
            g_assert_cmpuint(rows[i].max, ==, row->our_max);
    }
    g_assert_cmpuint(n_shared, ==, 12);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_add("/control/configure/bad-file-hurts-nobody-else", test_bad_file_hurts_nobody_else);
    fixture_add("/control/configure/files-by-hand", test_files_by_hand);
    fixture_add("/control/configure/same-name-in-both-places", test_same_name_in_both_places);
    fixture_add("/control/configure/same-identity-in-two-files", test_same_identity_in_two_files);
    fixture_add("/control/configure/lun-without-backstore", test_lun_without_backstore);
    fixture_add("/control/configure/reload-adds-and-changes", test_reload_adds_and_changes);
    fixture_add("/control/configure/reload-changes-the-announced-address",
                test_reload_changes_the_announced_address);
    fixture_add("/control/configure/reload-with-a-bad-file",
                test_reload_with_a_bad_file_changes_nothing);
    fixture_add("/control/configure/reload-removes", test_reload_removes);
    fixture_add("/control/configure/reload-keeps-what-is-in-use", test_reload_keeps_what_is_in_use);
    fixture_add("/control/configure/missing-file-comes-back", test_missing_file_comes_back);
    g_test_add_func("/control/configure/parameters-fit-the-key-table",
                    test_parameters_fit_the_key_table);
    return g_test_run();
}
