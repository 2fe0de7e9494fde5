/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <string.h>

#include <glib.h>

#include "util/bytes.h"

/*
 * iSCSI PDUs, RFC 7143 section 11
 *
 * A PDU is a basic header segment (BHS) of 48 bytes, then additional header
 * segments, header digest, data segment padded to 4 bytes, data digest. A
 * header is kept as it is on the wire: guint8[PDU_BHS_SIZE] with accessors.
 * No accessor judges; pdu_check() does, once, and after it fields may be used.
 */

#define PDU_BHS_SIZE       48
#define PDU_AHS_SIZE_MAX   (255 * 4)
#define PDU_DIGEST_SIZE    4
#define PDU_PAD            4
#define PDU_TAG_RESERVED   0xffffffffu
#define PDU_LOGIN_DATA_MAX 8192 /* MaxRecvDataSegmentLength before it is declared */
#define PDU_VERSION        0x00 /* RFC 7143 11.12: the one version there is */
#define PDU_SENSE_SIZE_MAX 252
#define PDU_IMMEDIATE      0x40 /* byte 0 */
#define PDU_FINAL          0x80 /* byte 1 of most */

typedef enum {
    PDU_NOP_OUT = 0x00,
    PDU_SCSI_COMMAND = 0x01,
    PDU_TASK_MANAGEMENT_REQUEST = 0x02,
    PDU_LOGIN_REQUEST = 0x03,
    PDU_TEXT_REQUEST = 0x04,
    PDU_DATA_OUT = 0x05,
    PDU_LOGOUT_REQUEST = 0x06,
    PDU_SNACK_REQUEST = 0x10,

    PDU_NOP_IN = 0x20,
    PDU_SCSI_RESPONSE = 0x21,
    PDU_TASK_MANAGEMENT_RESPONSE = 0x22,
    PDU_LOGIN_RESPONSE = 0x23,
    PDU_TEXT_RESPONSE = 0x24,
    PDU_DATA_IN = 0x25,
    PDU_LOGOUT_RESPONSE = 0x26,
    PDU_R2T = 0x31,
    PDU_ASYNC_MESSAGE = 0x32,
    PDU_REJECT = 0x3f,
} PduOpcode;

typedef enum {
    PDU_PHASE_LOGIN,
    PDU_PHASE_NORMAL,    /* full feature phase of a normal session */
    PDU_PHASE_DISCOVERY, /* full feature phase of a discovery session */
    PDU_PHASE_N,
} PduPhase;

/* RFC 7143 11.17.1; PDU_REJECT_NONE is ours: nothing is wrong */
typedef enum {
    PDU_REJECT_NONE = 0x00,
    PDU_REJECT_DATA_DIGEST = 0x02,
    PDU_REJECT_SNACK = 0x03,
    PDU_REJECT_PROTOCOL_ERROR = 0x04,
    PDU_REJECT_NOT_SUPPORTED = 0x05,
    PDU_REJECT_IMMEDIATE = 0x06, /* too many immediate commands */
    PDU_REJECT_TASK_IN_PROGRESS = 0x07,
    PDU_REJECT_DATA_ACK = 0x08,
    PDU_REJECT_INVALID_FIELD = 0x09,
    PDU_REJECT_LONG_OPERATION = 0x0a, /* out of resources for a Target Transfer Tag */
    PDU_REJECT_WAITING_FOR_LOGOUT = 0x0c,
} PduRejectReason;

/* SCSI Command, byte 1 (RFC 7143 11.3) */
#define PDU_COMMAND_READ      0x40
#define PDU_COMMAND_WRITE     0x20
#define PDU_COMMAND_ATTR_MASK 0x07

typedef enum {
    PDU_ATTR_UNTAGGED = 0,
    PDU_ATTR_SIMPLE = 1,
    PDU_ATTR_ORDERED = 2,
    PDU_ATTR_HEAD_OF_QUEUE = 3,
    PDU_ATTR_ACA = 4,
} PduAttr;

/* SCSI Response and Data-In, byte 1 (RFC 7143 11.4, 11.7) */
#define PDU_RESIDUAL_READ_OVERFLOW  0x10 /* bidirectional, SCSI Response only */
#define PDU_RESIDUAL_READ_UNDERFLOW 0x08
#define PDU_RESIDUAL_OVERFLOW       0x04
#define PDU_RESIDUAL_UNDERFLOW      0x02
#define PDU_DATA_IN_ACKNOWLEDGE     0x40
#define PDU_DATA_IN_STATUS          0x01

