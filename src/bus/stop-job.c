/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Is the service stopped, or started again?
 *
 * The signal that ends a service is the same for both. systemd knows: the job
 * of our unit is of type “stop” or of type “restart”. Three questions are
 * asked one after the other: what our unit is, its job, and the type of that.
 *
 * Whatever goes wrong on the way counts as a restart, and so does an end without
 * a job, as by kill(1): that is the answer by which no initiator is told to go.
 * The whole must not hold up the stop, so all has to be answered in a second.
 */

#include "bus/stop-job.h"

#define SYSTEMD_NAME      "org.freedesktop.systemd1"
#define SYSTEMD_PATH      "/org/freedesktop/systemd1"
#define MANAGER_INTERFACE "org.freedesktop.systemd1.Manager"
#define UNIT_INTERFACE    "org.freedesktop.systemd1.Unit"
#define JOB_INTERFACE     "org.freedesktop.systemd1.Job"

typedef struct {
    GDBusConnection *connection;
    GCancellable *cancellable;
    guint timer;
    StopJobDone done;
    gpointer data;
} Question;

/* The answer */
static void
finish(Question *question, gboolean is_stop)
{
    g_clear_handle_id(&question->timer, g_source_remove);
    question->done(question->data, is_stop);
    g_object_unref(question->cancellable);
    g_object_unref(question->connection);
    g_free(question);
}

static gboolean
on_time(gpointer data)
{
    Question *question = data;

    question->timer = 0;
    g_cancellable_cancel(question->cancellable);
    return G_SOURCE_REMOVE;
}

static void
ask(Question *question, const char *path, const char *interface, const char *method,
    GVariant *parameters, const char *reply_type, GAsyncReadyCallback next)
{
    g_dbus_connection_call(question->connection, SYSTEMD_NAME, path, interface, method, parameters,
                           G_VARIANT_TYPE(reply_type), G_DBUS_CALL_FLAGS_NO_AUTO_START, G_MAXINT,
                           question->cancellable, next, question);
}

static void
ask_property(Question *question, const char *path, const char *interface, const char *property,
             GAsyncReadyCallback next)
{
    ask(question, path, "org.freedesktop.DBus.Properties", "Get",
        g_variant_new("(ss)", interface, property), "(v)", next);
}

/* What a property has, if it is of @type; NULL: it was not answered so */
static GVariant *
take_property(GObject *source, GAsyncResult *result, const char *type)
{
    g_autoptr(GVariant) reply =
        g_dbus_connection_call_finish(G_DBUS_CONNECTION(source), result, NULL);
    g_autoptr(GVariant) value = NULL;

    if (reply == NULL)
        return NULL;
    g_variant_get(reply, "(v)", &value);
    return g_variant_is_of_type(value, G_VARIANT_TYPE(type)) ? g_steal_pointer(&value) : NULL;
}

static void
on_type(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(GVariant) type = take_property(source, result, "s");

    finish(data, type != NULL && g_str_equal(g_variant_get_string(type, NULL), "stop"));
}

static void
on_job(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(GVariant) job = take_property(source, result, "(uo)");
    const char *path = NULL;
    guint32 id = 0;

    if (job != NULL)
        g_variant_get(job, "(u&o)", &id, &path);
    if (id == 0)
        finish(data, FALSE);
    else
        ask_property(data, path, JOB_INTERFACE, "JobType", on_type);
}

static void
on_unit(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(GVariant) reply =
        g_dbus_connection_call_finish(G_DBUS_CONNECTION(source), result, NULL);
    const char *path;

    if (reply == NULL) {
        finish(data, FALSE);
        return;
    }

    g_variant_get(reply, "(&o)", &path);
    ask_property(data, path, UNIT_INTERFACE, "Job", on_job);
}

void
stop_job_ask(GDBusConnection *connection, guint msec, StopJobDone done, gpointer data)
{
    Question *question = g_new0(Question, 1);

    question->connection = g_object_ref(connection);
    question->cancellable = g_cancellable_new();
    question->timer = g_timeout_add(msec, on_time, question);
    question->done = done;
    question->data = data;
    /* 0: the process that asks */
    ask(question, SYSTEMD_PATH, MANAGER_INTERFACE, "GetUnitByPID", g_variant_new("(u)", 0), "(o)",
        on_unit);
}
