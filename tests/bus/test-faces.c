/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The way of calls and news through the bus layer, over a service that does
 * what the test says. What the real service does with the same calls is in
 * test-api.c.
 */

#include <string.h>

#include "fake-service.h"
#include "harness.h"
#include "util/error.h"

#define MANAGER     "/org/lunport1/Manager"
#define TARGET_NAME "iqn.2024-01.com.example:a"
#define TARGET      "/org/lunport1/targets/iqn_2e2024_2d01_2ecom_2eexample_3aa"

typedef struct {
    Harness harness;
    Service *service;
} Fixture;

static void
set_up(Fixture *fixture, gconstpointer data)
{
    fixture->service = fake_service_new();
    harness_up(&fixture->harness, fixture->service);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    harness_down(&fixture->harness);
    fake_service_free(fixture->service);
}

static void
create_target(Fixture *fixture)
{
    g_autoptr(GVariant) reply =
        harness_call_ok(&fixture->harness, MANAGER, "Manager.CreateTarget",
                        g_variant_new("(s@a{sv})", TARGET_NAME, no_options()));
    const char *path;

    g_variant_get(reply, "(&o)", &path);
    g_assert_cmpstr(path, ==, TARGET);
}

static void
call(Fixture *fixture, const char *path, const char *method, GVariant *parameters)
{
    g_variant_unref(harness_call_ok(&fixture->harness, path, method, parameters));
}

static void
enable(Fixture *fixture, GVariant *options)
{
    call(fixture, TARGET, "Target.Enable", g_variant_new("(@a{sv})", options));
}

static void
test_manager_properties(Fixture *fixture, gconstpointer data)
{
    Harness *harness = &fixture->harness;
    g_autofree char *state = harness_get_string(harness, MANAGER, "Manager.State");
    g_autofree char *version = harness_get_string(harness, MANAGER, "Manager.Version");
    g_autofree char *prefix =
        harness_get_string(harness, MANAGER, "Manager.DefaultTargetNamePrefix");

    g_assert_cmpstr(state, ==, "running");
    g_assert_cmpstr(version, !=, "");
    g_assert_true(g_str_has_prefix(prefix, "iqn.2026-11.org.lunport:"));
    g_assert_cmpuint(harness_get_number(harness, MANAGER, "Manager.TargetCount"), ==, 0);
    g_assert_cmpuint(harness_get_number(harness, MANAGER, "Manager.StartedAt"), ==, 1);
}

static void
test_created_object_is_announced(Fixture *fixture, gconstpointer data)
{
    create_target(fixture);

    g_assert_true(harness_has_object(&fixture->harness, TARGET));
    harness_wait_signal(&fixture->harness,
                        "ObjectManager.InterfacesAdded /org/lunport1 *" TARGET "*AccessMode*");
}

static void
test_deleted_object_is_announced(Fixture *fixture, gconstpointer data)
{
    create_target(fixture);
    call(fixture, TARGET, "Target.Delete", g_variant_new("(@a{sv})", no_options()));

    g_assert_false(harness_has_object(&fixture->harness, TARGET));
    harness_wait_signal(&fixture->harness,
                        "ObjectManager.InterfacesRemoved /org/lunport1 *" TARGET "*Target*");
    harness_call_fails(&fixture->harness, TARGET, "Target.Enable",
                       g_variant_new("(@a{sv})", no_options()),
                       "org.freedesktop.DBus.Error.UnknownMethod");
}

static void
test_change_is_announced_before_the_answer(Fixture *fixture, gconstpointer data)
{
    create_target(fixture);
    enable(fixture, no_options());

    g_assert_true(harness_saw_signal(&fixture->harness,
                                     "Properties.PropertiesChanged " TARGET "*'Enabled': <true>*"));
}

static void
test_only_what_changed_is_announced(Fixture *fixture, gconstpointer data)
{
    Model *model = service_get_model(fixture->service);

    create_target(fixture);
    harness_settle(&fixture->harness);
    g_ptr_array_set_size(fixture->harness.signals, 0);

    model_changed(model, MODEL_TARGET, model_find_target(model, TARGET_NAME));
    harness_settle(&fixture->harness);
    g_assert_cmpuint(fixture->harness.signals->len, ==, 0);
}

