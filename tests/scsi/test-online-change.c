/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What changes under initiators
 *
 * Each row of the table is a change that somebody makes, and the unit
 * attentions that every other nexus gets for it, in this order, each once. Who
 * made the change by a command of its own gets none. REPORT LUNS and INQUIRY
 * are answered while they are pending, as SAM wants it.
 */

#include <string.h>

#include "fixture.h"
#include "util/bytes.h"

#define MIB   ((guint64)1 << 20)
#define BLOCK 512

typedef struct {
    Rig *rig;
    Nexus *same;  /* on the worker of the first nexus */
    Nexus *other; /* on the second worker */
    Backstore *store;
    Lu *lu; /* another unit */
    Mailbox mailbox;
    guint n_done;
    gboolean success;
} Scene;

static void
set_up(Scene *scene)
{
    const BackstoreConfig config = { .type = "ram", .name = "two", .size = MIB, .fd = -1 };
    const LuConfig lu = { .name = "two", .uuid = { 2 } };

    *scene = (Scene){ 0 };
    g_assert_true(mailbox_init(&scene->mailbox, NULL));
    scene->rig = rig_new(&(RigConfig){ .n_workers = 2, .type = "ram" });
    scene->same = rig_new_nexus(scene->rig, 0, 2);
    scene->other = rig_new_nexus(scene->rig, 1, 3);
    scene->store = backstore_open(&config, scene->rig->offload, 2, NULL);
    scene->lu = lu_new(&lu, scene->store, scene->rig->workers, 2, 1);
}

static void
set_map(Scene *scene, const LunEntry *entries, guint n)
{
    LunMap *map = lun_map_new(entries, n);

    nexus_set_map(scene->rig->nexus, map);
    nexus_set_map(scene->same, map);
    nexus_set_map(scene->other, map);
    snapshot_unref(&map->snapshot);
    rig_turn(scene->rig);
}

static void
tear_down(Scene *scene)
{
    set_map(scene, (LunEntry[]){ { 0, scene->rig->lu, FALSE } }, 1);
    nexus_free(scene->same);
    nexus_free(scene->other);
    rig_turn(scene->rig);
    lu_free(scene->lu);
    backstore_close(scene->store);
    mailbox_deinit(&scene->mailbox);
    rig_free(scene->rig);
}

static void
turn(Scene *scene)
{
    rig_turn(scene->rig);
    (void)mailbox_drain(&scene->mailbox);
}

static void
on_changed(Lu *lu, gboolean success, gpointer user_data)
{
    Scene *scene = user_data;

    (void)lu;
    scene->n_done++;
    scene->success = success;
}

static void
on_reset(Lu *lu, gpointer user_data)
{
    on_changed(lu, TRUE, user_data);
}

/*
 * Changes
 */

static void
grow(Scene *scene)
{
    g_assert_true(backstore_resize(scene->rig->store, 2 * MIB, NULL));
    lu_set_size(scene->rig->lu, 2 * MIB, &scene->mailbox, on_changed, scene);
}

static void
shrink(Scene *scene)
{
    lu_set_size(scene->rig->lu, MIB / 2, &scene->mailbox, on_changed, scene);
}

static void
protect(Scene *scene)
{
    lu_set_read_only(scene->rig->lu, TRUE, &scene->mailbox, on_changed, scene);
}

static void
protect_twice(Scene *scene)
{
    protect(scene);
    protect(scene);
}

static void
protect_and_back(Scene *scene)
{
    protect(scene);
    lu_set_read_only(scene->rig->lu, FALSE, &scene->mailbox, on_changed, scene);
}

static void
protect_lun(Scene *scene)
{
    set_map(scene, (LunEntry[]){ { 0, scene->rig->lu, TRUE } }, 1);
}

static void
add_lun(Scene *scene)
{
    set_map(scene, (LunEntry[]){ { 0, scene->rig->lu, FALSE }, { 1, scene->lu, FALSE } }, 2);
}

static void
add_and_remove_lun(Scene *scene)
{
    add_lun(scene);
    set_map(scene, (LunEntry[]){ { 0, scene->rig->lu, FALSE } }, 1);
}

static void
replace(Scene *scene)
{
    set_map(scene, (LunEntry[]){ { 0, scene->lu, FALSE } }, 1);
}

