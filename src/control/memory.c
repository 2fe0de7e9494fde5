/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Memory that the allocator keeps
 *
 * What thousands of sessions needed is free when they are gone, but it lies
 * between what is still in use, and the allocator gives only the end of its
 * heap back by itself. So when many sessions have ended and no more end for a
 * while, it is asked to give back every page that is free.
 */

#include <malloc.h>

#include "control/service-private.h"

#define SESSIONS_MIN 100 /* fewer are not worth it */
#define WAIT_SECONDS 5

static gboolean
on_quiet(gpointer data)
{
    Service *service = data;

    service->memory_timer = 0;
    service->n_ended = 0;
    (void)malloc_trim(0);
    return G_SOURCE_REMOVE;
}

void
memory_note_end(Service *service)
{
    if (++service->n_ended < SESSIONS_MIN || service->stopping)
        return;

    memory_stop(service);
    service->memory_timer = g_timeout_add_seconds(WAIT_SECONDS, on_quiet, service);
}

void
memory_stop(Service *service)
{
    g_clear_handle_id(&service->memory_timer, g_source_remove);
}
