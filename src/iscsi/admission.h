/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * Admission: from the last request of a login to the session
 */

typedef struct Connection Connection;
typedef struct Session Session;

/* The login of @connection is complete but for the session: ask the registry, then answer it */
void admission_begin(Connection *connection);

/* @connection closes while its login waits for the registry, or for the connection it replaces */
void admission_abandon(Connection *connection);

/**
 * admission_join() - @connection has come to the worker of the session with TSIH @tsih
 *
 * Answers its login: at once, or when nothing that a connection of the same CID had begun can have an
 * effect any more.
 */
void admission_join(Connection *connection, guint16 tsih);

/* What the connection that @connection replaces had begun has ended: answer its login */
void admission_go_on(Connection *connection, Session *session);

/* The session that the login of @connection waits for has gone */
void admission_refuse(Connection *connection);
