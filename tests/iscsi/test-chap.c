/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * CHAP, step by step against the pure login object. Random numbers are those of
 * the test, so responses can be written down: they were computed with Python's
 * hashlib, not with the library that the target uses.
 */

#include "iscsi/chap.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/core_dispatch.h>
#include <openssl/evp.h>
#include <openssl/provider.h>

#include "iscsi/login.h"

/* Tell which case it is and go on with the others */
#define FAIL(...) (g_test_message(__VA_ARGS__), g_test_fail())

#define TARGET    "iqn.2026-11.org.example:disk"
#define INITIATOR "iqn.2026-11.org.example:host"

#define T          PDU_LOGIN_TRANSIT
#define SECURITY   0x00
#define OPERATE    0x04
#define TO_OPERATE 0x01
#define TO_FULL    0x03

#define USER          "anne"
#define SECRET        "open sesame 1994"
#define MUTUAL_USER   "disk"
#define MUTUAL_SECRET "the target's own"

/* The beginning of the secret, the rest of which can be made part of a challenge */
#define PREFIX_SECRET "open sesame 199"
#define PREFIX_REST   "34" /* hexadecimal */

/* The target's challenge: identifier 0x27, bytes 0 to 31 */
#define CHALLENGE_DIGITS "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define CHALLENGE        "0x" CHALLENGE_DIGITS

#define R_SHA3_256 "0x5b4a9aea0c7d8da8090f2ae261acae9dfa411ea6a1714b761ce26795423d25f2"
#define R_SHA256   "0xaafdfbfc28dfabbed93a47ffd3c63377ab3b6c8df1862a02c53c25331c0012c3"
#define R_SHA1     "0xaa01894d9ac7ec99ceb5bd629e94abe2738d9861"
#define R_MD5      "0xb6c209791a43c30b44425c3f8e5d4a44"

/* The initiator's challenge, identifier 0x99 */
#define THEIR_I "153"
#define THEIR_C "0xf0e1d2c3b4a5968778695a4b3c2d1e0f"

#define M_SHA3_256 "0xf21eb840f873b737ebc90536d82a91442c7ed39594b51439e11baf41813fa971"
#define M_SHA256   "0xdd772a65602e0674f9797ef34ac9abb167d2f82a1f02b05a39586577d34dbd48"
#define M_SHA1     "0xb5bf2c23f25c688e13ac5cc5ba8f7a3d0e16e22a"
#define M_MD5      "0x2dc44f23b5b7586865f8b72209e4ab72"

typedef struct {
    const char *number;
    ChapAlgorithm algorithm;
    const char *response;
    const char *mutual;
} Vector;

static const Vector vectors[] = {
    { "8", CHAP_SHA3_256, R_SHA3_256, M_SHA3_256 },
    { "7", CHAP_SHA256, R_SHA256, M_SHA256 },
    { "6", CHAP_SHA1, R_SHA1, M_SHA1 },
    { "5", CHAP_MD5, R_MD5, M_MD5 },
};

typedef struct {
    LoginPolicy policy;
    ChapDigests *digests;
    Credentials *credentials;
    guint n_lookups;
    guint8 bhs[PDU_BHS_SIZE];
    Login login;
} Fixture;

static gboolean
known_random(guint8 *buffer, gsize size)
{
    if (size == 1)
        buffer[0] = 0x27;
    for (gsize i = 0; size > 1 && i < size; i++)
        buffer[i] = (guint8)i;
    return TRUE;
}

static gboolean
no_random(guint8 *buffer, gsize size)
{
    return FALSE;
}

static LoginLookup
find_target(gpointer user_data, const char *initiator_name, const char *target_name,
            LoginTarget *ret_target)
{
    iscsi_params_init_offer(&ret_target->params);
    ret_target->auth_methods = LOGIN_AUTH_CHAP;
    return LOGIN_FOUND;
}

static Credentials *
find_credentials(gpointer user_data, const char *initiator_name, const char *target_name)
{
    Fixture *fixture = user_data;

    g_assert_cmpstr(initiator_name, ==, INITIATOR);
    fixture->n_lookups++;
    return fixture->credentials;
}

static void
begin(Fixture *fixture)
{
    login_deinit(&fixture->login);
    login_init(&fixture->login, &fixture->policy);
}

