/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "iscsi/server.h"

/*
 * When a worker's buffers are short: who keeps some for nothing gives way (pressure.c)
 */

void pressure_init(Server *server);
void pressure_deinit(Server *server);

/* Somebody may have begun to wait for a buffer */
void pressure_check(Server *server);

/* There was no buffer for what came, and it could not wait */
void pressure_refused(Server *server);

/* @max, or less when the pool of @server has not much left */
gsize pressure_share(const Server *server, gsize max);
