/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "bus/account.h"

#include "bus/call.h"
#include "bus/text.h"

/* clang-format off */
static const OptionRow rows[] = {
    ACCOUNT_ROWS,
    { NULL, NULL },
};

static const OptionRow set_rows[] = {
    { "secret",        "s" },
    { "mutual-user",   "s" },
    { "mutual-secret", "s" },
    { NULL,            NULL },
};
/* clang-format on */

const OptionTable account_options = { .rows = rows, .with_common = TRUE };
const OptionTable account_set_options = { .rows = set_rows, .with_common = TRUE };

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

GVariant *
account_list(const ModelAccount *accounts)
{
    GVariantBuilder builder;

    g_variant_builder_init(&builder, G_VARIANT_TYPE("a(ss)"));
    for (guint i = 0; accounts->users[i] != NULL; i++)
        g_variant_builder_add(&builder, "(@s@s)", text_variant(accounts->users[i]),
                              text_variant(accounts->mutual_users[i]));
    return g_variant_builder_end(&builder);
}

void
account_run_set(Call *call, const ServiceAccountOwner *owner)
{
    ChangeOptions change = call_change(call);
    ServiceAccount account = account_from_options(&call->options, "user");

    g_variant_get(call->parameters, "(&s@a{sv})", &account.user, NULL);
    service_set_account(call->context->service, owner, &account, &change, call_on_done, call);
}

void
account_run_remove(Call *call, const ServiceAccountOwner *owner)
{
    ChangeOptions change = call_change(call);
    const char *user;

    g_variant_get(call->parameters, "(&s@a{sv})", &user, NULL);
    service_remove_account(call->context->service, owner, user, &change, call_on_done, call);
}
