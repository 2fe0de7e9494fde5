/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What only files do: being made, found, locked and refused, and sleeping.
 * What needs root or a certain file system says so and is skipped.
 */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backstore/disk.h"
#include "fixture.h"
#include "util/error.h"
#include "util/fd.h"

#define SIZE (4 * MIB)

static BackstoreConfig
config_of(const char *path)
{
    return (BackstoreConfig){ .type = "file", .name = "disk", .path = path, .fd = -1 };
}

static char *
make_file(const Fixture *fixture, guint64 size)
{
    char *path = fixture_path(fixture, "disk");
    autofd int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, (off_t)size), ==, 0);
    return path;
}

static void
fixture_open(Fixture *fixture, const BackstoreConfig *config)
{
    GError *error = NULL;

    fixture->store = backstore_open(config, fixture->offload, 1, &error);
    g_assert_no_error(error);
    g_assert_nonnull(fixture->store);
}

/* The message; the caller frees */
static char *
check_refused(const Fixture *fixture, const BackstoreConfig *config, LunportError code)
{
    GError *error = NULL;
    char *message;

    g_assert_null(backstore_open(config, fixture->offload, 1, &error));
    g_assert_error(error, LUNPORT_ERROR, (gint)code);
    message = g_strdup(error->message);
    g_error_free(error);
    return message;
}

static void
test_creates_a_sparse_file(void)
{
    Fixture fixture;
    struct stat st;

    fixture_init(&fixture);
    {
        g_autofree char *path = fixture_path(&fixture, "disk");
        BackstoreConfig config = config_of(path);

        config.size = 1024 * (guint64)MIB;
        config.create = TRUE;
        fixture_open(&fixture, &config);
        g_assert_cmpint(stat(path, &st), ==, 0);
    }
    g_assert_cmpuint((guint64)st.st_size, ==, 1024 * (guint64)MIB);
    g_assert_cmpuint(st.st_mode & 07777, ==, 0600);
    g_assert_cmpuint(backstore_allocated_size(fixture.store), <, MIB);
    store_fill(&fixture, 0, MIB, 1);
    g_assert_cmpint(fixture_run(&fixture, IO_FLUSH, 0, 0, 0, NULL), ==, 0);
    g_assert_cmpuint(backstore_allocated_size(fixture.store), >=, MIB);
    fixture_deinit(&fixture);
}

static void
test_preallocates(void)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    BackstoreConfig config;

    fixture_init(&fixture);
    path = fixture_path(&fixture, "disk");
    config = config_of(path);
    config.size = SIZE;
    config.create = TRUE;
    config.preallocate = TRUE;
    fixture_open(&fixture, &config);
    g_assert_cmpuint(backstore_allocated_size(fixture.store), >=, SIZE);
    store_check_zeros(&fixture, 0, SIZE);
    fixture_deinit(&fixture);
}

/* The limit of the size of files ends this process in the middle */
static void
make_large_file(const char *path)
{
    const struct rlimit limit = { .rlim_cur = MIB, .rlim_max = MIB };
    BackstoreConfig config = config_of(path);
    Fixture fixture;

    fixture_init(&fixture);
    config.size = SIZE;
    config.create = TRUE;
    config.preallocate = TRUE;
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    g_assert_cmpint(rmdir(fixture.directory), ==, 0); /* which nobody will do */
    fixture_open(&fixture, &config);
}

/* What was not made completely cannot be taken for a disk, and is not in the way of the next attempt */
static void
test_crash_leaves_no_file(void)
{
    const char *path = g_getenv("LUNPORT_TEST_DISK");
    g_autofree char *child_path = NULL;
    Fixture fixture;

    if (g_test_subprocess()) {
        make_large_file(path);
        return;
    }

    fixture_init(&fixture);
    child_path = fixture_path(&fixture, "disk");
    (void)g_setenv("LUNPORT_TEST_DISK", child_path, TRUE);
    g_test_trap_subprocess(NULL, 0, 0);
    g_assert_false(g_test_trap_has_passed());
    g_assert_false(g_file_test(child_path, G_FILE_TEST_EXISTS));
    fixture_deinit(&fixture);
}

