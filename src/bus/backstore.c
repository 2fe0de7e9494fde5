/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* org.lunport1.Backstore: the face of ModelBackstore */

#include "bus/call.h"
#include "bus/errors.h"
#include "bus/generated.h"
#include "bus/get.h"
#include "bus/path.h"
#include "bus/text.h"
#include "util/error.h"

static gpointer
find(Service *service, const Key *key)
{
    return model_find_backstore(service_get_model(service), key->name);
}

static void
describe(Call *call, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    call_detail(call, "backstore", backstore->spec->name);
    call_detail(call, "path", backstore->spec->path);
}

static GVariant *
get_name(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    return text_variant(backstore->spec->name);
}

static GVariant *
get_type(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    return text_variant(backstore->spec->type);
}

static GVariant *
get_file(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    return text_variant(backstore->spec->path);
}

static GVariant *
get_size(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    return g_variant_new_uint64(backstore->size);
}

static GVariant *
get_allocated_size(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    return g_variant_new_uint64(backstore->allocated_size);
}

static GVariant *
get_block_size(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    return g_variant_new_uint32(backstore->block_size);
}

static GVariant *
get_physical_block_size(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    return g_variant_new_uint32(backstore->physical_block_size);
}

static GVariant *
get_cache(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    return text_variant(backstore->cache);
}

static GVariant *
get_read_only(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    return g_variant_new_boolean(backstore->read_only);
}

static GVariant *
get_write_cache(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    return g_variant_new_boolean(backstore->write_cache);
}

static GVariant *
get_unmap(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    return g_variant_new_boolean(backstore->can_unmap);
}

static GVariant *
get_serial_number(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    return text_variant(backstore->serial);
}

static GVariant *
get_wwn(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    return text_variant(backstore->wwn);
}

static GVariant *
get_uuid(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    return text_variant(backstore->spec->uuid);
}

static GVariant *
get_state(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    return g_variant_new_string(backstore_state_to_string(backstore->state));
}

static GVariant *
get_device_type(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    return text_variant(backstore->spec->device_type);
}

static GVariant *
get_medium(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    return g_variant_new_string(backstore_medium_to_string(backstore->medium));
}

static GVariant *
get_last_error(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    return errors_variant(backstore->error);
}

static char *
to_lun_path(gconstpointer lun)
{
    return path_of_lun(lun);
}

static GVariant *
get_luns(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    return get_paths(backstore->luns, to_lun_path);
}

static GVariant *
get_persistent(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    return g_variant_new_boolean(model_origin_is_persistent(backstore->origin));
}

static void
run_delete(Call *call, gpointer object)
{
    const ModelBackstore *backstore = object;
    ChangeOptions change = call_change(call);
    gboolean delete_file = FALSE;

    (void)options_get(&call->options, "delete-file", "b", &delete_file);
    service_delete_backstore(call->context->service, backstore->spec->name, delete_file, &change,
                             call_on_done, call);
}

static void
run_set_offline(Call *call, gpointer object)
{
    const ModelBackstore *backstore = object;
    ChangeOptions change = call_change(call);
    gboolean offline;

    g_variant_get_child(call->parameters, 0, "b", &offline);
    service_set_backstore_offline(call->context->service, backstore->spec->name, offline, &change,
                                  call_on_done, call);
}

static void
run_resize(Call *call, gpointer object)
{
    const ModelBackstore *backstore = object;
    ChangeOptions change = call_change(call);
    gboolean allow_shrink = FALSE;
    guint64 size;

    g_variant_get_child(call->parameters, 0, "t", &size);
    (void)options_get(&call->options, "allow-shrink", "b", &allow_shrink);
    service_resize_backstore(call->context->service, backstore->spec->name, size, allow_shrink,
                             &change, call_on_done, call);
}

static void
run_load_medium(Call *call, gpointer object)
{
    const ModelBackstore *backstore = object;
    ChangeOptions change = call_change(call);
    gboolean force = FALSE;
    const char *path;

    g_variant_get_child(call->parameters, 0, "&s", &path);
    (void)options_get(&call->options, "force", "b", &force);
    service_load_medium(call->context->service, backstore->spec->name, path, force, &change,
                        call_on_done, call);
}

/* Who authorizes is shown what will be opened */
static gboolean
check_load_medium(Call *call, gconstpointer object, GError **ret_error)
{
    const char *path;

    g_variant_get_child(call->parameters, 0, "&s", &path);
    call_detail(call, "medium", path);
    return TRUE;
}

