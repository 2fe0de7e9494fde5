/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Asymmetric logical unit access
 *
 * A target port group is a portal group of the target. Its state comes with
 * the target's LunMap, so that all units of the target have one state in a
 * group, and a change reaches every nexus with nexus_set_map(). Who changes
 * states is the control thread alone: by itself for the administrator
 * (implicit), or asked by SET TARGET PORT GROUPS (explicit). The latter waits
 * until every worker has the new map:
 *
 *   command's worker            control thread
 *   AluaRequest       ------>   target's file, then SET_TARGET to every worker
 *   status            <------   alua_answer()
 *
 * The answer waits for nothing but the file and for workers to take a map,
 * which they do at once. Who would have to wait for another change of the
 * target is sent away with BUSY: that change may wait for sessions to end,
 * and the session for this command.
 *
 * The initiator that asked is not told of the change on the unit it asked.
 */

#include "scsi/alua.h"

#include <string.h>

#include "scsi/handlers.h"
#include "scsi/operation.h"
#include "scsi/spc.h"
#include "util/bytes.h"

/* What a target port group can be told to be: T_SUP, O_SUP, U_SUP, S_SUP, AN_SUP, AO_SUP */
#define SUPPORTED_STATES 0xcf

#define HEADER_LENGTH          4
#define EXTENDED_HEADER_LENGTH 8
#define GROUP_LENGTH           12 /* with its one port */

enum {
    FORMAT_LENGTH_ONLY = 0,
    FORMAT_EXTENDED = 1,
};

void
lun_map_set_alua(LunMap *map, const AluaGroup *groups, guint n_groups, const AluaControl *control)
{
    g_assert(n_groups <= ALUA_GROUPS_MAX);
    g_free(map->groups);
    map->groups = g_memdup2(groups, n_groups * sizeof(groups[0]));
    map->n_groups = n_groups;
    if (control != NULL)
        map->alua = *control;
}

static const AluaGroup *
find_group(const LunMap *map, guint16 tag)
{
    for (guint i = 0; i < map->n_groups; i++) {
        if (map->groups[i].tag == tag)
            return &map->groups[i];
    }

    return NULL;
}

AluaState
alua_get_state(const Nexus *nexus)
{
    const AluaGroup *group = find_group(nexus->map, nexus->target_port_group);

    return group != NULL ? group->state : ALUA_ACTIVE_OPTIMIZED;
}

guint16
alua_group_port(const Nexus *nexus, const AluaGroup *group)
{
    return group->relative_port != 0 ? group->relative_port : nexus->relative_target_port;
}

SenseCode
alua_refuses(const ScsiCommand *command)
{
    AluaClass class = command->op->alua_class;

    switch (command->nexus->access) {
    case ALUA_ACTIVE_OPTIMIZED:
    case ALUA_ACTIVE_NON_OPTIMIZED:
        return SENSE_NONE;
    case ALUA_STANDBY:
        return class >= ALUA_CLASS_STANDBY ? SENSE_NONE : SENSE_ACCESS_STANDBY;
    case ALUA_UNAVAILABLE:
        return class >= ALUA_CLASS_UNAVAILABLE ? SENSE_NONE : SENSE_ACCESS_UNAVAILABLE;
    case ALUA_OFFLINE:
        return class >= ALUA_CLASS_UNAVAILABLE ? SENSE_NONE : SENSE_NOT_READY_OFFLINE;
    case ALUA_TRANSITIONING:
        return class >= ALUA_CLASS_ALWAYS ? SENSE_NONE : SENSE_ACCESS_TRANSITION;
    }
    g_assert_not_reached();
}

/* Groups that come or go are told by sessions that can be had there */
gboolean
alua_has_changed(const LunMap *old, const LunMap *map)
{
    for (guint i = 0; i < map->n_groups; i++) {
        const AluaGroup *group = &map->groups[i];
        const AluaGroup *before = find_group(old, group->tag);

        if (before != NULL &&
            (before->state != group->state || before->preferred != group->preferred))
            return TRUE;
    }

    return FALSE;
}

/*
 * REPORT TARGET PORT GROUPS
 */

static void
put_group(const AluaGroup *group, guint16 relative_target_port, guint8 *data)
{
    data[0] = (guint8)((group->preferred ? 0x80 : 0) | group->state);
    data[1] = SUPPORTED_STATES;
    put_be16(data + 2, group->tag);
    data[5] = (guint8)group->status;
    data[7] = 1;
    put_be16(data + 10, relative_target_port);
}

