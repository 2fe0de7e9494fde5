/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Error recovery level 2: sessions that survive their connections, and how long
 * what these have begun is kept.
 */

#include "bundle.h"

#include <string.h>

#include "util/bytes.h"

static void
make_level_2(IscsiTarget *target)
{
    target->params.error_recovery_level = 2;
    target->params.default_time2wait = 3;
    target->params.default_time2retain = 10;
    target->nop_interval = 0;
}

static const RigConfig config = {
    .n_workers = 2,
    .type = "held",
    .adjust = make_level_2,
};

static void
advance(Bundle *bundle, guint seconds)
{
    for (guint i = 0; i < seconds * 2; i++) {
        clock_advance(&bundle->rig->clock, USEC_PER_SEC / 2);
        rig_settle(bundle->rig);
    }
}

static guint8
reassign(Initiator *initiator, guint32 itt)
{
    guint8 bhs[PDU_BHS_SIZE];

    initiator_header(initiator, bhs, PDU_TASK_MANAGEMENT_REQUEST | PDU_IMMEDIATE,
                     0x80 | PDU_TMF_TASK_REASSIGN);
    put_be32(bhs + 20, itt);
    initiator_send(initiator, bhs, NULL, 0);
    bundle_receive(initiator);
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_TASK_MANAGEMENT_RESPONSE);
    return initiator->bhs[2];
}

/* A write of @initiator that its store keeps back; returns the tag */
static guint32
begin_write(Bundle *bundle, guint i)
{
    Initiator *initiator = bundle_turn(bundle, i);
    guint32 itt = initiator->itt;

    rig_hold(bundle->rig);
    bundle_send_write(initiator, 0, 7);
    rig_settle(bundle->rig);
    g_assert_cmpuint(rig_n_held(bundle->rig), ==, 1);
    return itt;
}

static void
lose(Bundle *bundle, guint i)
{
    initiator_drop(bundle->c[i]);
    rig_settle(bundle->rig);
}

/* By itself the failure of a connection ends nothing; the logout lets tasks go elsewhere */
static void
test_logout_for_recovery(void)
{
    Bundle bundle;
    guint32 itt;

    bundle_init(&bundle, &config, 2);
    itt = begin_write(&bundle, 1);
    lose(&bundle, 1);
    g_assert_cmpuint(reassign(bundle.c[0], itt), ==, PDU_TMF_RESPONSE_TASK_STILL_ALLEGIANT);
    g_assert_cmpuint(bundle_log_out(bundle_turn(&bundle, 0), PDU_LOGOUT_RECOVERY, 1), ==, 0);
    g_assert_cmpuint(get_be16(bundle.c[0]->bhs + 40), ==, 3);
    g_assert_cmpuint(get_be16(bundle.c[0]->bhs + 42), ==, 10);
    g_assert_cmpuint(reassign(bundle.c[0], itt), ==, PDU_TMF_RESPONSE_TASK_STILL_ALLEGIANT);
    advance(&bundle, 4);
    g_assert_cmpuint(reassign(bundle.c[0], itt), ==, PDU_TMF_RESPONSE_COMPLETE);
    rig_release(bundle.rig);
    g_assert_cmphex(bundle_get_status(bundle.c[0]), ==, 0);
    g_assert_cmphex(pdu_itt(bundle.c[0]->bhs), ==, itt);
    g_assert_cmphex(bundle_read_byte(bundle_turn(&bundle, 0), 0), ==, 7);
    bundle_deinit(&bundle);
}

/* What ended meanwhile is told to who asks for it */
static void
test_ended_meanwhile(void)
{
    Bundle bundle;
    guint32 itt;

    bundle_init(&bundle, &config, 2);
    itt = begin_write(&bundle, 1);
    lose(&bundle, 1);
    rig_release(bundle.rig);
    rig_settle(bundle.rig);
    g_assert_cmpuint(bundle_log_out(bundle_turn(&bundle, 0), PDU_LOGOUT_RECOVERY, 1), ==, 0);
    advance(&bundle, 4);
    g_assert_cmpuint(reassign(bundle.c[0], itt), ==, PDU_TMF_RESPONSE_COMPLETE);
    g_assert_cmphex(bundle_get_status(bundle.c[0]), ==, 0);
    bundle_deinit(&bundle);
}

