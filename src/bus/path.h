/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "model/job.h"
#include "model/model.h"

/*
 * Object paths. The one place that makes them; nobody takes them apart.
 */

#define PATH_MANAGER "/org/lunport1/Manager"
#define PATH_NONE    "/"

char *path_of_target_name(const char *name);
char *path_of_lun_number(const char *target_name, guint16 number);
char *path_of_backstore_name(const char *name);
char *path_of_portal_group_tag(guint16 tag);
char *path_of_acl_name(const char *target_name, const char *name);
char *path_of_initiator_group_name(const char *name);
char *path_of_session_tsih(guint16 tsih);
char *path_of_portal_address(const char *address, guint16 port, const char *interface);

char *path_of_target(const ModelTarget *target);
char *path_of_lun(const ModelLun *lun);
char *path_of_backstore(const ModelBackstore *backstore);
char *path_of_portal_group(const ModelPortalGroup *group);
char *path_of_acl(const ModelAcl *acl);
char *path_of_initiator_group(const ModelInitiatorGroup *group);
char *path_of_portal(const ModelPortal *portal);
char *path_of_session(const ModelSession *session);
char *path_of_connection(const ModelConnection *connection);
char *path_of_job(const ModelJob *job);

/* Of any object that the observer of the model tells about */
char *path_of_object(ModelKind kind, gconstpointer object);
