/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The buffer pool: classes, alignment, exhaustion, the order of those who
 * wait, the reserve, and a random run that checks that no two buffers overlap.
 */

#include "engine/pool.h"

#include <string.h>
#include <sys/mman.h>

#include "util/error.h"

#define MIB ((gsize)1 << 20)

typedef struct {
    PoolWaiter waiter;
    Pool *pool;
    GString *trace;
    char name;
    void *buffer;
    gboolean gives_back;
} TestWaiter;

static Pool *
make_pool(gsize size, gsize reserve)
{
    g_autoptr(GError) error = NULL;
    Pool *pool = pool_new(size, reserve, &error);

    g_assert_no_error(error);
    g_assert_nonnull(pool);
    return pool;
}

static void
on_ready(PoolWaiter *waiter, void *buffer)
{
    TestWaiter *self = (TestWaiter *)(void *)waiter;

    g_string_append_c(self->trace, self->name);
    self->buffer = buffer;
    if (self->gives_back)
        pool_give(self->pool, buffer);
}

static void
wait_for(Pool *pool, TestWaiter *self, GString *trace, char name, gsize size)
{
    *self = (TestWaiter){ .pool = pool, .trace = trace, .name = name };
    pool_waiter_init(&self->waiter, on_ready);
    g_assert_null(pool_take(pool, size));
    pool_wait(pool, &self->waiter, size);
}

static guint64
pool_used(const Pool *pool)
{
    PoolStatistics statistics;

    pool_get_statistics(pool, &statistics);
    return statistics.used;
}

static void
test_alignment(void)
{
    static const gsize sizes[] = { 1, 512, 4096, 4097, 8192, 65536, 100000, MIB };
    Pool *pool = make_pool(16 * MIB, 0);

    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
        guint8 *buffer = pool_take(pool, sizes[i]);

        g_assert_nonnull(buffer);
        g_assert_cmpuint((guintptr)buffer % 4096, ==, 0);
        memset(buffer, 0x5a, sizes[i]);
        pool_give(pool, buffer);
    }
    g_assert_cmpuint(pool_used(pool), ==, 0);
    pool_free(pool);
}

static void
test_size_is_rounded(void)
{
    PoolStatistics statistics;
    Pool *pool = make_pool(MIB + 1, 0);

    pool_get_statistics(pool, &statistics);
    g_assert_cmpuint(statistics.size, ==, 2 * MIB);
    g_assert_cmpuint(pool_available(pool), ==, 2 * MIB);
    pool_free(pool);
}

static void
test_warm_buffer_first(void)
{
    Pool *pool = make_pool(4 * MIB, 0);
    void *a = pool_take(pool, 4096);
    void *b = pool_take(pool, 4096);
    void *c = pool_take(pool, 4096);

    pool_give(pool, b);
    pool_give(pool, a);
    g_assert_true(pool_take(pool, 4096) == a);
    g_assert_true(pool_take(pool, 4096) == b);
    pool_give(pool, a);
    pool_give(pool, b);
    pool_give(pool, c);
    pool_give(pool, NULL);
    pool_free(pool);
}

static void
test_exhaustion(void)
{
    enum { N = 2 * 256 };
    Pool *pool = make_pool(2 * MIB, 0);
    void *buffers[N];

    for (guint i = 0; i < N; i++)
        g_assert_nonnull(buffers[i] = pool_take(pool, 4096));
    g_assert_null(pool_take(pool, 1));
    g_assert_cmpuint(pool_available(pool), ==, 0);

    pool_give(pool, buffers[7]);
    g_assert_null(pool_take(pool, 8192)); /* room, but not in one piece */
    g_assert_true(pool_take(pool, 1) == buffers[7]);
    for (guint i = 0; i < N; i++)
        pool_give(pool, buffers[i]);

    /* A chunk whose buffers are all back serves any class */
    g_assert_nonnull(buffers[0] = pool_take(pool, MIB));
    g_assert_nonnull(buffers[1] = pool_take(pool, MIB));
    pool_give(pool, buffers[0]);
    pool_give(pool, buffers[1]);
    pool_free(pool);
}

static void
test_waiters_in_order(void)
{
    g_autoptr(GString) trace = g_string_new(NULL);
    Pool *pool = make_pool(2 * MIB, 0);
    void *a = pool_take(pool, MIB);
    void *b = pool_take(pool, MIB);
    TestWaiter waiters[3];

    wait_for(pool, &waiters[0], trace, 'a', MIB);
    wait_for(pool, &waiters[1], trace, 'b', 4096);
    wait_for(pool, &waiters[2], trace, 'c', MIB);

    pool_give(pool, a);
    g_assert_cmpstr(trace->str, ==, "a");
    pool_give(pool, b);
    g_assert_cmpstr(trace->str, ==, "ab"); /* c needs all of a chunk */
    pool_give(pool, waiters[0].buffer);
    g_assert_cmpstr(trace->str, ==, "abc");
    pool_give(pool, waiters[1].buffer);
    pool_give(pool, waiters[2].buffer);
    pool_free(pool);
}

