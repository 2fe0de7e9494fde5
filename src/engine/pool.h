/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "util/list.h"

/*
 * Data buffers of one worker
 *
 * One anonymous mapping, touched only as it is used. It is cut into chunks of
 * POOL_BUFFER_MAX; a chunk in use holds buffers of one class. Every buffer is
 * aligned to its size or 4096, whichever is less, so that it suits O_DIRECT.
 * Taking and giving back cost a few instructions; a class prefers the buffer
 * returned last, which is warm.
 *
 * Nothing waits inside: pool_take() returns NULL when the pool is empty, and
 * the caller puts a PoolWaiter at the end of the queue. Who waits first is
 * served first: while anybody waits, pool_take() refuses newcomers.
 *
 * A reserve is kept back for what must never wait: task management, operations
 * of home workers (pool_take_reserved()). It has chunks of its own, so that
 * ordinary buffers cannot wear it down.
 */

#define POOL_BUFFER_MIN ((gsize)4096)
#define POOL_BUFFER_MAX ((gsize)1 << 20)

typedef struct Pool Pool;
typedef struct PoolWaiter PoolWaiter;

struct PoolWaiter {
    ListLink link;
    gsize size;
    void (*ready)(PoolWaiter *waiter, void *buffer); /* owns @buffer, on the worker's thread */
};

typedef struct {
    guint64 size; /* bytes of the pool, the reserve included */
    guint64 used; /* bytes in buffers that are out */
    guint64 n_takes;
    guint64 n_waits;
    guint n_waiting;
} PoolStatistics;

/**
 * pool_new() - a pool of @size bytes (rounded up to POOL_BUFFER_MAX)
 * @reserve: bytes of it that only pool_take_reserved() gets (rounded up likewise; less than @size)
 */
Pool *pool_new(gsize size, gsize reserve, GError **ret_error);
void pool_free(Pool *pool); /* asserts that all buffers are back and nobody waits */

/* A buffer of at least @size bytes (1 to POOL_BUFFER_MAX), or NULL; contents undefined */
void *pool_take(Pool *pool, gsize size);
void *pool_take_reserved(Pool *pool, gsize size); /* from the reserve, then from what is free */
void pool_give(Pool *pool, void *buffer);         /* NULL is ignored; serves waiters */

void pool_waiter_init(PoolWaiter *waiter, void (*ready)(PoolWaiter *waiter, void *buffer));
void pool_wait(Pool *pool, PoolWaiter *waiter, gsize size);
void pool_wait_cancel(Pool *pool, PoolWaiter *waiter); /* idempotent */

/* @wanted is called when somebody begins to wait and nobody did; NULL: nobody is to be told */
void pool_on_wanted(Pool *pool, void (*wanted)(gpointer user_data), gpointer user_data);

/**
 * pool_set_limit() - how much of the ordinary area may be out at a time
 * @limit: bytes, at least POOL_BUFFER_MAX; 0: all of it
 *
 * What is out above a new limit stays out. The reserve has no limit.
 */
void pool_set_limit(Pool *pool, gsize limit);
gboolean pool_is_limited(const Pool *pool); /* the limit, and not the size, keeps takers waiting */

/* Somebody waits for a buffer */
gboolean pool_is_wanted(const Pool *pool);

/* Bytes that pool_take() could still hand out */
gsize pool_available(const Pool *pool);
void pool_get_statistics(const Pool *pool, PoolStatistics *ret_statistics);

/* Give pages of unused chunks back to the kernel; called by the worker when it has been idle */
void pool_trim(Pool *pool);
gboolean pool_has_trimmable(const Pool *pool);
