/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Access rules, groups and accounts: operations, files, restarts, and who gets in */

#include <glib/gstdio.h>
#include <string.h>

#include "client.h"
#include "fixture.h"
#include "iscsi/chap.h"
#include "util/error.h"

#define CLIENT_NAME "iqn.2026-11.org.lunport:client" /* of client.c */
#define OTHER       "iqn.2026-11.org.lunport:other"
#define SECRET      "a secret of 12 bytes or more"
#define MUTUAL      "another secret of the target"

#define REFUSED_PROOF 0x0201
#define REFUSED_RULE  0x0202

static void
set_up_target(Fixture *fixture)
{
    fixture_add_ram(fixture, "d");
    fixture_add_target(fixture);
    fixture_add_lun(fixture, "d", 0);
    service_set_target_access_mode(fixture->service, TARGET, "closed", &fixture->options,
                                   fixture_on_done, fixture);
    fixture_finish(fixture);
}

static guint16
log_in_to(Fixture *fixture, const char *target, Client **ret_client)
{
    Client *client = fixture_connect(fixture);
    guint16 status = client_login(client, target);

    if (ret_client != NULL)
        *ret_client = client;
    else
        client_free(client);
    return status;
}

static guint16
log_in(Fixture *fixture, Client **ret_client)
{
    return log_in_to(fixture, TARGET, ret_client);
}

static AclSpec *
rule_for(const char *initiator)
{
    AclSpec *spec = acl_spec_new();

    g_free(spec->initiator);
    spec->initiator = g_strdup(initiator);
    return spec;
}

static void
start_add(Fixture *fixture, const AclSpec *spec, const ServiceAccount *account, guint flags)
{
    service_add_acl(fixture->service, TARGET, spec, flags, account, &fixture->options,
                    fixture_on_done, fixture);
}

static void
add_rule(Fixture *fixture, const char *initiator, const char *action)
{
    g_autoptr(AclSpec) spec = rule_for(initiator);

    g_free(spec->action);
    spec->action = g_strdup(action);
    start_add(fixture, spec, NULL, 0);
    fixture_finish(fixture);
}

static void
add_chap_rule(Fixture *fixture, const char *initiator)
{
    const ServiceAccount account = { "user", SECRET, NULL, NULL };
    g_autoptr(AclSpec) spec = rule_for(initiator);

    start_add(fixture, spec, &account, 0);
    fixture_finish(fixture);
}

static ModelAcl *
get_rule(Fixture *fixture, const char *name)
{
    ModelAcl *acl = model_find_acl(fixture_get_target(fixture), name);

    g_assert_nonnull(acl);
    return acl;
}

/* The names of rules decide, before and after a restart */
static void
test_allow(Fixture *fixture, gconstpointer data)
{
    set_up_target(fixture);
    g_assert_cmphex(log_in(fixture, NULL), ==, REFUSED_RULE);
    add_rule(fixture, CLIENT_NAME, "allow");
    g_assert_cmphex(log_in(fixture, NULL), ==, 0);
    fixture_restart(fixture);
    g_assert_cmphex(log_in(fixture, NULL), ==, 0);
    g_assert_cmpuint(fixture_get_target(fixture)->acls->len, ==, 1);
}

