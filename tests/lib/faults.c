/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "faults.h"

WireFaultKind
wire_fault_judge(WireFault *fault, WireDirection direction, const guint8 *bhs)
{
    guint n;

    if (fault == NULL || fault->kind == WIRE_FAULT_NONE || fault->direction != direction ||
        (fault->opcode != WIRE_ANY_OPCODE && fault->opcode != pdu_opcode(bhs)))
        return WIRE_FAULT_NONE;

    n = ++fault->n_seen;
    if (n < fault->nth || (n > fault->nth && fault->period == 0) ||
        (fault->period != 0 && (n - fault->nth) % fault->period != 0))
        return WIRE_FAULT_NONE;

    fault->n_struck++;
    return fault->kind;
}
