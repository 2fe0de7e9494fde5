/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Buffer pool
 *
 * The mapping is an array of chunks of POOL_BUFFER_MAX. A chunk is unused, or
 * holds buffers of one class (a power of two); it leaves its class when the
 * last of its buffers is back. All bookkeeping lies outside the mapping, so a
 * page is touched only by who uses it. Per class there is a list of chunks
 * with room, and per chunk a stack of returned buffers: take and give are a
 * pop and a push, whatever the size of the pool.
 *
 * The first chunks are the ordinary area, the last ones the reserve. An area
 * shares nothing with the other but this code.
 *
 * Waiters are served strictly in order. One that needs a whole chunk may make
 * small ones wait although there is room for them; without that it could wait
 * for ever.
 */

#include "engine/pool.h"

#include <errno.h>
#include <sys/mman.h>

#include "util/bytes.h"
#include "util/error.h"

#define CLASS_SHIFT_MIN  12  /* POOL_BUFFER_MIN */
#define N_CLASSES        9   /* 4 KiB to 1 MiB */
#define BUFFERS_IN_CHUNK 256 /* of the smallest class */

typedef struct {
    ListLink link; /* on Area.unused or Area.with_room, on none when full */
    guint class;
    guint n_out;
    guint n_cut; /* buffers 0 to n_cut - 1 were handed out since the chunk joined its class */
    guint n_returned;
    gboolean touched;                   /* since the last trim */
    guint8 returned[BUFFERS_IN_CHUNK];  /* stack */
    guint64 out[BUFFERS_IN_CHUNK / 64]; /* bit per buffer: catches buffers that are given twice */
} Chunk;

typedef struct {
    List unused;
    List with_room[N_CLASSES];
    gsize available;
    gsize keep_back; /* of @available: not handed out */
} Area;

typedef enum {
    AREA_ORDINARY,
    AREA_RESERVE,
    AREA_N,
} AreaId;

struct Pool {
    guint8 *memory;
    guint n_chunks;
    guint n_ordinary;
    Chunk *chunks;
    Area areas[AREA_N];
    List waiters;
    void (*wanted)(gpointer user_data);
    gpointer user_data; /* for @wanted */
    gboolean serving;
    guint n_waiting;
    guint n_trimmable; /* unused chunks whose pages were touched */
    guint64 used;
    guint64 n_takes;
    guint64 n_waits;
};

G_STATIC_ASSERT((POOL_BUFFER_MIN << (N_CLASSES - 1)) == POOL_BUFFER_MAX);
G_STATIC_ASSERT(((gsize)1 << CLASS_SHIFT_MIN) == POOL_BUFFER_MIN);
G_STATIC_ASSERT(POOL_BUFFER_MAX / POOL_BUFFER_MIN == BUFFERS_IN_CHUNK);

static guint
class_of_size(gsize size)
{
    g_assert(size > 0 && size <= POOL_BUFFER_MAX);

    if (size <= POOL_BUFFER_MIN)
        return 0;
    return (guint)(64 - __builtin_clzll((unsigned long long)size - 1)) - CLASS_SHIFT_MIN;
}

static gsize
class_size(guint class)
{
    return POOL_BUFFER_MIN << class;
}

static guint
class_n_buffers(guint class)
{
    return BUFFERS_IN_CHUNK >> class;
}

static Area *
area_of_chunk(Pool *pool, const Chunk *chunk)
{
    gsize index = (gsize)(chunk - pool->chunks);

    return &pool->areas[index < pool->n_ordinary ? AREA_ORDINARY : AREA_RESERVE];
}

static void
chunk_mark(Chunk *chunk, guint i, gboolean is_out)
{
    guint64 bit = (guint64)1 << (i % 64);
    guint64 *word = &chunk->out[i / 64];

    g_assert(((*word & bit) != 0) != is_out);
    *word ^= bit;
}

/* A chunk of @class with room, from the unused ones if there is no other */
static Chunk *
area_find_chunk(Pool *pool, Area *area, guint class)
{
    ListLink *link = list_first(&area->with_room[class]);
    Chunk *chunk;

    if (link != NULL)
        return list_entry(link, Chunk, link);

    link = list_pop(&area->unused);
    if (link == NULL)
        return NULL;

    chunk = list_entry(link, Chunk, link);
    pool->n_trimmable -= chunk->touched ? 1 : 0;
    chunk->touched = TRUE;
    chunk->class = class;
    chunk->n_cut = 0;
    chunk->n_returned = 0;
    list_prepend(&area->with_room[class], &chunk->link);
    return chunk;
}

