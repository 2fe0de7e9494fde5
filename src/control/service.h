/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "model/model.h"
#include "model/spec.h"
#include "util/address.h"

/*
 * The service: the model, and all that makes it true
 *
 * Owns the workers, the pools, the iSCSI layer, the sockets, the store of key
 * files and the model. Everything here is called on the control thread, whose
 * GLib main context is the default one.
 *
 * An operation is asked for and its outcome told: @done is called exactly
 * once, from the main loop, never from inside the asking function. On success
 * the change is then on stable storage (persist) and in effect in the data
 * plane, and the observer of the model has been told. Operations that touch
 * the same object run in the order in which they were asked for; others run
 * side by side. All checks are made when an operation begins to run, so
 * callers need not check anything but types.
 *
 * Objects are named, not pointed at, because they may go while an operation
 * waits. Iscsi names are normalised here.
 */

typedef struct Service Service;

typedef struct {
    const char *state_dir;       /* NULL: nothing is kept */
    const char *config_dir;      /* NULL: none */
    const char *credentials_dir; /* where systemd puts credentials; NULL: none. Read at once. */
    guint n_workers;             /* 0: the number of processors, at most 8 */
    const char *const
        *listen; /* addresses, NULL-terminated or NULL: portals with origin "command-line" */
    gboolean use_sockets;        /* take the sockets that systemd passed */
    gboolean use_default_portal; /* listen on *:3260 when there is no other portal at all */
    gboolean use_systemd;        /* notify systemd: READY, STATUS, WATCHDOG */
} ServiceConfig;

/* What goes with every change */
typedef struct {
    gboolean persist; /* FALSE: until the service stops */
    gboolean has_expected_generation;
    guint64 expected_generation; /* else CONFLICT */
    gboolean dry_run;   /* everything is checked, nothing is changed; @done gets object NULL */
    guint32 caller_uid; /* for the audit event */
    const char *
        operation; /* for the audit event, as "CreateTarget iqn.…"; NULL: made up from the operation */
} ChangeOptions;

#define SERVICE_LOGOUT_SECONDS_MAX 600U

/* persist, nothing expected, our own uid */
void change_options_init(ChangeOptions *options);

/* @object: what was created (ModelBackstore and so on) or NULL; @error: NULL on success; both borrowed */
typedef void (*ServiceDoneFn)(gpointer object, const GError *error, gpointer user_data);

Service *service_new(const ServiceConfig *config, GError **ret_error);

/**
 * service_start() - load the configuration, open the storage, listen, accept
 * @done: the service is running: portals listen and enabled targets can be logged in to. Backstores
 *     that could not be opened and files that could not be read do not make it fail; that nothing
 *     at all listens does.
 */
void service_start(Service *service, ServiceDoneFn done, gpointer user_data);

/**
 * service_stop() - end in order
 *
 * Operations that run are finished, those that wait and new ones end in SHUTTING_DOWN. Then
 * accepting ends, sessions are closed, storage is flushed and closed. Calling it again adds
 * another @done, and ends the wait of service_stop_asking().
 */
void service_stop(Service *service, ServiceDoneFn done, gpointer user_data);

/* The same, but initiators are asked to log out first and have so many seconds, at most
 * SERVICE_LOGOUT_SECONDS_MAX */
void service_stop_asking(Service *service, guint seconds, ServiceDoneFn done, gpointer user_data);

void service_free(Service *service); /* stopped; NULL is ignored */

Model *service_get_model(Service *service);

/* Types that service_create_backstore() accepts, NULL-terminated */
const char *const *service_get_backstore_types(void);

/* Short names of what this build can do, NULL-terminated */
const char *const *service_get_features(void);

/* One of the settings that hold for the whole service: as a key and a value of its file */
typedef struct {
    const char *key; /* "IsnsServer" */
    const char *text;
} SettingsChange;

/**
 * service_change_settings() - change some of them, or none
 * @changes: keys that the schema has; ends with a NULL key
 */
void service_change_settings(Service *service, const SettingsChange *changes,
                             const ChangeOptions *options, ServiceDoneFn done, gpointer user_data);

/*
 * Backstores
 */

/* @spec is copied. Opens (or with spec->create makes) the storage first. Object: ModelBackstore. */
void service_create_backstore(Service *service, const BackstoreSpec *spec,
                              const ChangeOptions *options, ServiceDoneFn done, gpointer user_data);

