/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * MODE SELECT: what can be changed has its effect on every worker, what cannot
 * is refused with a pointer at it, and the others are told.
 */

#include <string.h>

#include "fixture.h"
#include "scsi/record.h"
#include "util/bytes.h"
#include "util/error.h"

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

/* MODE SELECT(6) of the control page with these bytes 2 and 4, and TAS as it is by default */
static void
select_control(Case *c, Nexus *nexus, guint8 byte2, guint8 byte4)
{
    tell(c, nexus, CDB(0x15, 0x10, 0, 0, 16, 0),
         LIST(0, 0, 0, 0, 0x0a, 0x0a, byte2, 0x10, byte4, 0x40, 0, 0, 0, 0, 0, 0));
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
    static const guint8 control[12] = { 0x8a, 0x0a, 0x04, 0x06, 0x08, 0x40 };
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
    g_assert_cmpmem(p, 5, ((guint8[]){ 0x4a, 0x01, 0, 0x1c, 0x03 }), 5);
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
    /* reverting to defaults */
    tell(&c, c.rig->nexus, CDB(0x15, 0x12, 0, 0, 4, 0), LIST(0, 0, 0, 0));
    test_assert_field(&c.test, TRUE, 1, 1);
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
    /* QERR=10b, TMF_ONLY, and D_SENSE with them: nothing changes */
    tell(&c, c.rig->nexus, CDB(0x15, 0x10, 0, 0, 16, 0),
         LIST(0, 0, 0, 0, 0x0a, 0x0a, 0x24, 0x14, 0, 0, 0, 0, 0, 0, 0, 0));
    test_assert_field(&c.test, FALSE, 7, 2);
    tell(&c, c.rig->nexus, CDB(0x15, 0x10, 0, 0, 16, 0),
         LIST(0, 0, 0, 0, 0x0a, 0x0a, 0x34, 0x10, 0, 0, 0, 0, 0, 0, 0, 0));
    test_assert_field(&c.test, FALSE, 6, 4);
    g_assert_cmphex(sense_page(&c, c.rig->nexus, 0, 0x0a)[2], ==, 0x20);
    /* no such page, with a subpage code */
    tell(&c, c.rig->nexus, CDB(0x15, 0x10, 0, 0, 8, 0), LIST(0, 0, 0, 0, 0x45, 7, 0, 0));
    test_assert_field(&c.test, FALSE, 4, 5);
    case_clear(&c);
}

/* The left-most bit of the left-most byte of the field, wherever in it the wrong bit is */
static void
test_refused_fields_of_pages(void)
{
    static const struct {
        guint8 code, length, byte, value, pointer, bit;
    } table[] = {
        { 0x0a, 0x0a, 2, 0x00, 2, 7 },   /* TST */
        { 0x0a, 0x0a, 3, 0x00, 3, 7 },   /* QUEUE ALGORITHM MODIFIER */
        { 0x0a, 0x0a, 4, 0x10, 4, 5 },   /* UA_INTLCK_CTRL */
        { 0x0a, 0x0a, 5, 0x01, 5, 2 },   /* AUTOLOAD MODE */
        { 0x0a, 0x0a, 9, 0x01, 8, 7 },   /* BUSY TIMEOUT PERIOD */
        { 0x08, 0x12, 2, 0x01, 2, 0 },   /* RCD: a flag */
        { 0x08, 0x12, 3, 0x01, 3, 3 },   /* WRITE RETENTION PRIORITY */
        { 0x08, 0x12, 11, 0x01, 10, 7 }, /* MAXIMUM PRE-FETCH CEILING */
        { 0x01, 0x0a, 11, 0x01, 10, 7 }, /* RECOVERY TIME LIMIT */
        { 0x1a, 0x26, 7, 0x01, 4, 7 },   /* IDLE_A CONDITION TIMER */
        { 0x1c, 0x0a, 3, 0x01, 3, 3 },   /* MRIE */
        { 0x1c, 0x0a, 11, 0x01, 8, 7 },  /* REPORT COUNT */
    };
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    for (gsize i = 0; i < G_N_ELEMENTS(table); i++) {
        guint8 size = (guint8)(4 + 2 + table[i].length);
        guint8 list[64] = { 0 };

        memcpy(list + 4, sense_page(&c, c.rig->nexus, 0, table[i].code), 2U + table[i].length);
        list[4] &= 0x3f;
        list[4 + table[i].byte] = table[i].value;
        tell(&c, c.rig->nexus, CDB(0x15, 0x10, 0, 0, size, 0), list, size);
        test_assert_field(&c.test, FALSE, 4U + table[i].pointer, table[i].bit);
    }
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
    g_assert_cmphex(c.other->luns[0]->shard->state.mode, ==,
                    MODE_BIT(MODE_WCE) | MODE_BIT(MODE_TAS));
    test_command_clear(&select);
    case_clear(&c);
}

