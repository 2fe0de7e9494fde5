/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Listeners: the sockets of portals
 *
 * A socket comes from systemd, which listens before we run, or is bound here.
 * In both cases connections wait in the kernel's backlog until accepting
 * begins, which is when the configuration is loaded and the targets are
 * published: no initiator is ever told that a target does not exist because
 * the service has not read its file yet.
 *
 * What cannot be bound is tried again every ten seconds as long as there is
 * such a portal: an interface may come up late, another program may end.
 *
 * Accepting is done on the control thread, a few connections a turn. When
 * descriptors or memory run out the socket rests for a second instead of
 * waking the loop again and again.
 */

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "control/service-private.h"
#include "util/error.h"
#include "util/fd.h"
#include "util/log.h"

#define BACKLOG          1024
#define ACCEPTS_A_TURN   32
#define BACK_OFF_SECONDS 1
#define RETRY_SECONDS    10

/* What ModelPortal.runtime points at */
typedef struct {
    Service *service;
    ModelPortal *portal;
    int fd;
    guint watch;    /* 0: not accepting */
    guint back_off; /* timer, while descriptors are short */
} Listener;

static gboolean on_readable(gint fd, GIOCondition condition, gpointer data);

static void
start_watch(Listener *listener)
{
    if (listener->watch == 0)
        listener->watch = g_unix_fd_add(listener->fd, G_IO_IN, on_readable, listener);
}

static void
stop_watch(Listener *listener)
{
    g_clear_handle_id(&listener->watch, g_source_remove);
    g_clear_handle_id(&listener->back_off, g_source_remove);
}

static gboolean
on_rested(gpointer data)
{
    Listener *listener = data;

    listener->back_off = 0;
    start_watch(listener);
    return G_SOURCE_REMOVE;
}

static gboolean
is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static gboolean
on_readable(gint fd, GIOCondition condition, gpointer data)
{
    Listener *listener = data;
    ModelPortal *portal = listener->portal;

    for (guint i = 0; i < ACCEPTS_A_TURN; i++) {
        int connection = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (connection < 0 && is_shortage(errno)) {
            listener->watch = 0;
            listener->back_off = g_timeout_add_seconds(BACK_OFF_SECONDS, on_rested, listener);
            limits_report_descriptors(listener->service);
            return G_SOURCE_REMOVE;
        }
        if (connection < 0)
            break;

        portal->n_accepted++;
        iscsi_service_add_connection(listener->service->iscsi, connection, portal->group->spec->tag,
                                     portal->id);
    }
    return G_SOURCE_CONTINUE;
}

static gboolean
set_options(int fd, const Address *address, const char *interface)
{
    const int on = 1;
    const int v6_only = address_is_wildcard(address) ? 0 : 1;

    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0)
        return FALSE;
    /* The address may come up later */
    if (setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on)) != 0)
        return FALSE;
    if (address->sa.sa_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only)) != 0)
        return FALSE;
    return interface[0] == '\0' || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface,
                                              (socklen_t)strlen(interface) + 1) == 0;
}

/* A descriptor that listens, or -1 with errno */
static int
open_socket(const Address *address, const char *interface)
{
    autofd int fd = socket(address->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || !set_options(fd, address, interface) ||
        bind(fd, &address->sa, address->size) != 0 || listen(fd, BACKLOG) != 0)
        return -1;
    return fd_take(&fd);
}

static gboolean
needs_retry(const ModelPortal *portal)
{
    return portal->state == PORTAL_FAILED && portal->runtime == NULL;
}

static void
on_retry_published(gpointer data)
{
    operation_finish(data, NULL);
}

static void
run_retry(Operation *operation)
{
    Service *service = operation->service;
    const GPtrArray *groups = service->model->portal_groups;
    gboolean opened = FALSE;

    for (guint i = 0; i < groups->len && !service->stopping; i++) {
        const ModelPortalGroup *group = g_ptr_array_index(groups, i);

        for (guint j = 0; j < group->portals->len; j++) {
            ModelPortal *portal = g_ptr_array_index(group->portals, j);

            if (!needs_retry(portal) || !listener_open(service, portal, NULL))
                continue;
            listener_accept(service, portal, TRUE);
            opened = TRUE;
        }
    }

    if (opened)
        publish_all(service, on_retry_published, operation);
    else
        operation_finish(operation, NULL);
}

void
listener_retry(Service *service)
{
    Operation *operation = operation_new(service, NULL, run_retry, NULL, NULL);

    operation->internal = TRUE;
    operation_hold(operation, MODEL_PORTAL_GROUP, "*");
    operation_hold(operation, MODEL_TARGET, "*");
    operation_submit(operation, "RetryPortals", NULL);
}

static gboolean
on_retry_time(gpointer data)
{
    Service *service = data;

    service->portal_retry = 0;
    listener_retry(service);
    return G_SOURCE_REMOVE;
}

/* Where the portal is gone by then, or listens, nothing comes of it */
static void
arm_retry(Service *service)
{
    if (service->portal_retry == 0 && !service->stopping)
        service->portal_retry = g_timeout_add_seconds(RETRY_SECONDS, on_retry_time, service);
}

void
listener_stop_retry(Service *service)
{
    g_clear_handle_id(&service->portal_retry, g_source_remove);
}

