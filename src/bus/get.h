/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <gio/gio.h>

#include "bus/call.h"

/*
 * What the nouns share when they turn objects into values. All values are
 * floating.
 */

/* A value of type o of @path (taken) */
GVariant *get_path(char *path);

/* An array of type ao: @to_path is called for each element of @objects */
GVariant *get_paths(const GPtrArray *objects, char *(*to_path)(gconstpointer object));

/* Which part of a list of @n elements the options offset and limit of @call ask for */
void get_window(const Call *call, guint n, guint *ret_first, guint *ret_end);

/* The options offset and limit */
extern const OptionTable get_window_options;

/* Handler of GetStatistics of one object: flags are judged, its own counters answered */
gboolean get_statistics_check(Call *call, gconstpointer object, GError **ret_error);
void get_statistics_run(Call *call, gpointer object);

/* A floating a{st} */
GVariant *get_counters(const ServiceCounters *counters);
