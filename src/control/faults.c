/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Faults: trouble on purpose
 *
 * The administrator's words for a rule become a FaultRule, and the set of all
 * goes to the open store by message. It is kept with the backstore too, with
 * its counters, for a store that is opened later. It is never written to a
 * file: what was set for a rehearsal ends with the service at the latest.
 *
 * An operation that waits for I/O must be able to end when the fault that
 * holds it is removed. So this one holds no backstore, only a key of its own.
 * The store cannot be closed meanwhile: what a worker is sent before the
 * release of the logical unit it sees before it, and a store that leaves is
 * sent an empty set first, so nothing in it is held for ever.
 */

#include <errno.h>
#include <math.h>
#include <string.h>

#include "backstore/fault.h"
#include "control/service-private.h"
#include "util/error.h"
#include "util/log.h"

#define DELAY_MAX ((guint64)3600 * G_USEC_PER_SEC)

#define KIND_ALL                                                                                   \
    (FAULT_KIND(IO_READ) | FAULT_KIND(IO_WRITE) | FAULT_KIND(IO_FLUSH) | FAULT_KIND(IO_UNMAP) |    \
     FAULT_KIND(IO_ZERO) | FAULT_KIND(IO_MAP) | FAULT_KIND(IO_PREFETCH) | FAULT_KIND(IO_COPY))

/* clang-format off */
static const struct {
    const char *name;
    guint kinds;
} kinds[] = {
    { "read",     FAULT_KIND(IO_READ) },
    { "write",    FAULT_KIND(IO_WRITE) },
    { "flush",    FAULT_KIND(IO_FLUSH) },
    { "unmap",    FAULT_KIND(IO_UNMAP) },
    { "zero",     FAULT_KIND(IO_ZERO) },
    { "map",      FAULT_KIND(IO_MAP) },
    { "prefetch", FAULT_KIND(IO_PREFETCH) },
    { "copy",     FAULT_KIND(IO_COPY) },
    { "all",      KIND_ALL },
};

static const struct {
    const char *name;
    int error;
} errors[] = {
    { "none",      0 },
    { "EAGAIN",    EAGAIN },
    { "EBUSY",     EBUSY },
    { "EDQUOT",    EDQUOT },
    { "EINTR",     EINTR },
    { "EIO",       EIO },
    { "ENODEV",    ENODEV },
    { "ENOMEM",    ENOMEM },
    { "ENOSPC",    ENOSPC },
    { "ENXIO",     ENXIO },
    { "EROFS",     EROFS },
    { "ETIMEDOUT", ETIMEDOUT },
};
/* clang-format on */

/* What is read of one rule */
typedef struct {
    FaultRule rule;
    gboolean has_error;
    GError **ret_error;
} Parser;

static gboolean
fail(const Parser *parser, const char *key, const char *what)
{
    g_set_error(parser->ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                "The fault is not valid: “%s” %s", key, what);
    return FALSE;
}

static gboolean
parse_on(Parser *parser, GVariant *value)
{
    g_auto(GStrv) names = g_strsplit(g_variant_get_string(value, NULL), ",", 0);

    for (guint i = 0; names[i] != NULL; i++) {
        gsize k = 0;

        while (k < G_N_ELEMENTS(kinds) && strcmp(kinds[k].name, names[i]) != 0)
            k++;
        if (k == G_N_ELEMENTS(kinds))
            return fail(parser, "on",
                        "is a list of read, write, flush, unmap, zero, map, prefetch, copy, all");
        parser->rule.kinds |= kinds[k].kinds;
    }
    return parser->rule.kinds != 0 || fail(parser, "on", "is empty");
}

static gboolean
parse_error(Parser *parser, GVariant *value)
{
    const char *name = g_variant_get_string(value, NULL);

    parser->has_error = TRUE;
    for (gsize i = 0; i < G_N_ELEMENTS(errors); i++) {
        if (strcmp(errors[i].name, name) == 0) {
            parser->rule.error = errors[i].error;
            return TRUE;
        }
    }
    return fail(
        parser, "error",
        "is none, EAGAIN, EBUSY, EDQUOT, EINTR, EIO, ENODEV, ENOMEM, ENOSPC, ENXIO, EROFS or "
        "ETIMEDOUT");
}

