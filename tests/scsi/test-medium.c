/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL, and what others see of them
 */

#include <errno.h>
#include <string.h>

#include "fixture.h"
#include "util/bytes.h"

typedef struct {
    Rig *rig;
    Nexus *other; /* on another worker */
    TestCommand test;
} Case;

static void
case_init(Case *c, gboolean removable)
{
    memset(c, 0, sizeof(*c));
    c->rig = rig_new(&(RigConfig){ .n_workers = 2, .lu = { .removable = removable } });
    c->other = rig_new_nexus(c->rig, 1, 2);
}

static void
case_clear(Case *c)
{
    test_command_clear(&c->test);
    nexus_free(c->other);
    rig_free(c->rig);
}

static const guint8 *
ask(Case *c, Nexus *nexus, const guint8 *cdb, gsize n)
{
    test_command_clear(&c->test);
    (void)test_execute(c->rig, nexus, &c->test, cdb, n, 4096, NULL, 0);
    return c->test.in->data;
}

#define START_STOP(byte4) CDB(0x1b, 0, 0, 0, (byte4), 0)
#define EJECT             START_STOP(0x02)
#define LOAD              START_STOP(0x03)
#define PREVENT(flag)     CDB(0x1e, 0, 0, 0, (flag), 0)
#define TEST_READY        CDB(0x00, 0, 0, 0, 0, 0)

static void
test_eject_and_load(void)
{
    const guint8 *data;
    Case c;

    case_init(&c, TRUE);
    (void)ask(&c, c.rig->nexus, EJECT);
    test_assert_good(&c.test);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_FLUSH), ==, 1);
    (void)ask(&c, c.other, TEST_READY);
    test_assert_sense(&c.test, SENSE_MEDIUM_NOT_PRESENT);
    (void)ask(&c, c.other, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    test_assert_sense(&c.test, SENSE_MEDIUM_NOT_PRESENT);
    (void)ask(&c, c.other, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    test_assert_sense(&c.test, SENSE_MEDIUM_NOT_PRESENT);
    data = ask(&c, c.other, CDB(0x1a, 0, 0x08, 0, 255, 0));
    g_assert_cmpuint(get_be32(data + 4), ==, 0);
    data = ask(&c, c.other, CDB(0x03, 0, 0, 0, 18, 0));
    g_assert_cmphex(data[2], ==, 0x02);
    g_assert_cmphex(data[12], ==, 0x3a);
    (void)ask(&c, c.other, START_STOP(0x01));
    test_assert_sense(&c.test, SENSE_MEDIUM_NOT_PRESENT);

    (void)ask(&c, c.other, LOAD);
    test_assert_good(&c.test);
    (void)ask(&c, c.other, TEST_READY);
    test_assert_good(&c.test);
    (void)ask(&c, c.rig->nexus, TEST_READY);
    test_assert_sense(&c.test, SENSE_NOT_READY_TO_READY);
    case_clear(&c);
}

/* Of any nexus on any worker */
static void
test_prevent(void)
{
    Case c;

    case_init(&c, TRUE);
    (void)ask(&c, c.other, PREVENT(1));
    test_assert_good(&c.test);
    (void)ask(&c, c.other, PREVENT(1));
    (void)ask(&c, c.rig->nexus, EJECT);
    test_assert_sense(&c.test, SENSE_REMOVAL_PREVENTED);
    (void)ask(&c, c.rig->nexus, PREVENT(0));
    (void)ask(&c, c.rig->nexus, EJECT);
    test_assert_sense(&c.test, SENSE_REMOVAL_PREVENTED);
    (void)ask(&c, c.other, PREVENT(0));
    (void)ask(&c, c.rig->nexus, EJECT);
    test_assert_good(&c.test);

    /* nor is it loaded then */
    (void)ask(&c, c.other, PREVENT(1));
    (void)ask(&c, c.rig->nexus, LOAD);
    test_assert_sense(&c.test, SENSE_REMOVAL_PREVENTED);
    (void)ask(&c, c.other, PREVENT(0));
    (void)ask(&c, c.rig->nexus, LOAD);
    test_assert_good(&c.test);
    case_clear(&c);
}

static void
test_prevent_ends_with_nexus(void)
{
    Case c;

    case_init(&c, TRUE);
    (void)ask(&c, c.other, PREVENT(1));
    nexus_free(c.other);
    c.other = rig_new_nexus(c.rig, 1, 2);
    (void)ask(&c, c.rig->nexus, EJECT);
    test_assert_good(&c.test);
    case_clear(&c);
}

static void
on_reset_done(ScsiTmf *tmf)
{
}

static void
test_prevent_ends_with_reset(void)
{
    ScsiTmf tmf = { .function = TMF_LOGICAL_UNIT_RESET, .done = on_reset_done };
    Case c;

    case_init(&c, TRUE);
    (void)ask(&c, c.other, PREVENT(1));
    tmf.nexus = c.rig->nexus;
    scsi_tmf_start(&tmf);
    rig_turn(c.rig);
    c.rig->nexus->luns[0]->attentions.n = 0;
    (void)ask(&c, c.rig->nexus, EJECT);
    test_assert_good(&c.test);
    case_clear(&c);
}

static void
test_fixed_medium(void)
{
    Case c;

    case_init(&c, FALSE);
    (void)ask(&c, c.rig->nexus, EJECT);
    test_assert_field(&c.test, TRUE, 4, 1);
    (void)ask(&c, c.rig->nexus, PREVENT(1));
    test_assert_sense(&c.test, SENSE_INVALID_OPCODE);
    (void)ask(&c, c.rig->nexus, CDB(0xa3, 0x0c, 1, 0x1e, 0, 0, 0, 0, 1, 0, 0, 0));
    g_assert_cmphex(c.test.in->data[1], ==, 1);
    case_clear(&c);
}

static void
test_stop_flushes(void)
{
    Case c;

    case_init(&c, FALSE);
    (void)ask(&c, c.rig->nexus, START_STOP(0x00));
    test_assert_good(&c.test);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_FLUSH), ==, 1);
    (void)ask(&c, c.rig->nexus, START_STOP(0x04)); /* NO_FLUSH */
    test_assert_good(&c.test);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_FLUSH), ==, 1);
    case_clear(&c);
}