void
spc_report_target_port_groups(ScsiCommand *command)
{
    const Nexus *nexus = command->nexus;
    const LunMap *map = nexus->map;
    const AluaGroup own = { .tag = nexus->target_port_group };
    const AluaGroup *groups = map->n_groups > 0 ? map->groups : &own;
    guint n_groups = MAX(map->n_groups, 1);
    guint format = command->cdb[1] >> 5;
    guint32 length = format == FORMAT_EXTENDED ? EXTENDED_HEADER_LENGTH : HEADER_LENGTH;

    G_STATIC_ASSERT(EXTENDED_HEADER_LENGTH + ALUA_GROUPS_MAX * GROUP_LENGTH <= POOL_BUFFER_MIN);

    if (format > FORMAT_EXTENDED) {
        scsi_command_fail_field(command, 1, 7);
        return;
    }
    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, spc_report_target_port_groups))
        return;

    if (format == FORMAT_EXTENDED)
        command->data[4] = 0x10; /* format type; no implicit transition time is promised */
    for (guint i = 0; i < n_groups; i++) {
        put_group(&groups[i], alua_group_port(nexus, &groups[i]), command->data + length);
        length += GROUP_LENGTH;
    }

    put_be32(command->data, length - 4);
    scsi_command_reply(command, length, get_be32(command->cdb + 6));
}

/*
 * SET TARGET PORT GROUPS
 */

#define SET_LENGTH 4
#define SET_MAX    (HEADER_LENGTH + ALUA_GROUPS_MAX * SET_LENGTH)

static AluaRequest *
request_of(const ScsiCommand *command)
{
    return (AluaRequest *)(gpointer)command->scratch;
}

static void
finish_set(ScsiCommand *command)
{
    switch (request_of(command)->result) {
    case ALUA_SET:
        spc_finish_list(command);
        break;
    case ALUA_BUSY:
        scsi_command_finish(command, SCSI_BUSY);
        break;
    case ALUA_FAILED:
        scsi_command_fail(command, SENSE_SET_GROUPS_FAILED);
        break;
    }
}

/* On the worker of the command again */
static void
on_answer(Message *message)
{
    ScsiCommand *command = list_entry(message, AluaRequest, message)->command;

    command->nexus_lun->n_set_groups--;
    scsi_command_errand_ended(command, finish_set);
}

void
alua_answer(AluaRequest *request, AluaResult result)
{
    request->result = result;
    worker_send(request->command->nexus->worker, &request->message, on_answer);
}

/* Control */
static void
on_request(Message *message)
{
    AluaRequest *request = list_entry(message, AluaRequest, message);

    request->fn(request, request->user_data);
}

/* FALSE when it failed the command */
static gboolean
read_change(ScsiCommand *command, guint place, AluaChange *ret_change)
{
    guint state = command->data[place] & 0x0f;

    if (state > ALUA_UNAVAILABLE && state != ALUA_OFFLINE) {
        scsi_command_fail_parameter(command, place, 3);
        return FALSE;
    }

    *ret_change =
        (AluaChange){ .tag = get_be16(command->data + place + 2), .state = (guint16)state };
    if (find_group(command->nexus->map, ret_change->tag) == NULL) {
        scsi_command_fail_parameter(command, place + 2, 7);
        return FALSE;
    }
    return TRUE;
}

static void
send_request(ScsiCommand *command)
{
    AluaRequest *request = request_of(command);
    const AluaControl *control = &command->nexus->map->alua;

    request->command = command;
    request->target_name = command->nexus->target_name;
    request->fn = control->fn;
    request->user_data = control->user_data;
    command->nexus_lun->n_set_groups++;
    scsi_command_errand_started(command);
    command->is_at_control = TRUE;
    mailbox_send(control->to, &request->message, on_request);
}

static void
on_set_list(ScsiCommand *command)
{
    AluaRequest *request;
    guint32 end = command->data_length;

    G_STATIC_ASSERT(sizeof(AluaRequest) <= POOL_BUFFER_MIN);

    if ((end - HEADER_LENGTH) % SET_LENGTH != 0) {
        scsi_command_fail(command, SENSE_PARAMETER_LIST_LENGTH);
        return;
    }
    if (!scsi_command_take_scratch(command, POOL_BUFFER_MIN)) {
        scsi_command_finish(command, SCSI_BUSY);
        return;
    }

    request = request_of(command);
    memset(request, 0, sizeof(*request));
    for (guint place = HEADER_LENGTH; place < end; place += SET_LENGTH) {
        if (!read_change(command, place, &request->changes[request->n_changes++]))
            return;
    }

    if (request->n_changes == 0)
        spc_finish_list(command);
    else
        send_request(command);
}

void
spc_set_target_port_groups(ScsiCommand *command)
{
    if (command->nexus->map->alua.fn == NULL)
        scsi_command_fail_field(command, 1, 4);
    else
        spc_receive_list(command, HEADER_LENGTH, SET_MAX, spc_set_target_port_groups, on_set_list);
}
