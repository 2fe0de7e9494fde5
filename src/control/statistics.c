/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Statistics: what the workers counted, told by object
 *
 * The workers add up their parts and send one report; here it is sorted to the
 * model's objects as they are when it arrives. A counter is a row of a table:
 * its name and where it lies in the report.
 */

#include <string.h>

#include "control/service-private.h"

typedef struct {
    const char *name;
    gsize offset;
    gboolean is_32;
} CounterRow;

#define ROW_64(type, member, name)                                                                 \
    {                                                                                              \
        name, G_STRUCT_OFFSET(type, member), FALSE                                                 \
    }
#define ROW_32(type, member, name)                                                                 \
    {                                                                                              \
        name, G_STRUCT_OFFSET(type, member), TRUE                                                  \
    }

/* clang-format off */
static const CounterRow session_rows[] = {
    ROW_64(IscsiSessionStatistics, n_commands,             "commands"),
    ROW_64(IscsiSessionStatistics, n_reads,                "reads"),
    ROW_64(IscsiSessionStatistics, n_writes,               "writes"),
    ROW_64(IscsiSessionStatistics, bytes_read,             "bytes-read"),
    ROW_64(IscsiSessionStatistics, bytes_written,          "bytes-written"),
    ROW_64(IscsiSessionStatistics, bytes_received,         "bytes-received"),
    ROW_64(IscsiSessionStatistics, bytes_sent,             "bytes-sent"),
    ROW_64(IscsiSessionStatistics, n_pdus_received,        "pdus-received"),
    ROW_64(IscsiSessionStatistics, n_pdus_sent,            "pdus-sent"),
    ROW_64(IscsiSessionStatistics, n_header_digest_errors, "header-digest-errors"),
    ROW_64(IscsiSessionStatistics, n_data_digest_errors,   "data-digest-errors"),
    ROW_64(IscsiSessionStatistics, n_task_management,      "task-management"),
    ROW_32(IscsiSessionStatistics, n_active,               "active"),
    ROW_32(IscsiSessionStatistics, window,                 "window"),
};

static const CounterRow connection_rows[] = {
    ROW_64(IscsiSessionStatistics, bytes_received,         "bytes-received"),
    ROW_64(IscsiSessionStatistics, bytes_sent,             "bytes-sent"),
    ROW_64(IscsiSessionStatistics, n_pdus_received,        "pdus-received"),
    ROW_64(IscsiSessionStatistics, n_pdus_sent,            "pdus-sent"),
    ROW_64(IscsiSessionStatistics, n_header_digest_errors, "header-digest-errors"),
    ROW_64(IscsiSessionStatistics, n_data_digest_errors,   "data-digest-errors"),
};

static const CounterRow lu_rows[] = {
    ROW_64(LuStatistics, n_commands,    "commands"),
    ROW_64(LuStatistics, n_reads,       "reads"),
    ROW_64(LuStatistics, n_writes,      "writes"),
    ROW_64(LuStatistics, bytes_read,    "bytes-read"),
    ROW_64(LuStatistics, bytes_written, "bytes-written"),
    ROW_64(LuStatistics, n_errors,      "errors"),
    ROW_64(LuStatistics, n_resets,      "resets"),
    ROW_64(LuStatistics, n_aborts,      "aborts"),
};

static const CounterRow store_rows[] = {
    ROW_64(BackstoreStatistics, n_reads,       "reads"),
    ROW_64(BackstoreStatistics, n_writes,      "writes"),
    ROW_64(BackstoreStatistics, n_flushes,     "flushes"),
    ROW_64(BackstoreStatistics, n_unmaps,      "unmaps"),
    ROW_64(BackstoreStatistics, bytes_read,    "bytes-read"),
    ROW_64(BackstoreStatistics, bytes_written, "bytes-written"),
    ROW_64(BackstoreStatistics, n_errors,      "errors"),
};

