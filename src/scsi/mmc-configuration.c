/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * GET CONFIGURATION: the features of the drive
 *
 * A table of features by ascending code. Whether a feature is current depends
 * on the medium; the drive itself can always do the same. Only features are
 * told whose commands are in the operation table. The encoder of a feature
 * writes what follows its four bytes of header and returns how much that is.
 */

#include <string.h>

#include "scsi/handlers.h"
#include "scsi/mmc.h"
#include "util/bytes.h"

#define HEADER_LENGTH     8
#define DESCRIPTOR_LENGTH 4

#define BLOCK_SIZE 2048

/* When it is current */
typedef enum {
    ALWAYS,
    WITH_MEDIUM,
    WITH_CD,
    WITH_DVD,
} Currency;

typedef struct {
    guint16 code;
    guint8 version;
    Currency currency;
    guint32 (*encode)(guint16 profile, guint8 *data);
} Feature;

enum {
    REQUEST_ALL = 0,
    REQUEST_CURRENT = 1,
    REQUEST_ONE = 2,
};

static void
put_profile(guint8 *data, guint16 code, guint16 current)
{
    put_be16(data, code);
    data[2] = code == current ? 0x01 : 0x00;
}

/* What can do more comes first */
static guint32
encode_profiles(guint16 profile, guint8 *data)
{
    put_profile(data, MMC_PROFILE_DVD_ROM, profile);
    put_profile(data + 4, MMC_PROFILE_CD_ROM, profile);
    return 8;
}

static guint32
encode_core(guint16 profile, guint8 *data)
{
    put_be32(data, 1); /* physical interface: the SCSI family */
    data[4] = 0x02;    /* INQ2: INQUIRY as SPC has it; DBE=0 */
    return 8;
}

static guint32
encode_morphing(guint16 profile, guint8 *data)
{
    data[0] = 0x02; /* OCEVENT; events are polled */
    return 4;
}

static guint32
encode_removable(guint16 profile, guint8 *data)
{
    data[0] = 0x39; /* tray; LOAD, EJECT, LOCK */
    return 4;
}

static guint32
encode_random_readable(guint16 profile, guint8 *data)
{
    put_be32(data, BLOCK_SIZE);
    put_be16(data + 4, profile == MMC_PROFILE_DVD_ROM ? 16 : 1); /* blocks of one correction unit */
    data[6] = 0x01;                                              /* PP: mode page 01h */
    return 8;
}

static guint32
encode_nothing(guint16 profile, guint8 *data)
{
    return 0;
}

/* No C2 errors, no CD-Text, no digital audio; for a DVD nothing of layers */
static guint32
encode_zero(guint16 profile, guint8 *data)
{
    return 4;
}

/* clang-format off */
static const Feature features[] = {
    { 0x0000, 0, ALWAYS,      encode_profiles },
    { 0x0001, 2, ALWAYS,      encode_core },
    { 0x0002, 1, ALWAYS,      encode_morphing },
    { 0x0003, 2, ALWAYS,      encode_removable },
    { 0x0010, 0, WITH_MEDIUM, encode_random_readable },
    { 0x001d, 0, WITH_CD,     encode_nothing },         /* multi-read: CDs of every kind */
    { 0x001e, 2, WITH_CD,     encode_zero },            /* CD read */
    { 0x001f, 1, WITH_DVD,    encode_zero },            /* DVD read */
    { 0x0100, 0, ALWAYS,      encode_nothing },         /* power management */
};
/* clang-format on */

static gboolean
is_current(const Feature *feature, guint16 profile)
{
    switch (feature->currency) {
    case ALWAYS:
        return TRUE;
    case WITH_MEDIUM:
        return profile != MMC_PROFILE_NONE;
    case WITH_CD:
        return profile == MMC_PROFILE_CD_ROM;
    case WITH_DVD:
        return profile == MMC_PROFILE_DVD_ROM;
    }
    g_assert_not_reached();
}

static gboolean
is_wanted(const ScsiCommand *command, const Feature *feature, guint16 profile)
{
    guint16 first = get_be16(command->cdb + 2);

    switch (command->cdb[1] & 0x03) {
    case REQUEST_ALL:
        return feature->code >= first;
    case REQUEST_CURRENT:
        return feature->code >= first && is_current(feature, profile);
    default:
        return feature->code == first;
    }
}

static guint32
encode_feature(const Feature *feature, guint16 profile, guint8 *data)
{
    gboolean persistent = feature->currency == ALWAYS;
    guint32 length = feature->encode(profile, data + DESCRIPTOR_LENGTH);

    put_be16(data, feature->code);
    data[2] = (guint8)(feature->version << 2 | (persistent ? 0x02 : 0) |
                       (is_current(feature, profile) ? 0x01 : 0));
    data[3] = (guint8)length;
    return DESCRIPTOR_LENGTH + length;
}

void
mmc_get_configuration(ScsiCommand *command)
{
    guint16 profile = mmc_profile(command->nexus_lun->shard);
    guint32 n = HEADER_LENGTH;

    if ((command->cdb[1] & 0x03) > REQUEST_ONE) {
        scsi_command_fail_field(command, 1, 1);
        return;
    }
    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, mmc_get_configuration))
        return;

    for (gsize i = 0; i < G_N_ELEMENTS(features); i++) {
        if (is_wanted(command, &features[i], profile))
            n += encode_feature(&features[i], profile, command->data + n);
    }

    put_be32(command->data, n - 4);
    put_be16(command->data + 6, profile);
    mmc_reply(command, n);
}
