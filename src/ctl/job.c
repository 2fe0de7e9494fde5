/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * lunctl job, and waiting for the job that another verb has begun
 *
 * Who waits subscribes first and looks then, so an end between the two is not missed. The first
 * interrupt (Ctrl-C) cancels the job and goes on waiting for its end, the second gives up. Progress is
 * shown only to people: on standard error, where that is a terminal.
 */

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <glib-unix.h>

#include "ctl/verbs.h"

/* clang-format off */
static const Column list_columns[] = {
    { "Number", "JOB", SHOW_PLAIN },
    { "Operation", "OPERATION", SHOW_PLAIN },
    { "State", "STATE", SHOW_PLAIN },
    { "Progress", "PROGRESS", SHOW_PLAIN },
    { "StartedAt", "SINCE", SHOW_TIME },
    { "StartedByUid", "UID", SHOW_PLAIN },
};

static const Column show_columns[] = {
    { "Operation", "Operation", SHOW_PLAIN },
    { "Objects", "On", SHOW_LINES },
    { "State", "State", SHOW_PLAIN },
    { "Error", "Problem", SHOW_ERROR },
    { "Progress", "Progress", SHOW_PLAIN },
    { "StartedAt", "Since", SHOW_TIME },
    { "ExpectedEnd", "Until", SHOW_TIME },
    { "StartedByUid", "Started by user", SHOW_PLAIN },
    { "Cancelable", "Can be canceled", SHOW_BOOL },
    { "Result", "Result", SHOW_LINES },
};

static const Column unreadable_columns[] = {
    { "Offset", "OFFSET", SHOW_PLAIN },
    { "Length", "LENGTH", SHOW_PLAIN },
};
/* clang-format on */

/* What came in while nobody looked */
typedef struct {
    guint n_interrupts;
    gboolean is_lost; /* the service has gone */
} Wait;

gboolean
job_verb_list(Ctl *ctl, GError **ret_error)
{
    GVariant *rows = verbs_list_rows(ctl, "ListJobs", ret_error);

    if (rows == NULL)
        return FALSE;
    output_rows(&ctl->output, list_columns, G_N_ELEMENTS(list_columns), rows, "jobs");
    return TRUE;
}

static char *
find_job(Ctl *ctl, GError **ret_error)
{
    g_autoptr(GVariant) list = NULL;
    guint64 number;

    if (!g_ascii_string_to_unsigned(ctl->argv[0], 10, 1, G_MAXUINT32, &number, NULL)) {
        g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "“%s” is not the number of a job", ctl->argv[0]);
        return NULL;
    }

    list = verbs_list(ctl, "ListJobs", ret_error);
    for (gsize i = 0; list != NULL && i < g_variant_n_children(list); i++) {
        g_autoptr(GVariant) row = g_variant_get_child_value(list, i);
        guint32 row_number;
        char *path;

        g_variant_get_child(row, 1, "u", &row_number);
        if (row_number != number)
            continue;
        g_variant_get_child(row, 0, "o", &path);
        return path;
    }
    if (list != NULL)
        g_set_error(ret_error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_OBJECT,
                    "No job %s; jobs that have ended are forgotten after some seconds",
                    ctl->argv[0]);
    return NULL;
}

static gboolean
show(Ctl *ctl, const char *path, GError **ret_error)
{
    g_autoptr(GVariant) object = client_get_all(&ctl->client, path, "Job", ret_error);

    if (object == NULL)
        return FALSE;
    output_object(&ctl->output, show_columns, G_N_ELEMENTS(show_columns), object);
    return TRUE;
}

gboolean
job_verb_show(Ctl *ctl, GError **ret_error)
{
    g_autofree char *path = find_job(ctl, ret_error);

    return path != NULL && show(ctl, path, ret_error);
}

static gboolean
cancel(Ctl *ctl, const char *path, GError **ret_error)
{
    g_autoptr(GVariant) reply =
        client_call(&ctl->client, path, "Job", "Cancel",
                    g_variant_new("(@a{sv})", client_options(&ctl->client, NULL)), ret_error);

    return reply != NULL;
}

gboolean
job_verb_cancel(Ctl *ctl, GError **ret_error)
{
    g_autofree char *path = find_job(ctl, ret_error);

    return path != NULL && cancel(ctl, path, ret_error);
}

static gboolean
on_interrupt(gpointer data)
{
    Wait *wait = data;

    wait->n_interrupts++;
    return G_SOURCE_CONTINUE;
}

/* Only to end the iteration of the main context: the properties are read anew */
static void
on_changed(GDBusConnection *bus, const char *sender, const char *path, const char *interface,
           const char *signal, GVariant *parameters, gpointer data)
{
}

static void
on_owner_changed(GDBusConnection *bus, const char *sender, const char *path, const char *interface,
                 const char *signal, GVariant *parameters, gpointer data)
{
    Wait *wait = data;

    wait->is_lost = TRUE;
}

static void
on_closed(GDBusConnection *bus, gboolean remote_peer_vanished, GError *error, gpointer data)
{
    Wait *wait = data;

    wait->is_lost = TRUE;
}

