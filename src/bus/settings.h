/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "bus/noun.h"

/* What Manager shows and changes of the settings that concern all targets, for its tables */
GVariant *settings_get_problems(Service *service, gconstpointer manager);
GVariant *settings_get_discovery_authentication(Service *service, gconstpointer manager);
GVariant *settings_get_discovery_user(Service *service, gconstpointer manager);
GVariant *settings_get_discovery_mutual_user(Service *service, gconstpointer manager);
GVariant *settings_get_discovery_accounts(Service *service, gconstpointer manager);
GVariant *settings_get_chap_algorithms(Service *service, gconstpointer manager);
void settings_run_set_discovery_authentication(Call *call, gpointer manager);
void settings_run_set_discovery_account(Call *call, gpointer manager);
void settings_run_remove_discovery_account(Call *call, gpointer manager);
void settings_run_set_chap_algorithms(Call *call, gpointer manager);

/* Manager.LoginRejected: a ServiceRejectionFn on the connection of the bus */
void settings_emit_rejection(const ServiceRejection *rejection, gpointer connection);
