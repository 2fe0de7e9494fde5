/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Operations on who may log in to a target
 *
 * Rules are part of a target's spec, so each change is an edit of the target
 * as in change-target.c. What is added here is the account that may go with
 * it, which is in another file. The two files are written one after the other,
 * in the order that lets nobody in too many when the service dies in between:
 * a secret before the rule that asks for it, and the rule's end before that of
 * its secret.
 *
 * An account can also be changed where the rule itself is in a file of the
 * administrator: secrets are never in those files.
 */

#include <string.h>

#include "control/access-change.h"
#include "control/secrets.h"
#include "model/schema.h"
#include "util/error.h"
#include "util/name.h"

static gboolean
fail_argument(const char *why, GError **ret_error)
{
    g_set_error_literal(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT, why);
    return FALSE;
}

static gboolean
fail_no_rule(const Operation *operation, GError **ret_error)
{
    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                "The target has no access rule for “%s”", operation->access->id);
    return FALSE;
}

/*
 * Changes of a target with its accounts
 */

static gboolean
specs_differ(const TargetSpec *a, const TargetSpec *b)
{
    g_autofree char *one = keyfile_format_target(a);
    g_autofree char *other = keyfile_format_target(b);

    return strcmp(one, other) != 0;
}

static gboolean
edit_both(Operation *operation, const ModelTarget *target, GError **ret_error)
{
    gboolean is_saved = operation->options.persist && target->saved != NULL;

    operation->new_spec = target_spec_dup(target->spec);
    if (!operation->edit(operation, operation->new_spec, ret_error) ||
        !target_spec_check(operation->new_spec, ret_error))
        return FALSE;
    if (!is_saved)
        return TRUE;

    operation->new_saved = target_spec_dup(target->saved);
    return operation->edit(operation, operation->new_saved, ret_error) &&
           target_spec_check(operation->new_saved, ret_error);
}

/* A file of the administrator stays as it is, so nothing but the account may change there */
static gboolean
may_keep(Operation *operation, const ModelTarget *target, GError **ret_error)
{
    AccessChange *change = operation->access;

    change->keeps_account =
        operation->options.persist && model_origin_is_persistent(target->origin);
    if (target->origin == MODEL_ORIGIN_CONFIG && operation->options.persist &&
        !specs_differ(operation->new_saved, target->saved)) {
        g_clear_pointer(&operation->new_saved, target_spec_free);
        return TRUE;
    }
    return operation_may_change(operation, target->origin, "The target", ret_error);
}

static gboolean
prepare(Operation *operation, const ModelTarget *target, GError **ret_error)
{
    if (target == NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_TARGET,
                    "There is no target “%s”", operation->name);
        return FALSE;
    }
    if (operation->access->acl == NULL && operation->access->id[0] != '\0' &&
        model_find_acl(target, operation->access->id) == NULL)
        return fail_no_rule(operation, ret_error);
    return access_change_judge(operation, operation->name, ret_error) &&
           edit_both(operation, target, ret_error) && may_keep(operation, target, ret_error);
}

static void
finish(Operation *operation)
{
    const ModelTarget *target = model_find_target(operation->service->model, operation->name);

    operation_finish(operation, operation->access->acl != NULL
                                    ? model_find_acl(target, operation->access->id)
                                    : NULL);
}

/* The end of an account is written when nobody gets in by it any more */
static void
on_published(gpointer data)
{
    Operation *operation = data;

    if (operation->access->drops_stored)
        secrets_save(operation, operation->name, operation->access->id, NULL, finish);
    else
        finish(operation);
}

static void
commit(Operation *operation)
{
    Service *service = operation->service;
    AccessChange *change = operation->access;
    ModelTarget *target = model_find_target(service->model, operation->name);

    change->drops_stored = access_change_drops_stored(operation, operation->name);
    model_set_target(service->model, target, g_steal_pointer(&operation->new_spec),
                     g_steal_pointer(&operation->new_saved));
    access_change_commit(operation, operation->name);
    secrets_describe(service);
    operation_record(operation);
    publish_target_closing(service, target, change->closes_denied, on_published, operation);
}

static void
save_target(Operation *operation)
{
    if (operation->keeps)
        operation_save(operation, MODEL_TARGET, operation->name,
                       keyfile_format_target(operation->new_saved), commit);
    else
        commit(operation);
}

