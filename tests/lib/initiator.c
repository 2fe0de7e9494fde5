/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * An initiator for tests, written from RFC 7143 and not from the target: only
 * the PDU accessors are shared.
 */

#include "initiator.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/crc32c.h"

#define DATA_MAX      ((gsize)16 << 20)
#define PATIENCE_USEC (120 * USEC_PER_SEC) /* not to fail when the test is held up */
#define FINAL         0x80
#define READ_BIT      0x40
#define WRITE_BIT     0x20
#define SIMPLE        0x01

static Initiator *
initiator_with(Rig *rig, int fd)
{
    Initiator *initiator = g_new0(Initiator, 1);

    initiator->rig = rig;
    initiator->fd = fd;
    initiator->name = RIG_INITIATOR;
    initiator->isid[0] = 0x80;
    initiator->isid[5] = 1;
    initiator->data = g_malloc(DATA_MAX);
    initiator->cmd_sn = 0x1000;
    initiator->itt = 0x100;
    return initiator;
}

Initiator *
initiator_new(Rig *rig)
{
    return initiator_with(rig, rig_connect(rig));
}

Initiator *
initiator_new_tcp(Rig *rig)
{
    return initiator_with(rig, rig_connect_tcp(rig));
}

void
initiator_drop(Initiator *initiator)
{
    if (initiator->fd >= 0)
        (void)close(initiator->fd);
    initiator->fd = -1;
}

void
initiator_free(Initiator *initiator)
{
    initiator_drop(initiator);
    g_free(initiator->data);
    g_free(initiator);
}

/* Bytes */

static void
wait_for(const Initiator *initiator, short events)
{
    struct pollfd pollfd = { .fd = initiator->fd, .events = events };

    if (initiator->rig->is_threaded)
        (void)poll(&pollfd, 1, 1);
    else
        rig_pump(initiator->rig);
}

void
initiator_send_bytes(Initiator *initiator, const void *bytes, gsize size)
{
    const guint8 *p = bytes;
    gint64 limit = g_get_monotonic_time() + PATIENCE_USEC;

    while (size > 0) {
        gsize n = initiator->chunk != 0 ? MIN(size, initiator->chunk) : size;
        gssize r;

        if (initiator->split != 0)
            n = MIN(n, initiator->split);
        r = send(initiator->fd, p, n, MSG_NOSIGNAL);

        if (r < 0 && (errno == EPIPE || errno == ECONNRESET))
            return;
        g_assert_true(r >= 0 || errno == EAGAIN);
        if (r > 0) {
            p += r;
            size -= (gsize)r;
            if (initiator->split != 0 && (initiator->split -= (gsize)r) == 0)
                rig_settle(initiator->rig);
        }
        if (r < 0 || initiator->chunk != 0)
            wait_for(initiator, POLLOUT);
        g_assert_cmpint(g_get_monotonic_time(), <, limit);
    }
}

/* FALSE: closed before @size bytes came */
static gboolean
receive_bytes(Initiator *initiator, void *bytes, gsize size)
{
    guint8 *p = bytes;
    gint64 limit = g_get_monotonic_time() + PATIENCE_USEC;

    while (size > 0) {
        gsize n = initiator->receive_chunk != 0 ? MIN(size, initiator->receive_chunk) : size;
        gssize r = recv(initiator->fd, p, n, 0);

        if (r == 0 || (r < 0 && errno == ECONNRESET))
            return FALSE;
        if (r > 0) {
            p += r;
            size -= (gsize)r;
            if (initiator->receive_chunk != 0)
                wait_for(initiator, POLLIN);
            continue;
        }
        g_assert_cmpint(errno, ==, EAGAIN);
        wait_for(initiator, POLLIN);
        g_assert_cmpint(g_get_monotonic_time(), <, limit);
    }
    return TRUE;
}

static void
put_digest(guint8 *p, guint32 crc)
{
    guint32 value = crc32c_final(crc);

    for (guint i = 0; i < 4; i++)
        p[i] = (guint8)(value >> 8 * i);
}

static gboolean
check_digest(const guint8 *p, guint32 crc)
{
    guint8 right[4];

    put_digest(right, crc);
    return memcmp(p, right, sizeof(right)) == 0;
}

/* PDUs */

