/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Asking an iSNS server
 *
 * One TCP connection, kept open between questions, so that the end of the server is noticed when it
 * happens. All waiting is poll() with the cancellable beside the socket. Of an answer only its status
 * and the periods are of interest; the rest is counted and dropped.
 *
 * A server may make its requests on this connection too (RFC 4171 2.9.1). All else that was not asked
 * for is skipped, a bounded number of messages.
 */

#include "control/isns-call.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/isns-attribute.h"
#include "util/error.h"
#include "util/fd.h"

#define PDUS_MAX      256 /* of one answer, with what is skipped */
#define FLAG_LAST_PDU 0x0800

static gboolean
fail(GError **ret_error, LunportError code, const char *text)
{
    g_set_error_literal(ret_error, LUNPORT_ERROR, code, text);
    return FALSE;
}

static gboolean
fail_errno(GError **ret_error, int saved_errno, const char *what)
{
    error_set_errno(ret_error, LUNPORT_ERROR_FAILED, saved_errno, "%s", what);
    return FALSE;
}

/* Until @fd is ready for @events, but not beyond @deadline (of the monotonic clock) */
static gboolean
wait_for(const IsnsLink *link, int fd, short events, gint64 deadline, GError **ret_error)
{
    struct pollfd fds[2] = { { .fd = fd, .events = events } };
    GPollFD cancel;
    int n;

    if (!g_cancellable_make_pollfd(link->cancel, &cancel))
        return fail(ret_error, LUNPORT_ERROR_CANCELED, "The service is stopping");
    fds[1] = (struct pollfd){ .fd = cancel.fd, .events = POLLIN };
    do {
        gint64 left = deadline - g_get_monotonic_time();

        n = poll(fds, 2, left > 0 ? (int)(left / G_TIME_SPAN_MILLISECOND + 1) : 0);
    } while (n < 0 && errno == EINTR);
    g_cancellable_release_fd(link->cancel);

    if (g_cancellable_is_cancelled(link->cancel))
        return fail(ret_error, LUNPORT_ERROR_CANCELED, "The service is stopping");
    if (n < 0)
        return fail_errno(ret_error, errno, "Failed to wait");
    return n > 0 || fail(ret_error, LUNPORT_ERROR_TIMEOUT, "It does not answer");
}

/* A descriptor, or -1 */
static int
connect_to(const IsnsLink *link, GSocketAddress *address, gint64 deadline, GError **ret_error)
{
    struct sockaddr_storage storage = { 0 };
    gssize size = g_socket_address_get_native_size(address);
    autofd int fd =
        socket(g_socket_address_get_family(address), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1;
    int saved_errno = 0;
    socklen_t length = sizeof(saved_errno);

    if (!g_socket_address_to_native(address, &storage, sizeof(storage), ret_error))
        return -1;
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&storage, (socklen_t)size) == 0)
        return fd_take(&fd);
    if (fd < 0 || errno != EINPROGRESS) {
        (void)fail_errno(ret_error, errno, "Failed to connect");
        return -1;
    }
    if (!wait_for(link, fd, POLLOUT, deadline, ret_error))
        return -1;

    (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &saved_errno, &length);
    if (saved_errno != 0) {
        (void)fail_errno(ret_error, saved_errno, "Failed to connect");
        return -1;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    return fd_take(&fd);
}

static GList *
resolve(GNetworkAddress *server, GCancellable *cancel, GError **ret_error)
{
    g_autoptr(GResolver) resolver = g_resolver_get_default();

    return g_resolver_lookup_by_name(resolver, g_network_address_get_hostname(server), cancel,
                                     ret_error);
}

