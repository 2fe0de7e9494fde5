/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "client.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/service-private.h"
#include "util/bytes.h"

#define BHS_SIZE           48
#define TIMEOUT_SECONDS    600
#define OP_SCSI_RESPONSE   0x21
#define OP_LOGIN_RESPONSE  0x23
#define OP_DATA_IN         0x25
#define OP_LOGOUT_RESPONSE 0x26
#define OP_ASYNC_MESSAGE   0x32
#define OP_NOP_IN          0x20
#define TAG_RESERVED       0xffffffffU

void
client_ask_for_patience(Service *service)
{
    LimitsSpec *limits = &service->model->settings->limits;
    const LimitsSpec saved = *limits;

    limits->login_timeout = limits->silence_timeout = limits->pdu_timeout = 600;
    limits_apply(service);
    *limits = saved;
}

Client *
client_new(guint16 port)
{
    const struct sockaddr_in address = { .sin_family = AF_INET,
                                         .sin_port = g_htons(port),
                                         .sin_addr.s_addr = g_htonl(INADDR_LOOPBACK) };
    const struct timeval timeout = { .tv_sec = TIMEOUT_SECONDS };
    Client *client = g_new0(Client, 1);

    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(client->fd, >=, 0);
    g_assert_cmpint(setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), ==,
                    0);
    g_assert_cmpint(connect(client->fd, (const struct sockaddr *)&address, sizeof(address)), ==, 0);
    return client;
}

void
client_free(Client *client)
{
    if (client == NULL)
        return;

    (void)close(client->fd);
    g_free(client);
}

static gboolean
send_all(Client *client, const guint8 *data, gsize size)
{
    while (size > 0) {
        gssize n = send(client->fd, data, size, MSG_NOSIGNAL);

        if (n <= 0)
            return FALSE;
        data += n;
        size -= (gsize)n;
    }
    return TRUE;
}

static gboolean
receive_all(Client *client, guint8 *data, gsize size)
{
    while (size > 0) {
        gssize n = recv(client->fd, data, size, 0);

        /* As it has a timeout, it ends so when the program was stopped and goes on */
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return FALSE;
        data += n;
        size -= (gsize)n;
    }
    return TRUE;
}

/* The service asks whether we are there when we have been silent for a while, as on a busy machine */
static void
answer_ping(Client *client, const guint8 *ping)
{
    guint8 bhs[BHS_SIZE] = { 0x40, 0x80 };

    if (get_be32(ping + 20) == TAG_RESERVED)
        return;
    memcpy(bhs + 8, ping + 8, 8);
    put_be32(bhs + 16, TAG_RESERVED);
    put_be32(bhs + 20, get_be32(ping + 20));
    put_be32(bhs + 24, client->cmd_sn);
    put_be32(bhs + 28, client->exp_stat_sn);
    (void)send_all(client, bhs, BHS_SIZE);
}

/* One PDU, also a ping; of its data segment only sense data is looked at */
static gboolean
receive_any(Client *client, guint8 *bhs)
{
    g_autofree guint8 *data = NULL;
    gsize size;

    if (!receive_all(client, bhs, BHS_SIZE))
        return FALSE;

    size = (gsize)round_up(get_be24(bhs + 5), 4) + 4U * bhs[4];
    data = g_malloc(size + 1);
    if (!receive_all(client, data, size))
        return FALSE;

    client->n_read = get_be24(bhs + 5);
    /* Fixed format, behind two bytes with its length */
    client->sense = 0;
    if (bhs[0] == OP_SCSI_RESPONSE && size >= 2 + 14 && get_be16(data) >= 14)
        client->sense = (guint32)(data[4] & 0x0f) << 16 | get_be16(data + 14);
    return TRUE;
}

static gboolean
receive_pdu(Client *client, guint8 *bhs)
{
    while (receive_any(client, bhs)) {
        if ((bhs[0] & 0x3f) != OP_NOP_IN)
            return TRUE;
        answer_ping(client, bhs);
    }
    return FALSE;
}

