/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Peers that mean no good, for tests/conformance/test-hostile.py
 *
 *     hostile idle PORT IQN N          N sessions that answer pings and do nothing else
 *     hostile logins PORT IQN RATE S   log in and drop the connection, RATE times a second, once at least
 *     hostile stuck PORT IQN N         N sessions that ask for data and never read it
 *     hostile trickle-read PORT IQN N  the same, but they read a byte a second
 *     hostile trickle-write PORT IQN N N sessions that announce data and send a byte of it a second
 *     hostile drip PORT IQN N          N connections that send a byte a second, half of them in a session
 *     hostile silent PORT N            N connections that never send anything
 *     hostile garbage PORT BYTES       random bytes, on as many connections as it takes
 *
 * Each prints a line when it is under way (or, if it ends by itself, what it
 * came to) and goes on until its standard input is closed. One thread, plain
 * sockets, and as little work as possible: on a small machine what the attack
 * costs would else be measured as what it does to others.
 */

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "util/bytes.h"

#define BHS          48
#define OP_NOP_OUT   0x00
#define OP_COMMAND   0x01
#define OP_LOGIN     0x03
#define OP_DATA_OUT  0x05
#define OP_NOP_IN    0x20
#define OP_R2T       0x31
#define LOGIN_ANSWER 0x23
#define NO_TAG       0xffffffffU
#define SOURCES      32 /* addresses of 127.0.0.0/8 that connections come from */
#define EVENTS       256

typedef struct {
    guint16 port;
    const char *target;
    guint n_made; /* connections, for sources and names */
} Attack;