static void
test_deny_wins(Fixture *fixture, gconstpointer data)
{
    set_up_target(fixture);
    add_rule(fixture, CLIENT_NAME, "allow");
    add_rule(fixture, "iqn.2026-11.*", "deny");
    g_assert_cmphex(log_in(fixture, NULL), ==, REFUSED_RULE);
    service_delete_acl(fixture->service, TARGET, "iqn.2026-11.*", FALSE, &fixture->options,
                       fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_cmphex(log_in(fixture, NULL), ==, 0);
}

static void
test_network(Fixture *fixture, gconstpointer data)
{
    g_autoptr(AclSpec) spec = rule_for(CLIENT_NAME);

    set_up_target(fixture);
    g_free(spec->networks);
    spec->networks = g_strdup("192.0.2.0/24");
    start_add(fixture, spec, NULL, 0);
    fixture_finish(fixture);
    g_assert_cmphex(log_in(fixture, NULL), ==, REFUSED_RULE);

    g_free(spec->networks);
    spec->networks = g_strdup("192.0.2.0/24 127.0.0.0/8");
    start_add(fixture, spec, NULL, SERVICE_ACL_REPLACE);
    fixture_finish(fixture);
    g_assert_cmphex(log_in(fixture, NULL), ==, 0);
}

static void
test_twice(Fixture *fixture, gconstpointer data)
{
    g_autoptr(AclSpec) spec = rule_for(CLIENT_NAME);

    set_up_target(fixture);
    add_rule(fixture, CLIENT_NAME, "allow");
    start_add(fixture, spec, NULL, 0);
    fixture_finish_with(fixture, LUNPORT_ERROR_ALREADY_EXISTS);
    g_assert_cmpuint(fixture_get_target(fixture)->acls->len, ==, 1);
}

/* Read-only and a map of its own are what the initiator sees */
static void
test_luns(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;

    set_up_target(fixture);
    add_rule(fixture, CLIENT_NAME, "allow");
    service_set_acl_luns(fixture->service, TARGET, CLIENT_NAME, "7:0:read-only", &fixture->options,
                         fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_cmphex(log_in(fixture, &client), ==, 0);
    g_assert_cmpint(client_settle(client, 7), ==, 0);
    g_assert_cmpint(client_test_unit_ready(client, 0), !=, 0);
    g_assert_cmpint(client_write_nothing(client, 7), ==, 2);
    g_assert_cmphex(client->sense, ==, 0x072700);

    fixture_restart(fixture);
    g_assert_cmpstr(model_acl_spec(get_rule(fixture, CLIENT_NAME))->lun_map, ==, "7:0:read-only");
}

static void
test_read_only(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;

    set_up_target(fixture);
    add_rule(fixture, CLIENT_NAME, "allow");
    g_assert_cmphex(log_in(fixture, &client), ==, 0);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    g_assert_cmpint(client_write_nothing(client, 0), ==, 0);
    service_set_acl_read_only(fixture->service, TARGET, CLIENT_NAME, TRUE, &fixture->options,
                              fixture_on_done, fixture);
    fixture_finish(fixture);
    (void)client_settle(client, 0);
    g_assert_cmpint(client_write_nothing(client, 0), ==, 2);
    g_assert_cmphex(client->sense, ==, 0x072700);
}

static void
test_terminate(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;

    set_up_target(fixture);
    add_rule(fixture, CLIENT_NAME, "allow");
    g_assert_cmphex(log_in(fixture, &client), ==, 0);
    service_delete_acl(fixture->service, TARGET, CLIENT_NAME, TRUE, &fixture->options,
                       fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_true(client_wait_closed(client));
    g_assert_cmpuint(fixture_get_target(fixture)->acls->len, ==, 0);
}

static void
test_session_stays(Fixture *fixture, gconstpointer data)
{
    g_autoptr(Client) client = NULL;

    set_up_target(fixture);
    add_rule(fixture, CLIENT_NAME, "allow");
    g_assert_cmphex(log_in(fixture, &client), ==, 0);
    service_delete_acl(fixture->service, TARGET, CLIENT_NAME, FALSE, &fixture->options,
                       fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_cmpint(client_settle(client, 0), ==, 0);
    g_assert_cmphex(log_in(fixture, NULL), ==, REFUSED_RULE);
}

/*
 * Accounts
 */

static void
assert_no_secret(const char *text)
{
    if (text == NULL)
        return;
    g_assert_null(strstr(text, SECRET));
    g_assert_null(strstr(text, "secret of"));
}

static void
test_account(Fixture *fixture, gconstpointer data)
{
    g_autofree char *file = NULL;
    g_autofree char *secrets = NULL;

    set_up_target(fixture);
    add_chap_rule(fixture, CLIENT_NAME);
    g_assert_cmphex(log_in(fixture, NULL), ==, REFUSED_PROOF);
    g_assert_cmpstr(get_rule(fixture, CLIENT_NAME)->account.user, ==, "user");
    g_assert_cmpstr(model_acl_spec(get_rule(fixture, CLIENT_NAME))->authentication, ==, "CHAP");

    file = fixture_read(fixture, "targets", TARGET ".conf");
    secrets = fixture_read(fixture, "secrets", TARGET);
    g_assert_nonnull(strstr(file, "Authentication=CHAP"));
    assert_no_secret(file);
    g_assert_true(g_str_has_prefix(secrets, "lunport-secrets 1 plain\n"));

    fixture_restart(fixture);
    g_assert_cmpstr(get_rule(fixture, CLIENT_NAME)->account.user, ==, "user");
    g_assert_cmpuint(g_strv_length(service_get_model(fixture->service)->problems), ==, 1);
}

static void
test_account_goes_with_rule(Fixture *fixture, gconstpointer data)
{
    g_autofree char *secrets = NULL;

    set_up_target(fixture);
    add_chap_rule(fixture, CLIENT_NAME);
    service_delete_acl(fixture->service, TARGET, CLIENT_NAME, FALSE, &fixture->options,
                       fixture_on_done, fixture);
    fixture_finish(fixture);
    secrets = fixture_read(fixture, "secrets", TARGET);
    g_assert_null(secrets);
    g_assert_cmpuint(g_strv_length(service_get_model(fixture->service)->problems), ==, 0);
}

static void
set_target_method(Fixture *fixture, const char *method, const ServiceAccount *account)
{
    service_set_target_authentication(fixture->service, TARGET, method, account, &fixture->options,
                                      fixture_on_done, fixture);
}

static void
test_target_account(Fixture *fixture, gconstpointer data)
{
    const ServiceAccount account = { "user", SECRET, "target", MUTUAL };
    const ServiceAccount rotated = { .secret = "the next secret of the user" };
    g_autofree char *secrets = NULL;

    set_up_target(fixture);
    add_rule(fixture, "*", "allow");
    set_target_method(fixture, "CHAP", &account);
    fixture_finish(fixture);
    g_assert_cmphex(log_in(fixture, NULL), ==, REFUSED_PROOF);
    set_target_method(fixture, "CHAP", &rotated);
    fixture_finish(fixture);
    fixture_restart(fixture);
    g_assert_cmpstr(fixture_get_target(fixture)->account.user, ==, "user");
    g_assert_cmpstr(fixture_get_target(fixture)->account.mutual_user, ==, "target");

    set_target_method(fixture, "None", NULL);
    fixture_finish(fixture);
    g_assert_cmphex(log_in(fixture, NULL), ==, 0);
    secrets = fixture_read(fixture, "secrets", TARGET);
    g_assert_null(secrets);
}

static void
test_refused_accounts(Fixture *fixture, gconstpointer data)
{
    static const ServiceAccount wrong[] = {
        { NULL, NULL, NULL, NULL },         { "user", NULL, NULL, NULL },
        { NULL, SECRET, NULL, NULL },       { "user", "too short", NULL, NULL },
        { "user", SECRET, "target", NULL }, { "user", SECRET, "target", SECRET },
    };

    set_up_target(fixture);
    for (gsize i = 0; i < G_N_ELEMENTS(wrong); i++) {
        set_target_method(fixture, "CHAP", &wrong[i]);
        fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
        assert_no_secret(fixture->error->message);
    }
    set_target_method(fixture, "Kerberos", NULL);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
    g_assert_cmpstr(fixture_get_target(fixture)->spec->authentication, ==, "None");
}

/* The secret of one account must not be what the target proves itself with in another */
static void
test_reflection(Fixture *fixture, gconstpointer data)
{
    const ServiceAccount first = { "user", SECRET, "target", MUTUAL };
    const ServiceAccount second = { "other", MUTUAL, NULL, NULL };
    g_autoptr(AclSpec) spec = rule_for(OTHER);

    set_up_target(fixture);
    set_target_method(fixture, "CHAP", &first);
    fixture_finish(fixture);
    start_add(fixture, spec, &second, 0);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
}

/* Nor in an account of somebody else: RFC 7143 9.2.1 */
static void
test_reflection_elsewhere(Fixture *fixture, gconstpointer data)
{
    const ServiceAccount account = { "user", SECRET, "target", MUTUAL };
    const ServiceAccount wrong[] = { { "other", MUTUAL, NULL, NULL },
                                     { "other", "yet another secret", "discovery", SECRET } };
    const ServiceAccount right = { "user", SECRET, "target", MUTUAL };

    set_up_target(fixture);
    set_target_method(fixture, "CHAP", &account);
    fixture_finish(fixture);
    for (gsize i = 0; i < G_N_ELEMENTS(wrong); i++) {
        service_set_discovery_authentication(fixture->service, "CHAP", &wrong[i], &fixture->options,
                                             fixture_on_done, fixture);
        fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
        assert_no_secret(fixture->error->message);
    }
    service_set_discovery_authentication(fixture->service, "CHAP", &right, &fixture->options,
                                         fixture_on_done, fixture);
    fixture_finish(fixture);
}

static void
set_account(Fixture *fixture, const char *acl_name, const char *user, const char *secret)
{
    const ServiceAccountOwner owner = { TARGET, acl_name };
    const ServiceAccount account = { user, secret, NULL, NULL };

    service_set_account(fixture->service, &owner, &account, &fixture->options, fixture_on_done,
                        fixture);
}

static void
remove_account(Fixture *fixture, const char *acl_name, const char *user)
{
    const ServiceAccountOwner owner = { TARGET, acl_name };

    service_remove_account(fixture->service, &owner, user, &fixture->options, fixture_on_done,
                           fixture);
}

/* @acl_name: NULL: of the target */
static void
assert_users(Fixture *fixture, const char *acl_name, const char *wanted)
{
    const ModelAcl *acl = acl_name != NULL ? get_rule(fixture, acl_name) : NULL;
    const ModelAccount *account =
        acl != NULL ? &acl->account : &fixture_get_target(fixture)->account;
    g_autofree char *users = g_strjoinv(" ", account->users);

    g_assert_cmpstr(users, ==, wanted);
}

static void
test_several_accounts(Fixture *fixture, gconstpointer data)
{
    const ServiceAccount which = { .secret = "the secret of nobody" };
    const ServiceAccount second = { .user = "second", .secret = "the next of the second" };

    set_up_target(fixture);
    add_chap_rule(fixture, CLIENT_NAME);
    set_account(fixture, CLIENT_NAME, "second", "the secret of the second");
    fixture_finish(fixture);
    set_account(fixture, NULL, "of-target", "the secret of the target's");
    fixture_finish(fixture);
    set_account(fixture, NULL, "another", "the secret of another");
    fixture_finish(fixture);
    g_assert_cmpstr(fixture_get_target(fixture)->spec->authentication, ==, "CHAP");

    fixture_restart(fixture);
    assert_users(fixture, CLIENT_NAME, "user second");
    assert_users(fixture, NULL, "of-target another");

    /* Of several one must be named, and only that one changes */
    service_set_acl_authentication(fixture->service, TARGET, CLIENT_NAME, NULL, &which,
                                   &fixture->options, fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);
    service_set_acl_authentication(fixture->service, TARGET, CLIENT_NAME, NULL, &second,
                                   &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    assert_users(fixture, CLIENT_NAME, "user second");
}

static void
test_remove_accounts(Fixture *fixture, gconstpointer data)
{
    g_autofree char *secrets = NULL;

    set_up_target(fixture);
    add_chap_rule(fixture, CLIENT_NAME);
    set_account(fixture, CLIENT_NAME, "second", "the secret of the second");
    fixture_finish(fixture);
    remove_account(fixture, CLIENT_NAME, "third");
    fixture_finish_with(fixture, LUNPORT_ERROR_NO_SUCH_OBJECT);
    remove_account(fixture, CLIENT_NAME, "user");
    fixture_finish(fixture);
    fixture_restart(fixture);
    assert_users(fixture, CLIENT_NAME, "second");

    remove_account(fixture, CLIENT_NAME, "second");
    fixture_finish(fixture);
    assert_users(fixture, CLIENT_NAME, "");
    g_assert_cmpstr(model_acl_spec(get_rule(fixture, CLIENT_NAME))->authentication, ==, "CHAP");
    g_assert_cmphex(log_in(fixture, NULL), ==, REFUSED_PROOF);
    secrets = fixture_read(fixture, "secrets", TARGET);
    g_assert_null(secrets);
}

/* An account of this run does not get into the file with another, nor out of it */
static void
test_runtime_accounts(Fixture *fixture, gconstpointer data)
{
    set_up_target(fixture);
    set_account(fixture, NULL, "kept", "the secret that is kept");
    fixture_finish(fixture);
    fixture->options.persist = FALSE;
    set_account(fixture, NULL, "passing", "the secret of today");
    fixture_finish(fixture);
    remove_account(fixture, NULL, "kept");
    fixture_finish(fixture);
    fixture->options.persist = TRUE;
    set_account(fixture, NULL, "later", "another secret, kept");
    fixture_finish(fixture);
    assert_users(fixture, NULL, "passing later");

    fixture_restart(fixture);
    assert_users(fixture, NULL, "kept later");
}

/* A rule in the place of another has its own accounts only */
static void
test_replaced_accounts(Fixture *fixture, gconstpointer data)
{
    const ServiceAccount account = { "fresh", SECRET, NULL, NULL };
    g_autoptr(AclSpec) spec = rule_for(CLIENT_NAME);

    set_up_target(fixture);
    add_chap_rule(fixture, CLIENT_NAME);
    set_account(fixture, CLIENT_NAME, "second", "the secret of the second");
    fixture_finish(fixture);
    start_add(fixture, spec, &account, SERVICE_ACL_REPLACE);
    fixture_finish(fixture);
    assert_users(fixture, CLIENT_NAME, "fresh");
}

static void
test_removed_secret(Fixture *fixture, gconstpointer data)
{
    const ServiceAccount nothing = { .secret = "" };

    set_up_target(fixture);
    add_chap_rule(fixture, CLIENT_NAME);
    service_set_acl_authentication(fixture->service, TARGET, CLIENT_NAME, NULL, &nothing,
                                   &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_cmpstr(get_rule(fixture, CLIENT_NAME)->account.user, ==, "");
    g_assert_cmphex(log_in(fixture, NULL), ==, REFUSED_PROOF);
    g_assert_nonnull(fixture_get_target(fixture)->error);

    service_set_acl_authentication(fixture->service, TARGET, CLIENT_NAME, "None", NULL,
                                   &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_cmphex(log_in(fixture, NULL), ==, 0);
    g_assert_null(fixture_get_target(fixture)->error);
}

static void
test_runtime_secret(Fixture *fixture, gconstpointer data)
{
    const ServiceAccount account = { "user", SECRET, NULL, NULL };
    g_autofree char *secrets = NULL;

    set_up_target(fixture);
    fixture->options.persist = FALSE;
    set_target_method(fixture, "CHAP", &account);
    fixture_finish(fixture);
    fixture->options.persist = TRUE;
    secrets = fixture_read(fixture, "secrets", TARGET);
    g_assert_null(secrets);
    g_assert_cmpstr(fixture_get_target(fixture)->account.user, ==, "user");
    fixture_restart(fixture);
    g_assert_cmpstr(fixture_get_target(fixture)->account.user, ==, "");
    g_assert_cmpstr(fixture_get_target(fixture)->spec->authentication, ==, "None");
}

static void
test_dry_run(Fixture *fixture, gconstpointer data)
{
    const ServiceAccount account = { "user", SECRET, NULL, NULL };
    g_autoptr(AclSpec) spec = rule_for(CLIENT_NAME);
    g_autofree char *secrets = NULL;
    guint64 generation;

    set_up_target(fixture);
    generation = service_get_model(fixture->service)->generation;
    fixture->options.dry_run = TRUE;
    start_add(fixture, spec, &account, 0);
    fixture_finish(fixture);
    g_assert_null(fixture->object);
    secrets = fixture_read(fixture, "secrets", TARGET);
    g_assert_null(secrets);
    g_assert_cmpuint(fixture_get_target(fixture)->acls->len, ==, 0);
    g_assert_cmpuint(service_get_model(fixture->service)->generation, ==, generation);
}

/* What was damaged lets nobody in, says so, and is not written over */
static void
test_damaged(Fixture *fixture, gconstpointer data)
{
    const ServiceAccount account = { "user", SECRET, NULL, NULL };
    g_autofree char *path = NULL;
    g_autofree char *after = NULL;

    set_up_target(fixture);
    add_chap_rule(fixture, CLIENT_NAME);
    fixture_stop(fixture);
    path = g_build_filename(fixture->state_dir, "secrets", TARGET, NULL);
    g_assert_true(g_file_set_contents(path, "lunport-secrets 1 plain\nAAAA\n", -1, NULL));
    fixture_start(fixture);

    g_assert_nonnull(fixture_get_target(fixture)->error);
    g_assert_cmphex(log_in(fixture, NULL), ==, REFUSED_PROOF);
    set_target_method(fixture, "CHAP", &account);
    fixture_finish_with(fixture, LUNPORT_ERROR_STORAGE_ERROR);
    after = fixture_read(fixture, "secrets", TARGET);
    g_assert_cmpstr(after, ==, "lunport-secrets 1 plain\nAAAA\n");
}

static void
set_key(Fixture *fixture, const char *key)
{
    fixture_write(fixture->base, "lunport.key", key);
    g_free(fixture->credentials_dir);
    fixture->credentials_dir = g_strdup(fixture->base);
    fixture_restart(fixture);
}

static gboolean
has_no_problem(Fixture *fixture)
{
    return service_get_model(fixture->service)->problems[0] == NULL;
}

static gboolean
has_problem(Fixture *fixture)
{
    return !has_no_problem(fixture);
}

/* With a key files are sealed, also those that were there before; without it they are of no use */
static void
test_sealed(Fixture *fixture, gconstpointer data)
{
    g_autofree char *secrets = NULL;

    set_up_target(fixture);
    add_chap_rule(fixture, CLIENT_NAME);
    set_key(fixture, "32 bytes or more of random, say a die");
    g_assert_cmpstr(get_rule(fixture, CLIENT_NAME)->account.user, ==, "user");
    g_assert_cmpuint(g_strv_length(service_get_model(fixture->service)->problems), ==, 0);
    add_chap_rule(fixture, OTHER);
    secrets = fixture_read(fixture, "secrets", TARGET);
    g_assert_true(g_str_has_prefix(secrets, "lunport-secrets 1 aes-256-gcm\n"));

    set_key(fixture, "another key of 32 bytes or more, alas");
    g_assert_cmpstr(get_rule(fixture, CLIENT_NAME)->account.user, ==, "");
    g_assert_nonnull(fixture_get_target(fixture)->error);
    g_assert_cmphex(log_in(fixture, NULL), ==, REFUSED_PROOF);

    set_key(fixture, "32 bytes or more of random, say a die");
    g_assert_cmpstr(get_rule(fixture, CLIENT_NAME)->account.user, ==, "user");
    g_assert_cmpstr(get_rule(fixture, OTHER)->account.user, ==, "user");
}

/* Nobody may take a file for sealed that is not: the problem stays until it is, and a reload tries again */
static void
test_sealed_in_vain(Fixture *fixture, gconstpointer data)
{
    g_autofree char *in_the_way = NULL;
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;

    set_up_target(fixture);
    add_chap_rule(fixture, CLIENT_NAME);
    in_the_way = g_build_filename(fixture->state_dir, "secrets", "." TARGET ".tmp", NULL);
    g_assert_cmpint(g_mkdir(in_the_way, 0700), ==, 0);
    set_key(fixture, "32 bytes or more of random, say a die");
    fixture_wait(fixture, has_problem);
    before = fixture_read(fixture, "secrets", TARGET);
    g_assert_true(g_str_has_prefix(before, "lunport-secrets 1 plain\n"));

    g_assert_cmpint(g_rmdir(in_the_way), ==, 0);
    service_reload(fixture->service, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    fixture_wait(fixture, has_no_problem);
    after = fixture_read(fixture, "secrets", TARGET);
    g_assert_true(g_str_has_prefix(after, "lunport-secrets 1 aes-256-gcm\n"));
    g_assert_cmpstr(get_rule(fixture, CLIENT_NAME)->account.user, ==, "user");
}

/* A new target of the same name begins without the old one's accounts */
static void
test_forgotten(Fixture *fixture, gconstpointer data)
{
    g_autofree char *secrets = NULL;

    set_up_target(fixture);
    add_chap_rule(fixture, CLIENT_NAME);
    service_delete_target(fixture->service, TARGET, TRUE, &fixture->options, fixture_on_done,
                          fixture);
    fixture_finish(fixture);
    fixture_add_target(fixture);
    add_rule(fixture, OTHER, "allow");
    secrets = fixture_read(fixture, "secrets", TARGET);
    g_assert_null(secrets);
}

/*
 * Groups
 */

static void
create_group(Fixture *fixture, const char *name, const char *initiators)
{
    g_autoptr(InitiatorGroupSpec) spec = initiator_group_spec_new(name);

    g_free(spec->initiators);
    spec->initiators = g_strdup(initiators);
    service_create_initiator_group(fixture->service, spec, &fixture->options, fixture_on_done,
                                   fixture);
}

static void
add_group_rule(Fixture *fixture, const char *group)
{
    g_autoptr(AclSpec) spec = acl_spec_new();

    g_free(spec->group);
    spec->group = g_strdup(group);
    start_add(fixture, spec, NULL, 0);
}

static void
test_group(Fixture *fixture, gconstpointer data)
{
    static const char *const names[] = { "IQN.2026-11.org.lunport:CLIENT", NULL };

    set_up_target(fixture);
    create_group(fixture, "g", "");
    fixture_finish(fixture);
    add_group_rule(fixture, "g");
    fixture_finish(fixture);
    g_assert_cmphex(log_in(fixture, NULL), ==, REFUSED_RULE);

    service_change_initiator_group(fixture->service, "g", names, NULL, &fixture->options,
                                   fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_cmphex(log_in(fixture, NULL), ==, 0);
    fixture_restart(fixture);
    g_assert_cmphex(log_in(fixture, NULL), ==, 0);

    service_change_initiator_group(fixture->service, "g", NULL, names, &fixture->options,
                                   fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_cmphex(log_in(fixture, NULL), ==, REFUSED_RULE);
}

static void
test_group_in_use(Fixture *fixture, gconstpointer data)
{
    set_up_target(fixture);
    add_group_rule(fixture, "g");
    fixture_finish_with(fixture, LUNPORT_ERROR_NO_SUCH_OBJECT);
    create_group(fixture, "g", OTHER);
    fixture_finish(fixture);
    create_group(fixture, "g", OTHER);
    fixture_finish_with(fixture, LUNPORT_ERROR_ALREADY_EXISTS);
    add_group_rule(fixture, "g");
    fixture_finish(fixture);
    service_delete_initiator_group(fixture->service, "g", &fixture->options, fixture_on_done,
                                   fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_IN_USE);
    service_delete_acl(fixture->service, TARGET, "@g", FALSE, &fixture->options, fixture_on_done,
                       fixture);
    fixture_finish(fixture);
    service_delete_initiator_group(fixture->service, "g", &fixture->options, fixture_on_done,
                                   fixture);
    fixture_finish(fixture);
    fixture_restart(fixture);
    g_assert_null(model_find_initiator_group(service_get_model(fixture->service), "g"));
}

/* The rule comes back with the next start, and one that denies must not fit nobody then */
static void
test_group_in_use_by_a_file(Fixture *fixture, gconstpointer data)
{
    set_up_target(fixture);
    create_group(fixture, "g", OTHER);
    fixture_finish(fixture);
    add_group_rule(fixture, "g");
    fixture_finish(fixture);
    fixture->options.persist = FALSE;
    service_delete_acl(fixture->service, TARGET, "@g", FALSE, &fixture->options, fixture_on_done,
                       fixture);
    fixture_finish(fixture);
    fixture->options.persist = TRUE;
    service_delete_initiator_group(fixture->service, "g", &fixture->options, fixture_on_done,
                                   fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_IN_USE);
}

/*
 * What holds for all
 */

static void
test_settings(Fixture *fixture, gconstpointer data)
{
    const ServiceAccount account = { "user", SECRET, NULL, NULL };
    g_autofree char *file = NULL;

    service_set_discovery_authentication(fixture->service, "CHAP", &account, &fixture->options,
                                         fixture_on_done, fixture);
    fixture_finish(fixture);
    service_set_chap_algorithms(fixture->service, "SHA-256 SHA3-256", &fixture->options,
                                fixture_on_done, fixture);
    fixture_finish(fixture);
    service_set_chap_algorithms(fixture->service, "ROT13", &fixture->options, fixture_on_done,
                                fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_INVALID_ARGUMENT);

    fixture_restart(fixture);
    g_assert_cmpstr(service_get_model(fixture->service)->settings->chap_algorithms, ==,
                    "SHA-256 SHA3-256");
    g_assert_cmpstr(service_get_model(fixture->service)->discovery_account.user, ==, "user");
    file = fixture_read(fixture, "service", "service.conf");
    assert_no_secret(file);

    service_set_discovery_authentication(fixture->service, "None", NULL, &fixture->options,
                                         fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_cmpstr(service_get_model(fixture->service)->discovery_account.user, ==, "");
}

/* Nothing can be put in the place of the file of @owner's secrets any more */
static char *
block_secrets(Fixture *fixture, const char *owner)
{
    char *path = g_build_filename(fixture->state_dir, "secrets", owner, NULL);
    g_autofree char *inside = g_build_filename(path, "inside", NULL);

    (void)g_unlink(path);
    g_assert_cmpint(g_mkdir_with_parents(inside, 0700), ==, 0);
    return path;
}

static void
unblock_secrets(const char *path)
{
    g_autofree char *inside = g_build_filename(path, "inside", NULL);

    g_assert_cmpint(g_rmdir(inside), ==, 0);
    g_assert_cmpint(g_rmdir(path), ==, 0);
}

/* What the model says holds, also when the file of the account that goes could not be removed */
static void
test_discovery_without_file(Fixture *fixture, gconstpointer data)
{
    const ServiceAccount account = { "user", SECRET, NULL, NULL };
    g_autofree char *path = NULL;

    service_set_discovery_authentication(fixture->service, "CHAP", &account, &fixture->options,
                                         fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_cmphex(log_in_to(fixture, NULL, NULL), ==, REFUSED_PROOF);
    path = block_secrets(fixture, "discovery");
    service_set_discovery_authentication(fixture->service, "None", NULL, &fixture->options,
                                         fixture_on_done, fixture);
    fixture_finish_with(fixture, LUNPORT_ERROR_STORAGE_ERROR);
    g_assert_cmpstr(service_get_model(fixture->service)->settings->discovery_authentication, ==,
                    "None");
    g_assert_cmphex(log_in_to(fixture, NULL, NULL), ==, 0);
    unblock_secrets(path);
}

/* A key that is there and no good is no reason to store secrets without one */
static void
test_unusable_key(Fixture *fixture, gconstpointer data)
{
    const ServiceAccount account = { "user", SECRET, NULL, NULL };
    g_autofree char *secrets = NULL;

    set_up_target(fixture);
    set_key(fixture, "too short");
    g_assert_cmpuint(g_strv_length(service_get_model(fixture->service)->problems), ==, 1);
    set_target_method(fixture, "CHAP", &account);
    fixture_finish_with(fixture, LUNPORT_ERROR_STORAGE_ERROR);
    secrets = fixture_read(fixture, "secrets", TARGET);
    g_assert_null(secrets);
    g_assert_cmpstr(fixture_get_target(fixture)->spec->authentication, ==, "None");

    fixture->options.persist = FALSE;
    set_target_method(fixture, "CHAP", &account);
    fixture_finish(fixture);
}

static void
hide_secrets(Fixture *fixture)
{
    fixture_hide(fixture, "secrets");
}

/* While it is not known what accounts there are, none is written over */
static void
test_unreadable_folder(Fixture *fixture, gconstpointer data)
{
    const ServiceAccount account = { "user", SECRET, NULL, NULL };

    set_up_target(fixture);
    add_chap_rule(fixture, OTHER);
    fixture->before_start = hide_secrets;
    fixture_restart(fixture);
    fixture->before_start = NULL;
    fixture_show(fixture, "secrets");
    set_target_method(fixture, "CHAP", &account);
    fixture_finish_with(fixture, LUNPORT_ERROR_STORAGE_ERROR);
    fixture_restart(fixture);
    g_assert_cmpstr(get_rule(fixture, OTHER)->account.user, ==, "user");
}

/* The words that the model accepts are those that the data plane knows */
static void
test_algorithm_words(void)
{
    g_autofree char *all = g_strdup("");

    for (guint i = 0; i < CHAP_ALGORITHM_N; i++) {
        g_autofree char *before = all;

        all = g_strjoin(before[0] != '\0' ? " " : "", before, chap_algorithm_name((ChapAlgorithm)i),
                        NULL);
    }
    g_assert_cmpstr(all, ==, SETTINGS_ALGORITHM_ALL);
}

/* Files of the administrator: rules and settings, and a secret that is set besides */
static void
test_config_files(Fixture *fixture, gconstpointer data)
{
    const ServiceAccount account = { "user", SECRET, NULL, NULL };

    fixture_stop(fixture);
    fixture_write(fixture->config_dir, "t.conf",
                  "[Target]\nName=" TARGET "\nEnabled=yes\n"
                  "[Acl 1]\nGroup=nodes\nReadOnly=yes\n"
                  "[Acl 2]\nInitiator=" OTHER "\nAuthentication=CHAP\n");
    fixture_write(fixture->config_dir, "nodes.conf",
                  "[InitiatorGroup]\nName=nodes\nInitiators=" CLIENT_NAME "\n");
    fixture_write(fixture->config_dir, "service.conf", "[Service]\nChapAlgorithms=SHA-256\n");
    fixture_start(fixture);
    g_assert_cmphex(log_in(fixture, NULL), ==, 0);
    g_assert_cmpstr(service_get_model(fixture->service)->settings->chap_algorithms, ==, "SHA-256");
    g_assert_nonnull(fixture_get_target(fixture)->error);

    set_target_method(fixture, "CHAP", &account);
    fixture_finish_with(fixture, LUNPORT_ERROR_READ_ONLY_CONFIGURATION);
    service_set_acl_authentication(fixture->service, TARGET, OTHER, NULL, &account,
                                   &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    fixture_restart(fixture);
    g_assert_cmpstr(get_rule(fixture, OTHER)->account.user, ==, "user");
    g_assert_null(fixture_get_target(fixture)->error);
}

static void
test_reload(Fixture *fixture, gconstpointer data)
{
    set_up_target(fixture);
    create_group(fixture, "g", OTHER);
    fixture_finish(fixture);
    add_group_rule(fixture, "g");
    fixture_finish(fixture);
    g_assert_cmphex(log_in(fixture, NULL), ==, REFUSED_RULE);
    {
        g_autofree char *folder = g_build_filename(fixture->state_dir, "initiator-groups", NULL);

        fixture_write(folder, "g.conf", "[InitiatorGroup]\nName=g\nInitiators=" CLIENT_NAME "\n");
    }
    service_reload(fixture->service, &fixture->options, fixture_on_done, fixture);
    fixture_finish(fixture);
    g_assert_cmphex(log_in(fixture, NULL), ==, 0);
}

typedef struct {
    guint n;
    char *cure;
    char *rule;
    guint16 status;
} Rejections;

static void
on_rejection(const ServiceRejection *rejection, gpointer data)
{
    Rejections *seen = data;

    seen->n++;
    g_free(seen->cure);
    g_free(seen->rule);
    seen->cure = g_strdup(rejection->cure);
    seen->rule = g_strdup(rejection->rule);
    seen->status = rejection->status;
}

static void
wait_for_rejections(const Rejections *seen, guint n)
{
    while (seen->n < n)
        (void)g_main_context_iteration(NULL, TRUE);
}

/* What an administrator reads says which command lets the initiator in */
static void
test_rejection(Fixture *fixture, gconstpointer data)
{
    Rejections seen = { 0 };

    set_up_target(fixture);
    service_set_rejection_fn(fixture->service, on_rejection, &seen);
    (void)log_in(fixture, NULL);
    wait_for_rejections(&seen, 1);
    g_assert_cmpstr(seen.cure, ==, "lunctl access allow " TARGET " " CLIENT_NAME);
    g_assert_cmphex(seen.status, ==, REFUSED_RULE);

    add_chap_rule(fixture, CLIENT_NAME);
    (void)log_in(fixture, NULL);
    wait_for_rejections(&seen, 2);
    g_assert_cmpstr(seen.cure, ==, "lunctl access secret " TARGET " '" CLIENT_NAME "'");
    g_assert_cmphex(seen.status, ==, REFUSED_PROOF);
    service_set_rejection_fn(fixture->service, NULL, NULL);
    g_free(seen.cure);
    g_free(seen.rule);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/control/acl/algorithm-words", test_algorithm_words);
    fixture_add("/control/acl/allow", test_allow);
    fixture_add("/control/acl/deny-wins", test_deny_wins);
    fixture_add("/control/acl/network", test_network);
    fixture_add("/control/acl/twice", test_twice);
    fixture_add("/control/acl/luns", test_luns);
    fixture_add("/control/acl/read-only", test_read_only);
    fixture_add("/control/acl/terminate", test_terminate);
    fixture_add("/control/acl/session-stays", test_session_stays);
    fixture_add("/control/acl/account", test_account);
    fixture_add("/control/acl/account-goes-with-rule", test_account_goes_with_rule);
    fixture_add("/control/acl/target-account", test_target_account);
    fixture_add("/control/acl/refused-accounts", test_refused_accounts);
    fixture_add("/control/acl/several-accounts", test_several_accounts);
    fixture_add("/control/acl/remove-accounts", test_remove_accounts);
    fixture_add("/control/acl/runtime-accounts", test_runtime_accounts);
    fixture_add("/control/acl/replaced-accounts", test_replaced_accounts);
    fixture_add("/control/acl/reflection", test_reflection);
    fixture_add("/control/acl/reflection-elsewhere", test_reflection_elsewhere);
    fixture_add("/control/acl/removed-secret", test_removed_secret);
    fixture_add("/control/acl/runtime-secret", test_runtime_secret);
    fixture_add("/control/acl/dry-run", test_dry_run);
    fixture_add("/control/acl/damaged", test_damaged);
    fixture_add("/control/acl/sealed", test_sealed);
    fixture_add("/control/acl/sealed-in-vain", test_sealed_in_vain);
    fixture_add("/control/acl/forgotten", test_forgotten);
    fixture_add("/control/acl/group", test_group);
    fixture_add("/control/acl/group-in-use", test_group_in_use);
    fixture_add("/control/acl/group-in-use-by-a-file", test_group_in_use_by_a_file);
    fixture_add("/control/acl/settings", test_settings);
    fixture_add("/control/acl/discovery-without-file", test_discovery_without_file);
    fixture_add("/control/acl/unusable-key", test_unusable_key);
    fixture_add("/control/acl/unreadable-folder", test_unreadable_folder);
    fixture_add("/control/acl/config-files", test_config_files);
    fixture_add("/control/acl/reload", test_reload);
    fixture_add("/control/acl/rejection", test_rejection);
    return g_test_run();
}
