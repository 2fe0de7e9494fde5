/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * libaio on temporary files. io_setup() and io_submit() are replaced by ones
 * that count, and that refuse when a test says so; what they let pass goes to
 * the kernel.
 */

#include "engine/aio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "util/fd.h"

#define BLOCK 4096

typedef struct {
    guint n_submits;
    long largest;
    guint n_refusals; /* this many calls answer EAGAIN */
    long at_most;     /* requests taken at once, 0 for all */
    int setup_limit;  /* events a context may have, 0 for any number */
    int setup_error;  /* for all sizes */
    int last_setup;
} Fake;

static Fake *
fake(void)
{
    static Fake state;

    return &state;
}

int
io_setup(int maxevents, io_context_t *ctxp)
{
    if (fake()->setup_error != 0)
        return -fake()->setup_error;
    if (fake()->setup_limit != 0 && maxevents > fake()->setup_limit)
        return -EAGAIN;

    fake()->last_setup = maxevents;
    return syscall(SYS_io_setup, maxevents, ctxp) < 0 ? -errno : 0;
}

int
io_submit(io_context_t ctx, long nr, struct iocb *ios[])
{
    long n = fake()->at_most != 0 ? MIN(nr, fake()->at_most) : nr;
    long r;

    fake()->n_submits++;
    fake()->largest = MAX(fake()->largest, nr);
    if (fake()->n_refusals > 0) {
        fake()->n_refusals--;
        return -EAGAIN;
    }

    r = syscall(SYS_io_submit, ctx, n, ios);
    return r < 0 ? -errno : (int)r;
}

typedef struct {
    Loop loop;
    Aio *aio;
    int fd;
} Fixture;

typedef struct {
    AioRequest request;
    guint n_done;
    gint64 result;
    guint order;
    guint *n_all;
} TestRequest;

static void
set_up(Fixture *fixture, gconstpointer data)
{
    char path[] = "test-aio-XXXXXX";

    *fake() = (Fake){ 0 };
    g_assert_true(loop_init(&fixture->loop, &clock_system, NULL));
    fixture->aio = aio_new(&fixture->loop, NULL);
    fixture->fd = mkostemp(path, O_CLOEXEC);
    g_assert_cmpint(fixture->fd, >=, 0);
    g_assert_cmpint(unlink(path), ==, 0);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    aio_free(fixture->aio);
    loop_deinit(&fixture->loop);
    fd_close(&fixture->fd);
}

static void
on_done(AioRequest *request, gint64 result)
{
    TestRequest *self = (TestRequest *)(void *)request;

    self->n_done++;
    self->result = result;
    self->order = self->n_all != NULL ? (*self->n_all)++ : 0;
}

static void
submit(Fixture *fixture, TestRequest *self)
{
    self->n_done = 0;
    self->request.done = on_done;
    aio_submit(fixture->aio, &self->request);
}

static void
run(Fixture *fixture)
{
    while (aio_n_in_flight(fixture->aio) > 0)
        loop_turn(&fixture->loop, -1);
}

static void
test_write_and_read(Fixture *fixture, gconstpointer data)
{
    TestRequest request = { 0 };
    char out[BLOCK];
    char in[BLOCK] = { 0 };

    memset(out, 'x', sizeof(out));
    io_prep_pwrite(&request.request.iocb, fixture->fd, out, sizeof(out), BLOCK);
    submit(fixture, &request);
    g_assert_cmpuint(request.n_done, ==, 0);
    run(fixture);
    g_assert_cmpuint(request.n_done, ==, 1);
    g_assert_cmpint(request.result, ==, BLOCK);

    io_prep_pread(&request.request.iocb, fixture->fd, in, sizeof(in), BLOCK);
    submit(fixture, &request);
    run(fixture);
    g_assert_cmpint(request.result, ==, BLOCK);
    g_assert_cmpmem(in, sizeof(in), out, sizeof(out));

    /* Behind the end: short, as read() */
    io_prep_pread(&request.request.iocb, fixture->fd, in, sizeof(in), 2 * BLOCK);
    submit(fixture, &request);
    run(fixture);
    g_assert_cmpint(request.result, ==, 0);
}

