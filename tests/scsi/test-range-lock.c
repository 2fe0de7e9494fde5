/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Writes of partial physical blocks, single-stepped: 512-byte blocks on a store that takes 4096. */

#include "scsi/range-lock.h"

#include <errno.h>
#include <string.h>

#include "fixture.h"

#define PHYSICAL 4096

static guint8 pattern[2 << 20];

static Rig *
new_rig(guint n_workers)
{
    Rig *rig = rig_new(&(RigConfig){ .n_workers = n_workers,
                                     .slow = { .size = 4 << 20, .offset_align = PHYSICAL } });

    memset(slow_memory(rig->store), 0xee, 4 << 20);
    return rig;
}

static void
start_write(TestCommand *test, Nexus *nexus, guint lba, guint n)
{
    test_command_init(
        test, nexus, 0,
        CDB(0x2a, 0, 0, 0, (guint8)(lba >> 8), (guint8)lba, 0, (guint8)(n >> 8), (guint8)n, 0));
    test->command.expected_out = n * 512;
    test->out = pattern;
    test->n_out = sizeof(pattern);
    test_start(test);
}

static void
assert_written(Rig *rig, guint lba, guint n)
{
    const guint8 *memory = slow_memory(rig->store);

    g_assert_true(memcmp(memory + lba * (gsize)512, pattern, n * (gsize)512) == 0);
    if (lba > 0)
        g_assert_cmphex(memory[lba * (gsize)512 - 1], ==, 0xee);
    g_assert_cmphex(memory[(lba + n) * (gsize)512], ==, 0xee);
}

static void
check(guint lba, guint n)
{
    Rig *rig = new_rig(1);
    TestCommand test;

    start_write(&test, rig->nexus, lba, n);
    test_wait(rig, &test);
    test_assert_good(&test);
    assert_written(rig, lba, n);
    test_command_clear(&test);
    rig_free(rig);
}

static void
test_inside_one_block(void)
{
    check(3, 1);
}

static void
test_across_two_blocks(void)
{
    check(7, 2);
}

static void
test_partial_head_and_tail(void)
{
    check(5, 1000);
}

static void
test_partial_head_only(void)
{
    check(1, 7);
}

static void
test_several_segments(void)
{
    check(9, 3000);
}

static void
test_aligned_needs_no_lock(void)
{
    Rig *rig = new_rig(1);
    TestCommand test;

    start_write(&test, rig->nexus, 8, 16);
    test_assert_good(&test);
    g_assert_cmpuint(slow_n_done(rig->store, IO_READ), ==, 0);
    assert_written(rig, 8, 16);
    test_command_clear(&test);
    rig_free(rig);
}

static void
test_error_of_read(void)
{
    Rig *rig = new_rig(1);
    TestCommand test;

    slow_fail_next(rig->store, EIO);
    start_write(&test, rig->nexus, 3, 1);
    test_wait(rig, &test);
    test_assert_sense(&test, SENSE_WRITE_ERROR);
    test_command_clear(&test);

    start_write(&test, rig->nexus, 3, 1);
    test_wait(rig, &test);
    test_assert_good(&test);
    test_command_clear(&test);
    rig_free(rig);
}

/* Two initiators on two workers write different parts of one block: both parts are there */
static void
test_two_workers_one_block(void)
{
    Rig *rig = new_rig(2);
    Nexus *other = rig_new_nexus(rig, 1, 2);
    TestCommand a, b;

    start_write(&a, rig->nexus, 0, 3);
    start_write(&b, other, 3, 4);
    test_wait(rig, &a);
    test_wait(rig, &b);
    test_assert_good(&a);
    test_assert_good(&b);
    g_assert_cmpmem(slow_memory(rig->store), 3 * 512, pattern, 3 * 512);
    g_assert_cmpmem(slow_memory(rig->store) + 3 * 512, 4 * 512, pattern, 4 * 512);
    g_assert_cmphex(slow_memory(rig->store)[7 * 512], ==, 0xee);
    test_command_clear(&a);
    test_command_clear(&b);
    nexus_free(other);
    rig_free(rig);
}

/* A plain write that is in flight on another worker is waited for, and a later one is parked */
static void
test_plain_writes_keep_out(void)
{
    Rig *rig = new_rig(2);
    Nexus *other = rig_new_nexus(rig, 1, 2);
    TestCommand before, partial, after;

    slow_hold(rig->store, TRUE);
    start_write(&before, other, 8, 8);
    g_assert_cmpuint(slow_n_held(rig->store, 1), ==, 1);
    start_write(&partial, rig->nexus, 9, 1);
    rig_turn(rig);
    g_assert_cmpuint(slow_n_held(rig->store, 0), ==, 0);

    start_write(&after, other, 8, 8);
    g_assert_cmpint(after.command.state, ==, SCSI_STATE_BLOCKED);

    slow_release(rig->store, 1);
    test_assert_good(&before);
    rig_turn(rig);
    g_assert_cmpuint(slow_n_held(rig->store, 0), ==, 1); /* the read of the merge */
    g_assert_cmpint(after.command.state, ==, SCSI_STATE_BLOCKED);

    slow_hold(rig->store, FALSE);
    slow_release(rig->store, 0);
    test_wait(rig, &partial);
    test_wait(rig, &after);
    test_assert_good(&partial);
    test_assert_good(&after);
    test_command_clear(&before);
    test_command_clear(&partial);
    test_command_clear(&after);
    nexus_free(other);
    rig_free(rig);
}

