/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Behind the answer to a task management function nothing comes of what it covers
 *
 * RFC 7143 11.5.1: the target must see to it that no response of a task that a function covers is
 * delivered after the answer to that function. Covered are commands with a CmdSN below that of the
 * request (4.2.3.2 says of which units and nexuses). An immediate request does not use up its CmdSN,
 * so the next command has the same one, and is not covered.
 *
 * What an initiator may rely on with several connections: it looks at the answer as soon as that has
 * come, and what has come on other connections is still in their sockets. The fence (4.2.2.3.3, b)
 * sends the answer when the StatSNs of all connections are acknowledged, and what was acknowledged
 * was looked at. So whatever is read behind the answer, from whatever connection, must be of later
 * commands. The connections are therefore read in the order that is worst: that of the answer first,
 * as long as it has anything, then one PDU of another. The RFC says it of responses; here it holds
 * for Data-Ins and R2Ts too. For ABORT TASK it holds on the connection of the task, which is where it
 * must be sent (11.5.1).
 *
 * On other sessions it is the first unit attention that nothing of what was ended may follow
 * (4.2.3.3, e; 4.2.3.6, b).
 */

#include "bundle.h"

#include <string.h>

#include "scsi/command.h"
#include "util/bytes.h"

/* PDUs of which a socket takes some */
#define CONNECTION_KEYS "MaxRecvDataSegmentLength=16384"

#define BLOCK       512
#define READ_BLOCKS 4096 /* more than one segment, of which a socket does not take one */
#define TASKS_MAX   32

/* Commands that are there when the function comes, one of each kind on each connection */
typedef enum {
    KIND_ASKED,   /* a write that was asked for data, none of which comes */
    KIND_WRITING, /* a write that is with the store */
    KIND_READING, /* a read, the same */
    KIND_SENDING, /* a read whose data fills the socket */
    KIND_DONE,    /* its status was sent and is not read */
    N_KINDS,
} Kind;

typedef struct {
    guint32 itt;
    guint link;
    Kind kind;
    gboolean is_covered;
    guint n_answers;
    guint8 status;
} Sent;

/* A session, and what has come of what it has sent */
typedef struct {
    Bundle bundle;
    Sent sent[TASKS_MAX];
    guint n_sent;
    guint32 tmf; /* tag of the function, or of the command that a unit attention answers */
    gboolean is_over;
    guint8 answer;
    guint8 asc;            /* REQUEST SENSE */
    gboolean answers_r2ts; /* RFC 7143 4.2.3.3: also those of tasks that are ended */
} Scene;

typedef struct {
    guint n_links;
    const char *reporting;
} Row;

static const Row rows[] = {
    { 1, "RFC3720" }, { 1, "ResponseFence" }, { 1, "FastAbort" },
    { 3, "RFC3720" }, { 3, "ResponseFence" }, { 3, "FastAbort" },
};

static gboolean
is_standard(const Row *row)
{
    return strcmp(row->reporting, "FastAbort") != 0;
}

/* Scenes */

static void
set_task_aborted_status(Initiator *initiator, gboolean is_set)
{
    static const guint8 cdb[6] = { 0x15, 0x10, [4] = 16 };
    guint8 list[16] = { [4] = 0x0a, 0x0a, 0x20, 0x10, 0, is_set ? 0x40 : 0 };
    Outcome outcome;

    g_assert_true(
        initiator_run(initiator, cdb, sizeof(cdb), list, sizeof(list), NULL, 0, &outcome));
    g_assert_cmphex(outcome.status, ==, 0);
}

static void
open_scene(Scene *scene, Rig *rig, const Row *row, guint8 isid)
{
    g_autofree char *keys =
        g_strdup_printf("InitialR2T=No\nImmediateData=Yes\nMaxConnections=8\niSCSIProtocolLevel=2\n"
                        "TaskReporting=%s\n" CONNECTION_KEYS,
                        row->reporting);

    *scene = (Scene){ .bundle.rig = rig };
    for (guint i = 0; i < row->n_links; i++) {
        Initiator *initiator = bundle_make(&scene->bundle, (guint16)i);

        initiator->isid[5] = isid;
        g_assert_cmphex(initiator_login(initiator, i == 0 ? keys : CONNECTION_KEYS), ==, 0);
        scene->bundle.c[scene->bundle.n++] = initiator;
    }
    initiator_settle(bundle_turn(&scene->bundle, 0));
}

static void
close_scene(Scene *scene)
{
    for (guint i = 0; i < scene->bundle.n; i++)
        initiator_free(scene->bundle.c[i]);
}

/* Requests */

