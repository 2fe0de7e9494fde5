/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Who may do what, with an authority that answers as the test says
 *
 * The fake polkit is a second connection to the private bus that owns polkit's
 * name, notes what it is asked, and answers, or does not. A caller with
 * another uid is this program again, started as root with --call: it gives its
 * rights away before it connects. Without root those tests are skipped.
 */

#include <string.h>
#include <unistd.h>

#include "fake-service.h"
#include "harness.h"
#include "model/job.h"
#include "util/error.h"

#define MANAGER     "/org/lunport1/Manager"
#define TARGET_NAME "iqn.2024-01.com.example:a"
#define TARGET      "/org/lunport1/targets/iqn_2e2024_2d01_2ecom_2eexample_3aa"
#define NOBODY      65534

#define ACCESS_DENIED        "org.freedesktop.DBus.Error.AccessDenied"
#define INTERACTION_REQUIRED "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"

typedef enum {
    ANSWER_YES,
    ANSWER_NO,
    ANSWER_CHALLENGE, /* as polkit does when a password is needed and may not be asked for */
    ANSWER_ERROR,
    ANSWER_NEVER,
} AnswerKind;

typedef struct {
    GDBusConnection *connection;
    GDBusNodeInfo *node;
    guint registration;
    guint name;
    gboolean acquired;
    AnswerKind answer;
    guint n_asked;
    GVariant *asked; /* the last question */
    GPtrArray *open; /* of GDBusMethodInvocation: not answered */
    char *canceled;  /* the last cancellation id */
} Polkit;

typedef struct {
    Harness harness;
    Service *service;
    Polkit polkit;
    const char *self;
} Fixture;

static const char polkit_xml[] =
    "<node><interface name='org.freedesktop.PolicyKit1.Authority'>"
    " <method name='CheckAuthorization'>"
    "  <arg type='(sa{sv})' direction='in'/><arg type='s' direction='in'/>"
    "  <arg type='a{ss}' direction='in'/><arg type='u' direction='in'/>"
    "  <arg type='s' direction='in'/><arg type='(bba{ss})' direction='out'/>"
    " </method>"
    " <method name='CancelCheckAuthorization'><arg type='s' direction='in'/></method>"
    "</interface></node>";

static void
answer_question(Polkit *polkit, GDBusMethodInvocation *invocation)
{
    switch (polkit->answer) {
    case ANSWER_NEVER:
        g_ptr_array_add(polkit->open, invocation);
        break;
    case ANSWER_ERROR:
        g_dbus_method_invocation_return_dbus_error(
            invocation, "org.freedesktop.PolicyKit1.Error.Failed", "Only trusted callers");
        break;
    case ANSWER_YES:
    case ANSWER_NO:
    case ANSWER_CHALLENGE:
        g_dbus_method_invocation_return_value(
            invocation, g_variant_new("((bba{ss}))", polkit->answer == ANSWER_YES,
                                      polkit->answer == ANSWER_CHALLENGE, NULL));
        break;
    }
}

static void
on_polkit_call(GDBusConnection *connection, const char *sender, const char *path,
               const char *interface, const char *method, GVariant *parameters,
               GDBusMethodInvocation *invocation, gpointer data)
{
    Polkit *polkit = data;

    if (g_str_equal(method, "CancelCheckAuthorization")) {
        g_free(polkit->canceled);
        g_variant_get(parameters, "(s)", &polkit->canceled);
        g_dbus_method_invocation_return_value(invocation, NULL);
        return;
    }

    polkit->n_asked++;
    g_clear_pointer(&polkit->asked, g_variant_unref);
    polkit->asked = g_variant_ref(parameters);
    answer_question(polkit, invocation);
}

static void
on_polkit_name(GDBusConnection *connection, const char *name, gpointer data)
{
    *(gboolean *)data = TRUE;
}

static gboolean
is_true(gpointer data)
{
    return *(gboolean *)data;
}

static gboolean
is_set(gpointer data)
{
    return *(gpointer *)data != NULL;
}

