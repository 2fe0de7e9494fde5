/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "util/bytes.h"
#include "util/crc32c.h"

/*
 * PDU layouts are those of RFC 7143 section 11; only what a load needs.
 */

#define BHS            48
#define RX_SIZE        ((gsize)256 << 10)
#define OP_NOP_OUT     0x00
#define OP_COMMAND     0x01
#define OP_LOGIN       0x03
#define OP_DATA_OUT    0x05
#define OP_NOP_IN      0x20
#define OP_RESPONSE    0x21
#define OP_LOGIN_REPLY 0x23
#define OP_DATA_IN     0x25
#define OP_R2T         0x31
#define NO_TAG         0xffffffffU

typedef struct {
    guint64 started; /* ns */
    gboolean write;
} Slot;

typedef struct {
    int fd;
    guint index;
    guint32 cmd_sn;
    guint32 max_cmd_sn;
    guint32 exp_stat_sn;
    guint32 max_send; /* the target's MaxRecvDataSegmentLength */
    guint32 first_burst;
    gboolean immediate;
    gboolean header_digest;
    gboolean data_digest;
    guint64 next_lba;

    Slot *slots;
    guint32 *free_slots;
    guint n_free;

    guint8 *tx; /* what this turn produced */
    gsize tx_size, tx_used, tx_sent;
    gboolean wants_out;

    guint8 head[BHS + 4]; /* a header that came in pieces */
    guint head_used;
    gsize skip;         /* bytes of data, padding and digest still to come */
    gboolean skip_ends; /* the PDU being skipped ends a command */
    guint32 skip_tag;
} Peer;

typedef struct {
    const LoadConfig *config;
    LoadResult *result;
    Peer *peers;
    int epoll_fd;
    guint8 *rx;
    guint8 *pattern;
    guint64 n_blocks; /* of @block bytes on the disk */
    guint32 logical_block;
    guint64 random;
    gboolean measuring;
    gboolean failed;
} Load;

static guint64
now_ns(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (guint64)time.tv_sec * 1000000000U + (guint64)time.tv_nsec;
}

static guint64
next_random(Load *load)
{
    load->random ^= load->random << 13;
    load->random ^= load->random >> 7;
    load->random ^= load->random << 17;
    return load->random;
}

static gboolean
complain(const char *what)
{
    (void)fprintf(stderr, "bench: %s\n", what);
    return FALSE;
}

/*
 * Login and what comes before the load: simple blocking calls
 */

static gboolean
read_all(int fd, void *buffer, gsize size)
{
    guint8 *p = buffer;

    while (size > 0) {
        gssize n = recv(fd, p, size, 0);

        if (n <= 0)
            return FALSE;
        p += n;
        size -= (gsize)n;
    }
    return TRUE;
}

static gboolean
write_all(int fd, const void *buffer, gsize size)
{
    const guint8 *p = buffer;

    while (size > 0) {
        gssize n = send(fd, p, size, MSG_NOSIGNAL);

        if (n <= 0)
            return FALSE;
        p += n;
        size -= (gsize)n;
    }
    return TRUE;
}

static guint32
digest_of(const guint8 *data, gsize size)
{
    return GUINT32_TO_LE(crc32c_final(crc32c_update(CRC32C_INIT, data, size)));
}

/* One PDU: header, and data into @data (at most @size bytes); returns the data's length or -1 */
static gssize
read_pdu(const Peer *peer, guint8 *bhs, guint8 *data, gsize size)
{
    guint8 trash[8];
    gsize length, padding;

    if (!read_all(peer->fd, bhs, BHS) || bhs[4] != 0)
        return -1;
    if (peer->header_digest && !read_all(peer->fd, trash, 4))
        return -1;
    length = get_be24(bhs + 5);
    padding = (4 - length % 4) % 4;
    if (length > size || !read_all(peer->fd, data, length) ||
        !read_all(peer->fd, trash, padding + (peer->data_digest && length > 0 ? 4 : 0)))
        return -1;
    return (gssize)length;
}

