/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The store on a real directory
 *
 * The linker sends the system calls of a save through the functions below
 * (--wrap), which can end the process at any of them or make one fail: so a
 * crash is tried at every step of a save, in a child process.
 */

#include "model/store.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/error.h"

#define UUID    "0d4f3a52-6f0e-4c5b-9d3e-5b8f8c1f2a34"
#define NO_STEP G_MAXUINT

/* Which of the wrapped calls ends the process, and which fails; counted in the order of calling */
typedef struct {
    guint n_calls;
    guint crash_at;
    guint fail_at;
} Fault;

static Fault fault = { .crash_at = NO_STEP, .fail_at = NO_STEP };

int __real_open64(const char *path, int flags, ...);
ssize_t __real_write(int fd, const void *data, size_t size);
int __real_fsync(int fd);
int __real_rename(const char *from, const char *to);
int __wrap_open64(const char *path, int flags, ...);
ssize_t __wrap_write(int fd, const void *data, size_t size);
int __wrap_fsync(int fd);
int __wrap_rename(const char *from, const char *to);

/* TRUE: this call shall fail */
static gboolean
step(void)
{
    guint n = fault.n_calls++;

    if (n == fault.crash_at)
        _exit(0);
    errno = EIO;
    return n == fault.fail_at;
}

int
__wrap_open64(const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    return step() ? -1 : __real_open64(path, flags, mode);
}

ssize_t
__wrap_write(int fd, const void *data, size_t size)
{
    struct stat st;

    /* Only files are meant, not how threads wake each other */
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return __real_write(fd, data, size);
    /* A crash in the middle of the data leaves half of it */
    if (fault.n_calls == fault.crash_at)
        (void)__real_write(fd, data, size / 2);
    return step() ? -1 : __real_write(fd, data, size);
}

int
__wrap_fsync(int fd)
{
    return step() ? -1 : __real_fsync(fd);
}

int
__wrap_rename(const char *from, const char *to)
{
    return step() ? -1 : __real_rename(from, to);
}

typedef struct {
    char *state;
    char *config;
    Store *store;
    guint n_done;
    GError *error;      /* of the last save */
    GPtrArray *entries; /* of the last load */
} Fixture;

static void
on_saved(const GError *error, gpointer data)
{
    Fixture *fixture = data;

    fixture->n_done++;
    g_clear_error(&fixture->error);
    fixture->error = error != NULL ? g_error_copy(error) : NULL;
}

static void
on_loaded(GPtrArray *entries, const GError *error, gpointer data)
{
    Fixture *fixture = data;

    fixture->n_done++;
    g_clear_pointer(&fixture->entries, g_ptr_array_unref);
    fixture->entries = g_ptr_array_ref(entries);
    g_clear_error(&fixture->error);
    fixture->error = error != NULL ? g_error_copy(error) : NULL;
}

static void
wait_for(Fixture *fixture, guint n_done)
{
    struct pollfd pollfd = { .fd = store_get_fd(fixture->store), .events = POLLIN };

    while (fixture->n_done < n_done) {
        g_assert_cmpint(poll(&pollfd, 1, 600000), ==, 1);
        store_dispatch(fixture->store);
    }
    fixture->n_done = 0;
}

static void
open_store(Fixture *fixture)
{
    g_autoptr(GError) error = NULL;

    fixture->store = store_new(fixture->state, fixture->config, &error);
    g_assert_no_error(error);
}

static void
set_up(Fixture *fixture, gconstpointer data)
{
    g_autofree char *base = g_dir_make_tmp("lunport-store-XXXXXX", NULL);

    fixture->state = g_build_filename(base, "deep", "state", NULL);
    fixture->config = g_build_filename(base, "config", NULL);
    g_assert_cmpint(g_mkdir(fixture->config, 0700), ==, 0);
    fault = (Fault){ .crash_at = NO_STEP, .fail_at = NO_STEP };
    open_store(fixture);
}

static void
remove_tree(const char *path)
{
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
    const char *name;

    while (directory != NULL && (name = g_dir_read_name(directory)) != NULL) {
        g_autofree char *child = g_build_filename(path, name, NULL);

        if (g_file_test(child, G_FILE_TEST_IS_DIR) && !g_file_test(child, G_FILE_TEST_IS_SYMLINK))
            remove_tree(child);
        else
            (void)g_unlink(child);
    }
    (void)g_rmdir(path);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    g_autofree char *base = g_path_get_dirname(fixture->config);

    store_free(fixture->store);
    remove_tree(base);
    g_clear_pointer(&fixture->entries, g_ptr_array_unref);
    g_clear_error(&fixture->error);
    g_free(fixture->state);
    g_free(fixture->config);
}

