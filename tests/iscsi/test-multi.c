/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Several connections in one session: joining it on the same worker and on
 * another one, order across them, and what becomes of a session when one of
 * them ends.
 */

#include "bundle.h"

#include <string.h>

#include "scsi/command.h"
#include "util/bytes.h"

#define N_CONNECTIONS 4

/* Joining */

/* All connections of the session are counted where it lives, and new ones go elsewhere as long as there
 * is a worker with fewer; those that end there are not counted any more */
static void
check_counts(Bundle *bundle)
{
    const IscsiService *service = bundle->rig->service;
    guint n_workers = bundle->rig->n_workers;
    guint home = 0;

    while (home < n_workers && iscsi_service_n_connections_of(service, home) == 0)
        home++;
    g_assert_cmpuint(home, <, n_workers);
    g_assert_cmpuint(iscsi_service_n_connections_of(service, home), ==, N_CONNECTIONS);

    for (guint i = 1; i < n_workers; i++) {
        Initiator *other = initiator_new(bundle->rig);

        rig_settle(bundle->rig);
        g_assert_cmpuint(iscsi_service_n_connections_of(service, home), ==, N_CONNECTIONS);
        initiator_free(other);
    }
    initiator_drop(bundle->c[N_CONNECTIONS - 1]);
    rig_settle(bundle->rig);
    for (guint i = 0; i < n_workers; i++)
        g_assert_cmpuint(iscsi_service_n_connections_of(service, i), ==,
                         i == home ? N_CONNECTIONS - 1 : 0);
}

static void
check_join(guint n_workers)
{
    Bundle bundle;

    bundle_init_plain(&bundle, n_workers, N_CONNECTIONS);
    for (guint i = 0; i < bundle.n; i++) {
        g_assert_cmpuint(bundle.c[i]->tsih, ==, bundle.c[0]->tsih);
        bundle_send_write(bundle_turn(&bundle, i), i, (guint8)(0x10 + i));
        g_assert_cmphex(bundle_get_status(bundle.c[i]), ==, 0);
    }
    for (guint i = 0; i < bundle.n; i++)
        g_assert_cmphex(bundle_read_byte(bundle_turn(&bundle, (i + 1) % bundle.n), i), ==,
                        0x10 + i);
    rig_settle(bundle.rig);
    g_assert_cmpuint(rig_count_events(bundle.rig, ISCSI_EVENT_SESSION_OPENED), ==, 1);
    g_assert_cmpuint(rig_count_events(bundle.rig, ISCSI_EVENT_CONNECTION_OPENED), ==,
                     N_CONNECTIONS - 1);
    g_assert_cmpuint(iscsi_service_n_connections(bundle.rig->service), ==, N_CONNECTIONS);
    g_assert_cmpuint(iscsi_service_n_logins(bundle.rig->service), ==, 0);
    check_counts(&bundle);
    bundle_deinit(&bundle);
}

static void
test_join_here(void)
{
    check_join(1);
}

static void
test_join_elsewhere(void)
{
    check_join(3);
}

static void
make_two(IscsiTarget *target)
{
    target->params.max_connections = 2;
}

static void
test_too_many(void)
{
    Bundle bundle;

    bundle_init(&bundle, &(RigConfig){ .adjust = make_two }, 2);
    g_assert_cmphex(bundle_join(&bundle, 2), ==, 0x0206);
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 1)), ==, 0);
    bundle_deinit(&bundle);
}

static void
test_session_has_gone(void)
{
    Bundle bundle;

    bundle_init_plain(&bundle, 2, 2);
    g_assert_cmpuint(bundle_log_out(bundle_turn(&bundle, 1), PDU_LOGOUT_CLOSE_SESSION, 0), ==, 0);
    rig_settle(bundle.rig);
    g_assert_cmphex(bundle_join(&bundle, 2), ==, 0x020a);
    bundle_deinit(&bundle);
}

static void
test_new_version_meanwhile(void)
{
    Bundle bundle;

    bundle_init_plain(&bundle, 2, 1);
    rig_set_target(bundle.rig, make_two);
    g_assert_cmphex(bundle_join(&bundle, 1), ==, 0);
    bundle_deinit(&bundle);
}

/*
 * A retry on another connection while the PDU is still coming in on the first: the copy that is whole
 * first is the command, and the other one is not in the way of the CmdSN that shares its place.
 */
static void
test_two_copies(void)
{
    guint8 bhs[PDU_BHS_SIZE], cdb[10], data[512];
    Bundle bundle;
    Initiator *slow;

    bundle_init_plain(&bundle, 1, 2);
    memset(data, 0x11, sizeof(data));
    initiator_cdb10(cdb, 0x2a, 1, 1);
    slow = bundle_turn(&bundle, 0);
    initiator_command(slow, bhs, 0x80 | 0x20 | 1, cdb, 10, sizeof(data));
    pdu_set_data_size(bhs, sizeof(data));
    initiator_send_bytes(slow, bhs, sizeof(bhs));
    initiator_send_bytes(slow, data, 100);
    rig_settle(bundle.rig);

    bundle_turn(&bundle, 1)->cmd_sn = pdu_cmd_sn(bhs);
    bundle_send_write(bundle.c[1], 1, 0x22);
    g_assert_cmphex(bundle_get_status(bundle.c[1]), ==, 0);
    initiator_send_bytes(slow, data + 100, sizeof(data) - 100);
    rig_settle(bundle.rig);

    for (guint i = 0; i < 300; i++)
        g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 1)), ==, 0);
    g_assert_cmphex(bundle_read_byte(bundle_turn(&bundle, 1), 1), ==, 0x22);
    bundle_deinit(&bundle);
}

