/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What tests of stores share
 *
 * The worker has no thread: a test submits on its own thread and turns the
 * loop until its request has ended, so every step is in the test's hand. Data
 * is a pattern that differs everywhere, so that a block in the wrong place is
 * seen.
 */

#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fd.h"

void
fixture_init(Fixture *fixture)
{
    WorkerConfig config = { .pool_size = 8 * MIB, .pool_reserve = MIB, .clock = &clock_system };
    g_autofree char *template = g_strdup("backstore-test-XXXXXX");
    GError *error = NULL;

    *fixture = (Fixture){ 0 };
    fixture->offload = offload_new(16); /* four threads for each store */
    fixture->worker = worker_new(0, &config, fixture->offload, &error);
    g_assert_no_error(error);

    /* In the build directory: on a real file system, where that is on one */
    g_assert_nonnull(g_mkdtemp(template));
    fixture->directory = realpath(template, NULL);
    g_assert_nonnull(fixture->directory);
}

void
fixture_deinit(Fixture *fixture)
{
    GDir *dir = g_dir_open(fixture->directory, 0, NULL);
    const char *name;

    backstore_close(fixture->store);

    while ((name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = fixture_path(fixture, name);

        (void)unlink(path);
    }
    g_dir_close(dir);
    g_assert_cmpint(rmdir(fixture->directory), ==, 0);

    free(fixture->directory);
    worker_free(fixture->worker);
    offload_free(fixture->offload);
}

char *
fixture_path(const Fixture *fixture, const char *name)
{
    return g_build_filename(fixture->directory, name, NULL);
}

static void
on_done(Io *io)
{
    list_entry(io, Request, io)->is_done = TRUE;
}

void
fixture_submit(Fixture *fixture, Request *request, IoKind kind, IoFlags flags, guint64 offset,
               guint64 length, void *buffer)
{
    *request = (Request){
        .io = { .kind = kind,
                .flags = flags,
                .offset = offset,
                .length = length,
                .buffer = buffer,
                .done = on_done },
    };
    backstore_submit(fixture->store, fixture->worker, &request->io);
}

void
fixture_wait(Fixture *fixture, Request *request)
{
    while (!request->is_done)
        worker_turn(fixture->worker, -1);
}

gint64
fixture_copy(Fixture *fixture, IoFlags flags, guint64 from, guint64 to, guint64 length)
{
    Request request = {
        .io = { .kind = IO_COPY,
                .flags = flags,
                .source = fixture->store,
                .source_offset = from,
                .offset = to,
                .length = length,
                .done = on_done },
    };

    backstore_submit(fixture->store, fixture->worker, &request.io);
    fixture_wait(fixture, &request);
    return request.io.result;
}

gint64
fixture_run(Fixture *fixture, IoKind kind, IoFlags flags, guint64 offset, guint64 length,
            void *buffer)
{
    Request request;

    fixture_submit(fixture, &request, kind, flags, offset, length, buffer);
    fixture_wait(fixture, &request);

    /* What the requester set is as it was */
    g_assert_cmpint(request.io.kind, ==, kind);
    g_assert_cmpint(request.io.flags, ==, flags);
    g_assert_cmpuint(request.io.offset, ==, offset);
    g_assert_cmpuint(request.io.length, ==, length);
    g_assert_true(request.io.buffer == buffer);
    return request.io.result;
}

void *
buffer_new(gsize size)
{
    void *buffer = aligned_alloc(4096, (size + 4095) / 4096 * 4096);

    g_assert_nonnull(buffer);
    memset(buffer, 0, size);
    return buffer;
}

static guint64
pattern_at(guint64 offset, guint64 seed)
{
    return (offset + 1) * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15) + seed;
}

void
pattern_fill(void *buffer, gsize size, guint64 offset, guint64 seed)
{
    for (gsize i = 0; i < size; i += sizeof(guint64)) {
        guint64 value = pattern_at(offset + i, seed);

        memcpy((char *)buffer + i, &value, sizeof(value));
    }
}

void
pattern_check(const void *buffer, gsize size, guint64 offset, guint64 seed)
{
    for (gsize i = 0; i < size; i += sizeof(guint64)) {
        guint64 value = pattern_at(offset + i, seed);

        if (memcmp((const char *)buffer + i, &value, sizeof(value)) != 0)
            g_error("Wrong data at offset %" G_GUINT64_FORMAT, offset + i);
    }
}

void
zeros_check(const void *buffer, gsize size)
{
    for (gsize i = 0; i < size; i++)
        g_assert_cmpuint(((const guint8 *)buffer)[i], ==, 0);
}

void
store_fill(Fixture *fixture, guint64 offset, guint64 length, guint64 seed)
{
    void *buffer = buffer_new(MIB);

    for (guint64 done = 0; done < length;) {
        gsize n = MIN(length - done, MIB);

        pattern_fill(buffer, n, offset + done, seed);
        g_assert_cmpint(fixture_run(fixture, IO_WRITE, 0, offset + done, n, buffer), ==, 0);
        done += n;
    }

    free(buffer);
}

/* @is_zeros: else the pattern of @seed */
static void
store_read(Fixture *fixture, guint64 offset, guint64 length, guint64 seed, gboolean is_zeros)
{
    void *buffer = buffer_new(MIB);

    for (guint64 done = 0; done < length;) {
        gsize n = MIN(length - done, MIB);

        memset(buffer, 0xa5, n);
        g_assert_cmpint(fixture_run(fixture, IO_READ, 0, offset + done, n, buffer), ==, 0);
        if (is_zeros)
            zeros_check(buffer, n);
        else
            pattern_check(buffer, n, offset + done, seed);
        done += n;
    }

    free(buffer);
}

void
store_check(Fixture *fixture, guint64 offset, guint64 length, guint64 seed)
{
    store_read(fixture, offset, length, seed, FALSE);
}

void
store_check_zeros(Fixture *fixture, guint64 offset, guint64 length)
{
    store_read(fixture, offset, length, 0, TRUE);
}

/* A free device, set up. Between the question which one is free and its use another test may take it. */
static int
take_loop(int control, const struct loop_config *config)
{
    for (;;) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        g_autofree char *path = g_strdup_printf("/dev/loop%d", number);
        autofd int fd = number >= 0 ? open(path, O_RDWR | O_CLOEXEC) : -1;

        if (fd < 0)
            return -1;
        if (ioctl(fd, LOOP_CONFIGURE, config) == 0)
            return fd_take(&fd);
        if (errno != EBUSY)
            return -1;
    }
}

int
loop_open(const char *backing, guint64 size, guint32 sector_size, const char **ret_why)
{
    struct loop_config config = { .block_size = sector_size,
                                  .info = { .lo_flags = LO_FLAGS_AUTOCLEAR } };
    autofd int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    autofd int file = open(backing, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    autofd int fd = -1;
    int read_only = 0;

    *ret_why = "no loop devices here, or not root";
    if (control < 0)
        return -1;

    g_assert_cmpint(ftruncate(file, (off_t)size), ==, 0);
    config.fd = (guint32)file;
    fd = take_loop(control, &config);
    if (fd < 0)
        return -1;

    /* A mark that outlives the device's user */
    (void)ioctl(fd, BLKROSET, &read_only);
    *ret_why = NULL;
    return fd_take(&fd);
}
