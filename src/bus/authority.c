/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Authorization
 *
 * A check is a short chain of calls on the bus, none of which blocks: who is
 * the caller (GetConnectionUnixUser of the bus), and unless it is root, the
 * user of this service or the owner of the object, does polkit allow the action with these details
 * (CheckAuthorization, which may wait for a password as long as a person
 * likes). The caller's leaving the bus ends the chain and takes the question
 * back (CancelCheckAuthorization).
 *
 * polkit is spoken to directly: no library, and no thread of a pool that
 * forgotten password prompts could fill. Where it is not installed or masked
 * only root and the user of the service may change anything; that is said once
 * in the journal. A private or session bus needs no rule of its own: there the
 * caller is the user of the service, and anybody else is refused or asked
 * about as on the system bus.
 *
 * A Check belongs to the list of its Authority until it is done. The reply of
 * a call under way still arrives after that, so the memory goes with the last
 * reply (n_calls). One user may have MAX_CHECKS_PER_UID questions open.
 */

#include "bus/authority.h"

#include <unistd.h>

#include "util/error.h"
#include "util/list.h"
#include "util/log.h"

#define POLKIT_NAME                   "org.freedesktop.PolicyKit1"
#define POLKIT_PATH                   "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_INTERFACE              "org.freedesktop.PolicyKit1.Authority"
#define POLKIT_ALLOW_USER_INTERACTION 1u

#define DBUS_NAME      "org.freedesktop.DBus"
#define DBUS_PATH      "/org/freedesktop/DBus"
#define DBUS_INTERFACE "org.freedesktop.DBus"

#define MAX_CHECKS_PER_UID 64
#define MAX_CHECKS         1024

struct Authority {
    GDBusConnection *connection;
    List checks;
    guint64 last_id;
    gboolean polkit_missing; /* and the event was written */
    gboolean polkit_failed;  /* and the warning was written */
};

typedef struct {
    ListLink link;        /* of Authority.checks until the check is done */
    Authority *authority; /* NULL when done */
    GCancellable *cancellable;
    guint n_calls; /* under way on the bus */
    guint name_watch;
    char *sender;
    uid_t uid;
    uid_t owner; /* passes too; (uid_t)-1: nobody */
    gboolean interactive;
    gboolean asked; /* polkit knows our cancellation id */
    char *cancellation_id;
    char **actions;   /* NULL: owner only */
    gsize n_answered; /* how many of @actions have their answer */
    GVariant *details;
    AuthorityDone done; /* this or @probed */
    AuthorityProbed probed;
    GVariantBuilder permissions; /* of a probe */
    gpointer data;
} Check;

Authority *
authority_new(GDBusConnection *connection)
{
    Authority *authority = g_new0(Authority, 1);

    authority->connection = g_object_ref(connection);
    list_init(&authority->checks);
    return authority;
}

static void
check_free_if_unused(Check *check)
{
    if (check->n_calls > 0 || check->authority != NULL)
        return;

    g_object_unref(check->cancellable);
    g_free(check->sender);
    g_free(check->cancellation_id);
    g_strfreev(check->actions);
    g_variant_unref(check->details);
    g_variant_builder_clear(&check->permissions);
    g_free(check);
}

/* The end of a check: it leaves its authority, then the answer goes out. */
static void
check_finish(Check *check, GError *error)
{
    Authority *authority = check->authority;
    GVariant *permissions = NULL;

    g_dbus_connection_signal_unsubscribe(authority->connection, check->name_watch);
    list_unlink(&check->link);
    check->authority = NULL;
    g_cancellable_cancel(check->cancellable);

    if (check->done != NULL) {
        check->done(check->data, check->uid, error);
    } else {
        if (error == NULL)
            permissions = g_variant_builder_end(&check->permissions);
        check->probed(check->data, permissions, error);
    }

    check_free_if_unused(check);
}

