/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The thread that keeps an iSNS server told
 *
 * It has one plan, and takes the newest one when it is free for it; plans in between are never seen.
 * What the server was told stays with it until the plan changes, our addresses change, or a query
 * finds that the server has forgotten a node: because it has lost its memory in a restart, the
 * registration period has ended while we could not reach it, or somebody has removed it. Each query is
 * after the next node, or after those that the server says are removed, at most once a second. The
 * connection is kept open between questions, so the end of the server is seen when it comes.
 *
 * The server is asked to look after us too (inquiries), so that it forgets us soon when we die, and to
 * tell of removals; for both it connects to the inbox, which is served while the thread rests. It is
 * registered with one portal, at the address by which we reach the server, if there is such a portal.
 * A server that refuses is told the same without an inbox. A packet filter in between would have it
 * forget a service that works: when inquiries stay out we register again, after none at all without
 * an inbox, and that is not tried again until the server has forgotten us or is another one.
 *
 * After a failure it waits, twice as long each time up to a minute. The control thread hears of
 * changes of the state only, by one message that is sent again when it has come back.
 *
 * The two threads share what is behind the mutex, and nothing else.
 */

#include "control/isns.h"

#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "control/isns-call.h"
#include "control/isns-inbox.h"
#include "control/isns-portals.h"
#include "engine/thread.h"
#include "util/error.h"
#include "util/fd.h"

#define RETRY_SECONDS_MAX   60
#define REFRESH_SECONDS_MAX (ISNS_PERIOD / 3)
#define REFRESH_SECONDS_MIN 5
#define INQUIRY_SECONDS_MAX 3600
#define STOP_MILLISECONDS   1000

/* Each of them has a connection to the inbox, and hears of the others that it can see */
#define NOTIFIED_NODES_MAX 4

struct Isns {
    Message message; /* first: to the control thread */
    Mailbox *mailbox;
    IsnsStateFn fn;
    gpointer user_data;
    GThread *thread;
    GCancellable *cancel; /* ends whatever the thread waits for */
    int bell;             /* eventfd: there is a plan, or the end */
    int ended;            /* eventfd */

    pthread_mutex_t mutex;
    IsnsPlan *posted; /* NULL: the thread has it */
    gboolean is_stopping;
    gboolean is_sent; /* @message is on its way, or to be sent again */
    ModelIsns state;
    char *error;

    /* the thread's */
    IsnsPlan *plan;
    IsnsLink link;
    GArray *portals; /* that the server was told; NULL: it was told nothing */
    char *source;    /* in whose name */
    char *told_entity;
    gboolean is_outdated; /* the plan is newer than that */
    gboolean is_alone;    /* the server has nothing of ours under another name of the host */
    guint next_node;      /* that is asked after */
    gboolean has_suspects;
    gint64 looked; /* when the server was asked last */
    guint refresh_seconds;
    guint retry_seconds; /* 0: the last attempt was good */

    IsnsInbox inbox;
    IsnsEars ears;
    gboolean is_unheard;   /* there shall be no inbox, as it is of no use with this server */
    guint inquiry_seconds; /* between inquiries; 0: there is no inbox */
    gint64 heard;          /* the last inquiry, or begin of waiting for it */
    gboolean is_heard;     /* it has found us since the registration */
    gboolean is_same_link; /* as at the registration: the server was not restarted */
};

static void
free_node(gpointer data)
{
    IsnsPlanNode *node = data;

    g_free(node->name);
    g_free(node->alias);
    g_free(node->tags);
    g_free(node);
}

IsnsPlan *
isns_plan_new(const char *server, const char *entity)
{
    IsnsPlan *plan = g_new0(IsnsPlan, 1);

    plan->server = g_strdup(server);
    plan->entity = g_strdup(entity);
    plan->mark = g_strdup("");
    plan->portals = g_array_new(FALSE, FALSE, sizeof(IsnsPlanPortal));
    plan->nodes = g_ptr_array_new_with_free_func(free_node);
    return plan;
}

void
isns_plan_free(IsnsPlan *plan)
{
    if (plan == NULL)
        return;

    g_free(plan->server);
    g_free(plan->entity);
    g_free(plan->mark);
    g_array_unref(plan->portals);
    g_ptr_array_unref(plan->nodes);
    g_free(plan);
}

