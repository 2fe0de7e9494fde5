/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "fake-service.h"

#include "model/job.h"
#include "util/error.h"

typedef struct Pending Pending;

struct Pending {
    Service *service;
    gpointer (*effect)(Pending *pending); /* or NULL */
    gpointer spec;                        /* of a creating operation, taken by the effect */
    char *name;
    guint number;
    gboolean dry_run;
    GError *error;
    ServiceDoneFn done;
    gpointer data;
};

struct Service {
    Model *model;
    char *last;
    int next_error; /* or -1 */
    gboolean holds;
    GPtrArray *held; /* of Pending, owned */
};

Service *
fake_service_new(void)
{
    Service *service = g_new0(Service, 1);

    service->model = model_new();
    service->model->started_at = 1;
    service->last = g_strdup("");
    service->next_error = -1;
    service->held = g_ptr_array_new();
    model_set_state(service->model, MODEL_STATE_RUNNING);
    return service;
}

void
fake_service_free(Service *service)
{
    g_assert_cmpuint(service->held->len, ==, 0);
    g_ptr_array_unref(service->held);
    model_free(service->model);
    g_free(service->last);
    g_free(service);
}

void
fake_service_fail_next(Service *service, int code)
{
    service->next_error = code;
}

static gboolean
on_end(gpointer data)
{
    Pending *pending = data;
    gpointer object = NULL;

    if (pending->error == NULL && !pending->dry_run && pending->effect != NULL)
        object = pending->effect(pending);
    if (pending->error == NULL && !pending->dry_run)
        model_bump_generation(pending->service->model);

    pending->done(object, pending->error, pending->data);
    g_clear_error(&pending->error);
    g_free(pending->name);
    g_free(pending);
    return G_SOURCE_REMOVE;
}

void
fake_service_hold(Service *service)
{
    service->holds = TRUE;
}

void
fake_service_release(Service *service)
{
    service->holds = FALSE;
    for (guint i = 0; i < service->held->len; i++)
        (void)g_idle_add(on_end, service->held->pdata[i]);
    g_ptr_array_set_size(service->held, 0);
}

const char *
fake_service_last(const Service *service)
{
    return service->last;
}

static Pending *
begin(Service *service, const char *operation, const char *name, guint number,
      const ChangeOptions *change, ServiceDoneFn done, gpointer data)
{
    Pending *pending = g_new0(Pending, 1);

    g_free(service->last);
    service->last = g_strdup_printf("%s %s %u uid=%u persist=%d dry-run=%d", operation, name,
                                    number, change->caller_uid, change->persist, change->dry_run);
    *pending = (Pending){
        .service = service,
        .name = g_strdup(name),
        .number = number,
        .dry_run = change->dry_run,
        .done = done,
        .data = data,
    };
    if (service->next_error >= 0)
        pending->error =
            g_error_new_literal(LUNPORT_ERROR, service->next_error, "As the test wants");
    else if (change->has_expected_generation &&
             change->expected_generation != service->model->generation)
        pending->error = g_error_new_literal(LUNPORT_ERROR, LUNPORT_ERROR_CONFLICT, "Changed");
    service->next_error = -1;

    if (service->holds)
        g_ptr_array_add(service->held, pending);
    else
        (void)g_idle_add(on_end, pending);
    return pending;
}

void
change_options_init(ChangeOptions *options)
{
    *options = (ChangeOptions){ .persist = TRUE };
}

Model *
service_get_model(Service *service)
{
    return service->model;
}

const char *const *
service_get_backstore_types(void)
{
    static const char *const types[] = { "ram", "null", "file", NULL };

    return types;
}

const char *const *
service_get_features(void)
{
    static const char *const features[] = { "fake", NULL };

    return features;
}

static gpointer
make_backstore(Pending *pending)
{
    return model_add_backstore(pending->service->model, g_steal_pointer(&pending->spec), NULL,
                               MODEL_ORIGIN_STATE);
}

void
service_create_backstore(Service *service, const BackstoreSpec *spec, const ChangeOptions *options,
                         ServiceDoneFn done, gpointer data)
{
    Pending *pending = begin(service, "create_backstore", spec->name, 0, options, done, data);

    if (options->dry_run || pending->error != NULL)
        return;

    pending->spec = backstore_spec_dup(spec);
    pending->effect = make_backstore;
}

