/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "iscsi/task.h"

/*
 * Task management requests
 */

/* It is the turn of the request in @task (or it is immediate) */
void manage_start(Task *task);

void manage_init(Session *session);

/* A function on several tasks, @task among them, is being carried out by scsi */
gboolean manage_is_ending(const Task *task);

/* One of these has been carried out, and its answer is held by the fence: @task says nothing any more */
gboolean manage_has_ended(const Task *task);

/* The answer of @task is about to be sent: nothing that it covers comes behind it */
void manage_end_covered(const Task *task);

/* An aborted task that was asked for data is owed none any more: answer what waited for that */
void manage_check_answers(Session *session);

/* The session logs out: nothing of this is waited for */
void manage_forget(Session *session);

/* Commands before those requests have come: let them go on */
void manage_run_held(Session *session);
