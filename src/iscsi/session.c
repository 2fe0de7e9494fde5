/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Session
 *
 * Slots and the CmdSN window are one thing: MaxCmdSN is never advanced beyond
 * what free slots can take, so a command inside the window always finds one. A
 * place of the window is free again when its answer is put into the transmit
 * ring, because the initiator cannot know before; the slot itself stays until
 * the last byte is gone, and the array has TX_SLOTS more than the window for
 * that reason.
 *
 * The window begins small, doubles when at least half of it is in use, and ends
 * at the target's queue depth; it does not grow while the worker's pool is
 * short. It never shrinks, as MaxCmdSN must not move back.
 *
 * The array, like the session itself, is mapped memory: pages that no command
 * ever touched cost nothing, and the slot given back last is taken first.
 *
 * Ending: connections are closed, commands aborted, and when the last slot is
 * back the nexus is freed and its name given back to the registry.
 */

#include "iscsi/session.h"

#include <string.h>

#include "iscsi/async.h"
#include "iscsi/dataseq.h"
#include "iscsi/manage.h"
#include "iscsi/server.h"

#define LOGOUT_WAIT_USEC (2 * USEC_PER_SEC)

/* What standard INQUIRY data says of iSCSI: to this iSCSIProtocolLevel is added, RFC 7144 4.2 */
#define VERSION_ISCSI 0x0960

static guint
n_tasks_for(guint depth)
{
    return depth + TASKS_IMMEDIATE + TASKS_RESERVE + TASKS_REJECT + TX_SLOTS;
}

static gboolean
on_nexus_event(gpointer user_data)
{
    return async_scsi_event(user_data);
}

static Nexus *
make_nexus(Session *session, LunMap *map)
{
    const guint8 *isid = session->isid;
    g_autofree char *name =
        g_strdup_printf("%s,i,0x%02x%02x%02x%02x%02x%02x", session->initiator_name, isid[0],
                        isid[1], isid[2], isid[3], isid[4], isid[5]);
    NexusConfig config = {
        .initiator_port_name = name,
        .target_name = session->target->name,
        .relative_target_port = iscsi_target_relative_port(session->target, session->tag),
        .target_port_group = session->tag,
        .has_queries = session->params.protocol_level >= 2,
        .version_descriptor = (guint16)(VERSION_ISCSI + session->params.protocol_level),
        .tell = on_nexus_event,
        .user_data = session,
    };

    return nexus_new(session->server->worker, &config, map);
}

/* A logout does not wait for a store that does not answer (DESIGN 12, rule 9) */
static void
on_logout_timer(Timer *timer)
{
    Session *session = list_entry(timer, Session, logout_timer);

    if (session->logout != NULL && session->logout->connection != NULL)
        tx_queue(session->logout);
}

static void
on_reset(Deferred *deferred)
{
    session_close(list_entry(deferred, Session, reset), "I_T NEXUS RESET");
}

/* Whatever the limit is, one session does not get more than a quarter of its worker's pool */
void
session_limit_room(Session *session)
{
    PoolStatistics pool;
    gsize room;

    pool_get_statistics(session->server->worker->pool, &pool);
    room = pool.size / 4;
    if (session->server->limits.max_session_bytes != 0)
        room = MIN(room, session->server->limits.max_session_bytes);
    session->reserve_max = MAX(room, POOL_BUFFER_MAX);
    for (guint i = 0; i < SESSION_LINE_N; i++)
        session->lines[i].charge_max =
            MAX(room / (i == SESSION_LINE_SIMPLE ? 2 : 8), POOL_BUFFER_MAX);
}

static void
init_room(Session *session)
{
    PoolStatistics pool;

    pool_get_statistics(session->server->worker->pool, &pool);
    session->grow_min = pool.size / 4;
    for (guint i = 0; i < SESSION_LINE_N; i++)
        list_init(&session->lines[i].waiting);
    session_limit_room(session);
}

