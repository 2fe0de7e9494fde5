/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The loop, turned by hand on a clock that stands still, and the behaviour of
 * the kernel that its mirror depends on: with EPOLLET each change is reported
 * once, and reported again only after EAGAIN was seen or something new came.
 */

#include "engine/loop.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/fd.h"

typedef struct {
    Loop loop;
    Clock clock;
    GString *trace;
} Fixture;

static void
set_up(Fixture *fixture, gconstpointer data)
{
    clock_init_manual(&fixture->clock, 1000);
    g_assert_true(loop_init(&fixture->loop, &fixture->clock, NULL));
    fixture->trace = g_string_new(NULL);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    loop_deinit(&fixture->loop);
    g_string_free(fixture->trace, TRUE);
}

/* Kernel */

static guint32
poll_edges(int epoll_fd)
{
    struct epoll_event event = { 0 };
    int n = epoll_wait(epoll_fd, &event, 1, 0);

    g_assert_cmpint(n, >=, 0);
    return n == 0 ? 0 : event.events;
}

static int
epoll_of(int fd, guint32 events)
{
    struct epoll_event event = { .events = events | EPOLLET };
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

    g_assert_cmpint(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event), ==, 0);
    return epoll_fd;
}

static void
make_socketpair(int *ret_a, int *ret_b)
{
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), ==, 0);
    *ret_a = fds[0];
    *ret_b = fds[1];
}

static void
put(int fd, const char *text)
{
    g_assert_cmpint(write(fd, text, strlen(text)), ==, strlen(text));
}

/* Write until the kernel takes no more */
static void
fill(int fd)
{
    char bytes[4096] = { 0 };

    while (write(fd, bytes, sizeof(bytes)) > 0)
        continue;
    g_assert_cmpint(errno, ==, EAGAIN);
}

static void
empty(int fd)
{
    char bytes[4096];

    while (read(fd, bytes, sizeof(bytes)) > 0)
        continue;
    g_assert_cmpint(errno, ==, EAGAIN);
}

static void
test_kernel_reports_once(void)
{
    autofd int a = -1;
    autofd int b = -1;
    autofd int epoll_fd = -1;

    make_socketpair(&a, &b);
    put(b, "x");
    epoll_fd = epoll_of(a, EPOLLIN | EPOLLOUT);

    /* What is ready when the descriptor is added is reported, and once */
    g_assert_cmphex(poll_edges(epoll_fd), ==, EPOLLIN | EPOLLOUT);
    g_assert_cmphex(poll_edges(epoll_fd), ==, 0);
}

static void
test_kernel_reports_input_after_eagain(void)
{
    autofd int a = -1;
    autofd int b = -1;
    autofd int epoll_fd = -1;

    make_socketpair(&a, &b);
    epoll_fd = epoll_of(a, EPOLLIN | EPOLLOUT);
    g_assert_cmphex(poll_edges(epoll_fd), ==, EPOLLOUT);

    put(b, "x");
    g_assert_cmphex(poll_edges(epoll_fd) & EPOLLIN, ==, EPOLLIN);
    empty(a);
    g_assert_cmphex(poll_edges(epoll_fd) & EPOLLIN, ==, 0);
    put(b, "y");
    g_assert_cmphex(poll_edges(epoll_fd) & EPOLLIN, ==, EPOLLIN);
}

static void
test_kernel_reports_output_after_eagain(void)
{
    autofd int a = -1;
    autofd int b = -1;
    autofd int epoll_fd = -1;

    make_socketpair(&a, &b);
    epoll_fd = epoll_of(a, EPOLLIN | EPOLLOUT);
    g_assert_cmphex(poll_edges(epoll_fd), ==, EPOLLOUT);

    fill(a);
    g_assert_cmphex(poll_edges(epoll_fd), ==, 0);
    empty(b);
    g_assert_cmphex(poll_edges(epoll_fd) & EPOLLOUT, ==, EPOLLOUT);
}

