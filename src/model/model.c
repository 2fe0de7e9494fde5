/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The model: lists, and telling the observer
 *
 * Configured objects come and go only here, sessions only in session.c and
 * jobs only in job.c, so these are the places that must tell. Lists are kept
 * in order at insertion; hash tables serve what lookup.c finds for events and
 * methods. An object's children are in lists of their own inside it; a back
 * pointer that may dangle is cleared when its object goes.
 */

#include "model/model-private.h"

#include <string.h>

#include "model/job.h"

static void
free_portal(gpointer data)
{
    ModelPortal *portal = data;

    g_free(portal->address);
    g_free(portal->interface);
    g_free(portal->announce);
    g_clear_error(&portal->error);
    g_free(portal);
}

static void
free_portal_group(gpointer data)
{
    ModelPortalGroup *group = data;

    portal_group_spec_free(group->spec);
    portal_group_spec_free(group->saved);
    g_ptr_array_unref(group->portals);
    g_free(group);
}

static void
free_lun(gpointer data)
{
    ModelLun *lun = data;

    g_free(lun->backstore_name);
    g_free(lun);
}

static void
clear_account(ModelAccount *account)
{
    g_strfreev(account->users);
    g_strfreev(account->mutual_users);
}

static void
free_acl(gpointer data)
{
    ModelAcl *acl = data;

    clear_account(&acl->account);
    g_free(acl->name);
    g_free(acl);
}

static void
free_initiator_group(gpointer data)
{
    ModelInitiatorGroup *group = data;

    initiator_group_spec_free(group->spec);
    initiator_group_spec_free(group->saved);
    g_free(group);
}

static void
free_target(gpointer data)
{
    ModelTarget *target = data;

    target_spec_free(target->spec);
    target_spec_free(target->saved);
    g_clear_error(&target->error);
    g_ptr_array_unref(target->luns);
    g_ptr_array_unref(target->acls);
    clear_account(&target->account);
    g_free(target);
}

static void
free_backstore(gpointer data)
{
    ModelBackstore *backstore = data;

    backstore_spec_free(backstore->spec);
    backstore_spec_free(backstore->saved);
    g_clear_error(&backstore->error);
    g_free(backstore->serial);
    g_free(backstore->wwn);
    g_free(backstore->reservation_holder);
    g_clear_pointer(&backstore->faults, g_variant_unref);
    g_ptr_array_unref(backstore->luns);
    g_free(backstore);
}

static gboolean
set_names(char ***where, const char *const *names)
{
    if (*where != NULL && g_strv_equal((const char *const *)*where, names))
        return FALSE;

    g_strfreev(*where);
    *where = g_strdupv((char **)(gsize)names);
    return TRUE;
}

gboolean
model_set_account(ModelAccount *account, const char *const *users, const char *const *mutual_users)
{
    gboolean first = set_names(&account->users, users);
    gboolean second = set_names(&account->mutual_users, mutual_users);

    account->user = account->users[0] != NULL ? account->users[0] : "";
    account->mutual_user = account->mutual_users[0] != NULL ? account->mutual_users[0] : "";
    return first || second;
}

static void
init_account(ModelAccount *account)
{
    static const char *const none[] = { NULL };

    (void)model_set_account(account, none, none);
}

Model *
model_new(void)
{
    Model *model = g_new0(Model, 1);

    model->started_at = g_get_real_time();
    model->next_id = 1;
    model->backstores = g_ptr_array_new_with_free_func(free_backstore);
    model->targets = g_ptr_array_new_with_free_func(free_target);
    model->portal_groups = g_ptr_array_new_with_free_func(free_portal_group);
    model->sessions = g_ptr_array_new_with_free_func(model_session_free);
    model->initiator_groups = g_ptr_array_new_with_free_func(free_initiator_group);
    model->jobs = g_ptr_array_new_with_free_func(model_job_free);
    model->settings = settings_spec_new();
    model->limit_hits = g_array_new(FALSE, FALSE, sizeof(ModelLimitHit));
    model->isns_error = g_strdup("");
    model->problems = g_new0(char *, 1);
    init_account(&model->discovery_account);
    model->backstores_by_name = g_hash_table_new(g_str_hash, g_str_equal);
    model->targets_by_name = g_hash_table_new(g_str_hash, g_str_equal);
    model->sessions_by_tsih = g_hash_table_new(NULL, NULL);
    model->reserved = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    model->put_aside = g_ptr_array_new_with_free_func((GDestroyNotify)target_spec_free);
    return model;
}

