/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "bus/noun.h"

/* What Manager shows of the iSNS server and how it is set, for its tables */
GVariant *isns_get_server(Service *service, gconstpointer manager);
GVariant *isns_get_state(Service *service, gconstpointer manager);
GVariant *isns_get_error(Service *service, gconstpointer manager);
gboolean isns_check_set_server(Call *call, gconstpointer manager, GError **ret_error);
void isns_run_set_server(Call *call, gpointer manager);
