/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "backstore/backstore.h"
#include "control/service.h"
#include "engine/mailbox.h"
#include "engine/offload.h"
#include "engine/worker.h"
#include "iscsi/service.h"
#include "model/store.h"
#include "scsi/lu.h"
#include "util/list.h"

/*
 * The inside of Service, for the files of control only
 *
 * Who does what:
 *
 *     service.c        parts, start, stop
 *     operation.c      the queue of operations, their common steps
 *     change-*.c       the operations
 *     resize.c         the operation that changes a size
 *     change-medium.c  the operations that load and eject a medium
 *     read-only.c      the operation that makes a backstore read-only, or writable
 *     change-settings.c what holds for the whole service
 *     isns-plan.c      what is registered with an iSNS server
 *     isns.c           the thread that registers it
 *     isns-call.c      one question to the server
 *     isns-message.c   messages of iSNS
 *     faults.c         trouble on purpose
 *     access.c         asymmetric access states, also at the wish of initiators
 *     acl.c            access rules and authentication of targets
 *     accounts.c       what a change does to CHAP accounts
 *     initiator-group.c  groups of initiators, discovery, algorithms of CHAP
 *     secrets.c        CHAP accounts, in memory and in sealed files
 *     seal.c           how a file is sealed
 *     storage-verify.c jobs that read all of a store, or flush it
 *     rejection.c      refused logins: what to do about them
 *     configure.c      from key files to the model
 *     reload.c         the same while the service runs
 *     storage.c        opening, retrying and closing backstores, and their LUs
 *     reservations.c   what is kept of persistent reservations
 *     records.c        what is kept of erasings under way and of saved mode parameters
 *     publish.c        snapshots of targets for the workers
 *     limits.c         what peers may use of us
 *     memory.c         what the allocator keeps is given back
 *     listener.c       sockets of portals
 *     observe.c        what workers report: sessions, refusals, errors
 *     peer-log.c       rate limit of what peers can cause
 *     jobs.c           jobs: beginning, progress, end
 *     logout.c         jobs that wait for initiators to log out
 *     statistics.c     counters
 *     systemd.c        READY, STATUS, WATCHDOG
 */

typedef struct Operation Operation;
typedef struct AccessChange AccessChange; /* access-change.h */
typedef struct Secrets Secrets;           /* secrets.h */
typedef struct Jobs Jobs;
typedef struct PeerLog PeerLog;
typedef struct Systemd Systemd;
typedef struct Storage Storage;
typedef struct Isns Isns;

#define BACKSTORES_MAX    4096U
#define TARGETS_MAX       4096U
#define PORTAL_GROUPS_MAX 256U
#define DEFAULT_GROUP_TAG 1
#define SERVICE_DISKS_DIR "disks" /* below the state directory: files made without a path */

struct Service {
    ServiceConfig config; /* its strings are those below */
    char *state_dir;
    char *config_dir;
    char **listen;
    Model *model;
    Store *store;
    Mailbox mailbox; /* what workers and pools send to the control thread */
    guint mailbox_watch;
    guint store_watch;
    guint portal_retry; /* timer, while a portal could not be bound */

    Worker *workers[WORKERS_MAX];
    guint n_workers;
    guint next_home;  /* home worker of the next LU */
    Offload *offload; /* blocking I/O */
    Offload *opens;   /* opening and closing */
    IscsiService *iscsi;

    List operations; /* of Operation, in order of asking */
    Storage *storage;
    GHashTable *reservations;             /* backstore to the last state of its reservations */
    GHashTable *records[STORE_N_RECORDS]; /* of the others: backstore to text */
    char *unreadable[STORE_N_RECORDS];    /* which records there are is not known: why */
    Secrets *secrets;
    ServiceRejectionFn rejection_fn; /* or NULL */
    gpointer rejection_data;
    PeerLog *peer_log;
    Jobs *jobs;
    PeerLog *limit_log;
    guint n_ended; /* sessions, since memory was given back */
    guint memory_timer;
    Isns *isns;
    char *isns_plan; /* what was given to it last, as text */
    Systemd *systemd;

