/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Specs: making, copying and judging them
 *
 * Members that have a row in the schema are initialised, copied and freed
 * through it; here are only the lists, and the rules that concern more than
 * one member. Those rules do not look at other objects: whether a backstore
 * that a logical unit names exists is for control to say.
 */

#include "model/spec.h"

#include <string.h>

#include "model/access-state.h"
#include "model/schema.h"
#include "util/bytes.h"
#include "util/error.h"

#define LUNS_MAX    1024         /* of a target */
#define PORTALS_MAX 256          /* of a group */
#define RULES_SIZE  (768 * 1024) /* of the text of all rules: the file must stay readable */

#define CDROM_BLOCK_SIZE   2048
#define DEFAULT_BLOCK_SIZE 512 /* of the schema: nothing was said */

static gboolean
fail(GError **ret_error, const char *why)
{
    g_set_error_literal(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT, why);
    return FALSE;
}

static void
set_text(char **where, const char *text)
{
    g_free(*where);
    *where = g_strdup(text);
}

BackstoreSpec *
backstore_spec_new(const char *type, const char *name)
{
    BackstoreSpec *spec = schema_new(SCHEMA_BACKSTORE);

    set_text(&spec->type, type);
    set_text(&spec->name, name);
    return spec;
}

BackstoreSpec *
backstore_spec_dup(const BackstoreSpec *spec)
{
    return schema_dup(SCHEMA_BACKSTORE, spec);
}

void
backstore_spec_free(BackstoreSpec *spec)
{
    schema_free(SCHEMA_BACKSTORE, spec);
}

static gboolean
type_has_path(const char *type)
{
    return strcmp(type, "file") == 0 || strcmp(type, "block") == 0;
}

gboolean
backstore_spec_is_cdrom(const BackstoreSpec *spec)
{
    return strcmp(spec->device_type, "cdrom") == 0;
}

gboolean
backstore_spec_is_removable(const BackstoreSpec *spec)
{
    return spec->removable || backstore_spec_is_cdrom(spec);
}

gboolean
backstore_spec_is_read_only(const BackstoreSpec *spec)
{
    return spec->read_only || backstore_spec_is_cdrom(spec);
}

guint32
backstore_spec_block_size(const BackstoreSpec *spec)
{
    return backstore_spec_is_cdrom(spec) ? CDROM_BLOCK_SIZE : spec->block_size;
}

gboolean
backstore_spec_can_change_medium(const BackstoreSpec *spec)
{
    return type_has_path(spec->type) && backstore_spec_is_removable(spec);
}

gboolean
backstore_spec_is_empty(const BackstoreSpec *spec)
{
    return backstore_spec_can_change_medium(spec) && spec->path[0] == '\0' && !spec->create;
}

static gboolean
check_cdrom(const BackstoreSpec *spec, GError **ret_error)
{
    if (!type_has_path(spec->type))
        return fail(ret_error, "device-type=cdrom is only for the types file and block");
    if (spec->create)
        return fail(ret_error, "create does not go with device-type=cdrom");
    if (spec->block_size != DEFAULT_BLOCK_SIZE && spec->block_size != CDROM_BLOCK_SIZE)
        return fail(ret_error, "block-size is 2048 with device-type=cdrom");
    if (spec->size != 0 || spec->physical_block_size != 0)
        return fail(ret_error, "size and physical-block-size do not go with device-type=cdrom");
    return TRUE;
}

static gboolean
check_blocks(const BackstoreSpec *spec, GError **ret_error)
{
    if (!is_power_of_two(spec->block_size))
        return fail(ret_error, "block-size must be a power of two");
    if (spec->physical_block_size != 0 && (!is_power_of_two(spec->physical_block_size) ||
                                           spec->physical_block_size < spec->block_size))
        return fail(ret_error,
                    "physical-block-size must be a power of two and not less than block-size");
    if (spec->size % spec->block_size != 0)
        return fail(ret_error, "size must be a multiple of block-size");
    return TRUE;
}

