/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "ctl/client.h"
#include "ctl/output.h"

/*
 * The verbs of lunctl
 *
 * One row of the table in verbs.c is a verb: its words, its arguments, its
 * options, its help and its function. Dispatch, --help, completion and the
 * tests read the table.
 */

typedef enum {
    OPTION_STRING,
    OPTION_SIZE, /* "1G" becomes t */
    OPTION_TIME, /* "5s", "200ms" becomes t, µs */
    OPTION_UINT32,
    OPTION_FLAG,     /* no value: TRUE */
    OPTION_FLAG_NOT, /* no value: FALSE */
} OptionType;

typedef struct {
    const char *name; /* as typed, without dashes */
    const char *key;  /* of the a{sv} options of the method */
    OptionType type;
    const char *help;
} VerbOption;

typedef struct {
    Client client;
    Output output;
    int argc; /* arguments of the verb, options removed */
    char **argv;
    GVariant *options; /* a{sv} of the options given, by their key */
} Ctl;

typedef struct {
    const char *noun;      /* "target", or a verb without a noun: "status" */
    const char *verb;      /* "create", or NULL */
    const char *arguments; /* "IQN", for the help */
    int min_arguments;
    int max_arguments;         /* -1: any number */
    const VerbOption *options; /* ends with a NULL name; NULL: none */
    gboolean (*run)(Ctl *ctl, GError **ret_error);
    const char *help;
} Verb;

const Verb *verbs_get(gsize *ret_n_verbs);
const Verb *verbs_find(const char *noun, const char *verb);

/**
 * verbs_parse_options() - take the --options of @verb out of @argv
 * @ret_options: a{sv}, owned
 *
 * What is left in @argv are the arguments, their number in @argc.
 */
gboolean verbs_parse_options(const Verb *verb, int *argc, char **argv, GVariant **ret_options,
                             GError **ret_error);

