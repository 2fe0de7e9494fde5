/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Publishing: what the workers know of targets is made here and nowhere else
 *
 * Whenever something changes that a target's snapshot is made of (its spec,
 * the state of a backstore, a portal that listens or no longer does) a new
 * snapshot is built from the model and sent. Nobody patches one.
 */

#include <string.h>

#include "control/isns-plan.h"
#include "control/service-private.h"
#include "util/log.h"

static guint32
digest_mask(const char *text)
{
    guint32 mask = 0;

    if (strstr(text, "None") != NULL)
        mask |= ISCSI_DIGEST_MASK_NONE;
    if (strstr(text, "CRC32C") != NULL)
        mask |= ISCSI_DIGEST_MASK_CRC32C;
    return mask;
}

static void
fill_params(const TargetParameters *from, IscsiTarget *snapshot)
{
    IscsiParams *params = &snapshot->params;

    iscsi_params_init_offer(params);
    params->max_recv_data_segment_length = from->max_recv_data_segment_length;
    params->max_burst_length = from->max_burst_length;
    params->first_burst_length = from->first_burst_length;
    params->max_outstanding_r2t = from->max_outstanding_r2t;
    params->max_connections = from->max_connections;
    params->error_recovery_level = from->error_recovery_level;
    params->default_time2wait = from->default_time2wait;
    params->default_time2retain = from->default_time2retain;
    params->initial_r2t = from->initial_r2t ? 1 : 0;
    params->immediate_data = from->immediate_data ? 1 : 0;
    params->header_digest = digest_mask(from->header_digest);
    params->data_digest = digest_mask(from->data_digest);

    snapshot->queue_depth = from->queue_depth;
    snapshot->nop_interval = from->nop_interval;
    snapshot->nop_timeout = from->nop_timeout;
    snapshot->max_sessions = from->max_sessions;
    snapshot->async_events = from->async_events;
}

/* One for each portal group through which @target is reached */
static void
add_ports(const Model *model, const ModelTarget *target, GArray *ports)
{
    for (guint i = 0; i < model->portal_groups->len; i++) {
        const ModelPortalGroup *group = g_ptr_array_index(model->portal_groups, i);
        LuPort port = { .relative_port = target_spec_relative_port(target->spec, group->spec->tag),
                        .target = lu_target_id(target->spec->name) };

        if (target_spec_has_group(target->spec, group->spec->tag))
            g_array_append_val(ports, port);
    }
}

/* The ports of all targets that have @backstore: what an initiator may mean by “all target ports” */
static void
tell_ports(const Model *model, const ModelBackstore *backstore, Lu *lu)
{
    g_autoptr(GArray) ports = g_array_new(FALSE, FALSE, sizeof(LuPort));

    for (guint i = 0; i < backstore->luns->len; i++) {
        const ModelLun *lun = g_ptr_array_index(backstore->luns, i);

        add_ports(model, lun->target, ports);
    }
    lu_set_target_ports(lu, (const LuPort *)(gconstpointer)ports->data, ports->len);
}

static LunMap *
make_map(Service *service, const ModelTarget *target)
{
    g_autofree LunEntry *entries = g_new0(LunEntry, target->luns->len + 1);
    guint n = 0;

    for (guint i = 0; i < target->luns->len; i++) {
        const ModelLun *lun = g_ptr_array_index(target->luns, i);
        const LunSpec *spec = target_spec_find_lun(target->spec, lun->number, NULL);
        Lu *lu = lun->backstore != NULL ? storage_need_lu(service->storage, lun->backstore) : NULL;

        if (lu == NULL)
            continue;
        tell_ports(service->model, lun->backstore, lu);
        /* That the backstore is read-only its unit knows */
        entries[n++] = (LunEntry){ .lun = lun->number,
                                   .lu = lu,
                                   .read_only = spec != NULL && spec->read_only };
    }
    return lun_map_new(entries, n);
}

gboolean
publish_portal_address(const ModelPortal *portal, Address *ret_address)
{
    if (portal->announce[0] != '\0')
        return address_parse(portal->announce, portal->port, ret_address, NULL);
    if (!address_parse(portal->address, portal->port, ret_address, NULL))
        return FALSE;
    address_set_port(ret_address, portal->port);
    return TRUE;
}

static void
announce_portal(GArray *announces, const ModelPortal *portal)
{
    IscsiAnnounce announce = { .tag = portal->group->spec->tag };

    if (portal->state == PORTAL_LISTENING && publish_portal_address(portal, &announce.address))
        g_array_append_val(announces, announce);
}

static void
fill_portals(const Model *model, const ModelTarget *target, IscsiTarget *snapshot)
{
    g_autoptr(GArray) tags = g_array_new(FALSE, FALSE, sizeof(guint16));
    g_autoptr(GArray) announces = g_array_new(FALSE, FALSE, sizeof(IscsiAnnounce));

    for (guint i = 0; i < model->portal_groups->len; i++) {
        const ModelPortalGroup *group = g_ptr_array_index(model->portal_groups, i);

        if (!target_spec_has_group(target->spec, group->spec->tag))
            continue;
        g_array_append_val(tags, group->spec->tag);
        for (guint j = 0; j < group->portals->len; j++)
            announce_portal(announces, g_ptr_array_index(group->portals, j));
    }

    snapshot->n_tags = tags->len;
    snapshot->tags = (guint16 *)(void *)g_array_free(g_steal_pointer(&tags), FALSE);
    snapshot->n_announces = announces->len;
    snapshot->announces = (IscsiAnnounce *)(void *)g_array_free(g_steal_pointer(&announces), FALSE);
}

