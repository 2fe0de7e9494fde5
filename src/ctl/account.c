/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * lunctl account: CHAP accounts one by one
 *
 * Targets, their access rules and discovery each have a set of accounts. Where
 * one is enough, target auth, access secret and discovery auth are shorter.
 */

#include <string.h>

#include "ctl/access.h"
#include "ctl/secret.h"

#define DISCOVERY "discovery"

/* clang-format off */
static const Column columns[] = {
    { "Where", "WHERE", SHOW_PLAIN },
    { "Rule", "RULE", SHOW_PLAIN },
    { "ChapUser", "USER", SHOW_PLAIN },
    { "MutualChapUser", "MUTUAL USER", SHOW_PLAIN },
};
/* clang-format on */

/* An object that has accounts */
typedef struct {
    char *path;
    const char *interface;
    gboolean is_discovery;
} Place;

static void
place_clear(Place *place)
{
    g_free(place->path);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Place, place_clear)

/* What the first argument and --rule name */
static gboolean
find_place(Ctl *ctl, Place *place, GError **ret_error)
{
    const char *rule = NULL;
    gboolean has_rule = g_variant_lookup(ctl->options, "rule", "&s", &rule);

    place->is_discovery = strcmp(ctl->argv[0], DISCOVERY) == 0;
    if (place->is_discovery && has_rule) {
        g_set_error_literal(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                            "Discovery has no access rules");
        return FALSE;
    }

    if (place->is_discovery)
        *place = (Place){ g_strdup(MANAGER_PATH), "Manager", TRUE };
    else if (has_rule)
        *place = (Place){ access_find_rule(ctl, ctl->argv[0], rule, ret_error), "Acl", FALSE };
    else
        *place =
            (Place){ client_find_target(&ctl->client, ctl->argv[0], ret_error), "Target", FALSE };
    return place->path != NULL;
}

/* @options: floating */
static gboolean
call_place(Ctl *ctl, const char *method, const char *discovery_method, GVariant *options,
           GError **ret_error)
{
    g_autoptr(GVariant) owned = g_variant_ref_sink(options);
    g_autoptr(GVariant) reply = NULL;
    g_auto(Place) place = { 0 };

    if (!find_place(ctl, &place, ret_error))
        return FALSE;
    reply = client_call(
        &ctl->client, place.path, place.interface, place.is_discovery ? discovery_method : method,
        g_variant_new("(s@a{sv})", ctl->argv[1], client_options(&ctl->client, owned)), ret_error);
    return reply != NULL;
}

static const char *
accounts_key(const Place *place)
{
    return place->is_discovery ? "DiscoveryAccounts" : "ChapAccounts";
}

static void
add_persist(Ctl *ctl, GVariantDict *dict)
{
    gboolean persist;

    if (g_variant_lookup(ctl->options, "persist", "b", &persist))
        g_variant_dict_insert(dict, "persist", "b", persist);
}

/* FALSE without an error: there is no such account */
static gboolean
has_account(Ctl *ctl, const char *user, GError **ret_error)
{
    g_auto(Place) place = { 0 };
    g_autoptr(GVariant) object = NULL;
    g_autoptr(GVariantIter) iter = NULL;
    const char *known;

    if (!find_place(ctl, &place, ret_error))
        return FALSE;
    object = client_get_all(&ctl->client, place.path, place.interface, ret_error);
    if (object == NULL || !g_variant_lookup(object, accounts_key(&place), "a(ss)", &iter))
        return FALSE;

    while (g_variant_iter_next(iter, "(&s&s)", &known, NULL)) {
        if (strcmp(known, user) == 0)
            return TRUE;
    }
    return FALSE;
}

/* A new account needs a secret of the initiator, of one that is there it may stay as it is */
gboolean
account_verb_set(Ctl *ctl, GError **ret_error)
{
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
    g_autoptr(GError) error = NULL;
    gboolean keeps = secret_has_mutual(ctl) && has_account(ctl, ctl->argv[1], &error);

    if (error != NULL) {
        g_propagate_error(ret_error, g_steal_pointer(&error));
        return FALSE;
    }
    add_persist(ctl, &dict);
    return secret_add(ctl, &dict, "user", !keeps, ret_error) &&
           call_place(ctl, "SetAccount", "SetDiscoveryAccount", g_variant_dict_end(&dict),
                      ret_error);
}

