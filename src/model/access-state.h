/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * The access states of a target by portal group, as a text of its spec
 *
 * "TAG:STATE[:preferred][:explicit]" by ascending tag, with a space between. A
 * group that is not in it is active-optimized and not preferred.
 */

#define ACCESS_STATES_TEXT_MAX 16383

typedef struct {
    guint16 tag;
    guint8 state;         /* the code that SPC gives it */
    gboolean preferred;   /* the group that initiators should use when several are as good */
    gboolean is_explicit; /* an initiator asked for it */
} AccessState;

/* -1: there is no state of that name */
gint access_state_from_string(const char *text);
const char *access_state_to_string(guint8 state); /* a state of access_state_from_string() */

/* Of AccessState; NULL when the text is not valid */
GArray *access_states_parse(const char *text);
char *access_states_format(const GArray *states);

/* Set or add the one with @state->tag */
void access_states_set(GArray *states, const AccessState *state);

/* Borrowed, or NULL */
const AccessState *access_states_find(const GArray *states, guint16 tag);