static char *
backstore_text(const char *name, guint64 size)
{
    g_autoptr(BackstoreSpec) spec = backstore_spec_new("ram", name);

    g_free(spec->uuid);
    spec->uuid = g_strdup(UUID);
    spec->size = size;
    return keyfile_format_backstore(spec);
}

static void
save(Fixture *fixture, const char *name, guint64 size)
{
    store_save(fixture->store, MODEL_BACKSTORE, name, size != 0 ? backstore_text(name, size) : NULL,
               on_saved, fixture);
    wait_for(fixture, 1);
}

static void
load(Fixture *fixture)
{
    store_load(fixture->store, on_loaded, fixture);
    wait_for(fixture, 1);
    g_assert_no_error(fixture->error);
}

static const StoreEntry *
get_entry(const Fixture *fixture, guint i)
{
    g_assert_cmpuint(i, <, fixture->entries->len);
    return fixture->entries->pdata[i];
}

static void
write_file(const char *directory, const char *leaf, const char *text)
{
    g_autofree char *path = g_build_filename(directory, leaf, NULL);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static char *
state_path(const Fixture *fixture, const char *directory, const char *leaf)
{
    return g_build_filename(fixture->state, directory, leaf, NULL);
}

static void
test_saved_is_loaded(Fixture *fixture, gconstpointer data)
{
    save(fixture, "d", 4096);
    g_assert_no_error(fixture->error);
    load(fixture);
    g_assert_cmpuint(fixture->entries->len, ==, 1);
    g_assert_cmpstr(get_entry(fixture, 0)->name, ==, "d");
    g_assert_no_error(get_entry(fixture, 0)->error);
    g_assert_cmpint(get_entry(fixture, 0)->origin, ==, MODEL_ORIGIN_STATE);
    g_assert_cmpuint(get_entry(fixture, 0)->object.backstore->size, ==, 4096);
}

static void
test_removed_is_gone(Fixture *fixture, gconstpointer data)
{
    save(fixture, "d", 4096);
    save(fixture, "d", 0);
    g_assert_no_error(fixture->error);
    save(fixture, "d", 0);
    g_assert_no_error(fixture->error);
    load(fixture);
    g_assert_cmpuint(fixture->entries->len, ==, 0);
}

static void
test_many_at_once(Fixture *fixture, gconstpointer data)
{
    for (guint i = 0; i < 50; i++) {
        g_autofree char *name = g_strdup_printf("d%02u", i);

        store_save(fixture->store, MODEL_BACKSTORE, name, backstore_text(name, 4096), on_saved,
                   fixture);
    }
    /* A load sees what was asked to be saved before */
    store_load(fixture->store, on_loaded, fixture);
    wait_for(fixture, 51);
    g_assert_cmpuint(fixture->entries->len, ==, 50);
    g_assert_cmpstr(get_entry(fixture, 49)->name, ==, "d49");
}

static void
test_free_completes_what_was_asked(Fixture *fixture, gconstpointer data)
{
    store_save(fixture->store, MODEL_BACKSTORE, "d", backstore_text("d", 4096), on_saved, fixture);
    g_clear_pointer(&fixture->store, store_free);
    g_assert_cmpuint(fixture->n_done, ==, 1);
    g_assert_no_error(fixture->error);
    fixture->n_done = 0;
    open_store(fixture);
    load(fixture);
    g_assert_cmpuint(fixture->entries->len, ==, 1);
}

static void
test_bad_file_is_reported_and_kept(Fixture *fixture, gconstpointer data)
{
    g_autofree char *directory = state_path(fixture, "backstores", NULL);
    g_autofree char *path = state_path(fixture, "backstores", "bad.conf");
    g_autofree char *text = NULL;

    write_file(directory, "bad.conf", "[Backstore\n");
    save(fixture, "good", 4096);
    load(fixture);
    g_assert_cmpuint(fixture->entries->len, ==, 2);
    g_assert_cmpstr(get_entry(fixture, 0)->name, ==, "bad");
    g_assert_error(get_entry(fixture, 0)->error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
    g_assert_cmpint(get_entry(fixture, 0)->object.kind, ==, MODEL_BACKSTORE);
    g_assert_no_error(get_entry(fixture, 1)->error);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "[Backstore\n");
}

static void
test_misplaced_file(Fixture *fixture, gconstpointer data)
{
    g_autofree char *directory = state_path(fixture, "backstores", NULL);
    g_autofree char *targets = state_path(fixture, "targets", NULL);
    g_autofree char *text = backstore_text("d", 4096);

    write_file(directory, "other.conf", text);
    write_file(targets, "d.conf", text);
    load(fixture);
    g_assert_cmpuint(fixture->entries->len, ==, 2);
    g_assert_cmpstr(get_entry(fixture, 0)->name, ==, "other");
    g_assert_nonnull(get_entry(fixture, 0)->error);
    g_assert_cmpstr(get_entry(fixture, 1)->name, ==, "d");
    g_assert_cmpint(get_entry(fixture, 1)->object.kind, ==, MODEL_TARGET);
    g_assert_nonnull(get_entry(fixture, 1)->error);
}

static void
test_strange_files(Fixture *fixture, gconstpointer data)
{
    g_autofree char *directory = state_path(fixture, "backstores", "dir.conf");
    g_autofree char *big = state_path(fixture, "backstores", "huge.conf");
    g_autofree char *dangling = state_path(fixture, "backstores", "link.conf");
    g_autofree char *backstores = state_path(fixture, "backstores", NULL);

    g_assert_cmpint(g_mkdir(directory, 0700), ==, 0);
    write_file(backstores, "huge.conf", "");
    g_assert_cmpint(truncate(big, (off_t)1 << 40), ==, 0);
    g_assert_cmpint(symlink("/nonexistent/file", dangling), ==, 0);
    write_file(backstores, "README", "not a key file");
    load(fixture);
    g_assert_cmpuint(fixture->entries->len, ==, 3);
    for (guint i = 0; i < 3; i++)
        g_assert_nonnull(get_entry(fixture, i)->error);
}

static void
test_config_comes_first(Fixture *fixture, gconstpointer data)
{
    g_autofree char *text = backstore_text("a", 4096);

    save(fixture, "d", 4096);
    write_file(fixture->config, "whatever.conf", text);
    load(fixture);
    g_assert_cmpuint(fixture->entries->len, ==, 2);
    g_assert_cmpint(get_entry(fixture, 0)->origin, ==, MODEL_ORIGIN_CONFIG);
    g_assert_cmpstr(get_entry(fixture, 0)->name, ==, "a");
    g_assert_no_error(get_entry(fixture, 0)->error);
}

static void
test_second_process_is_refused(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(store_new(fixture->state, NULL, &error));
    g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_IN_USE);
}

