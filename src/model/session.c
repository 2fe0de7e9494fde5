/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Sessions and their connections
 *
 * A session comes with its first connection, and the others come and go while
 * it is there. A portal counts
 * connections and a target normal sessions; here is where they do.
 */

#include "model/model-private.h"

static void
free_connection(gpointer data)
{
    ModelConnection *connection = data;

    g_free(connection->header_digest);
    g_free(connection->data_digest);
    g_free(connection);
}

void
model_session_free(gpointer data)
{
    ModelSession *session = data;

    g_free(session->target_name);
    g_free(session->initiator_name);
    g_free(session->initiator_alias);
    g_free(session->chap_user);
    g_free(session->remote_address);
    if (session->parameters != NULL)
        g_variant_unref(session->parameters);
    g_ptr_array_unref(session->connections);
    g_free(session);
}

ModelSession *
model_session_new(guint16 tsih)
{
    ModelSession *session = g_new0(ModelSession, 1);

    session->tsih = tsih;
    session->connections = g_ptr_array_new_with_free_func(free_connection);
    return session;
}

static gint
compare_session(gconstpointer object, gconstpointer key)
{
    return (gint)((const ModelSession *)object)->tsih - (gint)GPOINTER_TO_UINT(key);
}

static void
add_connection(Model *model, ModelConnection *connection)
{
    model_tell_added(model, MODEL_CONNECTION, connection);
    if (connection->portal != NULL) {
        connection->portal->n_connections++;
        model_changed(model, MODEL_PORTAL, connection->portal);
    }
}

void
model_take_connection(Model *model, ModelConnection *connection)
{
    g_ptr_array_add(connection->session->connections, connection);
    add_connection(model, connection);
    model_changed(model, MODEL_SESSION, connection->session);
}

void
model_take_session(Model *model, ModelSession *session)
{
    gpointer key = GUINT_TO_POINTER((guint)session->tsih);

    g_assert(model_find_session(model, session->tsih) == NULL);

    g_ptr_array_insert(model->sessions,
                       (gint)model_find_place(model->sessions, compare_session, key), session);
    (void)g_hash_table_insert(model->sessions_by_tsih, key, session);

    model_tell_added(model, MODEL_SESSION, session);
    for (guint i = 0; i < session->connections->len; i++)
        add_connection(model, g_ptr_array_index(session->connections, i));
    if (session->target != NULL && !session->discovery) {
        session->target->n_sessions++;
        model_changed(model, MODEL_TARGET, session->target);
    }
    model_changed(model, MODEL_SERVICE, model);
}

static void
remove_connection(Model *model, ModelConnection *connection)
{
    ModelPortal *portal = connection->portal;

    model_tell_removed(model, MODEL_CONNECTION, connection);
    (void)g_ptr_array_remove(connection->session->connections, connection);
    if (portal != NULL) {
        portal->n_connections--;
        model_changed(model, MODEL_PORTAL, portal);
    }
}

void
model_remove_connection(Model *model, ModelConnection *connection)
{
    ModelSession *session = connection->session;

    remove_connection(model, connection);
    model_changed(model, MODEL_SESSION, session);
}

void
model_remove_session(Model *model, ModelSession *session)
{
    ModelTarget *target = session->target;

    while (session->connections->len > 0)
        remove_connection(model,
                          g_ptr_array_index(session->connections, session->connections->len - 1));

    model_tell_removed(model, MODEL_SESSION, session);
    if (target != NULL && !session->discovery) {
        target->n_sessions--;
        model_changed(model, MODEL_TARGET, target);
    }
    (void)g_hash_table_remove(model->sessions_by_tsih, GUINT_TO_POINTER((guint)session->tsih));
    (void)g_ptr_array_remove(model->sessions, session);
    model_changed(model, MODEL_SERVICE, model);
}
