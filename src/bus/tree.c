/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Object tree
 *
 * Faces by path, exported through a GDBusObjectManagerServer, which announces
 * what appears and disappears. What changes is marked (tree_touch()) and
 * announced together: before the answer of the call that caused it, or in an
 * idle. Counts that may not be announced yet wait for a timer.
 */

#include "bus/tree.h"

#include "util/error.h"

#define LATE_INTERVAL_MS 1000

struct Tree {
    Service *service;
    GDBusConnection *connection;
    GDBusObjectManagerServer *manager;
    GHashTable *faces;   /* path of the face → Face, owned */
    GHashTable *touched; /* set of Face, owned */
    GHashTable *late;    /* set of Face, owned */
    guint idle_source;
    guint late_source;
    FaceCalled called;
    gpointer data;
};

Tree *
tree_new(Service *service, GDBusConnection *connection, FaceCalled called, gpointer data)
{
    Tree *tree = g_new0(Tree, 1);

    tree->service = service;
    tree->connection = g_object_ref(connection);
    tree->manager = g_dbus_object_manager_server_new(BUS_ROOT);
    tree->faces = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_object_unref);
    tree->touched = g_hash_table_new_full(NULL, NULL, g_object_unref, NULL);
    tree->late = g_hash_table_new_full(NULL, NULL, g_object_unref, NULL);
    tree->called = called;
    tree->data = data;
    g_dbus_object_manager_server_set_connection(tree->manager, connection);
    return tree;
}

void
tree_free(Tree *tree)
{
    if (tree == NULL)
        return;

    g_clear_handle_id(&tree->idle_source, g_source_remove);
    g_clear_handle_id(&tree->late_source, g_source_remove);
    g_dbus_object_manager_server_set_connection(tree->manager, NULL);
    g_object_unref(tree->manager);
    g_hash_table_unref(tree->touched);
    g_hash_table_unref(tree->late);
    g_hash_table_unref(tree->faces);
    g_object_unref(tree->connection);
    g_free(tree);
}

/* Two sockets may listen on one address and then have one path: the first is shown. */
void
tree_add(Tree *tree, const Noun *noun, const Key *key, const char *path)
{
    g_autoptr(GDBusObjectSkeleton) object = NULL;
    Face *face;

    if (g_hash_table_contains(tree->faces, path))
        return;

    face = face_new(tree->service, noun, key, path, tree->called, tree->data);
    face_learn(face);
    g_hash_table_insert(tree->faces, (gpointer)(gsize)face_get_path(face), face);
    object = g_dbus_object_skeleton_new(path);
    g_dbus_object_skeleton_add_interface(object, G_DBUS_INTERFACE_SKELETON(face));
    g_dbus_object_manager_server_export(tree->manager, object);
}

void
tree_remove(Tree *tree, const char *path)
{
    Face *face = g_hash_table_lookup(tree->faces, path);

    if (face == NULL)
        return;

    g_dbus_object_manager_server_unexport(tree->manager, path);
    g_hash_table_remove(tree->touched, face);
    g_hash_table_remove(tree->late, face);
    g_hash_table_remove(tree->faces, path);
}

static void
announce(Tree *tree, Face *face, GVariant *changed)
{
    static const char *const nothing[] = { NULL };

    /* It fails only when the connection has been closed, and then nobody listens. */
    (void)g_dbus_connection_emit_signal(
        tree->connection, NULL, face_get_path(face), "org.freedesktop.DBus.Properties",
        "PropertiesChanged",
        g_variant_new("(s@a{sv}^as)", face_get_noun(face)->info->name, changed, nothing), NULL);
}

static gboolean
on_late(gpointer data)
{
    Tree *tree = data;
    GHashTableIter iter;
    gpointer face;

    tree->late_source = 0;
    g_hash_table_iter_init(&iter, tree->late);
    while (g_hash_table_iter_next(&iter, &face, NULL)) {
        g_hash_table_iter_steal(&iter);
        g_hash_table_add(tree->touched, face);
    }

    tree_flush(tree);
    return G_SOURCE_REMOVE;
}

void
tree_flush(Tree *tree)
{
    gint64 now_us = g_get_monotonic_time();
    GHashTableIter iter;
    gpointer key;

    g_clear_handle_id(&tree->idle_source, g_source_remove);

    g_hash_table_iter_init(&iter, tree->touched);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        Face *face = key;
        gboolean is_late = FALSE;
        GVariant *changed = face_diff(face, now_us, &is_late);

        if (changed != NULL)
            announce(tree, face, changed);
        if (is_late)
            g_hash_table_add(tree->late, g_object_ref(face));
        g_hash_table_iter_remove(&iter);
    }

    if (tree->late_source == 0 && g_hash_table_size(tree->late) > 0)
        tree->late_source = g_timeout_add(LATE_INTERVAL_MS, on_late, tree);
}

static gboolean
on_idle(gpointer data)
{
    Tree *tree = data;

    tree->idle_source = 0;
    tree_flush(tree);
    return G_SOURCE_REMOVE;
}

void
tree_touch(Tree *tree, const char *path)
{
    Face *face = g_hash_table_lookup(tree->faces, path);

    if (face == NULL)
        return;

    g_hash_table_add(tree->touched, g_object_ref(face));
    if (tree->idle_source == 0)
        tree->idle_source = g_idle_add(on_idle, tree);
}

Face *
tree_find(Tree *tree, const char *path)
{
    return g_hash_table_lookup(tree->faces, path);
}

const Key *
tree_find_key(Tree *tree, const Noun *noun, const char *path, GError **ret_error)
{
    Face *face = tree_find(tree, path);

    if (face == NULL || face_get_noun(face) != noun) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                    "There is no %s at “%.300s”", noun->kind, path);
        return NULL;
    }

    return face_get_key(face);
}

Face *
tree_find_by_number(Tree *tree, const Noun *noun, guint32 number)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, tree->faces);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Face *face = value;

        if (face_get_noun(face) == noun && face_get_key(face)->number == number)
            return face;
    }

    return NULL;
}
