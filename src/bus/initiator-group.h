/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "bus/noun.h"

/* The methods of Manager that make and list groups, for its table */
gboolean initiator_group_check_create(Call *call, gconstpointer manager, GError **ret_error);
void initiator_group_run_create(Call *call, gpointer manager);
void initiator_group_run_list(Call *call, gpointer manager);
