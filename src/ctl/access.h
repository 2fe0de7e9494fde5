/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "ctl/verbs.h"

/* group.c: the path of a group of initiators, or NULL with an error */
char *access_find_group(Ctl *ctl, const char *name, GError **ret_error);
