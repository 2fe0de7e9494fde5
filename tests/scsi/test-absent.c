/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * A logical unit whose store is not there
 *
 * It is a unit like others over a store without data, and changes place with
 * the real one in the map. What initiators see of that, and what they do not.
 */

#include <string.h>

#include "fixture.h"

#define MIB ((guint64)1 << 20)

typedef struct {
    Rig *rig;
    Backstore *store;
    Lu *lu;    /* absent, the same unit as rig->lu */
    Lu *other; /* another unit on the rig's store */
} Pair;

static Lu *
make_lu(const Rig *rig, Backstore *store, const LuConfig *config)
{
    LuConfig copy = *config;

    copy.name = "disk";
    memcpy(copy.uuid, rig_uuid, sizeof(rig_uuid));
    return lu_new(&copy, store, (Worker **)(gsize)rig->workers, rig->n_workers, 0);
}

static void
pair_init(Pair *pair, SenseCode not_ready, guint64 known_size)
{
    const BackstoreConfig store = { .name = "disk", .size = MIB, .fd = -1 };
    const LuConfig other = { .name = "other", .uuid = { 1 } };
    g_autoptr(GError) error = NULL;
    Rig *rig = rig_new(&(RigConfig){ .slow = { .thin = TRUE } });

    pair->rig = rig;
    pair->store = backstore_open_absent(&store, NULL, rig->offload, rig->n_workers, &error);
    g_assert_no_error(error);
    pair->lu =
        make_lu(rig, pair->store,
                &(LuConfig){ .thin = TRUE, .not_ready = not_ready, .known_size = known_size });
    pair->other = lu_new(&other, rig->store, rig->workers, rig->n_workers, 0);
}

static void
set_map(Nexus *nexus, const LunEntry *entries, guint n)
{
    LunMap *map = lun_map_new(entries, n);

    nexus_set_map(nexus, map);
    snapshot_unref(&map->snapshot);
}

/* The unit at LUN 0, the other at LUN 1 */
static void
pair_map(Pair *pair, Lu *lu)
{
    set_map(pair->rig->nexus, (LunEntry[]){ { 0, lu, FALSE }, { 1, pair->other, FALSE } }, 2);
}

static void
pair_clear(Pair *pair)
{
    set_map(pair->rig->nexus, (LunEntry[]){ { 0, pair->rig->lu, FALSE } }, 1);
    rig_turn(pair->rig);
    lu_free(pair->lu);
    lu_free(pair->other);
    backstore_close(pair->store);
    rig_free(pair->rig);
}

static void
forget_attentions(const Pair *pair)
{
    for (guint i = 0; i < pair->rig->nexus->map->n_entries; i++)
        pair->rig->nexus->luns[i]->attentions.n = 0;
}

static ScsiStatus
test_unit_ready(const Pair *pair, guint lun, TestCommand *test)
{
    test_command_init(test, pair->rig->nexus, lun, CDB(0, 0, 0, 0, 0, 0));
    test_run(pair->rig, test);
    test_command_clear(test);
    return test->command.status;
}

static void
assert_tur(const Pair *pair, guint lun, SenseCode code)
{
    TestCommand test;

    if (test_unit_ready(pair, lun, &test) == SCSI_GOOD)
        g_assert_cmpint(code, ==, SENSE_NONE);
    else
        test_assert_sense(&test, code);
}

static GByteArray *
get_data(const Pair *pair, const guint8 *cdb, gsize n)
{
    TestCommand test;
    GByteArray *data;

    (void)test_execute(pair->rig, pair->rig->nexus, &test, cdb, n, 252, NULL, 0);
    test_assert_good(&test);
    data = g_byte_array_ref(test.in);
    test_command_clear(&test);
    return data;
}

static void
assert_same_answer(Pair *pair, const guint8 *cdb, gsize n)
{
    g_autoptr(GByteArray) ready = NULL;
    g_autoptr(GByteArray) absent = NULL;

    pair_map(pair, pair->rig->lu);
    forget_attentions(pair);
    ready = get_data(pair, cdb, n);
    pair_map(pair, pair->lu);
    forget_attentions(pair);
    absent = get_data(pair, cdb, n);
    g_assert_cmpmem(ready->data, ready->len, absent->data, absent->len);
}

