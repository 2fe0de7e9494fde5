/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The contract of dbus/ against the real service
 *
 * A service with one worker, a state directory of its own and no portal but
 * what a test makes; ram and null backstores. Every method is called, in order
 * and in the ways that have to fail.
 */

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "control/client.h"
#include "free-port.h"
#include "harness.h"

#define MANAGER     "/org/lunport1/Manager"
#define TARGET_NAME "iqn.2024-01.com.example:a"
#define TARGET      "/org/lunport1/targets/iqn_2e2024_2d01_2ecom_2eexample_3aa"
#define JOB         "/org/lunport1/jobs/1"
#define DISK        "/org/lunport1/backstores/disk"
#define GROUP       "/org/lunport1/portal_groups/7"

typedef struct {
    Harness harness;
    Service *service;
    char *state_dir;
} Fixture;

typedef struct {
    gboolean done;
    GError *error;
} Outcome;

static void
on_outcome(gpointer object, const GError *error, gpointer data)
{
    Outcome *outcome = data;

    outcome->error = error != NULL ? g_error_copy(error) : NULL;
    outcome->done = TRUE;
}

static gboolean
is_done(gpointer data)
{
    return ((Outcome *)data)->done;
}

static void
start_service(Fixture *fixture)
{
    static const char *const listen[] = { "127.0.0.1:0", NULL };
    ServiceConfig config = { .state_dir = fixture->state_dir, .n_workers = 1, .listen = listen };
    Outcome outcome = { 0 };
    g_autoptr(GError) error = NULL;

    fixture->service = service_new(&config, &error);
    g_assert_no_error(error);
    service_start(fixture->service, on_outcome, &outcome);
    wait_until(is_done, &outcome);
    g_assert_no_error(outcome.error);
    client_ask_for_patience(fixture->service);
    harness_up(&fixture->harness, fixture->service);
}

static void
stop_service(Fixture *fixture)
{
    Outcome outcome = { 0 };

    harness_down(&fixture->harness);
    service_stop(fixture->service, on_outcome, &outcome);
    wait_until(is_done, &outcome);
    g_assert_no_error(outcome.error);
    service_free(fixture->service);
}

static void
set_up(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    fixture->state_dir = g_dir_make_tmp("lunport-state-XXXXXX", &error);
    g_assert_no_error(error);
    start_service(fixture);
}

static void
remove_tree(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *child = g_build_filename(path, name, NULL);

        remove_tree(child);
    }
    (void)g_remove(path);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    stop_service(fixture);
    remove_tree(fixture->state_dir);
    g_free(fixture->state_dir);
}

static void
call(Fixture *fixture, const char *path, const char *method, GVariant *parameters)
{
    g_variant_unref(harness_call_ok(&fixture->harness, path, method, parameters));
}

static void
fails(Fixture *fixture, const char *path, const char *method, GVariant *parameters,
      const char *error)
{
    harness_call_fails(&fixture->harness, path, method, parameters, error);
}

/* Call a method that answers one path */
static void
makes(Fixture *fixture, const char *path, const char *method, GVariant *parameters,
      const char *expected)
{
    g_autoptr(GVariant) reply = harness_call_ok(&fixture->harness, path, method, parameters);
    const char *made;

    g_variant_get(reply, "(&o)", &made);
    g_assert_cmpstr(made, ==, expected);
}

static GVariant *
only_options(void)
{
    return g_variant_new("(@a{sv})", no_options());
}

static GVariant *
only_option(const char *name, GVariant *value)
{
    return g_variant_new("(@a{sv})", one_option(name, value));
}

static GVariant *
yes(void)
{
    return g_variant_new_boolean(TRUE);
}

static void
create_disk(Fixture *fixture)
{
    makes(fixture, MANAGER, "Manager.CreateBackstore",
          g_variant_new("(ss@a{sv})", "ram", "disk",
                        one_option("size", g_variant_new_uint64(1 << 20))),
          DISK);
}

static void
create_target(Fixture *fixture)
{
    makes(fixture, MANAGER, "Manager.CreateTarget",
          g_variant_new("(s@a{sv})", TARGET_NAME, no_options()), TARGET);
}

static void
add_lun(Fixture *fixture, gint32 number, const char *expected)
{
    makes(fixture, TARGET, "Target.AddLun", g_variant_new("(oi@a{sv})", DISK, number, no_options()),
          expected);
}

static void
assert_string(Fixture *fixture, const char *path, const char *property, const char *expected)
{
    g_autofree char *value = harness_get_string(&fixture->harness, path, property);

    g_assert_cmpstr(value, ==, expected);
}

static void
assert_number(Fixture *fixture, const char *path, const char *property, guint64 expected)
{
    g_assert_cmpuint(harness_get_number(&fixture->harness, path, property), ==, expected);
}

static void
assert_printed(Fixture *fixture, const char *path, const char *property, const char *expected)
{
    g_autoptr(GVariant) value = harness_get(&fixture->harness, path, property);
    g_autofree char *text = g_variant_print(value, TRUE);

    g_assert_cmpstr(text, ==, expected);
}

static gboolean
exists(Fixture *fixture, const char *path)
{
    return harness_has_object(&fixture->harness, path);
}

static void
test_backstore(Fixture *fixture, gconstpointer data)
{
    create_disk(fixture);
    assert_string(fixture, DISK, "Backstore.Name", "disk");
    assert_string(fixture, DISK, "Backstore.Type", "ram");
    assert_string(fixture, DISK, "Backstore.State", "online");
    assert_number(fixture, DISK, "Backstore.Size", 1 << 20);
    assert_number(fixture, DISK, "Backstore.BlockSize", 512);
    assert_printed(fixture, DISK, "Backstore.LastError", "('', '')");
    assert_number(fixture, DISK, "Backstore.Persistent", TRUE);
    g_assert_true(exists(fixture, DISK));

    call(fixture, DISK, "Backstore.Delete", only_options());
    g_assert_false(exists(fixture, DISK));
}

static void
test_backstore_offline(Fixture *fixture, gconstpointer data)
{
    GVariant *size = g_variant_ref_sink(g_variant_new_uint64(1 << 20));

    call(fixture, MANAGER, "Manager.CreateBackstore",
         g_variant_new("(ss@a{sv})", "null", "disk", one_option("size", size)));
    call(fixture, DISK, "Backstore.SetOffline", g_variant_new("(b@a{sv})", TRUE, no_options()));
    assert_string(fixture, DISK, "Backstore.State", "offline");
    call(fixture, DISK, "Backstore.SetOffline", g_variant_new("(b@a{sv})", FALSE, no_options()));
    assert_string(fixture, DISK, "Backstore.State", "online");
    fails(fixture, DISK, "Backstore.SetOffline",
          g_variant_new("(b@a{sv})", TRUE, one_option("force", size)), "InvalidArgument");
    g_variant_unref(size);
}

static void
test_backstore_read_only(Fixture *fixture, gconstpointer data)
{
    create_disk(fixture);
    call(fixture, DISK, "Backstore.SetReadOnly", g_variant_new("(b@a{sv})", TRUE, no_options()));
    assert_printed(fixture, DISK, "Backstore.ReadOnly", "true");
    call(fixture, DISK, "Backstore.SetReadOnly", g_variant_new("(b@a{sv})", FALSE, no_options()));
    assert_printed(fixture, DISK, "Backstore.ReadOnly", "false");
}

static GVariant *
parse_faults(const char *text)
{
    return g_variant_new("(@aa{sv}@a{sv})", g_variant_new_parsed(text), no_options());
}

