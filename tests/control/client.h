/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "control/service.h"

/*
 * A blocking initiator for tests of the whole service: one connection, one
 * command at a time, over TCP. It needs nothing of the service's main loop
 * after the connection was accepted, so it may run in a thread of its own.
 */

typedef struct {
    int fd;
    guint32 cmd_sn;
    guint32 exp_stat_sn;
    guint32 itt;
    guint16 tsih; /* of the session to be joined, 0: a new one; then the session's */
    guint16 cid;
    guint32 n_read; /* bytes of the last data segment */
    guint32 sense;  /* of the last command: key << 16 | ASC << 8 | ASCQ, 0: none */
} Client;

/* The service gives clients more time than it does otherwise, until its limits are changed: a test may be
 * held up between two steps. */
void client_ask_for_patience(Service *service);

/* A connection to 127.0.0.1:@port, which waits until it is accepted */
Client *client_new(guint16 port);
void client_free(Client *client);

/* Login to a normal session with @target, or NULL: to a discovery session. Returns the status class and detail; 0xffff: the connection was closed. */
guint16 client_login(Client *client, const char *target);

/* SCSI status of a command without data, or -1 when the connection was closed */
int client_test_unit_ready(Client *client, guint16 lun);

/* PERSISTENT RESERVE OUT; the same */
int client_reserve_out(Client *client, guint16 lun, guint8 action, guint8 type, guint64 key,
                       guint64 action_key, guint8 flags);

/* SET TARGET PORT GROUPS with one descriptor; the same */
int client_set_target_port_group(Client *client, guint16 lun, guint16 tag, guint8 state);

/* PREVENT ALLOW MEDIUM REMOVAL; the same */
int client_prevent_removal(Client *client, guint16 lun, gboolean prevent);

/* START STOP UNIT with LOEJ: load the medium, or eject it; the same */
int client_move_medium(Client *client, guint16 lun, gboolean load);

/* READ(10) of one block; the same */
int client_read_block(Client *client, guint16 lun, guint32 lba);

/* MODE SELECT of the control page with SWP or without, and SP; the same */
int client_save_protection(Client *client, guint16 lun, gboolean protect);

/* SET IDENTIFYING INFORMATION of @size bytes, a multiple of four; the same */
int client_set_identifier(Client *client, guint16 lun, const char *identifier, guint8 size);

/* How long it is, as REPORT IDENTIFYING INFORMATION tells, or -1 when that has failed */
int client_get_identifier_length(Client *client, guint16 lun);

/* WRITE(10) of no blocks, which a protected unit refuses all the same; the same */
int client_write_nothing(Client *client, guint16 lun);

/* SYNCHRONIZE CACHE of all; the same */
int client_flush(Client *client, guint16 lun);

/* TEST UNIT READY until unit attentions are over */
int client_settle(Client *client, guint16 lun);

/* The event of the next PDU, which is an asynchronous message; or -1 when the connection was closed */
int client_wait_event(Client *client);

/* Close the session; TRUE when that was answered */
gboolean client_log_out(Client *client);

/* TRUE when the other side closes */
gboolean client_wait_closed(Client *client);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Client, client_free)
