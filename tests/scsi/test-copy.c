/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * EXTENDED COPY and what is told about it
 *
 * LUN 0 is the slow store, whose requests the test can hold, LUN 1 is memory. A
 * parameter list is built whole and then changed in one place, so that each
 * case of refusal differs from a good list in one field.
 */

#include "copy-fixture.h"

#include <string.h>

#include "backstore/backstore.h"
#include "scsi/copy.h"
#include "scsi/tmf.h"
#include "util/bytes.h"

#define N_BLOCKS 3072 /* 1.5 MiB: two pieces */

/* One more of everything than there may be */
#define LIST_SIZE (COPY_LID1_HEADER + COPY_MAX_LIST + COPY_CSCD_LENGTH + COPY_SEGMENT_LENGTH)

/* LID1: list 7, LUN 0 from LBA 8 to LUN 1 at LBA 100 */
static void
make_list(Copy *c)
{
    copy_make_list(c);
    copy_add_segment(c, 0, 1, N_BLOCKS, 8, 100);
}

static void
make_lid4(Copy *c)
{
    copy_make_lid4(c);
    copy_add_segment(c, 1, 2, 16, 0, 0);
}

static void
read_other(Copy *c, guint64 lba, guint n_blocks, TestCommand *test)
{
    guint8 cdb[16] = { 0x88 };

    put_be64(cdb + 2, lba);
    put_be32(cdb + 10, n_blocks);
    test_command_init(test, c->nexus, 1, cdb, sizeof(cdb));
    test->command.expected_in = n_blocks * 512;
    test_run(c->rig, test);
    test_assert_good(test);
}

static void
test_between_units(void)
{
    Copy c;
    TestCommand test;

    copy_init(&c, FALSE);
    copy_fill(&c);
    make_list(&c);
    copy_run(&c, &test, 0x00);
    test_assert_good(&test);
    test_command_clear(&test);

    read_other(&c, 99, N_BLOCKS + 2, &test);
    for (guint i = 0; i < 512; i++)
        g_assert_cmpint(test.in->data[i], ==, 0);
    g_assert_cmpmem(test.in->data + 512, N_BLOCKS * 512, slow_memory(c.rig->store) + 8 * 512,
                    N_BLOCKS * 512);
    for (guint i = 0; i < 512; i++)
        g_assert_cmpint(test.in->data[(N_BLOCKS + 1) * 512 + i], ==, 0);
    test_command_clear(&test);
    copy_clear(&c);
}

static void
test_lid4_counts_from_one(void)
{
    g_autoptr(GByteArray) status = NULL;
    Copy c;
    TestCommand test;

    copy_init(&c, FALSE);
    copy_fill(&c);
    make_lid4(&c);
    copy_run(&c, &test, 0x01);
    test_assert_good(&test);
    test_command_clear(&test);

    read_other(&c, 0, 16, &test);
    g_assert_cmpmem(test.in->data, 16 * 512, slow_memory(c.rig->store), 16 * 512);
    test_command_clear(&test);

    status = copy_receive(&c, 0x05, 0x01020304);
    g_assert_cmpuint(status->len, ==, 32);
    g_assert_cmpuint(get_be32(status->data), ==, 28);
    g_assert_cmpint(status->data[4], ==, 0x01);
    g_assert_cmpint(status->data[5], ==, 0x01);
    g_assert_cmpuint(get_be64(status->data + 16), ==, 16 * 512);
    g_assert_cmpint(get_be16(status->data + 24), ==, 1);

    put_be16(c.list + 112 + 4, 0); /* the header */
    copy_run(&c, &test, 0x01);
    test_assert_sense(&test, SENSE_UNREACHABLE_COPY_TARGET);
    test_command_clear(&test);
    copy_clear(&c);
}