static Sent *
send_command(Scene *scene, guint link, Kind kind, guint8 opcode, guint32 lba, guint16 n_blocks)
{
    Initiator *initiator = bundle_turn(&scene->bundle, link);
    guint8 bhs[PDU_BHS_SIZE], cdb[10], data[BLOCK];
    gboolean is_write = opcode == 0x2a, has_data = kind == KIND_WRITING;
    Sent *sent = &scene->sent[scene->n_sent++];

    memset(data, 0x77, sizeof(data));
    initiator_cdb10(cdb, opcode, lba, n_blocks);
    initiator_command(initiator, bhs,
                      (guint8)(PDU_FINAL | PDU_ATTR_SIMPLE | (is_write ? PDU_COMMAND_WRITE : 0) |
                               (opcode == 0x28 ? PDU_COMMAND_READ : 0)),
                      cdb, opcode == 0 ? 6 : 10, (guint32)n_blocks * BLOCK);
    *sent = (Sent){ .itt = pdu_itt(bhs), .link = link, .kind = kind, .is_covered = TRUE };
    initiator_send(initiator, bhs, data, has_data ? sizeof(data) : 0);
    return sent;
}

static void
send_kind(Scene *scene, guint link, Kind kind)
{
    guint32 lba = 8 * (scene->n_sent + 1);

    switch (kind) {
    case KIND_ASKED:
    case KIND_WRITING:
        (void)send_command(scene, link, kind, 0x2a, lba, 1);
        break;
    case KIND_READING:
        (void)send_command(scene, link, kind, 0x28, lba, 1);
        break;
    case KIND_SENDING:
        (void)send_command(scene, link, kind, 0x28, 0, READ_BLOCKS);
        break;
    case KIND_DONE:
        (void)send_command(scene, link, kind, 0x00, 0, 0);
        break;
    case N_KINDS:
        g_assert_not_reached();
    }
    rig_settle(scene->bundle.rig);
}

/* What the store gives is there before it is held; a read that fills a socket comes last on it */
static void
send_kinds(Scene *scene, gboolean has_done)
{
    for (guint i = 0; i < scene->bundle.n; i++)
        send_kind(scene, i, KIND_ASKED);
    for (guint i = 0; has_done && i < scene->bundle.n; i++)
        send_kind(scene, i, KIND_DONE);
    for (guint i = 0; i < scene->bundle.n; i++)
        send_kind(scene, i, KIND_SENDING);
    rig_hold(scene->bundle.rig);
    for (guint i = 0; i < scene->bundle.n; i++) {
        send_kind(scene, i, KIND_WRITING);
        send_kind(scene, i, KIND_READING);
    }
}

static void
send_tmf(Scene *scene, guint link, PduTmf function, guint32 rtt)
{
    Initiator *initiator = bundle_turn(&scene->bundle, link);
    guint8 bhs[PDU_BHS_SIZE];

    initiator_header(initiator, bhs, PDU_TASK_MANAGEMENT_REQUEST | PDU_IMMEDIATE,
                     (guint8)(PDU_FINAL | function));
    put_be32(bhs + 20, rtt);
    scene->tmf = pdu_itt(bhs);
    initiator_send(initiator, bhs, NULL, 0);
    rig_settle(scene->bundle.rig);
}

/* Answers */

static Sent *
find_sent(Scene *scene, guint32 itt)
{
    for (guint i = 0; i < scene->n_sent; i++) {
        if (scene->sent[i].itt == itt)
            return &scene->sent[i];
    }
    g_assert_not_reached();
}

/* RFC 7143 11.9: that tasks end is acknowledged */
static void
acknowledge(Initiator *initiator)
{
    guint8 bhs[PDU_BHS_SIZE];

    initiator_header(initiator, bhs, PDU_NOP_OUT | PDU_IMMEDIATE, PDU_FINAL);
    put_be32(bhs + 16, PDU_TAG_RESERVED);
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    initiator_send(initiator, bhs, NULL, 0);
}

/* The data that it was asked for */
static void
send_data(Scene *scene, const Sent *sent, guint32 ttt)
{
    guint8 bhs[PDU_BHS_SIZE] = { PDU_DATA_OUT, PDU_FINAL }, data[BLOCK] = { 0 };

    put_be32(bhs + 16, sent->itt);
    put_be32(bhs + 20, ttt);
    put_be32(bhs + 28, scene->bundle.c[sent->link]->exp_stat_sn);
    initiator_send(scene->bundle.c[sent->link], bhs, data, sizeof(data));
    rig_settle(scene->bundle.rig);
}

