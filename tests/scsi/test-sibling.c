/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Copies between units of different targets
 *
 * The nexus has LUN 0, the slow store, whose requests the test can hold. The
 * memory is LUN 5 of another target, where the test itself stands for the
 * transport that says whether the initiator may use it.
 */

#include "scsi/sibling.h"

#include <errno.h>
#include <string.h>

#include "backstore/backstore.h"
#include "copy-fixture.h"
#include "scsi/rod.h"
#include "scsi/tmf.h"
#include "util/bytes.h"

#define THERE    "iqn.2026-11.org.lunport:there"
#define N_BLOCKS 3072 /* 1.5 MiB: two pieces */

typedef struct {
    Copy c;
    LunMap *map; /* of the other target, as the initiator would see it; NULL: he may not use it */
    guint n_asked;
} Pair;

static gboolean
reach(gpointer user_data, const char *target_name, LuMatchFn is_wanted, gconstpointer wanted,
      NexusReach *ret_reach)
{
    Pair *pair = user_data;

    pair->n_asked++;
    g_assert_true(target_name == NULL || strcmp(target_name, THERE) == 0);
    if (pair->map == NULL || !is_wanted(pair->map->entries[0].lu, wanted))
        return FALSE;

    (void)snapshot_ref(&pair->map->snapshot);
    *ret_reach = (NexusReach){
        .target_name = THERE,
        .relative_target_port = 3,
        .target_port_group = 1,
        .map = pair->map,
    };
    return TRUE;
}

static void
set_there(Pair *pair, const LunEntry *entry)
{
    if (pair->map != NULL)
        snapshot_unref(&pair->map->snapshot);
    pair->map = entry != NULL ? lun_map_new(entry, 1) : NULL;
}

/* The target has changed, and the workers were told */
static void
change_there(Pair *pair, const LunEntry *entry)
{
    set_there(pair, entry);
    nexus_review_reach(pair->c.nexus, THERE);
}

static void
leave_one(Pair *pair)
{
    copy_set_map(pair->c.nexus, (LunEntry[]){ { 0, pair->c.rig->lu, FALSE } }, 1);
    pair->c.nexus->reach = reach;
    pair->c.nexus->user_data = pair;
    set_there(pair, &(LunEntry){ 5, pair->c.lu, FALSE });
    copy_fill(&pair->c);
}

static void
pair_init(Pair *pair)
{
    *pair = (Pair){ 0 };
    copy_init(&pair->c, FALSE);
    leave_one(pair);
}

static void
pair_clear(Pair *pair)
{
    rig_turn(pair->c.rig);
    g_assert_true(list_is_empty(&pair->c.nexus->siblings));
    set_there(pair, NULL);
    copy_clear(&pair->c);
}

/* What an initiator is at the other target that is logged in there */
static Nexus *
log_in_there(Pair *pair, const char *port_name)
{
    const NexusConfig config = {
        .initiator_port_name = port_name,
        .target_name = THERE,
        .relative_target_port = 3,
        .target_port_group = 1,
    };
    LunMap *map = lun_map_new(&(LunEntry){ 5, pair->c.lu, FALSE }, 1);
    Nexus *nexus = nexus_new(pair->c.rig->workers[0], &config, map);

    snapshot_unref(&map->snapshot);
    nexus->luns[0]->attentions.n = 0;
    return nexus;
}

static void
make_list(Pair *pair)
{
    copy_make_list(&pair->c);
    copy_add_segment(&pair->c, 0, 1, N_BLOCKS, 8, 100);
}

/* LID1: list 7, from LUN 0 to the other target's unit */
static void
run(Pair *pair, TestCommand *test)
{
    make_list(pair);
    copy_run(&pair->c, test, 0x00);
}

static void
assert_fails(Pair *pair, SenseCode code)
{
    TestCommand test;

    run(pair, &test);
    test_assert_sense(&test, code);
    test_command_clear(&test);
}

static void
assert_works(Pair *pair)
{
    TestCommand test;

    run(pair, &test);
    test_assert_good(&test);
    test_command_clear(&test);
}

/* Blocks of the other target's unit; NULL: zeros */
static void
assert_there(Pair *pair, guint64 lba, guint n_blocks, const guint8 *expected)
{
    Nexus *reader = log_in_there(pair, "iqn.2026-11.org.example:reader,i,0x000000000009");
    guint8 cdb[16] = { 0x88 };
    TestCommand test;

    put_be64(cdb + 2, lba);
    put_be32(cdb + 10, n_blocks);
    test_command_init(&test, reader, 5, cdb, sizeof(cdb));
    test.command.expected_in = n_blocks * 512;
    test_run(pair->c.rig, &test);
    test_assert_good(&test);
    g_assert_cmpuint(test.in->len, ==, n_blocks * 512);
    if (expected != NULL)
        g_assert_cmpmem(test.in->data, test.in->len, expected, n_blocks * 512);
    for (guint i = 0; expected == NULL && i < test.in->len; i++)
        g_assert_cmpint(test.in->data[i], ==, 0);
    test_command_clear(&test);
    nexus_free(reader);
}