Session *
session_new(SessionClaim *claim, const Connection *connection, IscsiTarget *target,
            const IscsiVerdict *verdict)
{
    Server *server = connection->server;
    const Login *login = &connection->login->login;
    Session *session = server_map(sizeof(Session));

    if (session == NULL)
        return NULL;

    session->server = server;
    session->depth =
        target != NULL ? CLAMP(target->queue_depth, 1, SESSION_DEPTH_MAX) : SESSION_WINDOW_START;
    session->n_tasks = n_tasks_for(session->depth);
    session->tasks = server_map(session->n_tasks * sizeof(Task));
    if (session->tasks == NULL) {
        server_unmap(session, sizeof(Session));
        return NULL;
    }

    session->claim = claim;
    session->type = login->type;
    session->params = *login_params(login);
    session->tsih = claim->claim.tsih;
    memcpy(session->isid, login->isid, sizeof(session->isid));
    session->tag = connection->tag;
    session->remote = connection->remote;
    session->initiator_name = g_strdup(login->initiator_name);
    if (login->initiator_alias[0] != '\0')
        session->initiator_alias = g_strdup(login->initiator_alias);
    if (login->chap_user[0] != '\0')
        session->chap_user = g_strdup(login->chap_user);
    session->limit = MIN(SESSION_WINDOW_START, session->depth);
    session->exp_cmd_sn = login->exp_cmd_sn;
    session->max_cmd_sn = session->exp_cmd_sn + session->limit - 1;
    list_init(&session->connections);
    list_init(&session->held);
    list_init(&session->free_tasks);
    init_room(session);
    timer_init(&session->logout_timer, on_logout_timer);
    deferred_init(&session->reset, on_reset);
    session->serial = ++server->last_serial;

    if (target != NULL) {
        session->target = target;
        snapshot_ref(&target->snapshot);
        session->rule_id = verdict->rule != NULL ? verdict->rule->id : 0;
        session->nexus = make_nexus(session, verdict->map);
    }
    claim->session = session;
    list_append(&server->sessions, &session->link);
    return session;
}

void
session_free(Session *session)
{
    g_assert(session->is_finished);

    g_free(session->initiator_name);
    g_free(session->initiator_alias);
    g_free(session->chap_user);
    g_free(session->reason);
    if (session->target != NULL)
        snapshot_unref(&session->target->snapshot);
    server_unmap(session->tasks, session->n_tasks * sizeof(Task));
    server_unmap(session, sizeof(Session));
}

void
session_add_connection(Session *session, Connection *connection)
{
    connection->session = session;
    connection->tx.told_max_cmd_sn = session->max_cmd_sn;
    list_append(&session->connections, &connection->session_link);
}

/* Task tags */

static Task **
bucket_of(Session *session, guint32 itt)
{
    return &session->buckets[itt * 2654435761u >> 24];
}

Task *
session_find_task(const Session *session, guint32 itt)
{
    Task *task = session->buckets[itt * 2654435761u >> 24];

    while (task != NULL && task->itt != itt)
        task = task->hash_next;
    return task;
}

static void
hash_add(Session *session, Task *task)
{
    Task **bucket = bucket_of(session, task->itt);

    task->hash_next = *bucket;
    *bucket = task;
    task->is_hashed = TRUE;
}

static void
hash_remove(Session *session, Task *task)
{
    Task **place = bucket_of(session, task->itt);

    if (!task->is_hashed)
        return;
    while (*place != task)
        place = &(*place)->hash_next;
    *place = task->hash_next;
    task->is_hashed = FALSE;
}

/* Slots */

static gboolean
class_has_room(const Session *session, TaskClass class)
{
    switch (class) {
    case TASK_CLASS_WINDOW:
        return session->n_class[class] < session->depth;
    case TASK_CLASS_IMMEDIATE:
        return session->n_class[class] < TASKS_IMMEDIATE;
    case TASK_CLASS_RESERVE:
        return session->n_class[class] < TASKS_RESERVE;
    case TASK_CLASS_REJECT:
        return session->n_class[class] < TASKS_REJECT;
    case TASK_CLASS_N:
        break;
    }
    g_assert_not_reached();
}

static Task *
take_slot(Session *session)
{
    ListLink *link = list_pop(&session->free_tasks);

    if (link != NULL)
        return list_entry(link, Task, link);
    if (session->n_touched < session->n_tasks)
        return &session->tasks[session->n_touched++];
    return NULL;
}

static void
init_command(TaskCommand *part)
{
    /* The request to the store is filled by who makes it; the R2Ts when they are asked for */
    memset(&part->scsi, 0, G_STRUCT_OFFSET(ScsiCommand, io));
    memset((char *)part + sizeof(part->scsi), 0,
           G_STRUCT_OFFSET(TaskCommand, out.r2ts) - sizeof(part->scsi));
    memset(&part->in, 0, sizeof(part->in));
    part->bidirectional_length = 0;
}

