/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "scsi/abort-wait.h"
#include "scsi/lu-reset.h"
#include "scsi/nexus.h"

/*
 * Task management as a state machine, never a wait
 *
 * ABORT TASK ends one command, ABORT TASK SET and CLEAR TASK SET those of the
 * nexus on the logical unit (TST=001b: one task set a nexus), LOGICAL UNIT
 * RESET those of all nexuses, the target resets those of all logical units of
 * the nexus' map, I_T NEXUS RESET those of the nexus on all of them. (The rest of
 * a nexus loss follows when the transport drops the nexus, which it must then.)
 * The queries end nothing: they ask whether there is such a task, or any, or a
 * unit attention that was not told. @done is called when no aborted command can
 * have an effect any more, on any worker; that may be before scsi_tmf_start()
 * returns.
 */

typedef enum {
    TMF_ABORT_TASK,
    TMF_ABORT_TASK_SET,
    TMF_CLEAR_ACA,
    TMF_CLEAR_TASK_SET,
    TMF_LOGICAL_UNIT_RESET,
    TMF_TARGET_WARM_RESET,
    TMF_TARGET_COLD_RESET,
    TMF_QUERY_TASK,
    TMF_QUERY_TASK_SET,
    TMF_I_T_NEXUS_RESET,
    TMF_QUERY_ASYNC_EVENT,
} TmfFunction;

typedef enum {
    TMF_COMPLETE,  /* for a query: no */
    TMF_SUCCEEDED, /* a query: yes */
    TMF_NO_SUCH_TASK,
    TMF_NO_SUCH_LUN,
    TMF_NOT_SUPPORTED,
    TMF_REJECTED,
} TmfResponse;

typedef struct ScsiTmf ScsiTmf;

struct ScsiTmf {
    /* Set by the transport */
    TmfFunction function;
    Nexus *nexus;
    guint8 lun[8];
    ScsiCommand *command; /* ABORT TASK, QUERY TASK: the command, or NULL: there is none */
    void (*done)(ScsiTmf *tmf);

    /* The outcome */
    TmfResponse response;
    guint32 information; /* 3 bytes; 0 where the function gives none */

    /* private */
    ScsiAbortWait wait;
    LuReset reset;
    guint64 sequence;    /* of the aborts that it waits for */
    guint64 next_serial; /* of replaced units: the next one to reset */
    guint32 next_lun;    /* what concerns all units: the next one to take */
};

void scsi_tmf_start(ScsiTmf *tmf);