/* LuStatistics.latency[i] counts commands of 2^i to 2^(i+1)-1 µs */
static const char *const latency_names[32] = {
    "latency-1us",        "latency-2us",        "latency-4us",         "latency-8us",
    "latency-16us",       "latency-32us",       "latency-64us",        "latency-128us",
    "latency-256us",      "latency-512us",      "latency-1024us",      "latency-2048us",
    "latency-4096us",     "latency-8192us",     "latency-16384us",     "latency-32768us",
    "latency-65536us",    "latency-131072us",   "latency-262144us",    "latency-524288us",
    "latency-1048576us",  "latency-2097152us",  "latency-4194304us",   "latency-8388608us",
    "latency-16777216us", "latency-33554432us", "latency-67108864us",  "latency-134217728us",
    "latency-268435456us", "latency-536870912us", "latency-1073741824us", "latency-2147483648us",
};
/* clang-format on */

/* The counters of all objects lie in one array; an object remembers where its own begin until that stops growing */
typedef struct {
    Service *service;
    ServiceStatisticsFn done;
    gpointer user_data;
    GArray *counters; /* of ServiceCounter */
    GArray *objects;  /* of ServiceCounters */
} Report;

static void
add_counter(Report *report, const char *name, guint64 value)
{
    const ServiceCounter counter = { .name = name, .value = value };
    ServiceCounters *object =
        &g_array_index(report->objects, ServiceCounters, report->objects->len - 1);

    g_array_append_val(report->counters, counter);
    object->n_counters++;
}

static void
begin_object(Report *report, ModelKind kind, gpointer object)
{
    const ServiceCounters counters = { .kind = kind, .object = object };

    g_array_append_val(report->objects, counters);
}

static void
add_rows(Report *report, const CounterRow *rows, guint n_rows, gconstpointer statistics)
{
    for (guint i = 0; i < n_rows; i++) {
        const guint8 *where = (const guint8 *)statistics + rows[i].offset;

        if (rows[i].is_32)
            add_counter(report, rows[i].name, *(const guint32 *)(gconstpointer)where);
        else
            add_counter(report, rows[i].name, *(const guint64 *)(gconstpointer)where);
    }
}

static void
add_service(Report *report, const IscsiStatistics *statistics)
{
    const Model *model = report->service->model;

    begin_object(report, MODEL_SERVICE, report->service->model);
    add_counter(report, "targets", model->targets->len);
    add_counter(report, "sessions", model->sessions->len);
    add_counter(report, "logins", statistics->n_logins);
    add_counter(report, "pool-size", statistics->pool_size);
    add_counter(report, "pool-used", statistics->pool_used);
    add_counter(report, "stalls", statistics->n_stalls);
}

static void
add_lu(Report *report, const IscsiLuReport *lu)
{
    ModelBackstore *backstore = model_find_backstore(report->service->model, lu->name);

    if (backstore == NULL)
        return;

    begin_object(report, MODEL_BACKSTORE, backstore);
    add_rows(report, store_rows, G_N_ELEMENTS(store_rows), &lu->store);
    for (guint i = 0; i < backstore->luns->len; i++) {
        begin_object(report, MODEL_LUN, g_ptr_array_index(backstore->luns, i));
        add_rows(report, lu_rows, G_N_ELEMENTS(lu_rows), &lu->lu);
        for (guint j = 0; j < G_N_ELEMENTS(lu->lu.latency); j++) {
            if (lu->lu.latency[j] > 0)
                add_counter(report, latency_names[j], lu->lu.latency[j]);
        }
    }
}

/* Commands are the session's; those of its only connection are told for that too */
static void
add_connection(Report *report, const IscsiSessionReport *reported, ModelConnection *connection)
{
    for (guint i = 0; i < reported->n_connections; i++) {
        if (reported->connections[i].cid != connection->cid)
            continue;
        begin_object(report, MODEL_CONNECTION, connection);
        if (reported->n_connections == 1)
            add_rows(report, session_rows, G_N_ELEMENTS(session_rows), &reported->statistics);
        else
            add_rows(report, connection_rows, G_N_ELEMENTS(connection_rows),
                     &reported->connections[i].statistics);
    }
}

