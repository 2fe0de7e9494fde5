/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * PDU codec
 *
 * A header stays the 48 bytes it is on the wire; there is no second form of it.
 * What an initiator sends is judged in pdu_check() and nowhere else; what a
 * target sends is laid out by one encoder per opcode.
 *
 * pdu_check() tells two kinds of wrong apart. Where the sizes can be believed,
 * the PDU is skipped and answered with a Reject. Where they cannot, or the RFC
 * calls it a format error, nothing that follows in the byte stream means
 * anything and the connection has to go.
 */

#include "iscsi/pdu.h"

/* Additional header segments, RFC 7143 11.2 */
#define AHS_EXTENDED_CDB 1
#define AHS_READ_LENGTH  2
#define AHS_HEAD_SIZE    3

void
pdu_encode_scsi_response(guint8 *bhs, guint32 itt, guint8 residual_flags, guint8 response,
                         guint8 status, guint32 residual, guint32 exp_data_sn, gsize data_size)
{
    pdu_encode(bhs, PDU_SCSI_RESPONSE, PDU_FINAL | residual_flags, itt, data_size);
    bhs[2] = response;
    bhs[3] = response == PDU_RESPONSE_COMPLETED ? status : 0;
    put_be32(bhs + 36, exp_data_sn);
    put_be32(bhs + 44, residual);
}

void
pdu_encode_data_in(guint8 *bhs, guint32 itt, guint8 flags, guint64 lun, guint32 ttt,
                   guint32 data_sn, guint32 offset, gsize data_size)
{
    pdu_encode(bhs, PDU_DATA_IN, flags, itt, data_size);
    put_be64(bhs + 8, lun);
    put_be32(bhs + 20, ttt);
    put_be32(bhs + 36, data_sn);
    put_be32(bhs + 40, offset);
}

void
pdu_set_data_in_status(guint8 *bhs, guint8 status, guint8 residual_flags, guint32 residual)
{
    bhs[1] |= (guint8)(PDU_FINAL | PDU_DATA_IN_STATUS | residual_flags);
    bhs[3] = status;
    put_be32(bhs + 44, residual);
}

void
pdu_encode_r2t(guint8 *bhs, guint32 itt, guint64 lun, guint32 ttt, guint32 r2t_sn, guint32 offset,
               guint32 length)
{
    pdu_encode(bhs, PDU_R2T, PDU_FINAL, itt, 0);
    put_be64(bhs + 8, lun);
    put_be32(bhs + 20, ttt);
    put_be32(bhs + 36, r2t_sn);
    put_be32(bhs + 40, offset);
    put_be32(bhs + 44, length);
}

void
pdu_encode_nop_in(guint8 *bhs, guint32 itt, guint64 lun, guint32 ttt, gsize data_size)
{
    pdu_encode(bhs, PDU_NOP_IN, PDU_FINAL, itt, data_size);
    put_be64(bhs + 8, lun);
    put_be32(bhs + 20, ttt);
}

void
pdu_encode_tmf_response(guint8 *bhs, guint32 itt, PduTmfResponse response, guint32 information)
{
    pdu_encode(bhs, PDU_TASK_MANAGEMENT_RESPONSE, PDU_FINAL, itt, 0);
    bhs[2] = (guint8)response;
    put_be24(bhs + 8, information);
}

void
pdu_encode_logout_response(guint8 *bhs, guint32 itt, PduLogoutResponse response, guint16 time2wait,
                           guint16 time2retain)
{
    pdu_encode(bhs, PDU_LOGOUT_RESPONSE, PDU_FINAL, itt, 0);
    bhs[2] = (guint8)response;
    put_be16(bhs + 40, time2wait);
    put_be16(bhs + 42, time2retain);
}

void
pdu_encode_reject(guint8 *bhs, PduRejectReason reason, guint32 data_sn, gsize data_size)
{
    pdu_encode(bhs, PDU_REJECT, PDU_FINAL, PDU_TAG_RESERVED, data_size);
    bhs[2] = (guint8)reason;
    put_be32(bhs + 36, data_sn);
}