static const char *
find_key(const char *text, gsize size, const char *key)
{
    gsize length = strlen(key);

    for (const char *p = text; p < text + size; p += strlen(p) + 1) {
        if (strncmp(p, key, length) == 0 && p[length] == '=')
            return p + length + 1;
    }
    return NULL;
}

static void
add_key(char *text, gsize *size, const char *pair)
{
    gsize length = strlen(pair) + 1;

    memcpy(text + *size, pair, length);
    *size += length;
}

static gsize
login_text(const LoadConfig *config, guint index, char *text)
{
    gsize size = 0;
    g_autofree char *initiator =
        g_strdup_printf("InitiatorName=iqn.2026-11.org.lunport:bench.%u", index);
    g_autofree char *target = g_strdup_printf("TargetName=%s", config->target);

    add_key(text, &size, initiator);
    add_key(text, &size, target);
    add_key(text, &size, "SessionType=Normal");
    add_key(text, &size, config->header_digest ? "HeaderDigest=CRC32C" : "HeaderDigest=None");
    add_key(text, &size, config->data_digest ? "DataDigest=CRC32C" : "DataDigest=None");
    add_key(text, &size, "MaxRecvDataSegmentLength=1048576");
    add_key(text, &size, "InitialR2T=No");
    add_key(text, &size, "ImmediateData=Yes");
    add_key(text, &size, "MaxBurstLength=1048576");
    add_key(text, &size, "FirstBurstLength=262144");
    add_key(text, &size, "MaxOutstandingR2T=16");
    add_key(text, &size, "ErrorRecoveryLevel=0");
    add_key(text, &size, "MaxConnections=1");
    add_key(text, &size, "DefaultTime2Wait=2");
    add_key(text, &size, "DefaultTime2Retain=0");
    return size;
}

static void
take_results(Peer *peer, const LoadConfig *config, const char *text, gsize size)
{
    const char *value;

    value = find_key(text, size, "MaxRecvDataSegmentLength");
    if (value != NULL)
        peer->max_send = (guint32)g_ascii_strtoull(value, NULL, 10);
    value = find_key(text, size, "FirstBurstLength");
    if (value != NULL)
        peer->first_burst = (guint32)g_ascii_strtoull(value, NULL, 10);
    value = find_key(text, size, "ImmediateData");
    if (value != NULL)
        peer->immediate = strcmp(value, "Yes") == 0;
    value = find_key(text, size, "HeaderDigest");
    peer->header_digest = config->header_digest && value != NULL && strcmp(value, "CRC32C") == 0;
    value = find_key(text, size, "DataDigest");
    peer->data_digest = config->data_digest && value != NULL && strcmp(value, "CRC32C") == 0;
}

static gboolean
login(Peer *peer, const LoadConfig *config)
{
    guint8 bhs[BHS] = { OP_LOGIN | 0x40, 0x87 }; /* operational to full feature */
    char text[2048] = { 0 };
    guint8 reply[8192 + 1] = { 0 };
    gsize size = login_text(config, peer->index, text);
    Peer plain = { .fd = peer->fd };

    bhs[8] = 0x80; /* ISID: random format */
    put_be32(bhs + 8, 0x80000000U | (guint32)getpid());
    put_be16(bhs + 12, (guint16)peer->index);
    peer->cmd_sn = 1;
    peer->max_send = 8192;
    peer->first_burst = 65536;
    put_be32(bhs + 24, peer->cmd_sn);

    for (guint turn = 0; turn < 8; turn++) {
        guint8 answer[BHS];
        gssize n;

        put_be24(bhs + 5, (guint32)size);
        if (!write_all(peer->fd, bhs, BHS) || !write_all(peer->fd, text, (size + 3) & ~(gsize)3))
            return complain("the connection was closed during login");
        n = read_pdu(&plain, answer, reply, sizeof(reply) - 1);
        if (n < 0 || (answer[0] & 0x3f) != OP_LOGIN_REPLY)
            return complain("no login response");
        if (answer[36] != 0) {
            (void)fprintf(stderr, "bench: login refused, status %02x%02x\n", answer[36],
                          answer[37]);
            return FALSE;
        }
        reply[n] = 0;
        take_results(peer, config, (const char *)reply, (gsize)n);
        peer->exp_stat_sn = get_be32(answer + 24) + 1;
        peer->max_cmd_sn = get_be32(answer + 32);
        if ((answer[1] & 0x83) == 0x83)
            return (peer->header_digest == config->header_digest &&
                    peer->data_digest == config->data_digest) ||
                   complain("the target does not want the digests");
        put_be32(bhs + 28, peer->exp_stat_sn);
        size = 0;
    }
    return complain("login does not end");
}

