/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * CHAP, RFC 7143 12.1.3 over RFC 1994
 *
 *     initiator                           target
 *     CHAP_A=<list>                  ->
 *                                    <-   CHAP_A=<one> CHAP_I= CHAP_C=
 *     CHAP_N= CHAP_R=                ->
 *     [CHAP_I= CHAP_C=]
 *                                    <-   [CHAP_N= CHAP_R=]
 *
 * Each key comes once in a login and in its step; those of a step come in one
 * request, in any order. What breaks that is refused as an initiator error, a
 * key that is missing as a missing parameter (RFC 7143 9.2); whatever is wrong
 * with the proof has one answer on the wire, 0201. Each has a sentence of its
 * own in the journal, which names the account but shows neither secret nor
 * response.
 *
 * The target never answers a challenge before the initiator has proved itself,
 * so nobody who does not know a secret gets a response out of it; a challenge of
 * ours that comes back is refused (RFC 7143 9.2.1), and so is a response that is
 * the one we would give. Accounts are made with different secrets for the two
 * directions (credentials.c), which closes reflection over a second connection.
 *
 * For a user who is not known the response is compared all the same, with that
 * of a secret nobody has. What was computed is wiped when it has been used.
 */

#include "iscsi/chap.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "iscsi/login.h"

/* What an unknown user's response is compared with; that it is public gives nothing away */
#define NOBODYS_SECRET "there is no such user"

/* Of the initiator, RFC 7143 12.1.3: longer than any that is right, so that a length can be wrong */
#define CHAP_RESPONSE_MAX 1024

/* Bytes of a peer's text that the journal is shown */
#define SHOWN_MAX 40

typedef struct {
    const char *name;
    const char *evp_name;
    guint8 number; /* in CHAP_A */
    guint8 size;
    gboolean is_weak; /* not in FIPS mode */
} Algorithm;

/* clang-format off */
static const Algorithm algorithms[CHAP_ALGORITHM_N] = {
    [CHAP_SHA3_256] = { "SHA3-256", "SHA3-256", 8, 32, FALSE },
    [CHAP_SHA256]   = { "SHA-256",  "SHA2-256", 7, 32, FALSE },
    [CHAP_SHA1]     = { "SHA1",     "SHA1",     6, 20, TRUE },
    [CHAP_MD5]      = { "MD5",      "MD5",      5, 16, TRUE },
};
/* clang-format on */

struct ChapDigests {
    EVP_MD *md[CHAP_ALGORITHM_N]; /* NULL: not to be had */
};

const char *
chap_algorithm_name(ChapAlgorithm algorithm)
{
    return algorithms[algorithm].name;
}

guint8
chap_algorithm_number(ChapAlgorithm algorithm)
{
    return algorithms[algorithm].number;
}

gboolean
chap_algorithm_parse(const char *name, ChapAlgorithm *ret_algorithm)
{
    for (guint i = 0; i < CHAP_ALGORITHM_N; i++) {
        if (g_ascii_strcasecmp(algorithms[i].name, name) == 0) {
            *ret_algorithm = (ChapAlgorithm)i;
            return TRUE;
        }
    }
    return FALSE;
}

ChapDigests *
chap_digests_new(void)
{
    ChapDigests *digests = g_new0(ChapDigests, 1);
    gboolean is_fips = EVP_default_properties_is_fips_enabled(NULL) == 1;

    for (guint i = 0; i < CHAP_ALGORITHM_N; i++) {
        if (!is_fips || !algorithms[i].is_weak)
            digests->md[i] = EVP_MD_fetch(NULL, algorithms[i].evp_name, NULL);
        g_assert(digests->md[i] == NULL || EVP_MD_get_size(digests->md[i]) == algorithms[i].size);
    }
    return digests;
}

void
chap_digests_free(ChapDigests *digests)
{
    if (digests == NULL)
        return;

    for (guint i = 0; i < CHAP_ALGORITHM_N; i++)
        EVP_MD_free(digests->md[i]);
    g_free(digests);
}

guint32
chap_digests_mask(const ChapDigests *digests)
{
    guint32 mask = 0;

    for (guint i = 0; i < CHAP_ALGORITHM_N; i++)
        mask |= digests->md[i] != NULL ? 1u << i : 0;
    return mask;
}