static void
polkit_up(Fixture *fixture, AnswerKind answer)
{
    static const GDBusInterfaceVTable vtable = { .method_call = on_polkit_call };
    Polkit *polkit = &fixture->polkit;
    g_autoptr(GError) error = NULL;

    polkit->answer = answer;
    polkit->open = g_ptr_array_new();
    polkit->connection =
        g_dbus_connection_new_for_address_sync(fixture->harness.bus.address,
                                               G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
                                                   G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
                                               NULL, NULL, &error);
    g_assert_no_error(error);
    polkit->node = g_dbus_node_info_new_for_xml(polkit_xml, &error);
    g_assert_no_error(error);
    polkit->registration = g_dbus_connection_register_object(
        polkit->connection, "/org/freedesktop/PolicyKit1/Authority", polkit->node->interfaces[0],
        &vtable, polkit, NULL, &error);
    g_assert_no_error(error);
    polkit->name = g_bus_own_name_on_connection(polkit->connection, "org.freedesktop.PolicyKit1",
                                                G_BUS_NAME_OWNER_FLAGS_NONE, on_polkit_name, NULL,
                                                &polkit->acquired, NULL);
    wait_until(is_true, &polkit->acquired);
}

static void
polkit_down(Polkit *polkit)
{
    if (polkit->connection == NULL)
        return;

    for (guint i = 0; i < polkit->open->len; i++)
        g_dbus_method_invocation_return_dbus_error(polkit->open->pdata[i], "org.example.Gone", "");
    g_ptr_array_unref(polkit->open);
    g_bus_unown_name(polkit->name);
    g_dbus_connection_unregister_object(polkit->connection, polkit->registration);
    g_dbus_node_info_unref(polkit->node);
    g_assert_true(g_dbus_connection_close_sync(polkit->connection, NULL, NULL));
    g_object_unref(polkit->connection);
    g_clear_pointer(&polkit->asked, g_variant_unref);
    g_clear_pointer(&polkit->canceled, g_free);
}

static void
set_up(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GVariant) reply = NULL;

    fixture->self = data;
    fixture->service = fake_service_new();
    harness_up(&fixture->harness, fixture->service);
    reply = harness_call_ok(&fixture->harness, MANAGER, "Manager.CreateTarget",
                            g_variant_new("(s@a{sv})", TARGET_NAME, no_options()));
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    polkit_down(&fixture->polkit);
    harness_down(&fixture->harness);
    fake_service_free(fixture->service);
}

static gboolean
must_skip(void)
{
    if (geteuid() == 0)
        return FALSE;

    g_test_skip("callers with another uid need root");
    return TRUE;
}

/* Start a caller; @interactive lets polkit ask for a password */
static GSubprocess *
start_caller(Fixture *fixture, const char *path, const char *method, const char *parameters,
             gboolean interactive)
{
    g_autoptr(GError) error = NULL;
    GSubprocess *caller = g_subprocess_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE, &error, fixture->self,
                                           "--call", fixture->harness.bus.address, path, method,
                                           parameters, interactive ? "yes" : "no", NULL);

    g_assert_no_error(error);
    return caller;
}

typedef struct {
    char *output;
    gboolean done;
} Outcome;

static void
on_output(GObject *source, GAsyncResult *result, gpointer data)
{
    Outcome *outcome = data;
    g_autoptr(GError) error = NULL;

    g_assert_true(g_subprocess_communicate_utf8_finish(G_SUBPROCESS(source), result,
                                                       &outcome->output, NULL, &error));
    outcome->done = TRUE;
}

static gboolean
is_done(gpointer data)
{
    return ((Outcome *)data)->done;
}

/* “ok” or the name of the error */
static char *
finish_caller(GSubprocess *caller)
{
    Outcome outcome = { 0 };

    g_subprocess_communicate_utf8_async(caller, NULL, NULL, on_output, &outcome);
    wait_until(is_done, &outcome);
    g_object_unref(caller);
    return outcome.output;
}

static void
assert_outcome(Fixture *fixture, const char *path, const char *method, const char *parameters,
               gboolean interactive, const char *expected)
{
    g_autofree char *output =
        finish_caller(start_caller(fixture, path, method, parameters, interactive));

    g_assert_cmpstr(output, ==, expected);
}

static void
assert_enable(Fixture *fixture, gboolean interactive, const char *expected)
{
    assert_outcome(fixture, TARGET, "org.lunport1.Target.Enable", "(@a{sv} {},)", interactive,
                   expected);
}

