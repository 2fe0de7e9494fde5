/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Logins played request by request against the pure object */

#include "iscsi/login.h"

#include <string.h>

#define TARGET    "iqn.2026-11.org.example:disk"
#define INITIATOR "iqn.2026-11.org.example:host"

#define T          PDU_LOGIN_TRANSIT
#define C          PDU_CONTINUE
#define SECURITY   0x00
#define OPERATE    0x04
#define TO_OPERATE 0x01
#define TO_FULL    0x03

/* The names, as a literal to which more pairs can be joined */
#define NAMES "InitiatorName=" INITIATOR "\0TargetName=" TARGET "\0SessionType=Normal\0"

typedef struct {
    LoginPolicy policy;
    LoginLookup lookup;
    LoginTarget target;
    guint n_lookups;
    guint8 bhs[PDU_BHS_SIZE]; /* of the next request */
    Login login;
} Fixture;

static LoginLookup
find_target(gpointer user_data, const char *initiator_name, const char *target_name,
            LoginTarget *ret_target)
{
    Fixture *fixture = user_data;

    g_assert_cmpstr(initiator_name, ==, INITIATOR);
    fixture->n_lookups++;
    if (strcmp(target_name, TARGET) != 0)
        return LOGIN_NOT_FOUND;
    if (fixture->lookup == LOGIN_FOUND)
        *ret_target = fixture->target;
    return fixture->lookup;
}

static void
set_up(Fixture *fixture, gconstpointer unused)
{
    static const guint8 isid[6] = { 0x80, 0x12, 0x34, 0x56, 0x00, 0x01 };

    fixture->policy = (LoginPolicy){
        .find_target = find_target,
        .user_data = fixture,
        .discovery_auth_methods = LOGIN_AUTH_NONE,
        .window = 8,
    };
    iscsi_params_init_offer(&fixture->policy.discovery_params);
    iscsi_params_init_offer(&fixture->target.params);
    fixture->lookup = LOGIN_FOUND;
    fixture->target.tag = 7;
    fixture->target.auth_methods = LOGIN_AUTH_NONE;

    memset(fixture->bhs, 0, sizeof fixture->bhs);
    fixture->bhs[0] = PDU_LOGIN_REQUEST | PDU_IMMEDIATE;
    memcpy(fixture->bhs + 8, isid, 6);
    put_be32(fixture->bhs + 16, 0x55);
    put_be16(fixture->bhs + 20, 1);
    put_be32(fixture->bhs + 24, 100);
    put_be32(fixture->bhs + 28, 500);
    login_init(&fixture->login, &fixture->policy);
}

static void
tear_down(Fixture *fixture, gconstpointer unused)
{
    login_deinit(&fixture->login);
}

static LoginAction
receive(Fixture *fixture, guint8 flags, const char *text, gsize size)
{
    fixture->bhs[1] = flags;
    pdu_set_data_size(fixture->bhs, size);
    return login_receive(&fixture->login, fixture->bhs, (const guint8 *)text, size);
}

/* @text is a literal, and its last NUL the last pair's */
#define RECEIVE(fixture, flags, text) receive(fixture, flags, text, sizeof(text) - 1)
#define NOTHING                       ""

/* The value of @key in the last response, or NULL */
static const char *
answer(const Fixture *fixture, const char *key)
{
    const char *text = (const char *)fixture->login.response_data;
    gsize size = strlen(key);

    for (gsize i = 0; i < fixture->login.response_size; i += strlen(text + i) + 1) {
        if (strncmp(text + i, key, size) == 0 && text[i + size] == '=')
            return text + i + size + 1;
    }

    return NULL;
}

static void
expect_flags(const Fixture *fixture, guint8 flags)
{
    g_assert_cmphex(fixture->login.response[0], ==, 0x23);
    g_assert_cmphex(fixture->login.response[1], ==, flags);
    g_assert_cmphex(pdu_login_status(fixture->login.response), ==, 0);
    g_assert_cmpuint(pdu_data_size(fixture->login.response), ==, fixture->login.response_size);
}

static void
expect_refused(const Fixture *fixture, LoginAction action, guint16 status)
{
    g_assert_cmpint(action, ==, LOGIN_REFUSE);
    g_assert_cmphex(fixture->login.status, ==, status);
    g_assert_cmphex(pdu_login_status(fixture->login.response), ==, status);
    g_assert_cmphex(fixture->login.response[1] & T, ==, 0);
    g_assert_cmpstr(fixture->login.reason, !=, "");
    g_assert_cmpint(fixture->login.stage, ==, LOGIN_STAGE_FAILED);
    g_assert_cmpstr(login_status_name(status), !=, "Unknown status");
}

static LoginAction
claim(Fixture *fixture)
{
    return login_claimed(&fixture->login, &(LoginClaim){ .tsih = 0x1234 });
}

