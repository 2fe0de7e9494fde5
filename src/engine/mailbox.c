/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Mailbox: a lock-free stack that the receiver turns round
 *
 * Senders push at the head; the receiver takes the whole stack at once and
 * reverses it, so that messages of one sender come out in the order they went
 * in. An empty mailbox is in one of two states: NULL means that the receiver
 * is awake and will look again before it sleeps, IDLE that it may sleep. Only
 * the sender that takes the head out of IDLE writes the eventfd, so a burst
 * costs one system call, and a receiver that is busy draining costs none.
 *
 * That sender writes after its message is visible, when the receiver may have
 * seen it already for another reason. The receiver therefore counts: each time
 * it finds that the head left IDLE, one write is owed to it, and each count
 * read from the eventfd pays. mailbox_deinit() waits for what is owed, and so
 * nobody writes to a descriptor that is closed.
 */

#include "engine/mailbox.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "util/error.h"
#include "util/fd.h"

/* How often mailbox_drain() looks again before others get their turn */
#define ROUNDS_MAX 8

/* An address that no message has */
static Message *
mailbox_idle(const Mailbox *mailbox)
{
    return (Message *)(guintptr)mailbox;
}

gboolean
mailbox_init(Mailbox *mailbox, GError **ret_error)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0) {
        error_set_errno(ret_error, LUNPORT_ERROR_FAILED, errno,
                        "Failed to create an event descriptor");
        return FALSE;
    }

    *mailbox = (Mailbox){ .event_fd = fd, .is_idle = TRUE };
    mailbox->head = mailbox_idle(mailbox);
    return TRUE;
}

static void
mailbox_ring(Mailbox *mailbox)
{
    guint64 one = 1;
    gssize n;

    do {
        n = write(mailbox->event_fd, &one, sizeof(one));
    } while (n < 0 && errno == EINTR);
    g_assert(n == sizeof(one));
}

/* Take what was rung */
static void
mailbox_answer(Mailbox *mailbox)
{
    guint64 count;

    if (read(mailbox->event_fd, &count, sizeof(count)) == sizeof(count)) {
        g_assert((guint64)mailbox->n_owed + 1 >= count);
        mailbox->n_owed -= (gint64)count;
    }
}

void
mailbox_deinit(Mailbox *mailbox)
{
    struct pollfd pollfd = { .fd = mailbox->event_fd, .events = POLLIN };
    Message *head;

    if (mailbox->event_fd < 0)
        return;

    head = __atomic_load_n(&mailbox->head, __ATOMIC_ACQUIRE);
    g_assert(head == NULL || head == mailbox_idle(mailbox));

    mailbox_answer(mailbox);
    while (mailbox->n_owed > 0) {
        (void)poll(&pollfd, 1, -1);
        mailbox_answer(mailbox);
    }
    fd_close(&mailbox->event_fd);
}

void
mailbox_send(Mailbox *mailbox, Message *message, MessageFn deliver)
{
    Message *idle = mailbox_idle(mailbox);
    Message *old = __atomic_load_n(&mailbox->head, __ATOMIC_RELAXED);

    message->deliver = deliver;
    do {
        message->next = old == idle ? NULL : old;
    } while (!__atomic_compare_exchange_n(&mailbox->head, &old, message, TRUE, __ATOMIC_RELEASE,
                                          __ATOMIC_RELAXED));

    if (old == idle)
        mailbox_ring(mailbox);
}

/* All that has come, oldest first */
static Message *
mailbox_take(Mailbox *mailbox)
{
    Message *newest = __atomic_exchange_n(&mailbox->head, NULL, __ATOMIC_ACQUIRE);
    Message *oldest = NULL;

    if (newest == mailbox_idle(mailbox)) {
        mailbox->is_idle = FALSE;
        return NULL;
    }
    if (newest != NULL && mailbox->is_idle) {
        mailbox->is_idle = FALSE;
        mailbox->n_owed++;
    }

    while (newest != NULL) {
        Message *next = newest->next;

        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

static guint
mailbox_deliver(Message *message)
{
    guint n = 0;

    while (message != NULL) {
        Message *next = message->next; /* the message is gone with the call */

        message->deliver(message);
        message = next;
        n++;
    }
    return n;
}

guint
mailbox_drain(Mailbox *mailbox)
{
    Message *expected = NULL;
    guint n = 0;

    mailbox_answer(mailbox);

    for (guint i = 0; i < ROUNDS_MAX; i++) {
        n += mailbox_deliver(mailbox_take(mailbox));

        expected = NULL;
        if (__atomic_compare_exchange_n(&mailbox->head, &expected, mailbox_idle(mailbox), FALSE,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            mailbox->is_idle = TRUE;
            return n;
        }
    }

    /* More came all the time: ring ourselves, so that the rest has its turn */
    mailbox->n_owed++;
    mailbox_ring(mailbox);
    return n;
}