void
isns_plan_add_node(IsnsPlan *plan, const char *name, const char *alias, const guint16 *tags,
                   guint n_tags)
{
    IsnsPlanNode *node = g_new0(IsnsPlanNode, 1);

    node->name = g_strdup(name);
    node->alias = g_strdup(alias);
    node->tags = g_memdup2(tags, n_tags * sizeof(guint16));
    node->n_tags = n_tags;
    g_ptr_array_add(plan->nodes, node);
}

/*
 * Telling the control thread
 */

static void
on_delivered(Message *message)
{
    Isns *isns = (Isns *)message;
    g_autofree char *error = NULL;
    ModelIsns state;

    (void)pthread_mutex_lock(&isns->mutex);
    isns->is_sent = FALSE;
    state = isns->state;
    error = g_strdup(isns->error);
    (void)pthread_mutex_unlock(&isns->mutex);
    isns->fn(state, error, isns->user_data);
}

/* A change before the message has arrived is told by it.
 *
 * @error may have been written by a thread of GLib's resolver, whose locks a thread sanitizer does not
 * see, so only GLib itself reads it here. */
static void
report(Isns *isns, ModelIsns state, const char *error)
{
    g_autofree char *own = g_strdup(error);
    gboolean sends = FALSE;

    (void)pthread_mutex_lock(&isns->mutex);
    if (isns->state != state || strcmp(isns->error, own) != 0) {
        isns->state = state;
        g_free(isns->error);
        isns->error = g_steal_pointer(&own);
        sends = !isns->is_sent;
        isns->is_sent = TRUE;
    }
    (void)pthread_mutex_unlock(&isns->mutex);
    if (sends)
        mailbox_send(isns->mailbox, &isns->message, on_delivered);
}

/*
 * The thread
 */

static gboolean
fail_status(const IsnsAnswer *answer, GError **ret_error)
{
    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_FAILED, "It refuses: %s (%u)",
                isns_call_status_to_string(answer->status), answer->status);
    return FALSE;
}

static void
forget(Isns *isns)
{
    g_clear_pointer(&isns->portals, g_array_unref);
    g_clear_pointer(&isns->source, g_free);
    g_clear_pointer(&isns->told_entity, g_free);
    isns->ears.entity = NULL;
    isns->inquiry_seconds = 0;
}

static IsnsEntity
told_entity(const Isns *isns)
{
    return (IsnsEntity){ .entity = isns->told_entity,
                         .source = isns->source,
                         .portals = (const IsnsPortal *)(gconstpointer)isns->portals->data,
                         .n_portals = isns->portals->len };
}

/* Take back what the server was told; whether that succeeds is of no consequence */
static void
deregister(Isns *isns)
{
    IsnsEntity entity;
    IsnsAnswer answer;

    if (isns->portals != NULL && isns_link_is_open(&isns->link)) {
        entity = told_entity(isns);
        (void)isns_link_ask(&isns->link,
                            isns_message_deregister((guint16)(isns->link.xid + 1), &entity),
                            &answer, NULL);
    }
    forget(isns);
    isns_inbox_close(&isns->inbox);
}

/*
 * The inbox
 */

static void
on_inquiry(gpointer data)
{
    Isns *isns = data;

    isns->heard = g_get_monotonic_time();
    isns->is_heard = TRUE;
}

static void
on_removed(const char *name, gsize length, gpointer data)
{
    Isns *isns = data;

    isns->is_heard = TRUE;
    for (guint i = 0; isns->plan != NULL && i < isns->plan->nodes->len; i++) {
        IsnsPlanNode *node = g_ptr_array_index(isns->plan->nodes, i);

        if (strlen(node->name) == length && memcmp(node->name, name, length) == 0)
            isns->has_suspects = node->is_suspect = TRUE;
    }
}

/* The portal that has it, if it shall be there */
static IsnsPortal *
find_inbox(GArray *portals)
{
    for (guint i = 0; i < portals->len; i++) {
        if (g_array_index(portals, IsnsPortal, i).inbox != 0)
            return &g_array_index(portals, IsnsPortal, i);
    }
    return NULL;
}