static gboolean
is_enabled(Fixture *fixture)
{
    return model_find_target(service_get_model(fixture->service), TARGET_NAME)->spec->enabled;
}

static void
test_owner_is_not_asked_about(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GVariant) reply = NULL;

    polkit_up(fixture, ANSWER_NO);
    reply = harness_call_ok(&fixture->harness, TARGET, "Target.Enable",
                            g_variant_new("(@a{sv})", no_options()));
    g_assert_cmpuint(fixture->polkit.n_asked, ==, 0);
}

static void
test_reads_are_open(Fixture *fixture, gconstpointer data)
{
    if (must_skip())
        return;

    polkit_up(fixture, ANSWER_NO);
    assert_outcome(fixture, MANAGER, "org.lunport1.Manager.ListTargets", "(@a{sv} {},)", FALSE,
                   "ok");
    g_assert_cmpuint(fixture->polkit.n_asked, ==, 0);
}

static void
test_allowed(Fixture *fixture, gconstpointer data)
{
    if (must_skip())
        return;

    polkit_up(fixture, ANSWER_YES);
    assert_enable(fixture, FALSE, "ok");
    g_assert_cmpuint(fixture->polkit.n_asked, ==, 1);
    g_assert_true(is_enabled(fixture));
    g_assert_nonnull(strstr(fake_service_last(fixture->service), "uid=65534"));
}

static void
test_denied(Fixture *fixture, gconstpointer data)
{
    if (must_skip())
        return;

    polkit_up(fixture, ANSWER_NO);
    assert_enable(fixture, TRUE, ACCESS_DENIED);
    g_assert_false(is_enabled(fixture));
}

static void
test_challenge(Fixture *fixture, gconstpointer data)
{
    if (must_skip())
        return;

    polkit_up(fixture, ANSWER_CHALLENGE);
    assert_enable(fixture, FALSE, INTERACTION_REQUIRED);
    assert_enable(fixture, TRUE, ACCESS_DENIED);
    g_assert_false(is_enabled(fixture));
}

static void
test_absent(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GVariant) reply = NULL;

    if (must_skip())
        return;

    assert_enable(fixture, FALSE, ACCESS_DENIED);
    g_assert_false(is_enabled(fixture));
    reply = harness_call_ok(&fixture->harness, TARGET, "Target.Enable",
                            g_variant_new("(@a{sv})", no_options()));
    g_assert_true(is_enabled(fixture));
}

static void
test_failing_authority_is_a_refusal(Fixture *fixture, gconstpointer data)
{
    if (must_skip())
        return;

    polkit_up(fixture, ANSWER_ERROR);
    g_test_expect_message(G_LOG_DOMAIN, G_LOG_LEVEL_WARNING, "Failed to ask polkit*");
    assert_enable(fixture, FALSE, ACCESS_DENIED);
    g_test_assert_expected_messages();
    assert_enable(fixture, FALSE, ACCESS_DENIED); /* not logged again */
}

static void
assert_detail(const Fixture *fixture, const char *name, const char *expected)
{
    g_autoptr(GVariant) details = g_variant_get_child_value(fixture->polkit.asked, 2);
    const char *value = NULL;

    (void)g_variant_lookup(details, name, "&s", &value);
    g_assert_cmpstr(value, ==, expected);
}

static void
assert_action(const Fixture *fixture, const char *expected)
{
    const char *action;

    g_variant_get_child(fixture->polkit.asked, 1, "&s", &action);
    g_assert_cmpstr(action, ==, expected);
}

static void
test_question(Fixture *fixture, gconstpointer data)
{
    guint32 flags;

    if (must_skip())
        return;

    polkit_up(fixture, ANSWER_YES);
    assert_enable(fixture, TRUE, "ok");
    assert_action(fixture, "org.lunport1.manage-targets");
    assert_detail(fixture, "target", TARGET_NAME);
    assert_detail(fixture, "operation", "Target.Enable");
    g_variant_get_child(fixture->polkit.asked, 3, "u", &flags);
    g_assert_cmpuint(flags, ==, 1);

    assert_enable(fixture, FALSE, "ok");
    g_variant_get_child(fixture->polkit.asked, 3, "u", &flags);
    g_assert_cmpuint(flags, ==, 0);
}