gsize
chap_digest(const ChapDigests *digests, ChapAlgorithm algorithm, guint8 identifier,
            const char *secret, const guint8 *challenge, gsize challenge_size, guint8 *ret_digest)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    guint size = 0;
    gboolean is_right = context != NULL && digests->md[algorithm] != NULL &&
                        EVP_DigestInit_ex2(context, digests->md[algorithm], NULL) == 1 &&
                        EVP_DigestUpdate(context, &identifier, 1) == 1 &&
                        EVP_DigestUpdate(context, secret, strlen(secret)) == 1 &&
                        EVP_DigestUpdate(context, challenge, challenge_size) == 1 &&
                        EVP_DigestFinal_ex(context, ret_digest, &size) == 1;

    EVP_MD_CTX_free(context); /* wipes its state */
    return is_right ? size : 0;
}

gboolean
chap_random(guint8 *buffer, gsize size)
{
    /* Up to 256 bytes come whole, or not at all while the kernel has no entropy yet */
    return getrandom(buffer, size, GRND_NONBLOCK) == (gssize)size;
}

/*
 * The state of a login
 */

typedef enum {
    STEP_ALGORITHM, /* CHAP_A is due */
    STEP_RESPONSE,  /* CHAP_N and CHAP_R */
    STEP_END,
} Step;

enum {
    GOT_A = 1 << 0,
    GOT_I = 1 << 1,
    GOT_C = 1 << 2,
    GOT_N = 1 << 3,
    GOT_R = 1 << 4,
};

typedef struct {
    Step step;
    guint received; /* GOT_x, of the whole login */
    guint32 offered;
    ChapAlgorithm algorithm;
    guint8 identifier;
    guint8 challenge[CHAP_CHALLENGE_SIZE];

    char user[CREDENTIALS_USER_MAX + 1];
    guint8 response[CHAP_RESPONSE_MAX];
    gsize response_size;

    /* the initiator's challenge */
    guint8 their_identifier;
    guint8 their_challenge[CHAP_CHALLENGE_MAX];
    gsize their_size;
} ChapState;

static ChapState *
state_of(Login *login)
{
    if (login->auth_state == NULL)
        login->auth_state = g_try_new0(ChapState, 1);
    return login->auth_state;
}

static void
chap_end(Login *login)
{
    if (login->auth_state == NULL)
        return;

    OPENSSL_cleanse(login->auth_state, sizeof(ChapState));
    g_free(login->auth_state);
    login->auth_state = NULL;
}

/* What the peer calls itself, fit for the journal */
static char *
show_text(const char *text)
{
    gsize size = strlen(text);
    g_autofree char *valid = g_utf8_make_valid(text, (gssize)MIN(size, SHOWN_MAX));
    g_autofree char *escaped = g_strescape(valid, NULL);

    return g_strconcat(escaped, size > SHOWN_MAX ? "..." : "", NULL);
}

static LoginAuthResult
no_memory(Login *login)
{
    login_explain(login, "There is no memory for CHAP");
    return LOGIN_AUTH_NO_RESOURCES;
}

/*
 * Keys. Each function returns FALSE when the value is not what its key takes.
 */

static gboolean
receive_a(ChapState *state, const char *value)
{
    const char *item;
    gsize size;

    while (text_list_next(&value, &item, &size)) {
        char number_text[16];
        guint64 number;

        if (size >= sizeof(number_text))
            return FALSE;
        memcpy(number_text, item, size);
        number_text[size] = '\0';
        if (!text_parse_number(number_text, &number))
            return FALSE;
        for (guint i = 0; i < CHAP_ALGORITHM_N; i++)
            state->offered |= algorithms[i].number == number ? 1u << i : 0;
    }
    return TRUE;
}

static gboolean
receive_i(ChapState *state, const char *value)
{
    guint64 number;

    if (!text_parse_number(value, &number) || number > G_MAXUINT8)
        return FALSE;
    state->their_identifier = (guint8)number;
    return TRUE;
}

static gboolean
receive_c(ChapState *state, const char *value)
{
    return text_parse_binary(value, state->their_challenge, sizeof(state->their_challenge),
                             &state->their_size) &&
           state->their_size > 0;
}

/* A name is text, whatever it begins with: "0x12" is no number here */
static gboolean
receive_n(ChapState *state, const char *value)
{
    return g_strlcpy(state->user, value, sizeof(state->user)) < sizeof(state->user);
}

static gboolean
receive_r(ChapState *state, const char *value)
{
    return text_parse_binary(value, state->response, sizeof(state->response),
                             &state->response_size);
}

/* clang-format off */
static const struct {
    const char *name;
    guint bit;
    Step step;
    gboolean (*receive)(ChapState *state, const char *value);
} keys[] = {
    { "CHAP_A", GOT_A, STEP_ALGORITHM, receive_a },
    { "CHAP_I", GOT_I, STEP_RESPONSE,  receive_i },
    { "CHAP_C", GOT_C, STEP_RESPONSE,  receive_c },
    { "CHAP_N", GOT_N, STEP_RESPONSE,  receive_n },
    { "CHAP_R", GOT_R, STEP_RESPONSE,  receive_r },
};
/* clang-format on */

