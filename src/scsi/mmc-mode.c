/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Mode page 2Ah, CD/DVD capabilities and mechanical status, as the last version of MMC that had it */

#include "scsi/mmc.h"
#include "util/bytes.h"

#define CD_SPEED    8467 /* kB/s: 48 times */
#define BUFFER_SIZE 2048 /* KiB */

void
mmc_encode_capabilities(const Lu *lu, guint8 *page)
{
    page[2] = 0x0b; /* reads DVD-ROM, CD-RW, CD-R */
    page[4] = 0x40; /* multi-session */
    page[6] = 0x29; /* tray; can eject and lock */
    put_be16(page + 8, CD_SPEED);
    put_be16(page + 12, BUFFER_SIZE);
    put_be16(page + 14, CD_SPEED);
}
