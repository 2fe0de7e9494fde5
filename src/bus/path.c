/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "bus/path.h"

#include <gio/gio.h>

#include "bus/tree.h"

char *
path_of_target_name(const char *name)
{
    g_autofree char *escaped = g_dbus_escape_object_path(name);

    return g_strdup_printf(BUS_ROOT "/targets/%s", escaped);
}

char *
path_of_lun_number(const char *target_name, guint16 number)
{
    g_autofree char *escaped = g_dbus_escape_object_path(target_name);

    return g_strdup_printf(BUS_ROOT "/targets/%s/luns/%u", escaped, number);
}

char *
path_of_backstore_name(const char *name)
{
    g_autofree char *escaped = g_dbus_escape_object_path(name);

    return g_strdup_printf(BUS_ROOT "/backstores/%s", escaped);
}

char *
path_of_portal_group_tag(guint16 tag)
{
    return g_strdup_printf(BUS_ROOT "/portal_groups/%u", tag);
}

char *
path_of_acl_name(const char *target_name, const char *name)
{
    g_autofree char *target = g_dbus_escape_object_path(target_name);
    g_autofree char *escaped = g_dbus_escape_object_path(name);

    return g_strdup_printf(BUS_ROOT "/targets/%s/acls/%s", target, escaped);
}

char *
path_of_initiator_group_name(const char *name)
{
    g_autofree char *escaped = g_dbus_escape_object_path(name);

    return g_strdup_printf(BUS_ROOT "/initiator_groups/%s", escaped);
}

char *
path_of_session_tsih(guint16 tsih)
{
    return g_strdup_printf(BUS_ROOT "/sessions/%u", tsih);
}

char *
path_of_portal_address(const char *address, guint16 port, const char *interface)
{
    gboolean is_restricted = interface != NULL && interface[0] != '\0';
    g_autofree char *name = g_strdup_printf("%s%s%s:%u", address, is_restricted ? "%" : "",
                                            is_restricted ? interface : "", port);
    g_autofree char *escaped = g_dbus_escape_object_path(name);

    return g_strdup_printf(BUS_ROOT "/portals/%s", escaped);
}

char *
path_of_target(const ModelTarget *target)
{
    return path_of_target_name(target->spec->name);
}

char *
path_of_lun(const ModelLun *lun)
{
    return path_of_lun_number(lun->target->spec->name, lun->number);
}

char *
path_of_backstore(const ModelBackstore *backstore)
{
    return path_of_backstore_name(backstore->spec->name);
}

char *
path_of_portal_group(const ModelPortalGroup *group)
{
    return path_of_portal_group_tag(group->spec->tag);
}

char *
path_of_acl(const ModelAcl *acl)
{
    return path_of_acl_name(acl->target->spec->name, acl->name);
}

char *
path_of_initiator_group(const ModelInitiatorGroup *group)
{
    return path_of_initiator_group_name(group->spec->name);
}

char *
path_of_portal(const ModelPortal *portal)
{
    return path_of_portal_address(portal->address, portal->port, portal->interface);
}

char *
path_of_session(const ModelSession *session)
{
    return path_of_session_tsih(session->tsih);
}

char *
path_of_job(const ModelJob *job)
{
    return g_strdup_printf(BUS_ROOT "/jobs/%u", job->id);
}

char *
path_of_connection(const ModelConnection *connection)
{
    return g_strdup_printf(BUS_ROOT "/sessions/%u/connections/%u", connection->session->tsih,
                           connection->cid);
}

char *
path_of_object(ModelKind kind, gconstpointer object)
{
    switch (kind) {
    case MODEL_SERVICE:
        return g_strdup(PATH_MANAGER);
    case MODEL_BACKSTORE:
        return path_of_backstore(object);
    case MODEL_TARGET:
        return path_of_target(object);
    case MODEL_LUN:
        return path_of_lun(object);
    case MODEL_PORTAL_GROUP:
        return path_of_portal_group(object);
    case MODEL_PORTAL:
        return path_of_portal(object);
    case MODEL_SESSION:
        return path_of_session(object);
    case MODEL_CONNECTION:
        return path_of_connection(object);
    case MODEL_ACL:
        return path_of_acl(object);
    case MODEL_INITIATOR_GROUP:
        return path_of_initiator_group(object);
    case MODEL_JOB:
        return path_of_job(object);
    case MODEL_SETTINGS: /* no object of its own */
    case MODEL_KIND_N:
        break;
    }

    g_assert_not_reached();
}
