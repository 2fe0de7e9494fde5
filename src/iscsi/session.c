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
 * that reason. Above error recovery level 0 it stays until the answer is
 * acknowledged (recovery.c), and the array has another window for that.
 *
 * The window begins small, doubles when at least half of it is in use, and ends
 * at the target's queue depth; it does not grow while the worker's pool is
 * short. It never shrinks, as MaxCmdSN must not move back.
 *
 * The slots themselves are in session-slots.c, connections that end while the
 * session goes on in remnant.c.
 *
 * Ending: connections are closed, commands aborted, and when the last slot is
 * back the nexus is freed and its name given back to the registry.
 */

#include "iscsi/session.h"

#include <string.h>

#include "iscsi/async.h"
#include "iscsi/dataseq.h"
#include "iscsi/gap.h"
#include "iscsi/logout.h"
#include "iscsi/manage.h"
#include "iscsi/reach.h"
#include "iscsi/remnant.h"
#include "iscsi/server.h"

/* What standard INQUIRY data says of iSCSI: to this iSCSIProtocolLevel is added, RFC 7144 4.2 */
#define VERSION_ISCSI 0x0960

/* Each connection may have a ring of answers that have left the window and not the slots */
static guint
n_tasks_for(guint depth, guint n_connections)
{
    return depth + TASKS_IMMEDIATE + TASKS_RESERVE + TASKS_REJECT + TX_SLOTS * n_connections;
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
        .reach = reach_find,
        .user_data = session,
    };

    return nexus_new(session->server->worker, &config, map);
}

static void
on_reset(Deferred *deferred)
{
    session_close(list_entry(deferred, Session, reset), "I_T NEXUS RESET");
}

static void
on_review(Deferred *deferred)
{
    remnant_review(list_entry(deferred, Session, review));
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
    session->n_tasks = n_tasks_for(session->depth, login_params(login)->max_connections);
    if (login_params(login)->error_recovery_level > 0)
        session->n_tasks += session->depth; /* answered, not acknowledged */
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
    session->chap_accounts = credentials_ref(login->chap_accounts);
    session->limit = MIN(SESSION_WINDOW_START, session->depth);
    session->exp_cmd_sn = login->exp_cmd_sn;
    session->max_cmd_sn = session->exp_cmd_sn + session->limit - 1;
    list_init(&session->connections);
    list_init(&session->remnants);
    manage_init(session);
    list_init(&session->suspended);
    list_init(&session->free_tasks);
    init_room(session);
    logout_init(session);
    fence_init(session);
    gap_init(session);
    deferred_init(&session->reset, on_reset);
    deferred_init(&session->review, on_review);
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
    credentials_unref(session->chap_accounts);
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
    connection->tx.proof_sn = connection->stat_sn;
    list_append(&session->connections, &connection->session_link);
    session->n_connections++;
    connection->tx.is_held = session->fence.task != NULL || session->fence.connection != NULL;
    reach_review_session(session, NULL); /* it may come from somewhere else than the others */
}