static void
add_session(Report *report, const IscsiSessionReport *reported)
{
    ModelSession *session = model_find_session(report->service->model, reported->tsih);

    if (session == NULL)
        return;

    begin_object(report, MODEL_SESSION, session);
    add_rows(report, session_rows, G_N_ELEMENTS(session_rows), &reported->statistics);
    for (guint i = 0; i < session->connections->len; i++)
        add_connection(report, reported, g_ptr_array_index(session->connections, i));
}

static void
add_targets_and_portals(Report *report)
{
    const Model *model = report->service->model;

    for (guint i = 0; i < model->targets->len; i++) {
        ModelTarget *target = g_ptr_array_index(model->targets, i);

        begin_object(report, MODEL_TARGET, target);
        add_counter(report, "logins", target->n_logins);
        add_counter(report, "logins-refused", target->n_refused);
    }
    for (guint i = 0; i < model->portal_groups->len; i++) {
        const ModelPortalGroup *group = g_ptr_array_index(model->portal_groups, i);

        for (guint j = 0; j < group->portals->len; j++) {
            ModelPortal *portal = g_ptr_array_index(group->portals, j);

            begin_object(report, MODEL_PORTAL, portal);
            add_counter(report, "connections-accepted", portal->n_accepted);
        }
    }
}

/* Counters stand in the order of objects, so the pointers can be set when all are there */
static void
deliver(Report *report)
{
    ServiceStatistics statistics = { .timestamp = g_get_monotonic_time() };
    const ServiceCounter *next = (const ServiceCounter *)(gconstpointer)report->counters->data;

    for (guint i = 0; i < report->objects->len; i++) {
        ServiceCounters *object = &g_array_index(report->objects, ServiceCounters, i);

        object->counters = next;
        next += object->n_counters;
    }

    statistics.objects = (const ServiceCounters *)(gconstpointer)report->objects->data;
    statistics.n_objects = report->objects->len;
    report->done(&statistics, report->user_data);
}

static void
on_statistics(const IscsiStatistics *statistics, gpointer data)
{
    Report *report = data;

    add_service(report, statistics);
    for (guint i = 0; i < statistics->n_lus; i++)
        add_lu(report, &statistics->lus[i]);
    for (guint i = 0; i < statistics->n_sessions; i++)
        add_session(report, &statistics->sessions[i]);
    add_targets_and_portals(report);
    deliver(report);

    g_array_unref(report->counters);
    g_array_unref(report->objects);
    g_free(report);
}

static void
on_measured(gpointer data)
{
    Report *report = data;
    Service *service = report->service;
    const GPtrArray *backstores = service->model->backstores;
    g_autofree Lu **lus = g_new0(Lu *, backstores->len + 1);
    guint n = 0;

    /* The workers may have ended since this was asked */
    if (service->closing) {
        on_statistics(&(IscsiStatistics){ 0 }, report);
        return;
    }

    for (guint i = 0; i < backstores->len; i++) {
        Lu *lu = storage_get_lu(g_ptr_array_index(backstores, i));

        if (lu != NULL)
            lus[n++] = lu;
    }
    iscsi_service_get_statistics(service->iscsi, lus, n, on_statistics, report);
}

void
service_get_statistics(Service *service, ServiceStatisticsFn done, gpointer user_data)
{
    Report *report = g_new0(Report, 1);

    *report = (Report){ .service = service,
                        .done = done,
                        .user_data = user_data,
                        .counters = g_array_new(FALSE, FALSE, sizeof(ServiceCounter)),
                        .objects = g_array_new(FALSE, FALSE, sizeof(ServiceCounters)) };
    storage_measure(service->storage, on_measured, report);
}