static void *
area_take(Pool *pool, Area *area, gsize size)
{
    guint class = class_of_size(size);
    Chunk *chunk;
    guint i;

    if (area->available < area->keep_back + class_size(class))
        return NULL;
    chunk = area_find_chunk(pool, area, class);
    if (chunk == NULL)
        return NULL;

    i = chunk->n_returned > 0 ? chunk->returned[--chunk->n_returned] : chunk->n_cut++;
    chunk_mark(chunk, i, TRUE);
    if (++chunk->n_out == class_n_buffers(class))
        list_unlink(&chunk->link);

    area->available -= class_size(class);
    pool->used += class_size(class);
    pool->n_takes++;
    return pool->memory + (gsize)(chunk - pool->chunks) * POOL_BUFFER_MAX + i * class_size(class);
}

static void
area_give(Pool *pool, Area *area, Chunk *chunk, guint i)
{
    chunk_mark(chunk, i, FALSE);
    chunk->returned[chunk->n_returned++] = (guint8)i;
    chunk->n_out--;

    /* To the front, whatever it becomes: what came back last is warm */
    list_unlink(&chunk->link);
    list_prepend(chunk->n_out == 0 ? &area->unused : &area->with_room[chunk->class], &chunk->link);
    pool->n_trimmable += chunk->n_out == 0 ? 1 : 0;

    area->available += class_size(chunk->class);
    pool->used -= class_size(chunk->class);
}

static void
pool_serve(Pool *pool)
{
    ListLink *link;

    /* A waiter that gives or cancels from inside is served by the loop further out */
    if (pool->serving)
        return;

    pool->serving = TRUE;
    while ((link = list_first(&pool->waiters)) != NULL) {
        PoolWaiter *waiter = list_entry(link, PoolWaiter, link);
        void *buffer = area_take(pool, &pool->areas[AREA_ORDINARY], waiter->size);

        if (buffer == NULL)
            break;

        list_unlink(&waiter->link);
        pool->n_waiting--;
        waiter->ready(waiter, buffer);
    }
    pool->serving = FALSE;
}

static void
area_init(Area *area, Chunk *chunks, guint n)
{
    list_init(&area->unused);
    for (guint i = 0; i < N_CLASSES; i++)
        list_init(&area->with_room[i]);

    for (guint i = 0; i < n; i++)
        list_append(&area->unused, &chunks[i].link);
    area->available = n * POOL_BUFFER_MAX;
}

Pool *
pool_new(gsize size, gsize reserve, GError **ret_error)
{
    gsize n_chunks = round_up(size, POOL_BUFFER_MAX) / POOL_BUFFER_MAX;
    gsize n_reserve = round_up(reserve, POOL_BUFFER_MAX) / POOL_BUFFER_MAX;
    Pool *pool;
    void *memory;

    if (n_chunks <= n_reserve || n_chunks > G_MAXUINT) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "A buffer pool of %" G_GSIZE_FORMAT
                    " bytes cannot hold a reserve of %" G_GSIZE_FORMAT,
                    size, reserve);
        return NULL;
    }

    memory = mmap(NULL, n_chunks * POOL_BUFFER_MAX, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        error_set_errno(ret_error, LUNPORT_ERROR_LIMIT_EXCEEDED, errno,
                        "Failed to map a buffer pool");
        return NULL;
    }

    /* Advice: huge pages would touch what nobody uses, a core dump is no place for users' data */
    (void)madvise(memory, n_chunks * POOL_BUFFER_MAX, MADV_NOHUGEPAGE);
    (void)madvise(memory, n_chunks * POOL_BUFFER_MAX, MADV_DONTDUMP);

    pool = g_new0(Pool, 1);
    pool->memory = memory;
    pool->n_chunks = (guint)n_chunks;
    pool->n_ordinary = (guint)(n_chunks - n_reserve);
    pool->chunks = g_new0(Chunk, n_chunks);
    list_init(&pool->waiters);
    area_init(&pool->areas[AREA_ORDINARY], pool->chunks, pool->n_ordinary);
    area_init(&pool->areas[AREA_RESERVE], pool->chunks + pool->n_ordinary, (guint)n_reserve);
    return pool;
}

void
pool_free(Pool *pool)
{
    if (pool == NULL)
        return;

    g_assert(pool->used == 0);
    g_assert(list_is_empty(&pool->waiters));

    (void)munmap(pool->memory, pool->n_chunks * POOL_BUFFER_MAX);
    g_free(pool->chunks);
    g_free(pool);
}

