/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * A target to test against
 *
 * Plays the control thread: owns the mailbox that workers answer to, keeps a
 * copy of every event, and takes the service down in the order the daemon does.
 */

#include "rig.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backstore/class.h"

#define DEFAULT_SIZE ((guint64)64 << 20)

/* How long a test waits before it has failed: on a loaded machine it may itself be held up for long */
#define PATIENCE_USEC (120 * USEC_PER_SEC)

/* With threads the clock moves so often, by so much at most */
#define TICK_USEC     (2 * USEC_PER_MSEC)
#define TICK_MAX_USEC (20 * USEC_PER_MSEC)

static void
event_free(gpointer data)
{
    RigEvent *event = data;

    g_free(event->initiator_name);
    g_free(event->target_name);
    g_free(event->chap_user);
    g_free(event->reason);
    g_free(event);
}

static void
on_event(const IscsiEvent *event, gpointer user_data)
{
    Rig *rig = user_data;
    RigEvent *copy = g_new0(RigEvent, 1);

    copy->type = event->type;
    copy->tsih = event->tsih;
    copy->status = event->status;
    copy->discovery = event->discovery;
    copy->initiator_name = g_strdup(event->initiator_name);
    copy->target_name = g_strdup(event->target_name);
    copy->rule_id = event->rule_id;
    copy->chap_user = g_strdup(event->chap_user);
    copy->reason = g_strdup(event->reason);
    copy->limit = event->limit;
    copy->count = event->count;
    copy->remote = event->remote;
    g_ptr_array_add(rig->events, copy);
}

void
rig_set_flag(gpointer flag)
{
    *(gboolean *)flag = TRUE;
}

/* A store that answers when it is told to; without threads only */

typedef struct {
    Backstore base;
    guint8 *memory;
    List held;
    guint n_held;
    gboolean is_holding;
} HeldStore;

static HeldStore *
held_store(const Rig *rig)
{
    return (HeldStore *)rig->store;
}

static gboolean
held_open(Backstore *store, const BackstoreConfig *config, GError **ret_error)
{
    HeldStore *held = (HeldStore *)store;

    store->info.size = config->size;
    store->info.memory_align = 1;
    store->info.offset_align = store->info.block_size;
    store->info.cache = CACHE_NONE;
    store->native = NATIVE_FUA;
    held->memory = g_malloc0(config->size);
    list_init(&held->held);
    return TRUE;
}

static void
held_close(Backstore *store)
{
    g_free(((HeldStore *)store)->memory);
}

static void
held_execute(HeldStore *held, Io *io)
{
    if (io->kind == IO_READ)
        memcpy(io->buffer, held->memory + io->offset, io->length);
    else if (io->kind == IO_WRITE)
        memcpy(held->memory + io->offset, io->buffer, io->length);
    backstore_io_done(io, 0);
}

static void
held_submit(Backstore *store, Io *io)
{
    HeldStore *held = (HeldStore *)store;

    if (!held->is_holding) {
        held_execute(held, io);
        return;
    }

    list_init(&io->link);
    list_append(&held->held, &io->link);
    held->n_held++;
}

static const BackstoreClass held_class = {
    .type = "held",
    .instance_size = sizeof(HeldStore),
    .open = held_open,
    .close = held_close,
    .submit = held_submit,
};

void
rig_hold(Rig *rig)
{
    held_store(rig)->is_holding = TRUE;
}

void
rig_release(Rig *rig)
{
    HeldStore *held = held_store(rig);
    ListLink *link;

    held->is_holding = FALSE;
    while ((link = list_pop(&held->held)) != NULL) {
        held->n_held--;
        held_execute(held, list_entry(link, Io, link));
    }
}

guint
rig_n_held(const Rig *rig)
{
    return held_store(rig)->n_held;
}

static gpointer
tick(gpointer data)
{
    Rig *rig = data;
    gint64 before = g_get_monotonic_time();

    while (g_atomic_int_get(&rig->is_ticking) != 0) {
        gint64 now;

        g_usleep(TICK_USEC);
        now = g_get_monotonic_time();
        clock_advance(&rig->clock, MIN(now - before, TICK_MAX_USEC));
        before = now;
    }
    return NULL;
}

