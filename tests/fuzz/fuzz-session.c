/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Sessions of several connections, at every error recovery level
 *
 * fuzz-receive.c gives bytes to one connection; what recovers from errors is
 * never reached that way, since it takes PDUs that fit what was answered. Here
 * the input is a script for an initiator that knows what it was told: a record
 * of eight bytes is one step, and most steps make one valid PDU with the tags
 * and numbers of the answers so far. Some steps make the next PDU wrong: a byte
 * of its header, its digests, its CmdSN, its ExpStatSN.
 *
 * The first byte says what is negotiated: bits 0 and 1 the level, 2 digests, 3
 * InitialR2T, 4 ImmediateData, 5 to 7 how many workers (connections are handed
 * from one to the other). Time is a manual clock, so that what waits for Time2Wait,
 * for an acknowledgement or for a data sequence is met too.
 *
 * Whatever comes, the service must stop afterwards with nothing left over,
 * which rig_free() asserts.
 */

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "initiator.h"
#include "util/bytes.h"
#include "util/crc32c.h"

#define N_LINKS     4u
#define RECORD      8
#define RECORDS_MAX 128
#define BLOCK       512
#define IN_SIZE     ((gsize)32 << 10)
#define OUT_MAX     ((gsize)8 << 10)
#define FINAL       0x80

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

/* A connection, and what was told on it last */
typedef struct {
    int fd; /* -1: none */
    guint16 cid;
    guint8 *in;
    gsize n_in;
    guint32 exp_stat_sn;
    guint32 acknowledges; /* what it says instead, if it is_lying */
    gboolean is_lying;
    guint32 r2t_ttt, r2t_itt, r2t_offset, r2t_length;
    guint32 in_ttt; /* of a Data-In that asks for a DataACK, or of a NOP-In */
    guint32 in_itt, in_data_sn;
} Link;

typedef struct {
    Rig *rig;
    Link links[N_LINKS];
    char *keys; /* of each login */
    gsize keys_size;
    gboolean has_digests;
    guint16 tsih;
    guint32 cmd_sn;
    guint32 itt;
    guint8 patch_at, patch_with; /* of the next header */
    guint8 damage;               /* of the next PDU: bit 0 header digest, bit 1 data digest */
} Play;

static void
put_digest(guint8 *p, const guint8 *data, gsize size, gboolean is_wrong)
{
    guint32 value = crc32c_final(crc32c_update(CRC32C_INIT, data, size)) ^ (is_wrong ? 1 : 0);

    for (guint i = 0; i < 4; i++)
        p[i] = (guint8)(value >> (8 * i));
}

/*
 * Receiving
 */

static void
drop(Link *link)
{
    if (link->fd >= 0)
        (void)close(link->fd);
    link->fd = -1;
    link->n_in = 0;
}

/* A Data-In that asks for a DataACK */
static void
take_question(Link *link, const guint8 *bhs)
{
    link->in_ttt = get_be32(bhs + 20);
    link->in_itt = pdu_itt(bhs);
    link->in_data_sn = get_be32(bhs + 36) + 1;
}

static void
take_pdu(Play *play, Link *link, const guint8 *bhs)
{
    guint8 opcode = bhs[0] & 0x3f;
    gboolean has_status = TRUE;

    switch (opcode) {
    case PDU_LOGIN_RESPONSE:
        if (pdu_login_status(bhs) == 0 && play->tsih == 0)
            play->tsih = pdu_login_tsih(bhs);
        break;
    case PDU_R2T:
        link->r2t_itt = pdu_itt(bhs);
        link->r2t_ttt = get_be32(bhs + 20);
        link->r2t_offset = get_be32(bhs + 40);
        link->r2t_length = get_be32(bhs + 44);
        has_status = FALSE;
        break;
    case PDU_DATA_IN:
        if ((bhs[1] & PDU_DATA_IN_ACKNOWLEDGE) != 0)
            take_question(link, bhs);
        has_status = (bhs[1] & PDU_DATA_IN_STATUS) != 0;
        break;
    case PDU_NOP_IN:
        link->in_ttt = get_be32(bhs + 20);
        has_status = pdu_itt(bhs) != PDU_TAG_RESERVED;
        break;
    default:
        break;
    }
    if (has_status && (gint32)(pdu_stat_sn(bhs) + 1 - link->exp_stat_sn) > 0)
        link->exp_stat_sn = pdu_stat_sn(bhs) + 1;
}

