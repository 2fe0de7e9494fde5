/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Event loop
 *
 * The one idea: the kernel reports each change once (EPOLLET) and the loop
 * remembers it. Watch.events is that memory, the mirror; Watch.selected is what
 * the owner wants; a watch is on the ready list exactly while the two have a
 * bit in common. Selecting, deselecting and clearing are therefore a few
 * instructions, and a descriptor costs system calls when it is started, when
 * it is stopped and when it really changes.
 *
 * The mirror is right as long as owners clear a bit only after the kernel said
 * EAGAIN: from then on the kernel owes an edge. tests/engine/test-loop.c checks
 * that the kernel keeps to this.
 *
 * What epoll_wait() returned is written into the mirrors before anything runs,
 * so a function may stop and free any watch. Lists that are being walked are
 * moved to the stack first; unlinking works there as well.
 */

#include "engine/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "util/error.h"
#include "util/fd.h"

#define EVENTS_PER_TURN 128

/* How often the deferred functions may queue new ones before the turn ends all the same */
#define DEFERRED_ROUNDS_MAX 16

#define NO_LIMIT ((gint64)-1)

gboolean
loop_init(Loop *loop, const Clock *clock, GError **ret_error)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);

    if (fd < 0) {
        error_set_errno(ret_error, LUNPORT_ERROR_FAILED, errno,
                        "Failed to create an epoll descriptor");
        return FALSE;
    }

    *loop = (Loop){ .epoll_fd = fd, .clock = clock, .now = clock_now(clock) };
    list_init(&loop->ready);
    list_init(&loop->deferred);
    loop->timers = g_ptr_array_new();
    return TRUE;
}

void
loop_deinit(Loop *loop)
{
    if (loop->timers == NULL)
        return;

    g_assert(list_is_empty(&loop->ready));
    g_assert(list_is_empty(&loop->deferred));
    g_assert(loop->timers->len == 0);

    g_ptr_array_free(loop->timers, TRUE);
    loop->timers = NULL;
    fd_close(&loop->epoll_fd);
}

/* Timers: a binary heap, each timer knows its place */

static Timer *
heap_get(const Loop *loop, guint i)
{
    return loop->timers->pdata[i];
}

static void
heap_put(Loop *loop, guint i, Timer *timer)
{
    loop->timers->pdata[i] = timer;
    timer->heap_index = i;
}

static void
heap_up(Loop *loop, guint i, Timer *timer)
{
    while (i > 0) {
        guint parent = (i - 1) / 2;

        if (heap_get(loop, parent)->deadline <= timer->deadline)
            break;
        heap_put(loop, i, heap_get(loop, parent));
        i = parent;
    }
    heap_put(loop, i, timer);
}

static void
heap_down(Loop *loop, guint i, Timer *timer)
{
    guint n = loop->timers->len;

    for (;;) {
        guint child = 2 * i + 1;

        if (child >= n)
            break;
        if (child + 1 < n && heap_get(loop, child + 1)->deadline < heap_get(loop, child)->deadline)
            child++;
        if (timer->deadline <= heap_get(loop, child)->deadline)
            break;
        heap_put(loop, i, heap_get(loop, child));
        i = child;
    }
    heap_put(loop, i, timer);
}

/* @timer belongs to place @i: move it to where its deadline wants it */
static void
heap_settle(Loop *loop, guint i, Timer *timer)
{
    heap_up(loop, i, timer);
    heap_down(loop, timer->heap_index, timer);
}

void
timer_init(Timer *timer, TimerFn fn)
{
    *timer = (Timer){ .fn = fn };
}

void
timer_set(Timer *timer, Loop *loop, gint64 deadline)
{
    g_assert(timer->fn != NULL);
    g_assert(timer->loop == NULL || timer->loop == loop);

    timer->deadline = deadline;
    if (timer->loop == NULL) {
        timer->loop = loop;
        g_ptr_array_add(loop->timers, timer);
        heap_up(loop, loop->timers->len - 1, timer);
    } else {
        heap_settle(loop, timer->heap_index, timer);
    }
}

void
timer_cancel(Timer *timer)
{
    Loop *loop = timer->loop;
    guint i = timer->heap_index;
    Timer *last;

    if (loop == NULL)
        return;

    last = heap_get(loop, loop->timers->len - 1);
    g_ptr_array_set_size(loop->timers, (gint)loop->timers->len - 1);
    if (last != timer)
        heap_settle(loop, i, last);
    timer->loop = NULL;
}

static void
run_timers(Loop *loop)
{
    /* A timer that sets itself to a time gone by has its turn in the next turn */
    guint limit = loop->timers->len;

    while (limit-- > 0 && loop->timers->len > 0) {
        Timer *timer = heap_get(loop, 0);

        if (timer->deadline > loop->now)
            return;

        timer_cancel(timer);
        timer->fn(timer);
    }
}

/* Watches */

void
watch_init(Watch *watch, WatchFn fn)
{
    *watch = (Watch){ .fd = -1, .asked = EPOLLIN | EPOLLOUT, .fn = fn };
    list_init(&watch->ready);
}

