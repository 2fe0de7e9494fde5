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
 * the nexus' map. @done is called when no aborted command can have an effect
 * any more, on any worker; that may be before scsi_tmf_start() returns.
 */

typedef enum {
    TMF_ABORT_TASK,
    TMF_ABORT_TASK_SET,
    TMF_CLEAR_ACA,
    TMF_CLEAR_TASK_SET,
    TMF_LOGICAL_UNIT_RESET,
    TMF_TARGET_WARM_RESET,
    TMF_TARGET_COLD_RESET,
} TmfFunction;

typedef enum {
    TMF_COMPLETE,
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
    ScsiCommand *command; /* ABORT TASK: the command, or NULL when the transport has none */
    void (*done)(ScsiTmf *tmf);

    /* The outcome */
    TmfResponse response;

    /* private */
    ScsiAbortWait wait;
    LuReset reset;
    guint32 next_lun; /* target resets: the next one to take */
};

void scsi_tmf_start(ScsiTmf *tmf);