static void
start_held(Pair *pair, TestCommand *test)
{
    make_list(pair);
    slow_hold(pair->c.rig->store, TRUE);
    copy_prepare(&pair->c, test, 0x00);
    test_start(test);
    rig_turn(pair->c.rig);
    g_assert_false(test->is_done);
    g_assert_cmpuint(slow_n_held(pair->c.rig->store, 0), >, 0);
}

static void
let_go(Pair *pair)
{
    slow_hold(pair->c.rig->store, FALSE);
    slow_release(pair->c.rig->store, 0);
    rig_turn(pair->c.rig);
}

/*
 * Reaching
 */

static void
test_to_another_target(void)
{
    Pair pair;

    pair_init(&pair);
    assert_works(&pair);
    assert_there(&pair, 99, 1, NULL);
    assert_there(&pair, 100, N_BLOCKS, slow_memory(pair.c.rig->store) + 8 * 512);
    assert_there(&pair, 100 + N_BLOCKS, 1, NULL);
    pair_clear(&pair);
}

static void
test_from_another_target(void)
{
    Pair pair;
    TestCommand test;
    guint8 *memory;

    pair_init(&pair);
    assert_works(&pair);
    memory = slow_memory(pair.c.rig->store);

    copy_make_list(&pair.c);
    copy_add_segment(&pair.c, 1, 0, 64, 100, 4096);
    copy_run(&pair.c, &test, 0x00);
    test_assert_good(&test);
    test_command_clear(&test);
    g_assert_cmpmem(memory + 4096 * 512, 64 * 512, memory + 8 * 512, 64 * 512);
    pair_clear(&pair);
}

/* Two descriptors of one unit, and the copy stays there */
static void
test_within_another_target(void)
{
    Pair pair;
    TestCommand test;

    pair_init(&pair);
    assert_works(&pair);
    pair.n_asked = 0;
    copy_make_list(&pair.c);
    copy_put_cscd(pair.c.list + 16, pair.c.lu);
    copy_add_segment(&pair.c, 0, 1, 64, 100, 6000);
    copy_prepare(&pair.c, &test, 0x00);
    test_start(&test);
    test_wait(pair.c.rig, &test);
    test_assert_good(&test);
    test_command_clear(&test);
    g_assert_cmpuint(pair.n_asked, ==, 1);
    assert_there(&pair, 6000, 64, slow_memory(pair.c.rig->store) + 8 * 512);
    pair_clear(&pair);
}

/* By the stores, where both can */
static void
test_by_the_store(void)
{
    const SlowConfig config = { .size = 4 * MIB, .copies = TRUE };
    Pair pair = { 0 };
    TestCommand test;

    copy_init_slow(&pair.c, &config, 1, 0);
    leave_one(&pair);
    copy_make_list(&pair.c);
    copy_add_segment(&pair.c, 0, 1, 2048, 8, 16);
    copy_run(&pair.c, &test, 0x00);
    test_assert_good(&test);
    test_command_clear(&test);
    g_assert_cmpuint(slow_n_done(pair.c.store, IO_COPY), >, 0);
    g_assert_cmpmem(slow_memory(pair.c.store) + 16 * 512, 2048 * 512,
                    slow_memory(pair.c.rig->store) + 8 * 512, 2048 * 512);
    pair_clear(&pair);
}

/* Who may not use a unit is told what he is told of one that does not exist */
static void
test_hidden(void)
{
    Pair pair;
    TestCommand hidden, absent;

    pair_init(&pair);
    set_there(&pair, NULL);
    run(&pair, &hidden);
    test_assert_sense(&hidden, SENSE_UNREACHABLE_COPY_TARGET);
    set_there(&pair, &(LunEntry){ 5, pair.c.lu, FALSE });
    make_list(&pair);
    pair.c.list[48 + 12] ^= 1; /* in the name */
    copy_run(&pair.c, &absent, 0x00);
    g_assert_cmpmem(hidden.command.sense, hidden.command.sense_length, absent.command.sense,
                    absent.command.sense_length);
    test_command_clear(&hidden);
    test_command_clear(&absent);
    pair_clear(&pair);
}

/* A unit of one's own target is found there */
static void
test_own_unit_first(void)
{
    Pair pair;
    TestCommand test;

    pair_init(&pair);
    copy_set_map(pair.c.nexus, (LunEntry[]){ { 0, pair.c.rig->lu, FALSE }, { 1, pair.c.lu, TRUE } },
                 2);
    run(&pair, &test);
    test_assert_sense(&test, SENSE_THIRD_PARTY_DEVICE_FAILURE); /* it is protected here */
    test_command_clear(&test);
    g_assert_cmpuint(pair.n_asked, ==, 0);
    pair_clear(&pair);
}

