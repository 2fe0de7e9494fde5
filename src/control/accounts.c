/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What a change does to CHAP accounts
 *
 * A target, each of its rules, and discovery have sets of accounts. A change is
 * about one account of one set, and is made to the set in effect and, where it
 * is to be kept, to that in the file: so an account that was set for this run
 * only does not get into the file with another. How the change then comes into
 * effect is up to acl.c and initiator-group.c.
 *
 * Most sets have one account. So what is said without a user is about that one,
 * and only where there are several the user has to be given.
 */

#include <string.h>

#include "control/access-change.h"
#include "control/secrets.h"
#include "util/error.h"

static gboolean
fail_argument(const char *why, GError **ret_error)
{
    g_set_error_literal(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT, why);
    return FALSE;
}

static const char *
pick(const char *given, const char *before)
{
    return given != NULL ? given : before;
}

static gboolean
is_empty(const char *text)
{
    return text != NULL && text[0] == '\0';
}

/*
 * One account
 */

/* Which of the accounts is meant; NULL: one that is not there yet */
static gboolean
find_account(const AccessChange *change, const Credentials *all,
             const CredentialsAccount **ret_account, GError **ret_error)
{
    *ret_account = change->user != NULL ? credentials_find(all, change->user) : NULL;
    if (*ret_account != NULL || change->account_edit == ACCOUNT_SET || all == NULL ||
        all->n_accounts == 0)
        return TRUE;
    if (all->n_accounts > 1)
        return fail_argument("There are several CHAP accounts: name the user of one of them, or "
                             "add another one as such",
                             ret_error);

    *ret_account = &all->accounts[0];
    return TRUE;
}

/* The account as it will be: what is given over what there is */
static gboolean
merge_account(const AccessChange *change, const CredentialsAccount *before,
              CredentialsAccount *ret_account, GError **ret_error)
{
    CredentialsAccount account = { 0 };

    if (before != NULL)
        account = *before;
    account.user = pick(change->user, account.user);
    account.secret = pick(change->secret, account.secret);
    account.mutual_user = pick(change->mutual_user, account.mutual_user);
    account.mutual_secret = pick(change->mutual_secret, account.mutual_secret);
    if (is_empty(account.mutual_user) || is_empty(account.mutual_secret))
        account.mutual_user = account.mutual_secret = NULL;

    if (account.user == NULL || account.user[0] == '\0')
        return fail_argument("The CHAP user is missing", ret_error);
    if (account.secret == NULL || account.secret[0] == '\0')
        return fail_argument("The CHAP secret is missing", ret_error);

    *ret_account = account;
    return TRUE;
}

/* @all with @account, which may have been called otherwise @before */
static Credentials *
put_account(Credentials *all, const CredentialsAccount *before, const CredentialsAccount *account,
            GError **ret_error)
{
    g_autoptr(Credentials) others = credentials_ref(all);

    if (before != NULL && strcmp(before->user, account->user) != 0) {
        g_clear_pointer(&others, credentials_unref);
        if (!credentials_without(all, before->user, &others, ret_error))
            return NULL;
    }
    return credentials_with(others, account, ret_error);
}

/*
 * Sets
 */

static gboolean
set_account(Operation *operation, const char *owner, GError **ret_error)
{
    AccessChange *change = operation->access;
    gboolean is_only = change->account_edit == ACCOUNT_ONLY;
    Credentials *now = is_only ? NULL : secrets_find(operation->service, owner, change->id);
    Credentials *stored =
        is_only ? NULL : secrets_find_stored(operation->service, owner, change->id);
    const CredentialsAccount *before;
    CredentialsAccount account;

    if (!find_account(change, now, &before, ret_error) ||
        !merge_account(change, before, &account, ret_error))
        return FALSE;

    change->credentials = put_account(now, before, &account, ret_error);
    if (change->credentials == NULL ||
        !secrets_check(operation->service, owner, change->id, change->credentials, ret_error))
        return FALSE;
    if (operation->options.persist)
        change->stored = put_account(stored, before, &account, ret_error);
    return !operation->options.persist || change->stored != NULL;
}

/* Without a user: all of them */
static gboolean
remove_account(Operation *operation, const char *owner, GError **ret_error)
{
    AccessChange *change = operation->access;
    const Credentials *now = secrets_find(operation->service, owner, change->id);
    const Credentials *stored = secrets_find_stored(operation->service, owner, change->id);

    if (change->user == NULL)
        return TRUE;
    if (credentials_find(now, change->user) == NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                    "There is no CHAP account “%.100s”", change->user);
        return FALSE;
    }
    return credentials_without(now, change->user, &change->credentials, ret_error) &&
           credentials_without(stored, change->user, &change->stored, ret_error);
}

