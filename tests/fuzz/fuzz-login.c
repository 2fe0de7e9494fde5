/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * A login played by the input: headers of 48 bytes, each followed by as many
 * bytes of data as it says (no padding). The registry grants what it is asked.
 */

#include <string.h>

#include "iscsi/login.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

static LoginLookup
find_target(gpointer user_data, const char *initiator_name, const char *target_name,
            LoginTarget *ret_target)
{
    gsize length = strlen(target_name);

    g_assert_cmpstr(initiator_name, !=, "");
    g_assert_cmpuint(length, >, 0);
    iscsi_params_init_offer(&ret_target->params);
    ret_target->auth_methods = target_name[length - 1] == 'c' ? LOGIN_AUTH_CHAP : LOGIN_AUTH_NONE;
    if (target_name[length - 1] == 'r')
        g_strlcpy(ret_target->redirect, "192.0.2.1:3260", sizeof ret_target->redirect);
    return target_name[length - 1] == 'n' ? LOGIN_NOT_FOUND : LOGIN_FOUND;
}

static void
check(const Login *login, LoginAction action)
{
    if (action == LOGIN_CLAIM || action == LOGIN_CLOSE)
        return;

    g_assert_cmpuint(login->response_size, <=, PDU_LOGIN_DATA_MAX);
    g_assert_cmpuint(pdu_data_size(login->response), ==, login->response_size);
    g_assert_cmpint(pdu_opcode(login->response), ==, PDU_LOGIN_RESPONSE);
    g_assert_true((action == LOGIN_REFUSE) == (pdu_login_status(login->response) != 0));
    if (action == LOGIN_DONE)
        g_assert_cmpuint(login_params(login)->first_burst_length, <=,
                         login_params(login)->max_burst_length);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    LoginPolicy policy = {
        .find_target = find_target,
        .discovery_auth_methods = LOGIN_AUTH_NONE,
        .window = 8,
    };
    g_autofree Login *login = g_new(Login, 1);
    LoginAction action = LOGIN_SEND;

    iscsi_params_init_offer(&policy.discovery_params);
    login_init(login, &policy);
    while (size >= PDU_BHS_SIZE && action == LOGIN_SEND) {
        gsize n = MIN(pdu_data_size(data), size - PDU_BHS_SIZE);

        action = login_receive(login, data, data + PDU_BHS_SIZE, n);
        check(login, action);
        data += PDU_BHS_SIZE + n;
        size -= PDU_BHS_SIZE + n;
    }
    if (action == LOGIN_CLAIM)
        check(login, login_claimed(login, &(LoginClaim){ .tsih = 1 }));
    login_deinit(login);
    return 0;
}