static void
place_inbox(Isns *isns, GArray *portals)
{
    IsnsPortal *portal = find_inbox(portals);
    Address local;

    if (portal != NULL)
        portal->inbox = 0;
    portal = NULL;
    if (!isns->is_unheard && address_of_socket(isns->link.fd, &local))
        portal = isns_portals_find(portals, &local);
    if (portal == NULL)
        isns_inbox_close(&isns->inbox);
    else if (isns_inbox_open(&isns->inbox, isns->link.fd))
        portal->inbox = address_port(&isns->inbox.local);
}

/* FALSE: there was none */
static gboolean
give_up_inbox(Isns *isns)
{
    IsnsPortal *portal = find_inbox(isns->portals);

    if (portal == NULL)
        return FALSE;

    portal->inbox = 0;
    isns->is_unheard = TRUE;
    isns->inquiry_seconds = 0;
    isns_inbox_close(&isns->inbox);
    return TRUE;
}

/* When an inquiry is missing: well before the server has sent them all in vain, which it does within
 * twice the interval (RFC 4171 6.3.4) */
static gint64
inquiry_due(const Isns *isns)
{
    return isns->inquiry_seconds == 0
               ? G_MAXINT64
               : isns->heard + isns->inquiry_seconds * G_TIME_SPAN_SECOND * 3 / 2;
}

/* A server that has found us before may have forgotten to inquire, one that never has cannot */
static void
judge_silence(Isns *isns)
{
    if (g_get_monotonic_time() < inquiry_due(isns))
        return;
    if (isns->is_heard)
        isns->is_outdated = TRUE;
    else
        isns->is_unheard = TRUE;
}

/* Having been forgotten: was it because our answers did not arrive, by an interval that it keeps to
 * itself? */
static gboolean
is_unreachable(const Isns *isns)
{
    return isns->inquiry_seconds != 0 && !isns->is_heard && isns->is_same_link;
}

/* Requests that have come meanwhile */
static void
look_into_inbox(Isns *isns)
{
    struct pollfd fds[ISNS_INBOX_FDS];
    gint64 due;

    isns_inbox_poll(&isns->inbox, fds, &due);
    if (poll(fds, G_N_ELEMENTS(fds), 0) > 0)
        isns_inbox_serve(&isns->inbox, fds, &isns->ears);
}

/*
 * Registering
 */

static gboolean
tell_node(Isns *isns, guint i, IsnsAnswer *ret_answer, GError **ret_error)
{
    const IsnsPlanNode *node = g_ptr_array_index(isns->plan->nodes, i);
    const IsnsNode shown = {
        .name = node->name, .alias = node->alias, .tags = node->tags, .n_tags = node->n_tags
    };
    const IsnsEntity entity = told_entity(isns);

    return isns_link_ask(
        &isns->link, isns_message_register((guint16)(isns->link.xid + 1), &entity, &shown, i == 0),
        ret_answer, ret_error);
}

static gboolean
register_node(Isns *isns, guint i, GError **ret_error)
{
    IsnsAnswer answer;

    if (!tell_node(isns, i, &answer, ret_error))
        return FALSE;
    /* It may be the inbox that it does not like, whatever it says */
    if (answer.status != 0 && i == 0 && give_up_inbox(isns) &&
        !tell_node(isns, i, &answer, ret_error))
        return FALSE;
    if (answer.status != 0)
        return fail_status(&answer, ret_error);

    if (answer.period != 0)
        isns->refresh_seconds = CLAMP(answer.period / 3, REFRESH_SECONDS_MIN, REFRESH_SECONDS_MAX);
    if (answer.inquiry != 0 && isns->inquiry_seconds != 0)
        isns->inquiry_seconds = MIN(answer.inquiry, INQUIRY_SECONDS_MAX);
    return TRUE;
}

/* A server that does not want to tell of removals is asked often enough */
static gboolean
register_for_removals(Isns *isns, GError **ret_error)
{
    guint n = isns->inquiry_seconds != 0 ? MIN(isns->plan->nodes->len, NOTIFIED_NODES_MAX) : 0;
    IsnsAnswer answer = { 0 };

    for (guint i = 0; i < n && answer.status == 0; i++) {
        const IsnsPlanNode *node = g_ptr_array_index(isns->plan->nodes, i);

        if (!isns_link_ask(&isns->link,
                           isns_message_notify((guint16)(isns->link.xid + 1), node->name), &answer,
                           ret_error))
            return FALSE;
    }
    return TRUE;
}