static void
test_unmap_frees(void)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    BackstoreConfig config;

    fixture_init(&fixture);
    path = make_file(&fixture, SIZE);
    config = config_of(path);
    fixture_open(&fixture, &config);
    if (backstore_info(fixture.store)->can_unmap) {
        store_fill(&fixture, 0, SIZE, 1);
        g_assert_cmpint(fixture_run(&fixture, IO_FLUSH, 0, 0, 0, NULL), ==, 0);
        g_assert_cmpuint(backstore_allocated_size(fixture.store), >=, SIZE);
        g_assert_cmpint(fixture_run(&fixture, IO_UNMAP, 0, 0, SIZE, NULL), ==, 0);
        g_assert_cmpuint(backstore_allocated_size(fixture.store), <, MIB);
    } else {
        g_test_skip("the file system of the build directory cannot punch holes");
    }
    fixture_deinit(&fixture);
}

/* ext4 ends at 16 TiB less a block: behind such a file nothing can be punched to try it */
static void
test_largest_file_unmaps(void)
{
    guint64 sizes[] = { SIZE, ((guint64)16 << 40) - 4096 };
    gboolean can_unmap[G_N_ELEMENTS(sizes)];

    for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
        Fixture fixture;
        g_autofree char *path = NULL;
        BackstoreConfig config;

        fixture_init(&fixture);
        path = make_file(&fixture, SIZE);
        if (truncate(path, (off_t)sizes[i]) < 0) {
            g_test_skip("the file system of the build directory has no files of 16 TiB");
            fixture_deinit(&fixture);
            return;
        }
        config = config_of(path);
        fixture_open(&fixture, &config);
        can_unmap[i] = backstore_info(fixture.store)->can_unmap;
        fixture_deinit(&fixture);
    }
    g_assert_cmpint(can_unmap[1], ==, can_unmap[0]);
}

static void
test_never_creates_over_a_file(void)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    g_autofree char *message = NULL;
    BackstoreConfig config;

    fixture_init(&fixture);
    path = make_file(&fixture, SIZE);
    config = config_of(path);
    config.size = SIZE;
    config.create = TRUE;
    message = check_refused(&fixture, &config, LUNPORT_ERROR_ALREADY_EXISTS);
    g_assert_cmpint(access(path, F_OK), ==, 0);
    fixture_deinit(&fixture);
}

static void
test_failed_creation_leaves_nothing(void)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    g_autofree char *message = NULL;
    BackstoreConfig config;

    fixture_init(&fixture);
    path = fixture_path(&fixture, "disk");
    config = config_of(path);
    config.size = (guint64)1 << 62; /* more than any file system of ours takes */
    config.create = TRUE;
    message = check_refused(&fixture, &config, LUNPORT_ERROR_STORAGE_ERROR);
    g_assert_cmpint(access(path, F_OK), ==, -1);
    fixture_deinit(&fixture);
}

static void
test_missing_file_is_not_found(void)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    g_autofree char *message = NULL;
    BackstoreConfig config;

    fixture_init(&fixture);
    path = fixture_path(&fixture, "nothing");
    config = config_of(path);
    message = check_refused(&fixture, &config, LUNPORT_ERROR_STORAGE_NOT_FOUND);
    g_assert_nonnull(strstr(message, path));
    fixture_deinit(&fixture);
}

static void
test_directory_is_refused(void)
{
    Fixture fixture;
    g_autofree char *message = NULL;
    BackstoreConfig config;

    fixture_init(&fixture);
    config = config_of(fixture.directory);
    message = check_refused(&fixture, &config, LUNPORT_ERROR_INVALID_ARGUMENT);
    fixture_deinit(&fixture);
}

static void
test_pipe_is_refused(void)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    g_autofree char *message = NULL;
    BackstoreConfig config;

    fixture_init(&fixture);
    path = fixture_path(&fixture, "pipe");
    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
    config = config_of(path);
    message = check_refused(&fixture, &config, LUNPORT_ERROR_INVALID_ARGUMENT);
    fixture_deinit(&fixture);
}