static void
set_up(Fixture *fixture, gconstpointer unused)
{
    static const CredentialsAccount accounts[] = {
        { USER, SECRET, MUTUAL_USER, MUTUAL_SECRET },
        { "0xbob", SECRET, NULL, NULL },
        { "0bobby", SECRET, NULL, NULL },
        { "carol", SECRET, MUTUAL_USER, PREFIX_SECRET },
    };

    fixture->digests = chap_digests_new();
    fixture->credentials = credentials_new(accounts, G_N_ELEMENTS(accounts), NULL);
    fixture->policy = (LoginPolicy){
        .find_target = find_target,
        .find_credentials = find_credentials,
        .user_data = fixture,
        .digests = fixture->digests,
        .chap_algorithms = CHAP_ALL,
        .random = known_random,
        .discovery_auth_methods = LOGIN_AUTH_CHAP,
        .window = 8,
    };
    iscsi_params_init_offer(&fixture->policy.discovery_params);
    fixture->bhs[0] = PDU_LOGIN_REQUEST | PDU_IMMEDIATE;
    fixture->bhs[8] = 0x80;
    put_be32(fixture->bhs + 16, 0x55);
    login_init(&fixture->login, &fixture->policy);
}

static void
tear_down(Fixture *fixture, gconstpointer unused)
{
    login_deinit(&fixture->login);
    credentials_unref(fixture->credentials);
    chap_digests_free(fixture->digests);
}

/* @text: pairs, separated by newlines */
static LoginAction
receive(Fixture *fixture, guint8 flags, const char *text)
{
    g_autofree char *pairs = g_strdelimit(g_strdup(text), "\n", '\0');
    gsize size = text[0] != '\0' ? strlen(text) + 1 : 0;

    fixture->bhs[1] = flags;
    pdu_set_data_size(fixture->bhs, size);
    return login_receive(&fixture->login, fixture->bhs, (const guint8 *)pairs, size);
}

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

#define NAMES "InitiatorName=" INITIATOR "\nTargetName=" TARGET "\nSessionType=Normal\n"

static void
begin_chap(Fixture *fixture)
{
    begin(fixture);
    g_assert_cmpint(receive(fixture, SECURITY, NAMES "AuthMethod=CHAP,None"), ==, LOGIN_SEND);
    g_assert_cmpstr(answer(fixture, "AuthMethod"), ==, "CHAP");
}

static void
begin_challenge(Fixture *fixture, const char *list, const char *chosen)
{
    g_autofree char *text = g_strdup_printf("CHAP_A=%s", list);

    begin_chap(fixture);
    g_assert_cmpint(receive(fixture, SECURITY, text), ==, LOGIN_SEND);
    g_assert_cmpstr(answer(fixture, "CHAP_A"), ==, chosen);
    g_assert_cmpstr(answer(fixture, "CHAP_I"), ==, "39");
    g_assert_cmpstr(answer(fixture, "CHAP_C"), ==, CHALLENGE);
}

/* RFC 7143 9.2: what is not of the step, what is missing from it, and what is wrong with a proof */
#define BROKEN  LOGIN_STATUS_INITIATOR_ERROR
#define MISSING LOGIN_STATUS_MISSING_PARAMETER
#define FAILED  LOGIN_STATUS_AUTHENTICATION_FAILURE

/* Nothing but @status on the wire; the journal has @part of a sentence and no secret */
static void
expect_status(const Fixture *fixture, LoginAction action, guint16 status, const char *part)
{
    const Login *login = &fixture->login;

    g_assert_cmpint(action, ==, LOGIN_REFUSE);
    if (login->status != status)
        FAIL("%04x, not %04x: “%s”", login->status, status, login->reason);
    g_assert_cmphex(pdu_login_status(login->response), ==, login->status);
    g_assert_cmpuint(login->response_size, ==, 0);
    g_assert_cmpstr(login->chap_user, ==, "");
    if (strstr(login->reason, part) == NULL)
        FAIL("“%s” is not in “%s”", part, login->reason);
    g_assert_null(strstr(login->reason, SECRET));
    g_assert_null(strstr(login->reason, MUTUAL_SECRET));
    g_assert_null(strstr(login->reason, "000102"));
    g_assert_null(strstr(login->reason, "b6c209"));
}

static void
expect_refused(const Fixture *fixture, LoginAction action, const char *part)
{
    expect_status(fixture, action, FAILED, part);
}

static void
test_digests(Fixture *fixture, gconstpointer unused)
{
    guint8 challenge[CHAP_CHALLENGE_SIZE], digest[CHAP_DIGEST_MAX];
    char text[2 * CHAP_DIGEST_MAX + 3];

    (void)known_random(challenge, sizeof(challenge));
    for (gsize i = 0; i < G_N_ELEMENTS(vectors); i++) {
        gsize size = chap_digest(fixture->digests, vectors[i].algorithm, 0x27, SECRET, challenge,
                                 sizeof(challenge), digest);

        g_assert_true(text_format_hex(digest, size, text, sizeof(text)));
        g_assert_cmpstr(text, ==, vectors[i].response);
    }
}

