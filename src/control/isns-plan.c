/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What is registered with an iSNS server
 *
 * Made from the model each time that targets are published: the targets that initiators can log in
 * to, with their portal groups, and the portals of these that listen, by the address that is
 * announced where one is set. The thread is told only when something of it has changed, and begun
 * when a server is set for the first time.
 */

#include "control/isns-plan.h"

#include <string.h>

#include <systemd/sd-id128.h>

#include "control/isns.h"
#include "control/service-private.h"
#include "util/error.h"
#include "util/log.h"

/* Made by us; with the identity of the machine it makes an id that tells nothing of either */
#define APPLICATION_ID SD_ID128_MAKE(6b, 1d, 90, 3e, 57, aa, 4f, 0c, 9c, 2e, 08, b4, d1, 73, e5, 46)

/*
 * What our identifiers end in: unique among machines and among services of a machine, whatever the host
 * is called. Empty where the machine has no identity.
 */
static char *
dup_mark(const Service *service)
{
    char id[SD_ID128_STRING_MAX];
    g_autofree char *text = NULL;
    g_autofree char *hash = NULL;
    sd_id128_t machine;

    if (sd_id128_get_machine_app_specific(APPLICATION_ID, &machine) < 0)
        return g_strdup("");

    text = g_strconcat(sd_id128_to_string(machine, id), service->state_dir, NULL);
    hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);
    return g_strdup_printf(".%.12s.lunport", hash);
}

/* Readable for those who look at what the server has */
static char *
dup_entity(const char *mark)
{
    return g_strconcat(g_get_host_name(), mark[0] != '\0' ? mark : ".lunport", NULL);
}

static void
add_portal(IsnsPlan *plan, const ModelPortal *portal)
{
    IsnsPlanPortal planned = { .tag = portal->group->spec->tag };

    if (portal->state != PORTAL_LISTENING || !publish_portal_address(portal, &planned.address))
        return;

    planned.is_announced = portal->announce[0] != '\0';
    if (!planned.is_announced)
        (void)g_strlcpy(planned.interface, portal->interface, sizeof(planned.interface));
    g_array_append_val(plan->portals, planned);
}

static void
add_group(IsnsPlan *plan, const ModelPortalGroup *group)
{
    for (guint i = 0; i < group->portals->len; i++)
        add_portal(plan, g_ptr_array_index(group->portals, i));
}

static void
add_target(const Model *model, IsnsPlan *plan, const ModelTarget *target)
{
    g_autoptr(GArray) tags = g_array_new(FALSE, FALSE, sizeof(guint16));

    for (guint i = 0; i < model->portal_groups->len; i++) {
        const ModelPortalGroup *group = g_ptr_array_index(model->portal_groups, i);

        if (target_spec_has_group(target->spec, group->spec->tag))
            g_array_append_val(tags, group->spec->tag);
    }
    isns_plan_add_node(plan, target->spec->name, target->spec->alias,
                       (const guint16 *)(gconstpointer)tags->data, tags->len);
}

static IsnsPlan *
make_plan(const Service *service)
{
    const Model *model = service->model;
    g_autofree char *mark = dup_mark(service);
    g_autofree char *entity = dup_entity(mark);
    IsnsPlan *plan = isns_plan_new(model->settings->isns_server, entity);

    g_free(plan->mark);
    plan->mark = g_steal_pointer(&mark);
    if (plan->server[0] == '\0')
        return plan;
    for (guint i = 0; i < model->portal_groups->len; i++)
        add_group(plan, g_ptr_array_index(model->portal_groups, i));
    for (guint i = 0; i < model->targets->len; i++) {
        const ModelTarget *target = g_ptr_array_index(model->targets, i);

        if (target->state == TARGET_ONLINE && !target->is_leaving)
            add_target(model, plan, target);
    }
    return plan;
}

/* Equal for plans that are equal */
static char *
describe(const IsnsPlan *plan)
{
    g_autoptr(GString) text = g_string_new(plan->server);
    char address[ADDRESS_TEXT_MAX];

    for (guint i = 0; i < plan->portals->len; i++) {
        const IsnsPlanPortal *portal = &g_array_index(plan->portals, IsnsPlanPortal, i);

        address_format(&portal->address, address, sizeof(address));
        g_string_append_printf(text, "\n%s %u %s %d", address, portal->tag, portal->interface,
                               portal->is_announced);
    }
    for (guint i = 0; i < plan->nodes->len; i++) {
        const IsnsPlanNode *node = g_ptr_array_index(plan->nodes, i);

        g_string_append_printf(text, "\n%s\t%s\t", node->name, node->alias);
        for (guint j = 0; j < node->n_tags; j++)
            g_string_append_printf(text, " %u", node->tags[j]);
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static void
on_state(ModelIsns state, const char *error, gpointer data)
{
    Service *service = data;
    Model *model = service->model;
    ModelIsns before = model->isns_state;
    const LogField fields[] = { { "ISNS_SERVER", model->settings->isns_server },
                                { "REASON", error },
                                { NULL, NULL } };

    /* It was told of the end meanwhile */
    if (model->settings->isns_server[0] == '\0')
        state = ISNS_OFF;
    model_set_isns(model, state, state == ISNS_UNAVAILABLE ? error : NULL);
    if (state == before)
        return;
    if (state == ISNS_REGISTERED)
        log_event(EVENT_ISNS_REGISTERED, fields);
    else if (state == ISNS_UNAVAILABLE)
        log_event(EVENT_ISNS_UNAVAILABLE, fields);
}

static gboolean
begin(Service *service)
{
    g_autoptr(GError) error = NULL;

    if (service->isns == NULL)
        service->isns = isns_new(&service->mailbox, on_state, service, &error);
    if (service->isns == NULL)
        on_state(ISNS_UNAVAILABLE, error->message, service);
    return service->isns != NULL;
}

void
isns_plan_update(Service *service)
{
    g_autofree char *text = NULL;
    IsnsPlan *plan;

    /* Before accepting has begun an initiator would be sent to closed doors */
    if (!service->started ||
        (service->isns == NULL && service->model->settings->isns_server[0] == '\0'))
        return;
    if (!isns_message_is_supported()) {
        if (service->model->settings->isns_server[0] != '\0')
            on_state(ISNS_UNAVAILABLE, "This build has no iSNS", service);
        return;
    }

    plan = make_plan(service);
    text = describe(plan);
    if (g_strcmp0(text, service->isns_plan) == 0 || !begin(service)) {
        isns_plan_free(plan);
        return;
    }
    g_free(service->isns_plan);
    service->isns_plan = g_steal_pointer(&text);
    isns_post(service->isns, plan);
}
