/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "scsi/tmf.h"

#include <string.h>

#include "fixture.h"

typedef struct {
    ScsiTmf tmf;
    gboolean is_done;
} TestTmf;

static void
on_tmf_done(ScsiTmf *tmf)
{
    list_entry(tmf, TestTmf, tmf)->is_done = TRUE;
}

static void
tmf_start(TestTmf *test, TmfFunction function, Nexus *nexus, guint lun, ScsiCommand *command)
{
    memset(test, 0, sizeof(*test));
    test->tmf.function = function;
    test->tmf.nexus = nexus;
    test->tmf.lun[1] = (guint8)lun;
    test->tmf.command = command;
    test->tmf.done = on_tmf_done;
    scsi_tmf_start(&test->tmf);
}

static void
assert_response(const TestTmf *test, TmfResponse response)
{
    g_assert_true(test->is_done);
    g_assert_cmpint(test->tmf.response, ==, response);
}

static void
start_read(TestCommand *test, Nexus *nexus, guint lba)
{
    test_command_init(test, nexus, 0, CDB(0x28, 0, 0, 0, 0, (guint8)lba, 0, 0, 1, 0));
    test->command.expected_in = 512;
    test_start(test);
}

static void
test_abort_task(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand a, b;
    TestTmf tmf;

    slow_hold(rig->store, TRUE);
    start_read(&a, rig->nexus, 0);
    start_read(&b, rig->nexus, 1);
    tmf_start(&tmf, TMF_ABORT_TASK, rig->nexus, 0, &a.command);
    g_assert_false(tmf.is_done);
    slow_release(rig->store, 0);
    assert_response(&tmf, TMF_COMPLETE);
    g_assert_true(a.command.aborted);
    test_assert_good(&b);
    test_command_clear(&a);
    test_command_clear(&b);
    rig_free(rig);
}

/* Other aborted commands do not hold an ABORT TASK up */
static void
test_abort_task_waits_for_its_own(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand a, b;
    TestTmf tmf_a, tmf_b;

    slow_hold(rig->store, TRUE);
    start_read(&a, rig->nexus, 0);
    test_command_init(&b, rig->nexus, 0, CDB(0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0));
    scsi_command_begin(&b.command);
    tmf_start(&tmf_a, TMF_ABORT_TASK, rig->nexus, 0, &a.command);
    tmf_start(&tmf_b, TMF_ABORT_TASK, rig->nexus, 0, &b.command);
    assert_response(&tmf_b, TMF_COMPLETE);
    g_assert_false(tmf_a.is_done);
    slow_release(rig->store, 0);
    assert_response(&tmf_a, TMF_COMPLETE);
    test_command_clear(&a);
    test_command_clear(&b);
    rig_free(rig);
}

static void
test_abort_of_no_task(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestTmf tmf;

    tmf_start(&tmf, TMF_ABORT_TASK, rig->nexus, 0, NULL);
    assert_response(&tmf, TMF_NO_SUCH_TASK);
    rig_free(rig);
}

static void
test_no_such_lun(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestTmf tmf;

    tmf_start(&tmf, TMF_LOGICAL_UNIT_RESET, rig->nexus, 3, NULL);
    assert_response(&tmf, TMF_NO_SUCH_LUN);
    tmf_start(&tmf, TMF_ABORT_TASK_SET, rig->nexus, 3, NULL);
    assert_response(&tmf, TMF_NO_SUCH_LUN);
    rig_free(rig);
}

static void
test_clear_aca(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestTmf tmf;

    tmf_start(&tmf, TMF_CLEAR_ACA, rig->nexus, 0, NULL);
    assert_response(&tmf, TMF_NOT_SUPPORTED);
    rig_free(rig);
}

