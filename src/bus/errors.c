/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "bus/errors.h"

#include "bus/text.h"
#include "util/error.h"

/* clang-format off */
static const char *const names[LUNPORT_ERROR_N] = {
    [LUNPORT_ERROR_FAILED]                  = "org.lunport1.Error.Failed",
    [LUNPORT_ERROR_INVALID_ARGUMENT]        = "org.lunport1.Error.InvalidArgument",
    [LUNPORT_ERROR_INVALID_NAME]            = "org.lunport1.Error.InvalidName",
    [LUNPORT_ERROR_NOT_SUPPORTED]           = "org.lunport1.Error.NotSupported",
    [LUNPORT_ERROR_NO_SUCH_TARGET]          = "org.lunport1.Error.NoSuchTarget",
    [LUNPORT_ERROR_NO_SUCH_OBJECT]          = "org.lunport1.Error.NoSuchObject",
    [LUNPORT_ERROR_ALREADY_EXISTS]          = "org.lunport1.Error.AlreadyExists",
    [LUNPORT_ERROR_BUSY]                    = "org.lunport1.Error.Busy",
    [LUNPORT_ERROR_IN_USE]                  = "org.lunport1.Error.InUse",
    [LUNPORT_ERROR_CONFLICT]                = "org.lunport1.Error.Conflict",
    [LUNPORT_ERROR_LIMIT_EXCEEDED]          = "org.lunport1.Error.LimitExceeded",
    [LUNPORT_ERROR_STORAGE_NOT_FOUND]       = "org.lunport1.Error.StorageNotFound",
    [LUNPORT_ERROR_STORAGE_PERMISSION]      = "org.lunport1.Error.StoragePermission",
    [LUNPORT_ERROR_STORAGE_IN_USE]          = "org.lunport1.Error.StorageInUse",
    [LUNPORT_ERROR_STORAGE_ERROR]           = "org.lunport1.Error.StorageError",
    [LUNPORT_ERROR_READ_ONLY_CONFIGURATION] = "org.lunport1.Error.ReadOnlyConfiguration",
    [LUNPORT_ERROR_CANCELED]                = "org.lunport1.Error.Canceled",
    [LUNPORT_ERROR_TIMEOUT]                 = "org.lunport1.Error.Timeout",
    [LUNPORT_ERROR_SHUTTING_DOWN]           = "org.lunport1.Error.ShuttingDown",
};
/* clang-format on */

const char *
errors_name(int code)
{
    if (code < 0 || code >= LUNPORT_ERROR_N)
        return names[LUNPORT_ERROR_FAILED];

    return names[code];
}

static char *
dup_name(const GError *error)
{
    if (error->domain == LUNPORT_ERROR)
        return g_strdup(errors_name(error->code));
    if (g_dbus_error_is_remote_error(error))
        return g_dbus_error_get_remote_error(error);
    if (error->domain == G_DBUS_ERROR)
        return g_dbus_error_encode_gerror(error);

    return g_strdup(names[LUNPORT_ERROR_FAILED]);
}

void
errors_return(GDBusMethodInvocation *invocation, GError *error)
{
    g_autofree char *name = dup_name(error);
    g_autofree char *message = NULL;

    (void)g_dbus_error_strip_remote_error(error);
    message = text_escape(error->message);
    g_dbus_method_invocation_return_dbus_error(invocation, name, message);
    g_error_free(error);
}

GVariant *
errors_variant(const GError *error)
{
    g_autofree char *name = NULL;
    g_autofree char *message = NULL;

    if (error == NULL)
        return g_variant_new("(ss)", "", "");

    name = dup_name(error);
    message = text_escape(error->message);
    return g_variant_new("(ss)", name, message);
}
