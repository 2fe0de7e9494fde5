/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* The pipeline: order of the gates, states, aborts in each of them, task ordering, buffers. */

#include <string.h>

#include "fixture.h"

static guint8 pattern[2 << 20];

static const guint8 read_one[] = { 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0 };
static const guint8 write_one[] = { 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0 };

static void
init_read(TestCommand *test, Nexus *nexus)
{
    test_command_init(test, nexus, 0, read_one, sizeof(read_one));
    test->command.expected_in = 512;
}

static void
init_write(TestCommand *test, Nexus *nexus)
{
    test_command_init(test, nexus, 0, write_one, sizeof(write_one));
    test->command.expected_out = 512;
    test->out = pattern;
    test->n_out = sizeof(pattern);
}

/* Nothing is left behind, and the transport was told once */
static void
assert_aborted(Rig *rig, TestCommand *test)
{
    g_assert_true(test->is_done);
    g_assert_true(test->command.aborted);
    g_assert_cmpuint(nexus_n_commands(rig->nexus), ==, 0);
    test_command_clear(test);
}

/*
 * Gates, pairwise: the earlier fault is the one that is told
 */

static void
test_unknown_operation(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand test;

    (void)test_execute(rig, rig->nexus, &test, CDB(0xff, 0, 0, 0, 0, 0), 0, NULL, 0);
    test_assert_sense(&test, SENSE_INVALID_OPCODE);
    test_command_clear(&test);
    rig_free(rig);
}

static void
test_unknown_service_action(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand test;

    (void)test_execute(rig, rig->nexus, &test, CDB(0x9e, 0x1f, 0, 0, 0, 0), 0, NULL, 0);
    test_assert_field(&test, TRUE, 1, 4);
    test_command_clear(&test);
    rig_free(rig);
}

static void
test_unknown_operation_before_attention(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand test;

    unit_attention_raise(&rig->nexus->luns[0]->attentions, SENSE_CAPACITY_CHANGED);
    (void)test_execute(rig, rig->nexus, &test, CDB(0xff, 0, 0, 0, 0, 0), 0, NULL, 0);
    test_assert_sense(&test, SENSE_INVALID_OPCODE);
    g_assert_cmpuint(rig->nexus->luns[0]->attentions.n, ==, 1);
    test_command_clear(&test);
    rig_free(rig);
}

static void
test_attention_before_cdb(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand test;

    unit_attention_raise(&rig->nexus->luns[0]->attentions, SENSE_CAPACITY_CHANGED);
    (void)test_execute(rig, rig->nexus, &test, CDB(0x28, 0xe0, 0, 0, 0, 0), 0, NULL, 0);
    test_assert_sense(&test, SENSE_CAPACITY_CHANGED);
    test_command_clear(&test);
    rig_free(rig);
}

static void
test_cdb_before_medium(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand test;

    (void)test_execute(rig, rig->nexus, &test, CDB(0x28, 0xe0, 0xff, 0xff, 0xff, 0xff), 0, NULL, 0);
    test_assert_field(&test, TRUE, 1, 7);
    test_command_clear(&test);
    rig_free(rig);
}

static void
test_no_unit(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand test;

    test_command_init(&test, rig->nexus, 5, read_one, sizeof(read_one));
    scsi_command_begin(&test.command);
    g_assert_cmpuint(test.command.data_out_length, ==, 0);
    g_assert_cmpuint(nexus_n_commands(rig->nexus), ==, 1);
    scsi_command_run(&test.command);
    test_assert_sense(&test, SENSE_LU_NOT_SUPPORTED);
    g_assert_cmpuint(nexus_n_commands(rig->nexus), ==, 0);
    test_command_clear(&test);
    rig_free(rig);
}

/* Whatever the operation is: nobody could support it there */
static void
test_no_unit_before_unknown_operation(void)
{
    static const guint8 cdbs[][SCSI_CDB_MAX] = { { 0xff }, { 0x9e, 0x1f } };
    Rig *rig = rig_new(&(RigConfig){ 0 });

    for (gsize i = 0; i < G_N_ELEMENTS(cdbs); i++) {
        TestCommand test;

        test_command_init(&test, rig->nexus, 5, cdbs[i], sizeof(cdbs[i]));
        test_start(&test);
        test_assert_sense(&test, SENSE_LU_NOT_SUPPORTED);
        test_command_clear(&test);
    }
    rig_free(rig);
}