gboolean
isns_link_open(IsnsLink *link, const char *server, GError **ret_error)
{
    gint64 deadline = g_get_monotonic_time() + ISNS_CONNECT_SECONDS * G_TIME_SPAN_SECOND;
    g_autoptr(GSocketConnectable) connectable =
        g_network_address_parse(server, ISNS_PORT, ret_error);
    g_autoptr(GError) error = NULL;
    GList *addresses;

    link->xid = 0;
    if (connectable == NULL)
        return FALSE;
    addresses = resolve(G_NETWORK_ADDRESS(connectable), link->cancel, ret_error);
    if (addresses == NULL)
        return FALSE;

    for (const GList *i = addresses; i != NULL && link->fd < 0; i = i->next) {
        g_autoptr(GSocketAddress) address = g_inet_socket_address_new(
            i->data, g_network_address_get_port(G_NETWORK_ADDRESS(connectable)));

        g_clear_error(&error);
        link->fd = connect_to(link, address, deadline, &error);
    }
    g_resolver_free_addresses(addresses);
    if (link->fd < 0)
        g_propagate_error(ret_error, g_steal_pointer(&error));
    return link->fd >= 0;
}

void
isns_link_close(IsnsLink *link)
{
    if (link->fd >= 0)
        fd_close(&link->fd);
    link->fd = -1;
}

gboolean
isns_link_is_open(const IsnsLink *link)
{
    return link->fd >= 0;
}

static gboolean
send_all(const IsnsLink *link, const guint8 *data, gsize size, gint64 deadline, GError **ret_error)
{
    while (size > 0) {
        gssize n = send(link->fd, data, size, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return fail_errno(ret_error, errno, "Failed to send");
        if (n < 0 && !wait_for(link, link->fd, POLLOUT, deadline, ret_error))
            return FALSE;
        if (n > 0) {
            data += n;
            size -= (gsize)n;
        }
    }
    return TRUE;
}

static gboolean
receive_all(const IsnsLink *link, guint8 *data, gsize size, gint64 deadline, GError **ret_error)
{
    while (size > 0) {
        gssize n;

        if (!wait_for(link, link->fd, POLLIN, deadline, ret_error))
            return FALSE;
        n = recv(link->fd, data, size, 0);
        if (n == 0)
            return fail(ret_error, LUNPORT_ERROR_FAILED, "It has closed the connection");
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return fail_errno(ret_error, errno, "Failed to receive");
        if (n > 0) {
            data += n;
            size -= (gsize)n;
        }
    }
    return TRUE;
}

/* One that is too long is nobody's */
static void
take_entity(const IsnsAttribute *attribute, IsnsAnswer *answer)
{
    gsize length = strnlen((const char *)attribute->value, attribute->length);

    if (length < sizeof(answer->entity)) {
        memcpy(answer->entity, attribute->value, length);
        answer->entity[length] = '\0';
    }
}

gboolean
isns_call_parse(const guint8 *payload, gsize size, IsnsAnswer *ret_answer)
{
    gboolean is_behind_key = FALSE;
    IsnsAttribute attribute;
    gsize left = size;

    *ret_answer = (IsnsAnswer){ 0 };
    if (size < 4)
        return FALSE;

    ret_answer->status = get_be32(payload);
    payload += 4;
    left -= 4;
    while (isns_attribute_next(&payload, &left, &attribute)) {
        if (attribute.tag == 0)
            is_behind_key = TRUE;
        else if (is_behind_key)
            ret_answer->n_values++;
        if (attribute.tag == ISNS_TAG_ENTITY && is_behind_key)
            take_entity(&attribute, ret_answer);
        if (attribute.tag == ISNS_TAG_PERIOD && attribute.length == 4)
            ret_answer->period = get_be32(attribute.value);
        if (attribute.tag == ISNS_TAG_INQUIRY && attribute.length == 4)
            ret_answer->inquiry = get_be32(attribute.value);
    }
    return left == 0;
}

/* FALSE: the link fails */
static gboolean
answer_request(const IsnsLink *link, const guint8 *header, const guint8 *payload, gint64 deadline,
               GError **ret_error)
{
    g_autoptr(GByteArray) answer = NULL;

    if (isns_request_is_one(header))
        answer = isns_request_answer(header, payload, get_be16(header + 4), link->ears);
    return answer == NULL || send_all(link, answer->data, answer->len, deadline, ret_error);
}

/* The next PDU; @data has room for any payload */
static gboolean
receive_pdu(const IsnsLink *link, guint8 *header, guint8 *data, gint64 deadline, GError **ret_error)
{
    if (!receive_all(link, header, ISNS_HEADER_SIZE, deadline, ret_error))
        return FALSE;
    if (get_be16(header) != 1)
        return fail(ret_error, LUNPORT_ERROR_FAILED, "It does not speak iSNS");
    return receive_all(link, data, get_be16(header + 4), deadline, ret_error);
}

gboolean
isns_link_serve(IsnsLink *link)
{
    gint64 deadline = g_get_monotonic_time() + ISNS_ANSWER_SECONDS * G_TIME_SPAN_SECOND;
    g_autofree guint8 *data = g_malloc(G_MAXUINT16);
    guint8 header[ISNS_HEADER_SIZE];

    if (receive_pdu(link, header, data, deadline, NULL) &&
        answer_request(link, header, data, deadline, NULL))
        return TRUE;

    isns_link_close(link);
    return FALSE;
}

/* All PDUs of the answer to question @link->xid of @function */
static GByteArray *
receive_answer(const IsnsLink *link, guint32 function, gint64 deadline, GError **ret_error)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    g_autofree guint8 *data = g_malloc(G_MAXUINT16);
    guint8 header[ISNS_HEADER_SIZE];

    for (guint i = 0; i < PDUS_MAX; i++) {
        if (!receive_pdu(link, header, data, deadline, ret_error) ||
            !answer_request(link, header, data, deadline, ret_error))
            return NULL;
        if (get_be16(header + 2) != (function | ISNS_ANSWER) || get_be16(header + 8) != link->xid)
            continue;
        g_byte_array_append(payload, data, get_be16(header + 4));
        if ((get_be16(header + 6) & FLAG_LAST_PDU) != 0)
            return g_steal_pointer(&payload);
    }

    (void)fail(ret_error, LUNPORT_ERROR_FAILED, "It sends too much");
    return NULL;
}