static void
take(Scene *scene, guint link)
{
    Initiator *initiator = scene->bundle.c[link];
    const guint8 *bhs = initiator->bhs;
    PduOpcode opcode = pdu_opcode(bhs);
    Sent *sent;

    if (opcode == PDU_NOP_IN) {
        initiator_answer_ping(initiator);
        return;
    }
    if (opcode == PDU_ASYNC_MESSAGE) {
        acknowledge(initiator);
        return;
    }

    if (pdu_itt(bhs) == scene->tmf) {
        g_assert_false(scene->is_over);
        scene->is_over = TRUE;
        scene->answer = opcode == PDU_TASK_MANAGEMENT_RESPONSE ? bhs[2] : bhs[3];
        scene->asc = opcode == PDU_DATA_IN ? initiator->data[12] : 0;
        return;
    }

    sent = find_sent(scene, pdu_itt(bhs));
    g_assert_cmpuint(sent->link, ==, link);
    g_assert_cmpuint(sent->n_answers, ==, 0);
    if (scene->is_over && sent->is_covered)
        g_error("%s of a command (kind %u, connection %u) that had been ended",
                pdu_name((guint8)opcode), sent->kind, link);
    if (opcode == PDU_R2T && scene->answers_r2ts)
        send_data(scene, sent, pdu_ttt(bhs));
    if (opcode == PDU_SCSI_RESPONSE || (opcode == PDU_DATA_IN && (bhs[1] & PDU_DATA_IN_STATUS))) {
        sent->n_answers++;
        sent->status = bhs[3];
    }
}

/* All that comes, from the first connection that has something */
static void
read_all(Scene *scene)
{
    guint i = 0;

    while (i < scene->bundle.n) {
        if (!initiator_poll(scene->bundle.c[i])) {
            i++;
            continue;
        }
        take(scene, i);
        i = 0;
    }
}

/* Its own session */

/* What was answered before was done; nothing else of what was ended is */
static void
check_covered(const Scene *scene)
{
    for (guint i = 0; i < scene->n_sent; i++) {
        const Sent *sent = &scene->sent[i];

        if (!sent->is_covered)
            continue;
        g_assert_cmpuint(sent->n_answers, ==, sent->kind == KIND_DONE);
    }
}

/* Without @has_status no StatSN is left to be acknowledged: there are only Data-Ins and R2Ts */
static void
check_function(PduTmf function, gboolean has_status, const Row *row)
{
    Rig *rig = rig_new(&(RigConfig){ .type = "held" });
    Scene scene;
    guint n_later = has_status && function != PDU_TMF_I_T_NEXUS_RESET ? row->n_links : 0;

    open_scene(&scene, rig, row, 1);
    scene.answers_r2ts = is_standard(row);
    set_task_aborted_status(bundle_turn(&scene.bundle, 0), TRUE);
    send_kinds(&scene, has_status);
    send_tmf(&scene, 0, function, PDU_TAG_RESERVED);
    /* These have the CmdSN of the function, and more; a nexus that is reset has none after it */
    for (guint i = 0; i < n_later; i++)
        send_command(&scene, i, KIND_DONE, 0x00, 0, 0)->is_covered = FALSE;
    rig_settle(rig);
    rig_release(rig);
    read_all(&scene);

    g_assert_true(scene.is_over);
    g_assert_cmpuint(scene.answer, ==, PDU_TMF_RESPONSE_COMPLETE);
    check_covered(&scene);
    for (guint i = 0; i < n_later; i++)
        g_assert_cmpuint(scene.sent[scene.n_sent - 1 - i].n_answers, ==, 1);
    close_scene(&scene);
    rig_free(rig);
}

static void
test_function(gconstpointer data)
{
    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        check_function((PduTmf)GPOINTER_TO_UINT(data), FALSE, &rows[i]);
        check_function((PduTmf)GPOINTER_TO_UINT(data), TRUE, &rows[i]);
    }
}

/* ABORT TASK is about one, and is sent where that was: others are answered */
static void
check_abort_task(Kind kind, const Row *row)
{
    Rig *rig = rig_new(&(RigConfig){ .type = "held" });
    guint link = row->n_links - 1;
    Scene scene;
    const Sent *subject;

    open_scene(&scene, rig, row, 1);
    if (kind != KIND_SENDING)
        rig_hold(rig);
    send_kind(&scene, link, kind);
    rig_hold(rig);
    for (guint i = 0; i < row->n_links; i++)
        send_kind(&scene, i, KIND_READING);
    for (guint i = 1; i < scene.n_sent; i++)
        scene.sent[i].is_covered = FALSE;
    subject = &scene.sent[0];
    send_tmf(&scene, link, PDU_TMF_ABORT_TASK, subject->itt);
    rig_release(rig);
    read_all(&scene);

    g_assert_true(scene.is_over);
    g_assert_cmpuint(scene.answer, ==,
                     kind == KIND_DONE ? PDU_TMF_RESPONSE_NO_TASK : PDU_TMF_RESPONSE_COMPLETE);
    g_assert_cmpuint(subject->n_answers, ==, kind == KIND_DONE);
    for (guint i = 1; i < scene.n_sent; i++)
        g_assert_cmpuint(scene.sent[i].n_answers, ==, 1);
    close_scene(&scene);
    rig_free(rig);
}