static void
test_direct(Fixture *fixture, gconstpointer data)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fixture->fd);
    autofd int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
    TestRequest requests[16] = { 0 };
    void *buffer = NULL;

    if (fd < 0) {
        g_test_skip("this file system has no O_DIRECT");
        return;
    }

    g_assert_cmpint(posix_memalign(&buffer, BLOCK, G_N_ELEMENTS(requests) * BLOCK), ==, 0);
    memset(buffer, 'y', G_N_ELEMENTS(requests) * BLOCK);
    for (guint i = 0; i < G_N_ELEMENTS(requests); i++) {
        io_prep_pwrite(&requests[i].request.iocb, fd, (char *)buffer + i * BLOCK, BLOCK, i * BLOCK);
        submit(fixture, &requests[i]);
    }
    run(fixture);

    memset(buffer, 0, G_N_ELEMENTS(requests) * BLOCK);
    for (guint i = 0; i < G_N_ELEMENTS(requests); i++) {
        g_assert_cmpint(requests[i].result, ==, BLOCK);
        io_prep_pread(&requests[i].request.iocb, fd, (char *)buffer + i * BLOCK, BLOCK, i * BLOCK);
        submit(fixture, &requests[i]);
    }
    run(fixture);
    for (guint i = 0; i < G_N_ELEMENTS(requests); i++)
        g_assert_cmpint(((char *)buffer)[i * BLOCK], ==, 'y');
    free(buffer);
}

static void
test_sync(Fixture *fixture, gconstpointer data)
{
    TestRequest request = { 0 };

    /* Where the file system has no asynchronous flush, the kernel says so */
    io_prep_fdsync(&request.request.iocb, fixture->fd);
    submit(fixture, &request);
    run(fixture);
    g_assert_true(request.result == 0 || request.result == -EINVAL);
}

static void
prepare_writes(Fixture *fixture, TestRequest *requests, guint n, guint *n_all)
{
    static const char byte[1] = "z";

    for (guint i = 0; i < n; i++) {
        requests[i] = (TestRequest){ .n_all = n_all };
        io_prep_pwrite(&requests[i].request.iocb, fixture->fd, (char *)(guintptr)byte, 1, i);
        submit(fixture, &requests[i]);
    }
}

static void
test_one_system_call_a_turn(Fixture *fixture, gconstpointer data)
{
    TestRequest requests[40];

    prepare_writes(fixture, requests, G_N_ELEMENTS(requests), NULL);
    g_assert_cmpuint(fake()->n_submits, ==, 0);
    g_assert_cmpuint(aio_n_in_flight(fixture->aio), ==, G_N_ELEMENTS(requests));
    loop_turn(&fixture->loop, 0);
    g_assert_cmpuint(fake()->n_submits, ==, 1);
    g_assert_cmpint(fake()->largest, ==, G_N_ELEMENTS(requests));
    run(fixture);
}

static void
test_partial_acceptance(Fixture *fixture, gconstpointer data)
{
    TestRequest requests[20];

    fake()->at_most = 3;
    prepare_writes(fixture, requests, G_N_ELEMENTS(requests), NULL);
    loop_turn(&fixture->loop, 0);
    g_assert_cmpuint(fake()->n_submits, ==, 7);
    run(fixture);
    for (guint i = 0; i < G_N_ELEMENTS(requests); i++) {
        g_assert_cmpuint(requests[i].n_done, ==, 1);
        g_assert_cmpint(requests[i].result, ==, 1);
    }
}

static void
test_one_bad_request_fails_alone(Fixture *fixture, gconstpointer data)
{
    TestRequest requests[5];
    guint n_all = 0;

    prepare_writes(fixture, requests, G_N_ELEMENTS(requests), &n_all);
    requests[2].request.iocb.aio_lio_opcode = 99;
    requests[4].request.iocb.aio_fildes = -1;
    run(fixture);

    g_assert_cmpint(requests[2].result, ==, -EINVAL);
    g_assert_cmpint(requests[4].result, ==, -EBADF);
    for (guint i = 0; i < G_N_ELEMENTS(requests); i++)
        g_assert_cmpuint(requests[i].n_done, ==, 1);
    g_assert_cmpint(requests[0].result, ==, 1);
    g_assert_cmpint(requests[1].result, ==, 1);
    g_assert_cmpint(requests[3].result, ==, 1);
}

