/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "bus/noun.h"

/* The methods of Target that make and list rules, for its table */
extern const OptionTable acl_add_options;
gboolean acl_check_add(Call *call, gconstpointer target, GError **ret_error);
void acl_run_add(Call *call, gpointer target);
void acl_run_list(Call *call, gpointer target);