static void
test_backstore_faults(Fixture *fixture, gconstpointer data)
{
    create_disk(fixture);
    assert_printed(fixture, DISK, "Backstore.Faults", "@aa{sv} []");
    call(fixture, DISK, "Backstore.SetFaults", parse_faults("[{'on':<'read'>}]"));
    assert_printed(fixture, DISK, "Backstore.Faults", "[{'on': <'read'>}]");
    assert_printed(fixture, MANAGER, "Manager.FaultyBackstores", "[objectpath '" DISK "']");
    fails(fixture, DISK, "Backstore.SetFaults", parse_faults("[{'on':<'nothing'>}]"),
          "InvalidArgument");
    assert_printed(fixture, DISK, "Backstore.Faults", "[{'on': <'read'>}]");
    call(fixture, DISK, "Backstore.SetFaults", parse_faults("@aa{sv} []"));
    assert_printed(fixture, DISK, "Backstore.Faults", "@aa{sv} []");
    assert_printed(fixture, MANAGER, "Manager.FaultyBackstores", "@ao []");
}

static void
test_limits(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GVariant) limits = NULL;
    guint64 value = 0;

    call(fixture, MANAGER, "Manager.SetLimits",
         g_variant_new("(@a{st}@a{sv})", g_variant_new_parsed("@a{st} {'max-logins': 7}"),
                       no_options()));
    fails(fixture, MANAGER, "Manager.SetLimits",
          g_variant_new("(@a{st}@a{sv})",
                        g_variant_new_parsed("@a{st} {'max-logins': 8, 'max-nothing': 7}"),
                        no_options()),
          "InvalidArgument");
    fails(fixture, MANAGER, "Manager.SetLimits",
          g_variant_new("(@a{st}@a{sv})", g_variant_new_parsed("@a{st} {'max-logins': 0}"),
                        no_options()),
          "InvalidArgument");
    limits = harness_get(&fixture->harness, MANAGER, "Manager.Limits");
    g_assert_true(g_variant_lookup(limits, "max-logins", "t", &value));
    g_assert_cmpuint(value, ==, 7);
}

static void
test_backstore_resize(Fixture *fixture, gconstpointer data)
{
    GVariant *yes = g_variant_ref_sink(g_variant_new_boolean(TRUE));

    create_disk(fixture);
    call(fixture, DISK, "Backstore.Resize", g_variant_new("(t@a{sv})", 2 << 20, no_options()));
    assert_number(fixture, DISK, "Backstore.Size", 2 << 20);
    fails(fixture, DISK, "Backstore.Resize", g_variant_new("(t@a{sv})", 1 << 20, no_options()),
          "InvalidArgument");
    fails(fixture, DISK, "Backstore.Resize",
          g_variant_new("(t@a{sv})", 1 << 20, one_option("force", yes)), "InvalidArgument");
    assert_number(fixture, DISK, "Backstore.Size", 2 << 20);
    call(fixture, DISK, "Backstore.Resize",
         g_variant_new("(t@a{sv})", 1 << 20, one_option("allow-shrink", yes)));
    assert_number(fixture, DISK, "Backstore.Size", 1 << 20);
    g_variant_unref(yes);
}

static void
test_backstore_medium(Fixture *fixture, gconstpointer data)
{
    GVariant *cdrom = g_variant_ref_sink(g_variant_new_string("cdrom"));
    GVariant *yes = g_variant_ref_sink(g_variant_new_boolean(TRUE));
    g_autofree char *image = g_build_filename(g_get_tmp_dir(), "lunport-bus-XXXXXX", NULL);
    int fd = g_mkstemp(image);

    g_assert_cmpint(ftruncate(fd, 4096), ==, 0);
    (void)close(fd);
    call(fixture, MANAGER, "Manager.CreateBackstore",
         g_variant_new("(ss@a{sv})", "file", "disk", one_option("device-type", cdrom)));
    assert_string(fixture, DISK, "Backstore.DeviceType", "cdrom");
    assert_string(fixture, DISK, "Backstore.Medium", "none");
    assert_string(fixture, DISK, "Backstore.State", "online");

    call(fixture, DISK, "Backstore.LoadMedium", g_variant_new("(s@a{sv})", image, no_options()));
    assert_string(fixture, DISK, "Backstore.Medium", "loaded");
    assert_string(fixture, DISK, "Backstore.Path", image);
    assert_number(fixture, DISK, "Backstore.Size", 4096);
    assert_number(fixture, DISK, "Backstore.BlockSize", 2048);
    fails(fixture, DISK, "Backstore.LoadMedium",
          g_variant_new("(s@a{sv})", "relative", no_options()), "InvalidArgument");

    call(fixture, DISK, "Backstore.Eject", g_variant_new("(@a{sv})", one_option("force", yes)));
    assert_string(fixture, DISK, "Backstore.Medium", "none");
    assert_string(fixture, DISK, "Backstore.Path", "");
    call(fixture, DISK, "Backstore.Delete", only_options());

    create_disk(fixture);
    assert_string(fixture, DISK, "Backstore.Medium", "");
    fails(fixture, DISK, "Backstore.Eject", only_options(), "NotSupported");
    (void)g_unlink(image);
    g_variant_unref(cdrom);
    g_variant_unref(yes);
}

static void
test_backstore_errors(Fixture *fixture, gconstpointer data)
{
    static const char method[] = "Manager.CreateBackstore";
    GVariant *size = g_variant_ref_sink(g_variant_new_uint64(1 << 20));

    create_disk(fixture);
    fails(fixture, MANAGER, method,
          g_variant_new("(ss@a{sv})", "ram", "disk", one_option("size", size)), "AlreadyExists");
    fails(fixture, MANAGER, method,
          g_variant_new("(ss@a{sv})", "tape", "b", one_option("size", size)), "NotSupported");
    fails(fixture, MANAGER, method,
          g_variant_new("(ss@a{sv})", "ram", ".b", one_option("size", size)), "InvalidName");
    fails(fixture, MANAGER, method,
          g_variant_new("(ss@a{sv})", "ram", "b", one_option("sise", size)), "InvalidArgument");
    fails(fixture, MANAGER, method, g_variant_new("(ss@a{sv})", "ram", "b", no_options()),
          "InvalidArgument");
    fails(fixture, MANAGER, method,
          g_variant_new("(ss@a{sv})", "file", "b",
                        one_option("path", g_variant_new_string("/nonexistent/disk"))),
          "StorageNotFound");
    g_variant_unref(size);
}

static void
test_backstore_in_use(Fixture *fixture, gconstpointer data)
{
    create_disk(fixture);
    create_target(fixture);
    add_lun(fixture, -1, TARGET "/luns/0");
    fails(fixture, DISK, "Backstore.Delete", only_options(), "InUse");
    assert_printed(fixture, DISK, "Backstore.Luns", "[objectpath '" TARGET "/luns/0']");
}

static void
test_target(Fixture *fixture, gconstpointer data)
{
    create_target(fixture);
    assert_string(fixture, TARGET, "Target.Name", TARGET_NAME);
    assert_string(fixture, TARGET, "Target.State", "disabled");
    assert_string(fixture, TARGET, "Target.AccessMode", "closed");
    assert_number(fixture, TARGET, "Target.Enabled", FALSE);
    assert_number(fixture, TARGET, "Target.SessionCount", 0);
    makes(fixture, MANAGER, "Manager.GetTargetByName",
          g_variant_new("(s)", "IQN.2024-01.com.example:A"), TARGET);

    call(fixture, TARGET, "Target.Delete", only_options());
    g_assert_false(exists(fixture, TARGET));
    fails(fixture, MANAGER, "Manager.GetTargetByName", g_variant_new("(s)", TARGET_NAME),
          "NoSuchTarget");
    fails(fixture, MANAGER, "Manager.GetTargetByName", g_variant_new("(s)", "disk"),
          "NoSuchTarget");
}

