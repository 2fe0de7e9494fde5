/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "iscsi/pace.h"
#include "iscsi/pdu.h"
#include "scsi/command.h"
#include "scsi/tmf.h"
#include "util/list.h"

/*
 * Task: one request of the initiator, from its header to the last byte of the
 * answer
 *
 * The tasks of a session are slots of one array. A slot is taken when a header
 * arrives and given back when the last byte of its answer was handed to the
 * kernel. Four things may keep it: @is_active (it has not been answered and
 * may still cause an answer), a place in its connection's output queue,
 * @n_slots places in the transmit ring that point into its buffers, and
 * @is_kept (above error recovery level 0 its answer was not acknowledged).
 */

typedef struct Connection Connection;
typedef struct Remnant Remnant;
typedef struct Session Session;
typedef struct Task Task;
typedef struct TxSlot TxSlot;

typedef enum {
    TASK_COMMAND,
    TASK_MANAGEMENT,
    TASK_NOP,
    TASK_TEXT,
    TASK_LOGOUT,
    TASK_REJECT,
    TASK_ASYNC, /* an asynchronous message that was told, kept above error recovery level 0 */
} TaskKind;

/* What a slot is charged to */
typedef enum {
    TASK_CLASS_WINDOW,    /* one place of the CmdSN window */
    TASK_CLASS_IMMEDIATE, /* one of TASKS_IMMEDIATE */
    TASK_CLASS_RESERVE,   /* one of TASKS_RESERVE: immediate task management and logout */
    TASK_CLASS_REJECT,    /* one of TASKS_REJECT */
    TASK_CLASS_N,
} TaskClass;

#define TASKS_IMMEDIATE 8
#define TASKS_RESERVE   8
#define TASKS_REJECT    8

/* R2Ts of one command that may be outstanding */
#define TASK_R2TS_MAX 16

typedef struct {
    guint32 ttt;
    guint32 offset;
    guint32 length;
    guint32 received;
    guint32 data_sn;
    guint32 r2t_sn; /* once it was sent */
    gboolean is_sent;
    /* error recovery above level 0 */
    gboolean is_broken;  /* a Data-Out was lost */
    guint32 tail;        /* then: what came last without a gap begins at this offset, */
    guint32 tail_size;   /* has so many bytes, */
    guint32 tail_sn;     /* and goes on with this DataSN */
    gboolean is_doubled; /* when it is sent, a copy follows at once */
    gboolean resends;    /* it is to be sent again as it is */
    gboolean resends_old;
    gboolean has_old; /* it took the place of another one, which may be asked for by its R2TSN */
    guint32 old_ttt, old_sn, old_offset, old_length;
} TaskR2t;

/* The data of a write: what is to come, what was asked for (dataseq.c) */
typedef struct {
    gboolean unsolicited_open; /* the unsolicited sequence has not ended */
    gboolean is_reserved;      /* scsi_command_reserve() gave a buffer */
    gboolean is_refused;       /* there was no buffer: TASK SET FULL */
    gboolean
        is_draining;    /* the command was aborted; it is answered when the sequences have ended */
    gboolean is_silent; /* then it is not answered: a task management request waits for that */
    gboolean has_failed;
    SenseCode failure; /* why, if has_failed: told when the initiator has sent all it may */
    guint32 unsolicited_sn;
    guint32 unsolicited_received; /* immediate data included */
    guint32 usable;               /* bytes of the reserved segment that were filled */
    guint32 asked;                /* bytes of the command that were received or asked for */
    guint32 segment_end;          /* of the segment being filled */
    gboolean in_segment;
    gboolean is_broken; /* error recovery: a PDU of the unsolicited sequence was lost */
    guint8 n_timeouts;  /* since something came */
    guint8 n_tries;     /* it was asked for again so often without any use */
    gboolean is_lost;   /* too often: the connection is of no use for it */
    gint64 progress_at; /* when something came, or was asked for; above error recovery level 0 */
    guint n_r2ts;
    guint32 r2t_sn;
    TaskR2t r2ts[TASK_R2TS_MAX]; /* in the order of their offsets */
} TaskDataOut;

/* A place in the Data-Ins of a segment */
typedef struct {
    guint32 data_sn;
    guint32 sent;  /* bytes of the segment before it */
    guint32 burst; /* bytes of the sequence before it */
} TaskPlace;

/* What is to be sent for a command (datain.c) */
typedef struct {
    gboolean has_segment; /* the command's current segment is to be sent */
    gboolean has_status;
    gboolean is_last_segment;
    gboolean is_collapsed; /* the last Data-In carried the status */
    guint32 segment_size;  /* bytes of it that the initiator takes */
    guint32 pdu_max;       /* data bytes of its Data-Ins from @base on */
    TaskPlace next;
    TaskPlace base;
    TaskPlace begin; /* of the segment */
    /* error recovery above level 0 */
    TaskPlace last;      /* if is_collapsed */
    TaskPlace again;     /* the next one to be sent again, up to @again_end */
    guint32 again_end;   /* a DataSN */
    guint32 acked_sn;    /* the initiator has all below */
    guint32 snack_tag;   /* of an R-Data SNACK, or 0 */
    guint32 ack_ttt;     /* of the Data-In with the A bit */
    gint64 asked_at;     /* when that was made */
    gboolean has_asked;  /* and the segment stays until the answer comes */
    gboolean is_refused; /* data was asked for that is gone: it ends in CHECK CONDITION */
} TaskDataIn;

