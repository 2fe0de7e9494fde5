/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "util/list.h"

/*
 * Waiting for aborted commands whose I/O is still in flight, on one worker
 *
 * Every such command has a number in the order of abortion; a wait covers
 * those of its scope that were aborted before it started.
 */

typedef struct ScsiAbortWait ScsiAbortWait;

struct ScsiAbortWait {
    ListLink link;
    gconstpointer scope; /* a ScsiCommand, a NexusLun or a LuShard */
    guint64 sequence;
    guint n_waiting;
    void (*ended)(ScsiAbortWait *wait);
};