static void
test_permission_error_has_a_cure(void)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    g_autofree char *message = NULL;
    BackstoreConfig config;
    gboolean is_root = geteuid() == 0;

    fixture_init(&fixture);
    path = make_file(&fixture, SIZE);
    config = config_of(path);
    g_assert_cmpint(chmod(path, is_root ? 0600 : 0000), ==, 0);
    g_assert_cmpint(chmod(fixture.directory, 0755), ==, 0);
    if (is_root)
        g_assert_cmpint(seteuid(65534), ==, 0);
    message = check_refused(&fixture, &config, LUNPORT_ERROR_STORAGE_PERMISSION);
    if (is_root)
        g_assert_cmpint(seteuid(0), ==, 0);

    g_assert_nonnull(strstr(message, path));
    g_assert_nonnull(strstr(message, "setfacl -m u:"));
    fixture_deinit(&fixture);
}

static void
test_size_is_rounded_down(void)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    BackstoreConfig config;

    fixture_init(&fixture);
    path = make_file(&fixture, SIZE + 1000);
    config = config_of(path);
    fixture_open(&fixture, &config);
    g_assert_cmpuint(backstore_info(fixture.store)->size, ==, SIZE + 512);
    store_fill(&fixture, SIZE, 512, 1);
    store_check(&fixture, SIZE, 512, 1);
    fixture_deinit(&fixture);
}

static void
test_file_smaller_than_its_size_is_refused(void)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    g_autofree char *message = NULL;
    BackstoreConfig config;

    fixture_init(&fixture);
    path = make_file(&fixture, SIZE);
    config = config_of(path);
    config.size = SIZE + 512;
    message = check_refused(&fixture, &config, LUNPORT_ERROR_STORAGE_ERROR);
    fixture_deinit(&fixture);
}

