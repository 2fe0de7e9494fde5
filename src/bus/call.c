/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The way of a method call
 *
 *   options judged → object found → arguments judged, details collected →
 *   authorized → object found and details collected again → handler → answer
 *
 * Nothing of what was found before the authorization is used after it: a
 * password prompt may stay open for hours. If the details are not the same any
 * more (the backstore has another path now), the consent was for something
 * else and the call ends in Conflict.
 *
 * A handler asks control for an operation and gives one of the call_on_…
 * functions as its end, so the answer goes out when the change is on stable
 * storage. Changed properties are announced before the answer.
 *
 * The bus may go while control still works on a call. Such a call is answered
 * at once, loses its context, and is freed when the operation ends.
 */

#include "bus/call.h"

#include <string.h>

#include "bus/errors.h"
#include "bus/path.h"
#include "bus/text.h"
#include "util/error.h"

void
call_context_init(CallContext *context, Service *service)
{
    *context = (CallContext){ .service = service };
    list_init(&context->calls);
}

static void
call_free(Call *call)
{
    list_unlink(&call->link);
    options_clear(&call->options);
    g_clear_pointer(&call->details, g_variant_builder_unref);
    g_clear_pointer(&call->asked, g_variant_unref);
    g_clear_pointer(&call->parameters, g_variant_unref);
    g_free(call->key.name);
    g_free(call->path);
    g_free(call->planned);
    g_free(call->operation);
    g_free(call);
}

void
call_context_deinit(CallContext *context)
{
    for (ListLink *link; (link = list_pop(&context->calls)) != NULL;) {
        Call *call = list_entry(link, Call, link);

        call->context = NULL;
        errors_return(g_steal_pointer(&call->invocation),
                      g_error_new_literal(LUNPORT_ERROR, LUNPORT_ERROR_SHUTTING_DOWN,
                                          "The service is stopping"));
    }
}

void
call_return(Call *call, GVariant *values)
{
    if (call->context != NULL) {
        tree_flush(call->context->tree);
        g_dbus_method_invocation_return_value(g_steal_pointer(&call->invocation), values);
    } else if (values != NULL) {
        g_variant_unref(g_variant_ref_sink(values));
    }

    call_free(call);
}

void
call_fail(Call *call, GError *error)
{
    if (call->context != NULL)
        errors_return(g_steal_pointer(&call->invocation), error);
    else
        g_error_free(error);

    call_free(call);
}

void
call_detail(Call *call, const char *name, const char *value)
{
    g_autofree char *escaped = text_escape(value);

    if (escaped[0] != '\0')
        g_variant_builder_add(call->details, "{ss}", name, escaped);
}

void
call_detail_path(Call *call, const char *name, const char *path)
{
    g_autofree char *plain = NULL;

    if (path != NULL && path[0] != '\0')
        plain = g_canonicalize_filename(path, "/");
    call_detail(call, name, plain);
}

void
call_detail_number(Call *call, const char *name, guint64 value)
{
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, value);

    call_detail(call, name, text);
}

static gint
compare_tags(gconstpointer a, gconstpointer b)
{
    return (gint) * (const guint16 *)a - (gint) * (const guint16 *)b;
}

GArray *
call_find_portal_groups(const Call *call, const char *const *paths, GError **ret_error)
{
    g_autoptr(GArray) tags = g_array_new(FALSE, FALSE, sizeof(guint16));

    for (gsize i = 0; paths[i] != NULL; i++) {
        const Key *key =
            tree_find_key(call->context->tree, &portal_group_noun, paths[i], ret_error);
        guint16 tag;

        if (key == NULL)
            return NULL;

        tag = (guint16)key->number;
        g_array_append_val(tags, tag);
    }

    g_array_sort(tags, compare_tags);
    for (guint i = tags->len; i > 1; i--) {
        if (g_array_index(tags, guint16, i - 1) == g_array_index(tags, guint16, i - 2))
            g_array_remove_index(tags, i - 1);
    }
    return g_steal_pointer(&tags);
}

ChangeOptions
call_change(const Call *call)
{
    ChangeOptions change;

    change_options_init(&change);
    change.persist = call->options.persist;
    change.has_expected_generation = call->options.has_expected_generation;
    change.expected_generation = call->options.expected_generation;
    change.dry_run = call->options.dry_run;
    change.caller_uid = call->uid;
    return change;
}

const char *
call_action_of(const Noun *noun, const char *method)
{
    const GDBusMethodInfo *info =
        g_dbus_interface_info_lookup_method((GDBusInterfaceInfo *)(gsize)noun->info, method);

    return g_dbus_annotation_info_lookup(info->annotations, "org.lunport1.Action");
}

static gboolean
is_change(const Call *call)
{
    return call->action == NULL || !g_str_equal(call->action, AUTHORITY_ACTION_NONE);
}

/* The options are the last argument, if it is a{sv} and has that name; the others stay parameters. */
static gboolean
parse_options(Call *call, GVariant *parameters, GError **ret_error)
{
    static const OptionTable only_common = { .with_common = TRUE };
    static const OptionTable nothing = { 0 };
    const OptionTable *table = call->method->options;
    GDBusArgInfo **arguments = g_dbus_method_invocation_get_method_info(call->invocation)->in_args;
    gsize n = g_variant_n_children(parameters);
    g_autoptr(GVariant) last = NULL;

    call->parameters = g_variant_ref(parameters);
    if (n == 0 || !g_str_equal(arguments[n - 1]->name, "options"))
        return TRUE;

    if (table == NULL)
        table = is_change(call) ? &only_common : &nothing;
    last = g_variant_get_child_value(parameters, n - 1);
    return options_parse(last, table, &call->options, ret_error);
}

