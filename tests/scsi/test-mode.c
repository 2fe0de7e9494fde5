/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * MODE SELECT: what can be changed has its effect on every worker, what cannot
 * is refused with a pointer at it, and the others are told.
 */

#include <string.h>

#include "fixture.h"
#include "util/bytes.h"

typedef struct {
    Rig *rig;
    Nexus *other; /* on the last worker */
    TestCommand test;
} Case;

static void
case_init(Case *c, const RigConfig *config)
{
    memset(c, 0, sizeof(*c));
    c->rig = rig_new(config);
    c->other = rig_new_nexus(c->rig, c->rig->n_workers - 1, 2);
}

static void
case_clear(Case *c)
{
    test_command_clear(&c->test);
    nexus_free(c->other);
    rig_free(c->rig);
}

static void
tell(Case *c, Nexus *nexus, const guint8 *cdb, gsize n, const guint8 *out, gsize n_out)
{
    test_command_clear(&c->test);
    (void)test_execute(c->rig, nexus, &c->test, cdb, n, 4096, out, n_out);
}

typedef struct {
    ScsiTmf tmf;
    gboolean is_done;
} TestReset;

static void
on_reset_done(ScsiTmf *tmf)
{
    list_entry(tmf, TestReset, tmf)->is_done = TRUE;
}

static void
reset_start(TestReset *reset, Nexus *nexus)
{
    *reset = (TestReset){ .tmf = { .function = TMF_LOGICAL_UNIT_RESET, .nexus = nexus } };
    reset->tmf.done = on_reset_done;
    scsi_tmf_start(&reset->tmf);
}

static void
reset_wait(Rig *rig, TestReset *reset)
{
    for (guint i = 0; i < 100 && !reset->is_done; i++)
        rig_turn(rig);
    g_assert_true(reset->is_done);
    g_assert_cmpint(reset->tmf.response, ==, TMF_COMPLETE);
}

#define LIST(...) (const guint8[]){ __VA_ARGS__ }, sizeof((const guint8[]){ __VA_ARGS__ })

/* MODE SELECT(6) of the control page with these bytes 2 and 4 */
static void
select_control(Case *c, Nexus *nexus, guint8 byte2, guint8 byte4)
{
    tell(c, nexus, CDB(0x15, 0x10, 0, 0, 16, 0),
         LIST(0, 0, 0, 0, 0x0a, 0x0a, byte2, 0x10, byte4, 0, 0, 0, 0, 0, 0, 0));
}

static void
select_caching(Case *c, guint8 byte2)
{
    guint8 list[24] = { 0, 0, 0, 0, 0x08, 0x12, byte2 };

    tell(c, c->rig->nexus, CDB(0x15, 0x10, 0, 0, 24, 0), list, sizeof(list));
}

static const guint8 *
sense_page(Case *c, Nexus *nexus, guint8 control, guint8 page)
{
    tell(c, nexus, CDB(0x1a, 0x08, (guint8)(control << 6 | page), 0, 255, 0), NULL, 0);
    test_assert_good(&c->test);
    return c->test.in->data + 4;
}

static void
test_changeable(void)
{
    static const guint8 control[12] = { 0x0a, 0x0a, 0x04, 0, 0x08 };
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    g_assert_cmpmem(sense_page(&c, c.rig->nexus, 1, 0x0a), 12, control, 12);
    g_assert_cmphex(sense_page(&c, c.rig->nexus, 1, 0x08)[2], ==, 0x04);
    g_assert_cmphex(sense_page(&c, c.rig->nexus, 2, 0x0a)[2], ==, 0x20);
    case_clear(&c);

    /* Without a write cache there is nothing to turn off */
    case_init(&c, &(RigConfig){ .slow = { .read_only = TRUE } });
    g_assert_cmphex(sense_page(&c, c.rig->nexus, 1, 0x08)[2], ==, 0x00);
    case_clear(&c);
}

static void
test_subpages(void)
{
    const guint8 *p;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    tell(&c, c.rig->nexus, CDB(0x1a, 0x08, 0x0a, 0x01, 255, 0), NULL, 0);
    p = c.test.in->data + 4;
    g_assert_cmpmem(p, 5, ((guint8[]){ 0x4a, 0x01, 0, 0x1c, 0x02 }), 5);
    tell(&c, c.rig->nexus, CDB(0x1a, 0x08, 0x0a, 0xff, 255, 0), NULL, 0);
    g_assert_cmpuint(c.test.in->len, ==, 4 + 12 + 32);
    tell(&c, c.rig->nexus, CDB(0x1a, 0x08, 0x3f, 0xff, 255, 0), NULL, 0);
    g_assert_cmpuint(c.test.in->len, ==, 4 + 12 + 16 + 20 + 12 + 32 + 40 + 12);
    case_clear(&c);
}

