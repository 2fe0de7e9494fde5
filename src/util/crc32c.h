/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/**
 * crc32c_update() - go on with a CRC32C (Castagnoli), as iSCSI digests use it
 * @crc: CRC32C_INIT, or what the call before returned
 *
 * RFC 7143 13.1. The digest on the wire is crc32c_final() of the last result,
 * least significant byte first.
 */
guint32 crc32c_update(guint32 crc, const void *data, gsize size);

#define CRC32C_INIT ((guint32)0xffffffffU)

static inline guint32
crc32c_final(guint32 crc)
{
    return crc ^ 0xffffffffU;
}
