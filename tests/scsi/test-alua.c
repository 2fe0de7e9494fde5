/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Asymmetric access: what is reported of target port groups, which commands run
 * in which state, who is told of a change, and SET TARGET PORT GROUPS with a
 * control thread that is the test.
 */

#include <string.h>

#include "fixture.h"
#include "util/bytes.h"

#define TUR     CDB(0x00, 0, 0, 0, 0, 0)
#define RTPG(n) CDB(0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0, n, 0, 0)
#define STPG(n) CDB(0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, n, 0, 0)

typedef struct {
    Rig *rig;
    Nexus *other; /* on another worker, through the same group */
    Mailbox mailbox;
    AluaRequest *request;
    LunMap *map;
    TestCommand test;
} Case;

static void
on_request(AluaRequest *request, gpointer data)
{
    Case *c = data;

    g_assert_null(c->request);
    c->request = request;
}

/* Group 1 in @state; group 2 is standby and preferred */
static void
set_map(Case *c, AluaState state, AluaStatus status)
{
    const AluaGroup groups[] = {
        { .tag = 1, .state = state, .status = status },
        { .tag = 2, .state = ALUA_STANDBY, .status = ALUA_STATUS_IMPLICIT, .preferred = TRUE },
    };
    const AluaControl control = { &c->mailbox, on_request, c };

    if (c->map != NULL)
        snapshot_unref(&c->map->snapshot);
    c->map = lun_map_new(c->rig->map->entries, c->rig->map->n_entries);
    lun_map_set_alua(c->map, groups, G_N_ELEMENTS(groups), &control);
    nexus_set_map(c->rig->nexus, c->map);
    nexus_set_map(c->other, c->map);
}

static void
case_init(Case *c)
{
    g_autoptr(GError) error = NULL;

    memset(c, 0, sizeof(*c));
    c->rig = rig_new(&(RigConfig){ .n_workers = 2 });
    c->other = rig_new_nexus(c->rig, 1, 2);
    (void)mailbox_init(&c->mailbox, &error);
    g_assert_no_error(error);
    set_map(c, ALUA_ACTIVE_OPTIMIZED, ALUA_STATUS_NONE);
}

static void
case_clear(Case *c)
{
    test_command_clear(&c->test);
    nexus_free(c->other);
    snapshot_unref(&c->map->snapshot);
    rig_free(c->rig);
    mailbox_deinit(&c->mailbox);
}

static const guint8 *
ask(Case *c, Nexus *nexus, const guint8 *cdb, gsize n)
{
    test_command_clear(&c->test);
    (void)test_execute(c->rig, nexus, &c->test, cdb, n, 8192, NULL, 0);
    return c->test.in->data;
}

static void
tell(Case *c, const guint8 *cdb, gsize n, const guint8 *out, gsize n_out)
{
    test_command_clear(&c->test);
    (void)test_execute(c->rig, c->rig->nexus, &c->test, cdb, n, 0, out, n_out);
}

static void
test_report(void)
{
    static const guint8 expected[28] = {
        0,    0,    0, 24,                            /* return data length */
        0x00, 0xcf, 0, 1,  0, 0,    0, 1, 0, 0, 0, 1, /* active/optimized */
        0x82, 0xcf, 0, 2,  0, 0x02, 0, 1, 0, 0, 0, 1, /* standby, preferred, implicit */
    };
    const guint8 *data;
    Case c;

    case_init(&c);
    data = ask(&c, c.rig->nexus, RTPG(255));
    test_assert_good(&c.test);
    g_assert_cmpmem(data, c.test.in->len, expected, sizeof(expected));

    /* The length is that of all groups, also when not all fit */
    data = ask(&c, c.rig->nexus, RTPG(8));
    g_assert_cmpmem(data, c.test.in->len, expected, 8);
    case_clear(&c);
}

static void
test_extended_header(void)
{
    static const guint8 expected[12] = { 0, 0, 0, 28, 0x10, 0, 0, 0, 0x00, 0xcf, 0, 1 };
    const guint8 *data;
    Case c;

    case_init(&c);
    data = ask(&c, c.rig->nexus, CDB(0xa3, 0x2a, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0));
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.in->len, ==, 32);
    g_assert_cmpmem(data, 12, expected, 12);
    (void)ask(&c, c.rig->nexus, CDB(0xa3, 0x4a, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0));
    test_assert_field(&c.test, TRUE, 1, 7);
    case_clear(&c);
}