/* What open-iscsi does: the security stage, then the operational stage */
static void
test_two_stages(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(RECEIVE(fixture, T | SECURITY | TO_OPERATE, NAMES "AuthMethod=None\0"), ==,
                    LOGIN_SEND);
    expect_flags(fixture, T | SECURITY | TO_OPERATE);
    g_assert_cmpstr(answer(fixture, "AuthMethod"), ==, "None");
    g_assert_cmpstr(answer(fixture, "TargetPortalGroupTag"), ==, "7");
    g_assert_cmpstr(answer(fixture, "TargetAlias"), ==, NULL);
    g_assert_cmpint(fixture->login.stage, ==, LOGIN_STAGE_OPERATIONAL);

    g_assert_cmpint(RECEIVE(fixture, T | OPERATE | TO_FULL,
                            "HeaderDigest=CRC32C,None\0MaxRecvDataSegmentLength=262144\0"
                            "FirstBurstLength=65536\0InitialR2T=No\0IFMarker=No\0"),
                    ==, LOGIN_CLAIM);
    g_assert_cmpint(claim(fixture), ==, LOGIN_DONE);
    expect_flags(fixture, T | OPERATE | TO_FULL);
    g_assert_cmpstr(answer(fixture, "HeaderDigest"), ==, "CRC32C");
    g_assert_cmpstr(answer(fixture, "FirstBurstLength"), ==, "65536");
    g_assert_cmpstr(answer(fixture, "InitialR2T"), ==, "No");
    g_assert_cmpstr(answer(fixture, "IFMarker"), ==, "No");
    g_assert_cmpstr(answer(fixture, "MaxRecvDataSegmentLength"), ==, "1048576");
    g_assert_null(answer(fixture, "TargetPortalGroupTag")); /* it was told */
    g_assert_cmphex(pdu_login_tsih(fixture->login.response), ==, 0x1234);
    g_assert_cmpuint(login_params(&fixture->login)->header_digest, ==, ISCSI_DIGEST_CRC32C);
    g_assert_cmpuint(login_params(&fixture->login)->max_xmit_data_segment_length, ==, 262144);
}

static void
test_one_request(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(RECEIVE(fixture, T | OPERATE | TO_FULL, NAMES), ==, LOGIN_CLAIM);
    g_assert_cmpint(claim(fixture), ==, LOGIN_DONE);
    expect_flags(fixture, T | OPERATE | TO_FULL);
    g_assert_cmpstr(answer(fixture, "TargetPortalGroupTag"), ==, "7");
    g_assert_cmpstr(answer(fixture, "MaxRecvDataSegmentLength"), ==, "1048576");
}

static void
test_security_to_full_feature(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(RECEIVE(fixture, T | SECURITY | TO_FULL, NAMES "AuthMethod=CHAP,None\0"), ==,
                    LOGIN_CLAIM);
    g_assert_cmpint(claim(fixture), ==, LOGIN_DONE);
    expect_flags(fixture, T | SECURITY | TO_FULL);
    g_assert_cmpstr(answer(fixture, "AuthMethod"), ==, "None");
    g_assert_cmpuint(login_params(&fixture->login)->max_recv_data_segment_length, ==, 8192);
}

/* The initiator stays in each stage for a while */
static void
test_slow(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(RECEIVE(fixture, SECURITY, NAMES), ==, LOGIN_SEND);
    expect_flags(fixture, SECURITY);
    g_assert_cmpint(RECEIVE(fixture, SECURITY, "AuthMethod=None\0"), ==, LOGIN_SEND);
    g_assert_cmpint(RECEIVE(fixture, T | SECURITY | TO_OPERATE, NOTHING), ==, LOGIN_SEND);
    expect_flags(fixture, T | SECURITY | TO_OPERATE);
    g_assert_cmpint(RECEIVE(fixture, OPERATE, "ErrorRecoveryLevel=2\0"), ==, LOGIN_SEND);
    expect_flags(fixture, OPERATE);
    g_assert_cmpstr(answer(fixture, "ErrorRecoveryLevel"), ==, "0");
    g_assert_cmpint(RECEIVE(fixture, T | OPERATE | TO_FULL, NOTHING), ==, LOGIN_CLAIM);
    g_assert_cmpint(claim(fixture), ==, LOGIN_DONE);
    g_assert_cmpuint(fixture->login.response_size, ==, 0);
}

static void
test_alias(Fixture *fixture, gconstpointer unused)
{
    g_strlcpy(fixture->target.alias, "a disk", sizeof fixture->target.alias);
    g_assert_cmpint(RECEIVE(fixture, SECURITY, NAMES "InitiatorAlias=a host\0"), ==, LOGIN_SEND);
    g_assert_cmpstr(answer(fixture, "TargetAlias"), ==, "a disk");
    g_assert_cmpstr(fixture->login.initiator_alias, ==, "a host");
    login_init(&fixture->login, &fixture->policy);
    g_assert_cmpint(RECEIVE(fixture, SECURITY, NAMES "InitiatorAlias=a\xffhost\0"), ==, LOGIN_SEND);
    g_assert_cmpstr(fixture->login.initiator_alias, ==, ""); /* not UTF-8: not shown */
}

