/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "scsi/pr-request.h"

#include <string.h>

#include "scsi/lu-shard.h"
#include "scsi/pr-known.h"

static PrRequest *
request_of(LuReset *reset)
{
    return list_entry(reset, PrRequest, reset);
}

/*
 * On the worker of the command
 */

static void
finish(ScsiCommand *command)
{
    const PrRequest *request = (const PrRequest *)(gconstpointer)command->scratch;

    if (request->status == SCSI_CHECK_CONDITION) {
        Sense sense = request->sense;

        scsi_command_fail_sense(command, &sense);
        return;
    }

    command->transfer_length = command->done_bytes;
    scsi_command_finish(command, request->status);
}

static void
send(PrRequest *request)
{
    request->reset.is_stale = FALSE;
    request->reset.abort_generation = request->command->nexus_lun->shard->abort_generation;
    lu_reset_start(&request->reset);
}

static void
on_done(LuReset *reset)
{
    PrRequest *request = request_of(reset);

    if (reset->is_stale && !request->command->aborted)
        send(request);
    else
        scsi_command_errand_ended(request->command, finish);
}

/* Home */
static void
on_run(LuReset *reset)
{
    PrRequest *request = request_of(reset);

    request->decide(request, reset->lu->reservations);
}

void
pr_request_send(ScsiCommand *command, void (*decide)(PrRequest *, const Reservations *))
{
    PrRequest *request;

    G_STATIC_ASSERT(sizeof(PrRequest) <= POOL_BUFFER_MIN);

    if (!scsi_command_take_scratch(command, POOL_BUFFER_MIN)) {
        scsi_command_finish(command, SCSI_BUSY);
        return;
    }

    request = (PrRequest *)(gpointer)command->scratch;
    memset(request, 0, sizeof(*request));
    request->command = command;
    request->decide = decide;
    nexus_name_init(&request->nexus, command->nexus);
    request->reset.lu = scsi_command_lu(command);
    request->reset.run = on_run;
    request->reset.is_command = TRUE;
    request->reset.reply_to = &command->nexus->worker->inbox;
    request->reset.done = on_done;
    scsi_command_errand_started(command);
    send(request);
}

/*
 * Home
 */

void
pr_end(PrRequest *request, ScsiStatus status)
{
    request->status = status;
    pr_known_clear(request);
    lu_manage_end(request->reset.lu);
}

void
pr_fail(PrRequest *request, SenseCode code)
{
    request->sense = (Sense){ .code = code };
    pr_end(request, SCSI_CHECK_CONDITION);
}

static void
fail_field(PrRequest *request, SenseCode code, gboolean in_cdb, guint byte, gint bit)
{
    request->sense = (Sense){
        .code = code,
        .field = { .valid = TRUE, .in_cdb = in_cdb, .byte = (guint16)byte, .bit = (gint8)bit },
    };
    pr_end(request, SCSI_CHECK_CONDITION);
}

void
pr_fail_parameter(PrRequest *request, guint byte, gint bit)
{
    fail_field(request, SENSE_INVALID_FIELD_IN_PARAMETERS, FALSE, byte, bit);
}

void
pr_fail_cdb(PrRequest *request, guint byte, gint bit)
{
    fail_field(request, SENSE_INVALID_FIELD_IN_CDB, TRUE, byte, bit);
}

static void
on_changed(Lu *lu, gboolean success)
{
    ListLink *link = list_first(&lu->resets);
    PrRequest *request;

    g_assert(link != NULL);
    request = list_entry(link, PrRequest, reset.link);
    if (success)
        pr_end(request, SCSI_GOOD);
    else
        pr_fail(request, SENSE_INTERNAL_TARGET_FAILURE);
}

void
pr_change(PrRequest *request, ReservationChange *change)
{
    change->cause = &request->nexus;
    change->done = on_changed;
    reservation_change(request->reset.lu, change);
}