/* Let the window grow while it is used and there is memory for what may come */
static void
grow(Session *session)
{
    const Pool *pool = session->server->worker->pool;

    if (session->limit >= session->depth ||
        session->n_class[TASK_CLASS_WINDOW] * 2 < session->limit ||
        pool_available(pool) < session->grow_min)
        return;

    session->limit = MIN(session->limit * 2, session->depth);
    session_update_window(session);
}

Task *
session_take_task(Session *session, Connection *connection, TaskKind kind, TaskClass class,
                  const guint8 *bhs)
{
    Task *task;

    if (!class_has_room(session, class) || (task = take_slot(session)) == NULL)
        return NULL;

    list_init(&task->link);
    list_init(&task->out_link);
    task->session = session;
    task->connection = connection;
    task->kind = kind;
    task->class = class;
    task->itt = pdu_itt(bhs);
    task->cmd_sn = pdu_cmd_sn(bhs);
    task->n_slots = 0;
    task->is_used = TRUE;
    task->is_active = TRUE;
    task->is_immediate = pdu_is_immediate(bhs);
    task->is_delivered = FALSE;
    task->is_aborted = FALSE;
    task->has_answered = FALSE;
    task->is_released_early = FALSE;
    task->is_managing = FALSE;
    task->tmf_information = 0;
    task->is_cold_reset = FALSE;
    task->is_nexus_reset = FALSE;
    memcpy(task->bhs, bhs, PDU_BHS_SIZE);

    if (kind == TASK_COMMAND) {
        init_command(&task->command);
    } else if (kind == TASK_NOP) {
        task->nop.data = NULL;
        task->nop.size = 0;
    }

    session->n_used++;
    session->n_class[class]++;
    if (kind != TASK_REJECT)
        hash_add(session, task);
    if (class == TASK_CLASS_WINDOW)
        grow(session);
    return task;
}

void
session_release_window(Session *session, Task *task)
{
    if (task->is_released_early)
        return;

    task->is_released_early = TRUE;
    session->n_class[task->class]--;
    if (task->class == TASK_CLASS_WINDOW)
        session_update_window(session);
    /* The answer is made; the initiator may use the tag again when it has it */
    hash_remove(session, task);
}

static void
give_command(Session *session, Task *task)
{
    TaskCommand *part = &task->command;

    pool_give(session->server->worker->pool, part->early_data);
    part->early_data = NULL;
    if (part->is_done && !part->is_ended) {
        part->is_ended = TRUE;
        scsi_command_end(&part->scsi);
    }
    session->reserved -= part->reserved;
    part->reserved = 0;
    if (part->charge != 0)
        task_command_discharge(task);
}

/* The answer of an exchange of text has left */
static void
give_text(Task *task)
{
    Connection *connection = task->connection;

    if (connection == NULL || connection->text == NULL)
        return;

    connection->text->is_busy = FALSE;
    if (connection->text->has_ended) {
        g_free(connection->text);
        connection->text = NULL;
    }
}

void
session_give_task(Session *session, Task *task)
{
    g_assert(task->is_used && task->n_slots == 0);

    list_unlink(&task->link);
    if (task->connection != NULL)
        rx_forget(task->connection, task);
    if (task->kind == TASK_COMMAND)
        give_command(session, task);
    else if (task->kind == TASK_NOP)
        pool_give(session->server->worker->pool, task->nop.data);
    else if (task->kind == TASK_TEXT)
        give_text(task);
    else if (task->is_cold_reset)
        server_post_cold_reset(session->server, session);
    else if (task->is_nexus_reset)
        session_reset(session);

    session_release_window(session, task);
    hash_remove(session, task);
    if (session->logout == task) {
        session->logout = NULL;
        session->is_logged_out = task->has_answered;
    }
    task->is_used = FALSE;
    session->n_used--;
    list_prepend(&session->free_tasks, &task->link);

    if (session->is_closing || session->logout != NULL)
        session_check(session);
    else
        session_run_waiting(session);
}

static void
run_line(SessionLine *line)
{
    ListLink *link;

    while ((link = list_first(&line->waiting)) != NULL) {
        Task *task = list_entry(link, Task, link);

        if (!task_command_has_room(task))
            return;
        list_unlink(link);
        task_command_run(task);
    }
}

void
session_run_waiting(Session *session)
{
    for (guint i = 0; i < SESSION_LINE_N; i++)
        run_line(&session->lines[i]);
}

/* CmdSN */

