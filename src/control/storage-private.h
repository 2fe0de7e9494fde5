/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "control/service-private.h"

/* What the files of storage share: storage.c, storage-*.c. Nobody else includes this. */

typedef struct StorageLeave StorageLeave;
typedef struct StorageMeasure StorageMeasure;

struct Storage {
    Service *service;
    guint retry_source;
    int inotify_fd; /* its watches are added by threads of the pool: looking up a path may block */
    guint inotify_source;
    gboolean running; /* attempts are made */

    /* the first round */
    guint n_first;
    IscsiDoneFn first_done;
    gpointer first_data;

    GPtrArray *measures; /* of StorageMeasure under way */
    List verifies;       /* jobs of storage-verify.c that run */
    guint n_verifies;    /* so many were begun */

    /* logical units that were replaced and have not left yet */
    guint n_leaving;
    IscsiDoneFn left_done;
    gpointer left_data;
};

/* What ModelBackstore.runtime points at */
typedef struct {
    Backstore *store; /* under @lu; NULL: there is none yet */
    Lu *lu;
    gboolean is_open;    /* @store is the real one */
    SenseCode not_ready; /* of @lu */
    StorageLeave *leave; /* the real store of before is being closed */
    gboolean trying;     /* an attempt is under way */
    gboolean broken;     /* a flush failed: not to be opened again by itself */
    gboolean taken;      /* the administrator took it offline */
    gboolean is_empty;   /* there is no medium */
    gboolean tray_open;  /* the medium, or nothing, lies in it; as initiators see it */
    gboolean losing;     /* its device has gone, and will be taken from initiators */
    gboolean has_facts;
    BackstoreInfo facts; /* of when it was open last */
} StorageRuntime;

/* A logical unit on its way out */
struct StorageLeave {
    Storage *storage;
    Lu *lu;
    Backstore *store;
    StorageRuntime *runtime; /* whose store this was, and which waits for the closing; or NULL */
    char *delete_path;
    IscsiDoneFn done; /* or NULL */
    gpointer user_data;
};

/*
 * storage.c
 */

StorageRuntime *storage_get_runtime(ModelBackstore *backstore); /* made where there is none */

/* What the model, the journal and systemd are told; @error may be NULL */
void storage_set_state(Storage *storage, ModelBackstore *backstore, BackstoreState state,
                       const GError *error);

/*
 * storage-identity.c, storage-open.c: what a spec means to the layers below. Both borrow from it.
 */

void storage_make_lu_config(const BackstoreSpec *spec, LuConfig *config);
void storage_make_store_config(const BackstoreSpec *spec, BackstoreConfig *config);

/* As storage_open(); when it fails and the path appears later, another attempt is made at once */
void storage_open_watched(Storage *storage, const BackstoreSpec *spec, StorageOpenedFn done,
                          gpointer user_data);

/*
 * storage-unit.c
 */

/* The storage is not open, or no longer: initiators are told so, and why. What was there leaves. */
StorageLeave *storage_replace_by_absent(Storage *storage, ModelBackstore *backstore);

/* What keeps the medium away may have changed: initiators are told by a new unit that is not ready */
void storage_update_absent(Storage *storage, ModelBackstore *backstore);

/* The unit is in no map any more that is on its way to the workers, or that a worker will take */
void storage_leave_start(StorageLeave *leave);

/* The same, when no change of a target is under way: a map with the unit may be on its way still */
void storage_leave_later(Storage *storage, StorageLeave *leave);

/* Its last command has ended: close its store when nobody measures or reads it */
void storage_close_left(StorageLeave *leave);

BackstoreMedium storage_get_medium(const ModelBackstore *backstore);

/*
 * storage-space.c
 */

/* The measuring of @store that is under way and holds up its closing, or NULL */
StorageMeasure *storage_find_measure(const Storage *storage, const Backstore *store);
void storage_measure_delay(StorageMeasure *measure, StorageLeave *leave);

/*
 * storage-verify.c
 */

/* TRUE: a job still reads the store; it ends soon, and the leaving goes on then */
gboolean storage_verify_delay(StorageLeave *leave);

/*
 * storage-retry.c
 */

/* What @operation has tried to open is open in @store, or could not be opened */
void storage_end_attempt(Operation *operation, Backstore *store, guint64 allocated_size,
                         const GError *error);

/* Try again in a while as long as something is not open */
void storage_arm(Storage *storage);
