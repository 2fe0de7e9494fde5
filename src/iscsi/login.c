/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The login phase, RFC 7143 6.3, 11.12 and 11.13
 *
 * A request goes through here in this order:
 *
 *     header   version, and that ISID, TSIH and CID are those of the first request
 *     event    (stage, event) in logintable.c: a step, or a refusal
 *     text     gathered until the C bit is off, then split into pairs
 *     names    who logs in to what; the policy finds the target
 *     keys     authentication in the security stage, negotiation of the rest
 *     answer   sent in pieces that the initiator takes; the last one may move on
 *
 * The stage changes only where an answer says so (T bit), and the full feature
 * phase only after the registry gave the session its place (LOGIN_CLAIM).
 *
 * Everything is bounded: text of a request, its pairs, our answer, the number
 * of requests. A refusal carries one of the RFC's status codes and a sentence
 * for the journal that names no bytes of the peer but keys of known characters,
 * and a CHAP user that is escaped and cut.
 */

#include "iscsi/login.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    const char *key;
    const char *value;
} Pair;

G_STATIC_ASSERT(sizeof(Login) <= 33 * 1024);

#define SKIPPED                                                                                    \
    "CHAP is wanted here and the initiator skips authentication: set its CHAP user and secret"

/*
 * Responses
 */

/* For as long as the login lasts these numbers mean little; the last response's count */
static void
encode_response(Login *login, guint8 flags, guint16 status)
{
    pdu_encode_login_response(login->response, login->itt, flags, login->isid, login->tsih, status,
                              login->response_size);
    pdu_set_sequence(login->response, login->stat_sn++, login->exp_cmd_sn, login->max_cmd_sn);
}

static LoginAction
close_login(Login *login, const char *reason)
{
    login->stage = LOGIN_STAGE_FAILED;
    login->response_size = 0;
    g_strlcpy(login->reason, reason, sizeof login->reason);
    return LOGIN_CLOSE;
}

/* What the writer holds (a TargetAddress, or nothing) goes with the refusal */
static LoginAction refuse(Login *login, guint16 status, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

static LoginAction
refuse(Login *login, guint16 status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)g_vsnprintf(login->reason, sizeof login->reason, format, args);
    va_end(args);

    login->stage = LOGIN_STAGE_FAILED;
    login->status = status;
    if (status != LOGIN_STATUS_MOVED_TEMPORARILY && status != LOGIN_STATUS_MOVED_PERMANENTLY)
        text_writer_clear(&login->writer);
    login->response_size =
        text_writer_take(&login->writer, PDU_LOGIN_DATA_MAX, &login->response_data);
    encode_response(login, 0, status);
    return LOGIN_REFUSE;
}

static guint8
stage_flags(PduStage csg, PduStage nsg)
{
    return (guint8)(csg << 2 | nsg);
}

/* A request that goes on in the next PDU is answered with nothing: RFC 7143 6.2 */
static LoginAction
respond_continue(Login *login, PduStage csg)
{
    login->response_size = 0;
    encode_response(login, stage_flags(csg, PDU_STAGE_SECURITY), LOGIN_STATUS_SUCCESS);
    return LOGIN_SEND;
}

static gsize
chunk_max(const Login *login)
{
    return MIN(PDU_LOGIN_DATA_MAX, login->negotiation.params.max_xmit_data_segment_length);
}

static gboolean
event_is_transit(LoginEvent event)
{
    return event == LOGIN_EVENT_SECURITY_TO_OPERATIONAL ||
           event == LOGIN_EVENT_SECURITY_TO_FULL_FEATURE ||
           event == LOGIN_EVENT_OPERATIONAL_TO_FULL_FEATURE;
}