/* IN_USE while a logical unit is made of it. @delete_file: also remove the file, if the service made it. */
void service_delete_backstore(Service *service, const char *name, gboolean delete_file,
                              const ChangeOptions *options, ServiceDoneFn done, gpointer user_data);

/**
 * service_set_backstore_read_only() - refuse writes, or allow them again
 *
 * Sessions go on, and are told. @done for read-only when nothing is being written any more. Storage that
 * was opened for reading only is opened anew to become writable, and is not ready meanwhile. BUSY while
 * the medium is being erased.
 */
void service_set_backstore_read_only(Service *service, const char *name, gboolean read_only,
                                     const ChangeOptions *options, ServiceDoneFn done,
                                     gpointer user_data);

/* Object: ModelJob. What is acknowledged is on stable storage when it has ended well. */
void service_flush_backstore(Service *service, const char *name, const ChangeOptions *options,
                             ServiceDoneFn done, gpointer user_data);

/**
 * service_verify_backstore() - read all of a backstore
 *
 * Object: ModelJob, which fails when there is something that cannot be read. Its result: bytes (t) that
 * were read, unreadable-bytes (t), unreadable (a(tt)): offsets and lengths, and truncated (b): that
 * these are not all.
 */
void service_verify_backstore(Service *service, const char *name, const ChangeOptions *options,
                              ServiceDoneFn done, gpointer user_data);

/**
 * service_set_faults() - trouble on purpose, for tests and rehearsals
 * @rules: aa{sv} as in the D-Bus interface; empty: none any more
 *
 * @done when every request goes by @rules. Never kept.
 */
void service_set_faults(Service *service, const char *name, GVariant *rules,
                        const ChangeOptions *options, ServiceDoneFn done, gpointer user_data);

/**
 * service_set_backstore_offline() - close the storage until further notice, or open it again
 *
 * Logical units that are made of it stay and are not ready meanwhile. @done when commands that were
 * under way have ended and the storage is closed; or when it is open, else with the error that opening
 * ended in: then it is tried again from time to time. NOT_SUPPORTED for memory, which would be lost. Opening is also what ends the failure that
 * follows a failed flush. Not kept: after a start everything is opened.
 */
void service_set_backstore_offline(Service *service, const char *name, gboolean offline,
                                   const ChangeOptions *options, ServiceDoneFn done,
                                   gpointer user_data);

/**
 * service_resize_backstore() - grow it, shrink it, or learn the size that its device has now
 * @size: bytes; 0: that of the file or device
 *
 * Initiators are told. INVALID_ARGUMENT when it would become smaller, unless @allow_shrink: what was
 * beyond the new end is lost. BUSY while the medium is being erased.
 */
void service_resize_backstore(Service *service, const char *name, guint64 size,
                              gboolean allow_shrink, const ChangeOptions *options,
                              ServiceDoneFn done, gpointer user_data);

/**
 * service_load_medium() - put a medium into a removable backstore, in place of the one that is there
 * @path: of a file or device, as the type says
 * @force: also when an initiator prevents the removal of the other one
 *
 * It becomes the backstore's path. A medium that cannot be opened changes nothing. NOT_SUPPORTED where
 * the backstore is not removable or has no path. BUSY when an initiator prevents it: all are told that
 * the medium is wanted.
 */
void service_load_medium(Service *service, const char *name, const char *path, gboolean force,
                         const ChangeOptions *options, ServiceDoneFn done, gpointer user_data);

/**
 * service_eject_medium() - take the medium out of a removable backstore
 *
 * Errors as above. @done when the file or device is closed.
 */
void service_eject_medium(Service *service, const char *name, gboolean force,
                          const ChangeOptions *options, ServiceDoneFn done, gpointer user_data);

/*
 * Targets
 */

/* @spec is copied; it may have logical units. Object: ModelTarget. */
void service_create_target(Service *service, const TargetSpec *spec, const ChangeOptions *options,
                           ServiceDoneFn done, gpointer user_data);

/* BUSY while sessions exist, unless @force: then they end first */
void service_delete_target(Service *service, const char *name, gboolean force,
                           const ChangeOptions *options, ServiceDoneFn done, gpointer user_data);

void service_enable_target(Service *service, const char *name, const ChangeOptions *options,
                           ServiceDoneFn done, gpointer user_data);

/* BUSY while sessions exist, unless @abort: then they are ended before @done */
void service_disable_target(Service *service, const char *name, gboolean abort,
                            const ChangeOptions *options, ServiceDoneFn done, gpointer user_data);