static void
test_details_of_what_is_created(Fixture *fixture, gconstpointer data)
{
    if (must_skip())
        return;

    polkit_up(fixture, ANSWER_NO);
    assert_outcome(fixture, MANAGER, "org.lunport1.Manager.CreateTarget",
                   "('IQN.2024-01.com.example:B', @a{sv} {})", FALSE, ACCESS_DENIED);
    assert_action(fixture, "org.lunport1.manage-targets");
    assert_detail(fixture, "target", "iqn.2024-01.com.example:b");

    assert_outcome(fixture, MANAGER, "org.lunport1.Manager.CreateBackstore",
                   "('file', 'disk', {'path': <'/srv/../etc//x'>})", FALSE, ACCESS_DENIED);
    assert_action(fixture, "org.lunport1.manage-backstores");
    assert_detail(fixture, "backstore", "disk");
    assert_detail(fixture, "path", "/etc/x");

    assert_outcome(fixture, TARGET, "org.lunport1.Target.SetAccessMode", "('open', @a{sv} {})",
                   FALSE, ACCESS_DENIED);
    assert_action(fixture, "org.lunport1.manage-access");
    g_assert_cmpuint(fixture->polkit.n_asked, ==, 3);
}

/* A rule that allows a folder is not led out of it, neither at once nor later */
static void
test_details_of_a_medium(Fixture *fixture, gconstpointer data)
{
    if (must_skip())
        return;

    polkit_up(fixture, ANSWER_YES);
    assert_outcome(fixture, MANAGER, "org.lunport1.Manager.CreateBackstore",
                   "('file', 'disk', {'path': <'/srv/../etc//x'>, 'device-type': <'cdrom'>})",
                   FALSE, "ok");
    assert_outcome(fixture, "/org/lunport1/backstores/disk", "org.lunport1.Backstore.LoadMedium",
                   "('/srv/./../etc//y', @a{sv} {})", FALSE, "ok");
    assert_detail(fixture, "medium", "/etc/y");
    assert_detail(fixture, "path", "/etc/x");
}

static void
test_details_of_a_session(Fixture *fixture, gconstpointer data)
{
    if (must_skip())
        return;

    polkit_up(fixture, ANSWER_NO);
    fake_service_add_session(fixture->service, 5, TARGET_NAME, "iqn.x:client");
    assert_outcome(fixture, "/org/lunport1/sessions/5", "org.lunport1.Session.Terminate",
                   "(@a{sv} {},)", FALSE, ACCESS_DENIED);
    assert_action(fixture, "org.lunport1.manage-sessions");
    assert_detail(fixture, "target", TARGET_NAME);
    assert_detail(fixture, "initiator", "iqn.x:client");
}

/* What is wrong with the arguments is said before anybody is asked for a password. */
static void
test_arguments_come_first(Fixture *fixture, gconstpointer data)
{
    if (must_skip())
        return;

    polkit_up(fixture, ANSWER_YES);
    assert_outcome(fixture, TARGET, "org.lunport1.Target.Disable", "({'mode': <'later'>},)", FALSE,
                   "org.lunport1.Error.InvalidArgument");
    g_assert_cmpuint(fixture->polkit.n_asked, ==, 0);
}

static void
wait_for_question(Fixture *fixture)
{
    wait_until(is_set, &fixture->polkit.asked);
}

static void
answer_open_questions(Fixture *fixture)
{
    Polkit *polkit = &fixture->polkit;

    for (guint i = 0; i < polkit->open->len; i++)
        g_dbus_method_invocation_return_value(polkit->open->pdata[i],
                                              g_variant_new("((bba{ss}))", TRUE, FALSE, NULL));
    g_ptr_array_set_size(polkit->open, 0);
}

/* Somebody thinks about a password; the service goes on working for others. */
static void
test_open_question_stops_nobody(Fixture *fixture, gconstpointer data)
{
    GSubprocess *caller;
    g_autoptr(GVariant) reply = NULL;
    g_autofree char *output = NULL;

    if (must_skip())
        return;

    polkit_up(fixture, ANSWER_NEVER);
    caller = start_caller(fixture, TARGET, "org.lunport1.Target.Enable", "(@a{sv} {},)", TRUE);
    wait_for_question(fixture);
    reply = harness_call_ok(&fixture->harness, MANAGER, "Manager.ListTargets",
                            g_variant_new("(@a{sv})", no_options()));
    g_assert_false(is_enabled(fixture));

    answer_open_questions(fixture);
    output = finish_caller(caller);
    g_assert_cmpstr(output, ==, "ok");
    g_assert_true(is_enabled(fixture));
}

