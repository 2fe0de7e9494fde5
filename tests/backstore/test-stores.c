/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What every store does
 *
 * One table of stores, one table of behaviours, and a test for each pair:
 * /backstore/STORE/BEHAVIOUR. A store that this machine cannot make is skipped.
 * The null store keeps nothing, so where others give back what was written it
 * has to give back zeros.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "fixture.h"
#include "util/error.h"
#include "util/fd.h"

#define SIZE (8 * MIB)

typedef enum {
    PLACE_NONE,
    PLACE_FILE, /* in the build directory */
    PLACE_TMPFS,
    PLACE_LOOP, /* a loop device on a file */
} Place;

typedef struct {
    const char *name;
    const char *type;
    Place place;
    CacheMode cache;
    guint32 block_size;
    gboolean is_forgetful;
    gboolean is_at_once; /* transfers have ended when backstore_submit() returns */
} Store;

typedef struct {
    const char *name;
    void (*run)(Fixture *fixture, const Store *store);
} Behaviour;

typedef struct {
    const Store *store;
    const Behaviour *behaviour;
} Pair;

static void
check_kept(Fixture *fixture, const Store *store, guint64 offset, guint64 length, guint64 seed)
{
    if (store->is_forgetful)
        store_check_zeros(fixture, offset, length);
    else
        store_check(fixture, offset, length, seed);
}

static void
fresh_store_reads_zeros(Fixture *fixture, const Store *store)
{
    store_check_zeros(fixture, 0, SIZE);
}

static void
gives_back_what_was_written(Fixture *fixture, const Store *store)
{
    guint32 block = backstore_info(fixture->store)->block_size;

    store_fill(fixture, 3 * block, 5 * block, 1);
    check_kept(fixture, store, 3 * block, 5 * block, 1);
    store_check_zeros(fixture, 0, 3 * block);
    store_check_zeros(fixture, 8 * block, 8 * block);
}

static void
overwrites(Fixture *fixture, const Store *store)
{
    store_fill(fixture, 0, 64 << 10, 1);
    store_fill(fixture, 16 << 10, 16 << 10, 2);
    check_kept(fixture, store, 0, 16 << 10, 1);
    check_kept(fixture, store, 16 << 10, 16 << 10, 2);
    check_kept(fixture, store, 32 << 10, 32 << 10, 1);
}

static void
reaches_first_and_last_block(Fixture *fixture, const Store *store)
{
    guint32 block = backstore_info(fixture->store)->block_size;

    store_fill(fixture, 0, block, 1);
    store_fill(fixture, SIZE - block, block, 1);
    check_kept(fixture, store, 0, block, 1);
    check_kept(fixture, store, SIZE - block, block, 1);
}

static void
moves_a_mebibyte(Fixture *fixture, const Store *store)
{
    store_fill(fixture, MIB, MIB, 1);
    check_kept(fixture, store, MIB, MIB, 1);
}

static void
writes_with_fua(Fixture *fixture, const Store *store)
{
    void *buffer = buffer_new(4096);

    pattern_fill(buffer, 4096, 8192, 1);
    g_assert_cmpint(fixture_run(fixture, IO_WRITE, IO_FUA, 8192, 4096, buffer), ==, 0);
    check_kept(fixture, store, 8192, 4096, 1);
    free(buffer);
}

static void
flushes(Fixture *fixture, const Store *store)
{
    store_fill(fixture, 0, MIB, 1);
    g_assert_cmpint(fixture_run(fixture, IO_FLUSH, 0, 0, 0, NULL), ==, 0);
    check_kept(fixture, store, 0, MIB, 1);
}

/* Not aligned to the granularity: LBPRZ holds for blocks */
static void
unmapped_blocks_read_zeros(Fixture *fixture, const Store *store)
{
    const BackstoreInfo *info = backstore_info(fixture->store);
    guint32 block = info->block_size;
    guint64 length = 2 * MIB + block;

    store_fill(fixture, 0, 4 * MIB, 1);
    g_assert_cmpint(fixture_run(fixture, IO_UNMAP, 0, 3 * block, length, NULL), ==, 0);
    g_assert_cmpint(fixture_run(fixture, IO_UNMAP, 0, 3 * MIB, block, NULL), ==, 0);

    check_kept(fixture, store, 0, 3 * block, 1);
    check_kept(fixture, store, 3 * block + length, MIB / 2, 1);
    check_kept(fixture, store, 3 * MIB + block, block, 1);
    if (info->unmap_zeroes) {
        store_check_zeros(fixture, 3 * block, length);
        store_check_zeros(fixture, 3 * MIB, block);
    }
}