static void
test_size_0_learns_what_the_file_has(void)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    GError *error = NULL;
    BackstoreConfig config;

    fixture_init(&fixture);
    path = make_file(&fixture, SIZE);
    config = config_of(path);
    fixture_open(&fixture, &config);
    g_assert_cmpint(truncate(path, 2 * SIZE), ==, 0);
    g_assert_true(backstore_resize(fixture.store, 0, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(backstore_info(fixture.store)->size, ==, 2 * SIZE);
    fixture_deinit(&fixture);
}

static guint64
file_length(const char *path)
{
    struct stat st;

    g_assert_cmpint(stat(path, &st), ==, 0);
    return (guint64)st.st_size;
}

static void
test_learning_cuts_nothing(void)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    GError *error = NULL;
    BackstoreConfig config;

    fixture_init(&fixture);
    path = make_file(&fixture, SIZE);
    config = config_of(path);
    fixture_open(&fixture, &config);
    g_assert_cmpint(truncate(path, 2 * SIZE + 100), ==, 0);
    g_assert_true(backstore_resize(fixture.store, 0, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(file_length(path), ==, 2 * SIZE + 100);
    fixture_deinit(&fixture);
}

/* A store that is the beginning of a file grows and shrinks inside of it */
static void
test_longer_file_is_not_cut(void)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    GError *error = NULL;
    BackstoreConfig config;

    fixture_init(&fixture);
    path = make_file(&fixture, 3 * SIZE);
    config = config_of(path);
    config.size = SIZE;
    fixture_open(&fixture, &config);
    g_assert_true(backstore_resize(fixture.store, 2 * SIZE, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(backstore_info(fixture.store)->size, ==, 2 * SIZE);
    g_assert_cmpuint(file_length(path), ==, 3 * SIZE);
    g_assert_true(backstore_resize(fixture.store, SIZE, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(file_length(path), ==, 3 * SIZE);

    g_assert_true(backstore_resize(fixture.store, 4 * SIZE, &error));
    g_assert_cmpuint(file_length(path), ==, 4 * SIZE);
    g_assert_true(backstore_resize(fixture.store, SIZE, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(file_length(path), ==, SIZE);
    fixture_deinit(&fixture);
}

static void
test_second_writer_is_refused(void)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    g_autofree char *message = NULL;
    g_autofree char *message_read_only = NULL;
    BackstoreConfig config;

    fixture_init(&fixture);
    path = make_file(&fixture, SIZE);
    config = config_of(path);
    fixture_open(&fixture, &config);
    message = check_refused(&fixture, &config, LUNPORT_ERROR_STORAGE_IN_USE);
    config.read_only = TRUE;
    message_read_only = check_refused(&fixture, &config, LUNPORT_ERROR_STORAGE_IN_USE);

    backstore_close(fixture.store);
    config.read_only = FALSE;
    fixture_open(&fixture, &config);
    fixture_deinit(&fixture);
}

static void
test_readers_share(void)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    GError *error = NULL;
    Backstore *other;
    BackstoreConfig config;

    fixture_init(&fixture);
    path = make_file(&fixture, SIZE);
    config = config_of(path);
    config.read_only = TRUE;
    fixture_open(&fixture, &config);
    other = backstore_open(&config, fixture.offload, 1, &error);
    g_assert_no_error(error);
    backstore_close(other);
    fixture_deinit(&fixture);
}

static void
test_read_only_reads(void)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    BackstoreConfig config;

    fixture_init(&fixture);
    path = make_file(&fixture, SIZE);
    g_assert_cmpint(chmod(path, 0400), ==, 0);
    config = config_of(path);
    config.read_only = TRUE;
    fixture_open(&fixture, &config);
    g_assert_true(backstore_info(fixture.store)->read_only);
    g_assert_false(backstore_info(fixture.store)->write_cache);
    g_assert_false(backstore_info(fixture.store)->can_unmap);
    store_check_zeros(&fixture, 0, SIZE);
    g_assert_cmpint(fixture_run(&fixture, IO_FLUSH, 0, 0, 0, NULL), ==, 0);
    fixture_deinit(&fixture);
}

static void
test_takes_a_descriptor(void)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    BackstoreConfig config;

    fixture_init(&fixture);
    path = make_file(&fixture, SIZE);
    config = config_of(NULL);
    config.fd = open(path, O_RDWR | O_CLOEXEC);
    g_assert_cmpint(unlink(path), ==, 0);
    fixture_open(&fixture, &config);
    g_assert_cmpint(fcntl(config.fd, F_GETFD), ==, -1); /* taken */
    g_assert_cmpuint(backstore_info(fixture.store)->size, ==, SIZE);
    store_fill(&fixture, 0, MIB, 1);
    g_assert_cmpint(fixture_run(&fixture, IO_FLUSH, 0, 0, 0, NULL), ==, 0);
    store_check(&fixture, 0, MIB, 1);
    fixture_deinit(&fixture);
}

static void
test_refused_descriptor_stays_open(void)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    g_autofree char *message = NULL;
    BackstoreConfig config;
    autofd int fd = -1;

    fixture_init(&fixture);
    path = make_file(&fixture, SIZE);
    config = config_of(NULL);
    config.fd = fd = open(path, O_RDONLY | O_CLOEXEC);
    message = check_refused(&fixture, &config, LUNPORT_ERROR_STORAGE_PERMISSION);
    g_assert_cmpint(fcntl(fd, F_GETFD), !=, -1);
    fixture_deinit(&fixture);
}

static void
test_truncated_file_is_an_error(gconstpointer data)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    void *buffer = buffer_new(8192);
    BackstoreConfig config;

    fixture_init(&fixture);
    path = make_file(&fixture, SIZE);
    config = config_of(path);
    config.cache = (CacheMode)GPOINTER_TO_INT(data);
    fixture_open(&fixture, &config);
    g_assert_cmpint(truncate(path, 4096), ==, 0);
    g_assert_cmpint(fixture_run(&fixture, IO_READ, 0, 0, 8192, buffer), ==, -EIO);
    g_assert_cmpint(fixture_run(&fixture, IO_READ, 0, MIB, 4096, buffer), ==, -EIO);
    g_assert_cmpint(fixture_run(&fixture, IO_READ, 0, 0, 4096, buffer), ==, 0);
    g_assert_false(backstore_is_failed(fixture.store));
    free(buffer);
    fixture_deinit(&fixture);
}

/* What is in the page cache is read at once; what is not takes the way over the pool */
static void
test_writeback_reads_cached_data_at_once(void)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    void *buffer = buffer_new(4096);
    BackstoreConfig config;
    Request request;

    fixture_init(&fixture);
    path = make_file(&fixture, SIZE);
    config = config_of(path);
    config.cache = CACHE_WRITEBACK;
    fixture_open(&fixture, &config);
    store_fill(&fixture, 0, SIZE, 1);

    fixture_submit(&fixture, &request, IO_READ, 0, MIB, 4096, buffer);
    if (fixture.store->lanes[0].is_nowait_read_refused)
        g_test_skip("the file system of the build directory has no RWF_NOWAIT");
    else
        g_assert_true(request.is_done);
    fixture_wait(&fixture, &request);
    pattern_check(buffer, 4096, MIB, 1);
    free(buffer);
    fixture_deinit(&fixture);
}

