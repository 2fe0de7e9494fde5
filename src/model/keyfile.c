/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Key files
 *
 * Reading and writing walk the rows of the schema, so this file knows groups
 * and not keys. A file is judged here completely: what comes out of
 * keyfile_parse() has passed every row's check and the checks of its spec. It
 * can still contradict other objects, which is for control to find.
 */

#include "model/keyfile.h"

#include <string.h>

#include "model/schema.h"
#include "util/error.h"
#include "util/name.h"

#define KEY_FORMAT "Format"

static const char *const main_groups[MODEL_KIND_N] = {
    [MODEL_BACKSTORE] = "Backstore",      [MODEL_TARGET] = "Target",
    [MODEL_PORTAL_GROUP] = "PortalGroup", [MODEL_INITIATOR_GROUP] = "InitiatorGroup",
    [MODEL_SETTINGS] = "Service",
};

void
keyfile_object_clear(KeyfileObject *object)
{
    g_clear_pointer(&object->backstore, backstore_spec_free);
    g_clear_pointer(&object->target, target_spec_free);
    g_clear_pointer(&object->portal_group, portal_group_spec_free);
    g_clear_pointer(&object->initiator_group, initiator_group_spec_free);
    g_clear_pointer(&object->settings, settings_spec_free);
}

char *
keyfile_object_dup_name(const KeyfileObject *object)
{
    if (object->backstore != NULL)
        return g_strdup(object->backstore->name);
    if (object->target != NULL)
        return g_strdup(object->target->name);
    if (object->portal_group != NULL)
        return g_strdup_printf("%u", object->portal_group->tag);
    if (object->initiator_group != NULL)
        return g_strdup(object->initiator_group->name);
    if (object->settings != NULL)
        return g_strdup(SETTINGS_NAME);
    return NULL;
}

/* Values that are the default are left out, but for identities and what @all asks for */
static void
format_group(GKeyFile *file, const char *group, SchemaScope scope, gconstpointer spec)
{
    guint n;
    const SchemaOption *rows = schema_options(&n);

    for (guint i = 0; i < n; i++) {
        g_autofree char *text = NULL;

        if (rows[i].scope != scope || (rows[i].flags & SCHEMA_IN_FILE) == 0)
            continue;
        if ((rows[i].flags & SCHEMA_IDENTITY) == 0 && schema_is_default(&rows[i], spec))
            continue;

        text = schema_format_text(&rows[i], spec);
        g_key_file_set_string(file, group, rows[i].key, text);
    }
}

static GKeyFile *
begin_file(ModelKind kind)
{
    GKeyFile *file = g_key_file_new();

    g_key_file_set_integer(file, main_groups[kind], KEY_FORMAT, KEYFILE_FORMAT);
    return file;
}

char *
keyfile_format_backstore(const BackstoreSpec *spec)
{
    g_autoptr(GKeyFile) file = begin_file(MODEL_BACKSTORE);

    format_group(file, main_groups[MODEL_BACKSTORE], SCHEMA_BACKSTORE, spec);
    return g_key_file_to_data(file, NULL, NULL);
}

char *
keyfile_format_target(const TargetSpec *spec)
{
    g_autoptr(GKeyFile) file = begin_file(MODEL_TARGET);

    format_group(file, main_groups[MODEL_TARGET], SCHEMA_TARGET, spec);
    format_group(file, "Parameters", SCHEMA_PARAMETER, &spec->parameters);
    for (guint i = 0; i < spec->luns->len; i++) {
        const LunSpec *lun = g_ptr_array_index(spec->luns, i);
        g_autofree char *group = g_strdup_printf("Lun %u", lun->number);

        format_group(file, group, SCHEMA_LUN, lun);
    }
    for (guint i = 0; i < spec->acls->len; i++) {
        g_autofree char *group = g_strdup_printf("Acl %u", i + 1);

        format_group(file, group, SCHEMA_ACL, g_ptr_array_index(spec->acls, i));
    }
    return g_key_file_to_data(file, NULL, NULL);
}