static void
test_target_with_options(Fixture *fixture, gconstpointer data)
{
    GVariant *options = g_variant_new_parsed("{'enabled': <true>, 'alias': <'A disk'>, "
                                             "'parameters': <{'MaxBurstLength': <uint32 65536>,"
                                             " 'FirstBurstLength': <uint32 4096>}>}");
    g_autoptr(GVariant) parameters = NULL;
    guint32 length;

    makes(fixture, MANAGER, "Manager.CreateTarget",
          g_variant_new("(s@a{sv})", TARGET_NAME, options), TARGET);
    assert_string(fixture, TARGET, "Target.Alias", "A disk");
    assert_number(fixture, TARGET, "Target.Enabled", TRUE);
    parameters = harness_get(&fixture->harness, TARGET, "Target.Parameters");
    g_assert_true(g_variant_lookup(parameters, "MaxBurstLength", "u", &length));
    g_assert_cmpuint(length, ==, 65536);
}

static void
test_target_errors(Fixture *fixture, gconstpointer data)
{
    static const char method[] = "Manager.CreateTarget";

    create_target(fixture);
    fails(fixture, MANAGER, method, g_variant_new("(s@a{sv})", TARGET_NAME, no_options()),
          "AlreadyExists");
    fails(fixture, MANAGER, method, g_variant_new("(s@a{sv})", "disk", no_options()),
          "InvalidName");
    fails(fixture, MANAGER, method,
          g_variant_new(
              "(s@a{sv})", "iqn.2024-01.com.example:b",
              one_option("parameters", g_variant_new_parsed("{'MaxBurstLength': <uint32 1>}"))),
          "InvalidArgument");
    fails(fixture, MANAGER, method,
          g_variant_new("(s@a{sv})", "iqn.2024-01.com.example:b",
                        one_option("portal-groups", g_variant_new_parsed("[objectpath '/x']"))),
          "NoSuchObject");
    fails(fixture, MANAGER, method,
          g_variant_new("(s@a{sv})", "iqn.2024-01.com.example:b",
                        one_option("access-mode", g_variant_new_string("open"))),
          "InvalidArgument");
}

static void
test_enable_and_disable(Fixture *fixture, gconstpointer data)
{
    create_target(fixture);
    call(fixture, TARGET, "Target.Enable", only_options());
    assert_number(fixture, TARGET, "Target.Enabled", TRUE);
    assert_string(fixture, TARGET, "Target.State", "online");

    makes(fixture, TARGET, "Target.Disable", only_options(), "/");
    assert_string(fixture, TARGET, "Target.State", "disabled");
    call(fixture, TARGET, "Target.Enable", only_options());
    makes(fixture, TARGET, "Target.Disable", only_option("mode", g_variant_new_string("abort")),
          "/");
    fails(fixture, TARGET, "Target.Disable", only_option("mode", g_variant_new_string("later")),
          "InvalidArgument");
    fails(fixture, TARGET, "Target.Disable", only_option("timeout", g_variant_new_uint64(1)),
          "InvalidArgument");
}

static GVariant *
parse_options(const char *text)
{
    return g_variant_new("(@a{sv})", g_variant_new_parsed(text));
}

static void
test_target_drain(Fixture *fixture, gconstpointer data)
{
    create_target(fixture);
    call(fixture, TARGET, "Target.Enable", only_options());
    fails(fixture, TARGET, "Target.Disable",
          parse_options("{'mode': <'drain'>, 'timeout': <uint64 0>}"), "InvalidArgument");
    fails(fixture, TARGET, "Target.Disable",
          parse_options("{'mode': <'drain'>, 'timeout': <uint64 600000001>}"), "InvalidArgument");
    makes(fixture, TARGET, "Target.Disable",
          parse_options("{'mode': <'drain'>, 'dry-run': <true>}"), "/");
    assert_string(fixture, TARGET, "Target.State", "online");

    makes(fixture, TARGET, "Target.Disable",
          parse_options("{'mode': <'drain'>, 'timeout': <uint64 1500000>}"),
          "/org/lunport1/jobs/1");
    assert_string(fixture, TARGET, "Target.State", "disabled");
    harness_wait_signal(&fixture->harness, "Job.Finished " JOB " ('done', '', '')");
    g_assert_true(harness_saw_signal(&fixture->harness,
                                     "Properties.PropertiesChanged " JOB "*'State': <'done'>*"));
    assert_string(fixture, JOB, "Job.State", "done");
    assert_string(fixture, JOB, "Job.Operation", "Target.Disable");
    assert_printed(fixture, JOB, "Job.Objects", "[objectpath '" TARGET "']");
    assert_printed(fixture, JOB, "Job.Progress", "1.0");
    assert_printed(fixture, JOB, "Job.Cancelable", "true");
    assert_printed(fixture, JOB, "Job.Error", "('', '')");
    assert_printed(fixture, JOB, "Job.Result", "{'sessions': <uint32 0>}");
    assert_number(fixture, JOB, "Job.StartedByUid", getuid());
    /* Seconds, rounded up */
    g_assert_cmpuint(harness_get_number(&fixture->harness, JOB, "Job.ExpectedEnd"), ==,
                     harness_get_number(&fixture->harness, JOB, "Job.StartedAt") + 2000000);
    call(fixture, JOB, "Job.Cancel", only_options());
    assert_string(fixture, JOB, "Job.State", "done");
}

static void
test_target_redirect(Fixture *fixture, gconstpointer data)
{
    create_target(fixture);
    assert_printed(fixture, TARGET, "Target.Redirect", "('', false)");
    call(fixture, TARGET, "Target.SetRedirect",
         g_variant_new("(sb@a{sv})", "192.0.2.7:3261", TRUE, no_options()));
    assert_printed(fixture, TARGET, "Target.Redirect", "('192.0.2.7:3261', true)");
    fails(fixture, TARGET, "Target.SetRedirect",
          g_variant_new("(sb@a{sv})", "somewhere else", TRUE, no_options()), "InvalidArgument");
    call(fixture, TARGET, "Target.SetRedirect",
         g_variant_new("(sb@a{sv})", "", FALSE, no_options()));
    assert_printed(fixture, TARGET, "Target.Redirect", "('', false)");
}

static void
test_group_redirect(Fixture *fixture, gconstpointer data)
{
    create_target(fixture);
    call(fixture, TARGET, "Target.SetRedirect",
         g_variant_new_parsed("('192.0.2.7', true, {'portal-group':"
                              " <objectpath '/org/lunport1/portal_groups/1'>})"));
    assert_printed(fixture, TARGET, "Target.GroupRedirects", "[(uint16 1, '192.0.2.7', true)]");
    assert_printed(fixture, TARGET, "Target.Redirect", "('', false)");
    fails(fixture, TARGET, "Target.SetRedirect",
          g_variant_new_parsed("('192.0.2.7', true, {'portal-group':"
                               " <objectpath '/org/lunport1/portal_groups/9'>})"),
          "NoSuchObject");
    call(fixture, TARGET, "Target.SetRedirect",
         g_variant_new_parsed("('', false, {'portal-group':"
                              " <objectpath '/org/lunport1/portal_groups/1'>})"));
    assert_printed(fixture, TARGET, "Target.GroupRedirects", "@a(qsb) []");
}

static void
test_target_setters(Fixture *fixture, gconstpointer data)
{
    create_target(fixture);
    call(fixture, TARGET, "Target.SetAlias", g_variant_new("(s@a{sv})", "Disk ä", no_options()));
    assert_string(fixture, TARGET, "Target.Alias", "Disk ä");
    fails(fixture, TARGET, "Target.SetAlias", g_variant_new("(s@a{sv})", "a\nb", no_options()),
          "InvalidArgument");

    call(fixture, TARGET, "Target.SetAccessMode", g_variant_new("(s@a{sv})", "open", no_options()));
    assert_string(fixture, TARGET, "Target.AccessMode", "open");
    fails(fixture, TARGET, "Target.SetAccessMode", g_variant_new("(s@a{sv})", "ajar", no_options()),
          "InvalidArgument");
}