/* As the administrator does it: nothing is there for a moment */
static void
remove_and_add(Scene *scene)
{
    set_map(scene, (LunEntry[]){ { 1, scene->rig->lu, FALSE } }, 1);
    set_map(scene, (LunEntry[]){ { 0, scene->lu, FALSE }, { 1, scene->rig->lu, FALSE } }, 2);
}

static void
nothing(Scene *scene)
{
    set_map(scene, (LunEntry[]){ { 0, scene->rig->lu, FALSE } }, 1);
}

static void
reset(Scene *scene)
{
    lu_reset(scene->rig->lu, &scene->mailbox, on_reset, scene);
}

static void
grow_and_reset(Scene *scene)
{
    grow(scene);
    turn(scene);
    reset(scene);
}

/* MODE SELECT(6): the control page as it is, with SWP */
static void
select_mode(Scene *scene)
{
    guint8 page[16];
    TestCommand test;

    (void)test_execute(scene->rig, scene->rig->nexus, &test,
                       CDB(0x1a, 0x08, 0x0a, 0, sizeof(page), 0), sizeof(page), NULL, 0);
    test_assert_good(&test);
    memcpy(page, test.in->data, sizeof(page));
    test_command_clear(&test);
    page[0] = 0;
    page[2] = 0;
    page[4] &= 0x3f;
    page[8] |= 0x08;
    (void)test_execute(scene->rig, scene->rig->nexus, &test, CDB(0x15, 0x10, 0, 0, sizeof(page), 0),
                       0, page, sizeof(page));
    test_assert_good(&test);
    test_command_clear(&test);
}

typedef struct {
    const char *name;
    void (*make)(Scene *scene);
    SenseCode codes[4];    /* of every nexus, ends with SENSE_NONE */
    gboolean is_requester; /* the first nexus has done it by a command, and gets none */
} Row;

/* clang-format off */
static const Row rows[] = {
    { "grow",             grow,               { SENSE_CAPACITY_CHANGED },        FALSE },
    { "shrink",           shrink,             { SENSE_CAPACITY_CHANGED },        FALSE },
    { "read-only",        protect,            { SENSE_MODE_PARAMETERS_CHANGED }, FALSE },
    { "read-only-twice",  protect_twice,      { SENSE_MODE_PARAMETERS_CHANGED }, FALSE },
    { "read-only-and-back", protect_and_back, { SENSE_MODE_PARAMETERS_CHANGED }, FALSE },
    { "lun-read-only",    protect_lun,        { SENSE_MODE_PARAMETERS_CHANGED }, FALSE },
    { "lun-added",        add_lun,            { SENSE_REPORTED_LUNS_CHANGED },   FALSE },
    { "lun-added-and-removed", add_and_remove_lun, { SENSE_REPORTED_LUNS_CHANGED }, FALSE },
    { "backstore-replaced", replace,          { SENSE_POWER_ON, SENSE_INQUIRY_DATA_CHANGED,
                                                SENSE_REPORTED_LUNS_CHANGED },   FALSE },
    { "lun-removed-and-added", remove_and_add, { SENSE_POWER_ON, SENSE_REPORTED_LUNS_CHANGED }, FALSE },
    { "nothing",          nothing,            { SENSE_NONE },                    FALSE },
    { "reset",            reset,              { SENSE_LU_RESET },                FALSE },
    { "grow-and-reset",   grow_and_reset,     { SENSE_LU_RESET, SENSE_CAPACITY_CHANGED }, FALSE },
    { "mode-select",      select_mode,        { SENSE_MODE_PARAMETERS_CHANGED }, TRUE },
};
/* clang-format on */

/*
 * What they see
 */

static void
execute(Scene *scene, Nexus *nexus, TestCommand *test, const guint8 *cdb, gsize n, guint32 in)
{
    (void)test_execute(scene->rig, nexus, test, cdb, n, in, NULL, 0);
    test_command_clear(test);
}

static void
assert_ready(Scene *scene, Nexus *nexus, SenseCode code)
{
    TestCommand test;

    execute(scene, nexus, &test, CDB(0, 0, 0, 0, 0, 0), 0);
    if (code == SENSE_NONE)
        test_assert_good(&test);
    else
        test_assert_sense(&test, code);
}

