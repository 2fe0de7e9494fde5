/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "iscsi/chap.h"
#include "iscsi/credentials.h"
#include "iscsi/negotiate.h"
#include "iscsi/param.h"
#include "iscsi/pdu.h"
#include "iscsi/peer-limits.h"
#include "iscsi/text.h"
#include "util/address.h"
#include "util/name.h"

/*
 * The login phase of one connection, as a pure object
 *
 * Login requests go in, and each comes back as an action: send a response,
 * ask for the nexus, enter the full feature phase, refuse. The object knows
 * nothing of sockets, threads or time; whoever holds it does what the action
 * says and sets a time limit.
 *
 *     action = login_receive(login, bhs, data, size);
 *     LOGIN_SEND    send login->response, wait for the next request
 *     LOGIN_CLAIM   ask the registry, then login_claimed(): one of the others
 *     LOGIN_DONE    send login->response, then the full feature phase
 *     LOGIN_REFUSE  send login->response, close
 *     LOGIN_CLOSE   close
 *
 * The response and its data lie in the Login and are overwritten by the next
 * request, so they must have left, or been copied, before that.
 *
 * A Login is about 32 KiB: it is allocated for the login and freed after it.
 */

/* Status-Class in the upper byte, Status-Detail in the lower: RFC 7143 11.13.5 */
typedef enum {
    LOGIN_STATUS_SUCCESS = 0x0000,
    LOGIN_STATUS_MOVED_TEMPORARILY = 0x0101,
    LOGIN_STATUS_MOVED_PERMANENTLY = 0x0102,
    LOGIN_STATUS_INITIATOR_ERROR = 0x0200,
    LOGIN_STATUS_AUTHENTICATION_FAILURE = 0x0201,
    LOGIN_STATUS_AUTHORIZATION_FAILURE = 0x0202,
    LOGIN_STATUS_NOT_FOUND = 0x0203,
    LOGIN_STATUS_TARGET_REMOVED = 0x0204,
    LOGIN_STATUS_UNSUPPORTED_VERSION = 0x0205,
    LOGIN_STATUS_TOO_MANY_CONNECTIONS = 0x0206,
    LOGIN_STATUS_MISSING_PARAMETER = 0x0207,
    LOGIN_STATUS_CANNOT_INCLUDE = 0x0208,
    LOGIN_STATUS_SESSION_TYPE = 0x0209,
    LOGIN_STATUS_NO_SESSION = 0x020a,
    LOGIN_STATUS_INVALID_DURING_LOGIN = 0x020b,
    LOGIN_STATUS_TARGET_ERROR = 0x0300,
    LOGIN_STATUS_SERVICE_UNAVAILABLE = 0x0301,
    LOGIN_STATUS_OUT_OF_RESOURCES = 0x0302,
} LoginStatus;

/* "Authentication failure"; never NULL */
const char *login_status_name(guint16 status);

typedef enum {
    LOGIN_STAGE_START, /* no complete request yet */
    LOGIN_STAGE_SECURITY,
    LOGIN_STAGE_OPERATIONAL,
    LOGIN_STAGE_CLAIM, /* the registry was asked; the final response waits */
    LOGIN_STAGE_FULL_FEATURE,
    LOGIN_STAGE_FAILED,
    LOGIN_STAGE_N,
} LoginStage;

/* What a request, or the registry, says: read from the header alone */
typedef enum {
    LOGIN_EVENT_SECURITY, /* CSG 0, T 0 */
    LOGIN_EVENT_SECURITY_TO_OPERATIONAL,
    LOGIN_EVENT_SECURITY_TO_FULL_FEATURE,
    LOGIN_EVENT_OPERATIONAL, /* CSG 1, T 0 */
    LOGIN_EVENT_OPERATIONAL_TO_FULL_FEATURE,
    LOGIN_EVENT_BAD_STAGE, /* any other CSG, NSG, T and C */
    LOGIN_EVENT_OTHER_PDU, /* not a Login Request */
    LOGIN_EVENT_CLAIMED,
    LOGIN_EVENT_CLAIM_REFUSED,
    LOGIN_EVENT_N,
} LoginEvent;

typedef enum {
    LOGIN_STEP_CLOSE, /* the strictest: nothing more is said */
    LOGIN_STEP_REFUSE_STAGE,
    LOGIN_STEP_REFUSE_PDU,
    LOGIN_STEP_REFUSE_CLAIM,
    LOGIN_STEP_SECURITY,
    LOGIN_STEP_OPERATIONAL,
    LOGIN_STEP_COMPLETE,
} LoginStep;

/* A row of the state table (logintable.c): @next is where a step that succeeds leads */
typedef struct {
    LoginStep step;
    LoginStage next;
} LoginTransition;

