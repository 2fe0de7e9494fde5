/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "model/model.h"

/* What the files that change the model share. Nobody else includes this. */

/* Tell the observer, if there is one: after an object came, and before it goes */
void model_tell_added(Model *model, ModelKind kind, gpointer object);
void model_tell_removed(Model *model, ModelKind kind, gpointer object);

/* The index at which an object with @key belongs in @list, which is sorted by @compare */
guint model_find_place(const GPtrArray *list,
                       gint (*compare)(gconstpointer object, gconstpointer key), gconstpointer key);

/* With its connections */
void model_session_free(gpointer session);