static void
assert_told(Scene *scene, Nexus *nexus, const SenseCode *codes)
{
    TestCommand test;

    /* Answered, and takes nothing away */
    execute(scene, nexus, &test, CDB(0x12, 0, 0, 0, 36, 0), 36);
    test_assert_good(&test);
    for (guint i = 0; codes[i] != SENSE_NONE; i++)
        assert_ready(scene, nexus, codes[i]);
    assert_ready(scene, nexus, SENSE_NONE);
}

static void
test_change(gconstpointer data)
{
    static const SenseCode none[] = { SENSE_NONE };
    const Row *row = data;
    Scene scene;

    set_up(&scene);
    row->make(&scene);
    turn(&scene);
    assert_told(&scene, scene.rig->nexus, row->is_requester ? none : row->codes);
    assert_told(&scene, scene.same, row->codes);
    assert_told(&scene, scene.other, row->codes);
    tear_down(&scene);
}

static ScsiStatus
report_luns(Scene *scene, Nexus *nexus)
{
    TestCommand test;

    execute(scene, nexus, &test, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0), 64);
    return test.command.status;
}

/* REPORT LUNS takes the news from all units of the nexus, and from no other nexus */
static void
test_report_luns_clears(void)
{
    Scene scene;

    set_up(&scene);
    add_lun(&scene);
    scene.rig->nexus->luns[1]->attentions.n = 0;
    unit_attention_raise(&scene.rig->nexus->luns[1]->attentions, SENSE_REPORTED_LUNS_CHANGED);
    g_assert_cmpint(report_luns(&scene, scene.rig->nexus), ==, SCSI_GOOD);
    assert_ready(&scene, scene.rig->nexus, SENSE_NONE);
    g_assert_cmpuint(scene.rig->nexus->luns[1]->attentions.n, ==, 0);
    assert_ready(&scene, scene.same, SENSE_REPORTED_LUNS_CHANGED);
    assert_ready(&scene, scene.other, SENSE_REPORTED_LUNS_CHANGED);
    tear_down(&scene);
}

/* LUICLR: so does the report on one of them, by status or by REQUEST SENSE */
static void
test_reported_once_for_all_units(void)
{
    for (guint by_sense = 0; by_sense < 2; by_sense++) {
        Nexus *nexus;
        Scene scene;

        set_up(&scene);
        add_lun(&scene);
        nexus = scene.rig->nexus;
        nexus->luns[1]->attentions.n = 0;
        unit_attention_raise(&nexus->luns[1]->attentions, SENSE_REPORTED_LUNS_CHANGED);
        unit_attention_raise(&nexus->luns[1]->attentions, SENSE_CAPACITY_CHANGED);
        if (by_sense) {
            TestCommand test;

            execute(&scene, nexus, &test, CDB(0x03, 0, 0, 0, 252, 0), 252);
        } else {
            assert_ready(&scene, nexus, SENSE_REPORTED_LUNS_CHANGED);
        }
        assert_ready(&scene, nexus, SENSE_NONE);
        g_assert_cmpuint(nexus->luns[1]->attentions.n, ==, 1);
        g_assert_cmpuint(nexus->luns[1]->attentions.codes[0], ==, SENSE_CAPACITY_CHANGED);
        assert_ready(&scene, scene.same, SENSE_REPORTED_LUNS_CHANGED);
        assert_ready(&scene, scene.other, SENSE_REPORTED_LUNS_CHANGED);
        tear_down(&scene);
    }
}

/* Only who notices is told: the LUN was read-only before, and is after */
static void
test_protected_lun_is_not_told(void)
{
    Scene scene;

    set_up(&scene);
    protect_lun(&scene);
    scene.rig->nexus->luns[0]->attentions.n = 0;
    protect(&scene);
    turn(&scene);
    assert_ready(&scene, scene.rig->nexus, SENSE_NONE);
    nothing(&scene); /* the LUN is writable again, its backstore is not */
    assert_ready(&scene, scene.rig->nexus, SENSE_NONE);
    tear_down(&scene);
}

/*
 * Write protection
 */

static guint8
device_specific(Scene *scene, Nexus *nexus)
{
    TestCommand test;
    guint8 byte;

    (void)test_execute(scene->rig, nexus, &test, CDB(0x1a, 0x08, 0x0a, 0, 64, 0), 64, NULL, 0);
    test_assert_good(&test);
    byte = test.in->data[2];
    test_command_clear(&test);
    return byte;
}

