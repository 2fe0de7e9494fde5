/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Access rules
 *
 * The list is walked once, whole, because a rule that denies may stand last. It
 * is short, a name is compared before anything else, and nothing is allocated:
 * logins and discovery come here, commands do not. LUN maps are made when
 * configuration changes, but for one of what a session keeps after its rule has
 * gone.
 */

#include "iscsi/access.h"

#include <stdlib.h>
#include <string.h>

#include "util/pattern.h"

typedef enum {
    FIT_NOT,
    FIT_PATTERN,
    FIT_EXACT,
} Fit;

void
access_rule_clear(AccessRule *rule)
{
    g_free(rule->label);
    g_strfreev(rule->names);
    g_free(rule->networks);
    g_free(rule->tags);
    credentials_unref(rule->credentials);
    if (rule->map != NULL)
        snapshot_unref(&rule->map->snapshot);
    memset(rule, 0, sizeof(*rule));
}

static Fit
fit_name(const AccessRule *rule, const char *name)
{
    Fit fit = FIT_NOT;

    if (rule->names == NULL || rule->names[0] == NULL)
        return FIT_PATTERN;

    for (guint i = 0; rule->names[i] != NULL; i++) {
        if (strcmp(rule->names[i], name) == 0)
            return FIT_EXACT;
        if (fit == FIT_NOT && pattern_match(rule->names[i], name))
            fit = FIT_PATTERN;
    }
    return fit;
}

static gboolean
fits_address(const AccessRule *rule, const Address *address)
{
    for (guint i = 0; i < rule->n_networks; i++) {
        if (network_contains(&rule->networks[i], address))
            return TRUE;
    }
    return rule->n_networks == 0;
}

static gboolean
fits_tag(const AccessRule *rule, guint16 tag)
{
    for (guint i = 0; i < rule->n_tags; i++) {
        if (rule->tags[i] == tag)
            return TRUE;
    }
    return rule->n_tags == 0;
}

static Fit
fit_rule(const AccessRule *rule, const AccessRequest *request)
{
    Fit fit = fit_name(rule, request->initiator_name);

    if (fit == FIT_NOT || !fits_tag(rule, request->tag) || !fits_address(rule, request->address))
        return FIT_NOT;
    return fit;
}

AccessResult
access_find(const AccessRule *rules, guint n_rules, const AccessRequest *request,
            const AccessRule **ret_rule)
{
    const AccessRule *exact = NULL, *pattern = NULL;

    for (guint i = 0; i < n_rules; i++) {
        Fit fit = fit_rule(&rules[i], request);

        if (fit == FIT_NOT)
            continue;
        if (rules[i].action == ACCESS_DENY) {
            *ret_rule = &rules[i];
            return ACCESS_DENIED;
        }
        if (fit == FIT_EXACT && exact == NULL)
            exact = &rules[i];
        else if (pattern == NULL)
            pattern = &rules[i];
    }

    *ret_rule = exact != NULL ? exact : pattern;
    return *ret_rule != NULL ? ACCESS_ALLOWED : ACCESS_NO_RULE;
}

/* Maps */

static const LunEntry *
find_lun(const LunMap *map, guint16 lun)
{
    for (guint i = 0; i < map->n_entries; i++) {
        if (map->entries[i].lun == lun)
            return &map->entries[i];
    }
    return NULL;
}

static const LunEntry *
find_unit(const LunMap *map, const Lu *lu)
{
    for (guint i = 0; i < map->n_entries; i++) {
        if (lu_is_same_unit(map->entries[i].lu, lu))
            return &map->entries[i];
    }
    return NULL;
}

static int
compare_entries(gconstpointer a, gconstpointer b)
{
    const LunEntry *entry_a = a, *entry_b = b;

    return (int)entry_a->lun - (int)entry_b->lun;
}

/* @map's port groups and what goes with them, for other @entries */
static LunMap *
map_like(const LunMap *map, LunEntry *entries, guint n_entries)
{
    LunMap *copy;

    qsort(entries, n_entries, sizeof(entries[0]), compare_entries);
    copy = lun_map_new(entries, n_entries);
    lun_map_set_alua(copy, map->groups, map->n_groups, &map->alua);
    return copy;
}

static gboolean
has_number(const LunEntry *entries, guint n, guint16 lun)
{
    for (guint i = 0; i < n; i++) {
        if (entries[i].lun == lun)
            return TRUE;
    }
    return FALSE;
}

LunMap *
access_map_new(const LunMap *map, const AccessLun *luns, guint n_luns, gboolean read_only)
{
    g_autofree LunEntry *entries = g_new0(LunEntry, (luns != NULL ? n_luns : map->n_entries) + 1);
    guint n = 0;

    for (guint i = 0; luns == NULL && i < map->n_entries; i++) {
        entries[n] = map->entries[i];
        entries[n++].read_only |= read_only;
    }
    for (guint i = 0; luns != NULL && i < n_luns; i++) {
        const LunEntry *entry = find_lun(map, luns[i].target_lun);

        if (entry == NULL || has_number(entries, n, luns[i].lun))
            continue;
        entries[n++] = (LunEntry){
            .lun = luns[i].lun,
            .lu = entry->lu,
            .read_only = entry->read_only || luns[i].read_only || read_only,
        };
    }
    return map_like(map, entries, n);
}

LunMap *
access_map_keep(const LunMap *had, const LunMap *map)
{
    g_autofree LunEntry *entries = g_new0(LunEntry, had->n_entries + 1);
    guint n = 0;

    for (guint i = 0; i < had->n_entries; i++) {
        const LunEntry *entry = find_unit(map, had->entries[i].lu);

        if (entry == NULL)
            continue;
        entries[n] = had->entries[i];
        entries[n].lu = entry->lu;
        entries[n++].read_only |= entry->read_only;
    }
    return map_like(map, entries, n);
}