static void
test_aca_is_refused(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand test;

    init_read(&test, rig->nexus);
    test.command.attribute = SCSI_ACA;
    test_run(rig, &test);
    test_assert_sense(&test, SENSE_INVALID_MESSAGE);
    test_command_clear(&test);
    rig_free(rig);
}

/*
 * Data-Out
 */

static void
test_data_out_length(void)
{
    static const struct {
        guint8 cdb[16];
        guint64 length;
    } cases[] = {
        { { 0x2a, 0, 0, 0, 0, 0, 0, 0, 3, 0 }, 1536 },
        { { 0x0a, 0, 0, 0, 0, 0 }, 131072 },
        { { 0x28, 0, 0, 0, 0, 0, 0, 0, 3, 0 }, 0 },
        { { 0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0 }, 24 },
        { { 0x41, 0, 0, 0, 0, 0, 0, 0, 9, 0 }, 512 },
        { { 0x93, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9 }, 0 },
        { { 0x2f, 0, 0, 0, 0, 0, 0, 0, 3, 0 }, 0 },
        { { 0x2f, 2, 0, 0, 0, 0, 0, 0, 3, 0 }, 1536 },
        { { 0x2f, 6, 0, 0, 0, 0, 0, 0, 3, 0 }, 512 },
    };
    Rig *rig = rig_new(&(RigConfig){ .slow = { .thin = TRUE } });

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        TestCommand test;

        test_command_init(&test, rig->nexus, 0, cases[i].cdb, 16);
        scsi_command_begin(&test.command);
        g_assert_cmpuint(test.command.data_out_length, ==, cases[i].length);
        scsi_command_abort(&test.command);
        test_command_clear(&test);
    }
    rig_free(rig);
}

static void
test_reserved_segment_is_used(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand test;
    guint8 *data;

    init_write(&test, rig->nexus);
    scsi_command_begin(&test.command);
    g_assert_true(scsi_command_reserve(&test.command));
    data = test.command.data;
    g_assert_nonnull(data);
    g_assert_cmpuint(test.command.data_length, ==, 512);
    memcpy(data, pattern, 512);

    test.hold_data_out = TRUE;
    scsi_command_run(&test.command);
    g_assert_cmpint(test.command.state, ==, SCSI_STATE_DATA_OUT);
    g_assert_true(test.command.data == data);
    g_assert_cmpuint(test.command.data_offset, ==, 0);
    scsi_command_data_out_ready(&test.command);
    test_assert_good(&test);
    g_assert_cmpmem(slow_memory(rig->store), 512, pattern, 512);
    test_command_clear(&test);
    rig_free(rig);
}

/* Whoever receives into a reserved buffer may go on until scsi_command_end() */
static void
test_reserved_segment_outlives_failure(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    gsize available = pool_available(rig->workers[0]->pool);
    TestCommand test;

    init_write(&test, rig->nexus);
    test.command.cdb[1] = 0x20;
    test.keep = TRUE;
    scsi_command_begin(&test.command);
    g_assert_true(scsi_command_reserve(&test.command));
    scsi_command_run(&test.command);
    test_assert_field(&test, TRUE, 1, 7);
    g_assert_nonnull(test.command.data);
    g_assert_cmpuint(pool_available(rig->workers[0]->pool), <, available);
    scsi_command_end(&test.command);
    g_assert_cmpuint(pool_available(rig->workers[0]->pool), ==, available);
    test_command_clear(&test);
    rig_free(rig);
}

static void
test_write_gives_its_buffer_back_early(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    gsize available = pool_available(rig->workers[0]->pool);
    TestCommand test;

    init_write(&test, rig->nexus);
    test.keep = TRUE;
    test_run(rig, &test);
    test_assert_good(&test);
    g_assert_cmpuint(pool_available(rig->workers[0]->pool), ==, available);
    scsi_command_end(&test.command);
    test_command_clear(&test);
    rig_free(rig);
}

static void
test_refuse(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand test;

    init_write(&test, rig->nexus);
    scsi_command_begin(&test.command);
    scsi_command_refuse(&test.command, SCSI_TASK_SET_FULL);
    g_assert_true(test.is_done);
    g_assert_cmphex(test.command.status, ==, SCSI_TASK_SET_FULL);
    g_assert_cmpuint(test.command.sense_length, ==, 0);
    test_command_clear(&test);
    rig_free(rig);
}

