/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Task management functions that end nothing, and what is answered to those
 * that cannot be done: by protocol level, function, logical unit and task. One
 * worker without a thread, an initiator on a socket pair, a store that can hold
 * requests back.
 */

#include "initiator.h"

#include <string.h>

#define LEVEL_2 "iSCSIProtocolLevel=2"
#define NOBODY  0xdeadu

typedef struct {
    Rig *rig;
    Initiator *initiator;
} Bed;

static Bed
bed_open(const char *keys)
{
    Bed bed = { .rig = rig_new(&(RigConfig){ .type = "held" }) };

    bed.initiator = initiator_new(bed.rig);
    g_assert_cmphex(initiator_login(bed.initiator, keys), ==, 0);
    initiator_settle(bed.initiator);
    return bed;
}

static void
bed_close(Bed *bed)
{
    initiator_free(bed->initiator);
    rig_free(bed->rig);
}

static guint32
send_read(Initiator *initiator)
{
    guint8 bhs[PDU_BHS_SIZE], cdb[10];

    initiator_cdb10(cdb, 0x28, 0, 1);
    initiator_command(initiator, bhs, 0xc0, cdb, sizeof(cdb), 512);
    initiator_send(initiator, bhs, NULL, 0);
    return pdu_itt(bhs);
}

static void
send_function(Initiator *initiator, guint8 function, guint8 lun, guint32 rtt)
{
    guint8 bhs[PDU_BHS_SIZE];

    initiator_header(initiator, bhs, PDU_TASK_MANAGEMENT_REQUEST | PDU_IMMEDIATE, 0x80 | function);
    bhs[9] = lun;
    put_be32(bhs + 20, rtt);
    initiator_send(initiator, bhs, NULL, 0);
}

static guint8
ask(Initiator *initiator, guint8 function, guint8 lun, guint32 rtt)
{
    send_function(initiator, function, lun, rtt);
    g_assert_true(initiator_receive(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_TASK_MANAGEMENT_RESPONSE);
    return initiator->bhs[2];
}

static void
test_a_task_that_is_there(void)
{
    Bed bed = bed_open(LEVEL_2);
    guint32 itt;

    rig_hold(bed.rig);
    itt = send_read(bed.initiator);
    rig_settle(bed.rig);
    g_assert_cmphex(ask(bed.initiator, PDU_TMF_QUERY_TASK, 0, itt), ==, PDU_TMF_RESPONSE_SUCCEEDED);
    g_assert_cmphex(ask(bed.initiator, PDU_TMF_QUERY_TASK_SET, 0, PDU_TAG_RESERVED), ==,
                    PDU_TMF_RESPONSE_SUCCEEDED);

    /* It was not harmed, and then it is there no more */
    rig_release(bed.rig);
    g_assert_true(initiator_receive(bed.initiator));
    g_assert_cmphex(pdu_opcode(bed.initiator->bhs), ==, PDU_DATA_IN);
    g_assert_cmphex(ask(bed.initiator, PDU_TMF_QUERY_TASK, 0, itt), ==, PDU_TMF_RESPONSE_COMPLETE);
    g_assert_cmphex(ask(bed.initiator, PDU_TMF_QUERY_TASK_SET, 0, PDU_TAG_RESERVED), ==,
                    PDU_TMF_RESPONSE_COMPLETE);
    bed_close(&bed);
}

/* A command behind a gap in CmdSN has come, though it has not begun */
static void
test_a_task_whose_turn_has_not_come(void)
{
    Bed bed = bed_open(LEVEL_2);
    guint32 first = bed.initiator->cmd_sn;
    guint32 itt;

    bed.initiator->cmd_sn = first + 1;
    itt = send_read(bed.initiator);
    g_assert_cmphex(ask(bed.initiator, PDU_TMF_QUERY_TASK, 0, itt), ==, PDU_TMF_RESPONSE_SUCCEEDED);
    bed_close(&bed);
}

/* A task set is known when all that was sent before has come */
static void
test_a_task_set_waits_for_commands_before(void)
{
    Bed bed = bed_open(LEVEL_2);
    guint32 first = bed.initiator->cmd_sn;

    rig_hold(bed.rig);
    bed.initiator->cmd_sn = first + 1;
    send_function(bed.initiator, PDU_TMF_QUERY_TASK_SET, 0, PDU_TAG_RESERVED);
    g_assert_false(initiator_poll(bed.initiator));
    bed.initiator->cmd_sn = first;
    (void)send_read(bed.initiator);
    g_assert_true(initiator_receive(bed.initiator));
    g_assert_cmphex(pdu_opcode(bed.initiator->bhs), ==, PDU_TASK_MANAGEMENT_RESPONSE);
    g_assert_cmphex(bed.initiator->bhs[2], ==, PDU_TMF_RESPONSE_SUCCEEDED);
    rig_release(bed.rig);
    bed_close(&bed);
}

/* An aborted task is none, although the store still has it */
static void
test_a_task_that_was_aborted(void)
{
    Bed bed = bed_open(LEVEL_2);
    guint32 itt;

    rig_hold(bed.rig);
    itt = send_read(bed.initiator);
    rig_settle(bed.rig);
    send_function(bed.initiator, PDU_TMF_ABORT_TASK, 0, itt);
    rig_settle(bed.rig);
    g_assert_cmphex(ask(bed.initiator, PDU_TMF_QUERY_TASK, 0, itt), ==, PDU_TMF_RESPONSE_COMPLETE);
    g_assert_cmphex(ask(bed.initiator, PDU_TMF_QUERY_TASK_SET, 0, PDU_TAG_RESERVED), ==,
                    PDU_TMF_RESPONSE_COMPLETE);
    rig_release(bed.rig);
    g_assert_true(initiator_receive(bed.initiator));
    g_assert_cmphex(bed.initiator->bhs[2], ==, PDU_TMF_RESPONSE_COMPLETE);
    bed_close(&bed);
}

/* A query is no event: initiators may ask as often as they like */
static void
test_queries_are_not_reported(void)
{
    Bed bed = bed_open(LEVEL_2);

    (void)ask(bed.initiator, PDU_TMF_QUERY_TASK, 0, NOBODY);
    rig_settle(bed.rig);
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_TASK_MANAGEMENT), ==, 0);
    bed_close(&bed);
}

