/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * A TCP port of 127.0.0.1 for a test that has to name one before it is listened on
 *
 * A port that the kernel chose and that was closed again belongs to anybody: the
 * next connection that another test makes may leave from it, and listening fails.
 * So these ports lie below those that the kernel gives to connections, and the UDP
 * port of the same number is held until the process ends, by which tests that run
 * at the same time keep out of each other's way.
 */
guint16 free_port_reserve(void);