static void
test_who_it_is(void)
{
    Pair pair;

    pair_init(&pair, SENSE_NOT_READY, 0);
    assert_same_answer(&pair, CDB(0x12, 0, 0, 0, 252, 0));
    assert_same_answer(&pair, CDB(0x12, 1, 0x00, 0, 252, 0));
    assert_same_answer(&pair, CDB(0x12, 1, 0x80, 0, 252, 0));
    assert_same_answer(&pair, CDB(0x12, 1, 0x83, 0, 252, 0));
    assert_same_answer(&pair, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 252, 0, 0));
    pair_clear(&pair);
}

static void
assert_refused(const Pair *pair, const guint8 *cdb, gsize n, gboolean writes, SenseCode code)
{
    static const guint8 out[512];
    TestCommand test;

    (void)test_execute(pair->rig, pair->rig->nexus, &test, cdb, n, writes ? 0 : 512,
                       writes ? out : NULL, writes ? sizeof(out) : 0);
    test_assert_sense(&test, code);
    test_command_clear(&test);
}

static void
test_what_is_refused(void)
{
    static const SenseCode codes[] = { SENSE_NOT_READY, SENSE_NOT_READY_BECOMING_READY,
                                       SENSE_NOT_READY_MANUAL };

    for (gsize i = 0; i < G_N_ELEMENTS(codes); i++) {
        Pair pair;

        pair_init(&pair, codes[i], 0);
        pair_map(&pair, pair.lu);
        forget_attentions(&pair);
        assert_tur(&pair, 0, codes[i]);
        assert_refused(&pair, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), FALSE, codes[i]);
        assert_refused(&pair, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0), FALSE,
                       codes[i]);
        assert_refused(&pair, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), FALSE, codes[i]);
        assert_refused(&pair, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), TRUE, codes[i]);
        assert_refused(&pair, CDB(0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0), FALSE, codes[i]);
        g_assert_cmpuint(slow_n_done(pair.rig->store, IO_READ), ==, 0);
        pair_clear(&pair);
    }
}

static void
test_request_sense_tells(void)
{
    Pair pair;
    g_autoptr(GByteArray) data = NULL;

    pair_init(&pair, SENSE_NOT_READY_MANUAL, 0);
    pair_map(&pair, pair.lu);
    forget_attentions(&pair);
    data = get_data(&pair, CDB(0x03, 0, 0, 0, 252, 0));
    g_assert_cmphex(data->data[2], ==, 0x02);
    g_assert_cmphex(data->data[12], ==, 0x04);
    g_assert_cmphex(data->data[13], ==, 0x03);
    pair_clear(&pair);
}

/* From the start not there: nothing was lost, so only that it is there now is told */
static void
test_becomes_ready(void)
{
    Pair pair;

    pair_init(&pair, SENSE_NOT_READY, 0);
    pair_map(&pair, pair.lu);
    forget_attentions(&pair);
    pair_map(&pair, pair.rig->lu);
    assert_tur(&pair, 0, SENSE_NOT_READY_TO_READY);
    assert_tur(&pair, 0, SENSE_NONE);
    assert_tur(&pair, 1, SENSE_NONE);
    pair_clear(&pair);
}

static void
test_becomes_ready_with_another_size(void)
{
    Pair pair;

    pair_init(&pair, SENSE_NOT_READY, 2 * MIB);
    pair_map(&pair, pair.lu);
    forget_attentions(&pair);
    pair_map(&pair, pair.rig->lu);
    assert_tur(&pair, 0, SENSE_NOT_READY_TO_READY);
    assert_tur(&pair, 0, SENSE_CAPACITY_CHANGED);
    assert_tur(&pair, 0, SENSE_NONE);
    pair_clear(&pair);
}

