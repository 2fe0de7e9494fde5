/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What is kept of a logical unit besides reservations
 *
 *   erasures     SANITIZE and FORMAT UNIT under way
 *   modes        mode parameters that an initiator has saved
 *   identifying  what an initiator has set as identifying information
 *
 * As with reservations: a logical unit hands over each change before it is in
 * force, the store thread writes it, and a unit that is made for the same
 * backstore later, by this service or the next one, begins with it.
 *
 * A file of an erasing that cannot be used keeps its backstore from being
 * opened: what was to be erased would be readable again. The others are no such
 * matter. When one cannot be used that is reported and the unit begins without;
 * the file stays as it is until an initiator saves again.
 */

#include <string.h>

#include "control/service-private.h"
#include "util/error.h"

typedef struct {
    Service *service;
    StoreRecord record;
    LuPersist *persist;
    char *text;
} RecordSave;

/* Takes @text; NULL: there is nothing to keep */
static void
replace(Service *service, StoreRecord record, const char *name, char *text)
{
    if (text != NULL)
        g_hash_table_insert(service->records[record], g_strdup(name), text);
    else
        (void)g_hash_table_remove(service->records[record], name);
}

static void
on_saved(const GError *error, gpointer data)
{
    RecordSave *save = data;

    if (error == NULL)
        replace(save->service, save->record, lu_name(save->persist->lu),
                g_steal_pointer(&save->text));
    else if (peer_log_admit_unknown(save->service->peer_log))
        operation_report_save_failure(error);
    lu_persisted(save->persist, error == NULL);
    g_free(save->text);
    g_free(save);
}

static void
persist(Service *service, StoreRecord record, LuPersist *request)
{
    RecordSave *save = g_new0(RecordSave, 1);

    *save = (RecordSave){
        .service = service, .record = record, .persist = request, .text = g_strdup(request->text)
    };
    if (service->state_dir == NULL) {
        on_saved(NULL, save);
        return;
    }

    store_save_record(service->store, record, lu_name(request->lu),
                      request->keep ? g_strdup(request->text) : NULL, on_saved, save);
}

static void
on_persist_erasure(LuPersist *request, gpointer data)
{
    persist(data, STORE_ERASURES, request);
}

static void
on_persist_modes(LuPersist *request, gpointer data)
{
    persist(data, STORE_MODES, request);
}

static void
on_persist_identifying(LuPersist *request, gpointer data)
{
    persist(data, STORE_IDENTIFYING, request);
}

static const char *
find(const Service *service, StoreRecord record, const char *name)
{
    return g_hash_table_lookup(service->records[record], name);
}

/* What can be done without, NULL when there is none that can be used */
static const char *
find_usable(Service *service, StoreRecord record, const char *folder, const char *name,
            gboolean (*check)(const char *text, gsize size, GError **ret_error))
{
    const char *text = find(service, record, name);
    g_autofree char *path = NULL;
    g_autoptr(GError) error = NULL;

    if (text == NULL || check(text, strlen(text), &error))
        return text;

    path = g_build_filename(service->state_dir, folder, name, NULL);
    configure_report(path, error->message);
    replace(service, record, name, NULL);
    return NULL;
}

void
records_fill(Service *service, const ModelBackstore *backstore, LuConfig *config)
{
    const char *name = backstore->spec->name;
    const char *erase = find(service, STORE_ERASURES, name);
    const char *modes = find_usable(service, STORE_MODES, "modes", name, lu_check_modes);
    const char *identifying =
        find_usable(service, STORE_IDENTIFYING, "identifying", name, lu_check_identifying);

    config->persist_erase = on_persist_erasure;
    config->erase = erase;
    config->erase_size = erase != NULL ? strlen(erase) : 0;

    config->persist_modes = on_persist_modes;
    config->modes = modes;
    config->modes_size = modes != NULL ? strlen(modes) : 0;

    config->persist_identifying = on_persist_identifying;
    config->identifying = identifying;
    config->identifying_size = identifying != NULL ? strlen(identifying) : 0;
}

gboolean
records_check(const Service *service, const char *name, GError **ret_error)
{
    const char *text = find(service, STORE_ERASURES, name);

    if (service->unreadable[STORE_ERASURES] != NULL) {
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "What was to be erased is not known: %s", service->unreadable[STORE_ERASURES]);
        return FALSE;
    }
    return text == NULL || lu_check_erase(text, strlen(text), ret_error);
}

static void
on_forgotten(const GError *error, gpointer data)
{
    if (error != NULL)
        operation_report_save_failure(error);
}

/* A file that could not be used goes too: who makes a backstore of this name anew begins from nothing */
void
records_forget(Service *service, const char *name)
{
    for (guint record = STORE_ERASURES; record < STORE_N_RECORDS; record++) {
        gboolean was_there = g_hash_table_remove(service->records[record], name);

        if (service->state_dir != NULL && (was_there || record != STORE_ERASURES))
            store_save_record(service->store, (StoreRecord)record, name, NULL, on_forgotten, NULL);
    }
}

void
records_note_unreadable(Service *service, StoreRecord record, const GError *error)
{
    if (error == NULL)
        return;

    operation_report_save_failure(error);
    service->unreadable[record] = g_strdup(error->message);
}

gboolean
records_is_ours(const StoreEntry *entry)
{
    if (entry->name == NULL)
        configure_report(entry->path, "It has not the name of a backstore");
    return entry->name != NULL;
}

static void
take_entries(Service *service, StoreRecord record, GPtrArray *entries, const GError *error)
{
    records_note_unreadable(service, record, error);
    for (guint i = 0; i < entries->len; i++) {
        const StoreEntry *entry = g_ptr_array_index(entries, i);

        if (!records_is_ours(entry))
            continue;
        /* One that cannot be read is as bad as one that is damaged */
        replace(service, record, entry->name, g_strdup(entry->text != NULL ? entry->text : ""));
    }
}

static void
on_erasures_loaded(GPtrArray *entries, const GError *error, gpointer data)
{
    take_entries(data, STORE_ERASURES, entries, error);
}

static void
on_modes_loaded(GPtrArray *entries, const GError *error, gpointer data)
{
    take_entries(data, STORE_MODES, entries, error);
}

static void
on_identifying_loaded(GPtrArray *entries, const GError *error, gpointer data)
{
    take_entries(data, STORE_IDENTIFYING, entries, error);
}

void
records_init(Service *service)
{
    for (guint record = STORE_ERASURES; record < STORE_N_RECORDS; record++)
        service->records[record] = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
}

void
records_deinit(Service *service)
{
    for (guint record = STORE_ERASURES; record < STORE_N_RECORDS; record++)
        g_clear_pointer(&service->records[record], g_hash_table_unref);
    for (guint record = 0; record < STORE_N_RECORDS; record++)
        g_free(service->unreadable[record]);
}

void
records_load(Service *service)
{
    store_load_records(service->store, STORE_ERASURES, on_erasures_loaded, service);
    store_load_records(service->store, STORE_MODES, on_modes_loaded, service);
    store_load_records(service->store, STORE_IDENTIFYING, on_identifying_loaded, service);
}