/* Each refusal gives back what it has taken, also one for more descriptors than there may be */
static void
test_refused_lists(void)
{
    Pair pair;
    TestCommand test;

    pair_init(&pair);
    make_list(&pair);
    put_be64(pair.c.list + 80 + 20, 1 << 20); /* the destination ends before */
    copy_run(&pair.c, &test, 0x00);
    test_assert_sense(&test, SENSE_COPY_TARGET_NOT_REACHABLE);
    test_command_clear(&test);
    rig_turn(pair.c.rig);
    g_assert_true(list_is_empty(&pair.c.nexus->siblings));

    make_list(&pair);
    put_be24(pair.c.list + 48 + 29, 4096);
    copy_run(&pair.c, &test, 0x00);
    test_assert_sense(&test, SENSE_INVALID_FIELD_IN_PARAMETERS);
    test_command_clear(&test);
    rig_turn(pair.c.rig);
    g_assert_true(list_is_empty(&pair.c.nexus->siblings));

    memset(pair.c.list, 0, sizeof(pair.c.list));
    pair.c.length = COPY_LID1_HEADER + (COPY_MAX_CSCDS + 1) * COPY_CSCD_LENGTH;
    put_be16(pair.c.list + 2, (COPY_MAX_CSCDS + 1) * COPY_CSCD_LENGTH);
    for (guint i = 0; i <= COPY_MAX_CSCDS; i++)
        copy_put_cscd(pair.c.list + COPY_LID1_HEADER + i * COPY_CSCD_LENGTH, pair.c.lu);
    copy_run(&pair.c, &test, 0x00);
    test_assert_sense(&test, SENSE_TOO_MANY_CSCDS);
    test_command_clear(&test);
    pair_clear(&pair);
}

/*
 * Gates of the other unit
 */

static void
test_write_protected_there(void)
{
    Pair pair;

    pair_init(&pair);
    set_there(&pair, &(LunEntry){ 5, pair.c.lu, TRUE });
    assert_fails(&pair, SENSE_THIRD_PARTY_DEVICE_FAILURE);
    assert_there(&pair, 100, 1, NULL);
    pair_clear(&pair);
}

static void
set_group_state(Pair *pair, AluaState state)
{
    const AluaGroup group = { .tag = 1, .relative_port = 3, .state = state };

    lun_map_set_alua(pair->map, &group, 1, NULL);
}

static void
test_port_group_there(void)
{
    Pair pair;

    pair_init(&pair);
    set_group_state(&pair, ALUA_STANDBY);
    assert_fails(&pair, SENSE_THIRD_PARTY_DEVICE_FAILURE);
    set_there(&pair, &(LunEntry){ 5, pair.c.lu, FALSE });
    set_group_state(&pair, ALUA_ACTIVE_NON_OPTIMIZED);
    assert_works(&pair);
    pair_clear(&pair);
}

static void
reserve_out(Pair *pair, Nexus *nexus, guint8 action, guint8 type, guint64 key, guint64 new_key)
{
    guint8 list[24] = { 0 };
    TestCommand test;

    put_be64(list, key);
    put_be64(list + 8, new_key);
    (void)test_execute(pair->c.rig, nexus, &test, CDB(0x5f, action, type, 0, 0, 0, 0, 0, 24, 0), 0,
                       list, sizeof(list));
    test_assert_good(&test);
    test_command_clear(&test);
}

/* test_execute() means LUN 0 */
static Nexus *
log_in_at_zero(Pair *pair, const char *port_name)
{
    Nexus *nexus = log_in_there(pair, port_name);

    copy_set_map(nexus, (LunEntry[]){ { 0, pair->c.lu, FALSE } }, 1);
    return nexus;
}

/* A reservation of somebody else keeps the copy out. What the same initiator port has registered
 * through the same target port holds for it. */
static void
test_reserved_there(void)
{
    Nexus *other, *self;
    Pair pair;

    pair_init(&pair);
    other = log_in_at_zero(&pair, "iqn.2026-11.org.example:other,i,0x000000000007");
    reserve_out(&pair, other, 0x00, 0, 0, 1); /* REGISTER */
    reserve_out(&pair, other, 0x01, 5, 1, 0); /* RESERVE: write exclusive, registrants only */
    assert_fails(&pair, SENSE_THIRD_PARTY_DEVICE_FAILURE);
    assert_there(&pair, 100, 1, NULL);

    self = log_in_at_zero(&pair, pair.c.nexus->initiator_port_name);
    reserve_out(&pair, self, 0x00, 0, 0, 2);
    assert_works(&pair);
    reserve_out(&pair, other, 0x03, 0, 1, 0); /* CLEAR */
    nexus_free(self);
    nexus_free(other);
    pair_clear(&pair);
}

