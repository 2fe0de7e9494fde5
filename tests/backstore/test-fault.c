/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Rules that make a store fail: which requests they strike, how often, and what becomes of those */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backstore/fault.h"
#include "fixture.h"
#include "util/clock.h"

#define BLOCK  4096
#define ALWAYS .chance = FAULT_CERTAIN

typedef struct {
    Fixture fixture;
    void *buffer;
} Rig;

static void
set_up(Rig *rig, const char *type)
{
    g_autofree char *path = NULL;
    BackstoreConfig config = { .type = type, .name = "disk", .size = MIB, .fd = -1 };
    GError *error = NULL;

    fixture_init(&rig->fixture);
    rig->buffer = buffer_new(BLOCK);
    if (strcmp(type, "file") == 0) {
        path = fixture_path(&rig->fixture, "disk.img");
        config.path = path;
        config.create = TRUE;
        config.cache = CACHE_WRITEBACK;
    }
    rig->fixture.store = backstore_open(&config, rig->fixture.offload, 1, &error);
    g_assert_no_error(error);
}

static void
tear_down(Rig *rig)
{
    free(rig->buffer);
    fixture_deinit(&rig->fixture);
}

static void
set(Rig *rig, const FaultRule *rules, guint n)
{
    g_autoptr(FaultSet) faults = n > 0 ? fault_set_new(rules, n) : NULL;

    backstore_take_faults(rig->fixture.store, rig->fixture.worker, faults);
}

static gint64
run(Rig *rig, IoKind kind, IoFlags flags, guint64 offset)
{
    gboolean has_data = kind == IO_READ || kind == IO_WRITE;

    return fixture_run(&rig->fixture, kind, flags, offset, kind == IO_FLUSH ? 0 : BLOCK,
                       has_data ? rig->buffer : NULL);
}

static void
test_strikes_its_kind_only(void)
{
    const FaultRule rule = { .kinds = FAULT_KIND(IO_WRITE), .error = ENOSPC, ALWAYS };
    BackstoreStatistics statistics;
    Rig rig;

    set_up(&rig, "ram");
    g_assert_cmpint(run(&rig, IO_WRITE, 0, 0), ==, 0);
    set(&rig, &rule, 1);
    g_assert_cmpint(run(&rig, IO_WRITE, 0, 0), ==, -ENOSPC);
    g_assert_cmpint(run(&rig, IO_READ, 0, 0), ==, 0);
    g_assert_cmpint(run(&rig, IO_FLUSH, 0, 0), ==, 0);
    set(&rig, NULL, 0);
    g_assert_cmpint(run(&rig, IO_WRITE, 0, 0), ==, 0);
    backstore_get_statistics(rig.fixture.store, 0, &statistics);
    g_assert_cmpuint(statistics.n_errors, ==, 1);
    tear_down(&rig);
}

static void
test_strikes_its_bytes_only(void)
{
    const FaultRule rule = { .kinds = FAULT_KIND(IO_READ) | FAULT_KIND(IO_FLUSH),
                             .error = EIO,
                             .offset = 2 * BLOCK,
                             .length = BLOCK,
                             ALWAYS };
    Rig rig;

    set_up(&rig, "ram");
    set(&rig, &rule, 1);
    g_assert_cmpint(run(&rig, IO_READ, 0, BLOCK), ==, 0);
    g_assert_cmpint(run(&rig, IO_READ, 0, 2 * BLOCK), ==, -EIO);
    g_assert_cmpint(run(&rig, IO_READ, 0, 3 * BLOCK), ==, 0);
    g_assert_cmpint(run(&rig, IO_FLUSH, 0, 0), ==, -EIO);
    tear_down(&rig);
}

static void
test_strikes_so_often(void)
{
    const FaultRule rule = { .kinds = FAULT_KIND(IO_READ), .error = EIO, .count = 2, ALWAYS };
    Rig rig;

    set_up(&rig, "ram");
    set(&rig, &rule, 1);
    g_assert_cmpint(run(&rig, IO_READ, 0, 0), ==, -EIO);
    g_assert_cmpint(run(&rig, IO_READ, 0, 0), ==, -EIO);
    g_assert_cmpint(run(&rig, IO_READ, 0, 0), ==, 0);
    tear_down(&rig);
}

