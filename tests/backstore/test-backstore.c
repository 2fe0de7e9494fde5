/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The wrapper around stores
 *
 * A class of the test's own notes each request that reaches it and ends it at
 * once or in the next turn, with the result the test chose. So what the wrapper
 * makes of a request can be seen exactly.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "util/error.h"

#define SIZE      (8 * MIB)
#define NOTES_MAX 64

typedef struct {
    IoKind kind;
    IoFlags flags;
    guint64 offset;
    guint64 length;
    gboolean is_zeros;
} Note;

typedef struct {
    Backstore store;
    guint8 *memory;
    BackstoreNative native;
    gboolean is_later;           /* end requests in the next turn */
    gint64 results[IO_COPY + 1]; /* by kind */
    Note notes[NOTES_MAX];
    guint n_notes;
} Fake;

static Fake *
fake_of(Backstore *store)
{
    return (Fake *)(void *)store;
}

static gboolean
fake_open(Backstore *store, const BackstoreConfig *config, GError **ret_error)
{
    fake_of(store)->memory = g_malloc0(SIZE);
    store->info.size = config->size != 0 ? config->size : SIZE + 512;
    store->info.cache = CACHE_WRITEBACK;
    store->info.write_cache = TRUE;
    store->info.offset_align = 4096;
    return TRUE;
}

static void
fake_close(Backstore *store)
{
    g_free(fake_of(store)->memory);
}

static void
fake_carry_out(Fake *fake, Io *io)
{
    if (io->kind == IO_READ)
        memcpy(io->buffer, fake->memory + io->offset, io->length);
    if (io->kind == IO_WRITE)
        memcpy(fake->memory + io->offset, io->buffer, io->length);
    if (io->kind == IO_ZERO || io->kind == IO_UNMAP)
        memset(fake->memory + io->offset, 0, io->length);
    if (io->kind == IO_COPY)
        memcpy(fake->memory + io->offset, fake_of(io->source)->memory + io->source_offset,
               io->length);
}

static void
run_nothing(OffloadJob *job)
{
    Io *io = io_of_job(job);

    io->result = fake_of(io->store)->results[io->kind];
}

static void
fake_submit(Backstore *store, Io *io)
{
    Fake *fake = fake_of(store);

    g_assert_cmpuint(fake->n_notes, <, NOTES_MAX);
    fake->notes[fake->n_notes++] =
        (Note){ io->kind, io->flags, io->offset, io->length, io->buffer == store->zeros };
    fake_carry_out(fake, io);
    if (fake->is_later)
        backstore_io_offload(io, store->queue, run_nothing);
    else
        backstore_io_done(io, fake->results[io->kind]);
}

static const BackstoreClass fake_class = {
    .type = "fake",
    .instance_size = sizeof(Fake),
    .open = fake_open,
    .close = fake_close,
    .submit = fake_submit,
};

static Fake *
fixture_open_fake(Fixture *fixture, BackstoreNative native)
{
    BackstoreConfig config = { .type = "fake", .name = "fake", .size = SIZE, .fd = -1 };
    GError *error = NULL;

    fixture_init(fixture);
    fixture->store = backstore_open_class(&fake_class, &config, fixture->offload, 1, &error);
    g_assert_no_error(error);
    fixture->store->native = native;
    return fake_of(fixture->store);
}

static void
check_note(const Fake *fake, guint index, IoKind kind, guint64 offset, guint64 length)
{
    g_assert_cmpuint(index, <, fake->n_notes);
    g_assert_cmpint(fake->notes[index].kind, ==, kind);
    g_assert_cmpuint(fake->notes[index].offset, ==, offset);
    g_assert_cmpuint(fake->notes[index].length, ==, length);
}