    gboolean started; /* accepting has begun */
    gboolean stopping;
    gboolean closing;       /* the data plane is being taken down */
    guint logout_seconds;   /* initiators are asked to log out before, and have so long */
    guint32 logout_request; /* 0: nobody is waited for */
    gboolean stopped;
    guint n_closing;  /* backstores still to be closed */
    Operation *start; /* ends when the service runs */
    GArray *waiters;  /* of StopWaiter: who waits for the stop */
};

/* service.c: an operation has ended; if the service stops, this may have been what it waited for */
void service_go_on_stopping(Service *service);

/*
 * operation.c
 */

typedef void (*OperationFn)(Operation *operation);
typedef gboolean (*TargetEditFn)(const Operation *operation, TargetSpec *spec, GError **ret_error);

#define OPERATION_KEYS_MAX 5

struct Operation {
    ListLink link;
    Service *service;
    ChangeOptions options; /* its operation text is the one below */
    char *what;
    char *keys[OPERATION_KEYS_MAX]; /* objects that it holds; "target/" and '*' is every target */
    gboolean internal;     /* runs also while the service stops; does not count as a change */
    gboolean of_initiator; /* asked for by one: there is a limit to what it makes us log */
    gboolean running;
    OperationFn run;
    ServiceDoneFn done;
    gpointer user_data;
    guint idle_source;

    /* outcome, kept until the idle callback tells it */
    gpointer object;
    GError *error;

    /* arguments */
    char *name;
    char *text;
    gint32 number;
    guint32 id;
    gboolean flag;
    guint64 size;
    GVariant *parameters;
    BackstoreSpec *backstore_spec;
    TargetSpec *target_spec;
    PortalSpec *portal_spec;
    AccessChange *access;

    /* on the way */
    TargetEditFn edit;
    OperationFn after; /* an edit is in effect */
    OperationFn next;
    TargetSpec *new_spec;
    TargetSpec *new_saved;
    PortalGroupSpec *group_spec;
    SettingsSpec *settings_spec;
    SettingsSpec *settings_saved; /* NULL: not kept */
    gboolean keeps;               /* the file of the object is written */
    Backstore *store;             /* open, and not yet in the model */
    guint64 allocated_size;
    guint64 new_size;
    guint16 wait_tsih;           /* until this session has gone */
    gboolean wait_is_connection; /* or only its connection of wait_cid */
    guint16 wait_cid;
    char *wait_target; /* until this target has no sessions */
};

/* @key: taken, or NULL. The operation is freed after its @done. */
Operation *operation_new(Service *service, const ChangeOptions *options, OperationFn run,
                         ServiceDoneFn done, gpointer user_data);
void operation_hold(Operation *operation, ModelKind kind, const char *name); /* "*": every one */
void operation_hold_number(Operation *operation, ModelKind kind, guint number);
void operation_submit(Operation *operation, const char *what, const char *name);

/* FALSE when it would have to wait for another one: it is gone, and @done is not called */
gboolean operation_submit_now(Operation *operation, const char *what, const char *name);

/* The object that was held last is free for others while @operation goes on */
void operation_release_last(Operation *operation);

/* End it; @error is taken. Nothing may touch the operation after. */
void operation_finish(Operation *operation, gpointer object);
void operation_fail(Operation *operation, GError *error);

/* Write (or with NULL remove) a file, then go on with @next; fails the operation when that fails */
void operation_save(Operation *operation, ModelKind kind, const char *name, char *text,
                    OperationFn next);

/* The same for a record */
void operation_save_record(Operation *operation, StoreRecord record, const char *name, char *text,
                           OperationFn next);

void operation_report_save_failure(const GError *error);

/* Fails with IN_USE when a deletion that is kept would leave a file that refers to operation->name */
gboolean operation_check_saved_users(const Operation *operation, ModelKind kind,
                                     GError **ret_error);

