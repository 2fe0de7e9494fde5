/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "iscsi/task.h"

/*
 * Task management requests
 */

/* It is the turn of the request in @task (or it is immediate) */
void manage_start(Task *task);

/* Commands before those requests have come: let them go on */
void manage_run_held(Session *session);
