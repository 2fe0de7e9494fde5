/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What initiators deposit with a logical unit and ask for again
 *
 * Identifying information, the timestamp and the data buffer are the home
 * worker's; each of these commands is an errand to it that reads or writes the
 * command's buffer there. The echo buffer belongs to the nexus. Identifying
 * information persists through everything, a loss of power too (SPC), so it is
 * on stable storage before it is in force.
 */

#include <string.h>

#include "scsi/handlers.h"
#include "scsi/lu-change.h"
#include "scsi/operation.h"
#include "scsi/spc.h"
#include "util/bytes.h"

#define REPLY_ROOM POOL_BUFFER_MIN

static void
run_errand(ScsiCommand *command, gboolean (*update)(Lu *, LuChange *), SenseCode attention,
           void (*resume)(ScsiCommand *))
{
    LuChange *change = lu_change_new(command);

    if (change == NULL)
        return;

    change->update = update;
    change->attention = attention;
    lu_change_run(change, resume);
}

/* What the home worker has put into the buffer, its length in "step" */
static void
reply_noted(ScsiCommand *command)
{
    scsi_command_reply(command, command->step, operation_get_length(command->op, command->cdb));
}

/*
 * Identifying information
 */

enum {
    TYPE_IDENTIFIER = 0x00,
    TYPE_LABEL = 0x02,
    TYPE_SUPPORTED = 0x7f,
};

static guint
information_type(const ScsiCommand *command)
{
    return command->cdb[10] >> 1;
}

static gboolean
update_report_identifying(Lu *lu, LuChange *change)
{
    const LuIdentifying *now = &lu->notes->identifying;
    gboolean is_label = information_type(change->command) == TYPE_LABEL;
    guint16 length = is_label ? now->label_length : now->identifier_length;
    guint8 *data = change->command->data;

    put_be16(data + 2, length);
    memcpy(data + 4, is_label ? now->label : now->identifier, length);
    change->command->step = 4U + length;
    return FALSE;
}

/* Each type and how long its information may be */
static guint32
put_supported_types(guint8 *data)
{
    put_be16(data + 2, 8);
    data[4] = TYPE_IDENTIFIER << 1;
    put_be16(data + 6, LU_IDENTIFIER_MAX);
    data[8] = TYPE_LABEL << 1;
    put_be16(data + 10, LU_LABEL_MAX);
    return 12;
}

void
spc_report_identifying_information(ScsiCommand *command)
{
    guint type = information_type(command);

    if (type != TYPE_IDENTIFIER && type != TYPE_LABEL && type != TYPE_SUPPORTED) {
        scsi_command_fail_field(command, 10, 7);
        return;
    }

    if (!scsi_command_take_zeroed(command, REPLY_ROOM, spc_report_identifying_information))
        return;

    if (type == TYPE_SUPPORTED)
        scsi_command_reply(command, put_supported_types(command->data), get_be32(command->cdb + 6));
    else
        run_errand(command, update_report_identifying, SENSE_NONE, reply_noted);
}

/* What will be in force */
static void
set_identifying(LuIdentifying *identifying, const ScsiCommand *command)
{
    gboolean is_label = information_type(command) == TYPE_LABEL;
    guint16 length = (guint16)command->data_length;

    if (length > 0)
        memcpy(is_label ? identifying->label : identifying->identifier, command->data, length);
    if (is_label)
        identifying->label_length = length;
    else
        identifying->identifier_length = length;
}

static char *
record_identifying(const Lu *lu, const LuChange *change)
{
    LuIdentifying next = lu->notes->identifying;

    set_identifying(&next, change->command);
    return lu_identifying_format(&next);
}

static gboolean
update_set_identifying(Lu *lu, LuChange *change)
{
    set_identifying(&lu->notes->identifying, change->command);
    return TRUE;
}

static void
on_identified(ScsiCommand *command)
{
    SenseCode result = lu_change_of(command)->result;

    if (result != SENSE_NONE)
        scsi_command_fail(command, result);
    else
        spc_finish_list(command);
}