char *
keyfile_format_portal_group(const PortalGroupSpec *spec)
{
    g_autoptr(GKeyFile) file = begin_file(MODEL_PORTAL_GROUP);

    format_group(file, main_groups[MODEL_PORTAL_GROUP], SCHEMA_PORTAL_GROUP, spec);
    for (guint i = 0; i < spec->portals->len; i++) {
        g_autofree char *group = g_strdup_printf("Portal %u", i + 1);

        format_group(file, group, SCHEMA_PORTAL, g_ptr_array_index(spec->portals, i));
    }
    return g_key_file_to_data(file, NULL, NULL);
}

char *
keyfile_format_initiator_group(const InitiatorGroupSpec *spec)
{
    g_autoptr(GKeyFile) file = begin_file(MODEL_INITIATOR_GROUP);

    format_group(file, main_groups[MODEL_INITIATOR_GROUP], SCHEMA_INITIATOR_GROUP, spec);
    return g_key_file_to_data(file, NULL, NULL);
}

char *
keyfile_format_settings(const SettingsSpec *spec)
{
    g_autoptr(GKeyFile) file = begin_file(MODEL_SETTINGS);

    format_group(file, main_groups[MODEL_SETTINGS], SCHEMA_SETTINGS, spec);
    return g_key_file_to_data(file, NULL, NULL);
}

static gboolean
fail(GError **ret_error, const char *format, const char *what)
{
    g_autofree char *shown = g_strescape(what, NULL);
    g_autofree char *text = g_strdup_printf("%s: “%s”", format, shown);

    g_set_error_literal(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT, text);
    return FALSE;
}

static gboolean
parse_key(GKeyFile *file, const char *group, const char *key, SchemaScope scope, gpointer spec,
          GError **ret_error)
{
    const SchemaOption *option = schema_find_key(scope, key);
    g_autofree char *text = NULL;

    if (option == NULL)
        return fail(ret_error, "There is no such key", key);

    text = g_key_file_get_string(file, group, key, ret_error);
    return text != NULL && schema_set_text(option, spec, text, ret_error);
}