static void
change_access(Operation *operation)
{
    const ModelTarget *target = model_find_target(operation->service->model, operation->name);
    const AccessChange *change = operation->access;
    GError *error = NULL;

    if (!prepare(operation, target, &error))
        operation_fail(operation, error);
    else if (operation->options.dry_run)
        operation_finish(operation, NULL);
    else if (change->stored != NULL && change->keeps_account)
        secrets_save(operation, operation->name, change->id, change->stored, save_target);
    else
        save_target(operation);
}

/* @change is taken */
static void
submit(Operation *operation, const char *target_name, AccessChange *change, TargetEditFn edit,
       const char *what)
{
    g_autofree char *normal = name_normalize_iscsi(target_name);

    operation->name =
        normal != NULL ? g_steal_pointer(&normal) : g_utf8_make_valid(target_name, -1);
    operation->access = change;
    operation->edit = edit;
    operation_hold(operation, MODEL_TARGET, operation->name);
    if (change->acl != NULL && change->acl->group[0] != '\0')
        operation_hold(operation, MODEL_INITIATOR_GROUP, change->acl->group);
    operation_submit(operation, what, operation->name);
}

static gboolean
set_option(SchemaScope scope, const char *key, gpointer spec, const char *text, GError **ret_error)
{
    return schema_set_text(schema_find_key(scope, key), spec, text, ret_error);
}

static gboolean
edit_target_method(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    const char *method = operation->access->method;

    return method == NULL || set_option(SCHEMA_TARGET, "Authentication", spec, method, ret_error);
}

void
service_set_target_authentication(Service *service, const char *name, const char *method,
                                  const ServiceAccount *account, const ChangeOptions *options,
                                  ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = operation_new(service, options, change_access, done, user_data);

    submit(operation, name, access_change_new(SECRETS_OWN, method, account), edit_target_method,
           "SetTargetAuthentication");
}

/*
 * Rules
 */

static gboolean
check_group(const Operation *operation, const AclSpec *acl, GError **ret_error)
{
    const ModelInitiatorGroup *group;

    if (acl->group[0] == '\0')
        return TRUE;

    group = model_find_initiator_group(operation->service->model, acl->group);
    if (group == NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                    "There is no initiator group “%s”", acl->group);
        return FALSE;
    }
    return !operation->options.persist || model_origin_is_persistent(group->origin) ||
           fail_argument(
               "The initiator group is gone when the service stops, so the rule cannot be "
               "kept; make it for this run only too",
               ret_error);
}

static gboolean
edit_add(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    const AccessChange *change = operation->access;
    guint index;

    if (!check_group(operation, change->acl, ret_error))
        return FALSE;
    if (!change->replaces || target_spec_find_acl(spec, change->id, &index) == NULL) {
        g_ptr_array_add(spec->acls, acl_spec_dup(change->acl));
        return TRUE;
    }

    acl_spec_free(spec->acls->pdata[index]);
    spec->acls->pdata[index] = acl_spec_dup(change->acl);
    return TRUE;
}

/* The account that the rule is to have decides the method, unless that is told */
static void
run_add(Operation *operation)
{
    AccessChange *change = operation->access;
    AclSpec *acl = change->acl;
    GError *error = NULL;

    if (access_change_has_account(change) && strcmp(acl->authentication, "Target") == 0)
        (void)set_option(SCHEMA_ACL, "Authentication", acl, "CHAP", NULL);
    change->method = g_strdup(acl->authentication);
    if (strcmp(change->method, "CHAP") == 0 && change->secret == NULL)
        (void)fail_argument("The CHAP secret is missing", &error);
    if (error == NULL)
        (void)acl_spec_check(acl, &error);

    if (error != NULL)
        operation_fail(operation, error);
    else
        change_access(operation);
}

void
service_add_acl(Service *service, const char *target_name, const AclSpec *spec, guint flags,
                const ServiceAccount *account, const ChangeOptions *options, ServiceDoneFn done,
                gpointer user_data)
{
    g_autofree char *id = acl_spec_dup_name(spec);
    AccessChange *change = access_change_new(id, NULL, account);
    Operation *operation = operation_new(service, options, run_add, done, user_data);

    change->acl = acl_spec_dup(spec);
    change->account_edit = ACCOUNT_ONLY;
    change->replaces = (flags & SERVICE_ACL_REPLACE) != 0;
    change->closes_denied = (flags & SERVICE_ACL_TERMINATE) != 0;
    submit(operation, target_name, change, edit_add, "AddAcl");
}