/* Take the open question back; polkit then closes the password prompt. */
static void
withdraw_question(Check *check)
{
    if (!check->asked)
        return;

    g_dbus_connection_call(check->authority->connection, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
                           "CancelCheckAuthorization", g_variant_new("(s)", check->cancellation_id),
                           NULL, G_DBUS_CALL_FLAGS_NO_AUTO_START, -1, NULL, NULL, NULL);
}

void
authority_free(Authority *authority)
{
    if (authority == NULL)
        return;

    for (ListLink *link; (link = list_first(&authority->checks)) != NULL;) {
        Check *check = list_entry(link, Check, link);

        withdraw_question(check);
        check_finish(check, g_error_new_literal(LUNPORT_ERROR, LUNPORT_ERROR_SHUTTING_DOWN,
                                                "The service is stopping"));
    }

    g_object_unref(authority->connection);
    g_free(authority);
}

static void
on_name_owner_changed(GDBusConnection *connection, const char *sender, const char *path,
                      const char *interface, const char *signal, GVariant *parameters,
                      gpointer data)
{
    Check *check = data;
    const char *new_owner;

    g_variant_get(parameters, "(&s&s&s)", NULL, NULL, &new_owner);
    if (new_owner[0] != '\0' || check->authority == NULL)
        return;

    withdraw_question(check);
    check_finish(check, g_error_new_literal(LUNPORT_ERROR, LUNPORT_ERROR_CANCELED,
                                            "The caller has left the bus"));
}

static gboolean
is_polkit_absent(const GError *error)
{
    static const char *const absent[] = {
        "org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner",
        "org.freedesktop.systemd1.UnitMasked",       "org.freedesktop.systemd1.NoSuchUnit",
        "org.freedesktop.systemd1.LoadFailed",       NULL,
    };
    g_autofree char *name = g_dbus_error_get_remote_error(error);

    if (name == NULL)
        return FALSE;

    return g_strv_contains(absent, name) ||
           g_str_has_prefix(name, "org.freedesktop.DBus.Error.Spawn.");
}

static void
note_polkit(Authority *authority, gboolean is_missing)
{
    static const LogField no_fields[] = { { NULL, NULL } };

    if (is_missing && !authority->polkit_missing)
        log_event(EVENT_POLKIT_MISSING, no_fields);
    authority->polkit_missing = is_missing;
}

/* Said once until polkit answers again: callers must not be able to fill the log. */
static void
note_failure(Authority *authority, const GError *error)
{
    if (!authority->polkit_failed)
        g_warning("Failed to ask polkit: %s", error->message);
    authority->polkit_failed = TRUE;
}

static GError *
refusal(const char *reason)
{
    return g_error_new(G_DBUS_ERROR, G_DBUS_ERROR_ACCESS_DENIED, "Permission denied: %s", reason);
}

static GError *
interaction_required(const char *action)
{
    g_autofree char *message =
        g_strdup_printf("Interactive authorization is required for action “%s”", action);

    return g_dbus_error_new_for_dbus_error(
        "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", message);
}

static void ask_next(Check *check);

/* polkit said no, or could not say anything. A probe notes it and goes on, a check ends. */
static void
answer_no(Check *check, gboolean is_challenge, GError *error)
{
    if (check->done != NULL) {
        check_finish(check, error);
        return;
    }

    g_error_free(error);
    g_variant_builder_add(&check->permissions, "{ss}", check->actions[check->n_answered],
                          is_challenge ? "auth" : "no");
    check->n_answered++;
    ask_next(check);
}

static void
answer_yes(Check *check)
{
    if (check->done == NULL)
        g_variant_builder_add(&check->permissions, "{ss}", check->actions[check->n_answered],
                              "yes");

    check->n_answered++;
    ask_next(check);
}