static void
test_algorithm_names(void)
{
    static const char *const names[] = { "SHA3-256", "SHA-256", "SHA1", "MD5" };
    static const guint8 numbers[] = { 8, 7, 6, 5 };
    ChapAlgorithm algorithm;

    for (guint i = 0; i < CHAP_ALGORITHM_N; i++) {
        g_assert_cmpstr(chap_algorithm_name((ChapAlgorithm)i), ==, names[i]);
        g_assert_cmpuint(chap_algorithm_number((ChapAlgorithm)i), ==, numbers[i]);
        g_assert_true(chap_algorithm_parse(names[i], &algorithm));
        g_assert_cmpuint(algorithm, ==, i);
    }
    g_assert_true(chap_algorithm_parse("md5", &algorithm));
    g_assert_false(chap_algorithm_parse("SHA", &algorithm));
}

static void
test_random(void)
{
    guint8 a[CHAP_CHALLENGE_SIZE], b[CHAP_CHALLENGE_SIZE];

    g_assert_true(chap_random(a, sizeof(a)));
    g_assert_true(chap_random(b, sizeof(b)));
    g_assert_true(memcmp(a, b, sizeof(a)) != 0);
}

static void
test_one_way(Fixture *fixture, gconstpointer unused)
{
    for (gsize i = 0; i < G_N_ELEMENTS(vectors); i++) {
        g_autofree char *text = g_strdup_printf("CHAP_N=" USER "\nCHAP_R=%s", vectors[i].response);

        begin_challenge(fixture, vectors[i].number, vectors[i].number);
        g_assert_cmpint(receive(fixture, T | SECURITY | TO_OPERATE, text), ==, LOGIN_SEND);
        g_assert_cmphex(fixture->login.response[1], ==, T | SECURITY | TO_OPERATE);
        g_assert_cmpuint(fixture->login.response_size, ==, 0);
        g_assert_cmpstr(fixture->login.chap_user, ==, USER);
        g_assert_cmpint(receive(fixture, T | OPERATE | TO_FULL, ""), ==, LOGIN_CLAIM);
    }
}

static void
test_mutual(Fixture *fixture, gconstpointer unused)
{
    for (gsize i = 0; i < G_N_ELEMENTS(vectors); i++) {
        g_autofree char *text = g_strdup_printf(
            "CHAP_N=" USER "\nCHAP_R=%s\nCHAP_I=" THEIR_I "\nCHAP_C=" THEIR_C, vectors[i].response);

        begin_challenge(fixture, vectors[i].number, vectors[i].number);
        g_assert_cmpint(receive(fixture, T | SECURITY | TO_FULL, text), ==, LOGIN_CLAIM);
        g_assert_cmpint(login_claimed(&fixture->login, &(LoginClaim){ .tsih = 1 }), ==, LOGIN_DONE);
        g_assert_cmpstr(answer(fixture, "CHAP_N"), ==, MUTUAL_USER);
        g_assert_cmpstr(answer(fixture, "CHAP_R"), ==, vectors[i].mutual);
    }
}

/* Who goes on has believed the target's proof; who leaves before has not */
static void
test_mutual_is_believed(Fixture *fixture, gconstpointer unused)
{
    begin_challenge(fixture, "5", "5");
    g_assert_cmpint(receive(fixture, T | SECURITY | TO_OPERATE,
                            "CHAP_N=" USER "\nCHAP_R=" R_MD5 "\nCHAP_I=" THEIR_I
                            "\nCHAP_C=" THEIR_C),
                    ==, LOGIN_SEND);
    g_assert_true(fixture->login.awaits_trust);
    g_assert_cmpint(receive(fixture, OPERATE, ""), ==, LOGIN_SEND);
    g_assert_false(fixture->login.awaits_trust);
}

/* Other ways to write the same */
static void
test_encodings(Fixture *fixture, gconstpointer unused)
{
    static const char *const cases[] = {
        "CHAP_R=0btsIJeRpDwwtEQlw/jl1KRA==\nCHAP_N=" USER,
        "CHAP_R=0BtsIJeRpDwwtEQlw/jl1KRA==\nCHAP_N=" USER,
        "CHAP_N=" USER "\nCHAP_R=0XB6C209791A43C30B44425C3F8E5D4A44",
        "CHAP_I=0x99\nCHAP_C=0b8OHSw7Sllod4aVpLPC0eDw==\nCHAP_R=" R_MD5 "\nCHAP_N=" USER,
        "CHAP_C=" THEIR_C "\nCHAP_N=" USER "\nCHAP_I=0X99\nCHAP_R=" R_MD5,
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        begin_challenge(fixture, "5", "5");
        g_assert_cmpint(receive(fixture, T | SECURITY | TO_OPERATE, cases[i]), ==, LOGIN_SEND);
        g_assert_cmphex(fixture->login.response[1], ==, T | SECURITY | TO_OPERATE);
        if (strstr(cases[i], "CHAP_C") != NULL)
            g_assert_cmpstr(answer(fixture, "CHAP_R"), ==, M_MD5);
    }
}

