/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * I_T nexus
 *
 * The units of the target's map, each with a NexusLun of this nexus: its task
 * set and its unit attentions. When the map changes, units that stay keep
 * theirs; one that goes is unreachable at once, its commands are aborted, and
 * its NexusLun lives on until the last of them has left the backstore.
 *
 * A unit whose backstore goes or comes back is replaced by another Lu with the
 * same identity. For initiators it is the same unit, which became not ready or
 * ready: commands that are under way end as if nothing had happened, and unit
 * attentions tell what was lost.
 */

#include "scsi/nexus.h"

#include "scsi/alua.h"
#include "scsi/copy.h"
#include "scsi/lu-shard.h"
#include "scsi/rod.h"
#include "scsi/sibling.h"

static NexusLun *
nexus_lun_new(Nexus *nexus, const LunEntry *entry)
{
    NexusLun *nexus_lun = g_new0(NexusLun, 1);

    nexus_lun->nexus = nexus;
    nexus_lun->lu = entry->lu;
    nexus_lun->shard = lu_shard(entry->lu, nexus->worker);
    nexus_lun->shard->scsi = nexus->scsi;
    nexus_lun->lun = entry->lun;
    nexus_lun->serial = ++nexus->last_serial;
    nexus_lun->read_only = entry->read_only;
    list_init(&nexus_lun->shard_link);
    list_init(&nexus_lun->leaving_link);
    list_init(&nexus_lun->tasks);
    list_init(&nexus_lun->waiting);
    list_init(&nexus_lun->copies);
    list_init(&nexus_lun->rods);
    list_append(&nexus_lun->shard->nexus_luns, &nexus_lun->shard_link);
    unit_attention_raise(&nexus_lun->attentions, SENSE_POWER_ON);
    reservation_lun_init(nexus_lun);
    return nexus_lun;
}

static void
nexus_lun_free(NexusLun *nexus_lun)
{
    LuShard *shard = nexus_lun->shard;

    g_assert(list_is_empty(&nexus_lun->tasks));
    g_assert(list_is_empty(&nexus_lun->waiting));

    copy_lun_deinit(nexus_lun);
    rod_lun_deinit(nexus_lun);
    nexus_lun_set_preventing(nexus_lun, FALSE);
    reservation_lun_deinit(nexus_lun);
    list_unlink(&nexus_lun->shard_link);
    list_unlink(&nexus_lun->leaving_link);
    g_free(nexus_lun->echo);
    g_free(nexus_lun);
    lu_shard_check_released(shard);
}

void
nexus_lun_idle(NexusLun *nexus_lun)
{
    if (nexus_lun->is_leaving)
        nexus_lun_free(nexus_lun);
}

ScsiCommand *
nexus_lun_find_live(NexusLun *nexus_lun)
{
    list_foreach(link, &nexus_lun->tasks) {
        ScsiCommand *command = list_entry(link, ScsiCommand, link);

        if (!command->aborted && command->state != SCSI_STATE_DONE)
            return command;
    }

    return NULL;
}

static ScsiCommand *
find_receiving(const NexusLun *nexus_lun)
{
    list_foreach(link, &nexus_lun->tasks) {
        ScsiCommand *command = list_entry(link, ScsiCommand, link);

        if (command->state == SCSI_STATE_DATA_OUT)
            return command;
    }

    return NULL;
}

/*
 * Free it after the last command. Those of a unit that is not in the map any more are aborted; those
 * of a unit that has a successor end by themselves, unless they wait for the initiator.
 */
static void
nexus_lun_leave(NexusLun *nexus_lun, gboolean has_successor)
{
    ScsiCommand *command;

    list_append(&nexus_lun->nexus->leaving, &nexus_lun->leaving_link);

    if (has_successor) {
        while ((command = find_receiving(nexus_lun)) != NULL)
            scsi_command_fail_transport(command, SENSE_NOT_READY_BECOMING_READY);
    } else {
        while ((command = nexus_lun_find_live(nexus_lun)) != NULL)
            scsi_command_abort(command);
    }

    nexus_lun->is_leaving = TRUE;
    if (list_is_empty(&nexus_lun->tasks))
        nexus_lun_free(nexus_lun);
}

