/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "control/isns.h"

/* The addresses that are registered for @wanted (of IsnsPlanPortal) now: wildcards are those of the
 * machine, loopback and link-local ones only where there is no other or they were announced as such.
 * Of IsnsPortal, without inboxes. */
GArray *isns_portals_expand(const GArray *wanted);

/* @a: or NULL, which is like no other */
gboolean isns_portals_are_equal(const GArray *a, const GArray *b);

/* The first at the address @host, whatever its port, or NULL */
IsnsPortal *isns_portals_find(GArray *portals, const Address *host);