static ScsiStatus
run_plain(Pair *pair, Nexus *nexus, guint8 opcode)
{
    TestCommand test;
    ScsiStatus status =
        test_execute(pair->c.rig, nexus, &test, CDB(opcode, 0, 0, 0, 0, 0), 0, NULL, 0);

    test_command_clear(&test);
    return status;
}

/* What a session there has by RESERVE holds for the copy, and does not end with it */
static void
test_reserve_is_kept(void)
{
    Nexus *self, *other;
    Pair pair;

    pair_init(&pair);
    other = log_in_at_zero(&pair, "iqn.2026-11.org.example:other,i,0x000000000007");
    self = log_in_at_zero(&pair, pair.c.nexus->initiator_port_name);
    g_assert_cmpint(run_plain(&pair, self, 0x16), ==, SCSI_GOOD); /* RESERVE */
    assert_works(&pair);
    rig_turn(pair.c.rig);
    g_assert_cmpint(run_plain(&pair, other, 0x00), ==, SCSI_RESERVATION_CONFLICT);
    g_assert_cmpint(run_plain(&pair, self, 0x17), ==, SCSI_GOOD); /* RELEASE */
    g_assert_cmpint(run_plain(&pair, other, 0x00), ==, SCSI_GOOD);
    nexus_free(self);
    nexus_free(other);
    pair_clear(&pair);
}

/* REGISTER for all ports of host1 that are known */
static void
register_for_host(Pair *pair, Nexus *nexus, TestCommand *test)
{
    static const char host[] = "iqn.2026-11.org.example:host1";
    guint8 list[28 + 4 + 32] = { 0 };

    put_be64(list + 8, 1);
    list[20] = 0x08; /* SPEC_I_PT */
    put_be32(list + 24, sizeof(list) - 28);
    list[28] = 0x05;
    list[31] = 32;
    memcpy(list + 32, host, sizeof(host));
    (void)test_execute(pair->c.rig, nexus, test, CDB(0x5f, 0x00, 0, 0, 0, 0, 0, 0, sizeof(list), 0),
                       0, list, sizeof(list));
}

/* A TransportID without ISID stands for those who are logged in: a sibling is not */
static void
test_is_not_known(void)
{
    TestCommand test, out;
    Nexus *other, *self;
    Pair pair;

    pair_init(&pair);
    other = log_in_at_zero(&pair, "iqn.2026-11.org.example:other,i,0x000000000007");
    start_held(&pair, &test);
    g_assert_false(list_is_empty(&pair.c.nexus->siblings));
    register_for_host(&pair, other, &out);
    test_assert_sense(&out, SENSE_INVALID_FIELD_IN_PARAMETERS);
    test_command_clear(&out);

    self = log_in_at_zero(&pair, pair.c.nexus->initiator_port_name);
    register_for_host(&pair, other, &out);
    test_assert_good(&out);
    test_command_clear(&out);

    let_go(&pair);
    test_assert_good(&test);
    test_command_clear(&test);
    reserve_out(&pair, other, 0x03, 0, 1, 0); /* CLEAR */
    nexus_free(self);
    nexus_free(other);
    pair_clear(&pair);
}

/*
 * Changes while it goes on
 */

/* Access is taken away: what waits is not written, and the copy says that it has failed */
static void
test_access_ends(void)
{
    Pair pair;
    TestCommand test;

    pair_init(&pair);
    start_held(&pair, &test);
    change_there(&pair, NULL);
    let_go(&pair);
    g_assert_true(test.is_done);
    test_assert_sense(&test, SENSE_COPY_TARGET_NOT_REACHABLE);
    test_command_clear(&test);
    assert_there(&pair, 100, 64, NULL);
    pair_clear(&pair);
}

/* The same while a READ is in flight on the other unit: it is waited for */
static void
test_access_ends_in_flight(void)
{
    const SlowConfig config = { .size = 4 * MIB };
    Pair pair = { 0 };
    TestCommand test;

    copy_init_slow(&pair.c, &config, 1, 0);
    leave_one(&pair);
    copy_make_list(&pair.c);
    copy_add_segment(&pair.c, 1, 0, 64, 100, 0);
    slow_hold(pair.c.store, TRUE);
    copy_prepare(&pair.c, &test, 0x00);
    test_start(&test);
    rig_turn(pair.c.rig);
    g_assert_cmpuint(slow_n_held(pair.c.store, 0), ==, 1);
    change_there(&pair, NULL);
    rig_turn(pair.c.rig);
    g_assert_false(test.is_done);

    slow_hold(pair.c.store, FALSE);
    slow_release(pair.c.store, 0);
    rig_turn(pair.c.rig);
    g_assert_true(test.is_done);
    test_assert_sense(&test, SENSE_THIRD_PARTY_DEVICE_FAILURE);
    g_assert_cmpuint(slow_n_done(pair.c.rig->store, IO_WRITE), ==, 0);
    test_command_clear(&test);
    pair_clear(&pair);
}