/* RFC 7144 6.4.2: which unit attention is pending, and whether it is the only one */
static void
test_async_event(void)
{
    Bed bed = bed_open(LEVEL_2);
    const guint8 *bhs = bed.initiator->bhs;
    LunEntry entries[2] = { bed.rig->map->entries[0], bed.rig->map->entries[0] };
    LunMap *both;

    g_assert_cmphex(ask(bed.initiator, PDU_TMF_QUERY_ASYNC_EVENT, 0, PDU_TAG_RESERVED), ==,
                    PDU_TMF_RESPONSE_COMPLETE);
    g_assert_cmphex(get_be32(bhs + 8), ==, 0);

    entries[1].lun = 3;
    both = lun_map_new(entries, 2);
    snapshot_unref(&bed.rig->map->snapshot);
    bed.rig->map = both;
    rig_set_target(bed.rig, NULL);
    g_assert_cmphex(ask(bed.initiator, PDU_TMF_QUERY_ASYNC_EVENT, 0, PDU_TAG_RESERVED), ==,
                    PDU_TMF_RESPONSE_SUCCEEDED);
    g_assert_cmphex(get_be32(bhs + 8), ==, 0x163f0e00);

    /* A new one: power on, and the change; what is asked for stays */
    for (guint i = 0; i < 2; i++) {
        g_assert_cmphex(ask(bed.initiator, PDU_TMF_QUERY_ASYNC_EVENT, 3, PDU_TAG_RESERVED), ==,
                        PDU_TMF_RESPONSE_SUCCEEDED);
        g_assert_cmphex(get_be32(bhs + 8), ==, 0x26290000);
    }
    bed_close(&bed);
}

/* No function acts on a task management request, not even on itself */
static void
test_functions_on_functions(void)
{
    Bed bed = bed_open(LEVEL_2);
    guint32 held, first = bed.initiator->cmd_sn;

    bed.initiator->cmd_sn = first + 1;
    held = bed.initiator->itt;
    send_function(bed.initiator, PDU_TMF_ABORT_TASK_SET, 0, PDU_TAG_RESERVED);
    g_assert_false(initiator_poll(bed.initiator));
    g_assert_cmphex(ask(bed.initiator, PDU_TMF_ABORT_TASK, 0, held), ==, PDU_TMF_RESPONSE_REJECTED);
    g_assert_cmphex(ask(bed.initiator, PDU_TMF_QUERY_TASK, 0, held), ==, PDU_TMF_RESPONSE_REJECTED);
    g_assert_cmphex(ask(bed.initiator, PDU_TMF_ABORT_TASK, 0, bed.initiator->itt), ==,
                    PDU_TMF_RESPONSE_REJECTED);
    bed_close(&bed);
}

