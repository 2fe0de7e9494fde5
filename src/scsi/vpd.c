/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Vital product data
 *
 * A table of pages: code, who has it, encoder. The list of pages (00h) is the
 * table itself. An encoder gets a zeroed page and returns the bytes after the
 * four of the header.
 *
 * B6h is for zoned units, and of B7h every field is about streams or scattered
 * writes: there are none, and a page that says nothing is better not there.
 */

#include "scsi/vpd.h"

#include <string.h>

#include "scsi/alua.h"
#include "scsi/copy.h"
#include "scsi/operation.h"
#include "scsi/sbc.h"
#include "util/bytes.h"

#define HEADER_LENGTH 4

#define ROTATION_NONE 0x0001 /* non-rotating medium */
#define ROTATION_7200 7200

#define OPTIMAL_TRANSFER ((guint32)1 << 20)

/* Which units have it */
typedef enum {
    ON_ALL,
    ON_ALL_AND_WELL_KNOWN,
    ON_DISKS,
    ON_THIN,
} PageScope;

typedef struct {
    guint8 code;
    PageScope scope;
    guint32 (*encode)(const ScsiCommand *command, guint8 *page);
} VpdPage;

static guint32 encode_supported(const ScsiCommand *command, guint8 *page);

static guint32
encode_serial(const ScsiCommand *command, guint8 *page)
{
    const char *serial = scsi_command_lu(command)->identity.serial;
    gsize length = strlen(serial);

    memcpy(page + HEADER_LENGTH, serial, length);
    return (guint32)length;
}

/* The well-known unit has no name but those of its port and of its device */
static guint32
encode_identification(const ScsiCommand *command, guint8 *page)
{
    const Nexus *nexus = command->nexus;
    guint32 length = 0;

    if (command->nexus_lun != NULL) {
        const Identity *identity = &scsi_command_lu(command)->identity;

        length = identity->designators_length;
        memcpy(page + HEADER_LENGTH, identity->designators, length);
    }
    return length + identity_put_port(nexus->target_name, nexus->relative_target_port,
                                      nexus->target_port_group, page + HEADER_LENGTH + length);
}

/* There is no network address at which this unit alone would be managed */
static guint32
encode_management_addresses(const ScsiCommand *command, guint8 *page)
{
    return 0;
}

/* All mode pages are shared by all nexuses */
static guint32
encode_mode_page_policy(const ScsiCommand *command, guint8 *page)
{
    page[4] = 0x3f;
    page[5] = 0xff;
    return 4;
}

static guint32
put_port(const Nexus *nexus, guint16 relative_port, guint16 tag, guint8 *descriptor)
{
    guint16 length = identity_put_port_name(nexus->target_name, tag, descriptor + 12);

    put_be16(descriptor + 2, relative_port);
    put_be16(descriptor + 10, length);
    return 12U + length;
}

/* The ports of the target: each of its groups is one */
static guint32
encode_ports(const ScsiCommand *command, guint8 *page)
{
    const Nexus *nexus = command->nexus;
    const LunMap *map = nexus->map;
    guint32 n = 0;

    G_STATIC_ASSERT(HEADER_LENGTH + ALUA_GROUPS_MAX * (12 + 4 + 236) <= VPD_PORTS_MAX);

    for (guint i = 0; i < map->n_groups; i++)
        n += put_port(nexus, alua_group_port(nexus, &map->groups[i]), map->groups[i].tag,
                      page + HEADER_LENGTH + n);
    if (n == 0)
        n = put_port(nexus, nexus->relative_target_port, nexus->target_port_group,
                     page + HEADER_LENGTH);
    return n;
}

static guint32
encode_extended_inquiry(const ScsiCommand *command, guint8 *page)
{
    page[5] = 0x07; /* HEADSUP, ORDSUP, SIMPSUP */
    page[6] = scsi_command_lu(command)->info->write_cache ? 0x01 : 0x00; /* V_SUP */
    page[7] = 0x01;                                                      /* LUICLR */
    return 0x3c;
}