/* Whole PDUs at the front of what came; logins have no digests */
static void
parse(Play *play, Link *link)
{
    gsize at = 0;

    while (link->n_in - at >= PDU_BHS_SIZE) {
        const guint8 *bhs = link->in + at;
        gsize digest = play->has_digests && (bhs[0] & 0x3f) != PDU_LOGIN_RESPONSE ? 4 : 0;
        gsize body = pdu_data_size(bhs) + pdu_pad(pdu_data_size(bhs));
        gsize size = PDU_BHS_SIZE + digest + body + (body != 0 ? digest : 0);

        g_assert_cmpuint(size, <=, IN_SIZE);
        if (link->n_in - at < size)
            break;
        take_pdu(play, link, bhs);
        at += size;
    }
    memmove(link->in, link->in + at, link->n_in - at);
    link->n_in -= at;
}

static void
receive(Play *play)
{
    for (guint i = 0; i < N_LINKS; i++) {
        Link *link = &play->links[i];
        gssize n = 1;

        while (link->fd >= 0 && n > 0) {
            n = recv(link->fd, link->in + link->n_in, IN_SIZE - link->n_in, MSG_DONTWAIT);
            if (n > 0) {
                link->n_in += (gsize)n;
                parse(play, link);
                rig_pump(play->rig);
            }
        }
        if (n == 0)
            drop(link);
    }
}

/*
 * Sending
 */

static void
send_bytes(Play *play, const Link *link, const guint8 *data, gsize size)
{
    for (guint i = 0; i < 16 && size > 0 && link->fd >= 0; i++) {
        gssize n = send(link->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n > 0) {
            data += n;
            size -= (gsize)n;
        }
        rig_pump(play->rig);
    }
    for (guint i = 0; i < 4; i++)
        rig_pump(play->rig);
    receive(play);
}

static void
send_pdu(Play *play, Link *link, guint8 *bhs, const void *data, gsize size)
{
    guint8 pdu[PDU_BHS_SIZE + OUT_MAX + 16];
    gboolean is_login = (bhs[0] & 0x3f) == PDU_LOGIN_REQUEST;
    gsize n = PDU_BHS_SIZE;

    if (link->fd < 0)
        return;

    pdu_set_data_size(bhs, size);
    put_be32(bhs + 28, link->is_lying ? link->acknowledges : link->exp_stat_sn);
    bhs[play->patch_at % PDU_BHS_SIZE] ^= play->patch_with;
    memcpy(pdu, bhs, PDU_BHS_SIZE);
    if (play->has_digests && !is_login) {
        put_digest(pdu + n, pdu, PDU_BHS_SIZE, (play->damage & 1) != 0);
        n += 4;
    }
    if (size != 0) {
        gsize body = size + pdu_pad(size);

        memset(pdu + n, (int)play->itt & 0xff, body);
        if (data != NULL)
            memcpy(pdu + n, data, size);
        if (play->has_digests && !is_login) {
            put_digest(pdu + n + body, pdu + n, body, (play->damage & 2) != 0);
            n += 4;
        }
        n += body;
    }
    play->patch_with = 0;
    play->damage = 0;
    send_bytes(play, link, pdu, n);
}

/* A request with a tag and a CmdSN of its own, which it uses up unless it is immediate */
static void
make_request(Play *play, guint8 *bhs, guint8 opcode, guint8 flags)
{
    memset(bhs, 0, PDU_BHS_SIZE);
    bhs[0] = opcode;
    bhs[1] = flags;
    put_be32(bhs + 16, play->itt++);
    put_be32(bhs + 24, play->cmd_sn);
    if ((opcode & PDU_IMMEDIATE) == 0)
        play->cmd_sn++;
}

/* One that was used before */
static guint32
old_tag(const Play *play, guint8 back)
{
    return back == 0xff ? PDU_TAG_RESERVED : play->itt - 1 - back;
}

/*
 * Steps. @r is the record; what its bytes mean is told at each.
 */

