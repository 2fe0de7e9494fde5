/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "fixture.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "util/error.h"

#define PATIENCE 120

void
fixture_on_done(gpointer object, const GError *error, gpointer data)
{
    Fixture *fixture = data;

    g_assert_false(fixture->done);
    fixture->done = TRUE;
    fixture->object = object;
    fixture->error = error != NULL ? g_error_copy(error) : NULL;
}

/* Seconds in which the loop was turned: while the program is held up it is only one */
static gboolean
on_second(gpointer data)
{
    g_assert_cmpuint(++*(guint *)data, <, PATIENCE);
    return G_SOURCE_CONTINUE;
}

static gboolean
is_done(Fixture *fixture)
{
    return fixture->done;
}

void
fixture_wait(Fixture *fixture, gboolean (*condition)(Fixture *fixture))
{
    guint n_seconds = 0;
    guint timer = g_timeout_add_seconds(1, on_second, &n_seconds);

    while (!condition(fixture))
        (void)g_main_context_iteration(NULL, TRUE);
    (void)g_source_remove(timer);
}

static void
wait_done(Fixture *fixture)
{
    g_clear_error(&fixture->error);
    fixture_wait(fixture, is_done);
    fixture->done = FALSE;
}

void
fixture_finish(Fixture *fixture)
{
    wait_done(fixture);
    g_assert_no_error(fixture->error);
}

void
fixture_finish_with(Fixture *fixture, int code)
{
    wait_done(fixture);
    g_assert_error(fixture->error, LUNPORT_ERROR, code);
    g_assert_null(fixture->object);
}

void
fixture_start(Fixture *fixture)
{
    static const char *const listen[] = { "127.0.0.1:0", NULL };
    const ServiceConfig config = { .state_dir = fixture->state_dir,
                                   .config_dir = fixture->config_dir,
                                   .credentials_dir = fixture->credentials_dir,
                                   .n_workers = 2,
                                   .listen = listen };
    g_autoptr(GError) error = NULL;
    const ModelPortalGroup *group;

    fixture->service = service_new(&config, &error);
    g_assert_no_error(error);
    if (fixture->before_start != NULL)
        fixture->before_start(fixture);
    service_start(fixture->service, fixture_on_done, fixture);
    fixture_finish(fixture);
    client_ask_for_patience(fixture->service);
    group = model_find_portal_group(service_get_model(fixture->service), 1);
    for (guint i = 0; i < group->portals->len; i++) {
        const ModelPortal *portal = group->portals->pdata[i];

        if (portal->origin == MODEL_ORIGIN_COMMAND_LINE)
            fixture->port = portal->port;
    }
    change_options_init(&fixture->options);
}

void
fixture_stop(Fixture *fixture)
{
    service_stop(fixture->service, fixture_on_done, fixture);
    fixture_finish(fixture);
    g_clear_pointer(&fixture->service, service_free);
}

void
fixture_restart(Fixture *fixture)
{
    fixture_stop(fixture);
    fixture_start(fixture);
}

void
fixture_set_up(Fixture *fixture, gconstpointer data)
{
    fixture->base = g_dir_make_tmp("lunport-control-XXXXXX", NULL);
    fixture->state_dir = g_build_filename(fixture->base, "state", NULL);
    fixture->config_dir = g_build_filename(fixture->base, "config", NULL);
    g_assert_cmpint(g_mkdir(fixture->config_dir, 0700), ==, 0);
    fixture_start(fixture);
}

static void
remove_tree(const char *path)
{
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    const char *name;

    while (directory != NULL && (name = g_dir_read_name(directory)) != NULL) {
        g_autofree char *child = g_build_filename(path, name, NULL);

        if (g_file_test(child, G_FILE_TEST_IS_DIR))
            remove_tree(child);
        else
            (void)g_unlink(child);
    }
    (void)g_rmdir(path);
}

void
fixture_tear_down(Fixture *fixture, gconstpointer data)
{
    fixture_stop(fixture);
    remove_tree(fixture->base);
    g_clear_error(&fixture->error);
    g_free(fixture->base);
    g_free(fixture->state_dir);
    g_free(fixture->config_dir);
    g_free(fixture->credentials_dir);
}

