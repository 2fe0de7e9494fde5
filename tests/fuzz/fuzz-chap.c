/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The security stage with CHAP. The names are given; the input is the text of
 * the requests that follow, each ended by a byte 0xff, with a newline in the
 * place of NUL. Challenge and accounts are known, so that a seed can hold a
 * right response and the input gets to what comes after it.
 */

#include <string.h>

#include "iscsi/login.h"

#define SECRET    "open sesame 1994"
#define SECURITY  0x00
#define TRANSIT   0x81
#define SEPARATOR 0xff
#define FIRST_TEXT                                                                                 \
    "InitiatorName=iqn.2026-11.org.example:host\0SessionType=Discovery\0AuthMethod=CHAP"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

static gboolean
known_random(guint8 *buffer, gsize size)
{
    for (gsize i = 0; i < size; i++)
        buffer[i] = (guint8)i;
    return TRUE;
}

static LoginLookup
find_target(gpointer user_data, const char *initiator_name, const char *target_name,
            LoginTarget *ret_target)
{
    return LOGIN_NOT_FOUND;
}

static Credentials *
find_credentials(gpointer user_data, const char *initiator_name, const char *target_name)
{
    g_assert_cmpstr(target_name, ==, "");
    return user_data;
}

static LoginAction
request(Login *login, guint8 flags, const guint8 *text, gsize size)
{
    guint8 bhs[PDU_BHS_SIZE] = { PDU_LOGIN_REQUEST | PDU_IMMEDIATE, flags };

    pdu_set_data_size(bhs, size);
    return login_receive(login, bhs, text, size);
}

static void
check(const Login *login, LoginAction action)
{
    g_assert_true(login->is_authenticated == (login->chap_user[0] != '\0'));
    if (login->is_authenticated)
        g_assert_true(strcmp(login->chap_user, "anne") == 0 ||
                      strcmp(login->chap_user, "bob") == 0);
    if (action != LOGIN_REFUSE)
        return;

    g_assert_cmpuint(login->response_size, ==, 0);
    g_assert_true(g_utf8_validate(login->reason, -1, NULL));
    for (const char *p = login->reason; *p != '\0'; p++)
        g_assert_cmphex((guchar)*p, >=, 0x20);
}

static void
play(Login *login, const guint8 *data, gsize size)
{
    g_autofree guint8 *copy = g_memdup2(data, size);
    LoginAction action = request(login, SECURITY, (const guint8 *)FIRST_TEXT, sizeof(FIRST_TEXT));
    guint8 *text = copy;

    g_assert_cmpint(action, ==, LOGIN_SEND);
    for (gsize i = 0; i < size; i++) {
        if (copy[i] == '\n')
            copy[i] = '\0';
    }
    while (size > 0 && action == LOGIN_SEND && login->stage == LOGIN_STAGE_SECURITY) {
        const guint8 *end = memchr(text, SEPARATOR, size);
        gsize n = end != NULL ? (gsize)(end - text) : size;

        action = request(login, TRANSIT, text, MIN(n, PDU_LOGIN_DATA_MAX));
        check(login, action);
        n += end != NULL;
        text += n;
        size -= n;
    }
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    static const CredentialsAccount accounts[] = {
        { "anne", SECRET, "disk", "the disk's own secret" },
        { "bob", "open sesame 2026", NULL, NULL },
    };
    g_autoptr(ChapDigests) digests = chap_digests_new();
    g_autoptr(Credentials) credentials = credentials_new(accounts, G_N_ELEMENTS(accounts), NULL);
    LoginPolicy policy = {
        .find_target = find_target,
        .find_credentials = find_credentials,
        .user_data = credentials,
        .digests = digests,
        .chap_algorithms = CHAP_ALL,
        .random = known_random,
        .discovery_auth_methods = LOGIN_AUTH_CHAP,
        .window = 8,
    };
    g_autofree Login *login = g_new(Login, 1);

    iscsi_params_init_offer(&policy.discovery_params);
    login_init(login, &policy);
    play(login, data, size);
    /* The journal is told no secret, unless the initiator tells it as its name */
    if (memmem(data, size, SECRET, strlen(SECRET)) == NULL)
        g_assert_null(strstr(login->reason, SECRET));
    login_deinit(login);
    return 0;
}