static AclSpec *
find_rule(const Operation *operation, const TargetSpec *spec, GError **ret_error)
{
    AclSpec *acl = target_spec_find_acl(spec, operation->access->id, NULL);

    if (acl == NULL)
        (void)fail_no_rule(operation, ret_error);
    return acl;
}

static gboolean
edit_luns(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    AclSpec *acl = find_rule(operation, spec, ret_error);

    return acl != NULL && set_option(SCHEMA_ACL, "LunMap", acl, operation->text, ret_error);
}

static gboolean
edit_read_only(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    AclSpec *acl = find_rule(operation, spec, ret_error);

    if (acl == NULL)
        return FALSE;

    acl->read_only = operation->flag;
    return TRUE;
}

/* @method NULL: an account is set, or one removed; the latter may let nobody in */
static gboolean
edit_acl_method(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    const AccessChange *change = operation->access;
    AclSpec *acl = find_rule(operation, spec, ret_error);

    if (acl == NULL)
        return FALSE;
    if (change->method != NULL)
        return set_option(SCHEMA_ACL, "Authentication", acl, change->method, ret_error);
    return change->account_edit == ACCOUNT_REMOVE || change->credentials == NULL ||
           set_option(SCHEMA_ACL, "Authentication", acl, "CHAP", ret_error);
}

static gboolean
edit_delete(const Operation *operation, TargetSpec *spec, GError **ret_error)
{
    guint index;

    if (target_spec_find_acl(spec, operation->access->id, &index) != NULL)
        g_ptr_array_remove_index(spec->acls, index);
    return TRUE;
}

void
service_set_acl_luns(Service *service, const char *target_name, const char *acl_name,
                     const char *lun_map, const ChangeOptions *options, ServiceDoneFn done,
                     gpointer user_data)
{
    Operation *operation = operation_new(service, options, change_access, done, user_data);

    operation->text = g_strdup(lun_map);
    submit(operation, target_name, access_change_new(acl_name, NULL, NULL), edit_luns,
           "SetAclLunMap");
}

void
service_set_acl_read_only(Service *service, const char *target_name, const char *acl_name,
                          gboolean read_only, const ChangeOptions *options, ServiceDoneFn done,
                          gpointer user_data)
{
    Operation *operation = operation_new(service, options, change_access, done, user_data);

    operation->flag = read_only;
    submit(operation, target_name, access_change_new(acl_name, NULL, NULL), edit_read_only,
           "SetAclReadOnly");
}

void
service_set_acl_authentication(Service *service, const char *target_name, const char *acl_name,
                               const char *method, const ServiceAccount *account,
                               const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = operation_new(service, options, change_access, done, user_data);

    submit(operation, target_name, access_change_new(acl_name, method, account), edit_acl_method,
           "SetAclAuthentication");
}

void
acl_change_accounts(Service *service, const char *target_name, AccessChange *change,
                    const char *what, const ChangeOptions *options, ServiceDoneFn done,
                    gpointer user_data)
{
    Operation *operation = operation_new(service, options, change_access, done, user_data);

    submit(operation, target_name, change,
           change->id[0] == '\0' ? edit_target_method : edit_acl_method, what);
}

/* Its accounts go with it */
void
service_delete_acl(Service *service, const char *target_name, const char *acl_name,
                   gboolean terminate_sessions, const ChangeOptions *options, ServiceDoneFn done,
                   gpointer user_data)
{
    static const char no_account[] = "Target";
    Operation *operation = operation_new(service, options, change_access, done, user_data);
    AccessChange *change = access_change_new(acl_name, no_account, NULL);

    change->closes_denied = terminate_sessions;
    submit(operation, target_name, change, edit_delete, "DeleteAcl");
}

/*
 * For publish.c
 */

static void
add_network(const char *text, GArray *networks)
{
    Network network;

    if (network_parse(text, &network, NULL))
        g_array_append_val(networks, network);
}

