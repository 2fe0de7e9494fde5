/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "control/service.h"

/* What is registered with an iSNS server may have changed: look at the model, and post what is new */
void isns_plan_update(Service *service);