gboolean
account_verb_remove(Ctl *ctl, GError **ret_error)
{
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);

    add_persist(ctl, &dict);
    return call_place(ctl, "RemoveAccount", "RemoveDiscoveryAccount", g_variant_dict_end(&dict),
                      ret_error);
}

/*
 * The list
 */

/* The accounts of one object */
static gboolean
add_accounts(Ctl *ctl, GVariantBuilder *rows, const Place *place, const char *where,
             const char *rule, GError **ret_error)
{
    g_autoptr(GVariant) object =
        client_get_all(&ctl->client, place->path, place->interface, ret_error);
    g_autoptr(GVariantIter) iter = NULL;
    const char *user, *mutual_user;

    if (object == NULL)
        return FALSE;
    if (!g_variant_lookup(object, accounts_key(place), "a(ss)", &iter))
        return TRUE;

    while (g_variant_iter_next(iter, "(&s&s)", &user, &mutual_user)) {
        g_variant_builder_open(rows, G_VARIANT_TYPE_VARDICT);
        g_variant_builder_add(rows, "{sv}", "Where", g_variant_new_string(where));
        g_variant_builder_add(rows, "{sv}", "Rule", g_variant_new_string(rule));
        g_variant_builder_add(rows, "{sv}", "ChapUser", g_variant_new_string(user));
        g_variant_builder_add(rows, "{sv}", "MutualChapUser", g_variant_new_string(mutual_user));
        g_variant_builder_close(rows);
    }
    return TRUE;
}

static gboolean
add_rules(Ctl *ctl, GVariantBuilder *rows, const char *target_path, const char *target,
          GError **ret_error)
{
    g_autoptr(GVariant) rules = access_list_rules(ctl, target_path, ret_error);

    for (gsize i = 0; rules != NULL && i < g_variant_n_children(rules); i++) {
        g_autoptr(GVariant) row = g_variant_get_child_value(rules, i);
        g_autofree char *name = access_rule_name(row);
        g_auto(Place) place = { .interface = "Acl" };

        if (!g_variant_lookup(row, "Path", "o", &place.path) ||
            !add_accounts(ctl, rows, &place, target, name, ret_error))
            return FALSE;
    }
    return rules != NULL;
}

static gboolean
add_target(Ctl *ctl, GVariantBuilder *rows, GVariant *target, GError **ret_error)
{
    g_auto(Place) place = { .interface = "Target" };
    const char *name = "";

    (void)g_variant_lookup(target, "Name", "&s", &name);
    (void)g_variant_lookup(target, "Path", "o", &place.path);
    if (ctl->argc > 0 && g_ascii_strcasecmp(ctl->argv[0], name) != 0)
        return TRUE;
    return add_accounts(ctl, rows, &place, name, "", ret_error) &&
           add_rules(ctl, rows, place.path, name, ret_error);
}

static gboolean
add_targets(Ctl *ctl, GVariantBuilder *rows, GError **ret_error)
{
    GVariant *list = verbs_list_rows(ctl, "ListTargets", ret_error);
    g_autoptr(GVariant) targets = list != NULL ? g_variant_ref_sink(list) : NULL;

    for (gsize i = 0; targets != NULL && i < g_variant_n_children(targets); i++) {
        g_autoptr(GVariant) target = g_variant_get_child_value(targets, i);

        if (!add_target(ctl, rows, target, ret_error))
            return FALSE;
    }
    return targets != NULL;
}

gboolean
account_verb_list(Ctl *ctl, GError **ret_error)
{
    g_auto(GVariantBuilder) rows = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("aa{sv}"));
    gboolean wants_all = ctl->argc == 0;
    gboolean wants_discovery = wants_all || strcmp(ctl->argv[0], DISCOVERY) == 0;

    if (wants_discovery) {
        g_auto(Place) place = { g_strdup(MANAGER_PATH), "Manager", TRUE };

        if (!add_accounts(ctl, &rows, &place, DISCOVERY, "", ret_error))
            return FALSE;
    }
    if (!wants_all && !wants_discovery) {
        g_autofree char *path = client_find_target(&ctl->client, ctl->argv[0], ret_error);

        if (path == NULL)
            return FALSE;
    }
    if ((wants_all || !wants_discovery) && !add_targets(ctl, &rows, ret_error))
        return FALSE;

    output_rows(&ctl->output, columns, G_N_ELEMENTS(columns), g_variant_builder_end(&rows),
                "accounts");
    return TRUE;
}