NexusLun *
nexus_find_lun(const Nexus *nexus, guint16 lun)
{
    const LunMap *map = nexus->map;
    guint low = 0, high = map->n_entries;

    /* LUNs mostly count from 0 without a gap */
    if (lun < map->n_entries && map->entries[lun].lun == lun)
        return nexus->luns[lun];

    while (low < high) {
        guint middle = (low + high) / 2;

        if (map->entries[middle].lun == lun)
            return nexus->luns[middle];
        if (map->entries[middle].lun < lun)
            low = middle + 1;
        else
            high = middle;
    }

    return NULL;
}

Nexus *
nexus_new(Worker *worker, const NexusConfig *config, LunMap *map)
{
    Nexus *nexus = g_new0(Nexus, 1);

    nexus->worker = worker;
    nexus->scsi = scsi_worker_of(worker);
    g_assert(nexus->scsi != NULL);

    nexus->initiator_port_name = g_strdup(config->initiator_port_name);
    nexus->target_name = g_strdup(config->target_name);
    nexus->relative_target_port = config->relative_target_port;
    nexus->target_port_group = config->target_port_group;
    nexus->has_queries = config->has_queries;
    nexus->version_descriptor = config->version_descriptor;
    nexus->tell = config->tell;
    nexus->reach = config->reach;
    nexus->user_data = config->user_data;
    list_init(&nexus->leaving);
    list_init(&nexus->tasks);
    siblings_init(nexus);
    deferred_init(&nexus->commands_ended, nexus_on_commands_ended);

    (void)snapshot_ref(&map->snapshot);
    nexus->map = map;
    nexus->access = alua_get_state(nexus);
    nexus->luns = g_new0(NexusLun *, MAX(map->n_entries, 1));
    for (guint i = 0; i < map->n_entries; i++)
        nexus->luns[i] = nexus_lun_new(nexus, &map->entries[i]);
    return nexus;
}

void
nexus_free(Nexus *nexus)
{
    if (nexus == NULL)
        return;

    g_assert(nexus->n_commands == 0);
    siblings_deinit(nexus);
    g_assert(nexus->n_leaves == 0 && !nexus->awaits_commands);
    g_assert(list_is_empty(&nexus->leaving));
    g_assert(list_is_empty(&nexus->tasks));

    for (guint i = 0; i < nexus->map->n_entries; i++)
        nexus_lun_free(nexus->luns[i]);
    g_free(nexus->luns);
    snapshot_unref(&nexus->map->snapshot);
    g_free(nexus->initiator_port_name);
    g_free(nexus->target_name);
    g_free(nexus);
}

/* What initiators were told of its size, 0: nothing */
static guint64
known_size(const NexusLun *nexus_lun)
{
    const Lu *lu = nexus_lun->lu;

    return lu->not_ready != SENSE_NONE ? lu->known_size : nexus_lun->shard->state.size;
}

/* The same drive with another medium, or none: it has no mode parameters to lose. What is known of
 * the medium's size is no longer true after 28/00 anyway. */
static void
succeed_drive(NexusLun *nexus_lun, const NexusLun *old)
{
    const LuShard *shard = nexus_lun->shard;
    gboolean had_medium = lu_shard_has_medium(old->shard);

    nexus_lun_set_preventing(nexus_lun, old->is_preventing);
    nexus_lun->media_event = old->media_event;
    nexus_lun->has_new_features = old->has_new_features;
    if (lu_shard_has_medium(shard)) {
        unit_attention_raise(&nexus_lun->attentions, SENSE_NOT_READY_TO_READY);
        nexus_lun_set_media_event(nexus_lun, MEDIA_NEW);
    } else if (had_medium) {
        nexus_lun_set_media_event(nexus_lun, MEDIA_REMOVED);
    }
}

/* @nexus_lun takes the place of @old, whose unit it is too */
static void
succeed(NexusLun *nexus_lun, const NexusLun *old)
{
    const Lu *lu = nexus_lun->lu;
    UnitAttentions *attentions = &nexus_lun->attentions;
    gboolean was_ready = old->lu->not_ready == SENSE_NONE;

    /* With the old one went what power loss would have taken too: mode parameters, reservations */
    *attentions = old->attentions;
    nexus_lun->events = old->events;
    if (lu->device == LU_CDROM) {
        succeed_drive(nexus_lun, old);
        return;
    }
    if (was_ready)
        unit_attention_raise(attentions, SENSE_POWER_ON);
    if (lu->not_ready != SENSE_NONE)
        return;

    if (!was_ready)
        unit_attention_raise(attentions, SENSE_NOT_READY_TO_READY);
    if (known_size(old) != 0 && known_size(old) != nexus_lun->shard->state.size)
        nexus_lun_raise(nexus_lun, SENSE_CAPACITY_CHANGED);
}

