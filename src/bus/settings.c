/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "bus/settings.h"

#include "bus/account.h"
#include "bus/call.h"
#include "bus/path.h"
#include "bus/text.h"

GVariant *
settings_get_problems(Service *service, gconstpointer object)
{
    const Model *model = object;
    GVariantBuilder builder;

    g_variant_builder_init(&builder, G_VARIANT_TYPE_STRING_ARRAY);
    for (guint i = 0; model->problems[i] != NULL; i++)
        g_variant_builder_add_value(&builder, text_variant(model->problems[i]));
    return g_variant_builder_end(&builder);
}

GVariant *
settings_get_discovery_authentication(Service *service, gconstpointer object)
{
    return text_variant(((const Model *)object)->settings->discovery_authentication);
}

GVariant *
settings_get_discovery_user(Service *service, gconstpointer object)
{
    return text_variant(((const Model *)object)->discovery_account.user);
}

GVariant *
settings_get_discovery_mutual_user(Service *service, gconstpointer object)
{
    return text_variant(((const Model *)object)->discovery_account.mutual_user);
}

GVariant *
settings_get_discovery_accounts(Service *service, gconstpointer object)
{
    return account_list(&((const Model *)object)->discovery_account);
}

GVariant *
settings_get_chap_algorithms(Service *service, gconstpointer object)
{
    g_auto(GStrv) words = acl_words_split(((const Model *)object)->settings->chap_algorithms);

    return g_variant_new_strv((const char *const *)words, -1);
}

void
settings_run_set_discovery_authentication(Call *call, gpointer object)
{
    ChangeOptions change = call_change(call);
    ServiceAccount account = account_from_options(&call->options, "user");
    const char *method;

    g_variant_get(call->parameters, "(&s@a{sv})", &method, NULL);
    service_set_discovery_authentication(call->context->service, method, &account, &change,
                                         call_on_done, call);
}

void
settings_run_set_discovery_account(Call *call, gpointer object)
{
    const ServiceAccountOwner discovery = { 0 };

    account_run_set(call, &discovery);
}

void
settings_run_remove_discovery_account(Call *call, gpointer object)
{
    const ServiceAccountOwner discovery = { 0 };

    account_run_remove(call, &discovery);
}

void
settings_run_set_chap_algorithms(Call *call, gpointer object)
{
    ChangeOptions change = call_change(call);
    g_autofree const char **words = NULL;
    g_autofree char *text = NULL;

    g_variant_get(call->parameters, "(^a&s@a{sv})", &words, NULL);
    text = g_strjoinv(" ", (char **)(gsize)words);
    service_set_chap_algorithms(call->context->service, text, &change, call_on_done, call);
}

static void
add_detail(GVariantDict *details, const char *name, const char *text)
{
    if (text != NULL)
        g_variant_dict_insert_value(details, name, text_variant(text));
}

void
settings_emit_rejection(const ServiceRejection *rejection, gpointer connection)
{
    GVariantDict details;

    g_variant_dict_init(&details, NULL);
    add_detail(&details, "reason", rejection->reason);
    add_detail(&details, "rule", rejection->rule);
    add_detail(&details, "cure", rejection->cure);

    /* It fails only when the connection has been closed, and then nobody listens. */
    (void)g_dbus_connection_emit_signal(
        connection, NULL, PATH_MANAGER, "org.lunport1.Manager", "LoginRejected",
        g_variant_new("(@s@s@sq@a{sv})", text_variant(rejection->target),
                      text_variant(rejection->initiator), text_variant(rejection->address),
                      rejection->status, g_variant_dict_end(&details)),
        NULL);
}
