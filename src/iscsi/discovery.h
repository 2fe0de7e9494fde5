/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "iscsi/negotiate.h"
#include "iscsi/param.h"
#include "iscsi/pdu.h"
#include "iscsi/target.h"
#include "iscsi/text.h"
#include "util/address.h"
#include "util/name.h"

/*
 * Text exchanges of the full feature phase: SendTargets, and the few keys that
 * may be negotiated there
 *
 * Pure, like Login: Text Requests go in, Text Responses or a reject reason come
 * out. The answer of SendTargets is made as the initiator asks for it, one
 * response at a time, so its size is bounded whatever the number of targets.
 * The response and its data lie in the Discovery and are overwritten by the next
 * request. A Discovery is about 24 KiB: it is allocated for an exchange and freed after it.
 */

/* Borrowed: the callback's caller is done with it before it returns to the event loop */
typedef struct {
    const char *name;
    const IscsiAnnounce *announces;
    guint n_announces;
} DiscoveryTarget;

/**
 * DiscoveryFind() - a target that this initiator may know of on this portal
 * @name: normalised
 *
 * Returns: FALSE when there is none
 */
typedef gboolean (*DiscoveryFind)(gpointer user_data, const char *name,
                                  DiscoveryTarget *ret_target);

/**
 * DiscoveryNext() - the next target that this initiator may know of on this portal
 * @after: the target with the lowest name (strcmp) above it is wanted; "" is below all
 *
 * Targets may come and go between two calls: no position is kept but the name.
 *
 * Returns: FALSE after the last
 */
typedef gboolean (*DiscoveryNext)(gpointer user_data, const char *after,
                                  DiscoveryTarget *ret_target);

/* DiscoveryReaches() - whether this initiator could log in to a target through a portal group */
typedef gboolean (*DiscoveryReaches)(gpointer user_data, const char *name, guint16 tag);

#define DISCOVERY_ANSWER_MAX 8192
#define DISCOVERY_PDUS_MAX                                                                         \
    64 /* Text Requests of one exchange, those for the rest of a list aside */

typedef struct {
    IscsiSessionType type;
    const char *target_name; /* of a normal session, else NULL */
    Address local;           /* the address this connection came in on */
    DiscoveryFind find;
    DiscoveryNext next;
    DiscoveryReaches reaches; /* NULL: through all of them */
    gpointer user_data;
    const IscsiParams *offer; /* what the target offers */
    IscsiParams *params;      /* what holds in the connection; changed by a negotiation */
    guint32 max_text_size;    /* of one request; 0: what fits */
    gboolean is_asked;        /* by us, to negotiate: what has changed is declared */
} DiscoveryConfig;

typedef enum {
    DISCOVERY_SEND,   /* send discovery->response; the exchange goes on */
    DISCOVERY_DONE,   /* send discovery->response; the exchange has ended */
    DISCOVERY_REJECT, /* send a Reject with discovery->reason; the exchange has ended */
} DiscoveryAction;

typedef enum {
    DISCOVERY_LIST_NONE,
    DISCOVERY_LIST_ONE, /* the target named @cursor */
    DISCOVERY_LIST_ALL, /* those after @cursor */
} DiscoveryList;

typedef struct {
    DiscoveryConfig config;
    gboolean is_active; /* an exchange has begun */
    guint32 itt;
    guint32 ttt;
    guint64 lun;
    guint n_pdus;
    Negotiation negotiation;

    /* the list in progress */
    DiscoveryList list;
    char cursor[ISCSI_NAME_MAX + 1];
    gboolean is_inside; /* @cursor's name was written, its addresses not all */
    guint next_announce;

    /* the last action */
    guint8 response[PDU_BHS_SIZE];
    const guint8 *response_data;
    gsize response_size;
    PduRejectReason reason;

    TextReader reader;
    TextWriter writer;
    char reader_buffer[TEXT_TOTAL_MAX];
    char writer_buffer[DISCOVERY_ANSWER_MAX];
} Discovery;

void discovery_init(Discovery *discovery, const DiscoveryConfig *config);

/**
 * discovery_receive() - take in a Text Request that pdu_check() let pass
 *
 * One exchange at a time: a request with the Target Transfer Tag reserved
 * begins a new one and ends what was before.
 */
DiscoveryAction discovery_receive(Discovery *discovery, const guint8 *bhs, const guint8 *data,
                                  gsize size);