static void
test_set_parameters(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GVariant) parameters = NULL;
    gboolean initial_r2t = FALSE;

    create_target(fixture);
    call(fixture, TARGET, "Target.SetParameters",
         g_variant_new_parsed("({'InitialR2T': <true>}, @a{sv} {})"));
    fails(fixture, TARGET, "Target.SetParameters",
          g_variant_new_parsed("({'InitialR2T': <false>, 'Nothing': <1>}, @a{sv} {})"),
          "InvalidArgument");

    parameters = harness_get(&fixture->harness, TARGET, "Target.Parameters");
    g_assert_true(g_variant_lookup(parameters, "InitialR2T", "b", &initial_r2t));
    g_assert_true(initial_r2t);
}

static void
test_lun(Fixture *fixture, gconstpointer data)
{
    create_disk(fixture);
    create_target(fixture);
    add_lun(fixture, -1, TARGET "/luns/0");
    add_lun(fixture, 300, TARGET "/luns/300");
    add_lun(fixture, -1, TARGET "/luns/1");
    assert_number(fixture, TARGET "/luns/300", "Lun.Number", 300);
    assert_string(fixture, TARGET "/luns/300", "Lun.Target", TARGET);
    assert_string(fixture, TARGET "/luns/300", "Lun.Backstore", DISK);
    assert_string(fixture, TARGET "/luns/300", "Lun.State", "online");
    assert_number(fixture, TARGET "/luns/300", "Lun.ReadOnly", FALSE);

    assert_string(fixture, TARGET "/luns/300", "Lun.ReservationType", "");
    assert_string(fixture, TARGET "/luns/300", "Lun.ReservationHolder", "");
    assert_number(fixture, TARGET "/luns/300", "Lun.ReservationGeneration", 0);
    call(fixture, TARGET "/luns/300", "Lun.ListRegistrations", only_options());
    call(fixture, TARGET "/luns/300", "Lun.ClearReservations", only_options());
    call(fixture, TARGET "/luns/300", "Lun.SetReadOnly",
         g_variant_new("(b@a{sv})", TRUE, no_options()));
    assert_number(fixture, TARGET "/luns/300", "Lun.ReadOnly", TRUE);
    call(fixture, TARGET "/luns/300", "Lun.SetReadOnly",
         g_variant_new("(b@a{sv})", FALSE, no_options()));
    assert_number(fixture, TARGET "/luns/300", "Lun.ReadOnly", FALSE);
    call(fixture, TARGET "/luns/300", "Lun.Reset", only_options());
    call(fixture, TARGET "/luns/300", "Lun.Delete", only_options());
    g_assert_false(exists(fixture, TARGET "/luns/300"));
    call(fixture, TARGET, "Target.Delete", only_options());
    g_assert_false(exists(fixture, TARGET "/luns/0"));
    g_assert_true(exists(fixture, DISK));
}

static void
test_lun_errors(Fixture *fixture, gconstpointer data)
{
    static const char method[] = "Target.AddLun";

    create_disk(fixture);
    create_target(fixture);
    add_lun(fixture, 3, TARGET "/luns/3");
    fails(fixture, TARGET, method, g_variant_new("(oi@a{sv})", DISK, 3, no_options()),
          "AlreadyExists");
    fails(fixture, TARGET, method, g_variant_new("(oi@a{sv})", DISK, 16384, no_options()),
          "InvalidArgument");
    fails(fixture, TARGET, method, g_variant_new("(oi@a{sv})", DISK, -2, no_options()),
          "InvalidArgument");
    fails(fixture, TARGET, method, g_variant_new("(oi@a{sv})", TARGET, -1, no_options()),
          "NoSuchObject");
    fails(fixture, TARGET "/luns/4", "Lun.Delete", only_options(),
          "org.freedesktop.DBus.Error.UnknownMethod");
}

static void
test_read_only_lun(Fixture *fixture, gconstpointer data)
{
    create_disk(fixture);
    create_target(fixture);
    makes(fixture, TARGET, "Target.AddLun",
          g_variant_new("(oi@a{sv})", DISK, 0, one_option("read-only", yes())), TARGET "/luns/0");
    assert_number(fixture, TARGET "/luns/0", "Lun.ReadOnly", TRUE);
}

static void
test_portals(Fixture *fixture, gconstpointer data)
{
    static const char portal[] = "/org/lunport1/portals/127_2e0_2e0_2e1_3a";
    guint port = free_port_reserve();
    g_autoptr(GVariant) reply = NULL;
    const char *path;

    makes(fixture, MANAGER, "Manager.CreatePortalGroup",
          g_variant_new("(q@a{sv})", 7, no_options()), GROUP);
    assert_number(fixture, GROUP, "PortalGroup.Tag", 7);
    fails(fixture, MANAGER, "Manager.CreatePortalGroup",
          g_variant_new("(q@a{sv})", 7, no_options()), "AlreadyExists");
    fails(fixture, MANAGER, "Manager.CreatePortalGroup",
          g_variant_new("(q@a{sv})", 0, no_options()), "InvalidArgument");

    reply = harness_call_ok(&fixture->harness, GROUP, "PortalGroup.AddPortal",
                            g_variant_new("(sq@a{sv})", "127.0.0.1", port, no_options()));
    g_variant_get(reply, "(&o)", &path);
    g_assert_true(g_str_has_prefix(path, portal));
    assert_string(fixture, path, "Portal.State", "listening");
    assert_string(fixture, path, "Portal.Origin", "configuration");
    assert_string(fixture, path, "Portal.Group", GROUP);
    assert_number(fixture, path, "Portal.ConnectionCount", 0);
    fails(fixture, GROUP, "PortalGroup.AddPortal",
          g_variant_new("(sq@a{sv})", "127.0.0.1", port, no_options()), "AlreadyExists");
    fails(fixture, GROUP, "PortalGroup.AddPortal",
          g_variant_new("(sq@a{sv})", "nowhere", 1, no_options()), "InvalidArgument");

    call(fixture, path, "Portal.Pause", only_options());
    assert_string(fixture, path, "Portal.State", "paused");
    call(fixture, path, "Portal.Resume", only_options());
    assert_string(fixture, path, "Portal.State", "listening");
    call(fixture, path, "Portal.Delete", only_options());
    g_assert_false(exists(fixture, path));
    call(fixture, GROUP, "PortalGroup.Delete", only_options());
    g_assert_false(exists(fixture, GROUP));
}

static void
test_portal_groups_of_a_target(Fixture *fixture, gconstpointer data)
{
    makes(fixture, MANAGER, "Manager.CreatePortalGroup",
          g_variant_new("(q@a{sv})", 7, no_options()), GROUP);
    makes(fixture, MANAGER, "Manager.CreateTarget",
          g_variant_new(
              "(s@a{sv})", TARGET_NAME,
              one_option("portal-groups", g_variant_new_parsed("[objectpath '" GROUP "']"))),
          TARGET);
    assert_printed(fixture, TARGET, "Target.PortalGroups", "[objectpath '" GROUP "']");
    assert_printed(fixture, GROUP, "PortalGroup.Targets", "[objectpath '" TARGET "']");
    fails(fixture, GROUP, "PortalGroup.Delete", only_options(), "InUse");

    call(fixture, TARGET, "Target.RemovePortalGroup",
         g_variant_new("(o@a{sv})", GROUP, no_options()));
    assert_printed(fixture, TARGET, "Target.PortalGroups", "@ao []");
    call(fixture, TARGET, "Target.AddPortalGroup", g_variant_new("(o@a{sv})", GROUP, no_options()));
    assert_printed(fixture, TARGET, "Target.PortalGroups", "[objectpath '" GROUP "']");
    fails(fixture, TARGET, "Target.AddPortalGroup", g_variant_new("(o@a{sv})", GROUP, no_options()),
          "AlreadyExists");
    fails(fixture, TARGET, "Target.AddPortalGroup",
          g_variant_new("(o@a{sv})", TARGET, no_options()), "NoSuchObject");
}