/**
 * service_drain_target() - disable a target, and ask its initiators to log out
 * @seconds: how long they have, 1 to SERVICE_LOGOUT_SECONDS_MAX; who is there then is dropped
 *
 * @done when nobody can log in any more. Object: ModelJob, which ends when the sessions have gone. When
 * it is canceled the target stays disabled. BUSY while there is such a job.
 */
void service_drain_target(Service *service, const char *name, guint seconds,
                          const ChangeOptions *options, ServiceDoneFn done, gpointer user_data);

/**
 * service_set_target_redirect() - send initiators that log in to another place
 * @tag: 0: wherever the portal group has no redirection of its own; else only through this group
 * @address: ADDR[:PORT]; "": they may come in again
 * @permanent: they are to remember it
 *
 * For new sessions; those that exist go on.
 */
void service_set_target_redirect(Service *service, const char *name, guint16 tag,
                                 const char *address, gboolean permanent,
                                 const ChangeOptions *options, ServiceDoneFn done,
                                 gpointer user_data);

void service_set_target_alias(Service *service, const char *name, const char *alias,
                              const ChangeOptions *options, ServiceDoneFn done, gpointer user_data);

/* @parameters: a{sv} by the keys of SCHEMA_PARAMETER; those not named keep their value. For new sessions. */
void service_set_target_parameters(Service *service, const char *name, GVariant *parameters,
                                   const ChangeOptions *options, ServiceDoneFn done,
                                   gpointer user_data);

/* @mode: "open" or "closed" */
void service_set_target_access_mode(Service *service, const char *name, const char *mode,
                                    const ChangeOptions *options, ServiceDoneFn done,
                                    gpointer user_data);

/*
 * Who may log in, see iscsi/access.h
 */

/* A CHAP account as it is asked for. NULL: as it was. An empty mutual user or secret: none any more.
 * Copied, and the copies are wiped. */
typedef struct {
    const char *user;
    const char *secret;
    const char *mutual_user;
    const char *mutual_secret;
} ServiceAccount;

/* Whose accounts: those of a rule, of a target (no @acl_name), or of discovery (neither) */
typedef struct {
    const char *target_name;
    const char *acl_name; /* in the model */
} ServiceAccountOwner;

/**
 * service_set_account() - set the account of @account->user, which is made if it is not there
 *
 * CHAP is asked for from then on. The other accounts stay.
 */
void service_set_account(Service *service, const ServiceAccountOwner *owner,
                         const ServiceAccount *account, const ChangeOptions *options,
                         ServiceDoneFn done, gpointer user_data);

/* After the last of them nobody gets in where CHAP is asked for. NO_SUCH_OBJECT. */
void service_remove_account(Service *service, const ServiceAccountOwner *owner, const char *user,
                            const ChangeOptions *options, ServiceDoneFn done, gpointer user_data);

/* @method: "None", which forgets all accounts, or "CHAP". What is given of an account is that of its
 * user, else of the only one there is, which may get another user so. */
void service_set_target_authentication(Service *service, const char *name, const char *method,
                                       const ServiceAccount *account, const ChangeOptions *options,
                                       ServiceDoneFn done, gpointer user_data);

/* Flags of service_add_acl() */
#define SERVICE_ACL_REPLACE   (1u << 0) /* a rule for the same initiator or group, in its place */
#define SERVICE_ACL_TERMINATE (1u << 1) /* sessions that would not be let in any more end */

/**
 * service_add_acl() - another access rule of a target, the last in order
 * @spec: copied; its initiator normalised. With an account its authentication is CHAP.
 *
 * Object: ModelAcl. NO_SUCH_OBJECT for an unknown group, ALREADY_EXISTS.
 */
void service_add_acl(Service *service, const char *target_name, const AclSpec *spec, guint flags,
                     const ServiceAccount *account, const ChangeOptions *options,
                     ServiceDoneFn done, gpointer user_data);

/* Of a rule, by its name in the model. @lun_map: see acl_luns_parse(). Sessions are told. */
void service_set_acl_luns(Service *service, const char *target_name, const char *acl_name,
                          const char *lun_map, const ChangeOptions *options, ServiceDoneFn done,
                          gpointer user_data);
void service_set_acl_read_only(Service *service, const char *target_name, const char *acl_name,
                               gboolean read_only, const ChangeOptions *options, ServiceDoneFn done,
                               gpointer user_data);