static LoginAction
respond(Login *login, LoginEvent event, const LoginTransition *transition, PduStage csg)
{
    gboolean is_last = login->writer.size - login->writer.offset <= chunk_max(login);
    gboolean moves = is_last && login->is_authenticated && event_is_transit(event);
    guint8 flags = stage_flags(csg, PDU_STAGE_SECURITY);

    login->stage = csg == PDU_STAGE_SECURITY ? LOGIN_STAGE_SECURITY : LOGIN_STAGE_OPERATIONAL;

    if (moves && transition->next == LOGIN_STAGE_CLAIM) {
        NegotiateResult result = negotiate_check(&login->negotiation);

        if (result != NEGOTIATE_OK)
            return refuse(login, LOGIN_STATUS_INITIATOR_ERROR, "Negotiation failed: %s",
                          negotiate_result_name(result));
        login->stage = LOGIN_STAGE_CLAIM;
        login->claim_csg = (guint8)csg;
        return LOGIN_CLAIM;
    }

    if (moves) {
        login->stage = transition->next;
        flags = PDU_LOGIN_TRANSIT | stage_flags(csg, PDU_STAGE_OPERATIONAL);
    } else if (!is_last) {
        flags |= PDU_CONTINUE;
    }

    login->response_size =
        text_writer_take(&login->writer, chunk_max(login), &login->response_data);
    encode_response(login, flags, LOGIN_STATUS_SUCCESS);
    return LOGIN_SEND;
}

/*
 * Authentication
 */

static LoginAuthResult
none_receive(Login *login, const char *key, const char *value)
{
    return LOGIN_AUTH_BROKEN; /* it has no keys */
}

static LoginAuthResult
none_step(Login *login, TextWriter *answers)
{
    return LOGIN_AUTH_PASSED;
}

static const LoginAuth none_auth = { "None", LOGIN_AUTH_NONE, none_receive, none_step, NULL };

static const LoginAuth *const auth_methods[] = { &none_auth, &chap_login_auth };

void
login_explain(Login *login, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)g_vsnprintf(login->reason, sizeof login->reason, format, args);
    va_end(args);
}

static guint16
status_of_auth(LoginAuthResult result)
{
    switch (result) {
    case LOGIN_AUTH_MORE:
    case LOGIN_AUTH_PASSED:
        break;
    case LOGIN_AUTH_FAILED:
        return LOGIN_STATUS_AUTHENTICATION_FAILURE;
    case LOGIN_AUTH_BROKEN:
        return LOGIN_STATUS_INITIATOR_ERROR;
    case LOGIN_AUTH_MISSING:
        return LOGIN_STATUS_MISSING_PARAMETER;
    case LOGIN_AUTH_NO_RESOURCES:
        return LOGIN_STATUS_OUT_OF_RESOURCES;
    }

    g_assert_not_reached();
}

/* A method has failed and said why */
static LoginAction
refuse_auth(Login *login, LoginAuthResult result)
{
    g_autofree char *reason =
        g_strdup(login->reason[0] != '\0' ? login->reason : "Authentication failed");

    return refuse(login, status_of_auth(result), "%s", reason);
}

static gboolean
wants_proof(const Login *login)
{
    return (login->target.auth_methods & LOGIN_AUTH_NONE) == 0;
}

/* The initiator's first that the target takes */
static const LoginAuth *
choose_auth(const Login *login, const char *list)
{
    const char *item;
    gsize size;

    while (text_list_next(&list, &item, &size)) {
        for (gsize i = 0; i < G_N_ELEMENTS(auth_methods); i++) {
            const LoginAuth *auth = auth_methods[i];

            if (text_item_is(item, size, auth->name) &&
                (login->target.auth_methods & auth->bit) != 0)
                return auth;
        }
    }

    return NULL;
}

static gboolean
receive_auth_key(Login *login, const KeyRow *row, const char *value, LoginAction *ret_action)
{
    LoginAuthResult result = LOGIN_AUTH_BROKEN;

    login->remedy = LOGIN_REMEDY_INITIATOR;
    login_explain(login, "%s came without AuthMethod=CHAP", row->name);
    if (login->auth != NULL)
        result = login->auth->receive(login, row->name, value);
    if (result == LOGIN_AUTH_MORE)
        return TRUE;
    *ret_action = refuse_auth(login, result);
    return FALSE;
}

