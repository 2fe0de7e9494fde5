/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "control/service.h"

/*
 * A service without a data plane: the functions of control/service.h over a
 * real model, so that a test can say what happens: sessions out of nothing,
 * operations that fail or take their time.
 */

Service *fake_service_new(void);
void fake_service_free(Service *service);

/* The next operation ends in this error */
void fake_service_fail_next(Service *service, int code);

/* Operations wait until fake_service_release() */
void fake_service_hold(Service *service);
void fake_service_release(Service *service);

/* The last operation: “enable_target iqn.… uid=0 persist=1 dry-run=0”; "" when there was none */
const char *fake_service_last(const Service *service);

/* An initiator logs in to @target_name (NULL: discovery) with one connection */
void fake_service_add_session(Service *service, guint16 tsih, const char *target_name,
                              const char *initiator);
void fake_service_remove_session(Service *service, guint16 tsih);

/* Count a session of a target without one being there */
void fake_service_count_session(Service *service, const char *target_name);

/* The job ends, well or (CANCELED) because somebody wanted so */
void fake_service_end_job(Service *service, guint32 id, int code);
