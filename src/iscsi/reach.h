/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "iscsi/session.h"

/*
 * Reach: what a session's initiator may use of other targets
 *
 * For the copy manager, which copies between units of different targets. It is
 * what a login to the other target would give that came from where the
 * session's connections come from, through the same portal group, with the same
 * proof:
 *
 *   - the target is enabled, can be reached through the portal group and sends
 *     nobody elsewhere from it;
 *   - its access rules let the initiator in, and their LUN map has the unit;
 *   - if it asks for CHAP, an account with the user and the secret by which the
 *     session's initiator has proved itself is good there too.
 *
 * There need not be a session. Limits on their number do not count.
 */

/* A NexusReachFn; the user data is the session */
gboolean reach_find(gpointer session, const char *target_name, LuMatchFn is_wanted,
                    gconstpointer wanted, NexusReach *ret_reach);

/* Something of @session has changed on which it depends; @target_name: NULL: all targets */
void reach_review_session(Session *session, const char *target_name);

/* Of all sessions: @target_name was changed or has gone, or its access rules were changed */
void reach_review(Server *server, const char *target_name);
