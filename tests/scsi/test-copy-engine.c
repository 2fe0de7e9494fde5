/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Copy engine
 *
 * Mostly two slow stores that can copy from one another, so that the test sees
 * who does the copying, holds it in the middle and does something to it. What
 * a piece of the store is, how many of them there are and in which order is
 * told from the requests that the stores have got.
 */

#include "copy-fixture.h"

#include <errno.h>
#include <string.h>

#include "backstore/fault.h"
#include "scsi/tmf.h"
#include "util/bytes.h"

#define N_8_MIB 16384 /* blocks: the first piece that the store copies */

static const SlowConfig copying = { .size = 40 * MIB, .copies = TRUE };
static const SlowConfig plain = { .size = 40 * MIB };

static void
assert_copied(const Copy *c, guint64 from, guint64 to, guint64 n_blocks)
{
    g_assert_true(memcmp(slow_memory(c->rig->store) + from * 512, slow_memory(c->store) + to * 512,
                         n_blocks * 512) == 0);
}

static void
assert_untouched(const Copy *c, guint64 lba, guint64 n_blocks)
{
    const guint8 *p = slow_memory(c->store) + lba * 512;

    for (guint64 i = 0; i < n_blocks * 512; i++)
        g_assert_cmpint(p[i], ==, 0);
}

/* LUN 0 to LUN 1 from the first block on, as much as two or three pieces of the store */
static void
add_24_mib(Copy *c)
{
    copy_make_list(c);
    copy_add_segment(c, 0, 1, N_8_MIB, 0, 0);
    copy_add_segment(c, 0, 1, 2 * N_8_MIB, N_8_MIB, N_8_MIB);
}

static void
start(Copy *c, TestCommand *test, guint8 action)
{
    copy_prepare(c, test, action);
    test_start(test);
    rig_turn(c->rig);
}

static void
hold(Copy *c)
{
    slow_hold(c->rig->store, TRUE);
    slow_hold(c->store, TRUE);
}

static void
release(Copy *c)
{
    for (guint i = 0; i < c->rig->n_workers; i++) {
        slow_release(c->rig->store, i);
        slow_release(c->store, i);
    }
    rig_turn(c->rig);
}

static void
let_go(Copy *c)
{
    slow_hold(c->rig->store, FALSE);
    slow_hold(c->store, FALSE);
    for (guint i = 0; i < 4; i++)
        release(c);
}

/*
 * By the stores
 */

static void
test_store_copies(void)
{
    LuStatistics source, destination;
    BackstoreStatistics written, read;
    Copy c;
    TestCommand test;

    copy_init_slow(&c, &copying, 1, 0);
    copy_fill(&c);
    add_24_mib(&c);
    copy_run(&c, &test, 0);
    test_assert_good(&test);
    test_command_clear(&test);

    assert_copied(&c, 0, 0, 3 * N_8_MIB);
    assert_untouched(&c, 3 * N_8_MIB, 2 * N_8_MIB);
    g_assert_cmpuint(slow_n_done(c.store, IO_COPY), ==, 2);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_READ), ==, 0);
    g_assert_cmpuint(slow_n_done(c.store, IO_WRITE), ==, 0);

    lu_get_statistics(c.rig->lu, 0, &source);
    lu_get_statistics(c.lu, 0, &destination);
    g_assert_cmpuint(source.bytes_read, ==, 24 * MIB);
    g_assert_cmpuint(destination.bytes_written, ==, 24 * MIB);
    backstore_get_statistics(c.rig->store, 0, &read);
    backstore_get_statistics(c.store, 0, &written);
    g_assert_cmpuint(read.bytes_read, ==, 24 * MIB);
    g_assert_cmpuint(written.bytes_written, ==, 24 * MIB);
    copy_clear(&c);
}

/* Asked once, not for every segment, and not an error */
static void
test_store_cannot(void)
{
    BackstoreStatistics statistics;
    Copy c;
    TestCommand test;

    copy_init_slow(&c, &copying, 1, 0);
    copy_fill(&c);
    add_24_mib(&c);
    slow_fail_next(c.store, EXDEV);
    copy_run(&c, &test, 0);
    test_assert_good(&test);
    test_command_clear(&test);

    assert_copied(&c, 0, 0, 3 * N_8_MIB);
    g_assert_cmpuint(slow_n_done(c.store, IO_COPY), ==, 1);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_READ), ==, 24);
    backstore_get_statistics(c.store, 0, &statistics);
    g_assert_cmpuint(statistics.n_errors, ==, 0);
    g_assert_cmpuint(c.rig->n_events, ==, 0);
    copy_clear(&c);
}

/* Only the piece that has failed goes the plain way, which here has no trouble */
static void
test_store_error(void)
{
    Copy c;
    TestCommand test;

    copy_init_slow(&c, &copying, 1, 0);
    copy_fill(&c);
    add_24_mib(&c);
    slow_fail_next(c.store, EIO);
    copy_run(&c, &test, 0);
    test_assert_good(&test);
    test_command_clear(&test);

    assert_copied(&c, 0, 0, 3 * N_8_MIB);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_READ), ==, 8);
    g_assert_cmpuint(slow_n_done(c.store, IO_COPY), >, 1);
    copy_clear(&c);
}

