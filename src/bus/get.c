/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "bus/get.h"

#include "bus/path.h"
#include "util/error.h"

/* clang-format off */
static const OptionRow window_rows[] = {
    { "offset", "u" },
    { "limit",  "u" },
    { NULL,     NULL },
};
/* clang-format on */

const OptionTable get_window_options = { .rows = window_rows };

GVariant *
get_path(char *path)
{
    GVariant *value = g_variant_new_object_path(path);

    g_free(path);
    return value;
}

GVariant *
get_paths(const GPtrArray *objects, char *(*to_path)(gconstpointer object))
{
    GVariantBuilder builder;

    g_variant_builder_init(&builder, G_VARIANT_TYPE_OBJECT_PATH_ARRAY);
    for (guint i = 0; i < objects->len; i++)
        g_variant_builder_add_value(&builder, get_path(to_path(objects->pdata[i])));

    return g_variant_builder_end(&builder);
}

void
get_window(const Call *call, guint n, guint *ret_first, guint *ret_end)
{
    guint32 offset = 0;
    guint32 limit = G_MAXUINT32;

    (void)options_get(&call->options, "offset", "u", &offset);
    (void)options_get(&call->options, "limit", "u", &limit);
    *ret_first = MIN(offset, n);
    *ret_end = *ret_first + MIN(limit, n - *ret_first);
}

gboolean
get_statistics_check(Call *call, gconstpointer object, GError **ret_error)
{
    gsize last = g_variant_n_children(call->parameters) - 1;
    g_autoptr(GVariant) flags = g_variant_get_child_value(call->parameters, last);

    if (g_variant_get_uint64(flags) == 0)
        return TRUE;

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                "Flags %" G_GUINT64_FORMAT " are not known", g_variant_get_uint64(flags));
    return FALSE;
}

GVariant *
get_counters(const ServiceCounters *counters)
{
    GVariantBuilder builder;

    g_variant_builder_init(&builder, G_VARIANT_TYPE("a{st}"));
    for (guint i = 0; i < counters->n_counters; i++)
        g_variant_builder_add(&builder, "{st}", counters->counters[i].name,
                              counters->counters[i].value);

    return g_variant_builder_end(&builder);
}

static void
on_statistics(const ServiceStatistics *statistics, gpointer data)
{
    Call *call = data;

    for (guint i = 0; i < statistics->n_objects; i++) {
        const ServiceCounters *counters = &statistics->objects[i];
        g_autofree char *path = path_of_object(counters->kind, counters->object);

        if (g_str_equal(path, call->path)) {
            call_return(call, g_variant_new("(t@a{st})", (guint64)statistics->timestamp,
                                            get_counters(counters)));
            return;
        }
    }

    call_fail(call, g_error_new(LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT, "The %s has gone",
                                call->noun->kind));
}

void
get_statistics_run(Call *call, gpointer object)
{
    service_get_statistics(call->context->service, on_statistics, call);
}
