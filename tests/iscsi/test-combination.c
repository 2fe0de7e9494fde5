/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Things that happen at the same time
 *
 * What one part of a session does is tried in the tests of that part. Here two of them meet: the
 * recovery of a connection and an answer that the fence holds; a logout for recovery and data that is
 * still to come; a login that joins and a session that goes, at each step of the way between two
 * workers. Nothing has threads, so each step is tried once, and always the same.
 */

#include "bundle.h"

#include <string.h>
#include <sys/socket.h>

#include "scsi/command.h"
#include "util/bytes.h"

#define BLOCK 512

static void
make_level_2(IscsiTarget *target)
{
    target->params.error_recovery_level = 2;
    target->params.default_time2wait = 0;
    target->nop_interval = 0;
}

static const RigConfig level_2 = {
    .type = "held",
    .adjust = make_level_2,
};

/* Requests */

static guint32
send_ready(Bundle *bundle, guint i)
{
    static const guint8 cdb[6];
    guint8 bhs[PDU_BHS_SIZE];

    initiator_command(bundle_turn(bundle, i), bhs, PDU_FINAL, cdb, sizeof(cdb), 0);
    initiator_send(bundle->c[i], bhs, NULL, 0);
    rig_settle(bundle->rig);
    return pdu_itt(bhs);
}

static guint32
send_function(Bundle *bundle, guint i, PduTmf function, guint32 rtt)
{
    guint8 bhs[PDU_BHS_SIZE];

    initiator_header(bundle_turn(bundle, i), bhs, PDU_TASK_MANAGEMENT_REQUEST | PDU_IMMEDIATE,
                     (guint8)(PDU_FINAL | function));
    put_be32(bhs + 20, rtt);
    initiator_send(bundle->c[i], bhs, NULL, 0);
    rig_settle(bundle->rig);
    return pdu_itt(bhs);
}

static guint32
send_logout(Bundle *bundle, guint i, PduLogoutReason reason, guint16 cid)
{
    guint8 bhs[PDU_BHS_SIZE];

    initiator_header(bundle_turn(bundle, i), bhs, PDU_LOGOUT_REQUEST | PDU_IMMEDIATE,
                     (guint8)(PDU_FINAL | reason));
    put_be16(bhs + 20, cid);
    initiator_send(bundle->c[i], bhs, NULL, 0);
    rig_settle(bundle->rig);
    return pdu_itt(bhs);
}

/* The next PDU that is no ping; pings are answered */
static gboolean
next(Initiator *initiator)
{
    while (initiator_poll(initiator)) {
        if (pdu_opcode(initiator->bhs) != PDU_NOP_IN &&
            pdu_opcode(initiator->bhs) != PDU_ASYNC_MESSAGE)
            return TRUE;
        initiator_answer_ping(initiator);
    }
    return FALSE;
}

