/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "scsi/lu-shard.h"

/*
 * Siblings: what a nexus reaches of other targets
 *
 * The copy manager copies between any two units of the service that its
 * initiator may use. Those of its own target are on its nexus. For a unit of
 * another target there is a sibling: a nexus with that unit alone, as the
 * initiator would have it if it logged in there, for the time of the copy.
 *
 *     nexus_lun = sibling_take(nexus, is_wanted, wanted);
 *     ... inner commands on nexus_lun->nexus ...
 *     sibling_give(nexus_lun->nexus);
 *
 * Whether it could log in, and what it would see, the transport says
 * (NexusConfig.reach). It is asked again whenever a target changes.
 */

/**
 * sibling_take() - the unit at another target for which @is_wanted says so
 *
 * Returns: kept until sibling_give(), though the unit may leave it; NULL: there is none, or the
 * initiator may not use it, which it cannot tell apart
 */
NexusLun *sibling_take(Nexus *nexus, LuMatchFn is_wanted, gconstpointer wanted);

/* All commands that it was taken for have ended. What is no sibling is left as it is. */
void sibling_give(Nexus *sibling);

static inline gboolean
nexus_is_sibling(const Nexus *nexus)
{
    return nexus->owner != NULL;
}

/* For nexus.c */
void siblings_init(Nexus *nexus);
void siblings_deinit(Nexus *nexus); /* asserts that none is in use */
