/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "model/acl.h"

/*
 * Specs: what the administrator asked for, and nothing else
 *
 * A spec is what one key file says and what a creating method gets. It holds
 * no state. The members are described, checked, read and written by the rows
 * of model/schema.c.
 */

typedef struct {
    char *name;
    char *type; /* "file", "block", "ram", "null" */
    char *path;
    guint64 size; /* 0: what the file or device has */
    guint32 block_size;
    guint32 physical_block_size; /* 0: ask the store */
    char *cache;                 /* "default", "none", "writeback", "writethrough" */
    gboolean read_only;
    gboolean write_cache; /* FALSE: writes are stable before they are acknowledged */
    gboolean thin;        /* report thin provisioning to initiators */
    char *device_type;    /* what initiators see: "disk", "cdrom" */
    gboolean removable;   /* initiators can eject the medium and load it again */
    gboolean lenient_cdb;
    char *uuid;   /* the identity; made at creation when empty */
    char *serial; /* empty: from the UUID */
    char *naa;    /* empty: from the UUID; else 16 or 32 hexadecimal digits */
    char *vendor;
    char *product;

    gboolean created; /* the file was made by the service, which may delete it */
    gboolean sparse;  /* of a file: it has blocks only where something was written */
    gboolean create;  /* only meant for creation, not kept */
} BackstoreSpec;

typedef struct {
    guint32 max_recv_data_segment_length;
    guint32 max_burst_length;
    guint32 first_burst_length;
    guint32 max_outstanding_r2t;
    guint32 max_connections;
    guint32 error_recovery_level;
    guint32 default_time2wait;
    guint32 default_time2retain;
    gboolean initial_r2t;
    gboolean immediate_data;
    char *header_digest; /* "None", "CRC32C", "CRC32C,None" or "None,CRC32C" */
    char *data_digest;
    guint32 queue_depth;
    guint32 nop_interval; /* s, 0: never */
    guint32 nop_timeout;  /* s */
    guint32 max_sessions; /* 0: no limit */
    gboolean async_events;
} TargetParameters;

typedef struct {
    guint16 number;
    char *backstore;
    gboolean read_only;
} LunSpec;

typedef struct {
    char *name;
    char *alias;
    gboolean enabled;
    char *access_mode;           /* "closed" or "open" */
    char *authentication;        /* "None" or "CHAP", where no rule says otherwise */
    guint16 relative_port;       /* relative target port identifier; 0: made at creation */
    char *redirect;              /* ADDR[:PORT] where logins are sent, or empty */
    gboolean redirect_permanent; /* with redirect */
    char *group_redirects;       /* see model/group-redirect.h */
    char *portal_groups; /* "*": every one; else tags in ascending order, "1 2 7"; "" for none */
    char *access_states; /* see model/access-state.h */
    TargetParameters parameters;
    GPtrArray *luns; /* of LunSpec, by ascending number */
    GPtrArray *acls; /* of AclSpec, in the order in which they are asked */
} TargetSpec;

typedef struct {
    char *address; /* without brackets; "*": all of both families */
    guint16 port;
    char *interface; /* or empty */
    char *announce;  /* ADDR[:PORT] that initiators are told instead, or empty */
} PortalSpec;

typedef struct {
    guint16 tag;
    GPtrArray *portals; /* of PortalSpec */
} PortalGroupSpec;

/* _new gives the defaults of the schema; _free takes NULL */
BackstoreSpec *backstore_spec_new(const char *type, const char *name);
BackstoreSpec *backstore_spec_dup(const BackstoreSpec *spec);
void backstore_spec_free(BackstoreSpec *spec);

TargetSpec *target_spec_new(const char *name);
TargetSpec *target_spec_dup(const TargetSpec *spec);
void target_spec_free(TargetSpec *spec);

LunSpec *lun_spec_new(guint16 number, const char *backstore);
LunSpec *lun_spec_dup(const LunSpec *spec);
void lun_spec_free(LunSpec *spec);

PortalGroupSpec *portal_group_spec_new(guint16 tag);
PortalGroupSpec *portal_group_spec_dup(const PortalGroupSpec *spec);
void portal_group_spec_free(PortalGroupSpec *spec);

PortalSpec *portal_spec_new(const char *address, guint16 port);
PortalSpec *portal_spec_dup(const PortalSpec *spec);
void portal_spec_free(PortalSpec *spec);

/* Borrowed, or NULL; @ret_index may be NULL */
LunSpec *target_spec_find_lun(const TargetSpec *spec, guint16 number, guint *ret_index);
void target_spec_take_lun(TargetSpec *spec, LunSpec *lun); /* its number is free; kept sorted */
void target_spec_remove_lun(TargetSpec *spec, guint16 number);

/* By acl_spec_dup_name(); borrowed or NULL; @ret_index may be NULL */
AclSpec *target_spec_find_acl(const TargetSpec *spec, const char *name, guint *ret_index);
gboolean target_spec_has_group(const TargetSpec *spec, guint16 tag);
void target_spec_set_groups(TargetSpec *spec, const guint16 *tags,
                            guint n_tags);                                  /* explicit list */
guint16 *target_spec_dup_groups(const TargetSpec *spec, guint *ret_n_tags); /* NULL for "*" */

/**
 * target_spec_relative_port() - the relative identifier of the target port in portal group @tag
 *
 * Each group is a target port of its own. The identifiers follow each other from that of the target, so
 * that they are the same after a restart, whatever groups come and go.
 */
guint16 target_spec_relative_port(const TargetSpec *spec, guint16 tag);
GArray *target_spec_dup_access_states(const TargetSpec *spec); /* of AccessState */
void target_spec_set_access_states(TargetSpec *spec, const GArray *states);

PortalSpec *portal_group_spec_find(const PortalGroupSpec *spec, const char *address, guint16 port);

/* What follows from the device type: a CD/DVD drive is removable and read-only and has blocks of 2048 */
gboolean backstore_spec_is_cdrom(const BackstoreSpec *spec);
gboolean backstore_spec_is_removable(const BackstoreSpec *spec);
gboolean backstore_spec_is_read_only(const BackstoreSpec *spec);
guint32 backstore_spec_block_size(const BackstoreSpec *spec);

/* Whether the administrator can take the medium out and put another one in, and whether there is none */
gboolean backstore_spec_can_change_medium(const BackstoreSpec *spec);
gboolean backstore_spec_is_empty(const BackstoreSpec *spec);

/*
 * What no row can judge: members that depend on each other. The rows have been checked by whoever
 * set them.
 */
gboolean backstore_spec_check(const BackstoreSpec *spec, GError **ret_error);
gboolean target_spec_check(const TargetSpec *spec, GError **ret_error);
gboolean target_parameters_check(const TargetParameters *parameters, GError **ret_error);
gboolean portal_group_spec_check(const PortalGroupSpec *spec, GError **ret_error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BackstoreSpec, backstore_spec_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TargetSpec, target_spec_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LunSpec, lun_spec_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PortalGroupSpec, portal_group_spec_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PortalSpec, portal_spec_free)