static void
test_kernel_reports_hangup(void)
{
    autofd int a = -1;
    autofd int b = -1;
    autofd int epoll_fd = -1;

    make_socketpair(&a, &b);
    epoll_fd = epoll_of(a, EPOLLIN | EPOLLOUT);
    (void)poll_edges(epoll_fd);

    fd_close(&b);
    g_assert_cmphex(poll_edges(epoll_fd) & EPOLLHUP, ==, EPOLLHUP);
}

/* The aio context never reads its eventfd */
static void
test_kernel_eventfd_needs_no_read(void)
{
    autofd int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    autofd int epoll_fd = epoll_of(fd, EPOLLIN);
    guint64 one = 1;

    for (guint i = 0; i < 3; i++) {
        g_assert_cmpint(write(fd, &one, sizeof(one)), ==, sizeof(one));
        g_assert_cmphex(poll_edges(epoll_fd), ==, EPOLLIN);
        g_assert_cmphex(poll_edges(epoll_fd), ==, 0);
    }
}

/* Mailboxes ask for input only: reading must not wake the reader again */
static void
test_kernel_eventfd_read_is_silent(void)
{
    autofd int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    autofd int epoll_fd = epoll_of(fd, EPOLLIN);
    guint64 count = 1;

    g_assert_cmpint(write(fd, &count, sizeof(count)), ==, sizeof(count));
    g_assert_cmphex(poll_edges(epoll_fd), ==, EPOLLIN);
    g_assert_cmpint(read(fd, &count, sizeof(count)), ==, sizeof(count));
    g_assert_cmphex(poll_edges(epoll_fd), ==, 0);
}

/* Watches */

typedef struct {
    Watch watch;
    GString *trace;
    char name;
    guint n_calls;
    guint32 last_ready;
    guint32 clears;
    Watch *stops;
} TestWatch;

static void
on_watch(Watch *watch, guint32 ready)
{
    TestWatch *self = list_entry(watch, TestWatch, watch);

    self->n_calls++;
    self->last_ready = ready;
    g_string_append_c(self->trace, self->name);
    watch_clear(watch, self->clears);
    if (self->stops != NULL)
        watch_stop(self->stops);
}

static void
start(Fixture *fixture, TestWatch *self, char name, int fd, guint32 selected)
{
    *self = (TestWatch){ .trace = fixture->trace, .name = name };
    watch_init(&self->watch, on_watch);
    g_assert_cmpint(watch_start(&self->watch, &fixture->loop, fd), ==, 0);
    watch_select(&self->watch, selected);
}

static void
test_level_triggered(Fixture *fixture, gconstpointer data)
{
    autofd int a = -1;
    autofd int b = -1;
    TestWatch watch;

    make_socketpair(&a, &b);
    start(fixture, &watch, 'a', a, EPOLLIN);
    loop_turn(&fixture->loop, 0);
    g_assert_cmpuint(watch.n_calls, ==, 0);

    /* Called each turn until it clears */
    put(b, "x");
    for (guint i = 0; i < 3; i++)
        loop_turn(&fixture->loop, 0);
    g_assert_cmpuint(watch.n_calls, ==, 3);
    g_assert_cmphex(watch.last_ready, ==, EPOLLIN);

    watch.clears = EPOLLIN;
    empty(a);
    loop_turn(&fixture->loop, 0);
    loop_turn(&fixture->loop, 0);
    g_assert_cmpuint(watch.n_calls, ==, 4);

    put(b, "x");
    loop_turn(&fixture->loop, 0);
    g_assert_cmpuint(watch.n_calls, ==, 5);
    watch_stop(&watch.watch);
}