static void
count_call(gpointer user_data)
{
    (*(guint *)user_data)++;
}

/* Once for all that wait at a time */
static void
test_tells_when_wanted(void)
{
    g_autoptr(GString) trace = g_string_new(NULL);
    Pool *pool = make_pool(MIB, 0);
    TestWaiter waiters[2];
    guint n = 0;

    pool_on_wanted(pool, count_call, &n);
    pool_give(pool, pool_take(pool, MIB));
    g_assert_cmpuint(n, ==, 0);

    for (guint i = 0; i < 2; i++) {
        void *buffer = pool_take(pool, MIB);

        wait_for(pool, &waiters[0], trace, 'a', MIB);
        g_assert_cmpuint(n, ==, i + 1);
        wait_for(pool, &waiters[1], trace, 'b', MIB);
        g_assert_cmpuint(n, ==, i + 1);
        pool_give(pool, buffer);
        pool_give(pool, waiters[0].buffer);
        pool_give(pool, waiters[1].buffer);
    }
    g_assert_cmpuint(n, ==, 2);
    pool_free(pool);
}

static void
test_newcomers_are_refused(void)
{
    g_autoptr(GString) trace = g_string_new(NULL);
    Pool *pool = make_pool(2 * MIB, 0);
    void *a = pool_take(pool, MIB);
    void *b = pool_take(pool, 4096);
    TestWaiter waiter;

    wait_for(pool, &waiter, trace, 'a', MIB);
    g_assert_null(pool_take(pool, 4096)); /* there is room, but somebody waits */
    g_assert_cmpuint(pool_available(pool), ==, 0);

    pool_give(pool, b);
    g_assert_cmpstr(trace->str, ==, "a");
    pool_give(pool, a);
    pool_give(pool, waiter.buffer);
    pool_free(pool);
}

static void
test_cancel_serves_the_next(void)
{
    g_autoptr(GString) trace = g_string_new(NULL);
    Pool *pool = make_pool(MIB, 0);
    void *a = pool_take(pool, 4096);
    TestWaiter waiters[2];

    wait_for(pool, &waiters[0], trace, 'a', MIB);
    wait_for(pool, &waiters[1], trace, 'b', 4096);
    pool_wait_cancel(pool, &waiters[0].waiter);
    pool_wait_cancel(pool, &waiters[0].waiter);
    g_assert_cmpstr(trace->str, ==, "b");

    pool_give(pool, a);
    pool_give(pool, waiters[1].buffer);
    pool_free(pool);
}

static void
test_give_from_inside(void)
{
    enum { N = 1000 };
    g_autoptr(GString) trace = g_string_new(NULL);
    g_autofree TestWaiter *waiters = g_new0(TestWaiter, N);
    Pool *pool = make_pool(MIB, 0);
    void *a = pool_take(pool, MIB);

    for (guint i = 0; i < N; i++) {
        wait_for(pool, &waiters[i], trace, (char)('a' + i % 26), MIB);
        waiters[i].gives_back = TRUE;
    }
    pool_give(pool, a);
    g_assert_cmpuint(trace->len, ==, N);
    for (guint i = 0; i < N; i++)
        g_assert_cmpint(trace->str[i], ==, 'a' + (int)(i % 26));
    pool_free(pool);
}

static void
test_reserve_is_kept(void)
{
    Pool *pool = make_pool(3 * MIB, MIB);
    void *a = pool_take(pool, MIB);
    void *b = pool_take(pool, MIB);
    void *c;
    void *d;

    g_assert_null(pool_take(pool, 4096));
    c = pool_take_reserved(pool, 512 * 1024);
    d = pool_take_reserved(pool, 512 * 1024);
    g_assert_nonnull(c);
    g_assert_nonnull(d);
    g_assert_null(pool_take_reserved(pool, 4096));

    /* What comes back to the reserve does not leak out of it */
    pool_give(pool, c);
    g_assert_null(pool_take(pool, 4096));
    g_assert_true(pool_take_reserved(pool, 512 * 1024) == c);
    pool_give(pool, a);
    pool_give(pool, b);
    pool_give(pool, c);
    pool_give(pool, d);
    pool_free(pool);
}

static void
test_reserve_goes_on_in_the_ordinary(void)
{
    Pool *pool = make_pool(2 * MIB, MIB);
    void *a = pool_take_reserved(pool, MIB);
    void *b = pool_take_reserved(pool, MIB);

    g_assert_nonnull(a);
    g_assert_nonnull(b);
    g_assert_null(pool_take(pool, 1));
    pool_give(pool, a);
    pool_give(pool, b);
    pool_free(pool);
}

static void
test_reserve_larger_than_pool(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(pool_new(MIB, MIB, &error));
    g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
}