void
service_delete_backstore(Service *service, const char *name, gboolean delete_file,
                         const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "delete_backstore", name, (guint)delete_file, options, done, data);
}

void
service_set_backstore_offline(Service *service, const char *name, gboolean offline,
                              const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "set_backstore_offline", name, (guint)offline, options, done, data);
}

void
service_flush_backstore(Service *service, const char *name, const ChangeOptions *options,
                        ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "flush_backstore", name, 0, options, done, data);
}

void
service_verify_backstore(Service *service, const char *name, const ChangeOptions *options,
                         ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "verify_backstore", name, 0, options, done, data);
}

void
service_set_backstore_read_only(Service *service, const char *name, gboolean read_only,
                                const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "set_backstore_read_only", name, (guint)read_only, options, done, data);
}

void
service_set_faults(Service *service, const char *name, GVariant *rules,
                   const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    g_autofree char *text = g_variant_print(rules, FALSE);
    g_autofree char *what = g_strdup_printf("%s %s", name, text);

    (void)begin(service, "set_faults", what, 0, options, done, data);
}

void
service_resize_backstore(Service *service, const char *name, guint64 size, gboolean allow_shrink,
                         const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    g_autofree char *what =
        g_strdup_printf("%s %" G_GUINT64_FORMAT "%s", name, size, allow_shrink ? " shrink" : "");

    (void)begin(service, "resize_backstore", what, 0, options, done, data);
}

void
service_load_medium(Service *service, const char *name, const char *path, gboolean force,
                    const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    g_autofree char *what = g_strdup_printf("%s %s%s", name, path, force ? " force" : "");

    (void)begin(service, "load_medium", what, 0, options, done, data);
}

void
service_eject_medium(Service *service, const char *name, gboolean force,
                     const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    g_autofree char *what = g_strdup_printf("%s%s", name, force ? " force" : "");

    (void)begin(service, "eject_medium", what, 0, options, done, data);
}

void
service_list_registrations(Service *service, const char *target_name, guint16 number,
                           const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "list_registrations", target_name, number, options, done, data);
}

void
service_set_lun_read_only(Service *service, const char *target_name, guint16 number,
                          gboolean read_only, const ChangeOptions *options, ServiceDoneFn done,
                          gpointer data)
{
    (void)begin(service, read_only ? "set_lun_read_only" : "set_lun_writable", target_name, number,
                options, done, data);
}

void
service_clear_reservations(Service *service, const char *target_name, guint16 number,
                           const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "clear_reservations", target_name, number, options, done, data);
}

static gpointer
make_target(Pending *pending)
{
    return model_add_target(pending->service->model, g_steal_pointer(&pending->spec), NULL,
                            MODEL_ORIGIN_STATE);
}

void
service_create_target(Service *service, const TargetSpec *spec, const ChangeOptions *options,
                      ServiceDoneFn done, gpointer data)
{
    Pending *pending = begin(service, "create_target", spec->name, 0, options, done, data);

    if (options->dry_run || pending->error != NULL)
        return;

    pending->spec = target_spec_dup(spec);
    pending->effect = make_target;
}

static gpointer
drop_target(Pending *pending)
{
    ModelTarget *target = model_find_target(pending->service->model, pending->name);

    if (target != NULL)
        model_remove_target(pending->service->model, target);
    return NULL;
}

void
service_delete_target(Service *service, const char *name, gboolean force,
                      const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    begin(service, "delete_target", name, (guint)force, options, done, data)->effect = drop_target;
}

static gpointer
set_enabled(Pending *pending)
{
    ModelTarget *target = model_find_target(pending->service->model, pending->name);

    target->spec->enabled = pending->number != 0;
    model_changed(pending->service->model, MODEL_TARGET, target);
    return NULL;
}

void
service_enable_target(Service *service, const char *name, const ChangeOptions *options,
                      ServiceDoneFn done, gpointer data)
{
    begin(service, "enable_target", name, 1, options, done, data)->effect = set_enabled;
}

void
service_disable_target(Service *service, const char *name, gboolean abort,
                       const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "disable_target", name, (guint)abort, options, done, data);
}

static gpointer
make_job(Pending *pending)
{
    ModelJob *job = model_job_new("Target.Disable", MODEL_TARGET, pending->name, 0);

    job->caller_uid = pending->number;
    job->is_cancelable = TRUE;
    model_take_job(pending->service->model, job);
    return job;
}

