/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The bus
 *
 * Puts the parts together: a connection of its own (never the shared one of
 * GLib, so that a test may have several), the tree with a face for each object
 * of the model, the authority, LogControl1. The name is asked for last, when the
 * service runs: whoever sees it sees every object, also the caller for whom the
 * bus started the service.
 *
 * This is where the model's news become news on the bus. One change in the
 * model can show in the properties of several objects: what hangs together is
 * written in touch_relatives() and nowhere else.
 */

#include "bus/bus.h"

#include "bus/authority.h"
#include "bus/call.h"
#include "bus/job.h"
#include "bus/log-control.h"
#include "bus/noun.h"
#include "bus/path.h"
#include "bus/settings.h"
#include "bus/stop-job.h"
#include "bus/tree.h"
#include "util/error.h"

struct Bus {
    CallContext context;
    GDBusConnection *connection;
    LogControl *log_control;
    const BusListener *listener;
    gpointer data;
    guint name;
    gulong closed_handler;
    gboolean is_lost; /* and the listener knows */
};

static const Noun *const nouns_by_kind[MODEL_KIND_N] = {
    [MODEL_SERVICE] = &manager_noun,
    [MODEL_BACKSTORE] = &backstore_noun,
    [MODEL_TARGET] = &target_noun,
    [MODEL_LUN] = &lun_noun,
    [MODEL_PORTAL_GROUP] = &portal_group_noun,
    [MODEL_PORTAL] = &portal_noun,
    [MODEL_SESSION] = &session_noun,
    [MODEL_CONNECTION] = &connection_noun,
    [MODEL_ACL] = &acl_noun,
    [MODEL_INITIATOR_GROUP] = &initiator_group_noun,
    [MODEL_JOB] = &job_noun,
};

/* The key borrows its name from @object */
static Key
make_key(ModelKind kind, gconstpointer object)
{
    switch (kind) {
    case MODEL_BACKSTORE:
        return (Key){ .name = ((const ModelBackstore *)object)->spec->name };
    case MODEL_TARGET:
        return (Key){ .name = ((const ModelTarget *)object)->spec->name };
    case MODEL_LUN: {
        const ModelLun *lun = object;

        return (Key){ .name = lun->target->spec->name, .number = lun->number };
    }
    case MODEL_PORTAL_GROUP:
        return (Key){ .number = ((const ModelPortalGroup *)object)->spec->tag };
    case MODEL_PORTAL:
        return (Key){ .number = ((const ModelPortal *)object)->id };
    case MODEL_SESSION:
        return (Key){ .number = ((const ModelSession *)object)->tsih };
    case MODEL_CONNECTION: {
        const ModelConnection *connection = object;

        return (Key){ .number = connection->session->tsih, .part = connection->cid };
    }
    case MODEL_ACL: {
        const ModelAcl *acl = object;

        return (Key){ .name = acl->target->spec->name, .number = acl->id };
    }
    case MODEL_INITIATOR_GROUP:
        return (Key){ .name = ((const ModelInitiatorGroup *)object)->spec->name };
    case MODEL_JOB:
        return (Key){ .number = ((const ModelJob *)object)->id };
    case MODEL_SETTINGS:
    case MODEL_SERVICE:
    case MODEL_KIND_N:
        break;
    }

    return (Key){ 0 };
}

static void
touch(Bus *bus, ModelKind kind, gconstpointer object)
{
    g_autofree char *path = path_of_object(kind, object);

    tree_touch(bus->context.tree, path);
}

static void
touch_all(Bus *bus, ModelKind kind, const GPtrArray *objects)
{
    for (guint i = 0; i < objects->len; i++)
        touch(bus, kind, objects->pdata[i]);
}

static void
touch_luns_of(Bus *bus, const GPtrArray *luns)
{
    touch_all(bus, MODEL_LUN, luns);
}

