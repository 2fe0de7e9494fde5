/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* What the service tells systemd, read from the socket that systemd would have */

#include <glib/gstdio.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/service.h"

#define WATCHDOG_USEC "400000"

typedef struct {
    char *base;
    int fd;
    Service *service;
    GString *heard; /* all datagrams, with newlines between */
    gboolean done;
} Systemd;

static void
on_done(gpointer object, const GError *error, gpointer data)
{
    Systemd *systemd = data;

    g_assert_no_error(error);
    systemd->done = TRUE;
}

static void
set_up(Systemd *systemd, gconstpointer data)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    g_autofree char *path = NULL;
    g_autofree char *pid = g_strdup_printf("%d", (int)getpid());

    systemd->base = g_dir_make_tmp("lunport-systemd-XXXXXX", NULL);
    systemd->heard = g_string_new("\n");
    path = g_build_filename(systemd->base, "notify", NULL);
    (void)g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    systemd->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(systemd->fd, (const struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_true(g_setenv("NOTIFY_SOCKET", path, TRUE));
    g_assert_true(g_setenv("WATCHDOG_USEC", WATCHDOG_USEC, TRUE));
    g_assert_true(g_setenv("WATCHDOG_PID", pid, TRUE));
}

static void
tear_down(Systemd *systemd, gconstpointer data)
{
    g_autofree char *path = g_build_filename(systemd->base, "notify", NULL);

    g_unsetenv("NOTIFY_SOCKET");
    g_unsetenv("WATCHDOG_USEC");
    g_unsetenv("WATCHDOG_PID");
    (void)close(systemd->fd);
    (void)g_unlink(path);
    (void)g_rmdir(systemd->base);
    g_free(systemd->base);
    (void)g_string_free(systemd->heard, TRUE);
}

static gboolean
has_heard(Systemd *systemd, const char *line)
{
    g_autofree char *whole = g_strdup_printf("\n%s\n", line);
    char datagram[1024];
    gssize size;

    while ((size = recv(systemd->fd, datagram, sizeof(datagram), 0)) > 0) {
        g_string_append_len(systemd->heard, datagram, size);
        g_string_append_c(systemd->heard, '\n');
    }
    return strstr(systemd->heard->str, whole) != NULL;
}

static gboolean
on_tick(gpointer data)
{
    return G_SOURCE_CONTINUE;
}

/* Run the main loop until @line was heard; the harness ends a test that waits for ever */
static void
wait_heard(Systemd *systemd, const char *line)
{
    guint tick = g_timeout_add(20, on_tick, NULL);

    while (!has_heard(systemd, line))
        (void)g_main_context_iteration(NULL, TRUE);
    (void)g_source_remove(tick);
}

static void
wait_done(Systemd *systemd)
{
    while (!systemd->done)
        (void)g_main_context_iteration(NULL, TRUE);
    systemd->done = FALSE;
}

static void
start(Systemd *systemd)
{
    static const char *const listen[] = { "127.0.0.1:0", NULL };
    const ServiceConfig config = { .n_workers = 2, .listen = listen, .use_systemd = TRUE };
    g_autoptr(GError) error = NULL;

    systemd->service = service_new(&config, &error);
    g_assert_no_error(error);
    service_start(systemd->service, on_done, systemd);
}

static void
stop(Systemd *systemd)
{
    service_stop(systemd->service, on_done, systemd);
    wait_done(systemd);
    g_clear_pointer(&systemd->service, service_free);
}

static void
test_ready_when_started(Systemd *systemd, gconstpointer data)
{
    start(systemd);
    g_assert_false(has_heard(systemd, "READY=1"));
    wait_done(systemd);
    g_assert_true(has_heard(systemd, "READY=1"));
    g_assert_true(has_heard(systemd, "STATUS=0 targets online, 0 sessions"));
    stop(systemd);
    g_assert_true(has_heard(systemd, "STOPPING=1"));
}

static void
test_status_follows(Systemd *systemd, gconstpointer data)
{
    g_autoptr(TargetSpec) spec = target_spec_new("iqn.2026-11.org.lunport:t");

    start(systemd);
    wait_done(systemd);
    spec->enabled = TRUE;
    service_create_target(systemd->service, spec, NULL, on_done, systemd);
    wait_done(systemd);
    wait_heard(systemd, "STATUS=1 target online, 0 sessions");
    stop(systemd);
}

/* WATCHDOG=1 is sent only after every worker has answered */
static void
test_watchdog(Systemd *systemd, gconstpointer data)
{
    start(systemd);
    wait_done(systemd);
    wait_heard(systemd, "WATCHDOG=1");
    stop(systemd);
}

static void
test_silent_without_systemd(Systemd *systemd, gconstpointer data)
{
    g_unsetenv("NOTIFY_SOCKET");
    start(systemd);
    wait_done(systemd);
    stop(systemd);
    g_assert_false(has_heard(systemd, "READY=1"));
}

static void
add(const char *path, void (*test)(Systemd *systemd, gconstpointer data))
{
    g_test_add(path, Systemd, NULL, set_up, test, tear_down);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/control/systemd/ready-when-started", test_ready_when_started);
    add("/control/systemd/status-follows", test_status_follows);
    add("/control/systemd/watchdog", test_watchdog);
    add("/control/systemd/silent-without-systemd", test_silent_without_systemd);
    return g_test_run();
}
