/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * Snapshots: immutable data that several threads read
 *
 * A snapshot is built by one thread, sent by message, and freed when the last
 * reference is dropped, on whatever thread that is. References are taken and
 * dropped per configuration change and per session, never per command.
 */

typedef struct Snapshot Snapshot;

struct Snapshot {
    gint n_refs; /* atomic */
    void (*free)(Snapshot *snapshot);
};

void snapshot_init(Snapshot *snapshot, void (*free)(Snapshot *snapshot)); /* one reference */
Snapshot *snapshot_ref(Snapshot *snapshot);
void snapshot_unref(Snapshot *snapshot); /* NULL is ignored */