/* Objects whose properties speak of @object */
static void
touch_relatives(Bus *bus, ModelKind kind, gconstpointer object)
{
    const Model *model = service_get_model(bus->context.service);

    switch (kind) {
    case MODEL_BACKSTORE:
        touch_luns_of(bus, ((const ModelBackstore *)object)->luns);
        break;
    case MODEL_TARGET:
        touch(bus, MODEL_SERVICE, model);
        touch_all(bus, MODEL_PORTAL_GROUP, model->portal_groups);
        break;
    case MODEL_LUN:
        if (((const ModelLun *)object)->backstore != NULL)
            touch(bus, MODEL_BACKSTORE, ((const ModelLun *)object)->backstore);
        break;
    case MODEL_PORTAL_GROUP:
        touch_all(bus, MODEL_TARGET, model->targets);
        break;
    case MODEL_SESSION:
        touch(bus, MODEL_SERVICE, model);
        touch_all(bus, MODEL_CONNECTION, ((const ModelSession *)object)->connections);
        if (((const ModelSession *)object)->target != NULL)
            touch(bus, MODEL_TARGET, ((const ModelSession *)object)->target);
        break;
    case MODEL_CONNECTION:
        touch(bus, MODEL_SESSION, ((const ModelConnection *)object)->session);
        if (((const ModelConnection *)object)->portal != NULL)
            touch(bus, MODEL_PORTAL, ((const ModelConnection *)object)->portal);
        break;
    case MODEL_ACL:
        touch(bus, MODEL_TARGET, ((const ModelAcl *)object)->target);
        break;
    case MODEL_SERVICE:
    case MODEL_PORTAL:
    case MODEL_INITIATOR_GROUP:
    case MODEL_SETTINGS:
    case MODEL_JOB:
    case MODEL_KIND_N:
        break;
    }
}

static void
on_name_acquired(GDBusConnection *connection, const char *name, gpointer data)
{
    Bus *bus = data;

    if (bus->listener != NULL && bus->listener->name_acquired != NULL)
        bus->listener->name_acquired(bus->data);
}

static void
lose(Bus *bus)
{
    if (bus->is_lost)
        return;

    bus->is_lost = TRUE;
    if (bus->listener != NULL && bus->listener->name_lost != NULL)
        bus->listener->name_lost(bus->data);
}

static void
on_name_lost(GDBusConnection *connection, const char *name, gpointer data)
{
    lose(data);
}

/* Nobody is served half a configuration: the name comes when the service runs. */
static void
request_name(Bus *bus)
{
    if (bus->name != 0 || service_get_model(bus->context.service)->state == MODEL_STATE_STARTING)
        return;

    bus->name =
        g_bus_own_name_on_connection(bus->connection, BUS_NAME, G_BUS_NAME_OWNER_FLAGS_DO_NOT_QUEUE,
                                     on_name_acquired, on_name_lost, bus, NULL);
}

static void
on_added(ModelKind kind, gpointer object, gpointer data)
{
    Bus *bus = data;
    g_autofree char *path = path_of_object(kind, object);
    Key key = make_key(kind, object);

    tree_add(bus->context.tree, nouns_by_kind[kind], &key, path);
    touch_relatives(bus, kind, object);
}

/* A portal on port 0 gets its port, and so its path, when it listens. */
static void
follow_portal(Bus *bus, ModelPortal *portal)
{
    g_autofree char *path = path_of_portal(portal);
    g_autofree char *old_path = NULL;
    Face *face;

    if (tree_find(bus->context.tree, path) != NULL)
        return;

    face = tree_find_by_number(bus->context.tree, &portal_noun, portal->id);
    old_path = face != NULL ? g_strdup(face_get_path(face)) : NULL;
    if (old_path != NULL)
        tree_remove(bus->context.tree, old_path);
    on_added(MODEL_PORTAL, portal, bus);
}

/* Nothing changes after its end, so it is told once; by then the properties say the same */
static void
follow_job(Bus *bus, const ModelJob *job)
{
    if (job->state == JOB_RUNNING)
        return;

    tree_flush(bus->context.tree);
    job_announce_end(bus->connection, job);
}

static void
on_changed(ModelKind kind, gpointer object, gpointer data)
{
    Bus *bus = data;

    if (kind == MODEL_PORTAL)
        follow_portal(bus, object);
    touch(bus, kind, object);
    touch_relatives(bus, kind, object);
    if (kind == MODEL_SERVICE)
        request_name(bus);
    if (kind == MODEL_JOB)
        follow_job(bus, object);
}

static void
on_removed(ModelKind kind, gpointer object, gpointer data)
{
    Bus *bus = data;
    g_autofree char *path = path_of_object(kind, object);

    tree_remove(bus->context.tree, path);
    touch_relatives(bus, kind, object);
}

static const ModelObserver observer = {
    .added = on_added,
    .changed = on_changed,
    .removed = on_removed,
};