static void
test_zero_is_written(gconstpointer data)
{
    Fixture fixture;
    Fake *fake = fixture_open_fake(&fixture, 0);

    fake->is_later = GPOINTER_TO_INT(data);
    memset(fake->memory, 0xa5, SIZE);
    g_assert_cmpint(fixture_run(&fixture, IO_ZERO, 0, 4096, 2 * MIB + 8192, NULL), ==, 0);

    g_assert_cmpuint(fake->n_notes, ==, 3);
    check_note(fake, 0, IO_WRITE, 4096, MIB);
    check_note(fake, 1, IO_WRITE, 4096 + MIB, MIB);
    check_note(fake, 2, IO_WRITE, 4096 + 2 * MIB, 8192);
    g_assert_true(fake->notes[0].is_zeros && fake->notes[2].is_zeros);
    g_assert_cmpuint(fake->memory[4095], ==, 0xa5);
    zeros_check(fake->memory + 4096, 2 * MIB + 8192);
    g_assert_cmpuint(fake->memory[4096 + 2 * MIB + 8192], ==, 0xa5);
    fixture_deinit(&fixture);
}

static void
test_zero_stops_at_an_error(void)
{
    Fixture fixture;
    Fake *fake = fixture_open_fake(&fixture, 0);

    fake->results[IO_WRITE] = -ENOSPC;
    g_assert_cmpint(fixture_run(&fixture, IO_ZERO, IO_FUA, 0, 4 * MIB, NULL), ==, -ENOSPC);
    g_assert_cmpuint(fake->n_notes, ==, 1);
    fixture_deinit(&fixture);
}

static void
test_fua_is_a_flush(gconstpointer data)
{
    Fixture fixture;
    Fake *fake = fixture_open_fake(&fixture, 0);
    void *buffer = buffer_new(4096);

    fake->is_later = GPOINTER_TO_INT(data);
    g_assert_cmpint(fixture_run(&fixture, IO_WRITE, IO_FUA, 8192, 4096, buffer), ==, 0);
    g_assert_cmpuint(fake->n_notes, ==, 2);
    check_note(fake, 0, IO_WRITE, 8192, 4096);
    g_assert_cmpint(fake->notes[0].flags, ==, 0);
    check_note(fake, 1, IO_FLUSH, 0, 0);
    free(buffer);
    fixture_deinit(&fixture);
}

/* From one store of a class to another one, or the same, in whole units of both */
static void
test_copy_needs_both_stores(void)
{
    Fixture fixture;
    Fake *fake = fixture_open_fake(&fixture, 0);

    g_assert_cmpint(fixture_copy(&fixture, 0, 0, MIB, 8192), ==, -EOPNOTSUPP);
    fixture.store->native = NATIVE_COPY;
    fixture.store->info.copy_align = 8192;
    g_assert_cmpint(fixture_copy(&fixture, 0, 0, MIB, 4096), ==, -EOPNOTSUPP);
    g_assert_cmpint(fixture_copy(&fixture, 0, 4096, MIB, 8192), ==, -EOPNOTSUPP);
    g_assert_cmpint(fixture_copy(&fixture, 0, 0, MIB + 4096, 8192), ==, -EOPNOTSUPP);
    g_assert_cmpuint(fake->n_notes, ==, 0);

    g_assert_cmpint(fixture_copy(&fixture, 0, 0, MIB, 0), ==, 0);
    g_assert_cmpuint(fake->n_notes, ==, 0);
    g_assert_cmpint(fixture_copy(&fixture, 0, 0, MIB, 8192), ==, 0);
    g_assert_cmpuint(fake->n_notes, ==, 1);
    check_note(fake, 0, IO_COPY, MIB, 8192);
    fixture_deinit(&fixture);
}

/* Durable with FUA, and always on a store that is written through */
static void
test_copy_is_flushed(void)
{
    Fixture fixture;
    Fake *fake = fixture_open_fake(&fixture, NATIVE_COPY | NATIVE_FUA);

    g_assert_cmpint(fixture_copy(&fixture, IO_FUA, 0, MIB, 4096), ==, 0);
    g_assert_cmpuint(fake->n_notes, ==, 2);
    check_note(fake, 0, IO_COPY, MIB, 4096);
    g_assert_cmpint(fake->notes[1].kind, ==, IO_FLUSH);

    fixture.store->info.cache = CACHE_WRITETHROUGH;
    g_assert_cmpint(fixture_copy(&fixture, 0, 0, MIB, 4096), ==, 0);
    g_assert_cmpuint(fake->n_notes, ==, 4);
    g_assert_cmpint(fake->notes[3].kind, ==, IO_FLUSH);

    fixture.store->info.cache = CACHE_WRITEBACK;
    backstore_set_write_through(fixture.store, fixture.worker, TRUE);
    g_assert_cmpint(fixture_copy(&fixture, 0, 0, MIB, 4096), ==, 0);
    g_assert_cmpuint(fake->n_notes, ==, 6);
    g_assert_cmpint(fake->notes[5].kind, ==, IO_FLUSH);
    fixture_deinit(&fixture);
}

