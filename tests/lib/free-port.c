/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "free-port.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOWEST          10000
#define USUAL_EPHEMERAL 32768 /* what Linux has for connections begins here */
#define TRIES           1000

static int
bind_loopback(int type, guint16 port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    g_assert_cmpint(fd, >=, 0);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

static guint16
get_end(void)
{
    g_autofree char *range = NULL;
    guint64 first;

    if (!g_file_get_contents("/proc/sys/net/ipv4/ip_local_port_range", &range, NULL, NULL))
        return USUAL_EPHEMERAL;
    first = g_ascii_strtoull(range, NULL, 10);
    return first > LOWEST + TRIES && first <= G_MAXUINT16 ? (guint16)first : USUAL_EPHEMERAL;
}

guint16
free_port_reserve(void)
{
    guint16 end = get_end();

    for (guint i = 0; i < TRIES; i++) {
        guint16 port = (guint16)g_random_int_range(LOWEST, end);
        int held = bind_loopback(SOCK_DGRAM, port);
        int probe = held >= 0 ? bind_loopback(SOCK_STREAM, port) : -1;

        if (probe >= 0) {
            (void)close(probe);
            return port;
        }
        if (held >= 0)
            (void)close(held);
    }
    g_error("No port of 127.0.0.1 is free");
}