static void
start_clock(Rig *rig)
{
    clock_init_manual(&rig->clock, 1000 * USEC_PER_SEC);
    if (!rig->is_threaded)
        return;

    rig->is_ticking = 1;
    rig->ticker = g_thread_new("ticker", tick, rig);
}

static void
stop_clock(Rig *rig)
{
    if (rig->ticker == NULL)
        return;

    g_atomic_int_set(&rig->is_ticking, 0);
    (void)g_thread_join(rig->ticker);
}

static void
open_store(Rig *rig, const RigConfig *config)
{
    g_autoptr(GError) error = NULL;
    BackstoreConfig store_config = {
        .type = config->type != NULL ? config->type : "ram",
        .name = "disk",
        .size = config->size != 0 ? config->size : DEFAULT_SIZE,
        .block_size = 512,
        .fd = -1,
    };
    LuConfig lu_config = { .name = "disk", .uuid = { 1, 2, 3, 4 } };

    if (strcmp(store_config.type, held_class.type) == 0)
        rig->store =
            backstore_open_class(&held_class, &store_config, rig->offload, rig->n_workers, &error);
    else
        rig->store = backstore_open(&store_config, rig->offload, rig->n_workers, &error);
    g_assert_no_error(error);
    if (config->faults != NULL)
        backstore_begin_with_faults(rig->store, config->faults);
    rig->lu = lu_new(&lu_config, rig->store, rig->workers, rig->n_workers, 0);
    rig->map = lun_map_new(&(LunEntry){ .lun = 0, .lu = rig->lu }, 1);
}

static IscsiTarget *
make_target(Rig *rig)
{
    IscsiTarget *target = iscsi_target_new();

    target->name = g_strdup(RIG_TARGET);
    target->alias = g_strdup("test");
    target->id = 1;
    target->relative_port = 1;
    target->enabled = TRUE;
    target->access = ISCSI_ACCESS_OPEN;
    target->tags = g_new(guint16, 1);
    target->tags[0] = RIG_TAG;
    target->n_tags = 1;
    target->announces = g_new0(IscsiAnnounce, 1);
    target->announces[0].tag = RIG_TAG;
    g_assert_true(address_parse("192.0.2.1:3260", ISCSI_PORT, &target->announces[0].address, NULL));
    target->n_announces = 1;
    target->map = rig->map;
    snapshot_ref(&rig->map->snapshot);
    return target;
}

void
rig_set_target(Rig *rig, void (*adjust)(IscsiTarget *target))
{
    IscsiTarget *target = make_target(rig);
    gboolean is_done = FALSE;

    if (adjust != NULL)
        adjust(target);
    iscsi_service_set_target(rig->service, target, rig_set_flag, &is_done);
    rig_wait(rig, &is_done);
}

Rig *
rig_new(const RigConfig *config)
{
    static const RigConfig defaults;
    Rig *rig = g_new0(Rig, 1);
    IscsiServiceConfig service_config = { 0 };
    WorkerConfig worker_config = { 0 };
    IscsiLimits limits;

    if (config == NULL)
        config = &defaults;

    rig->n_workers = MAX(config->n_workers, 1);
    rig->is_threaded = config->is_threaded;
    rig->events = g_ptr_array_new_with_free_func(event_free);
    rig->offload = offload_new(2);
    g_assert_true(mailbox_init(&rig->control, NULL));
    start_clock(rig);

    worker_config.pool_size = config->pool_size != 0 ? config->pool_size : WORKER_POOL_SIZE;
    worker_config.pool_reserve = WORKER_POOL_RESERVE;
    worker_config.clock = &rig->clock;
    for (guint i = 0; i < rig->n_workers; i++) {
        rig->workers[i] = worker_new(i, &worker_config, rig->offload, NULL);
        g_assert_nonnull(rig->workers[i]);
        if (rig->is_threaded)
            worker_start(rig->workers[i]);
    }
    open_store(rig, config);

    service_config.workers = rig->workers;
    service_config.n_workers = rig->n_workers;
    service_config.control = &rig->control;
    service_config.event_fn = on_event;
    service_config.user_data = rig;
    iscsi_limits_init(&limits);
    if (config->max_sessions != 0)
        limits.max_sessions = config->max_sessions;
    if (config->max_logins != 0)
        limits.max_logins = config->max_logins;
    service_config.limits = &limits;
    rig->service = iscsi_service_new(&service_config);
    rig_set_target(rig, config->adjust);
    return rig;
}