/*
 * Saving
 */

typedef struct {
    Mailbox mailbox;
    char *text;
    guint n_asked;
    gboolean fails;
} Keeper;

static void
on_persist(LuPersist *persist, gpointer user_data)
{
    Keeper *keeper = user_data;

    keeper->n_asked++;
    if (!keeper->fails) {
        g_free(keeper->text);
        keeper->text = g_strdup(persist->text);
    }
    lu_persisted(persist, !keeper->fails);
}

static void
keeper_case_init(Case *c, Keeper *keeper)
{
    RigConfig config = {
        .n_workers = 2,
        .lu = {
            .persist_modes = on_persist,
            .persist_data = keeper,
            .persist_to = &keeper->mailbox,
            .modes = keeper->text,
            .modes_size = keeper->text != NULL ? strlen(keeper->text) : 0,
        },
    };

    if (keeper->text == NULL)
        g_assert_true(mailbox_init(&keeper->mailbox, NULL));
    case_init(c, &config);
}

static void
keeper_clear(Keeper *keeper)
{
    mailbox_deinit(&keeper->mailbox);
    g_free(keeper->text);
}

/* MODE SELECT(6) of the control page with SP: the keeper is asked when it says so */
static void
save_control_start(Case *c, const guint8 list[16])
{
    test_command_clear(&c->test);
    test_command_init(&c->test, c->rig->nexus, 0, CDB(0x15, 0x11, 0, 0, 16, 0));
    c->test.command.expected_out = 16;
    c->test.out = list;
    c->test.n_out = 16;
    test_start(&c->test);
    rig_turn(c->rig);
}

static void
keeper_answer(Case *c, Keeper *keeper)
{
    (void)mailbox_drain(&keeper->mailbox);
    rig_turn(c->rig);
}

static const guint8 swp_without_tas[16] = { 0, 0, 0, 0, 0x0a, 0x0a, 0x20, 0x10, 0x08 };

/* It is stored first, and in force with the status */
static void
test_save(void)
{
    Keeper keeper = { 0 };
    TestReset reset;
    Case c;

    keeper_case_init(&c, &keeper);
    save_control_start(&c, swp_without_tas);
    g_assert_false(c.test.is_done);
    g_assert_cmphex(c.other->luns[0]->shard->state.mode, ==,
                    MODE_BIT(MODE_WCE) | MODE_BIT(MODE_TAS));
    keeper_answer(&c, &keeper);
    test_assert_good(&c.test);
    g_assert_true(lu_check_modes(keeper.text, strlen(keeper.text), NULL));

    /* the other one is told, and both see it, as saved values too */
    tell(&c, c.other, CDB(0x00, 0, 0, 0, 0, 0), NULL, 0);
    test_assert_sense(&c.test, SENSE_MODE_PARAMETERS_CHANGED);
    g_assert_cmphex(sense_page(&c, c.other, 3, 0x0a)[4], ==, 0x08);
    g_assert_cmphex(sense_page(&c, c.other, 3, 0x0a)[5], ==, 0x00);
    g_assert_cmphex(sense_page(&c, c.other, 2, 0x0a)[4], ==, 0x00);
    g_assert_cmphex(sense_page(&c, c.other, 2, 0x0a)[5], ==, 0x40);

    /* what is not saved ends with a reset, what is saved does not */
    select_control(&c, c.rig->nexus, 0x24, 0x00);
    test_assert_good(&c.test);
    g_assert_cmpuint(keeper.n_asked, ==, 1);
    g_assert_cmphex(sense_page(&c, c.rig->nexus, 0, 0x0a)[4], ==, 0x00);
    g_assert_cmphex(sense_page(&c, c.rig->nexus, 3, 0x0a)[4], ==, 0x08);
    reset_start(&reset, c.rig->nexus);
    reset_wait(c.rig, &reset);
    c.rig->nexus->luns[0]->attentions.n = 0;
    g_assert_cmphex(sense_page(&c, c.rig->nexus, 0, 0x0a)[2], ==, 0x20);
    g_assert_cmphex(sense_page(&c, c.rig->nexus, 0, 0x0a)[4], ==, 0x08);
    case_clear(&c);

    /* a unit that takes its place has them from the start */
    keeper_case_init(&c, &keeper);
    g_assert_cmphex(sense_page(&c, c.rig->nexus, 0, 0x0a)[4], ==, 0x08);
    g_assert_cmphex(sense_page(&c, c.rig->nexus, 0, 0x0a)[5], ==, 0x00);
    g_assert_cmphex(sense_page(&c, c.rig->nexus, 0, 0x08)[2], ==, 0x04);
    case_clear(&c);
    keeper_clear(&keeper);
}

