/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#define ISCSI_NAME_MAX 223 /* bytes, RFC 7143 4.2.7.1 */

/**
 * name_check_iscsi() - judge an iSCSI name (iqn., eui., naa.)
 *
 * RFC 7143 4.2.7. The name must be normalised already: see name_normalize_iscsi().
 *
 * Returns: TRUE, or FALSE with LUNPORT_ERROR_INVALID_NAME that says what is wrong
 */
gboolean name_check_iscsi(const char *name, GError **ret_error);

/* @name in lower case, as iSCSI names are compared; NULL when it is not valid UTF-8 */
char *name_normalize_iscsi(const char *name);

/**
 * name_check_object() - judge the name of a backstore, group, …
 *
 * 1 to 64 of [A-Za-z0-9._-], not beginning with a dot.
 */
gboolean name_check_object(const char *name, GError **ret_error);

/* The default prefix of target names: iqn.2026-11.org.lunport: and the host's short name */
char *name_default_target_prefix(void);
