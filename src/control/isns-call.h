/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <gio/gio.h>

#include "control/isns-request.h"

/*
 * A connection to an iSNS server, and one question at a time on it
 *
 * Blocks, so it belongs on a thread of its own. Each call ends within its time, whatever the server
 * does, and at once when the cancellable is cancelled.
 */

#define ISNS_CONNECT_SECONDS 5
#define ISNS_ANSWER_SECONDS  10

typedef struct {
    int fd;
    guint16 xid; /* of the last question */
    GCancellable *cancel;
    const IsnsEars *ears; /* of what the server says by itself */
} IsnsLink;

typedef struct {
    guint32 status;               /* 0: success; see isns_call_status_to_string() */
    guint32 period;               /* s, registration period; 0: it does not say */
    guint32 inquiry;              /* s, between its inquiries; 0: it does not say */
    gsize n_values;               /* operating attributes of the answer */
    char entity[ISNS_ENTITY_MAX]; /* identifier among these; empty: it does not say */
} IsnsAnswer;

/* @link: closed; @server: HOST[:PORT] */
gboolean isns_link_open(IsnsLink *link, const char *server, GError **ret_error);
void isns_link_close(IsnsLink *link); /* also where it is closed */
gboolean isns_link_is_open(const IsnsLink *link);

/* @message: taken; with @link->xid + 1. After a failure the link is closed. */
gboolean isns_link_ask(IsnsLink *link, GByteArray *message, IsnsAnswer *ret_answer,
                       GError **ret_error);

/* Something has come that was not asked for: take one message, and answer it if it is an inquiry or a
 * notification. FALSE: it was the end, and the link is closed. */
gboolean isns_link_serve(IsnsLink *link);

/* For the answers of registrations and queries: FALSE where it is none. For tests. */
gboolean isns_call_parse(const guint8 *payload, gsize size, IsnsAnswer *ret_answer);
const char *isns_call_status_to_string(guint32 status);
