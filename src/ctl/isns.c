/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* lunctl isns */

#include "ctl/verbs.h"

/* clang-format off */
static const Column columns[] = {
    { "IsnsServer", "Server", SHOW_PLAIN },
    { "IsnsState", "State", SHOW_PLAIN },
    { "IsnsError", "Error", SHOW_PLAIN },
};
/* clang-format on */

gboolean
isns_verb_set(Ctl *ctl, GError **ret_error)
{
    const char *server = g_str_equal(ctl->argv[0], "off") ? "" : ctl->argv[0];
    g_autoptr(GVariant) reply = client_call(
        &ctl->client, MANAGER_PATH, "Manager", "SetIsnsServer",
        g_variant_new("(s@a{sv})", server, client_options(&ctl->client, ctl->options)), ret_error);

    return reply != NULL;
}

gboolean
isns_verb_show(Ctl *ctl, GError **ret_error)
{
    g_autoptr(GVariant) service = client_get_all(&ctl->client, MANAGER_PATH, "Manager", ret_error);
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);

    if (service == NULL)
        return FALSE;
    for (gsize i = 0; i < G_N_ELEMENTS(columns); i++) {
        GVariant *value = g_variant_lookup_value(service, columns[i].key, NULL);

        if (value != NULL)
            g_variant_dict_insert_value(&dict, columns[i].key, value);
        g_clear_pointer(&value, g_variant_unref);
    }
    output_object(&ctl->output, columns, G_N_ELEMENTS(columns), g_variant_dict_end(&dict));
    return TRUE;
}
