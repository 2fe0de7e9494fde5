/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * When a worker's buffers are short
 *
 * A session may hold buffers for as long as its initiator does not read, or
 * does not send what it has announced or was asked for. One session has a share
 * of the pool, and the share is less the less there is left: nobody has more
 * than half of what is free, but for one command, so that sessions who have
 * nothing still get something. Against very many sessions that is no help.
 *
 * So as soon as commands wait for buffers, or are refused for want of one, and
 * once a second from then on, the worker looks at the connections that hold
 * some. The one idea: what moves pays for time, PRESSURE_RATE bytes a second,
 * and nobody can pay in advance. Who is behind by more than PATIENCE gives way,
 * the one that is behind the most first, until nobody waits any more. A byte now
 * and then thus is as good as none, and a slow link that does carry something is
 * left alone. When others had to be closed shortly before, because there are
 * more of the kind, patience is shorter.
 *
 * What moves is what the initiator has taken (not what the kernel has, whose
 * buffers hide whether anybody reads), what went into buffers, and above error
 * recovery level 0 each answer that was acknowledged. Of several writes one
 * could move for the others; so each has a pace of its own, too, slower and
 * with more patience, since a link may have to carry one after the other. What a
 * NOP-Out has brought to be echoed is like the data of a write: it waits in a
 * buffer while a request before it does not come.
 *
 * Tasks that wait to be reassigned (error recovery level 2) hold buffers too, and
 * how long they may wait the initiator has a say in. Where they have waited for
 * SUSPENDED_PATIENCE they are ended, oldest first, after the slow connections.
 *
 * Nothing of this costs anything while there are buffers. Time that was spent
 * before does not count.
 */

#include "iscsi/pressure.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "iscsi/connection.h"
#include "iscsi/remnant.h"
#include "iscsi/server.h"
#include "iscsi/session.h"

#define INTERVAL USEC_PER_SEC

/* Bytes a second of a connection, and what it may be behind */
#define PRESSURE_RATE  2048
#define PATIENCE       (5 * USEC_PER_SEC)
#define SHORT_PATIENCE (2 * USEC_PER_SEC)

/* The same of one command's data */
#define TASK_RATE     256
#define TASK_PATIENCE (20 * USEC_PER_SEC)

/* What tasks of a connection that has failed may wait for another one */
#define SUSPENDED_PATIENCE (20 * USEC_PER_SEC)

/* Connections that are closed in one turn, and those whose tasks are ended */
#define CLOSES_MAX 64

/* Returns: since when it is behind, or @now */
static gint64
pace_look(Pace *pace, gint64 now, guint64 moved, guint rate)
{
    gboolean is_new = pace->looked_at == 0 || now - pace->looked_at > 2 * INTERVAL;
    guint64 gained = moved > pace->moved ? moved - pace->moved : 0;

    if (is_new)
        pace->began_at = now;
    pace->looked_at = now;
    pace->moved = MAX(pace->moved, moved);
    /* More than a minute's worth is as good as a minute's */
    gained = MIN(gained, (guint64)rate * 60);
    pace->paid_until =
        is_new ? now : MIN(now, pace->paid_until + (gint64)(gained * USEC_PER_SEC / rate));
    return pace->paid_until;
}

/* Data of a write that was asked for or announced, or commands before it, and there is a buffer for it */
static gboolean
is_write_owed(const Task *task)
{
    const TaskDataOut *out = &task->command.out;

    return out->n_r2ts != 0 || out->unsolicited_open || task->command.early_data != NULL ||
           (!task->is_delivered && out->is_reserved);
}

/* The rest of what is to be echoed, or requests before it */
static gboolean
is_ping_owed(const Task *task)
{
    gboolean has_turn = task->is_immediate || pdu_sn_less(task->cmd_sn, task->session->exp_cmd_sn);

    return task->nop.data != NULL && !(task->is_delivered && has_turn);
}

