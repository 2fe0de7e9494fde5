/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "scsi/command.h"

/* Room that any page needs, but for the ports: one with the longest name for each group */
#define VPD_PAGE_MAX  2048
#define VPD_PORTS     0x88
#define VPD_PORTS_MAX ((gsize)64 << 10)

/**
 * vpd_encode() - one vital product data page
 * @page: zeroed, VPD_PAGE_MAX bytes, for VPD_PORTS VPD_PORTS_MAX
 *
 * Returns: its length with the header, or 0 when this logical unit has no such page
 */
guint32 vpd_encode(const ScsiCommand *command, guint8 page_code, guint8 *page);