static void
check_task_set(TmfFunction function)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    Nexus *other = rig_new_nexus(rig, 0, 2);
    TestCommand a, b, c;
    TestTmf tmf;

    slow_hold(rig->store, TRUE);
    start_read(&a, rig->nexus, 0);
    test_command_init(&b, rig->nexus, 0, CDB(0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0));
    scsi_command_begin(&b.command);
    start_read(&c, other, 2);

    tmf_start(&tmf, function, rig->nexus, 0, NULL);
    g_assert_true(b.is_done && b.command.aborted);
    g_assert_false(tmf.is_done);
    slow_release(rig->store, 0);
    assert_response(&tmf, TMF_COMPLETE);
    g_assert_true(a.command.aborted);
    test_assert_good(&c);
    g_assert_cmpuint(other->luns[0]->attentions.n, ==, 0);

    test_command_clear(&a);
    test_command_clear(&b);
    test_command_clear(&c);
    nexus_free(other);
    rig_free(rig);
}

static void
test_abort_task_set(void)
{
    check_task_set(TMF_ABORT_TASK_SET);
}

static void
test_clear_task_set(void)
{
    check_task_set(TMF_CLEAR_TASK_SET);
}

static void
test_abort_task_set_of_nothing(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestTmf tmf;

    tmf_start(&tmf, TMF_ABORT_TASK_SET, rig->nexus, 0, NULL);
    assert_response(&tmf, TMF_COMPLETE);
    rig_free(rig);
}

/* A command that comes after the abort does not hold the function up */
static void
test_new_commands_are_not_waited_for(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand a, b;
    TestTmf first, second;

    slow_hold(rig->store, TRUE);
    start_read(&a, rig->nexus, 0);
    tmf_start(&first, TMF_ABORT_TASK_SET, rig->nexus, 0, NULL);
    slow_hold(rig->store, FALSE);
    start_read(&b, rig->nexus, 1);
    test_assert_good(&b);
    g_assert_false(first.is_done);
    tmf_start(&second, TMF_ABORT_TASK_SET, rig->nexus, 0, NULL);
    g_assert_false(second.is_done);
    slow_release(rig->store, 0);
    assert_response(&first, TMF_COMPLETE);
    assert_response(&second, TMF_COMPLETE);
    test_command_clear(&a);
    test_command_clear(&b);
    rig_free(rig);
}

static void
test_lu_reset(void)
{
    Rig *rig = rig_new(&(RigConfig){ .n_workers = 2 });
    Nexus *other = rig_new_nexus(rig, 1, 2);
    TestCommand a, b, c;
    TestTmf tmf;

    slow_hold(rig->store, TRUE);
    start_read(&a, rig->nexus, 0);
    start_read(&b, other, 1);
    tmf_start(&tmf, TMF_LOGICAL_UNIT_RESET, other, 0, NULL);
    rig_turn(rig);
    g_assert_false(tmf.is_done);
    slow_release(rig->store, 0);
    rig_turn(rig);
    g_assert_true(a.is_done && a.command.aborted);
    g_assert_false(tmf.is_done);
    g_assert_cmpuint(rig->nexus->luns[0]->attentions.n, ==, 0);
    slow_release(rig->store, 1);
    rig_turn(rig);
    g_assert_true(b.is_done && b.command.aborted);
    assert_response(&tmf, TMF_COMPLETE);

    slow_hold(rig->store, FALSE);
    start_read(&c, rig->nexus, 0);
    test_assert_sense(&c, SENSE_LU_RESET);
    test_command_clear(&c);
    start_read(&c, other, 0);
    test_assert_sense(&c, SENSE_LU_RESET);
    test_command_clear(&c);
    start_read(&c, other, 0);
    test_assert_good(&c);
    test_command_clear(&a);
    test_command_clear(&b);
    test_command_clear(&c);
    nexus_free(other);
    rig_free(rig);
}

