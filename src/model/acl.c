/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Specs of who may log in
 *
 * Lists (networks, initiators, logical units) are kept as text, as key files
 * have them, so that the schema copies and compares them like any other
 * option. They are judged here once, when they are set, and taken apart by
 * those who need the parts.
 */

#include "model/acl.h"

#include <string.h>

#include "model/schema.h"
#include "util/error.h"
#include "util/name.h"
#include "util/network.h"
#include "util/pattern.h"

#define LUN_MAX   16383
#define READ_ONLY "read-only"

static gboolean
fail(GError **ret_error, const char *text, const char *what)
{
    g_autofree char *quoted = g_strescape(text, NULL);

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT, "“%.300s” is not %s",
                quoted, what);
    return FALSE;
}

char **
acl_words_split(const char *text)
{
    return text[0] != '\0' ? g_strsplit(text, " ", -1) : g_new0(char *, 1);
}

gboolean
acl_words_contain(const char *text, const char *word)
{
    g_auto(GStrv) words = acl_words_split(text);

    return g_strv_contains((const char *const *)words, word);
}

AclSpec *
acl_spec_new(void)
{
    return schema_new(SCHEMA_ACL);
}

AclSpec *
acl_spec_dup(const AclSpec *spec)
{
    return schema_dup(SCHEMA_ACL, spec);
}

void
acl_spec_free(AclSpec *spec)
{
    schema_free(SCHEMA_ACL, spec);
}

char *
acl_spec_dup_name(const AclSpec *spec)
{
    return spec->group[0] != '\0' ? g_strconcat(ACL_GROUP_PREFIX, spec->group, NULL)
                                  : g_strdup(spec->initiator);
}

gboolean
acl_spec_has_name(const AclSpec *spec, const char *name)
{
    if (g_str_has_prefix(name, ACL_GROUP_PREFIX))
        return spec->group[0] != '\0' && strcmp(spec->group, name + strlen(ACL_GROUP_PREFIX)) == 0;
    return spec->group[0] == '\0' && strcmp(spec->initiator, name) == 0;
}

gboolean
acl_spec_denies(const AclSpec *spec)
{
    return strcmp(spec->action, "deny") == 0;
}

gboolean
acl_spec_check(const AclSpec *spec, GError **ret_error)
{
    const char *why = NULL;

    if ((spec->initiator[0] != '\0') == (spec->group[0] != '\0'))
        why = "A rule is for an initiator or for a group";
    else if (acl_spec_denies(spec) && (spec->read_only || spec->lun_map[0] != '\0'))
        why = "A rule that denies shows no logical units";
    else if (acl_spec_denies(spec) && strcmp(spec->authentication, "Target") != 0)
        why = "A rule that denies asks for no proof";
    if (why == NULL)
        return TRUE;

    g_set_error_literal(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT, why);
    return FALSE;
}

static gboolean
parse_number(const char *text, guint16 *ret_number)
{
    guint64 number;

    if (!g_ascii_string_to_unsigned(text, 10, 0, LUN_MAX, &number, NULL))
        return FALSE;

    *ret_number = (guint16)number;
    return TRUE;
}

static gboolean
parse_lun(const char *word, AclLun *ret_lun)
{
    g_auto(GStrv) parts = g_strsplit(word, ":", 3);
    guint n = g_strv_length(parts);

    if (n < 2 || !parse_number(parts[0], &ret_lun->lun) ||
        !parse_number(parts[1], &ret_lun->target_lun) ||
        (n == 3 && strcmp(parts[2], READ_ONLY) != 0))
        return FALSE;

    ret_lun->read_only = n == 3;
    return TRUE;
}

GArray *
acl_luns_parse(const char *text)
{
    g_autoptr(GArray) luns = g_array_new(FALSE, FALSE, sizeof(AclLun));
    g_auto(GStrv) words = acl_words_split(text);

    for (guint i = 0; words[i] != NULL; i++) {
        AclLun lun;

        if (!parse_lun(words[i], &lun) || luns->len >= ACL_LUNS_MAX ||
            (i > 0 && g_array_index(luns, AclLun, i - 1).lun >= lun.lun))
            return NULL;
        g_array_append_val(luns, lun);
    }
    return g_steal_pointer(&luns);
}