/* [2] blocks / 16, [3] LBA, [4] flags: 1 a cut allocation, 2 immediate, 4 ordered */
static void
step_read(Play *play, Link *link, const guint8 *r)
{
    guint8 bhs[PDU_BHS_SIZE];
    guint16 n_blocks = (guint16)(r[2] * 16 + 1);

    make_request(play, bhs, PDU_SCSI_COMMAND | (r[4] & 2 ? PDU_IMMEDIATE : 0),
                 FINAL | PDU_COMMAND_READ | (r[4] & 4 ? PDU_ATTR_ORDERED : PDU_ATTR_SIMPLE));
    put_be32(bhs + 20, (guint32)n_blocks * BLOCK / (r[4] & 1 ? 2 : 1));
    initiator_cdb10(bhs + 32, 0x28, r[3], n_blocks);
    send_pdu(play, link, bhs, NULL, 0);
}

/* [2] blocks, [3] LBA, [4] flags: 1 more data follows unasked, 2 immediate; [5] blocks that come at once */
static void
step_write(Play *play, Link *link, const guint8 *r)
{
    guint8 bhs[PDU_BHS_SIZE];
    guint16 n_blocks = (guint16)(r[2] + 1);

    make_request(play, bhs, PDU_SCSI_COMMAND | (r[4] & 2 ? PDU_IMMEDIATE : 0),
                 (guint8)((r[4] & 1 ? 0 : FINAL) | PDU_COMMAND_WRITE | PDU_ATTR_SIMPLE));
    put_be32(bhs + 20, (guint32)n_blocks * BLOCK);
    initiator_cdb10(bhs + 32, 0x2a, r[3], n_blocks);
    send_pdu(play, link, bhs, NULL, MIN((gsize)r[5] * BLOCK, OUT_MAX));
}

/* [2] DataSN, [3] blocks, [4] flags: 1 F, 2 unasked data of [5] tags ago; [6] blocks beyond the offset */
static void
step_data(Play *play, Link *link, const guint8 *r)
{
    guint8 bhs[PDU_BHS_SIZE] = { PDU_DATA_OUT, r[4] & 1 ? FINAL : 0 };
    gsize size = MIN((gsize)r[3] * BLOCK, OUT_MAX);
    guint32 offset = (guint32)r[6] * BLOCK;

    if (r[4] & 2) {
        put_be32(bhs + 16, old_tag(play, r[5]));
        put_be32(bhs + 20, PDU_TAG_RESERVED);
    } else {
        put_be32(bhs + 16, link->r2t_itt);
        put_be32(bhs + 20, link->r2t_ttt);
        offset += link->r2t_offset;
        size = MIN(size, MIN(link->r2t_length, OUT_MAX));
    }
    put_be32(bhs + 36, r[2]);
    put_be32(bhs + 40, offset);
    send_pdu(play, link, bhs, NULL, size);
}

/* All that was asked for by the last R2T */
static void
step_answer(Play *play, Link *link, const guint8 *r)
{
    guint32 ttt = link->r2t_ttt, itt = link->r2t_itt;
    guint32 offset = link->r2t_offset, rest = link->r2t_length;

    for (guint32 sn = 0; rest > 0 && sn < 32; sn++) {
        guint8 bhs[PDU_BHS_SIZE] = { PDU_DATA_OUT };
        guint32 size = (guint32)MIN(rest, OUT_MAX);

        bhs[1] = size == rest ? FINAL : 0;
        put_be32(bhs + 16, itt);
        put_be32(bhs + 20, ttt);
        put_be32(bhs + 36, sn + (r[2] == sn + 1 ? 1 : 0));
        put_be32(bhs + 40, offset);
        send_pdu(play, link, bhs, NULL, size);
        offset += size;
        rest -= size;
    }
}

/*
 * [2] type, [3] tags ago, [4] BegRun, [5] RunLength, [6] flags: 1 the last TTT, 2 BegRun is a StatSN,
 * 4 what was asked for, 8 a tag of its own
 */
