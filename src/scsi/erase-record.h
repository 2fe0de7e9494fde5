/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "scsi/lu-erase.h"

/* The stored form of an erasing that is under way or has failed: see record.h */

/* @state: what it is now; @request->pattern_length bytes of pattern */
char *erase_record_format(EraseState state, const EraseRequest *request);

/**
 * erase_record_parse() - the opposite
 * @ret_pattern: where @ret_request->pattern points, to be freed, or NULL
 */
gboolean erase_record_parse(const char *text, gsize size, EraseState *ret_state,
                            EraseRequest *ret_request, guint8 **ret_pattern, GError **ret_error);
