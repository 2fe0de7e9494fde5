/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* org.lunport1.Lun: the face of ModelLun */

#include "bus/call.h"
#include "bus/generated.h"
#include "bus/get.h"
#include "bus/path.h"
#include "bus/text.h"
#include "util/error.h"

static gpointer
find(Service *service, const Key *key)
{
    const ModelTarget *target = model_find_target(service_get_model(service), key->name);

    return target != NULL ? model_find_lun(target, (guint16)key->number) : NULL;
}

static void
describe(Call *call, gconstpointer object)
{
    const ModelLun *lun = object;

    call_detail(call, "target", lun->target->spec->name);
    call_detail_number(call, "lun", lun->number);
    call_detail(call, "backstore", lun->backstore_name);
    if (lun->backstore != NULL)
        call_detail_path(call, "path", lun->backstore->spec->path);
}

static GVariant *
get_target(Service *service, gconstpointer object)
{
    const ModelLun *lun = object;

    return get_path(path_of_target(lun->target));
}

/* The configuration may name a backstore that does not exist: then there is nothing at this path. */
static GVariant *
get_backstore(Service *service, gconstpointer object)
{
    const ModelLun *lun = object;

    return get_path(path_of_backstore_name(lun->backstore_name));
}

static GVariant *
get_state(Service *service, gconstpointer object)
{
    const ModelLun *lun = object;

    return g_variant_new_string(lun->is_online ? "online" : "offline");
}

static GVariant *
get_reservation_type(Service *service, gconstpointer object)
{
    const ModelLun *lun = object;

    return g_variant_new_string(
        lun->backstore != NULL ? reservation_type_to_string(lun->backstore->reservation_type) : "");
}

static GVariant *
get_reservation_holder(Service *service, gconstpointer object)
{
    const ModelLun *lun = object;

    return text_variant(lun->backstore != NULL ? lun->backstore->reservation_holder : NULL);
}

static GVariant *
get_reservation_generation(Service *service, gconstpointer object)
{
    const ModelLun *lun = object;

    return g_variant_new_uint32(lun->backstore != NULL ? lun->backstore->reservation_generation
                                                       : 0);
}

/* Names of initiators may be of any bytes, so each passes text_variant() */
static void
on_registrations(gpointer object, const GError *error, gpointer data)
{
    GVariantBuilder builder;

    if (error != NULL) {
        call_fail(data, g_error_copy(error));
        return;
    }

    g_variant_builder_init(&builder, G_VARIANT_TYPE("a(sqtb)"));
    for (gsize i = 0; object != NULL && i < g_variant_n_children(object); i++) {
        const char *port;
        guint16 target_port;
        guint64 key;
        gboolean is_holder;

        g_variant_get_child(object, i, "(&sqtb)", &port, &target_port, &key, &is_holder);
        g_variant_builder_open(&builder, G_VARIANT_TYPE("(sqtb)"));
        g_variant_builder_add_value(&builder, text_variant(port));
        g_variant_builder_add(&builder, "q", target_port);
        g_variant_builder_add(&builder, "t", key);
        g_variant_builder_add(&builder, "b", is_holder);
        g_variant_builder_close(&builder);
    }
    call_return(data, g_variant_new("(a(sqtb))", &builder));
}

static void
run_list_registrations(Call *call, gpointer object)
{
    const ModelLun *lun = object;

    service_list_registrations(call->context->service, lun->target->spec->name, lun->number, NULL,
                               on_registrations, call);
}

static void
run_clear_reservations(Call *call, gpointer object)
{
    const ModelLun *lun = object;
    ChangeOptions change = call_change(call);

    service_clear_reservations(call->context->service, lun->target->spec->name, lun->number,
                               &change, call_on_done, call);
}

static void
run_set_read_only(Call *call, gpointer object)
{
    const ModelLun *lun = object;
    ChangeOptions change = call_change(call);
    gboolean read_only;

    g_variant_get_child(call->parameters, 0, "b", &read_only);
    service_set_lun_read_only(call->context->service, lun->target->spec->name, lun->number,
                              read_only, &change, call_on_done, call);
}

static void
run_reset(Call *call, gpointer object)
{
    const ModelLun *lun = object;
    ChangeOptions change = call_change(call);

    service_reset_lun(call->context->service, lun->target->spec->name, lun->number, &change,
                      call_on_done, call);
}

static void
run_delete(Call *call, gpointer object)
{
    const ModelLun *lun = object;
    ChangeOptions change = call_change(call);
    gboolean force = FALSE;

    (void)options_get(&call->options, "force", "b", &force);
    service_delete_lun(call->context->service, lun->target->spec->name, lun->number, force, &change,
                       call_on_done, call);
}

/* clang-format off */
static const PropertyRow properties[] = {
    { "Number",                MEMBER(ModelLun, number) },
    { "Target",                .get = get_target },
    { "Backstore",             .get = get_backstore },
    { "ReadOnly",              MEMBER(ModelLun, read_only) },
    { "State",                 .get = get_state },
    { "ReservationType",       .get = get_reservation_type },
    { "ReservationHolder",     .get = get_reservation_holder },
    { "ReservationGeneration", .get = get_reservation_generation },
    { 0 },
};

static const OptionRow delete_rows[] = {
    { "force", "b" },
    { NULL,    NULL },
};

static const OptionTable delete_options = { .rows = delete_rows, .with_common = TRUE };

static const OptionTable list_options = { 0 };

static const MethodRow methods[] = {
    { "Reset",             NULL,            NULL, run_reset },
    { "ListRegistrations", &list_options,   NULL, run_list_registrations },
    { "ClearReservations", NULL,            NULL, run_clear_reservations },
    { "SetReadOnly",       NULL,            NULL, run_set_read_only },
    { "Delete",            &delete_options, NULL, run_delete },
    { NULL,                NULL,            NULL, NULL },
};
/* clang-format on */

const Noun lun_noun = {
    .kind = "logical unit",
    .info = &org_lunport1_lun_interface,
    .properties = properties,
    .methods = methods,
    .find = find,
    .describe = describe,
    .missing = LUNPORT_ERROR_NO_SUCH_OBJECT,
};
