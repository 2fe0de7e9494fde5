/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What only memory does: it stays sparse, outlives its store in a descriptor,
 * and grows while others use it. The last test has threads, for every kind of
 * store that several workers share: ThreadSanitizer is its judge.
 */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fixture.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/fd.h"

#define SIZE (16 * MIB)

static void
fixture_open(Fixture *fixture, guint64 size, int fd)
{
    BackstoreConfig config = { .type = "ram", .name = "memory", .size = size, .fd = fd };
    GError *error = NULL;

    fixture->store = backstore_open(&config, fixture->offload, 1, &error);
    g_assert_no_error(error);
}

static void
test_reading_allocates_nothing(void)
{
    Fixture fixture;

    fixture_init(&fixture);
    fixture_open(&fixture, (guint64)1 << 40, -1);
    store_check_zeros(&fixture, 0, SIZE);
    g_assert_cmpint(fixture_run(&fixture, IO_ZERO, 0, 0, SIZE, NULL), ==, 0);
    g_assert_cmpuint(backstore_allocated_size(fixture.store), ==, 0);
    store_fill(&fixture, ((guint64)1 << 40) - MIB, MIB, 1);
    store_check(&fixture, ((guint64)1 << 40) - MIB, MIB, 1);
    g_assert_cmpuint(backstore_allocated_size(fixture.store), ==, MIB);
    fixture_deinit(&fixture);
}

static void
test_unmap_frees(gconstpointer data)
{
    guint64 length = (guint64)GPOINTER_TO_INT(data);
    Fixture fixture;

    fixture_init(&fixture);
    fixture_open(&fixture, SIZE, -1);
    store_fill(&fixture, 0, SIZE, 1);
    g_assert_cmpuint(backstore_allocated_size(fixture.store), ==, SIZE);
    g_assert_cmpint(fixture_run(&fixture, IO_UNMAP, 0, 4096, length, NULL), ==, 0);
    g_assert_cmpuint(backstore_allocated_size(fixture.store), ==, SIZE - length);
    store_check_zeros(&fixture, 4096, length);
    store_check(&fixture, 4096 + length, 4096, 1);
    fixture_deinit(&fixture);
}

/* A hole in shared memory is filled by who looks into it through a mapping */
static void
test_reading_what_was_unmapped_allocates_nothing(void)
{
    Fixture fixture;

    fixture_init(&fixture);
    fixture_open(&fixture, SIZE, -1);
    store_fill(&fixture, 0, SIZE, 1);
    g_assert_cmpint(fixture_run(&fixture, IO_UNMAP, 0, 0, SIZE, NULL), ==, 0);
    store_check_zeros(&fixture, 0, SIZE);
    g_assert_cmpuint(backstore_allocated_size(fixture.store), ==, 0);
    store_fill(&fixture, 4096, 4096, 2);
    store_check(&fixture, 4096, 4096, 2);
    store_check_zeros(&fixture, 8192, SIZE - 8192);
    fixture_deinit(&fixture);
}

static void
test_contents_outlive_the_store(void)
{
    Fixture fixture;
    autofd int kept = memfd_create("kept", MFD_CLOEXEC);

    g_assert_cmpint(kept, >=, 0);
    g_assert_cmpint(ftruncate(kept, SIZE), ==, 0);
    fixture_init(&fixture);
    fixture_open(&fixture, 0, fcntl(kept, F_DUPFD_CLOEXEC, 3));
    g_assert_cmpuint(backstore_info(fixture.store)->size, ==, SIZE);
    store_fill(&fixture, MIB, MIB, 1);
    backstore_close(fixture.store);

    fixture_open(&fixture, 0, fcntl(kept, F_DUPFD_CLOEXEC, 3));
    store_check_zeros(&fixture, 0, MIB);
    store_check(&fixture, MIB, MIB, 1);
    store_check_zeros(&fixture, 2 * MIB, MIB);
    fixture_deinit(&fixture);
}

static void
test_cut_off_blocks_come_back_as_zeros(void)
{
    Fixture fixture;
    GError *error = NULL;

    fixture_init(&fixture);
    fixture_open(&fixture, SIZE, -1);
    store_fill(&fixture, 0, SIZE, 1);
    g_assert_true(backstore_resize(fixture.store, MIB, &error));
    g_assert_true(backstore_resize(fixture.store, SIZE, &error));
    g_assert_no_error(error);
    store_check(&fixture, 0, MIB, 1);
    store_check_zeros(&fixture, MIB, SIZE - MIB);
    fixture_deinit(&fixture);
}

static void
test_growth_has_an_end(void)
{
    Fixture fixture;
    GError *error = NULL;

    fixture_init(&fixture);
    fixture_open(&fixture, SIZE, -1);
    g_assert_false(backstore_resize(fixture.store, (guint64)1 << 60, &error));
    g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
    g_assert_cmpuint(backstore_info(fixture.store)->size, ==, SIZE);
    g_clear_error(&error);
    fixture_deinit(&fixture);
}