void
service_drain_target(Service *service, const char *name, guint seconds,
                     const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    Pending *pending = begin(service, "drain_target", name, seconds, options, done, data);

    pending->number = options->caller_uid;
    pending->effect = make_job;
}

void
service_request_logout(Service *service, guint16 tsih, guint seconds, const ChangeOptions *options,
                       ServiceDoneFn done, gpointer data)
{
    g_autofree char *what = g_strdup_printf("%u", tsih);

    (void)begin(service, "request_logout", what, seconds, options, done, data);
}

static gpointer
cancel_job(Pending *pending)
{
    fake_service_end_job(pending->service, pending->number, LUNPORT_ERROR_CANCELED);
    return NULL;
}

void
service_cancel_job(Service *service, guint32 id, const ChangeOptions *options, ServiceDoneFn done,
                   gpointer data)
{
    begin(service, "cancel_job", "", id, options, done, data)->effect = cancel_job;
}

void
service_set_target_redirect(Service *service, const char *name, guint16 tag, const char *address,
                            gboolean permanent, const ChangeOptions *options, ServiceDoneFn done,
                            gpointer data)
{
    (void)begin(service, "set_target_redirect", address, (guint)permanent, options, done, data);
}

void
service_set_target_alias(Service *service, const char *name, const char *alias,
                         const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "set_target_alias", alias, 0, options, done, data);
}

void
service_set_target_parameters(Service *service, const char *name, GVariant *parameters,
                              const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "set_target_parameters", name, (guint)g_variant_n_children(parameters),
                options, done, data);
}

void
service_set_target_access_mode(Service *service, const char *name, const char *mode,
                               const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "set_target_access_mode", mode, 0, options, done, data);
}

void
service_set_target_authentication(Service *service, const char *name, const char *method,
                                  const ServiceAccount *account, const ChangeOptions *options,
                                  ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "set_target_authentication", method, account->secret != NULL, options,
                done, data);
}

void
service_add_acl(Service *service, const char *target_name, const AclSpec *spec, guint flags,
                const ServiceAccount *account, const ChangeOptions *options, ServiceDoneFn done,
                gpointer data)
{
    g_autofree char *name = acl_spec_dup_name(spec);

    (void)begin(service, "add_acl", name, flags, options, done, data);
}

void
service_set_acl_luns(Service *service, const char *target_name, const char *acl_name,
                     const char *lun_map, const ChangeOptions *options, ServiceDoneFn done,
                     gpointer data)
{
    (void)begin(service, "set_acl_luns", lun_map, 0, options, done, data);
}

void
service_set_acl_read_only(Service *service, const char *target_name, const char *acl_name,
                          gboolean read_only, const ChangeOptions *options, ServiceDoneFn done,
                          gpointer data)
{
    (void)begin(service, "set_acl_read_only", acl_name, (guint)read_only, options, done, data);
}

void
service_set_acl_authentication(Service *service, const char *target_name, const char *acl_name,
                               const char *method, const ServiceAccount *account,
                               const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "set_acl_authentication", acl_name, account->secret != NULL, options, done,
                data);
}

void
service_set_account(Service *service, const ServiceAccountOwner *owner,
                    const ServiceAccount *account, const ChangeOptions *options, ServiceDoneFn done,
                    gpointer data)
{
    g_autofree char *name =
        g_strjoin("/", owner->target_name != NULL ? owner->target_name : "", owner->acl_name, NULL);

    (void)begin(service, "set_account", name, account->user != NULL && account->secret != NULL,
                options, done, data);
}

void
service_remove_account(Service *service, const ServiceAccountOwner *owner, const char *user,
                       const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "remove_account", user, owner->acl_name != NULL, options, done, data);
}

void
service_delete_acl(Service *service, const char *target_name, const char *acl_name,
                   gboolean terminate_sessions, const ChangeOptions *options, ServiceDoneFn done,
                   gpointer data)
{
    (void)begin(service, "delete_acl", acl_name, (guint)terminate_sessions, options, done, data);
}

void
service_create_initiator_group(Service *service, const InitiatorGroupSpec *spec,
                               const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "create_initiator_group", spec->name, 0, options, done, data);
}

void
service_change_initiator_group(Service *service, const char *name, const char *const *add,
                               const char *const *remove, const ChangeOptions *options,
                               ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "change_initiator_group", name, add != NULL, options, done, data);
}