static void
clear_suspects(Isns *isns)
{
    for (guint i = 0; i < isns->plan->nodes->len; i++) {
        IsnsPlanNode *node = g_ptr_array_index(isns->plan->nodes, i);

        node->is_suspect = FALSE;
    }
    isns->has_suspects = FALSE;
}

/* What a service that did not end in order has left there when the host had another name: the server would
 * refuse to have our portals in two entities until the old one's time is over */
static gboolean
release_former(Isns *isns, GError **ret_error)
{
    const IsnsPlan *plan = isns->plan;

    for (guint i = 0; i < plan->nodes->len && plan->mark[0] != '\0' && !isns->is_alone; i++) {
        const IsnsPlanNode *node = g_ptr_array_index(plan->nodes, i);
        IsnsAnswer answer, unused;
        IsnsEntity former;

        if (!isns_link_ask(&isns->link,
                           isns_message_query_entity((guint16)(isns->link.xid + 1), node->name),
                           &answer, ret_error))
            return FALSE;
        if (answer.status != 0 || !g_str_has_suffix(answer.entity, plan->mark) ||
            strcmp(answer.entity, plan->entity) == 0)
            continue;
        former = (IsnsEntity){ .entity = answer.entity, .source = node->name };
        if (!isns_link_ask(&isns->link,
                           isns_message_deregister((guint16)(isns->link.xid + 1), &former), &unused,
                           ret_error))
            return FALSE;
    }
    isns->is_alone = TRUE;
    return TRUE;
}

/* All of the plan, in place of what the server has of us. @portals is taken. */
static gboolean
register_all(Isns *isns, GArray *portals, GError **ret_error)
{
    const IsnsPlanNode *first = g_ptr_array_index(isns->plan->nodes, 0);

    forget(isns);
    clear_suspects(isns);
    isns->portals = portals;
    isns->source = g_strdup(first->name);
    isns->told_entity = g_strdup(isns->plan->entity);
    isns->ears.entity = isns->told_entity;
    isns->is_outdated = TRUE;
    isns->is_heard = FALSE;
    isns->refresh_seconds = REFRESH_SECONDS_MAX;
    isns->inquiry_seconds = find_inbox(portals) != NULL ? ISNS_INQUIRY_SECONDS : 0;
    for (guint i = 0; i < isns->plan->nodes->len; i++) {
        if (!register_node(isns, i, ret_error))
            return FALSE;
        look_into_inbox(isns);
    }
    if (!register_for_removals(isns, ret_error))
        return FALSE;

    isns->heard = isns->looked = g_get_monotonic_time();
    isns->is_same_link = TRUE;
    isns->is_outdated = FALSE;
    return TRUE;
}

/*
 * Seeing that the server still knows
 */

static gboolean
is_known(Isns *isns, const IsnsPlanNode *node, gboolean *ret_known, GError **ret_error)
{
    IsnsAnswer answer;

    if (!isns_link_ask(&isns->link, isns_message_query((guint16)(isns->link.xid + 1), node->name),
                       &answer, ret_error))
        return FALSE;
    *ret_known = answer.status == 0 && answer.n_values > 0;
    return TRUE;
}

/* The nodes under suspicion, else the next one. FALSE: the link has failed. */
static gboolean
look(Isns *isns, gboolean *ret_known, GError **ret_error)
{
    const GPtrArray *nodes = isns->plan->nodes;
    gboolean had_suspects = isns->has_suspects;

    isns->looked = g_get_monotonic_time();
    if (!had_suspects)
        return is_known(isns, g_ptr_array_index(nodes, isns->next_node++ % nodes->len), ret_known,
                        ret_error);

    isns->has_suspects = FALSE;
    *ret_known = TRUE;
    for (guint i = 0; i < nodes->len && *ret_known; i++) {
        IsnsPlanNode *node = g_ptr_array_index(nodes, i);

        if (node->is_suspect && !is_known(isns, node, ret_known, ret_error)) {
            isns->has_suspects = TRUE;
            return FALSE;
        }
        node->is_suspect = FALSE;
    }
    return TRUE;
}

/* A new connection may be to a server that was restarted, and has to begin with its inquiries */
static gboolean
open_link(Isns *isns, GError **ret_error)
{
    if (isns_link_is_open(&isns->link))
        return TRUE;

    isns->heard = g_get_monotonic_time();
    isns->is_same_link = FALSE;
    return isns_link_open(&isns->link, isns->plan->server, ret_error);
}

