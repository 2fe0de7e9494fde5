/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Changes of the configuration: what they do, what they refuse, what is kept of them */

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "free-port.h"
#include "util/error.h"

static Model *
get_model(Fixture *fixture)
{
    return service_get_model(fixture->service);
}

static void
test_create_backstore(Fixture *fixture, gconstpointer data)
{
    ModelBackstore *backstore;
    g_autofree char *text = NULL;

    fixture_add_ram(fixture, "d");
    backstore = fixture_get_backstore(fixture, "d");
    g_assert_true(fixture->object == backstore);
    g_assert_cmpint(backstore->state, ==, BACKSTORE_ONLINE);
    g_assert_cmpuint(backstore->size, ==, 1 << 20);
    g_assert_true(g_str_has_prefix(backstore->wwn, "naa.3"));
    g_assert_true(g_uuid_string_is_valid(backstore->spec->uuid));
    text = fixture_read(fixture, "backstores", "d.conf");
    g_assert_nonnull(strstr(text, backstore->spec->uuid));
}

static void
resize(Fixture *fixture, guint64 size, gboolean allow_shrink)
{
    service_resize_backstore(fixture->service, "d", size, allow_shrink, &fixture->options,
                             fixture_on_done, fixture);
}

static void
test_resize_memory(Fixture *fixture, gconstpointer data)
{
    g_autofree char *text = NULL;

    fixture_add_ram(fixture, "d");
    resize(fixture, 2 << 20, FALSE);
    fixture_finish(fixture);
    g_assert_cmpuint(fixture_get_backstore(fixture, "d")->size, ==, 2 << 20);
    text = fixture_read(fixture, "backstores", "d.conf");
    g_assert_nonnull(strstr(text, "\nSize=2M\n"));
    fixture_restart(fixture);
    g_assert_cmpuint(fixture_get_backstore(fixture, "d")->size, ==, 2 << 20);
}

static void
test_resize_is_refused(Fixture *fixture, gconstpointer data)
{
    resize(fixture, 1 << 20, FALSE);
    fixture_finish_with(fixture, LUNPORT_ERROR_NO_SUCH_OBJECT);
    fixture_add_ram(fixture, "d");
    resize(fixture, 1000, TRUE);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
    resize(fixture, 1 << 19, FALSE);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
    resize(fixture, (guint64)1 << 60, FALSE);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
    fixture->options.dry_run = TRUE;
    resize(fixture, 2 << 20, FALSE);
    fixture_finish(fixture);
    g_assert_cmpuint(fixture_get_backstore(fixture, "d")->size, ==, 1 << 20);
}

static void
create(Fixture *fixture, const BackstoreSpec *spec)
{
    service_create_backstore(fixture->service, spec, &fixture->options, fixture_on_done, fixture);
}