static void
test_no_space(void)
{
    Copy c;
    TestCommand test;

    copy_init_slow(&c, &copying, 1, 0);
    add_24_mib(&c);
    slow_fail_next(c.store, ENOSPC);
    copy_run(&c, &test, 0);
    test_assert_sense(&test, SENSE_THIRD_PARTY_DEVICE_FAILURE);
    test_command_clear(&test);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_READ), ==, 0);
    copy_clear(&c);
}

/* Both off by one block: what is whole in between goes by the store */
static void
test_edges_are_plain(void)
{
    Copy c;
    TestCommand test;

    copy_init_slow(&c, &copying, 1, 0);
    copy_fill(&c);
    copy_make_list(&c);
    copy_add_segment(&c, 0, 1, 40, 1, 17);
    copy_run(&c, &test, 0);
    test_assert_good(&test);
    test_command_clear(&test);

    assert_copied(&c, 1, 17, 40);
    assert_untouched(&c, 0, 17);
    assert_untouched(&c, 57, 64);
    g_assert_cmpuint(slow_n_done(c.store, IO_COPY), ==, 1);
    g_assert_cmpuint(slow_n_done(c.store, IO_WRITE), ==, 2);
    copy_clear(&c);
}

static void
test_misaligned_is_plain(void)
{
    Copy c;
    TestCommand test;

    copy_init_slow(&c, &copying, 1, 0);
    copy_fill(&c);
    copy_make_list(&c);
    copy_add_segment(&c, 0, 1, 400, 1, 3);
    copy_run(&c, &test, 0);
    test_assert_good(&test);
    test_command_clear(&test);

    assert_copied(&c, 1, 3, 400);
    g_assert_cmpuint(slow_n_done(c.store, IO_COPY), ==, 0);
    copy_clear(&c);
}

/*
 * Gates
 */

static void
test_unit_masked(void)
{
    Copy c;
    TestCommand test;

    copy_init_slow(&c, &copying, 1, 0);
    copy_fill(&c);
    add_24_mib(&c);
    hold(&c);
    start(&c, &test, 0);
    g_assert_cmpuint(slow_n_held(c.store, 0), ==, 1);
    copy_set_map(c.nexus, (LunEntry[]){ { 1, c.lu, FALSE } }, 1); /* without the source */
    let_go(&c);
    g_assert_true(test.is_done);
    test_command_clear(&test);
    assert_untouched(&c, 2 * N_8_MIB, N_8_MIB);
    g_assert_cmpuint(nexus_n_commands(c.nexus), ==, 0);
    copy_clear(&c);
}

/* Who reserves the destination in the middle waits for the piece under way, and no other follows */
static void
test_reserved_in_the_middle(void)
{
    Copy c;
    TestCommand test, reserve;
    Nexus *other;

    copy_init_slow(&c, &copying, 1, 0);
    copy_fill(&c);
    add_24_mib(&c);
    other = rig_new_nexus(c.rig, 0, 2);
    copy_set_map(other, (LunEntry[]){ { 1, c.lu, FALSE } }, 1);
    hold(&c);
    start(&c, &test, 0);
    test_command_init(&reserve, other, 1, CDB(0x16, 0, 0, 0, 0, 0));
    test_start(&reserve);
    rig_turn(c.rig);
    g_assert_false(reserve.is_done);

    let_go(&c);
    g_assert_true(reserve.is_done);
    test_assert_good(&reserve);
    test_assert_sense(&test, SENSE_THIRD_PARTY_DEVICE_FAILURE);
    g_assert_cmpint(get_be16(test.command.sense + 10), ==, 1); /* the segment */
    assert_copied(&c, 0, 0, N_8_MIB);
    assert_untouched(&c, N_8_MIB, 2 * N_8_MIB);
    test_command_clear(&test);
    test_command_clear(&reserve);

    test_command_init(&reserve, other, 1, CDB(0x17, 0, 0, 0, 0, 0));
    test_run(c.rig, &reserve);
    test_assert_good(&reserve);
    test_command_clear(&reserve);
    nexus_free(other);
    copy_clear(&c);
}

static void
test_write_protected(void)
{
    Copy c;
    TestCommand test;

    copy_init_slow(&c, &copying, 1, 0);
    copy_set_map(c.nexus, (LunEntry[]){ { 0, c.rig->lu, FALSE }, { 1, c.lu, TRUE } }, 2);
    add_24_mib(&c);
    copy_run(&c, &test, 0);
    test_assert_sense(&test, SENSE_THIRD_PARTY_DEVICE_FAILURE);
    test_command_clear(&test);
    g_assert_cmpuint(slow_n_done(c.store, IO_COPY), ==, 0);
    copy_clear(&c);
}