static void
fill_place(const AclSpec *acl, AccessRule *rule)
{
    g_auto(GStrv) networks = acl_words_split(acl->networks);
    g_auto(GStrv) tags = strcmp(acl->portal_groups, "*") == 0 ? g_new0(char *, 1)
                                                              : acl_words_split(acl->portal_groups);
    GArray *found = g_array_new(FALSE, FALSE, sizeof(Network));

    for (guint i = 0; networks[i] != NULL; i++)
        add_network(networks[i], found);
    rule->n_networks = found->len;
    rule->networks = (Network *)(void *)g_array_free(found, FALSE);
    rule->n_tags = g_strv_length(tags);
    rule->tags = g_new0(guint16, rule->n_tags + 1);
    for (guint i = 0; i < rule->n_tags; i++)
        rule->tags[i] = (guint16)g_ascii_strtoull(tags[i], NULL, 10);
}

/* NULL: the target's */
static LunMap *
make_map(const AclSpec *acl, const LunMap *target_map)
{
    g_autoptr(GArray) luns = NULL;
    g_autofree AccessLun *wanted = NULL;

    if (acl->lun_map[0] == '\0')
        return acl->read_only ? access_map_new(target_map, NULL, 0, TRUE) : NULL;

    luns = acl_luns_parse(acl->lun_map);
    wanted = g_new0(AccessLun, luns->len);
    for (guint i = 0; i < luns->len; i++) {
        const AclLun *lun = &g_array_index(luns, AclLun, i);

        wanted[i] = (AccessLun){ .lun = lun->lun,
                                 .target_lun = lun->target_lun,
                                 .read_only = lun->read_only };
    }
    return access_map_new(target_map, wanted, luns->len, acl->read_only);
}

/* NULL: the rule fits nobody, because its group is empty or not there */
static char **
list_names(const Service *service, const AclSpec *acl)
{
    const ModelInitiatorGroup *group;

    if (acl->group[0] == '\0')
        return acl_words_split(acl->initiator);

    group = model_find_initiator_group(service->model, acl->group);
    return group != NULL && group->spec->initiators[0] != '\0'
               ? acl_words_split(group->spec->initiators)
               : NULL;
}

/*
 * A rule without portal groups fits nowhere. One whose networks cannot be read any more (an interface
 * has gone) allows nobody, but denies wherever they may be.
 */
static gboolean
fits_nowhere(const AclSpec *acl, const AccessRule *rule)
{
    return acl->portal_groups[0] == '\0' ||
           (acl->networks[0] != '\0' && rule->n_networks == 0 && !acl_spec_denies(acl));
}

static gboolean
make_rule(const Service *service, const ModelAcl *acl, const IscsiTarget *snapshot,
          AccessRule *ret_rule)
{
    const AclSpec *spec = model_acl_spec(acl);
    AccessRule rule = { .id = acl->id };

    rule.names = list_names(service, spec);
    if (rule.names == NULL)
        return FALSE;
    fill_place(spec, &rule);
    if (fits_nowhere(spec, &rule)) {
        access_rule_clear(&rule);
        return FALSE;
    }

    rule.label = g_strdup(acl->name);
    rule.action = acl_spec_denies(spec) ? ACCESS_DENY : ACCESS_ALLOW;
    if (strcmp(spec->authentication, "CHAP") == 0) {
        rule.auth = ACCESS_AUTH_CHAP;
        rule.credentials =
            credentials_ref(secrets_find(service, acl->target->spec->name, acl->name));
    } else {
        rule.auth =
            strcmp(spec->authentication, "None") == 0 ? ACCESS_AUTH_NONE : ACCESS_AUTH_TARGET;
    }
    rule.map = make_map(spec, snapshot->map);
    *ret_rule = rule;
    return TRUE;
}

void
acl_fill_snapshot(const Service *service, const ModelTarget *target, IscsiTarget *snapshot)
{
    snapshot->rules = g_new0(AccessRule, target->acls->len + 1);
    for (guint i = 0; i < target->acls->len; i++) {
        if (make_rule(service, g_ptr_array_index(target->acls, i), snapshot,
                      &snapshot->rules[snapshot->n_rules]))
            snapshot->n_rules++;
    }

    snapshot->wants_chap = strcmp(target->spec->authentication, "CHAP") == 0;
    if (snapshot->wants_chap)
        snapshot->credentials =
            credentials_ref(secrets_find(service, target->spec->name, SECRETS_OWN));
}
