/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Where an iSNS server sends its inquiries and notifications
 *
 * A server connects to us by itself (RFC 4171 2.9.1), to a port that was registered with a portal and
 * at the address of the portal (6.3.5, 6.3.7). The address is the one that our own connection to the
 * server has here: we know of no other that the server can reach. The kernel chooses the port.
 *
 * The port is open to everybody who can reach it. Who does not come from the address of the server is
 * closed at once; but that is any process of its machine, and of this one where the server is here.
 * So a new connection takes the place of the one that has been silent for longest, a header that is no
 * request ends the connection before there is memory for what follows, a message and its answer have
 * ten seconds, and after 64 events in a second nothing is looked at until the next one. Nothing is
 * logged. An honest server that is crowded out finds us silent and forgets us, which isns.c sees.
 *
 * A peer either has a message that is coming or an answer that is going, never both.
 */

#include "control/isns-inbox.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/bytes.h"
#include "util/fd.h"

#define BACKLOG      8
#define IDLE_SECONDS 600

void
isns_inbox_init(IsnsInbox *inbox)
{
    *inbox = (IsnsInbox){ .fd = -1 };
    for (guint i = 0; i < ISNS_INBOX_PEERS; i++)
        inbox->peers[i].fd = -1;
}

static void
close_peer(IsnsInboxPeer *peer)
{
    fd_close(&peer->fd);
    g_clear_pointer(&peer->in, g_byte_array_unref);
    g_clear_pointer(&peer->out, g_byte_array_unref);
}

void
isns_inbox_close(IsnsInbox *inbox)
{
    for (guint i = 0; i < ISNS_INBOX_PEERS; i++)
        close_peer(&inbox->peers[i]);
    fd_close(&inbox->fd);
}