/* As a write: not on a store that has lost data. What the store would not do is no error of it. */
static void
test_copy_errors(void)
{
    BackstoreStatistics statistics;
    Fixture fixture;
    Fake *fake = fixture_open_fake(&fixture, NATIVE_COPY);

    fake->results[IO_COPY] = -EXDEV;
    g_assert_cmpint(fixture_copy(&fixture, 0, 0, MIB, 4096), ==, -EXDEV);
    backstore_get_statistics(fixture.store, 0, &statistics);
    g_assert_cmpuint(statistics.n_errors, ==, 0);
    g_assert_cmpuint(statistics.n_writes, ==, 0);
    fake->results[IO_COPY] = -ENOSPC;
    g_assert_cmpint(fixture_copy(&fixture, 0, 0, MIB, 4096), ==, -ENOSPC);
    backstore_get_statistics(fixture.store, 0, &statistics);
    g_assert_cmpuint(statistics.n_errors, ==, 1);

    fake->results[IO_COPY] = 0;
    g_assert_cmpint(fixture_copy(&fixture, 0, 0, MIB, 4096), ==, 0);
    backstore_get_statistics(fixture.store, 0, &statistics);
    g_assert_cmpuint(statistics.bytes_read, ==, 4096);
    g_assert_cmpuint(statistics.bytes_written, ==, 4096);
    backstore_set_failed(fixture.store);
    g_assert_cmpint(fixture_copy(&fixture, 0, 0, MIB, 4096), ==, -EIO);
    g_assert_cmpuint(fake->n_notes, ==, 3);
    fixture_deinit(&fixture);
}

static void
test_native_fua_is_left_alone(void)
{
    Fixture fixture;
    Fake *fake = fixture_open_fake(&fixture, NATIVE_FUA);
    void *buffer = buffer_new(4096);

    g_assert_cmpint(fixture_run(&fixture, IO_WRITE, IO_FUA, 8192, 4096, buffer), ==, 0);
    g_assert_cmpuint(fake->n_notes, ==, 1);
    g_assert_cmpint(fake->notes[0].flags, ==, IO_FUA);
    free(buffer);
    fixture_deinit(&fixture);
}

static void
test_zero_with_fua_is_flushed(void)
{
    Fixture fixture;
    Fake *fake = fixture_open_fake(&fixture, NATIVE_FUA | NATIVE_ZERO);

    g_assert_cmpint(fixture_run(&fixture, IO_ZERO, IO_FUA | IO_MAY_UNMAP, 0, 4096, NULL), ==, 0);
    g_assert_cmpuint(fake->n_notes, ==, 2);
    check_note(fake, 0, IO_ZERO, 0, 4096);
    g_assert_cmpint(fake->notes[0].flags, ==, IO_MAY_UNMAP);
    check_note(fake, 1, IO_FLUSH, 0, 0);
    fixture_deinit(&fixture);
}

static void
test_write_through_flushes_deallocation(void)
{
    Fixture fixture;
    Fake *fake = fixture_open_fake(&fixture, NATIVE_FUA | NATIVE_ZERO | NATIVE_UNMAP);

    fixture.store->info.cache = CACHE_WRITETHROUGH;
    g_assert_cmpint(fixture_run(&fixture, IO_UNMAP, 0, 0, 4096, NULL), ==, 0);
    g_assert_cmpuint(fake->n_notes, ==, 2);
    check_note(fake, 0, IO_UNMAP, 0, 4096);
    check_note(fake, 1, IO_FLUSH, 0, 0);
    fixture_deinit(&fixture);
}

