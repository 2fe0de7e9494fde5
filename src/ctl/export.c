/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * lunctl export: a disk in one step
 *
 * Backstore, target, logical unit and access, each by the call that its own
 * verb makes. When a later step fails the earlier ones are undone, so that the
 * command can be given again.
 */

#include <string.h>
#include <sys/stat.h>

#include "ctl/verbs.h"
#include "util/address.h"

typedef struct {
    char *path;   /* of the file or device; NULL: the service chooses the place of a new file */
    char *name;   /* of the backstore */
    char *target; /* IQN */
    gboolean create;
    char *backstore_path; /* on the bus, once it is made */
    char *target_path;
} Export;

static void
export_clear(Export *export)
{
    g_free(export->path);
    g_free(export->name);
    g_free(export->target);
    g_free(export->backstore_path);
    g_free(export->target_path);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Export, export_clear)

/* A backstore's name from the last part of a path: what is not allowed in a name becomes "-" */
static char *
name_from_path(const char *path)
{
    g_autofree char *base = g_path_get_basename(path);
    char *dot = strrchr(base, '.');

    if (dot != NULL && dot != base)
        *dot = '\0';
    g_strcanon(base, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", '-');
    if (base[0] == '.')
        base[0] = '-';
    if (strlen(base) > 64)
        base[64] = '\0';
    return g_steal_pointer(&base);
}

/* The part of a target's name after the colon: lower case, no underscore (RFC 7143 4.2.7.2) */
static char *
target_from_name(const char *prefix, const char *name)
{
    g_autofree char *lower = g_ascii_strdown(name, -1);

    g_strdelimit(lower, "_", '-');
    return g_strconcat(prefix, ".", lower, NULL);
}

static gboolean
choose_names(Ctl *ctl, Export *export, GError **ret_error)
{
    g_autoptr(GVariant) manager = NULL;
    const char *prefix = NULL;

    if (!g_variant_lookup(ctl->options, "name", "s", &export->name))
        export->name = name_from_path(ctl->argv[0]);
    if (g_variant_lookup(ctl->options, "target", "s", &export->target))
        return TRUE;

    manager = client_get_all(&ctl->client, MANAGER_PATH, "Manager", ret_error);
    if (manager == NULL)
        return FALSE;
    (void)g_variant_lookup(manager, "DefaultTargetNamePrefix", "&s", &prefix);
    export->target = target_from_name(prefix != NULL ? prefix : "", export->name);
    return TRUE;
}

/* With a size, what is not there is made; a bare word is no place, so the service has one for it */
static void
choose_file(Ctl *ctl, Export *export)
{
    const char *given = ctl->argv[0];
    gboolean exists = g_file_test(given, G_FILE_TEST_EXISTS);

    export->create = !exists && !g_str_has_prefix(given, "/dev/") &&
                     g_variant_lookup(ctl->options, "size", "t", NULL);
    if (!export->create || strchr(given, '/') != NULL)
        export->path = g_canonicalize_filename(given, NULL);
}

static gboolean
create_backstore(Ctl *ctl, Export *export, GError **ret_error)
{
    GVariantDict dict;
    g_autoptr(GVariant) reply = NULL;
    const char *type =
        export->path != NULL && g_str_has_prefix(export->path, "/dev/") ? "block" : "file";

    g_variant_dict_init(&dict, ctl->options);
    g_variant_dict_remove(&dict, "name");
    g_variant_dict_remove(&dict, "target");
    g_variant_dict_remove(&dict, "fix");
    g_variant_dict_remove(&dict, "to");
    if (export->path != NULL)
        g_variant_dict_insert(&dict, "path", "s", export->path);
    if (export->create)
        g_variant_dict_insert(&dict, "create", "b", TRUE);
    reply = client_call(&ctl->client, MANAGER_PATH, "Manager", "CreateBackstore",
                        g_variant_new("(ss@a{sv})", type, export->name,
                                      client_options(&ctl->client, g_variant_dict_end(&dict))),
                        ret_error);
    if (reply == NULL)
        return FALSE;
    g_variant_get(reply, "(o)", &export->backstore_path);
    return TRUE;
}

static gboolean
is_error(const GError *error, const char *name)
{
    g_autofree char *remote = g_dbus_error_get_remote_error(error);

    return g_strcmp0(remote, name) == 0;
}

static char *
acl_command(const char *user, const char *permissions, const char *path)
{
    gboolean plain = path[strspn(path, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "/._-+,:@")] == '\0';
    g_autofree char *quoted = plain ? g_strdup(path) : g_shell_quote(path);

    return g_strdup_printf("setfacl -m u:%s:%s %s", user, permissions, quoted);
}

static gboolean
anybody_may_pass(const char *folder)
{
    struct stat st;

    return stat(folder, &st) == 0 && (st.st_mode & S_IXOTH) != 0;
}

/* What lets @user open @path: it may pass the folders, and use the file or make one in the last folder */
static char **
permission_cure(const char *user, const char *path)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new();
    g_autofree char *folder = g_path_get_dirname(path);
    gboolean exists = g_file_test(path, G_FILE_TEST_EXISTS);

    g_ptr_array_add(lines, acl_command(user, exists ? "rw" : "rwx", exists ? path : folder));
    for (gboolean is_last = TRUE; strcmp(folder, "/") != 0; is_last = FALSE) {
        char *parent = g_path_get_dirname(folder);

        if ((exists || !is_last) && !anybody_may_pass(folder))
            g_ptr_array_insert(lines, 0, acl_command(user, "x", folder));
        g_free(folder);
        folder = parent;
    }
    g_ptr_array_add(lines, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&lines), FALSE);
}