static void
test_two_resets_at_once(void)
{
    Rig *rig = rig_new(&(RigConfig){ .n_workers = 2 });
    Nexus *other = rig_new_nexus(rig, 1, 2);
    TestTmf a, b;

    tmf_start(&a, TMF_LOGICAL_UNIT_RESET, rig->nexus, 0, NULL);
    tmf_start(&b, TMF_LOGICAL_UNIT_RESET, other, 0, NULL);
    rig_turn(rig);
    assert_response(&a, TMF_COMPLETE);
    assert_response(&b, TMF_COMPLETE);
    nexus_free(other);
    rig_free(rig);
}

static void
test_target_reset(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    LuConfig config = { .name = "other" };
    Lu *second = lu_new(&config, rig->store, rig->workers, 1, 0);
    LunMap *map = lun_map_new((LunEntry[]){ { 0, rig->lu, FALSE }, { 7, second, FALSE } }, 2);
    LunMap *none = lun_map_new(NULL, 0);
    TestTmf tmf;

    nexus_set_map(rig->nexus, map);
    rig->nexus->luns[0]->attentions.n = 0;
    rig->nexus->luns[1]->attentions.n = 0;
    tmf_start(&tmf, TMF_TARGET_WARM_RESET, rig->nexus, 0, NULL);
    rig_turn(rig);
    assert_response(&tmf, TMF_COMPLETE);
    g_assert_cmpuint(rig->nexus->luns[0]->attentions.n, ==, 1);
    g_assert_cmpuint(rig->nexus->luns[1]->attentions.n, ==, 1);
    nexus_set_map(rig->nexus, none);
    snapshot_unref(&map->snapshot);
    snapshot_unref(&none->snapshot);
    lu_free(second);
    rig_free(rig);
}