/* Saving what is in force already tells nobody */
static void
test_save_tells_nobody(void)
{
    Keeper keeper = { 0 };
    Case c;

    keeper_case_init(&c, &keeper);
    select_control(&c, c.rig->nexus, 0x20, 0x08);
    c.other->luns[0]->attentions.n = 0;
    test_command_clear(&c.test);
    test_command_init(&c.test, c.rig->nexus, 0, CDB(0x15, 0x11, 0, 0, 0, 0));
    test_start(&c.test);
    rig_turn(c.rig);
    keeper_answer(&c, &keeper);
    test_assert_good(&c.test);
    g_assert_cmpuint(c.other->luns[0]->attentions.n, ==, 0);
    g_assert_cmphex(sense_page(&c, c.other, 3, 0x0a)[4], ==, 0x08);
    case_clear(&c);
    keeper_clear(&keeper);
}

static void
test_save_fails(void)
{
    Keeper keeper = { .fails = TRUE };
    Case c;

    keeper_case_init(&c, &keeper);
    save_control_start(&c, swp_without_tas);
    keeper_answer(&c, &keeper);
    test_assert_sense(&c.test, SENSE_INTERNAL_TARGET_FAILURE);
    g_assert_cmpuint(c.other->luns[0]->attentions.n, ==, 0);
    g_assert_cmphex(sense_page(&c, c.rig->nexus, 0, 0x0a)[4], ==, 0x00);
    g_assert_cmphex(sense_page(&c, c.rig->nexus, 3, 0x0a)[4], ==, 0x00);

    /* and the next one is not in the way of it */
    keeper.fails = FALSE;
    save_control_start(&c, swp_without_tas);
    keeper_answer(&c, &keeper);
    test_assert_good(&c.test);
    case_clear(&c);
    keeper_clear(&keeper);
}

/* What the store cannot do (any more) is not restored */
static void
test_restore_within_means(void)
{
    Keeper keeper = { 0 };
    RigConfig config = { .slow = { .read_only = TRUE } };
    Case c;

    keeper_case_init(&c, &keeper);
    save_control_start(&c, swp_without_tas);
    keeper_answer(&c, &keeper);
    case_clear(&c);

    config.lu.modes = keeper.text;
    config.lu.modes_size = strlen(keeper.text);
    case_init(&c, &config);
    g_assert_cmphex(sense_page(&c, c.rig->nexus, 0, 0x08)[2], ==, 0x00);
    g_assert_cmphex(sense_page(&c, c.rig->nexus, 0, 0x0a)[5], ==, 0x00);
    case_clear(&c);
    keeper_clear(&keeper);
}

static void
test_bad_records(void)
{
    static const char *const bad[] = {
        "",
        "d-sense 0\nswp 0\nwce 0\ntas 0\nqerr-abort 0\n",
        "d-sense 2\nswp 0\nwce 0\ntas 0\nqerr-abort 0\nqerr-own 0\n",
        "d-sense 0\nswp 0\nwce 0\ntas 0\nqerr-abort 0\nqerr-own 1\n",
        "d-sense 0\nswp 0\nwce 0\ntas 0\nqerr-abort 0\nqerr-own 0\nmore 1\n",
        "swp 0\nd-sense 0\nwce 0\ntas 0\nqerr-abort 0\nqerr-own 0\n",
    };
    g_autofree char *good = lu_mode_format(MODE_BIT(MODE_SWP) | MODE_BIT(MODE_QERR_ABORT));
    gsize size = strlen(good);

    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        GString *record = record_new("modes", 1);
        g_autofree char *text = NULL;

        g_string_append(record, bad[i]);
        text = record_finish(record);
        g_assert_false(lu_check_modes(text, strlen(text), &error));
        g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
    }

    /* Any other byte, and any other length */
    g_assert_true(lu_check_modes(good, size, NULL));
    for (gsize i = 0; i < size; i++) {
        g_assert_false(lu_check_modes(good, i, NULL));
        good[i] ^= 0x01;
        g_assert_false(lu_check_modes(good, size, NULL));
        good[i] ^= 0x01;
    }
}

/*
 * QERR
 */