static void
check_zeroing(Fixture *fixture, const Store *store, IoFlags flags)
{
    guint32 block = backstore_info(fixture->store)->block_size;
    guint64 length = 2 * MIB + block;

    store_fill(fixture, 0, 4 * MIB, 1);
    g_assert_cmpint(fixture_run(fixture, IO_ZERO, flags, block, length, NULL), ==, 0);
    g_assert_cmpint(fixture_run(fixture, IO_ZERO, flags, 3 * MIB, block, NULL), ==, 0);

    check_kept(fixture, store, 0, block, 1);
    store_check_zeros(fixture, block, length);
    check_kept(fixture, store, block + length, MIB / 2, 1);
    store_check_zeros(fixture, 3 * MIB, block);
    check_kept(fixture, store, 3 * MIB + block, block, 1);
}

static void
zeroes(Fixture *fixture, const Store *store)
{
    check_zeroing(fixture, store, 0);
}

static void
zeroes_by_unmapping(Fixture *fixture, const Store *store)
{
    check_zeroing(fixture, store, IO_MAY_UNMAP);
}

static void
zeroes_with_fua(Fixture *fixture, const Store *store)
{
    check_zeroing(fixture, store, IO_FUA);
}

static void
written_again_after_unmap(Fixture *fixture, const Store *store)
{
    store_fill(fixture, 0, MIB, 1);
    g_assert_cmpint(fixture_run(fixture, IO_ZERO, IO_MAY_UNMAP, 0, MIB, NULL), ==, 0);
    store_fill(fixture, 4096, 4096, 2);
    store_check_zeros(fixture, 0, 4096);
    check_kept(fixture, store, 4096, 4096, 2);
    store_check_zeros(fixture, 8192, MIB - 8192);
}

static void
serves_many_at_once(Fixture *fixture, const Store *store)
{
    enum { N = 256, PIECE = 8192 };
    g_autofree Request *requests = g_new0(Request, N);
    guint8 *buffer = buffer_new(N * PIECE);

    pattern_fill(buffer, N * PIECE, 0, 7);
    for (guint i = 0; i < N; i++)
        fixture_submit(fixture, &requests[i], IO_WRITE, i % 16 == 0 ? IO_FUA : 0, i * PIECE, PIECE,
                       buffer + i * PIECE);
    for (guint i = 0; i < N; i++) {
        fixture_wait(fixture, &requests[i]);
        g_assert_cmpint(requests[i].io.result, ==, 0);
    }

    memset(buffer, 0xa5, N * PIECE);
    for (guint i = 0; i < N; i++)
        fixture_submit(fixture, &requests[i], IO_READ, 0, i * PIECE, PIECE, buffer + i * PIECE);
    for (guint i = 0; i < N; i++) {
        fixture_wait(fixture, &requests[i]);
        g_assert_cmpint(requests[i].io.result, ==, 0);
    }

    if (store->is_forgetful)
        zeros_check(buffer, N * PIECE);
    else
        pattern_check(buffer, N * PIECE, 0, 7);
    free(buffer);
}

typedef struct {
    Io io;
    Fixture *fixture;
    guint n_left;
} Chain;

static void
on_link_done(Io *io)
{
    Chain *chain = list_entry(io, Chain, io);

    g_assert_cmpint(io->result, ==, 0);
    if (--chain->n_left == 0)
        return;

    io->kind = io->kind == IO_WRITE ? IO_READ : IO_WRITE;
    backstore_submit(chain->fixture->store, chain->fixture->worker, io);
}

static void
takes_a_request_again_from_its_end(Fixture *fixture, const Store *store)
{
    void *buffer = buffer_new(4096);
    Chain chain = { .fixture = fixture, .n_left = 20 };

    chain.io = (Io){
        .kind = IO_WRITE, .offset = 4096, .length = 4096, .buffer = buffer, .done = on_link_done
    };
    backstore_submit(fixture->store, fixture->worker, &chain.io);
    while (chain.n_left > 0)
        worker_turn(fixture->worker, -1);
    free(buffer);
}