/* A target of which no groups are known has the one through which the command came */
static void
test_no_groups(void)
{
    static const guint8 expected[16] = { 0, 0, 0, 12, 0, 0xcf, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1 };
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand test = { 0 };

    (void)test_execute(rig, rig->nexus, &test, RTPG(255), 255, NULL, 0);
    g_assert_cmpmem(test.in->data, test.in->len, expected, sizeof(expected));
    test_command_clear(&test);
    (void)test_execute(rig, rig->nexus, &test, STPG(8), 0, expected, 8);
    test_assert_field(&test, TRUE, 1, 4);
    test_command_clear(&test);
    rig_free(rig);
}

static void
test_inquiry(void)
{
    static const guint8 ports[] = { 0x51, 0x94, 0, 4, 0, 0, 0, 1, 0x51, 0x95, 0, 4, 0, 0, 0, 1 };
    const guint8 *data;
    gsize place = 4;
    Case c;

    case_init(&c);
    data = ask(&c, c.rig->nexus, CDB(0x12, 0, 0, 0, 96, 0));
    g_assert_cmphex(data[5] & 0x30, ==, 0x30);

    /* Relative target port and target port group, one after the other */
    data = ask(&c, c.rig->nexus, CDB(0x12, 1, 0x83, 1, 0, 0));
    while (place + sizeof(ports) <= c.test.in->len &&
           memcmp(data + place, ports, sizeof(ports)) != 0)
        place += 4U + data[place + 3];
    g_assert_cmpmem(data + place, sizeof(ports), ports, sizeof(ports));
    case_clear(&c);
}

static const guint8 cdbs[][16] = {
    { 0x00 },
    { 0x28, [8] = 1 },
    { 0x2a, [8] = 0 },
    { 0x55 },
    { 0x5a, 0, 0x3f, [8] = 255 },
    { 0x25 },
    { 0x5e, [8] = 255 },
    { 0x3c, 3, [8] = 4 },
    { 0x03, [4] = 18 },
    { 0x12, [4] = 96 },
    { 0xa0, [9] = 64 },
    { 0xa3, 0x0a, [9] = 64 },
    { 0xa4, 0x0a },
};

/* In the order of @cdbs: does it run? */
static void
assert_runs(Case *c, AluaState state, SenseCode code, const char *runs)
{
    set_map(c, state, ALUA_STATUS_IMPLICIT);
    c->rig->nexus->luns[0]->attentions.n = 0;
    for (guint i = 0; i < G_N_ELEMENTS(cdbs); i++) {
        (void)ask(c, c->rig->nexus, cdbs[i], 16);
        if (runs[i] == 'y')
            test_assert_good(&c->test);
        else
            test_assert_sense(&c->test, code);
    }
}

static void
test_gates(void)
{
    Case c;

    case_init(&c);
    assert_runs(&c, ALUA_ACTIVE_OPTIMIZED, SENSE_NONE, "yyyyyyyyyyyyy");
    assert_runs(&c, ALUA_ACTIVE_NON_OPTIMIZED, SENSE_NONE, "yyyyyyyyyyyyy");
    assert_runs(&c, ALUA_STANDBY, SENSE_ACCESS_STANDBY, "nnnyyyyyyyyyy");
    assert_runs(&c, ALUA_UNAVAILABLE, SENSE_ACCESS_UNAVAILABLE, "nnnnnnnyyyyyy");
    assert_runs(&c, ALUA_OFFLINE, SENSE_NOT_READY_OFFLINE, "nnnnnnnyyyyyy");
    assert_runs(&c, ALUA_TRANSITIONING, SENSE_ACCESS_TRANSITION, "nnnnnnnnyyyyn");
    case_clear(&c);
}

static void
test_sense_codes(void)
{
    Case c;

    case_init(&c);
    set_map(&c, ALUA_STANDBY, ALUA_STATUS_IMPLICIT);
    (void)ask(&c, c.rig->nexus, TUR);
    g_assert_cmphex(test_sense(&c.test), ==, 0x062a06);
    (void)ask(&c, c.rig->nexus, TUR);
    g_assert_cmphex(test_sense(&c.test), ==, 0x02040b);
    set_map(&c, ALUA_UNAVAILABLE, ALUA_STATUS_IMPLICIT);
    c.rig->nexus->luns[0]->attentions.n = 0;
    (void)ask(&c, c.rig->nexus, TUR);
    g_assert_cmphex(test_sense(&c.test), ==, 0x02040c);
    set_map(&c, ALUA_TRANSITIONING, ALUA_STATUS_IMPLICIT);
    c.rig->nexus->luns[0]->attentions.n = 0;
    (void)ask(&c, c.rig->nexus, TUR);
    g_assert_cmphex(test_sense(&c.test), ==, 0x02040a);
    case_clear(&c);
}