static void
test_writeback_reads_uncached_data_elsewhere(void)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    autofd int fd = -1;
    void *buffer = buffer_new(MIB);
    BackstoreConfig config;
    Request request;

    fixture_init(&fixture);
    path = make_file(&fixture, SIZE);
    config = config_of(path);
    config.cache = CACHE_WRITEBACK;
    fixture_open(&fixture, &config);
    store_fill(&fixture, 0, SIZE, 1);
    g_assert_cmpint(fixture_run(&fixture, IO_FLUSH, 0, 0, 0, NULL), ==, 0);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), ==, 0);

    /* The first page is in the cache again, what follows the readahead is not: a short result */
    g_assert_cmpint(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM), ==, 0);
    g_assert_cmpint(pread(fd, buffer, 4096, 0), ==, 4096);
    memset(buffer, 0, 4096);
    fixture_submit(&fixture, &request, IO_READ, 0, 0, MIB, buffer);
    if (request.is_done)
        g_test_skip("the file system of the build directory keeps its cache, or reads at once");
    fixture_wait(&fixture, &request);
    g_assert_cmpint(request.io.result, ==, 0);
    pattern_check(buffer, MIB, 0, 1);
    free(buffer);
    fixture_deinit(&fixture);
}

/* Writing into holes and unwritten blocks cannot be done without waiting */
static void
test_direct_writes_fill_holes(void)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    BackstoreConfig config;

    fixture_init(&fixture);
    path = make_file(&fixture, SIZE);
    config = config_of(path);
    fixture_open(&fixture, &config);
    for (guint64 offset = 0; offset < SIZE; offset += 64 << 10)
        store_fill(&fixture, offset, 4096, 1);
    for (guint64 offset = 0; offset < SIZE; offset += 64 << 10) {
        store_check(&fixture, offset, 4096, 1);
        store_check_zeros(&fixture, offset + 4096, 60 << 10);
    }
    fixture_deinit(&fixture);
}

/* Logical blocks below what the medium can do: reads are served, writes are the caller's affair */
static void
test_reads_below_the_alignment(void)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    void *buffer = buffer_new(MIB);
    BackstoreConfig config;

    fixture_init(&fixture);
    path = make_file(&fixture, SIZE);
    config = config_of(path);
    fixture_open(&fixture, &config);
    fixture.store->info.offset_align = 4096;
    store_fill(&fixture, 0, SIZE, 1);
    g_assert_cmpint(fixture_run(&fixture, IO_READ, 0, 512, 512, buffer), ==, 0);
    pattern_check(buffer, 512, 512, 1);
    g_assert_cmpint(fixture_run(&fixture, IO_READ, 0, 3584, MIB - 512, buffer), ==, 0);
    pattern_check(buffer, MIB - 512, 3584, 1);
    g_assert_cmpint(fixture_run(&fixture, IO_READ, 0, SIZE - 512, 512, buffer), ==, 0);
    pattern_check(buffer, 512, SIZE - 512, 1);
    g_assert_cmpint(fixture_run(&fixture, IO_WRITE, 0, 512, 512, buffer), ==, -EINVAL);
    free(buffer);
    fixture_deinit(&fixture);
}

/* Reopened, the data is there */
static void
test_data_survives_closing(gconstpointer data)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    BackstoreConfig config;

    fixture_init(&fixture);
    path = make_file(&fixture, SIZE);
    config = config_of(path);
    config.cache = (CacheMode)GPOINTER_TO_INT(data);
    fixture_open(&fixture, &config);
    store_fill(&fixture, 0, SIZE, 1);
    backstore_close(fixture.store);
    fixture_open(&fixture, &config);
    store_check(&fixture, 0, SIZE, 1);
    fixture_deinit(&fixture);
}

