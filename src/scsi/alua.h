/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "scsi/lu-shard.h"

/*
 * Asymmetric logical unit access: the part that the gates and the nexus need
 */

/* The state of the target port group through which @nexus came */
AluaState alua_get_state(const Nexus *nexus);

/* The relative identifier of the target port in @group */
guint16 alua_group_port(const Nexus *nexus, const AluaGroup *group);

/* Why @command is refused in the state of its port group; SENSE_NONE: it is not */
SenseCode alua_refuses(const ScsiCommand *command);

/* Whether an initiator that has read the groups of @old should read them again */
gboolean alua_has_changed(const LunMap *old, const LunMap *map);
