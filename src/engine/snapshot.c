/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "engine/snapshot.h"

void
snapshot_init(Snapshot *snapshot, void (*free)(Snapshot *snapshot))
{
    *snapshot = (Snapshot){ .n_refs = 1, .free = free };
}

Snapshot *
snapshot_ref(Snapshot *snapshot)
{
    gint n_before = g_atomic_int_add(&snapshot->n_refs, 1);

    g_assert(n_before > 0);
    return snapshot;
}

void
snapshot_unref(Snapshot *snapshot)
{
    if (snapshot == NULL)
        return;

    g_assert(g_atomic_int_get(&snapshot->n_refs) > 0);
    if (g_atomic_int_dec_and_test(&snapshot->n_refs))
        snapshot->free(snapshot);
}
