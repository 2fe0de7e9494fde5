/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The private bus of the tests
 *
 * Service, bus layer and client share one thread and one main loop, so a call
 * of the client is asynchronous and the loop is turned until its answer is
 * there. Nothing waits for time to pass; the limit is only there to end a test
 * that would hang, and counts nothing while the whole program is held up.
 */

#include "harness.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <glib/gstdio.h>

#define PATIENCE 120 /* seconds in which the loop was turned */

static gboolean
on_second(gpointer data)
{
    ++*(guint *)data;
    return G_SOURCE_CONTINUE;
}

void
wait_until(gboolean (*condition)(gpointer data), gpointer data)
{
    guint n_seconds = 0;
    guint source = g_timeout_add_seconds(1, on_second, &n_seconds);

    while (!condition(data)) {
        g_main_context_iteration(NULL, TRUE);
        g_assert_cmpuint(n_seconds, <, PATIENCE);
    }

    g_source_remove(source);
}

/* Users other than ours may connect: both the policy and the directory let them. */
static const char configuration[] = "<busconfig>"
                                    " <type>session</type>"
                                    " <listen>unix:path=%s/socket</listen>"
                                    " <limit name='auth_timeout'>600000</limit>"
                                    " <policy context=\"default\">"
                                    "  <allow user=\"*\"/>"
                                    "  <allow send_destination=\"*\" eavesdrop=\"true\"/>"
                                    "  <allow receive_sender=\"*\"/>"
                                    "  <allow own=\"*\"/>"
                                    " </policy>"
                                    "</busconfig>";

/* A test that crashes leaves no daemon behind. */
static void
die_with_parent(gpointer data)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
}

void
private_bus_up(PrivateBus *bus)
{
    g_autofree char *config = NULL;
    g_autofree char *config_path = NULL;
    g_autofree char *option = NULL;
    g_autoptr(GSubprocessLauncher) launcher = NULL;
    g_autoptr(GDataInputStream) output = NULL;
    g_autoptr(GError) error = NULL;

    bus->directory = g_dir_make_tmp("lunport-bus-XXXXXX", &error);
    g_assert_no_error(error);
    g_assert_cmpint(g_chmod(bus->directory, 0755), ==, 0);

    config = g_strdup_printf(configuration, bus->directory);
    config_path = g_build_filename(bus->directory, "bus.conf", NULL);
    g_assert_true(g_file_set_contents(config_path, config, -1, &error));

    option = g_strdup_printf("--config-file=%s", config_path);
    launcher = g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE |
                                         G_SUBPROCESS_FLAGS_STDERR_SILENCE);
    g_subprocess_launcher_set_child_setup(launcher, die_with_parent, NULL, NULL);
    bus->daemon = g_subprocess_launcher_spawn(launcher, &error, "dbus-daemon", option, "--nofork",
                                              "--print-address=1", NULL);
    g_assert_no_error(error);

    output = g_data_input_stream_new(g_subprocess_get_stdout_pipe(bus->daemon));
    bus->address = g_data_input_stream_read_line(output, NULL, NULL, &error);
    g_assert_no_error(error);
    g_assert_nonnull(bus->address);
}

void
private_bus_down(PrivateBus *bus)
{
    g_autofree char *config_path = g_build_filename(bus->directory, "bus.conf", NULL);
    g_autofree char *socket_path = g_build_filename(bus->directory, "socket", NULL);

    g_subprocess_force_exit(bus->daemon);
    g_assert_true(g_subprocess_wait(bus->daemon, NULL, NULL));
    g_clear_object(&bus->daemon);
    (void)g_remove(config_path);
    (void)g_remove(socket_path);
    (void)g_rmdir(bus->directory);
    g_clear_pointer(&bus->directory, g_free);
    g_clear_pointer(&bus->address, g_free);
}

