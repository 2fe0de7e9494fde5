/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The opcode table: one row per iSCSI opcode, RFC 7143 11.2
 *
 * What a PDU may have and when a target takes it. The zero value of each
 * column is the strictest: no phase, no data, no AHS, no immediate bit.
 */

#include "iscsi/pdu.h"

#define LOGIN     (1u << PDU_PHASE_LOGIN)
#define NORMAL    (1u << PDU_PHASE_NORMAL)
#define DISCOVERY (1u << PDU_PHASE_DISCOVERY)

/* clang-format off */
static const PduRow rows[] = {
    { PDU_NOP_OUT,                  "NOP-Out",                  PDU_FROM_INITIATOR, NORMAL | DISCOVERY, PDU_DATA_RECEIVE, FALSE, TRUE,  TRUE },
    { PDU_SCSI_COMMAND,             "SCSI Command",             PDU_FROM_INITIATOR, NORMAL,             PDU_DATA_RECEIVE, TRUE,  TRUE,  TRUE },
    { PDU_TASK_MANAGEMENT_REQUEST,  "Task Management Request",  PDU_FROM_INITIATOR, NORMAL,             PDU_DATA_NONE,    FALSE, TRUE,  TRUE },
    { PDU_LOGIN_REQUEST,            "Login Request",            PDU_FROM_INITIATOR, LOGIN,              PDU_DATA_RECEIVE, FALSE, TRUE,  TRUE },
    { PDU_TEXT_REQUEST,             "Text Request",             PDU_FROM_INITIATOR, NORMAL | DISCOVERY, PDU_DATA_RECEIVE, FALSE, TRUE,  TRUE },
    { PDU_DATA_OUT,                 "Data-Out",                 PDU_FROM_INITIATOR, NORMAL,             PDU_DATA_RECEIVE, FALSE, FALSE, FALSE },
    { PDU_LOGOUT_REQUEST,           "Logout Request",           PDU_FROM_INITIATOR, NORMAL | DISCOVERY, PDU_DATA_NONE,    FALSE, TRUE,  TRUE },
    { PDU_SNACK_REQUEST,            "SNACK Request",            PDU_FROM_INITIATOR, NORMAL,             PDU_DATA_NONE,    FALSE, FALSE, FALSE },
    { PDU_NOP_IN,                   "NOP-In",                   PDU_FROM_TARGET,    0,                  PDU_DATA_RECEIVE, FALSE, FALSE, FALSE },
    { PDU_SCSI_RESPONSE,            "SCSI Response",            PDU_FROM_TARGET,    0,                  PDU_DATA_RECEIVE, FALSE, FALSE, FALSE },
    { PDU_TASK_MANAGEMENT_RESPONSE, "Task Management Response", PDU_FROM_TARGET,    0,                  PDU_DATA_NONE,    FALSE, FALSE, FALSE },
    { PDU_LOGIN_RESPONSE,           "Login Response",           PDU_FROM_TARGET,    0,                  PDU_DATA_RECEIVE, FALSE, FALSE, FALSE },
    { PDU_TEXT_RESPONSE,            "Text Response",            PDU_FROM_TARGET,    0,                  PDU_DATA_RECEIVE, FALSE, FALSE, FALSE },
    { PDU_DATA_IN,                  "Data-In",                  PDU_FROM_TARGET,    0,                  PDU_DATA_RECEIVE, FALSE, FALSE, FALSE },
    { PDU_LOGOUT_RESPONSE,          "Logout Response",          PDU_FROM_TARGET,    0,                  PDU_DATA_NONE,    FALSE, FALSE, FALSE },
    { PDU_R2T,                      "R2T",                      PDU_FROM_TARGET,    0,                  PDU_DATA_NONE,    FALSE, FALSE, FALSE },
    { PDU_ASYNC_MESSAGE,            "Asynchronous Message",     PDU_FROM_TARGET,    0,                  PDU_DATA_RECEIVE, FALSE, FALSE, FALSE },
    { PDU_REJECT,                   "Reject",                   PDU_FROM_TARGET,    0,                  PDU_DATA_RECEIVE, FALSE, FALSE, FALSE },
};
/* clang-format on */

const PduRow *
pdu_find(guint8 opcode)
{
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].opcode == opcode)
            return &rows[i];
    }

    return NULL;
}

const PduRow *
pdu_rows(gsize *ret_n_rows)
{
    *ret_n_rows = G_N_ELEMENTS(rows);
    return rows;
}