static void
test_selecting_costs_no_event(Fixture *fixture, gconstpointer data)
{
    autofd int a = -1;
    autofd int b = -1;
    TestWatch watch;

    make_socketpair(&a, &b);
    put(b, "x");
    start(fixture, &watch, 'a', a, 0);
    loop_turn(&fixture->loop, 0);
    g_assert_cmpuint(watch.n_calls, ==, 0);

    /* What the kernel said before anybody was interested is still known */
    watch_select(&watch.watch, EPOLLIN);
    loop_turn(&fixture->loop, 0);
    g_assert_cmphex(watch.last_ready, ==, EPOLLIN);

    watch_deselect(&watch.watch, EPOLLIN);
    watch_select(&watch.watch, EPOLLOUT);
    loop_turn(&fixture->loop, 0);
    g_assert_cmphex(watch.last_ready, ==, EPOLLOUT);
    g_assert_cmpuint(watch.n_calls, ==, 2);
    watch_stop(&watch.watch);
}

static void
test_hangup_is_input_and_output(Fixture *fixture, gconstpointer data)
{
    autofd int a = -1;
    autofd int b = -1;
    TestWatch watch;

    make_socketpair(&a, &b);
    start(fixture, &watch, 'a', a, 0);
    fill(a);
    loop_turn(&fixture->loop, 0);
    watch_clear(&watch.watch, EPOLLIN | EPOLLOUT);
    watch_select(&watch.watch, EPOLLIN | EPOLLOUT);
    fd_close(&b);
    loop_turn(&fixture->loop, 0);
    g_assert_cmphex(watch.last_ready, ==, EPOLLIN | EPOLLOUT);
    watch_stop(&watch.watch);
}

static void
test_rotation(Fixture *fixture, gconstpointer data)
{
    int fds[6];
    TestWatch watches[3];

    for (guint i = 0; i < 3; i++) {
        make_socketpair(&fds[2 * i], &fds[2 * i + 1]);
        start(fixture, &watches[i], (char)('a' + i), fds[2 * i], EPOLLOUT);
    }

    /* Each once a turn, and in the same order */
    for (guint i = 0; i < 3; i++)
        loop_turn(&fixture->loop, 0);
    g_assert_cmpstr(fixture->trace->str, ==, "abcabcabc");

    for (guint i = 0; i < 3; i++) {
        watch_stop(&watches[i].watch);
        watch_stop(&watches[i].watch);
    }
    for (guint i = 0; i < 6; i++)
        fd_close(&fds[i]);
}

static void
test_stop_from_inside(Fixture *fixture, gconstpointer data)
{
    int fds[6];
    TestWatch watches[3];

    for (guint i = 0; i < 3; i++) {
        make_socketpair(&fds[2 * i], &fds[2 * i + 1]);
        start(fixture, &watches[i], (char)('a' + i), fds[2 * i], EPOLLOUT);
    }

    watches[0].stops = &watches[1].watch; /* a neighbour that is ready in this turn */
    watches[2].stops = &watches[2].watch; /* itself */
    loop_turn(&fixture->loop, 0);
    loop_turn(&fixture->loop, 0);
    g_assert_cmpstr(fixture->trace->str, ==, "aca");

    watch_stop(&watches[0].watch);
    for (guint i = 0; i < 6; i++)
        fd_close(&fds[i]);
}

static void
test_restart(Fixture *fixture, gconstpointer data)
{
    autofd int a = -1;
    autofd int b = -1;
    TestWatch watch;

    make_socketpair(&a, &b);
    start(fixture, &watch, 'a', a, EPOLLIN | EPOLLOUT);
    loop_turn(&fixture->loop, 0);
    watch_stop(&watch.watch);
    loop_turn(&fixture->loop, 0);
    g_assert_cmpuint(watch.n_calls, ==, 1);

    g_assert_cmpint(watch_start(&watch.watch, &fixture->loop, b), ==, 0);
    loop_turn(&fixture->loop, 0);
    g_assert_cmpuint(watch.n_calls, ==, 2);
    watch_stop(&watch.watch);
}