gboolean
backstore_spec_check(const BackstoreSpec *spec, GError **ret_error)
{
    gboolean has_path = type_has_path(spec->type);

    /* A file that is made may leave its place to the service */
    if (has_path && spec->path[0] == '\0' && !spec->create && !backstore_spec_is_empty(spec))
        return fail(ret_error, "path is missing");
    if (!has_path && spec->path[0] != '\0')
        return fail(ret_error, "path is only for the types file and block");
    if (!has_path && spec->size == 0)
        return fail(ret_error, "size is missing");
    if (spec->create && strcmp(spec->type, "file") != 0)
        return fail(ret_error, "create is only for the type file");
    if (spec->create && spec->size == 0)
        return fail(ret_error, "create needs a size");
    if (spec->create && spec->read_only)
        return fail(ret_error, "create does not go with read-only");
    if (!spec->write_cache && strcmp(spec->cache, "default") != 0 &&
        strcmp(spec->cache, "writethrough") != 0)
        return fail(ret_error, "write-cache=false only goes with cache=writethrough");
    if (backstore_spec_is_cdrom(spec) && !check_cdrom(spec, ret_error))
        return FALSE;
    return check_blocks(spec, ret_error);
}

LunSpec *
lun_spec_new(guint16 number, const char *backstore)
{
    LunSpec *spec = schema_new(SCHEMA_LUN);

    spec->number = number;
    set_text(&spec->backstore, backstore);
    return spec;
}

LunSpec *
lun_spec_dup(const LunSpec *spec)
{
    return schema_dup(SCHEMA_LUN, spec);
}

void
lun_spec_free(LunSpec *spec)
{
    schema_free(SCHEMA_LUN, spec);
}

static void
free_lun(gpointer spec)
{
    lun_spec_free(spec);
}

static void
free_acl(gpointer spec)
{
    acl_spec_free(spec);
}

TargetSpec *
target_spec_new(const char *name)
{
    TargetSpec *spec = schema_new(SCHEMA_TARGET);

    schema_init(SCHEMA_PARAMETER, &spec->parameters);
    set_text(&spec->name, name);
    spec->luns = g_ptr_array_new_with_free_func(free_lun);
    spec->acls = g_ptr_array_new_with_free_func(free_acl);
    return spec;
}

TargetSpec *
target_spec_dup(const TargetSpec *spec)
{
    TargetSpec *copy = schema_dup(SCHEMA_TARGET, spec);

    schema_copy(SCHEMA_PARAMETER, &copy->parameters, &spec->parameters);
    copy->luns = g_ptr_array_new_with_free_func(free_lun);
    for (guint i = 0; i < spec->luns->len; i++)
        g_ptr_array_add(copy->luns, lun_spec_dup(g_ptr_array_index(spec->luns, i)));
    copy->acls = g_ptr_array_new_with_free_func(free_acl);
    for (guint i = 0; i < spec->acls->len; i++)
        g_ptr_array_add(copy->acls, acl_spec_dup(g_ptr_array_index(spec->acls, i)));
    return copy;
}

void
target_spec_free(TargetSpec *spec)
{
    if (spec == NULL)
        return;

    schema_clear(SCHEMA_PARAMETER, &spec->parameters);
    g_ptr_array_unref(spec->luns);
    g_ptr_array_unref(spec->acls);
    schema_free(SCHEMA_TARGET, spec);
}

LunSpec *
target_spec_find_lun(const TargetSpec *spec, guint16 number, guint *ret_index)
{
    for (guint i = 0; i < spec->luns->len; i++) {
        LunSpec *lun = g_ptr_array_index(spec->luns, i);

        if (lun->number != number)
            continue;
        if (ret_index != NULL)
            *ret_index = i;
        return lun;
    }
    return NULL;
}

static gint
compare_luns(gconstpointer a, gconstpointer b)
{
    const LunSpec *first = *(const LunSpec *const *)a;
    const LunSpec *second = *(const LunSpec *const *)b;

    return (gint)first->number - (gint)second->number;
}

