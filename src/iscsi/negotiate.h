/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "iscsi/keytable.h"
#include "iscsi/param.h"
#include "iscsi/text.h"

typedef enum {
    NEGOTIATE_OK,
    NEGOTIATE_REPEATED,  /* the key came before in this negotiation */
    NEGOTIATE_FORBIDDEN, /* not now, or not from an initiator */
    NEGOTIATE_NO_COMMON, /* nothing that both sides allow: a digest that one side requires */
    NEGOTIATE_TOO_LONG,  /* the answers do not fit the writer */
} NegotiateResult;

/*
 * The negotiation of operational keys in one login, or in one text exchange of
 * the full feature phase
 *
 * Pure: keys go in one at a time, answers go into a TextWriter, what was agreed
 * on is in params and complete at any time (defaults of the RFC where nothing
 * was said).
 */
typedef struct {
    const IscsiParams *local;
    IscsiParams params;
    IscsiSessionType type;
    gboolean leading;
    guint8 use;       /* the KEY_USE_x of where we are; login sets it as the stage changes */
    guint64 received; /* bit per KeyId */
    gboolean has_declared;
    gboolean is_asked;        /* by us, to negotiate in the full feature phase */
    gboolean has_first_burst; /* FirstBurstLength waits for the end of the request */
    guint32 first_burst;
    gboolean has_outstanding_r2t; /* MaxOutstandingR2T does so too */
    guint32 outstanding_r2t;
} Negotiation;

/**
 * negotiate_init() - begin the negotiation of a login
 * @local: what we offer; borrowed until the end
 * @session: for a connection that joins a session, that session's values; else NULL
 */
void negotiate_init(Negotiation *negotiation, const IscsiParams *local, IscsiSessionType type,
                    const IscsiParams *session);

/**
 * negotiate_init_full_feature() - begin a negotiation in the full feature phase
 * @current: what holds now
 */
void negotiate_init_full_feature(Negotiation *negotiation, const IscsiParams *local,
                                 IscsiSessionType type, const IscsiParams *current);

/**
 * negotiate_receive() - take in one key of the initiator
 * @answers: where the answer goes, if there is one now
 *
 * Keys of no row are answered NotUnderstood. Values out of range are answered Reject. Keys that
 * identify or authenticate are the login's and must not be given here.
 */
NegotiateResult negotiate_receive(Negotiation *negotiation, const char *key, const char *value,
                                  TextWriter *answers);

/**
 * negotiate_end_request() - all keys of a request were received
 *
 * Answers what depends on several keys, and declares our MaxRecvDataSegmentLength once. In the full
 * feature phase it does so only if it has changed, and the initiator was asked to negotiate or has
 * declared its own.
 */
NegotiateResult negotiate_end_request(Negotiation *negotiation, TextWriter *answers);

/**
 * negotiate_check() - whether what was agreed on is allowed by our side
 *
 * To be asked before the full feature phase: a digest that the target requires may not have been
 * offered at all.
 */
NegotiateResult negotiate_check(const Negotiation *negotiation);

/* A few words for the journal */
const char *negotiate_result_name(NegotiateResult result);