/* Every designator of VPD 83 that fits names the unit */
static void
test_designators(void)
{
    const guint8 *p, *end;
    guint n = 0;
    Copy c;

    copy_init(&c, FALSE);
    p = c.lu->identity.designators;
    end = p + c.lu->identity.designators_length;
    for (; p < end; p += 4 + p[3]) {
        TestCommand test;

        if (p[3] > 20)
            continue;
        make_list(&c);
        c.list[48 + 1] = 0xc0; /* LU ID TYPE, to be ignored */
        memset(c.list + 48 + 8, 0, 20);
        c.list[48 + 4] = p[0];
        c.list[48 + 5] = p[1];
        c.list[48 + 7] = p[3];
        memcpy(c.list + 48 + 8, p + 4, p[3]);
        copy_run(&c, &test, 0x00);
        test_assert_good(&test);
        test_command_clear(&test);
        n++;
    }
    g_assert_cmpuint(n, ==, 2); /* NAA and UUID */
    copy_clear(&c);
}

typedef struct {
    guint byte;
    guint8 value;
    SenseCode code;
    gint field; /* -1: no pointer */
} Refusal;

static void
assert_refused(Copy *c, guint8 action, const Refusal *refusal)
{
    TestCommand test;

    c->list[refusal->byte] = refusal->value;
    copy_run(c, &test, action);
    test_assert_sense(&test, refusal->code);
    if (refusal->field >= 0) {
        g_assert_cmpint(test.command.sense[15] & 0xc0, ==, 0x80);
        g_assert_cmpint(get_be16(test.command.sense + 16), ==, refusal->field);
    }
    test_command_clear(&test);
    g_assert_null(copy_find(c->nexus->luns[0], 7));
}

static void
test_refused_lists(void)
{
    static const Refusal refusals[] = {
        { 1, 0x08, SENSE_INVALID_FIELD_IN_PARAMETERS, 1 }, /* LIST ID USAGE 1 */
        { 1, 0x18, SENSE_INVALID_FIELD_IN_PARAMETERS, 0 }, /* no list identifier, but 7 */
        { 3, 65, SENSE_PARAMETER_LIST_LENGTH, -1 },
        { 3, 63, SENSE_INVALID_FIELD_IN_PARAMETERS, 2 },
        { 9, 1, SENSE_PARAMETER_LIST_LENGTH, -1 },
        { 15, 1, SENSE_INLINE_DATA_LENGTH, -1 },
        { 16, 0xe0, SENSE_COPY_CSCD_TYPE, 16 },
        { 17, 0x20, SENSE_UNREACHABLE_COPY_TARGET, 17 }, /* NUL */
        { 17, 0x01, SENSE_COPY_TARGET_TYPE, 17 },
        { 21, 0x13, SENSE_INVALID_FIELD_IN_PARAMETERS, 21 }, /* a port */
        { 23, 21, SENSE_INVALID_FIELD_IN_PARAMETERS, 23 },
        { 24, 0, SENSE_UNREACHABLE_COPY_TARGET, 24 },
        { 46, 3, SENSE_INVALID_FIELD_IN_PARAMETERS, 45 }, /* block length */
        { 80, 0x03, SENSE_COPY_SEGMENT_TYPE, 80 },
        { 81, 0x04, SENSE_INVALID_FIELD_IN_PARAMETERS, 81 },
        { 83, 0x10, SENSE_INVALID_FIELD_IN_PARAMETERS, 82 },
        { 85, 2, SENSE_UNREACHABLE_COPY_TARGET, 84 },
        { 87, 2, SENSE_UNREACHABLE_COPY_TARGET, 86 },
        { 92, 1, SENSE_COPY_TARGET_NOT_REACHABLE, 92 },
        { 100, 1, SENSE_COPY_TARGET_NOT_REACHABLE, 100 },
    };
    Copy c;

    copy_init(&c, FALSE);
    for (gsize i = 0; i < G_N_ELEMENTS(refusals); i++) {
        make_list(&c);
        assert_refused(&c, 0x00, &refusals[i]);
    }
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_READ), ==, 0);
    copy_clear(&c);
}

static void
test_refused_lid4_lists(void)
{
    static const Refusal refusals[] = {
        { 0, 0, SENSE_INVALID_FIELD_IN_PARAMETERS, 0 },
        { 3, 0, SENSE_INVALID_FIELD_IN_PARAMETERS, 2 },
        { 16, 0xe4, SENSE_INVALID_FIELD_IN_PARAMETERS, 16 },
        { 47, 1, SENSE_INLINE_DATA_LENGTH, -1 },
    };
    Copy c;

    copy_init(&c, FALSE);
    for (gsize i = 0; i < G_N_ELEMENTS(refusals); i++) {
        make_lid4(&c);
        assert_refused(&c, 0x01, &refusals[i]);
    }
    copy_clear(&c);
}

