/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Another size while initiators use the unit: told once to each, used at once, nothing beyond the end */

#include <string.h>

#include "fixture.h"
#include "util/bytes.h"

#define MIB   ((guint64)1 << 20)
#define LAST  0x7ff /* block of 1 MiB */
#define BLOCK 512

typedef struct {
    Rig *rig;
    Nexus *other; /* on the second worker */
    Mailbox mailbox;
    guint n_done;
    gboolean success;
} Resize;

static void
set_up(Resize *resize, const char *type)
{
    *resize = (Resize){ 0 };
    g_assert_true(mailbox_init(&resize->mailbox, NULL));
    resize->rig = rig_new(&(RigConfig){ .n_workers = 2, .type = type });
    resize->other = rig_new_nexus(resize->rig, 1, 2);
}

static void
tear_down(Resize *resize)
{
    nexus_free(resize->other);
    mailbox_deinit(&resize->mailbox);
    rig_free(resize->rig);
}

static void
on_resized(Lu *lu, gboolean success, gpointer user_data)
{
    Resize *resize = user_data;

    (void)lu;
    resize->n_done++;
    resize->success = success;
}

static void
on_reset(Lu *lu, gpointer user_data)
{
    Resize *resize = user_data;

    (void)lu;
    resize->n_done++;
}

static void
turn(Resize *resize)
{
    rig_turn(resize->rig);
    (void)mailbox_drain(&resize->mailbox);
}

static void
set_size(Resize *resize, guint64 size)
{
    lu_set_size(resize->rig->lu, size, &resize->mailbox, on_resized, resize);
    turn(resize);
}

static void
run_read(Resize *resize, Nexus *nexus, TestCommand *test, guint32 lba)
{
    guint8 cdb[10] = { 0x28, [8] = 1 };

    put_be32(cdb + 2, lba);
    (void)test_execute(resize->rig, nexus, test, cdb, sizeof(cdb), BLOCK, NULL, 0);
    test_command_clear(test);
}

static void
assert_ready(Resize *resize, Nexus *nexus, SenseCode code)
{
    TestCommand test;

    (void)test_execute(resize->rig, nexus, &test, CDB(0, 0, 0, 0, 0, 0), 0, NULL, 0);
    test_command_clear(&test);
    if (code == SENSE_NONE)
        test_assert_good(&test);
    else
        test_assert_sense(&test, code);
}

static guint32
last_block(Resize *resize, Nexus *nexus)
{
    TestCommand test;
    guint32 last;

    (void)test_execute(resize->rig, nexus, &test, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), 8, NULL, 0);
    test_assert_good(&test);
    last = get_be32(test.in->data);
    test_command_clear(&test);
    return last;
}

static void
test_growth_is_told_once(void)
{
    Resize resize;
    TestCommand test;

    set_up(&resize, "ram");
    g_assert_true(backstore_resize(resize.rig->store, 2 * MIB, NULL));
    run_read(&resize, resize.other, &test, LAST + 1);
    test_assert_sense(&test, SENSE_LBA_OUT_OF_RANGE);
    set_size(&resize, 2 * MIB);
    g_assert_true(resize.success);

    assert_ready(&resize, resize.rig->nexus, SENSE_CAPACITY_CHANGED);
    assert_ready(&resize, resize.rig->nexus, SENSE_NONE);
    assert_ready(&resize, resize.other, SENSE_CAPACITY_CHANGED);
    assert_ready(&resize, resize.other, SENSE_NONE);
    g_assert_cmphex(last_block(&resize, resize.other), ==, 2 * LAST + 1);
    run_read(&resize, resize.other, &test, 2 * LAST + 1);
    test_assert_good(&test);
    run_read(&resize, resize.rig->nexus, &test, LAST + 1);
    test_assert_good(&test);
    tear_down(&resize);
}

