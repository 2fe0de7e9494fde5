/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "initiator.h"

/*
 * CHAP as initiators speak it, in both roles
 */

typedef struct {
    const char *algorithms; /* CHAP_A; NULL: "5" */
    const char *user;
    const char *secret;
    const char *mutual_user; /* who the target must be; NULL: it is not asked */
    const char *mutual_secret;
    gboolean is_base64; /* binary values go out so, instead of in hexadecimal */

    /* what it came to */
    guint algorithm;          /* the number that the target chose */
    gboolean is_target_right; /* with @mutual_user: it has proved itself */
} ChapPeer;

/**
 * chap_peer_login() - a login with CHAP, to the full feature phase
 * @names: the keys of the first request, separated by newlines
 * @keys: those of the operational stage, or NULL
 *
 * Returns: the status of the first response that refuses, 0, or G_MAXUINT16 when the connection was
 *     closed. A target that proves itself wrongly is noted in @peer, and the login goes on.
 */
guint16 chap_peer_login(Initiator *initiator, ChapPeer *peer, const char *names, const char *keys);

/* The first half of it: to the operational stage, which the next request may leave at once */
guint16 chap_peer_prove(Initiator *initiator, ChapPeer *peer, const char *names);

/* With the rig's target, and a discovery session */
guint16 chap_peer_login_normal(Initiator *initiator, ChapPeer *peer);
guint16 chap_peer_login_discovery(Initiator *initiator, ChapPeer *peer);

/* One Login Request of @flags (T, C, CSG, NSG) and its response; its status as above */
guint16 chap_peer_exchange(Initiator *initiator, guint8 flags, const char *text);

/* The value of @key in the last response, or NULL */
const char *chap_peer_answer(const Initiator *initiator, const char *key);
