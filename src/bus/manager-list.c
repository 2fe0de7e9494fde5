/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Answers of Manager about many objects at once
 *
 * A tool that shows a table asks once, and not each object in turn. A list is a
 * window of all there are, in their order; counters come for the objects that
 * are named, or for all.
 */

#include "bus/manager-list.h"

#include "bus/get.h"
#include "bus/job.h"
#include "bus/path.h"
#include "bus/text.h"
#include "util/error.h"

gboolean
manager_check_get_statistics(Call *call, gconstpointer object, GError **ret_error)
{
    g_autofree const char **paths = NULL;

    if (!get_statistics_check(call, object, ret_error))
        return FALSE;

    g_variant_get(call->parameters, "(^a&ot)", &paths, NULL);
    for (gsize i = 0; paths[i] != NULL; i++) {
        if (tree_find(call->context->tree, paths[i]) == NULL) {
            g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                        "There is no object at “%.300s”", paths[i]);
            return FALSE;
        }
    }

    return TRUE;
}

static void
on_statistics(const ServiceStatistics *statistics, gpointer data)
{
    Call *call = data;
    g_autofree const char **paths = NULL;
    g_autoptr(GHashTable) wanted = g_hash_table_new(g_str_hash, g_str_equal);
    GVariantBuilder builder;

    g_variant_get(call->parameters, "(^a&ot)", &paths, NULL);
    for (gsize i = 0; paths[i] != NULL; i++)
        g_hash_table_add(wanted, (gpointer)(gsize)paths[i]);

    g_variant_builder_init(&builder, G_VARIANT_TYPE("a{oa{st}}"));
    for (guint i = 0; i < statistics->n_objects; i++) {
        const ServiceCounters *counters = &statistics->objects[i];
        g_autofree char *path = path_of_object(counters->kind, counters->object);

        if (paths[0] == NULL || g_hash_table_contains(wanted, path))
            g_variant_builder_add(&builder, "{o@a{st}}", path, get_counters(counters));
    }

    call_return(call, g_variant_new("(ta{oa{st}})", (guint64)statistics->timestamp, &builder));
}

void
manager_run_get_statistics(Call *call, gpointer object)
{
    service_get_statistics(call->context->service, on_statistics, call);
}

void
manager_run_list_targets(Call *call, gpointer object)
{
    const Model *model = object;
    GVariantBuilder builder;
    guint end;
    guint i;

    g_variant_builder_init(&builder, G_VARIANT_TYPE("a(ossbssuu)"));
    for (get_window(call, model->targets->len, &i, &end); i < end; i++) {
        const ModelTarget *target = model->targets->pdata[i];

        g_variant_builder_open(&builder, G_VARIANT_TYPE("(ossbssuu)"));
        g_variant_builder_add_value(&builder, get_path(path_of_target(target)));
        g_variant_builder_add_value(&builder, text_variant(target->spec->name));
        g_variant_builder_add_value(&builder, text_variant(target->spec->alias));
        g_variant_builder_add(&builder, "b", target->spec->enabled);
        g_variant_builder_add(&builder, "s", target_state_to_string(target->state));
        g_variant_builder_add_value(&builder, text_variant(target->spec->access_mode));
        g_variant_builder_add(&builder, "u", target->luns->len);
        g_variant_builder_add(&builder, "u", target->n_sessions);
        g_variant_builder_close(&builder);
    }

    call_return(call, g_variant_new("(a(ossbssuu))", &builder));
}

void
manager_run_list_backstores(Call *call, gpointer object)
{
    const Model *model = object;
    GVariantBuilder builder;
    guint end;
    guint i;

    g_variant_builder_init(&builder, G_VARIANT_TYPE("a(ossstubsu)"));
    for (get_window(call, model->backstores->len, &i, &end); i < end; i++) {
        const ModelBackstore *backstore = model->backstores->pdata[i];

        g_variant_builder_open(&builder, G_VARIANT_TYPE("(ossstubsu)"));
        g_variant_builder_add_value(&builder, get_path(path_of_backstore(backstore)));
        g_variant_builder_add_value(&builder, text_variant(backstore->spec->name));
        g_variant_builder_add_value(&builder, text_variant(backstore->spec->type));
        g_variant_builder_add_value(&builder, text_variant(backstore->spec->path));
        g_variant_builder_add(&builder, "t", backstore->size);
        g_variant_builder_add(&builder, "u", backstore->block_size);
        g_variant_builder_add(&builder, "b", backstore->read_only);
        g_variant_builder_add(&builder, "s", backstore_state_to_string(backstore->state));
        g_variant_builder_add(&builder, "u", backstore->luns->len);
        g_variant_builder_close(&builder);
    }

    call_return(call, g_variant_new("(a(ossstubsu))", &builder));
}

static int
compare_portals(gconstpointer a, gconstpointer b)
{
    const ModelPortal *left = *(const ModelPortal *const *)a;
    const ModelPortal *right = *(const ModelPortal *const *)b;
    int order = left->group->spec->tag - right->group->spec->tag;

    if (order == 0)
        order = g_strcmp0(left->address, right->address);
    return order != 0 ? order : left->port - right->port;
}

