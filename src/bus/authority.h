/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <gio/gio.h>

/*
 * The one place that says who may do what. No method body asks for itself.
 */

typedef struct Authority Authority;

/* The action of methods that are open to every local user */
#define AUTHORITY_ACTION_NONE "none"

/* What only root and the user of the service may do, whatever polkit says */
#define AUTHORITY_ACTION_OWNER "owner"

/**
 * typedef AuthorityDone - the answer to authority_check()
 * @uid: the caller, or (uid_t)-1 when it was not asked for
 * @error: (taken) NULL when the caller may go on
 */
typedef void (*AuthorityDone)(gpointer data, uid_t uid, GError *error);

/* @permissions is a floating a{ss}: action to “yes”, “no” or “auth”; NULL with @error (taken) */
typedef void (*AuthorityProbed)(gpointer data, GVariant *permissions, GError *error);

Authority *authority_new(GDBusConnection *connection);

/* Every check under way ends with LUNPORT_ERROR_SHUTTING_DOWN. */
void authority_free(Authority *authority);

/**
 * authority_check() - may the caller of a method do this?
 * @message: the call: its sender is judged, and its flag says whether a password may be asked for
 * @action: a polkit action, AUTHORITY_ACTION_NONE or AUTHORITY_ACTION_OWNER; NULL is refused
 * @details: a{ss} for rules and messages
 *
 * @done is called exactly once, before this returns only for AUTHORITY_ACTION_NONE and NULL. The
 * check ends with LUNPORT_ERROR_CANCELED when the caller leaves the bus.
 */
void authority_check(Authority *authority, GDBusMessage *message, const char *action,
                     GVariant *details, AuthorityDone done, gpointer data);

/* The same; who has the user id @owner needs no more than that. (uid_t)-1: nobody. */
void authority_check_owned(Authority *authority, GDBusMessage *message, const char *action,
                           uid_t owner, GVariant *details, AuthorityDone done, gpointer data);

/**
 * authority_probe() - what would the caller be told?
 * @actions: polkit actions, ends with NULL
 *
 * Nobody is asked for a password. @done is called exactly once, possibly before this returns.
 */
void authority_probe(Authority *authority, GDBusMessage *message, const char *const *actions,
                     GVariant *details, AuthorityProbed done, gpointer data);