/**
 * service_set_acl_authentication() - how those of a rule prove who they are
 * @method: "Target", "None", "CHAP"; NULL: CHAP, with what is given of @account. An empty secret
 *     removes the account of the user that is given, else all, and without any nobody gets in by the rule.
 */
void service_set_acl_authentication(Service *service, const char *target_name, const char *acl_name,
                                    const char *method, const ServiceAccount *account,
                                    const ChangeOptions *options, ServiceDoneFn done,
                                    gpointer user_data);

/* Sessions stay with what they have, or with @terminate_sessions end if nothing else lets them in */
void service_delete_acl(Service *service, const char *target_name, const char *acl_name,
                        gboolean terminate_sessions, const ChangeOptions *options,
                        ServiceDoneFn done, gpointer user_data);

/* Object: ModelInitiatorGroup. @spec is copied. */
void service_create_initiator_group(Service *service, const InitiatorGroupSpec *spec,
                                    const ChangeOptions *options, ServiceDoneFn done,
                                    gpointer user_data);

/* All targets that have a rule for the group follow. @add and @remove: NULL-terminated or NULL.
 * ALREADY_EXISTS, NO_SUCH_OBJECT. */
void service_change_initiator_group(Service *service, const char *name, const char *const *add,
                                    const char *const *remove, const ChangeOptions *options,
                                    ServiceDoneFn done, gpointer user_data);

/* IN_USE while a rule is for it */
void service_delete_initiator_group(Service *service, const char *name,
                                    const ChangeOptions *options, ServiceDoneFn done,
                                    gpointer user_data);

/* @method: "None" or "CHAP" */
void service_set_discovery_authentication(Service *service, const char *method,
                                          const ServiceAccount *account,
                                          const ChangeOptions *options, ServiceDoneFn done,
                                          gpointer user_data);

/* @algorithms: words with a space between, see iscsi/chap.h */
void service_set_chap_algorithms(Service *service, const char *algorithms,
                                 const ChangeOptions *options, ServiceDoneFn done,
                                 gpointer user_data);

/* A login that was refused; strings may be NULL, and are valid during the call */
typedef struct {
    const char *target;
    const char *initiator;
    const char *address; /* with port */
    guint16 status;      /* class << 8 | detail */
    const char *reason;
    const char *rule; /* name of the access rule that decided */
    const char *cure; /* a command line */
} ServiceRejection;

typedef void (*ServiceRejectionFn)(const ServiceRejection *rejection, gpointer user_data);

/* Told as often as the journal: the rate is limited by address. NULL: nobody. */
void service_set_rejection_fn(Service *service, ServiceRejectionFn fn, gpointer user_data);

void service_add_target_portal_group(Service *service, const char *name, guint16 tag,
                                     const ChangeOptions *options, ServiceDoneFn done,
                                     gpointer user_data);
void service_remove_target_portal_group(Service *service, const char *name, guint16 tag,
                                        const ChangeOptions *options, ServiceDoneFn done,
                                        gpointer user_data);

/* All of them in one change; @every: also those to come, and none is named */
void service_set_target_portal_groups(Service *service, const char *name, const guint16 *tags,
                                      guint n_tags, gboolean every, const ChangeOptions *options,
                                      ServiceDoneFn done, gpointer user_data);

/**
 * service_set_access_state() - what initiators are told of the paths through a portal group
 * @tag: one of the target's groups, else NO_SUCH_OBJECT
 * @state: as in model/access-state.h
 * @preferred: the group is to be used when several are as good
 */
void service_set_access_state(Service *service, const char *target_name, guint16 tag,
                              const char *state, gboolean preferred, const ChangeOptions *options,
                              ServiceDoneFn done, gpointer user_data);

/*
 * Logical units
 */

/* @number: -1 takes the lowest that is free. Object: ModelLun. */
void service_add_lun(Service *service, const char *target_name, const char *backstore_name,
                     gint32 number, gboolean read_only, const ChangeOptions *options,
                     ServiceDoneFn done, gpointer user_data);

/* BUSY while the target has sessions, unless @force */
void service_delete_lun(Service *service, const char *target_name, guint16 number, gboolean force,
                        const ChangeOptions *options, ServiceDoneFn done, gpointer user_data);