static void
watch_update(Watch *watch)
{
    gboolean is_ready = watch->loop != NULL && (watch->events & watch->selected) != 0;

    if (is_ready && !list_is_linked(&watch->ready))
        list_append(&watch->loop->ready, &watch->ready);
    else if (!is_ready)
        list_unlink(&watch->ready);
}

int
watch_start(Watch *watch, Loop *loop, int fd)
{
    struct epoll_event event = { .events = watch->asked | EPOLLET, .data = { .ptr = watch } };

    g_assert(watch->loop == NULL);
    g_assert(watch->fn != NULL);

    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        return -errno;

    watch->loop = loop;
    watch->fd = fd;
    watch->events = 0;
    return 0;
}

void
watch_stop(Watch *watch)
{
    if (watch->loop == NULL)
        return;

    /* It fails when the descriptor was closed before, which took it out of the set as well */
    (void)epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->loop = NULL;
    watch->fd = -1;
    watch->events = 0;
    watch_update(watch);
}

void
watch_select(Watch *watch, guint32 events)
{
    watch->selected |= events;
    watch_update(watch);
}

void
watch_deselect(Watch *watch, guint32 events)
{
    watch->selected &= ~events;
    watch_update(watch);
}

void
watch_clear(Watch *watch, guint32 events)
{
    watch->events &= ~events;
    watch_update(watch);
}

static void
run_watches(Loop *loop)
{
    List batch;
    ListLink *link;

    list_init(&batch);
    list_splice(&batch, &loop->ready);

    while ((link = list_pop(&batch)) != NULL) {
        Watch *watch = list_entry(link, Watch, ready);

        /* At the back already when it runs: it leaves when it clears, and may free itself */
        list_append(&loop->ready, link);
        watch->fn(watch, watch->events & watch->selected);
    }
}

/* Deferred functions */

void
deferred_init(Deferred *deferred, DeferredFn fn)
{
    *deferred = (Deferred){ .fn = fn };
    list_init(&deferred->link);
}

void
deferred_run(Deferred *deferred, Loop *loop)
{
    if (!list_is_linked(&deferred->link))
        list_append(&loop->deferred, &deferred->link);
}

void
deferred_cancel(Deferred *deferred)
{
    list_unlink(&deferred->link);
}

static void
run_deferred(Loop *loop)
{
    List batch;
    ListLink *link;

    for (guint i = 0; i < DEFERRED_ROUNDS_MAX && !list_is_empty(&loop->deferred); i++) {
        list_init(&batch);
        list_splice(&batch, &loop->deferred);

        while ((link = list_pop(&batch)) != NULL) {
            Deferred *deferred = list_entry(link, Deferred, link);

            deferred->fn(deferred);
        }
    }
}

/* The turn */

/* Milliseconds for epoll_wait(), rounded up so that a timer is due afterwards */
static int
wait_limit(const Loop *loop, gint64 timeout_usec)
{
    gint64 limit = timeout_usec;

    if (loop->quit || !list_is_empty(&loop->ready) || !list_is_empty(&loop->deferred))
        return 0;

    if (loop->timers->len > 0 && limit != 0) {
        gint64 next = MAX(heap_get(loop, 0)->deadline - clock_now(loop->clock), 0);

        limit = limit == NO_LIMIT ? next : MIN(limit, next);
    }

    if (limit == NO_LIMIT)
        return -1;
    if (limit / USEC_PER_MSEC >= G_MAXINT)
        return G_MAXINT;
    return (int)((limit + USEC_PER_MSEC - 1) / USEC_PER_MSEC);
}

/* Ask the kernel and write the answer into the mirrors */
static void
wait_for_events(Loop *loop, int timeout_msec)
{
    struct epoll_event events[EVENTS_PER_TURN];
    int n = epoll_wait(loop->epoll_fd, events, EVENTS_PER_TURN, timeout_msec);

    g_assert(n >= 0 || errno == EINTR);

    for (int i = 0; i < n; i++) {
        Watch *watch = events[i].data.ptr;

        watch->events |= events[i].events;
        if (events[i].events & (EPOLLHUP | EPOLLERR))
            watch->events |= EPOLLIN | EPOLLOUT;
        watch_update(watch);
    }
}

static void
measure_turn(Loop *loop)
{
    gint64 duration = clock_now(loop->clock) - loop->now;

    loop->n_turns++;
    loop->longest_turn = MAX(loop->longest_turn, duration);
    if (duration > LOOP_STALL_USEC)
        loop->n_stalls++;
}

void
loop_turn(Loop *loop, gint64 timeout_usec)
{
    g_assert(timeout_usec >= NO_LIMIT);

    wait_for_events(loop, wait_limit(loop, timeout_usec));
    loop->now = clock_now(loop->clock);
    run_timers(loop);
    run_watches(loop);
    run_deferred(loop);
    measure_turn(loop);
}

void
loop_run(Loop *loop)
{
    while (!loop->quit)
        loop_turn(loop, NO_LIMIT);
}

void
loop_quit(Loop *loop)
{
    loop->quit = TRUE;
}