static void
test_discovery(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(RECEIVE(fixture, T | OPERATE | TO_FULL,
                            "InitiatorName=" INITIATOR "\0SessionType=Discovery\0InitialR2T=Yes\0"),
                    ==, LOGIN_CLAIM);
    g_assert_cmpint(fixture->login.type, ==, ISCSI_SESSION_DISCOVERY);
    g_assert_cmpstr(fixture->login.target_name, ==, "");
    g_assert_cmpuint(fixture->n_lookups, ==, 0);
    g_assert_cmpint(claim(fixture), ==, LOGIN_DONE);
    g_assert_null(answer(fixture, "TargetPortalGroupTag"));
    g_assert_cmpstr(answer(fixture, "InitialR2T"), ==, "Irrelevant");
}

/* RFC 7143 6.3.1, 13.9: who names a target hears the tag, in any session; no target is looked up */
static void
test_named_discovery(Fixture *fixture, gconstpointer unused)
{
    fixture->policy.tag = 9;
    g_strlcpy(fixture->target.alias, "a disk", sizeof fixture->target.alias);
    g_assert_cmpint(RECEIVE(fixture, OPERATE,
                            "InitiatorName=" INITIATOR "\0SessionType=Discovery\0"
                            "TargetName=iqn.2026-11.org.example:NO\0"),
                    ==, LOGIN_SEND);
    g_assert_cmpstr(answer(fixture, "TargetPortalGroupTag"), ==, "9");
    g_assert_null(answer(fixture, "TargetAlias"));
    g_assert_cmpstr(fixture->login.target_name, ==, "");
    g_assert_cmpstr(fixture->login.discovered_name, ==, "iqn.2026-11.org.example:no");
    g_assert_cmpuint(fixture->n_lookups, ==, 0);
    g_assert_cmpint(RECEIVE(fixture, OPERATE, NOTHING), ==, LOGIN_SEND);
    g_assert_null(answer(fixture, "TargetPortalGroupTag"));
}

static void
test_names_are_normalized(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(RECEIVE(fixture, SECURITY,
                            "InitiatorName=IQN.2026-11.org.Example:HOST\0"
                            "TargetName=iqn.2026-11.ORG.example:Disk\0"),
                    ==, LOGIN_SEND);
    g_assert_cmpstr(fixture->login.initiator_name, ==, INITIATOR);
    g_assert_cmpstr(fixture->login.target_name, ==, TARGET);
}

static void
test_numbers(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(RECEIVE(fixture, T | SECURITY | TO_OPERATE, NAMES), ==, LOGIN_SEND);
    g_assert_cmpuint(pdu_stat_sn(fixture->login.response), ==, 500);
    g_assert_cmphex(pdu_itt(fixture->login.response), ==, 0x55);
    g_assert_cmphex(pdu_login_tsih(fixture->login.response), ==, 0);
    g_assert_cmpmem(pdu_login_isid(fixture->login.response), 6, fixture->bhs + 8, 6);
    g_assert_cmpint(RECEIVE(fixture, T | OPERATE | TO_FULL, NOTHING), ==, LOGIN_CLAIM);
    g_assert_cmpint(claim(fixture), ==, LOGIN_DONE);
    g_assert_cmpuint(pdu_stat_sn(fixture->login.response), ==, 501);
    g_assert_cmpuint(pdu_exp_cmd_sn(fixture->login.response), ==, 100);
    g_assert_cmpuint(pdu_max_cmd_sn(fixture->login.response), ==, 107);
    g_assert_cmpuint(fixture->login.stat_sn, ==, 502);
}

static void
test_joined_numbers(Fixture *fixture, gconstpointer unused)
{
    LoginClaim joined = { .tsih = 9, .joined = TRUE, .exp_cmd_sn = 1000, .max_cmd_sn = 1063 };

    g_strlcpy(fixture->target.alias, "a disk", sizeof fixture->target.alias);
    put_be16(fixture->bhs + 14, 9);
    g_assert_cmpint(RECEIVE(fixture, T | OPERATE | TO_FULL, NAMES "MaxBurstLength=4096\0"), ==,
                    LOGIN_CLAIM);
    g_assert_true(fixture->login.joins);
    g_assert_cmpint(login_claimed(&fixture->login, &joined), ==, LOGIN_DONE);
    g_assert_cmpstr(answer(fixture, "TargetPortalGroupTag"), ==, "7");
    g_assert_null(answer(fixture, "TargetAlias")); /* of the session, which has begun before */
    g_assert_cmpstr(answer(fixture, "MaxBurstLength"), ==, "Reject");
    g_assert_cmpuint(pdu_exp_cmd_sn(fixture->login.response), ==, 1000);
    g_assert_cmpuint(pdu_max_cmd_sn(fixture->login.response), ==, 1063);
}