/* @scope: all keys of @group are rows of it, but for Format in the main group */
static gboolean
parse_group(GKeyFile *file, const char *group, SchemaScope scope, gpointer spec, GError **ret_error)
{
    g_auto(GStrv) keys = g_key_file_get_keys(file, group, NULL, ret_error);

    if (keys == NULL)
        return FALSE;

    for (guint i = 0; keys[i] != NULL; i++) {
        if (strcmp(keys[i], KEY_FORMAT) == 0 && scope != SCHEMA_PARAMETER && scope != SCHEMA_LUN &&
            scope != SCHEMA_PORTAL && scope != SCHEMA_ACL)
            continue;
        if (!parse_key(file, group, keys[i], scope, spec, ret_error)) {
            g_prefix_error(ret_error, "[%s]: ", group);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
require_key(GKeyFile *file, const char *group, const char *key, GError **ret_error)
{
    if (g_key_file_has_key(file, group, key, NULL))
        return TRUE;

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT, "[%s]: %s= is missing",
                group, key);
    return FALSE;
}

static gboolean
parse_backstore(GKeyFile *file, KeyfileObject *object, GError **ret_error)
{
    const char *group = main_groups[MODEL_BACKSTORE];
    g_autofree char *uuid = g_uuid_string_random();

    object->backstore = backstore_spec_new("", "");
    if (!require_key(file, group, "Name", ret_error) ||
        !require_key(file, group, "Type", ret_error) ||
        !parse_group(file, group, SCHEMA_BACKSTORE, object->backstore, ret_error))
        return FALSE;
    if (object->backstore->uuid[0] == '\0') {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "[%s]: Uuid= is missing; initiators know the disk by it. A new one is Uuid=%s",
                    group, uuid);
        return FALSE;
    }
    return backstore_spec_check(object->backstore, ret_error);
}

/* "PREFIX N", N without leading zeros; FALSE without error for another group */
static gboolean
parse_group_number(const char *group, const char *prefix, guint64 max, guint64 *ret_number)
{
    gsize size = strlen(prefix);

    return strncmp(group, prefix, size) == 0 && group[size] == ' ' &&
           g_ascii_string_to_unsigned(group + size + 1, 10, 0, max, ret_number, NULL) &&
           (group[size + 1] != '0' || group[size + 2] == '\0');
}

static gboolean
parse_lun(GKeyFile *file, const char *group, guint16 number, TargetSpec *target, GError **ret_error)
{
    g_autoptr(LunSpec) lun = lun_spec_new(number, "");

    if (!require_key(file, group, "Backstore", ret_error) ||
        !parse_group(file, group, SCHEMA_LUN, lun, ret_error))
        return FALSE;

    target_spec_take_lun(target, g_steal_pointer(&lun));
    return TRUE;
}

static gboolean
parse_acl(GKeyFile *file, const char *group, TargetSpec *target, GError **ret_error)
{
    g_autoptr(AclSpec) acl = acl_spec_new();

    if (!parse_group(file, group, SCHEMA_ACL, acl, ret_error))
        return FALSE;

    g_ptr_array_add(target->acls, g_steal_pointer(&acl));
    return TRUE;
}

static gboolean
parse_target_group(GKeyFile *file, const char *group, TargetSpec *target, GError **ret_error)
{
    guint64 number;

    if (strcmp(group, main_groups[MODEL_TARGET]) == 0)
        return parse_group(file, group, SCHEMA_TARGET, target, ret_error);
    if (strcmp(group, "Parameters") == 0)
        return parse_group(file, group, SCHEMA_PARAMETER, &target->parameters, ret_error);
    if (parse_group_number(group, "Lun", 16383, &number))
        return parse_lun(file, group, (guint16)number, target, ret_error);
    if (parse_group_number(group, "Acl", G_MAXUINT16, &number))
        return parse_acl(file, group, target, ret_error);
    return fail(ret_error, "There is no such group", group);
}

static gboolean
parse_target(GKeyFile *file, KeyfileObject *object, GError **ret_error)
{
    g_auto(GStrv) groups = g_key_file_get_groups(file, NULL);

    object->target = target_spec_new("");
    if (!require_key(file, main_groups[MODEL_TARGET], "Name", ret_error))
        return FALSE;
    for (guint i = 0; groups[i] != NULL; i++) {
        if (!parse_target_group(file, groups[i], object->target, ret_error))
            return FALSE;
    }
    return target_spec_check(object->target, ret_error);
}

static gboolean
parse_portal(GKeyFile *file, const char *group, PortalGroupSpec *spec, GError **ret_error)
{
    g_autoptr(PortalSpec) portal = portal_spec_new("", 3260);

    if (!require_key(file, group, "Address", ret_error) ||
        !parse_group(file, group, SCHEMA_PORTAL, portal, ret_error))
        return FALSE;

    g_ptr_array_add(spec->portals, g_steal_pointer(&portal));
    return TRUE;
}

static gboolean
parse_portal_group(GKeyFile *file, KeyfileObject *object, GError **ret_error)
{
    const char *main_group = main_groups[MODEL_PORTAL_GROUP];
    g_auto(GStrv) groups = g_key_file_get_groups(file, NULL);
    guint64 number;

    object->portal_group = portal_group_spec_new(0);
    if (!require_key(file, main_group, "Tag", ret_error) ||
        !parse_group(file, main_group, SCHEMA_PORTAL_GROUP, object->portal_group, ret_error))
        return FALSE;

    for (guint i = 0; groups[i] != NULL; i++) {
        if (strcmp(groups[i], main_group) == 0)
            continue;
        if (!parse_group_number(groups[i], "Portal", G_MAXUINT16, &number))
            return fail(ret_error, "There is no such group", groups[i]);
        if (!parse_portal(file, groups[i], object->portal_group, ret_error))
            return FALSE;
    }
    return portal_group_spec_check(object->portal_group, ret_error);
}

static gboolean
parse_initiator_group(GKeyFile *file, KeyfileObject *object, GError **ret_error)
{
    const char *group = main_groups[MODEL_INITIATOR_GROUP];

    object->initiator_group = initiator_group_spec_new("");
    return require_key(file, group, "Name", ret_error) &&
           parse_group(file, group, SCHEMA_INITIATOR_GROUP, object->initiator_group, ret_error);
}

static gboolean
parse_settings(GKeyFile *file, KeyfileObject *object, GError **ret_error)
{
    object->settings = settings_spec_new();
    return parse_group(file, main_groups[MODEL_SETTINGS], SCHEMA_SETTINGS, object->settings,
                       ret_error);
}

static gboolean
check_groups(GKeyFile *file, ModelKind kind, GError **ret_error)
{
    g_auto(GStrv) groups = g_key_file_get_groups(file, NULL);

    for (guint i = 0; groups[i] != NULL; i++) {
        if (kind != MODEL_TARGET && kind != MODEL_PORTAL_GROUP &&
            strcmp(groups[i], main_groups[kind]) != 0)
            return fail(ret_error, "There is no such group", groups[i]);
    }
    return TRUE;
}

static gboolean
check_format(GKeyFile *file, const char *group, GError **ret_error)
{
    g_autofree char *text = g_key_file_get_string(file, group, KEY_FORMAT, NULL);
    guint64 format = KEYFILE_FORMAT;

    if (text != NULL && !g_ascii_string_to_unsigned(text, 10, 1, G_MAXUINT32, &format, NULL))
        return fail(ret_error, "Format is not a number", text);
    if (format > KEYFILE_FORMAT) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NOT_SUPPORTED,
                    "Format %s was written by a newer version", text);
        return FALSE;
    }
    return TRUE;
}