static void
step_snack(Play *play, Link *link, const guint8 *r)
{
    guint8 bhs[PDU_BHS_SIZE] = { PDU_SNACK_REQUEST, FINAL | (r[2] & 0x0f) };
    guint32 begin = r[4];

    put_be32(bhs + 16, old_tag(play, r[3]));
    put_be32(bhs + 20, r[6] & 1 ? link->in_ttt : PDU_TAG_RESERVED);
    if (r[6] & 8)
        put_be32(bhs + 20, play->itt);
    if (r[6] & 2)
        begin = link->exp_stat_sn - begin;
    if (r[6] & 4) {
        begin += link->in_data_sn;
        put_be32(bhs + 16, link->in_itt);
    }
    put_be32(bhs + 40, begin);
    put_be32(bhs + 44, r[5]);
    send_pdu(play, link, bhs, NULL, 0);
}

/* [2] flags: 1 answers the target's ping, 2 immediate; [3] bytes */
static void
step_nop(Play *play, Link *link, const guint8 *r)
{
    guint8 bhs[PDU_BHS_SIZE];

    make_request(play, bhs, PDU_NOP_OUT | (r[2] & 3 ? PDU_IMMEDIATE : 0), FINAL);
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    if (r[2] & 1) {
        put_be32(bhs + 16, PDU_TAG_RESERVED);
        put_be32(bhs + 20, link->in_ttt);
    }
    send_pdu(play, link, bhs, NULL, r[3]);
}

/* [2] function, [3] tags ago, [4] CmdSN ago, [5] ExpDataSN, [6] flags: 1 not immediate */
static void
step_manage(Play *play, Link *link, const guint8 *r)
{
    guint8 bhs[PDU_BHS_SIZE];

    make_request(play, bhs, PDU_TASK_MANAGEMENT_REQUEST | (r[6] & 1 ? 0 : PDU_IMMEDIATE),
                 FINAL | (r[2] & 0x7f));
    put_be32(bhs + 20, old_tag(play, (guint8)(r[3] + 1)));
    put_be32(bhs + 32, play->cmd_sn - r[4]);
    put_be32(bhs + 36, r[5]);
    send_pdu(play, link, bhs, NULL, 0);
}

/* [2] reason, [3] CID */
static void
step_logout(Play *play, Link *link, const guint8 *r)
{
    guint8 bhs[PDU_BHS_SIZE];

    make_request(play, bhs, PDU_LOGOUT_REQUEST | PDU_IMMEDIATE, FINAL | (r[2] & 0x03));
    put_be16(bhs + 20, r[3] % (N_LINKS + 1));
    send_pdu(play, link, bhs, NULL, 0);
}

/* [2] bytes if they are none of the texts, [3] flags: 1 continued, 2 of the last TTT; [4] which text */
static void
step_text(Play *play, Link *link, const guint8 *r)
{
    static const char *const texts[] = { NULL, "SendTargets=", "MaxRecvDataSegmentLength=8192",
                                         "MaxRecvDataSegmentLength=1024", "SendTargets=All" };
    const char *text = texts[r[4] % G_N_ELEMENTS(texts)];
    guint8 bhs[PDU_BHS_SIZE];

    make_request(play, bhs, PDU_TEXT_REQUEST, r[3] & 1 ? PDU_CONTINUE : FINAL);
    put_be32(bhs + 20, r[3] & 2 ? link->in_ttt : PDU_TAG_RESERVED);
    send_pdu(play, link, bhs, text, text != NULL ? strlen(text) + 1 : r[2]);
}

/* [2] CID, [3] flags: 1 a new session, 2 the connection that is there stays */
static void
step_login(Play *play, Link *link, const guint8 *r)
{
    guint8 bhs[PDU_BHS_SIZE] = { PDU_LOGIN_REQUEST | PDU_IMMEDIATE, 0x87 };

    if (link->fd < 0 || (r[3] & 2) == 0) {
        drop(link);
        link->fd = rig_connect(play->rig);
        link->is_lying = FALSE;
        link->exp_stat_sn = 0;
        link->cid = r[2] % N_LINKS;
    }
    bhs[8] = 0x80;
    bhs[13] = 1;
    put_be16(bhs + 14, r[3] & 1 ? 0 : play->tsih);
    put_be32(bhs + 16, play->itt++);
    put_be16(bhs + 20, link->cid);
    put_be32(bhs + 24, play->cmd_sn);
    if (r[3] & 1)
        play->tsih = 0;
    send_pdu(play, link, bhs, play->keys, play->keys_size);
}

