/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Unit attentions between nexuses, changes of the map, and the end of a logical unit. */

#include "scsi/nexus.h"

#include <string.h>

#include "fixture.h"

static void
run(Rig *rig, Nexus *nexus, TestCommand *test, guint8 opcode)
{
    guint8 length = opcode == 0x00 ? 0 : 96;

    (void)test_execute(rig, nexus, test, CDB(opcode, 0, 0, 0, length, 0), length, NULL, 0);
    test_command_clear(test);
}

static void
set_map(Nexus *nexus, const LunEntry *entries, guint n)
{
    LunMap *map = lun_map_new(entries, n);

    nexus_set_map(nexus, map);
    snapshot_unref(&map->snapshot);
}

static void
test_power_on_is_told_once(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    NexusConfig config = { .initiator_port_name = "x,i,0x1", .target_name = "y" };
    Nexus *nexus = nexus_new(rig->workers[0], &config, rig->map);
    TestCommand test;

    run(rig, nexus, &test, 0x12);
    test_assert_good(&test);
    run(rig, nexus, &test, 0x00);
    test_assert_sense(&test, SENSE_POWER_ON);
    run(rig, nexus, &test, 0x00);
    test_assert_good(&test);
    run(rig, rig->nexus, &test, 0x00);
    test_assert_good(&test);
    nexus_free(nexus);
    rig_free(rig);
}

static void
test_request_sense_takes_attention(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand test;

    unit_attention_raise(&rig->nexus->luns[0]->attentions, SENSE_CAPACITY_CHANGED);
    (void)test_execute(rig, rig->nexus, &test, CDB(0x03, 0, 0, 0, 252, 0), 252, NULL, 0);
    test_assert_good(&test);
    g_assert_cmphex(test.in->data[2], ==, 0x06);
    g_assert_cmphex(test.in->data[12], ==, 0x2a);
    g_assert_cmphex(test.in->data[13], ==, 0x09);
    test_command_clear(&test);
    run(rig, rig->nexus, &test, 0x00);
    test_assert_good(&test);
    rig_free(rig);
}

static void
test_report_luns_clears_its_attention(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand test;

    set_map(rig->nexus, (LunEntry[]){ { 0, rig->lu, FALSE }, { 1, rig->lu, FALSE } }, 2);
    (void)test_execute(rig, rig->nexus, &test, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0), 64,
                       NULL, 0);
    test_assert_good(&test);
    test_command_clear(&test);
    g_assert_cmpuint(rig->nexus->luns[0]->attentions.n, ==, 0);
    g_assert_cmpuint(rig->nexus->luns[1]->attentions.n, ==, 1);
    run(rig, rig->nexus, &test, 0x00);
    test_assert_good(&test);
    rig_free(rig);
}