/* A lenient unit makes sure of the data and stays ready */
static void
test_stop_of_lenient_unit(void)
{
    Case c;

    case_init(&c, FALSE);
    c.rig->lu->lenient_cdb = TRUE;
    (void)ask(&c, c.rig->nexus, START_STOP(0x00));
    test_assert_good(&c.test);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_FLUSH), ==, 1);
    (void)ask(&c, c.other, TEST_READY);
    test_assert_good(&c.test);
    (void)ask(&c, c.rig->nexus, START_STOP(0xf0)); /* a reserved condition */
    test_assert_good(&c.test);
    (void)ask(&c, c.other, TEST_READY);
    test_assert_good(&c.test);
    case_clear(&c);
}

/* A stop is one for everybody, until a start or a reset */
static void
test_stopped(void)
{
    ScsiTmf tmf = { .function = TMF_LOGICAL_UNIT_RESET, .done = on_reset_done };
    const guint8 *data;
    Case c;

    case_init(&c, FALSE);
    (void)ask(&c, c.rig->nexus, START_STOP(0x00));
    test_assert_good(&c.test);
    (void)ask(&c, c.rig->nexus, TEST_READY);
    test_assert_sense(&c.test, SENSE_NOT_READY_INITIALIZING);
    (void)ask(&c, c.other, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    test_assert_sense(&c.test, SENSE_NOT_READY_INITIALIZING);
    (void)ask(&c, c.other, CDB(0x12, 0, 0, 0, 255, 0));
    test_assert_good(&c.test);
    (void)ask(&c, c.other, CDB(0x1a, 0, 0x3f, 0, 255, 0));
    test_assert_good(&c.test);
    data = ask(&c, c.other, CDB(0x03, 0, 0, 0, 18, 0));
    g_assert_cmpmem(data + 12, 2, ((guint8[]){ 0x04, 0x02 }), 2);
    g_assert_cmphex(data[2], ==, 0x02);

    (void)ask(&c, c.other, START_STOP(0x01));
    test_assert_good(&c.test);
    (void)ask(&c, c.rig->nexus, TEST_READY);
    test_assert_good(&c.test);

    (void)ask(&c, c.rig->nexus, START_STOP(0x00));
    tmf.nexus = c.rig->nexus;
    scsi_tmf_start(&tmf);
    rig_turn(c.rig);
    c.other->luns[0]->attentions.n = 0;
    (void)ask(&c, c.other, TEST_READY);
    test_assert_good(&c.test);
    case_clear(&c);
}

/* What was under way ends well, and is flushed before the stop is answered */
static void
test_stop_waits(void)
{
    static const guint8 block[512];
    TestCommand write, stop;
    Case c;

    case_init(&c, FALSE);
    slow_hold(c.rig->store, TRUE);
    test_command_init(&write, c.other, 0, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    write.command.expected_out = sizeof(block);
    write.out = block;
    write.n_out = sizeof(block);
    test_start(&write);
    test_command_init(&stop, c.rig->nexus, 0, START_STOP(0x00));
    test_start(&stop);
    rig_turn(c.rig);
    g_assert_false(stop.is_done || write.is_done);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_FLUSH), ==, 0);

    for (guint i = 0; i < c.rig->n_workers; i++)
        slow_release(c.rig->store, i);
    slow_hold(c.rig->store, FALSE);
    test_wait(c.rig, &write);
    test_assert_good(&write);
    test_wait(c.rig, &stop);
    test_assert_good(&stop);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_FLUSH), ==, 1);
    test_command_clear(&write);
    test_command_clear(&stop);
    case_clear(&c);
}

