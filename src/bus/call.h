/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "bus/authority.h"
#include "bus/tree.h"
#include "control/service.h"
#include "util/list.h"

/*
 * Calls
 *
 * One method call, from its arrival to its answer. A handler of a noun gets it
 * in check() and run(); after run() it belongs to the handler until
 * call_return() or call_fail() takes it back.
 */

typedef struct {
    Service *service;
    Tree *tree;
    Authority *authority;
    List calls; /* of Call */
} CallContext;

struct Call {
    ListLink link;
    CallContext *context;              /* NULL when the bus has gone: the answer goes nowhere */
    GDBusMethodInvocation *invocation; /* NULL when the bus has gone */
    const Noun *noun;
    const MethodRow *method;
    const char *action; /* of the XML */
    char *path;         /* the object that was called */
    Key key;
    GVariant *parameters; /* without the options */
    Options options;
    GVariantBuilder *details; /* a{ss}, while they are collected */
    GVariant *asked;          /* the details that polkit was asked about */
    char *planned;            /* what a dry run of a creating method answers */
    char *operation;          /* “Target.Enable”, for polkit */
    uid_t uid;                /* of the caller, if it was asked for */
};

void call_context_init(CallContext *context, Service *service);

/* End all calls with SHUTTING_DOWN; operations of control that run still end, unheard */
void call_context_deinit(CallContext *context);

/* Take one call through options, details, authorization, and on to its handler; a FaceCalled */
void call_start(gpointer context, Face *face, GDBusMethodInvocation *invocation);

/* Add a detail that rules of polkit can look up; @value may be any bytes or NULL */
void call_detail(Call *call, const char *name, const char *value);
void call_detail_path(Call *call, const char *name,
                      const char *path); /* without “..” and doubled slashes */
void call_detail_number(Call *call, const char *name, guint64 value);

/* The tags of the portal groups at @paths, of guint16, ascending and each once; NULL: one is not there */
GArray *call_find_portal_groups(const Call *call, const char *const *paths, GError **ret_error);

/* What goes with every change */
ChangeOptions call_change(const Call *call);

/* (call is taken) Answer; @values is a floating tuple or NULL */
void call_return(Call *call, GVariant *values);

/* (call and error are taken) */
void call_fail(Call *call, GError *error);

/* ServiceDoneFn of operations that answer nothing; @call is their user data */
void call_on_done(gpointer object, const GError *error, gpointer call);

/* ServiceDoneFn of operations that answer “/” in place of a job: all was done */
void call_on_done_without_job(gpointer object, const GError *error, gpointer call);

/* ServiceDoneFns of operations that answer the path of what was made, in a dry run call->planned */
void call_on_backstore(gpointer object, const GError *error, gpointer call);
void call_on_target(gpointer object, const GError *error, gpointer call);
void call_on_lun(gpointer object, const GError *error, gpointer call);
void call_on_job(gpointer object, const GError *error, gpointer call);
void call_on_portal_group(gpointer object, const GError *error, gpointer call);
void call_on_portal(gpointer object, const GError *error, gpointer call);
void call_on_acl(gpointer object, const GError *error, gpointer call);
void call_on_initiator_group(gpointer object, const GError *error, gpointer call);

/* The action in the XML of a method, or NULL */
const char *call_action_of(const Noun *noun, const char *method);
