/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "initiator.h"

/*
 * A bundle of initiators: the connections of one session, PDU by PDU
 */

#define BUNDLE_MAX 16

typedef struct {
    Rig *rig;
    Initiator *c[BUNDLE_MAX];
    guint n;
} Bundle;

/* With @n connections, of CIDs from 0; unit attentions are taken */
void bundle_init(Bundle *bundle, const RigConfig *config, guint n);
void bundle_init_plain(Bundle *bundle, guint n_workers, guint n);
void bundle_deinit(Bundle *bundle);

/* Who sends next: the CmdSN is that of the session */
Initiator *bundle_turn(Bundle *bundle, guint i);

/* An initiator that would join the session, not logged in */
Initiator *bundle_make(Bundle *bundle, guint16 cid);

/* Log another one in; returns the status */
guint16 bundle_join(Bundle *bundle, guint16 cid);

/* Send the one request of a login, and do not wait for the answer */
void bundle_begin_login(Initiator *initiator);

/* The next PDU that is no ping, which is left unanswered */
void bundle_receive(Initiator *initiator);

/* WRITE(10) of one block of @byte, as immediate data; then its status */
void bundle_send_write(Initiator *initiator, guint32 lba, guint8 byte);
guint8 bundle_get_status(Initiator *initiator);
guint8 bundle_read_byte(Initiator *initiator, guint32 lba);

/* The response is returned */
void bundle_send_logout(Initiator *initiator, PduLogoutReason reason, guint16 cid);
guint8 bundle_log_out(Initiator *initiator, PduLogoutReason reason, guint16 cid);

/* TEST UNIT READY: sense key << 16 | ASC << 8 | ASCQ, 0 for GOOD */
guint32 bundle_test_unit(Initiator *initiator);