void
initiator_send_flawed(Initiator *initiator, guint8 *bhs, const void *data, gsize size,
                      InitiatorFlaw flaw)
{
    g_autofree guint8 *bytes = g_malloc0(PDU_BHS_SIZE + size + 12);
    gsize n = PDU_BHS_SIZE;

    pdu_set_data_size(bhs, size);
    memcpy(bytes, bhs, PDU_BHS_SIZE);
    if (initiator->header_digest) {
        put_digest(bytes + n, crc32c_update(CRC32C_INIT, bhs, PDU_BHS_SIZE));
        bytes[n] ^= flaw == INITIATOR_FLAW_HEADER_DIGEST;
        n += 4;
    }
    if (size > 0) {
        gsize padded = size + pdu_pad(size);

        memcpy(bytes + n, data, size);
        n += padded;
        if (initiator->data_digest) {
            put_digest(bytes + n, crc32c_update(CRC32C_INIT, bytes + n - padded, padded));
            bytes[n] ^= flaw == INITIATOR_FLAW_DATA_DIGEST;
            bytes[n - 1] ^= flaw == INITIATOR_FLAW_PADDING;
            n += 4;
        }
    }
    initiator_send_bytes(initiator, bytes, n);
}

void
initiator_send(Initiator *initiator, guint8 *bhs, const void *data, gsize size)
{
    initiator_send_flawed(initiator, bhs, data, size, INITIATOR_FLAW_NONE);
}

static void
take_numbers(Initiator *initiator)
{
    const guint8 *bhs = initiator->bhs;
    PduOpcode opcode = pdu_opcode(bhs);
    guint32 max = pdu_max_cmd_sn(bhs);

    if ((gint32)(max - initiator->max_cmd_sn) > 0)
        initiator->max_cmd_sn = max;
    if (opcode == PDU_R2T || (opcode == PDU_DATA_IN && !(bhs[1] & PDU_DATA_IN_STATUS)) ||
        (opcode == PDU_NOP_IN && pdu_itt(bhs) == PDU_TAG_RESERVED))
        return;
    g_assert_cmphex(pdu_stat_sn(bhs), ==, initiator->exp_stat_sn);
    initiator->exp_stat_sn++;
}

gboolean
initiator_receive_any(Initiator *initiator)
{
    guint8 digest[4];
    guint8 pad[4];
    guint32 crc;

    initiator->digest_error = FALSE;
    if (!receive_bytes(initiator, initiator->bhs, PDU_BHS_SIZE))
        return FALSE;
    if (initiator->header_digest) {
        if (!receive_bytes(initiator, digest, 4))
            return FALSE;
        initiator->digest_error |=
            !check_digest(digest, crc32c_update(CRC32C_INIT, initiator->bhs, PDU_BHS_SIZE));
    }

    g_assert_cmpuint(pdu_ahs_size(initiator->bhs), ==, 0);
    initiator->data_size = pdu_data_size(initiator->bhs);
    g_assert_cmpuint(initiator->data_size, <=, DATA_MAX);
    if (!receive_bytes(initiator, initiator->data, initiator->data_size) ||
        !receive_bytes(initiator, pad, pdu_pad(initiator->data_size)))
        return FALSE;
    if (initiator->data_digest && initiator->data_size > 0) {
        if (!receive_bytes(initiator, digest, 4))
            return FALSE;
        crc = crc32c_update(CRC32C_INIT, initiator->data, initiator->data_size);
        crc = crc32c_update(crc, pad, pdu_pad(initiator->data_size));
        initiator->digest_error |= !check_digest(digest, crc);
    }
    return TRUE;
}

gboolean
initiator_receive(Initiator *initiator)
{
    if (!initiator_receive_any(initiator))
        return FALSE;

    g_assert_false(initiator->digest_error);
    if (pdu_opcode(initiator->bhs) != PDU_LOGIN_RESPONSE)
        take_numbers(initiator);
    return TRUE;
}

gboolean
initiator_poll(Initiator *initiator)
{
    guint8 byte;

    rig_settle(initiator->rig);
    if (recv(initiator->fd, &byte, 1, MSG_PEEK) != 1)
        return FALSE;
    return initiator_receive(initiator);
}

gboolean
initiator_poll_any(Initiator *initiator)
{
    guint8 byte;

    rig_settle(initiator->rig);
    if (recv(initiator->fd, &byte, 1, MSG_PEEK) != 1)
        return FALSE;
    g_assert_true(initiator_receive_any(initiator));
    return TRUE;
}

