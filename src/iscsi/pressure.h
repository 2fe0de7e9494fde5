/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "iscsi/server.h"

/*
 * When a worker's buffers are short
 *
 * A session may hold buffers for as long as its initiator does not read, or
 * does not send what it was asked for. One session has a share of the pool,
 * and the share is less the less there is left: nobody has more than half of
 * what is free, but for one command, so that sessions who have nothing still get
 * something. Against very many sessions that is no help. While commands wait for
 * buffers, the worker looks once a second whether there are connections on
 * which nothing has moved for some seconds, and closes them: what others wait for
 * comes back at once instead of when a ping was not answered. When that was not
 * enough, because there are more of the kind, patience is shorter.
 */

void pressure_init(Server *server);
void pressure_deinit(Server *server);

/* Somebody may have begun to wait for a buffer */
void pressure_check(Server *server);

/* @max, or less when the pool of @server has not much left */
gsize pressure_share(const Server *server, gsize max);
