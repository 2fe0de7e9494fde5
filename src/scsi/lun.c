/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "scsi/lun.h"

#include <string.h>

#include "util/bytes.h"

#define METHOD_PERIPHERAL 0
#define METHOD_FLAT       1

#define WELL_KNOWN_REPORT_LUNS 0xc101

LunKind
lun_decode(const guint8 wire[8], guint16 *ret_lun)
{
    static const guint8 zeros[6];
    guint method = wire[0] >> 6;

    /* A second level */
    if (memcmp(wire + 2, zeros, sizeof(zeros)) != 0)
        return LUN_INVALID;

    if (get_be16(wire) == WELL_KNOWN_REPORT_LUNS)
        return LUN_REPORT_LUNS;

    if (method == METHOD_PERIPHERAL) {
        /* The low six bits are a bus, and there is only bus 0 */
        if (wire[0] != 0)
            return LUN_INVALID;
        *ret_lun = wire[1];
        return LUN_UNIT;
    }

    if (method == METHOD_FLAT) {
        *ret_lun = get_be16(wire) & LUN_MAX;
        return LUN_UNIT;
    }

    return LUN_INVALID;
}

void
lun_encode(guint16 lun, guint8 wire[8])
{
    g_assert(lun <= LUN_MAX);

    memset(wire, 0, 8);
    put_be16(wire, lun < 256 ? lun : (guint16)(METHOD_FLAT << 14 | lun));
}