static void
test_bad_descriptor(Fixture *fixture, gconstpointer data)
{
    Watch watch;

    watch_init(&watch, on_watch);
    g_assert_cmpint(watch_start(&watch, &fixture->loop, 1 << 20), ==, -EBADF);
    g_assert_null(watch.loop);
}

/* Timers */

typedef struct {
    Timer timer;
    GString *trace;
    char name;
    Loop *sets_again;
    Timer *cancels;
} TestTimer;

static void
on_timer(Timer *timer)
{
    TestTimer *self = list_entry(timer, TestTimer, timer);

    g_string_append_c(self->trace, self->name);
    if (self->sets_again != NULL)
        timer_set(timer, self->sets_again, 0);
    if (self->cancels != NULL)
        timer_cancel(self->cancels);
}

static void
set_timer(Fixture *fixture, TestTimer *self, char name, gint64 deadline)
{
    *self = (TestTimer){ .trace = fixture->trace, .name = name };
    timer_init(&self->timer, on_timer);
    timer_set(&self->timer, &fixture->loop, deadline);
}

static void
test_timers_in_order(Fixture *fixture, gconstpointer data)
{
    TestTimer timers[4];

    set_timer(fixture, &timers[0], 'd', 5000);
    set_timer(fixture, &timers[1], 'b', 3000);
    set_timer(fixture, &timers[2], 'c', 4000);
    set_timer(fixture, &timers[3], 'a', 2000);

    loop_turn(&fixture->loop, 0);
    g_assert_cmpstr(fixture->trace->str, ==, "");
    clock_advance(&fixture->clock, 2000);
    loop_turn(&fixture->loop, -1);
    g_assert_cmpstr(fixture->trace->str, ==, "ab");
    clock_advance(&fixture->clock, 2000);
    loop_turn(&fixture->loop, -1);
    g_assert_cmpstr(fixture->trace->str, ==, "abcd");
    g_assert_false(timer_is_set(&timers[0].timer));
}

static void
test_timer_move_and_cancel(Fixture *fixture, gconstpointer data)
{
    TestTimer timers[3];

    set_timer(fixture, &timers[0], 'a', 2000);
    set_timer(fixture, &timers[1], 'b', 3000);
    set_timer(fixture, &timers[2], 'c', 4000);
    timer_set(&timers[0].timer, &fixture->loop, 6000);
    timer_set(&timers[2].timer, &fixture->loop, 1500);
    timer_cancel(&timers[1].timer);
    timer_cancel(&timers[1].timer);

    clock_advance(&fixture->clock, 4500);
    loop_turn(&fixture->loop, 0);
    g_assert_cmpstr(fixture->trace->str, ==, "c");
    clock_advance(&fixture->clock, 1000);
    loop_turn(&fixture->loop, 0);
    g_assert_cmpstr(fixture->trace->str, ==, "ca");
}

static void
test_timer_cancels_another(Fixture *fixture, gconstpointer data)
{
    TestTimer timers[2];

    set_timer(fixture, &timers[0], 'a', 1);
    set_timer(fixture, &timers[1], 'b', 2);
    timers[0].cancels = &timers[1].timer;
    loop_turn(&fixture->loop, 0);
    g_assert_cmpstr(fixture->trace->str, ==, "a");
}

static void
test_timer_in_the_past_does_not_spin(Fixture *fixture, gconstpointer data)
{
    TestTimer timer;

    set_timer(fixture, &timer, 'a', 0);
    timer.sets_again = &fixture->loop;
    loop_turn(&fixture->loop, -1);
    loop_turn(&fixture->loop, -1);
    g_assert_cmpstr(fixture->trace->str, ==, "aa");
    timer_cancel(&timer.timer);
}

