/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The thread that keeps an iSNS server told
 *
 * It has one plan, and takes the newest one when it is free for it; plans in between are never seen.
 * What the server was told stays with it until the plan changes, our addresses change, or a query
 * finds that the server has forgotten us: because it has lost its memory in a restart, or the
 * registration period has ended while we could not reach it. The connection is kept open between
 * questions, so the end of the server is seen when it comes.
 *
 * After a failure it waits, twice as long each time up to a minute. The control thread hears of
 * changes of the state only, by one message that is sent again when it has come back.
 *
 * The two threads share what is behind the mutex, and nothing else.
 */

#include "control/isns.h"

#include <ifaddrs.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "control/isns-call.h"
#include "engine/thread.h"
#include "util/error.h"
#include "util/fd.h"

#define RETRY_SECONDS_MAX   60
#define REFRESH_SECONDS_MAX (ISNS_PERIOD / 3)
#define REFRESH_SECONDS_MIN 5
#define STOP_MILLISECONDS   1000

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
    guint refresh_seconds;
    guint retry_seconds; /* 0: the last attempt was good */
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
 * Addresses
 */

static gboolean
is_local(const Address *address)
{
    if (address->sa.sa_family == AF_INET)
        return (g_ntohl(address->in.sin_addr.s_addr) >> 24) == 127 ||
               (g_ntohl(address->in.sin_addr.s_addr) >> 16) == 0xa9fe;
    return IN6_IS_ADDR_LOOPBACK(&address->in6.sin6_addr) ||
           IN6_IS_ADDR_LINKLOCAL(&address->in6.sin6_addr);
}

static void
add_portal(GArray *portals, const Address *address, guint16 tag)
{
    IsnsPortal portal = { .address = *address, .tag = tag };

    if (portal.address.sa.sa_family == AF_INET6)
        portal.address.in6.sin6_scope_id = 0;
    for (guint i = 0; i < portals->len; i++) {
        if (address_is_equal(&g_array_index(portals, IsnsPortal, i).address, &portal.address))
            return;
    }
    if (portals->len < ISNS_PORTALS_MAX)
        g_array_append_val(portals, portal);
}

/* One for each address of the machine that the wildcard @portal stands for */
static void
add_wildcard(GArray *portals, const IsnsPlanPortal *portal, const struct ifaddrs *interfaces,
             gboolean local)
{
    for (const struct ifaddrs *i = interfaces; i != NULL; i = i->ifa_next) {
        Address address = { 0 };

        if (i->ifa_addr == NULL || (i->ifa_flags & IFF_UP) == 0 ||
            (portal->interface[0] != '\0' && strcmp(portal->interface, i->ifa_name) != 0))
            continue;
        if (i->ifa_addr->sa_family == AF_INET) {
            memcpy(&address.in, i->ifa_addr, sizeof(address.in));
            address.size = sizeof(address.in);
        } else if (i->ifa_addr->sa_family == AF_INET6 && portal->address.sa.sa_family == AF_INET6) {
            memcpy(&address.in6, i->ifa_addr, sizeof(address.in6));
            address.size = sizeof(address.in6);
        } else {
            continue;
        }
        if (is_local(&address) != local)
            continue;
        address_set_port(&address, address_port(&portal->address));
        add_portal(portals, &address, portal->tag);
    }
}

static void
expand(GArray *portals, const GArray *wanted, const struct ifaddrs *interfaces, gboolean local)
{
    for (guint i = 0; i < wanted->len; i++) {
        const IsnsPlanPortal *portal = &g_array_index(wanted, IsnsPlanPortal, i);

        if (address_is_wildcard(&portal->address))
            add_wildcard(portals, portal, interfaces, local);
        else if ((!portal->is_announced && is_local(&portal->address)) == local)
            add_portal(portals, &portal->address, portal->tag);
    }
}

GArray *
isns_expand_portals(const GArray *wanted)
{
    GArray *portals = g_array_new(FALSE, TRUE, sizeof(IsnsPortal));
    struct ifaddrs *interfaces = NULL;

    (void)getifaddrs(&interfaces);
    expand(portals, wanted, interfaces, FALSE);
    if (portals->len == 0)
        expand(portals, wanted, interfaces, TRUE);
    if (interfaces != NULL)
        freeifaddrs(interfaces);
    return portals;
}