char *
acl_luns_format(const GArray *luns)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint i = 0; i < luns->len; i++) {
        const AclLun *lun = &g_array_index(luns, AclLun, i);

        g_string_append_printf(text, "%s%u:%u%s", i > 0 ? " " : "", lun->lun, lun->target_lun,
                               lun->read_only ? ":" READ_ONLY : "");
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

InitiatorGroupSpec *
initiator_group_spec_new(const char *name)
{
    InitiatorGroupSpec *spec = schema_new(SCHEMA_INITIATOR_GROUP);

    g_free(spec->name);
    spec->name = g_strdup(name);
    return spec;
}

InitiatorGroupSpec *
initiator_group_spec_dup(const InitiatorGroupSpec *spec)
{
    return schema_dup(SCHEMA_INITIATOR_GROUP, spec);
}

void
initiator_group_spec_free(InitiatorGroupSpec *spec)
{
    schema_free(SCHEMA_INITIATOR_GROUP, spec);
}

SettingsSpec *
settings_spec_new(void)
{
    return schema_new(SCHEMA_SETTINGS);
}

SettingsSpec *
settings_spec_dup(const SettingsSpec *spec)
{
    return schema_dup(SCHEMA_SETTINGS, spec);
}

void
settings_spec_free(SettingsSpec *spec)
{
    schema_free(SCHEMA_SETTINGS, spec);
}

gboolean
acl_check_action(const char *text, GError **ret_error)
{
    return strcmp(text, "allow") == 0 || strcmp(text, "deny") == 0 ||
           fail(ret_error, text, "allow or deny");
}

gboolean
acl_check_target_authentication(const char *text, GError **ret_error)
{
    return strcmp(text, "None") == 0 || strcmp(text, "CHAP") == 0 ||
           fail(ret_error, text, "an authentication method: None or CHAP");
}

gboolean
acl_check_authentication(const char *text, GError **ret_error)
{
    return strcmp(text, "Target") == 0 || strcmp(text, "None") == 0 || strcmp(text, "CHAP") == 0 ||
           fail(ret_error, text,
                "an authentication method: None, CHAP, or Target for that of the target");
}

gboolean
acl_check_networks(const char *text, GError **ret_error)
{
    g_auto(GStrv) words = acl_words_split(text);
    Network network;

    if (g_strv_length(words) > ACL_NETWORKS_MAX) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_LIMIT_EXCEEDED,
                    "A rule may have at most %d networks", ACL_NETWORKS_MAX);
        return FALSE;
    }
    for (guint i = 0; words[i] != NULL; i++) {
        if (!network_parse(words[i], &network, ret_error))
            return FALSE;
    }
    return TRUE;
}

gboolean
acl_check_luns(const char *text, GError **ret_error)
{
    g_autoptr(GArray) luns = acl_luns_parse(text);

    return luns != NULL ||
           fail(ret_error, text,
                "a list of LUN:TARGETLUN[:read-only] by ascending LUN, each number once");
}

gboolean
acl_check_initiators(const char *text, GError **ret_error)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    g_auto(GStrv) words = NULL;

    if (strlen(text) > ACL_LIST_TEXT_MAX) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_LIMIT_EXCEEDED,
                    "The names of a group may have at most %d bytes in all", ACL_LIST_TEXT_MAX);
        return FALSE;
    }
    words = acl_words_split(text);
    if (g_strv_length(words) > ACL_INITIATORS_MAX) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_LIMIT_EXCEEDED,
                    "A group may have at most %d initiators", ACL_INITIATORS_MAX);
        return FALSE;
    }
    for (guint i = 0; words[i] != NULL; i++) {
        if (!pattern_check_name(words[i], ret_error))
            return FALSE;
        if (!g_hash_table_add(seen, words[i]))
            return fail(ret_error, text, "a list that has each initiator once");
    }
    return TRUE;
}

gboolean
acl_check_algorithms(const char *text, GError **ret_error)
{
    g_auto(GStrv) words = acl_words_split(text);

    for (guint i = 0; words[i] != NULL; i++) {
        if (!acl_words_contain(SETTINGS_ALGORITHM_ALL, words[i]))
            return fail(ret_error, words[i],
                        "an algorithm of CHAP: SHA3-256, SHA-256, SHA1 or MD5");
        for (guint j = 0; j < i; j++) {
            if (strcmp(words[i], words[j]) == 0)
                return fail(ret_error, text, "a list of algorithms: one is there more than once");
        }
    }
    return TRUE;
}