/* A command before the load; returns the status, data into @data */
static int
simple_command(Peer *peer, guint lun, const guint8 cdb[16], guint8 *data, guint32 size)
{
    guint8 out[BHS + 4] = { OP_COMMAND, (guint8)(0x80 | (size > 0 ? 0x40 : 0)) };
    guint8 bhs[BHS];

    put_be16(out + 8, (guint16)lun);
    put_be32(out + 16, 0x1000);
    put_be32(out + 20, size);
    put_be32(out + 24, peer->cmd_sn++);
    put_be32(out + 28, peer->exp_stat_sn);
    memcpy(out + 32, cdb, 16);
    if (peer->header_digest) {
        guint32 digest = digest_of(out, BHS);

        memcpy(out + BHS, &digest, 4);
    }
    if (!write_all(peer->fd, out, BHS + (peer->header_digest ? 4 : 0)))
        return -1;

    for (guint n_pdus = 0; n_pdus < 16; n_pdus++) {
        guint8 reply[1024];

        if (read_pdu(peer, bhs, reply, sizeof(reply)) < 0)
            return -1;
        if ((bhs[0] & 0x3f) == OP_DATA_IN)
            memcpy(data, reply, MIN(size, sizeof(reply)));
        if ((bhs[0] & 0x3f) == OP_RESPONSE ||
            ((bhs[0] & 0x3f) == OP_DATA_IN && (bhs[1] & 1) != 0)) {
            peer->exp_stat_sn = get_be32(bhs + 24) + 1;
            peer->max_cmd_sn = get_be32(bhs + 32);
            return bhs[3];
        }
    }
    return -1;
}

static gboolean
learn_disk(Load *load, Peer *peer)
{
    static const guint8 test_unit_ready[16] = { 0x00 };
    static const guint8 read_capacity[16] = { [0] = 0x9e, [1] = 0x10, [13] = 32 };
    guint8 data[32] = { 0 };

    for (guint i = 0;
         i < 8 && simple_command(peer, load->config->lun, test_unit_ready, NULL, 0) != 0; i++)
        continue;
    if (simple_command(peer, load->config->lun, read_capacity, data, sizeof(data)) != 0)
        return complain("READ CAPACITY(16) failed");

    load->logical_block = get_be32(data + 8);
    if (load->logical_block == 0 || load->config->block % load->logical_block != 0)
        return complain("the block size is no multiple of the disk's");
    load->n_blocks = (get_be64(data) + 1) * load->logical_block / load->config->block;
    if (load->n_blocks == 0)
        return complain("the disk is too small");
    return TRUE;
}