static void
test_software_write_protect(void)
{
    static const guint8 block[512];
    Case c;

    case_init(&c, &(RigConfig){ .n_workers = 3 });
    select_control(&c, c.rig->nexus, 0x20, 0x08);
    test_assert_good(&c.test);
    tell(&c, c.rig->nexus, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), block, sizeof(block));
    test_assert_sense(&c.test, SENSE_WRITE_PROTECTED);

    tell(&c, c.other, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), block, sizeof(block));
    test_assert_sense(&c.test, SENSE_MODE_PARAMETERS_CHANGED);
    tell(&c, c.other, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), block, sizeof(block));
    test_assert_sense(&c.test, SENSE_WRITE_PROTECTED);
    tell(&c, c.other, CDB(0x1a, 0x08, 0x0a, 0, 255, 0), NULL, 0);
    g_assert_cmphex(c.test.in->data[2], ==, 0x90);
    g_assert_cmphex(c.test.in->data[4 + 4], ==, 0x08);

    select_control(&c, c.other, 0x20, 0x00);
    tell(&c, c.other, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), block, sizeof(block));
    test_assert_good(&c.test);
    case_clear(&c);
}

static void
test_descriptor_sense(void)
{
    Case c;

    case_init(&c, &(RigConfig){ .n_workers = 2 });
    select_control(&c, c.rig->nexus, 0x24, 0x00);
    test_assert_good(&c.test);
    c.other->luns[0]->attentions.n = 0;
    tell(&c, c.other, CDB(0x1a, 0, 0x05, 0, 255, 0), NULL, 0);
    g_assert_cmphex(c.test.command.status, ==, SCSI_CHECK_CONDITION);
    g_assert_cmpmem(c.test.command.sense, c.test.command.sense_length,
                    "\x72\x05\x24\0\0\0\0\x08\x02\x06\0\0\xcd\0\x02\0", 16);
    case_clear(&c);
}

static void
test_unchanged_tells_nobody(void)
{
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    select_control(&c, c.rig->nexus, 0x20, 0x00);
    test_assert_good(&c.test);
    g_assert_cmpuint(c.other->luns[0]->attentions.n, ==, 0);
    case_clear(&c);
}

static void
test_write_cache_off(void)
{
    static const guint8 block[512];
    Case c;
    guint n_flushes;

    case_init(&c, &(RigConfig){ .n_workers = 2 });
    g_assert_cmphex(sense_page(&c, c.other, 0, 0x08)[2], ==, 0x04);
    select_caching(&c, 0x00);
    test_assert_good(&c.test);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_FLUSH), ==, 1);
    c.other->luns[0]->attentions.n = 0;
    g_assert_cmphex(sense_page(&c, c.other, 0, 0x08)[2], ==, 0x00);

    /* The slow store does FUA itself: no flush follows, on either worker */
    n_flushes = slow_n_done(c.rig->store, IO_FLUSH);
    slow_hold(c.rig->store, TRUE);
    test_command_clear(&c.test);
    test_command_init(&c.test, c.other, 0, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    c.test.command.expected_out = sizeof(block);
    c.test.out = block;
    c.test.n_out = sizeof(block);
    test_start(&c.test);
    g_assert_cmphex(c.test.command.io.flags, ==, IO_FUA);
    slow_release(c.rig->store, 1);
    slow_hold(c.rig->store, FALSE);
    test_wait(c.rig, &c.test);
    test_assert_good(&c.test);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_FLUSH), ==, n_flushes);

    select_caching(&c, 0x04);
    test_assert_good(&c.test);
    g_assert_cmphex(sense_page(&c, c.rig->nexus, 0, 0x08)[2], ==, 0x04);
    case_clear(&c);
}