static void
test_unmap_is_a_hint(void)
{
    Fixture fixture;
    Fake *fake = fixture_open_fake(&fixture, 0);

    g_assert_cmpint(fixture_run(&fixture, IO_UNMAP, 0, 0, 4096, NULL), ==, 0);
    g_assert_cmpuint(fake->n_notes, ==, 0);
    fixture_deinit(&fixture);
}

static void
check_is_failed(Fixture *fixture, Fake *fake)
{
    void *buffer = buffer_new(4096);

    g_assert_true(backstore_is_failed(fixture->store));
    memset(fake->results, 0, sizeof(fake->results));
    fake->n_notes = 0;
    g_assert_cmpint(fixture_run(fixture, IO_WRITE, 0, 0, 4096, buffer), ==, -EIO);
    g_assert_cmpint(fixture_run(fixture, IO_WRITE, IO_FUA, 0, 4096, buffer), ==, -EIO);
    g_assert_cmpint(fixture_run(fixture, IO_ZERO, 0, 0, 4096, NULL), ==, -EIO);
    g_assert_cmpint(fixture_run(fixture, IO_UNMAP, 0, 0, 4096, NULL), ==, -EIO);
    g_assert_cmpint(fixture_run(fixture, IO_FLUSH, 0, 0, 0, NULL), ==, -EIO);
    g_assert_cmpuint(fake->n_notes, ==, 0);
    g_assert_cmpint(fixture_run(fixture, IO_READ, 0, 0, 4096, buffer), ==, 0);
    g_assert_true(backstore_is_failed(fixture->store));
    free(buffer);
}

static void
test_failed_flush_fails_the_store(void)
{
    Fixture fixture;
    Fake *fake = fixture_open_fake(&fixture, 0);

    fake->results[IO_FLUSH] = -EIO;
    g_assert_cmpint(fixture_run(&fixture, IO_FLUSH, 0, 0, 0, NULL), ==, -EIO);
    check_is_failed(&fixture, fake);
    fixture_deinit(&fixture);
}

static void
test_failed_flush_after_fua_fails_the_store(void)
{
    Fixture fixture;
    Fake *fake = fixture_open_fake(&fixture, 0);
    void *buffer = buffer_new(4096);

    fake->results[IO_FLUSH] = -ENOSPC;
    g_assert_cmpint(fixture_run(&fixture, IO_WRITE, IO_FUA, 0, 4096, buffer), ==, -ENOSPC);
    check_is_failed(&fixture, fake);
    free(buffer);
    fixture_deinit(&fixture);
}

static void
test_failed_fua_write_fails_a_writeback_store(void)
{
    Fixture fixture;
    Fake *fake = fixture_open_fake(&fixture, NATIVE_FUA);
    void *buffer = buffer_new(4096);

    fake->results[IO_WRITE] = -EIO;
    g_assert_cmpint(fixture_run(&fixture, IO_WRITE, IO_FUA, 0, 4096, buffer), ==, -EIO);
    check_is_failed(&fixture, fake);
    free(buffer);
    fixture_deinit(&fixture);
}

static void
test_failed_transfer_does_not_fail_the_store(void)
{
    Fixture fixture;
    Fake *fake = fixture_open_fake(&fixture, NATIVE_FUA);
    void *buffer = buffer_new(4096);

    fake->results[IO_READ] = -EIO;
    fake->results[IO_WRITE] = -EIO;
    g_assert_cmpint(fixture_run(&fixture, IO_READ, 0, 0, 4096, buffer), ==, -EIO);
    g_assert_cmpint(fixture_run(&fixture, IO_WRITE, 0, 0, 4096, buffer), ==, -EIO);
    fake->results[IO_WRITE] = -ENOSPC;
    g_assert_cmpint(fixture_run(&fixture, IO_WRITE, IO_FUA, 0, 4096, buffer), ==, -ENOSPC);
    g_assert_false(backstore_is_failed(fixture.store));
    free(buffer);
    fixture_deinit(&fixture);
}