const LoginTransition *login_transition(LoginStage stage, LoginEvent event);
LoginEvent login_event(const guint8 *bhs);
const char *login_stage_name(LoginStage stage);
const char *login_event_name(LoginEvent event);

typedef enum {
    LOGIN_SEND,
    LOGIN_CLAIM,
    LOGIN_DONE,
    LOGIN_REFUSE,
    LOGIN_CLOSE,
} LoginAction;

/* Authentication methods, as a mask of what a target takes */
#define LOGIN_AUTH_NONE 0x01u
#define LOGIN_AUTH_CHAP 0x02u

/* Who can do something about a failed authentication: what the journal advises follows from it */
typedef enum {
    LOGIN_REMEDY_ACCOUNT,   /* the account is missing, or another one */
    LOGIN_REMEDY_MUTUAL,    /* the account lacks what the target would prove itself with */
    LOGIN_REMEDY_ALGORITHM, /* no algorithm in common */
    LOGIN_REMEDY_INITIATOR, /* nothing here: the initiator has to be mended */
} LoginRemedy;

typedef enum {
    LOGIN_FOUND,
    LOGIN_NOT_FOUND,
    LOGIN_HIDDEN,      /* there, but not through this portal group; the wire says "not found" */
    LOGIN_FORBIDDEN,   /* this initiator may not */
    LOGIN_REMOVED,     /* was there and will not come back */
    LOGIN_UNAVAILABLE, /* disabled, or configuration is still loading: try again */
} LoginLookup;

/* What login needs to know of a target; a copy, so that no snapshot is held while login waits */
typedef struct {
    guint32 id;                      /* the policy's, for its own use */
    guint16 tag;                     /* target portal group tag of this connection */
    guint32 auth_methods;            /* mask of LOGIN_AUTH_x; LOGIN_AUTH_NONE lets everybody in */
    char alias[TEXT_VALUE_MAX + 1];  /* "" for none */
    char redirect[ADDRESS_TEXT_MAX]; /* "" for none, else as TargetAddress has it */
    gboolean redirect_is_permanent;
    guint32 rule_id;    /* of the access rule that decided, 0: none; also when LOGIN_FORBIDDEN */
    char rule[64];      /* its name for the journal, perhaps cut */
    IscsiParams params; /* what the target offers */
} LoginTarget;

typedef struct {
    /**
     * find_target() - find a target by name for this initiator on this portal
     * @initiator_name, @target_name: normalised
     * @ret_target: zeroed; to be filled when LOGIN_FOUND is returned
     */
    LoginLookup (*find_target)(gpointer user_data, const char *initiator_name,
                               const char *target_name, LoginTarget *ret_target);
    /**
     * find_credentials() - whose CHAP response is right, as it is now
     * @target_name: "" in discovery sessions
     *
     * Returns: borrowed until the caller returns to the event loop; NULL: nobody's
     */
    Credentials *(*find_credentials)(gpointer user_data, const char *initiator_name,
                                     const char *target_name);
    gpointer user_data;
    const ChapDigests *digests; /* NULL: there is no CHAP */
    guint32 chap_algorithms;    /* those that are allowed, bit per ChapAlgorithm */
    gboolean (*random)(guint8 *buffer, gsize size); /* NULL: chap_random(); tests know better */
    IscsiParams discovery_params;                   /* what discovery sessions are offered */
    guint32 discovery_auth_methods;
    guint16 tag;           /* portal group of the connection, for discovery sessions */
    guint32 window;        /* commands a new session may send at once */
    guint32 max_text_size; /* of one request; 0: what fits */
} LoginPolicy;

/* The registry's answer to LOGIN_CLAIM */
typedef struct {
    guint16 status;     /* LOGIN_STATUS_x */
    guint16 tsih;       /* not 0 when @status is LOGIN_STATUS_SUCCESS */
    const char *reason; /* for the journal when refused; static, or NULL */
    gboolean joined;    /* an existing session: the two below are its numbers */
    guint32 exp_cmd_sn;
    guint32 max_cmd_sn;
} LoginClaim;

#define LOGIN_ANSWER_MAX   8192
#define LOGIN_REQUESTS_MAX 128 /* PDUs in one login */

typedef struct LoginAuth LoginAuth;

