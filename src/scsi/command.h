/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "backstore/io.h"
#include "engine/mailbox.h"
#include "engine/pool.h"
#include "scsi/sense.h"
#include "util/list.h"

/*
 * One SCSI command, from its arrival to its status
 *
 * The transport embeds a ScsiCommand in its task, fills the upper part and
 * drives it on the nexus' worker:
 *
 *   scsi_command_begin()   the logical unit and the operation are looked up, the command enters the
 *                          task set; @data_out_length says how much data the CDB asks to receive.
 *                          No gate has run, nothing was checked yet.
 *   scsi_command_reserve() optional, for immediate and unsolicited data: a buffer for the first
 *                          segment, so that the transport can receive straight into it.
 *   scsi_command_run()     gates, then the operation. From here on the command calls back:
 *                            data_out   the segment (@data, @data_offset, @data_length) is to be
 *                                       filled by the transport, which then calls
 *                                       scsi_command_data_out_ready(). Bytes that arrived before,
 *                                       into a reserved segment, count.
 *                            data_in    the segment is to be sent and is not the last one; the
 *                                       transport calls scsi_command_data_in_sent() when its last
 *                                       byte has been handed to the kernel.
 *                            done       @status and sense are set. A last Data-In segment of
 *                                       @data_length bytes may be in @data, to be sent with the
 *                                       status. With @aborted set nothing is to be sent at all, or
 *                                       with @aborted_by_other the status alone.
 *   scsi_command_end()     the transport has sent all: the buffer goes back, the command leaves.
 *
 * Segments are at most POOL_BUFFER_MAX bytes, contiguous, in order, without gaps; all but the last
 * are a multiple of the logical block. Callbacks may come from inside the call that causes them.
 * Nothing is allocated.
 */

typedef struct ScsiCommand ScsiCommand;
typedef struct ScsiTransport ScsiTransport;
typedef struct Operation Operation;
typedef struct Nexus Nexus;
typedef struct NexusLun NexusLun;
typedef struct Lu Lu;
typedef struct EraseRequest EraseRequest;

#define SCSI_CDB_MAX 16

typedef enum {
    SCSI_GOOD = 0x00,
    SCSI_CHECK_CONDITION = 0x02,
    SCSI_CONDITION_MET = 0x04,
    SCSI_BUSY = 0x08,
    SCSI_RESERVATION_CONFLICT = 0x18,
    SCSI_TASK_SET_FULL = 0x28,
    SCSI_ACA_ACTIVE = 0x30,
    SCSI_TASK_ABORTED = 0x40,
} ScsiStatus;

typedef enum {
    SCSI_SIMPLE,
    SCSI_ORDERED,
    SCSI_HEAD_OF_QUEUE,
    SCSI_ACA,
} ScsiTaskAttribute;

typedef enum {
    SCSI_STATE_NEW,
    SCSI_STATE_BEGUN,    /* in the task set, not run */
    SCSI_STATE_BLOCKED,  /* run, but waits: for a buffer, for task ordering, for a range */
    SCSI_STATE_DATA_OUT, /* the transport fills a segment */
    SCSI_STATE_IO,       /* the backstore works: an abort must wait */
    SCSI_STATE_DATA_IN,  /* the transport sends a segment */
    SCSI_STATE_DONE,     /* status is set, done was called */
} ScsiState;

/* What the home worker does with a range of blocks that nobody else may change meanwhile */
typedef enum {
    RANGE_WRITE, /* only where it covers part of a physical block */
    RANGE_WRITE_ATOMIC,
    RANGE_COMPARE_AND_WRITE,
    RANGE_OR,
} RangeOp;

#define RANGE_MISCOMPARE 1 /* as Io.result */

struct ScsiTransport {
    void (*data_out)(ScsiCommand *command);
    void (*data_in)(ScsiCommand *command);
    void (*done)(ScsiCommand *command);
};

struct ScsiCommand {
    /* Set by the transport before scsi_command_begin() */
    const ScsiTransport *transport;
    Nexus *nexus;
    guint8 lun[8];            /* as on the wire, SAM */
    guint8 cdb[SCSI_CDB_MAX]; /* bytes beyond the CDB's length are zero */
    ScsiTaskAttribute attribute;
    guint32 expected_out; /* bytes the initiator is ready to send: EDTL of a write, else 0 */
    guint32 expected_in;  /* bytes it is ready to receive: EDTL of a read, else 0 */

    /* Set by scsi_command_begin() */
    guint64 data_out_length; /* bytes the CDB asks for; may exceed @expected_out */