/* All at once, and every group again, also one that is made later */
static void
test_portal_groups_at_once(Fixture *fixture, gconstpointer data)
{
    static const char *const groups = "[objectpath '" GROUP "', '" GROUP "']";

    makes(fixture, MANAGER, "Manager.CreateTarget",
          g_variant_new("(s@a{sv})", TARGET_NAME, no_options()), TARGET);
    call(fixture, TARGET, "Target.SetPortalGroups",
         g_variant_new("(@ao@a{sv})", g_variant_new_parsed("@ao []"), no_options()));
    assert_printed(fixture, TARGET, "Target.PortalGroups", "@ao []");
    fails(fixture, TARGET, "Target.SetPortalGroups",
          g_variant_new("(@ao@a{sv})", g_variant_new_parsed(groups), no_options()), "NoSuchObject");

    makes(fixture, MANAGER, "Manager.CreatePortalGroup",
          g_variant_new("(q@a{sv})", 7, no_options()), GROUP);
    call(fixture, TARGET, "Target.SetPortalGroups",
         g_variant_new("(@ao@a{sv})", g_variant_new_parsed(groups), no_options()));
    assert_printed(fixture, TARGET, "Target.PortalGroups", "[objectpath '" GROUP "']");
    fails(fixture, GROUP, "PortalGroup.Delete", only_options(), "InUse");

    fails(fixture, TARGET, "Target.SetPortalGroups",
          g_variant_new("(@ao@a{sv})", g_variant_new_parsed(groups),
                        one_option("every", g_variant_new_boolean(TRUE))),
          "InvalidArgument");
    call(fixture, TARGET, "Target.SetPortalGroups",
         g_variant_new("(@ao@a{sv})", g_variant_new_parsed("@ao []"),
                       one_option("every", g_variant_new_boolean(TRUE))));
    call(fixture, GROUP, "PortalGroup.Delete", only_options());
    makes(fixture, MANAGER, "Manager.CreatePortalGroup",
          g_variant_new("(q@a{sv})", 7, no_options()), GROUP);
    assert_printed(fixture, GROUP, "PortalGroup.Targets", "[objectpath '" TARGET "']");
}

static void
set_alua(Fixture *fixture, const char *state, gboolean preferred)
{
    call(fixture, GROUP, "PortalGroup.SetAluaState",
         g_variant_new("(osb@a{sv})", TARGET, state, preferred, no_options()));
}

static void
test_alua_states(Fixture *fixture, gconstpointer data)
{
    makes(fixture, MANAGER, "Manager.CreatePortalGroup",
          g_variant_new("(q@a{sv})", 7, no_options()), GROUP);
    makes(fixture, MANAGER, "Manager.CreateTarget",
          g_variant_new(
              "(s@a{sv})", TARGET_NAME,
              one_option("portal-groups", g_variant_new_parsed("[objectpath '" GROUP "']"))),
          TARGET);
    assert_printed(fixture, TARGET, "Target.AluaStates", "[(uint16 7, 'active-optimized', false)]");
    set_alua(fixture, "standby", TRUE);
    assert_printed(fixture, TARGET, "Target.AluaStates", "[(uint16 7, 'standby', true)]");
    set_alua(fixture, "active-non-optimized", FALSE);
    assert_printed(fixture, TARGET, "Target.AluaStates",
                   "[(uint16 7, 'active-non-optimized', false)]");

    fails(fixture, GROUP, "PortalGroup.SetAluaState",
          g_variant_new("(osb@a{sv})", TARGET, "asleep", FALSE, no_options()), "InvalidArgument");
    fails(fixture, GROUP, "PortalGroup.SetAluaState",
          g_variant_new("(osb@a{sv})", GROUP, "standby", FALSE, no_options()), "NoSuchObject");
    call(fixture, TARGET, "Target.RemovePortalGroup",
         g_variant_new("(o@a{sv})", GROUP, no_options()));
    fails(fixture, GROUP, "PortalGroup.SetAluaState",
          g_variant_new("(osb@a{sv})", TARGET, "standby", FALSE, no_options()), "NoSuchObject");
}

static void
assert_list(Fixture *fixture, const char *path, const char *method, GVariant *options, gsize n)
{
    g_autoptr(GVariant) reply =
        harness_call_ok(&fixture->harness, path, method, g_variant_new("(@a{sv})", options));
    g_autoptr(GVariant) list = g_variant_get_child_value(reply, 0);

    g_assert_cmpuint(g_variant_n_children(list), ==, n);
}

static void
test_lists(Fixture *fixture, gconstpointer data)
{
    create_disk(fixture);
    create_target(fixture);
    add_lun(fixture, 0, TARGET "/luns/0");
    add_lun(fixture, 1, TARGET "/luns/1");
    assert_list(fixture, MANAGER, "Manager.ListBackstores", no_options(), 1);
    assert_list(fixture, MANAGER, "Manager.ListTargets", no_options(), 1);
    assert_list(fixture, MANAGER, "Manager.ListPortals", no_options(), 1);
    assert_list(fixture, MANAGER, "Manager.ListSessions", no_options(), 0);
    assert_list(fixture, TARGET, "Target.ListLuns", no_options(), 2);
    assert_list(fixture, TARGET, "Target.ListLuns", one_option("limit", g_variant_new_uint32(1)),
                1);
    assert_list(fixture, TARGET, "Target.ListLuns", one_option("offset", g_variant_new_uint32(9)),
                0);
    fails(fixture, MANAGER, "Manager.ListTargets", only_option("first", g_variant_new_uint32(1)),
          "InvalidArgument");
}

static guint16
find_port(Fixture *fixture)
{
    g_autoptr(GVariant) reply =
        harness_call_ok(&fixture->harness, MANAGER, "Manager.ListPortals", only_options());
    g_autoptr(GVariant) portals = g_variant_get_child_value(reply, 0);
    guint16 port;

    g_variant_get_child(portals, 0, "(oqsqsssu)", NULL, NULL, NULL, &port, NULL, NULL, NULL, NULL);
    return port;
}

/* An initiator of its own thread: logs in and stays until the other side closes */
static gpointer
run_initiator(gpointer data)
{
    g_autoptr(Client) client = client_new((guint16)GPOINTER_TO_UINT(data));

    return GUINT_TO_POINTER(client_login(client, TARGET_NAME) == 0 && client_wait_closed(client));
}

static GThread *
log_in(Fixture *fixture)
{
    GThread *initiator;

    create_disk(fixture);
    create_target(fixture);
    add_lun(fixture, 0, TARGET "/luns/0");
    call(fixture, TARGET, "Target.SetAccessMode", g_variant_new("(s@a{sv})", "open", no_options()));
    call(fixture, TARGET, "Target.Enable", only_options());
    initiator =
        g_thread_new("initiator", run_initiator, GUINT_TO_POINTER((guint)find_port(fixture)));
    harness_wait_signal(&fixture->harness,
                        "ObjectManager.InterfacesAdded *sessions/*connections/*");
    return initiator;
}

static char *
find_session(Fixture *fixture)
{
    g_autoptr(GVariant) reply =
        harness_call_ok(&fixture->harness, MANAGER, "Manager.ListSessions", only_options());
    g_autoptr(GVariant) sessions = g_variant_get_child_value(reply, 0);
    char *path;

    g_assert_cmpuint(g_variant_n_children(sessions), ==, 1);
    g_variant_get_child(sessions, 0, "(ossqsst)", &path, NULL, NULL, NULL, NULL, NULL, NULL);
    return path;
}

static char *
find_connection(Fixture *fixture, const char *session)
{
    g_autoptr(GVariant) paths = harness_get(&fixture->harness, session, "Session.Connections");
    char *path;

    g_assert_cmpuint(g_variant_n_children(paths), ==, 1);
    g_variant_get_child(paths, 0, "o", &path);
    return path;
}