static gboolean
receive_auth(Login *login, const KeyRow *row, const char *value, LoginAction *ret_action)
{
    if (key_id(row) != KEY_AUTH_METHOD)
        return receive_auth_key(login, row, value, ret_action);

    if (login->auth != NULL) {
        *ret_action = refuse(login, LOGIN_STATUS_INITIATOR_ERROR, "AuthMethod was sent twice");
        return FALSE;
    }

    login->auth = choose_auth(login, value);
    if (login->auth == NULL) {
        *ret_action = refuse(login, LOGIN_STATUS_AUTHENTICATION_FAILURE, "%s",
                             wants_proof(login)
                                 ? "CHAP is wanted here and the initiator does not offer it: set "
                                   "its CHAP user and secret"
                                 : "The initiator wants to authenticate and nothing is asked for "
                                   "here: give the target a CHAP account, or take it from the "
                                   "initiator");
        return FALSE;
    }
    (void)text_write(&login->writer, row->name, login->auth->name);
    return TRUE;
}

/* All keys of a request in the security stage came */
static gboolean
step_auth(Login *login, LoginEvent event, LoginAction *ret_action)
{
    LoginAuthResult result = LOGIN_AUTH_MORE;

    if (login->is_authenticated)
        return TRUE;

    if (login->auth != NULL)
        result = login->auth->step(login, &login->writer);
    else if (event_is_transit(event)) { /* it wants to go on without a word on authentication */
        result = wants_proof(login) ? LOGIN_AUTH_FAILED : LOGIN_AUTH_PASSED;
        login_explain(login, SKIPPED);
    }

    if (result != LOGIN_AUTH_MORE && result != LOGIN_AUTH_PASSED) {
        *ret_action = refuse_auth(login, result);
        return FALSE;
    }
    login->is_authenticated = result == LOGIN_AUTH_PASSED;
    return TRUE;
}

/*
 * Who logs in to what
 */

static gboolean
receive_name(Login *login, const char *key, const char *value, char *name, guint16 status,
             LoginAction *ret_action)
{
    g_autofree char *normal = name_normalize_iscsi(value);

    if (normal == NULL || strlen(normal) > ISCSI_NAME_MAX || !name_check_iscsi(normal, NULL)) {
        *ret_action = refuse(login, status, "%s is not a valid iSCSI name", key);
        return FALSE;
    }

    g_strlcpy(name, normal, ISCSI_NAME_MAX + 1);
    return TRUE;
}

static gboolean
receive_session_type(Login *login, const char *value, LoginAction *ret_action)
{
    gint type = key_value_index(key_get(KEY_SESSION_TYPE), value, strlen(value));

    if (type < 0) {
        *ret_action = refuse(login, LOGIN_STATUS_SESSION_TYPE, "SessionType is not known");
        return FALSE;
    }
    login->type = (IscsiSessionType)type;
    return TRUE;
}

static gboolean
is_identity(const KeyRow *row)
{
    return (row->use & KEY_USE_INITIAL) != 0 || key_id(row) == KEY_INITIATOR_ALIAS;
}

static gboolean
receive_identity(Login *login, const KeyRow *row, const char *value, LoginAction *ret_action)
{
    guint64 bit = (guint64)1 << key_id(row);

    if ((login->identity_received & bit) != 0 ||
        (login->is_known && (row->use & KEY_USE_INITIAL) != 0)) {
        *ret_action = refuse(login, LOGIN_STATUS_INITIATOR_ERROR, "%s was sent twice, or too late",
                             row->name);
        return FALSE;
    }
    login->identity_received |= bit;

    if (key_id(row) == KEY_INITIATOR_NAME)
        return receive_name(login, row->name, value, login->initiator_name,
                            LOGIN_STATUS_INITIATOR_ERROR, ret_action);
    if (key_id(row) == KEY_TARGET_NAME)
        return receive_name(login, row->name, value, login->target_name, LOGIN_STATUS_NOT_FOUND,
                            ret_action);
    if (key_id(row) == KEY_SESSION_TYPE)
        return receive_session_type(login, value, ret_action);

    if (g_utf8_validate(value, -1, NULL)) /* only shown: not worth a refusal */
        g_strlcpy(login->initiator_alias, value, sizeof login->initiator_alias);
    return TRUE;
}

static LoginAction
refuse_redirect(Login *login)
{
    gboolean is_permanent = login->target.redirect_is_permanent;

    text_writer_clear(&login->writer);
    (void)text_write(&login->writer, "TargetAddress", login->target.redirect);
    return refuse(login,
                  is_permanent ? LOGIN_STATUS_MOVED_PERMANENTLY : LOGIN_STATUS_MOVED_TEMPORARILY,
                  "The target has moved to %s", login->target.redirect);
}

