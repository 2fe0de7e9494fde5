/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Store: key files on disk
 *
 * One thread, asleep while there is nothing to do, takes all requests that
 * wait as one batch: it writes and syncs a temporary file for each, renames
 * them into place, and syncs each directory once. So ten changes that come
 * together cost one directory sync, and the control thread never waits for a
 * disk.
 *
 * Order makes it crash-safe: the temporary file is on stable storage before
 * rename(2) gives it its name, and the answer is given after the directory
 * is. What a crash leaves behind begins with a dot and ends in ".tmp"; the next
 * load removes it, holding the lock that shows that it is nobody else's.
 *
 * The queue is guarded by a POSIX mutex, which thread sanitizers understand.
 */

#include "model/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/error.h"
#include "util/fd.h"

#define FILE_SIZE_MAX (1 << 20)
#define SUFFIX        ".conf"

typedef struct StoreJob StoreJob;

struct StoreJob {
    StoreJob *next;
    StoreSavedFn saved;   /* of a save */
    StoreLoadedFn loaded; /* of a load */
    gpointer user_data;

    guint kind; /* ModelKind, KIND_RECORD or above; of loads: the latter or anything else */
    char *name;
    char *text;

    GPtrArray *entries;
    GError *error;
};

typedef struct {
    StoreJob *first;
    StoreJob *last;
} StoreQueue;

struct Store {
    char *state_dir;
    char *config_dir;
    int lock_fd;
    int event_fd;

    pthread_mutex_t mutex;
    pthread_cond_t cond;
    StoreQueue todo; /* these three under the mutex */
    StoreQueue done;
    gboolean quit;

    pthread_t thread;
};

/* Besides the kinds of objects: files whose content is none of our business */
#define KIND_RECORD MODEL_KIND_N
#define KIND_N      (KIND_RECORD + STORE_N_RECORDS)

/* clang-format off */
static const char *const directories[KIND_N] = {
    [MODEL_BACKSTORE]                  = "backstores",
    [MODEL_TARGET]                     = "targets",
    [MODEL_PORTAL_GROUP]               = "portal-groups",
    [MODEL_INITIATOR_GROUP]            = "initiator-groups",
    [MODEL_SETTINGS]                   = "service",
    [KIND_RECORD + STORE_RESERVATIONS] = "reservations",
    [KIND_RECORD + STORE_SECRETS]      = "secrets",
    [KIND_RECORD + STORE_ERASURES]     = "erasures",
    [KIND_RECORD + STORE_MODES]        = "modes",
    [KIND_RECORD + STORE_IDENTIFYING]  = "identifying",
};
/* clang-format on */

static void
queue_append(StoreQueue *queue, StoreJob *job)
{
    job->next = NULL;
    if (queue->last != NULL)
        queue->last->next = job;
    else
        queue->first = job;
    queue->last = job;
}

static void
queue_splice(StoreQueue *to, StoreQueue *from)
{
    if (from->first == NULL)
        return;

    if (to->last != NULL)
        to->last->next = from->first;
    else
        to->first = from->first;
    to->last = from->last;
    *from = (StoreQueue){ NULL, NULL };
}

/* It may hold secrets */
static void
free_text(char *text)
{
    if (text != NULL)
        explicit_bzero(text, strlen(text));
    g_free(text);
}

static void
store_entry_free(gpointer data)
{
    StoreEntry *entry = data;

    keyfile_object_clear(&entry->object);
    g_free(entry->path);
    g_free(entry->name);
    free_text(entry->text);
    g_clear_error(&entry->error);
    g_free(entry);
}

static void
job_free(StoreJob *job)
{
    g_free(job->name);
    free_text(job->text);
    g_clear_pointer(&job->entries, g_ptr_array_unref);
    g_clear_error(&job->error);
    g_free(job);
}

static char *
make_path(const Store *store, guint kind, const char *name, const char *before, const char *after)
{
    g_autofree char *stem = keyfile_escape_name(name);
    const char *suffix = kind >= KIND_RECORD ? "" : SUFFIX;
    g_autofree char *leaf = g_strconcat(before, stem, suffix, after, NULL);

    return g_build_filename(store->state_dir, directories[kind], leaf, NULL);
}