void
model_free(Model *model)
{
    if (model == NULL)
        return;

    g_hash_table_unref(model->backstores_by_name);
    g_hash_table_unref(model->targets_by_name);
    g_hash_table_unref(model->sessions_by_tsih);
    g_hash_table_unref(model->reserved);
    g_ptr_array_unref(model->put_aside);
    g_ptr_array_unref(model->sessions);
    g_ptr_array_unref(model->targets);
    g_ptr_array_unref(model->portal_groups);
    g_ptr_array_unref(model->backstores);
    g_ptr_array_unref(model->initiator_groups);
    g_ptr_array_unref(model->jobs);
    settings_spec_free(model->settings);
    settings_spec_free(model->saved_settings);
    g_array_unref(model->limit_hits);
    clear_account(&model->discovery_account);
    g_free(model->isns_error);
    g_strfreev(model->problems);
    g_free(model);
}

void
model_set_observer(Model *model, const ModelObserver *observer, gpointer user_data)
{
    model->observer = observer;
    model->observer_data = user_data;
}

void
model_tell_added(Model *model, ModelKind kind, gpointer object)
{
    if (model->observer != NULL)
        model->observer->added(kind, object, model->observer_data);
}

void
model_tell_removed(Model *model, ModelKind kind, gpointer object)
{
    if (model->observer != NULL)
        model->observer->removed(kind, object, model->observer_data);
}

void
model_changed(Model *model, ModelKind kind, gpointer object)
{
    if (model->observer != NULL)
        model->observer->changed(kind, object, model->observer_data);
}

gboolean
model_origin_is_persistent(ModelOrigin origin)
{
    return origin == MODEL_ORIGIN_STATE || origin == MODEL_ORIGIN_CONFIG;
}

guint
model_find_place(const GPtrArray *list, gint (*compare)(gconstpointer object, gconstpointer key),
                 gconstpointer key)
{
    guint i = 0;

    while (i < list->len && compare(g_ptr_array_index(list, i), key) < 0)
        i++;
    return i;
}

static gint
compare_backstore(gconstpointer object, gconstpointer key)
{
    return strcmp(((const ModelBackstore *)object)->spec->name, key);
}

static gint
compare_target(gconstpointer object, gconstpointer key)
{
    return strcmp(((const ModelTarget *)object)->spec->name, key);
}

static gint
compare_group(gconstpointer object, gconstpointer key)
{
    return (gint)((const ModelPortalGroup *)object)->spec->tag - (gint)GPOINTER_TO_UINT(key);
}

static gint
compare_initiator_group(gconstpointer object, gconstpointer key)
{
    return strcmp(((const ModelInitiatorGroup *)object)->spec->name, key);
}

static gint
compare_lun(gconstpointer object, gconstpointer key)
{
    return (gint)((const ModelLun *)object)->number - (gint)GPOINTER_TO_UINT(key);
}

static void
lun_link(Model *model, ModelLun *lun)
{
    lun->backstore = model_find_backstore(model, lun->backstore_name);
    if (lun->backstore == NULL)
        return;

    g_ptr_array_add(lun->backstore->luns, lun);
    model_changed(model, MODEL_BACKSTORE, lun->backstore);
}

static void
lun_unlink(Model *model, ModelLun *lun)
{
    ModelBackstore *backstore = g_steal_pointer(&lun->backstore);

    if (backstore == NULL)
        return;

    (void)g_ptr_array_remove(backstore->luns, lun);
    model_changed(model, MODEL_BACKSTORE, backstore);
}