/* A file stays behind because the change is not to be kept: its name cannot be used until the next start */
void operation_reserve_if_kept(Operation *operation, ModelKind kind, gboolean has_file);

/* Count and audit a change that has been made to the model */
void operation_record(Operation *operation);

/* The backstore that operation->name names; or NULL with NO_SUCH_OBJECT */
ModelBackstore *operation_find_backstore(const Operation *operation, GError **ret_error);

/* The same again at a later step: the operation holds it, so it is there */
ModelBackstore *operation_get_backstore(const Operation *operation);

/* May an object of @origin be changed as the options say? Sets operation->keeps. */
gboolean operation_may_change(Operation *operation, ModelOrigin origin, const char *what,
                              GError **ret_error);

/* Go on with @next when the session (or all of the target) has gone, perhaps at once */
void operation_wait_for_session(Operation *operation, guint16 tsih, OperationFn next);
void operation_wait_for_connection(Operation *operation, guint16 tsih, guint16 cid,
                                   OperationFn next);
void operation_wait_for_target(Operation *operation, const char *target_name, OperationFn next);
void operation_check_waits(Service *service); /* a session has gone */

void operation_fail_waiting(Service *service); /* SHUTTING_DOWN for what has not begun */
gboolean operation_is_any_running(const Service *service);

/* change-target.c: replace the spec of a target by an edited copy, in file, model and data plane */
void change_target(Operation *operation);

/* The target has sessions; @cure says what can be done about it. FALSE. */
gboolean change_target_fail_busy(const ModelTarget *target, const char *cure, GError **ret_error);

/* An operation that holds the target, whose name need not be normalised */
Operation *change_target_operation_new(Service *service, const char *name,
                                       const ChangeOptions *options, OperationFn run,
                                       ServiceDoneFn done, gpointer user_data);

/* The same for an edit: change_target() is what it runs */
Operation *change_target_new(Service *service, const char *name, const ChangeOptions *options,
                             TargetEditFn edit, ServiceDoneFn done, gpointer user_data);

/* change-settings.c: make effect of the model's settings, which may have changed */
void settings_apply(Service *service);

/* redirect.c */
void redirect_fill_snapshot(const TargetSpec *spec, IscsiTarget *snapshot);

/* logout.c: the target has been enabled, so a job that drains it ends */
void logout_end_drain(Service *service, const char *target_name);

/* access.c: the states of the target's groups, for its snapshot */
void access_fill_map(Service *service, const ModelTarget *target, LunMap *map);

/* acl.c, rejection.c */
void access_change_free(AccessChange *change);
void acl_fill_snapshot(const Service *service, const ModelTarget *target, IscsiTarget *snapshot);
void rejection_report(Service *service, const IscsiEvent *event); /* it is to be told */

/* initiator-group.c: what concerns all targets, for the workers */
void settings_publish(Service *service);

/* The running groups and settings become those of the files; @entries: of StoreEntry */
void initiator_groups_follow(Service *service, const GPtrArray *entries);
void initiator_groups_drop(Service *service,
                           const GPtrArray *entries); /* that have no file any more */

/*
 * storage.c, storage-*.c
 */

Storage *storage_new(Service *service);
void storage_free(Storage *storage); /* all closed */

typedef void (*StorageOpenedFn)(Backstore *store, guint64 allocated_size, const GError *error,
                                gpointer user_data);

/* Open in a thread; @store in @done is the callee's. @spec is copied. */
void storage_open(Storage *storage, const BackstoreSpec *spec, StorageOpenedFn done,
                  gpointer user_data);

/* Close in a thread and delete the file if @path is not NULL */
void storage_close(Storage *storage, Backstore *store, const char *path, IscsiDoneFn done,
                   gpointer user_data);

/* Make the LU of an open store, in place of one that is not ready, and publish the targets that use it;
 * the store is taken */
void storage_attach(Storage *storage, ModelBackstore *backstore, Backstore *store,
                    guint64 allocated_size);