/*
 * RFC 7143 11.5.1: when a function has concluded the tasks of the unit, there are none to be
 * reassigned, whether they had ended before or not
 */
static void
check_ended_by_function(PduTmf function, gboolean had_ended)
{
    Bundle bundle;
    guint8 bhs[PDU_BHS_SIZE];
    guint32 itt;

    bundle_init(&bundle, &config, 2);
    itt = begin_write(&bundle, 1);
    lose(&bundle, 1);
    if (had_ended)
        rig_release(bundle.rig);
    rig_settle(bundle.rig);
    initiator_header(bundle_turn(&bundle, 0), bhs, PDU_TASK_MANAGEMENT_REQUEST | PDU_IMMEDIATE,
                     (guint8)(PDU_FINAL | function));
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    initiator_send(bundle.c[0], bhs, NULL, 0);
    rig_settle(bundle.rig);
    if (!had_ended)
        rig_release(bundle.rig);
    bundle_receive(bundle.c[0]);
    g_assert_cmphex(pdu_opcode(bundle.c[0]->bhs), ==, PDU_TASK_MANAGEMENT_RESPONSE);
    g_assert_cmpuint(bundle.c[0]->bhs[2], ==, PDU_TMF_RESPONSE_COMPLETE);

    g_assert_cmpuint(bundle_log_out(bundle_turn(&bundle, 0), PDU_LOGOUT_RECOVERY, 1), ==, 0);
    advance(&bundle, 4);
    g_assert_cmpuint(reassign(bundle.c[0], itt), ==, PDU_TMF_RESPONSE_NO_TASK);
    g_assert_false(initiator_poll(bundle.c[0]));
    bundle_deinit(&bundle);
}

static void
test_ended_by_function(void)
{
    for (guint had_ended = 0; had_ended < 2; had_ended++) {
        check_ended_by_function(PDU_TMF_ABORT_TASK_SET, had_ended != 0);
        check_ended_by_function(PDU_TMF_LOGICAL_UNIT_RESET, had_ended != 0);
        check_ended_by_function(PDU_TMF_TARGET_WARM_RESET, had_ended != 0);
    }
}

/* RFC 7143 6.3.6: the session fails with its last connection, and goes on with the next */
static void
test_last_one(void)
{
    Bundle bundle;
    guint32 itt;

    bundle_init(&bundle, &config, 1);
    itt = begin_write(&bundle, 0);
    lose(&bundle, 0);
    g_assert_cmpuint(rig_count_events(bundle.rig, ISCSI_EVENT_SESSION_CLOSED), ==, 0);
    g_assert_cmphex(bundle_join(&bundle, 0), ==, 0);
    advance(&bundle, 4);
    g_assert_cmpuint(reassign(bundle.c[1], itt), ==, PDU_TMF_RESPONSE_COMPLETE);
    rig_release(bundle.rig);
    g_assert_cmphex(bundle_get_status(bundle.c[1]), ==, 0);
    advance(&bundle, 20);
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 1)), ==, 0);
    bundle_deinit(&bundle);
}

/* RFC 7143 6.3.4: with another CID the old one has still to be logged out */
static void
test_last_one_by_another_cid(void)
{
    Bundle bundle;
    guint32 itt;

    bundle_init(&bundle, &config, 1);
    itt = begin_write(&bundle, 0);
    lose(&bundle, 0);
    g_assert_cmphex(bundle_join(&bundle, 5), ==, 0);
    g_assert_cmpuint(bundle_log_out(bundle_turn(&bundle, 1), PDU_LOGOUT_RECOVERY, 0), ==, 0);
    advance(&bundle, 4);
    g_assert_cmpuint(reassign(bundle.c[1], itt), ==, PDU_TMF_RESPONSE_COMPLETE);
    rig_release(bundle.rig);
    g_assert_cmphex(bundle_get_status(bundle.c[1]), ==, 0);
    bundle_deinit(&bundle);
}