static void
on_signal(GDBusConnection *connection, const char *sender, const char *path, const char *interface,
          const char *signal, GVariant *parameters, gpointer data)
{
    Harness *harness = data;
    g_autofree char *text = g_variant_print(parameters, FALSE);
    const char *dot = strrchr(interface, '.');

    g_ptr_array_add(harness->signals, g_strdup_printf("%s.%s %s %s", dot + 1, signal, path, text));
}

static void
on_name_acquired(gpointer data)
{
    *(gboolean *)data = TRUE;
}

static gboolean
is_true(gpointer data)
{
    return *(gboolean *)data;
}

void
harness_up(Harness *harness, Service *service)
{
    static const BusListener listener = { .name_acquired = on_name_acquired };
    g_autoptr(GError) error = NULL;
    gboolean *acquired = g_new0(gboolean, 1);

    private_bus_up(&harness->bus);
    harness->service = service;
    harness->faces = bus_new(service, harness->bus.address, &listener, acquired, &error);
    g_assert_no_error(error);
    wait_until(is_true, acquired);

    harness->client =
        g_dbus_connection_new_for_address_sync(harness->bus.address,
                                               G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
                                                   G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
                                               NULL, NULL, &error);
    g_assert_no_error(error);
    harness->signals = g_ptr_array_new_with_free_func(g_free);
    g_dbus_connection_signal_subscribe(harness->client, BUS_NAME, NULL, NULL, NULL, NULL,
                                       G_DBUS_SIGNAL_FLAGS_NONE, on_signal, harness, NULL);
    harness_settle(harness);
    g_object_set_data_full(G_OBJECT(harness->client), "acquired", acquired, g_free);
}

/* What is still on its way to a callback arrives, so that nothing is left behind */
static void
drain_main_context(void)
{
    while (g_main_context_iteration(NULL, FALSE))
        continue;
}

void
harness_down(Harness *harness)
{
    g_autoptr(GError) error = NULL;

    bus_free(g_steal_pointer(&harness->faces));
    g_assert_true(g_dbus_connection_close_sync(harness->client, NULL, &error));
    drain_main_context();
    g_clear_object(&harness->client);
    g_clear_pointer(&harness->signals, g_ptr_array_unref);
    private_bus_down(&harness->bus);
    drain_main_context();
}

typedef struct {
    GVariant *reply;
    GError *error;
    gboolean done;
} Answer;

static void
on_answer(GObject *source, GAsyncResult *result, gpointer data)
{
    Answer *answer = data;

    answer->reply =
        g_dbus_connection_call_finish(G_DBUS_CONNECTION(source), result, &answer->error);
    answer->done = TRUE;
}

static gboolean
is_answered(gpointer data)
{
    return ((Answer *)data)->done;
}

static GVariant *
call_raw(Harness *harness, const char *name, const char *path, const char *interface,
         const char *method, GVariant *parameters, GError **ret_error)
{
    Answer answer = { 0 };

    g_dbus_connection_call(harness->client, name, path, interface, method, parameters, NULL,
                           G_DBUS_CALL_FLAGS_NONE, G_MAXINT, NULL, on_answer, &answer);
    wait_until(is_answered, &answer);
    if (answer.error != NULL)
        g_propagate_error(ret_error, answer.error);
    return answer.reply;
}

GVariant *
harness_call(Harness *harness, const char *path, const char *method, GVariant *parameters,
             GError **ret_error)
{
    g_auto(GStrv) words = g_strsplit(method, ".", 2);
    g_autofree char *interface = g_strdup_printf("org.lunport1.%s", words[0]);

    return call_raw(harness, BUS_NAME, path, interface, words[1], parameters, ret_error);
}

GVariant *
harness_call_ok(Harness *harness, const char *path, const char *method, GVariant *parameters)
{
    g_autoptr(GError) error = NULL;
    GVariant *reply = harness_call(harness, path, method, parameters, &error);

    g_assert_no_error(error);
    return reply;
}

