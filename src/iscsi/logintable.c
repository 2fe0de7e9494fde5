/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The state table of the login phase, RFC 7143 6.3
 *
 * One row per stage, one column per event. An event is read from a request's
 * header alone; what its text says decides whether the step succeeds and so
 * whether @next is reached. What no rule allows is refused, and after the end
 * of the login nothing is answered at all.
 *
 * Before the login phase has begun another PDU than a Login Request closes the
 * connection without a word; once it has begun such a PDU is refused with
 * "invalid during login".
 */

#include "iscsi/login.h"

#define CLOSE                                                                                      \
    {                                                                                              \
        LOGIN_STEP_CLOSE, LOGIN_STAGE_FAILED                                                       \
    }
#define REFUSE_STAGE                                                                               \
    {                                                                                              \
        LOGIN_STEP_REFUSE_STAGE, LOGIN_STAGE_FAILED                                                \
    }
#define REFUSE_PDU                                                                                 \
    {                                                                                              \
        LOGIN_STEP_REFUSE_PDU, LOGIN_STAGE_FAILED                                                  \
    }
#define REFUSE_CLAIM                                                                               \
    {                                                                                              \
        LOGIN_STEP_REFUSE_CLAIM, LOGIN_STAGE_FAILED                                                \
    }

/* clang-format off */
static const LoginTransition transitions[LOGIN_STAGE_N][LOGIN_EVENT_N] = {
    [LOGIN_STAGE_START] = {
        [LOGIN_EVENT_SECURITY]                    = { LOGIN_STEP_SECURITY,    LOGIN_STAGE_SECURITY },
        [LOGIN_EVENT_SECURITY_TO_OPERATIONAL]     = { LOGIN_STEP_SECURITY,    LOGIN_STAGE_OPERATIONAL },
        [LOGIN_EVENT_SECURITY_TO_FULL_FEATURE]    = { LOGIN_STEP_SECURITY,    LOGIN_STAGE_CLAIM },
        [LOGIN_EVENT_OPERATIONAL]                 = { LOGIN_STEP_OPERATIONAL, LOGIN_STAGE_OPERATIONAL },
        [LOGIN_EVENT_OPERATIONAL_TO_FULL_FEATURE] = { LOGIN_STEP_OPERATIONAL, LOGIN_STAGE_CLAIM },
        [LOGIN_EVENT_BAD_STAGE]                   = REFUSE_STAGE,
        [LOGIN_EVENT_OTHER_PDU]                   = CLOSE,
        [LOGIN_EVENT_CLAIMED]                     = CLOSE,
        [LOGIN_EVENT_CLAIM_REFUSED]               = CLOSE,
    },
    [LOGIN_STAGE_SECURITY] = {
        [LOGIN_EVENT_SECURITY]                    = { LOGIN_STEP_SECURITY,    LOGIN_STAGE_SECURITY },
        [LOGIN_EVENT_SECURITY_TO_OPERATIONAL]     = { LOGIN_STEP_SECURITY,    LOGIN_STAGE_OPERATIONAL },
        [LOGIN_EVENT_SECURITY_TO_FULL_FEATURE]    = { LOGIN_STEP_SECURITY,    LOGIN_STAGE_CLAIM },
        [LOGIN_EVENT_OPERATIONAL]                 = REFUSE_STAGE,
        [LOGIN_EVENT_OPERATIONAL_TO_FULL_FEATURE] = REFUSE_STAGE,
        [LOGIN_EVENT_BAD_STAGE]                   = REFUSE_STAGE,
        [LOGIN_EVENT_OTHER_PDU]                   = REFUSE_PDU,
        [LOGIN_EVENT_CLAIMED]                     = CLOSE,
        [LOGIN_EVENT_CLAIM_REFUSED]               = CLOSE,
    },
    [LOGIN_STAGE_OPERATIONAL] = {
        [LOGIN_EVENT_SECURITY]                    = REFUSE_STAGE,
        [LOGIN_EVENT_SECURITY_TO_OPERATIONAL]     = REFUSE_STAGE,
        [LOGIN_EVENT_SECURITY_TO_FULL_FEATURE]    = REFUSE_STAGE,
        [LOGIN_EVENT_OPERATIONAL]                 = { LOGIN_STEP_OPERATIONAL, LOGIN_STAGE_OPERATIONAL },
        [LOGIN_EVENT_OPERATIONAL_TO_FULL_FEATURE] = { LOGIN_STEP_OPERATIONAL, LOGIN_STAGE_CLAIM },
        [LOGIN_EVENT_BAD_STAGE]                   = REFUSE_STAGE,
        [LOGIN_EVENT_OTHER_PDU]                   = REFUSE_PDU,
        [LOGIN_EVENT_CLAIMED]                     = CLOSE,
        [LOGIN_EVENT_CLAIM_REFUSED]               = CLOSE,
    },
    /* the initiator's turn comes only with the final response */
    [LOGIN_STAGE_CLAIM] = {
        [LOGIN_EVENT_SECURITY]                    = REFUSE_STAGE,
        [LOGIN_EVENT_SECURITY_TO_OPERATIONAL]     = REFUSE_STAGE,
        [LOGIN_EVENT_SECURITY_TO_FULL_FEATURE]    = REFUSE_STAGE,
        [LOGIN_EVENT_OPERATIONAL]                 = REFUSE_STAGE,
        [LOGIN_EVENT_OPERATIONAL_TO_FULL_FEATURE] = REFUSE_STAGE,
        [LOGIN_EVENT_BAD_STAGE]                   = REFUSE_STAGE,
        [LOGIN_EVENT_OTHER_PDU]                   = REFUSE_PDU,
        [LOGIN_EVENT_CLAIMED]                     = { LOGIN_STEP_COMPLETE,    LOGIN_STAGE_FULL_FEATURE },
        [LOGIN_EVENT_CLAIM_REFUSED]               = REFUSE_CLAIM,
    },
    [LOGIN_STAGE_FULL_FEATURE] = {
        [LOGIN_EVENT_SECURITY]                    = CLOSE,
        [LOGIN_EVENT_SECURITY_TO_OPERATIONAL]     = CLOSE,
        [LOGIN_EVENT_SECURITY_TO_FULL_FEATURE]    = CLOSE,
        [LOGIN_EVENT_OPERATIONAL]                 = CLOSE,
        [LOGIN_EVENT_OPERATIONAL_TO_FULL_FEATURE] = CLOSE,
        [LOGIN_EVENT_BAD_STAGE]                   = CLOSE,
        [LOGIN_EVENT_OTHER_PDU]                   = CLOSE,
        [LOGIN_EVENT_CLAIMED]                     = CLOSE,
        [LOGIN_EVENT_CLAIM_REFUSED]               = CLOSE,
    },
    [LOGIN_STAGE_FAILED] = {
        [LOGIN_EVENT_SECURITY]                    = CLOSE,
        [LOGIN_EVENT_SECURITY_TO_OPERATIONAL]     = CLOSE,
        [LOGIN_EVENT_SECURITY_TO_FULL_FEATURE]    = CLOSE,
        [LOGIN_EVENT_OPERATIONAL]                 = CLOSE,
        [LOGIN_EVENT_OPERATIONAL_TO_FULL_FEATURE] = CLOSE,
        [LOGIN_EVENT_BAD_STAGE]                   = CLOSE,
        [LOGIN_EVENT_OTHER_PDU]                   = CLOSE,
        [LOGIN_EVENT_CLAIMED]                     = CLOSE,
        [LOGIN_EVENT_CLAIM_REFUSED]               = CLOSE,
    },
};