/* RFC 7143 6.3.5: session timeout */
static void
test_nobody_comes(void)
{
    Bundle bundle;

    bundle_init(&bundle, &config, 1);
    (void)begin_write(&bundle, 0);
    lose(&bundle, 0);
    advance(&bundle, 12);
    g_assert_cmpuint(rig_count_events(bundle.rig, ISCSI_EVENT_SESSION_CLOSED), ==, 0);
    advance(&bundle, 2);
    /* Not before what it has begun has ended */
    g_assert_cmpuint(rig_count_events(bundle.rig, ISCSI_EVENT_SESSION_CLOSED), ==, 0);
    rig_release(bundle.rig);
    rig_settle(bundle.rig);
    g_assert_cmpuint(rig_count_events(bundle.rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    bundle_deinit(&bundle);
}

/* RFC 7143 7.6 b) and c) */
static void
check_time_is_over(gboolean is_removed)
{
    Bundle bundle;
    guint32 itt;

    bundle_init(&bundle, &config, 2);
    itt = begin_write(&bundle, 1);
    lose(&bundle, 1);
    if (is_removed)
        g_assert_cmpuint(bundle_log_out(bundle_turn(&bundle, 0), PDU_LOGOUT_RECOVERY, 1), ==, 0);
    advance(&bundle, 14);
    g_assert_cmpuint(reassign(bundle.c[0], itt), ==, PDU_TMF_RESPONSE_NO_TASK);
    rig_release(bundle.rig);
    rig_settle(bundle.rig);
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 0)), ==, 0x06477f);
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 0)), ==, 0);
    bundle_deinit(&bundle);
}

static void
test_time_is_over(void)
{
    check_time_is_over(FALSE);
}

static void
test_time_is_over_after_logout(void)
{
    check_time_is_over(TRUE);
}

static void
test_close_of_a_lost_one(void)
{
    Bundle bundle;

    bundle_init(&bundle, &config, 2);
    (void)begin_write(&bundle, 1);
    lose(&bundle, 1);
    bundle_send_logout(bundle_turn(&bundle, 0), PDU_LOGOUT_CLOSE_CONNECTION, 1);
    g_assert_false(initiator_poll(bundle.c[0]));
    rig_release(bundle.rig);
    g_assert_true(initiator_receive(bundle.c[0]));
    g_assert_cmphex(pdu_opcode(bundle.c[0]->bhs), ==, PDU_LOGOUT_RESPONSE);
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 0)), ==, 0x06477f);
    bundle_deinit(&bundle);
}

/* A connection that removes itself, with others there, and as the last one */
static void
check_own_removal(guint n)
{
    Bundle bundle;
    guint32 itt;

    bundle_init(&bundle, &config, n);
    itt = begin_write(&bundle, n - 1);
    g_assert_cmpuint(
        bundle_log_out(bundle_turn(&bundle, n - 1), PDU_LOGOUT_RECOVERY, (guint16)(n - 1)), ==, 0);
    g_assert_cmpuint(get_be16(bundle.c[n - 1]->bhs + 40), ==, 3);
    g_assert_true(initiator_is_closed(bundle.c[n - 1]));
    if (n == 1)
        g_assert_cmphex(bundle_join(&bundle, 9), ==, 0);
    advance(&bundle, 4);
    g_assert_cmpuint(reassign(bundle.c[n == 1 ? 1 : 0], itt), ==, PDU_TMF_RESPONSE_COMPLETE);
    rig_release(bundle.rig);
    g_assert_cmphex(bundle_get_status(bundle.c[n == 1 ? 1 : 0]), ==, 0);
    bundle_deinit(&bundle);
}

static void
make_level_1(IscsiTarget *target)
{
    make_level_2(target);
    target->params.error_recovery_level = 1;
}

/*
 * RFC 7143 7.6 is about tasks that are active: one that was answered has not been cleared, even if
 * nobody has acknowledged that
 */