/* What the initiator was not told yet it is told of the unit's successor */
static void
test_goes_and_comes(void)
{
    Pair pair;

    pair_init(&pair, SENSE_NOT_READY, MIB);
    pair_map(&pair, pair.rig->lu);
    forget_attentions(&pair);

    pair_map(&pair, pair.lu);
    assert_tur(&pair, 0, SENSE_POWER_ON);
    assert_tur(&pair, 0, SENSE_NOT_READY);
    assert_tur(&pair, 1, SENSE_NONE);

    pair_map(&pair, pair.rig->lu);
    assert_tur(&pair, 0, SENSE_NOT_READY_TO_READY);
    assert_tur(&pair, 0, SENSE_NONE);

    pair_map(&pair, pair.lu);
    pair_map(&pair, pair.rig->lu);
    assert_tur(&pair, 0, SENSE_POWER_ON);
    assert_tur(&pair, 0, SENSE_NOT_READY_TO_READY);
    assert_tur(&pair, 0, SENSE_NONE);
    assert_tur(&pair, 1, SENSE_NONE);
    pair_clear(&pair);
}

/* A command that the store has already ends as it would have, and is answered */
static void
test_command_in_flight_ends(void)
{
    TestCommand test;
    Pair pair;

    pair_init(&pair, SENSE_NOT_READY_MANUAL, MIB);
    pair_map(&pair, pair.rig->lu);
    forget_attentions(&pair);
    slow_hold(pair.rig->store, TRUE);
    test_command_init(&test, pair.rig->nexus, 0, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    test.command.expected_in = 512;
    test_start(&test);

    pair_map(&pair, pair.lu);
    g_assert_false(test.is_done);
    assert_tur(&pair, 0, SENSE_POWER_ON);
    assert_tur(&pair, 0, SENSE_NOT_READY_MANUAL);
    slow_hold(pair.rig->store, FALSE);
    slow_release(pair.rig->store, 0);
    test_wait(pair.rig, &test);
    test_assert_good(&test);
    test_command_clear(&test);
    pair_clear(&pair);
}

/* One that waits for the initiator could keep the store from being closed for ever */
static void
test_command_that_receives_fails(void)
{
    static const guint8 out[512];
    TestCommand test;
    Pair pair;

    pair_init(&pair, SENSE_NOT_READY, MIB);
    pair_map(&pair, pair.rig->lu);
    forget_attentions(&pair);
    test_command_init(&test, pair.rig->nexus, 0, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    test.command.expected_out = sizeof(out);
    test.out = out;
    test.n_out = sizeof(out);
    test.hold_data_out = TRUE;
    test_start(&test);
    g_assert_cmpint(test.command.state, ==, SCSI_STATE_DATA_OUT);

    pair_map(&pair, pair.lu);
    g_assert_true(test.is_done);
    test_assert_sense(&test, SENSE_NOT_READY_BECOMING_READY);
    g_assert_cmpuint(slow_n_done(pair.rig->store, IO_WRITE), ==, 0);
    test_command_clear(&test);
    pair_clear(&pair);
}

/* The end of a session concerns commands on a unit that was replaced, too */
static void
test_abort_all_finds_those_that_leave(void)
{
    TestCommand test;
    Pair pair;

    pair_init(&pair, SENSE_NOT_READY, MIB);
    pair_map(&pair, pair.rig->lu);
    forget_attentions(&pair);
    slow_hold(pair.rig->store, TRUE);
    test_command_init(&test, pair.rig->nexus, 0, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    test.command.expected_in = 512;
    test_start(&test);
    pair_map(&pair, pair.lu);

    nexus_abort_all(pair.rig->nexus);
    slow_hold(pair.rig->store, FALSE);
    slow_release(pair.rig->store, 0);
    test_wait(pair.rig, &test);
    g_assert_true(test.command.aborted);
    test_command_clear(&test);
    pair_clear(&pair);
}

/* A map with the same units is no change of what REPORT LUNS says */
static void
test_same_map_is_no_change(void)
{
    Pair pair;

    pair_init(&pair, SENSE_NOT_READY, 0);
    pair_map(&pair, pair.rig->lu);
    forget_attentions(&pair);
    pair_map(&pair, pair.rig->lu);
    assert_tur(&pair, 0, SENSE_NONE);
    assert_tur(&pair, 1, SENSE_NONE);
    pair_clear(&pair);
}

/* What was begun on the unit that was there before is concerned too: the answer waits for it */
static void
run_tmf(TmfFunction function)
{
    static const guint8 block[512];
    TestCommand test;
    TestManagement tmf;
    Pair pair;

    pair_init(&pair, SENSE_NOT_READY_MANUAL, MIB);
    pair_map(&pair, pair.rig->lu);
    forget_attentions(&pair);
    slow_hold(pair.rig->store, TRUE);
    test_command_init(&test, pair.rig->nexus, 0, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    test.command.expected_out = sizeof(block);
    test.out = block;
    test.n_out = sizeof(block);
    test_start(&test);
    rig_turn(pair.rig);
    pair_map(&pair, pair.lu);

    test_manage(&tmf, function, pair.rig->nexus, 0, &test.command);
    rig_turn(pair.rig);
    g_assert_false(tmf.is_done);
    g_assert_true(test.command.aborted);
    slow_hold(pair.rig->store, FALSE);
    slow_release(pair.rig->store, 0);
    rig_turn(pair.rig);
    g_assert_true(tmf.is_done);
    g_assert_cmpint(tmf.tmf.response, ==, TMF_COMPLETE);
    g_assert_true(test.is_done);
    test_command_clear(&test);
    pair_clear(&pair);
}

static void
test_task_management(void)
{
    static const TmfFunction functions[] = {
        TMF_ABORT_TASK,         TMF_ABORT_TASK_SET,    TMF_CLEAR_TASK_SET,
        TMF_LOGICAL_UNIT_RESET, TMF_TARGET_WARM_RESET, TMF_I_T_NEXUS_RESET,
    };

    for (gsize i = 0; i < G_N_ELEMENTS(functions); i++)
        run_tmf(functions[i]);
}

/* A WRITE in segments ends after the one that the store has, and does not wait for the next one */
static void
test_segments(void)
{
    const BackstoreConfig gone = { .name = "disk", .size = 4 * MIB, .fd = -1 };
    g_autofree guint8 *data = g_malloc0(3 * MIB / 2);
    g_autoptr(GError) error = NULL;
    Rig *rig = rig_new(&(RigConfig){ .slow = { .size = 4 * MIB } });
    Backstore *absent = backstore_open_absent(&gone, NULL, rig->offload, rig->n_workers, &error);
    Lu *lu = make_lu(rig, absent, &(LuConfig){ .not_ready = SENSE_NOT_READY });
    TestCommand test;

    g_assert_no_error(error);
    slow_hold(rig->store, TRUE);
    test_command_init(&test, rig->nexus, 0, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0x0c, 0, 0));
    test.command.expected_out = 3 * MIB / 2;
    test.out = data;
    test.n_out = 3 * MIB / 2;
    test_start(&test);
    rig_turn(rig);
    g_assert_cmpuint(slow_n_held(rig->store, 0), ==, 1);
    test.hold_data_out = TRUE;
    set_map(rig->nexus, &(LunEntry){ 0, lu, FALSE }, 1);
    slow_hold(rig->store, FALSE);
    slow_release(rig->store, 0);
    rig_turn(rig);
    g_assert_true(test.is_done);
    test_assert_sense(&test, SENSE_NOT_READY_BECOMING_READY);
    test_command_clear(&test);

    set_map(rig->nexus, &(LunEntry){ 0, rig->lu, FALSE }, 1);
    rig_turn(rig);
    lu_free(lu);
    backstore_close(absent);
    rig_free(rig);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add_func("/scsi/absent/" name, fn)
    ADD("who-it-is", test_who_it_is);
    ADD("what-is-refused", test_what_is_refused);
    ADD("request-sense-tells", test_request_sense_tells);
    ADD("becomes-ready", test_becomes_ready);
    ADD("becomes-ready-with-another-size", test_becomes_ready_with_another_size);
    ADD("goes-and-comes", test_goes_and_comes);
    ADD("command-in-flight-ends", test_command_in_flight_ends);
    ADD("command-that-receives-fails", test_command_that_receives_fails);
    ADD("abort-all-finds-those-that-leave", test_abort_all_finds_those_that_leave);
    ADD("task-management", test_task_management);
    ADD("segments", test_segments);
    ADD("same-map-is-no-change", test_same_map_is_no_change);
    return g_test_run();
}