static void
test_relatives_are_announced(Fixture *fixture, gconstpointer data)
{
    call(fixture, MANAGER, "Manager.CreatePortalGroup",
         g_variant_new("(q@a{sv})", 1, no_options()));
    create_target(fixture);

    harness_wait_signal(&fixture->harness,
                        "Properties.PropertiesChanged /org/lunport1/portal_groups/1 *Targets*");
    harness_wait_signal(&fixture->harness,
                        "Properties.PropertiesChanged " MANAGER " *'TargetCount': <uint32 1>*");
}

/* A portal that was asked for with port 0 is found under the port it got. */
static void
test_portal_gets_its_port(Fixture *fixture, gconstpointer data)
{
    Model *model = service_get_model(fixture->service);
    g_autoptr(PortalSpec) spec = portal_spec_new("127.0.0.1", 0);
    ModelPortal *portal;

    call(fixture, MANAGER, "Manager.CreatePortalGroup",
         g_variant_new("(q@a{sv})", 1, no_options()));
    portal =
        model_add_portal(model, model_find_portal_group(model, 1), spec, MODEL_ORIGIN_COMMAND_LINE);
    portal->port = 4000;
    model_changed(model, MODEL_PORTAL, portal);

    g_assert_true(
        harness_has_object(&fixture->harness, "/org/lunport1/portals/127_2e0_2e0_2e1_3a4000"));
    g_assert_false(
        harness_has_object(&fixture->harness, "/org/lunport1/portals/127_2e0_2e0_2e1_3a0"));
    model_remove_portal(model, portal);
    g_assert_false(
        harness_has_object(&fixture->harness, "/org/lunport1/portals/127_2e0_2e0_2e1_3a4000"));
}

static guint
count_signals(const Fixture *fixture, const char *pattern)
{
    guint n = 0;

    for (guint i = 0; i < fixture->harness.signals->len; i++)
        n += g_pattern_match_simple(pattern, fixture->harness.signals->pdata[i]);
    return n;
}

/* The first count goes out at once, what comes within the next second in one signal at its end. */
static void
test_counts_are_announced_once_a_second(Fixture *fixture, gconstpointer data)
{
    create_target(fixture);
    for (guint i = 0; i < 20; i++) {
        fake_service_count_session(fixture->service, TARGET_NAME);
        harness_settle(&fixture->harness);
    }

    harness_wait_signal(&fixture->harness, "*" TARGET "*'SessionCount': <uint32 20>*");
    g_assert_cmpuint(count_signals(fixture, "*" TARGET "*'SessionCount'*"), <, 20);
}

static void
test_dry_run_changes_nothing(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GVariant) reply =
        harness_call_ok(&fixture->harness, MANAGER, "Manager.CreateTarget",
                        g_variant_new("(s@a{sv})", TARGET_NAME,
                                      one_option("dry-run", g_variant_new_boolean(TRUE))));
    const char *path;

    g_variant_get(reply, "(&o)", &path);
    g_assert_cmpstr(path, ==, TARGET);
    g_assert_false(harness_has_object(&fixture->harness, TARGET));
}

static void
test_options_reach_the_service(Fixture *fixture, gconstpointer data)
{
    create_target(fixture);
    enable(fixture, one_option("persist", g_variant_new_boolean(FALSE)));

    g_assert_nonnull(strstr(fake_service_last(fixture->service), "persist=0"));
}

static void
test_expected_generation(Fixture *fixture, gconstpointer data)
{
    guint64 generation;

    create_target(fixture);
    generation = harness_get_number(&fixture->harness, MANAGER, "Manager.ConfigurationGeneration");
    enable(fixture, one_option("expected-generation", g_variant_new_uint64(generation)));
    harness_call_fails(&fixture->harness, TARGET, "Target.Enable",
                       g_variant_new("(@a{sv})", one_option("expected-generation",
                                                            g_variant_new_uint64(generation))),
                       "Conflict");
}

static void
test_unknown_option_is_refused(Fixture *fixture, gconstpointer data)
{
    create_target(fixture);
    harness_call_fails(&fixture->harness, TARGET, "Target.Enable",
                       g_variant_new("(@a{sv})", one_option("persit", g_variant_new_boolean(TRUE))),
                       "InvalidArgument");
    g_assert_null(strstr(fake_service_last(fixture->service), "enable_target"));
}

static void
test_errors_of_the_service_have_names(Fixture *fixture, gconstpointer data)
{
    create_target(fixture);
    fake_service_fail_next(fixture->service, LUNPORT_ERROR_BUSY);
    harness_call_fails(&fixture->harness, TARGET, "Target.Disable",
                       g_variant_new("(@a{sv})", no_options()), "Busy");
}