static void
test_errors_are_counted(void)
{
    Fixture fixture;
    Fake *fake = fixture_open_fake(&fixture, 0);
    BackstoreStatistics statistics;
    void *buffer = buffer_new(4096);

    fake->results[IO_READ] = -EIO;
    g_assert_cmpint(fixture_run(&fixture, IO_READ, 0, 0, 4096, buffer), ==, -EIO);
    backstore_get_statistics(fixture.store, 0, &statistics);
    g_assert_cmpuint(statistics.n_errors, ==, 1);
    g_assert_cmpuint(statistics.n_reads, ==, 1);
    g_assert_cmpuint(statistics.bytes_read, ==, 0);
    free(buffer);
    fixture_deinit(&fixture);
}

static void
test_partial_physical_writes_are_refused(void)
{
    Fixture fixture;
    Fake *fake = fixture_open_fake(&fixture, 0);
    void *buffer = buffer_new(4096);

    g_assert_cmpint(fixture_run(&fixture, IO_WRITE, 0, 512, 4096, buffer), ==, -EINVAL);
    g_assert_cmpint(fixture_run(&fixture, IO_ZERO, 0, 4096, 512, NULL), ==, -EINVAL);
    g_assert_cmpint(fixture_run(&fixture, IO_READ, 0, 512, 512, buffer), ==, 0);
    g_assert_cmpuint(fake->n_notes, ==, 1);
    free(buffer);
    fixture_deinit(&fixture);
}

/* The last block of a store could never be written */
static void
test_size_is_whole_units(void)
{
    BackstoreConfig config = { .type = "fake", .name = "fake", .size = SIZE - 512, .fd = -1 };
    BackstoreClass class = fake_class;
    GError *error = NULL;
    Fixture fixture;

    fixture_init(&fixture);
    class.takes_size_zero = TRUE;
    g_assert_null(backstore_open_class(&class, &config, fixture.offload, 1, &error));
    g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
    g_clear_error(&error);

    config.read_only = TRUE;
    fixture.store = backstore_open_class(&class, &config, fixture.offload, 1, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(backstore_info(fixture.store)->size, ==, SIZE - 512);
    backstore_close(fixture.store);

    /* A size that nobody asked for is cut */
    config.read_only = FALSE;
    config.size = 0;
    fixture.store = backstore_open_class(&class, &config, fixture.offload, 1, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(backstore_info(fixture.store)->size, ==, SIZE);
    fixture_deinit(&fixture);
}

static void
test_hints_where_the_class_has_none(void)
{
    Fixture fixture;
    Fake *fake = fixture_open_fake(&fixture, 0);
    Request request;

    fixture_submit(&fixture, &request, IO_MAP, 0, 512, 4096, NULL);
    g_assert_true(request.is_done);
    g_assert_cmpint(request.io.result, ==, 0);
    g_assert_true(request.io.is_mapped);
    g_assert_cmpuint(request.io.n_mapped, ==, 4096);
    g_assert_cmpint(fixture_run(&fixture, IO_PREFETCH, 0, 512, 4096, NULL), ==, -EOPNOTSUPP);
    g_assert_cmpuint(fake->n_notes, ==, 0);
    fixture_deinit(&fixture);
}

static void
test_nothing_to_do_ends_at_once(void)
{
    Fixture fixture;
    Fake *fake = fixture_open_fake(&fixture, 0);

    g_assert_cmpint(fixture_run(&fixture, IO_READ, 0, SIZE, 0, NULL), ==, 0);
    g_assert_cmpint(fixture_run(&fixture, IO_ZERO, IO_FUA, 0, 0, NULL), ==, 0);
    g_assert_cmpuint(fake->n_notes, ==, 0);
    fixture_deinit(&fixture);
}

static void
test_cannot_resize_where_the_class_cannot(void)
{
    Fixture fixture;
    GError *error = NULL;

    (void)fixture_open_fake(&fixture, 0);
    g_assert_false(backstore_resize(fixture.store, 2 * SIZE, &error));
    g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_NOT_SUPPORTED);
    g_assert_cmpuint(backstore_allocated_size(fixture.store), ==, 0);
    g_clear_error(&error);
    fixture_deinit(&fixture);
}

typedef struct {
    const char *name;
    IoKind kind;
    guint64 offset;
    guint64 length;
    gsize skew; /* of the buffer */
    gboolean read_only;
} Misuse;

/* clang-format off */
static const Misuse misuses[] = {
    { "beyond-the-end",     IO_READ,  SIZE - 512, 1024, 0,   FALSE },
    { "offset-overflow",    IO_READ,  G_MAXUINT64 - 511, 512, 0, FALSE },
    { "half-a-block",       IO_READ,  0,          256,  0,   FALSE },
    { "between-blocks",     IO_READ,  256,        512,  0,   FALSE },
    { "unaligned-buffer",   IO_READ,  0,          512,  256, FALSE },
    { "write-read-only",    IO_WRITE, 0,          4096, 0,   TRUE },
    { "unmap-read-only",    IO_UNMAP, 0,          4096, 0,   TRUE },
};
/* clang-format on */

static void
test_misuse(gconstpointer data)
{
    const Misuse *misuse = data;
    Fixture fixture;
    char *buffer;

    if (!g_test_subprocess()) {
        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_failed();
        g_test_trap_assert_stderr("*assertion*");
        return;
    }

    (void)fixture_open_fake(&fixture, NATIVE_UNMAP);
    (void)rmdir(fixture.directory); /* nobody will come back for it */
    fixture.store->info.memory_align = 512;
    fixture.store->info.read_only = misuse->read_only;
    buffer = buffer_new(8192);
    (void)fixture_run(&fixture, misuse->kind, 0, misuse->offset, misuse->length,
                      buffer + misuse->skew);
}

static void
test_cache_modes_have_names(void)
{
    static const char *const names[] = { "default", "none", "writeback", "writethrough" };
    CacheMode mode;

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_assert_cmpstr(cache_mode_to_string((CacheMode)i), ==, names[i]);
        g_assert_true(cache_mode_from_string(names[i], &mode));
        g_assert_cmpint(mode, ==, i);
    }
    g_assert_false(cache_mode_from_string("None", &mode));
    g_assert_false(cache_mode_from_string("", &mode));
}