/* The next PDU is not as it should be. [2] where, [3] how, [4] digests, [5] CmdSN that are left out */
static void
step_spoil(Play *play, Link *link, const guint8 *r)
{
    play->patch_at = r[2];
    play->patch_with = r[3];
    play->damage = r[4];
    play->cmd_sn += (guint32)(gint8)r[5];
}

/* [2] 0: it says what it has; else how much less it says it has, from now on */
static void
step_acknowledge(Play *play, Link *link, const guint8 *r)
{
    link->is_lying = r[2] != 0;
    link->acknowledges = link->exp_stat_sn - (guint32)(gint8)r[2];
}

/* [2] tenths of a second */
static void
step_wait(Play *play, Link *link, const guint8 *r)
{
    clock_advance(&play->rig->clock, r[2] * (USEC_PER_SEC / 10));
    for (guint i = 0; i < 8; i++)
        rig_pump(play->rig);
    receive(play);
}

static void
step_drop(Play *play, Link *link, const guint8 *r)
{
    drop(link);
    for (guint i = 0; i < 4; i++)
        rig_pump(play->rig);
}

static void (*const steps[])(Play *play, Link *link, const guint8 *r) = {
    step_read,   step_write, step_data,  step_answer, step_snack,       step_nop,  step_manage,
    step_logout, step_text,  step_login, step_spoil,  step_acknowledge, step_wait, step_drop,
};

static void
adjust(IscsiTarget *target)
{
    target->params.error_recovery_level = 2;
    target->params.max_connections = N_LINKS;
}

static void
begin(Play *play, guint8 flags)
{
    static const RigConfig config = { .size = 4 << 20, .pool_size = 12 << 20, .adjust = adjust };
    RigConfig with_workers = config;
    static const guint8 first[RECORD] = { 9, 0, 0, 1 };
    char *text =
        g_strdup_printf("InitiatorName=" RIG_INITIATOR "\nTargetName=" RIG_TARGET
                        "\nSessionType=Normal\nErrorRecoveryLevel=%u\nMaxConnections=%u\n"
                        "InitialR2T=%s\nImmediateData=%s\nMaxRecvDataSegmentLength=4096\n"
                        "MaxBurstLength=65536\nFirstBurstLength=16384\n"
                        "DefaultTime2Wait=1\nDefaultTime2Retain=3\nMaxOutstandingR2T=2%s",
                        flags & 3u, N_LINKS, flags & 8 ? "Yes" : "No", flags & 16 ? "Yes" : "No",
                        flags & 4 ? "\nHeaderDigest=CRC32C\nDataDigest=CRC32C" : "");

    with_workers.n_workers = 1 + (flags >> 5) % 3;
    play->rig = rig_new(&with_workers);
    play->keys_size = strlen(text) + 1;
    play->keys = g_strdelimit(text, "\n", '\0');
    play->has_digests = (flags & 4) != 0;
    play->cmd_sn = play->itt = 1;
    for (guint i = 0; i < N_LINKS; i++) {
        play->links[i].fd = -1;
        play->links[i].in = g_malloc(IN_SIZE);
    }
    step_login(play, &play->links[0], first);
}

/* Time enough for everything that waits */
static void
end(Play *play)
{
    static const guint8 second[RECORD] = { 12, 0, 10 };

    for (guint i = 0; i < 6; i++)
        step_wait(play, &play->links[0], second);
    for (guint i = 0; i < N_LINKS; i++) {
        drop(&play->links[i]);
        g_free(play->links[i].in);
    }
    rig_settle(play->rig);
    g_free(play->keys);
    rig_free(play->rig);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    Play play = { 0 };

    if (size < 1 + RECORD)
        return 0;

    begin(&play, data[0]);
    for (guint i = 0; i < RECORDS_MAX && 1 + (gsize)(i + 1) * RECORD <= size; i++) {
        const guint8 *r = data + 1 + (gsize)i * RECORD;

        steps[r[0] % G_N_ELEMENTS(steps)](&play, &play.links[r[1] % N_LINKS], r);
    }
    end(&play);
    return 0;
}
