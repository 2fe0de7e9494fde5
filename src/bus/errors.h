/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <gio/gio.h>

/*
 * What goes wrong has one name on the bus: a LUNPORT_ERROR is
 * org.lunport1.Error. and the code in camel case, authorization uses the
 * standard names, and whatever else reaches a caller is Error.Failed.
 */

/* The name of @code, a LunportError: “org.lunport1.Error.Busy” */
const char *errors_name(int code);

/**
 * errors_return() - answer a method call with an error
 * @invocation: (taken) the call
 * @error: (taken) what went wrong
 */
void errors_return(GDBusMethodInvocation *invocation, GError *error);

/* @error as a property of type (ss): name and sentence, both empty when @error is NULL */
GVariant *errors_variant(const GError *error);
