/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "iscsi/server.h"

/*
 * Sessions that are asked to log out: one worker's part of a request
 */

/* Ask the sessions that @order means, and drop those that are left when the time is over */
void drain_start(Order *order);

/* Whether the request is over here: all have gone, or it was cancelled */
gboolean drain_is_over(const Order *order);

/* It is over: end its timer */
void drain_end(Order *order);

/* The request of that number is not wanted any more: it is over when it is looked at next */
void drain_cancel(Server *server, guint32 request);
