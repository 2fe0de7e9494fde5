/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * One GError domain for all that an administrator can cause. Each code has its
 * D-Bus name in bus/errors.c: org.lunport1.Error. and the name below in
 * camel case.
 */
#define LUNPORT_ERROR (lunport_error_quark())

typedef enum {
    LUNPORT_ERROR_FAILED,
    LUNPORT_ERROR_INVALID_ARGUMENT,
    LUNPORT_ERROR_INVALID_NAME,
    LUNPORT_ERROR_NOT_SUPPORTED,
    LUNPORT_ERROR_NO_SUCH_TARGET,
    LUNPORT_ERROR_NO_SUCH_OBJECT,
    LUNPORT_ERROR_ALREADY_EXISTS,
    LUNPORT_ERROR_BUSY,
    LUNPORT_ERROR_IN_USE,
    LUNPORT_ERROR_CONFLICT,
    LUNPORT_ERROR_LIMIT_EXCEEDED,
    LUNPORT_ERROR_STORAGE_NOT_FOUND,
    LUNPORT_ERROR_STORAGE_PERMISSION,
    LUNPORT_ERROR_STORAGE_IN_USE,
    LUNPORT_ERROR_STORAGE_ERROR,
    LUNPORT_ERROR_READ_ONLY_CONFIGURATION,
    LUNPORT_ERROR_CANCELED,
    LUNPORT_ERROR_TIMEOUT,
    LUNPORT_ERROR_SHUTTING_DOWN,
    LUNPORT_ERROR_N,
} LunportError;

GQuark lunport_error_quark(void);

/**
 * error_set_errno() - report a failed system call
 * @ret_error: where the error goes
 * @code: which LunportError this is to the administrator
 * @saved_errno: the errno of the call
 * @format: what failed, as "Failed to open “%s”"; the reason is appended
 */
void error_set_errno(GError **ret_error, LunportError code, int saved_errno, const char *format,
                     ...) G_GNUC_PRINTF(4, 5);

/* The code that an errno from opening storage deserves: ENOENT is STORAGE_NOT_FOUND and so on */
LunportError error_code_from_storage_errno(int saved_errno);
