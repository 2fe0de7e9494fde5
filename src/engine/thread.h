/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/**
 * thread_start() - a thread that no signal is ever delivered to
 *
 * Returns: the thread, or NULL with an error when there are too many
 */
GThread *thread_start(const char *name, GThreadFunc fn, void *data, GError **ret_error);