static void
test_without_state(Fixture *fixture, gconstpointer data)
{
    store_free(fixture->store);
    fixture->store = store_new(NULL, NULL, NULL);
    save(fixture, "d", 4096);
    g_assert_no_error(fixture->error);
    load(fixture);
    g_assert_cmpuint(fixture->entries->len, ==, 0);
}

static void
test_files_are_private(Fixture *fixture, gconstpointer data)
{
    g_autofree char *path = state_path(fixture, "backstores", "d.conf");
    struct stat st;

    save(fixture, "d", 4096);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpuint(st.st_mode & 0777, ==, 0600);
}

/* A failed call is told, and what was there before is still there; only a directory that cannot be
 * synced may leave the new file */
static void
test_failing_calls(Fixture *fixture, gconstpointer data)
{
    guint n_failed = 0;

    save(fixture, "d", 4096);
    for (guint i = 0;; i++) {
        guint64 size;

        fault = (Fault){ .crash_at = NO_STEP, .fail_at = i };
        save(fixture, "d", 8192);
        if (fault.n_calls <= i || fixture->error == NULL)
            break;
        n_failed++;
        g_assert_error(fixture->error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR);
        fault.fail_at = NO_STEP;
        load(fixture);
        g_assert_cmpuint(fixture->entries->len, ==, 1);
        size = get_entry(fixture, 0)->object.backstore->size;
        g_assert_true(size == 4096 || (size == 8192 && i >= 4));
    }
    /* open, write, fsync, rename; open, fsync of the directory */
    g_assert_cmpuint(n_failed, ==, 6);
}