static LoginAction
refuse_forbidden(Login *login)
{
    if (login->target.rule_id != 0)
        return refuse(login, LOGIN_STATUS_AUTHORIZATION_FAILURE,
                      "The access rule for “%s” denies this initiator", login->target.rule);
    return refuse(
        login, LOGIN_STATUS_AUTHORIZATION_FAILURE,
        "No access rule of the target lets this initiator in from its address and through "
        "this portal group: add one, or open the target");
}

static gboolean
find_target(Login *login, LoginAction *ret_action)
{
    switch (login->policy->find_target(login->policy->user_data, login->initiator_name,
                                       login->target_name, &login->target)) {
    case LOGIN_FOUND:
        if (login->target.redirect[0] == '\0')
            return TRUE;
        *ret_action = refuse_redirect(login);
        return FALSE;
    case LOGIN_NOT_FOUND:
        *ret_action = refuse(login, LOGIN_STATUS_NOT_FOUND, "There is no such target here");
        return FALSE;
    case LOGIN_HIDDEN:
        *ret_action = refuse(login, LOGIN_STATUS_NOT_FOUND,
                             "The target is not reached through portal group %u: add the group to "
                             "those of the target, or let the initiator use another portal",
                             login->target.tag);
        return FALSE;
    case LOGIN_FORBIDDEN:
        *ret_action = refuse_forbidden(login);
        return FALSE;
    case LOGIN_REMOVED:
        *ret_action = refuse(login, LOGIN_STATUS_TARGET_REMOVED, "The target was removed");
        return FALSE;
    case LOGIN_UNAVAILABLE:
        *ret_action =
            refuse(login, LOGIN_STATUS_SERVICE_UNAVAILABLE, "The target is not available now");
        return FALSE;
    }

    g_assert_not_reached();
}

/* The names of the first complete request are in: are they enough, and whom do they name? */
static gboolean
identify(Login *login, LoginAction *ret_action)
{
    IscsiParams rfc;

    if (login->initiator_name[0] == '\0') {
        *ret_action = refuse(login, LOGIN_STATUS_MISSING_PARAMETER, "InitiatorName is missing");
        return FALSE;
    }

    if (login->type == ISCSI_SESSION_DISCOVERY) {
        g_strlcpy(login->discovered_name, login->target_name, sizeof login->discovered_name);
        login->target_name[0] = '\0';
        login->target.tag = login->policy->tag;
        login->target.params = login->policy->discovery_params;
        login->target.auth_methods = login->policy->discovery_auth_methods;
    } else if (login->target_name[0] == '\0') {
        *ret_action = refuse(login, LOGIN_STATUS_MISSING_PARAMETER, "TargetName is missing");
        return FALSE;
    } else if (!find_target(login, ret_action)) {
        return FALSE;
    }

    iscsi_params_init_rfc(&rfc);
    negotiate_init(&login->negotiation, &login->target.params, login->type,
                   login->joins ? &rfc : NULL);
    login->is_known = TRUE;
    return TRUE;
}

/*
 * Once, with the first answer: the alias is the session's, RFC 7143 13.6; the tag is of the portal
 * group that serves this login, and told whoever has named a target, 6.3.1 and 13.9
 */
static void
tell_target(Login *login)
{
    gboolean is_normal = login->type == ISCSI_SESSION_NORMAL;

    if (login->target_told)
        return;

    login->target_told = TRUE;
    if (is_normal && !login->joins && login->target.alias[0] != '\0')
        (void)text_write(&login->writer, "TargetAlias", login->target.alias);
    if (is_normal || login->discovered_name[0] != '\0')
        (void)text_write_number(&login->writer, "TargetPortalGroupTag", login->target.tag);
}

/*
 * Requests
 */

/* FALSE when the text is not pairs, or more than TEXT_PAIRS_MAX */
static gboolean
split(Login *login, Pair *pairs, gsize *ret_n_pairs, LoginAction *ret_action)
{
    gsize n = 0;
    TextResult result;
    Pair pair;

    while ((result = text_reader_next(&login->reader, &pair.key, &pair.value)) == TEXT_OK) {
        g_assert(n < TEXT_PAIRS_MAX);
        pairs[n++] = pair;
    }

    if (result != TEXT_END) {
        *ret_action = refuse(login, LOGIN_STATUS_INITIATOR_ERROR, "%s",
                             result == TEXT_TOO_MANY ? "The login text has too many keys"
                                                     : "The login text is not key=value pairs");
        return FALSE;
    }

    *ret_n_pairs = n;
    return TRUE;
}