static void
test_session(Fixture *fixture, gconstpointer data)
{
    GThread *initiator = log_in(fixture);
    g_autofree char *session = find_session(fixture);
    g_autofree char *connection = find_connection(fixture, session);

    assert_string(fixture, session, "Session.Type", "normal");
    assert_string(fixture, session, "Session.Target", TARGET);
    assert_string(fixture, session, "Session.State", "active");
    assert_string(fixture, session, "Session.RemoteAddress", "127.0.0.1");
    assert_string(fixture, connection, "Connection.Session", session);
    assert_string(fixture, connection, "Connection.LocalAddress", "127.0.0.1");
    assert_number(fixture, connection, "Connection.LocalPort", find_port(fixture));
    assert_number(fixture, TARGET, "Target.SessionCount", 1);
    assert_number(fixture, MANAGER, "Manager.SessionCount", 1);
    call(fixture, session, "Session.GetStatistics", g_variant_new("(t)", (guint64)0));
    call(fixture, connection, "Connection.GetStatistics", g_variant_new("(t)", (guint64)0));

    call(fixture, session, "Session.Terminate", only_options());
    g_assert_true(GPOINTER_TO_UINT(g_thread_join(initiator)));
    g_assert_false(exists(fixture, session));
    g_assert_false(exists(fixture, connection));
}

static void
test_session_keeps_its_target(Fixture *fixture, gconstpointer data)
{
    GThread *initiator = log_in(fixture);

    fails(fixture, TARGET, "Target.Disable", only_options(), "Busy");
    fails(fixture, TARGET, "Target.Delete", only_options(), "Busy");
    fails(fixture, TARGET "/luns/0", "Lun.Delete", only_options(), "Busy");
    call(fixture, TARGET "/luns/0", "Lun.Reset", only_options());
    call(fixture, TARGET, "Target.Delete", only_option("force", yes()));
    g_assert_true(GPOINTER_TO_UINT(g_thread_join(initiator)));
    g_assert_false(exists(fixture, TARGET));
}

static void
test_request_logout(Fixture *fixture, gconstpointer data)
{
    GThread *initiator = log_in(fixture);
    g_autofree char *session = find_session(fixture);

    fails(fixture, session, "Session.RequestLogout",
          only_option("timeout", g_variant_new_uint64(0)), "InvalidArgument");
    makes(fixture, session, "Session.RequestLogout",
          only_option("timeout", g_variant_new_uint64(1)), JOB);
    fails(fixture, session, "Session.RequestLogout", only_options(), "Busy");
    harness_wait_signal(&fixture->harness, "Job.Finished " JOB " ('done', '', '')");
    g_assert_true(GPOINTER_TO_UINT(g_thread_join(initiator)));
    g_assert_false(exists(fixture, session));
}

static void
test_close_connection(Fixture *fixture, gconstpointer data)
{
    GThread *initiator = log_in(fixture);
    g_autofree char *session = find_session(fixture);
    g_autofree char *connection = find_connection(fixture, session);

    call(fixture, connection, "Connection.Close", only_options());
    g_assert_true(GPOINTER_TO_UINT(g_thread_join(initiator)));
    g_assert_false(exists(fixture, connection));
}

/* Every creating method says where the object would be, and nothing is there. */
static void
test_dry_run(Fixture *fixture, gconstpointer data)
{
    create_disk(fixture);
    create_target(fixture);
    makes(fixture, MANAGER, "Manager.CreateBackstore",
          g_variant_new("(ss@a{sv})", "ram", "other",
                        g_variant_new_parsed("{'size': <uint64 4096>, 'dry-run': <true>}")),
          "/org/lunport1/backstores/other");
    g_assert_false(exists(fixture, "/org/lunport1/backstores/other"));
    makes(fixture, TARGET, "Target.AddLun",
          g_variant_new("(oi@a{sv})", DISK, -1, one_option("dry-run", yes())), TARGET "/luns/0");
    g_assert_false(exists(fixture, TARGET "/luns/0"));
    makes(fixture, MANAGER, "Manager.CreatePortalGroup",
          g_variant_new("(q@a{sv})", 7, one_option("dry-run", yes())), GROUP);
    g_assert_false(exists(fixture, GROUP));
    fails(fixture, MANAGER, "Manager.CreateTarget",
          g_variant_new("(s@a{sv})", TARGET_NAME, one_option("dry-run", yes())), "AlreadyExists");
    call(fixture, TARGET, "Target.Delete", only_option("dry-run", yes()));
    g_assert_true(exists(fixture, TARGET));
}

static void
test_generation(Fixture *fixture, gconstpointer data)
{
    guint64 before =
        harness_get_number(&fixture->harness, MANAGER, "Manager.ConfigurationGeneration");

    create_target(fixture);
    g_assert_cmpuint(
        harness_get_number(&fixture->harness, MANAGER, "Manager.ConfigurationGeneration"), >,
        before);
    fails(fixture, TARGET, "Target.Enable",
          only_option("expected-generation", g_variant_new_uint64(before)), "Conflict");
    assert_number(fixture, TARGET, "Target.Enabled", FALSE);
}

static void
test_news(Fixture *fixture, gconstpointer data)
{
    Harness *harness = &fixture->harness;

    create_disk(fixture);
    create_target(fixture);
    harness_wait_signal(harness, "ObjectManager.InterfacesAdded /org/lunport1 *" TARGET "*");
    add_lun(fixture, 0, TARGET "/luns/0");
    harness_wait_signal(harness, "Properties.PropertiesChanged " DISK "*'Luns'*");
    call(fixture, TARGET, "Target.Enable", only_options());
    g_assert_true(
        harness_saw_signal(harness, "Properties.PropertiesChanged " TARGET "*'Enabled'*"));
    harness_wait_signal(harness, "Properties.PropertiesChanged " TARGET "*'State': <'online'>*");
    call(fixture, TARGET "/luns/0", "Lun.Delete", only_options());
    harness_wait_signal(harness, "ObjectManager.InterfacesRemoved *" TARGET "/luns/0*");
}

static void
test_statistics(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GVariant) reply = NULL;
    g_autoptr(GVariant) all = NULL;
    g_autoptr(GVariant) disk = NULL;
    guint64 timestamp;

    create_disk(fixture);
    reply = harness_call_ok(&fixture->harness, MANAGER, "Manager.GetStatistics",
                            g_variant_new_parsed("(@ao [], uint64 0)"));
    g_variant_get(reply, "(t@a{oa{st}})", &timestamp, &all);
    g_assert_cmpuint(timestamp, >, 0);
    disk = g_variant_lookup_value(all, DISK, G_VARIANT_TYPE("a{st}"));
    g_assert_nonnull(disk);
    fails(fixture, MANAGER, "Manager.GetStatistics", g_variant_new_parsed("(@ao [], uint64 4)"),
          "InvalidArgument");
}

static void
test_reload(Fixture *fixture, gconstpointer data)
{
    create_target(fixture);
    call(fixture, MANAGER, "Manager.Reload", only_options());
    g_assert_true(exists(fixture, TARGET));
}

/* What was answered is there after the next start, what was not to persist is not. */
static void
test_answered_is_saved(Fixture *fixture, gconstpointer data)
{
    create_disk(fixture);
    create_target(fixture);
    add_lun(fixture, 5, TARGET "/luns/5");
    makes(fixture, MANAGER, "Manager.CreateTarget",
          g_variant_new("(s@a{sv})", "iqn.2024-01.com.example:b",
                        one_option("persist", g_variant_new_boolean(FALSE))),
          "/org/lunport1/targets/iqn_2e2024_2d01_2ecom_2eexample_3ab");

    stop_service(fixture);
    start_service(fixture);
    g_assert_true(exists(fixture, TARGET "/luns/5"));
    g_assert_false(exists(fixture, "/org/lunport1/targets/iqn_2e2024_2d01_2ecom_2eexample_3ab"));
}

