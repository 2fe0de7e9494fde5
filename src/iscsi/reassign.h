/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "iscsi/task.h"

/*
 * TASK REASSIGN: a task goes on on another connection
 */

/* The task management request @task asks for it */
void reassign_start(Task *task);

/* @task shall abort @other; if that is suspended and has its answer, this is sent first: 11.5.1 */
void reassign_answer(const Task *task, Task *other);