static void
test_same_size_is_not_told(void)
{
    Resize resize;

    set_up(&resize, "ram");
    set_size(&resize, MIB);
    g_assert_true(resize.success);
    assert_ready(&resize, resize.rig->nexus, SENSE_NONE);
    tear_down(&resize);
}

static void
test_size_survives_a_reset(void)
{
    Resize resize;

    set_up(&resize, "ram");
    set_size(&resize, MIB / 2);
    lu_reset(resize.rig->lu, &resize.mailbox, on_reset, &resize);
    turn(&resize);
    g_assert_cmpuint(resize.n_done, ==, 2);
    assert_ready(&resize, resize.other, SENSE_LU_RESET);
    assert_ready(&resize, resize.other, SENSE_CAPACITY_CHANGED);
    g_assert_cmphex(last_block(&resize, resize.other), ==, LAST / 2);
    tear_down(&resize);
}

static void
test_shrinking_waits_for_what_is_beyond(void)
{
    Resize resize;
    TestCommand beyond, inside, late;

    set_up(&resize, NULL);
    slow_hold(resize.rig->store, TRUE);
    test_command_init(&beyond, resize.other, 0, CDB(0x28, 0, 0, 0, 0x07, 0xff, 0, 0, 1, 0));
    beyond.command.expected_in = BLOCK;
    test_start(&beyond);
    test_command_init(&inside, resize.rig->nexus, 0, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    inside.command.expected_in = BLOCK;
    test_start(&inside);
    set_size(&resize, MIB / 2);
    g_assert_cmpuint(resize.n_done, ==, 0);

    slow_release(resize.rig->store, 1);
    turn(&resize);
    g_assert_cmpuint(resize.n_done, ==, 1);
    g_assert_true(resize.success);
    test_assert_good(&beyond);
    g_assert_false(inside.is_done);
    slow_hold(resize.rig->store, FALSE);
    slow_release(resize.rig->store, 0);
    test_wait(resize.rig, &inside);
    test_assert_good(&inside);

    assert_ready(&resize, resize.other, SENSE_CAPACITY_CHANGED);
    run_read(&resize, resize.other, &late, LAST);
    test_assert_sense(&late, SENSE_LBA_OUT_OF_RANGE);
    run_read(&resize, resize.other, &late, LAST / 2);
    test_assert_good(&late);
    test_command_clear(&beyond);
    test_command_clear(&inside);
    tear_down(&resize);
}

/* It passed the gates when its blocks were there still */
static void
test_a_write_that_waited_for_its_data_is_refused(void)
{
    Resize resize;
    TestCommand test;
    guint8 block[BLOCK] = { 1 };

    set_up(&resize, NULL);
    test_command_init(&test, resize.other, 0, CDB(0x2a, 0, 0, 0, 0x07, 0xff, 0, 0, 1, 0));
    test.out = block;
    test.n_out = sizeof(block);
    test.command.expected_out = sizeof(block);
    test.hold_data_out = TRUE;
    test_start(&test);
    set_size(&resize, MIB / 2);
    g_assert_cmpuint(resize.n_done, ==, 1);
    test_send_data(&test);
    test_wait(resize.rig, &test);
    test_assert_sense(&test, SENSE_LBA_OUT_OF_RANGE);
    g_assert_cmpuint(slow_n_done(resize.rig->store, IO_WRITE), ==, 0);
    test_command_clear(&test);
    tear_down(&resize);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/scsi/resize/growth-is-told-once", test_growth_is_told_once);
    g_test_add_func("/scsi/resize/same-size-is-not-told", test_same_size_is_not_told);
    g_test_add_func("/scsi/resize/size-survives-a-reset", test_size_survives_a_reset);
    g_test_add_func("/scsi/resize/shrinking-waits-for-what-is-beyond",
                    test_shrinking_waits_for_what_is_beyond);
    g_test_add_func("/scsi/resize/a-write-that-waited-for-its-data-is-refused",
                    test_a_write_that_waited_for_its_data_is_refused);
    return g_test_run();
}
