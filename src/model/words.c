/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Words for the bus and for people */

#include "model/model.h"

static const char *const kind_names[MODEL_KIND_N] = {
    [MODEL_SERVICE] = "service",
    [MODEL_BACKSTORE] = "backstore",
    [MODEL_TARGET] = "target",
    [MODEL_LUN] = "logical unit",
    [MODEL_PORTAL_GROUP] = "portal group",
    [MODEL_PORTAL] = "portal",
    [MODEL_SESSION] = "session",
    [MODEL_CONNECTION] = "connection",
    [MODEL_ACL] = "access rule",
    [MODEL_INITIATOR_GROUP] = "initiator group",
    [MODEL_SETTINGS] = "settings",
    [MODEL_JOB] = "job",
};

static const char *const origin_names[MODEL_ORIGIN_N] = {
    [MODEL_ORIGIN_STATE] = "configuration",       [MODEL_ORIGIN_CONFIG] = "configuration",
    [MODEL_ORIGIN_RUNTIME] = "configuration",     [MODEL_ORIGIN_SOCKET_UNIT] = "socket-unit",
    [MODEL_ORIGIN_COMMAND_LINE] = "command-line",
};

static const char *const state_names[] = {
    [MODEL_STATE_STARTING] = "starting",
    [MODEL_STATE_RUNNING] = "running",
    [MODEL_STATE_STOPPING] = "stopping",
};

static const char *const reservation_type_names[] = {
    [1] = "write-exclusive",
    [3] = "exclusive-access",
    [5] = "write-exclusive-registrants-only",
    [6] = "exclusive-access-registrants-only",
    [7] = "write-exclusive-all-registrants",
    [8] = "exclusive-access-all-registrants",
};

static const char *const backstore_state_names[] = {
    [BACKSTORE_OPENING] = "opening",
    [BACKSTORE_ONLINE] = "online",
    [BACKSTORE_OFFLINE] = "offline",
    [BACKSTORE_FAILED] = "failed",
};

static const char *const backstore_medium_names[] = {
    [MEDIUM_FIXED] = "",
    [MEDIUM_LOADED] = "loaded",
    [MEDIUM_EJECTED] = "ejected",
    [MEDIUM_NONE] = "none",
};

static const char *const isns_names[] = {
    [ISNS_OFF] = "off",
    [ISNS_CONNECTING] = "connecting",
    [ISNS_REGISTERED] = "registered",
    [ISNS_UNAVAILABLE] = "unavailable",
};

static const char *const target_state_names[] = {
    [TARGET_DISABLED] = "disabled",
    [TARGET_ONLINE] = "online",
    [TARGET_OFFLINE] = "offline",
};

static const char *const portal_state_names[] = {
    [PORTAL_LISTENING] = "listening",
    [PORTAL_PAUSED] = "paused",
    [PORTAL_FAILED] = "failed",
};

static const char *const session_state_names[] = {
    [SESSION_ACTIVE] = "active",
    [SESSION_CLOSING] = "closing",
};

#define WORD(words, value) word(words, G_N_ELEMENTS(words), value)

static const char *
word(const char *const *words, gsize n, guint value)
{
    g_assert(value < n);
    return words[value];
}

const char *
model_kind_to_string(ModelKind kind)
{
    return WORD(kind_names, kind);
}

const char *
model_origin_to_string(ModelOrigin origin)
{
    return WORD(origin_names, origin);
}

const char *
model_state_to_string(ModelState state)
{
    return WORD(state_names, state);
}

const char *
reservation_type_to_string(guint8 type)
{
    return type < G_N_ELEMENTS(reservation_type_names) && reservation_type_names[type] != NULL
               ? reservation_type_names[type]
               : "";
}

const char *
backstore_state_to_string(BackstoreState state)
{
    return WORD(backstore_state_names, state);
}

const char *
backstore_medium_to_string(BackstoreMedium medium)
{
    return WORD(backstore_medium_names, medium);
}

const char *
model_isns_to_string(ModelIsns state)
{
    return WORD(isns_names, state);
}

const char *
target_state_to_string(TargetState state)
{
    return WORD(target_state_names, state);
}

const char *
portal_state_to_string(PortalState state)
{
    return WORD(portal_state_names, state);
}

const char *
session_state_to_string(SessionState state)
{
    return WORD(session_state_names, state);
}