gboolean
initiator_is_closed(Initiator *initiator)
{
    guint8 byte;
    gssize r;

    rig_settle(initiator->rig);
    while ((r = recv(initiator->fd, &byte, 1, MSG_PEEK)) > 0) {
        if (byte != PDU_ASYNC_MESSAGE || !initiator_receive(initiator))
            return FALSE;
    }
    return r == 0 || (r < 0 && errno == ECONNRESET);
}

void
initiator_header(Initiator *initiator, guint8 *bhs, guint8 opcode, guint8 flags)
{
    memset(bhs, 0, PDU_BHS_SIZE);
    bhs[0] = opcode;
    bhs[1] = flags;
    put_be32(bhs + 16, initiator->itt++);
    put_be32(bhs + 24, initiator->cmd_sn);
    put_be32(bhs + 28, initiator->exp_stat_sn);
    if (!(opcode & PDU_IMMEDIATE))
        initiator->cmd_sn++;
}

/* Login */

static void
take_number(const char *text, gsize size, const char *key, guint32 *ret_value)
{
    gsize length = strlen(key);

    for (const char *p = text; p < text + size; p += strlen(p) + 1) {
        if (strncmp(p, key, length) == 0 && p[length] == '=')
            *ret_value = (guint32)g_ascii_strtoull(p + length + 1, NULL, 10);
    }
}

static gboolean
has_pair(const char *text, gsize size, const char *pair)
{
    for (const char *p = text; p < text + size; p += strlen(p) + 1) {
        if (strcmp(p, pair) == 0)
            return TRUE;
    }
    return FALSE;
}

static void
take_answers(Initiator *initiator)
{
    const char *text = (const char *)initiator->data;
    gsize size = initiator->data_size;

    initiator->data[size] = '\0';
    take_number(text, size, "MaxRecvDataSegmentLength", &initiator->max_xmit);
    take_number(text, size, "FirstBurstLength", &initiator->first_burst);
    take_number(text, size, "MaxBurstLength", &initiator->max_burst);
    if (has_pair(text, size, "InitialR2T=No"))
        initiator->initial_r2t = FALSE;
    if (has_pair(text, size, "ImmediateData=No"))
        initiator->immediate_data = FALSE;
    initiator->header_digest = has_pair(text, size, "HeaderDigest=CRC32C");
    initiator->data_digest = has_pair(text, size, "DataDigest=CRC32C");
}

guint16
initiator_login_text(Initiator *initiator, const char *text)
{
    g_autofree char *pairs = g_strdelimit(g_strdup(text), "\n", '\0');
    guint8 bhs[PDU_BHS_SIZE];
    gboolean was_header = initiator->header_digest, was_data = initiator->data_digest;

    initiator->max_xmit = 8192;
    initiator->first_burst = 65536;
    initiator->max_burst = 262144;
    initiator->initial_r2t = TRUE;
    initiator->immediate_data = TRUE;
    initiator->header_digest = initiator->data_digest = FALSE;

    /* CSG operational, NSG full feature, T */
    initiator_header(initiator, bhs, PDU_LOGIN_REQUEST | PDU_IMMEDIATE, 0x87);
    memcpy(bhs + 8, initiator->isid, 6);
    put_be16(bhs + 14, initiator->tsih);
    put_be16(bhs + 20, initiator->cid);
    initiator_send(initiator, bhs, pairs, strlen(text) + 1);
    initiator->header_digest = initiator->data_digest = FALSE;
    if (!initiator_receive(initiator)) {
        initiator->header_digest = was_header;
        initiator->data_digest = was_data;
        return G_MAXUINT16;
    }

    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_LOGIN_RESPONSE);
    initiator->status = pdu_login_status(initiator->bhs);
    initiator->exp_stat_sn = pdu_stat_sn(initiator->bhs) + 1;
    initiator->max_cmd_sn = pdu_max_cmd_sn(initiator->bhs);
    if (initiator->status == 0) {
        g_assert_cmphex(initiator->bhs[1] & 0x83, ==, 0x83);
        initiator->tsih = pdu_login_tsih(initiator->bhs);
        take_answers(initiator);
    }
    return initiator->status;
}

guint16
initiator_login(Initiator *initiator, const char *keys)
{
    g_autofree char *text = g_strdup_printf(
        "InitiatorName=%s\nTargetName=%s\nSessionType=Normal\n%s%s", initiator->name, RIG_TARGET,
        keys != NULL ? keys
                     : "InitialR2T=No\nImmediateData=Yes\nMaxRecvDataSegmentLength=262144\n"
                       "MaxBurstLength=1048576\nFirstBurstLength=262144\nMaxOutstandingR2T=4",
        "");

    return initiator_login_text(initiator, text);
}