static void
test_abort_task(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        for (guint kind = 0; kind < N_KINDS; kind++) {
            /* The target knows of that only while it was not sent */
            if (kind != KIND_DONE)
                check_abort_task((Kind)kind, &rows[i]);
        }
    }
}

/* Tasks that another session has ended, and that are answered when their data has come */

static void
reset_by_another(Rig *rig, Scene *other)
{
    send_tmf(other, 0, PDU_TMF_LOGICAL_UNIT_RESET, PDU_TAG_RESERVED);
    rig_settle(rig);
    read_all(other);
    g_assert_true(other->is_over);
    g_assert_cmpuint(other->answer, ==, PDU_TMF_RESPONSE_COMPLETE);
}

/* The R2T of a write that was asked for data is read; returns its tag */
static guint32
take_r2t(Scene *scene, guint link)
{
    Initiator *initiator = scene->bundle.c[link];

    g_assert_true(initiator_poll(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_R2T);
    return pdu_ttt(initiator->bhs);
}

static void
check_drain(PduTmf function, const Row *row)
{
    Rig *rig = rig_new(NULL);
    Scene scene, other;
    guint link = row->n_links - 1;
    gboolean waits = is_standard(row) && function != PDU_TMF_ABORT_TASK;
    guint32 ttt;

    open_scene(&scene, rig, row, 1);
    open_scene(&other, rig, &rows[0], 2);
    set_task_aborted_status(bundle_turn(&other.bundle, 0), TRUE);
    initiator_settle(bundle_turn(&scene.bundle, 0));
    send_kind(&scene, link, KIND_ASKED);
    ttt = take_r2t(&scene, link);
    reset_by_another(rig, &other);

    send_tmf(&scene, function == PDU_TMF_ABORT_TASK ? link : 0, function,
             function == PDU_TMF_ABORT_TASK ? scene.sent[0].itt : PDU_TAG_RESERVED);
    read_all(&scene);
    g_assert_cmpint(scene.is_over, ==, !waits);
    if (waits || function != PDU_TMF_I_T_NEXUS_RESET)
        send_data(&scene, &scene.sent[0], ttt);
    read_all(&scene);
    g_assert_true(scene.is_over);
    g_assert_cmpuint(scene.sent[0].n_answers, ==, waits || !is_standard(row));
    if (waits || scene.sent[0].n_answers == 0)
        g_assert_cmpuint(scene.answer, ==, PDU_TMF_RESPONSE_COMPLETE);
    close_scene(&other);
    close_scene(&scene);
    rig_free(rig);
}

static void
test_drain(void)
{
    static const PduTmf functions[] = { PDU_TMF_ABORT_TASK,        PDU_TMF_ABORT_TASK_SET,
                                        PDU_TMF_CLEAR_TASK_SET,    PDU_TMF_LOGICAL_UNIT_RESET,
                                        PDU_TMF_TARGET_WARM_RESET, PDU_TMF_I_T_NEXUS_RESET };

    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        for (guint j = 0; j < G_N_ELEMENTS(functions); j++)
            check_drain(functions[j], &rows[i]);
    }
}

/* Another session has ended it while it was with the store, and now its own does so too */
static void
test_abort_of_aborted(void)
{
    Rig *rig = rig_new(&(RigConfig){ .type = "held" });
    Scene scene, other;

    open_scene(&scene, rig, &rows[4], 1);
    open_scene(&other, rig, &rows[0], 2);
    set_task_aborted_status(bundle_turn(&other.bundle, 0), TRUE);
    initiator_settle(bundle_turn(&scene.bundle, 0));
    rig_hold(rig);
    send_kind(&scene, 1, KIND_WRITING);
    send_tmf(&other, 0, PDU_TMF_LOGICAL_UNIT_RESET, PDU_TAG_RESERVED);
    send_tmf(&scene, 0, PDU_TMF_ABORT_TASK, scene.sent[0].itt);
    rig_release(rig);
    read_all(&scene);
    g_assert_true(scene.is_over);
    g_assert_cmpuint(scene.answer, ==, PDU_TMF_RESPONSE_COMPLETE);
    g_assert_cmpuint(scene.sent[0].n_answers, ==, 0);
    read_all(&other);
    close_scene(&other);
    close_scene(&scene);
    rig_free(rig);
}