/* In our order of strength, whatever theirs is */
static void
test_strongest(Fixture *fixture, gconstpointer unused)
{
    static const struct {
        guint32 allowed;
        const char *list;
        const char *chosen; /* NULL: none */
    } cases[] = {
        { CHAP_ALL, "5,6,7,8", "8" },
        { CHAP_ALL, "8,7,6,5", "8" },
        { CHAP_ALL, "5,7", "7" },
        { CHAP_ALL, "5,6", "6" },
        { CHAP_ALL, "5", "5" },
        { CHAP_ALL, "0x5,0x08", "8" },
        { CHAP_ALL, "5,5", "5" },
        { CHAP_ALL, "1,200,99999,5", "5" },
        { CHAP_ALL, "1", NULL },
        { CHAP_ALL & ~(1u << CHAP_SHA3_256), "8,7,5", "7" },
        { 1u << CHAP_SHA256 | 1u << CHAP_SHA3_256, "5,6", NULL },
        { 1u << CHAP_MD5, "8,7,6", NULL },
        { 0, "8,7,6,5", NULL },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = g_strdup_printf("CHAP_A=%s", cases[i].list);

        fixture->policy.chap_algorithms = cases[i].allowed;
        if (cases[i].chosen != NULL) {
            begin_challenge(fixture, cases[i].list, cases[i].chosen);
            continue;
        }
        begin_chap(fixture);
        expect_refused(fixture, receive(fixture, SECURITY, text), "");
    }
}

static void
test_no_common_algorithm(Fixture *fixture, gconstpointer unused)
{
    fixture->policy.chap_algorithms = 1u << CHAP_SHA256 | 1u << CHAP_SHA3_256;
    begin_chap(fixture);
    expect_refused(fixture, receive(fixture, SECURITY, "CHAP_A=5,6"),
                   "offers SHA1, MD5, allowed here: SHA3-256, SHA-256;");
}

/* Names are text, also those that look like numbers */
static void
test_names(Fixture *fixture, gconstpointer unused)
{
    begin_challenge(fixture, "5", "5");
    g_assert_cmpint(receive(fixture, T | SECURITY | TO_OPERATE, "CHAP_N=0xbob\nCHAP_R=" R_MD5), ==,
                    LOGIN_SEND);
    g_assert_cmpstr(fixture->login.chap_user, ==, "0xbob");
    begin_challenge(fixture, "5", "5");
    g_assert_cmpint(receive(fixture, T | SECURITY | TO_OPERATE, "CHAP_N=0bobby\nCHAP_R=" R_MD5), ==,
                    LOGIN_SEND);
    g_assert_cmpstr(fixture->login.chap_user, ==, "0bobby");
}

/* The initiator asks step by step and moves on later */
static void
test_slow(Fixture *fixture, gconstpointer unused)
{
    begin_chap(fixture);
    g_assert_cmpint(receive(fixture, SECURITY, ""), ==, LOGIN_SEND);
    g_assert_cmpint(receive(fixture, T | SECURITY | TO_OPERATE, ""), ==, LOGIN_SEND);
    g_assert_cmphex(fixture->login.response[1], ==, SECURITY); /* not yet */
    g_assert_cmpint(receive(fixture, T | SECURITY | TO_OPERATE, "CHAP_A=5"), ==, LOGIN_SEND);
    g_assert_cmphex(fixture->login.response[1], ==, SECURITY);
    g_assert_cmpint(receive(fixture, T | SECURITY | TO_FULL, ""), ==, LOGIN_SEND);
    g_assert_cmphex(fixture->login.response[1], ==, SECURITY);
    g_assert_cmpint(receive(fixture, SECURITY, "CHAP_N=" USER "\nCHAP_R=" R_MD5), ==, LOGIN_SEND);
    g_assert_cmphex(fixture->login.response[1], ==, SECURITY);
    g_assert_cmpint(receive(fixture, T | SECURITY | TO_OPERATE, ""), ==, LOGIN_SEND);
    g_assert_cmphex(fixture->login.response[1], ==, T | SECURITY | TO_OPERATE);
}

