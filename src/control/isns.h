/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <net/if.h>

#include "control/isns-message.h"
#include "engine/mailbox.h"
#include "model/model.h"

/*
 * Isns: the thread that keeps an iSNS server told
 *
 * The control thread says what shall be registered (a plan, the newest of which counts) and is told
 * how it goes. Nothing here waits for the server but the thread itself.
 */

typedef struct Isns Isns;

/* A portal as it is configured */
typedef struct {
    Address address;             /* perhaps a wildcard: the addresses of the machine are meant */
    guint16 tag;                 /* portal group */
    char interface[IF_NAMESIZE]; /* only addresses of it; empty: of any */
    gboolean is_announced;       /* asked for as it is, also where it looks useless */
} IsnsPlanPortal;

typedef struct {
    char *name;
    char *alias;
    guint16 *tags;
    guint n_tags;
    gboolean is_suspect; /* for the thread: the server may have removed it */
} IsnsPlanNode;

typedef struct {
    char *server;     /* HOST[:PORT]; empty: none */
    char *entity;     /* HOST and @mark */
    char *mark;       /* the end of our identifiers, whatever the host is called; empty: unknown */
    GArray *portals;  /* of IsnsPlanPortal */
    GPtrArray *nodes; /* of IsnsPlanNode */
} IsnsPlan;

IsnsPlan *isns_plan_new(const char *server, const char *entity);
void isns_plan_free(IsnsPlan *plan);
void isns_plan_add_node(IsnsPlan *plan, const char *name, const char *alias, const guint16 *tags,
                        guint n_tags);

/* A state; on the thread of the mailbox. @error is "" where there is nothing wrong. */
typedef void (*IsnsStateFn)(ModelIsns state, const char *error, gpointer user_data);

/* @mailbox: of the control thread */
Isns *isns_new(Mailbox *mailbox, IsnsStateFn fn, gpointer user_data, GError **ret_error);

/* @plan: taken; in place of one that was not begun with */
void isns_post(Isns *isns, IsnsPlan *plan);

/* Deregister, if that is quickly done, and end; does not wait */
void isns_stop(Isns *isns);

/* Waits for the end, a second at most. The mailbox may be drained from inside. NULL is ignored. */
void isns_free(Isns *isns);
