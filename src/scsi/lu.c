/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "scsi/lu.h"

#include <string.h>

#include "scsi/lu-change.h"
#include "scsi/lu-shard.h"
#include "scsi/range-lock.h"

static void
shard_init(LuShard *shard, Lu *lu, Worker *worker)
{
    shard->lu = lu;
    shard->worker = worker;
    list_init(&shard->nexus_luns);
    list_init(&shard->ranges);
    list_init(&shard->parked);
    list_init(&shard->stall_link);
    list_init(&shard->reset_wait.link);
}

/*
 * What is kept
 */

void
lu_persist_init(LuPersist *persist, Lu *lu, const LuConfig *config, LuPersistFn fn,
                MessageFn stored)
{
    *persist = (LuPersist){
        .lu = lu,
        .stored = stored,
        .to = config->persist_to,
        .fn = fn,
        .user_data = config->persist_data,
    };
}

/* On the thread that stores */
static void
on_persist(Message *message)
{
    LuPersist *persist = list_entry(message, LuPersist, message);

    persist->fn(persist, persist->user_data);
}

void
lu_persist_send(LuPersist *persist)
{
    mailbox_send(persist->to, &persist->message, on_persist);
}

void
lu_persisted(LuPersist *persist, gboolean success)
{
    persist->success = success;
    worker_send(persist->lu->workers[persist->lu->home], &persist->message, persist->stored);
}

/*
 * State
 */

void
lu_shard_set_state(LuShard *shard, const LuState *state)
{
    const Lu *lu = shard->lu;

    shard->state = *state;
    if (shard->n_rods != 0)
        rod_shard_state_changed(shard);
    backstore_take_size(lu->store, shard->worker, state->size);
    backstore_set_write_through(lu->store, shard->worker,
                                lu->info->write_cache && !lu_state_has(state, MODE_WCE));
}

void
lu_state_reset(Lu *lu)
{
    lu->state.mode = lu->state.saved_mode;
    lu->state.power_condition = POWER_ACTIVE;
}

void
nexus_lun_set_preventing(NexusLun *nexus_lun, gboolean preventing)
{
    if (nexus_lun->is_preventing == preventing)
        return;

    nexus_lun->is_preventing = preventing;
    nexus_lun->shard->n_preventing += preventing ? 1 : -1;
}

SenseCode
lu_ejected_sense(const Lu *lu)
{
    return lu->device == LU_CDROM ? SENSE_MEDIUM_NOT_PRESENT_OPEN : SENSE_MEDIUM_NOT_PRESENT;
}

/* A request to eject is told only where nothing newer has happened */
void
nexus_lun_set_media_event(NexusLun *nexus_lun, MediaEvent event)
{
    nexus_lun->media_event = (guint8)event;
    if (event != MEDIA_EJECT_REQUEST)
        nexus_lun->has_new_features = TRUE;
}

/* Home again: perhaps it has changed meanwhile */
static void
on_medium_told(Message *message)
{
    LuMediumNote *note = list_entry(message, LuMediumNote, message);

    note->is_out = FALSE;
    lu_tell_medium(note->lu);
    lu_shard_check_released(&note->lu->shards[note->lu->home]);
}

/* On the thread that wants to know */
static void
on_medium_note(Message *message)
{
    LuMediumNote *note = list_entry(message, LuMediumNote, message);
    Lu *lu = note->lu;

    note->fn(lu, note->told, note->user_data);
    worker_send(lu->workers[lu->home], &note->message, on_medium_told);
}

void
lu_tell_medium(Lu *lu)
{
    LuMediumNote *note = &lu->medium_note;

    if (note->fn == NULL || note->is_out || note->told == lu->state.is_ejected)
        return;

    note->is_out = TRUE;
    note->told = lu->state.is_ejected;
    mailbox_send(note->to, &note->message, on_medium_note);
}