static gboolean
receive_identities(Login *login, const Pair *pairs, gsize n_pairs, LoginAction *ret_action)
{
    for (gsize i = 0; i < n_pairs; i++) {
        const KeyRow *row = key_find(pairs[i].key);

        if (row != NULL && is_identity(row) &&
            !receive_identity(login, row, pairs[i].value, ret_action))
            return FALSE;
    }

    return login->is_known || identify(login, ret_action);
}

static gboolean
receive_key(Login *login, const Pair *pair, LoginAction *ret_action)
{
    const KeyRow *row = key_find(pair->key);
    NegotiateResult result;

    if (row != NULL && is_identity(row))
        return TRUE;
    if (row != NULL && row->use == KEY_USE_SECURITY && login->negotiation.use == KEY_USE_SECURITY)
        return receive_auth(login, row, pair->value, ret_action);

    result = negotiate_receive(&login->negotiation, pair->key, pair->value, &login->writer);
    if (result == NEGOTIATE_OK)
        return TRUE;
    *ret_action = refuse(login, LOGIN_STATUS_INITIATOR_ERROR, "Negotiation failed at %s: %s",
                         pair->key, negotiate_result_name(result));
    return FALSE;
}

static gboolean
receive_keys(Login *login, const Pair *pairs, gsize n_pairs, LoginAction *ret_action)
{
    NegotiateResult result;

    for (gsize i = 0; i < n_pairs; i++) {
        if (!receive_key(login, &pairs[i], ret_action))
            return FALSE;
    }

    result = negotiate_end_request(&login->negotiation, &login->writer);
    if (result == NEGOTIATE_OK)
        return TRUE;
    *ret_action = refuse(login, LOGIN_STATUS_INITIATOR_ERROR, "Negotiation failed: %s",
                         negotiate_result_name(result));
    return FALSE;
}

/* The operational stage without the security stage before it: only where no proof is asked for */
static gboolean
skip_security(Login *login, LoginAction *ret_action)
{
    if (login->is_authenticated)
        return TRUE;
    if (wants_proof(login)) {
        *ret_action = refuse(login, LOGIN_STATUS_AUTHENTICATION_FAILURE, SKIPPED);
        return FALSE;
    }
    login->is_authenticated = TRUE;
    return TRUE;
}

/* The text of a request is complete */
static LoginAction
receive_text(Login *login, LoginEvent event, const LoginTransition *transition, PduStage csg)
{
    gboolean is_security = transition->step == LOGIN_STEP_SECURITY;
    LoginAction action;
    Pair pairs[TEXT_PAIRS_MAX];
    gsize n_pairs;

    text_writer_clear(&login->writer);
    if (!split(login, pairs, &n_pairs, &action) ||
        !receive_identities(login, pairs, n_pairs, &action))
        return action;
    if (!is_security && !skip_security(login, &action))
        return action;

    tell_target(login);
    login->negotiation.use = is_security ? KEY_USE_SECURITY : KEY_USE_OPERATIONAL;
    if (!receive_keys(login, pairs, n_pairs, &action))
        return action;
    if (is_security && !step_auth(login, event, &action))
        return action;
    if (login->writer.overflow)
        return refuse(login, LOGIN_STATUS_INITIATOR_ERROR, "The answers would be too long");

    text_reader_clear(&login->reader);
    return respond(login, event, transition, csg);
}

