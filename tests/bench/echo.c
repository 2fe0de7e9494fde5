/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * echo: the floor under every target
 *
 * Answers each 48-byte request with 48 + BLOCK bytes from memory, many answers
 * to one sendmsg(), and does nothing else. What it costs per answer is what
 * sockets cost; a target is measured against it.
 *
 *   echo PORT BLOCK
 */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <glib.h>

#define HEADER   48
#define RX_SIZE  65536
#define IOV_PAIR 256

typedef struct {
    int fd;
    guint8 partial[HEADER];
    gsize n_partial;
    guint8 headers[4 * IOV_PAIR][HEADER]; /* answers not sent yet */
    guint first, n_waiting;
    gsize sent_of_first;
} Client;

static guint8 *block_data;
static gsize block_size;

static void
client_send(Client *client)
{
    while (client->n_waiting > 0) {
        struct iovec iov[2 * IOV_PAIR];
        struct msghdr message = { .msg_iov = iov };
        gsize skip = client->sent_of_first;
        gssize n;

        for (guint i = 0; i < MIN(client->n_waiting, IOV_PAIR); i++) {
            guint8 *header = client->headers[(client->first + i) % (4 * IOV_PAIR)];
            gsize from_header = MIN(skip, HEADER);

            iov[2 * i] = (struct iovec){ header + from_header, HEADER - from_header };
            iov[2 * i + 1] = (struct iovec){ block_data + (skip - from_header),
                                             block_size - (skip - from_header) };
            message.msg_iovlen += 2;
            skip = 0;
        }
        n = sendmsg(client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0)
            return;
        client->sent_of_first += (gsize)n;
        while (client->n_waiting > 0 && client->sent_of_first >= HEADER + block_size) {
            client->sent_of_first -= HEADER + block_size;
            client->first = (client->first + 1) % (4 * IOV_PAIR);
            client->n_waiting--;
        }
    }
}

static void
client_answer(Client *client, const guint8 *request)
{
    guint8 *header;

    while (client->n_waiting == 4 * IOV_PAIR)
        client_send(client);
    header = client->headers[(client->first + client->n_waiting++) % (4 * IOV_PAIR)];
    memcpy(header, request, HEADER);
}

static gboolean
client_receive(Client *client)
{
    guint8 buffer[RX_SIZE];
    gssize n = recv(client->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
    gsize used = 0;

    if (n == 0 || (n < 0 && errno != EAGAIN))
        return FALSE;
    while (n > 0 && used < (gsize)n) {
        gsize piece = MIN(HEADER - client->n_partial, (gsize)n - used);

        memcpy(client->partial + client->n_partial, buffer + used, piece);
        client->n_partial += piece;
        used += piece;
        if (client->n_partial == HEADER) {
            client->n_partial = 0;
            client_answer(client, client->partial);
        }
    }
    client_send(client);
    return TRUE;
}

static void
accept_client(int listener, int epoll_fd)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    int on = 1;
    Client *client;
    struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET };

    if (fd < 0)
        return;
    client = g_new0(Client, 1);
    client->fd = fd;
    event.data.ptr = client;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

int
main(int argc, char **argv)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int on = 1;
    struct epoll_event event = { .events = EPOLLIN };

    if (argc != 3) {
        (void)fprintf(stderr, "usage: echo PORT BLOCK\n");
        return 2;
    }
    address.sin_port = htons((guint16)atoi(argv[1]));
    block_size = (gsize)g_ascii_strtoull(argv[2], NULL, 10);
    block_data = g_malloc0(block_size);
    (void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(listener, 128) != 0) {
        perror("echo");
        return 1;
    }
    (void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);

    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll_fd, events, G_N_ELEMENTS(events), -1);

        for (int i = 0; i < n; i++) {
            Client *client = events[i].data.ptr;

            if (client == NULL) {
                accept_client(listener, epoll_fd);
                continue;
            }
            if ((events[i].events & EPOLLOUT) != 0)
                client_send(client);
            while ((events[i].events & EPOLLIN) != 0) {
                if (!client_receive(client)) {
                    (void)close(client->fd);
                    g_free(client);
                    break;
                }
                events[i].events = 0;
            }
        }
    }
}
