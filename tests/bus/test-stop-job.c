/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Stop or restart, with a systemd that answers as the test says
 */

#include "bus/stop-job.h"
#include "harness.h"

#define UNIT_PATH "/org/freedesktop/systemd1/unit/lunportd_2eservice"
#define JOB_PATH  "/org/freedesktop/systemd1/job/7"

typedef enum {
    SYSTEMD_ANSWERS,
    SYSTEMD_HAS_NO_UNIT,
    SYSTEMD_IS_SILENT,
    SYSTEMD_IS_AWAY,
} SystemdMood;

typedef struct {
    SystemdMood mood;
    const char *type; /* of the job; NULL: there is none */
    gboolean is_stop;
} Case;

typedef struct {
    const Case *now;
    GPtrArray *open; /* of GDBusMethodInvocation: not answered */
    gboolean has_name;
    gboolean is_answered;
    gboolean is_stop;
} Systemd;

static const char manager_xml[] =
    "<node><interface name='org.freedesktop.systemd1.Manager'>"
    " <method name='GetUnitByPID'><arg type='u' direction='in'/><arg type='o' direction='out'/></method>"
    "</interface></node>";
static const char unit_xml[] = "<node><interface name='org.freedesktop.systemd1.Unit'>"
                               " <property name='Job' type='(uo)' access='read'/>"
                               "</interface></node>";
static const char job_xml[] = "<node><interface name='org.freedesktop.systemd1.Job'>"
                              " <property name='JobType' type='s' access='read'/>"
                              "</interface></node>";

static void
on_call(GDBusConnection *connection, const char *sender, const char *path, const char *interface,
        const char *method, GVariant *parameters, GDBusMethodInvocation *invocation, gpointer data)
{
    Systemd *systemd = data;

    switch (systemd->now->mood) {
    case SYSTEMD_ANSWERS:
        g_dbus_method_invocation_return_value(invocation, g_variant_new("(o)", UNIT_PATH));
        return;
    case SYSTEMD_HAS_NO_UNIT:
        g_dbus_method_invocation_return_dbus_error(
            invocation, "org.freedesktop.systemd1.NoUnitForPID", "No unit");
        return;
    case SYSTEMD_IS_SILENT:
    case SYSTEMD_IS_AWAY:
        g_ptr_array_add(systemd->open, invocation);
        return;
    }
}

static GVariant *
on_get(GDBusConnection *connection, const char *sender, const char *path, const char *interface,
       const char *property, GError **ret_error, gpointer data)
{
    const Systemd *systemd = data;
    const char *type = systemd->now->type;

    if (g_str_equal(property, "JobType"))
        return g_variant_new_string(type);
    return g_variant_new("(uo)", type != NULL ? 7 : 0, type != NULL ? JOB_PATH : "/");
}

static void
add_object(GDBusConnection *connection, const char *path, const char *xml, Systemd *systemd)
{
    static const GDBusInterfaceVTable vtable = { .method_call = on_call, .get_property = on_get };
    GDBusNodeInfo *node = g_dbus_node_info_new_for_xml(xml, NULL);

    g_assert_cmpuint(g_dbus_connection_register_object(connection, path, node->interfaces[0],
                                                       &vtable, systemd, NULL, NULL),
                     !=, 0);
    g_dbus_node_info_unref(node);
}

static void
on_name(GDBusConnection *connection, const char *name, gpointer data)
{
    ((Systemd *)data)->has_name = TRUE;
}

static void
on_answer(gpointer data, gboolean is_stop)
{
    Systemd *systemd = data;

    systemd->is_answered = TRUE;
    systemd->is_stop = is_stop;
}

static gboolean
is_true(gpointer data)
{
    return *(gboolean *)data;
}

static GDBusConnection *
connect_to(const PrivateBus *bus)
{
    g_autoptr(GError) error = NULL;
    GDBusConnection *connection =
        g_dbus_connection_new_for_address_sync(bus->address,
                                               G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
                                                   G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
                                               NULL, NULL, &error);

    g_assert_no_error(error);
    return connection;
}

static void
test_answers(gconstpointer data)
{
    const Case *now = data;
    g_autoptr(GPtrArray) open = g_ptr_array_new_with_free_func(g_object_unref);
    Systemd systemd = { .now = now, .open = open };
    PrivateBus bus;
    g_autoptr(GDBusConnection) there = NULL;
    g_autoptr(GDBusConnection) here = NULL;
    guint name = 0;

    private_bus_up(&bus);
    there = connect_to(&bus);
    here = connect_to(&bus);
    add_object(there, "/org/freedesktop/systemd1", manager_xml, &systemd);
    add_object(there, UNIT_PATH, unit_xml, &systemd);
    add_object(there, JOB_PATH, job_xml, &systemd);
    if (now->mood != SYSTEMD_IS_AWAY) {
        name = g_bus_own_name_on_connection(there, "org.freedesktop.systemd1",
                                            G_BUS_NAME_OWNER_FLAGS_NONE, on_name, NULL, &systemd,
                                            NULL);
        wait_until(is_true, &systemd.has_name);
    }

    /* Who answers may be slow, as this is one thread of a machine that may be busy */
    stop_job_ask(here, now->mood == SYSTEMD_IS_SILENT ? 100 : G_MAXINT, on_answer, &systemd);
    g_assert_false(systemd.is_answered);
    wait_until(is_true, &systemd.is_answered);
    g_assert_cmpint(systemd.is_stop, ==, now->is_stop);

    if (name != 0)
        g_bus_unown_name(name);
    private_bus_down(&bus);
}

int
main(int argc, char **argv)
{
    static const Case stop = { SYSTEMD_ANSWERS, "stop", TRUE };
    static const Case restart = { SYSTEMD_ANSWERS, "restart", FALSE };
    static const Case killed = { SYSTEMD_ANSWERS, NULL, FALSE };
    static const Case no_unit = { SYSTEMD_HAS_NO_UNIT, "stop", FALSE };
    static const Case silent = { SYSTEMD_IS_SILENT, "stop", FALSE };
    static const Case away = { SYSTEMD_IS_AWAY, "stop", FALSE };

    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/bus/stop-job/stop", &stop, test_answers);
    g_test_add_data_func("/bus/stop-job/restart", &restart, test_answers);
    g_test_add_data_func("/bus/stop-job/killed", &killed, test_answers);
    g_test_add_data_func("/bus/stop-job/no-unit", &no_unit, test_answers);
    g_test_add_data_func("/bus/stop-job/silent", &silent, test_answers);
    g_test_add_data_func("/bus/stop-job/away", &away, test_answers);
    return g_test_run();
}
