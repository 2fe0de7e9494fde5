/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Credentials
 *
 * One mapping holds the struct, its accounts and their strings, so that advice
 * on memory concerns all of it and nothing else: not dumped, locked where the
 * limit allows (a lock that is refused costs the set nothing but the chance of
 * being swapped), wiped as a whole.
 *
 * The checks are for administrators: they say what is wrong and never show the
 * secret. White space at either end is refused because it comes from copying
 * and the other side will not have it.
 */

#include "iscsi/credentials.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "util/bytes.h"
#include "util/error.h"

static gboolean
fail(GError **ret_error, const char *what, const char *why)
{
    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT, "%s %s", what, why);
    return FALSE;
}

static gboolean
check_text(const char *text, const char *what, GError **ret_error)
{
    gsize size = strlen(text);

    if (!g_utf8_validate(text, -1, NULL))
        return fail(ret_error, what, "is not valid UTF-8");
    for (const char *p = text; *p != '\0'; p = g_utf8_find_next_char(p, NULL)) {
        if (g_unichar_iscntrl(g_utf8_get_char(p)))
            return fail(ret_error, what, "has a control character in it, such as a line break");
    }
    if (size > 0 && (text[0] == ' ' || text[size - 1] == ' '))
        return fail(ret_error, what, "begins or ends with a space");
    return TRUE;
}

gboolean
credentials_check_user(const char *user, GError **ret_error)
{
    gsize size = strlen(user);

    if (size == 0 || size > CREDENTIALS_USER_MAX)
        return fail(ret_error, "The CHAP user", "must have 1 to 255 bytes");
    return check_text(user, "The CHAP user", ret_error);
}

gboolean
credentials_check_secret(const char *secret, GError **ret_error)
{
    gsize size = strlen(secret);

    if (size < CREDENTIALS_SECRET_MIN)
        return fail(ret_error, "The CHAP secret", "is too short: it must have at least 12 bytes");
    if (size > CREDENTIALS_SECRET_MAX)
        return fail(ret_error, "The CHAP secret", "is too long: it may have at most 255 bytes");
    return check_text(secret, "The CHAP secret", ret_error);
}

static gboolean
check_account(const CredentialsAccount *account, GError **ret_error)
{
    if (!credentials_check_user(account->user, ret_error) ||
        !credentials_check_secret(account->secret, ret_error))
        return FALSE;
    if ((account->mutual_user == NULL) != (account->mutual_secret == NULL))
        return fail(ret_error, "Mutual CHAP", "needs both a user and a secret");
    return account->mutual_user == NULL ||
           (credentials_check_user(account->mutual_user, ret_error) &&
            credentials_check_secret(account->mutual_secret, ret_error));
}

/* What two accounts may not have in common; both may be the same one */
static gboolean
check_pair(const CredentialsAccount *a, const CredentialsAccount *b, GError **ret_error)
{
    if (a != b && strcmp(a->user, b->user) == 0) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "The CHAP user “%s” is there twice", a->user);
        return FALSE;
    }
    if (b->mutual_secret != NULL && strcmp(a->secret, b->mutual_secret) == 0)
        return fail(ret_error, "The CHAP secret",
                    "is the same for both directions: the target needs one of its own");
    return TRUE;
}

static gboolean
check_accounts(const CredentialsAccount *accounts, guint n_accounts, GError **ret_error)
{
    if (n_accounts > CREDENTIALS_ACCOUNTS_MAX)
        return fail(ret_error, "A set of CHAP accounts", "may have at most 64");

    for (guint i = 0; i < n_accounts; i++) {
        if (!check_account(&accounts[i], ret_error))
            return FALSE;
    }
    for (guint i = 0; i < n_accounts; i++) {
        for (guint j = 0; j < n_accounts; j++) {
            if (!check_pair(&accounts[i], &accounts[j], ret_error))
                return FALSE;
        }
    }
    return TRUE;
}

static gsize
text_size(const char *text)
{
    return text != NULL ? strlen(text) + 1 : 0;
}

static const char *
copy_text(char **place, const char *text)
{
    char *copy = *place;

    if (text == NULL)
        return NULL;

    *place = stpcpy(copy, text) + 1;
    return copy;
}

static void
credentials_free(Snapshot *snapshot)
{
    Credentials *credentials = (Credentials *)(void *)snapshot;
    gsize size = credentials->size;

    G_STATIC_ASSERT(G_STRUCT_OFFSET(Credentials, snapshot) == 0);
    OPENSSL_cleanse(credentials, size);
    (void)munmap(credentials, size);
}

