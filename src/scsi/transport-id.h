/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "scsi/reservation.h"

/*
 * TransportIDs of iSCSI initiator ports, as PERSISTENT RESERVE IN and OUT have them
 *
 *     byte 0     FORMAT CODE in bits 7-6, PROTOCOL IDENTIFIER 5h (iSCSI) in bits 3-0
 *     byte 2-3   ADDITIONAL LENGTH, a multiple of four
 *     byte 4-    the name, a null character, and more of them up to the length
 *
 * With FORMAT CODE 01b the name is "NAME,i,0xISID": one port. With 00b it is "NAME", the initiator
 * as a whole; which of its ports are meant is for pr-known.h to say. What is told has 01b.
 */

#define TRANSPORT_ID_MAX (4 + PORT_NAME_MAX + 4)

/* Returns: the bytes written, at most TRANSPORT_ID_MAX */
guint32 transport_id_put(const char *initiator_port, guint8 *data);

/**
 * transport_id_parse() - the initiator port, or the initiator, that a TransportID names
 * @ret_name: room for PORT_NAME_MAX + 1 bytes
 * @ret_byte: when it is refused: the byte that is wrong, counted from @data
 *
 * Returns: its length, 0 when it is refused
 */
guint32 transport_id_parse(const guint8 *data, gsize size, char *ret_name, guint *ret_byte);

/* Of one that was parsed: it names an initiator without its port */
gboolean transport_id_is_initiator(const guint8 *data);

/* Whether the port @port_name ("NAME,i,0xISID") is one of @initiator ("NAME") */
gboolean transport_id_is_port_of(const char *port_name, const char *initiator);