static void
test_reserved_conditions(void)
{
    static const guint8 reserved[] = { 0x4, 0x5, 0x6, 0x8, 0x9, 0xc, 0xd, 0xe, 0xf };
    Case c;

    case_init(&c, FALSE);
    for (gsize i = 0; i < G_N_ELEMENTS(reserved); i++) {
        (void)ask(&c, c.rig->nexus, START_STOP((guint8)(reserved[i] << 4)));
        test_assert_field(&c.test, TRUE, 4, 7);
    }
    (void)ask(&c, c.rig->nexus, CDB(0x1b, 0, 0, 1, 0x20, 0));
    test_assert_field(&c.test, TRUE, 3, 3);
    (void)ask(&c, c.rig->nexus, TEST_READY);
    test_assert_good(&c.test);
    case_clear(&c);
}

static void
test_power_conditions(void)
{
    static const struct {
        guint8 condition, ascq;
    } table[] = { { 0x2, 0x03 }, { 0x3, 0x04 }, { 0x1, 0 }, { 0xa, 0x03 },
                  { 0x7, 0 },    { 0xb, 0x04 }, { 0x0, 0 } };
    const guint8 *data;
    Case c;

    case_init(&c, TRUE);
    for (gsize i = 0; i < G_N_ELEMENTS(table); i++) {
        (void)ask(&c, c.rig->nexus, START_STOP((guint8)(table[i].condition << 4 | 0x01)));
        test_assert_good(&c.test);
        data = ask(&c, c.other, CDB(0x03, 0, 0, 0, 18, 0));
        g_assert_cmphex(data[2], ==, 0);
        g_assert_cmphex(data[12], ==, table[i].ascq != 0 ? 0x5e : 0);
        g_assert_cmphex(data[13], ==, table[i].ascq);
        (void)ask(&c, c.other, TEST_READY);
        test_assert_good(&c.test);
    }

    /* LOEJ means nothing beside a power condition */
    (void)ask(&c, c.rig->nexus, START_STOP(0x22));
    test_assert_good(&c.test);
    (void)ask(&c, c.rig->nexus, TEST_READY);
    test_assert_good(&c.test);
    case_clear(&c);
}

/*
 * IMMED
 */

#define IMMEDIATE(byte4) CDB(0x1b, 0x01, 0, 0, (byte4), 0)

static void
release_all(Case *c)
{
    for (guint i = 0; i < c->rig->n_workers; i++)
        slow_release(c->rig->store, i);
    slow_hold(c->rig->store, FALSE);
    rig_turn(c->rig);
}

/* GOOD comes before the flush; the stop and the flush come all the same */
static void
test_immediate_stop(void)
{
    Case c;

    case_init(&c, FALSE);
    slow_hold(c.rig->store, TRUE);
    (void)ask(&c, c.rig->nexus, IMMEDIATE(0x00));
    test_assert_good(&c.test);
    rig_turn(c.rig);
    g_assert_cmpuint(slow_n_held(c.rig->store, 0), ==, 1);
    (void)ask(&c, c.other, TEST_READY);
    test_assert_sense(&c.test, SENSE_NOT_READY_INITIALIZING);
    release_all(&c);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_FLUSH), ==, 1);

    (void)ask(&c, c.rig->nexus, IMMEDIATE(0x01));
    test_assert_good(&c.test);
    rig_turn(c.rig);
    (void)ask(&c, c.rig->nexus, TEST_READY);
    test_assert_good(&c.test);
    case_clear(&c);
}

/* One behind at a time: the next one is answered at its end */
static void
test_immediate_again(void)
{
    TestCommand second;
    Case c;

    case_init(&c, FALSE);
    slow_hold(c.rig->store, TRUE);
    (void)ask(&c, c.rig->nexus, IMMEDIATE(0x30));
    test_assert_good(&c.test);
    test_command_init(&second, c.rig->nexus, 0, IMMEDIATE(0x30));
    test_start(&second);
    rig_turn(c.rig);
    g_assert_false(second.is_done);
    release_all(&c);
    g_assert_true(second.is_done);
    test_assert_good(&second);
    test_command_clear(&second);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_FLUSH), ==, 2);
    case_clear(&c);
}

