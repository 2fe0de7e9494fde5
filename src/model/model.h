/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "model/spec.h"
#include "util/address.h"

/*
 * The model: what exists, as plain data
 *
 * Configured objects (backstores, targets with their logical units, portal
 * groups with their portals) and run-time objects (sessions with their
 * connections). Everything here belongs to the control thread. Only control
 * changes the model; others look and are told by the observer.
 *
 * A pointer to an object is valid until the observer's removed() for it has
 * returned. Who waits for something in between keeps the name and looks again.
 */

typedef enum {
    MODEL_SERVICE, /* the object is the Model itself: state, generation, number of sessions */
    MODEL_BACKSTORE,
    MODEL_TARGET,
    MODEL_LUN,
    MODEL_PORTAL_GROUP,
    MODEL_PORTAL,
    MODEL_SESSION,
    MODEL_CONNECTION,
    MODEL_ACL,
    MODEL_INITIATOR_GROUP,
    MODEL_SETTINGS, /* of the whole service; told as a change of MODEL_SERVICE */
    MODEL_JOB,      /* see model/job.h */
    MODEL_KIND_N,
} ModelKind;

typedef enum {
    MODEL_ORIGIN_STATE,        /* the service's own files: may be changed, changes are kept */
    MODEL_ORIGIN_CONFIG,       /* files of the administrator: changes only with persist=FALSE */
    MODEL_ORIGIN_RUNTIME,      /* created with persist=FALSE: gone when the service stops */
    MODEL_ORIGIN_SOCKET_UNIT,  /* a portal that systemd listens on */
    MODEL_ORIGIN_COMMAND_LINE, /* a portal of --listen */
    MODEL_ORIGIN_N,
} ModelOrigin;

typedef enum {
    MODEL_STATE_STARTING,
    MODEL_STATE_RUNNING,
    MODEL_STATE_STOPPING,
} ModelState;

typedef enum {
    BACKSTORE_OPENING,
    BACKSTORE_ONLINE,
    BACKSTORE_OFFLINE, /* it is not there; tried again by itself */
    BACKSTORE_FAILED,  /* @error says why; tried again by itself */
} BackstoreState;

typedef enum {
    MEDIUM_FIXED,
    MEDIUM_LOADED,
    MEDIUM_EJECTED, /* by an initiator, which can load it again */
    MEDIUM_NONE,
} BackstoreMedium;

typedef enum {
    TARGET_DISABLED,
    TARGET_ONLINE,  /* initiators can log in */
    TARGET_OFFLINE, /* enabled, but no portal listens */
} TargetState;

typedef enum {
    PORTAL_LISTENING,
    PORTAL_PAUSED,
    PORTAL_FAILED,
} PortalState;

typedef enum {
    ISNS_OFF, /* no server is set */
    ISNS_CONNECTING,
    ISNS_REGISTERED,
    ISNS_UNAVAILABLE, /* tried again by itself */
} ModelIsns;

typedef enum {
    SESSION_ACTIVE,
    SESSION_CLOSING,
} SessionState;

typedef struct Model Model;
typedef struct ModelBackstore ModelBackstore;
typedef struct ModelTarget ModelTarget;
typedef struct ModelLun ModelLun;
typedef struct ModelPortalGroup ModelPortalGroup;
typedef struct ModelPortal ModelPortal;
typedef struct ModelSession ModelSession;
typedef struct ModelConnection ModelConnection;
typedef struct ModelAcl ModelAcl;
typedef struct ModelInitiatorGroup ModelInitiatorGroup;

/* What may be seen of CHAP accounts: names, as many of one as of the other; an empty mutual user: there
 * is none. @user and @mutual_user are those of the first account; empty names: there is none. */
typedef struct {
    char **users;
    char **mutual_users;
    const char *user;
    const char *mutual_user;
} ModelAccount;

/* How often a limit was reached since the service started, and when and by whom last */
typedef struct {
    const char *name; /* "max-logins" */
    guint64 n;
    gint64 last_at; /* µs, CLOCK_REALTIME */
    char peer[ADDRESS_TEXT_MAX];
} ModelLimitHit;

