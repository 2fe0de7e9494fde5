/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * CHAP as initiators speak it, written from RFC 7143 and RFC 1994 and not from
 * the target. Base64 is GLib's.
 */

#include "chap-peer.h"

#include <string.h>

#include <openssl/evp.h>

#define SECURITY   0x00
#define TRANSIT    0x81 /* from the security to the operational stage */
#define DIGEST_MAX EVP_MAX_MD_SIZE

/* Our challenge; a real initiator takes another one each time */
static const guint8 our_challenge[24] = "a challenge of the peer";
#define OUR_IDENTIFIER 200u

static gsize
digest(guint algorithm, guint8 identifier, const char *secret, const guint8 *challenge,
       gsize challenge_size, guint8 *ret_digest)
{
    static const char *const names[] = { "MD5", "SHA1", "SHA256", "SHA3-256" };
    g_autoptr(GByteArray) text = g_byte_array_new();
    guint size = 0;

    g_assert_cmpuint(algorithm, >=, 5);
    g_assert_cmpuint(algorithm, <=, 8);
    g_byte_array_append(text, &identifier, 1);
    g_byte_array_append(text, (const guint8 *)secret, (guint)strlen(secret));
    g_byte_array_append(text, challenge, (guint)challenge_size);
    g_assert_cmpint(EVP_Digest(text->data, text->len, ret_digest, &size,
                               EVP_get_digestbyname(names[algorithm - 5]), NULL),
                    ==, 1);
    return size;
}

static char *
encode(const ChapPeer *peer, const guint8 *data, gsize size)
{
    g_autoptr(GString) text = g_string_new("0x");

    if (peer->is_base64) {
        g_autofree char *base64 = g_base64_encode(data, size);

        return g_strconcat("0b", base64, NULL);
    }

    for (gsize i = 0; i < size; i++)
        g_string_append_printf(text, "%02x", data[i]);
    return g_strdup(text->str);
}

static gsize
decode_hex(const char *text, guint8 *data, gsize capacity)
{
    gsize n = strlen(text) / 2 - 1;

    g_assert_true(g_str_has_prefix(text, "0x"));
    g_assert_cmpuint(n, <=, capacity);
    for (gsize i = 0; i < n; i++)
        data[i] = (guint8)(g_ascii_xdigit_value(text[2 + 2 * i]) << 4 |
                           g_ascii_xdigit_value(text[3 + 2 * i]));
    return n;
}

const char *
chap_peer_answer(const Initiator *initiator, const char *key)
{
    const char *text = (const char *)initiator->data;
    gsize length = strlen(key);

    for (gsize i = 0; i < initiator->data_size; i += strlen(text + i) + 1) {
        if (strncmp(text + i, key, length) == 0 && text[i + length] == '=')
            return text + i + length + 1;
    }
    return NULL;
}

guint16
chap_peer_exchange(Initiator *initiator, guint8 flags, const char *text)
{
    g_autofree char *pairs = g_strdelimit(g_strdup(text), "\n", '\0');
    guint8 bhs[PDU_BHS_SIZE];

    initiator_header(initiator, bhs, PDU_LOGIN_REQUEST | PDU_IMMEDIATE, flags);
    memcpy(bhs + 8, initiator->isid, 6);
    put_be16(bhs + 14, initiator->tsih);
    put_be16(bhs + 20, initiator->cid);
    initiator_send(initiator, bhs, pairs, text[0] != '\0' ? strlen(text) + 1 : 0);
    if (!initiator_receive(initiator))
        return G_MAXUINT16;

    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_LOGIN_RESPONSE);
    initiator->data[initiator->data_size] = '\0';
    initiator->status = pdu_login_status(initiator->bhs);
    return initiator->status;
}

/* What answers the target's challenge, and challenges it */
static char *
respond(const Initiator *initiator, ChapPeer *peer)
{
    guint8 challenge[1024], response[DIGEST_MAX];
    gsize challenge_size =
        decode_hex(chap_peer_answer(initiator, "CHAP_C"), challenge, sizeof(challenge));
    guint8 identifier = (guint8)g_ascii_strtoull(chap_peer_answer(initiator, "CHAP_I"), NULL, 10);
    g_autofree char *response_text = NULL;
    g_autofree char *challenge_text = NULL;
    gsize size;

    peer->algorithm = (guint)g_ascii_strtoull(chap_peer_answer(initiator, "CHAP_A"), NULL, 10);
    size = digest(peer->algorithm, identifier, peer->secret, challenge, challenge_size, response);
    response_text = encode(peer, response, size);
    if (peer->mutual_user == NULL)
        return g_strdup_printf("CHAP_N=%s\nCHAP_R=%s", peer->user, response_text);

    challenge_text = encode(peer, our_challenge, sizeof(our_challenge));
    return g_strdup_printf("CHAP_N=%s\nCHAP_R=%s\nCHAP_I=%u\nCHAP_C=%s", peer->user, response_text,
                           OUR_IDENTIFIER, challenge_text);
}

static gboolean
is_target_right(const Initiator *initiator, const ChapPeer *peer)
{
    const char *name = chap_peer_answer(initiator, "CHAP_N");
    const char *text = chap_peer_answer(initiator, "CHAP_R");
    guint8 response[DIGEST_MAX], right[DIGEST_MAX];
    gsize size, right_size;

    if (name == NULL || text == NULL || strcmp(name, peer->mutual_user) != 0)
        return FALSE;

    size = decode_hex(text, response, sizeof(response));
    right_size = digest(peer->algorithm, OUR_IDENTIFIER, peer->mutual_secret, our_challenge,
                        sizeof(our_challenge), right);
    return size == right_size && memcmp(response, right, size) == 0;
}

guint16
chap_peer_prove(Initiator *initiator, ChapPeer *peer, const char *names)
{
    g_autofree char *first = g_strdup_printf("%s\nAuthMethod=CHAP", names);
    g_autofree char *second =
        g_strdup_printf("CHAP_A=%s", peer->algorithms != NULL ? peer->algorithms : "5");
    g_autofree char *third = NULL;

    if (chap_peer_exchange(initiator, SECURITY, first) != 0 ||
        chap_peer_exchange(initiator, SECURITY, second) != 0)
        return initiator->status;

    third = respond(initiator, peer);
    if (chap_peer_exchange(initiator, TRANSIT, third) != 0)
        return initiator->status;
    g_assert_cmphex(initiator->bhs[1], ==, TRANSIT);
    peer->is_target_right = peer->mutual_user != NULL && is_target_right(initiator, peer);
    return 0;
}

guint16
chap_peer_login(Initiator *initiator, ChapPeer *peer, const char *names, const char *keys)
{
    guint16 status = chap_peer_prove(initiator, peer, names);

    return status != 0 ? status : initiator_login_text(initiator, keys != NULL ? keys : "X-test=1");
}

guint16
chap_peer_login_normal(Initiator *initiator, ChapPeer *peer)
{
    g_autofree char *names = g_strdup_printf(
        "InitiatorName=%s\nTargetName=" RIG_TARGET "\nSessionType=Normal", initiator->name);

    return chap_peer_login(initiator, peer, names,
                           "InitialR2T=No\nMaxRecvDataSegmentLength=262144");
}

guint16
chap_peer_login_discovery(Initiator *initiator, ChapPeer *peer)
{
    g_autofree char *names =
        g_strdup_printf("InitiatorName=%s\nSessionType=Discovery", initiator->name);

    return chap_peer_login(initiator, peer, names, NULL);
}
