/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* org.lunport1.InitiatorGroup: the face of ModelInitiatorGroup, and the methods of Manager for groups */

#include "bus/initiator-group.h"

#include "bus/call.h"
#include "bus/generated.h"
#include "bus/get.h"
#include "bus/path.h"
#include "bus/text.h"
#include "util/error.h"
#include "util/name.h"

static gpointer
find(Service *service, const Key *key)
{
    return model_find_initiator_group(service_get_model(service), key->name);
}

static void
describe(Call *call, gconstpointer object)
{
    call_detail(call, "initiator-group", ((const ModelInitiatorGroup *)object)->spec->name);
}

static GVariant *
get_initiators(Service *service, gconstpointer object)
{
    g_auto(GStrv) words = acl_words_split(((const ModelInitiatorGroup *)object)->spec->initiators);

    return g_variant_new_strv((const char *const *)words, -1);
}

static void
run_add(Call *call, gpointer object)
{
    const ModelInitiatorGroup *group = object;
    ChangeOptions change = call_change(call);
    g_autofree const char **names = NULL;

    g_variant_get(call->parameters, "(^a&s@a{sv})", &names, NULL);
    service_change_initiator_group(call->context->service, group->spec->name, names, NULL, &change,
                                   call_on_done, call);
}

static void
run_remove(Call *call, gpointer object)
{
    const ModelInitiatorGroup *group = object;
    ChangeOptions change = call_change(call);
    g_autofree const char **names = NULL;

    g_variant_get(call->parameters, "(^a&s@a{sv})", &names, NULL);
    service_change_initiator_group(call->context->service, group->spec->name, NULL, names, &change,
                                   call_on_done, call);
}

static void
run_delete(Call *call, gpointer object)
{
    const ModelInitiatorGroup *group = object;
    ChangeOptions change = call_change(call);

    service_delete_initiator_group(call->context->service, group->spec->name, &change, call_on_done,
                                   call);
}

/* clang-format off */
static const PropertyRow properties[] = {
    { "Name",       SPEC_MEMBER(ModelInitiatorGroup, name) },
    { "Initiators", .get = get_initiators },
    { 0 },
};

static const MethodRow methods[] = {
    { "AddInitiators",    NULL, NULL, run_add },
    { "RemoveInitiators", NULL, NULL, run_remove },
    { "Delete",           NULL, NULL, run_delete },
    { NULL,               NULL, NULL, NULL },
};
/* clang-format on */

const Noun initiator_group_noun = {
    .kind = "initiator group",
    .info = &org_lunport1_initiator_group_interface,
    .properties = properties,
    .methods = methods,
    .find = find,
    .describe = describe,
    .missing = LUNPORT_ERROR_NO_SUCH_OBJECT,
};

/*
 * Methods of Manager
 */

/* Anybody may ask; a list that is much too long is refused before anything is made of it */
static gboolean
check_size(const char *const *given, GError **ret_error)
{
    gsize size = 0;

    for (gsize i = 0; given[i] != NULL && size <= ACL_LIST_TEXT_MAX; i++)
        size += strlen(given[i]) + 1;
    if (size <= ACL_LIST_TEXT_MAX)
        return TRUE;

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_LIMIT_EXCEEDED,
                "The names of a group may have at most %d bytes in all", ACL_LIST_TEXT_MAX);
    return FALSE;
}

static InitiatorGroupSpec *
make_spec(const Call *call, GError **ret_error)
{
    const char *name;
    g_autofree const char **given = NULL;
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(InitiatorGroupSpec) spec = NULL;

    g_variant_get(call->parameters, "(&s^a&s@a{sv})", &name, &given, NULL);
    if (!name_check_object(name, ret_error) || !check_size(given, ret_error))
        return NULL;

    for (gsize i = 0; given[i] != NULL; i++) {
        char *normal = name_normalize_iscsi(given[i]);

        g_ptr_array_add(names, normal != NULL ? normal : g_strdup(given[i]));
    }
    g_ptr_array_add(names, NULL);
    spec = initiator_group_spec_new(name);
    g_free(spec->initiators);
    spec->initiators = g_strjoinv(" ", (char **)names->pdata);
    return acl_check_initiators(spec->initiators, ret_error) ? g_steal_pointer(&spec) : NULL;
}

gboolean
initiator_group_check_create(Call *call, gconstpointer manager, GError **ret_error)
{
    g_autoptr(InitiatorGroupSpec) spec = make_spec(call, ret_error);

    if (spec == NULL)
        return FALSE;

    call_detail(call, "initiator-group", spec->name);
    return TRUE;
}

void
initiator_group_run_create(Call *call, gpointer manager)
{
    ChangeOptions change = call_change(call);
    GError *error = NULL;
    g_autoptr(InitiatorGroupSpec) spec = make_spec(call, &error);

    if (spec == NULL) {
        call_fail(call, error);
        return;
    }

    call->planned = path_of_initiator_group_name(spec->name);
    service_create_initiator_group(call->context->service, spec, &change, call_on_initiator_group,
                                   call);
}

void
initiator_group_run_list(Call *call, gpointer manager)
{
    const Model *model = manager;
    GVariantBuilder builder;
    guint end;
    guint i;

    g_variant_builder_init(&builder, G_VARIANT_TYPE("a(osas)"));
    for (get_window(call, model->initiator_groups->len, &i, &end); i < end; i++) {
        const ModelInitiatorGroup *group = model->initiator_groups->pdata[i];

        g_variant_builder_open(&builder, G_VARIANT_TYPE("(osas)"));
        g_variant_builder_add_value(&builder, get_path(path_of_initiator_group(group)));
        g_variant_builder_add_value(&builder, text_variant(group->spec->name));
        g_variant_builder_add_value(&builder, get_initiators(NULL, group));
        g_variant_builder_close(&builder);
    }
    call_return(call, g_variant_new("(a(osas))", &builder));
}
