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
    MODE_TAS,     /* control: commands that another nexus aborts are answered with TASK ABORTED */
    MODE_QERR_ABORT, /* control, QERR 01b: a CHECK CONDITION aborts the other commands */
    MODE_QERR_OWN,   /* control, QERR 11b: those of the nexus only, which are all of its task set */
    MODE_N_PARAMETERS,
} ModeParameter;

#define MODE_BIT(parameter) ((guint8)(1U << (parameter)))

/* Power conditions, with the codes of START STOP UNIT; only the last one, which has none, refuses commands */
typedef enum {
    POWER_ACTIVE = 0x1,
    POWER_IDLE = 0x2,
    POWER_STANDBY = 0x3,
    POWER_STOPPED = 0x4,
} PowerCondition;

/* What GET EVENT STATUS NOTIFICATION has to tell a nexus about the medium; codes of the media class */
typedef enum {
    MEDIA_NO_EVENT = 0,
    MEDIA_EJECT_REQUEST = 1,
    MEDIA_NEW = 2,
    MEDIA_REMOVED = 3,
} MediaEvent;

typedef struct {
    guint8 mode;       /* MODE_BIT of each parameter that is set */
    guint8 saved_mode; /* what a reset goes back to */
    guint8 power_condition;
    gboolean read_only;  /* at the wish of the administrator, though the store could be written */
    gboolean is_ejected; /* the medium: removable units only */
    guint64 size;        /* bytes */
} LuState;

/* Whether some commands are refused that were not at first */
static inline gboolean
lu_state_is_restricted(const LuState *state)
{
    return state->is_ejected || state->read_only || state->power_condition == POWER_STOPPED ||
           (state->mode & MODE_BIT(MODE_SWP)) != 0;
}

/* QERR has no value 10b */
static inline gboolean
mode_bits_are_valid(guint8 mode)
{
    return (mode & MODE_BIT(MODE_QERR_OWN)) == 0 || (mode & MODE_BIT(MODE_QERR_ABORT)) != 0;
}

static inline gboolean
lu_state_has(const LuState *state, ModeParameter parameter)
{
    return (state->mode & MODE_BIT(parameter)) != 0;
}