static void
state_init(Lu *lu, const LuConfig *config)
{
    lu->changeable_mode = MODE_BIT(MODE_D_SENSE) | MODE_BIT(MODE_SWP) | MODE_BIT(MODE_TAS) |
                          MODE_BIT(MODE_QERR_ABORT) | MODE_BIT(MODE_QERR_OWN);
    /* TAS: a node that is fenced hears at once that its commands are gone, not by its timeouts */
    lu->default_mode = MODE_BIT(MODE_TAS);
    if (lu->info->write_cache) {
        lu->changeable_mode |= MODE_BIT(MODE_WCE);
        lu->default_mode |= MODE_BIT(MODE_WCE);
    }
    /* Nothing is lost when a drive gets another medium, and so another Lu */
    if (lu->device == LU_CDROM)
        lu->changeable_mode = 0;

    lu_mode_init(lu, config);
    lu->state.size = lu->info->size;
    lu->notes = g_new0(LuNotes, 1);
    if (config->identifying != NULL)
        (void)lu_identifying_parse(config->identifying, config->identifying_size,
                                   &lu->notes->identifying, NULL);
    lu_state_reset(lu);
    for (guint i = 0; i < lu->n_workers; i++)
        lu_shard_set_state(&lu->shards[i], &lu->state);
}

Lu *
lu_new(const LuConfig *config, Backstore *store, Worker **workers, guint n_workers, guint home)
{
    Lu *lu = g_new0(Lu, 1);

    g_assert(home < n_workers);

    lu->name = g_strdup(config->name);
    identity_init(&lu->identity, config);
    lu->store = store;
    lu->info = backstore_info(store);
    lu->block_shift = (guint)g_bit_nth_lsf(lu->info->block_size, -1);
    lu->can_unmap = config->thin && lu->info->can_unmap;
    lu->lenient_cdb = config->lenient_cdb;
    lu->not_ready = config->not_ready;
    lu->known_size = config->known_size;
    lu->device = config->device;
    lu->is_removable = config->removable || lu->device == LU_CDROM;
    lu->state.is_ejected = config->is_ejected && lu->is_removable;
    lu->medium_note = (LuMediumNote){ .lu = lu,
                                      .fn = config->medium_fn,
                                      .user_data = config->medium_data,
                                      .to = config->medium_to,
                                      .told = lu->state.is_ejected };
    lu->workers = workers;
    lu->n_workers = n_workers;
    lu->home = home;
    lu->shards = g_new0(LuShard, n_workers);
    for (guint i = 0; i < n_workers; i++)
        shard_init(&lu->shards[i], lu, workers[i]);
    list_init(&lu->resets);
    state_init(lu, config);
    range_lock_init(lu);
    reservation_lu_init(lu, config);
    lu_change_lu_init(lu, config);
    lu_erase_init(lu, config);
    return lu;
}

void
lu_free(Lu *lu)
{
    if (lu == NULL)
        return;

    for (guint i = 0; i < lu->n_workers; i++)
        g_assert(list_is_empty(&lu->shards[i].nexus_luns));
    for (guint i = 0; i < lu->n_workers; i++)
        rod_shard_deinit(&lu->shards[i]);

    reservation_lu_deinit(lu);
    range_lock_deinit(lu);
    lu_erase_deinit(lu);
    g_free(lu->notes);
    g_free(lu->shards);
    g_free(lu->name);
    g_free(lu);
}

gboolean
lu_is_same_unit(const Lu *a, const Lu *b)
{
    return a == b || (a->identity.designators_length == b->identity.designators_length &&
                      memcmp(a->identity.designators, b->identity.designators,
                             a->identity.designators_length) == 0);
}

void
lu_get_statistics(const Lu *lu, guint worker_index, LuStatistics *ret_statistics)
{
    g_assert(worker_index < lu->n_workers);

    *ret_statistics = lu->shards[worker_index].statistics;
}

void
lu_get_store_statistics(const Lu *lu, guint worker_index, BackstoreStatistics *ret_statistics)
{
    backstore_get_statistics(lu->store, worker_index, ret_statistics);
}

const char *
lu_name(const Lu *lu)
{
    return lu->name;
}

static void
lun_map_free(Snapshot *snapshot)
{
    LunMap *map = list_entry(snapshot, LunMap, snapshot);

    g_free(map->groups);
    g_free(map);
}

LunMap *
lun_map_new(const LunEntry *entries, guint n_entries)
{
    LunMap *map = g_malloc0(sizeof(LunMap) + n_entries * sizeof(LunEntry));

    snapshot_init(&map->snapshot, lun_map_free);
    map->n_entries = n_entries;
    for (guint i = 0; i < n_entries; i++) {
        g_assert(entries[i].lun <= LUN_MAX);
        g_assert(i == 0 || entries[i - 1].lun < entries[i].lun);
        map->entries[i] = entries[i];
    }
    return map;
}
