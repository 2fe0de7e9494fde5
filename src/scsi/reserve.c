/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * RESERVE and RELEASE, the reservations of SPC-2
 *
 * Units report CRH (compatible reservation handling): while there is a
 * persistent reservation, those whom it does not concern get GOOD for these
 * commands, without effect. Otherwise RESERVE and registrations exclude each
 * other.
 */

#include "scsi/handlers.h"
#include "scsi/pr-request.h"

/* TRUE when it was decided: what persistent reservations say about it */
static gboolean
decide_by_registrations(PrRequest *request, const Reservations *now)
{
    gboolean is_registered;
    guint i = 0;

    if (now->n == 0)
        return FALSE;

    is_registered = reservations_find(now, &request->nexus, &i);
    if (is_registered && (reservations_is_holder(now, i) || pr_type_is_shared(now->type)))
        pr_end(request, SCSI_GOOD);
    else
        pr_end(request, SCSI_RESERVATION_CONFLICT);
    return TRUE;
}

static void
set_reserved(PrRequest *request, const Reservations *now, gboolean is_reserved)
{
    ReservationChange change = { .next = reservations_copy(now, 0) };

    change.next->is_reserved = is_reserved;
    change.next->reserved_by = request->nexus;
    pr_change(request, &change);
}

static void
decide_reserve(PrRequest *request, const Reservations *now)
{
    if (decide_by_registrations(request, now))
        return;

    if (!now->is_reserved)
        set_reserved(request, now, TRUE);
    else if (nexus_name_equal(&now->reserved_by, &request->nexus))
        pr_end(request, SCSI_GOOD);
    else
        pr_end(request, SCSI_RESERVATION_CONFLICT);
}

static void
decide_release(PrRequest *request, const Reservations *now)
{
    if (decide_by_registrations(request, now))
        return;

    /* Of others it is asked in vain, which is no error */
    if (now->is_reserved && nexus_name_equal(&now->reserved_by, &request->nexus))
        set_reserved(request, now, FALSE);
    else
        pr_end(request, SCSI_GOOD);
}

void
spc_reserve(ScsiCommand *command)
{
    pr_request_send(command, decide_reserve);
}

void
spc_release(ScsiCommand *command)
{
    pr_request_send(command, decide_release);
}