static void
assert_tmf_ends_copy(TmfFunction function, guint lun)
{
    Copy c;
    TestCommand test;
    TestManagement tmf;

    copy_init_slow(&c, &copying, 1, 0);
    copy_fill(&c);
    add_24_mib(&c);
    hold(&c);
    start(&c, &test, 0);
    test_manage(&tmf, function, c.nexus, lun, NULL);
    rig_turn(c.rig);
    g_assert_false(tmf.is_done);
    let_go(&c);
    g_assert_true(tmf.is_done);
    g_assert_true(test.is_done);
    g_assert_true(test.command.status != SCSI_GOOD);
    test_command_clear(&test);
    g_assert_cmpuint(slow_n_done(c.store, IO_COPY), ==, 1);
    assert_untouched(&c, N_8_MIB, 2 * N_8_MIB);
    g_assert_cmpuint(nexus_n_commands(c.nexus), ==, 0);
    copy_clear(&c);
}

static void
test_task_management(void)
{
    assert_tmf_ends_copy(TMF_ABORT_TASK_SET, 0);
    assert_tmf_ends_copy(TMF_ABORT_TASK_SET, 1);
    assert_tmf_ends_copy(TMF_LOGICAL_UNIT_RESET, 0);
    assert_tmf_ends_copy(TMF_LOGICAL_UNIT_RESET, 1);
}

/* COMPARE AND WRITE of zeros over zeros, one block each */
static void
start_compare_and_write(Copy *c, TestCommand *test, guint lun, guint64 lba, guint n_blocks)
{
    static const guint8 zeros[2 * 255 * 512];
    guint8 cdb[16] = { 0x89 };

    put_be64(cdb + 2, lba);
    cdb[13] = (guint8)n_blocks;
    test_command_init(test, c->nexus, lun, cdb, sizeof(cdb));
    test->out = zeros;
    test->n_out = (gsize)2 * n_blocks * 512;
    test->command.expected_out = (guint32)test->n_out;
    test_start(test);
    rig_turn(c->rig);
}

/*
 * A range lock that covers the end of the source and the beginning of the destination of a copy inside of
 * one unit: whoever is first, the other one comes after, and nobody waits for ever
 */
static void
test_range_lock_over_both(void)
{
    Copy c;
    TestCommand test, lock;

    copy_init_slow(&c, &copying, 2, 0);
    copy_make_list(&c);
    copy_add_segment(&c, 0, 0, 256, 0, 256);
    hold(&c);
    start(&c, &test, 0);
    start_compare_and_write(&c, &lock, 0, 200, 100);
    let_go(&c);
    g_assert_true(lock.is_done);
    test_assert_good(&lock);
    test_assert_good(&test);
    test_command_clear(&lock);
    test_command_clear(&test);

    hold(&c);
    start_compare_and_write(&c, &lock, 0, 200, 100);
    start(&c, &test, 0);
    g_assert_cmpuint(slow_n_held(c.rig->store, 0) + slow_n_held(c.rig->store, 1), ==, 1);
    let_go(&c);
    g_assert_true(lock.is_done);
    g_assert_true(test.is_done);
    test_assert_good(&lock);
    test_assert_good(&test);
    test_command_clear(&lock);
    test_command_clear(&test);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_COPY), ==, 2);
    copy_clear(&c);
}

/* Parked behind a lock on one unit, it is not in flight on the other, and can be aborted at once */
static void
test_abort_while_parked(void)
{
    Copy c;
    TestCommand test, lock;

    copy_init_slow(&c, &copying, 1, 0);
    hold(&c);
    start_compare_and_write(&c, &lock, 1, 0, 8);
    add_24_mib(&c);
    start(&c, &test, 0);
    g_assert_false(test.is_done);
    g_assert_cmpuint(slow_n_held(c.store, 0), ==, 1);
    scsi_command_abort(&test.command);
    rig_turn(c.rig);
    g_assert_true(test.is_done);
    g_assert_true(test.command.aborted);
    test_command_clear(&test);

    let_go(&c);
    test_assert_good(&lock);
    test_command_clear(&lock);
    g_assert_cmpuint(slow_n_done(c.store, IO_COPY), ==, 0);
    copy_clear(&c);
}

/*
 * Order
 */

/* As memmove() would, from @from to @to on LUN 0 */
static void
assert_moves(guint64 from, guint64 to, guint n_blocks)
{
    g_autofree guint8 *expected = g_malloc(40 * MIB);
    Copy c;
    TestCommand test;

    copy_init_slow(&c, &copying, 1, 0);
    copy_fill(&c);
    memcpy(expected, slow_memory(c.rig->store), 40 * MIB);
    memmove(expected + to * 512, expected + from * 512, (gsize)n_blocks * 512);
    copy_make_list(&c);
    copy_add_segment(&c, 0, 0, n_blocks, from, to);
    copy_run(&c, &test, 0);
    test_assert_good(&test);
    test_command_clear(&test);
    g_assert_true(memcmp(slow_memory(c.rig->store), expected, 40 * MIB) == 0);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_COPY), ==, 0);
    copy_clear(&c);
}