/* The text of a login is its own; what is the session's stays as it was agreed on */
static void
test_connection_parameters(void)
{
    Bundle bundle;
    guint8 *data = g_malloc(131072);
    guint8 cdb[10];
    Outcome outcome;

    bundle_init_plain(&bundle, 2, 2);
    initiator_cdb10(cdb, 0x28, 0, 256);
    g_assert_true(initiator_run(bundle_turn(&bundle, 0), cdb, 10, NULL, 0, data, 131072, &outcome));
    g_assert_cmpuint(outcome.n_data_in, ==, 1);
    g_assert_true(initiator_run(bundle_turn(&bundle, 1), cdb, 10, NULL, 0, data, 131072, &outcome));
    g_assert_cmpuint(outcome.n_data_in, ==, 2);
    g_free(data);
    bundle_deinit(&bundle);
}

/* Order */

static void
test_order(void)
{
    Bundle bundle;
    guint32 cmd_sn;

    bundle_init_plain(&bundle, 2, 2);
    cmd_sn = bundle_turn(&bundle, 0)->cmd_sn;
    /* The second of two writes to one block comes first, on another connection */
    bundle.c[1]->cmd_sn = cmd_sn + 1;
    bundle_send_write(bundle.c[1], 0, 2);
    g_assert_false(initiator_poll(bundle.c[1]));
    bundle.c[0]->cmd_sn = cmd_sn;
    bundle_send_write(bundle.c[0], 0, 1);
    g_assert_cmphex(bundle_get_status(bundle.c[0]), ==, 0);
    g_assert_cmphex(bundle_get_status(bundle.c[1]), ==, 0);
    g_assert_cmphex(bundle_read_byte(bundle_turn(&bundle, 0), 0), ==, 2);
    bundle_deinit(&bundle);
}

/* RFC 7143 4.2.2.1 and 11.7: data comes on the connection of its command */
static void
test_data_on_another_connection(void)
{
    Bundle bundle;
    guint8 bhs[PDU_BHS_SIZE], cdb[10], data[512] = { 0 };
    guint32 itt, ttt;

    bundle_init_plain(&bundle, 2, 2);
    initiator_cdb10(cdb, 0x2a, 0, 1);
    initiator_command(bundle_turn(&bundle, 0), bhs, 0x80 | 0x20 | 1, cdb, 10, sizeof(data));
    itt = pdu_itt(bhs);
    initiator_send(bundle.c[0], bhs, NULL, 0);
    g_assert_true(initiator_receive(bundle.c[0]));
    g_assert_cmphex(pdu_opcode(bundle.c[0]->bhs), ==, PDU_R2T);
    ttt = pdu_ttt(bundle.c[0]->bhs);
    for (guint i = 2; i-- > 0;) {
        initiator_header(bundle.c[i], bhs, PDU_DATA_OUT, 0x80);
        put_be32(bhs + 16, itt);
        put_be32(bhs + 20, ttt);
        put_be32(bhs + 24, 0);
        bundle.c[i]->cmd_sn--;
        initiator_send(bundle.c[i], bhs, data, sizeof(data));
        g_assert_true(initiator_receive(bundle.c[i]));
        g_assert_cmphex(pdu_opcode(bundle.c[i]->bhs), ==, i == 1 ? PDU_REJECT : PDU_SCSI_RESPONSE);
    }
    bundle_deinit(&bundle);
}

static void
test_abort_across(void)
{
    Bundle bundle;
    guint8 bhs[PDU_BHS_SIZE];
    guint32 itt;

    bundle_init(&bundle, &(RigConfig){ .n_workers = 2, .type = "held" }, 2);
    rig_hold(bundle.rig);
    itt = bundle.c[0]->itt;
    bundle_send_write(bundle_turn(&bundle, 0), 0, 1);
    rig_settle(bundle.rig);
    initiator_header(bundle_turn(&bundle, 1), bhs, PDU_TASK_MANAGEMENT_REQUEST | PDU_IMMEDIATE,
                     0x80 | PDU_TMF_ABORT_TASK);
    put_be32(bhs + 20, itt);
    initiator_send(bundle.c[1], bhs, NULL, 0);
    g_assert_false(initiator_poll(bundle.c[1]));
    rig_release(bundle.rig);
    g_assert_true(initiator_receive(bundle.c[1]));
    g_assert_cmphex(pdu_opcode(bundle.c[1]->bhs), ==, PDU_TASK_MANAGEMENT_RESPONSE);
    g_assert_cmpuint(bundle.c[1]->bhs[2], ==, 0);
    g_assert_false(initiator_poll(bundle.c[0]));
    bundle_deinit(&bundle);
}

/* The response fence, RFC 7143 4.2.2.3 */