struct ModelBackstore {
    BackstoreSpec *spec;  /* effective */
    BackstoreSpec *saved; /* what its file says; NULL: it has none */
    ModelOrigin origin;
    BackstoreState state;
    BackstoreMedium medium;
    GError *error; /* last error, or NULL */

    /* known since the store was opened first; 0 and NULL before */
    guint64 size;
    guint64 allocated_size; /* asked for with the statistics; 0: not known */
    guint32 block_size;
    guint32 physical_block_size;
    const char *cache; /* in use */
    gboolean read_only;
    gboolean write_cache;
    gboolean can_unmap;

    char *serial;    /* what VPD page 80h shows */
    char *wwn;       /* "naa.3…" */
    GPtrArray *luns; /* of ModelLun, borrowed */

    /* the persistent reservation, as told after each change of it */
    guint8 reservation_type; /* as in READ RESERVATION, 0: there is none */
    guint32 reservation_generation;
    char *reservation_holder; /* an initiator port; NULL: none, or all that are registered */

    GVariant *faults; /* aa{sv}: trouble on purpose, as it was asked for; NULL: none */

    gpointer fault_set; /* of control */
    gpointer runtime;   /* of control */
};

struct ModelTarget {
    TargetSpec *spec;
    TargetSpec *saved;
    ModelOrigin origin;
    TargetState state;
    GError *error;
    guint32 id;       /* never reused */
    guint n_sessions; /* normal ones */
    GPtrArray *luns;  /* of ModelLun, by ascending number */
    GPtrArray *acls;  /* of ModelAcl, in the order of the spec */
    ModelAccount account;
    guint64 n_logins; /* since it is there */
    guint64 n_refused;
    gboolean is_leaving; /* the workers are forgetting it */
    gpointer runtime;    /* of control */
};

struct ModelLun {
    ModelTarget *target;
    ModelBackstore *backstore; /* NULL: the configuration names one that does not exist */
    guint16 number;
    char *backstore_name;
    gboolean read_only; /* also when the backstore is */
    gboolean is_online; /* else commands that need the medium are refused */
};

struct ModelAcl {
    ModelTarget *target;
    char *name; /* its spec is target_spec_find_acl(target->spec, name) */
    guint32 id; /* never reused */
    ModelAccount account;
};

struct ModelInitiatorGroup {
    InitiatorGroupSpec *spec;
    InitiatorGroupSpec *saved;
    ModelOrigin origin;
};

struct ModelPortalGroup {
    PortalGroupSpec *spec; /* portals of sockets and of the command line are not in it */
    PortalGroupSpec *saved;
    ModelOrigin origin;
    GPtrArray *portals; /* of ModelPortal */
};

struct ModelPortal {
    ModelPortalGroup *group;
    ModelOrigin origin;
    guint32 id;    /* never reused */
    char *address; /* without brackets; "*" for all of both families */
    guint16 port;
    char *interface; /* "" for any */
    char *announce;  /* ADDR[:PORT] that initiators are told instead; "" for none */
    PortalState state;
    GError *error;
    guint n_connections; /* of sessions */
    guint64 n_accepted;
    gpointer runtime; /* of control */
};

struct ModelSession {
    guint16 tsih;
    char isid[13]; /* 12 hexadecimal digits */
    gboolean discovery;
    ModelTarget *target; /* NULL for discovery, and after the target was deleted by force */
    char *target_name;   /* "" for discovery */
    char *initiator_name;
    char *initiator_alias; /* "" where none was given */
    char *chap_user;       /* NULL: it did not have to prove who it is */
    SessionState state;
    gint64 established_at;  /* µs, CLOCK_REALTIME */
    char *remote_address;   /* without port */
    GVariant *parameters;   /* a{sv}: what was negotiated */
    GPtrArray *connections; /* of ModelConnection */
    gpointer runtime;       /* of control */
};

struct ModelConnection {
    ModelSession *session;
    guint16 cid;
    ModelPortal *portal; /* NULL when it has been deleted */
    Address local;
    Address remote;
    char *header_digest; /* "None", "CRC32C" */
    char *data_digest;
    gint64 established_at;
};