/* Take the LU, which no target uses, from the workers, and close its store */
void storage_detach(Storage *storage, ModelBackstore *backstore, const char *delete_path,
                    IscsiDoneFn done, gpointer user_data);

/* Open what is not open, now and from then on whenever it may have come back; @done: all were tried once */
void storage_start(Storage *storage, IscsiDoneFn done, gpointer user_data);
void storage_retry(Storage *storage); /* backstores were added */
void storage_stop(Storage *storage);  /* no more attempts */

Lu *storage_get_lu(const ModelBackstore *backstore); /* NULL: no target has needed one yet */

/* The same, made where there is none: not ready while the storage is not open. NULL: out of memory. */
Lu *storage_need_lu(Storage *storage, ModelBackstore *backstore);

Backstore *storage_get_store(const ModelBackstore *backstore); /* NULL: not open */

/* The device has gone: its unit is not ready until it can be opened again, which is tried */
void storage_lose(Storage *storage, const ModelBackstore *backstore, const char *reason);

/* Close the store and leave it closed, or open it again, and end @operation, which holds the backstore
 * and, as the last of its keys, all targets */
void storage_take_offline(Operation *operation, ModelBackstore *backstore);
void storage_bring_online(Operation *operation, ModelBackstore *backstore);

/* Close the open store and open it again as its spec says now. The keys are as above; operation->after
 * is called then, with operation->error set where it cannot be opened. */
void storage_reopen(Operation *operation, ModelBackstore *backstore);

/* There is no medium in the drive, which is nothing wrong */
void storage_set_empty(Storage *storage, ModelBackstore *backstore);

/* The administrator has closed it */
gboolean storage_is_offline(const ModelBackstore *backstore);

/* Of a backstore whose path has just been removed: close the store and end @operation, which holds what
 * it holds for storage_take_offline() */
void storage_eject(Operation *operation, ModelBackstore *backstore);

/* The medium whose path is the backstore's now: @store, which is taken, in the place of that of before */
void storage_load(Storage *storage, ModelBackstore *backstore, Backstore *store,
                  guint64 allocated_size);

/* Another size for an open store: in a thread, the store only; and what initiators may use of it */
typedef void (*StorageResizedFn)(const GError *error, gpointer user_data);
void storage_resize(Storage *storage, const ModelBackstore *backstore, guint64 size,
                    StorageResizedFn done, gpointer user_data);
void storage_set_size(Storage *storage, ModelBackstore *backstore, guint64 size); /* is in effect */

/* Bring allocated sizes in the model up to date, as far as that is quickly done. @done may be called from
 * inside. */
void storage_measure(Storage *storage, IscsiDoneFn done, gpointer user_data);

/* @done, perhaps at once, when no store is being closed any more */
void storage_wait_left(Storage *storage, IscsiDoneFn done, gpointer user_data);
void storage_check_failed(Storage *storage, ModelBackstore *backstore, const char *reason);
void storage_describe(ModelBackstore *backstore); /* fill in serial and wwn from the spec */

/* Other backstores that have the same identity */
gboolean storage_check_identity(const Model *model, const BackstoreSpec *spec, GError **ret_error);

/*
 * publish.c
 */

void publish_target(Service *service, ModelTarget *target, IscsiDoneFn done, gpointer user_data);
/* @closes_denied: sessions that would not be let in any more end */
void publish_target_closing(Service *service, ModelTarget *target, gboolean closes_denied,
                            IscsiDoneFn done, gpointer user_data);
void publish_all(Service *service, IscsiDoneFn done, gpointer user_data);
void publish_users(Service *service,
                   const ModelBackstore *backstore); /* targets that have a LUN of it */
gboolean publish_portal_address(const ModelPortal *portal,
                                Address *ret_address); /* what initiators are told */
void publish_update_states(Service *service); /* states of targets follow those of portals */

/*
 * listener.c
 */

gboolean listener_open(Service *service, ModelPortal *portal,
                       GError **ret_error); /* bind and listen */
