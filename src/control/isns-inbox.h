/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <poll.h>

#include "control/isns-request.h"

/*
 * The port at which an iSNS server finds us
 *
 * Never blocks; its descriptors are polled by whoever has it. Who connects is the server or anybody,
 * so all of it is bounded: connections, what they may send, how long they take for it, and how often
 * it is looked at all.
 */

#define ISNS_INBOX_PEERS   8
#define ISNS_INBOX_FDS     (1 + ISNS_INBOX_PEERS)
#define ISNS_INBOX_SECONDS 10 /* for one message, and for its answer */
#define ISNS_INBOX_RATE    64 /* events a second */

typedef struct {
    int fd;          /* -1: none */
    gint64 since;    /* the last message, or the begin */
    gint64 due;      /* it is closed then */
    GByteArray *in;  /* NULL: nothing of a message has come */
    GByteArray *out; /* NULL: there is nothing to be sent */
    gsize sent;
} IsnsInboxPeer;

typedef struct {
    int fd;         /* -1: closed */
    Address local;  /* with the port */
    Address server; /* only it is let in; the port is of no interest */
    IsnsInboxPeer peers[ISNS_INBOX_PEERS];
    gint64 window;  /* begin of the second that is counted */
    guint n_events; /* in it */
} IsnsInbox;

void isns_inbox_init(IsnsInbox *inbox);
void isns_inbox_close(IsnsInbox *inbox); /* also where it is closed */

/* Listen for the server of the connection @link_fd at the address that it knows us by; nothing where
 * that is done already. FALSE: it cannot be, and is closed. */
gboolean isns_inbox_open(IsnsInbox *inbox, int link_fd);

/* @fds: ISNS_INBOX_FDS of them; @ret_due is when to come back although nothing is ready, of the
 * monotonic clock */
void isns_inbox_poll(IsnsInbox *inbox, struct pollfd *fds, gint64 *ret_due);

/* What is ready, as poll() has said in @fds */
void isns_inbox_serve(IsnsInbox *inbox, const struct pollfd *fds, const IsnsEars *ears);