/* Folders that the unit file lets the service write to; others need a drop-in */
static gboolean
is_in_sandbox(const char *path)
{
    static const char *const folders[] = { "/srv/", "/mnt/", "/dev/", "/var/lib/lunport/" };

    for (gsize i = 0; i < G_N_ELEMENTS(folders); i++) {
        if (g_str_has_prefix(path, folders[i]))
            return TRUE;
    }
    return FALSE;
}

static void
print_cure(const Ctl *ctl, const char *path, char *const *lines)
{
    g_autofree char *folder = g_path_get_dirname(path);

    g_printerr("The service may not open “%s”. These commands, as root, let it:\n", path);
    for (guint i = 0; lines[i] != NULL; i++)
        g_printerr("  %s\n", lines[i]);
    if (ctl->client.system_bus && !is_in_sandbox(path))
        g_printerr("  mkdir -p /etc/systemd/system/lunportd.service.d\n"
                   "  printf '[Service]\\nReadWritePaths=%s\\n' "
                   "> /etc/systemd/system/lunportd.service.d/disks.conf\n"
                   "  systemctl daemon-reload && systemctl restart lunportd.service\n",
                   folder);
    g_printerr("“lunctl export --fix” runs the setfacl commands itself.\n");
}

static gboolean
apply_cure(char *const *lines, GError **ret_error)
{
    for (guint i = 0; lines[i] != NULL; i++) {
        g_auto(GStrv) argv = NULL;
        g_autoptr(GSubprocess) process = NULL;

        if (!g_shell_parse_argv(lines[i], NULL, &argv, ret_error))
            return FALSE;
        process = g_subprocess_newv((const char *const *)argv, G_SUBPROCESS_FLAGS_NONE, ret_error);
        if (process == NULL || !g_subprocess_wait_check(process, NULL, ret_error)) {
            g_prefix_error(ret_error, "“%s”: ", lines[i]);
            return FALSE;
        }
    }
    return TRUE;
}

/* The backstore, with one more try after the permissions were mended */
static gboolean
make_backstore(Ctl *ctl, Export *export, GError **ret_error)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *user = NULL;
    g_auto(GStrv) cure = NULL;
    gboolean fix = FALSE;

    if (create_backstore(ctl, export, &error))
        return TRUE;

    if (export->path != NULL && is_error(error, "org.lunport1.Error.StoragePermission")) {
        user = client_service_user(&ctl->client);
        cure = permission_cure(user, export->path);
        (void)g_variant_lookup(ctl->options, "fix", "b", &fix);
        if (fix && !ctl->client.dry_run)
            return apply_cure(cure, ret_error) && create_backstore(ctl, export, ret_error);
        print_cure(ctl, export->path, cure);
    }
    if (is_error(error, "org.lunport1.Error.StorageNotFound") && !export->create &&
        !g_str_has_prefix(export->path, "/dev/")) {
        g_set_error(ret_error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_OBJECT,
                    "There is no file “%s”; --size= creates it", export->path);
        return FALSE;
    }
    g_propagate_error(ret_error, g_steal_pointer(&error));
    return FALSE;
}

/* Open to all, or to the one that --to names */
static gboolean
give_access(Ctl *ctl, const Export *export, GError **ret_error)
{
    g_autoptr(GVariant) reply = NULL;
    const char *initiator;

    if (g_variant_lookup(ctl->options, "to", "&s", &initiator))
        reply = client_call(&ctl->client, export->target_path, "Target", "AddAcl",
                            g_variant_new("(sa{sv})", initiator, NULL), ret_error);
    else
        reply = client_call(&ctl->client, export->target_path, "Target", "SetAccessMode",
                            g_variant_new("(sa{sv})", "open", NULL), ret_error);
    return reply != NULL;
}