static void
test_fail_transport(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand test;

    init_write(&test, rig->nexus);
    test.hold_data_out = TRUE;
    test_start(&test);
    g_assert_cmpint(test.command.state, ==, SCSI_STATE_DATA_OUT);
    scsi_command_fail_transport(&test.command, SENSE_PROTOCOL_CRC_ERROR);
    test_assert_sense(&test, SENSE_PROTOCOL_CRC_ERROR);
    g_assert_cmpuint(slow_n_done(rig->store, IO_WRITE), ==, 0);
    test_command_clear(&test);
    rig_free(rig);
}

/*
 * Aborts, one for each state
 */

static void
test_abort_begun(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand test;

    init_write(&test, rig->nexus);
    scsi_command_begin(&test.command);
    g_assert_true(scsi_command_reserve(&test.command));
    scsi_command_abort(&test.command);
    assert_aborted(rig, &test);
    rig_free(rig);
}

static void
test_abort_data_out(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand test;

    init_write(&test, rig->nexus);
    test.hold_data_out = TRUE;
    test_start(&test);
    scsi_command_abort(&test.command);
    assert_aborted(rig, &test);
    rig_free(rig);
}

static void
test_abort_io(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand test;

    slow_hold(rig->store, TRUE);
    init_write(&test, rig->nexus);
    test_start(&test);
    g_assert_cmpint(test.command.state, ==, SCSI_STATE_IO);
    scsi_command_abort(&test.command);
    scsi_command_abort(&test.command);
    g_assert_false(test.is_done);
    slow_release(rig->store, 0);
    assert_aborted(rig, &test);
    rig_free(rig);
}

static void
test_abort_data_in(void)
{
    Rig *rig = rig_new(&(RigConfig){ .type = "ram", .size = 4 << 20 });
    TestCommand test;

    test_command_init(&test, rig->nexus, 0, CDB(0x28, 0, 0, 0, 0, 0, 0, 0x10, 0, 0));
    test.command.expected_in = 2 << 20;
    test.hold_data_in = TRUE;
    test.keep = TRUE;
    test_start(&test);
    g_assert_cmpint(test.command.state, ==, SCSI_STATE_DATA_IN);
    scsi_command_abort(&test.command);
    g_assert_true(test.is_done);
    g_assert_nonnull(test.command.data);
    scsi_command_data_in_sent(&test.command);
    scsi_command_end(&test.command);
    assert_aborted(rig, &test);
    rig_free(rig);
}

static void
test_abort_done(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand test;

    init_read(&test, rig->nexus);
    test.keep = TRUE;
    test_run(rig, &test);
    scsi_command_abort(&test.command);
    g_assert_false(test.command.aborted);
    test_assert_good(&test);
    scsi_command_end(&test.command);
    test_command_clear(&test);
    rig_free(rig);
}

/* The blocks of an aborted write are not touched before it has left the backstore */
static void
test_aborted_write_parks_overlapping(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand aborted, same, elsewhere;

    slow_hold(rig->store, TRUE);
    init_write(&aborted, rig->nexus);
    test_start(&aborted);
    scsi_command_abort(&aborted.command);

    init_read(&same, rig->nexus);
    test_start(&same);
    rig_turn(rig);
    g_assert_cmpint(same.command.state, ==, SCSI_STATE_BLOCKED);
    init_read(&elsewhere, rig->nexus);
    elsewhere.command.cdb[5] = 1;
    test_start(&elsewhere);
    g_assert_cmpint(elsewhere.command.state, ==, SCSI_STATE_IO);

    slow_hold(rig->store, FALSE);
    slow_release(rig->store, 0);
    g_assert_true(aborted.is_done);
    test_wait(rig, &same);
    test_assert_good(&same);
    g_assert_cmpmem(same.in->data, same.in->len, pattern, 512);
    test_wait(rig, &elsewhere);
    test_command_clear(&aborted);
    test_command_clear(&same);
    test_command_clear(&elsewhere);
    rig_free(rig);
}