static gboolean
fail_errno(GError **ret_error, const char *what, const char *path)
{
    int saved_errno = errno;
    LunportError code = saved_errno == ENOSPC || saved_errno == EDQUOT || saved_errno == EIO
                            ? LUNPORT_ERROR_STORAGE_ERROR
                            : error_code_from_storage_errno(saved_errno);

    error_set_errno(ret_error, code, saved_errno, "Failed to %s “%s”", what, path);
    return FALSE;
}

static gboolean
write_all(int fd, const char *text, gsize size)
{
    while (size > 0) {
        gssize n = write(fd, text, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return FALSE;
        text += n;
        size -= (gsize)n;
    }
    return TRUE;
}

static gboolean
write_temporary(const char *path, const char *text, GError **ret_error)
{
    autofd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return fail_errno(ret_error, "create", path);
    if (!write_all(fd, text, strlen(text)))
        return fail_errno(ret_error, "write", path);
    if (fsync(fd) != 0)
        return fail_errno(ret_error, "sync", path);
    return TRUE;
}

static gboolean
put_file(const Store *store, const StoreJob *job, GError **ret_error)
{
    g_autofree char *path = make_path(store, job->kind, job->name, "", "");
    g_autofree char *temporary = make_path(store, job->kind, job->name, ".", ".tmp");

    if (job->text == NULL) {
        if (unlink(path) != 0 && errno != ENOENT)
            return fail_errno(ret_error, "remove", path);
        return TRUE;
    }

    /* What is too large to be read again would be lost with the next start */
    if (strlen(job->text) > FILE_SIZE_MAX) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_LIMIT_EXCEEDED,
                    "“%s” would have more than 1 MiB, which is the most", path);
        return FALSE;
    }
    if (!write_temporary(temporary, job->text, ret_error)) {
        (void)unlink(temporary);
        return FALSE;
    }
    if (rename(temporary, path) != 0) {
        (void)fail_errno(ret_error, "write", path);
        (void)unlink(temporary);
        return FALSE;
    }
    return TRUE;
}

static gboolean
sync_directory(const Store *store, guint kind, GError **ret_error)
{
    g_autofree char *path = g_build_filename(store->state_dir, directories[kind], NULL);
    autofd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return fail_errno(ret_error, "open", path);
    return fsync(fd) == 0 || fail_errno(ret_error, "sync", path);
}

static void
fail_saves(StoreJob *first, guint kind, const GError *error)
{
    for (StoreJob *job = first; job != NULL; job = job->next) {
        if (job->saved != NULL && job->kind == kind && job->error == NULL)
            job->error = g_error_copy(error);
    }
}

static void
run_saves(const Store *store, StoreJob *first)
{
    gboolean touched[KIND_N] = { FALSE };

    for (StoreJob *job = first; job != NULL; job = job->next) {
        if (job->saved != NULL && put_file(store, job, &job->error))
            touched[job->kind] = TRUE;
    }
    for (guint kind = 0; kind < KIND_N; kind++) {
        g_autoptr(GError) error = NULL;

        if (touched[kind] && !sync_directory(store, kind, &error))
            fail_saves(first, kind, error);
    }
}

static gboolean
read_file(const char *path, char **ret_text, gsize *ret_size, GError **ret_error)
{
    autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    g_autofree char *text = NULL;
    gsize size = 0;
    struct stat st;
    gssize n;

    if (fd < 0 || fstat(fd, &st) != 0)
        return fail_errno(ret_error, "read", path);
    if (!S_ISREG(st.st_mode) || st.st_size > FILE_SIZE_MAX) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "It is not a regular file of at most 1 MiB");
        return FALSE;
    }

    text = g_malloc((gsize)st.st_size + 1);
    while (size < (gsize)st.st_size) {
        n = read(fd, text + size, (gsize)st.st_size - size);
        if (n < 0 && errno != EINTR)
            return fail_errno(ret_error, "read", path);
        if (n == 0)
            break;
        size += n > 0 ? (gsize)n : 0;
    }

    text[size] = '\0';
    *ret_text = g_steal_pointer(&text);
    *ret_size = size;
    return TRUE;
}

