/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Sealed texts
 *
 *     lunport-secrets 1 aes-256-gcm        lunport-secrets 1 plain
 *     BASE64 of nonce, bytes, tag          BASE64 of SHA-256, bytes
 *
 * The first line and the name of the object are authenticated with the bytes,
 * so neither can be changed, and one object's secrets cannot be put in the
 * place of another's. The nonce is random: a key seals far fewer texts than the
 * 2^32 for which that is safe. Without a key the hash finds what a disk or an
 * editor did to the file; against people its mode has to do.
 *
 * The AES key is the SHA-256 of a label and the credential, so that the same
 * credential may serve for something else one day.
 */

#include "control/seal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/mman.h>

#include "util/error.h"

#define HEADER_SEALED "lunport-secrets 1 aes-256-gcm\n"
#define HEADER_PLAIN  "lunport-secrets 1 plain\n"
#define KEY_LABEL     "lunport secrets 1"
#define NONCE_SIZE    12
#define TAG_SIZE      16
#define KEY_SIZE      32
#define HASH_SIZE     32

struct SealKey {
    guint8 bytes[KEY_SIZE];
};

static gboolean
fail(GError **ret_error, LunportError code, const char *why)
{
    g_set_error_literal(ret_error, LUNPORT_ERROR, (gint)code, why);
    return FALSE;
}

static gboolean
fail_crypto(GError **ret_error)
{
    return fail(ret_error, LUNPORT_ERROR_FAILED, "libcrypto failed");
}

void
seal_free_data(guint8 *data, gsize size)
{
    if (data != NULL)
        OPENSSL_cleanse(data, size);
    g_free(data);
}

void
seal_free_text(char *text)
{
    if (text != NULL)
        OPENSSL_cleanse(text, strlen(text));
    g_free(text);
}

/* Of @first with its terminating zero, and @data */
static gboolean
hash(const char *first, const void *data, gsize size, guint8 *ret_hash)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    gboolean ok = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
                  EVP_DigestUpdate(context, first, strlen(first) + 1) == 1 &&
                  EVP_DigestUpdate(context, data, size) == 1 &&
                  EVP_DigestFinal_ex(context, ret_hash, NULL) == 1;

    EVP_MD_CTX_free(context);
    return ok;
}

SealKey *
seal_key_new(const void *data, gsize size, GError **ret_error)
{
    SealKey *key;

    if (size < SEAL_KEY_MIN) {
        (void)fail(ret_error, LUNPORT_ERROR_INVALID_ARGUMENT, "The key has less than 32 bytes");
        return NULL;
    }

    key = mmap(NULL, sizeof(*key), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (key == MAP_FAILED) {
        (void)fail(ret_error, LUNPORT_ERROR_FAILED, "There is no memory for the key");
        return NULL;
    }
    (void)madvise(key, sizeof(*key), MADV_DONTDUMP);
    (void)mlock(key, sizeof(*key));
    if (!hash(KEY_LABEL, data, size, key->bytes)) {
        seal_key_free(key);
        (void)fail_crypto(ret_error);
        return NULL;
    }
    return key;
}

void
seal_key_free(SealKey *key)
{
    if (key == NULL)
        return;

    OPENSSL_cleanse(key, sizeof(*key));
    (void)munmap(key, sizeof(*key));
}

/* The context with key, nonce and what is authenticated besides; NULL when libcrypto failed */
static EVP_CIPHER_CTX *
begin(const SealKey *key, const char *name, const guint8 *nonce, gboolean encrypt)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int n;

    if (context != NULL &&
        EVP_CipherInit_ex(context, EVP_aes_256_gcm(), NULL, key->bytes, nonce, encrypt ? 1 : 0) ==
            1 &&
        EVP_CipherUpdate(context, NULL, &n, (const guint8 *)HEADER_SEALED,
                         (int)strlen(HEADER_SEALED)) == 1 &&
        EVP_CipherUpdate(context, NULL, &n, (const guint8 *)name, (int)strlen(name)) == 1)
        return context;

    EVP_CIPHER_CTX_free(context);
    return NULL;
}

/* @ret_box: nonce, @size bytes, tag */
static gboolean
encrypt(const SealKey *key, const char *name, const guint8 *data, gsize size, guint8 *ret_box)
{
    EVP_CIPHER_CTX *context;
    gboolean ok;
    int n;

    if (RAND_bytes(ret_box, NONCE_SIZE) != 1)
        return FALSE;

    context = begin(key, name, ret_box, TRUE);
    ok = context != NULL &&
         EVP_CipherUpdate(context, ret_box + NONCE_SIZE, &n, data, (int)size) == 1 &&
         EVP_CipherFinal_ex(context, ret_box + NONCE_SIZE + n, &n) == 1 &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, TAG_SIZE,
                             ret_box + NONCE_SIZE + size) == 1;
    EVP_CIPHER_CTX_free(context);
    return ok;
}

