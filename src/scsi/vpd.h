/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "scsi/command.h"

/* Room that any page needs */
#define VPD_PAGE_MAX 2048

/**
 * vpd_encode() - one vital product data page
 * @page: zeroed, VPD_PAGE_MAX bytes
 *
 * Returns: its length with the header, or 0 when this logical unit has no such page
 */
guint32 vpd_encode(const ScsiCommand *command, guint8 page_code, guint8 *page);