/* The open file for flushes is replaced by one that cannot be flushed */
static void
break_flushes(Fixture *fixture)
{
    Disk *disk = (Disk *)(void *)fixture->store;
    int pipe_fds[2];

    g_assert_cmpint(pipe2(pipe_fds, O_CLOEXEC), ==, 0);
    g_assert_cmpint(dup3(pipe_fds[0], disk->sync_fd, O_CLOEXEC), ==, disk->sync_fd);
    fd_close(&pipe_fds[0]);
    fd_close(&pipe_fds[1]);
}

/* The second of two flushes must not succeed because the first one took the error */
static void
test_failed_flush_lasts_until_opened_anew(gconstpointer data)
{
    Fixture fixture;
    g_autofree char *path = NULL;
    void *buffer = buffer_new(4096);
    BackstoreConfig config;
    Request requests[2];

    fixture_init(&fixture);
    path = make_file(&fixture, SIZE);
    config = config_of(path);
    config.cache = (CacheMode)GPOINTER_TO_INT(data);
    fixture_open(&fixture, &config);
    store_fill(&fixture, 0, MIB, 1);
    break_flushes(&fixture);

    for (guint i = 0; i < G_N_ELEMENTS(requests); i++)
        fixture_submit(&fixture, &requests[i], IO_FLUSH, 0, 0, 0, NULL);
    fixture_wait(&fixture, &requests[0]);
    fixture_wait(&fixture, &requests[1]);
    g_assert_cmpint(requests[0].io.result, ==, -EINVAL);
    g_assert_cmpint(requests[1].io.result, ==, -EIO);
    g_assert_true(backstore_is_failed(fixture.store));
    g_assert_cmpint(fixture_run(&fixture, IO_WRITE, 0, 0, 4096, buffer), ==, -EIO);
    g_assert_cmpint(fixture_run(&fixture, IO_READ, 0, 0, 4096, buffer), ==, 0);

    backstore_close(fixture.store);
    fixture_open(&fixture, &config);
    g_assert_false(backstore_is_failed(fixture.store));
    g_assert_cmpint(fixture_run(&fixture, IO_WRITE, 0, 0, 4096, buffer), ==, 0);
    g_assert_cmpint(fixture_run(&fixture, IO_FLUSH, 0, 0, 0, NULL), ==, 0);
    free(buffer);
    fixture_deinit(&fixture);
}

#define FULL_SKIPPED 77

/* In a process of its own, since the mount needs a namespace of its own */
static int
fill_a_small_tmpfs(const Fixture *outer, CacheMode cache)
{
    g_autofree char *path = fixture_path(outer, "disk");
    BackstoreConfig config = config_of(path);
    Fixture fixture;
    void *buffer;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", outer->directory, "tmpfs", 0, "size=1m") < 0)
        return FULL_SKIPPED;

    fixture_init(&fixture);
    config.size = 4 * MIB;
    config.create = TRUE;
    config.cache = cache;
    fixture_open(&fixture, &config);
    buffer = buffer_new(MIB);
    g_assert_cmpint(fixture_run(&fixture, IO_WRITE, 0, 0, 4096, buffer), ==, 0);
    g_assert_cmpint(fixture_run(&fixture, IO_WRITE, 0, MIB, MIB, buffer), ==, -ENOSPC);
    g_assert_cmpint(fixture_run(&fixture, IO_ZERO, 0, 2 * MIB, MIB, NULL), ==, -ENOSPC);
    g_assert_false(backstore_is_failed(fixture.store));

    /* Room again, and all goes on */
    g_assert_cmpint(fixture_run(&fixture, IO_UNMAP, 0, MIB, 2 * MIB, NULL), ==, 0);
    g_assert_cmpint(fixture_run(&fixture, IO_WRITE, 0, MIB, 4096, buffer), ==, 0);
    free(buffer);
    fixture_deinit(&fixture);
    return 0;
}