static gboolean
is_owed(const Task *task)
{
    switch (task->kind) {
    case TASK_COMMAND:
        return is_write_owed(task);
    case TASK_NOP:
        return is_ping_owed(task);
    case TASK_MANAGEMENT:
    case TASK_TEXT:
    case TASK_LOGOUT:
    case TASK_REJECT:
    case TASK_ASYNC:
        break;
    }
    return FALSE;
}

/* Bytes of the task's data that have come */
static guint64
came(const Task *task)
{
    const Rx *rx = &task->connection->rx;
    guint64 n = rx->task == task ? rx->data_received : 0;

    if (task->kind == TASK_COMMAND) {
        const TaskDataOut *out = &task->command.out;

        n += (guint64)out->unsolicited_received + out->asked;
        for (guint i = 0; i < out->n_r2ts; i++)
            n -= out->r2ts[i].length - out->r2ts[i].received;
    }
    return n;
}

/* What is owed on a connection */
typedef struct {
    gint64 began_at; /* of the oldest, or G_MAXINT64 */
    gint64 late;     /* since when one has moved too little by itself, or now */
} Debt;

static void
look_at_task(Task *task, gint64 now, Debt *debt)
{
    gint64 since = pace_look(&task->pace, now, came(task), TASK_RATE);

    debt->began_at = MIN(debt->began_at, task->pace.began_at);
    if (now - since >= TASK_PATIENCE)
        debt->late = MIN(debt->late, since);
}

static void
look_at_tasks(const Connection *connection, gint64 now, Debt *debt)
{
    Session *session = connection->session;
    guint n_left = session->n_used;

    for (guint i = 0; n_left > 0 && i < session->n_touched; i++) {
        Task *task = &session->tasks[i];

        n_left -= task->is_used ? 1 : 0;
        if (task->is_used && task->is_active && task->connection == connection && is_owed(task))
            look_at_task(task, now, debt);
    }
}

/* Returns: since when too little was given, or @now. Many small debts that are soon paid are none. */
static gint64
look_at_given(Connection *connection, gint64 now, gint64 patience)
{
    Debt debt = { .began_at = G_MAXINT64, .late = now };
    gint64 since;

    look_at_tasks(connection, now, &debt);
    if (debt.began_at == G_MAXINT64) {
        connection->given.looked_at = 0;
        return now;
    }

    since = pace_look(&connection->given, now, connection->rx.n_kept, PRESSURE_RATE);
    if (now - since < patience || now - debt.began_at < patience)
        return debt.late;
    return MIN(since, debt.late);
}

/* Of what the kernel has, and not the initiator, nobody knows whether it will ever be read */
static guint64
taken_by(const Connection *connection)
{
    int n_untaken = 0;

    (void)ioctl(connection->fd, SIOCOUTQ, &n_untaken);
    return connection->bytes_sent - MIN(connection->bytes_sent, (guint64)n_untaken) +
           connection->recovery.n_acknowledged * PRESSURE_RATE;
}

/* Returns: since when too little was taken, or @now */
static gint64
look_at_taken(Connection *connection, gint64 now, gint64 patience)
{
    gint64 since;

    /* What was not acknowledged is kept, buffers and all */
    if (!connection->tx.is_blocked && list_is_empty(&connection->recovery.kept)) {
        connection->taken.looked_at = 0;
        return now;
    }

    recovery_press(connection);
    since = pace_look(&connection->taken, now, taken_by(connection), PRESSURE_RATE);
    return now - since < patience ? now : since;
}

/* Whether it is to give way, and since when it is behind */
static gboolean
look(Connection *connection, gint64 now, gint64 patience)
{
    gint64 taken, given;

    connection->is_slow = FALSE;
    if (!connection_is_full_feature(connection) || connection->session == NULL)
        return FALSE;

    taken = look_at_taken(connection, now, patience);
    given = look_at_given(connection, now, patience);
    connection->behind_since = MIN(taken, given);
    connection->is_slow = connection->behind_since < now;
    return connection->is_slow;
}