void
session_update_window(Session *session)
{
    guint taken = session->n_class[TASK_CLASS_WINDOW] - session->n_parked;
    guint32 max = session->exp_cmd_sn + (session->limit - MIN(taken, session->limit)) - 1;

    if (pdu_sn_less(session->max_cmd_sn, max))
        session->max_cmd_sn = max;
}

static gboolean
is_skipped(const Session *session, guint32 cmd_sn)
{
    guint i = cmd_sn % SESSION_PARKED;

    return (session->skipped[i / 32] & (1u << i % 32)) != 0;
}

SessionOrder
session_order(const Session *session, const guint8 *bhs)
{
    guint32 cmd_sn = pdu_cmd_sn(bhs);

    if (cmd_sn == session->exp_cmd_sn && session->n_parked == 0)
        return pdu_sn_less_equal(cmd_sn, session->max_cmd_sn) ? SESSION_NOW : SESSION_IGNORE;
    if (!pdu_sn_in_window(cmd_sn, session->exp_cmd_sn, session->max_cmd_sn) ||
        is_skipped(session, cmd_sn) || session->parked[cmd_sn % SESSION_PARKED] != NULL)
        return SESSION_IGNORE;
    return cmd_sn == session->exp_cmd_sn ? SESSION_NOW : SESSION_LATER;
}

static void
deliver_text(Task *task)
{
    Connection *connection = task->connection;
    ConnectionText *text = connection->text;
    DiscoveryAction action;

    if (text->discovery.config.params == NULL)
        connection_begin_text(connection);

    action = discovery_receive(&text->discovery, task->bhs, text->data, pdu_data_size(task->bhs));
    text->has_ended = action != DISCOVERY_SEND;
    if (action == DISCOVERY_REJECT) {
        connection_reject(connection, task->bhs, text->discovery.reason);
        if (task->is_used)
            task_finish(task);
        return;
    }
    tx_queue(task);
}

/* What is parked comes after the logout and will not have its turn */
static void
drop_parked(Session *session)
{
    for (guint i = 0; i < SESSION_PARKED && session->n_parked != 0; i++) {
        Task *task = session->parked[i];

        if (task == NULL)
            continue;
        session->parked[i] = NULL;
        session->n_parked--;
        task_finish(task);
    }
}

/* The nexus must not go while its commands are walked over */
static void
abort_all(Session *session)
{
    if (session->nexus == NULL)
        return;

    session->n_holds++;
    nexus_abort_all(session->nexus);
    session->n_holds--;
}

static void
deliver_logout(Task *task)
{
    Session *session = task->session;
    guint8 reason = pdu_logout_reason(task->bhs);

    task->logout_response = PDU_LOGOUT_RESPONSE_CLOSED;
    if (reason == PDU_LOGOUT_CLOSE_CONNECTION && pdu_logout_cid(task->bhs) != task->connection->cid)
        task->logout_response = PDU_LOGOUT_RESPONSE_NO_CID;
    else if (reason != PDU_LOGOUT_CLOSE_CONNECTION && reason != PDU_LOGOUT_CLOSE_SESSION)
        task->logout_response = PDU_LOGOUT_RESPONSE_NO_RECOVERY;

    if (task->logout_response != PDU_LOGOUT_RESPONSE_CLOSED || session->logout != NULL) {
        tx_queue(task);
        return;
    }

    /* The answer waits until the nexus is gone: reservations have ended when it is seen */
    session->logout = task;
    timer_set(&session->logout_timer, &session->server->worker->loop,
              session->server->worker->loop.now + LOGOUT_WAIT_USEC);
    session->n_holds++;
    drop_parked(session);
    session->n_holds--;
    abort_all(session);
    session_check(session);
}

static void
execute(Task *task)
{
    switch (task->kind) {
    case TASK_COMMAND:
        if (!task->command.is_begun)
            task_command_begin(task);
        dataseq_command_complete(task);
        break;
    case TASK_MANAGEMENT:
        manage_start(task);
        break;
    case TASK_NOP:
        tx_queue(task);
        break;
    case TASK_TEXT:
        deliver_text(task);
        break;
    case TASK_LOGOUT:
        deliver_logout(task);
        break;
    case TASK_REJECT:
        g_assert_not_reached();
    }
}

/* It is @task's turn; it may have been aborted while it waited */
static void
take_turn(Task *task)
{
    if (task->is_aborted || task->session->logout != NULL)
        task_finish(task);
    else
        execute(task);
}

