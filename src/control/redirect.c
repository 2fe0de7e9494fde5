/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* The operation that sends the initiators of a target elsewhere, and its words in a snapshot */

#include <string.h>

#include "control/service-private.h"
#include "model/group-redirect.h"
#include "model/schema.h"
#include "util/error.h"

static gboolean
set_text(TargetSpec *spec, const char *key, const char *text, GError **ret_error)
{
    return schema_set_text(schema_find_key(SCHEMA_TARGET, key), spec, text, ret_error);
}

/* For all portal groups that have none of their own */
static gboolean
edit_whole(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    if (!set_text(spec, "Redirect", operation->text, ret_error))
        return FALSE;

    spec->redirect_permanent = operation->flag && spec->redirect[0] != '\0';
    return TRUE;
}

/* For the group operation->number. What is no address the schema refuses, but for what parts its text. */
static gboolean
edit_group(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    guint16 tag = (guint16)operation->number;
    gboolean is_there = model_find_portal_group(operation->service->model, tag) != NULL &&
                        target_spec_has_group(spec, tag);
    g_autoptr(GPtrArray) redirects = group_redirects_parse(spec->group_redirects);
    g_autofree char *text = NULL;

    if (!is_there && operation->text[0] != '\0') {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                    "The target is not reached through a portal group %u", tag);
        return FALSE;
    }
    if (redirects == NULL || strpbrk(operation->text, " =") != NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "“%.100s” is not an address that initiators can reach", operation->text);
        return FALSE;
    }

    group_redirects_set(redirects, tag, operation->text, operation->flag);
    text = group_redirects_format(redirects);
    return set_text(spec, "GroupRedirects", text, ret_error);
}

static gboolean
edit_redirect(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    return operation->number == 0 ? edit_whole(operation, spec, ret_error)
                                  : edit_group(operation, spec, ret_error);
}

void
service_set_target_redirect(Service *service, const char *name, guint16 tag, const char *address,
                            gboolean permanent, const ChangeOptions *options, ServiceDoneFn done,
                            gpointer user_data)
{
    Operation *operation =
        change_target_new(service, name, options, edit_redirect, done, user_data);

    operation->number = tag;
    operation->text = g_utf8_make_valid(address, -1);
    operation->flag = permanent;
    if (tag != 0)
        operation_hold_number(operation, MODEL_PORTAL_GROUP, tag);
    operation_submit(operation, "SetTargetRedirect", name);
}

/* In the form that TargetAddress has: with brackets and port, whatever the administrator wrote. NULL:
 * nowhere. */
static char *
make_address(const char *written)
{
    char text[ADDRESS_TEXT_MAX];
    Address address;

    if (written[0] == '\0' || !address_parse(written, ISCSI_PORT, &address, NULL))
        return NULL;

    address_format(&address, text, sizeof(text));
    return g_strdup(text);
}

static void
fill_groups(const TargetSpec *spec, IscsiTarget *snapshot)
{
    g_autoptr(GPtrArray) redirects = group_redirects_parse(spec->group_redirects);

    if (redirects == NULL)
        return;

    snapshot->redirects = g_new0(IscsiRedirect, redirects->len + 1);
    for (guint i = 0; i < redirects->len; i++) {
        const GroupRedirect *from = g_ptr_array_index(redirects, i);
        IscsiRedirect redirect = { .tag = from->tag,
                                   .address = make_address(from->address),
                                   .is_permanent = from->is_permanent };

        if (redirect.address != NULL)
            snapshot->redirects[snapshot->n_redirects++] = redirect;
    }
}

void
redirect_fill_snapshot(const TargetSpec *spec, IscsiTarget *snapshot)
{
    snapshot->redirect.address = make_address(spec->redirect);
    snapshot->redirect.is_permanent = spec->redirect_permanent;
    fill_groups(spec, snapshot);
}