void
fixture_add(const char *path, void (*test)(Fixture *fixture, gconstpointer data))
{
    g_test_add(path, Fixture, NULL, fixture_set_up, test, fixture_tear_down);
}

void
fixture_add_ram(Fixture *fixture, const char *name)
{
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("ram", name);

    spec->size = 1 << 20;
    service_create_backstore(fixture->service, spec, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
}

void
fixture_add_target(Fixture *fixture)
{
    g_autoptr(TargetSpec) spec = target_spec_new(TARGET);

    spec->enabled = TRUE;
    g_free(spec->access_mode);
    spec->access_mode = g_strdup("open");
    service_create_target(fixture->service, spec, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
}

void
fixture_add_lun(Fixture *fixture, const char *backstore, gint32 number)
{
    service_add_lun(fixture->service, TARGET, backstore, number, FALSE, &fixture->options,
                    fixture_on_done, fixture);
    fixture_finish(fixture);
}

void
fixture_add_disk(Fixture *fixture)
{
    fixture_add_ram(fixture, "d");
    fixture_add_target(fixture);
    fixture_add_lun(fixture, "d", 0);
}

void
fixture_begin_faults(Fixture *fixture, const char *backstore, const char *rules)
{
    g_autoptr(GVariant) parsed = g_variant_parse(G_VARIANT_TYPE("aa{sv}"), rules, NULL, NULL, NULL);

    g_assert_nonnull(parsed);
    service_set_faults(fixture->service, backstore, parsed, &fixture->options, fixture_on_done,
                       fixture);
}

void
fixture_set_faults(Fixture *fixture, const char *backstore, const char *rules)
{
    fixture_begin_faults(fixture, backstore, rules);
    fixture_finish(fixture);
}

ModelTarget *
fixture_get_target(Fixture *fixture)
{
    ModelTarget *target = model_find_target(service_get_model(fixture->service), TARGET);

    g_assert_nonnull(target);
    return target;
}

ModelBackstore *
fixture_get_backstore(Fixture *fixture, const char *name)
{
    ModelBackstore *backstore = model_find_backstore(service_get_model(fixture->service), name);

    g_assert_nonnull(backstore);
    return backstore;
}

char *
fixture_read(Fixture *fixture, const char *directory, const char *leaf)
{
    g_autofree char *path = g_build_filename(fixture->state_dir, directory, leaf, NULL);
    char *text = NULL;

    (void)g_file_get_contents(path, &text, NULL, NULL);
    return text;
}

Client *
fixture_connect(Fixture *fixture)
{
    const ModelPortal *portal =
        model_find_portal(service_get_model(fixture->service), "127.0.0.1", fixture->port);
    guint64 before = portal->n_accepted;
    Client *client = client_new(fixture->port);

    while (portal->n_accepted == before)
        (void)g_main_context_iteration(NULL, TRUE);
    return client;
}

gboolean
fixture_has_session(Fixture *fixture)
{
    return service_get_model(fixture->service)->sessions->len > 0;
}

gboolean
fixture_has_no_session(Fixture *fixture)
{
    return !fixture_has_session(fixture);
}

Client *
fixture_log_in(Fixture *fixture)
{
    Client *client = fixture_connect(fixture);

    g_assert_cmphex(client_login(client, TARGET), ==, 0);
    fixture_wait(fixture, fixture_has_session);
    return client;
}

void
fixture_write(const char *directory, const char *leaf, const char *text)
{
    g_autofree char *path = g_build_filename(directory, leaf, NULL);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

/* A link to itself cannot be opened by anybody, whoever runs the test */
void
fixture_hide(Fixture *fixture, const char *directory)
{
    g_autofree char *path = g_build_filename(fixture->state_dir, directory, NULL);
    g_autofree char *aside = g_strconcat(path, ".aside", NULL);

    g_assert_cmpint(g_rename(path, aside), ==, 0);
    g_assert_cmpint(symlink(directory, path), ==, 0);
}

void
fixture_show(Fixture *fixture, const char *directory)
{
    g_autofree char *path = g_build_filename(fixture->state_dir, directory, NULL);
    g_autofree char *aside = g_strconcat(path, ".aside", NULL);

    g_assert_cmpint(g_unlink(path), ==, 0);
    g_assert_cmpint(g_rename(aside, path), ==, 0);
}