/* With TAS, who did not ask for the reset hears that its command was aborted; else nobody does */
static void
run_task_aborted(gboolean tas)
{
    static const guint8 list[16] = { 0, 0, 0, 0, 0x0a, 0x0a, 0x20, 0x10 };
    Rig *rig = rig_new(&(RigConfig){ .n_workers = 2 });
    Nexus *other = rig_new_nexus(rig, 1, 2);
    TestCommand select, own, in_flight, waiting;
    TestTmf tmf;

    if (!tas) {
        (void)test_execute(rig, rig->nexus, &select, CDB(0x15, 0x10, 0, 0, 16, 0), 0, list, 16);
        test_command_clear(&select);
        other->luns[0]->attentions.n = 0;
    }

    slow_hold(rig->store, TRUE);
    start_read(&own, rig->nexus, 0);
    start_read(&in_flight, other, 1);
    test_command_init(&waiting, other, 0, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    waiting.command.expected_out = 512;
    waiting.hold_data_out = TRUE;
    test_start(&waiting);
    tmf_start(&tmf, TMF_LOGICAL_UNIT_RESET, rig->nexus, 0, NULL);
    rig_turn(rig);
    slow_release(rig->store, 0);
    slow_release(rig->store, 1);
    rig_turn(rig);
    assert_response(&tmf, TMF_COMPLETE);

    g_assert_true(own.command.aborted && in_flight.command.aborted && waiting.command.aborted);
    g_assert_false(own.command.aborted_by_other);
    g_assert_cmpint(in_flight.command.aborted_by_other, ==, tas);
    g_assert_cmpint(waiting.command.aborted_by_other, ==, tas);
    g_assert_cmphex(in_flight.command.status, ==, SCSI_TASK_ABORTED);
    g_assert_cmpuint(waiting.command.transfer_length, ==, 0);
    g_assert_cmpuint(other->luns[0]->attentions.n, ==, 1);
    test_command_clear(&own);
    test_command_clear(&in_flight);
    test_command_clear(&waiting);
    nexus_free(other);
    rig_free(rig);
}

static void
test_task_aborted(void)
{
    run_task_aborted(FALSE);
    run_task_aborted(TRUE);
}

static void
on_reset(Lu *lu, gpointer user_data)
{
    *(gboolean *)user_data = TRUE;
}

static void
test_administrative_reset(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    gboolean done = FALSE;
    TestCommand a;
    Mailbox mailbox;

    g_assert_true(mailbox_init(&mailbox, NULL));
    slow_hold(rig->store, TRUE);
    start_read(&a, rig->nexus, 0);
    lu_reset(rig->lu, &mailbox, on_reset, &done);
    rig_turn(rig);
    (void)mailbox_drain(&mailbox);
    g_assert_false(done);
    slow_release(rig->store, 0);
    rig_turn(rig);
    (void)mailbox_drain(&mailbox);
    g_assert_true(done);
    g_assert_true(a.command.aborted);
    mailbox_deinit(&mailbox);
    test_command_clear(&a);
    rig_free(rig);
}

static void
test_attention_for_all(void)
{
    Rig *rig = rig_new(&(RigConfig){ .n_workers = 2 });
    Nexus *other = rig_new_nexus(rig, 1, 2);
    gboolean done = FALSE;
    TestCommand a;
    Mailbox mailbox;

    g_assert_true(mailbox_init(&mailbox, NULL));
    slow_hold(rig->store, TRUE);
    start_read(&a, rig->nexus, 0);
    lu_raise_attention(rig->lu, SENSE_CAPACITY_CHANGED, &mailbox, on_reset, &done);
    rig_turn(rig);
    (void)mailbox_drain(&mailbox);
    g_assert_true(done);
    slow_release(rig->store, 0);
    test_assert_good(&a);
    g_assert_cmpuint(rig->nexus->luns[0]->attentions.codes[0], ==, SENSE_CAPACITY_CHANGED);
    g_assert_cmpuint(other->luns[0]->attentions.codes[0], ==, SENSE_CAPACITY_CHANGED);
    mailbox_deinit(&mailbox);
    test_command_clear(&a);
    nexus_free(other);
    rig_free(rig);
}

/* One event after five seconds, not a second one for the same stall */
static void
test_stall_is_an_event(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand a;
    TestTmf tmf;

    slow_hold(rig->store, TRUE);
    start_read(&a, rig->nexus, 0);
    rig_turn(rig);
    tmf_start(&tmf, TMF_ABORT_TASK, rig->nexus, 0, &a.command);
    clock_advance(&rig->clock, 4 * USEC_PER_SEC);
    rig_turn(rig);
    g_assert_cmpuint(rig->n_events, ==, 0);
    clock_advance(&rig->clock, 2 * USEC_PER_SEC);
    rig_turn(rig);
    g_assert_cmpuint(rig->n_events, ==, 1);
    g_assert_cmpint(rig->last_event.type, ==, SCSI_EVENT_LU_STALLED);
    g_assert_true(rig->last_event.lu == rig->lu);
    clock_advance(&rig->clock, 60 * USEC_PER_SEC);
    rig_turn(rig);
    g_assert_cmpuint(rig->n_events, ==, 1);
    slow_release(rig->store, 0);
    assert_response(&tmf, TMF_COMPLETE);
    test_command_clear(&a);
    rig_free(rig);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add_func("/scsi/tmf/" name, fn)
    ADD("abort-task", test_abort_task);
    ADD("abort-task-waits-for-its-own", test_abort_task_waits_for_its_own);
    ADD("abort-of-no-task", test_abort_of_no_task);
    ADD("no-such-lun", test_no_such_lun);
    ADD("clear-aca", test_clear_aca);
    ADD("abort-task-set", test_abort_task_set);
    ADD("clear-task-set", test_clear_task_set);
    ADD("abort-task-set-of-nothing", test_abort_task_set_of_nothing);
    ADD("new-commands-are-not-waited-for", test_new_commands_are_not_waited_for);
    ADD("lu-reset", test_lu_reset);
    ADD("two-resets-at-once", test_two_resets_at_once);
    ADD("target-reset", test_target_reset);
    ADD("task-aborted", test_task_aborted);
    ADD("administrative-reset", test_administrative_reset);
    ADD("attention-for-all", test_attention_for_all);
    ADD("stall-is-an-event", test_stall_is_an_event);
    return g_test_run();
}