static void
test_reads_go_on(void)
{
    Rig *rig = new_rig(1);
    TestCommand partial, read;

    slow_hold(rig->store, TRUE);
    start_write(&partial, rig->nexus, 9, 1);
    rig_turn(rig);
    test_command_init(&read, rig->nexus, 0, CDB(0x28, 0, 0, 0, 0, 9, 0, 0, 1, 0));
    read.command.expected_in = 512;
    test_start(&read);
    g_assert_cmpint(read.command.state, ==, SCSI_STATE_IO);
    slow_hold(rig->store, FALSE);
    slow_release(rig->store, 0);
    test_wait(rig, &partial);
    test_wait(rig, &read);
    test_command_clear(&partial);
    test_command_clear(&read);
    rig_free(rig);
}

/* More requests than slots, all overlapping and not: all end */
static void
test_many(void)
{
    Rig *rig = new_rig(2);
    Nexus *other = rig_new_nexus(rig, 1, 2);
    enum { N = 40 };
    g_autofree TestCommand *tests = g_new0(TestCommand, N);

    for (guint i = 0; i < N; i++)
        start_write(&tests[i], i % 2 ? other : rig->nexus, (i * 5) % 37 + (i % 3) * 100, 3);
    for (guint i = 0; i < N; i++) {
        test_wait(rig, &tests[i]);
        test_assert_good(&tests[i]);
        test_command_clear(&tests[i]);
    }
    rig_turn(rig);
    g_assert_false(range_lock_is_busy(rig->lu));
    nexus_free(other);
    rig_free(rig);
}

/* An abort waits for the home worker; the blocks stay whole */
static void
test_abort(void)
{
    Rig *rig = new_rig(2);
    Nexus *other = rig_new_nexus(rig, 1, 2);
    TestCommand test;

    slow_hold(rig->store, TRUE);
    start_write(&test, other, 9, 1);
    rig_turn(rig);
    g_assert_cmpuint(slow_n_held(rig->store, 0), ==, 1);
    scsi_command_abort(&test.command);
    g_assert_false(test.is_done);
    slow_hold(rig->store, FALSE);
    slow_release(rig->store, 0);
    test_wait(rig, &test);
    g_assert_true(test.command.aborted);
    rig_turn(rig);
    g_assert_false(range_lock_is_busy(rig->lu));
    test_command_clear(&test);
    nexus_free(other);
    rig_free(rig);
}

static void
test_empty_reserve_is_busy(void)
{
    Rig *rig = new_rig(1);
    Pool *pool = rig->workers[0]->pool;
    void *taken[64];
    guint n = 0;
    TestCommand test;

    start_write(&test, rig->nexus, 9, 1);
    while (n < G_N_ELEMENTS(taken) &&
           (taken[n] = pool_take_reserved(pool, POOL_BUFFER_MAX)) != NULL)
        n++;
    test_wait(rig, &test);
    g_assert_cmphex(test.command.status, ==, SCSI_BUSY);
    while (n > 0)
        pool_give(pool, taken[--n]);
    test_command_clear(&test);
    rig_turn(rig);
    g_assert_false(range_lock_is_busy(rig->lu));
    rig_free(rig);
}

int
main(int argc, char **argv)
{
    for (gsize i = 0; i < sizeof(pattern); i++)
        pattern[i] = (guint8)(i * 11 + (i >> 8) + 3);

    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add_func("/scsi/range-lock/" name, fn)
    ADD("inside-one-block", test_inside_one_block);
    ADD("across-two-blocks", test_across_two_blocks);
    ADD("partial-head-and-tail", test_partial_head_and_tail);
    ADD("partial-head-only", test_partial_head_only);
    ADD("several-segments", test_several_segments);
    ADD("aligned-needs-no-lock", test_aligned_needs_no_lock);
    ADD("error-of-read", test_error_of_read);
    ADD("two-workers-one-block", test_two_workers_one_block);
    ADD("plain-writes-keep-out", test_plain_writes_keep_out);
    ADD("reads-go-on", test_reads_go_on);
    ADD("many", test_many);
    ADD("abort", test_abort);
    ADD("empty-reserve-is-busy", test_empty_reserve_is_busy);
    return g_test_run();
}