typedef struct {
    const char *name;
    BackstoreConfig config;
} WrongConfig;

/* clang-format off */
static const WrongConfig wrong_configs[] = {
    { "unknown-type",       { .type = "tape", .size = SIZE } },
    { "ram-without-size",   { .type = "ram" } },
    { "ram-with-path",      { .type = "ram", .size = SIZE, .path = "/x" } },
    { "null-with-size-0",   { .type = "null" } },
    { "file-without-path",  { .type = "file", .size = SIZE } },
    { "relative-path",      { .type = "file", .size = SIZE, .path = "disk" } },
    { "create-size-0",      { .type = "file", .path = "/nowhere/disk", .create = TRUE } },
    { "create-read-only",   { .type = "file", .path = "/nowhere/disk", .size = SIZE, .create = TRUE, .read_only = TRUE } },
    { "create-block",       { .type = "block", .path = "/nowhere/disk", .size = SIZE, .create = TRUE } },
    { "block-size-513",     { .type = "ram", .size = SIZE, .block_size = 513 } },
    { "block-size-256",     { .type = "ram", .size = SIZE, .block_size = 256 } },
    { "block-size-8192",    { .type = "ram", .size = SIZE, .block_size = 8192 } },
    { "physical-smaller",   { .type = "ram", .size = SIZE, .block_size = 4096, .physical_block_size = 512 } },
    { "physical-odd",       { .type = "ram", .size = SIZE, .physical_block_size = 1536 } },
    { "size-of-half-block", { .type = "ram", .size = SIZE + 256 } },
    { "size-above-8-EiB",   { .type = "null", .size = G_MAXUINT64 - 511 } },
};
/* clang-format on */

