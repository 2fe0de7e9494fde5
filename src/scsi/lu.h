/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "backstore/backstore.h"
#include "engine/snapshot.h"
#include "scsi/sense.h"

/*
 * Logical unit
 *
 * One Lu serves one backstore to any number of nexuses of any number of
 * targets. It is split into shards, one a worker, each owned by its worker:
 * the nexuses of sessions there, their commands, local range locks. The home
 * worker alone decides what concerns all: resets, and later reservations, mode
 * pages, ALUA; it tells the shards by message.
 *
 * Created and destroyed by the control thread.
 */

typedef struct Lu Lu;
typedef struct ScsiCommand ScsiCommand;
typedef struct LuPersist LuPersist;

/**
 * LuPersistFn - keep the reservations, or what else it says, of a logical unit
 *
 * Called on the thread that drains LuConfig.persist_to, with every change before it is in force. The
 * text, NULL when there is nothing in it, is for the unit that takes this one's place while the
 * service runs. When @keep is set it has to be on stable storage, and else nothing may be there,
 * before lu_persisted() is called, from that thread; no other change comes before.
 */
typedef void (*LuPersistFn)(LuPersist *persist, gpointer user_data);

struct LuPersist {
    Message message;
    Lu *lu;
    char *text;
    gboolean keep; /* it outlives a loss of power */

    /* private to scsi */
    MessageFn stored; /* on the home worker */
    Mailbox *to;
    LuPersistFn fn;
    gpointer user_data;
    gboolean success;
};

void lu_persisted(LuPersist *persist, gboolean success);

/* Whether a stored text can be used for LuConfig.reservations */
gboolean lu_check_reservations(const char *text, gsize size, GError **ret_error);

/* The same for LuConfig.erase */
gboolean lu_check_erase(const char *text, gsize size, GError **ret_error);

/* What a unit is for initiators */
typedef enum {
    LU_DISK,
    LU_CDROM, /* reads only; the medium is removable */
} LuDevice;

/**
 * LuMediumFn - an initiator has ejected the medium, or loaded it again
 *
 * On the thread that drains LuConfig.medium_to. Of several changes in a row only the last one may be
 * told.
 */
typedef void (*LuMediumFn)(Lu *lu, gboolean is_ejected, gpointer user_data);

/* The same for LuConfig.modes and LuConfig.identifying */
gboolean lu_check_modes(const char *text, gsize size, GError **ret_error);
gboolean lu_check_identifying(const char *text, gsize size, GError **ret_error);

typedef struct {
    const char *name;     /* of the backstore, for messages */
    guint8 uuid[16];      /* the identity from which NAA, serial and designators are made */
    const char *serial;   /* NULL: from the UUID */
    const char *vendor;   /* NULL: "LUNPORT" */
    const char *product;  /* NULL: from the type */
    const char *revision; /* NULL: the program's version */
    guint64 naa; /* 0: locally assigned (NAA 3h) from the UUID; else this NAA 2h/3h/5h identifier */
    guint8 naa6[16];      /* first byte 0: none; else an NAA 6h identifier */
    gboolean thin;        /* report logical block provisioning */
    gboolean lenient_cdb; /* reserved bits of CDBs are not checked */
    LuPersistFn persist;  /* NULL: reservations live and die with the unit */
    gboolean can_keep;    /* @persist has stable storage */
    gpointer persist_data;
    Mailbox *persist_to;       /* of the thread that stores */
    LuPersistFn persist_erase; /* the same for SANITIZE and FORMAT UNIT; NULL: ends with the unit */
    const char *erase;         /* what was stored, checked by lu_check_erase(), or NULL: goes on */
    gsize erase_size;
    LuPersistFn persist_modes; /* the same for saved mode parameters */
    const char *modes; /* what was stored, checked by lu_check_modes(), or NULL: the defaults */
    gsize modes_size;
    LuPersistFn persist_identifying; /* the same for SET IDENTIFYING INFORMATION */
    const char *identifying; /* what was stored, checked by lu_check_identifying(), or NULL: none */
    gsize identifying_size;
    const char *reservations; /* what was stored, checked by lu_check_reservations(), or NULL */
    gsize reservations_size;
    gboolean is_power_on; /* that was before a loss of power */
    LuDevice device;
    gboolean removable;   /* the medium can be ejected and loaded; always so on LU_CDROM */
    gboolean is_ejected;  /* the unit begins with the medium out: removable ones only */
    LuMediumFn medium_fn; /* NULL: nobody wants to know */
    gpointer medium_data;
    Mailbox *medium_to;
    SenseCode not_ready; /* NONE: ready; else there is no medium, and this is why */
    guint64 known_size;  /* not ready: bytes that initiators were told before; 0: they were not */
} LuConfig;