static void
ends_at_once_where_it_can(Fixture *fixture, const Store *store)
{
    void *buffer = buffer_new(4096);
    Request request;

    fixture_submit(fixture, &request, IO_WRITE, 0, 0, 4096, buffer);
    if (store->is_at_once)
        g_assert_true(request.is_done);
    fixture_wait(fixture, &request);

    fixture_submit(fixture, &request, IO_READ, 0, 0, 4096, buffer);
    if (store->is_at_once)
        g_assert_true(request.is_done);
    fixture_wait(fixture, &request);
    g_assert_cmpint(request.io.result, ==, 0);
    free(buffer);
}

static void
counts(Fixture *fixture, const Store *store)
{
    BackstoreStatistics statistics;
    void *buffer = buffer_new(8192);

    g_assert_cmpint(fixture_run(fixture, IO_WRITE, 0, 0, 8192, buffer), ==, 0);
    g_assert_cmpint(fixture_run(fixture, IO_READ, 0, 0, 4096, buffer), ==, 0);
    g_assert_cmpint(fixture_run(fixture, IO_READ, 0, 0, 4096, buffer), ==, 0);
    g_assert_cmpint(fixture_run(fixture, IO_FLUSH, 0, 0, 0, NULL), ==, 0);
    g_assert_cmpint(fixture_run(fixture, IO_ZERO, IO_FUA, 0, 4096, NULL), ==, 0);

    backstore_get_statistics(fixture->store, 0, &statistics);
    g_assert_cmpuint(statistics.n_writes, ==, 1);
    g_assert_cmpuint(statistics.bytes_written, ==, 8192);
    g_assert_cmpuint(statistics.n_reads, ==, 2);
    g_assert_cmpuint(statistics.bytes_read, ==, 8192);
    g_assert_cmpuint(statistics.n_flushes, ==, 1);
    g_assert_cmpuint(statistics.n_unmaps, ==, 1);
    g_assert_cmpuint(statistics.n_errors, ==, 0);
    free(buffer);
}

static void
tells_the_truth_about_itself(Fixture *fixture, const Store *store)
{
    const BackstoreInfo *info = backstore_info(fixture->store);

    g_assert_cmpuint(info->size, ==, SIZE);
    g_assert_cmpuint(info->block_size, ==, store->block_size != 0 ? store->block_size : 512);
    g_assert_cmpuint(info->physical_block_size % info->block_size, ==, 0);
    g_assert_false(info->read_only);
    if (store->cache != CACHE_DEFAULT)
        g_assert_cmpint(info->cache, ==, store->cache);
    if (info->cache == CACHE_WRITETHROUGH || store->place == PLACE_NONE)
        g_assert_false(info->write_cache);
    if (info->cache == CACHE_WRITEBACK)
        g_assert_true(info->write_cache);
    g_assert_cmpstr(backstore_name(fixture->store), ==, store->name);
    g_assert_false(backstore_is_failed(fixture->store));
}