static void
test_properties_cannot_be_set(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *alias = NULL;

    create_target(fixture);
    harness_set(&fixture->harness, TARGET, "org.lunport1.Target", "Alias",
                g_variant_new_string("x"), &error);
    g_assert_nonnull(error);
    alias = harness_get_string(&fixture->harness, TARGET, "Target.Alias");
    g_assert_cmpstr(alias, ==, "");
}

static void
test_session_faces(Fixture *fixture, gconstpointer data)
{
    Harness *harness = &fixture->harness;
    g_autofree char *initiator = NULL;
    g_autofree char *alias = NULL;
    g_autofree char *remote = NULL;
    g_autofree char *target = NULL;

    create_target(fixture);
    fake_service_add_session(fixture->service, 7, TARGET_NAME, "iqn.x:\xfe");

    initiator = harness_get_string(harness, "/org/lunport1/sessions/7", "Session.InitiatorName");
    alias = harness_get_string(harness, "/org/lunport1/sessions/7", "Session.InitiatorAlias");
    target = harness_get_string(harness, "/org/lunport1/sessions/7", "Session.Target");
    remote = harness_get_string(harness, "/org/lunport1/sessions/7/connections/1",
                                "Connection.RemoteAddress");
    g_assert_cmpstr(initiator, ==, "iqn.x:\\xfe");
    g_assert_cmpstr(alias, ==, "alias \\xff\\x01");
    g_assert_cmpstr(target, ==, TARGET);
    g_assert_cmpstr(remote, ==, "2001:db8::2");
    g_assert_cmpuint(harness_get_number(harness, "/org/lunport1/sessions/7/connections/1",
                                        "Connection.RemotePort"),
                     ==, 40000);
}

static void
test_session_leaves(Fixture *fixture, gconstpointer data)
{
    fake_service_add_session(fixture->service, 8, NULL, "iqn.x:y");
    g_assert_true(harness_has_object(&fixture->harness, "/org/lunport1/sessions/8/connections/1"));

    call(fixture, "/org/lunport1/sessions/8", "Session.Terminate",
         g_variant_new("(@a{sv})", no_options()));
    g_assert_false(harness_has_object(&fixture->harness, "/org/lunport1/sessions/8"));
    g_assert_false(harness_has_object(&fixture->harness, "/org/lunport1/sessions/8/connections/1"));
}

static void
test_list_sessions_filters(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GVariant) reply = NULL;
    g_autoptr(GVariant) sessions = NULL;

    create_target(fixture);
    fake_service_add_session(fixture->service, 1, TARGET_NAME, "iqn.x:one");
    fake_service_add_session(fixture->service, 2, NULL, "iqn.x:two");

    reply = harness_call_ok(
        &fixture->harness, MANAGER, "Manager.ListSessions",
        g_variant_new("(@a{sv})", one_option("target", g_variant_new_object_path(TARGET))));
    sessions = g_variant_get_child_value(reply, 0);
    g_assert_cmpuint(g_variant_n_children(sessions), ==, 1);
    g_assert_cmpstr(g_variant_get_type_string(sessions), ==, "a(ossqsst)");

    harness_call_fails(
        &fixture->harness, MANAGER, "Manager.ListSessions",
        g_variant_new("(@a{sv})", one_option("target", g_variant_new_object_path("/nothing"))),
        "NoSuchObject");
}

static void
test_statistics_of_one(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GVariant) reply = NULL;
    g_autoptr(GVariant) counters = NULL;
    guint64 timestamp;
    guint64 commands;

    fake_service_add_session(fixture->service, 3, NULL, "iqn.x:y");
    reply = harness_call_ok(&fixture->harness, "/org/lunport1/sessions/3", "Session.GetStatistics",
                            g_variant_new("(t)", (guint64)0));
    g_variant_get(reply, "(t@a{st})", &timestamp, &counters);
    g_assert_cmpuint(timestamp, ==, 123);
    g_assert_true(g_variant_lookup(counters, "commands", "t", &commands));
    g_assert_cmpuint(commands, ==, 7);

    harness_call_fails(&fixture->harness, "/org/lunport1/sessions/3", "Session.GetStatistics",
                       g_variant_new("(t)", (guint64)1), "InvalidArgument");
}

