/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * libaio bound to a loop
 *
 * aio_submit() only queues. At the end of the turn one io_submit() carries all
 * that was queued, as far as the context has room; what does not fit goes when
 * completions have made room. The kernel takes a prefix of what it is offered
 * and reports an error only about the first request, so an error with nothing
 * taken is that of the request at the head: it fails alone and the rest goes
 * on. EAGAIN at this place means "not now" and keeps the queue as it is; EAGAIN
 * in a completion (RWF_NOWAIT) is a result like any other.
 *
 * The eventfd is watched edge-triggered for input only and is never read: each
 * completion adds to it, which is an edge, and the counter does not matter.
 */

#include "engine/aio.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "util/error.h"
#include "util/fd.h"

#define AIO_EVENTS_MIN 64
#define BATCH          64

/* When the kernel has no memory and no completion of ours will tell when it has */
#define RETRY_USEC (2 * USEC_PER_MSEC)

typedef enum {
    AIO_UNKNOWN, /* nobody has asked yet */
    AIO_USABLE,
    AIO_UNUSABLE,
} AioState;

struct Aio {
    Loop *loop;
    AioState state;
    io_context_t context;
    guint n_events;
    int event_fd;
    Watch watch;
    Deferred flush;
    Timer retry;
    List queue;
    guint n_queued;
    guint n_submitted;
};

static AioRequest *
aio_request_of(struct iocb *iocb)
{
    return (AioRequest *)(void *)((char *)iocb - G_STRUCT_OFFSET(AioRequest, iocb));
}

static AioRequest *
aio_pop(Aio *aio)
{
    ListLink *link = list_pop(&aio->queue);

    g_assert(link != NULL);
    aio->n_queued--;
    return list_entry(link, AioRequest, link);
}

/* Offer the head of the queue. Returns how many the kernel took, or -errno about the first */
static int
aio_offer(Aio *aio)
{
    struct iocb *iocbs[BATCH];
    guint room = MIN(aio->n_events - aio->n_submitted, BATCH);
    guint n = 0;
    int r;

    list_foreach(link, &aio->queue) {
        if (n == room)
            break;
        iocbs[n++] = &list_entry(link, AioRequest, link)->iocb;
    }

    do {
        r = io_submit(aio->context, (long)n, iocbs);
    } while (r == -EINTR);
    return r;
}

static void
aio_flush(Aio *aio)
{
    while (aio->n_queued > 0 && aio->n_submitted < aio->n_events) {
        int r = aio_offer(aio);

        if (r == 0 || r == -EAGAIN) {
            if (aio->n_submitted == 0)
                timer_set(&aio->retry, aio->loop, aio->loop->now + RETRY_USEC);
            return;
        }

        if (r < 0) {
            AioRequest *request = aio_pop(aio);

            request->done(request, r);
            continue;
        }

        aio->n_submitted += (guint)r;
        for (int i = 0; i < r; i++)
            (void)aio_pop(aio);
    }
}

static void
on_flush(Deferred *deferred)
{
    aio_flush(list_entry(deferred, Aio, flush));
}

static void
on_retry(Timer *timer)
{
    aio_flush(list_entry(timer, Aio, retry));
}

static void
on_completions(Watch *watch, guint32 ready)
{
    Aio *aio = list_entry(watch, Aio, watch);
    struct io_event events[BATCH];
    struct timespec no_time = { 0 };
    int n;

    /* Before looking: what completes from here on is a new edge */
    watch_clear(watch, EPOLLIN);

    do {
        n = io_getevents(aio->context, 0, BATCH, events, &no_time);

        for (int i = 0; i < n; i++) {
            AioRequest *request = aio_request_of(events[i].obj);

            aio->n_submitted--;
            request->done(request, (gint64)(glong)events[i].res);
        }
    } while (n == BATCH || n == -EINTR);

    g_assert(n >= 0);
    if (aio->n_queued > 0)
        deferred_run(&aio->flush, aio->loop);
}

Aio *
aio_new(Loop *loop, GError **ret_error)
{
    Aio *aio = g_new0(Aio, 1);

    aio->loop = loop;
    aio->event_fd = -1;
    watch_init(&aio->watch, on_completions);
    aio->watch.asked = EPOLLIN;
    deferred_init(&aio->flush, on_flush);
    timer_init(&aio->retry, on_retry);
    list_init(&aio->queue);
    return aio;
}

void
aio_free(Aio *aio)
{
    if (aio == NULL)
        return;

    g_assert(aio_n_in_flight(aio) == 0);

    watch_stop(&aio->watch);
    deferred_cancel(&aio->flush);
    timer_cancel(&aio->retry);
    if (aio->context != NULL)
        (void)io_destroy(aio->context);
    fd_close(&aio->event_fd);
    g_free(aio);
}

static gboolean
aio_set_up(Aio *aio)
{
    autofd int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    io_context_t context = NULL;
    guint n_events = AIO_EVENTS;
    int r;

    if (fd < 0)
        return FALSE;

    /* EAGAIN: fs.aio-max-nr */
    while ((r = io_setup((int)n_events, &context)) == -EAGAIN && n_events > AIO_EVENTS_MIN)
        n_events /= 2;
    if (r < 0)
        return FALSE;

    if (watch_start(&aio->watch, aio->loop, fd) < 0) {
        (void)io_destroy(context);
        return FALSE;
    }

    watch_select(&aio->watch, EPOLLIN);
    aio->context = context;
    aio->n_events = n_events;
    aio->event_fd = fd_take(&fd);
    return TRUE;
}

gboolean
aio_is_usable(Aio *aio)
{
    if (aio->state == AIO_UNKNOWN)
        aio->state = aio_set_up(aio) ? AIO_USABLE : AIO_UNUSABLE;

    return aio->state == AIO_USABLE;
}

void
aio_submit(Aio *aio, AioRequest *request)
{
    gboolean is_usable = aio_is_usable(aio);

    g_assert(is_usable);

    io_set_eventfd(&request->iocb, aio->event_fd);
    list_append(&aio->queue, &request->link);
    aio->n_queued++;
    deferred_run(&aio->flush, aio->loop);
}

guint
aio_n_in_flight(const Aio *aio)
{
    return aio->n_queued + aio->n_submitted;
}
