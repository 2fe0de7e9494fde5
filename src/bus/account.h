/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "bus/noun.h"

/* The rows of the options that make a CHAP account, in a table of options */
#define ACCOUNT_ROWS                                                                               \
    { "user", "s" }, { "secret", "s" }, { "mutual-user", "s" },                                    \
    {                                                                                              \
        "mutual-secret", "s"                                                                       \
    }

extern const OptionTable account_options; /* those, and the common ones */

/* The options of one of several accounts, whose user is an argument */
extern const OptionTable account_set_options;

/* The users and mutual users of the accounts, a(ss); floating */
GVariant *account_list(const ModelAccount *accounts);

/* Methods (s user, a{sv} options) that set and remove an account of @owner */
void account_run_set(Call *call, const ServiceAccountOwner *owner);
void account_run_remove(Call *call, const ServiceAccountOwner *owner);

/* What is given of an account; it borrows from @options. @user_key: "user", or what it is called there */
ServiceAccount account_from_options(const Options *options, const char *user_key);