/* iSCSI service response of a SCSI Response (RFC 7143 11.4) */
#define PDU_RESPONSE_COMPLETED      0x00
#define PDU_RESPONSE_TARGET_FAILURE 0x01

/* Task management functions (RFC 7143 11.5, RFC 7144) */
typedef enum {
    PDU_TMF_ABORT_TASK = 1,
    PDU_TMF_ABORT_TASK_SET = 2,
    PDU_TMF_CLEAR_ACA = 3,
    PDU_TMF_CLEAR_TASK_SET = 4,
    PDU_TMF_LOGICAL_UNIT_RESET = 5,
    PDU_TMF_TARGET_WARM_RESET = 6,
    PDU_TMF_TARGET_COLD_RESET = 7,
    PDU_TMF_TASK_REASSIGN = 8,
    PDU_TMF_QUERY_TASK = 9,
    PDU_TMF_QUERY_TASK_SET = 10,
    PDU_TMF_I_T_NEXUS_RESET = 11,
    PDU_TMF_QUERY_ASYNC_EVENT = 12,
} PduTmf;

/* RFC 7143 11.6.1, RFC 7144 */
typedef enum {
    PDU_TMF_RESPONSE_COMPLETE = 0,
    PDU_TMF_RESPONSE_NO_TASK = 1,
    PDU_TMF_RESPONSE_NO_LUN = 2,
    PDU_TMF_RESPONSE_TASK_STILL_ALLEGIANT = 3,
    PDU_TMF_RESPONSE_REASSIGN_NOT_SUPPORTED = 4,
    PDU_TMF_RESPONSE_NOT_SUPPORTED = 5,
    PDU_TMF_RESPONSE_AUTHORIZATION_FAILED = 6,
    PDU_TMF_RESPONSE_SUCCEEDED = 7,
    PDU_TMF_RESPONSE_REJECTED = 255,
} PduTmfResponse;

/* Text and login, byte 1 */
#define PDU_CONTINUE      0x40
#define PDU_LOGIN_TRANSIT 0x80

typedef enum {
    PDU_STAGE_SECURITY = 0,
    PDU_STAGE_OPERATIONAL = 1,
    PDU_STAGE_RESERVED = 2,
    PDU_STAGE_FULL_FEATURE = 3,
} PduStage;

/* RFC 7143 11.14 */
typedef enum {
    PDU_LOGOUT_CLOSE_SESSION = 0,
    PDU_LOGOUT_CLOSE_CONNECTION = 1,
    PDU_LOGOUT_RECOVERY = 2,
} PduLogoutReason;

/* RFC 7143 11.15 */
typedef enum {
    PDU_LOGOUT_RESPONSE_CLOSED = 0,
    PDU_LOGOUT_RESPONSE_NO_CID = 1,
    PDU_LOGOUT_RESPONSE_NO_RECOVERY = 2,
    PDU_LOGOUT_RESPONSE_FAILED = 3,
} PduLogoutResponse;

/* RFC 7143 11.16 */
typedef enum {
    PDU_SNACK_DATA_R2T = 0,
    PDU_SNACK_STATUS = 1,
    PDU_SNACK_DATA_ACK = 2,
    PDU_SNACK_R_DATA = 3,
} PduSnack;

/* RFC 7143 11.9.1, RFC 7144 */
typedef enum {
    PDU_ASYNC_SCSI = 0,
    PDU_ASYNC_LOGOUT_REQUEST = 1,
    PDU_ASYNC_CONNECTION_DROP = 2,
    PDU_ASYNC_SESSION_DROP = 3,
    PDU_ASYNC_RENEGOTIATE = 4,
    PDU_ASYNC_TASKS_TERMINATED = 5, /* FastAbort */
    PDU_ASYNC_VENDOR = 255,
} PduAsyncEvent;

/* Fields that all or most PDUs share */

static inline PduOpcode
pdu_opcode(const guint8 *bhs)
{
    return (PduOpcode)(bhs[0] & 0x3f);
}

static inline gboolean
pdu_is_immediate(const guint8 *bhs)
{
    return (bhs[0] & PDU_IMMEDIATE) != 0;
}

static inline gboolean
pdu_is_final(const guint8 *bhs)
{
    return (bhs[1] & PDU_FINAL) != 0;
}

static inline guint8
pdu_flags(const guint8 *bhs)
{
    return bhs[1];
}

static inline gsize
pdu_ahs_size(const guint8 *bhs)
{
    return (gsize)bhs[4] * 4;
}

static inline gsize
pdu_data_size(const guint8 *bhs)
{
    return get_be24(bhs + 5);
}