/*
 * What happens to objects. Parents are added before their children and
 * removed after them. removed() is called while the object is still whole.
 */
typedef struct {
    void (*added)(ModelKind kind, gpointer object, gpointer user_data);
    void (*changed)(ModelKind kind, gpointer object, gpointer user_data);
    void (*removed)(ModelKind kind, gpointer object, gpointer user_data);
} ModelObserver;

struct Model {
    ModelState state;
    guint64 generation;    /* grows with each change of the configuration */
    gint64 started_at;     /* µs, CLOCK_REALTIME */
    GPtrArray *backstores; /* all by ascending name, tag or number */
    GPtrArray *targets;
    GPtrArray *portal_groups;
    GPtrArray *sessions;
    GPtrArray *initiator_groups;
    GPtrArray *jobs; /* of ModelJob, in the order of their beginning */
    SettingsSpec *settings;
    SettingsSpec *saved_settings; /* NULL: no file has any */
    ModelOrigin settings_origin;
    GArray *limit_hits; /* of ModelLimitHit; those that nobody ran into are not there */
    ModelAccount discovery_account;
    ModelIsns isns_state;
    char *isns_error; /* why it is unavailable; "" otherwise */
    char **problems;  /* sentences about what needs attention besides the states of objects */

    /* private */
    const ModelObserver *observer;
    gpointer observer_data;
    GHashTable *backstores_by_name;
    GHashTable *targets_by_name;
    GHashTable *sessions_by_tsih;
    GHashTable *reserved; /* "KIND/NAME" to why */
    GPtrArray *put_aside; /* of TargetSpec: what the files of targets say that are reserved */
    guint32 next_id;
    guint32 last_job_id;
};

Model *model_new(void);
void model_free(Model *model); /* tells nobody */

/* At most one. Nothing is reported for what exists already: walk the arrays first. */
void model_set_observer(Model *model, const ModelObserver *observer, gpointer user_data);

/* Borrowed or NULL. @name of a target must be normalised. */
ModelBackstore *model_find_backstore(const Model *model, const char *name);
ModelTarget *model_find_target(const Model *model, const char *name);
ModelLun *model_find_lun(const ModelTarget *target, guint16 number);
ModelPortalGroup *model_find_portal_group(const Model *model, guint16 tag);
ModelPortal *model_find_portal(const Model *model, const char *address,
                               guint16 port); /* configured or not */
ModelPortal *model_find_portal_by_id(const Model *model, guint32 id);
ModelSession *model_find_session(const Model *model, guint16 tsih);
ModelConnection *model_find_connection(const ModelSession *session, guint16 cid);
ModelAcl *model_find_acl(const ModelTarget *target, const char *name);
ModelAcl *model_find_acl_by_id(const ModelTarget *target, guint32 id);
const AclSpec *model_acl_spec(const ModelAcl *acl); /* never NULL */
ModelInitiatorGroup *model_find_initiator_group(const Model *model, const char *name);
gboolean model_acl_uses_group(const ModelTarget *target, const char *group_name);

/**
 * model_find_saved_user() - what refers to an object by its file, whatever holds now
 * @kind: backstore, portal group or initiator group
 * @name: of it; the tag of a portal group
 *
 * Returns: the file of a target that would miss it when the service starts again; or NULL
 */
const TargetSpec *model_find_saved_user(const Model *model, ModelKind kind, const char *name);

/* Words for the bus and for people */
const char *model_kind_to_string(ModelKind kind); /* "backstore" */
const char *
model_origin_to_string(ModelOrigin origin); /* "configuration", "socket-unit", "command-line" */
const char *model_state_to_string(ModelState state); /* "starting", "running", "stopping" */
const char *
backstore_state_to_string(BackstoreState state); /* "opening", "online", "offline", "failed" */
const char *
backstore_medium_to_string(BackstoreMedium medium);    /* "", "loaded", "ejected", "none" */
const char *target_state_to_string(TargetState state); /* "disabled", "online", "offline" */
const char *portal_state_to_string(PortalState state); /* "listening", "paused", "failed" */
const char *
model_isns_to_string(ModelIsns state); /* "off", "connecting", "registered", "unavailable" */
const char *session_state_to_string(SessionState state); /* "active", "closing" */