static void
expect_ping(Initiator *initiator)
{
    g_assert_true(initiator_receive(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_NOP_IN);
    g_assert_cmphex(pdu_ttt(initiator->bhs), !=, PDU_TAG_RESERVED);
}

/*
 * RFC 7143 11.5.1: a function on several tasks concerns those whose CmdSN is below its own. Here it
 * arrives behind a command that was sent after it.
 */
static guint8
status_of_later_command(PduTmf function)
{
    Bundle bundle;
    guint8 bhs[PDU_BHS_SIZE];
    guint8 status = 0;
    gboolean is_managed = FALSE, has_status = FALSE;

    bundle_init(&bundle, &(RigConfig){ .n_workers = 2, .type = "held" }, 2);
    rig_hold(bundle.rig);
    initiator_header(bundle_turn(&bundle, 1), bhs, PDU_TASK_MANAGEMENT_REQUEST | PDU_IMMEDIATE,
                     (guint8)(0x80 | function));
    bundle_send_write(bundle_turn(&bundle, 0), 0, 1);
    rig_settle(bundle.rig);
    initiator_send(bundle.c[1], bhs, NULL, 0);
    rig_settle(bundle.rig);
    rig_release(bundle.rig);
    for (guint i = 0; !(is_managed && has_status); i++) {
        Initiator *initiator = bundle.c[i % 2];

        g_assert_cmpuint(i, <, 40);
        if (!initiator_poll(initiator))
            continue;
        if (pdu_opcode(initiator->bhs) == PDU_NOP_IN) {
            initiator_answer_ping(initiator);
        } else if (i % 2 == 1) {
            g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_TASK_MANAGEMENT_RESPONSE);
            g_assert_cmpuint(initiator->bhs[2], ==, 0);
            is_managed = TRUE;
        } else {
            g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_SCSI_RESPONSE);
            status = initiator->bhs[3];
            has_status = TRUE;
        }
    }
    bundle_deinit(&bundle);
    return status;
}

static void
test_later_command(void)
{
    g_assert_cmphex(status_of_later_command(PDU_TMF_ABORT_TASK_SET), ==, SCSI_GOOD);
    g_assert_cmphex(status_of_later_command(PDU_TMF_CLEAR_TASK_SET), ==, SCSI_GOOD);
    g_assert_cmphex(status_of_later_command(PDU_TMF_LOGICAL_UNIT_RESET), ==, SCSI_TASK_ABORTED);
    g_assert_cmphex(status_of_later_command(PDU_TMF_TARGET_WARM_RESET), ==, SCSI_TASK_ABORTED);
}

static void
send_test_unit(Initiator *initiator)
{
    static const guint8 cdb[6];
    guint8 bhs[PDU_BHS_SIZE];

    initiator_command(initiator, bhs, 0x80 | 1, cdb, 6, 0);
    initiator_send(initiator, bhs, NULL, 0);
}

static void
send_reset(Initiator *initiator)
{
    guint8 bhs[PDU_BHS_SIZE];

    initiator_header(initiator, bhs, PDU_TASK_MANAGEMENT_REQUEST | PDU_IMMEDIATE,
                     0x80 | PDU_TMF_LOGICAL_UNIT_RESET);
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    initiator_send(initiator, bhs, NULL, 0);
}

/* The fence is up when this returns: connection 1 was sent a status that it did not acknowledge */
static void
raise_fence(Bundle *bundle)
{
    g_assert_cmphex(bundle_test_unit(bundle_turn(bundle, 1)), ==, 0);
    send_reset(bundle_turn(bundle, 0));
    expect_ping(bundle->c[1]);
    g_assert_false(initiator_poll(bundle->c[0]));
}

static void
test_fence(void)
{
    Bundle bundle;

    bundle_init_plain(&bundle, 2, 2);
    raise_fence(&bundle);
    initiator_answer_ping(bundle.c[1]);
    g_assert_true(initiator_receive(bundle.c[0]));
    g_assert_cmphex(pdu_opcode(bundle.c[0]->bhs), ==, PDU_TASK_MANAGEMENT_RESPONSE);
    /* What comes behind it waits for its acknowledgement */
    send_test_unit(bundle_turn(&bundle, 1));
    g_assert_false(initiator_poll(bundle.c[1]));
    expect_ping(bundle.c[0]);
    initiator_answer_ping(bundle.c[0]);
    g_assert_true(initiator_receive(bundle.c[1]));
    /* The first unit attention is fenced too: that of the reset */
    g_assert_cmphex(pdu_opcode(bundle.c[1]->bhs), ==, PDU_SCSI_RESPONSE);
    g_assert_cmphex(bundle.c[1]->bhs[3], ==, 0x02);
    expect_ping(bundle.c[1]);
    initiator_answer_ping(bundle.c[1]);
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 0)), ==, 0);
    bundle_deinit(&bundle);
}

/* Who goes has nothing to acknowledge any more */
static void
test_fence_and_loss(void)
{
    Bundle bundle;

    bundle_init_plain(&bundle, 2, 3);
    raise_fence(&bundle);
    initiator_drop(bundle.c[1]);
    g_assert_true(initiator_receive(bundle.c[0]));
    if (pdu_opcode(bundle.c[0]->bhs) == PDU_NOP_IN) {
        initiator_answer_ping(bundle.c[0]);
        g_assert_true(initiator_receive(bundle.c[0]));
    }
    g_assert_cmphex(pdu_opcode(bundle.c[0]->bhs), ==, PDU_TASK_MANAGEMENT_RESPONSE);
    expect_ping(bundle.c[0]);
    initiator_answer_ping(bundle.c[0]);
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 2)) >> 16, ==, 0x06);
    bundle_deinit(&bundle);
}