static void
test_read_only_while_a_write_waits(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    guint8 block[512] = { 1 };
    TestCommand write, test;

    test_command_init(&write, rig->nexus, 0, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    write.out = block;
    write.n_out = sizeof(block);
    write.command.expected_out = sizeof(block);
    write.hold_data_out = TRUE;
    test_start(&write);
    set_map(rig->nexus, (LunEntry[]){ { 0, rig->lu, TRUE } }, 1);
    test_send_data(&write);
    test_wait(rig, &write);
    test_assert_sense(&write, SENSE_WRITE_PROTECTED);
    g_assert_cmpuint(slow_n_done(rig->store, IO_WRITE), ==, 0);
    test_command_clear(&write);

    run(rig, rig->nexus, &test, 0x00);
    test_assert_sense(&test, SENSE_MODE_PARAMETERS_CHANGED);
    run(rig, rig->nexus, &test, 0x00);
    test_assert_good(&test);
    set_map(rig->nexus, (LunEntry[]){ { 0, rig->lu, TRUE } }, 1);
    run(rig, rig->nexus, &test, 0x00);
    test_assert_good(&test);
    rig_free(rig);
}

static void
test_new_unit_appears(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand test;

    set_map(rig->nexus, (LunEntry[]){ { 0, rig->lu, FALSE }, { 1, rig->lu, FALSE } }, 2);
    run(rig, rig->nexus, &test, 0x00);
    test_assert_sense(&test, SENSE_REPORTED_LUNS_CHANGED);
    test_command_init(&test, rig->nexus, 1, CDB(0x00, 0, 0, 0, 0, 0));
    test_run(rig, &test);
    test_assert_sense(&test, SENSE_POWER_ON);
    test_command_clear(&test);
    rig_free(rig);
}

static void
test_unit_goes(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand test;

    set_map(rig->nexus, NULL, 0);
    run(rig, rig->nexus, &test, 0x00);
    test_assert_sense(&test, SENSE_LU_NOT_SUPPORTED);
    rig_free(rig);
}

static void
test_unit_goes_with_commands(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand in_flight, waiting;

    slow_hold(rig->store, TRUE);
    test_command_init(&in_flight, rig->nexus, 0, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    in_flight.command.expected_in = 512;
    test_start(&in_flight);
    test_command_init(&waiting, rig->nexus, 0, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    waiting.command.attribute = SCSI_ORDERED;
    test_start(&waiting);

    set_map(rig->nexus, NULL, 0);
    g_assert_true(waiting.is_done && waiting.command.aborted);
    g_assert_false(in_flight.is_done);
    g_assert_false(list_is_empty(&rig->nexus->leaving));

    slow_release(rig->store, 0);
    g_assert_true(in_flight.is_done && in_flight.command.aborted);
    g_assert_true(list_is_empty(&rig->nexus->leaving));
    test_command_clear(&in_flight);
    test_command_clear(&waiting);
    rig_free(rig);
}

static void
test_unit_is_replaced(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    LuConfig config = { .name = "other" };
    Lu *other = lu_new(&config, rig->store, rig->workers, 1, 0);
    TestCommand test;

    set_map(rig->nexus, (LunEntry[]){ { 0, other, FALSE } }, 1);
    run(rig, rig->nexus, &test, 0x00);
    test_assert_sense(&test, SENSE_POWER_ON);
    run(rig, rig->nexus, &test, 0x00);
    test_assert_sense(&test, SENSE_INQUIRY_DATA_CHANGED);
    run(rig, rig->nexus, &test, 0x00);
    test_assert_sense(&test, SENSE_REPORTED_LUNS_CHANGED);
    set_map(rig->nexus, NULL, 0);
    lu_free(other);
    rig_free(rig);
}

static void
test_sparse_luns(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });

    set_map(rig->nexus,
            (LunEntry[]){ { 1, rig->lu, FALSE }, { 5, rig->lu, FALSE }, { 300, rig->lu, FALSE } },
            3);
    g_assert_null(nexus_find_lun(rig->nexus, 0));
    g_assert_cmpuint(nexus_find_lun(rig->nexus, 1)->lun, ==, 1);
    g_assert_null(nexus_find_lun(rig->nexus, 2));
    g_assert_cmpuint(nexus_find_lun(rig->nexus, 5)->lun, ==, 5);
    g_assert_cmpuint(nexus_find_lun(rig->nexus, 300)->lun, ==, 300);
    g_assert_null(nexus_find_lun(rig->nexus, 16383));
    rig_free(rig);
}

static void
test_abort_all(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand tests[3];

    slow_hold(rig->store, TRUE);
    for (guint i = 0; i < 3; i++)
        test_command_init(&tests[i], rig->nexus, i == 2 ? 9 : 0,
                          CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    tests[0].command.expected_in = 512;
    test_start(&tests[0]);
    scsi_command_begin(&tests[1].command);
    scsi_command_begin(&tests[2].command); /* to no unit */
    g_assert_cmpuint(nexus_n_commands(rig->nexus), ==, 3);

    nexus_abort_all(rig->nexus);
    g_assert_true(tests[1].is_done && tests[2].is_done);
    g_assert_cmpuint(nexus_n_commands(rig->nexus), ==, 1);
    slow_release(rig->store, 0);
    g_assert_cmpuint(nexus_n_commands(rig->nexus), ==, 0);
    for (guint i = 0; i < 3; i++)
        test_command_clear(&tests[i]);
    rig_free(rig);
}

static void
on_released(Lu *lu, gpointer user_data)
{
    *(gboolean *)user_data = TRUE;
}

/* A unit is not released while a command of it is in flight */
static void
test_release_waits(void)
{
    Rig *rig = rig_new(&(RigConfig){ .n_workers = 2 });
    LuConfig config = { .name = "other" };
    Lu *other = lu_new(&config, rig->store, rig->workers, 2, 1);
    gboolean released = FALSE;
    TestCommand test;
    Mailbox mailbox;

    g_assert_true(mailbox_init(&mailbox, NULL));
    set_map(rig->nexus, (LunEntry[]){ { 0, rig->lu, FALSE }, { 1, other, FALSE } }, 2);
    rig->nexus->luns[1]->attentions.n = 0;
    slow_hold(rig->store, TRUE);
    test_command_init(&test, rig->nexus, 1, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    test.command.expected_in = 512;
    test_start(&test);

    set_map(rig->nexus, (LunEntry[]){ { 0, rig->lu, FALSE } }, 1);
    lu_release(other, &mailbox, on_released, &released);
    rig_turn(rig);
    (void)mailbox_drain(&mailbox);
    g_assert_false(released);

    slow_release(rig->store, 0);
    rig_turn(rig);
    (void)mailbox_drain(&mailbox);
    g_assert_true(released);
    lu_free(other);
    mailbox_deinit(&mailbox);
    test_command_clear(&test);
    rig_free(rig);
}

static void
test_attention_order(void)
{
    UnitAttentions a = { 0 };
    SenseCode code;

    unit_attention_raise(&a, SENSE_CAPACITY_CHANGED);
    unit_attention_raise(&a, SENSE_MODE_PARAMETERS_CHANGED);
    unit_attention_raise(&a, SENSE_CAPACITY_CHANGED);
    unit_attention_raise(&a, SENSE_POWER_ON);
    unit_attention_raise(&a, SENSE_LU_RESET);
    g_assert_cmpuint(a.n, ==, 3);
    g_assert_true(unit_attention_take(&a, &code));
    g_assert_cmpint(code, ==, SENSE_LU_RESET);
    g_assert_true(unit_attention_take(&a, &code));
    g_assert_cmpint(code, ==, SENSE_MODE_PARAMETERS_CHANGED);
    g_assert_true(unit_attention_take(&a, &code));
    g_assert_cmpint(code, ==, SENSE_CAPACITY_CHANGED);
    g_assert_false(unit_attention_take(&a, &code));
}

/* Whatever is raised, in whatever order, the queue stays inside its bounds */
static void
test_attentions_are_bounded(void)
{
    UnitAttentions a = { 0 };

    for (guint round = 0; round < 10; round++) {
        for (guint i = 0; i < SENSE_N; i++) {
            if (sense_info((SenseCode)i)->key == SENSE_KEY_UNIT_ATTENTION)
                unit_attention_raise(&a, (SenseCode)(i));
            g_assert_cmpuint(a.n, <=, UNIT_ATTENTION_MAX);
        }
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add_func("/scsi/nexus/" name, fn)
    ADD("power-on-is-told-once", test_power_on_is_told_once);
    ADD("request-sense-takes-attention", test_request_sense_takes_attention);
    ADD("report-luns-clears-its-attention", test_report_luns_clears_its_attention);
    ADD("read-only-while-a-write-waits", test_read_only_while_a_write_waits);
    ADD("new-unit-appears", test_new_unit_appears);
    ADD("unit-goes", test_unit_goes);
    ADD("unit-goes-with-commands", test_unit_goes_with_commands);
    ADD("unit-is-replaced", test_unit_is_replaced);
    ADD("sparse-luns", test_sparse_luns);
    ADD("abort-all", test_abort_all);
    ADD("release-waits", test_release_waits);
    ADD("attention-order", test_attention_order);
    ADD("attentions-are-bounded", test_attentions_are_bounded);
    return g_test_run();
}
