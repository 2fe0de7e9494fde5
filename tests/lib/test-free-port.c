/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "free-port.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "util/fd.h"

static int
listen_on(guint16 port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    return fd;
}

static void
test_nobody_has_it_twice(void)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);

    for (guint i = 0; i < 100; i++)
        g_assert_true(g_hash_table_add(seen, GUINT_TO_POINTER(free_port_reserve())));
}

static void
test_no_connection_leaves_from_it(void)
{
    static const char file[] = "/proc/sys/net/ipv4/ip_local_port_range";
    g_autofree char *range = NULL;

    g_assert_true(g_file_get_contents(file, &range, NULL, NULL));
    if (g_ascii_strtoull(range, NULL, 10) < 16384) {
        g_test_skip("Connections may leave from nearly every port here");
        return;
    }
    for (guint i = 0; i < 100; i++)
        g_assert_cmpuint(free_port_reserve(), <, g_ascii_strtoull(range, NULL, 10));
}

static void
test_it_can_be_listened_on_again_and_again(void)
{
    guint16 port = free_port_reserve();

    for (guint i = 0; i < 3; i++) {
        autofd int fd = listen_on(port);

        g_assert_cmpint(fd, >=, 0);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lib/free-port/nobody-has-it-twice", test_nobody_has_it_twice);
    g_test_add_func("/lib/free-port/no-connection-leaves-from-it",
                    test_no_connection_leaves_from_it);
    g_test_add_func("/lib/free-port/it-can-be-listened-on-again-and-again",
                    test_it_can_be_listened_on_again_and_again);
    return g_test_run();
}