/* RFC 7143 11.6.1, of a task that is not there: RefCmdSN and CmdSN count from ExpCmdSN */
static void
test_ref_cmd_sn(void)
{
    /* clang-format off */
    static const struct {
        guint8 function;
        gint32 cmd_sn;
        gint32 ref_cmd_sn;
        guint8 response;
        guint8 received; /* how far ExpCmdSN moves */
    } cases[] = {
        { PDU_TMF_ABORT_TASK, 1,  0,   PDU_TMF_RESPONSE_COMPLETE, 1 }, /* never came */
        { PDU_TMF_ABORT_TASK, 2,  1,   PDU_TMF_RESPONSE_COMPLETE, 0 }, /* the same, behind another */
        { PDU_TMF_ABORT_TASK, 0,  -1,  PDU_TMF_RESPONSE_NO_TASK,  0 }, /* answered long ago */
        { PDU_TMF_ABORT_TASK, 0,  0,   PDU_TMF_RESPONSE_NO_TASK,  0 }, /* of an immediate command */
        { PDU_TMF_ABORT_TASK, 1,  2,   PDU_TMF_RESPONSE_NO_TASK,  0 }, /* above its own */
        { PDU_TMF_ABORT_TASK, 300, 299, PDU_TMF_RESPONSE_NO_TASK, 0 }, /* above the window */
        { PDU_TMF_QUERY_TASK, 1,  0,   PDU_TMF_RESPONSE_COMPLETE, 1 },
        { PDU_TMF_QUERY_TASK, 0,  -1,  PDU_TMF_RESPONSE_COMPLETE, 0 },
    };
    /* clang-format on */

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        Bed bed = bed_open(LEVEL_2);
        guint32 exp = bed.initiator->cmd_sn;
        guint8 bhs[PDU_BHS_SIZE];

        initiator_header(bed.initiator, bhs, PDU_TASK_MANAGEMENT_REQUEST | PDU_IMMEDIATE,
                         0x80 | cases[i].function);
        put_be32(bhs + 20, NOBODY);
        put_be32(bhs + 24, exp + (guint32)cases[i].cmd_sn);
        put_be32(bhs + 32, exp + (guint32)cases[i].ref_cmd_sn);
        initiator_send(bed.initiator, bhs, NULL, 0);
        g_assert_true(initiator_receive(bed.initiator));
        g_assert_cmphex(bed.initiator->bhs[2], ==, cases[i].response);

        /* What was said before the CmdSN moved is not what holds now */
        g_assert_cmphex(ask(bed.initiator, PDU_TMF_QUERY_TASK_SET, 0, PDU_TAG_RESERVED), ==,
                        PDU_TMF_RESPONSE_COMPLETE);
        g_assert_cmpuint(get_be32(bed.initiator->bhs + 28), ==, exp + cases[i].received);
        bed_close(&bed);
    }
}

/* RFC 7143 11.6.1 */
static void
test_responses(gconstpointer keys)
{
    /* clang-format off */
    static const struct {
        guint8 function;
        guint8 lun;
        guint8 level_1;
        guint8 level_2;
    } cases[] = {
        { 0,                          0, PDU_TMF_RESPONSE_NOT_SUPPORTED,          PDU_TMF_RESPONSE_NOT_SUPPORTED },
        { PDU_TMF_ABORT_TASK,         0, PDU_TMF_RESPONSE_NO_TASK,                PDU_TMF_RESPONSE_NO_TASK },
        { PDU_TMF_ABORT_TASK_SET,     0, PDU_TMF_RESPONSE_COMPLETE,               PDU_TMF_RESPONSE_COMPLETE },
        { PDU_TMF_ABORT_TASK_SET,     9, PDU_TMF_RESPONSE_NO_LUN,                 PDU_TMF_RESPONSE_NO_LUN },
        { PDU_TMF_CLEAR_ACA,          0, PDU_TMF_RESPONSE_NOT_SUPPORTED,          PDU_TMF_RESPONSE_NOT_SUPPORTED },
        { PDU_TMF_CLEAR_TASK_SET,     9, PDU_TMF_RESPONSE_NO_LUN,                 PDU_TMF_RESPONSE_NO_LUN },
        { PDU_TMF_LOGICAL_UNIT_RESET, 9, PDU_TMF_RESPONSE_NO_LUN,                 PDU_TMF_RESPONSE_NO_LUN },
        { PDU_TMF_TASK_REASSIGN,      0, PDU_TMF_RESPONSE_REASSIGN_NOT_SUPPORTED, PDU_TMF_RESPONSE_REASSIGN_NOT_SUPPORTED },
        { PDU_TMF_QUERY_TASK,         0, PDU_TMF_RESPONSE_NOT_SUPPORTED,          PDU_TMF_RESPONSE_COMPLETE },
        { PDU_TMF_QUERY_TASK,         9, PDU_TMF_RESPONSE_NOT_SUPPORTED,          PDU_TMF_RESPONSE_NO_LUN },
        { PDU_TMF_QUERY_TASK_SET,     0, PDU_TMF_RESPONSE_NOT_SUPPORTED,          PDU_TMF_RESPONSE_COMPLETE },
        { PDU_TMF_QUERY_TASK_SET,     9, PDU_TMF_RESPONSE_NOT_SUPPORTED,          PDU_TMF_RESPONSE_NO_LUN },
        { PDU_TMF_QUERY_ASYNC_EVENT,  0, PDU_TMF_RESPONSE_NOT_SUPPORTED,          PDU_TMF_RESPONSE_COMPLETE },
        { PDU_TMF_QUERY_ASYNC_EVENT,  9, PDU_TMF_RESPONSE_NOT_SUPPORTED,          PDU_TMF_RESPONSE_NO_LUN },
        { 127,                        0, PDU_TMF_RESPONSE_NOT_SUPPORTED,          PDU_TMF_RESPONSE_NOT_SUPPORTED },
        { PDU_TMF_I_T_NEXUS_RESET,    9, PDU_TMF_RESPONSE_NOT_SUPPORTED,          PDU_TMF_RESPONSE_COMPLETE },
    };
    /* clang-format on */
    Bed bed = bed_open(keys);

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
        g_assert_cmphex(ask(bed.initiator, cases[i].function, cases[i].lun, NOBODY), ==,
                        keys != NULL ? cases[i].level_2 : cases[i].level_1);
    bed_close(&bed);
}

/* REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS says what this session can use */
static void
check_reported(const char *keys, const guint8 *expected)
{
    static const guint8 cdb[12] = { 0xa3, 0x0d, [9] = 4 };
    Bed bed = bed_open(keys);
    guint8 data[4];
    Outcome outcome;

    g_assert_true(
        initiator_run(bed.initiator, cdb, sizeof(cdb), NULL, 0, data, sizeof(data), &outcome));
    g_assert_cmpmem(data, sizeof(data), expected, 4);
    bed_close(&bed);
}

/* RFC 7144 4.2: INQUIRY tells of iSCSI what was negotiated */
static void
test_version_descriptor(void)
{
    static const struct {
        const char *keys;
        guint16 version;
    } cases[] = {
        { "iSCSIProtocolLevel=0", 0x0960 },  { NULL, 0x0961 },
        { "iSCSIProtocolLevel=1", 0x0961 },  { LEVEL_2, 0x0962 },
        { "iSCSIProtocolLevel=31", 0x0962 },
    };
    static const guint8 cdb[6] = { 0x12, [4] = 96 };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        Bed bed = bed_open(cases[i].keys);
        guint8 data[96];
        Outcome outcome;

        g_assert_true(
            initiator_run(bed.initiator, cdb, sizeof(cdb), NULL, 0, data, sizeof(data), &outcome));
        g_assert_cmphex(get_be16(data + 60), ==, cases[i].version);
        bed_close(&bed);
    }
}

static void
test_reported(void)
{
    check_reported(NULL, (const guint8[4]){ 0xda, 0, 0, 0 });
    check_reported(LEVEL_2, (const guint8[4]){ 0xde, 0x07, 0, 0 });
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/iscsi/query/a-task-that-is-there", test_a_task_that_is_there);
    g_test_add_func("/iscsi/query/a-task-whose-turn-has-not-come",
                    test_a_task_whose_turn_has_not_come);
    g_test_add_func("/iscsi/query/a-task-set-waits-for-commands-before",
                    test_a_task_set_waits_for_commands_before);
    g_test_add_func("/iscsi/query/a-task-that-was-aborted", test_a_task_that_was_aborted);
    g_test_add_func("/iscsi/query/queries-are-not-reported", test_queries_are_not_reported);
    g_test_add_data_func("/iscsi/query/responses/level-1", NULL, test_responses);
    g_test_add_data_func("/iscsi/query/responses/level-2", LEVEL_2, test_responses);
    g_test_add_func("/iscsi/query/async-event", test_async_event);
    g_test_add_func("/iscsi/query/functions-on-functions", test_functions_on_functions);
    g_test_add_func("/iscsi/query/ref-cmd-sn", test_ref_cmd_sn);
    g_test_add_func("/iscsi/query/supported-functions-are-told", test_reported);
    g_test_add_func("/iscsi/query/version-descriptor", test_version_descriptor);
    return g_test_run();
}
