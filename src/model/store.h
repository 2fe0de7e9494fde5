/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "model/keyfile.h"

/*
 * Store: key files on disk, written by a thread of its own
 *
 *     STATE/backstores/NAME.conf          written by the service
 *     STATE/targets/NAME.conf
 *     STATE/portal-groups/TAG.conf
 *     STATE/initiator-groups/NAME.conf
 *     STATE/service/service.conf          what holds for all targets
 *     STATE/secrets/NAME                  CHAP accounts of the target NAME, or of discovery
 *     STATE/reservations/NAME             what scsi keeps of the backstore NAME, not for reading here
 *     STATE/erasures/NAME                 the same, of an erasing under way
 *     STATE/modes/NAME                    the same, of saved mode parameters
 *     STATE/identifying/NAME              the same, of identifying information
 *     CONFIG/ANY.conf                     written by the administrator, only read
 *
 * A save is on stable storage when its @done is called, and a crash at any
 * point leaves the old file or the new one. A file that cannot be used is
 * reported by every load and never written, moved or removed by a load.
 *
 * Requests are carried out in the order of asking. Completions are delivered
 * by store_dispatch() on the thread that calls it; store_get_fd() is readable
 * when there are some.
 */

typedef struct Store Store;

/* An object that a file describes, or a file that cannot be used */
typedef struct {
    KeyfileObject
        object; /* kind is right also when @error is set and the place of the file tells it */
    ModelOrigin origin; /* STATE or CONFIG */
    char *path;
    char *name; /* of the object; when @error is set what the file's name says, or NULL */
    char *text; /* of records only */
    GError *error;
} StoreEntry;

/* @error: NULL on success */
typedef void (*StoreSavedFn)(const GError *error, gpointer user_data);

/* @entries: of StoreEntry, CONFIG first, each sorted by path; the callee may take out what it wants.
 * @error: a directory could not be read at all */
typedef void (*StoreLoadedFn)(GPtrArray *entries, const GError *error, gpointer user_data);

/**
 * store_new() - open the directories
 * @state_dir: made with its parents when it is not there; NULL: saves succeed and write nothing
 * @config_dir: need not exist; NULL: none
 *
 * Fails with IN_USE when another process has @state_dir, and with STORAGE_… when it cannot be made.
 */
Store *store_new(const char *state_dir, const char *config_dir, GError **ret_error);

/* Waits for what was asked for; completions that were not dispatched are delivered from inside */
void store_free(Store *store);

int store_get_fd(const Store *store);
void store_dispatch(Store *store);

/**
 * store_save() - write or remove the file of one object
 * @kind: one that has a keyfile_format function
 * @name: as keyfile_object_dup_name() gives it
 * @text: what the file shall hold, taken; NULL: remove the file, which need not exist
 */
void store_save(Store *store, ModelKind kind, const char *name, char *text, StoreSavedFn done,
                gpointer user_data);

void store_load(Store *store, StoreLoadedFn done, gpointer user_data);

/* What others keep; its text is none of our business */
typedef enum {
    STORE_RESERVATIONS,
    STORE_SECRETS,     /* of control; texts are wiped */
    STORE_ERASURES,    /* SANITIZE and FORMAT UNIT under way */
    STORE_MODES,       /* saved mode parameters */
    STORE_IDENTIFYING, /* identifying information */
    STORE_N_RECORDS,
} StoreRecord;

/* The same for records; object and origin of the entries have no meaning */
void store_save_record(Store *store, StoreRecord record, const char *name, char *text,
                       StoreSavedFn done, gpointer user_data);
void store_load_records(Store *store, StoreRecord record, StoreLoadedFn done, gpointer user_data);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Store, store_free)
