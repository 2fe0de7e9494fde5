/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <libaio.h>

#include <glib.h>

#include "engine/loop.h"

/*
 * libaio of one worker, bound to its loop by an eventfd
 *
 * Requests queued in one turn go to the kernel with one io_submit() at its
 * end. When the context is full, or io_submit() says EAGAIN, they stay queued
 * until completions come. The context is created lazily with AIO_EVENTS
 * events, halved down to 64 when the kernel refuses; below that aio_is_usable()
 * is FALSE and stores use the offload pool.
 */

#define AIO_EVENTS 1024

typedef struct Aio Aio;
typedef struct AioRequest AioRequest;

struct AioRequest {
    struct iocb
        iocb; /* filled by io_prep_*(), io_prep_fdsync() and so on, aio_rw_flags by the caller */
    ListLink link;
    void (*done)(AioRequest *request, gint64 result); /* bytes or -errno, on the worker's thread */
};

Aio *aio_new(Loop *loop, GError **ret_error);
void aio_free(Aio *aio); /* asserts that nothing is in flight */

/* Creates the context at the first call */
gboolean aio_is_usable(Aio *aio);

/* Queue; @request->done is called later, never from inside */
void aio_submit(Aio *aio, AioRequest *request);

guint aio_n_in_flight(const Aio *aio);