static GPtrArray *
collect_portals(const Model *model)
{
    GPtrArray *portals = g_ptr_array_new();

    for (guint i = 0; i < model->portal_groups->len; i++) {
        const ModelPortalGroup *group = model->portal_groups->pdata[i];

        for (guint j = 0; j < group->portals->len; j++)
            g_ptr_array_add(portals, group->portals->pdata[j]);
    }

    g_ptr_array_sort(portals, compare_portals);
    return portals;
}

void
manager_run_list_portals(Call *call, gpointer object)
{
    g_autoptr(GPtrArray) portals = collect_portals(object);
    GVariantBuilder builder;
    guint end;
    guint i;

    g_variant_builder_init(&builder, G_VARIANT_TYPE("a(oqsqsssu)"));
    for (get_window(call, portals->len, &i, &end); i < end; i++) {
        const ModelPortal *portal = portals->pdata[i];

        g_variant_builder_open(&builder, G_VARIANT_TYPE("(oqsqsssu)"));
        g_variant_builder_add_value(&builder, get_path(path_of_portal(portal)));
        g_variant_builder_add(&builder, "q", portal->group->spec->tag);
        g_variant_builder_add_value(&builder, text_variant(portal->address));
        g_variant_builder_add(&builder, "q", portal->port);
        g_variant_builder_add_value(&builder, text_variant(portal->interface));
        g_variant_builder_add(&builder, "s", model_origin_to_string(portal->origin));
        g_variant_builder_add(&builder, "s", portal_state_to_string(portal->state));
        g_variant_builder_add(&builder, "u", portal->n_connections);
        g_variant_builder_close(&builder);
    }

    call_return(call, g_variant_new("(a(oqsqsssu))", &builder));
}

/* clang-format off */
static const OptionRow list_sessions_rows[] = {
    { "target",    "o" },
    { "initiator", "s" },
    { "offset",    "u" },
    { "limit",     "u" },
    { NULL,        NULL },
};

const OptionTable manager_list_sessions_options = { .rows = list_sessions_rows };
/* clang-format on */

gboolean
manager_check_list_sessions(Call *call, gconstpointer object, GError **ret_error)
{
    const char *path;

    return !options_get(&call->options, "target", "&o", &path) ||
           tree_find_key(call->context->tree, &target_noun, path, ret_error) != NULL;
}

static GPtrArray *
collect_sessions(const Call *call, const Model *model)
{
    GPtrArray *sessions = g_ptr_array_new();
    const char *initiator = NULL;
    const char *path = NULL;
    const Key *target = NULL;

    (void)options_get(&call->options, "initiator", "&s", &initiator);
    if (options_get(&call->options, "target", "&o", &path))
        target = tree_find_key(call->context->tree, &target_noun, path, NULL);

    for (guint i = 0; i < model->sessions->len; i++) {
        ModelSession *session = model->sessions->pdata[i];

        if (target != NULL && g_strcmp0(session->target_name, target->name) != 0)
            continue;
        if (initiator != NULL && g_strcmp0(session->initiator_name, initiator) != 0)
            continue;
        g_ptr_array_add(sessions, session);
    }

    return sessions;
}

void
manager_run_list_sessions(Call *call, gpointer object)
{
    g_autoptr(GPtrArray) sessions = collect_sessions(call, object);
    GVariantBuilder builder;
    guint end;
    guint i;

    g_variant_builder_init(&builder, G_VARIANT_TYPE("a(ossqsst)"));
    for (get_window(call, sessions->len, &i, &end); i < end; i++) {
        const ModelSession *session = sessions->pdata[i];

        g_variant_builder_open(&builder, G_VARIANT_TYPE("(ossqsst)"));
        g_variant_builder_add_value(&builder, get_path(path_of_session(session)));
        g_variant_builder_add_value(&builder, text_variant(session->target_name));
        g_variant_builder_add_value(&builder, text_variant(session->initiator_name));
        g_variant_builder_add(&builder, "q", session->tsih);
        g_variant_builder_add_value(&builder, text_variant(session->remote_address));
        g_variant_builder_add(&builder, "s", session_state_to_string(session->state));
        g_variant_builder_add(&builder, "t", (guint64)session->established_at);
        g_variant_builder_close(&builder);
    }

    call_return(call, g_variant_new("(a(ossqsst))", &builder));
}

void
manager_run_list_jobs(Call *call, gpointer object)
{
    const GPtrArray *jobs = ((const Model *)object)->jobs;
    GVariantBuilder builder;
    guint end;
    guint i;

    g_variant_builder_init(&builder, G_VARIANT_TYPE("a(oussdtu)"));
    for (get_window(call, jobs->len, &i, &end); i < end; i++)
        g_variant_builder_add_value(&builder, job_row(jobs->pdata[i]));

    call_return(call, g_variant_new("(a(oussdtu))", &builder));
}

void
manager_run_list_limit_hits(Call *call, gpointer object)
{
    const Model *model = object;
    GVariantBuilder builder;

    g_variant_builder_init(&builder, G_VARIANT_TYPE("a(stts)"));
    for (guint i = 0; i < model->limit_hits->len; i++) {
        const ModelLimitHit *hit = &g_array_index(model->limit_hits, ModelLimitHit, i);

        g_variant_builder_add(&builder, "(stts)", hit->name, hit->n, (guint64)hit->last_at,
                              hit->peer);
    }
    call_return(call, g_variant_new("(a(stts))", &builder));
}