/* The object went while the question was open. */
static void
test_object_is_looked_up_again(Fixture *fixture, gconstpointer data)
{
    GSubprocess *caller;
    g_autoptr(GVariant) reply = NULL;
    g_autofree char *output = NULL;

    if (must_skip())
        return;

    polkit_up(fixture, ANSWER_NEVER);
    caller = start_caller(fixture, TARGET, "org.lunport1.Target.Enable", "(@a{sv} {},)", TRUE);
    wait_for_question(fixture);
    reply = harness_call_ok(&fixture->harness, TARGET, "Target.Delete",
                            g_variant_new("(@a{sv})", no_options()));

    answer_open_questions(fixture);
    output = finish_caller(caller);
    g_assert_cmpstr(output, ==, "org.lunport1.Error.NoSuchTarget");
}

/* What was consented to is not what would be done now. */
static void
test_changed_details_are_a_conflict(Fixture *fixture, gconstpointer data)
{
    GSubprocess *caller;
    g_autofree char *output = NULL;

    if (must_skip())
        return;

    polkit_up(fixture, ANSWER_NEVER);
    fake_service_add_session(fixture->service, 5, TARGET_NAME, "iqn.x:first");
    caller = start_caller(fixture, "/org/lunport1/sessions/5", "org.lunport1.Session.Terminate",
                          "(@a{sv} {},)", TRUE);
    wait_for_question(fixture);
    fake_service_remove_session(fixture->service, 5);
    fake_service_add_session(fixture->service, 5, TARGET_NAME, "iqn.x:second");

    answer_open_questions(fixture);
    output = finish_caller(caller);
    g_assert_cmpstr(output, ==, "org.lunport1.Error.Conflict");
    g_assert_nonnull(model_find_session(service_get_model(fixture->service), 5));
}

static void
test_question_is_withdrawn_when_the_caller_goes(Fixture *fixture, gconstpointer data)
{
    g_autofree char *output = NULL;
    const char *id;
    GSubprocess *caller;

    if (must_skip())
        return;

    polkit_up(fixture, ANSWER_NEVER);
    caller = start_caller(fixture, TARGET, "org.lunport1.Target.Enable", "(@a{sv} {},)", TRUE);
    wait_for_question(fixture);
    g_subprocess_force_exit(caller);
    wait_until(is_set, &fixture->polkit.canceled);

    g_variant_get_child(fixture->polkit.asked, 4, "&s", &id);
    g_assert_cmpstr(fixture->polkit.canceled, ==, id);
    answer_open_questions(fixture);
    harness_settle(&fixture->harness);
    g_assert_false(is_enabled(fixture));
    output = finish_caller(caller);
}

static void
test_question_is_withdrawn_when_the_bus_goes(Fixture *fixture, gconstpointer data)
{
    g_autofree char *output = NULL;
    GSubprocess *caller;

    if (must_skip())
        return;

    polkit_up(fixture, ANSWER_NEVER);
    caller = start_caller(fixture, TARGET, "org.lunport1.Target.Enable", "(@a{sv} {},)", TRUE);
    wait_for_question(fixture);
    bus_free(g_steal_pointer(&fixture->harness.faces));
    wait_until(is_set, &fixture->polkit.canceled);
    output = finish_caller(caller);
    g_assert_cmpstr(output, ==, "org.lunport1.Error.ShuttingDown");
}

static void
add_job(Fixture *fixture, guint32 uid)
{
    ModelJob *job = model_job_new("Target.Disable", MODEL_TARGET, TARGET_NAME, 0);

    job->caller_uid = uid;
    job->is_cancelable = TRUE;
    model_take_job(service_get_model(fixture->service), job);
}

static void
assert_cancel(Fixture *fixture, const char *path, const char *expected)
{
    assert_outcome(fixture, path, "org.lunport1.Job.Cancel", "(@a{sv} {},)", FALSE, expected);
}

