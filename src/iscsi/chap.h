/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * CHAP: the hash algorithms, and the authentication method of login.h
 *
 * The algorithms are numbered by strength, the strongest first: that is the
 * order in which one is chosen, whatever the order of the initiator's list.
 */

typedef enum {
    CHAP_SHA3_256,
    CHAP_SHA256,
    CHAP_SHA1,
    CHAP_MD5,
    CHAP_ALGORITHM_N,
} ChapAlgorithm;

#define CHAP_ALL ((1u << CHAP_ALGORITHM_N) - 1)

#define CHAP_CHALLENGE_SIZE 32   /* of ours */
#define CHAP_CHALLENGE_MAX  1024 /* of the initiator's: RFC 7143 12.1.3 */
#define CHAP_DIGEST_MAX     32

/* "SHA3-256", as configuration and journal have it */
const char *chap_algorithm_name(ChapAlgorithm algorithm);

/* The number in CHAP_A */
guint8 chap_algorithm_number(ChapAlgorithm algorithm);

/* FALSE when there is none of that name; case does not matter */
gboolean chap_algorithm_parse(const char *name, ChapAlgorithm *ret_algorithm);

/*
 * What libcrypto has here, fetched once and read by all workers. In FIPS mode
 * MD5 and SHA1 are not there.
 */
typedef struct ChapDigests ChapDigests;

ChapDigests *chap_digests_new(void);
void chap_digests_free(ChapDigests *digests);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ChapDigests, chap_digests_free)

/* Bit per ChapAlgorithm */
guint32 chap_digests_mask(const ChapDigests *digests);

/**
 * chap_digest() - the response to a challenge, RFC 1994: hash of identifier, secret and challenge
 * @ret_digest: CHAP_DIGEST_MAX bytes
 *
 * Returns: its size, or 0 when libcrypto failed
 */
gsize chap_digest(const ChapDigests *digests, ChapAlgorithm algorithm, guint8 identifier,
                  const char *secret, const guint8 *challenge, gsize challenge_size,
                  guint8 *ret_digest);

/* Random bytes of the system; FALSE when it has none (yet) */
gboolean chap_random(guint8 *buffer, gsize size);

typedef struct LoginAuth LoginAuth;

/* A row of login.c's table */
extern const LoginAuth chap_login_auth;