/* “write-exclusive” and so on; empty for none */
const char *reservation_type_to_string(guint8 type);

gboolean model_origin_is_persistent(ModelOrigin origin); /* the property Persistent */

/*
 * For control only: the one place where the model changes
 */

/* Each takes @spec and @saved (may be NULL), makes the children too and reports them */
ModelBackstore *model_add_backstore(Model *model, BackstoreSpec *spec, BackstoreSpec *saved,
                                    ModelOrigin origin);
ModelTarget *model_add_target(Model *model, TargetSpec *spec, TargetSpec *saved,
                              ModelOrigin origin);
ModelPortalGroup *model_add_portal_group(Model *model, PortalGroupSpec *spec,
                                         PortalGroupSpec *saved, ModelOrigin origin);

/* A portal of a group, in its spec or not; it begins as PORTAL_FAILED without error */
ModelPortal *model_add_portal(Model *model, ModelPortalGroup *group, const PortalSpec *portal,
                              ModelOrigin origin);

ModelInitiatorGroup *model_add_initiator_group(Model *model, InitiatorGroupSpec *spec,
                                               InitiatorGroupSpec *saved, ModelOrigin origin);
void model_remove_initiator_group(Model *model, ModelInitiatorGroup *group);

/* Takes both; @saved NULL leaves what is there */
void model_set_initiator_group(Model *model, ModelInitiatorGroup *group, InitiatorGroupSpec *spec,
                               InitiatorGroupSpec *saved);
/* Somebody has run into the limit @name (static) @n times, @peer last */
void model_count_limit(Model *model, const char *name, guint64 n, gint64 wall_time,
                       const char *peer);
void model_set_settings(Model *model, SettingsSpec *spec, SettingsSpec *saved, ModelOrigin origin);

/* NULL-terminated, of the same length; copied. TRUE when that is a change. */
gboolean model_set_account(ModelAccount *account, const char *const *users,
                           const char *const *mutual_users);

/* @error: NULL for none */
void model_set_isns(Model *model, ModelIsns state, const char *error);

/* NULL-terminated, taken */
void model_set_problems(Model *model, char **problems);

/* Replace the spec (and @saved where not NULL): logical units and rules are added, changed and removed as it says */
void model_set_target(Model *model, ModelTarget *target, TargetSpec *spec, TargetSpec *saved);

/* Removes the children too. Connections and sessions of a target or portal lose their pointer to it. */
void model_remove_backstore(Model *model, ModelBackstore *backstore); /* no logical unit uses it */
void model_remove_target(Model *model, ModelTarget *target);
void model_remove_portal_group(Model *model, ModelPortalGroup *group);
void model_remove_portal(Model *model, ModelPortal *portal);

/* Takes @session and its connections, which are filled in */
void model_take_session(Model *model, ModelSession *session);
void model_remove_session(Model *model, ModelSession *session);

/* One connection of a session that is there; @connection is taken */
void model_take_connection(Model *model, ModelConnection *connection);
void model_remove_connection(Model *model, ModelConnection *connection);
ModelSession *model_session_new(guint16 tsih);

/* Report a change that was made to the members directly */
void model_changed(Model *model, ModelKind kind, gpointer object);

/* Set @where to a copy of @error, which may be NULL; TRUE when that is a change */
gboolean model_set_error(GError **where, const GError *error);

/* Count a change of the configuration and report it */
void model_bump_generation(Model *model);
void model_set_state(Model *model, ModelState state);

/* Names that must not be used although no object has them: a file that cannot be read holds it */
void model_reserve(Model *model, ModelKind kind, const char *name, const char *why);
void model_put_aside(Model *model, const TargetSpec *saved); /* its name is reserved; copied */
void model_unreserve_all(Model *model);
const char *model_find_reserved(const Model *model, ModelKind kind,
                                const char *name); /* why, or NULL */

/* A relative target port identifier for a new target: made from its name, unique */
guint16 model_make_relative_port(const Model *model, const char *target_name);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Model, model_free)