static GVariant *
get_statistics(Fixture *fixture, const char *const *paths)
{
    g_autoptr(GVariant) reply = harness_call_ok(&fixture->harness, MANAGER, "Manager.GetStatistics",
                                                g_variant_new("(^aot)", paths, (guint64)0));

    return g_variant_get_child_value(reply, 1);
}

static void
test_statistics_of_many(Fixture *fixture, gconstpointer data)
{
    static const char *const all[] = { NULL };
    static const char *const one[] = { TARGET, NULL };
    static const char *const missing[] = { "/org/lunport1/targets/x", NULL };
    g_autoptr(GVariant) of_all = NULL;
    g_autoptr(GVariant) of_one = NULL;

    create_target(fixture);
    of_all = get_statistics(fixture, all);
    of_one = get_statistics(fixture, one);
    g_assert_cmpuint(g_variant_n_children(of_all), ==, 2);
    g_assert_cmpuint(g_variant_n_children(of_one), ==, 1);
    harness_call_fails(&fixture->harness, MANAGER, "Manager.GetStatistics",
                       g_variant_new("(^aot)", missing, (guint64)0), "NoSuchObject");
}

static void
test_permissions_of_the_owner(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GVariant) reply = harness_call_ok(
        &fixture->harness, MANAGER, "Manager.GetPermissions", g_variant_new("(o)", "/"));
    g_autoptr(GVariant) permissions = g_variant_get_child_value(reply, 0);
    const char *answer;

    g_assert_true(g_variant_lookup(permissions, "org.lunport1.manage-targets", "&s", &answer));
    g_assert_cmpstr(answer, ==, "yes");
    g_assert_true(g_variant_lookup(permissions, "org.lunport1.manage-access", "&s", &answer));
    harness_call_fails(&fixture->harness, MANAGER, "Manager.GetPermissions",
                       g_variant_new("(o)", "/nothing"), "NoSuchObject");
}

static void
on_late_answer(GObject *source, GAsyncResult *result, gpointer data)
{
    GError **error = data;
    g_autoptr(GVariant) reply =
        g_dbus_connection_call_finish(G_DBUS_CONNECTION(source), result, error);

    g_assert_null(reply);
}

static gboolean
is_set(gpointer data)
{
    return *(gpointer *)data != NULL;
}

static gboolean
has_begun(gpointer data)
{
    return strstr(fake_service_last(data), "enable_target") != NULL;
}

/* The bus goes while control works: the caller is answered, the operation ends unheard. */
static void
test_job(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GVariant) reply = NULL;
    g_autoptr(GVariant) list = NULL;
    g_autofree char *text = NULL;

    create_target(fixture);
    call(fixture, TARGET, "Target.Disable",
         g_variant_new("(@a{sv})", one_option("mode", g_variant_new_string("drain"))));
    g_assert_true(
        g_str_has_prefix(fake_service_last(fixture->service), "drain_target " TARGET_NAME " 60 "));
    g_assert_true(harness_has_object(&fixture->harness, "/org/lunport1/jobs/1"));
    reply = harness_call_ok(&fixture->harness, MANAGER, "Manager.ListJobs",
                            g_variant_new("(@a{sv})", no_options()));
    list = g_variant_get_child_value(reply, 0);
    g_assert_cmpuint(g_variant_n_children(list), ==, 1);
    text = g_variant_print(list, FALSE);
    g_assert_true(
        g_str_has_prefix(text, "[('/org/lunport1/jobs/1', 1, 'Target.Disable', 'running', 0.0, "));

    call(fixture, "/org/lunport1/jobs/1", "Job.Cancel", g_variant_new("(@a{sv})", no_options()));
    harness_wait_signal(&fixture->harness,
                        "Job.Finished /org/lunport1/jobs/1 ('canceled', "
                        "'org.lunport1.Error.Canceled', 'As the caller wanted')");
}

static void
test_bus_goes_during_an_operation(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *name = NULL;

    create_target(fixture);
    fake_service_hold(fixture->service);
    g_dbus_connection_call(fixture->harness.client, BUS_NAME, TARGET, "org.lunport1.Target",
                           "Enable", g_variant_new("(@a{sv})", no_options()), NULL,
                           G_DBUS_CALL_FLAGS_NONE, G_MAXINT, NULL, on_late_answer, &error);
    wait_until(has_begun, fixture->service);

    bus_free(g_steal_pointer(&fixture->harness.faces));
    wait_until(is_set, &error);
    name = g_dbus_error_get_remote_error(error);
    g_assert_cmpstr(name, ==, "org.lunport1.Error.ShuttingDown");
    fake_service_release(fixture->service);
}

