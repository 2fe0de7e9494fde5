/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* The operation that sends the initiators of a target elsewhere, and its words in a snapshot */

#include "control/service-private.h"
#include "model/schema.h"

static gboolean
edit_redirect(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    if (!schema_set_text(schema_find_key(SCHEMA_TARGET, "Redirect"), spec, operation->text,
                         ret_error))
        return FALSE;

    spec->redirect_permanent = operation->flag && spec->redirect[0] != '\0';
    return TRUE;
}

void
service_set_target_redirect(Service *service, const char *name, const char *address,
                            gboolean permanent, const ChangeOptions *options, ServiceDoneFn done,
                            gpointer user_data)
{
    Operation *operation =
        change_target_new(service, name, options, edit_redirect, done, user_data);

    operation->text = g_strdup(address);
    operation->flag = permanent;
    operation_submit(operation, "SetTargetRedirect", name);
}

void
redirect_fill_snapshot(const TargetSpec *spec, IscsiTarget *snapshot)
{
    char text[ADDRESS_TEXT_MAX];
    Address address;

    /* In the form that TargetAddress has: with brackets and port, whatever the administrator wrote */
    if (spec->redirect[0] == '\0' || !address_parse(spec->redirect, ISCSI_PORT, &address, NULL))
        return;

    address_format(&address, text, sizeof(text));
    snapshot->redirect = g_strdup(text);
    snapshot->redirect_is_permanent = spec->redirect_permanent;
}