typedef struct {
    guint64 n_commands;
    guint64 n_reads, n_writes;
    guint64 bytes_read, bytes_written, bytes_verified;
    guint64 read_usec, write_usec; /* from arrival to status, summed up */
    guint64 n_read_failures, n_write_failures, n_verify_failures; /* of the backstore */
    guint64 n_errors; /* commands that ended in CHECK CONDITION but for unit attentions */
    guint64 n_resets, n_aborts;
    guint64 latency[32]; /* histogram: bucket i counts commands of 2^i to 2^(i+1)-1 µs */
} LuStatistics;

/**
 * lu_new() - make a logical unit
 * @store: open; outlives the LU
 * @workers: all workers; the array outlives the LU
 * @home: index of the home worker
 */
Lu *lu_new(const LuConfig *config, Backstore *store, Worker **workers, guint n_workers, guint home);

typedef void (*LuReleasedFn)(Lu *lu, gpointer user_data);

/**
 * lu_release() - wait until no worker uses the LU any more, then say so
 *
 * Called by the control thread after the LU has left every LunMap. @done runs on the thread that
 * drains @reply_to; then the LU may be freed with lu_free().
 */
void lu_release(Lu *lu, Mailbox *reply_to, LuReleasedFn done, gpointer user_data);
void lu_free(Lu *lu); /* released, or never used */

/* Administrative logical unit reset; @done as above, may be called with reset in progress (BUSY is not an outcome) */
void lu_reset(Lu *lu, Mailbox *reply_to, LuReleasedFn done, gpointer user_data);

/* Raise a unit attention for all nexuses; @done when they have it */
void lu_raise_attention(Lu *lu, SenseCode code, Mailbox *reply_to, LuReleasedFn done,
                        gpointer user_data);

typedef void (*LuResizedFn)(Lu *lu, gboolean success, gpointer user_data);

/**
 * lu_set_size() - let initiators use more, or less, of the store, and tell them
 * @size: bytes, whole blocks; the store has as many
 *
 * Once @done is called nothing beyond @size is under way or will begin. It gets FALSE when nothing was
 * changed because the medium is being erased.
 */
void lu_set_size(Lu *lu, guint64 size, Mailbox *reply_to, LuResizedFn done, gpointer user_data);

/**
 * lu_set_read_only() - let initiators write no more, or again, and tell them
 *
 * Once @done is called for a unit that is read-only nothing is being written. It gets FALSE when nothing
 * was changed because the medium is being erased. A store that was opened for reading stays so.
 */
void lu_set_read_only(Lu *lu, gboolean read_only, Mailbox *reply_to, LuResizedFn done,
                      gpointer user_data);

typedef enum {
    LU_EJECTED,
    LU_EJECT_PREVENTED, /* an initiator prevents it; all are told that it is wanted */
    LU_EJECT_ERASING,   /* the medium is being erased */
} LuEjectResult;

typedef void (*LuEjectedFn)(Lu *lu, LuEjectResult result, gpointer user_data);

/**
 * lu_eject() - hide the medium of a removable unit from initiators
 * @force: also when one of them prevents that
 *
 * Once @done is called with LU_EJECTED nothing of the medium is being read or written. medium_fn is
 * not called.
 */
void lu_eject(Lu *lu, gboolean force, Mailbox *reply_to, LuEjectedFn done, gpointer user_data);

/* The reverse: initiators find it loaded */
void lu_load(Lu *lu, Mailbox *reply_to, LuReleasedFn done, gpointer user_data);

/* On the worker @worker_index: its part of the counters */
void lu_get_statistics(const Lu *lu, guint worker_index, LuStatistics *ret_statistics);

/* The same of the backstore under it */
void lu_get_store_statistics(const Lu *lu, guint worker_index, BackstoreStatistics *ret_statistics);

/*
 * Reservations, for the administrator
 */

typedef struct {
    char *initiator_port; /* "NAME,i,0xISID" */
    guint16 relative_target_port;
    guint64 key;
    gboolean is_holder;
} LuRegistration;

typedef struct {
    guint32 generation;
    guint8 type; /* of the persistent reservation as in READ RESERVATION, 0: there is none */
    gboolean aptpl;
    char *reserved_by; /* by RESERVE: an initiator port, or NULL */
    guint n_registrations;
    LuRegistration *registrations;
} LuReservation;