/* It became read-only for this initiator: no WRITE passes from then on */
static void
test_becomes_read_only(void)
{
    Pair pair;
    TestCommand test;

    pair_init(&pair);
    start_held(&pair, &test);
    change_there(&pair, &(LunEntry){ 5, pair.c.lu, TRUE });
    let_go(&pair);
    g_assert_true(test.is_done);
    test_assert_sense(&test, SENSE_THIRD_PARTY_DEVICE_FAILURE);
    test_command_clear(&test);
    assert_there(&pair, 100, 64, NULL);
    pair_clear(&pair);
}

/* A change that leaves the unit leaves the copy */
static void
test_other_changes(void)
{
    Pair pair;
    TestCommand test;

    pair_init(&pair);
    start_held(&pair, &test);
    change_there(&pair, &(LunEntry){ 5, pair.c.lu, FALSE });
    nexus_review_reach(pair.c.nexus, "iqn.2026-11.org.lunport:elsewhere");
    g_assert_cmpuint(pair.n_asked, ==, 2);
    let_go(&pair);
    g_assert_true(test.is_done);
    test_assert_good(&test);
    test_command_clear(&test);
    assert_there(&pair, 100, N_BLOCKS, slow_memory(pair.c.rig->store) + 8 * 512);
    pair_clear(&pair);
}

/* The unit can be given back while a copy that has used it is still on its way to its end */
static void
on_released(Lu *lu, gpointer user_data)
{
    *(gboolean *)user_data = TRUE;
}

static void
test_unit_is_released(void)
{
    g_autoptr(GError) error = NULL;
    gboolean released = FALSE;
    TestCommand test;
    Mailbox mailbox;
    Pair pair;

    pair_init(&pair);
    start_held(&pair, &test);
    change_there(&pair, NULL);
    (void)mailbox_init(&mailbox, &error);
    g_assert_no_error(error);
    lu_release(pair.c.lu, &mailbox, on_released, &released);
    rig_turn(pair.c.rig);
    (void)mailbox_drain(&mailbox);
    g_assert_true(released);
    mailbox_deinit(&mailbox);

    let_go(&pair);
    test_assert_sense(&test, SENSE_COPY_TARGET_NOT_REACHABLE);
    test_command_clear(&test);
    pair_clear(&pair);
}

static void
on_reset(ScsiTmf *tmf)
{
}

/* A reset of the other unit, by whom it belongs to: the copy has failed when it is answered */
static void
test_reset_there(void)
{
    const SlowConfig config = { .size = 4 * MIB };
    ScsiTmf tmf = { .function = TMF_LOGICAL_UNIT_RESET, .done = on_reset };
    Pair pair = { 0 };
    TestCommand test;

    copy_init_slow(&pair.c, &config, 1, 0);
    leave_one(&pair);
    tmf.nexus = log_in_there(&pair, "iqn.2026-11.org.example:other,i,0x000000000007");
    lun_encode(5, tmf.lun);
    make_list(&pair);
    slow_hold(pair.c.store, TRUE);
    copy_prepare(&pair.c, &test, 0x00);
    test_start(&test);
    rig_turn(pair.c.rig);
    g_assert_cmpuint(slow_n_held(pair.c.store, 0), >, 0);

    tmf.response = TMF_REJECTED;
    scsi_tmf_start(&tmf);
    rig_turn(pair.c.rig);
    slow_hold(pair.c.store, FALSE);
    slow_release(pair.c.store, 0);
    rig_turn(pair.c.rig);
    g_assert_cmpint(tmf.response, ==, TMF_COMPLETE);
    g_assert_true(test.is_done);
    test_assert_sense(&test, SENSE_THIRD_PARTY_DEVICE_FAILURE);
    test_command_clear(&test);
    nexus_free(tmf.nexus);
    pair_clear(&pair);
}

/*
 * Ends
 */

static void
test_abort(void)
{
    Pair pair;
    TestCommand test;

    pair_init(&pair);
    start_held(&pair, &test);
    scsi_command_abort(&test.command);
    rig_turn(pair.c.rig);
    g_assert_false(test.is_done);

    let_go(&pair);
    g_assert_true(test.is_done);
    g_assert_true(test.command.aborted);
    test_command_clear(&test);
    assert_there(&pair, 100, 64, NULL);
    pair_clear(&pair);
}

static void
on_left(gpointer user_data)
{
    *(gboolean *)user_data = TRUE;
}

/* In the background: the nexus goes when the sibling has no command any more, and takes it along */
static void
test_nexus_loss(void)
{
    gboolean has_left = FALSE;
    TestCommand test;
    Pair pair;

    pair_init(&pair);
    copy_make_lid4(&pair.c);
    copy_add_segment(&pair.c, 1, 2, N_BLOCKS, 8, 100);
    pair.c.list[15] |= 0x01; /* IMMED */
    slow_hold(pair.c.rig->store, TRUE);
    copy_run(&pair.c, &test, 0x01);
    test_assert_good(&test);
    test_command_clear(&test);
    rig_turn(pair.c.rig);
    g_assert_false(list_is_empty(&pair.c.nexus->siblings));

    g_assert_false(nexus_leave(pair.c.nexus, on_left, &has_left));
    rig_turn(pair.c.rig);
    g_assert_false(has_left);
    let_go(&pair);
    g_assert_true(has_left);
    nexus_free(pair.c.nexus);

    pair.c.nexus = pair.c.rig->nexus = rig_new_nexus(pair.c.rig, 0, 1);
    assert_there(&pair, 100, 64, NULL);
    pair_clear(&pair);
}