/* Two functions one behind the other: what ended between them is answered between them */
static void
test_two_functions(void)
{
    Rig *rig = rig_new(NULL);
    Scene scene;
    guint32 first;

    open_scene(&scene, rig, &rows[4], 1);
    send_kind(&scene, 1, KIND_DONE);
    send_tmf(&scene, 0, PDU_TMF_ABORT_TASK_SET, PDU_TAG_RESERVED);
    first = scene.tmf;
    send_kind(&scene, 2, KIND_DONE);
    send_kind(&scene, 0, KIND_DONE);
    send_tmf(&scene, 0, PDU_TMF_ABORT_TASK_SET, PDU_TAG_RESERVED);
    scene.sent[scene.n_sent++] = (Sent){ .itt = first };
    send_command(&scene, 2, KIND_DONE, 0x00, 0, 0)->is_covered = FALSE;
    read_all(&scene);
    g_assert_true(scene.is_over);
    for (guint i = 0; i < scene.n_sent; i++)
        g_assert_cmpuint(scene.sent[i].n_answers, ==, scene.sent[i].itt != first);
    close_scene(&scene);
    rig_free(rig);
}

/* Data that tasks were asked for before they were ended: RFC 7143 4.2.3.3, a), and 4.2.3.4 */

#define WAIT_USEC (2 * USEC_PER_SEC)

/* A write that was asked for data on each connection; the R2Ts are read */
static void
ask_all(Scene *scene, guint32 *ret_ttts)
{
    for (guint i = 0; i < scene->bundle.n; i++)
        send_kind(scene, i, KIND_ASKED);
    for (guint i = 0; i < scene->bundle.n; i++)
        ret_ttts[i] = take_r2t(scene, i);
}

static void
check_data_is_awaited(PduTmf function, const Row *row)
{
    Rig *rig = rig_new(NULL);
    Scene scene;
    guint32 ttts[TASKS_MAX];

    open_scene(&scene, rig, row, 1);
    ask_all(&scene, ttts);
    send_tmf(&scene, 0, function, PDU_TAG_RESERVED);
    for (guint i = 0; i < row->n_links; i++) {
        read_all(&scene);
        g_assert_cmpint(scene.is_over, ==, !is_standard(row));
        send_data(&scene, &scene.sent[i], ttts[i]);
    }
    read_all(&scene);
    g_assert_true(scene.is_over);
    g_assert_cmpuint(scene.answer, ==, PDU_TMF_RESPONSE_COMPLETE);
    check_covered(&scene);
    close_scene(&scene);
    rig_free(rig);
}

static void
test_data_is_awaited(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        check_data_is_awaited(PDU_TMF_ABORT_TASK_SET, &rows[i]);
        check_data_is_awaited(PDU_TMF_LOGICAL_UNIT_RESET, &rows[i]);
        check_data_is_awaited(PDU_TMF_TARGET_WARM_RESET, &rows[i]);
    }
}

/* Linux does not send it unless told to: it is not waited for without end, and may come late */
static void
test_data_does_not_come(void)
{
    Rig *rig = rig_new(NULL);
    Scene scene;
    guint32 ttts[TASKS_MAX];

    open_scene(&scene, rig, &rows[4], 1);
    ask_all(&scene, ttts);
    send_tmf(&scene, 0, PDU_TMF_LOGICAL_UNIT_RESET, PDU_TAG_RESERVED);
    clock_advance(&rig->clock, WAIT_USEC - 1);
    read_all(&scene);
    g_assert_false(scene.is_over);
    clock_advance(&rig->clock, 1);
    read_all(&scene);
    g_assert_true(scene.is_over);
    g_assert_cmpuint(scene.answer, ==, PDU_TMF_RESPONSE_COMPLETE);
    for (guint i = 0; i < 3; i++)
        send_data(&scene, &scene.sent[i], ttts[i]);
    read_all(&scene);
    check_covered(&scene);
    initiator_settle(bundle_turn(&scene.bundle, 2));
    close_scene(&scene);
    rig_free(rig);
}

/* The tag of a task that was ended comes up again on another connection, and then its data comes */
static void
test_late_data_of_a_tag_in_use(void)
{
    Rig *rig = rig_new(NULL);
    Scene scene;
    guint32 ttts[TASKS_MAX], ttt;
    Sent *again;

    open_scene(&scene, rig, &rows[5], 1);
    ask_all(&scene, ttts);
    send_tmf(&scene, 0, PDU_TMF_ABORT_TASK_SET, PDU_TAG_RESERVED);
    read_all(&scene);
    g_assert_true(scene.is_over);

    scene.bundle.c[0]->itt = scene.sent[2].itt;
    again = send_command(&scene, 0, KIND_ASKED, 0x2a, 8, 1);
    again->is_covered = FALSE;
    ttt = take_r2t(&scene, 0);
    send_data(&scene, &scene.sent[2], ttts[2]);
    send_data(&scene, &scene.sent[2], PDU_TAG_RESERVED);
    g_assert_false(initiator_poll(scene.bundle.c[2]));
    send_data(&scene, again, ttt);
    g_assert_true(initiator_poll(scene.bundle.c[0]));
    g_assert_cmphex(pdu_opcode(scene.bundle.c[0]->bhs), ==, PDU_SCSI_RESPONSE);
    g_assert_cmphex(scene.bundle.c[0]->bhs[3], ==, SCSI_GOOD);
    close_scene(&scene);
    rig_free(rig);
}