void
pdu_encode_text_response(guint8 *bhs, guint32 itt, guint8 flags, guint64 lun, guint32 ttt,
                         gsize data_size)
{
    pdu_encode(bhs, PDU_TEXT_RESPONSE, flags, itt, data_size);
    put_be64(bhs + 8, lun);
    put_be32(bhs + 20, ttt);
}

void
pdu_encode_login_response(guint8 *bhs, guint32 itt, guint8 flags, const guint8 *isid, guint16 tsih,
                          guint16 status, gsize data_size)
{
    pdu_encode(bhs, PDU_LOGIN_RESPONSE, flags, itt, data_size);
    bhs[2] = PDU_VERSION; /* Version-max */
    bhs[3] = PDU_VERSION; /* Version-active */
    memcpy(bhs + 8, isid, 6);
    put_be16(bhs + 14, tsih);
    put_be16(bhs + 36, status);
}

void
pdu_encode_async_message(guint8 *bhs, guint64 lun, PduAsyncEvent event, guint8 vendor_code,
                         guint16 parameter1, guint16 parameter2, guint16 parameter3,
                         gsize data_size)
{
    pdu_encode(bhs, PDU_ASYNC_MESSAGE, PDU_FINAL, PDU_TAG_RESERVED, data_size);
    put_be64(bhs + 8, lun);
    bhs[36] = (guint8)event;
    bhs[37] = vendor_code;
    put_be16(bhs + 38, parameter1);
    put_be16(bhs + 40, parameter2);
    put_be16(bhs + 42, parameter3);
}

const char *
pdu_name(guint8 opcode)
{
    const PduRow *row = pdu_find(opcode);

    return row != NULL ? row->name : "unknown PDU";
}

const char *
pdu_reject_name(PduRejectReason reason)
{
    switch (reason) {
    case PDU_REJECT_NONE:
        return "no reason";
    case PDU_REJECT_DATA_DIGEST:
        return "data digest error";
    case PDU_REJECT_SNACK:
        return "SNACK reject";
    case PDU_REJECT_PROTOCOL_ERROR:
        return "protocol error";
    case PDU_REJECT_NOT_SUPPORTED:
        return "command not supported";
    case PDU_REJECT_IMMEDIATE:
        return "too many immediate commands";
    case PDU_REJECT_TASK_IN_PROGRESS:
        return "task in progress";
    case PDU_REJECT_DATA_ACK:
        return "invalid data ACK";
    case PDU_REJECT_INVALID_FIELD:
        return "invalid PDU field";
    case PDU_REJECT_LONG_OPERATION:
        return "long operation reject";
    case PDU_REJECT_WAITING_FOR_LOGOUT:
        return "waiting for logout";
    }

    return "unknown reason";
}

/* The rules of RFC 7143 11.3 on the flags of a SCSI Command */
static PduRejectReason
check_command(const guint8 *bhs)
{
    gboolean is_write = pdu_command_is_write(bhs);

    if (pdu_command_attr(bhs) > PDU_ATTR_ACA)
        return PDU_REJECT_INVALID_FIELD;
    if (!is_write && (!pdu_is_final(bhs) || pdu_data_size(bhs) != 0))
        return PDU_REJECT_INVALID_FIELD;
    if (!is_write && !pdu_command_is_read(bhs) && pdu_command_edtl(bhs) != 0)
        return PDU_REJECT_INVALID_FIELD;
    if (pdu_itt(bhs) == PDU_TAG_RESERVED)
        return PDU_REJECT_INVALID_FIELD;
    return PDU_REJECT_NONE;
}

static PduRejectReason
check_text(const guint8 *bhs)
{
    if (pdu_is_final(bhs) && pdu_is_continued(bhs))
        return PDU_REJECT_INVALID_FIELD;
    if (pdu_itt(bhs) == PDU_TAG_RESERVED)
        return PDU_REJECT_INVALID_FIELD;
    return PDU_REJECT_NONE;
}