/* The C bit: pairs are cut in the middle, each part answered with nothing */
static void
test_text_across_requests(Fixture *fixture, gconstpointer unused)
{
    static const char text[] = NAMES "AuthMethod=None\0";
    gsize half = sizeof text / 2;

    g_assert_cmpint(receive(fixture, C | SECURITY, text, half), ==, LOGIN_SEND);
    expect_flags(fixture, SECURITY);
    g_assert_cmpuint(fixture->login.response_size, ==, 0);
    g_assert_cmpint(receive(fixture, T | SECURITY | TO_OPERATE, text + half, sizeof text - half),
                    ==, LOGIN_SEND);
    expect_flags(fixture, T | SECURITY | TO_OPERATE);
    g_assert_cmpstr(answer(fixture, "AuthMethod"), ==, "None");
    g_assert_cmpstr(answer(fixture, "TargetPortalGroupTag"), ==, "7");
}

static void
test_stage_changes_inside_text(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(RECEIVE(fixture, C | SECURITY, NAMES), ==, LOGIN_SEND);
    expect_refused(fixture, RECEIVE(fixture, OPERATE, NOTHING), LOGIN_STATUS_INITIATOR_ERROR);
}

/* A request whose answer is longer than the 512 bytes that the initiator takes */
static LoginAction
receive_long(Fixture *fixture)
{
    static const char start[] = NAMES "MaxRecvDataSegmentLength=512\0";
    GString *text = g_string_new_len(start, sizeof start - 1);
    LoginAction action;

    for (guint i = 0; i < 60; i++) {
        g_string_append_printf(text, "X-key%u=1", i);
        g_string_append_c(text, '\0');
    }
    action = receive(fixture, T | OPERATE | TO_FULL, text->str, text->len);
    g_string_free(text, TRUE);
    return action;
}

/* It comes in pieces, and only with the last one the login moves on */
static void
test_long_answer(Fixture *fixture, gconstpointer unused)
{
    LoginAction action = receive_long(fixture);
    gsize n_bytes = 0;
    guint n = 0;

    while (action == LOGIN_SEND) {
        expect_flags(fixture, C | OPERATE);
        g_assert_cmpuint(fixture->login.response_size, ==, 512);
        n_bytes += 512;
        n++;
        action = RECEIVE(fixture, T | OPERATE | TO_FULL, NOTHING);
    }
    g_assert_cmpuint(n, >, 1);
    g_assert_cmpint(action, ==, LOGIN_CLAIM);
    g_assert_cmpint(claim(fixture), ==, LOGIN_DONE);
    g_assert_cmpuint(n_bytes + fixture->login.response_size, ==, fixture->login.writer.size);
}

static void
test_text_during_answer(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(receive_long(fixture), ==, LOGIN_SEND);
    expect_refused(fixture, RECEIVE(fixture, OPERATE, "X-a=b\0"), LOGIN_STATUS_INITIATOR_ERROR);
    login_init(&fixture->login, &fixture->policy);
    g_assert_cmpint(receive_long(fixture), ==, LOGIN_SEND);
    expect_refused(fixture, RECEIVE(fixture, C | OPERATE, NOTHING), LOGIN_STATUS_INITIATOR_ERROR);
}

static void
test_missing_initiator_name(Fixture *fixture, gconstpointer unused)
{
    expect_refused(fixture, RECEIVE(fixture, T | OPERATE | TO_FULL, "TargetName=" TARGET "\0"),
                   LOGIN_STATUS_MISSING_PARAMETER);
}

static void
test_missing_target_name(Fixture *fixture, gconstpointer unused)
{
    expect_refused(fixture,
                   RECEIVE(fixture, T | OPERATE | TO_FULL, "InitiatorName=" INITIATOR "\0"),
                   LOGIN_STATUS_MISSING_PARAMETER);
}

static void
test_session_type(Fixture *fixture, gconstpointer unused)
{
    expect_refused(fixture,
                   RECEIVE(fixture, SECURITY, "InitiatorName=" INITIATOR "\0SessionType=Odd\0"),
                   LOGIN_STATUS_SESSION_TYPE);
}

static void
test_unknown_target(Fixture *fixture, gconstpointer unused)
{
    expect_refused(fixture,
                   RECEIVE(fixture, SECURITY,
                           "InitiatorName=" INITIATOR "\0TargetName=iqn.2026-11.org.example:no\0"),
                   LOGIN_STATUS_NOT_FOUND);
}

static void
test_bad_names(Fixture *fixture, gconstpointer unused)
{
    expect_refused(fixture,
                   RECEIVE(fixture, SECURITY, "InitiatorName=host\0TargetName=" TARGET "\0"),
                   LOGIN_STATUS_INITIATOR_ERROR);
    login_init(&fixture->login, &fixture->policy);
    expect_refused(fixture,
                   RECEIVE(fixture, SECURITY, "InitiatorName=" INITIATOR "\0TargetName=disk\xff\0"),
                   LOGIN_STATUS_NOT_FOUND);
}

