/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "bus/authority.h"

/*
 * org.freedesktop.LogControl1, which “systemctl service-log-level” and
 * “systemctl service-log-target” use. The interface is systemd's: it has
 * properties that are written. Only root and the user of the service may.
 */

typedef struct LogControl LogControl;

LogControl *log_control_new(GDBusConnection *connection, Authority *authority);

/* After authority_free() */
void log_control_free(LogControl *control);
