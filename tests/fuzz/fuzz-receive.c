/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The receive path: whole connections, played by the input
 *
 * A real service with one worker, without threads, over a store in memory; a
 * socket pair is the connection. Time is a manual clock. The first byte says
 * how the connection begins:
 *
 *     bit 0   log in first (a normal session; with bit 1 a discovery session)
 *     bit 2   with both digests: those of the input are put right
 *     bit 3   the input is in pieces: a byte says how many bytes come before
 *             the next turn; 0 lets a second pass
 *
 * Whatever comes, the service must stop afterwards with nothing left over,
 * which rig_free() asserts. The rig is made anew for each input, so that a
 * finding needs no history.
 */

#include <string.h>
#include <unistd.h>

#include "initiator.h"
#include "util/crc32c.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

#define FLAG_LOGIN     0x01
#define FLAG_DISCOVERY 0x02
#define FLAG_DIGESTS   0x04
#define FLAG_PIECES    0x08

/* An input is not served without end: what a session can cause in so much is seen before */
#define SIZE_MAX_USED ((gsize)64 << 10)
#define PIECES_MAX    256

/* No more than what the socket pair takes is sent at once; the answers are thrown away */
static gboolean
feed(Rig *rig, int fd, const guint8 *data, gsize size)
{
    guint8 sink[65536];

    while (size > 0) {
        gssize n = send(fd, data, MIN(size, 16384), MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n <= 0)
            return FALSE;
        data += n;
        size -= (gsize)n;
        for (guint i = 0; i < 4; i++)
            rig_pump(rig);
        while (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
            rig_pump(rig);
    }
    return TRUE;
}

static void
feed_in_pieces(Rig *rig, int fd, const guint8 *data, gsize size)
{
    for (guint i = 0; i < PIECES_MAX && size > 1; i++) {
        gsize n = MIN(data[0], size - 1);

        if (n == 0)
            clock_advance(&rig->clock, USEC_PER_SEC);
        if (!feed(rig, fd, data + 1, n))
            return;
        data += 1 + n;
        size -= 1 + n;
    }
}

static void
put_digest(guint8 *p, const guint8 *data, gsize size)
{
    guint32 value = crc32c_final(crc32c_update(CRC32C_INIT, data, size));

    for (guint i = 0; i < 4; i++)
        p[i] = (guint8)(value >> (8 * i));
}

/* A copy of @data with right digests, as far as it consists of whole PDUs */
static guint8 *
add_digests(const guint8 *data, gsize size, gsize *ret_size)
{
    guint8 *copy = g_memdup2(data, size);

    for (gsize at = 0; at + PDU_BHS_SIZE <= size;) {
        gsize head = PDU_BHS_SIZE + pdu_ahs_size(copy + at);
        gsize body = pdu_data_size(copy + at) + pdu_pad(pdu_data_size(copy + at));

        if (at + head + 4 > size)
            break;
        put_digest(copy + at + head, copy + at, head);
        at += head + 4;
        if (body == 0)
            continue;
        if (body + 4 > size - at)
            break;
        put_digest(copy + at + body, copy + at, body);
        at += body + 4;
    }
    *ret_size = size;
    return copy;
}

static gboolean
log_in(Initiator *initiator, guint8 flags)
{
    if ((flags & FLAG_LOGIN) == 0)
        return TRUE;
    if ((flags & FLAG_DIGESTS) != 0)
        initiator->header_digest = initiator->data_digest = TRUE;
    if ((flags & FLAG_DISCOVERY) != 0)
        return initiator_login_discovery(initiator) == 0;
    return initiator_login(initiator, "ImmediateData=Yes\nInitialR2T=No") == 0;
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    const RigConfig config = { .size = 1 << 20, .pool_size = 8 << 20 };
    g_autofree guint8 *copy = NULL;
    Initiator *initiator;
    guint8 flags;
    Rig *rig;

    if (size < 1 || size > SIZE_MAX_USED)
        return 0;

    flags = data[0];
    copy = g_memdup2(data + 1, size - 1);
    size--;
    if ((flags & FLAG_LOGIN) != 0 && (flags & FLAG_DIGESTS) != 0 && (flags & FLAG_PIECES) == 0 &&
        (flags & FLAG_DISCOVERY) == 0) {
        guint8 *right = add_digests(copy, size, &size);

        g_free(copy);
        copy = right;
    }

    rig = rig_new(&config);
    initiator = initiator_new(rig);
    g_assert_true(log_in(initiator, flags));
    if ((flags & FLAG_PIECES) != 0)
        feed_in_pieces(rig, initiator->fd, copy, size);
    else
        (void)feed(rig, initiator->fd, copy, size);
    rig_settle(rig);
    initiator_free(initiator);
    rig_free(rig);
    return 0;
}