/* The limits that are reported are the ones that hold */
static void
test_limits(void)
{
    g_autoptr(GByteArray) limits = NULL;
    g_autofree guint8 *list = g_malloc0(LIST_SIZE);
    g_autofree CopyList *parsed = g_new0(CopyList, 1);
    Copy c;
    Sense sense = { 0 };

    copy_init(&c, FALSE);
    limits = copy_receive(&c, 0x03, 0);
    g_assert_cmpuint(limits->len, ==, 46);
    g_assert_cmpint(get_be16(limits->data + 8), ==, COPY_MAX_CSCDS);
    g_assert_cmpint(get_be16(limits->data + 10), ==, COPY_MAX_SEGMENTS);

    for (guint n_cscds = COPY_MAX_CSCDS; n_cscds <= COPY_MAX_CSCDS + 1; n_cscds++) {
        memset(list, 0, LIST_SIZE);
        put_be16(list + 2, (guint16)(n_cscds * 32));
        for (guint i = 0; i < n_cscds; i++)
            copy_put_cscd(list + 16 + 32 * i, c.lu);
        g_assert_cmpint(copy_list_judge(c.nexus, list, LIST_SIZE, FALSE, parsed, &sense), ==,
                        n_cscds == COPY_MAX_CSCDS);
    }
    g_assert_cmpint(sense.code, ==, SENSE_TOO_MANY_CSCDS);

    for (guint n = COPY_MAX_SEGMENTS; n <= COPY_MAX_SEGMENTS + 1; n++) {
        memset(list, 0, LIST_SIZE);
        put_be16(list + 2, 32);
        put_be32(list + 8, n * 28);
        copy_put_cscd(list + 16, c.lu);
        for (guint i = 0; i < n; i++)
            copy_put_segment(list + 48 + 28 * i, 0, 0, 1, 0, 1);
        g_assert_cmpint(copy_list_judge(c.nexus, list, LIST_SIZE, FALSE, parsed, &sense), ==,
                        n == COPY_MAX_SEGMENTS);
    }
    g_assert_cmpint(sense.code, ==, SENSE_TOO_MANY_SEGMENTS);
    copy_clear(&c);
}

/* A unit that the nexus does not reach is like one that does not exist */
static void
test_hidden_unit(void)
{
    Copy c;
    TestCommand test;

    copy_init(&c, FALSE);
    make_list(&c);
    copy_set_map(c.nexus, (LunEntry[]){ { 0, c.rig->lu, FALSE } }, 1);
    copy_run(&c, &test, 0x00);
    test_assert_sense(&test, SENSE_UNREACHABLE_COPY_TARGET);
    test_command_clear(&test);
    copy_clear(&c);
}

static void
assert_destination_refuses(Copy *c)
{
    g_autoptr(GByteArray) details = NULL;
    g_autoptr(GByteArray) status = NULL;
    TestCommand test;

    make_list(c);
    copy_run(c, &test, 0x00);
    test_assert_sense(&test, SENSE_THIRD_PARTY_DEVICE_FAILURE);
    g_assert_cmpint(get_be16(test.command.sense + 10), ==, 0); /* the segment */

    details = copy_receive(c, 0x04, 7);
    g_assert_cmpint(details->data[56], ==, SCSI_CHECK_CONDITION);
    g_assert_cmpmem(details->data + 60, get_be16(details->data + 58), test.command.sense,
                    test.command.sense_length);
    test_command_clear(&test);

    status = copy_receive(c, 0x00, 7);
    g_assert_cmpint(status->data[4], ==, 0x02);
}

static void
test_write_protected(void)
{
    Copy c;

    copy_init(&c, TRUE);
    assert_destination_refuses(&c);
    copy_clear(&c);
}

