/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * Hand-over: a connection goes to the worker of the session that it joins
 */

typedef struct Connection Connection;
typedef struct Server Server;

/**
 * handover_send() - give @connection to @to, for the session with TSIH @tsih
 *
 * Its login waits for its last answer (CONNECTION_CLAIMING), so nothing is read and nothing is on its
 * way out. The worker must not touch it afterwards.
 */
void handover_send(Connection *connection, Server *to, guint16 tsih);