static guint
look_at_all(Server *server)
{
    gint64 now = server->worker->loop.now;
    gint64 patience = server->pressure_has_closed ? SHORT_PATIENCE : PATIENCE;
    guint n = 0;

    list_foreach(link, &server->connections)
        n += look(list_entry(link, Connection, link), now, patience) ? 1 : 0;
    return n;
}

/* From the beginning each time: with a connection others of its session may go */
static Connection *
find_slowest(const Server *server)
{
    Connection *slowest = NULL;

    list_foreach(link, &server->connections) {
        Connection *connection = list_entry(link, Connection, link);

        if (connection->is_slow &&
            (slowest == NULL || connection->behind_since < slowest->behind_since))
            slowest = connection;
    }
    return slowest;
}

/* Of those whose tasks have waited for too long */
static Remnant *
find_oldest_remnant(const Server *server)
{
    gint64 until = server->worker->loop.now - SUSPENDED_PATIENCE;
    Remnant *oldest = NULL;

    list_foreach(link, &server->sessions) {
        const Session *session = list_entry(link, Session, link);

        if (list_is_empty(&session->suspended))
            continue;
        list_foreach(place, &session->remnants) {
            Remnant *remnant = list_entry(place, Remnant, link);

            if (remnant->state != REMNANT_ENDING && remnant->since <= until &&
                (oldest == NULL || remnant->since < oldest->since))
                oldest = remnant;
        }
    }
    return oldest;
}

static gboolean
is_short(const Server *server)
{
    const Pool *pool = server->worker->pool;

    return pool_is_wanted(pool) ||
           (server->pressure_has_refused && pool_available(pool) < POOL_BUFFER_MAX);
}

static void
end_oldest_remnants(const Server *server)
{
    for (guint n = CLOSES_MAX; n > 0 && is_short(server); n--) {
        Remnant *remnant = find_oldest_remnant(server);
        Session *session;

        if (remnant == NULL)
            return;
        session = remnant->session;
        (void)remnant_end(remnant);
        session_check_kept(session, "buffers are short, and a connection has not come back");
    }
}

/* The first look is at once: it is where patience begins. Never more than one in an interval. */
static void
arm(Server *server)
{
    Loop *loop = &server->worker->loop;

    if (!timer_is_set(&server->pressure_timer))
        timer_set(&server->pressure_timer, loop,
                  MAX(loop->now, server->pressure_looked_at + INTERVAL));
}

static void
on_timer(Timer *timer)
{
    Server *server = list_entry(timer, Server, pressure_timer);
    guint n;

    if (!is_short(server)) {
        server->pressure_has_closed = FALSE;
        server->pressure_has_refused = FALSE;
        return;
    }

    server->pressure_looked_at = server->worker->loop.now;
    n = MIN(look_at_all(server), CLOSES_MAX);
    for (; n > 0 && is_short(server); n--) {
        Connection *connection = find_slowest(server);

        if (connection == NULL)
            break;
        server->pressure_has_closed = TRUE;
        connection_close(connection,
                         "buffers are short and too little has moved on the connection");
    }
    end_oldest_remnants(server);
    arm(server);
}

static void
on_wanted(gpointer user_data)
{
    arm(user_data);
}

void
pressure_start(Server *server)
{
    timer_init(&server->pressure_timer, on_timer);
    pool_on_wanted(server->worker->pool, on_wanted, server);
}

void
pressure_stop(Server *server)
{
    pool_on_wanted(server->worker->pool, NULL, NULL);
    timer_cancel(&server->pressure_timer);
}

void
pressure_refused(Server *server)
{
    server->pressure_has_refused = TRUE;
    arm(server);
}

gsize
pressure_share(const Server *server, gsize max)
{
    return MIN(max, pool_available(server->worker->pool) / 2);
}