static void
test_full_context_queues(Fixture *fixture, gconstpointer data)
{
    enum { N = 200 };
    g_autofree TestRequest *requests = g_new0(TestRequest, N);

    fake()->setup_limit = 100;
    g_assert_true(aio_is_usable(fixture->aio));
    g_assert_cmpint(fake()->last_setup, ==, 64);

    prepare_writes(fixture, requests, N, NULL);
    run(fixture);
    for (guint i = 0; i < N; i++)
        g_assert_cmpint(requests[i].result, ==, 1);
}

static void
test_refusal_with_nothing_in_flight(Fixture *fixture, gconstpointer data)
{
    TestRequest requests[2];

    /* No completion will come to try again, so a timer must */
    fake()->n_refusals = 2;
    prepare_writes(fixture, requests, G_N_ELEMENTS(requests), NULL);
    run(fixture);
    g_assert_cmpuint(fake()->n_submits, ==, 3);
    g_assert_cmpint(requests[0].result, ==, 1);
    g_assert_cmpint(requests[1].result, ==, 1);
}

static void
test_nowait_eagain_is_a_result(Fixture *fixture, gconstpointer data)
{
    TestRequest request = { 0 };
    int fds[2];
    char byte;

    /* An empty pipe: RWF_NOWAIT cannot read from it now */
    g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
    io_prep_pread(&request.request.iocb, fds[0], &byte, 1, 0);
    request.request.iocb.aio_rw_flags = RWF_NOWAIT;
    submit(fixture, &request);
    run(fixture);
    g_assert_true(request.result == -EAGAIN || request.result == -EOPNOTSUPP);
    g_assert_cmpuint(request.n_done, ==, 1);
    fd_close(&fds[0]);
    fd_close(&fds[1]);
}

static void
test_unusable(Fixture *fixture, gconstpointer data)
{
    fake()->setup_limit = 10;
    g_assert_false(aio_is_usable(fixture->aio));
    fake()->setup_limit = 0;
    g_assert_false(aio_is_usable(fixture->aio)); /* asked once only */
}

static void
test_setup_error(Fixture *fixture, gconstpointer data)
{
    fake()->setup_error = ENOSYS;
    g_assert_false(aio_is_usable(fixture->aio));
}

static void
test_lazy(Fixture *fixture, gconstpointer data)
{
    loop_turn(&fixture->loop, 0);
    g_assert_cmpint(fake()->last_setup, ==, 0);
    g_assert_true(aio_is_usable(fixture->aio));
    g_assert_cmpint(fake()->last_setup, ==, AIO_EVENTS);
}

static void
on_done_again(AioRequest *request, gint64 result)
{
    TestRequest *self = (TestRequest *)(void *)request;
    Aio *aio = (Aio *)request->iocb.data;

    self->result += result;
    if (++self->n_done < 10)
        aio_submit(aio, request);
}

static void
test_submit_from_done(Fixture *fixture, gconstpointer data)
{
    TestRequest request = { 0 };
    char byte = 'x';

    io_prep_pwrite(&request.request.iocb, fixture->fd, &byte, 1, 0);
    request.request.iocb.data = fixture->aio;
    request.request.done = on_done_again;
    aio_submit(fixture->aio, &request.request);
    run(fixture);
    g_assert_cmpuint(request.n_done, ==, 10);
    g_assert_cmpint(request.result, ==, 10);
}

#define ADD(name, fn) g_test_add("/engine/aio/" name, Fixture, NULL, set_up, fn, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("write-and-read", test_write_and_read);
    ADD("direct", test_direct);
    ADD("sync", test_sync);
    ADD("one-system-call-a-turn", test_one_system_call_a_turn);
    ADD("partial-acceptance", test_partial_acceptance);
    ADD("one-bad-request-fails-alone", test_one_bad_request_fails_alone);
    ADD("full-context-queues", test_full_context_queues);
    ADD("refusal-with-nothing-in-flight", test_refusal_with_nothing_in_flight);
    ADD("nowait-eagain-is-a-result", test_nowait_eagain_is_a_result);
    ADD("unusable", test_unusable);
    ADD("setup-error", test_setup_error);
    ADD("lazy", test_lazy);
    ADD("submit-from-done", test_submit_from_done);
    return g_test_run();
}