/* Verbs, by the file that has them */
gboolean backstore_verb_create(Ctl *ctl, GError **ret_error);
gboolean backstore_verb_delete(Ctl *ctl, GError **ret_error);
gboolean backstore_verb_resize(Ctl *ctl, GError **ret_error);
gboolean backstore_verb_flush(Ctl *ctl, GError **ret_error);
gboolean backstore_verb_verify(Ctl *ctl, GError **ret_error);
gboolean backstore_verb_load(Ctl *ctl, GError **ret_error);
gboolean backstore_verb_eject(Ctl *ctl, GError **ret_error);
gboolean backstore_verb_offline(Ctl *ctl, GError **ret_error);
gboolean backstore_verb_online(Ctl *ctl, GError **ret_error);
gboolean backstore_verb_read_only(Ctl *ctl, GError **ret_error);
gboolean backstore_verb_writable(Ctl *ctl, GError **ret_error);
gboolean backstore_verb_fault(Ctl *ctl, GError **ret_error);
gboolean backstore_verb_list(Ctl *ctl, GError **ret_error);
gboolean backstore_verb_show(Ctl *ctl, GError **ret_error);
gboolean target_verb_create(Ctl *ctl, GError **ret_error);
gboolean target_verb_delete(Ctl *ctl, GError **ret_error);
gboolean target_verb_disable(Ctl *ctl, GError **ret_error);
gboolean target_verb_enable(Ctl *ctl, GError **ret_error);
gboolean target_verb_portal_groups(Ctl *ctl, GError **ret_error);
gboolean target_verb_redirect(Ctl *ctl, GError **ret_error);
gboolean target_verb_list(Ctl *ctl, GError **ret_error);
gboolean target_verb_set(Ctl *ctl, GError **ret_error);
gboolean target_verb_show(Ctl *ctl, GError **ret_error);
gboolean access_verb_open(Ctl *ctl, GError **ret_error);
gboolean access_verb_close(Ctl *ctl, GError **ret_error);
gboolean target_verb_auth(Ctl *ctl, GError **ret_error);
gboolean access_verb_allow(Ctl *ctl, GError **ret_error);
gboolean access_verb_deny(Ctl *ctl, GError **ret_error);
gboolean access_verb_remove(Ctl *ctl, GError **ret_error);
gboolean access_verb_secret(Ctl *ctl, GError **ret_error);
gboolean access_verb_luns(Ctl *ctl, GError **ret_error);
gboolean access_verb_read_only(Ctl *ctl, GError **ret_error);
gboolean access_verb_writable(Ctl *ctl, GError **ret_error);
gboolean access_verb_list(Ctl *ctl, GError **ret_error);
gboolean account_verb_set(Ctl *ctl, GError **ret_error);
gboolean account_verb_remove(Ctl *ctl, GError **ret_error);
gboolean account_verb_list(Ctl *ctl, GError **ret_error);
gboolean group_verb_create(Ctl *ctl, GError **ret_error);
gboolean group_verb_add(Ctl *ctl, GError **ret_error);
gboolean group_verb_remove(Ctl *ctl, GError **ret_error);
gboolean group_verb_delete(Ctl *ctl, GError **ret_error);
gboolean group_verb_list(Ctl *ctl, GError **ret_error);
gboolean discovery_verb_auth(Ctl *ctl, GError **ret_error);
gboolean discovery_verb_show(Ctl *ctl, GError **ret_error);
gboolean chap_verb_algorithms(Ctl *ctl, GError **ret_error);
gboolean lun_verb_add(Ctl *ctl, GError **ret_error);
gboolean lun_verb_list(Ctl *ctl, GError **ret_error);
gboolean lun_verb_remove(Ctl *ctl, GError **ret_error);
gboolean lun_verb_read_only(Ctl *ctl, GError **ret_error);
gboolean lun_verb_writable(Ctl *ctl, GError **ret_error);
gboolean lun_verb_show(Ctl *ctl, GError **ret_error);
gboolean lun_verb_registrations(Ctl *ctl, GError **ret_error);
gboolean lun_verb_clear_reservations(Ctl *ctl, GError **ret_error);
gboolean lun_verb_reset(Ctl *ctl, GError **ret_error);
gboolean portal_verb_add(Ctl *ctl, GError **ret_error);
gboolean portal_verb_list(Ctl *ctl, GError **ret_error);
gboolean portal_verb_show(Ctl *ctl, GError **ret_error);
gboolean portal_verb_pause(Ctl *ctl, GError **ret_error);
gboolean portal_verb_resume(Ctl *ctl, GError **ret_error);
gboolean portal_verb_alua(Ctl *ctl, GError **ret_error);
gboolean portal_verb_remove(Ctl *ctl, GError **ret_error);
gboolean isns_verb_set(Ctl *ctl, GError **ret_error);
gboolean isns_verb_show(Ctl *ctl, GError **ret_error);
gboolean session_verb_list(Ctl *ctl, GError **ret_error);
gboolean session_verb_show(Ctl *ctl, GError **ret_error);
gboolean session_verb_terminate(Ctl *ctl, GError **ret_error);
gboolean session_verb_logout(Ctl *ctl, GError **ret_error);
gboolean job_verb_list(Ctl *ctl, GError **ret_error);
gboolean job_verb_show(Ctl *ctl, GError **ret_error);
gboolean job_verb_cancel(Ctl *ctl, GError **ret_error);
gboolean limits_verb_list(Ctl *ctl, GError **ret_error);
gboolean limits_verb_set(Ctl *ctl, GError **ret_error);
gboolean status_verb(Ctl *ctl, GError **ret_error);
gboolean stats_verb(Ctl *ctl, GError **ret_error);
gboolean export_verb(Ctl *ctl, GError **ret_error);

/* Shared by verbs */

/* "1,7": the paths of these portal groups as ao, floating; NULL with an error, also for no tag at all */
GVariant *verbs_parse_portal_groups(const char *text, GError **ret_error);

/* "200ms", "5s", "2min", or seconds */
gboolean verbs_parse_time(const char *text, guint64 *ret_usec, GError **ret_error);

/* The key of --no-wait */
#define JOB_WAIT_KEY "wait"

/* job.c: wait for the job whose path is in @reply, (o), unless told not to; “/” is none. FALSE when it
 * does not end well. */
gboolean job_follow(Ctl *ctl, GVariant *reply, GError **ret_error);

/* limits.c: which limits peers have run into, as ListLimitHits has it; owned */
GVariant *limits_get_hits(Ctl *ctl, GError **ret_error);

/* fault.c: the property Faults, a sentence each; as, floating */
GVariant *fault_describe_all(GVariant *faults);

/* "Target X" and so on: a list call of Manager with @columns naming the tuple's fields; aa{sv}, floating */
GVariant *verbs_rows(GVariant *list, const char *const *keys, gsize n_keys);
/* ListTargets, ListBackstores, ListPortals, ListSessions: the array of tuples, owned */
GVariant *verbs_list(Ctl *ctl, const char *method, GError **ret_error);
/* Targets, backstores, portals and sessions with the names of their fields: aa{sv}, floating */
GVariant *verbs_list_rows(Ctl *ctl, const char *method, GError **ret_error);