/* A logical unit that was configured before its backstore finds it now */
static void
link_waiting_luns(Model *model, ModelBackstore *backstore)
{
    for (guint i = 0; i < model->targets->len; i++) {
        ModelTarget *target = g_ptr_array_index(model->targets, i);

        for (guint j = 0; j < target->luns->len; j++) {
            ModelLun *lun = g_ptr_array_index(target->luns, j);

            if (lun->backstore != NULL || strcmp(lun->backstore_name, backstore->spec->name) != 0)
                continue;
            lun_link(model, lun);
            model_changed(model, MODEL_LUN, lun);
        }
    }
}

ModelBackstore *
model_add_backstore(Model *model, BackstoreSpec *spec, BackstoreSpec *saved, ModelOrigin origin)
{
    ModelBackstore *backstore = g_new0(ModelBackstore, 1);
    guint place = model_find_place(model->backstores, compare_backstore, spec->name);

    g_assert(model_find_backstore(model, spec->name) == NULL);

    backstore->spec = spec;
    backstore->saved = saved;
    backstore->origin = origin;
    backstore->block_size = backstore_spec_block_size(spec);
    backstore->physical_block_size = MAX(spec->physical_block_size, backstore->block_size);
    backstore->cache = "none";
    backstore->read_only = backstore_spec_is_read_only(spec);
    if (backstore_spec_is_removable(spec))
        backstore->medium = backstore_spec_is_empty(spec) ? MEDIUM_NONE : MEDIUM_LOADED;
    backstore->luns = g_ptr_array_new();
    g_ptr_array_insert(model->backstores, (gint)place, backstore);
    (void)g_hash_table_insert(model->backstores_by_name, spec->name, backstore);

    model_tell_added(model, MODEL_BACKSTORE, backstore);
    link_waiting_luns(model, backstore);
    return backstore;
}

static void
add_lun(Model *model, ModelTarget *target, const LunSpec *spec)
{
    ModelLun *lun = g_new0(ModelLun, 1);
    guint place =
        model_find_place(target->luns, compare_lun, GUINT_TO_POINTER((guint)spec->number));

    lun->target = target;
    lun->number = spec->number;
    lun->backstore_name = g_strdup(spec->backstore);
    lun->read_only = spec->read_only;
    g_ptr_array_insert(target->luns, (gint)place, lun);
    lun->backstore = model_find_backstore(model, lun->backstore_name);
    model_tell_added(model, MODEL_LUN, lun);
    if (lun->backstore != NULL)
        lun_link(model, lun);
}

static void
remove_lun(Model *model, ModelLun *lun)
{
    ModelTarget *target = lun->target;

    model_tell_removed(model, MODEL_LUN, lun);
    lun_unlink(model, lun);
    (void)g_ptr_array_remove(target->luns, lun);
}

static ModelAcl *
acl_new(Model *model, ModelTarget *target, const char *name)
{
    ModelAcl *acl = g_new0(ModelAcl, 1);

    acl->target = target;
    acl->name = g_strdup(name);
    acl->id = model->next_id++;
    init_account(&acl->account);
    return acl;
}

/* While the spec still has it */
static void
remove_acls(Model *model, ModelTarget *target, const TargetSpec *wanted)
{
    for (guint i = target->acls->len; i > 0; i--) {
        ModelAcl *acl = g_ptr_array_index(target->acls, i - 1);

        if (wanted != NULL && target_spec_find_acl(wanted, acl->name, NULL) != NULL)
            continue;
        model_tell_removed(model, MODEL_ACL, acl);
        g_ptr_array_remove_index(target->acls, i - 1);
    }
}