/* The connection of the fenced answer is lost: the others go on */
static void
test_fence_and_loss_of_its_own(void)
{
    Bundle bundle;

    bundle_init_plain(&bundle, 2, 3);
    raise_fence(&bundle);
    initiator_drop(bundle.c[0]);
    rig_settle(bundle.rig);
    initiator_answer_ping(bundle.c[1]);
    send_test_unit(bundle_turn(&bundle, 2));
    g_assert_true(initiator_receive(bundle.c[2]));
    bundle_deinit(&bundle);
}

static void
test_fence_and_logout(void)
{
    Bundle bundle;

    bundle_init_plain(&bundle, 2, 2);
    raise_fence(&bundle);
    bundle_send_logout(bundle_turn(&bundle, 1), PDU_LOGOUT_CLOSE_SESSION, 0);
    g_assert_true(initiator_receive(bundle.c[1]));
    g_assert_cmphex(pdu_opcode(bundle.c[1]->bhs), ==, PDU_LOGOUT_RESPONSE);
    bundle_deinit(&bundle);
}

static void
test_fence_and_silence(void)
{
    Bundle bundle;

    bundle_init(&bundle, &(RigConfig){ .n_workers = 2 }, 2);
    raise_fence(&bundle);
    clock_advance(&bundle.rig->clock, 40 * USEC_PER_SEC);
    rig_settle(bundle.rig);
    g_assert_true(initiator_is_closed(bundle.c[1]));
    bundle_deinit(&bundle);
}

static void
offer_recovery(IscsiTarget *target)
{
    target->params.error_recovery_level = 2;
}

/* Its answer is behind the fence for longer than data is waited for: it is owed none any more */
static void
test_fence_and_outstanding_data(void)
{
    Bundle bundle;
    Initiator *other;
    guint8 bhs[PDU_BHS_SIZE], cdb[10];

    bundle_init(&bundle, &(RigConfig){ .adjust = offer_recovery }, 2);
    other = initiator_new(bundle.rig);
    other->isid[5] = 9;
    g_assert_cmphex(initiator_login(other, NULL), ==, 0);
    initiator_settle(other);
    raise_fence(&bundle);

    initiator_cdb10(cdb, 0x2a, 0, 8);
    initiator_command(bundle_turn(&bundle, 0), bhs, PDU_COMMAND_WRITE, cdb, sizeof(cdb), 4096);
    initiator_send(bundle.c[0], bhs, NULL, 0);
    rig_settle(bundle.rig);
    send_reset(other);
    rig_settle(bundle.rig);
    for (guint i = 0; i < 8; i++) {
        clock_advance(&bundle.rig->clock, USEC_PER_SEC);
        rig_settle(bundle.rig);
    }
    g_assert_false(initiator_is_closed(bundle.c[0]));
    initiator_free(other);
    bundle_deinit(&bundle);
}

/* FastAbort, RFC 7143 4.2.3.4 */

static void
expect_termination(Initiator *initiator)
{
    g_assert_true(initiator_receive(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_ASYNC_MESSAGE);
    g_assert_cmpuint(initiator->bhs[36], ==, PDU_ASYNC_TASKS_TERMINATED);
    g_assert_cmphex(pdu_lun(initiator->bhs), ==, 0);
}

/* NOP-Out with the LUN, and no tag: it acknowledges */
static void
answer_termination(Initiator *initiator)
{
    guint8 bhs[PDU_BHS_SIZE];

    initiator_header(initiator, bhs, PDU_NOP_OUT | PDU_IMMEDIATE, 0x80);
    put_be32(bhs + 16, PDU_TAG_RESERVED);
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    initiator_send(initiator, bhs, NULL, 0);
}

/* A write on connection @i that waits for its data */
static void
begin_asking(Bundle *bundle, guint i)
{
    guint8 bhs[PDU_BHS_SIZE], cdb[10];

    initiator_cdb10(cdb, 0x2a, 0, 1);
    initiator_command(bundle_turn(bundle, i), bhs, 0x80 | 0x20 | 1, cdb, 10, 512);
    initiator_send(bundle->c[i], bhs, NULL, 0);
    g_assert_true(initiator_receive(bundle->c[i]));
    g_assert_cmphex(pdu_opcode(bundle->c[i]->bhs), ==, PDU_R2T);
}

static void
test_fast_abort(void)
{
    Bundle bundle;

    bundle_init_plain(&bundle, 2, 3);
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 2)), ==, 0);
    begin_asking(&bundle, 0);
    begin_asking(&bundle, 1);
    begin_asking(&bundle, 1);
    send_reset(bundle_turn(&bundle, 0));
    /* Once, and not on the connection that asked, nor where there is nothing to end */
    expect_termination(bundle.c[1]);
    expect_ping(bundle.c[1]);
    expect_ping(bundle.c[2]);
    g_assert_false(initiator_poll(bundle.c[0]));
    initiator_answer_ping(bundle.c[2]);
    g_assert_false(initiator_poll(bundle.c[0]));
    answer_termination(bundle.c[1]);
    g_assert_true(initiator_receive(bundle.c[0]));
    g_assert_cmphex(pdu_opcode(bundle.c[0]->bhs), ==, PDU_TASK_MANAGEMENT_RESPONSE);
    g_assert_cmpuint(bundle.c[0]->bhs[2], ==, 0);
    g_assert_false(initiator_poll(bundle.c[2]));
    bundle_deinit(&bundle);
}

