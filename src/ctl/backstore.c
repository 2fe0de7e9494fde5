/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * lunctl backstore
 *
 * What is typed becomes the options of CreateBackstore almost as it is. Two things are decided here
 * because they are about the caller and not about the service: the type when none is given, and
 * whether a file that is not there is to be made.
 */

#include <string.h>

#include "ctl/verbs.h"
#include "util/size.h"

/* clang-format off */
static const Column list_columns[] = {
    { "Name", "NAME", SHOW_PLAIN },
    { "Type", "TYPE", SHOW_PLAIN },
    { "Size", "SIZE", SHOW_SIZE },
    { "BlockSize", "BLOCK", SHOW_PLAIN },
    { "ReadOnly", "READ-ONLY", SHOW_BOOL },
    { "State", "STATE", SHOW_PLAIN },
    { "LunCount", "LUNS", SHOW_PLAIN },
    { "File", "PATH", SHOW_PLAIN },
};

static const Column show_columns[] = {
    { "Name", "Name", SHOW_PLAIN },
    { "Type", "Type", SHOW_PLAIN },
    { "Path", "Path", SHOW_PLAIN },
    { "DeviceType", "Device type", SHOW_PLAIN },
    { "Medium", "Medium", SHOW_PLAIN },
    { "State", "State", SHOW_PLAIN },
    { "LastError", "Problem", SHOW_ERROR },
    { "Size", "Size", SHOW_SIZE },
    { "AllocatedSize", "Allocated", SHOW_SIZE },
    { "BlockSize", "Logical block", SHOW_PLAIN },
    { "PhysicalBlockSize", "Physical block", SHOW_PLAIN },
    { "Cache", "Cache", SHOW_PLAIN },
    { "WriteCache", "Volatile write cache", SHOW_BOOL },
    { "ReadOnly", "Read-only", SHOW_BOOL },
    { "Unmap", "Unmap", SHOW_BOOL },
    { "SerialNumber", "Serial number", SHOW_PLAIN },
    { "Wwn", "WWN", SHOW_PLAIN },
    { "Uuid", "UUID", SHOW_PLAIN },
    { "Persistent", "Persistent", SHOW_BOOL },
    { "Faults", "Faults set", SHOW_LINES },
    { "Luns", "Used by", SHOW_LINES },
};
/* clang-format on */

/* The type that fits the options when none is given */
static const char *
guess_type(GVariant *options)
{
    const char *path = NULL, *device = "disk";

    (void)g_variant_lookup(options, "device-type", "&s", &device);
    if (!g_variant_lookup(options, "path", "&s", &path))
        return strcmp(device, "cdrom") == 0 ? "file" : "ram";
    return g_str_has_prefix(path, "/dev/") ? "block" : "file";
}

gboolean
backstore_verb_create(Ctl *ctl, GError **ret_error)
{
    GVariantDict dict;
    g_autofree char *type = NULL;
    const char *path = NULL;
    g_autoptr(GVariant) reply = NULL;

    g_variant_dict_init(&dict, ctl->options);
    if (!g_variant_dict_lookup(&dict, "type", "s", &type))
        type = g_strdup(guess_type(ctl->options));
    g_variant_dict_remove(&dict, "type");

    /* A file that is not there yet is made when a size says how large; without a path where the service likes */
    (void)g_variant_lookup(ctl->options, "path", "&s", &path);
    if (strcmp(type, "file") == 0 && g_variant_dict_contains(&dict, "size") &&
        (path == NULL || !g_file_test(path, G_FILE_TEST_EXISTS)))
        g_variant_dict_insert(&dict, "create", "b", TRUE);

    reply = client_call(&ctl->client, MANAGER_PATH, "Manager", "CreateBackstore",
                        g_variant_new("(ss@a{sv})", type, ctl->argv[0],
                                      client_options(&ctl->client, g_variant_dict_end(&dict))),
                        ret_error);
    return reply != NULL;
}

/* Call a method of the backstore named by the first argument */
static gboolean
call_backstore(Ctl *ctl, const char *method, GVariant *arguments, GError **ret_error)
{
    g_autofree char *path = client_find_backstore(&ctl->client, ctl->argv[0], ret_error);

    return client_change(&ctl->client, path, "Backstore", method, arguments, ret_error);
}

gboolean
backstore_verb_delete(Ctl *ctl, GError **ret_error)
{
    return call_backstore(ctl, "Delete",
                          g_variant_new("(@a{sv})", client_options(&ctl->client, ctl->options)),
                          ret_error);
}

gboolean
backstore_verb_resize(Ctl *ctl, GError **ret_error)
{
    guint64 size;

    if (!size_parse(ctl->argv[1], &size, NULL)) {
        g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "“%s” is not a size",
                    ctl->argv[1]);
        return FALSE;
    }
    return call_backstore(
        ctl, "Resize", g_variant_new("(t@a{sv})", size, client_options(&ctl->client, ctl->options)),
        ret_error);
}

