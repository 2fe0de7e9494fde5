/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "model/model.h"
#include "model/spec.h"

/*
 * Key files: one configured object as text
 *
 *     [Backstore]                [Target]                   [PortalGroup]
 *     Format=1                   Format=1                   Format=1
 *     Name=disk1                 Name=iqn.2026-11.…         Tag=1
 *     Type=file                  Enabled=yes
 *     Path=/srv/disk1            [Parameters]               [Portal 1]
 *     Uuid=…                     MaxBurstLength=262144      Address=192.0.2.1
 *                                [Lun 0]                    Port=3260
 *                                Backstore=disk1
 *
 *                                [Acl 1]
 *     [InitiatorGroup]           Initiator=iqn.1993-08.…    [Service]
 *     Format=1                   ReadOnly=yes               Format=1
 *     Name=cluster                                          ChapAlgorithms=SHA-256
 *     Initiators=iqn.1993-08.…
 *
 * Access rules are asked in the order of the file. The keys are the rows of model/schema.c with SCHEMA_IN_FILE. A key or group
 * that is not known makes the file unusable: a wrong word must not silently
 * mean the default. Keys that are left out have their default. Format is 1;
 * left out it is 1.
 */

#define KEYFILE_FORMAT 1

typedef struct {
    ModelKind kind; /* says which member is set */
    BackstoreSpec *backstore;
    TargetSpec *target;
    PortalGroupSpec *portal_group;
    InitiatorGroupSpec *initiator_group;
    SettingsSpec *settings;
} KeyfileObject;

void keyfile_object_clear(KeyfileObject *object);

/* The name that the object has: of a portal group its tag. Owned by the caller. */
char *keyfile_object_dup_name(const KeyfileObject *object);

char *keyfile_format_backstore(const BackstoreSpec *spec);
char *keyfile_format_target(const TargetSpec *spec);
char *keyfile_format_portal_group(const PortalGroupSpec *spec);
char *keyfile_format_initiator_group(const InitiatorGroupSpec *spec);
char *keyfile_format_settings(const SettingsSpec *spec);

/* INVALID_ARGUMENT, INVALID_NAME, or NOT_SUPPORTED for a newer format */
gboolean keyfile_parse(const char *text, gsize size, KeyfileObject *ret_object, GError **ret_error);

/**
 * keyfile_escape_name() - a name as the stem of a file name
 *
 * Letters, digits, what is not ASCII, and . _ : - stay, but for a dot in front; any other byte
 * becomes %XX. Names of at most 223 bytes that name_check_iscsi() or name_check_object() accepts
 * stay as they are, so the result fits a directory entry.
 */
char *keyfile_escape_name(const char *name);

/* The reverse; NULL when @stem cannot come from keyfile_escape_name() */
char *keyfile_unescape_name(const char *stem);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(KeyfileObject, keyfile_object_clear)
