/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "model/limits-spec.h"

/*
 * Specs of who may log in: access rules, groups of initiators, and what holds for the whole service
 *
 * As in spec.h: what the administrator asked for. Secrets are in none of them; they live in files of
 * their own, see control/secrets.c.
 */

#define ACL_RULES_MAX          1024 /* of a target */
#define ACL_NETWORKS_MAX       64   /* of a rule */
#define ACL_LUNS_MAX           1024 /* of a rule */
#define ACL_INITIATORS_MAX     512  /* of a group */
#define ACL_GROUP_PREFIX       "@" /* of the name of a rule for a group: no initiator is called so */
#define ACL_LIST_TEXT_MAX      (1 << 17)
#define SETTINGS_NAME          "service" /* the one object of its kind */
#define SETTINGS_ALGORITHM_ALL "SHA3-256 SHA-256 SHA1 MD5"

/* A rule: all that it names must fit */
typedef struct {
    char *initiator;      /* a name or a pattern, normalised; empty with @group */
    char *group;          /* or empty */
    char *action;         /* "allow" or "deny" */
    char *networks;       /* with a space between; empty: from anywhere */
    char *portal_groups;  /* as those of a target */
    char *authentication; /* "Target": as the target has it; "None", "CHAP" */
    gboolean read_only;
    char *lun_map; /* see acl_luns_parse(); empty: all of the target */
} AclSpec;

typedef struct {
    char *name;
    char *initiators; /* names and patterns with a space between */
} InitiatorGroupSpec;

/* What holds for the whole service */
typedef struct {
    char *chap_algorithms;          /* words with a space between */
    char *discovery_authentication; /* "None" or "CHAP" */
    char *isns_server;              /* HOST[:PORT], or empty for none */
    LimitsSpec limits;
} SettingsSpec;

/* What an initiator finds at @lun is the target's @target_lun */
typedef struct {
    guint16 lun;
    guint16 target_lun;
    gboolean read_only;
} AclLun;

AclSpec *acl_spec_new(void);
AclSpec *acl_spec_dup(const AclSpec *spec);
void acl_spec_free(AclSpec *spec);

/* What the rule is called: its initiator, or @ and its group. Unique in a target. Owned by the caller. */
char *acl_spec_dup_name(const AclSpec *spec);
gboolean acl_spec_has_name(const AclSpec *spec, const char *name);
gboolean acl_spec_denies(const AclSpec *spec);
gboolean acl_spec_check(const AclSpec *spec, GError **ret_error);

/* "0:3 1:5:read-only": numbers that initiators see, by ascending order, and the target's; NULL when it is not so */
GArray *acl_luns_parse(const char *text); /* of AclLun */
char *acl_luns_format(const GArray *luns);

/* The lists of rules and groups, as the files have them; NULL-terminated */
char **acl_words_split(const char *text);
gboolean acl_words_contain(const char *text, const char *word);

InitiatorGroupSpec *initiator_group_spec_new(const char *name);
InitiatorGroupSpec *initiator_group_spec_dup(const InitiatorGroupSpec *spec);
void initiator_group_spec_free(InitiatorGroupSpec *spec);

SettingsSpec *settings_spec_new(void);
SettingsSpec *settings_spec_dup(const SettingsSpec *spec);
void settings_spec_free(SettingsSpec *spec);

/* For the rows of the schema */
gboolean acl_check_action(const char *text, GError **ret_error);
gboolean acl_check_authentication(const char *text, GError **ret_error); /* of a rule */
gboolean acl_check_target_authentication(const char *text,
                                         GError **ret_error); /* and of discovery */
gboolean acl_check_networks(const char *text, GError **ret_error);
gboolean acl_check_luns(const char *text, GError **ret_error);
gboolean acl_check_initiators(const char *text, GError **ret_error);
gboolean acl_check_algorithms(const char *text, GError **ret_error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(AclSpec, acl_spec_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(InitiatorGroupSpec, initiator_group_spec_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SettingsSpec, settings_spec_free)
