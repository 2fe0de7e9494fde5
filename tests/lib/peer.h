/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "faults.h"
#include "initiator.h"

/*
 * A session of several connections, as a good initiator leads it
 *
 * Has a table of commands that run at the same time, numbers them across the
 * connections, and recovers what is lost as far as the session's error recovery
 * level allows: SNACKs for data, R2Ts and status, retries of commands that did
 * not arrive, and at level 2 new connections to which tasks are reassigned.
 * Nothing blocks but what says so, so that one test can lead many sessions.
 */

#define PEER_LINKS_MAX 8U
#define PEER_COMMANDS  256
#define PEER_DATA_PDUS 4096 /* of one command */

typedef struct Peer Peer;
typedef struct PeerLink PeerLink;
typedef struct PeerCommand PeerCommand;

typedef struct {
    guint n_links;    /* 0 is 1 */
    guint level;      /* ErrorRecoveryLevel to ask for */
    const char *keys; /* operational keys of the session, separated by newlines; or NULL */
    guint32 receive;  /* MaxRecvDataSegmentLength; 0 is 262144 */
    guint32 send;     /* most bytes in a data segment; 0: what the target takes */
    gboolean digests; /* CRC32C for both */
    guint8 isid;      /* its last byte */
    gboolean is_tcp;  /* otherwise over socket pairs */
    gboolean renews;  /* a failed connection comes back under its CID, without a logout */
    WireFault *fault; /* or NULL; full feature phase only */
    WireFault *other; /* a second one, which the first goes before; or NULL */
} PeerConfig;

typedef enum {
    PEER_SCSI,
    PEER_MANAGEMENT,
    PEER_LOGOUT,
    PEER_PING,
} PeerKind;

struct PeerCommand {
    /* what it is */
    PeerKind kind;
    Peer *peer;
    PeerLink *link; /* its allegiance; NULL: that connection has failed */
    guint8 bhs[PDU_BHS_SIZE];
    const guint8 *out;
    guint32 out_size;
    guint8 *in;
    guint32 in_size;

    /* what it came to */
    gboolean is_done;
    gboolean is_given_up; /* done, and it will have no answer: see peer_give_up() */
    gboolean is_rejected; /* done: the target had no room for it */
    gboolean is_covered;  /* a task management function has ended it: nothing of it may come */
    guint8 status;        /* SCSI status; or the response of the other kinds */
    guint8 sense_key;
    guint16 asc; /* ASC and ASCQ */

    /* how far it is */
    gboolean is_used;
    gboolean is_sent;
    gboolean was_damaged; /* on the way to the target */
    gboolean has_status;
    guint32 stat_sn;
    guint32 n_expected; /* Data-In PDUs, with @has_status */
    guint32 next_sn;    /* DataSN or R2TSN: all below have come */
    guint32 asked_sn;   /* SNACKs for all below were sent */
    guint32 ack_sn;     /* a DataACK of all below is owed */
    guint32 ack_ttt;
    guint32 acked_sn; /* it was sent last for all below */
    guint64 seen[PEER_DATA_PDUS / 64];
    PeerCommand *subject; /* TASK REASSIGN: whose */
};

struct PeerLink {
    Peer *peer;
    Initiator *initiator;
    guint16 cid;
    gboolean is_alive;
    gboolean is_leaving; /* by a logout: the close is no failure */
    gboolean withholds;  /* ExpStatSN stays what it is */
    guint32 told_stat_sn;
    guint32 exp_stat_sn;   /* all below have come, and need nothing more */
    guint32 asked_stat_sn; /* SNACKs for all below were sent */
    guint8 statuses[256];  /* by StatSN */
    GQueue sending;        /* GBytes: delayed PDUs, to the target */
    GQueue receiving;      /* the same from the target */
};

struct Peer {
    Rig *rig;
    PeerConfig config;
    PeerLink links[PEER_LINKS_MAX];
    guint n_links;
    guint16 tsih;
    guint16 last_cid;
    guint32 closed_stat_sn; /* ExpStatSN of the connection that a logout for recovery is about */

    /* session-wide numbers and parameters */
    guint32 cmd_sn;
    guint32 exp_cmd_sn;
    guint32 max_cmd_sn;
    guint32 first_burst;
    guint32 max_burst;
    gboolean initial_r2t;
    gboolean immediate_data;
    guint level;
    guint time2wait;

    PeerCommand *commands;
    guint n_used;
    guint next_slot;
    guint generation;

    gboolean is_lost; /* the session is gone */
    char loss[64];    /* why */
    gboolean is_recovering;
    guint32 noise;
    guint n_snacks;
    guint n_retries;
    guint n_reassigned;
    guint n_recoveries;
    guint n_rejects;
    guint8 last_reject; /* its reason */
    guint n_async;
    guint8 last_async; /* its event */
};

/**
 * peer_new() - log in with all connections
 *
 * Returns: NULL: a login was refused, with the status in @ret_status
 */
Peer *peer_new(Rig *rig, const PeerConfig *config, guint16 *ret_status);

/* Closes what is open, without a word */
void peer_free(Peer *peer);

/* One more connection for the session, or a failed one again; its login status */
guint16 peer_connect(Peer *peer, guint i, guint16 cid);

/* Whether the window and the table have room for a command */
gboolean peer_has_room(const Peer *peer);

/* A command gets its number, and is not sent before peer_send(); LUN 0 */
PeerCommand *peer_command(Peer *peer, guint link, PduAttr attribute, const guint8 *cdb,
                          gsize cdb_size, const void *out, guint32 out_size, void *in,
                          guint32 in_size);
void peer_send(PeerCommand *command);

/* A task management function, immediate; @subject: ABORT TASK, QUERY TASK and TASK REASSIGN, or NULL */
PeerCommand *peer_manage(Peer *peer, guint link, PduTmf function, PeerCommand *subject);

/* A logout of the connection with that CID, for one of the reasons; immediate */
PeerCommand *peer_logout(Peer *peer, guint link, PduLogoutReason reason, guint16 cid);

/* The command has been aborted: nothing more is expected */
void peer_give_up(PeerCommand *command);

/* It was seen: its place in the table is free */
void peer_release(PeerCommand *command);

/* Take what has arrived on all connections. FALSE: there was nothing. */
gboolean peer_turn(Peer *peer);

/* Nothing has happened for a while: ask what is missing */
void peer_probe(Peer *peer);

/* Close a socket without a word */
void peer_kill(Peer *peer, guint link);

/* At level 2: failed connections are replaced, and their tasks reassigned */
void peer_recover(Peer *peer);

/**
 * peer_wait() - until @command is done, recovering and probing meanwhile
 *
 * Without threads the rig's clock moves when nothing happens.
 *
 * Returns: FALSE: the session is lost
 */
gboolean peer_wait(PeerCommand *command);

/* One command to its end; a unit attention is taken away and the command repeated */
guint8 peer_run(Peer *peer, guint link, const guint8 *cdb, gsize cdb_size, const void *out,
                guint32 out_size, void *in, guint32 in_size);