static void
test_abort_parked(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand aborted, parked;

    slow_hold(rig->store, TRUE);
    init_write(&aborted, rig->nexus);
    test_start(&aborted);
    scsi_command_abort(&aborted.command);
    init_write(&parked, rig->nexus);
    test_start(&parked);
    g_assert_cmpint(parked.command.state, ==, SCSI_STATE_BLOCKED);
    scsi_command_abort(&parked.command);
    g_assert_true(parked.is_done);
    slow_release(rig->store, 0);
    rig_turn(rig);
    test_command_clear(&parked);
    assert_aborted(rig, &aborted);
    rig_free(rig);
}

/*
 * Buffers
 */

static void
test_read_waits_for_buffer(void)
{
    Rig *rig = rig_new(&(RigConfig){ .pool_size = 5 << 20, .pool_reserve = 4 << 20 });
    Pool *pool = rig->workers[0]->pool;
    void *all = pool_take(pool, POOL_BUFFER_MAX);
    TestCommand test;

    g_assert_nonnull(all);
    init_read(&test, rig->nexus);
    test_start(&test);
    rig_turn(rig);
    g_assert_cmpint(test.command.state, ==, SCSI_STATE_BLOCKED);
    pool_give(pool, all);
    test_wait(rig, &test);
    test_assert_good(&test);
    test_command_clear(&test);
    rig_free(rig);
}

static void
test_abort_of_buffer_wait(void)
{
    Rig *rig = rig_new(&(RigConfig){ .pool_size = 5 << 20, .pool_reserve = 4 << 20 });
    Pool *pool = rig->workers[0]->pool;
    void *all = pool_take(pool, POOL_BUFFER_MAX);
    TestCommand test;

    init_read(&test, rig->nexus);
    test_start(&test);
    scsi_command_abort(&test.command);
    assert_aborted(rig, &test);
    pool_give(pool, all);
    rig_free(rig);
}

/* Between the buffer's arrival and the turn of the run queue */
static void
test_abort_after_buffer_came(void)
{
    Rig *rig = rig_new(&(RigConfig){ .pool_size = 5 << 20, .pool_reserve = 4 << 20 });
    Pool *pool = rig->workers[0]->pool;
    void *all = pool_take(pool, POOL_BUFFER_MAX);
    gsize available;
    TestCommand test;

    init_read(&test, rig->nexus);
    test_start(&test);
    pool_give(pool, all);
    scsi_command_abort(&test.command);
    assert_aborted(rig, &test);
    available = pool_available(pool);
    g_assert_cmpuint(available, ==, POOL_BUFFER_MAX);
    rig_turn(rig);
    rig_free(rig);
}

static void
test_reserve_of_empty_pool(void)
{
    Rig *rig = rig_new(&(RigConfig){ .pool_size = 5 << 20, .pool_reserve = 4 << 20 });
    Pool *pool = rig->workers[0]->pool;
    void *all = pool_take(pool, POOL_BUFFER_MAX);
    TestCommand test;

    init_write(&test, rig->nexus);
    scsi_command_begin(&test.command);
    g_assert_false(scsi_command_reserve(&test.command));
    scsi_command_refuse(&test.command, SCSI_TASK_SET_FULL);
    test_command_clear(&test);
    pool_give(pool, all);
    rig_free(rig);
}

/* Many more commands than buffers: all end, one after the other */
static void
test_pool_exhaustion(void)
{
    Rig *rig = rig_new(&(RigConfig){
        .type = "ram", .size = 4 << 20, .pool_size = 6 << 20, .pool_reserve = 4 << 20 });
    enum { N = 64 };
    g_autofree TestCommand *tests = g_new0(TestCommand, N);

    for (guint i = 0; i < N; i++) {
        gboolean write = i % 2;

        test_command_init(&tests[i], rig->nexus, 0,
                          CDB((guint8)(write ? 0x2a : 0x28), 0, 0, 0, 0, (guint8)i, 0, 0x04, 0, 0));
        tests[i].command.expected_in = write ? 0 : 512 << 10;
        tests[i].command.expected_out = write ? 512 << 10 : 0;
        tests[i].out = pattern;
        tests[i].n_out = sizeof(pattern);
        tests[i].hold_data_out = TRUE;
        test_start(&tests[i]);
    }

    for (guint round = 0; round < 100; round++) {
        for (guint i = 0; i < N; i++) {
            if (tests[i].command.state == SCSI_STATE_DATA_OUT)
                test_send_data(&tests[i]);
        }
        rig_turn(rig);
    }

    for (guint i = 0; i < N; i++) {
        test_assert_good(&tests[i]);
        test_command_clear(&tests[i]);
    }
    rig_free(rig);
}

