/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "util/clock.h"
#include "util/list.h"

/*
 * Event loop of one thread
 *
 * The kernel is asked edge-triggered and once (epoll_ctl at watch_start()
 * only); the loop mirrors what the kernel said and calls watches
 * level-triggered: a watch whose selected events are set in the mirror runs
 * every turn until it clears them, which it does when a call returned EAGAIN.
 * So changing interest costs no system call.
 *
 * One turn: wait (not when something is ready or due), read the clock, expire
 * timers, run each ready watch once in rotation, run the deferred functions. A
 * watch that still has work goes to the back: that is what makes the loop fair.
 */

typedef struct Loop Loop;
typedef struct Watch Watch;
typedef struct Timer Timer;
typedef struct Deferred Deferred;

typedef void (*WatchFn)(Watch *watch, guint32 ready);
typedef void (*TimerFn)(Timer *timer);
typedef void (*DeferredFn)(Deferred *deferred);

struct Watch {
    Loop *loop;       /* NULL while not started */
    int fd;           /* borrowed */
    guint32 asked;    /* what the kernel reports: both, unless changed after watch_init() */
    guint32 selected; /* EPOLLIN | EPOLLOUT: what the owner wants */
    guint32 events; /* mirror of the kernel's state; EPOLLHUP | EPOLLERR set both IN and OUT too */
    ListLink ready;
    WatchFn fn;
};

struct Timer {
    Loop *loop; /* NULL while not set */
    gint64 deadline;
    guint heap_index;
    TimerFn fn;
};

/* A function that runs once at the end of this turn, after all watches */
struct Deferred {
    ListLink link;
    DeferredFn fn;
};

struct Loop {
    int epoll_fd;
    const Clock *clock;
    gint64 now; /* µs, read once a turn */
    List ready;
    List deferred;
    GPtrArray *timers; /* heap by deadline */
    gboolean quit;
    guint64 n_turns;
    guint64 n_stalls;    /* turns that took above LOOP_STALL_USEC: the stall meter */
    gint64 longest_turn; /* µs */
};

#define LOOP_STALL_USEC (10 * USEC_PER_MSEC)

gboolean loop_init(Loop *loop, const Clock *clock, GError **ret_error);
void loop_deinit(Loop *loop);

/* One turn. @timeout_usec: the longest wait, -1 for no limit, 0 to poll */
void loop_turn(Loop *loop, gint64 timeout_usec);

/* Turns until loop_quit() is called by something on this thread */
void loop_run(Loop *loop);
void loop_quit(Loop *loop);

void watch_init(Watch *watch, WatchFn fn);
int watch_start(Watch *watch, Loop *loop, int fd); /* 0 or -errno; selects nothing by itself */
void watch_stop(Watch *watch); /* idempotent; also from inside its own function */
void watch_select(Watch *watch, guint32 events);
void watch_deselect(Watch *watch, guint32 events);
void watch_clear(Watch *watch, guint32 events); /* EAGAIN was seen */

void timer_init(Timer *timer, TimerFn fn);
void timer_set(Timer *timer, Loop *loop, gint64 deadline); /* moves it if it is set */
void timer_cancel(Timer *timer);                           /* idempotent */
static inline gboolean
timer_is_set(const Timer *timer)
{
    return timer->loop != NULL;
}

void deferred_init(Deferred *deferred, DeferredFn fn);
void deferred_run(Deferred *deferred, Loop *loop); /* idempotent until it has run */
void deferred_cancel(Deferred *deferred);