static inline gsize
pdu_pad(gsize size)
{
    return (PDU_PAD - size % PDU_PAD) % PDU_PAD;
}

/* What follows the BHS on the wire: AHS, digests, data and padding */
static inline gsize
pdu_rest_size(const guint8 *bhs, gboolean header_digest, gboolean data_digest)
{
    gsize data = pdu_data_size(bhs);

    return pdu_ahs_size(bhs) + (header_digest ? PDU_DIGEST_SIZE : 0) + data + pdu_pad(data) +
           (data_digest && data != 0 ? PDU_DIGEST_SIZE : 0);
}

/* The 8 bytes of the LUN field, most significant first */
static inline guint64
pdu_lun(const guint8 *bhs)
{
    return get_be64(bhs + 8);
}

static inline guint32
pdu_itt(const guint8 *bhs)
{
    return get_be32(bhs + 16);
}

static inline guint32
pdu_ttt(const guint8 *bhs)
{
    return get_be32(bhs + 20);
}

static inline guint32
pdu_cmd_sn(const guint8 *bhs)
{
    return get_be32(bhs + 24);
}

static inline guint32
pdu_exp_stat_sn(const guint8 *bhs)
{
    return get_be32(bhs + 28);
}

static inline guint32
pdu_stat_sn(const guint8 *bhs)
{
    return get_be32(bhs + 24);
}

static inline guint32
pdu_exp_cmd_sn(const guint8 *bhs)
{
    return get_be32(bhs + 28);
}

static inline guint32
pdu_max_cmd_sn(const guint8 *bhs)
{
    return get_be32(bhs + 32);
}

static inline void
pdu_set_data_size(guint8 *bhs, gsize size)
{
    put_be24(bhs + 5, (guint32)size);
}

/*
 * The numbers every target PDU carries. They are put in when the PDU is about
 * to be sent, not when it is made, so that ExpCmdSN and MaxCmdSN are current.
 */
static inline void
pdu_set_sequence(guint8 *bhs, guint32 stat_sn, guint32 exp_cmd_sn, guint32 max_cmd_sn)
{
    put_be32(bhs + 24, stat_sn);
    put_be32(bhs + 28, exp_cmd_sn);
    put_be32(bhs + 32, max_cmd_sn);
}

/* Serial number arithmetic of RFC 1982 with 32 bits, for CmdSN, StatSN and the like */

static inline gboolean
pdu_sn_less(guint32 a, guint32 b)
{
    return (gint32)(a - b) < 0;
}

static inline gboolean
pdu_sn_less_equal(guint32 a, guint32 b)
{
    return (gint32)(a - b) <= 0;
}

/* Whether @sn is in the window from @first to @last inclusive; an empty window is last = first - 1 */
static inline gboolean
pdu_sn_in_window(guint32 sn, guint32 first, guint32 last)
{
    return sn - first < last - first + 1; /* 0: an empty window */
}

/* SCSI Command, RFC 7143 11.3 */

static inline PduAttr
pdu_command_attr(const guint8 *bhs)
{
    return (PduAttr)(bhs[1] & PDU_COMMAND_ATTR_MASK);
}

static inline gboolean
pdu_command_is_read(const guint8 *bhs)
{
    return (bhs[1] & PDU_COMMAND_READ) != 0;
}

static inline gboolean
pdu_command_is_write(const guint8 *bhs)
{
    return (bhs[1] & PDU_COMMAND_WRITE) != 0;
}

/* Expected Data Transfer Length */
static inline guint32
pdu_command_edtl(const guint8 *bhs)
{
    return get_be32(bhs + 20);
}

static inline const guint8 *
pdu_command_cdb(const guint8 *bhs)
{
    return bhs + 32;
}

/* Data-Out, Data-In and R2T: RFC 7143 11.7, 11.8 */

static inline guint32
pdu_data_sn(const guint8 *bhs)
{
    return get_be32(bhs + 36);
}

static inline guint32
pdu_data_offset(const guint8 *bhs)
{
    return get_be32(bhs + 40);
}

static inline guint32
pdu_r2t_length(const guint8 *bhs)
{
    return get_be32(bhs + 44);
}

/* Task Management Function Request, RFC 7143 11.5 */

static inline guint8
pdu_tmf_function(const guint8 *bhs)
{
    return bhs[1] & 0x7f;
}

static inline guint32
pdu_tmf_rtt(const guint8 *bhs)
{
    return get_be32(bhs + 20);
}

static inline guint32
pdu_tmf_ref_cmd_sn(const guint8 *bhs)
{
    return get_be32(bhs + 32);
}