/*
 * Task ordering
 */

typedef struct {
    Rig *rig;
    TestCommand tests[5];
    guint counter;
    guint n;
} Ordering;

static Ordering *
ordering_new(void)
{
    Ordering *o = g_new0(Ordering, 1);

    o->rig = rig_new(&(RigConfig){ 0 });
    slow_hold(o->rig->store, TRUE);
    return o;
}

static void
ordering_add(Ordering *o, ScsiTaskAttribute attribute)
{
    TestCommand *test = &o->tests[o->n];

    init_read(test, o->rig->nexus);
    test->command.cdb[5] = (guint8)o->n++;
    test->command.attribute = attribute;
    test->counter = &o->counter;
    test_start(test);
}

static gboolean
ordering_is_running(const Ordering *o, guint i)
{
    return o->tests[i].command.state == SCSI_STATE_IO;
}

static void
ordering_round(Ordering *o)
{
    slow_release(o->rig->store, 0);
    rig_turn(o->rig);
}

static void
ordering_free(Ordering *o)
{
    for (guint i = 0; i < 10; i++)
        ordering_round(o);
    for (guint i = 0; i < o->n; i++) {
        g_assert_true(o->tests[i].is_done);
        test_command_clear(&o->tests[i]);
    }
    rig_free(o->rig);
    g_free(o);
}

static void
test_ordered_waits_for_older(void)
{
    Ordering *o = ordering_new();

    ordering_add(o, SCSI_SIMPLE);
    ordering_add(o, SCSI_ORDERED);
    ordering_add(o, SCSI_SIMPLE);
    g_assert_true(ordering_is_running(o, 0));
    g_assert_false(ordering_is_running(o, 1));
    g_assert_false(ordering_is_running(o, 2));
    ordering_round(o);
    g_assert_true(ordering_is_running(o, 1));
    g_assert_false(ordering_is_running(o, 2));
    ordering_round(o);
    g_assert_true(ordering_is_running(o, 2));
    ordering_free(o);
}

static void
test_simple_run_together(void)
{
    Ordering *o = ordering_new();

    ordering_add(o, SCSI_SIMPLE);
    ordering_add(o, SCSI_SIMPLE);
    g_assert_true(ordering_is_running(o, 0) && ordering_is_running(o, 1));
    ordering_free(o);
}

static void
test_head_of_queue_overtakes(void)
{
    Ordering *o = ordering_new();

    ordering_add(o, SCSI_SIMPLE);
    ordering_add(o, SCSI_ORDERED);
    ordering_add(o, SCSI_HEAD_OF_QUEUE);
    ordering_add(o, SCSI_SIMPLE);
    g_assert_true(ordering_is_running(o, 2));
    ordering_round(o);
    g_assert_true(ordering_is_running(o, 1));
    g_assert_false(ordering_is_running(o, 3));
    ordering_free(o);
}

static void
test_simple_waits_for_head_of_queue(void)
{
    Ordering *o = ordering_new();

    ordering_add(o, SCSI_HEAD_OF_QUEUE);
    ordering_add(o, SCSI_SIMPLE);
    g_assert_false(ordering_is_running(o, 1));
    ordering_round(o);
    g_assert_true(ordering_is_running(o, 1));
    ordering_free(o);
}

static void
test_abort_of_ordered_lets_others_go(void)
{
    Ordering *o = ordering_new();

    ordering_add(o, SCSI_SIMPLE);
    ordering_add(o, SCSI_ORDERED);
    ordering_add(o, SCSI_SIMPLE);
    scsi_command_abort(&o->tests[1].command);
    rig_turn(o->rig);
    g_assert_true(o->tests[1].is_done);
    g_assert_true(ordering_is_running(o, 2));
    ordering_free(o);
}

static void
test_ordering_is_per_nexus(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    Nexus *other = rig_new_nexus(rig, 0, 2);
    TestCommand a, b, c;

    slow_hold(rig->store, TRUE);
    init_read(&a, rig->nexus);
    test_start(&a);
    init_read(&b, rig->nexus);
    b.command.attribute = SCSI_ORDERED;
    test_start(&b);
    init_read(&c, other);
    test_start(&c);
    g_assert_cmpint(b.command.state, ==, SCSI_STATE_BLOCKED);
    g_assert_cmpint(c.command.state, ==, SCSI_STATE_IO);
    slow_hold(rig->store, FALSE);
    slow_release(rig->store, 0);
    test_wait(rig, &b);
    test_command_clear(&a);
    test_command_clear(&b);
    test_command_clear(&c);
    nexus_free(other);
    rig_free(rig);
}