/* The spec's rules in its order: those that are there already and new ones */
static void
follow_acls(Model *model, ModelTarget *target)
{
    GPtrArray *before = target->acls;

    target->acls = g_ptr_array_new_with_free_func(free_acl);
    g_ptr_array_set_free_func(before, NULL);
    for (guint i = 0; i < target->spec->acls->len; i++) {
        g_autofree char *name = acl_spec_dup_name(g_ptr_array_index(target->spec->acls, i));
        ModelAcl *acl = NULL;

        for (guint j = 0; j < before->len && acl == NULL; j++) {
            ModelAcl *other = g_ptr_array_index(before, j);

            acl = strcmp(other->name, name) == 0 ? other : NULL;
        }
        g_ptr_array_add(target->acls, acl != NULL ? acl : acl_new(model, target, name));
        if (acl != NULL)
            model_changed(model, MODEL_ACL, acl);
        else
            model_tell_added(model, MODEL_ACL, g_ptr_array_index(target->acls, i));
    }
    g_ptr_array_unref(before);
}

ModelTarget *
model_add_target(Model *model, TargetSpec *spec, TargetSpec *saved, ModelOrigin origin)
{
    ModelTarget *target = g_new0(ModelTarget, 1);
    guint place = model_find_place(model->targets, compare_target, spec->name);

    g_assert(model_find_target(model, spec->name) == NULL);

    target->spec = spec;
    target->saved = saved;
    target->origin = origin;
    target->id = model->next_id++;
    target->luns = g_ptr_array_new_with_free_func(free_lun);
    target->acls = g_ptr_array_new_with_free_func(free_acl);
    init_account(&target->account);
    g_ptr_array_insert(model->targets, (gint)place, target);
    (void)g_hash_table_insert(model->targets_by_name, spec->name, target);

    model_tell_added(model, MODEL_TARGET, target);
    for (guint i = 0; i < spec->luns->len; i++)
        add_lun(model, target, g_ptr_array_index(spec->luns, i));
    follow_acls(model, target);
    return target;
}

static gboolean
lun_is_in(const ModelLun *lun, const TargetSpec *spec)
{
    const LunSpec *wanted = target_spec_find_lun(spec, lun->number, NULL);

    return wanted != NULL && strcmp(wanted->backstore, lun->backstore_name) == 0;
}

static void
set_lun_read_only(Model *model, ModelLun *lun, gboolean wanted)
{
    gboolean read_only = wanted || (lun->backstore != NULL && lun->backstore->read_only);

    if (lun->read_only == read_only)
        return;

    lun->read_only = read_only;
    model_changed(model, MODEL_LUN, lun);
}

void
model_set_target(Model *model, ModelTarget *target, TargetSpec *spec, TargetSpec *saved)
{
    g_assert(strcmp(target->spec->name, spec->name) == 0);

    for (guint i = target->luns->len; i > 0; i--) {
        ModelLun *lun = g_ptr_array_index(target->luns, i - 1);

        if (!lun_is_in(lun, spec))
            remove_lun(model, lun);
    }
    remove_acls(model, target, spec);

    (void)g_hash_table_remove(model->targets_by_name, target->spec->name);
    target_spec_free(target->spec);
    target->spec = spec;
    (void)g_hash_table_insert(model->targets_by_name, spec->name, target);
    if (saved != NULL) {
        target_spec_free(target->saved);
        target->saved = saved;
    }

    for (guint i = 0; i < spec->luns->len; i++) {
        const LunSpec *wanted = g_ptr_array_index(spec->luns, i);

        ModelLun *lun = model_find_lun(target, wanted->number);

        if (lun == NULL)
            add_lun(model, target, wanted);
        else
            set_lun_read_only(model, lun, wanted->read_only);
    }
    follow_acls(model, target);
    model_changed(model, MODEL_TARGET, target);
}

ModelPortalGroup *
model_add_portal_group(Model *model, PortalGroupSpec *spec, PortalGroupSpec *saved,
                       ModelOrigin origin)
{
    ModelPortalGroup *group = g_new0(ModelPortalGroup, 1);
    guint place =
        model_find_place(model->portal_groups, compare_group, GUINT_TO_POINTER((guint)spec->tag));

    g_assert(model_find_portal_group(model, spec->tag) == NULL);

    group->spec = spec;
    group->saved = saved;
    group->origin = origin;
    group->portals = g_ptr_array_new_with_free_func(free_portal);
    g_ptr_array_insert(model->portal_groups, (gint)place, group);

    model_tell_added(model, MODEL_PORTAL_GROUP, group);
    for (guint i = 0; i < spec->portals->len; i++)
        (void)model_add_portal(model, group, g_ptr_array_index(spec->portals, i), origin);
    return group;
}

