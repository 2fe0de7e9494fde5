/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "scsi/operation.h"
#include "scsi/reservation.h"

/*
 * A command that reads or changes reservations at the home worker
 *
 * @decide runs there when the command's turn has come, and nothing else is
 * under way on the unit until it calls one of pr_end(), pr_fail() and
 * pr_change(). It may read the command's parameter data: their owner waits. The
 * struct lies in the command's scratch buffer.
 */

typedef struct PrRequest PrRequest;

struct PrRequest {
    LuReset reset;
    ScsiCommand *command;
    NexusName nexus; /* who asks */
    void (*decide)(PrRequest *request, const Reservations *now);

    /* See pr-known.h */
    const guint8 *ids;
    guint32 n_id_bytes;
    void (*found)(PrRequest *request);
    NexusName *known;
    guint n_known;

    /* The outcome */
    ScsiStatus status;
    Sense sense;
};

/* On the worker of the command; ends the command when all is done */
void pr_request_send(ScsiCommand *command,
                     void (*decide)(PrRequest *request, const Reservations *now));

void pr_end(PrRequest *request, ScsiStatus status);
void pr_fail(PrRequest *request, SenseCode code);
void pr_fail_parameter(PrRequest *request, guint byte, gint bit);
void pr_fail_cdb(PrRequest *request, guint byte, gint bit);

/* @change->cause and done are set here; GOOD when it is in force */
void pr_change(PrRequest *request, ReservationChange *change);

static inline const Lu *
pr_lu(const PrRequest *request)
{
    return request->reset.lu;
}
