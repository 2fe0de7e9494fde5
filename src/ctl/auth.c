/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* lunctl target auth, lunctl discovery, lunctl chap: how initiators prove who they are */

#include <string.h>

#include "ctl/secret.h"

/* clang-format off */
static const Column columns[] = {
    { "DiscoveryAuthentication", "Discovery", SHOW_PLAIN },
    { "DiscoveryChapUser", "CHAP user", SHOW_PLAIN },
    { "DiscoveryMutualChapUser", "Mutual user", SHOW_PLAIN },
    { "ChapAlgorithms", "Algorithms", SHOW_PLAIN },
};
/* clang-format on */

/* As the bus has it; another word is for the service to refuse */
static const char *
method_word(const char *text)
{
    if (g_ascii_strcasecmp(text, "chap") == 0)
        return "CHAP";
    if (g_ascii_strcasecmp(text, "none") == 0)
        return "None";
    return text;
}

static gboolean
set_authentication(Ctl *ctl, const char *path, const char *interface, const char *method,
                   const char *word, GError **ret_error)
{
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
    g_autoptr(GVariant) reply = NULL;
    gboolean persist;

    word = method_word(word);
    if (g_variant_lookup(ctl->options, "persist", "b", &persist))
        g_variant_dict_insert(&dict, "persist", "b", persist);
    if (!secret_add(ctl, &dict, "user", strcmp(word, "CHAP") == 0 && !secret_has_mutual(ctl),
                    ret_error))
        return FALSE;

    reply = client_call(
        &ctl->client, path, interface, method,
        g_variant_new("(s@a{sv})", word, client_options(&ctl->client, g_variant_dict_end(&dict))),
        ret_error);
    return reply != NULL;
}

gboolean
target_verb_auth(Ctl *ctl, GError **ret_error)
{
    g_autofree char *path = client_find_target(&ctl->client, ctl->argv[0], ret_error);

    return path != NULL &&
           set_authentication(ctl, path, "Target", "SetAuthentication", ctl->argv[1], ret_error);
}

gboolean
discovery_verb_auth(Ctl *ctl, GError **ret_error)
{
    return set_authentication(ctl, MANAGER_PATH, "Manager", "SetDiscoveryAuthentication",
                              ctl->argv[0], ret_error);
}

gboolean
discovery_verb_show(Ctl *ctl, GError **ret_error)
{
    g_autoptr(GVariant) manager = client_get_all(&ctl->client, MANAGER_PATH, "Manager", ret_error);
    GVariantDict dict;

    if (manager == NULL)
        return FALSE;

    g_variant_dict_init(&dict, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(columns); i++) {
        g_autoptr(GVariant) value = g_variant_lookup_value(manager, columns[i].key, NULL);

        if (value != NULL)
            g_variant_dict_insert_value(&dict, columns[i].key, value);
    }
    output_object(&ctl->output, columns, G_N_ELEMENTS(columns), g_variant_dict_end(&dict));
    return TRUE;
}

gboolean
chap_verb_algorithms(Ctl *ctl, GError **ret_error)
{
    g_autoptr(GVariant) reply = client_call(
        &ctl->client, MANAGER_PATH, "Manager", "SetChapAlgorithms",
        g_variant_new("(@as@a{sv})", g_variant_new_strv((const char *const *)ctl->argv, ctl->argc),
                      client_options(&ctl->client, ctl->options)),
        ret_error);

    return reply != NULL;
}
