/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "iscsi/credentials.h"
#include "scsi/lu.h"
#include "util/address.h"
#include "util/network.h"

/*
 * Access rules: who may log in to a target, with what proof, and what he sees
 *
 * A rule fits an initiator when all that it names fits: one of its names (or
 * patterns), one of its networks, one of its portal groups. What a rule does
 * not name fits always. Which of the rules that fit holds:
 *
 *     1. a rule that denies, whatever the others say
 *     2. the first rule that has the initiator's name as it is
 *     3. the first rule that has it by a pattern, or names no initiators
 *     4. none: the target's access mode, closed or open
 *
 * "First" is the order of the list, in which administrators see the rules too.
 */

#define ACCESS_RULES_MAX 1024 /* of a target; who makes the list refuses more */

typedef enum {
    ACCESS_ALLOW,
    ACCESS_DENY,
} AccessAction;

typedef enum {
    ACCESS_AUTH_TARGET, /* as the target has it */
    ACCESS_AUTH_NONE,   /* no proof is asked for */
    ACCESS_AUTH_CHAP,   /* by an account of the rule */
} AccessAuth;

typedef struct {
    guint32 id;  /* comes back in events; not 0 */
    char *label; /* for the journal */
    AccessAction action;
    char **names; /* NULL-terminated; normalised, see pattern_check_name(); NULL: whoever */
    Network *networks;
    guint n_networks;
    guint16 *tags; /* portal groups */
    guint n_tags;

    /* of a rule that allows */
    AccessAuth auth;
    Credentials *credentials; /* a reference; with ACCESS_AUTH_CHAP */
    LunMap *map;              /* a reference; NULL: the target's */
} AccessRule;

/* Frees what the rule owns, not the rule */
void access_rule_clear(AccessRule *rule);

/* Who wants in */
typedef struct {
    const char *initiator_name; /* normalised */
    const Address *address;     /* of the initiator */
    guint16 tag;                /* portal group of the connection */
} AccessRequest;

typedef enum {
    ACCESS_NO_RULE,
    ACCESS_DENIED,
    ACCESS_ALLOWED,
} AccessResult;

/**
 * access_find() - the rule that holds
 * @ret_rule: NULL with ACCESS_NO_RULE
 */
AccessResult access_find(const AccessRule *rules, guint n_rules, const AccessRequest *request,
                         const AccessRule **ret_rule);

/* A row of a LUN map: what initiators find at @lun is the target's @target_lun */
typedef struct {
    guint16 lun;
    guint16 target_lun;
    gboolean read_only;
} AccessLun;

/**
 * access_map_new() - the units of a target as a rule shows them
 * @map: the target's, complete with its port group states
 * @luns: in any order; those whose target_lun the target does not have (now) are left out, of two
 *     with one number the first counts. NULL: all of @map.
 * @read_only: all units, whatever else is said
 *
 * Returns: one reference
 */
LunMap *access_map_new(const LunMap *map, const AccessLun *luns, guint n_luns, gboolean read_only);

/**
 * access_map_keep() - what is left of the units a session had
 * @had: what it has seen so far
 * @map: the target's now
 *
 * For a session whom no rule would let in any more and that is not closed: it keeps what it had as
 * far as the target still has it, and nothing is added.
 *
 * Returns: one reference
 */
LunMap *access_map_keep(const LunMap *had, const LunMap *map);