static void
check_answered(void (*adjust)(IscsiTarget *target), gboolean logs_out, guint32 attention)
{
    RigConfig changed = config;
    Bundle bundle;

    changed.adjust = adjust;
    bundle_init(&bundle, &changed, 2);
    if (attention != 0)
        rig_hold(bundle.rig);
    bundle_send_write(bundle_turn(&bundle, 1), 0, 7);
    rig_settle(bundle.rig);
    if (attention == 0)
        g_assert_cmphex(bundle_get_status(bundle.c[1]), ==, 0);
    if (logs_out) {
        bundle.c[1]->exp_stat_sn -= attention == 0;
        bundle_send_logout(bundle_turn(&bundle, 1), PDU_LOGOUT_CLOSE_CONNECTION, 1);
    } else {
        lose(&bundle, 1);
    }
    rig_settle(bundle.rig);
    if (attention != 0)
        rig_release(bundle.rig);
    rig_settle(bundle.rig);
    advance(&bundle, 15);
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 0)), ==, attention);
    bundle_deinit(&bundle);
}

static void
test_answered(void)
{
    for (guint logs_out = 0; logs_out < 2; logs_out++) {
        check_answered(make_level_1, logs_out != 0, 0);
        check_answered(make_level_2, logs_out != 0, 0);
        check_answered(make_level_1, logs_out != 0, 0x06477f);
        check_answered(make_level_2, logs_out != 0, 0x06477f);
    }
}

static void
test_own_removal(void)
{
    check_own_removal(2);
}

static void
test_own_removal_of_the_last_one(void)
{
    check_own_removal(1);
}