static gboolean
is_removal(const AccessChange *change)
{
    return change->account_edit == ACCOUNT_REMOVE ||
           (change->account_edit == ACCOUNT_MERGE && change->method == NULL &&
            is_empty(change->secret));
}

gboolean
access_change_has_account(const AccessChange *change)
{
    return change->user != NULL || change->secret != NULL || change->mutual_user != NULL ||
           change->mutual_secret != NULL;
}

gboolean
access_change_judge(Operation *operation, const char *owner, GError **ret_error)
{
    AccessChange *change = operation->access;
    const char *problem = secrets_find_problem(operation->service, owner);
    gboolean wants_chap = change->method == NULL || strcmp(change->method, "CHAP") == 0;

    if (!wants_chap && access_change_has_account(change))
        return fail_argument("A CHAP account only goes with the method CHAP", ret_error);

    change->sets_account = access_change_has_account(change) || change->method != NULL;
    if (!change->sets_account || !wants_chap)
        return TRUE;
    if (problem != NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR,
                    "The file “secrets/%s” in the state directory cannot be used (%s); restore it "
                    "or the key, or remove it, and restart the service",
                    owner, problem);
        return FALSE;
    }
    return is_removal(change) ? remove_account(operation, owner, ret_error)
                              : set_account(operation, owner, ret_error);
}

gboolean
access_change_drops_stored(const Operation *operation, const char *owner)
{
    const AccessChange *change = operation->access;

    return change->sets_account && change->keeps_account && change->stored == NULL &&
           secrets_find_stored(operation->service, owner, change->id) != NULL;
}

void
access_change_commit(const Operation *operation, const char *owner)
{
    const AccessChange *change = operation->access;

    if (!change->sets_account)
        return;

    secrets_set(operation->service, owner, change->id, change->credentials);
    if (change->keeps_account)
        secrets_set_stored(operation->service, owner, change->id, change->stored);
}

/*
 * The change
 */

void
access_change_free(AccessChange *change)
{
    if (change == NULL)
        return;

    acl_spec_free(change->acl);
    initiator_group_spec_free(change->group);
    initiator_group_spec_free(change->saved_group);
    settings_spec_free(change->settings);
    settings_spec_free(change->saved_settings);
    credentials_unref(change->credentials);
    credentials_unref(change->stored);
    g_free(change->id);
    g_free(change->method);
    g_free(change->user);
    g_free(change->mutual_user);
    access_change_free_secret(change->secret);
    access_change_free_secret(change->mutual_secret);
    g_strfreev(change->add);
    g_strfreev(change->remove);
    g_free(change);
}

void
access_change_free_secret(char *secret)
{
    if (secret != NULL)
        explicit_bzero(secret, strlen(secret));
    g_free(secret);
}

AccessChange *
access_change_new(const char *id, const char *method, const ServiceAccount *account)
{
    AccessChange *change = g_new0(AccessChange, 1);

    change->id = g_strdup(id);
    change->method = g_strdup(method);
    if (account == NULL)
        return change;

    change->user = g_strdup(account->user);
    change->secret = g_strdup(account->secret);
    change->mutual_user = g_strdup(account->mutual_user);
    change->mutual_secret = g_strdup(account->mutual_secret);
    return change;
}

/* @change is taken */
static void
submit(Service *service, const ServiceAccountOwner *owner, AccessChange *change, const char *what,
       const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    if (owner->target_name != NULL)
        acl_change_accounts(service, owner->target_name, change, what, options, done, user_data);
    else
        settings_change_accounts(service, change, what, options, done, user_data);
}

static const char *
owner_id(const ServiceAccountOwner *owner)
{
    return owner->acl_name != NULL ? owner->acl_name : SECRETS_OWN;
}

void
service_set_account(Service *service, const ServiceAccountOwner *owner,
                    const ServiceAccount *account, const ChangeOptions *options, ServiceDoneFn done,
                    gpointer user_data)
{
    AccessChange *change = access_change_new(owner_id(owner), "CHAP", account);

    change->account_edit = ACCOUNT_SET;
    submit(service, owner, change, "SetAccount", options, done, user_data);
}

void
service_remove_account(Service *service, const ServiceAccountOwner *owner, const char *user,
                       const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    const ServiceAccount account = { .user = user };
    AccessChange *change = access_change_new(owner_id(owner), NULL, &account);

    change->account_edit = ACCOUNT_REMOVE;
    submit(service, owner, change, "RemoveAccount", options, done, user_data);
}