static void
test_log_control(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    harness_set(&fixture->harness, "/org/freedesktop/LogControl1", "org.freedesktop.LogControl1",
                "LogLevel", g_variant_new_string("notice"), &error);
    g_assert_no_error(error);
    harness_set(&fixture->harness, "/org/freedesktop/LogControl1", "org.freedesktop.LogControl1",
                "LogLevel", g_variant_new_string("loud"), &error);
    g_assert_error(error, G_DBUS_ERROR, G_DBUS_ERROR_INVALID_ARGS);
    g_clear_error(&error);
    harness_set(&fixture->harness, "/org/freedesktop/LogControl1", "org.freedesktop.LogControl1",
                "SyslogIdentifier", g_variant_new_string("x"), &error);
    g_assert_nonnull(error);
}

#define ACL    TARGET "/acls/iqn_2e2024_2d01_2ecom_2eexample_3ahost"
#define NODES  "/org/lunport1/initiator_groups/nodes"
#define HOST   "iqn.2024-01.com.example:host"
#define SECRET "a secret of 12 bytes or more"

/* Nothing that can be read has the secret */
static void
assert_no_secret(Fixture *fixture)
{
    static const char *const names[] = { "Acl.Initiator",      "Acl.Action",
                                         "Acl.Networks",       "Acl.AuthenticationMethod",
                                         "Acl.ChapUser",       "Acl.HasSecret",
                                         "Acl.MutualChapUser", "Acl.HasMutualSecret",
                                         "Acl.LunMap" };
    g_autoptr(GVariant) list =
        harness_call_ok(&fixture->harness, TARGET, "Target.ListAcls", only_options());
    g_autofree char *rules = g_variant_print(list, FALSE);

    g_assert_nonnull(strstr(rules, HOST));
    g_assert_null(strstr(rules, SECRET));
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autoptr(GVariant) value = harness_get(&fixture->harness, ACL, names[i]);
        g_autofree char *text = g_variant_print(value, FALSE);

        g_assert_null(strstr(text, SECRET));
    }
}

static GVariant *
acl_options(void)
{
    return g_variant_new_parsed("{'chap-user': <'user'>, 'secret': <%s>, 'read-only': <true>,"
                                " 'networks': <['192.0.2.0/24', '2001:DB8::/32']>,"
                                " 'portal-groups': <[objectpath '/org/lunport1/portal_groups/1']>,"
                                " 'lun-map': <[(uint16 4, uint16 0, false), (0, 1, true)]>}",
                                SECRET);
}

static void
test_acl(Fixture *fixture, gconstpointer data)
{
    create_target(fixture);
    makes(fixture, TARGET, "Target.AddAcl",
          g_variant_new("(s@a{sv})", "IQN.2024-01.com.example:host", acl_options()), ACL);
    assert_string(fixture, ACL, "Acl.Initiator", HOST);
    assert_string(fixture, ACL, "Acl.Action", "allow");
    assert_string(fixture, ACL, "Acl.AuthenticationMethod", "CHAP");
    assert_string(fixture, ACL, "Acl.ChapUser", "user");
    assert_number(fixture, ACL, "Acl.HasSecret", TRUE);
    assert_number(fixture, ACL, "Acl.HasMutualSecret", FALSE);
    assert_printed(fixture, ACL, "Acl.Networks", "['192.0.2.0/24', '2001:db8::/32']");
    assert_printed(fixture, ACL, "Acl.LunMap", "[(uint16 0, uint16 1, true), (4, 0, false)]");
    assert_printed(fixture, ACL, "Acl.PortalGroups",
                   "[objectpath '/org/lunport1/portal_groups/1']");
    assert_no_secret(fixture);

    call(fixture, ACL, "Acl.SetReadOnly", g_variant_new("(b@a{sv})", FALSE, no_options()));
    call(fixture, ACL, "Acl.SetLunMap", g_variant_new("(a(qqb)@a{sv})", NULL, no_options()));
    call(fixture, ACL, "Acl.SetSecret", only_option("user", g_variant_new_string("next")));
    assert_number(fixture, ACL, "Acl.ReadOnly", FALSE);
    assert_printed(fixture, ACL, "Acl.LunMap", "@a(qqb) []");
    assert_string(fixture, ACL, "Acl.ChapUser", "next");
    call(fixture, ACL, "Acl.SetAuthentication", g_variant_new("(s@a{sv})", "Target", no_options()));
    assert_number(fixture, ACL, "Acl.HasSecret", FALSE);
    call(fixture, ACL, "Acl.Delete", only_option("terminate-sessions", yes()));
    g_assert_false(exists(fixture, ACL));
}

static void
test_acl_errors(Fixture *fixture, gconstpointer data)
{
    static const char method[] = "Target.AddAcl";

    create_target(fixture);
    fails(fixture, TARGET, method, g_variant_new("(s@a{sv})", "no name", no_options()),
          "InvalidName");
    fails(fixture, TARGET, method, g_variant_new("(s@a{sv})", "", no_options()), "InvalidArgument");
    fails(fixture, TARGET, method,
          g_variant_new("(s@a{sv})", HOST, one_option("action", g_variant_new_string("maybe"))),
          "InvalidArgument");
    fails(fixture, TARGET, method,
          g_variant_new("(s@a{sv})", HOST, one_option("secret", g_variant_new_string(SECRET))),
          "InvalidArgument");
    fails(fixture, TARGET, method,
          g_variant_new_parsed("(%s, {'networks': <['192.0.2.1/24']>})", HOST), "InvalidArgument");
    fails(fixture, TARGET, method,
          g_variant_new_parsed("(%s, {'lun-map': <[(uint16 1, uint16 0, false), (1, 1, true)]>})",
                               HOST),
          "InvalidArgument");
    fails(fixture, TARGET, method,
          g_variant_new_parsed("('', {'group': <objectpath '" NODES "'>})"), "NoSuchObject");
    makes(fixture, TARGET, method, g_variant_new("(s@a{sv})", HOST, no_options()), ACL);
    fails(fixture, TARGET, method, g_variant_new("(s@a{sv})", HOST, no_options()), "AlreadyExists");
    makes(fixture, TARGET, method, g_variant_new("(s@a{sv})", HOST, one_option("replace", yes())),
          ACL);
}

/* A refused login, from the wire to the bus */
static void
test_login_rejected(Fixture *fixture, gconstpointer data)
{
    const ModelPortalGroup *group = model_find_portal_group(service_get_model(fixture->service), 1);
    const ModelPortal *portal = group->portals->pdata[0];
    g_autoptr(Client) client = NULL;

    create_target(fixture);
    call(fixture, TARGET, "Target.Enable", only_options());
    client = client_new(portal->port);
    while (portal->n_accepted == 0)
        (void)g_main_context_iteration(NULL, TRUE);
    g_assert_cmphex(client_login(client, TARGET_NAME), ==, 0x0202);
    harness_wait_signal(&fixture->harness, "Manager.LoginRejected " MANAGER " ('" TARGET_NAME "', "
                                           "'iqn.2026-11.org.lunport:client', '127.0.0.1:*', 514, *"
                                           "'cure': <'lunctl access allow " TARGET_NAME
                                           " iqn.2026-11.org.lunport:client'>*");
}

/* Anybody may send it, so it is refused before the names are looked at */
static void
test_initiator_group_too_long(Fixture *fixture, gconstpointer data)
{
    g_autofree char *name = g_strnfill(1 << 18, ' ');

    fails(fixture, MANAGER, "Manager.CreateInitiatorGroup",
          g_variant_new_parsed("('nodes', [%s], @a{sv} {})", name), "LimitExceeded");
}