typedef struct {
    ScsiCommand scsi;
    gboolean is_checked; /* what its header says about data */
    gboolean is_begun;
    gboolean is_done;   /* scsi gave it back */
    gboolean is_ended;  /* scsi_command_end() was called */
    guint32 charge;     /* bytes of the session's share of the pool, from running to its end */
    guint32 reserved;   /* bytes reserved before it runs */
    guint32 early_size; /* data that came before the command's turn */
    guint8 *early_data; /* a buffer of the pool, or NULL */
    TaskDataOut out;
    TaskDataIn in;
    guint32 bidirectional_length; /* from an AHS */
    guint8 response_data[2 + SCSI_SENSE_MAX];
} TaskCommand;

struct Task {
    ListLink link;     /* free slots; commands that wait for their turn to run; TMFs that wait */
    ListLink out_link; /* output queue of the connection */
    Task *hash_next;
    Session *session;
    Connection *connection; /* NULL once that is closed */
    const Remnant *remnant; /* then: who owns it, if the session goes on; only to be compared */
    TaskKind kind;
    TaskClass class;
    guint32 itt;
    guint32 cmd_sn;
    guint n_slots;
    gboolean is_used;
    gboolean is_active;
    gboolean is_hashed;
    gboolean is_immediate;
    gboolean is_delivered; /* its PDU is complete, and its CmdSN counts */
    gboolean is_aborted;   /* no answer is to be sent */
    gboolean is_fenced;    /* it waits for those before it to be acknowledged, see fence.c */
    gboolean has_answered; /* kinds other than commands: the answer was made */
    gboolean
        is_released_early;    /* its place of the window was given back when the answer was made */
    guint8 bhs[PDU_BHS_SIZE]; /* as it came in */
    Pace pace;                /* of what it is owed, while buffers are short: pressure.c */
    /* error recovery above level 0, see recovery.c */
    ListLink kept_link; /* of the connection: answered; of the session: suspended */
    gint64 answered_at; /* or when its acknowledgement was asked for last */
    guint32 stat_sn;    /* of the answer, if it is_numbered */
    guint16 suspended_cid;
    gboolean is_numbered;
    gboolean is_kept;      /* answered, but not acknowledged */
    gboolean is_extra;     /* kept without a place of its class */
    gboolean is_resending; /* something is to be sent again */
    gboolean is_passing;   /* it is queued for that alone: what else it has is held by a fence */
    gboolean resends_answer;
    gboolean is_suspended; /* its connection has failed, at level 2 */
    PduTmfResponse tmf_response;
    gboolean is_managing;    /* scsi has the tmf */
    gint64 wait_until;       /* then its answer waits so long for data, see manage.c */
    guint32 tmf_information; /* of RFC 7144, 3 bytes */
    gboolean is_cold_reset;  /* the target's sessions end when the answer has left */
    gboolean is_nexus_reset; /* this session ends then */
    /* Last, because it is large: what is above is near to each other */
    union {
        TaskCommand command;
        ScsiTmf tmf;
        struct {
            guint8 *data; /* of the pool, or NULL */
            guint32 size; /* of the session's share, too */
        } nop;
        struct {
            PduRejectReason reject_reason;
            guint32 reject_data_sn;
        };
        struct {
            guint32 size;
            guint8 data[2 + SCSI_SENSE_MAX];
        } async;
        PduLogoutResponse logout_response;
    };
};

static inline Task *
task_of_command(ScsiCommand *command)
{
    return list_entry(command, Task, command.scsi);
}

/* Commands */

/* The PDU of a command is complete and it is its turn: begin it unless it was begun at its header */
void task_command_begin(Task *task);

/* All unsolicited data is in: run the command, or end it with what went wrong */
void task_command_ready(Task *task);

/* It has ended: its share is free */
void task_command_discharge(Task *task);

/* Whether the command may run now, or must wait in its line of the session */
gboolean task_command_has_room(const Task *task);
void task_command_run(Task *task);

/* The initiator sent something wrong; the command ends when it has sent all that it may */
void task_command_set_failure(Task *task, SenseCode code);

/* What the initiator had begun to send has come: now the status can be told */
void task_command_drained(Task *task);

/* Residual flags and count of a finished command, as they go into its response */
guint8 task_command_residual(const Task *task, guint32 *ret_residual);

/* Number a PDU that carries a StatSN of its own */
void task_number_status(Task *task, guint8 *bhs);

/* Encode the answer, once more if need be */
void task_emit_answer(Task *task, TxSlot *slot);

/* Output: encode the next PDU into @slot. FALSE: nothing more for now, @slot is untouched. */
gboolean task_emit(Task *task, TxSlot *slot);

/* The last byte of a PDU of @task was handed to the kernel, or dropped with the connection */
void task_slot_done(Task *task, gboolean ends_segment, gboolean ends_task);

/*
 * The answer was sent or will never be: give the slot back as soon as nothing refers to it. While
 * its own PDU is still coming in that is when the PDU is complete, because its CmdSN must count.
 */
void task_finish(Task *task);