static void
run_eject(Call *call, gpointer object)
{
    const ModelBackstore *backstore = object;
    ChangeOptions change = call_change(call);
    gboolean force = FALSE;

    (void)options_get(&call->options, "force", "b", &force);
    service_eject_medium(call->context->service, backstore->spec->name, force, &change,
                         call_on_done, call);
}

static void
run_set_read_only(Call *call, gpointer object)
{
    const ModelBackstore *backstore = object;
    ChangeOptions change = call_change(call);
    gboolean read_only;

    g_variant_get_child(call->parameters, 0, "b", &read_only);
    service_set_backstore_read_only(call->context->service, backstore->spec->name, read_only,
                                    &change, call_on_done, call);
}

static GVariant *
get_faults(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;
    GVariantBuilder builder;
    gsize n = backstore->faults != NULL ? g_variant_n_children(backstore->faults) : 0;

    /* Anew, because it has to be floating */
    g_variant_builder_init(&builder, G_VARIANT_TYPE("aa{sv}"));
    for (gsize i = 0; i < n; i++) {
        g_autoptr(GVariant) rule = g_variant_get_child_value(backstore->faults, i);

        g_variant_builder_add_value(&builder, rule);
    }
    return g_variant_builder_end(&builder);
}

static void
run_set_faults(Call *call, gpointer object)
{
    const ModelBackstore *backstore = object;
    ChangeOptions change = call_change(call);
    g_autoptr(GVariant) rules = g_variant_get_child_value(call->parameters, 0);

    service_set_faults(call->context->service, backstore->spec->name, rules, &change, call_on_done,
                       call);
}

/* clang-format off */
static const PropertyRow properties[] = {
    { "Name",              get_name,                FALSE },
    { "Type",              get_type,                FALSE },
    { "Path",              get_file,                FALSE },
    { "Size",              get_size,                FALSE },
    { "AllocatedSize",     get_allocated_size,      FALSE },
    { "BlockSize",         get_block_size,          FALSE },
    { "PhysicalBlockSize", get_physical_block_size, FALSE },
    { "Cache",             get_cache,               FALSE },
    { "ReadOnly",          get_read_only,           FALSE },
    { "WriteCache",        get_write_cache,         FALSE },
    { "Unmap",             get_unmap,               FALSE },
    { "SerialNumber",      get_serial_number,       FALSE },
    { "Wwn",               get_wwn,                 FALSE },
    { "Uuid",              get_uuid,                FALSE },
    { "DeviceType",        get_device_type,         FALSE },
    { "Medium",            get_medium,              FALSE },
    { "State",             get_state,               FALSE },
    { "LastError",         get_last_error,          FALSE },
    { "Luns",              get_luns,                FALSE },
    { "Persistent",        get_persistent,          FALSE },
    { "Faults",            get_faults,              FALSE },
    { NULL,                NULL,                    FALSE },
};

static const OptionRow delete_rows[] = {
    { "delete-file", "b" },
    { NULL,          NULL },
};

static const OptionTable delete_options = { .rows = delete_rows, .with_common = TRUE };

static const OptionRow resize_rows[] = {
    { "allow-shrink", "b" },
    { NULL,           NULL },
};

static const OptionTable resize_options = { .rows = resize_rows, .with_common = TRUE };

static const OptionTable no_options = { .with_common = TRUE };

static const OptionRow medium_rows[] = {
    { "force", "b" },
    { NULL,    NULL },
};

static const OptionTable medium_options = { .rows = medium_rows, .with_common = TRUE };

static const MethodRow methods[] = {
    { "Delete",     &delete_options, NULL, run_delete },
    { "Eject",      &medium_options, NULL, run_eject },
    { "LoadMedium", &medium_options, check_load_medium, run_load_medium },
    { "Resize",     &resize_options, NULL, run_resize },
    { "SetOffline", &no_options,     NULL, run_set_offline },
    { "SetReadOnly", &no_options,    NULL, run_set_read_only },
    { "SetFaults",  &no_options,     NULL, run_set_faults },
    { NULL,         NULL,            NULL, NULL },
};
/* clang-format on */

const Noun backstore_noun = {
    .kind = "backstore",
    .info = &org_lunport1_backstore_interface,
    .properties = properties,
    .methods = methods,
    .find = find,
    .describe = describe,
    .missing = LUNPORT_ERROR_NO_SUCH_OBJECT,
};