guint16
client_login(Client *client, const char *target)
{
    static const char keys[] = "InitiatorName=iqn.2026-11.org.lunport:client%cSessionType=%s%c"
                               "%s%s%cHeaderDigest=None%cDataDigest=None%c%s";
    guint8 bhs[BHS_SIZE] = { 0x43, 0x87 };
    g_autofree char *text = NULL;
    g_autofree guint8 *data = NULL;
    gsize size = 0;

    /* Values end in NUL, which printf cannot count */
    text = g_strdup_printf(
        keys, '\n', target != NULL ? "Normal" : "Discovery", '\n',
        target != NULL ? "TargetName=" : "InitiatorAlias=", target != NULL ? target : "-", '\n',
        '\n', '\n', client->tsih == 0 && target != NULL ? "MaxConnections=4\n" : "");
    size = strlen(text);
    data = g_malloc0(size + 4);
    for (gsize i = 0; i < size; i++)
        data[i] = text[i] == '\n' ? 0 : (guint8)text[i];

    put_be24(bhs + 5, (guint32)size);
    bhs[8] = 0x80; /* ISID: random */
    put_be16(bhs + 14, client->tsih);
    put_be16(bhs + 20, client->cid);
    put_be32(bhs + 16, ++client->itt);
    put_be32(bhs + 24, client->cmd_sn = 1);
    if (!send_all(client, bhs, BHS_SIZE) || !send_all(client, data, (gsize)round_up(size, 4)) ||
        !receive_pdu(client, bhs))
        return 0xffff;

    g_assert_cmphex(bhs[0] & 0x3f, ==, OP_LOGIN_RESPONSE);
    client->exp_stat_sn = get_be32(bhs + 24) + 1;
    if (get_be16(bhs + 36) == 0)
        client->tsih = get_be16(bhs + 14);
    return get_be16(bhs + 36);
}

/* @size: bytes to receive */
static void
fill_command(Client *client, guint16 lun, const guint8 *cdb, gsize cdb_size, guint32 size,
             guint8 *bhs)
{
    put_be16(bhs + 8, lun);
    put_be32(bhs + 16, ++client->itt);
    put_be32(bhs + 20, size);
    put_be32(bhs + 24, client->cmd_sn++);
    put_be32(bhs + 28, client->exp_stat_sn);
    memcpy(bhs + 32, cdb, cdb_size);
}

static int
receive_status(Client *client)
{
    guint8 bhs[BHS_SIZE];

    while (receive_pdu(client, bhs)) {
        gboolean has_status =
            bhs[0] == OP_SCSI_RESPONSE || (bhs[0] == OP_DATA_IN && (bhs[1] & 1) != 0);

        if (!has_status)
            continue;
        client->exp_stat_sn = get_be32(bhs + 24) + 1;
        return bhs[3];
    }
    return -1;
}

static int
run_command(Client *client, guint16 lun, const guint8 *cdb, gsize cdb_size, guint32 size)
{
    guint8 bhs[BHS_SIZE] = { 0x01, size > 0 ? 0xc1 : 0x81 };

    fill_command(client, lun, cdb, cdb_size, size, bhs);
    return send_all(client, bhs, BHS_SIZE) ? receive_status(client) : -1;
}

static int
run_list_command(Client *client, guint16 lun, const guint8 *cdb, gsize cdb_size, const guint8 *list,
                 guint32 size)
{
    guint8 bhs[BHS_SIZE] = { 0x01, 0xa1 };

    fill_command(client, lun, cdb, cdb_size, size, bhs);
    put_be24(bhs + 5, size);
    return send_all(client, bhs, BHS_SIZE) && send_all(client, list, size) ? receive_status(client)
                                                                           : -1;
}

int
client_set_target_port_group(Client *client, guint16 lun, guint16 tag, guint8 state)
{
    static const guint8 cdb[12] = { 0xa4, 0x0a, [9] = 8 };
    guint8 list[8] = { [4] = state };

    put_be16(list + 6, tag);
    return run_list_command(client, lun, cdb, sizeof(cdb), list, sizeof(list));
}

