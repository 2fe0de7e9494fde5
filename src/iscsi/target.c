/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "iscsi/target.h"

#define DEFAULT_QUEUE_DEPTH  128
#define DEFAULT_NOP_INTERVAL 15
#define DEFAULT_NOP_TIMEOUT  15

static void
target_free(Snapshot *snapshot)
{
    IscsiTarget *target = list_entry(snapshot, IscsiTarget, snapshot);

    g_free(target->name);
    g_free(target->alias);
    g_free(target->tags);
    g_free(target->announces);
    if (target->map != NULL)
        snapshot_unref(&target->map->snapshot);
    g_free(target);
}

IscsiTarget *
iscsi_target_new(void)
{
    IscsiTarget *target = g_new0(IscsiTarget, 1);

    snapshot_init(&target->snapshot, target_free);
    iscsi_params_init_offer(&target->params);
    target->queue_depth = DEFAULT_QUEUE_DEPTH;
    target->nop_interval = DEFAULT_NOP_INTERVAL;
    target->nop_timeout = DEFAULT_NOP_TIMEOUT;
    return target;
}