/* One CmdSN further, and over those that count as received */
static void
advance(Session *session)
{
    do {
        guint i = session->exp_cmd_sn % SESSION_PARKED;

        session->skipped[i / 32] &= ~(1u << i % 32);
        session->exp_cmd_sn++;
    } while (is_skipped(session, session->exp_cmd_sn));
}

/* What waited for the CmdSNs that have come */
static void
deliver_parked(Session *session)
{
    Task *task;

    while (!session->is_closing) {
        /* They concern what came before them, not what comes after */
        if (!list_is_empty(&session->held))
            manage_run_held(session);
        task = session->parked[session->exp_cmd_sn % SESSION_PARKED];
        if (session->n_parked == 0 || task == NULL)
            return;

        session->parked[session->exp_cmd_sn % SESSION_PARKED] = NULL;
        session->n_parked--;
        advance(session);
        take_turn(task);
    }
}

void
session_skip(Session *session, guint32 cmd_sn)
{
    guint i = cmd_sn % SESSION_PARKED;

    if (session->parked[i] != NULL)
        return;
    session->skipped[i / 32] |= 1u << i % 32;
    if (cmd_sn != session->exp_cmd_sn)
        return;

    advance(session);
    session_update_window(session);
    deliver_parked(session);
}

void
session_deliver(Session *session, Task *task)
{
    task->is_delivered = TRUE;

    if (task->is_immediate) {
        take_turn(task);
        return;
    }
    if (task->cmd_sn != session->exp_cmd_sn) {
        session->parked[task->cmd_sn % SESSION_PARKED] = task;
        session->n_parked++;
        return;
    }

    advance(session);
    take_turn(task);
    if (session->n_parked != 0 || !list_is_empty(&session->held))
        deliver_parked(session);
}

/* Ending */

static void
give_parked(Session *session)
{
    for (guint i = 0; i < SESSION_PARKED && session->n_parked != 0; i++) {
        if (session->parked[i] != NULL) {
            session->parked[i] = NULL;
            session->n_parked--;
        }
    }
}

/* End what does not wait for scsi */
static void
drop_tasks(Session *session)
{
    give_parked(session);
    for (guint i = 0; i < session->n_touched; i++) {
        Task *task = &session->tasks[i];

        if (!task->is_used)
            continue;
        task->is_aborted = TRUE;
        if (task->kind == TASK_COMMAND && task->command.is_begun && !task->command.is_done)
            continue;
        if (task->kind == TASK_MANAGEMENT && task->is_managing)
            continue;
        task_finish(task);
    }
}

static void
on_nexus_left(gpointer user_data)
{
    Session *session = user_data;

    session->has_left = TRUE;
    session->n_holds--;
    session_check(session);
}

/* FALSE while the nexus has something that ends with it; session_check() is called again then */
static gboolean
drop_nexus(Session *session)
{
    if (session->nexus == NULL)
        return TRUE;

    if (!session->has_left && !nexus_leave(session->nexus, on_nexus_left, session)) {
        session->n_holds++;
        return FALSE;
    }

    nexus_free(session->nexus);
    session->nexus = NULL;
    return TRUE;
}

static void
finish(Session *session)
{
    if (!drop_nexus(session))
        return;

    session->is_finished = TRUE;
    timer_cancel(&session->logout_timer);
    deferred_cancel(&session->reset);
    server_post(session->server, ISCSI_EVENT_SESSION_CLOSED, NULL, session, 0, session->reason);
    session->claim->session = NULL;
    registry_release(&session->claim->claim);
    list_unlink(&session->link);
    server_bury_session(session->server, session);
}

/* All tasks but the logout itself have left: answer it */
static void
check_logout(Session *session)
{
    Task *task = session->logout;

    if (session->n_used > 1 || task->connection == NULL || task->has_answered)
        return;

    if (!drop_nexus(session))
        return;

    timer_cancel(&session->logout_timer);
    tx_queue(task);
}

void
session_check(Session *session)
{
    if (session->is_finished || session->n_holds != 0)
        return;
    if (session->is_closing) {
        if (session->n_used == 0 && list_is_empty(&session->connections))
            finish(session);
    } else if (session->logout != NULL) {
        check_logout(session);
    }
}

void
session_close(Session *session, const char *reason)
{
    ListLink *link;

    if (session->is_closing)
        return;

    session->is_closing = TRUE;
    session->reason = g_strdup(reason);
    while ((link = list_first(&session->connections)) != NULL)
        connection_close(list_entry(link, Connection, session_link), reason);

    abort_all(session);
    session->n_holds++;
    drop_tasks(session);
    session->n_holds--;
    session_check(session);
}