static char *
name_from_leaf(const char *leaf)
{
    g_autofree char *stem = g_strndup(leaf, strlen(leaf) - strlen(SUFFIX));

    return keyfile_unescape_name(stem);
}

static gboolean
load_object(const char *path, KeyfileObject *ret_object, GError **ret_error)
{
    g_autofree char *text = NULL;
    gsize size = 0;

    return read_file(path, &text, &size, ret_error) &&
           keyfile_parse(text, size, ret_object, ret_error);
}

/* A file in STATE must lie where its object says */
static gboolean
check_place(const StoreEntry *entry, ModelKind kind, const char *name, GError **ret_error)
{
    if (entry->origin != MODEL_ORIGIN_STATE)
        return TRUE;
    if (entry->object.kind == kind && g_strcmp0(entry->name, name) == 0)
        return TRUE;

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                "The object in it, “%s”, belongs into another file", entry->name);
    return FALSE;
}

/* @kind: of the directory; of no meaning in CONFIG */
static StoreEntry *
load_entry(const char *directory, const char *leaf, ModelOrigin origin, ModelKind kind)
{
    StoreEntry *entry = g_new0(StoreEntry, 1);
    g_autofree char *name = name_from_leaf(leaf);

    entry->origin = origin;
    entry->path = g_build_filename(directory, leaf, NULL);
    if (load_object(entry->path, &entry->object, &entry->error)) {
        entry->name = keyfile_object_dup_name(&entry->object);
        (void)check_place(entry, kind, name, &entry->error);
    }

    if (entry->error != NULL) {
        keyfile_object_clear(&entry->object);
        g_free(entry->name);
        entry->name = g_steal_pointer(&name);
        if (origin == MODEL_ORIGIN_STATE)
            entry->object.kind = kind;
    }
    return entry;
}

static gint
compare_strings(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted names in @path; NULL with an error, or without one when there is no such directory */
static GPtrArray *
list_directory(const char *path, GError **ret_error)
{
    DIR *directory = opendir(path);
    GPtrArray *names;

    if (directory == NULL) {
        if (errno != ENOENT)
            (void)fail_errno(ret_error, "read the directory", path);
        return NULL;
    }

    names = g_ptr_array_new_with_free_func(g_free);
    errno = 0;
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        g_ptr_array_add(names, g_strdup(entry->d_name));
        errno = 0;
    }
    if (errno != 0) {
        /* Half a folder is worse than none: what is missing would count as removed */
        (void)fail_errno(ret_error, "read the directory", path);
        g_clear_pointer(&names, g_ptr_array_unref);
    }
    (void)closedir(directory);
    if (names != NULL)
        g_ptr_array_sort(names, compare_strings);
    return names;
}

static void
remove_leftover(const char *directory, const char *leaf)
{
    g_autofree char *path = g_build_filename(directory, leaf, NULL);

    (void)unlink(path);
}

static gboolean
load_directory(const char *path, ModelOrigin origin, ModelKind kind, GPtrArray *entries,
               GError **ret_error)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) names = list_directory(path, &error);

    if (names == NULL) {
        if (error != NULL)
            g_propagate_error(ret_error, g_steal_pointer(&error));
        return error == NULL && (ret_error == NULL || *ret_error == NULL);
    }

    for (guint i = 0; i < names->len; i++) {
        const char *leaf = g_ptr_array_index(names, i);

        if (leaf[0] == '.' && g_str_has_suffix(leaf, SUFFIX ".tmp") && origin == MODEL_ORIGIN_STATE)
            remove_leftover(path, leaf);
        else if (leaf[0] != '.' && g_str_has_suffix(leaf, SUFFIX) && strlen(leaf) > strlen(SUFFIX))
            g_ptr_array_add(entries, load_entry(path, leaf, origin, kind));
    }
    return TRUE;
}