/* Its connection goes, and with it what it was asked for */
static void
test_connection_ends_without_data(void)
{
    Rig *rig = rig_new(NULL);
    Scene scene;

    open_scene(&scene, rig, &rows[4], 1);
    send_kind(&scene, 2, KIND_ASKED);
    (void)take_r2t(&scene, 2);
    send_tmf(&scene, 0, PDU_TMF_ABORT_TASK_SET, PDU_TAG_RESERVED);
    read_all(&scene);
    g_assert_false(scene.is_over);
    initiator_drop(scene.bundle.c[2]);
    read_all(&scene);
    g_assert_true(scene.is_over);
    g_assert_cmpuint(scene.answer, ==, PDU_TMF_RESPONSE_COMPLETE);
    close_scene(&scene);
    rig_free(rig);
}

/* The connection of the request goes: what it has ended is not kept for it */
static void
test_request_ends_without_data(void)
{
    Rig *rig = rig_new(NULL);
    Scene scene;

    open_scene(&scene, rig, &rows[4], 1);
    send_kind(&scene, 2, KIND_ASKED);
    (void)take_r2t(&scene, 2);
    send_tmf(&scene, 0, PDU_TMF_ABORT_TASK_SET, PDU_TAG_RESERVED);
    initiator_drop(scene.bundle.c[0]);
    rig_settle(rig);
    clock_advance(&rig->clock, WAIT_USEC);
    rig_settle(rig);
    send_tmf(&scene, 1, PDU_TMF_ABORT_TASK_SET, PDU_TAG_RESERVED);
    read_all(&scene);
    g_assert_true(scene.is_over);
    check_covered(&scene);
    close_scene(&scene);
    rig_free(rig);
}

/* Each of them is ended by a function of its own, too: then nothing is owed any more */
static void
test_abort_without_data(void)
{
    Rig *rig = rig_new(NULL);
    Scene scene;
    guint32 ttts[TASKS_MAX], first;

    open_scene(&scene, rig, &rows[1], 1);
    ask_all(&scene, ttts);
    send_tmf(&scene, 0, PDU_TMF_ABORT_TASK_SET, PDU_TAG_RESERVED);
    first = scene.tmf;
    send_tmf(&scene, 0, PDU_TMF_ABORT_TASK, scene.sent[0].itt);
    g_assert_true(initiator_poll(scene.bundle.c[0]));
    g_assert_cmphex(pdu_itt(scene.bundle.c[0]->bhs), ==, first);
    read_all(&scene);
    g_assert_true(scene.is_over);
    g_assert_cmpuint(scene.answer, ==, PDU_TMF_RESPONSE_COMPLETE);
    close_scene(&scene);
    rig_free(rig);
}

/* A logout waits for neither, and what has ended them is not answered */
static void
check_logout_without_data(const Row *row)
{
    Rig *rig = rig_new(NULL);
    Scene scene;
    guint32 ttts[TASKS_MAX];
    guint8 bhs[PDU_BHS_SIZE];

    open_scene(&scene, rig, row, 1);
    ask_all(&scene, ttts);
    send_tmf(&scene, 0, PDU_TMF_ABORT_TASK_SET, PDU_TAG_RESERVED);
    initiator_header(bundle_turn(&scene.bundle, 0), bhs, PDU_LOGOUT_REQUEST | PDU_IMMEDIATE,
                     PDU_FINAL | PDU_LOGOUT_CLOSE_SESSION);
    initiator_send(scene.bundle.c[0], bhs, NULL, 0);
    g_assert_true(initiator_poll(scene.bundle.c[0]));
    g_assert_cmphex(pdu_opcode(scene.bundle.c[0]->bhs), ==, PDU_LOGOUT_RESPONSE);
    g_assert_true(initiator_is_closed(scene.bundle.c[0]));
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    close_scene(&scene);
    rig_free(rig);
}

static void
test_logout_without_data(void)
{
    check_logout_without_data(&rows[1]);
    check_logout_without_data(&rows[4]);
}

/*
 * A session that is logged out waits for nobody: what could not be fenced is not told, whether it
 * waited for that or is still being done
 */
