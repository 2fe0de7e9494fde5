/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "engine/snapshot.h"

/*
 * Who may log in with which secret
 *
 * A Credentials is a set of CHAP accounts, immutable and shared by reference:
 * by the versions of a target, its access rules, the service. Logins borrow it
 * for one look and keep nothing. The set lives in pages of its own, which are
 * left out of core dumps and, as far as the limit on locked memory goes, out of
 * swap; it is wiped before they are given back.
 */

#define CREDENTIALS_USER_MAX     255 /* bytes: what CHAP_N takes */
#define CREDENTIALS_SECRET_MIN   12  /* 96 bits: the least that RFC 7143 9.2.1 allows */
#define CREDENTIALS_SECRET_MAX   255
#define CREDENTIALS_ACCOUNTS_MAX 64

/* With @mutual_user the target proves itself too, to initiators that ask for it */
typedef struct {
    const char *user; /* what an initiator calls itself in CHAP_N */
    const char *secret;
    const char
        *mutual_user; /* what the target calls itself; NULL: it does not answer a challenge */
    const char *mutual_secret;
} CredentialsAccount;

typedef struct {
    Snapshot snapshot;
    gsize size; /* of the mapping */
    guint n_accounts;
    CredentialsAccount accounts[];
} Credentials;

/* The name of an account: 1 to 255 bytes of UTF-8 without control characters and outer spaces */
gboolean credentials_check_user(const char *user, GError **ret_error);

/* A secret: 12 to 255 bytes without control characters and outer spaces. Errors never show it. */
gboolean credentials_check_secret(const char *secret, GError **ret_error);

/**
 * credentials_new() - a set of accounts
 * @accounts: copied; the caller wipes what is its own
 *
 * Refused besides what the checks above refuse: a user that is there twice, half of a mutual
 * account, and a secret that is used in both directions by whatever accounts, because an initiator
 * could have the target answer its own challenge then.
 *
 * Returns: one reference, or NULL
 */
Credentials *credentials_new(const CredentialsAccount *accounts, guint n_accounts,
                             GError **ret_error);

/**
 * credentials_with() - @before and @account, in the place of that of the same user if there is one
 * @before: NULL: none
 *
 * Returns: one reference, or NULL: refused as credentials_new() does
 */
Credentials *credentials_with(const Credentials *before, const CredentialsAccount *account,
                              GError **ret_error);

/* @before, which may be NULL, but for the account of @user. *@ret_credentials: one reference; NULL:
 * nothing is left. */
gboolean credentials_without(const Credentials *before, const char *user,
                             Credentials **ret_credentials, GError **ret_error);

/* NULL is passed on, and ignored */
Credentials *credentials_ref(Credentials *credentials);
void credentials_unref(Credentials *credentials);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Credentials, credentials_unref)

/**
 * credentials_find() - the account of @user, or NULL
 *
 * Looks at all accounts whichever is the right one, so that time does not tell. @credentials may
 * be NULL.
 */
const CredentialsAccount *credentials_find(const Credentials *credentials, const char *user);

/* Whether @user is in both with the same secret: who has proved itself by the one would pass by the
 * other. Time does not tell. Each may be NULL, also @user. */
gboolean credentials_agree(const Credentials *one, const Credentials *other, const char *user);