/* Connections that the announcement has closed may have closed the session too */
void
session_drop(Session *session, PduAsyncEvent event, const char *reason)
{
    session->n_holds++;
    list_foreach_safe(link, &session->connections)
        async_announce_drop(list_entry(link, Connection, session_link), event);
    session->n_holds--;

    if (session->is_closing)
        session_check(session);
    else
        session_close(session, reason);
}

void
session_reset(Session *session)
{
    if (!session->is_closing)
        deferred_run(&session->reset, &session->server->worker->loop);
}

void
session_connection_closed(Session *session, Connection *connection, const char *reason)
{
    list_unlink(&connection->session_link);
    connection->session = NULL;
    session->statistics.bytes_received += connection->bytes_received;
    session->statistics.bytes_sent += connection->bytes_sent;
    session->statistics.n_pdus_received += connection->n_pdus_received;
    session->statistics.n_pdus_sent += connection->n_pdus_sent;
    session->statistics.n_header_digest_errors += connection->n_header_digest_errors;
    session->statistics.n_data_digest_errors += connection->n_data_digest_errors;

    for (guint i = 0; i < session->n_touched; i++) {
        if (session->tasks[i].is_used && session->tasks[i].connection == connection)
            session->tasks[i].connection = NULL;
    }
    if (list_is_empty(&session->connections))
        session_close(session, reason);
}

/* Control */

/*
 * What the session sees from now on: a reference. Who is let in by another rule than before, and did
 * not prove what that one asks for, gets nothing new by it.
 */
static LunMap *
choose_map(Session *session, const IscsiTarget *target)
{
    IscsiHolder holder = {
        .request = { .initiator_name = session->initiator_name,
                     .address = &session->remote,
                     .tag = session->tag },
        .chap_user = session->chap_user,
    };
    IscsiVerdict verdict;
    gboolean is_admitted = iscsi_target_admits(target, &holder, &verdict);
    guint32 rule_id = verdict.rule != NULL ? verdict.rule->id : 0;

    if (!is_admitted && (!verdict.is_allowed || rule_id != session->rule_id))
        return access_map_keep(nexus_get_map(session->nexus), target->map);

    session->rule_id = rule_id;
    snapshot_ref(&verdict.map->snapshot);
    return verdict.map;
}

static void
set_map(Session *session, const IscsiTarget *target)
{
    LunMap *map = choose_map(session, target);

    if (map != nexus_get_map(session->nexus)) {
        session->n_holds++;
        nexus_set_map(session->nexus, map);
        session->n_holds--;
        session_check(session);
    }
    snapshot_unref(&map->snapshot);
}

/* Whether an administrator wants it closed, because it would not be let in any more */
static gboolean
is_expelled(const Session *session, const IscsiTarget *target)
{
    IscsiHolder holder = {
        .request = { .initiator_name = session->initiator_name,
                     .address = &session->remote,
                     .tag = session->tag },
        .chap_user = session->chap_user,
    };
    IscsiVerdict verdict;

    return target->closes_denied && !iscsi_target_admits(target, &holder, &verdict);
}

void
session_set_target(Session *session, IscsiTarget *target)
{
    IscsiTarget *old = session->target;

    if (is_expelled(session, target)) {
        session_drop(session, PDU_ASYNC_SESSION_DROP,
                     "the target's access rules do not let it in any more");
        return;
    }

    session->target = target;
    snapshot_ref(&target->snapshot);
    if (session->nexus != NULL)
        set_map(session, target);
    snapshot_unref(&old->snapshot);

    list_foreach(link, &session->connections)
        connection_set_timer(list_entry(link, Connection, session_link));
}

void
session_get_statistics(const Session *session, IscsiSessionStatistics *ret_statistics)
{
    IscsiSessionStatistics sum = session->statistics;

    list_foreach(link, &session->connections) {
        const Connection *connection = list_entry(link, Connection, session_link);

        sum.bytes_received += connection->bytes_received;
        sum.bytes_sent += connection->bytes_sent;
        sum.n_pdus_received += connection->n_pdus_received;
        sum.n_pdus_sent += connection->n_pdus_sent;
        sum.n_header_digest_errors += connection->n_header_digest_errors;
        sum.n_data_digest_errors += connection->n_data_digest_errors;
    }
    sum.n_active = session->n_used;
    sum.window = session->limit;
    *ret_statistics = sum;
}