/* What is used up in one store is used up in the next */
static void
test_count_outlives_the_store(void)
{
    const FaultRule rule = { .kinds = FAULT_KIND(IO_READ), .error = EIO, .count = 1, ALWAYS };
    g_autoptr(FaultSet) faults = fault_set_new(&rule, 1);
    Rig rig, other;

    set_up(&rig, "ram");
    set_up(&other, "ram");
    backstore_begin_with_faults(rig.fixture.store, faults);
    backstore_begin_with_faults(other.fixture.store, faults);
    g_assert_cmpint(run(&rig, IO_READ, 0, 0), ==, -EIO);
    g_assert_cmpint(run(&other, IO_READ, 0, 0), ==, 0);
    tear_down(&rig);
    tear_down(&other);
}

static guint64
draw(Rig *rig, guint64 seed)
{
    const FaultRule rule = {
        .kinds = FAULT_KIND(IO_READ), .error = EIO, .chance = FAULT_CERTAIN / 4, .seed = seed
    };
    guint64 drawn = 0;

    set(rig, &rule, 1);
    for (guint i = 0; i < 64; i++)
        drawn = drawn << 1 | (run(rig, IO_READ, 0, 0) != 0);
    return drawn;
}

static void
test_chance_repeats_with_its_seed(void)
{
    guint64 drawn;
    Rig rig;

    set_up(&rig, "ram");
    drawn = draw(&rig, 1);
    g_assert_cmphex(draw(&rig, 1), ==, drawn);
    g_assert_cmphex(draw(&rig, 2), !=, drawn);
    g_assert_cmpint(__builtin_popcountll(drawn), >, 4);
    g_assert_cmpint(__builtin_popcountll(drawn), <, 32);
    tear_down(&rig);
}

static void
test_first_rule_decides(void)
{
    const FaultRule rules[] = {
        { .kinds = FAULT_KIND(IO_READ), .error = EAGAIN, .count = 1, ALWAYS },
        { .kinds = FAULT_KIND(IO_READ), .error = EIO, ALWAYS },
    };
    Rig rig;

    set_up(&rig, "ram");
    set(&rig, rules, 2);
    g_assert_cmpint(run(&rig, IO_READ, 0, 0), ==, -EAGAIN);
    g_assert_cmpint(run(&rig, IO_READ, 0, 0), ==, -EIO);
    tear_down(&rig);
}

static void
test_delay(void)
{
    const FaultRule rules[] = {
        { .kinds = FAULT_KIND(IO_WRITE), .delay = USEC_PER_MSEC, ALWAYS },
        { .kinds = FAULT_KIND(IO_READ), .delay = USEC_PER_MSEC, .error = EIO, ALWAYS },
    };
    Request request;
    Rig rig;

    set_up(&rig, "ram");
    set(&rig, rules, 2);
    fixture_submit(&rig.fixture, &request, IO_WRITE, 0, 0, BLOCK, rig.buffer);
    g_assert_false(request.is_done);
    fixture_wait(&rig.fixture, &request);
    g_assert_cmpint(request.io.result, ==, 0);
    g_assert_cmpint(run(&rig, IO_READ, 0, 0), ==, -EIO);
    tear_down(&rig);
}

static void
test_stall(void)
{
    const FaultRule rule = { .kinds = FAULT_KIND(IO_WRITE), .stall = TRUE, ALWAYS };
    const FaultRule other = { .kinds = FAULT_KIND(IO_WRITE), .error = EIO, .count = 1, ALWAYS };
    Request requests[2];
    Rig rig;

    set_up(&rig, "ram");
    set(&rig, &rule, 1);
    memset(rig.buffer, 0x5a, BLOCK);
    for (guint i = 0; i < 2; i++)
        fixture_submit(&rig.fixture, &requests[i], IO_WRITE, 0, i * BLOCK, BLOCK, rig.buffer);
    set(&rig, &rule, 1);
    worker_turn(rig.fixture.worker, 0);
    g_assert_false(requests[0].is_done || requests[1].is_done);

    /* They go by the new rules: the first one is struck by this one */
    set(&rig, &other, 1);
    g_assert_true(requests[0].is_done && requests[1].is_done);
    g_assert_cmpint(requests[0].io.result, ==, -EIO);
    g_assert_cmpint(requests[1].io.result, ==, 0);
    memset(rig.buffer, 0, BLOCK);
    g_assert_cmpint(run(&rig, IO_READ, 0, BLOCK), ==, 0);
    g_assert_cmphex(((guint8 *)rig.buffer)[0], ==, 0x5a);
    tear_down(&rig);
}