/* @method: begins a job */
static gboolean
begin_job(Ctl *ctl, const char *method, GError **ret_error)
{
    g_autofree char *path = client_find_backstore(&ctl->client, ctl->argv[0], ret_error);
    g_autoptr(GVariant) reply = NULL;

    if (path == NULL)
        return FALSE;
    reply = client_call(&ctl->client, path, "Backstore", method,
                        g_variant_new("(@a{sv})", client_options(&ctl->client, NULL)), ret_error);
    return reply != NULL && job_follow(ctl, reply, ret_error);
}

gboolean
backstore_verb_flush(Ctl *ctl, GError **ret_error)
{
    return begin_job(ctl, "Flush", ret_error);
}

gboolean
backstore_verb_verify(Ctl *ctl, GError **ret_error)
{
    return begin_job(ctl, "Verify", ret_error);
}

gboolean
backstore_verb_load(Ctl *ctl, GError **ret_error)
{
    g_autofree char *medium = g_canonicalize_filename(ctl->argv[1], NULL);

    return call_backstore(
        ctl, "LoadMedium",
        g_variant_new("(s@a{sv})", medium, client_options(&ctl->client, ctl->options)), ret_error);
}

gboolean
backstore_verb_eject(Ctl *ctl, GError **ret_error)
{
    return call_backstore(ctl, "Eject",
                          g_variant_new("(@a{sv})", client_options(&ctl->client, ctl->options)),
                          ret_error);
}

static gboolean
set_switch(Ctl *ctl, const char *method, gboolean on, GError **ret_error)
{
    return call_backstore(
        ctl, method, g_variant_new("(b@a{sv})", on, client_options(&ctl->client, ctl->options)),
        ret_error);
}

gboolean
backstore_verb_offline(Ctl *ctl, GError **ret_error)
{
    return set_switch(ctl, "SetOffline", TRUE, ret_error);
}

gboolean
backstore_verb_online(Ctl *ctl, GError **ret_error)
{
    return set_switch(ctl, "SetOffline", FALSE, ret_error);
}

gboolean
backstore_verb_read_only(Ctl *ctl, GError **ret_error)
{
    return set_switch(ctl, "SetReadOnly", TRUE, ret_error);
}

gboolean
backstore_verb_writable(Ctl *ctl, GError **ret_error)
{
    return set_switch(ctl, "SetReadOnly", FALSE, ret_error);
}

gboolean
backstore_verb_list(Ctl *ctl, GError **ret_error)
{
    GVariant *rows = verbs_list_rows(ctl, "ListBackstores", ret_error);

    if (rows == NULL)
        return FALSE;
    output_rows(&ctl->output, list_columns, G_N_ELEMENTS(list_columns), rows, "backstores");
    return TRUE;
}

/* "IQN LUN 0" for a logical unit; its path when it has just gone */
static char *
describe_lun(Ctl *ctl, const char *path)
{
    g_autoptr(GVariant) lun = client_get_all(&ctl->client, path, "Lun", NULL);
    g_autoptr(GVariant) target = NULL;
    const char *target_path = NULL, *name = NULL;
    guint16 number = 0;

    if (lun != NULL && g_variant_lookup(lun, "Target", "&o", &target_path))
        target = client_get_all(&ctl->client, target_path, "Target", NULL);
    if (target == NULL || !g_variant_lookup(target, "Name", "&s", &name) ||
        !g_variant_lookup(lun, "Number", "q", &number))
        return g_strdup(path);
    return g_strdup_printf("%s LUN %u", name, number);
}

/* For people the logical units by name, and faults as sentences; programs get paths and rules */
static GVariant *
with_words(Ctl *ctl, GVariant *object)
{
    g_autoptr(GVariant) faults = NULL;
    g_autofree const char **paths = NULL;
    g_auto(GStrv) names = NULL;
    GVariantDict dict;
    gsize n;

    if (ctl->output.mode != OUTPUT_TABLE || !g_variant_lookup(object, "Luns", "^a&o", &paths))
        return g_variant_ref(object);

    n = g_strv_length((char **)(gsize)paths);
    names = g_new0(char *, n + 1);
    for (gsize i = 0; i < n; i++)
        names[i] = describe_lun(ctl, paths[i]);
    g_variant_dict_init(&dict, object);
    g_variant_dict_insert(&dict, "Luns", "^as", names);
    faults = g_variant_lookup_value(object, "Faults", G_VARIANT_TYPE("aa{sv}"));
    if (faults != NULL)
        g_variant_dict_insert_value(&dict, "Faults", fault_describe_all(faults));
    return g_variant_ref_sink(g_variant_dict_end(&dict));
}

gboolean
backstore_verb_show(Ctl *ctl, GError **ret_error)
{
    g_autofree char *path = client_find_backstore(&ctl->client, ctl->argv[0], ret_error);
    g_autoptr(GVariant) object = NULL;
    g_autoptr(GVariant) shown = NULL;

    if (path == NULL)
        return FALSE;
    object = client_get_all(&ctl->client, path, "Backstore", ret_error);
    if (object == NULL)
        return FALSE;
    shown = with_words(ctl, object);
    output_object(&ctl->output, show_columns, G_N_ELEMENTS(show_columns), shown);
    return TRUE;
}
