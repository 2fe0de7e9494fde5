/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What systemd is told
 *
 * READY when targets can be logged in to, a status text at most once a second
 * and only when it changed, and the watchdog: every worker must have answered
 * a ping before WATCHDOG=1 is sent, so a worker that hangs gets the service
 * restarted although the control thread is well. Without systemd all this
 * does nothing, and no timer exists.
 */

#include <string.h>

#include <systemd/sd-daemon.h>

#include "control/service-private.h"

#define EXTEND_SECONDS 5                              /* how often, while loading */
#define EXTEND_USEC    "30000000"                     /* by how much */
#define STOP_USEC      (30 * (guint64)G_USEC_PER_SEC) /* a stop takes no longer, but for initiators */

struct Systemd {
    Service *service;
    gboolean enabled;
    char *status; /* what was sent last */
    guint status_source;
    guint extend_source;
    guint watchdog_source;
    gboolean pinging; /* an answer is owed */
};

Systemd *
systemd_new(Service *service, gboolean enabled)
{
    Systemd *systemd = g_new0(Systemd, 1);

    systemd->service = service;
    systemd->enabled = enabled && g_getenv("NOTIFY_SOCKET") != NULL;
    return systemd;
}

void
systemd_free(Systemd *systemd)
{
    if (systemd == NULL)
        return;

    g_clear_handle_id(&systemd->status_source, g_source_remove);
    g_clear_handle_id(&systemd->extend_source, g_source_remove);
    g_clear_handle_id(&systemd->watchdog_source, g_source_remove);
    g_free(systemd->status);
    g_free(systemd);
}

static guint
count_problems(const Model *model)
{
    guint n = g_hash_table_size(model->reserved);

    for (guint i = 0; i < model->backstores->len; i++) {
        const ModelBackstore *backstore = g_ptr_array_index(model->backstores, i);

        if (backstore->error != NULL)
            n++;
    }
    return n;
}

static char *
make_status(const Model *model)
{
    g_autoptr(GString) text = g_string_new(NULL);
    guint n_online = 0;
    guint n_problems = count_problems(model);

    for (guint i = 0; i < model->targets->len; i++) {
        const ModelTarget *target = g_ptr_array_index(model->targets, i);

        if (target->state == TARGET_ONLINE)
            n_online++;
    }

    g_string_append_printf(text, "%u target%s online, %u session%s", n_online,
                           n_online == 1 ? "" : "s", model->sessions->len,
                           model->sessions->len == 1 ? "" : "s");
    if (n_problems > 0)
        g_string_append_printf(text, ", %u problem%s", n_problems, n_problems == 1 ? "" : "s");
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static gboolean
on_status_time(gpointer data)
{
    Systemd *systemd = data;
    g_autofree char *status = make_status(systemd->service->model);

    systemd->status_source = 0;
    if (g_strcmp0(status, systemd->status) != 0) {
        (void)sd_notifyf(FALSE, "STATUS=%s", status);
        g_free(systemd->status);
        systemd->status = g_steal_pointer(&status);
    }
    return G_SOURCE_REMOVE;
}

void
systemd_update(Systemd *systemd)
{
    if (systemd->enabled && systemd->status_source == 0 && systemd->service->started)
        systemd->status_source = g_timeout_add_seconds(1, on_status_time, systemd);
}

static gboolean
on_extend_time(gpointer data)
{
    (void)sd_notify(FALSE, "EXTEND_TIMEOUT_USEC=" EXTEND_USEC "\nSTATUS=Opening storage");
    return G_SOURCE_CONTINUE;
}

void
systemd_loading(Systemd *systemd)
{
    if (systemd->enabled && systemd->extend_source == 0)
        systemd->extend_source = g_timeout_add_seconds(EXTEND_SECONDS, on_extend_time, systemd);
}

static void
on_pong(gpointer data)
{
    Systemd *systemd = data;

    systemd->pinging = FALSE;
    (void)sd_notify(FALSE, "WATCHDOG=1");
}

static gboolean
on_watchdog_time(gpointer data)
{
    Systemd *systemd = data;

    if (!systemd->pinging) {
        systemd->pinging = TRUE;
        iscsi_service_ping(systemd->service->iscsi, on_pong, systemd);
    }
    return G_SOURCE_CONTINUE;
}

void
systemd_ready(Systemd *systemd)
{
    g_autofree char *status = make_status(systemd->service->model);
    guint64 usec = 0;

    g_clear_handle_id(&systemd->extend_source, g_source_remove);
    if (!systemd->enabled)
        return;

    (void)sd_notifyf(FALSE, "READY=1\nSTATUS=%s", status);
    g_free(systemd->status);
    systemd->status = g_steal_pointer(&status);
    if (sd_watchdog_enabled(FALSE, &usec) > 0 && systemd->watchdog_source == 0)
        systemd->watchdog_source =
            g_timeout_add((guint)MAX(usec / 2000, 100), on_watchdog_time, systemd);
}

void
systemd_stopping(Systemd *systemd, guint seconds)
{
    g_clear_handle_id(&systemd->extend_source, g_source_remove);
    g_clear_handle_id(&systemd->watchdog_source, g_source_remove);
    g_clear_handle_id(&systemd->status_source, g_source_remove);
    if (systemd->enabled)
        (void)sd_notifyf(FALSE, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" G_GUINT64_FORMAT "\nSTATUS=%s",
                         STOP_USEC + seconds * (guint64)G_USEC_PER_SEC,
                         seconds > 0 ? "Waiting for initiators to log out"
                                     : "Closing sessions and storage");
}
