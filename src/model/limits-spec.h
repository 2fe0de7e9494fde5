/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "model/schema.h"

/*
 * What peers may use of the service, as the administrator says: a part of SettingsSpec
 *
 * Times are seconds, sizes bytes. What each means is said by its row in schema.c.
 */
typedef struct {
    guint32 max_connections;
    guint32 max_logins;
    guint32 max_logins_per_address;
    guint32 login_timeout;
    guint32 silence_timeout;
    guint32 pdu_timeout;
    guint32 peer_timeout;
    guint32 max_sessions;
    guint32 max_sessions_per_target;
    guint32 max_text_size;
    guint32 max_ahs_size;
    guint64 max_session_bytes;
    guint64 max_bytes;
} LimitsSpec;

/* Whether the row is that of a limit, and the row of the limit of that name ("max-logins"), or NULL */
gboolean limits_spec_has_row(const SchemaOption *option);
const SchemaOption *limits_spec_find(const char *name);
