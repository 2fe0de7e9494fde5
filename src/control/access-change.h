/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "control/service-private.h"
#include "iscsi/credentials.h"

/*
 * What operations on access carry: see accounts.c, acl.c and initiator-group.c
 */

typedef enum {
    ACCOUNT_MERGE,  /* what is given over the account that is meant; an empty secret removes it */
    ACCOUNT_SET,    /* that of the user that is given */
    ACCOUNT_REMOVE, /* the same */
    ACCOUNT_ONLY,   /* what is given, in the place of all others */
} AccountEdit;

struct AccessChange {
    char *id;     /* of the rule, or SECRETS_OWN */
    char *method; /* of authentication; NULL: as it follows from the account */
    char *user;   /* the account that is asked for: see ServiceAccount */
    char *secret;
    char *mutual_user;
    char *mutual_secret;
    AccountEdit account_edit;
    gboolean replaces; /* a rule for the same initiator */
    gboolean closes_denied;

    /* on the way */
    AclSpec *acl;             /* to be added */
    gboolean sets_account;    /* to @credentials */
    Credentials *credentials; /* all accounts as they will be; NULL: none any more */
    Credentials *stored;      /* the same in the file, where they are kept */
    gboolean keeps_account;   /* in the file too */
    gboolean drops_stored;    /* from the file, after all else */

    /* of groups and settings */
    char **add;
    char **remove;
    InitiatorGroupSpec *group;
    InitiatorGroupSpec *saved_group;
    SettingsSpec *settings;
    SettingsSpec *saved_settings;
    guint n_left; /* targets that are being published */
};

AccessChange *access_change_new(const char *id, const char *method, const ServiceAccount *account);
void access_change_free_secret(char *secret);

/* Something is said of an account */
gboolean access_change_has_account(const AccessChange *change);

/* May the accounts of @owner be changed so? Fills in what follows from it. */
gboolean access_change_judge(Operation *operation, const char *owner, GError **ret_error);

/* The file of @owner has accounts that are to go from it. To be asked before they are changed. */
gboolean access_change_drops_stored(const Operation *operation, const char *owner);

/* The accounts of @owner are from now on as was judged */
void access_change_commit(const Operation *operation, const char *owner);

/* acl.c, initiator-group.c: change the accounts of a target or rule, and of discovery. @change is taken. */
void acl_change_accounts(Service *service, const char *target_name, AccessChange *change,
                         const char *what, const ChangeOptions *options, ServiceDoneFn done,
                         gpointer user_data);
void settings_change_accounts(Service *service, AccessChange *change, const char *what,
                              const ChangeOptions *options, ServiceDoneFn done, gpointer user_data);
