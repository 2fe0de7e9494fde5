/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The drive's mechanism: GET EVENT STATUS NOTIFICATION, MECHANISM STATUS
 *
 * Each nexus is told of what happened to the medium once, when it asks: it may
 * have been an initiator or the administrator. Only the last event is kept. A
 * command that has no room for the event leaves it for the next one.
 */

#include "scsi/handlers.h"
#include "scsi/mmc.h"
#include "util/bytes.h"

#define HEADER_LENGTH 4
#define EVENT_LENGTH  8 /* with the header */

#define NO_EVENT_AVAILABLE 0x80

enum {
    CLASS_OPERATIONAL = 1,
    CLASS_POWER = 2,
    CLASS_MEDIA = 4,
};

#define SUPPORTED_CLASSES (1U << CLASS_OPERATIONAL | 1U << CLASS_POWER | 1U << CLASS_MEDIA)

enum {
    OPERATIONAL_NO_CHANGE = 0,
    OPERATIONAL_FEATURE_CHANGE = 2,
};

#define DOOR_OPEN      0x01
#define MEDIUM_PRESENT 0x02

/* Of the classes that are asked for the first with an event, else the first */
static guint8
choose_class(const NexusLun *nexus_lun, guint wanted)
{
    if (wanted & 1U << CLASS_OPERATIONAL && nexus_lun->has_new_features)
        return CLASS_OPERATIONAL;
    if (wanted & 1U << CLASS_MEDIA && nexus_lun->media_event != MEDIA_NO_EVENT)
        return CLASS_MEDIA;
    return (guint8)g_bit_nth_lsf(wanted, -1);
}

static void
encode_event(const NexusLun *nexus_lun, guint8 class, guint8 *event)
{
    const LuShard *shard = nexus_lun->shard;

    switch (class) {
    case CLASS_OPERATIONAL:
        event[0] = nexus_lun->has_new_features ? OPERATIONAL_FEATURE_CHANGE : OPERATIONAL_NO_CHANGE;
        event[3] = nexus_lun->has_new_features ? 1 : 0;
        break;
    case CLASS_POWER:
        event[1] = shard->state.power_condition;
        break;
    default:
        event[0] = nexus_lun->media_event;
        event[1] = (guint8)((shard->state.is_ejected ? DOOR_OPEN : 0) |
                            (lu_shard_has_medium(shard) ? MEDIUM_PRESENT : 0));
        break;
    }
}

static void
forget_event(NexusLun *nexus_lun, guint8 class)
{
    if (class == CLASS_OPERATIONAL)
        nexus_lun->has_new_features = FALSE;
    else if (class == CLASS_MEDIA)
        nexus_lun->media_event = MEDIA_NO_EVENT;
}

void
mmc_get_event_status(ScsiCommand *command)
{
    NexusLun *nexus_lun = command->nexus_lun;
    guint wanted = command->cdb[4] & SUPPORTED_CLASSES;
    guint8 class;

    /* Nothing is told of its own accord */
    if (!(command->cdb[1] & 0x01)) {
        scsi_command_fail_field(command, 1, 0);
        return;
    }
    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, mmc_get_event_status))
        return;

    command->data[3] = SUPPORTED_CLASSES;
    if (wanted == 0) {
        put_be16(command->data, HEADER_LENGTH - 2);
        command->data[2] = NO_EVENT_AVAILABLE;
        mmc_reply(command, HEADER_LENGTH);
        return;
    }

    class = choose_class(nexus_lun, wanted);
    put_be16(command->data, EVENT_LENGTH - 2);
    command->data[2] = class;
    encode_event(nexus_lun, class, command->data + HEADER_LENGTH);
    if (operation_get_length(command->op, command->cdb) >= EVENT_LENGTH)
        forget_event(nexus_lun, class);
    mmc_reply(command, EVENT_LENGTH);
}

void
mmc_mechanism_status(ScsiCommand *command)
{
    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, mmc_mechanism_status))
        return;

    if (command->nexus_lun->shard->state.is_ejected)
        command->data[1] = 0x10; /* door open; the mechanism is idle, and there are no slots */
    mmc_reply(command, 8);
}
