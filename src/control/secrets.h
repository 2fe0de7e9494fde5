/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "control/service-private.h"
#include "iscsi/credentials.h"

/*
 * The CHAP accounts of the service: in memory, and in files of their own
 *
 * An owner is a target, by its name, or discovery. It has accounts of its own (the empty id) and some
 * for each of its access rules (by their names). All of an owner are in one file.
 */

#define SECRETS_DISCOVERY "discovery"
#define SECRETS_OWN       ""

Secrets *secrets_new(const char *credentials_dir);
void secrets_free(Secrets *secrets);

/* Ask for what is stored: it is there before anything that is asked of the store later */
void secrets_load(Service *service);

/* Try again to write with the key what could not be written with it when it was loaded */
void secrets_seal(Service *service);

/* The accounts, or NULL; borrowed. Nobody gets in by one that is not there. */
Credentials *secrets_find(const Service *service, const char *owner, const char *id);

/* Why the stored accounts of @owner cannot be used and must not be written over; or NULL */
const char *secrets_find_problem(const Service *service, const char *owner);

/* The same as the file has them */
Credentials *secrets_find_stored(const Service *service, const char *owner, const char *id);

/**
 * secrets_check() - may @credentials be one of the accounts of @owner?
 *
 * The secret of one direction must not be one of the other direction in any account of anybody.
 */
gboolean secrets_check(const Service *service, const char *owner, const char *id,
                       const Credentials *credentials, GError **ret_error);

/* Write the file as it would be with @credentials (or, NULL, without any) for @id; then @next */
void secrets_save(Operation *operation, const char *owner, const char *id, Credentials *credentials,
                  OperationFn next);

/* They are in effect from now on */
void secrets_set(Service *service, const char *owner, const char *id, Credentials *credentials);

/* And these are in the file */
void secrets_set_stored(Service *service, const char *owner, const char *id,
                        Credentials *credentials);

/* The owner has gone; @keeps: its file stays */
void secrets_forget(Service *service, const char *owner, gboolean keeps);

/* Bring what the model says of accounts and problems up to date */
void secrets_describe(Service *service);
