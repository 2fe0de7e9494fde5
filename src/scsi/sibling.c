/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Siblings
 *
 * A sibling is a nexus like any other to the unit that it leads to: its
 * commands are in that unit's task sets, see its reservations, the state of the
 * target port group and the write protection that the other target shows, and
 * end with its resets. It has the initiator port of its owner and the target
 * port through which the other target would be reached, so what that pair has
 * registered holds for it. No initiator sees it: unit attentions that it is
 * given go with it, and it is not one of those who are known to be logged in.
 *
 * Its map has one unit, or none once the initiator may not use that any more:
 * the commands are aborted then as for any unit that leaves a map. So what a
 * copy needs of memory does not depend on how much the other target has.
 *
 * A sibling that nobody uses is freed from the event loop, since who gives it
 * back may be inside of a walk over the nexuses of a unit.
 */

#include "scsi/sibling.h"

#include <string.h>

static gboolean
leads_to(const Nexus *sibling, LuMatchFn is_wanted, gconstpointer wanted)
{
    return sibling->map->n_entries > 0 && is_wanted(sibling->map->entries[0].lu, wanted);
}

static Nexus *
find(const Nexus *nexus, LuMatchFn is_wanted, gconstpointer wanted)
{
    list_foreach(link, &nexus->siblings) {
        Nexus *sibling = list_entry(link, Nexus, sibling_link);

        if (leads_to(sibling, is_wanted, wanted))
            return sibling;
    }

    return NULL;
}

static Nexus *
make(Nexus *nexus, LuMatchFn is_wanted, gconstpointer wanted)
{
    NexusReach reach;
    Nexus *sibling;

    if (nexus->reach == NULL || !nexus->reach(nexus->user_data, NULL, is_wanted, wanted, &reach))
        return NULL;

    g_assert(reach.map->n_entries == 1);
    sibling = nexus_new(nexus->worker,
                        &(NexusConfig){
                            .initiator_port_name = nexus->initiator_port_name,
                            .target_name = reach.target_name,
                            .relative_target_port = reach.relative_target_port,
                            .target_port_group = reach.target_port_group,
                        },
                        reach.map);
    snapshot_unref(&reach.map->snapshot);
    sibling->owner = nexus;
    list_append(&nexus->siblings, &sibling->sibling_link);
    return sibling;
}

NexusLun *
sibling_take(Nexus *nexus, LuMatchFn is_wanted, gconstpointer wanted)
{
    Nexus *sibling = find(nexus, is_wanted, wanted);

    if (sibling == NULL)
        sibling = make(nexus, is_wanted, wanted);
    if (sibling == NULL)
        return NULL;

    sibling->n_users++;
    return sibling->luns[0];
}

void
sibling_give(Nexus *sibling)
{
    if (!nexus_is_sibling(sibling))
        return;

    g_assert(sibling->n_users > 0);

    if (--sibling->n_users == 0)
        deferred_run(&sibling->owner->sweep, &sibling->worker->loop);
}

static void
sweep(Nexus *nexus)
{
    list_foreach_safe(link, &nexus->siblings) {
        Nexus *sibling = list_entry(link, Nexus, sibling_link);

        if (sibling->n_users > 0)
            continue;
        list_unlink(&sibling->sibling_link);
        nexus_free(sibling);
    }
}

static void
on_sweep(Deferred *deferred)
{
    sweep(list_entry(deferred, Nexus, sweep));
}

static gboolean
is_same_unit(const Lu *lu, gconstpointer other)
{
    return lu_is_same_unit(lu, other);
}

/* What the initiator finds there now: a reference */
static LunMap *
look_again(const Nexus *sibling)
{
    const Nexus *nexus = sibling->owner;
    const LunMap *map = sibling->map;
    NexusReach reach;

    if (map->n_entries == 0 || !nexus->reach(nexus->user_data, sibling->target_name, is_same_unit,
                                             map->entries[0].lu, &reach))
        return lun_map_new(NULL, 0);
    return reach.map;
}

void
nexus_review_reach(Nexus *nexus, const char *target_name)
{
    list_foreach(link, &nexus->siblings) {
        Nexus *sibling = list_entry(link, Nexus, sibling_link);
        LunMap *map;

        if (target_name != NULL && strcmp(sibling->target_name, target_name) != 0)
            continue;
        map = look_again(sibling);
        nexus_set_map(sibling, map);
        snapshot_unref(&map->snapshot);
    }
}

void
siblings_init(Nexus *nexus)
{
    list_init(&nexus->siblings);
    list_init(&nexus->sibling_link);
    deferred_init(&nexus->sweep, on_sweep);
}

void
siblings_deinit(Nexus *nexus)
{
    deferred_cancel(&nexus->sweep);
    sweep(nexus);
    g_assert(list_is_empty(&nexus->siblings));
}
