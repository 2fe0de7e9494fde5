/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The connection to the service
 *
 * Calls are synchronous and wait without limit: a password prompt may take any
 * time. When the terminal is interactive and the bus is that of the system,
 * polkit's text agent is started before the first call that may need it, as
 * systemctl does.
 */

#include "ctl/client.h"

#include <pwd.h>
#include <unistd.h>

#include <gio/gunixfdlist.h>
#include <glib-unix.h>

#include "util/error.h"

#define BUS_NAME "org.lunport1"

gboolean
client_open(Client *client, const char *kind, GError **ret_error)
{
    if (strcmp(kind, "system") == 0) {
        client->system_bus = TRUE;
        client->bus = g_bus_get_sync(G_BUS_TYPE_SYSTEM, NULL, ret_error);
    } else if (strcmp(kind, "session") == 0) {
        client->bus = g_bus_get_sync(G_BUS_TYPE_SESSION, NULL, ret_error);
    } else {
        client->bus = g_dbus_connection_new_for_address_sync(
            kind,
            G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
                G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
            NULL, NULL, ret_error);
    }
    if (client->bus == NULL) {
        g_prefix_error(ret_error, "Failed to connect to the bus “%s”: ", kind);
        return FALSE;
    }

    g_dbus_connection_set_exit_on_close(client->bus, FALSE);
    return TRUE;
}

void
client_close(Client *client)
{
    if (client->agent != NULL) {
        g_subprocess_send_signal(client->agent, SIGTERM);
        (void)g_subprocess_wait(client->agent, NULL, NULL);
        g_clear_object(&client->agent);
    }
    g_clear_object(&client->bus);
}

/* polkit's agent for terminals; its absence only means that no password can be asked for */
static void
start_agent(Client *client)
{
    g_autofree char *pid = NULL;
    g_autofree char *program = NULL;
    g_autoptr(GSubprocessLauncher) launcher = NULL;
    int ends[2];
    char byte;

    if (client->agent != NULL || !client->system_bus || !client->interactive || geteuid() == 0 ||
        isatty(STDIN_FILENO) == 0)
        return;

    program = g_find_program_in_path("pkttyagent");
    if (program == NULL || !g_unix_open_pipe(ends, FD_CLOEXEC, NULL))
        return;

    pid = g_strdup_printf("%d", (int)getpid());
    launcher = g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDIN_INHERIT);
    g_subprocess_launcher_take_fd(launcher, ends[1], 3);
    client->agent = g_subprocess_launcher_spawn(launcher, NULL, program, "--notify-fd=3",
                                                "--fallback", "--process", pid, NULL);
    g_clear_object(&launcher);

    /* The agent closes its end when it is registered */
    while (client->agent != NULL && read(ends[0], &byte, 1) > 0)
        continue;
    (void)close(ends[0]);
}

/* What the bus says when nobody has the name does not help anybody */
static void
explain_absence(GError **error)
{
    if (!g_error_matches(*error, G_DBUS_ERROR, G_DBUS_ERROR_SERVICE_UNKNOWN) &&
        !g_error_matches(*error, G_DBUS_ERROR, G_DBUS_ERROR_NAME_HAS_NO_OWNER))
        return;

    g_clear_error(error);
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_CONNECTED,
                        "The service is not on this bus; “systemctl status lunportd” says why, "
                        "--bus= names another bus");
}

GVariant *
client_call(Client *client, const char *path, const char *interface, const char *method,
            GVariant *arguments, GError **ret_error)
{
    g_autofree char *full_interface = g_strconcat(BUS_NAME ".", interface, NULL);
    g_autoptr(GDBusMessage) message =
        g_dbus_message_new_method_call(BUS_NAME, path, full_interface, method);
    g_autoptr(GDBusMessage) reply = NULL;
    GError *error = NULL;
    GDBusMessageFlags flags = G_DBUS_MESSAGE_FLAGS_NONE;
    GVariant *body;

    start_agent(client);
    if (client->interactive)
        flags |= G_DBUS_MESSAGE_FLAGS_ALLOW_INTERACTIVE_AUTHORIZATION;
    g_dbus_message_set_flags(message, flags);
    if (arguments != NULL)
        g_dbus_message_set_body(message, arguments);

    reply = g_dbus_connection_send_message_with_reply_sync(
        client->bus, message, G_DBUS_SEND_MESSAGE_FLAGS_NONE, G_MAXINT, NULL, NULL, &error);
    if (reply == NULL || g_dbus_message_to_gerror(reply, &error)) {
        explain_absence(&error);
        g_propagate_error(ret_error, error);
        return NULL;
    }

    body = g_dbus_message_get_body(reply);
    return body != NULL ? g_variant_ref(body) : g_variant_ref_sink(g_variant_new("()"));
}