/* Method and algorithms in one request: the initiator did not wait to hear what it wants to hear */
static void
test_eager(Fixture *fixture, gconstpointer unused)
{
    begin(fixture);
    g_assert_cmpint(receive(fixture, SECURITY, NAMES "AuthMethod=CHAP\nCHAP_A=5"), ==, LOGIN_SEND);
    g_assert_cmpstr(answer(fixture, "AuthMethod"), ==, "CHAP");
    g_assert_cmpstr(answer(fixture, "CHAP_C"), ==, CHALLENGE);
}

static void
test_discovery(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(receive(fixture, SECURITY,
                            "InitiatorName=" INITIATOR "\nSessionType=Discovery\nAuthMethod=CHAP"),
                    ==, LOGIN_SEND);
    g_assert_cmpint(receive(fixture, SECURITY, "CHAP_A=7"), ==, LOGIN_SEND);
    g_assert_cmpint(receive(fixture, T | SECURITY | TO_FULL, "CHAP_N=" USER "\nCHAP_R=" R_SHA256),
                    ==, LOGIN_CLAIM);
}

/* What the initiator may get wrong when the algorithm is to be chosen */
static void
test_wrong_algorithm(Fixture *fixture, gconstpointer unused)
{
    static const struct {
        const char *text;
        guint16 status;
        const char *reason;
    } cases[] = {
        { "CHAP_A=", BROKEN, "CHAP_A has a value that is malformed" },
        { "CHAP_A=5,", BROKEN, "malformed" },
        { "CHAP_A=,5", BROKEN, "malformed" },
        { "CHAP_A=MD5", BROKEN, "malformed" },
        { "CHAP_A=-5", BROKEN, "malformed" },
        { "CHAP_A=5 ", BROKEN, "malformed" },
        { "CHAP_A=0x", BROKEN, "malformed" },
        { "CHAP_A=Reject", BROKEN, "malformed" },
        { "CHAP_A=1,200,5,18446744073709551", BROKEN, "malformed" }, /* too many digits */
        { "CHAP_A=5\nCHAP_A=5", BROKEN, "CHAP_A was sent twice" },
        { "CHAP_A=5\nCHAP_N=" USER "\nCHAP_R=" R_MD5, BROKEN,
          "CHAP_N came before or after its step" },
        { "CHAP_N=" USER "\nCHAP_R=" R_MD5, BROKEN, "CHAP_N came before or after its step" },
        { "CHAP_I=1\nCHAP_C=0x01", BROKEN, "CHAP_I came before or after its step" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        begin_chap(fixture);
        expect_status(fixture, receive(fixture, SECURITY, cases[i].text), cases[i].status,
                      cases[i].reason);
    }
    g_assert_cmpuint(fixture->n_lookups, ==, 0);
}

/* And what when it is to answer; the challenge was for MD5 */
static void
test_wrong_response(Fixture *fixture, gconstpointer unused)
{
    g_autofree char *long_name = g_strnfill(TEXT_VALUE_MAX + 1, 'n');
    g_autofree char *long_hex = g_strnfill(2 * (CHAP_CHALLENGE_MAX + 1), '0');
    g_autofree char *too_long =
        g_strdup_printf("CHAP_N=" USER "\nCHAP_R=" R_MD5 "\nCHAP_I=1\nCHAP_C=0x%s", long_hex);
    g_autofree char *longer_response = g_strdup_printf("CHAP_N=" USER "\nCHAP_R=0x%s", long_hex);
    g_autofree char *long_response = g_strndup(longer_response, strlen(longer_response) - 2);
    const struct {
        const char *text;
        guint16 status;
        const char *reason;
    } cases[] = {
        { "CHAP_N=" USER "\nCHAP_R=0xb6c209791a43c30b44425c3f8e5d4a45", FAILED,
          "has another secret" },
        { "CHAP_N=0xbob\nCHAP_R=0x00000000000000000000000000000000", FAILED,
          "“0xbob” has another secret" },
        { "CHAP_N=" USER "\nCHAP_R=" R_SHA256, FAILED, "is not one of MD5: it has 32 bytes" },
        { "CHAP_N=" USER "\nCHAP_R=0xb6c209791a43c30b44425c3f8e5d4a4400", FAILED,
          "it has 17 bytes" },
        { "CHAP_N=" USER "\nCHAP_R=0xb6c209791a43c30b44425c3f8e5d4a", FAILED, "it has 15 bytes" },
        { "CHAP_N=" USER "\nCHAP_R=0x00", FAILED, "it has 1 bytes" },
        { "CHAP_N=eve\nCHAP_R=" R_MD5, FAILED, "CHAP user “eve” is not known here" },
        { "CHAP_N=\nCHAP_R=" R_MD5, FAILED, "CHAP user “” is not known here" },
        { "CHAP_N=ANNE\nCHAP_R=" R_MD5, FAILED, "is not known here" },
        { "CHAP_N=a\033[2J\001\nCHAP_R=" R_MD5, FAILED, "“a\\033[2J\\001” is not known here" },
        { "CHAP_N=\377\nCHAP_R=" R_MD5, FAILED, "is not known here" },
        { "CHAP_N=" USER "\nCHAP_R=b6c209791a43c30b44425c3f8e5d4a44", BROKEN,
          "CHAP_R has a value" },
        { "CHAP_N=" USER "\nCHAP_R=", BROKEN, "CHAP_R has a value" },
        { "CHAP_N=" USER "\nCHAP_R=0x", BROKEN, "CHAP_R has a value" },
        { "CHAP_N=" USER "\nCHAP_R=0b", BROKEN, "CHAP_R has a value" },
        { "CHAP_N=" USER "\nCHAP_R=0bAQI", BROKEN, "CHAP_R has a value" },
        { "CHAP_N=" USER "\nCHAP_R=0b====", BROKEN, "CHAP_R has a value" },
        { "CHAP_N=" USER "\nCHAP_R=0xzz", BROKEN, "CHAP_R has a value" },
        { "CHAP_N=" USER "\nCHAP_R=" R_SHA256 "00", FAILED, "it has 33 bytes" },
        { long_response, FAILED, "it has 1024 bytes" },
        { longer_response, BROKEN, "CHAP_R has a value that is malformed or too long" },
        { "CHAP_N=" USER, MISSING, "did not come together" },
        { "CHAP_R=" R_MD5, MISSING, "did not come together" },
        { "CHAP_I=1\nCHAP_C=0x01", MISSING, "did not come together" },
        { "CHAP_N=" USER "\nCHAP_R=" R_MD5 "\nCHAP_I=1", MISSING, "did not come together" },
        { "CHAP_N=" USER "\nCHAP_R=" R_MD5 "\nCHAP_C=0x01", MISSING, "did not come together" },
        { "CHAP_N=" USER "\nCHAP_R=" R_MD5 "\nCHAP_R=" R_MD5, BROKEN, "CHAP_R was sent twice" },
        { "CHAP_N=" USER "\nCHAP_N=" USER "\nCHAP_R=" R_MD5, BROKEN, "CHAP_N was sent twice" },
        { "CHAP_A=5\nCHAP_N=" USER "\nCHAP_R=" R_MD5, BROKEN, "CHAP_A was sent twice" },
        { "CHAP_N=" USER "\nCHAP_R=" R_MD5 "\nCHAP_I=256\nCHAP_C=0x01", BROKEN,
          "CHAP_I has a value" },
        { "CHAP_N=" USER "\nCHAP_R=" R_MD5 "\nCHAP_I=\nCHAP_C=0x01", BROKEN, "CHAP_I has a value" },
        { "CHAP_N=" USER "\nCHAP_R=" R_MD5 "\nCHAP_I=1\nCHAP_C=0x", BROKEN, "CHAP_C has a value" },
        { "CHAP_N=" USER "\nCHAP_R=" R_MD5 "\nCHAP_I=1\nCHAP_C=x", BROKEN, "CHAP_C has a value" },
        { too_long, BROKEN, "CHAP_C has a value that is malformed or too long" },
        /* reflection */
        { "CHAP_N=" USER "\nCHAP_R=" R_MD5 "\nCHAP_I=39\nCHAP_C=" CHALLENGE, FAILED, "reflection" },
        { "CHAP_N=" USER "\nCHAP_R=" R_MD5 "\nCHAP_I=1\nCHAP_C=" CHALLENGE, FAILED, "reflection" },
        { "CHAP_N=carol\nCHAP_R=" R_MD5 "\nCHAP_I=39\nCHAP_C=0x" PREFIX_REST CHALLENGE_DIGITS,
          FAILED, "response is the one we would give" },
        /* mutual, and nothing to prove us with */
        { "CHAP_N=0xbob\nCHAP_R=" R_MD5 "\nCHAP_I=1\nCHAP_C=0x01", FAILED,
          "has no mutual user and secret" },
        /* right, but only who proved itself hears more of us */
        { "CHAP_N=" USER "\nCHAP_R=0x00000000000000000000000000000000\nCHAP_I=1\nCHAP_C=0x01",
          FAILED, "has another secret" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        begin_challenge(fixture, "5", "5");
        expect_status(fixture, receive(fixture, T | SECURITY | TO_OPERATE, cases[i].text),
                      cases[i].status, cases[i].reason);
    }

    /* More than any value may have; the text itself is refused, or the key */
    begin_challenge(fixture, "5", "5");
    g_free(too_long);
    too_long = g_strdup_printf("CHAP_N=%s\nCHAP_R=" R_MD5, long_name);
    g_assert_cmpint(receive(fixture, T | SECURITY | TO_OPERATE, too_long), ==, LOGIN_REFUSE);
}

/* The longest that may be */
static void
test_long_challenge(Fixture *fixture, gconstpointer unused)
{
    g_autofree char *hex = g_strnfill(2 * CHAP_CHALLENGE_MAX, '0');
    g_autofree char *text =
        g_strdup_printf("CHAP_N=" USER "\nCHAP_R=" R_MD5 "\nCHAP_I=0\nCHAP_C=0x%s", hex);

    begin_challenge(fixture, "5", "5");
    g_assert_cmpint(receive(fixture, T | SECURITY | TO_OPERATE, text), ==, LOGIN_SEND);
    g_assert_cmpuint(strlen(answer(fixture, "CHAP_R")), ==, strlen(R_MD5));
}

static void
test_keys_after_the_end(Fixture *fixture, gconstpointer unused)
{
    static const char *const cases[] = { "CHAP_A=5", "CHAP_N=" USER "\nCHAP_R=" R_MD5,
                                         "CHAP_I=1\nCHAP_C=0x01" };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        begin_challenge(fixture, "5", "5");
        g_assert_cmpint(receive(fixture, SECURITY, "CHAP_N=" USER "\nCHAP_R=" R_MD5), ==,
                        LOGIN_SEND);
        g_assert_cmpint(receive(fixture, SECURITY, cases[i]), ==, LOGIN_REFUSE);
        g_assert_cmphex(fixture->login.status, ==, BROKEN);
    }
}

/* The initiator leaves the stage in the middle */
static void
test_skipped(Fixture *fixture, gconstpointer unused)
{
    begin_chap(fixture);
    g_assert_cmpint(receive(fixture, T | OPERATE | TO_FULL, ""), ==, LOGIN_REFUSE);
    begin_challenge(fixture, "5", "5");
    g_assert_cmpint(receive(fixture, T | OPERATE | TO_FULL, ""), ==, LOGIN_REFUSE);
    begin(fixture);
    expect_refused(fixture, receive(fixture, T | OPERATE | TO_FULL, NAMES),
                   "the initiator skips authentication");
    begin(fixture);
    expect_refused(fixture, receive(fixture, T | SECURITY | TO_OPERATE, NAMES),
                   "the initiator skips authentication");
    begin(fixture);
    expect_refused(fixture, receive(fixture, T | SECURITY | TO_OPERATE, NAMES "AuthMethod=None"),
                   "CHAP is wanted here and the initiator does not offer it");
    begin(fixture);
    expect_status(fixture, receive(fixture, SECURITY, NAMES "CHAP_A=5"), BROKEN,
                  "CHAP_A came without AuthMethod=CHAP");
}

/* Secrets that are changed during a login are those that count */
static void
test_current_credentials(Fixture *fixture, gconstpointer unused)
{
    static const CredentialsAccount changed = { USER, "another secret", NULL, NULL };

    begin_challenge(fixture, "5", "5");
    credentials_unref(fixture->credentials);
    fixture->credentials = credentials_new(&changed, 1, NULL);
    expect_refused(fixture,
                   receive(fixture, T | SECURITY | TO_OPERATE, "CHAP_N=" USER "\nCHAP_R=" R_MD5),
                   "has another secret");
    begin_challenge(fixture, "5", "5");
    g_clear_pointer(&fixture->credentials, credentials_unref);
    expect_refused(fixture,
                   receive(fixture, T | SECURITY | TO_OPERATE, "CHAP_N=" USER "\nCHAP_R=" R_MD5),
                   "is not known here");
}

static void
test_no_random(Fixture *fixture, gconstpointer unused)
{
    fixture->policy.random = no_random;
    begin_chap(fixture);
    g_assert_cmpint(receive(fixture, SECURITY, "CHAP_A=5"), ==, LOGIN_REFUSE);
    g_assert_cmphex(fixture->login.status, ==, LOGIN_STATUS_OUT_OF_RESOURCES);
}

static void
test_new_challenge_each_login(Fixture *fixture, gconstpointer unused)
{
    g_autofree char *first = NULL;

    fixture->policy.random = NULL;
    begin_chap(fixture);
    g_assert_cmpint(receive(fixture, SECURITY, "CHAP_A=5"), ==, LOGIN_SEND);
    first = g_strdup(answer(fixture, "CHAP_C"));
    g_assert_cmpuint(strlen(first), ==, 2 + 2 * CHAP_CHALLENGE_SIZE);
    begin_chap(fixture);
    g_assert_cmpint(receive(fixture, SECURITY, "CHAP_A=5"), ==, LOGIN_SEND);
    g_assert_cmpstr(answer(fixture, "CHAP_C"), !=, first);
}

/*
 * FIPS mode without a FIPS module: a provider that calls all digests of the default one approved, MD5
 * included, so that what is left out is left out by us.
 */

typedef struct {
    OSSL_PROVIDER *standard;
    OSSL_ALGORITHM *digests;
} Lenient;

static const OSSL_ALGORITHM *
lenient_query(void *context, int operation, int *ret_no_cache)
{
    *ret_no_cache = 0;
    return operation == OSSL_OP_DIGEST ? ((Lenient *)context)->digests : NULL;
}

static void
lenient_teardown(void *context)
{
    Lenient *lenient = context;

    (void)OSSL_PROVIDER_unload(lenient->standard);
    g_free(lenient->digests);
    g_free(lenient);
}

static int
lenient_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **ret_out,
             void **ret_context)
{
    static const OSSL_DISPATCH functions[] = {
        { OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))lenient_query },
        { OSSL_FUNC_PROVIDER_TEARDOWN, (void (*)(void))lenient_teardown },
        { 0, NULL },
    };
    Lenient *lenient = g_new0(Lenient, 1);
    const OSSL_ALGORITHM *digests;
    int no_cache;
    gsize n = 0;

    lenient->standard = OSSL_PROVIDER_load(NULL, "default");
    g_assert_nonnull(lenient->standard);
    digests = OSSL_PROVIDER_query_operation(lenient->standard, OSSL_OP_DIGEST, &no_cache);
    while (digests[n].algorithm_names != NULL)
        n++;
    lenient->digests = g_new0(OSSL_ALGORITHM, n + 1);
    for (gsize i = 0; i < n; i++) {
        lenient->digests[i] = digests[i];
        lenient->digests[i].property_definition = "provider=lenient,fips=yes";
    }
    *ret_out = functions;
    *ret_context = lenient;
    return 1;
}