typedef void (*LuReservationFn)(Lu *lu, const LuReservation *reservation, gpointer user_data);
typedef void (*LuClearedFn)(Lu *lu, gboolean success, gpointer user_data);

/* What is reserved, in the order of changes; @reservation is valid during @done */
void lu_get_reservation(Lu *lu, Mailbox *reply_to, LuReservationFn done, gpointer user_data);

/* Remove all registrations and reservations; @done with FALSE when that could not be stored */
void lu_clear_reservations(Lu *lu, Mailbox *reply_to, LuClearedFn done, gpointer user_data);

typedef struct {
    guint16 relative_port; /* of two targets it may be the same */
    guint32 target;        /* lu_target_id() */
} LuPort;

/* The target ports through which the unit can be reached: what ALL_TG_PT means. Control thread. */
void lu_set_target_ports(Lu *lu, const LuPort *ports, guint n_ports);

/* What stands for a target where its name would be too long; never 0 */
guint32 lu_target_id(const char *target_name);

/* Whether both have one identity: for initiators they are one unit at different times */
gboolean lu_is_same_unit(const Lu *a, const Lu *b);

const char *lu_name(const Lu *lu);
void lu_format_serial(const LuConfig *config, char *text, gsize size); /* what VPD 80 shows */
void lu_format_wwn(const LuConfig *config, char *text,
                   gsize size); /* "naa.3…": what VPD 83 shows */

/*
 * The logical units of a target as its initiators see them
 */

typedef struct {
    guint16 lun; /* 0 to 16383 */
    Lu *lu;
    gboolean read_only;
} LunEntry;

/* Asymmetric access states, by their codes in SPC */
typedef enum {
    ALUA_ACTIVE_OPTIMIZED = 0x0,
    ALUA_ACTIVE_NON_OPTIMIZED = 0x1,
    ALUA_STANDBY = 0x2,
    ALUA_UNAVAILABLE = 0x3,
    ALUA_OFFLINE = 0xe,
    ALUA_TRANSITIONING = 0xf,
} AluaState;

/* Why a group has the state it has */
typedef enum {
    ALUA_STATUS_NONE = 0,
    ALUA_STATUS_EXPLICIT = 1, /* SET TARGET PORT GROUPS */
    ALUA_STATUS_IMPLICIT = 2, /* the administrator */
} AluaStatus;

/* A target port group as initiators see it */
typedef struct {
    guint16 tag;
    guint16 relative_port; /* relative identifier of its target port; 0: the one of the nexus */
    AluaState state;
    AluaStatus status;
    gboolean preferred;
} AluaGroup;

#define ALUA_GROUPS_MAX 256

typedef struct {
    guint16 tag;
    guint16 state; /* AluaState */
} AluaChange;

typedef enum {
    ALUA_SET,
    ALUA_BUSY, /* something else is being done to the target; later it will work */
    ALUA_FAILED,
} AluaResult;

/* What SET TARGET PORT GROUPS asks of the control thread */
typedef struct AluaRequest AluaRequest;
typedef void (*AluaRequestFn)(AluaRequest *request, gpointer user_data);

struct AluaRequest {
    Message message;
    const char *target_name;
    guint n_changes;
    AluaChange changes[ALUA_GROUPS_MAX];

    /* private to scsi */
    ScsiCommand *command;
    AluaResult result;
    AluaRequestFn fn;
    gpointer user_data;
};

/**
 * alua_answer() - end a request, once
 *
 * When every worker has the new map; without waiting for any session or command to end.
 */
void alua_answer(AluaRequest *request, AluaResult result);

typedef struct {
    Mailbox *to;
    AluaRequestFn fn; /* on the thread that drains @to; NULL: initiators cannot change states */
    gpointer user_data;
} AluaControl;

typedef struct {
    Snapshot snapshot;
    AluaGroup *groups; /* by ascending tag; of the target, not only of those with sessions */
    guint n_groups;
    AluaControl alua;
    guint n_entries;
    LunEntry entries[]; /* by ascending LUN */
} LunMap;

/* A copy of @entries, which must be sorted; one reference */
LunMap *lun_map_new(const LunEntry *entries, guint n_entries);

/* Before the map is used: a copy of @groups and of @control, which may be NULL */
void lun_map_set_alua(LunMap *map, const AluaGroup *groups, guint n_groups,
                      const AluaControl *control);