gboolean
client_change(Client *client, const char *path, const char *interface, const char *method,
              GVariant *arguments, GError **ret_error)
{
    g_autoptr(GVariant) owned = g_variant_ref_sink(arguments);
    g_autoptr(GVariant) reply = NULL;

    if (path != NULL)
        reply = client_call(client, path, interface, method, owned, ret_error);
    return reply != NULL;
}

GVariant *
client_get_all(Client *client, const char *path, const char *interface, GError **ret_error)
{
    g_autofree char *full_interface = g_strconcat(BUS_NAME ".", interface, NULL);
    GError *error = NULL;
    g_autoptr(GVariant) reply = g_dbus_connection_call_sync(
        client->bus, BUS_NAME, path, "org.freedesktop.DBus.Properties", "GetAll",
        g_variant_new("(s)", full_interface), G_VARIANT_TYPE("(a{sv})"), G_DBUS_CALL_FLAGS_NONE, -1,
        NULL, &error);

    if (reply != NULL)
        return g_variant_get_child_value(reply, 0);
    explain_absence(&error);
    g_propagate_error(ret_error, error);
    return NULL;
}

char *
client_service_user(Client *client)
{
    g_autoptr(GVariant) reply = g_dbus_connection_call_sync(
        client->bus, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
        "GetConnectionUnixUser", g_variant_new("(s)", BUS_NAME), G_VARIANT_TYPE("(u)"),
        G_DBUS_CALL_FLAGS_NONE, -1, NULL, NULL);
    const struct passwd *entry;
    guint32 uid;

    if (reply == NULL)
        return g_strdup("lunport");

    g_variant_get(reply, "(u)", &uid);
    entry = getpwuid(uid);
    return entry != NULL ? g_strdup(entry->pw_name) : g_strdup_printf("%u", uid);
}

GVariant *
client_options(const Client *client, GVariant *options)
{
    GVariantDict dict;

    g_variant_dict_init(&dict, options);
    if (client->dry_run)
        g_variant_dict_insert(&dict, "dry-run", "b", TRUE);
    return g_variant_dict_end(&dict);
}

char *
client_find_target(Client *client, const char *name, GError **ret_error)
{
    g_autoptr(GVariant) reply = client_call(client, MANAGER_PATH, "Manager", "GetTargetByName",
                                            g_variant_new("(s)", name), ret_error);
    char *path = NULL;

    if (reply != NULL)
        g_variant_get(reply, "(o)", &path);
    return path;
}

char *
client_find_backstore(Client *client, const char *name, GError **ret_error)
{
    g_autoptr(GVariant) reply = client_call(client, MANAGER_PATH, "Manager", "ListBackstores",
                                            g_variant_new("(a{sv})", NULL), ret_error);
    g_autoptr(GVariant) list = NULL;

    if (reply == NULL)
        return NULL;

    list = g_variant_get_child_value(reply, 0);
    for (gsize i = 0; i < g_variant_n_children(list); i++) {
        g_autoptr(GVariant) row = g_variant_get_child_value(list, i);
        const char *path, *row_name;

        g_variant_get_child(row, 0, "&o", &path);
        g_variant_get_child(row, 1, "&s", &row_name);
        if (strcmp(row_name, name) == 0)
            return g_strdup(path);
    }

    g_set_error(ret_error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_OBJECT, "No backstore “%s”", name);
    return NULL;
}

ExitCode
client_exit_code(const GError *error)
{
    g_autofree char *remote = g_dbus_error_get_remote_error(error);

    if (g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_ACCESS_DENIED) ||
        g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_AUTH_FAILED) ||
        g_strcmp0(remote, "org.freedesktop.DBus.Error.AccessDenied") == 0 ||
        g_strcmp0(remote, "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired") == 0)
        return EXIT_NOT_AUTHORIZED;

    if (g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_OBJECT) ||
        g_strcmp0(remote, "org.lunport1.Error.NoSuchTarget") == 0 ||
        g_strcmp0(remote, "org.lunport1.Error.NoSuchObject") == 0 ||
        g_strcmp0(remote, "org.lunport1.Error.StorageNotFound") == 0)
        return EXIT_NOT_FOUND;

    /* What lunctl itself found wrong with its words */
    if (error->domain == G_OPTION_ERROR || error->domain == LUNPORT_ERROR)
        return EXIT_USAGE;

    return EXIT_FAILED;
}
