/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "engine/snapshot.h"

typedef struct {
    Snapshot snapshot;
    guint value;
    gint *n_freed;
} View;

static void
on_free(Snapshot *snapshot)
{
    View *view = (View *)(void *)snapshot;

    g_atomic_int_inc(view->n_freed);
    g_free(view);
}

static View *
view_new(guint value, gint *n_freed)
{
    View *view = g_new0(View, 1);

    snapshot_init(&view->snapshot, on_free);
    view->value = value;
    view->n_freed = n_freed;
    return view;
}

static void
test_last_reference_frees(void)
{
    gint n_freed = 0;
    View *view = view_new(1, &n_freed);

    g_assert_true(snapshot_ref(&view->snapshot) == &view->snapshot);
    snapshot_unref(&view->snapshot);
    g_assert_cmpint(n_freed, ==, 0);
    snapshot_unref(&view->snapshot);
    g_assert_cmpint(n_freed, ==, 1);
}

static void
test_null_is_ignored(void)
{
    snapshot_unref(NULL);
}

static gpointer
reader(gpointer data)
{
    View *view = data;

    for (guint i = 0; i < 10000; i++) {
        snapshot_ref(&view->snapshot);
        g_assert_cmpuint(view->value, ==, 7);
        snapshot_unref(&view->snapshot);
    }
    snapshot_unref(&view->snapshot);
    return NULL;
}

/* Whoever drops the last reference frees, and nobody reads after that */
static void
test_threads(void)
{
    gint n_freed = 0;
    View *view = view_new(7, &n_freed);
    GThread *threads[4];

    for (guint i = 0; i < G_N_ELEMENTS(threads); i++) {
        snapshot_ref(&view->snapshot);
        threads[i] = g_thread_new("reader", reader, view);
    }
    snapshot_unref(&view->snapshot);
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
    g_assert_cmpint(g_atomic_int_get(&n_freed), ==, 1);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine/snapshot/last-reference-frees", test_last_reference_frees);
    g_test_add_func("/engine/snapshot/null-is-ignored", test_null_is_ignored);
    g_test_add_func("/engine/snapshot/threads", test_threads);
    return g_test_run();
}