void
harness_call_fails(Harness *harness, const char *path, const char *method, GVariant *parameters,
                   const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) reply = harness_call(harness, path, method, parameters, &error);
    g_autofree char *whole = strchr(expected, '.') != NULL
                                 ? g_strdup(expected)
                                 : g_strdup_printf("org.lunport1.Error.%s", expected);
    g_autofree char *name = NULL;

    g_assert_null(reply);
    name = g_dbus_error_get_remote_error(error);
    g_assert_cmpstr(name, ==, whole);
}

GVariant *
harness_get(Harness *harness, const char *path, const char *property)
{
    g_auto(GStrv) words = g_strsplit(property, ".", 2);
    g_autofree char *interface = g_strdup_printf("org.lunport1.%s", words[0]);
    g_autoptr(GVariant) reply = NULL;
    g_autoptr(GError) error = NULL;
    GVariant *value;

    reply = call_raw(harness, BUS_NAME, path, "org.freedesktop.DBus.Properties", "Get",
                     g_variant_new("(ss)", interface, words[1]), &error);
    g_assert_no_error(error);
    g_variant_get(reply, "(v)", &value);
    return value;
}

char *
harness_get_string(Harness *harness, const char *path, const char *property)
{
    g_autoptr(GVariant) value = harness_get(harness, path, property);

    return g_variant_dup_string(value, NULL);
}

guint64
harness_get_number(Harness *harness, const char *path, const char *property)
{
    g_autoptr(GVariant) value = harness_get(harness, path, property);

    if (g_variant_is_of_type(value, G_VARIANT_TYPE_BOOLEAN))
        return (guint64)g_variant_get_boolean(value);
    if (g_variant_is_of_type(value, G_VARIANT_TYPE_UINT16))
        return g_variant_get_uint16(value);
    if (g_variant_is_of_type(value, G_VARIANT_TYPE_UINT32))
        return g_variant_get_uint32(value);

    return g_variant_get_uint64(value);
}

void
harness_set(Harness *harness, const char *path, const char *interface, const char *property,
            GVariant *value, GError **ret_error)
{
    g_autoptr(GVariant) reply =
        call_raw(harness, BUS_NAME, path, "org.freedesktop.DBus.Properties", "Set",
                 g_variant_new("(ssv)", interface, property, value), ret_error);

    (void)reply;
}

gboolean
harness_has_object(Harness *harness, const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) reply =
        call_raw(harness, BUS_NAME, "/org/lunport1", "org.freedesktop.DBus.ObjectManager",
                 "GetManagedObjects", NULL, &error);
    g_autoptr(GVariant) objects = NULL;
    g_autoptr(GVariant) object = NULL;

    g_assert_no_error(error);
    objects = g_variant_get_child_value(reply, 0);
    object = g_variant_lookup_value(objects, path, NULL);
    return object != NULL;
}

gboolean
harness_saw_signal(const Harness *harness, const char *pattern)
{
    for (guint i = 0; i < harness->signals->len; i++) {
        if (g_pattern_match_simple(pattern, harness->signals->pdata[i]))
            return TRUE;
    }

    return FALSE;
}

typedef struct {
    const Harness *harness;
    const char *pattern;
} Wanted;

static gboolean
was_seen(gpointer data)
{
    const Wanted *wanted = data;

    return harness_saw_signal(wanted->harness, wanted->pattern);
}

void
harness_wait_signal(Harness *harness, const char *pattern)
{
    Wanted wanted = { harness, pattern };

    wait_until(was_seen, &wanted);
}

void
harness_settle(Harness *harness)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) reply = NULL;

    drain_main_context();
    reply = call_raw(harness, BUS_NAME, "/", "org.freedesktop.DBus.Peer", "Ping", NULL, &error);
    g_assert_no_error(error);
    drain_main_context();
}

GVariant *
no_options(void)
{
    return g_variant_new("a{sv}", NULL);
}

GVariant *
one_option(const char *name, GVariant *value)
{
    GVariantBuilder builder;

    g_variant_builder_init(&builder, G_VARIANT_TYPE_VARDICT);
    g_variant_builder_add(&builder, "{sv}", name, value);
    return g_variant_builder_end(&builder);
}