static gboolean
listen_at(IsnsInbox *inbox, const Address *local)
{
    Address address = *local;
    autofd int fd = socket(local->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    address_set_port(&address, 0);
    if (fd < 0 || bind(fd, &address.sa, address.size) != 0 || listen(fd, BACKLOG) != 0 ||
        !address_of_socket(fd, &inbox->local))
        return FALSE;

    inbox->fd = fd_take(&fd);
    return TRUE;
}

gboolean
isns_inbox_open(IsnsInbox *inbox, int link_fd)
{
    Address local;
    Address server;

    if (!address_of_socket(link_fd, &local) || !address_of_peer(link_fd, &server)) {
        isns_inbox_close(inbox);
        return FALSE;
    }
    if (inbox->fd >= 0 && address_is_same_host(&inbox->local, &local) &&
        address_is_same_host(&inbox->server, &server))
        return TRUE;

    isns_inbox_close(inbox);
    inbox->server = server;
    return listen_at(inbox, &local);
}

/*
 * Peers
 */

static gint64
after(gint64 now, gint64 seconds)
{
    return now + seconds * G_TIME_SPAN_SECOND;
}

/* A free one, or that of the connection from which nothing has come for longest */
static IsnsInboxPeer *
find_place(IsnsInbox *inbox)
{
    IsnsInboxPeer *place = &inbox->peers[0];

    for (guint i = 0; i < ISNS_INBOX_PEERS; i++) {
        if (inbox->peers[i].fd < 0)
            return &inbox->peers[i];
        if (inbox->peers[i].since < place->since)
            place = &inbox->peers[i];
    }
    close_peer(place);
    return place;
}

static gboolean
is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void
accept_one(IsnsInbox *inbox, gint64 now)
{
    Address address = { .size = sizeof(address.storage) };
    autofd int fd = accept4(inbox->fd, &address.sa, &address.size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    IsnsInboxPeer *peer;

    /* It would be ready again and again */
    if (fd < 0 && is_shortage(errno))
        inbox->n_events = ISNS_INBOX_RATE;
    if (fd < 0 || !address_is_same_host(&address, &inbox->server))
        return;

    peer = find_place(inbox);
    *peer = (IsnsInboxPeer){ .fd = fd_take(&fd), .since = now, .due = after(now, IDLE_SECONDS) };
}

/* How much of a message there shall be, as far as is known; 0: it is not one of ours */
static gsize
message_size(const GByteArray *in)
{
    if (in->len < ISNS_HEADER_SIZE)
        return ISNS_HEADER_SIZE;
    if (get_be16(in->data) != 1 || !isns_request_is_one(in->data))
        return 0;
    return ISNS_HEADER_SIZE + (gsize)get_be16(in->data + 4);
}

/* FALSE: the connection has ended */
static gboolean
receive(IsnsInboxPeer *peer)
{
    guint have = peer->in->len;
    gsize missing = message_size(peer->in) - have;
    gssize n;

    g_byte_array_set_size(peer->in, (guint)(have + missing));
    n = recv(peer->fd, peer->in->data + have, missing, 0);
    g_byte_array_set_size(peer->in, have + (guint)MAX(n, 0));
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static gboolean
send_answer(IsnsInboxPeer *peer, gint64 now)
{
    gssize n =
        send(peer->fd, peer->out->data + peer->sent, peer->out->len - peer->sent, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return FALSE;

    peer->sent += (gsize)MAX(n, 0);
    if (peer->sent == peer->out->len) {
        g_clear_pointer(&peer->out, g_byte_array_unref);
        peer->due = after(now, IDLE_SECONDS);
    }
    return TRUE;
}

/* The message is there */
static gboolean
hear(IsnsInboxPeer *peer, gint64 now, const IsnsEars *ears)
{
    const guint8 *data = peer->in->data;

    peer->out =
        isns_request_answer(data, data + ISNS_HEADER_SIZE, peer->in->len - ISNS_HEADER_SIZE, ears);
    g_clear_pointer(&peer->in, g_byte_array_unref);
    if (peer->out == NULL)
        return FALSE;

    peer->since = now;
    peer->due = after(now, ISNS_INBOX_SECONDS);
    peer->sent = 0;
    return send_answer(peer, now);
}

/* FALSE: it is to be closed */
static gboolean
serve_peer(IsnsInboxPeer *peer, gint64 now, const IsnsEars *ears)
{
    gsize size;

    if (peer->out != NULL)
        return send_answer(peer, now);

    if (peer->in == NULL) {
        peer->in = g_byte_array_new();
        peer->due = after(now, ISNS_INBOX_SECONDS);
    }
    if (!receive(peer))
        return FALSE;
    size = message_size(peer->in);
    return size != 0 && (peer->in->len < size || hear(peer, now, ears));
}

/*
 * Polling
 */

static gboolean
is_resting(IsnsInbox *inbox, gint64 now)
{
    if (now >= after(inbox->window, 1)) {
        inbox->window = now;
        inbox->n_events = 0;
    }
    return inbox->n_events >= ISNS_INBOX_RATE;
}

void
isns_inbox_poll(IsnsInbox *inbox, struct pollfd *fds, gint64 *ret_due)
{
    gboolean rests = is_resting(inbox, g_get_monotonic_time());
    gint64 due = G_MAXINT64;

    fds[0] = (struct pollfd){ .fd = rests ? -1 : inbox->fd, .events = POLLIN };
    for (guint i = 0; i < ISNS_INBOX_PEERS; i++) {
        const IsnsInboxPeer *peer = &inbox->peers[i];

        fds[1 + i] = (struct pollfd){ .fd = rests ? -1 : peer->fd,
                                      .events = peer->out != NULL ? POLLOUT : POLLIN };
        if (peer->fd >= 0)
            due = MIN(due, peer->due);
    }
    *ret_due = rests ? after(inbox->window, 1) : due;
}

void
isns_inbox_serve(IsnsInbox *inbox, const struct pollfd *fds, const IsnsEars *ears)
{
    gint64 now = g_get_monotonic_time();

    for (guint i = 0; i < ISNS_INBOX_PEERS; i++) {
        IsnsInboxPeer *peer = &inbox->peers[i];
        gboolean is_ready = peer->fd >= 0 && fds[1 + i].fd == peer->fd && fds[1 + i].revents != 0;

        inbox->n_events += is_ready ? 1 : 0;
        if ((is_ready && !serve_peer(peer, now, ears)) || (peer->fd >= 0 && peer->due <= now))
            close_peer(peer);
    }
    /* Last, because it may take the place of a peer */
    if (fds[0].fd >= 0 && fds[0].fd == inbox->fd && fds[0].revents != 0) {
        inbox->n_events++;
        accept_one(inbox, now);
    }
}