static void
test_many_timers(Fixture *fixture, gconstpointer data)
{
    enum { N = 500 };
    g_autofree TestTimer *timers = g_new0(TestTimer, N);
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    gsize n_left = 0;

    for (guint i = 0; i < N; i++)
        set_timer(fixture, &timers[i], 'x', g_rand_int_range(rand, 2000, 100000));
    for (guint i = 0; i < N; i += 3)
        timer_cancel(&timers[i].timer);
    for (guint i = 1; i < N; i += 3)
        timer_set(&timers[i].timer, &fixture->loop, g_rand_int_range(rand, 2000, 100000));

    while (fixture->clock.now < 100000) {
        clock_advance(&fixture->clock, 500);
        loop_turn(&fixture->loop, 0);
        n_left = 0;
        for (guint i = 0; i < N; i++) {
            n_left += timer_is_set(&timers[i].timer);
            g_assert_true(!timer_is_set(&timers[i].timer) ||
                          timers[i].timer.deadline > fixture->clock.now);
        }
        g_assert_cmpuint(n_left, ==, fixture->loop.timers->len);
    }
    g_assert_cmpuint(n_left, ==, 0);
    g_assert_cmpuint(fixture->trace->len, ==, N - (N + 2) / 3);
}

/* Deferred functions */

typedef struct {
    Deferred deferred;
    Fixture *fixture;
    char name;
    Deferred *queues;
} TestDeferred;

static void
on_deferred(Deferred *deferred)
{
    TestDeferred *self = list_entry(deferred, TestDeferred, deferred);

    g_string_append_c(self->fixture->trace, self->name);
    if (self->queues != NULL)
        deferred_run(self->queues, &self->fixture->loop);
}

static void
defer(Fixture *fixture, TestDeferred *self, char name)
{
    *self = (TestDeferred){ .fixture = fixture, .name = name };
    deferred_init(&self->deferred, on_deferred);
}

static void
test_deferred_once(Fixture *fixture, gconstpointer data)
{
    TestDeferred a;
    TestDeferred b;

    defer(fixture, &a, 'a');
    defer(fixture, &b, 'b');
    deferred_run(&a.deferred, &fixture->loop);
    deferred_run(&b.deferred, &fixture->loop);
    deferred_run(&a.deferred, &fixture->loop);
    loop_turn(&fixture->loop, -1); /* does not sleep */
    loop_turn(&fixture->loop, 0);
    g_assert_cmpstr(fixture->trace->str, ==, "ab");

    deferred_run(&a.deferred, &fixture->loop);
    deferred_cancel(&a.deferred);
    deferred_cancel(&a.deferred);
    loop_turn(&fixture->loop, 0);
    g_assert_cmpstr(fixture->trace->str, ==, "ab");
}

static void
test_deferred_in_deferred(Fixture *fixture, gconstpointer data)
{
    TestDeferred a;
    TestDeferred b;

    defer(fixture, &a, 'a');
    defer(fixture, &b, 'b');
    a.queues = &b.deferred;
    deferred_run(&a.deferred, &fixture->loop);
    loop_turn(&fixture->loop, 0);
    g_assert_cmpstr(fixture->trace->str, ==, "ab");
}

static void
test_deferred_is_bounded(Fixture *fixture, gconstpointer data)
{
    TestDeferred a;
    gsize after_first;

    defer(fixture, &a, 'a');
    a.queues = &a.deferred;
    deferred_run(&a.deferred, &fixture->loop);
    loop_turn(&fixture->loop, -1);
    after_first = fixture->trace->len;
    loop_turn(&fixture->loop, -1);
    g_assert_cmpuint(after_first, >=, 1);
    g_assert_cmpuint(fixture->trace->len, ==, 2 * after_first);
    deferred_cancel(&a.deferred);
}

/* The turn */

static void
test_order_of_a_turn(Fixture *fixture, gconstpointer data)
{
    autofd int a = -1;
    autofd int b = -1;
    TestWatch watch;
    TestTimer timer;
    TestDeferred deferred;

    make_socketpair(&a, &b);
    defer(fixture, &deferred, 'd');
    deferred_run(&deferred.deferred, &fixture->loop);
    start(fixture, &watch, 'w', a, EPOLLOUT);
    set_timer(fixture, &timer, 't', 1000);
    loop_turn(&fixture->loop, 0);
    g_assert_cmpstr(fixture->trace->str, ==, "twd");
    watch_stop(&watch.watch);
}