static inline guint32
pdu_tmf_exp_data_sn(const guint8 *bhs)
{
    return get_be32(bhs + 36);
}

/* Login Request, RFC 7143 11.12 */

static inline PduStage
pdu_login_csg(const guint8 *bhs)
{
    return (PduStage)(bhs[1] >> 2 & 3);
}

static inline PduStage
pdu_login_nsg(const guint8 *bhs)
{
    return (PduStage)(bhs[1] & 3);
}

static inline gboolean
pdu_login_is_transit(const guint8 *bhs)
{
    return (bhs[1] & PDU_LOGIN_TRANSIT) != 0;
}

/* The C bit of text and login PDUs */
static inline gboolean
pdu_is_continued(const guint8 *bhs)
{
    return (bhs[1] & PDU_CONTINUE) != 0;
}

static inline guint8
pdu_login_version_max(const guint8 *bhs)
{
    return bhs[2];
}

static inline guint8
pdu_login_version_min(const guint8 *bhs)
{
    return bhs[3];
}

/* The 6 bytes of the ISID */
static inline const guint8 *
pdu_login_isid(const guint8 *bhs)
{
    return bhs + 8;
}

static inline guint16
pdu_login_tsih(const guint8 *bhs)
{
    return get_be16(bhs + 14);
}

static inline guint16
pdu_login_cid(const guint8 *bhs)
{
    return get_be16(bhs + 20);
}

/* Login Response: class in the upper byte, detail in the lower */
static inline guint16
pdu_login_status(const guint8 *bhs)
{
    return get_be16(bhs + 36);
}

/* Logout Request, RFC 7143 11.14 */

static inline guint8
pdu_logout_reason(const guint8 *bhs)
{
    return bhs[1] & 0x7f;
}

static inline guint16
pdu_logout_cid(const guint8 *bhs)
{
    return get_be16(bhs + 20);
}

/* SNACK Request, RFC 7143 11.16 */

static inline guint8
pdu_snack_type(const guint8 *bhs)
{
    return bhs[1] & 0x0f;
}

static inline guint32
pdu_snack_beg_run(const guint8 *bhs)
{
    return get_be32(bhs + 40);
}

static inline guint32
pdu_snack_run_length(const guint8 *bhs)
{
    return get_be32(bhs + 44);
}

/*
 * Encoders for what a target sends. Each clears @bhs and fills all but the
 * sequence numbers (pdu_set_sequence()); @data_size is that of the data segment
 * without padding.
 */

static inline void
pdu_encode(guint8 *bhs, PduOpcode opcode, guint8 flags, guint32 itt, gsize data_size)
{
    memset(bhs, 0, PDU_BHS_SIZE);
    bhs[0] = (guint8)opcode;
    bhs[1] = flags;
    pdu_set_data_size(bhs, data_size);
    put_be32(bhs + 16, itt);
}

/**
 * pdu_encode_scsi_response() - RFC 7143 11.4
 * @residual_flags: PDU_RESIDUAL_OVERFLOW or PDU_RESIDUAL_UNDERFLOW, or 0
 * @response: PDU_RESPONSE_x; @status counts only with PDU_RESPONSE_COMPLETED
 * @exp_data_sn: the number of Data-In PDUs that were sent for the command
 * @data_size: 0, or 2 and the size of the sense (a 2-byte SenseLength precedes it)
 */
void pdu_encode_scsi_response(guint8 *bhs, guint32 itt, guint8 residual_flags, guint8 response,
                              guint8 status, guint32 residual, guint32 exp_data_sn,
                              gsize data_size);

/**
 * pdu_encode_data_in() - RFC 7143 11.7
 * @flags: of PDU_FINAL, PDU_DATA_IN_ACKNOWLEDGE
 * @lun, @ttt: 0 and PDU_TAG_RESERVED unless an acknowledgement is asked for
 *
 * Without status the StatSN field is reserved: give 0 to pdu_set_sequence().
 */
void pdu_encode_data_in(guint8 *bhs, guint32 itt, guint8 flags, guint64 lun, guint32 ttt,
                        guint32 data_sn, guint32 offset, gsize data_size);

/* Collapse GOOD (or another status without sense) into the last Data-In of a command */
void pdu_set_data_in_status(guint8 *bhs, guint8 status, guint8 residual_flags, guint32 residual);

/* StatSN is the next one and is not advanced by an R2T (RFC 7143 11.8) */
void pdu_encode_r2t(guint8 *bhs, guint32 itt, guint64 lun, guint32 ttt, guint32 r2t_sn,
                    guint32 offset, guint32 length);

