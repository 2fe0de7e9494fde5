/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "bus/isns.h"

#include "bus/call.h"
#include "bus/text.h"
#include "util/error.h"

GVariant *
isns_get_server(Service *service, gconstpointer object)
{
    return text_variant(((const Model *)object)->settings->isns_server);
}

GVariant *
isns_get_state(Service *service, gconstpointer object)
{
    return g_variant_new_string(model_isns_to_string(((const Model *)object)->isns_state));
}

GVariant *
isns_get_error(Service *service, gconstpointer object)
{
    return text_variant(((const Model *)object)->isns_error);
}

gboolean
isns_check_set_server(Call *call, gconstpointer object, GError **ret_error)
{
    const SchemaOption *option = schema_find_key(SCHEMA_SETTINGS, "IsnsServer");
    g_autoptr(SettingsSpec) spec = settings_spec_new();
    const char *server;

    g_variant_get(call->parameters, "(&s@a{sv})", &server, NULL);
    if (server[0] != '\0' && !g_strv_contains(service_get_features(), "isns")) {
        g_set_error_literal(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NOT_SUPPORTED,
                            "The service was built without iSNS");
        return FALSE;
    }
    if (!schema_set_text(option, spec, server, ret_error))
        return FALSE;

    call_detail(call, "isns-server", server);
    return TRUE;
}

void
isns_run_set_server(Call *call, gpointer object)
{
    ChangeOptions change = call_change(call);
    SettingsChange changes[] = { { .key = "IsnsServer" }, { .key = NULL } };

    g_variant_get(call->parameters, "(&s@a{sv})", &changes[0].text, NULL);
    service_change_settings(call->context->service, changes, &change, call_on_done, call);
}
