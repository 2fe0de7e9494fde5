/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The operation that changes what holds for the whole service
 *
 * The settings are one object with one file. Changes name keys as the file has them; all of them
 * are judged by their rows before any is made. What follows from settings that have changed, at the
 * start of the service, after a change and after a reload, is settings_apply().
 */

#include "control/isns-plan.h"
#include "control/service-private.h"
#include "model/schema.h"
#include "util/error.h"

void
settings_apply(Service *service)
{
    limits_apply(service);
    isns_plan_update(service);
}

static void
commit(Operation *operation)
{
    Service *service = operation->service;
    ModelOrigin origin = service->model->settings_origin;

    if (operation->settings_saved != NULL)
        origin = MODEL_ORIGIN_STATE;
    model_set_settings(service->model, g_steal_pointer(&operation->settings_spec),
                       g_steal_pointer(&operation->settings_saved), origin);
    operation_record(operation);
    settings_apply(service);
    operation_finish(operation, NULL);
}

/* @words: as of SettingsChange, a(ss) */
static gboolean
set_all(SettingsSpec *spec, GVariant *words, GError **ret_error)
{
    for (gsize i = 0; i < g_variant_n_children(words); i++) {
        const SchemaOption *option;
        const char *key;
        const char *text;

        g_variant_get_child(words, i, "(&s&s)", &key, &text);
        option = schema_find_key(SCHEMA_SETTINGS, key);
        g_assert(option != NULL);
        if (!schema_set_text(option, spec, text, ret_error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
prepare(Operation *operation, GError **ret_error)
{
    const Model *model = operation->service->model;

    operation->settings_spec = settings_spec_dup(model->settings);
    if (!set_all(operation->settings_spec, operation->parameters, ret_error) ||
        !operation_may_change(operation, model->settings_origin, "What holds for the whole service",
                              ret_error))
        return FALSE;
    if (!operation->keeps)
        return TRUE;

    operation->settings_saved = model->saved_settings != NULL
                                    ? settings_spec_dup(model->saved_settings)
                                    : settings_spec_new();
    return set_all(operation->settings_saved, operation->parameters, ret_error);
}

static void
run(Operation *operation)
{
    GError *error = NULL;

    if (!prepare(operation, &error))
        operation_fail(operation, error);
    else if (operation->options.dry_run)
        operation_finish(operation, NULL);
    else if (operation->keeps)
        operation_save(operation, MODEL_SETTINGS, SETTINGS_NAME,
                       keyfile_format_settings(operation->settings_saved), commit);
    else
        commit(operation);
}

void
service_change_settings(Service *service, const SettingsChange *changes,
                        const ChangeOptions *options, ServiceDoneFn done, gpointer user_data)
{
    Operation *operation = operation_new(service, options, run, done, user_data);
    GVariantBuilder builder;

    g_variant_builder_init(&builder, G_VARIANT_TYPE("a(ss)"));
    for (guint i = 0; changes[i].key != NULL; i++)
        g_variant_builder_add(&builder, "(ss)", changes[i].key, changes[i].text);
    operation->parameters = g_variant_ref_sink(g_variant_builder_end(&builder));
    operation_hold(operation, MODEL_SETTINGS, SETTINGS_NAME);
    operation_submit(operation, "ChangeSettings", NULL);
}
