/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "util/error.h"

#include <errno.h>
#include <stdarg.h>

G_DEFINE_QUARK(lunport_error, lunport_error)

void
error_set_errno(GError **ret_error, LunportError code, int saved_errno, const char *format, ...)
{
    g_autofree char *what = NULL;
    va_list args;

    if (ret_error == NULL)
        return;

    va_start(args, format);
    what = g_strdup_vprintf(format, args);
    va_end(args);

    g_set_error(ret_error, LUNPORT_ERROR, (gint)code, "%s: %s", what, g_strerror(saved_errno));
}

LunportError
error_code_from_storage_errno(int saved_errno)
{
    switch (saved_errno) {
    case ENOENT:
    case ENOTDIR:
    case ENODEV:
    case ENXIO:
    case ENOMEDIUM:
        return LUNPORT_ERROR_STORAGE_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return LUNPORT_ERROR_STORAGE_PERMISSION;
    case EBUSY:
    case ETXTBSY:
    case EAGAIN: /* a lock that somebody else holds */
        return LUNPORT_ERROR_STORAGE_IN_USE;
    case EEXIST:
        return LUNPORT_ERROR_ALREADY_EXISTS;
    default:
        return LUNPORT_ERROR_STORAGE_ERROR;
    }
}
