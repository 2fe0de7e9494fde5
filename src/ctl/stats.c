/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * lunctl stats
 *
 * The service answers by object path; a person knows names. The lists of Manager tell which is which, so
 * no path is taken apart but for what lies below a named object.
 */

#include <string.h>

#include "ctl/verbs.h"

/* clang-format off */
static const Column columns[] = {
    { "Object", "OBJECT", SHOW_PLAIN },
    { "Counter", "COUNTER", SHOW_PLAIN },
    { "Value", "VALUE", SHOW_PLAIN },
};
/* clang-format on */

static gint
compare_strings(gconstpointer a, gconstpointer b)
{
    return g_strcmp0(*(const char *const *)a, *(const char *const *)b);
}

/* Names of a list call's objects by their paths: “target iqn.…” */
static gboolean
add_names(Ctl *ctl, GHashTable *names, const char *method, const char *noun, const char *key,
          GError **ret_error)
{
    g_autoptr(GVariant) rows = verbs_list_rows(ctl, method, ret_error);

    if (rows == NULL)
        return FALSE;
    (void)g_variant_ref_sink(rows);
    for (gsize i = 0; i < g_variant_n_children(rows); i++) {
        g_autoptr(GVariant) row = g_variant_get_child_value(rows, i);
        g_autoptr(GVariant) name = g_variant_lookup_value(row, key, NULL);
        g_autofree char *text = g_variant_is_of_type(name, G_VARIANT_TYPE_STRING)
                                    ? g_variant_dup_string(name, NULL)
                                    : g_variant_print(name, FALSE);
        guint16 port = 0;
        char *path;

        (void)g_variant_lookup(row, "Path", "o", &path);
        g_hash_table_insert(names, path,
                            g_variant_lookup(row, "Port", "q", &port)
                                ? g_strdup_printf("%s %s port %u", noun, text, port)
                                : g_strdup_printf("%s %s", noun, text));
    }
    return TRUE;
}

static GHashTable *
get_names(Ctl *ctl, GError **ret_error)
{
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);

    g_hash_table_insert(names, g_strdup(MANAGER_PATH), g_strdup("service"));
    if (!add_names(ctl, names, "ListBackstores", "backstore", "Name", ret_error) ||
        !add_names(ctl, names, "ListTargets", "target", "Name", ret_error) ||
        !add_names(ctl, names, "ListPortals", "portal", "Address", ret_error) ||
        !add_names(ctl, names, "ListSessions", "session", "Tsih", ret_error))
        return NULL;
    return g_steal_pointer(&names);
}

/* What is below a named object has its name and the rest of the path: “target iqn.… luns 0” */
static char *
name_of(GHashTable *names, const char *path)
{
    g_autofree char *above = g_strdup(path);
    char *slash;

    while (strchr(above, '/') != NULL) {
        const char *name = g_hash_table_lookup(names, above);

        if (name != NULL) {
            char *text = g_strconcat(name, path + strlen(above), NULL);

            return g_strdelimit(text, "/", ' ');
        }
        slash = strrchr(above, '/');
        *slash = '\0';
    }
    return g_strdup(path);
}

/* One row a counter, objects and counters in order, so that two runs can be compared */
static void
add_object(GVariantBuilder *rows, const char *path, const char *object, GVariant *counters)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    GVariantIter iter;
    char *name;

    g_variant_iter_init(&iter, counters);
    while (g_variant_iter_next(&iter, "{st}", &name, NULL))
        g_ptr_array_add(names, name);
    g_ptr_array_sort(names, compare_strings);

    for (guint i = 0; i < names->len; i++) {
        guint64 value = 0;

        (void)g_variant_lookup(counters, names->pdata[i], "t", &value);
        g_variant_builder_open(rows, G_VARIANT_TYPE_VARDICT);
        g_variant_builder_add(rows, "{sv}", "Path", g_variant_new_object_path(path));
        g_variant_builder_add(rows, "{sv}", "Object", g_variant_new_string(object));
        g_variant_builder_add(rows, "{sv}", "Counter", g_variant_new_string(names->pdata[i]));
        g_variant_builder_add(rows, "{sv}", "Value", g_variant_new_uint64(value));
        g_variant_builder_close(rows);
    }
}

static GPtrArray *
sorted_paths(GVariant *statistics)
{
    GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
    GVariantIter iter;
    char *path;

    g_variant_iter_init(&iter, statistics);
    while (g_variant_iter_next(&iter, "{o@a{st}}", &path, NULL))
        g_ptr_array_add(paths, path);
    g_ptr_array_sort(paths, compare_strings);
    return paths;
}

/* Whether an object was asked for: it is one of @targets or below one; no targets: everything */
static gboolean
is_wanted(const GPtrArray *targets, const char *path)
{
    for (guint i = 0; i < targets->len; i++) {
        const char *target = targets->pdata[i];

        if (g_str_has_prefix(path, target) && strchr("/", path[strlen(target)]) != NULL)
            return TRUE;
    }
    return targets->len == 0;
}

gboolean
stats_verb(Ctl *ctl, GError **ret_error)
{
    GVariantBuilder rows;
    g_autoptr(GVariant) reply = NULL;
    g_autoptr(GVariant) statistics = NULL;
    g_autoptr(GHashTable) names = NULL;
    g_autoptr(GPtrArray) targets = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) paths = NULL;

    for (int i = 0; i < ctl->argc; i++) {
        char *target = client_find_target(&ctl->client, ctl->argv[i], ret_error);

        if (target == NULL)
            return FALSE;
        g_ptr_array_add(targets, target);
    }

    names = get_names(ctl, ret_error);
    if (names == NULL)
        return FALSE;
    reply = client_call(&ctl->client, MANAGER_PATH, "Manager", "GetStatistics",
                        g_variant_new("(aot)", NULL, (guint64)0), ret_error);
    if (reply == NULL)
        return FALSE;

    statistics = g_variant_get_child_value(reply, 1);
    paths = sorted_paths(statistics);
    g_variant_builder_init(&rows, G_VARIANT_TYPE("aa{sv}"));
    for (guint i = 0; i < paths->len; i++) {
        const char *path = paths->pdata[i];
        g_autoptr(GVariant) counters = g_variant_lookup_value(statistics, path, NULL);
        g_autofree char *object = name_of(names, path);

        if (is_wanted(targets, path))
            add_object(&rows, path, object, counters);
    }
    output_rows(&ctl->output, columns, G_N_ELEMENTS(columns), g_variant_builder_end(&rows),
                "counters");
    return TRUE;
}
