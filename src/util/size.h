/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * Sizes as people write them
 */

/**
 * size_parse() - "1G", "512M", "4096", "1.5T", "64KiB" in bytes
 *
 * Units are powers of 1024, with or without "B" or "iB", in any case.
 *
 * Returns: FALSE with LUNPORT_ERROR_INVALID_ARGUMENT where that is not a size or does not fit 63 bits
 */
gboolean size_parse(const char *text, guint64 *ret_size, GError **ret_error);

/* "1.0G", "512.0M", "4.0K", "12B"; caller frees */
char *size_format(guint64 size);