static void
grows(Fixture *fixture, const Store *store)
{
    GError *error = NULL;

    if (store->place == PLACE_LOOP) {
        g_assert_false(backstore_resize(fixture->store, 2 * SIZE, &error));
        g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR);
        g_clear_error(&error);
        g_assert_cmpuint(backstore_info(fixture->store)->size, ==, SIZE);
        return;
    }

    store_fill(fixture, 0, SIZE, 1);
    g_assert_true(backstore_resize(fixture->store, 2 * SIZE, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(backstore_info(fixture->store)->size, ==, 2 * SIZE);
    backstore_take_size(fixture->store, fixture->worker, 2 * SIZE);
    check_kept(fixture, store, 0, SIZE, 1);
    store_check_zeros(fixture, SIZE, SIZE);
    store_fill(fixture, SIZE, SIZE, 2);
    check_kept(fixture, store, SIZE, SIZE, 2);
}

static void
check_run(Fixture *fixture, guint64 offset, guint64 length, gboolean is_mapped, guint64 n_mapped)
{
    Request request;

    fixture_submit(fixture, &request, IO_MAP, 0, offset, length, NULL);
    fixture_wait(fixture, &request);
    g_assert_cmpint(request.io.result, ==, 0);
    g_assert_cmpint(request.io.is_mapped, ==, is_mapped);
    g_assert_cmpuint(request.io.n_mapped, ==, n_mapped);
}

/* Files and memory know their holes; what cannot tell says that all is there */
static void
tells_holes_from_data(Fixture *fixture, const Store *store)
{
    gboolean knows = strcmp(store->type, "file") == 0 || strcmp(store->type, "ram") == 0;

    store_fill(fixture, 256 << 10, 128 << 10, 1);
    if (!knows) {
        check_run(fixture, 0, SIZE, TRUE, SIZE);
        return;
    }

    check_run(fixture, 0, SIZE, FALSE, 256 << 10);
    check_run(fixture, 0, 8192, FALSE, 8192);
    check_run(fixture, 256 << 10, SIZE - (256 << 10), TRUE, 128 << 10);
    check_run(fixture, 260 << 10, 4096, TRUE, 4096);
    check_run(fixture, 384 << 10, SIZE - (384 << 10), FALSE, SIZE - (384 << 10));
    check_run(fixture, SIZE - 4096, 4096, FALSE, 4096);
}

static void
prefetches(Fixture *fixture, const Store *store)
{
    gboolean is_direct = backstore_info(fixture->store)->cache == CACHE_NONE &&
                         (strcmp(store->type, "file") == 0 || strcmp(store->type, "block") == 0);

    store_fill(fixture, 0, MIB, 1);
    g_assert_cmpint(fixture_run(fixture, IO_PREFETCH, 0, 0, MIB, NULL), ==,
                    is_direct ? -EOPNOTSUPP : 0);
    check_kept(fixture, store, 0, MIB, 1);
}

/*
 * What was written and is still in a cache is copied, and what a cache has of the destination is
 * forgotten. A store that does not copy leaves all as it was.
 */
static void
copies(Fixture *fixture, const Store *store)
{
    gboolean is_cached_file =
        strcmp(store->type, "file") == 0 && backstore_info(fixture->store)->cache != CACHE_NONE;
    guint8 *a = buffer_new(64 << 10), *b = buffer_new(64 << 10);
    gint64 r;

    store_fill(fixture, 0, 128 << 10, 1);
    store_fill(fixture, MIB, 128 << 10, 2);
    check_kept(fixture, store, MIB, 128 << 10, 2);
    r = fixture_copy(fixture, 0, 0, MIB, 64 << 10);
    if (is_cached_file)
        g_assert_cmpint(r, ==, 0);
    else
        g_assert_true(r == 0 || backstore_copy_is_refused(r));

    check_kept(fixture, store, 0, 128 << 10, 1);
    check_kept(fixture, store, MIB + (64 << 10), 64 << 10, 2);
    if (r != 0)
        check_kept(fixture, store, MIB, 64 << 10, 2);

    /* The pattern tells where it was written, so the copy is another one there */
    g_assert_cmpint(fixture_run(fixture, IO_READ, 0, 0, 64 << 10, a), ==, 0);
    g_assert_cmpint(fixture_run(fixture, IO_READ, 0, MIB, 64 << 10, b), ==, 0);
    if (r == 0)
        g_assert_cmpmem(a, 64 << 10, b, 64 << 10);
    free(a);
    free(b);
}

/* clang-format off */
static const Store stores[] = {
    { "null",              "null",  PLACE_NONE,  CACHE_DEFAULT,      0,    TRUE,  TRUE },
    { "ram",               "ram",   PLACE_NONE,  CACHE_DEFAULT,      0,    FALSE, TRUE },
    { "ram-4096",          "ram",   PLACE_NONE,  CACHE_DEFAULT,      4096, FALSE, TRUE },
    { "file-default",      "file",  PLACE_FILE,  CACHE_DEFAULT,      0,    FALSE, FALSE },
    { "file-none",         "file",  PLACE_FILE,  CACHE_NONE,         0,    FALSE, FALSE },
    { "file-none-4096",    "file",  PLACE_FILE,  CACHE_NONE,         4096, FALSE, FALSE },
    { "file-writeback",    "file",  PLACE_FILE,  CACHE_WRITEBACK,    0,    FALSE, FALSE },
    { "file-writethrough", "file",  PLACE_FILE,  CACHE_WRITETHROUGH, 0,    FALSE, FALSE },
    { "file-tmpfs",        "file",  PLACE_TMPFS, CACHE_DEFAULT,      0,    FALSE, TRUE },
    { "file-tmpfs-through","file",  PLACE_TMPFS, CACHE_WRITETHROUGH, 0,    FALSE, TRUE },
    { "file-tmpfs-none",   "file",  PLACE_TMPFS, CACHE_NONE,         0,    FALSE, FALSE },
    { "block-none",        "block", PLACE_LOOP,  CACHE_DEFAULT,      0,    FALSE, FALSE },
    { "block-writeback",   "block", PLACE_LOOP,  CACHE_WRITEBACK,    0,    FALSE, FALSE },
    { "block-writethrough","block", PLACE_LOOP,  CACHE_WRITETHROUGH, 0,    FALSE, FALSE },
};

static const Behaviour behaviours[] = {
    { "fresh-reads-zeros",        fresh_store_reads_zeros },
    { "gives-back-written",       gives_back_what_was_written },
    { "overwrites",               overwrites },
    { "first-and-last-block",     reaches_first_and_last_block },
    { "mebibyte",                 moves_a_mebibyte },
    { "fua",                      writes_with_fua },
    { "flush",                    flushes },
    { "unmap-reads-zeros",        unmapped_blocks_read_zeros },
    { "zero",                     zeroes },
    { "zero-by-unmapping",        zeroes_by_unmapping },
    { "zero-with-fua",            zeroes_with_fua },
    { "map",                      tells_holes_from_data },
    { "prefetch",                 prefetches },
    { "copy",                     copies },
    { "written-after-unmap",      written_again_after_unmap },
    { "many-at-once",             serves_many_at_once },
    { "resubmitted-from-done",    takes_a_request_again_from_its_end },
    { "at-once",                  ends_at_once_where_it_can },
    { "statistics",               counts },
    { "info",                     tells_the_truth_about_itself },
    { "grow",                     grows },
};
/* clang-format on */

static gboolean
place_is_direct(const char *directory)
{
    g_autofree char *path = g_build_filename(directory, "probe", NULL);
    autofd int fd = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);

    (void)unlink(path);
    return fd >= 0;
}