static void
test_who_started_a_job_may_cancel_it(Fixture *fixture, gconstpointer data)
{
    if (must_skip())
        return;

    polkit_up(fixture, ANSWER_NO);
    add_job(fixture, NOBODY);
    add_job(fixture, NOBODY - 1);
    assert_cancel(fixture, "/org/lunport1/jobs/1", "ok");
    g_assert_cmpuint(fixture->polkit.n_asked, ==, 0);
    assert_cancel(fixture, "/org/lunport1/jobs/2", ACCESS_DENIED);
    g_assert_cmpuint(fixture->polkit.n_asked, ==, 1);
    assert_detail(fixture, "job-operation", "Target.Disable");
}

static void
assert_permissions(Fixture *fixture, AnswerKind answer, const char *expected)
{
    fixture->polkit.answer = answer;
    assert_outcome(fixture, MANAGER, "print-permissions", "(objectpath '" TARGET "',)", TRUE,
                   expected);
    assert_detail(fixture, "target", TARGET_NAME);
}

static void
test_permissions(Fixture *fixture, gconstpointer data)
{
    guint32 flags;

    if (must_skip())
        return;

    polkit_up(fixture, ANSWER_YES);
    assert_permissions(fixture, ANSWER_YES, "yes");
    assert_permissions(fixture, ANSWER_NO, "no");
    assert_permissions(fixture, ANSWER_CHALLENGE, "auth");
    g_variant_get_child(fixture->polkit.asked, 3, "u", &flags);
    g_assert_cmpuint(flags, ==, 0);
}

static void
test_log_level_needs_the_owner(Fixture *fixture, gconstpointer data)
{
    if (must_skip())
        return;

    polkit_up(fixture, ANSWER_YES);
    assert_outcome(fixture, "/org/freedesktop/LogControl1", "org.freedesktop.DBus.Properties.Set",
                   "('org.freedesktop.LogControl1', 'LogLevel', <'debug'>)", TRUE, ACCESS_DENIED);
    assert_outcome(fixture, "/org/freedesktop/LogControl1", "org.freedesktop.DBus.Properties.Get",
                   "('org.freedesktop.LogControl1', 'LogLevel')", TRUE, "ok");
}

static gboolean
were_64_asked(gpointer data)
{
    return ((Fixture *)data)->polkit.n_asked >= 64;
}

/* More questions of one user than the authority takes: the surplus is refused, others are not. */
static void
test_one_user_cannot_take_all(Fixture *fixture, gconstpointer data)
{
    GSubprocess *caller;
    g_autofree char *output = NULL;

    if (must_skip())
        return;

    polkit_up(fixture, ANSWER_NEVER);
    caller = start_caller(fixture, TARGET, "many", "(@a{sv} {},)", TRUE);
    output = finish_caller(caller);
    g_assert_cmpstr(output, ==, "org.lunport1.Error.LimitExceeded");
    wait_until(were_64_asked, fixture);
    harness_settle(&fixture->harness);
    g_assert_cmpuint(fixture->polkit.n_asked, ==, 64);
}

/*
 * The caller: gives its rights away, makes one call, prints “ok” or the name of the error. Two
 * words instead of a method have it do more: print-permissions prints the permission to manage
 * targets, many makes calls until one is answered.
 */

static void
print_outcome(GDBusMessage *reply)
{
    g_print("%s", g_dbus_message_get_message_type(reply) == G_DBUS_MESSAGE_TYPE_ERROR
                      ? g_dbus_message_get_error_name(reply)
                      : "ok");
}

static void
print_permission(GDBusMessage *reply)
{
    g_autoptr(GVariant) permissions = g_variant_get_child_value(g_dbus_message_get_body(reply), 0);
    const char *answer = "none";

    (void)g_variant_lookup(permissions, "org.lunport1.manage-targets", "&s", &answer);
    g_print("%s", answer);
}

static GDBusMessage *
make_message(const char *path, const char *method, GVariant *parameters, gboolean interactive)
{
    g_autofree char *interface = g_strdup(method);
    char *dot = strrchr(interface, '.');
    GDBusMessage *message;

    *dot = '\0';
    message = g_dbus_message_new_method_call(BUS_NAME, path, interface, dot + 1);
    g_dbus_message_set_body(message, parameters);
    if (interactive)
        g_dbus_message_set_flags(message, G_DBUS_MESSAGE_FLAGS_ALLOW_INTERACTIVE_AUTHORIZATION);
    return message;
}