guint16
initiator_login_discovery(Initiator *initiator)
{
    g_autofree char *text =
        g_strdup_printf("InitiatorName=%s\nSessionType=Discovery", initiator->name);

    return initiator_login_text(initiator, text);
}

/* Commands */

void
initiator_command(Initiator *initiator, guint8 *bhs, guint8 flags, const guint8 *cdb,
                  gsize cdb_size, guint32 edtl)
{
    initiator_header(initiator, bhs, PDU_SCSI_COMMAND, flags | SIMPLE);
    put_be32(bhs + 20, edtl);
    memcpy(bhs + 32, cdb, cdb_size);
}

static void
send_data_out(Initiator *initiator, guint32 itt, guint32 ttt, const guint8 *data, guint32 offset,
              guint32 size)
{
    guint32 data_sn = 0;

    while (size > 0) {
        guint8 bhs[PDU_BHS_SIZE] = { PDU_DATA_OUT };
        guint32 n = MIN(size, initiator->max_xmit);

        bhs[1] = n == size ? FINAL : 0;
        put_be32(bhs + 16, itt);
        put_be32(bhs + 20, ttt);
        put_be32(bhs + 28, initiator->exp_stat_sn);
        put_be32(bhs + 36, data_sn++);
        put_be32(bhs + 40, offset);
        initiator_send(initiator, bhs, data + offset, n);
        offset += n;
        size -= n;
    }
}

/* The header, immediate and unsolicited data */
static guint32
send_command(Initiator *initiator, const guint8 *cdb, gsize cdb_size, const guint8 *out,
             guint32 out_size, guint32 in_size)
{
    guint8 bhs[PDU_BHS_SIZE];
    guint32 burst = MIN(out_size, initiator->first_burst);
    guint32 immediate = initiator->immediate_data ? MIN(burst, initiator->max_xmit) : 0;
    guint32 unsolicited = initiator->initial_r2t ? 0 : burst - immediate;
    guint8 flags = (guint8)((in_size > 0 ? READ_BIT : 0) | (out_size > 0 ? WRITE_BIT : 0) |
                            (unsolicited > 0 ? 0 : FINAL));

    initiator_command(initiator, bhs, flags, cdb, cdb_size, MAX(out_size, in_size));
    initiator_send(initiator, bhs, out, immediate);
    send_data_out(initiator, pdu_itt(bhs), PDU_TAG_RESERVED, out, immediate, unsolicited);
    return pdu_itt(bhs);
}

static void
take_status(const Initiator *initiator, Outcome *outcome)
{
    const guint8 *bhs = initiator->bhs;

    outcome->status = bhs[3];
    outcome->residual_flags = bhs[1] & (PDU_RESIDUAL_OVERFLOW | PDU_RESIDUAL_UNDERFLOW);
    outcome->residual = get_be32(bhs + 44);
    if (pdu_opcode(bhs) == PDU_DATA_IN) {
        outcome->has_collapsed = TRUE;
        return;
    }

    g_assert_cmphex(bhs[2], ==, PDU_RESPONSE_COMPLETED);
    g_assert_cmpuint(get_be32(bhs + 36), ==, outcome->n_data_in); /* not R2Ts: RFC 7143 11.4.8 */
    if (initiator->data_size >= 2) {
        outcome->sense_size = get_be16(initiator->data);
        g_assert_cmpuint(outcome->sense_size + 2, ==, initiator->data_size);
        g_assert_cmpuint(outcome->sense_size, <=, sizeof(outcome->sense));
        memcpy(outcome->sense, initiator->data + 2, outcome->sense_size);
    }
}

static gboolean
take_data_in(const Initiator *initiator, guint8 *in, guint32 in_size, Outcome *outcome)
{
    const guint8 *bhs = initiator->bhs;
    guint32 offset = pdu_data_offset(bhs);

    g_assert_cmpuint(pdu_data_sn(bhs), ==, outcome->n_data_in);
    g_assert_cmpuint(offset, ==, outcome->received);
    g_assert_cmpuint(offset + initiator->data_size, <=, in_size);
    memcpy(in + offset, initiator->data, initiator->data_size);
    outcome->received += initiator->data_size;
    outcome->n_data_in++;
    outcome->n_sequences += (bhs[1] & FINAL) != 0;
    return (bhs[1] & PDU_DATA_IN_STATUS) != 0;
}

