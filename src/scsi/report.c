/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Commands that report what there is: logical units, operations, task
 * management functions. Operations come from the operation table.
 */

#include <string.h>

#include "scsi/handlers.h"
#include "scsi/operation.h"
#include "util/bytes.h"

/*
 * REPORT LUNS
 */

enum {
    SELECT_ADDRESSED = 0x00, /* all but well-known ones */
    SELECT_WELL_KNOWN = 0x01,
    SELECT_ALL = 0x02,
    SELECT_ADMINISTRATIVE = 0x10,
    SELECT_NOT_SUBSIDIARY = 0x11, /* administrative ones, and all that belong to none */
    SELECT_SUBSIDIARY = 0x12,     /* those of the administrative one that is addressed */
};

static gboolean
is_selection(guint8 select)
{
    return select <= SELECT_ALL || (select >= SELECT_ADMINISTRATIVE && select <= SELECT_SUBSIDIARY);
}

void
spc_report_luns(ScsiCommand *command)
{
    const LunMap *map = command->nexus->map;
    guint8 select = command->cdb[2];
    guint32 n = 0;

    if (command->nexus_lun == NULL && command->lun_kind != LUN_REPORT_LUNS) {
        static const guint8 zero[8];

        /* LUN 0 answers in any case; other LUNs only when there is a unit */
        if (memcmp(command->lun, zero, sizeof(zero)) != 0) {
            scsi_command_fail(command, SENSE_LU_NOT_SUPPORTED);
            return;
        }
    }
    if (!is_selection(select)) {
        scsi_command_fail_field(command, 2, 7);
        return;
    }

    if (!scsi_command_take_zeroed(command, 16 + 8 * (gsize)map->n_entries, spc_report_luns))
        return;

    /* There are no administrative units, and so no subsidiary ones */
    if (select == SELECT_ADDRESSED || select == SELECT_ALL || select == SELECT_NOT_SUBSIDIARY) {
        for (guint i = 0; i < map->n_entries; i++)
            lun_encode(map->entries[i].lun, command->data + 8 + 8 * n++);
    }
    if (select == SELECT_WELL_KNOWN || select == SELECT_ALL)
        put_be16(command->data + 8 + 8 * n++, 0xc101);

    put_be32(command->data, 8 * n);
    nexus_luns_are_known(command->nexus);
    scsi_command_reply(command, 8 + 8 * n, get_be32(command->cdb + 6));
}

/*
 * REPORT SUPPORTED OPERATION CODES
 */

enum {
    REPORT_ALL = 0,
    REPORT_OPCODE = 1,         /* one that has no service actions */
    REPORT_SERVICE_ACTION = 2, /* one that has */
    REPORT_EITHER = 3,         /* the service action is 0 where there are none */
};

#define SUPPORT_NONE     0x01
#define SUPPORT_STANDARD 0x03

#define CTDP_ALL 0x02
#define SERVACTV 0x01
#define CTDP_ONE 0x80

#define TIMEOUTS_LENGTH 12

/* Who may not change states is refused the service action as if it were not there */
static gboolean
is_supported(const ScsiCommand *command, const Operation *operation)
{
    if (operation->exec == spc_set_target_port_groups && command->nexus->map->alua.fn == NULL)
        return FALSE;
    return operation_is_supported(operation, scsi_command_lu(command));
}

/* No timeouts are promised: a descriptor of zeros */
static guint32
put_timeouts(guint8 *data)
{
    put_be16(data, TIMEOUTS_LENGTH - 2);
    return TIMEOUTS_LENGTH;
}