static void
on_lu_released(Lu *lu, gpointer user_data)
{
    rig_set_flag(user_data);
}

void
rig_free(Rig *rig)
{
    gboolean is_stopped = FALSE, is_released = FALSE;

    iscsi_service_stop(rig->service, rig_set_flag, &is_stopped);
    rig_wait(rig, &is_stopped);
    snapshot_unref(&rig->map->snapshot);
    lu_release(rig->lu, &rig->control, on_lu_released, &is_released);
    rig_wait(rig, &is_released);
    rig_settle(rig);

    for (guint i = 0; i < rig->n_workers; i++) {
        if (rig->is_threaded)
            worker_stop(rig->workers[i]);
    }
    (void)mailbox_drain(&rig->control);
    iscsi_service_free(rig->service);
    lu_free(rig->lu);
    backstore_close(rig->store);
    for (guint i = 0; i < rig->n_workers; i++)
        worker_free(rig->workers[i]);
    offload_free(rig->offload);
    stop_clock(rig);
    mailbox_deinit(&rig->control);
    g_ptr_array_free(rig->events, TRUE);
    g_free(rig);
}

void
rig_pump(Rig *rig)
{
    if (rig->is_threaded) {
        struct pollfd pollfd = { .fd = rig->control.event_fd, .events = POLLIN };

        if (poll(&pollfd, 1, 1) > 0)
            (void)mailbox_drain(&rig->control);
        return;
    }

    for (guint i = 0; i < rig->n_workers; i++)
        worker_turn(rig->workers[i], 0);
    if (!rig->is_deaf)
        (void)mailbox_drain(&rig->control);
}

void
rig_settle(Rig *rig)
{
    /* A message and its answer take a turn each; no chain of the service is longer than this */
    for (guint i = 0; i < 24; i++)
        rig_pump(rig);
}

void
rig_wait(Rig *rig, const gboolean *flag)
{
    gint64 limit = g_get_monotonic_time() + PATIENCE_USEC;

    while (!*flag) {
        rig_pump(rig);
        g_assert_cmpint(g_get_monotonic_time(), <, limit);
    }
}

int
rig_connect(Rig *rig)
{
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), ==, 0);
    iscsi_service_add_connection(rig->service, fds[0], RIG_TAG, 7);
    return fds[1];
}

int
rig_connect_tcp(Rig *rig)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int accepted;

    g_assert_cmpint(bind(listener, (struct sockaddr *)&address, size), ==, 0);
    g_assert_cmpint(listen(listener, 1), ==, 0);
    g_assert_cmpint(getsockname(listener, (struct sockaddr *)&address, &size), ==, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, size), ==, 0);
    accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    g_assert_cmpint(accepted, >=, 0);
    (void)close(listener);
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    iscsi_service_add_connection(rig->service, accepted, RIG_TAG, 7);
    return fd;
}

guint
rig_count_events(const Rig *rig, IscsiEventType type)
{
    guint n = 0;

    for (guint i = 0; i < rig->events->len; i++)
        n += ((const RigEvent *)rig->events->pdata[i])->type == type;
    return n;
}

const RigEvent *
rig_last_event(const Rig *rig, IscsiEventType type)
{
    for (guint i = rig->events->len; i-- > 0;) {
        const RigEvent *event = rig->events->pdata[i];

        if (event->type == type)
            return event;
    }
    return NULL;
}
