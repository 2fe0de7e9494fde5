/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "iscsi/session.h"
#include "iscsi/task.h"

/*
 * Logout requests
 */

/* How long the answer waits for what is to end */
#define LOGOUT_WAIT_USEC (2 * USEC_PER_SEC)

void logout_init(Session *session);

/* It is the turn of the Logout Request @task */
void logout_deliver(Task *task);

/* Something of a session that logs out has ended */
void logout_check(Session *session);

/* The slot of a Logout Request goes back: its answer has left, or never will */
void logout_given(Task *task);
