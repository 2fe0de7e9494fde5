/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Text Requests of the full feature phase: headers of 48 bytes, each followed
 * by as many bytes of data as it says. The first byte is the session type.
 */

#include <string.h>

#include "iscsi/discovery.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

static const char *const names[] = { "iqn.2026-11.org.example:a", "iqn.2026-11.org.example:b" };

static gboolean
find(gpointer user_data, const char *name, DiscoveryTarget *ret_target)
{
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(names[i], name) == 0) {
            *ret_target = (DiscoveryTarget){ names[i], user_data, 1 };
            return TRUE;
        }
    }

    return FALSE;
}

static gboolean
next(gpointer user_data, const char *after, DiscoveryTarget *ret_target)
{
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(names[i], after) > 0) {
            *ret_target = (DiscoveryTarget){ names[i], user_data, 1 };
            return TRUE;
        }
    }

    return FALSE;
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    IscsiAnnounce announce = { .tag = 1 };
    IscsiParams offer, params;
    DiscoveryConfig config = {
        .type = size > 0 && (data[0] & 1) != 0 ? ISCSI_SESSION_NORMAL : ISCSI_SESSION_DISCOVERY,
        .target_name = names[0],
        .find = find,
        .next = next,
        .user_data = &announce,
        .offer = &offer,
        .params = &params,
    };
    g_autofree Discovery *discovery = g_new(Discovery, 1);

    g_assert_true(address_parse("192.0.2.1", ISCSI_PORT, &announce.address, NULL));
    config.local = announce.address;
    iscsi_params_init_offer(&offer);
    iscsi_params_init_rfc(&params);
    discovery_init(discovery, &config);

    for (gsize i = 1; i + PDU_BHS_SIZE <= size;) {
        gsize n = MIN(pdu_data_size(data + i), size - i - PDU_BHS_SIZE);

        if (discovery_receive(discovery, data + i, data + i + PDU_BHS_SIZE, n) != DISCOVERY_REJECT)
            g_assert_cmpuint(discovery->response_size, <=, DISCOVERY_ANSWER_MAX);
        i += PDU_BHS_SIZE + n;
    }
    return 0;
}