static void
test_fips(void)
{
    OSSL_PROVIDER *lenient;
    ChapDigests *digests;
    EVP_MD *md5;

    /* All of the process is in that mode then */
    if (!g_test_subprocess()) {
        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_passed();
        return;
    }

    g_assert_cmpint(OSSL_PROVIDER_add_builtin(NULL, "lenient", lenient_init), ==, 1);
    lenient = OSSL_PROVIDER_load(NULL, "lenient");
    g_assert_nonnull(lenient);
    g_assert_cmpint(EVP_default_properties_enable_fips(NULL, 1), ==, 1);
    md5 = EVP_MD_fetch(NULL, "MD5", NULL);
    g_assert_nonnull(md5);
    EVP_MD_free(md5);

    digests = chap_digests_new();
    g_assert_cmphex(chap_digests_mask(digests), ==, 1u << CHAP_SHA3_256 | 1u << CHAP_SHA256);
    chap_digests_free(digests);
    (void)OSSL_PROVIDER_unload(lenient);
    /* Without a look for leaks: libcrypto keeps something of providers of one another */
    _exit(EXIT_SUCCESS);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, function)                                                                        \
    g_test_add("/iscsi/chap/" name, Fixture, NULL, set_up, function, tear_down)
    ADD("digests", test_digests);
    g_test_add_func("/iscsi/chap/algorithm-names", test_algorithm_names);
    g_test_add_func("/iscsi/chap/random", test_random);
    g_test_add_func("/iscsi/chap/fips", test_fips);
    ADD("one-way", test_one_way);
    ADD("mutual", test_mutual);
    ADD("mutual-is-believed", test_mutual_is_believed);
    ADD("encodings", test_encodings);
    ADD("strongest", test_strongest);
    ADD("no-common-algorithm", test_no_common_algorithm);
    ADD("names", test_names);
    ADD("slow", test_slow);
    ADD("eager", test_eager);
    ADD("discovery", test_discovery);
    ADD("wrong-algorithm", test_wrong_algorithm);
    ADD("wrong-response", test_wrong_response);
    ADD("long-challenge", test_long_challenge);
    ADD("keys-after-the-end", test_keys_after_the_end);
    ADD("skipped", test_skipped);
    ADD("current-credentials", test_current_credentials);
    ADD("no-random", test_no_random);
    ADD("new-challenge-each-login", test_new_challenge_each_login);
    return g_test_run();
}