static void
on_identifying(ScsiCommand *command)
{
    LuChange *change = lu_change_new(command);

    if (change == NULL)
        return;

    change->kind = LU_RECORD_IDENTIFYING;
    change->record = record_identifying;
    change->update = update_set_identifying;
    change->attention = SENSE_DEVICE_IDENTIFIER_CHANGED;
    lu_change_run(change, on_identified);
}

/* An empty list deletes the information. A label is text that ends with a zero byte. */
static void
on_identifying_list(ScsiCommand *command)
{
    if (information_type(command) == TYPE_LABEL && command->data[command->data_length - 1] != 0)
        scsi_command_fail_parameter(command, command->data_length - 1, 7);
    else
        on_identifying(command);
}

void
spc_set_identifying_information(ScsiCommand *command)
{
    guint type = information_type(command);
    guint32 max = type == TYPE_LABEL ? LU_LABEL_MAX : LU_IDENTIFIER_MAX;

    if (type != TYPE_IDENTIFIER && type != TYPE_LABEL)
        scsi_command_fail_field(command, 10, 7);
    else if (command->data_out_length > max)
        scsi_command_fail_field(command, 6, 7);
    else if (command->data_out_length == 0)
        on_identifying(command);
    else
        spc_receive_list(command, 1, max, spc_set_identifying_information, on_identifying_list);
}

/*
 * Timestamp
 */

#define TIMESTAMP_LENGTH 12

enum {
    ORIGIN_SET = 0x2,      /* by SET TIMESTAMP */
    ORIGIN_EXTERNAL = 0x3, /* by other means: the clock of the machine */
};

static gint64
wall_clock_msec(void)
{
    return g_get_real_time() / 1000;
}

static gboolean
update_report_timestamp(Lu *lu, LuChange *change)
{
    const LuNotes *notes = lu->notes;
    guint8 *data = change->command->data;
    guint64 msec = (guint64)(wall_clock_msec() + notes->clock_offset);

    put_be16(data, TIMESTAMP_LENGTH - 2);
    data[2] = notes->is_clock_set ? ORIGIN_SET : ORIGIN_EXTERNAL;
    put_be16(data + 4, (guint16)(msec >> 32));
    put_be32(data + 6, (guint32)msec);
    change->command->step = TIMESTAMP_LENGTH;
    return FALSE;
}

void
spc_report_timestamp(ScsiCommand *command)
{
    if (scsi_command_take_zeroed(command, REPLY_ROOM, spc_report_timestamp))
        run_errand(command, update_report_timestamp, SENSE_NONE, reply_noted);
}

static gboolean
update_set_timestamp(Lu *lu, LuChange *change)
{
    const guint8 *data = change->command->data;
    gint64 msec = (gint64)get_be16(data + 4) << 32 | get_be32(data + 6);

    lu->notes->clock_offset = msec - wall_clock_msec();
    lu->notes->is_clock_set = TRUE;
    return TRUE;
}

static void
on_timestamp(ScsiCommand *command)
{
    run_errand(command, update_set_timestamp, SENSE_TIMESTAMP_CHANGED, spc_finish_list);
}

void
spc_set_timestamp(ScsiCommand *command)
{
    spc_receive_list(command, TIMESTAMP_LENGTH, TIMESTAMP_LENGTH, spc_set_timestamp, on_timestamp);
}

/*
 * READ BUFFER and WRITE BUFFER
 */

enum {
    BUFFER_DATA = 0x02,
    BUFFER_DESCRIPTOR = 0x03,
    BUFFER_ECHO = 0x0a,
    BUFFER_ECHO_DESCRIPTOR = 0x0b,
};

static guint
buffer_mode(const ScsiCommand *command)
{
    return command->cdb[1] & 0x1f;
}

static guint32
buffer_offset(const ScsiCommand *command)
{
    return get_be24(command->cdb + 3);
}

