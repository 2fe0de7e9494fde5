/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include <string.h>

#include "scsi/handlers.h"
#include "scsi/operation.h"
#include "scsi/vpd.h"
#include "util/bytes.h"

#define STANDARD_LENGTH 96

#define DEVICE_DISK       0x00
#define DEVICE_CDROM      0x05
#define DEVICE_WELL_KNOWN 0x1e
#define DEVICE_NONE       0x7f /* qualifier 3h, type 1Fh: no unit here, and there cannot be one */

#define VERSION_SPC4  0x06
#define VERSION_ISCSI 0x0960 /* without a version: the transport says which */

static const guint16 version_descriptors[] = {
    0x00a0,                /* SAM-5 */
    VERSION_ISCSI, 0x0460, /* SPC-4 */
};

#define VERSION_SBC3 0x04c0
#define VERSION_MMC6 0x04e0

static guint8
device_type(const ScsiCommand *command)
{
    if (command->nexus_lun != NULL)
        return scsi_command_lu(command)->device == LU_CDROM ? DEVICE_CDROM : DEVICE_DISK;

    return command->lun_kind == LUN_REPORT_LUNS ? DEVICE_WELL_KNOWN : DEVICE_NONE;
}

static void
encode_standard(const ScsiCommand *command, guint8 *data)
{
    data[0] = device_type(command);
    data[2] = VERSION_SPC4;
    data[3] = 0x12; /* HISUP, response data format 2 */
    data[4] = STANDARD_LENGTH - 5;
    /* TPGS: implicit, and where initiators may change states explicit too */
    if (command->nexus_lun != NULL)
        data[5] = command->nexus->map->alua.fn != NULL ? 0x30 : 0x10;
    data[6] = 0x10; /* MULTIP */
    data[7] = 0x02; /* CMDQUE */

    if (command->nexus_lun != NULL) {
        const Identity *identity = &scsi_command_lu(command)->identity;

        if (device_type(command) == DEVICE_DISK)
            data[5] |= 0x08; /* 3PC */
        if (scsi_command_lu(command)->is_removable)
            data[1] = 0x80; /* RMB */
        memcpy(data + 8, identity->vendor, 8);
        memcpy(data + 16, identity->product, 16);
        memcpy(data + 32, identity->revision, 4);
    } else {
        memcpy(data + 8, "LUNPORT                     ", 28);
    }

    for (gsize i = 0; i < G_N_ELEMENTS(version_descriptors); i++) {
        guint16 version = version_descriptors[i];

        if (version == VERSION_ISCSI && command->nexus->version_descriptor != 0)
            version = command->nexus->version_descriptor;
        put_be16(data + 58 + 2 * i, version);
    }
    if (device_type(command) != DEVICE_NONE)
        put_be16(data + 58 + 2 * G_N_ELEMENTS(version_descriptors),
                 device_type(command) == DEVICE_CDROM ? VERSION_MMC6 : VERSION_SBC3);
}

static void
inquiry_vpd(ScsiCommand *command)
{
    guint32 length;

    if (device_type(command) == DEVICE_NONE) {
        scsi_command_fail(command, SENSE_LU_NOT_SUPPORTED);
        return;
    }

    command->data[0] = device_type(command);
    length = vpd_encode(command, command->cdb[2], command->data);
    if (length == 0)
        scsi_command_fail_field(command, 2, 7);
    else
        scsi_command_reply(command, length, get_be16(command->cdb + 3));
}

void
spc_inquiry(ScsiCommand *command)
{
    gboolean evpd = (command->cdb[1] & 0x01) != 0;
    gsize room = evpd && command->cdb[2] == VPD_PORTS ? VPD_PORTS_MAX : POOL_BUFFER_MIN;

    if (!evpd && command->cdb[2] != 0) {
        scsi_command_fail_field(command, 2, 7);
        return;
    }

    G_STATIC_ASSERT(VPD_PAGE_MAX <= POOL_BUFFER_MIN);
    if (!scsi_command_take_zeroed(command, room, spc_inquiry))
        return;

    if (evpd) {
        inquiry_vpd(command);
        return;
    }

    encode_standard(command, command->data);
    scsi_command_reply(command, STANDARD_LENGTH, get_be16(command->cdb + 3));
}