static gboolean
parse_delay(Parser *parser, GVariant *value)
{
    guint64 delay = g_variant_get_uint64(value);

    parser->rule.delay = (gint64)MIN(delay, DELAY_MAX);
    return delay <= DELAY_MAX || fail(parser, "delay", "is above one hour");
}

static gboolean
parse_stall(Parser *parser, GVariant *value)
{
    parser->rule.stall = g_variant_get_boolean(value);
    return TRUE;
}

static gboolean
parse_offset(Parser *parser, GVariant *value)
{
    parser->rule.offset = g_variant_get_uint64(value);
    return parser->rule.offset <= G_MAXINT64 || fail(parser, "offset", "is too large");
}

static gboolean
parse_length(Parser *parser, GVariant *value)
{
    parser->rule.length = g_variant_get_uint64(value);
    return parser->rule.length <= G_MAXINT64 || fail(parser, "length", "is too large");
}

static gboolean
parse_count(Parser *parser, GVariant *value)
{
    parser->rule.count = g_variant_get_uint64(value);
    return TRUE;
}

static gboolean
parse_probability(Parser *parser, GVariant *value)
{
    double probability = g_variant_get_double(value);

    if (!isfinite(probability) || probability <= 0 || probability > 1)
        return fail(parser, "probability", "is above 0 and at most 1");
    parser->rule.chance = MAX((guint64)(probability * (double)FAULT_CERTAIN), 1);
    return TRUE;
}

static gboolean
parse_seed(Parser *parser, GVariant *value)
{
    parser->rule.seed = g_variant_get_uint64(value);
    return TRUE;
}

/* clang-format off */
static const struct {
    const char *key;
    const char *type;
    gboolean (*parse)(Parser *parser, GVariant *value);
} rows[] = {
    { "on",          "s", parse_on },
    { "error",       "s", parse_error },
    { "delay",       "t", parse_delay },
    { "stall",       "b", parse_stall },
    { "offset",      "t", parse_offset },
    { "length",      "t", parse_length },
    { "count",       "t", parse_count },
    { "probability", "d", parse_probability },
    { "seed",        "t", parse_seed },
};
/* clang-format on */

static gboolean
parse_item(Parser *parser, const char *key, GVariant *value)
{
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (strcmp(rows[i].key, key) != 0)
            continue;
        if (!g_variant_is_of_type(value, G_VARIANT_TYPE(rows[i].type)))
            return fail(parser, key, "has the wrong type");
        return rows[i].parse(parser, value);
    }
    return fail(parser, key, "is not known");
}

static gboolean
complete(Parser *parser)
{
    FaultRule *rule = &parser->rule;

    if (rule->kinds == 0)
        rule->kinds = KIND_ALL;
    if (rule->stall && (rule->error != 0 || rule->delay != 0))
        return fail(parser, "stall", "goes with neither error nor delay");
    if (!parser->has_error && !rule->stall && rule->delay == 0)
        rule->error = EIO;
    if (rule->error == 0 && !rule->stall && rule->delay == 0)
        return fail(parser, "error", "is none, and there is no delay");
    return TRUE;
}

static gboolean
parse_rule(GVariant *dict, FaultRule *ret_rule, GError **ret_error)
{
    Parser parser = { .rule = { .chance = FAULT_CERTAIN }, .ret_error = ret_error };
    GVariantIter iter;
    const char *key;
    GVariant *value;

    g_variant_iter_init(&iter, dict);
    while (g_variant_iter_next(&iter, "{&sv}", &key, &value)) {
        gboolean is_good = parse_item(&parser, key, value);

        g_variant_unref(value);
        if (!is_good)
            return FALSE;
    }
    if (!complete(&parser))
        return FALSE;

    *ret_rule = parser.rule;
    return TRUE;
}