/* A ping has @itt reserved and a @ttt; an answer has the request's @itt and @ttt reserved */
void pdu_encode_nop_in(guint8 *bhs, guint32 itt, guint64 lun, guint32 ttt, gsize data_size);

/* @information: additional response information of RFC 7144, 3 bytes */
void pdu_encode_tmf_response(guint8 *bhs, guint32 itt, PduTmfResponse response,
                             guint32 information);

void pdu_encode_logout_response(guint8 *bhs, guint32 itt, PduLogoutResponse response,
                                guint16 time2wait, guint16 time2retain);

/* The data segment is the BHS of the rejected PDU, and its AHS if any */
void pdu_encode_reject(guint8 *bhs, PduRejectReason reason, guint32 data_sn, gsize data_size);

/**
 * pdu_encode_text_response() - RFC 7143 11.11
 * @flags: PDU_FINAL or PDU_CONTINUE, or 0
 * @ttt: PDU_TAG_RESERVED with PDU_FINAL, otherwise the tag that the next request returns
 */
void pdu_encode_text_response(guint8 *bhs, guint32 itt, guint8 flags, guint64 lun, guint32 ttt,
                              gsize data_size);

/**
 * pdu_encode_login_response() - RFC 7143 11.13
 * @flags: byte 1: of PDU_LOGIN_TRANSIT, PDU_CONTINUE, CSG << 2, NSG
 * @isid: 6 bytes
 */
void pdu_encode_login_response(guint8 *bhs, guint32 itt, guint8 flags, const guint8 *isid,
                               guint16 tsih, guint16 status, gsize data_size);

/**
 * pdu_encode_async_message() - RFC 7143 11.9
 *
 * The three parameters are those of the event: a CID or nothing, Time2Wait, Time2Retain.
 */
void pdu_encode_async_message(guint8 *bhs, guint64 lun, PduAsyncEvent event, guint8 vendor_code,
                              guint16 parameter1, guint16 parameter2, guint16 parameter3,
                              gsize data_size);

/*
 * The opcode table (pdutable.c)
 */

typedef enum {
    PDU_FROM_INITIATOR,
    PDU_FROM_TARGET,
} PduDirection;

/* What may be in the data segment; the zero value allows nothing */
typedef enum {
    PDU_DATA_NONE,
    PDU_DATA_RECEIVE, /* up to the receiver's MaxRecvDataSegmentLength */
} PduData;

typedef struct PduRow PduRow;

struct PduRow {
    guint8 opcode;
    const char *name;
    PduDirection direction;
    guint8 phases; /* bit 1 << PduPhase: where the target accepts it */
    PduData data;
    gboolean ahs;       /* may have additional header segments */
    gboolean immediate; /* may have the I bit */
    gboolean has_cmd_sn;
};

/* The row of an opcode, or NULL */
const PduRow *pdu_find(guint8 opcode);

/* All rows, in the order of the opcodes */
const PduRow *pdu_rows(gsize *ret_n_rows);

/* "SCSI Command", for trace and statistics; never NULL */
const char *pdu_name(guint8 opcode);
const char *pdu_reject_name(PduRejectReason reason);

typedef struct {
    PduPhase phase;
    guint32 max_data_size; /* what we declared; PDU_LOGIN_DATA_MAX in the login phase */
    guint32 max_ahs_size;
} PduLimits;

/**
 * pdu_check() - judge a header that an initiator sent
 * @ret_fatal: set when there is a reason: whether the byte stream behind the
 *     header cannot be followed or the RFC wants the connection closed
 *
 * Judges what the header alone tells: opcode, direction, phase, sizes and the
 * consistency of fields. Burst lengths, CmdSN and tags are the session's.
 *
 * Returns: PDU_REJECT_NONE, or the reason for a Reject
 */
PduRejectReason pdu_check(const guint8 *bhs, const PduLimits *limits, gboolean *ret_fatal);

/* Additional header segments of a SCSI Command, RFC 7143 11.2 */
typedef struct {
    const guint8 *extended_cdb; /* what follows the 16 bytes of the BHS, or NULL */
    gsize extended_cdb_size;
    gboolean has_read_length;
    guint32 read_length; /* Bidirectional Read Expected Data Transfer Length */
} PduAhs;

/**
 * pdu_ahs_parse() - take additional header segments apart
 * @size: a multiple of 4, as pdu_ahs_size() tells
 *
 * Segments of unknown type are skipped. @ret_ahs points into @ahs.
 *
 * Returns: FALSE when a length is wrong or a type comes twice
 */
gboolean pdu_ahs_parse(const guint8 *ahs, gsize size, PduAhs *ret_ahs);