static IscsiTarget *
make_snapshot(Service *service, const ModelTarget *target)
{
    IscsiTarget *snapshot = iscsi_target_new();
    const TargetSpec *spec = target->spec;

    snapshot->name = g_strdup(spec->name);
    snapshot->alias = spec->alias[0] != '\0' ? g_strdup(spec->alias) : NULL;
    snapshot->id = target->id;
    snapshot->relative_port = spec->relative_port;
    snapshot->enabled = spec->enabled;
    snapshot->access =
        strcmp(spec->access_mode, "open") == 0 ? ISCSI_ACCESS_OPEN : ISCSI_ACCESS_CLOSED;
    redirect_fill_snapshot(spec, snapshot);
    fill_portals(service->model, target, snapshot);
    fill_params(&spec->parameters, snapshot);
    snapshot->map = make_map(service, target);
    access_fill_map(service, target, snapshot->map);
    acl_fill_snapshot(service, target, snapshot);
    return snapshot;
}

void
publish_target_closing(Service *service, ModelTarget *target, gboolean closes_denied,
                       IscsiDoneFn done, gpointer user_data)
{
    IscsiTarget *snapshot;

    publish_update_states(service);
    snapshot = make_snapshot(service, target);
    snapshot->closes_denied = closes_denied;
    iscsi_service_set_target(service->iscsi, snapshot, done, user_data);
}

void
publish_target(Service *service, ModelTarget *target, IscsiDoneFn done, gpointer user_data)
{
    publish_target_closing(service, target, FALSE, done, user_data);
}

/* Counts down what publish_all() has under way */
typedef struct {
    guint n_left;
    IscsiDoneFn done;
    gpointer user_data;
} PublishAll;

static void
count_down(gpointer data)
{
    PublishAll *all = data;

    if (--all->n_left > 0)
        return;
    if (all->done != NULL)
        all->done(all->user_data);
    g_free(all);
}

void
publish_all(Service *service, IscsiDoneFn done, gpointer user_data)
{
    const GPtrArray *targets = service->model->targets;
    PublishAll *all = g_new0(PublishAll, 1);

    all->n_left = targets->len + 1;
    all->done = done;
    all->user_data = user_data;
    publish_update_states(service);
    for (guint i = 0; i < targets->len; i++) {
        ModelTarget *target = g_ptr_array_index(targets, i);

        if (target->is_leaving)
            count_down(all);
        else
            publish_target(service, target, count_down, all);
    }
    count_down(all);
}

static void
ignore_done(gpointer data)
{
    /* Nobody waits for this one */
    (void)data;
}

void
publish_users(Service *service, const ModelBackstore *backstore)
{
    const GPtrArray *targets = service->model->targets;

    for (guint i = 0; i < targets->len; i++) {
        ModelTarget *target = g_ptr_array_index(targets, i);

        for (guint j = 0; j < target->luns->len && !target->is_leaving; j++) {
            const ModelLun *lun = g_ptr_array_index(target->luns, j);

            if (lun->backstore != backstore)
                continue;
            publish_target(service, target, ignore_done, NULL);
            break;
        }
    }
}

static gboolean
is_reachable(const Model *model, const ModelTarget *target)
{
    for (guint i = 0; i < model->portal_groups->len; i++) {
        const ModelPortalGroup *group = g_ptr_array_index(model->portal_groups, i);

        if (!target_spec_has_group(target->spec, group->spec->tag))
            continue;
        for (guint j = 0; j < group->portals->len; j++) {
            const ModelPortal *portal = g_ptr_array_index(group->portals, j);

            if (portal->state == PORTAL_LISTENING)
                return TRUE;
        }
    }
    return FALSE;
}

static void
update_target_state(Service *service, ModelTarget *target)
{
    TargetState before = target->state;
    const LogField fields[] = { { "ISCSI_TARGET", target->spec->name }, { NULL, NULL } };

    if (!target->spec->enabled)
        target->state = TARGET_DISABLED;
    else
        target->state = is_reachable(service->model, target) ? TARGET_ONLINE : TARGET_OFFLINE;

    if (target->state == before)
        return;
    if (target->state == TARGET_ONLINE)
        log_event(EVENT_TARGET_ONLINE, fields);
    else if (before == TARGET_ONLINE)
        log_event(EVENT_TARGET_OFFLINE, fields);
    model_changed(service->model, MODEL_TARGET, target);
}

static void
update_lun_state(Service *service, ModelLun *lun)
{
    gboolean online = lun->backstore != NULL && lun->backstore->state == BACKSTORE_ONLINE;
    const LunSpec *spec = target_spec_find_lun(lun->target->spec, lun->number, NULL);
    gboolean read_only = lun->backstore != NULL && lun->backstore->read_only;

    read_only = read_only || (spec != NULL && spec->read_only);
    if (lun->is_online == online && lun->read_only == read_only)
        return;

    lun->is_online = online;
    lun->read_only = read_only;
    model_changed(service->model, MODEL_LUN, lun);
}

void
publish_update_states(Service *service)
{
    const GPtrArray *targets = service->model->targets;

    for (guint i = 0; i < targets->len; i++) {
        ModelTarget *target = g_ptr_array_index(targets, i);

        update_target_state(service, target);
        for (guint j = 0; j < target->luns->len; j++)
            update_lun_state(service, g_ptr_array_index(target->luns, j));
    }
    systemd_update(service->systemd);
    isns_plan_update(service);
}
