/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Finding an object of the model, by the name or number that events and methods have of it */

#include "model/model.h"

#include <string.h>

ModelBackstore *
model_find_backstore(const Model *model, const char *name)
{
    return g_hash_table_lookup(model->backstores_by_name, name);
}

ModelTarget *
model_find_target(const Model *model, const char *name)
{
    return g_hash_table_lookup(model->targets_by_name, name);
}

ModelLun *
model_find_lun(const ModelTarget *target, guint16 number)
{
    for (guint i = 0; i < target->luns->len; i++) {
        ModelLun *lun = g_ptr_array_index(target->luns, i);

        if (lun->number == number)
            return lun;
    }
    return NULL;
}

ModelPortalGroup *
model_find_portal_group(const Model *model, guint16 tag)
{
    for (guint i = 0; i < model->portal_groups->len; i++) {
        ModelPortalGroup *group = g_ptr_array_index(model->portal_groups, i);

        if (group->spec->tag == tag)
            return group;
    }
    return NULL;
}

ModelPortal *
model_find_portal(const Model *model, const char *address, guint16 port)
{
    for (guint i = 0; i < model->portal_groups->len; i++) {
        ModelPortalGroup *group = g_ptr_array_index(model->portal_groups, i);

        for (guint j = 0; j < group->portals->len; j++) {
            ModelPortal *portal = g_ptr_array_index(group->portals, j);

            if (portal->port == port && strcmp(portal->address, address) == 0)
                return portal;
        }
    }
    return NULL;
}

ModelPortal *
model_find_portal_by_id(const Model *model, guint32 id)
{
    for (guint i = 0; i < model->portal_groups->len; i++) {
        ModelPortalGroup *group = g_ptr_array_index(model->portal_groups, i);

        for (guint j = 0; j < group->portals->len; j++) {
            ModelPortal *portal = g_ptr_array_index(group->portals, j);

            if (portal->id == id)
                return portal;
        }
    }
    return NULL;
}

ModelSession *
model_find_session(const Model *model, guint16 tsih)
{
    return g_hash_table_lookup(model->sessions_by_tsih, GUINT_TO_POINTER((guint)tsih));
}

ModelConnection *
model_find_connection(const ModelSession *session, guint16 cid)
{
    for (guint i = 0; i < session->connections->len; i++) {
        ModelConnection *connection = g_ptr_array_index(session->connections, i);

        if (connection->cid == cid)
            return connection;
    }
    return NULL;
}

ModelAcl *
model_find_acl(const ModelTarget *target, const char *name)
{
    for (guint i = 0; i < target->acls->len; i++) {
        ModelAcl *acl = g_ptr_array_index(target->acls, i);

        if (strcmp(acl->name, name) == 0)
            return acl;
    }
    return NULL;
}

ModelAcl *
model_find_acl_by_id(const ModelTarget *target, guint32 id)
{
    for (guint i = 0; i < target->acls->len; i++) {
        ModelAcl *acl = g_ptr_array_index(target->acls, i);

        if (acl->id == id)
            return acl;
    }
    return NULL;
}

const AclSpec *
model_acl_spec(const ModelAcl *acl)
{
    const AclSpec *spec = target_spec_find_acl(acl->target->spec, acl->name, NULL);

    g_assert(spec != NULL);
    return spec;
}

ModelInitiatorGroup *
model_find_initiator_group(const Model *model, const char *name)
{
    for (guint i = 0; i < model->initiator_groups->len; i++) {
        ModelInitiatorGroup *group = g_ptr_array_index(model->initiator_groups, i);

        if (strcmp(group->spec->name, name) == 0)
            return group;
    }
    return NULL;
}

static gboolean
spec_uses_group(const TargetSpec *spec, const char *group_name)
{
    for (guint i = 0; spec != NULL && i < spec->acls->len; i++) {
        const AclSpec *acl = g_ptr_array_index(spec->acls, i);

        if (strcmp(acl->group, group_name) == 0)
            return TRUE;
    }
    return FALSE;
}

gboolean
model_acl_uses_group(const ModelTarget *target, const char *group_name)
{
    return spec_uses_group(target->spec, group_name) || spec_uses_group(target->saved, group_name);
}

static gboolean
spec_uses_backstore(const TargetSpec *spec, const char *name)
{
    for (guint i = 0; i < spec->luns->len; i++) {
        const LunSpec *lun = g_ptr_array_index(spec->luns, i);

        if (strcmp(lun->backstore, name) == 0)
            return TRUE;
    }
    return FALSE;
}

static gboolean
spec_uses_portal_group(const TargetSpec *spec, const char *tag)
{
    return strcmp(spec->portal_groups, "*") != 0 &&
           target_spec_has_group(spec, (guint16)g_ascii_strtoull(tag, NULL, 10));
}

static gboolean
spec_uses(const TargetSpec *spec, ModelKind kind, const char *name)
{
    if (spec == NULL)
        return FALSE;
    if (kind == MODEL_BACKSTORE)
        return spec_uses_backstore(spec, name);
    return kind == MODEL_PORTAL_GROUP ? spec_uses_portal_group(spec, name)
                                      : spec_uses_group(spec, name);
}

const TargetSpec *
model_find_saved_user(const Model *model, ModelKind kind, const char *name)
{
    for (guint i = 0; i < model->targets->len; i++) {
        const ModelTarget *target = g_ptr_array_index(model->targets, i);

        if (spec_uses(target->saved, kind, name))
            return target->saved;
    }
    for (guint i = 0; i < model->put_aside->len; i++) {
        const TargetSpec *spec = g_ptr_array_index(model->put_aside, i);

        if (spec_uses(spec, kind, name))
            return spec;
    }
    return NULL;
}