static void
encode_unmap_limits(const Lu *lu, guint8 *page)
{
    guint32 block_size = lu_block_size(lu);

    put_be32(page + 20, sbc_max_unmap_blocks(lu));
    put_be32(page + 24, SBC_MAX_UNMAP_DESCRIPTORS);
    put_be32(page + 28, MAX(lu->info->unmap_granularity, block_size) / block_size);
    page[32] = 0x80; /* UGAVALID, alignment 0 */
}

static guint32
encode_block_limits(const ScsiCommand *command, guint8 *page)
{
    const Lu *lu = scsi_command_lu(command);
    guint32 block_size = lu_block_size(lu);

    page[4] = 0x01; /* WSNZ */
    page[5] = SBC_MAX_COMPARE_BLOCKS;
    put_be16(page + 6, (guint16)(lu->info->physical_block_size / block_size));
    put_be32(page + 8, command->nexus->scsi->max_transfer / block_size);
    put_be32(page + 12, MIN(OPTIMAL_TRANSFER, command->nexus->scsi->max_transfer) / block_size);
    if (lu->can_unmap)
        encode_unmap_limits(lu, page);
    put_be64(page + 36, sbc_max_write_same_blocks(lu));
    put_be32(page + 44, sbc_max_atomic_blocks(lu)); /* of any alignment, in units of one block */
    return 0x3c;
}

static guint32
encode_characteristics(const ScsiCommand *command, guint8 *page)
{
    gboolean rotational = scsi_command_lu(command)->info->rotational;

    put_be16(page + 4, rotational ? ROTATION_7200 : ROTATION_NONE);
    page[7] = 0x50; /* WABEREQ, WACEREQ: after SANITIZE, reads end without error */
    return 0x3c;
}

/* The exponent is the unit of log page 0Ch; the mode page of thresholds has no descriptor */
static guint32
encode_provisioning(const ScsiCommand *command, guint8 *page)
{
    page[4] = (guint8)sbc_threshold_exponent(scsi_command_lu(command));
    page[5] = 0xe0; /* LBPU, LBPWS, LBPWS10 */
    if (scsi_command_lu(command)->info->unmap_zeroes)
        page[5] |= 0x04; /* LBPRZ */
    page[6] = 0x02;      /* thin provisioned */
    return 4;
}

/* clang-format off */
static const VpdPage pages[] = {
    { 0x00, ON_ALL_AND_WELL_KNOWN, encode_supported },
    { 0x80, ON_ALL,   encode_serial },
    { 0x83, ON_ALL_AND_WELL_KNOWN, encode_identification },
    { 0x85, ON_ALL,   encode_management_addresses },
    { 0x86, ON_ALL,   encode_extended_inquiry },
    { 0x87, ON_ALL,   encode_mode_page_policy },
    { 0x88, ON_ALL,   encode_ports },
    { 0x8f, ON_DISKS, copy_encode_vpd },
    { 0xb0, ON_DISKS, encode_block_limits },
    { 0xb1, ON_DISKS, encode_characteristics },
    { 0xb2, ON_THIN,  encode_provisioning },
};
/* clang-format on */

static gboolean
has_page(const ScsiCommand *command, const VpdPage *page)
{
    const Lu *lu;

    if (page->scope == ON_ALL_AND_WELL_KNOWN || command->nexus_lun == NULL)
        return page->scope == ON_ALL_AND_WELL_KNOWN;

    lu = scsi_command_lu(command);
    return page->scope == ON_ALL ||
           (lu->device == LU_DISK && (page->scope == ON_DISKS || lu->can_unmap));
}

static guint32
encode_supported(const ScsiCommand *command, guint8 *page)
{
    guint32 n = 0;

    for (gsize i = 0; i < G_N_ELEMENTS(pages); i++) {
        if (has_page(command, &pages[i]))
            page[HEADER_LENGTH + n++] = pages[i].code;
    }
    return n;
}

guint32
vpd_encode(const ScsiCommand *command, guint8 page_code, guint8 *page)
{
    for (gsize i = 0; i < G_N_ELEMENTS(pages); i++) {
        guint32 length;

        if (pages[i].code != page_code || !has_page(command, &pages[i]))
            continue;

        page[1] = page_code;
        length = pages[i].encode(command, page);
        put_be16(page + 2, (guint16)length);
        return HEADER_LENGTH + length;
    }

    return 0;
}