void
service_delete_initiator_group(Service *service, const char *name, const ChangeOptions *options,
                               ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "delete_initiator_group", name, 0, options, done, data);
}

void
service_set_discovery_authentication(Service *service, const char *method,
                                     const ServiceAccount *account, const ChangeOptions *options,
                                     ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "set_discovery_authentication", method, account->secret != NULL, options,
                done, data);
}

void
service_set_chap_algorithms(Service *service, const char *algorithms, const ChangeOptions *options,
                            ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "set_chap_algorithms", algorithms, 0, options, done, data);
}

void
service_change_settings(Service *service, const SettingsChange *changes,
                        const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "change_settings", changes[0].key, 0, options, done, data);
}

/* Nobody logs in here */
void
service_set_rejection_fn(Service *service, ServiceRejectionFn fn, gpointer user_data)
{
    g_assert_nonnull(service);
}

void
service_add_target_portal_group(Service *service, const char *name, guint16 tag,
                                const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "add_target_portal_group", name, tag, options, done, data);
}

void
service_set_access_state(Service *service, const char *target_name, guint16 tag, const char *state,
                         gboolean preferred, const ChangeOptions *options, ServiceDoneFn done,
                         gpointer data)
{
    (void)begin(service, "set_access_state", state, tag, options, done, data);
}

void
service_remove_target_portal_group(Service *service, const char *name, guint16 tag,
                                   const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "remove_target_portal_group", name, tag, options, done, data);
}

void
service_set_target_portal_groups(Service *service, const char *name, const guint16 *tags,
                                 guint n_tags, gboolean every, const ChangeOptions *options,
                                 ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "set_target_portal_groups", name, every ? G_MAXUINT : n_tags, options,
                done, data);
}

void
service_add_lun(Service *service, const char *target_name, const char *backstore_name,
                gint32 number, gboolean read_only, const ChangeOptions *options, ServiceDoneFn done,
                gpointer data)
{
    (void)begin(service, "add_lun", backstore_name, (guint)number, options, done, data);
}

void
service_delete_lun(Service *service, const char *target_name, guint16 number, gboolean force,
                   const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "delete_lun", target_name, number, options, done, data);
}

void
service_reset_lun(Service *service, const char *target_name, guint16 number,
                  const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "reset_lun", target_name, number, options, done, data);
}

static gpointer
make_group(Pending *pending)
{
    return model_add_portal_group(pending->service->model,
                                  portal_group_spec_new((guint16)pending->number), NULL,
                                  MODEL_ORIGIN_STATE);
}

void
service_create_portal_group(Service *service, guint16 tag, const ChangeOptions *options,
                            ServiceDoneFn done, gpointer data)
{
    begin(service, "create_portal_group", "", tag, options, done, data)->effect = make_group;
}

void
service_delete_portal_group(Service *service, guint16 tag, const ChangeOptions *options,
                            ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "delete_portal_group", "", tag, options, done, data);
}

static gpointer
make_portal(Pending *pending)
{
    g_autoptr(PortalSpec) spec = g_steal_pointer(&pending->spec);
    Model *model = pending->service->model;

    return model_add_portal(model, model_find_portal_group(model, (guint16)pending->number), spec,
                            MODEL_ORIGIN_RUNTIME);
}

void
service_add_portal(Service *service, guint16 tag, const PortalSpec *spec,
                   const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    Pending *pending = begin(service, "add_portal", spec->address, tag, options, done, data);

    if (options->dry_run || pending->error != NULL)
        return;

    pending->spec = portal_spec_dup(spec);
    pending->effect = make_portal;
}

void
service_delete_portal(Service *service, guint32 id, const ChangeOptions *options,
                      ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "delete_portal", "", id, options, done, data);
}

void
service_pause_portal(Service *service, guint32 id, const ChangeOptions *options, ServiceDoneFn done,
                     gpointer data)
{
    (void)begin(service, "pause_portal", "", id, options, done, data);
}

void
service_resume_portal(Service *service, guint32 id, const ChangeOptions *options,
                      ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "resume_portal", "", id, options, done, data);
}

static gpointer
drop_session(Pending *pending)
{
    fake_service_remove_session(pending->service, (guint16)pending->number);
    return NULL;
}

void
service_terminate_session(Service *service, guint16 tsih, const ChangeOptions *options,
                          ServiceDoneFn done, gpointer data)
{
    begin(service, "terminate_session", "", tsih, options, done, data)->effect = drop_session;
}