static void
check_logout(gboolean is_held)
{
    Rig *rig = rig_new(&(RigConfig){ .type = "held" });
    Scene scene;
    guint8 bhs[PDU_BHS_SIZE];

    open_scene(&scene, rig, &rows[4], 1);
    send_kind(&scene, 1, KIND_DONE);
    send_kind(&scene, 2, KIND_SENDING);
    if (is_held)
        rig_hold(rig);
    send_kind(&scene, 1, KIND_WRITING);
    send_tmf(&scene, 0, PDU_TMF_ABORT_TASK_SET, PDU_TAG_RESERVED);
    initiator_header(bundle_turn(&scene.bundle, 0), bhs, PDU_LOGOUT_REQUEST | PDU_IMMEDIATE,
                     PDU_FINAL | PDU_LOGOUT_CLOSE_SESSION);
    scene.sent[scene.n_sent++] = (Sent){ .itt = pdu_itt(bhs) };
    initiator_send(scene.bundle.c[0], bhs, NULL, 0);
    rig_settle(rig);
    if (is_held)
        rig_release(rig);
    read_all(&scene);
    g_assert_false(scene.is_over);
    close_scene(&scene);
    rig_free(rig);
}

static void
test_logout(void)
{
    check_logout(FALSE);
    check_logout(TRUE);
}

/* Other sessions */

/* It takes the unit attention away */
static void
send_request_sense(Scene *scene)
{
    static const guint8 cdb[6] = { 0x03, [4] = 252 };
    Initiator *initiator = bundle_turn(&scene->bundle, 0);
    guint8 bhs[PDU_BHS_SIZE];

    initiator_command(initiator, bhs, PDU_FINAL | PDU_ATTR_SIMPLE | PDU_COMMAND_READ, cdb,
                      sizeof(cdb), 252);
    scene->tmf = pdu_itt(bhs);
    initiator_send(initiator, bhs, NULL, 0);
}

static gboolean
is_task_aborted_wanted(const Sent *sent)
{
    return sent->kind != KIND_DONE;
}

/*
 * A reset by one session ends the commands of another one. Those have no effect after its answer;
 * they are answered with TASK ABORTED, if at all, and before the unit attention that tells of it.
 */
static void
check_other(PduTmf function, gboolean has_status, gboolean by_request_sense, const Row *row)
{
    Rig *rig = rig_new(&(RigConfig){ .type = "held" });
    Scene scene, other;
    guint8 block[BLOCK], zeros[BLOCK] = { 0 };

    open_scene(&scene, rig, row, 1);
    open_scene(&other, rig, &rows[0], 2);
    set_task_aborted_status(bundle_turn(&other.bundle, 0), has_status);
    initiator_settle(bundle_turn(&scene.bundle, 0));
    send_kinds(&scene, TRUE);
    send_tmf(&other, 0, function, PDU_TAG_RESERVED);
    rig_release(rig);
    read_all(&other);
    g_assert_true(other.is_over);
    g_assert_cmpuint(other.answer, ==, PDU_TMF_RESPONSE_COMPLETE);

    /* None of the sockets was read so far. The command that gets the unit attention ends it. */
    if (by_request_sense) {
        send_request_sense(&scene);
    } else {
        scene.tmf = send_command(&scene, 0, KIND_DONE, 0x00, 0, 0)->itt;
        scene.n_sent--;
    }
    rig_settle(rig);
    read_all(&scene);
    g_assert_true(scene.is_over);
    g_assert_cmphex(scene.answer, ==, by_request_sense ? SCSI_GOOD : SCSI_CHECK_CONDITION);
    if (by_request_sense)
        g_assert_cmphex(scene.asc, ==, 0x29);
    for (guint i = 0; i < scene.n_sent; i++) {
        const Sent *sent = &scene.sent[i];

        if (!is_task_aborted_wanted(sent) || has_status)
            g_assert_cmpuint(sent->n_answers, ==, 1);
        else
            g_assert_cmpuint(sent->n_answers, ==, 0);
        if (sent->n_answers != 0)
            g_assert_cmphex(sent->status, ==,
                            is_task_aborted_wanted(sent) ? SCSI_TASK_ABORTED : SCSI_GOOD);
    }
    initiator_settle(other.bundle.c[0]);
    initiator_read(other.bundle.c[0], 8, 1, block);
    g_assert_true(memcmp(block, zeros, sizeof(block)) == 0);
    close_scene(&other);
    close_scene(&scene);
    rig_free(rig);
}

static void
test_other(gconstpointer data)
{
    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        check_other(PDU_TMF_LOGICAL_UNIT_RESET, GPOINTER_TO_UINT(data) != 0, FALSE, &rows[i]);
        check_other(PDU_TMF_TARGET_WARM_RESET, GPOINTER_TO_UINT(data) != 0, FALSE, &rows[i]);
    }
}

