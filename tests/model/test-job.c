/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "model/job.h"

typedef struct {
    guint n_added;
    guint n_removed;
} News;

static void
on_added(ModelKind kind, gpointer object, gpointer data)
{
    News *news = data;

    g_assert_cmpint(kind, ==, MODEL_JOB);
    g_assert_cmpuint(((const ModelJob *)object)->id, !=, 0);
    news->n_added++;
}

static void
on_removed(ModelKind kind, gpointer object, gpointer data)
{
    News *news = data;

    /* Still whole */
    g_assert_cmpint(kind, ==, MODEL_JOB);
    g_assert_cmpstr(((const ModelJob *)object)->object_name, ==, "disk");
    news->n_removed++;
}

static void
on_changed(ModelKind kind, gpointer object, gpointer data)
{
}

static const ModelObserver observer = {
    .added = on_added,
    .changed = on_changed,
    .removed = on_removed,
};

static ModelJob *
add_job(Model *model)
{
    ModelJob *job = model_job_new("Backstore.Verify", MODEL_BACKSTORE, "disk", 0);

    model_take_job(model, job);
    return job;
}

static void
test_news(void)
{
    g_autoptr(Model) model = model_new();
    News news = { 0 };
    ModelJob *job;

    model_set_observer(model, &observer, &news);
    job = add_job(model);
    g_assert_cmpuint(news.n_added, ==, 1);
    g_assert_true(model_find_job(model, job->id) == job);
    model_remove_job(model, job);
    g_assert_cmpuint(news.n_removed, ==, 1);
    g_assert_cmpuint(model->jobs->len, ==, 0);
}

static void
test_numbers_are_never_reused(void)
{
    g_autoptr(Model) model = model_new();
    ModelJob *job = add_job(model);

    g_assert_cmpuint(job->id, ==, 1);
    model_remove_job(model, job);
    g_assert_null(model_find_job(model, 1));
    g_assert_cmpuint(add_job(model)->id, ==, 2);
}

static void
test_begins_running(void)
{
    g_autoptr(Model) model = model_new();
    const ModelJob *job = add_job(model);

    g_assert_cmpstr(job_state_to_string(job->state), ==, "running");
    g_assert_cmpuint(g_variant_n_children(job->result), ==, 0);
    g_assert_no_error(job->error);
    g_assert_cmpstr(job_state_to_string(JOB_CANCELED), ==, "canceled");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/model/job/news", test_news);
    g_test_add_func("/model/job/numbers-are-never-reused", test_numbers_are_never_reused);
    g_test_add_func("/model/job/begins-running", test_begins_running);
    return g_test_run();
}