static void
expect(Initiator *initiator, PduOpcode opcode, guint32 itt, guint8 response)
{
    g_assert_true(next(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, opcode);
    g_assert_cmphex(pdu_itt(initiator->bhs), ==, itt);
    g_assert_cmphex(initiator->bhs[opcode == PDU_SCSI_RESPONSE ? 3 : 2], ==, response);
}

/* Reassignment while the answer to a function that has ended the task is held by the fence */

/*
 * Connection 1 fails with a status that was not seen, behind the function that covers it. Connection 2
 * keeps the fence up. Nothing of the command may come behind the answer (RFC 7143 11.5.1), so what was
 * suspended is not there any more, whatever is asked of it, and before or after the answer.
 */
static void
check_fence(PduTmf request, gboolean is_late)
{
    Bundle bundle;
    guint32 itt, function, logout, second = 0;

    bundle_init(&bundle, &level_2, 3);
    itt = send_ready(&bundle, 1);
    (void)send_ready(&bundle, 2);
    function = send_function(&bundle, 0, PDU_TMF_ABORT_TASK_SET, PDU_TAG_RESERVED);
    initiator_drop(bundle.c[1]);
    rig_settle(bundle.rig);
    logout = send_logout(&bundle, 0, PDU_LOGOUT_RECOVERY, 1);
    if (!is_late)
        second = send_function(&bundle, 0, request, itt);
    g_assert_false(initiator_poll(bundle.c[0]) &&
                   pdu_opcode(bundle.c[0]->bhs) != PDU_ASYNC_MESSAGE);

    g_assert_true(next(bundle.c[2]));
    g_assert_cmphex(pdu_opcode(bundle.c[2]->bhs), ==, PDU_SCSI_RESPONSE);
    g_assert_false(next(bundle.c[2]));
    expect(bundle.c[0], PDU_TASK_MANAGEMENT_RESPONSE, function, PDU_TMF_RESPONSE_COMPLETE);
    expect(bundle.c[0], PDU_LOGOUT_RESPONSE, logout, PDU_LOGOUT_RESPONSE_CLOSED);
    if (is_late)
        second = send_function(&bundle, 0, request, itt);
    expect(bundle.c[0], PDU_TASK_MANAGEMENT_RESPONSE, second, PDU_TMF_RESPONSE_NO_TASK);
    g_assert_false(next(bundle.c[0]));
    g_assert_false(next(bundle.c[2]));
    g_assert_cmphex(bundle_test_unit(bundle_turn(&bundle, 2)), ==, 0);
    bundle_deinit(&bundle);
}

static void
test_reassign_behind_fence(void)
{
    check_fence(PDU_TMF_TASK_REASSIGN, FALSE);
    check_fence(PDU_TMF_TASK_REASSIGN, TRUE);
}

static void
test_abort_behind_fence(void)
{
    check_fence(PDU_TMF_ABORT_TASK, FALSE);
    check_fence(PDU_TMF_ABORT_TASK, TRUE);
}

/* What the function does not cover is reassigned as ever, behind the answer */
static void
test_reassign_of_a_later_one(void)
{
    Bundle bundle;
    guint32 itt, function, logout, second;

    bundle_init(&bundle, &level_2, 3);
    (void)send_ready(&bundle, 2);
    function = send_function(&bundle, 0, PDU_TMF_ABORT_TASK_SET, PDU_TAG_RESERVED);
    itt = send_ready(&bundle, 1);
    initiator_drop(bundle.c[1]);
    rig_settle(bundle.rig);
    logout = send_logout(&bundle, 0, PDU_LOGOUT_RECOVERY, 1);
    second = send_function(&bundle, 0, PDU_TMF_TASK_REASSIGN, itt);
    g_assert_true(next(bundle.c[2]));
    g_assert_false(next(bundle.c[2]));
    expect(bundle.c[0], PDU_TASK_MANAGEMENT_RESPONSE, function, PDU_TMF_RESPONSE_COMPLETE);
    expect(bundle.c[0], PDU_LOGOUT_RESPONSE, logout, PDU_LOGOUT_RESPONSE_CLOSED);
    expect(bundle.c[0], PDU_TASK_MANAGEMENT_RESPONSE, second, PDU_TMF_RESPONSE_COMPLETE);
    expect(bundle.c[0], PDU_SCSI_RESPONSE, itt, SCSI_GOOD);
    g_assert_false(next(bundle.c[0]));
    bundle_deinit(&bundle);
}

/* Data that is asked for again while the fence is up */

static void
send_snack(Initiator *initiator, PduSnack type, guint32 itt, guint32 ttt, guint32 first, guint32 n)
{
    guint8 bhs[PDU_BHS_SIZE] = { PDU_SNACK_REQUEST, (guint8)(PDU_FINAL | type) };

    put_be32(bhs + 16, itt);
    put_be32(bhs + 20, ttt);
    put_be32(bhs + 28, initiator->exp_stat_sn);
    put_be32(bhs + 40, first);
    put_be32(bhs + 44, n);
    initiator_send(initiator, bhs, NULL, 0);
}

static guint32
send_read(Bundle *bundle, guint i, guint16 n_blocks)
{
    guint8 bhs[PDU_BHS_SIZE], cdb[10];

    initiator_cdb10(cdb, 0x28, 0, n_blocks);
    initiator_command(bundle_turn(bundle, i), bhs, PDU_FINAL | PDU_COMMAND_READ, cdb, sizeof(cdb),
                      (guint32)n_blocks * BLOCK);
    initiator_send(bundle->c[i], bhs, NULL, 0);
    rig_settle(bundle->rig);
    return pdu_itt(bhs);
}

/* What was sent before cannot be acknowledged without the data: it is not held */
static void
test_resegmentation_before_fence(void)
{
    Bundle bundle;
    guint8 ping[PDU_BHS_SIZE];
    guint32 itt, function;

    bundle_init(&bundle, &level_2, 2);
    itt = send_read(&bundle, 1, 1);
    g_assert_true(initiator_poll_any(bundle.c[1]));
    g_assert_cmphex(bundle.c[1]->bhs[1], ==, PDU_FINAL | PDU_DATA_IN_STATUS);
    function = send_function(&bundle, 0, PDU_TMF_ABORT_TASK_SET, PDU_TAG_RESERVED);
    g_assert_false(initiator_poll(bundle.c[0]));

    g_assert_true(initiator_poll_any(bundle.c[1]));
    g_assert_cmphex(pdu_opcode(bundle.c[1]->bhs), ==, PDU_NOP_IN);
    memcpy(ping, bundle.c[1]->bhs, sizeof(ping));

    send_snack(bundle.c[1], PDU_SNACK_R_DATA, itt, 7, 0, 0);
    g_assert_true(initiator_poll(bundle.c[1]));
    g_assert_cmphex(pdu_opcode(bundle.c[1]->bhs), ==, PDU_DATA_IN);
    g_assert_true(initiator_poll(bundle.c[1]));
    g_assert_cmphex(pdu_opcode(bundle.c[1]->bhs), ==, PDU_SCSI_RESPONSE);
    g_assert_false(initiator_poll(bundle.c[0]));
    memcpy(bundle.c[1]->bhs, ping, sizeof(ping));
    initiator_answer_ping(bundle.c[1]);
    g_assert_false(next(bundle.c[1]));
    expect(bundle.c[0], PDU_TASK_MANAGEMENT_RESPONSE, function, PDU_TMF_RESPONSE_COMPLETE);
    bundle_deinit(&bundle);
}

/* All Data-Ins of a segment, which ends in a request to acknowledge it; returns its tag */
static guint32
take_segment(Initiator *initiator, guint32 *ret_next)
{
    while (initiator_poll(initiator)) {
        if (pdu_opcode(initiator->bhs) == PDU_DATA_IN &&
            (initiator->bhs[1] & PDU_DATA_IN_ACKNOWLEDGE) != 0) {
            *ret_next = pdu_data_sn(initiator->bhs) + 1;
            return pdu_ttt(initiator->bhs);
        }
    }
    g_assert_not_reached();
}

/* Of one command data is sent again, and meanwhile it has more: that comes behind the fenced answer */
static void
test_more_data_behind_fence(void)
{
    Bundle bundle;
    guint8 bhs[PDU_BHS_SIZE];
    guint32 itt, ttt, n;
    guint n_again = 0;

    bundle_init(&bundle, &level_2, 3);
    itt = send_read(&bundle, 1, 3000);
    ttt = take_segment(bundle.c[1], &n);
    (void)send_ready(&bundle, 2);
    /* Of another unit: it does not end the read, and is fenced all the same */
    initiator_header(bundle_turn(&bundle, 0), bhs, PDU_TASK_MANAGEMENT_REQUEST | PDU_IMMEDIATE,
                     PDU_FINAL | PDU_TMF_ABORT_TASK_SET);
    bhs[9] = 5;
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    initiator_send(bundle.c[0], bhs, NULL, 0);
    g_assert_false(initiator_poll(bundle.c[0]));

    send_snack(bundle.c[1], PDU_SNACK_DATA_R2T, itt, PDU_TAG_RESERVED, 0, 2);
    send_snack(bundle.c[1], PDU_SNACK_DATA_ACK, PDU_TAG_RESERVED, ttt, n, 0);
    while (next(bundle.c[1])) {
        g_assert_cmphex(pdu_opcode(bundle.c[1]->bhs), ==, PDU_DATA_IN);
        g_assert_cmpuint(pdu_data_sn(bundle.c[1]->bhs), <, 2);
        n_again++;
    }
    g_assert_false(next(bundle.c[0]));

    g_assert_true(next(bundle.c[2]));
    g_assert_false(next(bundle.c[2]));
    expect(bundle.c[0], PDU_TASK_MANAGEMENT_RESPONSE, pdu_itt(bhs), PDU_TMF_RESPONSE_NO_LUN);
    g_assert_false(next(bundle.c[0]));
    g_assert_true(next(bundle.c[1]));
    g_assert_cmphex(pdu_opcode(bundle.c[1]->bhs), ==, PDU_DATA_IN);
    g_assert_cmpuint(pdu_data_sn(bundle.c[1]->bhs), ==, n);
    g_assert_cmpuint(n_again, <=, 2);
    bundle_deinit(&bundle);
}

/* A logout for recovery of a connection whose commands wait for data */

typedef enum {
    DATA_ASKED,      /* by an R2T, some of which has been answered */
    DATA_UNASKED,    /* comes by itself */
    DATA_OF_ABORTED, /* asked for, and then another session has ended the command */
    N_DATA,
} Data;

static void
fill(guint8 *data, gsize size)
{
    for (gsize i = 0; i < size; i++)
        data[i] = (guint8)(i * 7 + i / 256);
}

static void
send_data(Initiator *initiator, guint32 itt, guint32 ttt, guint32 data_sn, const guint8 *data,
          guint32 offset, guint32 size, gboolean is_final)
{
    guint8 bhs[PDU_BHS_SIZE] = { PDU_DATA_OUT, is_final ? PDU_FINAL : 0 };

    put_be32(bhs + 16, itt);
    put_be32(bhs + 20, ttt);
    put_be32(bhs + 28, initiator->exp_stat_sn);
    put_be32(bhs + 36, data_sn);
    put_be32(bhs + 40, offset);
    initiator_send(initiator, bhs, data + offset, size);
    rig_settle(initiator->rig);
}

/* Two connections, without FastAbort */
static void
open_standard(Bundle *bundle)
{
    *bundle = (Bundle){ .rig = rig_new(&level_2), .n = 1 };
    bundle->c[0] = initiator_new(bundle->rig);
    g_assert_cmphex(initiator_login(bundle->c[0],
                                    "InitialR2T=No\nImmediateData=Yes\nMaxConnections=2\n"
                                    "ErrorRecoveryLevel=2\nDefaultTime2Wait=0"),
                    ==, 0);
    g_assert_cmphex(bundle_join(bundle, 1), ==, 0);
    initiator_settle(bundle_turn(bundle, 0));
}

static void
reset_by_another(Bundle *bundle)
{
    static const guint8 cdb[6] = { 0x15, 0x10, [4] = 16 };
    guint8 list[16] = { [4] = 0x0a, 0x0a, 0x20, 0x10, 0, 0x40 };
    Bundle other = { .rig = bundle->rig, .n = 1 };
    Outcome outcome;

    other.c[0] = initiator_new(bundle->rig);
    other.c[0]->isid[5] = 9;
    g_assert_cmphex(initiator_login(other.c[0], NULL), ==, 0);
    initiator_settle(other.c[0]);
    g_assert_true(
        initiator_run(other.c[0], cdb, sizeof(cdb), list, sizeof(list), NULL, 0, &outcome));
    g_assert_cmphex(outcome.status, ==, SCSI_GOOD);
    (void)send_function(&other, 0, PDU_TMF_LOGICAL_UNIT_RESET, PDU_TAG_RESERVED);
    initiator_free(other.c[0]);
    rig_settle(bundle->rig);
}

/* On connection 1, four blocks of @data; returns the tag */
static guint32
begin_write(Bundle *bundle, Data kind, const guint8 *data)
{
    Initiator *initiator = bundle_turn(bundle, 1);
    guint8 bhs[PDU_BHS_SIZE], cdb[10];
    guint32 ttt;

    initiator_cdb10(cdb, 0x2a, 0, 4);
    initiator_command(initiator, bhs,
                      (guint8)(PDU_COMMAND_WRITE | (kind == DATA_UNASKED ? 0 : PDU_FINAL)), cdb,
                      sizeof(cdb), 4 * BLOCK);
    initiator_send(initiator, bhs, NULL, 0);
    if (kind == DATA_UNASKED) {
        send_data(initiator, pdu_itt(bhs), PDU_TAG_RESERVED, 0, data, 0, BLOCK, FALSE);
        return pdu_itt(bhs);
    }

    g_assert_true(next(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_R2T);
    ttt = pdu_ttt(initiator->bhs);
    send_data(initiator, pdu_itt(bhs), ttt, 0, data, 0, BLOCK, FALSE);
    if (kind == DATA_OF_ABORTED)
        reset_by_another(bundle);
    return pdu_itt(bhs);
}

/* By itself, or by another connection; what is sent on it then does not count */
static void
check_logout_with_data(Data kind, gboolean is_own)
{
    Bundle bundle;
    guint8 data[4 * BLOCK], in[4 * BLOCK];
    guint32 itt, logout;

    fill(data, sizeof(data));
    open_standard(&bundle);
    itt = begin_write(&bundle, kind, data);
    logout = send_logout(&bundle, is_own ? 1 : 0, PDU_LOGOUT_RECOVERY, 1);
    expect(bundle.c[is_own ? 1 : 0], PDU_LOGOUT_RESPONSE, logout, PDU_LOGOUT_RESPONSE_CLOSED);
    memset(in, 0xee, sizeof(in));
    if (is_own)
        send_data(bundle.c[1], itt, PDU_TAG_RESERVED, 1, in, BLOCK, BLOCK, TRUE);
    initiator_drop(bundle.c[1]);
    rig_settle(bundle.rig);

    expect(bundle.c[0], PDU_TASK_MANAGEMENT_RESPONSE,
           send_function(&bundle, 0, PDU_TMF_TASK_REASSIGN, itt), PDU_TMF_RESPONSE_COMPLETE);
    g_assert_true(next(bundle.c[0]));
    if (kind == DATA_OF_ABORTED) {
        g_assert_cmphex(pdu_opcode(bundle.c[0]->bhs), ==, PDU_SCSI_RESPONSE);
        g_assert_cmphex(bundle.c[0]->bhs[3], ==, SCSI_TASK_ABORTED);
        bundle_deinit(&bundle);
        return;
    }
    g_assert_cmphex(pdu_opcode(bundle.c[0]->bhs), ==, PDU_R2T);
    g_assert_cmpuint(pdu_data_offset(bundle.c[0]->bhs), ==, BLOCK);
    g_assert_cmpuint(pdu_r2t_length(bundle.c[0]->bhs), ==, 3 * BLOCK);
    send_data(bundle.c[0], itt, pdu_ttt(bundle.c[0]->bhs), 0, data, BLOCK, 3 * BLOCK, TRUE);
    expect(bundle.c[0], PDU_SCSI_RESPONSE, itt, SCSI_GOOD);
    initiator_read(bundle_turn(&bundle, 0), 0, 4, in);
    g_assert_true(memcmp(in, data, sizeof(in)) == 0);
    bundle_deinit(&bundle);
}

static void
test_logout_with_data(void)
{
    for (guint kind = 0; kind < N_DATA; kind++) {
        check_logout_with_data((Data)kind, FALSE);
        check_logout_with_data((Data)kind, TRUE);
    }
}

/* Logins that join */

/* The answer to a login whose request was sent: its status; or G_MAXUINT16, it was closed */
static guint16
take_login(Initiator *initiator)
{
    guint8 byte;

    rig_settle(initiator->rig);
    if (initiator->fd < 0 || recv(initiator->fd, &byte, 1, MSG_PEEK) <= 0)
        return G_MAXUINT16;
    g_assert_true(initiator_receive_any(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_LOGIN_RESPONSE);
    initiator->exp_stat_sn = pdu_stat_sn(initiator->bhs) + 1;
    return pdu_login_status(initiator->bhs);
}

/* A session that is logged out, and waits for its store, is none to be joined */
static void
check_join_while_it_logs_out(guint n_workers)
{
    Bundle bundle;

    bundle_init(&bundle, &(RigConfig){ .n_workers = n_workers, .type = "held" }, 2);
    rig_hold(bundle.rig);
    bundle_send_write(bundle_turn(&bundle, 0), 0, 1);
    rig_settle(bundle.rig);
    bundle_send_logout(bundle_turn(&bundle, 1), PDU_LOGOUT_CLOSE_SESSION, 0);
    g_assert_false(initiator_poll(bundle.c[1]));
    g_assert_cmphex(bundle_join(&bundle, 0), ==, 0x020a);
    g_assert_cmphex(bundle_join(&bundle, 2), ==, 0x020a);
    rig_release(bundle.rig);
    g_assert_true(initiator_poll(bundle.c[1]));
    g_assert_cmphex(pdu_opcode(bundle.c[1]->bhs), ==, PDU_LOGOUT_RESPONSE);
    g_assert_true(initiator_is_closed(bundle.c[1]));
    bundle_deinit(&bundle);
}

static void
test_join_while_it_logs_out(void)
{
    check_join_while_it_logs_out(1);
    check_join_while_it_logs_out(3);
}

/* What happens when two logins are on their way to a session */
typedef enum {
    EVENT_NONE,
    EVENT_LEADER_GOES,
    EVENT_LOGOUT,
    EVENT_LAST_LOGOUT, /* of the one connection that it has, which is the session if none joins */
    EVENT_CLOSED,      /* by the administrator */
    EVENT_FIRST_GOES,  /* of those that join */
    EVENT_REINSTATED,
    EVENT_STOP,
    N_EVENTS,
} Event;

static void
make_event(Bundle *bundle, Event event, Initiator *first, Initiator *again)
{
    switch (event) {
    case EVENT_LEADER_GOES:
        initiator_drop(bundle->c[0]);
        break;
    case EVENT_LOGOUT:
        bundle_send_logout(bundle->c[0], PDU_LOGOUT_CLOSE_SESSION, 0);
        break;
    case EVENT_LAST_LOGOUT:
        bundle_send_logout(bundle->c[0], PDU_LOGOUT_CLOSE_CONNECTION, 0);
        break;
    case EVENT_CLOSED:
        iscsi_service_close_session(bundle->rig->service, bundle->c[0]->tsih, "test");
        break;
    case EVENT_FIRST_GOES:
        initiator_drop(first);
        break;
    case EVENT_REINSTATED:
        bundle_begin_login(again);
        break;
    case EVENT_NONE:
    case EVENT_STOP:
    case N_EVENTS:
        break;
    }
}

/* Who is in works */
static void
check_joined(Bundle *bundle, Initiator *initiator, guint16 status)
{
    if (status != 0) {
        g_assert_true(status == 0x020a || status == G_MAXUINT16);
        return;
    }
    bundle->c[bundle->n++] = initiator;
    (void)bundle_turn(bundle, bundle->n - 1);
}

/* Of two with the same CID one has taken the place of the other, whichever came second */
static void
check_connections(Bundle *bundle, guint n)
{
    guint n_open = 0;

    for (guint i = 0; i < bundle->n; i++) {
        if (initiator_is_closed(bundle->c[i]))
            continue;
        g_assert_cmphex(bundle_test_unit(bundle_turn(bundle, i)), ==, 0);
        n_open++;
    }
    g_assert_cmpuint(n_open, ==, n);
    g_assert_cmpuint(rig_count_events(bundle->rig, ISCSI_EVENT_SESSION_CLOSED), ==, 0);
}

static void
check_event(Event event, guint n_workers, gboolean is_same, guint n_turns)
{
    Bundle bundle;
    Initiator *first, *second, *again;
    gboolean has_first;

    bundle_init_plain(&bundle, n_workers, 1);
    first = bundle_make(&bundle, 1);
    second = bundle_make(&bundle, is_same ? 1 : 2);
    again = initiator_new(bundle.rig);
    bundle_begin_login(first);
    bundle_begin_login(second);
    for (guint i = 0; i < n_turns; i++)
        rig_pump(bundle.rig);
    make_event(&bundle, event, first, again);
    if (event == EVENT_STOP) {
        bundle_deinit(&bundle);
        initiator_free(first);
        initiator_free(second);
        initiator_free(again);
        return;
    }

    rig_settle(bundle.rig);
    check_joined(&bundle, first, take_login(first));
    has_first = bundle.n == 2;
    check_joined(&bundle, second, take_login(second));
    if (event == EVENT_NONE)
        check_connections(&bundle, is_same ? 2 : 3);
    rig_settle(bundle.rig);
    if (event == EVENT_REINSTATED)
        g_assert_cmphex(take_login(again), ==, 0);
    if (!has_first)
        initiator_free(first);
    if (bundle.n != 2u + has_first)
        initiator_free(second);
    initiator_free(again);
    bundle_deinit(&bundle);
}

/* At each step of the way, to the worker that they are on and to another one */
static void
test_join_and_event(gconstpointer data)
{
    for (guint n_turns = 0; n_turns < 12; n_turns++) {
        for (guint n_workers = 1; n_workers <= 3; n_workers++) {
            check_event((Event)GPOINTER_TO_UINT(data), n_workers, FALSE, n_turns);
            check_event((Event)GPOINTER_TO_UINT(data), n_workers, TRUE, n_turns);
        }
    }
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *path;
        Event event;
    } events[] = {
        { "/iscsi/combination/join/both", EVENT_NONE },
        { "/iscsi/combination/join/leader-goes", EVENT_LEADER_GOES },
        { "/iscsi/combination/join/logout", EVENT_LOGOUT },
        { "/iscsi/combination/join/last-logout", EVENT_LAST_LOGOUT },
        { "/iscsi/combination/join/closed", EVENT_CLOSED },
        { "/iscsi/combination/join/one-goes", EVENT_FIRST_GOES },
        { "/iscsi/combination/join/reinstated", EVENT_REINSTATED },
        { "/iscsi/combination/join/stop", EVENT_STOP },
    };

    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/iscsi/combination/reassign-behind-fence", test_reassign_behind_fence);
    g_test_add_func("/iscsi/combination/abort-behind-fence", test_abort_behind_fence);
    g_test_add_func("/iscsi/combination/reassign-of-a-later-one", test_reassign_of_a_later_one);
    g_test_add_func("/iscsi/combination/resegmentation-before-fence",
                    test_resegmentation_before_fence);
    g_test_add_func("/iscsi/combination/more-data-behind-fence", test_more_data_behind_fence);
    g_test_add_func("/iscsi/combination/logout-with-data", test_logout_with_data);
    g_test_add_func("/iscsi/combination/join-while-it-logs-out", test_join_while_it_logs_out);
    for (guint i = 0; i < G_N_ELEMENTS(events); i++)
        g_test_add_data_func(events[i].path, GUINT_TO_POINTER(events[i].event),
                             test_join_and_event);
    return g_test_run();
}
