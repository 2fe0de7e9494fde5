/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* org.lunport1.Backstore: the face of ModelBackstore */

#include "bus/call.h"
#include "bus/generated.h"
#include "bus/get.h"
#include "bus/path.h"
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
    call_detail_path(call, "path", backstore->spec->path);
}

static GVariant *
get_state(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    return g_variant_new_string(backstore_state_to_string(backstore->state));
}

static GVariant *
get_medium(Service *service, gconstpointer object)
{
    const ModelBackstore *backstore = object;

    return g_variant_new_string(backstore_medium_to_string(backstore->medium));
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
    call_detail_path(call, "medium", path);
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

static void
run_flush(Call *call, gpointer object)
{
    const ModelBackstore *backstore = object;
    ChangeOptions change = call_change(call);

    call->planned = g_strdup(PATH_NONE);
    service_flush_backstore(call->context->service, backstore->spec->name, &change, call_on_job,
                            call);
}

static void
run_verify(Call *call, gpointer object)
{
    const ModelBackstore *backstore = object;
    ChangeOptions change = call_change(call);

    call->planned = g_strdup(PATH_NONE);
    service_verify_backstore(call->context->service, backstore->spec->name, &change, call_on_job,
                             call);
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
    { "Name",              SPEC_MEMBER(ModelBackstore, name) },
    { "Type",              SPEC_MEMBER(ModelBackstore, type) },
    { "Path",              SPEC_MEMBER(ModelBackstore, path) },
    { "Size",              MEMBER(ModelBackstore, size) },
    { "AllocatedSize",     MEMBER(ModelBackstore, allocated_size) },
    { "BlockSize",         MEMBER(ModelBackstore, block_size) },
    { "PhysicalBlockSize", MEMBER(ModelBackstore, physical_block_size) },
    { "Cache",             MEMBER(ModelBackstore, cache) },
    { "ReadOnly",          MEMBER(ModelBackstore, read_only) },
    { "WriteCache",        MEMBER(ModelBackstore, write_cache) },
    { "Unmap",             MEMBER(ModelBackstore, can_unmap) },
    { "SerialNumber",      MEMBER(ModelBackstore, serial) },
    { "Wwn",               MEMBER(ModelBackstore, wwn) },
    { "Uuid",              SPEC_MEMBER(ModelBackstore, uuid) },
    { "DeviceType",        SPEC_MEMBER(ModelBackstore, device_type) },
    { "Medium",            .get = get_medium },
    { "State",             .get = get_state },
    { "LastError",         MEMBER(ModelBackstore, error) },
    { "Luns",              .get = get_luns },
    { "Persistent",        .get = get_persistent },
    { "Faults",            .get = get_faults },
    { 0 },
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
    { "Flush",      &no_options,     NULL, run_flush },
    { "Verify",     &no_options,     NULL, run_verify },
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