/* Another initiator ends its tasks */
static void
check_fast_abort_by_another(const char *reporting)
{
    Bundle bundle = { .rig = rig_new(NULL), .n = 1 };
    g_autofree char *keys = g_strdup_printf("TaskReporting=%s", reporting);
    Initiator *other = initiator_new(bundle.rig);

    bundle.c[0] = initiator_new(bundle.rig);
    other->isid[5] = 9;
    g_assert_cmphex(initiator_login(bundle.c[0], keys), ==, 0);
    g_assert_cmphex(initiator_login(other, NULL), ==, 0);
    initiator_settle(bundle.c[0]);
    begin_asking(&bundle, 0);
    send_reset(other);
    g_assert_true(initiator_receive(other));
    g_assert_cmphex(pdu_opcode(other->bhs), ==, PDU_TASK_MANAGEMENT_RESPONSE);
    /* Otherwise the data that was asked for comes before the status TASK ABORTED */
    if (strcmp(reporting, "FastAbort") == 0) {
        expect_termination(bundle.c[0]);
        g_assert_cmphex(bundle_get_status(bundle.c[0]), ==, 0x40);
    }
    g_assert_false(initiator_poll(bundle.c[0]));
    initiator_free(other);
    bundle_deinit(&bundle);
}

static void
test_fast_abort_by_another(void)
{
    check_fast_abort_by_another("FastAbort");
    check_fast_abort_by_another("RFC3720");
}

/* Ending */

static void
test_one_is_lost(void)
{
    Bundle bundle;

    bundle_init_plain(&bundle, 2, 3);
    initiator_drop(bundle.c[1]);
    rig_settle(bundle.rig);
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 0)), ==, 0);
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 2)), ==, 0);
    g_assert_cmpuint(rig_count_events(bundle.rig, ISCSI_EVENT_CONNECTION_LOST), ==, 1);
    g_assert_cmpuint(rig_count_events(bundle.rig, ISCSI_EVENT_CONNECTION_CLOSED), ==, 1);
    g_assert_cmpuint(rig_count_events(bundle.rig, ISCSI_EVENT_SESSION_CLOSED), ==, 0);
    initiator_drop(bundle.c[0]);
    initiator_drop(bundle.c[2]);
    rig_settle(bundle.rig);
    g_assert_cmpuint(rig_count_events(bundle.rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    bundle_deinit(&bundle);
}

/* RFC 7143 7.6 */
static void
test_lost_tasks_are_told(void)
{
    Bundle bundle;

    bundle_init(&bundle, &(RigConfig){ .n_workers = 2, .type = "held" }, 2);
    rig_hold(bundle.rig);
    bundle_send_write(bundle_turn(&bundle, 1), 0, 1);
    rig_settle(bundle.rig);
    initiator_drop(bundle.c[1]);
    rig_settle(bundle.rig);
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 0)), ==, 0x06477f);
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 0)), ==, 0);
    rig_release(bundle.rig);
    rig_settle(bundle.rig);
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 0)), ==, 0);
    bundle_deinit(&bundle);
}

/* RFC 7143 11.14: what waited for its turn is discarded, and can be sent again elsewhere */
static void
test_hole_is_filled(void)
{
    Bundle bundle;
    guint32 cmd_sn;

    bundle_init_plain(&bundle, 2, 2);
    cmd_sn = bundle_turn(&bundle, 0)->cmd_sn;
    bundle.c[1]->cmd_sn = cmd_sn + 1;
    bundle_send_write(bundle.c[1], 0, 1);
    rig_settle(bundle.rig);
    initiator_drop(bundle.c[1]);
    rig_settle(bundle.rig);
    bundle.c[0]->cmd_sn = cmd_sn;
    bundle_send_write(bundle.c[0], 1, 2);
    g_assert_cmphex(bundle_get_status(bundle.c[0]), ==, 0);
    g_assert_cmphex(pdu_exp_cmd_sn(bundle.c[0]->bhs), ==, cmd_sn + 1);
    bundle_send_write(bundle.c[0], 0, 3);
    g_assert_cmphex(bundle_get_status(bundle.c[0]), ==, 0);
    g_assert_cmphex(bundle_read_byte(bundle.c[0], 0), ==, 3);
    bundle_deinit(&bundle);
}