void listener_adopt(Service *service, ModelPortal *portal,
                    int fd); /* listens already; fd is taken */
void listener_accept(Service *service, ModelPortal *portal, gboolean accept); /* begin or pause */
void listener_close(ModelPortal *portal);
void listener_retry(Service *service); /* what could not be bound */
void listener_stop_retry(Service *service);
guint listener_take_sockets(Service *service, ModelPortalGroup *group); /* of systemd; how many */
guint listener_count(const Service *service);                           /* portals that listen */

/*
 * observe.c, peer-log.c, systemd.c, configure.c
 */

void observe_event(const IscsiEvent *event, gpointer service);

/* limits.c: what peers may use, and who has wanted more */
void limits_apply(Service *service); /* the settings may have changed */
/* FALSE: it tells of no limit. Else it was counted and, if not too much is, logged. */
gboolean limits_observe(Service *service, const IscsiEvent *event);
void limits_report_descriptors(Service *service); /* none was left for a connection */

/* memory.c: a session has ended; when many have, what they used is given back */
void memory_note_end(Service *service);
void memory_stop(Service *service);

PeerLog *peer_log_new(guint entries_a_minute); /* of each address */
void peer_log_free(PeerLog *log);
gboolean peer_log_admit(PeerLog *log, const Address *peer); /* FALSE: not logged, counted */
gboolean peer_log_admit_unknown(PeerLog *log); /* the same for some initiator, whoever it was */

Systemd *systemd_new(Service *service, gboolean enabled);
void systemd_free(Systemd *systemd);
void systemd_loading(Systemd *systemd); /* start takes a while: extend the timeout until ready */
void systemd_ready(Systemd *systemd);
void systemd_stopping(Systemd *systemd, guint seconds); /* initiators are waited for so long */
void systemd_update(Systemd *systemd);                  /* the status text may have changed */

void configure_load(Service *service, IscsiDoneFn done, gpointer user_data); /* at start */

/* Make objects of those files of @kind that can be used; @only_new: but for names that have one already */
void configure_add(Model *model, const GPtrArray *entries, ModelKind kind, gboolean only_new);
void configure_report(const char *path, const char *reason);
void configure_report_missing(const Model *model, const StoreEntry *entry, const TargetSpec *spec);

void reload_run(Operation *operation); /* service_reload() */

/* faults.c: a store that no worker uses yet gets what is set for the backstore */
void faults_begin(const ModelBackstore *backstore, Backstore *store);

/* What is held by faults of a store that leaves goes on; before lu_release() of its unit */
void faults_end(Service *service, Backstore *store);
void faults_forget(ModelBackstore *backstore);
void faults_stop(Service *service); /* nothing is held up any more: the service stops */

/* reservations.c */
void reservations_init(Service *service);

/* Ask for what is stored: it is there before anything that is asked of the store later */
void reservations_load(Service *service);

/* Whether what is stored for the backstore can be used; while it cannot, it is not opened */
gboolean reservations_check(const Service *service, const char *name, GError **ret_error);

/* Set what a logical unit of @backstore begins with, and how it has changes stored */
void reservations_fill(Service *service, const ModelBackstore *backstore, LuConfig *config);

/* Ask @lu, which begins with what was kept, or is about to change it, what is reserved, for the model */
void reservations_ask(Service *service, Lu *lu);

/* The backstore is deleted */
void reservations_forget(Service *service, const char *name);

/* records.c: the same for erasings under way, and but for the check for saved mode parameters */
void records_init(Service *service);
void records_deinit(Service *service);
void records_load(Service *service);
gboolean records_check(const Service *service, const char *name, GError **ret_error);
void records_fill(Service *service, const ModelBackstore *backstore, LuConfig *config);
void records_forget(Service *service, const char *name);

/* Of all records: the folder could not be read (or, NULL, could); the file may be one of ours */
void records_note_unreadable(Service *service, StoreRecord record, const GError *error);
gboolean records_is_ours(const StoreEntry *entry);