static int
call_once(GDBusConnection *connection, const char *path, const char *method, GVariant *parameters,
          gboolean interactive)
{
    gboolean is_probe = g_str_equal(method, "print-permissions");
    const char *name = is_probe ? "org.lunport1.Manager.GetPermissions" : method;
    g_autoptr(GDBusMessage) message = make_message(path, name, parameters, interactive);
    g_autoptr(GDBusMessage) reply = g_dbus_connection_send_message_with_reply_sync(
        connection, message, G_DBUS_SEND_MESSAGE_FLAGS_NONE, G_MAXINT, NULL, NULL, NULL);

    if (reply == NULL)
        return 1;

    if (is_probe)
        print_permission(reply);
    else
        print_outcome(reply);
    return 0;
}

static int
call_many(GDBusConnection *connection, const char *path, GVariant *parameters)
{
    for (guint i = 0; i < 64; i++) {
        g_autoptr(GDBusMessage) message =
            make_message(path, "org.lunport1.Target.Enable", g_variant_ref(parameters), TRUE);

        if (!g_dbus_connection_send_message(connection, message, G_DBUS_SEND_MESSAGE_FLAGS_NONE,
                                            NULL, NULL))
            return 1;
    }

    return call_once(connection, path, "org.lunport1.Target.Enable", parameters, TRUE);
}

static int
act_as_caller(char **arguments)
{
    g_autoptr(GDBusConnection) connection = NULL;
    g_autoptr(GVariant) parameters = NULL;

    if (setresgid(NOBODY, NOBODY, NOBODY) != 0 || setresuid(NOBODY, NOBODY, NOBODY) != 0)
        return 1;

    connection =
        g_dbus_connection_new_for_address_sync(arguments[0],
                                               G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
                                                   G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
                                               NULL, NULL, NULL);
    parameters = g_variant_parse(NULL, arguments[3], NULL, NULL, NULL);
    if (connection == NULL || parameters == NULL)
        return 1;

    if (g_str_equal(arguments[2], "many"))
        return call_many(connection, arguments[1], parameters);

    return call_once(connection, arguments[1], arguments[2], parameters,
                     g_str_equal(arguments[4], "yes"));
}

#define ADD(name, function)                                                                        \
    g_test_add("/bus/authority/" name, Fixture, argv[0], set_up, function, tear_down)

int
main(int argc, char **argv)
{
    if (argc == 7 && g_str_equal(argv[1], "--call"))
        return act_as_caller(argv + 2);

    g_test_init(&argc, &argv, NULL);
    ADD("owner-is-not-asked-about", test_owner_is_not_asked_about);
    ADD("reads-are-open", test_reads_are_open);
    ADD("allowed", test_allowed);
    ADD("denied", test_denied);
    ADD("challenge", test_challenge);
    ADD("absent", test_absent);
    ADD("failing-authority-is-a-refusal", test_failing_authority_is_a_refusal);
    ADD("question", test_question);
    ADD("details-of-what-is-created", test_details_of_what_is_created);
    ADD("details-of-a-medium", test_details_of_a_medium);
    ADD("details-of-a-session", test_details_of_a_session);
    ADD("arguments-come-first", test_arguments_come_first);
    ADD("open-question-stops-nobody", test_open_question_stops_nobody);
    ADD("object-is-looked-up-again", test_object_is_looked_up_again);
    ADD("changed-details-are-a-conflict", test_changed_details_are_a_conflict);
    ADD("question-is-withdrawn-when-the-caller-goes",
        test_question_is_withdrawn_when_the_caller_goes);
    ADD("question-is-withdrawn-when-the-bus-goes", test_question_is_withdrawn_when_the_bus_goes);
    ADD("permissions", test_permissions);
    ADD("who-started-a-job-may-cancel-it", test_who_started_a_job_may_cancel_it);
    ADD("log-level-needs-the-owner", test_log_level_needs_the_owner);
    ADD("one-user-cannot-take-all", test_one_user_cannot_take_all);
    return g_test_run();
}