/*
 * Statistics
 */

static void
test_statistics(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand test;
    LuStatistics s;

    init_write(&test, rig->nexus);
    test_run(rig, &test);
    test_command_clear(&test);

    slow_hold(rig->store, TRUE);
    init_read(&test, rig->nexus);
    test_start(&test);
    clock_advance(&rig->clock, 100);
    rig_turn(rig);
    slow_release(rig->store, 0);
    test_command_clear(&test);

    (void)test_execute(rig, rig->nexus, &test, CDB(0xff, 0, 0, 0, 0, 0), 0, NULL, 0);
    test_command_clear(&test);
    unit_attention_raise(&rig->nexus->luns[0]->attentions, SENSE_CAPACITY_CHANGED);
    (void)test_execute(rig, rig->nexus, &test, CDB(0, 0, 0, 0, 0, 0), 0, NULL, 0);
    test_command_clear(&test);

    lu_get_statistics(rig->lu, 0, &s);
    g_assert_cmpuint(s.n_commands, ==, 4);
    g_assert_cmpuint(s.n_reads, ==, 1);
    g_assert_cmpuint(s.n_writes, ==, 1);
    g_assert_cmpuint(s.bytes_read, ==, 512);
    g_assert_cmpuint(s.bytes_written, ==, 512);
    g_assert_cmpuint(s.n_errors, ==, 1);
    g_assert_cmpuint(s.latency[0], ==, 3);
    g_assert_cmpuint(s.latency[6], ==, 1);
    rig_free(rig);
}

int
main(int argc, char **argv)
{
    for (gsize i = 0; i < sizeof(pattern); i++)
        pattern[i] = (guint8)(i * 11 + 3);

    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add_func("/scsi/command/" name, fn)
    ADD("unknown-operation", test_unknown_operation);
    ADD("unknown-service-action", test_unknown_service_action);
    ADD("unknown-operation-before-attention", test_unknown_operation_before_attention);
    ADD("attention-before-cdb", test_attention_before_cdb);
    ADD("cdb-before-medium", test_cdb_before_medium);
    ADD("no-unit", test_no_unit);
    ADD("no-unit-before-unknown-operation", test_no_unit_before_unknown_operation);
    ADD("aca-is-refused", test_aca_is_refused);
    ADD("data-out-length", test_data_out_length);
    ADD("reserved-segment-is-used", test_reserved_segment_is_used);
    ADD("reserved-segment-outlives-failure", test_reserved_segment_outlives_failure);
    ADD("write-gives-its-buffer-back-early", test_write_gives_its_buffer_back_early);
    ADD("refuse", test_refuse);
    ADD("fail-transport", test_fail_transport);
    ADD("abort-begun", test_abort_begun);
    ADD("abort-data-out", test_abort_data_out);
    ADD("abort-io", test_abort_io);
    ADD("abort-data-in", test_abort_data_in);
    ADD("abort-done", test_abort_done);
    ADD("aborted-write-parks-overlapping", test_aborted_write_parks_overlapping);
    ADD("abort-parked", test_abort_parked);
    ADD("read-waits-for-buffer", test_read_waits_for_buffer);
    ADD("abort-of-buffer-wait", test_abort_of_buffer_wait);
    ADD("abort-after-buffer-came", test_abort_after_buffer_came);
    ADD("reserve-of-empty-pool", test_reserve_of_empty_pool);
    ADD("pool-exhaustion", test_pool_exhaustion);
    ADD("ordered-waits-for-older", test_ordered_waits_for_older);
    ADD("simple-run-together", test_simple_run_together);
    ADD("head-of-queue-overtakes", test_head_of_queue_overtakes);
    ADD("simple-waits-for-head-of-queue", test_simple_waits_for_head_of_queue);
    ADD("abort-of-ordered-lets-others-go", test_abort_of_ordered_lets_others_go);
    ADD("ordering-is-per-nexus", test_ordering_is_per_nexus);
    ADD("statistics", test_statistics);
    return g_test_run();
}
