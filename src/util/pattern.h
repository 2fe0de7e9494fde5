/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * Patterns with * (any characters, or none) and ? (one character)
 *
 * Nothing else is special, and nothing can be escaped: names have no such
 * characters. Matching takes at most the product of the two lengths, whatever
 * the pattern.
 */

gboolean pattern_has_wildcards(const char *pattern);

/* Both are valid UTF-8 and compared as they are */
gboolean pattern_match(const char *pattern, const char *text);

/**
 * pattern_check_name() - judge a pattern of iSCSI names, or a name
 *
 * Without wildcards it must be a valid name. It must be normalised already, like names:
 * name_normalize_iscsi() does that to patterns too.
 *
 * Returns: TRUE, or FALSE with LUNPORT_ERROR_INVALID_NAME
 */
gboolean pattern_check_name(const char *pattern, GError **ret_error);