static void
test_logout_of_one(void)
{
    Bundle bundle;

    bundle_init_plain(&bundle, 2, 3);
    g_assert_cmpuint(bundle_log_out(bundle_turn(&bundle, 1), PDU_LOGOUT_CLOSE_CONNECTION, 1), ==,
                     0);
    g_assert_true(initiator_is_closed(bundle.c[1]));
    g_assert_cmpuint(bundle_log_out(bundle_turn(&bundle, 0), PDU_LOGOUT_CLOSE_CONNECTION, 2), ==,
                     0);
    g_assert_true(initiator_is_closed(bundle.c[2]));
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 0)), ==, 0);
    g_assert_cmpuint(rig_count_events(bundle.rig, ISCSI_EVENT_CONNECTION_CLOSED), ==, 2);
    g_assert_cmpuint(rig_count_events(bundle.rig, ISCSI_EVENT_CONNECTION_LOST), ==, 0);
    g_assert_cmpuint(bundle_log_out(bundle_turn(&bundle, 0), PDU_LOGOUT_CLOSE_CONNECTION, 2), ==,
                     PDU_LOGOUT_RESPONSE_NO_CID);
    g_assert_cmpuint(bundle_log_out(bundle_turn(&bundle, 0), PDU_LOGOUT_CLOSE_CONNECTION, 0), ==,
                     0);
    g_assert_true(initiator_is_closed(bundle.c[0]));
    rig_settle(bundle.rig);
    g_assert_cmpuint(rig_count_events(bundle.rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    bundle_deinit(&bundle);
}

/* The CID of a connection that has failed is known until it is logged out, or its time is over */
static void
test_logout_of_a_lost_one(void)
{
    Bundle bundle;

    bundle_init(&bundle, &(RigConfig){ .n_workers = 2 }, 3);
    initiator_drop(bundle.c[1]);
    initiator_drop(bundle.c[2]);
    rig_settle(bundle.rig);
    g_assert_cmpuint(bundle_log_out(bundle_turn(&bundle, 0), PDU_LOGOUT_RECOVERY, 1), ==,
                     PDU_LOGOUT_RESPONSE_NO_RECOVERY);
    g_assert_cmpuint(bundle_log_out(bundle_turn(&bundle, 0), PDU_LOGOUT_CLOSE_CONNECTION, 1), ==,
                     0);
    g_assert_cmpuint(bundle_log_out(bundle_turn(&bundle, 0), PDU_LOGOUT_CLOSE_CONNECTION, 1), ==,
                     PDU_LOGOUT_RESPONSE_NO_CID);
    for (guint i = 0; i < 23; i++) {
        clock_advance(&bundle.rig->clock, USEC_PER_SEC);
        rig_settle(bundle.rig);
        g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 0)), ==, 0);
    }
    g_assert_cmpuint(bundle_log_out(bundle_turn(&bundle, 0), PDU_LOGOUT_CLOSE_CONNECTION, 2), ==,
                     PDU_LOGOUT_RESPONSE_NO_CID);
    bundle_deinit(&bundle);
}

static void
test_logout_waits(void)
{
    Bundle bundle;

    bundle_init(&bundle, &(RigConfig){ .n_workers = 2, .type = "held" }, 2);
    rig_hold(bundle.rig);
    bundle_send_write(bundle_turn(&bundle, 1), 0, 1);
    rig_settle(bundle.rig);
    bundle_send_logout(bundle_turn(&bundle, 0), PDU_LOGOUT_CLOSE_CONNECTION, 1);
    g_assert_false(initiator_poll(bundle.c[0]));
    rig_release(bundle.rig);
    g_assert_true(initiator_receive(bundle.c[0]));
    g_assert_cmphex(pdu_opcode(bundle.c[0]->bhs), ==, PDU_LOGOUT_RESPONSE);
    bundle_deinit(&bundle);
}

static void
test_own_logout_waits(void)
{
    Bundle bundle;

    bundle_init(&bundle, &(RigConfig){ .n_workers = 2, .type = "held" }, 2);
    rig_hold(bundle.rig);
    bundle_send_write(bundle_turn(&bundle, 1), 0, 1);
    bundle_send_logout(bundle_turn(&bundle, 1), PDU_LOGOUT_CLOSE_CONNECTION, 1);
    g_assert_false(initiator_poll(bundle.c[1]));
    rig_release(bundle.rig);
    g_assert_true(initiator_receive(bundle.c[1]));
    g_assert_cmphex(pdu_opcode(bundle.c[1]->bhs), ==, PDU_LOGOUT_RESPONSE);
    g_assert_true(initiator_is_closed(bundle.c[1]));
    bundle_deinit(&bundle);
}

static void
test_logout_does_not_wait_for_the_store(void)
{
    Bundle bundle;

    bundle_init(&bundle, &(RigConfig){ .n_workers = 2, .type = "held" }, 2);
    rig_hold(bundle.rig);
    bundle_send_write(bundle_turn(&bundle, 1), 0, 1);
    rig_settle(bundle.rig);
    bundle_send_logout(bundle_turn(&bundle, 0), PDU_LOGOUT_CLOSE_CONNECTION, 1);
    rig_settle(bundle.rig);
    clock_advance(&bundle.rig->clock, 3 * USEC_PER_SEC);
    g_assert_true(initiator_receive(bundle.c[0]));
    g_assert_cmphex(pdu_opcode(bundle.c[0]->bhs), ==, PDU_LOGOUT_RESPONSE);
    rig_release(bundle.rig);
    rig_settle(bundle.rig);
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 0)), ==, 0x06477f);
    bundle_deinit(&bundle);
}