static void
add_all(Bus *bus, ModelKind kind, const GPtrArray *objects)
{
    for (guint i = 0; i < objects->len; i++)
        on_added(kind, objects->pdata[i], bus);
}

/* What exists already, parents before children */
static void
add_model(Bus *bus)
{
    Model *model = service_get_model(bus->context.service);

    on_added(MODEL_SERVICE, model, bus);
    add_all(bus, MODEL_BACKSTORE, model->backstores);
    add_all(bus, MODEL_PORTAL_GROUP, model->portal_groups);
    for (guint i = 0; i < model->portal_groups->len; i++)
        add_all(bus, MODEL_PORTAL, ((ModelPortalGroup *)model->portal_groups->pdata[i])->portals);
    add_all(bus, MODEL_TARGET, model->targets);
    for (guint i = 0; i < model->targets->len; i++)
        add_all(bus, MODEL_LUN, ((ModelTarget *)model->targets->pdata[i])->luns);
    for (guint i = 0; i < model->targets->len; i++)
        add_all(bus, MODEL_ACL, ((ModelTarget *)model->targets->pdata[i])->acls);
    add_all(bus, MODEL_INITIATOR_GROUP, model->initiator_groups);
    add_all(bus, MODEL_JOB, model->jobs);
    add_all(bus, MODEL_SESSION, model->sessions);
    for (guint i = 0; i < model->sessions->len; i++)
        add_all(bus, MODEL_CONNECTION, ((ModelSession *)model->sessions->pdata[i])->connections);
}

static void
on_closed(GDBusConnection *connection, gboolean remote_peer_vanished, GError *error, gpointer data)
{
    lose(data);
}

static GDBusConnection *
connect_to(const char *kind, GError **ret_error)
{
    g_autofree char *address = NULL;

    if (g_str_equal(kind, "system"))
        address = g_dbus_address_get_for_bus_sync(G_BUS_TYPE_SYSTEM, NULL, ret_error);
    else if (g_str_equal(kind, "session"))
        address = g_dbus_address_get_for_bus_sync(G_BUS_TYPE_SESSION, NULL, ret_error);
    else
        address = g_strdup(kind);

    if (address == NULL)
        return NULL;

    return g_dbus_connection_new_for_address_sync(
        address,
        G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
            G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
        NULL, NULL, ret_error);
}

Bus *
bus_new(Service *service, const char *kind, const BusListener *listener, gpointer data,
        GError **ret_error)
{
    g_autoptr(GDBusConnection) connection = connect_to(kind, ret_error);
    Bus *bus;

    if (connection == NULL) {
        g_prefix_error(ret_error, "Failed to connect to the bus “%s”: ", kind);
        return NULL;
    }

    for (gsize i = 0; nouns[i] != NULL; i++)
        noun_check(nouns[i]);

    bus = g_new0(Bus, 1);
    bus->connection = g_steal_pointer(&connection);
    bus->listener = listener;
    bus->data = data;
    bus->closed_handler = g_signal_connect(bus->connection, "closed", G_CALLBACK(on_closed), bus);
    call_context_init(&bus->context, service);
    bus->context.tree = tree_new(service, bus->connection, call_start, &bus->context);
    bus->context.authority = authority_new(bus->connection);
    bus->log_control = log_control_new(bus->connection, bus->context.authority);
    model_set_observer(service_get_model(service), &observer, bus);
    service_set_rejection_fn(service, settings_emit_rejection, bus->connection);
    add_model(bus);
    request_name(bus);
    return bus;
}

void
bus_free(Bus *bus)
{
    if (bus == NULL)
        return;

    g_signal_handler_disconnect(bus->connection, bus->closed_handler);
    model_set_observer(service_get_model(bus->context.service), NULL, NULL);
    service_set_rejection_fn(bus->context.service, NULL, NULL);
    authority_free(bus->context.authority);
    call_context_deinit(&bus->context);
    if (bus->name != 0)
        g_bus_unown_name(bus->name);
    log_control_free(bus->log_control);
    tree_free(bus->context.tree);
    (void)g_dbus_connection_flush_sync(bus->connection, NULL, NULL);
    g_object_unref(bus->connection);
    g_free(bus);
}

void
bus_ask_stop_job(Bus *bus, StopJobDone done, gpointer data)
{
    stop_job_ask(bus->connection, STOP_JOB_ANSWER_MS, done, data);
}
