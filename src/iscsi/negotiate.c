/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Negotiation of operational keys, RFC 7143 6.2
 *
 * The initiator offers, we answer; we offer nothing ourselves and declare one
 * key, our MaxRecvDataSegmentLength. So a negotiation is never left open on our
 * account: when a request has been answered we are ready for the next stage.
 *
 * How a key's two values become one is its row's rule. A key that is answered
 * Reject, Irrelevant or NotUnderstood leaves the value that held before, which
 * in a login is the RFC's default.
 *
 * FirstBurstLength and MaxOutstandingR2T wait for the end of their request,
 * because their answers depend on other keys that may come after them in it.
 */

#include "iscsi/negotiate.h"

#include <string.h>

G_STATIC_ASSERT(KEY_N <= 64); /* Negotiation.received */

void
negotiate_init(Negotiation *negotiation, const IscsiParams *local, IscsiSessionType type,
               const IscsiParams *session)
{
    IscsiParams defaults;

    *negotiation = (Negotiation){
        .local = local,
        .type = type,
        .leading = session == NULL,
        .use = KEY_USE_SECURITY,
    };

    iscsi_params_init_rfc(&defaults);
    negotiation->params = defaults;
    if (session == NULL)
        return;

    negotiation->params = *session;
    negotiation->params.header_digest = defaults.header_digest;
    negotiation->params.data_digest = defaults.data_digest;
    negotiation->params.max_recv_data_segment_length = defaults.max_recv_data_segment_length;
    negotiation->params.max_xmit_data_segment_length = defaults.max_xmit_data_segment_length;
}

void
negotiate_init_full_feature(Negotiation *negotiation, const IscsiParams *local,
                            IscsiSessionType type, const IscsiParams *current)
{
    *negotiation = (Negotiation){
        .local = local,
        .params = *current,
        .type = type,
        .leading = TRUE,
        .use = KEY_USE_FULL_FEATURE,
    };
}

static NegotiateResult
answer(TextWriter *answers, const char *key, const char *value)
{
    return text_write(answers, key, value) ? NEGOTIATE_OK : NEGOTIATE_TOO_LONG;
}

static NegotiateResult
answer_number(TextWriter *answers, const char *key, guint32 value)
{
    return text_write_number(answers, key, value) ? NEGOTIATE_OK : NEGOTIATE_TOO_LONG;
}

/* Constants that answer a key, never offer one */
static gboolean
is_answer(const char *value)
{
    return strcmp(value, "NotUnderstood") == 0 || strcmp(value, "Irrelevant") == 0 ||
           strcmp(value, "Reject") == 0;
}

static gboolean
parse_number(const KeyRow *row, const char *value, guint32 *ret_number)
{
    guint64 number;

    if (!text_parse_number(value, &number) || number < row->min || number > row->max)
        return FALSE;
    *ret_number = (guint32)number;
    return TRUE;
}

static NegotiateResult
receive_declared(Negotiation *negotiation, const KeyRow *row, const char *value,
                 TextWriter *answers)
{
    if (key_id(row) != KEY_MAX_RECV_DATA_SEGMENT_LENGTH)
        return NEGOTIATE_OK;

    /* the peer's limit on receiving is ours on sending */
    if (!parse_number(row, value, &negotiation->params.max_xmit_data_segment_length))
        return answer(answers, row->name, "Reject");
    return NEGOTIATE_OK;
}

static NegotiateResult
receive_boolean(Negotiation *negotiation, const KeyRow *row, const char *value, TextWriter *answers)
{
    guint32 ours = key_value_get(row, negotiation->local);
    gboolean theirs;

    if (!text_parse_boolean(value, &theirs))
        return answer(answers, row->name, "Reject");

    ours = row->rule == KEY_RULE_AND ? ours & (guint32)theirs : ours | (guint32)theirs;
    key_value_set(row, &negotiation->params, ours);
    return answer(answers, row->name, ours != 0 ? "Yes" : "No");
}