static void
test_overlap(void)
{
    assert_moves(0, 8, 20000);
    assert_moves(8, 0, 20000);
    assert_moves(0, 16384, 20000);
    assert_moves(16384, 1, 20000);
    assert_moves(5, 5, 5000);
}

/* Each segment copies what the one before has written */
static void
assert_chain(const SlowConfig *config)
{
    Copy c;
    TestCommand test;

    copy_init_slow(&c, config, 1, 0);
    copy_fill(&c);
    copy_make_list(&c);
    copy_add_segment(&c, 0, 1, 4096, 0, 0);
    copy_add_segment(&c, 1, 1, 4096, 0, 4096);
    copy_add_segment(&c, 1, 0, 4096, 4096, 40000);
    copy_add_segment(&c, 0, 1, 4096, 40000, 8192);
    copy_run(&c, &test, 0);
    test_assert_good(&test);
    test_command_clear(&test);
    assert_copied(&c, 0, 8192, 4096);
    copy_clear(&c);
}

static void
test_chain(void)
{
    assert_chain(&copying);
    assert_chain(&plain);
}

/*
 * Plainly
 */

static void
test_lanes(void)
{
    Copy c;
    TestCommand test;

    copy_init_slow(&c, &plain, 1, 0);
    copy_fill(&c);
    add_24_mib(&c);
    hold(&c);
    start(&c, &test, 0);
    g_assert_cmpuint(slow_n_held(c.rig->store, 0), ==, COPY_MAX_LANES);
    release(&c);
    g_assert_cmpuint(slow_n_held(c.store, 0), ==, COPY_MAX_LANES); /* the WRITEs of these */
    let_go(&c);
    for (guint i = 0; i < 32; i++)
        rig_turn(c.rig);
    g_assert_true(test.is_done);
    test_assert_good(&test);
    test_command_clear(&test);
    assert_copied(&c, 0, 0, 3 * N_8_MIB);
    copy_clear(&c);
}

/* With a pool of a few buffers one lane does it all */
static void
test_small_pool(void)
{
    Copy c;
    TestCommand test;
    PoolStatistics pool;
    void *taken[3];

    copy_init_slow(&c, &plain, 1, 8 * MIB);
    for (gsize i = 0; i < G_N_ELEMENTS(taken); i++)
        taken[i] = pool_take(c.rig->workers[0]->pool, POOL_BUFFER_MAX);
    copy_fill(&c);
    add_24_mib(&c);
    hold(&c);
    start(&c, &test, 0);
    pool_get_statistics(c.rig->workers[0]->pool, &pool);
    g_assert_cmpuint(pool.n_waiting, ==, 0);
    g_assert_cmpuint(slow_n_held(c.rig->store, 0), ==, 1);
    let_go(&c);
    test_wait(c.rig, &test);
    test_assert_good(&test);
    test_command_clear(&test);
    assert_copied(&c, 0, 0, 3 * N_8_MIB);
    for (gsize i = 0; i < G_N_ELEMENTS(taken); i++)
        pool_give(c.rig->workers[0]->pool, taken[i]);
    copy_clear(&c);
}

/* A copy that waits for a buffer that does not come ends at once when it is aborted */
static void
test_abort_without_buffer(void)
{
    void *taken[64];
    guint n = 0;
    Copy c;
    TestCommand test;

    copy_init_slow(&c, &plain, 1, 8 * MIB);
    add_24_mib(&c);
    copy_prepare(&c, &test, 0);
    test.hold_data_out = TRUE;
    test_start(&test);
    while (n < G_N_ELEMENTS(taken) &&
           (taken[n] = pool_take(c.rig->workers[0]->pool, POOL_BUFFER_MAX)) != NULL)
        n++;
    test_send_data(&test);
    taken[n] = pool_take(c.rig->workers[0]->pool, POOL_BUFFER_MAX); /* that of the list */
    g_assert_nonnull(taken[n++]);
    rig_turn(c.rig);
    g_assert_false(test.is_done);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_READ), ==, 0);
    scsi_command_abort(&test.command);
    rig_turn(c.rig);
    g_assert_true(test.is_done);
    g_assert_true(test.command.aborted);
    test_command_clear(&test);
    for (guint i = 0; i < n; i++)
        pool_give(c.rig->workers[0]->pool, taken[i]);
    copy_clear(&c);
}

/* Of several under way the first segment that fails is told, and the bytes that are copied */
static void
test_write_error(void)
{
    g_autoptr(GByteArray) status = NULL;
    Copy c;
    TestCommand test;

    copy_init_slow(&c, &plain, 1, 0);
    copy_fill(&c);
    copy_make_list(&c);
    for (guint i = 0; i < 4; i++)
        copy_add_segment(&c, 0, 1, 2048, 2048 * i, 2048 * i);
    hold(&c);
    start(&c, &test, 0);
    slow_release(c.rig->store, 0);
    rig_turn(c.rig);
    slow_fail_next(c.store, EIO); /* the WRITE of the first segment */
    let_go(&c);
    test_assert_sense(&test, SENSE_THIRD_PARTY_DEVICE_FAILURE);
    g_assert_cmpint(get_be16(test.command.sense + 10), ==, 0);
    test_command_clear(&test);
    status = copy_receive(&c, 0x05, 7);
    g_assert_cmpint(status->data[5], ==, 0x02);
    g_assert_cmpuint(get_be64(status->data + 16), ==, 3 * MIB);
    g_assert_cmpint(get_be16(status->data + 24), ==, 0);
    copy_clear(&c);
}