/* Bring the server up to date, or see that it is */
static gboolean
attempt(Isns *isns, GError **ret_error)
{
    g_autoptr(GArray) portals = isns_portals_expand(isns->plan->portals);
    gboolean is_known = FALSE;

    if (portals->len == 0) {
        deregister(isns);
        return TRUE;
    }
    if (!open_link(isns, ret_error))
        return FALSE;

    judge_silence(isns);
    place_inbox(isns, portals);
    if (!isns->is_outdated && isns_portals_are_equal(isns->portals, portals)) {
        if (!look(isns, &is_known, ret_error) || is_known)
            return is_known;
        isns->is_unheard = is_unreachable(isns);
        place_inbox(isns, portals);
    }
    return release_former(isns, ret_error) &&
           register_all(isns, g_steal_pointer(&portals), ret_error);
}

static void
leave(Isns *isns)
{
    deregister(isns);
    isns_link_close(&isns->link);
    isns->retry_seconds = 0;
    isns->is_unheard = FALSE;
    isns->is_alone = FALSE;
}

static void
begin_plan(Isns *isns, IsnsPlan *plan)
{
    if (isns->plan == NULL || strcmp(isns->plan->server, plan->server) != 0) {
        leave(isns);
        report(isns, plan->server[0] != '\0' ? ISNS_CONNECTING : ISNS_OFF, "");
    }
    isns_plan_free(isns->plan);
    isns->plan = plan;
    isns->has_suspects = FALSE;
    isns->is_outdated = TRUE;
}

/* Returns FALSE at the end */
static gboolean
take_plan(Isns *isns)
{
    IsnsPlan *posted;
    gboolean is_stopping;
    guint64 count;

    (void)pthread_mutex_lock(&isns->mutex);
    (void)!read(isns->bell, &count, sizeof(count));
    posted = g_steal_pointer(&isns->posted);
    is_stopping = isns->is_stopping;
    (void)pthread_mutex_unlock(&isns->mutex);

    if (posted != NULL)
        begin_plan(isns, posted);
    if (is_stopping || isns->plan == NULL || isns->plan->nodes->len == 0)
        leave(isns);
    return !is_stopping;
}

static void
work(Isns *isns)
{
    g_autoptr(GError) error = NULL;

    if (attempt(isns, &error)) {
        isns->retry_seconds = 0;
        report(isns, isns->portals != NULL ? ISNS_REGISTERED : ISNS_CONNECTING, "");
        return;
    }

    isns_link_close(&isns->link);
    isns->retry_seconds =
        isns->retry_seconds == 0 ? 1 : MIN(isns->retry_seconds * 2, RETRY_SECONDS_MAX);
    if (!g_cancellable_is_cancelled(isns->cancel))
        report(isns, ISNS_UNAVAILABLE, error->message);
}

/* When there is something to be done besides the time that was asked for */
static gint64
work_due(const Isns *isns)
{
    gint64 due = inquiry_due(isns);

    /* It waits for the next attempt, whatever is to be done in that */
    if (isns->retry_seconds != 0 || !isns_link_is_open(&isns->link))
        return G_MAXINT64;
    if (isns->has_suspects)
        due = MIN(due, isns->looked + G_TIME_SPAN_SECOND);
    return due;
}

static int
milliseconds_until(gint64 due)
{
    gint64 left = due - g_get_monotonic_time();

    if (due == G_MAXINT64)
        return -1;
    return (int)CLAMP(left / G_TIME_SPAN_MILLISECOND + 1, 0, G_MAXINT);
}

/* Until there is a plan, the server goes or says something, or it is time. What it says on our own
 * connection may be that we are not registered any more, so it is asked then. Returns whether the
 * server has gone. @seconds: -1 is without end. */