static void
write_block(Scene *scene, Nexus *nexus, TestCommand *test)
{
    const guint8 data[BLOCK] = { 1 };

    (void)test_execute(scene->rig, nexus, test, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), 0, data,
                       sizeof(data));
    test_command_clear(test);
}

static void
set_read_only(Scene *scene, gboolean read_only)
{
    lu_set_read_only(scene->rig->lu, read_only, &scene->mailbox, on_changed, scene);
    turn(scene);
    g_assert_true(scene->success);
    scene->rig->nexus->luns[0]->attentions.n = 0;
    scene->other->luns[0]->attentions.n = 0;
}

static void
test_read_only_and_writable(void)
{
    TestCommand test;
    Scene scene;

    set_up(&scene);
    set_read_only(&scene, TRUE);
    g_assert_cmphex(device_specific(&scene, scene.other) & 0x80, ==, 0x80);
    write_block(&scene, scene.other, &test);
    test_assert_sense(&test, SENSE_WRITE_PROTECTED);
    write_block(&scene, scene.rig->nexus, &test);
    test_assert_sense(&test, SENSE_WRITE_PROTECTED);

    /* It is not a mode parameter, which a reset would take back */
    reset(&scene);
    turn(&scene);
    scene.other->luns[0]->attentions.n = 0;
    write_block(&scene, scene.other, &test);
    test_assert_sense(&test, SENSE_WRITE_PROTECTED);

    set_read_only(&scene, FALSE);
    g_assert_cmphex(device_specific(&scene, scene.other) & 0x80, ==, 0);
    write_block(&scene, scene.other, &test);
    test_assert_good(&test);
    tear_down(&scene);
}

/* The answer comes when nothing is being written any more; what waits for its data is refused */
static void
test_read_only_waits_for_writes(void)
{
    const guint8 data[BLOCK] = { 1 };
    Rig *rig = rig_new(&(RigConfig){ .n_workers = 2 });
    Nexus *other = rig_new_nexus(rig, 1, 2);
    Scene scene = { .rig = rig };
    TestCommand stored, receiving;

    g_assert_true(mailbox_init(&scene.mailbox, NULL));
    slow_hold(rig->store, TRUE);
    test_command_init(&stored, other, 0, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    stored.command.expected_out = BLOCK;
    stored.out = data;
    stored.n_out = BLOCK;
    test_start(&stored);
    test_command_init(&receiving, other, 0, CDB(0x2a, 0, 0, 0, 0, 8, 0, 0, 1, 0));
    receiving.command.expected_out = BLOCK;
    receiving.out = data;
    receiving.n_out = BLOCK;
    receiving.hold_data_out = TRUE;
    test_start(&receiving);

    protect(&scene);
    turn(&scene);
    g_assert_cmpuint(scene.n_done, ==, 0);
    test_send_data(&receiving);
    test_assert_sense(&receiving, SENSE_WRITE_PROTECTED);
    slow_hold(rig->store, FALSE);
    slow_release(rig->store, 1);
    turn(&scene);
    g_assert_cmpuint(scene.n_done, ==, 1);
    test_assert_good(&stored);
    g_assert_cmpuint(slow_n_done(rig->store, IO_WRITE), ==, 1);

    test_command_clear(&stored);
    test_command_clear(&receiving);
    nexus_free(other);
    mailbox_deinit(&scene.mailbox);
    rig_free(rig);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *path = g_strconcat("/scsi/online-change/", rows[i].name, NULL);

        g_test_add_data_func(path, &rows[i], test_change);
    }
    g_test_add_func("/scsi/online-change/report-luns-clears", test_report_luns_clears);
    g_test_add_func("/scsi/online-change/reported-once-for-all-units",
                    test_reported_once_for_all_units);
    g_test_add_func("/scsi/online-change/protected-lun-is-not-told",
                    test_protected_lun_is_not_told);
    g_test_add_func("/scsi/online-change/read-only-and-writable", test_read_only_and_writable);
    g_test_add_func("/scsi/online-change/read-only-waits-for-writes",
                    test_read_only_waits_for_writes);
    return g_test_run();
}