static void
crash_in_child(Fixture *fixture, guint at)
{
    pid_t child;
    int status;

    g_clear_pointer(&fixture->store, store_free);
    child = fork();
    g_assert_cmpint(child, >=, 0);
    if (child == 0) {
        open_store(fixture);
        fault = (Fault){ .crash_at = at, .fail_at = NO_STEP };
        store_save(fixture->store, MODEL_BACKSTORE, "d", backstore_text("d", 8192), on_saved,
                   fixture);
        g_clear_pointer(&fixture->store, store_free);
        _exit(fault.n_calls <= at ? 1 : 2);
    }

    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_true(WIFEXITED(status));
    fixture->n_done = (guint)WEXITSTATUS(status);
    open_store(fixture);
}

static void
test_crash_at_every_call(Fixture *fixture, gconstpointer data)
{
    gboolean crashed = TRUE;
    guint n_old = 0;

    for (guint i = 0; crashed; i++) {
        guint64 size;

        fault = (Fault){ .crash_at = NO_STEP, .fail_at = NO_STEP };
        save(fixture, "d", 4096);
        crash_in_child(fixture, i);
        crashed = fixture->n_done == 0;
        fixture->n_done = 0;
        load(fixture);
        g_assert_cmpuint(fixture->entries->len, ==, 1);
        g_assert_no_error(get_entry(fixture, 0)->error);
        size = get_entry(fixture, 0)->object.backstore->size;
        g_assert_true(size == 4096 || size == 8192);
        n_old += size == 4096 ? 1 : 0;
    }
    /* Until the rename it is the old one, from then on the new one */
    g_assert_cmpuint(n_old, ==, 4);
}

static void
test_leftovers_are_removed(Fixture *fixture, gconstpointer data)
{
    g_autofree char *path = state_path(fixture, "backstores", ".d.conf.tmp");
    g_autofree char *directory = state_path(fixture, "backstores", NULL);

    write_file(directory, ".d.conf.tmp", "[Back");
    load(fixture);
    g_assert_cmpuint(fixture->entries->len, ==, 0);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
}

/* What could not be read again is not written, and what is there stays */
static void
test_too_large_is_not_written(Fixture *fixture, gconstpointer data)
{
    char *large = g_malloc0((1 << 20) + 2);

    memset(large, 'a', (1 << 20) + 1);
    store_save_record(fixture->store, STORE_SECRETS, "n", g_strdup("before"), on_saved, fixture);
    store_save_record(fixture->store, STORE_SECRETS, "n", large, on_saved, fixture);
    wait_for(fixture, 2);
    g_assert_error(fixture->error, LUNPORT_ERROR, LUNPORT_ERROR_LIMIT_EXCEEDED);

    store_load_records(fixture->store, STORE_SECRETS, on_loaded, fixture);
    wait_for(fixture, 1);
    g_assert_cmpuint(fixture->entries->len, ==, 1);
    g_assert_cmpstr(((const StoreEntry *)fixture->entries->pdata[0])->text, ==, "before");
}

static void
add(const char *path, void (*test)(Fixture *fixture, gconstpointer data))
{
    g_test_add(path, Fixture, NULL, set_up, test, tear_down);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/model/store/saved-is-loaded", test_saved_is_loaded);
    add("/model/store/removed-is-gone", test_removed_is_gone);
    add("/model/store/many-at-once", test_many_at_once);
    add("/model/store/free-completes", test_free_completes_what_was_asked);
    add("/model/store/bad-file-is-reported-and-kept", test_bad_file_is_reported_and_kept);
    add("/model/store/misplaced-file", test_misplaced_file);
    add("/model/store/strange-files", test_strange_files);
    add("/model/store/config-comes-first", test_config_comes_first);
    add("/model/store/second-process-is-refused", test_second_process_is_refused);
    add("/model/store/without-state", test_without_state);
    add("/model/store/files-are-private", test_files_are_private);
    add("/model/store/failing-calls", test_failing_calls);
    add("/model/store/crash-at-every-call", test_crash_at_every_call);
    add("/model/store/leftovers-are-removed", test_leftovers_are_removed);
    add("/model/store/too-large-is-not-written", test_too_large_is_not_written);
    return g_test_run();
}