/* Once each, and only when something changed */
static void
test_implicit_attention(void)
{
    Case c;

    case_init(&c);
    (void)ask(&c, c.rig->nexus, TUR);
    test_assert_good(&c.test);
    set_map(&c, ALUA_ACTIVE_OPTIMIZED, ALUA_STATUS_NONE);
    (void)ask(&c, c.rig->nexus, TUR);
    test_assert_good(&c.test);

    set_map(&c, ALUA_ACTIVE_NON_OPTIMIZED, ALUA_STATUS_IMPLICIT);
    (void)ask(&c, c.rig->nexus, TUR);
    test_assert_sense(&c.test, SENSE_ACCESS_STATE_CHANGED);
    (void)ask(&c, c.rig->nexus, TUR);
    test_assert_good(&c.test);
    (void)ask(&c, c.other, TUR);
    test_assert_sense(&c.test, SENSE_ACCESS_STATE_CHANGED);
    case_clear(&c);
}

/* Begin a SET TARGET PORT GROUPS and let it come to the control thread */
static void
start_set(Case *c, TestCommand *test, const guint8 *list, gsize n)
{
    const guint8 cdb[12] = { 0xa4, 0x0a, [9] = (guint8)n };

    test_command_init(test, c->rig->nexus, 0, cdb, sizeof(cdb));
    test->out = list;
    test->n_out = n;
    test->command.expected_out = (guint32)n;
    test_start(test);
    rig_turn(c->rig);
    (void)mailbox_drain(&c->mailbox);
    g_assert_nonnull(c->request);
}

static const guint8 set_standby[8] = { 0, 0, 0, 0, 0x02, 0, 0, 1 };

static void
test_explicit(void)
{
    TestCommand test = { 0 };
    Case c;

    case_init(&c);
    start_set(&c, &test, set_standby, 8);
    g_assert_cmpstr(c.request->target_name, ==, "iqn.2026-11.org.lunport:test");
    g_assert_cmpuint(c.request->n_changes, ==, 1);
    g_assert_cmpuint(c.request->changes[0].tag, ==, 1);
    g_assert_cmpuint(c.request->changes[0].state, ==, ALUA_STANDBY);
    g_assert_false(test.is_done);

    set_map(&c, ALUA_STANDBY, ALUA_STATUS_EXPLICIT);
    alua_answer(c.request, ALUA_SET);
    test_wait(c.rig, &test);
    test_assert_good(&test);
    test_command_clear(&test);

    /* Who asked is not told, the other one is */
    (void)ask(&c, c.rig->nexus, TUR);
    test_assert_sense(&c.test, SENSE_ACCESS_STANDBY);
    (void)ask(&c, c.other, TUR);
    test_assert_sense(&c.test, SENSE_ACCESS_STATE_CHANGED);
    g_assert_cmphex(ask(&c, c.rig->nexus, RTPG(64))[9], ==, 0x01);
    case_clear(&c);
}

static void
test_explicit_failures(void)
{
    TestCommand test = { 0 };
    Case c;

    case_init(&c);
    start_set(&c, &test, set_standby, 8);
    alua_answer(g_steal_pointer(&c.request), ALUA_BUSY);
    test_wait(c.rig, &test);
    g_assert_cmphex(test.command.status, ==, SCSI_BUSY);
    test_command_clear(&test);

    memset(&test, 0, sizeof(test));
    start_set(&c, &test, set_standby, 8);
    alua_answer(g_steal_pointer(&c.request), ALUA_FAILED);
    test_wait(c.rig, &test);
    test_assert_sense(&test, SENSE_SET_GROUPS_FAILED);
    test_command_clear(&test);
    case_clear(&c);
}

static void
test_explicit_abort(void)
{
    TestCommand test = { 0 };
    Case c;

    case_init(&c);
    start_set(&c, &test, set_standby, 8);
    scsi_command_abort(&test.command);
    g_assert_false(test.is_done);
    alua_answer(c.request, ALUA_SET);
    test_wait(c.rig, &test);
    g_assert_true(test.command.aborted);
    test_command_clear(&test);
    case_clear(&c);
}