static LoginAuthResult
chap_receive(Login *login, const char *key, const char *value)
{
    ChapState *state = state_of(login);
    guint i = 0;

    if (state == NULL)
        return no_memory(login);

    while (strcmp(keys[i].name, key) != 0) {
        i++;
        g_assert(i < G_N_ELEMENTS(keys)); /* the key table has no others */
    }

    login->remedy = LOGIN_REMEDY_INITIATOR;
    if ((state->received & keys[i].bit) != 0) {
        login_explain(login, "%s was sent twice", key);
        return LOGIN_AUTH_BROKEN;
    }
    if (state->step != keys[i].step) {
        login_explain(login, "%s came before or after its step of CHAP", key);
        return LOGIN_AUTH_BROKEN;
    }
    if (!keys[i].receive(state, value)) {
        login_explain(login, "%s has a value that is malformed or too long", key);
        return LOGIN_AUTH_BROKEN;
    }
    state->received |= keys[i].bit;
    return LOGIN_AUTH_MORE;
}

/*
 * Steps
 */

static void
append_names(GString *text, guint32 mask)
{
    const char *separator = "";

    for (guint i = 0; i < CHAP_ALGORITHM_N; i++) {
        if ((mask & 1u << i) == 0)
            continue;
        g_string_append_printf(text, "%s%s", separator, algorithms[i].name);
        separator = ", ";
    }
    if (mask == 0)
        g_string_append(text, "none that is known");
}

static LoginAuthResult
fail_algorithm(Login *login, guint32 offered, guint32 allowed)
{
    g_autoptr(GString) text = g_string_new("No CHAP algorithm in common: the initiator offers ");

    login->remedy = LOGIN_REMEDY_ALGORITHM;
    append_names(text, offered);
    g_string_append(text, ", allowed here: ");
    append_names(text, allowed);
    g_string_append(text, "; allow one of its, or change the initiator's");
    login_explain(login, "%s", text->str);
    return LOGIN_AUTH_FAILED;
}

static LoginAuthResult
challenge(Login *login, ChapState *state, TextWriter *answers)
{
    const LoginPolicy *policy = login->policy;
    gboolean (*random)(guint8 * buffer, gsize size) =
        policy->random != NULL ? policy->random : chap_random;
    guint32 allowed =
        policy->digests != NULL ? policy->chap_algorithms & chap_digests_mask(policy->digests) : 0;
    guint32 common = state->offered & allowed;
    char text[2 * CHAP_CHALLENGE_SIZE + 3];

    if (common == 0)
        return fail_algorithm(login, state->offered, allowed);
    if (!random(&state->identifier, 1) || !random(state->challenge, sizeof(state->challenge))) {
        login_explain(login, "The system has no random numbers for a CHAP challenge yet");
        return LOGIN_AUTH_NO_RESOURCES;
    }

    state->algorithm = (ChapAlgorithm)g_bit_nth_lsf(common, -1);
    state->step = STEP_RESPONSE;
    (void)text_format_hex(state->challenge, sizeof(state->challenge), text, sizeof(text));
    (void)text_write_number(answers, "CHAP_A", algorithms[state->algorithm].number);
    (void)text_write_number(answers, "CHAP_I", state->identifier);
    (void)text_write(answers, "CHAP_C", text);
    return LOGIN_AUTH_MORE;
}

static void
explain_response(Login *login, const ChapState *state, gboolean is_known)
{
    g_autofree char *user = show_text(state->user);
    gboolean is_misfit = is_known && state->response_size != algorithms[state->algorithm].size;

    login->remedy = is_misfit ? LOGIN_REMEDY_INITIATOR : LOGIN_REMEDY_ACCOUNT;
    if (!is_known)
        login_explain(login,
                      "CHAP user “%s” is not known here: correct it at the initiator, or add the "
                      "account",
                      user);
    else if (is_misfit)
        login_explain(login, "The response of CHAP user “%s” is not one of %s: it has %zu bytes",
                      user, algorithms[state->algorithm].name, state->response_size);
    else
        login_explain(login,
                      "CHAP user “%s” has another secret than is set here: set the same on both "
                      "sides",
                      user);
}

