/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "scsi/abort-wait.h"
#include "scsi/identity.h"
#include "scsi/lu-erase.h"
#include "scsi/lu-notes.h"
#include "scsi/lu-reset.h"
#include "scsi/lu-state.h"
#include "scsi/lu.h"
#include "scsi/lun.h"
#include "scsi/nexus.h"
#include "scsi/reservation.h"
#include "scsi/rod-token.h"
#include "scsi/unit-attention.h"

/*
 * The inside of a logical unit, shared by the files of this folder only
 *
 *   ScsiWorker   one a worker: what all its logical units share
 *   Lu           constant facts, and the state of the home worker
 *   LuShard      one a worker: the nexuses there, local range locks, counters
 *   Nexus        one a session
 *   NexusLun     one nexus on one logical unit: task set, unit attentions
 */

typedef struct ScsiWorker ScsiWorker;
typedef struct LuShard LuShard;
typedef struct RangeLock RangeLock;

struct ScsiWorker {
    Worker *worker;
    ScsiEventFn event_fn;
    gpointer user_data;
    guint8 op_index[256];
    guint32 max_transfer; /* bytes: MAXIMUM TRANSFER LENGTH */
    List runnable;        /* commands whose wait is over */
    Deferred run;
    guint64 abort_sequence;
    guint n_copies; /* EXTENDED COPY, under way */
    List abort_waits;
    List stalled; /* shards with aborted commands in flight */
    Timer stall_timer;
};

#define SCSI_STALL_USEC (5 * USEC_PER_SEC)

/* A lock as one shard sees it; the node travels between home and shard */
typedef struct {
    Message message;
    ListLink link; /* in LuShard.ranges */
    RangeLock *lock;
    LuShard *shard;
    gboolean is_waiting; /* for own I/O in flight, before it answers RANGE_LOCKED */
} RangeMember;

struct RangeLock {
    Lu *lu;
    ScsiCommand *holder; /* NULL: the slot is free */
    guint64 offset;      /* what is locked, whole physical blocks */
    guint64 end;
    gboolean excludes_reads;
    guint n_waiting;      /* answers of shards */
    RangeMember *members; /* one a worker */

    /* What is carried out */
    RangeOp op;
    gboolean is_comparing;
    const guint8 *compare;
    guint64 write_offset;
    guint64 write_end;
    guint8 *data;
    IoFlags flags;
    void (*done)(Io *io);
    guint64 position; /* of the window */
    guint8 *window;
};

#define LU_RANGE_LOCKS 4
#define LU_LOG_BASES   4

/* The home worker tells the control thread whether the medium is in: one node, out or at home */
typedef struct {
    Message message;
    Lu *lu;
    LuMediumFn fn;
    gpointer user_data;
    Mailbox *to;
    gboolean is_out;
    gboolean told; /* is_ejected, as it was told last */
} LuMediumNote;

/* What is kept besides reservations and erasings: the step "record" of an errand (lu-change.h) */
typedef enum {
    LU_RECORD_MODES, /* saved mode parameters */
    LU_RECORD_IDENTIFYING,
    LU_N_RECORD_KINDS,
} LuRecordKind;

struct LuShard {
    Lu *lu;
    Worker *worker;
    ScsiWorker *scsi; /* set when the first nexus comes */
    List nexus_luns;
    guint n_conflicts; /* local range locks plus aborted commands in flight: the one compare */
    guint n_rods;      /* tokens, see rod-token.c: the one compare of a write */
    RodShard *rods;    /* NULL until there is one */
    List ranges;       /* RangeMember */
    List parked;       /* commands that wait for a range or an aborted command */
    guint n_aborting;
    gint64 aborting_since;
    gboolean stall_reported;
    ListLink stall_link;
    guint n_requests; /* resets of nexuses here that are under way */
    LuStatistics statistics;
    LuState state;      /* a copy: see lu-state.h */
    guint n_preventing; /* nexuses here that prevent the removal of the medium */
    union {             /* the answer to an errand's question, read by home */
        LuStatistics statistics;
        gboolean is_preventing;
        struct {
            struct PrRequest *request; /* written by home while @reset_message is there */
            NexusName *names;          /* freed by home */
            guint n;
        } known;
    } asked;
    gboolean state_waits;    /* LU_CHANGED, for commands in flight */
    struct LuChange *change; /* written by home while @reset_message is there */

    Message reset_message;
    guint64 abort_generation;  /* broadcasts that aborted commands here, so far */
    SenseCode reset_attention; /* written by home while @reset_message is there */
    const Nexus *reset_nexus;  /* the same; only compared */
    ScsiAbortWait reset_wait;