static void
test_trim(void)
{
    Pool *pool = make_pool(4 * MIB, 0);
    guint8 *kept = pool_take(pool, MIB);
    guint8 *freed = pool_take(pool, MIB);
    guchar resident;

    g_assert_false(pool_has_trimmable(pool));
    memset(kept, 1, MIB);
    memset(freed, 2, MIB);
    pool_give(pool, freed);
    g_assert_true(pool_has_trimmable(pool));
    pool_trim(pool);
    g_assert_false(pool_has_trimmable(pool));

    g_assert_cmpint(mincore(freed, 4096, &resident), ==, 0);
    g_assert_cmpint(resident & 1, ==, 0);
    g_assert_cmpint(kept[MIB - 1], ==, 1);
    pool_give(pool, kept);
    pool_free(pool);
}

static void
test_twice_given_is_a_bug(void)
{
    if (g_test_subprocess()) {
        Pool *pool = make_pool(MIB, 0);
        void *a = pool_take(pool, 4096);
        void *b = pool_take(pool, 4096);

        pool_give(pool, a);
        pool_give(pool, a);
        pool_give(pool, b);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
}

typedef struct {
    guint8 *buffer;
    gsize size;
    guint8 tag;
} Held;

static void
check_and_give(Pool *pool, Held *held)
{
    for (gsize i = 0; i < held->size; i += 512)
        g_assert_cmphex(held->buffer[i], ==, held->tag);
    pool_give(pool, held->buffer);
    held->buffer = NULL;
}

static void
test_random(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(4711);
    Pool *pool = make_pool(8 * MIB, 2 * MIB);
    Held held[300] = { 0 };

    for (guint i = 0; i < 50000; i++) {
        Held *slot = &held[g_rand_int_range(rand, 0, G_N_ELEMENTS(held))];

        if (slot->buffer != NULL) {
            check_and_give(pool, slot);
            continue;
        }
        slot->size = (gsize)g_rand_int_range(rand, 1, 4096 << g_rand_int_range(rand, 0, 9));
        slot->tag = (guint8)i;
        slot->buffer = g_rand_boolean(rand) ? pool_take(pool, slot->size)
                                            : pool_take_reserved(pool, slot->size);
        for (gsize j = 0; slot->buffer != NULL && j < slot->size; j += 512)
            slot->buffer[j] = slot->tag;
        if (i % 1000 == 0)
            pool_trim(pool);
    }
    for (guint i = 0; i < G_N_ELEMENTS(held); i++) {
        if (held[i].buffer != NULL)
            check_and_give(pool, &held[i]);
    }
    g_assert_cmpuint(pool_used(pool), ==, 0);
    g_assert_cmpuint(pool_available(pool), ==, 6 * MIB);
    pool_free(pool);
}

/* What is out above a new limit stays out, and a higher one lets those go on who wait */
static void
test_limit(void)
{
    Pool *pool = pool_new(4 * POOL_BUFFER_MAX, POOL_BUFFER_MAX, NULL);
    void *a = pool_take(pool, POOL_BUFFER_MAX);
    void *b = pool_take(pool, POOL_BUFFER_MAX);

    g_assert_false(pool_is_limited(pool));
    pool_set_limit(pool, POOL_BUFFER_MAX);
    g_assert_true(pool_is_limited(pool));
    g_assert_cmpuint(pool_available(pool), ==, 0);
    g_assert_null(pool_take(pool, 1));
    pool_give(pool, a);
    g_assert_null(pool_take(pool, 1));
    pool_give(pool, b);
    a = pool_take(pool, POOL_BUFFER_MAX);
    g_assert_nonnull(a);
    g_assert_null(pool_take(pool, 1));
    b = pool_take_reserved(pool, POOL_BUFFER_MAX);
    g_assert_nonnull(b);
    pool_give(pool, b);

    pool_set_limit(pool, 0);
    b = pool_take(pool, POOL_BUFFER_MAX);
    g_assert_nonnull(b);
    pool_give(pool, a);
    pool_give(pool, b);
    pool_free(pool);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine/pool/alignment", test_alignment);
    g_test_add_func("/engine/pool/size-is-rounded", test_size_is_rounded);
    g_test_add_func("/engine/pool/warm-buffer-first", test_warm_buffer_first);
    g_test_add_func("/engine/pool/exhaustion", test_exhaustion);
    g_test_add_func("/engine/pool/waiters-in-order", test_waiters_in_order);
    g_test_add_func("/engine/pool/tells-when-wanted", test_tells_when_wanted);
    g_test_add_func("/engine/pool/newcomers-are-refused", test_newcomers_are_refused);
    g_test_add_func("/engine/pool/cancel-serves-the-next", test_cancel_serves_the_next);
    g_test_add_func("/engine/pool/give-from-inside", test_give_from_inside);
    g_test_add_func("/engine/pool/reserve-is-kept", test_reserve_is_kept);
    g_test_add_func("/engine/pool/reserve-goes-on-in-the-ordinary",
                    test_reserve_goes_on_in_the_ordinary);
    g_test_add_func("/engine/pool/reserve-larger-than-pool", test_reserve_larger_than_pool);
    g_test_add_func("/engine/pool/trim", test_trim);
    g_test_add_func("/engine/pool/twice-given-is-a-bug", test_twice_given_is_a_bug);
    g_test_add_func("/engine/pool/random", test_random);
    g_test_add_func("/engine/pool/limit", test_limit);
    return g_test_run();
}