/* RFC 7143 4.2.3.6, b): who reads in the data of REQUEST SENSE that its tasks were ended knows it too */
static void
test_request_sense(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        check_other(PDU_TMF_LOGICAL_UNIT_RESET, FALSE, TRUE, &rows[i]);
        check_other(PDU_TMF_LOGICAL_UNIT_RESET, TRUE, TRUE, &rows[i]);
    }
}

/* With FastAbort too a command is not answered before all of its PDU has come */
static void
test_fast_abort_in_a_pdu(void)
{
    Rig *rig = rig_new(NULL);
    Scene scene, other;
    guint8 bhs[PDU_BHS_SIZE], cdb[10], data[BLOCK] = { 0 };

    open_scene(&scene, rig, &rows[2], 1);
    open_scene(&other, rig, &rows[0], 2);
    set_task_aborted_status(bundle_turn(&other.bundle, 0), TRUE);
    initiator_settle(bundle_turn(&scene.bundle, 0));
    initiator_cdb10(cdb, 0x2a, 0, 2);
    initiator_command(scene.bundle.c[0], bhs, PDU_COMMAND_WRITE | PDU_ATTR_SIMPLE, cdb, sizeof(cdb),
                      2 * BLOCK);
    put_be24(bhs + 5, BLOCK);
    scene.sent[scene.n_sent++] = (Sent){ .itt = pdu_itt(bhs) };
    initiator_send_bytes(scene.bundle.c[0], bhs, sizeof(bhs));
    reset_by_another(rig, &other);
    read_all(&scene);
    g_assert_cmpuint(scene.sent[0].n_answers, ==, 0);
    initiator_send_bytes(scene.bundle.c[0], data, sizeof(data));
    read_all(&scene);
    g_assert_cmpuint(scene.sent[0].n_answers, ==, 1);
    g_assert_cmphex(scene.sent[0].status, ==, SCSI_TASK_ABORTED);
    close_scene(&other);
    close_scene(&scene);
    rig_free(rig);
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *path;
        PduTmf function;
    } functions[] = {
        { "/iscsi/tmf/abort-task-set", PDU_TMF_ABORT_TASK_SET },
        { "/iscsi/tmf/clear-task-set", PDU_TMF_CLEAR_TASK_SET },
        { "/iscsi/tmf/logical-unit-reset", PDU_TMF_LOGICAL_UNIT_RESET },
        { "/iscsi/tmf/target-warm-reset", PDU_TMF_TARGET_WARM_RESET },
        { "/iscsi/tmf/target-cold-reset", PDU_TMF_TARGET_COLD_RESET },
        { "/iscsi/tmf/nexus-reset", PDU_TMF_I_T_NEXUS_RESET },
    };

    g_test_init(&argc, &argv, NULL);

    for (guint i = 0; i < G_N_ELEMENTS(functions); i++)
        g_test_add_data_func(functions[i].path, GUINT_TO_POINTER(functions[i].function),
                             test_function);
    g_test_add_func("/iscsi/tmf/abort-task", test_abort_task);
    g_test_add_func("/iscsi/tmf/abort-of-aborted", test_abort_of_aborted);
    g_test_add_func("/iscsi/tmf/drain", test_drain);
    g_test_add_func("/iscsi/tmf/data-is-awaited", test_data_is_awaited);
    g_test_add_func("/iscsi/tmf/data-does-not-come", test_data_does_not_come);
    g_test_add_func("/iscsi/tmf/late-data-of-a-tag-in-use", test_late_data_of_a_tag_in_use);
    g_test_add_func("/iscsi/tmf/connection-ends-without-data", test_connection_ends_without_data);
    g_test_add_func("/iscsi/tmf/request-ends-without-data", test_request_ends_without_data);
    g_test_add_func("/iscsi/tmf/logout-without-data", test_logout_without_data);
    g_test_add_func("/iscsi/tmf/abort-without-data", test_abort_without_data);
    g_test_add_func("/iscsi/tmf/two-functions", test_two_functions);
    g_test_add_func("/iscsi/tmf/logout", test_logout);
    g_test_add_data_func("/iscsi/tmf/other-session", GUINT_TO_POINTER(0), test_other);
    g_test_add_data_func("/iscsi/tmf/other-session-with-status", GUINT_TO_POINTER(1), test_other);
    g_test_add_func("/iscsi/tmf/request-sense", test_request_sense);
    g_test_add_func("/iscsi/tmf/fast-abort-in-a-pdu", test_fast_abort_in_a_pdu);
    return g_test_run();
}