static NegotiateResult
receive_number(Negotiation *negotiation, const KeyRow *row, const char *value, TextWriter *answers)
{
    guint32 ours = key_value_get(row, negotiation->local), theirs;

    if (!parse_number(row, value, &theirs))
        return answer(answers, row->name, "Reject");

    ours = row->rule == KEY_RULE_MIN ? MIN(ours, theirs) : MAX(ours, theirs);
    key_value_set(row, &negotiation->params, ours);
    return answer_number(answers, row->name, ours);
}

/* The first of the initiator's values that we allow: RFC 7143 6.2 */
static NegotiateResult
receive_list(Negotiation *negotiation, const KeyRow *row, const char *value, TextWriter *answers)
{
    guint32 mask = key_value_get(row, negotiation->local);
    const char *item;
    gsize size;

    while (text_list_next(&value, &item, &size)) {
        gint i = key_value_index(row, item, size);

        if (i < 0 || (mask & 1u << i) == 0)
            continue;
        key_value_set(row, &negotiation->params, (guint32)i);
        return answer(answers, row->name, row->values[i]);
    }

    return answer(answers, row->name, "Reject");
}

static NegotiateResult
receive_negotiated(Negotiation *negotiation, const KeyRow *row, const char *value,
                   TextWriter *answers)
{
    if (key_id(row) == KEY_FIRST_BURST_LENGTH) {
        if (!parse_number(row, value, &negotiation->first_burst))
            return answer(answers, row->name, "Reject");
        negotiation->has_first_burst = TRUE;
        return NEGOTIATE_OK;
    }
    if (key_id(row) == KEY_MAX_OUTSTANDING_R2T) {
        if (!parse_number(row, value, &negotiation->outstanding_r2t))
            return answer(answers, row->name, "Reject");
        negotiation->has_outstanding_r2t = TRUE;
        return NEGOTIATE_OK;
    }

    switch (row->type) {
    case KEY_TYPE_BOOLEAN:
        return receive_boolean(negotiation, row, value, answers);
    case KEY_TYPE_NUMBER:
        return receive_number(negotiation, row, value, answers);
    case KEY_TYPE_LIST:
        return receive_list(negotiation, row, value, answers);
    case KEY_TYPE_TEXT:
    case KEY_TYPE_NAME:
    case KEY_TYPE_RANGE:
    case KEY_TYPE_BINARY:
        break;
    }

    g_assert_not_reached();
}

NegotiateResult
negotiate_receive(Negotiation *negotiation, const char *key, const char *value, TextWriter *answers)
{
    const KeyRow *row = key_find(key);
    guint64 bit;

    if (row == NULL)
        return is_answer(value) ? NEGOTIATE_OK : answer(answers, key, "NotUnderstood");

    bit = (guint64)1 << key_id(row);
    if ((row->senders & KEY_SENDER_INITIATOR) == 0)
        return NEGOTIATE_FORBIDDEN;
    if ((negotiation->received & bit) != 0)
        return NEGOTIATE_REPEATED;
    if (is_answer(value))
        return NEGOTIATE_OK;
    negotiation->received |= bit;

    if ((row->use & negotiation->use) == 0 ||
        ((row->use & KEY_USE_LEADING) != 0 && !negotiation->leading))
        return answer(answers, row->name, "Reject");
    if (row->rule == KEY_RULE_OBSOLETE) /* RFC 7143 */
        return answer(answers, row->name, row->type == KEY_TYPE_BOOLEAN ? "No" : "Reject");
    if ((row->irrelevant & KEY_IRRELEVANT_DISCOVERY) != 0 &&
        negotiation->type == ISCSI_SESSION_DISCOVERY)
        return answer(answers, row->name, "Irrelevant");
    if (row->rule == KEY_RULE_NONE)
        return receive_declared(negotiation, row, value, answers);
    return receive_negotiated(negotiation, row, value, answers);
}

static NegotiateResult
answer_first_burst(Negotiation *negotiation, TextWriter *answers)
{
    const KeyRow *row = key_get(KEY_FIRST_BURST_LENGTH);
    IscsiParams *params = &negotiation->params;

    negotiation->has_first_burst = FALSE;
    if (params->initial_r2t != 0 && params->immediate_data == 0)
        return answer(answers, row->name, "Irrelevant");

    params->first_burst_length =
        MIN(negotiation->first_burst, negotiation->local->first_burst_length);
    params->first_burst_length = MIN(params->first_burst_length, params->max_burst_length);
    return answer_number(answers, row->name, params->first_burst_length);
}