Connection *
session_find_connection(const Session *session, guint16 cid)
{
    list_foreach(link, &session->connections) {
        Connection *connection = list_entry(link, Connection, session_link);

        if (connection->cid == cid)
            return connection;
    }
    return NULL;
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

/* FALSE: it was rejected, and has ended */
static gboolean
take_text(Task *task)
{
    Session *session = task->session;
    Connection *connection = task->connection;
    ConnectionText *text = connection->text;
    DiscoveryAction action;

    if (text->discovery.config.params == NULL)
        connection_begin_text(connection);

    action = discovery_receive(&text->discovery, task->bhs, text->data, pdu_data_size(task->bhs));
    text->has_ended = action != DISCOVERY_SEND;
    /* Not less either: what is on its way may be as long as we said before */
    connection->recv_limit = MAX(connection->recv_limit,
                                 text->discovery.negotiation.params.max_recv_data_segment_length);
    if (action != DISCOVERY_REJECT)
        return TRUE;

    gap_note(session, task->bhs);
    connection_reject(connection, task->bhs, text->discovery.reason);
    if (task->is_used)
        task_finish(task);
    return FALSE;
}

/* What is parked comes after the logout and will not have its turn */
void
session_drop_parked(Session *session)
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
void
session_abort_all(Session *session)
{
    if (session->nexus == NULL)
        return;

    session->n_holds++;
    nexus_abort_all(session->nexus);
    session->n_holds--;
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
    case TASK_TEXT:
        tx_queue(task);
        break;
    case TASK_LOGOUT:
        logout_deliver(task);
        break;
    case TASK_REJECT:
    case TASK_ASYNC:
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

/* RFC 7143 7.3: the CmdSN of a request that is rejected does not count as received */
static gboolean
is_accepted(Task *task)
{
    return task->kind != TASK_TEXT || task->is_aborted || task->session->logout != NULL ||
           take_text(task);
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
        if (!is_accepted(task))
            return;
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
        if (is_accepted(task))
            take_turn(task);
        return;
    }
    if (task->cmd_sn != session->exp_cmd_sn) {
        session->parked[task->cmd_sn % SESSION_PARKED] = task;
        session->n_parked++;
        return;
    }

    if (!is_accepted(task))
        return;
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

gboolean
session_drop_nexus(Session *session)
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
    if (!session_drop_nexus(session))
        return;

    session->is_finished = TRUE;
    timer_cancel(&session->logout_timer);
    timer_cancel(&session->answer_timer);
    deferred_cancel(&session->reset);
    deferred_cancel(&session->review);
    server_post(session->server, ISCSI_EVENT_SESSION_CLOSED, NULL, session, 0, session->reason);
    session->claim->session = NULL;
    registry_release(&session->claim->claim);
    list_unlink(&session->link);
    server_bury_session(session->server, session);
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
        logout_check(session);
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
    gap_cancel(session);
    while ((link = list_first(&session->connections)) != NULL)
        connection_close(list_entry(link, Connection, session_link), reason);
    fence_lift(session);
    remnant_drop_all(session);

    session_abort_all(session);
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
session_drop_connection(Session *session, guint16 cid, const char *reason)
{
    Connection *connection = session_find_connection(session, cid);

    if (connection == NULL)
        return;
    if (session->n_connections == 1) {
        session_drop(session, PDU_ASYNC_SESSION_DROP, reason);
        return;
    }

    connection->is_replaced = TRUE;
    async_announce_drop(connection, PDU_ASYNC_CONNECTION_DROP);
    connection_close(connection, reason);
}

void
session_reset(Session *session)
{
    if (!session->is_closing)
        deferred_run(&session->reset, &session->server->worker->loop);
}

static void
add_statistics(IscsiSessionStatistics *sum, const Connection *connection)
{
    sum->bytes_received += connection->bytes_received;
    sum->bytes_sent += connection->bytes_sent;
    sum->n_pdus_received += connection->n_pdus_received;
    sum->n_pdus_sent += connection->n_pdus_sent;
    sum->n_header_digest_errors += connection->n_header_digest_errors;
    sum->n_data_digest_errors += connection->n_data_digest_errors;
}

static gboolean
is_kept(const Session *session)
{
    return session->n_connections > 0 || session->n_joining > 0 || remnant_may_recover(session);
}

void
session_check_kept(Session *session, const char *reason)
{
    if (!session->is_closing && !is_kept(session))
        session_close(session, reason);
}

/* The session goes on: somebody has to own what the connection has begun */
static void
leave_remnant(Session *session, Connection *connection)
{
    Remnant *remnant;

    if (connection->is_leaving && !connection->is_removed) {
        (void)remnant_new(session, connection, REMNANT_ENDING, NULL);
        return;
    }

    remnant = remnant_new(session, connection, REMNANT_FAILED, NULL);
    if (connection->is_removed)
        remnant_remove(remnant);
    remnant->is_told =
        connection->is_removed || connection->is_replaced || connection->peer_has_gone;
    if (!remnant->is_told)
        async_tell_remnant(session);
}

/* What the initiator was told of the window last may be lost: the others tell it */
static void
tell_window(Session *session)
{
    list_foreach(link, &session->connections)
        tx_schedule(list_entry(link, Connection, session_link));
}

void
session_connection_closed(Session *session, Connection *connection, const char *reason)
{
    gboolean was_closing = session->is_closing;

    list_unlink(&connection->session_link);
    session->n_connections--;
    add_statistics(&session->statistics, connection);

    if (!was_closing &&
        (session->n_connections > 0 || session->n_joining > 0 || recovery_keeps_tasks(session))) {
        server_post(session->server, ISCSI_EVENT_CONNECTION_CLOSED, connection, session, 0, reason);
        leave_remnant(session, connection);
        connection->session = NULL;
        tell_window(session);
        session_check_kept(session, reason);
        return;
    }

    recovery_connection_closed(connection);
    connection->session = NULL;
    for (guint i = 0; i < session->n_touched; i++) {
        if (session->tasks[i].is_used && session->tasks[i].connection == connection)
            session->tasks[i].connection = NULL;
    }
    session_check_kept(session, reason);
}

/* Control */

static IscsiHolder
get_holder(const Session *session)
{
    return (IscsiHolder){
        .request = { .initiator_name = session->initiator_name,
                     .address = &session->remote,
                     .tag = session->tag },
        .chap_user = session->chap_user,
    };
}

gboolean
session_is_admitted(const Session *session, const IscsiTarget *target, IscsiVerdict *ret_verdict)
{
    IscsiHolder holder = get_holder(session);
    gboolean is_admitted = iscsi_target_admits(target, &holder, ret_verdict);
    const AccessRule *rule = NULL;

    list_foreach(link, &session->connections) {
        holder.request.address = &list_entry(link, Connection, session_link)->remote;
        is_admitted = iscsi_target_admits(target, &holder, ret_verdict);
        if (link != list_first(&session->connections) && ret_verdict->rule != rule)
            ret_verdict->is_allowed = is_admitted = FALSE;
        if (!is_admitted)
            return FALSE;
        rule = ret_verdict->rule;
    }

    return is_admitted;
}

gboolean
session_is_proved(const Session *session, const IscsiVerdict *verdict)
{
    return !verdict->wants_chap ||
           credentials_agree(session->chap_accounts, verdict->credentials, session->chap_user);
}

/* By the rule that has let it in a changed secret does not matter */
static gboolean
is_still_admitted(const Session *session, const IscsiTarget *target, IscsiVerdict *ret_verdict)
{
    gboolean is_admitted = session_is_admitted(session, target, ret_verdict);
    guint32 rule_id = ret_verdict->rule != NULL ? ret_verdict->rule->id : 0;

    return is_admitted && (rule_id == session->rule_id || session_is_proved(session, ret_verdict));
}

/*
 * What the session sees from now on: a reference. Who is let in by another rule than before, and did
 * not prove what that one asks for, gets nothing new by it.
 */
static LunMap *
choose_map(Session *session, const IscsiTarget *target)
{
    IscsiVerdict verdict;
    gboolean is_admitted = is_still_admitted(session, target, &verdict);
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
    IscsiVerdict verdict;

    return target->closes_denied && !is_still_admitted(session, target, &verdict);
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

    list_foreach(link, &session->connections) {
        Connection *connection = list_entry(link, Connection, session_link);

        connection_set_timer(connection);
        async_request_negotiation(connection);
    }
}

void
session_report(const Session *session, IscsiSessionReport *ret_report)
{
    IscsiSessionStatistics *sum = &ret_report->statistics;

    *ret_report = (IscsiSessionReport){ .tsih = session->tsih, .statistics = session->statistics };
    list_foreach(link, &session->connections) {
        const Connection *connection = list_entry(link, Connection, session_link);
        IscsiConnectionReport *part = &ret_report->connections[ret_report->n_connections++];

        part->cid = connection->cid;
        add_statistics(&part->statistics, connection);
        add_statistics(sum, connection);
    }
    sum->n_active = session->n_used;
    sum->window = session->limit;
}