/* What was submitted as a cached write becomes durable before its status */
static void
test_write_under_way(void)
{
    static const guint8 block[512];
    TestCommand write;
    Case c;

    case_init(&c, &(RigConfig){ .n_workers = 2 });
    slow_hold(c.rig->store, TRUE);
    test_command_init(&write, c.other, 0, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    write.command.expected_out = sizeof(block);
    write.out = block;
    write.n_out = sizeof(block);
    test_start(&write);
    g_assert_cmpuint(slow_n_held(c.rig->store, 1), ==, 1);
    g_assert_cmphex(write.command.io.flags, ==, 0);

    slow_hold(c.rig->store, FALSE);
    select_caching(&c, 0x00);
    test_assert_good(&c.test);
    g_assert_false(write.is_done);
    slow_release(c.rig->store, 1);
    test_wait(c.rig, &write);
    test_assert_good(&write);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_FLUSH), ==, 2);
    test_command_clear(&write);
    case_clear(&c);
}

/* After GOOD to write protection nothing is written any more: not what was submitted before, nor
 * what a long command has not submitted yet */
static void
test_protection_meets_write(void)
{
    static const guint8 list[16] = { 0, 0, 0, 0, 0x0a, 0x0a, 0x20, 0x10, 0x08 };
    g_autofree guint8 *blocks = g_malloc0(2 << 20);
    TestCommand write, select;
    Case c;

    case_init(&c, &(RigConfig){ .n_workers = 2, .slow = { .size = 4 << 20 } });
    slow_hold(c.rig->store, TRUE);
    test_command_init(&write, c.other, 0, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0x10, 0, 0));
    write.command.expected_out = 2 << 20;
    write.out = blocks;
    write.n_out = 2 << 20;
    test_start(&write);
    g_assert_cmpuint(slow_n_held(c.rig->store, 1), ==, 1);

    test_command_init(&select, c.rig->nexus, 0, CDB(0x15, 0x10, 0, 0, 16, 0));
    select.command.expected_out = sizeof(list);
    select.out = list;
    select.n_out = sizeof(list);
    test_start(&select);
    rig_turn(c.rig);
    g_assert_false(select.is_done);

    slow_release(c.rig->store, 1);
    test_wait(c.rig, &select);
    test_assert_good(&select);
    test_wait(c.rig, &write);
    test_assert_sense(&write, SENSE_WRITE_PROTECTED);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_WRITE), ==, 1);
    test_command_clear(&write);
    test_command_clear(&select);
    case_clear(&c);
}

static void
test_select_10(void)
{
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    tell(&c, c.rig->nexus, CDB(0x55, 0x10, 0, 0, 0, 0, 0, 0, 28, 0),
         LIST(0, 0, 0, 0x90, 0, 0, 0, 8, 0, 0, 0x08, 0, 0, 0, 2, 0, 0x8a, 0x0a, 0x20, 0x10, 0x08, 0,
              0, 0, 0, 0, 0, 0));
    test_assert_good(&c.test);
    g_assert_cmphex(sense_page(&c, c.rig->nexus, 0, 0x0a)[4], ==, 0x08);
    case_clear(&c);
}

static void
test_empty_list(void)
{
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    tell(&c, c.rig->nexus, CDB(0x15, 0x10, 0, 0, 0, 0), NULL, 0);
    test_assert_good(&c.test);
    case_clear(&c);
}

static void
test_list_lengths(void)
{
    static const guint8 zero[2048];
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    tell(&c, c.rig->nexus, CDB(0x15, 0x10, 0, 0, 3, 0), zero, 3);
    test_assert_sense(&c.test, SENSE_PARAMETER_LIST_LENGTH);
    tell(&c, c.rig->nexus, CDB(0x15, 0x10, 0, 0, 15, 0),
         LIST(0, 0, 0, 0, 0x0a, 0x0a, 0x24, 0x10, 0, 0, 0, 0, 0, 0, 0));
    test_assert_sense(&c.test, SENSE_PARAMETER_LIST_LENGTH);
    tell(&c, c.rig->nexus, CDB(0x15, 0x10, 0, 0, 8, 0), LIST(0, 0, 0, 8, 0, 0, 0, 0));
    test_assert_sense(&c.test, SENSE_PARAMETER_LIST_LENGTH);
    tell(&c, c.rig->nexus, CDB(0x55, 0x10, 0, 0, 0, 0, 0, 8, 0, 0), zero, 2048);
    test_assert_sense(&c.test, SENSE_PARAMETER_LIST_LENGTH);
    g_assert_cmphex(sense_page(&c, c.rig->nexus, 0, 0x0a)[2], ==, 0x20);
    case_clear(&c);
}