/* The NexusLun for an entry of the new map: the old one where number and unit are the same */
static NexusLun *
adopt(Nexus *nexus, const LunEntry *entry, gboolean luns_changed)
{
    NexusLun *old = nexus_find_lun(nexus, entry->lun);
    NexusLun *nexus_lun = old;
    gboolean was_protected = old != NULL && nexus_lun_is_protected(old);

    if (old == NULL || old->lu != entry->lu) {
        nexus_lun = nexus_lun_new(nexus, entry);
        if (old != NULL && lu_is_same_unit(old->lu, entry->lu))
            succeed(nexus_lun, old);
        else if (old != NULL)
            nexus_lun_raise(nexus_lun, SENSE_INQUIRY_DATA_CHANGED);
    }

    /* MODE SENSE shows it */
    nexus_lun->read_only = entry->read_only;
    if (nexus_lun == old && was_protected != nexus_lun_is_protected(nexus_lun))
        nexus_lun_raise(nexus_lun, SENSE_MODE_PARAMETERS_CHANGED);
    if (luns_changed)
        unit_attention_raise(&nexus_lun->attentions, SENSE_REPORTED_LUNS_CHANGED);
    return nexus_lun;
}

/* Whether initiators find other units than before, at other numbers */
static gboolean
luns_differ(const LunMap *a, const LunMap *b)
{
    if (a->n_entries != b->n_entries)
        return TRUE;

    for (guint i = 0; i < a->n_entries; i++) {
        if (a->entries[i].lun != b->entries[i].lun ||
            !lu_is_same_unit(a->entries[i].lu, b->entries[i].lu))
            return TRUE;
    }
    return FALSE;
}

/* Who has asked for the change knows of it */
static void
raise_access_changed(Nexus *nexus)
{
    for (guint i = 0; i < nexus->map->n_entries; i++) {
        NexusLun *nexus_lun = nexus->luns[i];

        if (nexus_lun->n_set_groups == 0)
            nexus_lun_raise(nexus_lun, SENSE_ACCESS_STATE_CHANGED);
    }
}

void
nexus_set_map(Nexus *nexus, LunMap *map)
{
    NexusLun **luns = g_new0(NexusLun *, MAX(map->n_entries, 1));
    NexusLun **old_luns = nexus->luns;
    LunMap *old_map = nexus->map;
    gboolean luns_changed = luns_differ(old_map, map);

    for (guint i = 0; i < map->n_entries; i++)
        luns[i] = adopt(nexus, &map->entries[i], luns_changed);

    (void)snapshot_ref(&map->snapshot);
    nexus->map = map;
    nexus->access = alua_get_state(nexus);
    nexus->luns = luns;
    nexus->next_event = 0;
    if (alua_has_changed(old_map, map))
        raise_access_changed(nexus);
    if (luns_changed)
        nexus_tell_luns(nexus);

    for (guint i = 0; i < old_map->n_entries; i++) {
        const NexusLun *now = nexus_find_lun(nexus, old_map->entries[i].lun);

        if (now != old_luns[i])
            nexus_lun_leave(old_luns[i], now != NULL && lu_is_same_unit(now->lu, old_luns[i]->lu));
    }

    g_free(old_luns);
    snapshot_unref(&old_map->snapshot);
}

const LunMap *
nexus_get_map(const Nexus *nexus)
{
    return nexus->map;
}

guint
nexus_n_commands(const Nexus *nexus)
{
    return nexus->n_commands;
}

/* From the start each time: one that is empty frees itself */
static void
abort_leaving(Nexus *nexus)
{
    gboolean again = TRUE;

    while (again) {
        again = FALSE;
        list_foreach(link, &nexus->leaving) {
            NexusLun *nexus_lun = list_entry(link, NexusLun, leaving_link);
            ScsiCommand *command = nexus_lun_find_live(nexus_lun);

            if (command == NULL)
                continue;
            scsi_command_abort(command);
            again = TRUE;
            break;
        }
    }
}

void
nexus_abort_all(Nexus *nexus)
{
    ListLink *link;

    for (guint i = 0; i < nexus->map->n_entries; i++) {
        ScsiCommand *command;

        while ((command = nexus_lun_find_live(nexus->luns[i])) != NULL)
            scsi_command_abort(command);
    }

    abort_leaving(nexus);
    while ((link = list_first(&nexus->tasks)) != NULL)
        scsi_command_abort(list_entry(link, ScsiCommand, link));
}