void
target_spec_take_lun(TargetSpec *spec, LunSpec *lun)
{
    g_assert(target_spec_find_lun(spec, lun->number, NULL) == NULL);

    g_ptr_array_add(spec->luns, lun);
    g_ptr_array_sort(spec->luns, compare_luns);
}

void
target_spec_remove_lun(TargetSpec *spec, guint16 number)
{
    guint index;

    if (target_spec_find_lun(spec, number, &index) != NULL)
        g_ptr_array_remove_index(spec->luns, index);
}

AclSpec *
target_spec_find_acl(const TargetSpec *spec, const char *name, guint *ret_index)
{
    for (guint i = 0; i < spec->acls->len; i++) {
        AclSpec *acl = g_ptr_array_index(spec->acls, i);

        if (!acl_spec_has_name(acl, name))
            continue;
        if (ret_index != NULL)
            *ret_index = i;
        return acl;
    }
    return NULL;
}

guint16 *
target_spec_dup_groups(const TargetSpec *spec, guint *ret_n_tags)
{
    g_auto(GStrv) words = NULL;
    guint16 *tags;
    guint n;

    *ret_n_tags = 0;
    if (strcmp(spec->portal_groups, "*") == 0)
        return NULL;

    words = g_strsplit(spec->portal_groups, " ", -1);
    n = spec->portal_groups[0] == '\0' ? 0 : g_strv_length(words);
    tags = g_new0(guint16, n + 1);
    for (guint i = 0; i < n; i++)
        tags[i] = (guint16)g_ascii_strtoull(words[i], NULL, 10);

    *ret_n_tags = n;
    return tags;
}

gboolean
target_spec_has_group(const TargetSpec *spec, guint16 tag)
{
    guint n;
    g_autofree guint16 *tags = target_spec_dup_groups(spec, &n);

    for (guint i = 0; i < n; i++) {
        if (tags[i] == tag)
            return TRUE;
    }
    return tags == NULL;
}

static gint
compare_tags(gconstpointer a, gconstpointer b, gpointer user_data)
{
    return (gint) * (const guint16 *)a - (gint) * (const guint16 *)b;
}

void
target_spec_set_groups(TargetSpec *spec, const guint16 *tags, guint n_tags)
{
    g_autofree guint16 *sorted = g_memdup2(tags, n_tags * sizeof(tags[0]));
    g_autoptr(GString) text = g_string_new(NULL);

    if (n_tags > 0)
        g_qsort_with_data(sorted, (gint)n_tags, sizeof(sorted[0]), compare_tags, NULL);
    for (guint i = 0; i < n_tags; i++) {
        if (i == 0 || sorted[i] != sorted[i - 1])
            g_string_append_printf(text, "%s%u", text->len > 0 ? " " : "", sorted[i]);
    }
    set_text(&spec->portal_groups, text->str);
}

guint16
target_spec_relative_port(const TargetSpec *spec, guint16 tag)
{
    return (guint16)(((guint32)spec->relative_port + tag - 2) % G_MAXUINT16 + 1);
}

GArray *
target_spec_dup_access_states(const TargetSpec *spec)
{
    GArray *states = NULL;

    if (spec->access_states[0] != '\0')
        states = access_states_parse(spec->access_states);
    return states != NULL ? states : g_array_new(FALSE, FALSE, sizeof(AccessState));
}

void
target_spec_set_access_states(TargetSpec *spec, const GArray *states)
{
    g_autofree char *text = access_states_format(states);

    set_text(&spec->access_states, text);
}

gboolean
target_parameters_check(const TargetParameters *parameters, GError **ret_error)
{
    if (parameters->first_burst_length > parameters->max_burst_length)
        return fail(ret_error, "FirstBurstLength must not be greater than MaxBurstLength");
    return TRUE;
}

