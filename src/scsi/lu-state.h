/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * What commands can change about a logical unit as a whole
 *
 * A few bytes, copied rather than referred to: the home worker holds the
 * original, every shard a copy that its worker reads on the way of each
 * command. See scsi/lu-change.h for how they are changed.
 */

/* The mode parameters that can be changed; each is one bit of a page */
typedef enum {
    MODE_D_SENSE, /* control: sense data in descriptor format */
    MODE_SWP,     /* control: software write protect */
    MODE_WCE,     /* caching: writes may be answered before they are durable */
    MODE_N_PARAMETERS,
} ModeParameter;

#define MODE_BIT(parameter) ((guint8)(1U << (parameter)))

/* Values of POWER CONDITION that are remembered */
typedef enum {
    POWER_ACTIVE = 0x1,
    POWER_IDLE = 0x2,
    POWER_STANDBY = 0x3,
} PowerCondition;

typedef struct {
    guint8 mode; /* MODE_BIT of each parameter that is set */
    guint8 power_condition;
    gboolean is_ejected; /* the medium: removable units only */
    guint64 size;        /* bytes */
} LuState;

/* Whether some commands are refused that were not at first */
static inline gboolean
lu_state_is_restricted(const LuState *state)
{
    return state->is_ejected || (state->mode & MODE_BIT(MODE_SWP)) != 0;
}

static inline gboolean
lu_state_has(const LuState *state, ModeParameter parameter)
{
    return (state->mode & MODE_BIT(parameter)) != 0;
}
