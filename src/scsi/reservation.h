/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "engine/snapshot.h"
#include "scsi/lu-reset.h"
#include "scsi/lu.h"
#include "scsi/optable.h"

/*
 * Reservations of one logical unit
 *
 * The state is an immutable snapshot: who is registered with which key, who
 * holds the persistent reservation, who has the unit by RESERVE. The home
 * worker replaces it, every worker has a reference to the one that is in force
 * there, and each NexusLun knows the classes of commands that it refuses. A
 * command pays one compare of that set with zero.
 *
 * A nexus is named by initiator port name and relative target port, so that one
 * that is not logged in can be registered as well. Identifiers of 16 bits do not
 * go far: with many targets, or high portal group tags, ports of two targets can
 * have the same. So the target belongs to the name too; where a command names a
 * port by its identifier alone, a port of its own target is meant first.
 */

typedef struct Nexus Nexus;
typedef struct NexusLun NexusLun;
typedef struct LuShard LuShard;

#define PORT_NAME_MAX     240 /* "NAME,i,0xISID" */
#define REGISTRATIONS_MAX 512 /* a logical unit */

typedef enum {
    PR_TYPE_NONE = 0,
    PR_TYPE_WRITE_EXCLUSIVE = 1,
    PR_TYPE_EXCLUSIVE_ACCESS = 3,
    PR_TYPE_WRITE_EXCLUSIVE_RO = 5, /* registrants only */
    PR_TYPE_EXCLUSIVE_ACCESS_RO = 6,
    PR_TYPE_WRITE_EXCLUSIVE_AR = 7, /* all registrants */
    PR_TYPE_EXCLUSIVE_ACCESS_AR = 8,
} PrType;

typedef struct {
    char name[PORT_NAME_MAX + 1];
    guint16 port;   /* relative target port */
    guint32 target; /* lu_target_id(); 0: unknown, from a record of version 1 */
} NexusName;

typedef struct {
    NexusName nexus;
    guint64 key; /* never zero */
} Registration;

typedef struct {
    Snapshot snapshot;
    guint32 generation;
    gboolean aptpl;       /* the registrations outlive a loss of power */
    guint8 type;          /* PrType */
    guint holder;         /* index; of no meaning without a type and with all registrants */
    gboolean is_reserved; /* by RESERVE */
    NexusName reserved_by;
    guint n;
    guint n_room;
    Registration entries[];
} Reservations;

/*
 * The state; all but _unref() and the readers are for the one who builds it
 */

Reservations *reservations_new(void);

/* A copy that has room for @extra more registrations, to be changed by its only owner */
Reservations *reservations_copy(const Reservations *from, guint extra);
void reservations_unref(Reservations *reservations);

gboolean reservations_find(const Reservations *reservations, const NexusName *nexus,
                           guint *ret_index);
gboolean reservations_is_holder(const Reservations *reservations, guint index);
gboolean reservations_add(Reservations *reservations, const NexusName *nexus, guint64 key);

/* Takes the reservation along when it was the holder's, or the last one's */
void reservations_remove(Reservations *reservations, guint index);
void reservations_release(Reservations *reservations);

gboolean pr_type_is_valid(guint8 type);
gboolean pr_type_is_all_registrants(guint8 type);
gboolean pr_type_is_shared(guint8 type); /* registrants only or all registrants */

/* The set of classes, 1 << PrClass, that are refused to @nexus */
guint8 reservations_denied(const Reservations *reservations, const NexusName *nexus);

void nexus_name_init(NexusName *name, const Nexus *nexus);
gboolean nexus_name_equal(const NexusName *a, const NexusName *b);

/* The stored form: lines of text with a version and a checksum; NULL when there is nothing to keep */
char *reservations_format(const Reservations *reservations);
Reservations *reservations_parse(const char *text, gsize size, GError **ret_error);

/*
 * Changes, on the home worker, by the request that is first in the queue
 */

typedef struct {
    Reservations *next;     /* taken */
    const NexusName *cause; /* who did it, gets no unit attention; NULL: nobody; lives till done */
    SenseCode to_removed;   /* for those whose registration is gone, or SENSE_NONE */
    SenseCode to_kept;      /* for those who are registered before and after */
    gboolean abort;         /* commands of those whose registration is gone */
    gboolean persist;       /* it concerns what LuPersistFn keeps */
    void (*done)(Lu *lu, gboolean success);
} ReservationChange;

/**
 * reservation_change() - put a new state in force
 *
 * @done is called when it is stored and every worker has it: commands that the old state let pass
 * and the new one does not have ended or have no further effect. When storing fails the old state
 * stays.
 */
void reservation_change(Lu *lu, const ReservationChange *change);

/* For lu-reset.c: a reset ends what RESERVE did */
void reservation_reset(Lu *lu);
void reservation_reset_done(Lu *lu);
void reservation_shard_take(LuShard *shard);

/*
 * On every worker
 */

/* The gate: is the command refused by what another nexus has reserved? */
gboolean reservation_refuses(const ScsiCommand *command);

/* The same at the home worker, by the state that counts there; the command's owner waits */
gboolean reservation_refuses_at_home(const ScsiCommand *command);

/* A command's I/O has ended while LuShard.n_conflicts is not zero */
void reservation_io_ended(LuShard *shard);

void reservation_lun_init(NexusLun *nexus_lun);

/* The nexus does not reach the unit any more: what it has by RESERVE ends some time later */
void reservation_lun_deinit(NexusLun *nexus_lun);

/* lu.c */
void reservation_lu_init(Lu *lu, const LuConfig *config);
void reservation_lu_deinit(Lu *lu);