/*
 * In the background
 */

#define IMMED   0x01
#define G_SENSE 0x02

static void
start_in_background(Copy *c)
{
    TestCommand test;

    copy_fill(c);
    copy_make_lid4(c);
    c->list[15] = IMMED;
    copy_add_segment(c, 1, 2, N_8_MIB, 0, 0);
    copy_add_segment(c, 1, 2, 2 * N_8_MIB, N_8_MIB, N_8_MIB);
    hold(c);
    copy_run(c, &test, 1);
    test_assert_good(&test);
    g_assert_cmpint(test.command.sense_length, ==, 0);
    test_command_clear(&test);
    rig_turn(c->rig);
    g_assert_cmpuint(slow_n_held(c->store, 0), ==, 1);
}

static guint8
background_status(Copy *c)
{
    g_autoptr(GByteArray) status = copy_receive(c, 0x05, 0x01020304);

    return status->data[5];
}

static void
test_background(void)
{
    g_autoptr(GByteArray) middle = NULL;
    g_autoptr(GByteArray) end = NULL;
    Copy c;

    copy_init_slow(&c, &copying, 1, 0);
    start_in_background(&c);
    g_assert_cmpint(background_status(&c), ==, 0x12);
    release(&c);
    middle = copy_receive(&c, 0x05, 0x01020304);
    g_assert_cmpint(middle->data[5], ==, 0x12);
    g_assert_cmpuint(get_be64(middle->data + 16), ==, 8 * MIB);
    g_assert_cmpint(get_be16(middle->data + 24), ==, 1);

    let_go(&c);
    end = copy_receive(&c, 0x05, 0x01020304);
    g_assert_cmpint(end->data[5], ==, 0x01);
    g_assert_cmpuint(get_be64(end->data + 16), ==, 24 * MIB);
    g_assert_cmpint(get_be16(end->data + 24), ==, 2);
    assert_copied(&c, 0, 0, 3 * N_8_MIB);
    g_assert_cmpuint(nexus_n_commands(c.nexus), ==, 0);
    copy_clear(&c);
}

/* It keeps no ORDERED command waiting */
static void
test_background_is_not_ordered(void)
{
    Copy c;
    TestCommand ordered;

    copy_init_slow(&c, &copying, 1, 0);
    start_in_background(&c);
    for (guint lun = 0; lun < 2; lun++) {
        test_command_init(&ordered, c.nexus, lun, CDB(0, 0, 0, 0, 0, 0));
        ordered.command.attribute = SCSI_ORDERED;
        test_run(c.rig, &ordered);
        test_assert_good(&ordered);
        test_command_clear(&ordered);
    }
    let_go(&c);
    g_assert_cmpint(background_status(&c), ==, 0x01);
    copy_clear(&c);
}

