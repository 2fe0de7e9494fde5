/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What a command costs: system calls and allocations are counted, which makes
 * the promise "one recv, one sendmsg, no malloc for 32 commands" a test. The
 * test's own I/O uses read() and write(), so that recv() and the others below
 * are the target's alone.
 */

#include "initiator.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define BLOCK    512
#define DEPTH    32
#define N_BLOCKS 8
#define ANSWER   (PDU_BHS_SIZE + N_BLOCKS * BLOCK)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_SANITIZER 1
#endif
#endif
#ifndef HAS_SANITIZER
#define HAS_SANITIZER 0
#endif

static struct {
    guint n_receive, n_send;
    guint64 n_allocations;
} counts;

#if !HAS_SANITIZER
ssize_t
recv(int fd, void *buffer, size_t size, int flags)
{
    counts.n_receive++;
    return syscall(SYS_recvfrom, fd, buffer, size, flags, NULL, NULL);
}

ssize_t
readv(int fd, const struct iovec *iov, int n)
{
    counts.n_receive++;
    return syscall(SYS_readv, fd, iov, n);
}

ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
    counts.n_send++;
    return syscall(SYS_sendmsg, fd, message, flags);
}

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *memory, size_t size);

__attribute__((visibility("default"))) void *
malloc(size_t size)
{
    counts.n_allocations++;
    return __libc_malloc(size);
}

__attribute__((visibility("default"))) void *
calloc(size_t n, size_t size)
{
    counts.n_allocations++;
    return __libc_calloc(n, size);
}

__attribute__((visibility("default"))) void *
realloc(void *memory, size_t size)
{
    counts.n_allocations++;
    return __libc_realloc(memory, size);
}
#endif

static void
write_all(Initiator *initiator, const guint8 *bytes, gsize size)
{
    while (size > 0) {
        gssize n = write(initiator->fd, bytes, size);

        if (n > 0) {
            bytes += n;
            size -= (gsize)n;
        } else {
            rig_pump(initiator->rig);
        }
    }
}

static void
read_all(Initiator *initiator, guint8 *bytes, gsize size)
{
    while (size > 0) {
        gssize n = read(initiator->fd, bytes, size);

        g_assert_cmpint(n, !=, 0);
        if (n > 0) {
            bytes += n;
            size -= (gsize)n;
        } else {
            rig_pump(initiator->rig);
        }
    }
}

/* DEPTH reads in one piece, all answers in another */
static void
run_batch(Initiator *initiator, guint8 *answers)
{
    guint8 bytes[DEPTH * PDU_BHS_SIZE];
    guint8 cdb[10];

    initiator_cdb10(cdb, 0x28, 0, N_BLOCKS);
    for (guint i = 0; i < DEPTH; i++)
        initiator_command(initiator, bytes + i * PDU_BHS_SIZE, 0xc0, cdb, sizeof(cdb),
                          N_BLOCKS * BLOCK);
    write_all(initiator, bytes, sizeof(bytes));
    read_all(initiator, answers, DEPTH * ANSWER);
    for (guint i = 0; i < DEPTH; i++) {
        const guint8 *bhs = answers + i * ANSWER;

        g_assert_cmphex(bhs[0], ==, PDU_DATA_IN);
        g_assert_cmphex(bhs[1] & 0x81, ==, 0x81);
        g_assert_cmphex(bhs[3], ==, 0);
        initiator->exp_stat_sn++;
    }
}

/* The window is open for DEPTH commands */
static void
warm_up(Initiator *initiator)
{
    guint8 in[BLOCK];

    initiator_settle(initiator);
    for (guint i = 0; i < 6; i++) {
        guint n = initiator->max_cmd_sn - initiator->cmd_sn + 1;
        guint8 bhs[PDU_BHS_SIZE], cdb[10];

        for (guint j = 0; j < n; j++) {
            initiator_cdb10(cdb, 0x28, 0, 1);
            initiator_command(initiator, bhs, 0xc0, cdb, sizeof(cdb), BLOCK);
            initiator_send(initiator, bhs, NULL, 0);
        }
        for (guint j = 0; j < n; j++)
            g_assert_true(initiator_receive(initiator));
    }
    initiator_read(initiator, 0, 1, in);
    g_assert_cmpuint(initiator->max_cmd_sn - initiator->cmd_sn + 1, >=, DEPTH);
}

static void
test_answers_are_coalesced(void)
{
    Rig *rig = rig_new(&(RigConfig){ .type = "null" });
    /* By a socket pair: what TCP takes at once depends on what it has heard of the other side */
    Initiator *initiator = initiator_new(rig);
    g_autofree guint8 *answers = g_malloc(DEPTH * ANSWER);

    if (HAS_SANITIZER) {
        g_test_skip("calls cannot be counted under a sanitizer");
    } else {
        g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
        warm_up(initiator);
        run_batch(initiator, answers);
        counts.n_receive = counts.n_send = 0;
        run_batch(initiator, answers);
        g_test_message("%u receive and %u send calls for %d commands", counts.n_receive,
                       counts.n_send, DEPTH);
        g_assert_cmpuint(counts.n_receive, ==, 1);
        g_assert_cmpuint(counts.n_send, ==, 1);
    }
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_no_allocation(void)
{
    Rig *rig = rig_new(&(RigConfig){ .type = "ram" });
    Initiator *initiator = initiator_new_tcp(rig);
    g_autofree guint8 *answers = g_malloc(DEPTH * ANSWER);
    guint64 n_allocations;

    if (HAS_SANITIZER) {
        g_test_skip("allocations cannot be counted under a sanitizer");
    } else {
        g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
        warm_up(initiator);
        run_batch(initiator, answers);
        n_allocations = counts.n_allocations;
        for (guint i = 0; i < 100000 / DEPTH; i++)
            run_batch(initiator, answers);
        g_assert_cmpuint(counts.n_allocations, ==, n_allocations);
    }
    initiator_free(initiator);
    rig_free(rig);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/iscsi/tx/answers-are-coalesced", test_answers_are_coalesced);
    g_test_add_func("/iscsi/tx/no-allocation", test_no_allocation);
    return g_test_run();
}