static gboolean
rest(Isns *isns, int seconds)
{
    gint64 until = seconds < 0 ? G_MAXINT64 : g_get_monotonic_time() + seconds * G_TIME_SPAN_SECOND;
    struct pollfd fds[2 + ISNS_INBOX_FDS];

    for (;;) {
        gint64 wake = MIN(until, work_due(isns));
        gint64 due;

        fds[0] = (struct pollfd){ .fd = isns->bell, .events = POLLIN };
        fds[1] = (struct pollfd){ .fd = isns->link.fd, .events = POLLIN };
        isns_inbox_poll(&isns->inbox, fds + 2, &due);
        if (poll(fds, G_N_ELEMENTS(fds), milliseconds_until(MIN(wake, due))) >= 0)
            isns_inbox_serve(&isns->inbox, fds + 2, &isns->ears);
        else
            continue;

        if (fds[1].revents != 0)
            return !isns_link_serve(&isns->link);
        if (fds[0].revents != 0 || g_get_monotonic_time() >= wake)
            return FALSE;
    }
}

static gpointer
run(gpointer data)
{
    Isns *isns = data;
    const guint64 one = 1;

    while (take_plan(isns)) {
        if (isns->plan == NULL || isns->plan->server[0] == '\0') {
            (void)rest(isns, -1);
        } else if (isns->plan->nodes->len == 0) {
            /* There is nothing to be told; whether it is there will be seen then */
            report(isns, ISNS_CONNECTING, "");
            (void)rest(isns, -1);
        } else {
            work(isns);
            /* One that closes each connection at once is not asked without end */
            if (rest(isns,
                     (int)(isns->retry_seconds != 0 ? isns->retry_seconds : isns->refresh_seconds)))
                (void)rest(isns, 1);
        }
    }

    isns_link_close(&isns->link);
    isns_inbox_close(&isns->inbox);
    (void)!write(isns->ended, &one, sizeof(one));
    return NULL;
}

Isns *
isns_new(Mailbox *mailbox, IsnsStateFn fn, gpointer user_data, GError **ret_error)
{
    Isns *isns = g_new0(Isns, 1);

    isns->mailbox = mailbox;
    isns->fn = fn;
    isns->user_data = user_data;
    isns->cancel = g_cancellable_new();
    isns->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    isns->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    isns->link = (IsnsLink){ .fd = -1, .cancel = isns->cancel, .ears = &isns->ears };
    isns->ears = (IsnsEars){ .on_inquiry = on_inquiry, .on_removed = on_removed, .data = isns };
    isns_inbox_init(&isns->inbox);
    isns->error = g_strdup("");
    isns->refresh_seconds = REFRESH_SECONDS_MAX;
    (void)pthread_mutex_init(&isns->mutex, NULL);
    if (isns->bell >= 0 && isns->ended >= 0)
        isns->thread = thread_start("isns", run, isns, ret_error);
    else
        g_set_error_literal(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_FAILED,
                            "Failed to create an eventfd");
    if (isns->thread == NULL) {
        isns_free(isns);
        return NULL;
    }
    return isns;
}

/* With the mutex, so that the bell is heard once for what it was rung for */
static void
ring(Isns *isns)
{
    const guint64 one = 1;

    (void)!write(isns->bell, &one, sizeof(one));
}

void
isns_post(Isns *isns, IsnsPlan *plan)
{
    IsnsPlan *before;

    (void)pthread_mutex_lock(&isns->mutex);
    before = isns->posted;
    isns->posted = plan;
    ring(isns);
    (void)pthread_mutex_unlock(&isns->mutex);
    isns_plan_free(before);
}

void
isns_stop(Isns *isns)
{
    (void)pthread_mutex_lock(&isns->mutex);
    isns->is_stopping = TRUE;
    ring(isns);
    (void)pthread_mutex_unlock(&isns->mutex);
}

static void
end_thread(Isns *isns)
{
    struct pollfd ended = { .fd = isns->ended, .events = POLLIN };

    isns_stop(isns);
    (void)poll(&ended, 1, STOP_MILLISECONDS);
    g_cancellable_cancel(isns->cancel);
    (void)g_thread_join(isns->thread);
    if (isns->is_sent)
        (void)mailbox_drain(isns->mailbox);
}

void
isns_free(Isns *isns)
{
    if (isns == NULL)
        return;

    if (isns->thread != NULL)
        end_thread(isns);
    forget(isns);
    isns_plan_free(isns->plan);
    isns_plan_free(isns->posted);
    fd_close(&isns->bell);
    fd_close(&isns->ended);
    g_object_unref(isns->cancel);
    g_free(isns->error);
    (void)pthread_mutex_destroy(&isns->mutex);
    g_free(isns);
}