void
initiator_answer_ping(Initiator *initiator)
{
    guint32 ttt = pdu_ttt(initiator->bhs);
    guint8 bhs[PDU_BHS_SIZE];

    if (ttt == PDU_TAG_RESERVED)
        return;
    initiator_header(initiator, bhs, PDU_NOP_OUT | PDU_IMMEDIATE, 0x80);
    put_be32(bhs + 16, PDU_TAG_RESERVED);
    put_be32(bhs + 20, ttt);
    initiator_send(initiator, bhs, NULL, 0);
}

gboolean
initiator_run(Initiator *initiator, const guint8 *cdb, gsize cdb_size, const void *out,
              guint32 out_size, void *in, guint32 in_size, Outcome *ret_outcome)
{
    guint32 itt = send_command(initiator, cdb, cdb_size, out, out_size, in_size);

    *ret_outcome = (Outcome){ 0 };
    while (initiator_receive(initiator)) {
        PduOpcode opcode = pdu_opcode(initiator->bhs);

        if (opcode == PDU_NOP_IN) {
            initiator_answer_ping(initiator);
            continue;
        }
        g_assert_cmphex(pdu_itt(initiator->bhs), ==, itt);
        if (opcode == PDU_R2T) {
            g_assert_cmpuint(get_be32(initiator->bhs + 36), ==, ret_outcome->n_r2t);
            ret_outcome->n_r2t++;
            g_assert_cmpuint(pdu_r2t_length(initiator->bhs), <=, initiator->max_burst);
            send_data_out(initiator, itt, pdu_ttt(initiator->bhs), out,
                          pdu_data_offset(initiator->bhs), pdu_r2t_length(initiator->bhs));
        } else if (opcode == PDU_DATA_IN) {
            if (!take_data_in(initiator, in, in_size, ret_outcome))
                continue;
            take_status(initiator, ret_outcome);
            return TRUE;
        } else {
            g_assert_cmphex(opcode, ==, PDU_SCSI_RESPONSE);
            take_status(initiator, ret_outcome);
            return TRUE;
        }
    }
    return FALSE;
}

void
initiator_cdb10(guint8 cdb[10], guint8 opcode, guint32 lba, guint16 n_blocks)
{
    memset(cdb, 0, 10);
    cdb[0] = opcode;
    put_be32(cdb + 2, lba);
    put_be16(cdb + 7, n_blocks);
}

void
initiator_read(Initiator *initiator, guint32 lba, guint16 n_blocks, void *data)
{
    guint8 cdb[10];
    Outcome outcome;

    initiator_cdb10(cdb, 0x28, lba, n_blocks);
    g_assert_true(
        initiator_run(initiator, cdb, 10, NULL, 0, data, (guint32)n_blocks * 512, &outcome));
    g_assert_cmphex(outcome.status, ==, 0);
    g_assert_cmpuint(outcome.received, ==, (gsize)n_blocks * 512);
    g_assert_cmphex(outcome.residual_flags, ==, 0);
}

void
initiator_write(Initiator *initiator, guint32 lba, guint16 n_blocks, const void *data)
{
    guint8 cdb[10];
    Outcome outcome;

    initiator_cdb10(cdb, 0x2a, lba, n_blocks);
    g_assert_true(
        initiator_run(initiator, cdb, 10, data, (guint32)n_blocks * 512, NULL, 0, &outcome));
    g_assert_cmphex(outcome.status, ==, 0);
    g_assert_cmphex(outcome.residual_flags, ==, 0);
}

void
initiator_settle(Initiator *initiator)
{
    static const guint8 cdb[6];
    Outcome outcome;

    for (guint i = 0; i < 8; i++) {
        g_assert_true(initiator_run(initiator, cdb, 6, NULL, 0, NULL, 0, &outcome));
        if (outcome.status == 0)
            return;
    }
    g_assert_not_reached();
}

guint8
initiator_logout(Initiator *initiator)
{
    guint8 bhs[PDU_BHS_SIZE];
    guint8 response;

    initiator_header(initiator, bhs, PDU_LOGOUT_REQUEST, FINAL | PDU_LOGOUT_CLOSE_SESSION);
    initiator_send(initiator, bhs, NULL, 0);
    do
        g_assert_true(initiator_receive(initiator));
    while (pdu_opcode(initiator->bhs) != PDU_LOGOUT_RESPONSE);

    response = initiator->bhs[2];
    g_assert_false(initiator_receive(initiator));
    return response;
}