void *
pool_take(Pool *pool, gsize size)
{
    if (!list_is_empty(&pool->waiters))
        return NULL;

    return area_take(pool, &pool->areas[AREA_ORDINARY], size);
}

void *
pool_take_reserved(Pool *pool, gsize size)
{
    void *buffer = area_take(pool, &pool->areas[AREA_RESERVE], size);

    return buffer != NULL ? buffer : pool_take(pool, size);
}

void
pool_give(Pool *pool, void *buffer)
{
    gsize offset;
    Chunk *chunk;
    Area *area;

    if (buffer == NULL)
        return;

    offset = (gsize)((guint8 *)buffer - pool->memory);
    g_assert(offset < pool->n_chunks * POOL_BUFFER_MAX);

    chunk = &pool->chunks[offset / POOL_BUFFER_MAX];
    area = area_of_chunk(pool, chunk);
    g_assert(offset % class_size(chunk->class) == 0);

    area_give(pool, area, chunk, (guint)(offset % POOL_BUFFER_MAX / class_size(chunk->class)));
    pool_serve(pool);
}

void
pool_waiter_init(PoolWaiter *waiter, void (*ready)(PoolWaiter *waiter, void *buffer))
{
    *waiter = (PoolWaiter){ .ready = ready };
    list_init(&waiter->link);
}

void
pool_wait(Pool *pool, PoolWaiter *waiter, gsize size)
{
    gboolean is_first = list_is_empty(&pool->waiters);

    g_assert(!list_is_linked(&waiter->link));
    g_assert(size > 0 && size <= POOL_BUFFER_MAX);

    waiter->size = size;
    list_append(&pool->waiters, &waiter->link);
    pool->n_waiting++;
    pool->n_waits++;
    if (is_first && pool->wanted != NULL)
        pool->wanted(pool->user_data);
}

void
pool_wait_cancel(Pool *pool, PoolWaiter *waiter)
{
    if (!list_is_linked(&waiter->link))
        return;

    list_unlink(&waiter->link);
    pool->n_waiting--;

    /* There may be room for those behind, who waited for their turn only */
    pool_serve(pool);
}

void
pool_on_wanted(Pool *pool, void (*wanted)(gpointer user_data), gpointer user_data)
{
    pool->wanted = wanted;
    pool->user_data = user_data;
}

void
pool_set_limit(Pool *pool, gsize limit)
{
    gsize size = (gsize)pool->n_ordinary * POOL_BUFFER_MAX;

    g_assert(limit == 0 || limit >= POOL_BUFFER_MAX);

    pool->areas[AREA_ORDINARY].keep_back = limit == 0 || limit >= size ? 0 : size - limit;
    pool_serve(pool);
}

gboolean
pool_is_limited(const Pool *pool)
{
    return pool->areas[AREA_ORDINARY].keep_back != 0;
}

gboolean
pool_is_wanted(const Pool *pool)
{
    return !list_is_empty(&pool->waiters);
}

gsize
pool_available(const Pool *pool)
{
    const Area *area = &pool->areas[AREA_ORDINARY];

    if (!list_is_empty(&pool->waiters) || area->available <= area->keep_back)
        return 0;
    return area->available - area->keep_back;
}

void
pool_get_statistics(const Pool *pool, PoolStatistics *ret_statistics)
{
    *ret_statistics = (PoolStatistics){
        .size = (guint64)pool->n_chunks * POOL_BUFFER_MAX,
        .used = pool->used,
        .n_takes = pool->n_takes,
        .n_waits = pool->n_waits,
        .n_waiting = pool->n_waiting,
    };
}

static gboolean
chunk_is_trimmable(const Chunk *chunk)
{
    return chunk->n_out == 0 && chunk->touched;
}

void
pool_trim(Pool *pool)
{
    guint n;

    /* Neighbours together, in one call */
    for (guint i = 0; i < pool->n_chunks; i += n + 1) {
        for (n = 0; i + n < pool->n_chunks && chunk_is_trimmable(&pool->chunks[i + n]); n++)
            pool->chunks[i + n].touched = FALSE;
        if (n > 0)
            (void)madvise(pool->memory + i * POOL_BUFFER_MAX, n * POOL_BUFFER_MAX, MADV_DONTNEED);
    }
    pool->n_trimmable = 0;
}

gboolean
pool_has_trimmable(const Pool *pool)
{
    return pool->n_trimmable > 0;
}