ModelPortal *
model_add_portal(Model *model, ModelPortalGroup *group, const PortalSpec *spec, ModelOrigin origin)
{
    ModelPortal *portal = g_new0(ModelPortal, 1);

    portal->group = group;
    portal->origin = origin;
    portal->id = model->next_id++;
    portal->address = g_strdup(spec->address);
    portal->port = spec->port;
    portal->interface = g_strdup(spec->interface);
    portal->announce = g_strdup(spec->announce);
    portal->state = PORTAL_FAILED;
    g_ptr_array_add(group->portals, portal);

    model_tell_added(model, MODEL_PORTAL, portal);
    model_changed(model, MODEL_PORTAL_GROUP, group);
    return portal;
}

void
model_remove_backstore(Model *model, ModelBackstore *backstore)
{
    g_assert(backstore->luns->len == 0);

    model_tell_removed(model, MODEL_BACKSTORE, backstore);
    (void)g_hash_table_remove(model->backstores_by_name, backstore->spec->name);
    (void)g_ptr_array_remove(model->backstores, backstore);
}

void
model_remove_target(Model *model, ModelTarget *target)
{
    while (target->luns->len > 0)
        remove_lun(model, g_ptr_array_index(target->luns, target->luns->len - 1));
    remove_acls(model, target, NULL);

    for (guint i = 0; i < model->sessions->len; i++) {
        ModelSession *session = g_ptr_array_index(model->sessions, i);

        if (session->target == target)
            session->target = NULL;
    }

    model_tell_removed(model, MODEL_TARGET, target);
    (void)g_hash_table_remove(model->targets_by_name, target->spec->name);
    (void)g_ptr_array_remove(model->targets, target);
}

static void
forget_portal(Model *model, const ModelPortal *portal)
{
    for (guint i = 0; i < model->sessions->len; i++) {
        ModelSession *session = g_ptr_array_index(model->sessions, i);

        for (guint j = 0; j < session->connections->len; j++) {
            ModelConnection *connection = g_ptr_array_index(session->connections, j);

            if (connection->portal != portal)
                continue;
            connection->portal = NULL;
            model_changed(model, MODEL_CONNECTION, connection);
        }
    }
}

void
model_remove_portal(Model *model, ModelPortal *portal)
{
    ModelPortalGroup *group = portal->group;

    model_tell_removed(model, MODEL_PORTAL, portal);
    forget_portal(model, portal);
    (void)g_ptr_array_remove(group->portals, portal);
    model_changed(model, MODEL_PORTAL_GROUP, group);
}

void
model_remove_portal_group(Model *model, ModelPortalGroup *group)
{
    while (group->portals->len > 0)
        model_remove_portal(model, g_ptr_array_index(group->portals, group->portals->len - 1));

    model_tell_removed(model, MODEL_PORTAL_GROUP, group);
    (void)g_ptr_array_remove(model->portal_groups, group);
}

ModelInitiatorGroup *
model_add_initiator_group(Model *model, InitiatorGroupSpec *spec, InitiatorGroupSpec *saved,
                          ModelOrigin origin)
{
    ModelInitiatorGroup *group = g_new0(ModelInitiatorGroup, 1);
    guint place = model_find_place(model->initiator_groups, compare_initiator_group, spec->name);

    g_assert(model_find_initiator_group(model, spec->name) == NULL);

    group->spec = spec;
    group->saved = saved;
    group->origin = origin;
    g_ptr_array_insert(model->initiator_groups, (gint)place, group);
    model_tell_added(model, MODEL_INITIATOR_GROUP, group);
    return group;
}

void
model_remove_initiator_group(Model *model, ModelInitiatorGroup *group)
{
    model_tell_removed(model, MODEL_INITIATOR_GROUP, group);
    (void)g_ptr_array_remove(model->initiator_groups, group);
}