static gboolean
parse_rules(GVariant *dicts, FaultSet **ret_set, GError **ret_error)
{
    FaultRule rules[FAULT_RULES_MAX];
    gsize n = g_variant_n_children(dicts);

    if (n > FAULT_RULES_MAX) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_LIMIT_EXCEEDED,
                    "A backstore has at most %u faults", FAULT_RULES_MAX);
        return FALSE;
    }

    for (gsize i = 0; i < n; i++) {
        g_autoptr(GVariant) dict = g_variant_get_child_value(dicts, i);

        if (!parse_rule(dict, &rules[i], ret_error))
            return FALSE;
    }

    *ret_set = n > 0 ? fault_set_new(rules, (guint)n) : NULL;
    return TRUE;
}

/*
 * Stores that come and go
 */

void
faults_begin(const ModelBackstore *backstore, Backstore *store)
{
    if (backstore->fault_set != NULL)
        backstore_begin_with_faults(store, backstore->fault_set);
}

void
faults_end(Service *service, Backstore *store)
{
    backstore_set_faults(store, NULL, service->workers, &service->mailbox, NULL, NULL);
}

void
faults_forget(ModelBackstore *backstore)
{
    fault_set_unref(g_steal_pointer(&backstore->fault_set));
    g_clear_pointer(&backstore->faults, g_variant_unref);
}

void
faults_stop(Service *service)
{
    for (guint i = 0; i < service->model->backstores->len; i++) {
        ModelBackstore *backstore = g_ptr_array_index(service->model->backstores, i);
        Backstore *store = storage_get_store(backstore);

        if (backstore->fault_set != NULL && store != NULL)
            faults_end(service, store);
        faults_forget(backstore);
    }
}

/*
 * The operation
 */

static void
on_set(gpointer data)
{
    operation_finish(data, NULL);
}

static void
report_set(const ModelBackstore *backstore)
{
    g_autofree char *text = g_variant_print(backstore->faults, FALSE);
    const LogField fields[] = { { "ISCSI_BACKSTORE", backstore->spec->name },
                                { "REASON", text },
                                { NULL, NULL } };

    log_event(EVENT_FAULTS_SET, fields);
}

static void
report_cleared(const ModelBackstore *backstore)
{
    g_autofree char *count =
        g_strdup_printf("%" G_GUINT64_FORMAT, fault_set_n_struck(backstore->fault_set));
    const LogField fields[] = { { "ISCSI_BACKSTORE", backstore->spec->name },
                                { "COUNT", count },
                                { NULL, NULL } };

    log_event(EVENT_FAULTS_CLEARED, fields);
}

static void
commit(Operation *operation, ModelBackstore *backstore, FaultSet *set)
{
    Service *service = operation->service;
    Backstore *store = storage_get_store(backstore);

    if (set == NULL && backstore->fault_set != NULL)
        report_cleared(backstore);
    faults_forget(backstore);
    if (set != NULL) {
        backstore->fault_set = fault_set_ref(set);
        backstore->faults = g_variant_ref(operation->parameters);
        report_set(backstore);
    }
    model_changed(service->model, MODEL_BACKSTORE, backstore);
    model_changed(service->model, MODEL_SERVICE, service->model);
    if (store != NULL)
        backstore_set_faults(store, set, service->workers, &service->mailbox, on_set, operation);
    else
        operation_finish(operation, NULL);
}

static void
run_set_faults(Operation *operation)
{
    g_autoptr(FaultSet) set = NULL;
    GError *error = NULL;
    ModelBackstore *backstore = operation_find_backstore(operation, &error);

    if (backstore == NULL || !parse_rules(operation->parameters, &set, &error))
        operation_fail(operation, error);
    else if (operation->options.dry_run)
        operation_finish(operation, NULL);
    else
        commit(operation, backstore, set);
}

void
service_set_faults(Service *service, const char *name, GVariant *rules,
                   const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = operation_new(service, options, run_set_faults, done, user_data);

    operation->name = g_strdup(name);
    operation->parameters = g_variant_ref_sink(rules);
    /* Not the backstore: see above */
    operation_hold(operation, MODEL_SERVICE, name);
    operation_submit(operation, "SetFaults", name);
}