static void
test_wrong_config(gconstpointer data)
{
    const WrongConfig *wrong = data;
    BackstoreConfig config = wrong->config;
    Fixture fixture;
    GError *error = NULL;

    fixture_init(&fixture);
    config.name = "wrong";
    config.fd = -1;
    g_assert_null(backstore_open(&config, fixture.offload, 1, &error));
    g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
    g_clear_error(&error);
    fixture_deinit(&fixture);
}

static void
test_null_can_be_huge(void)
{
    BackstoreConfig config = {
        .type = "null", .name = "huge", .size = (guint64)G_MAXINT64 - 511, .fd = -1
    };
    Fixture fixture;
    GError *error = NULL;
    guint8 buffer[512];

    fixture_init(&fixture);
    fixture.store = backstore_open(&config, fixture.offload, 1, &error);
    g_assert_no_error(error);
    memset(buffer, 0xa5, sizeof(buffer));
    g_assert_cmpint(fixture_run(&fixture, IO_READ, 0, config.size - 512, 512, buffer), ==, 0);
    zeros_check(buffer, sizeof(buffer));
    fixture_deinit(&fixture);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_data_func("/backstore/wrapper/zero-is-written/at-once", NULL, test_zero_is_written);
    g_test_add_data_func("/backstore/wrapper/zero-is-written/later", GINT_TO_POINTER(1),
                         test_zero_is_written);
    g_test_add_func("/backstore/wrapper/zero-stops-at-error", test_zero_stops_at_an_error);
    g_test_add_data_func("/backstore/wrapper/fua-is-flush/at-once", NULL, test_fua_is_a_flush);
    g_test_add_data_func("/backstore/wrapper/fua-is-flush/later", GINT_TO_POINTER(1),
                         test_fua_is_a_flush);
    g_test_add_func("/backstore/wrapper/native-fua", test_native_fua_is_left_alone);
    g_test_add_func("/backstore/wrapper/zero-with-fua", test_zero_with_fua_is_flushed);
    g_test_add_func("/backstore/wrapper/copy/both-stores", test_copy_needs_both_stores);
    g_test_add_func("/backstore/wrapper/copy/flushed", test_copy_is_flushed);
    g_test_add_func("/backstore/wrapper/copy/errors", test_copy_errors);
    g_test_add_func("/backstore/wrapper/write-through", test_write_through_flushes_deallocation);
    g_test_add_func("/backstore/wrapper/unmap-is-a-hint", test_unmap_is_a_hint);
    g_test_add_func("/backstore/wrapper/failed/flush", test_failed_flush_fails_the_store);
    g_test_add_func("/backstore/wrapper/failed/flush-after-fua",
                    test_failed_flush_after_fua_fails_the_store);
    g_test_add_func("/backstore/wrapper/failed/fua-write",
                    test_failed_fua_write_fails_a_writeback_store);
    g_test_add_func("/backstore/wrapper/failed/not-by-transfer",
                    test_failed_transfer_does_not_fail_the_store);
    g_test_add_func("/backstore/wrapper/errors-counted", test_errors_are_counted);
    g_test_add_func("/backstore/wrapper/partial-physical-write",
                    test_partial_physical_writes_are_refused);
    g_test_add_func("/backstore/wrapper/size-is-whole-units", test_size_is_whole_units);
    g_test_add_func("/backstore/wrapper/hints", test_hints_where_the_class_has_none);
    g_test_add_func("/backstore/wrapper/nothing-to-do", test_nothing_to_do_ends_at_once);
    g_test_add_func("/backstore/wrapper/resize", test_cannot_resize_where_the_class_cannot);
    g_test_add_func("/backstore/wrapper/cache-modes", test_cache_modes_have_names);
    g_test_add_func("/backstore/null/huge", test_null_can_be_huge);

    for (gsize i = 0; i < G_N_ELEMENTS(misuses); i++) {
        g_autofree char *path = g_strdup_printf("/backstore/wrapper/asserts/%s", misuses[i].name);

        g_test_add_data_func(path, &misuses[i], test_misuse);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(wrong_configs); i++) {
        g_autofree char *path = g_strdup_printf("/backstore/config/%s", wrong_configs[i].name);

        g_test_add_data_func(path, &wrong_configs[i], test_wrong_config);
    }

    return g_test_run();
}