static gboolean
connect_peer(Load *load, Peer *peer)
{
    const LoadConfig *config = load->config;
    int on = 1;

    peer->fd = socket(config->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (peer->fd < 0 ||
        connect(peer->fd, (const struct sockaddr *)&config->address, config->address_size) != 0)
        return complain(g_strerror(errno));
    (void)setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (config->target == NULL) {
        load->n_blocks = 1;
        load->logical_block = 512;
        return TRUE;
    }
    return login(peer, config) && learn_disk(load, peer);
}

/*
 * The load
 */

static void
put(Peer *peer, const void *data, gsize size)
{
    g_assert(peer->tx_used + size <= peer->tx_size);
    memcpy(peer->tx + peer->tx_used, data, size);
    peer->tx_used += size;
}

static void
put_header(Peer *peer, const guint8 *bhs)
{
    put(peer, bhs, BHS);
    if (peer->header_digest) {
        guint32 digest = digest_of(bhs, BHS);

        put(peer, &digest, 4);
    }
}

static void
put_data(Load *load, Peer *peer, gsize size)
{
    put(peer, load->pattern, size); /* sizes are multiples of four: no padding */
    if (peer->data_digest && size > 0) {
        guint32 digest = digest_of(load->pattern, size);

        put(peer, &digest, 4);
    }
}

static void
start_command(Load *load, Peer *peer)
{
    const LoadConfig *config = load->config;
    guint32 index = peer->free_slots[--peer->n_free];
    Slot *slot = &peer->slots[index];
    gboolean write = config->read_percent < 100 && next_random(load) % 100 >= config->read_percent;
    guint64 block =
        config->sequential ? peer->next_lba++ % load->n_blocks : next_random(load) % load->n_blocks;
    guint32 n_logical = config->block / load->logical_block;
    guint32 now_data =
        write && peer->immediate ? MIN(MIN(config->block, peer->max_send), peer->first_burst) : 0;
    guint8 bhs[BHS] = { OP_COMMAND, (guint8)(write ? 0xa1 : 0xc1) };

    if (write && now_data < config->block && now_data < peer->first_burst && peer->immediate)
        bhs[1] |= 0x80; /* no unsolicited Data-Out: the rest is asked for */
    put_be24(bhs + 5, now_data);
    put_be16(bhs + 8, (guint16)config->lun);
    put_be32(bhs + 16, index);
    put_be32(bhs + 20, config->block);
    put_be32(bhs + 24, peer->cmd_sn++);
    put_be32(bhs + 28, peer->exp_stat_sn);
    bhs[32] = write ? 0x8a : 0x88;
    put_be64(bhs + 34, block * n_logical);
    put_be32(bhs + 42, n_logical);
    put_header(peer, bhs);
    put_data(load, peer, now_data);
    slot->write = write;
    slot->started = now_ns();
}

static void
start_echo(Peer *peer)
{
    guint32 index = peer->free_slots[--peer->n_free];
    guint8 bhs[BHS] = { OP_COMMAND };

    put_be32(bhs + 16, index);
    put(peer, bhs, BHS);
    peer->slots[index].started = now_ns();
}

static void
fill(Load *load, Peer *peer)
{
    gsize room = (gsize)load->config->block + 2 * BHS;

    while (peer->n_free > 0 && peer->tx_size - peer->tx_used >= room) {
        if (load->config->target == NULL)
            start_echo(peer);
        else if ((gint32)(peer->max_cmd_sn - peer->cmd_sn) >= 0)
            start_command(load, peer);
        else
            return;
    }
}

static void
answer_r2t(Load *load, Peer *peer, const guint8 *r2t)
{
    guint32 offset = get_be32(r2t + 40);
    guint32 length = get_be32(r2t + 44);
    guint32 data_sn = 0;

    while (length > 0) {
        guint32 size = MIN(length, peer->max_send);
        guint8 bhs[BHS] = { OP_DATA_OUT, (guint8)(size == length ? 0x80 : 0) };

        put_be24(bhs + 5, size);
        memcpy(bhs + 8, r2t + 8, 8);
        memcpy(bhs + 16, r2t + 16, 4);
        memcpy(bhs + 20, r2t + 20, 4);
        put_be32(bhs + 28, peer->exp_stat_sn);
        put_be32(bhs + 36, data_sn++);
        put_be32(bhs + 40, offset);
        put_header(peer, bhs);
        put_data(load, peer, size);
        offset += size;
        length -= size;
    }
}

static void
answer_nop(Peer *peer, const guint8 *nop)
{
    guint8 bhs[BHS] = { OP_NOP_OUT | 0x40, 0x80 };

    if (get_be32(nop + 20) == NO_TAG)
        return;
    memcpy(bhs + 8, nop + 8, 8);
    put_be32(bhs + 16, NO_TAG);
    memcpy(bhs + 20, nop + 20, 4);
    put_be32(bhs + 24, peer->cmd_sn);
    put_be32(bhs + 28, peer->exp_stat_sn);
    put_header(peer, bhs);
}

static void
end_command(Load *load, Peer *peer, guint32 tag)
{
    LoadResult *result = load->result;

    if (tag >= load->config->depth) {
        load->failed = TRUE;
        (void)complain("an answer to a command that was not sent");
        return;
    }
    if (load->measuring) {
        result->n_operations++;
        result->n_bytes += load->config->block;
        histogram_add(&result->latency, now_ns() - peer->slots[tag].started);
    }
    peer->free_slots[peer->n_free++] = tag;
}

/* A whole header: what it means, and how many bytes of data follow */
static void
take_header(Load *load, Peer *peer, const guint8 *bhs)
{
    gsize length = get_be24(bhs + 5);
    guint8 opcode = bhs[0] & 0x3f;

    peer->skip = load->config->target == NULL ? load->config->block : (length + 3) & ~(gsize)3;
    if (peer->data_digest && length > 0)
        peer->skip += 4;
    peer->skip_ends = FALSE;
    peer->skip_tag = get_be32(bhs + 16);

    if (load->config->target == NULL) {
        peer->skip_ends = TRUE;
        return;
    }

    peer->max_cmd_sn = get_be32(bhs + 32);
    switch (opcode) {
    case OP_RESPONSE:
    case OP_DATA_IN:
        peer->skip_ends = opcode == OP_RESPONSE || (bhs[1] & 0x01) != 0;
        if (peer->skip_ends) {
            peer->exp_stat_sn = get_be32(bhs + 24) + 1;
            load->result->n_errors += bhs[3] != 0 || (opcode == OP_RESPONSE && bhs[2] != 0);
        }
        break;
    case OP_R2T:
        answer_r2t(load, peer, bhs);
        break;
    case OP_NOP_IN:
        answer_nop(peer, bhs);
        break;
    default:
        (void)fprintf(stderr, "bench: unexpected PDU %02x\n", opcode);
        load->failed = TRUE;
    }
}

static void
parse(Load *load, Peer *peer, const guint8 *p, gsize size)
{
    gsize head = BHS + (peer->header_digest ? 4U : 0U);

    while (!load->failed) {
        if (peer->skip > 0) {
            gsize n = MIN(peer->skip, size);

            peer->skip -= n;
            p += n;
            size -= n;
            if (peer->skip > 0)
                return;
        }
        if (peer->skip_ends) {
            peer->skip_ends = FALSE;
            end_command(load, peer, peer->skip_tag);
        }
        if (peer->head_used == 0 && size >= head) {
            take_header(load, peer, p);
            p += head;
            size -= head;
        } else {
            gsize n = MIN(head - peer->head_used, size);

            if (n == 0)
                return;
            memcpy(peer->head + peer->head_used, p, n);
            peer->head_used += (guint)n;
            p += n;
            size -= n;
            if (peer->head_used < head)
                return;
            peer->head_used = 0;
            take_header(load, peer, peer->head);
        }
    }
}

static void
flush(Load *load, Peer *peer)
{
    gboolean wanted = peer->wants_out;

    while (peer->tx_sent < peer->tx_used) {
        gssize n = send(peer->fd, peer->tx + peer->tx_sent, peer->tx_used - peer->tx_sent,
                        MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            load->failed = TRUE;
            (void)complain(g_strerror(errno));
            return;
        }
        peer->tx_sent += (gsize)n;
    }
    if (peer->tx_sent == peer->tx_used)
        peer->tx_sent = peer->tx_used = 0;
    peer->wants_out = peer->tx_used > 0;
    if (wanted != peer->wants_out) {
        struct epoll_event event = { .events = EPOLLIN | (peer->wants_out ? EPOLLOUT : 0),
                                     .data.ptr = peer };

        (void)epoll_ctl(load->epoll_fd, EPOLL_CTL_MOD, peer->fd, &event);
    }
}

static void
serve(Load *load, Peer *peer, guint32 events)
{
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        gssize n = recv(peer->fd, load->rx, RX_SIZE, MSG_DONTWAIT);

        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            load->failed = TRUE;
            (void)complain("the target closed the connection");
            return;
        }
        if (n > 0)
            parse(load, peer, load->rx, (gsize)n);
    }
    fill(load, peer);
    flush(load, peer);
}

