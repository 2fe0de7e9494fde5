/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "iscsi/pdu.h"

/*
 * Faults of the wire: "what happens to the n-th PDU of a kind, in this direction"
 *
 * A rule counts the PDUs that it is about, and strikes once or periodically.
 * What it asks for is done by who sends or receives: towards the target a PDU
 * is left out, sent with a wrong digest or sent later; from the target it is
 * thrown away or put aside before the initiator looks at it, which with CRC32C
 * is the same as a loss on the wire.
 */

typedef enum {
    WIRE_FAULT_NONE,
    WIRE_FAULT_DROP, /* never seen by the other side */
    WIRE_FAULT_CORRUPT, /* arrives, with a wrong data digest; without data, with a wrong header digest */
    WIRE_FAULT_HEADER, /* arrives with a wrong header digest, and data that is right */
    WIRE_FAULT_DELAY,  /* arrives behind what is sent after it, or when nothing else happens */
    WIRE_FAULT_KILL,   /* arrives, and the connection dies */
} WireFaultKind;

typedef enum {
    WIRE_TO_TARGET,
    WIRE_TO_INITIATOR,
} WireDirection;

#define WIRE_ANY_OPCODE 0xff

typedef struct {
    WireFaultKind kind;
    WireDirection direction;
    guint8 opcode; /* PduOpcode, or WIRE_ANY_OPCODE */
    guint nth;     /* the first PDU that is struck, counted from 1 */
    guint period;  /* strikes again after so many; 0: once */

    /* what happened */
    guint n_seen;
    guint n_struck;
} WireFault;

/**
 * wire_fault_judge() - a PDU passes
 * @fault: or NULL
 *
 * Returns: what is to happen to it
 */
WireFaultKind wire_fault_judge(WireFault *fault, WireDirection direction, const guint8 *bhs);
