/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "control/isns-message.h"

/*
 * What an iSNS server asks and tells by itself, on whichever connection
 *
 * An inquiry (Entity Status Inquiry) is whether we are there, a notification (State Change
 * Notification) tells what others have done to the registrations that we can see.
 */

/* Who is to hear of them */
typedef struct {
    const char *entity; /* ours, with the server; NULL: there is none */
    void (*on_inquiry)(gpointer data);
    /* A node that was removed, ours or not; without a NUL */
    void (*on_removed)(const char *name, gsize length, gpointer data);
    gpointer data;
} IsnsEars;

/* The header of an inquiry or a notification that has come in one PDU */
gboolean isns_request_is_one(const guint8 *header);

/**
 * isns_request_answer() - hear a request
 * @header: one that isns_request_is_one() knows
 *
 * Returns: the answer with its header, or NULL where there shall be none: the payload cannot be
 * read, or the inquiry is after an entity that we are not
 */
GByteArray *isns_request_answer(const guint8 *header, const guint8 *payload, gsize size,
                                const IsnsEars *ears);
