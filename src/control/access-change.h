/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "control/service-private.h"
#include "iscsi/credentials.h"

/*
 * What operations on access carry: see acl.c and initiator-group.c
 */

struct AccessChange {
    char *id;     /* of the rule, or SECRETS_OWN */
    char *method; /* of authentication; NULL: as it follows from the account */
    char *user;   /* the account that is asked for: see ServiceAccount */
    char *secret;
    char *mutual_user;
    char *mutual_secret;
    gboolean replaces; /* a rule for the same initiator */
    gboolean closes_denied;

    /* on the way */
    AclSpec *acl;             /* to be added */
    gboolean sets_account;    /* to @credentials */
    Credentials *credentials; /* NULL: none any more */
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

/* May the account of @owner be changed so? Fills in what follows from it. */
gboolean access_change_judge(Operation *operation, const char *owner, GError **ret_error);
