/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "ctl/verbs.h"

/* access.c: the rules of a target, owned; NULL with an error */
GVariant *access_list_rules(Ctl *ctl, const char *target_path, GError **ret_error);

/* What the rule of @row, one of them, is called */
char *access_rule_name(GVariant *row);

/* The path of a rule of a target, by their names, or NULL with an error */
char *access_find_rule(Ctl *ctl, const char *target, const char *rule, GError **ret_error);

/* group.c: the path of a group of initiators, or NULL with an error */
char *access_find_group(Ctl *ctl, const char *name, GError **ret_error);