static void
load_texts(const Store *store, StoreJob *job)
{
    g_autofree char *path = g_build_filename(store->state_dir, directories[job->kind], NULL);
    g_autoptr(GPtrArray) names = list_directory(path, &job->error);

    for (guint i = 0; names != NULL && i < names->len; i++) {
        const char *leaf = g_ptr_array_index(names, i);
        StoreEntry *entry;
        gsize size;

        if (leaf[0] == '.' && g_str_has_suffix(leaf, ".tmp"))
            remove_leftover(path, leaf);
        if (leaf[0] == '.')
            continue;
        entry = g_new0(StoreEntry, 1);
        entry->path = g_build_filename(path, leaf, NULL);
        entry->name = keyfile_unescape_name(leaf);
        (void)read_file(entry->path, &entry->text, &size, &entry->error);
        g_ptr_array_add(job->entries, entry);
    }
}

static void
run_load(const Store *store, StoreJob *job)
{
    job->entries = g_ptr_array_new_with_free_func(store_entry_free);
    if (job->kind >= KIND_RECORD) {
        if (store->state_dir != NULL)
            load_texts(store, job);
        return;
    }
    if (store->config_dir != NULL && !load_directory(store->config_dir, MODEL_ORIGIN_CONFIG,
                                                     MODEL_SERVICE, job->entries, &job->error))
        return;

    for (guint kind = 0; kind < MODEL_KIND_N && store->state_dir != NULL; kind++) {
        g_autofree char *path = NULL;

        if (directories[kind] == NULL)
            continue;
        path = g_build_filename(store->state_dir, directories[kind], NULL);
        if (!load_directory(path, MODEL_ORIGIN_STATE, (ModelKind)kind, job->entries, &job->error))
            return;
    }
}

/* Saves that stand together are one group; a load ends it, so that it sees what was saved before */
static void
run_batch(const Store *store, StoreQueue *batch)
{
    StoreQueue group = { NULL, NULL };
    StoreQueue finished = { NULL, NULL };

    while (batch->first != NULL) {
        StoreJob *job = batch->first;

        batch->first = job->next;
        if (job->loaded == NULL) {
            queue_append(&group, job);
            continue;
        }
        if (store->state_dir != NULL)
            run_saves(store, group.first);
        queue_splice(&finished, &group);
        run_load(store, job);
        queue_append(&finished, job);
    }

    if (store->state_dir != NULL)
        run_saves(store, group.first);
    queue_splice(&finished, &group);
    *batch = finished;
}

static void
announce(const Store *store)
{
    const guint64 one = 1;

    /* Only a counter at its maximum could refuse this, and then the reader wakes anyway */
    if (write(store->event_fd, &one, sizeof(one)) < 0)
        g_assert(errno == EAGAIN);
}

static void *
store_thread(void *data)
{
    Store *store = data;
    gboolean quit = FALSE;

    while (!quit) {
        StoreQueue batch;

        (void)pthread_mutex_lock(&store->mutex);
        while (store->todo.first == NULL && !store->quit)
            (void)pthread_cond_wait(&store->cond, &store->mutex);
        batch = store->todo;
        store->todo = (StoreQueue){ NULL, NULL };
        quit = store->quit && batch.first == NULL;
        (void)pthread_mutex_unlock(&store->mutex);

        if (batch.first == NULL)
            continue;
        run_batch(store, &batch);

        (void)pthread_mutex_lock(&store->mutex);
        queue_splice(&store->done, &batch);
        (void)pthread_mutex_unlock(&store->mutex);
        announce(store);
    }
    return NULL;
}

static gboolean
make_directories(const Store *store, GError **ret_error)
{
    for (guint kind = 0; kind < KIND_N; kind++) {
        g_autofree char *path = NULL;

        if (directories[kind] == NULL)
            continue;
        path = g_build_filename(store->state_dir, directories[kind], NULL);
        if (g_mkdir_with_parents(path, 0700) != 0)
            return fail_errno(ret_error, "create the directory", path);
    }
    return TRUE;
}

/* Two services that write the same files would undo each other's changes */
static gboolean
lock_state(Store *store, GError **ret_error)
{
    g_autofree char *path = g_build_filename(store->state_dir, ".lock", NULL);

    store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (store->lock_fd < 0)
        return fail_errno(ret_error, "create", path);
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_IN_USE,
                    "Another process uses the state directory “%s”", store->state_dir);
        return FALSE;
    }
    return TRUE;
}

/* Signals are for the control thread */
static gboolean
start_thread(Store *store)
{
    sigset_t all;
    sigset_t before;
    int r;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&store->thread, NULL, store_thread, store);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = r;
    return r == 0;
}