static gboolean
check_acls(const TargetSpec *spec, GError **ret_error)
{
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    gsize size = 0;

    if (spec->acls->len > ACL_RULES_MAX) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_LIMIT_EXCEEDED,
                    "A target can have at most %d access rules", ACL_RULES_MAX);
        return FALSE;
    }
    for (guint i = 0; i < spec->acls->len; i++) {
        const AclSpec *acl = g_ptr_array_index(spec->acls, i);
        char *name = acl_spec_dup_name(acl);

        if (!g_hash_table_add(names, name)) {
            g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_ALREADY_EXISTS,
                        "The target has an access rule for “%s” already",
                        acl->group[0] != '\0' ? acl->group : acl->initiator);
            return FALSE;
        }
        if (!acl_spec_check(acl, ret_error))
            return FALSE;
        size += strlen(name) + strlen(acl->networks) + strlen(acl->portal_groups) +
                strlen(acl->lun_map) + 256;
    }
    if (size > RULES_SIZE) {
        g_set_error_literal(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_LIMIT_EXCEEDED,
                            "The access rules of the target are too long together");
        return FALSE;
    }
    return TRUE;
}

gboolean
target_spec_check(const TargetSpec *spec, GError **ret_error)
{
    if (spec->luns->len > LUNS_MAX) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_LIMIT_EXCEEDED,
                    "A target can have at most %d logical units", LUNS_MAX);
        return FALSE;
    }
    for (guint i = 1; i < spec->luns->len; i++) {
        const LunSpec *before = g_ptr_array_index(spec->luns, i - 1);
        const LunSpec *lun = g_ptr_array_index(spec->luns, i);

        if (before->number >= lun->number)
            return fail(ret_error, "A logical unit number is used twice");
    }
    return check_acls(spec, ret_error) && target_parameters_check(&spec->parameters, ret_error);
}

PortalSpec *
portal_spec_new(const char *address, guint16 port)
{
    PortalSpec *spec = schema_new(SCHEMA_PORTAL);

    set_text(&spec->address, address);
    spec->port = port;
    return spec;
}

PortalSpec *
portal_spec_dup(const PortalSpec *spec)
{
    return schema_dup(SCHEMA_PORTAL, spec);
}

void
portal_spec_free(PortalSpec *spec)
{
    schema_free(SCHEMA_PORTAL, spec);
}

static void
free_portal(gpointer spec)
{
    portal_spec_free(spec);
}

PortalGroupSpec *
portal_group_spec_new(guint16 tag)
{
    PortalGroupSpec *spec = schema_new(SCHEMA_PORTAL_GROUP);

    spec->tag = tag;
    spec->portals = g_ptr_array_new_with_free_func(free_portal);
    return spec;
}

PortalGroupSpec *
portal_group_spec_dup(const PortalGroupSpec *spec)
{
    PortalGroupSpec *copy = portal_group_spec_new(spec->tag);

    for (guint i = 0; i < spec->portals->len; i++)
        g_ptr_array_add(copy->portals, portal_spec_dup(g_ptr_array_index(spec->portals, i)));
    return copy;
}

void
portal_group_spec_free(PortalGroupSpec *spec)
{
    if (spec == NULL)
        return;

    g_ptr_array_unref(spec->portals);
    schema_free(SCHEMA_PORTAL_GROUP, spec);
}

PortalSpec *
portal_group_spec_find(const PortalGroupSpec *spec, const char *address, guint16 port)
{
    for (guint i = 0; i < spec->portals->len; i++) {
        PortalSpec *portal = g_ptr_array_index(spec->portals, i);

        if (strcmp(portal->address, address) == 0 && portal->port == port)
            return portal;
    }
    return NULL;
}

gboolean
portal_group_spec_check(const PortalGroupSpec *spec, GError **ret_error)
{
    if (spec->portals->len > PORTALS_MAX) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_LIMIT_EXCEEDED,
                    "A portal group can have at most %d portals", PORTALS_MAX);
        return FALSE;
    }
    for (guint i = 0; i < spec->portals->len; i++) {
        const PortalSpec *portal = g_ptr_array_index(spec->portals, i);

        if (portal_group_spec_find(spec, portal->address, portal->port) != portal)
            return fail(ret_error, "A portal is there twice");
    }
    return TRUE;
}