void
model_set_initiator_group(Model *model, ModelInitiatorGroup *group, InitiatorGroupSpec *spec,
                          InitiatorGroupSpec *saved)
{
    g_assert(strcmp(group->spec->name, spec->name) == 0);

    initiator_group_spec_free(group->spec);
    group->spec = spec;
    if (saved != NULL) {
        initiator_group_spec_free(group->saved);
        group->saved = saved;
    }
    model_changed(model, MODEL_INITIATOR_GROUP, group);
}

void
model_count_limit(Model *model, const char *name, guint64 n, gint64 wall_time, const char *peer)
{
    ModelLimitHit *hit = NULL;

    for (guint i = 0; i < model->limit_hits->len && hit == NULL; i++) {
        hit = &g_array_index(model->limit_hits, ModelLimitHit, i);
        if (strcmp(hit->name, name) != 0)
            hit = NULL;
    }
    if (hit == NULL) {
        const ModelLimitHit fresh = { .name = name };

        g_array_append_val(model->limit_hits, fresh);
        hit = &g_array_index(model->limit_hits, ModelLimitHit, model->limit_hits->len - 1);
    }

    hit->n += n;
    hit->last_at = wall_time;
    g_strlcpy(hit->peer, peer, sizeof(hit->peer));
}

void
model_set_settings(Model *model, SettingsSpec *spec, SettingsSpec *saved, ModelOrigin origin)
{
    settings_spec_free(model->settings);
    model->settings = spec;
    model->settings_origin = origin;
    if (saved != NULL) {
        settings_spec_free(model->saved_settings);
        model->saved_settings = saved;
    }
    model_changed(model, MODEL_SERVICE, model);
}

void
model_set_isns(Model *model, ModelIsns state, const char *error)
{
    if (model->isns_state == state && strcmp(model->isns_error, error != NULL ? error : "") == 0)
        return;

    model->isns_state = state;
    g_free(model->isns_error);
    model->isns_error = g_strdup(error != NULL ? error : "");
    model_changed(model, MODEL_SERVICE, model);
}

void
model_set_problems(Model *model, char **problems)
{
    if (g_strv_equal((const char *const *)model->problems, (const char *const *)problems)) {
        g_strfreev(problems);
        return;
    }

    g_strfreev(model->problems);
    model->problems = problems;
    model_changed(model, MODEL_SERVICE, model);
}

gboolean
model_set_error(GError **where, const GError *error)
{
    if (*where == NULL && error == NULL)
        return FALSE;
    if (*where != NULL && error != NULL && g_error_matches(*where, error->domain, error->code) &&
        strcmp((*where)->message, error->message) == 0)
        return FALSE;

    g_clear_error(where);
    *where = error != NULL ? g_error_copy(error) : NULL;
    return TRUE;
}

void
model_bump_generation(Model *model)
{
    model->generation++;
    model_changed(model, MODEL_SERVICE, model);
}

void
model_set_state(Model *model, ModelState state)
{
    if (model->state == state)
        return;

    model->state = state;
    model_changed(model, MODEL_SERVICE, model);
}

static char *
reserved_key(ModelKind kind, const char *name)
{
    return g_strconcat(model_kind_to_string(kind), "/", name, NULL);
}

void
model_reserve(Model *model, ModelKind kind, const char *name, const char *why)
{
    (void)g_hash_table_insert(model->reserved, reserved_key(kind, name), g_strdup(why));
}

void
model_unreserve_all(Model *model)
{
    g_hash_table_remove_all(model->reserved);
    g_ptr_array_set_size(model->put_aside, 0);
}

void
model_put_aside(Model *model, const TargetSpec *saved)
{
    g_ptr_array_add(model->put_aside, target_spec_dup(saved));
}

const char *
model_find_reserved(const Model *model, ModelKind kind, const char *name)
{
    g_autofree char *key = reserved_key(kind, name);

    return g_hash_table_lookup(model->reserved, key);
}