static void
test_full_file_system(gconstpointer data)
{
    Fixture fixture;
    int status;
    pid_t pid;

    fixture_init(&fixture);
    pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid == 0)
        _exit(fill_a_small_tmpfs(&fixture, (CacheMode)GPOINTER_TO_INT(data)));

    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == FULL_SKIPPED)
        g_test_skip("mounting a tmpfs needs root");
    else
        g_assert_cmpint(WEXITSTATUS(status), ==, 0);
    fixture_deinit(&fixture);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/backstore/file/create/sparse", test_creates_a_sparse_file);
    g_test_add_func("/backstore/file/create/preallocate", test_preallocates);
    g_test_add_func("/backstore/file/create/crash-leaves-nothing", test_crash_leaves_no_file);
    g_test_add_func("/backstore/file/create/exists", test_never_creates_over_a_file);
    g_test_add_func("/backstore/file/create/failed", test_failed_creation_leaves_nothing);
    g_test_add_func("/backstore/file/unmap-frees", test_unmap_frees);
    g_test_add_func("/backstore/file/unmap/largest", test_largest_file_unmaps);
    g_test_add_func("/backstore/file/open/missing", test_missing_file_is_not_found);
    g_test_add_func("/backstore/file/open/directory", test_directory_is_refused);
    g_test_add_func("/backstore/file/open/pipe", test_pipe_is_refused);
    g_test_add_func("/backstore/file/open/permission", test_permission_error_has_a_cure);
    g_test_add_func("/backstore/file/open/read-only", test_read_only_reads);
    g_test_add_func("/backstore/file/size/rounded", test_size_is_rounded_down);
    g_test_add_func("/backstore/file/size/too-small", test_file_smaller_than_its_size_is_refused);
    g_test_add_func("/backstore/file/size/learned", test_size_0_learns_what_the_file_has);
    g_test_add_func("/backstore/file/size/learning-cuts-nothing", test_learning_cuts_nothing);
    g_test_add_func("/backstore/file/size/longer-file-is-not-cut", test_longer_file_is_not_cut);
    g_test_add_func("/backstore/file/lock/writer", test_second_writer_is_refused);
    g_test_add_func("/backstore/file/lock/readers", test_readers_share);
    g_test_add_func("/backstore/file/descriptor/taken", test_takes_a_descriptor);
    g_test_add_func("/backstore/file/descriptor/refused", test_refused_descriptor_stays_open);
    g_test_add_data_func("/backstore/file/truncated/none", GINT_TO_POINTER(CACHE_DEFAULT),
                         test_truncated_file_is_an_error);
    g_test_add_data_func("/backstore/file/truncated/writeback", GINT_TO_POINTER(CACHE_WRITEBACK),
                         test_truncated_file_is_an_error);
    g_test_add_func("/backstore/file/writeback/cached", test_writeback_reads_cached_data_at_once);
    g_test_add_func("/backstore/file/writeback/uncached",
                    test_writeback_reads_uncached_data_elsewhere);
    g_test_add_func("/backstore/file/direct/holes", test_direct_writes_fill_holes);
    g_test_add_func("/backstore/file/direct/unaligned", test_reads_below_the_alignment);
    g_test_add_data_func("/backstore/file/reopen/none", GINT_TO_POINTER(CACHE_DEFAULT),
                         test_data_survives_closing);
    g_test_add_data_func("/backstore/file/reopen/writeback", GINT_TO_POINTER(CACHE_WRITEBACK),
                         test_data_survives_closing);
    g_test_add_data_func("/backstore/file/failed-flush/none", GINT_TO_POINTER(CACHE_DEFAULT),
                         test_failed_flush_lasts_until_opened_anew);
    g_test_add_data_func("/backstore/file/failed-flush/writeback", GINT_TO_POINTER(CACHE_WRITEBACK),
                         test_failed_flush_lasts_until_opened_anew);
    g_test_add_data_func("/backstore/file/full/writeback", GINT_TO_POINTER(CACHE_WRITEBACK),
                         test_full_file_system);
    g_test_add_data_func("/backstore/file/full/writethrough", GINT_TO_POINTER(CACHE_WRITETHROUGH),
                         test_full_file_system);

    return g_test_run();
}