static void
judge_answer(Check *check, GVariant *reply)
{
    gboolean is_authorized;
    gboolean is_challenge;
    g_autoptr(GVariant) details = NULL;

    g_variant_get(reply, "((bb@a{ss}))", &is_authorized, &is_challenge, &details);

    if (is_authorized)
        answer_yes(check);
    else if (is_challenge && !check->interactive)
        answer_no(check, TRUE, interaction_required(check->actions[check->n_answered]));
    else
        answer_no(check, is_challenge, refusal("polkit does not allow it"));
}

static void
on_polkit_answer(GObject *source, GAsyncResult *result, gpointer data)
{
    Check *check = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) reply =
        g_dbus_connection_call_finish(G_DBUS_CONNECTION(source), result, &error);

    check->n_calls--;
    check->asked = FALSE;
    if (check->authority == NULL) {
        check_free_if_unused(check);
        return;
    }

    if (reply != NULL) {
        note_polkit(check->authority, FALSE);
        check->authority->polkit_failed = FALSE;
        judge_answer(check, reply);
    } else if (is_polkit_absent(error)) {
        note_polkit(check->authority, TRUE);
        answer_no(check, FALSE, refusal("polkit is not available, only root may do this"));
    } else {
        note_failure(check->authority, error);
        answer_no(check, FALSE, refusal("polkit could not be asked"));
    }
}

static void
ask_next(Check *check)
{
    const char *action = check->actions[check->n_answered];
    GVariantBuilder subject;

    if (action == NULL) {
        check_finish(check, NULL);
        return;
    }

    g_free(check->cancellation_id);
    check->cancellation_id =
        g_strdup_printf("lunport-%" G_GUINT64_FORMAT, ++check->authority->last_id);
    check->asked = TRUE;
    check->n_calls++;

    g_variant_builder_init(&subject, G_VARIANT_TYPE_VARDICT);
    g_variant_builder_add(&subject, "{sv}", "name", g_variant_new_string(check->sender));

    g_dbus_connection_call(check->authority->connection, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
                           "CheckAuthorization",
                           g_variant_new("((sa{sv})s@a{ss}us)", "system-bus-name", &subject, action,
                                         check->details,
                                         check->interactive ? POLKIT_ALLOW_USER_INTERACTION : 0,
                                         check->cancellation_id),
                           G_VARIANT_TYPE("((bba{ss}))"), G_DBUS_CALL_FLAGS_NONE, G_MAXINT,
                           check->cancellable, on_polkit_answer, check);
}

static guint
count_checks_of(const Authority *authority, uid_t uid)
{
    guint n = 0;

    list_foreach(link, &authority->checks) {
        const Check *check = list_entry(link, Check, link);

        if (check->uid == uid)
            n++;
    }

    return n;
}

static void
judge_caller(Check *check)
{
    if (check->uid == 0 || check->uid == getuid() ||
        (check->owner != (uid_t)-1 && check->uid == check->owner)) {
        while (check->actions != NULL && check->done == NULL &&
               check->actions[check->n_answered] != NULL) {
            g_variant_builder_add(&check->permissions, "{ss}", check->actions[check->n_answered],
                                  "yes");
            check->n_answered++;
        }
        check_finish(check, NULL);
        return;
    }

    if (check->actions == NULL) {
        check_finish(check, refusal("only root and the user of the service may do this"));
        return;
    }

    if (count_checks_of(check->authority, check->uid) > MAX_CHECKS_PER_UID) {
        check_finish(check, g_error_new_literal(LUNPORT_ERROR, LUNPORT_ERROR_LIMIT_EXCEEDED,
                                                "Too many calls wait for authorization"));
        return;
    }

    ask_next(check);
}

static void
on_uid(GObject *source, GAsyncResult *result, gpointer data)
{
    Check *check = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) reply =
        g_dbus_connection_call_finish(G_DBUS_CONNECTION(source), result, &error);
    guint32 uid;

    check->n_calls--;
    if (check->authority == NULL) {
        check_free_if_unused(check);
        return;
    }

    if (reply == NULL) {
        check_finish(check, refusal("the caller is not known to the bus"));
        return;
    }

    g_variant_get(reply, "(u)", &uid);
    check->uid = uid;
    judge_caller(check);
}

