/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * LUNs on the wire
 *
 * Single-level addressing only: peripheral device addressing for 0 to 255,
 * flat space addressing for 0 to 16383, and the REPORT LUNS well-known logical
 * unit. All else names nothing.
 */

#define LUN_MAX 16383

typedef enum {
    LUN_INVALID,
    LUN_UNIT,
    LUN_REPORT_LUNS, /* well-known logical unit C101h */
} LunKind;

LunKind lun_decode(const guint8 wire[8], guint16 *ret_lun);
void lun_encode(guint16 lun, guint8 wire[8]);