typedef struct Login {
    const LoginPolicy *policy;
    LoginStage stage;

    /* from the first request */
    gboolean has_header;
    guint8 isid[6];
    guint16 tsih; /* of the initiator: 0 for a new session; after login_claimed() the session's */
    guint16 cid;
    guint32 itt;
    guint32 cmd_sn;  /* the first that counts in a new session's full feature phase */
    guint32 stat_sn; /* of the next response; after LOGIN_DONE of the next PDU */
    guint32 exp_cmd_sn;
    guint32 max_cmd_sn;
    gboolean joins; /* the initiator gave a TSIH */

    /* from the first complete request */
    IscsiSessionType type;
    char initiator_name[ISCSI_NAME_MAX + 1]; /* normalised; "" until known */
    char initiator_alias[TEXT_VALUE_MAX + 1];
    char target_name[ISCSI_NAME_MAX + 1]; /* normalised; "" in discovery sessions */
    /* normalised: the TargetName of a discovery session, of which only the nexus depends; or "" */
    char discovered_name[ISCSI_NAME_MAX + 1];
    LoginTarget target;
    gboolean is_known; /* the names were checked and the target found */

    /* authentication */
    const LoginAuth *auth; /* chosen, or NULL */
    gpointer auth_state;
    gboolean is_authenticated;
    char chap_user[CREDENTIALS_USER_MAX + 1]; /* who proved itself by CHAP; "" for nobody */
    Credentials *chap_accounts; /* a reference: by which of them, as they were; or NULL */
    gboolean awaits_trust; /* the target has proved itself, and the initiator has not gone on yet */

    gboolean target_told;  /* TargetAlias and TargetPortalGroupTag were sent */
    gboolean is_continued; /* the request is not complete (C bit) */
    guint8 pending_csg;    /* its stage */
    guint8 claim_csg;      /* of the request that leads to the full feature phase */
    guint n_requests;
    guint64 identity_received; /* bit per KeyId, of keys that are not negotiated */
    Negotiation negotiation;   /* params: what was agreed on */

    /* the last action */
    guint8 response[PDU_BHS_SIZE];
    const guint8 *response_data;
    gsize response_size;
    guint16 status;     /* of LOGIN_REFUSE */
    IscsiLimit limit;   /* the same: the limit that was the cause, if one was */
    LoginRemedy remedy; /* of LOGIN_STATUS_AUTHENTICATION_FAILURE */
    char reason[448];   /* of LOGIN_REFUSE and LOGIN_CLOSE: a sentence for the journal */

    TextReader reader;
    TextWriter writer;
    char reader_buffer[TEXT_TOTAL_MAX];
    char writer_buffer[LOGIN_ANSWER_MAX];
} Login;

/*
 * An authentication method: a row of the table in login.c. AuthMethod=None is
 * one that ends at once; CHAP is in chap.c.
 */
typedef enum {
    LOGIN_AUTH_MORE, /* wait for the initiator */
    LOGIN_AUTH_PASSED,
    LOGIN_AUTH_FAILED,       /* no proof; it has said why: login_explain() */
    LOGIN_AUTH_BROKEN,       /* the same: a key or value that is not of the step, RFC 7143 9.2 */
    LOGIN_AUTH_MISSING,      /* the same: a key of the step did not come */
    LOGIN_AUTH_NO_RESOURCES, /* the same, and it is not the initiator's fault */
} LoginAuthResult;

struct LoginAuth {
    const char *name; /* as a value of AuthMethod */
    guint32 bit;
    /* one key of the method; the keys of a request come in their order */
    LoginAuthResult (*receive)(Login *login, const char *key, const char *value);
    /* all keys of a request came: write the answer */
    LoginAuthResult (*step)(Login *login, TextWriter *answers);
    void (*end)(Login *login);
};

/* For the journal, from a method that fails; what the peer sent is to be escaped and short */
void login_explain(Login *login, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* @policy is borrowed until login_deinit() */
void login_init(Login *login, const LoginPolicy *policy);
void login_deinit(Login *login);

/**
 * login_receive() - take in a PDU
 * @bhs: any PDU: another than a Login Request is refused as the RFC says
 * @data: its data segment of @size bytes, without padding
 */
LoginAction login_receive(Login *login, const guint8 *bhs, const guint8 *data, gsize size);

/**
 * login_claimed() - take in the registry's answer
 *
 * Returns: LOGIN_DONE or LOGIN_REFUSE; LOGIN_CLOSE when the login has ended meanwhile: a claim that
 *     was granted must then be given up by the caller
 */
LoginAction login_claimed(Login *login, const LoginClaim *claim);

/**
 * login_refuse() - end the login for a reason of the caller: no memory, too many sessions, shutdown
 * @reason: a sentence for the journal
 *
 * Returns: LOGIN_REFUSE, or LOGIN_CLOSE when there was no request that could be answered
 */
LoginAction login_refuse(Login *login, guint16 status, const char *reason);

/* What was agreed on; complete after LOGIN_CLAIM and LOGIN_DONE */
const IscsiParams *login_params(const Login *login);