static void
test_reserved(void)
{
    Copy c;
    TestCommand test;
    Nexus *other;

    copy_init(&c, FALSE);
    other = rig_new_nexus(c.rig, 0, 2);
    copy_set_map(other, (LunEntry[]){ { 1, c.lu, FALSE } }, 1);
    test_command_init(&test, other, 1, CDB(0x16, 0, 0, 0, 0, 0)); /* RESERVE */
    test_run(c.rig, &test);
    test_assert_good(&test);
    test_command_clear(&test);

    assert_destination_refuses(&c);

    test_command_init(&test, other, 1, CDB(0x17, 0, 0, 0, 0, 0));
    test_run(c.rig, &test);
    test_assert_good(&test);
    test_command_clear(&test);
    nexus_free(other);
    copy_clear(&c);
}

/* It waits for the initiator; the copy neither takes it nor fails because of it */
static void
test_unit_attention_stays(void)
{
    Copy c;
    TestCommand test;

    copy_init(&c, FALSE);
    unit_attention_raise(&c.nexus->luns[1]->attentions, SENSE_CAPACITY_CHANGED);
    make_list(&c);
    copy_run(&c, &test, 0x00);
    test_assert_good(&test);
    test_command_clear(&test);
    g_assert_cmpint(c.nexus->luns[1]->attentions.n, ==, 1);
    c.nexus->luns[1]->attentions.n = 0;
    copy_clear(&c);
}

static void
start_held(Copy *c, TestCommand *test)
{
    slow_hold(c->rig->store, TRUE);
    make_list(c);
    copy_prepare(c, test, 0x00);
    test_start(test);
    rig_turn(c->rig);
    g_assert_false(test->is_done);
    g_assert_cmpuint(slow_n_held(c->rig->store, 0), ==, 2); /* both pieces */
}

static void
let_go(Copy *c)
{
    slow_hold(c->rig->store, FALSE);
    slow_release(c->rig->store, 0);
    rig_turn(c->rig);
}

static void
test_status_while_running(void)
{
    g_autoptr(GByteArray) running = NULL;
    g_autoptr(GByteArray) ended = NULL;
    g_autoptr(GByteArray) details = NULL;
    Copy c;
    TestCommand test, second;

    copy_init(&c, FALSE);
    start_held(&c, &test);
    running = copy_receive(&c, 0x00, 7);
    g_assert_cmpmem(running->data, running->len,
                    ((guint8[]){ 0, 0, 0, 8, 0x00, 0, 0, 0, 0, 0, 0, 0 }), 12);

    copy_run(&c, &second, 0x00); /* the same list identifier */
    test_assert_sense(&second, SENSE_OPERATION_IN_PROGRESS);
    test_command_clear(&second);

    let_go(&c);
    g_assert_true(test.is_done);
    test_assert_good(&test);
    test_command_clear(&test);
    ended = copy_receive(&c, 0x00, 7);
    g_assert_cmpmem(ended->data, ended->len,
                    ((guint8[]){ 0, 0, 0, 8, 0x01, 0, 1, 0, 0, 0x18, 0, 0 }), 12);
    details = copy_receive(&c, 0x04, 7);
    g_assert_cmpmem(details->data, details->len, ((guint8[]){ 0, 0, 0, 0 }), 4);
    copy_clear(&c);
}