int
client_reserve_out(Client *client, guint16 lun, guint8 action, guint8 type, guint64 key,
                   guint64 action_key, guint8 flags)
{
    const guint8 cdb[10] = { 0x5f, action, type, 0, 0, 0, 0, 0, 24, 0 };
    guint8 list[24] = { 0 };

    put_be64(list, key);
    put_be64(list + 8, action_key);
    list[20] = flags;
    return run_list_command(client, lun, cdb, sizeof(cdb), list, sizeof(list));
}

int
client_test_unit_ready(Client *client, guint16 lun)
{
    static const guint8 cdb[6] = { 0 };

    return run_command(client, lun, cdb, sizeof(cdb), 0);
}

int
client_prevent_removal(Client *client, guint16 lun, gboolean prevent)
{
    const guint8 cdb[6] = { 0x1e, 0, 0, 0, prevent ? 1 : 0 };

    return run_command(client, lun, cdb, sizeof(cdb), 0);
}

int
client_move_medium(Client *client, guint16 lun, gboolean load)
{
    const guint8 cdb[6] = { 0x1b, 0, 0, 0, load ? 3 : 2 };

    return run_command(client, lun, cdb, sizeof(cdb), 0);
}

int
client_read_block(Client *client, guint16 lun, guint32 lba)
{
    guint8 cdb[10] = { 0x28 };

    put_be32(cdb + 2, lba);
    put_be16(cdb + 7, 1);
    return run_command(client, lun, cdb, sizeof(cdb), 512);
}

int
client_save_protection(Client *client, guint16 lun, gboolean protect)
{
    static const guint8 cdb[6] = { 0x15, 0x11, [4] = 16 };
    guint8 list[16] = { [4] = 0x0a, 0x0a, 0x20, 0x10 };

    list[8] = protect ? 0x08 : 0;
    return run_list_command(client, lun, cdb, sizeof(cdb), list, sizeof(list));
}

int
client_set_identifier(Client *client, guint16 lun, const char *identifier, guint8 size)
{
    const guint8 cdb[12] = { 0xa4, 0x06, [9] = size };

    return run_list_command(client, lun, cdb, sizeof(cdb), (const guint8 *)identifier, size);
}

/* Data and status come in one PDU */
int
client_get_identifier_length(Client *client, guint16 lun)
{
    static const guint8 cdb[12] = { 0xa3, 0x05, [9] = 128 };

    return run_command(client, lun, cdb, sizeof(cdb), 128) == 0 ? (int)client->n_read - 4 : -1;
}

int
client_write_nothing(Client *client, guint16 lun)
{
    static const guint8 cdb[10] = { 0x2a };

    return run_command(client, lun, cdb, sizeof(cdb), 0);
}

int
client_settle(Client *client, guint16 lun)
{
    int status = -1;

    for (guint i = 0; i < 8; i++) {
        status = client_test_unit_ready(client, lun);
        if (status <= 0)
            break;
    }
    return status;
}

int
client_wait_event(Client *client)
{
    guint8 bhs[BHS_SIZE];

    if (!receive_pdu(client, bhs))
        return -1;

    g_assert_cmphex(bhs[0] & 0x3f, ==, OP_ASYNC_MESSAGE);
    client->exp_stat_sn = get_be32(bhs + 24) + 1;
    return bhs[36];
}

gboolean
client_log_out(Client *client)
{
    guint8 bhs[BHS_SIZE] = { 0x46, 0x80 };

    put_be32(bhs + 16, ++client->itt);
    put_be32(bhs + 24, client->cmd_sn);
    put_be32(bhs + 28, client->exp_stat_sn);
    return send_all(client, bhs, BHS_SIZE) && receive_pdu(client, bhs) &&
           (bhs[0] & 0x3f) == OP_LOGOUT_RESPONSE && bhs[2] == 0;
}

gboolean
client_wait_closed(Client *client)
{
    guint8 byte;

    for (;;) {
        gssize n = recv(client->fd, &byte, 1, 0);

        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return TRUE;
        if (n < 0 && errno != EINTR)
            return FALSE;
    }
}

int
client_flush(Client *client, guint16 lun)
{
    static const guint8 cdb[10] = { 0x35 };

    return run_command(client, lun, cdb, sizeof(cdb), 0);
}