static void
test_lookups(Fixture *fixture, gconstpointer unused)
{
    static const struct {
        LoginLookup lookup;
        guint16 status;
    } cases[] = {
        { LOGIN_NOT_FOUND, LOGIN_STATUS_NOT_FOUND },
        { LOGIN_HIDDEN, LOGIN_STATUS_NOT_FOUND },
        { LOGIN_FORBIDDEN, LOGIN_STATUS_AUTHORIZATION_FAILURE },
        { LOGIN_REMOVED, LOGIN_STATUS_TARGET_REMOVED },
        { LOGIN_UNAVAILABLE, LOGIN_STATUS_SERVICE_UNAVAILABLE },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        login_init(&fixture->login, &fixture->policy);
        fixture->lookup = cases[i].lookup;
        expect_refused(fixture, RECEIVE(fixture, SECURITY, NAMES), cases[i].status);
    }
}

static void
test_redirect(Fixture *fixture, gconstpointer unused)
{
    g_strlcpy(fixture->target.redirect, "192.0.2.7:3260", sizeof fixture->target.redirect);
    expect_refused(fixture, RECEIVE(fixture, SECURITY, NAMES), LOGIN_STATUS_MOVED_TEMPORARILY);
    g_assert_cmpstr(answer(fixture, "TargetAddress"), ==, "192.0.2.7:3260");

    login_init(&fixture->login, &fixture->policy);
    fixture->target.redirect_is_permanent = TRUE;
    expect_refused(fixture, RECEIVE(fixture, SECURITY, NAMES), LOGIN_STATUS_MOVED_PERMANENTLY);
    g_assert_cmpstr(answer(fixture, "TargetAddress"), ==, "192.0.2.7:3260");
}

static void
test_version(Fixture *fixture, gconstpointer unused)
{
    fixture->bhs[2] = 2;
    fixture->bhs[3] = 1;
    expect_refused(fixture, RECEIVE(fixture, SECURITY, NAMES), LOGIN_STATUS_UNSUPPORTED_VERSION);
}

static void
test_version_range(Fixture *fixture, gconstpointer unused)
{
    fixture->bhs[2] = 2;
    g_assert_cmpint(RECEIVE(fixture, SECURITY, NAMES), ==, LOGIN_SEND);
    g_assert_cmphex(fixture->login.response[3], ==, 0);
}

static void
test_header_changes(Fixture *fixture, gconstpointer unused)
{
    static const gsize offsets[] = { 13, 15, 21 }; /* ISID, TSIH, CID */

    for (gsize i = 0; i < G_N_ELEMENTS(offsets); i++) {
        login_init(&fixture->login, &fixture->policy);
        g_assert_cmpint(RECEIVE(fixture, SECURITY, NAMES), ==, LOGIN_SEND);
        fixture->bhs[offsets[i]] ^= 1;
        expect_refused(fixture, RECEIVE(fixture, SECURITY, NOTHING), LOGIN_STATUS_INITIATOR_ERROR);
        fixture->bhs[offsets[i]] ^= 1;
    }
}

static void
test_name_twice(Fixture *fixture, gconstpointer unused)
{
    expect_refused(fixture, RECEIVE(fixture, SECURITY, NAMES "InitiatorName=" INITIATOR "\0"),
                   LOGIN_STATUS_INITIATOR_ERROR);
}

static void
test_name_late(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(
        RECEIVE(fixture, SECURITY, "InitiatorName=" INITIATOR "\0TargetName=" TARGET "\0"), ==,
        LOGIN_SEND);
    expect_refused(fixture, RECEIVE(fixture, SECURITY, "SessionType=Discovery\0"),
                   LOGIN_STATUS_INITIATOR_ERROR);
}

static void
test_key_twice(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(RECEIVE(fixture, OPERATE, NAMES "MaxBurstLength=4096\0"), ==, LOGIN_SEND);
    expect_refused(fixture, RECEIVE(fixture, OPERATE, "MaxBurstLength=4096\0"),
                   LOGIN_STATUS_INITIATOR_ERROR);
}

static void
test_malformed_text(Fixture *fixture, gconstpointer unused)
{
    expect_refused(fixture, RECEIVE(fixture, SECURITY, "what is this\0"),
                   LOGIN_STATUS_INITIATOR_ERROR);
}

static void
test_too_many_keys(Fixture *fixture, gconstpointer unused)
{
    GString *text = g_string_new_len(NAMES, sizeof(NAMES) - 1);

    for (guint i = 0; i < TEXT_PAIRS_MAX; i++)
        g_string_append_len(text, "A=b", 4);
    expect_refused(fixture, receive(fixture, SECURITY, text->str, text->len),
                   LOGIN_STATUS_INITIATOR_ERROR);
    g_string_free(text, TRUE);
}