static void
test_unknown_list(void)
{
    static const guint8 actions[] = { 0x00, 0x04, 0x05 };
    Copy c;
    TestCommand test;

    copy_init(&c, FALSE);
    for (gsize i = 0; i < G_N_ELEMENTS(actions); i++) {
        guint8 cdb[16] = { 0x84, actions[i], 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 64 };

        if (actions[i] != 0x05)
            cdb[5] = 0;
        (void)test_execute(c.rig, c.nexus, &test, cdb, sizeof(cdb), 64, NULL, 0);
        test_assert_field(&test, TRUE, 2, 7);
        test_command_clear(&test);
    }
    (void)test_execute(c.rig, c.nexus, &test,
                       CDB(0x83, 0x1c, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0, NULL, 0);
    test_assert_field(&test, TRUE, 2, 7);
    test_command_clear(&test);
    copy_clear(&c);
}

/* An abort waits for the READ in flight, and no WRITE follows */
static void
test_abort(void)
{
    Copy c;
    TestCommand test;

    copy_init(&c, FALSE);
    copy_fill(&c);
    start_held(&c, &test);
    scsi_command_abort(&test.command);
    rig_turn(c.rig);
    g_assert_false(test.is_done);

    let_go(&c);
    g_assert_true(test.is_done);
    g_assert_true(test.command.aborted);
    test_command_clear(&test);
    g_assert_cmpuint(nexus_n_commands(c.nexus), ==, 0);

    read_other(&c, 100, 1, &test);
    for (guint i = 0; i < 512; i++)
        g_assert_cmpint(test.in->data[i], ==, 0);
    test_command_clear(&test);
    copy_clear(&c);
}

static void
test_nexus_loss(void)
{
    Copy c;
    TestCommand test;

    copy_init(&c, FALSE);
    start_held(&c, &test);
    nexus_abort_all(c.nexus);
    let_go(&c);
    g_assert_true(test.is_done);
    g_assert_true(test.command.aborted);
    test_command_clear(&test);
    g_assert_cmpuint(nexus_n_commands(c.nexus), ==, 0);
    copy_clear(&c);
}

static void
test_operation_abort(void)
{
    g_autoptr(GByteArray) status = NULL;
    Copy c;
    TestCommand test, stop;

    copy_init(&c, FALSE);
    start_held(&c, &test);
    test_command_init(&stop, c.nexus, 0, CDB(0x83, 0x1c, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    test_start(&stop);
    rig_turn(c.rig);
    g_assert_false(stop.is_done);

    let_go(&c);
    g_assert_true(test.is_done);
    g_assert_true(stop.is_done);
    test_assert_sense(&test, SENSE_COPY_CLEARED);
    test_assert_good(&stop);
    test_command_clear(&test);
    test_command_clear(&stop);

    status = copy_receive(&c, 0x05, 7);
    g_assert_cmpint(status->data[5], ==, 0x60);
    copy_clear(&c);
}

/* The destination goes away in the middle: the copy fails, and nothing is left behind */
static void
test_unit_vanishes(void)
{
    Copy c;
    TestCommand test;

    copy_init(&c, FALSE);
    start_held(&c, &test);
    copy_set_map(c.nexus, (LunEntry[]){ { 0, c.rig->lu, FALSE } }, 1);
    let_go(&c);
    g_assert_true(test.is_done);
    test_assert_sense(&test, SENSE_COPY_TARGET_NOT_REACHABLE);
    test_command_clear(&test);
    copy_clear(&c);
}

static void
test_read_error(void)
{
    Copy c;
    TestCommand test;

    copy_init(&c, FALSE);
    make_list(&c);
    slow_fail_next(c.rig->store, EIO);
    copy_run(&c, &test, 0x00);
    test_assert_sense(&test, SENSE_THIRD_PARTY_DEVICE_FAILURE);
    test_command_clear(&test);
    copy_clear(&c);
}

/* RECEIVE COPY RESULTS has the sense data that the command had, in its format */
static void
test_descriptor_sense(void)
{
    static const guint8 list[16] = { 0, 0, 0, 0, 0x0a, 0x0a, 0x24, 0x10, 0, 0x40 };
    g_autoptr(GByteArray) details = NULL;
    Copy c;
    TestCommand test;

    copy_init(&c, FALSE);
    (void)test_execute(c.rig, c.nexus, &test, CDB(0x15, 0x10, 0, 0, 16, 0), 0, list, sizeof(list));
    test_assert_good(&test);
    test_command_clear(&test);

    make_list(&c);
    slow_fail_next(c.rig->store, EIO);
    copy_run(&c, &test, 0x00);
    g_assert_cmphex(test.command.sense[0], ==, 0x72);
    g_assert_cmpint(sense_code_of(test.command.sense), ==, SENSE_THIRD_PARTY_DEVICE_FAILURE);
    details = copy_receive(&c, 0x04, 7);
    g_assert_cmpmem(details->data + 60, details->len - 60, test.command.sense,
                    test.command.sense_length);
    test_command_clear(&test);
    copy_clear(&c);
}

/* An ORDERED copy, with another ORDERED command behind it, on one unit */
static void
test_ordered(void)
{
    Copy c;
    TestCommand test, behind;

    copy_init(&c, FALSE);
    slow_hold(c.rig->store, TRUE);
    make_list(&c);
    put_be16(c.list + 86, 0);
    copy_prepare(&c, &test, 0x00);
    test.command.attribute = SCSI_ORDERED;
    test_start(&test);
    rig_turn(c.rig);
    test_command_init(&behind, c.nexus, 0, CDB(0, 0, 0, 0, 0, 0));
    behind.command.attribute = SCSI_ORDERED;
    test_start(&behind);
    rig_turn(c.rig);
    g_assert_false(behind.is_done);

    let_go(&c);
    g_assert_true(test.is_done);
    g_assert_true(behind.is_done);
    test_assert_good(&test);
    test_assert_good(&behind);
    test_command_clear(&test);
    test_command_clear(&behind);
    copy_clear(&c);
}

/* No more results are kept than a few */
static void
test_results_are_bounded(void)
{
    Copy c;
    guint n = 0;

    copy_init(&c, FALSE);
    for (guint i = 0; i < 3 * COPY_MAX_KEPT; i++) {
        TestCommand test;

        make_list(&c);
        c.list[0] = (guint8)i;
        copy_run(&c, &test, 0x00);
        test_assert_good(&test);
        test_command_clear(&test);
    }
    for (guint i = 0; i < 3 * COPY_MAX_KEPT; i++)
        n += copy_find(c.nexus->luns[0], i) != NULL;
    g_assert_cmpuint(n, ==, COPY_MAX_KEPT);
    g_assert_nonnull(copy_find(c.nexus->luns[0], 3 * COPY_MAX_KEPT - 1));
    copy_clear(&c);
}

static void
test_vpd(void)
{
    static const guint16 types[] = { 0x0000, 0x0001, 0x0004, 0x0008, 0x0106, 0x0108, 0x8001 };
    Copy c;
    TestCommand test;
    guint n = 0;

    copy_init(&c, FALSE);
    (void)test_execute(c.rig, c.nexus, &test, CDB(0x12, 1, 0x8f, 2, 0, 0), 512, NULL, 0);
    test_assert_good(&test);
    g_assert_cmpuint(test.in->len, ==, 4U + get_be16(test.in->data + 2));
    for (guint at = 4; at < test.in->len; at += 4U + get_be16(test.in->data + at + 2)) {
        g_assert_cmpuint(at % 4, ==, 0);
        g_assert_cmpuint(n, <, G_N_ELEMENTS(types));
        g_assert_cmphex(get_be16(test.in->data + at), ==, types[n++]);
    }
    g_assert_cmpuint(n, ==, G_N_ELEMENTS(types)); /* in ascending order */
    test_command_clear(&test);
    copy_clear(&c);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, function) g_test_add_func("/scsi/copy/" name, function)
    ADD("between-units", test_between_units);
    ADD("lid4-counts-from-one", test_lid4_counts_from_one);
    ADD("designators", test_designators);
    ADD("refused-lists", test_refused_lists);
    ADD("refused-lid4-lists", test_refused_lid4_lists);
    ADD("limits", test_limits);
    ADD("hidden-unit", test_hidden_unit);
    ADD("write-protected", test_write_protected);
    ADD("reserved", test_reserved);
    ADD("unit-attention-stays", test_unit_attention_stays);
    ADD("status-while-running", test_status_while_running);
    ADD("unknown-list", test_unknown_list);
    ADD("abort", test_abort);
    ADD("nexus-loss", test_nexus_loss);
    ADD("operation-abort", test_operation_abort);
    ADD("unit-vanishes", test_unit_vanishes);
    ADD("read-error", test_read_error);
    ADD("descriptor-sense", test_descriptor_sense);
    ADD("ordered", test_ordered);
    ADD("results-are-bounded", test_results_are_bounded);
    ADD("vpd", test_vpd);
    return g_test_run();
}