/* Told to the nexus that asked, once, in place of what it asks for next */
static void
test_immediate_fails(void)
{
    Case c;

    case_init(&c, FALSE);
    slow_fail_next(c.rig->store, EIO);
    (void)ask(&c, c.rig->nexus, IMMEDIATE(0x30));
    test_assert_good(&c.test);
    rig_turn(c.rig);
    (void)ask(&c, c.other, TEST_READY);
    test_assert_good(&c.test);
    (void)ask(&c, c.rig->nexus, CDB(0x12, 0, 0, 0, 36, 0));
    test_assert_good(&c.test);
    (void)ask(&c, c.rig->nexus, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    test_assert_sense(&c.test, SENSE_WRITE_ERROR);
    g_assert_cmphex(c.test.command.sense[0], ==, 0x71);
    (void)ask(&c, c.rig->nexus, TEST_READY);
    test_assert_good(&c.test);
    case_clear(&c);
}

/* REQUEST SENSE tells it in its data, in the format that it asks for */
static void
test_immediate_fails_requested(void)
{
    const guint8 *data;
    Case c;

    case_init(&c, FALSE);
    slow_fail_next(c.rig->store, EIO);
    (void)ask(&c, c.rig->nexus, IMMEDIATE(0x30));
    rig_turn(c.rig);
    data = ask(&c, c.rig->nexus, CDB(0x03, 0x01, 0, 0, 255, 0));
    g_assert_cmpmem(data, 4, ((guint8[]){ 0x73, 0x03, 0x0c, 0x00 }), 4);
    (void)ask(&c, c.rig->nexus, TEST_READY);
    test_assert_good(&c.test);
    case_clear(&c);
}

/* What is wrong with the CDB is told at once; so is that the removal is prevented */
static void
test_immediate_refused(void)
{
    Case c;

    case_init(&c, TRUE);
    (void)ask(&c, c.rig->nexus, IMMEDIATE(0x40));
    test_assert_field(&c.test, TRUE, 4, 7);
    (void)ask(&c, c.other, PREVENT(1));
    (void)ask(&c, c.rig->nexus, IMMEDIATE(0x02));
    test_assert_sense(&c.test, SENSE_REMOVAL_PREVENTED);
    (void)ask(&c, c.rig->nexus, TEST_READY);
    test_assert_good(&c.test);
    case_clear(&c);
}

/* A nexus that is lost, and a reset, take along what is behind */
static void
test_immediate_aborted(void)
{
    ScsiTmf tmf = { .function = TMF_LOGICAL_UNIT_RESET, .done = on_reset_done };
    Case c;

    case_init(&c, FALSE);
    slow_hold(c.rig->store, TRUE);
    (void)ask(&c, c.other, IMMEDIATE(0x30));
    test_assert_good(&c.test);
    rig_turn(c.rig);
    nexus_abort_all(c.other);
    release_all(&c);
    g_assert_cmpuint(nexus_n_commands(c.other), ==, 0);

    slow_hold(c.rig->store, TRUE);
    (void)ask(&c, c.other, IMMEDIATE(0x30));
    rig_turn(c.rig);
    tmf.nexus = c.rig->nexus;
    scsi_tmf_start(&tmf);
    release_all(&c);
    g_assert_cmpuint(nexus_n_commands(c.other), ==, 0);
    g_assert_cmpint((int)c.other->luns[0]->deferred, ==, SENSE_NONE);
    case_clear(&c);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add_func("/scsi/medium/" name, fn)
    ADD("eject-and-load", test_eject_and_load);
    ADD("prevent", test_prevent);
    ADD("prevent-ends-with-nexus", test_prevent_ends_with_nexus);
    ADD("prevent-ends-with-reset", test_prevent_ends_with_reset);
    ADD("fixed-medium", test_fixed_medium);
    ADD("stop-flushes", test_stop_flushes);
    ADD("stopped", test_stopped);
    ADD("stop-of-lenient-unit", test_stop_of_lenient_unit);
    ADD("stop-waits", test_stop_waits);
    ADD("reserved-conditions", test_reserved_conditions);
    ADD("power-conditions", test_power_conditions);
    ADD("immediate-stop", test_immediate_stop);
    ADD("immediate-again", test_immediate_again);
    ADD("immediate-fails", test_immediate_fails);
    ADD("immediate-fails-requested", test_immediate_fails_requested);
    ADD("immediate-refused", test_immediate_refused);
    ADD("immediate-aborted", test_immediate_aborted);
    return g_test_run();
}