static LoginAction
receive_request(Login *login, const guint8 *bhs, const guint8 *data, gsize size, LoginEvent event,
                const LoginTransition *transition)
{
    PduStage csg = pdu_login_csg(bhs);

    /* Our answer goes on, so the initiator has nothing to say but "go on": RFC 7143 6.2 */
    if (!text_writer_is_empty(&login->writer)) {
        if (size != 0 || pdu_is_continued(bhs))
            return refuse(login, LOGIN_STATUS_INITIATOR_ERROR,
                          "Text came while the answer was not complete");
        return respond(login, event, transition, csg);
    }

    if (login->is_continued && csg != (PduStage)login->pending_csg)
        return refuse(login, LOGIN_STATUS_INITIATOR_ERROR, "The stage changed inside a request");
    if (text_reader_add(&login->reader, data, size) != TEXT_OK) {
        login->limit = ISCSI_LIMIT_TEXT_SIZE;
        return refuse(login, LOGIN_STATUS_INITIATOR_ERROR, "The login text is too long");
    }

    login->is_continued = pdu_is_continued(bhs);
    login->pending_csg = (guint8)csg;
    if (login->is_continued)
        return respond_continue(login, csg);
    return receive_text(login, event, transition, csg);
}

/* Take what a request's header says; FALSE when it does not fit the login's first */
static gboolean
receive_header(Login *login, const guint8 *bhs, LoginAction *ret_action)
{
    gboolean is_first = !login->has_header;
    gboolean is_same = !is_first && memcmp(login->isid, pdu_login_isid(bhs), 6) == 0 &&
                       login->tsih == pdu_login_tsih(bhs) && login->cid == pdu_login_cid(bhs);

    login->itt = pdu_itt(bhs);
    if (is_first) {
        login->has_header = TRUE;
        memcpy(login->isid, pdu_login_isid(bhs), 6);
        login->tsih = pdu_login_tsih(bhs);
        login->cid = pdu_login_cid(bhs);
        login->joins = login->tsih != 0;
        login->stat_sn = pdu_exp_stat_sn(bhs);
    }
    if (is_first || is_same) {
        login->awaits_trust = FALSE;
        login->cmd_sn = login->exp_cmd_sn = pdu_cmd_sn(bhs);
        login->max_cmd_sn = login->cmd_sn + login->policy->window - 1;
    }

    if (pdu_login_version_min(bhs) > PDU_VERSION)
        *ret_action = refuse(login, LOGIN_STATUS_UNSUPPORTED_VERSION,
                             "The initiator speaks no version of iSCSI that is spoken here");
    else if (!is_first && !is_same)
        *ret_action = refuse(login, LOGIN_STATUS_INITIATOR_ERROR,
                             "ISID, TSIH or CID changed during the login");
    else if (++login->n_requests > LOGIN_REQUESTS_MAX)
        *ret_action =
            refuse(login, LOGIN_STATUS_INITIATOR_ERROR, "The login takes too many requests");
    else
        return TRUE;
    return FALSE;
}

/*
 * Public
 */

void
login_init(Login *login, const LoginPolicy *policy)
{
    g_assert(policy->find_target != NULL && policy->window > 0);

    /* the buffers need no clearing: nothing is read from them that was not written */
    memset(login, 0, G_STRUCT_OFFSET(Login, reader_buffer));
    login->policy = policy;
    text_reader_init(&login->reader, login->reader_buffer,
                     policy->max_text_size != 0
                         ? MIN(policy->max_text_size, sizeof login->reader_buffer)
                         : sizeof login->reader_buffer);
    text_writer_init(&login->writer, login->writer_buffer, sizeof login->writer_buffer);
    iscsi_params_init_rfc(&login->negotiation.params);
}

void
login_deinit(Login *login)
{
    if (login->auth != NULL && login->auth->end != NULL)
        login->auth->end(login);
    login->auth = NULL;
    g_clear_pointer(&login->chap_accounts, credentials_unref);
}

LoginAction
login_receive(Login *login, const guint8 *bhs, const guint8 *data, gsize size)
{
    LoginEvent event = login_event(bhs);
    const LoginTransition *transition = login_transition(login->stage, event);
    LoginAction action;

    if (transition->step == LOGIN_STEP_CLOSE)
        return close_login(login, event == LOGIN_EVENT_OTHER_PDU
                                      ? "The first PDU is no Login Request"
                                      : "The login has ended before");
    if (transition->step == LOGIN_STEP_REFUSE_PDU)
        return refuse(login, LOGIN_STATUS_INVALID_DURING_LOGIN,
                      "A PDU came that is no Login Request");
    if (!receive_header(login, bhs, &action))
        return action;

    switch (transition->step) {
    case LOGIN_STEP_SECURITY:
    case LOGIN_STEP_OPERATIONAL:
        return receive_request(login, bhs, data, size, event, transition);
    case LOGIN_STEP_REFUSE_STAGE:
        return refuse(login, LOGIN_STATUS_INITIATOR_ERROR,
                      "The request's stage (%u to %u) is wrong in %s", pdu_login_csg(bhs),
                      pdu_login_nsg(bhs), login_stage_name(login->stage));
    case LOGIN_STEP_CLOSE:
    case LOGIN_STEP_REFUSE_PDU:
    case LOGIN_STEP_REFUSE_CLAIM:
    case LOGIN_STEP_COMPLETE:
        break;
    }

    g_assert_not_reached();
}