static gint64
now_usec(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (gint64)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static void
say(const char *what, guint64 n)
{
    (void)printf("%s %" G_GUINT64_FORMAT "\n", what, n);
    (void)fflush(stdout);
}

/* Whether whoever started us wants us to end, after waiting for that so long */
static gboolean
is_over(int milliseconds)
{
    struct pollfd pollfd = { .fd = STDIN_FILENO, .events = POLLIN };

    return poll(&pollfd, 1, milliseconds) > 0;
}

/* Connected, or -1. Sources change so that their ports do not run out. */
static int
connect_to(Attack *attack)
{
    struct sockaddr_in source = { .sin_family = AF_INET };
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = g_htons(attack->port) };
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;

    source.sin_addr.s_addr = g_htonl(0x7f000002 + attack->n_made++ % SOURCES);
    address.sin_addr.s_addr = g_htonl(INADDR_LOOPBACK);
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    if (bind(fd, (const struct sockaddr *)&source, sizeof(source)) != 0 ||
        connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

/* Without the wait state that would use up the ports */
static void
drop(int fd)
{
    const struct linger linger = { .l_onoff = 1 };

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    (void)close(fd);
}

static gboolean
receive_all(int fd, guint8 *buffer, gsize size)
{
    while (size > 0) {
        gssize n = recv(fd, buffer, size, 0);

        if (n <= 0)
            return FALSE;
        buffer += n;
        size -= (gsize)n;
    }
    return TRUE;
}

/* One request, one answer. The status, or -1 when the connection ended. */
static int
login(const Attack *attack, int fd)
{
    guint8 pdu[BHS + 1024] = { 0x40 | OP_LOGIN, 0x87, [8] = 0x80, [13] = 1 };
    char *text = (char *)pdu + BHS;
    guint8 answer[BHS + 16384];
    gsize size;
    int n = snprintf(text, 1000,
                     "InitiatorName=iqn.2026-11.org.lunport:hostile-%d-%u%cTargetName=%s%c"
                     "SessionType=Normal%cHeaderDigest=None%cDataDigest=None%c"
                     "MaxRecvDataSegmentLength=262144%c",
                     (int)getpid(), attack->n_made, 0, attack->target, 0, 0, 0, 0, 0);

    put_be16(pdu + 6, (guint16)n);
    put_be32(pdu + 24, 1);
    size = BHS + (((gsize)n + 3) & ~(gsize)3);
    if (send(fd, pdu, size, MSG_NOSIGNAL) != (gssize)size || !receive_all(fd, answer, BHS))
        return -1;
    size = get_be32(answer + 4) & 0xffffff;
    if (answer[0] != LOGIN_ANSWER || size > 16000 ||
        !receive_all(fd, answer + BHS, (size + 3) & ~(gsize)3))
        return -1;
    return get_be16(answer + 36);
}

static int
open_session(Attack *attack)
{
    int fd = connect_to(attack);

    if (fd >= 0 && login(attack, fd) != 0) {
        drop(fd);
        return -1;
    }
    return fd;
}

/* All sessions that can be had, or fewer when the target has had enough */
static guint
open_sessions(Attack *attack, guint n, int *fds)
{
    guint made = 0;

    while (made < n && (fds[made] = open_session(attack)) >= 0)
        made++;
    return made;
}

static void
answer_ping(int fd)
{
    guint8 pdu[BHS];
    guint8 answer[BHS] = { 0x40 | OP_NOP_OUT, 0x80 };

    if (!receive_all(fd, pdu, BHS) || pdu[0] != OP_NOP_IN || get_be32(pdu + 20) == NO_TAG)
        return;
    memcpy(answer + 8, pdu + 8, 8);
    put_be32(answer + 16, NO_TAG);
    memcpy(answer + 20, pdu + 20, 4);
    memcpy(answer + 24, pdu + 28, 4);
    put_be32(answer + 28, get_be32(pdu + 24));
    (void)send(fd, answer, BHS, MSG_NOSIGNAL);
}

static int
idle(Attack *attack, guint n)
{
    int *fds = g_new(int, n + 1);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[EVENTS];
    guint made = open_sessions(attack, n, fds);
    guint lost = 0;

    for (guint i = 0; i < made; i++)
        (void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[i],
                        &(struct epoll_event){ .events = EPOLLIN | EPOLLRDHUP, .data.fd = fds[i] });
    say("idle", made);
    while (!is_over(0)) {
        int n_ready = epoll_wait(epoll_fd, events, EVENTS, 100);

        for (int i = 0; i < n_ready; i++) {
            if ((events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) == 0) {
                answer_ping(events[i].data.fd);
                continue;
            }
            (void)epoll_ctl(epoll_fd, EPOLL_CTL_DEL, events[i].data.fd, NULL);
            lost++;
        }
    }
    say("lost", lost);
    g_free(fds);
    return 0;
}

static int
logins(Attack *attack, guint rate, guint seconds)
{
    gint64 begin = now_usec();
    guint64 n = 0, refused = 0;

    while ((n == 0 || now_usec() - begin < (gint64)seconds * 1000000) && !is_over(0)) {
        gint64 due = begin + (gint64)((n + refused) * 1000000 / rate);
        gint64 wait = due - now_usec();
        int fd;

        if (wait > 0) {
            (void)usleep((useconds_t)wait);
            continue;
        }
        fd = open_session(attack);
        n += fd >= 0 ? 1 : 0;
        refused += fd >= 0 ? 0 : 1;
        if (fd >= 0)
            drop(fd);
    }
    say("logins", n);
    say("refused", refused);
    return 0;
}

/* READ(10) or WRITE(10) of 1 MiB, as many as the window of a new session lets in */
static void
command_much(int fd, gboolean is_write)
{
    for (guint32 i = 0; i < 8; i++) {
        guint8 pdu[BHS] = { OP_COMMAND, is_write ? 0xa1 : 0xc1 };

        put_be32(pdu + 16, i + 1);
        put_be32(pdu + 20, 1 << 20);
        put_be32(pdu + 24, i + 1);
        pdu[32] = is_write ? 0x2a : 0x28;
        put_be16(pdu + 39, 2048);
        (void)send(fd, pdu, BHS, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

static int
stuck(Attack *attack, guint n)
{
    int *fds = g_new(int, n + 1);
    guint made = open_sessions(attack, n, fds);

    for (guint i = 0; i < made; i++)
        command_much(fds[i], FALSE);
    say("stuck", made);
    while (!is_over(1000))
        continue;
    g_free(fds);
    return 0;
}

static int
trickle_read(Attack *attack, guint n)
{
    int *fds = g_new(int, n + 1);
    guint made = open_sessions(attack, n, fds);
    guint64 taken = 0;

    for (guint i = 0; i < made; i++)
        command_much(fds[i], FALSE);
    say("trickle-read", made);
    while (!is_over(1000)) {
        for (guint i = 0; i < made; i++) {
            guint8 byte;

            taken += recv(fds[i], &byte, 1, MSG_DONTWAIT) == 1 ? 1 : 0;
        }
    }
    say("taken", taken);
    g_free(fds);
    return 0;
}

/* The first R2T that has come; what comes before it, as a unit attention, is thrown away */
static gboolean
take_r2t(int fd, guint8 *r2t)
{
    while (recv(fd, r2t, BHS, MSG_DONTWAIT) == BHS) {
        guint8 trash[1024];
        gsize size = (get_be32(r2t + 4) + 3) & 0xfffffc;

        if (r2t[0] == OP_R2T)
            return TRUE;
        if (size > sizeof(trash) || !receive_all(fd, trash, size))
            return FALSE;
    }
    return FALSE;
}

/* The header of a Data-Out of 256 KiB that answers an R2T */
static void
begin_data(int fd)
{
    guint8 r2t[BHS];
    guint8 pdu[BHS] = { OP_DATA_OUT, 0x80, [5] = 4 };

    if (!take_r2t(fd, r2t))
        return;
    memcpy(pdu + 16, r2t + 16, 8);
    (void)send(fd, pdu, BHS, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int
trickle_write(Attack *attack, guint n)
{
    int *fds = g_new(int, n + 1);
    guint made = open_sessions(attack, n, fds);
    guint64 sent = 0;

    for (guint i = 0; i < made; i++)
        command_much(fds[i], TRUE);
    (void)usleep(200000);
    for (guint i = 0; i < made; i++)
        begin_data(fds[i]);
    say("trickle-write", made);
    while (!is_over(1000)) {
        for (guint i = 0; i < made; i++)
            sent += send(fds[i], "C", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ? 1 : 0;
    }
    say("sent", sent);
    g_free(fds);
    return 0;
}

static int
drip(Attack *attack, guint n)
{
    int *fds = g_new(int, n + 1);
    guint64 sent = 0;

    for (guint i = 0; i < n; i++)
        fds[i] = i % 2 == 0 ? open_session(attack) : connect_to(attack);
    say("drip", n);
    while (!is_over(1000)) {
        for (guint i = 0; i < n; i++)
            sent += send(fds[i], "C", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ? 1 : 0;
    }
    say("dripped", sent);
    g_free(fds);
    return 0;
}

static int
silent(Attack *attack, guint n)
{
    guint made = 0;

    while (made < n && connect_to(attack) >= 0)
        made++;
    say("silent", made);
    while (!is_over(1000))
        continue;
    return 0;
}

static int
garbage(Attack *attack, guint64 size)
{
    guint8 bytes[65536];
    guint64 random = 88172645463325252U;
    guint64 sent = 0, connections = 0;

    while (sent < size && !is_over(0)) {
        int fd = connect_to(attack);
        gssize n = 1;

        connections++;
        while (fd >= 0 && n > 0 && sent < size) {
            for (gsize i = 0; i < sizeof(bytes); i += 8) {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                memcpy(bytes + i, &random, 8);
            }
            n = send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
            sent += n > 0 ? (guint64)n : 0;
        }
        if (fd >= 0)
            drop(fd);
    }
    say("garbage", sent);
    say("connections", connections);
    return 0;
}

static guint64
number(int argc, char **argv, int i)
{
    return i < argc ? g_ascii_strtoull(argv[i], NULL, 10) : 0;
}

int
main(int argc, char **argv)
{
    Attack attack = { .port = (guint16)number(argc, argv, 2), .target = argc > 3 ? argv[3] : "" };
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (argc > 4 && strcmp(argv[1], "idle") == 0)
        return idle(&attack, (guint)number(argc, argv, 4));
    if (argc > 5 && strcmp(argv[1], "logins") == 0)
        return logins(&attack, MAX((guint)number(argc, argv, 4), 1), (guint)number(argc, argv, 5));
    if (argc > 4 && strcmp(argv[1], "stuck") == 0)
        return stuck(&attack, (guint)number(argc, argv, 4));
    if (argc > 4 && strcmp(argv[1], "trickle-read") == 0)
        return trickle_read(&attack, (guint)number(argc, argv, 4));
    if (argc > 4 && strcmp(argv[1], "trickle-write") == 0)
        return trickle_write(&attack, (guint)number(argc, argv, 4));
    if (argc > 4 && strcmp(argv[1], "drip") == 0)
        return drip(&attack, (guint)number(argc, argv, 4));
    if (argc > 3 && strcmp(argv[1], "silent") == 0)
        return silent(&attack, (guint)number(argc, argv, 3));
    if (argc > 3 && strcmp(argv[1], "garbage") == 0)
        return garbage(&attack, number(argc, argv, 3));

    (void)fprintf(stderr, "usage: hostile idle|logins|stuck|trickle-read|trickle-write|drip|silent|"
                          "garbage PORT …\n");
    return 2;
}