/* Session logout with suspended tasks: they end, and the answer waits for them */
static void
test_logout_of_the_session(void)
{
    Bundle bundle;

    bundle_init(&bundle, &config, 2);
    (void)begin_write(&bundle, 1);
    lose(&bundle, 1);
    bundle_send_logout(bundle_turn(&bundle, 0), PDU_LOGOUT_CLOSE_SESSION, 0);
    g_assert_false(initiator_poll(bundle.c[0]));
    rig_release(bundle.rig);
    g_assert_true(initiator_receive(bundle.c[0]));
    g_assert_cmphex(pdu_opcode(bundle.c[0]->bhs), ==, PDU_LOGOUT_RESPONSE);
    g_assert_true(initiator_is_closed(bundle.c[0]));
    rig_settle(bundle.rig);
    g_assert_cmpuint(rig_count_events(bundle.rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    bundle_deinit(&bundle);
}

/* The same when they are done, and wait with their status for a connection */
static void
test_logout_with_a_status_left(void)
{
    Bundle bundle;

    bundle_init(&bundle, &config, 2);
    (void)begin_write(&bundle, 1);
    lose(&bundle, 1);
    rig_release(bundle.rig);
    rig_settle(bundle.rig);
    g_assert_cmpuint(bundle_log_out(bundle_turn(&bundle, 0), PDU_LOGOUT_CLOSE_SESSION, 0), ==, 0);
    bundle_deinit(&bundle);
}

/* The service, or the target, goes while a session has no connection */
static void
test_stop(void)
{
    Bundle bundle;

    bundle_init(&bundle, &config, 1);
    (void)begin_write(&bundle, 0);
    lose(&bundle, 0);
    rig_release(bundle.rig);
    bundle_deinit(&bundle);
}

static void
test_session_reinstatement(void)
{
    Bundle bundle;
    Initiator *again;

    bundle_init(&bundle, &config, 1);
    (void)begin_write(&bundle, 0);
    lose(&bundle, 0);
    rig_release(bundle.rig);
    again = bundle_make(&bundle, 0);
    again->tsih = 0;
    g_assert_cmphex(initiator_login(again, NULL), ==, 0);
    g_assert_cmpuint(rig_count_events(bundle.rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    initiator_free(again);
    bundle_deinit(&bundle);
}

/* RFC 7143 7.14: what was not delivered, or is immediate, is not recovered */
static void
test_not_delivered(void)
{
    Bundle bundle;
    guint32 cmd_sn, itt;

    bundle_init(&bundle, &config, 2);
    cmd_sn = bundle_turn(&bundle, 1)->cmd_sn;
    itt = bundle.c[1]->itt;
    bundle.c[1]->cmd_sn = cmd_sn + 1;
    bundle_send_write(bundle.c[1], 0, 3);
    rig_settle(bundle.rig);
    lose(&bundle, 1);
    bundle.c[0]->cmd_sn = cmd_sn;
    g_assert_cmpuint(bundle_log_out(bundle.c[0], PDU_LOGOUT_RECOVERY, 1), ==, 0);
    advance(&bundle, 4);
    g_assert_cmpuint(reassign(bundle.c[0], itt), ==, PDU_TMF_RESPONSE_NO_TASK);
    g_assert_cmphex(bundle_read_byte(bundle.c[0], 0), ==, 0);
    bundle_deinit(&bundle);
}

/* A target that drops a connection says so on another one: RFC 7143 11.9.1, event 2 */
static void
test_told_on_another(void)
{
    Bundle bundle;
    guint8 bhs[PDU_BHS_SIZE];

    bundle_init(&bundle, &config, 2);
    /* A data segment of 15 MiB */
    initiator_header(bundle_turn(&bundle, 1), bhs, PDU_NOP_OUT | PDU_IMMEDIATE, 0x80);
    bhs[5] = 0xf0;
    initiator_send_bytes(bundle.c[1], bhs, sizeof(bhs));
    g_assert_true(initiator_receive(bundle.c[0]));
    g_assert_cmphex(pdu_opcode(bundle.c[0]->bhs), ==, PDU_ASYNC_MESSAGE);
    g_assert_cmpuint(bundle.c[0]->bhs[36], ==, PDU_ASYNC_CONNECTION_DROP);
    g_assert_cmpuint(get_be16(bundle.c[0]->bhs + 38), ==, 1);
    g_assert_cmpuint(get_be16(bundle.c[0]->bhs + 40), ==, 3);
    g_assert_cmpuint(get_be16(bundle.c[0]->bhs + 42), ==, 10);
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 0)), ==, 0);
    bundle_deinit(&bundle);
}

int
main(int argc, char *argv[])
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/iscsi/remnant/logout-for-recovery", test_logout_for_recovery);
    g_test_add_func("/iscsi/remnant/ended-meanwhile", test_ended_meanwhile);
    g_test_add_func("/iscsi/remnant/ended-by-function", test_ended_by_function);
    g_test_add_func("/iscsi/remnant/last-one", test_last_one);
    g_test_add_func("/iscsi/remnant/last-one-by-another-cid", test_last_one_by_another_cid);
    g_test_add_func("/iscsi/remnant/nobody-comes", test_nobody_comes);
    g_test_add_func("/iscsi/remnant/time-is-over", test_time_is_over);
    g_test_add_func("/iscsi/remnant/time-is-over-after-logout", test_time_is_over_after_logout);
    g_test_add_func("/iscsi/remnant/close-of-a-lost-one", test_close_of_a_lost_one);
    g_test_add_func("/iscsi/remnant/answered", test_answered);
    g_test_add_func("/iscsi/remnant/own-removal", test_own_removal);
    g_test_add_func("/iscsi/remnant/own-removal-of-the-last-one", test_own_removal_of_the_last_one);
    g_test_add_func("/iscsi/remnant/logout-of-the-session", test_logout_of_the_session);
    g_test_add_func("/iscsi/remnant/logout-with-a-status-left", test_logout_with_a_status_left);
    g_test_add_func("/iscsi/remnant/stop", test_stop);
    g_test_add_func("/iscsi/remnant/session-reinstatement", test_session_reinstatement);
    g_test_add_func("/iscsi/remnant/not-delivered", test_not_delivered);
    g_test_add_func("/iscsi/remnant/told-on-another", test_told_on_another);
    return g_test_run();
}