static void
test_text_is_bounded(Fixture *fixture, gconstpointer unused)
{
    static const char text[PDU_LOGIN_DATA_MAX];
    LoginAction action = LOGIN_SEND;
    guint n = 0;

    while (action == LOGIN_SEND && n++ < 10)
        action = receive(fixture, C | SECURITY, text, sizeof text);
    expect_refused(fixture, action, LOGIN_STATUS_INITIATOR_ERROR);
    g_assert_cmpuint(n, ==, TEXT_TOTAL_MAX / PDU_LOGIN_DATA_MAX + 1);
}

static void
test_requests_are_bounded(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(RECEIVE(fixture, SECURITY, NAMES), ==, LOGIN_SEND);
    for (guint i = 1; i < LOGIN_REQUESTS_MAX; i++)
        g_assert_cmpint(RECEIVE(fixture, SECURITY, NOTHING), ==, LOGIN_SEND);
    expect_refused(fixture, RECEIVE(fixture, SECURITY, NOTHING), LOGIN_STATUS_INITIATOR_ERROR);
}

static void
test_chap_wanted(Fixture *fixture, gconstpointer unused)
{
    static const struct {
        guint8 flags;
        const char *auth;
    } cases[] = {
        { T | SECURITY | TO_OPERATE, "AuthMethod=None" },
        { T | SECURITY | TO_OPERATE, "AuthMethod=KRB5" },
        { T | SECURITY | TO_OPERATE, "X-a=b" }, /* not a word on it */
        { T | SECURITY | TO_FULL, "X-a=b" },
        { T | OPERATE | TO_FULL, "X-a=b" }, /* skipped */
        { OPERATE, "X-a=b" },
    };

    fixture->target.auth_methods = LOGIN_AUTH_CHAP;
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        GString *text = g_string_new_len(NAMES, sizeof(NAMES) - 1);

        g_string_append_len(text, cases[i].auth, (gssize)strlen(cases[i].auth) + 1);
        login_init(&fixture->login, &fixture->policy);
        expect_refused(fixture, receive(fixture, cases[i].flags, text->str, text->len),
                       LOGIN_STATUS_AUTHENTICATION_FAILURE);
        g_string_free(text, TRUE);
    }
}

static void
test_auth_method_twice(Fixture *fixture, gconstpointer unused)
{
    expect_refused(fixture, RECEIVE(fixture, SECURITY, NAMES "AuthMethod=None\0AuthMethod=None\0"),
                   LOGIN_STATUS_INITIATOR_ERROR);
}

static void
test_chap_key_without_method(Fixture *fixture, gconstpointer unused)
{
    expect_refused(fixture, RECEIVE(fixture, SECURITY, NAMES "CHAP_N=root\0"),
                   LOGIN_STATUS_INITIATOR_ERROR);
    login_init(&fixture->login, &fixture->policy);
    expect_refused(fixture, RECEIVE(fixture, SECURITY, NAMES "AuthMethod=None\0CHAP_N=root\0"),
                   LOGIN_STATUS_INITIATOR_ERROR);
}

static void
test_required_digest(Fixture *fixture, gconstpointer unused)
{
    fixture->target.params.header_digest = ISCSI_DIGEST_MASK_CRC32C;
    expect_refused(fixture, RECEIVE(fixture, T | OPERATE | TO_FULL, NAMES "HeaderDigest=None\0"),
                   LOGIN_STATUS_INITIATOR_ERROR);
}

static void
test_claim_refused(Fixture *fixture, gconstpointer unused)
{
    static const guint16 statuses[] = { LOGIN_STATUS_NO_SESSION, LOGIN_STATUS_TOO_MANY_CONNECTIONS,
                                        LOGIN_STATUS_CANNOT_INCLUDE,
                                        LOGIN_STATUS_OUT_OF_RESOURCES };

    for (gsize i = 0; i < G_N_ELEMENTS(statuses); i++) {
        login_init(&fixture->login, &fixture->policy);
        g_assert_cmpint(RECEIVE(fixture, T | OPERATE | TO_FULL, NAMES), ==, LOGIN_CLAIM);
        expect_refused(fixture,
                       login_claimed(&fixture->login, &(LoginClaim){ .status = statuses[i] }),
                       statuses[i]);
        g_assert_cmpuint(fixture->login.response_size, ==, 0);
    }
}

static void
test_refused_by_caller(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(login_refuse(&fixture->login, LOGIN_STATUS_OUT_OF_RESOURCES, "No"), ==,
                    LOGIN_CLOSE); /* there is nothing to answer */
    login_init(&fixture->login, &fixture->policy);
    g_assert_cmpint(RECEIVE(fixture, SECURITY, NAMES), ==, LOGIN_SEND);
    expect_refused(fixture, login_refuse(&fixture->login, LOGIN_STATUS_OUT_OF_RESOURCES, "No"),
                   LOGIN_STATUS_OUT_OF_RESOURCES);
    g_assert_cmpint(login_refuse(&fixture->login, LOGIN_STATUS_OUT_OF_RESOURCES, "No"), ==,
                    LOGIN_CLOSE); /* it was answered */
}