/* An hour that was a mistake ends with the rule */
static void
test_delay_ends_with_its_rule(void)
{
    const FaultRule rule = { .kinds = FAULT_KIND(IO_READ), .delay = G_MAXINT32, ALWAYS };
    Request request;
    Rig rig;

    set_up(&rig, "ram");
    set(&rig, &rule, 1);
    fixture_submit(&rig.fixture, &request, IO_READ, 0, 0, BLOCK, rig.buffer);
    set(&rig, NULL, 0);
    g_assert_true(request.is_done);
    g_assert_cmpint(request.io.result, ==, 0);
    tear_down(&rig);
}

/* The flush behind a write with FUA is a flush, and what follows from its failure follows */
static void
test_flush_fails_the_store(void)
{
    const FaultRule rule = { .kinds = FAULT_KIND(IO_FLUSH), .error = EIO, .count = 1, ALWAYS };
    Rig rig;

    set_up(&rig, "file");
    set(&rig, &rule, 1);
    g_assert_cmpint(run(&rig, IO_WRITE, 0, 0), ==, 0);
    g_assert_false(backstore_is_failed(rig.fixture.store));
    g_assert_cmpint(run(&rig, IO_FLUSH, 0, 0), ==, -EIO);
    g_assert_true(backstore_is_failed(rig.fixture.store));
    g_assert_cmpint(run(&rig, IO_WRITE, 0, 0), ==, -EIO);
    g_assert_cmpint(run(&rig, IO_READ, 0, 0), ==, 0);
    tear_down(&rig);
}

/* A write that was refused before the store had it has lost nothing */
static void
test_write_does_not_fail_the_store(void)
{
    const FaultRule rule = { .kinds = FAULT_KIND(IO_WRITE), .error = EAGAIN, .count = 1, ALWAYS };
    Rig rig;

    set_up(&rig, "file");
    set(&rig, &rule, 1);
    g_assert_cmpint(run(&rig, IO_WRITE, IO_FUA, 0), ==, -EAGAIN);
    g_assert_false(backstore_is_failed(rig.fixture.store));
    g_assert_cmpint(run(&rig, IO_WRITE, IO_FUA, 0), ==, 0);
    tear_down(&rig);
}

/* The part of an emulated request that is held in the middle goes on where it was */
static void
test_held_in_the_middle(void)
{
    const FaultRule rule = { .kinds = FAULT_KIND(IO_FLUSH), .stall = TRUE, ALWAYS };
    Request request;
    Rig rig;

    set_up(&rig, "file");
    set(&rig, &rule, 1);
    /* Zeroing in a file needs a flush to be durable */
    fixture_submit(&rig.fixture, &request, IO_ZERO, IO_FUA, 0, BLOCK, NULL);
    while (!request.is_done && rig.fixture.worker->loop.n_turns < 100)
        worker_turn(rig.fixture.worker, USEC_PER_MSEC);
    if (request.is_done)
        g_test_skip("The file system zeroes without a flush");
    set(&rig, NULL, 0);
    fixture_wait(&rig.fixture, &request);
    g_assert_cmpint(request.io.result, ==, 0);
    g_assert_cmpint(request.io.kind, ==, IO_ZERO);
    g_assert_cmpuint(request.io.length, ==, BLOCK);
    tear_down(&rig);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/backstore/fault/strikes-its-kind-only", test_strikes_its_kind_only);
    g_test_add_func("/backstore/fault/strikes-its-bytes-only", test_strikes_its_bytes_only);
    g_test_add_func("/backstore/fault/strikes-so-often", test_strikes_so_often);
    g_test_add_func("/backstore/fault/count-outlives-the-store", test_count_outlives_the_store);
    g_test_add_func("/backstore/fault/chance-repeats-with-its-seed",
                    test_chance_repeats_with_its_seed);
    g_test_add_func("/backstore/fault/first-rule-decides", test_first_rule_decides);
    g_test_add_func("/backstore/fault/delay", test_delay);
    g_test_add_func("/backstore/fault/stall", test_stall);
    g_test_add_func("/backstore/fault/delay-ends-with-its-rule", test_delay_ends_with_its_rule);
    g_test_add_func("/backstore/fault/flush-fails-the-store", test_flush_fails_the_store);
    g_test_add_func("/backstore/fault/write-does-not-fail-the-store",
                    test_write_does_not_fail_the_store);
    g_test_add_func("/backstore/fault/held-in-the-middle", test_held_in_the_middle);
    return g_test_run();
}