/* Freed before the event loop has come to it */
static void
test_free_before_sweep(void)
{
    Pair pair;
    NexusLun *nexus_lun;

    pair_init(&pair);
    make_list(&pair);
    {
        CopyList *list = g_new0(CopyList, 1);
        Sense sense;

        g_assert_true(
            copy_list_judge(pair.c.nexus, pair.c.list, pair.c.length, FALSE, list, &sense));
        nexus_lun = copy_unit_find(&list->units[1]);
        g_assert_true(nexus_is_sibling(nexus_lun->nexus));
        copy_list_clear(list);
        copy_list_clear(list);
        g_free(list);
    }
    nexus_free(pair.c.nexus);
    pair.c.nexus = pair.c.rig->nexus = rig_new_nexus(pair.c.rig, 0, 1);
    pair_clear(&pair);
}

/* Both units hold their requests; the second one is LUN 1, or another target's */
static void
pair_init_slow(Pair *pair, gboolean is_own)
{
    const SlowConfig config = { .size = 4 * MIB };

    *pair = (Pair){ 0 };
    copy_init_slow(&pair->c, &config, 1, 0);
    if (!is_own)
        leave_one(pair);
}

static void
let_go_there(Pair *pair)
{
    slow_hold(pair->c.store, FALSE);
    slow_release(pair->c.store, 0);
    rig_turn(pair->c.rig);
}

/* PREEMPT AND ABORT at the unit that was asked waits for what the copy writes at the other one */
static void
run_preempted(gboolean is_own)
{
    TestCommand test, preempt;
    guint8 list[24] = { 0 };
    Nexus *other;
    Pair pair;

    pair_init_slow(&pair, is_own);
    other = rig_new_nexus(pair.c.rig, 0, 2);
    reserve_out(&pair, pair.c.nexus, 0x00, 0, 0, 0xa1);
    reserve_out(&pair, other, 0x00, 0, 0, 0xb1);
    copy_make_list(&pair.c);
    copy_add_segment(&pair.c, 0, 1, 64, 8, 100);
    slow_hold(pair.c.store, TRUE);
    copy_prepare(&pair.c, &test, 0x00);
    test_start(&test);
    rig_turn(pair.c.rig);
    g_assert_cmpuint(slow_n_held(pair.c.store, 0), ==, 1);

    put_be64(list, 0xb1);
    put_be64(list + 8, 0xa1);
    test_command_init(&preempt, other, 0, CDB(0x5f, 0x05, 5, 0, 0, 0, 0, 0, sizeof(list), 0));
    preempt.command.expected_out = sizeof(list);
    preempt.out = list;
    preempt.n_out = sizeof(list);
    test_start(&preempt);
    rig_turn(pair.c.rig);
    g_assert_false(preempt.is_done);

    let_go_there(&pair);
    g_assert_true(preempt.is_done);
    test_assert_good(&preempt);
    g_assert_true(test.is_done);
    test_command_clear(&preempt);
    test_command_clear(&test);
    nexus_free(other);
    pair_clear(&pair);
}

static void
test_preempted(void)
{
    run_preempted(TRUE);
    run_preempted(FALSE);
}

/* A WRITE of somebody else, in flight at the second unit and aborted: what comes behind it is parked */
static void
block_there(Pair *pair, Nexus *other, TestCommand *write, ScsiTmf *tmf)
{
    static const guint8 data[64 * 512];
    guint8 cdb[16] = { 0x8a };

    put_be64(cdb + 2, 100);
    put_be32(cdb + 10, 64);
    slow_hold(pair->c.store, TRUE);
    test_command_init(write, other, 5, cdb, sizeof(cdb));
    write->command.expected_out = sizeof(data);
    write->out = data;
    write->n_out = sizeof(data);
    test_start(write);
    rig_turn(pair->c.rig);
    g_assert_cmpuint(slow_n_held(pair->c.store, 0), ==, 1);

    *tmf = (ScsiTmf){ .function = TMF_LOGICAL_UNIT_RESET, .nexus = other, .done = on_reset };
    lun_encode(5, tmf->lun);
    scsi_tmf_start(tmf);
    rig_turn(pair->c.rig);
}

typedef enum {
    END_BY_ABORT,
    END_BY_LOSS,
    END_BY_STOP, /* COPY OPERATION ABORT */
    END_N,
} End;