static void
show_progress(const Ctl *ctl, GVariant *job)
{
    const char *operation = "";
    double progress = 0;

    if (ctl->output.mode != OUTPUT_TABLE || isatty(STDERR_FILENO) == 0)
        return;

    (void)g_variant_lookup(job, "Operation", "&s", &operation);
    (void)g_variant_lookup(job, "Progress", "d", &progress);
    (void)fprintf(stderr, "\r%s: %.0f %%\033[K", operation, progress * 100);
    (void)fflush(stderr);
}

static void
clear_progress(const Ctl *ctl)
{
    if (ctl->output.mode == OUTPUT_TABLE && isatty(STDERR_FILENO) != 0)
        (void)fputs("\r\033[K", stderr);
}

/* TRUE when it has ended; then @ret_error is how, if not well */
static gboolean
has_ended(GVariant *job, GError **ret_error)
{
    const char *state = "";
    const char *name = "";
    const char *message = "";

    (void)g_variant_lookup(job, "State", "&s", &state);
    if (strcmp(state, "running") == 0)
        return FALSE;

    (void)g_variant_lookup(job, "Error", "(&s&s)", &name, &message);
    if (strcmp(state, "done") != 0)
        g_propagate_error(ret_error, g_dbus_error_new_for_dbus_error(name, message));
    return TRUE;
}

/* What a job has found that people should see */
static void
show_findings(Ctl *ctl, GVariant *job)
{
    g_autoptr(GVariant) result = g_variant_lookup_value(job, "Result", G_VARIANT_TYPE_VARDICT);
    g_autoptr(GVariantIter) iter = NULL;
    GVariantBuilder rows;
    guint64 offset;
    guint64 length;

    if (result == NULL || !g_variant_lookup(result, "unreadable", "a(tt)", &iter) ||
        g_variant_iter_n_children(iter) == 0)
        return;

    clear_progress(ctl);
    g_variant_builder_init(&rows, G_VARIANT_TYPE("aa{sv}"));
    while (g_variant_iter_next(iter, "(tt)", &offset, &length))
        g_variant_builder_add_parsed(&rows, "{'Offset': <%t>, 'Length': <%t>}", offset, length);
    output_rows(&ctl->output, unreadable_columns, G_N_ELEMENTS(unreadable_columns),
                g_variant_builder_end(&rows), "unreadable");
}

static gboolean
wait_on(Ctl *ctl, const char *path, Wait *wait, GError **ret_error)
{
    guint n_handled = 0;

    for (;;) {
        g_autoptr(GVariant) job = client_get_all(&ctl->client, path, "Job", ret_error);
        GError *error = NULL;

        if (job == NULL)
            return FALSE;
        if (has_ended(job, &error)) {
            show_findings(ctl, job);
            if (error != NULL)
                g_propagate_error(ret_error, error);
            return error == NULL;
        }
        show_progress(ctl, job);
        while (!wait->is_lost && wait->n_interrupts == n_handled &&
               !g_main_context_iteration(NULL, TRUE))
            continue;
        if (wait->is_lost || wait->n_interrupts > 1) {
            g_set_error(ret_error, G_IO_ERROR, G_IO_ERROR_CANCELLED, "%s",
                        wait->is_lost ? "The service has gone"
                                      : "Interrupted; the job may still be there");
            return FALSE;
        }
        if (wait->n_interrupts > n_handled && !cancel(ctl, path, ret_error))
            return FALSE;
        n_handled = wait->n_interrupts;
    }
}

static gboolean
wait_for(Ctl *ctl, const char *path, GError **ret_error)
{
    GDBusConnection *bus = ctl->client.bus;
    Wait wait = { 0 };
    guint changed = g_dbus_connection_signal_subscribe(
        bus, "org.lunport1", "org.freedesktop.DBus.Properties", "PropertiesChanged", path, NULL,
        G_DBUS_SIGNAL_FLAGS_NONE, on_changed, NULL, NULL);
    guint owner = g_dbus_connection_signal_subscribe(
        bus, "org.freedesktop.DBus", "org.freedesktop.DBus", "NameOwnerChanged",
        "/org/freedesktop/DBus", "org.lunport1", G_DBUS_SIGNAL_FLAGS_NONE, on_owner_changed, &wait,
        NULL);
    gulong closed = g_signal_connect(bus, "closed", G_CALLBACK(on_closed), &wait);
    guint interrupt = g_unix_signal_add(SIGINT, on_interrupt, &wait);
    gboolean ok = wait_on(ctl, path, &wait, ret_error);

    clear_progress(ctl);
    (void)g_source_remove(interrupt);
    g_signal_handler_disconnect(bus, closed);
    g_dbus_connection_signal_unsubscribe(bus, owner);
    g_dbus_connection_signal_unsubscribe(bus, changed);
    return ok;
}

gboolean
job_follow(Ctl *ctl, GVariant *reply, GError **ret_error)
{
    gboolean waits = TRUE;
    const char *path;

    g_variant_get(reply, "(&o)", &path);
    if (strcmp(path, "/") == 0)
        return TRUE;

    (void)g_variant_lookup(ctl->options, JOB_WAIT_KEY, "b", &waits);
    return waits ? wait_for(ctl, path, ret_error) : show(ctl, path, ret_error);
}
