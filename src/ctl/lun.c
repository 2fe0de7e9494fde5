/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * lunctl lun
 *
 * A logical unit is named by its target and its number; ListLuns of the target says which object
 * that is.
 */

#include <string.h>

#include "ctl/verbs.h"

/* clang-format off */
static const Column columns[] = {
    { "Number", "LUN", SHOW_PLAIN },
    { "Backstore", "BACKSTORE", SHOW_PLAIN },
    { "ReadOnly", "READ-ONLY", SHOW_BOOL },
    { "State", "STATE", SHOW_PLAIN },
};
static const char *const keys[] = { "Path", "Number", "BackstorePath", "Backstore", "ReadOnly", "State" };

static const Column show_columns[] = {
    { "Number", "LUN", SHOW_PLAIN },
    { "State", "State", SHOW_PLAIN },
    { "ReadOnly", "Read-only", SHOW_BOOL },
    { "ReservationType", "Reservation", SHOW_PLAIN },
    { "ReservationHolder", "Holder", SHOW_PLAIN },
    { "ReservationGeneration", "Generation", SHOW_PLAIN },
};

static const Column registration_columns[] = {
    { "InitiatorPort", "INITIATOR PORT", SHOW_PLAIN },
    { "TargetPort", "TARGET PORT", SHOW_PLAIN },
    { "Key", "KEY", SHOW_PLAIN },
    { "Holder", "HOLDER", SHOW_BOOL },
};
static const char *const registration_keys[] = { "InitiatorPort", "TargetPort", "Key", "Holder" };
/* clang-format on */

static GVariant *
list_luns(Ctl *ctl, const char *target_path, GError **ret_error)
{
    g_autoptr(GVariant) reply = client_call(&ctl->client, target_path, "Target", "ListLuns",
                                            g_variant_new("(a{sv})", NULL), ret_error);

    return reply != NULL ? g_variant_get_child_value(reply, 0) : NULL;
}

gboolean
lun_verb_add(Ctl *ctl, GError **ret_error)
{
    g_autofree char *target = client_find_target(&ctl->client, ctl->argv[0], ret_error);
    g_autofree char *backstore = NULL;
    GVariantDict dict;
    guint32 number = 0;
    gboolean has_number;

    if (target == NULL)
        return FALSE;
    backstore = client_find_backstore(&ctl->client, ctl->argv[1], ret_error);
    if (backstore == NULL)
        return FALSE;

    has_number = g_variant_lookup(ctl->options, "lun", "u", &number);
    g_variant_dict_init(&dict, ctl->options);
    g_variant_dict_remove(&dict, "lun");
    return client_change(&ctl->client, target, "Target", "AddLun",
                         g_variant_new("(oi@a{sv})", backstore,
                                       has_number ? (gint32)MIN(number, G_MAXINT32) : -1,
                                       client_options(&ctl->client, g_variant_dict_end(&dict))),
                         ret_error);
}

gboolean
lun_verb_list(Ctl *ctl, GError **ret_error)
{
    g_autofree char *target = client_find_target(&ctl->client, ctl->argv[0], ret_error);
    g_autoptr(GVariant) list = NULL;

    if (target == NULL)
        return FALSE;
    list = list_luns(ctl, target, ret_error);
    if (list == NULL)
        return FALSE;
    output_rows(&ctl->output, columns, G_N_ELEMENTS(columns),
                verbs_rows(list, keys, G_N_ELEMENTS(keys)), "logical units");
    return TRUE;
}

/* The object of the logical unit named by two arguments: target and number */
static char *
find_lun(Ctl *ctl, GError **ret_error)
{
    g_autofree char *target = client_find_target(&ctl->client, ctl->argv[0], ret_error);
    g_autoptr(GVariant) list = NULL;
    guint64 number;

    if (target == NULL)
        return NULL;
    if (!g_ascii_string_to_unsigned(ctl->argv[1], 10, 0, 16383, &number, NULL)) {
        g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "“%s” is not a logical unit number", ctl->argv[1]);
        return NULL;
    }
    list = list_luns(ctl, target, ret_error);
    for (gsize i = 0; list != NULL && i < g_variant_n_children(list); i++) {
        const char *path;
        guint16 row_number;

        g_variant_get_child(list, i, "(&oq&o&sb&s)", &path, &row_number, NULL, NULL, NULL, NULL);
        if (row_number == number)
            return g_strdup(path);
    }

    if (list != NULL)
        g_set_error(ret_error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_OBJECT,
                    "Target “%s” has no logical unit %s", ctl->argv[0], ctl->argv[1]);
    return NULL;
}

static gboolean
call_lun(Ctl *ctl, const char *method, GError **ret_error)
{
    g_autofree char *path = find_lun(ctl, ret_error);

    return client_change(&ctl->client, path, "Lun", method,
                         g_variant_new("(@a{sv})", client_options(&ctl->client, ctl->options)),
                         ret_error);
}

static gboolean
set_read_only(Ctl *ctl, gboolean read_only, GError **ret_error)
{
    g_autofree char *path = find_lun(ctl, ret_error);

    return client_change(
        &ctl->client, path, "Lun", "SetReadOnly",
        g_variant_new("(b@a{sv})", read_only, client_options(&ctl->client, ctl->options)),
        ret_error);
}

gboolean
lun_verb_read_only(Ctl *ctl, GError **ret_error)
{
    return set_read_only(ctl, TRUE, ret_error);
}

gboolean
lun_verb_writable(Ctl *ctl, GError **ret_error)
{
    return set_read_only(ctl, FALSE, ret_error);
}

gboolean
lun_verb_show(Ctl *ctl, GError **ret_error)
{
    g_autofree char *path = find_lun(ctl, ret_error);
    g_autoptr(GVariant) object = NULL;

    if (path == NULL)
        return FALSE;
    object = client_get_all(&ctl->client, path, "Lun", ret_error);
    if (object == NULL)
        return FALSE;
    output_object(&ctl->output, show_columns, G_N_ELEMENTS(show_columns), object);
    return TRUE;
}

gboolean
lun_verb_registrations(Ctl *ctl, GError **ret_error)
{
    g_autofree char *path = find_lun(ctl, ret_error);
    g_autoptr(GVariant) reply = NULL;
    g_autoptr(GVariant) list = NULL;

    if (path == NULL)
        return FALSE;
    reply = client_call(&ctl->client, path, "Lun", "ListRegistrations",
                        g_variant_new("(a{sv})", NULL), ret_error);
    if (reply == NULL)
        return FALSE;
    list = g_variant_get_child_value(reply, 0);
    output_rows(&ctl->output, registration_columns, G_N_ELEMENTS(registration_columns),
                verbs_rows(list, registration_keys, G_N_ELEMENTS(registration_keys)),
                "registrations");
    return TRUE;
}

gboolean
lun_verb_clear_reservations(Ctl *ctl, GError **ret_error)
{
    return call_lun(ctl, "ClearReservations", ret_error);
}

gboolean
lun_verb_remove(Ctl *ctl, GError **ret_error)
{
    return call_lun(ctl, "Delete", ret_error);
}

gboolean
lun_verb_reset(Ctl *ctl, GError **ret_error)
{
    return call_lun(ctl, "Reset", ret_error);
}