static gboolean
make_target(Ctl *ctl, Export *export, GError **ret_error)
{
    g_autoptr(GVariant) created = NULL;
    g_autoptr(GVariant) lun = NULL;
    g_autoptr(GVariant) enabled = NULL;

    created = client_call(
        &ctl->client, MANAGER_PATH, "Manager", "CreateTarget",
        g_variant_new("(s@a{sv})", export->target, client_options(&ctl->client, NULL)), ret_error);
    if (created == NULL)
        return FALSE;
    g_variant_get(created, "(o)", &export->target_path);
    if (ctl->client.dry_run)
        return TRUE;

    lun = client_call(&ctl->client, export->target_path, "Target", "AddLun",
                      g_variant_new("(oia{sv})", export->backstore_path, 0, NULL), ret_error);
    if (lun == NULL)
        return FALSE;
    if (!give_access(ctl, export, ret_error))
        return FALSE;
    enabled = client_call(&ctl->client, export->target_path, "Target", "Enable",
                          g_variant_new("(a{sv})", NULL), ret_error);
    return enabled != NULL;
}

static void
undo_step(Ctl *ctl, const char *path, const char *interface, GVariant *options)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) reply = client_call(&ctl->client, path, interface, "Delete",
                                            g_variant_new("(@a{sv})", options), &error);

    if (reply != NULL)
        return;
    (void)g_dbus_error_strip_remote_error(error);
    g_printerr("lunctl: What was made before the failure stays: %s\n", error->message);
}

/* Only what this command made: a file too, when it was made for it */
static void
undo(Ctl *ctl, const Export *export)
{
    if (ctl->client.dry_run)
        return;
    if (export->target_path != NULL)
        undo_step(ctl, export->target_path, "Target", g_variant_new("a{sv}", NULL));
    if (export->backstore_path != NULL) {
        GVariantDict dict;

        g_variant_dict_init(&dict, NULL);
        if (export->create)
            g_variant_dict_insert(&dict, "delete-file", "b", TRUE);
        undo_step(ctl, export->backstore_path, "Backstore", g_variant_dict_end(&dict));
    }
}

/* iscsi://HOST:PORT/IQN/0 for the first portal that listens; a wildcard is this host's name */
static char *
make_url(Ctl *ctl, const char *target)
{
    g_autoptr(GVariant) list = verbs_list(ctl, "ListPortals", NULL);
    g_autofree char *address = g_strdup("*");
    guint16 port = ISCSI_PORT;

    for (gsize i = 0; list != NULL && i < g_variant_n_children(list); i++) {
        g_autoptr(GVariant) row = g_variant_get_child_value(list, i);
        const char *state;

        g_variant_get_child(row, 6, "&s", &state);
        if (strcmp(state, "listening") != 0)
            continue;
        g_free(address);
        g_variant_get_child(row, 2, "s", &address);
        g_variant_get_child(row, 3, "q", &port);
        break;
    }

    if (strcmp(address, "*") == 0 || strcmp(address, "0.0.0.0") == 0 ||
        strcmp(address, "::") == 0) {
        g_free(address);
        address = g_strdup(ctl->client.system_bus ? g_get_host_name() : "127.0.0.1");
    }
    return g_strdup_printf(strchr(address, ':') != NULL ? "iscsi://[%s]:%u/%s/0"
                                                        : "iscsi://%s:%u/%s/0",
                           address, port, target);
}

static void
print_export(Ctl *ctl, const Export *export)
{
    g_autofree char *url = make_url(ctl, export->target);
    GVariantDict dict;

    if (ctl->output.mode == OUTPUT_TABLE) {
        output_say(&ctl->output, "%s\n", url);
        return;
    }

    g_variant_dict_init(&dict, NULL);
    g_variant_dict_insert(&dict, "Url", "s", url);
    g_variant_dict_insert(&dict, "Target", "s", export->target);
    g_variant_dict_insert(&dict, "Backstore", "s", export->name);
    output_object(&ctl->output, NULL, 0, g_variant_dict_end(&dict));
}

gboolean
export_verb(Ctl *ctl, GError **ret_error)
{
    g_auto(Export) export = { 0 };

    choose_file(ctl, &export);
    if (!choose_names(ctl, &export, ret_error))
        return FALSE;
    if (!make_backstore(ctl, &export, ret_error) || !make_target(ctl, &export, ret_error)) {
        undo(ctl, &export);
        return FALSE;
    }
    print_export(ctl, &export);
    return TRUE;
}