static void
test_other_pdu(Fixture *fixture, gconstpointer unused)
{
    static const guint8 command[PDU_BHS_SIZE] = { PDU_SCSI_COMMAND, PDU_FINAL };

    g_assert_cmpint(login_receive(&fixture->login, command, NULL, 0), ==, LOGIN_CLOSE);
    login_init(&fixture->login, &fixture->policy);
    g_assert_cmpint(RECEIVE(fixture, SECURITY, NAMES), ==, LOGIN_SEND);
    expect_refused(fixture, login_receive(&fixture->login, command, NULL, 0),
                   LOGIN_STATUS_INVALID_DURING_LOGIN);
}

static void
test_events(void)
{
    static const struct {
        guint8 flags;
        LoginEvent event;
    } cases[] = {
        { 0x00, LOGIN_EVENT_SECURITY },
        { 0x40, LOGIN_EVENT_SECURITY },
        { 0x81, LOGIN_EVENT_SECURITY_TO_OPERATIONAL },
        { 0x83, LOGIN_EVENT_SECURITY_TO_FULL_FEATURE },
        { 0x04, LOGIN_EVENT_OPERATIONAL },
        { 0x44, LOGIN_EVENT_OPERATIONAL },
        { 0x87, LOGIN_EVENT_OPERATIONAL_TO_FULL_FEATURE },
        { 0x80, LOGIN_EVENT_BAD_STAGE }, /* to where it is */
        { 0x82, LOGIN_EVENT_BAD_STAGE }, /* to the reserved stage */
        { 0x84, LOGIN_EVENT_BAD_STAGE }, /* back */
        { 0x85, LOGIN_EVENT_BAD_STAGE },
        { 0x08, LOGIN_EVENT_BAD_STAGE }, /* from the reserved stage */
        { 0x8b, LOGIN_EVENT_BAD_STAGE },
        { 0x0c, LOGIN_EVENT_BAD_STAGE }, /* from the full feature phase */
        { 0x8f, LOGIN_EVENT_BAD_STAGE },
        { 0xc1, LOGIN_EVENT_BAD_STAGE }, /* T and C */
        { 0xc7, LOGIN_EVENT_BAD_STAGE },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        guint8 bhs[PDU_BHS_SIZE] = { PDU_LOGIN_REQUEST | PDU_IMMEDIATE, cases[i].flags };

        g_assert_cmpint(login_event(bhs), ==, cases[i].event);
        bhs[0] = PDU_NOP_OUT;
        g_assert_cmpint(login_event(bhs), ==, LOGIN_EVENT_OTHER_PDU);
    }
}

/* Bring a fresh login to @stage */
static void
go_to(Fixture *fixture, LoginStage stage)
{
    login_init(&fixture->login, &fixture->policy);
    switch (stage) {
    case LOGIN_STAGE_START:
        break;
    case LOGIN_STAGE_SECURITY:
        RECEIVE(fixture, SECURITY, NAMES);
        break;
    case LOGIN_STAGE_OPERATIONAL:
        RECEIVE(fixture, OPERATE, NAMES);
        break;
    case LOGIN_STAGE_CLAIM:
        RECEIVE(fixture, T | OPERATE | TO_FULL, NAMES);
        break;
    case LOGIN_STAGE_FULL_FEATURE:
        RECEIVE(fixture, T | OPERATE | TO_FULL, NAMES);
        claim(fixture);
        break;
    case LOGIN_STAGE_FAILED:
        RECEIVE(fixture, 0x82, NAMES);
        break;
    case LOGIN_STAGE_N:
        g_assert_not_reached();
    }
    g_assert_cmpint(fixture->login.stage, ==, stage);
}

static LoginAction
cause(Fixture *fixture, LoginEvent event)
{
    static const guint8 flags[LOGIN_EVENT_N] = {
        [LOGIN_EVENT_SECURITY] = SECURITY,
        [LOGIN_EVENT_SECURITY_TO_OPERATIONAL] = T | SECURITY | TO_OPERATE,
        [LOGIN_EVENT_SECURITY_TO_FULL_FEATURE] = T | SECURITY | TO_FULL,
        [LOGIN_EVENT_OPERATIONAL] = OPERATE,
        [LOGIN_EVENT_OPERATIONAL_TO_FULL_FEATURE] = T | OPERATE | TO_FULL,
        [LOGIN_EVENT_BAD_STAGE] = 0x82,
    };
    static const guint8 other[PDU_BHS_SIZE] = { PDU_NOP_OUT, PDU_FINAL };

    if (event == LOGIN_EVENT_OTHER_PDU)
        return login_receive(&fixture->login, other, NULL, 0);
    if (event == LOGIN_EVENT_CLAIMED)
        return claim(fixture);
    if (event == LOGIN_EVENT_CLAIM_REFUSED)
        return login_claimed(&fixture->login, &(LoginClaim){ .status = LOGIN_STATUS_NO_SESSION });
    if (fixture->login.stage == LOGIN_STAGE_START)
        return RECEIVE(fixture, flags[event], NAMES);
    return RECEIVE(fixture, flags[event], NOTHING);
}