static void
test_refused_fields(void)
{
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    /* saving */
    tell(&c, c.rig->nexus, CDB(0x15, 0x11, 0, 0, 4, 0), LIST(0, 0, 0, 0));
    test_assert_field(&c.test, TRUE, 1, 0);
    /* medium type */
    tell(&c, c.rig->nexus, CDB(0x15, 0x10, 0, 0, 4, 0), LIST(0, 1, 0, 0));
    test_assert_field(&c.test, FALSE, 1, 7);
    /* length of the block descriptor */
    tell(&c, c.rig->nexus, CDB(0x15, 0x10, 0, 0, 4, 0), LIST(0, 0, 0, 4));
    test_assert_field(&c.test, FALSE, 3, 7);
    /* another capacity, another block size */
    tell(&c, c.rig->nexus, CDB(0x15, 0x10, 0, 0, 12, 0), LIST(0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 2, 0));
    test_assert_field(&c.test, FALSE, 4, 7);
    tell(&c, c.rig->nexus, CDB(0x15, 0x10, 0, 0, 12, 0), LIST(0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 16, 0));
    test_assert_field(&c.test, FALSE, 9, 7);
    /* no such page, no such subpage, the wrong length */
    tell(&c, c.rig->nexus, CDB(0x15, 0x10, 0, 0, 6, 0), LIST(0, 0, 0, 0, 0x05, 0));
    test_assert_field(&c.test, FALSE, 4, 5);
    tell(&c, c.rig->nexus, CDB(0x15, 0x10, 0, 0, 8, 0), LIST(0, 0, 0, 0, 0x4a, 7, 0, 0));
    test_assert_field(&c.test, FALSE, 5, 7);
    tell(&c, c.rig->nexus, CDB(0x15, 0x10, 0, 0, 6, 0), LIST(0, 0, 0, 0, 0x0a, 9));
    test_assert_field(&c.test, FALSE, 5, 7);
    /* QERR, and D_SENSE with it: nothing changes */
    tell(&c, c.rig->nexus, CDB(0x15, 0x10, 0, 0, 16, 0),
         LIST(0, 0, 0, 0, 0x0a, 0x0a, 0x24, 0x12, 0, 0, 0, 0, 0, 0, 0, 0));
    test_assert_field(&c.test, FALSE, 7, 1);
    g_assert_cmphex(sense_page(&c, c.rig->nexus, 0, 0x0a)[2], ==, 0x20);
    case_clear(&c);
}

static void
test_reset_restores_defaults(void)
{
    TestReset reset;
    Case c;

    case_init(&c, &(RigConfig){ .n_workers = 2 });
    select_control(&c, c.rig->nexus, 0x20, 0x08);
    reset_start(&reset, c.rig->nexus);
    reset_wait(c.rig, &reset);
    c.other->luns[0]->attentions.n = 0;
    g_assert_cmphex(sense_page(&c, c.other, 0, 0x0a)[4], ==, 0x00);
    case_clear(&c);
}

/* A reset does not wait for a change that queues behind it */
static void
test_change_behind_reset(void)
{
    static const guint8 list[16] = { 0, 0, 0, 0, 0x0a, 0x0a, 0x20, 0x10, 0x08 };
    TestReset reset;
    TestCommand select;
    Case c;

    case_init(&c, &(RigConfig){ .n_workers = 2 });
    reset_start(&reset, c.rig->nexus);
    test_command_init(&select, c.other, 0, CDB(0x15, 0x10, 0, 0, 16, 0));
    select.command.expected_out = sizeof(list);
    select.out = list;
    select.n_out = sizeof(list);
    test_start(&select);
    reset_wait(c.rig, &reset);
    test_wait(c.rig, &select);
    g_assert_true(select.command.aborted);
    g_assert_cmphex(c.other->luns[0]->shard->state.mode, ==, MODE_BIT(MODE_WCE));
    test_command_clear(&select);
    case_clear(&c);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add_func("/scsi/mode/" name, fn)
    ADD("changeable", test_changeable);
    ADD("subpages", test_subpages);
    ADD("software-write-protect", test_software_write_protect);
    ADD("descriptor-sense", test_descriptor_sense);
    ADD("unchanged-tells-nobody", test_unchanged_tells_nobody);
    ADD("write-cache-off", test_write_cache_off);
    ADD("write-under-way", test_write_under_way);
    ADD("protection-meets-write", test_protection_meets_write);
    ADD("select-10", test_select_10);
    ADD("empty-list", test_empty_list);
    ADD("list-lengths", test_list_lengths);
    ADD("refused-fields", test_refused_fields);
    ADD("reset-restores-defaults", test_reset_restores_defaults);
    ADD("change-behind-reset", test_change_behind_reset);
    return g_test_run();
}