/* RFC 7143 13.19: sequences in order can be asked for again only one at a time */
static guint32
limit_r2ts(const IscsiParams *params, guint32 number)
{
    return params->error_recovery_level != 0 && params->data_sequence_in_order != 0 ? 1 : number;
}

static NegotiateResult
answer_outstanding_r2t(Negotiation *negotiation, TextWriter *answers)
{
    const KeyRow *row = key_get(KEY_MAX_OUTSTANDING_R2T);
    IscsiParams *params = &negotiation->params;

    negotiation->has_outstanding_r2t = FALSE;
    params->max_outstanding_r2t = limit_r2ts(
        params, MIN(negotiation->outstanding_r2t, negotiation->local->max_outstanding_r2t));
    return answer_number(answers, row->name, params->max_outstanding_r2t);
}

/*
 * Who asks for targets in the full feature phase gets these and no other keys, RFC 7143 appendix C,
 * unless it has declared its own
 */
static gboolean
must_declare(const Negotiation *negotiation)
{
    guint64 bit = (guint64)1 << KEY_MAX_RECV_DATA_SEGMENT_LENGTH;
    gboolean asks_for_targets = (negotiation->received & (guint64)1 << KEY_SEND_TARGETS) != 0;

    if (negotiation->has_declared)
        return FALSE;
    if (negotiation->use != KEY_USE_FULL_FEATURE)
        return negotiation->use == KEY_USE_OPERATIONAL;
    return ((negotiation->is_asked && !asks_for_targets) || (negotiation->received & bit) != 0) &&
           negotiation->params.max_recv_data_segment_length !=
               negotiation->local->max_recv_data_segment_length;
}

NegotiateResult
negotiate_end_request(Negotiation *negotiation, TextWriter *answers)
{
    const KeyRow *declared = key_get(KEY_MAX_RECV_DATA_SEGMENT_LENGTH);
    IscsiParams *params = &negotiation->params;
    NegotiateResult result = NEGOTIATE_OK;

    if (negotiation->has_first_burst)
        result = answer_first_burst(negotiation, answers);
    if (result == NEGOTIATE_OK && negotiation->has_outstanding_r2t)
        result = answer_outstanding_r2t(negotiation, answers);

    /* MaxBurstLength may have been lowered without a word on FirstBurstLength: RFC 7143 13.14 */
    params->first_burst_length = MIN(params->first_burst_length, params->max_burst_length);
    /* The same of ErrorRecoveryLevel in a later request: we may always ask for less at once */
    params->max_outstanding_r2t = limit_r2ts(params, params->max_outstanding_r2t);

    if (result != NEGOTIATE_OK || !must_declare(negotiation))
        return result;

    negotiation->has_declared = TRUE;
    params->max_recv_data_segment_length = negotiation->local->max_recv_data_segment_length;
    return answer_number(answers, declared->name, params->max_recv_data_segment_length);
}

NegotiateResult
negotiate_check(const Negotiation *negotiation)
{
    const IscsiParams *params = &negotiation->params, *local = negotiation->local;

    if ((local->header_digest & 1u << params->header_digest) == 0 ||
        (local->data_digest & 1u << params->data_digest) == 0)
        return NEGOTIATE_NO_COMMON;
    return NEGOTIATE_OK;
}

const char *
negotiate_result_name(NegotiateResult result)
{
    switch (result) {
    case NEGOTIATE_OK:
        return "nothing is wrong";
    case NEGOTIATE_REPEATED:
        return "a key was sent twice";
    case NEGOTIATE_FORBIDDEN:
        return "an initiator may not send this key";
    case NEGOTIATE_NO_COMMON:
        return "the target requires a digest that the initiator did not offer";
    case NEGOTIATE_TOO_LONG:
        return "the answers would be too long";
    }

    g_assert_not_reached();
}