static void
on_slow(Deferred *deferred)
{
    clock_advance(&list_entry(deferred, TestDeferred, deferred)->fixture->clock,
                  LOOP_STALL_USEC + 1);
}

static void
test_stall_meter(Fixture *fixture, gconstpointer data)
{
    TestDeferred slow = { .fixture = fixture };

    loop_turn(&fixture->loop, 0);
    g_assert_cmpuint(fixture->loop.n_stalls, ==, 0);

    deferred_init(&slow.deferred, on_slow);
    deferred_run(&slow.deferred, &fixture->loop);
    loop_turn(&fixture->loop, 0);
    g_assert_cmpuint(fixture->loop.n_stalls, ==, 1);
    g_assert_cmpint(fixture->loop.longest_turn, ==, LOOP_STALL_USEC + 1);
    g_assert_cmpuint(fixture->loop.n_turns, ==, 2);
}

static void
on_quit(Timer *timer)
{
    loop_quit(timer->loop != NULL ? timer->loop : list_entry(timer, TestTimer, timer)->sets_again);
}

static void
test_run_until_quit(void)
{
    Loop loop;
    TestTimer timer = { 0 };
    gint64 before = clock_now(&clock_system);

    g_assert_true(loop_init(&loop, &clock_system, NULL));
    timer.sets_again = &loop;
    timer_init(&timer.timer, on_quit);
    timer_set(&timer.timer, &loop, before + 2500);
    loop_run(&loop);
    g_assert_cmpint(clock_now(&clock_system), >=, before + 2500);
    g_assert_cmpint(loop.now, >=, before + 2500);
    loop_deinit(&loop);
}

#define ADD(name, fn) g_test_add("/engine/loop/" name, Fixture, NULL, set_up, fn, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine/loop/kernel-reports-once", test_kernel_reports_once);
    g_test_add_func("/engine/loop/kernel-reports-input-after-eagain",
                    test_kernel_reports_input_after_eagain);
    g_test_add_func("/engine/loop/kernel-reports-output-after-eagain",
                    test_kernel_reports_output_after_eagain);
    g_test_add_func("/engine/loop/kernel-reports-hangup", test_kernel_reports_hangup);
    g_test_add_func("/engine/loop/kernel-eventfd-needs-no-read", test_kernel_eventfd_needs_no_read);
    g_test_add_func("/engine/loop/kernel-eventfd-read-is-silent",
                    test_kernel_eventfd_read_is_silent);
    ADD("level-triggered", test_level_triggered);
    ADD("selecting-costs-no-event", test_selecting_costs_no_event);
    ADD("hangup-is-input-and-output", test_hangup_is_input_and_output);
    ADD("rotation", test_rotation);
    ADD("stop-from-inside", test_stop_from_inside);
    ADD("restart", test_restart);
    ADD("bad-descriptor", test_bad_descriptor);
    ADD("timers-in-order", test_timers_in_order);
    ADD("timer-move-and-cancel", test_timer_move_and_cancel);
    ADD("timer-cancels-another", test_timer_cancels_another);
    ADD("timer-in-the-past-does-not-spin", test_timer_in_the_past_does_not_spin);
    ADD("many-timers", test_many_timers);
    ADD("deferred-once", test_deferred_once);
    ADD("deferred-in-deferred", test_deferred_in_deferred);
    ADD("deferred-is-bounded", test_deferred_is_bounded);
    ADD("order-of-a-turn", test_order_of_a_turn);
    ADD("stall-meter", test_stall_meter);
    g_test_add_func("/engine/loop/run-until-quit", test_run_until_quit);
    return g_test_run();
}