static void
set_failed(Service *service, ModelPortal *portal, const GError *error, const char *reason)
{
    g_autofree char *text = g_strdup_printf("%s port %u", portal->address, portal->port);
    const LogField fields[] = { { "ISCSI_PORTAL", text }, { "REASON", reason }, { NULL, NULL } };

    gboolean changed = model_set_error(&portal->error, error) || portal->state != PORTAL_FAILED;

    arm_retry(service);
    if (!changed)
        return;

    portal->state = PORTAL_FAILED;
    model_changed(service->model, MODEL_PORTAL, portal);
    log_event(EVENT_PORTAL_FAILED, fields);
}

void
listener_adopt(Service *service, ModelPortal *portal, int fd)
{
    Listener *listener = g_new0(Listener, 1);
    Address address;
    char text[ADDRESS_TEXT_MAX] = "-";
    const LogField fields[] = { { "ISCSI_PORTAL", text }, { NULL, NULL } };

    g_assert(portal->runtime == NULL);

    listener->service = service;
    listener->portal = portal;
    listener->fd = fd;
    portal->runtime = listener;
    if (address_of_socket(fd, &address)) {
        address_format(&address, text, sizeof(text));
        portal->port = address_port(&address); /* where the system chose one */
    }

    portal->state = PORTAL_LISTENING;
    (void)model_set_error(&portal->error, NULL);
    model_changed(service->model, MODEL_PORTAL, portal);
    log_event(EVENT_PORTAL_LISTENING, fields);
}

/* Like open_socket(), and where the kernel has no IPv6 all addresses are those of IPv4 */
static int
open_portal_socket(const ModelPortal *portal, Address *address)
{
    int fd = open_socket(address, portal->interface);

    if (fd < 0 && errno == EAFNOSUPPORT && strcmp(portal->address, "*") == 0 &&
        address_parse("0.0.0.0", portal->port, address, NULL))
        fd = open_socket(address, portal->interface);
    return fd;
}

gboolean
listener_open(Service *service, ModelPortal *portal, GError **ret_error)
{
    g_autoptr(GError) error = NULL;
    Address address;
    int fd;

    if (!address_parse(portal->address, portal->port, &address, &error)) {
        set_failed(service, portal, error, error->message);
        g_propagate_error(ret_error, g_steal_pointer(&error));
        return FALSE;
    }

    address_set_port(&address, portal->port);
    fd = open_portal_socket(portal, &address);
    if (fd < 0) {
        int saved_errno = errno;

        error_set_errno(
            &error, saved_errno == EADDRINUSE ? LUNPORT_ERROR_IN_USE : LUNPORT_ERROR_FAILED,
            saved_errno, "Failed to listen on %s port %u", portal->address, portal->port);
        set_failed(service, portal, error, g_strerror(saved_errno));
        g_propagate_error(ret_error, g_steal_pointer(&error));
        return FALSE;
    }

    listener_adopt(service, portal, fd);
    return TRUE;
}

void
listener_accept(Service *service, ModelPortal *portal, gboolean accept)
{
    Listener *listener = portal->runtime;
    PortalState state = accept ? PORTAL_LISTENING : PORTAL_PAUSED;

    if (listener == NULL)
        return;

    if (accept)
        start_watch(listener);
    else
        stop_watch(listener);

    if (portal->state == state)
        return;
    portal->state = state;
    model_changed(service->model, MODEL_PORTAL, portal);
}

void
listener_close(ModelPortal *portal)
{
    Listener *listener = g_steal_pointer(&portal->runtime);

    if (listener == NULL)
        return;

    stop_watch(listener);
    fd_close(&listener->fd);
    g_free(listener);
}

static void
take_socket(Service *service, ModelPortalGroup *group, int fd)
{
    g_autoptr(PortalSpec) spec = NULL;
    char host[ADDRESS_TEXT_MAX];
    Address address;

    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    if (!address_of_socket(fd, &address)) {
        fd_close(&fd);
        return;
    }

    address_format_host(&address, host, sizeof(host));
    spec = portal_spec_new(address.sa.sa_family == AF_INET6 && address_is_wildcard(&address) ? "*"
                                                                                             : host,
                           address_port(&address));
    listener_adopt(service, model_add_portal(service->model, group, spec, MODEL_ORIGIN_SOCKET_UNIT),
                   fd);
}

guint
listener_take_sockets(Service *service, ModelPortalGroup *group)
{
    int n_fds = sd_listen_fds(TRUE);
    guint n = 0;

    for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n_fds; fd++) {
        int owned = fd;

        if (sd_is_socket_inet(fd, AF_UNSPEC, SOCK_STREAM, 1, 0) <= 0) {
            g_warning("Descriptor %d from systemd is not a listening TCP socket and is closed", fd);
            fd_close(&owned);
            continue;
        }
        take_socket(service, group, fd);
        n++;
    }
    return n;
}

guint
listener_count(const Service *service)
{
    const GPtrArray *groups = service->model->portal_groups;
    guint n = 0;

    for (guint i = 0; i < groups->len; i++) {
        const ModelPortalGroup *group = g_ptr_array_index(groups, i);

        for (guint j = 0; j < group->portals->len; j++) {
            const ModelPortal *portal = g_ptr_array_index(group->portals, j);

            if (portal->runtime != NULL)
                n++;
        }
    }
    return n;
}