static void
report_all(ScsiCommand *command, gboolean timeouts)
{
    guint n_rows;
    const Operation *rows = optable_rows(&n_rows);
    guint32 n = 4;

    for (guint i = 0; i < n_rows; i++) {
        guint8 *descriptor = command->data + n;

        if (!is_supported(command, &rows[i]))
            continue;

        descriptor[0] = rows[i].opcode;
        put_be16(descriptor + 2, rows[i].service_action);
        descriptor[5] =
            (guint8)((timeouts ? CTDP_ALL : 0) | (rows[i].has_service_action ? SERVACTV : 0));
        put_be16(descriptor + 6, rows[i].cdb_length);
        n += 8;
        if (timeouts)
            n += put_timeouts(command->data + n);
    }

    put_be32(command->data, n - 4);
    scsi_command_reply(command, n, get_be32(command->cdb + 6));
}

static void
put_usage(const Operation *operation, guint8 *data)
{
    memcpy(data, operation->usage, operation->cdb_length);
    data[0] = operation->opcode;
    if (operation->has_service_action)
        data[1] = (guint8)((data[1] & 0xe0) | operation->service_action);
}

static void
report_one(ScsiCommand *command, const Operation *operation, gboolean timeouts)
{
    guint8 *data = command->data;
    guint32 n = 4;

    if (operation == NULL || !is_supported(command, operation)) {
        data[1] = SUPPORT_NONE;
        scsi_command_reply(command, n, get_be32(command->cdb + 6));
        return;
    }

    data[1] = (guint8)(SUPPORT_STANDARD | (timeouts ? CTDP_ONE : 0));
    put_be16(data + 2, operation->cdb_length);
    put_usage(operation, data + n);
    n += operation->cdb_length;
    if (timeouts)
        n += put_timeouts(data + n);
    scsi_command_reply(command, n, get_be32(command->cdb + 6));
}

/* The row of the operation code at cdb[3] and the service action at cdb[4], judged as @option says */
static void
report_wanted(ScsiCommand *command, guint option, gboolean timeouts)
{
    guint8 wanted[SCSI_CDB_MAX] = { command->cdb[3] };
    guint16 service_action = get_be16(command->cdb + 4);
    const guint8 *index = command->nexus->scsi->op_index;
    guint n_rows;
    const Operation *rows = optable_rows(&n_rows);
    gboolean known, has_actions;

    if (index[command->cdb[3]] == 0) {
        report_one(command, NULL, timeouts);
        return;
    }

    has_actions = rows[index[command->cdb[3]] - 1].has_service_action;
    if (option != REPORT_EITHER && has_actions != (option == REPORT_SERVICE_ACTION)) {
        scsi_command_fail_field(command, 2, 2);
        return;
    }

    if (option != REPORT_OPCODE && service_action > (has_actions ? 0x1f : 0)) {
        report_one(command, NULL, timeouts);
        return;
    }

    wanted[1] = has_actions ? (guint8)service_action : 0;
    report_one(command, optable_find(index, wanted, &known), timeouts);
}

void
spc_report_supported_operation_codes(ScsiCommand *command)
{
    gboolean timeouts = (command->cdb[2] & 0x80) != 0;
    guint option = command->cdb[2] & 0x07;

    if (option > REPORT_EITHER) {
        scsi_command_fail_field(command, 2, 2);
        return;
    }

    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, spc_report_supported_operation_codes))
        return;

    if (option == REPORT_ALL)
        report_all(command, timeouts);
    else
        report_wanted(command, option, timeouts);
}

/*
 * REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS
 */

void
spc_report_supported_tmfs(ScsiCommand *command)
{
    gboolean extended = (command->cdb[2] & 0x80) != 0;
    guint32 length = extended ? 16 : 4;

    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, spc_report_supported_tmfs))
        return;

    /* ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET, TARGET RESET */
    command->data[0] = 0x80 | 0x40 | 0x10 | 0x08 | 0x02;
    if (command->nexus->has_queries) {
        /* QUERY TASK; QUERY ASYNCHRONOUS EVENT, QUERY TASK SET, I_T NEXUS RESET */
        command->data[0] |= 0x04;
        command->data[1] = 0x04 | 0x02 | 0x01;
    }
    command->data[3] = (guint8)(length - 4);
    scsi_command_reply(command, length, get_be32(command->cdb + 6));
}