/* Sessions go on, and are told. Writes that the storage has not begun are refused from now on. */
void service_set_lun_read_only(Service *service, const char *target_name, guint16 number,
                               gboolean read_only, const ChangeOptions *options, ServiceDoneFn done,
                               gpointer user_data);

/* @done when all commands that were aborted have no more effect */
void service_reset_lun(Service *service, const char *target_name, guint16 number,
                       const ChangeOptions *options, ServiceDoneFn done, gpointer user_data);

/* What is registered with a logical unit. Object: a GVariant of type a(sqtb): initiator port, relative
 * target port, key, whether it holds the reservation. */
void service_list_registrations(Service *service, const char *target_name, guint16 number,
                                const ChangeOptions *options, ServiceDoneFn done,
                                gpointer user_data);

/* Remove all registrations and reservations, also those that outlive a loss of power */
void service_clear_reservations(Service *service, const char *target_name, guint16 number,
                                const ChangeOptions *options, ServiceDoneFn done,
                                gpointer user_data);

/*
 * Portal groups and portals
 */

/* Object: ModelPortalGroup */
void service_create_portal_group(Service *service, guint16 tag, const ChangeOptions *options,
                                 ServiceDoneFn done, gpointer user_data);

/* IN_USE while a target names it; READ_ONLY_CONFIGURATION while it has portals that are not ours */
void service_delete_portal_group(Service *service, guint16 tag, const ChangeOptions *options,
                                 ServiceDoneFn done, gpointer user_data);

/* @spec is copied; port 0 is 3260. IN_USE when another process listens there. Object: ModelPortal. */
void service_add_portal(Service *service, guint16 tag, const PortalSpec *spec,
                        const ChangeOptions *options, ServiceDoneFn done, gpointer user_data);

/* By ModelPortal.id */
void service_delete_portal(Service *service, guint32 id, const ChangeOptions *options,
                           ServiceDoneFn done, gpointer user_data);
void service_pause_portal(Service *service, guint32 id, const ChangeOptions *options,
                          ServiceDoneFn done, gpointer user_data);
void service_resume_portal(Service *service, guint32 id, const ChangeOptions *options,
                           ServiceDoneFn done, gpointer user_data);

/*
 * Sessions
 */

/* @done when it has gone. NO_SUCH_OBJECT when it is not there. */
void service_terminate_session(Service *service, guint16 tsih, const ChangeOptions *options,
                               ServiceDoneFn done, gpointer user_data);

/* Ask its initiator to log out, and drop it when it is there @seconds later. Object: ModelJob. BUSY
 * while there is such a job. */
void service_request_logout(Service *service, guint16 tsih, guint seconds,
                            const ChangeOptions *options, ServiceDoneFn done, gpointer user_data);
void service_close_connection(Service *service, guint16 tsih, guint16 cid,
                              const ChangeOptions *options, ServiceDoneFn done, gpointer user_data);

/*
 * Jobs
 */

/* @done when it has been told to end, which it will soon. One that has ended stays as it is. */
void service_cancel_job(Service *service, guint32 id, const ChangeOptions *options,
                        ServiceDoneFn done, gpointer user_data);

/*
 * The whole
 */

/**
 * service_reload() - make the running configuration equal to the files
 *
 * INVALID_ARGUMENT with the first problem when any file cannot be used; nothing is changed then.
 * What is not done because it would hurt initiators (removing a target that has sessions, or a
 * backstore in use; changing an open backstore) is reported by a CONFIGURATION_ERROR event and takes
 * effect when the service starts again. Objects that were made with persist=FALSE are left alone.
 */
void service_reload(Service *service, const ChangeOptions *options, ServiceDoneFn done,
                    gpointer user_data);

/*
 * Statistics: asked for, because the counters belong to the workers
 */

typedef struct {
    const char *name; /* "bytes-read": lower case, with dashes, static */
    guint64 value;
} ServiceCounter;

/* Of one object; @object is valid during the callback */
typedef struct {
    ModelKind kind;
    gpointer object;
    const ServiceCounter *counters;
    guint n_counters;
} ServiceCounters;

typedef struct {
    gint64 timestamp; /* µs, CLOCK_MONOTONIC */
    const ServiceCounters
        *objects; /* the Model itself, backstores, luns, targets, portals, sessions, connections */
    guint n_objects;
} ServiceStatistics;

typedef void (*ServiceStatisticsFn)(const ServiceStatistics *statistics, gpointer user_data);

void service_get_statistics(Service *service, ServiceStatisticsFn done, gpointer user_data);
