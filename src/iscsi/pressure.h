/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "iscsi/server.h"

/*
 * When a worker's buffers are short: who keeps some for nothing gives way (pressure.c)
 */

/* On the server's worker: look out for those who wait for a buffer, from now on and no more */
void pressure_start(Server *server);
void pressure_stop(Server *server);

/* There was no buffer for what came, and it could not wait */
void pressure_refused(Server *server);

/* @max, or less when the pool of @server has not much left */
gsize pressure_share(const Server *server, gsize max);
