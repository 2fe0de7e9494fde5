/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * PERSISTENT RESERVE IN
 *
 * Answered from the snapshot that is in force on the worker of the command: a
 * PERSISTENT RESERVE OUT has ended only when every worker has its result.
 */

#include "scsi/handlers.h"
#include "scsi/lu-shard.h"
#include "scsi/operation.h"
#include "scsi/transport-id.h"
#include "util/bytes.h"

#define HEADER_LENGTH     8
#define DESCRIPTOR_LENGTH 24

/* While the unit is reserved by RESERVE these are refused to everybody (SPC-2) */
static gboolean
check_reserved(ScsiCommand *command)
{
    if (!command->nexus_lun->shard->reservations->is_reserved)
        return TRUE;

    scsi_command_finish(command, SCSI_RESERVATION_CONFLICT);
    return FALSE;
}

/* May the answer be made now? The snapshot is looked at only when nothing has to be waited for. */
static gboolean
begin(ScsiCommand *command, gsize size, void (*resume)(ScsiCommand *))
{
    return check_reserved(command) && scsi_command_take_zeroed(command, size, resume);
}

static void
end(ScsiCommand *command, guint32 length)
{
    scsi_command_reply(command, length, get_be16(command->cdb + 7));
}

static void
put_header(ScsiCommand *command, guint32 length)
{
    put_be32(command->data, command->nexus_lun->shard->reservations->generation);
    put_be32(command->data + 4, length - HEADER_LENGTH);
}

void
pr_in_read_keys(ScsiCommand *command)
{
    const Reservations *reservations = command->nexus_lun->shard->reservations;
    guint32 n = HEADER_LENGTH;

    if (!begin(command, HEADER_LENGTH + 8 * (gsize)REGISTRATIONS_MAX, pr_in_read_keys))
        return;

    for (guint i = 0; i < reservations->n; i++) {
        put_be64(command->data + n, reservations->entries[i].key);
        n += 8;
    }

    put_header(command, n);
    end(command, n);
}

void
pr_in_read_reservation(ScsiCommand *command)
{
    const Reservations *reservations = command->nexus_lun->shard->reservations;
    guint32 n = HEADER_LENGTH;

    if (!begin(command, POOL_BUFFER_MIN, pr_in_read_reservation))
        return;

    if (reservations->type != PR_TYPE_NONE) {
        if (!pr_type_is_all_registrants(reservations->type))
            put_be64(command->data + 8, reservations->entries[reservations->holder].key);
        command->data[21] = reservations->type; /* SCOPE is LU_SCOPE, zero */
        n += 16;
    }

    put_header(command, n);
    end(command, n);
}

void
pr_in_report_capabilities(ScsiCommand *command)
{
    const NexusLun *nexus_lun = command->nexus_lun;
    guint8 *data;

    if (!begin(command, POOL_BUFFER_MIN, pr_in_report_capabilities))
        return;

    data = command->data;
    put_be16(data, 8);
    data[2] = 0x10 | 0x08 | 0x04; /* CRH, SIP_C, ATP_C */
    if (nexus_lun->lu->can_keep)
        data[2] |= 0x01;   /* PTPL_C */
    data[3] = 0x80 | 0x40; /* TMV; ALLOW COMMANDS 100b: what SPC-4 allows is allowed */
    if (nexus_lun->shard->reservations->aptpl)
        data[3] |= 0x01;                        /* PTPL_A */
    data[4] = 0x80 | 0x40 | 0x20 | 0x08 | 0x02; /* the types 7, 6, 5, 3, 1 */
    data[5] = 0x01;                             /* 8 */
    end(command, 8);
}

static guint32
put_full_status(const Reservations *reservations, guint i, guint8 *data)
{
    const Registration *registration = &reservations->entries[i];
    guint32 length;

    put_be64(data, registration->key);
    if (reservations_is_holder(reservations, i)) {
        data[12] = 0x01; /* R_HOLDER */
        data[13] = reservations->type;
    }
    put_be16(data + 18, registration->nexus.port);
    length = transport_id_put(registration->nexus.name, data + DESCRIPTOR_LENGTH);
    put_be32(data + 20, length);
    return DESCRIPTOR_LENGTH + length;
}

void
pr_in_read_full_status(ScsiCommand *command)
{
    const Reservations *reservations = command->nexus_lun->shard->reservations;
    const gsize size =
        HEADER_LENGTH + (gsize)REGISTRATIONS_MAX * (DESCRIPTOR_LENGTH + TRANSPORT_ID_MAX);
    guint32 n = HEADER_LENGTH;

    G_STATIC_ASSERT(HEADER_LENGTH + REGISTRATIONS_MAX * (DESCRIPTOR_LENGTH + TRANSPORT_ID_MAX) <=
                    POOL_BUFFER_MAX);

    if (!begin(command, size, pr_in_read_full_status))
        return;

    for (guint i = 0; i < reservations->n; i++)
        n += put_full_status(reservations, i, command->data + n);

    put_header(command, n);
    end(command, n);
}