static void
run_until(Load *load, guint64 deadline)
{
    struct epoll_event events[64];

    while (!load->failed && now_ns() < deadline) {
        int n = epoll_wait(load->epoll_fd, events, G_N_ELEMENTS(events), 100);

        for (int i = 0; i < n; i++)
            serve(load, events[i].data.ptr, events[i].events);
    }
}

static void
prepare_peer(Load *load, Peer *peer)
{
    const LoadConfig *config = load->config;
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = peer };

    peer->slots = g_new0(Slot, config->depth);
    peer->free_slots = g_new(guint32, config->depth);
    for (guint i = 0; i < config->depth; i++)
        peer->free_slots[peer->n_free++] = i;
    peer->tx_size = ((gsize)config->block + 4 * BHS) * config->depth * 2 + RX_SIZE;
    peer->tx = g_malloc(peer->tx_size);
    peer->next_lba = load->n_blocks / config->n_sessions * peer->index;
    (void)epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, peer->fd, &event);
}

static void
load_free(Load *load)
{
    guint n_peers = load->config->n_sessions + load->config->n_idle;

    for (guint i = 0; i < n_peers; i++) {
        if (load->peers[i].fd >= 0)
            (void)close(load->peers[i].fd);
        g_free(load->peers[i].slots);
        g_free(load->peers[i].free_slots);
        g_free(load->peers[i].tx);
    }
    g_free(load->peers);
    g_free(load->rx);
    g_free(load->pattern);
    (void)close(load->epoll_fd);
}