/* What must come of each step; LOGIN_STEP_SECURITY and _OPERATIONAL succeed here */
static LoginAction
expected_action(const LoginTransition *transition)
{
    switch (transition->step) {
    case LOGIN_STEP_CLOSE:
        return LOGIN_CLOSE;
    case LOGIN_STEP_REFUSE_STAGE:
    case LOGIN_STEP_REFUSE_PDU:
    case LOGIN_STEP_REFUSE_CLAIM:
        return LOGIN_REFUSE;
    case LOGIN_STEP_SECURITY:
    case LOGIN_STEP_OPERATIONAL:
        return transition->next == LOGIN_STAGE_CLAIM ? LOGIN_CLAIM : LOGIN_SEND;
    case LOGIN_STEP_COMPLETE:
        return LOGIN_DONE;
    }

    g_assert_not_reached();
}

static void
test_every_stage_and_event(Fixture *fixture, gconstpointer unused)
{
    for (guint stage = 0; stage < LOGIN_STAGE_N; stage++) {
        for (guint event = 0; event < LOGIN_EVENT_N; event++) {
            const LoginTransition *transition =
                login_transition((LoginStage)stage, (LoginEvent)event);

            g_test_message("%s, %s", login_stage_name((LoginStage)stage),
                           login_event_name((LoginEvent)event));
            go_to(fixture, (LoginStage)stage);
            g_assert_cmpint(cause(fixture, (LoginEvent)event), ==, expected_action(transition));
            g_assert_cmpint(fixture->login.stage, ==, transition->next);
        }
    }
}

/* The full feature phase is reached by the registry's leave only, and nothing leads out of the end */
static void
test_table(void)
{
    for (guint stage = 0; stage < LOGIN_STAGE_N; stage++) {
        for (guint event = 0; event < LOGIN_EVENT_N; event++) {
            const LoginTransition *transition =
                login_transition((LoginStage)stage, (LoginEvent)event);

            if (transition->next == LOGIN_STAGE_FULL_FEATURE)
                g_assert_true(stage == LOGIN_STAGE_CLAIM && event == LOGIN_EVENT_CLAIMED);
            if (stage >= LOGIN_STAGE_FULL_FEATURE)
                g_assert_cmpint(transition->step, ==, LOGIN_STEP_CLOSE);
            if (transition->step == LOGIN_STEP_SECURITY)
                g_assert_cmpint(stage, <=, LOGIN_STAGE_SECURITY);
        }
    }
}

#define ADD(name, function)                                                                        \
    g_test_add("/iscsi/login/" name, Fixture, NULL, set_up, function, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    ADD("two-stages", test_two_stages);
    ADD("one-request", test_one_request);
    ADD("security-to-full-feature", test_security_to_full_feature);
    ADD("slow", test_slow);
    ADD("alias", test_alias);
    ADD("discovery", test_discovery);
    ADD("named-discovery", test_named_discovery);
    ADD("names-are-normalized", test_names_are_normalized);
    ADD("numbers", test_numbers);
    ADD("joined-numbers", test_joined_numbers);
    ADD("text-across-requests", test_text_across_requests);
    ADD("stage-changes-inside-text", test_stage_changes_inside_text);
    ADD("long-answer", test_long_answer);
    ADD("text-during-answer", test_text_during_answer);
    ADD("refuse/missing-initiator-name", test_missing_initiator_name);
    ADD("refuse/missing-target-name", test_missing_target_name);
    ADD("refuse/session-type", test_session_type);
    ADD("refuse/unknown-target", test_unknown_target);
    ADD("refuse/bad-names", test_bad_names);
    ADD("refuse/lookups", test_lookups);
    ADD("refuse/redirect", test_redirect);
    ADD("refuse/version", test_version);
    ADD("version-range", test_version_range);
    ADD("refuse/header-changes", test_header_changes);
    ADD("refuse/name-twice", test_name_twice);
    ADD("refuse/name-late", test_name_late);
    ADD("refuse/key-twice", test_key_twice);
    ADD("refuse/malformed-text", test_malformed_text);
    ADD("refuse/too-many-keys", test_too_many_keys);
    ADD("refuse/text-is-bounded", test_text_is_bounded);
    ADD("refuse/requests-are-bounded", test_requests_are_bounded);
    ADD("refuse/chap-wanted", test_chap_wanted);
    ADD("refuse/auth-method-twice", test_auth_method_twice);
    ADD("refuse/chap-key-without-method", test_chap_key_without_method);
    ADD("refuse/required-digest", test_required_digest);
    ADD("refuse/claim", test_claim_refused);
    ADD("refuse/by-caller", test_refused_by_caller);
    ADD("refuse/other-pdu", test_other_pdu);
    g_test_add_func("/iscsi/login/events", test_events);
    g_test_add_func("/iscsi/login/table", test_table);
    ADD("every-stage-and-event", test_every_stage_and_event);

    return g_test_run();
}
