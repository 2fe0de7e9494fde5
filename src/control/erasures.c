/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What is kept of SANITIZE and FORMAT UNIT under way
 *
 * As with reservations: a logical unit tells of it before the first block goes
 * and before the unit can be used again, the store thread writes it, and a unit
 * that is made for the same backstore later, by this service or the next one,
 * goes on with it. A file that cannot be used keeps its backstore from being
 * opened: what was to be erased would be readable again.
 */

#include <string.h>

#include "control/service-private.h"

typedef struct {
    Service *service;
    LuPersist *persist;
    char *text;
} ErasureSave;

/* Takes @text; NULL: nothing is under way */
static void
replace(Service *service, const char *name, char *text)
{
    if (text != NULL)
        g_hash_table_insert(service->erasures, g_strdup(name), text);
    else
        (void)g_hash_table_remove(service->erasures, name);
}

static void
on_saved(const GError *error, gpointer data)
{
    ErasureSave *save = data;

    if (error == NULL)
        replace(save->service, lu_name(save->persist->lu), g_steal_pointer(&save->text));
    else
        operation_report_save_failure(error);
    lu_persisted(save->persist, error == NULL);
    g_free(save->text);
    g_free(save);
}

static void
on_persist(LuPersist *persist, gpointer data)
{
    Service *service = data;
    ErasureSave *save = g_new0(ErasureSave, 1);

    *save =
        (ErasureSave){ .service = service, .persist = persist, .text = g_strdup(persist->text) };
    if (service->state_dir == NULL) {
        on_saved(NULL, save);
        return;
    }

    store_save_erasure(service->store, lu_name(persist->lu),
                       persist->keep ? g_strdup(persist->text) : NULL, on_saved, save);
}

void
erasures_fill(Service *service, const ModelBackstore *backstore, LuConfig *config)
{
    const char *text = g_hash_table_lookup(service->erasures, backstore->spec->name);

    config->persist_erase = on_persist;
    config->erase = text;
    config->erase_size = text != NULL ? strlen(text) : 0;
}

gboolean
erasures_check(const Service *service, const char *name, GError **ret_error)
{
    const char *text = g_hash_table_lookup(service->erasures, name);

    return text == NULL || lu_check_erase(text, strlen(text), ret_error);
}

static void
on_forgotten(const GError *error, gpointer data)
{
    if (error != NULL)
        operation_report_save_failure(error);
}

void
erasures_forget(Service *service, const char *name)
{
    if (g_hash_table_remove(service->erasures, name) && service->state_dir != NULL)
        store_save_erasure(service->store, name, NULL, on_forgotten, NULL);
}

static void
on_loaded(GPtrArray *entries, const GError *error, gpointer data)
{
    Service *service = data;

    if (error != NULL)
        operation_report_save_failure(error);
    for (guint i = 0; i < entries->len; i++) {
        const StoreEntry *entry = g_ptr_array_index(entries, i);

        /* One that cannot be read is as bad as one that is damaged */
        replace(service, entry->name, g_strdup(entry->text != NULL ? entry->text : ""));
    }
}

void
erasures_init(Service *service)
{
    service->erasures = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
}

void
erasures_load(Service *service)
{
    store_load_erasures(service->store, on_loaded, service);
}
