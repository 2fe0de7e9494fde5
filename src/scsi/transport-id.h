/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "scsi/reservation.h"

/*
 * TransportIDs of iSCSI initiator ports, as PERSISTENT RESERVE IN and OUT have them
 *
 *     byte 0     FORMAT CODE 01b in bits 7-6, PROTOCOL IDENTIFIER 5h (iSCSI) in bits 3-0
 *     byte 2-3   ADDITIONAL LENGTH, a multiple of four
 *     byte 4-    "NAME,i,0xISID", a null character, and more of them up to the length
 */

#define TRANSPORT_ID_MAX (4 + PORT_NAME_MAX + 4)

/* Returns: the bytes written, at most TRANSPORT_ID_MAX */
guint32 transport_id_put(const char *initiator_port, guint8 *data);

/**
 * transport_id_parse() - the initiator port that a TransportID names
 * @ret_name: room for PORT_NAME_MAX + 1 bytes
 * @ret_byte: when it is refused: the byte that is wrong, counted from @data
 *
 * The format that names an initiator without its port (FORMAT CODE 00b) is refused: which ports it
 * means would depend on who is logged in.
 *
 * Returns: its length, 0 when it is refused
 */
guint32 transport_id_parse(const guint8 *data, gsize size, char *ret_name, guint *ret_byte);
