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

/* What is given of an account; it borrows from @options. @user_key: "user", or what it is called there */
ServiceAccount account_from_options(const Options *options, const char *user_key);