static char *
make_operation(const Call *call)
{
    const char *interface = strrchr(call->noun->info->name, '.') + 1;

    return g_strdup_printf("%s.%s", interface, call->method->name);
}

/* Find the object, judge the arguments against it, and say what a rule may want to know */
static GVariant *
judge(Call *call, gpointer *ret_object, GError **ret_error)
{
    gpointer object = call->noun->find(call->context->service, &call->key);

    if (object == NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, call->noun->missing, "The %s “%s” does not exist",
                    call->noun->kind, call->key.name != NULL ? call->key.name : call->path);
        return NULL;
    }

    g_clear_pointer(&call->details, g_variant_builder_unref);
    call->details = g_variant_builder_new(G_VARIANT_TYPE("a{ss}"));
    call_detail(call, "operation", call->operation);
    if (call->noun->describe != NULL)
        call->noun->describe(call, object);
    if (call->method->check != NULL && !call->method->check(call, object, ret_error))
        return NULL;

    *ret_object = object;
    return g_variant_ref_sink(g_variant_builder_end(call->details));
}

static void
on_authorized(gpointer data, uid_t uid, GError *error)
{
    Call *call = data;
    g_autoptr(GVariant) details = NULL;
    GError *failure = NULL;
    gpointer object = NULL;

    if (call->context == NULL) {
        g_clear_error(&error);
        call_free(call);
        return;
    }

    if (error != NULL) {
        call_fail(call, error);
        return;
    }

    call->uid = uid;
    details = judge(call, &object, &failure);
    if (details == NULL) {
        call_fail(call, failure);
        return;
    }

    if (!g_variant_equal(details, call->asked)) {
        call_fail(call,
                  g_error_new(LUNPORT_ERROR, LUNPORT_ERROR_CONFLICT,
                              "The %s changed while permission was asked for", call->noun->kind));
        return;
    }

    call->method->run(call, object);
}

static Call *
call_new(CallContext *context, Face *face, GDBusMethodInvocation *invocation)
{
    Call *call = g_new0(Call, 1);
    const char *name = g_dbus_method_invocation_get_method_name(invocation);

    call->context = context;
    call->invocation = invocation;
    call->noun = face_get_noun(face);
    call->method = noun_find_method(call->noun, name);
    call->action = call_action_of(call->noun, name);
    call->path = g_strdup(face_get_path(face));
    call->key = *face_get_key(face);
    call->key.name = g_strdup(call->key.name);
    call->operation = make_operation(call);
    list_append(&context->calls, &call->link);
    return call;
}

void
call_start(gpointer context, Face *face, GDBusMethodInvocation *invocation)
{
    Call *call = call_new(context, face, invocation);
    GError *error = NULL;
    gpointer object;

    if (!parse_options(call, g_dbus_method_invocation_get_parameters(invocation), &error)) {
        call_fail(call, error);
        return;
    }

    call->asked = judge(call, &object, &error);
    if (call->asked == NULL) {
        call_fail(call, error);
        return;
    }

    authority_check_owned(call->context->authority,
                          g_dbus_method_invocation_get_message(invocation), call->action,
                          call->noun->owner != NULL ? call->noun->owner(object) : (uid_t)-1,
                          call->asked, on_authorized, call);
}

void
call_on_done(gpointer object, const GError *error, gpointer data)
{
    if (error != NULL)
        call_fail(data, g_error_copy(error));
    else
        call_return(data, NULL);
}

void
call_on_done_without_job(gpointer object, const GError *error, gpointer data)
{
    if (error != NULL)
        call_fail(data, g_error_copy(error));
    else
        call_return(data, g_variant_new("(o)", PATH_NONE));
}

static void
return_path(Call *call, ModelKind kind, gpointer object, const GError *error)
{
    g_autofree char *path = NULL;

    if (error != NULL) {
        call_fail(call, g_error_copy(error));
        return;
    }

    path = object != NULL ? path_of_object(kind, object) : g_strdup(call->planned);
    call_return(call, g_variant_new("(o)", path));
}

void
call_on_backstore(gpointer object, const GError *error, gpointer data)
{
    return_path(data, MODEL_BACKSTORE, object, error);
}

void
call_on_target(gpointer object, const GError *error, gpointer data)
{
    return_path(data, MODEL_TARGET, object, error);
}

void
call_on_lun(gpointer object, const GError *error, gpointer data)
{
    return_path(data, MODEL_LUN, object, error);
}

void
call_on_job(gpointer object, const GError *error, gpointer data)
{
    return_path(data, MODEL_JOB, object, error);
}

void
call_on_portal_group(gpointer object, const GError *error, gpointer data)
{
    return_path(data, MODEL_PORTAL_GROUP, object, error);
}

void
call_on_portal(gpointer object, const GError *error, gpointer data)
{
    return_path(data, MODEL_PORTAL, object, error);
}

void
call_on_acl(gpointer object, const GError *error, gpointer data)
{
    return_path(data, MODEL_ACL, object, error);
}

void
call_on_initiator_group(gpointer object, const GError *error, gpointer data)
{
    return_path(data, MODEL_INITIATOR_GROUP, object, error);
}