static void
test_logout_of_the_session(void)
{
    Bundle bundle;

    bundle_init_plain(&bundle, 2, 3);
    g_assert_cmpuint(bundle_log_out(bundle_turn(&bundle, 1), PDU_LOGOUT_CLOSE_SESSION, 0), ==, 0);
    for (guint i = 0; i < bundle.n; i++)
        g_assert_true(initiator_is_closed(bundle.c[i]));
    rig_settle(bundle.rig);
    g_assert_cmpuint(rig_count_events(bundle.rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    g_assert_cmpuint(rig_count_events(bundle.rig, ISCSI_EVENT_CONNECTION_LOST), ==, 0);
    bundle_deinit(&bundle);
}

/* The administrator closes one */
static void
test_close_one(void)
{
    Bundle bundle;

    bundle_init_plain(&bundle, 2, 2);
    iscsi_service_close_connection(bundle.rig->service, bundle.c[0]->tsih, 1, "test");
    g_assert_true(initiator_receive(bundle.c[1]));
    g_assert_cmphex(pdu_opcode(bundle.c[1]->bhs), ==, PDU_ASYNC_MESSAGE);
    g_assert_cmpuint(bundle.c[1]->bhs[36], ==, PDU_ASYNC_CONNECTION_DROP);
    g_assert_true(initiator_is_closed(bundle.c[1]));
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 0)), ==, 0);
    g_assert_cmpuint(rig_count_events(bundle.rig, ISCSI_EVENT_CONNECTION_CLOSED), ==, 1);
    iscsi_service_close_connection(bundle.rig->service, bundle.c[0]->tsih, 0, "test");
    g_assert_true(initiator_is_closed(bundle.c[0]));
    g_assert_cmpuint(rig_count_events(bundle.rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    bundle_deinit(&bundle);
}

typedef struct {
    gboolean is_done;
    IscsiSessionReport report;
} Counted;

static void
on_statistics(const IscsiStatistics *statistics, gpointer user_data)
{
    Counted *counted = user_data;

    g_assert_cmpuint(statistics->n_sessions, ==, 1);
    counted->report = statistics->sessions[0];
    counted->is_done = TRUE;
}

static Counted
count(Bundle *bundle)
{
    Counted counted = { 0 };

    iscsi_service_get_statistics(bundle->rig->service, NULL, 0, on_statistics, &counted);
    rig_wait(bundle->rig, &counted.is_done);
    return counted;
}

/* What a connection has counted is not lost with it */
static void
test_statistics(void)
{
    Bundle bundle;
    Counted before, after;

    bundle_init_plain(&bundle, 2, 2);
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 1)), ==, 0);
    before = count(&bundle);
    g_assert_cmpuint(before.report.n_connections, ==, 2);
    g_assert_cmpuint(before.report.connections[1].cid, ==, 1);
    g_assert_cmpuint(before.report.connections[1].statistics.n_pdus_received, ==, 1);
    g_assert_cmpuint(before.report.statistics.n_pdus_received, ==,
                     before.report.connections[0].statistics.n_pdus_received + 1);
    initiator_drop(bundle.c[1]);
    rig_settle(bundle.rig);
    after = count(&bundle);
    g_assert_cmpuint(after.report.n_connections, ==, 1);
    g_assert_cmpuint(after.report.statistics.n_pdus_received, ==,
                     before.report.statistics.n_pdus_received);
    g_assert_cmpuint(after.report.statistics.n_commands, ==, before.report.statistics.n_commands);
    bundle_deinit(&bundle);
}

/* Reinstatement, RFC 7143 6.3.4 */

static void
test_reinstatement(void)
{
    Bundle bundle;

    bundle_init_plain(&bundle, 2, 2);
    g_assert_cmphex(bundle_join(&bundle, 1), ==, 0);
    g_assert_true(initiator_is_closed(bundle.c[1]));
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 2)), ==, 0);
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 0)), ==, 0);
    g_assert_cmpuint(rig_count_events(bundle.rig, ISCSI_EVENT_CONNECTION_LOST), ==, 0);
    bundle_deinit(&bundle);
}

static void
test_reinstatement_of_the_only_one(void)
{
    Bundle bundle;

    bundle_init_plain(&bundle, 2, 1);
    g_assert_cmphex(bundle_join(&bundle, 0), ==, 0);
    g_assert_true(initiator_is_closed(bundle.c[0]));
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 1)), ==, 0);
    g_assert_cmpuint(rig_count_events(bundle.rig, ISCSI_EVENT_SESSION_CLOSED), ==, 0);
    bundle_deinit(&bundle);
}

/* A command that is sent again must not be overtaken by its first copy */
static void
test_reinstatement_waits(void)
{
    Bundle bundle;
    Initiator *again;

    bundle_init(&bundle, &(RigConfig){ .n_workers = 2, .type = "held" }, 1);
    rig_hold(bundle.rig);
    bundle_send_write(bundle_turn(&bundle, 0), 0, 1);
    rig_settle(bundle.rig);
    again = bundle_make(&bundle, 0);
    bundle_begin_login(again);
    g_assert_false(initiator_poll(again));
    rig_release(bundle.rig);
    g_assert_true(initiator_receive(again));
    g_assert_cmphex(pdu_opcode(again->bhs), ==, PDU_LOGIN_RESPONSE);
    g_assert_cmphex(pdu_login_status(again->bhs), ==, 0);
    bundle.c[bundle.n++] = again;
    bundle_deinit(&bundle);
}

