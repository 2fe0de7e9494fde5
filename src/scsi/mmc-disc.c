/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The rest of what a CD/DVD drive is asked: disc structures, speeds, READ CD
 *
 * There is no lead-in that could be read, so structures of a DVD are made up
 * from its size: one layer, unprotected. A speed is taken and has no effect.
 * READ CD reads what READ does, the user data of blocks; a CD-ROM image has
 * nothing of the rest of a sector.
 */

#include "scsi/handlers.h"
#include "scsi/mmc.h"
#include "util/bytes.h"

/*
 * READ DISC STRUCTURE
 */

#define STRUCTURE_HEADER 4
#define STRUCTURE_SECTOR 2048
#define DVD_FIRST_SECTOR 0x030000

enum {
    STRUCTURE_PHYSICAL = 0x00,
    STRUCTURE_COPYRIGHT = 0x01,
    STRUCTURE_MANUFACTURING = 0x04,
    STRUCTURE_LIST = 0xff,
};

typedef struct {
    guint8 format;
    guint16 length; /* after the header */
} Structure;

/* clang-format off */
static const Structure structures[] = {
    { STRUCTURE_PHYSICAL,      STRUCTURE_SECTOR },
    { STRUCTURE_COPYRIGHT,     4 },                /* all zero: there is no protection */
    { STRUCTURE_MANUFACTURING, STRUCTURE_SECTOR }, /* all zero: nobody has written there */
};
/* clang-format on */

static void
encode_physical(const ScsiCommand *command, guint8 *p)
{
    guint64 last = lu_shard_n_blocks(command->nexus_lun->shard) - 1;

    p[0] = 0x01; /* DVD-ROM, version 1 */
    p[1] = 0x02; /* 120 mm, 10.08 Mbit/s */
    p[2] = 0x01; /* one layer, embossed */
    put_be24(p + 5, DVD_FIRST_SECTOR);
    put_be24(p + 9, (guint32)MIN(DVD_FIRST_SECTOR + last, 0xffffff));
}

/* Which there are and that they can be read */
static guint32
encode_list(guint8 *p)
{
    for (gsize i = 0; i < G_N_ELEMENTS(structures); i++) {
        p[4 * i] = structures[i].format;
        p[4 * i + 1] = 0x40; /* RDS */
        put_be16(p + 4 * i + 2, STRUCTURE_HEADER + structures[i].length);
    }
    return 4 * G_N_ELEMENTS(structures);
}

static const Structure *
find_structure(guint8 format)
{
    for (gsize i = 0; i < G_N_ELEMENTS(structures); i++) {
        if (structures[i].format == format)
            return &structures[i];
    }
    return NULL;
}

/* FALSE when it has failed the command */
static gboolean
check_structure(ScsiCommand *command)
{
    guint8 format = command->cdb[7];

    if ((command->cdb[1] & 0x0f) != 0) { /* of DVDs */
        scsi_command_fail_field(command, 1, 3);
        return FALSE;
    }
    if (format != STRUCTURE_LIST && find_structure(format) == NULL) {
        scsi_command_fail_field(command, 7, 7);
        return FALSE;
    }
    if (mmc_profile(command->nexus_lun->shard) != MMC_PROFILE_DVD_ROM) {
        scsi_command_fail(command, SENSE_INCOMPATIBLE_MEDIUM);
        return FALSE;
    }
    if (command->cdb[6] != 0) { /* the other layer */
        scsi_command_fail_field(command, 6, 7);
        return FALSE;
    }
    return TRUE;
}

void
mmc_read_disc_structure(ScsiCommand *command)
{
    const Structure *structure = find_structure(command->cdb[7]);
    guint32 length;

    G_STATIC_ASSERT(STRUCTURE_HEADER + STRUCTURE_SECTOR <= POOL_BUFFER_MIN);
    if (!check_structure(command))
        return;
    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, mmc_read_disc_structure))
        return;

    length = structure != NULL ? structure->length : encode_list(command->data + STRUCTURE_HEADER);
    if (structure != NULL && structure->format == STRUCTURE_PHYSICAL)
        encode_physical(command, command->data + STRUCTURE_HEADER);
    put_be16(command->data, (guint16)(length + 2));
    mmc_reply(command, STRUCTURE_HEADER + length);
}

/*
 * Speed
 */

#define PERFORMANCE_TYPE 0x00 /* the only one: nominal, or exceptions, of which there are none */

#define CD_SPEED  8467  /* kB/s: 48 times */
#define DVD_SPEED 22160 /* 16 times */

void
mmc_get_performance(ScsiCommand *command)
{
    const LuShard *shard = command->nexus_lun->shard;
    guint32 speed = mmc_profile(shard) == MMC_PROFILE_DVD_ROM ? DVD_SPEED : CD_SPEED;
    guint32 last = (guint32)MIN(lu_shard_n_blocks(shard) - 1, G_MAXUINT32);
    gboolean has_descriptor =
        get_be16(command->cdb + 8) > 0 && (command->cdb[1] & 0x03) == 0; /* EXCEPT */
    guint32 length = has_descriptor ? 24 : 8;
    guint8 *data;

    if (command->cdb[10] != PERFORMANCE_TYPE) {
        scsi_command_fail_field(command, 10, 7);
        return;
    }
    if (command->cdb[1] & 0x04) { /* of writing */
        scsi_command_fail_field(command, 1, 2);
        return;
    }
    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, mmc_get_performance))
        return;

    data = command->data;
    put_be32(data, length - 4);
    if (has_descriptor) {
        put_be32(data + 12, speed);
        put_be32(data + 16, last);
        put_be32(data + 20, speed);
    }
    scsi_command_reply(command, length,
                       length); /* the CDB has a number of descriptors, not of bytes */
}

void
mmc_set_cd_speed(ScsiCommand *command)
{
    scsi_command_finish(command, SCSI_GOOD);
}

/*
 * READ CD
 */

enum {
    SECTOR_ANY = 0,
    SECTOR_MODE_1 = 2,
};

#define USER_DATA 0x10

void
mmc_read_cd(ScsiCommand *command)
{
    guint sector = command->cdb[1] >> 2 & 0x07;

    if (sector != SECTOR_ANY && sector != SECTOR_MODE_1) {
        scsi_command_fail_field(command, 1, 4);
        return;
    }
    if (command->cdb[9] != USER_DATA && command->cdb[9] != 0) {
        scsi_command_fail_field(command, 9, 7);
        return;
    }
    if ((command->cdb[10] & 0x07) != 0) { /* sub-channels */
        scsi_command_fail_field(command, 10, 2);
        return;
    }

    if (command->cdb[9] == 0)
        command->n_blocks = 0; /* no part of the sectors is wanted */
    sbc_read(command);
}