/* The watch begins before the first question: a caller that has gone already has no user id. */
static void
check_start(Authority *authority, Check *check, GDBusMessage *message, GVariant *details)
{
    check->authority = authority;
    check->cancellable = g_cancellable_new();
    check->sender = g_strdup(g_dbus_message_get_sender(message));
    check->uid = (uid_t)-1;
    check->details = g_variant_ref_sink(details);
    g_variant_builder_init(&check->permissions, G_VARIANT_TYPE("a{ss}"));
    list_append(&authority->checks, &check->link);

    check->name_watch = g_dbus_connection_signal_subscribe(
        authority->connection, DBUS_NAME, DBUS_INTERFACE, "NameOwnerChanged", DBUS_PATH,
        check->sender, G_DBUS_SIGNAL_FLAGS_NONE, on_name_owner_changed, check, NULL);

    check->n_calls++;
    g_dbus_connection_call(authority->connection, DBUS_NAME, DBUS_PATH, DBUS_INTERFACE,
                           "GetConnectionUnixUser", g_variant_new("(s)", check->sender),
                           G_VARIANT_TYPE("(u)"), G_DBUS_CALL_FLAGS_NONE, -1, check->cancellable,
                           on_uid, check);
}

static GError *
judge_message(const Authority *authority, GDBusMessage *message)
{
    guint n = 0;

    if (g_dbus_message_get_sender(message) == NULL)
        return refusal("the caller is not known");

    list_foreach(link, &authority->checks) {
        n++;
    }

    if (n >= MAX_CHECKS)
        return g_error_new_literal(LUNPORT_ERROR, LUNPORT_ERROR_LIMIT_EXCEEDED,
                                   "Too many calls wait for authorization");

    return NULL;
}

void
authority_check(Authority *authority, GDBusMessage *message, const char *action, GVariant *details,
                AuthorityDone done, gpointer data)
{
    authority_check_owned(authority, message, action, (uid_t)-1, details, done, data);
}

void
authority_check_owned(Authority *authority, GDBusMessage *message, const char *action, uid_t owner,
                      GVariant *details, AuthorityDone done, gpointer data)
{
    g_autoptr(GVariant) owned = g_variant_ref_sink(details);
    GError *error = NULL;
    Check *check;

    if (action == NULL)
        error = refusal("the method has no action");
    else if (!g_str_equal(action, AUTHORITY_ACTION_NONE))
        error = judge_message(authority, message);

    if (error != NULL || g_str_equal(action, AUTHORITY_ACTION_NONE)) {
        done(data, (uid_t)-1, error);
        return;
    }

    check = g_new0(Check, 1);
    if (!g_str_equal(action, AUTHORITY_ACTION_OWNER)) {
        check->actions = g_new0(char *, 2);
        check->actions[0] = g_strdup(action);
    }
    check->interactive = (g_dbus_message_get_flags(message) &
                          G_DBUS_MESSAGE_FLAGS_ALLOW_INTERACTIVE_AUTHORIZATION) != 0;
    check->owner = owner;
    check->done = done;
    check->data = data;
    check_start(authority, check, message, owned);
}

void
authority_probe(Authority *authority, GDBusMessage *message, const char *const *actions,
                GVariant *details, AuthorityProbed done, gpointer data)
{
    g_autoptr(GVariant) owned = g_variant_ref_sink(details);
    GError *error = judge_message(authority, message);
    Check *check;

    if (error != NULL) {
        done(data, NULL, error);
        return;
    }

    check = g_new0(Check, 1);
    check->actions = g_strdupv((char **)(gsize)actions);
    check->owner = (uid_t)-1;
    check->probed = done;
    check->data = data;
    check_start(authority, check, message, owned);
}