static gboolean
update_read_buffer(Lu *lu, LuChange *change)
{
    ScsiCommand *command = change->command;
    guint32 offset = buffer_offset(command);

    memcpy(command->data, lu->notes->buffer + offset, LU_BUFFER_SIZE - offset);
    command->step = LU_BUFFER_SIZE - offset;
    return FALSE;
}

static void
read_echo(ScsiCommand *command)
{
    const NexusLun *nexus_lun = command->nexus_lun;

    /* Nothing was written that could come back */
    if (nexus_lun->echo == NULL) {
        scsi_command_fail(command, SENSE_COMMAND_SEQUENCE);
        return;
    }

    memcpy(command->data, nexus_lun->echo, nexus_lun->echo_length);
    command->step = nexus_lun->echo_length;
    reply_noted(command);
}

/* Both with byte granularity. EBOS: nobody else writes this nexus' echo buffer. */
static void
read_descriptor(ScsiCommand *command)
{
    if (buffer_mode(command) == BUFFER_ECHO_DESCRIPTOR) {
        command->data[0] = 0x01;
        put_be16(command->data + 2, LU_ECHO_SIZE);
    } else if (command->cdb[2] == 0) {
        put_be24(command->data + 1, LU_BUFFER_SIZE);
    }
    command->step = 4;
    reply_noted(command);
}

/* FALSE when it failed the command */
static gboolean
check_place(ScsiCommand *command, guint64 length)
{
    if (command->cdb[2] != 0) {
        scsi_command_fail_field(command, 2, 7);
        return FALSE;
    }
    if (buffer_offset(command) > LU_BUFFER_SIZE) {
        scsi_command_fail_field(command, 3, 7);
        return FALSE;
    }
    if (length > LU_BUFFER_SIZE - buffer_offset(command)) {
        scsi_command_fail_field(command, 6, 7);
        return FALSE;
    }

    return TRUE;
}

void
spc_read_buffer(ScsiCommand *command)
{
    guint mode = buffer_mode(command);

    if (mode != BUFFER_DATA && mode != BUFFER_DESCRIPTOR && mode != BUFFER_ECHO &&
        mode != BUFFER_ECHO_DESCRIPTOR) {
        scsi_command_fail_field(command, 1, 4);
        return;
    }
    if (mode == BUFFER_DATA && !check_place(command, 0))
        return;
    if (!scsi_command_take_zeroed(command, REPLY_ROOM, spc_read_buffer))
        return;

    if (mode == BUFFER_DATA)
        run_errand(command, update_read_buffer, SENSE_NONE, reply_noted);
    else if (mode == BUFFER_ECHO)
        read_echo(command);
    else
        read_descriptor(command);
}

static gboolean
update_write_buffer(Lu *lu, LuChange *change)
{
    const ScsiCommand *command = change->command;

    memcpy(lu->notes->buffer + buffer_offset(command), command->data, command->data_length);
    return FALSE;
}

static void
on_buffer(ScsiCommand *command)
{
    NexusLun *nexus_lun = command->nexus_lun;

    if (buffer_mode(command) == BUFFER_DATA) {
        run_errand(command, update_write_buffer, SENSE_NONE, spc_finish_list);
        return;
    }

    /* Once for a nexus, when it asks for it first */
    if (nexus_lun->echo == NULL)
        nexus_lun->echo = g_malloc0(LU_ECHO_SIZE);
    memcpy(nexus_lun->echo, command->data, command->data_length);
    nexus_lun->echo_length = command->data_length;
    spc_finish_list(command);
}

void
spc_write_buffer(ScsiCommand *command)
{
    guint mode = buffer_mode(command);

    if (mode != BUFFER_DATA && mode != BUFFER_ECHO)
        scsi_command_fail_field(command, 1, 4);
    else if (mode == BUFFER_ECHO && command->data_out_length > LU_ECHO_SIZE)
        scsi_command_fail_field(command, 6, 7);
    else if (mode == BUFFER_ECHO || check_place(command, command->data_out_length))
        spc_receive_list(command, 1, LU_BUFFER_SIZE, spc_write_buffer, on_buffer);
}