static gboolean
portals_are_equal(const GArray *a, const GArray *b)
{
    if (a == NULL || a->len != b->len)
        return FALSE;

    for (guint i = 0; i < a->len; i++) {
        const IsnsPortal *left = &g_array_index(a, IsnsPortal, i);
        const IsnsPortal *right = &g_array_index(b, IsnsPortal, i);

        if (left->tag != right->tag || !address_is_equal(&left->address, &right->address))
            return FALSE;
    }
    return TRUE;
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
}

static IsnsEntity
told_entity(const Isns *isns)
{
    return (IsnsEntity){ .entity = isns->told_entity,
                         .source = isns->source,
                         .portals = (const IsnsPortal *)(gconstpointer)isns->portals->data,
                         .n_portals = isns->portals->len };
}

static gboolean
register_node(Isns *isns, guint i, GError **ret_error)
{
    const IsnsPlanNode *node = g_ptr_array_index(isns->plan->nodes, i);
    const IsnsNode shown = {
        .name = node->name, .alias = node->alias, .tags = node->tags, .n_tags = node->n_tags
    };
    const IsnsEntity entity = told_entity(isns);
    IsnsAnswer answer;

    if (!isns_link_ask(
            &isns->link,
            isns_message_register((guint16)(isns->link.xid + 1), &entity, &shown, i == 0), &answer,
            ret_error))
        return FALSE;
    if (answer.status != 0)
        return fail_status(&answer, ret_error);
    if (answer.period != 0)
        isns->refresh_seconds = CLAMP(answer.period / 3, REFRESH_SECONDS_MIN, REFRESH_SECONDS_MAX);
    return TRUE;
}

/* All of the plan, in place of what the server has of us. @portals is taken. */
static gboolean
register_all(Isns *isns, GArray *portals, GError **ret_error)
{
    const IsnsPlanNode *first = g_ptr_array_index(isns->plan->nodes, 0);

    forget(isns);
    isns->portals = portals;
    isns->source = g_strdup(first->name);
    isns->told_entity = g_strdup(isns->plan->entity);
    isns->is_outdated = TRUE;
    isns->refresh_seconds = REFRESH_SECONDS_MAX;
    for (guint i = 0; i < isns->plan->nodes->len; i++) {
        if (!register_node(isns, i, ret_error))
            return FALSE;
    }
    isns->is_outdated = FALSE;
    return TRUE;
}

/* FALSE without an error: not any more */
static gboolean
is_known(Isns *isns, GError **ret_error)
{
    const IsnsEntity entity = told_entity(isns);
    IsnsAnswer answer;

    return isns_link_ask(&isns->link, isns_message_query((guint16)(isns->link.xid + 1), &entity),
                         &answer, ret_error) &&
           answer.status == 0 && answer.n_values > 0;
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
}

/* Bring the server up to date, or see that it is */
static gboolean
attempt(Isns *isns, GError **ret_error)
{
    g_autoptr(GArray) portals = isns_expand_portals(isns->plan->portals);
    g_autoptr(GError) error = NULL;

    if (portals->len == 0) {
        deregister(isns);
        return TRUE;
    }
    if (!isns_link_is_open(&isns->link) &&
        !isns_link_open(&isns->link, isns->plan->server, isns->cancel, ret_error))
        return FALSE;

    if (!isns->is_outdated && portals_are_equal(isns->portals, portals)) {
        if (is_known(isns, &error))
            return TRUE;
        if (error != NULL) {
            g_propagate_error(ret_error, g_steal_pointer(&error));
            return FALSE;
        }
    }
    return register_all(isns, g_steal_pointer(&portals), ret_error);
}

static void
leave(Isns *isns)
{
    deregister(isns);
    isns_link_close(&isns->link);
    isns->retry_seconds = 0;
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

/* Until there is a plan, the server goes or says something, or it is time. What it says may be that we
 * are not registered any more, so it is asked then. Returns whether the server has gone. */
static gboolean
rest(Isns *isns, int seconds)
{
    struct pollfd fds[2] = { { .fd = isns->bell, .events = POLLIN },
                             { .fd = isns->link.fd, .events = POLLIN } };
    gboolean is_open = isns_link_is_open(&isns->link);

    (void)poll(fds, is_open ? 2 : 1, seconds < 0 ? -1 : seconds * 1000);
    return is_open && fds[1].revents != 0 && !isns_link_serve(&isns->link);
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
    isns->link = (IsnsLink){ .fd = -1 };
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