Credentials *
credentials_new(const CredentialsAccount *accounts, guint n_accounts, GError **ret_error)
{
    gsize size = sizeof(Credentials) + n_accounts * sizeof(CredentialsAccount);
    Credentials *credentials;
    void *memory;
    char *place;

    if (!check_accounts(accounts, n_accounts, ret_error))
        return NULL;

    for (guint i = 0; i < n_accounts; i++)
        size += text_size(accounts[i].user) + text_size(accounts[i].secret) +
                text_size(accounts[i].mutual_user) + text_size(accounts[i].mutual_secret);
    size = round_up(size, (guint64)sysconf(_SC_PAGESIZE));
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        (void)fail(ret_error, "The CHAP accounts", "find no memory");
        return NULL;
    }
    (void)madvise(memory, size, MADV_DONTDUMP);
    (void)mlock(memory, size);

    credentials = memory;
    snapshot_init(&credentials->snapshot, credentials_free);
    credentials->size = size;
    credentials->n_accounts = n_accounts;
    place = (char *)&credentials->accounts[n_accounts];
    for (guint i = 0; i < n_accounts; i++) {
        CredentialsAccount *account = &credentials->accounts[i];

        account->user = copy_text(&place, accounts[i].user);
        account->secret = copy_text(&place, accounts[i].secret);
        account->mutual_user = copy_text(&place, accounts[i].mutual_user);
        account->mutual_secret = copy_text(&place, accounts[i].mutual_secret);
    }
    return credentials;
}

/* The accounts of a set that are not of @user, in an array with room for one more; it borrows */
static CredentialsAccount *
list_others(const Credentials *before, const char *user, guint *ret_n, guint *ret_place)
{
    guint n_before = before != NULL ? before->n_accounts : 0;
    CredentialsAccount *accounts = g_new0(CredentialsAccount, n_before + 1);
    guint n = 0;

    *ret_place = n_before;
    for (guint i = 0; i < n_before; i++) {
        if (strcmp(before->accounts[i].user, user) == 0)
            *ret_place = i;
        else
            accounts[n++] = before->accounts[i];
    }
    *ret_n = n;
    return accounts;
}

Credentials *
credentials_with(const Credentials *before, const CredentialsAccount *account, GError **ret_error)
{
    guint n, place;
    g_autofree CredentialsAccount *accounts = list_others(before, account->user, &n, &place);

    memmove(&accounts[place + 1], &accounts[place], (n - place) * sizeof(accounts[0]));
    accounts[place] = *account;
    return credentials_new(accounts, n + 1, ret_error);
}

gboolean
credentials_without(const Credentials *before, const char *user, Credentials **ret_credentials,
                    GError **ret_error)
{
    guint n, place;
    g_autofree CredentialsAccount *accounts = list_others(before, user, &n, &place);

    *ret_credentials = n > 0 ? credentials_new(accounts, n, ret_error) : NULL;
    return n == 0 || *ret_credentials != NULL;
}

Credentials *
credentials_ref(Credentials *credentials)
{
    if (credentials != NULL)
        (void)snapshot_ref(&credentials->snapshot);
    return credentials;
}

void
credentials_unref(Credentials *credentials)
{
    if (credentials != NULL)
        snapshot_unref(&credentials->snapshot);
}

const CredentialsAccount *
credentials_find(const Credentials *credentials, const char *user)
{
    const CredentialsAccount *found = NULL;
    gsize size = strlen(user);

    if (credentials == NULL)
        return NULL;

    for (guint i = 0; i < credentials->n_accounts; i++) {
        const CredentialsAccount *account = &credentials->accounts[i];

        if (strlen(account->user) == size && CRYPTO_memcmp(account->user, user, size) == 0)
            found = account;
    }
    return found;
}

gboolean
credentials_agree(const Credentials *one, const Credentials *other, const char *user)
{
    const CredentialsAccount *a = user != NULL ? credentials_find(one, user) : NULL;
    const CredentialsAccount *b = user != NULL ? credentials_find(other, user) : NULL;
    gsize size = a != NULL ? strlen(a->secret) : 0;

    return a != NULL && b != NULL && strlen(b->secret) == size &&
           CRYPTO_memcmp(a->secret, b->secret, size) == 0;
}