/* An answer is not wanted, so the command must not wait for its turn: RFC 7143 11.18 */
static PduRejectReason
check_nop_out(const guint8 *bhs)
{
    if (pdu_itt(bhs) == PDU_TAG_RESERVED && !pdu_is_immediate(bhs))
        return PDU_REJECT_INVALID_FIELD;
    return PDU_REJECT_NONE;
}

static PduRejectReason
check_fields(const PduRow *row, const guint8 *bhs)
{
    switch ((PduOpcode)row->opcode) {
    case PDU_SCSI_COMMAND:
        return check_command(bhs);
    case PDU_TEXT_REQUEST:
        return check_text(bhs);
    case PDU_NOP_OUT:
        return check_nop_out(bhs);
    case PDU_TASK_MANAGEMENT_REQUEST:
    case PDU_LOGOUT_REQUEST:
    case PDU_DATA_OUT:
        return pdu_itt(bhs) == PDU_TAG_RESERVED ? PDU_REJECT_INVALID_FIELD : PDU_REJECT_NONE;
    case PDU_LOGIN_REQUEST:
    case PDU_SNACK_REQUEST:
    case PDU_NOP_IN:
    case PDU_SCSI_RESPONSE:
    case PDU_TASK_MANAGEMENT_RESPONSE:
    case PDU_LOGIN_RESPONSE:
    case PDU_TEXT_RESPONSE:
    case PDU_DATA_IN:
    case PDU_LOGOUT_RESPONSE:
    case PDU_R2T:
    case PDU_ASYNC_MESSAGE:
    case PDU_REJECT:
        break;
    }

    return PDU_REJECT_NONE;
}

PduRejectReason
pdu_check(const guint8 *bhs, const PduLimits *limits, gboolean *ret_fatal)
{
    const PduRow *row = pdu_find((guint8)pdu_opcode(bhs));
    gsize data_size = pdu_data_size(bhs);

    /* No buffer was promised for more than this, so it cannot even be skipped at a bounded cost */
    if (data_size > limits->max_data_size || pdu_ahs_size(bhs) > limits->max_ahs_size) {
        *ret_fatal = TRUE;
        return PDU_REJECT_PROTOCOL_ERROR;
    }

    *ret_fatal = limits->phase == PDU_PHASE_LOGIN;
    if (row == NULL)
        return PDU_REJECT_NOT_SUPPORTED;
    if (row->direction != PDU_FROM_INITIATOR) {
        *ret_fatal = TRUE;
        return PDU_REJECT_PROTOCOL_ERROR;
    }
    if ((row->phases & 1u << limits->phase) == 0)
        return PDU_REJECT_PROTOCOL_ERROR;
    if (row->data == PDU_DATA_NONE && data_size != 0)
        return PDU_REJECT_INVALID_FIELD;
    if (!row->ahs && pdu_ahs_size(bhs) != 0)
        return PDU_REJECT_INVALID_FIELD;
    if (!row->immediate && pdu_is_immediate(bhs))
        return PDU_REJECT_INVALID_FIELD;
    return check_fields(row, bhs);
}

gboolean
pdu_ahs_parse(const guint8 *ahs, gsize size, PduAhs *ret_ahs)
{
    PduAhs result = { 0 };

    for (gsize offset = 0; offset < size;) {
        const guint8 *segment = ahs + offset;
        gsize length, whole;

        if (size - offset < AHS_HEAD_SIZE)
            return FALSE;
        length = get_be16(segment); /* counts neither itself nor the type, nor the padding */
        whole = AHS_HEAD_SIZE + length;
        if (whole > size - offset)
            return FALSE;

        switch (segment[2] & 0x3f) {
        case AHS_EXTENDED_CDB:
            /* its first byte is reserved, and what follows is never empty */
            if (result.extended_cdb != NULL || length < 2)
                return FALSE;
            result.extended_cdb = segment + 4;
            result.extended_cdb_size = length - 1;
            break;
        case AHS_READ_LENGTH:
            if (result.has_read_length || length != 5)
                return FALSE;
            result.has_read_length = TRUE;
            result.read_length = get_be32(segment + 4);
            break;
        default:
            break;
        }
        offset += whole + pdu_pad(whole);
    }

    *ret_ahs = result;
    return TRUE;
}