/* The account of @credentials that gave the right response, or NULL with the reason told */
static const CredentialsAccount *
verify(Login *login, const ChapState *state, const Credentials *credentials)
{
    const LoginPolicy *policy = login->policy;
    const CredentialsAccount *account = credentials_find(credentials, state->user);
    guint8 digest[CHAP_DIGEST_MAX] = { 0 };
    gsize size = chap_digest(policy->digests, state->algorithm, state->identifier,
                             account != NULL ? account->secret : NOBODYS_SECRET, state->challenge,
                             sizeof(state->challenge), digest);
    gboolean is_equal = CRYPTO_memcmp(digest, state->response, sizeof(digest)) == 0;

    OPENSSL_cleanse(digest, sizeof(digest));
    if (size != 0 && size == state->response_size && is_equal && account != NULL)
        return account;

    explain_response(login, state, account != NULL);
    return NULL;
}

/* Prove that we know the account's other secret */
static LoginAuthResult
answer_challenge(Login *login, const ChapState *state, const CredentialsAccount *account,
                 TextWriter *answers)
{
    char text[2 * CHAP_DIGEST_MAX + 3];
    guint8 digest[CHAP_DIGEST_MAX];
    gsize size;

    if (account->mutual_user == NULL) {
        g_autofree char *user = show_text(state->user);

        login->remedy = LOGIN_REMEDY_MUTUAL;
        login_explain(login,
                      "The initiator asks for mutual CHAP and the account of “%s” has no mutual "
                      "user and secret: set them, or turn mutual CHAP off at the initiator",
                      user);
        return LOGIN_AUTH_FAILED;
    }

    size = chap_digest(login->policy->digests, state->algorithm, state->their_identifier,
                       account->mutual_secret, state->their_challenge, state->their_size, digest);
    if (size == 0)
        return no_memory(login);
    if (size == state->response_size && memcmp(digest, state->response, size) == 0) {
        login_explain(login,
                      "The initiator's CHAP response is the one we would give: reflection, or one "
                      "secret for both directions");
        return LOGIN_AUTH_FAILED;
    }

    (void)text_format_hex(digest, size, text, sizeof(text));
    (void)text_write(answers, "CHAP_N", account->mutual_user);
    (void)text_write(answers, "CHAP_R", text);
    login->awaits_trust = TRUE;
    OPENSSL_cleanse(digest, sizeof(digest));
    OPENSSL_cleanse(text, sizeof(text));
    return LOGIN_AUTH_PASSED;
}

static LoginAuthResult
judge(Login *login, ChapState *state, TextWriter *answers)
{
    gboolean is_mutual = (state->received & (GOT_I | GOT_C)) != 0;
    const LoginPolicy *policy = login->policy;
    LoginAuthResult result = LOGIN_AUTH_PASSED;
    const CredentialsAccount *account;
    Credentials *credentials;

    if ((state->received & (GOT_N | GOT_R)) != (GOT_N | GOT_R) ||
        (is_mutual && (state->received & (GOT_I | GOT_C)) != (GOT_I | GOT_C))) {
        login_explain(login, "CHAP_N and CHAP_R, or CHAP_I and CHAP_C, did not come together");
        return LOGIN_AUTH_MISSING;
    }
    if (is_mutual && state->their_size == sizeof(state->challenge) &&
        memcmp(state->their_challenge, state->challenge, sizeof(state->challenge)) == 0) {
        login_explain(login,
                      "The initiator sends back the CHAP challenge that it was given: reflection");
        return LOGIN_AUTH_FAILED;
    }

    credentials =
        policy->find_credentials(policy->user_data, login->initiator_name, login->target_name);
    account = verify(login, state, credentials);
    if (account == NULL)
        return LOGIN_AUTH_FAILED;
    if (is_mutual)
        result = answer_challenge(login, state, account, answers);
    if (result == LOGIN_AUTH_PASSED) {
        g_strlcpy(login->chap_user, account->user, sizeof(login->chap_user));
        credentials_unref(login->chap_accounts);
        login->chap_accounts = credentials_ref(credentials);
    }
    return result;
}

static LoginAuthResult
chap_step(Login *login, TextWriter *answers)
{
    ChapState *state = state_of(login);

    if (state == NULL)
        return no_memory(login);

    if (state->step == STEP_ALGORITHM)
        return (state->received & GOT_A) != 0 ? challenge(login, state, answers) : LOGIN_AUTH_MORE;
    if ((state->received & ~(guint)GOT_A) == 0)
        return LOGIN_AUTH_MORE;

    state->step = STEP_END;
    return judge(login, state, answers);
}

const LoginAuth chap_login_auth = {
    .name = "CHAP",
    .bit = LOGIN_AUTH_CHAP,
    .receive = chap_receive,
    .step = chap_step,
    .end = chap_end,
};