static void
on_name_lost(gpointer data)
{
    *(gpointer *)data = data;
}

/* Two services cannot have the name; the second is told so. */
static void
test_name_is_taken(Fixture *fixture, gconstpointer data)
{
    static const BusListener listener = { .name_lost = on_name_lost };
    Service *service = fake_service_new();
    gpointer lost = NULL;
    Bus *bus = bus_new(service, fixture->harness.bus.address, &listener, &lost, NULL);

    wait_until(is_set, &lost);
    bus_free(bus);
    fake_service_free(service);
}

static void
on_acquired(gpointer data)
{
    *(gpointer *)data = data;
}

/* A service that still loads its configuration has no name. */
static void
test_name_waits_for_the_start(void)
{
    static const BusListener listener = { .name_acquired = on_acquired };
    PrivateBus private_bus = { 0 };
    Service *service = fake_service_new();
    Model *model = service_get_model(service);
    g_autoptr(GDBusConnection) other = NULL;
    g_autoptr(GVariant) owner = NULL;
    gpointer acquired = NULL;
    gboolean has_owner = TRUE;
    Bus *bus;

    model_set_state(model, MODEL_STATE_STARTING);
    private_bus_up(&private_bus);
    bus = bus_new(service, private_bus.address, &listener, &acquired, NULL);
    model_bump_generation(model);

    other =
        g_dbus_connection_new_for_address_sync(private_bus.address,
                                               G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
                                                   G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
                                               NULL, NULL, NULL);
    owner = g_dbus_connection_call_sync(other, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                        "org.freedesktop.DBus", "NameHasOwner",
                                        g_variant_new("(s)", BUS_NAME), NULL,
                                        G_DBUS_CALL_FLAGS_NONE, -1, NULL, NULL);
    g_variant_get(owner, "(b)", &has_owner);
    g_assert_false(has_owner);

    model_set_state(model, MODEL_STATE_RUNNING);
    wait_until(is_set, &acquired);
    bus_free(bus);
    g_assert_true(g_dbus_connection_close_sync(other, NULL, NULL));
    private_bus_down(&private_bus);
    fake_service_free(service);
}

static void
test_no_bus(void)
{
    Service *service = fake_service_new();
    g_autoptr(GError) error = NULL;

    g_assert_null(bus_new(service, "unix:path=/nonexistent/bus", NULL, NULL, &error));
    g_assert_nonnull(error);
    fake_service_free(service);
}

#define ADD(name, function)                                                                        \
    g_test_add("/bus/faces/" name, Fixture, NULL, set_up, function, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("manager-properties", test_manager_properties);
    ADD("created-object-is-announced", test_created_object_is_announced);
    ADD("deleted-object-is-announced", test_deleted_object_is_announced);
    ADD("change-is-announced-before-the-answer", test_change_is_announced_before_the_answer);
    ADD("only-what-changed-is-announced", test_only_what_changed_is_announced);
    ADD("relatives-are-announced", test_relatives_are_announced);
    ADD("portal-gets-its-port", test_portal_gets_its_port);
    ADD("counts-are-announced-once-a-second", test_counts_are_announced_once_a_second);
    ADD("dry-run-changes-nothing", test_dry_run_changes_nothing);
    ADD("options-reach-the-service", test_options_reach_the_service);
    ADD("expected-generation", test_expected_generation);
    ADD("unknown-option-is-refused", test_unknown_option_is_refused);
    ADD("errors-of-the-service-have-names", test_errors_of_the_service_have_names);
    ADD("properties-cannot-be-set", test_properties_cannot_be_set);
    ADD("session-faces", test_session_faces);
    ADD("session-leaves", test_session_leaves);
    ADD("list-sessions-filters", test_list_sessions_filters);
    ADD("statistics-of-one", test_statistics_of_one);
    ADD("statistics-of-many", test_statistics_of_many);
    ADD("permissions-of-the-owner", test_permissions_of_the_owner);
    ADD("job", test_job);
    ADD("bus-goes-during-an-operation", test_bus_goes_during_an_operation);
    ADD("name-is-taken", test_name_is_taken);
    g_test_add_func("/bus/faces/name-waits-for-the-start", test_name_waits_for_the_start);
    g_test_add_func("/bus/faces/no-bus", test_no_bus);
    return g_test_run();
}
