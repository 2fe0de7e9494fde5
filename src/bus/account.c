/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "bus/account.h"

/* clang-format off */
static const OptionRow rows[] = {
    ACCOUNT_ROWS,
    { NULL, NULL },
};
/* clang-format on */

const OptionTable account_options = { .rows = rows, .with_common = TRUE };

ServiceAccount
account_from_options(const Options *options, const char *user_key)
{
    ServiceAccount account = { 0 };

    (void)options_get(options, user_key, "&s", &account.user);
    (void)options_get(options, "secret", "&s", &account.secret);
    (void)options_get(options, "mutual-user", "&s", &account.mutual_user);
    (void)options_get(options, "mutual-secret", "&s", &account.mutual_secret);
    return account;
}