static void
fixture_open(Fixture *fixture, const Store *store, const char *path)
{
    GError *error = NULL;
    BackstoreConfig config = {
        .type = store->type,
        .name = store->name,
        .path = path,
        .size = SIZE,
        .create = store->place == PLACE_FILE || store->place == PLACE_TMPFS,
        .block_size = store->block_size,
        .cache = store->cache,
        .fd = -1,
    };

    fixture->store = backstore_open(&config, fixture->offload, 1, &error);
    g_assert_no_error(error);
    g_assert_nonnull(fixture->store);
}

static void
test_pair(gconstpointer data)
{
    const Pair *pair = data;
    const Store *store = pair->store;
    Fixture fixture;
    g_autofree char *path = NULL;
    g_autofree char *backing = NULL;
    const char *why = NULL;
    struct statfs fs;
    autofd int loop_fd = -1;

    fixture_init(&fixture);
    switch (store->place) {
    case PLACE_NONE:
        break;
    case PLACE_FILE:
        path = fixture_path(&fixture, "disk");
        if (store->cache == CACHE_NONE && !place_is_direct(fixture.directory))
            why = "the file system of the build directory has no O_DIRECT";
        break;
    case PLACE_TMPFS:
        path = g_strdup_printf("/dev/shm/backstore-test-%d", (int)getpid());
        if (statfs("/dev/shm", &fs) < 0 || fs.f_type != TMPFS_MAGIC || access("/dev/shm", W_OK) < 0)
            why = "/dev/shm is no tmpfs that may be written";
        else if (store->cache == CACHE_NONE && !place_is_direct("/dev/shm"))
            why = "this kernel's tmpfs has no O_DIRECT";
        break;
    case PLACE_LOOP:
        backing = fixture_path(&fixture, "backing");
        loop_fd = loop_open(backing, SIZE, 512, &why);
        if (loop_fd >= 0) {
            g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", loop_fd);

            path = g_file_read_link(link, NULL);
            why = NULL;
        }
        break;
    }

    if (why == NULL) {
        fixture_open(&fixture, store, path);
        pair->behaviour->run(&fixture, store);
    } else {
        g_test_skip(why);
    }

    if (store->place == PLACE_TMPFS && path != NULL)
        (void)unlink(path);
    fixture_deinit(&fixture);
}

int
main(int argc, char **argv)
{
    static Pair pairs[G_N_ELEMENTS(stores)][G_N_ELEMENTS(behaviours)];

    g_test_init(&argc, &argv, NULL);

    for (gsize i = 0; i < G_N_ELEMENTS(stores); i++) {
        for (gsize j = 0; j < G_N_ELEMENTS(behaviours); j++) {
            g_autofree char *path =
                g_strdup_printf("/backstore/%s/%s", stores[i].name, behaviours[j].name);

            pairs[i][j] = (Pair){ &stores[i], &behaviours[j] };
            g_test_add_data_func(path, &pairs[i][j], test_pair);
        }
    }

    return g_test_run();
}