static gboolean
decrypt(const SealKey *key, const char *name, guint8 *box, gsize size, guint8 *ret_data)
{
    EVP_CIPHER_CTX *context = begin(key, name, box, FALSE);
    gboolean ok;
    int n;

    ok = context != NULL &&
         EVP_CipherUpdate(context, ret_data, &n, box + NONCE_SIZE, (int)size) == 1 &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG_SIZE, box + NONCE_SIZE + size) ==
             1 &&
         EVP_CipherFinal_ex(context, ret_data + n, &n) == 1;
    EVP_CIPHER_CTX_free(context);
    return ok;
}

char *
seal_close(const SealKey *key, const char *name, const guint8 *data, gsize size, GError **ret_error)
{
    gsize box_size = size + (key != NULL ? NONCE_SIZE + TAG_SIZE : HASH_SIZE);
    guint8 *box = g_malloc0(box_size);
    char *base64 = NULL;
    char *text = NULL;
    gboolean ok;

    if (key != NULL) {
        ok = encrypt(key, name, data, size, box);
    } else {
        ok = hash(name, data, size, box);
        for (gsize i = 0; i < size; i++)
            box[HASH_SIZE + i] = data[i];
    }
    if (ok) {
        base64 = g_base64_encode(box, box_size);
        text = g_strconcat(key != NULL ? HEADER_SEALED : HEADER_PLAIN, base64, "\n", NULL);
    } else {
        (void)fail_crypto(ret_error);
    }
    seal_free_data(box, box_size);
    seal_free_text(base64);
    return text;
}

/* Takes a box out of @text; NULL when it is none that has more than @least bytes */
static guint8 *
decode(const char *text, const char *header, gsize least, gsize *ret_size)
{
    const char *body = text + strlen(header);
    gsize body_size = strlen(body);
    guint8 *box;

    if (body_size < 2 || body[body_size - 1] != '\n')
        return NULL;

    box = g_base64_decode(body, ret_size);
    if (*ret_size > least)
        return box;

    seal_free_data(box, *ret_size);
    return NULL;
}

static guint8 *
open_sealed(const SealKey *key, const char *name, const char *text, gsize *ret_size,
            GError **ret_error)
{
    gsize box_size = 0;
    guint8 *box;
    guint8 *data;

    if (key == NULL) {
        (void)fail(ret_error, LUNPORT_ERROR_INVALID_ARGUMENT,
                   "It is sealed, and the key (the systemd credential lunport.key) is not there");
        return NULL;
    }

    box = decode(text, HEADER_SEALED, NONCE_SIZE + TAG_SIZE, &box_size);
    data = box != NULL ? g_malloc0(box_size) : NULL;
    if (box != NULL && !decrypt(key, name, box, box_size - NONCE_SIZE - TAG_SIZE, data)) {
        seal_free_data(data, box_size);
        data = NULL;
    }
    seal_free_data(box, box_size);
    if (data == NULL) {
        (void)fail(ret_error, LUNPORT_ERROR_INVALID_ARGUMENT,
                   "It was sealed with another key, or has been changed");
        return NULL;
    }
    *ret_size = box_size - NONCE_SIZE - TAG_SIZE;
    return data;
}

static guint8 *
open_plain(const char *name, const char *text, gsize *ret_size, GError **ret_error)
{
    guint8 found[HASH_SIZE];
    gsize box_size = 0;
    guint8 *box = decode(text, HEADER_PLAIN, HASH_SIZE, &box_size);
    guint8 *data = NULL;

    if (box != NULL && hash(name, box + HASH_SIZE, box_size - HASH_SIZE, found) &&
        CRYPTO_memcmp(found, box, HASH_SIZE) == 0)
        data = g_memdup2(box + HASH_SIZE, box_size - HASH_SIZE);
    seal_free_data(box, box_size);
    if (data == NULL) {
        (void)fail(ret_error, LUNPORT_ERROR_INVALID_ARGUMENT, "It is damaged");
        return NULL;
    }
    *ret_size = box_size - HASH_SIZE;
    return data;
}

guint8 *
seal_open(const SealKey *key, const char *name, const char *text, gsize *ret_size,
          gboolean *ret_plain, GError **ret_error)
{
    *ret_plain = g_str_has_prefix(text, HEADER_PLAIN);
    if (*ret_plain)
        return open_plain(name, text, ret_size, ret_error);
    if (g_str_has_prefix(text, HEADER_SEALED))
        return open_sealed(key, name, text, ret_size, ret_error);

    (void)fail(ret_error, LUNPORT_ERROR_INVALID_ARGUMENT,
               "It is damaged, or was written by a newer version");
    return NULL;
}
