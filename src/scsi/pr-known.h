/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "scsi/pr-request.h"

/*
 * Which ports a TransportID without an ISID means
 *
 * SPC-4 (7.6.4.6) has such a TransportID in a REGISTER stand for all initiator ports of that name
 * that the device server knows. Known is here who is logged in to the unit now, through a target
 * port that the registration is for. Who has left is not known any more, though he may be
 * registered still, and no pair of an initiator port and a target port between which there is no
 * session is made up: such a registration nobody could take back, and it would hold an "all
 * registrants" reservation for ever. A name of which nothing is known is refused, since GOOD would
 * tell a cluster that a node has access which has not.
 *
 * REGISTER AND MOVE needs one nexus: the one port of that name that is logged in through that
 * target port; when none is, the one that is registered there. Where there are several it is
 * refused: the reservation would go to one of them by chance.
 */

/**
 * pr_known_find() - who of the initiators in the list is logged in, on all workers
 * @ids: the TransportIDs in the parameter list of the command, judged; @size bytes
 * @found: at the home worker, later or at once, with all in @request->known
 *
 * At the home worker, for the request that is first in the queue. Nobody is asked when the list
 * names no initiator as a whole.
 */
void pr_known_find(PrRequest *request, const guint8 *ids, guint32 size,
                   void (*found)(PrRequest *request));

/* The shard's part of it is freed with the request: see pr_end() */
void pr_known_clear(PrRequest *request);

/**
 * pr_known_one() - the one port of @initiator on a target port
 * @to: its port and target are set; the name is set here
 *
 * Returns: FALSE when there is none, or more than one
 */
gboolean pr_known_one(const PrRequest *request, const Reservations *now, const char *initiator,
                      NexusName *to);