    /* The current segment */
    guint8 *data;        /* a buffer of the worker's pool, or NULL */
    gsize data_size;     /* what the buffer holds */
    guint64 data_offset; /* of the segment in the data of the command */
    guint32 data_length; /* bytes of the segment that are, or are to be, valid */

    /* The outcome */
    ScsiState state;
    ScsiStatus status;
    gboolean aborted;          /* ended by task management */
    gboolean aborted_by_other; /* of another nexus: TASK ABORTED is to be sent. Else: no response */
    gboolean
        is_others_doing;  /* with @aborted: of another nexus, whether that is to be told or not */
    gboolean is_given_up; /* its own nexus has asked for a reset since: no response */
    gboolean
        is_spared; /* by the transport, before scsi_tmf_start(): was sent after that function */
    guint8 sense_length;
    guint8 sense[SCSI_SENSE_MAX];
    guint64
        transfer_length; /* bytes the operation moves in its direction: what residuals are counted from */

    /* private to scsi */
    const Operation *op;   /* NULL: unknown */
    gboolean known_opcode; /* @op is NULL for its service action */
    guint8 lun_kind;
    NexusLun *nexus_lun; /* NULL: no such logical unit */
    ListLink link;       /* in the task set */
    ListLink wait_link;
    PoolWaiter waiter;
    Message message;                      /* to the home worker */
    void (*resume)(ScsiCommand *command); /* when what it waits for has come */
    void (*after_io)(ScsiCommand *command);
    guint64 lba;
    guint64 n_blocks;
    guint64 total_bytes; /* to be moved */
    guint64 done_bytes;
    guint64 step; /* of the operation */
    guint64 abort_sequence;
    guint64 io_offset; /* of the I/O in flight: unlike @io, never the home worker's */
    guint64 io_end;
    gboolean io_writes;
    gboolean is_at_control; /* on an errand to the control thread, beside the unit's queue */
    gboolean is_inner;      /* of a copy, see copy-engine.c: no unit attention, no task ordering */
    const ScsiCommand *owner; /* of an inner one: the command that it is a part of, or NULL */
    ScsiCommand *peer;        /* the other one of scsi_command_copy() */
    Deferred *on_abort;       /* to be run when it is aborted while it is on an errand, or NULL */
    gboolean is_at_home;      /* in the hands of the home worker */
    RangeOp range_op;
    const guint8 *range_compare; /* of RANGE_COMPARE_AND_WRITE */
    EraseRequest *erase_request;
    gint64 started_at;
    guint8 *buffer;  /* of the pool; @data points into it */
    guint8 *scratch; /* a second one, or NULL */
    Io io;
    struct {
        guint64 first;
        guint64 low;
        guint64 high;
    } narrow; /* bytes: a read that failed, and where in it the bad block is */
};

void scsi_command_begin(ScsiCommand *command);

/**
 * scsi_command_reserve() - take the buffer of the first segment before the command runs
 *
 * For min(data_out_length, expected_out, POOL_BUFFER_MAX) bytes.
 *
 * Returns: FALSE when the pool has none now: the transport discards what comes unsolicited and
 *     calls scsi_command_refuse(TASK SET FULL).
 */
gboolean scsi_command_reserve(ScsiCommand *command);

/* End a begun command with @status and no sense, without running it */
void scsi_command_refuse(ScsiCommand *command, ScsiStatus status);

/* End a begun or waiting command with CHECK CONDITION (transport errors: 0B/0C/0C, 0B/47/05, …) */
void scsi_command_fail_transport(ScsiCommand *command, SenseCode code);

void scsi_command_run(ScsiCommand *command);
void scsi_command_data_out_ready(ScsiCommand *command);
void scsi_command_data_in_sent(ScsiCommand *command); /* ignored when it is done meanwhile */
void scsi_command_end(ScsiCommand *command);

/**
 * scsi_command_abort() - no more effects of this command
 *
 * @done is called, with @aborted set, at once or when the I/O in flight has ended. A command that
 * is done already is left alone.
 */
void scsi_command_abort(ScsiCommand *command);

/* The same for what another nexus, or the administrator, has done: with TAS the transport answers */
void scsi_command_abort_by_other(ScsiCommand *command);

/* The reset that its own nexus asked for; it may be that the command was sent after that, which is told */
void scsi_command_abort_by_reset(ScsiCommand *command);

/* A begun command ends because the transport has lost what carried it: a unit attention for its nexus */
void scsi_command_tell_cleared(ScsiCommand *command);