gboolean
isns_link_ask(IsnsLink *link, GByteArray *message, IsnsAnswer *ret_answer, GError **ret_error)
{
    gint64 deadline = g_get_monotonic_time() + ISNS_ANSWER_SECONDS * G_TIME_SPAN_SECOND;
    g_autoptr(GByteArray) owned = message;
    g_autoptr(GByteArray) payload = NULL;

    if (message == NULL)
        return fail(ret_error, LUNPORT_ERROR_LIMIT_EXCEEDED, "The registration is too large");

    link->xid++;
    if (send_all(link, owned->data, owned->len, deadline, ret_error))
        payload = receive_answer(link, get_be16(owned->data + 2), deadline, ret_error);
    if (payload != NULL && !isns_call_parse(payload->data, payload->len, ret_answer)) {
        (void)fail(ret_error, LUNPORT_ERROR_FAILED, "Its answer cannot be read");
        g_clear_pointer(&payload, g_byte_array_unref);
    }
    if (payload == NULL)
        isns_link_close(link);
    return payload != NULL;
}

/* RFC 4171 5.4 */
const char *
isns_call_status_to_string(guint32 status)
{
    static const char *const words[] = {
        [0] = "success",
        [1] = "unknown error",
        [2] = "message format error",
        [3] = "invalid registration",
        [5] = "invalid query",
        [6] = "source unknown",
        [7] = "source absent",
        [8] = "source unauthorized",
        [9] = "no such entry",
        [10] = "version not supported",
        [11] = "internal error",
        [12] = "busy",
        [13] = "option not understood",
        [14] = "invalid update",
        [15] = "message not supported",
        [17] = "SCN registration rejected",
        [18] = "attribute not implemented",
        [21] = "ESI not available",
        [22] = "invalid deregistration",
        [23] = "registration feature not supported",
    };

    return status < G_N_ELEMENTS(words) && words[status] != NULL ? words[status] : "other error";
}
