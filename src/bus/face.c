/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The one skeleton class
 *
 * GDBus wants a GObject for each interface of each object. Here it is the same
 * class for all: what differs is in the tables of the noun. Properties are
 * read from the object behind the face at the moment they are asked for. There
 * is no way to set one: GDBus would do it without asking any authorizer.
 *
 * For PropertiesChanged a face keeps the values that the bus was told last,
 * and announces what differs from them. Whoever changes an object therefore
 * only says that something has changed, and nothing can be announced that has
 * not. Counts and long lists are looked at once a second, however often their
 * object changes.
 */

#include "bus/face.h"

#include "util/error.h"

#define COUNTED_INTERVAL_US G_USEC_PER_SEC

struct _Face {
    GDBusInterfaceSkeleton parent;
    Service *service;
    const Noun *noun;
    Key key;
    char *path;
    FaceCalled called;
    gpointer data;
    GVariant *
        *announced; /* by row of the noun's properties; NULL where changes are not announced */
    gsize n_rows;
    gint64 counted_at_us; /* when counts were looked at last */
};

G_DEFINE_TYPE(Face, face, G_TYPE_DBUS_INTERFACE_SKELETON)

static void
face_init(Face *face)
{
}

static void
face_finalize(GObject *object)
{
    Face *face = BUS_FACE(object);

    for (gsize i = 0; i < face->n_rows; i++)
        g_clear_pointer(&face->announced[i], g_variant_unref);
    g_free(face->announced);
    g_free(face->key.name);
    g_free(face->path);
    G_OBJECT_CLASS(face_parent_class)->finalize(object);
}

static GDBusInterfaceInfo *
face_get_info(GDBusInterfaceSkeleton *skeleton)
{
    return (GDBusInterfaceInfo *)(gsize)BUS_FACE(skeleton)->noun->info;
}

static void
on_method_call(GDBusConnection *connection, const char *sender, const char *path,
               const char *interface, const char *method, GVariant *parameters,
               GDBusMethodInvocation *invocation, gpointer data)
{
    Face *face = BUS_FACE(data);

    face->called(face->data, face, invocation);
}

static GVariant *
on_get_property(GDBusConnection *connection, const char *sender, const char *path,
                const char *interface, const char *name, GError **ret_error, gpointer data)
{
    Face *face = BUS_FACE(data);
    gpointer object = face_find_object(face);

    if (object == NULL) {
        g_set_error(ret_error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_OBJECT, "The %s has gone",
                    face->noun->kind);
        return NULL;
    }

    return noun_get_property(noun_find_property(face->noun, name), face->service, object);
}

static GDBusInterfaceVTable *
face_get_vtable(GDBusInterfaceSkeleton *skeleton)
{
    static const GDBusInterfaceVTable vtable = {
        .method_call = on_method_call,
        .get_property = on_get_property,
    };

    return (GDBusInterfaceVTable *)(gsize)&vtable;
}

static GVariant *
face_get_properties(GDBusInterfaceSkeleton *skeleton)
{
    Face *face = BUS_FACE(skeleton);
    gpointer object = face_find_object(face);
    GVariantBuilder builder;

    g_variant_builder_init(&builder, G_VARIANT_TYPE_VARDICT);
    for (const PropertyRow *row = face->noun->properties; object != NULL && row->name != NULL;
         row++)
        g_variant_builder_add(&builder, "{sv}", row->name,
                              noun_get_property(row, face->service, object));

    return g_variant_builder_end(&builder);
}

/* Changes are announced by the tree, all in one place. */
static void
face_flush(GDBusInterfaceSkeleton *skeleton)
{
}

static void
face_class_init(FaceClass *class)
{
    GDBusInterfaceSkeletonClass *skeleton_class = G_DBUS_INTERFACE_SKELETON_CLASS(class);

    G_OBJECT_CLASS(class)->finalize = face_finalize;
    skeleton_class->get_info = face_get_info;
    skeleton_class->get_vtable = face_get_vtable;
    skeleton_class->get_properties = face_get_properties;
    skeleton_class->flush = face_flush;
}

Face *
face_new(Service *service, const Noun *noun, const Key *key, const char *path, FaceCalled called,
         gpointer data)
{
    Face *face = g_object_new(BUS_TYPE_FACE, NULL);

    face->service = service;
    face->noun = noun;
    face->key = *key;
    face->key.name = g_strdup(key->name);
    face->path = g_strdup(path);
    face->called = called;
    face->data = data;
    while (noun->properties[face->n_rows].name != NULL)
        face->n_rows++;
    face->announced = g_new0(GVariant *, face->n_rows);
    return face;
}

const Noun *
face_get_noun(const Face *face)
{
    return face->noun;
}

const Key *
face_get_key(const Face *face)
{
    return &face->key;
}

const char *
face_get_path(const Face *face)
{
    return face->path;
}

gpointer
face_find_object(const Face *face)
{
    return face->noun->find(face->service, &face->key);
}

static gboolean
is_announced(const Noun *noun, const char *property)
{
    const GDBusPropertyInfo *info =
        g_dbus_interface_info_lookup_property((GDBusInterfaceInfo *)(gsize)noun->info, property);

    return g_str_equal(g_dbus_annotation_info_lookup(
                           info->annotations, "org.freedesktop.DBus.Property.EmitsChangedSignal"),
                       "true");
}

void
face_learn(Face *face)
{
    gpointer object = face_find_object(face);

    for (gsize i = 0; object != NULL && i < face->n_rows; i++) {
        const PropertyRow *row = &face->noun->properties[i];

        if (is_announced(face->noun, row->name))
            face->announced[i] = g_variant_ref_sink(noun_get_property(row, face->service, object));
    }
}

GVariant *
face_diff(Face *face, gint64 now_us, gboolean *ret_is_late)
{
    gpointer object = face_find_object(face);
    gboolean counts_are_due = now_us - face->counted_at_us >= COUNTED_INTERVAL_US;
    g_auto(GVariantDict) changed = G_VARIANT_DICT_INIT(NULL);
    gsize n_changed = 0;

    for (gsize i = 0; object != NULL && i < face->n_rows; i++) {
        const PropertyRow *row = &face->noun->properties[i];
        g_autoptr(GVariant) value = NULL;

        if (face->announced[i] == NULL)
            continue;

        if (row->counted && !counts_are_due) {
            *ret_is_late = TRUE;
            continue;
        }

        if (row->counted)
            face->counted_at_us = now_us;
        value = g_variant_ref_sink(noun_get_property(row, face->service, object));
        if (g_variant_equal(value, face->announced[i]))
            continue;

        g_variant_dict_insert_value(&changed, row->name, value);
        g_variant_unref(face->announced[i]);
        face->announced[i] = g_steal_pointer(&value);
        n_changed++;
    }

    return n_changed > 0 ? g_variant_dict_end(&changed) : NULL;
}