    Reservations *reservations; /* in force here */
    gboolean change_waits;      /* LU_CHANGED, for commands in flight */

    Message release_message;
    gboolean release_wanted;

    Message erase_message;
    EraseState erase_state;
    gboolean erase_is_waiting;   /* for own I/O in flight, before it answers ERASE_BEGUN */
    guint16 erase_progress;      /* of 65536 */
    guint16 erase_progress_next; /* written by home while @erase_message is there */
    List erase_waiters;          /* commands that wait for the end */

    guint8 padding[64]; /* the next one belongs to another thread */
};

struct Lu {
    char *name;
    Identity identity;
    Backstore *store;
    const BackstoreInfo *info;
    guint block_shift;
    gboolean can_unmap; /* thin provisioned */
    gboolean lenient_cdb;
    SenseCode not_ready; /* NONE: ready */
    guint64 known_size;  /* not ready: see LuConfig */
    gboolean is_removable;
    LuDevice device;
    guint8 changeable_mode; /* MODE_BIT of what MODE SELECT may change here */
    Worker **workers;
    guint n_workers;
    guint home;
    LuShard *shards;

    /* of the home worker */
    List resets; /* the first one is under way */
    guint n_reset_answers;
    guint64 abort_generation; /* broadcasts that abort commands, so far */
    gboolean is_starting;     /* the first one is being begun */
    LuState state;
    guint8 default_mode;
    LuStatistics log_bases[LU_LOG_BASES]; /* what LOG SELECT has reset the counters of a page at */
    LuNotes *notes;
    LuMediumNote medium_note;
    Reservations *reservations;
    ReservationChange change; /* under way while @next is set */
    LuPersist persist;
    LuPersist records[LU_N_RECORD_KINDS];
    gboolean can_keep; /* reservations and records, over a loss of power */
    LuPort *ports;     /* that lead here */
    guint n_ports;
    List range_queue;
    RangeLock range_locks[LU_RANGE_LOCKS];
    LuErase erase;

    /* of the control thread */
    guint n_unreleased;
    Mailbox *release_to;
    LuReleasedFn released;
    gpointer released_data;
};

struct NexusLun {
    Nexus *nexus;
    Lu *lu;
    LuShard *shard;
    guint16 lun;
    guint64
        serial; /* of the nexus: no two of its NexusLuns have the same, also one after the other */
    gboolean read_only;
    gboolean is_leaving;       /* not in the map any more, waits for its commands */
    gboolean is_preventing;    /* the removal of the medium */
    guint8 media_event;        /* MediaEvent that was not fetched yet */
    gboolean has_new_features; /* with the medium the profile has changed: the same */
    guint n_set_groups;        /* SET TARGET PORT GROUPS commands that are being carried out */
    guint8 *echo;              /* NULL until it is first written */
    guint32 echo_length;
    ListLink shard_link;
    ListLink leaving_link;
    List tasks;      /* by age */
    List waiting;    /* for task ordering, by age */
    guint n_special; /* ORDERED and HEAD OF QUEUE in @tasks */
    UnitAttentions attentions;
    SenseCode deferred;    /* of a command that was answered before its end; NONE: nothing */
    gboolean stops_behind; /* START STOP UNIT with IMMED that is being carried out */
    guint8 events;         /* to be told by the transport: bits of a table in event.c */
    guint8 denied;         /* 1 << PrClass: refused because of a reservation */
    gboolean holds_reserve;
    gboolean is_preempted; /* by the change under way */
    List copies;           /* CopyJob: see copy.h */
    List rods;             /* RodJob: see rod.h */
};

struct Nexus {
    Worker *worker;
    ScsiWorker *scsi;
    char *initiator_port_name;
    char *target_name;
    guint16 relative_target_port;
    guint16 target_port_group;
    gboolean has_queries;
    guint16 version_descriptor;
    gboolean (*tell)(gpointer user_data); /* or NULL */
    NexusReachFn reach;                   /* or NULL */
    gpointer user_data;
    gboolean luns_have_changed; /* the same, of all units at once */
    guint next_event;           /* the unit to be looked at next */
    AluaState access;           /* of that group */
    LunMap *map;
    NexusLun **luns; /* parallel to map->entries */
    guint64 last_serial;
    List leaving;
    List tasks; /* commands to no logical unit */
    guint n_commands;
    guint n_copies;           /* EXTENDED COPY, under way */
    guint n_leaves;           /* see nexus_leave() */
    gboolean awaits_commands; /* the same: for those that no session counts */
    Deferred commands_ended;
    void (*left)(gpointer user_data);
    gpointer left_data;
    /* see sibling.c */
    List siblings;  /* of this one: nexuses to units of other targets */
    Deferred sweep; /* of those that are not used any more */
    Nexus *owner;   /* of a sibling; NULL: it is a session's */
    ListLink sibling_link;
    guint n_users;
};