void
service_close_connection(Service *service, guint16 tsih, guint16 cid, const ChangeOptions *options,
                         ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "close_connection", "", cid, options, done, data);
}

void
service_reload(Service *service, const ChangeOptions *options, ServiceDoneFn done, gpointer data)
{
    (void)begin(service, "reload", "", 0, options, done, data);
}

typedef struct {
    Service *service;
    ServiceStatisticsFn done;
    gpointer data;
} Question;

static void
add_counters(GArray *objects, ModelKind kind, gpointer object)
{
    static const ServiceCounter counters[] = { { "commands", 7 }, { "bytes-read", 4096 } };
    ServiceCounters element = { kind, object, counters, G_N_ELEMENTS(counters) };

    g_array_append_val(objects, element);
}

static gboolean
on_question(gpointer data)
{
    g_autofree Question *question = data;
    g_autoptr(GArray) objects = g_array_new(FALSE, FALSE, sizeof(ServiceCounters));
    Model *model = question->service->model;
    ServiceStatistics statistics = { .timestamp = 123 };

    add_counters(objects, MODEL_SERVICE, model);
    for (guint i = 0; i < model->targets->len; i++)
        add_counters(objects, MODEL_TARGET, model->targets->pdata[i]);
    for (guint i = 0; i < model->sessions->len; i++) {
        ModelSession *session = model->sessions->pdata[i];

        add_counters(objects, MODEL_SESSION, session);
        for (guint j = 0; j < session->connections->len; j++)
            add_counters(objects, MODEL_CONNECTION, session->connections->pdata[j]);
    }

    statistics.objects = (const ServiceCounters *)(gconstpointer)objects->data;
    statistics.n_objects = objects->len;
    question->done(&statistics, question->data);
    return G_SOURCE_REMOVE;
}

void
service_get_statistics(Service *service, ServiceStatisticsFn done, gpointer data)
{
    Question *question = g_new0(Question, 1);

    *question = (Question){ service, done, data };
    (void)g_idle_add(on_question, question);
}

static ModelConnection *
make_connection(ModelSession *session)
{
    ModelConnection *connection = g_new0(ModelConnection, 1);

    connection->session = session;
    connection->cid = 1;
    g_assert_true(address_parse("192.0.2.1:3260", ISCSI_PORT, &connection->local, NULL));
    g_assert_true(address_parse("[2001:db8::2]:40000", ISCSI_PORT, &connection->remote, NULL));
    connection->header_digest = g_strdup("None");
    connection->data_digest = g_strdup("CRC32C");
    connection->established_at = 77;
    return connection;
}

void
fake_service_add_session(Service *service, guint16 tsih, const char *target_name,
                         const char *initiator)
{
    ModelSession *session = model_session_new(tsih);

    session->discovery = target_name == NULL;
    if (target_name != NULL)
        session->target = model_find_target(service->model, target_name);
    g_strlcpy(session->isid, "00023d000001", sizeof(session->isid));
    session->target_name = g_strdup(target_name != NULL ? target_name : "");
    session->initiator_name = g_strdup(initiator);
    session->initiator_alias = g_strdup("alias \xff\x01");
    session->established_at = 77;
    session->remote_address = g_strdup("2001:db8::2");
    session->parameters =
        g_variant_ref_sink(g_variant_new_parsed("{'ErrorRecoveryLevel': <uint32 0>}"));
    g_ptr_array_add(session->connections, make_connection(session));
    model_take_session(service->model, session);
}

void
fake_service_remove_session(Service *service, guint16 tsih)
{
    model_remove_session(service->model, model_find_session(service->model, tsih));
}

void
fake_service_count_session(Service *service, const char *target_name)
{
    ModelTarget *target = model_find_target(service->model, target_name);

    target->n_sessions++;
    model_changed(service->model, MODEL_TARGET, target);
}

void
fake_service_end_job(Service *service, guint32 id, int code)
{
    ModelJob *job = model_find_job(service->model, id);

    job->state = code == LUNPORT_ERROR_CANCELED ? JOB_CANCELED : JOB_DONE;
    if (job->state == JOB_CANCELED)
        job->error = g_error_new_literal(LUNPORT_ERROR, code, "As the caller wanted");
    model_changed(service->model, MODEL_JOB, job);
}
