/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <gio/gio.h>

#include "bus/noun.h"

/*
 * A face is one object on the bus: the one class of skeletons, driven by the
 * tables of a noun. It holds no state of the object behind it but the values
 * it announced last.
 */

#define BUS_TYPE_FACE (face_get_type())
G_DECLARE_FINAL_TYPE(Face, face, BUS, FACE, GDBusInterfaceSkeleton)

/* A method of @face was called; @invocation is taken */
typedef void (*FaceCalled)(gpointer data, Face *face, GDBusMethodInvocation *invocation);

/**
 * face_new() - make the face of one object
 * @key: copied
 * @called: gets every method call
 */
Face *face_new(Service *service, const Noun *noun, const Key *key, const char *path,
               FaceCalled called, gpointer data);

const Noun *face_get_noun(const Face *face);
const Key *face_get_key(const Face *face);
const char *face_get_path(const Face *face);

/* The object behind @face, or NULL when it has gone */
gpointer face_find_object(const Face *face);

/* Remember the values of now as those that the bus knows */
void face_learn(Face *face);

/**
 * face_diff() - what has changed since it was announced last
 * @now_us: of g_get_monotonic_time()
 * @ret_is_late: set to TRUE when there may be news that it is too early to look for
 *
 * Returns: a floating a{sv}, or NULL when there is nothing to announce
 */
GVariant *face_diff(Face *face, gint64 now_us, gboolean *ret_is_late);