static void
test_initiator_group(Fixture *fixture, gconstpointer data)
{
    create_target(fixture);
    makes(fixture, MANAGER, "Manager.CreateInitiatorGroup",
          g_variant_new_parsed("('nodes', [%s], @a{sv} {})", "IQN.2024-01.com.example:HOST"),
          NODES);
    assert_printed(fixture, NODES, "InitiatorGroup.Initiators", "['" HOST "']");
    fails(fixture, NODES, "InitiatorGroup.AddInitiators",
          g_variant_new_parsed("(['" HOST "'], @a{sv} {})"), "AlreadyExists");
    call(fixture, NODES, "InitiatorGroup.AddInitiators",
         g_variant_new_parsed("(['iqn.2024-02.*'], @a{sv} {})"));
    call(fixture, NODES, "InitiatorGroup.RemoveInitiators",
         g_variant_new_parsed("(['" HOST "'], @a{sv} {})"));
    assert_printed(fixture, NODES, "InitiatorGroup.Initiators", "['iqn.2024-02.*']");
    makes(fixture, TARGET, "Target.AddAcl",
          g_variant_new_parsed("('', {'group': <objectpath '" NODES "'>})"),
          TARGET "/acls/_40nodes");
    assert_string(fixture, TARGET "/acls/_40nodes", "Acl.Group", NODES);
    fails(fixture, NODES, "InitiatorGroup.Delete", only_options(), "InUse");
    call(fixture, TARGET "/acls/_40nodes", "Acl.Delete", only_options());
    call(fixture, NODES, "InitiatorGroup.Delete", only_options());
}

static void
test_authentication(Fixture *fixture, gconstpointer data)
{
    create_target(fixture);
    fails(fixture, TARGET, "Target.SetAuthentication",
          g_variant_new("(s@a{sv})", "CHAP", no_options()), "InvalidArgument");
    call(fixture, TARGET, "Target.SetAuthentication",
         g_variant_new_parsed("('CHAP', {'user': <'u'>, 'secret': <%s>, 'mutual-user': <'m'>,"
                              " 'mutual-secret': <'another one of the target'>})",
                              SECRET));
    assert_string(fixture, TARGET, "Target.ChapUser", "u");
    assert_string(fixture, TARGET, "Target.MutualChapUser", "m");
    call(fixture, MANAGER, "Manager.SetDiscoveryAuthentication",
         g_variant_new_parsed("('CHAP', {'user': <'d'>, 'secret': <%s>})", SECRET));
    assert_string(fixture, MANAGER, "Manager.DiscoveryChapUser", "d");
    call(fixture, MANAGER, "Manager.SetChapAlgorithms",
         g_variant_new_parsed("(['SHA-256'], @a{sv} {})"));
    assert_printed(fixture, MANAGER, "Manager.ChapAlgorithms", "['SHA-256']");
    fails(fixture, MANAGER, "Manager.SetChapAlgorithms",
          g_variant_new_parsed("(@as [], @a{sv} {})"), "InvalidArgument");
    assert_printed(fixture, MANAGER, "Manager.Problems",
                   "['CHAP secrets are stored unencrypted, because there is no credential "
                   "lunport.key: see lunportd(8)']");
}

static GVariant *
account_arguments(const char *user)
{
    return g_variant_new("(s@a{sv})", user, one_option("secret", g_variant_new_string(SECRET)));
}

/* The same methods for targets, rules and discovery */
static void
test_accounts(Fixture *fixture, gconstpointer data)
{
    create_target(fixture);
    makes(fixture, TARGET, "Target.AddAcl", g_variant_new("(s@a{sv})", HOST, no_options()), ACL);
    call(fixture, TARGET, "Target.SetAccount", account_arguments("one"));
    call(fixture, TARGET, "Target.SetAccount",
         g_variant_new_parsed("('two', {'secret': <%s>, 'mutual-user': <'m'>,"
                              " 'mutual-secret': <'another one of the target'>})",
                              SECRET));
    assert_printed(fixture, TARGET, "Target.ChapAccounts", "[('one', ''), ('two', 'm')]");
    assert_string(fixture, TARGET, "Target.AuthenticationMethod", "CHAP");
    fails(fixture, TARGET, "Target.RemoveAccount",
          g_variant_new("(s@a{sv})", "three", no_options()), "NoSuchObject");
    call(fixture, TARGET, "Target.RemoveAccount", g_variant_new("(s@a{sv})", "one", no_options()));
    assert_printed(fixture, TARGET, "Target.ChapAccounts", "[('two', 'm')]");

    call(fixture, ACL, "Acl.SetAccount", account_arguments("a"));
    call(fixture, ACL, "Acl.SetAccount", account_arguments("b"));
    assert_printed(fixture, ACL, "Acl.ChapAccounts", "[('a', ''), ('b', '')]");
    call(fixture, ACL, "Acl.RemoveAccount", g_variant_new("(s@a{sv})", "a", no_options()));
    assert_printed(fixture, ACL, "Acl.ChapAccounts", "[('b', '')]");

    call(fixture, MANAGER, "Manager.SetDiscoveryAccount", account_arguments("d"));
    call(fixture, MANAGER, "Manager.SetDiscoveryAccount", account_arguments("e"));
    assert_printed(fixture, MANAGER, "Manager.DiscoveryAccounts", "[('d', ''), ('e', '')]");
    assert_string(fixture, MANAGER, "Manager.DiscoveryAuthentication", "CHAP");
    call(fixture, MANAGER, "Manager.RemoveDiscoveryAccount",
         g_variant_new("(s@a{sv})", "d", no_options()));
    assert_printed(fixture, MANAGER, "Manager.DiscoveryAccounts", "[('e', '')]");
    fails(fixture, MANAGER, "Manager.SetDiscoveryAccount", account_arguments(""),
          "InvalidArgument");
    assert_no_secret(fixture);
}

#define ADD(name, function) g_test_add("/bus/api/" name, Fixture, NULL, set_up, function, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("backstore", test_backstore);
    ADD("backstore-offline", test_backstore_offline);
    ADD("backstore-medium", test_backstore_medium);
    ADD("backstore-resize", test_backstore_resize);
    ADD("limits", test_limits);
    ADD("backstore-read-only", test_backstore_read_only);
    ADD("backstore-faults", test_backstore_faults);
    ADD("backstore-errors", test_backstore_errors);
    ADD("backstore-in-use", test_backstore_in_use);
    ADD("target", test_target);
    ADD("target-with-options", test_target_with_options);
    ADD("target-errors", test_target_errors);
    ADD("enable-and-disable", test_enable_and_disable);
    ADD("target-setters", test_target_setters);
    ADD("set-parameters", test_set_parameters);
    ADD("lun", test_lun);
    ADD("lun-errors", test_lun_errors);
    ADD("read-only-lun", test_read_only_lun);
    ADD("portals", test_portals);
    ADD("portal-groups-of-a-target", test_portal_groups_of_a_target);
    ADD("portal-groups-at-once", test_portal_groups_at_once);
    ADD("alua-states", test_alua_states);
    ADD("lists", test_lists);
    ADD("session", test_session);
    ADD("session-keeps-its-target", test_session_keeps_its_target);
    ADD("close-connection", test_close_connection);
    ADD("dry-run", test_dry_run);
    ADD("generation", test_generation);
    ADD("news", test_news);
    ADD("statistics", test_statistics);
    ADD("reload", test_reload);
    ADD("answered-is-saved", test_answered_is_saved);
    ADD("log-control", test_log_control);
    ADD("acl", test_acl);
    ADD("acl-errors", test_acl_errors);
    ADD("accounts", test_accounts);
    ADD("login-rejected", test_login_rejected);
    ADD("initiator-group", test_initiator_group);
    ADD("initiator-group-too-long", test_initiator_group_too_long);
    ADD("authentication", test_authentication);
    ADD("request-logout", test_request_logout);
    ADD("target-drain", test_target_drain);
    ADD("target-redirect", test_target_redirect);
    ADD("group-redirect", test_group_redirect);
    return g_test_run();
}
