/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* org.lunport1.Lun: the face of ModelLun */

#include "bus/call.h"
#include "bus/generated.h"
#include "bus/get.h"
#include "bus/path.h"
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
        call_detail(call, "path", lun->backstore->spec->path);
}

static GVariant *
get_number(Service *service, gconstpointer object)
{
    const ModelLun *lun = object;

    return g_variant_new_uint16(lun->number);
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
get_read_only(Service *service, gconstpointer object)
{
    const ModelLun *lun = object;

    return g_variant_new_boolean(lun->read_only);
}

static GVariant *
get_state(Service *service, gconstpointer object)
{
    const ModelLun *lun = object;

    return g_variant_new_string(lun->is_online ? "online" : "offline");
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
    { "Number",    get_number,    FALSE },
    { "Target",    get_target,    FALSE },
    { "Backstore", get_backstore, FALSE },
    { "ReadOnly",  get_read_only, FALSE },
    { "State",     get_state,     FALSE },
    { NULL,        NULL,          FALSE },
};

static const OptionRow delete_rows[] = {
    { "force", "b" },
    { NULL,    NULL },
};

static const OptionTable delete_options = { .rows = delete_rows, .with_common = TRUE };

static const MethodRow methods[] = {
    { "Reset",  NULL,            NULL, run_reset },
    { "Delete", &delete_options, NULL, run_delete },
    { NULL,     NULL,            NULL, NULL },
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