static const char *const stage_names[LOGIN_STAGE_N] = {
    [LOGIN_STAGE_START]        = "start",
    [LOGIN_STAGE_SECURITY]     = "security negotiation",
    [LOGIN_STAGE_OPERATIONAL]  = "operational negotiation",
    [LOGIN_STAGE_CLAIM]        = "claim",
    [LOGIN_STAGE_FULL_FEATURE] = "full feature phase",
    [LOGIN_STAGE_FAILED]       = "failed",
};

static const char *const event_names[LOGIN_EVENT_N] = {
    [LOGIN_EVENT_SECURITY]                    = "security",
    [LOGIN_EVENT_SECURITY_TO_OPERATIONAL]     = "security to operational",
    [LOGIN_EVENT_SECURITY_TO_FULL_FEATURE]    = "security to full feature",
    [LOGIN_EVENT_OPERATIONAL]                 = "operational",
    [LOGIN_EVENT_OPERATIONAL_TO_FULL_FEATURE] = "operational to full feature",
    [LOGIN_EVENT_BAD_STAGE]                   = "bad stage",
    [LOGIN_EVENT_OTHER_PDU]                   = "other PDU",
    [LOGIN_EVENT_CLAIMED]                     = "claimed",
    [LOGIN_EVENT_CLAIM_REFUSED]               = "claim refused",
};
/* clang-format on */

const LoginTransition *
login_transition(LoginStage stage, LoginEvent event)
{
    g_assert(stage < LOGIN_STAGE_N && event < LOGIN_EVENT_N);
    return &transitions[stage][event];
}

/* RFC 7143 11.12: the C bit excludes the T bit, and only these ways lead forward */
LoginEvent
login_event(const guint8 *bhs)
{
    gboolean transit = pdu_login_is_transit(bhs);
    PduStage csg = pdu_login_csg(bhs), nsg = pdu_login_nsg(bhs);

    if (pdu_opcode(bhs) != PDU_LOGIN_REQUEST)
        return LOGIN_EVENT_OTHER_PDU;
    if (transit && pdu_is_continued(bhs))
        return LOGIN_EVENT_BAD_STAGE;

    if (csg == PDU_STAGE_SECURITY && !transit)
        return LOGIN_EVENT_SECURITY;
    if (csg == PDU_STAGE_SECURITY && nsg == PDU_STAGE_OPERATIONAL)
        return LOGIN_EVENT_SECURITY_TO_OPERATIONAL;
    if (csg == PDU_STAGE_SECURITY && nsg == PDU_STAGE_FULL_FEATURE)
        return LOGIN_EVENT_SECURITY_TO_FULL_FEATURE;
    if (csg == PDU_STAGE_OPERATIONAL && !transit)
        return LOGIN_EVENT_OPERATIONAL;
    if (csg == PDU_STAGE_OPERATIONAL && nsg == PDU_STAGE_FULL_FEATURE)
        return LOGIN_EVENT_OPERATIONAL_TO_FULL_FEATURE;
    return LOGIN_EVENT_BAD_STAGE;
}

const char *
login_stage_name(LoginStage stage)
{
    return stage_names[stage];
}

const char *
login_event_name(LoginEvent event)
{
    return event_names[event];
}