/* Whoever was to replace the only connection goes too */
static void
test_reinstatement_is_given_up(void)
{
    Bundle bundle;
    Initiator *again;

    bundle_init(&bundle, &(RigConfig){ .n_workers = 2, .type = "held" }, 1);
    rig_hold(bundle.rig);
    bundle_send_write(bundle_turn(&bundle, 0), 0, 1);
    rig_settle(bundle.rig);
    again = bundle_make(&bundle, 0);
    bundle_begin_login(again);
    g_assert_false(initiator_poll(again));
    clock_advance(&bundle.rig->clock, 16 * USEC_PER_SEC);
    g_assert_true(initiator_is_closed(again));
    rig_release(bundle.rig);
    rig_settle(bundle.rig);
    g_assert_cmpuint(rig_count_events(bundle.rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    initiator_free(again);
    bundle_deinit(&bundle);
}

static void
test_session_ends_while_one_waits(void)
{
    Bundle bundle;
    Initiator *again;

    bundle_init(&bundle, &(RigConfig){ .n_workers = 2, .type = "held" }, 2);
    rig_hold(bundle.rig);
    bundle_send_write(bundle_turn(&bundle, 1), 0, 1);
    rig_settle(bundle.rig);
    again = bundle_make(&bundle, 1);
    bundle_begin_login(again);
    g_assert_false(initiator_poll(again));
    iscsi_service_close_session(bundle.rig->service, bundle.c[0]->tsih, "test");
    g_assert_true(initiator_receive(again));
    g_assert_cmphex(pdu_login_status(again->bhs), ==, 0x020a);
    rig_release(bundle.rig);
    initiator_free(again);
    bundle_deinit(&bundle);
}

/* Joins and the end of the service, at the same time and on threads */
static void
test_stop_while_joining(void)
{
    for (guint i = 0; i < 20; i++) {
        Bundle bundle = { .rig = rig_new(&(RigConfig){ .n_workers = 3, .is_threaded = TRUE }) };
        Initiator *more[N_CONNECTIONS];

        g_assert_cmphex(bundle_join(&bundle, 0), ==, 0);
        for (guint j = 0; j < N_CONNECTIONS; j++) {
            more[j] = bundle_make(&bundle, (guint16)(j + 1));
            bundle_begin_login(more[j]);
        }
        if (i % 2 != 0)
            g_usleep(i * 100);
        rig_free(bundle.rig);
        for (guint j = 0; j < N_CONNECTIONS; j++)
            initiator_free(more[j]);
        initiator_free(bundle.c[0]);
    }
}

int
main(int argc, char *argv[])
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/iscsi/multi/join-here", test_join_here);
    g_test_add_func("/iscsi/multi/join-elsewhere", test_join_elsewhere);
    g_test_add_func("/iscsi/multi/too-many", test_too_many);
    g_test_add_func("/iscsi/multi/session-has-gone", test_session_has_gone);
    g_test_add_func("/iscsi/multi/new-version-meanwhile", test_new_version_meanwhile);
    g_test_add_func("/iscsi/multi/connection-parameters", test_connection_parameters);
    g_test_add_func("/iscsi/multi/order", test_order);
    g_test_add_func("/iscsi/multi/two-copies", test_two_copies);
    g_test_add_func("/iscsi/multi/data-on-another-connection", test_data_on_another_connection);
    g_test_add_func("/iscsi/multi/abort-across", test_abort_across);
    g_test_add_func("/iscsi/multi/later-command", test_later_command);
    g_test_add_func("/iscsi/multi/fence", test_fence);
    g_test_add_func("/iscsi/multi/fence-and-loss", test_fence_and_loss);
    g_test_add_func("/iscsi/multi/fence-and-loss-of-its-own", test_fence_and_loss_of_its_own);
    g_test_add_func("/iscsi/multi/fence-and-logout", test_fence_and_logout);
    g_test_add_func("/iscsi/multi/fence-and-silence", test_fence_and_silence);
    g_test_add_func("/iscsi/multi/fence-and-outstanding-data", test_fence_and_outstanding_data);
    g_test_add_func("/iscsi/multi/fast-abort", test_fast_abort);
    g_test_add_func("/iscsi/multi/fast-abort-by-another", test_fast_abort_by_another);
    g_test_add_func("/iscsi/multi/one-is-lost", test_one_is_lost);
    g_test_add_func("/iscsi/multi/lost-tasks-are-told", test_lost_tasks_are_told);
    g_test_add_func("/iscsi/multi/hole-is-filled", test_hole_is_filled);
    g_test_add_func("/iscsi/multi/logout-of-one", test_logout_of_one);
    g_test_add_func("/iscsi/multi/logout-of-a-lost-one", test_logout_of_a_lost_one);
    g_test_add_func("/iscsi/multi/logout-waits", test_logout_waits);
    g_test_add_func("/iscsi/multi/own-logout-waits", test_own_logout_waits);
    g_test_add_func("/iscsi/multi/logout-does-not-wait-for-the-store",
                    test_logout_does_not_wait_for_the_store);
    g_test_add_func("/iscsi/multi/logout-of-the-session", test_logout_of_the_session);
    g_test_add_func("/iscsi/multi/close-one", test_close_one);
    g_test_add_func("/iscsi/multi/statistics", test_statistics);
    g_test_add_func("/iscsi/multi/reinstatement", test_reinstatement);
    g_test_add_func("/iscsi/multi/reinstatement-of-the-only-one",
                    test_reinstatement_of_the_only_one);
    g_test_add_func("/iscsi/multi/reinstatement-waits", test_reinstatement_waits);
    g_test_add_func("/iscsi/multi/reinstatement-is-given-up", test_reinstatement_is_given_up);
    g_test_add_func("/iscsi/multi/session-ends-while-one-waits", test_session_ends_while_one_waits);
    g_test_add_func("/iscsi/multi/stop-while-joining", test_stop_while_joining);
    return g_test_run();
}