static gboolean
find_kind(GKeyFile *file, ModelKind *ret_kind, GError **ret_error)
{
    for (guint i = 0; i < G_N_ELEMENTS(main_groups); i++) {
        if (main_groups[i] == NULL || !g_key_file_has_group(file, main_groups[i]))
            continue;
        *ret_kind = (ModelKind)i;
        return TRUE;
    }

    g_set_error_literal(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                        "There is no group [Backstore], [Target], [PortalGroup], "
                        "[InitiatorGroup] or [Service]");
    return FALSE;
}

static gboolean
parse_object(GKeyFile *file, KeyfileObject *object, GError **ret_error)
{
    if (!find_kind(file, &object->kind, ret_error) ||
        !check_format(file, main_groups[object->kind], ret_error) ||
        !check_groups(file, object->kind, ret_error))
        return FALSE;
    if (object->kind == MODEL_BACKSTORE)
        return parse_backstore(file, object, ret_error);
    if (object->kind == MODEL_TARGET)
        return parse_target(file, object, ret_error);
    if (object->kind == MODEL_INITIATOR_GROUP)
        return parse_initiator_group(file, object, ret_error);
    if (object->kind == MODEL_SETTINGS)
        return parse_settings(file, object, ret_error);
    return parse_portal_group(file, object, ret_error);
}

gboolean
keyfile_parse(const char *text, gsize size, KeyfileObject *ret_object, GError **ret_error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autoptr(GError) error = NULL;
    g_auto(KeyfileObject) object = { 0 };

    if (!g_key_file_load_from_data(file, text, size, G_KEY_FILE_NONE, &error) ||
        !parse_object(file, &object, &error)) {
        if (error->domain == LUNPORT_ERROR)
            g_propagate_error(ret_error, g_steal_pointer(&error));
        else
            g_set_error_literal(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                                error->message);
        return FALSE;
    }

    *ret_object = object;
    object = (KeyfileObject){ 0 };
    return TRUE;
}

static gboolean
byte_is_plain(guchar c, gboolean first)
{
    if (c >= 0x80 || g_ascii_isalnum((gchar)c))
        return TRUE;
    return c == '_' || c == ':' || c == '-' || (c == '.' && !first);
}

char *
keyfile_escape_name(const char *name)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (const char *p = name; *p != '\0'; p++) {
        if (byte_is_plain((guchar)*p, p == name))
            g_string_append_c(text, *p);
        else
            g_string_append_printf(text, "%%%02X", (guint)(guchar)*p);
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

char *
keyfile_unescape_name(const char *stem)
{
    g_autoptr(GString) name = g_string_new(NULL);
    g_autofree char *again = NULL;

    for (const char *p = stem; *p != '\0'; p++) {
        if (*p != '%') {
            g_string_append_c(name, *p);
        } else {
            if (!g_ascii_isxdigit(p[1]) || !g_ascii_isxdigit(p[2]) || (p[1] == '0' && p[2] == '0'))
                return NULL;
            g_string_append_c(
                name, (gchar)(g_ascii_xdigit_value(p[1]) << 4 | g_ascii_xdigit_value(p[2])));
            p += 2;
        }
    }

    /* One name has one file: what would be escaped in another way is not ours */
    again = keyfile_escape_name(name->str);
    return strcmp(again, stem) == 0 ? g_string_free(g_steal_pointer(&name), FALSE) : NULL;
}
