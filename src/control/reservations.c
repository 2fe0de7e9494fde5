/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What is kept of persistent reservations
 *
 * A logical unit tells of each change before it answers the initiator. Here the
 * last state of each backstore is kept: a logical unit that takes the place of
 * another, as when a device goes and comes again, begins with it. What has to
 * outlive a loss of power is written by the store thread, and read once, before
 * the configuration is.
 *
 * A file that cannot be used keeps its backstore from being opened, since a
 * node that was fenced would otherwise have access again without anybody having
 * decided so.
 */

#include <string.h>

#include "control/service-private.h"
#include "util/error.h"

/* The last state of a backstore */
typedef struct {
    char *text;         /* "" when it could not be read */
    gboolean is_loaded; /* by this service, and it has not changed since */
    gboolean is_stored; /* there is a file */
} Kept;

typedef struct {
    Service *service;
    LuPersist *persist;
    Kept *kept;
} ReservationSave;

static Kept *
kept_new(const char *text)
{
    Kept *kept = g_new0(Kept, 1);

    kept->text = g_strdup(text);
    return kept;
}

static void
kept_free(gpointer data)
{
    Kept *kept = data;

    g_free(kept->text);
    g_free(kept);
}

/* Takes @kept */
static void
replace(Service *service, const char *name, Kept *kept)
{
    if (kept->text != NULL) {
        g_hash_table_insert(service->reservations, g_strdup(name), kept);
        return;
    }
    (void)g_hash_table_remove(service->reservations, name);
    kept_free(kept);
}

/*
 * What the model shows
 */

static ModelBackstore *
find_by_lu(const Service *service, const Lu *lu)
{
    for (guint i = 0; i < service->model->backstores->len; i++) {
        ModelBackstore *backstore = g_ptr_array_index(service->model->backstores, i);

        if (storage_get_lu(backstore) == lu)
            return backstore;
    }
    return NULL;
}

static const char *
find_holder(const LuReservation *reservation)
{
    const char *holder = NULL;

    for (guint i = 0; i < reservation->n_registrations; i++) {
        if (!reservation->registrations[i].is_holder)
            continue;
        if (holder != NULL)
            return NULL;
        holder = reservation->registrations[i].initiator_port;
    }
    return holder;
}

static void
on_told(Lu *lu, const LuReservation *reservation, gpointer data)
{
    const Service *service = data;
    ModelBackstore *backstore = find_by_lu(service, lu);

    if (backstore == NULL)
        return;

    backstore->reservation_type = reservation->type;
    backstore->reservation_generation = reservation->generation;
    g_free(backstore->reservation_holder);
    backstore->reservation_holder =
        g_strdup(reservation->type != 0 ? find_holder(reservation) : NULL);
    for (guint i = 0; i < backstore->luns->len; i++)
        model_changed(service->model, MODEL_LUN, g_ptr_array_index(backstore->luns, i));
}

void
reservations_ask(Service *service, Lu *lu)
{
    lu_get_reservation(lu, &service->mailbox, on_told, service);
}

/* The unit may go as soon as it has the answer, so it is asked before: it answers after the change */
static void
answer(Service *service, LuPersist *persist, gboolean success)
{
    reservations_ask(service, persist->lu);
    lu_persisted(persist, success);
}

static void
on_saved(const GError *error, gpointer data)
{
    ReservationSave *save = data;

    if (error == NULL) {
        replace(save->service, lu_name(save->persist->lu), save->kept);
    } else {
        if (peer_log_admit_unknown(save->service->peer_log))
            operation_report_save_failure(error);
        kept_free(save->kept);
    }
    answer(save->service, save->persist, error == NULL);
    g_free(save);
}

static void
on_persist(LuPersist *persist, gpointer data)
{
    Service *service = data;
    const char *name = lu_name(persist->lu);
    const Kept *before = g_hash_table_lookup(service->reservations, name);
    Kept *kept = kept_new(persist->text);
    ReservationSave *save;

    kept->is_stored = persist->keep;
    if (!persist->keep && (before == NULL || !before->is_stored)) {
        replace(service, name, kept);
        answer(service, persist, TRUE);
        return;
    }

    save = g_new0(ReservationSave, 1);
    *save = (ReservationSave){ .service = service, .persist = persist, .kept = kept };
    store_save_record(service->store, STORE_RESERVATIONS, name,
                      persist->keep ? g_strdup(persist->text) : NULL, on_saved, save);
}

void
reservations_fill(Service *service, const ModelBackstore *backstore, LuConfig *config)
{
    const Kept *kept = g_hash_table_lookup(service->reservations, backstore->spec->name);

    config->persist = on_persist;
    config->persist_data = service;
    config->persist_to = &service->mailbox;
    /* What goes with the service has nothing to be kept for */
    config->can_keep = service->state_dir != NULL && backstore->origin != MODEL_ORIGIN_RUNTIME;
    if (kept == NULL)
        return;

    config->reservations = kept->text;
    config->reservations_size = strlen(kept->text);
    config->is_power_on = kept->is_loaded;
}

gboolean
reservations_check(const Service *service, const char *name, GError **ret_error)
{
    const Kept *kept = g_hash_table_lookup(service->reservations, name);

    if (service->unreadable[STORE_RESERVATIONS] != NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "Which reservations are kept is not known: %s",
                    service->unreadable[STORE_RESERVATIONS]);
        return FALSE;
    }
    return kept == NULL || lu_check_reservations(kept->text, strlen(kept->text), ret_error);
}

static void
on_forgotten(const GError *error, gpointer data)
{
    (void)data;
    if (error != NULL)
        operation_report_save_failure(error);
}

void
reservations_forget(Service *service, const char *name)
{
    const Kept *kept = g_hash_table_lookup(service->reservations, name);

    if (kept != NULL && kept->is_stored)
        store_save_record(service->store, STORE_RESERVATIONS, name, NULL, on_forgotten, NULL);
    (void)g_hash_table_remove(service->reservations, name);
}

static void
on_loaded(GPtrArray *entries, const GError *error, gpointer data)
{
    Service *service = data;

    records_note_unreadable(service, STORE_RESERVATIONS, error);
    for (guint i = 0; i < entries->len; i++) {
        const StoreEntry *entry = g_ptr_array_index(entries, i);
        Kept *kept;

        if (!records_is_ours(entry))
            continue;
        /* One that cannot be read is as bad as one that is damaged */
        kept = kept_new(entry->text != NULL ? entry->text : "");
        kept->is_loaded = kept->is_stored = TRUE;
        replace(service, entry->name, kept);
    }
}

void
reservations_init(Service *service)
{
    service->reservations = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, kept_free);
}

void
reservations_load(Service *service)
{
    store_load_records(service->store, STORE_RESERVATIONS, on_loaded, service);
}
