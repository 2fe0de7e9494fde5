/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "backstore/class.h"

/* A worker without a thread, an offload pool, a directory and a store to try */

#define MIB (1 << 20)

typedef struct {
    Offload *offload;
    Worker *worker;
    char *directory;  /* removed at the end, with what is in it */
    Backstore *store; /* may be NULL */
} Fixture;

/* A request that knows whether it has ended */
typedef struct {
    Io io;
    gboolean is_done;
} Request;

void fixture_init(Fixture *fixture);
void fixture_deinit(Fixture *fixture);

/* DIRECTORY/NAME; the caller frees */
char *fixture_path(const Fixture *fixture, const char *name);

/* Start a request; it may have ended at return */
void fixture_submit(Fixture *fixture, Request *request, IoKind kind, IoFlags flags, guint64 offset,
                    guint64 length, void *buffer);
void fixture_wait(Fixture *fixture, Request *request);

/* Both; the result */
gint64 fixture_run(Fixture *fixture, IoKind kind, IoFlags flags, guint64 offset, guint64 length,
                   void *buffer);

/* COPY inside of the store; the result */
gint64 fixture_copy(Fixture *fixture, IoFlags flags, guint64 from, guint64 to, guint64 length);

/* Aligned to 4096, zeroed; free() */
void *buffer_new(gsize size);

/* A pattern that tells each 8 bytes of a store from all others, by @seed */
void pattern_fill(void *buffer, gsize size, guint64 offset, guint64 seed);
void pattern_check(const void *buffer, gsize size, guint64 offset, guint64 seed);
void zeros_check(const void *buffer, gsize size);

/* Write a pattern, check a pattern, check zeros, in pieces of at most 1 MiB */
void store_fill(Fixture *fixture, guint64 offset, guint64 length, guint64 seed);
void store_check(Fixture *fixture, guint64 offset, guint64 length, guint64 seed);
void store_check_zeros(Fixture *fixture, guint64 offset, guint64 length);

/* A loop device on a new file, which the kernel removes when it is closed; -1 and why not */
int loop_open(const char *backing, guint64 size, guint32 sector_size, const char **ret_why);
