/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "bus/face.h"

/*
 * The object tree at /org/lunport1, and the one place from which
 * PropertiesChanged is sent.
 */

#define BUS_ROOT "/org/lunport1"

typedef struct Tree Tree;

Tree *tree_new(Service *service, GDBusConnection *connection, FaceCalled called, gpointer data);
void tree_free(Tree *tree);

/* Put an object on the bus; it must exist already, its properties are read now */
void tree_add(Tree *tree, const Noun *noun, const Key *key, const char *path);

void tree_remove(Tree *tree, const char *path);

/* Something of the object at @path has changed; it is announced soon. An unknown path is ignored. */
void tree_touch(Tree *tree, const char *path);

/* Announce now what has been touched: a caller sees the change before the answer */
void tree_flush(Tree *tree);

/* The face at @path, or NULL */
Face *tree_find(Tree *tree, const char *path);

/* The key of the object at @path if it is of @noun, else NULL with NO_SUCH_OBJECT */
const Key *tree_find_key(Tree *tree, const Noun *noun, const char *path, GError **ret_error);

/* The face of @noun with this number in its key, or NULL; looks at every face */
Face *tree_find_by_number(Tree *tree, const Noun *noun, guint32 number);