static void
test_background_stopped(void)
{
    Copy c;
    TestCommand stop;

    copy_init_slow(&c, &copying, 1, 0);
    start_in_background(&c);
    test_command_init(&stop, c.nexus, 0, CDB(0x83, 0x1c, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    test_start(&stop);
    rig_turn(c.rig);
    g_assert_false(stop.is_done);
    let_go(&c);
    g_assert_true(stop.is_done);
    test_assert_good(&stop);
    test_command_clear(&stop);
    g_assert_cmpint(background_status(&c), ==, 0x60);
    assert_untouched(&c, N_8_MIB, 2 * N_8_MIB);
    copy_clear(&c);
}

/* What it failed of is told by RECEIVE COPY STATUS only */
static void
test_background_fails(void)
{
    g_autoptr(GByteArray) status = NULL;
    Copy c;

    copy_init_slow(&c, &copying, 1, 0);
    start_in_background(&c);
    slow_fail_next(c.store, ENOSPC);
    let_go(&c);
    status = copy_receive(&c, 0x05, 0x01020304);
    g_assert_cmpint(status->data[5], ==, 0x02);
    g_assert_cmpint(status->data[12], ==, SCSI_CHECK_CONDITION);
    g_assert_cmpint(status->data[14], >, 0);
    g_assert_cmpint(status->data[32 + 12], ==, sense_info(SENSE_THIRD_PARTY_DEVICE_FAILURE)->asc);
    copy_clear(&c);
}

/* A reset of the unit that was asked, although nothing is copied there */
static void
test_background_reset(void)
{
    Copy c;
    TestCommand test;
    TestManagement tmf;

    copy_init_slow(&c, &copying, 1, 0);
    copy_fill(&c);
    copy_make_lid4(&c);
    c.list[15] = IMMED;
    copy_add_segment(&c, 2, 2, N_8_MIB, 0, 2 * N_8_MIB);
    hold(&c);
    copy_run(&c, &test, 1);
    test_assert_good(&test);
    test_command_clear(&test);
    test_manage(&tmf, TMF_LOGICAL_UNIT_RESET, c.nexus, 0, NULL);
    rig_turn(c.rig);
    g_assert_false(tmf.is_done);
    let_go(&c);
    g_assert_true(tmf.is_done);
    c.nexus->luns[0]->attentions.n = 0;
    g_assert_cmpint(background_status(&c), ==, 0x60);
    copy_clear(&c);
}

/* Nothing goes on, and the nexus that comes back is told of nothing */
static void
test_background_nexus_loss(void)
{
    TestCommand status;
    Nexus *again;
    Copy c;

    copy_init_slow(&c, &copying, 1, 0);
    start_in_background(&c);
    nexus_abort_all(c.nexus);
    g_assert_cmpuint(nexus_n_commands(c.nexus), >, 0);
    let_go(&c);
    g_assert_cmpuint(nexus_n_commands(c.nexus), ==, 0);
    assert_untouched(&c, N_8_MIB, 2 * N_8_MIB);

    again = rig_new_nexus(c.rig, 0, 1);
    (void)test_execute(c.rig, again, &status,
                       CDB(0x84, 0x05, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0), 256, NULL, 0);
    test_assert_field(&status, TRUE, 2, 7);
    test_command_clear(&status);
    nexus_free(again);
    copy_clear(&c);
}

static void
on_left(gpointer user_data)
{
    *(gboolean *)user_data = TRUE;
}

/* Who closes a session knows of no command that still runs for it */
static void
test_background_nexus_leaves(void)
{
    gboolean has_left = FALSE;
    Copy c;

    copy_init_slow(&c, &copying, 1, 0);
    start_in_background(&c);
    g_assert_false(nexus_leave(c.nexus, on_left, &has_left));
    rig_turn(c.rig);
    g_assert_false(has_left);
    let_go(&c);
    g_assert_true(has_left);
    g_assert_cmpuint(nexus_n_commands(c.nexus), ==, 0);
    assert_untouched(&c, N_8_MIB, 2 * N_8_MIB);
    copy_clear(&c);
}

static void
prepare_reserve_out(TestCommand *test, Nexus *nexus, guint8 action, guint64 key, guint64 action_key,
                    guint8 list[24])
{
    memset(list, 0, 24);
    put_be64(list, key);
    put_be64(list + 8, action_key);
    test_command_init(test, nexus, 0, CDB(0x5f, action, 5, 0, 0, 0, 0, 0, 24, 0));
    test->command.expected_out = 24;
    test->out = list;
    test->n_out = 24;
}

static void
register_key(Copy *c, Nexus *nexus, guint64 key)
{
    TestCommand test;
    guint8 list[24];

    prepare_reserve_out(&test, nexus, 0, 0, key, list);
    test_run(c->rig, &test);
    test_assert_good(&test);
    test_command_clear(&test);
}

/* PREEMPT AND ABORT is answered when nothing of the copy is under way any more */
static void
test_background_preempted(void)
{
    Copy c;
    Nexus *other;
    TestCommand preempt;
    guint8 list[24];

    copy_init_slow(&c, &copying, 1, 0);
    other = rig_new_nexus(c.rig, 0, 2);
    register_key(&c, c.nexus, 0xa1);
    register_key(&c, other, 0xb1);
    start_in_background(&c);
    prepare_reserve_out(&preempt, other, 5, 0xb1, 0xa1, list);
    test_start(&preempt);
    rig_turn(c.rig);
    g_assert_false(preempt.is_done);
    let_go(&c);
    g_assert_true(preempt.is_done);
    test_assert_good(&preempt);
    test_command_clear(&preempt);
    assert_untouched(&c, N_8_MIB, 2 * N_8_MIB);

    c.nexus->luns[0]->attentions.n = 0;
    g_assert_cmpint(background_status(&c), ==, 0x60);
    nexus_free(other);
    copy_clear(&c);
}

/* The unit that was asked is replaced by one that is not ready, and reset: the copy, which went on
 * between other units, has ended when that is answered */
static void
test_background_is_reset_after_replacement(void)
{
    const SlowConfig slow = { .size = 4 * MIB };
    const BackstoreConfig gone = { .name = "disk", .size = 4 * MIB, .fd = -1 };
    LuConfig config = { .name = "disk", .not_ready = SENSE_NOT_READY_MANUAL };
    g_autoptr(GError) error = NULL;
    Backstore *absent;
    TestCommand test;
    TestManagement tmf;
    Copy c;
    Lu *lu;

    copy_init_slow(&c, &slow, 1, 0);
    memcpy(config.uuid, rig_uuid, sizeof(rig_uuid));
    absent = backstore_open_absent(&gone, NULL, c.rig->offload, c.rig->n_workers, &error);
    g_assert_no_error(error);
    lu = lu_new(&config, absent, c.rig->workers, c.rig->n_workers, 0);
    copy_make_lid4(&c);
    copy_add_segment(&c, 2, 2, 64, 8, 1000);
    c.list[15] = IMMED;
    slow_hold(c.store, TRUE);
    copy_run(&c, &test, 0x01);
    test_assert_good(&test);
    test_command_clear(&test);
    rig_turn(c.rig);
    g_assert_cmpuint(slow_n_held(c.store, 0), ==, 1); /* the READ */

    copy_set_map(c.nexus, (LunEntry[]){ { 0, lu, FALSE }, { 1, c.lu, FALSE } }, 2);
    rig_turn(c.rig);
    test_manage(&tmf, TMF_LOGICAL_UNIT_RESET, c.nexus, 0, NULL);
    rig_turn(c.rig);
    g_assert_false(tmf.is_done);
    slow_hold(c.store, FALSE);
    slow_release(c.store, 0);
    rig_turn(c.rig);
    g_assert_true(tmf.is_done);
    g_assert_cmpuint(slow_n_done(c.store, IO_WRITE), ==, 0);

    copy_set_map(c.nexus, (LunEntry[]){ { 0, c.rig->lu, FALSE }, { 1, c.lu, FALSE } }, 2);
    rig_turn(c.rig);
    lu_free(lu);
    backstore_close(absent);
    copy_clear(&c);
}

/* The unit that was asked goes away: the copy with it */
static void
test_background_unit_vanishes(void)
{
    Copy c;

    copy_init_slow(&c, &copying, 1, 0);
    start_in_background(&c);
    copy_set_map(c.nexus, (LunEntry[]){ { 1, c.lu, FALSE } }, 1);
    let_go(&c);
    g_assert_cmpuint(nexus_n_commands(c.nexus), ==, 0);
    assert_untouched(&c, N_8_MIB, 2 * N_8_MIB);
    copy_clear(&c);
}

/* Another one with its name in the place of the destination: perhaps another medium in the same drive */
static void
test_destination_is_replaced(void)
{
    const LuConfig config = { .name = "other", .uuid = { 1 } };
    Backstore *store;
    TestCommand test;
    Copy c;
    Lu *lu;

    copy_init_slow(&c, &plain, 1, 0);
    copy_fill(&c);
    store = rig_open_slow(c.rig, &plain);
    lu = lu_new(&config, store, c.rig->workers, c.rig->n_workers, 0);
    g_assert_true(lu_is_same_unit(lu, c.lu));

    add_24_mib(&c);
    hold(&c);
    start(&c, &test, 0);
    copy_set_map(c.nexus, (LunEntry[]){ { 0, c.rig->lu, FALSE }, { 1, lu, FALSE } }, 2);
    let_go(&c);
    test_wait(c.rig, &test);
    test_assert_sense(&test, SENSE_COPY_TARGET_NOT_REACHABLE);
    g_assert_cmpuint(slow_n_done(store, IO_WRITE), ==, 0);
    test_command_clear(&test);

    copy_set_map(c.nexus, (LunEntry[]){ { 0, c.rig->lu, FALSE }, { 1, c.lu, FALSE } }, 2);
    rig_turn(c.rig);
    lu_free(lu);
    backstore_close(store);
    copy_clear(&c);
}

/* The list has to wait for a buffer, and meanwhile another unit takes the place of the one that was asked */
static void
test_background_unit_is_replaced_before(void)
{
    LuConfig same = { .name = "disk" };
    void *taken[4096];
    guint n = 0;
    Backstore *store;
    TestCommand test;
    Pool *pool;
    Copy c;
    Lu *lu;

    copy_init_slow(&c, &plain, 1, 8 * MIB);
    memcpy(same.uuid, rig_uuid, sizeof(same.uuid));
    store = rig_open_slow(c.rig, &plain);
    lu = lu_new(&same, store, c.rig->workers, c.rig->n_workers, 0);
    g_assert_true(lu_is_same_unit(lu, c.rig->lu));

    pool = c.rig->workers[0]->pool;
    for (gsize size = POOL_BUFFER_MAX; size >= POOL_BUFFER_MIN; size /= 2) {
        while (n < G_N_ELEMENTS(taken) && (taken[n] = pool_take(pool, size)) != NULL)
            n++;
    }
    copy_make_lid4(&c);
    c.list[15] = IMMED;
    copy_add_segment(&c, 2, 2, 8, 0, 8);
    start(&c, &test, 1);
    g_assert_cmpint(test.command.state, ==, SCSI_STATE_BLOCKED);
    copy_set_map(c.nexus, (LunEntry[]){ { 0, lu, FALSE }, { 1, c.lu, FALSE } }, 2);
    while (n > 0)
        pool_give(pool, taken[--n]);
    test_wait(c.rig, &test);
    test_assert_sense(&test, SENSE_NOT_READY_BECOMING_READY);
    test_command_clear(&test);

    copy_set_map(c.nexus, (LunEntry[]){ { 0, c.rig->lu, FALSE }, { 1, c.lu, FALSE } }, 2);
    rig_turn(c.rig);
    lu_free(lu);
    backstore_close(store);
    copy_clear(&c);
}

/* What rules say about reads of the source holds for a copy as well */
static void
test_source_with_faults(void)
{
    const FaultRule rule = { .kinds = FAULT_KIND(IO_READ), .error = EIO, .chance = FAULT_CERTAIN };
    g_autoptr(FaultSet) faults = fault_set_new(&rule, 1);
    TestCommand test;
    Copy c;

    copy_init_slow(&c, &copying, 1, 0);
    backstore_begin_with_faults(c.rig->store, faults);
    add_24_mib(&c);
    copy_run(&c, &test, 0);
    test_assert_sense(&test, SENSE_THIRD_PARTY_DEVICE_FAILURE);
    g_assert_cmpuint(slow_n_done(c.store, IO_COPY), ==, 0);
    test_command_clear(&test);
    copy_clear(&c);
}

/* Nobody makes us remember more copies than we say */
static void
test_background_is_bounded(void)
{
    Copy c;
    TestCommand test;

    copy_init_slow(&c, &copying, 1, 0);
    hold(&c);
    for (guint i = 0; i <= COPY_MAX_CONCURRENT; i++) {
        copy_make_lid4(&c);
        c.list[15] = IMMED;
        c.list[23] = (guint8)i;
        copy_add_segment(&c, 1, 2, 8, 8 * i, 8 * i);
        copy_run(&c, &test, 1);
        g_assert_cmpint(test.command.status, ==, i < COPY_MAX_CONCURRENT ? SCSI_GOOD : SCSI_BUSY);
        test_command_clear(&test);
    }
    g_assert_cmpuint(c.nexus->n_copies, ==, COPY_MAX_CONCURRENT);
    let_go(&c);
    g_assert_cmpuint(c.nexus->n_copies, ==, 0);
    g_assert_cmpuint(c.nexus->scsi->n_copies, ==, 0);
    copy_clear(&c);
}

static void
assert_completed(const TestCommand *test, guint n_segments)
{
    g_assert_cmpint(test->command.status, ==, SCSI_GOOD);
    g_assert_cmpint(sense_key_of(test->command.sense), ==, SENSE_KEY_COMPLETED);
    g_assert_cmpint(get_be16(test->command.sense + 12), ==, 0x0020);
    g_assert_cmpuint(get_be32(test->command.sense + 8), ==, n_segments);
}

static void
test_good_with_sense(void)
{
    Copy c;
    TestCommand test;

    copy_init_slow(&c, &copying, 1, 0);
    copy_make_lid4(&c);
    c.list[15] = G_SENSE;
    copy_add_segment(&c, 1, 2, 8, 0, 0);
    copy_add_segment(&c, 1, 2, 8, 8, 8);
    copy_run(&c, &test, 1);
    assert_completed(&test, 2);
    test_command_clear(&test);

    c.list[15] = G_SENSE | IMMED; /* nothing was processed when the status was made */
    copy_run(&c, &test, 1);
    assert_completed(&test, 0);
    test_command_clear(&test);
    rig_turn(c.rig);
    copy_clear(&c);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, function) g_test_add_func("/scsi/copy-engine/" name, function)
    ADD("store-copies", test_store_copies);
    ADD("store-cannot", test_store_cannot);
    ADD("store-error", test_store_error);
    ADD("no-space", test_no_space);
    ADD("edges-are-plain", test_edges_are_plain);
    ADD("misaligned-is-plain", test_misaligned_is_plain);
    ADD("unit-masked", test_unit_masked);
    ADD("reserved-in-the-middle", test_reserved_in_the_middle);
    ADD("write-protected", test_write_protected);
    ADD("task-management", test_task_management);
    ADD("range-lock-over-both", test_range_lock_over_both);
    ADD("abort-while-parked", test_abort_while_parked);
    ADD("overlap", test_overlap);
    ADD("chain", test_chain);
    ADD("lanes", test_lanes);
    ADD("small-pool", test_small_pool);
    ADD("abort-without-buffer", test_abort_without_buffer);
    ADD("write-error", test_write_error);
    ADD("background", test_background);
    ADD("background-is-not-ordered", test_background_is_not_ordered);
    ADD("background-stopped", test_background_stopped);
    ADD("background-fails", test_background_fails);
    ADD("background-reset", test_background_reset);
    ADD("background-nexus-loss", test_background_nexus_loss);
    ADD("background-nexus-leaves", test_background_nexus_leaves);
    ADD("background-preempted", test_background_preempted);
    ADD("background-is-reset-after-replacement", test_background_is_reset_after_replacement);
    ADD("background-unit-vanishes", test_background_unit_vanishes);
    ADD("destination-is-replaced", test_destination_is_replaced);
    ADD("background-unit-is-replaced-before", test_background_unit_is_replaced_before);
    ADD("source-with-faults", test_source_with_faults);
    ADD("background-is-bounded", test_background_is_bounded);
    ADD("good-with-sense", test_good_with_sense);
    return g_test_run();
}