static void
test_explicit_refusals(void)
{
    static const guint8 transitioning[8] = { 0, 0, 0, 0, 0x0f, 0, 0, 1 };
    static const guint8 unknown_state[8] = { 0, 0, 0, 0, 0x05, 0, 0, 1 };
    static const guint8 unknown_group[12] = { 0, 0, 0, 0, 0x02, 0, 0, 1, 0x02, 0, 0, 9 };
    Case c;

    case_init(&c);
    tell(&c, STPG(8), transitioning, 8);
    test_assert_field(&c.test, FALSE, 4, 3);
    tell(&c, STPG(8), unknown_state, 8);
    test_assert_field(&c.test, FALSE, 4, 3);
    tell(&c, STPG(12), unknown_group, 12);
    test_assert_field(&c.test, FALSE, 10, 7);
    tell(&c, STPG(7), unknown_group, 7);
    test_assert_sense(&c.test, SENSE_PARAMETER_LIST_LENGTH);
    tell(&c, STPG(2), unknown_group, 2);
    test_assert_sense(&c.test, SENSE_PARAMETER_LIST_LENGTH);
    tell(&c, STPG(0), NULL, 0);
    test_assert_good(&c.test);
    tell(&c, STPG(4), unknown_group, 4);
    test_assert_good(&c.test);
    g_assert_null(c.request);
    case_clear(&c);
}

/* Whether it is there is told as it is refused: a service action that exists, or not */
static void
test_explicit_is_reported(void)
{
    static const guint8 list[8] = { 0, 0, 0, 0, 0x02, 0, 0, 1 };
    const guint8 rsoc[] = { 0xa3, 0x0c, 2, 0xa4, 0, 0x0a, 0, 0, 1, 0, 0, 0 };
    Rig *rig = rig_new(&(RigConfig){ 0 });
    TestCommand test;
    Case c;

    case_init(&c);
    g_assert_cmphex(ask(&c, c.rig->nexus, rsoc, sizeof(rsoc))[1], ==, 0x03);
    case_clear(&c);

    (void)test_execute(rig, rig->nexus, &test, rsoc, sizeof(rsoc), 256, NULL, 0);
    test_assert_good(&test);
    g_assert_cmphex(test.in->data[1], ==, 0x01);
    test_command_clear(&test);
    (void)test_execute(rig, rig->nexus, &test, STPG(8), 0, list, sizeof(list));
    test_assert_field(&test, TRUE, 1, 4);
    test_command_clear(&test);
    rig_free(rig);
}

static void
reserve_out(Case *c, Nexus *nexus, TestCommand *test, guint8 action, guint64 key, guint64 new_key,
            guint8 list[24])
{
    put_be64(list, key);
    put_be64(list + 8, new_key);
    test_command_init(test, nexus, 0, CDB(0x5f, action, 5, 0, 0, 0, 0, 0, 24, 0));
    test->command.expected_out = 24;
    test->out = list;
    test->n_out = 24;
    test_start(test);
    rig_turn(c->rig);
}

static void
register_key(Case *c, Nexus *nexus, guint64 key)
{
    guint8 list[24] = { 0 };
    TestCommand test;

    reserve_out(c, nexus, &test, 0x00, 0, key, list);
    test_assert_good(&test);
    test_command_clear(&test);
}

/* PREEMPT AND ABORT: the states change before it is answered, or not at all */
static void
test_explicit_preempted(void)
{
    TestCommand test = { 0 }, preempt;
    guint8 list[24] = { 0 };
    Case c;

    case_init(&c);
    c.rig->nexus->luns[0]->attentions.n = 0;
    c.other->luns[0]->attentions.n = 0;
    register_key(&c, c.rig->nexus, 0xa1);
    register_key(&c, c.other, 0xb1);
    start_set(&c, &test, set_standby, 8);
    reserve_out(&c, c.other, &preempt, 0x05, 0xb1, 0xa1, list);
    g_assert_false(preempt.is_done);

    set_map(&c, ALUA_STANDBY, ALUA_STATUS_EXPLICIT);
    alua_answer(c.request, ALUA_SET);
    test_wait(c.rig, &test);
    rig_turn(c.rig);
    g_assert_true(preempt.is_done);
    test_assert_good(&preempt);
    test_command_clear(&preempt);
    test_command_clear(&test);
    case_clear(&c);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add_func("/scsi/alua/" name, fn)
    ADD("report", test_report);
    ADD("extended-header", test_extended_header);
    ADD("no-groups", test_no_groups);
    ADD("inquiry", test_inquiry);
    ADD("gates", test_gates);
    ADD("sense-codes", test_sense_codes);
    ADD("implicit-attention", test_implicit_attention);
    ADD("explicit", test_explicit);
    ADD("explicit-failures", test_explicit_failures);
    ADD("explicit-abort", test_explicit_abort);
    ADD("explicit-preempted", test_explicit_preempted);
    ADD("explicit-refusals", test_explicit_refusals);
    ADD("explicit-is-reported", test_explicit_is_reported);
    return g_test_run();
}