static void
start_read(TestCommand *read, Nexus *nexus)
{
    test_command_init(read, nexus, 0, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    read->command.expected_in = 512;
    test_start(read);
}

static void
run_qerr(guint8 qerr, gboolean aborts)
{
    TestCommand own, foreign;
    Case c;

    case_init(&c, &(RigConfig){ .n_workers = 2 });
    tell(&c, c.rig->nexus, CDB(0x15, 0x10, 0, 0, 16, 0),
         LIST(0, 0, 0, 0, 0x0a, 0x0a, 0x20, (guint8)(0x10 | qerr << 1), 0, 0, 0, 0, 0, 0, 0, 0));
    test_assert_good(&c.test);
    c.other->luns[0]->attentions.n = 0;

    slow_hold(c.rig->store, TRUE);
    start_read(&own, c.rig->nexus);
    start_read(&foreign, c.other);
    tell(&c, c.rig->nexus, CDB(0x28, 0, 0xff, 0, 0, 0, 0, 0, 1, 0), NULL, 0);
    test_assert_sense(&c.test, SENSE_LBA_OUT_OF_RANGE);
    slow_hold(c.rig->store, FALSE);
    slow_release(c.rig->store, 0);
    slow_release(c.rig->store, 1);
    test_wait(c.rig, &own);
    test_wait(c.rig, &foreign);

    /* With a task set for each nexus, the other one is never concerned */
    g_assert_cmpint(own.command.aborted, ==, aborts);
    g_assert_false(own.command.aborted_by_other);
    test_assert_good(&foreign);
    g_assert_cmpuint(c.other->luns[0]->attentions.n, ==, 0);
    test_command_clear(&own);
    test_command_clear(&foreign);
    case_clear(&c);
}

static void
test_qerr(void)
{
    run_qerr(0, FALSE);
    run_qerr(1, TRUE);
    run_qerr(3, TRUE);
}

/* A transport that runs the next command when one has ended, as a session with its queue does */
typedef struct {
    TestCommand held;
    TestCommand next;
} Queue;

static void
on_held_done(ScsiCommand *command)
{
    Queue *queue = list_entry(command, Queue, held.command);

    queue->held.is_done = TRUE;
    scsi_command_end(command);
    scsi_command_run(&queue->next.command);
}

/* The next one fails too, from inside, and aborts all others in its turn: but not the first one, which
 * has failed already */
static void
test_qerr_from_inside(void)
{
    static const ScsiTransport transport = { .done = on_held_done };
    TestCommand first;
    Queue queue;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    tell(&c, c.rig->nexus, CDB(0x15, 0x10, 0, 0, 16, 0),
         LIST(0, 0, 0, 0, 0x0a, 0x0a, 0x20, 0x12, 0, 0x40, 0, 0, 0, 0, 0, 0));
    test_assert_good(&c.test);

    test_command_init(&first, c.rig->nexus, 0, CDB(0x28, 0, 0xff, 0, 0, 0, 0, 0, 1, 0));
    scsi_command_begin(&first.command);
    test_command_init(&queue.held, c.rig->nexus, 0, CDB(0x00, 0, 0, 0, 0, 0));
    queue.held.command.transport = &transport;
    scsi_command_begin(&queue.held.command);
    test_command_init(&queue.next, c.rig->nexus, 0, CDB(0x28, 0, 0xff, 0, 0, 0, 0, 0, 1, 0));
    scsi_command_begin(&queue.next.command);

    scsi_command_run(&first.command);
    g_assert_true(first.is_done && queue.held.is_done && queue.next.is_done);
    g_assert_true(queue.held.command.aborted);
    g_assert_false(first.command.aborted);
    test_assert_sense(&first, SENSE_LBA_OUT_OF_RANGE);
    g_assert_false(queue.next.command.aborted);
    test_assert_sense(&queue.next, SENSE_LBA_OUT_OF_RANGE);
    test_command_clear(&first);
    test_command_clear(&queue.held);
    test_command_clear(&queue.next);
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
    ADD("refused-fields-of-pages", test_refused_fields_of_pages);
    ADD("reset-restores-defaults", test_reset_restores_defaults);
    ADD("change-behind-reset", test_change_behind_reset);
    ADD("save", test_save);
    ADD("save-tells-nobody", test_save_tells_nobody);
    ADD("save-fails", test_save_fails);
    ADD("restore-within-means", test_restore_within_means);
    ADD("bad-records", test_bad_records);
    ADD("qerr", test_qerr);
    ADD("qerr-from-inside", test_qerr_from_inside);
    return g_test_run();
}
