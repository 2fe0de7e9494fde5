/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "iscsi/pdu.h"
#include "rig.h"

/*
 * An initiator that does what a test tells it, right or wrong
 *
 * PDUs go out as the test made them; helpers make them the usual way. One
 * command at a time may be run to its end with initiator_run().
 */

typedef struct {
    Rig *rig;
    int fd;
    gsize chunk; /* bytes a send(); 0: all at once */
    gsize split; /* bytes until the stream is cut once, and everything settles; 0: no more */
    gsize receive_chunk; /* bytes a recv(); 0: as many as are wanted */

    /* numbers */
    guint32 itt;
    guint32 cmd_sn;
    guint32 exp_stat_sn;
    guint32 max_cmd_sn;

    /* login */
    const char *name;
    guint8 isid[6];
    guint16 tsih;
    guint16 cid;
    guint16 status; /* of the last login */
    gboolean header_digest;
    gboolean data_digest;
    guint32 max_xmit; /* target's MaxRecvDataSegmentLength */
    guint32 first_burst;
    guint32 max_burst;
    gboolean initial_r2t;
    gboolean immediate_data;

    /* the last PDU received */
    guint8 bhs[PDU_BHS_SIZE];
    guint8 *data; /* with room for any data segment */
    gsize data_size;
    gboolean digest_error;
} Initiator;

/* What may be wrong with a PDU on the wire */
typedef enum {
    INITIATOR_FLAW_NONE,
    INITIATOR_FLAW_HEADER_DIGEST,
    INITIATOR_FLAW_DATA_DIGEST,
    INITIATOR_FLAW_PADDING, /* not what the data digest was made of */
} InitiatorFlaw;

/* What a command came to */
typedef struct {
    guint8 status;
    guint8 residual_flags;
    guint32 residual;
    guint8 sense[96];
    gsize sense_size;
    gsize received; /* bytes of Data-In */
    guint n_data_in, n_r2t;
    guint n_sequences;      /* Data-In with the F bit */
    gboolean has_collapsed; /* status came with Data-In */
} Outcome;

Initiator *initiator_new(Rig *rig);     /* connected by a socket pair */
Initiator *initiator_new_tcp(Rig *rig); /* by TCP */
void initiator_free(Initiator *initiator);

/* Close the socket without a word */
void initiator_drop(Initiator *initiator);

/**
 * initiator_login() - a normal session with the rig's target
 * @keys: further operational keys, "A=B\nC=D", or NULL
 *
 * Returns: the status; the session is there when it is 0
 */
guint16 initiator_login(Initiator *initiator, const char *keys);

/* Any login in one request; @text: pairs separated by newlines */
guint16 initiator_login_text(Initiator *initiator, const char *text);

/* A discovery session */
guint16 initiator_login_discovery(Initiator *initiator);

/* Send as it is: padding and digests are added */
void initiator_send(Initiator *initiator, guint8 *bhs, const void *data, gsize size);
void initiator_send_flawed(Initiator *initiator, guint8 *bhs, const void *data, gsize size,
                           InitiatorFlaw flaw);
void initiator_send_bytes(Initiator *initiator, const void *bytes, gsize size);

/* The next PDU. FALSE: the target closed the connection. A test fails when nothing comes. */
gboolean initiator_receive(Initiator *initiator);

/* The same, without a word about its numbers; a wrong digest is told by @digest_error */
gboolean initiator_receive_any(Initiator *initiator);

/* The next PDU if there is one after all has settled (rig without threads) */
gboolean initiator_poll(Initiator *initiator);

/* The same, received as by initiator_receive_any() */
gboolean initiator_poll_any(Initiator *initiator);

/* Whether the target has closed the connection; asynchronous messages before that are taken */
gboolean initiator_is_closed(Initiator *initiator);

/* A header with the usual fields: opcode, flags, ITT (a new one), CmdSN (used up unless immediate) */
void initiator_header(Initiator *initiator, guint8 *bhs, guint8 opcode, guint8 flags);

/* A SCSI Command; LUN 0 */
void initiator_command(Initiator *initiator, guint8 *bhs, guint8 flags, const guint8 *cdb,
                       gsize cdb_size, guint32 edtl);

/* If the PDU received last is a ping, answer it, which acknowledges what came before */
void initiator_answer_ping(Initiator *initiator);

/**
 * initiator_run() - one command from header to status
 * @out: @out_size bytes to be written, sent as negotiated; or NULL
 * @in: takes @in_size bytes of Data-In; or NULL
 *
 * Returns: FALSE when the connection was closed
 */
gboolean initiator_run(Initiator *initiator, const guint8 *cdb, gsize cdb_size, const void *out,
                       guint32 out_size, void *in, guint32 in_size, Outcome *ret_outcome);

/* READ(10) and WRITE(10) of @n_blocks blocks of 512 bytes, which must end in GOOD */
void initiator_read(Initiator *initiator, guint32 lba, guint16 n_blocks, void *data);
void initiator_write(Initiator *initiator, guint32 lba, guint16 n_blocks, const void *data);

/* Take all unit attentions away: TEST UNIT READY until it is GOOD */
void initiator_settle(Initiator *initiator);

void initiator_cdb10(guint8 cdb[10], guint8 opcode, guint32 lba, guint16 n_blocks);

/* Logout of the session, to the close of the connection; returns the response code */
guint8 initiator_logout(Initiator *initiator);