#define N_WORKERS 2
#define N_ROUNDS  200
#define PIECE     4096

/* One requester on one worker: write, read and compare, flush, zero, in its own part of the store */
typedef struct {
    Message message;
    Io io;
    Backstore *store;
    Worker *worker;
    guint8 *buffer;
    guint index;
    guint n_left;
    Mailbox *home;
} Requester;

static void
on_ended(Message *message)
{
}

static void
requester_next(Requester *requester)
{
    static const IoKind kinds[] = { IO_WRITE, IO_READ, IO_FLUSH, IO_ZERO, IO_UNMAP };
    Io *io = &requester->io;

    if (requester->n_left == 0) {
        mailbox_send(requester->home, &requester->message, on_ended);
        return;
    }

    io->kind = kinds[requester->n_left % G_N_ELEMENTS(kinds)];
    io->flags = requester->n_left % 3 == 0 && io->kind == IO_WRITE ? IO_FUA : 0;
    io->offset = ((guint64)requester->n_left * 8 + requester->index) * PIECE;
    io->length = io->kind == IO_FLUSH ? 0 : PIECE;
    io->buffer = io->kind == IO_READ || io->kind == IO_WRITE ? requester->buffer : NULL;
    requester->n_left--;
    backstore_submit(requester->store, requester->worker, io);
}

static void
on_request_done(Io *io)
{
    g_assert_cmpint(io->result, ==, 0);
    requester_next(list_entry(io, Requester, io));
}

static void
on_start(Message *message)
{
    requester_next(list_entry(message, Requester, message));
}

static Backstore *
shared_store_open(const Fixture *fixture, const char *type)
{
    g_autofree char *path = strcmp(type, "ram") != 0 ? fixture_path(fixture, "disk") : NULL;
    BackstoreConfig config = {
        .type = path != NULL ? "file" : "ram",
        .name = "shared",
        .path = path,
        .size = SIZE,
        .create = path != NULL,
        .fd = -1,
    };
    GError *error = NULL;
    Backstore *store;

    if (path != NULL)
        g_assert_true(cache_mode_from_string(type, &config.cache));
    store = backstore_open(&config, fixture->offload, N_WORKERS, &error);
    g_assert_no_error(error);
    return store;
}

static void
test_workers_share(gconstpointer data)
{
    WorkerConfig config = { .pool_size = 8 * MIB, .pool_reserve = MIB, .clock = &clock_system };
    Requester requesters[8] = { 0 };
    Worker *workers[N_WORKERS];
    guint n_ended = 0;
    Mailbox home;
    Fixture fixture;

    fixture_init(&fixture);
    g_assert_true(mailbox_init(&home, NULL));
    fixture.store = shared_store_open(&fixture, data);

    for (guint i = 0; i < N_WORKERS; i++) {
        workers[i] = worker_new(i, &config, fixture.offload, NULL);
        worker_start(workers[i]);
    }
    for (guint i = 0; i < G_N_ELEMENTS(requesters); i++) {
        requesters[i] = (Requester){ .io = { .done = on_request_done },
                                     .store = fixture.store,
                                     .worker = workers[i % N_WORKERS],
                                     .buffer = buffer_new(PIECE),
                                     .index = i,
                                     .n_left = N_ROUNDS,
                                     .home = &home };
        worker_send(requesters[i].worker, &requesters[i].message, on_start);
    }

    while (n_ended < G_N_ELEMENTS(requesters)) {
        n_ended += mailbox_drain(&home);
        g_usleep(1000); /* only to spare the processor */
    }
    for (guint i = 0; i < G_N_ELEMENTS(requesters); i++)
        free(requesters[i].buffer);
    for (guint i = 0; i < N_WORKERS; i++) {
        worker_stop(workers[i]);
        worker_free(workers[i]);
    }
    mailbox_deinit(&home);
    fixture_deinit(&fixture);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/backstore/ram/sparse", test_reading_allocates_nothing);
    g_test_add_data_func("/backstore/ram/unmap-frees/at-once", GINT_TO_POINTER(8192),
                         test_unmap_frees);
    g_test_add_data_func("/backstore/ram/unmap-frees/offloaded", GINT_TO_POINTER(8 * MIB),
                         test_unmap_frees);
    g_test_add_func("/backstore/ram/reading-what-was-unmapped",
                    test_reading_what_was_unmapped_allocates_nothing);
    g_test_add_func("/backstore/ram/outlives", test_contents_outlive_the_store);
    g_test_add_func("/backstore/ram/cut-off", test_cut_off_blocks_come_back_as_zeros);
    g_test_add_func("/backstore/ram/growth-ends", test_growth_has_an_end);
    g_test_add_data_func("/backstore/shared/ram", "ram", test_workers_share);
    g_test_add_data_func("/backstore/shared/file-default", "default", test_workers_share);
    g_test_add_data_func("/backstore/shared/file-writeback", "writeback", test_workers_share);
    g_test_add_data_func("/backstore/shared/file-writethrough", "writethrough", test_workers_share);

    return g_test_run();
}