/* One piece has failed and another one is parked at the second unit: an end does not wait for that,
 * and it is not written afterwards */
static void
run_ended_after_failure(gboolean is_own, End end)
{
    TestCommand test, write, stop = { 0 };
    Nexus *other;
    ScsiTmf tmf;
    Pair pair;

    pair_init_slow(&pair, is_own);
    copy_fill(&pair.c);
    other = log_in_there(&pair, "iqn.2026-11.org.example:other,i,0x000000000007");
    block_there(&pair, other, &write, &tmf);

    copy_make_list(&pair.c);
    copy_add_segment(&pair.c, 0, 1, 64, 8, 100);
    copy_add_segment(&pair.c, 0, 0, 64, 1000, 2000);
    slow_hold(pair.c.rig->store, TRUE);
    copy_prepare(&pair.c, &test, 0x00);
    test_start(&test);
    rig_turn(pair.c.rig);
    slow_release(pair.c.rig->store, 0); /* both READs */
    rig_turn(pair.c.rig);
    g_assert_cmpuint(slow_n_held(pair.c.rig->store, 0), ==, 1); /* the second WRITE */
    slow_fail_next(pair.c.rig->store, EIO);
    let_go(&pair);
    g_assert_false(test.is_done);

    if (end == END_BY_LOSS) {
        nexus_abort_all(pair.c.nexus);
    } else if (end == END_BY_ABORT) {
        scsi_command_abort(&test.command);
    } else {
        test_command_init(&stop, pair.c.nexus, 0,
                          CDB(0x83, 0x1c, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
        test_start(&stop);
    }
    rig_turn(pair.c.rig);
    g_assert_true(test.is_done);

    let_go_there(&pair);
    g_assert_cmpint(memcmp(slow_memory(pair.c.store) + 100 * 512,
                           slow_memory(pair.c.rig->store) + 8 * 512, 64 * 512),
                    !=, 0);
    g_assert_cmpint(stop.is_done, ==, end == END_BY_STOP);
    if (end == END_BY_STOP)
        test_command_clear(&stop);
    test_command_clear(&test);
    test_command_clear(&write);
    nexus_free(other);
    pair_clear(&pair);
}

static void
test_ended_after_failure(void)
{
    for (guint end = 0; end < END_N; end++) {
        run_ended_after_failure(TRUE, (End)end);
        run_ended_after_failure(FALSE, (End)end);
    }
}

static void
send_list(ScsiCommand *command)
{
    const Pair *pair = command->nexus->user_data;

    memcpy(command->data, pair->c.list, pair->c.length);
    scsi_command_data_out_ready(command);
}

static void
end_and_free(ScsiCommand *command)
{
    Nexus *nexus = command->nexus;

    g_assert_cmpint(command->status, ==, SCSI_CHECK_CONDITION);
    scsi_command_end(command);
    nexus_free(nexus);
}

/* A transport may free the nexus when it is given the answer of a list that was refused */
static void
test_free_in_done(void)
{
    static const ScsiTransport transport = { .data_out = send_list, .done = end_and_free };
    ScsiCommand command = { .transport = &transport, .cdb = { 0x83 } };
    Pair pair;

    pair_init(&pair);
    make_list(&pair);
    put_be64(pair.c.list + 80 + 20, 1 << 20); /* the destination ends before */
    command.nexus = pair.c.nexus;
    put_be32(command.cdb + 10, (guint32)pair.c.length);
    command.expected_out = (guint32)pair.c.length;
    scsi_command_begin(&command);
    scsi_command_run(&command);
    pair.c.nexus = pair.c.rig->nexus = rig_new_nexus(pair.c.rig, 0, 1);
    pair_clear(&pair);
}

/*
 * Tokens
 */

static void
put_range(guint8 *list, guint header, guint64 lba, guint32 n_blocks)
{
    guint length = header + ROD_RANGE_LENGTH;

    put_be16(list, (guint16)(length - 2));
    put_be16(list + header - 2, ROD_RANGE_LENGTH);
    put_be64(list + header, lba);
    put_be32(list + header + 8, n_blocks);
}

static void
run_rod(Pair *pair, TestCommand *test, Nexus *nexus, guint8 action, const guint8 *list,
        guint length)
{
    guint8 cdb[16] = { 0x83, action };

    put_be32(cdb + 6, 1);
    put_be32(cdb + 10, length);
    (void)test_execute(pair->c.rig, nexus, test, cdb, sizeof(cdb), 0, list, length);
}

/* Of 64 blocks of the other target's unit, made by who is logged in there */
static void
populate_there(Pair *pair, Nexus *there, guint8 *token)
{
    guint8 list[ROD_POPULATE_HEADER + ROD_RANGE_LENGTH] = { 0 };
    TestCommand test;

    put_range(list, ROD_POPULATE_HEADER, 100, 64);
    run_rod(pair, &test, there, ROD_POPULATE, list, sizeof(list));
    test_assert_good(&test);
    test_command_clear(&test);
    (void)test_execute(pair->c.rig, there, &test,
                       CDB(0x84, 0x07, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0), 1024, NULL, 0);
    test_assert_good(&test);
    g_assert_cmpuint(test.in->len, ==, 38 + ROD_TOKEN_LENGTH);
    memcpy(token, test.in->data + 38, ROD_TOKEN_LENGTH);
    test_command_clear(&test);
}

static void
test_token(void)
{
    guint8 list[ROD_WRITE_HEADER + ROD_RANGE_LENGTH] = { 0 };
    const guint8 *memory;
    TestCommand test;
    Nexus *there;
    Pair pair;

    pair_init(&pair);
    assert_works(&pair);
    memory = slow_memory(pair.c.rig->store);
    there = log_in_at_zero(&pair, "iqn.2026-11.org.example:host1,i,0x000000000008");
    populate_there(&pair, there, list + 16);
    put_range(list, ROD_WRITE_HEADER, 5000, 64);

    set_there(&pair, NULL);
    run_rod(&pair, &test, pair.c.nexus, ROD_WRITE, list, sizeof(list));
    test_assert_sense(&test, SENSE_TOKEN_UNKNOWN);
    test_command_clear(&test);
    g_assert_true(list_is_empty(&pair.c.nexus->siblings));

    set_there(&pair, &(LunEntry){ 5, pair.c.lu, FALSE });
    run_rod(&pair, &test, pair.c.nexus, ROD_WRITE, list, sizeof(list));
    test_assert_good(&test);
    test_command_clear(&test);
    g_assert_cmpmem(memory + 5000 * 512, 64 * 512, memory + 8 * 512, 64 * 512);
    rig_turn(pair.c.rig);
    g_assert_true(list_is_empty(&pair.c.nexus->siblings));

    list[16 + 511] ^= 1; /* of a unit that is there */
    run_rod(&pair, &test, pair.c.nexus, ROD_WRITE, list, sizeof(list));
    test_assert_sense(&test, SENSE_TOKEN_CORRUPT);
    test_command_clear(&test);
    nexus_free(there);
    pair_clear(&pair);
}

/* Access ends between two pieces, or before the first: nothing counts as transferred */
static void
test_token_access_ends(void)
{
    guint8 list[ROD_WRITE_HEADER + ROD_RANGE_LENGTH] = { 0 };
    guint8 cdb[16] = { 0x83, ROD_WRITE };
    TestCommand test;
    Nexus *there;
    Pair pair;

    pair_init(&pair);
    there = log_in_at_zero(&pair, "iqn.2026-11.org.example:host1,i,0x000000000008");
    populate_there(&pair, there, list + 16);
    put_range(list, ROD_WRITE_HEADER, 5000, 64);
    put_be32(cdb + 10, sizeof(list));

    slow_hold(pair.c.rig->store, TRUE);
    test_command_init(&test, pair.c.nexus, 0, cdb, sizeof(cdb));
    test.out = list;
    test.n_out = sizeof(list);
    test.command.expected_out = sizeof(list);
    test_start(&test);
    rig_turn(pair.c.rig);
    g_assert_false(test.is_done);
    change_there(&pair, NULL);
    let_go(&pair);
    g_assert_true(test.is_done);
    test_assert_sense(&test, SENSE_COPY_TARGET_NOT_REACHABLE);
    test_command_clear(&test);
    nexus_free(there);
    pair_clear(&pair);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

#define ADD(name, function) g_test_add_func("/scsi/sibling/" name, function)
    ADD("to-another-target", test_to_another_target);
    ADD("from-another-target", test_from_another_target);
    ADD("within-another-target", test_within_another_target);
    ADD("by-the-store", test_by_the_store);
    ADD("hidden", test_hidden);
    ADD("own-unit-first", test_own_unit_first);
    ADD("refused-lists", test_refused_lists);
    ADD("write-protected-there", test_write_protected_there);
    ADD("port-group-there", test_port_group_there);
    ADD("reserved-there", test_reserved_there);
    ADD("reserve-is-kept", test_reserve_is_kept);
    ADD("is-not-known", test_is_not_known);
    ADD("access-ends", test_access_ends);
    ADD("access-ends-in-flight", test_access_ends_in_flight);
    ADD("becomes-read-only", test_becomes_read_only);
    ADD("other-changes", test_other_changes);
    ADD("unit-is-released", test_unit_is_released);
    ADD("reset-there", test_reset_there);
    ADD("abort", test_abort);
    ADD("nexus-loss", test_nexus_loss);
    ADD("free-before-sweep", test_free_before_sweep);
    ADD("preempted", test_preempted);
    ADD("ended-after-failure", test_ended_after_failure);
    ADD("free-in-done", test_free_in_done);
    ADD("token", test_token);
    ADD("token-access-ends", test_token_access_ends);
#undef ADD

    return g_test_run();
}
