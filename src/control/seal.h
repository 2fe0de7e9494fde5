/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * Sealed texts: bytes that only the holder of a key can read, and nobody can change or move unnoticed
 */

#define SEAL_KEY_MIN 32 /* bytes of what a key is made from */

typedef struct SealKey SealKey;

/* Made from random bytes; in memory that core dumps leave out. NULL with INVALID_ARGUMENT for too few. */
SealKey *seal_key_new(const void *data, gsize size, GError **ret_error);
void seal_key_free(SealKey *key);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(SealKey, seal_key_free)

/**
 * seal_close() - bytes as a text for a file
 * @key: NULL: not sealed, only guarded against damage
 * @name: what the text is about; the text is worth nothing under another name
 *
 * Returns: the text, to be freed with seal_free_text(), or NULL
 */
char *seal_close(const SealKey *key, const char *name, const guint8 *data, gsize size,
                 GError **ret_error);

/**
 * seal_open() - the bytes of such a text
 * @ret_plain: it was not sealed
 *
 * Returns: the bytes, to be freed with seal_free_data(), or NULL with INVALID_ARGUMENT
 */
guint8 *seal_open(const SealKey *key, const char *name, const char *text, gsize *ret_size,
                  gboolean *ret_plain, GError **ret_error);

/* Wiped first; NULL is ignored */
void seal_free_data(guint8 *data, gsize size);
void seal_free_text(char *text);
