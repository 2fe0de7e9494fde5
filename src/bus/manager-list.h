/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "bus/call.h"
#include "bus/noun.h"

/* What Manager tells of many objects at once, for its tables; lists take get_window_options */
gboolean manager_check_get_statistics(Call *call, gconstpointer manager, GError **ret_error);
void manager_run_get_statistics(Call *call, gpointer manager);
void manager_run_list_targets(Call *call, gpointer manager);
void manager_run_list_backstores(Call *call, gpointer manager);
void manager_run_list_portals(Call *call, gpointer manager);
void manager_run_list_jobs(Call *call, gpointer manager);
void manager_run_list_limit_hits(Call *call, gpointer manager);

extern const OptionTable manager_list_sessions_options;
gboolean manager_check_list_sessions(Call *call, gconstpointer manager, GError **ret_error);
void manager_run_list_sessions(Call *call, gpointer manager);