static void
store_close(Store *store)
{
    fd_close(&store->lock_fd);
    fd_close(&store->event_fd);
    (void)pthread_mutex_destroy(&store->mutex);
    (void)pthread_cond_destroy(&store->cond);
    g_free(store->state_dir);
    g_free(store->config_dir);
    g_free(store);
}

static gboolean
store_open(Store *store, GError **ret_error)
{
    if (store->state_dir != NULL &&
        (!make_directories(store, ret_error) || !lock_state(store, ret_error)))
        return FALSE;

    store->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (store->event_fd < 0 || !start_thread(store)) {
        error_set_errno(ret_error, LUNPORT_ERROR_FAILED, errno,
                        "Failed to start the store of key files");
        return FALSE;
    }
    return TRUE;
}

Store *
store_new(const char *state_dir, const char *config_dir, GError **ret_error)
{
    Store *store = g_new0(Store, 1);

    store->state_dir = g_strdup(state_dir);
    store->config_dir = g_strdup(config_dir);
    store->lock_fd = store->event_fd = -1;
    (void)pthread_mutex_init(&store->mutex, NULL);
    (void)pthread_cond_init(&store->cond, NULL);
    if (!store_open(store, ret_error)) {
        store_close(store);
        return NULL;
    }
    return store;
}

void
store_free(Store *store)
{
    if (store == NULL)
        return;

    (void)pthread_mutex_lock(&store->mutex);
    store->quit = TRUE;
    (void)pthread_cond_signal(&store->cond);
    (void)pthread_mutex_unlock(&store->mutex);
    (void)pthread_join(store->thread, NULL);

    store_dispatch(store);
    store_close(store);
}

int
store_get_fd(const Store *store)
{
    return store->event_fd;
}

static void
finish(StoreJob *job)
{
    if (job->loaded != NULL)
        job->loaded(job->entries, job->error, job->user_data);
    else
        job->saved(job->error, job->user_data);
    job_free(job);
}

void
store_dispatch(Store *store)
{
    guint64 count;
    StoreQueue done;

    if (read(store->event_fd, &count, sizeof(count)) < 0)
        g_assert(errno == EAGAIN);

    (void)pthread_mutex_lock(&store->mutex);
    done = store->done;
    store->done = (StoreQueue){ NULL, NULL };
    (void)pthread_mutex_unlock(&store->mutex);

    while (done.first != NULL) {
        StoreJob *job = done.first;

        done.first = job->next;
        finish(job);
    }
}

static void
submit(Store *store, StoreJob *job)
{
    (void)pthread_mutex_lock(&store->mutex);
    queue_append(&store->todo, job);
    (void)pthread_cond_signal(&store->cond);
    (void)pthread_mutex_unlock(&store->mutex);
}

static void
save(Store *store, guint kind, const char *name, char *text, StoreSavedFn done, gpointer user_data)
{
    StoreJob *job = g_new0(StoreJob, 1);

    g_assert(directories[kind] != NULL);

    job->saved = done;
    job->user_data = user_data;
    job->kind = kind;
    job->name = g_strdup(name);
    job->text = text;
    submit(store, job);
}

void
store_save(Store *store, ModelKind kind, const char *name, char *text, StoreSavedFn done,
           gpointer user_data)
{
    save(store, kind, name, text, done, user_data);
}

void
store_save_record(Store *store, StoreRecord record, const char *name, char *text, StoreSavedFn done,
                  gpointer user_data)
{
    save(store, (guint)KIND_RECORD + record, name, text, done, user_data);
}

static void
load(Store *store, guint kind, StoreLoadedFn done, gpointer user_data)
{
    StoreJob *job = g_new0(StoreJob, 1);

    job->kind = kind;
    job->loaded = done;
    job->user_data = user_data;
    submit(store, job);
}

void
store_load(Store *store, StoreLoadedFn done, gpointer user_data)
{
    load(store, MODEL_SERVICE, done, user_data);
}

void
store_load_records(Store *store, StoreRecord record, StoreLoadedFn done, gpointer user_data)
{
    load(store, (guint)KIND_RECORD + record, done, user_data);
}
