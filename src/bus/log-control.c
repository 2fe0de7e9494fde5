/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * LogControl1
 *
 * The object is outside the managed tree and its interface is not ours, so it
 * does not go through the tables of nouns. GDBus sets properties without asking
 * anybody. Therefore it is given no function for that, and then delivers Get,
 * GetAll and Set as method calls; Set waits for the authority like any other
 * method, with the action that only root and the service's own user have.
 */

#include "bus/log-control.h"

#include <syslog.h>
#include <unistd.h>

#include "util/log.h"

#define LOG_CONTROL_PATH "/org/freedesktop/LogControl1"
#define IDENTIFIER       "lunportd"

struct LogControl {
    GDBusConnection *connection;
    Authority *authority;
    GDBusNodeInfo *node;
    guint registration;
};

static const char xml[] =
    "<node>"
    " <interface name='org.freedesktop.LogControl1'>"
    "  <property name='LogLevel' type='s' access='readwrite'>"
    "   <annotation name='org.freedesktop.DBus.Property.EmitsChangedSignal' value='false'/>"
    "  </property>"
    "  <property name='LogTarget' type='s' access='readwrite'>"
    "   <annotation name='org.freedesktop.DBus.Property.EmitsChangedSignal' value='false'/>"
    "  </property>"
    "  <property name='SyslogIdentifier' type='s' access='read'>"
    "   <annotation name='org.freedesktop.DBus.Property.EmitsChangedSignal' value='false'/>"
    "  </property>"
    " </interface>"
    "</node>";

/* clang-format off */
static const char *const levels[] = {
    [LOG_EMERG]   = "emerg",
    [LOG_ALERT]   = "alert",
    [LOG_CRIT]    = "crit",
    [LOG_ERR]     = "err",
    [LOG_WARNING] = "warning",
    [LOG_NOTICE]  = "notice",
    [LOG_INFO]    = "info",
    [LOG_DEBUG]   = "debug",
};
/* clang-format on */

static const char *
get_target(void)
{
    return g_log_writer_is_journald(STDERR_FILENO) ? "journal" : "console";
}

static GVariant *
get_property(const char *name)
{
    if (g_str_equal(name, "LogLevel"))
        return g_variant_new_string(levels[log_get_level()]);
    if (g_str_equal(name, "LogTarget"))
        return g_variant_new_string(get_target());

    return g_variant_new_string(IDENTIFIER);
}

static GVariant *
get_all(void)
{
    GVariantBuilder builder;

    g_variant_builder_init(&builder, G_VARIANT_TYPE_VARDICT);
    g_variant_builder_add(&builder, "{sv}", "LogLevel", get_property("LogLevel"));
    g_variant_builder_add(&builder, "{sv}", "LogTarget", get_property("LogTarget"));
    g_variant_builder_add(&builder, "{sv}", "SyslogIdentifier", get_property("SyslogIdentifier"));
    return g_variant_builder_end(&builder);
}

static gboolean
set_level(const char *value)
{
    for (int level = 0; level < (int)G_N_ELEMENTS(levels); level++) {
        if (g_str_equal(levels[level], value)) {
            log_set_level(level);
            return TRUE;
        }
    }

    return FALSE;
}

/* The log goes where systemd connected stderr to; that cannot be changed from inside. */
static gboolean
set_property(const char *name, const char *value)
{
    if (g_str_equal(name, "LogLevel"))
        return set_level(value);

    return g_str_equal(value, get_target()) || g_str_equal(value, "auto");
}

static void
on_set_allowed(gpointer data, uid_t uid, GError *error)
{
    GDBusMethodInvocation *invocation = data;
    g_autoptr(GVariant) value = NULL;
    const char *name;

    if (error != NULL) {
        g_dbus_method_invocation_take_error(invocation, error);
        return;
    }

    g_variant_get(g_dbus_method_invocation_get_parameters(invocation), "(&s&sv)", NULL, &name,
                  &value);
    if (g_variant_is_of_type(value, G_VARIANT_TYPE_STRING) &&
        set_property(name, g_variant_get_string(value, NULL)))
        g_dbus_method_invocation_return_value(invocation, NULL);
    else
        g_dbus_method_invocation_return_error(invocation, G_DBUS_ERROR, G_DBUS_ERROR_INVALID_ARGS,
                                              "Property “%s” cannot have this value", name);
}

static void
on_method_call(GDBusConnection *connection, const char *sender, const char *path,
               const char *interface, const char *method, GVariant *parameters,
               GDBusMethodInvocation *invocation, gpointer data)
{
    LogControl *control = data;
    const char *name;

    if (g_str_equal(method, "Get")) {
        g_variant_get(parameters, "(&s&s)", NULL, &name);
        g_dbus_method_invocation_return_value(invocation, g_variant_new("(v)", get_property(name)));
    } else if (g_str_equal(method, "GetAll")) {
        g_dbus_method_invocation_return_value(invocation, g_variant_new("(@a{sv})", get_all()));
    } else {
        authority_check(control->authority, g_dbus_method_invocation_get_message(invocation),
                        AUTHORITY_ACTION_OWNER, g_variant_new("a{ss}", NULL), on_set_allowed,
                        invocation);
    }
}

LogControl *
log_control_new(GDBusConnection *connection, Authority *authority)
{
    static const GDBusInterfaceVTable vtable = { .method_call = on_method_call };
    LogControl *control = g_new0(LogControl, 1);

    control->connection = g_object_ref(connection);
    control->authority = authority;
    control->node = g_dbus_node_info_new_for_xml(xml, NULL);
    control->registration = g_dbus_connection_register_object(
        connection, LOG_CONTROL_PATH, control->node->interfaces[0], &vtable, control, NULL, NULL);
    return control;
}

void
log_control_free(LogControl *control)
{
    if (control == NULL)
        return;

    (void)g_dbus_connection_unregister_object(control->connection, control->registration);
    g_dbus_node_info_unref(control->node);
    g_object_unref(control->connection);
    g_free(control);
}
