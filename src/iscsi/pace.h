/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * How fast something moves: looked at now and then by pressure.c. All zero: it was not looked at.
 */
typedef struct {
    gint64 began_at; /* when it was looked at first, without a break */
    gint64 looked_at;
    gint64 paid_until; /* what has moved is enough up to this time */
    guint64 moved;
} Pace;
