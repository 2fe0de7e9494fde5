/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * Mailboxes: how threads talk
 *
 * Many threads send, one receives. The node is embedded in the request, so a
 * mailbox never fills and sending never fails or allocates. @deliver runs on
 * the receiver's thread and owns the message from then on; a request is
 * answered by sending the same node back with another @deliver. Messages of
 * one sender arrive in the order they were sent.
 *
 * The eventfd is written only when the receiver may sleep. These are, with
 * engine/snapshot.c and the counters of the offload pool, the only atomics of
 * the program.
 */

typedef struct Message Message;
typedef void (*MessageFn)(Message *message);

struct Message {
    Message *next;
    MessageFn deliver;
};

typedef struct {
    Message *head; /* atomic: newest first */
    int event_fd;

    /* the receiver's */
    gboolean is_idle; /* the next sender rings */
    gint64 n_owed;    /* writes to event_fd that have not been read yet */
} Mailbox;

/* A mailbox keeps its address from mailbox_init() on: it is not to be copied. */

gboolean mailbox_init(Mailbox *mailbox, GError **ret_error);
void mailbox_deinit(Mailbox *mailbox); /* asserts that it is empty */

/* From any thread. @message is gone for the sender. */
void mailbox_send(Mailbox *mailbox, Message *message, MessageFn deliver);

/* On the receiver's thread, when event_fd is readable: deliver all. Returns how many. */
guint mailbox_drain(Mailbox *mailbox);