LoginAction
login_claimed(Login *login, const LoginClaim *claim)
{
    gboolean is_granted = claim->status == LOGIN_STATUS_SUCCESS;
    LoginEvent event = is_granted ? LOGIN_EVENT_CLAIMED : LOGIN_EVENT_CLAIM_REFUSED;
    const LoginTransition *transition = login_transition(login->stage, event);

    if (transition->step == LOGIN_STEP_CLOSE)
        return close_login(login, "The login has ended before");
    if (transition->step == LOGIN_STEP_REFUSE_CLAIM)
        return refuse(login, claim->status, "%s",
                      claim->reason != NULL ? claim->reason : login_status_name(claim->status));

    g_assert(transition->step == LOGIN_STEP_COMPLETE && claim->tsih != 0);
    login->stage = transition->next;
    login->tsih = claim->tsih;
    if (claim->joined) {
        login->exp_cmd_sn = claim->exp_cmd_sn;
        login->max_cmd_sn = claim->max_cmd_sn;
    }
    login->response_size =
        text_writer_take(&login->writer, chunk_max(login), &login->response_data);
    encode_response(
        login, PDU_LOGIN_TRANSIT | stage_flags((PduStage)login->claim_csg, PDU_STAGE_FULL_FEATURE),
        LOGIN_STATUS_SUCCESS);
    return LOGIN_DONE;
}

LoginAction
login_refuse(Login *login, guint16 status, const char *reason)
{
    g_assert(status != LOGIN_STATUS_SUCCESS);

    if (!login->has_header || login->stage == LOGIN_STAGE_FULL_FEATURE ||
        login->stage == LOGIN_STAGE_FAILED)
        return close_login(login, reason);
    return refuse(login, status, "%s", reason);
}

const IscsiParams *
login_params(const Login *login)
{
    return &login->negotiation.params;
}

const char *
login_status_name(guint16 status)
{
    switch ((LoginStatus)status) {
    case LOGIN_STATUS_SUCCESS:
        return "Success";
    case LOGIN_STATUS_MOVED_TEMPORARILY:
        return "Target moved temporarily";
    case LOGIN_STATUS_MOVED_PERMANENTLY:
        return "Target moved permanently";
    case LOGIN_STATUS_INITIATOR_ERROR:
        return "Initiator error";
    case LOGIN_STATUS_AUTHENTICATION_FAILURE:
        return "Authentication failure";
    case LOGIN_STATUS_AUTHORIZATION_FAILURE:
        return "Authorization failure";
    case LOGIN_STATUS_NOT_FOUND:
        return "Not found";
    case LOGIN_STATUS_TARGET_REMOVED:
        return "Target removed";
    case LOGIN_STATUS_UNSUPPORTED_VERSION:
        return "Unsupported version";
    case LOGIN_STATUS_TOO_MANY_CONNECTIONS:
        return "Too many connections";
    case LOGIN_STATUS_MISSING_PARAMETER:
        return "Missing parameter";
    case LOGIN_STATUS_CANNOT_INCLUDE:
        return "Cannot include in session";
    case LOGIN_STATUS_SESSION_TYPE:
        return "Session type not supported";
    case LOGIN_STATUS_NO_SESSION:
        return "Session does not exist";
    case LOGIN_STATUS_INVALID_DURING_LOGIN:
        return "Invalid during login";
    case LOGIN_STATUS_TARGET_ERROR:
        return "Target error";
    case LOGIN_STATUS_SERVICE_UNAVAILABLE:
        return "Service unavailable";
    case LOGIN_STATUS_OUT_OF_RESOURCES:
        return "Out of resources";
    }

    return "Unknown status";
}