static inline ScsiWorker *
scsi_worker_of(const Worker *worker)
{
    return worker->layers[WORKER_LAYER_SCSI];
}

/* As this worker knows it: see lu_set_size() */
static inline guint64
lu_shard_n_blocks(const LuShard *shard)
{
    return shard->state.size >> shard->lu->block_shift;
}

static inline guint32
lu_block_size(const Lu *lu)
{
    return lu->info->block_size;
}

/* Whether there is a medium to read: not ejected, and its store is there */
static inline gboolean
lu_shard_has_medium(const LuShard *shard)
{
    return shard->lu->not_ready == SENSE_NONE && !shard->state.is_ejected;
}

/* nexus.c */
NexusLun *nexus_find_lun(const Nexus *nexus, guint16 lun);
void
nexus_lun_idle(NexusLun *nexus_lun); /* its task set became empty: free it when it is leaving */
ScsiCommand *
nexus_lun_find_live(NexusLun *nexus_lun); /* a command that no abort has hit, or NULL */

/* lu-reservation.c */
void nexus_on_commands_ended(Deferred *deferred);

/* event.c */
void nexus_lun_raise(NexusLun *nexus_lun, SenseCode code); /* a unit attention, told if it may be */
void nexus_tell_luns(Nexus *nexus);                        /* other units are there than before */

/* The unit attention that is to be reported now, which is gone then; FALSE when there is none */
gboolean nexus_lun_take(NexusLun *nexus_lun, SenseCode *ret_code);

/* That other units are there was told on one of them, and needs no unit attention on any */
void nexus_luns_are_known(Nexus *nexus);

/* worker.c */
void scsi_worker_make_runnable(ScsiWorker *scsi, ScsiCommand *command);
void scsi_worker_post(ScsiWorker *scsi, ScsiEventType type, const Lu *lu, int error, guint64 lba);
void scsi_worker_shard_aborting(ScsiWorker *scsi, LuShard *shard); /* n_aborting became 1 */
void scsi_worker_shard_calm(LuShard *shard);                       /* it became 0 */

/**
 * scsi_abort_wait_start() - wait for the aborted commands of @scope that are in flight
 * @n_waiting: how many there are
 *
 * @wait->ended is called from here when there are none.
 */
void scsi_abort_wait_start(ScsiWorker *scsi, ScsiAbortWait *wait, gconstpointer scope,
                           guint n_waiting);
void scsi_abort_wait_command_ended(ScsiWorker *scsi, guint64 sequence, const ScsiCommand *command,
                                   const NexusLun *nexus_lun, const LuShard *shard);

/* lu-reset.c */
void lu_shard_check_released(LuShard *shard);
void lu_answer_home(LuShard *shard, MessageFn deliver);

/* lu.c */
void lu_state_reset(Lu *lu);                                   /* home: as after power on */
void lu_shard_set_state(LuShard *shard, const LuState *state); /* on its worker */
void nexus_lun_set_media_event(NexusLun *nexus_lun, MediaEvent event);
void lu_tell_medium(Lu *lu);              /* home: it was ejected or loaded */
SenseCode lu_ejected_sense(const Lu *lu); /* why there is nothing to read */
void nexus_lun_set_preventing(NexusLun *nexus_lun, gboolean preventing); /* on its worker */
void lu_persist_init(LuPersist *persist, Lu *lu, const LuConfig *config, LuPersistFn fn,
                     MessageFn stored);
void lu_persist_send(LuPersist *persist); /* home: text and keep are set; @stored comes later */

/* lu-mode.c */
void lu_mode_init(Lu *lu,
                  const LuConfig *config); /* the saved mode parameters, from the defaults */
char *lu_mode_format(guint8 mode);         /* their stored form */

static inline gboolean
nexus_lun_is_protected(const NexusLun *nexus_lun)
{
    return nexus_lun->read_only || nexus_lun->lu->info->read_only ||
           nexus_lun->shard->state.read_only || lu_state_has(&nexus_lun->shard->state, MODE_SWP);
}

static inline LuShard *
lu_shard(Lu *lu, const Worker *worker)
{
    return &lu->shards[worker->index];
}