static void
measure(Load *load, LoadMarkFn mark, gpointer user_data)
{
    const LoadConfig *config = load->config;
    guint64 begin;

    for (guint i = 0; i < config->n_sessions; i++)
        serve(load, &load->peers[i], 0);
    run_until(load, now_ns() + (guint64)(config->warmup * 1e9));

    load->measuring = TRUE;
    mark(FALSE, user_data);
    begin = now_ns();
    run_until(load, begin + (guint64)(config->seconds * 1e9));
    load->result->seconds = (double)(now_ns() - begin) / 1e9;
    mark(TRUE, user_data);
}

gboolean
load_run(const LoadConfig *config, LoadMarkFn mark, gpointer user_data, LoadResult *ret_result)
{
    Load load = { .config = config, .result = ret_result, .random = 0x9e3779b97f4a7c15U };
    guint n_peers = config->n_sessions + config->n_idle;
    gboolean ok = TRUE;

    memset(ret_result, 0, sizeof(*ret_result));
    load.peers = g_new0(Peer, n_peers);
    load.rx = g_malloc(RX_SIZE);
    load.pattern = g_malloc(MAX(config->block, 1U << 20));
    memset(load.pattern, 0x5a, MAX(config->block, 1U << 20));
    load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (guint i = 0; i < n_peers; i++)
        load.peers[i].fd = -1;

    for (guint i = 0; i < n_peers && ok; i++) {
        load.peers[i].index = i;
        ok = connect_peer(&load, &load.peers[i]);
        if (ok && i < config->n_sessions)
            prepare_peer(&load, &load.peers[i]);
    }
    if (ok)
        measure(&load, mark, user_data);

    ok = ok && !load.failed;
    load_free(&load);
    return ok;
}