/* The file has the size, and nothing else says it */
static void
test_resize_file(Fixture *fixture, gconstpointer data)
{
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("file", "d");
    GStatBuf st;

    spec->size = 1 << 20;
    spec->create = TRUE;
    create(fixture, spec);
    fixture_finish(fixture);
    resize(fixture, 3 << 20, FALSE);
    fixture_finish(fixture);
    g_assert_cmpint(g_stat(fixture_get_backstore(fixture, "d")->spec->path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 3 << 20);
    resize(fixture, 2 << 20, TRUE);
    fixture_finish(fixture);
    g_assert_cmpint(g_stat(fixture_get_backstore(fixture, "d")->spec->path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 2 << 20);
    fixture_restart(fixture);
    g_assert_cmpuint(fixture_get_backstore(fixture, "d")->size, ==, 2 << 20);
}

/* Whoever asked for all blocks wants those of a larger file too, also after a restart */
static void
test_resize_preallocates(Fixture *fixture, gconstpointer data)
{
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("file", "d");
    g_autofree char *text = NULL;
    GStatBuf st;

    spec->size = 1 << 20;
    spec->create = TRUE;
    spec->sparse = FALSE;
    create(fixture, spec);
    fixture_finish(fixture);
    text = fixture_read(fixture, "backstores", "d.conf");
    g_assert_nonnull(strstr(text, "\nSparse=no\n"));
    fixture_restart(fixture);
    resize(fixture, 3 << 20, FALSE);
    fixture_finish(fixture);
    g_assert_cmpint(g_stat(fixture_get_backstore(fixture, "d")->spec->path, &st), ==, 0);
    g_assert_cmpint((gint64)st.st_blocks * 512, >=, 3 << 20);
}

/* Somebody else has changed the file */
static void
test_resize_learns(Fixture *fixture, gconstpointer data)
{
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("file", "d");

    spec->size = 1 << 20;
    spec->create = TRUE;
    create(fixture, spec);
    fixture_finish(fixture);
    g_assert_cmpint(truncate(fixture_get_backstore(fixture, "d")->spec->path, 2 << 20), ==, 0);
    resize(fixture, 0, FALSE);
    fixture_finish(fixture);
    g_assert_cmpuint(fixture_get_backstore(fixture, "d")->size, ==, 2 << 20);
    g_assert_cmpint(truncate(fixture_get_backstore(fixture, "d")->spec->path, 1 << 20), ==, 0);
    resize(fixture, 0, FALSE);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
    g_assert_cmpuint(fixture_get_backstore(fixture, "d")->size, ==, 2 << 20);
    resize(fixture, 0, TRUE);
    fixture_finish(fixture);
    g_assert_cmpuint(fixture_get_backstore(fixture, "d")->size, ==, 1 << 20);
}

static void
test_backstores_that_are_refused(Fixture *fixture, gconstpointer data)
{
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("ram", "d");
    g_autoptr(BackstoreSpec) bad_name = backstore_spec_new("ram", "../d");
    g_autoptr(BackstoreSpec) bad_type = backstore_spec_new("tape", "e");
    g_autoptr(BackstoreSpec) missing = backstore_spec_new("file", "f");

    fixture_add_ram(fixture, "d");
    spec->size = bad_name->size = bad_type->size = 1 << 20;
    create(fixture, spec);
    fixture_finish_with(fixture, LUNPORT_ERROR_ALREADY_EXISTS);
    create(fixture, bad_name);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_NAME);
    create(fixture, bad_type);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
    g_free(missing->path);
    missing->path = g_strdup("/nonexistent/disk");
    create(fixture, missing);
    fixture_finish_with(fixture, LUNPORT_ERROR_STORAGE_NOT_FOUND);
    g_assert_cmpuint(get_model(fixture)->backstores->len, ==, 1);
}

static void
test_same_identity_is_refused(Fixture *fixture, gconstpointer data)
{
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("ram", "e");

    fixture_add_ram(fixture, "d");
    spec->size = 1 << 20;
    g_free(spec->uuid);
    spec->uuid = g_ascii_strup(fixture_get_backstore(fixture, "d")->spec->uuid, -1);
    create(fixture, spec);
    fixture_finish_with(fixture, LUNPORT_ERROR_ALREADY_EXISTS);
}

static void
test_created_file(Fixture *fixture, gconstpointer data)
{
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("file", "d");

    g_free(spec->path);
    spec->path = g_build_filename(fixture->base, "disk", NULL);
    spec->create = TRUE;
    spec->size = 4 << 20;
    create(fixture, spec);
    fixture_finish(fixture);
    fixture_restart(fixture);
    g_assert_cmpuint(fixture_get_backstore(fixture, "d")->size, ==, 4 << 20);

    service_delete_backstore(fixture->service, "d", TRUE, &fixture->options, fixture_on_done,
                             fixture);
    fixture_finish(fixture);
    g_assert_false(g_file_test(spec->path, G_FILE_TEST_EXISTS));
}

static void
test_failed_save_leaves_nothing(Fixture *fixture, gconstpointer data)
{
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("file", "d");
    g_autofree char *directory = g_build_filename(fixture->state_dir, "backstores", NULL);
    g_autofree char *blocker = g_build_filename(directory, "d.conf", NULL);

    /* A directory in place of the file makes rename() fail, for root too */
    g_assert_cmpint(g_mkdir(blocker, 0700), ==, 0);
    g_free(spec->path);
    spec->path = g_build_filename(fixture->base, "disk", NULL);
    spec->create = TRUE;
    spec->size = 4 << 20;
    create(fixture, spec);
    fixture_finish_with(fixture, LUNPORT_ERROR_STORAGE_ERROR);
    g_assert_false(g_file_test(spec->path, G_FILE_TEST_EXISTS));
    g_assert_cmpuint(get_model(fixture)->backstores->len, ==, 0);
}

static void
test_backstore_in_use(Fixture *fixture, gconstpointer data)
{
    fixture_add_ram(fixture, "d");
    fixture_add_target(fixture);
    fixture_add_lun(fixture, "d", -1);
    service_delete_backstore(fixture->service, "d", FALSE, &fixture->options, fixture_on_done,
                             fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_IN_USE);

    service_delete_lun(fixture->service, TARGET, 0, FALSE, &fixture->options, fixture_on_done,
                       fixture);
    fixture_finish(fixture);
    service_delete_backstore(fixture->service, "d", FALSE, &fixture->options, fixture_on_done,
                             fixture);
    fixture_finish(fixture);
    g_assert_null(fixture_read(fixture, "backstores", "d.conf"));
}

static void
delete_backstore(Fixture *fixture, gboolean persist)
{
    fixture->options.persist = persist;
    service_delete_backstore(fixture->service, "d", FALSE, &fixture->options, fixture_on_done,
                             fixture);
}

static void
test_backstore_of_a_disabled_target(Fixture *fixture, gconstpointer data)
{
    fixture_add_ram(fixture, "d");
    fixture_add_target(fixture);
    fixture_add_lun(fixture, "d", 0);
    service_disable_target(fixture->service, TARGET, FALSE, &fixture->options, fixture_on_done,
                           fixture);
    fixture_finish(fixture);
    delete_backstore(fixture, TRUE);
    fixture_finish_with(fixture, LUNPORT_ERROR_IN_USE);
}

/* The target has the unit again when the service starts again */
static void
test_backstore_in_use_by_a_file(Fixture *fixture, gconstpointer data)
{
    fixture_add_ram(fixture, "d");
    fixture_add_target(fixture);
    fixture_add_lun(fixture, "d", 0);
    fixture->options.persist = FALSE;
    service_delete_lun(fixture->service, TARGET, 0, FALSE, &fixture->options, fixture_on_done,
                       fixture);
    fixture_finish(fixture);
    delete_backstore(fixture, TRUE);
    fixture_finish_with(fixture, LUNPORT_ERROR_IN_USE);
    delete_backstore(fixture, FALSE);
    fixture_finish(fixture);
    fixture_restart(fixture);
    g_assert_true(model_find_lun(fixture_get_target(fixture), 0)->is_online);
}

static void
delete_target(Fixture *fixture, gboolean persist)
{
    fixture->options.persist = persist;
    service_delete_target(fixture->service, TARGET, FALSE, &fixture->options, fixture_on_done,
                          fixture);
    fixture_finish(fixture);
}

/* … and so is a target that was deleted for this run only */
static void
test_backstore_of_a_target_that_comes_back(Fixture *fixture, gconstpointer data)
{
    fixture_add_ram(fixture, "d");
    fixture_add_target(fixture);
    fixture_add_lun(fixture, "d", 0);
    delete_target(fixture, FALSE);
    delete_backstore(fixture, TRUE);
    fixture_finish_with(fixture, LUNPORT_ERROR_IN_USE);

    service_reload(fixture->service, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    delete_target(fixture, TRUE);
    delete_backstore(fixture, TRUE);
    fixture_finish(fixture);
}

static void
test_lun_numbers(Fixture *fixture, gconstpointer data)
{
    fixture_add_ram(fixture, "d");
    fixture_add_target(fixture);
    fixture_add_lun(fixture, "d", 1);
    g_assert_cmpuint(((const ModelLun *)fixture->object)->number, ==, 1);
    fixture_add_lun(fixture, "d", -1);
    g_assert_cmpuint(((const ModelLun *)fixture->object)->number, ==, 0);
    fixture_add_lun(fixture, "d", -1);
    g_assert_cmpuint(((const ModelLun *)fixture->object)->number, ==, 2);

    service_add_lun(fixture->service, TARGET, "d", 1, FALSE, &fixture->options, fixture_on_done,
                    fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_ALREADY_EXISTS);
    service_add_lun(fixture->service, TARGET, "d", 16384, FALSE, &fixture->options, fixture_on_done,
                    fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
    service_add_lun(fixture->service, TARGET, "x", -1, FALSE, &fixture->options, fixture_on_done,
                    fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_NO_SUCH_OBJECT);
}

static void
test_targets_that_are_refused(Fixture *fixture, gconstpointer data)
{
    g_autoptr(TargetSpec) again = target_spec_new("IQN.2026-11.org.lunport:T");
    g_autoptr(TargetSpec) bad = target_spec_new("disk");
    g_autoptr(TargetSpec) group = target_spec_new("iqn.2026-11.org.lunport:u");

    fixture_add_target(fixture);
    service_create_target(fixture->service, again, &fixture->options, fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_ALREADY_EXISTS);
    service_create_target(fixture->service, bad, &fixture->options, fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_NAME);
    g_free(group->portal_groups);
    group->portal_groups = g_strdup("9");
    service_create_target(fixture->service, group, &fixture->options, fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_NO_SUCH_OBJECT);
    service_enable_target(fixture->service, "iqn.2026-11.org.lunport:none", &fixture->options,
                          fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_NO_SUCH_TARGET);
}

static void
test_parameters(Fixture *fixture, gconstpointer data)
{
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;

    fixture_add_target(fixture);
    service_set_target_parameters(
        fixture->service, TARGET,
        g_variant_new_parsed("{'QueueDepth': <uint32 32>, 'InitialR2T': <true>}"),
        &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_cmpuint(fixture_get_target(fixture)->spec->parameters.queue_depth, ==, 32);

    /* All or nothing */
    before = fixture_read(fixture, "targets", TARGET ".conf");
    service_set_target_parameters(
        fixture->service, TARGET,
        g_variant_new_parsed("{'QueueDepth': <uint32 16>, 'MaxBurstLength': <uint32 1024>}"),
        &fixture->options, fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
    g_assert_cmpuint(fixture_get_target(fixture)->spec->parameters.queue_depth, ==, 32);
    after = fixture_read(fixture, "targets", TARGET ".conf");
    g_assert_cmpstr(before, ==, after);
}

static void
test_generation(Fixture *fixture, gconstpointer data)
{
    guint64 before = get_model(fixture)->generation;

    fixture_add_ram(fixture, "d");
    g_assert_cmpuint(get_model(fixture)->generation, >, before);

    fixture->options.has_expected_generation = TRUE;
    fixture->options.expected_generation = before;
    service_delete_backstore(fixture->service, "d", FALSE, &fixture->options, fixture_on_done,
                             fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_CONFLICT);
    fixture->options.expected_generation = get_model(fixture)->generation;
    service_delete_backstore(fixture->service, "d", FALSE, &fixture->options, fixture_on_done,
                             fixture);
    fixture_finish(fixture);
}

static void
test_dry_run_changes_nothing(Fixture *fixture, gconstpointer data)
{
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("ram", "e");
    guint64 generation;

    fixture_add_ram(fixture, "d");
    fixture_add_target(fixture);
    generation = get_model(fixture)->generation;

    fixture->options.dry_run = TRUE;
    spec->size = 1 << 20;
    create(fixture, spec);
    fixture_finish(fixture);
    g_assert_null(fixture->object);
    service_add_lun(fixture->service, TARGET, "d", 0, FALSE, &fixture->options, fixture_on_done,
                    fixture);
    fixture_finish(fixture);
    service_delete_target(fixture->service, TARGET, FALSE, &fixture->options, fixture_on_done,
                          fixture);
    fixture_finish(fixture);
    service_delete_backstore(fixture->service, "d", FALSE, &fixture->options, fixture_on_done,
                             fixture);
    fixture_finish(fixture);
    g_assert_cmpuint(get_model(fixture)->generation, ==, generation);
    g_assert_cmpuint(fixture_get_target(fixture)->luns->len, ==, 0);
    g_assert_cmpuint(get_model(fixture)->backstores->len, ==, 1);
}

static void
test_not_kept(Fixture *fixture, gconstpointer data)
{
    fixture_add_target(fixture);
    fixture->options.persist = FALSE;
    fixture_add_ram(fixture, "d");
    fixture_add_lun(fixture, "d", 0);
    service_set_target_alias(fixture->service, TARGET, "for now", &fixture->options,
                             fixture_on_done, fixture);
    fixture_finish(fixture);

    /* A change that is kept does not take the others with it */
    fixture->options.persist = TRUE;
    service_set_target_access_mode(fixture->service, TARGET, "closed", &fixture->options,
                                   fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_cmpstr(fixture_get_target(fixture)->spec->alias, ==, "for now");
    g_assert_cmpuint(fixture_get_target(fixture)->luns->len, ==, 1);

    fixture_restart(fixture);
    g_assert_cmpstr(fixture_get_target(fixture)->spec->alias, ==, "");
    g_assert_cmpstr(fixture_get_target(fixture)->spec->access_mode, ==, "closed");
    g_assert_cmpuint(fixture_get_target(fixture)->luns->len, ==, 0);
    g_assert_cmpuint(get_model(fixture)->backstores->len, ==, 0);
}

static void
test_kept_lun_of_a_backstore_that_is_not(Fixture *fixture, gconstpointer data)
{
    fixture_add_target(fixture);
    fixture->options.persist = FALSE;
    fixture_add_ram(fixture, "d");
    fixture->options.persist = TRUE;
    service_add_lun(fixture->service, TARGET, "d", 0, FALSE, &fixture->options, fixture_on_done,
                    fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
}

static void
test_restart_keeps_all(Fixture *fixture, gconstpointer data)
{
    g_autofree char *uuid = NULL;
    guint16 relative_port;

    fixture_add_ram(fixture, "d");
    fixture_add_target(fixture);
    fixture_add_lun(fixture, "d", 5);
    uuid = g_strdup(fixture_get_backstore(fixture, "d")->spec->uuid);
    relative_port = fixture_get_target(fixture)->spec->relative_port;

    fixture_restart(fixture);
    g_assert_cmpstr(fixture_get_backstore(fixture, "d")->spec->uuid, ==, uuid);
    g_assert_cmpuint(fixture_get_target(fixture)->spec->relative_port, ==, relative_port);
    g_assert_true(fixture_get_target(fixture)->spec->enabled);
    g_assert_true(model_find_lun(fixture_get_target(fixture), 5)->is_online);
    g_assert_cmpint(fixture_get_target(fixture)->state, ==, TARGET_ONLINE);
}

static void
test_deleted_for_now_comes_back(Fixture *fixture, gconstpointer data)
{
    g_autoptr(TargetSpec) spec = target_spec_new(TARGET);

    fixture_add_target(fixture);
    fixture->options.persist = FALSE;
    service_delete_target(fixture->service, TARGET, FALSE, &fixture->options, fixture_on_done,
                          fixture);
    fixture_finish(fixture);
    /* Its file is still there and must not be written over */
    fixture->options.persist = TRUE;
    service_create_target(fixture->service, spec, &fixture->options, fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_ALREADY_EXISTS);
    fixture_restart(fixture);
    g_assert_nonnull(fixture_get_target(fixture));
}

static void
test_order_of_asking(Fixture *fixture, gconstpointer data)
{
    static const char *const aliases[] = { "one", "two", "three" };
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("ram", "d");
    g_autoptr(TargetSpec) target = target_spec_new(TARGET);

    /* Nobody waits for an answer before asking for the next thing */
    spec->size = 1 << 20;
    service_create_backstore(fixture->service, spec, &fixture->options, NULL, NULL);
    service_create_target(fixture->service, target, &fixture->options, NULL, NULL);
    service_add_lun(fixture->service, TARGET, "d", 0, FALSE, &fixture->options, NULL, NULL);
    for (guint i = 0; i < G_N_ELEMENTS(aliases); i++)
        service_set_target_alias(fixture->service, TARGET, aliases[i], &fixture->options, NULL,
                                 NULL);
    service_enable_target(fixture->service, TARGET, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_cmpstr(fixture_get_target(fixture)->spec->alias, ==, "three");
    g_assert_cmpuint(fixture_get_target(fixture)->luns->len, ==, 1);
}

static void
test_stopping_refuses(Fixture *fixture, gconstpointer data)
{
    Fixture stop = { 0 };

    fixture_add_target(fixture);
    service_stop(fixture->service, fixture_on_done, &stop);
    service_enable_target(fixture->service, TARGET, &fixture->options, fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_SHUTTING_DOWN);
    fixture_finish(&stop);
}

static gboolean
portal_is(Fixture *fixture, const char *address, PortalState state)
{
    const ModelPortalGroup *group = model_find_portal_group(get_model(fixture), 7);

    for (guint i = 0; group != NULL && i < group->portals->len; i++) {
        const ModelPortal *portal = group->portals->pdata[i];

        if (strcmp(portal->address, address) == 0 && portal->state == state)
            return TRUE;
    }
    return FALSE;
}

static void
test_portals(Fixture *fixture, gconstpointer data)
{
    g_autoptr(PortalSpec) spec = portal_spec_new("127.0.0.1", free_port_reserve());
    guint32 id;

    service_add_portal(fixture->service, 7, spec, &fixture->options, fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_NO_SUCH_OBJECT);
    service_create_portal_group(fixture->service, 7, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    service_add_portal(fixture->service, 7, spec, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_true(portal_is(fixture, "127.0.0.1", PORTAL_LISTENING));
    service_add_portal(fixture->service, 7, spec, &fixture->options, fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_ALREADY_EXISTS);

    fixture_restart(fixture);
    g_assert_true(portal_is(fixture, "127.0.0.1", PORTAL_LISTENING));
    id = model_find_portal(get_model(fixture), "127.0.0.1", spec->port)->id;
    service_pause_portal(fixture->service, id, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_true(portal_is(fixture, "127.0.0.1", PORTAL_PAUSED));
    service_delete_portal(fixture->service, id, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    service_delete_portal_group(fixture->service, 7, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_null(fixture_read(fixture, "portal-groups", "7.conf"));
}

static void
test_portal_group_in_use_by_a_file(Fixture *fixture, gconstpointer data)
{
    service_create_portal_group(fixture->service, 7, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    fixture_add_target(fixture);
    service_remove_target_portal_group(fixture->service, TARGET, 1, &fixture->options,
                                       fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_true(target_spec_has_group(fixture_get_target(fixture)->saved, 7));
    fixture->options.persist = FALSE;
    service_remove_target_portal_group(fixture->service, TARGET, 7, &fixture->options,
                                       fixture_on_done, fixture);
    fixture_finish(fixture);
    fixture->options.persist = TRUE;
    service_delete_portal_group(fixture->service, 7, &fixture->options, fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_IN_USE);
}

static void
test_portal_of_the_command_line(Fixture *fixture, gconstpointer data)
{
    const ModelPortal *portal = model_find_portal(get_model(fixture), "127.0.0.1", fixture->port);
    g_autoptr(PortalSpec) taken = portal_spec_new("*", fixture->port);

    g_assert_cmpint(portal->origin, ==, MODEL_ORIGIN_COMMAND_LINE);
    service_delete_portal(fixture->service, portal->id, &fixture->options, fixture_on_done,
                          fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_READ_ONLY_CONFIGURATION);
    service_delete_portal_group(fixture->service, 1, &fixture->options, fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_READ_ONLY_CONFIGURATION);
    service_add_portal(fixture->service, 1, taken, &fixture->options, fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_IN_USE);
}

static void
test_target_without_portals_is_offline(Fixture *fixture, gconstpointer data)
{
    fixture_add_target(fixture);
    g_assert_cmpint(fixture_get_target(fixture)->state, ==, TARGET_ONLINE);
    service_remove_target_portal_group(fixture->service, TARGET, 1, &fixture->options,
                                       fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_cmpint(fixture_get_target(fixture)->state, ==, TARGET_OFFLINE);
    service_add_target_portal_group(fixture->service, TARGET, 1, &fixture->options, fixture_on_done,
                                    fixture);
    fixture_finish(fixture);
    g_assert_cmpint(fixture_get_target(fixture)->state, ==, TARGET_ONLINE);
    service_add_target_portal_group(fixture->service, TARGET, 1, &fixture->options, fixture_on_done,
                                    fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_ALREADY_EXISTS);
}

static void
set_read_only(Fixture *fixture, guint16 number, gboolean read_only)
{
    service_set_lun_read_only(fixture->service, TARGET, number, read_only, &fixture->options,
                              fixture_on_done, fixture);
}

static void
test_lun_read_only(Fixture *fixture, gconstpointer data)
{
    fixture_add_ram(fixture, "d");
    fixture_add_target(fixture);
    fixture_add_lun(fixture, "d", 0);
    set_read_only(fixture, 0, TRUE);
    fixture_finish(fixture);
    g_assert_true(model_find_lun(fixture_get_target(fixture), 0)->read_only);
    fixture_restart(fixture);
    g_assert_true(model_find_lun(fixture_get_target(fixture), 0)->read_only);
    set_read_only(fixture, 0, FALSE);
    fixture_finish(fixture);
    g_assert_false(model_find_lun(fixture_get_target(fixture), 0)->read_only);
    set_read_only(fixture, 5, FALSE);
    fixture_finish_with(fixture, LUNPORT_ERROR_NO_SUCH_OBJECT);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fixture_add("/control/change/create-backstore", test_create_backstore);
    fixture_add("/control/change/resize-memory", test_resize_memory);
    fixture_add("/control/change/resize-file", test_resize_file);
    fixture_add("/control/change/resize-preallocates", test_resize_preallocates);
    fixture_add("/control/change/resize-learns", test_resize_learns);
    fixture_add("/control/change/resize-is-refused", test_resize_is_refused);
    fixture_add("/control/change/lun-read-only", test_lun_read_only);
    fixture_add("/control/change/backstores-that-are-refused", test_backstores_that_are_refused);
    fixture_add("/control/change/same-identity-is-refused", test_same_identity_is_refused);
    fixture_add("/control/change/created-file", test_created_file);
    fixture_add("/control/change/failed-save-leaves-nothing", test_failed_save_leaves_nothing);
    fixture_add("/control/change/backstore-in-use", test_backstore_in_use);
    fixture_add("/control/change/backstore-of-a-disabled-target",
                test_backstore_of_a_disabled_target);
    fixture_add("/control/change/backstore-in-use-by-a-file", test_backstore_in_use_by_a_file);
    fixture_add("/control/change/backstore-of-a-target-that-comes-back",
                test_backstore_of_a_target_that_comes_back);
    fixture_add("/control/change/lun-numbers", test_lun_numbers);
    fixture_add("/control/change/targets-that-are-refused", test_targets_that_are_refused);
    fixture_add("/control/change/parameters", test_parameters);
    fixture_add("/control/change/generation", test_generation);
    fixture_add("/control/change/dry-run-changes-nothing", test_dry_run_changes_nothing);
    fixture_add("/control/change/not-kept", test_not_kept);
    fixture_add("/control/change/kept-lun-of-a-passing-backstore",
                test_kept_lun_of_a_backstore_that_is_not);
    fixture_add("/control/change/restart-keeps-all", test_restart_keeps_all);
    fixture_add("/control/change/deleted-for-now-comes-back", test_deleted_for_now_comes_back);
    fixture_add("/control/change/order-of-asking", test_order_of_asking);
    fixture_add("/control/change/stopping-refuses", test_stopping_refuses);
    fixture_add("/control/change/portals", test_portals);
    fixture_add("/control/change/portal-group-in-use-by-a-file",
                test_portal_group_in_use_by_a_file);
    fixture_add("/control/change/portal-of-the-command-line", test_portal_of_the_command_line);
    fixture_add("/control/change/target-without-portals", test_target_without_portals_is_offline);
    return g_test_run();
}
